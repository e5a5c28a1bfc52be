/* How the U-Net is trained: the protocol of Usman Akbar et al. (2024), after Isensee et al. (2021).
 *
 * Soft Dice of the whole batch, background included, plus cross-entropy, at every level of the
 * decoder but the coarsest, weighted 2^-i and normalised; SGD with Nesterov's momentum .99, weight
 * decay 3e-5, gradients clipped to a norm of 12; rate .01·(1 − step/steps)^.9. */
#include "train/segment_recipe.h"

#include "models/unet.h"
#include "nn/loss.h"

#include <math.h>

static const double POWER = 0.9, MOMENTUM = 0.99, DECAY = 3e-5, CLIP = 12;

/* By side. At 256² the study's; smaller ones end at 4² too. */
static const struct {
    size_t size;
    int64_t base, levels, batch, images;
} presets[] = {
    { 32, 16, 4, 32, 60000 },
    { 64, 32, 5, 32, 120000 },
    { 128, 32, 6, 48, 300000 },
    { 256, 64, 6, 48, 1200000 },
};

static bool resolve(struct segment_settings *settings, size_t size, struct error *err)
{
    size_t row = 0, last = sizeof presets / sizeof *presets - 1;
    while (row < last && presets[row].size < size)
        row++;
    settings->base = settings->base ? settings->base : presets[row].base;
    settings->levels = settings->levels ? settings->levels : presets[row].levels;
    settings->batch = settings->batch ? settings->batch : presets[row].batch;
    settings->images = settings->images ? settings->images : presets[row].images;
    settings->rate = settings->rate > 0 ? settings->rate : 0.01;
    if ((size_t)1 << (settings->levels - 1) > size)
        return error_set(err,
                         "unet: %lld levels halve images of %zu pixels to less than one; "
                         "give fewer levels",
                         (long long)settings->levels, size);
    return true;
}

static int64_t stride(const struct segment_settings *settings)
{
    return (int64_t)1 << (settings->levels - 1);
}

static double rate(const struct segment_settings *settings, uint64_t step, uint64_t steps)
{
    return settings->rate * pow(1 - (double)step / (double)steps, POWER);
}

/* Dice and cross-entropy are logged of the finest level. */
static struct node *loss_of_levels(struct phase *phase, struct node **logits, int levels,
                                   struct node *labels)
{
    struct node *loss = NULL;
    double all = 2 - pow(2, 1 - levels); /* 1 + 1/2 + … */
    for (int i = 0; i < levels; i++) {
        struct node *dice = loss_dice(logits[i], labels);
        struct node *entropy = loss_cross_entropy(logits[i], labels);
        if (i == 0) {
            phase_term(phase, "dice", dice, 0);
            phase_term(phase, "cross_entropy", entropy, 0);
        }
        struct node *part = t_scale(t_add(dice, entropy), pow(2, -i) / all);
        loss = loss ? t_add(loss, part) : part;
    }
    return loss;
}

static void build(struct segmentation *segmentation)
{
    const struct segment_settings *settings = &segmentation->settings;
    struct unet unet = { .channels = segmentation->channels,
                         .classes = segmentation->classes,
                         .base = (int)settings->base,
                         .levels = (int)settings->levels };
    struct training *training = segmentation->training;
    if (!training) {
        segmentation->logits = unet_build(&unet, segmentation->image);
        return;
    }
    struct node *logits[UNET_LEVELS];
    int levels = unet_build_deep(&unet, segmentation->image, logits);
    segmentation->logits = logits[0];
    struct phase *phase = training_phase(training, "main", 1);
    phase_term(phase, "loss", loss_of_levels(phase, logits, levels, training->labels), 1);
    phase_differentiate(training, phase, "");
    phase_term(phase, "gradient_norm",
               clip_gradients(phase->gradients, phase->parameter_count, CLIP), 0);
    optimise_sgd(&phase->updates, phase->parameters, phase->gradients, phase->parameter_count,
                 training->scheduled, .momentum = MOMENTUM, .weight_decay = DECAY,
                 .nesterov = true);
}

const struct segment_recipe segment_unet = {
    .name = "unet",
    .resolve = resolve,
    .stride = stride,
    .build = build,
    .rate = rate,
};
