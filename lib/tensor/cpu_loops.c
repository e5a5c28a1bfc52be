/* Fused loops on the CPU: workers that take units of tiles through the program; see schedule.h and
 * cpu_tiling.h.
 *
 * Sums of units that share a result are put aside and added up in order at the end. So results do
 * not depend on the number of threads, nor on which of them took which unit. A tile is summed in
 * float, tiles are added in double.
 *
 * What a tile needs lies in scratch memory of the worker: one array of LOOP_TILE floats for each
 * constant, register and operand that is not dense where it lies. A load that is the same for the
 * next tile (a bias, the statistics of an image) is not repeated.
 */
#include "tensor/cpu_tiling.h"

#include "base/parallel.h"
#include "base/simd.h"

#include <stdatomic.h>
#include <string.h>

enum { SERIAL = 32768, WORKERS_MAX = 64, RANGES = 4 };

struct walk {
    const struct tiling *tiling;
    const struct run *run;
    double *partials;
    float *tiles; /* of all workers */
    size_t tiles_each;
    size_t workers, range;
    atomic_size_t next;
};

struct worker {
    const struct walk *walk;
    float *value[LOOP_OPERANDS + 2 * LOOP_INSTRUCTIONS];
    char *base[LOOP_OPERANDS];
    struct position position[2];       /* on the kept course, on the reduced one */
    const void *loaded[LOOP_OPERANDS]; /* where the tile of an operand was taken from */
    size_t loaded_rows[LOOP_OPERANDS], loaded_columns[LOOP_OPERANDS];
    double *sum;          /* reductions × tile */
    size_t rows, columns; /* of the tile */
    size_t column;        /* where it begins */
};

static size_t worker_floats(const struct tiling *tiling)
{
    const struct loop *loop = tiling->loop;
    size_t tiles = (size_t)(loop->operands + loop->constants + loop->registers);
    return tiles * LOOP_TILE + 2 * tiling->reductions * tiling->partial;
}

static size_t units_of(const struct tiling *tiling)
{
    return tiling->course[0].count * tiling->splits;
}

static size_t partials_of(const struct tiling *tiling)
{
    return tiling->splits > 1 ? units_of(tiling) * tiling->reductions * tiling->partial : 0;
}

bool cpu_prepare_loop(struct step *step, struct error *err)
{
    (void)err;
    struct tiling *tiling = tiling_new(step->loop);
    size_t workers = (size_t)parallel_threads();
    workers = workers < WORKERS_MAX ? workers : WORKERS_MAX;
    step->state = tiling;
    step->scratch = (partials_of(tiling) + 8) * sizeof(double) +
                    workers * (worker_floats(tiling) + 16) * sizeof(float);
    return true;
}

void cpu_dispose_loop(struct step *step)
{
    if (step->state)
        tiling_free(step->state);
}

static const struct cpu_reduction *reduction_of(const struct operand *operand)
{
    return operand->use == OPERAND_SUM ? &cpu_sum : operand->use == OPERAND_MAX ? &cpu_max : NULL;
}

/* A tile. */

static char *address(const struct worker *w, int k)
{
    return w->base[k] + w->position[0].offset[k] + w->position[1].offset[k];
}

static struct placing placing_of(const struct worker *w, const struct port *port)
{
    struct placing at = port->at;
    if (port->shifts)
        at.column_at += w->column;
    return at;
}

static void load_tile(struct worker *w, int k)
{
    const struct port *port = &w->walk->tiling->port[k];
    const char *from = address(w, k);
    if (w->loaded[k] == from && w->loaded_rows[k] >= w->rows &&
        w->loaded_columns[k] == w->columns && !port->shifts)
        return;
    w->loaded[k] = from;
    w->loaded_rows[k] = w->rows;
    w->loaded_columns[k] = w->columns;
    struct placing at = placing_of(w, port);
    port->load(w->value[k], from, &at, port->flat ? 1 : w->rows, port->flat ? w->rows : w->columns);
}

static void store(const struct worker *w, int k, const float *in, size_t rows, size_t columns)
{
    const struct port *port = &w->walk->tiling->port[k];
    struct placing at = placing_of(w, port);
    port->store(address(w, k), in, &at, port->flat ? 1 : rows, port->flat ? rows : columns);
}

