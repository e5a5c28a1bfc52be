/* Combining attention; see combine.h.
 *
 * A search that begins at each softmax follows what it reads down to the product of queries and
 * keys, and what reads it up: to the product with the values and, in training, to what that sends
 * back. With P the weights, G what is sent back to the result, and ⊙ element by element:
 *
 *     y = P·v          dP = G·vᵀ                          dq = dS·k
 *     dv = Pᵀ·G        dS = P ⊙ (dP − Σ over keys P ⊙ dP) dk = dSᵀ·q
 *
 * and dS summed over the first of its leading axes, as what was added to all of these wants it. All
 * of this lies `inside`, and has `ends`, which others read. What lies inside nothing else may read;
 * then each end is made by a node that computes all that lies inside by itself.
 */
#include "tensor/combine_parts.h"

#include <string.h>

enum { INSIDE = 32, KEPT_GROUPS = 8 };

/* What an attention ends in: its result, what is sent back to queries, keys and values, or to all
 * three where they are parts of one tensor; and to what is added to scores. */
enum end { RESULT, SENT_Q, SENT_K, SENT_V, SENT_ALL, SENT_ADDED, ENDS };

/* A factor of a product: as it lies there, and whether that is (width, tokens). */
struct factor {
    const struct node *node;
    bool turned;
};

struct whole {
    struct factor q, k, v, g; /* g: what is sent back to the result */
    const struct node *added[ATTENTION_ADDED];
    int count; /* of what is added */
    double scale;
    bool half, trained, refused;
    bool turned[ENDS]; /* this end lies (…,width,tokens) */
    const struct node *end[ENDS];
    const struct node *inside[INSIDE];
    int insides;
    double gathered[3];                    /* SENT_ALL: factors on the way there */
    struct node *src[4 + ATTENTION_ADDED]; /* in the new graph: q, k, v, g, then what is added */
    double scale_of[3];                    /* of q, k, v: taken off these */
    struct node *sent;                     /* in the new graph: to q, k and v */
};

struct attention_end {
    struct whole *whole;
    enum end which;
};

/* Searching: forwards. */

static bool enter(struct whole *w, const struct node *node)
{
    if (w->insides == INSIDE)
        return false;
    w->inside[w->insides++] = node;
    return true;
}

static bool keeps_matrices(const struct node *x)
{
    const struct node *from = x->src[0];
    return x->shape.rank >= 2 && from->shape.rank >= 2 && dim(x, -1) == dim(from, -1) &&
           dim(x, -2) == dim(from, -2);
}

static bool is_along_rows(const struct node *reduction)
{
    return reduction->axes == 1u << (reduction->shape.rank - 1);
}

/* Scores as found: scale·product + added. */
struct scores {
    const struct node *product, *added[ATTENTION_ADDED];
    int count;
    bool scaled; /* a factor was found */
    double scale;
};

/* Walks down from x, which only nodes of the pattern read, to a product. */
static bool find_scores(const struct combiner *c, const struct node *x, int readers,
                        struct scores *found)
{
    if (!is_inner(c, x, readers))
        return false;
    if (x->op == OP_MATMUL) {
        found->product = x;
        return true;
    }
    if ((x->op == OP_RESHAPE && keeps_matrices(x)) || is_cast(x, DTYPE_BF16, DTYPE_F32))
        return find_scores(c, x->src[0], 1, found);
    if (is_scale(x)) {
        found->scaled = true;
        found->scale *= x->affine.scale;
        return find_scores(c, x->src[0], 1, found);
    }
    /* Under a factor a sum would have to be scaled as well: none of our networks does that. */
    if (x->op != OP_ADD || found->count == ATTENTION_ADDED || found->scaled)
        return false;
    for (int i = 0; i < 2; i++) {
        struct scores deeper = *found;
        deeper.added[deeper.count++] = x->src[1 - i];
        if (find_scores(c, x->src[i], 1, &deeper)) {
            *found = deeper;
            return true;
        }
    }
    return false;
}

/* x of reduce(x), spread again over what was reduced: one number for each row; else NULL. */
static const struct node *row_reduction(struct whole *w, const struct node *x, enum op_id op)
{
    if (x->op != OP_BROADCAST || x->src[0]->op != op || !is_along_rows(x->src[0]))
        return NULL;
    return enter(w, x) && enter(w, x->src[0]) ? x->src[0]->src[0] : NULL;
}

