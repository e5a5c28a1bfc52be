/* Denoising diffusion, trained as guided-diffusion does: AdamW without decay, the running average
 * of the weights, ε-prediction, on request learned variances; sampled by ancestral steps (Ho et al.
 * 2020, algorithm 2) or DDIM (Song et al. 2021, η = 0), over all times or evenly spaced ones.
 */
#include "base/parallel.h"
#include "models/ddpm.h"
#include "train/recipe.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static struct ddpm network(const struct train_settings *settings, int channels, int size)
{
    const struct ddpm_settings *from = &settings->ddpm;
    struct ddpm ddpm = { .size = size,
                         .channels = channels,
                         .base = (int)from->base,
                         .blocks = (int)from->blocks,
                         .heads = (int)from->heads,
                         .learned_variance = from->learned_variance };
    ddpm.levels = train_list(&from->mult, ddpm.mult);
    train_list(&from->attention, ddpm.attention);
    return ddpm;
}

static bool check(const struct train_settings *settings, int channels, int size, struct error *err)
{
    struct ddpm ddpm = network(settings, channels, size);
    if (size % (1 << (ddpm.levels - 1)))
        return error_set(err, "images of side %d cannot be halved %d times, as %d levels (mult) do",
                         size, ddpm.levels - 1, ddpm.levels);
    for (int level = 0; level < ddpm.levels; level++) {
        int width = ddpm.base * ddpm.mult[level];
        if (width % 32 || width % ddpm.heads)
            return error_set(err,
                             "level %d has base · mult = %d channels; it takes a multiple of 32 "
                             "and of the %d heads",
                             level, width, ddpm.heads);
    }
    return true;
}

static void build(struct training *training)
{
    const struct train_settings *settings = &training->settings;
    struct graph *graph = training->graph;
    struct diffusion *diffusion = &training->diffusion;
    struct ddpm ddpm = network(settings, training->channels, training->size);
    ddpm.dropout = settings->ddpm.dropout;
    diffusion_init(diffusion, (enum schedule)settings->ddpm.schedule, (int)settings->ddpm.steps);
    struct node *x = training->real, *noise = t_normal(graph, "noise", x->shape);
    struct node *u = t_uniform(graph, "t", SHAPE(training->part));
    struct node *t = t_cast(t_scale(u, diffusion->steps), DTYPE_I32); /* (N), 0 … steps-1 */
    struct node *xt = diffusion_noised(diffusion, x, t, noise);       /* (N,C,S,S) */
    graph_push(graph, "model");
    struct node *output = ddpm_build(&ddpm, xt, t); /* (N,C or 2C,S,S) */
    graph_pop(graph);
    training->output = output;
    struct diffusion_terms terms = diffusion_loss(diffusion, x, xt, t, noise, output);
    struct phase *phase = training_phase(training, "main", 1);
    phase_term(phase, "mse", terms.mse, 1);
    if (terms.bound)
        phase_term(phase, "vb", terms.bound, 1);
    phase_differentiate(training, phase, "model.");
    optimise_adam(&phase->updates, phase->parameters, phase->gradients, phase->parameter_count,
                  nn_number(graph, settings->rate), .decoupled = true, .average = training->decay);
}

/* The decay asked for; (1 + step)/(10 + step) while that is less, so that a short run's average is
 * not of its first weights. */
static double decay(const struct training *training, uint64_t step)
{
    return fmin(training->settings.ddpm.average, (1.0 + (double)step) / (10.0 + (double)step));
}

/* ---- sampling -------------------------------------------------------------------------------- */

enum { INPUT_X, INPUT_T, INPUT_NOISE };

/* Evenly spaced times that begin and end where all times do. */
static void choose_times(struct sampling *sampling)
{
    int all = sampling->diffusion.steps,
        usual = sampling->options.sampler == SAMPLER_DDIM ? 50 : all;
    int count = sampling->options.steps ? (int)sampling->options.steps : usual;
    count = count < all ? count : all;
    sampling->options.steps = count;
    sampling->times = arena_array(&sampling->arena, int, (size_t)count);
    for (int i = 0; i < count; i++)
        sampling->times[i] = count > 1 ? (int)lround((double)i * (all - 1) / (count - 1)) : all - 1;
}

static void build_sampling(struct sampling *sampling)
{
    const struct train_settings *settings = &sampling->settings;
    struct ddpm ddpm = network(settings, sampling->channels, sampling->size);
    int64_t n = sampling->batch, c = sampling->channels, s = sampling->size;
    diffusion_init(&sampling->diffusion, (enum schedule)settings->ddpm.schedule,
                   (int)settings->ddpm.steps);
    choose_times(sampling);
    struct node *x = sampling_input(sampling, "x", DTYPE_F32, SHAPE(n, c, s, s));
    struct node *t = sampling_input(sampling, "t", DTYPE_I32, SHAPE(n));
    sampling_input(sampling, "noise", DTYPE_F32, SHAPE(n, c, s, s)); /* added on the host */
    graph_push(sampling->graph, "model");
    sampling->output = ddpm_build(&ddpm, x, t);
    graph_pop(sampling->graph);
}

