/* The dataset store; see store.h. */
#include "data/store.h"

#include "base/digest.h"
#include "base/text.h"
#include "data/csv.h"

#include <stdlib.h>
#include <string.h>

const char *const store_role_names[ROLE_COUNT + 1] = { "real", "synthetic", NULL };
const char *const split_names[SPLIT_COUNT + 1] = { "train", "holdout", "validation", "none", NULL };

static const char images_name[] = "images.npy", masks_name[] = "masks.npy",
                  index_name[] = "index.csv", json_name[] = "dataset.json";

static bool find_name(const char *const *names, const char *name, int *index)
{
    for (*index = 0; names[*index]; ++*index)
        if (strcmp(names[*index], name) == 0)
            return true;
    return false;
}

/* ---- reading ------------------------------------------------------------------------------- */

bool store_is(const char *path)
{
    struct arena arena;
    arena_init(&arena);
    bool is = path_kind(path_join(&arena, path, json_name)) == PATH_FILE;
    arena_release(&arena);
    return is;
}

static bool read_description(struct store *store, struct error *err)
{
    char *path = path_join(&store->arena, store->path, json_name);
    store->description = json_load_schema(path, STORE_SCHEMA, err);
    if (!store->description)
        return false;
    int role;
    const char *name = json_get_string(store->description, "role", err);
    const struct json *channels = json_get_array(store->description, "channels", err);
    if (!name || !channels)
        return error_prefix(err, "%s", path);
    if (!find_name(store_role_names, name, &role))
        return error_set(err, "%s: the role \"%s\" is neither real nor synthetic", path, name);
    store->role = (enum store_role)role;
    store->channels = json_length(channels);
    if (!store->channels)
        return error_set(err, "%s: no channels", path);
    store->channel_names = arena_array(&store->arena, const char *, store->channels);
    for (size_t i = 0; i < store->channels; i++) {
        store->channel_names[i] = json_as_string(json_at(channels, i));
        if (!store->channel_names[i])
            return error_set(err, "%s: a channel's name is not text", path);
    }
    return true;
}

static bool open_images(struct store *store, struct error *err)
{
    struct npy *array = &store->image_array;
    char *path = path_join(&store->arena, store->path, images_name);
    if (!npy_open(array, path, err))
        return false;
    bool fits = array->rank == 4 && array->shape[1] == store->channels &&
                (array->type == ELEMENT_UINT8 || array->type == ELEMENT_UINT16 ||
                 array->type == ELEMENT_FLOAT16);
    if (!fits)
        return error_set(err, "%s: expected (N,%zu,H,W) of uint8, uint16 or float16", path,
                         store->channels);
    store->count = array->shape[0];
    store->height = array->shape[2];
    store->width = array->shape[3];
    store->type = array->type;
    store->images = array->data;
    return true;
}

/* What dataset.json says of the images must be what images.npy holds. */
static bool check_description(const struct store *store, struct error *err)
{
    int64_t images, height, width;
    const struct json *description = store->description;
    const char *type;
    if (!json_get_integer(description, "images", &images, err) ||
        !json_get_integer(description, "height", &height, err) ||
        !json_get_integer(description, "width", &width, err) ||
        !(type = json_get_string(description, "type", err)))
        return error_prefix(err, "%s/%s", store->path, json_name);
    if (images == (int64_t)store->count && height == (int64_t)store->height &&
        width == (int64_t)store->width && strcmp(type, element_info[store->type].name) == 0)
        return true;
    return error_set(err, "%s: %s tells of %lld images of %lld × %lld, %s; %s holds others",
                     store->path, json_name, (long long)images, (long long)height, (long long)width,
                     type, images_name);
}

