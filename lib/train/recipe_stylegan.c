/* StyleGAN, trained as NVlabs/stylegan does: it grows (growth.h); logistic losses with R1 in every
 * step of the discriminator, then a step of the generator, Adam without a first moment, style
 * mixing, the running averages of w and of the generator. The latter is moved before the
 * generator's step, by the values of the step before: that is the official order.
 *
 * A batch in parts: every part has latents, a style-mixing cut-off and groups of the minibatch
 * standard deviation of its own, and moves the average of w; gradients are averaged over the parts.
 */
#include "models/stylegan.h"
#include "nn/loss.h"
#include "nn/style.h"
#include "train/recipe.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct stylegan network(const struct train_settings *settings, int channels, int size)
{
    const struct stylegan_settings *from = &settings->stylegan;
    return (struct stylegan){ .resolution = size,
                              .channels = channels,
                              .z_width = (int)from->z_width,
                              .w_width = (int)from->w_width,
                              .mapping_layers = (int)from->mapping_layers,
                              .channel_base = (int)from->channel_base,
                              .channel_max = (int)from->channel_max };
}

static bool check(const struct train_settings *settings, int channels, int size, struct error *err)
{
    (void)channels;
    if (size < 8)
        return error_set(err, "images of side %d; it takes a power of 2 from 8 to 1024", size);
    return recipe_check_channels(settings->stylegan.channel_base, size, err) &&
           recipe_check_groups(settings, size, STYLEGAN_STDDEV_GROUP, err);
}

struct gan {
    struct training *training;
    struct stylegan config;
    struct stylegan_level level;
};

static const char *name_in(const struct gan *gan, const struct phase *phase, const char *name)
{
    return arena_format(&gan->training->arena, "%s.%s", phase->name, name);
}

/* A batch of images. The phase's update moves the average of w. */
static struct node *generate(const struct gan *gan, struct phase *phase)
{
    struct graph *graph = gan->training->graph;
    const struct stylegan *config = &gan->config;
    int layers = stylegan_styles_count(gan->level.side);
    struct shape shape = SHAPE(gan->training->part, config->z_width);
    struct node *z = t_normal(graph, name_in(gan, phase, "z"), shape);
    struct node *other = t_normal(graph, name_in(gan, phase, "other"), shape);
    struct node *cutoff = nn_mixing_cutoff(graph, name_in(gan, phase, "cutoff"), layers,
                                           gan->training->settings.stylegan.mixing);
    struct node *noise[STYLEGAN_LAYERS];
    for (int i = 0; i < layers; i++) {
        const char *name = arena_format(&gan->training->arena, "%s.noise.%d", phase->name, i);
        noise[i] = t_normal(graph, name, stylegan_noise_shape(i, gan->training->part));
    }
    graph_push(graph, "G");
    struct node *w = stylegan_map(config, z), *average = stylegan_w_average(config, graph);
    updates_add(&phase->each, average, nn_follow_styles(average, w));
    struct node *styles = nn_mix_styles(w, stylegan_map(config, other), layers, cutoff);
    struct node *images = stylegan_synthesize(config, gan->level, styles, noise);
    graph_pop(graph);
    return images;
}

static struct node *discriminate(const struct gan *gan, struct node *x)
{
    graph_push(x->graph, "D");
    struct node *logits = stylegan_discriminate(&gan->config, gan->level, x);
    graph_pop(x->graph);
    return logits;
}

/* The rate is that of sides up to 64; larger ones are learnt faster (the official train.py). */
static double rate(const struct training *training)
{
    int side = training->stage.side;
    double factor = side <= 64 ? 1 : side == 128 ? 1.5 : side == 256 ? 2 : 3;
    return training->settings.rate * factor;
}

static void finish(const struct gan *gan, struct phase *phase, const char *network_name,
                   const char *optimiser)
{
    phase_differentiate(gan->training, phase, network_name);
    optimise_adam(&phase->updates, phase->parameters, phase->gradients, phase->parameter_count,
                  nn_number(gan->training->graph, rate(gan->training)), .beta2 = 0.99,
                  .name = optimiser);
}

/* R1's weight for the gradient at images of the stage's side. The official networks take images of
 * the full size, always, and shrink them by means: of each pixel here there are (size/side)² there,
 * each with that part of its gradient, and squares are summed. */
