/* The search for lesions, as its files share it: lesion.c knows the training images' lesions and
 * their strangers, lesion_compare.c compares an image with them. */
#ifndef AUDIT_LESION_PARTS_H
#define AUDIT_LESION_PARTS_H

#include "audit/align.h"
#include "audit/lesion.h"
#include "audit/patch.h"
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
    uint32_t id, group;
    struct lesion_place place;
    float distance[NEARNESSES];
};

struct lesion {
    uint32_t id, group;
    int16_t y, x;  /* upper left corner of its square, in cells */
    uint8_t scale; /* 1 … SCALES: the square has 8 · scale cells a side */
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
    struct lesion *lesions; /* in order of their scales, then of their blocks */
    float *rows;            /* (count, features): descriptions */
    size_t first[SCALES * BLOCKS_MOST * BLOCKS_MOST + 1]; /* where scales' blocks begin */
};

/* Buffers of a thread. */
struct lesion_room {
    float *cells, *mirror, *training, *means;
    float *squares; /* of one scale: (places down, places across, features) */
    float *near;    /* those that a block's lesions may reach */
    float *scores;
    struct lesion_place *places; /* by lesion */
    struct align_room align[SCALES];
    struct grid window[SCALES];
    float *fixed, *inside, *both, *moving, *padded, *smooth_moved, *smooth_fixed;
    struct arena arena;
};
void lesion_room_init(struct lesion_room *room, const struct lesion_search *search);
void lesion_room_release(struct lesion_room *room);

/* Reads an image into room->cells and its mirror image; false where there is nothing to see. */
bool lesion_read(const struct lesion_search *search, struct lesion_room *room, const void *image);

/* Where the image that was read is most like each lesion: room->places. */
void lesion_find(const struct lesion_search *search, struct lesion_room *room);

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
