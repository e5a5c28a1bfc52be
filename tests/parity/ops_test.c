/* Single operations, loss terms and optimisers against PyTorch's answers in double precision:
 * values, gradients, gradients of gradients. operations.py says what the vectors hold.
 *
 *     parity_ops_test [FILE]          the committed vectors, or others of export.py --ops
 *
 * Adding a case: one row in operations.py, one here of the same name.
 */
#include "test.h"

#include "base/json.h"
#include "models/ada.h"
#include "nn/layer.h"
#include "nn/loss.h"
#include "nn/optimiser.h"
#include "nn/style.h"
#include "parity.h"
#include "tensor/gradient.h"

#include <stdio.h>

enum { INPUTS_MAX = 8 };
static const double TOLERANCE = 1e-11; /* of the largest value, or of 1 */

static struct safetensors file;

/* Cases: the operation on its inputs x, in the order of the case's attribute "inputs". */

#define CASE(name) static struct node *name(struct node *const *x, const struct json *attributes)

static struct node *biased(struct node *y, struct node *bias)
{
    return t_add(y, t_reshape(bias, SHAPE(-1, 1, 1)));
}

#define CONV(name, ...)                                                                            \
    CASE(name)                                                                                     \
    {                                                                                              \
        (void)attributes;                                                                          \
        return biased(t_conv(x[0], x[1], __VA_ARGS__), x[2]);                                      \
    }
CONV(conv_plain, .pad = 1)
CONV(conv_1x1, .pad = 0)
CONV(conv_stride2, .stride = 2, .pad = 1)
CONV(conv_groups, .groups = 2, .pad = 1)
CONV(conv_depthwise, .groups = 3)
CONV(conv_dilation2, .dilation = 2, .pad = 2)
CONV(conv_all, .strides = { 2, 3 }, .pads = { { 2, 2 }, { 1, 1 } }, .dilations = { 1, 2 },
     .groups = 2)

/* An operation that needs no attributes. */
#define PLAIN(name, expression)                                                                    \
    CASE(name)                                                                                     \
    {                                                                                              \
        (void)attributes;                                                                          \
        return (expression);                                                                       \
    }
PLAIN(transposed_stride2, t_conv_transpose(x[0], x[1], .stride = 2))
PLAIN(transposed_padded,
      t_conv_transpose(x[0], x[1], .stride = 2, .pad = 1, .output_pad = 1, .groups = 2))
PLAIN(upfirdn_up, nn_upsample(x[0]))
PLAIN(upfirdn_down, nn_downsample(x[0]))
PLAIN(group_norm,
      biased(t_mul(nn_normalise_groups(x[0], 2), t_reshape(x[1], SHAPE(-1, 1, 1))), x[2]))
PLAIN(instance_norm,
      biased(t_mul(nn_normalise_groups(x[0], 3), t_reshape(x[1], SHAPE(-1, 1, 1))), x[2]))
PLAIN(layer_norm, t_add(t_mul(nn_normalise_last(x[0]), x[1]), x[2]))
PLAIN(attention, nn_attend(x[0], 2))
PLAIN(modulated_conv, nn_modulated_conv(x[0], x[1], x[2]))
PLAIN(modulated_conv_up, nn_modulated_conv(x[0], x[1], x[2], .up = 2))
PLAIN(modulated_conv_rgb, nn_modulated_conv(x[0], x[1], x[2], .plain = true))
PLAIN(grouped_conv, nn_modulated_conv(x[0], x[1], x[2], .grouped = true))
PLAIN(grouped_conv_up, nn_modulated_conv(x[0], x[1], x[2], .grouped = true, .up = 2))
PLAIN(minibatch_stddev, nn_minibatch_stddev(x[0], 4))
PLAIN(bias_lrelu, nn_bias_act(x[0], .bias = x[1], .lrelu = true, .clamp = 1.5))
PLAIN(silu, t_silu(x[0]))
PLAIN(max_pool2, nn_max_pool2(x[0]))
PLAIN(bilinear2, nn_bilinear2(x[0]))

