/* What kernels that filter share: upfirdn.c and filtered.c. */
#ifndef CUDA_UPFIRDN_H
#define CUDA_UPFIRDN_H

#include "base/text.h"
#include "tensor/fir.h"
#include "tensor/schedule.h"

/* A filter along an axis: `outputs` neighbouring outputs, each a few taps among `reach` input
 * pixels; the next so many outputs take the same taps of pixels that lie `advance` further. */
struct comb {
    int outputs, advance;
    int least, reach; /* the first input pixel, of the first outputs */
    float *tap;       /* (outputs,reach), 0 where an output does not take a pixel; to be freed */
};

/* The least `outputs` that there can be: P. A comb has P of them, or a multiple. */
int comb_period(int up, int down);

/* Of the filter's `count` taps along axis 0 (rows) or 1; outputs: a multiple of P. */
struct comb comb_of(const struct upfirdn *u, int axis, const float *f, int count, int outputs);

/* Adds a function NAME_along(x, row, first, h[outputs][lanes]): a row of x, of one image from some
 * channel on, filtered along its pixels from pixel `first` on; zeros where there is no such row.
 * index: the type of addresses. */
void upfirdn_add_along(struct text *source, const struct view *x, const struct comb *along,
                       int lanes, const char *name, const char *index);

#endif
