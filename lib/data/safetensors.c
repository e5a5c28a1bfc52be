/* safetensors; see safetensors.h. The format: the README of huggingface/safetensors. */
#include "data/safetensors.h"

#include "base/json.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

enum { LENGTH_BYTES = 8, LARGEST_HEADER = 100 << 20, ALIGNMENT = 64 };

/* ---- reading ------------------------------------------------------------------------------- */

struct reading {
    struct safetensors *file;
    const unsigned char *data;
    size_t data_bytes;
    size_t tensors, metadata; /* how many there are */
    struct error *err;
};

static bool find_type(const char *name, enum element_type *type)
{
    for (int i = 0; i < ELEMENT_TYPE_COUNT; i++)
        if (strcmp(element_info[i].safetensors, name) == 0) {
            *type = (enum element_type)i;
            return true;
        }
    return false;
}

/* A number that is at least 0, as size_t. */
static bool size_at(const struct json *array, size_t index, size_t *value)
{
    int64_t number;
    if (!json_as_integer(json_at(array, index), &number) || number < 0)
        return false;
    *value = (size_t)number;
    return true;
}

static bool read_shape(struct tensor_entry *tensor, const struct json *value, struct error *err)
{
    const struct json *shape = json_get_array(value, "shape", err);
    if (!shape)
        return false;
    if (json_length(shape) > TENSOR_MAX_RANK)
        return error_set(err, "%zu dimensions; at most %d are read", json_length(shape),
                         TENSOR_MAX_RANK);
    tensor->rank = (int)json_length(shape);
    tensor->bytes = element_info[tensor->type].bytes;
    for (int i = 0; i < tensor->rank; i++)
        if (!size_at(shape, (size_t)i, &tensor->shape[i]) ||
            !size_multiply(tensor->bytes, tensor->shape[i], &tensor->bytes))
            return error_set(err, "the shape is not a list of sizes that can be addressed");
    return true;
}

static bool read_offsets(struct tensor_entry *tensor, const struct json *value,
                         const struct reading *reading, struct error *err)
{
    const struct json *offsets = json_get_array(value, "data_offsets", err);
    size_t begin, end;
    if (!offsets)
        return false;
    if (json_length(offsets) != 2 || !size_at(offsets, 0, &begin) || !size_at(offsets, 1, &end) ||
        begin > end || end > reading->data_bytes)
        return error_set(err, "data_offsets do not lie inside the data (%zu bytes)",
                         reading->data_bytes);
    if (end - begin != tensor->bytes)
        return error_set(err, "shape and type ask for %zu bytes, data_offsets span %zu",
                         tensor->bytes, end - begin);
    tensor->data = reading->data + begin;
    return true;
}

static bool read_tensor(struct reading *reading, const char *name, const struct json *value)
{
    struct safetensors *file = reading->file;
    struct tensor_entry *tensor = &file->tensors[file->count++];
    struct error *err = reading->err;
    tensor->name = arena_string(&file->arena, name);
    const char *type = json_get_string(value, "dtype", err);
    bool ok = type != NULL;
    if (ok && !find_type(type, &tensor->type))
        ok = error_set(err, "the dtype \"%s\" is not known", type);
    ok = ok && read_shape(tensor, value, err) && read_offsets(tensor, value, reading, err);
    return ok || error_prefix(err, "tensor \"%s\"", name);
}

static bool read_metadata(void *context, const char *key, const struct json *value)
{
    struct safetensors *file = context;
    const char *string = json_as_string(value);
    if (!string)
        return false;
    file->metadata[file->metadata_count++] =
        (struct metadata_entry){ arena_string(&file->arena, key),
                                 arena_string(&file->arena, string) };
    return true;
}

static bool count_key(void *context, const char *key, const struct json *value)
{
    (void)key;
    (void)value;
    ++*(size_t *)context;
    return true;
}

static bool read_entry(void *context, const char *key, const struct json *value)
{
    struct reading *reading = context;
    struct safetensors *file = reading->file;
    if (strcmp(key, "__metadata__") != 0)
        return read_tensor(reading, key, value);
    size_t count = 0;
    if (!json_value_is_object(value))
        return error_set(reading->err, "__metadata__ is not an object of strings");
    json_each(value, count_key, &count);
    file->metadata = arena_array(&file->arena, struct metadata_entry, count);
    return json_each(value, read_metadata, file) ||
           error_set(reading->err, "__metadata__ holds something that is not a string");
}

static int by_data(const void *a, const void *b)
{
    const struct tensor_entry *x = a, *y = b;
    if (x->data != y->data)
        return (uintptr_t)x->data < (uintptr_t)y->data ? -1 : 1;
    return x->bytes != y->bytes ? (x->bytes < y->bytes ? -1 : 1) : strcmp(x->name, y->name);
}

/* The tensors must tile the data: each begins where the one before ends. */
static bool check_tiling(const struct reading *reading, struct error *err)
{
    struct safetensors *file = reading->file;
    const unsigned char *at = reading->data;
    qsort(file->tensors, file->count, sizeof *file->tensors, by_data);
    for (size_t i = 0; i < file->count; i++) {
        const struct tensor_entry *tensor = &file->tensors[i];
        if ((const unsigned char *)tensor->data != at)
            return error_set(err, "tensor \"%s\": its data %s", tensor->name,
                             (const unsigned char *)tensor->data < at ? "overlap another tensor's"
                                                                      : "leave a gap before them");
        at += tensor->bytes;
    }
    size_t rest = reading->data_bytes - (size_t)(at - reading->data);
    return !rest || error_set(err, "%zu bytes at the end that belong to no tensor", rest);
}

