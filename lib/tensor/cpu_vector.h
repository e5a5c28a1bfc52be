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

/* Rows of the block become its columns. */
CPU_VECTOR void cpu_turn(cpu_line line[CPU_BLOCK])
{
    cpu_line pair[CPU_BLOCK], four[CPU_BLOCK];
    for (size_t i = 0; i < CPU_BLOCK; i += 2) {
        pair[i] = __builtin_shufflevector(line[i], line[i + 1], 0, 8, 2, 10, 4, 12, 6, 14);
        pair[i + 1] = __builtin_shufflevector(line[i], line[i + 1], 1, 9, 3, 11, 5, 13, 7, 15);
    }
    for (size_t i = 0; i < CPU_BLOCK; i += i % 4 ? 3 : 1) { /* 0, 1, 4, 5 */
        four[i] = __builtin_shufflevector(pair[i], pair[i + 2], 0, 1, 8, 9, 4, 5, 12, 13);
        four[i + 2] = __builtin_shufflevector(pair[i], pair[i + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    }
    for (size_t i = 0; i < CPU_BLOCK / 2; i++) {
        line[i] = __builtin_shufflevector(four[i], four[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        line[i + 4] = __builtin_shufflevector(four[i], four[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    }
}

#endif
