/* Fused loops, and copies, as CUDA C; see generate.h. */
#include "cuda/generate_part.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    VECTOR_WIDE = 8, /* neighbours that a thread moves at once: 16 bytes of bf16; and */
    VECTOR = 4,      /* 16 of the others */
    TURNS = 4,       /* rows, where they have something in common */
    HELD_MOST = 64,  /* numbers in a thread's registers, to move the wider vectors */
    KEPT_LANES = 32,
    BLOCKS_WANTED = 528,
    PASSES_LEAST = 4,
    FINISH_LANES = 32,
    SHARED_MOST = 32 << 10 /* bytes; every device gives a block 48 KB */
};

/* The expression of each instruction over a, b, c, d and the numbers s (scale), t (shift). */
static const char *const expressions[LOOP_OPS] = {
    [OP_EXP] = "expf(a)",
    [OP_LOG] = "logf(a)",
    [OP_SQRT] = "sqrtf(a)",
    [OP_SIN] = "sinf(a)",
    [OP_COS] = "cosf(a)",
    [OP_TANH] = "tanhf(a)",
    [OP_SIGMOID] = "__fdividef(1.0f, 1.0f + expf(-a))", /* to 2 units in the last place */
    [OP_SOFTPLUS] = "(a > 0.0f ? a : 0.0f) + log1pf(expf(-fabsf(a)))",
    [OP_ERF] = "erff(a)",
    [OP_SCALE] = "a * s + t",
    [OP_ADD] = "a + b",
    [OP_SUB] = "a - b",
    [OP_MUL] = "a * b",
    [OP_DIV] = "a / b",
    [OP_GREATER] = "a > b ? 1.0f : 0.0f",
    [OP_WHERE] = "a != 0.0f ? b : c",
    [LOOP_COPY] = "a",
    [LOOP_MUL_ADD] = "a * b + c",
    [LOOP_SELECT] = "a > b ? c : d",
    [LOOP_LEAKY] = "a > 0.0f ? b : b * s",
    [LOOP_ROUND] = "from_bf16(to_bf16(a))",
    [LOOP_TRUNCATE] = "truncf(a)",
};
/* A leaky slope of 0 must not turn an infinite b into NaN. */
static const char step_expression[] = "a > 0.0f ? b : 0.0f";

static size_t blocks_of(size_t count, size_t each)
{
    return (count + each - 1) / each;
}

static unsigned power_of_two(size_t least, unsigned most)
{
    unsigned power = 1;
    while (power < least && power < most)
        power *= 2;
    return power;
}

/* A number that reads back as the same float. */
static void add_float(struct text *source, float value)
{
    if (isnan(value))
        text_add(source, "not_a_number()");
    else if (isinf(value))
        text_add(source, value > 0 ? "infinity()" : "(-infinity())");
    else
        text_format(source, "%.9ef", (double)value);
}

/* Rows and columns. */

/* Whether more lies side by side along rows than along columns. Threads that are side by side take
 * neighbouring columns, and a warp whose numbers lie apart moves 32 bytes for each, whatever its
 * type. For a load it waits; so of one load and one store the load decides. */
static bool lies_by_rows(const struct loop *loop)
{
    int rows = 0, columns = 0;
    for (int k = 0; k < loop->operands; k++) {
        const struct operand *operand = &loop->operand[k];
        int weight = operand->use == OPERAND_LOAD ? 3 : 2;
        if (operand->index)
            return false;
        columns += operand->column == 1 ? weight : 0;
        rows += operand->row == 1 && operand->column ? weight : 0;
    }
    return loop->rows > 1 && loop->columns > 1 && rows > columns;
}

/* The same loop whose rows are columns. */
static struct loop turn(const struct loop *loop, struct operand operands[LOOP_OPERANDS])
{
    struct loop turned = *loop;
    memcpy(operands, loop->operand, (size_t)loop->operands * sizeof *operands);
    turned.operand = operands;
    turned.rows = loop->columns;
    turned.columns = loop->rows;
    turned.row_reduced = loop->column_reduced;
    turned.column_reduced = loop->row_reduced;
    for (int k = 0; k < loop->operands; k++) {
        operands[k].row = loop->operand[k].column;
        operands[k].column = loop->operand[k].row;
    }
    return turned;
}

