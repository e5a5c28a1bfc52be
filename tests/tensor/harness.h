/* What the engine's tests share: graphs over double-precision inputs on the reference backend, and
 * the check of a gradient by random projection against central differences.
 *
 *     struct rig rig;
 *     rig_init(&rig);
 *     struct node *x = rig_input(&rig, SHAPE(2, 3), NORMAL);
 *     struct node *y = …;
 *     double *value = rig_evaluate(&rig, y);      // until rig_release
 *     rig_check_gradient(&rig, loss, dx, "name");  // dx[i]: of the rig's i-th input
 */
#ifndef TESTS_TENSOR_HARNESS_H
#define TESTS_TENSOR_HARNESS_H

#include "test.h"

#include "base/arena.h"
#include "base/random.h"
#include "tensor/compose.h"
#include "tensor/gradient.h"
#include "tensor/plan.h"
#include "tensor/ref.h"

#include <math.h>
#include <stdio.h>

enum { RIG_INPUTS = 8 };

/* How inputs are filled. POSITIVE: [0.5, 2). SPACED: no two closer than 0.1, for what has a kink
 * where values tie. GRID: multiples of 1/8 below 2, which bf16 holds exactly, as it does the
 * values one step of 1/8 (or two) away. */
enum fill { NORMAL, POSITIVE, SPACED, GRID };

struct rig {
    struct graph *graph;
    struct store *store;
    struct arena arena;
    struct node *x[RIG_INPUTS];
    double *value[RIG_INPUTS];
    enum fill fill[RIG_INPUTS];
    int count;
    double step; /* of central differences; small where kinks may lie near */
};

static inline void rig_init(struct rig *rig)
{
    *rig = (struct rig){ .graph = graph_new(), .store = store_new(&ref_backend), .step = 1e-3 };
    arena_init(&rig->arena);
}

static inline void rig_release(struct rig *rig)
{
    graph_free(rig->graph);
    store_free(rig->store);
    arena_release(&rig->arena);
}

/* The i-th of `count` numbers of a kind; streams are told apart by their number. */
static inline double rig_number(enum fill fill, uint64_t stream, size_t i, size_t count)
{
    double u = random_uniform(17, stream, i);
    size_t order[4096];
    if (fill == POSITIVE)
        return 0.5 + 1.5 * u;
    if (fill == GRID)
        return (double)((int)(u * 31) - 15) / 8;
    if (fill == NORMAL)
        return random_normal(17, stream, i);
    assert_true(count <= 4096);
    random_permutation(17, stream, count, order);
    return 0.1 * ((double)order[i] + 0.3 - 0.5 * (double)count); /* and none nearer to 0 */
}

static inline struct node *rig_input(struct rig *rig, struct shape shape, enum fill fill)
{
    char name[16];
    int i = rig->count++;
    assert_true(i < RIG_INPUTS);
    snprintf(name, sizeof name, "x%d", i);
    size_t count = shape_count(shape);
    rig->value[i] = arena_array(&rig->arena, double, count);
    rig->fill[i] = fill;
    for (size_t k = 0; k < count; k++)
        rig->value[i][k] = rig_number(fill, (uint64_t)i, k, count);
    return rig->x[i] = t_input(rig->graph, name, DTYPE_F32, shape);
}

/* A constant of random numbers (normal, or of the grid), the same ones for the same stream. */
static inline struct node *rig_constant(struct rig *rig, struct shape shape, enum fill fill,
                                        uint64_t stream)
{
    size_t count = shape_count(shape);
    float *values = arena_array(&rig->arena, float, count);
    for (size_t k = 0; k < count; k++)
        values[k] = (float)rig_number(fill, stream, k, count);
    return t_constant(rig->graph, shape, values);
}

/* Runs a plan with the inputs at value + step·direction (direction may be NULL). */
static inline void rig_run(struct rig *rig, struct plan *plan, double **direction, double step)
{
    struct error err;
    for (int i = 0; i < rig->count; i++) {
        size_t count = shape_count(rig->x[i]->shape);
        double *memory = plan_memory(plan, rig->x[i]);
        float *zeros = calloc(count, sizeof *zeros);
        plan_write(plan, rig->x[i], zeros); /* marks it as written; the values follow as doubles */
        free(zeros);
        for (size_t k = 0; memory && k < count; k++)
            memory[k] = rig->value[i][k] + (direction ? step * direction[i][k] : 0);
    }
    assert_ok(plan_run(plan, 0, 1, &err), err);
}

