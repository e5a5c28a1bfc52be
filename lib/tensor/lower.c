/* Lowering; see lower.h.
 *
 * Elementwise nodes are virtual unless there is a reason for memory: a matrix op, a slice or a
 * broadcast reads them; their expression grew too long; or several jobs read them and computing
 * them anew in each would read more full-size values than the one it saves. Gradients then
 * recompute activations from the convolution's result instead of keeping them, which is most of
 * what this engine saves in memory and traffic.
 */
#include "tensor/lower.h"

#include "base/arena.h"
#include "tensor/filtered.h"

#include <string.h>

enum { COST_RECOMPUTED = 24, COST_LONGEST = 64, COST_TRANSCENDENTAL = 4, MANY_LOADS = 3 };
enum { FAR_JOBS = 24, REMADE_ELEMENTS = 1 << 16 };

static bool is_number(const struct node *node)
{
    double value;
    return node_is_full(node, &value);
}

static bool is_elementwise(const struct node *node)
{
    return ops[node->op].kind == KIND_ELEMENTWISE || node->op == OP_RESHAPE || is_number(node);
}

static bool is_view_op(const struct node *node)
{
    return node->op == OP_BROADCAST || node->op == OP_PERMUTE || node->op == OP_SLICE ||
           node->op == OP_FLIP;
}

static bool is_leaf(const struct node *node)
{
    return node->op == OP_INPUT || node->op == OP_PARAMETER ||
           (node->op == OP_CONSTANT && !is_number(node));
}

static bool is_joined(const struct node *node)
{
    return node->op == OP_CONCAT || node->op == OP_PAD;
}

/* Computes an image from another of any type, by a filter or a matrix that is f32. */
static bool is_resampling(const struct node *node)
{
    return node->op == OP_UPFIRDN || node->op == OP_WARP || node->op == OP_WARP_DX ||
           node->op == OP_FILTERED;
}

/* Takes and gives matrices, which lie as they are, rather than images. */
static bool is_product(const struct node *node)
{
    return node->op == OP_MATMUL || node->op == OP_LINEAR || op_is_attention(node->op);
}

static bool is_weight(const struct node *reader, int source)
{
    return source == 1 && (reader->op == OP_CONV || reader->op == OP_CONV_DX);
}

static bool is_reduction(const struct node *node)
{
    return ops[node->op].kind == KIND_REDUCTION;
}

bool lower_is_inline(const struct lowering *l, const struct node *node)
{
    return is_number(node) || l->values[node->id].virtual;
}

static struct value *value_of(const struct lowering *l, const struct node *node)
{
    return &l->values[node->id];
}

/* Sweep 1, down: what is needed, and what must have memory. */

static void address_sources(struct lowering *l, const struct node *node)
{
    bool matrix = ops[node->op].kind == KIND_MATRIX;
    for (int i = 0; i < node->sources; i++) {
        struct value *source = value_of(l, node->src[i]);
        bool weight = is_weight(node, i);
        source->needed = true;
        source->readers++;
        source->weights += weight;
        source->addressed |= matrix || is_view_op(node);
        source->image |= matrix && !is_product(node) && !weight && node->shape.rank == 4 &&
                         source->node->shape.rank == 4;
    }
}

static void sweep_needs(struct lowering *l)
{
    for (size_t id = l->count; id-- > 0;) {
        struct value *value = &l->values[id];
        if (!value->needed)
            continue;
        address_sources(l, value->node);
        if (value->node->op == OP_RESHAPE && value->addressed)
            value_of(l, value->node->src[0])->addressed = true;
    }
}

/* A loop has room for this many, and for what it writes. A sum of as many numbers (a norm over all
 * gradients) reaches it. */
enum { READS_MOST = LOOP_OPERANDS - 8 };

/* Sweep 2, up: what an expression costs, and how far it can be cut. */

