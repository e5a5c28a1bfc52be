/* The CPU backend: oneDNN for convolutions and matrix products, fused vector loops for the rest,
 * on all threads of base/parallel.h. Tensors lie as float, uint16_t (bf16) and int32_t.
 *
 * A plan is made for the number of threads at that time: it may run with fewer later, not more.
 * Results are the same, bit for bit, on the same machine with the same number of threads.
 */
#ifndef TENSOR_CPU_H
#define TENSOR_CPU_H

#include "tensor/backend.h"

extern const struct backend cpu_backend;

/* The version of oneDNN that is loaded, and the instructions that it uses here. */
const char *cpu_library_version(void);

#endif
