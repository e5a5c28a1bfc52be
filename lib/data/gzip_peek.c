/* The beginning of gzip data, through zlib: the whole contact surface with it. libdeflate, which
 * does all other decompressing, has no way to stop early. */
#include "data/gzip.h"

#include <stdint.h>
#include <string.h>

#include <zlib.h>

size_t gzip_peek(const void *bytes, size_t size, void *out, size_t most)
{
    enum { GZIP_ONLY = 16 };
    z_stream stream;
    memset(&stream, 0, sizeof stream);
    if (inflateInit2(&stream, GZIP_ONLY + MAX_WBITS) != Z_OK)
        return 0;
    stream.next_in = (Bytef *)(uintptr_t)bytes;
    stream.avail_in = size < UINT32_MAX ? (uInt)size : UINT32_MAX;
    stream.next_out = out;
    stream.avail_out = (uInt)most;
    int code = Z_OK;
    while (code == Z_OK && stream.avail_out && stream.avail_in) {
        code = inflate(&stream, Z_SYNC_FLUSH);
        if (code == Z_STREAM_END && stream.avail_in) /* the next member */
            code = inflateReset(&stream);
    }
    size_t made = most - stream.avail_out;
    inflateEnd(&stream);
    return code == Z_OK || code == Z_STREAM_END || code == Z_BUF_ERROR ? made : 0;
}