static int own_cost(const struct node *node)
{
    static const enum op_id costly[] = { OP_EXP,  OP_LOG,     OP_SIN,      OP_COS,
                                         OP_TANH, OP_SIGMOID, OP_SOFTPLUS, OP_ERF };
    for (size_t i = 0; i < sizeof costly / sizeof *costly; i++)
        if (costly[i] == node->op)
            return COST_TRANSCENDENTAL;
    return node->op != OP_RESHAPE;
}

static void add_load(struct value *value, int id)
{
    for (int i = 0; i < value->loads && i < 2; i++)
        if (value->load[i] == id)
            return;
    if (value->loads < 2)
        value->load[value->loads] = id;
    value->loads += value->loads < MANY_LOADS;
}

/* A source that has memory: it counts as a load where it is about as large as the result. */
static void add_source(struct value *value, const struct node *source)
{
    const struct node *base = source;
    while (base->op == OP_BROADCAST || base->op == OP_RESHAPE)
        base = base->src[0];
    if (!is_number(base) && shape_count(base->shape) * 2 > shape_count(value->node->shape))
        add_load(value, base->id);
}

/* where(…, x, a·x), leaky ReLU's gradient: x is computed once for both. */
static bool repeats_source(const struct node *node, int i)
{
    const struct node *source = node->src[i];
    return node->op == OP_WHERE && i == 2 && source->op == OP_SCALE &&
           source->src[0] == node->src[1];
}

static bool join_sources(struct lowering *l, struct value *value)
{
    const struct node *node = value->node;
    value->cuts = cuts_of(node->shape);
    value->cost = value->length = own_cost(node);
    value->loads = value->reads = 0;
    for (int i = 0; i < node->sources; i++) {
        const struct value *source = value_of(l, node->src[i]);
        struct cuts cuts = source->virtual ? source->cuts : cuts_of(node->src[i]->shape);
        if (is_number(node->src[i]))
            continue;
        if (!cuts_join(value->cuts, cuts, &value->cuts))
            return false;
        if (!source->virtual) {
            add_source(value, node->src[i]);
            value->reads++;
            continue;
        }
        bool repeated = repeats_source(node, i);
        value->length += repeated ? 1 : source->length;
        value->reads += repeated ? 1 : source->reads;
        if (source->readers > 1 && source->loads > 1) { /* see sweep_users: it will have memory */
            add_load(value, source->node->id);
            continue;
        }
        value->cost += repeated ? 1 : source->cost;
        for (int k = 0; k < source->loads; k++)
            add_load(value, k < 2 ? source->load[k] : -1);
    }
    return value->length <= COST_LONGEST && value->reads <= READS_MOST;
}

/* Gives memory to a virtual value; of a reshape, to what is reshaped. */
static void materialise(struct lowering *l, struct value *value)
{
    while (value->node->op == OP_RESHAPE && value->virtual) {
        value->virtual = false;
        value->addressed = true;
        value = value_of(l, value->node->src[0]);
    }
    if (!value->virtual)
        return;
    value->virtual = false;
    value->addressed = true;
}

/* The source whose expression is the longest, of those within this one's; NULL: none is. */
static struct value *costliest_source(struct lowering *l, const struct value *value)
{
    struct value *best = NULL;
    for (int i = 0; i < value->node->sources; i++) {
        struct value *source = value_of(l, value->node->src[i]);
        if (source->virtual && (!best || source->length > best->length))
            best = source;
    }
    return best;
}

static void sweep_costs(struct lowering *l)
{
    for (size_t id = 0; id < l->count; id++) {
        struct value *value = &l->values[id];
        if (!value->needed || !is_elementwise(value->node) || is_number(value->node))
            continue;
        bool joined = join_sources(l, value);
        for (struct value *source; !joined && (source = costliest_source(l, value));) {
            materialise(l, source);
            joined = join_sources(l, value);
        }
        if (!joined) { /* a reshape between shapes without common cuts */
            value->cuts = cuts_of(value->node->shape);
            value->addressed = true;
        }
        value->virtual = !value->addressed;
    }
}

/* Sweep 3, down: memory for what several jobs would have to compute anew. */

static void note_user(struct lowering *l, const struct node *source, int user)
{
    struct value *value = value_of(l, source);
    value->user = value->user == USER_NONE || value->user == user ? user : USER_MANY;
}

