/* Fused loops on the CPU: the walk over tiles, loads, stores and reductions; see schedule.h.
 *
 * A loop is cut into units that share no result: every block of the kept axes is one. Where these
 * are fewer than UNITS_WANTED, the reduced part of each is cut too, always in the same way; the
 * pieces' sums are put aside and added up in order at the end. So results do not depend on the
 * number of threads, nor on which of them took which unit. A tile is summed in float, tiles are
 * added in double.
 *
 * What a tile needs lies in scratch memory of the worker: one array of LOOP_TILE floats for each
 * constant, register and operand that is not dense where it lies. A load that is the same for the
 * next tile (a bias, the statistics of an image) is not repeated.
 */
#include "tensor/cpu_math.h"
#include "tensor/cpu_parts.h"

#include "base/parallel.h"
#include "base/simd.h"

#include <stdatomic.h>

enum { UNITS_WANTED = 32, SERIAL = 32768, WORKERS_MAX = 64, RANGES = 4 };

struct shape_of_loop {
    size_t tile_rows, tile_columns, row_blocks, column_blocks;
    size_t kept, inner, splits; /* units: kept × splits; tiles of a kept block: inner */
    size_t reductions, partial; /* doubles that a reduction puts aside for a unit */
    size_t elements;
};

struct walk {
    const struct loop *loop;
    const struct run *run;
    struct shape_of_loop shape;
    double *partials;
    float *tiles; /* of all workers */
    size_t tiles_each;
    size_t workers, range;
    atomic_size_t next;
};

struct worker {
    const struct walk *walk;
    float *value[LOOP_OPERANDS + 2 * LOOP_INSTRUCTIONS];
    const void *loaded[LOOP_OPERANDS]; /* where the tile of an operand was taken from */
    size_t loaded_rows[LOOP_OPERANDS], loaded_columns[LOOP_OPERANDS];
    double *sum; /* reductions × tile */
    size_t rows, columns;
    size_t row, column; /* where the tile begins */
    int64_t outer[LOOP_OPERANDS];
};

static size_t blocks(size_t count, size_t block)
{
    return (count + block - 1) / block;
}

static struct shape_of_loop measure(const struct loop *loop)
{
    struct shape_of_loop s = { .kept = 1, .inner = 1, .splits = 1 };
    size_t rows = (size_t)loop->rows, columns = (size_t)loop->columns;
    s.tile_columns = columns < LOOP_TILE ? columns : LOOP_TILE;
    s.tile_rows = LOOP_TILE / s.tile_columns < rows ? LOOP_TILE / s.tile_columns : rows;
    s.row_blocks = blocks(rows, s.tile_rows);
    s.column_blocks = blocks(columns, s.tile_columns);
    s.elements = rows * columns;
    for (int axis = 0; axis < loop->axes; axis++) {
        *(axis < loop->kept ? &s.kept : &s.inner) *= (size_t)loop->size[axis];
        s.elements *= (size_t)loop->size[axis];
    }
    *(loop->row_reduced ? &s.inner : &s.kept) *= s.row_blocks;
    *(loop->column_reduced ? &s.inner : &s.kept) *= s.column_blocks;
    for (int i = 0; i < loop->operands; i++)
        s.reductions += loop->operand[i].use >= OPERAND_SUM;
    if (s.reductions && s.kept < UNITS_WANTED) {
        s.splits = blocks(UNITS_WANTED, s.kept);
        s.splits = s.splits < s.inner ? s.splits : s.inner;
    }
    s.partial = (loop->row_reduced ? 1 : s.tile_rows) * (loop->column_reduced ? 1 : s.tile_columns);
    return s;
}

static size_t worker_floats(const struct loop *loop, const struct shape_of_loop *s)
{
    size_t tiles = (size_t)(loop->operands + loop->constants + loop->registers);
    return tiles * LOOP_TILE + 2 * s->reductions * s->partial;
}

size_t cpu_loop_scratch(const struct loop *loop)
{
    struct shape_of_loop s = measure(loop);
    size_t partials = s.splits > 1 ? s.kept * s.splits * s.reductions * s.partial : 0;
    size_t workers = (size_t)parallel_threads();
    workers = workers < WORKERS_MAX ? workers : WORKERS_MAX;
    return (partials + 8) * sizeof(double) + workers * (worker_floats(loop, &s) + 16) * 4;
}

