/* One scan of the ingest; see scan.h.
 *
 * The channel of the keep rule is read first, for it decides which slices are made of all others;
 * so one volume in its stored type is in memory at a time, beside the slices that are kept.
 */
#include "data/scan.h"

#include "base/simd.h"
#include "base/text.h"
#include "data/nifti.h"
#include "data/png.h"
#include "data/slices.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- files to volumes ------------------------------------------------------------------------ */

/* Many programs write grey images as RGB (torchvision's save_image does), or with an alpha that
 * hides nothing: those become one plane again. False where colours differ, or something is hidden.
 */
static bool make_grey(struct png_image *image)
{
    size_t bytes = (size_t)image->bits / 8, pixels = (size_t)image->width * image->height,
           channels = (size_t)image->channels;
    size_t colours = channels < 3 ? 1 : 3;
    unsigned char *values = image->pixels;
    static const unsigned char opaque[2] = { 0xff, 0xff };
    for (size_t i = 0; i < pixels; i++) {
        const unsigned char *pixel = values + i * channels * bytes;
        for (size_t c = 1; c < colours; c++)
            if (memcmp(pixel, pixel + c * bytes, bytes) != 0)
                return false;
        if (channels != colours && memcmp(pixel + colours * bytes, opaque, bytes) != 0)
            return false;
        memmove(values + i * bytes, pixel, bytes);
    }
    image->channels = 1;
    return true;
}

/* A flat image as a volume of one plane. The pixels are taken over. */
static bool volume_of_png(struct volume *volume, struct png_image *image, const char *path,
                          struct error *err)
{
    if (image->channels != 1 && !make_grey(image)) {
        memory_free(image->pixels);
        return error_set(err,
                         "%s: a PNG of %d channels; one grey image a channel is expected (colours "
                         "that are alike, and no transparency, count as grey): save it in grey",
                         path, image->channels);
    }
    enum voxel_type type = image->bits == 16 ? VOXEL_UINT16 : VOXEL_UINT8;
    *volume =
        (struct volume){ .shape = { image->width, image->height, 1 },
                         .frames = 1,
                         .spacing = { 1, 1, 1 },
                         .type = type,
                         /* 16 bit means the full range of 65535, as 8 bit means that of 255 */
                         .slope = image->bits == 16 ? 1.0 / 257 : 1,
                         .origin = image->pixels,
                         .buffer = image->pixels };
    volume->stride[0] = (ptrdiff_t)voxel_bytes(type);
    volume->stride[1] = volume->stride[0] * (ptrdiff_t)image->width;
    return true;
}

static bool volume_of_array(struct volume *volume, const struct npy *array, int64_t item,
                            size_t channel, struct error *err)
{
    static const int voxel_types[ELEMENT_TYPE_COUNT] = {
        [ELEMENT_BOOL] = VOXEL_UINT8,      [ELEMENT_UINT8] = VOXEL_UINT8,
        [ELEMENT_INT8] = VOXEL_INT8,       [ELEMENT_UINT16] = VOXEL_UINT16,
        [ELEMENT_INT16] = VOXEL_INT16,     [ELEMENT_UINT32] = VOXEL_UINT32,
        [ELEMENT_INT32] = VOXEL_INT32,     [ELEMENT_UINT64] = VOXEL_UINT64,
        [ELEMENT_INT64] = VOXEL_INT64,     [ELEMENT_FLOAT16] = -1,
        [ELEMENT_BFLOAT16] = -1,           [ELEMENT_FLOAT32] = VOXEL_FLOAT32,
        [ELEMENT_FLOAT64] = VOXEL_FLOAT64,
    };
    int type = voxel_types[array->type];
    if (type < 0)
        return error_set(err, "elements of %s; save the array as float32",
                         element_info[array->type].name);
    size_t bytes = element_info[array->type].bytes;
    size_t height = array->shape[array->rank - 2], width = array->shape[array->rank - 1];
    size_t channels = array->rank == 4 ? array->shape[1] : 1;
    size_t image = (size_t)item * channels + channel;
    *volume = (struct volume){ .shape = { (int64_t)width, (int64_t)height, 1 },
                               .frames = 1,
                               .spacing = { 1, 1, 1 },
                               .type = (enum voxel_type)type,
                               .slope = 1,
                               .origin = array->data + image * height * width * bytes,
                               .stride = { (ptrdiff_t)bytes, (ptrdiff_t)(bytes * width) } };
    return true;
}

