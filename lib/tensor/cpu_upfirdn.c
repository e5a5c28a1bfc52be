/* upfirdn on the CPU: channels-last images, one output row at a time.
 *
 * Each output position along an axis is a short sum over input positions: which ones, and with
 * which coefficients, is worked out once when the plan is made, so zeros that upsampling inserts
 * and padding cost nothing. A filter of rank 1 (or a matrix that is an outer product) is applied
 * separably: the rows that an output row needs are combined into one row of the input's width,
 * which stays in cache, and that row is filtered along its pixels. Other filters take one such
 * pass for each of their rows.
 */
#include "tensor/cpu_parts.h"

#include "tensor/cpu_math.h"

#include "base/arena.h"
#include "base/parallel.h"
#include "base/simd.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The terms of output position o: entries first[o] … first[o+1]-1. */
struct taps {
    int *first, *from;
    float *weight;
};

struct filter {
    struct taps row, *column; /* one table of columns for each row of the filter, or one alone */
    int rows, *filter_row;    /* of each term of `row`: the filter's row; separable: 0 */
    bool separable;
};

/* For taps f[0 … count-1]; `tag` receives which tap a term is of. */
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
            int tap = u->flip ? k : count - 1 - k;
            if (position < 0 || position % u->up[axis] || position / u->up[axis] >= in)
                continue;
            taps.from[terms] = (int)(position / u->up[axis]);
            taps.weight[terms] = f[tap];
            tags[terms++] = tap;
        }
    }
    taps.first[out] = terms;
    if (tag)
        *tag = tags;
    else
        free(tags);
    return taps;
}

static void release_taps(struct taps *taps)
{
    free(taps->first);
    free(taps->from);
    free(taps->weight);
}

/* f = vertical ⊗ horizontal, where it is one: both taken through its largest element. */
static bool factorise(const float *f, int rows, int columns, float *vertical, float *horizontal)
{
    int best = 0;
    for (int i = 0; i < rows * columns; i++)
        best = fabsf(f[i]) > fabsf(f[best]) ? i : best;
    float pivot = f[best];
    for (int i = 0; i < rows; i++)
        vertical[i] = f[i * columns + best % columns];
    for (int i = 0; i < columns; i++)
        horizontal[i] = pivot != 0 ? f[best / columns * columns + i] / pivot : 0;
    for (int i = 0; i < rows * columns; i++)
        if (fabsf(vertical[i / columns] * horizontal[i % columns] - f[i]) > 1e-6f * fabsf(pivot))
            return false;
    return true;
}

bool cpu_prepare_upfirdn(struct step *step, struct error *err)
{
    (void)err;
    const struct node *node = step->node, *constant = node->src[1];
    const float *f = constant->constant.values;
    struct shape shape = constant->shape, x = step->in[0].shape, y = step->out.shape;
    int rows = (int)shape.size[0], columns = (int)shape.size[shape.rank - 1];
    float fill[1] = { (float)constant->constant.fill };
    float *flat = memory_grow(NULL, (size_t)(rows * columns), sizeof *flat);
    for (int i = 0; i < rows * columns; i++) {
        const float *values = f ? f : fill;
        flat[i] = shape.rank == 2 ? values[f ? i : 0]
                                  : values[f ? i / columns : 0] * values[f ? i % columns : 0];
    }
    struct filter *filter = memory_grow(NULL, 1, sizeof *filter);
    *filter = (struct filter){ 0 };
    float *vertical = memory_grow(NULL, (size_t)rows, sizeof *vertical);
    float *horizontal = memory_grow(NULL, (size_t)columns, sizeof *horizontal);
    filter->separable = factorise(flat, rows, columns, vertical, horizontal);
    for (int i = 0; i < rows && !filter->separable; i++)
        vertical[i] = 1;
    filter->rows = filter->separable ? 1 : rows;
    filter->row =
        tabulate(&node->upfirdn, 0, x.size[2], y.size[2], vertical, rows, &filter->filter_row);
    filter->column = memory_grow(NULL, (size_t)filter->rows, sizeof *filter->column);
    for (int i = 0; i < filter->rows; i++)
        filter->column[i] =
            tabulate(&node->upfirdn, 1, x.size[3], y.size[3],
                     filter->separable ? horizontal : flat + i * columns, columns, NULL);
    free(flat);
    free(vertical);
    free(horizontal);
    step->state = filter;
    step->scratch = (size_t)parallel_threads() *
                    (size_t)((2 * x.size[3] + y.size[3]) * x.size[1] + 32) * sizeof(float);
    step->flops = 2 * (double)shape_count(y) * (rows + columns);
    return true;
}

void cpu_dispose_upfirdn(struct step *step)
{
    struct filter *filter = step->state;
    release_taps(&filter->row);
    for (int i = 0; i < filter->rows; i++)
        release_taps(&filter->column[i]);
    free(filter->column);
    free(filter->filter_row);
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

/* Output row `row` of all rows of all images; `work` holds a row of x and one of y. */
static void filter_row(const struct job_upfirdn *job, size_t row, float *work)
{
    const struct step *step = job->step;
    const struct filter *filter = job->filter;
    struct shape x = step->in[0].shape, y = step->out.shape;
    size_t channels = (size_t)x.size[1], width = (size_t)x.size[3] * channels;
    size_t image = row / (size_t)y.size[2], oy = row % (size_t)y.size[2];
    size_t out_width = (size_t)y.size[3] * channels;
    bool f32_in = step->in[0].dtype == DTYPE_F32, f32_out = step->out.dtype == DTYPE_F32;
    float *sum = work, *staged = work + width;
    float *out = f32_out ? (float *)(void *)job->y + row * out_width : staged;
    memset(out, 0, out_width * sizeof *out);
    int first = filter->row.first[oy], last = filter->row.first[oy + 1];
    for (int t = first; t < last; t++) {
        size_t at = (image * (size_t)x.size[2] + (size_t)filter->row.from[t]) * width;
        const float *in = (const float *)(const void *)job->x + at;
        bool fresh = t == first || !filter->separable;
        if (!f32_in) {
            float *part = work + width + out_width;
            cpu_load_bf16(part, (const uint16_t *)(const void *)job->x + at, width);
            in = part;
        }
        (fresh ? set_scaled : add_scaled)(sum, in, filter->row.weight[t], width);
        if (!filter->separable)
            filter_pixels(&filter->column[filter->filter_row[t]], sum, out, y.size[3], channels);
    }
    if (filter->separable && first < last)
        filter_pixels(&filter->column[0], sum, out, y.size[3], channels);
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
    struct shape x = step->in[0].shape, y = step->out.shape;
    struct job_upfirdn job = {
        .step = step,
        .filter = step->state,
        .x = (const char *)run->memory[step->in[0].buffer] +
             step->in[0].offset * (int64_t)dtype_bytes(step->in[0].dtype),
        .y = (char *)run->memory[step->out.buffer],
        .scratch = run->scratch,
        .each = (size_t)((2 * x.size[3] + y.size[3]) * x.size[1] + 32),
        .rows = (size_t)(y.size[0] * y.size[2]),
        .workers =
            (size_t)parallel_threads() < run->threads ? (size_t)parallel_threads() : run->threads,
    };
    parallel_items(job.workers, filter_rows, &job);
}
