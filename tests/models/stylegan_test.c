/* StyleGAN: shapes of levels, fading between them, styles, truncation, noise, first values. */
#include "nn/rig.h"

#include "models/stylegan.h"
#include "nn/resample.h"
#include "nn/style.h"

static const struct stylegan tiny = {
    .resolution = 16,
    .channels = 2,
    .z_width = 4,
    .w_width = 4,
    .mapping_layers = 2,
    .channel_base = 32,
    .channel_max = 4,
};

/* Images of a level; layer i has noise of its own number, the same at every level. */
static struct node *images(struct rig *rig, struct stylegan_level level, struct node *z)
{
    struct node *noise[STYLEGAN_LAYERS];
    int layers = stylegan_styles_count(level.side);
    for (int i = 0; i < layers; i++)
        noise[i] = rig_constant(rig, stylegan_noise_shape(i, dim(z, 0)), NORMAL, 100 + i);
    struct node *w = stylegan_map(&tiny, z);
    return stylegan_synthesize(&tiny, level, nn_styles(w, layers), noise);
}

/* Noise and biases start without effect; here all parameters are moved off their first values. */
static void shake(struct rig *rig)
{
    rig_initialise(rig);
    for (size_t i = 0; i < store_count(rig->store); i++) {
        struct tensor *tensor = store_tensor(rig->store, i);
        for (size_t k = 0; k < shape_count(tensor->shape); k++)
            ((double *)tensor->memory)[k] += 0.1 * random_normal(5, i, k);
    }
}

static double largest_difference(struct rig *rig, struct node *a, struct node *b)
{
    return *rig_evaluate(rig, t_max(t_reshape(t_abs(t_sub(a, b)), SHAPE(-1)), AXES(0)));
}

static struct node *number(struct rig *rig, double value)
{
    return t_full(rig->graph, SHAPE(), value);
}

static void levels_give_images_of_their_side_and_one_logit_each(void **state)
{
    (void)state;
    for (int side = 4; side <= 16; side *= 2) {
        struct rig rig;
        rig_init(&rig);
        struct stylegan_level level = { side, side > 4 ? number(&rig, 0.5) : NULL };
        struct node *x = images(&rig, level, rig_input(&rig, SHAPE(2, 4), NORMAL));
        assert_true(shape_equal(x->shape, SHAPE(2, 2, side, side)));
        assert_true(shape_equal(stylegan_discriminate(&tiny, level, x)->shape, SHAPE(2, 1)));
        rig_release(&rig);
    }
    assert_int_equal(stylegan_styles_count(256), 14);
}

static void layers_to_images_are_counted_from_the_last_level(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct stylegan_level level = { 8, number(&rig, 0.5) };
    struct node *x = images(&rig, level, rig_input(&rig, SHAPE(2, 4), NORMAL));
    stylegan_discriminate(&tiny, level, x);
    rig_parameter(&rig, "G_synthesis.ToRGB_lod1.weight", SHAPE(2, 4, 1, 1));
    rig_parameter(&rig, "G_synthesis.ToRGB_lod2.weight", SHAPE(2, 4, 1, 1));
    rig_parameter(&rig, "FromRGB_lod1.weight", SHAPE(4, 2, 1, 1));
    rig_parameter(&rig, "FromRGB_lod2.weight", SHAPE(4, 2, 1, 1));
    rig_release(&rig);
}

static void a_level_fades_in_from_the_one_before(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct node *z = rig_input(&rig, SHAPE(2, 4), NORMAL);
    struct stylegan_level before = { 8, NULL }, now = { 16, NULL };
    struct stylegan_level first = { 16, number(&rig, 0) }, last = { 16, number(&rig, 1) };
    struct node *small = nn_nearest2(images(&rig, before, z)), *large = images(&rig, now, z);
    struct node *begins = images(&rig, first, z), *ends = images(&rig, last, z);
    shake(&rig);
    assert_true(largest_difference(&rig, begins, small) < 1e-12);
    assert_true(largest_difference(&rig, ends, large) < 1e-12);
    assert_true(largest_difference(&rig, small, large) > 0.1);
    rig_release(&rig);
}

