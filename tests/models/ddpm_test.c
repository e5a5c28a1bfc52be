/* guided-diffusion's U-Net: shapes, options, derivatives. */
#include "nn/rig.h"

#include "models/ddpm.h"

static const struct ddpm tiny = {
    .size = 4,
    .channels = 2,
    .base = 32,
    .levels = 2,
    .mult = { 1, 1 },
    .blocks = 1,
    .attention = { 2 },
};

static struct node *times(struct rig *rig)
{
    return t_labels(rig->graph, SHAPE(2), ((int32_t[]){ 3, 500 }));
}

static void it_predicts_noise_of_the_images_shape(void **state)
{
    (void)state;
    for (int learned = 0; learned < 2; learned++) {
        struct rig rig;
        rig_init(&rig);
        struct ddpm ddpm = tiny;
        ddpm.learned_variance = learned;
        struct node *x = rig_input(&rig, SHAPE(2, 2, 4, 4), NORMAL);
        struct node *y = ddpm_build(&ddpm, x, times(&rig));
        assert_true(shape_equal(y->shape, SHAPE(2, learned ? 4 : 2, 4, 4)));
        rig_release(&rig);
    }
}

static void attention_stands_where_it_was_asked_for(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    ddpm_build(&tiny, rig_input(&rig, SHAPE(2, 2, 4, 4), NORMAL), times(&rig));
    assert_int_equal(graph_parameters(rig.graph, "input_blocks.1.1.qkv", NULL, 0), 0);
    assert_int_equal(graph_parameters(rig.graph, "input_blocks.3.1.qkv", NULL, 0), 2);
    assert_int_equal(graph_parameters(rig.graph, "middle_block.1.qkv", NULL, 0), 2);
    assert_int_equal(graph_parameters(rig.graph, "output_blocks.1.2.conv", NULL, 0), 2);
    rig_release(&rig);
}

/* Its last convolution starts at zero. */
static void an_untrained_network_predicts_nothing(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct node *y = ddpm_build(&tiny, rig_input(&rig, SHAPE(2, 2, 4, 4), NORMAL), times(&rig));
    rig_initialise(&rig);
    assert_true(*rig_evaluate(&rig, t_sum_all(t_square(y))) == 0);
    rig_release(&rig);
}

static void its_gradient_agrees_with_central_differences(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct ddpm one = tiny;
    one.levels = 1;
    one.attention[0] = 4;
    struct node *y = ddpm_build(&one, rig_input(&rig, SHAPE(2, 2, 4, 4), NORMAL), times(&rig));
    struct node *loss = t_sum_all(t_square(t_shift(y, 1)));
    struct node *out = rig_parameter(&rig, "out.2.weight", SHAPE(2, 32, 3, 3));
    rig_initialise(&rig);
    double *memory = store_find(rig.store, "out.2.weight")->memory; /* else all slopes are zero */
    for (size_t i = 0; i < shape_count(out->shape); i++)
        memory[i] = 0.1 * random_normal(3, 3, i);
    rig_check_orders(&rig, loss, 1, "ddpm");
    rig_release(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_predicts_noise_of_the_images_shape),
        cmocka_unit_test(attention_stands_where_it_was_asked_for),
        cmocka_unit_test(an_untrained_network_predicts_nothing),
        cmocka_unit_test(its_gradient_agrees_with_central_differences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
