/* Filtered activations (tensor/filtered.h) in one kernel, as text; see generate.h.
 *
 * What lies between the filters is 4 or 16 times as large as the images, so it is made and used up
 * in a block: 8 threads side by side have some channels each, and 32 such rows of threads stand for
 * neighbouring columns. The block goes down a strip of the image, in passes of a few rows:
 *
 *     images ── along rows, down ──▶ E ──▶ shared memory ── along rows, down ──▶ y
 *             a thread for `across`        `high` rows of     a thread for one or two
 *             columns in between           what is between    columns of y
 *
 * As in upfirdn.c a thread keeps in registers what it has filtered along its columns of the last
 * rows, and of y the sums of those rows that are not complete yet: a filter of 12 by 12 taps that
 * is an outer product costs 24. One that is not takes all its taps: on the way in of the image
 * itself, whose neighbours the first-level cache has, on the way out of what lies in shared memory.
 * Neighbouring strips overlap by the last filter's length, a sixth of the width.
 *
 * Nothing in between is rounded to bf16. Sums come in one order: bits repeat.
 */
#include "tensor/filtered.h"

#include "base/arena.h"
#include "cuda/generate.h"
#include "cuda/upfirdn.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { BESIDE = 8, COLUMNS = 32 }; /* threads: for channels; for columns */
enum { PERIOD_MOST = 4, TAPS_MOST = 32, WIDTH_LEAST = 8 };
enum { ROWS_MOST = 64, BLOCKS_WANTED = 512 };  /* of a strip; some 4 for each processor */
enum { SHARED_MOST = 48 << 10 };               /* what every device gives unasked */
enum { KEPT_BY_FOUR = 96, KEPT_BY_TWO = 128 }; /* floats that a thread keeps */

/* Along an axis: what lies between is cut into periods, after which its filters' taps repeat. */
struct axis {
    int period, pad; /* zeros before it, whole periods of them */
    int skip;        /* of these that no output takes */
    int taps;        /* of the last filter */
    int least, kept; /* outputs that a period adds to: the first, beside its own; how many */
};

/* An image, and the filter on its way in. */
struct entry {
    char name[8];
    const struct view *view;
    const struct upfirdn *up;
    struct fir fir;
    struct comb rows, columns;
};

struct work {
    const struct filtered *filtered;
    const struct view *out;
    struct entry entry[FILTERED_IMAGES];
    struct fir last;
    struct axis down, along;
    int wide, each;          /* columns of y: of a strip; of a thread */
    int64_t high, strips[2]; /* rows of y of a strip; how many strips there are */
    int64_t passes;
    int lanes, buffers; /* channels of a thread; of shared memory: one, or two in turns */
    bool large;         /* indices of more than 31 bits */
};

static int larger(int a, int b)
{
    return a > b ? a : b;
}

static int round_down(int a, int b)
{
    return a - ((a % b) + b) % b;
}

static struct axis axis_of(const struct filtered *f, int axis, int taps)
{
    struct axis a = { .period = f->down.down[axis], .taps = taps };
    for (int i = 0; i < f->images; i++)
        a.period = larger(a.period, f->up[i].up[axis]);
    int down = f->down.down[axis], pad = f->down.pad[axis][0];
    a.pad = -round_down(-pad, a.period);
    a.skip = a.pad - pad;
    a.least = -((taps - 1 + a.skip) / down);
    a.kept = (a.period - 1 - a.skip) / down - a.least + 1;
    return a;
}

static int taps_of(const struct node *filter, int axis)
{
    return (int)filter->shape.size[filter->shape.rank == 2 ? axis : 0];
}

/* Columns of y that a strip has at most. */
static int widest(const struct axis *along, int down, int *each)
{
    int room = COLUMNS * along->period - along->skip - along->taps;
    if (room < 0)
        return 0;
    int most = room / down + 1, step = along->period / down;
    *each = most > COLUMNS ? 2 : 1;
    return round_down(most, step > *each ? step : *each);
}

/* Periods that are whole for all filters: powers of two, as steps of resampling are. */
bool filtered_suits(const struct node *node)
{
    const struct filtered *f = node->filtered;
    const struct node *last = node->src[2 * f->images];
    for (int axis = 0; axis < 2; axis++) {
        struct axis a = axis_of(f, axis, taps_of(last, axis));
        int each;
        bool suits = a.period <= PERIOD_MOST && a.period % f->down.down[axis] == 0 &&
                     a.taps <= TAPS_MOST && widest(&a, f->down.down[axis], &each) >= WIDTH_LEAST;
        for (int i = 0; i < f->images; i++)
            suits = suits && a.period % f->up[i].up[axis] == 0 &&
                    taps_of(node->src[f->images + i], axis) <= TAPS_MOST;
        if (!suits)
            return false;
    }
    return true;
}