/* The 2×3 filter of operations.py. */
static struct node *fir(struct graph *graph)
{
    return t_constant(graph, SHAPE(2, 3), ((float[]){ 1, 2, -1, 0.5f, 3, 0.25f }));
}
PLAIN(upfirdn_asymmetric,
      t_upfirdn(x[0], fir(x[0]->graph), .up = 2, .down = 3, .pads = { { 0, 3 }, { 1, 2 } }))
PLAIN(upfirdn_flipped_crop,
      t_upfirdn(x[0], fir(x[0]->graph), .pads = { { 1, -2 }, { -1, 2 } }, .flip = true))

/* The numbers of an attribute as a constant. */
static struct node *attribute(struct graph *graph, const struct json *attributes, const char *key,
                              struct shape shape)
{
    struct error err;
    float values[64];
    const struct json *list = json_get_array(attributes, key, &err);
    assert_ok(list, err);
    size_t count = json_length(list);
    assert_true(count == shape_count(shape) && count <= sizeof values / sizeof *values);
    for (size_t i = 0; i < count; i++) {
        double value;
        assert_true(json_as_real(json_at(list, i), &value));
        values[i] = (float)value;
    }
    return t_constant(graph, shape, values);
}

CASE(warp)
{
    struct node *m = attribute(x[0]->graph, attributes, "matrix", SHAPE(dim(x[0], 0), 2, 3));
    return t_warp(x[0], m, 6, 7);
}

CASE(augment)
{
    struct graph *graph = x[0]->graph;
    struct shape n = SHAPE(dim(x[0], 0));
    const struct ada_drawn drawn = {
        .mirror = attribute(graph, attributes, "mirror", n),
        .turns = attribute(graph, attributes, "turns", n),
        .whole = { attribute(graph, attributes, "whole_x", n),
                   attribute(graph, attributes, "whole_y", n) },
        .scale = attribute(graph, attributes, "scale", n),
        .before = attribute(graph, attributes, "before", n),
        .stretch = attribute(graph, attributes, "stretch", n),
        .after = attribute(graph, attributes, "after", n),
        .fraction = { attribute(graph, attributes, "fraction_x", n),
                      attribute(graph, attributes, "fraction_y", n) },
    };
    return ada_transform(x[0], ada_matrix(&drawn));
}

/* Losses. */

CASE(segmentation_loss)
{
    struct error err;
    int32_t labels[256];
    const struct json *list = json_get_array(attributes, "labels", &err);
    assert_ok(list, err);
    size_t count = json_length(list);
    assert_true(count == 24);
    for (size_t i = 0; i < count; i++) {
        int64_t label;
        assert_true(json_as_integer(json_at(list, i), &label));
        labels[i] = (int32_t)label;
    }
    struct node *truth = t_labels(x[0]->graph, SHAPE(2, 3, 4), labels);
    return t_add(loss_dice(x[0], truth), loss_cross_entropy(x[0], truth));
}

/* softplus(conv 3×3), then a linear layer: (N,2,4,4) → (N,1). p: weights, bias, weights. */
static struct node *critic(struct node *x, struct node *const *p)
{
    struct node *h = t_softplus(biased(t_conv(x, p[0], .pad = 1), p[1]));
    return t_matmul(t_reshape(h, SHAPE(dim(x, 0), 48)), t_reshape(p[2], SHAPE(48, 1)));
}
PLAIN(r1, penalty_r1(critic(x[0], x + 1), x[0]))

CASE(wgan_gp)
{
    (void)attributes;
    struct node *mixed = between(x[0], x[1], x[2]);
    return penalty_wgan(critic(mixed, x + 3), mixed);
}

static struct node *style(struct node *ws, int i, struct node *affine)
{
    struct node *w = t_reshape(t_slice(ws, 1, i, i + 1), SHAPE(2, 4));
    return t_shift(t_matmul(w, affine), 1);
}

/* x: ws, direction, image, w0, a0, w1, a1. */
CASE(path_length)
{
    (void)attributes;
    struct node *y = nn_modulated_conv(x[2], x[3], style(x[0], 0, x[4]), .up = 2);
    y = nn_modulated_conv(t_softplus(y), x[5], style(x[0], 1, x[6]), .plain = true);
    struct node *mean = nn_number(y->graph, 0.3);
    return penalty_path(path_lengths(y, x[0], x[1]), &mean, 0.01);
}