/* Loads. */

HOT static void load_row(float *restrict out, const void *from, enum dtype dtype, size_t count)
{
    if (dtype == DTYPE_F32)
        memcpy(out, from, count * sizeof *out);
    else if (dtype == DTYPE_BF16)
        for (size_t i = 0; i < count; i++)
            out[i] = cpu_from_bf16(((const uint16_t *)from)[i]);
    else
        for (size_t i = 0; i < count; i++)
            out[i] = (float)((const int32_t *)from)[i];
}

static float load_one(const void *from, enum dtype dtype, int64_t at)
{
    return dtype == DTYPE_F32    ? ((const float *)from)[at]
           : dtype == DTYPE_BF16 ? cpu_from_bf16(((const uint16_t *)from)[at])
                                 : (float)((const int32_t *)from)[at];
}

static void load_columns(float *out, const struct operand *operand, const void *from, size_t count)
{
    if (operand->index) {
        for (size_t i = 0; i < count; i++)
            out[i] = load_one(from, operand->dtype, operand->index[i]);
    } else if (operand->column == 1 || count == 1) {
        load_row(out, from, operand->dtype, count);
    } else if (operand->column == 0) {
        float value = load_one(from, operand->dtype, 0);
        for (size_t i = 0; i < count; i++)
            out[i] = value;
    } else
        for (size_t i = 0; i < count; i++)
            out[i] = load_one(from, operand->dtype, (int64_t)i * operand->column);
}

static const char *address(const struct worker *w, int k)
{
    const struct operand *operand = &w->walk->loop->operand[k];
    int64_t at = operand->offset + w->outer[k] + (int64_t)w->row * operand->row +
                 (operand->index ? 0 : (int64_t)w->column * operand->column);
    const char *memory = w->walk->run->memory[operand->buffer];
    return memory + at * (int64_t)dtype_bytes(operand->dtype);
}

/* Columns that are contiguous in rows that follow one another are one long row. */
static void load_tile(struct worker *w, int k)
{
    const struct operand *operand = &w->walk->loop->operand[k];
    const char *from = address(w, k);
    float *out = w->value[k];
    size_t bytes = dtype_bytes(operand->dtype);
    if (w->loaded[k] == from && w->loaded_rows[k] == w->rows && w->loaded_columns[k] == w->columns)
        return;
    w->loaded[k] = from;
    w->loaded_rows[k] = w->rows;
    w->loaded_columns[k] = w->columns;
    bool dense = !operand->index && operand->column == 1 && operand->row == (int64_t)w->columns;
    if (dense) {
        load_row(out, from, operand->dtype, w->rows * w->columns);
        return;
    }
    for (size_t r = 0; r < w->rows; r++, out += w->columns) {
        if (r && operand->row == 0)
            memcpy(out, out - w->columns, w->columns * sizeof *out);
        else
            load_columns(out, operand, from + (int64_t)r * operand->row * (int64_t)bytes,
                         w->columns);
    }
}

/* Stores. */

HOT static void store_row(void *to, const float *restrict in, enum dtype dtype, size_t count)
{
    if (dtype == DTYPE_F32)
        memcpy(to, in, count * sizeof *in);
    else if (dtype == DTYPE_BF16)
        for (size_t i = 0; i < count; i++)
            ((uint16_t *)to)[i] = cpu_bf16(in[i]);
    else
        for (size_t i = 0; i < count; i++)
            ((int32_t *)to)[i] = (int32_t)in[i];
}

static void store_one(void *to, enum dtype dtype, int64_t at, float value)
{
    store_row((char *)to + at * (int64_t)dtype_bytes(dtype), &value, dtype, 1);
}