/* ---- the work -------------------------------------------------------------------------------- */

static struct fir filter_of(struct node *filter, const struct upfirdn *u)
{
    struct node *src[2] = { NULL, filter };
    struct node draft = { .op = OP_UPFIRDN, .upfirdn = *u, .sources = 2, .src = src };
    return fir_of(&draft);
}

static void enter(struct work *w, const struct step *step, int i)
{
    struct entry *e = &w->entry[i];
    snprintf(e->name, sizeof e->name, "x%d", i);
    e->view = &step->in[i];
    e->up = &w->filtered->up[i];
    e->fir = filter_of(step->node->src[w->filtered->images + i], e->up);
    const float *any = e->fir.matrix; /* where it is no product: only where its taps lie counts */
    e->rows =
        comb_of(e->up, 0, e->fir.vertical ? e->fir.vertical : any, e->fir.rows, w->down.period);
    e->columns = comb_of(e->up, 1, e->fir.vertical ? e->fir.horizontal : any, e->fir.columns,
                         w->along.period);
}

/* Floats that a thread keeps of each channel. */
static int kept(const struct work *w)
{
    int floats = w->down.kept * w->each;
    for (int i = 0; i < w->filtered->images; i++)
        floats +=
            w->along.period * (w->entry[i].fir.vertical ? w->entry[i].rows.reach : w->down.period);
    return floats;
}

/* Bytes of what lies between, of a block. */
static int shared(const struct work *w, int lanes)
{
    int floats = w->down.period * COLUMNS * w->along.period * BESIDE * lanes;
    return floats * (int)sizeof(float);
}

static bool lie_in(const struct work *w, int lanes)
{
    bool lie = w->out->shape.size[1] % lanes == 0 && w->out->offset % lanes == 0;
    for (int i = 0; i < w->filtered->images; i++)
        lie = lie && w->entry[i].view->offset % lanes == 0;
    return lie;
}

/* Whether a thread can have so many channels, for which it may keep so many floats. */
static bool takes_lanes(const struct work *w, int lanes, int most)
{
    return lanes * kept(w) <= most && shared(w, lanes) <= SHARED_MOST && lie_in(w, lanes);
}

static int64_t divide_up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* Strips as high as leaves enough of them. */
static void cut_into_strips(struct work *w)
{
    const int *down = w->filtered->down.down;
    const int64_t *y = w->out->shape.size;
    int step = w->down.period / down[0];
    int64_t chunks = divide_up(y[1], BESIDE * w->lanes);
    w->strips[1] = divide_up(y[3], w->wide);
    for (w->high = ROWS_MOST; w->high > step; w->high /= 2)
        if (y[0] * chunks * w->strips[1] * divide_up(y[2], w->high) >= BLOCKS_WANTED ||
            w->high <= 4 * w->down.kept)
            break;
    w->high = divide_up(w->high, step) * step;
    w->strips[0] = divide_up(y[2], w->high);
    w->passes = (w->high - 1 - w->down.least) / step + 1;
}

static bool is_large(const struct view *view)
{
    const int64_t *size = view->shape.size;
    return size[1] * size[2] * size[3] >= INT32_MAX;
}

static struct work work_of(const struct step *step)
{
    const struct filtered *f = step->node->filtered;
    struct work w = { .filtered = f, .out = &step->out };
    w.last = filter_of(step->node->src[2 * f->images], &f->down);
    w.down = axis_of(f, 0, w.last.rows);
    w.along = axis_of(f, 1, w.last.columns);
    w.wide = widest(&w.along, f->down.down[1], &w.each);
    w.large = is_large(&step->out);
    for (int i = 0; i < f->images; i++) {
        enter(&w, step, i);
        w.large = w.large || is_large(&step->in[i]);
    }
    w.lanes = takes_lanes(&w, 4, KEPT_BY_FOUR) ? 4 : takes_lanes(&w, 2, KEPT_BY_TWO) ? 2 : 1;
    w.buffers = 2 * shared(&w, w.lanes) <= SHARED_MOST ? 2 : 1;
    cut_into_strips(&w);
    return w;
}

