/* Rewriting; see rewrite.h.
 *
 * Nodes are copied in the order of their ids. Each new node first meets the rules, which may
 * give something simpler, then a hash table of all nodes so far, which gives back an equal one.
 * Rules only ever use new nodes, so what they make is simplified and shared as well.
 *
 * What the rules are for: gradients of normalisation sum products of which one factor is constant
 * along the summed axes; taken out, such sums become equal to one another and are made once. So a
 * normalisation and its gradient take four passes over the image: mean, variance, two sums, result.
 * Gradients of leaky ReLU arrive as two selections that are one, those of slices as sums of what
 * is zero but for a part.
 */
#include "tensor/rewrite.h"

#include <stdlib.h>
#include <string.h>

enum { FACTORS_MAX = 8 };

struct rewriter {
    struct graph *graph;
    struct arena *arena;
    const struct mixed *mixed;
    struct node **table; /* open addressing, capacity a power of two */
    size_t capacity, count;
};

static struct node *make(struct rewriter *r, const struct node *like, const struct node *draft,
                         int sources, struct node *const *src);

/* Sharing. */

static uint64_t mix(uint64_t hash, const void *bytes, size_t count)
{
    const unsigned char *byte = bytes;
    for (size_t i = 0; i < count; i++)
        hash = (hash ^ byte[i]) * 0x100000001b3u;
    return hash;
}

/* A leaf that stands for itself alone: drawn or bound by name. */
static bool is_unique(const struct node *node)
{
    return node->op == OP_INPUT || node->op == OP_PARAMETER || node->op == OP_NORMAL ||
           node->op == OP_UNIFORM;
}

static const void *attributes(const struct node *node)
{
    return &node->affine;
}

static uint64_t hash_node(const struct node *node)
{
    uint64_t hash = 0xcbf29ce484222325u;
    hash = mix(hash, &node->op, sizeof node->op);
    hash = mix(hash, &node->dtype, sizeof node->dtype);
    hash = mix(hash, node->shape.size, (size_t)node->shape.rank * sizeof *node->shape.size);
    for (int i = 0; i < node->sources; i++)
        hash = mix(hash, &node->src[i]->id, sizeof node->src[i]->id);
    return mix(hash, attributes(node), ops[node->op].attribute_bytes);
}

static bool same_node(const struct node *a, const struct node *b)
{
    bool same = a->op == b->op && a->dtype == b->dtype && shape_equal(a->shape, b->shape) &&
                a->sources == b->sources &&
                memcmp(attributes(a), attributes(b), ops[a->op].attribute_bytes) == 0;
    for (int i = 0; same && i < a->sources; i++)
        same = a->src[i] == b->src[i];
    return same;
}

static void insert(struct rewriter *r, struct node *node)
{
    size_t at = hash_node(node) & (r->capacity - 1);
    while (r->table[at])
        at = (at + 1) & (r->capacity - 1);
    r->table[at] = node;
}

static void grow(struct rewriter *r)
{
    struct node **old = r->table;
    size_t capacity = r->capacity;
    r->capacity *= 2;
    r->table = arena_array(r->arena, struct node *, r->capacity);
    for (size_t i = 0; i < capacity; i++)
        if (old[i])
            insert(r, old[i]);
}

static struct node *shared(struct rewriter *r, struct node *node)
{
    if (is_unique(node))
        return node;
    size_t at = hash_node(node) & (r->capacity - 1);
    for (; r->table[at]; at = (at + 1) & (r->capacity - 1))
        if (same_node(r->table[at], node))
            return r->table[at];
    if (++r->count * 2 > r->capacity)
        grow(r);
    insert(r, node);
    return node;
}

/* Rules. Each gives the simpler node, or NULL where it does not apply. */

static struct node *make_scale(struct rewriter *r, const struct node *like, struct node *x,
                               double scale)
{
    double value;
    struct node draft = { .op = OP_SCALE, .affine = { scale, 0 } };
    if (node_is_full(x, &value)) {
        struct node full = { .op = OP_CONSTANT, .dtype = x->dtype, .shape = x->shape };
        full.constant.fill = value * scale;
        return make(r, like, &full, 0, NULL);
    }
    return scale == 1 ? x : make(r, like, &draft, 1, &x);
}

static struct node *make_binary(struct rewriter *r, const struct node *like, enum op_id op,
                                struct node *a, struct node *b)
{
    return make(r, like, &(struct node){ .op = op }, 2, (struct node *[]){ a, b });
}

