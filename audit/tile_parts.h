/* The search for pieces, as its files share it: tile_spots.c takes tiles from an image, tile.c
 * holds those of the training images, tile_probe.c scores an image's with them, of which
 * tile_heads.c or, on a device, tile_device.c rules most out, tile_query.c looks closely at what is
 * left. */
#ifndef AUDIT_TILE_PARTS_H
#define AUDIT_TILE_PARTS_H

#include "audit/patch.h"
#include "audit/patch_heads.h"
#include "audit/tile.h"
#include "base/arena.h"

enum {
    TILE_GRID = 128, /* cells a side at most */
    TILE_SIDE = 16,  /* of a tile, in cells */
    STEP = TILE_SIDE / PATCH_MEANS,
    TAKEN = 48, /* tiles of an image at most */
    BLOCK = 16, /* cells a side: tiles of a block lie together in memory */
    BLOCKS_MOST = TILE_GRID / BLOCK,
    REACH = 16,    /* cells that a piece may have moved along each axis; at most BLOCK */
    STRANGERS = 5, /* subjects beside the nearest one that a local ratio is taken from */
    PROBES_MOST = 2 * TAKEN,
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
    float *mean, *weight;       /* of normalised cells: mean, 1 / standard deviation */
    struct patch_level *levels; /* of the training images */
    size_t count;               /* tiles of all training images, in order of their blocks */
    struct tile *tiles;
    float *rows;                                 /* (count, features) */
    size_t block[BLOCKS_MOST * BLOCKS_MOST + 1]; /* where blocks begin */
    double rounding;            /* what a product in single precision may be off by, in any order */
    struct tile_device *device; /* NULL: the processor */
    struct patch_heads heads;   /* of the rows; none with a device */
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

/* One subject's best match of a query's tile. */
struct hit {
    double score;
    uint32_t group;
    size_t tile; /* of the training images' */
};

/* A tile of a query with its best subjects: those with the largest scores, the lower tile first
 * among equals, in whatever order tiles were looked at. */
struct probe {
    struct tile place;
    bool mirrored;
    size_t count;
    struct hit hits[STRANGERS + 1];
    double ratio; /* from the descriptions, with a witness */
    size_t order; /* in which probes were made */
};

/* Those of a query. */
struct probes {
    struct probe *probe; /* (PROBES_MOST) */
    float *described;    /* (PROBES_MOST, features): by the order in which they were made */
    size_t count;
    uint32_t own; /* the query's group */
};

/* tile.c. */
const void *tile_training_image(const struct tile_search *search, size_t id);
size_t tile_block(const struct tile_search *search, const struct tile *tile); /* its middle's */

/* tile_probe.c. */
void probes_init(struct probes *probes, const struct tile_search *search, struct arena *arena);
void probes_take(const struct tile_search *search, struct picture *picture, bool mirrored,
                 struct probes *probes);
/* Notes those of tiles [first, first + count) that a probe may be a match of and whose score, of
 * double precision, is among its best. The largest score; −∞: it can be a match of none. */
double probe_tiles(const struct tile_search *search, struct probes *probes, size_t probe,
                   size_t first, size_t count);
/* What a bound must reach to be of interest, with its rounding; −∞ as long as subjects are
 * missing. */
double probe_bar(const struct tile_search *search, const struct probe *probe);
/* Whether two pairs of tiles, one of the query and one of a training image each, tell of one piece:
 * the same subject, mirrored or not alike, and moved by the same way. */
bool probes_agree(const struct probe *a, const struct tile *tile_a, const struct probe *b,
                  const struct tile *tile_b);
/* Those that are worth a closer look first. */
void probes_rank(const struct tile_search *search, struct probes *probes);

/* tile_heads.c: every probe of some queries with every tile, by the processor. */
struct heads_room { /* of a thread */
    struct near *probe, **near;
    int8_t *bytes;
    char *panels;
};
void heads_room_init(struct heads_room *room, const struct tile_search *search, size_t queries,
                     struct arena *arena);
void tile_heads_probe(const struct tile_search *search, struct heads_room *room,
                      struct probes *probes, size_t queries);

/* tile_device.c: the same by a device. */
bool tile_device_open(struct tile_search *search, struct error *err) MUST_USE;
void tile_device_close(struct tile_search *search);
size_t tile_device_queries(const struct tile_search *search); /* that may be asked at once */
bool tile_device_probe(const struct tile_search *search, struct probes *probes, size_t count,
                       struct error *err) MUST_USE;

#endif
