/* Searches for changed copies, in shards; see matcher.h. */
#include "audit/matcher.h"

#include "audit/disguise.h"
#include "audit/lesion.h"
#include "audit/tile.h"
#include "base/file.h"
#include "base/progress.h"
#include "data/safetensors.h"

#include <stdio.h>
#include <string.h>

/* An image takes long, so shards are small: a function of nothing but this number. */
enum { MATCHER_SHARD = 128 };

/* ---- shards ---------------------------------------------------------------------------------- */

struct matching {
    const struct matcher *matcher;
    struct matcher_job *job;
    const char *name;
    const struct image_set *queries;
    bool other_groups, asked;
    char tag[256];
    struct matched *matched;
    struct arena arena;
};

static unsigned char *match_at(const struct matching *matching, size_t index)
{
    return (unsigned char *)matching->matched->match + index * matching->matcher->match_bytes;
}

static const char *shard_path(struct matching *matching, size_t first)
{
    return path_join(&matching->arena, matching->job->passes->folder,
                     arena_format(&matching->arena, "%s-%s-%zu.safetensors",
                                  matching->matcher->name, matching->name, first));
}

static bool save_shard(struct matching *matching, size_t first, size_t count, struct error *err)
{
    size_t width = matching->matcher->numbers;
    double *numbers = memory_allocate(count * width, sizeof *numbers, "a shard", err);
    if (!numbers)
        return false;
    for (size_t i = 0; i < count; i++)
        matching->matcher->to_numbers(match_at(matching, first + i), numbers + i * width);
    struct tensor_entry tensor = {
        "matches", ELEMENT_FLOAT64, 2, { count, width }, count * width * sizeof *numbers, numbers
    };
    struct metadata_entry metadata = { "tag", matching->tag };
    bool ok = safetensors_write(shard_path(matching, first), &tensor, 1, &metadata, 1, err);
    memory_free(numbers);
    return ok;
}

/* A finished shard of just this search; anything else that stands there is passed over. */
static bool load_shard(struct matching *matching, size_t first, size_t count)
{
    struct safetensors file;
    const char *path = shard_path(matching, first);
    size_t width = matching->matcher->numbers;
    if (path_kind(path) != PATH_FILE || !safetensors_open(&file, path, NULL))
        return false;
    const struct tensor_entry *tensor = safetensors_find(&file, "matches");
    const char *tag = safetensors_metadata(&file, "tag");
    bool ok = tensor && tag && strcmp(tag, matching->tag) == 0 && tensor->type == ELEMENT_FLOAT64 &&
              tensor->rank == 2 && tensor->shape[0] == count && tensor->shape[1] == width;
    for (size_t i = 0; ok && i < count; i++)
        matching->matcher->from_numbers((const double *)tensor->data + i * width,
                                        match_at(matching, first + i));
    safetensors_close(&file);
    return ok;
}

static bool make_shard(struct matching *matching, size_t first, size_t count, struct error *err)
{
    const struct matcher *matcher = matching->matcher;
    struct matcher_job *job = matching->job;
    if (!job->search)
        matching->asked = (job->search = matcher->open(job, matching->queries,
                                                       matching->other_groups, err)) != NULL;
    else if (!matching->asked)
        matching->asked = matcher->ask(job->search, matching->queries, matching->other_groups, err);
    return matching->asked &&
           matcher->run(job->search, first, count, match_at(matching, first), err) &&
           save_shard(matching, first, count, err);
}

static bool run_shards(struct matching *matching, struct error *err)
{
    size_t count = matching->queries->count;
    struct progress progress;
    char what[64];
    snprintf(what, sizeof what, "%s of %s", matching->matcher->name, matching->name);
    progress_begin(&progress, what, "images", count);
    bool ok = true;
    for (size_t first = 0; ok && first < count; first += MATCHER_SHARD) {
        size_t part = count - first < MATCHER_SHARD ? count - first : MATCHER_SHARD;
        ok = load_shard(matching, first, part) || make_shard(matching, first, part, err);
        progress_add(&progress, part);
    }
    progress_end(&progress);
    return ok;
}

bool matcher_run(const struct matcher *matcher, struct matcher_job *job, const char *name,
                 const struct image_set *queries, bool other_groups, struct matched *matched,
                 struct error *err)
{
    size_t count = queries->count;
    struct matching matching = { .matcher = matcher,
                                 .job = job,
                                 .name = name,
                                 .queries = queries,
                                 .other_groups = other_groups,
                                 .matched = matched };
    char hex[DIGEST_HEX];
    snprintf(matching.tag, sizeof matching.tag, "%s %s of %s", digest_hex(&job->passes->tag, hex),
             matcher->name, name);
    *matched = (struct matched){ .count = count };
    matched->match = memory_allocate(count, matcher->match_bytes, "matches", err);
    matched->correlation = memory_allocate(count, sizeof(double), "matches", err);
    matched->ratio = memory_allocate(count, sizeof(double), "matches", err);
    matched->id = memory_allocate(count, sizeof(uint64_t), "matches", err);
    arena_init(&matching.arena);
    bool ok = matched->match && matched->correlation && matched->ratio && matched->id &&
              run_shards(&matching, err);
    for (size_t i = 0; ok && i < count; i++)
        matcher->look(match_at(&matching, i), &matched->correlation[i], &matched->ratio[i],
                      &matched->id[i]);
    arena_release(&matching.arena);
    if (!ok)
        matched_release(matched);
    return ok;
}

void matched_release(struct matched *matched)
{
    memory_free(matched->match);
    memory_free(matched->correlation);
    memory_free(matched->ratio);
    memory_free(matched->id);
    *matched = (struct matched){ 0 };
}

