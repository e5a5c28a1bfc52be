/* The parity cases, trained; see twin.h. */
#include "twin.h"

#include "parity/case.h"
#include "tensor/cpu.h"

#include <string.h>

static bool step(struct training *training, struct plan **plans, const struct twin_run *run,
                 uint64_t at, struct error *err)
{
    const char *input = "x";
    float decay = training_next_decay(training);
    for (size_t id = 0; id < graph_size(training->graph); id++) {
        const struct node *node = graph_node(training->graph, id);
        for (int i = 0; node->op == OP_INPUT && i < training->phase_count; i++)
            plan_write(plans[i], node, strcmp(node->leaf.name, input) == 0 ? run->real : &decay);
    }
    for (int i = 0; i < training->phase_count; i++)
        if (!plan_run(plans[i], at, run->seed, err))
            return false;
    return true;
}

struct store *twin_train(const struct twin_run *run, struct error *err)
{
    struct training training;
    struct plan *plans[CASE_PHASES] = { 0 };
    struct case_options options = { .batch = run->batch,
                                    .learned = run->learned,
                                    .path = run->path };
    struct json *settings = json_parse(run->settings, strlen(run->settings), "settings", err);
    if (!settings || !training_init(&training, run->name, settings, &options, err))
        return NULL;
    json_free(settings);
    struct store *store = store_new(&cpu_backend);
    bool ok = true;
    for (int i = 0; ok && i < training.phase_count; i++)
        ok = (plans[i] = training_plan(&training, i, store, err));
    struct plan *initial = ok ? training_plan_initial(&training, store, err) : NULL;
    ok = initial && plan_run(initial, 0, run->seed, err);
    plan_free(initial);
    for (int at = 0; ok && at < run->steps; at++)
        ok = step(&training, plans, run, (uint64_t)at, err);
    for (int i = 0; i < training.phase_count; i++)
        plan_free(plans[i]);
    training_release(&training);
    if (ok)
        return store;
    store_free(store);
    return NULL;
}
