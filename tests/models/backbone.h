/* What tests of networks for features share: parameters that are away from their beginning, and
 * backends that agree. */
#ifndef TESTS_MODELS_BACKBONE_H
#define TESTS_MODELS_BACKBONE_H

#include "nn/rig.h"

#include "tensor/compare.h"

enum { BACKBONE_IMAGES = 2, BACKBONE_FEATURES = 2048 };

/* Values that keep the variance, none where it is at its beginning. */
static inline void backbone_fill(struct store *store)
{
    for (size_t i = 0; i < store_count(store); i++) {
        struct tensor *tensor = store_tensor(store, i);
        size_t count = shape_count(tensor->shape), rank = (size_t)tensor->shape.rank;
        const char *name = tensor->name;
        uint64_t stream = random_stream(name);
        bool positive = rank == 1 && (strstr(name, ".weight") || strstr(name, "running_var"));
        double scale = rank == 4 ? sqrt(2 * (double)tensor->shape.size[0] / (double)count) : 0.2;
        float *values = memory_grow(NULL, count, sizeof *values);
        for (size_t k = 0; k < count; k++)
            values[k] = (float)(positive ? 0.6 + 0.8 * random_uniform(4, stream, k)
                                         : scale * random_normal(4, stream, k));
        store_write(store, tensor, values);
        free(values);
    }
}

static inline void backbone_run(const struct backend *backend, int runs, struct node *x,
                                const float *images, struct node *features, float *values)
{
    struct error err;
    struct store *store = store_new(backend);
    struct plan *plan = plan_create(store, &features, 1, NULL, 0, &err);
    assert_ok(plan, err);
    backbone_fill(store);
    plan_write(plan, x, images);
    for (int i = 0; i < runs; i++)
        assert_ok(plan_run(plan, 0, 0, &err), err);
    plan_read(plan, features, values);
    plan_free(plan);
    store_free(store);
}

static inline void backbone_check(struct node *(*build)(struct node *x), int side)
{
    static float expected[BACKBONE_IMAGES * BACKBONE_FEATURES],
        values[BACKBONE_IMAGES * BACKBONE_FEATURES];
    size_t pixels = (size_t)(BACKBONE_IMAGES * 3 * side * side);
    float *images = memory_grow(NULL, pixels, sizeof *images);
    struct graph *graph = graph_new();
    struct node *x = t_input(graph, "x", DTYPE_F32, SHAPE(BACKBONE_IMAGES, 3, side, side));
    struct node *features = build(x);
    assert_true(shape_equal(features->shape, SHAPE(BACKBONE_IMAGES, BACKBONE_FEATURES)));
    for (size_t i = 0; i < pixels; i++)
        images[i] = (float)(2 * random_uniform(4, 1, i) - 1);
    backbone_run(&ref_backend, 1, x, images, features, expected);
    backbone_run(PAIR_BACKEND, 2, x, images, features,
                 values); /* what the first left must not show */
    double spread = pair_error(expected, expected + BACKBONE_FEATURES, BACKBONE_FEATURES);
    double error = pair_error(values, expected, BACKBONE_IMAGES * BACKBONE_FEATURES);
    assert_true(spread > 1e-4); /* the two images are told apart */
    if (!(error <= 1e-9))
        fail_msg("features have a normalised mean square error of %.3g", error);
    graph_free(graph);
    free(images);
}

/* Planes (2,8,8): one grey, one of an edge between black and white. */
static inline struct node *backbone_planes(struct rig *rig, float grey)
{
    float *planes = arena_array(&rig->arena, float, 2 * 8 * 8);
    for (int i = 0; i < 64; i++) {
        planes[i] = grey;
        planes[64 + i] = i % 8 < 4 ? 0 : 255;
    }
    return t_constant(rig->graph, SHAPE(2, 8, 8), planes);
}

#endif
