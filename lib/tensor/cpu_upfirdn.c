/* upfirdn on the CPU: channels-last images, one output row at a time.
 *
 * Each output position along an axis is a short sum over input positions: which ones, and with
 * which coefficients, is worked out once when the plan is made, so zeros that upsampling inserts
 * and padding cost nothing. A filter of rank 1 (or a matrix that is an outer product) is applied
 * separably: the rows that an output row needs are combined into one row of the input's width,
 * which stays in cache, and that row is filtered along its pixels. Other filters take one such
 * pass for each of their rows, or for all rows that are alike.
 *
 * Along the pixels of a row, all channels of a pixel are one vector. Images themselves have but a
 * few channels: there all pixels of a row are one vector instead. Output pixels up·j + p, j = 0, 1,
 * …, of one phase p take the same taps from input pixels down·(j + shift) + q, so with rows cut
 * into phases a tap is one multiplication of a whole row.
 */
#include "tensor/cpu_parts.h"

#include "tensor/cpu_math.h"
#include "tensor/fir.h"

#include "base/arena.h"
#include "base/parallel.h"
#include "base/simd.h"

#include <stdlib.h>
#include <string.h>

/* The terms of output position o: entries first[o] … first[o+1]-1. */
struct taps {
    int *first, *from;
    float *weight;
};

/* Adds weight · (phase `from` of the input, from pixel `shift` on) to phase `to` of the output. */
struct lane {
    int from, to;
    int64_t shift;
    float weight;
};

struct lanes {
    struct lane *lane;
    int count;
};

enum { NARROW = 16 }; /* channels; with fewer, rows are cut into phases */

struct filter {
    struct taps row, *column; /* one table of columns for each row of the filter, or one alone */
    struct lanes *lanes;      /* the same for narrow images; NULL for others */
    int rows,
        *kind; /* of each term of `row`: the filter's row, the first of those that are alike */
};

/* For taps f[0 … count-1], in the order in which they meet the image; `tag` receives which tap a
 * term is of. */
static struct taps tabulate(const struct upfirdn *u, int axis, int64_t in, int64_t out,
                            const float *f, int count, int **tag)
{
    size_t most = (size_t)out * (size_t)count + 1;
    struct taps taps = { memory_grow(NULL, (size_t)out + 1, sizeof(int)),
                         memory_grow(NULL, most, sizeof(int)),
                         memory_grow(NULL, most, sizeof(float)) };
    int *tags = memory_grow(NULL, most, sizeof(int)), terms = 0;
    for (int64_t o = 0; o < out; o++) {
        taps.first[o] = terms;
        for (int k = 0; k < count; k++) {
            int64_t position = o * u->down[axis] + k - u->pad[axis][0];
            if (position < 0 || position % u->up[axis] || position / u->up[axis] >= in)
                continue;
            taps.from[terms] = (int)(position / u->up[axis]);
            taps.weight[terms] = f[k];
            tags[terms++] = k;
        }
    }
    taps.first[out] = terms;
    if (tag)
        *tag = tags;
    else
        free(tags);
    return taps;
}

/* Along the columns. */
static struct lanes cut_into_lanes(const struct upfirdn *u, const float *f, int count)
{
    int up = u->up[1], down = u->down[1];
    struct lanes lanes = { memory_grow(NULL, (size_t)(count * up), sizeof(struct lane)), 0 };
    for (int to = 0; to < up; to++)
        for (int k = 0; k < count; k++) {
            int position = to * down + k - u->pad[1][0]; /* of the first output of the phase */
            if (position % up)
                continue;
            int pixel = position / up, from = (pixel % down + down) % down;
            lanes.lane[lanes.count++] = (struct lane){
                .from = from, .to = to, .shift = (pixel - from) / down, .weight = f[k]
            };
        }
    return lanes;
}

static void release_taps(struct taps *taps)
{
    free(taps->first);
    free(taps->from);
    free(taps->weight);
}

