/* Joining jobs into loops, and compiling loops; see fuse.h.
 *
 * Jobs come in an order in which they could run. A job joins an earlier loop over the same elements
 * when everything that it reads is there by then, and when the two have something to share: a
 * value that one reads and the other reads or makes. So the many sums that a gradient of a
 * normalisation takes over the same two tensors are one pass, and a bias's gradient is summed
 * while the gradient is written.
 */
#include "tensor/fuse.h"

#include "base/arena.h"

#include <stdlib.h>
#include <string.h>

enum {
    LOOK_BACK = 48,
    SMALL = 16384,
    JOBS_MAX = 24,
    COST_MAX = 150,
    COLUMNS_MERGED = 8,
    ROWS_TURNED = 8
};

struct group {
    struct job *job[JOBS_MAX];
    int jobs, reads, cost;
    bool loop;
    struct cuts cuts;
    const struct job *reduction; /* one of those that reduce; NULL: none */
};

static bool reduces(const struct job *job)
{
    return ops[job->node->op].kind == KIND_REDUCTION && job->expression != job->node;
}

static unsigned reduced_mask(const struct cuts *cuts, const struct job *job)
{
    return cuts_mask(cuts, job->expression->shape, job->node->axes);
}

/* The job of the group that computes this node as an elementwise value; NULL: none. */
static const struct job *maker_of(const struct group *group, const struct node *node)
{
    for (int i = 0; i < group->jobs; i++)
        if (group->job[i]->evaluated && group->job[i]->node == node)
            return group->job[i];
    return NULL;
}

static bool same_view(const struct view *a, const struct view *b)
{
    return a->buffer == b->buffer && a->offset == b->offset && shape_equal(a->shape, b->shape) &&
           same_strides(a->shape, a->stride, b->stride);
}

static bool shares(const struct group *group, const struct job *job)
{
    size_t count = shape_count(job->expression->shape);
    if (count <= SMALL)
        return true;
    for (int i = 0; i < job->reads; i++) {
        const struct read *read = &job->read[i];
        if (maker_of(group, read->node))
            return true;
        for (int j = 0; j < group->jobs; j++)
            for (int k = 0; k < group->job[j]->reads; k++)
                if (shape_count(read->view.shape) == count && read->view.stride[0] &&
                    group->job[j]->read[k].view.buffer == read->view.buffer)
                    return true;
    }
    return false;
}

/* Whether the job could be part of the group, which is number `at`. */
static bool fits(const struct group *group, size_t at, const struct job *job, const int *maker)
{
    struct cuts cuts;
    if (job->alone || job->out.dtype == DTYPE_I32 || group->job[0]->out.dtype == DTYPE_I32)
        return false; /* moves bits: see moved_dtype */
    if (!group->loop || group->jobs == JOBS_MAX || group->cost + job->cost > COST_MAX ||
        group->reads + job->reads + group->jobs + 1 > LOOP_OPERANDS - 2 ||
        !cuts_join(group->cuts, job->cuts, &cuts))
        return false;
    if (reduces(job) && group->reduction &&
        reduced_mask(&cuts, job) != reduced_mask(&cuts, group->reduction))
        return false;
    for (int i = 0; i < job->reads; i++) {
        const struct job *source = maker_of(group, job->read[i].node);
        bool made_here = maker[job->read[i].view.buffer] == (int)at;
        if (made_here && !(source && same_view(&source->out, &job->read[i].view)))
            return false;
    }
    return true;
}

static void join(struct group *group, struct job *job)
{
    if (group->jobs)
        CHECK(cuts_join(group->cuts, job->cuts, &group->cuts), "joined loops without common cuts");
    else
        group->cuts = job->cuts;
    group->job[group->jobs++] = job;
    group->reads += job->reads;
    group->cost += job->cost;
    if (reduces(job))
        group->reduction = job;
}

/* The first group after which the job can run. */
static int earliest(const struct job *job, const int *maker)
{
    int at = 0;
    int sources = job->loop ? job->reads : job->node->sources;
    for (int i = 0; i < sources; i++) {
        int buffer = job->loop ? job->read[i].view.buffer : job->in[i].buffer;
        at = maker[buffer] > at ? maker[buffer] : at;
    }
    if (job->ordered && maker[job->out.buffer] >= at)
        at = maker[job->out.buffer] + 1;
    return at;
}

