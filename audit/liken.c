/* Likening; see liken.h. Only sums, products and roots: the same bytes on every processor. */
#include "audit/liken.h"

#include "audit/engine.h"
#include "audit/roughness.h"
#include "audit/statistics.h"
#include "base/parallel.h"
#include "base/progress.h"
#include "base/random.h"
#include "base/simd.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLE = 256, BISECTIONS = 12, AT_ONCE = 64 };
#define LIKEN_MOST 8
/* Medians that differ by less are left alone; so near is met. */
#define ALIKE 0.01
#define MET   0.05

const char *const liken_change_names[LIKEN_COUNT] = { "none", "blur", "noise" };

const char *likening_words(const struct likening *change, struct arena *arena)
{
    if (change->change == LIKEN_BLUR)
        return arena_format(arena, "blurred by %.3g pixels", change->sigma);
    if (change->change == LIKEN_NOISE)
        return arena_format(arena, "with noise of %.3g grey values", change->sigma);
    return "as they are";
}

/* ---- blur ------------------------------------------------------------------------------------ */

/* n passes of (a, 1 − 2a, a) have a variance of 2an pixels², and from a few passes on their sum is
 * as good as a Gaussian. a ≤ 1/4, so that no pass overshoots. Beyond the rim the rim goes on. */

HOT static void spread_rows(const float *above, const float *row, const float *below, size_t count,
                            float a, float *out)
{
    for (size_t i = 0; i < count; i++)
        out[i] = row[i] + a * (above[i] - 2 * row[i] + below[i]);
}

static void spread(float *plane, size_t height, size_t width, float a, float *other)
{
    for (size_t y = 0; y < height; y++) { /* down the columns */
        const float *row = plane + y * width;
        spread_rows(y ? row - width : row, row, y + 1 < height ? row + width : row, width, a,
                    other + y * width);
    }
    for (size_t y = 0; y < height; y++) { /* along the rows */
        const float *row = other + y * width;
        float *out = plane + y * width;
        if (width > 2)
            spread_rows(row, row + 1, row + 2, width - 2, a, out + 1);
        size_t last = width - 1;
        out[0] = row[0] + a * (row[width > 1] - row[0]);
        out[last] = row[last] + a * (row[last - (width > 1)] - row[last]);
    }
}

static void blur(float *plane, size_t height, size_t width, double sigma, float *other)
{
    double variance = sigma * sigma;
    size_t passes = (size_t)ceil(2 * variance);
    for (size_t p = 0; p < passes; p++)
        spread(plane, height, width, (float)(variance / (2 * (double)passes)), other);
}

/* ---- noise ----------------------------------------------------------------------------------- */

static void add_noise(float *plane, size_t count, double deviation, uint64_t seed, uint64_t first,
                      float *noise)
{
    random_fill_normal(seed, random_stream("audit/liken"), first, count, noise);
    for (size_t i = 0; i < count; i++)
        plane[i] += (float)deviation * noise[i];
}

/* ---- one image ------------------------------------------------------------------------------- */

static void read_plane(enum element_type type, const void *plane, size_t count, float *out)
{
    const uint8_t *u8 = plane;
    const uint16_t *u16 = plane;
    for (size_t i = 0; i < count; i++)
        out[i] = type == ELEMENT_UINT8    ? (float)u8[i]
                 : type == ELEMENT_UINT16 ? (float)u16[i]
                                          : half_to_float(u16[i]);
}

static float clipped(float value, float most)
{
    value = value < 0 ? 0 : value + 0.5f;
    return value < most ? value : most;
}

static void write_plane(enum element_type type, const float *plane, size_t count, void *out)
{
    uint8_t *u8 = out;
    uint16_t *u16 = out;
    for (size_t i = 0; i < count; i++)
        if (type == ELEMENT_UINT8)
            u8[i] = (uint8_t)clipped(plane[i], 255);
        else
            u16[i] = type == ELEMENT_UINT16
                         ? (uint16_t)clipped(plane[i], 65535)
                         : half_from_float(fminf(fmaxf(plane[i], -65504), 65504));
}

void liken_image(const struct image_set *set, uint64_t channels, const struct likening *change,
                 uint64_t seed, size_t image, void *out)
{
    size_t count = set->height * set->width, bytes = count * element_info[set->type].bytes;
    const unsigned char *from =
        set->images + (set->rows ? set->rows[image] : image) * set->channels * bytes;
    memcpy(out, from, set->channels * bytes);
    float *plane = memory_grow(NULL, 2 * count, sizeof *plane), *other = plane + count;
    for (size_t c = 0; change->change != LIKEN_NOTHING && c < set->channels; c++) {
        if (channels && !(channels >> c & 1))
            continue;
        read_plane(set->type, from + c * bytes, count, plane);
        if (change->change == LIKEN_BLUR)
            blur(plane, set->height, set->width, change->sigma, other);
        else
            add_noise(plane, count, change->sigma, seed, (image * set->channels + c) * count,
                      other);
        write_plane(set->type, plane, count, (char *)out + c * bytes);
    }
    free(plane);
}

/* ---- which change ---------------------------------------------------------------------------- */

struct trial {
    const struct image_set *set;
    struct pixels pixels;
    uint64_t channels, seed;
    struct likening change;
    size_t images[SAMPLE], count;
    double roughness[SAMPLE], deviation[SAMPLE];
};

static void try_one(void *context, size_t item)
{
    struct trial *trial = context;
    void *out = memory_grow(NULL, 1, trial->pixels.image_bytes);
    liken_image(trial->set, trial->channels, &trial->change, trial->seed, trial->images[item], out);
    trial->roughness[item] = image_roughness(&trial->pixels, out, trial->set->height,
                                             trial->set->width, roughness_steps[SCALE_FINE]);
    free(out);
}

