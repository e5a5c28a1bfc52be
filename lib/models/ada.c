/* Geometric augmentation along the axes; see ada.h. S is the image's side; the reflected image
 * has P = 3S-2 pixels, doubled 2P; 2(S+6) positions are sampled, and halved to S. */
#include "models/ada.h"

#include "base/arena.h"
#include "tensor/compose.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* Daubechies' least asymmetric wavelet of order 6, low pass, its sum √2. */
static const double sym6[] = {
    0.015404109327027373,  0.0034907120842174702, -0.11799011114819057,  -0.048311742585633,
    0.4910559419267466,    0.787641141030194,     0.3379294217276218,    -0.07263752278646252,
    -0.021060292512300564, 0.04472490177066578,   0.0017677118642428036, -0.007800708325034148,
};
enum { TAPS = sizeof sym6 / sizeof *sym6, EXTRA = 2 * (TAPS / 4) }; /* positions beyond, doubled */

static const double WHOLE = 0.125, FRACTION = 0.125, SCALE = 0.2;

/* ---- constant matrices ----------------------------------------------------------------------- */

/* (2P,S): reflection, then doubling. Zeros stand between pixels, six are put before, the filter is
 * convolved, its gain 2. */
static struct node *doubling(struct graph *graph, int side)
{
    int padded = 3 * side - 2;
    float *matrix = memory_grow(NULL, (size_t)(2 * padded * side), sizeof *matrix);
    for (int i = 0; i < 2 * padded * side; i++)
        matrix[i] = 0;
    for (int n = 0; n < 2 * padded; n++)
        for (int t = 0; t < TAPS; t++) {
            int at = n + t - TAPS / 2;
            if (at < 0 || at >= 2 * padded || at % 2)
                continue;
            int from = abs(at / 2 - (side - 1)); /* pixel of the image, reflected at 0 … */
            from = from > side - 1 ? 2 * (side - 1) - from : from; /* … and at S-1 */
            matrix[n * side + from] += (float)(M_SQRT2 * sym6[TAPS - 1 - t]);
        }
    struct node *constant = t_constant(graph, SHAPE(2 * padded, side), matrix);
    free(matrix);
    return constant;
}

/* (S,2(S+6)): the filter, correlated, at every second position from 1 on. */
static struct node *halving(struct graph *graph, int side)
{
    int sampled = 2 * side + 2 * EXTRA;
    float *matrix = memory_grow(NULL, (size_t)(side * sampled), sizeof *matrix);
    for (int i = 0; i < side * sampled; i++)
        matrix[i] = 0;
    for (int n = 0; n < side; n++)
        for (int t = 0; t < TAPS; t++)
            matrix[n * sampled + 2 * n + 1 + t] = (float)(sym6[t] * M_SQRT1_2);
    struct node *constant = t_constant(graph, SHAPE(side, sampled), matrix);
    free(matrix);
    return constant;
}

/* 0, 1, …, count-1. */
static struct node *counted(struct graph *graph, int count, struct shape shape)
{
    float *number = memory_grow(NULL, (size_t)count, sizeof *number);
    for (int i = 0; i < count; i++)
        number[i] = (float)i;
    struct node *constant = t_constant(graph, shape, number);
    free(number);
    return constant;
}

/* ---- resampling ------------------------------------------------------------------------------ */

/* (N,S,S): what one axis does to a line of S pixels; zoom, shift (N). Sample i lies at
 * 2·(zoom·o + shift) + P - 1 of the doubled line, o = (i + 1 - (S+6)) / 2 from the centre. */
static struct node *axis_matrix(struct node *zoom, struct node *shift, int side)
{
    struct graph *graph = zoom->graph;
    int64_t n = dim(zoom, 0);
    int padded = 3 * side - 2, sampled = 2 * side + 2 * EXTRA;
    struct node *o = t_affine(counted(graph, sampled, SHAPE(1, sampled, 1)), 0.5,
                              0.5 * (1 - side - EXTRA)); /* (1,Q,1) */
    struct node *at =
        t_add(t_mul(o, t_reshape(zoom, SHAPE(n, 1, 1))), t_reshape(shift, SHAPE(n, 1, 1)));
    at = t_affine(at, 2, padded - 1); /* (N,Q,1)  */
    struct node *away = t_sub(at, counted(graph, 2 * padded, SHAPE(1, 1, 2 * padded)));
    away =
        t_where(t_greater(away, t_full(graph, SHAPE(), 0)), away, t_scale(away, -1)); /* (N,Q,2P) */
    struct node *near = t_affine(away, -1, 1);
    struct node *weight =
        t_where(t_greater(near, t_full(graph, SHAPE(), 0)), near, t_full(graph, SHAPE(), 0));
    struct node *line = t_matmul(weight, doubling(graph, side)); /* (N,Q,S)  */
    return t_matmul(t_broadcast(halving(graph, side), SHAPE(n, side, sampled)), line);
}