static void store_tile(struct worker *w, int k)
{
    const struct operand *operand = &w->walk->loop->operand[k];
    char *to = (char *)(uintptr_t)address(w, k);
    const float *in = w->value[operand->value];
    int64_t bytes = (int64_t)dtype_bytes(operand->dtype);
    bool run = !operand->index && (operand->column == 1 || w->columns == 1);
    if (run && (operand->row == (int64_t)w->columns || w->rows == 1)) {
        store_row(to, in, operand->dtype, w->rows * w->columns);
        return;
    }
    for (size_t r = 0; r < w->rows; r++, in += w->columns) {
        char *row = to + (int64_t)r * operand->row * bytes;
        if (run)
            store_row(row, in, operand->dtype, w->columns);
        for (size_t i = 0; !run && i < w->columns; i++)
            store_one(row, operand->dtype,
                      operand->index ? operand->index[i] : (int64_t)i * operand->column, in[i]);
    }
}

/* Reductions. */

HOT static float sum_row(const float *in, size_t count)
{
    float lane[16] = { 0 }, sum = 0;
    size_t i = 0;
    for (; i + 16 <= count; i += 16)
        for (size_t k = 0; k < 16; k++)
            lane[k] += in[i + k];
    for (; i < count; i++)
        sum += in[i];
    for (size_t k = 0; k < 16; k++)
        sum += lane[k];
    return sum;
}

/* Sums of columns, in blocks that stay in registers. */
HOT static void add_rows(double *sum, const float *in, size_t rows, size_t columns)
{
    enum { BLOCK = 32 };
    size_t i = 0;
    for (; i + BLOCK <= columns; i += BLOCK) {
        float part[BLOCK] = { 0 };
        for (size_t r = 0; r < rows; r++)
            for (size_t k = 0; k < BLOCK; k++)
                part[k] += in[r * columns + i + k];
        for (size_t k = 0; k < BLOCK; k++)
            sum[i + k] += (double)part[k];
    }
    for (; i < columns; i++) {
        float part = 0;
        for (size_t r = 0; r < rows; r++)
            part += in[r * columns + i];
        sum[i] += (double)part;
    }
}

HOT static void add_values(double *sum, const float *in, size_t count)
{
    for (size_t i = 0; i < count; i++)
        sum[i] += (double)in[i];
}

static void sum_tile(const struct worker *w, const float *in, double *sum)
{
    const struct loop *loop = w->walk->loop;
    if (loop->row_reduced && loop->column_reduced)
        *sum += (double)sum_row(in, w->rows * w->columns);
    else if (loop->row_reduced)
        add_rows(sum, in, w->rows, w->columns);
    else if (!loop->column_reduced)
        add_values(sum, in, w->rows * w->columns);
    else
        for (size_t r = 0; r < w->rows; r++)
            sum[r] += (double)sum_row(in + r * w->columns, w->columns);
}

/* A NaN stays. */
static void raise(double *max, float value)
{
    if (value != value || (double)value > *max)
        *max = (double)value;
}

/* Lanes that compare by themselves: vector code, and a NaN stays in its lane. */
HOT static float max_row(const float *in, size_t count)
{
    float lane[16], max = -INFINITY;
    for (size_t k = 0; k < 16; k++)
        lane[k] = -INFINITY;
    size_t i = 0;
    for (; i + 16 <= count; i += 16)
        for (size_t k = 0; k < 16; k++)
            lane[k] = chosen(in[i + k] > lane[k] || in[i + k] != in[i + k], in[i + k], lane[k]);
    for (; i < count; i++)
        max = chosen(in[i] > max || in[i] != in[i], in[i], max);
    for (size_t k = 0; k < 16; k++)
        max = chosen(lane[k] > max || lane[k] != lane[k], lane[k], max);
    return max;
}

HOT static void max_values(double *max, const float *in, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        double value = (double)in[i];
        max[i] = value > max[i] || value != value ? value : max[i];
    }
}

static void max_tile(const struct worker *w, const float *in, double *max)
{
    const struct loop *loop = w->walk->loop;
    for (size_t r = 0; r < w->rows; r++, in += w->columns) {
        size_t at = loop->row_reduced ? 0 : r;
        if (loop->column_reduced)
            raise(&max[at], max_row(in, w->columns));
        else
            max_values(max + at * w->columns, in, w->columns);
    }
}

static void clear_sums(struct worker *w)
{
    const struct loop *loop = w->walk->loop;
    double *sum = w->sum;
    for (int k = 0; k < loop->operands; k++) {
        if (loop->operand[k].use < OPERAND_SUM)
            continue;
        for (size_t i = 0; i < w->walk->shape.partial; i++)
            sum[i] = loop->operand[k].use == OPERAND_SUM ? 0 : -INFINITY;
        sum += w->walk->shape.partial;
    }
}

