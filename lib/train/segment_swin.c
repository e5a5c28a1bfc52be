/* How UPerNet on Swin is trained: the protocol of Usman Akbar et al. (2024), after Liu et al.
 * (2021).
 *
 * Dice of each image and class without the background, squares in its denominator, plus
 * cross-entropy; the auxiliary head's counts .4. AdamW, weight decay .01 (none for norms and tables
 * of position); the rate rises linearly over the first steps and falls linearly to 0. */
#include "models/swin.h"
#include "nn/loss.h"
#include "train/segment_recipe.h"

#include <string.h>

static const double DECAY = 0.01, AUXILIARY = 0.4, SMOOTH = 1e-5, WARM_UP = 1500;

/* The published sizes, and one for small images. */
static const struct {
    const char *name;
    struct swin swin;
    double rate;
} sizes[SEGMENT_SWINS] = {
    [SEGMENT_SWIN_MINI] = { "mini",
                            { 0, 32, { 2, 2, 2, 2 }, { 2, 4, 8, 16 }, 4, 2, 0.1, 0.1, 64 },
                            5e-4 },
    [SEGMENT_SWIN_TINY] = { "tiny",
                            { 0, 96, { 2, 2, 6, 2 }, { 3, 6, 12, 24 }, 7, 4, 0.2, 0.1, 512 },
                            6e-5 },
    [SEGMENT_SWIN_SMALL] = { "small",
                             { 0, 96, { 2, 2, 18, 2 }, { 3, 6, 12, 24 }, 7, 4, 0.3, 0.1, 512 },
                             6e-5 },
    [SEGMENT_SWIN_BASE] = { "base",
                            { 0, 128, { 2, 2, 18, 2 }, { 4, 8, 16, 32 }, 7, 4, 0.3, 0.1, 512 },
                            6e-5 },
};

static bool resolve(struct segment_settings *settings, size_t size, struct error *err)
{
    (void)err;
    if (settings->swin == SEGMENT_SWIN_AUTO) /* the study's from 256² on */
        settings->swin = size < 128   ? SEGMENT_SWIN_MINI
                         : size < 256 ? SEGMENT_SWIN_TINY
                                      : SEGMENT_SWIN_BASE;
    settings->batch = settings->batch ? settings->batch : 8;
    settings->images = settings->images ? settings->images : size < 128 ? 120000 : 600000;
    settings->rate = settings->rate > 0 ? settings->rate : sizes[settings->swin].rate;
    return true;
}

static int64_t stride(const struct segment_settings *settings)
{
    return sizes[settings->swin].swin.patch * 8;
}

/* Short trainings warm up over a tenth of their steps. */
static double rate(const struct segment_settings *settings, uint64_t step, uint64_t steps)
{
    double warm = WARM_UP < 0.1 * (double)steps ? WARM_UP : 0.1 * (double)steps;
    double falling = 1 - (double)step / (double)steps;
    double rising = warm > 1 && (double)step < warm ? ((double)step + 1) / warm : 1;
    return settings->rate * falling * rising;
}

/* 1 − mean over images and classes but the background of (2Σpy + s) / (Σp² + Σy + s). */
static struct node *dice(struct node *logits, struct node *labels)
{
    int classes = (int)dim(logits, 1);
    struct node *p = t_slice(t_softmax(logits, 1), 1, 1, classes);      /* (N,K−1,H,W) */
    struct node *y = t_permute(t_one_hot(labels, classes), 0, 3, 1, 2); /* (N,K,H,W) */
    y = t_slice(y, 1, 1, classes);
    struct node *both = t_sum(t_mul(p, y), AXES(2, 3));
    struct node *all = t_sum(t_add(t_square(p), y), AXES(2, 3));
    struct node *share = t_div(t_affine(both, 2, SMOOTH), t_shift(all, SMOOTH));
    return t_affine(t_mean_all(share), -1, 1);
}

static bool decays(const struct node *parameter)
{
    return !strstr(parameter->leaf.name, "norm") &&
           !strstr(parameter->leaf.name, "relative_position_bias_table");
}

/* AdamW, of those that decay and of the others. */
static void optimise(struct training *training, struct phase *phase)
{
    size_t count = phase->parameter_count;
    for (int group = 0; group < 2; group++) {
        struct node **some = arena_array(&training->arena, struct node *, count);
        for (size_t i = 0; i < count; i++)
            some[i] = decays(phase->parameters[i]) == (group == 0) ? phase->gradients[i] : NULL;
        optimise_adam(&phase->updates, phase->parameters, some, count, training->scheduled,
                      .weight_decay = group ? 0 : DECAY, .decoupled = true,
                      .name = group ? "adam.plain" : "adam");
    }
}

static void build(struct segmentation *segmentation)
{
    struct training *training = segmentation->training;
    struct swin swin =
        segmentation->swin ? *segmentation->swin : sizes[segmentation->settings.swin].swin;
    swin.classes = segmentation->classes;
    struct phase *phase = training ? training_phase(training, "main", 1) : NULL;
    struct swin_logits logits = swin_build(&swin, segmentation->image, phase ? &phase->each : NULL);
    segmentation->logits = logits.main;
    if (!training)
        return;
    struct node *labels = training->labels;
    struct node *overlap = dice(logits.main, labels);
    struct node *entropy = loss_cross_entropy(logits.main, labels);
    struct node *auxiliary =
        t_add(dice(logits.auxiliary, labels), loss_cross_entropy(logits.auxiliary, labels));
    phase_term(phase, "dice", overlap, 0);
    phase_term(phase, "cross_entropy", entropy, 0);
    phase_term(phase, "auxiliary", auxiliary, 0);
    phase_term(phase, "loss", t_add(t_add(overlap, entropy), t_scale(auxiliary, AUXILIARY)), 1);
    phase_differentiate(training, phase, "");
    optimise(training, phase);
}

const struct segment_recipe segment_swin = {
    .name = "swin",
    .resolve = resolve,
    .stride = stride,
    .build = build,
    .rate = rate,
};