static struct node *make_sum(struct rewriter *r, const struct node *like, struct node *x,
                             unsigned axes)
{
    return make(r, like, &(struct node){ .op = OP_SUM, .axes = axes }, 1, &x);
}

/* Whether x repeats one value along each of the axes. */
static bool repeats_along(const struct node *x, unsigned axes)
{
    if (x->op != OP_BROADCAST)
        return false;
    for (int axis = 0; axis < x->shape.rank; axis++)
        if (axes >> axis & 1 && x->src[0]->shape.size[axis] != 1)
            return false;
    return true;
}

/* What x, which repeats along the axes, is when these are reduced to 1. */
static struct node *without_axes(struct rewriter *r, const struct node *like, struct node *x,
                                 unsigned axes)
{
    struct shape shape = shape_reduced(x->shape, axes);
    if (shape_equal(x->src[0]->shape, shape))
        return x->src[0];
    return make(r, like, &(struct node){ .op = OP_BROADCAST, .shape = shape }, 1, &x->src[0]);
}

/* Σ a·x = a·Σ x for a number a. */
static struct node *sum_of_scaled(struct rewriter *r, const struct node *y)
{
    struct node *x = y->src[0];
    if (x->op != OP_SCALE || x->affine.shift != 0)
        return NULL;
    return make_scale(r, y, make_sum(r, y, x->src[0], y->axes), x->affine.scale);
}

/* The factors of a product, itself where it is none. */
static void list_factors(struct node *x, struct node **factor, int *count)
{
    if (x->op != OP_MUL || *count + 2 > FACTORS_MAX) {
        factor[(*count)++] = x;
        return;
    }
    list_factors(x->src[0], factor, count);
    list_factors(x->src[1], factor, count);
}

static struct node *sum_of_quotient(struct rewriter *r, const struct node *y)
{
    struct node *x = y->src[0];
    if (x->op != OP_DIV || !repeats_along(x->src[1], y->axes))
        return NULL;
    struct node *sum = make_sum(r, y, x->src[0], y->axes);
    return make_binary(r, y, OP_DIV, sum, without_axes(r, y, x->src[1], y->axes));
}

/* Σ a·b·c… = a·Σ b·c… where a is constant along the summed axes. */
static struct node *sum_of_product(struct rewriter *r, const struct node *y)
{
    struct node *factor[FACTORS_MAX], *varying = NULL, *constant = NULL;
    int count = 0;
    if (y->src[0]->op != OP_MUL)
        return NULL;
    list_factors(y->src[0], factor, &count);
    for (int i = 0; i < count; i++) {
        bool repeats = repeats_along(factor[i], y->axes);
        struct node **product = repeats ? &constant : &varying;
        struct node *x = repeats ? without_axes(r, y, factor[i], y->axes) : factor[i];
        *product = *product ? make_binary(r, y, OP_MUL, *product, x) : x;
    }
    if (!constant || !varying)
        return NULL;
    return make_binary(r, y, OP_MUL, make_sum(r, y, varying, y->axes), constant);
}

/* Whether a sum of x along the axes is one of less than x, or of several such: a factor leaves it.
 */
static bool falls_apart(struct node *x, unsigned axes)
{
    struct node *factor[FACTORS_MAX];
    int count = 0;
    if (x->op == OP_SCALE && x->affine.shift == 0)
        return falls_apart(x->src[0], axes);
    if (x->op == OP_ADD || x->op == OP_SUB)
        return falls_apart(x->src[0], axes) && falls_apart(x->src[1], axes);
    list_factors(x, factor, &count);
    for (int i = 0; i < count; i++)
        if (repeats_along(factor[i], axes))
            return true;
    return false;
}

/* Σ (a·x + b·y) = a·Σ x + b·Σ y: what normalisation sends back through its mean is made of sums
 * that are there already. */
static struct node *sum_of_terms(struct rewriter *r, const struct node *y)
{
    struct node *x = y->src[0];
    if ((x->op != OP_ADD && x->op != OP_SUB) || !falls_apart(x, y->axes))
        return NULL;
    return make_binary(r, y, x->op, make_sum(r, y, x->src[0], y->axes),
                       make_sum(r, y, x->src[1], y->axes));
}