void matcher_close(const struct matcher *matcher, struct matcher_job *job)
{
    if (job->search)
        matcher->close(job->search);
    job->search = NULL;
}

/* ---- disguises ------------------------------------------------------------------------------- */

static void *disguise_begin(const struct matcher_job *job, const struct image_set *queries,
                            bool other_groups, struct error *err)
{
    struct disguise_settings settings = { job->channels, other_groups };
    return disguise_open(queries, job->database, &settings, err);
}

static bool disguise_again(void *search, const struct image_set *queries, bool other_groups,
                           struct error *err)
{
    return disguise_ask(search, queries, other_groups, err);
}

static bool disguise_shard(void *search, size_t first, size_t count, void *matches,
                           struct error *err)
{
    return disguise_run(search, first, count, matches, err);
}

static void disguise_end(void *search)
{
    disguise_close(search);
}

static void disguise_to_numbers(const void *match, double numbers[])
{
    const struct disguise_match *from = match;
    const struct transform *t = &from->transform;
    const double all[] = { from->correlation, from->local_ratio, (double)from->id,
                           (double)t->mirror, t->gamma,          t->scale,
                           t->degrees,        t->shift_y,        t->shift_x };
    memcpy(numbers, all, sizeof all);
}

static void disguise_from_numbers(const double numbers[], void *match)
{
    *(struct disguise_match *)match =
        (struct disguise_match){ .correlation = numbers[0],
                                 .local_ratio = numbers[1],
                                 .id = (uint64_t)numbers[2],
                                 .transform = { .mirror = (unsigned)numbers[3],
                                                .gamma = numbers[4],
                                                .scale = numbers[5],
                                                .degrees = numbers[6],
                                                .shift_y = numbers[7],
                                                .shift_x = numbers[8] } };
}

static void disguise_look(const void *match, double *correlation, double *ratio, uint64_t *id)
{
    const struct disguise_match *from = match;
    *correlation = from->correlation;
    *ratio = from->local_ratio;
    *id = from->id;
}

const struct matcher disguise_matcher = {
    .name = "disguises",
    .match_bytes = sizeof(struct disguise_match),
    .numbers = 9,
    .open = disguise_begin,
    .ask = disguise_again,
    .run = disguise_shard,
    .close = disguise_end,
    .to_numbers = disguise_to_numbers,
    .from_numbers = disguise_from_numbers,
    .look = disguise_look,
};

/* ---- tiles and lesions ----------------------------------------------------------------------- */

static void *tile_begin(const struct matcher_job *job, const struct image_set *queries,
                        bool other_groups, struct error *err)
{
    struct tile_settings settings = { job->channels, other_groups, job->masks, job->device, 0 };
    return tile_open(queries, job->database, &settings, err);
}

static bool tile_again(void *search, const struct image_set *queries, bool other_groups,
                       struct error *err)
{
    return tile_ask(search, queries, other_groups, err);
}

static bool tile_shard(void *search, size_t first, size_t count, void *matches, struct error *err)
{
    return tile_run(search, first, count, matches, err);
}

static void tile_end(void *search)
{
    tile_close(search);
}

static void *lesion_begin(const struct matcher_job *job, const struct image_set *queries,
                          bool other_groups, struct error *err)
{
    struct lesion_settings settings = { job->channels, other_groups, job->masks };
    return lesion_open(queries, job->database, &settings, err);
}

static bool lesion_again(void *search, const struct image_set *queries, bool other_groups,
                         struct error *err)
{
    return lesion_ask(search, queries, other_groups, err);
}

static bool lesion_shard(void *search, size_t first, size_t count, void *matches, struct error *err)
{
    return lesion_run(search, first, count, matches, err);
}

static void lesion_end(void *search)
{
    lesion_close(search);
}

/* Both find a piece: what a match is made of is the same. */
static void piece_to_numbers(const void *match, double numbers[])
{
    const struct tile_match *from = match;
    const double all[] = { from->correlation,      from->local_ratio, (double)from->id,
                           (double)from->mirrored, from->query.y,     from->query.x,
                           from->query.side,       from->training.y,  from->training.x,
                           from->training.side };
    memcpy(numbers, all, sizeof all);
}

static void piece_from_numbers(const double numbers[], void *match)
{
    *(struct tile_match *)match =
        (struct tile_match){ .correlation = numbers[0],
                             .local_ratio = numbers[1],
                             .id = (uint64_t)numbers[2],
                             .mirrored = numbers[3] != 0,
                             .query = { numbers[4], numbers[5], numbers[6] },
                             .training = { numbers[7], numbers[8], numbers[9] } };
}

static void piece_look(const void *match, double *correlation, double *ratio, uint64_t *id)
{
    const struct tile_match *from = match;
    *correlation = from->correlation;
    *ratio = from->local_ratio;
    *id = from->id;
}

const struct matcher tile_matcher = {
    .name = "tiles",
    .match_bytes = sizeof(struct tile_match),
    .numbers = 10,
    .open = tile_begin,
    .ask = tile_again,
    .run = tile_shard,
    .close = tile_end,
    .to_numbers = piece_to_numbers,
    .from_numbers = piece_from_numbers,
    .look = piece_look,
};

const struct matcher lesion_matcher = {
    .name = "lesions",
    .match_bytes = sizeof(struct tile_match),
    .numbers = 10,
    .needs_masks = true,
    .least_side = LESION_LEAST_SIDE,
    .open = lesion_begin,
    .ask = lesion_again,
    .run = lesion_shard,
    .close = lesion_end,
    .to_numbers = piece_to_numbers,
    .from_numbers = piece_from_numbers,
    .look = piece_look,
};
