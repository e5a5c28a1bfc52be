/* Passes and shards; see passes.h. */
#include "audit/passes.h"

#include "base/file.h"
#include "base/progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Queries in a shard: a function of their number alone, so that another machine, or another number
 * of threads, cuts in the same way. The engine works on up to 4096 at a time. */
enum { SHARD_LEAST = 256, SHARD_MOST = 2048, SHARDS_WANTED = 16 };

static size_t shard_size(size_t queries)
{
    size_t size = (queries + SHARDS_WANTED - 1) / SHARDS_WANTED;
    return size < SHARD_LEAST ? SHARD_LEAST : size > SHARD_MOST ? SHARD_MOST : size;
}

void database_close(struct database *database)
{
    search_close(database->search);
    database->search = NULL;
}

/* ---- one pass -------------------------------------------------------------------------------- */

struct pass {
    struct database *database;
    const char *name;
    const struct image_set *queries;
    size_t k;
    bool other_groups, asked; /* asked: the search has these queries */
    char tag[256];
    struct arena arena;
};

static const char *shard_path(struct pass *pass, size_t first)
{
    return path_join(&pass->arena, pass->database->passes->folder,
                     arena_format(&pass->arena, "%s-in-%s-%zu.safetensors", pass->name,
                                  pass->database->name, first));
}

/* A finished shard of just this pass; anything else that stands there is passed over. */
static bool load_shard(struct pass *pass, size_t first, size_t count, struct search_result *shard)
{
    const char *path = shard_path(pass, first);
    if (path_kind(path) != PATH_FILE || !search_result_load(shard, path, pass->tag, NULL))
        return false;
    if (shard->first == first && shard->count == count && shard->neighbours == pass->k)
        return true;
    search_result_release(shard);
    return false;
}

/* Prepares the database, or asks the one that is prepared. */
static bool ask(struct pass *pass, struct error *err)
{
    struct database *database = pass->database;
    if (pass->asked)
        return true;
    if (database->search)
        pass->asked = search_ask(database->search, pass->queries, pass->k, pass->other_groups, err);
    else {
        struct search_settings settings = { .engine = database->engine,
                                            .neighbours = pass->k,
                                            .channels = database->channels,
                                            .other_groups = pass->other_groups,
                                            .device = database->device,
                                            .faiss_gpu = database->faiss_gpu };
        database->search = search_open(pass->queries, database->images, &settings, err);
        pass->asked = database->search != NULL;
    }
    return pass->asked;
}

static bool make_shard(struct pass *pass, size_t first, size_t count, struct search_result *shard,
                       struct error *err)
{
    if (!ask(pass, err) || !search_run(pass->database->search, first, count, shard, err))
        return false;
    if (search_result_save(shard, shard_path(pass, first), pass->tag, err))
        return true;
    search_result_release(shard);
    return false;
}

static bool run_shards(struct pass *pass, struct search_result *shards, size_t *made,
                       struct error *err)
{
    size_t count = pass->queries->count, size = shard_size(count);
    struct progress progress;
    char what[64];
    snprintf(what, sizeof what, "%s in %s", pass->name, pass->database->name);
    progress_begin(&progress, what, "images", count);
    bool ok = true;
    for (size_t first = 0; ok && first < count; first += size) {
        size_t part = count - first < size ? count - first : size;
        struct search_result *shard = &shards[*made];
        ok = load_shard(pass, first, part, shard) || make_shard(pass, first, part, shard, err);
        *made += ok;
        progress_add(&progress, part);
    }
    progress_end(&progress);
    return ok;
}

bool pass_run(struct database *database, const char *name, const struct image_set *queries,
              size_t k, bool other_groups, struct search_result *result, struct error *err)
{
    struct pass pass = { database, name, queries, k, other_groups, false, "", { 0 } };
    char hex[DIGEST_HEX];
    size_t size = shard_size(queries->count), made = 0;
    snprintf(pass.tag, sizeof pass.tag, "%s %s in %s, %zu nearest%s",
             digest_hex(&database->passes->tag, hex), name, database->name, k,
             other_groups ? " of other groups" : "");
    arena_init(&pass.arena);
    struct search_result *shards =
        memory_grow(NULL, (queries->count + size - 1) / size, sizeof *shards);
    bool ok = run_shards(&pass, shards, &made, err) &&
              search_merge(shards, made, queries->count, result, err);
    if (ok)
        certificate_add(&database->certificate, &result->certificate);
    for (size_t s = 0; s < made; s++)
        search_result_release(&shards[s]);
    free(shards);
    arena_release(&pass.arena);
    return ok;
}

