/* Plans; see plan.h.
 *
 * For a fusing backend the graph is rewritten (rewrite.c), lowered to jobs over buffers (lower.c)
 * and these are joined to steps (fuse.c); for a plain one each needed node is a step. Either way a
 * plan is then a list of steps over buffers. A buffer is taken from the first step that writes it
 * to the last that reads it. Inputs, constants, outputs and what is computed from constants alone
 * lie in a block of the plan's own; all else, and the scratch memory of each step, in the store's
 * workspace, which its plans share. Both are packed: the largest buffer first, each at the lowest
 * offset where it meets none that lives at the same time. Where the backend does steps together,
 * they are brought together (gather.c) before that.
 *
 * An assigned value is written straight to its parameter where no step after that reads the old
 * one; where the same loop reads it, element by element, it stores after it has read.
 */
#include "tensor/plan.h"

#include "base/arena.h"
#include "base/parallel.h"
#include "base/progress.h"
#include "tensor/build.h"
#include "tensor/combine.h"
#include "tensor/fuse.h"
#include "tensor/gather.h"
#include "tensor/profile.h"
#include "tensor/rewrite.h"

#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 64, ONCE_BYTES = 1 << 18 };

struct update {
    struct tensor *to;
    int from; /* buffer; -1: it is written in place */
};

struct plan {
    struct arena arena;
    struct store *store;
    const struct backend *backend;
    const struct graph *graph; /* the caller's */
    struct graph *rewritten;
    size_t nodes;
    int *buffer_of; /* by the caller's id: of inputs, parameters, constants, outputs; else -1 */
    struct step *steps;
    struct call *calls; /* of a plain backend, one a step */
    size_t step_count, prepared;
    struct buffer *buffers;
    size_t buffer_count, buffer_capacity;
    int *scratch_of;           /* by step: its buffer, or -1 */
    bool *written;             /* by buffer: an input that has a value */
    struct tensor **tensor_of; /* by buffer: a parameter's */
    void **memory;             /* by buffer */
    struct update *updates;
    size_t update_count;
    void *block;     /* of what must last */
    void *workspace; /* the store's, as it was when `memory` was filled in */
    size_t block_bytes, workspace_bytes;
    size_t threads;
    bool measured, ran, unrecordable;
    void *recording;      /* of a run, by the backend's recorder; NULL: none */
    struct error refusal; /* why it cannot be recorded */
    uint64_t runs;
    uint64_t part; /* of a batch, for random leaves */
};

static bool is_bound(const struct node *node)
{
    return node->op == OP_INPUT || node->op == OP_PARAMETER || node->op == OP_CONSTANT;
}

static struct view dense_view(const struct node *node, int buffer)
{
    struct view view = { .buffer = buffer, .dtype = node->dtype, .shape = node->shape };
    row_major_strides(view.shape, view.stride);
    return view;
}

static int add_buffer(struct plan *plan, size_t bytes, const struct node *leaf)
{
    ARRAY_RESERVE(plan->buffers, plan->buffer_count, plan->buffer_capacity);
    plan->buffers[plan->buffer_count] = (struct buffer){ .bytes = bytes, .leaf = leaf };
    return (int)plan->buffer_count++;
}

/* A plain backend: a step for each node that the roots need, in the order of ids. */
static bool plan_nodes(struct plan *plan, struct node *const *roots, size_t root_count,
                       struct view *roots_at, struct error *err)
{
    bool *needed = arena_array(&plan->arena, bool, plan->nodes);
    int *buffer = arena_array(&plan->arena, int, plan->nodes);
    for (size_t i = 0; i < root_count; i++)
        needed[roots[i]->id] = true;
    for (size_t id = plan->nodes; id-- > 0;) {
        const struct node *node = graph_node(plan->graph, id);
        for (int i = 0; needed[id] && i < node->sources; i++)
            needed[node->src[i]->id] = true;
    }
    plan->steps = arena_array(&plan->arena, struct step, plan->nodes);
    for (size_t id = 0; id < plan->nodes; id++) {
        const struct node *node = graph_node(plan->graph, id);
        if (!needed[id])
            continue;
        size_t bytes = shape_count(node->shape) * plan->backend->element_bytes[node->dtype];
        buffer[id] = add_buffer(plan, bytes, is_bound(node) ? node : NULL);
        if (is_bound(node)) {
            plan->buffer_of[id] = buffer[id];
            continue;
        }
        if (!plan->backend->kernels[node->op])
            return error_set(err, "the backend \"%s\" cannot compute %s (%s:%d)",
                             plan->backend->name, ops[node->op].name, node->site.file,
                             node->site.line);
        struct step *step = &plan->steps[plan->step_count++];
        step->node = node;
        step->out = dense_view(node, buffer[id]);
        step->in = arena_array(&plan->arena, struct view, (size_t)node->sources);
        for (int i = 0; i < node->sources; i++)
            step->in[i] = dense_view(node->src[i], buffer[node->src[i]->id]);
    }
    for (size_t i = 0; i < root_count; i++)
        roots_at[i] = dense_view(roots[i], buffer[roots[i]->id]);
    return true;
}

