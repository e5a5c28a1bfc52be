/* Combining: runs of nodes that a backend can do at once become one node of a plan's private graph.
 *
 *     add(matmul(a, b), bias)                              linear(a, b, bias)
 *     matmul(softmax(scale·matmul(q, k) + added…), v)      attention(q, k, v, added…)
 *     upfirdn(leaky_relu(upfirdn(x)))                      filtered(x, its filter, the last filter)
 *
 * and what these attentions (tensor/graph.h) and activations (tensor/filtered.h) send back. It
 * comes after gradients were taken and after rewriting, so nothing but this plan knows of it. Only
 * what nothing else reads is given up: where something wants a product, the weights of an
 * attention, or an image between filters, they stay. A bias is combined
 * where a pass over the product would be made for it alone: a loop that computes with the sum adds
 * it on its way, for nothing.
 */
#ifndef TENSOR_COMBINE_H
#define TENSOR_COMBINE_H

#include "tensor/graph.h"

#include "base/arena.h"

/* A copy of the graph, with everything combined that `takes` accepts. roots[i] is replaced by its
 * copy; image[id] is the copy of node id, or what took its place; NULL where no root needs it. From
 * the arena. */
struct graph *combine_graph(struct arena *arena, const struct graph *graph, struct node **roots,
                            size_t count, bool (*takes)(const struct node *node),
                            struct node ***image);

#endif
