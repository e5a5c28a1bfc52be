/* Exact nearest neighbours among images, by Pearson correlation.
 *
 *     struct image_set synthetic = image_set_of_store(&a), training = image_set_of_store(&b);
 *     struct search_settings settings = { .engine = ENGINE_CERTIFIED, .neighbours = 6 };
 *     struct search *search = search_open(&synthetic, &training, &settings, err);
 *     struct search_result result;
 *     search_run(search, 0, synthetic.count, &result, err);
 *     … result.nearest[q * 6 + rank].id, .correlation …
 *
 * Each query gets its k database images of highest correlation (exact.h), in the order (correlation
 * descending, id ascending). Correlations are computed from the stored pixels by one function that
 * all engines share, so the answer is the same, to the last bit, whatever the engine, the number of
 * threads and the way in which the queries are cut into shards.
 *
 * An engine is a way of not computing most pairs exactly; docs/search.md says how and proves it.
 */
#ifndef AUDIT_SEARCH_H
#define AUDIT_SEARCH_H

#include "base/error.h"
#include "data/dataset.h"

#include <stdint.h>

/* (count, channels, height, width) elements in C order. Everything is borrowed. */
struct image_set {
    const char *name; /* for messages: its path */
    const unsigned char *images;
    size_t count, channels, height, width;
    enum element_type type; /* ELEMENT_UINT8, ELEMENT_UINT16 or ELEMENT_FLOAT16 */
    const uint32_t *rows;   /* count, ascending: image i is stored in place rows[i]; NULL: in i */
    const uint32_t *groups; /* count, e.g. a number for each subject; NULL: none */
    const uint32_t *avoid;  /* count, of queries: with other_groups one more group that is none of
                             * the neighbours'; NULL: none */
    bool mapped; /* a read-only view of a file, whose pages may be let go and read again */
};

/* The images of an open store; groups are left NULL. */
struct image_set image_set_of_store(const struct dataset *dataset);

enum engine { ENGINE_CERTIFIED, ENGINE_FAISS, ENGINE_COUNT };
extern const char *const engine_names[ENGINE_COUNT + 1]; /* "certified", "faiss", NULL */

struct filter_methods;

/* NULL when the engine can be used, else why not and how to get it. */
const char *engine_missing(enum engine engine);
/* The libraries below an engine, with their versions. */
const char *engine_version(enum engine engine);

struct search_settings {
    enum engine engine;
    size_t neighbours; /* k ≥ 1 */
    uint64_t channels; /* bit c: channel c counts; 0: all do */
    bool other_groups; /* only neighbours of another group than the query's */
    size_t memory;     /* bytes for blocks of queries; 0: by the database's size */
    const struct filter_methods *device; /* the certified engine's (tensor/filter.h); NULL: none */
    size_t device_memory;                /* bytes of it; 0: nine tenths of what is free */
    int faiss_gpu;                       /* FAISS' own, numbered from 1; 0: none */
};

struct neighbour {
    double correlation;
    uint64_t id; /* index in the database */
};

/* What an engine did, and why its answer is exact. Counts add up over shards; those of the levels
 * may differ by rounding from machine to machine, the neighbours never do. */
enum { CERTIFICATE_LEVELS = 4 };
struct certificate {
    uint64_t queries;
    uint64_t pairs;     /* all that could have been neighbours */
    uint64_t evaluated; /* of these, computed exactly; the others were ruled out by a bound */
    uint64_t exhaustive_queries; /* for which bounds would not have paid, so all were computed */
    struct {
        size_t head;      /* coefficients (certified); 0: level not used */
        uint64_t bounded; /* pairs that were bounded with so many */
        double slack;     /* the largest distance of the bound from the estimate, over all pairs */
    } level[CERTIFICATE_LEVELS];
    double rounding; /* the part of each bound that accounts for single precision */
};
void certificate_add(struct certificate *total, const struct certificate *part);

/* Queries [first, first + count); rank r of query q is nearest[(q - first) * neighbours + r]. */
struct search_result {
    size_t first, count, neighbours;
    struct neighbour *nearest; /* owned */
    struct certificate certificate;
};
void search_result_release(struct search_result *result);

struct search; /* opaque: the prepared database */

/* Whether two sets can be compared at all: what search_open refuses of them and of the channels. */
bool search_check(const struct image_set *queries, const struct image_set *database,
                  uint64_t channels, struct error *err) MUST_USE;

/* Prepares the database. Refused with a message: an empty set; sizes, channels or types that
 * differ; a type or channel that there is not; fewer candidates than k for some query; a database
 * image with a pixel that is not finite; an engine that is not there. */
struct search *search_open(const struct image_set *queries, const struct image_set *database,
                           const struct search_settings *settings, struct error *err) MUST_USE;
void search_close(struct search *search);

/* Other queries of the database that was prepared: the same refusals, but nothing is prepared
 * again. */
bool search_ask(struct search *search, const struct image_set *queries, size_t neighbours,
                bool other_groups, struct error *err) MUST_USE;

/* A shard. Shards may be run in any order, by any number of processes. */
bool search_run(struct search *search, size_t first, size_t count, struct search_result *result,
                struct error *err) MUST_USE;

/* Joins shards, in any order, that together hold each query [0, queries) exactly once. */
bool search_merge(const struct search_result *shards, size_t count, size_t queries,
                  struct search_result *result, struct error *err) MUST_USE;

/* Shards on disk: one safetensors file, "ids" (count, k) int64, "correlations" (count, k) float64,
 * and the certificate in its metadata under `tag`, which names what was searched: a shard of
 * another tag is refused. */
bool search_result_save(const struct search_result *result, const char *path, const char *tag,
                        struct error *err) MUST_USE;
bool search_result_load(struct search_result *result, const char *path, const char *tag,
                        struct error *err) MUST_USE;

#endif