/* Moves a whole group into an earlier one, if all its jobs fit and one of them shares something
 * with that. `maker` is only changed when it can be done. (A buffer of several writers stays where
 * it is: its maker is the last of them.) */
static bool move_group(struct group *groups, size_t from, size_t to, int *maker, const int *writers)
{
    struct group joined = groups[to];
    bool sharing = false, fit = true;
    int moved = 0;
    for (; fit && moved < groups[from].jobs; moved++) {
        struct job *job = groups[from].job[moved];
        fit = writers[job->out.buffer] == 1 && earliest(job, maker) <= (int)to &&
              fits(&joined, to, job, maker);
        if (!fit)
            break;
        sharing = sharing || shares(&groups[to], job);
        join(&joined, job);
        maker[job->out.buffer] = (int)to;
    }
    if (fit && sharing) {
        groups[to] = joined;
        groups[from].jobs = 0;
        return true;
    }
    for (int i = 0; i < moved; i++)
        maker[groups[from].job[i]->out.buffer] = (int)from;
    return false;
}

/* Groups whose first job had nothing to share with an earlier loop, while a later one has. */
static size_t merge_groups(const struct lowering *l, struct group *groups, size_t count, int *maker)
{
    size_t left = 0;
    int *writers = memory_grow(NULL, l->buffer_count, sizeof *writers);
    memset(writers, 0, l->buffer_count * sizeof *writers);
    for (size_t i = 0; i < l->job_count; i++)
        writers[l->jobs[i].out.buffer]++;
    for (size_t from = 0; from < count; from++) {
        size_t limit = from > LOOK_BACK ? from - LOOK_BACK : 0;
        bool moved = false;
        for (size_t to = from; groups[from].loop && !moved && to > limit; to--)
            moved = groups[to - 1].jobs && move_group(groups, from, to - 1, maker, writers);
    }
    for (size_t i = 0; i < count; i++)
        if (groups[i].jobs)
            groups[left++] = groups[i];
    free(writers);
    return left;
}

static size_t group_jobs(struct lowering *l, struct group *groups)
{
    size_t count = 0;
    int *maker = memory_grow(NULL, l->buffer_count, sizeof *maker); /* the last group that writes */
    for (size_t i = 0; i < l->buffer_count; i++)
        maker[i] = -1;
    for (size_t i = 0; i < l->job_count; i++) {
        struct job *job = &l->jobs[i];
        size_t first = (size_t)earliest(job, maker), at = count;
        size_t limit = count > LOOK_BACK ? count - LOOK_BACK : 0;
        size_t lowest = first > limit ? first : limit;
        for (size_t k = count; job->loop && at == count && k > lowest; k--)
            if (fits(&groups[k - 1], k - 1, job, maker) && shares(&groups[k - 1], job))
                at = k - 1;
        if (at == count) {
            groups[count] = (struct group){ .loop = job->loop };
            count++;
        }
        if (job->loop)
            join(&groups[at], job);
        else
            groups[at].job[groups[at].jobs++] = job;
        if (maker[job->out.buffer] < (int)at)
            maker[job->out.buffer] = (int)at;
    }
    count = merge_groups(l, groups, count, maker);
    free(maker);
    return count;
}

/* Compiling. While a program is made, values are numbered in three ranges. */

enum { VALUE_CONSTANT = 1000, VALUE_REGISTER = 2000 };

struct compiler {
    struct lowering *l;
    const struct group *group;
    const struct job *job; /* whose expression is being translated */
    int axes;
    int64_t size[LOOP_AXES];
    struct operand operand[LOOP_OPERANDS];
    float constant[LOOP_INSTRUCTIONS];
    struct instruction instruction[LOOP_INSTRUCTIONS];
    int operands, constants, instructions;
    int *value_of; /* by node id: what was translated already, + 1 */
};

static int constant_value(struct compiler *c, double number)
{
    float value = (float)number;
    for (int i = 0; i < c->constants; i++)
        if (memcmp(&c->constant[i], &value, sizeof value) == 0)
            return VALUE_CONSTANT + i;
    CHECK(c->constants < LOOP_INSTRUCTIONS, "a loop of too many constants");
    c->constant[c->constants] = value;
    return VALUE_CONSTANT + c->constants++;
}

static int emit(struct compiler *c, struct instruction instruction)
{
    CHECK(c->instructions < LOOP_INSTRUCTIONS, "a loop of too many instructions");
    instruction.out = VALUE_REGISTER + c->instructions;
    c->instruction[c->instructions] = instruction;
    return VALUE_REGISTER + c->instructions++;
}

