/* The backend of the first GPU, for tests that are the CPU backend's compiled for another one. A
 * machine without a GPU skips them; it does not pass them. */
#ifndef TESTS_GPU_BACKEND_H
#define TESTS_GPU_BACKEND_H

#include "tensor/device.h"

#include <stdio.h>
#include <stdlib.h>

enum { SKIPPED = 77 }; /* CTest's, by SKIP_RETURN_CODE */

static inline const struct backend *gpu_backend(void)
{
    struct error err;
    static const struct backend *backend;
    if (!backend && !(backend = device_backend("cuda", &err))) {
        fprintf(stderr, "skipped: no device: %s\n", err.message);
        exit(SKIPPED);
    }
    return backend;
}

#endif
