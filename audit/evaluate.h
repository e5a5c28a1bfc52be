/* Exact correlations of the pairs that no bound ruled out.
 *
 * They are a hundredth of all pairs, and reading pixels is what they cost. So queries are put in an
 * order in which those that are alike come together, and so are the database's images: then the
 * pairs that are left lie close, in a few of the tiles of 1,024 queries by 256 images, and an image
 * that is read is used many times.
 *
 *     struct evaluation e;
 *     if (!evaluation_begin(&e, search, first, count, moments, bounds, stride, err)) …
 *     evaluated = evaluation_run(&e, bars, nearest);      // as often as there are other bars
 *     evaluation_end(&e);
 */
#ifndef AUDIT_EVALUATE_H
#define AUDIT_EVALUATE_H

#include "audit/engine.h"

struct evaluation {
    const struct search *search;
    size_t first, count;           /* queries */
    const struct moments *moments; /* of these */
    float *bounds; /* (count, stride): −∞ for pairs that are done or not allowed */
    size_t stride;
    uint32_t *queries, *images; /* in their order */
    uint32_t *place;            /* of each image in that order */
    size_t tile, window;        /* images in a tile; images that stay together in that order */
    size_t words;               /* packed pixels of the queries (exact.h) */
    uint64_t *blocks;
    size_t *packed_at;
    uint8_t *packed;
};

/* Orders both by the bounds, and packs the queries' pixels. */
bool evaluation_begin(struct evaluation *evaluation, const struct search *search, size_t first,
                      size_t count, const struct moments *moments, float *bounds, size_t stride,
                      struct error *err) MUST_USE;

/* Computes each pair whose bound reaches its query's bar, enters it in the query's list of nearest
 * and sets its bound to −∞. Returns how many there were. */
uint64_t evaluation_run(struct evaluation *evaluation, const float *bars,
                        struct neighbour *nearest);
void evaluation_end(struct evaluation *evaluation);

/* Places in a row of at most 2^16 bounds that reach the bar. `places` has room for count + 1. */
size_t bounds_reaching(const float *bounds, size_t count, float bar, uint16_t *places);

#endif