static int add_operand(struct compiler *c, enum operand_use use, const struct view *view,
                       struct shape shape, const int64_t *stride, int value)
{
    struct operand operand = { .use = use,
                               .dtype = view->dtype,
                               .buffer = view->buffer,
                               .offset = view->offset,
                               .value = value };
    cuts_strides(&c->group->cuts, shape, stride, operand.stride);
    for (int i = 0; use == OPERAND_LOAD && i < c->operands; i++) {
        const struct operand *other = &c->operand[i];
        if (other->use == use && other->buffer == operand.buffer &&
            other->offset == operand.offset && other->dtype == operand.dtype &&
            memcmp(other->stride, operand.stride, sizeof operand.stride) == 0)
            return i;
    }
    CHECK(c->operands < LOOP_OPERANDS, "a loop of too many operands");
    c->operand[c->operands] = operand;
    return c->operands++;
}

static int translate(struct compiler *c, const struct node *node, bool inside);

static bool is_zero(const struct node *node)
{
    double value;
    return node_is_full(node, &value) && value == 0;
}

/* where(a > b, …): a selection without a mask; leaky ReLU and its gradient in one step. */
static int translate_where(struct compiler *c, const struct node *node)
{
    const struct node *condition = node->src[0], *yes = node->src[1], *no = node->src[2];
    bool inside = lower_is_inline(c->l, condition);
    if (condition->op != OP_GREATER || !inside) {
        struct instruction i = { .op = OP_WHERE };
        for (int s = 0; s < 3; s++)
            i.in[s] = translate(c, node->src[s], false);
        return emit(c, i);
    }
    struct instruction i = { .op = LOOP_SELECT };
    i.in[0] = translate(c, condition->src[0], false);
    bool scaled = no->op == OP_SCALE && no->affine.shift == 0 && no->src[0] == yes &&
                  lower_is_inline(c->l, no);
    if (is_zero(condition->src[1]) && (scaled || is_zero(no))) {
        i.op = LOOP_LEAKY;
        i.in[1] = translate(c, yes, false);
        i.scale = scaled ? (float)no->affine.scale : 0;
        return emit(c, i);
    }
    i.in[1] = translate(c, condition->src[1], false);
    i.in[2] = translate(c, yes, false);
    i.in[3] = translate(c, no, false);
    return emit(c, i);
}

static int translate_cast(struct compiler *c, const struct node *node)
{
    int x = translate(c, node->src[0], false);
    if (node->dtype == DTYPE_F32 || node->src[0]->dtype == node->dtype)
        return x;
    return emit(c, (struct instruction){
                       .op = node->dtype == DTYPE_BF16 ? LOOP_ROUND : LOOP_TRUNCATE, .in = { x } });
}

static int translate_op(struct compiler *c, const struct node *node)
{
    if (node->op == OP_RESHAPE)
        return translate(c, node->src[0], false);
    if (node->op == OP_WHERE)
        return translate_where(c, node);
    if (node->op == OP_CAST)
        return translate_cast(c, node);
    if (node->op == OP_ADD)
        for (int s = 0; s < 2; s++) { /* a·b + c, unless the product is of use elsewhere too */
            const struct node *product = node->src[s];
            if (product->op == OP_MUL && lower_is_inline(c->l, product) &&
                !c->value_of[product->id] && c->l->values[product->id].user != USER_MANY)
                return emit(
                    c, (struct instruction){ .op = LOOP_MUL_ADD,
                                             .in = { translate(c, product->src[0], false),
                                                     translate(c, product->src[1], false),
                                                     translate(c, node->src[1 - s], false) } });
        }
    struct instruction i = { .op = (int)node->op };
    if (node->op == OP_SCALE) {
        i.scale = (float)node->affine.scale;
        i.shift = (float)node->affine.shift;
    }
    for (int s = 0; s < node->sources; s++)
        i.in[s] = translate(c, node->src[s], false);
    return emit(c, i);
}

static int translate_read(struct compiler *c, const struct node *node)
{
    for (int i = 0; i < c->job->reads; i++)
        if (c->job->read[i].node == node) {
            const struct view *view = &c->job->read[i].view;
            return add_operand(c, OPERAND_LOAD, view, view->shape, view->stride, 0);
        }
    BUG("a loop reads %s (%s:%d), which was not foreseen", ops[node->op].name, node->site.file,
        node->site.line);
}

