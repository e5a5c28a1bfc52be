/* A training, ready to run; see runner.h. */
#include "train/runner.h"

#include "tensor/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- planning without memory ----------------------------------------------------------------- */

/* The device's table with a memory that is only counted, to learn what a plan would take: as much
 * of what is available as was asked for is gone, and nothing is ever written there. */
static size_t counted;
static const struct backend *counted_for;

static void *count_memory(size_t bytes, const char *what, struct error *err)
{
    size_t *memory = memory_allocate(1, sizeof *memory, what, err);
    if (memory)
        counted += *memory = bytes;
    return memory;
}

static void discount_memory(void *memory)
{
    if (memory)
        counted -= *(size_t *)memory;
    memory_free(memory);
}

static void write_nothing(void *device, const void *host, enum dtype dtype, size_t count)
{
    (void)device, (void)host, (void)dtype, (void)count;
}

static size_t left_available(void)
{
    size_t available = counted_for->available ? counted_for->available() : SIZE_MAX;
    return available == SIZE_MAX || available < counted ? available : available - counted;
}

static struct backend planning_backend(const struct backend *device)
{
    struct backend planning = *device;
    counted_for = device;
    planning.allocate = count_memory;
    planning.release = discount_memory;
    planning.copy_in = write_nothing;
    planning.available = left_available;
    return planning;
}

/* ---- tensors and plans ----------------------------------------------------------------------- */

/* Every parameter and every state of the graph, in the order of their creation. */
static struct node **leaves(const struct training *training, size_t *count)
{
    size_t nodes = graph_size(training->graph);
    struct node **found = memory_grow(NULL, nodes, sizeof *found);
    *count = 0;
    for (size_t id = 0; id < nodes; id++)
        if (graph_node(training->graph, id)->op == OP_PARAMETER)
            found[(*count)++] = graph_node(training->graph, id);
    return found;
}

/* In one order, whatever plans ask for first. */
static bool add_tensors(struct runner *runner, struct error *err)
{
    size_t count;
    struct node **all = leaves(&runner->training, &count);
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++)
        ok = store_require(runner->store, all[i]->leaf.name, all[i]->dtype, all[i]->shape, err);
    free(all);
    return ok;
}

static bool is_whole(const struct training *training, int phase)
{
    return training->parts == 1 || !training->phases[phase].term_count;
}

struct plan *training_plan(const struct training *training, int i, struct store *store,
                           struct error *err)
{
    const struct phase *phase = &training->phases[i];
    struct updates first = { 0 };
    struct node *terms[RECIPE_TERMS];
    for (int k = 0; k < phase->term_count; k++)
        terms[k] = phase->terms[k].value;
    for (size_t k = 0; k < phase->each.count; k++)
        updates_add(&first, phase->each.items[k].parameter, phase->each.items[k].value);
    for (size_t k = 0; is_whole(training, i) && k < phase->updates.count; k++)
        updates_add(&first, phase->updates.items[k].parameter, phase->updates.items[k].value);
    struct plan *plan =
        plan_create(store, terms, (size_t)phase->term_count, first.items, first.count, err);
    updates_release(&first);
    return plan;
}

struct plan *training_plan_initial(const struct training *training, struct store *store,
                                   struct error *err)
{
    size_t count;
    struct node **all = leaves(training, &count);
    struct plan *plan = plan_initial(store, all, count, err);
    free(all);
    return plan;
}

static struct plan *plan_updates(struct runner *runner, const struct updates *updates,
                                 struct error *err)
{
    return plan_create(runner->store, NULL, 0, updates->items, updates->count, err);
}

static struct tensor **tensors_of(struct runner *runner, const struct updates *updates)
{
    struct tensor **tensors =
        arena_array(&runner->training.arena, struct tensor *, updates->count + 1);
    for (size_t i = 0; i < updates->count; i++)
        tensors[i] = store_find(runner->store, updates->items[i].parameter->leaf.name);
    return tensors;
}

/* Where a step has parts, summing them up and what is done at its end are plans of their own. */
static bool plan_phase(struct runner *runner, int i, struct error *err)
{
    const struct phase *phase = &runner->training.phases[i];
    runner->found_out[i] = tensors_of(runner, &phase->each);
    runner->summed[i] = tensors_of(runner, &phase->sums);
    runner->parts[i] = training_plan(&runner->training, i, runner->store, err);
    if (!runner->parts[i] || is_whole(&runner->training, i))
        return runner->parts[i];
    if (phase->sums.count)
        runner->sums[i] = plan_updates(runner, &phase->sums, err);
    if (phase->sums.count && !runner->sums[i])
        return false;
    runner->updates[i] = plan_updates(runner, &phase->updates, err);
    return runner->updates[i];
}

