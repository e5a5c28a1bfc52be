/* The reference backend: its memory, its table, and the simple kernels; see ref.h. */
#include "tensor/ref.h"

#include "base/arena.h"
#include "base/random.h"
#include "tensor/ref_kernels.h"

#include <math.h>
#include <string.h>

/* Elementwise. */

#define UNARY(name, expression)                                                                    \
    static void name(const struct call *call)                                                      \
    {                                                                                              \
        const double *in = call->in[0];                                                            \
        double *out = call->out;                                                                   \
        size_t count = shape_count(call->node->shape);                                             \
        for (size_t i = 0; i < count; i++) {                                                       \
            double x = in[i];                                                                      \
            out[i] = (expression);                                                                 \
        }                                                                                          \
    }

#define BINARY(name, expression)                                                                   \
    static void name(const struct call *call)                                                      \
    {                                                                                              \
        const double *in0 = call->in[0], *in1 = call->in[1];                                       \
        double *out = call->out;                                                                   \
        size_t count = shape_count(call->node->shape);                                             \
        for (size_t i = 0; i < count; i++) {                                                       \
            double a = in0[i], b = in1[i];                                                         \
            out[i] = (expression);                                                                 \
        }                                                                                          \
    }

UNARY(ref_exp, exp(x))
UNARY(ref_log, log(x))
UNARY(ref_sqrt, sqrt(x))
UNARY(ref_sin, sin(x))
UNARY(ref_cos, cos(x))
UNARY(ref_tanh, tanh(x))
UNARY(ref_sigmoid, 1 / (1 + exp(-x)))
UNARY(ref_softplus, fmax(x, 0) + log1p(exp(-fabs(x))))
UNARY(ref_erf, erf(x))
UNARY(ref_scale, x * call->node->affine.scale + call->node->affine.shift)
UNARY(ref_detach, x)
UNARY(ref_reshape, x)

BINARY(ref_add, a + b)
BINARY(ref_sub, a - b)
BINARY(ref_mul, a *b)
BINARY(ref_div, a / b)
BINARY(ref_greater, a > b)

static double round_f32(double x)
{
    return x;
}

static double round_bf16(double x)
{
    return (double)bf16_to_float(bf16_from_float((float)x));
}

static void ref_cast(const struct call *call)
{
    static double (*const round_to[DTYPE_COUNT])(double) = {
        [DTYPE_F32] = round_f32,
        [DTYPE_BF16] = round_bf16,
        [DTYPE_I32] = trunc,
    };
    const double *in = call->in[0];
    double *out = call->out;
    size_t count = shape_count(call->node->shape);
    for (size_t i = 0; i < count; i++)
        out[i] = round_to[call->node->dtype](in[i]);
}

static void ref_where(const struct call *call)
{
    const double *condition = call->in[0], *a = call->in[1], *b = call->in[2];
    double *out = call->out;
    size_t count = shape_count(call->node->shape);
    for (size_t i = 0; i < count; i++)
        out[i] = condition[i] != 0 ? a[i] : b[i];
}

/* Movement and reductions: element by element, by coordinates. */

struct place {
    int64_t at[RANK_MAX];
};

static struct place place_of(struct shape shape, size_t index)
{
    struct place place = { { 0 } };
    for (int axis = shape.rank - 1; axis >= 0; axis--) {
        place.at[axis] = (int64_t)(index % (size_t)shape.size[axis]);
        index /= (size_t)shape.size[axis];
    }
    return place;
}

/* Coordinates along axes of size 1 are taken as 0, which is what broadcast and reductions want. */
static size_t index_of(struct shape shape, struct place place)
{
    size_t index = 0;
    for (int axis = 0; axis < shape.rank; axis++)
        index =
            index * (size_t)shape.size[axis] + (size_t)(shape.size[axis] == 1 ? 0 : place.at[axis]);
    return index;
}