struct operation {
    const char *name;
    struct node *(*build)(struct node *const *x, const struct json *attributes);
    const char *vectors; /* the case's name in the file, where it is another */
};
#define ROW(name)                                                                                  \
    {                                                                                              \
#name, name, #name                                                                         \
    }

static const struct operation operations[] = {
    ROW(conv_plain),
    ROW(conv_1x1),
    ROW(conv_stride2),
    ROW(conv_groups),
    ROW(conv_depthwise),
    ROW(conv_dilation2),
    ROW(conv_all),
    ROW(transposed_stride2),
    ROW(transposed_padded),
    ROW(upfirdn_up),
    ROW(upfirdn_down),
    ROW(upfirdn_asymmetric),
    ROW(upfirdn_flipped_crop),
    ROW(warp),
    ROW(augment),
    ROW(group_norm),
    ROW(instance_norm),
    ROW(layer_norm),
    ROW(attention),
    ROW(modulated_conv),
    ROW(modulated_conv_up),
    ROW(modulated_conv_rgb),
    ROW(minibatch_stddev),
    ROW(bias_lrelu),
    ROW(silu),
    ROW(max_pool2),
    ROW(bilinear2),
    ROW(segmentation_loss),
    ROW(r1),
    ROW(wgan_gp),
    ROW(path_length),
    { "grouped_conv", grouped_conv, "modulated_conv" },
    { "grouped_conv_up", grouped_conv_up, "modulated_conv_up" },
};

/* Running one. */

struct rig {
    struct graph *graph;
    struct store *store;
    const char *name; /* of the case in the file */
    struct json *attributes;
    const struct tensor_entry *vector[INPUTS_MAX + 1]; /* of the inputs, then the projection */
    struct node *x[INPUTS_MAX + 1];
    char key[INPUTS_MAX + 1][16];
    int count; /* without the projection */
};

static const struct tensor_entry *find(const struct rig *rig, const char *key, bool required)
{
    char name[128];
    snprintf(name, sizeof name, "%s/%s", rig->name, key);
    const struct tensor_entry *vector = safetensors_find(&file, name);
    if (!vector && required)
        fail_msg("the file has no tensor %s", name);
    return vector;
}

static void add_input(struct rig *rig, int i, const char *key)
{
    snprintf(rig->key[i], sizeof rig->key[i], "%s", key);
    rig->vector[i] = find(rig, key, true);
    rig->x[i] = t_input(rig->graph, key, DTYPE_F32, vector_shape(rig->vector[i]));
}

static void rig_init(struct rig *rig, const char *name)
{
    struct error err;
    const char *text = safetensors_metadata(&file, name);
    if (!text)
        fail_msg("the file has no case %s", name);
    *rig = (struct rig){ .graph = graph_new(), .store = store_new(&ref_backend), .name = name };
    rig->attributes = json_parse(text, strlen(text), name, &err);
    assert_ok(rig->attributes, err);
}

static void rig_inputs(struct rig *rig)
{
    struct error err;
    const struct json *inputs = json_get_array(rig->attributes, "inputs", &err);
    assert_ok(inputs, err);
    assert_true(json_length(inputs) <= INPUTS_MAX);
    for (rig->count = 0; (size_t)rig->count < json_length(inputs); rig->count++)
        add_input(rig, rig->count, json_as_string(json_at(inputs, (size_t)rig->count)));
}

static void rig_release(struct rig *rig)
{
    json_free(rig->attributes);
    graph_free(rig->graph);
    store_free(rig->store);
}

static void assert_near(const struct rig *rig, const char *key, const double *value,
                        const struct tensor_entry *vector, size_t first, size_t count)
{
    struct distance distance = { 0 };
    distance_add(&distance, value, vector, first, count);
    double allowed = TOLERANCE * fmax(distance.largest, 1);
    if (!(distance.difference <= allowed))
        fail_msg("%s/%s differs by %g, of values up to %g", rig->name, key, distance.difference,
                 distance.largest);
}