/* The scores of exp(z − max z) / Σ exp(z − max z) along the last axis; else NULL. */
static const struct node *softmax_source(struct whole *w, const struct node *y)
{
    const struct node *e = y->src[0];
    if (e->op != OP_EXP || e->src[0]->op != OP_SUB || row_reduction(w, y->src[1], OP_SUM) != e)
        return NULL;
    const struct node *shifted = e->src[0], *z = shifted->src[0];
    bool whole = enter(w, y) && enter(w, e) && enter(w, shifted);
    return whole && row_reduction(w, shifted->src[1], OP_MAX) == z ? z : NULL;
}

/* Whether y is matrix·x, or its transpose xᵀ·matrixᵀ; across: of the matrix's transpose. */
static bool is_product(const struct node *y, const struct node *matrix, bool across,
                       struct factor *x, bool *turned)
{
    if (y->op != OP_MATMUL || y->src[0] == y->src[1])
        return false;
    *turned = y->src[1] == matrix;
    bool transposed = *turned ? !y->transpose.b : y->transpose.a;
    *x = (struct factor){ y->src[*turned ? 0 : 1], *turned ? !y->transpose.a : y->transpose.b };
    return y->src[*turned ? 1 : 0] == matrix && transposed == across;
}

static bool same_factor(struct factor a, struct factor b)
{
    return a.node == b.node && a.turned == b.turned;
}

/* The products of the weights with the values and, in training, with what is sent back. */
static bool find_results(const struct combiner *c, struct whole *w, const struct node *weights)
{
    for (int i = 0; i < c->readers[weights->id]; i++) {
        const struct node *y = reader_of(c, weights, i);
        struct factor x;
        bool turned;
        if (y->op == OP_MUL) /* weights in f32: find_sent's */
            continue;
        enum end end = is_product(y, weights, false, &x, &turned) ? RESULT : SENT_V;
        if (w->end[end] || (end == SENT_V && !is_product(y, weights, true, &x, &turned)))
            return false;
        *(end == RESULT ? &w->v : &w->g) = x;
        w->end[end] = y;
        w->turned[end] = turned;
    }
    return w->end[RESULT] && (w->end[RESULT]->dtype == DTYPE_BF16) == w->half;
}

/* Searching: backwards. */

/* dP, of which x is a cast. */
static bool is_sent_to_weights(const struct combiner *c, struct whole *w, const struct node *x)
{
    for (; is_inner(c, x, 1) && enter(w, x); x = x->src[0]) {
        if (x->op == OP_MATMUL)
            return same_factor(w->g, (struct factor){ x->src[0], x->transpose.a }) &&
                   same_factor(w->v, (struct factor){ x->src[1], !x->transpose.b });
        if (!(x->op == OP_RESHAPE && keeps_matrices(x)) && !is_cast(x, DTYPE_BF16, DTYPE_F32))
            return false;
    }
    return false;
}

/* dS, from the product P ⊙ dP/s: e ⊙ (dP/s − its sums along rows), s being the sums of e; else
 * NULL. */
static const struct node *sent_to_scores(const struct combiner *c, struct whole *w,
                                         const struct node *p, const struct node *product)
{
    const struct node *part = product->src[product->src[0] == p ? 1 : 0];
    const struct node *sum = only_reader(c, product), *minus = sum ? only_reader(c, sum) : NULL;
    if (part->op != OP_DIV || part->src[1] != p->src[1] ||
        !is_sent_to_weights(c, w, part->src[0]) || !minus || sum->op != OP_SUM ||
        !is_along_rows(sum) || !is_scale(minus) || minus->affine.scale != -1)
        return NULL;
    const struct node *spread = only_reader(c, minus),
                      *apart = spread ? only_reader(c, spread) : NULL,
                      *ds = apart ? only_reader(c, apart) : NULL;
    bool found = ds && spread->op == OP_BROADCAST && apart->op == OP_ADD && ds->op == OP_MUL;
    for (int i = 0; found && i < 2; i++)
        found = (apart->src[i] == spread || apart->src[i] == part) &&
                (ds->src[i] == apart || ds->src[i] == p->src[0]);
    const struct node *inside[] = { product, part, sum, minus, spread, apart, ds };
    for (size_t i = 0; found && i < sizeof inside / sizeof *inside; i++)
        found = enter(w, inside[i]);
    return found ? ds : NULL;
}

/* Whether the axes are the first ones, in front of matrices. */
static bool are_leading(const struct node *sum)
{
    return sum->axes && (sum->axes & (sum->axes + 1)) == 0 &&
           sum->axes < 1u << (sum->shape.rank - 2);
}

