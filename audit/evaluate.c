/* The exact stage of the certified engine; see evaluate.h.
 *
 * The pairs of a group of queries are listed by tile of images, then by query. Tiles and groups are
 * handed to threads one by one, in the order of tiles, and leave their values beside the pairs; at
 * the end each query's go into its list of nearest. So nothing waits, and nothing depends on which
 * thread came first. */
#include "audit/evaluate.h"

#include "base/arena.h"
#include "base/parallel.h"
#include "base/simd.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    /* Images are put in order within windows of so many, at most so many bytes: the kernel maps up
     * to 2 MB for one image, so those that are mapped at a time should lie close in the file. */
    WINDOW = 1024,
    WINDOW_BYTES = 128 << 20,
    SCAN = 4096, /* bounds looked at in one go */
    GRAIN = 16,
};

/* ---- which bounds reach ---------------------------------------------------------------------- */

HOT static bool any_reaches(const float *bounds, size_t count, float bar)
{
    int any = 0;
    for (size_t j = 0; j < count; j++)
        any |= bounds[j] >= bar;
    return any;
}

HOT static size_t note_places(const float *bounds, size_t count, float bar, uint16_t *places)
{
    size_t found = 0;
    for (size_t j = 0; j < count; j++) {
        places[found] = (uint16_t)j;
        found += bounds[j] >= bar;
    }
    return found;
}

size_t bounds_reaching(const float *bounds, size_t count, float bar, uint16_t *places)
{
    enum { STEP = 64 }; /* most steps hold none */
    size_t found = 0;
    for (size_t begin = 0; begin < count; begin += STEP) {
        size_t length = count - begin < STEP ? count - begin : STEP;
        if (!any_reaches(bounds + begin, length, bar))
            continue;
        uint16_t here[STEP + 1];
        size_t some = note_places(bounds + begin, length, bar, here);
        for (size_t i = 0; i < some; i++)
            places[found++] = (uint16_t)(begin + here[i]);
    }
    return found;
}

/* ---- the order ------------------------------------------------------------------------------- */

enum { PIVOT_LEVELS = 2 };
static const size_t pivot_counts[PIVOT_LEVELS] = { 8, 64 };

struct ordered {
    uint32_t window, pivot[PIVOT_LEVELS], index;
};

