/* Matrix steps on the device: which library does them, and the copies that bring their tensors into
 * the layouts that it takes. Those copies are kernels of the plan's program.
 *
 * Scratch memory of a step holds the packed tensors, then what the library itself asks for. */
#ifndef CUDA_MATRIX_H
#define CUDA_MATRIX_H

#include "cuda/generate.h"

struct matrix;

/* Adds the text of its copies to `source`, under names that begin with `name`. Sets step->scratch
 * and step->flops. */
struct matrix *matrix_prepare(struct step *step, const char *name, struct text *source,
                              struct error *err) MUST_USE;
void matrix_dispose(struct matrix *matrix); /* NULL is fine */

/* Runs it; `launch` runs a kernel of the program with these arguments. */
void matrix_run(const struct matrix *matrix, const struct run *run,
                void (*launch)(const struct kernel *kernel, void **arguments));

#endif
