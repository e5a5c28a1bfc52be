/* Every row of the op table: its gradient, that one's gradient, and the third, each by random
 * projection against central differences in double precision.
 *
 * A case builds y from its inputs; the loss is Σ r·y + ½ Σ q·y², so that linear ops have second
 * derivatives too. An op whose row has a gradient rule and that has no case here fails the first
 * test. */
#include "tensor/harness.h"

typedef struct node *build(struct node **x);

#define BUILD(name, expression)                                                                    \
    static struct node *build_##name(struct node **x)                                              \
    {                                                                                              \
        return expression;                                                                         \
    }

static struct node *filter(struct node *x, int rank)
{
    static const float taps[12] = { 1, 3, -2, 0.5f, 2, -1, 0.25f, 4, 1.5f, -3, 1, 2 };
    return t_constant(x->graph, rank == 1 ? SHAPE(4) : SHAPE(3, 4), taps);
}

static struct conv geometry(int stride, int groups)
{
    return (struct conv){ { stride, 1 }, { 1, 2 }, { { 1, 2 }, { 0, 3 } }, groups };
}

static struct node *condition(struct node *x)
{
    return t_greater(t_detach(x), t_full(x->graph, x->shape, 0.1));
}

BUILD(exp, t_exp(x[0]))
BUILD(log, t_log(x[0]))
BUILD(sqrt, t_sqrt(x[0]))
BUILD(sin, t_sin(x[0]))
BUILD(cos, t_cos(x[0]))
BUILD(tanh, t_tanh(x[0]))
BUILD(sigmoid, t_sigmoid(x[0]))
BUILD(softplus, t_softplus(x[0]))
BUILD(erf, t_erf(x[0]))
BUILD(scale, t_affine(x[0], -2.5, 0.75))
BUILD(cast, t_cast(t_cast(x[0], DTYPE_BF16), DTYPE_F32))
BUILD(add, t_add(x[0], x[1]))
BUILD(sub, t_sub(x[0], x[1]))
BUILD(mul, t_mul(x[0], x[1]))
BUILD(mul_itself, t_mul(x[0], x[0]))
BUILD(div, t_div(x[0], x[1]))
BUILD(where, t_where(condition(x[0]), x[0], x[1]))
BUILD(sum, t_sum(x[0], AXES(0, 2)))
BUILD(sum_all, t_sum(x[0], AXES_ALL))
BUILD(max, t_max(x[0], AXES(1, 2)))
BUILD(broadcast, t_broadcast(x[0], SHAPE(2, 3, 5, 2)))
BUILD(reshape, t_reshape(x[0], SHAPE(3, -1)))
BUILD(permute, t_permute(x[0], 2, 0, 3, 1))
BUILD(pad, t_pad(t_pad(x[0], 1, 0, 2), -1, 3, 1))
BUILD(slice, t_slice(t_slice(x[0], 0, 1, 2), -1, 1, -1))
BUILD(flip, t_flip(x[0], AXES(0, 2)))
BUILD(concat, t_concat(1, x[0], x[1], x[2]))
BUILD(matmul, t_matmul(x[0], x[1]))
BUILD(matmul_ta, t_matmul(t_transpose(x[0]), x[1]))
BUILD(matmul_tb, t_matmul(x[0], t_transpose(x[1])))
BUILD(matmul_tt, t_matmul(t_transpose(x[0]), t_transpose(x[1])))
BUILD(conv, t_conv(x[0], x[1], .pad = 1))
BUILD(conv_point, t_conv(x[0], x[1]))
BUILD(conv_odd, t_conv(x[0], x[1], .strides = { 2, 1 }, .dilations = { 1, 2 },
                       .pads = { { 1, 2 }, { 0, 3 } }, .groups = 2))
BUILD(conv_stride, t_conv(x[0], x[1], .stride = 3, .pad = 2))
BUILD(conv_dx, t_conv_dx(x[0], x[1], geometry(2, 2), SHAPE(2, 4, 7, 5)))
BUILD(conv_transpose, t_conv_transpose(x[0], x[1], .stride = 2, .pad = 1, .output_pad = 1))
BUILD(conv_dw, t_conv_dw(x[0], x[1], geometry(2, 2), SHAPE(6, 2, 3, 3)))
BUILD(upfirdn, t_upfirdn(x[0], filter(x[0], 2), .up = 2, .pads = { { 2, 1 }, { 3, 0 } }))
BUILD(upfirdn_down, t_upfirdn(x[0], filter(x[0], 1), .down = 2, .pad = 1))
BUILD(upfirdn_both, t_upfirdn(x[0], filter(x[0], 2), .up = 3, .down = 2, .flip = true,
                              .pads = { { -1, 4 }, { 5, -2 } }))
BUILD(upfirdn_crop, t_upfirdn(x[0], filter(x[0], 1), .up = 2, .down = 3, .pads = { { -2, -1 } }))