/* Walks. */

/* One of the axes that an index runs over: its size, and where its coordinate stands in the text.
 */
struct axis {
    int64_t size;
    char name[16];
};

struct walk {
    const struct loop *loop;
    struct axis kept[LOOP_AXES + 2], reduced[LOOP_AXES + 2];
    int kept_axes, reduced_axes;
    int64_t kept_count, reduced_count;
    int reductions;
    int vector; /* columns of a thread */
    int held;   /* sums of a thread, for each reduction: as many where columns are kept */
    int turns;  /* rows of a thread */
    bool wide;  /* numbers of 64 bits for indices */
    unsigned kept_lanes, reduced_lanes, pieces;
    int64_t piece; /* vectors of what is reduced */
};

static void push(struct axis *axes, int *count, int64_t size, const char *name)
{
    struct axis *axis = &axes[(*count)++];
    axis->size = size;
    snprintf(axis->name, sizeof axis->name, "%s", name);
}

static void push_either(struct walk *w, bool reduced, int64_t size, const char *name)
{
    if (reduced)
        push(w->reduced, &w->reduced_axes, size, name);
    else
        push(w->kept, &w->kept_axes, size, name);
}

static bool is_reduction(const struct operand *operand)
{
    return operand->use >= OPERAND_SUM;
}

/* The furthest that any operand reaches, in elements. */
static int64_t reach(const struct loop *loop)
{
    int64_t furthest = 0;
    for (int k = 0; k < loop->operands; k++) {
        const struct operand *operand = &loop->operand[k];
        int64_t at = 0;
        for (int axis = 0; axis < loop->axes; axis++)
            at += (loop->size[axis] - 1) * llabs(operand->stride[axis]);
        at += (loop->rows - 1) * llabs(operand->row);
        at += (loop->columns - 1) * llabs(operand->column);
        furthest = at > furthest ? at : furthest;
    }
    return furthest;
}

/* Whether so many neighbouring columns of the operand can be read as one, or are one value. What is
 * reduced is written number by number. */
static bool suits_vector(const struct loop *loop, const struct operand *operand, int vector)
{
    if (operand->index)
        return false;
    if (operand->column == 0 || is_reduction(operand))
        return true;
    bool aligned = operand->column == 1 && operand->offset % vector == 0 &&
                   (loop->rows == 1 || operand->row % vector == 0);
    for (int axis = 0; axis < loop->axes; axis++)
        aligned = aligned && (loop->size[axis] == 1 || operand->stride[axis] % vector == 0);
    return aligned;
}

static bool all_suit(const struct loop *loop, int vector)
{
    bool suit = loop->columns % vector == 0;
    for (int k = 0; k < loop->operands; k++)
        suit = suit && suits_vector(loop, &loop->operand[k], vector);
    return suit;
}

/* Wide vectors where something is bf16, as long as they leave enough threads, and registers. */
static int choose_vector(const struct walk *w)
{
    const struct loop *loop = w->loop;
    int numbers = 0;
    bool half = false;
    for (int k = 0; k < loop->operands; k++) {
        const struct operand *operand = &loop->operand[k];
        numbers += operand->column ? VECTOR_WIDE : 1;
        half = half || (operand->column && operand->dtype == DTYPE_BF16);
    }
    int64_t threads = w->kept_count * w->reduced_count / VECTOR_WIDE;
    if (half && numbers <= HELD_MOST && threads >= BLOCKS_WANTED * KERNEL_THREADS &&
        all_suit(loop, VECTOR_WIDE))
        return VECTOR_WIDE;
    return all_suit(loop, VECTOR) ? VECTOR : 1;
}

/* Whether all rows of a tile read the same of it. */
static bool is_common(const struct loop *loop, const struct operand *operand)
{
    return operand->use == OPERAND_LOAD && operand->row == 0 && loop->rows > 1;
}

/* Several rows a thread where they have vectors in common (biases, gains, the statistics of an
 * image): these, and the coordinates, would else cost more than what a row has of its own. */
