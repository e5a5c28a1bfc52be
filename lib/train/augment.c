/* Augmentation; see augment.h. Each image has its own stream of random numbers; the words at fixed
 * places of it decide about each change, so that switching one off leaves the others as they are.
 */
#include "train/augment.h"

#include "base/random.h"

#include <math.h>
#include <string.h>

const char *const change_names[CHANGE_COUNT] = {
    [CHANGE_MIRROR] = "mirror",     [CHANGE_ROTATION] = "rotation",
    [CHANGE_SCALING] = "scaling",   [CHANGE_ELASTIC] = "elastic",
    [CHANGE_NOISE] = "noise",       [CHANGE_BLUR] = "blur",
    [CHANGE_GAMMA] = "gamma",       [CHANGE_LOW_RESOLUTION] = "low_resolution",
    [CHANGE_CONTRAST] = "contrast",
};

const struct augment augment_none = { 0 };
const struct augment augment_usual = { {
    [CHANGE_MIRROR] = { 0.5, 0, 0 },
    [CHANGE_ROTATION] = { 0.5, -30, 30 },
    [CHANGE_SCALING] = { 0.5, 0.9, 1.1 },
    [CHANGE_ELASTIC] = { 0.2, 0.005, 0.03 },
    [CHANGE_NOISE] = { 0.15, 0, 0.3 },
    [CHANGE_BLUR] = { 0.15, 0.5, 1 },
    [CHANGE_LOW_RESOLUTION] = { 0.15, 0.5, 1 },
    [CHANGE_CONTRAST] = { 0.15, 0.75, 1.25 },
    [CHANGE_GAMMA] = { 0.3, 0.7, 1.5 },
} };

/* ---- what is drawn --------------------------------------------------------------------------- */

enum { KNOTS = 8, WORDS_A_CHANGE = 2, CHANNELS_MOST = 4096 };

struct draw {
    const struct augment *augment;
    uint64_t seed, stream;
};

/* Whether a change happens to channel c (0 for spatial ones), and how strongly. */
static bool drawn(const struct draw *draw, enum change change, size_t c, double *strength)
{
    const double probability = draw->augment->change[change].probability;
    const double low = draw->augment->change[change].low, high = draw->augment->change[change].high;
    uint64_t at = ((uint64_t)c * CHANGE_COUNT + change) * WORDS_A_CHANGE;
    if (random_uniform(draw->seed, draw->stream, at) >= probability)
        return false;
    *strength = low + (high - low) * random_uniform(draw->seed, draw->stream, at + 1);
    return true;
}

/* ---- space ----------------------------------------------------------------------------------- */

struct warp {
    double xx, xy, yx, yy; /* from the result's pixels to the source's, about the centre */
    bool elastic;
    float knots[2][KNOTS][KNOTS]; /* displacements in pixels; a uniform cubic B-spline */
};

static bool draw_warp(const struct draw *draw, size_t size, struct warp *warp)
{
    double mirror = 0, degrees = 0, factor = 1, elastic = 0;
    bool mirrored = drawn(draw, CHANGE_MIRROR, 0, &mirror);
    bool turned = drawn(draw, CHANGE_ROTATION, 0, &degrees);
    bool scaled = drawn(draw, CHANGE_SCALING, 0, &factor);
    warp->elastic = drawn(draw, CHANGE_ELASTIC, 0, &elastic);
    double angle = degrees * M_PI / 180, flip = mirrored ? -1 : 1;
    warp->xx = flip * cos(angle) / factor;
    warp->xy = flip * sin(angle) / factor;
    warp->yx = -sin(angle) / factor;
    warp->yy = cos(angle) / factor;
    for (size_t i = 0; warp->elastic && i < 2 * KNOTS * KNOTS; i++)
        warp->knots[i / (KNOTS * KNOTS)][i / KNOTS % KNOTS][i % KNOTS] =
            (float)(elastic * (double)size * random_normal(draw->seed, draw->stream + 1, i));
    return mirrored || turned || scaled || warp->elastic;
}

/* The four knots around a position in [0,1], and their weights. */
static int spline(float position, float weight[4])
{
    float at = position * (KNOTS - 3);
    int first = at < KNOTS - 4 ? (int)at : KNOTS - 4;
    float t = at - (float)first, t2 = t * t, t3 = t2 * t;
    weight[0] = (1 - 3 * t + 3 * t2 - t3) / 6;
    weight[1] = (4 - 6 * t2 + 3 * t3) / 6;
    weight[2] = (1 + 3 * t + 3 * t2 - 3 * t3) / 6;
    weight[3] = t3 / 6;
    return first;
}

