/* The archive: a tree as a canonical tar (tar.h), compressed by zstd, in one pass.
 *
 *     struct archive_settings settings = { .root = "brain-1.0", .created = 1767225600,
 *                                          .level = 3 };
 *     struct archive_result result;
 *     if (!archive_write("release/brain-1.0.tar.zst", "release/.tree", files, count, &settings,
 *                        &result, &arena, err)) …
 *
 * Reading and digesting files, digesting the tar, compressing, digesting what comes out and writing
 * it overlap, on every core. The bytes are a function of the files, the settings and libzstd's
 * version alone: there is always at least one worker, with which zstd's output does not depend on
 * how many there are (with none it differs); job size and overlap are set and not left to change.
 * One frame, with its content's size and checksum.
 *
 * Nothing appears under its final name before all of it is written and synced. A file that is not
 * what its entry says, in size or digest, is an error: it changed while it was packed.
 */
#ifndef RELEASE_ARCHIVE_H
#define RELEASE_ARCHIVE_H

#include "base/digest.h"

enum { ARCHIVE_MOST_VOLUMES = 999 };

struct archive_settings {
    const char *root;     /* the one folder at the top of the tar */
    int64_t created;      /* the time of every entry, in seconds since 1970 */
    int level;            /* zstd's, 1 to 19 */
    uint64_t volume_size; /* bytes; 0: one file */
    bool measure;         /* fill in the entries' digests instead of holding files against them */
};

struct archive_part {
    const char *name; /* without folder */
    uint64_t size;
    struct digest sha256;
    unsigned char md5[16];
};

struct archive_result {
    struct archive_part whole;    /* of all volumes, joined */
    struct archive_part *volumes; /* when split; in the arena */
    size_t volume_count;
    uint64_t tar_size;
    struct digest tar;
};

/* `files` in byte order of their paths (base/digest.h), sizes known. Volumes are called PATH.001
 * and so on; joined in that order they are the archive. Names belong to the arena. */
bool archive_write(const char *path, const char *folder, struct digest_entry *files, size_t count,
                   const struct archive_settings *settings, struct archive_result *result,
                   struct arena *arena, struct error *err) MUST_USE;

#endif
