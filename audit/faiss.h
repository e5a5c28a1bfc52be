/* FAISS' flat index, as little of it as is needed: inside the faiss engine, and for the benchmark
 * that has FAISS itself as peer. It lies in a module (faiss_module.h), which is loaded when the
 * first of these is called.
 *
 *     struct flat_index *index;
 *     if (!flat_index_new(&index, 65536, err)) …
 *     flat_index_add(index, count, unit_vectors, err);
 *     flat_index_search(index, queries, vectors, k, scores, ids, err);
 */
#ifndef AUDIT_FAISS_H
#define AUDIT_FAISS_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

struct flat_index;

/* NULL where FAISS can be used; else why not, and what to do. */
const char *faiss_missing(void);
/* "FAISS 1.7.3"; "none". */
const char *faiss_version(void);

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

#endif
