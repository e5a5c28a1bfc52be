/* What decides about a training run, as one struct and one table of fields: the plan's section
 * `train`, the command line, and the text that every checkpoint carries.
 *
 *     struct train_settings settings = train_defaults;
 *     settings.model = MODEL_STYLEGAN2;
 *     if (!train_settings_resolve(&settings, 64, err)) …        // the preset of 64², where not set
 *
 * A number that was left at 0 (or at -1, where 0 has a meaning) is taken from the model's preset
 * for the resolution; after resolving nothing is left open, so a checkpoint's settings are
 * complete.
 */
#ifndef TRAIN_SETTINGS_H
#define TRAIN_SETTINGS_H

#include "base/text.h"
#include "base/yaml.h"

enum model_id {
    MODEL_DDPM,
    MODEL_PROGAN,
    MODEL_STYLEGAN,
    MODEL_STYLEGAN2,
    MODEL_STYLEGAN3,
    MODEL_COUNT
};
extern const char *const precision_names[];  /* by enum precision */
extern const char *const algorithms_names[]; /* by enum algorithms */
extern const char algorithms_help[];         /* of the setting, in every section that has it */
extern const char *const model_names[MODEL_COUNT + 1];

enum ada { ADA_NONE, ADA_ADAPTIVE, ADA_COUNT };

enum stylegan3_config { STYLEGAN3_T, STYLEGAN3_R, STYLEGAN3_CONFIGS };

enum train_masks { TRAIN_MASKS_AUTO, TRAIN_MASKS_NONE, TRAIN_MASKS_COUNT };

struct ddpm_settings {
    int64_t base, blocks, heads, steps;
    struct yaml_strings mult, attention; /* whole numbers */
    int schedule;                        /* enum schedule */
    bool learned_variance;
    double dropout, average; /* the moving average's decay */
};

struct stylegan_settings {
    int64_t z_width, w_width, mapping_layers, channel_base, channel_max;
    double gamma, mixing, average_kimg;
};

struct stylegan2_settings {
    int64_t z_width, w_width, mapping_layers, channel_base, channel_max, r1_interval, path_interval,
        bf16_resolutions;
    double gamma, path_weight, mixing, average_kimg, average_ramp, augment_target, augment_kimg;
    int augment; /* enum ada */
};

struct progan_settings {
    int64_t z_width, channel_base, channel_max;
    double penalty, drift, average; /* the moving average's decay */
};

/* Of the models that grow (growth.h). */
struct growth_settings {
    int64_t first_side, batch_most;
    double stable_kimg, fade_kimg;
};

struct stylegan3_settings {
    int config; /* enum stylegan3_config */
    int64_t z_width, w_width, mapping_layers, layers, channel_base, channel_max, r1_interval,
        bf16_resolutions;
    double gamma, d_rate, blur_sigma, blur_kimg, average_kimg, average_ramp, augment_target,
        augment_kimg;
    int augment; /* enum ada */
};

struct train_settings {
    int model, masks;
    int precision, algorithms; /* enum precision; enum algorithms (tensor/algorithms.h) */
    bool mirror;
    int64_t batch, accumulate, seed; /* a batch is computed in `accumulate` parts */
    double rate;
    struct ddpm_settings ddpm;
    struct stylegan_settings stylegan;
    struct stylegan2_settings stylegan2;
    struct progan_settings progan;
    struct growth_settings growth;
    struct stylegan3_settings stylegan3;
    /* These decide how long a run goes on and what it leaves, not what it computes: a run that is
     * resumed may change them. */
    int64_t images, checkpoint, keep, log, samples, validate;
    double time_limit;           /* minutes; 0: none */
    const char *device;          /* as device_backend takes it (tensor/device.h) */
    struct yaml_rows candidates; /* of struct train_candidate; for lethe run, not for training */
};

/* A generator that a plan tries: this training, or another that differs by a file of settings,
 * after some number of images, or at its end. */
struct train_candidate {
    const char *name;
    int64_t images;       /* 0: at its end */
    const char *settings; /* a file of what differs from the plan's section; NULL: nothing */
};
extern const struct train_settings train_defaults;
extern const struct yaml_field train_fields[];

enum { TRAIN_LIST = 8 }; /* the longest list of numbers */

enum sampler { SAMPLER_ANCESTRAL, SAMPLER_DDIM, SAMPLER_COUNT };
extern const char *const sampler_names[SAMPLER_COUNT + 1];

/* Which of a folder's checkpoints. */
enum weights { WEIGHTS_LATEST, WEIGHTS_BEST, WEIGHTS_COUNT };
extern const char *const weights_names[WEIGHTS_COUNT + 1];

/* How images are drawn. */
struct draw_options {
    uint64_t seed;
    int sampler;               /* ddpm: enum sampler */
    int64_t steps;             /* ddpm: of sampling; 0: all for ancestral, 50 for DDIM */
    double truncation;         /* StyleGANs: ψ; 1: none */
    int64_t truncation_cutoff; /* stylegan: of so many layers, the first */
    int weights;               /* enum weights: of a folder */
    int precision;             /* enum precision, of matrix work */
    const char *device;        /* as device_backend takes it; NULL: auto */
};

/* Fills in the model's preset for images of size × size (that of the next larger preset where there
 * is none) and checks what can be checked without a network. */
bool train_settings_resolve(struct train_settings *settings, int size, struct error *err) MUST_USE;

/* The numbers of a list; returns how many. They were checked by train_settings_resolve. */
int train_list(const struct yaml_strings *list, int numbers[TRAIN_LIST]);

/* Settings as the YAML that train_settings_parse reads. `lasting`: only what a run that is resumed
 * may not change. */
void train_settings_text(const struct train_settings *settings, bool lasting, struct text *out);
bool train_settings_parse(const char *yaml, const char *name, struct train_settings *settings,
                          struct arena *arena, struct error *err) MUST_USE;

#endif
