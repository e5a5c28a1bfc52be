/* The CUDA plug-in: lethe-cuda.so, loaded at run time from beside the binary, so that one binary
 * serves machines with and without a GPU.
 *
 * This header is the whole interface between the two. It is C with plain types only, and holds a
 * version, so that a plug-in of another build is refused instead of misread.
 */
#ifndef TENSOR_CUDA_PLUGIN_H
#define TENSOR_CUDA_PLUGIN_H

#include <stddef.h>

#define CUDA_PLUGIN_VERSION 1
#define CUDA_PLUGIN_FILE    "lethe-cuda.so"
#define CUDA_PLUGIN_SYMBOL  "lethe_cuda_plugin"

struct cuda_plugin {
    int version; /* CUDA_PLUGIN_VERSION */

    /* How many devices can be used. 0 with a message when there is none, or no driver for them. */
    int (*devices)(char *message, size_t size);
    /* One line on a device: name, compute capability, memory. */
    void (*describe)(int device, char *text, size_t size);
    /* One line on the run-time libraries: CUDA, cuBLAS, cuDNN. */
    void (*libraries)(char *text, size_t size);
};

#endif
