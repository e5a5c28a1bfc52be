/* The reference kernels against PyTorch's answers (vectors.py). Every kernel has a case. */
#include "tensor/known.h"

static const struct conv geometry = { { 2, 1 }, { 1, 2 }, { { 1, 2 }, { 0, 3 } }, 2 };

/* Sources are made one a statement: their values follow from their order, and C does not say
 * which argument of a call is evaluated first. */
CASE(exp, return t_exp(X(11));)
CASE(log, return t_log(P(11));)
CASE(sqrt, return t_sqrt(P(11));)
CASE(sin, return t_sin(X(11));)
CASE(cos, return t_cos(X(11));)
CASE(tanh, return t_tanh(X(11));)
CASE(sigmoid, return t_sigmoid(X(11));)
CASE(softplus, return t_softplus(X(11));)
CASE(erf, return t_erf(X(11));)
CASE(scale, return t_affine(X(11), -2.5, 0.75);)
CASE(cast, return t_cast(t_scale(X(11), 1 / 3.0), DTYPE_BF16);)
CASE(add, struct node *a = X(2, 3); return t_add(a, X(3));)
CASE(sub, struct node *a = X(2, 1); return t_sub(a, X(3));)
CASE(mul, struct node *a = X(2, 3); return t_mul(a, X(2, 1));)
CASE(div, struct node *a = X(2, 3); return t_div(a, P(2, 3));)
CASE(greater, struct node *a = X(11); return t_greater(a, X(11));)
CASE(where, struct node *a = X(11); struct node *b = X(11); return t_where(a, b, X(11));)
CASE(sum, return t_sum(X(2, 3, 5), AXES(0, 2));)
CASE(max, return t_max(X(2, 3, 5), AXES(0, 1));)
CASE(detach, return t_detach(X(3));)
CASE(broadcast, return t_broadcast(X(3, 1, 2), SHAPE(2, 3, 5, 2));)
CASE(reshape, return t_reshape(X(2, 3), SHAPE(3, 2));)
CASE(permute, return t_permute(X(2, 3, 5), 2, 0, 1);)
CASE(pad, return t_pad(t_pad(X(2, 3), 1, 1, 2), 0, 0, 1);)
CASE(slice, return t_slice(t_slice(X(3, 5), 0, 1, 3), -1, 1, -1);)
CASE(flip, return t_flip(X(2, 3, 2), AXES(0, 2));)
CASE(concat, struct node *a = X(2, 1); struct node *b = X(2, 3);
     return t_concat(-1, a, b, X(2, 2));)
CASE(matmul, struct node *a = X(2, 3, 5); return t_matmul(a, X(2, 5, 2));)
CASE(conv, struct node *x = X(2, 4, 7, 5);
     return t_conv(x, X(4, 2, 3, 3), .strides = { 2, 1 }, .dilations = { 1, 2 },
                   .pads = { { 1, 2 }, { 0, 3 } }, .groups = 2);)
CASE(conv_dx, struct node *y = X(2, 4, 4, 4);
     return t_conv_dx(y, X(4, 2, 3, 3), geometry, SHAPE(2, 4, 7, 5));)
CASE(conv_dw, struct node *x = X(2, 4, 7, 5);
     return t_conv_dw(x, X(2, 4, 4, 4), geometry, SHAPE(4, 2, 3, 3));)
CASE(conv_transpose, struct node *y = X(1, 3, 2, 3);
     return t_conv_transpose(y, X(3, 2, 3, 3), .stride = 2, .pad = 1, .output_pad = 1);)

/* vectors.py's source 1, as the constant that a filter must be. */
static struct node *filter(struct rig *rig, struct shape shape)
{
    float taps[16];
    for (size_t k = 0; k < shape_count(shape); k++)
        taps[k] = (float)((int)((7 * k + 5) % 11) - 5) / 4;
    return t_constant(rig->graph, shape, taps);
}

CASE(upfirdn, struct node *x = X(2, 1, 3, 5);
     return t_upfirdn(x, filter(rig, SHAPE(3, 4)), .up = 3, .down = 2,
                      .pads = { { -1, 4 }, { 5, -2 } });)
