/* Inception v3: backends agree, with statistics that are away from their beginning; how planes are
 * prepared. Names stand in parameters_test.c; against PyTorch it is held in tests/parity. */
#include "nn/rig.h"

#include "models/inception.h"
#include "tensor/compare.h"

enum { IMAGES = 2, SIDE = 79 }; /* an odd side at every pooling */

/* Values that keep the variance, none where it is at its beginning. */
static void fill(struct store *store)
{
    for (size_t i = 0; i < store_count(store); i++) {
        struct tensor *tensor = store_tensor(store, i);
        size_t count = shape_count(tensor->shape);
        const char *name = tensor->name;
        uint64_t stream = random_stream(name);
        bool positive = strstr(name, "bn.weight") || strstr(name, "running_var");
        double scale =
            tensor->shape.rank == 4 ? sqrt(2 * (double)tensor->shape.size[0] / (double)count) : 0.2;
        float *values = memory_grow(NULL, count, sizeof *values);
        for (size_t k = 0; k < count; k++)
            values[k] = (float)(positive ? 0.6 + 0.8 * random_uniform(4, stream, k)
                                         : scale * random_normal(4, stream, k));
        store_write(store, tensor, values);
        free(values);
    }
}

static void features_on(const struct backend *backend, int runs, struct node *x,
                        const float *images, struct node *features, float *values)
{
    struct error err;
    struct store *store = store_new(backend);
    struct plan *plan = plan_create(store, &features, 1, NULL, 0, &err);
    assert_ok(plan, err);
    fill(store);
    plan_write(plan, x, images);
    for (int i = 0; i < runs; i++)
        assert_ok(plan_run(plan, 0, 0, &err), err);
    plan_read(plan, features, values);
    plan_free(plan);
    store_free(store);
}

static void backends_agree(void **state)
{
    (void)state;
    static float images[IMAGES * 3 * SIDE * SIDE], expected[IMAGES * INCEPTION_FEATURES],
        values[IMAGES * INCEPTION_FEATURES];
    struct graph *graph = graph_new();
    struct node *x = t_input(graph, "x", DTYPE_F32, SHAPE(IMAGES, 3, SIDE, SIDE));
    struct node *features = inception_build(x);
    assert_true(shape_equal(features->shape, SHAPE(IMAGES, INCEPTION_FEATURES)));
    for (size_t i = 0; i < IMAGES * 3 * SIDE * SIDE; i++)
        images[i] = (float)(2 * random_uniform(4, 1, i) - 1);
    features_on(&ref_backend, 1, x, images, features, expected);
    features_on(PAIR_BACKEND, 2, x, images, features,
                values); /* what the first left must not show */
    double spread = pair_error(expected, expected + INCEPTION_FEATURES, INCEPTION_FEATURES);
    double error = pair_error(values, expected, IMAGES * INCEPTION_FEATURES);
    assert_true(spread > 1e-4); /* the two images are told apart */
    if (!(error <= 1e-9))
        fail_msg("features have a normalised mean square error of %.3g", error);
    graph_free(graph);
}

/* Black and white stay within what the network takes, though interpolation goes beyond both. */
static void planes_are_scaled_cut_and_given_thrice(void **state)
{
    (void)state;
    enum { PIXELS = INCEPTION_SIDE * INCEPTION_SIDE };
    struct rig rig;
    rig_init(&rig);
    float *planes = arena_array(&rig.arena, float, 2 * 8 * 8);
    for (int i = 0; i < 64; i++) {
        planes[i] = 192;
        planes[64 + i] = i % 8 < 4 ? 0 : 255;
    }
    const double *y =
        rig_evaluate(&rig, inception_prepare(t_constant(rig.graph, SHAPE(2, 8, 8), planes)));
    double least = INFINITY, most = -INFINITY;
    for (int i = 0; i < 3 * PIXELS; i++) {
        const double *edge = y + 3 * PIXELS;
        assert_close(y[i], 0.5, 1e-5);
        assert_true(edge[i] == edge[i % PIXELS]);
        least = fmin(least, edge[i]);
        most = fmax(most, edge[i]);
    }
    assert_true(least == -1 && most == 127 / 128.0);
    rig_release(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(backends_agree),
        cmocka_unit_test(planes_are_scaled_cut_and_given_thrice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
