/* Images as planes of floats on a working grid, and how they are turned, scaled and shifted.
 *
 *     struct grid grid;
 *     grid_init(&grid, &pixels, 256, 256, 64);          // cells of 4 × 4 pixels
 *     grid_read(&grid, image, cells);                   // planes × rows × columns means
 *     grid_pad(&grid, cells, 0, padded);
 *     grid_warp(&grid, padded, &pose, SAMPLE_CUBICS, out);
 *
 * A cell is the mean of box × box pixels (of fewer at the right and lower rim). Cell (y, x) has its
 * centre at pixel ((y + ½) box − ½, (x + ½) box − ½). With `most` no smaller than the image a cell
 * is a pixel and holds its value.
 */
#ifndef AUDIT_GRID_H
#define AUDIT_GRID_H

#include "audit/exact.h"

struct grid {
    const struct pixels *pixels;
    size_t height, width; /* of the images, in pixels */
    size_t planes, rows, columns, box;
};

/* The smallest box with which neither side has more than `most` cells. */
void grid_init(struct grid *grid, const struct pixels *pixels, size_t height, size_t width,
               size_t most);

/* Floats of an image's cells, and of its padded cells. */
size_t grid_cells(const struct grid *grid);
size_t grid_padded(const struct grid *grid);

void grid_read(const struct grid *grid, const void *image, float *cells);
/* Of these, rows [top, top + rows) and columns [left, left + columns) of each plane. */
void grid_read_part(const struct grid *grid, const void *image, size_t top, size_t left,
                    size_t rows, size_t columns, float *cells);

/* Bits of a set of mirrors. */
enum { MIRROR_X = 1, MIRROR_Y = 2, MIRRORS = 4 };
void grid_mirror(const struct grid *grid, const float *cells, unsigned mirror, float *out);

/* The median of the cells on the rim of all planes: what lies outside. */
float grid_background(const struct grid *grid, const float *cells);

/* Where the light is: the mean place of what differs from the background. (y, x), in cells. */
void grid_centroid(const struct grid *grid, const float *cells, float background, double at[2]);

/* A similarity: content is enlarged by e^log_scale and turned by `angle` (radians, clockwise on the
 * screen, where y grows downwards) about `centre`, then moved by `shift`; both (y, x) in cells. */
struct pose {
    double angle, log_scale, shift[2], centre[2];
};

/* Cells within a frame of background, so that every place can be sampled. */
void grid_pad(const struct grid *grid, const float *cells, float background, float *padded);

/* Samples what the pose makes of an image: between cells by Catmull and Rom's cubic, which passes
 * through them and, unlike a line, does not smooth; or by lines, at a third of the cost. */
enum sampling { SAMPLE_LINES, SAMPLE_CUBICS };
void grid_warp(const struct grid *grid, const float *padded, const struct pose *pose,
               enum sampling sampling, float *out);

/* `out` is `cells` where the pose samples within the image, and the background elsewhere: what was
 * moved out of an image is not held against it. */
void grid_crop(const struct grid *grid, const float *cells, const struct pose *pose,
               float background, float *out);

/* Both at once: `moved` is what the pose makes of the padded image, cropped, and `cropped` the
 * cells, cropped alike. */
void grid_place(const struct grid *grid, const float *padded, const float *cells,
                const struct pose *pose, enum sampling sampling, float background, float *moved,
                float *cropped);

/* The derivatives of what lines give there (0 where it is cropped), (POSE_FREEDOMS, cells): by the
 * shift (y, x), by the angle and by log_scale, the last two times half the longer side, so that all
 * four are in cells. */
enum { POSE_FREEDOMS = 4 };
void grid_derivatives(const struct grid *grid, const float *padded, const struct pose *pose,
                      float *derivatives);
double grid_reach(const struct grid *grid); /* that half side */

/* Each plane smoothed along both axes, with 1 4 6 4 1 (a standard deviation of one cell) or just a
 * little, with 1 6 1 (half a cell); the background lies around it. `out` and `cells` differ. */
void grid_smooth(const struct grid *grid, const float *cells, float background, float *out);
void grid_blur(const struct grid *grid, const float *cells, float background, float *out);

/* Pearson's correlation in double precision; 0 where either does not vary. The order of the sums
 * depends on the count alone. */
double float_correlation(const float *x, const float *y, size_t count);
/* The same over the places where `inside` is 1; it is 0 elsewhere. */
double float_correlation_inside(const float *x, const float *y, const float *inside, size_t count);

/* The same bits, of images that are correlated with many. */
struct float_moments {
    double sum, squares;
};
struct float_moments float_moments(const float *x, size_t count);
double float_correlation_known(const float *x, const struct float_moments *mx, const float *y,
                               const struct float_moments *my, size_t count);

#endif
