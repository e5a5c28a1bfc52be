/* Settings of training and their presets; see settings.h. */
#include "train/settings.h"

#include <stdio.h>
#include <string.h>

const char *const model_names[MODEL_COUNT + 1] = {
    [MODEL_DDPM] = "ddpm",           [MODEL_PROGAN] = "progan",       [MODEL_STYLEGAN] = "stylegan",
    [MODEL_STYLEGAN2] = "stylegan2", [MODEL_STYLEGAN3] = "stylegan3",
};
const char *const sampler_names[SAMPLER_COUNT + 1] = { "ancestral", "ddim", NULL };
const char *const weights_names[WEIGHTS_COUNT + 1] = { "latest", "best", NULL };
static const char *const augment_names[ADA_COUNT + 1] = { "none", "adaptive", NULL };
static const char *const config_names[STYLEGAN3_CONFIGS + 1] = { "t", "r", NULL };
static const char *const masks_names[TRAIN_MASKS_COUNT + 1] = { "auto", "none", NULL };
const char *const precision_names[] = { "f32", "bf16", NULL };
const char *const algorithms_names[] = { "deterministic", "fastest", NULL };
const char algorithms_help[] =
    "on a GPU: those whose bits repeat, or the fastest as measured, with TF32 for f32; no "
    "difference on a CPU";
static const char *const schedule_names[] = { "linear", "cosine", NULL };

const struct train_settings train_defaults = {
    .seed = -1,
    .device = "auto",
    .checkpoint = 1000,
    .keep = 3,
    .log = 10,
    .samples = 1000,
    .validate = -1,
    .accumulate = 1,
    .ddpm = { .steps = 1000, .dropout = -1, .average = 0.9999 },
    .stylegan = { .z_width = 512,
                  .w_width = 512,
                  .mapping_layers = 8,
                  .gamma = -1,
                  .mixing = 0.9,
                  .average_kimg = -1 },
    .stylegan2 = { .z_width = 512,
                   .w_width = 512,
                   .mapping_layers = 8,
                   .r1_interval = 16,
                   .path_interval = 4,
                   .bf16_resolutions = 4,
                   .gamma = -1,
                   .path_weight = 2,
                   .mixing = 0.9,
                   .average_kimg = -1,
                   .average_ramp = 0.05,
                   .augment_target = 0.6,
                   .augment_kimg = 500 },
    .progan = { .z_width = 512, .penalty = 10, .drift = 0.001, .average = 0.999 },
    .growth = { .batch_most = 128, .stable_kimg = 600, .fade_kimg = 600 },
    .stylegan3 = { .z_width = 512,
                   .w_width = 512,
                   .mapping_layers = 2,
                   .layers = 14,
                   .r1_interval = 16,
                   .bf16_resolutions = 4,
                   .gamma = -1,
                   .d_rate = 0.002,
                   .blur_sigma = -1,
                   .blur_kimg = -1,
                   .average_kimg = -1,
                   .average_ramp = 0.05,
                   .augment_target = 0.6,
                   .augment_kimg = 500 },
};

#define DDPM(...)      YAML_FIELD(struct ddpm_settings, __VA_ARGS__)
#define STYLEGAN(...)  YAML_FIELD(struct stylegan_settings, __VA_ARGS__)
#define STYLEGAN2(...) YAML_FIELD(struct stylegan2_settings, __VA_ARGS__)
#define PROGAN(...)    YAML_FIELD(struct progan_settings, __VA_ARGS__)
#define GROWTH(...)    YAML_FIELD(struct growth_settings, __VA_ARGS__)
#define STYLEGAN3(...) YAML_FIELD(struct stylegan3_settings, __VA_ARGS__)
#define FIELD(...)     YAML_FIELD(struct train_settings, __VA_ARGS__)

