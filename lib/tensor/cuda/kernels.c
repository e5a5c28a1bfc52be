/* The texts that are no loops: the prelude, filters, random numbers; see generate.h. */
#include "cuda/generate.h"

#include "base/random.h"

#include <inttypes.h>
#include <stdio.h>

const char generate_prelude[] =
    "typedef unsigned long long u64;\n"
    "typedef unsigned int u32;\n"
    "struct bf16 { unsigned short bits; };\n"
    "#define UNROLL _Pragma(\"unroll\")\n"
    "#define DEVICE static __device__ __forceinline__\n"
    "DEVICE float infinity() { return __int_as_float(0x7f800000); }\n"
    "DEVICE float not_a_number() { return __int_as_float(0x7fc00000); }\n"
    /* As bf16_from_float in backend.c: to nearest, ties to even; NaN stays NaN. */
    "DEVICE bf16 to_bf16(float x) {\n"
    "    const u32 bits = (u32)__float_as_int(x);\n"
    "    bf16 y;\n"
    "    y.bits = (unsigned short)(x != x ? bits >> 16 | 0x40u\n"
    "                                     : (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);\n"
    "    return y;\n"
    "}\n"
    "DEVICE float from_bf16(bf16 x) { return __int_as_float((int)((u32)x.bits << 16)); }\n"
    "DEVICE float added(float a, float b) { return a + b; }\n"
    "DEVICE float larger(float most, float x) { return x > most || x != x ? x : most; }\n"
    "DEVICE void load1(const float *p, float *x) { x[0] = *p; }\n"
    "DEVICE void load1(const bf16 *p, float *x) { x[0] = from_bf16(*p); }\n"
    "DEVICE void load1(const int *p, float *x) { x[0] = (float)*p; }\n"
    "DEVICE void store1(float *p, const float *x) { *p = x[0]; }\n"
    "DEVICE void store1(bf16 *p, const float *x) { *p = to_bf16(x[0]); }\n"
    "DEVICE void store1(int *p, const float *x) { *p = (int)x[0]; }\n"
    "struct __align__(16) four { float x[4]; };\n"
    "struct __align__(8) four_bf16 { bf16 x[4]; };\n"
    "struct __align__(16) four_int { int x[4]; };\n"
    "DEVICE void load4(const float *p, float *x) {\n"
    "    const four v = *(const four *)p;\n"
    "    UNROLL for (int i = 0; i < 4; i++) x[i] = v.x[i];\n"
    "}\n"
    "DEVICE void load4(const bf16 *p, float *x) {\n"
    "    const four_bf16 v = *(const four_bf16 *)p;\n"
    "    UNROLL for (int i = 0; i < 4; i++) x[i] = from_bf16(v.x[i]);\n"
    "}\n"
    "DEVICE void load4(const int *p, float *x) {\n"
    "    const four_int v = *(const four_int *)p;\n"
    "    UNROLL for (int i = 0; i < 4; i++) x[i] = (float)v.x[i];\n"
    "}\n"
    "DEVICE void store4(float *p, const float *x) {\n"
    "    four v; UNROLL for (int i = 0; i < 4; i++) v.x[i] = x[i];\n"
    "    *(four *)p = v;\n"
    "}\n"
    "DEVICE void store4(bf16 *p, const float *x) {\n"
    "    four_bf16 v; UNROLL for (int i = 0; i < 4; i++) v.x[i] = to_bf16(x[i]);\n"
    "    *(four_bf16 *)p = v;\n"
    "}\n"
    "DEVICE void store4(int *p, const float *x) {\n"
    "    four_int v; UNROLL for (int i = 0; i < 4; i++) v.x[i] = (int)x[i];\n"
    "    *(four_int *)p = v;\n"
    "}\n"
    /* Philox4x32-10, as lib/base/random.c. */
    "DEVICE void philox(u64 seed, u64 stream, u64 index, u32 *c) {\n"
    "    u32 k0 = (u32)seed, k1 = (u32)(seed >> 32);\n"
    "    c[0] = (u32)index; c[1] = (u32)(index >> 32);\n"
    "    c[2] = (u32)stream; c[3] = (u32)(stream >> 32);\n"
    "    for (int round = 0; round < 10; round++) {\n"
    "        const u64 p0 = (u64)0xD2511F53u * c[0], p1 = (u64)0xCD9E8D57u * c[2];\n"
    "        const u32 c1 = c[1], c3 = c[3];\n"
    "        c[0] = (u32)(p1 >> 32) ^ c1 ^ k0; c[1] = (u32)p1;\n"
    "        c[2] = (u32)(p0 >> 32) ^ c3 ^ k1; c[3] = (u32)p0;\n"
    "        k0 += 0x9E3779B9u; k1 += 0xBB67AE85u;\n"
    "    }\n"
    "}\n"
    "DEVICE void uniforms(const u32 *c, float *x) {\n"
    "    for (int i = 0; i < 4; i++) x[i] = (float)(c[i] >> 8) * 5.9604644775390625e-8f;\n"
    "}\n"
    "DEVICE void normals(const u32 *c, float *x) {\n"
    "    for (int i = 0; i < 4; i += 2) {\n"
    "        const float u = ((float)(c[i] >> 9) + 0.5f) * 1.1920928955078125e-7f;\n"
    "        const float radius = sqrtf(-2 * logf(u));\n"
    "        const float angle = 1.4629180792671596e-9f * (float)c[i + 1];\n"
    "        x[i] = radius * cosf(angle); x[i + 1] = radius * sinf(angle);\n"
    "    }\n"
    "}\n";

