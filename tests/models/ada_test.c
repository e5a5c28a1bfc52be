/* Augmentation: the resampling is that of the official code, and what is drawn is what the paper
 * says.
 */
#include "test.h"

#include "base/arena.h"
#include "models/ada.h"
#include "tensor/compose.h"
#include "tensor/gradient.h"
#include "tensor/plan.h"
#include "tensor/ref.h"

#include <math.h>

enum { SIDE = 8, PIXELS = SIDE * SIDE };

/* What stylegan2-ada-pytorch (d72cc7d) gives on the CPU, with the inverse transformation set to
 * zoom 0.8, 1.3 and shift 1.25, -0.5 (x, y), of the image below. */
static const float zoomed[PIXELS] = {
    0.323641f,  0.332124f,  0.675072f,  0.244173f,  -0.587852f, -0.170152f, -0.025279f, -0.044261f,
    -0.271721f, 0.037678f,  0.006555f,  0.323133f,  0.549222f,  -0.452814f, -0.402164f, -0.542841f,
    0.413649f,  -0.026822f, 0.418580f,  0.597556f,  -0.187199f, -0.497305f, -0.015855f, -0.274868f,
    -0.641406f, 0.606045f,  0.291571f,  -0.457221f, -0.167568f, 0.011143f,  0.102667f,  0.094652f,
    -0.233230f, -0.373193f, -0.165307f, 0.174897f,  0.272278f,  0.339052f,  0.556742f,  0.465669f,
    -0.167745f, 0.399116f,  0.365367f,  -0.459591f, -0.686246f, 0.319140f,  -0.441391f, 0.018852f,
    0.476794f,  -0.038666f, -0.452957f, -0.304883f, -0.044722f, -0.172548f, 0.219838f,  0.032788f,
    0.505508f,  -0.363181f, -0.421827f, -0.078319f, -0.035787f, 0.109550f,  0.256912f,  0.205327f,
};

/* Shifted by whole pixels: 2 and -1. */
static const float shifted[PIXELS] = {
    0.562500f,  -0.281250f, 0.875000f,  0.031250f,  -0.812499f, 0.343750f,  -0.812500f, 0.031249f,
    -0.687500f, 0.468750f,  -0.375000f, 0.781250f,  -0.062501f, -0.906250f, -0.062500f, 0.781250f,
    0.562500f,  -0.281250f, 0.875000f,  0.031250f,  -0.812499f, 0.343750f,  -0.812500f, 0.031249f,
    -0.187500f, 0.968750f,  0.125000f,  -0.718750f, 0.437499f,  -0.406250f, 0.437500f,  -0.718749f,
    -0.937500f, 0.218750f,  -0.625000f, 0.531250f,  -0.312499f, 0.843750f,  -0.312500f, 0.531250f,
    0.312500f,  -0.531250f, 0.625000f,  -0.218750f, 0.937499f,  0.093750f,  0.937500f,  -0.218749f,
    -0.437500f, 0.718750f,  -0.125000f, -0.968750f, 0.187499f,  -0.656250f, 0.187500f,  -0.968749f,
    0.812500f,  -0.031250f, -0.875000f, 0.281250f,  -0.562499f, 0.593750f,  -0.562500f, 0.281250f,
};

static void make_image(float image[PIXELS])
{
    for (int i = 0; i < PIXELS; i++)
        image[i] = (float)(i * 37 % 64) / 32 - 1;
}

/* Runs a graph of one output over an image (N,1,S,S) and a scalar p. */
static void run(struct graph *graph, struct node *x, struct node *p, struct node *y,
                const float *image, float probability, uint64_t seed, float *out)
{
    struct error err;
    struct store *store = store_new(&ref_backend);
    struct plan *plan = plan_create(store, &y, 1, NULL, 0, &err);
    assert_ok(plan, err);
    plan_write(plan, x, image);
    if (p)
        plan_write(plan, p, &probability);
    assert_ok(plan_run(plan, 0, seed, &err), err);
    plan_read(plan, y, out);
    plan_free(plan);
    store_free(store);
    graph_free(graph);
}

static void warp(const double zoom[2], const double shift[2], float out[PIXELS])
{
    float image[PIXELS];
    struct graph *graph = graph_new();
    struct node *x = t_input(graph, "x", DTYPE_F32, SHAPE(1, 1, SIDE, SIDE));
    struct node *y =
        ada_warp(x, t_full(graph, SHAPE(1), zoom[0]), t_full(graph, SHAPE(1), shift[0]),
                 t_full(graph, SHAPE(1), zoom[1]), t_full(graph, SHAPE(1), shift[1]));
    make_image(image);
    run(graph, x, NULL, y, image, 0, 0, out);
}

