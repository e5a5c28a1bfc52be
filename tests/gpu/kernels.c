/* gpu_kernels: every kernel of our own in a network's training steps, as compiled code; no device
 * is needed.
 *
 *     gpu_kernels NETWORK f32|bf16 FOLDER
 *
 * The networks are those of bench_engine --large. FOLDER gets PLAN-PIECE.cubin, and kernels.jsonl
 * with a line a kernel: its plan, how often a step launches it (a phase that comes every 16 steps
 * counts a sixteenth), blocks, threads, kinds of loops, and the bytes that it reads and writes at
 * least, as the plan counts them. tests/gpu/kernels reads both and tells what is slow about them.
 */
#include "case.h"
#include "cuda/backend.h"
#include "cuda/compiler.h"
#include "cuda/device.h"
#include "cuda/generate.h"

#include "base/arena.h"
#include "base/file.h"
#include "tensor/profile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct known {
    char name[KERNEL_NAME];
    int plan;
    size_t bytes;
    double launches;
    unsigned blocks, pieces, threads;
    unsigned kinds; /* of a group of loops: how many ways of looping it has */
};

static struct known *known;
static size_t known_count, known_capacity;
static int plan_now, pieces_now;
static double weight; /* of a launch now; 0: it does not count */
static const char *folder;

static _Noreturn void give_up(const char *what, const char *why)
{
    fprintf(stderr, "%s: %s\n", what, why);
    exit(2);
}

/* Good until the next is found. */
static struct known *find(const char *name)
{
    for (size_t i = 0; i < known_count; i++)
        if (known[i].plan == plan_now && strcmp(known[i].name, name) == 0)
            return &known[i];
    ARRAY_RESERVE(known, known_count, known_capacity);
    struct known *kernel = &known[known_count++];
    *kernel = (struct known){ .plan = plan_now, .kinds = 1 };
    snprintf(kernel->name, KERNEL_NAME, "%s", name);
    return kernel;
}

/* ---- what kernels read and write ------------------------------------------------------------- */

static void note(const struct kernel *kernel, size_t bytes)
{
    find(kernel->name)->bytes = bytes + kernel->scratch;
    if (kernel->finish[0])
        find(kernel->finish)->bytes = kernel->scratch;
}

/* generate.h, on its way to the backend. */
#define STEPWISE(generate)                                                                         \
    void __real_##generate(const struct step *step, const char *name, struct text *source,         \
                           struct kernel *kernel);                                                 \
    void __wrap_##generate(const struct step *step, const char *name, struct text *source,         \
                           struct kernel *kernel);                                                 \
    void __wrap_##generate(const struct step *step, const char *name, struct text *source,         \
                           struct kernel *kernel)                                                  \
    {                                                                                              \
        __real_##generate(step, name, source, kernel);                                             \
        note(kernel, step_bytes(step));                                                            \
    }
STEPWISE(generate_upfirdn)
STEPWISE(generate_filtered)
STEPWISE(generate_warp)
STEPWISE(generate_warp_dx)
STEPWISE(generate_random)
STEPWISE(generate_attention)
STEPWISE(generate_attention_gradient)
STEPWISE(generate_attention_added_gradient)
STEPWISE(generate_convolution)
STEPWISE(generate_product)

void __real_generate_loop(const struct loop *loop, const char *name, struct text *source,
                          struct kernel *kernel);
void __wrap_generate_loop(const struct loop *loop, const char *name, struct text *source,
                          struct kernel *kernel);
void __wrap_generate_loop(const struct loop *loop, const char *name, struct text *source,
                          struct kernel *kernel)
{
    __real_generate_loop(loop, name, source, kernel);
    note(kernel, loop_bytes(loop));
}

void __real_generate_group(const struct step *step, const char *name, struct text *source,
                           struct kernel *kernel);
void __wrap_generate_group(const struct step *step, const char *name, struct text *source,
                           struct kernel *kernel);
void __wrap_generate_group(const struct step *step, const char *name, struct text *source,
                           struct kernel *kernel)
{
    size_t bytes = 0;
    __real_generate_group(step, name, source, kernel);
    for (size_t i = 0; i < step->together; i++)
        bytes += step_bytes(&step[i]);
    note(kernel, bytes);
    unsigned kinds = 0;
    for (const char *at = source->bytes; (at = strstr(at, "\n    case ")); at++)
        kinds++;
    find(kernel->name)->kinds = kinds;
}

void __real_generate_copy(const struct view *from, const struct view *to, const char *name,
                          struct text *source, struct kernel *kernel);
void __wrap_generate_copy(const struct view *from, const struct view *to, const char *name,
                          struct text *source, struct kernel *kernel);
