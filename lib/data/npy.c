/* .npy arrays; see npy.h. The format: numpy/lib/format.py's documentation.
 *
 * A file is the magic "\x93NUMPY", two version bytes, the header's length (2 or 4 bytes), and a
 * Python dict literal with exactly the keys descr, fortran_order and shape; then the data. The
 * parser below accepts that dict and nothing else.
 */
#include "data/npy.h"

#include "base/text.h"

#include <stdio.h>
#include <string.h>

static const char magic[] = "\x93NUMPY";
enum { MAGIC = 6, ALIGNMENT = 64, LONGEST_HEADER = 65536 };

/* ---- the header's dict --------------------------------------------------------------------- */

struct cursor {
    const char *at, *end;
};

static void skip_space(struct cursor *cursor)
{
    while (cursor->at < cursor->end && (*cursor->at == ' ' || *cursor->at == '\n'))
        cursor->at++;
}

static bool take(struct cursor *cursor, char expected)
{
    skip_space(cursor);
    if (cursor->at == cursor->end || *cursor->at != expected)
        return false;
    cursor->at++;
    return true;
}

/* A string in either kind of quotes, without escapes, into `out`. */
static bool take_string(struct cursor *cursor, char *out, size_t capacity)
{
    skip_space(cursor);
    char quote = cursor->at < cursor->end ? *cursor->at : '\0';
    if (quote != '\'' && quote != '"')
        return false;
    const char *first = cursor->at + 1;
    const char *last = memchr(first, quote, (size_t)(cursor->end - first));
    if (!last || (size_t)(last - first) >= capacity || memchr(first, '\\', (size_t)(last - first)))
        return false;
    memcpy(out, first, (size_t)(last - first));
    out[last - first] = '\0';
    cursor->at = last + 1;
    return true;
}

static bool take_word(struct cursor *cursor, const char *word)
{
    skip_space(cursor);
    size_t length = strlen(word);
    if ((size_t)(cursor->end - cursor->at) < length || memcmp(cursor->at, word, length) != 0)
        return false;
    cursor->at += length;
    return true;
}

static bool take_size(struct cursor *cursor, size_t *value)
{
    skip_space(cursor);
    const char *first = cursor->at;
    *value = 0;
    while (cursor->at < cursor->end && *cursor->at >= '0' && *cursor->at <= '9') {
        if (__builtin_mul_overflow(*value, (size_t)10, value) ||
            __builtin_add_overflow(*value, (size_t)(*cursor->at - '0'), value))
            return false;
        cursor->at++;
    }
    return cursor->at > first;
}

static bool take_shape(struct cursor *cursor, struct npy *array)
{
    if (!take(cursor, '('))
        return false;
    while (!take(cursor, ')')) {
        if (array->rank == NPY_MAX_RANK || !take_size(cursor, &array->shape[array->rank]))
            return false;
        array->rank++;
        if (!take(cursor, ','))
            return array->rank > 1 && take(cursor, ')'); /* (3) is a number, not a tuple */
    }
    return true;
}

struct dict {
    char descr[16];
    bool fortran;
};

static bool take_dict(struct cursor *cursor, struct dict *dict, struct npy *array)
{
    bool seen[3] = { false };
    char key[16];
    if (!take(cursor, '{'))
        return false;
    while (!take(cursor, '}')) {
        if (!take_string(cursor, key, sizeof key) || !take(cursor, ':'))
            return false;
        int which = !strcmp(key, "descr") ? 0 : !strcmp(key, "fortran_order") ? 1 : 2;
        if ((which == 2 && strcmp(key, "shape") != 0) || seen[which])
            return false;
        seen[which] = true;
        if (which == 0 && !take_string(cursor, dict->descr, sizeof dict->descr))
            return false;
        if (which == 1 && !(dict->fortran = take_word(cursor, "True")) &&
            !take_word(cursor, "False"))
            return false;
        if (which == 2 && !take_shape(cursor, array))
            return false;
        if (!take(cursor, ','))
            return take(cursor, '}') && seen[0] && seen[1] && seen[2];
    }
    return seen[0] && seen[1] && seen[2];
}

static bool find_type(const char *descr, enum element_type *type)
{
    for (int i = 0; i < ELEMENT_TYPE_COUNT; i++) {
        const char *known = element_info[i].npy;
        /* NumPy also writes '<u1' for types of one byte. */
        if (known && (!strcmp(descr, known) ||
                      (known[0] == '|' && descr[0] == '<' && !strcmp(descr + 1, known + 1)))) {
            *type = (enum element_type)i;
            return true;
        }
    }
    return false;
}

/* Finds where header and data begin. */
static bool split_file(const unsigned char *bytes, size_t size, const char *name,
                       struct cursor *header, size_t *data_offset, struct error *err)
{
    if (size < MAGIC + 6 || memcmp(bytes, magic, MAGIC) != 0)
        return error_set(err, "%s: not a .npy file", name);
    int version = bytes[MAGIC];
    if (version < 1 || version > 3 || bytes[MAGIC + 1] != 0)
        return error_set(err, "%s: .npy format version %d.%d; versions 1.0 to 3.0 are read", name,
                         version, bytes[MAGIC + 1]);
    size_t width = version == 1 ? 2 : 4, length = 0;
    for (size_t i = width; i-- > 0;)
        length = length << 8 | bytes[MAGIC + 2 + i];
    size_t begin = MAGIC + 2 + width;
    if (length > LONGEST_HEADER || length > size - begin)
        return error_set(err, "%s: a header of %zu bytes in a file of %zu", name, length, size);
    *header = (struct cursor){ (const char *)bytes + begin, (const char *)bytes + begin + length };
    *data_offset = begin + length;
    return true;
}