/* ---- the nearest and the strangers ----------------------------------------------------------- */

struct strangers {
    const struct image_set *database;
    const struct near *near;
    double *sum;     /* of the distances to strangers so far, by query */
    uint32_t *first; /* the group of the nearest, by query */
};

/* Adds up the distances to strangers among a query's nearest. Whether there were enough. */
static bool add_strangers(struct strangers *strangers, size_t query)
{
    const struct near *near = strangers->near;
    const struct neighbour *nearest = near->nearest + query * near->k;
    size_t found = 0;
    strangers->sum[query] = 0;
    strangers->first[query] = strangers->database->groups[nearest[0].id];
    for (size_t i = 1; i < near->k && found < near->local; i++) {
        if (strangers->database->groups[nearest[i].id] == strangers->first[query])
            continue;
        strangers->sum[query] += distance_of(nearest[i].correlation);
        found++;
    }
    return found == near->local;
}

/* The queries whose list of nearest holds too few strangers, as a set of their own whose groups
 * are left out of the search. The sums come in the order of rank, as in add_strangers. */
static bool ask_for_strangers(struct strangers *strangers, struct database *database,
                              const char *name, const struct image_set *queries, bool other_groups,
                              const uint32_t *few, size_t count, struct error *err)
{
    uint32_t *rows = memory_grow(NULL, 3 * count, sizeof *rows), *groups = rows + count,
             *avoid = groups + count;
    char follow[64];
    size_t local = strangers->near->local;
    struct image_set set = *queries;
    struct search_result result;
    for (size_t i = 0; i < count; i++) {
        rows[i] = queries->rows ? queries->rows[few[i]] : few[i];
        groups[i] = strangers->first[few[i]];
        avoid[i] = other_groups ? queries->groups[few[i]] : groups[i];
    }
    set.count = count;
    set.rows = rows;
    set.groups = groups;
    set.avoid = avoid;
    snprintf(follow, sizeof follow, "%s-strangers", name);
    bool ok = pass_run(database, follow, &set, local, true, &result, err);
    for (size_t i = 0; ok && i < count; i++) {
        double sum = 0;
        for (size_t j = 0; j < local; j++)
            sum += distance_of(result.nearest[i * local + j].correlation);
        strangers->sum[few[i]] = sum;
    }
    if (ok)
        search_result_release(&result);
    free(rows);
    return ok;
}

static bool find_ratios(struct near *near, struct database *database, const char *name,
                        const struct image_set *queries, bool other_groups, struct error *err)
{
    struct strangers strangers = { database->images, near, NULL, NULL };
    strangers.sum = memory_grow(NULL, near->count, sizeof *strangers.sum);
    strangers.first = memory_grow(NULL, near->count, sizeof *strangers.first);
    uint32_t *few = memory_grow(NULL, near->count, sizeof *few);
    size_t few_count = 0;
    for (size_t q = 0; q < near->count; q++)
        if (!add_strangers(&strangers, q))
            few[few_count++] = (uint32_t)q;
    bool ok = !few_count || ask_for_strangers(&strangers, database, name, queries, other_groups,
                                              few, few_count, err);
    for (size_t q = 0; ok && q < near->count; q++) {
        double mean = strangers.sum[q] / (double)near->local,
               distance = distance_of(near->nearest[q * near->k].correlation);
        near->ratio[q] = mean > 0 ? distance / mean : 1;
    }
    free(strangers.sum);
    free(strangers.first);
    free(few);
    return ok;
}

bool near_find(struct database *database, const char *name, const struct image_set *queries,
               size_t k, size_t local, bool other_groups, struct near *near, struct error *err)
{
    struct search_result result;
    *near = (struct near){ .count = queries->count, .k = k, .local = local };
    if (!pass_run(database, name, queries, k, other_groups, &result, err))
        return false;
    near->nearest = result.nearest; /* taken over */
    if (!local)
        return true;
    near->ratio = memory_allocate(near->count, sizeof *near->ratio, "local ratios", err);
    if (near->ratio && find_ratios(near, database, name, queries, other_groups, err))
        return true;
    near_release(near);
    return false;
}

void near_release(struct near *near)
{
    memory_free(near->nearest);
    memory_free(near->ratio);
    *near = (struct near){ 0 };
}
