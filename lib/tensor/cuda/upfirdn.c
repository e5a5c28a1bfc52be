/* upfirdn as text; see generate.h. Images lie channels-last.
 *
 * With U - 1 zeros after each pixel and steps of D, outputs repeat their pattern: P = U / gcd(U,D)
 * outputs on, the same taps are taken from pixels that lie Q = D / gcd(U,D) further. So along an
 * axis a filter is a `comb`: P outputs, each a few taps among R input pixels. What upsampling
 * inserted is not even looked at.
 *
 * A filter that is an outer product: a thread has some channels of P neighbouring columns and goes
 * down the image. It filters each input row along its pixels as it comes, keeps the last R of such
 * results in registers, and makes P output rows of them; then it moves on by Q rows. A row is read
 * and filtered once for all output rows that a thread makes of it, so 12 by 12 taps cost 24, and
 * blurring with 4 by 4 taps loads some 5 pixels for each output, not 16. Threads go down as far as
 * leaves enough of them. Other filters: a thread for each output, which takes all taps.
 */
#include "cuda/upfirdn.h"

#include "base/arena.h"
#include "cuda/generate.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    THREADS_WANTED = 1 << 16, /* some 500 for each of the many processors of a large device */
    ROWS_MOST = 32,           /* that a thread makes */
    KEPT_MOST = 128           /* floats that a thread keeps of rows */
};

static int common_divisor(int a, int b)
{
    return b ? common_divisor(b, a % b) : a;
}

static int divide_down(int a, int b)
{
    return a / b - (a % b < 0);
}

int comb_period(int up, int down)
{
    return up / common_divisor(up, down);
}

/* Output p + P·t takes tap i from pixel position / U + Q·t where U divides the position, which is
 * p·D + i − pad. */
struct comb comb_of(const struct upfirdn *u, int axis, const float *f, int count, int outputs)
{
    int up = u->up[axis], down = u->down[axis], pad = u->pad[axis][0];
    struct comb comb = { .outputs = outputs, .advance = outputs * down / up };
    int last = divide_down((comb.outputs - 1) * down + count - 1 - pad, up);
    comb.least = divide_down(up - 1 - pad, up); /* the first at or after −pad */
    comb.reach = last - comb.least + 1 > 1 ? last - comb.least + 1 : 1;
    size_t taps = (size_t)(comb.outputs * comb.reach);
    comb.tap = memory_grow(NULL, taps, sizeof *comb.tap);
    for (size_t i = 0; i < taps; i++)
        comb.tap[i] = 0;
    for (int p = 0; p < comb.outputs; p++)
        for (int i = 0; i < count; i++) {
            int position = p * down + i - pad;
            if (position % up == 0)
                comb.tap[p * comb.reach + position / up - comb.least] = f[i];
        }
    return comb;
}

/* How many neighbouring channels a thread reads as one: 16 bytes of them, if it can keep `kept`
 * floats of each. */
static int channels_at_once(const struct step *step, int kept)
{
    const struct view *x = &step->in[0], *y = &step->out;
    bool small = x->dtype == DTYPE_BF16 || y->dtype == DTYPE_BF16;
    for (int lanes = small ? 8 : 4; lanes >= 4; lanes /= 2)
        if (y->shape.size[1] % lanes == 0 && x->offset % lanes == 0 && y->offset % lanes == 0 &&
            lanes * kept <= KEPT_MOST)
            return lanes;
    return 1;
}

/* The work of the kernel: threads are counted channels first, then columns, strips, images. */
struct strips {
    struct comb down, along; /* of the rows; of a row's pixels */
    int lanes;
    int64_t columns, strips; /* of P outputs; of `each` times P rows */
    int64_t each;
    size_t threads;
};

static struct strips cut_into_strips(const struct step *step, const struct fir *fir)
{
    const struct upfirdn *u = &step->node->upfirdn;
    struct shape y = step->out.shape;
    struct strips strips = {
        .down = comb_of(u, 0, fir->vertical, fir->rows, comb_period(u->up[0], u->down[0])),
        .along = comb_of(u, 1, fir->horizontal, fir->columns, comb_period(u->up[1], u->down[1]))
    };
    strips.lanes = channels_at_once(step, strips.down.reach * strips.along.outputs);
    strips.columns = (y.size[3] + strips.along.outputs - 1) / strips.along.outputs;
    int64_t passes = (y.size[2] + strips.down.outputs - 1) / strips.down.outputs;
    int64_t across = y.size[0] * (y.size[1] / strips.lanes) * strips.columns;
    strips.each = ROWS_MOST / strips.down.outputs > 1 ? ROWS_MOST / strips.down.outputs : 1;
    strips.each = strips.each < passes ? strips.each : passes;
    while (strips.each > 1 && across * (passes / strips.each) < THREADS_WANTED)
        strips.each = (strips.each + 1) / 2;
    strips.strips = (passes + strips.each - 1) / strips.each;
    strips.threads = (size_t)(across * strips.strips);
    return strips;
}