static bool inside(struct shape shape, struct place place)
{
    bool in = true;
    for (int axis = 0; axis < shape.rank; axis++)
        in = in && place.at[axis] >= 0 && place.at[axis] < shape.size[axis];
    return in;
}

static void ref_sum(const struct call *call)
{
    const struct node *y = call->node;
    const double *in = call->in[0];
    double *out = call->out;
    struct shape from = y->src[0]->shape;
    memset(out, 0, shape_count(y->shape) * sizeof *out);
    for (size_t i = 0; i < shape_count(from); i++)
        out[index_of(y->shape, place_of(from, i))] += in[i];
}

static void ref_max(const struct call *call)
{
    const struct node *y = call->node;
    const double *in = call->in[0];
    double *out = call->out;
    struct shape from = y->src[0]->shape;
    for (size_t i = 0; i < shape_count(y->shape); i++)
        out[i] = -INFINITY;
    for (size_t i = 0; i < shape_count(from); i++) {
        double *max = &out[index_of(y->shape, place_of(from, i))];
        if (in[i] > *max || isnan(in[i])) /* a NaN stays */
            *max = in[i];
    }
}

static void ref_broadcast(const struct call *call)
{
    const struct node *y = call->node;
    const double *in = call->in[0];
    double *out = call->out;
    for (size_t i = 0; i < shape_count(y->shape); i++)
        out[i] = in[index_of(y->src[0]->shape, place_of(y->shape, i))];
}

static void ref_permute(const struct call *call)
{
    const struct node *y = call->node;
    const double *in = call->in[0];
    double *out = call->out;
    for (size_t i = 0; i < shape_count(y->shape); i++) {
        struct place to = place_of(y->shape, i), from = to;
        for (int axis = 0; axis < y->shape.rank; axis++)
            from.at[y->permutation[axis]] = to.at[axis];
        out[i] = in[index_of(y->src[0]->shape, from)];
    }
}

static void ref_flip(const struct call *call)
{
    const struct node *y = call->node;
    const double *in = call->in[0];
    double *out = call->out;
    for (size_t i = 0; i < shape_count(y->shape); i++) {
        struct place from = place_of(y->shape, i);
        for (int axis = 0; axis < y->shape.rank; axis++)
            if (y->axes >> axis & 1)
                from.at[axis] = y->shape.size[axis] - 1 - from.at[axis];
        out[i] = in[index_of(y->shape, from)];
    }
}

/* pad and slice both look `shift` further on in their source. */
static void copy_shifted(const struct call *call, int sign)
{
    const struct node *y = call->node;
    const double *in = call->in[0];
    double *out = call->out;
    for (size_t i = 0; i < shape_count(y->shape); i++) {
        struct place from = place_of(y->shape, i);
        for (int axis = 0; axis < y->shape.rank; axis++)
            from.at[axis] += sign * y->bounds.begin[axis];
        bool there = inside(y->src[0]->shape, from);
        out[i] = there ? in[index_of(y->src[0]->shape, from)] : 0;
    }
}

static void ref_pad(const struct call *call)
{
    copy_shifted(call, -1);
}

static void ref_slice(const struct call *call)
{
    copy_shifted(call, 1);
}

static void ref_concat(const struct call *call)
{
    const struct node *y = call->node;
    double *out = call->out;
    for (size_t i = 0; i < shape_count(y->shape); i++) {
        struct place from = place_of(y->shape, i);
        int source = 0;
        while (from.at[y->axis] >= y->src[source]->shape.size[y->axis])
            from.at[y->axis] -= y->src[source++]->shape.size[y->axis];
        const double *in = call->in[source];
        out[i] = in[index_of(y->src[source]->shape, from)];
    }
}

/* Random leaves: the same single-precision numbers as in every backend. */

typedef void fill(uint64_t seed, uint64_t stream, uint64_t first, size_t count, float *out);

