/* Geometric augmentation; see ada.h. Numbers are those of stylegan2-ada-pytorch's
 * training/augment.py, as are names in brackets.
 */
#include "models/ada.h"

#include "base/arena.h"
#include "tensor/compose.h"

#include <math.h>
#include <stdio.h>

/* Daubechies' least asymmetric wavelet of order 6, low pass, its sum √2. */
static const double sym6[] = {
    0.015404109327027373,  0.0034907120842174702, -0.11799011114819057,  -0.048311742585633,
    0.4910559419267466,    0.787641141030194,     0.3379294217276218,    -0.07263752278646252,
    -0.021060292512300564, 0.04472490177066578,   0.0017677118642428036, -0.007800708325034148,
};
enum { TAPS = sizeof sym6 / sizeof *sym6, BORDER = TAPS / 4 }; /* pixels sampled on each side */

static const double WHOLE = 0.125, FRACTION = 0.125, SCALE = 0.2;

/* ---- resampling ------------------------------------------------------------------------------ */

/* The filter with the given gain along each axis. */
static struct node *filter(struct graph *graph, double gain)
{
    float tap[TAPS];
    for (int t = 0; t < TAPS; t++)
        tap[t] = (float)(sym6[t] * gain * M_SQRT1_2);
    return t_constant(graph, SHAPE(TAPS), tap);
}

/* S pixels along an axis become 3S - 2: mirrored at the first and the last, which stay single. */
static struct node *reflected(struct node *x, int axis)
{
    int64_t side = dim(x, axis);
    struct node *before = t_flip(t_slice(x, axis, 1, side), 1u << axis);
    struct node *after = t_flip(t_slice(x, axis, 0, side - 1), 1u << axis);
    return t_concat(axis, before, x, after);
}

/* The matrices (N,2,3) between images of doubled pixels. Pixel i lies at 2i there, so an image's
 * centre is half a pixel before that of the doubled one: L·o + t becomes 2(L(o + ½)/2 + t) - ½. */
static struct node *doubled(struct node *matrix)
{
    struct node *linear = t_slice(matrix, 2, 0, 2), *shift = t_slice(matrix, 2, 2, 3);
    struct node *centre = t_affine(t_sum(linear, AXES(2)), 0.5, -0.5);
    return t_concat(2, linear, t_add(t_scale(shift, 2), centre));
}

struct node *ada_transform(struct node *x, struct node *matrix)
{
    int64_t height = dim(x, 2), width = dim(x, 3);
    x = reflected(reflected(x, 2), 3);
    x = t_upfirdn(x, filter(x->graph, 2), .up = 2, .pads = { { 6, 5 }, { 6, 5 } });
    x = t_warp(x, doubled(matrix), 2 * (height + 2 * BORDER), 2 * (width + 2 * BORDER));
    return t_upfirdn(x, filter(x->graph, 1), .down = 2, .pad = -1, .flip = true);
}

/* ---- one matrix of all transformations ------------------------------------------------------- */

/* From a pixel of the result to one of the image, (N) each. The first transformation stands
 * leftmost, so each that follows is multiplied from the right by its inverse [G_inv]. */
struct plane {
    struct node *linear[2][2], *shift[2];
};

static void move(struct plane *plane, struct node *const by[2])
{
    for (int i = 0; i < 2; i++) {
        struct node *moved =
            t_add(t_mul(plane->linear[i][0], by[0]), t_mul(plane->linear[i][1], by[1]));
        plane->shift[i] = plane->shift[i] ? t_sub(plane->shift[i], moved) : t_neg(moved);
    }
}

/* Enlarges by a factor for each axis. */
static void enlarge(struct plane *plane, struct node *across, struct node *down)
{
    for (int i = 0; i < 2; i++) {
        plane->linear[i][0] = t_div(plane->linear[i][0], across);
        plane->linear[i][1] = t_div(plane->linear[i][1], down);
    }
}

static void turn(struct plane *plane, struct node *angle)
{
    struct node *cosine = t_cos(angle), *sine = t_sin(angle);
    for (int i = 0; i < 2; i++) {
        struct node *x = plane->linear[i][0], *y = plane->linear[i][1];
        plane->linear[i][0] = t_add(t_mul(x, cosine), t_mul(y, sine));
        plane->linear[i][1] = t_sub(t_mul(y, cosine), t_mul(x, sine));
    }
}