/* What reads dS, as scores or as their factor in products. */
static bool find_sent(const struct combiner *c, struct whole *w, const struct node *ds)
{
    for (int i = 0; i < c->readers[ds->id]; i++) {
        const struct node *y = reader_of(c, ds, i);
        struct factor x;
        bool turned;
        enum end end = ENDS;
        if (is_cast(y, DTYPE_F32, DTYPE_BF16)) {
            if (!enter(w, y) || !find_sent(c, w, y))
                return false;
            continue;
        }
        if (is_product(y, ds, false, &x, &turned) && same_factor(x, w->k))
            end = SENT_Q;
        else if (is_product(y, ds, true, &x, &turned) && same_factor(x, w->q))
            end = SENT_K;
        else if (y->op == OP_SUM && are_leading(y))
            end = SENT_ADDED;
        if (end == ENDS || w->end[end] ||
            (y->op == OP_MATMUL && w->half != (y->dtype == DTYPE_BF16)))
            return false;
        w->end[end] = y;
        w->turned[end] = end != SENT_ADDED && turned;
    }
    return true;
}

static int64_t rows(struct factor x)
{
    return dim(x.node, x.turned ? -1 : -2);
}

static int64_t columns(struct factor x)
{
    return dim(x.node, x.turned ? -2 : -1);
}

/* All that is sent back, or nothing. */
static bool find_gradient(const struct combiner *c, struct whole *w, const struct node *p)
{
    const struct node *product = NULL;
    for (int i = 0; i < c->readers[p->id]; i++) {
        const struct node *y = reader_of(c, p, i);
        if (y->op == OP_MUL && product)
            return false;
        product = y->op == OP_MUL ? y : product;
    }
    if (!product)
        return !w->end[SENT_V];
    w->trained = true;
    const struct node *ds = sent_to_scores(c, w, p, product);
    return ds && find_sent(c, w, ds) && w->end[SENT_Q] && w->end[SENT_K] && w->end[SENT_V] &&
           rows(w->q) == rows(w->k) && columns(w->q) == columns(w->v);
}

/* Whether nothing else reads what lies inside, and the result comes before all that is sent back.
 */
static bool is_closed(const struct combiner *c, const struct whole *w)
{
    for (int end = SENT_Q; end < ENDS; end++)
        if (w->end[end] && w->end[end]->id < w->end[RESULT]->id)
            return false;
    for (int i = 0; i < w->insides; i++) {
        const struct node *node = w->inside[i];
        if (c->root[node->id])
            return false;
        for (int k = 0; k < c->readers[node->id]; k++) {
            const struct node *reader = reader_of(c, node, k);
            bool known = false;
            for (int j = 0; j < w->insides && !known; j++)
                known = w->inside[j] == reader;
            for (int j = 0; j < ENDS && !known; j++)
                known = w->end[j] == reader;
            if (!known)
                return false;
        }
    }
    return true;
}

/* Where x goes, scaled and with other leading axes at most, as one of three along the first; else
 * NULL. *from: the last before. */
static const struct node *joined_in(const struct combiner *c, const struct node *x,
                                    const struct node **from, double *scale)
{
    for (const struct node *y = only_reader(c, x); y; x = y, y = only_reader(c, x)) {
        *from = x;
        if (y->op == OP_CONCAT)
            return y->axis == 0 && y->sources == 3 && x->shape.rank > 2 && dim(x, 0) == 1 ? y
                                                                                          : NULL;
        if (!(y->op == OP_RESHAPE && keeps_matrices(y)) && !is_scale(y) &&
            !is_cast(y, DTYPE_BF16, DTYPE_F32))
            return NULL;
        *scale *= is_scale(y) ? y->affine.scale : 1;
    }
    return NULL;
}

/* Queries, keys and values may be parts of one tensor: what is sent back to it is one, too. */
static void gather(const struct combiner *c, struct whole *w)
{
    const struct node *all = NULL;
    for (int i = 0; i < 3; i++) {
        const struct node *from;
        w->gathered[i] = 1;
        const struct node *y =
            w->turned[SENT_Q + i] ? NULL : joined_in(c, w->end[SENT_Q + i], &from, &w->gathered[i]);
        if (!y || y->src[i] != from || (i && y != all))
            return;
        all = y;
    }
    w->end[SENT_ALL] = all;
    w->end[SENT_Q] = w->end[SENT_K] = w->end[SENT_V] = NULL;
}

