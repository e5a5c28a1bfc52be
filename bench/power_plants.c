/* Copies of training images, plain, changed and in pieces, for bench_audit-power; see power.h. */
#include "power.h"

#include "base/random.h"

#include <math.h>
#include <string.h>

static double draw(const struct copy *copy, uint64_t index)
{
    return random_uniform(31, copy->stream, index);
}

static const unsigned char *original(const struct copy *copy)
{
    return copy->world->train.images + copy->from * copy->world->side * copy->world->side;
}

static unsigned char grey(double value)
{
    return (unsigned char)fmin(255, fmax(0, round(value)));
}

static double pixel(const unsigned char *plane, size_t side, long y, long x)
{
    bool inside = y >= 0 && x >= 0 && y < (long)side && x < (long)side;
    return inside ? plane[y * (long)side + x] : 0;
}

/* Catmull and Rom's cubic through four samples, at t in [0, 1] between the second and third. */
static double cubic(const double p[4], double t)
{
    return p[1] + 0.5 * t *
                      (p[2] - p[0] +
                       t * (2 * p[0] - 5 * p[1] + 4 * p[2] - p[3] +
                            t * (3 * (p[1] - p[2]) + p[3] - p[0])));
}

static double sample(const unsigned char *plane, size_t side, double y, double x)
{
    long iy = (long)floor(y), ix = (long)floor(x);
    double column[4];
    for (long r = 0; r < 4; r++) {
        double row[4];
        for (long c = 0; c < 4; c++)
            row[c] = pixel(plane, side, iy - 1 + r, ix - 1 + c);
        column[r] = cubic(row, x - (double)ix);
    }
    return cubic(column, y - (double)iy);
}

/* Turned by degrees and enlarged about the middle, then moved. */
static void resample(const struct copy *copy, const unsigned char *from, double degrees,
                     double scale, double move_y, double move_x)
{
    size_t side = copy->world->side;
    double c = cos(degrees * M_PI / 180) / scale, s = sin(degrees * M_PI / 180) / scale,
           middle = ((double)side - 1) / 2;
    for (size_t y = 0; y < side; y++)
        for (size_t x = 0; x < side; x++) {
            double dy = (double)y - middle - move_y, dx = (double)x - middle - move_x;
            copy->out[y * side + x] =
                grey(sample(from, side, middle + c * dy - s * dx, middle + s * dy + c * dx));
        }
}

static void plain(const struct copy *copy, double strength)
{
    (void)strength;
    memcpy(copy->out, original(copy), copy->world->side * copy->world->side);
}

static void noisy(const struct copy *copy, double sigma)
{
    size_t count = copy->world->side * copy->world->side;
    for (size_t i = 0; i < count; i++)
        copy->out[i] = grey(original(copy)[i] + sigma * random_normal(32, copy->stream, i));
}

/* Gaussian, the standard deviation in pixels; the weights of each axis sum to 1. */
static void blurred(const struct copy *copy, double sigma)
{
    size_t side = copy->world->side;
    long reach = (long)ceil(3 * sigma);
    double *between = memory_grow(NULL, side * side, sizeof *between), total = 0;
    for (long i = -reach; i <= reach; i++)
        total += exp(-(double)(i * i) / (2 * sigma * sigma));
    for (long y = 0; y < (long)side; y++)
        for (long x = 0; x < (long)side; x++) {
            double sum = 0;
            for (long i = -reach; i <= reach; i++)
                sum += exp(-(double)(i * i) / (2 * sigma * sigma)) / total *
                       pixel(original(copy), side, y, x + i);
            between[y * (long)side + x] = sum;
        }
    for (long y = 0; y < (long)side; y++)
        for (long x = 0; x < (long)side; x++) {
            double sum = 0;
            for (long i = -reach; i <= reach; i++)
                if (y + i >= 0 && y + i < (long)side)
                    sum += exp(-(double)(i * i) / (2 * sigma * sigma)) / total *
                           between[(y + i) * (long)side + x];
            copy->out[y * (long)side + x] = grey(sum);
        }
    memory_free(between);
}

static void with_gamma(const struct copy *copy, double gamma)
{
    for (size_t i = 0; i < copy->world->side * copy->world->side; i++)
        copy->out[i] = grey(255 * pow(original(copy)[i] / 255.0, gamma));
}

/* Contrast times the gain; what is not 0 rises by 20. */
static void with_gain(const struct copy *copy, double gain)
{
    for (size_t i = 0; i < copy->world->side * copy->world->side; i++)
        copy->out[i] = original(copy)[i] ? grey(gain * original(copy)[i] + 20) : 0;
}

static void mirrored(const struct copy *copy, double axis)
{
    size_t side = copy->world->side;
    for (size_t y = 0; y < side; y++)
        for (size_t x = 0; x < side; x++)
            copy->out[y * side + x] = axis == 0 ? original(copy)[y * side + side - 1 - x]
                                                : original(copy)[(side - 1 - y) * side + x];
}

