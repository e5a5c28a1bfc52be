/* StyleGAN 2, trained as stylegan2-ada-pytorch does: logistic losses, lazy R1 on the discriminator,
 * lazy path length on the generator with half the batch, rates and betas corrected for the lazy
 * phases by k/(k+1), style mixing, the running averages of w and of the generator.
 *
 * On request the discriminator sees augmented images only, adaptively (models/ada.h). R1 is
 * with respect to the images before augmentation, and passes through it.
 *
 * A batch in parts is what the official code calls rounds: every part has latents, a style-mixing
 * cut-off and groups of the minibatch standard deviation of its own, and moves the averages of w
 * and of path length; gradients are averaged over the parts.
 */
#include "models/ada.h"
#include "models/stylegan2.h"
#include "nn/loss.h"
#include "train/recipe.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double PATH_DECAY = 0.01, CLAMP = 256;

static struct stylegan2 network(const struct train_settings *settings, int channels, int size)
{
    const struct stylegan2_settings *from = &settings->stylegan2;
    return (struct stylegan2){ .resolution = size,
                               .channels = channels,
                               .z_width = (int)from->z_width,
                               .w_width = (int)from->w_width,
                               .mapping_layers = (int)from->mapping_layers,
                               .channel_base = (int)from->channel_base,
                               .channel_max = (int)from->channel_max,
                               .clamp = settings->precision == PRECISION_BF16 ? CLAMP : 0 };
}

static bool check(const struct train_settings *settings, int channels, int size, struct error *err)
{
    (void)channels;
    const struct stylegan2_settings *gan = &settings->stylegan2;
    if (size < 8 || size > 1024 || (size & (size - 1)))
        return error_set(err,
                         "images of side %d; it takes a power of 2 from 8 to 1024: ingest with "
                         "such a canvas or size",
                         size);
    int64_t part = settings->batch / settings->accumulate;
    if (part > STYLEGAN2_STDDEV_GROUP && part % STYLEGAN2_STDDEV_GROUP)
        return error_set(
            err,
            "a batch of %lld at a time; above %d it must be a multiple of it, the group of "
            "the minibatch standard deviation",
            (long long)part, STYLEGAN2_STDDEV_GROUP);
    if (gan->channel_base / size < 1)
        return error_set(err, "channel_base %lld leaves no channel at side %d",
                         (long long)gan->channel_base, size);
    return true;
}

struct gan {
    struct training *training;
    struct stylegan2 config;
    struct node *p; /* of augmentation, a state; NULL: there is none */
};

/* Where style mixing begins: layers beyond it get the other style. With the probability of mixing
 * the first of these is 1 … L-1; else there is none. */
static struct node *draw_cutoff(const struct gan *gan, const char *name)
{
    struct graph *graph = gan->training->graph;
    int layers = stylegan2_styles_count(&gan->config);
    double probability = gan->training->settings.stylegan2.mixing;
    struct node *mixes = t_greater(nn_number(graph, probability), t_uniform(graph, name, SHAPE()));
    struct node *first = t_scale(t_uniform(graph, name, SHAPE()), layers - 1); /* from 0 */
    return t_where(mixes, first, nn_number(graph, layers));
}

static const char *name_in(const struct gan *gan, const struct phase *phase, const char *name)
{
    return arena_format(&gan->training->arena, "%s.%s", phase->name, name);
}

/* n images, and their styles (N,L,w). The phase's update moves the average of w. */
static struct node *generate(struct gan *gan, struct phase *phase, int64_t n, struct node **styles)
{
    struct graph *graph = gan->training->graph;
    const struct stylegan2 *config = &gan->config;
    struct shape shape = SHAPE(n, config->z_width);
    struct node *z = t_normal(graph, name_in(gan, phase, "z"), shape);
    struct node *other = t_normal(graph, name_in(gan, phase, "other"), shape);
    struct node *cutoff = draw_cutoff(gan, name_in(gan, phase, "cutoff"));
    struct node *noise[STYLEGAN2_LAYERS];
    for (int i = 0; i + 1 < stylegan2_styles_count(config); i++) {
        const char *name = arena_format(&gan->training->arena, "%s.noise.%d", phase->name, i);
        noise[i] = t_normal(graph, name, stylegan2_noise_shape(i, n));
    }
    graph_push(graph, "G");
    struct node *w = stylegan2_map(config, z), *average = stylegan2_w_average(config, graph);
    updates_add(&phase->each, average, stylegan2_w_average_next(average, w));
    *styles = stylegan2_mix(config, w, stylegan2_map(config, other), cutoff);
    struct node *images = stylegan2_synthesize(config, *styles, noise);
    graph_pop(graph);
    return images;
}