static void find_whole(struct combiner *c, const struct node *p)
{
    struct whole *w = arena_array(c->arena, struct whole, 1);
    const struct node *z = softmax_source(w, p), *weights = p;
    struct scores scores = { .scale = 1 };
    if (!z || !find_scores(c, z, 2, &scores))
        return;
    for (int i = 0; i < c->readers[p->id]; i++)
        if (is_cast(reader_of(c, p, i), DTYPE_F32, DTYPE_BF16))
            weights = reader_of(c, p, i);
    const struct node *qk = scores.product;
    w->half = weights != p;
    w->q = (struct factor){ qk->src[0], qk->transpose.a };
    w->k = (struct factor){ qk->src[1], !qk->transpose.b };
    w->scale = scores.scale;
    w->count = scores.count;
    memcpy(w->added, scores.added, sizeof w->added);
    if ((qk->dtype == DTYPE_BF16) != w->half || (w->half && !enter(w, weights)) ||
        !find_results(c, w, weights) || !find_gradient(c, w, p) || !is_closed(c, w))
        return;
    if (w->trained)
        gather(c, w);
    for (int end = 0; end < ENDS; end++) {
        if (!w->end[end])
            continue;
        struct attention_end *at = arena_array(c->arena, struct attention_end, 1);
        *at = (struct attention_end){ w, (enum end)end };
        c->ends[w->end[end]->id] = at;
    }
}

void attention_find(struct combiner *c, const struct graph *from)
{
    for (size_t id = 0; id < graph_size(from); id++)
        if (c->needed[id] && graph_node(from, id)->op == OP_DIV)
            find_whole(c, graph_node(from, id));
}

/* Making. */

/* Its copy; where it is of f32 but cast from bf16 and only moved since, that, moved alike: there is
 * no need for it to lie in memory a second time. */
static struct node *narrowest(struct combiner *c, const struct node *x)
{
    if (is_cast(x, DTYPE_BF16, DTYPE_F32))
        return c->image[x->src[0]->id];
    bool moved = x->op == OP_RESHAPE || x->op == OP_PERMUTE || x->op == OP_SLICE;
    struct node *from = moved ? narrowest(c, x->src[0]) : NULL;
    if (!from || from->dtype == x->dtype)
        return c->image[x->id];
    return make(c, x, x, 1, &from);
}

/* What a product takes, before it was cast and (where scale is asked for) scaled for it alone. */
static struct node *source_of(struct combiner *c, const struct node *x, double *scale)
{
    if (is_cast(x, DTYPE_F32, DTYPE_BF16))
        x = x->src[0];
    if (scale && is_scale(x) && is_inner(c, x, 1)) {
        *scale = x->affine.scale;
        x = x->src[0];
    }
    return narrowest(c, x);
}

/* In which order a reader that only permutes its axes wants them. */
static void ask_for_order(const struct combiner *c, const struct node *x, int *order)
{
    const struct node *y = only_reader(c, x);
    while (y && y->op == OP_CAST)
        y = only_reader(c, y);
    if (y && y->op == OP_PERMUTE && y->shape.rank == x->shape.rank)
        memcpy(order, y->permutation, sizeof y->permutation);
}

static struct node draft_of(const struct whole *w, enum op_id op, struct shape shape)
{
    struct node draft = { .op = op, .shape = shape };
    draft.attention.half = w->half;
    draft.attention.trained = w->trained;
    draft.attention.scale = w->scale * w->scale_of[0] * w->scale_of[1];
    draft.attention.turned = (w->q.turned ? ATTENTION_Q : 0u) | (w->k.turned ? ATTENTION_K : 0u) |
                             (w->v.turned ? ATTENTION_V : 0u);
    return draft;
}

static struct node *make_result(struct combiner *c, struct whole *w, const struct node *y)
{
    const struct node *factor[3] = { w->q.node, w->k.node, w->v.node };
    for (int i = 0; i < 3; i++) {
        w->scale_of[i] = 1;
        w->src[i] = source_of(c, factor[i], i < 2 ? &w->scale_of[i] : NULL);
    }
    struct node draft = draft_of(w, OP_ATTENTION, y->shape);
    draft.attention.turned |= w->turned[RESULT] ? ATTENTION_Y : 0u;
    if (!w->turned[RESULT])
        ask_for_order(c, y, draft.attention.order);
    struct node *src[3 + ATTENTION_ADDED] = { w->src[0], w->src[1], w->src[2] };
    for (int i = 0; i < w->count; i++)
        src[3 + i] = w->src[4 + i] = c->image[w->added[i]->id];
    struct node *whole = make(c, y, &draft, 3 + w->count, src);
    w->refused = !c->takes(whole);
    return w->refused ? NULL : whole;
}