static const struct yaml_field ddpm_fields[] = {
    DDPM(base, YAML_INTEGER, .minimum = 0, .maximum = 4096, .metavar = "CHANNELS",
         .help = "channels of the first level; 0: the preset's"),
    DDPM(mult, YAML_STRINGS, .metavar = "FACTOR",
         .help = "channels of each level, as factors of the base"),
    DDPM(blocks, YAML_INTEGER, .minimum = 0, .maximum = 64, .metavar = "N",
         .help = "residual blocks a level; 0: the preset's"),
    DDPM(attention, YAML_STRINGS, .metavar = "SIDE",
         .help = "sides in pixels that get attention; 0: none do"),
    DDPM(heads, YAML_INTEGER, .minimum = 0, .maximum = 64, .metavar = "N",
         .help = "heads of attention; 0: the preset's"),
    DDPM(steps, YAML_INTEGER, .minimum = 25, .maximum = 10000, .metavar = "N",
         .help = "steps of the diffusion (default 1000)"),
    DDPM(schedule, YAML_CHOICE, .choices = schedule_names, .help = "how noise grows"),
    DDPM(learned_variance, YAML_BOOL, .help = "the network gives variances too"),
    DDPM(dropout, YAML_REAL, .minimum = -1, .maximum = 0.9, .metavar = "P",
         .help = "share of what blocks compute that is left out; -1: the preset's"),
    DDPM(average, YAML_REAL, .minimum = 0, .maximum = 1, .metavar = "DECAY",
         .help = "of the moving average (default .9999); (1+step)/(10+step) while that is less"),
    { 0 },
};

static const struct yaml_field stylegan2_fields[] = {
    STYLEGAN2(z_width, YAML_INTEGER, .minimum = 1, .maximum = 8192, .metavar = "N",
              .help = "of the latents (default 512)"),
    STYLEGAN2(w_width, YAML_INTEGER, .minimum = 1, .maximum = 8192, .metavar = "N",
              .help = "of the styles (default 512)"),
    STYLEGAN2(mapping_layers, YAML_INTEGER, .minimum = 1, .maximum = 32, .metavar = "N",
              .help = "of the mapping network (default 8)"),
    STYLEGAN2(channel_base, YAML_INTEGER, .minimum = 0, .maximum = 1 << 20, .metavar = "N",
              .help = "channels at side 1; 0: the preset's"),
    STYLEGAN2(channel_max, YAML_INTEGER, .minimum = 0, .maximum = 8192, .metavar = "N",
              .help = "channels at most; 0: the preset's"),
    STYLEGAN2(bf16_resolutions, YAML_INTEGER, .minimum = 1, .maximum = 9, .metavar = "N",
              .help = "with bf16, so many highest resolutions use it (default 4)"),
    STYLEGAN2(gamma, YAML_REAL, .minimum = -1, .maximum = 1e6, .metavar = "GAMMA",
              .help = "weight of R1; 0: none; -1: .0002 size^2 / batch"),
    STYLEGAN2(r1_interval, YAML_INTEGER, .minimum = 1, .maximum = 1000, .metavar = "STEPS",
              .help = "between steps of R1 (default 16)"),
    STYLEGAN2(path_weight, YAML_REAL, .minimum = 0, .maximum = 1e6, .metavar = "WEIGHT",
              .help = "weight of path length; 0: none (default 2)"),
    STYLEGAN2(path_interval, YAML_INTEGER, .minimum = 1, .maximum = 1000, .metavar = "STEPS",
              .help = "between steps of path length (default 4)"),
    STYLEGAN2(mixing, YAML_REAL, .minimum = 0, .maximum = 1, .metavar = "P",
              .help = "probability of mixing styles (default .9)"),
    STYLEGAN2(average_kimg, YAML_REAL, .minimum = -1, .maximum = 1e6, .metavar = "KIMG",
              .help = "half-life of the moving average; -1: batch 10/32"),
    STYLEGAN2(average_ramp, YAML_REAL, .minimum = 0, .maximum = 1, .metavar = "SHARE",
              .help = "at most this share of images so far; 0: no ramp (default .05)"),
    STYLEGAN2(augment, YAML_CHOICE, .choices = augment_names,
              .help =
                  "what the discriminator sees is moved, scaled and turned, the more it overfits"),
    STYLEGAN2(augment_target, YAML_REAL, .minimum = 0, .maximum = 1, .metavar = "R",
              .help = "overfitting aimed at, the mean sign of D(real) (default .6)"),
    STYLEGAN2(augment_kimg, YAML_REAL, .minimum = 0.001, .maximum = 1e6, .metavar = "KIMG",
              .help = "to go from no augmentation to all (default 500)"),
    { 0 },
};

