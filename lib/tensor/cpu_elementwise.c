/* The instructions of fused loops: one plain loop each, over a tile that lies in the first-level
 * cache. Contraction is on in this file (CMakeLists.txt): a·b + c is one rounding where the
 * processor can. */
#include "tensor/cpu_math.h"
#include "tensor/cpu_parts.h"

#include "base/simd.h"

#define INSTRUCTION(name, expression)                                                              \
    HOT static void name(const struct instruction *instruction, float *restrict out,               \
                         const float *const *in, size_t count)                                     \
    {                                                                                              \
        const float *a = in[0], *b = in[1], *c = in[2], *d = in[3];                                \
        const float scale = instruction->scale, shift = instruction->shift;                        \
        (void)b, (void)c, (void)d, (void)scale, (void)shift;                                       \
        for (size_t i = 0; i < count; i++)                                                         \
            out[i] = (expression);                                                                 \
    }

INSTRUCTION(do_exp, cpu_exp(a[i]))
INSTRUCTION(do_log, cpu_log(a[i]))
INSTRUCTION(do_sqrt, sqrtf(a[i]))
INSTRUCTION(do_tanh, cpu_tanh(a[i]))
INSTRUCTION(do_sigmoid, cpu_sigmoid(a[i]))
INSTRUCTION(do_softplus, cpu_softplus(a[i]))
INSTRUCTION(do_erf, cpu_erf(a[i]))
INSTRUCTION(do_scale, a[i] * scale + shift)
INSTRUCTION(do_add, a[i] + b[i])
INSTRUCTION(do_sub, a[i] - b[i])
INSTRUCTION(do_mul, a[i] * b[i])
INSTRUCTION(do_div, a[i] / b[i])
INSTRUCTION(do_greater, chosen(a[i] > b[i], 1.0f, 0.0f))
INSTRUCTION(do_where, chosen(a[i] != 0.0f, b[i], c[i]))
INSTRUCTION(do_copy, a[i])
INSTRUCTION(do_mul_add, a[i] * b[i] + c[i])
INSTRUCTION(do_select, chosen(a[i] > b[i], c[i], d[i]))
INSTRUCTION(do_leaky, chosen(a[i] > 0.0f, b[i], b[i] * scale))
INSTRUCTION(do_step, chosen(a[i] > 0.0f, b[i], 0.0f))
INSTRUCTION(do_round, cpu_from_bf16(cpu_bf16(a[i])))
INSTRUCTION(do_truncate, truncf(a[i]))
INSTRUCTION(sine, cpu_sine(a[i], 0))
INSTRUCTION(cosine, cpu_sine(a[i], 1))

/* Angles so large that three parts of π/2 do not suffice are left to the C library. */
static void large_angles(float *out, const float *a, size_t count, float (*exact)(float))
{
    for (size_t i = 0; i < count; i++)
        if (!(fabsf(a[i]) <= CPU_ANGLE_MAX))
            out[i] = exact(a[i]);
}

static void do_sin(const struct instruction *instruction, float *out, const float *const *in,
                   size_t count)
{
    sine(instruction, out, in, count);
    large_angles(out, in[0], count, sinf);
}

static void do_cos(const struct instruction *instruction, float *out, const float *const *in,
                   size_t count)
{
    cosine(instruction, out, in, count);
    large_angles(out, in[0], count, cosf);
}

static void do_leaky_or_step(const struct instruction *instruction, float *out,
                             const float *const *in, size_t count)
{
    (instruction->scale == 0 ? do_step : do_leaky)(instruction, out, in, count);
}

cpu_instruction *const cpu_instructions[LOOP_OPS] = {
    [OP_EXP] = do_exp,         [OP_LOG] = do_log,
    [OP_SQRT] = do_sqrt,       [OP_SIN] = do_sin,
    [OP_COS] = do_cos,         [OP_TANH] = do_tanh,
    [OP_SIGMOID] = do_sigmoid, [OP_SOFTPLUS] = do_softplus,
    [OP_ERF] = do_erf,         [OP_SCALE] = do_scale,
    [OP_ADD] = do_add,         [OP_SUB] = do_sub,
    [OP_MUL] = do_mul,         [OP_DIV] = do_div,
    [OP_GREATER] = do_greater, [OP_WHERE] = do_where,
    [LOOP_COPY] = do_copy,     [LOOP_MUL_ADD] = do_mul_add,
    [LOOP_SELECT] = do_select, [LOOP_LEAKY] = do_leaky_or_step,
    [LOOP_ROUND] = do_round,   [LOOP_TRUNCATE] = do_truncate,
};
