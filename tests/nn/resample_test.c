/* Resampling of images: known answers, what is kept, and derivatives. */
#include "rig.h"

#include "nn/layer.h"
#include "nn/resample.h"

static void nearest_repeats_and_average_pool_undoes_it(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct node *x = rig_input(&rig, SHAPE(2, 3, 4, 5), NORMAL), *large = nn_nearest2(x);
    const double *y = rig_evaluate(&rig, large),
                 *back = rig_evaluate(&rig, nn_average_pool2(large));
    for (int c = 0; c < 6; c++)
        for (int i = 0; i < 8; i++)
            for (int k = 0; k < 10; k++)
                assert_close(y[(c * 8 + i) * 10 + k], rig.value[0][(c * 4 + i / 2) * 5 + k / 2],
                             1e-15);
    for (int i = 0; i < 120; i++)
        assert_close(back[i], rig.value[0][i], 1e-14);
    rig_release(&rig);
}

static void max_pool_takes_the_largest_of_each_square(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct node *x = rig_input(&rig, SHAPE(1, 2, 2, 4), NORMAL);
    const double *y = rig_evaluate(&rig, nn_max_pool2(x)), *v = rig.value[0];
    for (int c = 0; c < 2; c++)
        for (int k = 0; k < 2; k++) {
            const double *at = v + 8 * c + 2 * k;
            assert_true(y[2 * c + k] == fmax(fmax(at[0], at[1]), fmax(at[4], at[5])));
        }
    rig_release(&rig);
}

/* The largest, or the mean, of what of 3 × 3 pixels around (y,x) lies in the image. */
static double around(const double *image, int rows, int columns, int y, int x, bool mean)
{
    double most = -INFINITY, sum = 0;
    int count = 0;
    for (int i = y - 1; i <= y + 1; i++)
        for (int k = x - 1; k <= x + 1; k++)
            if (i >= 0 && i < rows && k >= 0 && k < columns) {
                most = fmax(most, image[i * columns + k]);
                sum += image[i * columns + k];
                count++;
            }
    return mean ? sum / count : most;
}

static void expect_windows(int rows, int columns, int stride, int pad, bool mean)
{
    struct rig rig;
    rig_init(&rig);
    struct node *x = rig_input(&rig, SHAPE(2, 3, rows, columns), NORMAL);
    struct node *pooled =
        mean ? nn_average_pool3(x) : nn_max_pool3(x, .stride = stride, .pad = pad);
    int tall = (rows + 2 * pad - 3) / stride + 1, wide = (columns + 2 * pad - 3) / stride + 1;
    assert_true(shape_equal(pooled->shape, SHAPE(2, 3, tall, wide)));
    const double *y = rig_evaluate(&rig, pooled);
    for (int c = 0; c < 6; c++)
        for (int i = 0; i < tall; i++)
            for (int k = 0; k < wide; k++)
                assert_close(*y++,
                             around(rig.value[0] + c * rows * columns, rows, columns,
                                    stride * i + 1 - pad, stride * k + 1 - pad, mean),
                             1e-6); /* the table of counts is of single precision */
    rig_release(&rig);
}

/* With negative values, so that padding by zeros would show. */
static void pooling_over_windows_of_three_leaves_out_what_is_not_there(void **state)
{
    (void)state;
    static const int sides[] = { 3, 4, 5, 8 };
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 4; k++)
            for (int stride = 1; stride <= 2; stride++)
                for (int pad = 0; pad <= 1; pad++) {
                    expect_windows(sides[i], sides[k], stride, pad, false);
                    expect_windows(sides[i], sides[k], 1, 1, true);
                }
    expect_windows(1, 2, 1, 1, false);
    expect_windows(2, 1, 1, 1, true);
}

