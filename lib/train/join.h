/* Parts of a synthetic set, drawn one by one, perhaps on several machines, put together.
 *
 *     const char *parts[] = { "part-0", "part-1" };
 *     sample_join(parts, 2, "synthetic", &count, err);
 *
 * The parts must be of the same weights, seed and options, and follow on each other without gap or
 * overlap in the order given. The result has the bytes of a set that was drawn at once.
 */
#ifndef TRAIN_JOIN_H
#define TRAIN_JOIN_H

#include "base/error.h"

#include <stddef.h>

/* `count`: the images of the whole. */
bool sample_join(const char *const *parts, size_t part_count, const char *out, size_t *count,
                 struct error *err) MUST_USE;

#endif
