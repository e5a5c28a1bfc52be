/* A filtered activation (StyleGAN 3's filtered leaky ReLU), as one node of a plan's private graph:
 *
 *     y = upfirdn(E(upfirdn(x₀), upfirdn(x₁)), down)
 *
 * One or two images are enlarged to one size by a filter each, E is computed there, element by
 * element, and the result is filtered and made smaller. Forwards E is a leaky ReLU, perhaps
 * clamped, of the only image; backwards it is what is sent back, enlarged, times the activation's
 * slope, which the other image tells again. What lies between is as large as 4 or 16 images, and
 * never reaches memory.
 *
 * Sources: the images, their filters in the same order, then the last filter.
 */
#ifndef TENSOR_FILTERED_H
#define TENSOR_FILTERED_H

#include "tensor/graph.h"

enum { FILTERED_IMAGES = 2, FILTERED_INSTRUCTIONS = 16 };

struct filtered {
    int images;
    struct upfirdn up[FILTERED_IMAGES]; /* their `down` is 1 */
    struct upfirdn down;                /* its `up` is 1 */
    int64_t between[2];                 /* rows and columns of what lies between */
    int instructions;                   /* the last one's value is E */
    struct {
        enum op_id op;       /* an elementwise one, or a constant, which is `scale` everywhere */
        int in[3];           /* values: the images, then what instructions made */
        double scale, shift; /* of OP_SCALE */
    } instruction[FILTERED_INSTRUCTIONS];
};

#endif
