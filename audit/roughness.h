/* How rough an image is: the contiguity ratio of Geary (The Incorporated Statistician 5:115, 1954).
 *
 *     C = (N − 1) Σ (x_i − x_j)² / (2 P Σ (x_i − x̄)²)
 *
 * over the P pairs of pixels that are neighbours along a row or a column, of an image of N pixels.
 * Half the mean squared difference of neighbours, over the variance: 1 where neighbours have
 * nothing to do with each other (noise), near 0 where they are alike (a smooth image). Gain and
 * offset do not change it. Of several channels, each centred by itself, both sums are added up.
 *
 * An audit compares it between synthetic and control images, since nearness to strangers depends on
 * it: whoever smooths an image brings it nearer to everybody, whoever adds noise takes it away. */
#ifndef AUDIT_ROUGHNESS_H
#define AUDIT_ROUGHNESS_H

#include "audit/exact.h"

/* Of the used channels, each height × width elements, all finite. NAN where no channel has any
 * variance, or an image is a single pixel. Sums of whole numbers are exact; the same bits on every
 * processor. */
double image_roughness(const struct pixels *pixels, const void *image, size_t height, size_t width);

#endif
