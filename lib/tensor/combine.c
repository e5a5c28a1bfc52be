/* Combining; see combine.h.
 *
 * Nodes are copied in the order of their ids. Where one ends a pattern, the combined node is made
 * from the copies of the pattern's sources instead; what is left of the pattern is read by nothing,
 * so that lowering never sees it.
 */
#include "tensor/combine.h"

#include <string.h>

enum { ADDED_MOST = ATTENTION_ADDED };

struct combiner {
    struct graph *graph; /* the new one */
    bool (*takes)(const struct node *node);
    struct node **image;
    bool *needed, *root;
    bool *addressed; /* read by something that no loop does */
    int *readers;
};

static void count_readers(struct combiner *c, const struct graph *from)
{
    for (size_t id = graph_size(from); id-- > 0;) {
        const struct node *node = graph_node(from, id);
        bool moved = node->op == OP_BROADCAST || node->op == OP_PERMUTE || node->op == OP_SLICE ||
                     node->op == OP_FLIP || (node->op == OP_RESHAPE && c->addressed[id]);
        for (int i = 0; c->needed[id] && i < node->sources; i++) {
            int source = node->src[i]->id;
            c->needed[source] = true;
            c->readers[source]++;
            c->addressed[source] |= moved || ops[node->op].kind == KIND_MATRIX;
        }
    }
}

static bool is_scale(const struct node *node)
{
    return node->op == OP_SCALE && node->affine.shift == 0;
}

static bool is_cast(const struct node *node, enum dtype from, enum dtype to)
{
    return node->op == OP_CAST && node->dtype == to && node->src[0]->dtype == from;
}

/* Whether nobody but `readers` nodes would miss it. */
static bool is_inner(const struct combiner *c, const struct node *node, int readers)
{
    return !c->root[node->id] && c->readers[node->id] == readers;
}

static struct node *make(struct combiner *c, const struct node *like, const struct node *draft,
                         int sources, struct node *const *src)
{
    (void)graph_set_scope(c->graph, like->scope);
    return node_add(c->graph, like->site, draft, sources, src);
}

static struct node *reshaped(struct combiner *c, const struct node *like, struct node *x,
                             struct shape shape)
{
    struct node draft = { .op = OP_RESHAPE, .shape = shape };
    return shape_equal(x->shape, shape) ? x : make(c, like, &draft, 1, &x);
}

static struct node *cast(struct combiner *c, const struct node *like, struct node *x,
                         enum dtype dtype)
{
    struct node draft = { .op = OP_CAST, .dtype = dtype };
    return x->dtype == dtype ? x : make(c, like, &draft, 1, &x);
}

/* Linear layers. */

/* A parameter or input that is spread along all axes but the last; else NULL. */
static const struct node *spread_vector(const struct node *x)
{
    const struct node *row = x->op == OP_BROADCAST ? x->src[0] : x;
    int last = x->shape.rank - 1;
    if (row->shape.size[last] != x->shape.size[last] ||
        (int64_t)shape_count(row->shape) != x->shape.size[last])
        return NULL;
    while (row->op == OP_RESHAPE)
        row = row->src[0];
    return row->op == OP_PARAMETER || row->op == OP_INPUT ? row : NULL;
}

/* The product of two matrices that x is, reshaped and cast at most; else NULL. */
static const struct node *plain_product(const struct combiner *c, const struct node *x)
{
    int64_t columns = dim(x, -1);
    for (; is_inner(c, x, 1); x = x->src[0]) {
        if (x->op == OP_MATMUL)
            return x->shape.rank == 2 && dim(x, -1) == columns ? x : NULL;
        if (x->op != OP_RESHAPE && !is_cast(x, DTYPE_BF16, DTYPE_F32))
            return NULL;
    }
    return NULL;
}

/* A bias after a product, where the sum must have memory anyway. What is read from outside keeps
 * its full precision, so there a bf16 product stays by itself. */
static struct node *linear(struct combiner *c, const struct node *y)
{
    if (y->op != OP_ADD || y->shape.rank < 2 || !c->addressed[y->id])
        return NULL;
    for (int i = 0; i < 2; i++) {
        const struct node *product = plain_product(c, y->src[i]),
                          *bias = spread_vector(y->src[1 - i]);
        if (!product || !bias || (product->dtype == DTYPE_BF16 && c->root[y->id]))
            continue;
        struct node draft = { .op = OP_LINEAR, .transpose = product->transpose };
        struct node *vector =
            reshaped(c, y, c->image[bias->id], SHAPE((int64_t)shape_count(bias->shape)));
        struct node *src[3] = { c->image[product->src[0]->id], c->image[product->src[1]->id],
                                cast(c, y, vector, product->dtype) };
        struct node *sum = make(c, y, &draft, 3, src);
        if (c->takes(sum))
            return reshaped(c, y, cast(c, y, sum, y->dtype), y->shape);
    }
    return NULL;
}

/* Attention. */

/* Scores as found: scale·product + added. */
struct scores {
    const struct node *product, *added[ADDED_MOST];
    int count;
    bool scaled; /* a factor was found */
    double scale;
};