/* Reads a file once: its digest and its volume. `digest` may be NULL. */
static bool read_file(const char *path, struct volume *volume, struct digest_entry *digest,
                      struct error *err)
{
    size_t size;
    unsigned char *bytes = (unsigned char *)file_read(path, NIFTI_LARGEST, &size, err);
    if (!bytes)
        return false;
    if (digest) {
        digest->size = size;
        digest->digest = digest_of(bytes, size);
    }
    if (!text_ends_with_any_case(path, ".png"))
        return nifti_read_bytes(volume, bytes, size, path, err);
    struct png_image image;
    bool ok = png_parse(&image, bytes, size, path, err) && volume_of_png(volume, &image, path, err);
    memory_free(bytes);
    return ok;
}

/* Channel `channel` of a scan, or its mask when that is channel_count. */
static bool read_channel(const struct scan_options *options, const struct scan *scan,
                         size_t channel, struct volume *volume, struct digest_entry *digest,
                         struct arena *arena, struct error *err)
{
    bool mask = channel == options->channel_count;
    const char *file = mask ? scan->mask : scan->files[channel];
    *volume = (struct volume){ 0 };
    if (scan->item < 0)
        return read_file(path_join(arena, options->source, file), volume, digest, err);
    const struct npy *array = mask ? &options->mask_array : &options->images;
    if (!volume_of_array(volume, array, scan->item, mask ? 0 : channel, err))
        return false;
    if (digest) {
        size_t bytes = (size_t)volume->shape[1] * (size_t)volume->stride[1];
        digest->size = bytes;
        digest->digest = digest_of(volume->origin, bytes);
    }
    return true;
}

bool scan_plane_shape(const struct scan_options *options, const struct scan *scan,
                      struct plane_shape *shape, struct error *err)
{
    struct arena arena;
    struct volume volume;
    bool ok = false;
    arena_init(&arena);
    for (size_t channel = 0; !ok && channel < options->channel_count; channel++)
        ok = read_channel(options, scan, channel, &volume, NULL, &arena, err);
    if (ok) {
        *shape = volume_plane_shape(&volume, options->plane);
        volume_release(&volume);
    }
    arena_release(&arena);
    return ok;
}

bool scan_options_open(struct scan_options *options, const struct scan_list *list,
                       struct error *err)
{
    if (list->layout != LAYOUT_NPY)
        return true;
    struct arena arena;
    arena_init(&arena);
    bool ok = npy_open(&options->images, path_join(&arena, options->source, "images.npy"), err);
    if (ok && options->masks) {
        const struct npy *images = &options->images;
        struct npy *masks = &options->mask_array;
        ok = npy_open(masks, path_join(&arena, options->source, "masks.npy"), err);
        bool fits = ok && masks->rank == 3 && masks->shape[0] == images->shape[0] &&
                    masks->shape[1] == images->shape[images->rank - 2] &&
                    masks->shape[2] == images->shape[images->rank - 1];
        if (ok && !fits)
            ok = error_set(err, "%s/masks.npy: its shape is not (N,H,W) of images.npy",
                           options->source);
    }
    arena_release(&arena);
    return ok;
}

void scan_options_close(struct scan_options *options)
{
    npy_close(&options->images);
    npy_close(&options->mask_array);
}

/* ---- checks ------------------------------------------------------------------------------------
 */

struct scan_job {
    const struct scan_options *options;
    const struct scan *scan;
    struct scan_result *result;
    struct volume first; /* geometry of the first channel that could be read */
    bool have_first;
    bool wanted;
    struct resampler resampler;
    double *plane, *square;
    uint8_t *labels;
};

static const char *channel_file(const struct scan_job *job, size_t channel)
{
    return channel == job->options->channel_count ? job->scan->mask : job->scan->files[channel];
}

/* The message without the path that it begins with: the problem has a column for the file. */
static const char *without_path(const char *message, const char *file)
{
    const char *found = strstr(message, file);
    size_t length = strlen(file);
    return found && !strncmp(found + length, ": ", 2) ? found + length + 2 : message;
}

