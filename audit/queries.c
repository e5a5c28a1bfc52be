/* See queries.h. */
#include "audit/queries.h"

#include "audit/blas.h"
#include "base/parallel.h"

enum { GRAIN = 4 }; /* queries that a thread takes at least */

bool queries_accept(const struct image_set *queries, const struct image_set *database,
                    uint64_t channels, bool other_groups, struct error *err)
{
    CHECK(!other_groups || (queries->groups && database->groups), "no groups are known");
    return search_check(queries, database, channels, err);
}

bool queries_answer(const struct pixels *pixels, const struct image_set *queries,
                    const struct image_set *database, size_t first, size_t count,
                    void (*body)(void *job, size_t begin, size_t end), void *job, struct error *err)
{
    CHECK(count && first <= queries->count && count <= queries->count - first,
          "queries %zu … %zu of %zu", first, first + count, queries->count);
    struct search view = { .pixels = *pixels };
    if (!images_finite(pixels, queries, first, count, err))
        return false;
    blas_set_threads(1); /* threads are the ranges' */
    parallel_ranges(count, GRAIN, body, job);
    images_forget(&view, queries, first, count);
    images_forget(&view, database, 0, database->count);
    return true;
}
