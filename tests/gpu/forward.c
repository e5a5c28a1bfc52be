/* gpu_forward: networks that are only run, as in sampling and predicting, with attention and biases
 * combined (tensor/combine.h) beside the same with attention by our own kernel alone, and in steps,
 * on one device in turns.
 *
 *     gpu_forward [--device cuda] [--batch N] [--rounds 20] [--json FILE]
 *
 * The networks are the presets': the DDPM of 64 pixels, and Swin at 224. Exit code: 0, 1 where
 * results differ by more than rounding, 2 where something cannot be measured, 77 without a device.
 */
#include "bench.h"

#include "base/arena.h"
#include "base/random.h"
#include "models/ddpm.h"
#include "models/swin.h"
#include "tensor/device.h"
#include "tensor/plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SKIPPED = 77, WARM_UP = 3, ROUNDS_MOST = 200, WAYS = 3 };

/* The last is what the others are compared with. */
static const struct way {
    const char *name, *bias, *attention; /* values of LETHE_FUSED_… */
} ways[WAYS] = { { "combined", "1", "1" },
                 { "own attention", "1", "own" },
                 { "in steps", "0", "0" } };

static const struct kind {
    const char *name;
    enum precision precision;
    double tolerance; /* normalised mean square difference; bf16 rounds in other places */
} kinds[] = { { "bf16", PRECISION_BF16, 5e-3 }, { "f32", PRECISION_F32, 1e-8 } };

struct options {
    const char *device;
    int batch, rounds;
};

static struct node *denoiser(struct graph *graph, int batch)
{
    const struct ddpm ddpm = { .size = 64,
                               .channels = 5,
                               .base = 128,
                               .levels = 4,
                               .mult = { 1, 2, 3, 4 },
                               .blocks = 3,
                               .attention = { 16, 8 },
                               .heads = 4 };
    struct node *x = t_input(graph, "x", DTYPE_F32, SHAPE(batch, 5, 64, 64));
    return ddpm_build(&ddpm, x, t_input(graph, "t", DTYPE_F32, SHAPE(batch)));
}

static struct node *segmenter(struct graph *graph, int batch)
{
    const struct swin swin = { .classes = 4,
                               .embed = 96,
                               .depths = { 2, 2, 6, 2 },
                               .heads = { 3, 6, 12, 24 },
                               .window = 7,
                               .patch = 4,
                               .width = 512 };
    return swin_build(&swin, t_input(graph, "x", DTYPE_F32, SHAPE(batch, 4, 224, 224)), NULL).main;
}

static const struct network {
    const char *name;
    struct node *(*build)(struct graph *graph, int batch);
    int batch;
} networks[] = { { "ddpm-64", denoiser, 64 }, { "swin-224", segmenter, 16 } };

static float *numbers(size_t count, uint64_t stream, double gain)
{
    float *value = memory_grow(NULL, count, sizeof *value);
    random_fill_normal(31, stream, 0, count, value);
    for (size_t i = 0; i < count; i++)
        value[i] *= (float)gain;
    return value;
}

/* Weights that keep values about as large as they are. */
static void fill_parameters(struct store *store)
{
    for (size_t i = 0; i < store_count(store); i++) {
        struct tensor *tensor = store_tensor(store, i);
        size_t count = shape_count(tensor->shape);
        bool weight = tensor->shape.rank > 1;
        double fan = weight ? (double)count / (double)tensor->shape.size[0] : 4;
        float *value = numbers(count, i, 1 / sqrt(fan));
        store_write(store, tensor, value);
        free(value);
    }
}

static void write_inputs(struct plan *plan, const struct graph *graph)
{
    for (size_t id = 0; id < graph_size(graph); id++) {
        const struct node *node = graph_node(graph, id);
        if (node->op != OP_INPUT)
            continue;
        float *value = numbers(shape_count(node->shape), 1000 + id, 1);
        plan_write(plan, node, value);
        free(value);
    }
}

static double run(struct plan *plan, const struct backend *backend)
{
    struct error err;
    double start = bench_seconds();
    if (!plan_run(plan, 0, 1, &err))
        bench_fail("forward: %s", err.message);
    if (backend->recorder)
        backend->recorder->wait();
    return bench_seconds() - start;
}

