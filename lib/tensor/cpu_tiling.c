/* How the tiles of a loop are cut and walked; see cpu_tiling.h. */
#include "tensor/cpu_tiling.h"

#include "base/arena.h"

#include <stdlib.h>
#include <string.h>

enum { UNITS_WANTED = 32, TURNED_COLUMNS = 32, TURNED_ROWS = 8 };

static size_t blocks(size_t count, size_t block)
{
    return (count + block - 1) / block;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* The axes that make up the rows of a tile, the innermost first; of the last of them a tile has a
 * block. */
struct stack {
    int axis[LOOP_AXES + 1]; /* -1: the loop's rows */
    int count;
    size_t inner, block; /* rows that one step of the last axis has; steps of a tile */
};

static int64_t axis_size(const struct loop *loop, int axis)
{
    return axis < 0 ? loop->rows : loop->size[axis];
}

static int64_t axis_stride(const struct operand *operand, int axis)
{
    return axis < 0 ? operand->row : operand->stride[axis];
}

/* Where an operand's neighbours lie along rows, tiles are narrow: so that what is fetched for one
 * column serves several. */
static bool is_narrow(const struct loop *loop)
{
    bool turned = false;
    for (int k = 0; k < loop->operands; k++) {
        const struct operand *operand = &loop->operand[k];
        bool neighbours = operand->column == 1 || operand->column == 0;
        turned = turned || (operand->row == 1 && (!neighbours || operand->index));
    }
    return turned && loop->rows >= TURNED_ROWS;
}

/* Rows first, then further axes of their kind, as long as tiles would be small. */
static struct stack stack_rows(const struct loop *loop, size_t tile_columns, bool narrow)
{
    struct stack stack = { .axis = { -1 }, .count = 1, .inner = 1 };
    size_t most = LOOP_TILE / tile_columns;
    int next = loop->row_reduced ? loop->axes - 1 : loop->kept - 1;
    int end = loop->row_reduced ? loop->kept : 0;
    bool whole = (size_t)loop->columns == tile_columns && !narrow;
    size_t rows = (size_t)loop->rows;
    for (; whole && next >= end && 2 * stack.inner * rows <= most; next--) {
        stack.inner *= rows;
        stack.axis[stack.count++] = next;
        rows = (size_t)loop->size[next];
    }
    stack.block = least(rows, most / stack.inner);
    return stack;
}

static void push_axis(struct course *course, size_t size)
{
    course->size[course->axes++] = size;
    course->count *= size;
}

/* What a step along an axis is to each operand, in bytes. */
static int64_t *steps_of(const struct loop *loop, const struct course *course, int axis)
{
    return course->step + (ptrdiff_t)axis * loop->operands;
}

static bool stacked(const struct stack *stack, int axis)
{
    for (int i = 0; i < stack->count; i++)
        if (stack->axis[i] == axis)
            return true;
    return false;
}

static void cut_side(struct side *side, struct course *courses, bool reduced, size_t total,
                     size_t each)
{
    *side = (struct side){ .total = total, .each = each, .reduced = reduced };
    side->axis = courses[reduced].axes;
    push_axis(&courses[reduced], blocks(total, each));
}

static void fill_steps(struct tiling *tiling, const struct stack *stack)
{
    const struct loop *loop = tiling->loop;
    int at[2] = { 0 };
    for (int axis = 0; axis < loop->axes; axis++) {
        bool reduced = axis >= loop->kept;
        if (stacked(stack, axis))
            continue;
        int64_t *step = steps_of(loop, &tiling->course[reduced], at[reduced]++);
        for (int k = 0; k < loop->operands; k++)
            step[k] = loop->operand[k].stride[axis];
    }
    int outermost = stack->axis[stack->count - 1];
    for (int k = 0; k < loop->operands; k++) {
        const struct operand *operand = &loop->operand[k];
        const struct side *rows = &tiling->rows, *columns = &tiling->columns;
        steps_of(loop, &tiling->course[rows->reduced], rows->axis)[k] =
            (int64_t)stack->block * axis_stride(operand, outermost);
        steps_of(loop, &tiling->course[columns->reduced], columns->axis)[k] =
            operand->index ? 0 : (int64_t)columns->each * operand->column;
    }
    for (int kind = 0; kind < 2; kind++)
        for (int i = 0; i < tiling->course[kind].axes * loop->operands; i++)
            tiling->course[kind].step[i] *=
                (int64_t)dtype_bytes(loop->operand[i % loop->operands].dtype);
}

static void cut(struct tiling *tiling, const struct stack *stack, size_t tile_columns)
{
    const struct loop *loop = tiling->loop;
    int outermost = stack->axis[stack->count - 1];
    for (int kind = 0; kind < 2; kind++)
        tiling->course[kind].count = 1;
    for (int axis = 0; axis < loop->axes; axis++)
        if (!stacked(stack, axis))
            push_axis(&tiling->course[axis >= loop->kept], (size_t)loop->size[axis]);
    cut_side(&tiling->rows, tiling->course, loop->row_reduced,
             (size_t)axis_size(loop, outermost) * stack->inner, stack->block * stack->inner);
    cut_side(&tiling->columns, tiling->course, loop->column_reduced, (size_t)loop->columns,
             tile_columns);
    for (int kind = 0; kind < 2; kind++)
        tiling->course[kind].step =
            memory_grow(NULL, (size_t)(tiling->course[kind].axes * loop->operands + 1),
                        sizeof *tiling->course[kind].step);
    fill_steps(tiling, stack);
}

/* Where an operand's elements lie within a tile. */

static bool uniform_rows(const struct loop *loop, const struct operand *operand,
                         const struct stack *stack)
{
    for (int i = 0; i + 1 < stack->count; i++)
        if (axis_stride(operand, stack->axis[i]) * axis_size(loop, stack->axis[i]) !=
            axis_stride(operand, stack->axis[i + 1]))
            return false;
    return true;
}

static int64_t *row_table(const struct tiling *tiling, const struct operand *operand,
                          const struct stack *stack)
{
    int64_t *at = memory_grow(NULL, tiling->rows.each, sizeof *at);
    for (size_t r = 0; r < tiling->rows.each; r++) {
        int64_t rest = (int64_t)r, place = 0;
        for (int i = 0; i < stack->count; i++) {
            bool last = i + 1 == stack->count;
            int64_t size = axis_size(tiling->loop, stack->axis[i]);
            place += (last ? rest : rest % size) * axis_stride(operand, stack->axis[i]);
            rest /= size;
        }
        at[r] = place;
    }
    return at;
}

static int64_t *column_table(const struct tiling *tiling, const struct operand *operand)
{
    size_t count = operand->index ? tiling->columns.total : tiling->columns.each;
    int64_t *at = memory_grow(NULL, count, sizeof *at);
    for (size_t c = 0; c < count; c++)
        at[c] = operand->index ? operand->index[c] : (int64_t)c * operand->column;
    return at;
}

static enum placed way_of(const struct port *port, const struct operand *operand, size_t rows)
{
    const struct placing *at = &port->at;
    if (!at->column_at && at->column == 1)
        return PLACED_IN_LINES;
    if (!at->column_at && at->column == 0 && operand->use == OPERAND_LOAD)
        return PLACED_SPREAD;
    return !at->row_at && at->row == 1 && rows >= TURNED_ROWS ? PLACED_TURNED : PLACED_SCATTERED;
}

static void place(const struct tiling *tiling, const struct stack *stack, int k)
{
    const struct operand *operand = &tiling->loop->operand[k];
    struct port *port = &tiling->port[k];
    bool reduction = operand->use >= OPERAND_SUM;
    size_t rows = reduction && tiling->rows.reduced ? 1 : tiling->rows.each;
    bool one_column = tiling->loop->columns == 1 || (reduction && tiling->columns.reduced);
    port->shifts = operand->index && tiling->columns.total > tiling->columns.each;
    port->flat = one_column;
    port->at.row = operand->row;
    port->at.column = operand->column;
    if (rows > 1 && !uniform_rows(tiling->loop, operand, stack))
        port->at.row_at = port->table[0] = row_table(tiling, operand, stack);
    if (port->flat)
        port->at = (struct placing){ .column = rows == 1 ? 1 : port->at.row,
                                     .column_at = port->at.row_at };
    else if (operand->index)
        port->at.column_at = port->table[1] = column_table(tiling, operand);
    enum placed way = way_of(port, operand, rows);
    if (way >= PLACED_TURNED && !port->at.column_at && port->flat)
        port->at.column_at = port->table[0] = row_table(tiling, operand, stack);
    else if (way >= PLACED_TURNED && !port->at.column_at)
        port->at.column_at = port->table[1] = column_table(tiling, operand);
    port->load = cpu_loads[way][operand->dtype];
    port->store = cpu_stores[way][operand->dtype];
    bool dense = port->flat || rows == 1 ||
                 (!port->at.row_at && port->at.row == (int64_t)tiling->columns.each &&
                  tiling->columns.each == tiling->columns.total);
    port->direct = operand->direct && way == PLACED_IN_LINES && dense;
}

struct tiling *tiling_new(const struct loop *loop)
{
    struct tiling *tiling = memory_grow(NULL, 1, sizeof *tiling);
    bool narrow = is_narrow(loop);
    size_t tile_columns = least((size_t)loop->columns, narrow ? TURNED_COLUMNS : LOOP_TILE);
    struct stack stack = stack_rows(loop, tile_columns, narrow);
    *tiling = (struct tiling){ .loop = loop, .splits = 1 };
    cut(tiling, &stack, tile_columns);
    tiling->port = memory_grow(NULL, (size_t)loop->operands + 1, sizeof *tiling->port);
    memset(tiling->port, 0, (size_t)loop->operands * sizeof *tiling->port);
    for (int k = 0; k < loop->operands; k++) {
        place(tiling, &stack, k);
        tiling->reductions += loop->operand[k].use >= OPERAND_SUM;
    }
    const struct course *kept = &tiling->course[0], *inner = &tiling->course[1];
    if (tiling->reductions && kept->count < UNITS_WANTED)
        tiling->splits = least(blocks(UNITS_WANTED, kept->count), inner->count);
    tiling->group = loop->row_reduced && stack.count > 1 ? (size_t)loop->rows : tiling->rows.each;
    tiling->partial = (loop->row_reduced ? 1 : tiling->rows.each) *
                      (loop->column_reduced ? 1 : tiling->columns.each);
    tiling->elements = (size_t)(loop->rows * loop->columns);
    for (int axis = 0; axis < loop->axes; axis++)
        tiling->elements *= (size_t)loop->size[axis];
    return tiling;
}

void tiling_free(struct tiling *tiling)
{
    for (int k = 0; k < tiling->loop->operands; k++)
        for (int i = 0; i < 2; i++)
            free(tiling->port[k].table[i]);
    for (int kind = 0; kind < 2; kind++)
        free(tiling->course[kind].step);
    free(tiling->port);
    free(tiling);
}

/* Walking. */

void course_seek(const struct course *course, struct position *position, int operands,
                 size_t number)
{
    memset(position->offset, 0, (size_t)operands * sizeof *position->offset);
    for (int axis = course->axes - 1; axis >= 0; axis--) {
        const int64_t *step = course->step + (ptrdiff_t)axis * operands;
        size_t at = position->at[axis] = number % course->size[axis];
        number /= course->size[axis];
        for (int k = 0; at && k < operands; k++)
            position->offset[k] += (int64_t)at * step[k];
    }
}

void course_advance(const struct course *course, struct position *position, int operands)
{
    for (int axis = course->axes - 1; axis >= 0; axis--) {
        const int64_t *step = course->step + (ptrdiff_t)axis * operands;
        bool wraps = ++position->at[axis] == course->size[axis];
        int64_t steps = wraps ? 1 - (int64_t)course->size[axis] : 1;
        for (int k = 0; k < operands; k++)
            position->offset[k] += steps * step[k];
        if (!wraps)
            return;
        position->at[axis] = 0;
    }
}
