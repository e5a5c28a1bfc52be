/* Measuring ways; see fastest.h. */
#include "cuda/fastest.h"

#include "base/arena.h"
#include "cuda/device.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Every byte of the memory that is measured in: numbers of about 0.011 in f32 and bf16 alike, so
 * that no sum overflows, and no circuit rests as it would on zeros. */
enum { RUNS = 5, ALIGNMENT = 256, FILLING = 0x3c };

/* A way whose first run takes so many times as long as the best way so far is not run again. */
static const double HOPELESS = 3;

/* ---- which work ------------------------------------------------------------------------------ */

static int add_shape(struct work *work, int at, struct shape shape)
{
    for (int axis = 0; axis < 4; axis++)
        work->number[at++] = shape.size[axis];
    return at;
}

void work_of_convolution(const struct convolution *c, struct work *work)
{
    const struct shape shape[3] = { c->image, c->weight, c->output };
    const struct conv *g = &c->geometry;
    const int64_t others[] = { g->stride[0], g->stride[1], g->dilation[0], g->dilation[1],
                               g->pad[0][0], g->pad[0][1], g->pad[1][0],   g->pad[1][1],
                               g->groups,    c->op,        c->dtype,       c->result_dtype,
                               c->planar,    c->rounded };
    static const enum op_id result_of[3] = { OP_CONV_DX, OP_CONV_DW, OP_CONV };
    int at = 0;
    *work = (struct work){ 0 };
    for (int i = 0; i < 3; i++) {
        enum dtype dtype = result_of[i] == c->op ? c->result_dtype : c->dtype;
        work->tensor[i] = shape_count(shape[i]) * dtype_bytes(dtype);
        at = add_shape(work, at, shape[i]);
    }
    memcpy(work->number + at, others, sizeof others);
}

/* From the first element of all matrices to the last, each of so many lines. */
static size_t span(int64_t lines, int64_t lead, int64_t step, int64_t count, enum dtype dtype)
{
    return (size_t)(lines * lead + step * (count - 1)) * dtype_bytes(dtype);
}

void work_of_product(const struct product *p, struct work *work)
{
    const int64_t numbers[] = { OP_MATMUL, p->rows,         p->columns,     p->inner,
                                p->count,  p->transpose_a,  p->transpose_b, p->lead_a,
                                p->lead_b, p->lead_d,       p->step_a,      p->step_b,
                                p->step_d, p->result_dtype, p->dtype,       p->bias };
    *work = (struct work){ 0 };
    memcpy(work->number, numbers, sizeof numbers);
    work->tensor[0] =
        span(p->transpose_a ? p->rows : p->inner, p->lead_a, p->step_a, p->count, p->dtype);
    work->tensor[1] =
        span(p->transpose_b ? p->inner : p->columns, p->lead_b, p->step_b, p->count, p->dtype);
    work->tensor[2] = span(p->columns, p->lead_d, p->step_d, p->count, p->result_dtype);
    work->tensor[3] = p->bias ? (size_t)p->rows * dtype_bytes(p->result_dtype) : 0;
}

/* ---- what is known --------------------------------------------------------------------------- */

struct known {
    int64_t number[WORK_NUMBERS];
    int way;
};

static struct known *known;
static size_t known_count, known_capacity;

bool fastest_known(const struct work *work, int *way)
{
    for (size_t i = 0; i < known_count; i++)
        if (memcmp(known[i].number, work->number, sizeof work->number) == 0) {
            *way = known[i].way;
            return true;
        }
    return false;
}

static void remember(const struct work *work, int way)
{
    ARRAY_RESERVE(known, known_count, known_capacity);
    memcpy(known[known_count].number, work->number, sizeof work->number);
    known[known_count++].way = way;
}

/* ---- measuring ------------------------------------------------------------------------------- */

/* A way, and the memory that it is measured in. */
struct trial {
    const struct work *work;
    int way;
    void *tensor[WORK_TENSORS], *scratch;
};

static bool run_trial(void *context)
{
    const struct trial *trial = context;
    return trial->work->run(trial->work->context, trial->way, trial->tensor, trial->scratch);
}

static int by_value(const void *a, const void *b)
{
    double first = *(const double *)a, second = *(const double *)b;
    return (first > second) - (first < second);
}

/* The median of some runs, after one that is not counted: a library may load code in it. Infinite
 * where the way fails. */
static double seconds_of(struct trial *trial, double best)
{
    double seconds[RUNS];
    if (!device_time(run_trial, trial, &seconds[0]))
        return INFINITY;
    for (int i = 0; i < RUNS; i++) {
        if (!device_time(run_trial, trial, &seconds[i]))
            return INFINITY;
        if (i == 0 && seconds[0] > HOPELESS * best)
            return seconds[0];
    }
    qsort(seconds, RUNS, sizeof *seconds, by_value);
    return seconds[RUNS / 2];
}

static size_t aligned(size_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* The tensors one after the other, then scratch memory: as much as the greediest way takes of those
 * that fit into what is free. `most`: that, or WORK_IMPOSSIBLE where none fits. */
static size_t lay_out(const struct work *work, size_t *most)
{
    size_t tensors = 0, available = device_available();
    for (int i = 0; i < WORK_TENSORS; i++)
        tensors += aligned(work->tensor[i]);
    *most = WORK_IMPOSSIBLE;
    for (int way = 0; way < work->ways; way++) {
        size_t scratch = work->scratch[way];
        if (scratch != WORK_IMPOSSIBLE && tensors <= available && scratch <= available - tensors &&
            (*most == WORK_IMPOSSIBLE || scratch > *most))
            *most = scratch;
    }
    return tensors;
}

/* The fastest of those whose scratch memory is there; -1: all have failed. */
static int compare(struct trial *trial, size_t most)
{
    double best = INFINITY;
    int fastest = -1;
    for (trial->way = 0; trial->way < trial->work->ways; trial->way++) {
        size_t scratch = trial->work->scratch[trial->way];
        double seconds =
            scratch == WORK_IMPOSSIBLE || scratch > most ? INFINITY : seconds_of(trial, best);
        if (seconds < best) {
            best = seconds;
            fastest = trial->way;
        }
    }
    return fastest;
}

int fastest_measure(const struct work *work)
{
    struct trial trial = { .work = work };
    struct error ignored;
    size_t most, bytes = lay_out(work, &most);
    char *memory = most == WORK_IMPOSSIBLE
                       ? NULL
                       : device_allocate(bytes + most, "measuring algorithms", &ignored);
    if (!memory)
        return 0;
    device_fill(memory, FILLING, bytes + most);
    char *at = memory;
    for (int i = 0; i < WORK_TENSORS; i++) {
        trial.tensor[i] = work->tensor[i] ? at : NULL;
        at += aligned(work->tensor[i]);
    }
    trial.scratch = at;
    int fastest = compare(&trial, most);
    device_release(memory);
    if (fastest < 0)
        return 0;
    remember(work, fastest);
    return fastest;
}