static const struct yaml_field progan_fields[] = {
    PROGAN(z_width, YAML_INTEGER, .minimum = 1, .maximum = 8192, .metavar = "N",
           .help = "of the latents (default 512)"),
    PROGAN(channel_base, YAML_INTEGER, .minimum = 0, .maximum = 1 << 20, .metavar = "N",
           .help = "channels at side 1; 0: 16384"),
    PROGAN(channel_max, YAML_INTEGER, .minimum = 0, .maximum = 8192, .metavar = "N",
           .help = "channels at most; 0: 512"),
    PROGAN(penalty, YAML_REAL, .minimum = 0, .maximum = 1e6, .metavar = "LAMBDA",
           .help = "weight of the gradient penalty (default 10)"),
    PROGAN(drift, YAML_REAL, .minimum = 0, .maximum = 1e6, .metavar = "EPSILON",
           .help = "weight of what keeps D(real) near 0 (default .001)"),
    PROGAN(average, YAML_REAL, .minimum = 0, .maximum = 1, .metavar = "DECAY",
           .help = "of the moving average (default .999)"),
    { 0 },
};

static const struct yaml_field stylegan_fields[] = {
    STYLEGAN(z_width, YAML_INTEGER, .minimum = 1, .maximum = 8192, .metavar = "N",
             .help = "of the latents (default 512)"),
    STYLEGAN(w_width, YAML_INTEGER, .minimum = 1, .maximum = 8192, .metavar = "N",
             .help = "of the styles (default 512)"),
    STYLEGAN(mapping_layers, YAML_INTEGER, .minimum = 1, .maximum = 32, .metavar = "N",
             .help = "of the mapping network (default 8)"),
    STYLEGAN(channel_base, YAML_INTEGER, .minimum = 0, .maximum = 1 << 20, .metavar = "N",
             .help = "channels at side 1; 0: 16384"),
    STYLEGAN(channel_max, YAML_INTEGER, .minimum = 0, .maximum = 8192, .metavar = "N",
             .help = "channels at most; 0: 512"),
    STYLEGAN(gamma, YAML_REAL, .minimum = -1, .maximum = 1e6, .metavar = "GAMMA",
             .help = "weight of R1; 0: none; -1: 10, below 256 x 256 10 (size/256)^2"),
    STYLEGAN(mixing, YAML_REAL, .minimum = 0, .maximum = 1, .metavar = "P",
             .help = "probability of mixing styles (default .9)"),
    STYLEGAN(average_kimg, YAML_REAL, .minimum = -1, .maximum = 1e6, .metavar = "KIMG",
             .help = "half-life of the moving average; -1: 10"),
    { 0 },
};

static const struct yaml_field growth_fields[] = {
    GROWTH(first_side, YAML_INTEGER, .minimum = 0, .maximum = 1024, .metavar = "SIDE",
           .help = "of the images that training begins with; 0: progan 4, stylegan 8"),
    GROWTH(stable_kimg, YAML_REAL, .minimum = 0.001, .maximum = 1e6, .metavar = "KIMG",
           .help = "thousands of images at each side before it doubles (default 600)"),
    GROWTH(fade_kimg, YAML_REAL, .minimum = 0, .maximum = 1e6, .metavar = "KIMG",
           .help = "thousands of images while new layers fade in (default 600)"),
    GROWTH(batch_most, YAML_INTEGER, .minimum = 1, .maximum = 65536, .metavar = "N",
           .help = "the batch doubles as the side halves, up to this (default 128)"),
    { 0 },
};