/* Turned, stretched and moved; mirrored, and partly beyond the edges; flattened to a line. */
static struct node *planes(struct node *x, int64_t count)
{
    static const float matrix[3][6] = { { 0.75f, -0.6f, 0.3f, 0.5f, 1.1f, -0.45f },
                                        { -1.3f, 0.2f, 1.6f, 0.15f, 0.8f, 0.25f },
                                        { 0.5f, 0.25f, 0.1f, 1, 0.5f, 0.2f } };
    return t_constant(x->graph, SHAPE(count, 2, 3), matrix[0]);
}
BUILD(warp, t_warp(x[0], planes(x[0], dim(x[0], 0)), 6, 5))
BUILD(warp_dx, t_warp_dx(x[0], planes(x[0], dim(x[0], 0)), SHAPE(dim(x[0], 0), 2, 4, 7)))

#define S SHAPE
enum { SHAPES = 3 };

/* Shapes are functions' results, so the table is made when it is asked for. */
struct gradient_case {
    enum op_id op;
    const char *name;
    build *build;
    enum fill fill;
    struct shape shape[SHAPES];
};

static const struct gradient_case *gradient_cases(size_t *count)
{
    static struct gradient_case cases[64];
    const struct gradient_case table[] = {
        { OP_EXP, "exp", build_exp, NORMAL, { S(2, 3) } },
        { OP_LOG, "log", build_log, POSITIVE, { S(7) } },
        { OP_SQRT, "sqrt", build_sqrt, POSITIVE, { S(3, 1, 2) } },
        { OP_SIN, "sin", build_sin, NORMAL, { S(5) } },
        { OP_COS, "cos", build_cos, NORMAL, { S(5) } },
        { OP_TANH, "tanh", build_tanh, NORMAL, { S(5) } },
        { OP_SIGMOID, "sigmoid", build_sigmoid, NORMAL, { S(5) } },
        { OP_SOFTPLUS, "softplus", build_softplus, NORMAL, { S(5) } },
        { OP_ERF, "erf", build_erf, NORMAL, { S(5) } },
        { OP_SCALE, "scale", build_scale, NORMAL, { S(5) } },
        { OP_CAST, "cast", build_cast, GRID, { S(11) } },
        { OP_ADD, "add", build_add, NORMAL, { S(2, 3), S(2, 3) } },
        { OP_ADD, "add a row", build_add, NORMAL, { S(2, 5, 3), S(3) } },
        { OP_SUB, "sub", build_sub, NORMAL, { S(4, 1), S(1, 3) } },
        { OP_MUL, "mul", build_mul, NORMAL, { S(7), S(7) } },
        { OP_MUL, "mul by a scalar", build_mul, NORMAL, { S(), S(2, 3) } },
        { OP_MUL, "mul, both broadcast", build_mul, NORMAL, { S(2, 1, 3), S(5, 1) } },
        { OP_MUL, "mul by itself", build_mul_itself, NORMAL, { S(7) } },
        { OP_DIV, "div", build_div, POSITIVE, { S(3, 2), S(3, 1) } },
        { OP_WHERE, "where", build_where, SPACED, { S(13), S(13) } },
        { OP_SUM, "sum", build_sum, NORMAL, { S(2, 3, 5) } },
        { OP_SUM, "sum, also over an axis of size 1", build_sum, NORMAL, { S(1, 3, 5) } },
        { OP_SUM, "sum of all, six axes", build_sum_all, NORMAL, { S(2, 1, 3, 1, 2, 2) } },
        { OP_MAX, "max", build_max, SPACED, { S(2, 3, 5) } },
        { OP_BROADCAST, "broadcast", build_broadcast, NORMAL, { S(3, 1, 2) } },
        { OP_RESHAPE, "reshape", build_reshape, NORMAL, { S(2, 3, 5) } },
        { OP_PERMUTE, "permute", build_permute, NORMAL, { S(2, 3, 1, 5) } },
        { OP_PAD, "pad", build_pad, NORMAL, { S(2, 1, 3) } },
        { OP_SLICE, "slice", build_slice, NORMAL, { S(2, 3, 5) } },
        { OP_FLIP, "flip", build_flip, NORMAL, { S(3, 1, 5) } },
        { OP_CONCAT, "concat", build_concat, NORMAL, { S(2, 1, 3), S(2, 5, 3), S(2, 2, 3) } },
        { OP_MATMUL, "matmul", build_matmul, NORMAL, { S(3, 5), S(5, 2) } },
        { OP_MATMUL, "matmul of 1×1", build_matmul, NORMAL, { S(1, 1), S(1, 1) } },
        { OP_MATMUL, "matmul aᵀ", build_matmul_ta, NORMAL, { S(2, 5, 3), S(2, 5, 7) } },
        { OP_MATMUL, "matmul bᵀ", build_matmul_tb, NORMAL, { S(2, 3, 5), S(2, 7, 5) } },
        { OP_MATMUL, "matmul aᵀ bᵀ", build_matmul_tt, NORMAL, { S(5, 3), S(7, 5) } },
        { OP_MATMUL, "matmul by weights", build_matmul, NORMAL, { S(2, 3, 5), S(5, 2) } },
        { OP_MATMUL,
          "matmul, batches broadcast",
          build_matmul,
          NORMAL,
          { S(2, 1, 3, 2), S(3, 2, 5) } },
        { OP_CONV, "conv", build_conv, NORMAL, { S(2, 3, 4, 5), S(2, 3, 3, 3) } },
        { OP_CONV, "conv 1×1", build_conv_point, NORMAL, { S(1, 3, 2, 1), S(5, 3, 1, 1) } },
        { OP_CONV, "conv, odd geometry", build_conv_odd, NORMAL, { S(2, 4, 7, 5), S(6, 2, 3, 3) } },
        { OP_CONV,
          "conv, stride leaves rows over",
          build_conv_stride,
          NORMAL,
          { S(1, 1, 6, 8), S(2, 1, 2, 3) } },
        { OP_CONV_DX, "conv_dx", build_conv_dx, NORMAL, { S(2, 6, 4, 4), S(6, 2, 3, 3) } },
        { OP_CONV_DX,
          "transposed conv",
          build_conv_transpose,
          NORMAL,
          { S(1, 3, 2, 3), S(3, 2, 3, 3) } },
        { OP_CONV_DW, "conv_dw", build_conv_dw, NORMAL, { S(2, 4, 7, 5), S(2, 6, 4, 4) } },
        { OP_UPFIRDN, "upfirdn up", build_upfirdn, NORMAL, { S(2, 1, 3, 5) } },
        { OP_UPFIRDN, "upfirdn down", build_upfirdn_down, NORMAL, { S(1, 2, 5, 7) } },
        { OP_UPFIRDN, "upfirdn up and down", build_upfirdn_both, NORMAL, { S(1, 3, 4, 5) } },
        { OP_UPFIRDN, "upfirdn, cropped", build_upfirdn_crop, NORMAL, { S(2, 1, 7, 5) } },
        { OP_WARP, "warp", build_warp, NORMAL, { S(3, 2, 4, 7) } },
        { OP_WARP, "warp of one pixel", build_warp, NORMAL, { S(2, 1, 1, 1) } },
        { OP_WARP_DX, "warp_dx", build_warp_dx, NORMAL, { S(3, 2, 6, 5) } },
    };
    *count = sizeof table / sizeof *table;
    assert_true(*count <= sizeof cases / sizeof *cases);
    memcpy(cases, table, sizeof table);
    return cases;
}