/* The sample's median roughness after a change; images that lost all variance are as smooth as can
 * be. */
static double median_after(struct trial *trial, enum liken_change change, double sigma)
{
    trial->change = (struct likening){ sigma > 0 ? change : LIKEN_NOTHING, sigma, true };
    parallel_items(trial->count, try_one, trial);
    for (size_t i = 0; i < trial->count; i++)
        if (isnan(trial->roughness[i]))
            trial->roughness[i] = 0;
    return summarise(trial->roughness, trial->count).p50;
}

/* Up to so many that count, spread evenly over them. */
static void choose_sample(struct trial *trial, const double *roughness)
{
    size_t usable = 0, wanted, seen = 0;
    for (size_t i = 0; i < trial->set->count; i++)
        usable += !isnan(roughness[i]);
    wanted = usable < SAMPLE ? usable : SAMPLE;
    for (size_t i = 0; i < trial->set->count && trial->count < wanted; i++)
        if (!isnan(roughness[i]) && seen++ == trial->count * usable / wanted)
            trial->images[trial->count++] = i;
}

static void measure_one(void *context, size_t item)
{
    struct trial *trial = context;
    const struct pixels *pixels = &trial->pixels;
    struct moments moments;
    double count = (double)pixels->count;
    if (!exact_moments(pixels, set_image(pixels, trial->set, trial->images[item]), &moments))
        return;
    trial->deviation[item] = sqrt(pixels->type == ELEMENT_FLOAT16 ? moments.spread / count
                                                                  : moments.spread / count / count);
}

/* Of the sample, in the median: what noise is small or large against. */
static double deviation_of(struct trial *trial)
{
    parallel_items(trial->count, measure_one, trial);
    return summarise(trial->deviation, trial->count).p50;
}

/* Where the sought sigma lies: steps double, from a quarter of a pixel or deviation. */
static double bisect(struct trial *trial, enum liken_change change, double median)
{
    bool rougher = change == LIKEN_BLUR;
    double unit = rougher ? 1 : deviation_of(trial), low = 0, high = unit / 4;
    while (high < LIKEN_MOST * unit && (median_after(trial, change, high) > median) == rougher) {
        low = high;
        high *= 2;
    }
    for (int b = 0; b < BISECTIONS; b++) {
        double middle = (low + high) / 2;
        if ((median_after(trial, change, middle) > median) == rougher)
            low = middle;
        else
            high = middle;
    }
    return low;
}

struct likening likening_of(const struct image_set *set, uint64_t channels, const double *roughness,
                            double median, uint64_t seed)
{
    struct trial trial = { .set = set, .channels = channels, .seed = seed };
    pixels_init(&trial.pixels, set->type, set->channels, set->height * set->width,
                channels ? channels : UINT64_MAX);
    choose_sample(&trial, roughness);
    if (!trial.count || isnan(median))
        return (struct likening){ LIKEN_NOTHING, 0, false };
    double there = median_after(&trial, LIKEN_NOTHING, 0);
    struct likening likening = { .met = true };
    if (fabs(there - median) <= ALIKE * median)
        return likening;
    likening.change = there > median ? LIKEN_BLUR : LIKEN_NOISE;
    likening.sigma = bisect(&trial, likening.change, median);
    if (likening.sigma == 0)
        likening.change = LIKEN_NOTHING;
    there = median_after(&trial, likening.change, likening.sigma);
    likening.met = fabs(there - median) <= MET * median;
    return likening;
}

/* ---- the whole set --------------------------------------------------------------------------- */

struct writing {
    const struct image_set *set;
    const struct likening *change;
    uint64_t channels, seed;
    size_t first, image_bytes;
    char *images;
};

static void write_one(void *context, size_t item)
{
    struct writing *writing = context;
    liken_image(writing->set, writing->channels, writing->change, writing->seed,
                writing->first + item, writing->images + item * writing->image_bytes);
}

static bool write_all(struct writing *writing, struct npy_writer *writer, struct error *err)
{
    size_t count = writing->set->count;
    struct progress progress;
    bool ok = true;
    progress_begin(&progress, "matching the control", "images", count);
    for (size_t first = 0; ok && first < count; first += AT_ONCE) {
        size_t part = count - first < AT_ONCE ? count - first : AT_ONCE;
        writing->first = first;
        parallel_items(part, write_one, writing);
        ok = npy_writer_append(writer, writing->images, part, err);
        progress_add(&progress, part);
    }
    progress_end(&progress);
    return ok;
}

bool liken_set(const struct image_set *set, uint64_t channels, const struct likening *change,
               uint64_t seed, const char *path, struct likened_set *likened, struct error *err)
{
    const size_t shape[3] = { set->channels, set->height, set->width };
    struct writing writing = { .set = set, .change = change, .channels = channels, .seed = seed };
    struct npy_writer writer;
    if (!npy_writer_open(&writer, path, set->type, 3, shape, err))
        return false;
    writing.image_bytes = writer.item_bytes;
    writing.images = memory_grow(NULL, AT_ONCE, writing.image_bytes);
    bool ok = write_all(&writing, &writer, err);
    free(writing.images);
    if (!ok) {
        npy_writer_abandon(&writer);
        return false;
    }
    if (!npy_writer_commit(&writer, err) || !npy_open(&likened->array, path, err))
        return false;
    likened->images = *set;
    likened->images.images = likened->array.data;
    likened->images.name = path;
    likened->images.rows = NULL;
    likened->images.mapped = true;
    return true;
}