static const struct yaml_field stylegan3_fields[] = {
    STYLEGAN3(config, YAML_CHOICE, .choices = config_names,
              .help = "t: alias-free under translation; r: under rotation, too"),
    STYLEGAN3(z_width, YAML_INTEGER, .minimum = 1, .maximum = 8192, .metavar = "N",
              .help = "of the latents (default 512)"),
    STYLEGAN3(w_width, YAML_INTEGER, .minimum = 1, .maximum = 8192, .metavar = "N",
              .help = "of the styles (default 512)"),
    STYLEGAN3(mapping_layers, YAML_INTEGER, .minimum = 1, .maximum = 32, .metavar = "N",
              .help = "of the mapping network (default 2)"),
    STYLEGAN3(layers, YAML_INTEGER, .minimum = 3, .maximum = 30, .metavar = "N",
              .help = "of the synthesis, beside its input and ToRGB (default 14)"),
    STYLEGAN3(channel_base, YAML_INTEGER, .minimum = 0, .maximum = 1 << 20, .metavar = "N",
              .help = "capacity, the official cbase; 0: the preset's"),
    STYLEGAN3(channel_max, YAML_INTEGER, .minimum = 0, .maximum = 8192, .metavar = "N",
              .help = "channels at most, the official cmax; 0: the preset's"),
    STYLEGAN3(bf16_resolutions, YAML_INTEGER, .minimum = 1, .maximum = 9, .metavar = "N",
              .help = "with bf16, the highest so many resolutions use it (default 4)"),
    STYLEGAN3(gamma, YAML_REAL, .minimum = -1, .maximum = 1e6, .metavar = "GAMMA",
              .help = "weight of R1; 0: none; -1: .001 size^2 / batch"),
    STYLEGAN3(r1_interval, YAML_INTEGER, .minimum = 1, .maximum = 1000, .metavar = "STEPS",
              .help = "between steps of R1 (default 16)"),
    STYLEGAN3(d_rate, YAML_REAL, .minimum = 0, .maximum = 1, .metavar = "RATE",
              .help = "learning rate of the discriminator (default .002)"),
    STYLEGAN3(blur_sigma, YAML_REAL, .minimum = -1, .maximum = 20, .metavar = "PIXELS",
              .help = "blur that the discriminator begins with; 0: none; -1: 10 for r"),
    STYLEGAN3(blur_kimg, YAML_REAL, .minimum = -1, .maximum = 1e6, .metavar = "KIMG",
              .help = "over which that blur fades; -1: batch 200/32"),
    STYLEGAN3(average_kimg, YAML_REAL, .minimum = -1, .maximum = 1e6, .metavar = "KIMG",
              .help = "half-life of the moving average; -1: batch 10/32"),
    STYLEGAN3(average_ramp, YAML_REAL, .minimum = 0, .maximum = 1, .metavar = "SHARE",
              .help = "at most this share of the images so far; 0: no ramp (default .05)"),
    STYLEGAN3(augment, YAML_CHOICE, .choices = augment_names,
              .help =
                  "what the discriminator sees is moved, scaled and turned, the more it overfits"),
    STYLEGAN3(augment_target, YAML_REAL, .minimum = 0, .maximum = 1, .metavar = "R",
              .help = "overfitting aimed at, the mean sign of D(real) (default .6)"),
    STYLEGAN3(augment_kimg, YAML_REAL, .minimum = 0.001, .maximum = 1e6, .metavar = "KIMG",
              .help = "to go from no augmentation to all (default 500)"),
    { 0 },
};

#define CANDIDATE(...) YAML_FIELD(struct train_candidate, __VA_ARGS__)
static const struct yaml_field candidate_fields[] = {
    CANDIDATE(name, YAML_STRING, .required = true),
    CANDIDATE(images, YAML_INTEGER, .minimum = 0, .maximum = 0x1p53),
    CANDIDATE(settings, YAML_STRING),
    { 0 },
};

