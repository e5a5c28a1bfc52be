/* Resampling of images; see resample.h. */
#define HERE at
#include "nn/resample.h"

#include <math.h>
#include <stdlib.h>

struct node *nn_max_pool2_at(struct site at, struct node *x)
{
    int64_t n = dim(x, 0), c = dim(x, 1), h = dim(x, 2), w = dim(x, 3);
    if (h % 2 || w % 2)
        bug_at(at.file, at.line, "max_pool2 of %lld×%lld pixels", (long long)h, (long long)w);
    struct node *squares = t_reshape(x, SHAPE(n, c, h / 2, 2, w / 2, 2));
    return t_reshape(t_max(squares, AXES(3, 5)), SHAPE(n, c, h / 2, w / 2));
}

/* A separable filter of two equal taps. */
static struct node *box(struct site at, struct graph *graph, float tap)
{
    return t_constant(graph, SHAPE(2), ((float[]){ tap, tap }));
}

struct node *nn_average_pool2_at(struct site at, struct node *x)
{
    if (dim(x, 2) % 2 || dim(x, 3) % 2)
        bug_at(at.file, at.line, "average_pool2 of %lld×%lld pixels", (long long)dim(x, 2),
               (long long)dim(x, 3));
    return t_upfirdn(x, box(at, x->graph, 0.5f), .down = 2);
}

/* Pixels from, from + stride, …, `count` of them along an axis, as a view: of the pairs that begin
 * at an even distance, the first or the second. The last window of stride 2 ends with the first of
 * a pair whose second may lie outside; so what is odd is taken as the second of a pair. */
static struct node *every(struct site at, struct node *x, int axis, int64_t from, int stride,
                          int64_t count)
{
    if (stride == 1)
        return t_slice(x, axis, from, from + count);
    int64_t begin = from > 0 ? from - 1 : 0, which = from - begin;
    struct shape pairs = x->shape, one;
    pairs.rank++;
    for (int i = pairs.rank - 1; i > axis + 1; i--)
        pairs.size[i] = pairs.size[i - 1];
    pairs.size[axis] = count;
    pairs.size[axis + 1] = 2;
    one = x->shape;
    one.size[axis] = count;
    struct node *y = t_reshape(t_slice(x, axis, begin, begin + 2 * count), pairs);
    return t_reshape(t_slice(y, axis + 1, which, which + 1), one);
}

/* The edge once more on each side: then no pixel of a padded window is one that is not in it. */
static struct node *repeat_edges(struct site at, struct node *x, int axis)
{
    int64_t last = dim(x, axis) - 1;
    return t_concat(axis, t_slice(x, axis, 0, 1), x, t_slice(x, axis, last, last + 1));
}

struct node *nn_max_pool3_at(struct site at, struct node *x, struct max_pool_options options)
{
    int stride = options.stride ? options.stride : 1;
    if (stride > 2 || options.pad > 1 || dim(x, 2) + 2 * options.pad < 3 ||
        dim(x, 3) + 2 * options.pad < 3)
        bug_at(at.file, at.line, "max_pool3 of %lld×%lld pixels, stride %d, padded by %d",
               (long long)dim(x, 2), (long long)dim(x, 3), stride, options.pad);
    if (options.pad)
        x = repeat_edges(at, repeat_edges(at, x, 2), 3);
    int64_t rows = (dim(x, 2) - 3) / stride + 1, columns = (dim(x, 3) - 3) / stride + 1;
    struct node *most = NULL;
    for (int i = 0; i < 9; i++) {
        struct node *row = every(at, x, 2, i / 3, stride, rows);
        struct node *shifted = every(at, row, 3, i % 3, stride, columns); /* (N,C,rows,columns) */
        most = most ? t_maximum(most, shifted) : shifted;
    }
    return most;
}

/* 1 over how many of the three pixels around each of `count` there are. */
static struct node *share_of_three(struct site at, struct graph *graph, int64_t count)
{
    float *sixths = calloc((size_t)count, sizeof *sixths);
    CHECK(sixths, "out of memory: %lld pixels", (long long)count);
    for (int64_t i = 0; i < count; i++)
        sixths[i] = 6 / (float)(1 + (i > 0) + (i + 1 < count));
    struct node *table = t_constant(graph, SHAPE(count), sixths);
    free(sixths);
    return t_scale(table, 1 / 6.0);
}

