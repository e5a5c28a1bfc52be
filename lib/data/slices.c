/* Padding, scaling, quantising; see slices.h. */
#include "data/slices.h"

#include "base/simd.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

bool resampler_init(struct resampler *resampler, int64_t canvas, int64_t size, struct error *err)
{
    CHECK(size >= 1 && size <= canvas, "a canvas of %lld scaled to %lld", (long long)canvas,
          (long long)size);
    *resampler = (struct resampler){ canvas, size, NULL };
    resampler->scratch = memory_allocate((size_t)(size * canvas), sizeof(double), "a slice", err);
    return resampler->scratch;
}

void resampler_release(struct resampler *resampler)
{
    memory_free(resampler->scratch);
    *resampler = (struct resampler){ 0 };
}

/* The canvas pixels that output pixel i covers, and how much of each, in parts of 1/size of a
 * pixel: whole numbers, so that means and ties come out exactly. Together an output pixel has
 * `canvas` parts. */
struct cover {
    int64_t first, last; /* inclusive */
    int64_t begin, end, size;
};

static struct cover cover_of(const struct resampler *resampler, int64_t i)
{
    int64_t begin = i * resampler->canvas, end = begin + resampler->canvas, size = resampler->size;
    return (struct cover){ begin / size, (end - 1) / size, begin, end, size };
}

static int64_t cover_weight(const struct cover *cover, int64_t pixel)
{
    int64_t from = pixel * cover->size, to = from + cover->size;
    return (to < cover->end ? to : cover->end) - (from > cover->begin ? from : cover->begin);
}

HOT static void add_scaled(double *sum, const double *values, double weight, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        sum[i] += weight * values[i];
}

void resample_plane(struct resampler *resampler, const double *plane, int64_t rows, int64_t columns,
                    double *out)
{
    int64_t canvas = resampler->canvas, size = resampler->size;
    int64_t top = (canvas - rows) / 2, left = (canvas - columns) / 2;
    CHECK(rows <= canvas && columns <= canvas, "a plane larger than its canvas");
    memset(out, 0, (size_t)(size * size) * sizeof *out);
    if (size == canvas) {
        for (int64_t row = 0; row < rows; row++)
            memcpy(out + (row + top) * size + left, plane + row * columns,
                   (size_t)columns * sizeof *out);
        return;
    }
    double parts = (double)(canvas * canvas);
    memset(resampler->scratch, 0, (size_t)(size * canvas) * sizeof(double));
    for (int64_t i = 0; i < size; i++) { /* down the rows … */
        struct cover cover = cover_of(resampler, i);
        for (int64_t row = cover.first; row <= cover.last; row++)
            if (row >= top && row < top + rows)
                add_scaled(resampler->scratch + i * canvas + left, plane + (row - top) * columns,
                           (double)cover_weight(&cover, row), columns);
    }
    for (int64_t j = 0; j < size; j++) { /* … and along the columns */
        struct cover cover = cover_of(resampler, j);
        for (int64_t column = cover.first; column <= cover.last; column++) {
            double weight = (double)cover_weight(&cover, column);
            for (int64_t i = 0; i < size; i++)
                out[i * size + j] += weight * resampler->scratch[i * canvas + column];
        }
        for (int64_t i = 0; i < size; i++)
            out[i * size + j] /= parts;
    }
}

/* A label map inside its canvas. */
struct label_plane {
    const uint8_t *labels;
    int64_t rows, columns, top, left;
};

static uint8_t label_at(const struct label_plane *plane, int64_t y, int64_t x)
{
    y -= plane->top;
    x -= plane->left;
    bool inside = y >= 0 && y < plane->rows && x >= 0 && x < plane->columns;
    return inside ? plane->labels[y * plane->columns + x] : 0;
}

static bool is_uniform(const struct label_plane *plane, const struct cover *down,
                       const struct cover *along, uint8_t label)
{
    for (int64_t y = down->first; y <= down->last; y++)
        for (int64_t x = along->first; x <= along->last; x++)
            if (label_at(plane, y, x) != label)
                return false;
    return true;
}

/* The label with most area under one output pixel. Nearly all pixels see one label only. */
static uint8_t majority(const struct label_plane *plane, const struct cover *down,
                        const struct cover *along)
{
    uint8_t first = label_at(plane, down->first, along->first);
    if (is_uniform(plane, down, along, first))
        return first;
    int64_t area[256] = { 0 };
    for (int64_t y = down->first; y <= down->last; y++)
        for (int64_t x = along->first; x <= along->last; x++)
            area[label_at(plane, y, x)] += cover_weight(down, y) * cover_weight(along, x);
    int best = 0;
    for (int label = 1; label < 256; label++)
        if (area[label] > area[best])
            best = label;
    return (uint8_t)best;
}