CASE(upfirdn_separable, struct node *x = X(1, 2, 5, 3);
     return t_upfirdn(x, filter(rig, SHAPE(4)), .up = 2, .pads = { { 2, 1 }, { 2, 1 } },
                      .flip = true);)

CASE(warp, struct node *x = X(3, 2, 4, 7); return t_warp(x, X(3, 2, 3), 6, 5);)
CASE(warp_dx, struct node *y = X(3, 2, 6, 5); return t_warp_dx(y, X(3, 2, 3), SHAPE(3, 2, 4, 7));)

static const struct known cases[] = {
    { OP_EXP, ANSWER(exp) },
    { OP_LOG, ANSWER(log) },
    { OP_SQRT, ANSWER(sqrt) },
    { OP_SIN, ANSWER(sin) },
    { OP_COS, ANSWER(cos) },
    { OP_TANH, ANSWER(tanh) },
    { OP_SIGMOID, ANSWER(sigmoid) },
    { OP_SOFTPLUS, ANSWER(softplus) },
    { OP_ERF, ANSWER(erf) },
    { OP_SCALE, ANSWER(scale) },
    { OP_CAST, ANSWER(cast) },
    { OP_ADD, ANSWER(add) },
    { OP_SUB, ANSWER(sub) },
    { OP_MUL, ANSWER(mul) },
    { OP_DIV, ANSWER(div) },
    { OP_GREATER, ANSWER(greater) },
    { OP_WHERE, ANSWER(where) },
    { OP_SUM, ANSWER(sum) },
    { OP_MAX, ANSWER(max) },
    { OP_DETACH, ANSWER(detach) },
    { OP_BROADCAST, ANSWER(broadcast) },
    { OP_RESHAPE, ANSWER(reshape) },
    { OP_PERMUTE, ANSWER(permute) },
    { OP_PAD, ANSWER(pad) },
    { OP_SLICE, ANSWER(slice) },
    { OP_FLIP, ANSWER(flip) },
    { OP_CONCAT, ANSWER(concat) },
    { OP_MATMUL, ANSWER(matmul) },
    { OP_CONV, ANSWER(conv) },
    { OP_CONV_DX, ANSWER(conv_dx) },
    { OP_CONV_DX, ANSWER(conv_transpose) },
    { OP_CONV_DW, ANSWER(conv_dw) },
    { OP_UPFIRDN, ANSWER(upfirdn) },
    { OP_UPFIRDN, ANSWER(upfirdn_separable) },
    { OP_WARP, ANSWER(warp) },
    { OP_WARP_DX, ANSWER(warp_dx) },
};
enum { CASES = sizeof cases / sizeof *cases };

static void kernels_give_the_known_answers(void **state)
{
    (void)state;
    check_known(cases, CASES);
}

static void every_kernel_of_the_table_has_a_known_answer(void **state)
{
    (void)state;
    for (int op = 0; op < OP_COUNT; op++) {
        bool tested = op == OP_NORMAL || op == OP_UNIFORM; /* below */
        for (int i = 0; i < CASES; i++)
            tested = tested || cases[i].op == (enum op_id)op;
        bool bound = op == OP_INPUT || op == OP_PARAMETER || op == OP_CONSTANT;
        if (op_is_combined((enum op_id)op))
            continue; /* of others, for backends that take it: combine_test */
        if (bound ? ref_backend.kernels[op] != NULL : !ref_backend.kernels[op] || !tested)
            fail_msg("%s: no kernel, or no case in this file", ops[op].name);
    }
}

static void transposed_factors_give_the_same_product(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct node *a = rig_input(&rig, SHAPE(2, 3, 5), NORMAL);
    struct node *b = rig_input(&rig, SHAPE(2, 5, 7), NORMAL);
    /* Through a detach, which hides the permutation from the builder. */
    struct node *plain = t_matmul(a, b);
    struct node *at = t_detach(t_transpose(a));
    struct node *bt = t_detach(t_transpose(b));
    for (int ta = 0; ta < 2; ta++)
        for (int tb = 0; tb < 2; tb++) {
            struct node *y = t_matmul_at(HERE, ta ? at : a, tb ? bt : b, ta, tb);
            assert_true(y->transpose.a == ta && y->transpose.b == tb);
            assert_values(&rig, y, rig_evaluate(&rig, plain), 42, "matmul");
        }
    rig_release(&rig);
}

