/* Graphs: what is to be computed, built once and run many times.
 *
 * A node is an op, a shape, its sources and a few attributes. Nodes live in their graph's arena,
 * never change after they were made, and are numbered in the order of their creation, so
 * ascending ids are always a valid order to compute them in. A gradient (gradient.h) adds
 * ordinary nodes to the same graph. Nothing here knows how or where values are computed: that is
 * the business of a plan (plan.h) and a backend (backend.h).
 *
 *     struct graph *graph = graph_new();
 *     struct node *x = t_input(graph, "image", DTYPE_F32, SHAPE(16, 3, 64, 64));
 *     graph_push(graph, "conv0");
 *     struct node *w = t_parameter(graph, "weight", t_normal(graph, "weight", SHAPE(8, 3, 3, 3)));
 *     struct node *y = t_relu(t_conv(x, w, .pad = 1));          // parameter "conv0.weight"
 *     graph_pop(graph);
 *     ...
 *     graph_free(graph);
 *
 * Builders are declared in build.h (primitives) and compose.h (what is composed of them). A
 * mistake in a shape is a mistake in our code: it aborts at once with the op, the shapes and the
 * file and line of the builder's caller.
 */
#ifndef TENSOR_GRAPH_H
#define TENSOR_GRAPH_H

#include "base/error.h"
#include "tensor/ops.h"
#include "tensor/shape.h"

/* Where a node was asked for. Builders are macros that pass HERE on. A file whose functions are
 * builders themselves defines HERE as its parameter (`#define HERE at`) before any include, so
 * that what they build carries the line of *their* caller. */
struct site {
    const char *file;
    int line;
};

#ifndef HERE
#define HERE ((struct site){ __FILE__, __LINE__ })
#endif

/* The geometry of a 2-D convolution y = conv(x, w): x (N,C,H,W), w (O,C/groups,kh,kw), both in
 * the order (vertical, horizontal). The three convolutions of one layer carry the same. */
struct conv {
    int stride[2], dilation[2];
    int pad[2][2]; /* zeros before and after, ≥ 0 */
    int groups;
};

/* Insert up-1 zeros after each pixel, pad (or crop, where negative), filter, keep every down-th. */
struct upfirdn {
    int up[2], down[2];
    int pad[2][2];
    int flip; /* 0: convolution, as StyleGAN's default; 1: correlation, the filter as it stands */
};

/* softmax(scale·q·kᵀ + Σ added)·v over leading axes: q (…,T,D), k (…,S,D), v (…,S,D), each of what
 * is added (…,T,S). Leading axes may be grouped in different ways, their elements count alike.
 * From g, which is sent back to the result: attention_gradient gives what is sent back to q, k and
 * v (3,…,T,D), each with a factor, for T = S; attention_added_gradient what is sent back to one
 * that is added to all of `groups` groups of matrices (parts,…,T,S), to be summed over the parts.
 */
enum { ATTENTION_Q = 1, ATTENTION_K = 2, ATTENTION_V = 4, ATTENTION_Y = 8, ATTENTION_ADDED = 2 };

/* Attributes stand in a union; each member says which ops use it. Its bytes, as many as the op's
 * row in ops.c says, can be compared. */
struct node {
    struct graph *graph;
    enum op_id op;
    enum dtype dtype;
    struct shape shape;
    int id; /* its place in the order of creation: sources have smaller ids */
    int sources;
    struct node **src;
    union {
        struct {
            double scale, shift; /* scale: x·scale + shift */
        } affine;
        unsigned axes;             /* sum, max, flip: bit i stands for axis i */
        int permutation[RANK_MAX]; /* permute: axis i of the result is axis permutation[i] of x */
        struct {
            int64_t begin[RANK_MAX], end[RANK_MAX]; /* slice: [begin, end); pad: zeros added */
        } bounds;
        int axis; /* concat */
        struct {
            int a, b; /* matmul: whether the last two axes of a, of b are exchanged */
        } transpose;
        struct {
            double scale;        /* of scores */
            double factor[3];    /* attention_gradient */
            unsigned turned;     /* ATTENTION_Q …: this one lies (…,width,tokens); Y: or g */
            int half;            /* products in bf16 */
            int trained;         /* gradients will be asked for as well */
            int groups;          /* attention_added_gradient */
            int order[RANK_MAX]; /* of the result's axes in memory, the slowest first; or zeros */
        } attention;             /* of q, k, v, (g,) then what is added to scores */
        struct conv conv;        /* conv, conv_dx, conv_dw */
        struct upfirdn upfirdn;  /* upfirdn */
        const struct filtered *filtered; /* filtered: made while a plan is, and read until it is */
        struct {
            const void *values; /* constant: in host format of its dtype; NULL: all are `fill` */
            double fill;
        } constant;
        struct {
            const char *name;     /* input, parameter */
            struct node *initial; /* parameter: the value it starts from; not a source */
            int trainable;        /* parameter: 0 for state, e.g. moments and averages */
        } leaf;
        struct {
            const char *name; /* normal, uniform */
            uint64_t stream;
        } random;
    };
    struct site site;
    const char *scope; /* the layer, "synthesis.b8.conv0"; "" outside any */
};