static void sweep_users(struct lowering *l)
{
    for (size_t id = l->count; id-- > 0;) {
        struct value *value = &l->values[id];
        const struct node *node = value->node;
        if (!value->needed)
            continue;
        if (value->virtual && value->user == USER_MANY && node->op != OP_RESHAPE &&
            (value->loads > 1 || value->cost > COST_RECOMPUTED))
            materialise(l, value);
        bool through = value->virtual || is_view_op(node) || node->op == OP_RESHAPE;
        int last = through && value->last_user > (int)id ? value->last_user : (int)id;
        for (int i = 0; i < node->sources; i++) {
            struct value *source = value_of(l, node->src[i]);
            note_user(l, node->src[i], value->virtual ? value->user : (int)id);
            source->last_user = source->last_user > last ? source->last_user : last;
        }
    }
}

/* Buffers, views and jobs, in the order of ids. */

static int add_buffer(struct lowering *l, size_t bytes, const struct node *leaf)
{
    ARRAY_RESERVE(l->buffers, l->buffer_count, l->buffer_capacity);
    l->buffers[l->buffer_count] = (struct buffer){ .bytes = bytes, .leaf = leaf };
    return (int)l->buffer_count++;
}

static struct job *add_job(struct lowering *l, const struct node *node)
{
    ARRAY_RESERVE(l->jobs, l->job_count, l->job_capacity);
    l->jobs[l->job_count] = (struct job){ .node = node };
    return &l->jobs[l->job_count++];
}

static void new_buffer(struct lowering *l, struct view *view, const struct node *leaf)
{
    view->offset = 0;
    view->buffer = add_buffer(l, shape_count(view->shape) * l->element_bytes[view->dtype], leaf);
}

static void add_read(struct lowering *l, struct job *job, const struct node *node)
{
    if (job->reads == job->capacity) {
        struct read *grown = arena_array(l->arena, struct read, (size_t)job->capacity * 2 + 4);
        if (job->reads)
            memcpy(grown, job->read, (size_t)job->reads * sizeof *grown);
        job->read = grown;
        job->capacity = job->capacity * 2 + 4;
    }
    job->read[job->reads++] = (struct read){ node, value_of(l, node)->view };
    value_of(l, node)->last_read = l->job_count;
}

/* Lists what the expression reads, each once; `seen` is clear before and after. */
static void list_reads(struct lowering *l, struct job *job, const struct node *node, bool inside)
{
    if (l->seen[node->id] || is_number(node))
        return;
    l->seen[node->id] = 1;
    if (!inside && !value_of(l, node)->virtual) {
        add_read(l, job, node);
        return;
    }
    job->cost += own_cost(node);
    for (int i = 0; i < node->sources; i++)
        list_reads(l, job, node->src[i], false);
}

static void forget_seen(struct lowering *l, const struct node *node, bool inside)
{
    if (!l->seen[node->id])
        return;
    l->seen[node->id] = 0;
    if (inside || value_of(l, node)->virtual)
        for (int i = 0; i < node->sources; i++)
            forget_seen(l, node->src[i], false);
}

static struct job *add_loop(struct lowering *l, const struct node *node,
                            const struct node *expression, bool evaluated, const struct view *to)
{
    struct job *job = add_job(l, node);
    job->loop = true;
    job->expression = expression;
    job->evaluated = evaluated;
    job->out = *to;
    job->cuts = cuts_of(expression->shape);
    const struct value *value = value_of(l, expression);
    if (!is_number(expression) && (evaluated || value->virtual))
        job->cuts = value->cuts;
    list_reads(l, job, expression, evaluated);
    if (!is_number(expression))
        forget_seen(l, expression, evaluated);
    return job;
}

/* Fills the memory of an elementwise node. */
static struct job *add_root(struct lowering *l, const struct node *node, const struct view *to)
{
    return add_loop(l, node, node, true, to);
}

/* Stores a value somewhere else, or where a virtual one must go. */
static struct job *add_copy(struct lowering *l, const struct node *node, const struct view *to)
{
    return add_loop(l, node, node, false, to);
}

