/* Results: shards joined, kept on disk and read again; see search.h. */
#include "audit/search.h"

#include "base/json.h"
#include "data/safetensors.h"

#include <stdlib.h>
#include <string.h>

void certificate_add(struct certificate *total, const struct certificate *part)
{
    total->queries += part->queries;
    total->pairs += part->pairs;
    total->evaluated += part->evaluated;
    total->exhaustive_queries += part->exhaustive_queries;
    for (int l = 0; l < CERTIFICATE_LEVELS; l++) {
        total->level[l].bounded += part->level[l].bounded;
        if (part->level[l].head > total->level[l].head)
            total->level[l].head = part->level[l].head;
        if (part->level[l].slack > total->level[l].slack)
            total->level[l].slack = part->level[l].slack;
    }
    if (part->rounding > total->rounding)
        total->rounding = part->rounding;
}

void search_result_release(struct search_result *result)
{
    memory_free(result->nearest);
    *result = (struct search_result){ 0 };
}

static int by_first(const void *a, const void *b)
{
    const struct search_result *x = *(const struct search_result *const *)a,
                               *y = *(const struct search_result *const *)b;
    return (x->first > y->first) - (x->first < y->first);
}

/* Whether the shards, in this order, follow each other without gap or overlap. */
static bool check_shards(const struct search_result **shards, size_t count, size_t queries,
                         struct error *err)
{
    size_t next = 0;
    for (size_t s = 0; s < count; s++) {
        if (shards[s]->neighbours != shards[0]->neighbours)
            return error_set(err, "a shard holds %zu neighbours a query, another %zu",
                             shards[s]->neighbours, shards[0]->neighbours);
        if (shards[s]->first != next)
            return error_set(err, "queries %zu … %zu are in %s",
                             next < shards[s]->first ? next : shards[s]->first,
                             (next < shards[s]->first ? shards[s]->first : next) - 1,
                             next < shards[s]->first ? "no shard" : "two shards");
        next += shards[s]->count;
    }
    if (next != queries)
        return error_set(err, "the shards hold %zu queries, expected %zu", next, queries);
    return true;
}

bool search_merge(const struct search_result *shards, size_t count, size_t queries,
                  struct search_result *result, struct error *err)
{
    *result = (struct search_result){ 0 };
    const struct search_result **order = memory_grow(NULL, count + 1, sizeof *order);
    for (size_t s = 0; s < count; s++)
        order[s] = &shards[s];
    qsort(order, count, sizeof *order, by_first);
    bool ok = check_shards(order, count, queries, err);
    if (ok) {
        size_t k = count ? shards[0].neighbours : 0;
        result->count = queries;
        result->neighbours = k;
        result->nearest = memory_allocate(queries * k, sizeof *result->nearest, "neighbours", err);
        ok = result->nearest != NULL;
        for (size_t s = 0; ok && s < count; s++) {
            memcpy(result->nearest + order[s]->first * k, order[s]->nearest,
                   order[s]->count * k * sizeof *result->nearest);
            certificate_add(&result->certificate, &order[s]->certificate);
        }
    }
    free(order);
    return ok;
}

/* ---- on disk --------------------------------------------------------------------------------- */

#define SHARD_SCHEMA "lethe/search-shard/1"

/* Every count of a certificate, by name. */
static const struct {
    const char *name;
    size_t offset;
} counts[] = {
    { "queries", offsetof(struct certificate, queries) },
    { "pairs", offsetof(struct certificate, pairs) },
    { "evaluated", offsetof(struct certificate, evaluated) },
    { "exhaustive_queries", offsetof(struct certificate, exhaustive_queries) },
    { "bounded_1", offsetof(struct certificate, level[0].bounded) },
    { "bounded_2", offsetof(struct certificate, level[1].bounded) },
    { "bounded_3", offsetof(struct certificate, level[2].bounded) },
    { "bounded_4", offsetof(struct certificate, level[3].bounded) },
    { "head_1", offsetof(struct certificate, level[0].head) },
    { "head_2", offsetof(struct certificate, level[1].head) },
    { "head_3", offsetof(struct certificate, level[2].head) },
    { "head_4", offsetof(struct certificate, level[3].head) },
};
static const struct {
    const char *name;
    size_t offset;
} reals[] = {
    { "slack_1", offsetof(struct certificate, level[0].slack) },
    { "slack_2", offsetof(struct certificate, level[1].slack) },
    { "slack_3", offsetof(struct certificate, level[2].slack) },
    { "slack_4", offsetof(struct certificate, level[3].slack) },
    { "rounding", offsetof(struct certificate, rounding) },
};
#define COUNT_OF(array) (sizeof(array) / sizeof *(array))
_Static_assert(sizeof(size_t) == sizeof(uint64_t), "heads are read and written as 64 bits");