static int choose_turns(const struct walk *w)
{
    const struct loop *loop = w->loop;
    int common = 0;
    for (int k = 0; k < loop->operands; k++)
        common += is_common(loop, &loop->operand[k]) && loop->operand[k].column ? w->vector : 0;
    int64_t threads = w->kept_count / w->vector / TURNS;
    bool worth = !w->reductions && w->vector > 1 && common && common <= HELD_MOST &&
                 loop->rows % TURNS == 0 && threads >= BLOCKS_WANTED * KERNEL_THREADS / 2;
    return worth ? TURNS : 1;
}

/* In threads, so in vectors. */
static size_t kept_groups(const struct walk *w)
{
    return (size_t)(w->kept_count / w->held);
}

static size_t reduced_groups(const struct walk *w)
{
    return (size_t)(w->reduced_count / (w->vector / w->held));
}

static void choose_lanes(struct walk *w)
{
    size_t kept = kept_groups(w), reduced = reduced_groups(w);
    if (w->loop->column_reduced) {
        w->reduced_lanes = power_of_two(reduced, KERNEL_THREADS);
        w->kept_lanes = KERNEL_THREADS / w->reduced_lanes;
    } else {
        w->kept_lanes = power_of_two(kept, KEPT_LANES);
        w->reduced_lanes = power_of_two(reduced, KERNEL_THREADS / w->kept_lanes);
        w->kept_lanes = KERNEL_THREADS / w->reduced_lanes;
    }
    size_t blocks = blocks_of(kept, w->kept_lanes), passes = blocks_of(reduced, w->reduced_lanes);
    size_t wanted = BLOCKS_WANTED / blocks, most = blocks_of(passes, PASSES_LEAST);
    wanted +=
        wanted * blocks < BLOCKS_WANTED / 4 * 3; /* a few too many would wait for all others */
    size_t pieces = wanted < most ? wanted : most;
    size_t each = blocks_of(passes, pieces);
    w->piece = (int64_t)(each * w->reduced_lanes);
    w->pieces = (unsigned)blocks_of(passes, each);
}

static struct walk walk_of(const struct loop *loop)
{
    struct walk w = { .loop = loop, .kept_count = 1, .reduced_count = 1 };
    for (int axis = 0; axis < loop->axes; axis++) {
        char name[16];
        snprintf(name, sizeof name, "i%d", axis);
        push_either(&w, axis >= loop->kept, loop->size[axis], name);
    }
    push_either(&w, loop->row_reduced, loop->rows, "row");
    push_either(&w, loop->column_reduced, loop->columns, "column");
    for (int i = 0; i < w.kept_axes; i++)
        w.kept_count *= w.kept[i].size;
    for (int i = 0; i < w.reduced_axes; i++)
        w.reduced_count *= w.reduced[i].size;
    for (int k = 0; k < loop->operands; k++)
        w.reductions += is_reduction(&loop->operand[k]);
    w.wide = w.kept_count * w.reduced_count + KERNEL_THREADS * BLOCKS_WANTED >= INT32_MAX ||
             reach(loop) >= INT32_MAX;
    w.vector = choose_vector(&w);
    w.held = w.reductions && !loop->column_reduced ? w.vector : 1;
    w.turns = choose_turns(&w);
    if (w.reductions)
        choose_lanes(&w);
    return w;
}

/* Text. */

static const char *index_type(const struct walk *w)
{
    return w->wide ? "long long" : "int";
}

static bool same_walk(const struct operand *a, const struct operand *b)
{
    return a->dtype == b->dtype && a->offset == b->offset && a->row == b->row &&
           a->column == b->column && memcmp(a->stride, b->stride, sizeof a->stride) == 0;
}

/* Whether nothing is stored where the operand is read. It may be in one buffer, and where a
 * parameter is updated in place (schedule.h: `direct`). Then the compiler must not move the load
 * across a store; else it may, and reads once what a thread's columns have in common. */
static bool is_read_only(const struct loop *loop, const struct operand *load)
{
    for (int k = 0; k < loop->operands; k++) {
        const struct operand *other = &loop->operand[k];
        if (other->use != OPERAND_LOAD &&
            (other->buffer == load->buffer ||
             (!other->direct && other->dtype == DTYPE_F32 && same_walk(other, load))))
            return false;
    }
    return load->use == OPERAND_LOAD;
}