/* a + a = 2·a. */
static struct node *sum_of_twins(struct rewriter *r, const struct node *y)
{
    return y->src[0] == y->src[1] ? make_scale(r, y, y->src[0], 2) : NULL;
}

/* Σ over images and pixels = Σ over images of Σ over pixels: the inner sums are those that
 * normalisation needs anyway, or share its pass; the outer ones are small. */
static struct node *sum_over_images(struct rewriter *r, const struct node *y)
{
    struct node *x = y->src[0];
    unsigned images = 1u << 0, channels = 1u << 1, pixels = 1u << 2 | 1u << 3;
    if (x->shape.rank != 4 || !(y->axes & images) || y->axes & channels || !(y->axes & pixels))
        return NULL;
    return make_sum(r, y, make_sum(r, y, x, y->axes & pixels), images);
}

/* x·(a·y) = a·(x·y): numbers float up, to where sums and selections can use them. */
static struct node *product_of_scaled(struct rewriter *r, const struct node *y)
{
    for (int i = 0; i < 2; i++) {
        struct node *x = y->src[i], *other = y->src[1 - i];
        if (x->op == OP_SCALE && x->affine.shift == 0)
            return make_scale(r, y, make_binary(r, y, OP_MUL, x->src[0], other), x->affine.scale);
    }
    return NULL;
}

static struct node *scale_of_scaled(struct rewriter *r, const struct node *y)
{
    struct node *x = y->src[0];
    if (x->op != OP_SCALE)
        return NULL;
    double a = y->affine.scale, b = y->affine.shift;
    struct node draft = { .op = OP_SCALE,
                          .affine = { a * x->affine.scale, a * x->affine.shift + b } };
    return draft.affine.scale == 1 && draft.affine.shift == 0 ? x->src[0]
                                                              : make(r, y, &draft, 1, x->src);
}

static bool is_zeros(const struct node *x)
{
    double value;
    return node_is_full(x, &value) && value == 0;
}

/* where(c, a, 0) + s·where(c, 0, b) = where(c, a, s·b): what leaky ReLU's two branches send back.
 */
static struct node *sum_of_selections(struct rewriter *r, const struct node *y)
{
    for (int i = 0; i < 2; i++) {
        struct node *first = y->src[i], *second = y->src[1 - i];
        double scale = 1;
        if (second->op == OP_SCALE && second->affine.shift == 0) {
            scale = second->affine.scale;
            second = second->src[0];
        }
        if (first->op != OP_WHERE || second->op != OP_WHERE || first->src[0] != second->src[0])
            continue;
        for (int side = 1; side <= 2; side++) {
            if (!is_zeros(first->src[3 - side]) || !is_zeros(second->src[side]))
                continue;
            struct node *src[3] = { first->src[0] };
            src[side] = first->src[side];
            src[3 - side] = make_scale(r, y, second->src[3 - side], scale);
            return make(r, y, &(struct node){ .op = OP_WHERE }, 3, src);
        }
    }
    return NULL;
}

/* The axis along which the content of `second` begins where that of `first` ends, all else being
 * equal; -1: none. */
static int neighbours_along(const struct node *first, const struct node *second)
{
    int axis = -1;
    for (int i = 0; i < first->shape.rank; i++) {
        if (first->bounds.begin[i] == second->bounds.begin[i] &&
            first->bounds.end[i] == second->bounds.end[i])
            continue;
        if (axis >= 0 || first->shape.size[i] - first->bounds.end[i] != second->bounds.begin[i])
            return -1;
        axis = i;
    }
    return axis;
}

/* Two tensors one after the other; what is joined along the axis already, with its parts. */
static struct node *joined(struct rewriter *r, const struct node *like, struct node *first,
                           struct node *second, int axis)
{
    struct node *const both[2] = { first, second };
    struct node **part =
        arena_array(r->arena, struct node *, (size_t)(first->sources + second->sources + 2));
    int count = 0;
    for (int i = 0; i < 2; i++) {
        bool parts = both[i]->op == OP_CONCAT && both[i]->axis == axis;
        for (int k = 0; k < (parts ? both[i]->sources : 1); k++)
            part[count++] = parts ? both[i]->src[k] : both[i];
    }
    return make(r, like, &(struct node){ .op = OP_CONCAT, .axis = axis }, count, part);
}

/* pad(a) + pad(b) = pad(concat(a, b)) where one ends and the other begins: what slices of one
 * tensor send back is written to its place, instead of zeros around each and a sum. */
