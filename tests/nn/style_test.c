/* StyleGAN's parts: equalised learning rate, modulation, minibatch standard deviation. */
#include "rig.h"

#include "nn/style.h"

static double largest_difference(struct rig *rig, struct node *a, struct node *b)
{
    return *rig_evaluate(rig, t_max(t_reshape(t_abs(t_sub(a, b)), SHAPE(-1)), AXES(0)));
}

static void scaling_images_equals_scaling_weights(void **state)
{
    (void)state;
    for (int up = 1; up <= 2; up++)
        for (int plain = 0; plain < 2; plain++) {
            struct rig rig;
            rig_init(&rig);
            struct node *x = rig_input(&rig, SHAPE(3, 2, 4, 5), NORMAL);
            struct node *w = rig_input(&rig, SHAPE(4, 2, 3, 3), NORMAL);
            struct node *style = rig_input(&rig, SHAPE(3, 2), NORMAL);
            struct node *shared = nn_modulated_conv(x, w, style, .up = up, .plain = plain);
            struct node *grouped =
                nn_modulated_conv(x, w, style, .up = up, .plain = plain, .grouped = true);
            assert_true(shape_equal(shared->shape, SHAPE(3, 4, 4 * up, 5 * up)));
            assert_true(largest_difference(&rig, shared, grouped) < 1e-12);
            rig_release(&rig);
        }
}

static void demodulation_makes_the_scale_of_the_style_irrelevant(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct node *x = rig_input(&rig, SHAPE(2, 3, 4, 4), NORMAL);
    struct node *w = rig_input(&rig, SHAPE(4, 3, 3, 3), NORMAL);
    struct node *style = rig_input(&rig, SHAPE(2, 3), POSITIVE);
    struct node *a = nn_modulated_conv(x, w, style);
    struct node *b = nn_modulated_conv(x, w, t_scale(style, 100));
    assert_true(largest_difference(&rig, a, b) < 1e-7); /* ε */
    rig_release(&rig);
}

static void modulated_convolutions_have_the_right_derivatives(void **state)
{
    (void)state;
    for (int up = 1; up <= 2; up++) {
        struct rig rig;
        rig_init(&rig);
        struct node *x = rig_input(&rig, SHAPE(2, 2, 3, 3), NORMAL);
        struct node *w = rig_input(&rig, SHAPE(3, 2, 3, 3), NORMAL);
        struct node *style = rig_input(&rig, SHAPE(2, 2), POSITIVE);
        rig_check_layer(&rig, nn_modulated_conv(x, w, style, .up = up), "modulated_conv");
        rig_release(&rig);
    }
}

/* A dense layer of a lower rate stores a larger weight; what it computes has the same spread. */
static void the_learning_rate_multiplier_leaves_the_function_alone(void **state)
{
    (void)state;
    for (int slow = 0; slow < 2; slow++) {
        struct rig rig;
        rig_init(&rig);
        double rate = slow ? 0.01 : 1;
        struct node *x = rig_input(&rig, SHAPE(1, 400), NORMAL);
        struct node *y = nn_dense(x, "fc", 1000, .rate = rate);
        rig_initialise(&rig);
        struct node *weight = rig_parameter(&rig, "fc.weight", SHAPE(1000, 400));
        assert_close(*rig_evaluate(&rig, t_mean_all(t_square(weight))), 1 / (rate * rate),
                     0.01 / (rate * rate));
        double size = *rig_evaluate(&rig, t_mean_all(t_square(x)));
        assert_close(*rig_evaluate(&rig, t_mean_all(t_square(y))), size, 0.15 * size);
        rig_release(&rig);
    }
}