/* In place of the rewritten graph comes one in which is combined what the backend takes. */
static void combine(struct plan *plan, struct node **roots, size_t root_count, struct node **image)
{
    struct node **combined;
    struct graph *graph = combine_graph(&plan->arena, plan->rewritten, roots, root_count,
                                        plan->backend->takes, &combined);
    for (size_t id = 0; id < plan->nodes; id++)
        image[id] = image[id] ? combined[image[id]->id] : NULL;
    graph_free(plan->rewritten);
    plan->rewritten = graph;
}

/* A fusing backend. fresh[i]: root i must be computed even if it is a leaf. */
static void plan_fused(struct plan *plan, struct node *const *roots, const bool *fresh,
                       size_t root_count, struct view *roots_at)
{
    struct node **image;
    plan->rewritten =
        rewrite_graph(&plan->arena, roots, root_count, store_mixed(plan->store), &image);
    struct node **new_roots = arena_array(&plan->arena, struct node *, root_count);
    for (size_t i = 0; i < root_count; i++)
        new_roots[i] = image[roots[i]->id];
    if (plan->backend->takes)
        combine(plan, new_roots, root_count, image);
    struct lowering lowering = { .arena = &plan->arena,
                                 .precision = store_precision(plan->store),
                                 .weights_last = plan->backend->weights_last,
                                 .element_bytes = plan->backend->element_bytes };
    lower_graph(&lowering, plan->rewritten, new_roots, fresh, root_count, roots_at);
    plan->step_count = fuse_jobs(&lowering, &plan->steps);
    plan->buffers = lowering.buffers;
    plan->buffer_count = lowering.buffer_count;
    plan->buffer_capacity = lowering.buffer_capacity;
    free(lowering.jobs);
    int *held_in = arena_array(&plan->arena, int, lowering.count);
    for (size_t i = 0; i < plan->buffer_count; i++)
        if (plan->buffers[i].leaf)
            held_in[plan->buffers[i].leaf->id] = (int)i;
    for (size_t id = 0; id < plan->nodes; id++) {
        const struct node *node = graph_node(plan->graph, id);
        if (image[id] && (node->op == OP_INPUT || node->op == OP_PARAMETER))
            plan->buffer_of[id] = held_in[image[id]->id];
    }
}

static bool bind_parameters(struct plan *plan, struct error *err)
{
    plan->tensor_of = arena_array(&plan->arena, struct tensor *, plan->buffer_count);
    plan->written = arena_array(&plan->arena, bool, plan->buffer_count);
    for (size_t i = 0; i < plan->buffer_count; i++) {
        const struct node *leaf = plan->buffers[i].leaf;
        if (!leaf || leaf->op != OP_PARAMETER)
            continue;
        plan->tensor_of[i] =
            store_require(plan->store, leaf->leaf.name, leaf->dtype, leaf->shape, err);
        if (!plan->tensor_of[i])
            return false;
    }
    return true;
}

/* Lifetimes. */

/* Calls visit for each buffer that a step reads (write false) or writes. */
static void visit_buffers(struct plan *plan, size_t at,
                          void (*visit)(struct plan *plan, size_t at, int buffer, bool write))
{
    struct use use;
    for (int i = 0; step_use(&plan->steps[at], i, &use); i++)
        visit(plan, at, use.buffer, use.write);
}

