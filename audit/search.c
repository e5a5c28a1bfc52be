/* The search's checks, and what engines share; see search.h and engine.h. */
#include "audit/search.h"

#include "audit/certified_device.h"
#include "audit/engine.h"
#include "base/parallel.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

const char *const engine_names[ENGINE_COUNT + 1] = {
    [ENGINE_CERTIFIED] = "certified", [ENGINE_FAISS] = "faiss"
};

static const struct engine_methods *const engines[ENGINE_COUNT] = {
    [ENGINE_CERTIFIED] = &certified_engine,
    [ENGINE_FAISS] = &faiss_engine,
};

static const struct engine_methods *methods_of(const struct search_settings *settings)
{
    return settings->engine == ENGINE_CERTIFIED && settings->device ? &certified_device_engine
                                                                    : engines[settings->engine];
}

const char *engine_missing(enum engine engine)
{
    return engines[engine]->missing();
}

const char *engine_version(enum engine engine)
{
    return engines[engine]->version();
}

struct image_set image_set_of_store(const struct dataset *dataset)
{
    return (struct image_set){ .name = dataset->path,
                               .images = dataset->images,
                               .count = dataset->count,
                               .channels = dataset->channels,
                               .height = dataset->height,
                               .width = dataset->width,
                               .type = dataset->type,
                               .mapped = true };
}

/* ---- checks -----------------------------------------------------------------------------------
 */

static bool check_set(const struct image_set *set, struct error *err)
{
    if (set->count == 0 || set->channels == 0 || set->height == 0 || set->width == 0)
        return error_set(err, "%s: holds no images (%zu of %zu × %zu × %zu)", set->name, set->count,
                         set->channels, set->height, set->width);
    if (set->type != ELEMENT_UINT8 && set->type != ELEMENT_UINT16 && set->type != ELEMENT_FLOAT16)
        return error_set(err, "%s: images of %s; expected uint8, uint16 or float16", set->name,
                         element_info[set->type].name);
    if (set->channels > CHANNELS_MAX)
        return error_set(err, "%s: %zu channels; at most %d can be compared", set->name,
                         set->channels, CHANNELS_MAX);
    if (set->height > 4096 || set->width > 4096)
        return error_set(err, "%s: images of %zu × %zu; at most 4096 × 4096 can be compared",
                         set->name, set->height, set->width);
    return true;
}

static bool check_channels(const struct image_set *set, uint64_t channels, struct error *err)
{
    if (set->channels < 64 && channels >> set->channels)
        return error_set(err, "channel %d is to be compared, but %s has %zu (0 … %zu)",
                         63 - __builtin_clzll(channels), set->name, set->channels,
                         set->channels - 1);
    return true;
}

