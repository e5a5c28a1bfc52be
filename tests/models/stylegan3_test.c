/* StyleGAN 3: the table of layers against the official constructor's, shapes, transformations,
 * magnitudes, and what alias-free layers promise. */
#include "nn/rig.h"

#include "models/stylegan3.h"
#include "nn/optimiser.h"

static const struct stylegan3 tiny = {
    .resolution = 16,
    .channels = 2,
    .z_width = 4,
    .w_width = 4,
    .layers = 4,
    .channel_base = 64,
    .channel_max = 8,
    .magnitude_decay = 0.9,
};

/* ---- the table ------------------------------------------------------------------------------- */

struct row {
    const char *name;
    int in_channels, in_size, in_rate, out_rate;
    double out_cutoff, out_half_width;
    int up, up_taps, down, down_taps, pad[2];
    bool radial;
};

/* Figures of NVlabs/stylegan3's SynthesisNetwork, as it prints them. T at 256² with channel_base
 * 16384. */
static const struct row official_t[] = {
    { "L0_36_512", 512, 36, 16, 16, 2, 6, 2, 12, 2, 12, { 9, 8 }, false },
    { "L1_36_512", 512, 36, 16, 16, 2.828427124746, 5.171572875254, 2, 12, 2, 12, { 9, 8 }, false },
    { "L2_36_512", 512, 36, 16, 16, 4, 4, 2, 12, 2, 12, { 9, 8 }, false },
    { "L3_52_512",
      512,
      36,
      16,
      32,
      5.656854249492,
      10.34314575051,
      4,
      24,
      2,
      12,
      { -6, -9 },
      false },
    { "L4_52_512", 512, 52, 32, 32, 8, 8, 2, 12, 2, 12, { 9, 8 }, false },
    { "L5_84_512",
      512,
      52,
      32,
      64,
      11.31370849898,
      20.68629150102,
      4,
      24,
      2,
      12,
      { -6, -9 },
      false },
    { "L6_84_512", 512, 84, 64, 64, 16, 16, 2, 12, 2, 12, { 9, 8 }, false },
    { "L7_148_362",
      512,
      84,
      64,
      128,
      22.62741699797,
      41.37258300203,
      4,
      24,
      2,
      12,
      { -6, -9 },
      false },
    { "L8_148_256", 362, 148, 128, 128, 32, 32, 2, 12, 2, 12, { 9, 8 }, false },
    { "L9_148_181",
      256,
      148,
      128,
      128,
      45.25483399594,
      18.74516600406,
      2,
      12,
      2,
      12,
      { 9, 8 },
      false },
    { "L10_276_128", 181, 148, 128, 256, 64, 64, 4, 24, 2, 12, { -6, -9 }, false },
    { "L11_276_91",
      128,
      276,
      256,
      256,
      90.50966799188,
      37.49033200812,
      2,
      12,
      2,
      12,
      { 9, 8 },
      false },
    { "L12_276_64", 91, 276, 256, 256, 128, 29.58648490815, 2, 12, 2, 12, { 9, 8 }, false },
    { "L13_256_64", 64, 276, 256, 256, 128, 29.58648490815, 2, 12, 2, 12, { -11, -12 }, false },
    { "L14_256_5", 64, 256, 256, 256, 128, 29.58648490815, 1, 1, 1, 1, { 0, 0 }, false },
};