/* What any step of a group uses is taken while the group runs, which is when its first step does.
 */
static void note_use(struct plan *plan, size_t at, int index, bool write)
{
    struct buffer *buffer = &plan->buffers[index];
    (void)write;
    while (!plan->steps[at].together)
        at--;
    buffer->first = buffer->first < at ? buffer->first : at;
    buffer->last = buffer->last > at ? buffer->last : at;
}

/* A step is run once where it draws on nothing but constants, and its result is small enough to be
 * kept. */
static void note_constancy(struct plan *plan, size_t at, int index, bool write)
{
    const struct buffer *buffer = &plan->buffers[index];
    bool constant =
        (buffer->kept && !buffer->varies) || (buffer->leaf && buffer->leaf->op == OP_CONSTANT);
    if (write ? buffer->bytes > ONCE_BYTES : !constant)
        plan->steps[at].once = false;
}

static void vary_written(struct plan *plan, size_t at, int index, bool write)
{
    (void)at;
    plan->buffers[index].varies |= write;
}

static void keep_written(struct plan *plan, size_t at, int index, bool write)
{
    (void)at;
    plan->buffers[index].kept |= write;
}

static void find_constancy(struct plan *plan)
{
    for (size_t at = 0; at < plan->step_count; at++) {
        struct step *step = &plan->steps[at];
        step->once =
            plan->backend->execute && step->node->op != OP_NORMAL && step->node->op != OP_UNIFORM;
        visit_buffers(plan, at, note_constancy);
        visit_buffers(plan, at, step->once ? keep_written : vary_written);
    }
}

static void find_lifetimes(struct plan *plan, const struct view *roots_at, size_t root_count,
                           size_t output_count)
{
    for (size_t i = 0; i < plan->buffer_count; i++) {
        plan->buffers[i].first = plan->step_count;
        plan->buffers[i].last = 0;
    }
    for (size_t at = 0; at < plan->step_count; at++)
        visit_buffers(plan, at, note_use);
    for (size_t i = 0; i < root_count; i++) {
        plan->buffers[roots_at[i].buffer].last = plan->step_count;
        plan->buffers[roots_at[i].buffer].kept |= i < output_count;
    }
    for (size_t i = 0; i < plan->buffer_count; i++)
        if (plan->buffers[i].leaf || plan->buffers[i].kept) {
            plan->buffers[i].first = 0;
            plan->buffers[i].last = plan->step_count;
        }
}

/* Whether a buffer lies in the plan's own block; parameters, and what is written into them, lie in
 * neither. */
static bool must_last(const struct buffer *buffer)
{
    return buffer->leaf || buffer->kept;
}

/* Groups of steps. */

/* The first buffer that lies where this one lies: what is written in place lies in its parameter.
 */
static int place_of(const struct plan *plan, size_t buffer)
{
    size_t at = 0;
    if (!plan->tensor_of[buffer])
        return (int)buffer;
    while (plan->tensor_of[at] != plan->tensor_of[buffer])
        at++;
    return (int)at;
}

/* Once it is known what is written in place, and before anything else has its place. */
static void gather(struct plan *plan)
{
    if (!plan->backend->gathers)
        return;
    int *place = memory_grow(NULL, plan->buffer_count + 1, sizeof *place);
    size_t *held = memory_grow(NULL, plan->buffer_count + 1, sizeof *held);
    for (size_t i = 0; i < plan->buffer_count; i++) {
        place[i] = place_of(plan, i);
        held[i] = plan->tensor_of[i] || must_last(&plan->buffers[i]) ? 0 : plan->buffers[i].bytes;
    }
    gather_steps(plan->steps, plan->step_count, plan->backend, place, held, plan->buffer_count);
    free(place);
    free(held);
}

/* Packing. */

static int by_size(const void *a, const void *b)
{
    const struct buffer *first = *(const struct buffer *const *)a;
    const struct buffer *second = *(const struct buffer *const *)b;
    if (first->bytes != second->bytes)
        return first->bytes < second->bytes ? 1 : -1;
    return first->first != second->first ? (first->first > second->first ? 1 : -1)
                                         : (first > second) - (first < second);
}