struct node *ada_warp(struct node *x, struct node *zoom_x, struct node *shift_x,
                      struct node *zoom_y, struct node *shift_y)
{
    int64_t n = dim(x, 0), c = dim(x, 1), s = dim(x, 2);
    struct node *columns = axis_matrix(zoom_x, shift_x, (int)s); /* (N,S,S) */
    struct node *rows = axis_matrix(zoom_y, shift_y, (int)s);
    x = t_matmul(t_reshape(x, SHAPE(n, c * s, s)), t_transpose(columns));
    x = t_permute(t_reshape(x, SHAPE(n, c, s, s)), 0, 2, 1, 3); /* (N,S,C,S) */
    x = t_matmul(rows, t_reshape(x, SHAPE(n, s, c * s)));
    return t_permute(t_reshape(x, SHAPE(n, s, c, s)), 0, 2, 1, 3);
}

/* ---- what is drawn --------------------------------------------------------------------------- */

struct drawing {
    struct graph *graph;
    struct node *p;
    const char *name;
    int64_t n;
};

static struct node *uniform(const struct drawing *d, const char *what)
{
    char name[96];
    snprintf(name, sizeof name, "%s.%s", d->name, what);
    return t_uniform(d->graph, name, SHAPE(d->n));
}

static struct node *normal(const struct drawing *d, const char *what)
{
    char name[96];
    snprintf(name, sizeof name, "%s.%s", d->name, what);
    return t_normal(d->graph, name, SHAPE(d->n));
}

/* (N): which images get this transformation. */
static struct node *chosen(const struct drawing *d, const char *what)
{
    char name[96];
    snprintf(name, sizeof name, "%s.if", what);
    return t_greater(d->p, uniform(d, name));
}

static struct node *perhaps(const struct drawing *d, struct node *chosen, struct node *value,
                            double neutral)
{
    return t_where(chosen, value, t_full(d->graph, SHAPE(d->n), neutral));
}

/* 2^(sd·normal). */
static struct node *factor(const struct drawing *d, const char *what)
{
    struct node *value = t_exp(t_scale(normal(d, what), SCALE * M_LN2));
    return perhaps(d, chosen(d, what), value, 1);
}

/* The largest whole number up to x, for x of any sign: casting truncates towards zero. */
static struct node *whole(struct node *x)
{
    static const double ENOUGH = 4096;
    struct node *shifted = t_cast(t_shift(x, ENOUGH), DTYPE_I32);
    return t_shift(t_cast(shifted, DTYPE_F32), -ENOUGH);
}

/* Mirrored with probability p/2, turned by 0 … 3 quarters with probability p: pixels are moved, not
 * computed. */
static struct node *blit(const struct drawing *d, struct node *x)
{
    struct node *half = t_full(d->graph, SHAPE(d->n), 0.5);
    struct node *mirror = t_mul(chosen(d, "mirror"), t_greater(uniform(d, "mirror"), half));
    struct node *turns = t_mul(chosen(d, "turn"), whole(t_scale(uniform(d, "turn"), 4)));
    mirror = t_reshape(mirror, SHAPE(d->n, 1, 1, 1));
    turns = t_reshape(turns, SHAPE(d->n, 1, 1, 1));
    x = t_where(mirror, t_flip(x, AXES(3)), x);
    struct node *quarter = t_flip(t_permute(x, 0, 1, 3, 2), AXES(3));
    struct node *half_turn = t_flip(x, AXES(2, 3));
    struct node *three = t_flip(t_permute(x, 0, 1, 3, 2), AXES(2));
    struct node *one = t_full(d->graph, SHAPE(), 0.5), *two = t_full(d->graph, SHAPE(), 1.5),
                *most = t_full(d->graph, SHAPE(), 2.5);
    x = t_where(t_greater(turns, one), t_where(t_greater(turns, two), half_turn, quarter), x);
    return t_where(t_greater(turns, most), three, x);
}

/* Both shifts of one axis: that by whole pixels comes first, so it is not zoomed. */
struct shifts {
    struct node *whole_if, *fraction_if; /* (N) */
};

static struct node *shift_of(const struct drawing *d, const struct shifts *shifts,
                             struct node *zoom, int64_t side, const char *axis)
{
    char name[64];
    snprintf(name, sizeof name, "whole_%s", axis);
    struct node *pixels = t_affine(uniform(d, name), 2 * WHOLE * (double)side,
                                   0.5 - WHOLE * (double)side); /* to be rounded */
    struct node *by_whole = perhaps(d, shifts->whole_if, whole(pixels), 0);
    snprintf(name, sizeof name, "fraction_%s", axis);
    struct node *fraction = t_scale(normal(d, name), FRACTION * (double)side);
    struct node *by_fraction = perhaps(d, shifts->fraction_if, fraction, 0);
    return t_scale(t_add(by_whole, t_mul(zoom, by_fraction)), -1);
}

struct node *ada_augment(struct node *x, struct node *p, const char *name)
{
    struct drawing d = { x->graph, p, name, dim(x, 0) };
    int64_t side = dim(x, 2);
    x = blit(&d, x);
    struct node *scale = factor(&d, "scale"), *stretch = factor(&d, "stretch");
    struct node *one = t_full(x->graph, SHAPE(d.n), 1);
    struct node *zoom_x = t_div(one, t_mul(scale, stretch));
    struct node *zoom_y = t_div(stretch, scale);
    struct shifts shifts = { chosen(&d, "whole"), chosen(&d, "fraction") };
    return ada_warp(x, zoom_x, shift_of(&d, &shifts, zoom_x, side, "x"), zoom_y,
                    shift_of(&d, &shifts, zoom_y, side, "y"));
}
