/* lethe phantom: a cohort of brain phantoms with tumours, as BraTS-style NIfTI. */
#include "command.h"

#include "base/file.h"
#include "base/json.h"
#include "base/parallel.h"
#include "base/progress.h"
#include "data/nifti.h"
#include "data/phantom.h"

#include <stdatomic.h>
#include <stdio.h>

struct options {
    const char *out, *template;
    int64_t subjects, size, seed;
};

#define OPTION(...) YAML_FIELD(struct options, __VA_ARGS__)

static const struct yaml_field options[] = {
    OPTION(out, YAML_STRING, .metavar = "FOLDER", .help = "folder to write; must not exist"),
    OPTION(subjects, YAML_INTEGER, .minimum = 1, .maximum = 100000, .metavar = "N",
           .help = "how many (default 40)"),
    OPTION(size, YAML_INTEGER, .minimum = PHANTOM_SIZE_MIN, .maximum = PHANTOM_SIZE_MAX,
           .metavar = "S", .help = "rows and columns of a volume; 240 is BraTS' (default 64)"),
    OPTION(seed, YAML_INTEGER, .minimum = 0, .maximum = 0x1p53, .metavar = "K",
           .help = "same seed, same bytes (default 1)"),
    OPTION(template, YAML_STRING, .metavar = "T1.nii.gz",
           .help = "a skull-stripped head to deform instead of a built one"),
    { 0 },
};

/* The template's voxels as floats, in the canonical order that volumes have here and phantoms
 * want. Free the voxels with memory_free. */
static bool load_template(const char *path, struct phantom_template *template, float **voxels,
                          struct error *err)
{
    struct volume volume;
    if (!nifti_read(&volume, path, err))
        return false;
    struct plane_shape shape = volume_plane_shape(&volume, PLANE_AXIAL);
    size_t pixels = (size_t)(shape.rows * shape.columns);
    double *plane = memory_allocate(pixels, sizeof *plane, "a plane", err);
    *voxels = memory_allocate(pixels * (size_t)shape.count, sizeof **voxels, path, err);
    bool ok = plane && *voxels;
    for (int64_t z = 0; ok && z < shape.count; z++) {
        volume_plane(&volume, PLANE_AXIAL, z, plane);
        for (size_t i = 0; i < pixels; i++)
            (*voxels)[(size_t)z * pixels + i] = (float)plane[i];
    }
    if (ok && !volume.oriented)
        ok = error_set(err, "%s: gives no orientation; set its sform or qform", path);
    *template = (struct phantom_template){ .voxels = *voxels,
                                           .slices = (size_t)shape.count,
                                           .rows = (size_t)shape.rows,
                                           .columns = (size_t)shape.columns };
    for (int axis = 0; axis < 3; axis++)
        template->spacing[axis] = (float)volume.spacing[axis];
    memory_free(plane);
    volume_release(&volume);
    return ok;
}

/* ---- writing --------------------------------------------------------------------------------- */

struct job {
    struct phantom_settings settings;
    const char *folder;
    struct progress progress;
    struct error *err;
    atomic_flag failing;
    atomic_bool failed;
};

static bool write_volume(const char *folder, size_t subject, const char *suffix,
                         struct nifti_output *output, enum voxel_type type, const void *voxels,
                         struct error *err)
{
    struct arena arena;
    arena_init(&arena);
    char *path = arena_format(&arena, "%s/Phantom_%05zu_%s.nii.gz", folder, subject + 1, suffix);
    output->type = type;
    output->voxels = voxels;
    bool ok = nifti_write(path, output, err);
    arena_release(&arena);
    return ok;
}

