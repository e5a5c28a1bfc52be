/* The CUDA backend's table; see backend.h.
 *
 * Preparing a step only adds its kernels' text to a batch, which is compiled when the first of its
 * steps runs, so a plan costs one compilation, or none where it is in the cache. Steps that were
 * prepared since the last compilation share a batch and drop it together. Kernels are named by the
 * digest of their text, so what a network does in many places stands there once: of the 1399
 * kernels of a step of the benchmark's DDPM, 409 differ. A batch is cut into pieces of about the
 * same size, programs of their own that are compiled at the same time: those kernels keep the
 * compiler busy for 24 s of one core, 12 s of two. How a batch is cut does not depend on the
 * machine.
 *
 * Random leaves read seed and step from device memory, which a kernel sets before each run; so a
 * run that was recorded draws fresh numbers when it is replayed.
 */
#include "cuda/backend.h"

#include "base/arena.h"
#include "base/digest.h"
#include "base/random.h"
#include "cuda/device.h"
#include "cuda/libraries.h"
#include "cuda/matrix.h"
#include "tensor/filtered.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ARITY_LARGEST = 4 + ATTENTION_ADDED };

enum { PIECES = 32, PIECE_LEAST = 8 /* kernels for each, before there is another */ };

struct batch {
    struct text source[PIECES]; /* until it is compiled; from the first on, as many as are needed */
    struct program *program[PIECES];
    size_t steps; /* that refer to it */
    struct shared {
        char name[KERNEL_NAME];
        int piece;
    } * shared; /* kernels that any of the steps may use */
    size_t count, capacity;
    size_t texts;    /* so far */
    unsigned others; /* matrix steps: their kernels are theirs alone */
    bool compiled, failed;
};

/* A prepared step. */
struct made {
    struct batch *batch;
    int piece;
    struct kernel kernel;
    struct matrix *matrix; /* NULL: it is the kernel, or */
    void *attention;       /* the library's */
};

static struct batch *open_batch;        /* to which text may still be added */
static const struct program *launching; /* whose kernels matrix_run launches */
static struct program *clock_program;
static uint64_t *clock_memory; /* on the device: seed, step, part */

static const char clock_source[] =
    "extern \"C\" __global__ void set_clock(unsigned long long *clock, unsigned long long seed,\n"
    "                                     unsigned long long step, unsigned long long part)\n"
    "{\n    clock[0] = seed;\n    clock[1] = step;\n    clock[2] = part;\n}\n";

/* Launching. */

static void launch_named(const struct program *program, const char *name, unsigned blocks,
                         unsigned pieces, const unsigned threads[2], void **arguments, int count)
{
    struct error err;
    void *function = program ? device_function(program, name, &err) : NULL;
    if (function)
        device_launch(function, (unsigned[2]){ blocks, pieces }, threads, arguments, count);
    else if (program)
        device_fail("a kernel", err.message);
}

static void launch(const struct kernel *kernel, void **arguments)
{
    launch_named(launching, kernel->name, kernel->blocks, kernel->pieces, kernel->threads,
                 arguments, kernel->arguments);
    if (kernel->finish[0])
        launch_named(launching, kernel->finish, kernel->finish_blocks, 1,
                     (unsigned[2]){ KERNEL_THREADS, 1 }, arguments, kernel->arguments);
}

static void release_sources(struct batch *batch)
{
    for (int i = 0; i < PIECES; i++)
        text_release(&batch->source[i]);
    if (open_batch == batch)
        open_batch = NULL;
}

static void compile(struct batch *batch)
{
    struct error err;
    const char *sources[PIECES];
    size_t count = 0;
    while (count < PIECES && batch->source[count].length) {
        sources[count] = batch->source[count].bytes;
        count++;
    }
    batch->compiled = true;
    batch->failed = count && !device_compile(sources, count, batch->program, &err);
    if (batch->failed)
        device_fail("compiling a plan's kernels", err.message);
    release_sources(batch);
}

static void *place_of(const struct view *view, const struct run *run)
{
    return (char *)run->memory[view->buffer] + view->offset * (int64_t)dtype_bytes(view->dtype);
}

static void *operand_place(const struct operand *operand, const struct run *run)
{
    return (char *)run->memory[operand->buffer] +
           operand->offset * (int64_t)dtype_bytes(operand->dtype);
}