/* R at 1024²; its options of channels are twice those of T. */
static const struct row official_r[] = {
    { "L0_36_1024", 1024, 36, 16, 16, 2, 6, 2, 12, 2, 12, { 11, 10 }, true },
    { "L1_36_1024",
      1024,
      36,
      16,
      16,
      3.174802103936,
      4.825197896064,
      2,
      12,
      2,
      12,
      { 11, 10 },
      true },
    { "L2_52_1024",
      1024,
      36,
      16,
      32,
      5.039684199579,
      10.96031580042,
      4,
      24,
      2,
      12,
      { -2, -5 },
      true },
    { "L3_52_1024", 1024, 52, 32, 32, 8, 8, 2, 12, 2, 12, { 11, 10 }, true },
    { "L4_84_1024",
      1024,
      52,
      32,
      64,
      12.69920841575,
      19.30079158425,
      4,
      24,
      2,
      12,
      { -2, -5 },
      true },
    { "L5_148_1024",
      1024,
      84,
      64,
      128,
      20.15873679832,
      43.84126320168,
      4,
      24,
      2,
      12,
      { -2, -5 },
      true },
    { "L6_148_1024", 1024, 148, 128, 128, 32, 32, 2, 12, 2, 12, { 11, 10 }, true },
    { "L7_276_645",
      1024,
      148,
      128,
      256,
      50.79683366298,
      77.20316633702,
      4,
      24,
      2,
      12,
      { -2, -5 },
      true },
    { "L8_276_406",
      645,
      276,
      256,
      256,
      80.63494719327,
      47.36505280673,
      2,
      12,
      2,
      12,
      { 11, 10 },
      true },
    { "L9_532_256", 406, 276, 256, 512, 128, 128, 4, 24, 2, 12, { -2, -5 }, true },
    { "L10_1044_161",
      256,
      532,
      512,
      1024,
      203.1873346519,
      308.8126653481,
      4,
      24,
      2,
      12,
      { -2, -5 },
      true },
    { "L11_1044_102",
      161,
      1044,
      1024,
      1024,
      322.5397887731,
      189.4602112269,
      2,
      12,
      2,
      12,
      { 11, 10 },
      true },
    { "L12_1044_64", 102, 1044, 1024, 1024, 512, 118.3459396326, 2, 12, 2, 12, { 11, 10 }, false },
    { "L13_1024_64", 64, 1044, 1024, 1024, 512, 118.3459396326, 2, 12, 2, 12, { -9, -10 }, false },
    { "L14_1024_3", 64, 1024, 1024, 1024, 512, 118.3459396326, 1, 1, 1, 1, { 0, 0 }, false },
};

static const struct row official_tiny[] = {
    { "L0_36_8", 8, 36, 16, 16, 2, 6, 2, 12, 2, 12, { 9, 8 }, false },
    { "L1_36_8", 8, 36, 16, 16, 4, 4, 2, 12, 2, 12, { 9, 8 }, false },
    { "L2_36_4", 8, 36, 16, 16, 8, 1.849155306759, 2, 12, 2, 12, { 9, 8 }, false },
    { "L3_16_4", 4, 36, 16, 16, 8, 1.849155306759, 2, 12, 2, 12, { -11, -12 }, false },
    { "L4_16_2", 4, 16, 16, 16, 8, 1.849155306759, 1, 1, 1, 1, { 0, 0 }, false },
};

static void check_row(const struct stylegan3_layer *layer, const struct row *row,
                      const struct row *before)
{
    assert_string_equal(layer->name, row->name);
    assert_int_equal(layer->in_channels, row->in_channels);
    assert_int_equal(layer->in_size, row->in_size);
    assert_int_equal(layer->in_rate, row->in_rate);
    assert_int_equal(layer->out_rate, row->out_rate);
    assert_float_equal(layer->out_cutoff, row->out_cutoff, 1e-9);
    assert_float_equal(layer->out_half_width, row->out_half_width, 1e-9);
    assert_float_equal(layer->in_cutoff, before->out_cutoff, 1e-9);
    assert_float_equal(layer->in_half_width, before->out_half_width, 1e-9);
    assert_int_equal(layer->up, row->up);
    assert_int_equal(layer->up_taps, row->up_taps);
    assert_int_equal(layer->down, row->down);
    assert_int_equal(layer->down_taps, row->down_taps);
    assert_int_equal(layer->pad[0], row->pad[0]);
    assert_int_equal(layer->pad[1], row->pad[1]);
    assert_int_equal(layer->radial, row->radial);
}

static void check_table(const struct stylegan3 *config, const struct row *rows, int count)
{
    struct stylegan3_layer layer[STYLEGAN3_LAYERS];
    assert_int_equal(stylegan3_layers(config, layer), count);
    for (int i = 0; i < count; i++)
        check_row(&layer[i], &rows[i], &rows[i ? i - 1 : 0]);
}