/* The first full-size value with memory that an expression reads; NULL where there is none. */
static const struct value *first_load(const struct lowering *l, const struct node *node,
                                      size_t count)
{
    const struct value *value = value_of(l, node);
    if (is_number(node))
        return NULL;
    if (!value->virtual) {
        const struct node *base = node;
        while (base->op == OP_RESHAPE)
            base = base->src[0];
        return base->op != OP_BROADCAST && shape_count(node->shape) == count ? value : NULL;
    }
    for (int i = 0; i < node->sources; i++) {
        const struct value *load = first_load(l, node->src[i], count);
        if (load)
            return load;
    }
    return NULL;
}

/* The order in which what it reads is nested, for an expression of this shape. */
static void inherit_strides(struct lowering *l, const struct node *node, struct shape shape,
                            int64_t *stride)
{
    const struct value *load = NULL;
    for (int i = 0; !load && i < node->sources; i++)
        load = first_load(l, node->src[i], shape_count(shape));
    struct cuts cuts;
    int64_t split[LOOP_AXES];
    if (shape.rank == 4)
        channels_last_strides(shape, stride);
    else
        row_major_strides(shape, stride);
    if (!load || !cuts_join(cuts_of(shape), cuts_of(load->view.shape), &cuts))
        return;
    int64_t key[RANK_MAX] = { 0 };
    int axes = cuts.count - 1;
    cuts_strides(&cuts, load->view.shape, load->view.stride, split);
    for (int axis = 0; axis < shape.rank; axis++) {
        unsigned mask = cuts_mask(&cuts, shape, 1u << axis);
        for (int i = 0; i < axes; i++)
            if (mask >> i & 1)
                key[axis] = split[i]; /* the innermost that belongs to it */
    }
    strides_like(shape, key, stride);
}

/* The type in which an f32 value lies: bf16 where it is computed from such, in mixed precision. */
static enum dtype kept_dtype(const struct lowering *l, const struct value *value)
{
    const struct node *node = value->node;
    const struct value *load = NULL;
    if (l->precision == PRECISION_F32 || value->root || node->dtype != DTYPE_F32)
        return node->dtype;
    for (int i = 0; !load && i < node->sources; i++)
        load = first_load(l, node->src[i], shape_count(node->src[i]->shape));
    return load && load->view.dtype == DTYPE_BF16 ? DTYPE_BF16 : node->dtype;
}

static void store_elementwise(struct lowering *l, struct value *value)
{
    struct node *node = value->node;
    bool weights =
        l->weights_last && value->weights && value->weights == value->readers && !value->root;
    value->view = (struct view){ .dtype = kept_dtype(l, value), .shape = node->shape };
    if (value->image || weights)
        channels_last_strides(node->shape, value->view.stride);
    else if (value->root && l->weights_last) /* not as the gradient that it is computed from */
        row_major_strides(node->shape, value->view.stride);
    else
        inherit_strides(l, node, node->shape, value->view.stride);
    new_buffer(l, &value->view, NULL);
    (void)add_root(l, node, &value->view);
    value->stored = true;
    value->last_read = l->job_count;
}

static void store_reduction(struct lowering *l, struct value *value)
{
    struct node *node = value->node;
    int64_t full[RANK_MAX];
    struct node *x = node->src[0];
    value->view = (struct view){ .dtype = node->dtype, .shape = node->shape };
    inherit_strides(l, node, x->shape, full);
    strides_like(node->shape, full, value->view.stride);
    new_buffer(l, &value->view, NULL);
    (void)add_loop(l, node, x, false, &value->view);
}

static void place_leaf(struct lowering *l, struct value *value)
{
    value->view = (struct view){ .dtype = value->node->dtype, .shape = value->node->shape };
    row_major_strides(value->view.shape, value->view.stride);
    new_buffer(l, &value->view, value->node);
}