static void add_parameters(struct text *source, const struct loop *loop, bool scratch)
{
    for (int k = 0; k < loop->operands; k++) {
        const struct operand *operand = &loop->operand[k];
        text_format(source, "%s%s%s *%sp%d", k ? ", " : "",
                    operand->use == OPERAND_LOAD ? "const " : "", generate_types[operand->dtype],
                    is_read_only(loop, operand) ? "__restrict__ " : "", k);
    }
    if (scratch)
        text_add(source, ", float *partial");
}

static void add_tables(struct text *source, const struct loop *loop, const char *name)
{
    for (int k = 0; k < loop->operands; k++) {
        const struct operand *operand = &loop->operand[k];
        if (!operand->index)
            continue;
        text_format(source, "__device__ const int %s_at%d[%" PRId64 "] = { ", name, k,
                    loop->columns);
        for (int64_t i = 0; i < loop->columns; i++)
            text_format(source, "%d,", operand->index[i]);
        text_add(source, " };\n");
    }
}

/* The coordinates that an index stands for, the last axis running fastest. `step`: the index counts
 * groups of so many columns. */
static void add_coordinates(struct text *source, const struct walk *w, const struct axis *axes,
                            int count, const char *index, int step)
{
    int outermost = 0;
    while (outermost + 1 < count && axes[outermost].size == 1)
        outermost++;
    text_format(source, "        %s rest_%s = %s;\n", index_type(w), index, index);
    for (int i = count - 1; i >= 0; i--) {
        int64_t size = axes[i].size / (i == count - 1 ? step : 1);
        const char *name = axes[i].name;
        if (size == 1)
            text_format(source, "        const %s %s = 0;\n", index_type(w), name);
        else if (i == outermost)
            text_format(source, "        const %s %s = rest_%s;\n", index_type(w), name, index);
        else
            text_format(source,
                        "        const %s %s = rest_%s %% %" PRId64 "; rest_%s /= %" PRId64 ";\n",
                        index_type(w), name, index, size, index, size);
    }
    text_format(source, "        (void)rest_%s;\n", index);
}

/* Where an operand lies at the coordinates. */
static void add_place(struct text *source, const struct loop *loop, int k, const char *name,
                      int step)
{
    const struct operand *operand = &loop->operand[k];
    text_add(source, "0");
    for (int axis = 0; axis < loop->axes; axis++)
        if (operand->stride[axis] && loop->size[axis] > 1)
            text_format(source, " + i%d * %" PRId64, axis, operand->stride[axis]);
    if (operand->row && loop->rows > 1)
        text_format(source, " + row * %" PRId64, operand->row);
    if (operand->index)
        text_format(source, " + %s_at%d[column]", name, k);
    else if (operand->column && loop->columns > 1)
        text_format(source, " + column * %" PRId64, operand->column * step);
}

/* Of operands that rows have in common, or of the others. */
static void add_loads(struct text *source, const struct walk *w, const char *name, bool common)
{
    const struct loop *loop = w->loop;
    for (int k = 0; k < loop->operands; k++) {
        if (loop->operand[k].use != OPERAND_LOAD ||
            common != (w->turns > 1 && is_common(loop, &loop->operand[k])))
            continue;
        bool one = w->vector == 1 || loop->operand[k].column == 0;
        text_format(source, "        float x%d[%d]; load%d(p%d + (", k, one ? 1 : w->vector,
                    one ? 1 : w->vector, k);
        add_place(source, loop, k, name, w->vector);
        text_format(source, "), x%d);\n", k);
    }
}

/* A value of a loop: an operand (read), a constant, a register. An input that an instruction does
 * not have says 0, which may be an operand that is only written. */
static void add_value(struct text *source, const struct walk *w, int value)
{
    const struct loop *loop = w->loop;
    if (value < loop->operands && loop->operand[value].use != OPERAND_LOAD) {
        text_add(source, "0.0f");
    } else if (value < loop->operands) {
        bool one = w->vector == 1 || loop->operand[value].column == 0;
        text_format(source, one ? "x%d[0]" : "x%d[l]", value);
    } else if (value < loop->operands + loop->constants)
        add_float(source, loop->constant[value - loop->operands]);
    else
        text_format(source, "r%d", value - loop->operands - loop->constants);
}

