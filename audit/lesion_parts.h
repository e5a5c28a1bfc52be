/* The search for lesions, as its files share it: lesion.c knows the training images' lesions and
 * their strangers, lesion_find.c finds where an image is most like each, lesion_compare.c looks
 * closely. */
#ifndef AUDIT_LESION_PARTS_H
#define AUDIT_LESION_PARTS_H

#include "audit/align.h"
#include "audit/lesion.h"
#include "audit/patch.h"
#include "audit/patch_heads.h"
#include "base/arena.h"

enum {
    LESION_GRID = 128, /* cells a side at most */
    SCALES = 4,        /* squares of 8, 16, 24, 32 cells */
    RIM = 4,           /* cells that are looked at closely about a square */
    REACH = 16,        /* cells that a lesion may have moved along each axis */
    BLOCK = 16,        /* cells a side: lesions of a block lie together in memory */
    BLOCKS_MOST = LESION_GRID / BLOCK,
    STRANGERS = 5,
    KEPT = STRANGERS + 1, /* one more, for the query may be of one of their subjects */
};

/* How near an image is to a lesion, ever more closely: by the descriptions; by the lesion's own
 * cells, moved only; by these aligned; by these aligned and smoothed. */
enum nearness { DESCRIBED, SETTLED, ALIGNED, SMOOTHED, NEARNESSES };

static inline size_t square_side(size_t scale)
{
    return PATCH_MEANS * scale;
}

/* Where an image is most like a lesion: the correlation of descriptions, the upper left corner. */
struct lesion_place {
    float score; /* below −1: there is none */
    int16_t y, x;
    bool mirrored;
};

/* The nearest image of another patient. */
struct stranger {
    uint32_t sample, group; /* which of those that strangers are looked for among */
    struct lesion_place place;
    float distance[NEARNESSES];
};

struct lesion {
    uint32_t id, group;
    struct patch_level level; /* of its image */
    int16_t y, x;             /* upper left corner of its square, in cells */
    uint8_t scale;            /* 1 … SCALES: the square has 8 · scale cells a side */
    uint8_t strangers;
    struct stranger stranger[KEPT]; /* the nearest first, each of another subject */
};

struct lesion_search {
    struct image_set queries, database;
    struct lesion_settings settings;
    struct pixels pixels;
    struct grid grid;
    size_t features;
    size_t blocks_y, blocks_x;
    size_t count;
    struct lesion *lesions;   /* in order of their scales, then of their blocks */
    float *rows;              /* (count, features): descriptions */
    struct patch_heads heads; /* of these */
    size_t first[SCALES * BLOCKS_MOST * BLOCKS_MOST + 1]; /* where scales' blocks begin */
};

/* Places [begin, end) along an axis. */
struct range {
    size_t begin, end;
};

/* All squares of one scale of an image, or of its mirror image: `scale` cells from one place to the
 * next. */
struct lesion_view {
    size_t scale, down, across; /* down 0: there are no such lesions */
    float *means;               /* (planes, rows, columns) */
    size_t rows, columns;
    struct range *needed; /* by row of places: columns that some lesion reaches */
    char *panels;         /* of each row of places, side by side */
};

enum { VIEWS = 2 * SCALES }; /* by scale; then those of the mirror image */

/* A place of one view, of those that a panel's lesions reach. */
struct lesion_spot {
    const struct lesion_view *view;
    int16_t y, x;
};

/* lesion_find.c: an image's squares. */
struct lesion_finder {
    struct lesion_view view[VIEWS];
    float *squares; /* descriptions of a row of places, but for flat ones */
    bool *flat;     /* by column of that row */
    int8_t *none;   /* a head of zeros */
    struct patch_making making;
    float *bounds;             /* (spots, PANEL_IMAGES) */
    struct lesion_spot *spots; /* that lesions of a panel reach */
};
void lesion_finder_init(struct lesion_finder *finder, const struct lesion_search *search,
                        struct arena *arena);
void lesion_finder_release(struct lesion_finder *finder);
void lesion_finder_read(const struct lesion_search *search, struct lesion_finder *finder,
                        const float *cells, const float *mirror);
/* Where the image is most like each lesion of a panel, PANEL_IMAGES of them in their order. A score
 * below −1 where nothing is in reach, or nothing can score as much as the lesion's floor. */
void lesion_find(const struct lesion_search *search, struct lesion_finder *finder, size_t panel,
                 const double floors[PANEL_IMAGES], struct lesion_place places[PANEL_IMAGES]);

/* Buffers of a thread. */
struct lesion_room {
    float *cells, *mirror;
    struct lesion_finder finder;
    struct align_room align[SCALES];
    struct grid window[SCALES];
    float *fixed, *inside, *both, *moving, *padded, *smooth_moved, *smooth_fixed;
    struct arena arena;
};
void lesion_room_init(struct lesion_room *room, const struct lesion_search *search);
void lesion_room_release(struct lesion_room *room);

/* Reads an image into room->cells and its mirror image; false where there is nothing to see. */
bool lesion_read(const struct lesion_search *search, struct lesion_room *room, const void *image);
/* The same with an image's cells as patch_read gave them. */
void lesion_take(const struct lesion_search *search, struct lesion_room *room, const float *cells);

/* Makes the lesion the one that images are compared with closely. */
void lesion_fix(const struct lesion_search *search, struct lesion_room *room,
                const struct lesion *lesion);
/* Moves the place, by a step of the descriptions at most, to where the image that was read
 * correlates most with that lesion: r[SETTLED]. */
void lesion_settle(const struct lesion_search *search, struct lesion_room *room,
                   const struct lesion *lesion, struct lesion_place *place, double r[NEARNESSES]);
/* Aligns them from there: r[ALIGNED] and r[SMOOTHED]. */
void lesion_align(const struct lesion_search *search, struct lesion_room *room,
                  const struct lesion *lesion, const struct lesion_place *place,
                  double r[NEARNESSES]);

/* 1 for each cell of the square from (y, x) on that is labelled in at least half of its pixels, 0
 * elsewhere; how many are. */
size_t lesion_labels(const struct lesion_search *search, size_t id, long y, long x, size_t side,
                     float *cells);

#endif
