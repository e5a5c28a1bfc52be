#include "test.h"

#include "tensor/compose.h"
#include "tensor/gradient.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

/* Shape mistakes abort. Each runs in a child; what it wrote on standard error is kept. */

typedef void mistake(struct graph *graph);

static void provoke(mistake *make, char *text, size_t size)
{
    int ends[2], status;
    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        dup2(ends[1], STDERR_FILENO);
        make(graph_new());
        _exit(0);
    }
    close(ends[1]);
    size_t length = 0;
    for (ssize_t got; (got = read(ends[0], text + length, size - 1 - length)) > 0;)
        length += (size_t)got;
    text[length] = 0;
    close(ends[0]);
    assert_true(waitpid(child, &status, 0) == child);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT)
        fail_msg("no abort; standard error: %s", text);
}

#define INPUT(name, ...) t_input(graph, name, DTYPE_F32, SHAPE(__VA_ARGS__))

/* The child first writes the line that the message must name. */
#define MISTAKE(name, ...)                                                                         \
    static void mistake_##name(struct graph *graph)                                                \
    {                                                                                              \
        dprintf(STDERR_FILENO, "line %d;", __LINE__);                                              \
        (void)(__VA_ARGS__);                                                                       \
    }

MISTAKE(add, t_add(INPUT("a", 2, 3), INPUT("b", 4)))
MISTAKE(matmul, t_matmul(INPUT("a", 2, 3), INPUT("b", 4, 5)))
MISTAKE(conv, t_conv(INPUT("x", 2, 3, 8, 8), INPUT("w", 4, 5, 3, 3), .pad = 1))
MISTAKE(conv_small, t_conv(INPUT("x", 1, 1, 2, 2), INPUT("w", 1, 1, 3, 3)))
MISTAKE(groups, t_conv(INPUT("x", 1, 4, 4, 4), INPUT("w", 3, 2, 1, 1), .groups = 2))
MISTAKE(reshape, t_reshape(INPUT("x", 2, 3), SHAPE(4, 2)))
MISTAKE(open_size, t_reshape(INPUT("x", 2, 3), SHAPE(4, -1)))
MISTAKE(broadcast, t_broadcast(INPUT("x", 2, 3), SHAPE(4, 3)))
MISTAKE(permute, t_permute(INPUT("x", 2, 3), 0, 0))
MISTAKE(slice, t_slice(INPUT("x", 2, 3), 1, 2, 4))
MISTAKE(axis, t_pad(INPUT("x", 2, 3), 2, 1, 1))
MISTAKE(sum, t_sum(INPUT("x", 2, 3), AXES(2)))
MISTAKE(concat, t_concat(0, INPUT("x", 2, 3), INPUT("y", 2, 4)))
MISTAKE(labels, t_exp(t_input(graph, "x", DTYPE_I32, SHAPE(2))))
MISTAKE(mixed, t_mul(INPUT("x", 2), t_cast(INPUT("y", 2), DTYPE_BF16)))
MISTAKE(filter, t_upfirdn(INPUT("x", 1, 1, 4, 4), INPUT("f", 3)))
MISTAKE(warp, t_warp(INPUT("x", 2, 1, 4, 4), INPUT("m", 2, 3), 4, 4))
MISTAKE(warp_dx, t_warp_dx(INPUT("y", 2, 1, 4, 4), INPUT("m", 2, 2, 3), SHAPE(2, 3, 4, 4)))
MISTAKE(composite, t_softmax(t_input(graph, "x", DTYPE_I32, SHAPE(2, 3)), 1))
MISTAKE(empty, INPUT("x", 2, 0))
MISTAKE(twice, (void)INPUT("x", 2), INPUT("x", 3))
MISTAKE(gradient, (grad(INPUT("x", 2), NULL, 0, NULL), 0))