struct node *nn_average_pool3_at(struct site at, struct node *x)
{
    struct node *ones = t_constant(x->graph, SHAPE(3), ((float[]){ 1, 1, 1 }));
    struct node *sum = t_upfirdn(x, ones, .pad = 1);
    struct node *rows = t_reshape(share_of_three(at, x->graph, dim(x, 2)), SHAPE(dim(x, 2), 1));
    return t_mul(sum, t_mul(rows, share_of_three(at, x->graph, dim(x, 3))));
}

struct node *nn_nearest2_at(struct site at, struct node *x)
{
    return t_upfirdn(x, box(at, x->graph, 1), .up = 2, .pads = { { 1, 0 }, { 1, 0 } });
}

/* What the filter's zeros beyond the edge take from the first and last of `count` pixels, given
 * back: 4/3 there, 1 elsewhere. */
static struct node *edge_gain(struct site at, struct graph *graph, int64_t count)
{
    float *gain = calloc((size_t)count, sizeof *gain);
    CHECK(gain, "out of memory: %lld pixels", (long long)count);
    for (int64_t i = 0; i < count; i++)
        gain[i] = 3;
    gain[0] = gain[count - 1] = 4;
    struct node *table = t_constant(graph, SHAPE(count), gain);
    free(gain);
    return t_scale(table, 1 / 3.0);
}

/* Each new pixel is 3/4 of the nearest old one and 1/4 of the next: the filter [1,3,3,1]/4 over
 * zeros put in between. Clamping at an edge gives the nearest pixel the whole weight. */
struct node *nn_bilinear2_at(struct site at, struct node *x)
{
    struct node *y = nn_upsample(x); /* (N,C,2H,2W) */
    struct node *rows = t_reshape(edge_gain(at, x->graph, dim(y, 2)), SHAPE(dim(y, 2), 1));
    return t_mul(y, t_mul(rows, edge_gain(at, x->graph, dim(y, 3))));
}

/* Fills row i of a matrix (to,from) with what element i of the result takes of the old ones. */
typedef void fill_row(int64_t i, int64_t from, int64_t to, float *row);

static void fill_bilinear(int64_t i, int64_t from, int64_t to, float *row)
{
    double at = ((double)i + 0.5) * (double)from / (double)to - 0.5;
    at = at < 0 ? 0 : at;
    int64_t below = (int64_t)at < from - 1 ? (int64_t)at : from - 1;
    int64_t above = below + 1 < from ? below + 1 : below;
    double share = at - (double)below < 1 ? at - (double)below : 1;
    row[below] += (float)(1 - share);
    row[above] += (float)share;
}

/* Keys' kernel, a = -1/2. */
static double cubic(double x)
{
    x = fabs(x);
    if (x < 1)
        return (1.5 * x - 2.5) * x * x + 1;
    return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
}

static void fill_bicubic(int64_t i, int64_t from, int64_t to, float *row)
{
    double step = (double)from / (double)to, stretch = step > 1 ? step : 1, sum = 0;
    double centre = ((double)i + 0.5) * step, reach = 2 * stretch;
    int64_t begin = centre - reach > 0 ? (int64_t)(centre - reach + 0.5) : 0;
    int64_t end = (int64_t)(centre + reach + 0.5) < from ? (int64_t)(centre + reach + 0.5) : from;
    for (int64_t k = begin; k < end; k++)
        sum += cubic(((double)k - centre + 0.5) / stretch);
    for (int64_t k = begin; k < end; k++)
        row[k] = (float)(cubic(((double)k - centre + 0.5) / stretch) / sum);
}

static void fill_bins(int64_t i, int64_t from, int64_t to, float *row)
{
    int64_t begin = i * from / to, end = ((i + 1) * from + to - 1) / to;
    for (int64_t k = begin; k < end; k++)
        row[k] = 1 / (float)(end - begin);
}

