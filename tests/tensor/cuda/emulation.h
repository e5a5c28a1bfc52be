/* A device that is this processor: cuda/device.h and cuda/libraries.h without CUDA, so that the
 * texts of kernels, the layouts of matrix steps and the recording of runs are tested where there is
 * no GPU. What it cannot show: that CUDA's compiler, libraries and hardware agree (tests/gpu).
 *
 * A program is compiled as C++ by the system's compiler, with CUDA's words defined as what they
 * mean here. A kernel's threads run one after the other; where it has barriers, each is a coroutine
 * that yields there. Matrix work is done by plain loops in double precision.
 */
#ifndef TESTS_CUDA_EMULATION_H
#define TESTS_CUDA_EMULATION_H

#include "tensor/backend.h"
#include "tensor/filter.h"

const struct backend *emulated_backend(void);
const struct filter_methods *emulated_filter(void);

/* Products of bf16 numbers are summed as a tensor core does it that cuts as much as one may: so
 * many at once, aligned to the largest and cut at 24 bits. 0: in double precision, as at the start.
 */
void emulation_cut(int terms);

/* Whether products are refused that add a bias, as a library may. */
void emulation_refuse_bias(bool refuse);

/* Whether what was recorded is thrown away, as where a library does what cannot be recorded. */
void emulation_refuse_recording(bool refuse);

#endif
