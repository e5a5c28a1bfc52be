/* Machine code for a device. compiler.c is this over NVRTC, and the whole contact surface with it;
 * no device is needed, only its kind.
 *
 *     struct code code;
 *     if (!compiler_aim(9, 0, err) || !compiler_build(&source, 1, false, &code, err)) …
 */
#ifndef CUDA_COMPILER_H
#define CUDA_COMPILER_H

#include "base/error.h"

#include <stddef.h>

struct code {
    char *bytes; /* the caller frees them */
    size_t size;
    bool cached;
};

/* From now on for devices of this compute capability. */
bool compiler_aim(int major, int minor, struct error *err) MUST_USE;

/* Code of sources in CUDA C, compiled at the same time, on as many cores as there are. It is kept
 * in $XDG_CACHE_HOME/lethe (~/.cache/lethe), by the digest of source, compiler and kind of device;
 * `anew`: what lies there is not used, but replaced. False where a source fails, with the
 * compiler's words on the first that does; then there is no code of any. */
bool compiler_build(const char *const *sources, size_t count, bool anew, struct code *codes,
                    struct error *err) MUST_USE;

#endif