static void add_instruction(struct text *source, const struct walk *w,
                            const struct instruction *instruction)
{
    static const char *const names[4] = { "a", "b", "c", "d" };
    const char *expression = expressions[instruction->op];
    if (instruction->op == LOOP_LEAKY && instruction->scale == 0)
        expression = step_expression;
    CHECK(expression, "no expression for instruction %d", instruction->op);
    text_add(source, "            { ");
    for (int i = 0; i < 4; i++) {
        text_format(source, "const float %s = ", names[i]);
        add_value(source, w, instruction->in[i]);
        text_format(source, "; (void)%s; ", names[i]);
    }
    text_add(source, "const float s = ");
    add_float(source, instruction->scale);
    text_add(source, ", t = ");
    add_float(source, instruction->shift);
    text_format(source, "; (void)s; (void)t; r%d = %s; }\n",
                instruction->out - w->loop->operands - w->loop->constants, expression);
}

/* The program over `vector` elements; results that are stored go to y, reduced ones to their sums.
 */
static void add_program(struct text *source, const struct walk *w)
{
    const struct loop *loop = w->loop;
    const char *lane = w->held > 1 ? "l" : "0";
    for (int k = 0; k < loop->operands; k++)
        if (loop->operand[k].use == OPERAND_STORE)
            text_format(source, "        float y%d[%d];\n", k, w->vector);
    text_format(source, "        UNROLL for (int l = 0; l < %d; l++) {\n", w->vector);
    for (int r = 0; r < loop->registers; r++)
        text_format(source, "%s r%d%s", r ? "," : "            float", r,
                    r + 1 == loop->registers ? ";\n" : "");
    for (int i = 0; i < loop->instructions; i++)
        add_instruction(source, w, &loop->instruction[i]);
    for (int k = 0; k < loop->operands; k++) {
        const struct operand *operand = &loop->operand[k];
        if (operand->use == OPERAND_LOAD)
            continue;
        if (operand->use == OPERAND_STORE)
            text_format(source, "            y%d[l] = ", k);
        else if (operand->use == OPERAND_SUM)
            text_format(source, "            s%d[%s] += ", k, lane);
        else
            text_format(source, "            s%d[%s] = larger(s%d[%s], ", k, lane, k, lane);
        add_value(source, w, operand->value);
        text_add(source, operand->use == OPERAND_MAX ? ");\n" : ";\n");
    }
    text_add(source, "        }\n");
}

static void add_stores(struct text *source, const struct walk *w, const char *name)
{
    const struct loop *loop = w->loop;
    for (int k = 0; k < loop->operands; k++) {
        if (loop->operand[k].use != OPERAND_STORE)
            continue;
        text_format(source, "        store%d(p%d + (", w->vector, k);
        add_place(source, loop, k, name, w->vector);
        text_format(source, "), y%d);\n", k);
    }
}

/* A thread's rows lie a quarter of all rows apart, so that threads side by side read side by side.
 */
static void add_flat(struct text *source, struct walk *w, const char *name)
{
    struct axis *rows = &w->kept[w->kept_axes - 2];
    if (w->turns > 1)
        *rows = (struct axis){ rows->size / w->turns, "first" };
    text_format(source,
                "        const %s index = block * %d + threadIdx.x;\n"
                "        if (index >= count) return;\n",
                index_type(w), KERNEL_THREADS);
    add_coordinates(source, w, w->kept, w->kept_axes, "index", w->vector);
    add_loads(source, w, name, true);
    if (w->turns > 1)
        text_format(source,
                    "        UNROLL for (int turn = 0; turn < %d; turn++) {\n"
                    "        const %s row = first + turn * (%s)%" PRId64 ";\n",
                    w->turns, index_type(w), index_type(w), rows->size);
    add_loads(source, w, name, false);
    add_program(source, w);
    add_stores(source, w, name);
    text_add(source, w->turns > 1 ? "        }\n" : "");
}

static const char *start_of(const struct operand *operand)
{
    return operand->use == OPERAND_SUM ? "0.0f" : "-infinity()";
}

static const char *joint_of(const struct operand *operand)
{
    return operand->use == OPERAND_SUM ? "added" : "larger";
}

/* How many reductions meet at once. */
static int meet_at_once(const struct walk *w)
{
    int most = SHARED_MOST / (KERNEL_THREADS * w->held * (int)sizeof(float));
    return w->reductions < most ? w->reductions : most;
}

