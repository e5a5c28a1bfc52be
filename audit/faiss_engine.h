/* FAISS' flat index, as little of it as is needed: inside the faiss engine, and for the benchmark
 * that has FAISS itself as peer.
 *
 *     struct flat_index *index;
 *     if (!flat_index_new(&index, 65536, err)) …
 *     flat_index_add(index, count, unit_vectors, err);
 *     flat_index_search(index, queries, vectors, k, scores, ids, err);
 */
#ifndef AUDIT_FAISS_ENGINE_H
#define AUDIT_FAISS_ENGINE_H

#include "audit/engine.h"

struct flat_index;

/* GPUs that FAISS can use: 0 where it was built without, or there is none. */
int flat_index_gpus(void);
/* NULL where this build's FAISS has GPUs at all, else why it has none. */
const char *flat_index_gpu_missing(void);

/* An empty index of inner products between vectors of so many single-precision numbers. */
bool flat_index_new(struct flat_index **index, size_t dimensions, struct error *err) MUST_USE;
/* The same on a GPU. */
bool flat_index_new_on(struct flat_index **index, size_t dimensions, int gpu,
                       struct error *err) MUST_USE;
void flat_index_free(struct flat_index *index);
/* Copies the vectors. */
bool flat_index_add(struct flat_index *index, size_t count, const float *vectors,
                    struct error *err) MUST_USE;
/* The k largest inner products of each query, descending: scores and ids (count, k). */
bool flat_index_search(const struct flat_index *index, size_t count, const float *vectors, size_t k,
                       float *scores, int64_t *ids, struct error *err) MUST_USE;

/* x̂ = (x − mean) / ‖x − mean‖ of images [first, first + count), (count, pixels.count); zero
 * without variance. */
void unit_vectors(const struct search *search, const struct image_set *set, size_t first,
                  size_t count, const struct moments *moments, float *out);

#endif
