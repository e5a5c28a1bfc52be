/* The CPU backend: its memory and its table; see cpu.h. */
#include "tensor/cpu.h"

#include "base/allowance.h"
#include "base/arena.h"
#include "base/parallel.h"
#include "base/random.h"
#include "tensor/cpu_parts.h"

#include <string.h>

/* Random leaves: element i is a function of its index, so ranges can be cut anywhere. */

struct draw {
    void (*fill)(uint64_t seed, uint64_t stream, uint64_t first, size_t count, float *out);
    uint64_t seed, stream, first;
    float *out;
};

static void draw_range(void *context, size_t begin, size_t end)
{
    const struct draw *draw = context;
    draw->fill(draw->seed, draw->stream, draw->first + begin, end - begin, draw->out + begin);
}

static void run_random(const struct step *step, const struct run *run)
{
    struct draw draw = { .seed = run->seed, .stream = random_leaf_stream(step->node, run->step) };
    draw.fill = step->node->op == OP_NORMAL ? random_fill_normal : random_fill_uniform;
    draw.out = run->memory[step->out.buffer];
    draw.first = run->part * shape_count(step->out.shape);
    parallel_ranges(shape_count(step->out.shape), 4096, draw_range, &draw);
}

static bool prepare_random(struct step *step, struct error *err)
{
    (void)step, (void)err;
    return true;
}

static void dispose_nothing(struct step *step)
{
    (void)step;
}

/* How each op that is no part of a loop is computed. */
struct way {
    bool (*prepare)(struct step *step, struct error *err);
    void (*run)(const struct step *step, const struct run *run);
    void (*dispose)(struct step *step);
};

static const struct way loop = { cpu_prepare_loop, cpu_run_loop, cpu_dispose_loop };
static const struct way ways[OP_COUNT] = {
    [OP_NORMAL] = { prepare_random, run_random, dispose_nothing },
    [OP_UNIFORM] = { prepare_random, run_random, dispose_nothing },
    [OP_MATMUL] = { cpu_prepare_matrix, cpu_run_matrix, cpu_dispose_matrix },
    [OP_CONV] = { cpu_prepare_matrix, cpu_run_matrix, cpu_dispose_matrix },
    [OP_CONV_DX] = { cpu_prepare_matrix, cpu_run_matrix, cpu_dispose_matrix },
    [OP_CONV_DW] = { cpu_prepare_matrix, cpu_run_matrix, cpu_dispose_matrix },
    [OP_UPFIRDN] = { cpu_prepare_upfirdn, cpu_run_upfirdn, cpu_dispose_upfirdn },
    [OP_WARP] = { cpu_prepare_warp, cpu_run_warp, dispose_nothing },
    [OP_WARP_DX] = { cpu_prepare_warp, cpu_run_warp_dx, dispose_nothing },
};

static const struct way *way_of(const struct step *step)
{
    return step->loop ? &loop : &ways[step->node->op];
}

static bool prepare(struct step *step, struct error *err)
{
    CHECK(way_of(step)->prepare, "%s is neither a loop nor in the CPU's table",
          ops[step->node->op].name);
    return way_of(step)->prepare(step, err);
}

static void execute(const struct step *step, const struct run *run)
{
    way_of(step)->run(step, run);
}

static void dispose(struct step *step)
{
    if (step->loop || step->state)
        way_of(step)->dispose(step);
}

/* Memory. */

static void *allocate(size_t bytes, const char *what, struct error *err)
{
    return memory_allocate(bytes, 1, what, err);
}

static void copy_in(void *device, const void *host, enum dtype dtype, size_t count)
{
    memcpy(device, host, count * dtype_bytes(dtype));
}

static void copy(void *to, const void *from, enum dtype dtype, size_t count)
{
    memmove(to, from, count * dtype_bytes(dtype));
}

static bool finish(struct error *err)
{
    (void)err;
    return true;
}

static size_t available(void)
{
    struct allowance allowance;
    allowance_read(&allowance, "");
    return allowance.memory_left;
}

static bool has_bf16(void)
{
#if defined(__x86_64__) && defined(__GNUC__)
    return __builtin_cpu_supports("avx512bf16");
#else
    return false;
#endif
}

const struct backend cpu_backend = {
    .name = "cpu",
    .draws_parts = true,
    .element_bytes = { sizeof(float), sizeof(uint16_t), sizeof(int32_t) },
    .allocate = allocate,
    .release = memory_free,
    .copy_in = copy_in,
    .copy_out = copy_in,
    .copy = copy,
    .finish = finish,
    .available = available,
    .has_bf16 = has_bf16,
    .prepare = prepare,
    .execute = execute,
    .dispose = dispose,
};