/* Puts the buffer into the first gap among those placed before it, which stand by offset. */
static void place(struct buffer **placed, size_t count, struct buffer *buffer)
{
    size_t offset = 0, at = 0;
    for (; at < count; at++) {
        const struct buffer *other = placed[at];
        if (other->last < buffer->first || buffer->last < other->first)
            continue;
        if (other->offset >= offset + buffer->bytes)
            break;
        if (other->offset + other->bytes > offset)
            offset = other->offset + other->bytes;
    }
    buffer->offset = offset;
    for (at = count; at > 0 && placed[at - 1]->offset > offset; at--)
        placed[at] = placed[at - 1];
    placed[at] = buffer;
}

static size_t pack(struct plan *plan, bool lasting)
{
    struct buffer **order = memory_grow(NULL, plan->buffer_count, sizeof *order);
    struct buffer **placed = memory_grow(NULL, plan->buffer_count, sizeof *placed);
    size_t count = 0, bytes = 0;
    size_t alignment = plan->backend->alignment ? plan->backend->alignment : ALIGNMENT;
    for (size_t i = 0; i < plan->buffer_count; i++) {
        struct buffer *buffer = &plan->buffers[i];
        buffer->bytes = (buffer->bytes + alignment - 1) / alignment * alignment;
        if (!plan->tensor_of[i] && buffer->first <= buffer->last && must_last(buffer) == lasting)
            order[count++] = buffer;
    }
    qsort(order, count, sizeof *order, by_size);
    for (size_t i = 0; i < count; i++) {
        place(placed, i, order[i]);
        size_t end = order[i]->offset + order[i]->bytes;
        bytes = bytes > end ? bytes : end;
    }
    free(order);
    free(placed);
    return bytes;
}

static bool prepare_steps(struct plan *plan, struct error *err)
{
    size_t bound = plan->buffer_count; /* before scratch memory */
    plan->scratch_of = arena_array(&plan->arena, int, plan->step_count + 1);
    for (size_t i = 0; i < plan->step_count; i++) {
        struct step *step = &plan->steps[i];
        plan->scratch_of[i] = -1;
        plan->prepared++;
        if (!step->together)
            continue;
        step->algorithms = store_algorithms(plan->store);
        if (plan->backend->prepare && !plan->backend->prepare(step, err))
            return false;
        if (!step->scratch)
            continue;
        plan->scratch_of[i] = add_buffer(plan, step->scratch, NULL);
        plan->buffers[plan->scratch_of[i]].first = plan->buffers[plan->scratch_of[i]].last = i;
    }
    struct tensor **tensor_of = arena_array(&plan->arena, struct tensor *, plan->buffer_count);
    memcpy(tensor_of, plan->tensor_of, bound * sizeof *tensor_of);
    plan->tensor_of = tensor_of;
    return true;
}

/* Fills in where buffers lie; again when the workspace has moved. */
static void find_memory(struct plan *plan)
{
    plan->workspace = store_workspace(plan->store);
    for (size_t i = 0; i < plan->buffer_count; i++) {
        const struct buffer *buffer = &plan->buffers[i];
        char *base = must_last(buffer) ? plan->block : plan->workspace;
        plan->memory[i] = plan->tensor_of[i] ? plan->tensor_of[i]->memory : base + buffer->offset;
    }
}

static bool allocate_block(struct plan *plan, struct error *err)
{
    size_t bytes = plan->block_bytes ? plan->block_bytes : ALIGNMENT;
    if (!store_reserve(plan->store, plan->workspace_bytes + ALIGNMENT, err))
        return false;
    plan->block = plan->backend->allocate(bytes, "a plan's inputs and outputs", err);
    plan->memory = arena_array(&plan->arena, void *, plan->buffer_count);
    if (plan->block)
        find_memory(plan);
    return plan->block;
}

/* A constant of one value, rounded to its dtype, so that every backend sees the same number. */
static void fill_constant(const struct plan *plan, const struct node *node, void *memory,
                          void *host)
{
    size_t count = shape_count(node->shape);
    double fill = node->constant.fill;
    for (size_t i = 0; i < count; i++) {
        if (node->dtype == DTYPE_F32)
            ((float *)host)[i] = (float)fill;
        else if (node->dtype == DTYPE_I32)
            ((int32_t *)host)[i] = (int32_t)fill;
        else
            ((uint16_t *)host)[i] = bf16_from_float((float)fill);
    }
    plan->backend->copy_in(memory, host, node->dtype, count);
}