static void draw(const struct call *call, fill *numbers)
{
    enum { PIECE = 1024 };
    float piece[PIECE];
    double *out = call->out;
    size_t count = shape_count(call->node->shape);
    uint64_t stream = random_leaf_stream(call->node, call->step);
    for (size_t begin = 0; begin < count; begin += PIECE) {
        size_t length = count - begin < PIECE ? count - begin : PIECE;
        numbers(call->seed, stream, call->part * count + begin, length, piece);
        for (size_t i = 0; i < length; i++)
            out[begin + i] = (double)piece[i];
    }
}

static void ref_normal(const struct call *call)
{
    draw(call, random_fill_normal);
}

static void ref_uniform(const struct call *call)
{
    draw(call, random_fill_uniform);
}

/* Memory. */

static void *ref_allocate(size_t bytes, const char *what, struct error *err)
{
    return memory_allocate(bytes, 1, what, err);
}

static void ref_copy_in(void *device, const void *host, enum dtype dtype, size_t count)
{
    double *out = device;
    for (size_t i = 0; i < count; i++)
        out[i] = dtype == DTYPE_F32   ? (double)((const float *)host)[i]
                 : dtype == DTYPE_I32 ? ((const int32_t *)host)[i]
                                      : (double)bf16_to_float(((const uint16_t *)host)[i]);
}

static void ref_copy_out(void *host, const void *device, enum dtype dtype, size_t count)
{
    const double *in = device;
    for (size_t i = 0; i < count; i++) {
        if (dtype == DTYPE_F32)
            ((float *)host)[i] = (float)in[i];
        else if (dtype == DTYPE_I32)
            ((int32_t *)host)[i] = (int32_t)in[i];
        else
            ((uint16_t *)host)[i] = bf16_from_float((float)in[i]);
    }
}

static void ref_copy(void *to, const void *from, enum dtype dtype, size_t count)
{
    (void)dtype;
    memmove(to, from, count * sizeof(double));
}

static bool ref_finish(struct error *err)
{
    (void)err;
    return true;
}

const struct backend ref_backend = {
    .name = "ref",
    .draws_parts = true,
    .element_bytes = { sizeof(double), sizeof(double), sizeof(double) },
    .allocate = ref_allocate,
    .release = memory_free,
    .copy_in = ref_copy_in,
    .copy_out = ref_copy_out,
    .copy = ref_copy,
    .finish = ref_finish,
    .kernels = {
        [OP_NORMAL] = ref_normal,
        [OP_UNIFORM] = ref_uniform,
        [OP_EXP] = ref_exp,
        [OP_LOG] = ref_log,
        [OP_SQRT] = ref_sqrt,
        [OP_SIN] = ref_sin,
        [OP_COS] = ref_cos,
        [OP_TANH] = ref_tanh,
        [OP_SIGMOID] = ref_sigmoid,
        [OP_SOFTPLUS] = ref_softplus,
        [OP_ERF] = ref_erf,
        [OP_SCALE] = ref_scale,
        [OP_CAST] = ref_cast,
        [OP_ADD] = ref_add,
        [OP_SUB] = ref_sub,
        [OP_MUL] = ref_mul,
        [OP_DIV] = ref_div,
        [OP_GREATER] = ref_greater,
        [OP_WHERE] = ref_where,
        [OP_SUM] = ref_sum,
        [OP_MAX] = ref_max,
        [OP_DETACH] = ref_detach,
        [OP_BROADCAST] = ref_broadcast,
        [OP_RESHAPE] = ref_reshape,
        [OP_PERMUTE] = ref_permute,
        [OP_PAD] = ref_pad,
        [OP_SLICE] = ref_slice,
        [OP_FLIP] = ref_flip,
        [OP_CONCAT] = ref_concat,
        [OP_MATMUL] = ref_matmul,
        [OP_CONV] = ref_conv,
        [OP_CONV_DX] = ref_conv_dx,
        [OP_CONV_DW] = ref_conv_dw,
        [OP_UPFIRDN] = ref_upfirdn,
        [OP_WARP] = ref_warp,
        [OP_WARP_DX] = ref_warp_dx,
    },
};
