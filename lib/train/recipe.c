/* What recipes share; see recipe.h. */
#include "train/recipe.h"

#include "base/parallel.h"
#include "base/random.h"
#include "nn/resample.h"
#include "tensor/gradient.h"
#include "train/checkpoint.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const struct recipe *const recipes[MODEL_COUNT] = {
    [MODEL_DDPM] = &recipe_ddpm,           [MODEL_STYLEGAN] = &recipe_stylegan,
    [MODEL_STYLEGAN2] = &recipe_stylegan2, [MODEL_PROGAN] = &recipe_progan,
    [MODEL_STYLEGAN3] = &recipe_stylegan3,
};

const struct recipe *recipe_of(const struct train_settings *settings)
{
    return recipes[settings->model];
}

void training_open(struct training *training, uint64_t seed, int64_t batch, int64_t parts,
                   const char *scheduled)
{
    arena_init(&training->arena);
    training->graph = graph_new();
    training->seed = seed;
    training->batch = batch;
    training->parts = parts;
    training->part = batch / parts;
    training->growth = growth_none(1, (uint64_t)batch);
    training->stage = growth_stage(&training->growth, 0);
    training->later = t_input(training->graph, "later", DTYPE_F32, SHAPE());
    training->scheduled = t_input(training->graph, scheduled, DTYPE_F32, SHAPE());
}

static double decay_at(const struct training *training, uint64_t step)
{
    return recipe_of(&training->settings)->decay(training, step);
}

/* ---- growth ---------------------------------------------------------------------------------- */

struct growth recipe_growth(const struct train_settings *settings, int size)
{
    const struct growth_settings *from = &settings->growth;
    if (!recipe_of(settings)->grows)
        return growth_none(size, (uint64_t)settings->batch);
    return (struct growth){ .first = (int)from->first_side,
                            .size = size,
                            .stable = (uint64_t)llround(from->stable_kimg * 1000),
                            .fade = (uint64_t)llround(from->fade_kimg * 1000),
                            .batch = (uint64_t)settings->batch,
                            .batch_most = (uint64_t)from->batch_most };
}

static bool is_power_of_2(int64_t number)
{
    return number > 0 && !(number & (number - 1));
}

static bool check_growth(const struct train_settings *settings, int size, struct error *err)
{
    struct growth growth = recipe_growth(settings, size);
    if (!is_power_of_2(size) || size < 4 || size > 1024)
        return error_set(err,
                         "images of side %d; it takes a power of 2 from 4 to 1024: ingest with "
                         "such a canvas or size",
                         size);
    if (!is_power_of_2(growth.first) || growth.first < 4 || growth.first > size)
        return error_set(err, "first_side %d; it begins with a power of 2 from 4 to %d",
                         growth.first, size);
    for (int side = growth.first; side <= size; side *= 2) {
        uint64_t batch = growth_batch(&growth, side);
        if (batch % (uint64_t)settings->accumulate)
            return error_set(err,
                             "a batch of %llu at the side %d cannot be computed in %lld equal "
                             "parts (accumulate)",
                             (unsigned long long)batch, side, (long long)settings->accumulate);
    }
    return true;
}

bool recipe_check(const struct train_settings *settings, int channels, int size, struct error *err)
{
    const struct recipe *recipe = recipe_of(settings);
    return ((!recipe->grows || check_growth(settings, size, err)) &&
            recipe->check(settings, channels, size, err)) ||
           error_prefix(err, "%s", recipe->name);
}

bool recipe_check_channels(int64_t channel_base, int size, struct error *err)
{
    return channel_base >= size || error_set(err, "channel_base %lld leaves no channel at side %d",
                                             (long long)channel_base, size);
}

bool recipe_check_groups(const struct train_settings *settings, int size, int group,
                         struct error *err)
{
    struct growth growth = recipe_growth(settings, size);
    for (int side = growth.first; side <= size; side *= 2) {
        uint64_t part = growth_batch(&growth, side) / (uint64_t)settings->accumulate;
        if (part > (uint64_t)group && part % (uint64_t)group)
            return error_set(err,
                             "a batch of %llu at a time at the side %d; above %d it must be a "
                             "multiple of it, the group of the minibatch standard deviation",
                             (unsigned long long)part, side, group);
    }
    return true;
}

