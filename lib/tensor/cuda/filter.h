/* The filter of tensor/filter.h on one CUDA device. */
#ifndef CUDA_FILTER_H
#define CUDA_FILTER_H

#include "tensor/filter.h"

/* Starts the device; once for a process. Refused where it has no bf16. */
const struct filter_methods *cuda_filter_open(int device, struct error *err) MUST_USE;

/* Its kernels' text. */
extern const char cuda_filter_source[];

#endif