static inline struct plan *rig_plan(struct rig *rig, struct node *const *outputs, size_t count)
{
    struct error err;
    struct plan *plan = plan_create(rig->store, outputs, count, NULL, 0, &err);
    assert_ok(plan, err);
    return plan;
}

static inline double *rig_evaluate(struct rig *rig, struct node *y)
{
    struct plan *plan = rig_plan(rig, &y, 1);
    rig_run(rig, plan, NULL, 0);
    size_t count = shape_count(y->shape);
    double *result = arena_array(&rig->arena, double, count);
    memcpy(result, plan_memory(plan, y), count * sizeof *result);
    plan_free(plan);
    return result;
}

/* Compares Σ⟨dx[i], d[i]⟩ for random directions d with the five-point central difference of the
 * loss along them: error O(h⁴) ≈ 1e-12, so 1e-7 tells right from wrong. On the grid a step is 1/8:
 * the loss must then be a polynomial of at most fourth order. dx[i] may be NULL: zero. */
static inline void rig_check_gradient(struct rig *rig, struct node *loss, struct node **dx,
                                      const char *what)
{
    struct node *outputs[RIG_INPUTS + 1] = { loss };
    size_t count = 1;
    double *direction[RIG_INPUTS], slope = 0, size = 0, f[4];
    bool grid = false;
    for (int i = 0; i < rig->count; i++) {
        size_t elements = shape_count(rig->x[i]->shape);
        grid = grid || rig->fill[i] == GRID;
        direction[i] = arena_array(&rig->arena, double, elements);
        for (size_t k = 0; k < elements; k++)
            direction[i][k] =
                rig->fill[i] == GRID ? (k % 3 ? 1 : -1) : random_normal(23, (uint64_t)i, k);
        if (dx[i])
            outputs[count++] = dx[i];
    }
    struct plan *plan = rig_plan(rig, outputs, count);
    rig_run(rig, plan, NULL, 0);
    for (int i = 0; i < rig->count; i++)
        for (size_t k = 0; dx[i] && k < shape_count(dx[i]->shape); k++) {
            double term = ((double *)plan_memory(plan, dx[i]))[k] * direction[i][k];
            slope += term;
            size += fabs(term);
        }
    const double h = grid ? 0.125 : rig->step, steps[4] = { -2 * h, -h, h, 2 * h };
    for (int i = 0; i < 4; i++) {
        rig_run(rig, plan, direction, steps[i]);
        f[i] = *(double *)plan_memory(plan, loss);
    }
    plan_free(plan);
    double expected = (8 * (f[2] - f[1]) - (f[3] - f[0])) / (12 * h);
    if (!(fabs(slope - expected) <= 1e-7 * (1 + size)))
        fail_msg("%s: gradient along a random direction is %.12g, central difference %.12g", what,
                 slope, expected);
}

/* Checks the gradient of the loss, then the gradient of a random projection of that gradient, and
 * so on up to the order. */
static inline void rig_check_orders(struct rig *rig, struct node *loss, int orders,
                                    const char *what)
{
    for (int order = 1; order <= orders; order++) {
        char name[256];
        struct node *dx[RIG_INPUTS], *next = NULL;
        snprintf(name, sizeof name, "%s, order %d", what, order);
        grad(loss, rig->x, rig->count, dx);
        rig_check_gradient(rig, loss, dx, name);
        for (int i = 0; i < rig->count; i++) {
            if (!dx[i])
                continue;
            struct node *r = rig_constant(rig, dx[i]->shape, rig->fill[i] == GRID ? GRID : NORMAL,
                                          (uint64_t)(100 * order + i));
            struct node *part = t_sum_all(t_mul(r, dx[i]));
            next = next ? t_add(next, part) : part;
        }
        if (!next)
            return; /* the loss was linear before */
        loss = next;
    }
}

#endif
