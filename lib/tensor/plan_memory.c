/* Where a plan's buffers lie; see plan_parts.h.
 *
 * A buffer is taken from the first step that writes it to the last that reads it. Inputs,
 * constants, outputs and what is computed from constants alone lie in a block of the plan's own;
 * all else, and the scratch memory of each step, in the store's workspace, which its plans share.
 * Both are packed: the largest buffer first, each at the lowest offset where it meets none that
 * lives at the same time. */
#include "tensor/plan_parts.h"

#include "tensor/gather.h"

#include <stdlib.h>

enum { ALIGNMENT = 64, ONCE_BYTES = 1 << 18 };

/* ---- lifetimes ------------------------------------------------------------------------------- */

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

void plan_find_constancy(struct plan *plan)
{
    for (size_t at = 0; at < plan->step_count; at++) {
        struct step *step = &plan->steps[at];
        step->once =
            plan->backend->execute && step->node->op != OP_NORMAL && step->node->op != OP_UNIFORM;
        visit_buffers(plan, at, note_constancy);
        visit_buffers(plan, at, step->once ? keep_written : vary_written);
    }
}

void plan_find_lifetimes(struct plan *plan, const struct view *roots_at, size_t root_count,
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

/* ---- groups of steps ------------------------------------------------------------------------- */

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

void plan_gather(struct plan *plan)
{
    if (!plan->backend->gathers)
        return;
    int *place = memory_grow(NULL, plan->buffer_count + 1, sizeof *place);
    size_t *held = memory_grow(NULL, plan->buffer_count + 1, sizeof *held);
    for (size_t i = 0; i < plan->buffer_count; i++) {
        place[i] = place_of(plan, i);
        held[i] =
            plan->tensor_of[i] || buffer_must_last(&plan->buffers[i]) ? 0 : plan->buffers[i].bytes;
    }
    gather_steps(plan->steps, plan->step_count, plan->backend, place, held, plan->buffer_count);
    free(place);
    free(held);
}

/* ---- packing --------------------------------------------------------------------------------- */

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

size_t plan_pack(struct plan *plan, bool lasting)
{
    struct buffer **order = memory_grow(NULL, plan->buffer_count, sizeof *order);
    struct buffer **placed = memory_grow(NULL, plan->buffer_count, sizeof *placed);
    size_t count = 0, bytes = 0;
    size_t alignment = plan->backend->alignment ? plan->backend->alignment : ALIGNMENT;
    for (size_t i = 0; i < plan->buffer_count; i++) {
        struct buffer *buffer = &plan->buffers[i];
        buffer->bytes = (buffer->bytes + alignment - 1) / alignment * alignment;
        if (!plan->tensor_of[i] && buffer->first <= buffer->last &&
            buffer_must_last(buffer) == lasting)
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

/* ---- memory ---------------------------------------------------------------------------------- */

void plan_find_memory(struct plan *plan)
{
    plan->workspace = store_workspace(plan->store);
    for (size_t i = 0; i < plan->buffer_count; i++) {
        const struct buffer *buffer = &plan->buffers[i];
        char *base = buffer_must_last(buffer) ? plan->block : plan->workspace;
        plan->memory[i] = plan->tensor_of[i] ? plan->tensor_of[i]->memory : base + buffer->offset;
    }
}

bool plan_allocate(struct plan *plan, struct error *err)
{
    size_t bytes = plan->block_bytes ? plan->block_bytes : ALIGNMENT;
    if (!store_reserve(plan->store, plan->workspace_bytes + ALIGNMENT, err))
        return false;
    plan->block = plan->backend->allocate(bytes, "a plan's inputs and outputs", err);
    plan->memory = arena_array(&plan->arena, void *, plan->buffer_count);
    if (plan->block)
        plan_find_memory(plan);
    return plan->block;
}