static int by_pivots(const void *a, const void *b)
{
    const struct ordered *x = a, *y = b;
    if (x->window != y->window)
        return x->window < y->window ? -1 : 1;
    for (int l = 0; l < PIVOT_LEVELS; l++)
        if (x->pivot[l] != y->pivot[l])
            return x->pivot[l] < y->pivot[l] ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

/* The items of one side: the bound of item i with item j of the other side stands at
 * bounds[i * step + j * across]. The pivots are items of the other side, spread over it. */
struct side {
    const float *bounds;
    size_t step, others, across, window; /* items stay in their window of so many */
    struct ordered *ordered;
};

static void find_pivots(void *context, size_t begin, size_t end)
{
    const struct side *side = context;
    for (size_t i = begin; i < end; i++)
        for (int l = 0; l < PIVOT_LEVELS; l++) {
            float best = -INFINITY;
            for (size_t p = 0; p < pivot_counts[l]; p++) {
                size_t other = p * side->others / pivot_counts[l];
                float bound = side->bounds[i * side->step + other * side->across];
                if (bound > best) {
                    best = bound;
                    side->ordered[i].pivot[l] = (uint32_t)p;
                }
            }
        }
}

/* Those that are most like the same of eight pivots come together, and among them those that are
 * most like the same of 64. */
static void put_in_order(struct side side, size_t count, uint32_t *order)
{
    side.ordered = memory_grow(NULL, count, sizeof *side.ordered);
    for (size_t i = 0; i < count; i++)
        side.ordered[i] = (struct ordered){ (uint32_t)(i / side.window), { 0 }, (uint32_t)i };
    parallel_ranges(count, GRAIN, find_pivots, &side);
    qsort(side.ordered, count, sizeof *side.ordered, by_pivots);
    for (size_t i = 0; i < count; i++)
        order[i] = side.ordered[i].index;
    free(side.ordered);
}

/* ---- packed queries -------------------------------------------------------------------------- */

static const void *query_image(const struct evaluation *e, size_t query)
{
    return image_at(e->search, &e->search->queries, e->first + query);
}

static void find_blocks(void *context, size_t begin, size_t end)
{
    struct evaluation *e = context;
    for (size_t q = begin; q < end; q++)
        e->packed_at[q + 1] =
            exact_blocks(&e->search->pixels, query_image(e, q), e->blocks + q * e->words);
}

static void pack_range(void *context, size_t begin, size_t end)
{
    struct evaluation *e = context;
    for (size_t q = begin; q < end; q++)
        exact_pack(&e->search->pixels, query_image(e, q), e->blocks + q * e->words,
                   e->packed + e->packed_at[q]);
}

/* The queries' pixels without what is black, beside each other: a head leaves three fifths black.
 */
static bool pack_queries(struct evaluation *e, struct error *err)
{
    parallel_ranges(e->count, GRAIN, find_blocks, e);
    for (size_t q = 0; q < e->count; q++)
        e->packed_at[q + 1] += e->packed_at[q];
    e->packed = memory_reserve(e->packed_at[e->count], 1, "the pixels of queries", err);
    if (!e->packed)
        return false;
    parallel_ranges(e->count, GRAIN, pack_range, e);
    images_forget(e->search, &e->search->queries, e->first, e->count);
    return true;
}

bool evaluation_begin(struct evaluation *e, const struct search *search, size_t first, size_t count,
                      const struct moments *moments, float *bounds, size_t stride,
                      struct error *err)
{
    size_t n = search->database.count, window = WINDOW_BYTES / search->pixels.image_bytes;
    *e = (struct evaluation){ .search = search,
                              .first = first,
                              .count = count,
                              .moments = moments,
                              .bounds = bounds,
                              .stride = stride,
                              .words = exact_words(&search->pixels) };
    window = window < 1 ? 1 : window < WINDOW ? window : WINDOW;
    e->tile = window < EXACT_PAIRS_Y ? window : EXACT_PAIRS_Y;
    e->window = window / e->tile * e->tile;
    e->queries = memory_allocate(count, sizeof *e->queries, "an order", err);
    e->images = memory_allocate(n, sizeof *e->images, "an order", err);
    e->place = memory_allocate(n, sizeof *e->place, "an order", err);
    e->blocks = memory_allocate(count * e->words, sizeof *e->blocks, "the pixels of queries", err);
    e->packed_at = memory_allocate(count + 1, sizeof *e->packed_at, "the pixels of queries", err);
    if (!e->queries || !e->images || !e->place || !e->blocks || !e->packed_at ||
        !pack_queries(e, err)) {
        evaluation_end(e);
        return false;
    }
    put_in_order((struct side){ bounds, stride, n, 1, count, NULL }, count, e->queries);
    put_in_order((struct side){ bounds, 1, count, stride, e->window, NULL }, n, e->images);
    for (size_t i = 0; i < n; i++)
        e->place[e->images[i]] = (uint32_t)i;
    return true;
}

void evaluation_end(struct evaluation *e)
{
    memory_free(e->queries);
    memory_free(e->images);
    memory_free(e->place);
    memory_free(e->blocks);
    memory_free(e->packed_at);
    memory_free(e->packed);
    *e = (struct evaluation){ 0 };
}

/* ---- listing pairs --------------------------------------------------------------------------- */

/* A group's pairs, by tile and then by query. */
struct group {
    struct exact_pair *pairs; /* x: in the group; y: in the tile */
    size_t *begin;            /* of each tile's pairs, and the end */
    double *r;
};

struct run {
    struct evaluation *evaluation;
    const float *bars;
    struct neighbour *nearest;
    size_t tiles, groups;
    struct group *group;
};

static size_t group_size(const struct evaluation *e, size_t group)
{
    size_t first = group * EXACT_PAIRS_X;
    return e->count - first < EXACT_PAIRS_X ? e->count - first : EXACT_PAIRS_X;
}

/* A pair as it is found. */
struct found {
    uint32_t x, place;
};

/* All pairs of a group that reach the bar, by query. Owned. */
static struct found *find_pairs(const struct run *run, size_t group, size_t *count)
{
    const struct evaluation *e = run->evaluation;
    struct found *all = NULL;
    uint16_t places[SCAN + 1];
    size_t n = e->search->database.count, room = 0;
    *count = 0;
    for (size_t x = 0; x < group_size(e, group); x++) {
        size_t q = e->queries[group * EXACT_PAIRS_X + x];
        float *bounds = e->bounds + q * e->stride;
        for (size_t begin = 0; begin < n; begin += SCAN) {
            size_t some = bounds_reaching(bounds + begin, n - begin < SCAN ? n - begin : SCAN,
                                          run->bars[q], places);
            if (*count + some > room) {
                room = 2 * (*count + some);
                all = memory_grow(all, room, sizeof *all);
            }
            for (size_t i = 0; i < some; i++) {
                bounds[begin + places[i]] = -INFINITY;
                all[(*count)++] = (struct found){ (uint32_t)x, e->place[begin + places[i]] };
            }
        }
    }
    return all;
}

static void list_group(void *context, size_t item)
{
    struct run *run = context;
    struct group *group = &run->group[item];
    size_t count, tile = run->evaluation->tile;
    struct found *all = find_pairs(run, item, &count);
    group->begin = memory_grow(NULL, run->tiles + 2, sizeof *group->begin);
    memset(group->begin, 0, (run->tiles + 2) * sizeof *group->begin);
    for (size_t i = 0; i < count; i++)
        group->begin[all[i].place / tile + 2]++;
    for (size_t t = 2; t < run->tiles + 2; t++)
        group->begin[t] += group->begin[t - 1];
    group->pairs = memory_grow(NULL, count, sizeof *group->pairs);
    group->r = memory_grow(NULL, count, sizeof *group->r);
    for (size_t i = 0; i < count; i++) /* begin[t + 1] moves to where it belongs */
        group->pairs[group->begin[all[i].place / tile + 1]++] =
            (struct exact_pair){ (uint16_t)all[i].x, (uint16_t)(all[i].place % tile) };
    free(all);
}

/* ---- computing them -------------------------------------------------------------------------- */

/* Lets go of the pixels of a tile's window, which no thread will need again but one that lags. */
static void forget_window(const struct evaluation *e, size_t tile)
{
    size_t n = e->search->database.count, begin = tile * e->tile / e->window * e->window,
           count = n - begin < e->window ? n - begin : e->window;
    images_forget(e->search, &e->search->database, begin, count);
}

static bool ends_window(const struct evaluation *e, size_t tile)
{
    return (tile + 1) * e->tile % e->window == 0;
}

/* A group's queries and the images of a tile that its pairs need. */
struct sides {
    struct exact_image x[EXACT_PAIRS_X], y[EXACT_PAIRS_Y];
    struct exact_pair pairs[EXACT_PAIRS];
    uint16_t column[EXACT_PAIRS_Y]; /* 1 + the place among y of an image of the tile */
    size_t columns;
};

static void set_queries(const struct evaluation *e, size_t group, struct sides *sides)
{
    for (size_t i = 0; i < group_size(e, group); i++) {
        size_t q = e->queries[group * EXACT_PAIRS_X + i];
        sides->x[i] = (struct exact_image){ query_image(e, q), &e->moments[q],
                                            e->blocks + q * e->words, e->packed + e->packed_at[q] };
    }
}

/* The images of some pairs, numbered as they come. */
static void set_images(const struct evaluation *e, size_t tile, const struct exact_pair *pairs,
                       size_t count, struct sides *sides)
{
    sides->columns = 0;
    memset(sides->column, 0, sizeof sides->column);
    for (size_t p = 0; p < count; p++) {
        uint16_t *column = &sides->column[pairs[p].y];
        if (!*column) {
            size_t id = e->images[tile * e->tile + pairs[p].y];
            sides->y[sides->columns] =
                (struct exact_image){ image_at(e->search, &e->search->database, id),
                                      &e->search->moments[id], NULL, NULL };
            *column = (uint16_t)++sides->columns;
        }
        sides->pairs[p] = (struct exact_pair){ pairs[p].x, (uint16_t)(*column - 1) };
    }
}

static void compute_tile(void *context, size_t item)
{
    struct run *run = context;
    const struct evaluation *e = run->evaluation;
    size_t tile = item / run->groups, g = item % run->groups;
    struct group *group = &run->group[g];
    if (g == 0 && tile >= 2 && ends_window(e, tile - 2))
        forget_window(e, tile - 2);
    if (group->begin[tile] == group->begin[tile + 1])
        return;
    struct sides *sides = memory_grow(NULL, 1, sizeof *sides);
    set_queries(e, g, sides);
    for (size_t at = group->begin[tile], count; at < group->begin[tile + 1]; at += count) {
        count =
            group->begin[tile + 1] - at < EXACT_PAIRS ? group->begin[tile + 1] - at : EXACT_PAIRS;
        set_images(e, tile, group->pairs + at, count, sides);
        exact_pairs(&e->search->pixels, sides->x, sides->y, sides->columns, sides->pairs, count,
                    group->r + at);
    }
    free(sides);
}

static void enter_group(void *context, size_t item)
{
    struct run *run = context;
    const struct evaluation *e = run->evaluation;
    const struct group *group = &run->group[item];
    size_t k = e->search->settings.neighbours;
    for (size_t tile = 0; tile < run->tiles; tile++)
        for (size_t p = group->begin[tile]; p < group->begin[tile + 1]; p++) {
            size_t q = e->queries[item * EXACT_PAIRS_X + group->pairs[p].x];
            nearest_insert(
                run->nearest + q * k, k,
                (struct neighbour){ group->r[p], e->images[tile * e->tile + group->pairs[p].y] });
        }
}

uint64_t evaluation_run(struct evaluation *e, const float *bars, struct neighbour *nearest)
{
    struct run run = { e,
                       bars,
                       nearest,
                       (e->search->database.count + e->tile - 1) / e->tile,
                       (e->count + EXACT_PAIRS_X - 1) / EXACT_PAIRS_X,
                       NULL };
    uint64_t evaluated = 0;
    run.group = memory_grow(NULL, run.groups, sizeof *run.group);
    parallel_items(run.groups, list_group, &run);
    parallel_items(run.tiles * run.groups, compute_tile, &run);
    parallel_items(run.groups, enter_group, &run);
    images_forget(e->search, &e->search->database, 0, e->search->database.count);
    for (size_t g = 0; g < run.groups; g++) {
        evaluated += run.group[g].begin[run.tiles];
        free(run.group[g].pairs);
        free(run.group[g].begin);
        free(run.group[g].r);
    }
    free(run.group);
    return evaluated;
}