/* (N,2,3) */
static struct node *matrix_of(const struct plane *plane)
{
    struct shape one = SHAPE(dim(plane->shift[0], 0), 1, 1);
    struct node *row[2];
    for (int i = 0; i < 2; i++)
        row[i] = t_concat(2, t_reshape(plane->linear[i][0], one),
                          t_reshape(plane->linear[i][1], one), t_reshape(plane->shift[i], one));
    return t_concat(1, row[0], row[1]);
}

struct node *ada_matrix(const struct ada_drawn *drawn)
{
    struct node *mirror = drawn->mirror;
    struct node *one = t_full(mirror->graph, mirror->shape, 1), *zero = t_zeros_like(mirror);
    struct plane plane = { { { t_affine(mirror, -2, 1), zero }, { zero, one } }, { NULL, NULL } };
    turn(&plane, t_scale(drawn->turns, M_PI_2));
    move(&plane, drawn->whole);
    enlarge(&plane, drawn->scale, drawn->scale);
    turn(&plane, drawn->before);
    enlarge(&plane, drawn->stretch, t_div(one, drawn->stretch));
    turn(&plane, drawn->after);
    move(&plane, drawn->fraction);
    return matrix_of(&plane);
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

/* (N): which images get this transformation, which comes with probability p. */
static struct node *chosen(const struct drawing *d, const char *what, struct node *p)
{
    char name[96];
    snprintf(name, sizeof name, "%s.if", what);
    return t_greater(p, uniform(d, name));
}

static struct node *perhaps(struct node *chosen, struct node *value, double neutral)
{
    return t_where(chosen, value, t_full(value->graph, value->shape, neutral));
}

/* 2^(sd·normal). */
static struct node *factor(const struct drawing *d, const char *what)
{
    struct node *value = t_exp(t_scale(normal(d, what), SCALE * M_LN2));
    return perhaps(chosen(d, what, d->p), value, 1);
}

/* The largest whole number up to x, for x of any sign: casting truncates towards zero. */
static struct node *whole(struct node *x)
{
    static const double ENOUGH = 4096;
    struct node *shifted = t_cast(t_shift(x, ENOUGH), DTYPE_I32);
    return t_shift(t_cast(shifted, DTYPE_F32), -ENOUGH);
}

/* Any angle, with a probability such that one of the two, before and after stretching, comes with
 * probability p [p_rot]. */
static struct node *angle(const struct drawing *d, const char *what)
{
    struct node *none = t_sqrt(t_clamp(t_affine(d->p, -1, 1), 0, 1));
    struct node *value = t_affine(uniform(d, what), 2 * M_PI, -M_PI);
    return perhaps(chosen(d, what, t_affine(none, -1, 1)), value, 0);
}

/* Moves along both axes or neither: by whole pixels, by any number of them. */
static void draw_shifts(const struct drawing *d, const int64_t side[2], struct ada_drawn *drawn)
{
    struct node *by_whole = chosen(d, "whole", d->p), *by_any = chosen(d, "fraction", d->p);
    for (int i = 0; i < 2; i++) {
        char name[32];
        double pixels = (double)side[i];
        snprintf(name, sizeof name, "whole_%c", "xy"[i]);
        struct node *rounded =
            whole(t_affine(uniform(d, name), 2 * WHOLE * pixels, 0.5 - WHOLE * pixels));
        drawn->whole[i] = perhaps(by_whole, rounded, 0);
        snprintf(name, sizeof name, "fraction_%c", "xy"[i]);
        drawn->fraction[i] = perhaps(by_any, t_scale(normal(d, name), FRACTION * pixels), 0);
    }
}

struct ada_drawn ada_draw(struct node *p, int64_t count, const int64_t side[2], const char *name)
{
    struct drawing d = { p->graph, p, name, count };
    struct node *half = t_full(p->graph, SHAPE(count), 0.5);
    struct ada_drawn drawn = {
        .mirror = t_mul(chosen(&d, "mirror", p), t_greater(uniform(&d, "mirror"), half)),
        .turns = t_mul(chosen(&d, "turn", p), whole(t_scale(uniform(&d, "turn"), 4))),
        .scale = factor(&d, "scale"),
        .before = angle(&d, "before"),
        .stretch = factor(&d, "stretch"),
        .after = angle(&d, "after"),
    };
    draw_shifts(&d, side, &drawn);
    return drawn;
}

struct node *ada_augment(struct node *x, struct node *p, const char *name)
{
    const struct ada_drawn drawn =
        ada_draw(p, dim(x, 0), (int64_t[2]){ dim(x, 3), dim(x, 2) }, name);
    return ada_transform(x, ada_matrix(&drawn));
}
