/* The dataset store; see store.h. */
#include "data/dataset.h"

#include "base/digest.h"
#include "base/text.h"
#include "data/csv.h"

#include <stdlib.h>
#include <string.h>

const char *const dataset_role_names[ROLE_COUNT + 1] = { "real", "synthetic", NULL };
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

bool dataset_is(const char *path)
{
    struct arena arena;
    arena_init(&arena);
    bool is = path_kind(path_join(&arena, path, json_name)) == PATH_FILE;
    arena_release(&arena);
    return is;
}

static bool read_description(struct dataset *dataset, struct error *err)
{
    char *path = path_join(&dataset->arena, dataset->path, json_name);
    dataset->description = json_load_schema(path, DATASET_SCHEMA, err);
    if (!dataset->description)
        return false;
    int role;
    const char *name = json_get_string(dataset->description, "role", err);
    const struct json *channels = json_get_array(dataset->description, "channels", err);
    if (!name || !channels)
        return error_prefix(err, "%s", path);
    if (!find_name(dataset_role_names, name, &role))
        return error_set(err, "%s: the role \"%s\" is neither real nor synthetic", path, name);
    dataset->role = (enum dataset_role)role;
    dataset->channels = json_length(channels);
    if (!dataset->channels)
        return error_set(err, "%s: no channels", path);
    dataset->channel_names = arena_array(&dataset->arena, const char *, dataset->channels);
    for (size_t i = 0; i < dataset->channels; i++) {
        dataset->channel_names[i] = json_as_string(json_at(channels, i));
        if (!dataset->channel_names[i])
            return error_set(err, "%s: a channel's name is not text", path);
    }
    return true;
}

static bool open_images(struct dataset *dataset, struct error *err)
{
    struct npy *array = &dataset->image_array;
    char *path = path_join(&dataset->arena, dataset->path, images_name);
    if (!npy_open(array, path, err))
        return false;
    bool fits = array->rank == 4 && array->shape[1] == dataset->channels &&
                (array->type == ELEMENT_UINT8 || array->type == ELEMENT_UINT16 ||
                 array->type == ELEMENT_FLOAT16);
    if (!fits)
        return error_set(err, "%s: expected (N,%zu,H,W) of uint8, uint16 or float16", path,
                         dataset->channels);
    dataset->count = array->shape[0];
    dataset->height = array->shape[2];
    dataset->width = array->shape[3];
    dataset->type = array->type;
    dataset->images = array->data;
    return true;
}

/* What dataset.json says of the images must be what images.npy holds. */
static bool check_description(const struct dataset *dataset, struct error *err)
{
    int64_t images, height, width;
    const struct json *description = dataset->description;
    const char *type;
    if (!json_get_integer(description, "images", &images, err) ||
        !json_get_integer(description, "height", &height, err) ||
        !json_get_integer(description, "width", &width, err) ||
        !(type = json_get_string(description, "type", err)))
        return error_prefix(err, "%s/%s", dataset->path, json_name);
    if (images == (int64_t)dataset->count && height == (int64_t)dataset->height &&
        width == (int64_t)dataset->width && strcmp(type, element_info[dataset->type].name) == 0)
        return true;
    return error_set(err, "%s: %s tells of %lld images of %lld × %lld, %s; %s holds others",
                     dataset->path, json_name, (long long)images, (long long)height,
                     (long long)width, type, images_name);
}

static bool open_masks(struct dataset *dataset, struct error *err)
{
    bool expected;
    struct npy *array = &dataset->mask_array;
    char *path = path_join(&dataset->arena, dataset->path, masks_name);
    if (!json_get_bool(dataset->description, "masks", &expected, err))
        return error_prefix(err, "%s/%s", dataset->path, json_name);
    if (expected != (path_kind(path) != PATH_NOTHING))
        return error_set(err, "%s: %s", path,
                         expected ? "missing" : "not told of in dataset.json; remove it");
    if (!expected)
        return true;
    if (!npy_open(array, path, err))
        return false;
    bool fits = array->rank == 3 && array->type == ELEMENT_UINT8 &&
                array->shape[0] == dataset->count && array->shape[1] == dataset->height &&
                array->shape[2] == dataset->width;
    dataset->masks = array->data;
    return fits || error_set(err, "%s: expected (%zu,%zu,%zu) of uint8", path, dataset->count,
                             dataset->height, dataset->width);
}

