/* The whole contact surface with libdeflate; see gzip.h.
 *
 * libdeflate decompresses into one buffer whose size it must be told. The last four bytes of a
 * file give the size of its last member modulo 2^32: a hint that is right for nearly every volume,
 * so the buffer is usually exact at the first try; when the hint falls short the buffer grows. No
 * hint is believed beyond what DEFLATE can expand to (1032 : 1), so a small file cannot ask for
 * much memory.
 */
#include "data/gzip.h"

#include "base/arena.h"

#include <stdlib.h>
#include <string.h>

#include <libdeflate.h>

enum { SMALLEST_MEMBER = 18, GREATEST_EXPANSION = 1032 };

bool gzip_is(const void *bytes, size_t size)
{
    const unsigned char *byte = bytes;
    return size >= 3 && byte[0] == 0x1f && byte[1] == 0x8b && byte[2] == 8;
}

struct output {
    unsigned char *bytes;
    size_t size, capacity, limit, members;
    const char *name;
};

static bool output_grow(struct output *out, size_t capacity, struct error *err)
{
    unsigned char *grown = realloc(out->bytes, capacity ? capacity : 1);
    if (!grown)
        return error_set(err, "%s: %zu bytes of memory could not be had to decompress it",
                         out->name, capacity);
    out->bytes = grown;
    out->capacity = capacity;
    return true;
}

static size_t first_capacity(const unsigned char *bytes, size_t size, size_t limit)
{
    const unsigned char *tail = bytes + size - 4;
    size_t hint =
        (size_t)tail[0] | (size_t)tail[1] << 8 | (size_t)tail[2] << 16 | (size_t)tail[3] << 24;
    size_t most = size > SIZE_MAX / GREATEST_EXPANSION ? limit : size * GREATEST_EXPANSION;
    hint = hint < most ? hint : most;
    return hint < limit ? hint : limit;
}

/* One member at `in`; tells how many bytes it took. Grows the output until the member fits. */
static bool decompress_member(struct libdeflate_decompressor *decompressor, const unsigned char *in,
                              size_t in_size, struct output *out, size_t *taken, struct error *err)
{
    for (;;) {
        size_t made = 0;
        enum libdeflate_result result =
            libdeflate_gzip_decompress_ex(decompressor, in, in_size, out->bytes + out->size,
                                          out->capacity - out->size, taken, &made);
        if (result == LIBDEFLATE_SUCCESS) {
            out->size += made;
            return true;
        }
        if (result != LIBDEFLATE_INSUFFICIENT_SPACE)
            return error_set(err,
                             "%s: damaged or truncated gzip data; restore the file from its source",
                             out->name);
        if (out->capacity >= out->limit)
            return error_set(err, "%s: decompresses to more than %zu bytes, which is the limit",
                             out->name, out->limit);
        size_t capacity = out->capacity < 65536 ? 131072 : 2 * out->capacity;
        if (!output_grow(out, capacity < out->limit ? capacity : out->limit, err))
            return false;
    }
}

static bool decompress_all(struct libdeflate_decompressor *decompressor, const unsigned char *bytes,
                           size_t size, struct output *out, struct error *err)
{
    if (!output_grow(out, first_capacity(bytes, size, out->limit), err))
        return false;
    for (size_t at = 0, taken = 0; at < size; at += taken) {
        if (!gzip_is(bytes + at, size - at))
            return error_set(
                err,
                "%s: %zu bytes after the gzip data that are not gzip; restore the file from "
                "its source, or pack it again",
                out->name, size - at);
        if (!decompress_member(decompressor, bytes + at, size - at, out, &taken, err))
            return false;
        out->members++;
    }
    return true;
}

unsigned char *gzip_decompress(const void *bytes, size_t size, size_t limit, const char *name,
                               size_t *out_size, struct error *err)
{
    size_t members;
    return gzip_decompress_members(bytes, size, limit, name, out_size, &members, err);
}

unsigned char *gzip_decompress_members(const void *bytes, size_t size, size_t limit,
                                       const char *name, size_t *out_size, size_t *members,
                                       struct error *err)
{
    *out_size = 0;
    if (size < SMALLEST_MEMBER || !gzip_is(bytes, size)) {
        error_set(err, "%s: not a gzip file", name);
        return NULL;
    }
    struct output out = { .limit = limit, .name = name };
    struct libdeflate_decompressor *decompressor = libdeflate_alloc_decompressor();
    CHECK(decompressor, "out of memory for a decompressor");
    bool ok = decompress_all(decompressor, bytes, size, &out, err);
    libdeflate_free_decompressor(decompressor);
    if (!ok) {
        free(out.bytes);
        return NULL;
    }
    *out_size = out.size;
    *members = out.members;
    return out.bytes;
}

unsigned char *gzip_compress(const void *bytes, size_t size, int level, size_t *out_size,
                             struct error *err)
{
    struct libdeflate_compressor *compressor = libdeflate_alloc_compressor(level);
    CHECK(compressor, "out of memory for a compressor");
    size_t bound = libdeflate_gzip_compress_bound(compressor, size);
    unsigned char *out = malloc(bound);
    if (out)
        *out_size = libdeflate_gzip_compress(compressor, bytes, size, out, bound);
    else
        error_set(err, "%zu bytes of memory could not be had to compress into", bound);
    libdeflate_free_compressor(compressor);
    CHECK(!out || *out_size, "libdeflate ran out of the room that it asked for");
    return out;
}

const char *gzip_library_version(void)
{
    return LIBDEFLATE_VERSION_STRING;
}
