/* Agreement of two masks; see overlap.h. All of it happens in the box around both masks: beyond it
 * nothing is set, so neither counts nor surfaces nor distances between them change. */
#include "audit/overlap.h"

#include "audit/distance.h"
#include "base/arena.h"
#include "base/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const struct metric_info metrics[METRIC_COUNT] = {
    [METRIC_DICE] = { "dice", "" },
    [METRIC_HAUSDORFF_MAX] = { "hausdorff_max", "mm" },
    [METRIC_HAUSDORFF_95] = { "hausdorff_95", "mm" },
    [METRIC_PRECISION] = { "precision", "" },
    [METRIC_RECALL] = { "recall", "" },
    [METRIC_VOLUME_DIFFERENCE] = { "volume_difference", "ml" },
};

/* ---- labels ---------------------------------------------------------------------------------- */

struct label_set label_set_of(const char *name, size_t count, const uint8_t *labels)
{
    struct label_set set = { .name = name };
    for (size_t i = 0; i < count; i++)
        set.holds[labels[i]] = true;
    return set;
}

const char *const region_names[REGION_COUNT] = { "whole", "core", "enhancing" };
const struct region_scheme region_schemes[] = {
    { "brats", { { 1, 2, 4 }, { 1, 4 }, { 4 } } },
    { "brats2023", { { 1, 2, 3 }, { 1, 3 }, { 3 } } },
    { 0 },
};

const struct region_scheme *region_scheme_of(const bool occurs[256])
{
    struct label_set whole = region_set(&region_schemes[0], 0);
    bool fits = occurs[4];
    for (int label = 1; label < 256; label++)
        fits = fits && (!occurs[label] || whole.holds[label]);
    return fits ? &region_schemes[0] : NULL;
}

struct label_set region_set(const struct region_scheme *scheme, int region)
{
    return label_set_of(region_names[region], strnlen((const char *)scheme->labels[region], 3),
                        scheme->labels[region]);
}

/* ---- the box --------------------------------------------------------------------------------- */

struct box {
    size_t begin[3], shape[3], voxels;
    double spacing[3];
};

enum { IN_TRUTH = 1, IN_PREDICTION = 2 };

static uint8_t membership(const struct label_pair *pair, const struct label_set *labels, size_t i)
{
    return (uint8_t)(labels->holds[pair->truth[i]] * IN_TRUTH |
                     labels->holds[pair->prediction[i]] * IN_PREDICTION);
}

/* Counts voxels and finds the box around those of either mask. */
static struct box bound(const struct label_pair *pair, const struct label_set *labels,
                        struct overlap *overlap)
{
    const size_t *shape = pair->shape;
    struct box box = { .begin = { SIZE_MAX, SIZE_MAX, SIZE_MAX } };
    size_t end[3] = { 0 }, i = 0;
    for (size_t z = 0; z < shape[2]; z++)
        for (size_t y = 0; y < shape[1]; y++)
            for (size_t x = 0; x < shape[0]; x++, i++) {
                uint8_t in = membership(pair, labels, i);
                const size_t at[3] = { x, y, z };
                overlap->truth += in & IN_TRUTH;
                overlap->prediction += in / IN_PREDICTION;
                overlap->common += in == (IN_TRUTH | IN_PREDICTION);
                for (int axis = 0; in && axis < 3; axis++) {
                    box.begin[axis] = at[axis] < box.begin[axis] ? at[axis] : box.begin[axis];
                    end[axis] = at[axis] >= end[axis] ? at[axis] + 1 : end[axis];
                }
            }
    box.voxels = 1;
    for (int axis = 0; axis < 3; axis++) {
        box.shape[axis] = end[axis] > box.begin[axis] ? end[axis] - box.begin[axis] : 0;
        box.spacing[axis] = pair->spacing[axis];
        box.voxels *= box.shape[axis];
    }
    return box;
}