/* (N,C,S,S) → (N,C,side,side): means over squares. */
static struct node *shrink(struct node *x, int64_t side)
{
    int64_t n = dim(x, 0), c = dim(x, 1), by = dim(x, 2) / side;
    if (by == 1)
        return x;
    struct node *squares = t_reshape(x, SHAPE(n, c, side, by, side, by));
    return t_reshape(t_mean(squares, AXES(3, 5)), SHAPE(n, c, side, side));
}

/* While a stage fades, images are mixed with those of the level before (process_reals of the
 * official train.py). */
struct node *recipe_shown(struct node *images, int side, struct node *alpha)
{
    struct node *now = shrink(images, side);
    if (!alpha)
        return now;
    struct node *before = nn_nearest2(shrink(now, side / 2));
    return t_add(before, t_mul(t_sub(now, before), alpha));
}

bool training_init_at(struct training *training, const struct train_settings *settings,
                      int channels, int size, uint64_t step, struct error *err)
{
    *training = (struct training){ .settings = *settings, .channels = channels, .size = size };
    const struct recipe *recipe = recipe_of(settings);
    const struct train_settings *resolved = &training->settings;
    if (!train_settings_resolve(&training->settings, size, err))
        return error_prefix(err, "%s", recipe->name);
    if (!recipe_check(resolved, channels, size, err))
        return false;
    struct growth growth = recipe_growth(resolved, size);
    struct stage stage = growth_stage(&growth, step);
    training_open(training, (uint64_t)resolved->seed, (int64_t)stage.batch, resolved->accumulate,
                  "decay");
    training->growth = growth;
    training->stage = stage;
    training->real =
        t_input(training->graph, "real", DTYPE_F32, SHAPE(training->part, channels, size, size));
    if (stage.fading)
        training->alpha = t_input(training->graph, "alpha", DTYPE_F32, SHAPE());
    training->shown = recipe_shown(training->real, stage.side, training->alpha);
    training->decay = training->scheduled;
    training->schedule = decay_at;
    training->precision = resolved->precision;
    training->algorithms = resolved->algorithms;
    training->accepts_bf16 = recipe->accepts_bf16;
    if (recipe->bf16_context)
        training->bf16_context = recipe->bf16_context(resolved, size);
    recipe->build(training);
    return true;
}

bool training_init(struct training *training, const struct train_settings *settings, int channels,
                   int size, struct error *err)
{
    return training_init_at(training, settings, channels, size, 0, err);
}

void training_release(struct training *training)
{
    for (int i = 0; i < training->phase_count; i++) {
        updates_release(&training->phases[i].each);
        updates_release(&training->phases[i].sums);
        updates_release(&training->phases[i].updates);
    }
    diffusion_release(&training->diffusion);
    graph_free(training->graph);
    arena_release(&training->arena);
}

struct phase *training_phase(struct training *training, const char *name, int64_t interval)
{
    CHECK(training->phase_count < RECIPE_PHASES, "more than %d phases", RECIPE_PHASES);
    struct phase *phase = &training->phases[training->phase_count++];
    phase->name = name;
    phase->interval = interval;
    return phase;
}

void phase_term(struct phase *phase, const char *name, struct node *value, double weight)
{
    CHECK(phase->term_count < RECIPE_TERMS, "more than %d terms", RECIPE_TERMS);
    phase->terms[phase->term_count++] = (struct term){ name, value, weight };
}

/* The mean over all parts of what each finds out. It is set down first, and summed up by a plan of
 * its own: fused with what it comes from, an addition may be rounded otherwise, and parts that
 * several processes compute (ranks.h) are to come to the same bits. */
static struct node *mean_of_parts(struct training *training, struct phase *phase,
                                  const struct node *of, struct node *value)
{
    struct graph *graph = training->graph;
    struct arena *arena = &training->arena;
    struct node *zeros = t_full(graph, of->shape, 0);
    struct node *part =
        t_state(graph, arena_format(arena, CHECKPOINT_PASSING "part.%s", of->leaf.name), zeros);
    struct node *sum =
        t_state(graph, arena_format(arena, CHECKPOINT_PASSING "%s", of->leaf.name), zeros);
    updates_add(&phase->each, part, value);
    updates_add(&phase->sums, sum, t_add(t_where(training->later, sum, zeros), part));
    return t_div(sum, nn_number(graph, (double)training->parts));
}

