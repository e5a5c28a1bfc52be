/* A GPU's peak, measured: what shares of peak refer to there. */
#ifndef BENCH_PEAK_DEVICE_H
#define BENCH_PEAK_DEVICE_H

#include "tensor/backend.h"
#include "tensor/precision.h"

/* Multiplications and additions a second (a pair counts as 2) in products of large square matrices
 * of normal numbers, by the library that the backend calls. Ends the program where it cannot run.
 */
double peak_of_device(const struct backend *backend, enum precision precision);

#endif
