/* warp and warp_dx on the CPU: channels-last images.
 *
 * The grid is the side whose pixels are sampled, the image the one they are sampled from; warp goes
 * from image to grid, warp_dx back. Along a row of the grid the place in the image moves by a fixed
 * step, so where it is inside is an interval of columns, and nothing else is visited.
 *
 * Back, a pixel of the grid is added to four of the image. So that threads never meet and bits
 * never depend on their number, the image is cut into bands of rows; a band walks all rows of the
 * grid in their order, each over the columns that fall into the band, and keeps what falls there.
 *
 * Places are computed in double: in float, a pixel 1000 columns away is known to 6e-5 of a pixel.
 */
#include "tensor/cpu_parts.h"

#include "tensor/cpu_math.h"

#include "base/parallel.h"
#include "base/simd.h"

#include <math.h>
#include <string.h>

enum { BAND = 64 }; /* rows of the image; 1500 pixels of one channel are then 384 KB */

/* Where the columns of a row of the grid lie in the image. */
struct line {
    double column, row;  /* of the grid's column 0 */
    double across, down; /* from one column to the next */
    int64_t first, last; /* columns that may lie within, as long as none is left out */
};

/* Keeps the columns at which start + step·column is between low and high, and a few more. */
static void keep_between(struct line *line, double start, double step, double low, double high)
{
    double a = (low - start) / step, b = (high - start) / step;
    if (step == 0) {
        line->last = start > low && start < high ? line->last : line->first;
        return;
    }
    double from = fmin(a, b), to = fmax(a, b);
    if (!(from < (double)line->last && to > (double)line->first)) { /* NaN: nowhere */
        line->last = line->first;
        return;
    }
    if (from - 1 > (double)line->first)
        line->first = (int64_t)(from - 1);
    if (to + 2 < (double)line->last)
        line->last = (int64_t)(to + 2);
}

/* Rows of the image: those above `low` and below `high` are of interest. */
static struct line line_of(const float *m, struct shape image, struct shape grid, int64_t row,
                           int64_t low, int64_t high)
{
    double x = -(double)(grid.size[3] - 1) / 2, y = (double)row - (double)(grid.size[2] - 1) / 2;
    double middle_x = (double)(image.size[3] - 1) / 2, middle_y = (double)(image.size[2] - 1) / 2;
    struct line line = { .across = (double)m[0], .down = (double)m[3], .last = grid.size[3] };
    line.column = (double)m[0] * x + (double)m[1] * y + (double)m[2] + middle_x;
    line.row = (double)m[3] * x + (double)m[4] * y + (double)m[5] + middle_y;
    keep_between(&line, line.column, line.across, -1, (double)image.size[3]);
    keep_between(&line, line.row, line.down, (double)low, (double)high);
    return line;
}

/* The pixel above and left of a place, and how much of each of the four goes into it. */
struct place {
    int64_t column, row;
    float weight[4];
};

/* False: outside the image's columns, or not between the rows. */
static inline __attribute__((always_inline)) bool find_place(const struct line *line,
                                                             int64_t column, double width,
                                                             double low, double high,
                                                             struct place *place)
{
    double u = line->column + line->across * (double)column;
    double v = line->row + line->down * (double)column;
    if (!(u > -1 && u < width && v > low && v < high))
        return false;
    double left = floor(u), top = floor(v);
    float x = (float)(u - left), y = (float)(v - top);
    place->column = (int64_t)left;
    place->row = (int64_t)top;
    place->weight[0] = (1 - x) * (1 - y);
    place->weight[1] = x * (1 - y);
    place->weight[2] = (1 - x) * y;
    place->weight[3] = x * y;
    return true;
}

/* Whether all four pixels are in the image, in rows [top, bottom). */
static inline __attribute__((always_inline)) bool
is_inside(const struct place *place, int64_t width, int64_t top, int64_t bottom)
{
    return place->column >= 0 && place->column + 1 < width && place->row >= top &&
           place->row + 1 < bottom;
}

struct job_warp {
    struct shape image, grid;
    const char *from;
    char *to;
    const float *matrix;
    float *scratch;
    size_t each, workers, units, channels;
    bool half_in, half_out;
};

static inline __attribute__((always_inline)) float value_at(const void *values, size_t at,
                                                            bool half)
{
    return half ? cpu_from_bf16(((const uint16_t *)values)[at]) : ((const float *)values)[at];
}

/* ---- from image to grid ---------------------------------------------------------------------- */

