/* The CUDA backend: steps of a plan as kernels and library calls on one device. */
#ifndef CUDA_BACKEND_H
#define CUDA_BACKEND_H

#include "tensor/backend.h"

/* Starts the device; once for a process. */
const struct backend *cuda_backend_open(int device, struct error *err) MUST_USE;

#endif