/* Shows what the lanes hold of reductions `from` to `to`, and adds it up. */
static void add_tree(struct text *source, const struct walk *w, const int *reduction, int from,
                     int to)
{
    unsigned apart = w->loop->column_reduced ? 1 : w->kept_lanes; /* of neighbouring lanes */
    for (int i = from; i < to; i++)
        text_format(source,
                    "    UNROLL for (int l = 0; l < %d; l++) sums[%d + l][thread] = s%d[l];\n",
                    w->held, (i - from) * w->held, reduction[i]);
    text_add(source, "    __syncthreads();\n");
    for (unsigned half = w->reduced_lanes / 2; half; half /= 2) {
        text_format(source, "    if (lane < %u) UNROLL for (int l = 0; l < %d; l++) {\n", half,
                    w->held);
        for (int i = from; i < to; i++) {
            int at = (i - from) * w->held;
            text_format(source,
                        "        sums[%d + l][thread] = %s(sums[%d + l][thread], "
                        "sums[%d + l][thread + %u]);\n",
                        at, joint_of(&w->loop->operand[reduction[i]]), at, at, half * apart);
        }
        text_add(source, "    }\n    __syncthreads();\n");
    }
}

/* Writes what was added up of a reduction to its place, or aside. */
static void add_result(struct text *source, const struct walk *w, const char *name, int k,
                       int number, int at)
{
    text_format(source, "        UNROLL for (int l = 0; l < %d; l++)\n            ", w->held);
    if (w->pieces > 1)
        text_format(source,
                    "partial[(%dll * %u + blockIdx.y) * %" PRId64 " + index * %d + l] = "
                    "sums[%d + l][thread];\n",
                    number, w->pieces, w->kept_count, w->held, at);
    else {
        text_format(source, "store1(p%d + (", k);
        add_place(source, w->loop, k, name, w->held);
        text_format(source, ") + l * %" PRId64 ", &sums[%d + l][thread]);\n",
                    w->loop->operand[k].column, at);
    }
}

/* Adds up what the lanes hold, in a tree, and writes it. */
static void add_meeting(struct text *source, const struct walk *w, const char *name)
{
    int reduction[LOOP_OPERANDS], count = 0, at_once = meet_at_once(w);
    for (int k = 0; k < w->loop->operands; k++)
        if (is_reduction(&w->loop->operand[k]))
            reduction[count++] = k;
    for (int from = 0; from < count; from += at_once) {
        int to = from + at_once < count ? from + at_once : count;
        add_tree(source, w, reduction, from, to);
        text_add(source, "    if (lane == 0 && index < count) {\n");
        if (w->pieces == 1)
            add_coordinates(source, w, w->kept, w->kept_axes, "index", w->held);
        for (int i = from; i < to; i++)
            add_result(source, w, name, reduction[i], i, (i - from) * w->held);
        text_add(source, to < count ? "    }\n    __syncthreads();\n" : "    }\n");
    }
}

/* Lanes that share what is reduced stand where memory has it side by side. */
static void add_reducing(struct text *source, const struct walk *w, const char *name)
{
    const struct loop *loop = w->loop;
    size_t reduced = reduced_groups(w);
    unsigned apart = loop->column_reduced ? w->reduced_lanes : w->kept_lanes;
    text_format(source,
                "    const int thread = threadIdx.x, lane = thread %s %u;\n"
                "    const %s index = block * %u + thread %s %u;\n",
                loop->column_reduced ? "%" : "/", apart, index_type(w), w->kept_lanes,
                loop->column_reduced ? "/" : "%", apart);
    for (int k = 0; k < loop->operands; k++)
        if (is_reduction(&loop->operand[k]))
            text_format(source,
                        "    float s%d[%d]; UNROLL for (int l = 0; l < %d; l++) s%d[l] = %s;\n", k,
                        w->held, w->held, k, start_of(&loop->operand[k]));
    text_format(source,
                "    if (index < count) {\n"
                "        const %s begin = (%s)blockIdx.y * %" PRId64 ";\n"
                "        const %s end = begin + %" PRId64 " < %zu ? begin + %" PRId64 " : %zu;\n",
                index_type(w), index_type(w), w->piece, index_type(w), w->piece, reduced, w->piece,
                reduced);
    add_coordinates(source, w, w->kept, w->kept_axes, "index", w->held);
    text_format(source, "        for (%s inner = begin + lane; inner < end; inner += %u) {\n",
                index_type(w), w->reduced_lanes);
    add_coordinates(source, w, w->reduced, w->reduced_axes, "inner", w->vector / w->held);
    add_loads(source, w, name, false);
    add_program(source, w);
    add_stores(source, w, name);
    text_add(source, "        }\n    }\n");
    add_meeting(source, w, name);
}

