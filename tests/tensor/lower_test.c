/* In which order values lie in memory when a plan is made. */
#include "test.h"

#include "base/arena.h"
#include "tensor/compose.h"
#include "tensor/gradient.h"
#include "tensor/lower.h"
#include "tensor/rewrite.h"

#include <stdlib.h>
#include <string.h>

struct lowered {
    struct lowering lowering;
    struct view *at; /* roots */
    struct arena arena;
    struct graph *rewritten;
};

static void lower(struct lowered *l, struct node *const *roots, size_t count,
                  enum precision precision, bool weights_last)
{
    static const size_t bytes[DTYPE_COUNT] = { 4, 2, 4 };
    struct mixed mixed = { .precision = precision };
    struct node **image;
    *l = (struct lowered){ 0 };
    arena_init(&l->arena);
    l->rewritten = rewrite_graph(&l->arena, roots, count, &mixed, &image);
    struct node **to = arena_array(&l->arena, struct node *, count);
    bool *fresh = arena_array(&l->arena, bool, count);
    l->at = arena_array(&l->arena, struct view, count);
    for (size_t i = 0; i < count; i++)
        to[i] = image[roots[i]->id];
    l->lowering = (struct lowering){ .arena = &l->arena,
                                     .precision = precision,
                                     .weights_last = weights_last,
                                     .element_bytes = bytes };
    lower_graph(&l->lowering, l->rewritten, to, fresh, count, l->at);
}

static void release(struct lowered *l)
{
    free(l->lowering.jobs);
    free(l->lowering.buffers);
    graph_free(l->rewritten);
    arena_release(&l->arena);
}

/* The only job of this op that is no loop. */
static const struct job *job_of(const struct lowered *l, enum op_id op)
{
    const struct job *found = NULL;
    for (size_t i = 0; i < l->lowering.job_count; i++)
        if (l->lowering.jobs[i].node->op == op && !l->lowering.jobs[i].loop) {
            assert_null(found);
            found = &l->lowering.jobs[i];
        }
    assert_non_null(found);
    return found;
}

/* Whether weights (O,I,kh,kw) lie channels last; if not, they do in the order of their shape. */
static bool lies_last(const struct view *weight)
{
    int64_t rows[RANK_MAX], last[RANK_MAX];
    row_major_strides(weight->shape, rows);
    channels_last_strides(weight->shape, last);
    bool is_last = same_strides(weight->shape, weight->stride, last);
    assert_true(is_last || same_strides(weight->shape, weight->stride, rows));
    return is_last;
}

/* conv(image, weight) with its gradient for the image, so that the weights are read twice. */
static void expect(struct node *image, struct node *weight, struct node *more,
                   enum precision precision, bool asked, bool last)
{
    struct node *y = t_conv(image, weight, .pad = 1), *d;
    grad(t_sum_all(t_mul(y, y)), &image, 1, &d);
    struct node *roots[] = { t_sum_all(y), t_sum_all(d), more ? t_sum_all(more) : t_sum_all(y) };
    struct lowered l;
    lower(&l, roots, 3, precision, asked);
    assert_int_equal(lies_last(&job_of(&l, OP_CONV)->in[1]), last);
    assert_int_equal(lies_last(&job_of(&l, OP_CONV_DX)->in[1]), last);
    release(&l);
}

static void weights_that_a_loop_makes_lie_channels_last_where_the_backend_wants_it(void **state)
{
    (void)state;
    struct graph *graph = graph_new();
    struct node *x = t_input(graph, "x", DTYPE_F32, SHAPE(2, 5, 8, 8));
    struct node *w = t_input(graph, "w", DTYPE_F32, SHAPE(7, 5, 3, 3));
    struct node *made = t_exp(w);
    expect(x, made, NULL, PRECISION_F32, true, true);
    expect(x, made, NULL, PRECISION_F32, false, false);
    expect(x, w, NULL, PRECISION_BF16, true, true); /* made by a cast */
    expect(x, w, NULL, PRECISION_BF16, false, false);
    expect(x, w, NULL, PRECISION_F32, true, false);                      /* made by none */
    expect(x, made, t_slice(made, 0, 1, 3), PRECISION_F32, true, false); /* not weights alone */
    graph_free(graph);
}

