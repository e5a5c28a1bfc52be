/* Bringing together steps that do not depend on each other, for a backend that does such at once
 * (backend.h: gathers).
 *
 * A step that it takes waits until another would read what it writes, or write what it reads or
 * writes. Then those that wait and do not depend on each other either are one group, whatever made
 * them wait: so small loops go as late as they may, and updates of parameters to the end. What
 * waits holds buffers; it waits no longer where these would come to more than HELD_MOST, so a plan
 * takes at most so much more memory.
 *
 * This comes before buffers are packed: what any step of a group uses is taken while the group
 * runs, so memory is only used again by other groups.
 */
#ifndef TENSOR_GATHER_H
#define TENSOR_GATHER_H

#include "tensor/backend.h"

enum { HELD_MOST = 64 << 20 };

/* The i-th use that a step makes of a buffer; false: there are no more. */
struct use {
    int buffer;
    bool write;
};
bool step_use(const struct step *step, int i, struct use *use);

/* Reorders the steps and sets `together`. place[buffer]: a number of the memory in which it lies,
 * the same for buffers that lie in one place. held[buffer]: bytes that it takes while it is in use;
 * 0 where it is taken all the time. */
void gather_steps(struct step *steps, size_t count, const struct backend *backend, const int *place,
                  const size_t *held, size_t buffers);

#endif
