/* What the files of combining share; see combine.h. */
#ifndef TENSOR_COMBINE_PARTS_H
#define TENSOR_COMBINE_PARTS_H

#include "tensor/combine.h"

struct attention_end;

struct combiner {
    struct arena *arena;
    struct graph *graph; /* the new one */
    bool (*takes)(const struct node *node);
    struct node **image;
    bool *needed, *root;
    bool *addressed;             /* read by something that no loop does */
    int *readers;                /* how many there are, by id */
    const struct node **reader;  /* all of them, those of one node side by side, */
    int *first_reader;           /* from here on, by id */
    struct attention_end **ends; /* of attention, by id */
};

static inline bool is_scale(const struct node *node)
{
    return node->op == OP_SCALE && node->affine.shift == 0;
}

static inline bool is_cast(const struct node *node, enum dtype from, enum dtype to)
{
    return node->op == OP_CAST && node->dtype == to && node->src[0]->dtype == from;
}

/* Whether nobody but `readers` nodes would miss it. */
static inline bool is_inner(const struct combiner *c, const struct node *node, int readers)
{
    return !c->root[node->id] && c->readers[node->id] == readers;
}

static inline const struct node *reader_of(const struct combiner *c, const struct node *node, int i)
{
    return c->reader[c->first_reader[node->id] + i];
}

/* What alone reads it; NULL where others do. */
static inline const struct node *only_reader(const struct combiner *c, const struct node *node)
{
    return is_inner(c, node, 1) ? reader_of(c, node, 0) : NULL;
}

/* In the new graph, in the layer and at the site of `like`. */
static inline struct node *make(struct combiner *c, const struct node *like,
                                const struct node *draft, int sources, struct node *const *src)
{
    (void)graph_set_scope(c->graph, like->scope);
    return node_add(c->graph, like->site, draft, sources, src);
}

static inline struct node *reshaped(struct combiner *c, const struct node *like, struct node *x,
                                    struct shape shape)
{
    struct node draft = { .op = OP_RESHAPE, .shape = shape };
    return shape_equal(x->shape, shape) ? x : make(c, like, &draft, 1, &x);
}

static inline struct node *cast(struct combiner *c, const struct node *like, struct node *x,
                                enum dtype dtype)
{
    struct node draft = { .op = OP_CAST, .dtype = dtype };
    return x->dtype == dtype ? x : make(c, like, &draft, 1, &x);
}

/* combine_attention.c. Finds every attention of the graph, before any node is copied. */
void attention_find(struct combiner *c, const struct graph *from);

/* What takes the place of a node that an attention ends in; NULL where none does. */
struct node *attention_image(struct combiner *c, const struct node *node);

/* combine_filtered.c. What takes the place of a filtered activation's last node; NULL where the
 * node ends none. */
struct node *filtered_image(struct combiner *c, const struct node *node);

#endif