static bool load_constants(struct plan *plan, struct error *err)
{
    for (size_t i = 0; i < plan->buffer_count; i++) {
        const struct node *node = plan->buffers[i].leaf;
        if (!node || node->op != OP_CONSTANT)
            continue;
        size_t count = shape_count(node->shape);
        if (node->constant.values) {
            plan->backend->copy_in(plan->memory[i], node->constant.values, node->dtype, count);
            continue;
        }
        void *host = memory_allocate(count, dtype_bytes(node->dtype), "a constant", err);
        if (!host)
            return false;
        fill_constant(plan, node, plan->memory[i], host);
        memory_free(host);
    }
    return true;
}

static void make_calls(struct plan *plan)
{
    if (!plan->calls) {
        plan->calls = arena_array(&plan->arena, struct call, plan->step_count);
        for (size_t i = 0; i < plan->step_count; i++)
            plan->calls[i].in =
                arena_array(&plan->arena, void *, (size_t)plan->steps[i].node->sources);
    }
    for (size_t i = 0; i < plan->step_count; i++) {
        const struct step *step = &plan->steps[i];
        void **in = (void **)(uintptr_t)plan->calls[i].in;
        for (int s = 0; s < step->node->sources; s++)
            in[s] = plan->memory[step->in[s].buffer];
        plan->calls[i] =
            (struct call){ .node = step->node, .out = plan->memory[step->out.buffer], .in = in };
    }
}

/* Updates. */

static bool same_walk(const struct operand *a, const struct operand *b)
{
    return a->dtype == b->dtype && a->offset == b->offset && a->row == b->row &&
           a->column == b->column && !a->index && !b->index &&
           memcmp(a->stride, b->stride, sizeof a->stride) == 0;
}

/* Whether the loop reads buffer `old`, if at all, just where it stores buffer `fresh`; then the
 * store is made to come after all reads of a tile. */
static bool stores_after_reading(const struct step *step, int old, int fresh)
{
    struct operand *store = NULL;
    if (!step->loop)
        return false;
    for (int k = 0; k < step->loop->operands; k++)
        if (step->loop->operand[k].buffer == fresh && step->loop->operand[k].use == OPERAND_STORE)
            store = &step->loop->operand[k];
    for (int k = 0; k < step->loop->operands; k++)
        if (step->loop->operand[k].buffer == old &&
            !(store && same_walk(store, &step->loop->operand[k])))
            return false;
    for (int k = 0; k < step->loop->operands; k++) { /* what is copied as it was read */
        const struct operand *other = &step->loop->operand[k];
        if (other != store && other->use != OPERAND_LOAD && other->value < step->loop->operands &&
            step->loop->operand[other->value].buffer == old)
            return false;
    }
    if (store)
        store->direct = false;
    return store;
}

/* Whether the new value may be written where the old one lies. */
static bool can_update_in_place(const struct plan *plan, const struct node *to, int from)
{
    const struct buffer *fresh = &plan->buffers[from];
    int old = (size_t)to->id < plan->nodes ? plan->buffer_of[to->id] : -1;
    size_t last = 0;
    if (!plan->backend->execute || plan->tensor_of[from] || must_last(fresh) ||
        fresh->first >= plan->step_count)
        return false;
    for (size_t at = 0; old >= 0 && at < plan->step_count; at++) {
        const struct step *step = &plan->steps[at];
        for (int k = 0; step->loop && k < step->loop->operands; k++)
            last = step->loop->operand[k].buffer == old ? at : last;
        for (int i = 0; !step->loop && i < step->node->sources; i++)
            last = step->in[i].buffer == old ? at : last;
    }
    if (old < 0 || last < fresh->first)
        return true;
    return last == fresh->first && stores_after_reading(&plan->steps[last], old, from);
}

