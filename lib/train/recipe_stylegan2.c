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
#include "nn/loss.h"
#include "nn/style.h"
#include "train/gan.h"

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
    return gan_check(settings, size, err) &&
           recipe_check_channels(settings->stylegan2.channel_base, size, err);
}

/* n images, and their styles (N,L,w). The phase's update moves the average of w. */
static struct node *generate_with(struct gan *gan, struct phase *phase, int64_t n,
                                  struct node **styles)
{
    struct graph *graph = gan->training->graph;
    const struct stylegan2 *config = &gan->discriminator; /* both networks' */
    struct shape shape = SHAPE(n, config->z_width);
    struct node *z = t_normal(graph, gan_name(gan, phase, "z"), shape);
    struct node *other = t_normal(graph, gan_name(gan, phase, "other"), shape);
    struct node *cutoff =
        nn_mixing_cutoff(graph, gan_name(gan, phase, "cutoff"), stylegan2_styles_count(config),
                         gan->training->settings.stylegan2.mixing);
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

static struct node *generate(struct gan *gan, struct phase *phase, int64_t n, bool trained)
{
    (void)trained; /* each phase moves the average of w */
    struct node *styles;
    return generate_with(gan, phase, n, &styles);
}

static void add_path_phase(struct gan *gan)
{
    const struct train_settings *settings = &gan->training->settings;
    int64_t interval = settings->stylegan2.path_interval;
    int64_t n = gan->training->part > 1 ? gan->training->part / 2 : 1;
    struct graph *graph = gan->training->graph;
    struct phase *phase = training_phase(gan->training, "Gpl", interval);
    struct node *styles, *images = generate_with(gan, phase, n, &styles);
    struct node *direction = t_normal(graph, "Gpl.direction", images->shape);
    struct node *state = t_state(graph, "path_mean", nn_number(graph, 0)), *mean = state;
    struct node *lengths = path_lengths(images, styles, direction);
    phase_term(phase, "path", penalty_path(lengths, &mean, PATH_DECAY),
               settings->stylegan2.path_weight * (double)interval);
    updates_add(&phase->each, state, mean);
    gan_finish(gan, phase, "G.");
}

static void build(struct training *training)
{
    const struct train_settings *settings = &training->settings;
    const struct stylegan2_settings *from = &settings->stylegan2;
    struct gan gan = { .training = training,
                       .discriminator = network(settings, training->channels, training->size),
                       .g_rate = settings->rate,
                       .d_rate = settings->rate,
                       .g_interval = from->path_weight > 0 ? from->path_interval : 0,
                       .r1_interval = from->gamma > 0 ? from->r1_interval : 0,
                       .gamma = from->gamma,
                       .augments = from->augment == ADA_ADAPTIVE,
                       .augment_target = from->augment_target,
                       .augment_kimg = from->augment_kimg,
                       .generate = generate };
    gan_begin(&gan);
    struct phase *g_main = gan_train_generator(&gan);
    if (from->path_weight > 0)
        add_path_phase(&gan);
    gan_train_discriminator(&gan);
    gan_average(&gan, g_main);
}

static double decay(const struct training *training, uint64_t step)
{
    const struct train_settings *settings = &training->settings;
    const struct stylegan2_settings *from = &settings->stylegan2;
    return gan_decay((double)settings->batch, from->average_kimg, from->average_ramp, step);
}

static int64_t bf16_context(const struct train_settings *settings, int size)
{
    return gan_bf16_least(size, settings->stylegan2.bf16_resolutions);
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
    return sampling_draw(sampling, sampling->input_count, "sample.stylegan2", first, images, err);
}

/* ---- scoring --------------------------------------------------------------------------------- */

static void build_scoring(struct sampling *scoring)
{
    struct stylegan2 config = network(&scoring->settings, scoring->channels, scoring->size);
    struct node *x = scoring_images(scoring);
    graph_push(scoring->graph, "D");
    scoring->output = stylegan2_discriminate(&config, x);
    graph_pop(scoring->graph);
}

const struct recipe recipe_stylegan2 = {
    .name = "stylegan2",
    .check = check,
    .build = build,
    .accepts_bf16 = gan_block_accepts_bf16,
    .bf16_context = bf16_context,
    .decay = decay,
    .build_sampling = build_sampling,
    .draw = draw,
    .build_scoring = build_scoring,
    .score_count = scoring_one,
    .score = scoring_run,
    .score_by_discriminator = true,
};
