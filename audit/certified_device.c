/* The certified engine on a device: its matrix units bound all pairs at once with the longest heads
 * there are, and the few that are left are computed here, from the stored pixels.
 *
 * A block of queries at a time:
 *
 *     bound      device: products of short rows (short_rows.h) with the database's
 *     seeds      device: the best of each stripe of the database; here: the k and a few more with
 *                the largest bounds exactly, which gives a threshold
 *     filter     device: pairs whose bound reaches their query's threshold, in order
 *     evaluate   here: these exactly, by tiles of the database; thresholds rise as they come
 *
 * The device decides only which pairs are computed, and it may only err on one side: a pair that
 * was ruled out has a correlation strictly below that of k others. So ids and bits are those of
 * every other engine. Each pair that is computed proves the device right or wrong: a correlation
 * above its bound means that the products are off by more than short_sum_error says, and ends the
 * search. */
#include "audit/certified_device.h"

#include "audit/blas.h"
#include "audit/exhaust.h"
#include "audit/short_rows.h"
#include "base/parallel.h"
#include "tensor/filter.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    PREPARE = 512,         /* images prepared before their pages are let go */
    QUERY_GROUP = 16,      /* queries that a thread takes at a time */
    STRIPES = 1024,        /* of which seeds are taken; at least four times as many as seeds */
    EXTRA = 8,             /* seeds beside k */
    QUERIES_WANTED = 2048, /* in a block; a shard has no more (passes.c) */
};

struct device_state {
    const struct filter_methods *device;
    struct filter *filter;
    struct filter_plan plan;
    struct heads heads;
    struct short_rows rows;
    uint16_t *columns; /* the database's rows, where they do not fit on the device */
    struct short_norms most;
    size_t tile; /* images whose pairs are evaluated together */
};

/* Pairs of a block, by query, then by id. */
struct pair_list {
    size_t *begin; /* (count + 1) */
    struct filter_pair *pairs;
};

struct device_block {
    const struct search *search;
    const struct device_state *state;
    size_t first, count;
    struct moments *moments;
    uint16_t *rows;
    struct neighbour *nearest; /* (count, k) */
    float *bars;               /* (count) */
    uint64_t *counts;          /* (count) pairs that reach the bar */
    float *best;               /* (count, stripes) */
    uint32_t *best_ids;
    struct pair_list seeds, left;
    size_t *seed_at, *left_at;     /* (count) how far each list has been gone through */
    size_t tile_begin, tile_end;   /* the tile of the database that is being evaluated */
    size_t list_first, list_count; /* queries of `left` */
    _Atomic uint64_t evaluated;
    atomic_bool broken; /* a bound was below the value */
};

static size_t seeds_of(const struct search *search)
{
    size_t seeds = search->settings.neighbours + EXTRA;
    return seeds < search->database.count ? seeds : search->database.count;
}

/* ---- the database ------------------------------------------------------------------------------
 */

static bool prepare_columns(struct search *search, struct device_state *state, struct error *err)
{
    size_t n = search->database.count, length = state->rows.length;
    uint16_t *some = memory_allocate(PREPARE * length, sizeof *some, "the database's heads", err);
    if (!some)
        return false;
    bool ok = true;
    for (size_t first = 0; ok && first < n; first += PREPARE) {
        size_t count = n - first < PREPARE ? n - first : PREPARE;
        uint16_t *rows = state->columns ? state->columns + first * length : some;
        ok = moments_of(search, &search->database, first, count, search->moments + first, err);
        if (!ok)
            break;
        short_rows_of(&state->rows, search, &search->database, SIDE_DATABASE, first, count,
                      search->moments + first, rows);
        for (size_t i = 0; i < count; i++) {
            struct short_norms norms =
                short_norms_of(&state->rows, SIDE_DATABASE, rows + i * length);
            state->most.tail = fmax(state->most.tail, norms.tail);
            state->most.error = fmax(state->most.error, norms.error);
            state->most.norm = fmax(state->most.norm, norms.norm);
        }
        if (!state->columns)
            state->device->set_columns(state->filter, first, count, rows);
        images_forget(search, &search->database, first, count);
    }
    memory_free(some);
    return ok && state->device->set_groups(state->filter, search->database.groups, err);
}