/* The value of a node; `inside`: it is computed here although it has memory. */
static int translate(struct compiler *c, const struct node *node, bool inside)
{
    double number;
    if (node_is_full(node, &number))
        return constant_value(c, number);
    if (c->value_of[node->id])
        return c->value_of[node->id] - 1;
    if (!inside && !lower_is_inline(c->l, node))
        return translate_read(c, node); /* not remembered: another job may read it elsewhere */
    int value = translate_op(c, node);
    c->value_of[node->id] = value + 1;
    return value;
}

/* A read that only moves values keeps their bits: whole numbers travel as floats do. */
static enum dtype moved_dtype(const struct compiler *c, const struct job *job, int value)
{
    bool moved = value < VALUE_CONSTANT && job->out.dtype == DTYPE_I32 &&
                 c->operand[value].dtype == DTYPE_I32;
    return moved ? DTYPE_F32 : job->out.dtype;
}

/* A store to bf16 rounds by itself: what is rounded for it may come as it is. */
static int unrounded(const struct compiler *c, int value, enum dtype stored_as)
{
    if (value < VALUE_REGISTER || stored_as != DTYPE_BF16)
        return value;
    const struct instruction *maker = &c->instruction[value - VALUE_REGISTER];
    return maker->op == LOOP_ROUND && maker->in[0] >= VALUE_REGISTER ? maker->in[0] : value;
}

/* `stored`: its result is of use outside the loop. */
static void translate_job(struct compiler *c, const struct job *job, bool stored)
{
    c->job = job;
    int value = translate(c, job->expression, job->evaluated);
    if (!stored)
        return;
    struct view out = job->out;
    struct shape shape = job->expression->shape;
    enum operand_use use = OPERAND_STORE;
    int64_t stride[RANK_MAX];
    memcpy(stride, out.stride, sizeof stride);
    if (reduces(job)) {
        use = job->node->op == OP_SUM ? OPERAND_SUM : OPERAND_MAX;
        for (int axis = 0; axis < shape.rank; axis++)
            if (job->node->axes >> axis & 1)
                stride[axis] = 0;
    } else {
        out.dtype = moved_dtype(c, job, value);
        if (out.dtype != job->out.dtype)
            c->operand[value].dtype = out.dtype;
        value = unrounded(c, value, out.dtype);
    }
    (void)add_operand(c, use, &out, shape, stride, value);
}

/* Choosing how axes are walked. */

static bool is_full(const struct compiler *c, const struct operand *operand)
{
    for (int axis = 0; axis < c->axes; axis++)
        if (!operand->stride[axis])
            return false;
    return operand->use <= OPERAND_STORE;
}

/* The axis along which neighbours in memory lie. */
static int innermost_axis(const struct compiler *c, const struct operand *operand)
{
    int innermost = 0;
    for (int axis = 1; axis < c->axes; axis++)
        if (llabs(operand->stride[axis]) < llabs(operand->stride[innermost]))
            innermost = axis;
    return innermost;
}

/* How many operands have their neighbours along this axis. */
static int followers(const struct compiler *c, int axis)
{
    int count = 0;
    for (int k = 0; k < c->operands; k++)
        count += is_full(c, &c->operand[k]) && innermost_axis(c, &c->operand[k]) == axis;
    return count;
}

/* Nests the axes as the first full-size store does, or else the first load without repetition.
 * Where nothing is summed, rather as the first of those that most others agree with about what is
 * innermost: there an order is as good as another. */
static void order_axes(const struct compiler *c, bool sums, int *order)
{
    const int64_t *key = NULL;
    int most = 0;
    for (int pass = 0; pass < 2; pass++)
        for (int k = 0; k < c->operands; k++) {
            const struct operand *operand = &c->operand[k];
            if (operand->use != (pass ? OPERAND_LOAD : OPERAND_STORE) || !is_full(c, operand))
                continue;
            int agree = sums ? 1 : followers(c, innermost_axis(c, operand));
            key = agree > most ? operand->stride : key;
            most = agree > most ? agree : most;
        }
    for (int axis = 0; axis < c->axes; axis++) {
        int at = axis;
        for (; key && at > 0 && llabs(key[order[at - 1]]) < llabs(key[axis]); at--)
            order[at] = order[at - 1];
        order[at] = axis;
    }
}

