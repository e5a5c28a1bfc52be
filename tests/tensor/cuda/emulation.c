/* See emulation.h. */
#include "emulation_parts.h"

#include "base/arena.h"
#include "base/text.h"
#include "cuda/backend.h"
#include "cuda/device.h"
#include "cuda/filter.h"
#include "cuda/maxima.h"

#include <dlfcn.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

/* CUDA's words, for the system's C++ compiler. What a kernel's block shares lies in a section of
 * the kernel's name, so that its size is known, and each block begins with other bytes than zeros.
 */
static const char words[] =
    "#include <math.h>\n#include <string.h>\n"
    "#define __global__\n#define __device__\n"
    "#define __shared__ static __attribute__((section(SHARED)))\n"
    "#define __forceinline__ inline\n#define __launch_bounds__(n)\n"
    "#define __align__(n) __attribute__((aligned(n)))\n"
    "struct dim { unsigned x, y; };\n"
    "extern \"C\" { dim threadIdx, blockIdx, blockDim; void (*barrier)(), (*meet)(); }\n"
    "static inline void __syncthreads() { barrier(); }\n"
    "static inline float __int_as_float(int i) { float f; memcpy(&f, &i, 4); return f; }\n"
    "static inline int __float_as_int(float f) { int i; memcpy(&i, &f, 4); return i; }\n"
    "static inline float __fdividef(float a, float b) { return a / b; }\n"
    /* What a warp does at once: all of its threads meet, and no others. */
    "static inline int own() { return (int)(threadIdx.y * blockDim.x + threadIdx.x); }\n"
    "static inline float __shfl_xor_sync(unsigned, float x, int apart)\n"
    "{\n"
    "    static float shown[1024];\n"
    "    const int thread = own();\n"
    "    shown[thread] = x; meet();\n"
    "    const float seen = shown[thread ^ apart]; meet();\n"
    "    return seen;\n"
    "}\n"
    "static inline float bf16_at(const unsigned *r, int i)\n"
    "{ return __int_as_float((int)((r[i / 2] >> i % 2 * 16 & 0xffffu) << 16)); }\n"
    /* mma.m16n8k16 as PTX has it: thread t of the warp holds of a rows t/4, t/4+8 and columns
     * 2·(t%4) +0,1,8,9; of b those rows of column t/4; of the result rows t/4, t/4+8, columns
     * 2·(t%4)+0,1. */
    "static inline void multiply(float *y, const unsigned *a, const unsigned *b)\n"
    "{\n"
    "    static unsigned shown_a[1024][4], shown_b[1024][2];\n"
    "    const int thread = own(), warp = thread & ~31, lane = thread & 31;\n"
    "    memcpy(shown_a[thread], a, 16); memcpy(shown_b[thread], b, 8); meet();\n"
    "    for (int i = 0; i < 4; i++) {\n"
    "        const int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;\n"
    "        for (int k = 0; k < 16; k++) {\n"
    "            const unsigned *at = shown_a[warp + row % 8 * 4 + k % 8 / 2];\n"
    "            const unsigned *bt = shown_b[warp + column * 4 + k % 8 / 2];\n"
    "            y[i] += bf16_at(at, (row / 8 + k / 8 * 2) * 2 + k % 2)\n"
    "                  * bf16_at(bt, k / 8 * 2 + k % 2);\n"
    "        }\n"
    "    }\n"
    "    meet();\n"
    "}\n"
    "template <size_t... I> struct sequence {};\n"
    "template <size_t N, size_t... I> struct up_to : up_to<N - 1, N - 1, I...> {};\n"
    "template <size_t... I> struct up_to<0, I...> { typedef sequence<I...> all; };\n"
    "template <class... A, size_t... I>\n"
    "void invoke(void (*f)(A...), void **a, sequence<I...>) { f(*(A *)a[I]...); }\n"
    "template <class... A> void invoke(void (*f)(A...), void **a)\n"
    "{ invoke(f, a, typename up_to<sizeof...(A)>::all()); }\n";