/* Blocks that fit into the device's memory, and the host's copy of what does not stay there. */
static bool open_filter(struct search *search, struct device_state *state, struct error *err)
{
    size_t n = search->database.count, stripes = STRIPES;
    while (stripes < 4 * seeds_of(search))
        stripes *= 2;
    struct filter_size size = { .columns = n,
                                .length = state->rows.length,
                                .queries = search->queries.count < QUERIES_WANTED
                                               ? search->queries.count
                                               : QUERIES_WANTED,
                                .stripes = stripes < n ? stripes : n,
                                .memory = search->settings.device_memory };
    if (!state->device->plan(&size, &state->plan, err))
        return false;
    state->filter = state->device->open(&state->plan, err);
    if (!state->filter)
        return false;
    if (!state->plan.resident)
        state->columns = memory_allocate(n * state->rows.length, sizeof *state->columns,
                                         "the database's heads", err);
    return state->plan.resident || state->columns;
}

static bool device_engine_open(struct search *search, struct error *err)
{
    struct device_state *state = memory_allocate(1, sizeof *state, "the engine", err);
    search->state = state;
    if (!state)
        return false;
    state->device = search->settings.device;
    if (!blas_set_threads(1, err))
        return false;
    state->tile = exhaust_tile(search);
    if (!heads_init(&state->heads, search, err))
        return false;
    images_forget(search, &search->database, 0, search->database.count);
    short_rows_init(&state->rows, &state->heads);
    return open_filter(search, state, err) && prepare_columns(search, state, err);
}

static void device_engine_close(struct search *search)
{
    struct device_state *state = search->state;
    if (!state)
        return;
    state->device->close(state->filter);
    heads_release(&state->heads);
    memory_free(state->columns);
    memory_free(state);
    search->state = NULL;
}

/* ---- a block of queries ------------------------------------------------------------------------
 */

static void block_release(struct device_block *block)
{
    memory_free(block->moments);
    memory_free(block->rows);
    memory_free(block->bars);
    memory_free(block->counts);
    memory_free(block->best);
    memory_free(block->best_ids);
    memory_free(block->seeds.begin);
    memory_free(block->seeds.pairs);
    memory_free(block->left.begin);
    memory_free(block->left.pairs);
    memory_free(block->seed_at);
    memory_free(block->left_at);
}

static bool block_allocate(struct device_block *block, size_t most, struct error *err)
{
    const struct filter_plan *plan = &block->state->plan;
    const struct {
        void *memory; /* a pointer to the pointer, whatever its type */
        size_t count, size;
    } needed[] = {
        { &block->moments, most, sizeof *block->moments },
        { &block->rows, most * plan->length, sizeof *block->rows },
        { &block->bars, most, sizeof *block->bars },
        { &block->counts, most, sizeof *block->counts },
        { &block->best, most * plan->stripes, sizeof *block->best },
        { &block->best_ids, most * plan->stripes, sizeof *block->best_ids },
        { &block->seeds.begin, most + 1, sizeof *block->seeds.begin },
        { &block->seeds.pairs, most * seeds_of(block->search), sizeof *block->seeds.pairs },
        { &block->left.begin, most + 1, sizeof *block->left.begin },
        { &block->left.pairs, plan->pairs, sizeof *block->left.pairs },
        { &block->seed_at, most, sizeof *block->seed_at },
        { &block->left_at, most, sizeof *block->left_at },
    };
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        void *memory = memory_allocate(needed[i].count, needed[i].size, "a block", err);
        memcpy(needed[i].memory, &memory, sizeof memory);
        if (!memory)
            return false;
    }
    return true;
}

static struct neighbour *block_nearest(const struct device_block *block, size_t query)
{
    return block->nearest + query * block->search->settings.neighbours;
}

/* What a product must reach so that the pair may still be among the k. */
static float bar_of(const struct device_block *block, size_t query)
{
    if (block->moments[query].spread == 0)
        return INFINITY; /* nearest_of_constant has answered */
    return nearest_bar(block_nearest(block, query), block->search->settings.neighbours,
                       block->state->rows.rounding);
}

/* ---- seeds -------------------------------------------------------------------------------------
 */

static int by_column(const void *a, const void *b)
{
    const struct filter_pair *x = a, *y = b;
    return (x->column > y->column) - (x->column < y->column);
}

