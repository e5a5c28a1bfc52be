/* Blocks of floats that stay in vector registers, whatever the processor has of them. */
#ifndef TENSOR_CPU_VECTOR_H
#define TENSOR_CPU_VECTOR_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define CPU_VECTOR static inline __attribute__((always_inline))

enum { CPU_LANES = 16, CPU_BLOCK = 8 };
typedef float cpu_lanes __attribute__((vector_size(4 * CPU_LANES)));
typedef float cpu_line __attribute__((vector_size(4 * CPU_BLOCK)));
typedef double cpu_double_line __attribute__((vector_size(8 * CPU_BLOCK)));
typedef int32_t cpu_whole_line __attribute__((vector_size(4 * CPU_BLOCK)));
typedef uint32_t cpu_bits_line __attribute__((vector_size(4 * CPU_BLOCK)));
typedef uint16_t cpu_half_line __attribute__((vector_size(2 * CPU_BLOCK)));

CPU_VECTOR void cpu_mix_ones(cpu_line *a, cpu_line *b)
{
    cpu_line even = __builtin_shufflevector(*a, *b, 0, 8, 2, 10, 4, 12, 6, 14);
    *b = __builtin_shufflevector(*a, *b, 1, 9, 3, 11, 5, 13, 7, 15);
    *a = even;
}

CPU_VECTOR void cpu_mix_pairs(cpu_line *a, cpu_line *b)
{
    cpu_line even = __builtin_shufflevector(*a, *b, 0, 1, 8, 9, 4, 5, 12, 13);
    *b = __builtin_shufflevector(*a, *b, 2, 3, 10, 11, 6, 7, 14, 15);
    *a = even;
}

CPU_VECTOR void cpu_mix_fours(cpu_line *a, cpu_line *b)
{
    cpu_line even = __builtin_shufflevector(*a, *b, 0, 1, 2, 3, 8, 9, 10, 11);
    *b = __builtin_shufflevector(*a, *b, 4, 5, 6, 7, 12, 13, 14, 15);
    *a = even;
}

/* Rows of the block become its columns: of each two rows, elements, pairs and fours change places.
 * Written out, as compilers send vectors that a loop picks through memory. */
CPU_VECTOR void cpu_turn(cpu_line line[CPU_BLOCK])
{
    cpu_mix_ones(&line[0], &line[1]), cpu_mix_ones(&line[2], &line[3]);
    cpu_mix_ones(&line[4], &line[5]), cpu_mix_ones(&line[6], &line[7]);
    cpu_mix_pairs(&line[0], &line[2]), cpu_mix_pairs(&line[1], &line[3]);
    cpu_mix_pairs(&line[4], &line[6]), cpu_mix_pairs(&line[5], &line[7]);
    cpu_mix_fours(&line[0], &line[4]), cpu_mix_fours(&line[1], &line[5]);
    cpu_mix_fours(&line[2], &line[6]), cpu_mix_fours(&line[3], &line[7]);
}

/* Eight neighbours of a type as floats, and back; the same bits as one by one. */

CPU_VECTOR void cpu_line_from_f32(cpu_line *out, const float *in)
{
    memcpy(out, in, sizeof *out);
}

CPU_VECTOR void cpu_line_to_f32(float *out, const cpu_line *in)
{
    memcpy(out, in, sizeof *in);
}

CPU_VECTOR void cpu_line_from_bf16(cpu_line *out, const uint16_t *in)
{
    cpu_half_line half;
    memcpy(&half, in, sizeof half);
    *out = (cpu_line)(__builtin_convertvector(half, cpu_bits_line) << 16);
}

CPU_VECTOR void cpu_line_to_bf16(uint16_t *out, const cpu_line *in)
{
    cpu_bits_line bits = (cpu_bits_line)*in, odd = (cpu_bits_line)(*in != *in);
    cpu_bits_line rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
    cpu_bits_line result = (odd & (bits >> 16 | 0x40u)) | (~odd & rounded);
    cpu_half_line half = __builtin_convertvector(result, cpu_half_line);
    memcpy(out, &half, sizeof half);
}

CPU_VECTOR void cpu_line_from_i32(cpu_line *out, const int32_t *in)
{
    cpu_whole_line whole;
    memcpy(&whole, in, sizeof whole);
    *out = __builtin_convertvector(whole, cpu_line);
}

CPU_VECTOR void cpu_line_to_i32(int32_t *out, const cpu_line *in)
{
    cpu_whole_line whole = __builtin_convertvector(*in, cpu_whole_line);
    memcpy(out, &whole, sizeof whole);
}

/* The larger of each two; a NaN stays. */
CPU_VECTOR void cpu_raise_line(cpu_line *max, const cpu_line *in)
{
    cpu_whole_line larger = (*in > *max) | (*in != *in);
    *max = (cpu_line)((larger & (cpu_whole_line)*in) | (~larger & (cpu_whole_line)*max));
}

#endif
