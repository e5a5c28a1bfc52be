/* Nodes, scopes and leaves; see graph.h.
 *
 * Leaves that have a name are also kept in lists of their own: a network has a few hundred
 * parameters among its ten thousand nodes, so looking one up by comparing names is cheap enough.
 */
#include "tensor/graph.h"

#include "base/arena.h"
#include "base/random.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SCOPE_DEPTH = 32 };

struct list {
    struct node **items;
    size_t count, capacity;
};

struct graph {
    struct arena arena;
    struct list nodes;  /* by id */
    struct list leaves; /* inputs, parameters, random leaves */
    const char *scope;
    const char *outer[SCOPE_DEPTH];
    int depth;
};

static void append(struct list *list, struct node *node)
{
    ARRAY_RESERVE(list->items, list->count, list->capacity);
    list->items[list->count++] = node;
}

struct graph *graph_new(void)
{
    struct arena arena;
    arena_init(&arena);
    struct graph *graph = arena_new(&arena, struct graph);
    graph->arena = arena;
    graph->scope = "";
    return graph;
}

void graph_free(struct graph *graph)
{
    if (!graph)
        return;
    struct arena arena = graph->arena; /* the graph itself lies in it */
    free(graph->nodes.items);
    free(graph->leaves.items);
    arena_release(&arena);
}

size_t graph_size(const struct graph *graph)
{
    return graph->nodes.count;
}

struct node *graph_node(const struct graph *graph, size_t id)
{
    CHECK(id < graph->nodes.count, "node %zu of %zu", id, graph->nodes.count);
    return graph->nodes.items[id];
}

static const char *scoped(struct graph *graph, const char *name)
{
    return arena_format(&graph->arena, "%s%s%s", graph->scope, *graph->scope ? "." : "", name);
}

void graph_push(struct graph *graph, const char *format, ...)
{
    char name[256];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(name, sizeof name, format, arguments);
    va_end(arguments);
    CHECK(length > 0 && (size_t)length < sizeof name, "a scope's name of %d bytes", length);
    CHECK(graph->depth < SCOPE_DEPTH, "scopes nested deeper than %d: %s", SCOPE_DEPTH, name);
    graph->outer[graph->depth++] = graph->scope;
    graph->scope = scoped(graph, name);
}

void graph_pop(struct graph *graph)
{
    CHECK(graph->depth > 0, "graph_pop without graph_push");
    graph->scope = graph->outer[--graph->depth];
}

const char *graph_set_scope(struct graph *graph, const char *scope)
{
    const char *before = graph->scope;
    graph->scope = scope;
    return before;
}

size_t graph_parameters(const struct graph *graph, const char *prefix, struct node **out,
                        size_t capacity)
{
    size_t count = 0;
    for (size_t i = 0; i < graph->leaves.count; i++) {
        struct node *leaf = graph->leaves.items[i];
        if (leaf->op != OP_PARAMETER || !leaf->leaf.trainable ||
            strncmp(leaf->leaf.name, prefix, strlen(prefix)) != 0)
            continue;
        if (count < capacity)
            out[count] = leaf;
        count++;
    }
    return count;
}

int64_t dim(const struct node *x, int axis)
{
    char text[SHAPE_TEXT];
    int wrapped = axis < 0 ? axis + x->shape.rank : axis;
    CHECK(wrapped >= 0 && wrapped < x->shape.rank, "axis %d of a tensor of shape %s", axis,
          shape_text(x->shape, text));
    return x->shape.size[wrapped];
}

_Noreturn void shape_mistake(struct site at, enum op_id op, int sources, struct node *const *src,
                             const char *format, ...)
{
    char message[1024], shapes[1024] = "", text[SHAPE_TEXT];
    int length = 0;
    for (int i = 0; i < sources && length < (int)sizeof shapes - 2 * SHAPE_TEXT; i++)
        length +=
            snprintf(shapes + length, sizeof shapes - (size_t)length, "%s%s %s", i ? ", " : "",
                     dtype_name(src[i]->dtype), shape_text(src[i]->shape, text));
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    bug_at(at.file, at.line, "%s of %s: %s", ops[op].name, shapes, message);
}

static void check_sources(struct graph *graph, const struct node *node)
{
    const struct op *op = &ops[node->op];
    if (op->arity != ARITY_ANY && op->arity != node->sources)
        bug_at(node->site.file, node->site.line, "%s takes %d sources, not %d", op->name, op->arity,
               node->sources);
    for (int i = 0; i < node->sources; i++) {
        if (!node->src[i])
            bug_at(node->site.file, node->site.line, "%s: source %d is NULL", op->name, i);
        if (node->src[i]->graph != graph)
            bug_at(node->site.file, node->site.line, "%s: source %d is of another graph", op->name,
                   i);
    }
}