static void fill_zeros(struct lowering *l, const struct node *node, const struct view *to)
{
    struct node *zero = arena_new(l->arena, struct node);
    *zero = (struct node){ .op = OP_CONSTANT, .dtype = node->dtype, .shape = node->shape };
    zero->site = node->site;
    zero->scope = node->scope;
    (void)add_copy(l, zero, to);
}

/* Whether a joined tensor is read only as a part of another: then it has no memory of its own. */
static bool is_part(const struct lowering *l, const struct value *value)
{
    if (!is_joined(value->node) || value->readers != 1 || value->root || value->user < 0)
        return false;
    const struct node *reader = graph_node(l->graph, (size_t)value->user);
    bool reads = false;
    for (int i = 0; is_joined(reader) && i < reader->sources; i++)
        reads = reads || reader->src[i] == value->node;
    return reads;
}

/* Each source is stored into its part of the whole; `ordered`: over zeros that lie there. */
static void write_parts(struct lowering *l, const struct node *node, const struct view *whole,
                        bool ordered)
{
    struct view part = *whole;
    ordered = ordered || node->op == OP_PAD;
    if (node->op == OP_PAD)
        fill_zeros(l, node, whole);
    for (int i = 0; i < node->sources; i++) {
        part.shape = node->src[i]->shape;
        for (int axis = 0; node->op == OP_PAD && axis < node->shape.rank; axis++)
            part.offset += node->bounds.begin[axis] * part.stride[axis];
        if (is_part(l, value_of(l, node->src[i])))
            write_parts(l, node->src[i], &part, ordered);
        else
            add_copy(l, node->src[i], &part)->ordered = ordered;
        if (node->op == OP_CONCAT)
            part.offset += part.shape.size[node->axis] * part.stride[node->axis];
    }
}

/* concat and pad. */
static void join_parts(struct lowering *l, struct value *value)
{
    struct node *node = value->node, *first = node->src[0];
    value->view = (struct view){ .dtype = kept_dtype(l, value), .shape = node->shape };
    if (value->image)
        channels_last_strides(node->shape, value->view.stride);
    else {
        int64_t like[RANK_MAX];
        if (lower_is_inline(l, first))
            inherit_strides(l, first, first->shape, like);
        else
            memcpy(like, value_of(l, first)->view.stride, sizeof like);
        strides_like(node->shape, like, value->view.stride);
    }
    if (is_part(l, value))
        return;
    new_buffer(l, &value->view, NULL);
    write_parts(l, node, &value->view, false);
}

/* The view of a value for a reader that needs dense memory in a given order; a copy where it lies
 * otherwise. The copy takes the place of the value for the readers to come. */
static void make_dense(struct lowering *l, struct value *value, const int64_t *stride)
{
    enum dtype dtype = value->node->op == OP_CONV_DW ? value->view.dtype : value->node->dtype;
    if (same_strides(value->view.shape, value->view.stride, stride) && value->view.dtype == dtype)
        return;
    struct view copy = { .dtype = dtype, .shape = value->view.shape };
    memcpy(copy.stride, stride, sizeof copy.stride);
    new_buffer(l, &copy, NULL);
    (void)add_copy(l, value->node, &copy);
    value->view = copy;
}

static bool is_matrix_view(const struct view *view)
{
    int rank = view->shape.rank;
    const int64_t *size = view->shape.size, *stride = view->stride;
    int64_t row = stride[rank - 2], column = stride[rank - 1];
    bool rows = size[rank - 1] == 1 || column == 1, columns = size[rank - 2] == 1 || row == 1;
    bool ordered = rows ? size[rank - 2] == 1 || row >= size[rank - 1]
                        : columns && (size[rank - 1] == 1 || column >= size[rank - 2]);
    int inner = -1; /* the axes in front must be as one */
    for (int axis = rank - 3; ordered && axis >= 0; axis--) {
        if (size[axis] == 1)
            continue;
        ordered = inner < 0 || stride[axis] == stride[inner] * size[inner];
        inner = axis;
    }
    for (int axis = 0; ordered && axis < rank - 2; axis++)
        ordered = stride[axis] >= 0;
    return ordered;
}

