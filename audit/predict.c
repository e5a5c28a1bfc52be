/* Predictions for a folder of scans; see predict.h. */
#include "audit/predict.h"

#include "base/file.h"
#include "base/progress.h"
#include "data/nifti.h"
#include "data/slices.h"
#include "train/segment.h"

#include <stdlib.h>
#include <string.h>

struct predictor {
    const struct predict_job *job;
    struct predict_report *report;
    struct segmenter *segmenter;
    const struct segmenter_format *format;
    struct scan_list list;
    struct folder_stage stage;
    struct resampler resampler; /* of the present scan */
    double *plane, *small;      /* canvas², size² */
    float *planes;              /* a batch */
    uint8_t *labels;            /* of a batch */
    struct arena arena;
};

enum { VOLUMES_MOST = 64 }; /* as many channels as layouts have at most */

/* ---- one scan -------------------------------------------------------------------------------- */

/* What ingest refuses of a volume no segmenter has seen. */
static bool check_volume(const struct volume *volume, struct error *err)
{
    double least, greatest;
    if (volume->frames != 1)
        return error_set(err, "a series of %lld volumes; a scan is one", (long long)volume->frames);
    return volume_range(volume, &least, &greatest, err);
}

static bool read_volumes(const struct predictor *predictor, const struct scan *scan,
                         struct volume *volumes, struct error *err)
{
    for (size_t c = 0; c < predictor->format->channels; c++) {
        struct arena arena;
        arena_init(&arena);
        bool ok = nifti_read(&volumes[c], path_join(&arena, predictor->job->source, scan->files[c]),
                             err) &&
                  (c == 0 || volume_same_grid(&volumes[0], &volumes[c], err));
        arena_release(&arena);
        if (!ok)
            return false;
        if (!check_volume(&volumes[c], err))
            return error_prefix(err, "%s", scan->files[c]);
    }
    return true;
}

/* Ingest's default is the power of two that holds the planes. Images that were made larger than
 * these planes are, though, had a canvas of their own size, or one that nobody can know. */
static int64_t choose_canvas(const struct predictor *predictor, struct plane_shape shape)
{
    int64_t size = (int64_t)predictor->format->trained_size, canvas = 8;
    int64_t side = shape.rows > shape.columns ? shape.rows : shape.columns;
    if (predictor->job->canvas)
        return predictor->job->canvas;
    while (canvas < side)
        canvas *= 2;
    return side <= size ? size : canvas;
}

static bool begin_scan(struct predictor *predictor, struct plane_shape shape, struct error *err)
{
    int64_t canvas = choose_canvas(predictor, shape);
    size_t size = predictor->format->trained_size, batch = predictor->format->batch;
    if (canvas < shape.rows || canvas < shape.columns)
        return error_set(err, "planes of %lld × %lld do not fit a canvas of %lld",
                         (long long)shape.rows, (long long)shape.columns, (long long)canvas);
    if (!resampler_init(&predictor->resampler, canvas, (int64_t)size, err))
        return false;
    predictor->plane =
        memory_allocate((size_t)(shape.rows * shape.columns), sizeof(double), "a plane", err);
    predictor->small = memory_allocate(size * size, sizeof(double), "a plane", err);
    predictor->planes = memory_allocate(batch * predictor->format->channels * size * size,
                                        sizeof(float), "a batch of planes", err);
    predictor->labels = memory_allocate(batch * size * size, 1, "a batch of labels", err);
    return predictor->plane && predictor->small && predictor->planes && predictor->labels;
}

static void end_scan(struct predictor *predictor)
{
    resampler_release(&predictor->resampler);
    memory_free(predictor->plane);
    memory_free(predictor->small);
    memory_free(predictor->planes);
    memory_free(predictor->labels);
    predictor->resampler = (struct resampler){ 0 };
    predictor->plane = predictor->small = NULL;
    predictor->planes = NULL;
    predictor->labels = NULL;
}

