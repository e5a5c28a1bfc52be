/* Combining; see combine.h.
 *
 * Nodes are copied in the order of their ids. Where one ends a pattern, the combined node is made
 * from the copies of the pattern's sources instead; what is left of the pattern is read by nothing,
 * so that lowering never sees it.
 */
#include "tensor/combine.h"

#include "tensor/combine_parts.h"

static void count_readers(struct combiner *c, const struct graph *from)
{
    for (size_t id = graph_size(from); id-- > 0;) {
        const struct node *node = graph_node(from, id);
        bool moved = node->op == OP_BROADCAST || node->op == OP_PERMUTE || node->op == OP_SLICE ||
                     node->op == OP_FLIP || (node->op == OP_RESHAPE && c->addressed[id]);
        for (int i = 0; c->needed[id] && i < node->sources; i++) {
            int source = node->src[i]->id;
            c->needed[source] = true;
            c->readers[source]++;
            c->addressed[source] |= moved || ops[node->op].kind == KIND_MATRIX;
        }
    }
}

static void list_readers(struct combiner *c, const struct graph *from)
{
    size_t nodes = graph_size(from);
    int all = 0;
    c->first_reader = arena_array(c->arena, int, nodes);
    int *next = arena_array(c->arena, int, nodes);
    for (size_t id = 0; id < nodes; id++) {
        c->first_reader[id] = next[id] = all;
        all += c->readers[id];
    }
    c->reader = arena_array(c->arena, const struct node *, (size_t)all);
    for (size_t id = 0; id < nodes; id++)
        for (int i = 0; c->needed[id] && i < graph_node(from, id)->sources; i++)
            c->reader[next[graph_node(from, id)->src[i]->id]++] = graph_node(from, id);
}

/* Linear layers. */

/* A parameter or input that is spread along all axes but the last; else NULL. */
static const struct node *spread_vector(const struct node *x)
{
    const struct node *row = x->op == OP_BROADCAST ? x->src[0] : x;
    int last = x->shape.rank - 1;
    if (row->shape.size[last] != x->shape.size[last] ||
        (int64_t)shape_count(row->shape) != x->shape.size[last])
        return NULL;
    while (row->op == OP_RESHAPE)
        row = row->src[0];
    return row->op == OP_PARAMETER || row->op == OP_INPUT ? row : NULL;
}

/* The product of two matrices that x is, reshaped and cast at most; else NULL. */
static const struct node *plain_product(const struct combiner *c, const struct node *x)
{
    int64_t columns = dim(x, -1);
    for (; is_inner(c, x, 1); x = x->src[0]) {
        if (x->op == OP_MATMUL)
            return x->shape.rank == 2 && dim(x, -1) == columns ? x : NULL;
        if (x->op != OP_RESHAPE && !is_cast(x, DTYPE_BF16, DTYPE_F32))
            return NULL;
    }
    return NULL;
}

/* A bias after a product, where the sum must have memory anyway. What is read from outside keeps
 * its full precision, so there a bf16 product stays by itself. */
static struct node *linear(struct combiner *c, const struct node *y)
{
    if (y->op != OP_ADD || y->shape.rank < 2 || !c->addressed[y->id])
        return NULL;
    for (int i = 0; i < 2; i++) {
        const struct node *product = plain_product(c, y->src[i]),
                          *bias = spread_vector(y->src[1 - i]);
        if (!product || !bias || (product->dtype == DTYPE_BF16 && c->root[y->id]))
            continue;
        struct node draft = { .op = OP_LINEAR, .transpose = product->transpose };
        struct node *vector =
            reshaped(c, y, c->image[bias->id], SHAPE((int64_t)shape_count(bias->shape)));
        struct node *src[3] = { c->image[product->src[0]->id], c->image[product->src[1]->id],
                                cast(c, y, vector, product->dtype) };
        struct node *sum = make(c, y, &draft, 3, src);
        if (c->takes(sum))
            return reshaped(c, y, cast(c, y, sum, y->dtype), y->shape);
    }
    return NULL;
}

static struct node *copied(struct combiner *c, const struct node *node)
{
    struct node **src = arena_array(c->arena, struct node *, (size_t)node->sources);
    for (int i = 0; i < node->sources; i++)
        src[i] = c->image[node->src[i]->id];
    return make(c, node, node, node->sources, src);
}

struct graph *combine_graph(struct arena *arena, const struct graph *from, struct node **roots,
                            size_t count, bool (*takes)(const struct node *node),
                            struct node ***image)
{
    size_t nodes = graph_size(from);
    struct combiner c = { .arena = arena, .graph = graph_new(), .takes = takes };
    c.image = arena_array(arena, struct node *, nodes);
    c.needed = arena_array(arena, bool, nodes);
    c.root = arena_array(arena, bool, nodes);
    c.addressed = arena_array(arena, bool, nodes);
    c.readers = arena_array(arena, int, nodes);
    c.ends = arena_array(arena, struct attention_end *, nodes);
    for (size_t i = 0; i < count; i++)
        c.needed[roots[i]->id] = c.root[roots[i]->id] = c.addressed[roots[i]->id] = true;
    count_readers(&c, from);
    list_readers(&c, from);
    attention_find(&c, from);
    for (size_t id = 0; id < nodes; id++) {
        const struct node *node = graph_node(from, id);
        if (!c.needed[id])
            continue;
        c.image[id] = linear(&c, node);
        if (!c.image[id])
            c.image[id] = attention_image(&c, node);
        if (!c.image[id])
            c.image[id] = filtered_image(&c, node);
        if (!c.image[id])
            c.image[id] = copied(&c, node);
    }
    for (size_t i = 0; i < count; i++)
        roots[i] = c.image[roots[i]->id];
    *image = c.image;
    return c.graph;
}