static void release(struct work *w)
{
    for (int i = 0; i < w->filtered->images; i++) {
        fir_release(&w->entry[i].fir);
        free(w->entry[i].rows.tap);
        free(w->entry[i].columns.tap);
    }
    fir_release(&w->last);
}

/* ---- functions ------------------------------------------------------------------------------- */

static void add_value(struct text *source, int value)
{
    text_format(source, value < FILTERED_IMAGES ? "x%d" : "e%d",
                value < FILTERED_IMAGES ? value : value - FILTERED_IMAGES);
}

/* E, with a, b, c for what an instruction takes. */
static void add_expression(struct text *source, const struct filtered *f, const char *name)
{
    static const char *const computed[OP_COUNT] = {
        [OP_ADD] = "a + b",
        [OP_SUB] = "a - b",
        [OP_MUL] = "a * b",
        [OP_GREATER] = "a > b ? 1.0f : 0.0f",
        [OP_WHERE] = "a != 0.0f ? b : c",
    };
    text_format(source, "DEVICE float %s_between(float x0, float x1)\n{\n    (void)x0, (void)x1;\n",
                name);
    for (int i = 0; i < f->instructions; i++) {
        enum op_id op = f->instruction[i].op;
        text_format(source, "    float e%d; { ", i);
        for (int k = 0; op != OP_CONSTANT && k < ops[op].arity; k++) {
            text_format(source, "const float %c = ", 'a' + k);
            add_value(source, f->instruction[i].in[k]);
            text_add(source, "; ");
        }
        if (op == OP_CONSTANT)
            text_format(source, "e%d = %.9ef; }\n", i, f->instruction[i].scale);
        else if (op == OP_SCALE)
            text_format(source, "e%d = a * %.9ef + %.9ef; }\n", i, f->instruction[i].scale,
                        f->instruction[i].shift);
        else
            text_format(source, "e%d = %s; }\n", i, computed[op]);
    }
    text_format(source, "    return e%d;\n}\n", f->instructions - 1);
}

/* The tap of an image's pixel (i,k) for (p,q) of what lies between; 0 where there is none. */
static double tap_of(const struct entry *e, int p, int q, int i, int k)
{
    int row = (e->rows.least + i) * e->up->up[0] + e->up->pad[0][0] - p;
    int column = (e->columns.least + k) * e->up->up[1] + e->up->pad[1][0] - q;
    bool is = row >= 0 && row < e->fir.rows && column >= 0 && column < e->fir.columns;
    return is ? (double)e->fir.matrix[row * e->fir.columns + column] : 0;
}

/* Of a filter that is no outer product: a period of rows and columns, from all their pixels. */
static void add_all(struct text *source, const struct entry *e, int lanes, const char *name,
                    const char *index)
{
    const int64_t *x = e->view->shape.size;
    int high = e->rows.outputs, across = e->columns.outputs;
    text_format(source,
                "DEVICE void %s_%s_all(const %s *__restrict__ x, int row, int first, "
                "float (*h)[%d][%d])\n{\n    enum { LANES = %d };\n    float value[LANES];\n"
                "    UNROLL for (int p = 0; p < %d; p++)\n"
                "        UNROLL for (int q = 0; q < %d; q++)\n"
                "            UNROLL for (int l = 0; l < LANES; l++) h[p][q][l] = 0;\n",
                name, e->name, generate_types[e->view->dtype], across, lanes, lanes, high, across);
    for (int i = 0; i < e->rows.reach; i++)
        for (int k = 0; k < e->columns.reach; k++) {
            text_format(source,
                        "    if (row + %d >= 0 && row + %d < %" PRId64
                        " && first + %d >= 0 && first + %d < %" PRId64 ") {\n"
                        "        load%d(x + ((%s)(row + %d) * %" PRId64
                        " + (first + %d)) * %" PRId64 ", value);\n",
                        i, i, x[2], k, k, x[3], lanes, index, i, x[3], k, x[1]);
            for (int p = 0; p < high; p++)
                for (int q = 0; q < across; q++)
                    if (tap_of(e, p, q, i, k) != 0)
                        text_format(source,
                                    "        UNROLL for (int l = 0; l < LANES; l++) "
                                    "h[%d][%d][l] += %.9ef * value[l];\n",
                                    p, q, tap_of(e, p, q, i, k));
            text_add(source, "    }\n");
        }
    text_add(source, "}\n");
}