static bool make_updates(struct plan *plan, const struct assign *assigns, size_t count,
                         const struct view *from, struct error *err)
{
    plan->updates = arena_array(&plan->arena, struct update, count);
    plan->update_count = count;
    for (size_t i = 0; i < count; i++) {
        const struct node *to = assigns[i].parameter;
        struct tensor *tensor =
            store_require(plan->store, to->leaf.name, to->dtype, to->shape, err);
        if (!tensor)
            return false;
        plan->updates[i] = (struct update){ tensor, from[i].buffer };
    }
    for (size_t i = 0; i < count; i++)
        if (can_update_in_place(plan, assigns[i].parameter, from[i].buffer)) {
            plan->tensor_of[from[i].buffer] = plan->updates[i].to;
            plan->updates[i].from = -1;
        }
    return true;
}

/* Outputs and assigned values: what a plan is made to compute. A value that is itself a parameter
 * is copied first, so that all updates read what stood there before the first of them. */
static struct node **gather_roots(struct plan *plan, struct node *const *outputs,
                                  size_t output_count, const struct assign *assigns,
                                  size_t assign_count)
{
    size_t count = output_count + assign_count;
    CHECK(count > 0, "a plan that computes nothing");
    struct node **roots = arena_array(&plan->arena, struct node *, count);
    for (size_t i = 0; i < output_count; i++)
        roots[i] = outputs[i];
    for (size_t i = 0; i < assign_count; i++) {
        const struct node *to = assigns[i].parameter, *value = assigns[i].value;
        CHECK(to->op == OP_PARAMETER, "assigning to %s (%s:%d), which is no parameter",
              ops[to->op].name, to->site.file, to->site.line);
        CHECK(to->dtype == value->dtype && shape_equal(to->shape, value->shape),
              "assigning a value of another shape or type to %s (value made at %s:%d)",
              to->leaf.name, value->site.file, value->site.line);
        roots[output_count + i] =
            value->op == OP_PARAMETER ? t_detach(assigns[i].value) : assigns[i].value;
    }
    for (size_t i = 0; i < count; i++)
        CHECK(roots[i]->graph == roots[0]->graph, "a plan over two graphs");
    return roots;
}

static bool build(struct plan *plan, struct node *const *roots, size_t output_count,
                  const struct assign *assigns, size_t assign_count, struct error *err)
{
    size_t count = output_count + assign_count;
    struct view *at = arena_array(&plan->arena, struct view, count);
    bool *fresh = arena_array(&plan->arena, bool, count);
    for (size_t i = output_count; i < count; i++)
        fresh[i] = true;
    plan->buffer_of = arena_array(&plan->arena, int, plan->nodes);
    for (size_t id = 0; id < plan->nodes; id++)
        plan->buffer_of[id] = -1;
    if (plan->backend->execute)
        plan_fused(plan, roots, fresh, count, at);
    else if (!plan_nodes(plan, roots, count, at, err))
        return false;
    if (!bind_parameters(plan, err))
        return false;
    for (size_t i = 0; i < output_count; i++)
        plan->buffer_of[roots[i]->id] = at[i].buffer;
    for (size_t i = 0; i < plan->step_count; i++)
        plan->steps[i].together = 1;
    find_constancy(plan);
    find_lifetimes(plan, at, count, output_count);
    if (!make_updates(plan, assigns, assign_count, at + output_count, err))
        return false;
    gather(plan);
    find_lifetimes(plan, at, count, output_count);
    if (!prepare_steps(plan, err))
        return false;
    plan->block_bytes = pack(plan, true);
    plan->workspace_bytes = pack(plan, false);
    if (!allocate_block(plan, err) || !load_constants(plan, err))
        return false;
    if (!plan->backend->execute)
        make_calls(plan);
    return true;
}

struct plan *plan_create(struct store *store, struct node *const *outputs, size_t output_count,
                         const struct assign *assigns, size_t assign_count, struct error *err)
{
    struct plan *plan = memory_grow(NULL, 1, sizeof *plan);
    *plan = (struct plan){ .store = store, .backend = store_backend(store) };
    arena_init(&plan->arena);
    const char *profile = getenv("LETHE_PROFILE");
    plan->measured = profile && strcmp(profile, "1") == 0;
    plan->threads = (size_t)parallel_threads();
    struct node **roots = gather_roots(plan, outputs, output_count, assigns, assign_count);
    plan->graph = roots[0]->graph;
    plan->nodes = graph_size(plan->graph);
    if (!build(plan, roots, output_count, assigns, assign_count, err)) {
        plan_free(plan);
        return NULL;
    }
    return plan;
}

