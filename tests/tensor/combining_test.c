/* What combining makes of a graph, and that the texts of its kernels can be made: on any processor,
 * under sanitizers too. That the results are right: combine_test. */
#include "test.h"

#include "base/arena.h"
#include "cuda/generate.h"
#include "nn/layer.h"
#include "tensor/combine.h"
#include "tensor/gradient.h"
#include "tensor/layout.h"
#include "tensor/rewrite.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct combined {
    struct arena arena;
    struct graph *rewritten, *graph;
    struct node *root, **image;
};

static bool everything(const struct node *node)
{
    (void)node;
    return true;
}

static bool nothing(const struct node *node)
{
    (void)node;
    return false;
}

static struct combined combined(struct node *y, bool (*takes)(const struct node *node))
{
    static const struct mixed mixed = { 0 };
    struct combined c = { 0 };
    struct node **image;
    arena_init(&c.arena);
    c.rewritten = rewrite_graph(&c.arena, &y, 1, &mixed, &image);
    c.root = image[y->id];
    c.graph = combine_graph(&c.arena, c.rewritten, &c.root, 1, takes, &c.image);
    return c;
}

static void release(struct combined *c)
{
    graph_free(c->graph);
    graph_free(c->rewritten);
    arena_release(&c->arena);
}

/* The one node of the op that the root needs; NULL: none. */
static const struct node *find(const struct node *y, enum op_id op)
{
    if (y->op == op)
        return y;
    for (int i = 0; i < y->sources; i++) {
        const struct node *found = find(y->src[i], op);
        if (found)
            return found;
    }
    return NULL;
}

static void expect_op(struct node *y, bool (*takes)(const struct node *node), enum op_id op,
                      bool there)
{
    struct combined c = combined(y, takes);
    assert_int_equal(find(c.root, op) != NULL, there);
    assert_true(shape_equal(c.root->shape, y->shape));
    assert_int_equal(c.root->dtype, y->dtype);
    release(&c);
}

static struct node *input(struct graph *graph, const char *name, struct shape shape)
{
    return t_input(graph, name, DTYPE_F32, shape);
}

static void a_bias_is_combined_where_the_sum_needs_memory(void **state)
{
    (void)state;
    struct graph *graph = graph_new();
    struct node *y = nn_linear(input(graph, "x", SHAPE(2, 5, 7)), "fc", 3);
    expect_op(t_slice(y, 1, 0, 2), everything, OP_LINEAR, true);
    expect_op(y, everything, OP_LINEAR, true);
    expect_op(t_exp(y), everything, OP_LINEAR, false);
    expect_op(t_slice(y, 1, 0, 2), nothing, OP_LINEAR, false);
    graph_free(graph);
}

static void attention_is_combined_with_its_factors_and_what_is_added(void **state)
{
    (void)state;
    struct graph *graph = graph_new();
    struct node *y = nn_attend(input(graph, "qkv", SHAPE(2, 24, 9)), 2);
    struct combined c = combined(y, everything);
    const struct node *node = find(c.root, OP_ATTENTION);
    assert_non_null(node);
    assert_int_equal(node->sources, 3);
    assert_true(fabs(node->attention.scale - 0.5) < 1e-12); /* of four channels: 4^-¼ twice */
    assert_int_equal(node->attention.turned, ATTENTION_Q | ATTENTION_K | ATTENTION_V | ATTENTION_Y);
    assert_null(find(c.root, OP_EXP));
    assert_null(find(c.root, OP_SCALE));
    release(&c);
    struct node *q = input(graph, "q", SHAPE(3, 9, 4)), *k = input(graph, "k", SHAPE(3, 6, 4)),
                *v = input(graph, "v", SHAPE(3, 6, 5)), *bias = input(graph, "bias", SHAPE(9, 6));
    struct node *score = t_add(t_scale(t_matmul(q, t_transpose(k)), 0.25), bias);
    c = combined(t_matmul(t_softmax(score, -1), v), everything);
    node = find(c.root, OP_ATTENTION);
    assert_non_null(node);
    assert_int_equal(node->sources, 4);
    assert_true(fabs(node->attention.scale - 0.25) < 1e-12);
    assert_int_equal(node->attention.turned, 0);
    release(&c);
    graph_free(graph);
}

static void what_only_resembles_attention_stays(void **state)
{
    (void)state;
    struct graph *graph = graph_new();
    struct node *q = input(graph, "q", SHAPE(3, 8, 8)), *k = input(graph, "k", SHAPE(3, 8, 8)),
                *v = input(graph, "v", SHAPE(3, 8, 8));
    struct node *score = t_matmul(q, t_transpose(k)), *weight = t_softmax(score, -1);
    /* the softmax runs over queries; weights are used the wrong way round; something is added
     * before a factor; scores, weights or their gradient are wanted as well */
    expect_op(t_matmul(t_softmax(score, 1), v), everything, OP_ATTENTION, false);
    expect_op(t_matmul(v, t_softmax(t_matmul(k, q), -1)), everything, OP_ATTENTION, false);
    expect_op(t_matmul(t_softmax(t_scale(t_add(t_matmul(k, v), q), 2), -1), v), everything,
              OP_ATTENTION, false);
    expect_op(t_concat(1, t_matmul(weight, v), weight), everything, OP_ATTENTION, false);
    expect_op(t_add(t_matmul(weight, v), score), everything, OP_ATTENTION, false);
    struct node *y = t_matmul(weight, v), *dq;
    grad(t_sum_all(t_mul(y, y)), &q, 1, &dq);
    expect_op(t_add(y, dq), everything, OP_ATTENTION, false);
    graph_free(graph);
}