static void shape_mistakes_abort_naming_op_shapes_and_caller(void **state)
{
    (void)state;
    static const struct {
        mistake *make;
        const char *expected[4];
    } mistakes[] = {
        { mistake_add, { "add of f32 (2,3), f32 (4)", "do not broadcast" } },
        { mistake_matmul, { "matmul of f32 (2,3), f32 (4,5)", "inner sizes 3 and 4" } },
        { mistake_conv, { "conv of f32 (2,3,8,8), f32 (4,5,3,3)", "3 channels", "expect 5" } },
        { mistake_conv_small, { "conv of", "spans 3 rows, the padded image has 2" } },
        { mistake_groups, { "conv of", "3 output channels", "2 groups" } },
        { mistake_reshape, { "reshape of f32 (2,3)", "6 elements cannot take the shape (4,2)" } },
        { mistake_open_size, { "reshape of f32 (2,3)", "not a multiple of 4" } },
        { mistake_broadcast, { "broadcast of f32 (2,3)", "(4,3)" } },
        { mistake_permute, { "permute of f32 (2,3)", "entry 1 of the permutation is 0" } },
        { mistake_slice, { "slice of f32 (2,3)", "[2, 4) of axis 1" } },
        { mistake_axis, { "pad of f32 (2,3)", "no axis 2" } },
        { mistake_sum, { "sum of f32 (2,3)", "beyond the rank" } },
        { mistake_concat, { "concat of f32 (2,3), f32 (2,4)", "sources 0 and 1" } },
        { mistake_labels, { "exp of i32 (2)", "f32" } },
        { mistake_mixed, { "mul of f32 (2), bf16 (2)", "cast" } },
        { mistake_filter, { "upfirdn of f32 (1,1,4,4), f32 (3)", "constant" } },
        { mistake_warp, { "warp of f32 (2,1,4,4), f32 (2,3)", "must have shape (2,2,3)" } },
        { mistake_warp_dx, { "warp_dx of f32 (2,1,4,4)", "as many images and channels" } },
        { mistake_composite, { "of i32 (2,3)" } },
        { mistake_empty, { "input", "size 0 along axis 1" } },
        { mistake_twice, { "input \"x\" is f32 (2)", "f32 (3)" } },
        { mistake_gradient, { "grad of input (2)", "one element" } },
    };
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) {
        char text[4096], caller[64];
        int line = 0;
        provoke(mistakes[i].make, text, sizeof text);
        assert_int_equal(sscanf(text, "line %d;", &line), 1);
        snprintf(caller, sizeof caller, "graph_test.c:%d: ", line);
        assert_contains(text, caller);
        for (size_t k = 0; k < 4 && mistakes[i].expected[k]; k++)
            assert_contains(text, mistakes[i].expected[k]);
    }
}

static void parameters_are_named_after_their_layer_and_shared_by_name(void **state)
{
    (void)state;
    struct graph *graph = graph_new();
    struct node *w[2][2], *found[4];
    for (int pass = 0; pass < 2; pass++)
        for (int level = 0; level < 2; level++) {
            graph_push(graph, "synthesis");
            graph_push(graph, "b%d", 4 << level);
            struct node *first = t_normal(graph, "weight", SHAPE(3, 2));
            w[pass][level] = t_parameter(graph, "weight", first);
            assert_string_equal(w[pass][level]->scope, level ? "synthesis.b8" : "synthesis.b4");
            (void)t_state(graph, "average", t_full(graph, SHAPE(2), 0));
            graph_pop(graph);
            graph_pop(graph);
        }
    assert_string_equal(w[0][1]->leaf.name, "synthesis.b8.weight");
    assert_true(w[0][0] == w[1][0] && w[0][1] == w[1][1] && w[0][0] != w[0][1]);
    assert_true(shape_equal(w[0][0]->shape, SHAPE(3, 2)));
    assert_int_equal(graph_parameters(graph, "", found, 4), 2); /* state is not trained */
    assert_true(found[0] == w[0][0] && found[1] == w[0][1]);
    assert_int_equal(graph_parameters(graph, "synthesis.b8.", found, 4), 1);
    assert_string_equal(t_input(graph, "x", DTYPE_F32, SHAPE(1))->scope, "");
    graph_free(graph);
}

static void random_leaves_of_one_name_draw_from_different_streams(void **state)
{
    (void)state;
    struct graph *graph = graph_new(), *again = graph_new();
    struct node *a = t_normal(graph, "z", SHAPE(2)), *b = t_uniform(graph, "z", SHAPE(2));
    graph_push(graph, "layer");
    struct node *c = t_normal(graph, "z", SHAPE(2));
    graph_pop(graph);
    assert_true(a->random.stream != b->random.stream && a->random.stream != c->random.stream);
    (void)t_full(again, SHAPE(2), 3); /* other nodes make no difference */
    assert_true(t_normal(again, "z", SHAPE(5))->random.stream == a->random.stream);
    graph_free(graph);
    graph_free(again);
}