void plan_free(struct plan *plan)
{
    if (!plan)
        return;
    if (plan->backend->recorder && plan->ran) /* what steps have loaded may still run, */
        plan->backend->recorder->wait();
    if (plan->recording) /* and a recording refers to it */
        plan->backend->recorder->erase(plan->recording);
    for (size_t i = 0; plan->backend->dispose && i < plan->prepared; i++)
        plan->backend->dispose(&plan->steps[i]);
    plan->backend->release(plan->block);
    graph_free(plan->rewritten);
    free(plan->buffers);
    arena_release(&plan->arena);
    free(plan);
}

struct plan *plan_initial(struct store *store, struct node *const *parameters, size_t count,
                          struct error *err)
{
    struct assign *assigns = memory_grow(NULL, count, sizeof *assigns);
    for (size_t i = 0; i < count; i++) {
        CHECK(parameters[i]->op == OP_PARAMETER, "%s has no first value",
              ops[parameters[i]->op].name);
        assigns[i] = (struct assign){ parameters[i], parameters[i]->leaf.initial };
    }
    struct plan *plan = plan_create(store, NULL, 0, assigns, count, err);
    free(assigns);
    return plan;
}

static int find_buffer(const struct plan *plan, const struct node *node)
{
    bool known = node->graph == plan->graph && (size_t)node->id < plan->nodes;
    return known ? plan->buffer_of[node->id] : -1;
}

void plan_part(struct plan *plan, uint64_t part)
{
    CHECK(part == 0 || plan->backend->draws_parts, "the backend %s draws no parts",
          plan->backend->name);
    plan->part = part;
}

void plan_write(struct plan *plan, const struct node *input, const void *host)
{
    CHECK(input->op == OP_INPUT, "%s is no input", ops[input->op].name);
    int buffer = find_buffer(plan, input);
    if (buffer < 0)
        return;
    plan->backend->copy_in(plan->memory[buffer], host, input->dtype, shape_count(input->shape));
    plan->written[buffer] = true;
}

void plan_read(const struct plan *plan, const struct node *output, void *host)
{
    void *memory = plan_memory(plan, output);
    CHECK(memory, "%s (%s:%d) is no output of the plan", ops[output->op].name, output->site.file,
          output->site.line);
    plan->backend->copy_out(host, memory, output->dtype, shape_count(output->shape));
}

bool plan_check(const struct plan *plan, struct error *err)
{
    return plan->backend->finish(err);
}

void *plan_memory(const struct plan *plan, const struct node *node)
{
    int buffer = find_buffer(plan, node);
    return buffer < 0 ? NULL : plan->memory[buffer];
}

static bool check_written(const struct plan *plan, struct error *err)
{
    for (size_t i = 0; i < plan->buffer_count; i++) {
        const struct node *leaf = plan->buffers[i].leaf;
        if (leaf && leaf->op == OP_INPUT && !plan->written[i])
            return error_set(err, "the input \"%s\" has no value yet", leaf->leaf.name);
        if (leaf && leaf->op == OP_PARAMETER && !plan->tensor_of[i]->written)
            return error_set(err, "the parameter \"%s\" has no value yet: initialise or load it",
                             leaf->leaf.name);
    }
    return true;
}

static void apply_updates(const struct plan *plan)
{
    for (size_t i = 0; i < plan->update_count; i++) {
        const struct update *update = &plan->updates[i];
        if (update->from >= 0)
            plan->backend->copy(update->to->memory, plan->memory[update->from], update->to->dtype,
                                shape_count(update->to->shape));
        update->to->written = true;
    }
}

/* Those of a group share its time as they share its bytes. */
static void note_time(struct step *step, double seconds)
{
    size_t bytes = 0;
    for (size_t i = 0; i < step->together; i++)
        bytes += step_bytes(&step[i]);
    for (size_t i = 0; i < step->together; i++)
        step[i].seconds += bytes ? seconds * (double)step_bytes(&step[i]) / (double)bytes
                                 : seconds / (double)step->together;
}

