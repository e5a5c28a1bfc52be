/* Run-time dispatch of hot loops.
 *
 *     HOT static void scale(float *x, size_t n) { … a plain loop … }
 *
 * The binary is built for baseline x86-64. A function marked HOT is compiled three times, for
 * AVX-512, AVX2 and the baseline, and the loader picks one by the processor. Contraction into
 * fused multiply-add is off (cmake/Folder.cmake), so all three give the same bits.
 */
#ifndef BASE_SIMD_H
#define BASE_SIMD_H

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(LETHE_SANITIZED)
#define HOT                                                                                        \
    __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default"), optimize("O3")))
#else
#define HOT
#endif

#endif