void resample_labels(struct resampler *resampler, const uint8_t *labels, int64_t rows,
                     int64_t columns, uint8_t *out)
{
    int64_t canvas = resampler->canvas, size = resampler->size;
    int64_t top = (canvas - rows) / 2, left = (canvas - columns) / 2;
    memset(out, 0, (size_t)(size * size));
    if (size == canvas) {
        for (int64_t row = 0; row < rows; row++)
            memcpy(out + (row + top) * size + left, labels + row * columns, (size_t)columns);
        return;
    }
    struct label_plane plane = { labels, rows, columns, top, left };
    for (int64_t i = 0; i < size; i++) {
        struct cover down = cover_of(resampler, i);
        for (int64_t j = 0; j < size; j++) {
            struct cover along = cover_of(resampler, j);
            out[i * size + j] = majority(&plane, &down, &along);
        }
    }
}

/* ---- quantising ------------------------------------------------------------------------------ */

static double clamp(double value, double most)
{
    return value < 0 ? 0 : value > most ? most : value;
}

HOT static void quantise_uint8(const double *values, size_t count, uint8_t *out)
{
    for (size_t i = 0; i < count; i++)
        out[i] = (uint8_t)(clamp(values[i], 255) + 0.5);
}

HOT static void quantise_uint16(const double *values, size_t count, uint16_t *out)
{
    for (size_t i = 0; i < count; i++)
        out[i] = (uint16_t)(clamp(values[i] * 257, 65535) + 0.5);
}

void quantise(const double *values, size_t count, enum element_type type, void *out)
{
    if (type == ELEMENT_UINT8)
        quantise_uint8(values, count, out);
    else if (type == ELEMENT_UINT16)
        quantise_uint16(values, count, out);
    else
        for (size_t i = 0; i < count; i++)
            ((uint16_t *)out)[i] = half_from_double(values[i] / 255);
}

HOT size_t count_above(const double *plane, size_t count, double value)
{
    size_t above = 0;
    for (size_t i = 0; i < count; i++)
        above += plane[i] > value;
    return above;
}

/* ---- quantiles ------------------------------------------------------------------------------- */

enum { BINS = 1 << 16 };

struct quantile {
    size_t *bins; /* of the positive values, evenly over (0, greatest] */
    double greatest;
    size_t positive;
    double *picked; /* the values of one bin */
    size_t picked_count, bin;
};

static size_t bin_of(const struct quantile *quantile, double value)
{
    size_t bin = (size_t)(value / quantile->greatest * BINS);
    return bin < BINS ? bin : BINS - 1;
}

static void count_bins(struct quantile *quantile, const double *plane, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (plane[i] > 0) {
            quantile->bins[bin_of(quantile, plane[i])]++;
            quantile->positive++;
        }
}

static void pick_bin(struct quantile *quantile, const double *plane, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (plane[i] > 0 && bin_of(quantile, plane[i]) == quantile->bin)
            quantile->picked[quantile->picked_count++] = plane[i];
}

static void each_plane(const struct volume *volume, double *plane, struct quantile *quantile,
                       void (*visit)(struct quantile *, const double *, size_t))
{
    struct plane_shape shape = volume_plane_shape(volume, PLANE_AXIAL);
    for (int64_t z = 0; z < shape.count; z++) {
        volume_plane(volume, PLANE_AXIAL, z, plane);
        visit(quantile, plane, (size_t)(shape.rows * shape.columns));
    }
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Two passes: a histogram finds the bin that the wanted rank falls into, then only that bin's
 * values are sorted. */
bool positive_quantile(const struct volume *volume, double greatest, double share, double *value,
                       struct error *err)
{
    *value = 0;
    if (greatest <= 0)
        return true;
    size_t pixels = (size_t)(volume->shape[0] * volume->shape[1]);
    struct quantile quantile = { .greatest = greatest };
    quantile.bins = memory_allocate(BINS, sizeof *quantile.bins, "a histogram", err);
    double *plane = memory_allocate(pixels, sizeof *plane, "a plane", err);
    bool ok = quantile.bins && plane;
    if (ok) {
        each_plane(volume, plane, &quantile, count_bins);
        size_t rank = (size_t)ceil(share * (double)quantile.positive), below = 0;
        rank = rank ? rank - 1 : 0;
        while (below + quantile.bins[quantile.bin] <= rank)
            below += quantile.bins[quantile.bin++];
        quantile.picked = memory_allocate(quantile.bins[quantile.bin], sizeof *quantile.picked,
                                          "a histogram's bin", err);
        ok = quantile.picked;
        if (ok) {
            each_plane(volume, plane, &quantile, pick_bin);
            qsort(quantile.picked, quantile.picked_count, sizeof(double), by_value);
            *value = quantile.picked[rank - below];
        }
    }
    memory_free(quantile.picked);
    memory_free(quantile.bins);
    memory_free(plane);
    return ok;
}
