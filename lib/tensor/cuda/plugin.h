/* The CUDA plug-in: lethe-cuda.so, loaded at run time from beside the binary, so that one binary
 * serves machines with and without a GPU.
 *
 * This table is the whole interface between the two. A plug-in of another build is refused instead
 * of misread: `build` is the version and the sizes of what both sides look into.
 */
#ifndef TENSOR_CUDA_PLUGIN_H
#define TENSOR_CUDA_PLUGIN_H

#include "tensor/backend.h"
#include "tensor/filter.h"
#include "tensor/maxima.h"

#define CUDA_PLUGIN_FILE   "lethe-cuda.so"
#define CUDA_PLUGIN_SYMBOL "lethe_cuda_plugin"

struct cuda_build {
    char version[16];
    size_t backend, step, loop, node, filter, maxima;
};

#define CUDA_BUILD                                                                                 \
    {                                                                                              \
        LETHE_VERSION, sizeof(struct backend), sizeof(struct step), sizeof(struct loop),           \
            sizeof(struct node), sizeof(struct filter_methods), sizeof(struct maxima_methods)      \
    }

struct cuda_plugin {
    struct cuda_build build;

    /* How many devices can be used. 0 with a message when there is none, or no driver for them. */
    int (*devices)(char *message, size_t size);
    /* One line on a device: name, compute capability, memory. */
    void (*describe)(int device, char *text, size_t size);
    /* One line on the run-time libraries: CUDA, cuBLAS, cuDNN. */
    void (*libraries)(char *text, size_t size);
    /* Starts a device, once for a process. */
    const struct backend *(*open)(int device, struct error *err);
    /* The same device, for searches. */
    const struct filter_methods *(*filter)(int device, struct error *err);
    const struct maxima_methods *(*maxima)(int device, struct error *err);
};

#endif
