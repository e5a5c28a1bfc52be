/* What combining makes of a graph, and that the texts of its kernels can be made: on any processor,
 * under sanitizers too. That the results are right: combine_test. */
#include "test.h"

#include "base/arena.h"
#include "cuda/generate.h"
#include "nn/layer.h"
#include "tensor/combine.h"
#include "tensor/filtered.h"
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

/* Of one tensor's parts, as Swin has them, or of three: what is sent back to `of`. */
static struct node *gradients_of(struct node *y, struct node **of, int count)
{
    struct node *d[4];
    grad(t_sum_all(t_mul(y, y)), of, count, d);
    struct node *all = t_reshape(y, SHAPE((int64_t)shape_count(y->shape)));
    for (int i = 0; i < count; i++)
        all = t_concat(0, all, t_reshape(d[i], SHAPE((int64_t)shape_count(d[i]->shape))));
    return all;
}

static void what_attention_sends_back_is_combined(void **state)
{
    (void)state;
    struct graph *graph = graph_new();
    struct node *qkv = input(graph, "qkv", SHAPE(3, 20, 9, 5)), *part[3];
    struct node *bias = input(graph, "bias", SHAPE(2, 9, 9)), *of[2] = { qkv, bias };
    for (int i = 0; i < 3; i++)
        part[i] = t_reshape(t_slice(qkv, 0, i, i + 1), SHAPE(10, 2, 9, 5));
    struct node *score = t_add(t_matmul(t_scale(part[0], 0.5), t_transpose(part[1])), bias);
    struct node *y = t_matmul(t_softmax(score, -1), part[2]);
    struct combined c = combined(gradients_of(y, of, 2), everything);
    const struct node *sent = find(c.root, OP_ATTENTION_GRADIENT),
                      *added = find(c.root, OP_ATTENTION_ADDED_GRADIENT),
                      *result = find(c.root, OP_ATTENTION);
    assert_non_null(sent);
    assert_non_null(added);
    assert_non_null(result);
    assert_true(result->attention.trained);
    assert_int_equal(sent->sources, 5); /* q, k, v, what is sent back, bias */
    assert_true(shape_equal(sent->shape, SHAPE(3, 20, 9, 5))); /* as one tensor */
    /* on the way to queries lies their factor; keys meet queries that are scaled already */
    for (int i = 0; i < 3; i++)
        assert_true(fabs(sent->attention.factor[i] - (i ? 1 : 0.5)) < 1e-12);
    assert_true(shape_equal(added->shape, SHAPE(2, 2, 9, 9))); /* eight windows, and two */
    assert_int_equal(added->attention.groups, 10);
    assert_null(find(c.root, OP_EXP));
    assert_null(find(c.root, OP_DIV));
    assert_null(find(c.root, OP_MATMUL));
    release(&c);
    graph_free(graph);
}

static void what_is_sent_back_to_tensors_of_their_own_is_cut_apart(void **state)
{
    (void)state;
    struct graph *graph = graph_new();
    struct node *qkv = input(graph, "qkv", SHAPE(2, 24, 9));
    struct combined c = combined(gradients_of(nn_attend(qkv, 2), &qkv, 1), everything);
    const struct node *sent = find(c.root, OP_ATTENTION_GRADIENT);
    assert_non_null(sent);
    assert_true(shape_equal(sent->shape, SHAPE(3, 4, 9, 4)));
    assert_int_equal(sent->attention.turned, ATTENTION_Q | ATTENTION_K | ATTENTION_V | ATTENTION_Y);
    assert_null(find(c.root, OP_EXP));
    assert_null(find(c.root, OP_ATTENTION_ADDED_GRADIENT));
    release(&c);
    graph_free(graph);
}

static bool untrained(const struct node *node)
{
    return !node->attention.trained;
}

