/* Recipes: how each model is trained and sampled, one row of a table each.
 *
 * A recipe builds, from settings, the graph of training: its phases in the order of a step, each
 * with its loss terms, its updates and the interval of steps at which it runs; and the graph of
 * sampling, whose weights are the running averages. The loop (loop.h) and the generator
 * (generator.h) know nothing of any model. A new model is one file and one row.
 *
 * A recipe that grows (growth.h) builds each stage as a graph of its own: networks for stage.side,
 * and while it fades, `alpha`, the share of the new layers. They hold the tensors that the stage
 * has a use for; those that the next stage has too keep their values, so each has one name for
 * ever. Phases and terms are the same in all stages.
 *
 *     struct training training;
 *     if (!training_init(&training, &settings, channels, size, err)) …
 *     … training.phases[i].terms, training.phases[i].updates …
 *     training_release(&training);
 */
#ifndef TRAIN_RECIPE_H
#define TRAIN_RECIPE_H

#include "base/arena.h"
#include "models/diffusion.h"
#include "nn/optimiser.h"
#include "train/growth.h"
#include "train/settings.h"

enum { RECIPE_PHASES = 6, RECIPE_TERMS = 4, RECIPE_INPUTS = 40 };

struct term {
    const char *name;
    struct node *value; /* a scalar, as it is logged */
    double weight;      /* in the loss; 0: it is logged only */
};

/* A step's batch may be computed in parts, each of training.part images. All parts begin with the
 * same tensors; what each finds out, gradients and the next values of running averages, is set
 * down in state, "accumulated.part.TENSOR", and summed up in "accumulated.TENSOR", whose mean is
 * taken at the end. So one part does not depend on another, and several processes can share them
 * (ranks.h).
 */
struct phase {
    const char *name;
    int64_t interval; /* runs at steps that it divides */
    struct term terms[RECIPE_TERMS];
    int term_count; /* 0: no loss, only updates */
    struct node **parameters, **gradients;
    size_t parameter_count;
    struct updates each;    /* with every part: running averages of the forward pass; where there
                               are several parts, what each of them found out */
    struct updates sums;    /* after each of several parts; sums.items[i] is of each.items[i] */
    struct updates updates; /* once a step, after the parts */
};

/* A graph of training, as the runner runs it. Every random number is a leaf of the graph, drawn
 * anew for each step. Segmenters' are built by segment_recipe.h's table. */
struct training {
    struct graph *graph;
    uint64_t seed;
    int64_t batch, parts, part; /* images a step; computed in so many parts; of so many images */
    struct node *real;   /* an input of images, (part,channels,size,size): what is learnt from */
    struct node *shown;  /* the same as the stage of growth shows them, (part,channels,side,side) */
    struct node *labels; /* segmenters: an input, i32 (part,size,size); else NULL */
    struct node *output; /* logits, or the diffusion model's output; for tests to look at */
    struct node *later;  /* the input "later", a scalar: 0 with the first part of a step, then 1 */
    /* A scalar input that each step sets anew: generators' decay of the running averages,
     * segmenters' learning rate. */
    struct node *scheduled;
    double (*schedule)(const struct training *training, uint64_t step);
    const void *schedule_of; /* for its use */
    struct phase phases[RECIPE_PHASES];
    int phase_count;
    int precision;                                            /* enum precision */
    int algorithms;                                           /* enum algorithms */
    bool (*accepts_bf16)(const char *scope, int64_t context); /* see struct recipe */
    int64_t bf16_context;
    struct growth growth;
    struct stage stage; /* what this graph trains */
    struct arena arena;

    /* Generators alone. */
    struct train_settings settings; /* resolved; its batch is that of the data's side */
    struct node *alpha;             /* a scalar input, growth_alpha; NULL: nothing is fading */
    int channels, size;             /* of the images */
    struct node *decay;             /* `scheduled` */
    struct diffusion diffusion;     /* ddpm */
};

/* A graph of sampling, of a fixed batch. */
struct sampling {
    struct train_settings settings;
    struct draw_options options;
    int channels, size, batch;
    struct graph *graph;
    struct node *inputs[RECIPE_INPUTS], *output;
    int input_count;
    float *values[RECIPE_INPUTS + 1]; /* host memory of each input, then of the output */
    struct stage stage;               /* of growth, that the weights are of */
    uint64_t step;                    /* of training, that the weights are of */
    int64_t draws;                    /* scoring: of noise, at each time */
    int alpha;                        /* the number of the input, see sampling_alpha … */
    double share;                     /* … and its value */
    struct plan *plan;
    struct diffusion diffusion; /* ddpm: as it was trained on */
    int *times;                 /* ddpm: the times that are visited or scored at, ascending */
    struct arena arena;
};