/* The pieces of one reduction: each lane adds its own in double, in order, and lanes meet in a
 * tree. One thread for all of them would wait for the memory some hundred times. */
static void add_pieces(struct text *source, const struct walk *w, const char *name, int k,
                       int number, unsigned lanes)
{
    bool sum = w->loop->operand[k].use == OPERAND_SUM;
    unsigned kept = KERNEL_THREADS / lanes;
    text_format(source,
                "    {\n        double total = %s;\n"
                "        if (index < %" PRId64 ")\n"
                "            UNROLL_4 for (int piece = lane; piece < %u; piece += %u) {\n"
                "                const double part = partial[(%dll * %u + piece) * %" PRId64
                " + index];\n                total = %s;\n            }\n"
                "        sums[threadIdx.x] = total;\n        __syncthreads();\n",
                sum ? "0" : "-infinity()", w->kept_count, w->pieces, lanes, number, w->pieces,
                w->kept_count, sum ? "total + part" : "larger(total, part)");
    for (unsigned half = lanes / 2; half; half /= 2)
        text_format(source,
                    "        if (lane < %u) sums[threadIdx.x] = %s(sums[threadIdx.x], "
                    "sums[threadIdx.x + %u]);\n        __syncthreads();\n",
                    half, joint_of(&w->loop->operand[k]), half * kept);
    text_format(source,
                "        if (lane == 0 && index < %" PRId64
                ") {\n            float result[1] = { (float)sums[threadIdx.x] };\n",
                w->kept_count);
    add_coordinates(source, w, w->kept, w->kept_axes, "index", 1);
    text_format(source, "            store1(p%d + (", k);
    add_place(source, w->loop, k, name, 1);
    text_format(source, "), result);\n        }\n%s    }\n",
                number + 1 < w->reductions ? "        __syncthreads();\n" : "");
}

/* The second kernel: adds up the pieces of each kept element. */
static void add_finish(struct text *source, const struct walk *w, const char *name,
                       struct kernel *kernel)
{
    const struct loop *loop = w->loop;
    int reduction = 0;
    unsigned lanes = power_of_two(w->pieces, FINISH_LANES), kept = KERNEL_THREADS / lanes;
    snprintf(kernel->finish, sizeof kernel->finish, "%s_finish", name);
    text_format(source, "extern \"C\" __global__ void __launch_bounds__(%d) %s(", KERNEL_THREADS,
                kernel->finish);
    add_parameters(source, loop, true);
    text_format(source,
                ")\n{\n    __shared__ double sums[%d];\n"
                "    const %s index = (%s)blockIdx.x * %u + threadIdx.x %% %u;\n"
                "    const int lane = threadIdx.x / %u;\n",
                KERNEL_THREADS, index_type(w), index_type(w), kept, kept, kept);
    for (int k = 0; k < loop->operands; k++)
        if (is_reduction(&loop->operand[k]))
            add_pieces(source, w, name, k, reduction++, lanes);
    text_add(source, "}\n");
    kernel->finish_blocks = (unsigned)blocks_of((size_t)w->kept_count, kept);
    kernel->scratch = (size_t)w->reductions * w->pieces * (size_t)w->kept_count * sizeof(float);
}

/* How many blocks share the loop, and how many numbers of each of their threads meet. */
static struct part part_of(const struct walk *w)
{
    int64_t flat = w->kept_count / w->vector / w->turns;
    if (!w->reductions)
        return (struct part){ (unsigned)blocks_of((size_t)flat, KERNEL_THREADS), flat, 0 };
    size_t kept = kept_groups(w);
    return (struct part){ (unsigned)blocks_of(kept, w->kept_lanes), (int64_t)kept,
                          meet_at_once(w) * w->held };
}

static void add_body(struct text *source, struct walk *w, const char *name)
{
    if (w->reductions)
        add_reducing(source, w, name);
    else
        add_flat(source, w, name);
}

