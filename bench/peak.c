/* The processor's peak; see peak.h. */
#include "peak.h"

#include "base/progress.h"

#include <omp.h>
#include <stdlib.h>

typedef float lanes __attribute__((vector_size(64)));

enum { CHAINS = 20, ROUNDS = 2000000 }; /* chains hide the latency: 4 cycles × 2 units, and more */

/* One operation of each chain a round; returns something that depends on all. */
#ifndef __clang__ /* which is only used with sanitizers, where nothing is measured */
__attribute__((target_clones("avx512f", "avx2,fma", "default"), optimize("fp-contract=fast")))
#endif
static float
multiply_add(void)
{
    lanes chain[CHAINS], factor = { 0 }, term = { 0 };
    float result = 0;
    for (int lane = 0; lane < 16; lane++)
        factor[lane] = 0.999f, term[lane] = 0.001f * (float)lane;
    for (int i = 0; i < CHAINS; i++)
        chain[i] = term;
    for (int round = 0; round < ROUNDS; round++) {
#pragma GCC unroll 20
        for (int i = 0; i < CHAINS; i++)
            chain[i] = chain[i] * factor + term;
    }
    for (int i = 0; i < CHAINS; i++)
        result += chain[i][i % 16];
    return result;
}

double peak_f32(int threads)
{
    double best = 0;
    for (int attempt = 0; attempt < 3; attempt++) {
        volatile float sink = 0;
        double start = clock_seconds();
#pragma omp parallel num_threads(threads)
        {
            float value = multiply_add();
#pragma omp critical
            sink = sink + value;
        }
        double rate = 2.0 * 16 * CHAINS * ROUNDS * threads / (clock_seconds() - start);
        best = rate > best ? rate : best;
    }
    return best;
}
