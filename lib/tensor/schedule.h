/* What a planner hands to a backend that fuses: buffers, views into them, and steps.
 *
 *     graph ─ rewrite.c ─ another graph ─ lower.c ─ values ─ fuse.c ─ steps ─ plan.c, plan_memory.c
 *
 * A view is a strided window of a buffer: reshape, slice, permute, flip, broadcast and detach cost
 * nothing. A step is either one matrix op (a node and its views), or a loop: a chain of elementwise
 * ops with reductions at its ends, as a small program that is evaluated tile by tile, so that each
 * value in between touches no memory beyond the first-level cache.
 *
 * Images (rank 4) lie channels-last (N,H,W,C) between steps, everything else row-major, unless a
 * chain inherits another order from what it reads. Measured on 2 cores of Zen 4, 3×3 convolutions
 * reach 215 / 196 / 163 GFLOP/s (forward / data / weights) this way against 216 / 216 / 187 in the
 * library's own blocked layout; for that, loops see plain strides, a channel is the innermost
 * axis of every pass, and slices, groups and joins of channels are views.
 */
#ifndef TENSOR_SCHEDULE_H
#define TENSOR_SCHEDULE_H

#include "tensor/algorithms.h"
#include "tensor/graph.h"

struct view {
    int buffer;
    enum dtype dtype;
    struct shape shape;
    int64_t offset; /* in elements */
    int64_t stride[RANK_MAX];
};

/* Loops. */

enum { LOOP_AXES = 10, LOOP_TILE = 1024, LOOP_OPERANDS = 48, LOOP_INSTRUCTIONS = 192 };

/* Beyond the elementwise ops, what fusing makes of several: */
enum loop_op {
    LOOP_COPY = OP_COUNT, /* a */
    LOOP_MUL_ADD,         /* a·b + c */
    LOOP_SELECT,          /* a > b ? c : d */
    LOOP_LEAKY,           /* a > 0 ? b : b·scale */
    LOOP_ROUND,           /* to bf16 and back */
    LOOP_TRUNCATE,        /* towards zero */
    LOOP_OPS
};

/* A value of a loop: an operand in memory (below `operands`), then constants, then registers. */
struct instruction {
    int op; /* enum op_id or enum loop_op */
    int out, in[4];
    float scale, shift;
};

enum operand_use { OPERAND_LOAD, OPERAND_STORE, OPERAND_SUM, OPERAND_MAX };

struct operand {
    enum operand_use use;
    enum dtype dtype;
    int buffer;
    int64_t offset;            /* in elements */
    int64_t stride[LOOP_AXES]; /* along the outer axes; of a reduction 0 along reduced ones */
    int64_t row, column;       /* within a tile */
    const int32_t *index;      /* where columns have no one stride: the offset of each */
    bool direct;               /* a tile of it is dense float: used where it lies. Not of a store to
                                  a place that is read by this loop (an update in place) */
    int value;                 /* stores, reductions: the value that goes there */
};

/* Axes are walked from the outermost: kept ones, reduced ones, then the rows and columns of a
 * tile. Columns may be several axes of the tensors, merged. A result of a reduction has as many
 * elements as the kept axes. */
struct loop {
    int axes, kept; /* outer ones; the first `kept` of them are not reduced */
    int64_t size[LOOP_AXES];
    int64_t rows, columns;
    bool row_reduced, column_reduced;
    int operands, constants, registers, instructions;
    struct operand *operand;
    float *constant;
    struct instruction *instruction;
};

/* Steps. */

struct step {
    const struct node *node;    /* for its attributes, site and scope; of a loop: its last root */
    const struct loop *loop;    /* NULL: the node is computed by itself */
    struct view out, *in;       /* when it is not a loop */
    enum algorithms algorithms; /* as the store asks for; for prepare to heed */
    size_t scratch;             /* bytes that it needs while it runs; set by prepare */
    void *state;                /* the backend's, made by prepare */
    const char *makeshift;      /* how it is done where not as it should be; set by prepare */
    double flops;
    double seconds;  /* measured, when profiling */
    bool once;       /* depends on constants alone: its first run is its last */
    size_t together; /* so many steps, this one first, are prepared and run at once, as they do not
                        depend on each other; 0: it is one of those after a first */
};

/* A run of a step: where buffers lie, and scratch memory that is its own while it runs. */
struct run {
    void *const *memory;
    void *scratch;
    size_t threads; /* at most so many; scratch memory is for these */
    uint64_t seed, step, part;
};

struct buffer {
    size_t bytes, offset;
    size_t first, last;      /* steps between which it is taken */
    const struct node *leaf; /* an input, parameter or constant that it holds, else NULL */
    bool varies;             /* a step that is not run once writes to it */
    bool kept;               /* from its first step to the end: outputs, and what is made once */
};

#endif