static double difference(struct plan *one, struct plan *other, struct node *y)
{
    size_t count = shape_count(y->shape);
    float *value = memory_grow(NULL, count, sizeof *value),
          *expected = memory_grow(NULL, count, sizeof *expected);
    double square = 0, size = 0;
    plan_read(one, y, value);
    plan_read(other, y, expected);
    for (size_t i = 0; i < count; i++) {
        double apart = (double)value[i] - (double)expected[i];
        square += apart * apart;
        size += (double)expected[i] * (double)expected[i];
    }
    free(value);
    free(expected);
    return square / size;
}

static struct plan *plan_of(struct store *store, struct node *y, const struct way *way)
{
    struct error err;
    setenv("LETHE_FUSED_BIAS", way->bias, 1);
    setenv("LETHE_FUSED_ATTENTION", way->attention, 1);
    struct plan *plan = plan_create(store, &y, 1, NULL, 0, &err);
    if (!plan)
        bench_fail("forward: %s", err.message);
    return plan;
}

/* What the ways of one network took, in turns; images a second of each. */
static void take_turns(const struct options *options, const struct backend *backend,
                       struct plan *const plans[WAYS], int batch, double speed[WAYS])
{
    double seconds[WAYS][ROUNDS_MOST];
    for (int round = -WARM_UP; round < options->rounds; round++)
        for (int way = 0; way < WAYS; way++)
            seconds[way][round < 0 ? 0 : round] = run(plans[way], backend);
    for (int way = 0; way < WAYS; way++)
        speed[way] = batch / bench_median(seconds[way], (size_t)options->rounds);
}

/* False where a way differs from the last. */
static bool race(struct bench *bench, const struct options *options, const struct backend *backend,
                 const struct network *network, const struct kind *kind)
{
    struct error err;
    int batch = options->batch ? options->batch : network->batch;
    struct graph *graph = graph_new();
    struct node *y = network->build(graph, batch);
    struct store *store = store_new(backend);
    if (!store_set_precision(store, kind->precision, &err))
        bench_fail("forward: %s", err.message);
    struct plan *plans[WAYS];
    double speed[WAYS];
    char name[64];
    bool same = true;
    for (int way = 0; way < WAYS; way++)
        plans[way] = plan_of(store, y, &ways[way]);
    fill_parameters(store);
    for (int way = 0; way < WAYS; way++)
        write_inputs(plans[way], graph);
    take_turns(options, backend, plans, batch, speed);
    snprintf(name, sizeof name, "%s-%s", network->name, kind->name);
    for (int way = 1; way < WAYS; way++)
        bench_row(bench, &(struct bench_row){ name, "images/s", speed[0], speed[way],
                                              ways[way].name, speed[0] / speed[way], NAN });
    for (int way = 0; way < WAYS; way++) {
        double apart = difference(plans[way], plans[WAYS - 1], y);
        same = same && apart <= kind->tolerance;
        printf("%s, %s: %zu steps, %.1f MB, a normalised mean square difference of %.2g (at most "
               "%.0g)%s\n",
               name, ways[way].name, plan_kernels(plans[way]), (double)plan_bytes(plans[way]) / 1e6,
               apart, kind->tolerance,
               !backend->recorder || plan_is_replayed(plans[way]) ? "" : "; NOT replayed");
        (void)plan_makeshifts(plans[way], stdout);
        if (plan_refusal(plans[way]))
            printf("%s, %s: %s\n", name, ways[way].name, plan_refusal(plans[way]));
    }
    for (int way = 0; way < WAYS; way++)
        plan_free(plans[way]);
    store_free(store);
    graph_free(graph);
    return same;
}

int main(int argc, char **argv)
{
    struct error err;
    struct bench bench;
    struct options options = { "cuda", 0, 20 };
    const struct bench_option table[] = {
        { "--device", "NAME", "as lethe takes it (default cuda)", BENCH_TEXT, &options.device },
        { "--batch", "N", "images; 0: the network's own", BENCH_NUMBER, &options.batch },
        { "--rounds", "N", "of each way (default 20)", BENCH_NUMBER, &options.rounds },
        { 0 },
    };
    bench_begin(&bench, "forward", table, argc, argv);
    if (options.rounds < 1 || options.rounds > ROUNDS_MOST)
        bench_fail("forward: %d rounds; there can be 1 to %d", options.rounds, ROUNDS_MOST);
    const struct backend *backend = device_backend(options.device, &err);
    if (!backend) {
        fprintf(stderr, "no device: %s\n", err.message);
        return SKIPPED;
    }
    bool same = true;
    for (size_t n = 0; n < sizeof networks / sizeof *networks; n++)
        for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
            same = race(&bench, &options, backend, &networks[n], &kinds[k]) && same;
    bench_end(&bench);
    return same ? 0 : 1;
}