static void add_problem(struct scan_job *job, size_t channel, const char *message)
{
    struct scan_result *result = job->result;
    size_t most = 2 * (job->options->channel_count + 2);
    if (!result->problems)
        result->problems = arena_array(&result->arena, struct problem, most);
    CHECK(result->problem_count < most, "more problems than channels can have");
    const char *file = channel_file(job, channel);
    result->problems[result->problem_count++] =
        (struct problem){ "", arena_string(&result->arena, file),
                          arena_string(&result->arena, without_path(message, file)) };
}

/* A generator makes images of one size. Others among them would be centred in the canvas of the
 * first, where no copy is found. */
static bool check_flat_size(const struct scan_options *options, const struct plane_shape *shape,
                            struct error *err)
{
    const struct plane_shape *flat = &options->flat;
    return !flat->rows || (shape->rows == flat->rows && shape->columns == flat->columns) ||
           error_set(err,
                     "an image of %lld × %lld; the first of the set has %lld × %lld, and all must "
                     "be alike: make it in the same size, or leave it out",
                     (long long)shape->rows, (long long)shape->columns, (long long)flat->rows,
                     (long long)flat->columns);
}

static bool check_geometry(struct scan_job *job, const struct volume *volume, struct error *err)
{
    struct plane_shape shape = volume_plane_shape(volume, job->options->plane);
    if (!check_flat_size(job->options, &shape, err))
        return false;
    if (volume->frames != 1)
        return error_set(err,
                         "a series of %lld volumes; one 3-D volume is expected: split it into a "
                         "file a volume (as with fslsplit)",
                         (long long)volume->frames);
    if (shape.rows > job->options->canvas || shape.columns > job->options->canvas)
        return error_set(
            err, "planes of %lld × %lld do not fit the canvas of %lld; set a larger canvas",
            (long long)shape.rows, (long long)shape.columns, (long long)job->options->canvas);
    if (job->have_first)
        return volume_same_grid(&job->first, volume, err);
    job->first = *volume;
    job->first.buffer = NULL;
    job->have_first = true;
    memcpy(job->result->shape, volume->shape, sizeof volume->shape);
    memcpy(job->result->spacing, volume->spacing, sizeof volume->spacing);
    job->result->oriented = volume->oriented;
    if (volume->spaced)
        volume_plane_spacing(volume, job->options->plane, job->result->pixel);
    return true;
}

/* Values that are taken as they are. Floats of 0 to 1 would all become black. */
static bool check_range(const struct volume *volume, double least, double greatest,
                        struct error *err)
{
    bool fraction = volume->type == VOXEL_FLOAT32 || volume->type == VOXEL_FLOAT64;
    if (least >= 0 && greatest <= 255 && !(fraction && greatest > 0 && greatest <= 1))
        return true;
    return error_set(err,
                     "values from %g to %g; without scaling 0 to 255 are expected (multiply them, "
                     "or set intensity: maximum)",
                     least, greatest);
}

/* The value that becomes 255. */
static bool find_top(struct scan_job *job, const struct volume *volume, double *top,
                     struct error *err)
{
    double least, greatest;
    *top = 255;
    if (!volume_range(volume, &least, &greatest, err))
        return false;
    if (job->options->intensity == INTENSITY_NONE) {
        if (volume->type == VOXEL_UINT16 && volume->slope != 1) /* of a PNG */
            job->result->deep = fmax(job->result->deep, greatest);
        return check_range(volume, least, greatest, err);
    }
    if (greatest <= 0)
        return error_set(err, "empty: no voxel is above 0");
    if (least == greatest)
        return error_set(err, "every voxel is %g: there is no image in it", least);
    *top = greatest;
    if (job->options->intensity == INTENSITY_PERCENTILE &&
        !positive_quantile(volume, greatest, job->options->percentile, top, err))
        return false;
    job->result->below = fmax(job->result->below, -least / *top);
    return true;
}

/* ---- slices ------------------------------------------------------------------------------------
 */

/* First times 255, then divided: so whole numbers reach halves, and the keep rule's threshold,
 * exactly; times (255 / top) misses them by a rounding in one volume of twenty. */
