/* Parts of a synthetic set, put together; see join.h. */
#include "train/join.h"

#include "base/text.h"
#include "data/dataset.h"

#include <stdlib.h>
#include <string.h>

/* How a part came about: all of its origin, and all but the image that it begins with. */
struct part {
    struct dataset store;
    const struct json *origin;
    int64_t first;
    struct text rest;
};

static bool describe(void *context, const char *key, const struct json *value)
{
    struct part *part = context;
    const char *string = json_as_string(value);
    double number;
    if (strcmp(key, "first") == 0)
        return true;
    if (string)
        text_format(&part->rest, "%s %s\n", key, string);
    else if (json_get_real(part->origin, key, &number, NULL))
        text_format(&part->rest, "%s %.17g\n", key, number);
    return true;
}

static bool open_part(struct part *part, const char *path, struct error *err)
{
    if (!dataset_open(&part->store, path, err))
        return false;
    part->origin = json_get(part->store.description, "origin", err);
    if (!part->origin || part->store.role != ROLE_SYNTHETIC ||
        !json_get_integer(part->origin, "first", &part->first, NULL)) {
        dataset_close(&part->store);
        return error_set(err, "%s: not a set that lethe sample drew", path);
    }
    const struct dataset *store = &part->store;
    text_format(&part->rest, "shape %zu %zu %zu %d\n", store->channels, store->height, store->width,
                store->masks != NULL);
    for (size_t c = 0; c < store->channels; c++)
        text_format(&part->rest, "channel %s\n", store->channel_names[c]);
    json_each(part->origin, describe, part);
    return true;
}

static void close_part(struct part *part)
{
    dataset_close(&part->store);
    text_release(&part->rest);
}

static bool follows(const struct part *part, const struct part *whole, int64_t next,
                    struct error *err)
{
    if (strcmp(part->rest.bytes, whole->rest.bytes) != 0)
        return error_set(err, "%s: drawn of other weights, or in another way, than %s",
                         part->store.path, whole->store.path);
    if (part->first != next)
        return error_set(err, "%s: begins with image %lld; after the parts before it comes %lld",
                         part->store.path, (long long)part->first, (long long)next);
    return true;
}

static bool append(struct dataset_writer *writer, const struct dataset *store, struct error *err)
{
    size_t pixels = store->height * store->width, bytes = store->channels * pixels;
    for (size_t i = 0; i < store->count; i++)
        if (!dataset_writer_append(writer, store->images + i * bytes,
                                   store->masks ? store->masks + i * pixels : NULL,
                                   &store->index[i], err))
            return false;
    return true;
}

static bool append_rest(struct dataset_writer *writer, const struct part *whole,
                        const char *const *parts, size_t count, struct error *err)
{
    int64_t next = whole->first + (int64_t)whole->store.count;
    bool ok = append(writer, &whole->store, err);
    for (size_t i = 1; ok && i < count; i++) {
        struct part part = { 0 };
        if (!open_part(&part, parts[i], err))
            return false;
        ok = follows(&part, whole, next, err) && append(writer, &part.store, err);
        next += (int64_t)part.store.count;
        close_part(&part);
    }
    return ok;
}

static struct json *copy_of(const struct json *origin, struct error *err)
{
    char *text = json_text(origin);
    struct json *copy = json_parse(text, strlen(text), "the origin", err);
    memory_free(text);
    return copy;
}

bool sample_join(const char *const *parts, size_t part_count, const char *out, size_t *count,
                 struct error *err)
{
    struct part whole = { 0 };
    struct dataset_writer writer;
    if (path_kind(out) != PATH_NOTHING)
        return error_set(err, "%s: exists; a store is never changed, so name another", out);
    if (!open_part(&whole, parts[0], err))
        return false;
    const struct dataset *store = &whole.store;
    struct dataset_format format = { .role = ROLE_SYNTHETIC,
                                     .channels = store->channels,
                                     .height = store->height,
                                     .width = store->width,
                                     .channel_names = store->channel_names,
                                     .type = store->type,
                                     .masks = store->masks };
    struct json *origin = copy_of(whole.origin, err);
    bool ok = origin && dataset_writer_open(&writer, out, &format, err);
    if (!ok)
        json_free(origin);
    else if (append_rest(&writer, &whole, parts, part_count, err)) {
        *count = writer.count;
        ok = dataset_writer_commit(&writer, origin, false, err);
    } else {
        json_free(origin);
        dataset_writer_abandon(&writer);
        ok = false;
    }
    close_part(&whole);
    return ok;
}
