/* A GPU's peak; see peak_device.h.
 *
 * A chain of products x·b·b·…, long enough that all else of a run (rounding b once, the first and
 * the last x) is below a hundredth of it. b is scaled so that the numbers keep their size. Numbers
 * are drawn, not zeros: on zeros a chip draws less power and runs faster than it ever will.
 */
#include "peak_device.h"

#include "bench.h"

#include "base/arena.h"
#include "base/random.h"
#include "tensor/compose.h"
#include "tensor/plan.h"

#include <math.h>

enum { SIDE = 8192, ROUNDS = 10 };
static const int links[] = { [PRECISION_F32] = 4, [PRECISION_BF16] = 16 };

static void write_normal(struct plan *plan, const struct node *input, uint64_t stream, double gain)
{
    struct error err;
    size_t count = shape_count(input->shape);
    float *value = memory_allocate(count, sizeof *value, "a matrix", &err);
    if (!value)
        bench_fail("%s", err.message);
    random_fill_normal(1, stream, 0, count, value);
    for (size_t i = 0; i < count; i++)
        value[i] *= (float)gain;
    plan_write(plan, input, value);
    memory_free(value);
}

static double run(struct plan *plan, const struct backend *backend)
{
    struct error err;
    double start = bench_seconds();
    if (!plan_run(plan, 0, 1, &err))
        bench_fail("the peak: %s", err.message);
    if (backend->recorder)
        backend->recorder->wait();
    return bench_seconds() - start;
}

double peak_of_device(const struct backend *backend, enum precision precision)
{
    struct error err;
    struct graph *graph = graph_new();
    struct store *store = store_new(backend);
    struct node *first = t_input(graph, "first", DTYPE_F32, SHAPE(SIDE, SIDE)),
                *factor = t_input(graph, "factor", DTYPE_F32, SHAPE(SIDE, SIDE));
    enum dtype dtype = precision == PRECISION_BF16 ? DTYPE_BF16 : DTYPE_F32;
    struct node *x = t_cast(first, dtype), *b = t_cast(factor, dtype);
    for (int i = 0; i < links[precision]; i++)
        x = t_matmul(x, b);
    struct node *sum = t_sum_all(t_cast(x, DTYPE_F32));
    struct plan *plan = plan_create(store, &sum, 1, NULL, 0, &err);
    if (!plan)
        bench_fail("the peak: %s", err.message);
    write_normal(plan, first, 1, 1);
    write_normal(plan, factor, 2, 1 / sqrt(SIDE));
    double seconds[ROUNDS];
    for (int i = -3; i < ROUNDS; i++) {
        double taken = run(plan, backend);
        if (i >= 0)
            seconds[i] = taken;
    }
    plan_free(plan);
    store_free(store);
    graph_free(graph);
    return 2.0 * SIDE * SIDE * SIDE * links[precision] / bench_median(seconds, ROUNDS);
}