static void gradients_are_combined_all_or_none(void **state)
{
    (void)state;
    struct graph *graph = graph_new();
    struct node *q = input(graph, "q", SHAPE(3, 8, 4)), *k = input(graph, "k", SHAPE(3, 8, 4)),
                *v = input(graph, "v", SHAPE(3, 8, 4)), *of[3] = { q, k, v };
    struct node *weight = t_softmax(t_matmul(q, t_transpose(k)), -1), *y = t_matmul(weight, v);
    expect_op(gradients_of(y, of, 3), everything, OP_ATTENTION_GRADIENT, true);
    expect_op(gradients_of(y, of, 3), untrained, OP_ATTENTION, false);
    expect_op(gradients_of(y, of, 3), untrained, OP_ATTENTION_GRADIENT, false);
    /* without one of them; with a look at the weights; of values that are wider, of fewer keys */
    expect_op(gradients_of(y, of, 2), everything, OP_ATTENTION, false);
    expect_op(gradients_of(y, of + 1, 2), everything, OP_ATTENTION, false);
    expect_op(gradients_of(t_add(t_matmul(weight, v), t_sum(weight, AXES(2))), of, 3), everything,
              OP_ATTENTION, false);
    struct node *wide = input(graph, "wide", SHAPE(3, 8, 6)), *with_wide[3] = { q, k, wide };
    expect_op(gradients_of(t_matmul(weight, wide), with_wide, 3), everything, OP_ATTENTION, false);
    struct node *few = input(graph, "few", SHAPE(3, 6, 4)), *fewer[3] = { q, few, few };
    weight = t_softmax(t_matmul(q, t_transpose(few)), -1);
    expect_op(gradients_of(t_matmul(weight, few), fewer, 2), everything, OP_ATTENTION, false);
    /* that queries are the keys does no harm */
    weight = t_softmax(t_matmul(q, t_transpose(q)), -1);
    struct node *same[2] = { q, v };
    expect_op(gradients_of(t_matmul(weight, v), same, 2), everything, OP_ATTENTION_GRADIENT, true);
    graph_free(graph);
}