static void add_functions(struct text *source, const struct work *w, const char *name,
                          const char *index)
{
    add_expression(source, w->filtered, name);
    for (int i = 0; i < w->filtered->images; i++) {
        const struct entry *e = &w->entry[i];
        char own[KERNEL_NAME + sizeof e->name];
        snprintf(own, sizeof own, "%s_%s", name, e->name);
        if (e->fir.vertical)
            upfirdn_add_along(source, e->view, &e->columns, w->lanes, own, index);
        else
            add_all(source, e, w->lanes, name, index);
    }
}

/* ---- the kernel ------------------------------------------------------------------------------ */

static void add_head(struct text *source, const struct work *w, const char *name)
{
    const struct filtered *f = w->filtered;
    const int64_t *y = w->out->shape.size;
    int chunk = BESIDE * w->lanes;
    text_format(source, "extern \"C\" __global__ void __launch_bounds__(%d) %s(", BESIDE * COLUMNS,
                name);
    for (int i = 0; i < f->images; i++)
        text_format(source, "const %s *__restrict__ x%d, ", generate_types[w->entry[i].view->dtype],
                    i);
    text_format(
        source,
        "%s *y)\n{\n    enum { LANES = %d };\n"
        "    __shared__ __align__(16) float between[%d][%d][%d][%d];\n"
        "    const int lane = (int)threadIdx.x %% %d * LANES, group = (int)threadIdx.x / %d;\n"
        "    u32 rest = blockIdx.x;\n"
        "    const int c = (int)(rest %% %" PRId64 "u) * %d + lane; rest /= %" PRId64 "u;\n"
        "    const int column = (int)(rest %% %" PRId64 "u); rest /= %" PRId64 "u;\n"
        "    const int strip = (int)(rest %% %" PRId64 "u); rest /= %" PRId64 "u;\n"
        "    const bool inside = c < %" PRId64 ";\n"
        "    y += (u64)rest * %" PRId64 " + c;\n",
        generate_types[w->out->dtype], w->lanes, w->buffers, w->down.period,
        COLUMNS * w->along.period, chunk, BESIDE, BESIDE, divide_up(y[1], chunk), chunk,
        divide_up(y[1], chunk), w->strips[1], w->strips[1], w->strips[0], w->strips[0], y[1],
        y[1] * y[2] * y[3]);
    text_format(source,
                "    const int left = column * %d - %d + group * %d;\n"
                "    int top = strip * %" PRId64 " - %d;\n",
                w->wide * f->down.down[1], w->along.pad, w->along.period, w->high * f->down.down[0],
                w->down.pad);
}

/* Where a thread begins in an image, and what it keeps of it. */
static void add_begin(struct text *source, const struct work *w, const struct entry *e,
                      const char *name)
{
    const int64_t *x = e->view->shape.size;
    const char *n = e->name;
    text_format(source,
                "    %s += (u64)rest * %" PRId64 " + c;\n"
                "    const int first_%s = left / %d * %d + %d;\n"
                "    int row_%s = top / %d * %d + %d;\n",
                n, x[1] * x[2] * x[3], n, w->along.period, e->columns.advance, e->columns.least, n,
                w->down.period, e->rows.advance, e->rows.least);
    if (e->fir.vertical)
        text_format(source,
                    "    float h_%s[%d][%d][LANES];\n"
                    "    if (inside)\n"
                    "        UNROLL for (int i = 0; i < %d; i++)\n"
                    "            %s_%s_along(%s, row_%s + i, first_%s, h_%s[i]);\n",
                    n, e->rows.reach, w->along.period, e->rows.reach, name, n, n, n, n, n);
}

static int fresh_of(const struct entry *e)
{
    return e->rows.advance < e->rows.reach ? e->rows.advance : e->rows.reach;
}

static void add_refresh(struct text *source, const struct work *w, const struct entry *e,
                        const char *name)
{
    const char *n = e->name;
    if (e->fir.vertical)
        text_format(source,
                    "            UNROLL for (int i = %d; i < %d; i++)\n"
                    "                %s_%s_along(%s, row_%s + i, first_%s, h_%s[i]);\n",
                    e->rows.reach - fresh_of(e), e->rows.reach, name, n, n, n, n, n);
    else
        text_format(source,
                    "            float h_%s[%d][%d][LANES];\n"
                    "            %s_%s_all(%s, row_%s, first_%s, h_%s);\n",
                    n, w->down.period, w->along.period, name, n, n, n, n, n);
}