static void cut_out(const struct label_pair *pair, const struct label_set *labels,
                    const struct box *box, uint8_t *inside)
{
    for (size_t z = 0; z < box->shape[2]; z++)
        for (size_t y = 0; y < box->shape[1]; y++) {
            size_t row =
                ((z + box->begin[2]) * pair->shape[1] + y + box->begin[1]) * pair->shape[0];
            for (size_t x = 0; x < box->shape[0]; x++)
                *inside++ = membership(pair, labels, row + x + box->begin[0]);
        }
}

/* ---- surfaces -------------------------------------------------------------------------------- */

/* Whether a face of the voxel at `at` (index i) lies on the outside of the mask `bit`. */
static bool on_surface(const uint8_t *inside, const struct box *box, const size_t at[3], size_t i,
                       const bool flat[3], uint8_t bit)
{
    size_t stride = 1;
    for (int axis = 0; axis < 3; axis++) {
        if (!flat[axis] && (at[axis] == 0 || at[axis] + 1 == box->shape[axis] ||
                            !(inside[i - stride] & bit) || !(inside[i + stride] & bit)))
            return true;
        stride *= box->shape[axis];
    }
    return false;
}

/* Marks the surface of one mask; returns its size. */
static size_t mark_surface(const uint8_t *inside, const struct box *box, const bool flat[3],
                           uint8_t bit, uint8_t *surface)
{
    size_t count = 0, i = 0;
    for (size_t z = 0; z < box->shape[2]; z++)
        for (size_t y = 0; y < box->shape[1]; y++)
            for (size_t x = 0; x < box->shape[0]; x++, i++) {
                const size_t at[3] = { x, y, z };
                surface[i] = (inside[i] & bit) && on_surface(inside, box, at, i, flat, bit);
                count += surface[i];
            }
    return count;
}