/* Of running averages of the forward pass each part finds out what they would become by itself. */
static void accumulate(struct training *training, struct phase *phase)
{
    struct updates states = phase->each;
    phase->each = (struct updates){ 0 };
    for (size_t i = 0; i < states.count; i++) {
        struct node *state = states.items[i].parameter;
        updates_add(&phase->updates, state,
                    mean_of_parts(training, phase, state, states.items[i].value));
    }
    updates_release(&states);
    for (size_t i = 0; i < phase->parameter_count; i++)
        phase->gradients[i] =
            mean_of_parts(training, phase, phase->parameters[i], phase->gradients[i]);
}

void phase_differentiate(struct training *training, struct phase *phase, const char *network)
{
    size_t count = graph_parameters(training->graph, network, NULL, 0);
    phase->parameter_count = count;
    phase->parameters = arena_array(&training->arena, struct node *, count);
    phase->gradients = arena_array(&training->arena, struct node *, count);
    graph_parameters(training->graph, network, phase->parameters, count);
    struct node *loss = NULL;
    for (int i = 0; i < phase->term_count; i++) {
        if (phase->terms[i].weight == 0)
            continue;
        struct node *part = t_scale(phase->terms[i].value, phase->terms[i].weight);
        loss = loss ? t_add(loss, part) : part;
    }
    grad(loss, phase->parameters, (int)count, phase->gradients);
    grad_zeros(phase->parameters, (int)count, phase->gradients);
    if (training->parts > 1)
        accumulate(training, phase);
}

/* Sampling. */

struct node *sampling_input(struct sampling *sampling, const char *name, enum dtype dtype,
                            struct shape shape)
{
    CHECK(sampling->input_count < RECIPE_INPUTS, "more than %d inputs", RECIPE_INPUTS);
    struct node *input = t_input(sampling->graph, name, dtype, shape);
    return sampling->inputs[sampling->input_count++] = input;
}

struct node *sampling_alpha(struct sampling *sampling)
{
    if (!sampling->stage.fading)
        return NULL;
    sampling->alpha = sampling->input_count;
    return sampling_input(sampling, "alpha", DTYPE_F32, SHAPE());
}

bool sampling_run(struct sampling *sampling, struct error *err)
{
    for (int i = 0; i < sampling->input_count; i++)
        plan_write(sampling->plan, sampling->inputs[i], sampling->values[i]);
    if (!plan_run(sampling->plan, 0, sampling->options.seed, err))
        return false;
    plan_read(sampling->plan, sampling->output, sampling->values[sampling->input_count]);
    return plan_check(sampling->plan, err);
}

struct drawing {
    const struct sampling *sampling;
    size_t values; /* an image */
    uint64_t stream, first;
    float *out;
};

static void draw_image(void *context, size_t image)
{
    const struct drawing *drawing = context;
    random_fill_normal(drawing->sampling->options.seed, drawing->stream,
                       (drawing->first + image) * drawing->values, drawing->values,
                       drawing->out + image * drawing->values);
}

void sampling_normal(const struct sampling *sampling, int input, const char *name, uint64_t first)
{
    size_t values = shape_count(sampling->inputs[input]->shape) / (size_t)sampling->batch;
    struct drawing drawing = { sampling, values, random_stream(name), first,
                               sampling->values[input] };
    parallel_items((size_t)sampling->batch, draw_image, &drawing);
}

bool sampling_draw(struct sampling *sampling, int count, const char *name, uint64_t first,
                   float *images, struct error *err)
{
    for (int i = 0; i < count; i++) {
        char own[64];
        snprintf(own, sizeof own, "%s.%d", name, i);
        sampling_normal(sampling, i, own, first);
    }
    if (!sampling_run(sampling, err))
        return false;
    memcpy(images, sampling->values[sampling->input_count],
           shape_count(sampling->output->shape) * sizeof *images);
    return true;
}

/* Scoring. */

struct node *scoring_images(struct sampling *scoring)
{
    int64_t c = scoring->channels, s = scoring->size;
    scoring->batch = 1;
    return sampling_input(scoring, "x", DTYPE_F32, SHAPE(1, c, s, s));
}

size_t scoring_one(const struct sampling *scoring)
{
    (void)scoring;
    return 1;
}

bool scoring_run(struct sampling *scoring, const float *image, double *scores, struct error *err)
{
    memcpy(scoring->values[0], image, shape_count(scoring->inputs[0]->shape) * sizeof *image);
    if (!sampling_run(scoring, err))
        return false;
    *scores = *scoring->values[scoring->input_count];
    return true;
}
