/* One pass over an archive, from which every digest comes: of each volume, the archive, the tar,
 * and every file. The whole contact surface with libzstd's decompression.
 *
 * Why not libarchive: with every one of its "secure" flags set, version 3.6.2 still made links out
 * of the folder, devices and fifos, and took a second zstd frame, a skippable one with data in it,
 * a second tar after the end, doubled names and bombs. All of that is what an archiver is for. Here
 * the manifest says what every byte of the tar has to be but the files' contents (tar.h), so there
 * is nothing to parse: headers are compared, contents are digested, padding has to be zero. What is
 * left to understand is zstd's frame header, 18 bytes at most.
 *
 * The archive has to be one zstd frame: no other magic number, no dictionary, a checksum, the tar's
 * size as its content size, a window of at most 8 MiB, and nothing after it. Never more bytes are
 * decompressed than the manifest says. Memory is constant: zstd's window, 4 MiB of buffers.
 *
 * Reading and decompressing, the digest of the archive, the digest of the tar, and the files have a
 * thread each.
 */
#ifndef RELEASE_STREAM_H
#define RELEASE_STREAM_H

#include "release/manifest.h"
#include "release/findings.h"

enum { STREAM_WINDOW_LOG = 23 };

/* Where verified files may go while they stream by; all members are called from one thread, in the
 * order of the tar. False with a message stops. */
struct stream_sink {
    void *context;
    bool (*folder)(void *context, const char *path,
                   struct error *err); /* from the root folder on */
    bool (*file)(void *context, const char *path, uint64_t size, struct error *err);
    bool (*bytes)(void *context, const unsigned char *bytes, size_t size, struct error *err);
};

/* Holds the archive against the manifest. `path` is where the archive is, or would be: volumes lie
 * beside it. `sink` may be NULL. Whatever differs becomes a problem of kind BAD; false is for what
 * could not be told: a file that is not there or cannot be read. */
bool stream_check(const struct manifest *manifest, const char *path, const struct stream_sink *sink,
                  struct findings *findings, struct error *err) MUST_USE;

#endif