/* What a block's shared memory holds. */
static void only_small_heads_in_bf16_are_trained_at_once(void **state)
{
    (void)state;
    static const struct {
        int64_t tokens, width;
        int half, suits;
    } cases[] = { { 64, 64, 1, 1 }, { 65, 64, 1, 0 }, { 64, 65, 1, 0 }, { 49, 32, 0, 0 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct graph *graph = graph_new();
        struct shape shape = SHAPE(2, cases[i].tokens, cases[i].width);
        struct node *src[3], draft = { .op = OP_ATTENTION, .shape = shape };
        for (int k = 0; k < 3; k++)
            src[k] = input(graph, (const char *[]){ "q", "k", "v" }[k], shape);
        draft.attention.half = cases[i].half;
        struct node *once = node_add(graph, HERE, &draft, 3, src);
        draft.attention.trained = 1;
        struct node *trained = node_add(graph, HERE, &draft, 3, src);
        assert_true(attention_suits(once));
        assert_int_equal(attention_suits(trained), cases[i].suits);
        graph_free(graph);
    }
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

/* Of the gradients, too; how the result lies decides how it is written. */
static void texts_of_gradients_are_made_however_their_sources_lie(void **state)
{
    (void)state;
    for (unsigned turned = 0; turned < 16; turned++) {
        struct graph *graph = graph_new();
        struct text sent = { 0 }, added = { 0 };
        struct kernel kernel;
        int64_t tokens = 20 + turned, width = 3 * (int64_t)turned + 8;
        struct node *src[5], draft = { .op = OP_ATTENTION_GRADIENT };
        struct view in[5];
        draft.attention.turned = turned;
        draft.attention.half = 1;
        draft.attention.groups = 5;
        for (int i = 0; i < 5; i++) {
            bool turn = i < 4 && turned >> i & 1;
            struct shape shape = turn ? SHAPE(5, 2, width, tokens) : SHAPE(5, 2, tokens, width);
            char name[8];
            snprintf(name, sizeof name, "s%d", i);
            src[i] = input(graph, name, i < 4 ? shape : SHAPE(5, 2, tokens, tokens));
            in[i] =
                (struct view){ .dtype = i % 2 ? DTYPE_BF16 : DTYPE_F32, .shape = src[i]->shape };
            row_major_strides(in[i].shape, in[i].stride);
        }
        struct view out = { .dtype = DTYPE_BF16, .shape = SHAPE(3, 5, 2, tokens, width) };
        row_major_strides(out.shape, out.stride);
        draft.shape = out.shape;
        struct step step = { .node = node_add(graph, HERE, &draft, 5, src), .in = in, .out = out };
        generate_attention_gradient(&step, "k", &sent, &kernel);
        assert_int_equal(kernel.blocks, 10);
        assert_int_equal(kernel.arguments, 6);
        assert_int_equal(strstr(sent.bytes, "*(u32 *)at = two_of") != NULL, width % 2 == 0);
        double flops = attention_flops(&step);
        draft.op = OP_ATTENTION_ADDED_GRADIENT;
        draft.shape = SHAPE(2, 2, tokens, tokens);
        step.node = node_add(graph, HERE, &draft, 5, src);
        step.out = (struct view){ .shape = draft.shape };
        row_major_strides(draft.shape, step.out.stride);
        generate_attention_added_gradient(&step, "k", &added, &kernel);
        assert_int_equal(kernel.blocks, 4);
        assert_int_equal(kernel.arguments, 6);
        assert_non_null(strstr(added.bytes, "i < begin + 3 && i < 5"));
        assert_true(attention_flops(&step) * 5 == flops * 2);
        text_release(&sent);
        text_release(&added);
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

/* As StyleGAN 3 has it. */
static struct node *enlarged(struct node *x, int factor, int taps)
{
    struct node *filter = t_full(x->graph, SHAPE(taps), 0.25);
    return t_upfirdn(x, filter, .up = factor, .pad = taps / 2);
}

static struct node *filtered(struct node *x, int factor, int taps)
{
    static const float corners[9] = { 1, 0, 1, 0, 1, 0, 1, 0, 1 }; /* no outer product */
    struct node *y = t_clamp(t_leaky_relu(enlarged(x, factor, taps), 0.2), -1, 1);
    return t_upfirdn(y, t_constant(x->graph, SHAPE(3, 3), corners), .down = 2);
}

static void filtered_activations_are_combined_both_ways(void **state)
{
    (void)state;
    struct graph *graph = graph_new();
    struct node *x = input(graph, "x", SHAPE(2, 6, 9, 8)), *y = filtered(x, 2, 12), *dx;
    struct combined c = combined(y, filtered_suits);
    assert_int_equal(c.root->op, OP_FILTERED);
    assert_int_equal(c.root->filtered->images, 1);
    assert_null(find(c.root, OP_UPFIRDN));
    release(&c);
    grad(t_sum_all(t_mul(y, y)), &x, 1, &dx);
    c = combined(dx, filtered_suits);
    assert_int_equal(c.root->op, OP_FILTERED);
    assert_int_equal(c.root->filtered->images, 2);
    assert_null(find(c.root, OP_UPFIRDN)); /* neither forwards nor backwards */
    release(&c);
    expect_op(y, nothing, OP_FILTERED, false);
    graph_free(graph);
}

static void what_is_no_filtered_activation_stays(void **state)
{
    (void)state;
    struct graph *graph = graph_new();
    struct node *x = input(graph, "x", SHAPE(1, 2, 9, 8)), *large = enlarged(x, 2, 12);
    struct node *other = input(graph, "other", large->shape), *one = t_full(graph, SHAPE(2), 1);
    /* something in between lies in memory, is no image but moved, or is none at all; something
     * grows on the way out; three images; periods that are not whole, filters that are too long */
    expect_op(t_upfirdn(t_mul(large, other), one, .down = 2), everything, OP_FILTERED, false);
    expect_op(t_upfirdn(t_relu(t_flip(large, 8)), one, .down = 2), everything, OP_FILTERED, false);
    expect_op(t_upfirdn(t_relu(other), one, .down = 2), everything, OP_FILTERED, false);
    expect_op(t_upfirdn(large, one, .down = 2), everything, OP_FILTERED, false);
    expect_op(t_upfirdn(t_relu(large), one, .up = 2), everything, OP_FILTERED, false);
    struct node *second = enlarged(t_exp(x), 2, 12), *third = enlarged(t_sin(x), 2, 12);
    expect_op(t_upfirdn(t_add(t_mul(large, second), third), one, .down = 2), everything,
              OP_FILTERED, false);
    expect_op(filtered(x, 3, 12), filtered_suits, OP_FILTERED, false);
    expect_op(filtered(x, 2, 34), filtered_suits, OP_FILTERED, false);
    graph_free(graph);
}

/* However many channels there are, and wherever they begin; in both precisions, one for each image.
 */
static void texts_of_filtered_activations_are_made(void **state)
{
    (void)state;
    for (int channels = 1; channels < 9; channels++)
        for (int factor = 1; factor <= 4; factor *= 2) {
            struct graph *graph = graph_new();
            struct text source = { 0 };
            struct kernel kernel;
            struct node *x = input(graph, "x", SHAPE(2, channels, 40, 70)), *dx;
            struct node *y = filtered(x, factor, 6 * factor);
            grad(t_sum_all(t_mul(y, y)), &x, 1, &dx);
            struct combined c = combined(factor > 1 ? dx : y, filtered_suits);
            struct view in[5], out = { .dtype = DTYPE_BF16, .shape = c.root->shape };
            assert_int_equal(c.root->op, OP_FILTERED);
            for (int i = 0; i < c.root->sources; i++)
                in[i] = (struct view){ .dtype = i ? DTYPE_BF16 : DTYPE_F32,
                                       .shape = c.root->src[i]->shape,
                                       .offset = 2 * i };
            struct step step = { .node = c.root, .in = in, .out = out };
            generate_filtered(&step, "k", &source, &kernel);
            assert_int_equal(kernel.arguments, c.root->filtered->images + 1);
            assert_true(kernel.blocks >= 2 * 3); /* images, strips of 70 columns at most 30 wide */
            assert_non_null(strstr(source.bytes, channels % 2 ? "LANES = 1 " : "LANES = "));
            assert_non_null(strstr(source.bytes, "__syncthreads()"));
            text_release(&source);
            release(&c);
            graph_free(graph);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bias_is_combined_where_the_sum_needs_memory),
        cmocka_unit_test(attention_is_combined_with_its_factors_and_what_is_added),
        cmocka_unit_test(what_attention_sends_back_is_combined),
        cmocka_unit_test(what_is_sent_back_to_tensors_of_their_own_is_cut_apart),
        cmocka_unit_test(gradients_are_combined_all_or_none),
        cmocka_unit_test(only_small_heads_in_bf16_are_trained_at_once),
        cmocka_unit_test(what_only_resembles_attention_stays),
        cmocka_unit_test(texts_of_attention_are_made_however_its_sources_lie),
        cmocka_unit_test(texts_of_gradients_are_made_however_their_sources_lie),
        cmocka_unit_test(texts_for_what_libraries_do_not_take_are_made),
        cmocka_unit_test(filtered_activations_are_combined_both_ways),
        cmocka_unit_test(what_is_no_filtered_activation_stays),
        cmocka_unit_test(texts_of_filtered_activations_are_made),
    };
    return cmocka_run_group_tests_name("tensor/combining", tests, NULL, NULL);
}
