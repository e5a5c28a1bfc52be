/* Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy
 * as 1, 2, 3", SC 2011).
 *
 * A number is a function of (seed, stream, index) and of nothing else, so it does not depend on
 * the thread that draws it, on what was drawn before, or on a run having been resumed.
 *
 *     double u = random_uniform(seed, stream, i);     // the i-th of its stream, any order
 */
#ifndef BASE_RANDOM_H
#define BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* The bijection itself: four output words for a counter and a key. */
void philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t output[4]);

/* A stream number from a name, so that independent uses never share numbers. FNV-1a, 64 bit. */
uint64_t random_stream(const char *name);

/* 64 random bits. Here and below index < 2^63: the other half belongs to the fills. */
uint64_t random_bits(uint64_t seed, uint64_t stream, uint64_t index);

/* Uniform in [0, 1), 53 bits. */
double random_uniform(uint64_t seed, uint64_t stream, uint64_t index);

/* Standard normal, by Box and Muller's transform of the two halves of the words at `index`. */
double random_normal(uint64_t seed, uint64_t stream, uint64_t index);

/* Uniform over 0 … bound-1, without bias; bound > 0. */
uint64_t random_below(uint64_t seed, uint64_t stream, uint64_t index, uint64_t bound);

/* A uniform permutation of 0 … count-1 (Fisher and Yates). */
void random_permutation(uint64_t seed, uint64_t stream, size_t count, size_t *permutation);

/* count values from `first` on, as float: for filling tensors. Value i of a fill is the value i
 * of the stream, however the range is cut. Uniform uses 24 bits, normal 32-bit Box–Muller. */
void random_fill_uniform(uint64_t seed, uint64_t stream, uint64_t first, size_t count, float *out);
void random_fill_normal(uint64_t seed, uint64_t stream, uint64_t first, size_t count, float *out);

#endif