/* One step from time `at` to the one before of those visited, as numbers. With x0 = (xt − √(1−α̅)
 * ε)/√α̅ within [-1,1], the result is mean_x0·x0 + mean_xt·xt + σ·noise. */
struct move {
    double signal, noise;    /* √α̅, √(1−α̅) at this time */
    double mean_x0, mean_xt; /* of the posterior of the visited times */
    double low, high;        /* log of the posterior's variance, and of β */
    double before;           /* α̅ at the time before; 1 at the end */
    bool last;
};

/* The process over the visited times alone is a diffusion with β = 1 − α̅ₜ/α̅ₛ (Nichol and Dhariwal
 * 2021, section 4). */
static struct move move_at(const struct sampling *sampling, int i)
{
    const double *alpha_bar = sampling->diffusion.alpha_bar;
    double now = alpha_bar[sampling->times[i]];
    double before = i ? alpha_bar[sampling->times[i - 1]] : 1;
    double beta = 1 - now / before, variance = beta * (1 - before) / (1 - now);
    return (struct move){ .signal = sqrt(now),
                          .noise = sqrt(1 - now),
                          .mean_x0 = beta * sqrt(before) / (1 - now),
                          .mean_xt = (1 - before) * sqrt(1 - beta) / (1 - now),
                          .low = log(fmax(variance, 1e-20)),
                          .high = log(beta),
                          .before = before,
                          .last = !i };
}

/* Ancestral: variance β, or between β and the posterior's as the network says. */
static double ancestral(const struct move *move, double x0, double xt, const float *fraction,
                        double noise)
{
    double share = fraction ? 0.5 * *fraction + 0.5 : 1;
    double sigma = move->last ? 0 : exp(0.5 * (share * move->high + (1 - share) * move->low));
    return move->mean_x0 * x0 + move->mean_xt * xt + sigma * noise;
}

/* DDIM, eq. 12 with σ = 0: towards the noise that x0, after clipping, implies. */
static double ddim(const struct move *move, double x0, double xt)
{
    double epsilon = (xt - move->signal * x0) / move->noise;
    return sqrt(move->before) * x0 + sqrt(1 - move->before) * epsilon;
}

struct stepping {
    const struct sampling *sampling;
    struct move move;
};

static void step_image(void *context, size_t image)
{
    const struct stepping *stepping = context;
    const struct sampling *sampling = stepping->sampling;
    const struct move *move = &stepping->move;
    size_t values = (size_t)sampling->channels * sampling->size * sampling->size;
    bool learned = sampling->settings.ddpm.learned_variance;
    const float *output = sampling->values[sampling->input_count] + image * values * (1 + learned);
    const float *noise = sampling->values[INPUT_NOISE] + image * values;
    float *x = sampling->values[INPUT_X] + image * values;
    for (size_t i = 0; i < values; i++) {
        double guess = (x[i] - move->noise * output[i]) / move->signal;
        double x0 = fmin(fmax(guess, -1), 1);
        x[i] = (float)(sampling->options.sampler == SAMPLER_DDIM
                           ? ddim(move, x0, x[i])
                           : ancestral(move, x0, x[i], learned ? &output[values + i] : NULL,
                                       noise[i]));
    }
}

static bool draw(struct sampling *sampling, uint64_t first, float *images, struct error *err)
{
    size_t values = shape_count(sampling->inputs[INPUT_X]->shape);
    sampling_normal(sampling, INPUT_X, "sample.x", first);
    for (int i = (int)sampling->options.steps; i-- > 0;) {
        struct stepping stepping = { sampling, move_at(sampling, i) };
        int32_t *t = (int32_t *)(void *)sampling->values[INPUT_T];
        for (int image = 0; image < sampling->batch; image++)
            t[image] = sampling->times[i];
        char name[64];
        snprintf(name, sizeof name, "sample.noise.%d", i);
        if (sampling->options.sampler == SAMPLER_ANCESTRAL && !stepping.move.last)
            sampling_normal(sampling, INPUT_NOISE, name, first);
        if (!sampling_run(sampling, err))
            return false;
        parallel_items((size_t)sampling->batch, step_image, &stepping);
    }
    for (size_t i = 0; i < values; i++)
        images[i] = sampling->values[INPUT_X][i];
    return true;
}