/* The first of the filter's rows that is like row i. Separable: they are all alike but for a
 * factor, which is the term's weight. */
static int first_alike(const struct fir *fir, int i)
{
    size_t bytes = (size_t)fir->columns * sizeof(float);
    int first = 0;
    while (!fir->vertical &&
           memcmp(fir->matrix + first * fir->columns, fir->matrix + i * fir->columns, bytes) != 0)
        first++;
    return first;
}

/* Of each output row brings terms together whose filter rows are alike: their pixels are added up
 * first and filtered once, which saves a radial filter half of its work. */
static void group_alike(struct taps *taps, int *kind, const struct fir *fir, int64_t out)
{
    for (int64_t o = 0; o < out; o++)
        for (int t = taps->first[o]; t < taps->first[o + 1]; t++) {
            int from = taps->from[t], own = first_alike(fir, kind[t]), at = t;
            float weight = taps->weight[t];
            for (; at > taps->first[o] && kind[at - 1] > own; at--) {
                taps->from[at] = taps->from[at - 1];
                taps->weight[at] = taps->weight[at - 1];
                kind[at] = kind[at - 1];
            }
            taps->from[at] = from;
            taps->weight[at] = weight;
            kind[at] = own;
        }
}

/* A worker's: the combined row, the output row where it is rounded, an input row as float; and
 * the first two cut into phases. */
static size_t scratch_floats(const struct step *step)
{
    struct shape x = step->in[0].shape, y = step->out.shape;
    return (size_t)((3 * x.size[3] + 2 * y.size[3]) * x.size[1] + 32);
}

bool cpu_prepare_upfirdn(struct step *step, struct error *err)
{
    (void)err;
    const struct node *node = step->node;
    struct shape x = step->in[0].shape, y = step->out.shape;
    struct fir fir = fir_of(node);
    struct filter *filter = memory_grow(NULL, 1, sizeof *filter);
    *filter = (struct filter){ .rows = fir.vertical ? 1 : fir.rows };
    float *ones = memory_grow(NULL, (size_t)fir.rows, sizeof *ones);
    for (int i = 0; i < fir.rows; i++)
        ones[i] = 1;
    filter->row = tabulate(&node->upfirdn, 0, x.size[2], y.size[2],
                           fir.vertical ? fir.vertical : ones, fir.rows, &filter->kind);
    group_alike(&filter->row, filter->kind, &fir, y.size[2]);
    filter->column = memory_grow(NULL, (size_t)filter->rows, sizeof *filter->column);
    if (x.size[1] < NARROW)
        filter->lanes = memory_grow(NULL, (size_t)filter->rows, sizeof *filter->lanes);
    for (int i = 0; i < filter->rows; i++) {
        const float *along = fir.vertical ? fir.horizontal : fir.matrix + i * fir.columns;
        filter->column[i] =
            tabulate(&node->upfirdn, 1, x.size[3], y.size[3], along, fir.columns, NULL);
        if (filter->lanes)
            filter->lanes[i] = cut_into_lanes(&node->upfirdn, along, fir.columns);
    }
    step->state = filter;
    step->scratch = (size_t)parallel_threads() * scratch_floats(step) * sizeof(float);
    step->flops = 2 * (double)shape_count(y) * (fir.rows + fir.columns);
    free(ones);
    fir_release(&fir);
    return true;
}

void cpu_dispose_upfirdn(struct step *step)
{
    struct filter *filter = step->state;
    release_taps(&filter->row);
    for (int i = 0; i < filter->rows; i++) {
        release_taps(&filter->column[i]);
        if (filter->lanes)
            free(filter->lanes[i].lane);
    }
    free(filter->lanes);
    free(filter->column);
    free(filter->kind);
    free(filter);
}

HOT static void add_scaled(float *restrict out, const float *in, float weight, size_t count)
{
    for (size_t i = 0; i < count; i++)
        out[i] += weight * in[i];
}

