/* Layers with parameters: names, shapes, first values, and derivatives. Their values are compared
 * with PyTorch's in tests/parity. */
#include "rig.h"

#include "nn/layer.h"

static void parameters_are_named_and_shaped_as_pytorchs(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct node *image = rig_input(&rig, SHAPE(2, 32, 4, 4), NORMAL);
    graph_push(rig.graph, "net");
    nn_linear(t_reshape(image, SHAPE(2, 512)), "fc", 7);
    nn_conv(image, "conv", 6, 3, .groups = 2);
    nn_conv(image, "flat", 5, 1, .kernel_axes = 1, .no_bias = true);
    nn_group_norm(image, "norm", 8);
    nn_attention(image, "attention", 2);
    graph_pop(rig.graph);
    rig_parameter(&rig, "net.fc.weight", SHAPE(7, 512));
    rig_parameter(&rig, "net.fc.bias", SHAPE(7));
    rig_parameter(&rig, "net.conv.weight", SHAPE(6, 16, 3, 3));
    rig_parameter(&rig, "net.conv.bias", SHAPE(6));
    rig_parameter(&rig, "net.flat.weight", SHAPE(5, 32, 1));
    rig_parameter(&rig, "net.norm.weight", SHAPE(32));
    rig_parameter(&rig, "net.attention.qkv.weight", SHAPE(96, 32, 1));
    rig_parameter(&rig, "net.attention.proj_out.bias", SHAPE(32));
    assert_int_equal(graph_parameters(rig.graph, "net.flat.", NULL, 0), 1);
    rig_release(&rig);
}

static void weights_start_uniform_within_one_over_the_root_of_the_fan_in(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    nn_conv(rig_input(&rig, SHAPE(1, 4, 3, 3), NORMAL), "conv", 64, 3);
    rig_initialise(&rig);
    struct node *weight = rig_parameter(&rig, "conv.weight", SHAPE(64, 4, 3, 3));
    const double *value = rig_evaluate(&rig, weight);
    double low = 1, high = -1, bound = 1 / sqrt(36);
    for (size_t i = 0; i < shape_count(weight->shape); i++) {
        low = fmin(low, value[i]);
        high = fmax(high, value[i]);
    }
    assert_true(low >= -bound && low < -0.99 * bound);
    assert_true(high < bound && high > 0.99 * bound);
    rig_release(&rig);
}

static void kaimings_weights_have_variance_gain_squared_over_fan_in(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct node *w = initial_kaiming(rig.graph, "w", SHAPE(100, 50, 1, 1), sqrt(2));
    assert_close(*rig_evaluate(&rig, t_mean_all(t_square(w))), 2 / 50.0, 0.05 * 2 / 50);
    rig_release(&rig);
}

static void a_layer_asked_to_starts_at_zero(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct node *x = rig_input(&rig, SHAPE(2, 32, 2, 2), NORMAL);
    struct node *y = nn_conv(x, "conv", 4, 3, .zero = true, .pad = 1);
    struct node *same = t_sub(nn_attention(x, "attention", 1), x); /* a branch that starts off */
    rig_initialise(&rig);
    assert_true(*rig_evaluate(&rig, t_sum_all(t_square(y))) == 0);
    assert_true(*rig_evaluate(&rig, t_sum_all(t_square(same))) == 0);
    rig_release(&rig);
}

static void a_normalised_group_has_mean_zero_and_variance_one(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct node *x = rig_input(&rig, SHAPE(2, 6, 5, 5), NORMAL);
    struct node *y = nn_normalise_groups(t_affine(x, 3, 100), 2);
    struct node *group = t_reshape(y, SHAPE(4, 75));
    const double *mean = rig_evaluate(&rig, t_mean(group, AXES(1)));
    const double *square = rig_evaluate(&rig, t_mean(t_square(group), AXES(1)));
    for (int i = 0; i < 4; i++) {
        assert_close(mean[i], 0, 1e-12);
        assert_close(square[i], 1, 1e-5); /* ε takes a little away */
    }
    rig_release(&rig);
}

static void pixel_norm_gives_unit_mean_square_over_channels(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct node *x = rig_input(&rig, SHAPE(2, 5, 3, 3), NORMAL);
    const double *square =
        rig_evaluate(&rig, t_mean(t_square(nn_pixel_norm(t_scale(x, 10))), AXES(1)));
    for (int i = 0; i < 18; i++)
        assert_close(square[i], 1, 1e-8);
    rig_release(&rig);
}

