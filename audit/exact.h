/* The one function that decides: Pearson's correlation of two images from their stored pixels.
 *
 * Every engine ends here, so engines agree to the last bit. For whole-number pixels all sums are
 * exact integers, and one expression of doubles follows:
 *
 *     r = (N Σxy − Σx Σy) / √((N Σx² − (Σx)²) (N Σy² − (Σy)²))
 *
 * each parenthesis exact in 128 bits and rounded once: the error is below 4 units in the last
 * place, and an image has a correlation of exactly 1 with itself. For half precision the sums are
 * doubles over centred pixels, in an order that depends on the image's size alone.
 *
 * An image without variance has no Pearson correlation. By rule: it correlates 0 with every image,
 * and 1 with an image of just the same pixels.
 *
 *     struct pixels pixels;
 *     pixels_init(&pixels, ELEMENT_UINT8, 4, 256 * 256, channels);
 *     exact_moments(&pixels, x, &mx);  exact_moments(&pixels, y, &my);
 *     double r = exact_correlation(&pixels, x, &mx, y, &my);
 */
#ifndef AUDIT_EXACT_H
#define AUDIT_EXACT_H

#include "base/error.h"
#include "data/element.h"

#include <math.h>
#include <stdint.h>

enum { CHANNELS_MAX = 64 };

/* Which elements of an image count: runs of neighbouring used channels. */
struct pixels {
    enum element_type type;
    size_t count;       /* elements that are used, over all runs */
    size_t image_bytes; /* from one image to the next */
    size_t run_count;
    struct {
        size_t offset, length; /* in elements */
    } run[CHANNELS_MAX];
};

/* `channels` is a set of bits, bit c for channel c; at least one of them below `channel_count`. */
void pixels_init(struct pixels *pixels, enum element_type type, size_t channel_count,
                 size_t plane_elements, uint64_t channels);

/* What an image needs beside its pixels. */
struct moments {
    uint64_t sum, squares; /* whole-number types */
    double mean;
    size_t begin, end; /* 8 bit: elements of the image outside are 0; a head has a dark rim */
    double spread;     /* N Σx² − (Σx)² (whole numbers) or Σ(x − mean)²; 0: no variance */
};

/* False when a pixel is infinite or not a number (half precision only). */
bool exact_moments(const struct pixels *pixels, const void *image, struct moments *moments);

double exact_correlation(const struct pixels *pixels, const void *x, const struct moments *mx,
                         const void *y, const struct moments *my);

/* How far apart two images of that correlation are, centred and of unit length: √(2 − 2r). */
static inline double distance_of(double correlation)
{
    double square = 2 - 2 * correlation;
    return square > 0 ? sqrt(square) : 0;
}

/* Many pairs of few images. The blocks of 64 bytes of x that are not all 0, of those wholly inside
 * the channels that are used, are packed beside each other: bit b of word w of `blocks` stands for
 * block 64 w + b of the image. `words` is 0 where that would be no use. */
enum { EXACT_BLOCK = 64, EXACT_STRIP = 64 * EXACT_BLOCK };
size_t exact_words(const struct pixels *pixels);
/* Finds them; returns the bytes that they take. */
size_t exact_blocks(const struct pixels *pixels, const void *image, uint64_t *blocks);
void exact_pack(const struct pixels *pixels, const void *image, const uint64_t *blocks,
                uint8_t *packed);

struct exact_image {
    const void *image;
    const struct moments *moments;
    const uint64_t *blocks; /* of x, and … */
    const uint8_t *packed;  /* … what was packed */
};
struct exact_pair {
    uint16_t x, y;
};

/* The pairs come in the order of x: the same bits as exact_correlation. Pixels are taken in strips
 * of 4 KiB, 64 blocks; those of all y are copied together, so that they stay in the second cache
 * (as images lie a power of two apart, they would fall on the same few places of it). */
enum { EXACT_PAIRS_X = 1024, EXACT_PAIRS_Y = 256, EXACT_PAIRS = 4096 };
void exact_pairs(const struct pixels *pixels, const struct exact_image *x,
                 const struct exact_image *y, size_t y_count, const struct exact_pair *pairs,
                 size_t count, double *r);

/* How many images of either side are best computed together, so that pixels stay in caches. */
struct exact_tile_size {
    size_t x, y;
};
enum { EXACT_TILE_X = 256, EXACT_TILE_Y = 512 }; /* it is never more */
struct exact_tile_size exact_tile_size(const struct pixels *pixels);

/* All pairs of at most so many images, r[i * y_count + j] = correlation of x[i] with y[j]: the same
 * bits as exact_correlation. */
void exact_tile(const struct pixels *pixels, const void *const *x, const struct moments *const *mx,
                size_t x_count, const void *const *y, const struct moments *const *my,
                size_t y_count, double *r);

#endif