HOT static void set_scaled(float *restrict out, const float *in, float weight, size_t count)
{
    for (size_t i = 0; i < count; i++)
        out[i] = weight * in[i];
}

HOT void cpu_load_bf16(float *restrict out, const uint16_t *in, size_t count)
{
    for (size_t i = 0; i < count; i++)
        out[i] = cpu_from_bf16(in[i]);
}

HOT void cpu_store_bf16(uint16_t *restrict out, const float *in, size_t count)
{
    for (size_t i = 0; i < count; i++)
        out[i] = cpu_bf16(in[i]);
}

struct job_upfirdn {
    const struct step *step;
    const struct filter *filter;
    const char *x;
    char *y;
    float *scratch;
    size_t each, workers;
    size_t rows; /* of all images */
};

/* Filters the combined row along its pixels and adds it to the output row: two taps at a time, so
 * that each output value is read and written half as often. */
HOT static void filter_pixels(const struct taps *taps, const float *row, float *restrict out,
                              int64_t width, size_t channels)
{
    for (int64_t o = 0; o < width; o++, out += channels)
        for (int t = taps->first[o]; t < taps->first[o + 1]; t += 2) {
            bool pair = t + 1 < taps->first[o + 1];
            float first = taps->weight[t], second = pair ? taps->weight[t + 1] : 0;
            const float *a = row + (size_t)taps->from[t] * channels;
            const float *b = pair ? row + (size_t)taps->from[t + 1] * channels : a;
            for (size_t i = 0; i < channels; i++)
                out[i] += first * a[i] + second * b[i];
        }
}

/* Copies count pixels; from one to the next are so many floats on either side. */
HOT static void copy_pixels(float *restrict to, size_t to_step, const float *from, size_t from_step,
                            size_t count, size_t channels)
{
    for (size_t c = 0; c < channels; c++) /* few channels, many pixels */
        for (size_t i = 0; i < count; i++)
            to[i * to_step + c] = from[i * from_step + c];
}

/* Phase `phase` of `width` pixels: how many, and how many are in the phases before it. */
static int64_t phase_size(int64_t width, int phases, int phase)
{
    return (width - phase + phases - 1) / phases;
}

static int64_t phase_begin(int64_t width, int phases, int phase)
{
    int64_t before = 0;
    for (int i = 0; i < phase; i++)
        before += phase_size(width, phases, i);
    return before;
}

/* As filter_pixels, from and to rows that are cut into phases. */
static void filter_lanes(const struct lanes *lanes, const struct step *step, const float *row,
                         float *out)
{
    const struct upfirdn *u = &step->node->upfirdn;
    int64_t width = step->in[0].shape.size[3], out_width = step->out.shape.size[3];
    int64_t channels = step->out.shape.size[1];
    for (const struct lane *lane = lanes->lane; lane < lanes->lane + lanes->count; lane++) {
        int64_t size = phase_size(width, u->down[1], lane->from);
        int64_t last = phase_size(out_width, u->up[1], lane->to);
        int64_t first = lane->shift < 0 ? -lane->shift : 0;
        last = last < size - lane->shift ? last : size - lane->shift;
        int64_t from = phase_begin(width, u->down[1], lane->from) + lane->shift + first;
        int64_t to = phase_begin(out_width, u->up[1], lane->to) + first;
        if (first < last)
            add_scaled(out + to * channels, row + from * channels, lane->weight,
                       (size_t)((last - first) * channels));
    }
}

/* A row of pixels, cut into phases; back where `joined`. */
static void cut_row(float *to, const float *from, int64_t width, int phases, size_t channels,
                    bool joined)
{
    for (int phase = 0; phase < phases; phase++) {
        size_t at = (size_t)phase_begin(width, phases, phase) * channels;
        size_t count = (size_t)phase_size(width, phases, phase);
        size_t step = (size_t)phases * channels, apart = (size_t)phase * channels;
        if (joined)
            copy_pixels(to + apart, step, from + at, channels, count, channels);
        else
            copy_pixels(to + at, channels, from + apart, step, count, channels);
    }
}