/* By so many pixels in some direction, not in whole ones. */
static void shifted(const struct copy *copy, double pixels)
{
    double angle = 2 * M_PI * draw(copy, 0);
    resample(copy, original(copy), 0, 1, pixels * sin(angle), pixels * cos(angle));
}

static double sign(const struct copy *copy, uint64_t index)
{
    return draw(copy, index) < 0.5 ? -1 : 1;
}

static void turned(const struct copy *copy, double degrees)
{
    resample(copy, original(copy), sign(copy, 0) * degrees, 1, 0, 0);
}

static void scaled(const struct copy *copy, double scale)
{
    resample(copy, original(copy), 0, scale, 0, 0);
}

/* Mirrored, turned, scaled by up to a twentieth, shifted by a fiftieth of the side, with noise. */
static void combined(const struct copy *copy, double sigma)
{
    size_t side = copy->world->side;
    unsigned char *mirror = memory_grow(NULL, side * side, 1);
    for (size_t i = 0; i < side * side; i++)
        mirror[i] = original(copy)[i / side * side + side - 1 - i % side];
    resample(copy, mirror, 6 * draw(copy, 0) - 3, 0.95 + 0.1 * draw(copy, 1),
             (double)side / 50 * sign(copy, 2), (double)side / 50 * sign(copy, 3));
    for (size_t i = 0; i < side * side; i++)
        copy->out[i] = grey(copy->out[i] + sigma * random_normal(33, copy->stream, i));
    memory_free(mirror);
}

/* ---- pasted pieces --------------------------------------------------------------------------- */

/* How much of a piece falls on what is not dark in an image. */
static double held(const struct copy *copy, const unsigned char *into, const double *weight,
                   long move_y, long move_x)
{
    long side = (long)copy->world->side;
    double sum = 0, all = 0;
    for (long y = 0; y < side; y++)
        for (long x = 0; x < side; x++) {
            long ty = y + move_y, tx = x + move_x;
            bool inside = ty >= 0 && tx >= 0 && ty < side && tx < side;
            all += weight[y * side + x];
            sum += inside && into[ty * side + tx] ? weight[y * side + x] : 0;
        }
    return sum / all;
}

/* A clean image for a piece to be pasted into: one that holds so much of it, of those that are
 * drawn, or the one that holds most. */
static const unsigned char *recipient(const struct copy *copy, const double *weight, long move_y,
                                      long move_x, double least)
{
    enum { DRAWN = 64 };
    const struct image_set *clean = &copy->world->clean;
    const unsigned char *best = NULL;
    double most = -1;
    for (uint64_t i = 0; i < DRAWN && most < least; i++) {
        const unsigned char *drawn =
            clean->images +
            random_below(34, copy->stream, i, clean->count) * clean->height * clean->width;
        double share = held(copy, drawn, weight, move_y, move_x);
        if (share > most) {
            most = share;
            best = drawn;
        }
    }
    return best;
}

/* weight: how much of the piece there is at each pixel of the training image. The piece goes into
 * the recipient, moved, where this has any light (a tumour stays within the brain). */
static void paste(const struct copy *copy, const double *weight, long move_y, long move_x,
                  double gain, double sigma, double least)
{
    size_t side = copy->world->side;
    const unsigned char *into = recipient(copy, weight, move_y, move_x, least);
    for (long y = 0; y < (long)side; y++)
        for (long x = 0; x < (long)side; x++) {
            long fy = y - move_y, fx = x - move_x;
            size_t at = (size_t)(y * (long)side + x);
            bool inside = fy >= 0 && fx >= 0 && fy < (long)side && fx < (long)side;
            double share = inside && into[at] ? weight[fy * (long)side + fx] : 0,
                   value =
                       (1 - share) * into[at] + share * gain * pixel(original(copy), side, fy, fx);
            copy->out[at] =
                grey(value + (into[at] ? sigma * random_normal(35, copy->stream, at) : 0));
        }
}

/* The mask, grown by two pixels and softened by a box of 5 × 5. */
static double *tumour_weight(const struct copy *copy)
{
    size_t side = copy->world->side;
    const uint8_t *mask = copy->world->masks + copy->from * side * side;
    double *weight = memory_grow(NULL, side * side, sizeof *weight),
           *grown = memory_grow(NULL, side * side, sizeof *grown);
    for (long y = 0; y < (long)side; y++)
        for (long x = 0; x < (long)side; x++) {
            bool near = false;
            for (long i = -2; i <= 2; i++)
                for (long j = -2; j <= 2; j++)
                    near |= pixel(mask, side, y + i, x + j) > 0;
            grown[y * (long)side + x] = near;
        }
    for (long y = 0; y < (long)side; y++)
        for (long x = 0; x < (long)side; x++) {
            double sum = 0;
            for (long i = -2; i <= 2; i++)
                for (long j = -2; j <= 2; j++)
                    if (y + i >= 0 && x + j >= 0 && y + i < (long)side && x + j < (long)side)
                        sum += grown[(y + i) * (long)side + x + j] / 25;
            weight[y * (long)side + x] = sum;
        }
    memory_free(grown);
    return weight;
}

