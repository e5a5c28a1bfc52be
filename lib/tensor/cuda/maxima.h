/* The maxima of tensor/maxima.h on one CUDA device. */
#ifndef CUDA_MAXIMA_H
#define CUDA_MAXIMA_H

#include "tensor/maxima.h"

/* Starts the device; once for a process. */
const struct maxima_methods *cuda_maxima_open(int device, struct error *err) MUST_USE;

/* Its kernel's text. */
extern const char cuda_maxima_source[];

#endif