void __wrap_generate_copy(const struct view *from, const struct view *to, const char *name,
                          struct text *source, struct kernel *kernel)
{
    __real_generate_copy(from, to, name, source, kernel);
    note(kernel, shape_count(to->shape) * (dtype_bytes(from->dtype) + dtype_bytes(to->dtype)));
}

/* ---- a device that only looks on ------------------------------------------------------------- */

bool device_compile(const char *const *sources, size_t count, struct program **programs,
                    struct error *err)
{
    struct code *codes = memory_grow(NULL, count, sizeof *codes);
    bool ok = compiler_build(sources, count, false, codes, err);
    for (size_t i = 0; i < count && ok; i++, pieces_now++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%d-%d.cubin", folder, plan_now, pieces_now);
        ok = file_write(path, codes[i].bytes, codes[i].size, err);
        snprintf(path, sizeof path, "%s/%d-%d.cu", folder, plan_now, pieces_now);
        ok = ok && file_write(path, sources[i], strlen(sources[i]), err);
        programs[i] = memory_grow(NULL, 1, 1);
        free(codes[i].bytes);
    }
    free(codes);
    return ok;
}

void *__wrap_device_function(const struct program *program, const char *name, struct error *err);
void *__wrap_device_function(const struct program *program, const char *name, struct error *err)
{
    (void)program, (void)err;
    return find(name);
}

void device_launch(void *function, const unsigned blocks[2], const unsigned threads[2],
                   void **arguments, int count)
{
    (void)arguments, (void)count;
    struct known *kernel = function;
    kernel->launches += weight;
    kernel->blocks = blocks[0];
    kernel->pieces = blocks[1];
    kernel->threads = threads[0] * threads[1];
}

/* ---- networks -------------------------------------------------------------------------------- */

static void need(bool ok, const char *what, const struct error *err)
{
    if (!ok)
        give_up(what, err->message);
}

/* The second run is one of many: what is made once is made. */
static void run_phase(struct training *training, int phase, struct store *store)
{
    struct error err;
    plan_now++;
    struct plan *plan = training_plan(training, phase, store, &err);
    need(plan, training->phases[phase].name, &err);
    for (size_t id = 0; id < graph_size(training->graph); id++)
        if (graph_node(training->graph, id)->op == OP_INPUT)
            plan_write(plan, graph_node(training->graph, id), NULL);
    for (int run = 0; run < 2; run++) {
        weight = run ? 1.0 / (double)training->phases[phase].interval : 0;
        need(plan_run(plan, 0, 1, &err), training->phases[phase].name, &err);
    }
    weight = 0;
    plan_free(plan);
}

static void run_network(const char *name, enum precision precision)
{
    struct error err;
    struct parity_case of;
    struct case_options options = { .path = strcmp(name, "stylegan2") == 0 };
    need(compiler_aim(9, 0, &err), "the compiler", &err);
    const struct backend *backend = cuda_backend_open(0, &err);
    need(backend, "the backend", &err);
    struct store *store = store_new(backend);
    need(case_open_usual(&of, name, CASE_LARGE, &options, &err), name, &err);
    need(store_set_precision(store, precision, &err), name, &err);
    struct plan *initial = training_plan_initial(&of.training, store, &err);
    need(initial && plan_run(initial, 0, 1, &err), name, &err);
    plan_free(initial);
    for (int i = 0; i < of.training.phase_count; i++)
        run_phase(&of.training, i, store);
    case_close(&of);
    store_free(store);
}

static void write_known(void)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/kernels.jsonl", folder);
    FILE *file = fopen(path, "w");
    for (size_t i = 0; file && i < known_count; i++)
        if (known[i].launches > 0)
            fprintf(
                file,
                "{\"plan\": %d, \"kernel\": \"%s\", \"launches\": %g, \"blocks\": %u, \"threads\": %u, "
                "\"kinds\": %u, \"bytes\": %zu}\n",
                known[i].plan, known[i].name, known[i].launches, known[i].blocks * known[i].pieces,
                known[i].threads, known[i].kinds, known[i].bytes);
    if (!file || fclose(file))
        give_up(path, "it cannot be written");
}

int main(int argc, char **argv)
{
    if (argc != 4 || (strcmp(argv[2], "f32") && strcmp(argv[2], "bf16"))) {
        fprintf(stderr, "usage: gpu_kernels NETWORK f32|bf16 FOLDER\n");
        return 2;
    }
    struct error err;
    folder = argv[3];
    need(folder_create(folder, &err), folder, &err);
    run_network(argv[1], strcmp(argv[2], "bf16") ? PRECISION_F32 : PRECISION_BF16);
    write_known();
    return 0;
}
