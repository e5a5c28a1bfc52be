/* Backends: a table of kernels and a memory of their own.
 *
 * Device memory is an opaque pointer that only its backend may look into: it is allocated, freed
 * and copied by the backend, so nothing here assumes that kernels run on this processor. How many
 * bytes an element takes there is the backend's choice.
 *
 * There are two kinds. A plain backend has a kernel for each op, which computes one node from dense
 * row-major sources to a dense row-major result; a NULL slot means "unsupported" and is told when a
 * plan is made. A fusing backend has `prepare` and `execute` instead: it is given the steps of
 * schedule.h, each a fused loop or a matrix op over strided views. Inputs, parameters and constants
 * need neither: a plan binds them.
 */
#ifndef TENSOR_BACKEND_H
#define TENSOR_BACKEND_H

#include "tensor/schedule.h"

struct call {
    const struct node *node;
    void *out;
    void *const *in; /* one for each source */
    uint64_t seed, step, part;
};

/* Backends whose device can note a whole run and do it again at once: the first run of a plan is
 * done step by step, the second is noted, all others are replayed. Where noting fails nothing was
 * done, and the plan goes on step by step. */
struct recorder {
    /* Before each run: what random leaves draw from. */
    void (*begin)(uint64_t seed, uint64_t step, uint64_t part);
    bool (*record)(struct error *err) MUST_USE; /* steps that follow are noted, not done */
    void *(*recorded)(struct error *err)MUST_USE;
    void (*replay)(const void *recording);
    void (*erase)(void *recording);
    void (*wait)(void); /* until the device has nothing left to do; for measuring */
};

struct backend {
    const char *name;
    size_t element_bytes[DTYPE_COUNT];
    size_t alignment; /* of buffers within what it allocates; 0: 64 */

    /* `what` names the buffer in the message when it cannot be had. */
    void *(*allocate)(size_t bytes, const char *what, struct error *err);
    void (*release)(void *memory); /* NULL is fine */

    /* Between host memory (dense; float, bf16 as uint16_t, int32_t) and device memory. */
    void (*copy_in)(void *device, const void *host, enum dtype dtype, size_t count);
    void (*copy_out)(void *host, const void *device, enum dtype dtype, size_t count);
    void (*copy)(void *to, const void *from, enum dtype dtype, size_t count); /* device to device */
    /* Host memory that is copied from and to again and again, from now on or no longer, so that it
     * can be done faster; NULL: it cannot. */
    void (*pin)(void *host, size_t bytes, bool pinned);

    /* False when the device has failed so far. A device may still be at work: what is read from it
     * waits for that. */
    bool (*finish)(struct error *err) MUST_USE;

    /* Whether random leaves heed a run's part (plan.h, plan_part). */
    bool draws_parts;

    /* Bytes that can still be had; NULL: not known. */
    size_t (*available)(void);

    /* Whether matrix work in bf16 is faster than in f32 here; NULL: no. */
    bool (*has_bf16)(void);

    void (*kernels[OP_COUNT])(const struct call *call);

    /* A fusing backend: makes what a step needs (its state, and how much scratch memory) when the
     * plan is made, runs it, and frees the state. Of steps that are done together (schedule.h) it
     * is given the first. */
    bool (*prepare)(struct step *step, struct error *err);
    void (*execute)(const struct step *step, const struct run *run);
    void (*dispose)(struct step *step);

    /* Whether weights of convolutions lie (O,kh,kw,C/groups) where a loop makes them (casts them,
     * say), and their gradients always, in the convolution's type. Weights that no loop makes it
     * takes as they are stored. */
    bool weights_last;

    /* Whether it takes this combined op (combine.h), of these sources; NULL: none. */
    bool (*takes)(const struct node *node);

    /* How much of a group the step takes, if it can be done together with steps that it does not
     * depend on; 0: it cannot. A group takes no more than `group_most`. NULL: none. */
    size_t (*gathers)(const struct step *step);
    size_t group_most;

    const struct recorder *recorder; /* NULL: steps are run one by one */
};

/* The stream of random_uniform & co. that a random leaf draws from at a step: its element i is
 * element part · count + i of random_fill_normal (random_fill_uniform) with the run's seed and this
 * stream, `count` its number of elements. */
uint64_t random_leaf_stream(const struct node *leaf, uint64_t step);

/* bf16 as the upper half of a float's bits; to nearest, ties to even; NaN stays NaN. */
uint16_t bf16_from_float(float value);
float bf16_to_float(uint16_t bits);

#endif
