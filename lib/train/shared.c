/* A training that several devices share; see shared.h. */
#include "train/shared.h"

#include "base/text.h"
#include "train/runner.h"

#include <string.h>

enum { SETTINGS_MOST = 1 << 16 };

/* ---- the training's own process -------------------------------------------------------------- */

static bool check_parts(const struct train_beside *beside, const struct runner *runner,
                        struct error *err)
{
    long long parts = (long long)runner->training.parts, count = (long long)beside->count + 1;
    return parts >= count ||
           error_set(err,
                     "%lld devices cannot share a batch that is computed in %lld part%s: "
                     "--accumulate %lld cuts it into as many (training that has begun cannot "
                     "change it)",
                     count, parts, parts == 1 ? "" : "s", count);
}

/* Candidates are the plan's, and no part of a training. */
static bool send_settings(struct ranks *ranks, const struct runner *runner, struct error *err)
{
    const struct training *training = &runner->training;
    struct train_settings settings = training->settings;
    struct text text = { 0 };
    struct order order = { .kind = ORDER_SETTINGS,
                           .channels = training->channels,
                           .size = training->size };
    settings.candidates = (struct yaml_rows){ 0 };
    text_format(&text, "%s\n", store_backend(runner->store)->name);
    train_settings_text(&settings, false, &text);
    bool ok = ranks_send_text(ranks, &order, text.bytes, err);
    text_release(&text);
    return ok;
}

struct ranks *shared_open(const struct train_beside *beside, const struct runner *runner,
                          struct error *err)
{
    if (!check_parts(beside, runner, err))
        return NULL;
    struct ranks *ranks = ranks_open(beside, err);
    if (ranks && ranks_reserve(ranks, &runner->most, err) && send_settings(ranks, runner, err) &&
        ranks_gather(ranks, err))
        return ranks;
    ranks_close(ranks);
    return NULL;
}

/* ---- another rank ---------------------------------------------------------------------------- */

struct serving {
    struct ranks *ranks;
    struct runner runner;
    struct digest digest; /* for an answer: of the tensors, when they are compared */
    struct arena arena;
};

/* Bits are those of the kind of device. */
static bool check_kind(const struct serving *serving, const char *kind, struct error *err)
{
    const char *own = store_backend(serving->runner.store)->name;
    return strcmp(own, kind) == 0 ||
           error_set(err,
                     "is \"%s\", and the training's first device \"%s\": name devices of one "
                     "kind",
                     own, kind);
}

static bool begin(struct serving *serving, const struct rank *rank, struct error *err)
{
    struct order order;
    struct train_settings settings;
    char *text = arena_allocate(&serving->arena, SETTINGS_MOST);
    if (!ranks_await_text(serving->ranks, &order, text, SETTINGS_MOST - 1))
        return error_set(err, "the training has ended");
    char *yaml = strchr(text, '\n');
    CHECK(yaml && order.kind == ORDER_SETTINGS, "settings of another form");
    *yaml++ = '\0';
    if (!train_settings_parse(yaml, "settings", &settings, &serving->arena, err))
        return false;
    settings.device = rank->device;
    return runner_init(&serving->runner, &settings, order.channels, order.size, err) &&
           check_kind(serving, text, err);
}

/* Its tensors have values, whatever they are, before they are given the training's. */
static bool enter_stage(struct serving *serving, const struct order *order, struct error *err)
{
    struct runner *runner = &serving->runner;
    if (!runner_is_for(runner, order->step) && !runner_move(runner, order->step, err))
        return false;
    struct ranks_layout layout = runner_layout(runner);
    serving->ranks->pin = store_backend(runner->store)->pin;
    return runner_begin(runner, err) && ranks_map(serving->ranks, &layout, err);
}

static bool take_values(struct serving *serving, const struct order *order, struct error *err)
{
    ranks_take(serving->ranks, serving->runner.store, order);
    return store_check(serving->runner.store, err);
}

static bool take_step(struct serving *serving, const struct order *order, struct error *err)
{
    return runner_step(&serving->runner, order->step, serving->ranks->images, NULL, err);
}

static bool compare(struct serving *serving, const struct order *order, struct error *err)
{
    (void)order;
    serving->digest = ranks_digest(serving->runner.store);
    return store_check(serving->runner.store, err);
}

/* What each order has done, and whether it is answered where that has gone well. */
static const struct service {
    bool (*serve)(struct serving *serving, const struct order *order, struct error *err);
    bool answers;
} services[] = {
    [ORDER_STAGE] = { enter_stage, true },
    [ORDER_VALUES] = { take_values, true },
    [ORDER_STEP] = { take_step, false },
    [ORDER_COMPARE] = { compare, true },
};

static bool serve_one(struct serving *serving, const struct order *order, struct error *err)
{
    const struct service *service = &services[order->kind];
    if (!service->serve(serving, order, err))
        return false;
    if (service->answers)
        ranks_answer(serving->ranks, NULL, &serving->digest);
    return true;
}

bool shared_serve(const struct rank *rank, struct error *err)
{
    struct order order;
    struct serving serving = { .ranks = ranks_join(rank) };
    arena_init(&serving.arena);
    bool ok = begin(&serving, rank, err);
    serving.runner.ranks = serving.ranks;
    if (ok)
        ranks_answer(serving.ranks, NULL, NULL);
    while (ok && ranks_await(serving.ranks, &order))
        ok = serve_one(&serving, &order, err);
    if (!ok)
        ranks_answer(serving.ranks, err, NULL);
    runner_release(&serving.runner);
    ranks_close(serving.ranks);
    arena_release(&serving.arena);
    return ok;
}