/* Filters a combined row along its pixels and adds it to `out`: the output row or, of narrow
 * images, its phases. */
static void filter_along(const struct step *step, int filter_row, const float *sum, float *parts,
                         float *out)
{
    const struct filter *filter = step->state;
    size_t channels = (size_t)step->out.shape.size[1];
    int down = step->node->upfirdn.down[1];
    if (!filter->lanes) {
        filter_pixels(&filter->column[filter_row], sum, out, step->out.shape.size[3], channels);
        return;
    }
    if (down > 1)
        cut_row(parts, sum, step->in[0].shape.size[3], down, channels, false);
    filter_lanes(&filter->lanes[filter_row], step, down > 1 ? parts : sum, out);
}

/* Output row `row` of all rows of all images; `work` holds scratch_floats. */
static void filter_row(const struct job_upfirdn *job, size_t row, float *work)
{
    const struct step *step = job->step;
    const struct filter *filter = job->filter;
    struct shape x = step->in[0].shape, y = step->out.shape;
    size_t channels = (size_t)x.size[1], width = (size_t)x.size[3] * channels;
    size_t image = row / (size_t)y.size[2], oy = row % (size_t)y.size[2];
    size_t out_width = (size_t)y.size[3] * channels;
    bool f32_in = step->in[0].dtype == DTYPE_F32, f32_out = step->out.dtype == DTYPE_F32;
    bool in_phases = filter->lanes && step->node->upfirdn.up[1] > 1;
    float *sum = work, *part = sum + width, *parts = part + width, *staged = parts + width;
    float *out = f32_out ? (float *)(void *)job->y + row * out_width : staged;
    float *to = in_phases ? staged + out_width : out;
    memset(to, 0, out_width * sizeof *to);
    int first = filter->row.first[oy], last = filter->row.first[oy + 1];
    for (int t = first; t < last; t++) {
        size_t at = (image * (size_t)x.size[2] + (size_t)filter->row.from[t]) * width;
        const float *in = (const float *)(const void *)job->x + at;
        bool fresh = t == first || filter->kind[t] != filter->kind[t - 1];
        bool whole = t + 1 == last || filter->kind[t] != filter->kind[t + 1];
        if (!f32_in) {
            cpu_load_bf16(part, (const uint16_t *)(const void *)job->x + at, width);
            in = part;
        }
        (fresh ? set_scaled : add_scaled)(sum, in, filter->row.weight[t], width);
        if (whole)
            filter_along(step, filter->kind[t], sum, parts, to);
    }
    if (in_phases)
        cut_row(out, to, y.size[3], step->node->upfirdn.up[1], channels, true);
    if (!f32_out)
        cpu_store_bf16((uint16_t *)(void *)job->y + row * out_width, out, out_width);
}

static void filter_rows(void *context, size_t worker)
{
    const struct job_upfirdn *job = context;
    size_t begin = job->rows * worker / job->workers, end = job->rows * (worker + 1) / job->workers;
    for (size_t row = begin; row < end; row++)
        filter_row(job, row, job->scratch + worker * job->each);
}

void cpu_run_upfirdn(const struct step *step, const struct run *run)
{
    struct shape y = step->out.shape;
    struct job_upfirdn job = {
        .step = step,
        .filter = step->state,
        .x = (const char *)run->memory[step->in[0].buffer] +
             step->in[0].offset * (int64_t)dtype_bytes(step->in[0].dtype),
        .y = (char *)run->memory[step->out.buffer],
        .scratch = run->scratch,
        .each = scratch_floats(step),
        .rows = (size_t)(y.size[0] * y.size[2]),
        .workers =
            (size_t)parallel_threads() < run->threads ? (size_t)parallel_threads() : run->threads,
    };
    parallel_items(job.workers, filter_rows, &job);
}
