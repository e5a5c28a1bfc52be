/* Patches: squares of an image on its working grid, described by a few means so that many can be
 * compared by a matrix product, or cut out to be aligned. */
#ifndef AUDIT_PATCH_H
#define AUDIT_PATCH_H

#include "audit/grid.h"

enum { PATCH_MEANS = 8 }; /* a patch is described by so many means a side */

/* An image's cells, the background 0 and the root mean square 1. False where there is nothing but
 * background. */
bool patch_read(const struct grid *grid, const void *image, float *cells);

/* The patch of PATCH_MEANS · step cells a side, upper left corner (y, x), within the grid: the
 * means of all planes, step × step cells each, centred over all, as a unit vector; zeros where they
 * do not vary. row: planes · PATCH_MEANS². */
void patch_describe(const struct grid *grid, const float *cells, size_t y, size_t x, size_t step,
                    float *row);

/* side × side cells of each plane; 0 outside the grid. */
void patch_cut(const struct grid *grid, const float *cells, long y, long x, size_t side,
               float *out);

#endif
