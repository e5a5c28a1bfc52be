/* The CPU backend, but small loops that do not depend on each other are done together
 * (tensor/gather.h): each group from its last step to its first, and what one of them writes must
 * lie apart from all that the others use.
 */
#ifndef TESTS_TENSOR_GATHERING_H
#define TESTS_TENSOR_GATHERING_H

#include "tensor/compare.h"

#include "tensor/profile.h"

enum { SMALL_BYTES = 1 << 20, GROUP_MOST = 200 };

static size_t groups, gathered; /* that were run; of how many steps */

static inline size_t gathers(const struct step *step)
{
    bool small = step->loop && loop_bytes(step->loop) <= SMALL_BYTES;
    return small ? (size_t)step->loop->operands : 0;
}

/* They run one after the other, so scratch memory of the largest will do. */
static inline bool prepare_together(struct step *step, struct error *err)
{
    size_t scratch = 0;
    for (size_t i = 0; i < step->together; i++) {
        if (!cpu_backend.prepare(&step[i], err))
            return false;
        scratch = scratch > step[i].scratch ? scratch : step[i].scratch;
    }
    step->scratch = scratch;
    return true;
}

struct range {
    uintptr_t from, to;
};

static inline void widen(int64_t *least, int64_t *most, int64_t size, int64_t stride)
{
    int64_t last = (size - 1) * stride;
    *least += last < 0 ? last : 0;
    *most += last > 0 ? last : 0;
}

static inline struct range range_of(const struct loop *loop, const struct operand *operand,
                                    const struct run *run)
{
    int64_t least = operand->offset, most = operand->offset, furthest = 0;
    for (int axis = 0; axis < loop->axes; axis++)
        widen(&least, &most, loop->size[axis], operand->stride[axis]);
    widen(&least, &most, loop->rows, operand->row);
    for (int64_t i = 0; operand->index && i < loop->columns; i++)
        furthest = operand->index[i] > furthest ? operand->index[i] : furthest;
    if (operand->index)
        most += furthest;
    else
        widen(&least, &most, loop->columns, operand->column);
    uintptr_t base = (uintptr_t)run->memory[operand->buffer];
    int64_t bytes = (int64_t)dtype_bytes(operand->dtype);
    return (struct range){ base + (uintptr_t)(least * bytes),
                           base + (uintptr_t)((most + 1) * bytes) };
}

/* What a writes and what b uses. */
static inline void lie_apart(const struct loop *a, const struct loop *b, const struct run *run)
{
    for (int i = 0; i < a->operands; i++)
        for (int k = 0; a->operand[i].use != OPERAND_LOAD && k < b->operands; k++) {
            struct range written = range_of(a, &a->operand[i], run);
            struct range used = range_of(b, &b->operand[k], run);
            assert_true(written.to <= used.from || used.to <= written.from);
        }
}

static inline void execute_together(const struct step *step, const struct run *run)
{
    for (size_t i = 0; i < step->together; i++)
        for (size_t k = 0; k < step->together; k++)
            if (i != k)
                lie_apart(step[i].loop, step[k].loop, run);
    for (size_t i = step->together; i-- > 0;)
        cpu_backend.execute(&step[i], run);
    groups += step->together > 1;
    gathered += step->together > 1 ? step->together : 0;
}

static inline struct backend gathering_backend(void)
{
    struct backend gathering = cpu_backend;
    gathering.gathers = gathers;
    gathering.group_most = GROUP_MOST;
    gathering.prepare = prepare_together;
    gathering.execute = execute_together;
    groups = gathered = 0;
    return gathering;
}

#endif