/* Any order of axes, sizes that are no multiples, both precisions. */
static void texts_of_attention_are_made_however_its_sources_lie(void **state)
{
    (void)state;
    for (unsigned turned = 0; turned < 16; turned++)
        for (int half = 0; half < 2; half++) {
            struct graph *graph = graph_new();
            struct text source = { 0 };
            struct kernel kernel;
            int64_t tokens = 4 + 33 * half, width = 6 * (int64_t)turned + 4;
            struct node draft = { .op = OP_ATTENTION }, *src[4];
            struct view in[4], out = { .dtype = half ? DTYPE_BF16 : DTYPE_F32 };
            draft.attention.scale = 0.5;
            draft.attention.turned = turned;
            draft.attention.half = half;
            for (int i = 0; i < 5; i++) {
                bool turn = turned >> i & 1;
                struct shape shape = turn ? SHAPE(3, 2, width, tokens) : SHAPE(3, 2, tokens, width);
                if (i == 3) {
                    draft.shape = out.shape = shape;
                    for (int axis = 0; axis < 4; axis++)
                        out.stride[axis] = axis + 1;
                    continue;
                }
                int k = i < 3 ? i : 3;
                char name[8];
                snprintf(name, sizeof name, "s%d", i);
                src[k] = input(graph, name, i < 3 ? shape : SHAPE(3, 2, tokens, tokens));
                in[k] = (struct view){ .dtype = i % 2 ? DTYPE_BF16 : DTYPE_F32,
                                       .shape = src[k]->shape,
                                       .offset = 4 * i,
                                       .stride = { 4096, 512, turn ? 4 : 1, turn ? 1 : 4 } };
            }
            struct site at = { __FILE__, __LINE__ };
            struct node *node = node_add(graph, at, &draft, 4, src);
            assert_true(attention_suits(node));
            struct step step = { .node = node, .in = in, .out = out };
            generate_attention(&step, "k", &source, &kernel);
            assert_int_equal(kernel.blocks, 6);
            assert_int_equal(kernel.arguments, 5);
            assert_true(attention_flops(&step) > 0);
            assert_non_null(strstr(source.bytes, half ? "multiply(" : "sp[(rows"));
            text_release(&source);
            graph_free(graph);
        }
}

/* A step of the node, everything dense. */
static void check_direct(const struct node *node, const char *expected,
                         void (*generate)(const struct step *step, const char *name,
                                          struct text *source, struct kernel *kernel))
{
    struct text source = { 0 };
    struct kernel kernel;
    struct view in[3], out = { .shape = node->shape };
    for (int i = 0; i < node->sources; i++) {
        in[i] = (struct view){ .shape = node->src[i]->shape };
        row_major_strides(in[i].shape, in[i].stride);
    }
    row_major_strides(out.shape, out.stride);
    generate(&(struct step){ .node = node, .in = in, .out = out }, "k", &source, &kernel);
    assert_int_equal(kernel.arguments, node->sources + 1);
    assert_int_equal(kernel.blocks, 1);
    assert_non_null(strstr(source.bytes, expected));
    text_release(&source);
}

static void texts_for_what_libraries_do_not_take_are_made(void **state)
{
    (void)state;
    struct graph *graph = graph_new();
    struct node *x = input(graph, "x", SHAPE(1, 4, 5, 5)),
                *w = input(graph, "w", SHAPE(6, 2, 3, 3));
    struct node *y = t_conv(x, w, .groups = 2, .pads = { { 0, 1 }, { 2, 0 } }), *d[2];
    struct node *of[2] = { x, w };
    grad(t_sum_all(t_mul(y, y)), of, 2, d);
    check_direct(y, "for (int i = 0; i < 2; i++)", generate_convolution);
    check_direct(find(d[0], OP_CONV_DX), "for (int e = 0; e < 3; e++)", generate_convolution);
    check_direct(find(d[1], OP_CONV_DW), "for (int n = 0; n < 1; n++)", generate_convolution);
    struct node *product =
        t_matmul(input(graph, "a", SHAPE(2, 3, 7)), input(graph, "b", SHAPE(2, 7, 5)));
    check_direct(product, "for (long long k = 0; k < 7; k++)", generate_product);
    graph_free(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bias_is_combined_where_the_sum_needs_memory),
        cmocka_unit_test(attention_is_combined_with_its_factors_and_what_is_added),
        cmocka_unit_test(what_only_resembles_attention_stays),
        cmocka_unit_test(texts_of_attention_are_made_however_its_sources_lie),
        cmocka_unit_test(texts_for_what_libraries_do_not_take_are_made),
    };
    return cmocka_run_group_tests_name("tensor/combining", tests, NULL, NULL);
}