static bool open_masks(struct store *store, struct error *err)
{
    bool expected;
    struct npy *array = &store->mask_array;
    char *path = path_join(&store->arena, store->path, masks_name);
    if (!json_get_bool(store->description, "masks", &expected, err))
        return error_prefix(err, "%s/%s", store->path, json_name);
    if (expected != (path_kind(path) != PATH_NOTHING))
        return error_set(err, "%s: %s", path,
                         expected ? "missing" : "not told of in dataset.json; remove it");
    if (!expected)
        return true;
    if (!npy_open(array, path, err))
        return false;
    bool fits = array->rank == 3 && array->type == ELEMENT_UINT8 &&
                array->shape[0] == store->count && array->shape[1] == store->height &&
                array->shape[2] == store->width;
    store->masks = array->data;
    return fits || error_set(err, "%s: expected (%zu,%zu,%zu) of uint8", path, store->count,
                             store->height, store->width);
}

static bool read_index(struct store *store, struct error *err)
{
    static const char *const columns[] = { "image",  "subject", "slice", "split",
                                           "source", "sha256",  NULL };
    struct csv table;
    char *path = path_join(&store->arena, store->path, index_name);
    if (!csv_read(&table, path, columns, &store->arena, err))
        return false;
    if (table.rows != store->count)
        return error_set(err, "%s: %zu rows for %zu images", path, table.rows, store->count);
    store->index = arena_array(&store->arena, struct store_image, store->count);
    for (size_t i = 0; i < store->count; i++) {
        struct store_image *row = &store->index[i];
        int64_t image;
        int split;
        if (!text_to_integer(csv_cell(&table, i, "image"), &image) || image != (int64_t)i ||
            !text_to_integer(csv_cell(&table, i, "slice"), &row->slice) ||
            !find_name(split_names, csv_cell(&table, i, "split"), &split))
            return error_set(err, "%s:%zu: image, slice or split is not valid", path, i + 2);
        row->split = (enum split)split;
        row->subject = csv_cell(&table, i, "subject");
        row->source = csv_cell(&table, i, "source");
        row->sha256 = csv_cell(&table, i, "sha256");
    }
    return true;
}

bool store_open(struct store *store, const char *path, struct error *err)
{
    *store = (struct store){ 0 };
    arena_init(&store->arena);
    store->path = arena_string(&store->arena, path);
    if (read_description(store, err) && open_images(store, err) && check_description(store, err) &&
        open_masks(store, err) && read_index(store, err))
        return true;
    store_close(store);
    return error_prefix(err, "not a complete dataset store");
}

void store_close(struct store *store)
{
    npy_close(&store->image_array);
    npy_close(&store->mask_array);
    json_free(store->description);
    arena_release(&store->arena);
    *store = (struct store){ 0 };
}

static bool verify_file(const struct store *store, const struct json *files, const char *name,
                        struct error *err)
{
    struct arena arena;
    struct digest expected, found;
    arena_init(&arena);
    char *path = path_join(&arena, store->path, name);
    const char *hex = json_get_string(files, name, err);
    bool ok = hex && digest_from_hex(hex, &expected);
    if (!ok)
        error_set(err, "%s: no SHA-256 of it in %s", path, json_name);
    ok = ok && digest_file(path, &found, err);
    if (ok && !digest_equal(&expected, &found))
        ok = error_set(err, "%s: changed since the store was written", path);
    arena_release(&arena);
    return ok;
}

bool store_verify(const struct store *store, struct error *err)
{
    const struct json *files = json_get(store->description, "files", err);
    return files && verify_file(store, files, images_name, err) &&
           (!store->masks || verify_file(store, files, masks_name, err)) &&
           verify_file(store, files, index_name, err);
}

/* ---- writing ------------------------------------------------------------------------------- */

static void writer_release(struct store_writer *writer)
{
    text_release(writer->index);
    arena_release(&writer->arena);
}

