/* Aligning one image with another: the similarity transformation, the gamma and the blur that make
 * them correlate most, climbing from a first guess.
 *
 *     struct alignment alignment = { .pose = guess, .gamma = 1 };
 *     align(&grid, &moving, &fixed, &limits, &room, &alignment);
 *     … alignment.pose, .gamma, .correlation …
 */
#ifndef AUDIT_ALIGN_H
#define AUDIT_ALIGN_H

#include "audit/grid.h"

struct align_limits {
    double angle, log_scale; /* |pose| stays within */
    double drift;            /* and its shift within so many cells of the first guess */
    bool thorough; /* gamma and blur from two starts, and the pose once more with them: for
                    * whole images; pieces gain nothing by it */
};

struct alignment {
    struct pose pose;
    double gamma;
    int blur; /* how often the fixed image was smoothed (grid_blur) to be as soft as the moving one
               */
    double correlation; /* on the grid */
};

/* An image that is aligned with others, or that others are aligned with. */
struct align_image {
    const float *cells; /* of the moving image: padded */
    float background;
    float low, high;     /* the range of the moving image's values, to which gamma refers */
    const float *inside; /* of the fixed image: 1 where it counts, 0 elsewhere; NULL: everywhere */
};

/* Buffers of a thread. An alignment leaves the moved image in `moved`, and in `softened` what the
 * fixed one is to be compared with: as soft as that, and without what was moved out of it. */
struct align_room {
    float *moved, *cropped, *trial, *derivatives;
    const float *softened;  /* `cropped`, or one of `soft` */
    float *toned;           /* the moved image with each gamma */
    float *soft;            /* the fixed image, blurred once, twice, … */
    float *changed;         /* the moving image with another gamma; padded */
    float *gammas;          /* tables */
    enum sampling sampling; /* of the moving image, by the stage of the alignment */
};
void align_room_init(struct align_room *room, const struct grid *grid);
void align_room_release(struct align_room *room);

void align(const struct grid *grid, const struct align_image *moving,
           const struct align_image *fixed, const struct align_limits *limits,
           struct align_room *room, struct alignment *alignment);

/* Two pieces cut out of images, each a whole grid of cells. */
struct align_pieces {
    const float *fixed, *moving;
    const float *inside;                /* as of struct align_image */
    float *padded;                      /* for the moving one */
    float *smooth_moved, *smooth_fixed; /* what is left: both as aligned, smoothed (grid_smooth) */
};
/* Aligns them from where they lie on each other; returns their correlation. What the moving piece
 * does not reach is as light as the fixed one's mean. */
double align_pieces(const struct grid *grid, const struct align_pieces *pieces,
                    const struct align_limits *limits, struct align_room *room);

/* v → low + (high − low) ((v − low)/(high − low))^gamma, within the range. */
void gamma_apply(const float *values, size_t count, float low, float high, double gamma,
                 float *out);

#endif
