/* Patches: squares of an image on its working grid, described by a few means so that many can be
 * compared by a matrix product, or cut out to be aligned. */
#ifndef AUDIT_PATCH_H
#define AUDIT_PATCH_H

#include "audit/grid.h"

enum { PATCH_MEANS = 8 }; /* a patch is described by so many means a side */

/* What is taken off an image's cells, and what they are multiplied by then, so that the background
 * is 0 and the root mean square 1; a scale of 0 where there is nothing but background. */
struct patch_level {
    float background, scale;
};

/* An image's cells at their level. False where there is nothing but background. */
bool patch_read(const struct grid *grid, const void *image, float *cells,
                struct patch_level *level);

/* The patch of PATCH_MEANS · step cells a side, upper left corner (y, x), within the grid: the
 * means of all planes, step × step cells each, centred over all, as a unit vector; zeros where they
 * do not vary. row: planes · PATCH_MEANS². */
void patch_describe(const struct grid *grid, const float *cells, size_t y, size_t x, size_t step,
                    float *row);

/* The product of two descriptions: a sum in double precision, always in the same order. */
double patch_product(const float *x, const float *y, size_t count);

/* side × side cells of each plane; 0 outside the grid. */
void patch_cut(const struct grid *grid, const float *cells, long y, long x, size_t side,
               float *out);
/* The same, to the bit, of an image whose level is known: no more of it is read. */
void patch_cut_image(const struct grid *grid, const void *image, const struct patch_level *level,
                     long y, long x, size_t side, float *out);

#endif