static void every_op_in_the_table_has_a_gradient_case(void **state)
{
    (void)state;
    static const bool without_rule[OP_COUNT] = {
        [OP_INPUT] = true,   [OP_PARAMETER] = true, [OP_CONSTANT] = true, [OP_NORMAL] = true,
        [OP_UNIFORM] = true, [OP_GREATER] = true,   [OP_DETACH] = true,
    };
    size_t count;
    const struct gradient_case *cases = gradient_cases(&count);
    for (int op = 0; op < OP_COUNT; op++) {
        bool tested = false;
        for (size_t i = 0; i < count; i++)
            tested = tested || cases[i].op == (enum op_id)op;
        assert_non_null(ops[op].name);
        if (!ops[op].vjp && !without_rule[op] && !op_is_combined((enum op_id)op))
            fail_msg("%s has no gradient rule and is not known to need none", ops[op].name);
        if (ops[op].vjp && !tested)
            fail_msg("%s has no case in this file", ops[op].name);
    }
}

static bool holds_op(const struct graph *graph, enum op_id op)
{
    bool held = false;
    for (size_t id = 0; id < graph_size(graph); id++)
        held = held || graph_node(graph, id)->op == op;
    return held;
}

static void gradients_up_to_the_third_order_agree_with_central_differences(void **state)
{
    (void)state;
    size_t count;
    const struct gradient_case *cases = gradient_cases(&count);
    for (size_t i = 0; i < count; i++) {
        struct rig rig;
        rig_init(&rig);
        for (int k = 0;
             k < SHAPES && (cases[i].shape[k].rank || k < 1 + (cases[i].shape[1].rank > 0)); k++)
            rig_input(&rig, cases[i].shape[k], cases[i].fill);
        struct node *y = cases[i].build(rig.x);
        if (!holds_op(rig.graph, cases[i].op))
            fail_msg("the case \"%s\" does not make a node of its op", cases[i].name);
        enum fill fill = cases[i].fill == GRID ? GRID : NORMAL;
        struct node *r = rig_constant(&rig, y->shape, fill, 50);
        struct node *q = rig_constant(&rig, y->shape, fill, 51);
        struct node *loss = t_sum_all(t_mul(r, y));
        if (fill != GRID) /* products of a rounded value leave the grid */
            loss = t_add(loss, t_sum_all(t_mul(t_scale(q, 0.5), t_square(y))));
        rig_check_orders(&rig, loss, fill == GRID ? 1 : 3, cases[i].name);
        rig_release(&rig);
    }
}

