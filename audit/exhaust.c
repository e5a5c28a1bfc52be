/* Tiles of the database whose pixels stay in the cache while the block's queries pass by; see
 * exhaust.h. */
#include "audit/exhaust.h"

#include "base/parallel.h"

#include <stdlib.h>

enum {
    PIXEL_TILE = 16 << 20, /* bytes of images that stay in the last cache */
    GROUP_STEP = 32,
};

struct exhaustion {
    const struct search *search;
    size_t first, count, group; /* queries; those that a thread takes at a time */
    const struct moments *moments;
    struct neighbour *nearest; /* (count, k) */
    size_t begin, end;         /* the tile of the database */
};

size_t exhaust_tile(const struct search *search)
{
    size_t most = exact_tile_size(&search->pixels).y,
           tile = PIXEL_TILE / search->pixels.image_bytes / most * most;
    return tile ? tile : most;
}

static size_t group_of(const struct search *search, size_t queries)
{
    size_t most = exact_tile_size(&search->pixels).x, threads = (size_t)parallel_threads(),
           each = (queries + threads - 1) / threads,
           group = (each + GROUP_STEP - 1) / GROUP_STEP * GROUP_STEP;
    return group < most ? group : most;
}

/* A group's queries with each image of the tile, as many at a time as exact_tile takes. */
static void compute_group(void *context, size_t item)
{
    const struct exhaustion *job = context;
    const struct search *search = job->search;
    const void *x[EXACT_TILE_X], *y[EXACT_TILE_Y];
    const struct moments *mx[EXACT_TILE_X], *my[EXACT_TILE_Y];
    size_t first = item * job->group, k = search->settings.neighbours,
           count = job->count - first < job->group ? job->count - first : job->group,
           most = exact_tile_size(&search->pixels).y;
    double *r = memory_grow(NULL, count * most, sizeof *r);
    for (size_t i = 0; i < count; i++) {
        x[i] = image_at(search, &search->queries, job->first + first + i);
        mx[i] = &job->moments[first + i];
    }
    for (size_t at = job->begin; at < job->end; at += most) {
        size_t some = job->end - at < most ? job->end - at : most;
        for (size_t j = 0; j < some; j++) {
            y[j] = image_at(search, &search->database, at + j);
            my[j] = &search->moments[at + j];
        }
        exact_tile(&search->pixels, x, mx, count, y, my, some, r);
        for (size_t i = 0; i < count; i++)
            for (size_t j = 0; j < some; j++)
                if (pair_allowed(search, job->first + first + i, at + j))
                    nearest_insert(job->nearest + (first + i) * k, k,
                                   (struct neighbour){ r[i * some + j], at + j });
    }
    free(r);
}

void exhaust_block(const struct search *search, size_t first, size_t count,
                   const struct moments *moments, struct neighbour *nearest,
                   struct certificate *certificate)
{
    size_t n = search->database.count, tile = exhaust_tile(search), group = group_of(search, count);
    struct exhaustion job = { .search = search,
                              .first = first,
                              .count = count,
                              .group = group,
                              .moments = moments,
                              .nearest = nearest };
    for (size_t q = 0; q < count; q++)
        nearest_clear(nearest + q * search->settings.neighbours, search->settings.neighbours);
    for (size_t begin = 0; begin < n; begin += tile) {
        job.begin = begin;
        job.end = n - begin < tile ? n : begin + tile;
        parallel_items((count + group - 1) / group, compute_group, &job);
        images_forget(search, &search->database, begin, job.end - begin);
    }
    certificate->evaluated += pairs_allowed(search, first, count);
    certificate->exhaustive_queries += count;
}
