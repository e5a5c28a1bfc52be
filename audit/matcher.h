/* Searches for changed copies, behind one interface: what they find of each image is a correlation,
 * a local ratio, a training image, and how the two were brought together.
 *
 * A matcher is a row: how its search is opened and run, and how one match becomes numbers and back,
 * for shards. Shards work as those of passes.h do: a run that was killed goes on with them.
 *
 *     struct matched matched;
 *     ok = matcher_run(&disguise_matcher, &job, "synthetic", &synthetic, false, &matched, err);
 *     … matched.correlation[i], matched.ratio[i], matched.id[i], matched.match …
 */
#ifndef AUDIT_MATCHER_H
#define AUDIT_MATCHER_H

#include "audit/passes.h"

enum { MATCH_NUMBERS = 16 };

struct maxima_methods; /* tensor/maxima.h */
struct matcher_job;
struct matcher {
    const char *name; /* of files and progress */
    size_t match_bytes, numbers;
    bool needs_masks;  /* of the training images */
    size_t least_side; /* images with shorter sides are too coarse for it */
    void *(*open)(const struct matcher_job *job, const struct image_set *queries, bool other_groups,
                  struct error *err);
    bool (*ask)(void *search, const struct image_set *queries, bool other_groups,
                struct error *err);
    bool (*run)(void *search, size_t first, size_t count, void *matches, struct error *err);
    void (*close)(void *search);
    void (*to_numbers)(const void *match, double numbers[]);
    void (*from_numbers)(const double numbers[], void *match);
    void (*look)(const void *match, double *correlation, double *ratio, uint64_t *id);
};
extern const struct matcher disguise_matcher, tile_matcher, lesion_matcher;

/* Matches of each query, in order. */
struct matched {
    size_t count;
    void *match; /* count of the matcher's matches */
    double *correlation, *ratio;
    uint64_t *id;
};
void matched_release(struct matched *matched);

struct matcher_job {
    const struct passes *passes;
    const struct image_set *database;
    const uint8_t *masks; /* labels of the database's images, stored as these are; or NULL */
    uint64_t channels;
    const struct maxima_methods *device; /* for those that use one; NULL: the processor */
    void *search;                        /* NULL until it is needed */
};
bool matcher_run(const struct matcher *matcher, struct matcher_job *job, const char *name,
                 const struct image_set *queries, bool other_groups, struct matched *matched,
                 struct error *err) MUST_USE;
void matcher_close(const struct matcher *matcher, struct matcher_job *job);

#endif