/* ---- validation ------------------------------------------------------------------------------ */

/* The loss of each image of a batch, at times and under noise that are inputs. */
static void build_validation(struct sampling *validation)
{
    const struct train_settings *settings = &validation->settings;
    struct ddpm ddpm = network(settings, validation->channels, validation->size);
    struct diffusion *diffusion = &validation->diffusion;
    int64_t n = validation->batch, c = validation->channels, s = validation->size;
    diffusion_init(diffusion, (enum schedule)settings->ddpm.schedule, (int)settings->ddpm.steps);
    struct node *x = sampling_input(validation, "x", DTYPE_F32, SHAPE(n, c, s, s));
    struct node *t = sampling_input(validation, "t", DTYPE_I32, SHAPE(n));
    struct node *noise = sampling_input(validation, "noise", DTYPE_F32, SHAPE(n, c, s, s));
    graph_push(validation->graph, "model");
    struct node *output = ddpm_build(&ddpm, diffusion_noised(diffusion, x, t, noise), t);
    graph_pop(validation->graph);
    struct node *error = t_sub(t_slice(output, 1, 0, c), noise); /* ε's part of (n,C or 2C,S,S) */
    validation->output = t_mean(t_mul(error, error), AXES(1, 2, 3)); /* (n,1,1,1) */
}

/* Times are spread evenly by the golden ratio, so that any number of images has all noise levels.
 */
static bool validate(struct sampling *validation, uint64_t first, const float *images,
                     float *losses, struct error *err)
{
    static const double GOLDEN = 0.61803398874989485;
    int32_t *t = (int32_t *)(void *)validation->values[INPUT_T];
    for (int i = 0; i < validation->batch; i++) {
        double share = fmod(((double)first + i + 0.5) * GOLDEN, 1);
        t[i] = (int32_t)(share * validation->diffusion.steps);
    }
    memcpy(validation->values[INPUT_X], images,
           shape_count(validation->inputs[INPUT_X]->shape) * sizeof *images);
    sampling_normal(validation, INPUT_NOISE, "validate.noise", first);
    if (!sampling_run(validation, err))
        return false;
    memcpy(losses, validation->values[validation->input_count],
           (size_t)validation->batch * sizeof *losses);
    return true;
}

/* ---- scoring --------------------------------------------------------------------------------- */

/* Times, evenly spaced over the first fifth of all: little noise, where it shows whether a network
 * knows an image. From there on training images and others cannot be told apart even of a network
 * that has learnt the former by heart (docs/results.md has the measurement; Carlini et al. 2023 and
 * Duan et al. 2023 found t = 100 of 1000 the best). */
enum { SCORE_TIMES = 8 };
static const double SCORE_PART = 0.2;

/* All times in one batch of the same image, so that no other image has a part in its losses. */
static void build_scoring(struct sampling *scoring)
{
    scoring->batch = SCORE_TIMES;
    build_validation(scoring);
    scoring->times = arena_array(&scoring->arena, int, SCORE_TIMES);
    for (int i = 0; i < SCORE_TIMES; i++) {
        double share = SCORE_PART * (i + 0.5) / SCORE_TIMES;
        scoring->times[i] = (int)(share * scoring->diffusion.steps);
    }
}

static size_t score_count(const struct sampling *scoring)
{
    (void)scoring;
    return SCORE_TIMES;
}

/* At each time the mean loss over the draws of noise. */
static bool score(struct sampling *scoring, const float *image, double *scores, struct error *err)
{
    size_t values = shape_count(scoring->inputs[INPUT_X]->shape) / SCORE_TIMES;
    int32_t *t = (int32_t *)(void *)scoring->values[INPUT_T];
    const float *losses = scoring->values[scoring->input_count];
    for (size_t i = 0; i < SCORE_TIMES; i++) {
        t[i] = scoring->times[i];
        memcpy(scoring->values[INPUT_X] + i * values, image, values * sizeof *image);
        scores[i] = 0;
    }
    for (int64_t d = 0; d < scoring->draws; d++) {
        sampling_normal(scoring, INPUT_NOISE, "score.noise", (uint64_t)d * SCORE_TIMES);
        if (!sampling_run(scoring, err))
            return false;
        for (size_t i = 0; i < SCORE_TIMES; i++)
            scores[i] += losses[i] / (double)scoring->draws;
    }
    return true;
}

const struct recipe recipe_ddpm = {
    .name = "ddpm",
    .check = check,
    .build = build,
    .decay = decay,
    .build_sampling = build_sampling,
    .draw = draw,
    .build_validation = build_validation,
    .validate = validate,
    .build_scoring = build_scoring,
    .score_count = score_count,
    .score = score,
};