HOT static void scale_and_cut(double *values, size_t count, double top)
{
    for (size_t i = 0; i < count; i++) {
        double value = top == 255 ? values[i] : values[i] * 255 / top;
        values[i] = value < 0 ? 0 : value > 255 ? 255 : value;
    }
}

/* The plane, scaled; values beyond the percentile are cut off. */
static void scaled_plane(struct scan_job *job, const struct volume *volume, int64_t index,
                         double top)
{
    struct plane_shape shape = volume_plane_shape(volume, job->options->plane);
    volume_plane(volume, job->options->plane, index, job->plane);
    scale_and_cut(job->plane, (size_t)(shape.rows * shape.columns), top);
}

/* Planes across the slices of a thick-sliced scan are narrow, whatever they show. */
static bool refuse_slices(const struct scan_options *options, const struct plane_shape *shape,
                          struct error *err)
{
    double share =
        (double)(shape->rows * shape->columns) / (double)(options->canvas * options->canvas);
    if (share > options->keep_share)
        return error_set(err,
                         "no slice is kept: none has more than %g %% of its pixels above %g of "
                         "255; lower keep_share or keep_above",
                         100 * options->keep_share, options->keep_above);
    return error_set(
        err,
        "no slice is kept: %s planes of %lld × %lld are %.2g %% of the canvas of %lld, "
        "and keep_share asks for more than %g %%; set plane to the one that was "
        "acquired, canvas, or keep_share",
        plane_names[options->plane], (long long)shape->rows, (long long)shape->columns, 100 * share,
        (long long)options->canvas, 100 * options->keep_share);
}

/* Which slices pass the keep rule: the share of bright pixels of the padded plane. */
static bool choose_slices(struct scan_job *job, const struct volume *volume, double top,
                          struct error *err)
{
    const struct scan_options *options = job->options;
    struct scan_result *result = job->result;
    struct plane_shape shape = volume_plane_shape(volume, options->plane);
    double canvas = (double)(options->canvas * options->canvas);
    result->slices = arena_array(&result->arena, int64_t, (size_t)shape.count);
    result->kept = 0;
    for (int64_t index = 0; index < shape.count; index++) {
        if (options->keep_share >= 0) {
            scaled_plane(job, volume, index, top);
            size_t bright =
                count_above(job->plane, (size_t)(shape.rows * shape.columns), options->keep_above);
            if (!((double)bright / canvas > options->keep_share))
                continue;
        }
        result->slices[result->kept++] = index;
    }
    return result->kept || refuse_slices(options, &shape, err);
}

static void make_slices(struct scan_job *job, const struct volume *volume, size_t channel,
                        double top)
{
    const struct scan_options *options = job->options;
    struct plane_shape shape = volume_plane_shape(volume, options->plane);
    size_t pixels = (size_t)(options->size * options->size);
    size_t bytes = pixels * element_info[options->type].bytes;
    for (size_t i = 0; i < job->result->kept; i++) {
        scaled_plane(job, volume, job->result->slices[i], top);
        resample_plane(&job->resampler, job->plane, shape.rows, shape.columns, job->square);
        quantise(job->square, pixels, options->type,
                 job->result->images + (i * options->channel_count + channel) * bytes);
    }
}

static bool allocate_outputs(struct scan_job *job, struct error *err)
{
    const struct scan_options *options = job->options;
    struct scan_result *result = job->result;
    size_t pixels = (size_t)(options->size * options->size);
    result->images = memory_allocate(result->kept * options->channel_count * pixels,
                                     element_info[options->type].bytes, "slices", err);
    if (options->masks)
        result->masks = memory_allocate(result->kept, pixels, "masks", err);
    return result->images && (result->masks || !options->masks);
}

static bool take_channel(struct scan_job *job, size_t channel, const struct volume *volume,
                         struct error *err)
{
    double top;
    if (!check_geometry(job, volume, err) || !find_top(job, volume, &top, err))
        return false;
    if (channel == job->options->keep_channel) {
        if (!choose_slices(job, volume, top, err))
            return false;
        if (job->wanted && !allocate_outputs(job, err))
            return false;
    }
    if (job->result->images && !job->result->problem_count)
        make_slices(job, volume, channel, top);
    return true;
}

/* ---- masks -------------------------------------------------------------------------------------
 */