bool store_writer_open(struct store_writer *writer, const char *path,
                       const struct store_format *format, struct error *err)
{
    *writer = (struct store_writer){ .format = *format };
    writer->images.file.descriptor = writer->masks.file.descriptor = -1;
    if (!folder_stage_open(&writer->stage, path, err))
        return false;
    arena_init(&writer->arena);
    writer->index = arena_new(&writer->arena, struct text);
    text_add(writer->index, "image,subject,slice,split,source,sha256\n");
    const char *folder = writer->stage.partial;
    size_t shape[3] = { format->channels, format->height, format->width };
    bool ok = npy_writer_open(&writer->images, path_join(&writer->arena, folder, images_name),
                              format->type, 3, shape, err) &&
              (!format->masks ||
               npy_writer_open(&writer->masks, path_join(&writer->arena, folder, masks_name),
                               ELEMENT_UINT8, 2, shape + 1, err));
    if (!ok)
        store_writer_abandon(writer);
    return ok;
}

bool store_writer_append(struct store_writer *writer, const void *image, const uint8_t *mask,
                         const struct store_image *row, struct error *err)
{
    struct text *index = writer->index;
    text_format(index, "%zu,", writer->count++);
    text_add_csv(index, row->subject);
    text_format(index, ",%lld,%s,", (long long)row->slice, split_names[row->split]);
    text_add_csv(index, row->source);
    text_format(index, ",%s\n", row->sha256);
    return npy_writer_append(&writer->images, image, 1, err) &&
           (!writer->format.masks || npy_writer_append(&writer->masks, mask, 1, err));
}

static bool put_digest(struct store_writer *writer, struct json *files, const char *name,
                       struct error *err)
{
    struct digest digest;
    char hex[DIGEST_HEX];
    if (!digest_file(path_join(&writer->arena, writer->stage.partial, name), &digest, err))
        return false;
    json_put_string(files, name, digest_hex(&digest, hex));
    return true;
}

/* dataset.json: what the store is, its files' digests, and how it came about. */
static bool describe(struct store_writer *writer, struct json *root, struct json *origin,
                     struct error *err)
{
    const struct store_format *format = &writer->format;
    struct json *channels = json_new_array(), *files = json_new_object();
    for (size_t i = 0; i < format->channels; i++)
        json_push_string(channels, format->channel_names[i]);
    json_put_string(root, "schema", STORE_SCHEMA);
    json_put_string(root, "version", LETHE_VERSION);
    json_put_string(root, "role", store_role_names[format->role]);
    json_put_integer(root, "images", (int64_t)writer->count);
    json_put(root, "channels", channels);
    json_put_integer(root, "height", (int64_t)format->height);
    json_put_integer(root, "width", (int64_t)format->width);
    json_put_string(root, "type", element_info[format->type].name);
    json_put_bool(root, "masks", format->masks);
    json_put(root, "files", files);
    json_put(root, "origin", origin);
    return put_digest(writer, files, images_name, err) &&
           (!format->masks || put_digest(writer, files, masks_name, err)) &&
           put_digest(writer, files, index_name, err);
}

static bool finish_files(struct store_writer *writer, struct json *root, struct json *origin,
                         struct error *err)
{
    const char *folder = writer->stage.partial;
    bool ok = npy_writer_commit(&writer->images, err) &&
              (!writer->format.masks || npy_writer_commit(&writer->masks, err)) &&
              file_write(path_join(&writer->arena, folder, index_name), writer->index->bytes,
                         writer->index->length, err);
    if (!ok) {
        json_free(origin);
        return false;
    }
    return describe(writer, root, origin, err) &&
           json_save(root, path_join(&writer->arena, folder, json_name), err);
}

bool store_writer_commit(struct store_writer *writer, struct json *origin, bool replace,
                         struct error *err)
{
    struct json *root = json_new_object();
    bool ok = finish_files(writer, root, origin, err);
    json_free(root);
    if (!ok) {
        store_writer_abandon(writer);
        return false;
    }
    ok = folder_stage_commit(&writer->stage, replace, err);
    writer_release(writer);
    return ok;
}

void store_writer_abandon(struct store_writer *writer)
{
    npy_writer_abandon(&writer->images);
    npy_writer_abandon(&writer->masks);
    folder_stage_abandon(&writer->stage);
    writer_release(writer);
}
