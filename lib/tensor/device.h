/* Which device computes: the processor, or a GPU through the CUDA plug-in (cuda/plugin.h).
 *
 *     const struct backend *backend = device_backend("auto", &err);
 */
#ifndef TENSOR_DEVICE_H
#define TENSOR_DEVICE_H

#include "tensor/backend.h"
#include "tensor/filter.h"
#include "tensor/maxima.h"

/* The backend of "cpu", "cuda" (the first GPU), "cuda:N", or "auto" (a GPU where there is one that
 * can be used, else the processor). NULL and a message when the word is none of these, or the
 * device asked for cannot be had. A GPU that was started stays so until the process ends. */
const struct backend *device_backend(const char *device, struct error *err) MUST_USE;

/* What the word asks for: the number of a GPU, or one of these. */
enum { DEVICE_CPU = -1, DEVICE_AUTO = -2 };
bool device_number(const char *device, int64_t *number, struct error *err) MUST_USE;

/* The same words, for searches: NULL where the processor is to do them. */
bool device_filter(const char *device, const struct filter_methods **filter,
                   struct error *err) MUST_USE;
bool device_maxima(const char *device, const struct maxima_methods **maxima,
                   struct error *err) MUST_USE;

/* The plug-in (base/plugin.h); NULL with the reason. */
struct cuda_plugin;
const struct cuda_plugin *device_plugin(struct error *reason);

#endif