/* Adds the spline's displacements to a row of source positions. */
static void displace_row(const struct warp *warp, size_t size, size_t y, float *xs, float *ys)
{
    float row[2][KNOTS] = { { 0 } }, weight[4];
    int first = spline(((float)y + 0.5f) / (float)size, weight);
    for (int axis = 0; axis < 2; axis++)
        for (int i = 0; i < 4; i++)
            for (int k = 0; k < KNOTS; k++)
                row[axis][k] += weight[i] * warp->knots[axis][first + i][k];
    for (size_t x = 0; x < size; x++) {
        first = spline(((float)x + 0.5f) / (float)size, weight);
        for (int i = 0; i < 4; i++) {
            xs[x] += weight[i] * row[0][first + i];
            ys[x] += weight[i] * row[1][first + i];
        }
    }
}

/* Where the pixels of row y come from. */
static void source_row(const struct warp *warp, size_t size, size_t y, float *xs, float *ys)
{
    double centre = ((double)size - 1) / 2, dy = (double)y - centre;
    for (size_t x = 0; x < size; x++) {
        double dx = (double)x - centre;
        xs[x] = (float)(warp->xx * dx + warp->xy * dy + centre);
        ys[x] = (float)(warp->yx * dx + warp->yy * dy + centre);
    }
    if (warp->elastic)
        displace_row(warp, size, y, xs, ys);
}

static float pixel(const float *plane, long size, long x, long y)
{
    return x >= 0 && y >= 0 && x < size && y < size ? plane[y * size + x] : 0;
}

static float linear(const float *plane, long size, float x, float y)
{
    float left = floorf(x), top = floorf(y), fx = x - left, fy = y - top;
    long x0 = (long)left, y0 = (long)top;
    float a, b, c, d;
    if (x0 >= 0 && y0 >= 0 && x0 + 1 < size && y0 + 1 < size) {
        const float *at = plane + y0 * size + x0;
        a = at[0], b = at[1], c = at[size], d = at[size + 1];
    } else {
        a = pixel(plane, size, x0, y0), b = pixel(plane, size, x0 + 1, y0);
        c = pixel(plane, size, x0, y0 + 1), d = pixel(plane, size, x0 + 1, y0 + 1);
    }
    float upper = a + fx * (b - a), lower = c + fx * (d - c);
    return upper + fy * (lower - upper);
}

/* `scratch` holds two rows of positions, the image's copy, then the labels'. */
static void warp_image(const struct warp *warp, size_t channels, size_t size, float *image,
                       uint8_t *labels, float *scratch)
{
    size_t pixels = size * size;
    float *xs = scratch, *ys = xs + size, *copy = ys + size;
    uint8_t *old = (uint8_t *)(copy + channels * pixels);
    memcpy(copy, image, channels * pixels * sizeof *copy);
    memcpy(old, labels, pixels);
    for (size_t y = 0; y < size; y++) {
        source_row(warp, size, y, xs, ys);
        for (size_t c = 0; c < channels; c++)
            for (size_t x = 0; x < size; x++)
                image[c * pixels + y * size + x] =
                    linear(copy + c * pixels, (long)size, xs[x], ys[x]);
        for (size_t x = 0; x < size; x++) {
            long sx = lrintf(xs[x]), sy = lrintf(ys[x]), side = (long)size;
            bool inside = sx >= 0 && sy >= 0 && sx < side && sy < side;
            labels[y * size + x] = inside ? old[sy * side + sx] : 0;
        }
    }
}

/* ---- intensity: plane, its side, the strength, scratch, the channel's stream of noise -------- */

struct moments {
    float mean, deviation, least, greatest;
};

static struct moments moments_of(const float *plane, size_t pixels)
{
    double sum = 0, squares = 0;
    struct moments moments = { .least = plane[0], .greatest = plane[0] };
    for (size_t i = 0; i < pixels; i++) {
        sum += (double)plane[i];
        squares += (double)plane[i] * (double)plane[i];
        moments.least = fminf(moments.least, plane[i]);
        moments.greatest = fmaxf(moments.greatest, plane[i]);
    }
    double mean = sum / (double)pixels;
    moments.mean = (float)mean;
    moments.deviation = (float)sqrt(fmax(squares / (double)pixels - mean * mean, 0));
    return moments;
}

static void add_noise(float *plane, size_t size, double strength, float *scratch, uint64_t seed,
                      uint64_t stream)
{
    float scale = (float)strength * moments_of(plane, size * size).deviation;
    random_fill_normal(seed, stream, 0, size * size, scratch);
    for (size_t i = 0; i < size * size; i++)
        plane[i] += scale * scratch[i];
}

/* A row or a column (`step` apart) with a kernel of 2·radius + 1 taps; edges repeat. */
static void blur_line(const float *from, float *to, long size, long step, const float *taps,
                      long radius)
{
    for (long i = 0; i < size; i++) {
        float sum = 0;
        for (long k = -radius; k <= radius; k++) {
            long at = i + k < 0 ? 0 : i + k >= size ? size - 1 : i + k;
            sum += taps[k + radius] * from[at * step];
        }
        to[i * step] = sum;
    }
}