static void judgement_fades_in_from_that_of_smaller_images(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct node *x = rig_input(&rig, SHAPE(4, 2, 16, 16), NORMAL);
    struct stylegan_level before = { 8, NULL }, now = { 16, NULL };
    struct stylegan_level first = { 16, number(&rig, 0) }, last = { 16, number(&rig, 1) };
    struct node *small = stylegan_discriminate(&tiny, before, nn_average_pool2(x));
    struct node *large = stylegan_discriminate(&tiny, now, x);
    struct node *begins = stylegan_discriminate(&tiny, first, x);
    struct node *ends = stylegan_discriminate(&tiny, last, x);
    shake(&rig);
    assert_true(largest_difference(&rig, begins, small) < 1e-12);
    assert_true(largest_difference(&rig, ends, large) < 1e-12);
    assert_true(largest_difference(&rig, small, large) > 1e-3);
    rig_release(&rig);
}

static void an_image_depends_on_its_own_latent_alone(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct stylegan_level level = { 8, NULL };
    struct node *noise[4], *noise_of_one[4];
    for (int i = 0; i < 4; i++) {
        noise[i] = rig_constant(&rig, stylegan_noise_shape(i, 3), NORMAL, 100 + i);
        noise_of_one[i] = t_slice(noise[i], 0, 1, 2);
    }
    struct node *w = stylegan_map(&tiny, rig_input(&rig, SHAPE(3, 4), NORMAL));
    struct node *all = stylegan_synthesize(&tiny, level, nn_styles(w, 4), noise);
    struct node *one =
        stylegan_synthesize(&tiny, level, nn_styles(t_slice(w, 0, 1, 2), 4), noise_of_one);
    shake(&rig);
    assert_true(largest_difference(&rig, t_slice(all, 0, 1, 2), one) < 1e-12);
    rig_release(&rig);
}

/* In the end a layer's images have the style's mean and deviation, whatever came before. */
static void a_style_replaces_mean_and_deviation(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct node *z = rig_input(&rig, SHAPE(2, 4), NORMAL);
    struct node *noise[2];
    for (int i = 0; i < 2; i++)
        noise[i] = rig_constant(&rig, stylegan_noise_shape(i, 2), NORMAL, 100 + i);
    struct stylegan all_channels = tiny;
    all_channels.channels = 4; /* what ToRGB is given is to be seen: its weight is made the unit */
    struct node *w = stylegan_map(&tiny, z);
    struct node *x = stylegan_synthesize(&all_channels, (struct stylegan_level){ 4, NULL },
                                         nn_styles(w, 2), noise);
    graph_push(rig.graph, "G_synthesis.4x4.Conv");
    struct node *style = nn_dense(w, "StyleMod", 8); /* (2,8): what scales, what shifts */
    graph_pop(rig.graph);
    shake(&rig);
    double *unit = store_find(rig.store, "G_synthesis.ToRGB_lod2.weight")->memory;
    double *bias = store_find(rig.store, "G_synthesis.ToRGB_lod2.bias")->memory;
    for (int i = 0; i < 16; i++)
        unit[i] = i % 5 ? 0 : 2; /* times 1/√fan-in */
    for (int i = 0; i < 4; i++)
        bias[i] = 0;
    const double *mean = rig_evaluate(&rig, t_mean(x, AXES(2, 3)));
    const double *variance = rig_evaluate(&rig, t_variance(x, AXES(2, 3)));
    const double *expected = rig_evaluate(&rig, style);
    for (int n = 0; n < 2; n++)
        for (int c = 0; c < 4; c++) {
            double scale = expected[8 * n + c] + 1;
            assert_close(mean[4 * n + c], expected[8 * n + 4 + c], 1e-12);
            assert_close(variance[4 * n + c], scale * scale, 1e-6);
        }
    rig_release(&rig);
}