HOT static void narrow(float *restrict out, const double *restrict in, size_t count)
{
    for (size_t i = 0; i < count; i++)
        out[i] = (float)in[i];
}

/* Writes a reduction's block to its place; w stands in the block. */
static void write_result(struct worker *w, int k, const double *sum)
{
    const struct loop *loop = w->walk->loop;
    const struct operand *operand = &loop->operand[k];
    size_t rows = loop->row_reduced ? 1 : w->rows, columns = loop->column_reduced ? 1 : w->columns;
    char *to = (char *)(uintptr_t)address(w, k);
    int64_t row_bytes = operand->row * (int64_t)dtype_bytes(operand->dtype);
    float value[LOOP_TILE];
    for (size_t r = 0; r < rows; r++, sum += columns, to += row_bytes) {
        narrow(value, sum, columns);
        if (!operand->index && (operand->column == 1 || columns == 1))
            store_row(to, value, operand->dtype, columns);
        else
            for (size_t i = 0; i < columns; i++)
                store_one(to, operand->dtype,
                          operand->index ? operand->index[i] : (int64_t)i * operand->column,
                          value[i]);
    }
}

/* Walking. */

/* Stands the worker on a tile: a block of the kept axes, and a position in what is reduced. */
static void stand_on(struct worker *w, size_t kept, size_t inner)
{
    const struct loop *loop = w->walk->loop;
    const struct shape_of_loop *s = &w->walk->shape;
    size_t *column_from = loop->column_reduced ? &inner : &kept;
    size_t column_block = *column_from % s->column_blocks;
    *column_from /= s->column_blocks;
    size_t *row_from = loop->row_reduced ? &inner : &kept;
    size_t row_block = *row_from % s->row_blocks;
    *row_from /= s->row_blocks;
    w->row = row_block * s->tile_rows;
    w->column = column_block * s->tile_columns;
    size_t rows = (size_t)loop->rows - w->row, columns = (size_t)loop->columns - w->column;
    w->rows = rows < s->tile_rows ? rows : s->tile_rows;
    w->columns = columns < s->tile_columns ? columns : s->tile_columns;
    memset(w->outer, 0, (size_t)loop->operands * sizeof *w->outer);
    for (int axis = loop->axes - 1; axis >= 0; axis--) {
        size_t *from = axis < loop->kept ? &kept : &inner;
        int64_t at = (int64_t)(*from % (size_t)loop->size[axis]);
        *from /= (size_t)loop->size[axis];
        for (int k = 0; at && k < loop->operands; k++)
            w->outer[k] += at * loop->operand[k].stride[axis];
    }
}

static void run_tile(struct worker *w)
{
    const struct loop *loop = w->walk->loop;
    size_t count = w->rows * w->columns;
    for (int k = 0; k < loop->operands; k++) {
        const struct operand *operand = &loop->operand[k];
        if (operand->direct)
            w->value[operand->use == OPERAND_LOAD ? k : operand->value] =
                (float *)(uintptr_t)address(w, k);
        else if (operand->use == OPERAND_LOAD)
            load_tile(w, k);
    }
    for (int i = 0; i < loop->instructions; i++) {
        const struct instruction *instruction = &loop->instruction[i];
        const float *in[4];
        for (int s = 0; s < 4; s++)
            in[s] = w->value[instruction->in[s]];
        cpu_instructions[instruction->op](instruction, w->value[instruction->out], in, count);
    }
    double *sum = w->sum;
    for (int k = 0; k < loop->operands; k++) {
        const struct operand *operand = &loop->operand[k];
        if (operand->use == OPERAND_STORE && !operand->direct)
            store_tile(w, k);
        if (operand->use < OPERAND_SUM)
            continue;
        (operand->use == OPERAND_SUM ? sum_tile : max_tile)(w, w->value[operand->value], sum);
        sum += w->walk->shape.partial;
    }
}

