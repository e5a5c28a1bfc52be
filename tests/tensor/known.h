/* Comparing a node with an answer of vectors.h. */
#ifndef TESTS_TENSOR_KNOWN_H
#define TESTS_TENSOR_KNOWN_H

#include "tensor/harness.h"
#include "tensor/vectors.h"

/* The i-th source of a case, with vectors.py's values. */
static inline struct node *known_source(struct rig *rig, struct shape shape, bool positive)
{
    struct node *x = rig_input(rig, shape, NORMAL);
    int i = rig->count - 1;
    for (size_t k = 0; k < shape_count(shape); k++)
        rig->value[i][k] = ((int)((7 * k + 3 * (size_t)i + 2) % 11) - 5) / 4.0 + (positive ? 2 : 0);
    return x;
}

static inline void assert_values(struct rig *rig, struct node *y, const double *expected,
                                 size_t count, const char *what)
{
    const double *value = rig_evaluate(rig, y);
    assert_int_equal(shape_count(y->shape), count);
    for (size_t i = 0; i < count; i++)
        if (!(fabs(value[i] - expected[i]) <= 1e-13 * (1 + fabs(expected[i]))))
            fail_msg("%s: element %zu is %.17g, expected %.17g", what, i, value[i], expected[i]);
}

/* One line of a table of cases: a builder that names its sources by X (any values), P (positive).
 */
struct known {
    enum op_id op; /* what the case is there for; OP_COUNT: a composite */
    const char *name;
    struct node *(*build)(struct rig *rig);
    const double *answer;
    size_t count;
};

#define X(...)       known_source(rig, SHAPE(__VA_ARGS__), false)
#define P(...)       known_source(rig, SHAPE(__VA_ARGS__), true)
#define ANSWER(name) #name, build_##name, answer_##name, sizeof answer_##name / sizeof(double)
#define CASE(name, ...)                                                                            \
    static struct node *build_##name(struct rig *rig)                                              \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

static inline void check_known(const struct known *known, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct rig rig;
        rig_init(&rig);
        struct node *y = known[i].build(&rig);
        bool held = known[i].op == OP_COUNT;
        for (size_t id = 0; id < graph_size(rig.graph); id++)
            held = held || graph_node(rig.graph, id)->op == known[i].op;
        if (!held)
            fail_msg("the case \"%s\" does not make a node of its op", known[i].name);
        assert_values(&rig, y, known[i].answer, known[i].count, known[i].name);
        rig_release(&rig);
    }
}

#endif