/* Labels of the trained size to a plane of the scan. */
static void enlarge(const struct predictor *predictor, const uint8_t *labels,
                    struct plane_shape shape, uint8_t *out)
{
    int64_t canvas = predictor->resampler.canvas, size = predictor->resampler.size;
    int64_t top = (canvas - shape.rows) / 2, left = (canvas - shape.columns) / 2;
    for (int64_t y = 0; y < shape.rows; y++)
        for (int64_t x = 0; x < shape.columns; x++)
            *out++ = labels[(y + top) * size / canvas * size + (x + left) * size / canvas];
}

/* One plane of every channel, as ingest makes it: what lies below 0 is black. By what it is
 * multiplied does not matter, for segmenters normalise each plane. Whether anything is in it. */
static bool read_plane(struct predictor *predictor, const struct volume *volumes, int64_t z,
                       float *out)
{
    struct plane_shape shape = volume_plane_shape(&volumes[0], PLANE_AXIAL);
    size_t pixels = predictor->format->trained_size * predictor->format->trained_size;
    bool anything = false;
    for (size_t c = 0; c < predictor->format->channels; c++) {
        volume_plane(&volumes[c], PLANE_AXIAL, z, predictor->plane);
        for (int64_t i = 0; i < shape.rows * shape.columns; i++) {
            predictor->plane[i] = predictor->plane[i] > 0 ? predictor->plane[i] : 0;
            anything = anything || predictor->plane[i] > 0;
        }
        resample_plane(&predictor->resampler, predictor->plane, shape.rows, shape.columns,
                       predictor->small);
        for (size_t i = 0; i < pixels; i++)
            *out++ = (float)predictor->small[i];
    }
    return anything;
}

static bool label_planes(struct predictor *predictor, const struct volume *volumes, uint8_t *out,
                         struct error *err)
{
    struct plane_shape shape = volume_plane_shape(&volumes[0], PLANE_AXIAL);
    size_t pixels = (size_t)(shape.rows * shape.columns);
    size_t size = predictor->format->trained_size, batch = predictor->format->batch;
    bool *anything = arena_array(&predictor->arena, bool, batch);
    for (int64_t first = 0; first < shape.count; first += (int64_t)batch) {
        size_t count =
            (size_t)(shape.count - first) < batch ? (size_t)(shape.count - first) : batch;
        for (size_t i = 0; i < count; i++)
            anything[i] =
                read_plane(predictor, volumes, first + (int64_t)i,
                           predictor->planes + i * predictor->format->channels * size * size);
        if (!segmenter_predict(predictor->segmenter, predictor->planes, count, predictor->labels,
                               err))
            return false;
        for (size_t i = 0; i < count; i++, out += pixels)
            if (anything[i])
                enlarge(predictor, predictor->labels + i * size * size, shape, out);
    }
    predictor->report->planes += (size_t)shape.count;
    return true;
}

static bool write_mask(const struct predictor *predictor, const struct scan *scan,
                       const struct volume *volume, const uint8_t *labels, struct error *err)
{
    struct nifti_output output = { .type = VOXEL_UINT8, .voxels = labels, .unit = volume->unit };
    struct arena arena;
    arena_init(&arena);
    memcpy(output.shape, volume->shape, sizeof output.shape);
    memcpy(output.affine, volume->affine, sizeof output.affine);
    if (!volume->oriented) /* viewers make of the mask what they make of the scan */
        nifti_lps_affine(volume->spacing, (double[]){ 0, 0, 0 }, output.affine);
    output.unplaced = !volume->oriented;
    const char *name =
        arena_format(&arena, "%s_seg.nii.gz", scan_name(predictor->list.layout, scan, &arena));
    bool ok = nifti_write(path_join(&arena, predictor->stage.partial, name), &output, err);
    arena_release(&arena);
    return ok;
}