static void run_unit(struct worker *w, size_t unit)
{
    const struct loop *loop = w->walk->loop;
    const struct shape_of_loop *s = &w->walk->shape;
    size_t kept = unit / s->splits, split = unit % s->splits;
    size_t end = s->inner * (split + 1) / s->splits;
    clear_sums(w);
    for (size_t inner = s->inner * split / s->splits; inner < end; inner++) {
        stand_on(w, kept, inner);
        run_tile(w);
    }
    if (!s->reductions)
        return;
    if (s->splits > 1) {
        memcpy(w->walk->partials + unit * s->reductions * s->partial, w->sum,
               s->reductions * s->partial * sizeof *w->sum);
        return;
    }
    const double *sum = w->sum;
    for (int k = 0; k < loop->operands; k++)
        if (loop->operand[k].use >= OPERAND_SUM) {
            write_result(w, k, sum);
            sum += s->partial;
        }
}

static void init_worker(struct worker *w, const struct walk *walk, size_t number)
{
    const struct loop *loop = walk->loop;
    float *tile = walk->tiles + number * walk->tiles_each;
    w->walk = walk;
    w->sum = (double *)(void *)tile;
    tile += 2 * walk->shape.reductions * walk->shape.partial;
    tile += -(uintptr_t)tile / sizeof *tile % 16;
    int values = loop->operands + loop->constants + loop->registers;
    for (int i = 0; i < values; i++, tile += LOOP_TILE)
        w->value[i] = tile;
    for (int k = 0; k < loop->operands; k++)
        w->loaded[k] = NULL;
    for (int i = 0; i < loop->constants; i++)
        for (size_t k = 0; k < LOOP_TILE; k++)
            w->value[loop->operands + i][k] = loop->constant[i];
}

static void run_worker(void *context, size_t number)
{
    struct walk *walk = context;
    struct worker w;
    size_t units = walk->shape.kept * walk->shape.splits, begin;
    init_worker(&w, walk, number);
    while ((begin = atomic_fetch_add(&walk->next, walk->range)) < units)
        for (size_t unit = begin; unit < begin + walk->range && unit < units; unit++)
            run_unit(&w, unit);
}

/* Adds up what the units put aside, in their order. */
static void join_splits(struct walk *walk)
{
    const struct loop *loop = walk->loop;
    const struct shape_of_loop *s = &walk->shape;
    size_t each = s->reductions * s->partial;
    struct worker w = { .walk = walk };
    for (size_t kept = 0; kept < s->kept; kept++) {
        double *total = walk->partials + kept * s->splits * each;
        stand_on(&w, kept, 0);
        size_t reduction = 0;
        for (int k = 0; k < loop->operands; k++) {
            if (loop->operand[k].use < OPERAND_SUM)
                continue;
            double *sum = total + reduction++ * s->partial;
            for (size_t split = 1; split < s->splits; split++)
                for (size_t i = 0; i < s->partial; i++) {
                    double part = sum[split * each + i];
                    bool larger = part > sum[i] || part != part;
                    sum[i] = loop->operand[k].use == OPERAND_SUM ? sum[i] + part
                             : larger                            ? part
                                                                 : sum[i];
                }
            write_result(&w, k, sum);
        }
    }
}

void cpu_run_loop(const struct loop *loop, const struct run *run)
{
    struct walk walk = { .loop = loop, .run = run, .shape = measure(loop) };
    const struct shape_of_loop *s = &walk.shape;
    size_t units = s->kept * s->splits, workers = (size_t)parallel_threads();
    size_t partials = s->splits > 1 ? units * s->reductions * s->partial : 0;
    workers = workers < run->threads ? workers : run->threads;
    workers = workers < WORKERS_MAX ? workers : WORKERS_MAX;
    workers = s->elements < SERIAL || units == 1 ? 1 : workers;
    walk.partials = run->scratch;
    walk.tiles = (float *)(void *)(walk.partials + partials + (partials & 1));
    walk.tiles_each = worker_floats(loop, s) + 16;
    walk.tiles_each += walk.tiles_each & 1;
    walk.workers = workers;
    walk.range = blocks(units, workers * RANGES);
    if (workers == 1)
        run_worker(&walk, 0);
    else
        parallel_items(workers, run_worker, &walk);
    if (s->splits > 1)
        join_splits(&walk);
}