static struct node *sum_of_neighbours(struct rewriter *r, const struct node *y)
{
    for (int i = 0; i < 2; i++) {
        struct node *first = y->src[i], *second = y->src[1 - i];
        int axis =
            first->op == OP_PAD && second->op == OP_PAD ? neighbours_along(first, second) : -1;
        if (axis < 0)
            continue;
        struct node *both = joined(r, y, first->src[0], second->src[0], axis);
        struct node pad = { .op = OP_PAD, .bounds = first->bounds };
        pad.bounds.end[axis] = second->bounds.end[axis];
        return shape_equal(both->shape, y->shape) ? both : make(r, y, &pad, 1, &both);
    }
    return NULL;
}

static struct node *pad_of_padded(struct rewriter *r, const struct node *y)
{
    struct node *x = y->src[0], pad = { .op = OP_PAD, .bounds = y->bounds };
    if (x->op != OP_PAD)
        return NULL;
    for (int axis = 0; axis < x->shape.rank; axis++) {
        pad.bounds.begin[axis] += x->bounds.begin[axis];
        pad.bounds.end[axis] += x->bounds.end[axis];
    }
    return make(r, y, &pad, 1, x->src);
}

static struct node *cast_of_number(struct rewriter *r, const struct node *y)
{
    double value;
    struct node *x = y->src[0];
    if (x->dtype == y->dtype)
        return x;
    if (x->op == OP_CAST && x->dtype == DTYPE_F32 && x->src[0]->dtype == y->dtype)
        return x->src[0]; /* there and back */
    if (y->dtype != DTYPE_F32 || !node_is_full(y->src[0], &value))
        return NULL;
    struct node full = { .op = OP_CONSTANT, .dtype = y->dtype, .shape = y->shape };
    full.constant.fill = value;
    return make(r, y, &full, 0, NULL);
}

static struct node *reshape_of_reshape(struct rewriter *r, const struct node *y)
{
    struct node *x = y->src[0];
    if (shape_equal(x->shape, y->shape))
        return x;
    if (x->op != OP_RESHAPE)
        return NULL;
    return make(r, y, &(struct node){ .op = OP_RESHAPE, .shape = y->shape }, 1, x->src);
}

static struct node *moved_number(struct rewriter *r, const struct node *y)
{
    double value;
    if (!node_is_full(y->src[0], &value))
        return NULL;
    struct node full = { .op = OP_CONSTANT, .dtype = y->dtype, .shape = y->shape };
    full.constant.fill = value;
    return make(r, y, &full, 0, NULL);
}

static struct node *detached(struct rewriter *r, const struct node *y)
{
    (void)r;
    return y->src[0];
}

/* Σ b·(Σ x over channels) over pixels = Σ b·x over both: in the pass that makes x. So noise that is
 * added to all channels gets its gradient. */
static struct node *sum_of_channel_sum(struct rewriter *r, const struct node *y)
{
    unsigned channels = 1u << 1, pixels = 1u << 2 | 1u << 3;
    struct node *x = y->src[0];
    if (x->op != OP_MUL || x->shape.rank != 4 || (y->axes & pixels) != pixels)
        return NULL;
    int inner = x->src[0]->op == OP_SUM && x->src[0]->axes == channels ? 0 : 1;
    if (x->src[inner]->op != OP_SUM || x->src[inner]->axes != channels)
        return NULL;
    struct node *whole = x->src[inner]->src[0], *factor = x->src[1 - inner];
    struct node spread = { .op = OP_BROADCAST, .shape = whole->shape };
    factor = make(r, y, &spread, 1, &factor);
    struct node *sum = make_sum(r, y, make_binary(r, y, OP_MUL, whole, factor), pixels);
    return make_sum(r, y, sum, (y->axes & ~pixels) | channels);
}

static const struct rule {
    enum op_id op;
    struct node *(*apply)(struct rewriter *r, const struct node *y);
} rules[] = {
    { OP_DETACH, detached },
    { OP_SUM, sum_of_scaled },
    { OP_SUM, sum_of_quotient },
    { OP_SUM, sum_over_images },
    { OP_SUM, sum_of_channel_sum },
    { OP_SUM, sum_of_product },
    { OP_SUM, sum_of_terms },
    { OP_MUL, product_of_scaled },
    { OP_SCALE, scale_of_scaled },
    { OP_ADD, sum_of_selections },
    { OP_ADD, sum_of_twins },
    { OP_ADD, sum_of_neighbours },
    { OP_PAD, pad_of_padded },
    { OP_CAST, cast_of_number },
    { OP_RESHAPE, reshape_of_reshape },
    { OP_RESHAPE, moved_number },
    { OP_BROADCAST, moved_number },
    { OP_PERMUTE, moved_number },
    { OP_SLICE, moved_number },
    { OP_FLIP, moved_number },
};

