/* Which of the ways that a library knows for one piece of work is the fastest on this device, found
 * by measuring them; for steps that ask for it (tensor/algorithms.h).
 *
 *     struct work work;
 *     work_of_product(product, &work);
 *     if (!fastest_known(&work, &way)) {
 *         … work.ways, work.scratch, work.run, work.context …
 *         way = fastest_measure(&work);
 *     }
 *
 * Ways have numbers, in the order in which the library proposes them. What was measured is known
 * until the process ends: a layer that stands in a network ten times, and in three plans, is
 * measured once. Only where the memory for it cannot be had the first way is taken, unmeasured.
 */
#ifndef CUDA_FASTEST_H
#define CUDA_FASTEST_H

#include "cuda/libraries.h"

enum { WORK_WAYS = 8, WORK_TENSORS = 4, WORK_NUMBERS = 32 };
#define WORK_IMPOSSIBLE SIZE_MAX

struct work {
    int64_t number[WORK_NUMBERS]; /* which work: op, shapes, layout, types; the others are 0 */
    size_t tensor[WORK_TENSORS];  /* bytes of each; 0: it has no such tensor */
    int ways;
    size_t scratch[WORK_WAYS]; /* bytes that each way takes beside; WORK_IMPOSSIBLE: not this way */
    /* Asks the device for it; `tensor` and `scratch` are device memory, of small numbers. */
    bool (*run)(void *context, int way, void *const *tensor, void *scratch);
    void *context;
};

/* What is told by the description alone; tensors: image, weight, output; a, b, d, bias. */
void work_of_convolution(const struct convolution *convolution, struct work *work);
void work_of_product(const struct product *product, struct work *work);

bool fastest_known(const struct work *work, int *way);
int fastest_measure(const struct work *work);

#endif