static void run_step(struct plan *plan, size_t at, struct run *run)
{
    struct step *step = &plan->steps[at];
    if (!plan->backend->execute) {
        struct call *call = &plan->calls[at];
        call->step = run->step;
        call->seed = run->seed;
        call->part = run->part;
        plan->backend->kernels[step->node->op](call);
        return;
    }
    run->scratch = plan->scratch_of[at] < 0 ? NULL : plan->memory[plan->scratch_of[at]];
    plan->backend->execute(step, run);
}

static void run_steps(struct plan *plan, struct run *run)
{
    const struct recorder *recorder = plan->backend->recorder;
    for (size_t i = 0; i < plan->step_count; i++) {
        if (!plan->steps[i].together || (plan->ran && plan->steps[i].once))
            continue;
        double start = plan->measured ? clock_seconds() : 0;
        run_step(plan, i, run);
        if (plan->measured && recorder)
            recorder->wait();
        if (plan->measured)
            note_time(&plan->steps[i], clock_seconds() - start);
    }
    plan->runs += plan->measured;
    plan->ran = true;
    apply_updates(plan);
}

/* The second run of a plan is noted by a device that can; from then on it is replayed. One that
 * cannot be noted goes on step by step. */
static void run_recorded(struct plan *plan, struct run *run)
{
    const struct recorder *recorder = plan->backend->recorder;
    if (!plan->recording && !plan->unrecordable) {
        if (recorder->record(&plan->refusal)) {
            run_steps(plan, run);
            plan->recording = recorder->recorded(&plan->refusal);
        }
        plan->unrecordable = !plan->recording;
    }
    if (plan->recording)
        recorder->replay(plan->recording);
    else
        run_steps(plan, run);
}

static void move(struct plan *plan)
{
    find_memory(plan);
    if (!plan->backend->execute)
        make_calls(plan);
    if (plan->recording)
        plan->backend->recorder->erase(plan->recording);
    plan->recording = NULL;
}

bool plan_run(struct plan *plan, uint64_t step, uint64_t seed, struct error *err)
{
    if (!check_written(plan, err))
        return false;
    if (plan->workspace != store_workspace(plan->store))
        move(plan);
    struct run run = { .memory = plan->memory,
                       .threads = plan->threads,
                       .seed = seed,
                       .step = step,
                       .part = plan->part };
    if (plan->backend->recorder)
        plan->backend->recorder->begin(seed, step, plan->part);
    if (!plan->backend->recorder || !plan->ran || plan->measured)
        run_steps(plan, &run);
    else
        run_recorded(plan, &run);
    return plan->backend->finish(err);
}

size_t plan_bytes(const struct plan *plan)
{
    return plan->block_bytes + plan->workspace_bytes;
}

bool plan_is_replayed(const struct plan *plan)
{
    return plan->recording;
}

const char *plan_refusal(const struct plan *plan)
{
    return plan->unrecordable ? plan->refusal.message : NULL;
}

static void tell_makeshift(const struct step *step, FILE *out)
{
    char shape[SHAPE_TEXT];
    fprintf(out, "%s (%s:%d) of", ops[step->node->op].name, step->node->site.file,
            step->node->site.line);
    for (int i = 0; i < step->node->sources; i++)
        fprintf(out, "%s %s %s", i ? "," : "", dtype_name(step->in[i].dtype),
                shape_text(step->in[i].shape, shape));
    fprintf(out, ": %s\n", step->makeshift);
}

size_t plan_makeshifts(const struct plan *plan, FILE *out)
{
    size_t count = 0;
    for (size_t i = 0; i < plan->step_count; i++)
        if (plan->steps[i].makeshift) {
            tell_makeshift(&plan->steps[i], out);
            count++;
        }
    return count;
}

size_t plan_kernels(const struct plan *plan)
{
    size_t count = 0;
    for (size_t i = 0; i < plan->step_count; i++)
        count += plan->steps[i].together > 0;
    return count;
}

void plan_measure(struct plan *plan, bool on)
{
    plan->measured = on;
}

void plan_profile(const struct plan *plan, FILE *out)
{
    profile_write(plan->steps, plan->step_count, plan->runs, out);
}