/* Compares nodes with the file's tensors of the given keys. */
static void compare(struct rig *rig, int count, struct node *const *nodes, char keys[][32])
{
    struct error err;
    struct plan *plan = plan_create(rig->store, nodes, (size_t)count, NULL, 0, &err);
    assert_ok(plan, err);
    for (int i = 0; i <= rig->count; i++)
        if (rig->x[i])
            write_input(plan, &ref_backend, rig->x[i], rig->vector[i], 0);
    assert_ok(plan_run(plan, 0, 1, &err), err);
    for (int i = 0; i < count; i++) {
        const struct tensor_entry *vector = find(rig, keys[i], true);
        struct shape shape = vector_shape(vector);
        assert_int_equal(shape_count(shape), shape_count(nodes[i]->shape));
        double *value = read_output(plan, &ref_backend, nodes[i]);
        assert_near(rig, keys[i], value, vector, 0, shape_count(shape));
        free(value);
    }
    plan_free(plan);
}

/* Σ over inputs of ⟨gradient, the input as a constant⟩. */
static struct node *second_loss(const struct rig *rig, struct node *const *gradient)
{
    struct node *sum = NULL;
    for (int i = 0; i < rig->count; i++) {
        struct node *part = t_sum_all(t_mul(gradient[i], t_detach(rig->x[i])));
        sum = sum ? t_add(sum, part) : part;
    }
    return sum;
}

static void agrees_with_pytorch(void **state)
{
    const struct operation *operation = *state;
    struct rig rig;
    rig_init(&rig, operation->vectors);
    rig_inputs(&rig);
    struct node *nodes[3 * INPUTS_MAX + 2], *first[INPUTS_MAX + 1], *second[INPUTS_MAX + 1];
    char keys[3 * INPUTS_MAX + 2][32] = { "y" };
    struct node *y = nodes[0] = operation->build(rig.x, rig.attributes), *loss = y;
    int count = 1;
    bool scalar = !find(&rig, "projection", false);
    if (!scalar) {
        add_input(&rig, rig.count, "projection");
        loss = t_sum_all(t_mul(y, rig.x[rig.count]));
    }
    grad(loss, rig.x, rig.count, first);
    grad_zeros(rig.x, rig.count, first);
    for (int i = 0; i < rig.count; i++) {
        char key[32];
        snprintf(key, sizeof key, "grad/%s", rig.key[i]);
        if (scalar && !find(&rig, key, false))
            continue; /* one that the twin was not asked for */
        memcpy(keys[count], key, sizeof key);
        nodes[count++] = first[i];
    }
    if (!scalar) {
        grad(second_loss(&rig, first), rig.x, rig.count + 1, second);
        grad_zeros(rig.x, rig.count + 1, second);
    }
    for (int i = 0; !scalar && i <= rig.count; i++) {
        snprintf(keys[count], sizeof keys[count], "second/%s", rig.key[i]);
        nodes[count++] = second[i];
    }
    assert_true(count > 1);
    compare(&rig, count, nodes, keys);
    rig_release(&rig);
}

/* Optimisers: 20 steps with given gradients. */

static void sgd_nesterov(struct updates *updates, struct node *p, struct node *g)
{
    optimise_sgd(updates, &p, &g, 1, nn_number(p->graph, 0.01), .momentum = 0.99,
                 .weight_decay = 3e-5, .nesterov = true);
}

static void adam(struct updates *updates, struct node *p, struct node *g)
{
    optimise_adam(updates, &p, &g, 1, nn_number(p->graph, 0.0025), .beta2 = 0.99);
}

static void adam_usual(struct updates *updates, struct node *p, struct node *g)
{
    optimise_adam(updates, &p, &g, 1, nn_number(p->graph, 0.01));
}

static void adamw(struct updates *updates, struct node *p, struct node *g)
{
    optimise_adam(updates, &p, &g, 1, nn_number(p->graph, 0.01), .weight_decay = 0.05,
                  .decoupled = true);
}

struct optimiser {
    const char *name;
    void (*build)(struct updates *updates, struct node *p, struct node *g);
};
static const struct optimiser optimisers[] = {
    { "sgd_nesterov", sgd_nesterov },
    { "adam", adam },
    { "adam_usual", adam_usual },
    { "adamw", adamw },
};

