/* Element types and half precision; see element.h. */
#include "data/element.h"

#include <stdbool.h>
#include <string.h>

const struct element_info element_info[ELEMENT_TYPE_COUNT] = {
    [ELEMENT_BOOL] = { "bool", 1, "|b1", "BOOL" },
    [ELEMENT_UINT8] = { "uint8", 1, "|u1", "U8" },
    [ELEMENT_INT8] = { "int8", 1, "|i1", "I8" },
    [ELEMENT_UINT16] = { "uint16", 2, "<u2", "U16" },
    [ELEMENT_INT16] = { "int16", 2, "<i2", "I16" },
    [ELEMENT_UINT32] = { "uint32", 4, "<u4", "U32" },
    [ELEMENT_INT32] = { "int32", 4, "<i4", "I32" },
    [ELEMENT_UINT64] = { "uint64", 8, "<u8", "U64" },
    [ELEMENT_INT64] = { "int64", 8, "<i8", "I64" },
    [ELEMENT_FLOAT16] = { "float16", 2, "<f2", "F16" },
    [ELEMENT_BFLOAT16] = { "bfloat16", 2, NULL, "BF16" },
    [ELEMENT_FLOAT32] = { "float32", 4, "<f4", "F32" },
    [ELEMENT_FLOAT64] = { "float64", 8, "<f8", "F64" },
};

static float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

uint16_t half_from_float(float value)
{
    uint32_t bits = bits_of(value), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000)
        return (uint16_t)(sign | 0x7e00); /* NaN */
    if (magnitude >= 0x477ff000)
        return (uint16_t)(sign | 0x7c00); /* 65520 and above round to infinity */
    if (magnitude < 0x38800000) {
        /* Below 2^-14 the result is a multiple of 2^-24: adding 1/2 lets the float unit round,
         * for the sum's last bit has just that weight. */
        float sum = float_of(magnitude) + 0.5f;
        return (uint16_t)(sign | (bits_of(sum) - bits_of(0.5f)));
    }
    uint32_t odd = magnitude >> 13 & 1;
    magnitude += 0xfff + odd - 0x38000000; /* round to even; exponent bias 127 becomes 15 */
    return (uint16_t)(sign | magnitude >> 13);
}

/* A float in between that is rounded to odd (towards zero, its last bit set when anything was cut
 * off) keeps the second rounding right: it has more than the two extra bits that takes. */
uint16_t half_from_double(double value)
{
    float nearest = (float)value;
    uint32_t bits = bits_of(nearest);
    if ((double)nearest != value && value == value && (bits & 0x7fffffff) < 0x7f800000) {
        bool outward = value < 0 ? (double)nearest < value : (double)nearest > value;
        bits = (bits - outward) | 1;
    }
    return half_from_float(float_of(bits));
}

float half_to_float(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 31,
             fraction = half & 0x3ff;
    if (exponent == 31)
        return float_of(sign | 0x7f800000 | fraction << 13);
    if (exponent == 0) {
        float value = (float)fraction * 0x1p-24f;
        return sign ? -value : value;
    }
    return float_of(sign | (exponent + 112) << 23 | fraction << 13);
}
