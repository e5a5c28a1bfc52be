/* StyleGAN 3, trained as NVlabs/stylegan3 does: its generator against StyleGAN 2's discriminator,
 * logistic losses, lazy R1 with corrected rates, no path length and no style mixing. Averages of w
 * and of layers' magnitudes move with the discriminator's phase alone. For R the discriminator sees
 * images through a blur that fades early on, so that it does not settle on details first.
 *
 * What gan.h shares with StyleGAN 2 is the same here: augmentation, running averages, a batch in
 * parts.
 */
#include "models/stylegan3.h"
#include "train/gan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double CLAMP = 256, MAGNITUDE_HALF_LIFE = 20000; /* of images */

static struct stylegan3 network(const struct train_settings *settings, int channels, int size)
{
    const struct stylegan3_settings *from = &settings->stylegan3;
    bool rotation = from->config == STYLEGAN3_R;
    int wider = rotation ? 2 : 1; /* 1×1 convolutions instead of 3×3 */
    return (struct stylegan3){
        .rotation = rotation,
        .resolution = size,
        .channels = channels,
        .z_width = (int)from->z_width,
        .w_width = (int)from->w_width,
        .mapping_layers = (int)from->mapping_layers,
        .layers = (int)from->layers,
        .channel_base = wider * (int)from->channel_base,
        .channel_max = wider * (int)from->channel_max,
        .clamp = settings->precision == PRECISION_BF16 ? CLAMP : 0,
        .magnitude_decay = pow(0.5, (double)settings->batch / MAGNITUDE_HALF_LIFE),
    };
}

static struct stylegan2 discriminator(const struct train_settings *settings, int channels, int size)
{
    const struct stylegan3_settings *from = &settings->stylegan3;
    return (struct stylegan2){ .resolution = size,
                               .channels = channels,
                               .channel_base = (int)from->channel_base,
                               .channel_max = (int)from->channel_max,
                               .clamp = settings->precision == PRECISION_BF16 ? CLAMP : 0 };
}

static bool check(const struct train_settings *settings, int channels, int size, struct error *err)
{
    (void)channels;
    return gan_check(settings, size, err) &&
           recipe_check_channels(settings->stylegan3.channel_base, size, err);
}

/* ---- training -------------------------------------------------------------------------------- */

static struct node *generate(struct gan *gan, struct phase *phase, int64_t n, bool trained)
{
    struct graph *graph = gan->training->graph;
    const struct stylegan3 *config = gan->of;
    struct node *z = t_normal(graph, gan_name(gan, phase, "z"), SHAPE(n, config->z_width));
    graph_push(graph, "G");
    struct node *w = stylegan3_map(config, z), *average = stylegan3_w_average(config, graph);
    if (!trained)
        updates_add(&phase->each, average, stylegan3_w_average_next(average, w));
    struct node *images = stylegan3_synthesize(config, w, trained ? NULL : &phase->each);
    graph_pop(graph);
    return images;
}

static void build(struct training *training)
{
    const struct train_settings *settings = &training->settings;
    const struct stylegan3_settings *from = &settings->stylegan3;
    struct stylegan3 config = network(settings, training->channels, training->size);
    struct gan gan = { .training = training,
                       .discriminator = discriminator(settings, training->channels, training->size),
                       .g_rate = settings->rate,
                       .d_rate = from->d_rate,
                       .r1_interval = from->gamma > 0 ? from->r1_interval : 0,
                       .gamma = from->gamma,
                       .augments = from->augment == ADA_ADAPTIVE,
                       .augment_target = from->augment_target,
                       .augment_kimg = from->augment_kimg,
                       .blur_sigma = from->blur_sigma,
                       .blur_kimg = from->blur_kimg,
                       .generate = generate,
                       .of = &config };
    gan_begin(&gan);
    struct phase *g_main = gan_train_generator(&gan);
    gan_train_discriminator(&gan);
    gan_average(&gan, g_main);
}

static double decay(const struct training *training, uint64_t step)
{
    const struct train_settings *settings = &training->settings;
    const struct stylegan3_settings *from = &settings->stylegan3;
    return gan_decay((double)settings->batch, from->average_kimg, from->average_ramp, step);
}

/* ---- precision ------------------------------------------------------------------------------- */

enum { MARGINS = 20, NEVER = -1 };

/* The sampling rate of a layer, "….L3_52_512.affine": its size without margins, which the last
 * layers do not have. Other scopes have none. */
static int64_t rate_of(const char *scope)
{
    const char *at = strstr(scope, ".L");
    if (!at)
        return NEVER;
    char *end;
    strtol(at + 2, &end, 10);
    if (end == at + 2 || *end != '_')
        return NEVER;
    long size = strtol(end + 1, NULL, 10);
    return size & (size - 1) ? size - MARGINS : size;
}

/* As the official num_fp16_res: layers whose rate, and blocks of the discriminator whose side is
 * among the highest so many; never the mapping or the input. */
static bool accepts_bf16(const char *scope, int64_t least)
{
    int64_t rate = rate_of(scope);
    return rate == NEVER ? gan_block_accepts_bf16(scope, least) : rate >= least;
}

static int64_t bf16_context(const struct train_settings *settings, int size)
{
    return gan_bf16_least(size, settings->stylegan3.bf16_resolutions);
}

/* ---- sampling -------------------------------------------------------------------------------- */

static void build_sampling(struct sampling *sampling)
{
    struct stylegan3 config = network(&sampling->settings, sampling->channels, sampling->size);
    struct graph *graph = sampling->graph;
    struct node *z =
        sampling_input(sampling, "z", DTYPE_F32, SHAPE(sampling->batch, config.z_width));
    graph_push(graph, "G");
    struct node *w = stylegan3_map(&config, z);
    if (sampling->options.truncation != 1)
        w = stylegan2_truncate(w, stylegan3_w_average(&config, graph),
                               sampling->options.truncation);
    sampling->output = stylegan3_synthesize(&config, w, NULL);
    graph_pop(graph);
}

static bool draw(struct sampling *sampling, uint64_t first, float *images, struct error *err)
{
    return sampling_draw(sampling, 1, "sample.stylegan3", first, images, err);
}

/* ---- scoring --------------------------------------------------------------------------------- */

/* The discriminator knows images through the blur that the step has, where it has not faded yet. */
static void build_scoring(struct sampling *scoring)
{
    const struct train_settings *settings = &scoring->settings;
    const struct stylegan3_settings *from = &settings->stylegan3;
    struct stylegan2 config = discriminator(settings, scoring->channels, scoring->size);
    struct node *x = scoring_images(scoring);
    double images = (double)scoring->step * (double)settings->batch;
    double share = from->blur_kimg > 0 ? fmax(1 - images / (from->blur_kimg * 1000), 0) : 0;
    if (from->blur_sigma * share > 0)
        x = gan_blur(x, nn_number(scoring->graph, from->blur_sigma * share), from->blur_sigma);
    graph_push(scoring->graph, "D");
    scoring->output = stylegan2_discriminate(&config, x);
    graph_pop(scoring->graph);
}

const struct recipe recipe_stylegan3 = {
    .name = "stylegan3",
    .check = check,
    .build = build,
    .accepts_bf16 = accepts_bf16,
    .bf16_context = bf16_context,
    .decay = decay,
    .build_sampling = build_sampling,
    .draw = draw,
    .build_scoring = build_scoring,
    .score_count = scoring_one,
    .score = scoring_run,
    .score_by_discriminator = true,
};