/* An image, enlarged: row p of the period, column k, channel l. */
static void add_enlarged(struct text *source, const struct entry *e, int p)
{
    if (!e->fir.vertical) {
        text_format(source, "h_%s[%d][k][l]", e->name, p);
        return;
    }
    text_add(source, "0.0f");
    for (int i = 0; i < e->rows.reach; i++) {
        double tap = e->rows.tap[p * e->rows.reach + i];
        if (tap != 0)
            text_format(source, " + %.9ef * h_%s[%d][k][l]", tap, e->name, i);
    }
}

/* A period of what lies between, into shared memory; zeros around it. */
static void add_inwards(struct text *source, const struct work *w, const char *name)
{
    const struct filtered *f = w->filtered;
    int needed = (w->wide - 1) * f->down.down[1] + w->along.skip + w->along.taps;
    text_format(source, "        if (inside && group * %d < %d) {\n", w->along.period, needed);
    for (int i = 0; i < f->images; i++)
        add_refresh(source, w, &w->entry[i], name);
    for (int p = 0; p < w->down.period; p++) {
        text_format(source,
                    "            UNROLL for (int k = 0; k < %d; k++) {\n"
                    "                const bool within = top + %d >= 0 && top + %d < %" PRId64
                    " && left + k >= 0 && left + k < %" PRId64 ";\n"
                    "                float value[LANES];\n"
                    "                UNROLL for (int l = 0; l < LANES; l++)\n"
                    "                    value[l] = within ? %s_between(",
                    w->along.period, p, p, f->between[0], f->between[1], name);
        for (int i = 0; i < FILTERED_IMAGES; i++) {
            text_add(source, i ? ", " : "");
            if (i < f->images)
                add_enlarged(source, &w->entry[i], p);
            else
                text_add(source, "0.0f");
        }
        text_format(source,
                    ") : 0.0f;\n"
                    "                store%d(&here[%d][group * %d + k][lane], value);\n"
                    "            }\n",
                    w->lanes, p, w->along.period);
    }
    for (int i = 0; i < f->images; i++) {
        const struct entry *e = &w->entry[i];
        if (e->fir.vertical)
            text_format(source,
                        "            UNROLL for (int i = 0; i < %d; i++)\n"
                        "                UNROLL for (int k = 0; k < %d; k++)\n"
                        "                    UNROLL for (int l = 0; l < LANES; l++)\n"
                        "                        h_%s[i][k][l] = h_%s[i + %d][k][l];\n",
                        e->rows.reach - fresh_of(e), w->along.period, e->name, e->name,
                        fresh_of(e));
    }
    text_add(source, "        }\n");
}

/* What a value of shared memory adds to sums of y: by way of its own row, or straight away. */
static void add_taps(struct text *source, const struct work *w, int p, int at)
{
    int down = w->filtered->down.down[0], aside = w->filtered->down.down[1];
    for (int n = 0; n < w->each; n++) {
        int k = at - n * aside;
        if (k < 0 || k >= w->along.taps)
            continue;
        if (w->last.vertical) {
            text_format(source,
                        "                UNROLL for (int l = 0; l < LANES; l++) along[%d][l] += "
                        "%.9ef * value[l];\n",
                        n, (double)w->last.horizontal[k]);
            continue;
        }
        for (int s = 0; s < w->down.kept; s++) {
            int i = p - w->down.skip - (s + w->down.least) * down;
            if (i >= 0 && i < w->down.taps)
                text_format(source,
                            "                UNROLL for (int l = 0; l < LANES; l++) sum[%d][%d][l] "
                            "+= %.9ef * value[l];\n",
                            s, n, (double)w->last.matrix[i * w->last.columns + k]);
        }
    }
}

