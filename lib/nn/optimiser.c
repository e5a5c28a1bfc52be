/* Optimisers and running averages; see optimiser.h. */
#define HERE at
#include "nn/optimiser.h"

#include "base/arena.h"

#include <stdlib.h>
#include <string.h>

static const double CLIP_EPSILON = 1e-6;

void updates_add(struct updates *updates, struct node *parameter, struct node *value)
{
    ARRAY_RESERVE(updates->items, updates->count, updates->capacity);
    updates->items[updates->count++] = (struct assign){ parameter, value };
}

void updates_release(struct updates *updates)
{
    free(updates->items);
    *updates = (struct updates){ 0 };
}

bool optimiser_owns(const char *tensor)
{
    return strncmp(tensor, "adam", 4) == 0 || strncmp(tensor, "sgd.", 4) == 0;
}

/* The value that the parameter will have after the updates: its own, if they leave it alone. */
static struct node *value_after(const struct updates *updates, struct node *parameter)
{
    for (size_t i = 0; i < updates->count; i++)
        if (updates->items[i].parameter == parameter)
            return updates->items[i].value;
    return parameter;
}

/* A state "PREFIX.PARAMETER.NAME" outside any scope, zero at first. */
static struct node *moment(struct site at, const char *prefix, struct node *parameter,
                           const char *name)
{
    struct graph *graph = parameter->graph;
    const char *scope = graph_set_scope(graph, "");
    graph_push(graph, "%s.%s", prefix, parameter->leaf.name);
    struct node *state = t_state(graph, name, t_zeros_like(parameter));
    graph_pop(graph);
    graph_set_scope(graph, scope);
    return state;
}

struct node *clip_gradients_at(struct site at, struct node **gradients, size_t count, double limit)
{
    struct node *squares = NULL;
    for (size_t i = 0; i < count; i++) {
        if (!gradients[i])
            continue;
        struct node *part = t_sum_all(t_square(gradients[i]));
        squares = squares ? t_add(squares, part) : part;
    }
    CHECK(squares, "clip_gradients of no gradient (%s:%d)", at.file, at.line);
    struct node *norm = t_sqrt(squares), *one = nn_number(norm->graph, 1);
    struct node *ratio = t_scale(t_div(one, t_shift(norm, CLIP_EPSILON)), limit);
    struct node *factor = t_minimum(ratio, one);
    for (size_t i = 0; i < count; i++)
        if (gradients[i])
            gradients[i] = t_mul(gradients[i], factor);
    return norm;
}

void optimise_sgd_at(struct site at, struct updates *updates, struct node *const *parameters,
                     struct node *const *gradients, size_t count, struct node *rate,
                     struct sgd_options options)
{
    for (size_t i = 0; i < count; i++) {
        struct node *p = parameters[i];
        if (!gradients[i])
            continue;
        struct node *step = gradients[i];
        if (options.weight_decay != 0)
            step = t_add(step, t_scale(p, options.weight_decay));
        if (options.momentum != 0) {
            struct node *state = moment(at, "sgd", p, "momentum");
            struct node *velocity = t_add(t_scale(state, options.momentum), step);
            updates_add(updates, state, velocity);
            step = options.nesterov ? t_add(step, t_scale(velocity, options.momentum)) : velocity;
        }
        updates_add(updates, p, t_sub(p, t_mul(step, rate)));
    }
}

/* 1 − βᵗ, kept as the running average of ones: c = β c + (1 − β). Unlike 1 − βᵗ from t itself it
 * loses nothing in single precision. */
static struct node *correction(struct site at, struct updates *updates, struct graph *graph,
                               const char *optimiser, const char *name, double beta)
{
    const char *scope = graph_set_scope(graph, "");
    graph_push(graph, "%s", optimiser);
    struct node *state = t_state(graph, name, nn_number(graph, 0));
    graph_pop(graph);
    graph_set_scope(graph, scope);
    struct node *next = t_affine(state, beta, 1 - beta);
    updates_add(updates, state, next);
    return next;
}

struct node *average_of_at(struct site at, struct node *parameter)
{
    struct graph *graph = parameter->graph;
    const char *scope = graph_set_scope(graph, "average");
    struct node *average = t_state(graph, parameter->leaf.name, parameter->leaf.initial);
    graph_set_scope(graph, scope);
    return average;
}

static void move_average(struct site at, struct updates *updates, struct node *parameter,
                         struct node *decay, struct node *rest)
{
    struct node *average = average_of(parameter), *value = value_after(updates, parameter);
    updates_add(updates, average, t_add(t_mul(average, decay), t_mul(value, rest)));
}

void average_parameters_at(struct site at, struct updates *updates, struct node *const *parameters,
                           size_t count, struct node *decay)
{
    struct node *rest = t_affine(decay, -1, 1);
    for (size_t i = 0; i < count; i++)
        move_average(at, updates, parameters[i], decay, rest);
}

void optimise_adam_at(struct site at, struct updates *updates, struct node *const *parameters,
                      struct node *const *gradients, size_t count, struct node *rate,
                      struct adam_options options)
{
    const char *name = options.name ? options.name : "adam";
    bool usual = options.beta1 == 0 && options.beta2 == 0;
    double beta1 = usual ? 0.9 : options.beta1, beta2 = usual ? 0.999 : options.beta2;
    double epsilon = options.epsilon != 0 ? options.epsilon : 1e-8;
    struct node *c1 = correction(at, updates, rate->graph, name, "correction1", beta1);
    struct node *c2 = correction(at, updates, rate->graph, name, "correction2", beta2);
    /* A constant rate is best a factor: factors keep double precision, tables are of f32. */
    struct node *size = t_mul(t_div(nn_number(rate->graph, 1), c1), rate), *root = t_sqrt(c2);
    struct node *average = options.average, *rest = average ? t_affine(average, -1, 1) : NULL;
    for (size_t i = 0; i < count; i++) {
        struct node *p = parameters[i], *g = gradients[i];
        if (!g && average)
            move_average(at, updates, p, average, rest);
        if (!g)
            continue;
        if (options.weight_decay != 0 && !options.decoupled)
            g = t_add(g, t_scale(p, options.weight_decay));
        struct node *first = g;
        if (beta1 != 0) {
            struct node *state = moment(at, name, p, "first");
            first = t_add(t_scale(state, beta1), t_scale(g, 1 - beta1));
            updates_add(updates, state, first);
        }
        struct node *state = moment(at, name, p, "second");
        struct node *second = t_add(t_scale(state, beta2), t_scale(t_square(g), 1 - beta2));
        updates_add(updates, state, second);
        struct node *step = t_div(first, t_shift(t_div(t_sqrt(second), root), epsilon));
        struct node *from = p;
        if (options.weight_decay != 0 && options.decoupled)
            from = t_mul(p, t_affine(rate, -options.weight_decay, 1));
        updates_add(updates, p, t_sub(from, t_mul(step, size)));
        if (average)
            move_average(at, updates, p, average, rest);
    }
}
