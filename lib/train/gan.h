/* What the recipes of StyleGAN 2 and 3 share: phases of logistic losses, lazy R1, adaptive
 * augmentation, a blur that fades, and running averages of the generator.
 *
 *     struct gan gan = { .training = training, .discriminator = …, .generate = generate, … };
 *     gan_begin(&gan);
 *     struct phase *g_main = gan_train_generator(&gan);
 *     …                                                  // phases of the generator's own
 *     gan_train_discriminator(&gan);                     // Dmain, Dr1, augment
 *     gan_average(&gan, g_main);
 *
 * Networks are named "G" and "D", random numbers after their phase. Optimisers are Adam(0, .99).
 * A network with a lazy phase every k steps takes k + 1 updates in k steps: rate and betas are
 * corrected by k/(k+1) (Karras et al. 2020, appendix B).
 */
#ifndef TRAIN_GAN_H
#define TRAIN_GAN_H

#include "models/stylegan2.h"
#include "train/recipe.h"

struct gan {
    struct training *training;
    struct stylegan2 discriminator; /* what its layers are made from */
    double g_rate, d_rate;
    int64_t g_interval, r1_interval; /* of lazy phases; 0: there is none */
    double gamma;                    /* weight of R1 */
    bool augments;
    double augment_target, augment_kimg;
    double blur_sigma, blur_kimg; /* of the blur that the discriminator sees images through, in
                                     pixels; in how many thousand images it fades; 0: none */
    /* n images of latents that are the phase's own. `trained`: the generator is what this phase
     * trains. */
    struct node *(*generate)(struct gan *gan, struct phase *phase, int64_t n, bool trained);
    const void *of;     /* for its use */
    struct node *p;     /* of augmentation, a state; NULL: there is none */
    struct node *sigma; /* of the blur at this step; NULL: there is none */
};

/* Makes p and sigma; before all phases. */
void gan_begin(struct gan *gan);

/* "PHASE.NAME", for random numbers. */
const char *gan_name(const struct gan *gan, const struct phase *phase, const char *name);

/* What the discriminator says of images: blurred and augmented where that is asked for. */
struct node *gan_discriminate(const struct gan *gan, const struct phase *phase, struct node *x,
                              const char *what);

/* Gradients of a phase's terms for "G." or "D.", and the optimiser's step. */
void gan_finish(const struct gan *gan, struct phase *phase, const char *network);

struct phase *gan_train_generator(struct gan *gan);
void gan_train_discriminator(struct gan *gan);

/* Running averages of the parameters of the generator's phase, and what goes on by the step. */
void gan_average(struct gan *gan, const struct phase *of);

/* Of such averages: a half-life of thousands of images, at most a share of the images so far (0:
 * however few there were). */
double gan_decay(double batch, double half_life_kimg, double ramp, uint64_t step);

/* With bf16, as the official num_fp16_res, the `resolutions` highest resolutions use it: the least
 * of them, which is never the lowest, 4. */
int64_t gan_bf16_least(int size, int64_t resolutions);
/* Whether a scope, "….b64.conv0", is of a block of StyleGAN 2's of at least that resolution; never
 * the mapping, nor the discriminator's last block, where statistics of a batch are taken. */
bool gan_block_accepts_bf16(const char *scope, int64_t least);

/* What the discriminator asks of images and batches. */
bool gan_check(const struct train_settings *settings, int size, struct error *err) MUST_USE;

/* Adds a Gaussian blur, of which 2^-1 is left at `sigma` pixels, cut at three sigma (a scalar node,
 * at most `most`); zeros beyond the edges. x (N,C,S,S). With sigma 0 the image stays what it is. */
struct node *gan_blur(struct node *x, struct node *sigma, double most);

#endif