static void truncation_ends_at_the_cutoff(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct node *w = stylegan_map(&tiny, rig_input(&rig, SHAPE(2, 4), NORMAL));
    struct node *average = stylegan_w_average(&tiny, rig.graph), *styles = nn_styles(w, 4);
    struct node *some = stylegan_truncate(styles, average, 0.25, 3);
    shake(&rig);
    const double *own = rig_evaluate(&rig, w), *mean = rig_evaluate(&rig, average);
    const double *y = rig_evaluate(&rig, some); /* (2,4,4) */
    for (int n = 0; n < 2; n++)
        for (int layer = 0; layer < 4; layer++)
            for (int i = 0; i < 4; i++) {
                double psi = layer < 3 ? 0.25 : 1, of = own[4 * n + i];
                assert_close(y[(4 * n + layer) * 4 + i], mean[i] + psi * (of - mean[i]), 1e-14);
            }
    rig_release(&rig);
}

static void each_layer_draws_noise_of_its_own_side(void **state)
{
    (void)state;
    static const int sides[] = { 4, 4, 8, 8, 16, 16 };
    for (int i = 0; i < 6; i++)
        assert_true(shape_equal(stylegan_noise_shape(i, 3), SHAPE(3, 1, sides[i], sides[i])));
}

static void at_first_the_constant_is_one_and_noise_has_no_effect(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct node *z = rig_input(&rig, SHAPE(2, 4), NORMAL);
    struct node *noise[4], *none[4];
    for (int i = 0; i < 4; i++) {
        noise[i] = rig_constant(&rig, stylegan_noise_shape(i, 2), NORMAL, 100 + i);
        none[i] = t_zeros_like(noise[i]);
    }
    struct stylegan_level level = { 8, NULL };
    struct node *styles = nn_styles(stylegan_map(&tiny, z), 4);
    struct node *with = stylegan_synthesize(&tiny, level, styles, noise);
    struct node *without = stylegan_synthesize(&tiny, level, styles, none);
    rig_initialise(&rig);
    assert_true(largest_difference(&rig, with, without) == 0);
    const double *first =
        rig_evaluate(&rig, rig_parameter(&rig, "G_synthesis.4x4.Const.const", SHAPE(1, 4, 4, 4)));
    for (int i = 0; i < 64; i++)
        assert_true(first[i] == 1);
    shake(&rig);
    assert_true(largest_difference(&rig, with, without) > 1e-3);
    rig_release(&rig);
}

static void gradients_agree_with_central_differences(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    rig.step = 1e-6; /* leaky ReLU has kinks */
    struct stylegan_level level = { 8, number(&rig, 0.3) };
    struct node *x = images(&rig, level, rig_input(&rig, SHAPE(2, 4), NORMAL));
    struct node *logits = stylegan_discriminate(&tiny, level, x);
    shake(&rig);
    rig_check_orders(&rig, t_sum_all(t_square(logits)), 1, "D(G(z))");
    rig_release(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels_give_images_of_their_side_and_one_logit_each),
        cmocka_unit_test(layers_to_images_are_counted_from_the_last_level),
        cmocka_unit_test(a_level_fades_in_from_the_one_before),
        cmocka_unit_test(judgement_fades_in_from_that_of_smaller_images),
        cmocka_unit_test(an_image_depends_on_its_own_latent_alone),
        cmocka_unit_test(a_style_replaces_mean_and_deviation),
        cmocka_unit_test(truncation_ends_at_the_cutoff),
        cmocka_unit_test(each_layer_draws_noise_of_its_own_side),
        cmocka_unit_test(at_first_the_constant_is_one_and_noise_has_no_effect),
        cmocka_unit_test(gradients_agree_with_central_differences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
