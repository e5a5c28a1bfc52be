/* Losses and penalties where the answer is known by hand; against PyTorch in tests/parity. */
#include "rig.h"

#include "nn/loss.h"
#include "nn/optimiser.h"

static struct node *labels(struct rig *rig)
{
    return t_labels(rig->graph, SHAPE(2, 2), ((int32_t[]){ 0, 2, 1, 2 }));
}

static void equal_logits_cost_the_logarithm_of_the_classes(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct node *logits = t_affine(rig_input(&rig, SHAPE(2, 3, 2), NORMAL), 0, 4);
    assert_close(*rig_evaluate(&rig, loss_cross_entropy(logits, labels(&rig))), log(3), 1e-14);
    rig_release(&rig);
}

/* Logits that are far higher at the label. */
static struct node *certain(struct node *truth)
{
    return t_scale(t_permute(t_one_hot(truth, 3), 0, 2, 1), 1000);
}

static void certain_and_right_costs_nothing_and_has_dice_one(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct node *truth = labels(&rig), *logits = certain(truth);
    assert_close(*rig_evaluate(&rig, loss_cross_entropy(logits, truth)), 0, 1e-14);
    assert_close(*rig_evaluate(&rig, loss_dice(logits, truth)), -1, 1e-14);
    rig_release(&rig);
}

static void certain_and_wrong_has_dice_near_zero(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct node *other = t_labels(rig.graph, SHAPE(2, 2), ((int32_t[]){ 1, 0, 2, 0 }));
    double dice = *rig_evaluate(&rig, loss_dice(certain(other), labels(&rig)));
    assert_true(dice < 0 && dice > -1e-4);
    rig_release(&rig);
}

static void logistic_losses_do_not_overflow(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct node *logits = t_constant(rig.graph, SHAPE(2, 1), ((float[]){ 1000, -1000 }));
    assert_close(*rig_evaluate(&rig, loss_real(logits)), 500, 1e-9);
    assert_close(*rig_evaluate(&rig, loss_fake(logits)), 500, 1e-9);
    rig_release(&rig);
}

/* The critic w·x has slope w everywhere. */
static void penalties_of_a_linear_critic_know_its_slope(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct node *x = rig_input(&rig, SHAPE(4, 2), NORMAL);
    struct node *w = t_constant(rig.graph, SHAPE(2, 1), ((float[]){ 3, -4 }));
    struct node *logits = t_matmul(x, w);
    assert_close(*rig_evaluate(&rig, penalty_r1(logits, x)), 25, 1e-13);
    assert_close(*rig_evaluate(&rig, penalty_wgan(logits, x)), 16, 1e-13);
    rig_release(&rig);
}

static void between_starts_at_the_first_and_ends_at_the_second(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct node *a = t_affine(rig_input(&rig, SHAPE(3, 2), NORMAL), 0, 10);
    struct node *b = t_shift(a, 4);
    struct node *mix = t_constant(rig.graph, SHAPE(3, 1), ((float[]){ 0, 0.25f, 1 }));
    const double *y = rig_evaluate(&rig, between(a, b, mix));
    assert_true(y[0] == 10 && y[2] == 11 && y[4] == 14);
    rig_release(&rig);
}

/* images = s·ws (one layer, one pixel): the length is |direction|·|s|. */
static void the_mean_path_length_moves_by_its_decay(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct node *ws = rig_input(&rig, SHAPE(2, 1, 1), NORMAL);
    struct node *images = t_reshape(t_scale(ws, 3), SHAPE(2, 1, 1, 1));
    struct node *direction = t_constant(rig.graph, SHAPE(2, 1, 1, 1), ((float[]){ 1, -2 }));
    struct node *lengths = path_lengths(images, ws, direction);
    const double *length = rig_evaluate(&rig, lengths);
    assert_close(length[0], 3, 1e-13);
    assert_close(length[1], 6, 1e-13);
    struct node *mean = nn_number(rig.graph, 0.5);
    struct node *penalty = penalty_path(lengths, &mean, 0.25);
    assert_close(*rig_evaluate(&rig, mean), 0.5 + 0.25 * (4.5 - 0.5), 1e-13);
    assert_close(*rig_evaluate(&rig, penalty), (1.5 * 1.5 + 4.5 * 4.5) / 2, 1e-12);
    rig_release(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_logits_cost_the_logarithm_of_the_classes),
        cmocka_unit_test(certain_and_right_costs_nothing_and_has_dice_one),
        cmocka_unit_test(certain_and_wrong_has_dice_near_zero),
        cmocka_unit_test(logistic_losses_do_not_overflow),
        cmocka_unit_test(penalties_of_a_linear_critic_know_its_slope),
        cmocka_unit_test(between_starts_at_the_first_and_ends_at_the_second),
        cmocka_unit_test(the_mean_path_length_moves_by_its_decay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
