/* UPerNet on Swin: shapes, names, gradients; what training does that predicting does not. */
#include "nn/rig.h"

#include "models/swin.h"

static const struct swin small = { .classes = 3,
                                   .embed = 4,
                                   .depths = { 2, 1, 1, 1 },
                                   .heads = { 1, 2, 2, 4 },
                                   .window = 3,
                                   .patch = 2,
                                   .width = 4 };

static void logits_are_as_large_as_the_images(void **state)
{
    (void)state;
    struct rig rig;
    struct updates updates = { 0 };
    rig_init(&rig);
    struct node *x = rig_input(&rig, SHAPE(2, 2, 16, 32), NORMAL);
    struct swin_logits training = swin_build(&small, x, &updates);
    struct swin_logits predicting = swin_build(&small, x, NULL);
    assert_true(shape_equal(training.main->shape, SHAPE(2, 3, 16, 32)));
    assert_true(shape_equal(training.auxiliary->shape, SHAPE(2, 3, 16, 32)));
    assert_true(shape_equal(predicting.main->shape, SHAPE(2, 3, 16, 32)));
    assert_null(predicting.auxiliary);
    assert_int_equal(updates.count, 2 * 13); /* two running statistics a batch normalisation */
    rig_parameter(&rig, "backbone.layers.0.blocks.1.attn.relative_position_bias_table",
                  SHAPE(25, 1));
    rig_parameter(&rig, "backbone.layers.2.downsample.reduction.weight", SHAPE(32, 64));
    rig_parameter(&rig, "decode_head.psp_modules.3.1.bn.running_var", SHAPE(4));
    rig_parameter(&rig, "auxiliary_head.convs.0.conv.weight", SHAPE(2, 16, 3, 3));
    updates_release(&updates);
    rig_release(&rig);
}

static void its_gradient_agrees_with_central_differences(void **state)
{
    (void)state;
    struct rig rig;
    struct node *stage[SWIN_STAGES];
    rig_init(&rig);
    swin_backbone(&small, rig_input(&rig, SHAPE(1, 1, 16, 16), NORMAL), false, stage);
    struct node *loss = t_add(t_sum_all(t_square(stage[0])),
                              t_sum_all(t_power(t_shift(t_square(stage[3]), 1), 0.5)));
    rig_initialise(&rig);
    rig_check_orders(&rig, loss, 1, "swin");
    rig_release(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_are_as_large_as_the_images),
        cmocka_unit_test(its_gradient_agrees_with_central_differences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
