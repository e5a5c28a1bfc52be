/* The exact Euclidean distance transform of a volume, in mm, with anisotropic spacing.
 *
 *     distance_squared(set, (size_t[]){ 240, 240, 155 }, (double[]){ 1, 1, 1 }, squared, err);
 *     … sqrt(squared[i]) is how far voxel i is from the nearest voxel of the set …
 *
 * Separable, in time linear in the voxels (Felzenszwalb and Huttenlocher, "Distance transforms of
 * sampled functions", 2012): along x two sweeps, then along y and along z the lower envelope of a
 * parabola for each voxel of a line.
 */
#ifndef AUDIT_DISTANCE_H
#define AUDIT_DISTANCE_H

#include "base/error.h"

#include <stdint.h>

/* set: shape[0] × shape[1] × shape[2] bytes, x (the first) fastest; not 0 is in the set. spacing in
 * mm along x, y and z. squared: the distance² of each voxel from the nearest of the set, in mm²;
 * infinity where the set is empty. False where there is no memory for a line. */
bool distance_squared(const uint8_t *set, const size_t shape[3], const double spacing[3],
                      double *squared, struct error *err) MUST_USE;

#endif