struct program {
    void *library;
    struct {
        unsigned x, y;
    } * thread, *block, *size;
    void (**barrier)(void), (**meet)(void);
    struct function {
        char name[64];
        const struct program *program;
        void (*call)(void **arguments);
        size_t (*shared)(char **begin); /* what a block shares */
        bool has_barriers;
        size_t launches;
    } * functions;
    size_t count, capacity;
};

static void catch_traps(void);

bool device_open(int number, struct error *err)
{
    catch_traps();
    return number == 0 || error_set(err, "there is no device %d", number);
}

/* Recordings: a list of what was asked for. NULL: it is done instead. */
static struct recording *noting;

static void refuse_while_noting(const char *what)
{
    CHECK(!noting, "%s while a run is recorded, which CUDA forbids", what);
}

/* Memory begins where CUDA's does, holds NaN, which nobody wrote, and stands between guards. */

enum { GUARD = 256, GUARDED = 0xa5 };

static size_t available = SIZE_MAX;

void emulation_available(size_t bytes)
{
    available = bytes;
}

void *device_allocate(size_t bytes, const char *what, struct error *err)
{
    size_t whole = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT + ALIGNMENT + GUARD;
    refuse_while_noting("taking memory");
    char *memory = bytes > available ? NULL : aligned_alloc(ALIGNMENT, whole);
    if (!memory) {
        error_set(err, "%s: %zu bytes cannot be had", what, bytes);
        return NULL;
    }
    memset(memory, GUARDED, whole);
    memcpy(memory, &bytes, sizeof bytes);
    return memset(memory + ALIGNMENT, SPOILED, bytes);
}

static void check_guard(const unsigned char *guard, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        CHECK(guard[i] == GUARDED, "something was written beside memory of the device");
}

void device_release(void *memory)
{
    size_t bytes;
    if (!memory)
        return;
    unsigned char *begin = (unsigned char *)memory - ALIGNMENT;
    refuse_while_noting("giving memory back");
    memcpy(&bytes, begin, sizeof bytes);
    check_guard(begin + sizeof bytes, ALIGNMENT - sizeof bytes);
    check_guard(begin + ALIGNMENT + bytes, GUARD);
    free(begin);
}

size_t device_available(void)
{
    return available;
}

bool device_has_bf16(void)
{
    return true;
}

static char failure[512];

void device_fail(const char *what, const char *why)
{
    if (!failure[0])
        snprintf(failure, sizeof failure, "%s: %s", what, why);
}

/* A failure is told once: none of an emulated device breaks it. */
bool device_check(struct error *err)
{
    if (!failure[0])
        return true;
    error_set(err, "%s", failure);
    failure[0] = '\0';
    return false;
}

void device_wait(void)
{
    refuse_while_noting("waiting");
}

/* What a recording holds. */

enum { ARGUMENTS = 512 };

struct request {
    const struct function *function; /* NULL: a copy */
    unsigned blocks[2], threads[2];
    bool backwards;            /* from the last block to the first */
    void *argument[ARGUMENTS]; /* eight bytes each, as all arguments are */
    void (*matrix)(void *state, void *const *memory);
    void *to;
    const void *from;
    size_t bytes;
};

struct recording {
    struct request *requests;
    size_t count, capacity;
    struct recording *next; /* of those that there are */
};

static struct recording *recordings;

static void do_kernel(const struct request *request);

static void do_request(const struct request *request)
{
    if (request->function)
        do_kernel(request);
    else if (request->matrix)
        request->matrix(request->to, request->argument);
    else
        memmove(request->to, request->from, request->bytes);
}

static void ask(const struct request *request)
{
    if (!noting) {
        do_request(request);
        return;
    }
    ARRAY_RESERVE(noting->requests, noting->count, noting->capacity);
    noting->requests[noting->count++] = *request;
}

void emulation_ask(void (*matrix)(void *state, void *const *memory), void *state,
                   void *const *tensor)
{
    struct request request = { .matrix = matrix, .to = state };
    memcpy(request.argument, tensor, WORK_TENSORS * sizeof *tensor);
    ask(&request);
}