struct graph *graph_new(void);
void graph_free(struct graph *graph); /* with all nodes; NULL is fine */

size_t graph_size(const struct graph *graph);
struct node *graph_node(const struct graph *graph, size_t id);

/* Enters and leaves a layer: nodes made in between carry the joined names ("b8.conv0"), and
 * parameters are named after it. */
void graph_push(struct graph *graph, const char *format, ...) PRINTF(2, 3);
void graph_pop(struct graph *graph);

/* The trainable parameters whose names begin with `prefix`, in the order of creation. Writes at
 * most `capacity` of them, returns how many there are. */
size_t graph_parameters(const struct graph *graph, const char *prefix, struct node **out,
                        size_t capacity);

/* The size along an axis; negative axes count from the end. */
int64_t dim(const struct node *x, int axis);

/* Leaves. Asking again for an input or a parameter by a name that exists gives the same node, so
 * a network that is built twice shares its weights; another dtype or shape aborts. */

/* A value that the caller provides for each run. Its name is taken as it is, without scope. */
#define t_input(graph, name, dtype, shape) t_input_at(HERE, graph, name, dtype, shape)
struct node *t_input_at(struct site at, struct graph *graph, const char *name, enum dtype dtype,
                        struct shape shape);

/* A value that outlives runs, kept in a store under "scope.name". Shape, dtype and first value
 * are those of `initial` (a constant, a scaled normal, any node that needs no input), which is
 * computed only by a plan that initialises. State is not trained: moments, running averages. */
#define t_parameter(graph, name, initial) t_parameter_at(HERE, graph, name, initial, true)
#define t_state(graph, name, initial)     t_parameter_at(HERE, graph, name, initial, false)
struct node *t_parameter_at(struct site at, struct graph *graph, const char *name,
                            struct node *initial, bool trainable);

/* A tensor whose elements all have one value. */
#define t_full(graph, shape, value) t_full_at(HERE, graph, DTYPE_F32, shape, value)
struct node *t_full_at(struct site at, struct graph *graph, enum dtype dtype, struct shape shape,
                       double value);

/* Small tables (filters, indices): the values are copied into the graph. */
#define t_constant(graph, shape, values) t_constant_at(HERE, graph, shape, values)
#define t_labels(graph, shape, values)   t_labels_at(HERE, graph, shape, values)
struct node *t_constant_at(struct site at, struct graph *graph, struct shape shape,
                           const float *values);
struct node *t_labels_at(struct site at, struct graph *graph, struct shape shape,
                         const int32_t *values);

/* Fresh random numbers for each step: standard normal, uniform in [0,1). Element i at a step is a
 * function of (seed, step, "scope.name", i) alone. A name that is used again in its scope draws
 * other numbers: its stream is "scope.name#1", then "#2", … */
#define t_normal(graph, name, shape)  t_random_at(HERE, graph, OP_NORMAL, name, shape)
#define t_uniform(graph, name, shape) t_random_at(HERE, graph, OP_UNIFORM, name, shape)
struct node *t_random_at(struct site at, struct graph *graph, enum op_id op, const char *name,
                         struct shape shape);

/* For builders: adds a node like `draft` (op, attributes, and the dtype and shape that are asked
 * for where the op has a choice) with these sources, and applies the op's shape rule. */
struct node *node_add(struct graph *graph, struct site at, const struct node *draft, int sources,
                      struct node *const *src);

/* For gradients: the layer that new nodes belong to; returns the one before. */
const char *graph_set_scope(struct graph *graph, const char *scope);

/* Whether every element of the node is known to equal one value, then left in *value. */
bool node_is_full(const struct node *node, double *value);

/* Aborts: "conv (2,3,8,8), (4,5,3,3): " and the message, at the caller's file and line. */
_Noreturn void shape_mistake(struct site at, enum op_id op, int sources, struct node *const *src,
                             const char *format, ...) PRINTF(5, 6);
#define SHAPE_MISTAKE(node, ...)                                                                   \
    shape_mistake((node)->site, (node)->op, (node)->sources, (node)->src, __VA_ARGS__)

#endif
