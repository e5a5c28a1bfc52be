/* The segmentation U-Net: shapes and derivatives. */
#include "nn/rig.h"

#include "models/unet.h"

static void logits_are_as_large_as_the_images(void **state)
{
    (void)state;
    for (int levels = 2; levels <= 4; levels++) {
        struct rig rig;
        rig_init(&rig);
        struct unet unet = { .channels = 3, .classes = 5, .base = 2, .levels = levels };
        struct node *y = unet_build(&unet, rig_input(&rig, SHAPE(2, 3, 16, 24), NORMAL));
        assert_true(shape_equal(y->shape, SHAPE(2, 5, 16, 24)));
        rig_parameter(&rig, "down_path.1.block.3.weight", SHAPE(4, 4, 3, 3));
        rig_parameter(&rig, "up_path.0.up.1.bias", SHAPE(2 << (levels - 2)));
        rig_release(&rig);
    }
}

static void its_gradient_agrees_with_central_differences(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    rig.step = 1e-6; /* leaky ReLU and the maximum have kinks */
    struct unet unet = { .channels = 2, .classes = 2, .base = 2, .levels = 2 };
    struct node *y = unet_build(&unet, rig_input(&rig, SHAPE(1, 2, 4, 4), NORMAL));
    struct node *loss = t_sum_all(t_square(y));
    rig_initialise(&rig);
    rig_check_orders(&rig, loss, 1, "unet");
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