static void ties_share_the_gradient_of_a_maximum(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct node *x = rig_input(&rig, SHAPE(4), NORMAL), *dx;
    memcpy(rig.value[0], (double[]){ 1, 3, 3, -2 }, 4 * sizeof(double));
    grad(t_sum_all(t_max(x, AXES(0))), &x, 1, &dx);
    const double *value = rig_evaluate(&rig, dx);
    assert_memory_equal(value, ((double[]){ 0, 0.5, 0.5, 0 }), 4 * sizeof(double));
    rig_release(&rig);
}

static void no_path_is_told_apart_and_can_be_asked_for_as_zeros(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct node *x[4], *dx[4];
    for (int i = 0; i < 4; i++)
        x[i] = rig_input(&rig, SHAPE(3), NORMAL);
    struct node *y = t_sum_all(t_add(t_square(x[0]), t_add(t_detach(x[1]), t_greater(x[2], x[0]))));
    grad(y, x, 4, dx);
    assert_non_null(dx[0]);
    for (int i = 1; i < 4; i++)
        assert_null(dx[i]);
    grad_zeros(x, 4, dx);
    for (int i = 1; i < 4; i++) {
        double fill = 1;
        assert_true(node_is_full(dx[i], &fill) && fill == 0);
        assert_true(shape_equal(dx[i]->shape, x[i]->shape));
    }
    rig_release(&rig);
}

static void only_nodes_on_a_path_are_visited(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct node *x = rig_input(&rig, SHAPE(1, 2, 5, 5), NORMAL);
    struct node *w = rig_input(&rig, SHAPE(2, 2, 3, 3), NORMAL), *dx;
    struct node *y = t_sum_all(t_conv(t_exp(t_conv(x, w)), w));
    size_t before = graph_size(rig.graph);
    struct node *late = graph_node(rig.graph, before - 3);
    assert_int_equal(late->op, OP_CONV);
    struct node *h = late->src[0]; /* the exp: nothing before it is asked for */
    grad(y, &h, 1, &dx);
    for (size_t id = before; id < graph_size(rig.graph); id++) {
        assert_int_not_equal(graph_node(rig.graph, id)->op, OP_CONV_DW);
        assert_int_not_equal(graph_node(rig.graph, id)->op, OP_MUL);
    }
    assert_int_equal(dx->op, OP_CONV_DX);
    rig_release(&rig);
}

static void a_gradient_may_be_taken_with_respect_to_a_node_inside(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct node *x = rig_input(&rig, SHAPE(3), NORMAL), *h = t_sin(x), *d[2];
    struct node *y = t_sum_all(t_mul(h, t_add(h, x)));
    struct node *of[] = { h, x };
    grad(y, of, 2, d);
    const double *dh = rig_evaluate(&rig, d[0]), *dx = rig_evaluate(&rig, d[1]);
    for (int i = 0; i < 3; i++) {
        double v = rig.value[0][i];
        assert_true(fabs(dh[i] - (2 * sin(v) + v)) < 1e-14);
        assert_true(fabs(dx[i] - ((2 * sin(v) + v) * cos(v) + sin(v))) < 1e-14);
    }
    rig_release(&rig);
}

static void a_seed_weighs_the_elements_of_y(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct node *x = rig_input(&rig, SHAPE(2, 3), NORMAL), *dx;
    struct node *seed = rig_constant(&rig, SHAPE(2, 3), NORMAL, 9);
    grad_seeded(t_square(x), seed, &x, 1, &dx);
    const double *value = rig_evaluate(&rig, dx), *weight = rig_evaluate(&rig, seed);
    for (int i = 0; i < 6; i++)
        assert_true(fabs(value[i] - 2 * weight[i] * rig.value[0][i]) < 1e-14);
    rig_release(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_op_in_the_table_has_a_gradient_case),
        cmocka_unit_test(gradients_up_to_the_third_order_agree_with_central_differences),
        cmocka_unit_test(ties_share_the_gradient_of_a_maximum),
        cmocka_unit_test(no_path_is_told_apart_and_can_be_asked_for_as_zeros),
        cmocka_unit_test(only_nodes_on_a_path_are_visited),
        cmocka_unit_test(a_gradient_may_be_taken_with_respect_to_a_node_inside),
        cmocka_unit_test(a_seed_weighs_the_elements_of_y),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