bool device_record(struct error *err)
{
    const char *wanted = getenv("LETHE_RECORD");
    if (wanted && strcmp(wanted, "0") == 0)
        return error_set(err, "recording is switched off");
    noting = memory_grow(NULL, 1, sizeof *noting);
    *noting = (struct recording){ .next = recordings };
    recordings = noting;
    return true;
}

static bool refuses_recording;

void emulation_refuse_recording(bool refuse)
{
    refuses_recording = refuse;
}

struct recording *device_recorded(struct error *err)
{
    struct recording *recording = noting;
    noting = NULL;
    if (!refuses_recording)
        return recording;
    device_erase(recording);
    error_set(err, "a recording was refused");
    return NULL;
}

void device_replay(const struct recording *recording)
{
    for (size_t i = 0; i < recording->count; i++)
        do_request(&recording->requests[i]);
}

void device_erase(struct recording *recording)
{
    struct recording **at = &recordings;
    if (!recording)
        return;
    while (*at != recording)
        at = &(*at)->next;
    *at = recording->next;
    free(recording->requests);
    free(recording);
}

static void check_unused(const struct program *program)
{
    for (const struct recording *r = recordings; r; r = r->next)
        for (size_t i = 0; i < r->count; i++)
            CHECK(!r->requests[i].function || r->requests[i].function->program != program,
                  "%s is unloaded while a recording refers to it", r->requests[i].function->name);
}

void device_copy_in(void *device, const void *host, size_t bytes)
{
    refuse_while_noting("copying in");
    memcpy(device, host, bytes);
}

void device_copy_out(void *host, const void *device, size_t bytes)
{
    refuse_while_noting("copying out");
    memcpy(host, device, bytes);
}

void device_copy(void *to, const void *from, size_t bytes)
{
    ask(&(struct request){ .to = to, .from = from, .bytes = bytes });
}

void device_pin(void *host, size_t bytes, bool pinned)
{
    (void)host, (void)bytes, (void)pinned;
    refuse_while_noting("pinning memory");
}

void device_fill(void *memory, int byte, size_t bytes)
{
    refuse_while_noting("filling memory");
    memset(memory, byte, bytes);
}

/* The clock of the emulated libraries. */

static double cost[EMULATED_WAYS] = { 1, 1, 1 }, clock_at;
static size_t timed, ran[EMULATED_WAYS];
static bool timing;

void emulation_costs(const double seconds[EMULATED_WAYS])
{
    memcpy(cost, seconds, sizeof cost);
}

size_t emulation_timed(void)
{
    return timed;
}

size_t emulation_run(int way)
{
    return ran[way];
}

bool device_time(bool (*work)(void *context), void *context, double *seconds)
{
    refuse_while_noting("measuring");
    double began = clock_at;
    timing = true;
    bool ok = work(context);
    timing = false;
    timed++;
    *seconds = clock_at - began;
    return ok;
}

bool emulation_spend(int way)
{
    if (timing)
        clock_at += cost[way];
    else
        ran[way]++;
    return cost[way] >= 0;
}

/* Programs. */

/* Before each kernel's text: in which section its block's memory lies; after it: that section, and
 * a function that takes its arguments as device_launch gives them. */
static void add_kernel(struct text *text, const struct function *function, const char *source,
                       size_t length)
{
    const char *name = function->name;
    text_format(text, "#undef SHARED\n#define SHARED \"shared_%s\"\n", name);
    text_format(text, "%.*s\n", (int)length, source);
    text_format(text, "extern \"C\" void call_%s(void **a) { invoke(%s, a); }\n", name, name);
    text_format(text,
                "extern \"C\" char __start_shared_%s[] __attribute__((weak, "
                "visibility(\"hidden\"))),\n"
                "    __stop_shared_%s[] __attribute__((weak, visibility(\"hidden\")));\n"
                "extern \"C\" size_t shared_by_%s(char **begin)\n"
                "{ *begin = __start_shared_%s; return __stop_shared_%s - __start_shared_%s; }\n",
                name, name, name, name, name, name);
}