/* Where a builder gives back less than was asked for, the values must be plainly the same. */
static void builders_simplify_what_is_plainly_the_same(void **state)
{
    (void)state;
    struct graph *graph = graph_new();
    struct node *x = INPUT("x", 2, 3, 1), *full = t_full(graph, SHAPE(), 2), *y;
    double value;
    assert_ptr_equal(t_scale(x, 1), x);
    assert_ptr_equal(t_add(x, t_full(graph, SHAPE(3, 1), 0)), x);
    assert_ptr_equal(t_mul(t_full(graph, SHAPE(), 1), x), x);
    y = t_affine(t_affine(x, 2, 3), 5, 7);
    assert_true(y->src[0] == x && y->affine.scale == 10 && y->affine.shift == 22);
    y = t_sub(full, x);
    assert_true(y->op == OP_SCALE && y->affine.scale == -1 && y->affine.shift == 2);
    assert_true(node_is_full(t_sum(t_broadcast(full, SHAPE(5)), AXES(0)), &value) && value == 10);
    assert_ptr_equal(t_sum(x, AXES(2)), x);
    assert_ptr_equal(t_broadcast(x, SHAPE(2, 3, 1)), x);
    assert_ptr_equal(t_permute(t_permute(x, 1, 2, 0), 2, 0, 1), x);
    assert_ptr_equal(t_reshape(t_reshape(x, SHAPE(6)), SHAPE(2, 3, 1)), x);
    assert_ptr_equal(t_flip(t_flip(x, AXES(0, 1)), AXES(0, 1)), x);
    assert_ptr_equal(t_flip(t_flip(x, AXES(0, 1)), AXES(1))->src[0], x);
    assert_ptr_equal(t_slice(x, 1, 0, 3), x);
    assert_ptr_equal(t_pad(x, 1, 0, 0), x);
    assert_ptr_equal(t_cast(x, DTYPE_F32), x);
    y = t_cast(x, DTYPE_BF16);
    assert_ptr_equal(t_cast(t_cast(y, DTYPE_F32), DTYPE_BF16), y);
    assert_ptr_not_equal(t_cast(y, DTYPE_F32), x); /* it was rounded */
    y = t_sum(t_broadcast(x, SHAPE(2, 3, 7)), AXES(2));
    assert_true(y->op == OP_SCALE && y->src[0] == x && y->affine.scale == 7);
    y = t_matmul(t_transpose(INPUT("a", 5, 2)), INPUT("b", 5, 4));
    assert_true(y->transpose.a && !y->transpose.b && shape_equal(y->shape, SHAPE(2, 4)));
    assert_int_equal(t_scale(x, 0)->op, OP_SCALE); /* NaN · 0 must stay NaN */
    graph_free(graph);
}

static void a_gradient_belongs_to_the_layer_and_line_that_it_differentiates(void **state)
{
    (void)state;
    struct graph *graph = graph_new();
    struct node *x = INPUT("x", 3), *dx;
    graph_push(graph, "layer");
    struct node *h = t_tanh(x);
    graph_pop(graph);
    struct node *y = t_sum_all(h);
    size_t before = graph_size(graph);
    grad(y, &x, 1, &dx);
    bool in_layer = false;
    for (size_t id = before; id < graph_size(graph); id++) {
        const struct node *node = graph_node(graph, id);
        if (node->op == OP_MUL) {
            in_layer = true;
            assert_string_equal(node->scope, "layer");
            assert_int_equal(node->site.line, h->site.line);
        }
    }
    assert_true(in_layer);
    assert_string_equal(t_exp(x)->scope, "");
    graph_free(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shape_mistakes_abort_naming_op_shapes_and_caller),
        cmocka_unit_test(parameters_are_named_after_their_layer_and_shared_by_name),
        cmocka_unit_test(random_leaves_of_one_name_draw_from_different_streams),
        cmocka_unit_test(builders_simplify_what_is_plainly_the_same),
        cmocka_unit_test(a_gradient_belongs_to_the_layer_and_line_that_it_differentiates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