static double r1_weight(const struct training *training)
{
    double share = (double)training->stage.side / training->size;
    return training->settings.stylegan.gamma / 2 * share * share;
}

static void build(struct training *training)
{
    struct gan gan = { training,
                       network(&training->settings, training->channels, training->size),
                       { training->stage.side, training->alpha } };
    struct phase *d = training_phase(training, "Dmain", 1);
    struct node *fake = discriminate(&gan, generate(&gan, d));
    struct node *real = discriminate(&gan, training->shown);
    phase_term(d, "d_fake", loss_fake(fake), 1);
    phase_term(d, "d_real", loss_real(real), 1);
    if (training->settings.stylegan.gamma > 0)
        phase_term(d, "r1", penalty_r1(real, training->shown), r1_weight(training));
    finish(&gan, d, "D.", "adam_D");
    struct phase *average = training_phase(training, "average", 1);
    struct phase *g = training_phase(training, "Gmain", 1);
    phase_term(g, "g", loss_real(discriminate(&gan, generate(&gan, g))), 1);
    finish(&gan, g, "G.", "adam_G");
    average_parameters(&average->updates, g->parameters, g->parameter_count, training->decay);
}

static double decay(const struct training *training, uint64_t step)
{
    (void)step;
    double half_life = training->settings.stylegan.average_kimg * 1000;
    return pow(0.5, (double)training->batch / fmax(half_life, 1e-8));
}

/* Blocks from 8×8 on, "….8x8.Conv1": not the mapping nor what makes or takes images, nor the
 * discriminator's last block, where statistics of a batch are taken. */
static bool accepts_bf16(const char *scope, int64_t context)
{
    (void)context;
    for (const char *at = scope; at; at = strchr(at, '.')) {
        at += *at == '.';
        if (isdigit((unsigned char)*at))
            return strtol(at, NULL, 10) > 4;
    }
    return false;
}

/* ---- sampling -------------------------------------------------------------------------------- */

/* z, then the noise of each layer, every image's own; then the share of what fades in. */
static void build_sampling(struct sampling *sampling)
{
    struct stylegan config = network(&sampling->settings, sampling->channels, sampling->size);
    struct graph *graph = sampling->graph;
    const struct draw_options *options = &sampling->options;
    int64_t n = sampling->batch;
    int side = sampling->stage.side, layers = stylegan_styles_count(side);
    struct node *noise[STYLEGAN_LAYERS];
    struct node *z = sampling_input(sampling, "z", DTYPE_F32, SHAPE(n, config.z_width));
    for (int i = 0; i < layers; i++) {
        const char *name = arena_format(&sampling->arena, "noise.%d", i);
        noise[i] = sampling_input(sampling, name, DTYPE_F32, stylegan_noise_shape(i, n));
    }
    struct stylegan_level level = { side, sampling_alpha(sampling) };
    graph_push(graph, "G");
    struct node *styles = nn_styles(stylegan_map(&config, z), layers);
    if (options->truncation != 1)
        styles = stylegan_truncate(styles, stylegan_w_average(&config, graph), options->truncation,
                                   (int)options->truncation_cutoff);
    sampling->output = stylegan_synthesize(&config, level, styles, noise);
    graph_pop(graph);
}

static bool draw(struct sampling *sampling, uint64_t first, float *images, struct error *err)
{
    return sampling_draw(sampling, 1 + stylegan_styles_count(sampling->stage.side),
                         "sample.stylegan", first, images, err);
}

/* ---- scoring --------------------------------------------------------------------------------- */

static void build_scoring(struct sampling *scoring)
{
    struct stylegan config = network(&scoring->settings, scoring->channels, scoring->size);
    struct node *x = scoring_images(scoring);
    struct stylegan_level level = { scoring->stage.side, sampling_alpha(scoring) };
    x = recipe_shown(x, level.side, level.alpha);
    graph_push(scoring->graph, "D");
    scoring->output = stylegan_discriminate(&config, level, x);
    graph_pop(scoring->graph);
}

const struct recipe recipe_stylegan = {
    .name = "stylegan",
    .check = check,
    .build = build,
    .accepts_bf16 = accepts_bf16,
    .grows = true,
    .decay = decay,
    .build_sampling = build_sampling,
    .draw = draw,
    .build_scoring = build_scoring,
    .score_count = scoring_one,
    .score = scoring_run,
    .score_by_discriminator = true,
};
