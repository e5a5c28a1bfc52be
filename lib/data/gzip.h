/* gzip, through libdeflate; its first bytes through zlib. */
#ifndef DATA_GZIP_H
#define DATA_GZIP_H

#include "base/error.h"

#include <stddef.h>

/* Whether the bytes begin as a gzip member does. */
bool gzip_is(const void *bytes, size_t size);

/* Decompresses every member, one after the other; anything else after a member is an error, as is
 * an output of more than `limit` bytes. Not zero-terminated; free with memory_free. `name` stands
 * for the source in messages. */
unsigned char *gzip_decompress(const void *bytes, size_t size, size_t limit, const char *name,
                               size_t *out_size, struct error *err) MUST_USE;

/* The same, telling how many members there were. */
unsigned char *gzip_decompress_members(const void *bytes, size_t size, size_t limit,
                                       const char *name, size_t *out_size, size_t *members,
                                       struct error *err) MUST_USE;

/* The first bytes of what the first member holds, at most so many: to judge a header before
 * anything is decompressed whole. Returns how many there are; 0 where the data are damaged. */
size_t gzip_peek(const void *bytes, size_t size, void *out, size_t most);

/* One member without name or time; free with memory_free. Level 1 (fast) to 12 (small). The same
 * bytes for the same input, level and libdeflate version. */
unsigned char *gzip_compress(const void *bytes, size_t size, int level, size_t *out_size,
                             struct error *err) MUST_USE;

/* The version of libdeflate that this was built with. */
const char *gzip_library_version(void);

#endif
