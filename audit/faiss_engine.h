/* What the faiss engine makes of images for FAISS, which the benchmark with FAISS as peer needs,
 * too. */
#ifndef AUDIT_FAISS_ENGINE_H
#define AUDIT_FAISS_ENGINE_H

#include "audit/engine.h"

/* x̂ = (x − mean) / ‖x − mean‖ of images [first, first + count), (count, pixels.count); zero
 * without variance. */
void unit_vectors(const struct search *search, const struct image_set *set, size_t first,
                  size_t count, const struct moments *moments, float *out);

#endif
