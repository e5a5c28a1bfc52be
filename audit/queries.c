/* See queries.h. */
#include "audit/queries.h"

#include "audit/blas.h"
#include "base/parallel.h"

enum {
    GRAIN = 4,       /* queries that a thread takes at least */
    VISITED = 512,   /* images that are held at once */
    VISIT_GRAIN = 8, /* … and that a thread takes at least */
};

/* ---- the training images --------------------------------------------------------------------- */

void set_pixels(struct pixels *pixels, const struct image_set *set, uint64_t channels)
{
    pixels_init(pixels, set->type, set->channels, set->height * set->width,
                channels ? channels : UINT64_MAX);
}

struct visit {
    void (*body)(void *context, size_t begin, size_t end);
    void *context;
    size_t first;
};

static void visit_range(void *context, size_t begin, size_t end)
{
    const struct visit *visit = context;
    visit->body(visit->context, visit->first + begin, visit->first + end);
}

void set_forget(const struct pixels *pixels, const struct image_set *set, size_t first,
                size_t count)
{
    struct search view = { .pixels = *pixels }; /* all that images_forget looks at */
    images_forget(&view, set, first, count);
}

void set_visit(const struct pixels *pixels, const struct image_set *set,
               void (*body)(void *context, size_t begin, size_t end), void *context)
{
    struct visit visit = { body, context, 0 };
    for (; visit.first < set->count; visit.first += VISITED) {
        size_t left = set->count - visit.first, count = left < VISITED ? left : VISITED;
        parallel_ranges(count, VISIT_GRAIN, visit_range, &visit);
        set_forget(pixels, set, visit.first, count);
    }
}

/* ---- queries --------------------------------------------------------------------------------- */

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
    if (!images_finite(pixels, queries, first, count, err) ||
        !blas_set_threads(1, err)) /* threads are the ranges' */
        return false;
    parallel_ranges(count, GRAIN, body, job);
    set_forget(pixels, queries, first, count);
    set_forget(pixels, database, 0, database->count);
    return true;
}
