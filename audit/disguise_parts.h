/* The search for copies in disguise, as its files share it: disguise_trials.c holds the table of
 * trials and the low frequencies by which they are compared, disguise.c the training images,
 * disguise_match.c finds what an image is a copy of. */
#ifndef AUDIT_DISGUISE_PARTS_H
#define AUDIT_DISGUISE_PARTS_H

#include "audit/disguise.h"
#include "audit/grid.h"
#include "base/arena.h"

enum {
    FINE = 64,   /* cells a side of the grid on which images are aligned */
    COARSE = 32, /* and of the grid on which trials are made */
};

struct trial {
    bool centred;
    unsigned mirror;
    double angle, log_scale, shift[2], gamma; /* shift: of the longer side */
};

/* All trials, those that are centred first; how many are. */
size_t trials_make(struct trial *trials);

struct features {
    size_t side, count; /* frequencies a side; over all planes */
    float *along_y;     /* (side, rows) */
    float *along_x;     /* (columns, side) */
};
void features_init(struct features *features, const struct grid *grid, struct arena *arena);
/* The low frequencies of an image, centred over all planes, as a unit vector; zeros when there is
 * nothing in them. `between` has room for side × columns. */
void features_of(const struct features *features, const struct grid *grid, const float *cells,
                 float *between, float *out);

/* An image and its group. */
struct numbered {
    uint32_t value;
    uint32_t place;
};

struct disguise_search {
    struct image_set queries, database;
    struct disguise_settings settings;
    struct pixels pixels;
    struct grid coarse, fine, whole;
    struct features features;
    struct trial *trials;
    size_t trial_count, centred_count;
    float *rows[2];          /* of the database (count, features): as it is; centred */
    uint32_t *groups;        /* of the database: 0 … group_count − 1 */
    struct numbered *sorted; /* its images by group */
    size_t group_count;
    struct arena arena;
};

/* From cells of one grid to those of another. */
static inline double between_grids(const struct grid *from, const struct grid *to, double at)
{
    return ((at + 0.5) * (double)from->box) / (double)to->box - 0.5;
}

static inline void middle_of(const struct grid *grid, double at[2])
{
    at[0] = ((double)grid->rows - 1) / 2;
    at[1] = ((double)grid->columns - 1) / 2;
}

/* The number of a query's group; UINT32_MAX where no training image has it. */
uint32_t disguise_group(const struct disguise_search *search, size_t query);

#endif
