/* Shapes and element types: plain values, passed by copy.
 *
 *     struct shape s = SHAPE(8, 3, 64, 64);       // SHAPE() is a scalar, rank 0
 *
 * Every size is at least 1, so no tensor is empty; sizes beyond the rank are 0.
 */
#ifndef TENSOR_SHAPE_H
#define TENSOR_SHAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RANK_MAX = 6, SHAPE_TEXT = 144 };

/* i32 holds labels: it may be moved (reshape, slice, …) and cast, but not computed with. */
enum dtype { DTYPE_F32, DTYPE_BF16, DTYPE_I32, DTYPE_COUNT };

struct shape {
    int rank;
    int64_t size[RANK_MAX];
};

#define SHAPE(...)                                                                                 \
    shape_make((int)(sizeof((int64_t[]){ 0, __VA_ARGS__ }) / sizeof(int64_t)) - 1,                 \
               (int64_t[]){ 0, __VA_ARGS__ } + 1)

struct shape shape_make(int rank, const int64_t *size);
bool shape_equal(struct shape a, struct shape b);

/* The number of elements; 1 for a scalar. */
size_t shape_count(struct shape shape);

/* The shape with the axes of the mask set to size 1. */
struct shape shape_reduced(struct shape shape, unsigned axes);

/* Writes "(8,3,64,64)" and returns text. */
const char *shape_text(struct shape shape, char text[SHAPE_TEXT]);

const char *dtype_name(enum dtype dtype); /* "f32", "bf16", "i32" */
size_t dtype_bytes(enum dtype dtype);     /* of one element in host memory */

#endif