static void initialise_state(struct rig *rig)
{
    struct error err;
    struct node *leaves[16];
    size_t count = 0;
    for (size_t id = 0; id < graph_size(rig->graph); id++)
        if (graph_node(rig->graph, id)->op == OP_PARAMETER)
            leaves[count++] = graph_node(rig->graph, id);
    struct plan *plan = plan_initial(rig->store, leaves, count, &err);
    assert_ok(plan, err);
    assert_ok(plan_run(plan, 0, 1, &err), err);
    plan_free(plan);
}

static void walks_pytorchs_path(void **state)
{
    const struct optimiser *optimiser = *state;
    struct error err;
    struct rig rig;
    rig_init(&rig, optimiser->name);
    const struct tensor_entry *start = find(&rig, "start", true), *path = find(&rig, "path", true);
    const struct tensor_entry *given = find(&rig, "gradients", true);
    struct shape shape = vector_shape(start);
    size_t size = shape_count(shape), steps = path->shape[0];
    assert_true(steps == 20);
    struct node *p = t_parameter(rig.graph, "p", t_full(rig.graph, shape, 0));
    struct node *g = t_input(rig.graph, "g", DTYPE_F32, shape);
    struct updates updates = { 0 };
    optimiser->build(&updates, p, g);
    initialise_state(&rig);
    write_tensor(rig.store, store_find(rig.store, "p"), start);
    struct plan *plan = plan_create(rig.store, NULL, 0, updates.items, updates.count, &err);
    assert_ok(plan, err);
    for (size_t i = 0; i < steps; i++) {
        write_input(plan, &ref_backend, g, given, i * size);
        assert_ok(plan_run(plan, i, 1, &err), err);
        double *value = read_tensor(rig.store, store_find(rig.store, "p"));
        assert_near(&rig, "path", value, path, i * size, size);
        free(value);
    }
    plan_free(plan);
    updates_release(&updates);
    rig_release(&rig);
}

/* Every case of the file is one of ours: one that is added there must be added here. */
static void no_vector_is_left_out(void **state)
{
    (void)state;
    for (size_t i = 0; i < file.metadata_count; i++) {
        bool known = false;
        for (size_t k = 0; k < sizeof operations / sizeof *operations; k++)
            known = known || strcmp(operations[k].vectors, file.metadata[i].key) == 0;
        for (size_t k = 0; k < sizeof optimisers / sizeof *optimisers; k++)
            known = known || strcmp(optimisers[k].name, file.metadata[i].key) == 0;
        if (!known)
            fail_msg("no test reads the vectors of %s", file.metadata[i].key);
    }
}

enum { OPERATIONS = sizeof operations / sizeof *operations };
enum { OPTIMISERS = sizeof optimisers / sizeof *optimisers };

int main(int argc, char **argv)
{
    struct error err;
    static char names[OPERATIONS + OPTIMISERS][96];
    static struct CMUnitTest tests[OPERATIONS + OPTIMISERS + 1];
    const char *path = argc > 1 ? argv[1] : LETHE_GOLDEN "/engine_ops.safetensors";
    if (!safetensors_open(&file, path, &err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    size_t count = 0;
    for (size_t i = 0; i < OPERATIONS; i++, count++) {
        snprintf(names[count], sizeof names[count], "%s_agrees_with_pytorch", operations[i].name);
        tests[count] = (struct CMUnitTest){ names[count], agrees_with_pytorch, NULL, NULL,
                                            (void *)(uintptr_t)&operations[i] };
    }
    for (size_t i = 0; i < OPTIMISERS; i++, count++) {
        snprintf(names[count], sizeof names[count], "%s_walks_pytorchs_path", optimisers[i].name);
        tests[count] = (struct CMUnitTest){ names[count], walks_pytorchs_path, NULL, NULL,
                                            (void *)(uintptr_t)&optimisers[i] };
    }
    tests[count] = (struct CMUnitTest)cmocka_unit_test(no_vector_is_left_out);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    safetensors_close(&file);
    return failed;
}
