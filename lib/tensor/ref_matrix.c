/* Reference kernels of products with sums: matmul, the convolutions, upfirdn, warp. */
#include "tensor/ref_kernels.h"

#include <math.h>
#include <string.h>

void ref_matmul(const struct call *call)
{
    const struct node *y = call->node;
    const double *a = call->in[0], *b = call->in[1];
    double *out = call->out;
    int64_t rows = dim(y, -2), columns = dim(y, -1);
    int64_t inner = dim(y->src[0], y->transpose.a ? -2 : -1);
    int64_t batches = (int64_t)shape_count(y->shape) / (rows * columns);
    for (int64_t n = 0; n < batches; n++, a += rows * inner, b += inner * columns)
        for (int64_t i = 0; i < rows; i++)
            for (int64_t j = 0; j < columns; j++) {
                double sum = 0;
                for (int64_t k = 0; k < inner; k++)
                    sum += a[y->transpose.a ? k * rows + i : i * inner + k] *
                           b[y->transpose.b ? j * inner + k : k * columns + j];
                *out++ = sum;
            }
}

static int64_t offset4(struct shape s, int64_t a, int64_t b, int64_t c, int64_t d)
{
    return ((a * s.size[1] + b) * s.size[2] + c) * s.size[3] + d;
}

/* The row or column of x that tap k meets for output o; -1 where it falls into the padding. */
static int64_t met(const struct conv *conv, int i, int64_t o, int64_t k, int64_t size)
{
    int64_t position = o * conv->stride[i] + k * conv->dilation[i] - conv->pad[i][0];
    return position >= 0 && position < size ? position : -1;
}

/* All three convolutions are one sum over the terms x·w·y in which an output pixel y meets an
 * image pixel x through a tap w. Of the three arrays one is the result, and gathers for each term
 * the product of the other two. */
enum factor { FACTOR_X, FACTOR_W, FACTOR_Y };

struct trilinear {
    const struct conv *conv;
    struct shape shape[3]; /* of x, w, y */
    const double *value[3];
    double *result;
    enum factor target;
};

static void add_term(const struct trilinear *t, const int64_t at[3])
{
    enum factor first = t->target == FACTOR_X ? FACTOR_W : FACTOR_X;
    enum factor second = t->target == FACTOR_Y ? FACTOR_W : FACTOR_Y;
    t->result[at[t->target]] += t->value[first][at[first]] * t->value[second][at[second]];
}

/* The terms of one image n and one output channel o. */
static void add_channel(const struct trilinear *t, int64_t n, int64_t o)
{
    struct shape x = t->shape[FACTOR_X], w = t->shape[FACTOR_W], y = t->shape[FACTOR_Y];
    int64_t first = o / (w.size[0] / t->conv->groups) * w.size[1]; /* channel of its group */
    for (int64_t c = 0; c < w.size[1]; c++)
        for (int64_t ky = 0; ky < w.size[2]; ky++)
            for (int64_t kx = 0; kx < w.size[3]; kx++)
                for (int64_t oy = 0; oy < y.size[2]; oy++)
                    for (int64_t ox = 0; ox < y.size[3]; ox++) {
                        int64_t row = met(t->conv, 0, oy, ky, x.size[2]);
                        int64_t column = met(t->conv, 1, ox, kx, x.size[3]);
                        if (row >= 0 && column >= 0)
                            add_term(t, (int64_t[]){ offset4(x, n, first + c, row, column),
                                                     offset4(w, o, c, ky, kx),
                                                     offset4(y, n, o, oy, ox) });
                    }
}

/* `role` says which factor each source is; the result is the one that is left. */
static void convolve(const struct call *call, enum factor role0, enum factor role1)
{
    const struct node *node = call->node;
    struct trilinear t = { .conv = &node->conv, .result = call->out };
    t.target = (enum factor)(FACTOR_X + FACTOR_W + FACTOR_Y - role0 - role1);
    t.shape[t.target] = node->shape;
    t.shape[role0] = node->src[0]->shape;
    t.shape[role1] = node->src[1]->shape;
    t.value[role0] = call->in[0];
    t.value[role1] = call->in[1];
    memset(t.result, 0, shape_count(node->shape) * sizeof *t.result);
    for (int64_t n = 0; n < t.shape[FACTOR_Y].size[0]; n++)
        for (int64_t o = 0; o < t.shape[FACTOR_Y].size[1]; o++)
            add_channel(&t, n, o);
}

void ref_conv(const struct call *call)
{
    convolve(call, FACTOR_X, FACTOR_W);
}

void ref_conv_dx(const struct call *call)
{
    convolve(call, FACTOR_Y, FACTOR_W);
}

void ref_conv_dw(const struct call *call)
{
    convolve(call, FACTOR_X, FACTOR_Y);
}