/* A float image of 7 × 4, resized to 5 × 2 and to 3 × 6 by Pillow 13's Image.resize, BICUBIC. */
static void bicubic_is_pillows(void **state)
{
    (void)state;
    static const float image[] = {
        0,  29, 58,  87,  116, 145, 174, 7,  49,  91,  133, 175, 217, 3,
        28, 83, 138, 193, 248, 47,  102, 63, 131, 199, 11,  79,  147, 215
    };
    static const double shrunk[] = { 12.883580, 61.356964,  123.793045, 167.543427, 109.220329,
                                     56.852997, 139.504745, 128.975845, 141.038849, 127.564171 };
    static const double taller[] = { 19.740131,  83.459579,  154.658844, 26.654648,  109.475327,
                                     143.990509, 41.256721,  150.960800, 126.177574, 61.878586,
                                     190.052017, 107.601105, 98.194023,  137.115631, 132.519455,
                                     124.556557, 78.560539,  160.124268 };
    struct rig rig;
    rig_init(&rig);
    struct node *x = t_constant(rig.graph, SHAPE(1, 1, 4, 7), image);
    const double *a = rig_evaluate(&rig, nn_bicubic(x, 2, 5)),
                 *b = rig_evaluate(&rig, nn_bicubic(x, 6, 3));
    for (int i = 0; i < 10; i++)
        assert_close(a[i], shrunk[i], 2e-5);
    for (int i = 0; i < 18; i++)
        assert_close(b[i], taller[i], 2e-5);
    rig_release(&rig);
}

static void bilinear_keeps_constants_to_the_edge(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct node *x = t_affine(rig_input(&rig, SHAPE(1, 1, 3, 4), NORMAL), 0, 2.5);
    const double *y = rig_evaluate(&rig, nn_bilinear2(x));
    for (int i = 0; i < 48; i++)
        assert_close(y[i], 2.5, 1e-6); /* the table of edges is of single precision */
    rig_release(&rig);
}

/* What lets the U-Net convolve before it enlarges. */
static void a_convolution_of_size_one_commutes_with_bilinear(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct node *x = rig_input(&rig, SHAPE(2, 3, 3, 4), NORMAL);
    struct node *a = nn_bilinear2(nn_conv(x, "conv", 2, 1));
    struct node *b = nn_conv(nn_bilinear2(x), "conv", 2, 1);
    rig_initialise(&rig);
    assert_true(*rig_evaluate(&rig, t_max(t_reshape(t_abs(t_sub(a, b)), SHAPE(-1)), AXES(0))) <
                1e-13);
    rig_release(&rig);
}

static void the_1331_filter_keeps_constants_inside(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct node *x = t_affine(rig_input(&rig, SHAPE(1, 1, 8, 8), NORMAL), 0, 3);
    const double *up = rig_evaluate(&rig, nn_upsample(x));     /* 16×16 */
    const double *down = rig_evaluate(&rig, nn_downsample(x)); /* 4×4   */
    for (int i = 2; i < 14; i++)
        for (int k = 2; k < 14; k++)
            assert_close(up[16 * i + k], 3, 1e-14);
    for (int i = 1; i < 3; i++)
        for (int k = 1; k < 3; k++)
            assert_close(down[4 * i + k], 3, 1e-14);
    rig_release(&rig);
}