bool search_result_save(const struct search_result *result, const char *path, const char *tag,
                        struct error *err)
{
    size_t places = result->count * result->neighbours;
    int64_t *ids = memory_allocate(places, sizeof *ids, "a shard's ids", err);
    double *correlations = memory_allocate(places, sizeof *correlations, "a shard's values", err);
    bool ok = ids && correlations;
    for (size_t i = 0; ok && i < places; i++) {
        ids[i] = (int64_t)result->nearest[i].id;
        correlations[i] = result->nearest[i].correlation;
    }
    struct json *object = json_new_object();
    json_put_integer(object, "first", (int64_t)result->first);
    const char *certificate = (const char *)&result->certificate;
    for (size_t i = 0; i < COUNT_OF(counts); i++)
        json_put_integer(object, counts[i].name,
                         (int64_t) * (const uint64_t *)(certificate + counts[i].offset));
    for (size_t i = 0; i < COUNT_OF(reals); i++)
        json_put_real(object, reals[i].name, *(const double *)(certificate + reals[i].offset));
    char *line = json_line(object);
    struct tensor_entry tensors[] = {
        { "ids", ELEMENT_INT64, 2, { result->count, result->neighbours }, places * 8, ids },
        { "correlations",
          ELEMENT_FLOAT64,
          2,
          { result->count, result->neighbours },
          places * 8,
          correlations },
    };
    struct metadata_entry metadata[] = { { "schema", SHARD_SCHEMA },
                                         { "tag", tag },
                                         { "shard", line } };
    ok = ok && safetensors_write(path, tensors, 2, metadata, 3, err);
    memory_free(line);
    json_free(object);
    memory_free(ids);
    memory_free(correlations);
    return ok;
}

static bool read_numbers(const struct json *object, struct search_result *result, struct error *err)
{
    int64_t number;
    char *certificate = (char *)&result->certificate;
    if (!json_get_integer(object, "first", &number, err))
        return false;
    result->first = (size_t)number;
    for (size_t i = 0; i < COUNT_OF(counts); i++) {
        if (!json_get_integer(object, counts[i].name, &number, err))
            return false;
        *(uint64_t *)(certificate + counts[i].offset) = (uint64_t)number;
    }
    for (size_t i = 0; i < COUNT_OF(reals); i++)
        if (!json_get_real(object, reals[i].name, (double *)(certificate + reals[i].offset), err))
            return false;
    return true;
}

static bool read_shard(const struct safetensors *file, struct search_result *result,
                       const char *path, const char *tag, struct error *err)
{
    const struct tensor_entry *ids = safetensors_find(file, "ids"),
                              *values = safetensors_find(file, "correlations");
    const char *schema = safetensors_metadata(file, "schema"),
               *found = safetensors_metadata(file, "tag"),
               *line = safetensors_metadata(file, "shard");
    if (!ids || !values || !schema || !found || !line || strcmp(schema, SHARD_SCHEMA) != 0 ||
        ids->type != ELEMENT_INT64 || values->type != ELEMENT_FLOAT64 || ids->rank != 2 ||
        values->rank != 2 || ids->shape[0] != values->shape[0] || ids->shape[1] != values->shape[1])
        return error_set(err, "%s: is not a shard of a search (%s)", path, SHARD_SCHEMA);
    if (strcmp(found, tag) != 0)
        return error_set(err, "%s: is a shard of another search (%s, expected %s); remove it", path,
                         found, tag);
    struct json *object = json_parse(line, strlen(line), path, err);
    bool ok = object && read_numbers(object, result, err);
    json_free(object);
    if (!ok)
        return false;
    result->count = ids->shape[0];
    result->neighbours = ids->shape[1];
    size_t places = result->count * result->neighbours;
    result->nearest = memory_allocate(places, sizeof *result->nearest, "neighbours", err);
    if (!result->nearest)
        return false;
    for (size_t i = 0; i < places; i++)
        result->nearest[i] = (struct neighbour){ ((const double *)values->data)[i],
                                                 ((const uint64_t *)ids->data)[i] };
    return true;
}

bool search_result_load(struct search_result *result, const char *path, const char *tag,
                        struct error *err)
{
    struct safetensors file;
    *result = (struct search_result){ 0 };
    if (!safetensors_open(&file, path, err))
        return false;
    bool ok = read_shard(&file, result, path, tag, err);
    if (!ok)
        search_result_release(result);
    safetensors_close(&file);
    return ok;
}