void upfirdn_add_along(struct text *source, const struct view *view, const struct comb *along,
                       int lanes, const char *name, const char *index)
{
    struct shape x = view->shape;
    text_format(source,
                "DEVICE void %s_along(const %s *__restrict__ x, int row, int first, "
                "float (*h)[%d])\n{\n    enum { LANES = %d };\n    float value[LANES];\n"
                "    UNROLL for (int p = 0; p < %d; p++)\n"
                "        UNROLL for (int l = 0; l < LANES; l++) h[p][l] = 0;\n"
                "    if (row < 0 || row >= %" PRId64 ") return;\n"
                "    x += (%s)row * %" PRId64 ";\n",
                name, generate_types[view->dtype], lanes, lanes, along->outputs, x.size[2], index,
                x.size[3] * x.size[1]);
    for (int i = 0; i < along->reach; i++) {
        text_format(source,
                    "    if (first + %d >= 0 && first + %d < %" PRId64 ") {\n"
                    "        load%d(x + (%s)(first + %d) * %" PRId64 ", value);\n",
                    i, i, x.size[3], lanes, index, i, x.size[1]);
        for (int p = 0; p < along->outputs; p++) {
            double tap = along->tap[p * along->reach + i];
            if (tap != 0)
                text_format(
                    source,
                    "        UNROLL for (int l = 0; l < LANES; l++) h[%d][l] += %.9ef * value[l];\n",
                    p, tap);
        }
        text_add(source, "    }\n");
    }
    text_add(source, "}\n");
}

/* The P output rows that the kept ones make. */
static void add_rows(struct text *source, const struct step *step, const struct strips *strips,
                     const char *index)
{
    const struct comb *down = &strips->down;
    struct shape y = step->out.shape;
    for (int p = 0; p < down->outputs; p++) {
        text_format(source,
                    "        if (out + %d < %" PRId64 ")\n"
                    "            UNROLL for (int k = 0; k < %d; k++)\n"
                    "                if (column * %d + k < %" PRId64 ") {\n"
                    "                    float sum[LANES];\n"
                    "                    UNROLL for (int l = 0; l < LANES; l++) sum[l] = 0",
                    p, y.size[2], strips->along.outputs, strips->along.outputs, y.size[3]);
        for (int i = 0; i < down->reach; i++) {
            double tap = down->tap[p * down->reach + i];
            if (tap != 0)
                text_format(source, " + %.9ef * h[%d][k][l]", tap, i);
        }
        text_format(source,
                    ";\n                    store%d(y + ((%s)(out + %d) * %" PRId64
                    " + column * %d + k) * %" PRId64 ", sum);\n                }\n",
                    strips->lanes, index, p, y.size[3], strips->along.outputs, y.size[1]);
    }
}

static void generate_strips(const struct step *step, const char *name, struct text *source,
                            const struct strips *strips, const char *index)
{
    const struct comb *down = &strips->down;
    struct shape x = step->in[0].shape, y = step->out.shape;
    int64_t chunks = y.size[1] / strips->lanes;
    int fresh = down->advance < down->reach ? down->advance : down->reach;
    upfirdn_add_along(source, &step->in[0], &strips->along, strips->lanes, name, index);
    text_format(source,
                "extern \"C\" __global__ void __launch_bounds__(%d) %s("
                "const %s *__restrict__ x, %s *y)\n"
                "{\n    enum { LANES = %d };\n"
                "    const %s index = (%s)blockIdx.x * %d + threadIdx.x;\n"
                "    if (index >= %zu) return;\n"
                "    %s rest = index;\n"
                "    const int c = (int)(rest %% %" PRId64 ") * LANES; rest /= %" PRId64 ";\n"
                "    const int column = (int)(rest %% %" PRId64 "); rest /= %" PRId64 ";\n"
                "    const int strip = (int)(rest %% %" PRId64 "); rest /= %" PRId64 ";\n",
                KERNEL_THREADS, name, generate_types[step->in[0].dtype],
                generate_types[step->out.dtype], strips->lanes, index, index, KERNEL_THREADS,
                strips->threads, index, chunks, chunks, strips->columns, strips->columns,
                strips->strips, strips->strips);
    text_format(source,
                "    x += (u64)rest * %" PRId64 " + c; y += (u64)rest * %" PRId64 " + c;\n"
                "    const int first = column * %d + %d;\n"
                "    int row = strip * %" PRId64 " + %d;\n"
                "    float h[%d][%d][LANES];\n"
                "    UNROLL for (int i = 0; i < %d; i++) %s_along(x, row + i, first, h[i]);\n"
                "    for (int t = 0; t < %" PRId64 "; t++, row += %d) {\n"
                "        const int out = (strip * %" PRId64 " + t) * %d;\n"
                "        if (out >= %" PRId64 ") break;\n"
                "        UNROLL for (int i = %d; i < %d; i++)\n"
                "            %s_along(x, row + i, first, h[i]);\n",
                x.size[1] * x.size[2] * x.size[3], y.size[1] * y.size[2] * y.size[3],
                strips->along.advance, strips->along.least, strips->each * down->advance,
                down->least, down->reach, strips->along.outputs, down->reach - fresh, name,
                strips->each, down->advance, strips->each, down->outputs, y.size[2],
                down->reach - fresh, down->reach, name);
    add_rows(source, step, strips, index);
    text_format(source,
                "        UNROLL for (int i = 0; i < %d; i++)\n"
                "            UNROLL for (int k = 0; k < %d; k++)\n"
                "                UNROLL for (int l = 0; l < LANES; l++)\n"
                "                    h[i][k][l] = h[i + %d][k][l];\n    }\n}\n",
                down->reach - fresh, strips->along.outputs, fresh);
}