static void run_loop(const struct step *step, const struct run *run, const struct kernel *kernel)
{
    const struct loop *loop = step->loop;
    void *at[LOOP_OPERANDS + 1], *arguments[LOOP_OPERANDS + 1];
    for (int k = 0; k < loop->operands; k++)
        at[k] = operand_place(&loop->operand[k], run);
    at[loop->operands] = run->scratch;
    for (int k = 0; k <= loop->operands; k++)
        arguments[k] = &at[k];
    launch(kernel, arguments);
}

static void run_group(const struct step *step, const struct run *run, const struct kernel *kernel)
{
    void *at[GROUP_ARGUMENTS], *arguments[GROUP_ARGUMENTS];
    int count = 0;
    for (size_t i = 0; i < step->together; i++)
        for (int k = 0; k < step[i].loop->operands; k++) {
            at[count] = operand_place(&step[i].loop->operand[k], run);
            arguments[count] = &at[count];
            count++;
        }
    launch(kernel, arguments);
}

static void run_upfirdn(const struct step *step, const struct run *run, const struct kernel *kernel)
{
    void *x = place_of(&step->in[0], run), *y = place_of(&step->out, run);
    launch(kernel, (void *[]){ &x, &y });
}

static void run_filtered(const struct step *step, const struct run *run,
                         const struct kernel *kernel)
{
    void *at[FILTERED_IMAGES + 1], *arguments[FILTERED_IMAGES + 1];
    int images = step->node->sources / 2; /* the others are filters */
    for (int i = 0; i <= images; i++) {
        at[i] = place_of(i < images ? &step->in[i] : &step->out, run);
        arguments[i] = &at[i];
    }
    launch(kernel, arguments);
}

static void run_warp(const struct step *step, const struct run *run, const struct kernel *kernel)
{
    void *x = place_of(&step->in[0], run), *matrix = place_of(&step->in[1], run);
    void *y = place_of(&step->out, run);
    launch(kernel, (void *[]){ &x, &matrix, &y });
}

static void run_random(const struct step *step, const struct run *run, const struct kernel *kernel)
{
    void *y = place_of(&step->out, run), *clock = clock_memory;
    launch(kernel, (void *[]){ &y, &clock });
}

static void run_library_attention(const struct step *step, const struct run *run, void *attention)
{
    attention_run(attention, place_of(&step->in[0], run), place_of(&step->in[1], run),
                  place_of(&step->in[2], run), place_of(&step->out, run), run->scratch);
}

static void run_attention(const struct step *step, const struct run *run,
                          const struct kernel *kernel)
{
    void *at[ARITY_LARGEST + 1], *arguments[ARITY_LARGEST + 1];
    int sources = step->node->sources;
    for (int i = 0; i <= sources; i++) {
        at[i] = place_of(i < sources ? &step->in[i] : &step->out, run);
        arguments[i] = &at[i];
    }
    launch(kernel, arguments);
}

/* Steps. */

static void generate_loop_of(const struct step *step, const char *name, struct text *source,
                             struct kernel *kernel)
{
    generate_loop(step->loop, name, source, kernel);
}

/* How each op that is no matrix op is computed; a NULL row is one. */
static const struct way {
    void (*generate)(const struct step *step, const char *name, struct text *source,
                     struct kernel *kernel);
    void (*run)(const struct step *step, const struct run *run, const struct kernel *kernel);
} loop_way = { generate_loop_of, run_loop }, group_way = { generate_group, run_group },
  ways[OP_COUNT] = {
      [OP_NORMAL] = { generate_random, run_random },
      [OP_UNIFORM] = { generate_random, run_random },
      [OP_UPFIRDN] = { generate_upfirdn, run_upfirdn },
      [OP_FILTERED] = { generate_filtered, run_filtered },
      [OP_WARP] = { generate_warp, run_warp },
      [OP_WARP_DX] = { generate_warp_dx, run_warp },
      [OP_ATTENTION] = { generate_attention, run_attention },
      [OP_ATTENTION_GRADIENT] = { generate_attention_gradient, run_attention },
      [OP_ATTENTION_ADDED_GRADIENT] = { generate_attention_added_gradient, run_attention },
  };

static const struct way *way_of(const struct step *step)
{
    if (step->together > 1)
        return &group_way;
    return step->loop ? &loop_way : &ways[step->node->op];
}