static bool build(struct runner *runner, const struct runner_source *source, int64_t parts,
                  const struct backend *backend, struct error *err)
{
    *runner = (struct runner){ 0 };
    struct training *training = &runner->training;
    if (!source->build(source->context, parts, training, err))
        return false;
    runner->store = store_new(backend);
    if (training->accepts_bf16)
        store_set_precision_where(runner->store, training->accepts_bf16, training->bf16_context);
    store_set_algorithms(runner->store, (enum algorithms)training->algorithms);
    return store_set_precision(runner->store, (enum precision)training->precision, err) &&
           (training->parts == 1 || backend->draws_parts ||
            error_set(err, "this device cannot compute a batch in parts (accumulate)"));
}

static bool take_memory(struct runner *runner, struct error *err)
{
    bool ok = add_tensors(runner, err);
    for (int i = 0; ok && i < runner->training.phase_count; i++)
        ok = plan_phase(runner, i, err);
    return ok;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static struct ranks_layout room_for_both(struct ranks_layout a, struct ranks_layout b)
{
    return (struct ranks_layout){ .terms = larger(a.terms, b.terms),
                                  .images = larger(a.images, b.images),
                                  .width = larger(a.width, b.width),
                                  .largest = larger(a.largest, b.largest) };
}

/* Whether it can be made, as far as memory goes; nothing is kept. `most` has room for what it would
 * exchange, too; or is NULL. */
static bool fits(const struct runner_source *source, int64_t parts, const struct backend *planning,
                 struct ranks_layout *most, struct error *err)
{
    struct runner runner;
    bool ok = build(&runner, source, parts, planning, err) && take_memory(&runner, err);
    if (ok && most)
        *most = room_for_both(*most, runner_layout(&runner));
    runner_release(&runner);
    return ok;
}

/* Tries more and more parts than `taken` until a step fits, and says so in addition to why the
 * whole does not. */
static bool suggest(const struct runner_source *source, long long batch, int64_t taken,
                    const struct backend *device, struct error *err)
{
    struct backend planning = planning_backend(device);
    if (!source->divisible)
        return error_prefix(err, "with a batch of %lld (a smaller --batch takes less)", batch);
    for (int64_t parts = taken + 1; parts <= batch; parts++) {
        if (batch % parts == 0 && fits(source, parts, &planning, NULL, NULL))
            return error_set(err,
                             "a batch of %lld does not fit: %s. %lld images at a time do: "
                             "--accumulate %lld computes the same batch in parts",
                             batch, err->message, batch / (long long)parts, (long long)parts);
    }
    return error_prefix(err, "with a batch of %lld, or any smaller one", batch);
}

bool runner_open(struct runner *runner, const struct runner_source *source, struct error *err)
{
    const struct backend *device = device_backend(source->device, err);
    *runner = (struct runner){ 0 };
    bool built = device && build(runner, source, 0, device, err);
    if (built && take_memory(runner, err))
        return true;
    long long batch = runner->training.batch;
    int64_t parts = runner->training.parts;
    runner_release(runner);
    return built && suggest(source, batch, parts, device, err);
}

/* ---- generators ------------------------------------------------------------------------------ */

struct generator_source {
    const struct train_settings *settings;
    int channels, size;
    uint64_t step; /* whose stage of growth it is */
};

static bool build_generator(const void *context, int64_t parts, struct training *training,
                            struct error *err)
{
    const struct generator_source *generator = context;
    struct train_settings settings = *generator->settings;
    settings.accumulate = parts ? parts : settings.accumulate;
    return training_init_at(training, &settings, generator->channels, generator->size,
                            generator->step, err);
}

static struct runner_source source_of(const struct generator_source *generator)
{
    return (struct runner_source){ build_generator, generator, generator->settings->device, true };
}

/* A run must not fail for want of memory after a week: whether each stage that is to come fits is
 * found out at once. A stage takes most while it fades in. */
static bool foretell(const struct train_settings *settings, int channels, int size,
                     struct ranks_layout *most, struct error *err)
{
    struct train_settings resolved = *settings;
    if (!recipe_of(settings)->grows)
        return true;
    if (!train_settings_resolve(&resolved, size, err) ||
        !recipe_check(&resolved, channels, size, err))
        return false;
    const struct backend *device = device_backend(settings->device, err);
    struct growth growth = recipe_growth(&resolved, size);
    struct stage stage = growth_stage(&growth, 0);
    while (device && growth_next(&growth, &stage) && stage.image < (uint64_t)resolved.images) {
        struct backend planning = planning_backend(device);
        struct generator_source generator = { &resolved, channels, size, stage.step };
        struct runner_source source = source_of(&generator);
        if ((stage.fading || !growth.fade) && !fits(&source, 0, &planning, most, err))
            return suggest(&source, (long long)stage.batch, resolved.accumulate, device, err) ||
                   error_prefix(err, "when it has grown to the side %d", stage.side);
    }
    return device;
}

static bool open_at(struct runner *runner, const struct train_settings *settings, int channels,
                    int size, uint64_t step, struct error *err)
{
    struct generator_source generator = { settings, channels, size, step };
    struct runner_source source = source_of(&generator);
    return runner_open(runner, &source, err);
}

bool runner_init(struct runner *runner, const struct train_settings *settings, int channels,
                 int size, struct error *err)
{
    struct ranks_layout most = { 0 };
    *runner = (struct runner){ 0 };
    if (!foretell(settings, channels, size, &most, err) ||
        !open_at(runner, settings, channels, size, 0, err))
        return false;
    runner->most = room_for_both(most, runner_layout(runner));
    return true;
}

void runner_release(struct runner *runner)
{
    for (int i = 0; i < RECIPE_PHASES; i++) {
        plan_free(runner->parts[i]);
        plan_free(runner->sums[i]);
        plan_free(runner->updates[i]);
    }
    store_free(runner->store);
    if (runner->training.graph)
        training_release(&runner->training);
    *runner = (struct runner){ 0 };
}

bool runner_begin(struct runner *runner, struct error *err)
{
    struct plan *plan = training_plan_initial(&runner->training, runner->store, err);
    bool ok = plan && plan_run(plan, 0, runner->training.seed, err);
    plan_free(plan);
    return ok;
}

/* ---- growth ---------------------------------------------------------------------------------- */

bool runner_is_for(const struct runner *runner, uint64_t step)
{
    const struct training *training = &runner->training;
    return growth_stage(&training->growth, step).number == training->stage.number;
}

bool runner_move(struct runner *runner, uint64_t step, struct error *err)
{
    const struct train_settings settings = runner->training.settings;
    int channels = runner->training.channels, size = runner->training.size;
    struct ranks *ranks = runner->ranks;
    runner_release(runner);
    bool ok = open_at(runner, &settings, channels, size, step, err);
    runner->ranks = ranks;
    return ok;
}

/* A tensor's value, while the store that it was in makes place for the next. */
struct carried {
    char *name;
    struct shape shape;
    void *value;
};

/* All but optimisers' own. */
static struct carried *take_values(const struct store *store, size_t *count)
{
    struct carried *carried = memory_grow(NULL, store_count(store) + 1, sizeof *carried);
    *count = 0;
    for (size_t i = 0; i < store_count(store); i++) {
        const struct tensor *tensor = store_tensor(store, i);
        size_t length = strlen(tensor->name) + 1, values = shape_count(tensor->shape);
        if (optimiser_owns(tensor->name))
            continue;
        struct carried *one = &carried[(*count)++];
        *one = (struct carried){ memory_grow(NULL, length, 1), tensor->shape,
                                 memory_grow(NULL, values, dtype_bytes(tensor->dtype)) };
        memcpy(one->name, tensor->name, length);
        store_read(store, tensor, one->value);
    }
    return carried;
}

static void give_value(struct store *store, const struct carried *carried)
{
    struct tensor *tensor = store_find(store, carried->name);
    if (!tensor)
        return;
    CHECK(shape_equal(tensor->shape, carried->shape), "%s has grown", carried->name);
    store_write(store, tensor, carried->value);
}

bool runner_grow(struct runner *runner, uint64_t step, struct error *err)
{
    size_t count;
    struct carried *carried = take_values(runner->store, &count);
    bool ok = store_check(runner->store, err) && runner_move(runner, step, err) &&
              runner_begin(runner, err);
    for (size_t i = 0; i < count; i++) {
        if (ok)
            give_value(runner->store, &carried[i]);
        free(carried[i].name);
        free(carried[i].value);
    }
    free(carried);
    return ok;
}

void runner_profile(const struct runner *runner, FILE *out)
{
    for (int i = 0; i < runner->training.phase_count; i++) {
        fprintf(out, "phase %s\n\n", runner->training.phases[i].name);
        plan_profile(runner->parts[i], out);
        if (runner->sums[i]) {
            fprintf(out, "\nphase %s, after each part of a batch\n\n",
                    runner->training.phases[i].name);
            plan_profile(runner->sums[i], out);
        }
        if (runner->updates[i]) {
            fprintf(out, "\nphase %s, at the end of a batch in parts\n\n",
                    runner->training.phases[i].name);
            plan_profile(runner->updates[i], out);
        }
        fprintf(out, "\n");
    }
}

/* ---- steps ----------------------------------------------------------------------------------- */

/* What a step is given. */
struct given {
    uint64_t step;
    const float *images;
    const int32_t *labels;
};

void training_write_step(const struct training *training, struct plan *plan, uint64_t step)
{
    float scheduled = (float)training->schedule(training, step);
    plan_write(plan, training->scheduled, &scheduled);
    if (!training->alpha)
        return;
    float alpha = (float)growth_alpha(&training->growth, &training->stage,
                                      growth_images(&training->growth, step));
    plan_write(plan, training->alpha, &alpha);
}

/* `terms`: those of this part. */
static bool run_part(struct runner *runner, int i, int64_t part, const struct given *given,
                     float *terms, struct error *err)
{
    const struct training *training = &runner->training;
    const struct phase *phase = &training->phases[i];
    struct plan *plan = runner->parts[i];
    size_t at = (size_t)part;
    plan_write(plan, training->real, given->images + at * shape_count(training->real->shape));
    if (training->labels)
        plan_write(plan, training->labels,
                   given->labels + at * shape_count(training->labels->shape));
    training_write_step(training, plan, given->step);
    plan_part(plan, (uint64_t)part);
    if (!plan_run(plan, given->step, training->seed, err))
        return false;
    for (int k = 0; k < phase->term_count; k++)
        plan_read(plan, phase->terms[k].value, &terms[k]);
    return plan_check(plan, err);
}

static bool sum_up_part(struct runner *runner, int i, int64_t part, const struct given *given,
                        struct error *err)
{
    float later = part > 0;
    if (!runner->sums[i])
        return true;
    plan_write(runner->sums[i], runner->training.later, &later);
    return plan_run(runner->sums[i], given->step, runner->training.seed, err);
}

/* `terms`: of a part; a phase's are the means of all. */
static void note_terms(struct runner *runner, int i, int64_t parts, const float *terms)
{
    for (int k = 0; k < runner->training.phases[i].term_count; k++)
        runner->terms[i][k] += (double)terms[k] / (double)parts;
}

static bool run_parts(struct runner *runner, int i, int64_t parts, const struct given *given,
                      struct error *err)
{
    for (int64_t part = 0; part < parts; part++) {
        float terms[RECIPE_TERMS];
        if (!run_part(runner, i, part, given, terms, err) ||
            !sum_up_part(runner, i, part, given, err))
            return false;
        note_terms(runner, i, parts, terms);
    }
    return true;
}

/* ---- steps that are shared ------------------------------------------------------------------- */

static size_t width_of(const struct updates *each)
{
    size_t width = 0;
    for (size_t k = 0; k < each->count; k++)
        width += shape_count(each->items[k].parameter->shape);
    return width;
}

struct ranks_layout runner_layout(const struct runner *runner)
{
    const struct training *training = &runner->training;
    size_t parts = (size_t)training->parts;
    struct ranks_layout layout = { .terms = parts * RECIPE_TERMS,
                                   .images = parts * shape_count(training->real->shape) };
    for (int i = 0; i < training->phase_count; i++) {
        size_t width = width_of(&training->phases[i].each);
        layout.width = larger(layout.width, width);
    }
    for (size_t i = 0; i < store_count(runner->store); i++) {
        const struct tensor *tensor = store_tensor(runner->store, i);
        size_t bytes = shape_count(tensor->shape) * dtype_bytes(tensor->dtype);
        layout.largest = larger(layout.largest, bytes);
    }
    return layout;
}

/* What this rank's part found out, to its place. */
static bool put_down(struct runner *runner, int i, struct error *err)
{
    size_t count = runner->training.phases[i].each.count;
    float *place =
        runner->ranks->places + (size_t)runner->ranks->rank * runner->ranks->layout.width;
    for (size_t k = 0; k < count; k++) {
        const struct tensor *tensor = runner->found_out[i][k];
        CHECK(tensor->dtype == DTYPE_F32, "%s is summed up, and is no f32", tensor->name);
        store_read(runner->store, tensor, place);
        place += shape_count(tensor->shape);
    }
    return store_check(runner->store, err);
}

/* The sum of all parts, from the shared memory. */
static void take_sums(struct runner *runner, int i)
{
    size_t count = runner->training.phases[i].sums.count;
    const float *from = runner->ranks->sum;
    for (size_t k = 0; k < count; k++) {
        struct tensor *tensor = runner->summed[i][k];
        store_write(runner->store, tensor, from);
        from += shape_count(tensor->shape);
    }
}

/* A round: as many parts at a time as there are ranks; the last may have fewer. Terms and places
 * are read before the second meeting, as who has come from it may write the next ones; the sums are
 * not written again before all have come to the meeting after that. */
static bool run_round(struct runner *runner, int i, int64_t first, int64_t parts,
                      const struct given *given, struct error *err)
{
    struct ranks *ranks = runner->ranks;
    int64_t own = first + ranks->rank, end = first + ranks->count;
    end = end < parts ? end : parts;
    bool ok =
        own >= parts || (run_part(runner, i, own, given, ranks->terms + own * RECIPE_TERMS, err) &&
                         put_down(runner, i, err));
    if (!ranks_meet(ranks, ok, err))
        return false;
    if (runner->sums[i])
        ranks_add(ranks, (int)(end - first), first == 0);
    for (int64_t part = first; part < end; part++)
        note_terms(runner, i, parts, ranks->terms + part * RECIPE_TERMS);
    return ranks_meet(ranks, true, err);
}

static bool run_shared_parts(struct runner *runner, int i, int64_t parts, const struct given *given,
                             struct error *err)
{
    for (int64_t first = 0; first < parts; first += runner->ranks->count)
        if (!run_round(runner, i, first, parts, given, err))
            return false;
    take_sums(runner, i);
    return true;
}

/* Rank 0: has the others make the plans of its stage, and gives them its tensors. */
static bool enter_stage(struct runner *runner, uint64_t step, struct error *err)
{
    struct ranks *ranks = runner->ranks;
    struct ranks_layout layout = runner_layout(runner);
    struct order order = { .kind = ORDER_STAGE, .step = step };
    ranks->pin = store_backend(runner->store)->pin;
    return ranks_map(ranks, &layout, err) && ranks_order(ranks, &order, err) &&
           ranks_gather(ranks, err) && ranks_spread(ranks, runner->store, err);
}

/* Rank 0: what all have to have before a step. */
static bool share_step(struct runner *runner, struct given *given, struct error *err)
{
    struct ranks *ranks = runner->ranks;
    struct order order = { .kind = ORDER_STEP, .step = given->step };
    if (!runner->spread && !enter_stage(runner, given->step, err))
        return false;
    runner->spread = true;
    memcpy(ranks->images, given->images, ranks->layout.images * sizeof *given->images);
    given->images = ranks->images;
    return ranks_order(ranks, &order, err);
}

bool runner_compare(struct runner *runner, struct error *err)
{
    struct ranks *ranks = runner->ranks;
    struct order order = { .kind = ORDER_COMPARE };
    if (!ranks || !runner->spread)
        return true;
    if (!ranks_order(ranks, &order, err))
        return false;
    struct digest own = ranks_digest(runner->store);
    if (!store_check(runner->store, err) || !ranks_gather(ranks, err))
        return false;
    for (size_t i = 0; i < ranks->peer_count; i++)
        if (!digest_equal(&ranks->peers[i].digest, &own))
            return error_set(err,
                             "%s has come to other weights than the first device: they are not "
                             "alike, or one computes wrongly; train on one device, or on others",
                             ranks->peers[i].device);
    return true;
}

/* ---- a step ---------------------------------------------------------------------------------- */

static bool run_phase(struct runner *runner, int i, const struct given *given, struct error *err)
{
    const struct training *training = &runner->training;
    struct plan *updates = runner->updates[i];
    int64_t parts = updates ? training->parts : 1;
    memset(runner->terms[i], 0, sizeof runner->terms[i]);
    bool ok = runner->ranks && updates ? run_shared_parts(runner, i, parts, given, err)
                                       : run_parts(runner, i, parts, given, err);
    if (!ok || !updates)
        return ok;
    training_write_step(training, updates, given->step);
    return plan_run(updates, given->step, training->seed, err);
}

bool runner_step(struct runner *runner, uint64_t step, const float *images, const int32_t *labels,
                 struct error *err)
{
    const struct training *training = &runner->training;
    struct given given = { step, images, labels };
    CHECK(runner_is_for(runner, step), "a step of another stage of growth");
    CHECK(!training->labels == !labels, "labels are for segmenters, and for all of their steps");
    if (runner->ranks && !runner->ranks->rank && !share_step(runner, &given, err))
        return false;
    for (int i = 0; i < training->phase_count; i++) {
        runner->ran[i] = step % (uint64_t)training->phases[i].interval == 0;
        if (runner->ran[i] && !run_phase(runner, i, &given, err))
            return false;
    }
    return true;
}
