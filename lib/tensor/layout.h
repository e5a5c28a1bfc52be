/* The arithmetic of views: strides, dense orders, and cutting shapes finer.
 *
 * Two shapes of equally many elements are related by their cuts: the products of their last 1, 2, …
 * sizes. (4,6) has the cuts 1, 6, 24; (4,2,3) has 1, 3, 6, 24. Where the union of two sets of cuts
 * is a chain of divisors, it is a shape of which both are mergers: a reshape between them moves
 * nothing, and a loop over it can walk tensors of either shape.
 */
#ifndef TENSOR_LAYOUT_H
#define TENSOR_LAYOUT_H

#include "tensor/schedule.h"

struct cuts {
    int count;                 /* of `at`; the axes between them are one fewer */
    int64_t at[LOOP_AXES + 1]; /* ascending, from 1 to the number of elements */
};

struct cuts cuts_of(struct shape shape);

/* The union; false where it is no chain of divisors, or too long. Not the same count: false. */
bool cuts_join(struct cuts a, struct cuts b, struct cuts *joined);

/* Sizes of the axes between cuts, outermost first; returns how many. */
int cuts_sizes(const struct cuts *cuts, int64_t *size);

/* The strides of a tensor of this shape along the axes between cuts (outermost first). */
void cuts_strides(const struct cuts *cuts, struct shape shape, const int64_t *stride,
                  int64_t *split);

/* Which axes between cuts belong to the axes of the mask. */
unsigned cuts_mask(const struct cuts *cuts, struct shape shape, unsigned axes);

/* Dense strides, the axes nested in this order (order[0] is outermost); row-major; channels-last
 * for rank 4. */
void dense_strides(struct shape shape, const int *order, int64_t *stride);
void row_major_strides(struct shape shape, int64_t *stride);
void channels_last_strides(struct shape shape, int64_t *stride);

/* Dense strides that nest the axes as these strides do. */
void strides_like(struct shape shape, const int64_t *like, int64_t *stride);

/* Whether two sets of strides reach the same elements: sizes of 1 don't matter. */
bool same_strides(struct shape shape, const int64_t *a, const int64_t *b);

/* What the view ops make of their source's view; false for a reshape that would have to copy. */
bool view_of(const struct node *node, const struct view *source, struct view *view);

#endif