/* Whether the value should be computed a second time for a reader far from its first ones, so that
 * its memory is free in between: where it is cheap, and all that it takes is kept anyway. */
static bool is_better_remade(const struct lowering *l, const struct value *value, int reader)
{
    if (!value->stored || value->root || value->loads != 1 || value->cost > COST_RECOMPUTED ||
        l->job_count < value->last_read + FAR_JOBS ||
        shape_count(value->node->shape) < REMADE_ELEMENTS)
        return false;
    const struct value *load = &l->values[value->load[0]];
    return !load->virtual && load->last_user > reader;
}

static void remake(struct lowering *l, struct value *value)
{
    value->view = value->origin;
    new_buffer(l, &value->view, NULL);
    add_root(l, value->node, &value->view)->alone = true;
}

static const int64_t *channels_last(struct shape shape, int64_t *stride)
{
    channels_last_strides(shape, stride);
    return stride;
}

/* Sources of a resampling op that are images; the others are filters or matrices. */
static int images_of(const struct node *node)
{
    return node->op == OP_FILTERED ? node->filtered->images : 1;
}

static void require_layouts(struct lowering *l, const struct node *node)
{
    for (int i = 0; i < node->sources; i++) {
        struct value *source = value_of(l, node->src[i]);
        int64_t stride[RANK_MAX];
        bool weight = is_weight(node, i);
        bool filter = is_resampling(node) && i >= images_of(node);
        if (is_better_remade(l, source, node->id))
            remake(l, source);
        source->last_read = l->job_count;
        if (op_is_attention(node->op))
            continue; /* however it lies */
        if (is_product(node) && i < 2 && is_matrix_view(&source->view) &&
            source->view.dtype == source->node->dtype)
            continue;
        bool last = !is_product(node) && !filter &&
                    same_strides(source->view.shape, source->view.stride,
                                 channels_last(source->view.shape, stride));
        if (is_resampling(node) && last)
            continue; /* of any type */
        if (weight && l->weights_last && last && source->view.dtype == source->node->dtype)
            continue;
        if (is_product(node) || weight || filter)
            row_major_strides(source->view.shape, stride);
        else
            channels_last_strides(source->view.shape, stride);
        make_dense(l, source, stride);
    }
}

/* As what reads it asked for; else token by token, whichever way the shape has it, so that an
 * image's channels lie together. */
static void attention_strides(const struct node *node, int64_t *stride)
{
    int order[RANK_MAX], rank = node->shape.rank;
    bool turned = node->op == OP_ATTENTION && node->attention.turned & ATTENTION_Y, asked = false;
    for (int axis = 0; axis < rank; axis++)
        asked |= node->attention.order[axis] > 0;
    if (asked) {
        dense_strides(node->shape, node->attention.order, stride);
        return;
    }
    for (int axis = 0; axis < rank; axis++)
        order[axis] = axis;
    order[rank - 2] = turned ? rank - 1 : rank - 2;
    order[rank - 1] = turned ? rank - 2 : rank - 1;
    dense_strides(node->shape, order, stride);
}

/* That of the images: bf16 where all of them lie so. */
static enum dtype resampled_dtype(const struct lowering *l, const struct node *node)
{
    enum dtype dtype = value_of(l, node->src[0])->view.dtype;
    for (int i = 1; i < images_of(node); i++)
        if (value_of(l, node->src[i])->view.dtype == DTYPE_F32)
            dtype = DTYPE_F32;
    return dtype;
}

static void compute_alone(struct lowering *l, struct value *value)
{
    struct node *node = value->node;
    require_layouts(l, node);
    bool gradient = node->op == OP_CONV_DW; /* sums, f32 where the backend can keep them so */
    enum dtype dtype = gradient && !l->weights_last ? DTYPE_F32 : node->dtype;
    if (is_resampling(node) && node->dtype == DTYPE_F32 && !value->root)
        dtype = resampled_dtype(l, node);
    value->view = (struct view){ .dtype = dtype, .shape = node->shape };
    bool image = node->op == OP_CONV || node->op == OP_CONV_DX || is_resampling(node);
    if (image || (gradient && l->weights_last))
        channels_last_strides(node->shape, value->view.stride);
    else if (op_is_attention(node->op))
        attention_strides(node, value->view.stride);
    else
        row_major_strides(node->shape, value->view.stride);
    new_buffer(l, &value->view, NULL);
    struct job *job = add_job(l, node);
    job->in = arena_array(l->arena, struct view, (size_t)node->sources);
    for (int i = 0; i < node->sources; i++)
        job->in[i] = value_of(l, node->src[i])->view;
    job->out = value->view;
}

