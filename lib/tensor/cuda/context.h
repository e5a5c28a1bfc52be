/* What the files over NVIDIA's libraries share: the stream, and how to compute. Only these files
 * see CUDA. */
#ifndef CUDA_CONTEXT_H
#define CUDA_CONTEXT_H

#include <stdbool.h>
#include <stddef.h>

/* A cudaStream_t; both are pointers to the same opaque struct. */
void *context_stream(void);

/* Whether f32 matrix work may round its factors to TF32 (LETHE_TF32=1): faster, 10 bits. Work that
 * is to be the fastest may anyway. */
bool context_tf32(void);

#endif
