/* Sets of images for the tests of audit/, made from a seed. */
#ifndef TESTS_AUDIT_IMAGES_H
#define TESTS_AUDIT_IMAGES_H

#include "test.h"

#include "audit/search.h"
#include "base/random.h"

#include <math.h>

enum texture { TEXTURE_NOISE, TEXTURE_SMOOTH, TEXTURE_SMOOTH_AND_NOISE };

static inline double texture_value(enum texture texture, uint64_t seed, uint64_t image, size_t c,
                                   size_t y, size_t x, uint64_t element)
{
    double value = 0;
    if (texture != TEXTURE_SMOOTH)
        value += 40 * random_normal(seed, 1 + image, element);
    if (texture == TEXTURE_SMOOTH_AND_NOISE)
        value *= 0.1;
    for (uint64_t wave = 0; texture != TEXTURE_NOISE && wave < 4; wave++) {
        uint64_t at = 8 * (wave + 4 * c);
        double fx = 4 * random_uniform(seed, 1000000 + image, at),
               fy = 4 * random_uniform(seed, 1000000 + image, at + 1),
               phase = 6.28 * random_uniform(seed, 1000000 + image, at + 2);
        value += 25 * cos(0.1 * (fx * (double)x + fy * (double)y) + phase);
    }
    return 128 + value;
}

static inline void store_pixel(unsigned char *images, enum element_type type, size_t element,
                               double value)
{
    if (type == ELEMENT_UINT8)
        images[element] = (uint8_t)fmin(255, fmax(0, round(value)));
    else if (type == ELEMENT_UINT16)
        ((uint16_t *)(void *)images)[element] = (uint16_t)fmin(65535, fmax(0, round(value * 250)));
    else
        ((uint16_t *)(void *)images)[element] = half_from_float((float)(value / 100));
}

/* Owned: release with images_free. */
static inline struct image_set images_make(const char *name, enum texture texture, size_t count,
                                           size_t channels, size_t height, size_t width,
                                           enum element_type type, uint64_t seed)
{
    size_t each = channels * height * width;
    unsigned char *images = calloc(count * each, element_info[type].bytes);
    assert_non_null(images);
    for (size_t i = 0; i < count; i++)
        for (size_t e = 0; e < each; e++)
            store_pixel(images, type, i * each + e,
                        texture_value(texture, seed, i, e / (height * width), e / width % height,
                                      e % width, e));
    return (struct image_set){ .name = name,
                               .images = images,
                               .count = count,
                               .channels = channels,
                               .height = height,
                               .width = width,
                               .type = type };
}

static inline unsigned char *image_bytes(const struct image_set *set, size_t image)
{
    return (unsigned char *)(size_t)set->images + (set->rows ? set->rows[image] : image) *
                                                      set->channels * set->height * set->width *
                                                      element_info[set->type].bytes;
}

static inline void images_free(struct image_set *set)
{
    free((void *)(size_t)set->images);
    free((void *)(size_t)set->groups);
    free((void *)(size_t)set->avoid);
    free((void *)(size_t)set->rows);
    set->images = NULL;
    set->groups = set->avoid = set->rows = NULL;
}

/* The pixel of an image, over used channels or not. */
static inline long double pixel_value(const struct image_set *set, size_t image, size_t element)
{
    const unsigned char *bytes = image_bytes(set, image);
    if (set->type == ELEMENT_UINT8)
        return bytes[element];
    uint16_t word;
    memcpy(&word, bytes + 2 * element, 2);
    return set->type == ELEMENT_UINT16 ? word : (long double)half_to_float(word);
}

/* Pearson's correlation by the textbook, two passes in extended precision. */
static inline double slow_correlation(const struct image_set *a, size_t i,
                                      const struct image_set *b, size_t j, uint64_t channels)
{
    size_t plane = a->height * a->width, used = 0;
    long double mean_x = 0, mean_y = 0, xx = 0, yy = 0, xy = 0;
    bool same = true;
    for (int pass = 0; pass < 2; pass++) {
        for (size_t e = 0; e < a->channels * plane; e++) {
            if (!(channels >> (e / plane) & 1))
                continue;
            long double x = pixel_value(a, i, e), y = pixel_value(b, j, e);
            if (pass == 0) {
                mean_x += x;
                mean_y += y;
                used++;
                same &= x == y;
                continue;
            }
            xx += (x - mean_x) * (x - mean_x);
            yy += (y - mean_y) * (y - mean_y);
            xy += (x - mean_x) * (y - mean_y);
        }
        if (pass == 0) {
            mean_x /= (long double)used;
            mean_y /= (long double)used;
        }
    }
    if (xx < 1e-15L || yy < 1e-15L)
        return xx < 1e-15L && yy < 1e-15L && same;
    return (double)(xy / sqrtl(xx * yy));
}

#endif
