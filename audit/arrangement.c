/* Arrangement; see arrangement.h. */
#include "audit/arrangement.h"

#include "audit/engine.h"
#include "base/arena.h"

#include <math.h>
#include <stdlib.h>

enum { SAMPLE = 1000 };

/* Heads are nearly symmetric, and so are many organs: what counts as another arrangement leaves at
 * most half of what is unlike, is better by more than a small set's mean moves, and fits. */
#define LEFT_OVER 0.5
#define GAIN      0.02
#define FITS      0.9
/* Of what fits as well, as whatever is mirrored in a symmetric head does, the first is told. */
#define AS_WELL 0.005
enum { LEAST_IMAGES = 20 }; /* of either set, to have a mean that says anything */

/* What a reader is told to do. One is not named: left and right. The search for disguises finds
 * what is mirrored, and the mean of a few heads cannot tell the two apart. */
static const struct change {
    bool exchanged, rows_reversed, columns_reversed; /* exchanged first */
    const char *words;
} changes[] = {
    { false, false, false, NULL },
    { false, false, true, NULL },
    { false, true, false, "rows in reverse order" },
    { false, true, true, "turned by 180 degrees" },
    { true, false, false, "rows and columns exchanged" },
    { true, false, true, "turned by 90 degrees clockwise" },
    { true, true, false, "turned by 90 degrees counter-clockwise" },
    { true, true, true, "turned by 180 degrees, and rows and columns exchanged" },
};

static double element(enum element_type type, const void *image, size_t i)
{
    return type == ELEMENT_UINT8    ? ((const uint8_t *)image)[i]
           : type == ELEMENT_UINT16 ? ((const uint16_t *)image)[i]
                                    : (double)half_to_float(((const uint16_t *)image)[i]);
}

/* The sum of a sample of images, a used channel after the other. */
static double *sum_of(const struct image_set *set, const struct pixels *pixels)
{
    double *sum = memory_grow(NULL, pixels->count, sizeof *sum);
    size_t images = set->count < SAMPLE ? set->count : SAMPLE;
    for (size_t i = 0; i < pixels->count; i++)
        sum[i] = 0;
    for (size_t s = 0; s < images; s++) {
        const unsigned char *image = set_image(pixels, set, s * set->count / images);
        double *to = sum;
        for (size_t r = 0; r < pixels->run_count; r++)
            for (size_t i = 0; i < pixels->run[r].length; i++)
                *to++ += element(pixels->type, image, pixels->run[r].offset + i);
    }
    return sum;
}

/* Where the changed image's element (y, x) stands in the given one. */
static size_t source_of(const struct change *change, size_t height, size_t width, size_t y,
                        size_t x)
{
    size_t row = change->rows_reversed ? height - 1 - y : y,
           column = change->columns_reversed ? width - 1 - x : x;
    return change->exchanged ? column * width + row : row * width + column;
}

static double correlation(const double *sum, const double *reference, const struct change *change,
                          const struct image_set *set, size_t count)
{
    size_t height = set->height, width = set->width, plane = height * width;
    double mean = 0, reference_mean = 0, xy = 0, xx = 0, yy = 0;
    for (size_t i = 0; i < count; i++) {
        mean += sum[i] / (double)count;
        reference_mean += reference[i] / (double)count;
    }
    for (size_t i = 0; i < count; i++) {
        size_t at = i % plane,
               from = i - at + source_of(change, height, width, at / width, at % width);
        double x = sum[from] - mean, y = reference[i] - reference_mean;
        xy += x * y;
        xx += x * x;
        yy += y * y;
    }
    return xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : NAN;
}

/* Greys count as inverted where light is dark, whichever way the images lie. */
static void take_best(struct arrangement *found, double r, const char *words)
{
    if (r > found->best + AS_WELL) {
        found->best = r;
        found->change = words;
    }
}

struct arrangement arrangement_of(const struct image_set *set, const struct image_set *reference,
                                  uint64_t channels)
{
    struct pixels pixels;
    pixels_init(&pixels, set->type, set->channels, set->height * set->width, channels);
    double *sum = sum_of(set, &pixels), *other = sum_of(reference, &pixels);
    struct arrangement found = { .as_given =
                                     correlation(sum, other, &changes[0], set, pixels.count) };
    found.best = found.as_given;
    for (size_t c = 1; c < sizeof changes / sizeof *changes && !isnan(found.as_given); c++)
        if (!changes[c].exchanged || set->height == set->width)
            take_best(&found, correlation(sum, other, &changes[c], set, pixels.count),
                      changes[c].words);
    if (!isnan(found.as_given))
        take_best(&found, -found.as_given, "greys inverted");
    found.notable = found.change && found.best >= FITS && found.best >= found.as_given + GAIN &&
                    1 - found.best <= LEFT_OVER * (1 - found.as_given) &&
                    set->count >= LEAST_IMAGES && reference->count >= LEAST_IMAGES;
    free(sum);
    free(other);
    return found;
}
