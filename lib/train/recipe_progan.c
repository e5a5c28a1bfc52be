/* ProGAN, trained as tkarras/progressive_growing_of_gans does: it grows (growth.h); WGAN-GP with a
 * penalty of drift, a step of the discriminator and then one of the generator, Adam without a first
 * moment. The running average of the generator is moved before the generator's step, by the values
 * of the step before: that is the official order.
 *
 * A batch in parts: every part has latents and groups of the minibatch standard deviation of its
 * own; gradients are averaged over the parts.
 */
#include "models/progan.h"
#include "nn/loss.h"
#include "train/recipe.h"

#include <string.h>

static struct progan network(const struct train_settings *settings, int channels, int size)
{
    const struct progan_settings *from = &settings->progan;
    return (struct progan){ .resolution = size,
                            .channels = channels,
                            .z_width = (int)from->z_width,
                            .channel_base = (int)from->channel_base,
                            .channel_max = (int)from->channel_max };
}

static bool check(const struct train_settings *settings, int channels, int size, struct error *err)
{
    (void)channels;
    return recipe_check_channels(settings->progan.channel_base, size, err) &&
           recipe_check_groups(settings, size, PROGAN_STDDEV_GROUP, err);
}

struct gan {
    struct training *training;
    struct progan config;
};

static struct node *generate(const struct gan *gan, const char *z)
{
    const struct training *training = gan->training;
    struct graph *graph = training->graph;
    struct node *latents = t_normal(graph, z, SHAPE(training->part, gan->config.z_width));
    graph_push(graph, "G");
    struct node *images =
        progan_generate(&gan->config, latents, training->stage.side, training->alpha);
    graph_pop(graph);
    return images;
}

static struct node *discriminate(const struct gan *gan, struct node *x)
{
    graph_push(x->graph, "D");
    struct node *scores = progan_discriminate(&gan->config, x, gan->training->alpha);
    graph_pop(x->graph);
    return scores;
}

static void finish(const struct gan *gan, struct phase *phase, const char *network_name,
                   const char *optimiser)
{
    struct training *training = gan->training;
    phase_differentiate(training, phase, network_name);
    optimise_adam(&phase->updates, phase->parameters, phase->gradients, phase->parameter_count,
                  nn_number(training->graph, training->settings.rate), .beta2 = 0.99,
                  .name = optimiser);
}

/* The official networks are shown images of full size at every level, whose pixels are repeated
 * f × f times, and average them again; so the gradient with respect to an image has there 1/f of
 * the norm that it has with respect to the image of the level's side. */
static struct node *penalty(const struct gan *gan, struct node *mixed)
{
    double f = gan->training->size / (double)gan->training->stage.side;
    return penalty_wgan(t_scale(discriminate(gan, mixed), 1 / f), mixed);
}

/* WGAN-GP (Gulrajani et al. 2017), its penalty at points between real and generated images, and a
 * weak pull of D(real) towards 0 (appendix A.1). */
static void build(struct training *training)
{
    const struct train_settings *settings = &training->settings;
    struct gan gan = { training, network(settings, training->channels, training->size) };
    struct node *real = training->shown, *fake = generate(&gan, "Dmain.z");
    struct node *mix = t_uniform(training->graph, "Dmain.mix", SHAPE(training->part, 1, 1, 1));
    struct node *mixed = between(real, fake, mix);
    struct node *real_score = discriminate(&gan, real), *fake_score = discriminate(&gan, fake);
    struct phase *d = training_phase(training, "Dmain", 1);
    phase_term(d, "d_fake", t_mean_all(fake_score), 1);
    phase_term(d, "d_real", t_mean_all(real_score), -1);
    phase_term(d, "penalty", penalty(&gan, mixed), settings->progan.penalty);
    phase_term(d, "drift", t_mean_all(t_square(real_score)), settings->progan.drift);
    finish(&gan, d, "D.", "adam_D");
    struct phase *average = training_phase(training, "average", 1);
    struct phase *g = training_phase(training, "Gmain", 1);
    phase_term(g, "g", t_mean_all(discriminate(&gan, generate(&gan, "Gmain.z"))), -1);
    size_t count = graph_parameters(training->graph, "G.", NULL, 0);
    struct node **all = arena_array(&training->arena, struct node *, count);
    graph_parameters(training->graph, "G.", all, count);
    average_parameters(&average->updates, all, count, training->decay);
    finish(&gan, g, "G.", "adam_G");
}

static double decay(const struct training *training, uint64_t step)
{
    (void)step;
    return training->settings.progan.average;
}

/* The blocks of 4×4 stay f32: statistics of a batch are taken there, and there is little to do. */
static bool accepts_bf16(const char *scope, int64_t context)
{
    (void)context;
    return !strstr(scope, ".4x4");
}

/* ---- sampling -------------------------------------------------------------------------------- */

static void build_sampling(struct sampling *sampling)
{
    struct progan config = network(&sampling->settings, sampling->channels, sampling->size);
    struct shape shape = SHAPE(sampling->batch, config.z_width);
    struct node *z = sampling_input(sampling, "z", DTYPE_F32, shape);
    graph_push(sampling->graph, "G");
    sampling->output = progan_generate(&config, z, sampling->stage.side, sampling_alpha(sampling));
    graph_pop(sampling->graph);
}

static bool draw(struct sampling *sampling, uint64_t first, float *images, struct error *err)
{
    return sampling_draw(sampling, 1, "sample.progan", first, images, err);
}

/* ---- scoring --------------------------------------------------------------------------------- */

static void build_scoring(struct sampling *scoring)
{
    struct progan config = network(&scoring->settings, scoring->channels, scoring->size);
    struct node *x = scoring_images(scoring), *alpha = sampling_alpha(scoring);
    x = recipe_shown(x, scoring->stage.side, alpha);
    graph_push(scoring->graph, "D");
    scoring->output = progan_discriminate(&config, x, alpha);
    graph_pop(scoring->graph);
}

const struct recipe recipe_progan = {
    .name = "progan",
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