static void without_a_transformation_the_filters_cancel(void **state)
{
    (void)state;
    float image[PIXELS], out[PIXELS];
    make_image(image);
    warp((double[]){ 1, 1 }, (double[]){ 0, 0 }, out);
    for (int i = 0; i < PIXELS; i++)
        assert_float_equal(out[i], image[i], 1e-6);
}

static void resampling_is_that_of_the_official_code(void **state)
{
    (void)state;
    float out[PIXELS];
    warp((double[]){ 0.8, 1.3 }, (double[]){ 1.25, -0.5 }, out);
    for (int i = 0; i < PIXELS; i++)
        assert_float_equal(out[i], zoomed[i], 2e-6);
    warp((double[]){ 1, 1 }, (double[]){ 2, -1 }, out);
    for (int i = 0; i < PIXELS; i++)
        assert_float_equal(out[i], shifted[i], 2e-6);
}

enum { IMAGES = 64 };

/* IMAGES times the same image, augmented with probability p. */
static float *augmented(const float *image, float p, uint64_t seed)
{
    struct graph *graph = graph_new();
    struct node *x = t_input(graph, "x", DTYPE_F32, SHAPE(IMAGES, 1, SIDE, SIDE));
    struct node *probability = t_input(graph, "p", DTYPE_F32, SHAPE());
    float *images = memory_grow(NULL, IMAGES * PIXELS, sizeof *images);
    float *out = memory_grow(NULL, IMAGES * PIXELS, sizeof *out);
    for (int i = 0; i < IMAGES; i++)
        memcpy(images + i * PIXELS, image, PIXELS * sizeof *image);
    run(graph, x, probability, ada_augment(x, probability, "test"), images, p, seed, out);
    free(images);
    return out;
}

/* How many of the images are not the one that went in. */
static int changed(const float *image, float p)
{
    float *out = augmented(image, p, 5);
    int count = 0;
    for (int i = 0; i < IMAGES; i++) {
        double most = 0;
        for (int k = 0; k < PIXELS; k++)
            most = fmax(most, fabs((double)out[i * PIXELS + k] - (double)image[k]));
        count += most > 1e-4;
    }
    free(out);
    return count;
}

static void images_change_with_the_probability(void **state)
{
    (void)state;
    float image[PIXELS];
    make_image(image);
    assert_int_equal(changed(image, 0), 0);
    assert_int_equal(changed(image, 1), IMAGES);
    int some = changed(image, 0.1f); /* six transformations, of which two may do nothing */
    assert_true(some > IMAGES / 5 && some < IMAGES * 3 / 5);
}

/* Reflection and filters whose taps sum to one: grey stays grey. */
static void an_even_image_stays_even(void **state)
{
    (void)state;
    float image[PIXELS];
    for (int i = 0; i < PIXELS; i++)
        image[i] = 0.75f;
    float *out = augmented(image, 1, 9);
    for (int i = 0; i < IMAGES * PIXELS; i++)
        if (fabsf(out[i] - 0.75f) > 0.02f) /* bilinear between doubled pixels: up to a ripple */
            fail_msg("%g", (double)out[i]);
    free(out);
}

/* d/dx Σ w·ada_augment(x) is linear in w, and a step along it changes the sum as it says: what R1
 * and the generator need. */
static void its_gradient_is_its_adjoint(void **state)
{
    (void)state;
    float image[PIXELS], *out, gradient[PIXELS];
    make_image(image);
    struct graph *graph = graph_new();
    struct node *x = t_input(graph, "x", DTYPE_F32, SHAPE(1, 1, SIDE, SIDE)), *dx;
    struct node *p = t_input(graph, "p", DTYPE_F32, SHAPE());
    struct node *y = ada_augment(x, p, "test");
    struct node *loss = t_sum(t_mul(y, y), AXES_ALL);
    loss = t_scale(t_reshape(loss, SHAPE()), 0.5); /* homogeneous: <x, dx> = Σ y² */
    grad(loss, &x, 1, &dx);
    run(graph, x, p, dx, image, 1, 3, gradient);
    graph = graph_new();
    x = t_input(graph, "x", DTYPE_F32, SHAPE(1, 1, SIDE, SIDE));
    p = t_input(graph, "p", DTYPE_F32, SHAPE());
    out = memory_grow(NULL, PIXELS, sizeof *out);
    run(graph, x, p, ada_augment(x, p, "test"), image, 1, 3, out);
    double inner = 0, square = 0;
    for (int i = 0; i < PIXELS; i++) {
        inner += (double)image[i] * (double)gradient[i];
        square += (double)out[i] * (double)out[i];
    }
    assert_true(square > 1);
    assert_float_equal(inner, square, 1e-4 * square);
    free(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_transformation_the_filters_cancel),
        cmocka_unit_test(resampling_is_that_of_the_official_code),
        cmocka_unit_test(images_change_with_the_probability),
        cmocka_unit_test(an_even_image_stays_even),
        cmocka_unit_test(its_gradient_is_its_adjoint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
