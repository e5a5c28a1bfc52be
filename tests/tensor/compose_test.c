/* Composites against PyTorch's answers (vectors.py), and their gradients. */
#include "tensor/known.h"

CASE(gelu, return t_gelu(X(11));)
CASE(silu, return t_silu(X(11));)
CASE(leaky_relu, return t_leaky_relu(X(11), 0.2);)
CASE(softmax, return t_softmax(X(2, 3, 5), 1);)
CASE(log_softmax, return t_log_softmax(X(3, 5), -1);)
CASE(variance, return t_variance(X(2, 3, 5), AXES(1, 2));)
CASE(norm, return t_norm(X(3, 5), AXES(1));)
CASE(clamp, return t_clamp(X(11), -0.5, 0.75);)
CASE(rsqrt, return t_rsqrt(P(11));)
CASE(power, return t_power(P(11), 0.3);)
CASE(abs, return t_abs(X(11));)
CASE(one_hot,
     return t_one_hot(t_labels(rig->graph, SHAPE(2, 2), ((const int32_t[]){ 2, 0, 1, 4 })), 5);)

static const struct known cases[] = {
    { OP_COUNT, ANSWER(gelu) },        { OP_COUNT, ANSWER(silu) },
    { OP_COUNT, ANSWER(leaky_relu) },  { OP_COUNT, ANSWER(softmax) },
    { OP_COUNT, ANSWER(log_softmax) }, { OP_COUNT, ANSWER(variance) },
    { OP_COUNT, ANSWER(norm) },        { OP_COUNT, ANSWER(clamp) },
    { OP_COUNT, ANSWER(rsqrt) },       { OP_COUNT, ANSWER(power) },
    { OP_COUNT, ANSWER(abs) },         { OP_COUNT, ANSWER(one_hot) },
};

static void composites_give_the_known_answers(void **state)
{
    (void)state;
    check_known(cases, sizeof cases / sizeof *cases);
}

static void their_gradients_agree_with_central_differences(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rig rig;
        rig_init(&rig);
        struct node *y = cases[i].build(&rig);
        if (rig.count) { /* one_hot's labels are no input; kinks lie at grid values, so step aside
                          */
            for (size_t k = 0; k < shape_count(rig.x[0]->shape); k++)
                rig.value[0][k] += 0.06;
            struct node *r = rig_constant(&rig, y->shape, NORMAL, 50);
            rig_check_orders(&rig, t_sum_all(t_mul(r, y)), 2, cases[i].name);
        }
        rig_release(&rig);
    }
}

static void softmax_stands_large_numbers(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct node *x = rig_input(&rig, SHAPE(3), NORMAL);
    memcpy(rig.value[0], (double[]){ 1e4, 1e4, -1e4 }, 3 * sizeof(double));
    assert_values(&rig, t_softmax(x, 0), (double[]){ 0.5, 0.5, 0 }, 3, "softmax");
    assert_values(&rig, t_log_softmax(x, 0), (double[]){ -log(2), -log(2), -2e4 - log(2) }, 3,
                  "log_softmax");
    assert_values(&rig, t_softplus(x), (double[]){ 1e4, 1e4, 0 }, 3, "softplus");
    rig_release(&rig);
}

static void the_larger_and_the_smaller_of_two(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct node *a = rig_input(&rig, SHAPE(3), NORMAL), *b = rig_input(&rig, SHAPE(), NORMAL);
    memcpy(rig.value[0], (double[]){ -1, 2, 3 }, 3 * sizeof(double));
    rig.value[1][0] = 2;
    assert_values(&rig, t_maximum(a, b), (double[]){ 2, 2, 3 }, 3, "maximum");
    assert_values(&rig, t_minimum(a, b), (double[]){ -1, 2, 2 }, 3, "minimum");
    assert_values(&rig, t_dot(a, t_scale(a, 2), AXES(0)), (double[]){ 28 }, 1, "dot");
    assert_values(&rig, t_mean_all(a), (double[]){ 4 / 3.0 }, 1, "mean");
    rig_release(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(composites_give_the_known_answers),
        cmocka_unit_test(their_gradients_agree_with_central_differences),
        cmocka_unit_test(softmax_stands_large_numbers),
        cmocka_unit_test(the_larger_and_the_smaller_of_two),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