static void place_view(struct lowering *l, struct value *value)
{
    struct value *source = value_of(l, value->node->src[0]);
    struct cuts cuts;
    if (view_of(value->node, &source->view, &value->view))
        return;
    if (cuts_join(cuts_of(value->node->shape), cuts_of(source->node->shape), &cuts)) {
        store_elementwise(l, value);
        return;
    }
    row_major_strides(source->view.shape, value->view.stride); /* shapes that share no cuts */
    make_dense(l, source, value->view.stride);
    value->view = source->view;
    value->view.shape = value->node->shape;
    row_major_strides(value->view.shape, value->view.stride);
}

/* A cast to the type in which its source lies in memory; or of what was combined, which is bf16, to
 * the f32 that may lie in bf16: what reads it then needs no copy. */
static bool is_cast_already(const struct lowering *l, const struct value *value)
{
    const struct node *node = value->node;
    if (node->op != OP_CAST || lower_is_inline(l, node->src[0]))
        return false;
    enum dtype lies = value_of(l, node->src[0])->view.dtype;
    return lies == node->dtype ||
           (op_is_combined(node->src[0]->op) && kept_dtype(l, value) == lies);
}

static void place(struct lowering *l, struct value *value)
{
    const struct node *node = value->node;
    if (is_leaf(node))
        place_leaf(l, value);
    else if (is_cast_already(l, value))
        value->view = value_of(l, node->src[0])->view;
    else if (is_view_op(node) || (node->op == OP_RESHAPE && !value->virtual))
        place_view(l, value);
    else if (is_elementwise(node) && (value->addressed || !is_number(node)))
        store_elementwise(l, value);
    else if (is_reduction(node))
        store_reduction(l, value);
    else if (is_joined(node))
        join_parts(l, value);
    else if (!is_number(node))
        compute_alone(l, value);
    value->origin = value->view;
}

static struct view place_root(struct lowering *l, struct value *value, bool fresh)
{
    struct view view = { .dtype = value->node->dtype, .shape = value->node->shape };
    row_major_strides(view.shape, view.stride);
    bool own =
        is_leaf(value->node) || (!is_view_op(value->node) && value->node->op != OP_RESHAPE &&
                                 same_strides(view.shape, view.stride, value->origin.stride));
    if (own && !(fresh && is_leaf(value->node)))
        return value->origin;
    new_buffer(l, &view, NULL);
    (void)add_copy(l, value->node, &view);
    return view;
}

void lower_graph(struct lowering *l, const struct graph *graph, struct node *const *roots,
                 const bool *fresh, size_t count, struct view *roots_at)
{
    l->graph = graph;
    l->count = graph_size(graph);
    l->values = arena_array(l->arena, struct value, l->count);
    l->seen = arena_array(l->arena, unsigned char, l->count);
    for (size_t id = 0; id < l->count; id++)
        l->values[id] = (struct value){ .node = graph_node(graph, id), .user = USER_NONE };
    for (size_t i = 0; i < count; i++) {
        value_of(l, roots[i])->needed = true;
        value_of(l, roots[i])->addressed = true;
        value_of(l, roots[i])->root = true;
    }
    sweep_needs(l);
    sweep_costs(l);
    sweep_users(l);
    for (size_t id = 0; id < l->count; id++)
        if (l->values[id].needed && !l->values[id].virtual)
            place(l, &l->values[id]);
    for (size_t i = 0; i < count; i++)
        roots_at[i] = place_root(l, value_of(l, roots[i]), fresh[i]);
}