/* The loop, or `operands` and a loop that is made of them, walked the better way. */
static struct loop walked(const struct loop *loop, struct operand operands[LOOP_OPERANDS])
{
    return lies_by_rows(loop) ? turn(loop, operands) : *loop;
}

void generate_loop(const struct loop *given, const char *name, struct text *source,
                   struct kernel *kernel)
{
    struct operand operands[LOOP_OPERANDS];
    struct loop loop = walked(given, operands);
    struct walk w = walk_of(&loop);
    struct part part = part_of(&w);
    bool aside = w.reductions && w.pieces > 1;
    *kernel = (struct kernel){ .blocks = part.blocks,
                               .pieces = w.reductions ? w.pieces : 1,
                               .threads = { KERNEL_THREADS, 1 },
                               .arguments = loop.operands + aside };
    snprintf(kernel->name, sizeof kernel->name, "%s", name);
    add_tables(source, &loop, name);
    text_format(source, "extern \"C\" __global__ void __launch_bounds__(%d) %s(", KERNEL_THREADS,
                name);
    add_parameters(source, &loop, aside);
    text_format(source, ")\n{\n    const %s block = blockIdx.x, count = %" PRId64 ";\n",
                index_type(&w), part.count);
    if (part.sums)
        text_format(source, "    __shared__ float sums[%d][%d];\n", part.sums, KERNEL_THREADS);
    add_body(source, &w, name);
    text_add(source, "}\n");
    if (aside)
        add_finish(source, &w, name, kernel);
}

/* Parts of kernels. */

bool loop_suits_part(const struct loop *given)
{
    struct operand operands[LOOP_OPERANDS];
    struct loop loop = walked(given, operands);
    struct walk w = walk_of(&loop);
    return !w.wide && (!w.reductions || w.pieces == 1);
}

static void add_pointers(struct text *source, const struct loop *loop)
{
    for (int k = 0; k < loop->operands; k++) {
        const struct operand *operand = &loop->operand[k];
        const char *constant = operand->use == OPERAND_LOAD ? "const " : "";
        const char *type = generate_types[operand->dtype];
        text_format(source, "    %s%s *%sp%d = (%s%s *)at[%d];\n", constant, type,
                    is_read_only(loop, operand) ? "__restrict__ " : "", k, constant, type, k);
    }
}

struct part generate_part(const struct loop *given, const char *name, struct text *tables,
                          struct text *body)
{
    struct operand operands[LOOP_OPERANDS];
    struct loop loop = walked(given, operands);
    struct walk w = walk_of(&loop);
    struct part part = part_of(&w);
    add_tables(tables, &loop, name);
    add_pointers(body, &loop);
    add_body(body, &w, name);
    return part;
}

/* A copy is a loop of no instructions. */
void generate_copy(const struct view *from, const struct view *to, const char *name,
                   struct text *source, struct kernel *kernel)
{
    struct operand operand[2] = { { .use = OPERAND_LOAD, .dtype = from->dtype },
                                  { .use = OPERAND_STORE, .dtype = to->dtype } };
    const struct view *views[2] = { from, to };
    struct loop loop = { .rows = 1, .columns = 1, .operands = 2, .operand = operand };
    int order[RANK_MAX], rank = to->shape.rank; /* as the result lies */
    for (int axis = 0; axis < rank; axis++) {
        int at = axis;
        for (; at > 0 && llabs(to->stride[order[at - 1]]) < llabs(to->stride[axis]); at--)
            order[at] = order[at - 1];
        order[at] = axis;
    }
    for (int i = 0; i + 1 < rank; i++) {
        loop.size[i] = to->shape.size[order[i]];
        for (int k = 0; k < 2; k++)
            operand[k].stride[i] = views[k]->stride[order[i]];
    }
    loop.axes = loop.kept = rank > 0 ? rank - 1 : 0;
    loop.columns = rank > 0 ? to->shape.size[order[rank - 1]] : 1;
    for (int k = 0; k < 2; k++) {
        operand[k].offset = views[k]->offset;
        operand[k].column = rank > 0 ? views[k]->stride[order[rank - 1]] : 0;
    }
    generate_loop(&loop, name, source, kernel);
}