static unsigned blocks_for(size_t count)
{
    return (unsigned)((count + KERNEL_THREADS - 1) / KERNEL_THREADS);
}

static const char *const type_names[DTYPE_COUNT] = {
    [DTYPE_F32] = "float", [DTYPE_BF16] = "bf16", [DTYPE_I32] = "int"
};

void generate_random(const struct step *step, const char *name, struct text *source,
                     struct kernel *kernel)
{
    size_t count = shape_count(step->out.shape);
    size_t quads = count / 4 + 2; /* that hold `count` numbers, wherever they begin */
    *kernel = (struct kernel){ .pieces = 1, .threads = { KERNEL_THREADS, 1 }, .arguments = 2 };
    snprintf(kernel->name, sizeof kernel->name, "%s", name);
    kernel->blocks = blocks_for(quads);
    text_format(
        source,
        "extern \"C\" __global__ void __launch_bounds__(%d) %s(float *y, const u64 *clock)\n"
        "{\n    const u64 first = clock[2] * %zuull, thread = (u64)blockIdx.x * %d + threadIdx.x;\n"
        "    const u64 quad = first / 4 + thread;\n"
        "    if (thread >= %zuull) return;\n"
        "    u32 c[4]; float x[4];\n"
        "    philox(0, %" PRIu64 "ull, clock[1], c);\n"
        "    philox(clock[0], (u64)c[1] << 32 | c[0], quad | 1ull << 63, c);\n"
        "    %s(c, x);\n"
        "    for (int i = 0; i < 4; i++) {\n"
        "        const u64 at = quad * 4 + i;\n"
        "        if (at >= first && at - first < %zuull) y[at - first] = x[i];\n    }\n}\n",
        KERNEL_THREADS, name, count, KERNEL_THREADS, quads, step->node->random.stream,
        step->node->op == OP_NORMAL ? "normals" : "uniforms", count);
}

/* The filter as a matrix, in the order in which it meets the image. */
static void add_filter(struct text *source, const struct node *node, const char *name)
{
    const struct node *constant = node->src[1];
    const float *f = constant->constant.values;
    struct shape shape = constant->shape;
    int rows = (int)shape.size[0], columns = (int)shape.size[shape.rank - 1];
    text_format(source, "__device__ const float %s_filter[%d] = { ", name, rows * columns);
    for (int i = 0; i < rows * columns; i++) {
        int at = node->upfirdn.flip ? i : rows * columns - 1 - i;
        double fill = constant->constant.fill;
        double value = shape.rank == 2 ? (f ? (double)f[at] : fill)
                       : f             ? (double)f[at / columns] * (double)f[at % columns]
                                       : fill * fill;
        text_format(source, "%.9ef, ", value);
    }
    text_add(source, "};\n");
}

void generate_upfirdn(const struct step *step, const char *name, struct text *source,
                      struct kernel *kernel)
{
    const struct node *node = step->node;
    const struct upfirdn *u = &node->upfirdn;
    struct shape x = step->in[0].shape, y = step->out.shape, f = node->src[1]->shape;
    size_t count = shape_count(y);
    *kernel = (struct kernel){ .pieces = 1, .threads = { KERNEL_THREADS, 1 }, .arguments = 2 };
    snprintf(kernel->name, sizeof kernel->name, "%s", name);
    kernel->blocks = blocks_for(count);
    add_filter(source, node, name);
    text_format(source,
                "extern \"C\" __global__ void __launch_bounds__(%d) %s(const %s *x, %s *y)\n"
                "{\n    const u64 index = (u64)blockIdx.x * %d + threadIdx.x;\n"
                "    if (index >= %zuull) return;\n"
                "    u64 rest = index;\n"
                "    const int c = (int)(rest %% %" PRId64 "); rest /= %" PRId64 ";\n"
                "    const int column = (int)(rest %% %" PRId64 "); rest /= %" PRId64 ";\n"
                "    const int row = (int)(rest %% %" PRId64 "); rest /= %" PRId64 ";\n",
                KERNEL_THREADS, name, type_names[step->in[0].dtype], type_names[step->out.dtype],
                KERNEL_THREADS, count, y.size[1], y.size[1], y.size[3], y.size[3], y.size[2],
                y.size[2]);
    text_format(source,
                "    float sum = 0;\n"
                "    for (int i = 0; i < %" PRId64 "; i++) {\n"
                "        const int v = row * %d + i - %d;\n"
                "        if (v < 0 || v %% %d || v / %d >= %" PRId64 ") continue;\n"
                "        float part = 0;\n"
                "        for (int k = 0; k < %" PRId64 "; k++) {\n"
                "            const int h = column * %d + k - %d;\n"
                "            if (h < 0 || h %% %d || h / %d >= %" PRId64 ") continue;\n"
                "            float value[1];\n"
                "            load1(x + ((rest * %" PRId64 " + v / %d) * %" PRId64
                " + h / %d) * %" PRId64 " + c, value);\n"
                "            part += %s_filter[i * %" PRId64 " + k] * value[0];\n"
                "        }\n        sum += part;\n    }\n"
                "    store1(y + index, &sum);\n}\n",
                f.size[0], u->down[0], u->pad[0][0], u->up[0], u->up[0], x.size[2],
                f.size[f.rank - 1], u->down[1], u->pad[1][0], u->up[1], u->up[1], x.size[3],
                x.size[2], u->up[0], x.size[3], u->up[1], x.size[1], name, f.size[f.rank - 1]);
}