static struct batch *batch_for_step(void)
{
    if (!open_batch) {
        open_batch = memory_grow(NULL, 1, sizeof *open_batch);
        *open_batch = (struct batch){ 0 };
    }
    open_batch->steps++;
    return open_batch;
}

static void leave_batch(struct batch *batch)
{
    if (--batch->steps)
        return;
    for (int i = 0; i < PIECES; i++)
        device_forget(batch->program[i]);
    release_sources(batch);
    free(batch->shared);
    free(batch);
}

static void dispose(struct step *step)
{
    struct made *made = step->state;
    if (!made)
        return;
    matrix_dispose(made->matrix);
    attention_dispose(made->attention);
    leave_batch(made->batch);
    free(made);
    step->state = NULL;
}

/* Adds the text to the shortest of the pieces; which one it is. */
static int add_source(struct batch *batch, const struct text *text)
{
    int shortest = 0, pieces = 1 + (int)(batch->texts++ / PIECE_LEAST);
    pieces = pieces < PIECES ? pieces : PIECES;
    for (int i = 1; i < pieces; i++)
        if (batch->source[i].length < batch->source[shortest].length)
            shortest = i;
    if (!batch->source[shortest].length)
        text_add(&batch->source[shortest], generate_prelude);
    text_add(&batch->source[shortest], text->bytes);
    return shortest;
}

/* The piece of the kernel of this name; -1: it has none yet. */
static int piece_of(const struct batch *batch, const char *name)
{
    for (size_t i = 0; i < batch->count; i++)
        if (strcmp(batch->shared[i].name, name) == 0)
            return batch->shared[i].piece;
    return -1;
}

static void generate_once(const struct step *step, const struct way *way, struct made *made)
{
    char name[KERNEL_NAME], hex[DIGEST_HEX];
    struct text nameless = { 0 }, named = { 0 };
    struct batch *batch = made->batch;
    way->generate(step, "k", &nameless, &made->kernel);
    struct digest digest = digest_of(nameless.bytes, nameless.length);
    snprintf(name, sizeof name, "k_%.16s", digest_hex(&digest, hex));
    way->generate(step, name, &named, &made->kernel);
    made->piece = piece_of(batch, name);
    if (made->piece < 0) {
        made->piece = add_source(batch, &named);
        ARRAY_RESERVE(batch->shared, batch->count, batch->capacity);
        struct shared *shared = &batch->shared[batch->count++];
        shared->piece = made->piece;
        strcpy(shared->name, name);
    }
    text_release(&nameless);
    text_release(&named);
}

/* Copies around a library's work, or a kernel in its place: of this step alone. */
static bool prepare_matrix(struct step *step, struct made *made, struct error *err)
{
    char name[KERNEL_NAME];
    struct text text = { 0 };
    snprintf(name, sizeof name, "m%u", made->batch->others++);
    made->matrix = matrix_prepare(step, name, &text, err);
    if (made->matrix && text.length)
        made->piece = add_source(made->batch, &text);
    text_release(&text);
    return made->matrix;
}

/* Set to 0, a variable has something done in steps that is else done at once; LETHE_FUSED_ATTENTION
 * set to own, by a kernel of ours alone. All ways stay, so that one can be measured and checked
 * against the others. */
static bool is_switched(const char *variable, const char *to)
{
    const char *value = getenv(variable);
    return value && strcmp(value, to) == 0;
}

/* What the library takes; a kernel of ours does the rest, and where the library fails. */
static bool prepare_library_attention(struct step *step, struct made *made)
{
    struct error ignored;
    struct heads heads;
    return !is_switched("LETHE_FUSED_ATTENTION", "own") && attention_as_heads(step, &heads) &&
           attention_prepare(&heads, &made->attention, &step->scratch, &ignored);
}

static bool prepare(struct step *step, struct error *err)
{
    struct made *made = memory_grow(NULL, 1, sizeof *made);
    *made = (struct made){ .batch = batch_for_step() };
    step->state = made;
    const struct way *way = way_of(step);
    if (!way->generate)
        return prepare_matrix(step, made, err);
    bool attention = !step->loop && op_is_attention(step->node->op);
    if (attention)
        step->flops = attention_flops(step);
    if (attention && step->node->op == OP_ATTENTION && prepare_library_attention(step, made))
        return true;
    generate_once(step, way, made);
    step->scratch = made->kernel.scratch;
    return true;
}

