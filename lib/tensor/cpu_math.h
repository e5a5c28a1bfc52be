/* Elementary functions in single precision, without branches, so that a loop over them becomes
 * vector code. Errors are within about 2 units in the last place (tests/tensor/cpu_test.c).
 *
 * Polynomials are least squares fits at Chebyshev nodes, reweighted towards the smallest maximal
 * error, of what is left after the leading terms of the series. Bits are moved as unsigned.
 */
#ifndef TENSOR_CPU_MATH_H
#define TENSOR_CPU_MATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#define CPU_MATH static inline __attribute__((always_inline)) float

static inline __attribute__((always_inline)) uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

CPU_MATH float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

CPU_MATH chosen(int condition, float yes, float no)
{
    return condition ? yes : no;
}

/* x = n·ln 2 + r with |r| ≤ ln 2 / 2; exp(r) by a polynomial; 2^n in two halves, so that results
 * that are subnormal or overflow come out right. */
CPU_MATH cpu_exp(float x)
{
    x = chosen(x > 89.0f, 89.0f, chosen(x < -104.0f, -104.0f, x));
    float shifted = x * 1.442695041f + 12582912.0f;
    float n = shifted - 12582912.0f;
    float r = (x - n * 0.693145752f) - n * 1.428606765e-6f;
    float p = 1.395083345e-3f;
    p = p * r + 8.369088284e-3f;
    p = p * r + 4.166620067e-2f;
    p = p * r + 1.666651718e-1f;
    p = p * r + 5.000000097e-1f;
    p = p * (r * r) + r + 1.0f;
    uint32_t k = bits_of(shifted) - 0x4b400000u + 512u; /* n + 512: positive */
    uint32_t half = k >> 1;
    return p * float_of((half - 256u + 127u) << 23) * float_of((k - half - 256u + 127u) << 23);
}

/* x = 2^n·(1 + f) with 1 + f in [√½, √2). */
CPU_MATH cpu_log(float x)
{
    float tiny = chosen(x < 1.17549435e-38f, 1.0f, 0.0f);
    float y = chosen(tiny > 0, x * 8388608.0f, x);
    uint32_t shifted = bits_of(y) - 0x3f3504f3u;
    float n = (float)(int32_t)(shifted >> 23) - tiny * 23.0f;
    n = chosen(n > 128.0f, n - 512.0f, n); /* bits below √½ wrapped around */
    float f = float_of((shifted & 0x007fffffu) + 0x3f3504f3u) - 1.0f;
    float p = 6.757530892e-2f;
    p = p * f - 1.169432444e-1f;
    p = p * f + 1.189352495e-1f;
    p = p * f - 1.240308633e-1f;
    p = p * f + 1.421855293e-1f;
    p = p * f - 1.666809016e-1f;
    p = p * f + 2.000216714e-1f;
    p = p * f - 2.500000872e-1f;
    p = p * f + 3.333331197e-1f;
    float square = f * f;
    float result = n * 1.428606765e-6f + f * square * p - 0.5f * square + f + n * 0.693145752f;
    result = chosen(x == 0.0f, -INFINITY, result);
    result = chosen(x < 0.0f || x != x, NAN, result);
    return chosen(x == INFINITY, INFINITY, result);
}

/* sin(r) and cos(r) for |r| ≤ π/4. */
CPU_MATH sine_core(float r)
{
    float z = r * r, p = 2.718251309e-6f;
    p = p * z - 1.983932859e-4f;
    p = p * z + 8.333329367e-3f;
    p = p * z - 1.666666664e-1f;
    return r + r * z * p;
}

CPU_MATH cosine_core(float r)
{
    float z = r * r, p = -2.720967773e-7f;
    p = p * z + 2.479951332e-5f;
    p = p * z - 1.388888373e-3f;
    p = p * z + 4.166666662e-2f;
    return 1.0f - 0.5f * z + z * z * p;
}

/* sin(x + quarters·π/2), for |x| up to CPU_ANGLE_MAX; π/2 is taken off in three parts, of which
 * the first two have few enough bits for exact products. */
#define CPU_ANGLE_MAX 8192.0f

CPU_MATH cpu_sine(float x, uint32_t quarters)
{
    float shifted = x * 0.636619772f + 12582912.0f;
    float n = shifted - 12582912.0f;
    float r = x - n * 1.5703125f;
    r = r - n * 4.837512969970703125e-4f;
    r = r - n * 7.549789948768648e-8f;
    uint32_t quadrant = bits_of(shifted) + quarters;
    float value = chosen(quadrant & 1u, cosine_core(r), sine_core(r));
    return chosen(quadrant & 2u, -value, value);
}

CPU_MATH cpu_tanh(float x)
{
    float size = fabsf(x), z = x * x;
    float p = -5.603905822e-3f;
    p = p * z + 2.055171104e-2f;
    p = p * z - 5.371410437e-2f;
    p = p * z + 1.333115276e-1f;
    p = p * z - 3.333327208e-1f;
    float near = x + x * z * p;
    float far = 1.0f - 2.0f / (cpu_exp(2.0f * size) + 1.0f);
    return chosen(size < 0.625f, near, chosen(x < 0.0f, -far, far));
}

CPU_MATH cpu_sigmoid(float x)
{
    return 1.0f / (1.0f + cpu_exp(-x));
}

/* log(1 + y) = log(u) + (y − (u − 1)) / u with u = 1 + y rounded. */
CPU_MATH cpu_softplus(float x)
{
    float y = cpu_exp(-fabsf(x)), u = 1.0f + y;
    return chosen(x > 0.0f, x, 0.0f) + (cpu_log(u) + (y - (u - 1.0f)) / u);
}

CPU_MATH cpu_erf(float x)
{
    float size = fabsf(x), z = x * x;
    float near = -9.680132295e-6f;
    near = near * z + 1.127054294e-4f;
    near = near * z - 8.484711216e-4f;
    near = near * z + 5.221074860e-3f;
    near = near * z - 2.686544581e-2f;
    near = near * z + 1.128378275e-1f;
    near = near * z - 3.761263848e-1f;
    near = near * z + 1.128379167f;
    float t = chosen(size > 4.0f, 4.0f, size), far = -1.517584865e-6f;
    far = far * t + 4.388310725e-5f;
    far = far * t - 5.800591214e-4f;
    far = far * t + 4.688402401e-3f;
    far = far * t - 2.623848029e-2f;
    far = far * t + 1.097904395e-1f;
    far = far * t + 6.321035305e-1f;
    far = far * t + 1.130086391f;
    far = far * t - 2.870793827e-4f;
    far = 1.0f - cpu_exp(-far);
    return chosen(size < 1.0f, x * near, chosen(x < 0.0f, -far, far));
}

/* To bf16, to nearest, ties to even; NaN stays NaN. */
static inline __attribute__((always_inline)) uint16_t cpu_bf16(float x)
{
    uint32_t bits = bits_of(x), rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
    return (uint16_t)(x != x ? bits >> 16 | 0x40u : rounded);
}

CPU_MATH cpu_from_bf16(uint16_t bits)
{
    return float_of((uint32_t)bits << 16);
}

#endif
