/* Plans: a graph turned into a schedule for one backend, with all memory set aside.
 *
 * A phase of training (generator step, R1 step, …) is one plan, its parameter updates included:
 *
 *     struct assign updates[] = { { w, t_sub(w, t_scale(dw, 0.1)) } };
 *     struct plan *plan = plan_create(store, &loss, 1, updates, 1, &err);
 *     plan_write(plan, image, pixels);
 *     if (!plan_run(plan, step, seed, &err)) …
 *     plan_read(plan, loss, &value);
 *     plan_free(plan);
 *
 * A run computes everything from the parameters as they stood before it, and assigns at its end.
 * It allocates nothing. Graph and store must outlive the plan. Plans of one store share working
 * memory: one runs at a time; outputs stay readable until their own plan runs again.
 */
#ifndef TENSOR_PLAN_H
#define TENSOR_PLAN_H

#include "tensor/store.h"

#include <stdio.h>

struct assign {
    struct node *parameter, *value; /* of equal shape and dtype */
};

struct plan;

/* Outputs can be read after a run; assigned values go to their parameters. NULL and a message
 * when the backend has no kernel for an op, the store holds a parameter of another shape, or
 * the machine has less memory than the plan needs. */
struct plan *plan_create(struct store *store, struct node *const *outputs, size_t output_count,
                         const struct assign *assigns, size_t assign_count,
                         struct error *err) MUST_USE;
void plan_free(struct plan *plan); /* NULL is fine */

/* A plan that gives these parameters their first values. */
struct plan *plan_initial(struct store *store, struct node *const *parameters, size_t count,
                          struct error *err) MUST_USE;

/* From now on the plan's random leaves draw what the part-th piece of larger ones would: element i
 * is element part · count + i of its stream. So a batch that is computed in parts of equal size
 * draws, part by part, the numbers of the whole; leaves that have no axis of images (a scalar) get
 * one number a part. The backend must be one that draws_parts. Plans begin with part 0. */
void plan_part(struct plan *plan, uint64_t part);

/* Sets an input, all of it, from host memory in its dtype. It stays until written again. An input
 * that this plan has no use for is ignored. */
void plan_write(struct plan *plan, const struct node *input, const void *host);

/* Runs the schedule. The error: an input or a parameter that has no value yet, or a device that
 * failed. */
bool plan_run(struct plan *plan, uint64_t step, uint64_t seed, struct error *err) MUST_USE;

/* An output's value, of the last run. A device works on while the host goes on, so it may fail when
 * plan_run has long returned; what is read of it then is nothing. To be asked after reading: */
void plan_read(const struct plan *plan, const struct node *output, void *host);
bool plan_check(const struct plan *plan, struct error *err) MUST_USE;

/* Where an input, a parameter or an output lies in the backend's memory; NULL when the plan has no
 * use for it. */
void *plan_memory(const struct plan *plan, const struct node *node);

/* Bytes of device memory that a run takes, parameters not counted: the plan's own, and its part of
 * the workspace that the plans of a store share. Steps that it runs one after the other. */
size_t plan_bytes(const struct plan *plan);
size_t plan_kernels(const struct plan *plan);

/* Whether its last run was a recording's, done at once: from the second on, on devices that can. */
bool plan_is_replayed(const struct plan *plan);
/* Why a device that can could not record this one, which so goes on step by step; else NULL. */
const char *plan_refusal(const struct plan *plan);

/* How many steps are not done as they should be, as no library takes them so; a line on each. */
size_t plan_makeshifts(const struct plan *plan, FILE *out);

/* Measures the time of each step from now on; plans begin with it on where the environment has
 * LETHE_PROFILE=1. plan_profile writes tables of time, arithmetic and memory traffic by kind of
 * step and by layer, of all runs measured so far. */
void plan_measure(struct plan *plan, bool on);
void plan_profile(const struct plan *plan, FILE *out);

#endif
