/* The case "package" of bench_release: one pass over a tree against tar, zstd and sha256sum.
 *
 * The tree is the 5,000 slices of release.c, 655 MB, warm in the page cache. Ours reads it once:
 * tar, zstd at level 3, SHA-256 of every file, of the tar and of the archive, MD5 of the archive,
 * synced to disk. The peer gives less: `tar | zstd -3 -T<cores>`, then sha256sum over the files,
 * not synced. */
#include "release_parts.h"

#include "base/file.h"
#include "base/parallel.h"
#include "release/archive.h"

#include <math.h>
#include <unistd.h>

enum { ROUNDS = 5 };

static double pack(struct arena *arena, struct digest_entry *files, size_t count)
{
    struct archive_settings settings = {
        .root = "set-1.0", .created = 1767225600, .level = 3, .measure = true
    };
    struct archive_result result;
    struct error err;
    double started = bench_seconds();
    if (!archive_write(RELEASE_FOLDER "/ours.tar.zst", RELEASE_FOLDER "/tree", files, count,
                       &settings, &result, arena, &err))
        bench_fail("%s", err.message);
    return bench_seconds() - started;
}

static double pack_peer(const char *command)
{
    double started = bench_seconds();
    release_run(command);
    return bench_seconds() - started;
}

static struct digest_entry *list(struct arena *arena, size_t *count, double *megabytes)
{
    struct error err;
    char **paths;
    if (!folder_walk(RELEASE_FOLDER "/tree", arena, &paths, count, &err))
        bench_fail("%s", err.message);
    struct digest_entry *files = arena_array(arena, struct digest_entry, *count);
    for (size_t i = 0; i < *count; i++) {
        files[i].path = paths[i];
        files[i].size = RELEASE_SIDE * RELEASE_SIDE * 2;
        *megabytes += (double)files[i].size / 1e6;
    }
    return files;
}

void bench_package(struct bench *bench, struct arena *arena)
{
    double ours[ROUNDS], theirs[ROUNDS], megabytes = 0;
    size_t count;
    release_make_tree(arena, "tree", RELEASE_FILES);
    struct digest_entry *files = list(arena, &count, &megabytes);
    const char *command = arena_format(
        arena,
        "cd " RELEASE_FOLDER " && tar -cf - tree | zstd -q -3 -T%d -f -o theirs.tar.zst && "
        "find tree -type f | LC_ALL=C sort | xargs sha256sum > theirs.sums",
        parallel_threads());
    for (int round = 0; round < ROUNDS; round++) {
        ours[round] = pack(arena, files, count);
        theirs[round] = pack_peer(command);
    }
    unlink(RELEASE_FOLDER "/ours.tar.zst");
    unlink(RELEASE_FOLDER "/theirs.tar.zst");
    double fast = megabytes / bench_median(ours, ROUNDS),
           peer = megabytes / bench_median(theirs, ROUNDS);
    bench_row(bench, &(struct bench_row){ "package", "MB/s", fast, peer, "tar | zstd -3, sha256sum",
                                          fast / peer, 1.5 });
}
