/* Optimisers and running averages, as parameter updates of a plan.
 *
 *     struct updates updates = { 0 };
 *     grad(loss, weights, count, gradients);
 *     clip_gradients(gradients, count, 12);
 *     optimise_adam(&updates, weights, gradients, count, rate, .beta2 = 0.99);
 *     average_parameters(&updates, weights, count, decay);
 *     plan = plan_create(store, &loss, 1, updates.items, updates.count, &err);
 *     updates_release(&updates);
 *
 * Moments are state of the graph, named "adam.PARAMETER.first" and so on, so they lie in the
 * store, are saved with it, and are shared by all plans that train the same parameters. Rates and
 * decays are scalar nodes: inputs, where they change, or constants. Semantics are torch.optim's.
 */
#ifndef NN_OPTIMISER_H
#define NN_OPTIMISER_H

#include "tensor/compose.h"
#include "tensor/plan.h"

/* Whether a tensor of this name is an optimiser's own: its moments, its corrections. */
bool optimiser_owns(const char *tensor);

/* A growing list of assignments. */
struct updates {
    struct assign *items;
    size_t count, capacity;
};
void updates_add(struct updates *updates, struct node *parameter, struct node *value);
void updates_release(struct updates *updates);

/* A scalar constant, for rates that never change. */
#define nn_number(graph, value) t_full(graph, SHAPE(), value)

/* Scales all gradients by one factor, so that their global norm is at most `limit`: PyTorch's
 * clip_grad_norm_ (ε 1e-6). Replaces gradients[i]; returns the norm before, a scalar. */
#define clip_gradients(gradients, count, limit) clip_gradients_at(HERE, gradients, count, limit)
struct node *clip_gradients_at(struct site at, struct node **gradients, size_t count, double limit);

/* All optimisers: gradients[i] is that of parameters[i]; NULL leaves the parameter and its moments
 * as they are.
 *
 * SGD: d = g + weight_decay·p; v = momentum·v + d; p −= rate·v, or rate·(d + momentum·v) by
 * Nesterov's rule. */
struct sgd_options {
    double momentum, weight_decay;
    bool nesterov;
};
#define optimise_sgd(updates, parameters, gradients, count, rate, ...)                             \
    optimise_sgd_at(HERE, updates, parameters, gradients, count, rate,                             \
                    (struct sgd_options){ __VA_ARGS__ })
void optimise_sgd_at(struct site at, struct updates *updates, struct node *const *parameters,
                     struct node *const *gradients, size_t count, struct node *rate,
                     struct sgd_options options);

/* Adam (Kingma and Ba 2015) and AdamW (Loshchilov and Hutter 2019): first = β₁ first + (1−β₁) g,
 * second = β₂ second + (1−β₂) g²; p −= rate·(first/c₁) / (√(second/c₂) + ε), with the bias
 * corrections c = 1 − βᵗ. Weight decay: `decoupled` scales p by 1 − rate·weight_decay (AdamW),
 * else it is added to the gradient (Adam). */
struct adam_options {
    double beta1, beta2; /* as given, except both 0: .9 and .999 */
    double epsilon;      /* 0: 1e-8 */
    double weight_decay;
    bool decoupled;
    struct node *average; /* the decay of running averages, as average_parameters keeps them, which
                             are best made where the parameter is; NULL: none */
    const char *name;     /* of the optimiser, which the corrections are kept under; NULL: "adam" */
};
#define optimise_adam(updates, parameters, gradients, count, rate, ...)                            \
    optimise_adam_at(HERE, updates, parameters, gradients, count, rate,                            \
                     (struct adam_options){ __VA_ARGS__ })
void optimise_adam_at(struct site at, struct updates *updates, struct node *const *parameters,
                      struct node *const *gradients, size_t count, struct node *rate,
                      struct adam_options options);

/* The running average of a parameter (EMA), a state named "average.PARAMETER", which starts from
 * the parameter's own first value. */
#define average_of(parameter) average_of_at(HERE, parameter)
struct node *average_of_at(struct site at, struct node *parameter);

/* average = decay·average + (1 − decay)·parameter, taking the parameters' values after `updates`.
 */
#define average_parameters(updates, parameters, count, decay)                                      \
    average_parameters_at(HERE, updates, parameters, count, decay)
void average_parameters_at(struct site at, struct updates *updates, struct node *const *parameters,
                           size_t count, struct node *decay);

#endif