static struct node *gradient(struct combiner *c, struct whole *w, const struct node *like,
                             struct node *draft)
{
    if (!w->src[3])
        w->src[3] = source_of(c, w->g.node, NULL);
    draft->attention.turned |= w->g.turned ? ATTENTION_Y : 0u;
    return make(c, like, draft, 4 + w->count, w->src);
}

/* To queries, keys and values at once, (3,…,tokens,width). */
static struct node *make_sent(struct combiner *c, struct whole *w, const struct node *like,
                              struct shape shape, const double *after)
{
    struct node draft = draft_of(w, OP_ATTENTION_GRADIENT, shape);
    for (int i = 0; i < 3; i++)
        draft.attention.factor[i] = (i < 2 ? w->scale_of[1 - i] : 1) * after[i];
    if (w->end[SENT_ALL])
        ask_for_order(c, like, draft.attention.order);
    return gradient(c, w, like, &draft);
}

static struct node *make_all(struct combiner *c, struct whole *w, const struct node *y)
{
    return cast(c, y, make_sent(c, w, y, y->shape, w->gathered), y->dtype);
}

/* One of three. */
static struct node *make_part(struct combiner *c, struct whole *w, const struct node *y,
                              enum end end)
{
    bool turned = w->turned[end];
    int rank = y->shape.rank, part = (int)(end - SENT_Q);
    struct shape one = y->shape;
    one.size[rank - 2] = dim(y, turned ? -1 : -2);
    one.size[rank - 1] = dim(y, turned ? -2 : -1);
    int64_t matrices = (int64_t)shape_count(one) / (dim(y, -1) * dim(y, -2));
    struct shape all = SHAPE(3, matrices, one.size[rank - 2], one.size[rank - 1]);
    if (!w->sent)
        w->sent = make_sent(c, w, y, all, (const double[3]){ 1, 1, 1 });
    struct node slice = { .op = OP_SLICE }, permute = { .op = OP_PERMUTE };
    for (int axis = 0; axis < all.rank; axis++)
        slice.bounds.end[axis] = axis ? all.size[axis] : part + 1;
    slice.bounds.begin[0] = part;
    struct node *x = reshaped(c, y, make(c, y, &slice, 1, &w->sent), one);
    for (int axis = 0; axis < rank; axis++)
        permute.permutation[axis] = axis < rank - 2 ? axis : 2 * rank - 3 - axis;
    return turned ? make(c, y, &permute, 1, &x) : x;
}

/* dS summed over groups: in parts of some groups each, which are then added. */
static struct node *make_sent_to_added(struct combiner *c, struct whole *w, const struct node *y)
{
    const struct node *ds = y->src[0];
    int rank = ds->shape.rank, first = 0;
    int64_t groups = 1;
    for (; y->axes >> first & 1; first++)
        groups *= ds->shape.size[first];
    struct shape parts = { .rank = rank - first + 1,
                           .size = { (groups + KEPT_GROUPS - 1) / KEPT_GROUPS } };
    memcpy(parts.size + 1, ds->shape.size + first, (size_t)(rank - first) * sizeof *parts.size);
    struct node draft = draft_of(w, OP_ATTENTION_ADDED_GRADIENT, parts);
    draft.attention.groups = (int)groups;
    struct node *x = gradient(c, w, y, &draft);
    if (parts.size[0] > 1)
        x = make(c, y, &(struct node){ .op = OP_SUM, .axes = 1 }, 1, &x);
    return reshaped(c, y, x, y->shape);
}

static struct node *make_q(struct combiner *c, struct whole *w, const struct node *y)
{
    return make_part(c, w, y, SENT_Q);
}

static struct node *make_k(struct combiner *c, struct whole *w, const struct node *y)
{
    return make_part(c, w, y, SENT_K);
}

static struct node *make_v(struct combiner *c, struct whole *w, const struct node *y)
{
    return make_part(c, w, y, SENT_V);
}

struct node *attention_image(struct combiner *c, const struct node *node)
{
    static struct node *(*const makers[ENDS])(struct combiner * c, struct whole * w,
                                              const struct node *y) = {
        [RESULT] = make_result, [SENT_Q] = make_q,     [SENT_K] = make_k,
        [SENT_V] = make_v,      [SENT_ALL] = make_all, [SENT_ADDED] = make_sent_to_added,
    };
    const struct attention_end *end = c->ends[node->id];
    return end && !end->whole->refused ? makers[end->which](c, end->whole, node) : NULL;
}