static bool keeps_matrices(const struct node *x)
{
    const struct node *from = x->src[0];
    return x->shape.rank >= 2 && from->shape.rank >= 2 && dim(x, -1) == dim(from, -1) &&
           dim(x, -2) == dim(from, -2);
}

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
    if (x->op != OP_ADD || found->count == ADDED_MOST || found->scaled)
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
static const struct node *row_reduction(const struct combiner *c, const struct node *x,
                                        enum op_id op)
{
    if (x->op != OP_BROADCAST || !is_inner(c, x, 1) || x->src[0]->op != op ||
        !is_inner(c, x->src[0], 1))
        return NULL;
    const struct node *reduction = x->src[0];
    return reduction->axes == 1u << (reduction->shape.rank - 1) ? reduction->src[0] : NULL;
}

/* exp(z − max z) / Σ exp(z − max z) along the last axis: z, which two nodes read; else NULL. */
static const struct node *softmax_source(const struct combiner *c, const struct node *y)
{
    if (y->op != OP_DIV || !is_inner(c, y, 1))
        return NULL;
    const struct node *e = y->src[0];
    if (e->op != OP_EXP || !is_inner(c, e, 2) || row_reduction(c, y->src[1], OP_SUM) != e)
        return NULL;
    const struct node *shifted = e->src[0];
    if (shifted->op != OP_SUB || !is_inner(c, shifted, 1) ||
        row_reduction(c, shifted->src[1], OP_MAX) != shifted->src[0])
        return NULL;
    return shifted->src[0];
}

/* What a product takes, before it was cast and (where *scale is asked for) scaled for it alone. */
static struct node *factor(const struct combiner *c, const struct node *x, double *scale)
{
    if (is_cast(x, DTYPE_F32, DTYPE_BF16))
        x = x->src[0];
    if (scale && is_scale(x) && is_inner(c, x, 1)) {
        *scale *= x->affine.scale;
        x = x->src[0];
    }
    return c->image[x->id];
}

/* The weights that y's source i is, cast at most, and their scores. */
static bool find_weights(const struct combiner *c, const struct node *y, int i,
                         struct scores *found)
{
    const struct node *weights = y->src[i];
    if (is_cast(weights, DTYPE_F32, DTYPE_BF16) && is_inner(c, weights, 1))
        weights = weights->src[0];
    const struct node *z = softmax_source(c, weights);
    *found = (struct scores){ .scale = 1 };
    return z && find_scores(c, z, 2, found) && found->product->dtype == y->dtype;
}

/* weights·v, or its transpose vᵀ·weightsᵀ, as the official networks write it. */
static struct node *attention(struct combiner *c, const struct node *y)
{
    struct scores found;
    if (y->op != OP_MATMUL)
        return NULL;
    for (int i = 0; i < 2; i++) {
        bool turned = i == 1, v_turned = turned ? !y->transpose.a : y->transpose.b;
        if ((turned ? !y->transpose.b : y->transpose.a) || !find_weights(c, y, i, &found))
            continue;
        const struct node *qk = found.product;
        struct node draft = { .op = OP_ATTENTION, .shape = y->shape };
        draft.attention.half = y->dtype == DTYPE_BF16;
        draft.attention.turned = (qk->transpose.a ? ATTENTION_Q : 0u) |
                                 (qk->transpose.b ? 0u : ATTENTION_K) |
                                 (v_turned ? ATTENTION_V : 0u) | (turned ? ATTENTION_Y : 0u);
        struct node *src[3 + ADDED_MOST] = { factor(c, qk->src[0], &found.scale),
                                             factor(c, qk->src[1], &found.scale),
                                             factor(c, y->src[1 - i], NULL) };
        draft.attention.scale = found.scale;
        for (int k = 0; k < found.count; k++)
            src[3 + k] = c->image[found.added[k]->id];
        struct node *whole = make(c, y, &draft, 3 + found.count, src);
        if (c->takes(whole))
            return whole;
    }
    return NULL;
}

static struct node *copied(struct combiner *c, struct arena *arena, const struct node *node)
{
    struct node **src = arena_array(arena, struct node *, (size_t)node->sources);
    for (int i = 0; i < node->sources; i++)
        src[i] = c->image[node->src[i]->id];
    return make(c, node, node, node->sources, src);
}

struct graph *combine_graph(struct arena *arena, const struct graph *from, struct node **roots,
                            size_t count, bool (*takes)(const struct node *node),
                            struct node ***image)
{
    size_t nodes = graph_size(from);
    struct combiner c = { .graph = graph_new(), .takes = takes };
    c.image = arena_array(arena, struct node *, nodes);
    c.needed = arena_array(arena, bool, nodes);
    c.root = arena_array(arena, bool, nodes);
    c.addressed = arena_array(arena, bool, nodes);
    c.readers = arena_array(arena, int, nodes);
    for (size_t i = 0; i < count; i++)
        c.needed[roots[i]->id] = c.root[roots[i]->id] = c.addressed[roots[i]->id] = true;
    count_readers(&c, from);
    for (size_t id = 0; id < nodes; id++) {
        const struct node *node = graph_node(from, id);
        if (!c.needed[id])
            continue;
        c.image[id] = linear(&c, node);
        if (!c.image[id])
            c.image[id] = attention(&c, node);
        if (!c.image[id])
            c.image[id] = copied(&c, arena, node);
    }
    for (size_t i = 0; i < count; i++)
        roots[i] = c.image[roots[i]->id];
    *image = c.image;
    return c.graph;
}