static struct node *simplified(struct rewriter *r, struct node *node)
{
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        struct node *better = rules[i].op == node->op ? rules[i].apply(r, node) : NULL;
        if (better)
            return better;
    }
    return shared(r, node);
}

/* A node like the draft, in the layer and at the site of `like`. Sources that may change places
 * stand by age, so that a·b and b·a are equal. */
static struct node *make(struct rewriter *r, const struct node *like, const struct node *draft,
                         int sources, struct node *const *src)
{
    graph_set_scope(r->graph, like->scope);
    struct node *const swapped[2] = { sources == 2 ? src[1] : NULL, sources == 2 ? src[0] : NULL };
    if ((draft->op == OP_ADD || draft->op == OP_MUL) && src[0]->id > src[1]->id)
        src = swapped;
    return simplified(r, node_add(r->graph, like->site, draft, sources, src));
}

static struct node *make_cast(struct rewriter *r, const struct node *like, struct node *x,
                              enum dtype dtype)
{
    struct node draft = { .op = OP_CAST, .dtype = dtype };
    return x->dtype == dtype ? x : make(r, like, &draft, 1, &x);
}

/* Filters and warps work on what lies in memory as bf16 without being cast first. */
static bool filters_bf16(const struct rewriter *r, const struct node *node, struct node *const *src)
{
    bool resamples = node->op == OP_UPFIRDN || node->op == OP_WARP || node->op == OP_WARP_DX;
    return r->mixed->precision == PRECISION_BF16 && resamples && src[0]->op == OP_CAST &&
           src[0]->dtype == DTYPE_F32 && src[0]->src[0]->dtype == DTYPE_BF16;
}

/* The node's copy over the new sources, in the precision asked for. */
static struct node *copy_node(struct rewriter *r, const struct node *node, struct node **src)
{
    bool filter = filters_bf16(r, node, src);
    if (!filter && !precision_casts(r->mixed, node))
        return make(r, node, node, node->sources, src);
    for (int i = 0; i < (filter ? 1 : node->sources); i++)
        src[i] = make_cast(r, node, src[i], DTYPE_BF16);
    struct node *half = make(r, node, node, node->sources, src);
    return make_cast(r, node, half, DTYPE_F32);
}

static bool *mark_needed(struct arena *arena, const struct graph *graph, struct node *const *roots,
                         size_t count)
{
    size_t nodes = graph_size(graph);
    bool *needed = arena_array(arena, bool, nodes);
    for (size_t i = 0; i < count; i++)
        needed[roots[i]->id] = true;
    for (size_t id = nodes; id-- > 0;) {
        const struct node *node = graph_node(graph, id);
        for (int i = 0; needed[id] && i < node->sources; i++)
            needed[node->src[i]->id] = true;
    }
    return needed;
}

struct graph *rewrite_graph(struct arena *arena, struct node *const *roots, size_t count,
                            const struct mixed *mixed, struct node ***image)
{
    const struct graph *from = roots[0]->graph;
    struct rewriter r = { .graph = graph_new(), .arena = arena, .mixed = mixed, .capacity = 1024 };
    r.table = arena_array(arena, struct node *, r.capacity);
    bool *needed = mark_needed(arena, from, roots, count);
    struct node **to = arena_array(arena, struct node *, graph_size(from));
    size_t src_capacity = 0;
    struct node **src = NULL;
    for (size_t id = 0; id < graph_size(from); id++) {
        const struct node *node = graph_node(from, id);
        if (!needed[id])
            continue;
        if (src_capacity < (size_t)node->sources) {
            src_capacity = (size_t)node->sources;
            src = memory_grow(src, src_capacity, sizeof *src);
        }
        for (int i = 0; i < node->sources; i++)
            src[i] = to[node->src[i]->id];
        to[id] = copy_node(&r, node, src);
    }
    free(src);
    *image = to;
    return r.graph;
}