bool search_check(const struct image_set *queries, const struct image_set *database,
                  uint64_t channels, struct error *err)
{
    if (!check_set(queries, err) || !check_set(database, err))
        return false;
    if (queries->channels != database->channels || queries->height != database->height ||
        queries->width != database->width)
        return error_set(err,
                         "%s has images of %zu × %zu × %zu, %s of %zu × %zu × %zu (channels, rows, "
                         "columns): only images of one shape can be compared; ingest both with the "
                         "same settings",
                         queries->name, queries->channels, queries->height, queries->width,
                         database->name, database->channels, database->height, database->width);
    if (queries->type != database->type)
        return error_set(
            err,
            "%s holds %s, %s holds %s: only images of one type can be compared; ingest "
            "both with the same settings",
            queries->name, element_info[queries->type].name, database->name,
            element_info[database->type].name);
    return check_channels(database, channels, err);
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* How many of the sorted numbers are below the value. */
static size_t count_below(const uint32_t *sorted, size_t count, uint64_t value)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (sorted[middle] < value)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static size_t count_equal(const uint32_t *sorted, size_t count, uint64_t value)
{
    return count_below(sorted, count, value + 1) - count_below(sorted, count, value);
}

/* The largest number of database images that are not allowed to a query of [first, first + count),
 * for their groups, and the sum over these queries. */
static size_t same_group(const struct search *search, size_t first, size_t count,
                         size_t *most_query, uint64_t *total)
{
    size_t most = 0, n = search->database.count;
    *total = 0;
    *most_query = first;
    if (!search->settings.other_groups)
        return 0;
    uint32_t *sorted = memory_grow(NULL, n, sizeof *sorted);
    memcpy(sorted, search->database.groups, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, by_number);
    for (size_t q = first; q < first + count; q++) {
        uint32_t group = search->queries.groups[q];
        size_t same = count_equal(sorted, n, group);
        if (search->queries.avoid && search->queries.avoid[q] != group)
            same += count_equal(sorted, n, search->queries.avoid[q]);
        *total += same;
        if (same > most) {
            most = same;
            *most_query = q;
        }
    }
    free(sorted);
    return most;
}

uint64_t pairs_allowed(const struct search *search, size_t first, size_t count)
{
    size_t query;
    uint64_t same;
    same_group(search, first, count, &query, &same);
    return (uint64_t)count * search->database.count - same;
}

static bool check_neighbours(const struct search *search, struct error *err)
{
    size_t query, k = search->settings.neighbours;
    uint64_t total;
    size_t same = same_group(search, 0, search->queries.count, &query, &total),
           candidates = search->database.count - same;
    if (k == 0 || k > candidates)
        return error_set(err,
                         "%zu nearest neighbours were asked for, but image %zu of %s has %zu "
                         "candidates in %s%s; ask for 1 … %zu",
                         k, query, search->queries.name, candidates, search->database.name,
                         same ? " outside its own group" : "", candidates);
    return true;
}

struct search *search_open(const struct image_set *queries, const struct image_set *database,
                           const struct search_settings *settings, struct error *err)
{
    CHECK(settings->engine < ENGINE_COUNT, "engine %d", (int)settings->engine);
    CHECK(!settings->other_groups || (queries->groups && database->groups), "no groups are known");
    const struct engine_methods *engine = methods_of(settings);
    if (engine->missing()) {
        error_set(err, "the search engine %s cannot be used: %s", engine_names[settings->engine],
                  engine->missing());
        return NULL;
    }
    if (!search_check(queries, database, settings->channels, err))
        return NULL;
    struct search *search = memory_allocate(1, sizeof *search, "a search", err);
    if (!search)
        return NULL;
    *search = (struct search){ *queries, *database, *settings };
    pixels_init(&search->pixels, database->type, database->channels,
                database->height * database->width,
                settings->channels ? settings->channels : UINT64_MAX);
    search->moments = memory_allocate(database->count, sizeof *search->moments, "moments", err);
    if (!search->moments || !check_neighbours(search, err) || !engine->open(search, err)) {
        search_close(search);
        return NULL;
    }
    return search;
}

bool search_ask(struct search *search, const struct image_set *queries, size_t neighbours,
                bool other_groups, struct error *err)
{
    CHECK(!other_groups || (queries->groups && search->database.groups), "no groups are known");
    if (!search_check(queries, &search->database, search->settings.channels, err))
        return false;
    search->queries = *queries;
    search->settings.neighbours = neighbours;
    search->settings.other_groups = other_groups;
    return check_neighbours(search, err);
}

void search_close(struct search *search)
{
    if (!search)
        return;
    methods_of(&search->settings)->close(search);
    memory_free(search->moments);
    memory_free(search);
}

bool search_run(struct search *search, size_t first, size_t count, struct search_result *result,
                struct error *err)
{
    size_t k = search->settings.neighbours;
    CHECK(count && first <= search->queries.count && count <= search->queries.count - first,
          "queries %zu … %zu of %zu", first, first + count, search->queries.count);
    *result = (struct search_result){ .first = first, .count = count, .neighbours = k };
    result->nearest = memory_allocate(count * k, sizeof *result->nearest, "neighbours", err);
    if (!result->nearest)
        return false;
    for (size_t q = 0; q < count; q++)
        nearest_clear(result->nearest + q * k, k);
    result->certificate.queries = count;
    result->certificate.pairs = pairs_allowed(search, first, count);
    if (!methods_of(&search->settings)->run(search, result, err)) {
        search_result_release(result);
        return false;
    }
    return true;
}

/* ---- what engines share ------------------------------------------------------------------------
 */

struct moments_job {
    const struct search *search;
    const struct image_set *set;
    size_t first;
    struct moments *moments;
    _Atomic size_t not_finite; /* the least index of such an image */
};

static void moments_range(void *context, size_t begin, size_t end)
{
    struct moments_job *job = context;
    for (size_t i = begin; i < end; i++) {
        if (exact_moments(&job->search->pixels, image_at(job->search, job->set, job->first + i),
                          &job->moments[i]))
            continue;
        size_t least = atomic_load(&job->not_finite);
        while (job->first + i < least &&
               !atomic_compare_exchange_weak(&job->not_finite, &least, job->first + i))
            ;
    }
}

bool moments_of(const struct search *search, const struct image_set *set, size_t first,
                size_t count, struct moments *moments, struct error *err)
{
    struct moments_job job = { search, set, first, moments, SIZE_MAX };
    parallel_ranges(count, 8, moments_range, &job);
    if (job.not_finite != SIZE_MAX)
        return error_set(err,
                         "%s: image %zu has a pixel that is infinite or not a number; images must "
                         "be finite to be compared",
                         set->name, (size_t)job.not_finite);
    return true;
}

bool images_finite(const struct pixels *pixels, const struct image_set *set, size_t first,
                   size_t count, struct error *err)
{
    struct search view = { .pixels = *pixels };
    if (set->type != ELEMENT_FLOAT16)
        return true;
    struct moments *moments = memory_allocate(count, sizeof *moments, "moments", err);
    bool ok = moments && moments_of(&view, set, first, count, moments, err);
    memory_free(moments);
    return ok;
}

void images_forget(const struct search *search, const struct image_set *set, size_t first,
                   size_t count)
{
    if (!set->mapped || !count)
        return;
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE),
              begin = (uintptr_t)image_at(search, set, first),
              end =
                  (uintptr_t)image_at(search, set, first + count - 1) + search->pixels.image_bytes;
    begin = (begin + page - 1) / page * page; /* whole pages only */
    end = end / page * page;
    if (begin < end)
        madvise((void *)begin, end - begin, MADV_DONTNEED); /* a hint: failing costs memory only */
}

