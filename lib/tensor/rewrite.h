/* Rewriting a graph before it is planned: a private copy of what the roots need, in which dead
 * nodes are gone, equal nodes are one, detach is nothing, and what is plainly the same but cheaper
 * stands instead. The rules are in rewrite.c.
 */
#ifndef TENSOR_REWRITE_H
#define TENSOR_REWRITE_H

#include "tensor/precision.h"

#include "base/arena.h"

/* The private graph; it borrows names and constants of the original. image[id] is the node that
 * took the place of the original's node id; NULL where no root needs it. From the arena. */
struct graph *rewrite_graph(struct arena *arena, struct node *const *roots, size_t count,
                            const struct mixed *mixed, struct node ***image);

#endif