static bool refuse_label(double value, struct plane_shape shape, int64_t pixel, int64_t slice,
                         struct error *err)
{
    long long row = (long long)(pixel / shape.columns), column = (long long)(pixel % shape.columns);
    if (label_of(value) >= 0)
        return error_set(err,
                         "the label %d at row %lld, column %lld of slice %lld is not allowed; set "
                         "labels if it is right",
                         label_of(value), row, column, (long long)slice);
    return error_set(err,
                     "the value %g at row %lld, column %lld of slice %lld is no label, a whole "
                     "number from 0 to 255; masks are resampled by the nearest voxel, and saved as "
                     "integers without a slope",
                     value, row, column, (long long)slice);
}

static bool labels_of_plane(struct scan_job *job, const struct volume *volume, int64_t index,
                            struct error *err)
{
    struct plane_shape shape = volume_plane_shape(volume, job->options->plane);
    volume_plane(volume, job->options->plane, index, job->plane);
    for (int64_t i = 0; i < shape.rows * shape.columns; i++) {
        int label = label_of(job->plane[i]);
        if (label < 0 || !job->options->label_allowed[label])
            return refuse_label(job->plane[i], shape, i, index, err);
        job->labels[i] = (uint8_t)label;
    }
    return true;
}

static bool take_mask(struct scan_job *job, const struct volume *volume, struct error *err)
{
    const struct scan_options *options = job->options;
    struct plane_shape shape = volume_plane_shape(volume, options->plane);
    size_t pixels = (size_t)(options->size * options->size), next = 0;
    if (!check_geometry(job, volume, err))
        return false;
    for (int64_t index = 0; index < shape.count; index++) {
        if (!labels_of_plane(job, volume, index, err))
            return false;
        bool kept = next < job->result->kept && job->result->slices[next] == index;
        if (kept && job->result->masks)
            resample_labels(&job->resampler, job->labels, shape.rows, shape.columns,
                            job->result->masks + next * pixels);
        next += kept;
    }
    return true;
}

/* ---- the scan ----------------------------------------------------------------------------------
 */

static void take(struct scan_job *job, size_t channel)
{
    struct volume volume;
    struct error err;
    struct scan_result *result = job->result;
    bool mask = channel == job->options->channel_count;
    result->files[channel].path = channel_file(job, channel);
    if (!read_channel(job->options, job->scan, channel, &volume, &result->files[channel],
                      &result->arena, &err)) {
        add_problem(job, channel, err.message);
        return;
    }
    bool ok = mask ? take_mask(job, &volume, &err) : take_channel(job, channel, &volume, &err);
    if (!ok)
        add_problem(job, channel, err.message);
    volume_release(&volume);
}

static bool allocate_workspace(struct scan_job *job, struct error *err)
{
    size_t canvas = (size_t)(job->options->canvas * job->options->canvas);
    size_t square = (size_t)(job->options->size * job->options->size);
    job->plane = memory_allocate(canvas, sizeof(double), "a plane", err);
    job->square = memory_allocate(square, sizeof(double), "a slice", err);
    job->labels = memory_allocate(canvas, 1, "a plane of labels", err);
    return job->plane && job->square && job->labels &&
           resampler_init(&job->resampler, job->options->canvas, job->options->size, err);
}

void scan_read(const struct scan_options *options, const struct scan *scan, bool wanted,
               struct scan_result *result)
{
    struct scan_job job = { .options = options, .scan = scan, .result = result, .wanted = wanted };
    struct error err;
    *result = (struct scan_result){ 0 };
    arena_init(&result->arena);
    result->file_count = options->channel_count + options->masks;
    result->files = arena_array(&result->arena, struct digest_entry, result->file_count);
    if (allocate_workspace(&job, &err)) {
        take(&job, options->keep_channel);
        for (size_t channel = 0; channel < result->file_count; channel++)
            if (channel != options->keep_channel)
                take(&job, channel);
    } else {
        add_problem(&job, 0, err.message);
    }
    resampler_release(&job.resampler);
    memory_free(job.plane);
    memory_free(job.square);
    memory_free(job.labels);
}

void scan_result_release(struct scan_result *result)
{
    memory_free(result->images);
    memory_free(result->masks);
    arena_release(&result->arena);
    *result = (struct scan_result){ 0 };
}