struct node *node_add(struct graph *graph, struct site at, const struct node *draft, int sources,
                      struct node *const *src)
{
    struct node *node = arena_new(&graph->arena, struct node);
    *node = *draft;
    node->graph = graph;
    node->site = at;
    node->scope = graph->scope;
    node->sources = sources;
    node->src = arena_array(&graph->arena, struct node *, (size_t)sources);
    for (int i = 0; i < sources; i++)
        node->src[i] = src[i];
    check_sources(graph, node);
    if (sources && node->op != OP_CAST)
        node->dtype = src[0]->dtype;
    if (ops[node->op].shape)
        ops[node->op].shape(node);
    for (int axis = 0; axis < node->shape.rank; axis++)
        if (node->shape.size[axis] < 1)
            SHAPE_MISTAKE(node, "the result would have size %lld along axis %d",
                          (long long)node->shape.size[axis], axis);
    node->id = (int)graph->nodes.count;
    append(&graph->nodes, node);
    return node;
}

/* Leaves. */

static struct node *find_leaf(const struct graph *graph, enum op_id op, const char *name)
{
    for (size_t i = 0; i < graph->leaves.count; i++) {
        struct node *leaf = graph->leaves.items[i];
        if (leaf->op == op && strcmp(leaf->leaf.name, name) == 0)
            return leaf;
    }
    return NULL;
}

static void expect_same(struct site at, const struct node *leaf, enum dtype dtype,
                        struct shape shape)
{
    char there[SHAPE_TEXT], asked[SHAPE_TEXT];
    if (leaf->dtype != dtype || !shape_equal(leaf->shape, shape))
        bug_at(at.file, at.line, "%s \"%s\" is %s %s since %s:%d, and now asked for as %s %s",
               ops[leaf->op].name, leaf->leaf.name, dtype_name(leaf->dtype),
               shape_text(leaf->shape, there), leaf->site.file, leaf->site.line, dtype_name(dtype),
               shape_text(shape, asked));
}

struct node *t_input_at(struct site at, struct graph *graph, const char *name, enum dtype dtype,
                        struct shape shape)
{
    struct node *leaf = find_leaf(graph, OP_INPUT, name);
    if (leaf) {
        expect_same(at, leaf, dtype, shape);
        return leaf;
    }
    struct node draft = { .op = OP_INPUT, .dtype = dtype, .shape = shape };
    draft.leaf.name = arena_string(&graph->arena, name);
    append(&graph->leaves, node_add(graph, at, &draft, 0, NULL));
    return graph->leaves.items[graph->leaves.count - 1];
}

struct node *t_parameter_at(struct site at, struct graph *graph, const char *name,
                            struct node *initial, bool trainable)
{
    const char *full = scoped(graph, name);
    struct node *leaf = find_leaf(graph, OP_PARAMETER, full);
    if (leaf) {
        expect_same(at, leaf, initial->dtype, initial->shape);
        return leaf;
    }
    struct node draft = { .op = OP_PARAMETER, .dtype = initial->dtype, .shape = initial->shape };
    draft.leaf.name = full;
    draft.leaf.initial = initial;
    draft.leaf.trainable = trainable;
    append(&graph->leaves, node_add(graph, at, &draft, 0, NULL));
    return graph->leaves.items[graph->leaves.count - 1];
}

struct node *t_full_at(struct site at, struct graph *graph, enum dtype dtype, struct shape shape,
                       double value)
{
    struct node draft = { .op = OP_CONSTANT, .dtype = dtype, .shape = shape };
    draft.constant.fill = value;
    return node_add(graph, at, &draft, 0, NULL);
}

static struct node *table(struct site at, struct graph *graph, enum dtype dtype, struct shape shape,
                          const void *values)
{
    struct node draft = { .op = OP_CONSTANT, .dtype = dtype, .shape = shape };
    size_t bytes = shape_count(shape) * dtype_bytes(dtype);
    draft.constant.values = memcpy(arena_allocate(&graph->arena, bytes), values, bytes);
    return node_add(graph, at, &draft, 0, NULL);
}

struct node *t_constant_at(struct site at, struct graph *graph, struct shape shape,
                           const float *values)
{
    return table(at, graph, DTYPE_F32, shape, values);
}

struct node *t_labels_at(struct site at, struct graph *graph, struct shape shape,
                         const int32_t *values)
{
    return table(at, graph, DTYPE_I32, shape, values);
}

struct node *t_random_at(struct site at, struct graph *graph, enum op_id op, const char *name,
                         struct shape shape)
{
    const char *full = scoped(graph, name);
    size_t used = 0;
    for (size_t i = 0; i < graph->leaves.count; i++) {
        const struct node *leaf = graph->leaves.items[i];
        if ((leaf->op == OP_NORMAL || leaf->op == OP_UNIFORM) &&
            strcmp(leaf->random.name, full) == 0)
            used++;
    }
    struct node draft = { .op = op, .dtype = DTYPE_F32, .shape = shape };
    draft.random.name = full;
    draft.random.stream =
        random_stream(used ? arena_format(&graph->arena, "%s#%zu", full, used) : full);
    append(&graph->leaves, node_add(graph, at, &draft, 0, NULL));
    return graph->leaves.items[graph->leaves.count - 1];
}

bool node_is_full(const struct node *node, double *value)
{
    if (node->op != OP_CONSTANT || node->constant.values)
        return false;
    *value = node->constant.fill;
    return true;
}
