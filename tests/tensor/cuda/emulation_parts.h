/* What the emulated device (emulation.c) is to its libraries (emulation_libraries.c). */
#ifndef TESTS_CUDA_EMULATION_PARTS_H
#define TESTS_CUDA_EMULATION_PARTS_H

#include "emulation.h"

#include "cuda/fastest.h"

/* Where memory begins, and the byte that it holds before it is written. */
enum { ALIGNMENT = 256, SPOILED = 0xff };

/* Has matrix(state, tensor) done, of WORK_TENSORS tensors: now, or whenever the run that is being
 * recorded is replayed. */
void emulation_ask(void (*matrix)(void *state, void *const *memory), void *state,
                   void *const *tensor);

/* Counts that it was done in this way, and moves the clock. False where this way fails. */
bool emulation_spend(int way);

#endif
