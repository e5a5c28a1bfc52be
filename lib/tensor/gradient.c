/* Reverse-mode differentiation over the graph; see gradient.h.
 *
 * Ids are in the order of creation, so one sweep up finds the nodes that depend on an x, and one
 * sweep down from y meets each node after all that use it. Contributions are added in descending
 * order of the node that they come from: the same graph always gives the same gradient graph.
 */
#define HERE at
#include "tensor/gradient.h"

#include "base/arena.h"
#include "tensor/build.h"

#include <stdlib.h>

/* depends[id]: whether the value of the node varies with an x. */
static bool *find_dependents(const struct node *y, struct node *const *x, int count)
{
    const struct graph *graph = y->graph;
    bool *depends = memory_grow(NULL, (size_t)y->id + 1, sizeof *depends);
    for (int id = 0; id <= y->id; id++) {
        const struct node *node = graph_node(graph, (size_t)id);
        depends[id] = false;
        for (int i = 0; ops[node->op].vjp && !depends[id] && i < node->sources; i++)
            depends[id] = depends[node->src[i]->id];
        for (int i = 0; !depends[id] && i < count; i++)
            depends[id] = x[i] == node;
    }
    return depends;
}

/* Hands the gradient of `node` on to its sources. */
static void pull_back(struct site at, struct node *node, const bool *depends, struct node **total)
{
    if (!ops[node->op].vjp)
        return;
    for (int i = 0; i < node->sources; i++) {
        struct node *source = node->src[i];
        if (!depends[source->id])
            continue;
        struct node *part = ops[node->op].vjp(node, total[node->id], i);
        if (!part)
            continue;
        CHECK(part->dtype == source->dtype && shape_equal(part->shape, source->shape),
              "the gradient rule of %s gives source %d another shape or type than it has",
              ops[node->op].name, i);
        total[source->id] = total[source->id] ? t_add(total[source->id], part) : part;
    }
}

void grad_at(struct site at, struct node *y, struct node *seed, struct node *const *x, int count,
             struct node **out)
{
    char text[SHAPE_TEXT];
    if (y->dtype == DTYPE_I32)
        bug_at(at.file, at.line, "grad of i32 labels (%s)", ops[y->op].name);
    if (!seed && shape_count(y->shape) != 1)
        bug_at(at.file, at.line, "grad of %s %s: without a seed it must have one element",
               ops[y->op].name, shape_text(y->shape, text));
    if (seed && (seed->dtype != y->dtype || !shape_equal(seed->shape, y->shape)))
        bug_at(at.file, at.line, "grad of %s %s: the seed has another shape or type",
               ops[y->op].name, shape_text(y->shape, text));
    bool *depends = find_dependents(y, x, count);
    struct node **total = memory_grow(NULL, (size_t)y->id + 1, sizeof *total);
    for (int id = 0; id <= y->id; id++)
        total[id] = NULL;
    if (depends[y->id])
        total[y->id] = seed ? seed : t_full_at(at, y->graph, y->dtype, y->shape, 1);
    for (int id = y->id; id >= 0; id--) {
        struct node *node = graph_node(y->graph, (size_t)id);
        if (!total[id])
            continue;
        const char *scope = graph_set_scope(y->graph, node->scope);
        pull_back(node->site, node, depends, total);
        graph_set_scope(y->graph, scope);
    }
    for (int i = 0; i < count; i++)
        out[i] = x[i]->id <= y->id ? total[x[i]->id] : NULL;
    free(depends);
    free(total);
}

void grad_zeros_at(struct site at, struct node *const *x, int count, struct node **out)
{
    for (int i = 0; i < count; i++)
        if (!out[i])
            out[i] = t_zeros_like(x[i]);
}
