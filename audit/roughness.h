/* How rough an image is: the contiguity ratio of Geary (The Incorporated Statistician 5:115, 1954).
 *
 *     C = (N − 1) Σ (x_i − x_j)² / (2 P Σ (x_i − x̄)²)
 *
 * over the P pairs of pixels that lie `step` apart along a row or a column, of an image of N
 * pixels. Half the mean squared difference of neighbours, over the variance: 1 where neighbours
 * have nothing to do with each other (noise), near 0 where they are alike (a smooth image). Gain
 * and offset do not change it. Of several channels, each centred by itself, both sums are added up.
 *
 * An audit compares it between synthetic and control images, since nearness to strangers depends on
 * it: whoever smooths an image brings it nearer to everybody, whoever adds noise takes it away. At
 * two scales, since fine grain on a blurred image can make up for the blur at one of them. */
#ifndef AUDIT_ROUGHNESS_H
#define AUDIT_ROUGHNESS_H

#include "audit/exact.h"

enum { SCALE_FINE, SCALE_COARSE, SCALE_COUNT };
extern const size_t roughness_steps[SCALE_COUNT]; /* 1, 4 */

/* Of the used channels, each height × width elements, all finite. NAN where no channel has any
 * variance, or no two pixels lie so far apart. The same bits on every processor. */
double image_roughness(const struct pixels *pixels, const void *image, size_t height, size_t width,
                       size_t step);

#endif
