/* A device that is this processor: cuda/device.h and cuda/libraries.h without CUDA, so that the
 * texts of kernels, the layouts of matrix steps and the recording of runs are tested where there is
 * no GPU. What it cannot show: that CUDA's compiler, libraries and hardware agree (tests/gpu).
 *
 * A program is compiled as C++ by the system's compiler, with CUDA's words defined as what they
 * mean here. A kernel's threads run one after the other; where it has barriers, each is a coroutine
 * that yields there. Matrix work is done by plain loops in double precision.
 *
 * It is as strict as it can be (emulation_test.c): memory, a block's too, holds NaN until it is
 * written; addresses that are no multiples of what is moved at once, grids, blocks and arguments
 * beyond a device's limits, shuffles in half a warp, barriers in half a block, and in a recording
 * all that CUDA forbids there end the process; warps run as far ahead of each other as barriers let
 * them, and blocks in either order.
 */
#ifndef TESTS_CUDA_EMULATION_H
#define TESTS_CUDA_EMULATION_H

#include "tensor/backend.h"
#include "tensor/filter.h"
#include "tensor/maxima.h"

const struct backend *emulated_backend(void);
const struct filter_methods *emulated_filter(void);
const struct maxima_methods *emulated_maxima(void);

/* Products of bf16 numbers are summed as a tensor core does it that cuts as much as one may: so
 * many at once, aligned to the largest and cut at 24 bits. 0: in double precision, as at the start.
 */
void emulation_cut(int terms);

/* Whether products are refused that add a bias, as a library may. */
void emulation_refuse_bias(bool refuse);

/* How often attention was prepared to be done by the library so far. */
size_t emulation_attentions(void);

/* The emulated libraries know so many ways for each convolution and product, which differ in
 * scratch memory alone. Where the fastest is asked for, all round factors of f32 to TF32. How long
 * each takes, on a clock that nothing else moves; below 0: it fails. At first 1 each. */
enum { EMULATED_WAYS = 3, EMULATED_SCRATCH = 64 /* of the first; of the second twice as much … */ };
void emulation_costs(const double seconds[EMULATED_WAYS]);
/* How often any way was timed so far; and how often this one was run, or recorded, for a plan. */
size_t emulation_timed(void);
size_t emulation_run(int way);

/* Memory that can be had at once; SIZE_MAX at first: as much as there is. */
void emulation_available(size_t bytes);

/* Whether what was recorded is thrown away, as where a library does what cannot be recorded. */
void emulation_refuse_recording(bool refuse);

#endif