struct recipe {
    const char *name;
    /* What the settings ask for and no network can be. */
    bool (*check)(const struct train_settings *settings, int channels, int size, struct error *err);
    void (*build)(struct training *training);
    /* With precision bf16: whether a layer uses it, by its scope and a number that settings and
     * the images' size decide; NULL: all do. */
    bool (*accepts_bf16)(const char *scope, int64_t context);
    int64_t (*bf16_context)(const struct train_settings *settings, int size);
    bool grows;
    /* The running averages' decay at a step. */
    double (*decay)(const struct training *training, uint64_t step);
    /* Where it grows, the output has the stage's side; it is enlarged afterwards. */
    void (*build_sampling)(struct sampling *sampling);
    /* Images first … first + batch - 1 into `images`, in about [-1,1]. */
    bool (*draw)(struct sampling *sampling, uint64_t first, float *images, struct error *err);
    /* The loss of each image of a batch that training never shows, (batch), under noise that is
     * fixed by the images' numbers: what the best checkpoint is chosen by. NULL: there is no such
     * loss; a GAN's losses say which of its networks is ahead, not how good the images are. */
    void (*build_validation)(struct sampling *validation);
    bool (*validate)(struct sampling *validation, uint64_t first, const float *images,
                     float *losses, struct error *err);
    /* What the model says of a real image, in `score_count` numbers: a batch of that image alone.
     * Of diffusion losses at scoring->times, under noise that is the same for every image; of a GAN
     * what its discriminator says, for which a checkpoint has to hold one. */
    void (*build_scoring)(struct sampling *scoring);
    size_t (*score_count)(const struct sampling *scoring);
    bool (*score)(struct sampling *scoring, const float *image, double *scores, struct error *err);
    bool score_by_discriminator;
};
extern const struct recipe recipe_ddpm, recipe_progan, recipe_stylegan, recipe_stylegan2,
    recipe_stylegan3;
const struct recipe *recipe_of(const struct train_settings *settings);

/* How resolved settings grow; and whether a network can be what they ask for. */
struct growth recipe_growth(const struct train_settings *settings, int size);
bool recipe_check(const struct train_settings *settings, int channels, int size,
                  struct error *err) MUST_USE;

/* An empty graph of training; the inputs of images are still to be given it. */
void training_open(struct training *training, uint64_t seed, int64_t batch, int64_t parts,
                   const char *scheduled);
/* Builds a generator's graph of training, of the first stage or of the one that a step belongs to.
 * The settings are resolved first, and kept. */
bool training_init(struct training *training, const struct train_settings *settings, int channels,
                   int size, struct error *err) MUST_USE;
bool training_init_at(struct training *training, const struct train_settings *settings,
                      int channels, int size, uint64_t step, struct error *err) MUST_USE;
void training_release(struct training *training);

/* ---- for recipes ----------------------------------------------------------------------------- */

struct phase *training_phase(struct training *training, const char *name, int64_t interval);
void phase_term(struct phase *phase, const char *name, struct node *value, double weight);
/* Gradients of the weighted sum of the terms for all parameters of a network ("": of the graph),
 * zeros where it has no part in them; of the mean over all parts of the batch. */
void phase_differentiate(struct training *training, struct phase *phase, const char *network);

/* Whether a network of channel_base / side channels at each side has any at the largest. */
bool recipe_check_channels(int64_t channel_base, int size, struct error *err) MUST_USE;
/* Whether a discriminator can take the deviation of groups of images, at every side. */
bool recipe_check_groups(const struct train_settings *settings, int size, int group,
                         struct error *err) MUST_USE;

/* Images (N,C,S,S) as a stage is shown them, (N,C,side,side); alpha, a scalar, where it is fading,
 * else NULL. */
struct node *recipe_shown(struct node *images, int side, struct node *alpha);

/* An input of sampling with host memory of its own, at values[i] for the i-th. */
struct node *sampling_input(struct sampling *sampling, const char *name, enum dtype dtype,
                            struct shape shape);
/* The scalar input that is the share of new layers; NULL where nothing is fading. */
struct node *sampling_alpha(struct sampling *sampling);
/* Writes all inputs, runs the plan, and reads the output into values[input_count]. */
bool sampling_run(struct sampling *sampling, struct error *err) MUST_USE;
/* Standard normal numbers for images first … first + batch - 1 into values[input], each image's
 * own: a function of (seed, name, image) alone. */
void sampling_normal(const struct sampling *sampling, int input, const char *name, uint64_t first);
/* Images that follow from the first `count` inputs, normal numbers of "NAME.0", "NAME.1", …: as a
 * recipe's `draw`. */
bool sampling_draw(struct sampling *sampling, int count, const char *name, uint64_t first,
                   float *images, struct error *err) MUST_USE;

/* Scoring by a discriminator. `scoring_images` is the input of a batch of one image: the deviation
 * of a batch (nn_minibatch_stddev), of which a discriminator makes a feature, is then that of no
 * difference at all, the same for every image. Beside three fixed companions scores are other
 * numbers in the same order: they correlate at 1.00 (docs/results.md). */
struct node *scoring_images(struct sampling *scoring);
size_t scoring_one(const struct sampling *scoring);
bool scoring_run(struct sampling *scoring, const float *image, double *scores,
                 struct error *err) MUST_USE;

#endif