/* The pixel of x that stands at `position` of the upsampled, padded image; -1 for a zero. */
static int64_t source_pixel(const struct upfirdn *u, int i, int64_t position, int64_t size)
{
    position -= u->pad[i][0];
    if (position < 0 || position >= size * u->up[i] || position % u->up[i])
        return -1;
    return position / u->up[i];
}

/* One pixel of the result. x and its shape: of one channel. */
static double filtered(const struct node *y, const double *x, const double *filter, int64_t oy,
                       int64_t ox)
{
    const struct upfirdn *u = &y->upfirdn;
    struct shape shape = y->src[1]->shape;
    bool separable = shape.rank == 1;
    int64_t taps[2] = { shape.size[0], shape.size[separable ? 0 : 1] };
    int64_t height = dim(y->src[0], 2), width = dim(y->src[0], 3);
    double sum = 0;
    for (int64_t ky = 0; ky < taps[0]; ky++) {
        int64_t row = source_pixel(u, 0, oy * u->down[0] + ky, height);
        for (int64_t kx = 0; row >= 0 && kx < taps[1]; kx++) {
            int64_t column = source_pixel(u, 1, ox * u->down[1] + kx, width);
            int64_t fy = u->flip ? ky : taps[0] - 1 - ky, fx = u->flip ? kx : taps[1] - 1 - kx;
            if (column >= 0)
                sum += x[row * width + column] *
                       (separable ? filter[fy] * filter[fx] : filter[fy * taps[1] + fx]);
        }
    }
    return sum;
}

void ref_upfirdn(const struct call *call)
{
    const struct node *y = call->node;
    const double *x = call->in[0];
    double *out = call->out;
    int64_t channels = dim(y, 0) * dim(y, 1), size = dim(y->src[0], 2) * dim(y->src[0], 3);
    for (int64_t c = 0; c < channels; c++, x += size)
        for (int64_t oy = 0; oy < dim(y, 2); oy++)
            for (int64_t ox = 0; ox < dim(y, 3); ox++)
                *out++ = filtered(y, x, call->in[1], oy, ox);
}

/* The four pixels of an image that a pixel of the grid is sampled from, and their weights; beyond
 * the image the weight is 0 and the pixel any. */
struct sample {
    int64_t at[4];
    double weight[4];
};

static struct sample sample_at(const double *m, struct shape image, struct shape grid, int64_t row,
                               int64_t column)
{
    double o[2] = { (double)column - (double)(grid.size[3] - 1) / 2,
                    (double)row - (double)(grid.size[2] - 1) / 2 };
    double u = m[0] * o[0] + m[1] * o[1] + m[2] + (double)(image.size[3] - 1) / 2;
    double v = m[3] * o[0] + m[4] * o[1] + m[5] + (double)(image.size[2] - 1) / 2;
    struct sample sample = { 0 };
    for (int k = 0; k < 4; k++) {
        double x = floor(u) + k % 2, y = floor(v) + k / 2;
        if (!(x >= 0 && y >= 0 && x < (double)image.size[3] && y < (double)image.size[2]))
            continue;
        sample.at[k] = (int64_t)y * image.size[3] + (int64_t)x;
        sample.weight[k] = (1 - fabs(u - x)) * (1 - fabs(v - y));
    }
    return sample;
}

/* Calls `add` for each pixel of the grid and each pixel of the image that it is sampled from. */
static void each_sample(const struct call *call, struct shape image, struct shape grid,
                        void (*add)(const struct call *call, int64_t image_at, int64_t grid_at,
                                    double weight))
{
    const double *matrix = call->in[1];
    int64_t image_size = image.size[2] * image.size[3], grid_at = 0;
    for (int64_t c = 0; c < grid.size[0] * grid.size[1]; c++)
        for (int64_t row = 0; row < grid.size[2]; row++)
            for (int64_t column = 0; column < grid.size[3]; column++, grid_at++) {
                const double *m = matrix + c / grid.size[1] * 6;
                struct sample sample = sample_at(m, image, grid, row, column);
                for (int k = 0; k < 4; k++)
                    add(call, c * image_size + sample.at[k], grid_at, sample.weight[k]);
            }
}

static void add_to_grid(const struct call *call, int64_t image_at, int64_t grid_at, double weight)
{
    ((double *)call->out)[grid_at] += weight * ((const double *)call->in[0])[image_at];
}

static void add_to_image(const struct call *call, int64_t image_at, int64_t grid_at, double weight)
{
    ((double *)call->out)[image_at] += weight * ((const double *)call->in[0])[grid_at];
}

void ref_warp(const struct call *call)
{
    struct shape image = call->node->src[0]->shape, grid = call->node->shape;
    memset(call->out, 0, shape_count(grid) * sizeof(double));
    each_sample(call, image, grid, add_to_grid);
}

void ref_warp_dx(const struct call *call)
{
    struct shape image = call->node->shape, grid = call->node->src[0]->shape;
    memset(call->out, 0, shape_count(image) * sizeof(double));
    each_sample(call, image, grid, add_to_image);
}
