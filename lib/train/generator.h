/* A trained generator, drawing images: the running averages of a checkpoint in a graph of sampling.
 *
 *     struct generator *generator = generator_open("run/model", &options, err);
 *     generator_draw(generator, 3, images, err);        // images 48 … 63
 *     generator_free(generator);
 *
 * While training goes on, one can be kept beside it:
 *
 *     struct generator *generator = generator_beside(&settings, &record, &options, err);
 *     generator_follow(generator, store, step, err);    // takes the averages that training has now
 *     generator_validate(generator, images, 20, &loss, err);
 *
 * Image i is a function of (weights, options, i) alone. Whatever images are asked for, whole
 * batches are computed, of one size and aligned: batch b is images b·B … b·B+B-1. Else a library's
 * choice of kernel by the size of a batch could show in the last bits.
 */
#ifndef TRAIN_GENERATOR_H
#define TRAIN_GENERATOR_H

#include "base/digest.h"
#include "train/settings.h"

enum { GENERATOR_BATCH = 16 };

struct generator; /* opaque */

struct generator_format {
    const char *checkpoint; /* its path */
    const char *model;
    size_t channels, size; /* of the images; channels with the mask's */
    const char **channel_names;
    bool masks;            /* the last channel is the mask */
    uint64_t step;         /* of training */
    size_t side;           /* of what the network draws; less than size while it still grows, then
                              pixels are repeated */
    int64_t steps;         /* ddpm: of sampling */
    struct digest weights; /* of the tensors used, see checkpoint_load_some */
    const char *dataset;   /* the digest of what it was trained on; CHECKPOINT_IMPORTED */
    uint64_t reference;    /* the number of a reference (reference.h); 0: it is none */
    const char *half;      /* whom a reference learnt from */
    bool mirror;           /* it was shown mirrored images, too */
    const char *device;    /* that computes: cpu, cuda */
};

/* `from`: a checkpoint, or a folder of training, whose latest is taken. References are refused:
 * they learnt from held-out people, too. */
struct generator *generator_open(const char *from, const struct draw_options *options,
                                 struct error *err) MUST_USE;
void generator_free(struct generator *generator); /* NULL is fine */

const struct generator_format *generator_format(const struct generator *generator);

/* One without weights yet, for images as the record says. */
struct checkpoint_record;
struct store;
struct generator *generator_beside(const struct train_settings *settings,
                                   const struct checkpoint_record *record,
                                   const struct draw_options *options, struct error *err) MUST_USE;
/* Copies the running averages out of a store of training, after so many steps. The error: too
 * little memory for what the model has grown to. */
bool generator_follow(struct generator *generator, const struct store *training, uint64_t step,
                      struct error *err) MUST_USE;

/* What it draws with, and the name that a tensor of it has in a checkpoint. */
const struct store *generator_store(const struct generator *generator);
const char *generator_name_in_training(const struct generator *generator, const char *tensor,
                                       struct arena *arena);

/* The mean loss of images (count,C,S,S), count at least 1, under noise that is always the same. Not
 * every model has one: generator_validates tells. */
bool generator_validates(const struct generator *generator);
bool generator_validate(struct generator *generator, const float *images, size_t count,
                        double *loss, struct error *err) MUST_USE;

/* One that draws nothing, but says of a real image how well the model knows it, in some numbers: of
 * diffusion its losses at some times, means over `draws` draws of noise that are the same for every
 * image; of a GAN the one that its discriminator gives it. They are a function of (weights, seed,
 * draws, image) alone. Imported weights of a GAN have no discriminator: that is an error. */
struct generator *generator_open_to_score(const char *from, const struct draw_options *options,
                                          int64_t draws, struct error *err) MUST_USE;
size_t generator_score_count(const struct generator *generator);
/* The times, of so many steps; NULL: a discriminator's. */
const int *generator_score_times(const struct generator *generator, int *steps);
/* Of an image (C,S,S) in [-1,1]. */
bool generator_score(struct generator *generator, const float *image, double *scores,
                     struct error *err) MUST_USE;

/* A batch (GENERATOR_BATCH,C,S,S), in about [-1,1]. */
bool generator_draw(struct generator *generator, uint64_t batch, float *images,
                    struct error *err) MUST_USE;

#endif
