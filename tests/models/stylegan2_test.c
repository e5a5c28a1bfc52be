/* StyleGAN 2: shapes, truncation, mixing, noise, and that images don't depend on each other. */
#include "nn/rig.h"

#include "models/stylegan2.h"

static const struct stylegan2 tiny = {
    .resolution = 8,
    .channels = 2,
    .z_width = 4,
    .w_width = 4,
    .mapping_layers = 2,
    .channel_base = 32,
    .channel_max = 4,
};

static struct node *images(const struct stylegan2 *config, struct node *z,
                           struct node *const *noise)
{
    return stylegan2_synthesize(config, stylegan2_styles(config, stylegan2_map(config, z)), noise);
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

static void resolutions_give_images_and_one_logit_each(void **state)
{
    (void)state;
    for (int resolution = 8; resolution <= 32; resolution *= 2) {
        struct rig rig;
        rig_init(&rig);
        struct stylegan2 config = tiny;
        config.resolution = resolution;
        struct node *x = images(&config, rig_input(&rig, SHAPE(2, 4), NORMAL), NULL);
        assert_true(shape_equal(x->shape, SHAPE(2, 2, resolution, resolution)));
        assert_true(shape_equal(stylegan2_discriminate(&config, x)->shape, SHAPE(2, 1)));
        rig_release(&rig);
    }
    assert_int_equal(stylegan2_styles_count(&(struct stylegan2){ .resolution = 256 }), 14);
}

static void an_image_depends_on_its_own_latent_alone(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct node *z = rig_input(&rig, SHAPE(3, 4), NORMAL);
    struct node *all = t_slice(images(&tiny, z, NULL), 0, 1, 2);
    struct node *one = images(&tiny, t_slice(z, 0, 1, 2), NULL);
    shake(&rig);
    const double *a = rig_evaluate(&rig, all), *b = rig_evaluate(&rig, one);
    for (size_t i = 0; i < 128; i++)
        assert_close(a[i], b[i], 1e-12);
    rig_release(&rig);
}

static void full_truncation_gives_everyone_the_average(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct node *w = stylegan2_map(&tiny, rig_input(&rig, SHAPE(2, 4), NORMAL));
    struct node *average = stylegan2_w_average(&tiny, rig.graph);
    struct node *none = stylegan2_truncate(w, average, 1);
    struct node *full = t_broadcast(stylegan2_truncate(w, average, 0), SHAPE(2, 4));
    shake(&rig);
    const double *own = rig_evaluate(&rig, w), *same = rig_evaluate(&rig, none);
    const double *of_all = rig_evaluate(&rig, full), *mean = rig_evaluate(&rig, average);
    for (int i = 0; i < 8; i++) {
        assert_close(same[i], own[i], 1e-14);
        assert_close(of_all[i], mean[i % 4], 1e-14);
    }
    rig_release(&rig);
}

static void the_average_of_w_moves_by_half_a_percent(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct node *w = rig_input(&rig, SHAPE(2, 4), NORMAL);
    struct node *average = stylegan2_w_average(&tiny, rig.graph);
    struct node *next = stylegan2_w_average_next(average, w);
    rig_initialise(&rig);
    const double *value = rig_evaluate(&rig, next);
    for (int i = 0; i < 4; i++)
        assert_close(value[i], 0.005 * (rig.value[0][i] + rig.value[0][4 + i]) / 2, 1e-15);
    rig_release(&rig);
}

static void styles_are_mixed_from_the_cutoff_on(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct node *a = rig_input(&rig, SHAPE(2, 4), NORMAL);
    struct node *b = rig_input(&rig, SHAPE(2, 4), NORMAL);
    struct node *cutoff = t_affine(t_sum_all(a), 0, 1.5); /* a scalar node: layers 2, 3, … */
    const double *y = rig_evaluate(&rig, stylegan2_mix(&tiny, a, b, cutoff)); /* (2,4,4) */
    for (int n = 0; n < 2; n++)
        for (int layer = 0; layer < 4; layer++)
            for (int i = 0; i < 4; i++)
                assert_true(y[(4 * n + layer) * 4 + i] == rig.value[layer > 1][4 * n + i]);
    rig_release(&rig);
}

static void fresh_noise_has_the_layers_sizes_and_reaches_the_image(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct node *noise[3];
    for (int i = 0; i < 3; i++)
        noise[i] = t_normal(rig.graph, "noise", stylegan2_noise_shape(i, 2));
    assert_true(shape_equal(noise[0]->shape, SHAPE(2, 1, 4, 4)));
    assert_true(shape_equal(noise[1]->shape, SHAPE(2, 1, 8, 8)));
    assert_true(shape_equal(noise[2]->shape, SHAPE(2, 1, 8, 8)));
    struct node *z = rig_input(&rig, SHAPE(2, 4), NORMAL);
    struct node *moved = t_sub(images(&tiny, z, noise), images(&tiny, z, NULL));
    shake(&rig);
    assert_true(*rig_evaluate(&rig, t_sum_all(t_square(moved))) > 1e-3);
    rig_release(&rig);
}

static void activations_stay_within_the_clamp(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct stylegan2 config = tiny;
    config.clamp = 0.25;
    struct node *x = images(&config, rig_input(&rig, SHAPE(2, 4), NORMAL), NULL);
    shake(&rig);
    const double *value = rig_evaluate(&rig, x);
    double largest = 0;
    for (int i = 0; i < 256; i++)
        largest = fmax(largest, fabs(value[i]));
    assert_true(largest <= 0.5 + 1e-12 && largest > 0.25); /* two blocks' images are added */
    rig_release(&rig);
}

static void gradients_agree_with_central_differences(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    rig.step = 1e-6; /* leaky ReLU has kinks */
    struct node *z = rig_input(&rig, SHAPE(2, 4), NORMAL);
    struct node *logits = stylegan2_discriminate(&tiny, images(&tiny, z, NULL));
    shake(&rig);
    rig_check_orders(&rig, t_sum_all(t_square(logits)), 1, "D(G(z))");
    rig_release(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resolutions_give_images_and_one_logit_each),
        cmocka_unit_test(an_image_depends_on_its_own_latent_alone),
        cmocka_unit_test(full_truncation_gives_everyone_the_average),
        cmocka_unit_test(the_average_of_w_moves_by_half_a_percent),
        cmocka_unit_test(styles_are_mixed_from_the_cutoff_on),
        cmocka_unit_test(fresh_noise_has_the_layers_sizes_and_reaches_the_image),
        cmocka_unit_test(activations_stay_within_the_clamp),
        cmocka_unit_test(gradients_agree_with_central_differences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
