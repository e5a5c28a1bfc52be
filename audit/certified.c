/* The certified engine: bounds from heads rule out nearly every pair, the rest is computed exactly.
 *
 * A block of queries at a time, with one bound for each pair of the block, in place:
 *
 *     bounds     product of the block's short heads with the database's: bounds of level 0
 *     seeds      of each query, the best few by an estimate from the longest heads, exactly:
 *                the k-th of them is a threshold that the true k-th cannot be below
 *     refine     pairs whose bound reaches the threshold get the bounds of levels 1 to 3
 *     evaluate   those that still reach it are computed exactly (evaluate.h)
 *
 * A pair that was ruled out has a correlation strictly below that of k others: ties stay in. Where
 * a sample says that bounds would leave too much, every pair of the block is computed exactly.
 *
 * Work is cut into tiles of the database, so that a tile's heads, or its pixels, stay in the cache
 * while the block's queries pass by, and the pages of a mapped file can be let go tile by tile. */
#include "audit/certified.h"

#include "audit/blas.h"
#include "audit/evaluate.h"
#include "audit/exhaust.h"
#include "audit/heads.h"
#include "base/parallel.h"
#include "base/simd.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    BOUND_PANELS = 8,  /* of the database in a tile of level 0: a third of the second cache */
    REFINE_TILE = 128, /* whose heads half fill the second cache: 128 × 3 KiB */
    SEEDS = 32,        /* candidates for seeds, beside 4k */
    EXTRA = 2,         /* seeds beside k */
    QUERY_GROUP = 16,  /* queries that a thread takes at a time */
    SAMPLED_QUERIES = 16,
    SAMPLED_PAIRS = 64,
    MEMORY_LEAST = 384 << 20, /* 1,000 queries among 20,000 images of 4 × 256² are one block */
    MEMORY_MOST = 1 << 30,
    QUERIES_MOST = 4096,
};

#define SEED 4.0f /* stands in place of the bound of a seed */

struct certified {
    struct heads heads;
    struct head_rows rows; /* the database's */
    bool any_loose;
    struct long_row most; /* the largest norms in the database, for the certificate */
};

/* A block of queries, while it lasts. */
struct block {
    const struct search *search;
    const struct certified *certified;
    size_t first, count; /* queries */
    struct moments *moments;
    struct head_rows rows;
    float *bounds; /* (count, stride): −∞ for pairs that are done or not allowed */
    size_t stride;
    float *bar[HEAD_LEVELS];   /* (count): bounds at or above it stay */
    struct neighbour *nearest; /* (count, k) */
    _Atomic uint64_t bounded[HEAD_LEVELS];
};

/* ---- the database -----------------------------------------------------------------------------
 */

static const char *certified_missing(void)
{
    return NULL;
}

static void certified_close(struct search *search)
{
    struct certified *certified = search->state;
    if (!certified)
        return;
    heads_release(&certified->heads);
    head_rows_release(&certified->rows);
    memory_free(certified);
    search->state = NULL;
}

static void note_most(struct long_row *most, const struct long_row *row)
{
    for (size_t b = 0; b < HEAD_BANDS; b++) {
        most->band[b].norm = fmaxf(most->band[b].norm, row->band[b].norm);
        most->band[b].error = fmaxf(most->band[b].error, row->band[b].error);
    }
    most->tail = fmaxf(most->tail, row->tail);
    most->low = fmaxf(most->low, row->low);
}

static bool prepare_rows(struct search *search, struct certified *certified, struct error *err)
{
    size_t n = search->database.count;
    if (!heads_of(&certified->heads, search, &search->database, 0, n, search->moments,
                  &certified->rows, 0, err))
        return false;
    for (size_t i = 0; i < n; i++) {
        certified->any_loose |= certified->rows.loose[i];
        note_most(&certified->most, head_row(&certified->heads, &certified->rows, i));
    }
    return true;
}

