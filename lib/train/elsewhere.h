/* A synthetic set that was made elsewhere, taken into a run instead of a drawn one.
 *
 *     if (!sample_elsewhere("partner/set", "run/synthetic", true, &count, err)) …
 *
 * A dataset store of synthetic images (lethe ingest --role synthetic makes one of PNGs or arrays),
 * whose files are what its dataset.json says; copied byte for byte, so that it keeps its digests.
 */
#ifndef TRAIN_ELSEWHERE_H
#define TRAIN_ELSEWHERE_H

#include "base/error.h"

#include <stddef.h>

bool sample_elsewhere(const char *store, const char *out, bool replace, size_t *count,
                      struct error *err) MUST_USE;

#endif
