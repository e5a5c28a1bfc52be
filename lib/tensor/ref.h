/* The reference backend: plain loops in double precision, on one thread, written to be read. It is
 * the oracle that every other backend is tested against, and what derivatives are checked on.
 *
 * Its device memory is an array of double, one an element, whatever the dtype; so a test may read
 * and write values at full precision through the pointers that plans and stores give. Only a
 * cast rounds: to bf16, or to whole numbers. Arithmetic on bf16 is not rounded.
 */
#ifndef TENSOR_REF_H
#define TENSOR_REF_H

#include "tensor/backend.h"

extern const struct backend ref_backend;

#endif
