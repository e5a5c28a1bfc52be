/* Cleaning files; see scrub.h. */
#include "release/scrub.h"

#include "base/file.h"
#include "data/nifti.h"
#include "data/npy.h"
#include "data/png.h"
#include "release/lint.h"

#include <string.h>

enum { LARGEST_FILE = 1 << 30 };

/* ---- looking --------------------------------------------------------------------------------- */

bool lint_folder(const char *folder, size_t *files, struct text *findings, struct error *err)
{
    struct arena arena;
    char **paths;
    arena_init(&arena);
    struct lint *lint = lint_new();
    *files = 0;
    bool ok = folder_walk_everything(folder, &arena, &paths, files, err);
    for (size_t i = 0; ok && i < *files; i++) {
        size_t size;
        const char *path = path_join(&arena, folder, paths[i]);
        if (path_kind(path) !=
            PATH_FILE) { /* whoever copies the folder may copy what it leads to */
            text_format(findings, "%s: a link or device, which the lint does not follow\n",
                        paths[i]);
            continue;
        }
        char *bytes = file_read(path, LARGEST_FILE, &size, err);
        ok = bytes;
        if (ok)
            lint_file(lint, paths[i], bytes, size, findings);
        memory_free(bytes);
    }
    lint_free(lint);
    arena_release(&arena);
    return ok;
}

/* ---- writing again --------------------------------------------------------------------------- */

/* The voxels in canonical order and their stored type. Scaling is applied when there is any: the
 * values are then kept as float32. */
static void *voxels_of(const struct volume *volume, bool scaled, struct error *err)
{
    size_t planes = (size_t)volume->shape[2];
    size_t pixels = (size_t)(volume->shape[0] * volume->shape[1]);
    size_t bytes = scaled ? sizeof(float) : voxel_bytes(volume->type);
    unsigned char *out = memory_allocate(pixels * planes, bytes, "a volume", err);
    double *plane = scaled ? memory_allocate(pixels, sizeof *plane, "a plane", err) : NULL;
    for (size_t z = 0; out && z < planes; z++) {
        if (plane)
            volume_plane(volume, PLANE_AXIAL, (int64_t)z, plane);
        for (size_t i = 0; i < pixels; i++) {
            unsigned char *to = out + (z * pixels + i) * bytes;
            ptrdiff_t x = (ptrdiff_t)(i % (size_t)volume->shape[0]);
            ptrdiff_t y = (ptrdiff_t)(i / (size_t)volume->shape[0]);
            const unsigned char *from = volume->origin + x * volume->stride[0] +
                                        y * volume->stride[1] + (ptrdiff_t)z * volume->stride[2];
            for (size_t b = 0; !plane && b < bytes; b++)
                to[b] = from[volume->swapped ? bytes - 1 - b : b];
            if (plane) {
                float value = (float)plane[i];
                memcpy(to, &value, sizeof value);
            }
        }
    }
    memory_free(plane);
    return out;
}

static bool scrub_nifti(const char *from, const char *to, struct error *err)
{
    struct volume volume;
    if (!nifti_read(&volume, from, err))
        return false;
    bool scaled = volume.slope != 1 || volume.intercept != 0;
    struct nifti_output output = { .shape = { volume.shape[0], volume.shape[1], volume.shape[2] },
                                   .type = scaled ? VOXEL_FLOAT32 : volume.type,
                                   .descrip = SYNTHETIC_PHRASE,
                                   .intent_name = SYNTHETIC_NAME };
    memcpy(output.affine, volume.affine, sizeof output.affine);
    if (!volume.oriented)
        nifti_lps_affine(volume.spacing, (double[3]){ 0 }, output.affine);
    bool ok = volume.frames == 1 ||
              error_set(err, "%s: a series of %lld volumes, which is not cleaned here", from,
                        (long long)volume.frames);
    void *voxels = ok ? voxels_of(&volume, scaled, err) : NULL;
    output.voxels = voxels;
    ok = voxels && nifti_write(to, &output, err);
    memory_free(voxels);
    volume_release(&volume);
    return ok;
}

static bool scrub_png(const char *from, const char *to, struct error *err)
{
    static const struct png_text marker = { SYNTHETIC_KEYWORD, SYNTHETIC_PHRASE };
    struct png_image image;
    size_t size;
    if (!png_read(&image, from, err))
        return false;
    void *bytes = png_encode(&image, &marker, &size, err);
    bool ok = bytes && file_create(to, bytes, size, err);
    memory_free(bytes);
    memory_free(image.pixels);
    return ok;
}

static bool scrub_npy(const char *from, const char *to, struct error *err)
{
    struct npy array;
    char header[NPY_WRITTEN_HEADER];
    struct file_writer writer;
    if (!npy_open(&array, from, err))
        return false;
    npy_header(array.type, array.rank, array.shape, header);
    bool ok = file_writer_open(&writer, to, err);
    if (ok) {
        ok = file_writer_write(&writer, header, sizeof header, err) &&
             file_writer_write(&writer, array.data, array.count * element_info[array.type].bytes,
                               err);
        if (ok)
            ok = file_writer_commit(&writer, err);
        else
            file_writer_abandon(&writer);
    }
    npy_close(&array);
    return ok;
}

static bool copy(const char *from, const char *to, struct error *err)
{
    size_t size;
    char *bytes = file_read(from, LARGEST_FILE, &size, err);
    bool ok = bytes && file_create(to, bytes, size, err);
    memory_free(bytes);
    return ok;
}

static const struct {
    const char *suffix;
    bool (*scrub)(const char *from, const char *to, struct error *err);
} kinds[] = {
    { ".nii.gz", scrub_nifti },
    { ".nii", scrub_nifti },
    { ".png", scrub_png },
    { ".npy", scrub_npy },
    { "", copy },
};

static bool scrub_all(const char *folder, const char *out, char *const *paths, size_t count,
                      struct arena *arena, struct error *err)
{
    for (size_t i = 0; i < count; i++) {
        size_t kind = 0;
        const char *to = path_join(arena, out, paths[i]);
        while (!text_ends_with(paths[i], kinds[kind].suffix))
            kind++;
        if (!folder_create(path_parent(arena, to), err) ||
            !kinds[kind].scrub(path_join(arena, folder, paths[i]), to, err))
            return false;
    }
    return true;
}

bool scrub_folder(const char *folder, const char *out, size_t *files, struct text *findings,
                  struct error *err)
{
    struct arena arena;
    struct folder_stage stage;
    char **paths;
    *files = 0;
    if (path_kind(out) != PATH_NOTHING)
        return error_set(err, "%s: exists already; name a folder that does not", out);
    if (path_is_inside(out, folder))
        return error_set(err, "%s lies in the folder that is cleaned; name one elsewhere", out);
    if (!folder_stage_open(&stage, out, err))
        return false;
    arena_init(&arena);
    bool ok = folder_walk(folder, &arena, &paths, files, err) &&
              scrub_all(folder, stage.partial, paths, *files, &arena, err) &&
              lint_folder(stage.partial, files, findings, err);
    if (ok)
        ok = folder_stage_commit(&stage, false, err);
    else
        folder_stage_abandon(&stage);
    arena_release(&arena);
    return ok;
}
