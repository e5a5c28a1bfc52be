/* Matrix work, as NVIDIA's libraries want it: cudnn.c does convolutions and attention, cublas.c
 * products. What is asked for here lies as they like it; matrix.c brings views into that form. */
#ifndef CUDA_LIBRARIES_H
#define CUDA_LIBRARIES_H

#include "tensor/schedule.h"

/* One of the three convolutions. All tensors are packed, channels-last: images (N,H,W,C), weights
 * (O,kh,kw,C/groups); or planar, in the order of their shapes, which are given as (N,C,H,W) and
 * (O,C/groups,kh,kw). */
struct convolution {
    enum op_id op; /* which of them is computed from the other two */
    struct shape image, weight, output;
    enum dtype dtype;        /* of both sources */
    enum dtype result_dtype; /* of the result */
    struct conv geometry;
    bool planar;
    bool rounded; /* factors of f32 may be rounded to TF32 */
    bool fastest; /* they may, sums may be made in any order, and the fastest way is taken, as
                     measured (fastest.h); else the library's first that repeats its bits */
};

/* False without a message (an empty one) when the library has no such convolution. */
bool convolution_prepare(const struct convolution *convolution, void **state, size_t *scratch,
                         struct error *err) MUST_USE;
void convolution_run(void *state, void *image, void *weight, void *output, void *scratch);
void convolution_dispose(void *state); /* NULL is fine */

/* softmax(scale·q·kᵀ)·v of each head in bf16, with sums in f32: q and y (tokens × width), k and v
 * (others × width). Neighbours along the width lie side by side, addresses and all other strides
 * are multiples of 16 bytes. */
struct heads {
    int64_t groups, heads; /* so many in each group */
    int64_t tokens, others, width;
    int64_t stride[4][4]; /* of q, k, v, y: between groups, heads, tokens; along the width 1 */
    double scale;
};

/* False without a message (an empty one) when the library does not take it. */
bool attention_prepare(const struct heads *heads, void **state, size_t *scratch,
                       struct error *err) MUST_USE;
void attention_run(void *state, void *q, void *k, void *v, void *y, void *scratch);
void attention_dispose(void *state); /* NULL is fine */

/* Which of the library's engines does a convolution or attention. */
struct library_engine {
    int64_t number;
    bool tensor_cores;
    bool rounds;  /* more than its types tell */
    bool repeats; /* gives the same bits again */
};
struct library_engine library_engine(const void *state);

/* From now on convolutions and attention are prepared for a device that is not here, and cannot be
 * run. Its properties are JSON, as cuDNN writes them. False with cuDNN's message where it cannot.
 */
bool library_for_absent(const char *properties, struct error *err) MUST_USE;

/* d (rows × columns) = a (rows × inner) · b (inner × columns), column-major, `count` times. A
 * transposed factor lies as its transpose does. Step 0: one matrix for all. `bias`: a vector of as
 * many numbers as there are rows, of the result's type, is added to each column before the result
 * is rounded. */
struct product {
    int64_t rows, columns, inner, count;
    bool transpose_a, transpose_b;
    int64_t lead_a, lead_b, lead_d; /* between neighbouring columns, as they lie */
    int64_t step_a, step_b, step_d; /* between neighbouring matrices */
    enum dtype dtype, result_dtype;
    bool bias;
    bool fastest; /* as of convolutions */
};
/* False without a message (an empty one) when the library does not take it. */
bool product_prepare(const struct product *product, void **state, size_t *scratch,
                     struct error *err) MUST_USE;
void product_run(void *state, const void *a, const void *b, const void *bias, void *d,
                 void *scratch);
void product_dispose(void *state);

#endif