static bool label_scan(struct predictor *predictor, const struct scan *scan, struct error *err)
{
    struct volume volumes[VOLUMES_MOST] = { { { 0 } } };
    uint8_t *labels = NULL;
    bool ok = read_volumes(predictor, scan, volumes, err) &&
              begin_scan(predictor, volume_plane_shape(&volumes[0], PLANE_AXIAL), err);
    if (ok) {
        const int64_t *shape = volumes[0].shape;
        labels = memory_allocate((size_t)(shape[0] * shape[1] * shape[2]), 1, "a mask", err);
        ok = labels && label_planes(predictor, volumes, labels, err) &&
             write_mask(predictor, scan, &volumes[0], labels, err);
        predictor->report->assumed += !volumes[0].spaced;
        predictor->report->scans++;
    }
    memory_free(labels);
    end_scan(predictor);
    for (size_t c = 0; c < predictor->format->channels; c++)
        volume_release(&volumes[c]);
    return ok;
}

/* ---- the folder ------------------------------------------------------------------------------ */

/* Whether these are volumes of the channels that were trained on. */
static bool check_list(const struct predictor *predictor, struct error *err)
{
    const struct scan_list *list = &predictor->list;
    const struct segmenter_format *format = predictor->format;
    const char *source = predictor->job->source;
    if (list->layout == LAYOUT_PNG || list->layout == LAYOUT_NPY ||
        (list->count && (list->scans[0].slice >= 0 || !nifti_is_name(list->scans[0].files[0]))))
        return error_set(err, "%s: a layout of %s; NIfTI volumes are labelled", source,
                         layout_names[list->layout]);
    bool same = list->channel_count == format->channels;
    for (size_t c = 0; same && c < format->channels; c++)
        same = strcmp(list->channels[c], format->channel_names[c]) == 0;
    return same ||
           error_set(err, "%s: %zu channels from %s on, but %s learned from %zu, from %s on",
                     source, list->channel_count, list->channels[0], format->checkpoint,
                     format->channels, format->channel_names[0]);
}

static bool find_scans(struct predictor *predictor, struct error *err)
{
    const struct segmenter_format *format = predictor->format;
    struct layout_request request = { .source = predictor->job->source,
                                      .layout = predictor->job->layout,
                                      .channels = predictor->job->channels,
                                      .without_masks = true };
    struct scan_list *list = &predictor->list;
    if (!request.channels.count)
        request.channels = (struct yaml_strings){ format->channel_names, format->channels };
    if (!layout_find(&request, list, &predictor->report->problems, &predictor->arena, err))
        return false;
    if (!check_list(predictor, err))
        return false;
    if (predictor->report->problems.count || !list->count)
        return error_set(err, "%s: %zu bad scans of %zu; nothing was labelled", request.source,
                         predictor->report->problems.count,
                         list->count + predictor->report->problems.count);
    return true;
}

static bool label_scans(struct predictor *predictor, struct error *err)
{
    struct progress progress;
    bool ok = true;
    progress_begin(&progress, "segment", "scans", predictor->list.count);
    for (size_t i = 0; ok && i < predictor->list.count; i++) {
        const struct scan *scan = &predictor->list.scans[i];
        ok = label_scan(predictor, scan, err) || error_prefix(err, "%s", scan->subject);
        progress_add(&progress, 1);
    }
    progress_end(&progress);
    return ok;
}

bool predict_folder(const struct predict_job *job, struct predict_report *report, struct error *err)
{
    struct predictor predictor = { .job = job, .report = report };
    *report = (struct predict_report){ 0 };
    problems_init(&report->problems);
    arena_init(&predictor.arena);
    predictor.segmenter = segmenter_open(job->weights, 0, 0, job->device, err);
    bool ok = predictor.segmenter;
    if (ok) {
        predictor.format = segmenter_format(predictor.segmenter);
        ok = find_scans(&predictor, err) && folder_stage_open(&predictor.stage, job->out, err);
    }
    if (ok) {
        ok = label_scans(&predictor, err);
        if (ok)
            ok = folder_stage_commit(&predictor.stage, false, err);
        else
            folder_stage_abandon(&predictor.stage);
    }
    segmenter_free(predictor.segmenter);
    arena_release(&predictor.arena);
    return ok;
}

void predict_report_release(struct predict_report *report)
{
    problems_release(&report->problems);
}