static bool certified_open(struct search *search, struct error *err)
{
    size_t n = search->database.count;
    struct certified *certified = memory_allocate(1, sizeof *certified, "the engine", err);
    search->state = certified;
    if (!certified || !blas_set_threads(1, err))
        return false;
    if (!heads_init(&certified->heads, search, err))
        return false;
    images_forget(search, &search->database, 0, n);
    return head_rows_allocate(&certified->heads, PANEL_OF_IMAGES, n, &certified->rows, err) &&
           prepare_rows(search, certified, err);
}

/* ---- a block of queries -----------------------------------------------------------------------
 */

static const struct long_row *block_row(const struct block *block, size_t query)
{
    return head_row(&block->certified->heads, &block->rows, query);
}

static const struct long_row *database_row(const struct block *block, size_t id)
{
    return head_row(&block->certified->heads, &block->certified->rows, id);
}

static struct neighbour *block_nearest(const struct block *block, size_t query)
{
    return block->nearest + query * block->search->settings.neighbours;
}

static void block_release(struct block *block)
{
    memory_free(block->moments);
    head_rows_release(&block->rows);
    memory_free(block->bounds);
    memory_free(block->bar[0]);
}

static bool block_allocate(struct block *block, size_t most, struct error *err)
{
    size_t columns = block->search->database.count;
    block->stride = (columns + 15) / 16 * 16;
    block->moments = memory_allocate(most, sizeof *block->moments, "a block's moments", err);
    if (!head_rows_allocate(&block->certified->heads, PANEL_OF_QUERIES, most, &block->rows, err))
        return false;
    block->bounds = memory_reserve(most * block->stride, sizeof *block->bounds, "bounds", err);
    block->bar[0] = memory_allocate(most * HEAD_LEVELS, sizeof **block->bar, "thresholds", err);
    if (!block->moments || !block->bounds || !block->bar[0])
        return false;
    for (size_t l = 1; l < HEAD_LEVELS; l++)
        block->bar[l] = block->bar[0] + l * most;
    return true;
}

/* A block's bounds, heads and pixels take as much as the database's heads, within limits. */
static size_t block_queries(const struct search *search, const struct certified *certified)
{
    size_t head = certified->heads.stride + certified->heads.panel[PANEL_OF_IMAGES] / PANEL_IMAGES,
           each = search->database.count * sizeof(float) + search->pixels.image_bytes + head,
           memory = search->settings.memory;
    if (!memory) {
        memory = search->database.count * head;
        if (memory < MEMORY_LEAST)
            memory = MEMORY_LEAST;
        if (memory > MEMORY_MOST)
            memory = MEMORY_MOST;
    }
    size_t queries = memory / each / QUERY_GROUP * QUERY_GROUP;
    return queries < QUERY_GROUP ? QUERY_GROUP : queries < QUERIES_MOST ? queries : QUERIES_MOST;
}

/* ---- bounds ------------------------------------------------------------------------------------
 */

/* Takes out what is not allowed and lets in what cannot be bounded. */
static void mark_pairs(const struct block *block, size_t begin, size_t end)
{
    const struct search *search = block->search;
    const struct certified *certified = block->certified;
    for (size_t q = 0; q < block->count; q++) {
        float *bounds = block->bounds + q * block->stride;
        if (certified->any_loose || block->rows.loose[q])
            for (size_t j = begin; j < end; j++)
                if (block->rows.loose[q] || certified->rows.loose[j])
                    bounds[j] = UNBOUNDED;
        if (block->moments[q].spread == 0)
            for (size_t j = begin; j < end; j++)
                bounds[j] = -INFINITY; /* nearest_of_constant has answered */
        else if (search->settings.other_groups)
            for (size_t j = begin; j < end; j++)
                if (!pair_allowed(search, block->first + q, j))
                    bounds[j] = -INFINITY;
    }
}

