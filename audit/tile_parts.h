/* The search for pieces, as its files share it: tile_spots.c takes tiles from an image, tile.c
 * holds those of the training images, tile_query.c compares an image's with them. */
#ifndef AUDIT_TILE_PARTS_H
#define AUDIT_TILE_PARTS_H

#include "audit/patch.h"
#include "audit/tile.h"
#include "base/arena.h"

enum {
    TILE_GRID = 128, /* cells a side at most */
    SIDE = 16,       /* of a tile, in cells */
    STEP = SIDE / PATCH_MEANS,
    TAKEN = 48, /* tiles of an image at most */
    BLOCK = 16, /* cells a side: tiles of a block lie together in memory */
    BLOCKS_MOST = TILE_GRID / BLOCK,
};

struct tile {
    uint32_t id, group;
    int16_t y, x; /* upper left corner, in cells */
};

struct tile_search {
    struct image_set queries, database;
    struct tile_settings settings;
    struct pixels pixels;
    struct grid grid;
    size_t features;
    size_t blocks_y, blocks_x;
    float *mean, *weight; /* of normalised cells: mean, 1 / standard deviation */
    size_t count;         /* tiles of all training images, in order of their blocks */
    struct tile *tiles;
    float *rows;                                 /* (count, features) */
    size_t block[BLOCKS_MOST * BLOCKS_MOST + 1]; /* where blocks begin */
    struct arena arena;
};

/* An image as tiles are taken from it. */
struct picture {
    float *cells;    /* normalised: the background is 0, the root mean square 1 */
    float *odd;      /* how far each place is from the mean, over all planes */
    float *light;    /* 1 where it differs from the background */
    float *spot;     /* how much a small square differs from a larger one about it */
    double *sum_odd; /* (rows + 1, columns + 1): sums over rectangles from the corner */
    double *sum_light;
    double *sum, *squares;
};

/* tile_spots.c. */
void picture_init(struct picture *picture, const struct grid *grid, struct arena *arena);
/* What is odd about a picture whose cells are there, its spots, and what the rules need. */
void picture_study(const struct tile_search *search, struct picture *picture);
/* The oddest tiles about spots. Returns how many. */
size_t picture_tiles(const struct grid *grid, const struct picture *picture,
                     struct tile taken[TAKEN]);

/* tile.c. */
const void *tile_training_image(const struct tile_search *search, size_t id);

#endif
