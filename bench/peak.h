/* The processor's peak, measured: what shares of peak refer to. */
#ifndef BENCH_PEAK_H
#define BENCH_PEAK_H

/* Multiplications and additions a second (a fused pair counts as 2) in single precision, on all
 * threads, with registers alone. bf16 products with f32 sums take half the time where the
 * processor has them (AVX512-BF16), and are not to be had elsewhere. */
double peak_f32(int threads);

#endif