static inline __attribute__((always_inline)) void sample(const struct job_warp *job,
                                                         const struct line *line, const void *image,
                                                         bool half, float *restrict out)
{
    size_t channels = job->channels;
    int64_t width = job->image.size[3], height = job->image.size[2];
    for (int64_t c = line->first; c < line->last; c++) {
        struct place place;
        if (!find_place(line, c, (double)width, -1, (double)height, &place))
            continue;
        if (is_inside(&place, width, 0, height)) {
            size_t at = (size_t)(place.row * width + place.column) * channels;
            size_t below = at + (size_t)width * channels;
            for (size_t i = 0; i < channels; i++)
                out[(size_t)c * channels + i] =
                    place.weight[0] * value_at(image, at + i, half) +
                    place.weight[1] * value_at(image, at + channels + i, half) +
                    place.weight[2] * value_at(image, below + i, half) +
                    place.weight[3] * value_at(image, below + channels + i, half);
            continue;
        }
        for (int k = 0; k < 4; k++) {
            int64_t x = place.column + (k & 1), y = place.row + (k >> 1);
            if (x < 0 || x >= width || y < 0 || y >= height)
                continue;
            size_t at = (size_t)(y * width + x) * channels;
            for (size_t i = 0; i < channels; i++)
                out[(size_t)c * channels + i] += place.weight[k] * value_at(image, at + i, half);
        }
    }
}

HOT static void sample_f32(const struct job_warp *job, const struct line *line, const void *image,
                           float *out)
{
    sample(job, line, image, false, out);
}

HOT static void sample_bf16(const struct job_warp *job, const struct line *line, const void *image,
                            float *out)
{
    sample(job, line, image, true, out);
}

/* Row `unit` of all rows of all grids. */
static void sample_row(const struct job_warp *job, size_t unit, float *staged)
{
    size_t n = unit / (size_t)job->grid.size[2], count = (size_t)job->grid.size[3] * job->channels;
    size_t image = (size_t)(job->image.size[2] * job->image.size[3]) * job->channels;
    struct line line = line_of(job->matrix + n * 6, job->image, job->grid,
                               (int64_t)(unit % (size_t)job->grid.size[2]), -1, job->image.size[2]);
    float *out = job->half_out ? staged : (float *)(void *)job->to + unit * count;
    memset(out, 0, count * sizeof *out);
    if (job->half_in)
        sample_bf16(job, &line, (const uint16_t *)(const void *)job->from + n * image, out);
    else
        sample_f32(job, &line, (const float *)(const void *)job->from + n * image, out);
    if (job->half_out)
        cpu_store_bf16((uint16_t *)(void *)job->to + unit * count, out, count);
}

/* ---- from grid to image ---------------------------------------------------------------------- */

/* Rows [top, bottom) of an image, summed up in `band`. */
static inline __attribute__((always_inline)) void spread(const struct job_warp *job,
                                                         const struct line *line, const void *row,
                                                         bool half, int64_t top, int64_t bottom,
                                                         float *restrict band)
{
    size_t channels = job->channels;
    int64_t width = job->image.size[3];
    for (int64_t c = line->first; c < line->last; c++) {
        struct place place;
        if (!find_place(line, c, (double)width, (double)top - 1, (double)bottom, &place))
            continue;
        if (is_inside(&place, width, top, bottom)) {
            float *to = band + (size_t)((place.row - top) * width + place.column) * channels;
            float *below = to + (size_t)width * channels;
            for (size_t i = 0; i < channels; i++) {
                float value = value_at(row, (size_t)c * channels + i, half);
                to[i] += place.weight[0] * value;
                to[channels + i] += place.weight[1] * value;
                below[i] += place.weight[2] * value;
                below[channels + i] += place.weight[3] * value;
            }
            continue;
        }
        for (int k = 0; k < 4; k++) {
            int64_t x = place.column + (k & 1), y = place.row + (k >> 1);
            if (x < 0 || x >= width || y < top || y >= bottom)
                continue;
            float *to = band + (size_t)((y - top) * width + x) * channels;
            for (size_t i = 0; i < channels; i++)
                to[i] += place.weight[k] * value_at(row, (size_t)c * channels + i, half);
        }
    }
}

HOT static void spread_f32(const struct job_warp *job, const struct line *line, const void *row,
                           int64_t top, int64_t bottom, float *band)
{
    spread(job, line, row, false, top, bottom, band);
}