static void convolutions_with_resampling_have_the_right_size_and_derivatives(void **state)
{
    (void)state;
    static const struct {
        int up, down, size;
        int64_t side;
    } cases[] = { { 1, 1, 3, 6 }, { 2, 1, 3, 12 }, { 1, 2, 3, 3 }, { 1, 2, 1, 3 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rig rig;
        rig_init(&rig);
        struct node *x = rig_input(&rig, SHAPE(1, 2, 6, 6), NORMAL);
        struct node *w = rig_input(&rig, SHAPE(3, 2, cases[i].size, cases[i].size), NORMAL);
        struct node *y = nn_conv_resampled(x, w, .up = cases[i].up, .down = cases[i].down);
        assert_true(shape_equal(y->shape, SHAPE(1, 3, cases[i].side, cases[i].side)));
        rig_check_layer(&rig, t_silu(y), "conv_resampled");
        rig_release(&rig);
    }
}

/* Up: twice as many pixels, then the convolution; down: the convolution, then means. */
static void one_strided_convolution_equals_boxes_and_a_convolution(void **state)
{
    (void)state;
    for (int size = 1; size <= 3; size += 2) {
        struct rig rig;
        rig_init(&rig);
        struct node *x = rig_input(&rig, SHAPE(2, 2, 4, 6), NORMAL);
        struct node *w = rig_input(&rig, SHAPE(3, 2, size, size), NORMAL);
        struct node *flipped = t_flip(w, AXES(2, 3));
        struct node *up = t_conv(nn_nearest2(x), w, .pad = size / 2);
        struct node *mirrored = t_conv(nn_nearest2(x), flipped, .pad = size / 2);
        struct node *down = nn_average_pool2(t_conv(x, w, .pad = size / 2));
        struct node *pairs[][2] = {
            { up, nn_conv_resampled(x, w, .up = 2, .box = true) },
            { mirrored, nn_conv_resampled(x, w, .up = 2, .box = true, .mirrored = true) },
            { down, nn_conv_resampled(x, w, .down = 2, .box = true) },
        };
        for (int i = 0; i < 3; i++) {
            struct node *off = t_sum_all(t_square(t_sub(pairs[i][0], pairs[i][1])));
            assert_true(*rig_evaluate(&rig, off) < 1e-24);
            rig_check_layer(&rig, t_silu(pairs[i][1]), "conv_resampled by boxes");
        }
        rig_release(&rig);
    }
}

static void a_blurred_pixel_is_spread_over_its_neighbours(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct node *point = t_constant(rig.graph, SHAPE(1, 1, 1, 1), ((float[]){ 16 }));
    const double *inside = rig_evaluate(&rig, nn_blur(t_pad(t_pad(point, 2, 1, 1), 3, 1, 1)));
    static const double spread[] = { 1, 2, 1, 2, 4, 2, 1, 2, 1 };
    for (int i = 0; i < 9; i++)
        assert_close(inside[i], spread[i], 0);
    assert_close(*rig_evaluate(&rig, nn_blur(point)), 4, 0); /* what lies beyond the edge is lost */
    rig_release(&rig);
}

static struct node *blur(struct node *x)
{
    return nn_blur(t_silu(x));
}

static struct node *max_pool2(struct node *x)
{
    return nn_max_pool2(x);
}

static struct node *average_pool2(struct node *x)
{
    return nn_average_pool2(t_silu(x));
}

static struct node *nearest2(struct node *x)
{
    return nn_nearest2(t_silu(x));
}

static struct node *bilinear2(struct node *x)
{
    return nn_bilinear2(t_silu(x));
}

static struct node *max_pool3(struct node *x)
{
    return nn_max_pool3(x, .stride = 2, .pad = 1);
}

static struct node *average_pool3(struct node *x)
{
    return nn_average_pool3(t_silu(x));
}

static struct node *bicubic(struct node *x)
{
    return nn_bicubic(t_silu(x), 3, 9);
}

static void resampling_has_the_right_derivatives(void **state)
{
    (void)state;
    struct node *(*const layers[])(struct node *) = { max_pool2, average_pool2, nearest2, bilinear2,
                                                      max_pool3, average_pool3, bicubic,  blur };
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) {
        struct rig rig;
        rig_init(&rig);
        rig_check_layer(&rig, layers[i](rig_input(&rig, SHAPE(1, 2, 4, 6), SPACED)), "resampling");
        rig_release(&rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nearest_repeats_and_average_pool_undoes_it),
        cmocka_unit_test(max_pool_takes_the_largest_of_each_square),
        cmocka_unit_test(pooling_over_windows_of_three_leaves_out_what_is_not_there),
        cmocka_unit_test(bicubic_is_pillows),
        cmocka_unit_test(bilinear_keeps_constants_to_the_edge),
        cmocka_unit_test(a_convolution_of_size_one_commutes_with_bilinear),
        cmocka_unit_test(the_1331_filter_keeps_constants_inside),
        cmocka_unit_test(convolutions_with_resampling_have_the_right_size_and_derivatives),
        cmocka_unit_test(one_strided_convolution_equals_boxes_and_a_convolution),
        cmocka_unit_test(a_blurred_pixel_is_spread_over_its_neighbours),
        cmocka_unit_test(resampling_has_the_right_derivatives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
