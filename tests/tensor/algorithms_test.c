/* Algorithms that repeat their bits, and the fastest: both compute what the reference does, as near
 * as their types allow. For any backend; where there is something to choose (the emulated device, a
 * GPU) the second are measured. */
#include "tensor/compare.h"

#include <stdlib.h>

/* Normalised mean square errors: in f32; with factors cut to 10 bits, as TF32 does; in bf16. */
static const double SINGLE = 1e-10, TF32 = 3e-6, HALF = 3e-5;

enum { OUTPUTS = 3 };

struct layer {
    const char *name;
    struct node *out[OUTPUTS]; /* its value, and the gradients of its sum of squares */
};

static struct layer with_gradients(struct pair *pair, const char *name, struct node *y, int first)
{
    struct layer layer = { name, { y } };
    grad(t_sum_all(t_square(y)), pair->x + first, 2, layer.out + 1);
    return layer;
}

static struct layer convolution(struct pair *pair, const char *name, struct shape image,
                                struct shape weight, struct conv_options options)
{
    int first = pair->count;
    struct node *x = pair_input(pair, image, NORMAL), *w = pair_input(pair, weight, NORMAL);
    return with_gradients(pair, name, t_conv_at(HERE, x, w, options), first);
}

static struct layer product(struct pair *pair, const char *name, struct shape a, struct shape b)
{
    int first = pair->count;
    struct node *x = pair_input(pair, a, NORMAL), *y = pair_input(pair, b, NORMAL);
    return with_gradients(pair, name, t_matmul(x, y), first);
}

enum { LAYERS = 7 };

static void make_layers(struct pair *pair, struct layer layers[LAYERS])
{
    const struct layer made[LAYERS] = {
        convolution(pair, "3×3", SHAPE(2, 16, 9, 9), SHAPE(24, 16, 3, 3),
                    (struct conv_options){ .pad = 1 }),
        convolution(pair, "1×1", SHAPE(3, 32, 8, 8), SHAPE(16, 32, 1, 1),
                    (struct conv_options){ 0 }),
        convolution(pair, "3×3, stride 2", SHAPE(2, 16, 12, 12), SHAPE(16, 16, 3, 3),
                    (struct conv_options){ .stride = 2, .pad = 1 }),
        convolution(pair, "grouped", SHAPE(1, 16, 10, 10), SHAPE(32, 8, 3, 3),
                    (struct conv_options){ .pad = 1, .groups = 2 }),
        product(pair, "product", SHAPE(70, 48), SHAPE(48, 40)),
        product(pair, "products", SHAPE(3, 40, 64), SHAPE(3, 64, 48)),
        product(pair, "product with a row", SHAPE(1, 64), SHAPE(64, 96)),
    };
    memcpy(layers, made, sizeof made);
}

/* All outputs, one after the other, of the last of three runs, which a device that can replays. */
static float *run_with(struct pair *pair, const struct layer *layer, enum algorithms algorithms,
                       enum precision precision)
{
    struct error err;
    struct store *store = store_new(PAIR_BACKEND);
    size_t count = 0;
    assert_ok(store_set_precision(store, precision, &err), err);
    store_set_algorithms(store, algorithms);
    struct plan *plan = plan_create(store, layer->out, OUTPUTS, NULL, 0, &err);
    assert_ok(plan, err);
    for (int run = 0; run < 3; run++) {
        pair_write(pair, plan, run == 1);
        assert_ok(plan_run(plan, 3, 1, &err), err);
    }
    for (int i = 0; i < OUTPUTS; i++)
        count += shape_count(layer->out[i]->shape);
    float *values = arena_array(&pair->arena, float, count);
    for (int i = 0, at = 0; i < OUTPUTS; at += (int)shape_count(layer->out[i++]->shape))
        plan_read(plan, layer->out[i], values + at);
    assert_ok(plan_check(plan, &err), err);
    plan_free(plan);
    store_free(store);
    return values;
}

static void expect_within(struct pair *pair, const struct layer *layer, const float *values,
                          double tolerance, const char *what)
{
    float **expected = pair_run(pair, &ref_backend, layer->out, OUTPUTS);
    for (int i = 0; i < OUTPUTS; i++) {
        size_t count = shape_count(layer->out[i]->shape);
        double error = pair_error(values, expected[i], count);
        if (!(error <= tolerance))
            fail_msg("%s, %s: output %d has a normalised mean square error of %.3g", layer->name,
                     what, i, error);
        values += count;
    }
}

static void expect_same_bits(const struct layer *layer, const float *a, const float *b)
{
    size_t count = 0;
    for (int i = 0; i < OUTPUTS; i++)
        count += shape_count(layer->out[i]->shape);
    if (memcmp(a, b, count * sizeof *a) != 0)
        fail_msg("%s: other bits", layer->name);
}

/* Deterministic plans before and after the fastest; how exact the latter must be. */
static void check_layers(enum precision precision, double deterministic, double fastest_within)
{
    struct pair pair;
    struct layer layers[LAYERS];
    pair_init(&pair);
    make_layers(&pair, layers);
    for (int i = 0; i < LAYERS; i++) {
        const struct layer *layer = &layers[i];
        float *before = run_with(&pair, layer, ALGORITHMS_DETERMINISTIC, precision);
        float *fastest = run_with(&pair, layer, ALGORITHMS_FASTEST, precision);
        float *after = run_with(&pair, layer, ALGORITHMS_DETERMINISTIC, precision);
        expect_within(&pair, layer, before, deterministic, "deterministic");
        expect_within(&pair, layer, fastest, fastest_within, "fastest");
        expect_same_bits(layer, before, after);
    }
    pair_release(&pair);
}

static void the_fastest_are_exact_to_tf32_and_leave_the_others_their_bits(void **state)
{
    (void)state;
    check_layers(PRECISION_F32, SINGLE, TF32);
}

static void in_bf16_the_fastest_are_as_exact_as_the_others(void **state)
{
    (void)state;
    if (!PAIR_BACKEND->has_bf16())
        skip();
    check_layers(PRECISION_BF16, HALF, HALF);
}

/* An argument is a pattern: only tests whose names it fits. */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_fastest_are_exact_to_tf32_and_leave_the_others_their_bits),
        cmocka_unit_test(in_bf16_the_fastest_are_as_exact_as_the_others),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests_name("tensor/algorithms", tests, NULL, NULL);
}