HOT static void spread_bf16(const struct job_warp *job, const struct line *line, const void *row,
                            int64_t top, int64_t bottom, float *band)
{
    spread(job, line, row, true, top, bottom, band);
}

static size_t bands_of(struct shape image)
{
    return (size_t)(image.size[2] + BAND - 1) / BAND;
}

/* Band `unit` of all bands of all images. */
static void spread_band(const struct job_warp *job, size_t unit, float *staged)
{
    size_t n = unit / bands_of(job->image), width = (size_t)job->image.size[3] * job->channels;
    int64_t top = (int64_t)(unit % bands_of(job->image)) * BAND, height = job->image.size[2];
    int64_t bottom = top + BAND < height ? top + BAND : height;
    size_t count = (size_t)(bottom - top) * width, at = (n * (size_t)height + (size_t)top) * width;
    size_t grid_row = (size_t)job->grid.size[3] * job->channels;
    float *band = job->half_out ? staged : (float *)(void *)job->to + at;
    memset(band, 0, count * sizeof *band);
    for (int64_t row = 0; row < job->grid.size[2]; row++) {
        struct line line =
            line_of(job->matrix + n * 6, job->image, job->grid, row, top - 1, bottom);
        size_t from = (n * (size_t)job->grid.size[2] + (size_t)row) * grid_row;
        if (job->half_in)
            spread_bf16(job, &line, (const uint16_t *)(const void *)job->from + from, top, bottom,
                        band);
        else
            spread_f32(job, &line, (const float *)(const void *)job->from + from, top, bottom,
                       band);
    }
    if (job->half_out)
        cpu_store_bf16((uint16_t *)(void *)job->to + at, band, count);
}

/* ---- steps ----------------------------------------------------------------------------------- */

/* Floats that a worker needs to put a result together before it is rounded. */
static size_t staged_size(const struct step *step)
{
    struct shape out = step->out.shape;
    if (step->out.dtype == DTYPE_F32)
        return 0;
    return (size_t)(out.size[3] * out.size[1]) * (step->node->op == OP_WARP ? 1 : BAND);
}

bool cpu_prepare_warp(struct step *step, struct error *err)
{
    (void)err;
    struct shape grid = step->node->op == OP_WARP ? step->out.shape : step->in[0].shape;
    step->scratch = (size_t)parallel_threads() * staged_size(step) * sizeof(float);
    step->flops = 8 * (double)shape_count(grid);
    return true;
}

static struct job_warp job_of(const struct step *step, const struct run *run)
{
    size_t threads = (size_t)parallel_threads();
    const struct view *in = step->in;
    return (struct job_warp){
        .from = (const char *)run->memory[in[0].buffer] +
                in[0].offset * (int64_t)dtype_bytes(in[0].dtype),
        .matrix = (const float *)run->memory[in[1].buffer] + in[1].offset,
        .to = run->memory[step->out.buffer],
        .scratch = run->scratch,
        .each = staged_size(step),
        .workers = threads < run->threads ? threads : run->threads,
        .channels = (size_t)step->out.shape.size[1],
        .half_in = in[0].dtype != DTYPE_F32,
        .half_out = step->out.dtype != DTYPE_F32,
    };
}

static void sample_rows(void *context, size_t worker)
{
    const struct job_warp *job = context;
    size_t begin = job->units * worker / job->workers;
    for (size_t unit = begin; unit < job->units * (worker + 1) / job->workers; unit++)
        sample_row(job, unit, job->scratch + worker * job->each);
}

static void spread_bands(void *context, size_t worker)
{
    const struct job_warp *job = context;
    size_t begin = job->units * worker / job->workers;
    for (size_t unit = begin; unit < job->units * (worker + 1) / job->workers; unit++)
        spread_band(job, unit, job->scratch + worker * job->each);
}

void cpu_run_warp(const struct step *step, const struct run *run)
{
    struct job_warp job = job_of(step, run);
    job.image = step->in[0].shape;
    job.grid = step->out.shape;
    job.units = (size_t)(job.grid.size[0] * job.grid.size[2]);
    parallel_items(job.workers, sample_rows, &job);
}

void cpu_run_warp_dx(const struct step *step, const struct run *run)
{
    struct job_warp job = job_of(step, run);
    job.image = step->out.shape;
    job.grid = step->in[0].shape;
    job.units = (size_t)job.image.size[0] * bands_of(job.image);
    parallel_items(job.workers, spread_bands, &job);
}
