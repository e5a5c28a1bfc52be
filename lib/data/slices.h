/* From a volume's plane to a training image: padding, area-averaged scaling, quantising.
 *
 * A plane of rows × columns is centred in a square canvas of zeros, and the canvas is averaged down
 * to size × size by area: every output pixel is the mean of the canvas it covers, fractions of
 * pixels included. With size = canvas the pixels pass unchanged. Label maps are scaled by majority
 * of area; between equals the smaller label wins.
 */
#ifndef DATA_SLICES_H
#define DATA_SLICES_H

#include "base/arena.h"
#include "data/element.h"
#include "data/volume.h"

struct resampler {
    int64_t canvas, size;
    double *scratch; /* size × canvas */
};

bool resampler_init(struct resampler *resampler, int64_t canvas, int64_t size,
                    struct error *err) MUST_USE;
void resampler_release(struct resampler *resampler);

/* out: size × size. The plane must fit the canvas. */
void resample_plane(struct resampler *resampler, const double *plane, int64_t rows, int64_t columns,
                    double *out);
void resample_labels(struct resampler *resampler, const uint8_t *labels, int64_t rows,
                     int64_t columns, uint8_t *out);

/* Values in 0 … 255 to elements: uint8 rounds to nearest (halves up) and clamps; uint16 likewise
 * with 255 becoming 65535; float16 divides by 255, without clamping. */
void quantise(const double *values, size_t count, enum element_type type, void *out);

/* How many pixels of the plane exceed a value. */
size_t count_above(const double *plane, size_t count, double value);

/* The value below which `share` (0 … 1) of the voxels that are greater than 0 lie: the smallest v
 * such that at least share · n of them are ≤ v. Exact. `greatest` is the volume's maximum; 0 when
 * nothing is above 0. */
bool positive_quantile(const struct volume *volume, double greatest, double share, double *value,
                       struct error *err) MUST_USE;

#endif