/* Row p of the period, into the sums of y. */
static void add_row(struct text *source, const struct work *w, int p)
{
    const struct filtered *f = w->filtered;
    text_format(source,
                "            {\n                float along[%d][LANES];\n"
                "                UNROLL for (int n = 0; n < %d; n++)\n"
                "                    UNROLL for (int l = 0; l < LANES; l++) along[n][l] = 0;\n",
                w->each, w->each);
    for (int at = 0; at < w->along.taps + (w->each - 1) * f->down.down[1]; at++) {
        text_format(source, "                load%d(&here[%d][group * %d + %d][lane], value);\n",
                    w->lanes, p, w->each * f->down.down[1], w->along.skip + at);
        add_taps(source, w, p, at);
    }
    for (int s = 0; w->last.vertical && s < w->down.kept; s++) {
        int i = p - w->down.skip - (s + w->down.least) * f->down.down[0];
        if (i >= 0 && i < w->down.taps)
            text_format(source,
                        "                UNROLL for (int n = 0; n < %d; n++)\n"
                        "                    UNROLL for (int l = 0; l < LANES; l++) "
                        "sum[%d][n][l] += %.9ef * along[n][l];\n",
                        w->each, s, (double)w->last.vertical[i]);
    }
    text_add(source, w->last.vertical ? "            }\n"
                                      : "                (void)along;\n            }\n");
}

/* From shared memory into the sums of y; those rows that are complete are written. */
static void add_outwards(struct text *source, const struct work *w, const char *index)
{
    const int64_t *y = w->out->shape.size;
    int ready = w->down.period / w->filtered->down.down[0];
    text_format(source,
                "        if (inside && group * %d < %d) {\n            float value[LANES];\n",
                w->each, w->wide);
    for (int p = 0; p < w->down.period; p++)
        add_row(source, w, p);
    text_format(source,
                "            UNROLL for (int i = 0; i < %d; i++) {\n"
                "                const int r = t * %d + i - %d, out = strip * %" PRId64 " + r;\n"
                "                if (r >= 0 && r < %" PRId64 " && out < %" PRId64 ")\n"
                "                    UNROLL for (int n = 0; n < %d; n++) {\n"
                "                        const int at = column * %d + group * %d + n;\n"
                "                        if (at < %" PRId64 ")\n"
                "                            store%d(y + ((%s)out * %" PRId64 " + at) * %" PRId64
                ", sum[i][n]);\n                    }\n            }\n",
                ready, ready, -w->down.least, w->high, w->high, y[2], w->each, w->wide, w->each,
                y[3], w->lanes, index, y[3], y[1]);
    text_format(
        source,
        "            UNROLL for (int i = 0; i < %d; i++)\n"
        "                UNROLL for (int n = 0; n < %d; n++)\n"
        "                    UNROLL for (int l = 0; l < LANES; l++)\n"
        "                        sum[i][n][l] = i + %d < %d ? sum[i + %d < %d ? i + %d : 0][n][l] "
        ": 0;\n        }\n",
        w->down.kept, w->each, ready, w->down.kept, ready, w->down.kept, ready);
}

void generate_filtered(const struct step *step, const char *name, struct text *source,
                       struct kernel *kernel)
{
    struct work w = work_of(step);
    const char *index = w.large ? "u64" : "u32";
    add_functions(source, &w, name, index);
    add_head(source, &w, name);
    for (int i = 0; i < w.filtered->images; i++)
        add_begin(source, &w, &w.entry[i], name);
    text_format(source,
                "    float sum[%d][%d][LANES];\n"
                "    UNROLL for (int i = 0; i < %d; i++)\n"
                "        UNROLL for (int n = 0; n < %d; n++)\n"
                "            UNROLL for (int l = 0; l < LANES; l++) sum[i][n][l] = 0;\n"
                "    for (int t = 0; t < %" PRId64 "; t++) {\n"
                "        float (*here)[%d][%d] = between[t %% %d];\n",
                w.down.kept, w.each, w.down.kept, w.each, w.passes, COLUMNS * w.along.period,
                BESIDE * w.lanes, w.buffers);
    add_inwards(source, &w, name);
    text_format(source, "        top += %d;\n", w.down.period);
    for (int i = 0; i < w.filtered->images; i++)
        text_format(source, "        row_%s += %d;\n", w.entry[i].name, w.entry[i].rows.advance);
    text_add(source, "        __syncthreads();\n");
    add_outwards(source, &w, index);
    text_add(source, w.buffers == 1 ? "        __syncthreads();\n    }\n}\n" : "    }\n}\n");

    int64_t blocks = w.out->shape.size[0] * divide_up(w.out->shape.size[1], BESIDE * w.lanes) *
                     w.strips[0] * w.strips[1];
    *kernel = (struct kernel){ .pieces = 1,
                               .threads = { BESIDE * COLUMNS, 1 },
                               .blocks = (unsigned)blocks,
                               .arguments = w.filtered->images + 1 };
    snprintf(kernel->name, sizeof kernel->name, "%s", name);
    release(&w);
}
