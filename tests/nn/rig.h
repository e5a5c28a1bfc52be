/* What the tests of layers share: the engine's harness, and parameters with their first values. */
#ifndef TESTS_NN_RIG_H
#define TESTS_NN_RIG_H

#include "tensor/harness.h"

/* Gives every parameter of the graph, and every state, its first value. */
static inline void rig_initialise(struct rig *rig)
{
    struct error err;
    struct node *leaves[512];
    size_t count = 0;
    for (size_t id = 0; id < graph_size(rig->graph); id++) {
        struct node *node = graph_node(rig->graph, id);
        if (node->op != OP_PARAMETER)
            continue;
        assert_true(count < 512);
        leaves[count++] = node;
    }
    if (!count)
        return;
    struct plan *plan = plan_initial(rig->store, leaves, count, &err);
    assert_ok(plan, err);
    assert_ok(plan_run(plan, 0, 1, &err), err);
    plan_free(plan);
}

/* The parameter of that name, which must be there and have that shape. */
static inline struct node *rig_parameter(struct rig *rig, const char *name, struct shape shape)
{
    char text[SHAPE_TEXT];
    for (size_t id = 0; id < graph_size(rig->graph); id++) {
        struct node *node = graph_node(rig->graph, id);
        if (node->op != OP_PARAMETER || strcmp(node->leaf.name, name) != 0)
            continue;
        if (!shape_equal(node->shape, shape))
            fail_msg("%s has shape %s", name, shape_text(node->shape, text));
        return node;
    }
    fail_msg("there is no parameter %s", name);
    return NULL;
}

/* Checks first and second derivatives with respect to the rig's inputs by a random projection. */
static inline void rig_check_layer(struct rig *rig, struct node *y, const char *what)
{
    struct node *loss = t_sum_all(t_mul(y, rig_constant(rig, y->shape, NORMAL, 7)));
    rig_initialise(rig);
    rig_check_orders(rig, loss, 2, what);
}

static inline void assert_close(double value, double expected, double tolerance)
{
    if (!(fabs(value - expected) <= tolerance))
        fail_msg("%.17g, expected %.17g", value, expected);
}

#endif