static bool read_index(struct dataset *dataset, struct error *err)
{
    static const char *const columns[] = { "image",  "subject", "slice", "split",
                                           "source", "sha256",  NULL };
    struct csv table;
    char *path = path_join(&dataset->arena, dataset->path, index_name);
    if (!csv_read(&table, path, columns, &dataset->arena, err))
        return false;
    if (table.rows != dataset->count)
        return error_set(err, "%s: %zu rows for %zu images", path, table.rows, dataset->count);
    dataset->index = arena_array(&dataset->arena, struct dataset_image, dataset->count);
    for (size_t i = 0; i < dataset->count; i++) {
        struct dataset_image *row = &dataset->index[i];
        int64_t image;
        int split;
        if (!text_to_integer(csv_cell(&table, i, "image"), &image) || image != (int64_t)i ||
            !text_to_integer(csv_cell(&table, i, "slice"), &row->slice) || row->slice < 0 ||
            row->slice > INT32_MAX || !find_name(split_names, csv_cell(&table, i, "split"), &split))
            return error_set(err, "%s:%zu: image, slice or split is not valid", path, i + 2);
        row->split = (enum split)split;
        row->subject = csv_cell(&table, i, "subject");
        row->source = csv_cell(&table, i, "source");
        row->sha256 = csv_cell(&table, i, "sha256");
    }
    return true;
}

bool dataset_open(struct dataset *dataset, const char *path, struct error *err)
{
    *dataset = (struct dataset){ 0 };
    arena_init(&dataset->arena);
    dataset->path = arena_string(&dataset->arena, path);
    if (read_description(dataset, err) && open_images(dataset, err) &&
        check_description(dataset, err) && open_masks(dataset, err) && read_index(dataset, err))
        return true;
    dataset_close(dataset);
    return error_prefix(err, "not a complete dataset store");
}

void dataset_close(struct dataset *dataset)
{
    npy_close(&dataset->image_array);
    npy_close(&dataset->mask_array);
    json_free(dataset->description);
    arena_release(&dataset->arena);
    *dataset = (struct dataset){ 0 };
}

static bool verify_file(const struct dataset *dataset, const struct json *files, const char *name,
                        struct error *err)
{
    struct arena arena;
    struct digest expected, found;
    arena_init(&arena);
    char *path = path_join(&arena, dataset->path, name);
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

bool dataset_verify(const struct dataset *dataset, struct error *err)
{
    const struct json *files = json_get(dataset->description, "files", err);
    return files && verify_file(dataset, files, images_name, err) &&
           (!dataset->masks || verify_file(dataset, files, masks_name, err)) &&
           verify_file(dataset, files, index_name, err);
}

/* ---- writing ------------------------------------------------------------------------------- */

static void writer_release(struct dataset_writer *writer)
{
    text_release(writer->index);
    arena_release(&writer->arena);
}

bool dataset_writer_open(struct dataset_writer *writer, const char *path,
                         const struct dataset_format *format, struct error *err)
{
    *writer = (struct dataset_writer){ .format = *format };
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
        dataset_writer_abandon(writer);
    return ok;
}

bool dataset_writer_append(struct dataset_writer *writer, const void *image, const uint8_t *mask,
                           const struct dataset_image *row, struct error *err)
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

static bool put_digest(struct dataset_writer *writer, struct json *files, const char *name,
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
static bool describe(struct dataset_writer *writer, struct json *root, struct json *origin,
                     struct error *err)
{
    const struct dataset_format *format = &writer->format;
    struct json *channels = json_new_array(), *files = json_new_object();
    for (size_t i = 0; i < format->channels; i++)
        json_push_string(channels, format->channel_names[i]);
    json_put_string(root, "schema", DATASET_SCHEMA);
    json_put_string(root, "version", LETHE_VERSION);
    json_put_string(root, "role", dataset_role_names[format->role]);
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

static bool finish_files(struct dataset_writer *writer, struct json *root, struct json *origin,
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

bool dataset_writer_commit(struct dataset_writer *writer, struct json *origin, bool replace,
                           struct error *err)
{
    struct json *root = json_new_object();
    bool ok = finish_files(writer, root, origin, err);
    json_free(root);
    if (!ok) {
        dataset_writer_abandon(writer);
        return false;
    }
    ok = folder_stage_commit(&writer->stage, replace, err);
    writer_release(writer);
    return ok;
}

void dataset_writer_abandon(struct dataset_writer *writer)
{
    npy_writer_abandon(&writer->images);
    npy_writer_abandon(&writer->masks);
    folder_stage_abandon(&writer->stage);
    writer_release(writer);
}
