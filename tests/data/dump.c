/* What lib/data makes of files, written down for Python to compare with its own reading.
 *
 *     data_dump volume FOLDER FILE…   for file i: FOLDER/i.npy, float64 (frames,z,y,x) in canonical
 *                                     axes, and a line: shape, spacing, affine; or the message
 *     data_dump npy FOLDER FILE…      FOLDER/i.raw, and a line: type and shape; or the message
 *     data_dump png FOLDER FILE…      FOLDER/i.raw (the pixels), FOLDER/i.png (written again), and
 *                                     a line: width, height, channels, bits; or the message
 *
 * A line per file on standard output, as "ok …" or "refused MESSAGE".
 */
#include "data/nifti.h"
#include "data/npy.h"
#include "data/png.h"

#include "base/file.h"

#include <stdio.h>
#include <string.h>

/* Every plane of every direction must show the same voxels. */
static void check_planes(const struct volume *volume, const double *voxels)
{
    const int64_t *n = volume->shape;
    struct error err;
    double *plane = memory_allocate((size_t)(n[0] * n[1] + n[1] * n[2] + n[0] * n[2]),
                                    sizeof *plane, "a plane", &err);
    CHECK(plane, "%s", err.message);
    for (int64_t y = 0; y < n[1]; y++) {
        volume_plane(volume, PLANE_CORONAL, y, plane);
        for (int64_t z = 0; z < n[2]; z++)
            for (int64_t x = 0; x < n[0]; x++)
                CHECK(!memcmp(&plane[(n[2] - 1 - z) * n[0] + x], &voxels[(z * n[1] + y) * n[0] + x],
                              sizeof *plane),
                      "coronal plane %lld differs", (long long)y);
    }
    for (int64_t x = 0; x < n[0]; x++) {
        volume_plane(volume, PLANE_SAGITTAL, x, plane);
        for (int64_t z = 0; z < n[2]; z++)
            for (int64_t y = 0; y < n[1]; y++)
                CHECK(!memcmp(&plane[(n[2] - 1 - z) * n[1] + y], &voxels[(z * n[1] + y) * n[0] + x],
                              sizeof *plane),
                      "sagittal plane %lld differs", (long long)x);
    }
    memory_free(plane);
}

static bool write_voxels(const struct volume *volume, const char *path, struct error *err)
{
    const int64_t *n = volume->shape;
    size_t plane = (size_t)(n[0] * n[1]), frame = plane * (size_t)n[2];
    double *voxels = memory_allocate(frame, sizeof *voxels, path, err);
    struct npy_writer writer;
    size_t shape[3] = { (size_t)n[2], (size_t)n[1], (size_t)n[0] };
    if (!voxels || !npy_writer_open(&writer, path, ELEMENT_FLOAT64, 3, shape, err))
        return false;
    bool ok = true;
    for (int64_t t = 0; ok && t < volume->frames; t++) {
        for (int64_t z = 0; z < n[2]; z++)
            volume_frame_plane(volume, t, PLANE_AXIAL, z, voxels + (size_t)z * plane);
        if (t == 0)
            check_planes(volume, voxels);
        ok = npy_writer_append(&writer, voxels, 1, err);
    }
    memory_free(voxels);
    return ok && npy_writer_commit(&writer, err);
}

static bool dump_volume(const char *stem, const char *file, struct error *err)
{
    char path[4096];
    struct volume volume;
    if (!nifti_read(&volume, file, err))
        return false;
    snprintf(path, sizeof path, "%s.npy", stem);
    bool ok = write_voxels(&volume, path, err);
    if (ok) {
        printf("ok %d %s", volume.oriented, voxel_type_name(volume.type));
        for (int axis = 0; axis < 3; axis++)
            printf(" %.17g", volume.spacing[axis]);
        for (int i = 0; i < 12; i++)
            printf(" %.17g", volume.affine[i / 4][i % 4]);
        printf("\n");
    }
    volume_release(&volume);
    return ok;
}

static bool dump_npy(const char *stem, const char *file, struct error *err)
{
    char path[4096];
    struct npy array;
    if (!npy_open(&array, file, err))
        return false;
    snprintf(path, sizeof path, "%s.raw", stem);
    bool ok = file_write(path, array.data, array.count * element_info[array.type].bytes, err);
    printf("ok %s", element_info[array.type].name);
    for (int i = 0; i < array.rank; i++)
        printf(" %zu", array.shape[i]);
    printf("\n");
    npy_close(&array);
    return ok;
}

static bool dump_png(const char *stem, const char *file, struct error *err)
{
    char path[4096];
    struct png_image image;
    if (!png_read(&image, file, err))
        return false;
    size_t bytes = (size_t)image.width * image.height * (size_t)image.channels;
    snprintf(path, sizeof path, "%s.raw", stem);
    bool ok = file_write(path, image.pixels, bytes * (size_t)image.bits / 8, err);
    snprintf(path, sizeof path, "%s.png", stem);
    ok = ok && png_write(path, &image, err);
    printf("ok %u %u %d %d\n", image.width, image.height, image.channels, image.bits);
    memory_free(image.pixels);
    return ok;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        bool (*dump)(const char *stem, const char *file, struct error *err);
    } modes[] = { { "volume", dump_volume }, { "npy", dump_npy }, { "png", dump_png } };
    for (size_t mode = 0; argc > 2 && mode < sizeof modes / sizeof *modes; mode++) {
        if (strcmp(modes[mode].name, argv[1]) != 0)
            continue;
        for (int i = 3; i < argc; i++) {
            char stem[4000];
            struct error err = { "" };
            snprintf(stem, sizeof stem, "%s/%d", argv[2], i - 3);
            if (!modes[mode].dump(stem, argv[i], &err))
                printf("refused %s\n", err.message);
        }
        return 0;
    }
    fprintf(stderr, "usage: data_dump volume|npy|png FOLDER FILE…\n");
    return 2;
}