static void layers_are_those_of_the_official_constructor(void **state)
{
    (void)state;
    check_table(
        &(struct stylegan3){
            .resolution = 256, .channels = 5, .channel_base = 16384, .channel_max = 512 },
        official_t, 15);
    check_table(&(struct stylegan3){ .rotation = true,
                                     .resolution = 1024,
                                     .channels = 3,
                                     .channel_base = 65536,
                                     .channel_max = 1024 },
                official_r, 15);
    check_table(&tiny, official_tiny, 5);
}

/* ---- the network ----------------------------------------------------------------------------- */

static struct node *images(const struct stylegan3 *config, struct node *z)
{
    return stylegan3_synthesize(config, stylegan3_map(config, z), NULL);
}

/* Biases start without effect; here all parameters are moved off their first values. */
static void shake(struct rig *rig)
{
    rig_initialise(rig);
    for (size_t i = 0; i < store_count(rig->store); i++) {
        struct tensor *tensor = store_tensor(rig->store, i);
        for (size_t k = 0; k < shape_count(tensor->shape); k++)
            ((double *)tensor->memory)[k] += 0.1 * random_normal(5, i, k);
    }
}

static void both_configurations_give_images(void **state)
{
    (void)state;
    for (int rotation = 0; rotation < 2; rotation++)
        for (int resolution = 8; resolution <= 32; resolution *= 2) {
            struct rig rig;
            rig_init(&rig);
            struct stylegan3 config = tiny;
            config.rotation = rotation;
            config.resolution = resolution;
            struct node *x = images(&config, rig_input(&rig, SHAPE(2, 4), NORMAL));
            assert_true(shape_equal(x->shape, SHAPE(2, 2, resolution, resolution)));
            rig_release(&rig);
        }
}

static void first_values_are_the_papers(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    images(&tiny, rig_input(&rig, SHAPE(1, 4), NORMAL));
    struct node *average = stylegan3_w_average(&tiny, rig.graph);
    struct node *bias = rig_parameter(&rig, "synthesis.input.affine.bias", SHAPE(4));
    struct node *weight = rig_parameter(&rig, "synthesis.input.affine.weight", SHAPE(4, 4));
    struct node *magnitude = rig_parameter(&rig, "synthesis.L0_36_8.magnitude_ema", SHAPE());
    struct node *frequency = rig_parameter(&rig, "synthesis.input.freqs", SHAPE(8, 2));
    struct node *phase = rig_parameter(&rig, "synthesis.input.phases", SHAPE(8));
    rig_initialise(&rig);
    const double *b = rig_evaluate(&rig, t_scale(bias, 2));
    for (int i = 0; i < 4; i++)
        assert_true(b[i] == (i ? 0 : 2));
    assert_true(*rig_evaluate(&rig, t_sum_all(t_abs(weight))) == 0);
    assert_true(*rig_evaluate(&rig, t_sum_all(t_abs(average))) == 0);
    assert_true(*rig_evaluate(&rig, t_scale(magnitude, 2)) == 2);
    const double *f = rig_evaluate(&rig, t_scale(frequency, 1));
    const double *p = rig_evaluate(&rig, t_shift(phase, 0.5));
    for (int i = 0; i < 8; i++) {
        assert_true(hypot(f[2 * i], f[2 * i + 1]) <= 2); /* the first cut-off */
        assert_true(p[i] >= 0 && p[i] < 1);
    }
    rig_release(&rig);
}

/* All of these layers have one rate, so waves moved by a pixel move the image by one, but for
 * what the edges do beyond the margin. */