/* Rearranges sizes and strides; `order` names `count` axes. */
static void permute_axes(struct compiler *c, const int *order, int count, unsigned *reduced)
{
    int64_t size[LOOP_AXES];
    unsigned mask = 0;
    for (int i = 0; i < count; i++) {
        size[i] = c->size[order[i]];
        mask |= (*reduced >> order[i] & 1) << i;
    }
    for (int k = 0; k < c->operands; k++) {
        int64_t stride[LOOP_AXES] = { 0 };
        for (int i = 0; i < count; i++)
            stride[i] = c->operand[k].stride[order[i]];
        memcpy(c->operand[k].stride, stride, sizeof stride);
    }
    memcpy(c->size, size, sizeof size);
    c->axes = count;
    *reduced = mask;
}

/* Joins neighbouring axes that every operand walks as one. */
static void merge_axes(struct compiler *c, unsigned *reduced)
{
    for (int i = 0; i + 1 < c->axes;) {
        bool merge = (*reduced >> i & 1) == (*reduced >> (i + 1) & 1);
        for (int k = 0; merge && k < c->operands; k++)
            merge = c->operand[k].stride[i] == c->operand[k].stride[i + 1] * c->size[i + 1];
        if (!merge) {
            i++;
            continue;
        }
        int order[LOOP_AXES], count = 0;
        c->size[i + 1] *= c->size[i];
        for (int axis = 0; axis < c->axes; axis++)
            if (axis != i)
                order[count++] = axis;
        permute_axes(c, order, count, reduced);
    }
}

/* How many of the innermost axes make up the columns of a tile. */
static int column_axes(const struct compiler *c, unsigned reduced)
{
    int64_t columns = 1;
    int count = 0;
    while (count < c->axes) {
        int axis = c->axes - 1 - count;
        bool alike = (reduced >> axis & 1) == (reduced >> (c->axes - 1) & 1);
        if (count && (columns >= COLUMNS_MERGED || columns * c->size[axis] > LOOP_TILE || !alike))
            break;
        columns *= c->size[axis];
        count++;
    }
    return count;
}

static void place_columns(struct compiler *c, struct operand *operand, int first, int64_t columns)
{
    operand->column = c->axes ? operand->stride[c->axes - 1] : 0;
    bool uniform = true;
    for (int axis = first; axis + 1 < c->axes; axis++)
        uniform = uniform && operand->stride[axis] == operand->stride[axis + 1] * c->size[axis + 1];
    if (uniform)
        return;
    int32_t *index = arena_array(c->l->arena, int32_t, (size_t)columns);
    for (int64_t i = 0; i < columns; i++) {
        int64_t rest = i, offset = 0;
        for (int axis = c->axes - 1; axis >= first; axis--) {
            offset += rest % c->size[axis] * operand->stride[axis];
            rest /= c->size[axis];
        }
        index[i] = (int32_t)offset;
    }
    operand->index = index;
}

/* Whether neighbours of an operand lie along this axis and not along columns: tiles that hold both
 * are turned on their way. */
static bool is_turned(const struct compiler *c, int axis)
{
    for (int k = 0; k < c->operands; k++) {
        const struct operand *operand = &c->operand[k];
        if (operand->use <= OPERAND_STORE && operand->stride[axis] == 1 &&
            operand->stride[c->axes - 1] && c->size[axis] >= ROWS_TURNED)
            return true;
    }
    return false;
}

/* Which of the first `axes` becomes the rows. A reduced one where columns are kept, so that sums
 * gather in a row; among these one along which something is turned; but rather any other than one
 * so short that tiles would be small. -1: none. */
static int row_axis(const struct compiler *c, int axes, unsigned reduced, bool column_reduced,
                    int64_t columns)
{
    int longest = axes - 1;
    bool any = column_reduced || !reduced;
    for (int axis = axes - 1; axis >= 0; axis--)
        if ((any || reduced >> axis & 1) && is_turned(c, axis))
            return axis;
    for (int pass = column_reduced; pass < 2; pass++)
        for (int axis = axes - 1; axis >= 0; axis--) {
            bool wanted = pass == 1 || reduced >> axis & 1;
            if (wanted && c->size[axis] * columns >= LOOP_TILE / 4)
                return axis;
            longest = c->size[axis] > c->size[longest] ? axis : longest;
        }
    return longest;
}