/* Those with the largest bounds among the best of the stripes, in the order of ids. */
static void choose_seeds(void *context, size_t query)
{
    struct device_block *block = context;
    size_t stripes = block->state->plan.stripes, most = seeds_of(block->search), count = 0;
    const float *bounds = block->best + query * stripes;
    const uint32_t *ids = block->best_ids + query * stripes;
    struct neighbour *largest = memory_grow(NULL, most, sizeof *largest);
    struct filter_pair *seeds = block->seeds.pairs + query * most;
    for (size_t i = 0; i < most; i++) /* below any bound, above −∞ */
        largest[i] = (struct neighbour){ -1e30, UINT64_MAX };
    for (size_t s = 0; s < stripes && block->moments[query].spread != 0; s++)
        nearest_insert(largest, most, (struct neighbour){ (double)bounds[s], ids[s] });
    for (size_t i = 0; i < most && largest[i].id != UINT64_MAX; i++)
        seeds[count++] =
            (struct filter_pair){ (uint32_t)largest[i].id, (float)largest[i].correlation };
    qsort(seeds, count, sizeof *seeds, by_column);
    for (size_t i = count; i < most; i++) /* ids beyond the last: never met */
        seeds[i] = (struct filter_pair){ UINT32_MAX, -INFINITY };
    block->seeds.begin[query] = query * most;
    free(largest);
}

/* ---- exact values ------------------------------------------------------------------------------
 */

static void evaluate_pair(struct device_block *block, size_t query, struct filter_pair pair)
{
    const struct search *search = block->search;
    double r =
        exact_correlation(&search->pixels, image_at(search, &search->queries, block->first + query),
                          &block->moments[query], image_at(search, &search->database, pair.column),
                          &search->moments[pair.column]);
    if (r > (double)pair.bound + block->state->rows.rounding)
        atomic_store(&block->broken, true);
    nearest_insert(block_nearest(block, query), search->settings.neighbours,
                   (struct neighbour){ r, pair.column });
}

/* A query's seeds in the tile. */
static uint64_t seeds_in_tile(struct device_block *block, size_t query)
{
    const struct filter_pair *seeds = block->seeds.pairs;
    size_t *at = &block->seed_at[query], end = block->seeds.begin[query] + seeds_of(block->search);
    uint64_t evaluated = 0;
    for (; *at < end && seeds[*at].column < block->tile_end; ++*at, evaluated++)
        evaluate_pair(block, query, seeds[*at]);
    return evaluated;
}

/* A query's pairs in the tile that still reach its bar and were not seeds. */
static uint64_t left_in_tile(struct device_block *block, size_t query)
{
    const struct filter_pair *pairs = block->left.pairs, *seeds = block->seeds.pairs;
    size_t *at = &block->left_at[query], *seed = &block->seed_at[query],
           end = block->left.begin[query - block->list_first + 1],
           last_seed = block->seeds.begin[query] + seeds_of(block->search);
    uint64_t evaluated = 0;
    float bar = bar_of(block, query);
    for (; *at < end && pairs[*at].column < block->tile_end; ++*at) {
        struct filter_pair pair = pairs[*at];
        while (*seed < last_seed && seeds[*seed].column < pair.column)
            ++*seed;
        if (pair.bound < bar || (*seed < last_seed && seeds[*seed].column == pair.column))
            continue;
        evaluate_pair(block, query, pair);
        bar = bar_of(block, query);
        evaluated++;
    }
    return evaluated;
}

static void evaluate_seeds(void *context, size_t item)
{
    struct device_block *block = context;
    uint64_t evaluated = 0;
    for (size_t q = item * QUERY_GROUP; q < block->count && q < (item + 1) * QUERY_GROUP; q++)
        evaluated += seeds_in_tile(block, q);
    atomic_fetch_add(&block->evaluated, evaluated);
}

static void evaluate_left(void *context, size_t item)
{
    struct device_block *block = context;
    size_t first = block->list_first + item * QUERY_GROUP,
           end = block->list_first + block->list_count;
    uint64_t evaluated = 0;
    for (size_t q = first; q < end && q < first + QUERY_GROUP; q++)
        evaluated += left_in_tile(block, q);
    atomic_fetch_add(&block->evaluated, evaluated);
}

/* Groups of `queries`, tile by tile. */
static void over_tiles(struct device_block *block, size_t queries,
                       void (*body)(void *context, size_t item))
{
    size_t n = block->search->database.count, tile = block->state->tile,
           items = (queries + QUERY_GROUP - 1) / QUERY_GROUP;
    for (size_t begin = 0; begin < n; begin += tile) {
        block->tile_begin = begin;
        block->tile_end = n - begin < tile ? n : begin + tile;
        parallel_items(items, body, block);
        images_forget(block->search, &block->search->database, begin, block->tile_end - begin);
    }
}

/* ---- in order ----------------------------------------------------------------------------------
 */

static bool bound_block(struct device_block *block, struct error *err)
{
    const struct search *search = block->search;
    const struct device_state *state = block->state;
    const struct image_set *set = &search->queries;
    bool grouped = search->settings.other_groups;
    if (!moments_of(search, set, block->first, block->count, block->moments, err))
        return false;
    short_rows_of(&state->rows, search, set, SIDE_QUERY, block->first, block->count, block->moments,
                  block->rows);
    struct filter_queries queries = {
        .count = block->count,
        .rows = block->rows,
        .group = grouped ? set->groups + block->first : NULL,
        .avoid = grouped && set->avoid ? set->avoid + block->first : NULL,
    };
    return state->device->bound(state->filter, &queries, state->columns, err);
}