void nearest_clear(struct neighbour *nearest, size_t k)
{
    for (size_t i = 0; i < k; i++)
        nearest[i] = (struct neighbour){ NO_CORRELATION, UINT64_MAX };
}

void nearest_insert(struct neighbour *nearest, size_t k, struct neighbour candidate)
{
    if (!neighbour_before(candidate, nearest[k - 1]))
        return;
    size_t place = k - 1;
    for (; place > 0 && neighbour_before(candidate, nearest[place - 1]); place--)
        nearest[place] = nearest[place - 1];
    nearest[place] = candidate;
}

void nearest_of_constant(const struct search *search, size_t query, const struct moments *moments,
                         struct neighbour *nearest)
{
    const void *image = image_at(search, &search->queries, query);
    for (size_t id = 0; id < search->database.count; id++) {
        if (!pair_allowed(search, query, id))
            continue;
        double r = 0;
        if (search->moments[id].spread == 0)
            r = exact_correlation(&search->pixels, image, moments,
                                  image_at(search, &search->database, id), &search->moments[id]);
        nearest_insert(nearest, search->settings.neighbours, (struct neighbour){ r, id });
    }
}

void nearest_of_constants(const struct search *search, size_t first, size_t count,
                          const struct moments *moments, struct neighbour *nearest)
{
    for (size_t q = 0; q < count; q++)
        if (moments[q].spread == 0)
            nearest_of_constant(search, first + q, &moments[q],
                                nearest + q * search->settings.neighbours);
}

float nearest_bar(const struct neighbour *nearest, size_t k, double rounding)
{
    double least = nearest[k - 1].correlation - rounding;
    float near = (float)least;
    return (double)near > least ? nextafterf(near, -INFINITY) : near; /* at or below it */
}