static void blur(float *plane, size_t size, double strength, float *scratch, uint64_t seed,
                 uint64_t stream)
{
    enum { RADIUS = 4 }; /* four deviations of the strongest */
    float taps[2 * RADIUS + 1], sum = 0;
    (void)seed, (void)stream;
    for (int k = -RADIUS; k <= RADIUS; k++)
        sum += taps[k + RADIUS] = (float)exp(-k * k / (2 * strength * strength));
    for (int k = 0; k <= 2 * RADIUS; k++)
        taps[k] /= sum;
    for (size_t y = 0; y < size; y++)
        blur_line(plane + y * size, scratch + y * size, (long)size, 1, taps, RADIUS);
    for (size_t x = 0; x < size; x++)
        blur_line(scratch + x, plane + x, (long)size, (long)size, taps, RADIUS);
}

/* The mean of the pixels that each coarse pixel covers, by whole pixels. */
static void average_down(const float *plane, size_t size, size_t small, float *out)
{
    for (size_t y = 0; y < small; y++)
        for (size_t x = 0; x < small; x++) {
            size_t y0 = y * size / small, y1 = (y + 1) * size / small;
            size_t x0 = x * size / small, x1 = (x + 1) * size / small;
            float sum = 0;
            for (size_t i = y0; i < y1; i++)
                for (size_t k = x0; k < x1; k++)
                    sum += plane[i * size + k];
            out[y * small + x] = sum / (float)((y1 - y0) * (x1 - x0));
        }
}

static void lower_resolution(float *plane, size_t size, double strength, float *scratch,
                             uint64_t seed, uint64_t stream)
{
    size_t small = (size_t)fmax(1, round((double)size * strength));
    float ratio = (float)small / (float)size, last = (float)small - 1;
    (void)seed, (void)stream;
    average_down(plane, size, small, scratch);
    for (size_t y = 0; y < size; y++)
        for (size_t x = 0; x < size; x++) {
            float sx = fminf(fmaxf(((float)x + 0.5f) * ratio - 0.5f, 0), last);
            float sy = fminf(fmaxf(((float)y + 0.5f) * ratio - 0.5f, 0), last);
            /* the last pixel itself, not beyond it, where nothing is */
            sx = small > 1 ? fminf(sx, last - 1e-3f) : 0;
            sy = small > 1 ? fminf(sy, last - 1e-3f) : 0;
            plane[y * size + x] = linear(scratch, (long)small, sx, sy);
        }
}

static void change_contrast(float *plane, size_t size, double strength, float *scratch,
                            uint64_t seed, uint64_t stream)
{
    struct moments m = moments_of(plane, size * size);
    float factor = (float)strength;
    (void)scratch, (void)seed, (void)stream;
    for (size_t i = 0; i < size * size; i++)
        plane[i] = fminf(fmaxf((plane[i] - m.mean) * factor + m.mean, m.least), m.greatest);
}

static void change_gamma(float *plane, size_t size, double strength, float *scratch, uint64_t seed,
                         uint64_t stream)
{
    struct moments m = moments_of(plane, size * size);
    float range = m.greatest - m.least, power = (float)strength;
    (void)scratch, (void)seed, (void)stream;
    for (size_t i = 0; range > 0 && i < size * size; i++)
        plane[i] = powf((plane[i] - m.least) / range, power) * range + m.least;
}

/* In this order. */
static const struct {
    enum change change;
    void (*apply)(float *plane, size_t size, double strength, float *scratch, uint64_t seed,
                  uint64_t stream);
} intensities[] = {
    { CHANGE_NOISE, add_noise },
    { CHANGE_BLUR, blur },
    { CHANGE_LOW_RESOLUTION, lower_resolution },
    { CHANGE_CONTRAST, change_contrast },
    { CHANGE_GAMMA, change_gamma },
};

/* ---- both ------------------------------------------------------------------------------------ */

size_t augment_scratch(size_t channels, size_t size)
{
    return 2 * size + channels * size * size + size * size / sizeof(float) + 1;
}

void augment_image(const struct augment *augment, uint64_t seed, uint64_t k, size_t channels,
                   size_t size, float *image, uint8_t *labels, float *scratch)
{
    /* Streams lie 2^13 apart: room for each channel's noise. */
    struct draw draw = { augment, seed, random_stream("train.augment") + (k << 13) };
    struct warp warp;
    CHECK(channels <= CHANNELS_MOST, "%zu channels", channels);
    if (draw_warp(&draw, size, &warp))
        warp_image(&warp, channels, size, image, labels, scratch);
    for (size_t c = 0; c < channels; c++)
        for (size_t i = 0; i < sizeof intensities / sizeof *intensities; i++) {
            double strength;
            if (drawn(&draw, intensities[i].change, c, &strength))
                intensities[i].apply(image + c * size * size, size, strength, scratch, seed,
                                     draw.stream + 2 + c);
        }
}
