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

/* What stylegan2-ada-pytorch (d72cc7d) gives on the CPU of the image below, with the inverse
 * transformation set to zoom 0.8, 1.3 and shift 1.25, -0.5 (x, y). */
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

/* All transformations at once, as drawn by `everything` below: its random numbers were replaced. */
static const float all_first[PIXELS] = {
    -0.111059f, 0.624273f,  0.029568f,  0.334588f,  0.281416f,  -0.556287f, 0.005113f,  -0.243390f,
    -0.601337f, 0.091213f,  0.456379f,  -0.046359f, 0.471964f,  0.061249f,  -0.750872f, 0.133232f,
    -0.138365f, 0.354599f,  -0.234573f, 0.003567f,  -0.218728f, 0.475153f,  0.047332f,  0.601588f,
    0.359539f,  -0.211359f, -0.267110f, -0.606747f, -0.128623f, -0.377913f, 0.176042f,  -0.148666f,
    -0.173779f, -0.456984f, 0.407796f,  0.001920f,  0.076490f,  0.598835f,  -0.648909f, -0.035880f,
    0.037840f,  0.013217f,  -0.100204f, 0.271532f,  0.166994f,  0.436924f,  0.285636f,  -0.643929f,
    0.503780f,  -0.158125f, -0.253481f, -0.364651f, 0.002231f,  0.179613f,  -0.226554f, -0.029830f,
    -0.312779f, -0.182423f, -0.452520f, 0.103668f,  0.336947f,  0.046380f,  -0.187646f, 0.084385f,
};
static const float all_second[PIXELS] = {
    0.256822f,  -0.426359f, -0.016762f, 0.112060f,  0.035063f,  0.332129f,  0.387004f,  0.517338f,
    0.316578f,  -0.408000f, 0.025835f,  0.587713f,  0.678638f,  0.262745f,  -0.967604f, -0.484234f,
    0.267148f,  -0.188291f, 0.264787f,  0.522147f,  -0.174207f, 0.125954f,  -0.267426f, -0.264691f,
    0.311339f,  -0.256569f, 0.101996f,  0.340902f,  -0.118999f, -0.204023f, -0.175359f, -0.069805f,
    -0.386229f, 0.022334f,  0.086590f,  -0.912731f, -0.295512f, 0.222929f,  0.337630f,  0.183964f,
    0.064895f,  0.110786f,  0.207854f,  -0.490934f, 0.021902f,  0.280926f,  0.183583f,  -0.135997f,
    -0.199609f, 0.065334f,  0.213157f,  -0.518368f, -0.170028f, -0.056942f, -0.038577f, -0.027448f,
    0.053381f,  0.297363f,  0.214411f,  -0.395431f, -0.059681f, 0.004454f,  -0.375372f, -0.314143f,
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

static void transform(const double zoom[2], const double shift[2], float out[PIXELS])
{
    float image[PIXELS];
    struct graph *graph = graph_new();
    struct node *x = t_input(graph, "x", DTYPE_F32, SHAPE(1, 1, SIDE, SIDE));
    const float matrix[6] = {
        (float)zoom[0], 0, (float)shift[0], 0, (float)zoom[1], (float)shift[1]
    };
    struct node *y = ada_transform(x, t_constant(graph, SHAPE(1, 2, 3), matrix));
    make_image(image);
    run(graph, x, NULL, y, image, 0, 0, out);
}

static void without_a_transformation_the_filters_cancel(void **state)
{
    (void)state;
    float image[PIXELS], out[PIXELS];
    make_image(image);
    transform((double[]){ 1, 1 }, (double[]){ 0, 0 }, out);
    for (int i = 0; i < PIXELS; i++)
        assert_float_equal(out[i], image[i], 1e-6);
}

static void assert_pixels(const float *out, const float *expected)
{
    for (int i = 0; i < PIXELS; i++)
        assert_float_equal(out[i], expected[i], 2e-6);
}

static void resampling_is_that_of_the_official_code(void **state)
{
    (void)state;
    float out[PIXELS];
    transform((double[]){ 0.8, 1.3 }, (double[]){ 1.25, -0.5 }, out);
    assert_pixels(out, zoomed);
    transform((double[]){ 1, 1 }, (double[]){ 2, -1 }, out);
    assert_pixels(out, shifted);
}

enum { TWO = 2 };

static struct node *both(struct graph *graph, float first, float second)
{
    return t_constant(graph, SHAPE(TWO), ((float[]){ first, second }));
}

static void all_transformations_are_those_of_the_official_code(void **state)
{
    (void)state;
    float images[TWO * PIXELS], out[TWO * PIXELS];
    struct graph *graph = graph_new();
    struct node *x = t_input(graph, "x", DTYPE_F32, SHAPE(TWO, 1, SIDE, SIDE));
    const struct ada_drawn everything = {
        .mirror = both(graph, 1, 0),
        .turns = both(graph, 3, 1),
        .whole = { both(graph, 1, -1), both(graph, -1, 0) },
        .scale = both(graph, 0.8f, 1.1f),
        .before = both(graph, 0.7f, -1.3f),
        .stretch = both(graph, 1.25f, 0.9f),
        .after = both(graph, -2.2f, 0.4f),
        .fraction = { both(graph, 0.75f, -2), both(graph, -1.5f, 1) },
    };
    make_image(images);
    make_image(images + PIXELS);
    struct node *y = ada_transform(x, ada_matrix(&everything));
    run(graph, x, NULL, y, images, 0, 0, out);
    assert_pixels(out, all_first);
    assert_pixels(out + PIXELS, all_second);
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

/* Reflection and filters whose taps sum to one: grey stays grey, up to the ripple of bilinear
 * sampling; but reflection ends at two and a half image sides, which the strongest reach beyond. */
static void an_even_image_stays_even(void **state)
{
    (void)state;
    float image[PIXELS];
    int other = 0;
    for (int i = 0; i < PIXELS; i++)
        image[i] = 0.75f;
    float *out = augmented(image, 1, 9);
    for (int i = 0; i < IMAGES * PIXELS; i++)
        other += fabsf(out[i] - 0.75f) > 0.02f;
    assert_true(other < IMAGES * PIXELS / 100);
    free(out);
}

static void channels_are_transformed_alike(void **state)
{
    (void)state;
    float images[TWO * 2 * PIXELS], out[TWO * 2 * PIXELS];
    struct graph *graph = graph_new();
    struct node *x = t_input(graph, "x", DTYPE_F32, SHAPE(TWO, 2, SIDE, SIDE));
    struct node *p = t_input(graph, "p", DTYPE_F32, SHAPE());
    for (int i = 0; i < TWO; i++) {
        make_image(images + 2 * i * PIXELS);
        for (int k = 0; k < PIXELS; k++)
            images[(2 * i + 1) * PIXELS + k] = -0.5f * images[2 * i * PIXELS + k];
    }
    run(graph, x, p, ada_augment(x, p, "test"), images, 1, 11, out);
    for (int i = 0; i < TWO; i++)
        for (int k = 0; k < PIXELS; k++)
            assert_float_equal(out[(2 * i + 1) * PIXELS + k], -0.5f * out[2 * i * PIXELS + k],
                               1e-6);
}

enum { MANY = 4096 };
static const double DEVIATIONS = 5;

/* How many of many are not `neutral`, and their mean and mean square as `measure` sees them. */
struct moments {
    double share, mean, square;
};

static struct moments moments_of(const float *value, float neutral, double (*measure)(double))
{
    struct moments m = { 0 };
    int count = 0;
    for (int i = 0; i < MANY; i++) {
        double v = measure((double)value[i]);
        if (value[i] == neutral)
            continue;
        count++;
        m.mean += v;
        m.square += v * v;
    }
    return (struct moments){ count / (double)MANY, m.mean / count, m.square / count };
}

static double itself(double x)
{
    return x;
}

/* What stylegan2-ada-pytorch draws at p: how often, and how much of it on 32 columns, 64 rows. */
static void transformations_come_as_often_and_as_strong_as_they_should(void **state)
{
    (void)state;
    static const float p = 0.3f;
    const double turned = 1 - sqrt(1 - 0.3), third = 1 / 3.0;
    struct graph *graph = graph_new();
    struct node *probability = t_input(graph, "p", DTYPE_F32, SHAPE());
    const struct ada_drawn d = ada_draw(probability, MANY, (int64_t[2]){ 32, 64 }, "test");
    const struct {
        struct node *node;
        float neutral;
        double (*measure)(double);
        double share, mean, square;
    } expected[] = {
        { d.mirror, 0, itself, 0.3 / 2, 1, 1 },
        { d.turns, 0, itself, 0.3 * 3 / 4, 2, 14 * third },
        { d.whole[0], 0, itself, 0.3 * 0.875, 0, 5.5 / 0.875 },
        { d.whole[1], 0, itself, 0.3 * 0.9375, 0, 21.5 / 0.9375 },
        { d.scale, 1, log2, 0.3, 0, 0.04 },
        { d.stretch, 1, log2, 0.3, 0, 0.04 },
        { d.before, 0, itself, turned, 0, M_PI * M_PI * third },
        { d.after, 0, itself, turned, 0, M_PI * M_PI * third },
        { d.fraction[0], 0, itself, 0.3, 0, 16 },
        { d.fraction[1], 0, itself, 0.3, 0, 64 },
    };
    enum { KINDS = sizeof expected / sizeof *expected };
    struct node *node[KINDS];
    static float value[MANY];
    struct error err;
    for (int i = 0; i < KINDS; i++)
        node[i] = expected[i].node;
    struct store *store = store_new(&ref_backend);
    struct plan *plan = plan_create(store, node, KINDS, NULL, 0, &err);
    assert_ok(plan, err);
    plan_write(plan, probability, &p);
    assert_ok(plan_run(plan, 0, 1, &err), err);
    for (int i = 0; i < KINDS; i++) {
        plan_read(plan, node[i], value);
        struct moments m = moments_of(value, expected[i].neutral, expected[i].measure);
        double share = expected[i].share, size = sqrt(expected[i].square);
        double count = share * MANY;
        assert_float_equal(m.share, share, DEVIATIONS * sqrt(share * (1 - share) / MANY));
        assert_float_equal(m.mean, expected[i].mean, DEVIATIONS * size / sqrt(count));
        assert_float_equal(sqrt(m.square), size, DEVIATIONS * size / sqrt(2 * count));
    }
    plan_free(plan);
    store_free(store);
    graph_free(graph);
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
        cmocka_unit_test(all_transformations_are_those_of_the_official_code),
        cmocka_unit_test(channels_are_transformed_alike),
        cmocka_unit_test(images_change_with_the_probability),
        cmocka_unit_test(transformations_come_as_often_and_as_strong_as_they_should),
        cmocka_unit_test(an_even_image_stays_even),
        cmocka_unit_test(its_gradient_is_its_adjoint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