const struct yaml_field train_fields[] = {
    FIELD(model, YAML_CHOICE, .choices = model_names, .help = "the generator"),
    FIELD(masks, YAML_CHOICE, .choices = masks_names,
          .help = "auto: masks, where there are any, are generated with the images"),
    FIELD(mirror, YAML_BOOL, .help = "show images mirrored half of the time"),
    FIELD(batch, YAML_INTEGER, .minimum = 0, .maximum = 65536, .metavar = "N",
          .help = "images a step; 0: the preset's"),
    FIELD(accumulate, YAML_INTEGER, .minimum = 1, .maximum = 65536, .metavar = "PARTS",
          .help = "compute the batch in so many parts, to take less memory"),
    FIELD(rate, YAML_REAL, .minimum = 0, .maximum = 1, .metavar = "RATE",
          .help = "learning rate; 0: the preset's"),
    FIELD(precision, YAML_CHOICE, .choices = precision_names, .help = "of matrix work"),
    FIELD(algorithms, YAML_CHOICE, .choices = algorithms_names, .help = algorithms_help),
    FIELD(seed, YAML_INTEGER, .minimum = 0, .maximum = 0x1p53, .metavar = "N",
          .help = "of everything random (default: the plan's, else 1)"),
    FIELD(images, YAML_INTEGER, .minimum = 0, .maximum = 0x1p53, .metavar = "N",
          .help = "to train on in all; 0: the preset's"),
    FIELD(checkpoint, YAML_INTEGER, .minimum = 1, .maximum = 0x1p31, .metavar = "STEPS",
          .help = "between checkpoints (default 1000)"),
    FIELD(keep, YAML_INTEGER, .minimum = 1, .maximum = 10000, .metavar = "N",
          .help = "checkpoints to keep, the latest (default 3)"),
    FIELD(log, YAML_INTEGER, .minimum = 1, .maximum = 0x1p31, .metavar = "STEPS",
          .help = "between lines of metrics.jsonl (default 10)"),
    FIELD(samples, YAML_INTEGER, .minimum = 0, .maximum = 0x1p31, .metavar = "STEPS",
          .help = "between pictures of samples; 0: none (default 1000)"),
    FIELD(validate, YAML_INTEGER, .minimum = -1, .maximum = 65536, .metavar = "N",
          .help = "ddpm: images of the split validation, else holdout, that choose the best "
                  "checkpoint; 0: none (default 64)"),
    FIELD(device, YAML_STRING, .metavar = "DEVICE",
          .help = "cpu, cuda, cuda:N or auto: a GPU where there is one (default auto)"),
    FIELD(time_limit, YAML_REAL, .minimum = 0, .maximum = 1e7, .metavar = "MINUTES",
          .help = "stop with a checkpoint after this time; 0: no limit"),
    FIELD(ddpm, YAML_SECTION, .section = ddpm_fields, .help = "the diffusion model"),
    FIELD(progan, YAML_SECTION, .section = progan_fields, .help = "ProGAN"),
    FIELD(stylegan, YAML_SECTION, .section = stylegan_fields, .help = "StyleGAN (1)"),
    FIELD(stylegan2, YAML_SECTION, .section = stylegan2_fields, .help = "StyleGAN 2"),
    FIELD(stylegan3, YAML_SECTION, .section = stylegan3_fields, .help = "StyleGAN 3"),
    FIELD(growth, YAML_SECTION, .section = growth_fields,
          .help = "progan and stylegan, whose images grow as training goes on"),
    FIELD(candidates, YAML_ROWS, .section = candidate_fields,
          .row_size = sizeof(struct train_candidate),
          .help = "name, images, settings: what lethe run tries; the best that passes is released"),
    { 0 },
};

/* Presets by size. Diffusion: improved- and guided-diffusion's networks, dropout as Ho et al. for
 * small images. StyleGAN 2: channels and batches as stylegan2-ada-pytorch's "auto" for one device.
 * ProGAN, StyleGAN: batches as the official code's for one device, 8 at 256², up to 128 for small
 * sides. StyleGAN 3: batches, gamma and, up to 256², channels as the official recommendations.
 * Published runs: 25,000 kimg for StyleGAN 1, 2 and 3, 12,000 for ProGAN on one device; 500,000
 * steps or so of batch 128 for diffusion. */

#define LIST(...)                                                                                  \
    {                                                                                              \
        (const char *[]){ __VA_ARGS__ }, sizeof((const char *[]){ __VA_ARGS__ }) / sizeof(char *)  \
    }

static const struct {
    int size;
    struct ddpm_settings ddpm;
    int64_t ddpm_batch, ddpm_images, channel_base, stylegan2_batch;
} presets[] = {
    { 32,
      { .base = 128, .blocks = 3, .heads = 4, .mult = LIST("1", "2", "2", "2"), .dropout = 0.1 },
      128,
      64000000,
      16384,
      32 },
    { 64,
      { .base = 128, .blocks = 3, .heads = 4, .mult = LIST("1", "2", "3", "4"), .dropout = 0 },
      64,
      32000000,
      16384,
      32 },
    { 128,
      { .base = 128, .blocks = 2, .heads = 4, .mult = LIST("1", "1", "2", "3", "4") },
      32,
      16000000,
      16384,
      32 },
    { 256,
      { .base = 128, .blocks = 2, .heads = 4, .mult = LIST("1", "1", "2", "2", "4", "4") },
      16,
      8000000,
      16384,
      16 },
};
static const struct yaml_strings usual_attention = LIST("16", "8");