static void execute(const struct step *step, const struct run *run)
{
    struct made *made = step->state;
    if (!made->batch->compiled)
        compile(made->batch);
    if (made->batch->failed) {
        device_fail("a plan", "its kernels could not be compiled");
        return;
    }
    launching = made->batch->program[made->piece];
    if (made->matrix)
        matrix_run(made->matrix, run, launch);
    else if (made->attention)
        run_library_attention(step, run, made->attention);
    else
        way_of(step)->run(step, run, &made->kernel);
}

/* Small loops that do not depend on each other are one kernel. */
static size_t gathers(const struct step *step)
{
    return step->loop && !is_switched("LETHE_GROUPED", "0") ? loop_groups(step->loop) : 0;
}

static bool takes_attention(const struct node *node)
{
    return attention_suits(node) && (!node->attention.half || device_has_bf16());
}

/* What is done at once, unless the variable is 0. */
static const struct {
    const char *variable;
    bool (*suits)(const struct node *node); /* NULL: each does */
} combined[OP_COUNT] = {
    [OP_LINEAR] = { "LETHE_FUSED_BIAS", NULL },
    [OP_FILTERED] = { "LETHE_FUSED_FILTERS", filtered_suits },
    [OP_ATTENTION] = { "LETHE_FUSED_ATTENTION", takes_attention },
    [OP_ATTENTION_GRADIENT] = { "LETHE_FUSED_ATTENTION", takes_attention },
    [OP_ATTENTION_ADDED_GRADIENT] = { "LETHE_FUSED_ATTENTION", takes_attention },
};

static bool takes(const struct node *node)
{
    bool (*suits)(const struct node *node) = combined[node->op].suits;
    return !is_switched(combined[node->op].variable, "0") && (!suits || suits(node));
}

/* Whole runs. */

static void begin(uint64_t seed, uint64_t step, uint64_t part)
{
    void *clock = clock_memory;
    launch_named(clock_program, "set_clock", 1, 1, (unsigned[2]){ 1, 1 },
                 (void *[]){ &clock, &seed, &step, &part }, 4);
}

static void *recorded(struct error *err)
{
    return device_recorded(err);
}

static void replay(const void *recording)
{
    device_replay(recording);
}

static void erase(void *recording)
{
    device_erase(recording);
}

static const struct recorder recorder = { .begin = begin,
                                          .record = device_record,
                                          .recorded = recorded,
                                          .replay = replay,
                                          .erase = erase,
                                          .wait = device_wait };

/* Memory. */

static void copy_in(void *device, const void *host, enum dtype dtype, size_t count)
{
    device_copy_in(device, host, count * dtype_bytes(dtype));
}

static void copy_out(void *host, const void *device, enum dtype dtype, size_t count)
{
    device_copy_out(host, device, count * dtype_bytes(dtype));
}

static void copy(void *to, const void *from, enum dtype dtype, size_t count)
{
    device_copy(to, from, count * dtype_bytes(dtype));
}

static const struct backend cuda_backend = {
    .name = "cuda",
    .draws_parts = true,
    .alignment = 256, /* what libraries want of scratch memory */
    .element_bytes = { sizeof(float), sizeof(uint16_t), sizeof(int32_t) },
    .allocate = device_allocate,
    .release = device_release,
    .copy_in = copy_in,
    .copy_out = copy_out,
    .copy = copy,
    .pin = device_pin,
    .finish = device_check,
    .available = device_available,
    .has_bf16 = device_has_bf16,
    .prepare = prepare,
    .execute = execute,
    .dispose = dispose,
    .weights_last = true,
    .takes = takes,
    .gathers = gathers,
    .group_most = GROUP_ARGUMENTS,
    .recorder = &recorder,
};

const struct backend *cuda_backend_open(int device, struct error *err)
{
    if (!device_open(device, err))
        return NULL;
    if (!clock_memory)
        clock_memory = device_allocate(3 * sizeof *clock_memory, "seed, step and part", err);
    const char *source = clock_source;
    bool ok = clock_memory && (clock_program || device_compile(&source, 1, &clock_program, err));
    return ok ? &cuda_backend : NULL;
}