static void add_kernels(struct text *text, const char *source, struct program *program)
{
    static const char mark[] = "extern \"C\" __global__ void ";
    const char *at = strstr(source, mark);
    text_format(text, "%.*s", at ? (int)(at - source) : (int)strlen(source), source);
    while (at) {
        const char *name = at + strlen(mark), *next = strstr(name, mark);
        if (strncmp(name, "__launch_bounds__", 17) == 0)
            name = strchr(name, ')') + 2;
        ARRAY_RESERVE(program->functions, program->count, program->capacity);
        struct function *function = &program->functions[program->count++];
        *function = (struct function){ .program = program };
        snprintf(function->name, sizeof function->name, "%.*s", (int)strcspn(name, "("), name);
        const char *barrier = strstr(name, "__syncthreads");
        function->has_barriers = barrier && (!next || barrier < next);
        add_kernel(text, function, at, next ? (size_t)(next - at) : strlen(at));
        at = next;
    }
}

/* Traps stand where a device would fail, or go on with other numbers: addresses that are no
 * multiples of what is moved at once, indices beyond an array or beyond their type. Of <math.h>
 * only C's is taken: programs are small and many, and C++'s takes longer to read than most. */
static const char compiler[] =
    "c++ -std=c++17 -O0 -w -D_GLIBCXX_INCLUDE_NEXT_C_HEADERS -shared -fPIC "
    "-fsanitize=alignment,bounds,signed-integer-overflow,shift,vla-bound,integer-divide-by-zero "
    "-fsanitize-undefined-trap-on-error";

static bool build(const char *source, const char *folder, struct program *program)
{
    char path[256], command[1024];
    struct text text = { 0 };
    text_add(&text, words);
    add_kernels(&text, source, program);
    snprintf(path, sizeof path, "%s/program.cpp", folder);
    FILE *file = fopen(path, "w");
    bool ok = file && fwrite(text.bytes, 1, text.length, file) == text.length;
    ok = file && fclose(file) == 0 && ok;
    text_release(&text);
    snprintf(command, sizeof command, "%s -o %s/program.so %s", compiler, folder, path);
    ok = ok && system(command) == 0;
    snprintf(path, sizeof path, "%s/program.so", folder);
    program->library = ok ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    return program->library;
}

static void find_symbol(const struct program *program, const char *prefix, const char *kernel,
                        void *function)
{
    char name[96];
    snprintf(name, sizeof name, "%s%s", prefix, kernel);
    void *symbol = dlsym(program->library, name);
    memcpy(function, &symbol, sizeof symbol);
}

static struct program *compile(const char *source, struct error *err)
{
    char folder[] = "/tmp/lethe-emulation-XXXXXX", command[128];
    struct program *program = memory_grow(NULL, 1, sizeof *program);
    *program = (struct program){ 0 };
    bool ok = mkdtemp(folder) && build(source, folder, program);
    snprintf(command, sizeof command, "rm -r %s", folder);
    ok = system(command) == 0 && ok;
    if (!ok) {
        device_forget(program);
        error_set(err, "the compiler refused a program");
        return NULL;
    }
    program->thread = dlsym(program->library, "threadIdx");
    program->block = dlsym(program->library, "blockIdx");
    program->size = dlsym(program->library, "blockDim");
    program->barrier = dlsym(program->library, "barrier");
    program->meet = dlsym(program->library, "meet");
    for (size_t i = 0; i < program->count; i++) {
        struct function *function = &program->functions[i];
        find_symbol(program, "call_", function->name, &function->call);
        find_symbol(program, "shared_by_", function->name, &function->shared);
    }
    return program;
}

bool device_compile(const char *const *sources, size_t count, struct program **programs,
                    struct error *err)
{
    bool ok = true;
    refuse_while_noting("loading a program");
    for (size_t i = 0; i < count; i++)
        ok = (programs[i] = ok ? compile(sources[i], err) : NULL) && ok;
    for (size_t i = 0; !ok && i < count; i++) {
        device_forget(programs[i]);
        programs[i] = NULL;
    }
    return ok;
}

void device_forget(struct program *program)
{
    if (!program)
        return;
    refuse_while_noting("unloading a program");
    check_unused(program);
    if (program->library)
        dlclose(program->library);
    free(program->functions);
    free(program);
}