/* With all keys equal, attention is the mean of the values. */
static void attention_to_equal_keys_is_the_mean_of_the_values(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct node *q = rig_input(&rig, SHAPE(1, 2, 3), NORMAL);
    struct node *v = rig_input(&rig, SHAPE(1, 2, 3), NORMAL);
    struct node *k = t_full(rig.graph, SHAPE(1, 2, 3), 0.5);
    const double *y = rig_evaluate(&rig, nn_attend(t_concat(1, q, k, v), 1));
    for (int c = 0; c < 2; c++)
        for (int t = 0; t < 3; t++)
            assert_close(y[3 * c + t],
                         (rig.value[1][3 * c] + rig.value[1][3 * c + 1] + rig.value[1][3 * c + 2]) /
                             3,
                         1e-14);
    rig_release(&rig);
}

static void sinusoids_are_cosines_then_sines_of_falling_frequency(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct node *t = t_labels(rig.graph, SHAPE(2), ((int32_t[]){ 0, 7 }));
    const double *y = rig_evaluate(&rig, nn_sinusoids(t, 8)); /* (2,8) */
    for (int i = 0; i < 4; i++) {
        double angle = 7 * pow(10000, -i / 4.0);
        assert_close(y[i], 1, 0);
        assert_close(y[4 + i], 0, 0);
        assert_close(y[8 + i], cos(angle), 1e-12);
        assert_close(y[12 + i], sin(angle), 1e-12);
    }
    rig_release(&rig);
}

static void positions_get_one_vector_each_for_all_images(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct node *x = t_full(rig.graph, SHAPE(2, 3, 4), 0);
    struct node *y = nn_positions(x, "position");
    rig_initialise(&rig);
    rig_parameter(&rig, "position", SHAPE(1, 3, 4));
    const double *value = rig_evaluate(&rig, y);
    for (int i = 0; i < 12; i++)
        assert_true(value[i] == value[12 + i] && value[i] != 0);
    rig_release(&rig);
}

static void dropout_drops_its_share_and_keeps_the_mean(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct node *ones = t_affine(rig_input(&rig, SHAPE(100, 100), NORMAL), 0, 1);
    const double *y = rig_evaluate(&rig, nn_dropout(ones, 0.2));
    int dropped = 0;
    for (int i = 0; i < 10000; i++) {
        assert_true(y[i] == 0 || fabs(y[i] - 1.25) < 1e-12);
        dropped += y[i] == 0;
    }
    assert_in_range(dropped, 1850, 2150); /* deviation 40 */
    assert_ptr_equal(nn_dropout(ones, 0), ones);
    rig_release(&rig);
}

/* Derivatives, first and second. */

static struct node *group_norm(struct node *x)
{
    return nn_group_norm(x, "norm", 2);
}

static struct node *instance_norm(struct node *x)
{
    return nn_instance_norm(x, "norm");
}

static struct node *layer_norm(struct node *x)
{
    return nn_layer_norm(x, "norm");
}

static struct node *pixel_norm(struct node *x)
{
    return nn_pixel_norm(x);
}

static struct node *attention(struct node *x)
{
    return nn_attend(t_reshape(x, SHAPE(1, 12, -1)), 2);
}

static struct node *convolution(struct node *x)
{
    return t_silu(nn_conv(x, "conv", 3, 3, .stride = 2, .pad = 1));
}

static struct node *dropout(struct node *x)
{
    return nn_dropout(t_silu(x), 0.5);
}

static void layers_have_the_right_derivatives(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct node *(*build)(struct node *x);
    } layers[] = {
        { "group_norm", group_norm }, { "instance_norm", instance_norm },
        { "layer_norm", layer_norm }, { "pixel_norm", pixel_norm },
        { "attention", attention },   { "convolution", convolution },
        { "dropout", dropout },
    };
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) {
        struct rig rig;
        rig_init(&rig);
        rig_check_layer(&rig, layers[i].build(rig_input(&rig, SHAPE(2, 6, 2, 5), NORMAL)),
                        layers[i].name);
        rig_release(&rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters_are_named_and_shaped_as_pytorchs),
        cmocka_unit_test(weights_start_uniform_within_one_over_the_root_of_the_fan_in),
        cmocka_unit_test(kaimings_weights_have_variance_gain_squared_over_fan_in),
        cmocka_unit_test(a_layer_asked_to_starts_at_zero),
        cmocka_unit_test(a_normalised_group_has_mean_zero_and_variance_one),
        cmocka_unit_test(pixel_norm_gives_unit_mean_square_over_channels),
        cmocka_unit_test(attention_to_equal_keys_is_the_mean_of_the_values),
        cmocka_unit_test(sinusoids_are_cosines_then_sines_of_falling_frequency),
        cmocka_unit_test(positions_get_one_vector_each_for_all_images),
        cmocka_unit_test(dropout_drops_its_share_and_keeps_the_mean),
        cmocka_unit_test(layers_have_the_right_derivatives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
