/* The arithmetic of views; see layout.h. */
#include "tensor/layout.h"

#include <stdlib.h>

struct cuts cuts_of(struct shape shape)
{
    struct cuts cuts = { 1, { 1 } };
    for (int axis = shape.rank - 1; axis >= 0; axis--)
        if (shape.size[axis] > 1) {
            cuts.at[cuts.count] = cuts.at[cuts.count - 1] * shape.size[axis];
            cuts.count++;
        }
    return cuts;
}

bool cuts_join(struct cuts a, struct cuts b, struct cuts *joined)
{
    struct cuts all = { 0 };
    if (a.at[a.count - 1] != b.at[b.count - 1])
        return false;
    for (int i = 0, j = 0; i < a.count || j < b.count;) {
        int64_t next = j == b.count || (i < a.count && a.at[i] <= b.at[j]) ? a.at[i] : b.at[j];
        i += i < a.count && a.at[i] == next;
        j += j < b.count && b.at[j] == next;
        if (all.count > LOOP_AXES || (all.count && next % all.at[all.count - 1]))
            return false;
        all.at[all.count++] = next;
    }
    *joined = all;
    return true;
}

int cuts_sizes(const struct cuts *cuts, int64_t *size)
{
    int axes = cuts->count - 1;
    for (int i = 0; i < axes; i++)
        size[i] = cuts->at[axes - i] / cuts->at[axes - i - 1];
    return axes;
}

/* The axis of the shape that holds what lies above the cut; its own lower cut in *below. */
static int axis_above(struct shape shape, int64_t cut, int64_t *below)
{
    *below = 1;
    for (int axis = shape.rank - 1; axis >= 0; axis--) {
        if (cut < *below * shape.size[axis])
            return axis;
        *below *= shape.size[axis];
    }
    BUG("a cut at %lld beyond the shape", (long long)cut);
}

void cuts_strides(const struct cuts *cuts, struct shape shape, const int64_t *stride,
                  int64_t *split)
{
    int axes = cuts->count - 1;
    for (int i = 0; i < axes; i++) {
        int64_t below, cut = cuts->at[axes - i - 1];
        int axis = axis_above(shape, cut, &below);
        split[i] = stride[axis] * (cut / below);
    }
}

unsigned cuts_mask(const struct cuts *cuts, struct shape shape, unsigned mask)
{
    unsigned result = 0;
    int axes = cuts->count - 1;
    for (int i = 0; i < axes; i++) {
        int64_t below;
        if (mask >> axis_above(shape, cuts->at[axes - i - 1], &below) & 1)
            result |= 1u << i;
    }
    return result;
}

void dense_strides(struct shape shape, const int *order, int64_t *stride)
{
    int64_t next = 1;
    for (int i = shape.rank - 1; i >= 0; i--) {
        stride[order[i]] = next;
        next *= shape.size[order[i]];
    }
}

void row_major_strides(struct shape shape, int64_t *stride)
{
    dense_strides(shape, (const int[RANK_MAX]){ 0, 1, 2, 3, 4, 5 }, stride);
}

void channels_last_strides(struct shape shape, int64_t *stride)
{
    CHECK(shape.rank == 4, "channels-last strides of rank %d", shape.rank);
    dense_strides(shape, (const int[RANK_MAX]){ 0, 2, 3, 1 }, stride);
}

void strides_like(struct shape shape, const int64_t *like, int64_t *stride)
{
    int order[RANK_MAX], count = 0, ones = 0;
    for (int axis = 0; axis < shape.rank; axis++)
        if (shape.size[axis] == 1)
            order[ones++] = axis;
    for (int axis = 0; axis < shape.rank; axis++) {
        if (shape.size[axis] == 1)
            continue;
        int at = ones + count++;
        for (; at > ones && llabs(like[order[at - 1]]) < llabs(like[axis]); at--)
            order[at] = order[at - 1];
        order[at] = axis;
    }
    dense_strides(shape, order, stride);
}

bool same_strides(struct shape shape, const int64_t *a, const int64_t *b)
{
    for (int axis = 0; axis < shape.rank; axis++)
        if (shape.size[axis] > 1 && a[axis] != b[axis])
            return false;
    return true;
}

static bool reshaped(const struct view *source, struct shape to, struct view *view)
{
    struct cuts joined;
    int64_t size[LOOP_AXES], split[LOOP_AXES];
    if (!cuts_join(cuts_of(source->shape), cuts_of(to), &joined))
        return false;
    int axes = cuts_sizes(&joined, size);
    cuts_strides(&joined, source->shape, source->stride, split);
    int i = axes - 1;
    for (int axis = to.rank - 1; axis >= 0; axis--) {
        view->stride[axis] = i >= 0 ? split[i] : 0;
        for (int64_t held = 1; held < to.size[axis]; i--) {
            if (split[i] != view->stride[axis] * held)
                return false;
            held *= size[i];
        }
    }
    return true;
}

bool view_of(const struct node *node, const struct view *source, struct view *view)
{
    *view = *source;
    view->shape = node->shape;
    if (node->op == OP_RESHAPE)
        return reshaped(source, node->shape, view);
    for (int axis = 0; axis < node->shape.rank; axis++) {
        int64_t size = source->shape.size[axis];
        if (node->op == OP_PERMUTE)
            view->stride[axis] = source->stride[node->permutation[axis]];
        if (node->op == OP_BROADCAST && size == 1)
            view->stride[axis] = 0;
        if (node->op == OP_SLICE)
            view->offset += node->bounds.begin[axis] * source->stride[axis];
        if (node->op == OP_FLIP && node->axes >> axis & 1) {
            view->offset += (size - 1) * source->stride[axis];
            view->stride[axis] = -source->stride[axis];
        }
    }
    return true;
}
