/* bench_release: verifying a release against decompressing it, and packing one (release_package.c)
 * against tar, zstd and sha256sum.
 *
 * 5,000 files of 131,072 bytes, 655 MB: 16-bit slices of 256 × 256, a bright disc with a gradient
 * and noise on black, so that zstd finds what it finds in images (level 3: about 3 : 1). "verify"
 * is lethe-verify from start to end, signatures, archive, tar and every file's SHA-256; the peer is
 * `zstd -t`, which decompresses and digests nothing but a 64-bit checksum. "verify-start" is a
 * release of one file: what it takes to start, read trust, manifest and bundle, and check one
 * signature.
 *
 * Files stay below build/bench/release and are used again.
 */
#include "release_parts.h"

#include "base/file.h"
#include "base/random.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fcntl.h>

#define FOLDER RELEASE_FOLDER

enum { FILES = RELEASE_FILES, SIDE = RELEASE_SIDE, ROUNDS = 7, STARTS = 41 };

/* Seconds that a program takes, its output thrown away. */
static double seconds_of(const char *const *arguments)
{
    double started = bench_seconds();
    pid_t process = fork();
    if (process == 0) {
        int nothing = open("/dev/null", O_RDWR);
        dup2(nothing, 1);
        execvp(arguments[0], (char *const *)(uintptr_t)arguments);
        _exit(127);
    }
    int status;
    if (process < 0 || waitpid(process, &status, 0) != process || status != 0)
        bench_fail("%s does not end with 0", arguments[0]);
    return bench_seconds() - started;
}

static void draw_slice(uint16_t *pixels, uint64_t number)
{
    uint64_t stream = random_stream("slice");
    double radius = 60 + 40 * random_uniform(number, stream, 1 << 20);
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++) {
            uint64_t i = (uint64_t)(y * SIDE + x);
            bool inside = hypot(x - 128, y - 128) < radius;
            pixels[i] =
                inside ? (uint16_t)(600 + 2 * x + y + 20 * random_normal(number, stream, i)) : 0;
        }
}

static void write_file(const char *path, const void *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(bytes, 1, size, file) != size || fclose(file) != 0)
        bench_fail("%s cannot be written", path);
}

void release_run(const char *command)
{
    if (system(command) != 0)
        bench_fail("failed: %s", command);
}

void release_make_tree(struct arena *arena, const char *name, size_t count)
{
    struct error err;
    uint16_t pixels[SIDE * SIDE];
    const char *folder = arena_format(arena, FOLDER "/%s/images", name);
    if (path_kind(folder) == PATH_FOLDER)
        return;
    if (!folder_create(folder, &err))
        bench_fail("%s", err.message);
    for (size_t i = 0; i < count; i++) {
        draw_slice(pixels, i);
        write_file(arena_format(arena, "%s/%05zu.raw", folder, i), pixels, sizeof pixels);
    }
}

/* A tree of `count` slices as a signed release FOLDER/NAME-1.0. */
static void make_release(struct arena *arena, const char *name, size_t count)
{
    const char *archive = arena_format(arena, FOLDER "/%s-1.0.tar.zst", name);
    if (path_kind(archive) == PATH_FILE)
        return;
    release_make_tree(arena, name, count);
    release_run(arena_format(
        arena,
        "cd " FOLDER " && rm -f %s-1.0.* && ../../tests/make_release %s %s 1.0 . && "
        "../../lethe sign %s-1.0.tar.zst --key key.key --days 0 --quiet > log && rm -r %s",
        name, name, name, name, name));
}

static void compare(struct bench *bench, struct arena *arena, const char *const *ours)
{
    double mine[ROUNDS], theirs[ROUNDS];
    const char *const zstd[] = { "zstd", "-t", "-q", FOLDER "/large-1.0.tar.zst", NULL };
    for (int round = 0; round < ROUNDS; round++) {
        mine[round] = seconds_of(ours);
        theirs[round] = seconds_of(zstd);
    }
    double megabytes = FILES * (double)(SIDE * SIDE * 2) / 1e6;
    double fast = megabytes / bench_median(mine, ROUNDS),
           peer = megabytes / bench_median(theirs, ROUNDS);
    char version[64] = "";
    FILE *pipe = popen("zstd --version | grep -o 'v[0-9.]*' | head -1", "r");
    if (!pipe || !fgets(version, sizeof version, pipe))
        bench_fail("there is no zstd");
    pclose(pipe);
    version[strcspn(version, "\n")] = '\0';
    bench_row(bench, &(struct bench_row){ "verify", "MB/s", fast, peer,
                                          arena_format(arena, "zstd -t (%s)", version), fast / peer,
                                          0.8 });
    bench_row(bench, &(struct bench_row){ "verify-peak-memory", "MB, at most the goal",
                                          bench_peak_memory(ours) / 1e6, NAN, NULL, NAN, 40 });
}

static void measure_start(struct bench *bench, const char *const *arguments)
{
    double starts[STARTS];
    for (int i = 0; i < STARTS; i++)
        starts[i] = 1e3 * seconds_of(arguments);
    bench_row(bench, &(struct bench_row){ "verify-start", "ms, at most the goal",
                                          bench_median(starts, STARTS), NAN, NULL, NAN, 5 });
}

int main(int argc, char **argv)
{
    struct bench bench;
    struct arena arena;
    struct error err;
    static const char *const large[] = { "build/lethe-verify",
                                         FOLDER "/large-1.0.tar.zst",
                                         "--key",
                                         FOLDER "/key.pub",
                                         "--quiet",
                                         NULL };
    static const char *const small[] = { "build/lethe-verify",
                                         FOLDER "/small-1.0.tar.zst",
                                         "--key",
                                         FOLDER "/key.pub",
                                         "--quiet",
                                         NULL };
    arena_init(&arena);
    bench_begin(&bench, "release", NULL, argc, argv);
    if (!folder_create(FOLDER, &err))
        bench_fail("%s", err.message);
    if (path_kind(FOLDER "/key.pub") == PATH_NOTHING)
        release_run("build/lethe keygen " FOLDER "/key --no-passphrase > " FOLDER "/log");
    make_release(&arena, "large", FILES);
    make_release(&arena, "small", 1);
    compare(&bench, &arena, large);
    measure_start(&bench, small);
    bench_package(&bench, &arena);
    bench_end(&bench);
    arena_release(&arena);
    return 0;
}
