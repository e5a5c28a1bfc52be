/* The texts that are no loops: the prelude, warps, random numbers; see generate.h. */
#include "cuda/generate.h"

#include "base/random.h"

#include <inttypes.h>
#include <stdio.h>

const char generate_prelude[] =
    "typedef unsigned long long u64;\n"
    "typedef unsigned int u32;\n"
    "struct bf16 { unsigned short bits; };\n"
    "#define UNROLL _Pragma(\"unroll\")\n"
    "#define UNROLL_4 _Pragma(\"unroll 4\")\n"
    "#define DEVICE static __device__ __forceinline__\n"
    /* Addresses of the operands of a group; no thread makes a copy to find one in. */
    "#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 700\n#define GRID_CONSTANT __grid_constant__\n"
    "#else\n#define GRID_CONSTANT\n#endif\n"
    "template <int count> struct places { char *at[count]; };\n"
    "DEVICE float infinity() { return __int_as_float(0x7f800000); }\n"
    "DEVICE float not_a_number() { return __int_as_float(0x7fc00000); }\n"
    /* As bf16_from_float in backend.c: to nearest, ties to even; NaN stays NaN. A device of bf16
     * has an instruction for it, and one for two at once (the second operand is the lower half). */
    "#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800\n"
    "DEVICE bf16 to_bf16(float x) {\n"
    "    bf16 y; asm(\"cvt.rn.bf16.f32 %0, %1;\" : \"=h\"(y.bits) : \"f\"(x)); return y;\n"
    "}\n"
    "DEVICE u32 two_of(float a, float b) {\n"
    "    u32 y; asm(\"cvt.rn.bf16x2.f32 %0, %1, %2;\" : \"=r\"(y) : \"f\"(b), \"f\"(a)); return y;\n"
    "}\n"
    "#else\n"
    "DEVICE bf16 to_bf16(float x) {\n"
    "    const u32 bits = (u32)__float_as_int(x);\n"
    "    bf16 y;\n"
    "    y.bits = (unsigned short)(x != x ? bits >> 16 | 0x40u\n"
    "                                     : (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);\n"
    "    return y;\n"
    "}\n"
    "DEVICE u32 two_of(float a, float b) {\n"
    "    return (u32)to_bf16(a).bits | (u32)to_bf16(b).bits << 16;\n"
    "}\n"
    "#endif\n"
    "DEVICE float from_bf16(bf16 x) { return __int_as_float((int)((u32)x.bits << 16)); }\n"
    "template <class T> DEVICE T added(T a, T b) { return a + b; }\n"
    "template <class T> DEVICE T larger(T most, T x) { return x > most || x != x ? x : most; }\n"
    "DEVICE void load1(const float *p, float *x) { x[0] = *p; }\n"
    "DEVICE void load1(const bf16 *p, float *x) { x[0] = from_bf16(*p); }\n"
    "DEVICE void load1(const int *p, float *x) { x[0] = (float)*p; }\n"
    "DEVICE void store1(float *p, const float *x) { *p = x[0]; }\n"
    "DEVICE void store1(bf16 *p, const float *x) { *p = to_bf16(x[0]); }\n"
    "DEVICE void store1(int *p, const float *x) { *p = (int)x[0]; }\n"
    "struct __align__(16) four { float x[4]; };\n"
    "struct __align__(8) four_bf16 { bf16 x[4]; };\n"
    "struct __align__(16) four_int { int x[4]; };\n"
    "struct __align__(8) two { float x[2]; };\n"
    "struct __align__(4) two_bf16 { bf16 x[2]; };\n"
    "DEVICE void load2(const float *p, float *x) {\n"
    "    const two v = *(const two *)p; x[0] = v.x[0]; x[1] = v.x[1];\n"
    "}\n"
    "DEVICE void load2(const bf16 *p, float *x) {\n"
    "    const two_bf16 v = *(const two_bf16 *)p;\n"
    "    x[0] = from_bf16(v.x[0]); x[1] = from_bf16(v.x[1]);\n"
    "}\n"
    "DEVICE void store2(float *p, const float *x) {\n"
    "    two v; v.x[0] = x[0]; v.x[1] = x[1]; *(two *)p = v;\n"
    "}\n"
    "DEVICE void store2(bf16 *p, const float *x) {\n"
    "    two_bf16 v; const u32 pair = two_of(x[0], x[1]);\n"
    "    v.x[0].bits = (unsigned short)pair; v.x[1].bits = (unsigned short)(pair >> 16);\n"
    "    *(two_bf16 *)p = v;\n"
    "}\n"
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
    "    four_bf16 v;\n"
    "    UNROLL for (int i = 0; i < 4; i += 2) {\n"
    "        const u32 pair = two_of(x[i], x[i + 1]);\n"
    "        v.x[i].bits = (unsigned short)pair; v.x[i + 1].bits = (unsigned short)(pair >> 16);\n"
    "    }\n"
    "    *(four_bf16 *)p = v;\n"
    "}\n"
    "DEVICE void store4(int *p, const float *x) {\n"
    "    four_int v; UNROLL for (int i = 0; i < 4; i++) v.x[i] = (int)x[i];\n"
    "    *(four_int *)p = v;\n"
    "}\n"
    "struct __align__(16) eight_bf16 { bf16 x[8]; };\n"
    "template <class T> DEVICE void load8(const T *p, float *x) {\n"
    "    load4(p, x); load4(p + 4, x + 4);\n"
    "}\n"
    "template <class T> DEVICE void store8(T *p, const float *x) {\n"
    "    store4(p, x); store4(p + 4, x + 4);\n"
    "}\n"
    "DEVICE void load8(const bf16 *p, float *x) {\n"
    "    const eight_bf16 v = *(const eight_bf16 *)p;\n"
    "    UNROLL for (int i = 0; i < 8; i++) x[i] = from_bf16(v.x[i]);\n"
    "}\n"
    "DEVICE void store8(bf16 *p, const float *x) {\n"
    "    eight_bf16 v;\n"
    "    UNROLL for (int i = 0; i < 8; i += 2) {\n"
    "        const u32 pair = two_of(x[i], x[i + 1]);\n"
    "        v.x[i].bits = (unsigned short)pair; v.x[i + 1].bits = (unsigned short)(pair >> 16);\n"
    "    }\n"
    "    *(eight_bf16 *)p = v;\n"
    "}\n"
    /* Two neighbours as one register, the first in its lower half, as tensor cores take them. */
    "DEVICE u32 two_at(const bf16 *p) { return *(const u32 *)p; }\n"
    "DEVICE u32 two_down(const bf16 *p, int row) {\n"
    "    return (u32)p[0].bits | (u32)p[row].bits << 16;\n"
    "}\n"
    /* y (16×8) += a (16×16) · b (16×8), each spread over a warp. Only devices of bf16 are asked for
     * it; an emulation brings its own. */
    "#ifdef __CUDACC__\n"
    "template <class Sum> DEVICE void multiply(Sum *y, const u32 *a, const u32 *b) {\n"
    "    asm volatile(\"mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 \"\n"
    "                 \"{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\"\n"
    "                 : \"+f\"(y[0]), \"+f\"(y[1]), \"+f\"(y[2]), \"+f\"(y[3])\n"
    "                 : \"r\"(a[0]), \"r\"(a[1]), \"r\"(a[2]), \"r\"(a[3]), \"r\"(b[0]), \"r\"(b[1]));\n"
    "}\n"
    "#endif\n"
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
    "}\n"
    /* Where a pixel of the grid lies in the image, both from their centres; the share of a pixel
     * that is so far away along an axis. */
    "DEVICE void warped(const float *m, float x, float y, float *u, float *v) {\n"
    "    *u = fmaf(m[0], x, fmaf(m[1], y, m[2]));\n"
    "    *v = fmaf(m[3], x, fmaf(m[4], y, m[5]));\n"
    "}\n"
    "DEVICE float share(float away) { return fmaxf(1 - fabsf(away), 0); }\n";

