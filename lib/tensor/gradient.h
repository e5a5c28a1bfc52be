/* Gradients as graph.
 *
 *     struct node *x[] = { weight, bias }, *dx[2];
 *     grad(loss, x, 2, dx);                        // dx[i] has the shape of x[i]
 *
 * The gradient is made of ordinary nodes, so it can be part of a loss and be differentiated
 * again: R1 is grad, square, sum, and grad once more. Only nodes on a path from an x to y are
 * visited, and only those gradients on the way are made.
 */
#ifndef TENSOR_GRADIENT_H
#define TENSOR_GRADIENT_H

#include "tensor/graph.h"

/* Derivatives of the scalar y (one element, of any rank) with respect to x[0 … count-1]. out[i]
 * is NULL where y does not depend on x[i]. */
#define grad(y, x, count, out) grad_at(HERE, y, NULL, x, count, out)

/* As grad, for y of any shape: derivatives of Σ y·seed, the seed of the shape of y. */
#define grad_seeded(y, seed, x, count, out) grad_at(HERE, y, seed, x, count, out)
void grad_at(struct site at, struct node *y, struct node *seed, struct node *const *x, int count,
             struct node **out);

/* Puts zeros of the shape of x[i] where out[i] is NULL. */
#define grad_zeros(x, count, out) grad_zeros_at(HERE, x, count, out)
void grad_zeros_at(struct site at, struct node *const *x, int count, struct node **out);

#endif