static void set_integer(int64_t *value, int64_t preset)
{
    *value = *value ? *value : preset;
}

static void resolve_ddpm(struct train_settings *settings, size_t row, int size)
{
    (void)size;
    struct ddpm_settings *ddpm = &settings->ddpm;
    const struct ddpm_settings *preset = &presets[row].ddpm;
    set_integer(&settings->batch, presets[row].ddpm_batch);
    set_integer(&settings->images, presets[row].ddpm_images);
    settings->rate = settings->rate > 0 ? settings->rate : 1e-4;
    set_integer(&ddpm->base, preset->base);
    set_integer(&ddpm->blocks, preset->blocks);
    set_integer(&ddpm->heads, preset->heads);
    ddpm->mult = ddpm->mult.count ? ddpm->mult : preset->mult;
    ddpm->attention = ddpm->attention.count ? ddpm->attention : usual_attention;
    ddpm->dropout = ddpm->dropout >= 0 ? ddpm->dropout : preset->dropout;
}

static void resolve_stylegan2(struct train_settings *settings, size_t row, int size)
{
    struct stylegan2_settings *gan = &settings->stylegan2;
    set_integer(&settings->batch, presets[row].stylegan2_batch);
    set_integer(&settings->images, 25000000);
    settings->rate = settings->rate > 0 ? settings->rate : 0.0025;
    set_integer(&gan->channel_base, presets[row].channel_base);
    set_integer(&gan->channel_max, 512);
    double batch = (double)settings->batch;
    gan->gamma = gan->gamma >= 0 ? gan->gamma : 0.0002 * size * size / batch;
    gan->average_kimg = gan->average_kimg >= 0 ? gan->average_kimg : batch * 10 / 32;
}

static void resolve_growing(struct train_settings *settings, int size, int first, int64_t images)
{
    int64_t batch = 2048 / size;
    set_integer(&settings->batch, batch < 1 ? 1 : batch < 128 ? batch : 128);
    set_integer(&settings->images, images);
    settings->rate = settings->rate > 0 ? settings->rate : 0.001;
    set_integer(&settings->growth.first_side, size < first ? size : first);
}

/* R1's weight is the official one where that was used. A run that grows to 256² weighs R1 at each
 * level by (side/256)² of it (recipe_stylegan.c); one that ends earlier does the same. */
static void resolve_stylegan(struct train_settings *settings, size_t row, int size)
{
    (void)row;
    struct stylegan_settings *gan = &settings->stylegan;
    resolve_growing(settings, size, 8, 25000000);
    set_integer(&gan->channel_base, 16384);
    set_integer(&gan->channel_max, 512);
    double share = size < 256 ? size / 256.0 : 1;
    gan->gamma = gan->gamma >= 0 ? gan->gamma : 10 * share * share;
    gan->average_kimg = gan->average_kimg >= 0 ? gan->average_kimg : 10;
}

static void resolve_progan(struct train_settings *settings, size_t row, int size)
{
    (void)row;
    struct progan_settings *gan = &settings->progan;
    resolve_growing(settings, size, 4, 12000000);
    set_integer(&gan->channel_base, 16384);
    set_integer(&gan->channel_max, 512);
}

static void resolve_stylegan3(struct train_settings *settings, size_t row, int size)
{
    (void)row; /* one row for all sizes but the channels' */
    struct stylegan3_settings *gan = &settings->stylegan3;
    set_integer(&settings->batch, 32);
    set_integer(&settings->images, 25000000);
    settings->rate = settings->rate > 0 ? settings->rate : 0.0025;
    set_integer(&gan->channel_base, size > 256 ? 32768 : 16384);
    set_integer(&gan->channel_max, 512);
    double batch = (double)settings->batch;
    gan->gamma = gan->gamma >= 0 ? gan->gamma : 0.001 * size * size / batch;
    gan->average_kimg = gan->average_kimg >= 0 ? gan->average_kimg : batch * 10 / 32;
    if (gan->blur_sigma < 0)
        gan->blur_sigma = gan->config == STYLEGAN3_R ? 10 : 0;
    gan->blur_kimg = gan->blur_kimg >= 0 ? gan->blur_kimg : batch * 200 / 32;
}