static void bias_activation_gain_and_clamp_come_in_that_order(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct node *x = t_constant(rig.graph, SHAPE(1, 4), ((float[]){ -3, -1, 1, 100 }));
    struct node *bias = t_full(rig.graph, SHAPE(4), 1);
    const double *y =
        rig_evaluate(&rig, nn_bias_act(x, .bias = bias, .lrelu = true, .gain = 2, .clamp = 8));
    assert_close(y[0], -2 * 0.2 * 2 * sqrt(2), 1e-14);
    assert_close(y[1], 0, 0);
    assert_close(y[2], 2 * 2 * sqrt(2), 1e-14);
    assert_close(y[3], 8, 0);
    rig_release(&rig);
}

/* √2·W x + b instead of √2·(W x + b), so the two agree where there is no bias, and the bias of the
 * one counts √2 times as much. */
static void the_gain_of_he_is_in_the_weight_alone(void **state)
{
    (void)state;
    for (int biased = 0; biased < 2; biased++) {
        struct rig rig;
        rig_init(&rig);
        struct node *x = rig_input(&rig, SHAPE(3, 5), NORMAL);
        struct node *image = rig_input(&rig, SHAPE(2, 3, 4, 4), NORMAL);
        double bias = biased ? 100 : 0; /* with it all is on the positive side */
        struct node *he = nn_dense(x, "fc", 4, .lrelu = true, .he = true, .bias = bias);
        struct node *usual = nn_dense(x, "fc", 4, .lrelu = true, .bias = bias);
        struct node *conv = nn_equal_conv(image, "conv", 4, 3, .lrelu = true, .he = true);
        struct node *same = nn_equal_conv(image, "conv", 4, 3, .lrelu = true);
        rig_initialise(&rig);
        assert_true(largest_difference(&rig, t_shift(he, (M_SQRT2 - 1) * bias), usual) < 1e-12);
        assert_true(largest_difference(&rig, conv, same) < 1e-12);
        rig_release(&rig);
    }
}

static void equal_images_have_no_deviation_and_others_have_theirs(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    /* Two groups of two: {0, 2} are equal, {1, 3} differ by 2 in every element. */
    struct node *value = t_constant(rig.graph, SHAPE(4, 1, 1, 1), ((float[]){ 5, 1, 5, 3 }));
    struct node *x = t_broadcast(value, SHAPE(4, 2, 2, 2));
    struct node *y = nn_minibatch_stddev(x, 2);
    assert_true(shape_equal(y->shape, SHAPE(4, 3, 2, 2)));
    const double *added = rig_evaluate(&rig, t_slice(y, 1, 2, 3));
    for (int i = 0; i < 16; i++)
        assert_close(added[i], i / 4 % 2 ? 1 : 1e-4, 1e-8);
    rig_release(&rig);
}

static void the_whole_batch_is_one_group_when_it_is_smaller(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct node *x = rig_input(&rig, SHAPE(2, 3, 2, 2), NORMAL);
    assert_true(largest_difference(&rig, nn_minibatch_stddev(x, 4), nn_minibatch_stddev(x, 2)) ==
                0);
    rig_release(&rig);
}

static void minibatch_stddev_has_the_right_derivatives(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct node *x = rig_input(&rig, SHAPE(4, 2, 2, 1), NORMAL);
    rig_check_layer(&rig, nn_minibatch_stddev(x, 4), "minibatch_stddev");
    rig_release(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scaling_images_equals_scaling_weights),
        cmocka_unit_test(demodulation_makes_the_scale_of_the_style_irrelevant),
        cmocka_unit_test(modulated_convolutions_have_the_right_derivatives),
        cmocka_unit_test(the_learning_rate_multiplier_leaves_the_function_alone),
        cmocka_unit_test(bias_activation_gain_and_clamp_come_in_that_order),
        cmocka_unit_test(the_gain_of_he_is_in_the_weight_alone),
        cmocka_unit_test(equal_images_have_no_deviation_and_others_have_theirs),
        cmocka_unit_test(the_whole_batch_is_one_group_when_it_is_smaller),
        cmocka_unit_test(minibatch_stddev_has_the_right_derivatives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