void *device_function(const struct program *program, const char *name, struct error *err)
{
    for (size_t i = 0; i < program->count; i++)
        if (strcmp(program->functions[i].name, name) == 0)
            return &program->functions[i];
    error_set(err, "there is no kernel %s", name);
    return NULL;
}

/* Kernels. */

enum { THREADS = 1024, STACK = 64 << 10, WARP = 32, SHARED_MOST = 48 << 10 };

/* What a thread does, or waits for: the others of its warp, or of its block. */
enum state { RUNS, MEETS, WAITS, ENDED };

static struct {
    ucontext_t scheduler, thread[THREADS];
    char *stack;
    enum state state[THREADS];
    unsigned current;
    const struct request *request;
    void *arguments[ARGUMENTS];
} block;

static void leave(enum state state)
{
    block.state[block.current] = state;
    swapcontext(&block.thread[block.current], &block.scheduler);
}

static void meet(void)
{
    leave(MEETS);
}

static void wait_for_block(void)
{
    leave(WAITS);
}

static void thread_main(void)
{
    block.request->function->call(block.arguments);
    leave(ENDED);
}

static void stand_on(const struct request *request, unsigned thread)
{
    const struct program *program = request->function->program;
    block.current = thread;
    program->thread->x = thread % request->threads[0];
    program->thread->y = thread / request->threads[0];
}

static void begin_threads(const struct request *request, unsigned threads)
{
    if (!block.stack)
        block.stack = memory_grow(NULL, THREADS, STACK);
    *request->function->program->barrier = wait_for_block;
    *request->function->program->meet = meet;
    for (unsigned i = 0; i < threads; i++) {
        block.state[i] = RUNS;
        getcontext(&block.thread[i]);
        block.thread[i].uc_stack.ss_sp = block.stack + (size_t)i * STACK;
        block.thread[i].uc_stack.ss_size = STACK;
        block.thread[i].uc_link = NULL;
        makecontext(&block.thread[i], thread_main, 0);
    }
}

/* How many of these threads are in this state. */
static unsigned count_in(enum state state, unsigned first, unsigned count)
{
    unsigned found = 0;
    for (unsigned i = first; i < first + count; i++)
        found += block.state[i] == state;
    return found;
}

/* A warp, until all of its threads wait for the block or have ended. They take turns from either
 * end, so that it shows where one relies on what another has not done yet. */
static void run_warp(const struct request *request, unsigned first, unsigned count, bool backwards)
{
    while (count_in(RUNS, first, count)) {
        for (unsigned k = 0; k < count; k++) {
            unsigned i = first + (backwards ? count - 1 - k : k);
            if (block.state[i] != RUNS)
                continue;
            stand_on(request, i);
            swapcontext(&block.scheduler, &block.thread[i]);
        }
        unsigned met = count_in(MEETS, first, count);
        CHECK(met == 0 || met == count, "%s: %u threads of a warp do together what all must",
              request->function->name, met);
        for (unsigned i = first; met && i < first + count; i++)
            block.state[i] = RUNS;
        backwards = !backwards;
    }
}

/* From barrier to barrier, one warp is through before the next begins, which a device may do, too:
 * a barrier missing shows. */
static void run_threads(const struct request *request, unsigned threads)
{
    unsigned warps = (threads + WARP - 1) / WARP;
    begin_threads(request, threads);
    for (unsigned pass = 0; count_in(RUNS, 0, threads); pass++) {
        for (unsigned k = 0; k < warps; k++) {
            unsigned first = (pass % 2 ? warps - 1 - k : k) * WARP;
            run_warp(request, first, first + WARP < threads ? WARP : threads - first, pass % 2);
        }
        unsigned waiting = count_in(WAITS, 0, threads);
        CHECK(waiting == 0 || waiting == threads, "%s: %u of %u threads come to a barrier",
              request->function->name, waiting, threads);
        for (unsigned i = 0; waiting && i < threads; i++)
            block.state[i] = RUNS;
    }
}