static bool check_list(const struct yaml_strings *list, const char *name, int64_t least,
                       struct error *err)
{
    int64_t number;
    if (list->count > TRAIN_LIST)
        return error_set(err, "%s: %zu numbers, at most %d can be given", name, list->count,
                         TRAIN_LIST);
    for (size_t i = 0; i < list->count; i++)
        if (!text_to_integer(list->items[i], &number) || number < least || number > 65536)
            return error_set(err, "%s: \"%s\" is not a whole number from %lld on", name,
                             list->items[i], (long long)least);
    return true;
}

int train_list(const struct yaml_strings *list, int numbers[TRAIN_LIST])
{
    for (size_t i = 0; i < list->count; i++) {
        int64_t number = 0;
        CHECK(i < TRAIN_LIST && text_to_integer(list->items[i], &number), "a list not checked");
        numbers[i] = (int)number;
    }
    return (int)list->count;
}

/* A GAN's losses say which of its networks is ahead, not how good the images are. */
static bool check_validate(const struct train_settings *settings, struct error *err)
{
    if (settings->model == MODEL_DDPM || !settings->validate)
        return true;
    return error_set(err,
                     "validate: %s has no loss that tells which checkpoint is best; the latest "
                     "ones are kept",
                     model_names[settings->model]);
}

static bool check_parts(const struct train_settings *settings, struct error *err)
{
    if (settings->batch % settings->accumulate == 0)
        return true;
    return error_set(err, "a batch of %lld cannot be computed in %lld equal parts (accumulate)",
                     (long long)settings->batch, (long long)settings->accumulate);
}

static void (*const resolve[MODEL_COUNT])(struct train_settings *settings, size_t row, int size) = {
    [MODEL_DDPM] = resolve_ddpm,           [MODEL_STYLEGAN] = resolve_stylegan,
    [MODEL_STYLEGAN2] = resolve_stylegan2, [MODEL_PROGAN] = resolve_progan,
    [MODEL_STYLEGAN3] = resolve_stylegan3,
};

bool train_settings_resolve(struct train_settings *settings, int size, struct error *err)
{
    size_t row = 0, last = sizeof presets / sizeof *presets - 1;
    while (row < last && presets[row].size < size)
        row++;
    if (settings->seed < 0)
        settings->seed = 1;
    if (settings->validate < 0)
        settings->validate = settings->model == MODEL_DDPM ? 64 : 0;
    resolve[settings->model](settings, row, size);
    return check_parts(settings, err) && check_validate(settings, err) &&
           check_list(&settings->ddpm.mult, "mult", 1, err) &&
           check_list(&settings->ddpm.attention, "attention", 0, err);
}

/* An option sets every model's setting of its name; only the trained one's are of any effect. */
static void forget_other_models(struct train_settings *settings)
{
#define SECTION(name)                                                                              \
    {                                                                                              \
        offsetof(struct train_settings, name), sizeof train_defaults.name                          \
    }
    static const struct {
        size_t offset, size;
    } sections[MODEL_COUNT] = {
        [MODEL_DDPM] = SECTION(ddpm),           [MODEL_PROGAN] = SECTION(progan),
        [MODEL_STYLEGAN] = SECTION(stylegan),   [MODEL_STYLEGAN2] = SECTION(stylegan2),
        [MODEL_STYLEGAN3] = SECTION(stylegan3),
    };
    for (int i = 0; i < MODEL_COUNT; i++)
        if (i != settings->model)
            memcpy((char *)settings + sections[i].offset,
                   (const char *)&train_defaults + sections[i].offset, sections[i].size);
}

void train_settings_text(const struct train_settings *settings, bool lasting, struct text *out)
{
    struct train_settings copy = *settings;
    if (lasting) {
        copy.images = train_defaults.images;
        copy.checkpoint = train_defaults.checkpoint;
        copy.keep = train_defaults.keep;
        copy.log = train_defaults.log;
        copy.samples = train_defaults.samples;
        copy.validate = train_defaults.validate;
        copy.time_limit = train_defaults.time_limit;
        copy.device = train_defaults.device;
        forget_other_models(&copy);
    }
    yaml_write(train_fields, &copy, 0, out);
}

bool train_settings_parse(const char *yaml, const char *name, struct train_settings *settings,
                          struct arena *arena, struct error *err)
{
    *settings = train_defaults;
    return yaml_parse(yaml, strlen(yaml), name, train_fields, settings, arena, err);
}
