/* What the engines share, behind search.h. */
#ifndef AUDIT_ENGINE_H
#define AUDIT_ENGINE_H

#include "audit/exact.h"
#include "audit/search.h"

struct search {
    struct image_set queries, database;
    struct search_settings settings;
    struct pixels pixels;
    struct moments *moments; /* of the database, filled by the engine's open */
    void *state;             /* the engine's */
};

struct engine_methods {
    const char *(*missing)(void);
    const char *(*version)(void);
    bool (*open)(struct search *search, struct error *err);
    /* Fills result->nearest, which holds count × k empty places, and the certificate. */
    bool (*run)(struct search *search, struct search_result *result, struct error *err);
    void (*close)(struct search *search);
};
extern const struct engine_methods certified_engine, faiss_engine;

/* Where an image of a set begins. */
static inline const unsigned char *set_image(const struct pixels *pixels,
                                             const struct image_set *set, size_t index)
{
    return set->images + (set->rows ? set->rows[index] : index) * pixels->image_bytes;
}

static inline const void *image_at(const struct search *search, const struct image_set *set,
                                   size_t index)
{
    return set_image(&search->pixels, set, index);
}

/* Moments of images [first, first + count), refused where a pixel is not finite. */
bool moments_of(const struct search *search, const struct image_set *set, size_t first,
                size_t count, struct moments *moments, struct error *err) MUST_USE;

/* Half precision may hold what is not finite: refused, as by search_open. */
bool images_finite(const struct pixels *pixels, const struct image_set *set, size_t first,
                   size_t count, struct error *err) MUST_USE;

/* Lets go of the pages of images [first, first + count) of a mapped file; they can be read again.
 * So the peak of resident memory does not grow to the size of the database. */
void images_forget(const struct search *search, const struct image_set *set, size_t first,
                   size_t count);

/* Whether the database image may be a neighbour of the query. */
static inline bool pair_allowed(const struct search *search, size_t query, size_t id)
{
    if (!search->settings.other_groups)
        return true;
    uint32_t group = search->database.groups[id];
    return search->queries.groups[query] != group &&
           (!search->queries.avoid || search->queries.avoid[query] != group);
}

/* Lists of k neighbours, in order; empty places have a correlation below any. */
#define NO_CORRELATION (-2.0)
static inline bool neighbour_before(struct neighbour a, struct neighbour b)
{
    return a.correlation > b.correlation || (a.correlation == b.correlation && a.id < b.id);
}
/* Empties the list. */
void nearest_clear(struct neighbour *nearest, size_t k);
void nearest_insert(struct neighbour *nearest, size_t k, struct neighbour candidate);

/* The neighbours of a query without variance, by rule (exact.h). */
void nearest_of_constant(const struct search *search, size_t query, const struct moments *moments,
                         struct neighbour *nearest);
/* Those of a block that have none, k places in `nearest` for each query. */
void nearest_of_constants(const struct search *search, size_t first, size_t count,
                          const struct moments *moments, struct neighbour *nearest);

/* What a bound from sums that are off by at most `rounding` must reach for its pair to be still
 * among the k, perhaps. */
float nearest_bar(const struct neighbour *nearest, size_t k, double rounding);

/* Pairs that may be neighbours, of queries [first, first + count). */
uint64_t pairs_allowed(const struct search *search, size_t first, size_t count);

#endif