static void walk(struct compiler *c, struct loop *loop, unsigned reduced)
{
    int columns = column_axes(c, reduced), first = c->axes - columns;
    loop->columns = 1;
    for (int axis = first; axis < c->axes; axis++)
        loop->columns *= c->size[axis];
    loop->column_reduced = c->axes && reduced >> (c->axes - 1) & 1;
    for (int k = 0; k < c->operands; k++)
        place_columns(c, &c->operand[k], first, loop->columns);
    int row = row_axis(c, first, reduced, loop->column_reduced, loop->columns), order[LOOP_AXES],
        count = 0;
    loop->rows = row < 0 ? 1 : c->size[row];
    loop->row_reduced = row >= 0 && reduced >> row & 1;
    for (int k = 0; k < c->operands; k++) {
        struct operand *operand = &c->operand[k];
        operand->row = row < 0 ? 0 : operand->stride[row];
        bool one_row = loop->rows == 1 || loop->columns > LOOP_TILE / 2; /* in a tile */
        operand->direct = operand->dtype == DTYPE_F32 && !operand->index &&
                          (operand->column == 1 || loop->columns == 1) &&
                          (one_row || operand->row == loop->columns) &&
                          operand->use <= OPERAND_STORE;
    }
    for (unsigned kind = 0; kind < 2; kind++) {
        for (int axis = 0; axis < first; axis++)
            if (axis != row && (reduced >> axis & 1) == kind)
                order[count++] = axis;
        if (kind == 0)
            loop->kept = count;
    }
    permute_axes(c, order, count, &reduced);
    loop->axes = count;
    memcpy(loop->size, c->size, sizeof loop->size);
}

static void note_use(bool *used, int value)
{
    if (value >= VALUE_REGISTER)
        used[value - VALUE_REGISTER] = true;
}

/* Leaves out instructions that nothing uses. */
static void drop_unused(struct compiler *c)
{
    bool used[LOOP_INSTRUCTIONS] = { false };
    int place[LOOP_INSTRUCTIONS], count = 0;
    for (int k = 0; k < c->operands; k++)
        if (c->operand[k].use != OPERAND_LOAD)
            note_use(used, c->operand[k].value);
    for (int i = c->instructions - 1; i >= 0; i--)
        for (int s = 0; used[i] && s < 4; s++)
            note_use(used, c->instruction[i].in[s]);
    for (int i = 0; i < c->instructions; i++) {
        struct instruction instruction = c->instruction[i];
        place[i] = VALUE_REGISTER + count;
        for (int s = 0; s < 4; s++)
            if (instruction.in[s] >= VALUE_REGISTER)
                instruction.in[s] = place[instruction.in[s] - VALUE_REGISTER];
        if (used[i])
            c->instruction[count++] = instruction;
    }
    for (int k = 0; k < c->operands; k++)
        if (c->operand[k].value >= VALUE_REGISTER)
            c->operand[k].value = place[c->operand[k].value - VALUE_REGISTER];
    c->instructions = count;
}

/* Numbers values in their final order: operands, constants, registers. A register is used again
 * after the last use of what it held; results that are stored have one of their own, as they may
 * be written straight to their place. */
static void assign_registers(struct compiler *c, struct loop *loop)
{
    int last[LOOP_INSTRUCTIONS], place[LOOP_INSTRUCTIONS], idle[LOOP_INSTRUCTIONS], idles = 0;
    int base = c->operands + c->constants;
    for (int i = 0; i < c->instructions; i++) {
        last[i] = i;
        for (int s = 0; s < 4; s++)
            if (c->instruction[i].in[s] >= VALUE_REGISTER)
                last[c->instruction[i].in[s] - VALUE_REGISTER] = i;
    }
    for (int k = 0; k < c->operands; k++)
        if (c->operand[k].use != OPERAND_LOAD && c->operand[k].value >= VALUE_REGISTER)
            last[c->operand[k].value - VALUE_REGISTER] = c->instructions; /* never idle again */
    for (int i = 0; i < c->instructions; i++) {
        struct instruction *instruction = &c->instruction[i];
        bool stored = last[i] == c->instructions;
        place[i] = idles && !stored ? idle[--idles] : loop->registers++;
        instruction->out = base + place[i];
        for (int s = 0; s < 4; s++) {
            int in = instruction->in[s] - VALUE_REGISTER;
            if (in >= 0 && last[in] == i) {
                idle[idles++] = place[in];
                last[in] = -1; /* once, where it is read twice */
            }
            if (in >= 0)
                instruction->in[s] = base + place[in];
            else if (instruction->in[s] >= VALUE_CONSTANT)
                instruction->in[s] += c->operands - VALUE_CONSTANT;
        }
    }
    for (int k = 0; k < c->operands; k++) {
        int *value = &c->operand[k].value;
        bool made = *value >= VALUE_REGISTER; /* else there is no instruction to write it */
        for (int other = 0; made && other < k; other++)
            made = !c->operand[other].direct || c->operand[other].use != OPERAND_STORE ||
                   c->operand[other].value != base + place[*value - VALUE_REGISTER];
        c->operand[k].direct &= made || c->operand[k].use == OPERAND_LOAD;
        if (*value >= VALUE_REGISTER)
            *value = base + place[*value - VALUE_REGISTER];
        else if (*value >= VALUE_CONSTANT)
            *value += c->operands - VALUE_CONSTANT;
    }
}

