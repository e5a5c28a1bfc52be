/* Plans: how they are made; see plan.h. plan_memory.c decides where buffers lie, plan_run.c runs.
 *
 * For a fusing backend the graph is rewritten (rewrite.c), lowered to jobs over buffers (lower.c)
 * and these are joined to steps (fuse.c); for a plain one each needed node is a step. Either way a
 * plan is then a list of steps over buffers. Where the backend does steps together, they are
 * brought together (gather.c) before anything has its place.
 *
 * An assigned value is written straight to its parameter where no step after that reads the old
 * one; where the same loop reads it, element by element, it stores after it has read.
 */
#include "tensor/plan_parts.h"

#include "base/parallel.h"
#include "tensor/build.h"
#include "tensor/combine.h"
#include "tensor/fuse.h"
#include "tensor/rewrite.h"

#include <stdlib.h>
#include <string.h>

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
    if (!plan->backend->execute || plan->tensor_of[from] || buffer_must_last(fresh) ||
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
    plan_find_constancy(plan);
    plan_find_lifetimes(plan, at, count, output_count);
    if (!make_updates(plan, assigns, assign_count, at + output_count, err))
        return false;
    plan_gather(plan);
    plan_find_lifetimes(plan, at, count, output_count);
    if (!prepare_steps(plan, err))
        return false;
    plan->block_bytes = plan_pack(plan, true);
    plan->workspace_bytes = plan_pack(plan, false);
    if (!plan_allocate(plan, err) || !load_constants(plan, err))
        return false;
    if (!plan->backend->execute)
        plan_make_calls(plan);
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
