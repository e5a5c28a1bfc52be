/* A plan, as its files share it: plan.c makes it, plan_memory.c decides where buffers lie,
 * plan_run.c runs it. */
#ifndef TENSOR_PLAN_PARTS_H
#define TENSOR_PLAN_PARTS_H

#include "base/arena.h"
#include "tensor/backend.h"
#include "tensor/plan.h"
#include "tensor/schedule.h"

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

/* Whether a buffer lies in the plan's own block; parameters, and what is written into them, lie in
 * neither. */
static inline bool buffer_must_last(const struct buffer *buffer)
{
    return buffer->leaf || buffer->kept;
}

/* plan_memory.c */

/* Marks the steps that need to be run once. */
void plan_find_constancy(struct plan *plan);
/* From which step to which each buffer is taken; roots: outputs first, then assigned values. */
void plan_find_lifetimes(struct plan *plan, const struct view *roots_at, size_t root_count,
                         size_t output_count);
/* Brings together what the backend does together: once it is known what is written in place, and
 * before anything else has its place. */
void plan_gather(struct plan *plan);
/* Gives buffers their offsets, in the plan's own block or in the workspace; returns its bytes. */
size_t plan_pack(struct plan *plan, bool lasting);
bool plan_allocate(struct plan *plan, struct error *err) MUST_USE;
/* Fills in where buffers lie; again when the workspace has moved. */
void plan_find_memory(struct plan *plan);

/* plan_run.c: of a plain backend, what its kernels are called with; again when memory has moved. */
void plan_make_calls(struct plan *plan);

#endif
