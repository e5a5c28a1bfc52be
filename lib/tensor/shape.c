/* Shapes and element types; see shape.h. */
#include "tensor/shape.h"

#include "base/error.h"

#include <inttypes.h>
#include <stdio.h>

static const struct {
    const char *name;
    size_t bytes;
} dtypes[DTYPE_COUNT] = {
    [DTYPE_F32] = { "f32", 4 },
    [DTYPE_BF16] = { "bf16", 2 },
    [DTYPE_I32] = { "i32", 4 },
};

const char *dtype_name(enum dtype dtype)
{
    return dtypes[dtype].name;
}

size_t dtype_bytes(enum dtype dtype)
{
    return dtypes[dtype].bytes;
}

struct shape shape_make(int rank, const int64_t *size)
{
    CHECK(rank >= 0 && rank <= RANK_MAX, "a shape of rank %d; at most %d", rank, RANK_MAX);
    struct shape shape = { .rank = rank };
    for (int axis = 0; axis < rank; axis++)
        shape.size[axis] = size[axis];
    return shape;
}

bool shape_equal(struct shape a, struct shape b)
{
    bool equal = a.rank == b.rank;
    for (int axis = 0; equal && axis < a.rank; axis++)
        equal = a.size[axis] == b.size[axis];
    return equal;
}

size_t shape_count(struct shape shape)
{
    size_t count = 1;
    for (int axis = 0; axis < shape.rank; axis++)
        count *= (size_t)shape.size[axis];
    return count;
}

struct shape shape_reduced(struct shape shape, unsigned axes)
{
    for (int axis = 0; axis < shape.rank; axis++)
        if (axes >> axis & 1)
            shape.size[axis] = 1;
    return shape;
}

const char *shape_text(struct shape shape, char text[SHAPE_TEXT])
{
    int length = snprintf(text, SHAPE_TEXT, "(");
    for (int axis = 0; axis < shape.rank; axis++)
        length += snprintf(text + length, (size_t)(SHAPE_TEXT - length), "%s%" PRId64,
                           axis ? "," : "", shape.size[axis]);
    snprintf(text + length, (size_t)(SHAPE_TEXT - length), ")");
    return text;
}