static bool check_extent(struct npy *array, size_t present, const char *name, struct error *err)
{
    size_t bytes;
    array->count = 1;
    bool fits = true;
    for (int i = 0; i < array->rank; i++)
        fits = fits && size_multiply(array->count, array->shape[i], &array->count);
    if (!fits || !size_multiply(array->count, element_info[array->type].bytes, &bytes))
        return error_set(err, "%s: the shape's product is more than can be addressed", name);
    if (bytes == present)
        return true;
    return error_set(err, "%s: the shape asks for %zu bytes of data, the file has %zu", name, bytes,
                     present);
}

bool npy_parse(struct npy *array, const unsigned char *bytes, size_t size, const char *name,
               struct error *err)
{
    *array = (struct npy){ 0 };
    struct cursor header = { 0 };
    struct dict dict = { 0 };
    size_t offset = 0;
    if (!split_file(bytes, size, name, &header, &offset, err))
        return false;
    if (!take_dict(&header, &dict, array))
        return error_set(err,
                         "%s: the header is not a dict of descr, fortran_order and shape "
                         "(at most %d dimensions)",
                         name, NPY_MAX_RANK);
    skip_space(&header);
    if (header.at != header.end)
        return error_set(err, "%s: the header goes on after its dict", name);
    if (dict.fortran)
        return error_set(
            err, "%s: stored in Fortran order; save numpy.ascontiguousarray(…) instead", name);
    if (dict.descr[0] == '>')
        return error_set(err, "%s: stored big-endian (%s); save array.astype('%s') instead", name,
                         dict.descr, dict.descr + 1);
    if (!find_type(dict.descr, &array->type))
        return error_set(err,
                         "%s: elements of type '%s' are not read; bool, integers and floats are",
                         name, dict.descr);
    if (offset % element_info[array->type].bytes)
        return error_set(err, "%s: data that begin at byte %zu are not aligned", name, offset);
    array->data = bytes + offset;
    return check_extent(array, size - offset, name, err);
}

bool npy_open(struct npy *array, const char *path, struct error *err)
{
    struct file_map map;
    *array = (struct npy){ 0 };
    if (!file_map_open(&map, path, err))
        return false;
    if (!npy_parse(array, map.bytes, map.size, path, err)) {
        file_map_close(&map);
        return false;
    }
    array->map = map;
    return true;
}

bool npy_has_channels_last(const struct npy *array)
{
    enum { NARROWEST = 4 };
    return array->rank == 4 && array->shape[3] <= NARROWEST && array->shape[1] > NARROWEST;
}

void npy_close(struct npy *array)
{
    file_map_close(&array->map);
    *array = (struct npy){ 0 };
}

/* ---- writing ------------------------------------------------------------------------------- */

/* A version 1 header of fixed length, so that the count can be put in at the end. */
void npy_header(enum element_type type, int rank, const size_t *shape,
                char header[NPY_WRITTEN_HEADER])
{
    struct text dict = { 0 };
    text_format(&dict, "{'descr': '%s', 'fortran_order': False, 'shape': (",
                element_info[type].npy);
    for (int i = 0; i < rank; i++)
        text_format(&dict, "%zu%s", shape[i], i + 1 < rank ? ", " : rank == 1 ? "," : "");
    text_add(&dict, "), }");
    size_t room = NPY_WRITTEN_HEADER - MAGIC - 4;
    CHECK(dict.length < room, "a .npy header of %zu bytes", dict.length);
    memset(header, ' ', NPY_WRITTEN_HEADER);
    memcpy(header, magic, MAGIC);
    header[MAGIC] = 1;
    header[MAGIC + 1] = 0;
    header[MAGIC + 2] = (char)(room & 255);
    header[MAGIC + 3] = (char)(room >> 8);
    memcpy(header + MAGIC + 4, dict.bytes, dict.length);
    header[NPY_WRITTEN_HEADER - 1] = '\n';
    text_release(&dict);
}
_Static_assert(NPY_WRITTEN_HEADER % ALIGNMENT == 0, "NumPy aligns data to 64 bytes");

bool npy_writer_open(struct npy_writer *writer, const char *path, enum element_type type,
                     int item_rank, const size_t *item_shape, struct error *err)
{
    CHECK(item_rank >= 0 && item_rank < NPY_MAX_RANK && element_info[type].npy, "%s: rank %d", path,
          item_rank);
    *writer = (struct npy_writer){ .type = type, .rank = item_rank + 1 };
    writer->item_bytes = element_info[type].bytes;
    for (int i = 0; i < item_rank; i++) {
        writer->shape[i + 1] = item_shape[i];
        writer->item_bytes *= item_shape[i];
    }
    char header[NPY_WRITTEN_HEADER];
    npy_header(writer->type, writer->rank, writer->shape, header);
    if (!file_writer_open(&writer->file, path, err))
        return false;
    if (file_writer_write(&writer->file, header, sizeof header, err))
        return true;
    npy_writer_abandon(writer);
    return false;
}

bool npy_writer_append(struct npy_writer *writer, const void *items, size_t count,
                       struct error *err)
{
    writer->shape[0] += count;
    return file_writer_write(&writer->file, items, count * writer->item_bytes, err);
}

bool npy_writer_commit(struct npy_writer *writer, struct error *err)
{
    char header[NPY_WRITTEN_HEADER];
    npy_header(writer->type, writer->rank, writer->shape, header);
    if (file_writer_patch(&writer->file, 0, header, sizeof header, err))
        return file_writer_commit(&writer->file, err);
    npy_writer_abandon(writer);
    return false;
}

void npy_writer_abandon(struct npy_writer *writer)
{
    file_writer_abandon(&writer->file);
}