static bool evaluate_best(struct device_block *block, struct error *err)
{
    const struct device_state *state = block->state;
    if (!state->device->best(state->filter, block->best, block->best_ids, err))
        return false;
    parallel_items(block->count, choose_seeds, block);
    memcpy(block->seed_at, block->seeds.begin, block->count * sizeof *block->seed_at);
    over_tiles(block, block->count, evaluate_seeds);
    return true;
}

/* What the filter left, as many queries at a time as there is room for their pairs. */
static bool evaluate_filtered(struct device_block *block, struct error *err)
{
    const struct device_state *state = block->state;
    memcpy(block->seed_at, block->seeds.begin, block->count * sizeof *block->seed_at);
    for (size_t first = 0, count; first < block->count; first += count) {
        size_t *begin = block->left.begin, total = begin[0] = 0;
        for (count = 0; first + count < block->count &&
                        total + block->counts[first + count] <= state->plan.pairs;
             count++) {
            block->left_at[first + count] = total;
            begin[count + 1] = total += block->counts[first + count];
        }
        if (!state->device->collect(state->filter, first, count, block->left.pairs, err))
            return false;
        block->list_first = first;
        block->list_count = count;
        over_tiles(block, count, evaluate_left);
    }
    return true;
}

/* The largest slack that any pair of this block can have. */
static void note_slack(const struct device_block *block, struct certificate *certificate)
{
    const struct device_state *state = block->state;
    for (size_t q = 0; q < block->count; q++) {
        struct short_norms x =
            short_norms_of(&state->rows, SIDE_QUERY, block->rows + q * state->rows.length);
        double slack = state->rows.rounding + x.tail * state->most.tail +
                       x.error * state->most.norm + x.norm * state->most.error;
        certificate->level[0].slack = fmax(certificate->level[0].slack, slack);
    }
}

static bool run_block(struct device_block *block, struct certificate *certificate,
                      struct error *err)
{
    const struct search *search = block->search;
    const struct device_state *state = block->state;
    uint64_t before = block->evaluated, left = 0,
             pairs = pairs_allowed(search, block->first, block->count);
    if (!bound_block(block, err))
        return false;
    nearest_of_constants(search, block->first, block->count, block->moments, block->nearest);
    if (!evaluate_best(block, err))
        return false;
    for (size_t q = 0; q < block->count; q++)
        block->bars[q] = bar_of(block, q);
    if (!state->device->count(state->filter, block->bars, block->counts, err))
        return false;
    for (size_t q = 0; q < block->count; q++)
        left += block->counts[q];
    certificate->level[0].bounded += pairs;
    if (left > pairs / EXHAUSTIVE_GAIN) {
        block->evaluated = before; /* the seeds will be counted among all */
        exhaust_block(search, block->first, block->count, block->moments, block->nearest,
                      certificate);
    } else if (!evaluate_filtered(block, err))
        return false;
    note_slack(block, certificate);
    images_forget(search, &search->queries, block->first, block->count);
    return !block->broken ||
           error_set(err,
                     "the device gave a bound below the correlation that it is to bound: its "
                     "products are off by more than %.1g; search with --device cpu",
                     state->rows.rounding);
}

static bool device_engine_run(struct search *search, struct search_result *result,
                              struct error *err)
{
    const struct device_state *state = search->state;
    struct certificate *certificate = &result->certificate;
    struct device_block block = { .search = search, .state = state };
    size_t most = state->plan.queries < result->count ? state->plan.queries : result->count;
    bool ok = blas_set_threads(1, err) && block_allocate(&block, most, err);
    for (size_t done = 0; ok && done < result->count; done += block.count) {
        block.first = result->first + done;
        block.count = result->count - done < most ? result->count - done : most;
        block.nearest = result->nearest + done * result->neighbours;
        ok = run_block(&block, certificate, err);
    }
    certificate->level[0].head = state->rows.coefficients;
    certificate->evaluated += block.evaluated;
    certificate->rounding = state->rows.rounding;
    block_release(&block);
    return ok;
}

static const char *device_engine_missing(void)
{
    return NULL;
}

const struct engine_methods certified_device_engine = { device_engine_missing, blas_library_version,
                                                        device_engine_open, device_engine_run,
                                                        device_engine_close };