static bool write_files(const char *folder, size_t subject, const struct phantom *phantom,
                        struct error *err)
{
    static const char *const suffixes[PHANTOM_MODALITIES] = { "t1", "t1ce", "t2", "flair" };
    double spacing[3] = { (double)phantom->spacing, (double)phantom->spacing,
                          (double)phantom->spacing };
    struct nifti_output output = { .shape = { (int64_t)phantom->columns, (int64_t)phantom->rows,
                                              (int64_t)phantom->slices } };
    nifti_lps_affine(spacing, (double[]){ 0, spacing[1] * (double)(phantom->rows - 1), 0 },
                     output.affine);
    for (int i = 0; i < PHANTOM_MODALITIES; i++)
        if (!write_volume(folder, subject, suffixes[i], &output, VOXEL_INT16, phantom->image[i],
                          err))
            return false;
    return write_volume(folder, subject, "seg", &output, VOXEL_UINT8, phantom->label, err);
}

static bool write_subject(struct job *job, size_t subject, struct error *err)
{
    struct arena arena;
    struct phantom phantom;
    arena_init(&arena);
    char *folder = arena_format(&arena, "%s/Phantom_%05zu", job->folder, subject + 1);
    bool ok =
        folder_create(folder, err) && phantom_generate(&job->settings, subject, &phantom, err);
    if (ok) {
        ok = write_files(folder, subject, &phantom, err);
        phantom_release(&phantom);
    }
    arena_release(&arena);
    return ok;
}

static void write_one(void *context, size_t subject)
{
    struct job *job = context;
    struct error err;
    if (atomic_load(&job->failed))
        return;
    if (!write_subject(job, subject, &err)) {
        if (!atomic_flag_test_and_set(&job->failing))
            *job->err = err;
        atomic_store(&job->failed, true);
    }
    progress_add(&job->progress, 1);
}

static bool write_cohort(const struct options *values, const struct phantom_template *template,
                         struct error *err)
{
    struct folder_stage stage;
    if (path_kind(values->out) != PATH_NOTHING)
        return error_set(err, "%s: exists already; remove it or choose another name", values->out);
    if (!folder_stage_open(&stage, values->out, err))
        return false;
    struct job job = { .settings = { .size = (size_t)values->size,
                                     .seed = (uint64_t)values->seed,
                                     .template = template },
                       .folder = stage.partial,
                       .err = err,
                       .failing = ATOMIC_FLAG_INIT };
    progress_begin(&job.progress, "phantom", "subjects", (uint64_t)values->subjects);
    parallel_items((size_t)values->subjects, write_one, &job);
    progress_end(&job.progress);
    if (!atomic_load(&job.failed))
        return folder_stage_commit(&stage, false, err);
    folder_stage_abandon(&stage);
    return false;
}

static void report(const struct invocation *invocation)
{
    const struct options *values = invocation->values;
    if (!invocation->json) {
        printf("%s: %lld phantoms of %lld × %lld × %zu\n", values->out, (long long)values->subjects,
               (long long)values->size, (long long)values->size,
               phantom_slices((size_t)values->size));
        return;
    }
    struct json *document = json_new_object();
    json_put_string(document, "folder", values->out);
    json_put_integer(document, "subjects", values->subjects);
    json_put_integer(document, "size", values->size);
    json_put_integer(document, "seed", values->seed);
    json_put_string(document, "template", values->template ? values->template : "");
    command_print(document);
}

static enum exit_code run(struct invocation *invocation)
{
    const struct options *values = invocation->values;
    struct phantom_template template;
    float *voxels = NULL;
    if (!values->out)
        return command_refuse(invocation, "say where to write: --out FOLDER");
    bool ok = (!values->template ||
               load_template(values->template, &template, &voxels, &invocation->err)) &&
              write_cohort(values, values->template ? &template : NULL, &invocation->err);
    memory_free(voxels);
    if (!ok)
        return command_failed(invocation);
    report(invocation);
    return EXIT_YES;
}

static void set_defaults(void *values)
{
    *(struct options *)values = (struct options){ .subjects = 40, .size = 64, .seed = 1 };
}

const struct command command_phantom = {
    .name = "phantom",
    .operands = "--out FOLDER",
    .summary = "write a cohort of brain phantoms with tumours, as BraTS-style NIfTI",
    .details = "So that everything can be tried and measured without patients' data.",
    .options = options,
    .size = sizeof(struct options),
    .set_defaults = set_defaults,
    .run = run,
};