/* The bounds of level 0 of a panel of queries and one of images. */
static void bound_panels(struct block *block, size_t query_panel, size_t image_panel)
{
    const struct certified *certified = block->certified;
    const struct heads *heads = &certified->heads;
    float bounds[PANEL_QUERIES * PANEL_IMAGES];
    size_t first = query_panel * PANEL_QUERIES, begin = image_panel * PANEL_IMAGES,
           queries = block->count - first, images = block->search->database.count - begin;
    heads->products->bounds(&heads->shape, head_panel(heads, &block->rows, query_panel),
                            head_panel(heads, &certified->rows, image_panel), bounds);
    for (size_t q = 0; q < PANEL_QUERIES && q < queries; q++)
        memcpy(block->bounds + (first + q) * block->stride + begin, bounds + q * PANEL_IMAGES,
               (images < PANEL_IMAGES ? images : PANEL_IMAGES) * sizeof *bounds);
}

static void bound_tile(void *context, size_t item)
{
    struct block *block = context;
    size_t n = block->search->database.count, begin = item * BOUND_PANELS * PANEL_IMAGES,
           end = begin + BOUND_PANELS * PANEL_IMAGES < n ? begin + BOUND_PANELS * PANEL_IMAGES : n;
    for (size_t q = 0; q < heads_panels(PANEL_OF_QUERIES, block->count); q++)
        for (size_t i = begin / PANEL_IMAGES; i < heads_panels(PANEL_OF_IMAGES, end); i++)
            bound_panels(block, q, i);
    mark_pairs(block, begin, end);
}

/* ---- seeds -------------------------------------------------------------------------------------
 */

struct candidate {
    float value;
    uint32_t id;
};

/* A heap whose first element is the least; keeps the largest. */
static void heap_sift(struct candidate *heap, size_t count, size_t place)
{
    struct candidate moving = heap[place];
    for (size_t child; (child = 2 * place + 1) < count; place = child) {
        if (child + 1 < count && heap[child + 1].value < heap[child].value)
            child++;
        if (moving.value <= heap[child].value)
            break;
        heap[place] = heap[child];
    }
    heap[place] = moving;
}

static size_t largest_bounds(const float *bounds, size_t count, struct candidate *heap, size_t most)
{
    size_t kept = 0, j = 0;
    for (; j < count && kept < most; j++)
        if (bounds[j] > -INFINITY)
            heap[kept++] = (struct candidate){ bounds[j], (uint32_t)j };
    for (size_t i = kept / 2; i-- > 0;)
        heap_sift(heap, kept, i);
    for (; j < count; j++) {
        if (bounds[j] > heap[0].value) {
            heap[0] = (struct candidate){ bounds[j], (uint32_t)j };
            heap_sift(heap, kept, 0);
        }
    }
    return kept;
}