/* A trap of a kernel tells whose it is. */
static void tell_trap(int signal)
{
    static const char before[] = "\nthe emulated device: a trap, or memory that is not there, in ";
    const char *name = block.request ? block.request->function->name : "no kernel";
    (void)!write(STDERR_FILENO, before, sizeof before - 1);
    (void)!write(STDERR_FILENO, name, strlen(name));
    (void)!write(STDERR_FILENO, "\n", 1);
    _exit(128 + signal);
}

static void catch_traps(void)
{
    static char stack[64 << 10];
    struct sigaction action = { .sa_handler = tell_trap, .sa_flags = SA_ONSTACK };
    sigaltstack(&(stack_t){ .ss_sp = stack, .ss_size = sizeof stack }, NULL);
    sigaction(SIGILL, &action, NULL);
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
}

static void do_block(const struct request *request, unsigned threads, bool backwards)
{
    char *shared;
    size_t bytes = request->function->shared(&shared);
    memset(shared, SPOILED, bytes);
    if (request->function->has_barriers) {
        run_threads(request, threads);
        return;
    }
    for (unsigned i = 0; i < threads; i++) {
        stand_on(request, backwards ? threads - 1 - i : i);
        request->function->call(block.arguments);
    }
}

static void do_kernel(const struct request *request)
{
    bool backwards = request->backwards;
    const unsigned *blocks = request->blocks;
    const struct program *program = request->function->program;
    block.request = request;
    for (int i = 0; i < ARGUMENTS; i++)
        block.arguments[i] = (void *)(uintptr_t)&request->argument[i];
    program->size->x = request->threads[0];
    program->size->y = request->threads[1];
    for (unsigned y = 0; y < blocks[1]; y++)
        for (unsigned x = 0; x < blocks[0]; x++) {
            program->block->x = backwards ? blocks[0] - 1 - x : x;
            program->block->y = backwards ? blocks[1] - 1 - y : y;
            do_block(request, request->threads[0] * request->threads[1], backwards);
        }
    block.request = NULL;
}

/* What every device refuses, of compute capability 8.0 and later; and that a kernel's code is
 * loaded by its first launch, which must not be recorded. */
static void check_launch(const struct function *function, const unsigned blocks[2],
                         const unsigned threads[2], int count)
{
    char *shared;
    size_t all = (size_t)threads[0] * threads[1], bytes = function->shared(&shared);
    CHECK(blocks[0] >= 1 && blocks[0] <= INT32_MAX && blocks[1] >= 1 && blocks[1] <= 65535,
          "%s: a grid of %u × %u blocks", function->name, blocks[0], blocks[1]);
    CHECK(all >= 1 && all <= THREADS, "%s: blocks of %zu threads", function->name, all);
    CHECK(bytes <= SHARED_MOST, "%s: a block shares %zu bytes", function->name, bytes);
    CHECK((size_t)count * sizeof(void *) <= 4096, "%s: %d arguments", function->name, count);
    CHECK(!noting || function->launches, "%s runs for the first time while a run is recorded",
          function->name);
}

/* No block may rely on another, so every second launch goes backwards. */
void device_launch(void *kernel, const unsigned blocks[2], const unsigned threads[2],
                   void **arguments, int count)
{
    struct function *function = kernel;
    struct request request = { .function = function };
    CHECK(count <= ARGUMENTS, "%d arguments", count);
    check_launch(function, blocks, threads, count);
    request.backwards = function->launches++ % 2;
    memcpy(request.blocks, blocks, sizeof request.blocks);
    memcpy(request.threads, threads, sizeof request.threads);
    for (int i = 0; i < count; i++)
        memcpy(&request.argument[i], arguments[i], sizeof request.argument[i]);
    ask(&request);
}

const struct filter_methods *emulated_filter(void)
{
    struct error err;
    const struct filter_methods *filter = cuda_filter_open(0, &err);
    CHECK(filter, "%s", err.message);
    return filter;
}

const struct maxima_methods *emulated_maxima(void)
{
    struct error err;
    const struct maxima_methods *maxima = cuda_maxima_open(0, &err);
    CHECK(maxima, "%s", err.message);
    return maxima;
}

const struct backend *emulated_backend(void)
{
    struct error err;
    const struct backend *backend = cuda_backend_open(0, &err);
    CHECK(backend, "%s", err.message);
    return backend;
}