/* What the discriminator says of images, augmented where that is asked for. */
static struct node *discriminate(const struct gan *gan, const struct phase *phase, struct node *x,
                                 const char *what)
{
    if (gan->p)
        x = ada_augment(x, gan->p,
                        arena_format(&gan->training->arena, "%s.augment.%s", phase->name, what));
    graph_push(gan->training->graph, "D");
    struct node *logits = stylegan2_discriminate(&gan->config, x);
    graph_pop(gan->training->graph);
    return logits;
}

/* Adam(0, .99). A network with a lazy phase every k steps takes k + 1 updates in k steps: rate and
 * betas are corrected by k/(k+1) (Karras et al. 2020, appendix B). */
static void finish(const struct gan *gan, struct phase *phase, const char *network_name)
{
    const struct train_settings *settings = &gan->training->settings;
    const struct stylegan2_settings *from = &settings->stylegan2;
    bool generator = strcmp(network_name, "G.") == 0;
    double k = (double)(generator ? from->path_interval : from->r1_interval);
    bool lazy = generator ? from->path_weight > 0 : from->gamma > 0;
    double share = lazy ? k / (k + 1) : 1;
    phase_differentiate(gan->training, phase, network_name);
    optimise_adam(&phase->updates, phase->parameters, phase->gradients, phase->parameter_count,
                  nn_number(gan->training->graph, settings->rate * share),
                  .beta2 = pow(0.99, share), .name = generator ? "adam_G" : "adam_D");
}

static void add_path_phase(struct gan *gan)
{
    const struct train_settings *settings = &gan->training->settings;
    int64_t interval = settings->stylegan2.path_interval;
    int64_t n = gan->training->part > 1 ? gan->training->part / 2 : 1;
    struct graph *graph = gan->training->graph;
    struct phase *phase = training_phase(gan->training, "Gpl", interval);
    struct node *styles, *images = generate(gan, phase, n, &styles);
    struct node *direction = t_normal(graph, "Gpl.direction", images->shape);
    struct node *state = t_state(graph, "path_mean", nn_number(graph, 0)), *mean = state;
    struct node *lengths = path_lengths(images, styles, direction);
    phase_term(phase, "path", penalty_path(lengths, &mean, PATH_DECAY),
               settings->stylegan2.path_weight * (double)interval);
    updates_add(&phase->each, state, mean);
    finish(gan, phase, "G.");
}

/* ---- augmentation ---------------------------------------------------------------------------- */

enum { AUGMENT_INTERVAL = 4 };

/* Signs of D(real) are summed up over the steps between two adjustments (r_t of the paper). */
static void note_signs(struct gan *gan, struct phase *phase, struct node *real)
{
    struct graph *graph = gan->training->graph;
    struct node *zero = nn_number(graph, 0);
    struct node *sum = t_state(graph, "augment.signs", zero),
                *count = t_state(graph, "augment.count", zero);
    struct node *mean = t_reshape(t_mean(t_greater(real, zero), AXES_ALL), SHAPE());
    updates_add(&phase->each, sum, t_add(sum, t_affine(mean, 2, -1)));
    updates_add(&phase->each, count, t_shift(count, 1));
}

static struct node *within(struct node *x, double low, double high)
{
    struct node *least = nn_number(x->graph, low), *most = nn_number(x->graph, high);
    x = t_where(t_greater(x, least), x, least);
    return t_where(t_greater(x, most), most, x);
}

/* p moves towards more augmentation while the discriminator is surer of training images than the
 * target, else towards less, at the rate that takes `augment_kimg` from 0 to 1. */
static void add_augment_phase(struct gan *gan)
{
    const struct train_settings *settings = &gan->training->settings;
    struct graph *graph = gan->training->graph;
    struct phase *phase = training_phase(gan->training, "augment", AUGMENT_INTERVAL);
    struct node *zero = nn_number(graph, 0);
    struct node *sum = t_state(graph, "augment.signs", zero),
                *count = t_state(graph, "augment.count", zero);
    struct node *r = t_div(sum, within(count, 1, 1e9));
    double step =
        (double)settings->batch * AUGMENT_INTERVAL / (settings->stylegan2.augment_kimg * 1000);
    struct node *more =
        t_greater(r, nn_number(graph, settings->stylegan2.augment_target)); /* 0 or 1 */
    struct node *p = within(t_add(gan->p, t_scale(t_affine(more, 2, -1), step)), 0, 1);
    phase_term(phase, "r", r, 0);
    phase_term(phase, "p", p, 0);
    updates_add(&phase->updates, gan->p, p);
    updates_add(&phase->updates, sum, zero);
    updates_add(&phase->updates, count, zero);
}

/* ---- the phases ------------------------------------------------------------------------------ */

