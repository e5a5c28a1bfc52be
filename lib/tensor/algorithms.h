/* How a backend chooses where its libraries know several algorithms for a matrix op.
 *
 * Deterministic: always the library's first that repeats its bits; f32 stays f32. Fastest: some of
 * what the library proposes is measured on the device, with the step's own shapes, when a plan is
 * made, and the fastest kept. Then f32 products may round their factors to TF32 (10 bits), sums may
 * be made in any order, and another run may choose otherwise: bits do not repeat. A backend without
 * such a choice (the processor's) computes the same either way.
 */
#ifndef TENSOR_ALGORITHMS_H
#define TENSOR_ALGORITHMS_H

enum algorithms { ALGORITHMS_DETERMINISTIC, ALGORITHMS_FASTEST };

#endif