static void moving_the_input_moves_the_image(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct node *w = rig_input(&rig, SHAPE(1, 4), NORMAL);
    struct node *x = stylegan3_synthesize(&tiny, w, NULL);
    struct node *bias = rig_parameter(&rig, "synthesis.input.affine.bias", SHAPE(4));
    rig_initialise(&rig);
    double *value = store_find(rig.store, bias->leaf.name)->memory;
    double here[512], most = 0, off = 0, still = 0;
    memcpy(here, rig_evaluate(&rig, x), sizeof here);
    value[2] = 1.0 / 16; /* of the image's side: a pixel to the right */
    const double *there = rig_evaluate(&rig, x);
    for (int row = 0; row < 32; row++)
        for (int column = 1; column < 16; column++) {
            most = fmax(most, fabs(here[16 * row + column]));
            off = fmax(off, fabs(there[16 * row + column] - here[16 * row + column - 1]));
            still = fmax(still, fabs(there[16 * row + column] - here[16 * row + column]));
        }
    assert_true(most > 0.05 && still > 0.1 * most);
    assert_true(off < 1e-3 * most);
    rig_release(&rig);
}

static void magnitudes_follow_the_layers_inputs(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct updates updates = { 0 };
    struct node *w = stylegan3_map(&tiny, rig_input(&rig, SHAPE(1, 4), NORMAL));
    struct node *next = stylegan3_synthesize(&tiny, w, &updates);
    struct node *same = stylegan3_synthesize(&tiny, w, NULL);
    assert_int_equal(updates.count, 5);
    assert_string_equal(updates.items[0].parameter->leaf.name, "synthesis.L0_36_8.magnitude_ema");
    shake(&rig);
    struct node *first = updates.items[0].parameter;
    double *memory = store_find(rig.store, first->leaf.name)->memory;
    *memory = 3;
    double followed = *rig_evaluate(&rig, updates.items[0].value);
    assert_true(followed > 2.7 && followed < 2.9); /* .9 · 3, and .1 of some mean square */
    /* What is computed is scaled by the average as it becomes, unless nothing is updated. */
    double moved = *rig_evaluate(&rig, t_sum_all(t_square(t_sub(next, same))));
    assert_true(moved > 1e-6);
    updates_release(&updates);
    rig_release(&rig);
}

static void the_average_of_w_moves_by_two_thousandths(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct node *w = rig_input(&rig, SHAPE(2, 4), NORMAL);
    struct node *average = stylegan3_w_average(&tiny, rig.graph);
    struct node *next = stylegan3_w_average_next(average, w);
    rig_initialise(&rig);
    const double *value = rig_evaluate(&rig, next);
    for (int i = 0; i < 4; i++)
        assert_close(value[i], 0.002 * (rig.value[0][i] + rig.value[0][4 + i]) / 2, 1e-15);
    rig_release(&rig);
}

static void activations_stay_within_the_clamp(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct stylegan3 config = tiny;
    config.clamp = 0.25;
    struct node *x = images(&config, rig_input(&rig, SHAPE(1, 4), NORMAL));
    shake(&rig);
    const double *value = rig_evaluate(&rig, x);
    double largest = 0;
    for (int i = 0; i < 512; i++)
        largest = fmax(largest, fabs(value[i]));
    assert_true(largest <= 0.0625 + 1e-12 && largest > 0.02); /* a quarter of ToRGB's */
    rig_release(&rig);
}

static void gradients_agree_with_central_differences(void **state)
{
    (void)state;
    for (int rotation = 0; rotation < 2; rotation++) {
        struct rig rig;
        rig_init(&rig);
        rig.step = 1e-6; /* leaky ReLU has kinks */
        struct stylegan3 config = tiny;
        config.rotation = rotation;
        config.layers = 3;
        config.channel_max = 2;
        struct node *x = images(&config, rig_input(&rig, SHAPE(2, 4), NORMAL));
        shake(&rig);
        rig_check_orders(&rig, t_sum_all(t_square(x)), 1, rotation ? "R" : "T");
        rig_release(&rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layers_are_those_of_the_official_constructor),
        cmocka_unit_test(both_configurations_give_images),
        cmocka_unit_test(first_values_are_the_papers),
        cmocka_unit_test(moving_the_input_moves_the_image),
        cmocka_unit_test(magnitudes_follow_the_layers_inputs),
        cmocka_unit_test(the_average_of_w_moves_by_two_thousandths),
        cmocka_unit_test(activations_stay_within_the_clamp),
        cmocka_unit_test(gradients_agree_with_central_differences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