static size_t gather(const uint8_t *surface, const double *squared, size_t voxels, double *out)
{
    size_t count = 0;
    for (size_t i = 0; i < voxels; i++)
        if (surface[i])
            out[count++] = sqrt(squared[i]);
    return count;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of sorted values; between two of them linear, as NumPy. */
static double quantile(const double *sorted, size_t count, double share)
{
    double at = share * (double)(count - 1);
    size_t below = (size_t)at;
    double above = sorted[below + 1 < count ? below + 1 : below];
    return sorted[below] + (at - (double)below) * (above - sorted[below]);
}

/* Memory of one comparison, all of the box's size. */
struct work {
    uint8_t *inside, *truth, *prediction;
    double *squared, *distances;
};

static bool allocate(struct work *work, size_t voxels, struct error *err)
{
    static const char what[] = "the distances between two masks";
    work->inside = memory_allocate(voxels, 3, what, err);
    work->squared = work->inside ? memory_allocate(voxels, sizeof(double), what, err) : NULL;
    work->truth = work->inside + voxels;
    work->prediction = work->truth + voxels;
    return work->squared;
}

/* Both ways: from truth to prediction, from prediction to truth. */
static bool measure_distances(struct work *work, const struct box *box, const bool flat[3],
                              struct overlap *overlap, struct error *err)
{
    size_t count = mark_surface(work->inside, box, flat, IN_TRUTH, work->truth) +
                   mark_surface(work->inside, box, flat, IN_PREDICTION, work->prediction);
    work->distances = memory_allocate(count, sizeof(double), "the distances of two masks", err);
    if (!work->distances ||
        !distance_squared(work->prediction, box->shape, box->spacing, work->squared, err))
        return false;
    count = gather(work->truth, work->squared, box->voxels, work->distances);
    if (!distance_squared(work->truth, box->shape, box->spacing, work->squared, err))
        return false;
    count += gather(work->prediction, work->squared, box->voxels, work->distances + count);
    qsort(work->distances, count, sizeof(double), ascending);
    overlap->value[METRIC_HAUSDORFF_MAX] = work->distances[count - 1];
    overlap->value[METRIC_HAUSDORFF_95] = quantile(work->distances, count, 0.95);
    return true;
}

static bool find_distances(const struct label_pair *pair, const struct label_set *labels,
                           const struct box *box, struct overlap *overlap, struct error *err)
{
    const bool flat[3] = { pair->shape[0] == 1, pair->shape[1] == 1, pair->shape[2] == 1 };
    struct work work = { 0 };
    bool ok = allocate(&work, box->voxels, err);
    if (ok) {
        cut_out(pair, labels, box, work.inside);
        ok = measure_distances(&work, box, flat, overlap, err);
    }
    memory_free(work.inside);
    memory_free(work.squared);
    memory_free(work.distances);
    return ok;
}

bool overlap_measure(const struct label_pair *pair, const struct label_set *labels,
                     struct overlap *overlap, struct error *err)
{
    *overlap = (struct overlap){ 0 };
    struct box box = bound(pair, labels, overlap);
    double truth = (double)overlap->truth, prediction = (double)overlap->prediction;
    double common = (double)overlap->common, *value = overlap->value;
    value[METRIC_DICE] = 2 * common / (truth + prediction); /* 0/0 is NaN, as is meant */
    value[METRIC_PRECISION] = common / prediction;
    value[METRIC_RECALL] = common / truth;
    value[METRIC_HAUSDORFF_MAX] = value[METRIC_HAUSDORFF_95] = NAN;
    value[METRIC_VOLUME_DIFFERENCE] =
        (prediction - truth) * pair->spacing[0] * pair->spacing[1] * pair->spacing[2] / 1000;
    if (!overlap->truth || !overlap->prediction)
        return true;
    return find_distances(pair, labels, &box, overlap, err);
}

/* ---- many subjects --------------------------------------------------------------------------- */

size_t mean_of(const double *values, size_t count, double *mean, double *sd)
{
    double sum = 0, squares = 0;
    size_t defined = 0;
    for (size_t i = 0; i < count; i++)
        if (!isnan(values[i])) {
            sum += values[i];
            defined++;
        }
    *mean = defined ? sum / (double)defined : NAN;
    for (size_t i = 0; i < count; i++)
        if (!isnan(values[i]))
            squares += (values[i] - *mean) * (values[i] - *mean);
    *sd = defined > 1 ? sqrt(squares / (double)(defined - 1)) : NAN;
    return defined;
}

struct overlap_summary overlap_summarise(const struct overlap *overlaps, size_t count,
                                         size_t stride)
{
    struct overlap_summary summary = { .subjects = count };
    double *values = memory_grow(NULL, count ? count : 1, sizeof *values);
    for (size_t i = 0; i < count; i++) {
        const struct overlap *overlap = &overlaps[i * stride];
        summary.both_empty += !overlap->truth && !overlap->prediction;
        summary.truth_empty += !overlap->truth && overlap->prediction;
        summary.prediction_empty += overlap->truth && !overlap->prediction;
    }
    for (int metric = 0; metric < METRIC_COUNT; metric++) {
        for (size_t i = 0; i < count; i++)
            values[i] = overlaps[i * stride].value[metric];
        summary.metric[metric].count =
            mean_of(values, count, &summary.metric[metric].mean, &summary.metric[metric].sd);
    }
    free(values);
    return summary;
}

struct json *overlap_summary_json(const struct overlap_summary *summary)
{
    struct json *object = json_new_object(), *empty = json_new_object();
    json_put_integer(object, "subjects", (int64_t)summary->subjects);
    json_put_integer(empty, "both", (int64_t)summary->both_empty);
    json_put_integer(empty, "truth", (int64_t)summary->truth_empty);
    json_put_integer(empty, "prediction", (int64_t)summary->prediction_empty);
    json_put(object, "empty", empty);
    for (int metric = 0; metric < METRIC_COUNT; metric++) {
        struct json *entry = json_new_object();
        json_put_integer(entry, "count", (int64_t)summary->metric[metric].count);
        json_put_real(entry, "mean", summary->metric[metric].mean);
        json_put_real(entry, "sd", summary->metric[metric].sd);
        json_put(object, metrics[metric].name, entry);
    }
    return object;
}