static void *kept_copy(struct arena *arena, const void *from, size_t bytes)
{
    void *copy = arena_allocate(arena, bytes ? bytes : 1);
    return bytes ? memcpy(copy, from, bytes) : copy;
}

static const struct loop *compile(struct lowering *l, const struct group *group,
                                  const bool *lasting, int *value_of)
{
    struct compiler c = { .l = l, .group = group, .value_of = value_of };
    struct loop *loop = arena_new(l->arena, struct loop);
    memset(value_of, 0, l->count * sizeof *value_of);
    c.axes = cuts_sizes(&group->cuts, c.size);
    for (int i = 0; i < group->jobs; i++)
        translate_job(&c, group->job[i], lasting[group->job[i]->out.buffer]);
    unsigned reduced = group->reduction ? reduced_mask(&group->cuts, group->reduction) : 0;
    int order[LOOP_AXES];
    order_axes(&c, reduced, order);
    permute_axes(&c, order, c.axes, &reduced);
    merge_axes(&c, &reduced);
    walk(&c, loop, reduced);
    drop_unused(&c);
    assign_registers(&c, loop);
    loop->operands = c.operands;
    loop->constants = c.constants;
    loop->instructions = c.instructions;
    loop->operand = kept_copy(l->arena, c.operand, (size_t)c.operands * sizeof *c.operand);
    loop->constant = kept_copy(l->arena, c.constant, (size_t)c.constants * sizeof *c.constant);
    loop->instruction =
        kept_copy(l->arena, c.instruction, (size_t)c.instructions * sizeof *c.instruction);
    return loop;
}

/* Which buffers are of use beyond the loop that writes them: the others need not be written. */
static bool *find_lasting(const struct lowering *l, const struct group *groups, size_t count)
{
    bool *lasting = arena_array(l->arena, bool, l->buffer_count);
    for (size_t i = 0; i < count; i++)
        for (int j = 0; j < groups[i].jobs; j++) {
            const struct job *job = groups[i].job[j];
            for (int k = 0; job->loop && k < job->reads; k++)
                if (!maker_of(&groups[i], job->read[k].node))
                    lasting[job->read[k].view.buffer] = true;
            for (int k = 0; !job->loop && k < job->node->sources; k++)
                lasting[job->in[k].buffer] = true;
            if (!job->evaluated || l->values[job->node->id].root)
                lasting[job->out.buffer] = true;
        }
    return lasting;
}

static void finish_matrix(struct step *step, const struct job *job)
{
    step->in = job->in;
    step->out = job->out;
}

size_t fuse_jobs(struct lowering *l, struct step **steps)
{
    struct group *groups = memory_grow(NULL, l->job_count + 1, sizeof *groups);
    size_t count = group_jobs(l, groups);
    const bool *lasting = find_lasting(l, groups, count);
    int *value_of = memory_grow(NULL, l->count + 1, sizeof *value_of);
    *steps = arena_array(l->arena, struct step, count);
    for (size_t i = 0; i < count; i++) {
        struct step *step = &(*steps)[i];
        step->node = groups[i].job[groups[i].jobs - 1]->node;
        if (groups[i].loop)
            step->loop = compile(l, &groups[i], lasting, value_of);
        else
            finish_matrix(step, groups[i].job[0]);
    }
    free(value_of);
    free(groups);
    return count;
}