static int by_value(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    if (x->value != y->value)
        return x->value > y->value ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

/* The estimate of the longest heads, from the bound of level 0. */
static float best_estimate(const struct block *block, size_t query, struct candidate candidate)
{
    const struct heads *heads = &block->certified->heads;
    const struct long_row *x = block_row(block, query), *y = database_row(block, candidate.id);
    float bound = candidate.value;
    if (bound >= UNBOUNDED)
        return bound;
    for (size_t l = 1; l < heads->levels; l++)
        bound = heads_refine(heads, l, bound, x, y);
    return bound - heads_slack(heads->levels - 1, x, y);
}

/* Marks the seeds of a range of queries. */
static void choose_seeds(void *context, size_t begin, size_t end)
{
    struct block *block = context;
    size_t k = block->search->settings.neighbours, most = SEEDS + 4 * k;
    struct candidate *heap = memory_grow(NULL, most, sizeof *heap);
    for (size_t q = begin; q < end; q++) {
        float *bounds = block->bounds + q * block->stride;
        size_t kept = largest_bounds(bounds, block->search->database.count, heap, most);
        for (size_t i = 0; i < kept; i++)
            heap[i].value = best_estimate(block, q, heap[i]);
        qsort(heap, kept, sizeof *heap, by_value);
        for (size_t i = 0; i < kept && i < k + EXTRA; i++)
            bounds[heap[i].id] = SEED;
    }
    free(heap);
}

/* ---- thresholds --------------------------------------------------------------------------------
 */

/* From the k-th correlation so far: what a level's bound, before rounding is accounted for, must
 * reach so that the pair may still be among the k. */
static void set_bars(struct block *block, size_t query)
{
    const struct heads *heads = &block->certified->heads;
    const struct neighbour *nearest = block_nearest(block, query);
    size_t k = block->search->settings.neighbours;
    for (size_t l = 0; l < heads->levels; l++)
        block->bar[l][query] = nearest_bar(nearest, k, heads->rounding[l]);
}

/* ---- refining ----------------------------------------------------------------------------------
 */

/* One pair through the further levels; −∞ once it is ruled out. Counts what each level saw. */
static float refine_pair(const struct block *block, size_t query, size_t id, float bound,
                         uint64_t bounded[HEAD_LEVELS])
{
    const struct heads *heads = &block->certified->heads;
    if (bound >= UNBOUNDED)
        return bound;
    const struct long_row *x = block_row(block, query), *y = database_row(block, id);
    for (size_t l = 1; l < heads->levels; l++) {
        bounded[l]++;
        bound = heads_refine(heads, l, bound, x, y);
        if (bound < block->bar[l][query])
            return -INFINITY;
    }
    return bound;
}

static void refine_tile(void *context, size_t item)
{
    struct block *block = context;
    size_t n = block->search->database.count, begin = item * REFINE_TILE,
           count = n - begin < REFINE_TILE ? n - begin : REFINE_TILE;
    uint64_t bounded[HEAD_LEVELS] = { 0 };
    uint16_t places[REFINE_TILE + 1];
    for (size_t q = 0; q < block->count; q++) {
        float *bounds = block->bounds + q * block->stride + begin, bar = block->bar[0][q];
        size_t found = bounds_reaching(bounds, count, bar, places);
        for (size_t i = 0; i < found; i++) {
            float *bound = &bounds[places[i]];
            *bound = refine_pair(block, q, begin + places[i], *bound, bounded);
        }
    }
    for (size_t l = 1; l < HEAD_LEVELS; l++)
        atomic_fetch_add(&block->bounded[l], bounded[l]);
}

/* The share of pairs that would be left after all levels, by a sample. */
static double share_left(const struct block *block)
{
    size_t n = block->search->database.count, pairs = 0, last = block->certified->heads.levels - 1;
    double left = 0;
    uint64_t bounded[HEAD_LEVELS] = { 0 };
    for (size_t s = 0; s < SAMPLED_QUERIES && s < block->count; s++) {
        size_t q = s * block->count / SAMPLED_QUERIES, reached = 0, seen = 0, stayed = 0;
        if (block->count < SAMPLED_QUERIES)
            q = s;
        const float *bounds = block->bounds + q * block->stride;
        for (size_t j = 0; j < n; j++)
            reached += bounds[j] >= block->bar[0][q];
        size_t step = reached / SAMPLED_PAIRS + 1, turn = 0;
        for (size_t j = 0; j < n; j++) {
            if (bounds[j] < block->bar[0][q] || turn++ % step != 0)
                continue;
            seen++;
            stayed += refine_pair(block, q, j, bounds[j], bounded) >= block->bar[last][q];
        }
        left += seen ? (double)reached * (double)stayed / (double)seen : 0;
        pairs += n;
    }
    return left / (double)pairs;
}

/* ---- running -----------------------------------------------------------------------------------
 */

/* The largest slack of each level that any pair of this block can have. */
static void note_slack(const struct block *block, struct certificate *certificate)
{
    const struct certified *certified = block->certified;
    const struct heads *heads = &certified->heads;
    for (size_t q = 0; q < block->count; q++) {
        for (size_t l = 0; l < heads->levels; l++) {
            double slack =
                heads->rounding[l] + (double)heads_slack(l, block_row(block, q), &certified->most);
            if (slack > certificate->level[l].slack)
                certificate->level[l].slack = slack;
        }
    }
}

/* From the bounds of level 0 to the nearest. */
static void search_block(struct block *block, struct evaluation *evaluation,
                         struct certificate *certificate)
{
    const struct search *search = block->search;
    size_t n = search->database.count, last = block->certified->heads.levels - 1;
    parallel_ranges(block->count, QUERY_GROUP, choose_seeds, block);
    for (size_t q = 0; q < block->count; q++)
        block->bar[0][q] = SEED;
    uint64_t seeds = evaluation_run(evaluation, block->bar[0], block->nearest);
    for (size_t q = 0; q < block->count; q++)
        set_bars(block, q);
    if (share_left(block) > 1.0 / EXHAUSTIVE_GAIN) {
        exhaust_block(search, block->first, block->count, block->moments, block->nearest,
                      certificate); /* the seeds are counted among all */
        return;
    }
    parallel_items((n + REFINE_TILE - 1) / REFINE_TILE, refine_tile, block);
    certificate->evaluated += seeds + evaluation_run(evaluation, block->bar[last], block->nearest);
}

static bool run_block(struct block *block, struct certificate *certificate, struct error *err)
{
    enum { TILE = BOUND_PANELS * PANEL_IMAGES };
    const struct search *search = block->search;
    struct evaluation evaluation;
    if (!heads_of(&block->certified->heads, search, &search->queries, block->first, block->count,
                  block->moments, &block->rows, 0, err))
        return false;
    nearest_of_constants(search, block->first, block->count, block->moments, block->nearest);
    parallel_items((search->database.count + TILE - 1) / TILE, bound_tile, block);
    certificate->level[0].bounded += pairs_allowed(search, block->first, block->count);
    if (!evaluation_begin(&evaluation, search, block->first, block->count, block->moments,
                          block->bounds, block->stride, err))
        return false;
    search_block(block, &evaluation, certificate);
    note_slack(block, certificate);
    evaluation_end(&evaluation);
    images_forget(search, &search->queries, block->first, block->count);
    return true;
}

static bool certified_run(struct search *search, struct search_result *result, struct error *err)
{
    const struct certified *certified = search->state;
    const struct heads *heads = &certified->heads;
    struct certificate *certificate = &result->certificate;
    struct block block = { .search = search, .certified = certified };
    size_t most = block_queries(search, certified);
    if (most > result->count)
        most = result->count;
    bool ok = blas_set_threads(1, err) && block_allocate(&block, most, err);
    for (size_t done = 0; ok && done < result->count; done += block.count) {
        block.first = result->first + done;
        block.count = result->count - done < most ? result->count - done : most;
        block.nearest = result->nearest + done * result->neighbours;
        ok = run_block(&block, certificate, err);
    }
    for (size_t l = 0; l < heads->levels; l++) {
        certificate->level[l].head = heads->end[l];
        certificate->level[l].bounded += block.bounded[l];
    }
    certificate->rounding = heads->rounding[heads->levels - 1];
    block_release(&block);
    return ok;
}

bool certified_bounds(struct search *search, size_t level, size_t query, size_t id, double *lower,
                      double *upper)
{
    const struct certified *certified = search->state;
    const struct heads *heads = &certified->heads;
    struct moments moments;
    struct error err;
    struct head_rows rows;
    float bounds[PANEL_QUERIES * PANEL_IMAGES];
    if (level >= heads->levels)
        return false;
    if (!head_rows_allocate(heads, PANEL_OF_QUERIES, 1, &rows, &err) ||
        !heads_of(heads, search, &search->queries, query, 1, &moments, &rows, 0, &err))
        BUG("%s", err.message);
    const struct long_row *x = head_row(heads, &rows, 0),
                          *y = head_row(heads, &certified->rows, id);
    heads->products->bounds(&heads->shape, head_panel(heads, &rows, 0),
                            head_panel(heads, &certified->rows, id / PANEL_IMAGES), bounds);
    float bound = bounds[id % PANEL_IMAGES];
    for (size_t l = 1; l <= level; l++)
        bound = heads_refine(heads, l, bound, x, y);
    *upper = (double)bound + heads->rounding[level];
    *lower = (double)bound - 2 * (double)heads_slack(level, x, y) - heads->rounding[level];
    if (rows.loose[0] || certified->rows.loose[id]) {
        *upper = 1;
        *lower = -1;
    }
    head_rows_release(&rows);
    return true;
}

const struct engine_methods certified_engine = { certified_missing, blas_library_version,
                                                 certified_open, certified_run, certified_close };
