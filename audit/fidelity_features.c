/* Features, computed once and kept while the work is unfinished: blocks of them as .npy, beside a
 * record of what they are of. */
#include "audit/fidelity_run.h"

#include "base/file.h"
#include "data/npy.h"

#include <math.h>
#include <string.h>

#define RECORD_SCHEMA "lethe/fidelity-features/1"

enum { BLOCK = 128 }; /* images: what a kill may lose */

/* All that decides about a feature. */
static struct digest digest_of_work(const struct fidelity_run *run)
{
    const struct feature_format *format = feature_network_format(run->network);
    struct text text = { 0 };
    char hex[DIGEST_HEX];
    text_format(&text, "%s %s\n%s %s %s\n", RECORD_SCHEMA, LETHE_VERSION, format->network,
                format->weights, format->device);
    for (enum set_role role = 0; role < SET_COUNT; role++) {
        const struct drawn *drawn = &run->drawn[role];
        if (!drawn->count)
            continue;
        struct digest images = digest_of(drawn->images, drawn->count * sizeof *drawn->images);
        text_format(&text, "%s %s", set_role_names[role],
                    digest_hex(&run->sets.of[role].digest, hex));
        text_format(&text, " %zu %s\n", drawn->count, digest_hex(&images, hex));
    }
    struct digest digest = digest_of(text.bytes, text.length);
    text_release(&text);
    return digest;
}

/* What an unfinished run of something else left is of no use. */
bool fidelity_features_open(struct fidelity_run *run, struct error *err)
{
    const char *path = path_join(&run->arena, run->features, "record.json");
    struct digest digest = digest_of_work(run);
    char hex[DIGEST_HEX];
    digest_hex(&digest, hex);
    struct json *record =
        path_kind(path) == PATH_FILE ? json_load_schema(path, RECORD_SCHEMA, NULL) : NULL;
    const char *of = record ? json_get_string(record, "of", NULL) : NULL;
    bool same = of && strcmp(of, hex) == 0;
    json_free(record);
    if (same)
        return true;
    record = json_new_object();
    json_put_string(record, "schema", RECORD_SCHEMA);
    json_put_string(record, "of", hex);
    bool ok = folder_remove(run->features, err) && folder_create(run->features, err) &&
              json_save(record, path, err);
    json_free(record);
    return ok;
}

static bool load_block(const char *path, size_t count, float *values)
{
    struct npy array;
    if (path_kind(path) != PATH_FILE || !npy_open(&array, path, NULL))
        return false;
    bool ok = array.type == ELEMENT_FLOAT32 && array.rank == 2 && array.shape[0] == count &&
              array.shape[1] == FEATURES;
    if (ok)
        memcpy(values, array.data, count * FEATURES * sizeof *values);
    npy_close(&array);
    return ok;
}

static bool save_block(const char *path, size_t count, const float *values, struct error *err)
{
    struct npy_writer writer;
    size_t shape[1] = { FEATURES };
    if (!npy_writer_open(&writer, path, ELEMENT_FLOAT32, 1, shape, err))
        return false;
    if (npy_writer_append(&writer, values, count, err))
        return npy_writer_commit(&writer, err);
    npy_writer_abandon(&writer);
    return false;
}

static bool are_finite(const float *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!isfinite(values[i]))
            return false;
    return true;
}

const void *fidelity_plane(const struct audit_set *set, uint32_t image, size_t channel)
{
    const struct image_set *images = &set->images;
    size_t plane = images->height * images->width * element_info[images->type].bytes;
    return images->images + (set_place(set, image) * images->channels + channel) * plane;
}

static bool compute_block(struct fidelity_run *run, enum set_role role, size_t channel,
                          size_t first, size_t count, float *values, struct error *err)
{
    const void *planes[BLOCK];
    const struct audit_set *set = &run->sets.of[role];
    for (size_t i = 0; i < count; i++)
        planes[i] = fidelity_plane(set, run->drawn[role].images[first + i], channel);
    if (!feature_network_run(run->network, planes, count, values, err))
        return error_prefix(err, "%s, channel %s", set->path, set->channel_names[channel]);
    return are_finite(values, count * FEATURES) ||
           error_set(err,
                     "%s: the network's features of %s are not finite; these weights compute "
                     "nothing",
                     run->settings->weights, set->path);
}

bool fidelity_features_of(struct fidelity_run *run, enum set_role role, size_t channel,
                          struct progress *progress, float *values, struct error *err)
{
    size_t total = run->drawn[role].count;
    for (size_t first = 0; first < total; first += BLOCK) {
        size_t count = total - first < BLOCK ? total - first : BLOCK;
        float *block = values + first * FEATURES;
        const char *path = arena_format(&run->arena, "%s/%s-%zu-%zu.npy", run->features,
                                        set_role_names[role], channel, first);
        if (!load_block(path, count, block) &&
            !(compute_block(run, role, channel, first, count, block, err) &&
              save_block(path, count, block, err)))
            return false;
        progress_add(progress, count);
    }
    return true;
}
