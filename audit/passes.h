/* Passes: the searches of an audit, cut into shards that survive any interruption.
 *
 * A pass asks all images of one set for their nearest in another. Its shards are files in the work
 * folder, each written at once and tagged with everything that decides about its content; a run
 * that was killed finds them there and computes only what is missing. A database is prepared when
 * the first shard needs it, so a run that only has to put things together reads no pixels.
 *
 *     struct passes passes = { .folder = "out.work", .tag = digest };
 *     struct database training = { .passes = &passes, .images = &train, … };
 *     struct near near;
 *     if (!near_find(&training, "synthetic", &synthetic, 50, 5, false, &near, err)) …
 *     … near.nearest[i * near.k].correlation, near.ratio[i] …
 *     near_release(&near);
 *     database_close(&training);
 */
#ifndef AUDIT_PASSES_H
#define AUDIT_PASSES_H

#include "audit/exact.h"
#include "audit/search.h"
#include "base/digest.h"

struct passes {
    const char *folder;
    struct digest tag; /* of inputs and settings: a shard of another tag is computed anew */
};

/* A set that is searched. */
struct database {
    const struct passes *passes;
    const char *name; /* of files and progress: "train" */
    const struct image_set *images;
    enum engine engine;
    const struct filter_methods *device; /* as in search_settings … */
    int faiss_gpu;                       /* … */
    uint64_t channels;
    struct search *search;          /* NULL until it is needed */
    struct certificate certificate; /* of all passes so far */
};
void database_close(struct database *database);

/* The k nearest of each query, in order. `name` and the database's name together name the pass. */
bool pass_run(struct database *database, const char *name, const struct image_set *queries,
              size_t k, bool other_groups, struct search_result *result,
              struct error *err) MUST_USE;

/* The nearest, and how near the next strangers are.
 *
 * Local ratio: the distance to the nearest image, over the mean distance to the `local` nearest
 * images of other groups than the nearest's (and than the query's, with other_groups). Distance is
 * Euclid's between images of mean 0 and norm 1: √(2 − 2r). An original that was copied stands far
 * nearer than strangers do, its neighbouring slices do not count as strangers, and where strangers
 * look alike the ratio still tells. With no distance among the strangers the ratio is 1. */
struct near {
    size_t count, k, local;
    struct neighbour *nearest; /* (count, k) */
    double *ratio;             /* count; NULL with local 0 */
};
bool near_find(struct database *database, const char *name, const struct image_set *queries,
               size_t k, size_t local, bool other_groups, struct near *near,
               struct error *err) MUST_USE;
void near_release(struct near *near);

#endif