static void load_operands(struct worker *w)
{
    const struct loop *loop = w->walk->tiling->loop;
    for (int k = 0; k < loop->operands; k++) {
        const struct operand *operand = &loop->operand[k];
        if (w->walk->tiling->port[k].direct)
            w->value[operand->use == OPERAND_LOAD ? k : operand->value] =
                (float *)(void *)address(w, k);
        else if (operand->use == OPERAND_LOAD)
            load_tile(w, k);
    }
}

static void run_program(const struct worker *w)
{
    const struct loop *loop = w->walk->tiling->loop;
    size_t count = w->rows * w->columns;
    for (int i = 0; i < loop->instructions; i++) {
        const struct instruction *instruction = &loop->instruction[i];
        const float *in[4];
        for (int s = 0; s < 4; s++)
            in[s] = w->value[instruction->in[s]];
        cpu_instructions[instruction->op](instruction, w->value[instruction->out], in, count);
    }
}

static void reduce_tile(const struct worker *w, const struct cpu_reduction *reduction,
                        const float *in, double *to)
{
    const struct tiling *tiling = w->walk->tiling;
    for (size_t r = 0; r < w->rows; r += tiling->group) {
        size_t rows = w->rows - r < tiling->group ? w->rows - r : tiling->group;
        reduction->tile[tiling->rows.reduced][tiling->columns.reduced](to, in + r * w->columns,
                                                                       rows, w->columns);
    }
}

static void run_tile(struct worker *w)
{
    const struct tiling *tiling = w->walk->tiling;
    const struct loop *loop = tiling->loop;
    load_operands(w);
    run_program(w);
    double *sum = w->sum;
    for (int k = 0; k < loop->operands; k++) {
        const struct operand *operand = &loop->operand[k];
        const struct cpu_reduction *reduction = reduction_of(operand);
        if (operand->use == OPERAND_STORE && !tiling->port[k].direct)
            store(w, k, w->value[operand->value], w->rows, w->columns);
        if (!reduction)
            continue;
        reduce_tile(w, reduction, w->value[operand->value], sum);
        sum += tiling->partial;
    }
}

/* Units. */

/* How many rows and columns the tile has where the worker stands. */
static void settle(struct worker *w)
{
    const struct tiling *tiling = w->walk->tiling;
    const struct side *rows = &tiling->rows, *columns = &tiling->columns;
    size_t row = w->position[rows->reduced].at[rows->axis] * rows->each;
    w->column = w->position[columns->reduced].at[columns->axis] * columns->each;
    w->rows = rows->total - row < rows->each ? rows->total - row : rows->each;
    w->columns =
        columns->total - w->column < columns->each ? columns->total - w->column : columns->each;
}

static void clear_sums(struct worker *w)
{
    const struct tiling *tiling = w->walk->tiling;
    double *sum = w->sum;
    for (int k = 0; k < tiling->loop->operands; k++) {
        const struct cpu_reduction *reduction = reduction_of(&tiling->loop->operand[k]);
        for (size_t i = 0; reduction && i < tiling->partial; i++)
            *sum++ = reduction->least;
    }
}

HOT static void narrow(float *restrict out, const double *restrict in, size_t count)
{
    for (size_t i = 0; i < count; i++)
        out[i] = (float)in[i];
}

/* Writes a reduction's block to its place; w stands in the block. */
static void write_result(const struct worker *w, int k, const double *sum)
{
    const struct loop *loop = w->walk->tiling->loop;
    size_t rows = loop->row_reduced ? 1 : w->rows, columns = loop->column_reduced ? 1 : w->columns;
    float value[LOOP_TILE];
    narrow(value, sum, rows * columns);
    store(w, k, value, rows, columns);
}

