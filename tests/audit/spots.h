/* Heads for tests of pieces: each with a textured spot of its own. */
#ifndef TESTS_AUDIT_SPOTS_H
#define TESTS_AUDIT_SPOTS_H

#include "images.h"

enum { SIDE = 96, PLANE = SIDE * SIDE, TRAINING = 40, SLICES = 2 };

/* Heads that are much alike but for a blotch of their own: a disc of light with the same broad
 * waves in all, fine structure of each head's own, and a bright spot with a texture somewhere. */
static double head_at(uint64_t head, double y, double x)
{
    double r = sqrt(y * y + x * x), value = 90;
    if (r > 42)
        return 0;
    for (uint64_t w = 0; w < 12; w++) {
        bool own = w >= 4;
        uint64_t of = own ? head : 9999;
        double speed = own ? 0.7 : 0.2;
        value += (own ? 7 : 12) * cos(speed * (2 * random_uniform(6, of, 10 + 3 * w) - 1) * y +
                                      speed * (2 * random_uniform(6, of, 11 + 3 * w) - 1) * x +
                                      6.28 * random_uniform(6, of, 12 + 3 * w));
    }
    double spot_y = 40 * random_uniform(6, head, 0) - 20,
           spot_x = 40 * random_uniform(6, head, 1) - 20, far = hypot(y - spot_y, x - spot_x);
    if (far < 13)
        value += 50 + 25 * sin(0.9 * y + head) * cos(0.8 * x + 2.0 * (double)head);
    return fmin(255, fmax(1, value));
}

static void draw_head(unsigned char *out, uint64_t head)
{
    for (size_t i = 0; i < (size_t)SIDE * SIDE; i++)
        store_pixel(out, ELEMENT_UINT8, i,
                    head_at(head, (double)(i / SIDE) - 47.5, (double)(i % SIDE) - 47.5));
}

static struct image_set heads_make(size_t count, uint64_t first)
{
    struct image_set set =
        images_make("heads", TEXTURE_NOISE, count, 1, SIDE, SIDE, ELEMENT_UINT8, 1);
    for (size_t i = 0; i < count; i++)
        draw_head(image_bytes(&set, i), first + i);
    return set;
}

/* The middle of a head's spot, in pixels. */
static void spot_of(uint64_t head, long *y, long *x)
{
    *y = lround(47.5 + 40 * random_uniform(6, head, 0) - 20);
    *x = lround(47.5 + 40 * random_uniform(6, head, 1) - 20);
}

/* A disc about the spot of `from` goes into `to`, moved; perhaps into its mirror image. */
static void paste_spot(unsigned char *to, const unsigned char *from, uint64_t head, long move_y,
                       long move_x, bool mirrored)
{
    long spot_y, spot_x;
    spot_of(head, &spot_y, &spot_x);
    for (long y = 0; y < SIDE; y++)
        for (long x = 0; x < SIDE; x++) {
            long at_y = y + move_y, at_x = mirrored ? SIDE - 1 - (x + move_x) : x + move_x;
            if (hypot((double)(y - spot_y), (double)(x - spot_x)) < 15 && at_y >= 0 && at_x >= 0 &&
                at_y < SIDE && at_x < SIDE)
                to[at_y * SIDE + at_x] = from[y * SIDE + x];
        }
}

/* Labels of each head's spot, with radii from the least to the most by turns. Owned. */
static inline uint8_t *masks_make(size_t count, uint64_t first, size_t least, size_t most)
{
    uint8_t *masks = calloc(count, PLANE);
    for (size_t i = 0; i < count; i++) {
        long spot_y, spot_x;
        double radius = (double)(least + i % (most - least + 1));
        spot_of(first + i, &spot_y, &spot_x);
        for (long y = 0; y < SIDE; y++)
            for (long x = 0; x < SIDE; x++)
                masks[i * PLANE + (size_t)(y * SIDE + x)] =
                    hypot((double)(y - spot_y), (double)(x - spot_x)) < radius ? 4 : 0;
    }
    return masks;
}

#endif
