/* What recipes share; see recipe.h. */
#include "train/recipe.h"

#include "base/parallel.h"
#include "base/random.h"
#include "tensor/gradient.h"
#include "train/checkpoint.h"

static const struct recipe *const recipes[MODEL_COUNT] = {
    [MODEL_DDPM] = &recipe_ddpm,
    [MODEL_STYLEGAN2] = &recipe_stylegan2,
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
    training->later = t_input(training->graph, "later", DTYPE_F32, SHAPE());
    training->scheduled = t_input(training->graph, scheduled, DTYPE_F32, SHAPE());
}

static double decay_at(const struct training *training, uint64_t step)
{
    return recipe_of(&training->settings)->decay(&training->settings, step);
}

bool training_init(struct training *training, const struct train_settings *settings, int channels,
                   int size, struct error *err)
{
    *training = (struct training){ .settings = *settings, .channels = channels, .size = size };
    const struct recipe *recipe = recipe_of(settings);
    const struct train_settings *resolved = &training->settings;
    if (!train_settings_resolve(&training->settings, size, err) ||
        !recipe->check(resolved, channels, size, err))
        return error_prefix(err, "%s", recipe->name);
    training_open(training, (uint64_t)resolved->seed, resolved->batch, resolved->accumulate,
                  "decay");
    training->real =
        t_input(training->graph, "real", DTYPE_F32, SHAPE(training->part, channels, size, size));
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

void training_release(struct training *training)
{
    for (int i = 0; i < training->phase_count; i++) {
        updates_release(&training->phases[i].each);
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

/* sum = later · sum + gradient / parts; the optimiser is given the sum. */
static void accumulate(struct training *training, struct phase *phase)
{
    double share = 1 / (double)training->parts;
    for (size_t i = 0; i < phase->parameter_count; i++) {
        const struct node *parameter = phase->parameters[i];
        struct node *sum =
            t_state(training->graph,
                    arena_format(&training->arena, CHECKPOINT_PASSING "%s", parameter->leaf.name),
                    t_full(training->graph, parameter->shape, 0));
        updates_add(&phase->each, sum,
                    t_add(t_mul(sum, training->later), t_scale(phase->gradients[i], share)));
        phase->gradients[i] = sum;
    }
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