static bool parse(struct safetensors *file, const unsigned char *bytes, size_t size,
                  struct error *err)
{
    uint64_t length = 0;
    for (size_t i = LENGTH_BYTES; size >= LENGTH_BYTES && i-- > 0;)
        length = length << 8 | bytes[i];
    if (size < LENGTH_BYTES + 2 || length > size - LENGTH_BYTES || length > LARGEST_HEADER)
        return error_set(err, "not a safetensors file: a header of %llu bytes in a file of %zu",
                         (unsigned long long)length, size);
    if (bytes[LENGTH_BYTES] != '{')
        return error_set(err, "not a safetensors file: the header does not begin with '{'");
    struct json *header =
        json_parse((const char *)bytes + LENGTH_BYTES, (size_t)length, "header", err);
    if (!header)
        return false;
    struct reading reading = { .file = file,
                               .data = bytes + LENGTH_BYTES + length,
                               .data_bytes = size - LENGTH_BYTES - (size_t)length,
                               .err = err };
    size_t keys = 0;
    json_each(header, count_key, &keys);
    file->tensors = arena_array(&file->arena, struct tensor_entry, keys);
    bool ok = json_each(header, read_entry, &reading) && check_tiling(&reading, err);
    json_free(header);
    return ok;
}

bool safetensors_parse(struct safetensors *file, const unsigned char *bytes, size_t size,
                       const char *name, struct error *err)
{
    *file = (struct safetensors){ 0 };
    arena_init(&file->arena);
    if (parse(file, bytes, size, err))
        return true;
    safetensors_close(file);
    return error_prefix(err, "%s", name);
}

bool safetensors_open(struct safetensors *file, const char *path, struct error *err)
{
    struct file_map map;
    *file = (struct safetensors){ 0 };
    if (!file_map_open(&map, path, err))
        return false;
    if (!safetensors_parse(file, map.bytes, map.size, path, err)) {
        file_map_close(&map);
        return false;
    }
    file->map = map;
    return true;
}

void safetensors_close(struct safetensors *file)
{
    arena_release(&file->arena);
    file_map_close(&file->map);
    *file = (struct safetensors){ 0 };
}

const struct tensor_entry *safetensors_find(const struct safetensors *file, const char *name)
{
    for (size_t i = 0; i < file->count; i++)
        if (strcmp(file->tensors[i].name, name) == 0)
            return &file->tensors[i];
    return NULL;
}

const char *safetensors_metadata(const struct safetensors *file, const char *key)
{
    for (size_t i = 0; i < file->metadata_count; i++)
        if (strcmp(file->metadata[i].key, key) == 0)
            return file->metadata[i].value;
    return NULL;
}

/* ---- writing ------------------------------------------------------------------------------- */

static struct json *describe(const struct tensor_entry *tensor, size_t offset)
{
    struct json *entry = json_new_object(), *shape = json_new_array(), *offsets = json_new_array();
    json_put_string(entry, "dtype", element_info[tensor->type].safetensors);
    for (int i = 0; i < tensor->rank; i++)
        json_push_integer(shape, (int64_t)tensor->shape[i]);
    json_push_integer(offsets, (int64_t)offset);
    json_push_integer(offsets, (int64_t)(offset + tensor->bytes));
    json_put(entry, "shape", shape);
    json_put(entry, "data_offsets", offsets);
    return entry;
}

/* The header's text, padded with spaces so that the data are aligned. */
static void make_header(const struct tensor_entry *tensors, size_t count,
                        const struct metadata_entry *metadata, size_t metadata_count,
                        struct text *text)
{
    struct json *header = json_new_object();
    if (metadata_count) {
        struct json *entries = json_new_object();
        for (size_t i = 0; i < metadata_count; i++)
            json_put_string(entries, metadata[i].key, metadata[i].value);
        json_put(header, "__metadata__", entries);
    }
    size_t offset = 0;
    for (size_t i = 0; i < count; i++) {
        CHECK(!json_has(header, tensors[i].name), "two tensors named \"%s\"", tensors[i].name);
        json_put(header, tensors[i].name, describe(&tensors[i], offset));
        offset += tensors[i].bytes;
    }
    char *json = json_text(header);
    text_add(text, json);
    memory_free(json);
    json_free(header);
    while ((text->length + LENGTH_BYTES) % ALIGNMENT)
        text_add(text, " ");
}

static bool write_all(struct file_writer *writer, const struct text *header,
                      const struct tensor_entry *tensors, size_t count, struct error *err)
{
    unsigned char length[LENGTH_BYTES];
    for (int i = 0; i < LENGTH_BYTES; i++)
        length[i] = (unsigned char)((uint64_t)header->length >> (8 * i));
    bool ok = file_writer_write(writer, length, sizeof length, err) &&
              file_writer_write(writer, header->bytes, header->length, err);
    for (size_t i = 0; ok && i < count; i++)
        ok = file_writer_write(writer, tensors[i].data, tensors[i].bytes, err);
    return ok;
}

bool safetensors_write(const char *path, const struct tensor_entry *tensors, size_t count,
                       const struct metadata_entry *metadata, size_t metadata_count,
                       struct error *err)
{
    struct file_writer writer;
    if (!file_writer_open(&writer, path, err))
        return false;
    struct text header = { 0 };
    make_header(tensors, count, metadata, metadata_count, &header);
    bool ok = write_all(&writer, &header, tensors, count, err);
    text_release(&header);
    if (ok)
        return file_writer_commit(&writer, err);
    file_writer_abandon(&writer);
    return false;
}