static void run_unit(struct worker *w, size_t unit)
{
    const struct tiling *tiling = w->walk->tiling;
    const struct course *kept = &tiling->course[0], *inner = &tiling->course[1];
    int operands = tiling->loop->operands;
    size_t split = unit % tiling->splits, begin = inner->count * split / tiling->splits;
    size_t end = inner->count * (split + 1) / tiling->splits;
    course_seek(kept, &w->position[0], operands, unit / tiling->splits);
    course_seek(inner, &w->position[1], operands, begin);
    clear_sums(w);
    for (size_t tile = begin; tile < end; tile++) {
        settle(w);
        run_tile(w);
        course_advance(inner, &w->position[1], operands);
    }
    size_t each = tiling->reductions * tiling->partial;
    if (tiling->splits > 1)
        memcpy(w->walk->partials + unit * each, w->sum, each * sizeof *w->sum);
    const double *sum = w->sum;
    for (int k = 0; tiling->splits == 1 && k < operands; k++)
        if (reduction_of(&tiling->loop->operand[k])) {
            write_result(w, k, sum);
            sum += tiling->partial;
        }
}

static void stand_at_bases(struct worker *w)
{
    const struct loop *loop = w->walk->tiling->loop;
    for (int k = 0; k < loop->operands; k++) {
        const struct operand *operand = &loop->operand[k];
        w->base[k] = (char *)w->walk->run->memory[operand->buffer] +
                     operand->offset * (int64_t)dtype_bytes(operand->dtype);
        w->loaded[k] = NULL;
    }
}

static void init_worker(struct worker *w, const struct walk *walk, size_t number)
{
    const struct tiling *tiling = walk->tiling;
    const struct loop *loop = tiling->loop;
    float *tile = walk->tiles + number * walk->tiles_each;
    w->walk = walk;
    w->sum = (double *)(void *)tile;
    tile += 2 * tiling->reductions * tiling->partial;
    tile += -(uintptr_t)tile / sizeof *tile % 16;
    int values = loop->operands + loop->constants + loop->registers;
    for (int i = 0; i < values; i++, tile += LOOP_TILE)
        w->value[i] = tile;
    for (int i = 0; i < loop->constants; i++)
        for (size_t k = 0; k < LOOP_TILE; k++)
            w->value[loop->operands + i][k] = loop->constant[i];
    stand_at_bases(w);
}

static void run_worker(void *context, size_t number)
{
    struct walk *walk = context;
    struct worker w;
    size_t units = units_of(walk->tiling), begin;
    init_worker(&w, walk, number);
    while ((begin = atomic_fetch_add(&walk->next, walk->range)) < units)
        for (size_t unit = begin; unit < begin + walk->range && unit < units; unit++)
            run_unit(&w, unit);
}

/* Adds up what the units put aside, in their order. */
static void join_splits(struct walk *walk)
{
    const struct tiling *tiling = walk->tiling;
    const struct loop *loop = tiling->loop;
    size_t each = tiling->reductions * tiling->partial;
    struct worker w = { .walk = walk };
    stand_at_bases(&w);
    for (size_t kept = 0; kept < tiling->course[0].count; kept++) {
        double *sum = walk->partials + kept * tiling->splits * each;
        course_seek(&tiling->course[0], &w.position[0], loop->operands, kept);
        settle(&w);
        for (int k = 0; k < loop->operands; k++) {
            const struct cpu_reduction *reduction = reduction_of(&loop->operand[k]);
            if (!reduction)
                continue;
            for (size_t split = 1; split < tiling->splits; split++)
                reduction->join(sum, sum + split * each, tiling->partial);
            write_result(&w, k, sum);
            sum += tiling->partial;
        }
    }
}

void cpu_run_loop(const struct step *step, const struct run *run)
{
    const struct tiling *tiling = step->state;
    struct walk walk = { .tiling = tiling, .run = run };
    size_t units = units_of(tiling), workers = (size_t)parallel_threads();
    size_t partials = partials_of(tiling);
    workers = workers < run->threads ? workers : run->threads;
    workers = workers < WORKERS_MAX ? workers : WORKERS_MAX;
    workers = tiling->elements < SERIAL || units == 1 ? 1 : workers;
    walk.partials = run->scratch;
    walk.tiles = (float *)(void *)(walk.partials + partials + (partials & 1));
    walk.tiles_each = worker_floats(tiling) + 16;
    walk.tiles_each += walk.tiles_each & 1;
    walk.workers = workers;
    walk.range = (units + workers * RANGES - 1) / (workers * RANGES);
    if (workers == 1)
        run_worker(&walk, 0);
    else
        parallel_items(workers, run_worker, &walk);
    if (tiling->splits > 1)
        join_splits(&walk);
}