static unsigned blocks_for(size_t count)
{
    return (unsigned)((count + KERNEL_THREADS - 1) / KERNEL_THREADS);
}

const char *const generate_types[DTYPE_COUNT] = {
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

/* The beginning of a kernel that has a thread for each value of the result: image `rest`, row,
 * column, channel c, and m, the image's matrix. */
static void begin_warp(const struct step *step, const char *name, struct text *source,
                       struct kernel *kernel)
{
    struct shape y = step->out.shape;
    size_t count = shape_count(y);
    *kernel = (struct kernel){ .pieces = 1, .threads = { KERNEL_THREADS, 1 }, .arguments = 3 };
    snprintf(kernel->name, sizeof kernel->name, "%s", name);
    kernel->blocks = blocks_for(count);
    text_format(source,
                "extern \"C\" __global__ void __launch_bounds__(%d) %s("
                "const %s *__restrict__ x, "
                "const float *__restrict__ matrix, %s *y)\n"
                "{\n    const u64 index = (u64)blockIdx.x * %d + threadIdx.x;\n"
                "    if (index >= %zuull) return;\n"
                "    u64 rest = index;\n"
                "    const int c = (int)(rest %% %" PRId64 "); rest /= %" PRId64 ";\n"
                "    const int column = (int)(rest %% %" PRId64 "); rest /= %" PRId64 ";\n"
                "    const int row = (int)(rest %% %" PRId64 "); rest /= %" PRId64 ";\n"
                "    const float *m = matrix + rest * 6;\n"
                "    float sum = 0, value[1], u, v;\n",
                KERNEL_THREADS, name, generate_types[step->in[0].dtype],
                generate_types[step->out.dtype], KERNEL_THREADS, count, y.size[1], y.size[1],
                y.size[3], y.size[3], y.size[2], y.size[2]);
}

/* The middle of an image's rows (axis 2) or columns (axis 3). */
static double middle(struct shape shape, int axis)
{
    return (double)(shape.size[axis] - 1) / 2;
}

void generate_warp(const struct step *step, const char *name, struct text *source,
                   struct kernel *kernel)
{
    struct shape image = step->in[0].shape, grid = step->out.shape;
    begin_warp(step, name, source, kernel);
    text_format(source,
                "    warped(m, column - %.1ff, row - %.1ff, &u, &v);\n"
                "    if (fabsf(u) < %.1ff && fabsf(v) < %.1ff) {\n"
                "        const int left = (int)floorf(u + %.1ff), top = (int)floorf(v + %.1ff);\n"
                "        for (int k = 0; k < 4; k++) {\n"
                "            const int h = left + (k & 1), w = top + (k >> 1);\n"
                "            if (h < 0 || h >= %" PRId64 " || w < 0 || w >= %" PRId64
                ") continue;\n"
                "            load1(x + ((rest * %" PRId64 " + w) * %" PRId64 " + h) * %" PRId64
                " + c, value);\n"
                "            sum += share(u - (h - %.1ff)) * share(v - (w - %.1ff)) * value[0];\n"
                "        }\n    }\n"
                "    store1(y + index, &sum);\n}\n",
                middle(grid, 3), middle(grid, 2), middle(image, 3) + 1, middle(image, 2) + 1,
                middle(image, 3), middle(image, 2), image.size[3], image.size[2], image.size[2],
                image.size[3], image.size[1], middle(image, 3), middle(image, 2));
}

/* A pixel of the image gathers from all pixels of the grid that lie within one pixel of it: those
 * in a parallelogram, M⁻¹ of a square, of which the bounding box is walked. Of a matrix that
 * flattens the image, the whole grid. The order of the sum is that of the grid: no atomics. */
void generate_warp_dx(const struct step *step, const char *name, struct text *source,
                      struct kernel *kernel)
{
    struct shape image = step->out.shape, grid = step->in[0].shape;
    begin_warp(step, name, source, kernel);
    text_format(source,
                "    const float h = column - %.1ff, w = row - %.1ff;\n"
                "    const float area = m[0] * m[4] - m[1] * m[3];\n"
                "    int top = 0, bottom = %" PRId64 ", left = 0, right = %" PRId64 ";\n"
                "    if (fabsf(area) > 1e-6f) {\n"
                "        const float s = h - m[2], t = w - m[5], inverse = 1 / area;\n"
                "        const float x0 = (m[4] * s - m[1] * t) * inverse + %.1ff;\n"
                "        const float y0 = (m[0] * t - m[3] * s) * inverse + %.1ff;\n"
                "        const float dx = (fabsf(m[4]) + fabsf(m[1])) * fabsf(inverse) + 1;\n"
                "        const float dy = (fabsf(m[0]) + fabsf(m[3])) * fabsf(inverse) + 1;\n"
                "        top = (int)fminf(fmaxf(y0 - dy, 0), bottom);\n"
                "        left = (int)fminf(fmaxf(x0 - dx, 0), right);\n"
                "        bottom = (int)fminf(fmaxf(y0 + dy + 1, 0), bottom);\n"
                "        right = (int)fminf(fmaxf(x0 + dx + 1, 0), right);\n"
                "    }\n",
                middle(image, 3), middle(image, 2), grid.size[2], grid.size[3], middle(grid, 3),
                middle(grid, 2));
    text_format(source,
                "    for (int r = top; r < bottom; r++)\n"
                "        for (int k = left; k < right; k++) {\n"
                "            warped(m, k - %.1ff, r - %.1ff, &u, &v);\n"
                "            const float weight = share(u - h) * share(v - w);\n"
                "            if (!(weight > 0)) continue;\n"
                "            load1(x + ((rest * %" PRId64 " + r) * %" PRId64 " + k) * %" PRId64
                " + c, value);\n"
                "            sum += weight * value[0];\n"
                "        }\n"
                "    store1(y + index, &sum);\n}\n",
                middle(grid, 3), middle(grid, 2), grid.size[2], grid.size[3], grid.size[1]);
}