/* x (…,from) → (…,to), by rows that `fill` makes. */
static struct node *resize_last(struct site at, struct node *x, int64_t to, fill_row *fill)
{
    int64_t from = dim(x, -1);
    if (from == to)
        return x;
    float *matrix = calloc((size_t)(from * to), sizeof *matrix);
    CHECK(matrix, "out of memory: %lld × %lld", (long long)from, (long long)to);
    for (int64_t i = 0; i < to; i++)
        fill(i, from, to, matrix + i * from);
    struct node *table = t_constant(x->graph, SHAPE(to, from), matrix);
    free(matrix);
    return t_matmul(x, t_transpose(table));
}

struct node *nn_bilinear_at(struct site at, struct node *x, int64_t height, int64_t width)
{
    struct node *y = t_transpose(resize_last(at, x, width, fill_bilinear));
    return t_transpose(resize_last(at, y, height, fill_bilinear));
}

struct node *nn_bicubic_at(struct site at, struct node *x, int64_t height, int64_t width)
{
    struct node *y = t_transpose(resize_last(at, x, width, fill_bicubic));
    return t_transpose(resize_last(at, y, height, fill_bicubic));
}

struct node *nn_adaptive_pool_at(struct site at, struct node *x, int64_t size)
{
    struct node *y = t_transpose(resize_last(at, x, size, fill_bins));
    return t_transpose(resize_last(at, y, size, fill_bins));
}

struct node *nn_filter1331_at(struct site at, struct graph *graph, double gain)
{
    float unit = (float)(gain / 8);
    return t_constant(graph, SHAPE(4), ((float[]){ unit, 3 * unit, 3 * unit, unit }));
}

struct node *nn_upsample_at(struct site at, struct node *x)
{
    return t_upfirdn(x, nn_filter1331(x->graph, 2), .up = 2, .pads = { { 2, 1 }, { 2, 1 } });
}

struct node *nn_downsample_at(struct site at, struct node *x)
{
    return t_upfirdn(x, nn_filter1331(x->graph, 1), .down = 2, .pad = 1);
}

struct node *nn_blur_at(struct site at, struct node *x)
{
    static const float taps[] = { 0.25F, 0.5F, 0.25F };
    return t_upfirdn(x, t_constant(x->graph, SHAPE(3), taps), .pad = 1);
}

/* sums (O,I,k+1,k+1): of the kernels' 2×2 neighbours, zeros beyond their edges. */
static struct node *conv_boxed(struct site at, struct node *x, struct node *w, int up,
                               bool mirrored)
{
    int pad = (int)dim(w, 2) / 2;
    struct node *sums = t_upfirdn(w, box(at, x->graph, up == 2 ? 1 : 0.5F), .pad = 1);
    if (up != 2)
        return t_conv(x, sums, .stride = 2, .pad = pad);
    sums = mirrored ? sums : t_flip(sums, AXES(2, 3)); /* which a transposed convolution mirrors */
    return t_conv_transpose(x, t_permute(sums, 1, 0, 2, 3), .stride = 2, .pad = pad);
}

struct node *nn_conv_resampled_at(struct site at, struct node *x, struct node *w,
                                  struct resample_options options)
{
    int size = (int)dim(w, 2), up = options.up ? options.up : 1;
    int down = options.down ? options.down : 1;
    if (up * down > 2 || (size != 1 && size != 3) || (up == 2 && size == 1 && !options.box))
        bug_at(at.file, at.line, "conv_resampled: up %d, down %d, kernel %d", up, down, size);
    if (options.box && up * down == 2)
        return conv_boxed(at, x, w, up, options.mirrored);
    if (up == 2) { /* the sum of the filter is 2 along each axis: half of the pixels are zeros */
        struct node *y = t_conv_transpose(x, t_permute(w, 1, 0, 2, 3), .stride = 2);
        return t_upfirdn(y, nn_filter1331(x->graph, 2), .pad = 1); /* of (N,O,2H+1,2W+1) */
    }
    if (down == 2 && size == 1)
        return t_conv(nn_downsample(x), w);
    if (down == 2)
        return t_conv(t_upfirdn(x, nn_filter1331(x->graph, 1), .pad = 2), w, .stride = 2);
    return t_conv(x, w, .pad = size / 2);
}