/* Each pair of steps is written twice: as it is, where the builder joins them, and with a detach in
 * between, which it cannot see through. */
static void joined_steps_give_the_same_as_one_by_one(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct node *x = rig_input(&rig, SHAPE(2, 3, 1, 5), NORMAL), *pair[8][2];
    for (int apart = 0; apart < 2; apart++) {
#define THEN(first) (apart ? t_detach(first) : (first))
        pair[0][apart] = t_permute(THEN(t_permute(x, 1, 3, 0, 2)), 3, 1, 0, 2);
        pair[1][apart] = t_reshape(THEN(t_reshape(x, SHAPE(30))), SHAPE(5, 6));
        pair[2][apart] = t_broadcast(THEN(t_broadcast(x, SHAPE(2, 3, 4, 5))), SHAPE(7, 2, 3, 4, 5));
        pair[3][apart] = t_sum(THEN(t_sum(x, AXES(0))), AXES(3));
        pair[4][apart] = t_max(THEN(t_max(x, AXES(1))), AXES(0));
        pair[5][apart] = t_flip(THEN(t_flip(x, AXES(0, 1))), AXES(1, 3));
        pair[6][apart] = t_affine(THEN(t_affine(x, 2, -3)), 5, 7);
        pair[7][apart] = t_sum(THEN(t_broadcast(x, SHAPE(2, 3, 4, 5))), AXES(1, 2));
#undef THEN
    }
    for (int i = 0; i < 8; i++)
        assert_values(&rig, pair[i][0], rig_evaluate(&rig, pair[i][1]),
                      shape_count(pair[i][1]->shape), ops[pair[i][0]->op].name);
    rig_release(&rig);
}

static void random_leaves_are_those_of_the_generator(void **state)
{
    (void)state;
    struct rig rig;
    struct error err;
    rig_init(&rig);
    enum { COUNT = 2100 };
    struct node *leaf[2] = { t_normal(rig.graph, "noise", SHAPE(3, 700)),
                             t_uniform(rig.graph, "time", SHAPE(COUNT)) };
    void (*const fills[2])(uint64_t, uint64_t, uint64_t, size_t, float *) = { random_fill_normal,
                                                                              random_fill_uniform };
    struct plan *plan = rig_plan(&rig, leaf, 2);
    assert_ok(plan_run(plan, 5, 77, &err), err);
    for (int i = 0; i < 2; i++) {
        float value[COUNT], expected[COUNT];
        plan_read(plan, leaf[i], value);
        fills[i](77, random_leaf_stream(leaf[i], 5), 0, COUNT, expected);
        assert_memory_equal(value, expected, sizeof value);
    }
    plan_free(plan);
    rig_release(&rig);
}

static void bf16_rounds_to_nearest_even(void **state)
{
    (void)state;
    static const struct {
        float value;
        uint16_t bits;
    } known[] = {
        { 1, 0x3f80 },
        { -2, 0xc000 },
        { 0x1.01p0f, 0x3f80 }, /* tie: down */
        { 0x1.03p0f, 0x3f82 },
        /* tie: up */ { 0x1.0101p0f, 0x3f81 },
        { 0x1.fffffep127f, 0x7f80 },
        /* to infinity */ { INFINITY, 0x7f80 },
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        assert_int_equal(bf16_from_float(known[i].value), known[i].bits);
    for (unsigned bits = 0; bits < 0x10000; bits++) {
        float value = bf16_to_float((uint16_t)bits);
        if (isnan(value))
            assert_true(isnan(bf16_to_float(bf16_from_float(value))));
        else
            assert_int_equal(bf16_from_float(value), bits);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kernels_give_the_known_answers),
        cmocka_unit_test(every_kernel_of_the_table_has_a_known_answer),
        cmocka_unit_test(transposed_factors_give_the_same_product),
        cmocka_unit_test(joined_steps_give_the_same_as_one_by_one),
        cmocka_unit_test(random_leaves_are_those_of_the_generator),
        cmocka_unit_test(bf16_rounds_to_nearest_even),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
