/* Running one graph on two backends: the CPU's results (or another's) against the reference's.
 *
 *     struct pair pair;
 *     pair_init(&pair);
 *     struct node *x = pair_input(&pair, SHAPE(2, 3, 8, 8), NORMAL);
 *     pair_expect(&pair, (struct node *[]){ t_exp(x) }, 1, 1e-10, "exp");
 *     pair_release(&pair);
 *
 * Compared is the normalised mean square error, Σ(cpu − ref)² / Σ ref², of each output.
 */
#ifndef TESTS_TENSOR_COMPARE_H
#define TESTS_TENSOR_COMPARE_H

#include "tensor/cpu.h"
#include "tensor/harness.h"

#ifndef PAIR_BACKEND /* tests of another backend are the same files, compiled with this defined */
#define PAIR_BACKEND (&cpu_backend)
#endif

enum { PAIR_INPUTS = 16 };

struct pair {
    struct graph *graph;
    struct arena arena;
    struct node *x[PAIR_INPUTS];
    float *value[PAIR_INPUTS];
    int count;
};

static inline void pair_init(struct pair *pair)
{
    *pair = (struct pair){ .graph = graph_new() };
    arena_init(&pair->arena);
}

static inline void pair_release(struct pair *pair)
{
    graph_free(pair->graph);
    arena_release(&pair->arena);
}

static inline struct node *pair_input(struct pair *pair, struct shape shape, enum fill fill)
{
    char name[16];
    int i = pair->count++;
    assert_true(i < PAIR_INPUTS);
    snprintf(name, sizeof name, "x%d", i);
    size_t count = shape_count(shape);
    pair->value[i] = arena_array(&pair->arena, float, count);
    for (size_t k = 0; k < count; k++)
        pair->value[i][k] = (float)rig_number(fill, (uint64_t)(50 + i), k, count);
    return pair->x[i] = t_input(pair->graph, name, DTYPE_F32, shape);
}

/* Writes the inputs, or these backwards. */
static inline void pair_write(const struct pair *pair, struct plan *plan, bool backwards)
{
    for (int i = 0; i < pair->count; i++) {
        size_t count = shape_count(pair->x[i]->shape);
        float *value = memory_grow(NULL, count, sizeof *value);
        for (size_t k = 0; k < count; k++)
            value[k] = pair->value[i][backwards ? count - 1 - k : k];
        plan_write(plan, pair->x[i], value);
        free(value);
    }
}

/* The outputs' values, as float, one array an output, until pair_release. They are those of a
 * second run; a first one has other inputs, so that what a plan computes once and keeps must be
 * what does not depend on them. */
static inline float **pair_run(struct pair *pair, const struct backend *backend,
                               struct node *const *outputs, size_t count)
{
    struct error err;
    struct store *store = store_new(backend);
    struct plan *plan = plan_create(store, outputs, count, NULL, 0, &err);
    assert_ok(plan, err);
    for (int backwards = 1; backwards >= 0; backwards--) {
        pair_write(pair, plan, backwards);
        assert_ok(plan_run(plan, 3, 1, &err), err);
    }
    float **result = arena_array(&pair->arena, float *, count);
    for (size_t i = 0; i < count; i++) {
        size_t elements = shape_count(outputs[i]->shape);
        result[i] = arena_array(&pair->arena, float, elements);
        plan_read(plan, outputs[i], result[i]);
        assert_ok(plan_check(plan, &err), err);
        for (size_t k = elements; outputs[i]->dtype == DTYPE_BF16 && k-- > 0;)
            result[i][k] = bf16_to_float(((const uint16_t *)(const void *)result[i])[k]);
    }
    plan_free(plan);
    store_free(store);
    return result;
}

static inline double pair_error(const float *value, const float *expected, size_t count)
{
    double error = 0, size = 0;
    for (size_t i = 0; i < count; i++) {
        double difference = (double)value[i] - (double)expected[i];
        if (isinf(expected[i]) && value[i] == expected[i])
            continue;
        error += difference * difference;
        size += (double)expected[i] * (double)expected[i];
    }
    return error / (size > 1e-30 ? size : 1e-30);
}

static inline void pair_expect(struct pair *pair, struct node *const *outputs, size_t count,
                               double tolerance, const char *what)
{
    float **expected = pair_run(pair, &ref_backend, outputs, count);
    float **value = pair_run(pair, PAIR_BACKEND, outputs, count);
    for (size_t i = 0; i < count; i++) {
        double error = pair_error(value[i], expected[i], shape_count(outputs[i]->shape));
        if (!(error <= tolerance))
            fail_msg("%s: output %zu (%s) has a normalised mean square error of %.3g", what, i,
                     ops[outputs[i]->op].name, error);
    }
}

#endif
