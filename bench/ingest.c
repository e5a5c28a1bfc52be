/* bench_ingest: decoding volumes against nibabel, and the memory that an ingest takes.
 *
 * Four phantom subjects of 240 × 240 × 155, so 16 volumes of int16 and 4 of uint8, as .nii.gz: the
 * shape and kind of BraTS. "decode" reads a file and converts every voxel to double precision plane
 * by plane, as ingest does; "decode-whole" leaves the whole volume as one array of doubles, which
 * is what nibabel's get_fdata() does. Ours uses every core, nibabel has one. MB/s count stored
 * voxels.
 */
#include "bench.h"

#include "base/arena.h"
#include "base/file.h"
#include "base/parallel.h"
#include "data/nifti.h"

#include <math.h>
#include <string.h>
#include <sys/stat.h>

enum { ROUNDS = 5, SUBJECTS = 4 };

struct job {
    char **files;
    const char *folder;
    bool whole;
    double checksum;
};

/* The caller's array, one a thread, kept from volume to volume. */
static double *workspace(size_t count)
{
    static _Thread_local double *values;
    static _Thread_local size_t capacity;
    if (count > capacity) {
        values = memory_grow(values, count, sizeof *values);
        capacity = count;
    }
    return values;
}

/* Every voxel as double; planes go to one buffer, or to their places in the whole array. */
static void decode(void *context, size_t item)
{
    struct job *job = context;
    struct arena arena;
    struct volume volume;
    struct error err;
    arena_init(&arena);
    if (!nifti_read(&volume, path_join(&arena, job->folder, job->files[item]), &err))
        bench_fail("%s", err.message);
    struct plane_shape shape = volume_plane_shape(&volume, PLANE_AXIAL);
    size_t pixels = (size_t)(shape.rows * shape.columns);
    size_t planes = job->whole ? (size_t)shape.count : 1;
    double *values = workspace(pixels * planes), sum = 0;
    for (int64_t z = 0; z < shape.count; z++) {
        double *plane = job->whole ? values + (size_t)z * pixels : values;
        volume_plane(&volume, PLANE_AXIAL, z, plane);
        sum += plane[pixels / 2]; /* so that no conversion can be left out */
    }
#pragma omp atomic
    job->checksum += sum;
    volume_release(&volume);
    arena_release(&arena);
}

static double stored_megabytes(struct job *job, size_t count)
{
    double bytes = 0;
    for (size_t i = 0; i < count; i++) {
        struct arena arena;
        struct volume volume;
        struct error err;
        arena_init(&arena);
        if (!nifti_read(&volume, path_join(&arena, job->folder, job->files[i]), &err))
            bench_fail("%s", err.message);
        bytes += (double)(volume.shape[0] * volume.shape[1] * volume.shape[2]) *
                 (double)voxel_bytes(volume.type);
        volume_release(&volume);
        arena_release(&arena);
    }
    return bytes / 1e6;
}

static void compare(struct bench *bench, struct peer *peer, struct job *job, size_t count,
                    double megabytes, const char *name, const char *peer_name)
{
    double ours[ROUNDS], theirs[ROUNDS];
    for (int round = 0; round < ROUNDS; round++) {
        double started = bench_seconds();
        parallel_items(count, decode, job);
        ours[round] = bench_seconds() - started;
        theirs[round] = peer_number(peer, "decode\n");
    }
    double mine = megabytes / bench_median(ours, ROUNDS),
           peers = megabytes / bench_median(theirs, ROUNDS);
    bench_row(bench, &(struct bench_row){ name, "MB/s", mine, peers, peer_name, mine / peers, 6 });
}

int main(int argc, char **argv)
{
    struct bench bench;
    struct peer peer;
    struct arena arena;
    struct error err;
    struct job job = { .folder = "build/bench/ingest/cohort" };
    size_t count;
    arena_init(&arena);
    bench_begin(&bench, "ingest", NULL, argc, argv);
    if (!folder_remove("build/bench/ingest", &err) || !folder_create("build/bench/ingest", &err))
        bench_fail("%s", err.message);
    bench_peak_memory((const char *[]){ "build/lethe", "phantom", "--subjects", "4", "--size",
                                        "240", "--out", job.folder, "--quiet", NULL });
    if (!folder_walk(job.folder, &arena, &job.files, &count, &err) || count != 5 * SUBJECTS)
        bench_fail("%zu volumes instead of %d", count, 5 * SUBJECTS);
    double megabytes = stored_megabytes(&job, count);
    peer_start(&peer,
               (const char *[]){ "/usr/bin/python3", "bench/nibabel_peer.py", job.folder, NULL });
    char *name = arena_format(&arena, "nibabel %s get_fdata", peer_ask(&peer, "version\n"));
    compare(&bench, &peer, &job, count, megabytes, "decode", name);
    job.whole = true;
    compare(&bench, &peer, &job, count, megabytes, "decode-whole", name);
    peer_stop(&peer);
    double memory = bench_peak_memory((const char *[]){
                        "build/lethe", "ingest", "--source", job.folder, "--out",
                        "build/bench/ingest/store", "--threads", "2", "--quiet", NULL }) /
                    1e6;
    bench_row(&bench, &(struct bench_row){ "ingest-peak-memory", "MB, at most the goal", memory,
                                           NAN, NULL, NAN, 400 });
    bench_end(&bench);
    arena_release(&arena);
    return 0;
}