static void build(struct training *training)
{
    const struct train_settings *settings = &training->settings;
    const struct stylegan2_settings *from = &settings->stylegan2;
    struct gan gan = { training, network(settings, training->channels, training->size), NULL };
    if (from->augment == ADA_ADAPTIVE)
        gan.p = t_state(training->graph, "augment.p", nn_number(training->graph, 0));
    struct node *styles;
    struct phase *g_main = training_phase(training, "Gmain", 1);
    struct node *images = generate(&gan, g_main, training->part, &styles);
    struct node *fake = discriminate(&gan, g_main, images, "fake");
    phase_term(g_main, "g", loss_real(fake), 1);
    finish(&gan, g_main, "G.");
    if (from->path_weight > 0)
        add_path_phase(&gan);
    struct phase *d_main = training_phase(training, "Dmain", 1);
    fake = discriminate(&gan, d_main, generate(&gan, d_main, training->part, &styles), "fake");
    struct node *real = discriminate(&gan, d_main, training->real, "real");
    phase_term(d_main, "d_fake", loss_fake(fake), 1);
    phase_term(d_main, "d_real", loss_real(real), 1);
    if (gan.p)
        note_signs(&gan, d_main, real);
    finish(&gan, d_main, "D.");
    if (from->gamma > 0) {
        struct phase *d_r1 = training_phase(training, "Dr1", from->r1_interval);
        real = discriminate(&gan, d_r1, training->real, "real");
        phase_term(d_r1, "r1", penalty_r1(real, training->real),
                   from->gamma / 2 * (double)from->r1_interval);
        finish(&gan, d_r1, "D.");
    }
    if (gan.p)
        add_augment_phase(&gan);
    struct phase *average = training_phase(training, "average", 1);
    average_parameters(&average->updates, g_main->parameters, g_main->parameter_count,
                       training->decay);
}

/* A half-life of images, at most a share of the images so far. */
static double decay(const struct training *training, uint64_t step)
{
    const struct train_settings *settings = &training->settings;
    double batch = (double)settings->batch, half_life = settings->stylegan2.average_kimg * 1000;
    if (settings->stylegan2.average_ramp > 0)
        half_life = fmin(half_life, settings->stylegan2.average_ramp * batch * (double)step);
    return pow(0.5, batch / fmax(half_life, 1e-8));
}

/* ---- precision ------------------------------------------------------------------------------- */

/* As the official num_fp16_res: the blocks of the highest resolutions, "….b64.conv0", from `least`
 * on; never the mapping, nor the discriminator's last block, where statistics of a batch are taken.
 */
static bool accepts_bf16(const char *scope, int64_t least)
{
    for (const char *at = strchr(scope, 'b'); at; at = strchr(at + 1, 'b')) {
        char *end;
        if (at != scope && at[-1] != '.')
            continue;
        long side = strtol(at + 1, &end, 10);
        if (end > at + 1 && (*end == '.' || !*end))
            return side >= least;
    }
    return false;
}

/* The least of the resolutions; the lowest, 4, is never among them. */
static int64_t bf16_context(const struct train_settings *settings, int size)
{
    int64_t least = size;
    for (int64_t i = 1; i < settings->stylegan2.bf16_resolutions && least > 8; i++)
        least /= 2;
    return least;
}

/* ---- sampling -------------------------------------------------------------------------------- */

/* z, then the noise of each layer: every image has its own. */
static void build_sampling(struct sampling *sampling)
{
    struct stylegan2 config = network(&sampling->settings, sampling->channels, sampling->size);
    struct graph *graph = sampling->graph;
    int64_t n = sampling->batch;
    struct node *noise[STYLEGAN2_LAYERS];
    struct node *z = sampling_input(sampling, "z", DTYPE_F32, SHAPE(n, config.z_width));
    for (int i = 0; i + 1 < stylegan2_styles_count(&config); i++) {
        const char *name = arena_format(&sampling->arena, "noise.%d", i);
        noise[i] = sampling_input(sampling, name, DTYPE_F32, stylegan2_noise_shape(i, n));
    }
    graph_push(graph, "G");
    struct node *w = stylegan2_map(&config, z);
    if (sampling->options.truncation != 1)
        w = stylegan2_truncate(w, stylegan2_w_average(&config, graph),
                               sampling->options.truncation);
    sampling->output = stylegan2_synthesize(&config, stylegan2_styles(&config, w), noise);
    graph_pop(graph);
}

static bool draw(struct sampling *sampling, uint64_t first, float *images, struct error *err)
{
    for (int i = 0; i < sampling->input_count; i++) {
        char name[64];
        snprintf(name, sizeof name, "sample.stylegan2.%d", i); /* z, noise of layer 0, … */
        sampling_normal(sampling, i, name, first);
    }
    if (!sampling_run(sampling, err))
        return false;
    memcpy(images, sampling->values[sampling->input_count],
           shape_count(sampling->output->shape) * sizeof *images);
    return true;
}

const struct recipe recipe_stylegan2 = {
    .name = "stylegan2",
    .check = check,
    .build = build,
    .accepts_bf16 = accepts_bf16,
    .bf16_context = bf16_context,
    .decay = decay,
    .build_sampling = build_sampling,
    .draw = draw,
};