/* What is assigned to a parameter lies as that does, whatever it is computed from, and is written
 * there by one loop. */
static void
gradients_of_weights_lie_as_the_library_writes_them_and_updates_as_they_are_stored(void **state)
{
    (void)state;
    for (int last = 0; last < 2; last++) {
        struct graph *graph = graph_new();
        struct node *x = t_input(graph, "x", DTYPE_F32, SHAPE(2, 5, 8, 8)), *d;
        struct node *w = t_input(graph, "w", DTYPE_F32, SHAPE(7, 5, 3, 3));
        struct node *y = t_conv(x, w, .pad = 1);
        grad(t_sum_all(t_mul(y, y)), &w, 1, &d);
        struct node *updated = t_sub(w, t_scale(d, 0.1));
        struct lowered l;
        lower(&l, &updated, 1, PRECISION_BF16, last);
        const struct view *gradient = &job_of(&l, OP_CONV_DW)->out;
        assert_int_equal(lies_last(gradient), last);
        assert_int_equal(gradient->dtype, last ? DTYPE_BF16 : DTYPE_F32);
        const struct job *update = &l.lowering.jobs[l.lowering.job_count - 1];
        assert_ptr_equal(update->node->src[0]->leaf.name, w->leaf.name);
        assert_int_equal(update->out.buffer, l.at[0].buffer);
        assert_false(lies_last(&update->out));
        release(&l);
        graph_free(graph);
    }
}

/* The whole is two buffers: what is read and what is written. */
static void expect_moves(struct node *root, size_t moves)
{
    struct lowered l;
    lower(&l, &root, 1, PRECISION_F32, false);
    assert_int_equal(l.lowering.job_count, moves);
    assert_int_equal(l.lowering.buffer_count, 2);
    release(&l);
}

static void what_slices_send_back_is_written_to_its_place(void **state)
{
    (void)state;
    struct graph *graph = graph_new();
    struct node *x = t_input(graph, "x", DTYPE_F32, SHAPE(4, 9, 5)), *d, *sum = NULL;
    for (int i = 0; i < 3; i++) {
        struct node *part = t_sum_all(t_exp(t_scale(t_slice(x, 1, 3 * i, 3 * i + 3), i + 2)));
        sum = sum ? t_add(sum, part) : part;
    }
    grad(sum, &x, 1, &d);
    expect_moves(d, 3);
    graph_free(graph);
}

static struct node *quarters(struct node *x, int64_t row, int64_t column)
{
    struct node *band[2] = { t_slice(x, 0, row, dim(x, 0)), t_slice(x, 0, 0, row) };
    for (int i = 0; i < 2; i++)
        band[i] =
            t_concat(1, t_slice(band[i], 1, column, dim(x, 1)), t_slice(band[i], 1, 0, column));
    return t_concat(0, band[0], band[1]);
}

static void parts_of_parts_are_written_to_the_whole(void **state)
{
    (void)state;
    struct graph *graph = graph_new();
    struct node *x = t_input(graph, "x", DTYPE_F32, SHAPE(7, 6)), *d;
    struct node *k = t_input(graph, "k", DTYPE_F32, SHAPE(7, 6)), *rolled = quarters(x, 2, 4);
    expect_moves(rolled, 4);
    expect_moves(t_pad(t_pad(x, 0, 1, 2), 1, 3, 0), 2); /* zeros, and x */
    expect_moves(t_concat(1, t_pad(x, 0, 1, 0), t_pad(x, 0, 0, 1)), 4);
    grad(t_sum_all(t_mul(rolled, k)), &x, 1, &d);
    expect_moves(d, 4); /* k, rolled back */
    graph_free(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_that_a_loop_makes_lie_channels_last_where_the_backend_wants_it),
        cmocka_unit_test(
            gradients_of_weights_lie_as_the_library_writes_them_and_updates_as_they_are_stored),
        cmocka_unit_test(what_slices_send_back_is_written_to_its_place),
        cmocka_unit_test(parts_of_parts_are_written_to_the_whole),
    };
    return cmocka_run_group_tests_name("tensor/lower", tests, NULL, NULL);
}