/* Into a head that holds nine tenths of it. */
#define HELD 0.9

static void tumour(const struct copy *copy, long move_y, long move_x, double gain, double sigma,
                   double least)
{
    double *weight = tumour_weight(copy);
    paste(copy, weight, move_y, move_x, gain, sigma, least);
    memory_free(weight);
}

static void tumour_moved(const struct copy *copy, double pixels)
{
    double angle = 2 * M_PI * draw(copy, 0);
    tumour(copy, lround(pixels * sin(angle)), lround(pixels * cos(angle)), 1, 0, HELD);
}

/* Into any head: what falls outside its brain is cut off. */
static void tumour_cut(const struct copy *copy, double pixels)
{
    double angle = 2 * M_PI * draw(copy, 0);
    tumour(copy, lround(pixels * sin(angle)), lround(pixels * cos(angle)), 1, 0, 0);
}

static void tumour_noisy(const struct copy *copy, double sigma)
{
    tumour(copy, 0, 0, 1, sigma, HELD);
}

static void tumour_gain(const struct copy *copy, double gain)
{
    tumour(copy, 0, 0, gain, 0, HELD);
}

/* The tumour's diameter, that of a disc of its area, in pixels. */
static double tumour_diameter(const struct world *world, size_t image)
{
    size_t area = 0, plane = world->side * world->side;
    for (size_t i = 0; i < plane; i++)
        area += world->masks[image * plane + i] != 0;
    return 2 * sqrt((double)area / M_PI);
}

/* ---- the table ------------------------------------------------------------------------------- */

#define NONE                                                                                       \
    {                                                                                              \
        NAN, NAN, NAN, NAN                                                                         \
    }
const struct plant power_plants[] = {
    { "plain", "", plain, { { 0, NAN }, { 0, NAN } }, .99, false },
    { "noise", "σ", noisy, { { 6, 12, 25, 50 }, { 6, 12, 25, 50 } }, .99, false },
    { "blur", "px", blurred, { { .5, .75, 1, 1.5 }, { .5, 1, 2, 3 } }, .99, false },
    { "gamma", "", with_gamma, { { .6, .8, 1.3, 1.6 }, { .6, .8, 1.3, 1.6 } }, .99, false },
    { "intensity", "gain", with_gain, { { .5, .8, NAN }, { .5, .8, NAN } }, .99, false },
    { "mirror", "axis", mirrored, { { 0, 1, NAN }, { 0, 1, NAN } }, .99, false },
    { "shift", "px", shifted, { { .5, 1, 2, 3 }, { 1, 3, 6, 12 } }, .99, false },
    { "turn", "°", turned, { { 1, 2, 3.5, 5 }, { 1, 2, 3.5, 5 } }, .9, false },
    { "scale", "", scaled, { { .9, .95, 1.05, 1.1 }, { .9, .95, 1.05, 1.1 } }, 0, false },
    { "combined", "σ", combined, { { 0, 6, 12, NAN }, { 0, 6, 12, NAN } }, 0, false },
    { "tumour-moved", "px", tumour_moved, { NONE, { 0, 2, 5, 10 } }, .9, true },
    { "tumour-cut", "px", tumour_cut, { NONE, { 0, 5, NAN } }, 0, true },
    { "tumour-noise", "σ", tumour_noisy, { NONE, { 3, 6, 12, NAN } }, 0, true },
    { "tumour-gain", "gain", tumour_gain, { NONE, { .8, .9, 1.1, NAN } }, 0, true },
};
const size_t power_plant_count = sizeof power_plants / sizeof *power_plants;

/* A training image at random; for a tumour, one with a tumour of 20 to 40 pixels. */
static size_t draw_original(const struct making *making, uint64_t stream)
{
    const struct world *world = making->world;
    for (uint64_t i = 0;; i++) {
        size_t image = random_below(36, stream, i, world->train.count);
        if (!making->plant->tumour)
            return image;
        double diameter = tumour_diameter(world, image);
        if (diameter >= 20 && diameter <= 40)
            return image;
    }
}

void power_make_copy(void *context, size_t item)
{
    struct making *making = context;
    size_t at = making->first + item;
    struct copy copy = { .world = making->world,
                         .from = draw_original(making, at),
                         .stream = at,
                         .out = making->images + at * making->world->side * making->world->side };
    making->from[at] = copy.from;
    making->plant->make(&copy, making->strength);
}
