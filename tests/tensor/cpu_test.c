#include "tensor/compare.h"

#include "base/parallel.h"

/* Sizes of 1, primes, and such that tiles are crossed. */
static const struct shape shapes[] = {
    { 1, { 1 } },
    { 1, { 4099 } },
    { 2, { 7, 1 } },
    { 2, { 3, 1500 } },
    { 4, { 2, 3, 5, 7 } },
    { 4, { 1, 37, 13, 11 } },
    { 4, { 3, 16, 20, 1 } },
    { 6, { 2, 3, 1, 5, 2, 7 } },
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static void elementwise_ops_agree_with_the_reference(void **state)
{
    (void)state;
    for (int s = 0; s < SHAPES; s++) {
        struct pair pair;
        pair_init(&pair);
        struct node *a = pair_input(&pair, shapes[s], NORMAL);
        struct node *b = pair_input(&pair, shapes[s], POSITIVE);
        struct node *wide = t_scale(a, 16);
        struct node *y[] = {
            t_exp(wide),
            t_log(b),
            t_sqrt(b),
            t_sin(wide),
            t_cos(wide),
            t_tanh(a),
            t_sigmoid(wide),
            t_softplus(wide),
            t_erf(a),
            t_affine(a, 2, 3),
            t_add(a, b),
            t_sub(a, b),
            t_mul(a, b),
            t_div(a, b),
            t_greater(a, b),
            t_where(a, b, wide),
            t_cast(a, DTYPE_BF16),
            t_relu(a),
            t_leaky_relu(a, 0.2),
            t_log(t_exp(a)),
            t_tanh(wide),
            t_erf(wide),
            t_sin(t_scale(a, 32768)),
            t_softplus(a),
        };
        pair_expect(&pair, y, sizeof y / sizeof *y, 1e-12, "elementwise");
        pair_release(&pair);
    }
}

static void broadcasts_and_reductions_agree_over_all_axes(void **state)
{
    (void)state;
    static const struct shape sizes[] = { { 4, { 3, 5, 17, 19 } },
                                          { 4, { 1, 64, 33, 40 } },
                                          { 4, { 2, 1, 1, 3000 } },
                                          { 4, { 5, 3, 2, 2 } } };
    for (int s = 0; s < 4; s++)
        for (unsigned axes = 1; axes < 16; axes++) {
            struct pair pair;
            pair_init(&pair);
            struct node *x = pair_input(&pair, sizes[s], NORMAL);
            struct node *b = pair_input(&pair, shape_reduced(sizes[s], axes), NORMAL);
            struct node *z = t_mul(t_add(x, b), t_sigmoid(x));
            struct node *y[] = { z, t_sum(z, axes), t_max(t_sub(x, b), axes),
                                 t_sum(t_permute(z, 0, 2, 3, 1), axes), t_mean(t_square(z), axes) };
            pair_expect(&pair, y, 5, 1e-10, "reduction");
            pair_release(&pair);
        }
}

/* So large that a GPU moves eight numbers of bf16 at once, has a thread for several rows, and cuts
 * sums into pieces. */
static void large_images_of_bf16_agree(void **state)
{
    (void)state;
    struct pair pair;
    pair_init(&pair);
    struct node *x = pair_input(&pair, SHAPE(2, 64, 96, 96), NORMAL);
    struct node *b = pair_input(&pair, SHAPE(64, 1, 1), NORMAL);
    struct node *one = t_constant(pair.graph, SHAPE(1), ((float[]){ 1 }));
    struct upfirdn same = { .up = { 1, 1 }, .down = { 1, 1 } };
    struct node *half = t_upfirdn_with(t_cast(x, DTYPE_BF16), one, same);
    struct node *h = t_cast(half, DTYPE_F32), *z = t_mul(t_add(h, b), t_sigmoid(h));
    struct node *y[] = {
        t_cast(z, DTYPE_BF16),       t_sum(z, AXES(0, 2, 3)),  t_sum(t_square(h), AXES(0, 2, 3)),
        t_max(z, AXES(0, 2, 3)),     t_sum(z, AXES(1, 2, 3)),  t_max(h, AXES(1, 2, 3)),
        t_sum(t_mul(h, b), AXES(1)), t_mean(z, AXES(0, 1, 3)), t_sum_all(z),
        t_sum(z, AXES(2, 3))
    };
    pair_expect(&pair, y, sizeof y / sizeof *y, 1e-5, "large");
    pair_expect(&pair, y, 1, 1e-5, "large, without sums");
    pair_release(&pair);
}

static void movement_agrees(void **state)
{
    (void)state;
    struct pair pair;
    pair_init(&pair);
    struct node *x = pair_input(&pair, SHAPE(4, 6, 10, 9), NORMAL);
    struct node *e = t_exp(x), *p = t_permute(e, 0, 2, 3, 1);
    struct node *separable = t_constant(pair.graph, SHAPE(4), ((float[]){ 1, 3, 3, 1 }));
    struct node *other = t_constant(pair.graph, SHAPE(2, 3), ((float[]){ 1, 3, 3, 1, -2, 5 }));
    struct node *y[] = {
        p,
        t_reshape(p, SHAPE(8, 30, 9)),
        t_reshape(e, SHAPE(27, 80)),
        t_reshape(t_reshape(e, SHAPE(27, 80)), SHAPE(16, 135)),
        t_slice(e, 1, 2, 5),
        t_flip(e, AXES(1, 3)),
        t_pad(e, 2, 3, 1),
        t_pad(t_exp(t_pad(x, 1, 1, 0)), 3, 0, 2),
        t_concat(1, x, e, t_square(x)),
        t_concat(3, x, e),
        t_broadcast(t_slice(e, 0, 1, 2), SHAPE(4, 6, 10, 9)),
        t_add(t_flip(t_permute(e, 1, 0, 2, 3), AXES(0)), t_permute(x, 1, 0, 2, 3)),
        t_mul(t_permute(t_sin(x), 3, 2, 1, 0), t_permute(t_cos(x), 3, 2, 1, 0)),
        t_upfirdn(e, separable, .up = 2, .pads = { { 2, 1 }, { 2, 1 } }),
        t_upfirdn(x, other, .down = 2, .up = 3, .pads = { { -1, 4 }, { 3, -2 } }, .flip = true),
        t_full(pair.graph, SHAPE(3, 3), 7),
        x,
    };
    pair_expect(&pair, y, sizeof y / sizeof *y, 1e-10, "movement");
    pair_release(&pair);
}

/* A row is one vector where channels are few, a pixel where they are many. */
static void filters_agree_of_narrow_and_wide_images(void **state)
{
    (void)state;
    static const struct {
        int up, down, pads[2][2];
        bool flip;
    } geometry[] = {
        { 1, 1, { { 0, 0 }, { 0, 0 } }, false },   { 2, 1, { { 2, 1 }, { 2, 1 } }, true },
        { 1, 2, { { 1, 1 }, { -1, -1 } }, false }, { 3, 2, { { -1, 4 }, { 3, -2 } }, true },
        { 2, 3, { { -2, 5 }, { 12, 9 } }, false },
    };
    static const int channels[] = { 1, 5, 20 };
    for (int i = 0; i < 3; i++) {
        struct pair pair;
        pair_init(&pair);
        struct node *x = pair_input(&pair, SHAPE(2, channels[i], 9, 11), NORMAL), *y[20];
        struct node *separable = t_constant(pair.graph, SHAPE(4), ((float[]){ 1, 3, 3, 1 }));
        struct node *other = t_constant(pair.graph, SHAPE(2, 3), ((float[]){ 1, 3, 3, 1, -2, 5 }));
        for (int k = 0; k < 10; k++) {
            struct upfirdn u = { .flip = geometry[k / 2].flip };
            for (int axis = 0; axis < 2; axis++) {
                u.up[axis] = geometry[k / 2].up;
                u.down[axis] = geometry[k / 2].down;
                memcpy(u.pad[axis], geometry[k / 2].pads[axis], sizeof u.pad[axis]);
            }
            y[k] = t_upfirdn_with(x, k % 2 ? other : separable, u);
            y[10 + k] = t_upfirdn_with(t_cast(x, DTYPE_BF16), k % 2 ? other : separable, u);
        }
        pair_expect(&pair, y, 10, 1e-10, "upfirdn");
        pair_expect(&pair, y + 10, 10, 1e-5, "upfirdn of bf16");
        pair_release(&pair);
    }
}

/* Images so large that what goes down an image makes several rows of it, with taps enough for a row
 * to be of use to many. */
static void long_filters_agree_of_large_images(void **state)
{
    (void)state;
    static const struct {
        int side, up, down, pads[2];
    } geometry[] = { { 96, 2, 1, { 4, 2 } }, { 193, 1, 2, { 3, 2 } }, { 97, 1, 1, { -2, 7 } } };
    for (size_t i = 0; i < sizeof geometry / sizeof *geometry; i++) {
        struct pair pair;
        pair_init(&pair);
        int side = geometry[i].side, *pads = (int[]){ geometry[i].pads[0], geometry[i].pads[1] };
        struct node *x = pair_input(&pair, SHAPE(4, 16, side, side), NORMAL);
        struct node *filter =
            t_constant(pair.graph, SHAPE(7), ((float[]){ 1, -3, 5, 9, 7, .5f, -2 }));
        struct node *y = t_upfirdn(x, filter, .up = geometry[i].up, .down = geometry[i].down,
                                   .pads = { { pads[0], pads[1] }, { pads[0], pads[1] } });
        pair_expect(&pair, &y, 1, 1e-10, "upfirdn");
        pair_release(&pair);
    }
}

/* As of radial filters: rows 0 and 5, 1 and 4 are the same, 2 and 3 are not. */
static void filters_with_rows_that_are_alike_agree(void **state)
{
    (void)state;
    for (int channels = 3; channels <= 20; channels += 17) {
        struct pair pair;
        pair_init(&pair);
        struct node *x = pair_input(&pair, SHAPE(2, channels, 13, 11), NORMAL);
        float taps[6][5];
        for (int i = 0; i < 6; i++)
            for (int k = 0; k < 5; k++)
                taps[i][k] = (float)(i * 7 + 1) / (float)(k * k + i + 2);
        memcpy(taps[5], taps[0], sizeof taps[0]);
        memcpy(taps[4], taps[1], sizeof taps[0]);
        struct node *filter = t_constant(pair.graph, SHAPE(6, 5), *taps);
        struct node *y[] = {
            t_upfirdn(x, filter, .down = 2, .pads = { { 3, -1 }, { 2, 4 } }),
            t_upfirdn(x, filter, .up = 2, .pads = { { 4, 2 }, { 0, 5 } }, .flip = true),
            t_upfirdn(x, filter, .up = 3, .down = 2, .pad = 2),
        };
        pair_expect(&pair, y, 3, 1e-10, "upfirdn");
        pair_release(&pair);
    }
}

/* Matrices of all kinds, one an image: none, turned, much smaller, much larger, flattened to a
 * line, to a point, and far outside. */
enum { PLANES = 7 };
static const float plane[PLANES][6] = {
    { 1, 0, 0, 0, 1, 0 },           { 0.8f, -0.6f, 0.25f, 0.6f, 0.8f, -1.5f },
    { 5, 3, 1, -3, 6, 2 },          { 0.02f, 0.05f, 3, -0.04f, 0.01f, -7 },
    { 0.5f, 1, 0, 0.25f, 0.5f, 0 }, { 0, 0, 0.3f, 0, 0, -0.7f },
    { 1, 0, 1e6f, 0, 1, -1e30f },
};

static void warps_agree_and_are_each_others_adjoint(void **state)
{
    (void)state;
    /* Bands of rows, a single channel, a single pixel. */
    static const struct shape image[] = { { 4, { PLANES, 3, 150, 37 } },
                                          { 4, { PLANES, 1, 64, 65 } },
                                          { 4, { PLANES, 2, 1, 1 } } };
    static const int64_t grid[][2] = { { 20, 90 }, { 131, 64 }, { 3, 2 } };
    for (int i = 0; i < 3; i++) {
        struct pair pair;
        pair_init(&pair);
        struct node *x = pair_input(&pair, image[i], NORMAL);
        struct node *m = t_constant(pair.graph, SHAPE(PLANES, 2, 3), plane[0]);
        struct node *w = t_warp(t_exp(x), m, grid[i][0], grid[i][1]);
        struct node *y = pair_input(&pair, w->shape, NORMAL), *dx = t_warp_dx(y, m, image[i]), *g;
        struct node *inner = t_sum_all(t_mul(y, t_warp(x, m, grid[i][0], grid[i][1])));
        grad(inner, &x, 1, &g);
        /* <y, A x> = <A' y, x> */
        struct node *other = t_sum_all(t_mul(dx, x)), *moved = t_permute(x, 0, 1, 3, 2);
        struct node *outputs[] = { inner, other, w, dx, g, t_warp(moved, m, 8, 8) };
        pair_expect(&pair, outputs, sizeof outputs / sizeof *outputs, 1e-10, "warp");
        float **value = pair_run(&pair, PAIR_BACKEND, outputs, 2);
        assert_true(fabsf(value[0][0]) > 0.1f);
        assert_float_equal(value[0][0], value[1][0], 2e-5f * fabsf(value[0][0]));
        pair_release(&pair);
    }
}

/* Sums are in float, so a result is off by its last rounding alone. */
static void warps_of_bf16_agree(void **state)
{
    (void)state;
    struct pair pair;
    pair_init(&pair);
    struct node *x = pair_input(&pair, SHAPE(PLANES, 3, 70, 33), NORMAL);
    struct node *m = t_constant(pair.graph, SHAPE(PLANES, 2, 3), plane[0]);
    struct node *y = t_warp(t_cast(x, DTYPE_BF16), m, 64, 40);
    struct node *back = t_warp_dx(y, m, x->shape);
    struct node *outputs[] = { y, t_cast(y, DTYPE_F32), back, t_tanh(t_cast(back, DTYPE_F32)) };
    pair_expect(&pair, outputs, sizeof outputs / sizeof *outputs, 1e-5, "warp of bf16");
    pair_release(&pair);
}

static void matrix_products_agree_however_their_factors_lie(void **state)
{
    (void)state;
    struct pair pair;
    pair_init(&pair);
    struct node *a = pair_input(&pair, SHAPE(6, 17, 33), NORMAL);
    struct node *b = pair_input(&pair, SHAPE(6, 33, 5), NORMAL);
    struct node *w = pair_input(&pair, SHAPE(33, 40), NORMAL);
    struct node *c = pair_input(&pair, SHAPE(2, 12, 4, 5), NORMAL);
    struct node *d = t_permute(t_exp(c), 0, 2, 3, 1); /* (2,4,5,12) */
    struct node *at = t_detach(t_exp(t_transpose(a)));
    struct node *y[] = {
        t_matmul(a, b),
        t_matmul(a, w),
        t_matmul_at(HERE, at, b, true, false),
        t_matmul(t_reshape(d, SHAPE(2, 20, 12)), t_reshape(t_exp(c), SHAPE(2, 12, 20))),
        t_matmul(t_slice(a, 1, 3, 4), b),
        t_matmul(t_slice(a, 2, 0, 1), t_slice(b, 1, 7, 8)),
        t_matmul(t_flip(t_exp(a), AXES(2)), b),
        t_matmul(t_broadcast(t_slice(a, 0, 0, 1), SHAPE(6, 17, 33)), b),
    };
    pair_expect(&pair, y, sizeof y / sizeof *y, 1e-10, "matmul");
    pair_release(&pair);
}

static void convolutions_agree_of_all_geometries(void **state)
{
    (void)state;
    static const struct {
        int n, c, o, h, w, k;
        struct conv_options options;
    } cases[] = {
        { 2, 16, 32, 12, 12, 3, { .pad = 1 } },
        { 1, 1, 1, 5, 7, 3, { .pad = 2 } },
        { 3, 5, 7, 13, 11, 3, { .stride = 2, .pad = 1 } },
        { 2, 12, 8, 9, 9, 3, { .groups = 4, .pad = 1 } },
        { 2, 8, 8, 10, 9, 3, { .groups = 8, .dilation = 2, .pads = { { 1, 3 }, { 0, 2 } } } },
        { 2, 64, 5, 8, 8, 1, { 0 } },
        { 1, 4, 6, 17, 16, 5, { .strides = { 3, 2 }, .pad = 2 } },
        { 2, 33, 17, 6, 6, 2, { .stride = 2 } },
        { 2, 64, 32, 30, 33, 3, { .pad = 1 } }, /* large enough for Winograd's algorithm */
        { 1, 128, 192, 16, 16, 3, { .pad = 1 } },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pair pair;
        struct node *dx[3];
        int groups = cases[i].options.groups ? cases[i].options.groups : 1;
        pair_init(&pair);
        struct node *x =
            pair_input(&pair, SHAPE(cases[i].n, cases[i].c, cases[i].h, cases[i].w), NORMAL);
        struct node *w = pair_input(
            &pair, SHAPE(cases[i].o, cases[i].c / groups, cases[i].k, cases[i].k), NORMAL);
        struct node *y = t_conv_at(HERE, x, w, cases[i].options);
        struct node *seed = pair_input(&pair, y->shape, NORMAL);
        grad_seeded(y, seed, ((struct node *[]){ x, w }), 2, dx);
        pair_expect(&pair, (struct node *[]){ y, dx[0], dx[1] }, 3, 1e-10, "conv");
        pair_release(&pair);
    }
}

/* What networks are made of, with gradients, big enough to be cut among threads. */
static struct node *normalised(struct node *x, unsigned axes)
{
    struct node *centred = t_sub(x, t_mean(x, axes));
    return t_mul(centred, t_rsqrt(t_shift(t_mean(t_square(centred), axes), 1e-5)));
}

static void blocks_of_networks_and_their_gradients_agree(void **state)
{
    (void)state;
    struct pair pair;
    struct node *x[4], *dx[4];
    pair_init(&pair);
    x[0] = pair_input(&pair, SHAPE(2, 8, 24, 20), NORMAL);
    x[1] = pair_input(&pair, SHAPE(16, 8, 3, 3), NORMAL);
    x[2] = pair_input(&pair, SHAPE(16, 1, 1), NORMAL);
    x[3] = pair_input(&pair, SHAPE(16, 16, 3, 3), NORMAL);
    struct node *h = t_leaky_relu(t_add(t_conv(x[0], x[1], .pad = 1), x[2]), 0.01);
    h = t_mul(normalised(h, AXES(2, 3)), x[2]);
    h = t_conv(h, x[3], .pad = 1);
    struct node *g =
        t_reshape(normalised(t_reshape(h, SHAPE(2, 4, 4, 24, 20)), AXES(2, 3, 4)), h->shape);
    h = t_add(h, t_silu(t_add(g, x[2])));
    struct node *joined = t_concat(1, h, t_conv(x[0], x[1], .pad = 1));
    struct node *p = t_softmax(joined, 1);
    struct node *loss = t_mean_all(t_square(t_sub(p, t_sigmoid(joined))));
    grad(loss, x, 4, dx);
    struct node *penalty = t_sum_all(t_square(dx[0])), *ddx[4];
    grad(penalty, x, 4, ddx);
    struct node *y[] = { loss, dx[0], dx[1], dx[2], dx[3], ddx[0], ddx[1], ddx[2], ddx[3] };
    pair_expect(&pair, y, 9, 1e-8, "block"); /* its second derivatives cancel much */
    pair_expect(&pair, y, 5, 1e-10, "block, first order");
    pair_release(&pair);
}

/* An argument is a pattern: only tests whose names it fits. */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(elementwise_ops_agree_with_the_reference),
        cmocka_unit_test(broadcasts_and_reductions_agree_over_all_axes),
        cmocka_unit_test(large_images_of_bf16_agree),
        cmocka_unit_test(movement_agrees),
        cmocka_unit_test(filters_agree_of_narrow_and_wide_images),
        cmocka_unit_test(long_filters_agree_of_large_images),
        cmocka_unit_test(filters_with_rows_that_are_alike_agree),
        cmocka_unit_test(warps_agree_and_are_each_others_adjoint),
        cmocka_unit_test(warps_of_bf16_agree),
        cmocka_unit_test(matrix_products_agree_however_their_factors_lie),
        cmocka_unit_test(convolutions_agree_of_all_geometries),
        cmocka_unit_test(blocks_of_networks_and_their_gradients_agree),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests_name("tensor/cpu", tests, NULL, NULL);
}