/* A thread for some channels of a pixel. */
static void generate_direct(const struct step *step, const char *name, struct text *source,
                            const struct fir *fir, int lanes, const char *index)
{
    const struct upfirdn *u = &step->node->upfirdn;
    struct shape x = step->in[0].shape, y = step->out.shape;
    text_format(source, "__device__ const float %s_filter[%d] = { ", name,
                fir->rows * fir->columns);
    for (int i = 0; i < fir->rows * fir->columns; i++)
        text_format(source, "%.9ef, ", (double)fir->matrix[i]);
    text_add(source, "};\n");
    text_format(source,
                "extern \"C\" __global__ void __launch_bounds__(%d) %s("
                "const %s *__restrict__ x, %s *y)\n"
                "{\n    enum { LANES = %d };\n"
                "    const %s index = (%s)blockIdx.x * %d + threadIdx.x;\n"
                "    if (index >= %zu) return;\n"
                "    %s rest = index;\n"
                "    const int c = (int)(rest %% %" PRId64 ") * LANES; rest /= %" PRId64 ";\n"
                "    const int column = (int)(rest %% %" PRId64 "); rest /= %" PRId64 ";\n"
                "    const int row = (int)(rest %% %" PRId64 "); rest /= %" PRId64 ";\n",
                KERNEL_THREADS, name, generate_types[step->in[0].dtype],
                generate_types[step->out.dtype], lanes, index, index, KERNEL_THREADS,
                shape_count(y) / (size_t)lanes, index, y.size[1] / lanes, y.size[1] / lanes,
                y.size[3], y.size[3], y.size[2], y.size[2]);
    text_format(source,
                "    float sum[LANES] = { 0 };\n"
                "    for (int i = 0; i < %d; i++) {\n"
                "        const int v = row * %d + i - %d;\n"
                "        if (v < 0 || v %% %d || v / %d >= %" PRId64 ") continue;\n"
                "        float part[LANES] = { 0 };\n"
                "        for (int k = 0; k < %d; k++) {\n"
                "            const int h = column * %d + k - %d;\n"
                "            if (h < 0 || h %% %d || h / %d >= %" PRId64 ") continue;\n"
                "            float value[LANES];\n"
                "            load%d(x + ((rest * %" PRId64 " + v / %d) * %" PRId64
                " + h / %d) * %" PRId64 " + c, value);\n"
                "            UNROLL for (int l = 0; l < LANES; l++)\n"
                "                part[l] += %s_filter[i * %d + k] * value[l];\n"
                "        }\n"
                "        UNROLL for (int l = 0; l < LANES; l++) sum[l] += part[l];\n    }\n"
                "    store%d(y + (u64)index * LANES, sum);\n}\n",
                fir->rows, u->down[0], u->pad[0][0], u->up[0], u->up[0], x.size[2], fir->columns,
                u->down[1], u->pad[1][0], u->up[1], u->up[1], x.size[3], lanes, x.size[2], u->up[0],
                x.size[3], u->up[1], x.size[1], name, fir->columns, lanes);
}

void generate_upfirdn(const struct step *step, const char *name, struct text *source,
                      struct kernel *kernel)
{
    struct shape x = step->in[0].shape, y = step->out.shape;
    struct fir fir = fir_of(step->node);
    bool wide = shape_count(y) >= INT32_MAX - KERNEL_THREADS || shape_count(x) >= INT32_MAX;
    const char *index = wide ? "u64" : "u32";
    size_t threads;
    if (fir.vertical) {
        struct strips strips = cut_into_strips(step, &fir);
        generate_strips(step, name, source, &strips, index);
        threads = strips.threads;
        free(strips.down.tap);
        free(strips.along.tap);
    } else {
        int lanes = channels_at_once(step, 1);
        generate_direct(step, name, source, &fir, lanes, index);
        threads = shape_count(y) / (size_t)lanes;
    }
    *kernel = (struct kernel){ .pieces = 1, .threads = { KERNEL_THREADS, 1 }, .arguments = 2 };
    snprintf(kernel->name, sizeof kernel->name, "%s", name);
    kernel->blocks = (unsigned)((threads + KERNEL_THREADS - 1) / KERNEL_THREADS);
    fir_release(&fir);
}
