/* A control made as smooth as the synthetic set.
 *
 * A control says what chance brings to images that are drawn like it. Synthetic images that are
 * smoother than real ones are nearer to everybody, noisy ones farther, and then the control's
 * thresholds flag strangers, or let copies pass. So its images are blurred, or given noise, until
 * their median roughness (roughness.h, fine) is that of the synthetic ones; then like is held
 * against like. It is one change, the same for all images: a set that mixes smooth and rough ones,
 * grain on a blur, or shading cannot be met so, and document_smoothness.c tells.
 *
 *     struct likening change = likening_of(&holdout, channels, roughness, median, seed);
 *     if (!liken_set(&holdout, channels, &change, seed, "work/control.npy", &likened, err)) …
 *     … likened.images …
 *     npy_close(&likened.array);
 */
#ifndef AUDIT_LIKEN_H
#define AUDIT_LIKEN_H

#include "audit/search.h"
#include "data/npy.h"

enum liken_change { LIKEN_NOTHING, LIKEN_BLUR, LIKEN_NOISE, LIKEN_COUNT };
extern const char *const liken_change_names[LIKEN_COUNT]; /* "none", "blur", "noise" */

/* Blur: by a Gaussian of standard deviation `sigma` pixels, at most 8. Noise: normal and white, of
 * standard deviation `sigma` grey values, at most 8 times that of the images. */
struct likening {
    enum liken_change change;
    double sigma;
    bool met; /* the medians then differ by a twentieth at most */
};

/* "blurred by 1.2 pixels", "with noise of 3.4 grey values", "as they are", in the arena. */
const char *likening_words(const struct likening *change, struct arena *arena);

/* The change after which the median roughness of up to 256 of the images, spread over the set, is
 * `median`: by bisection, as rounded to the images' type. `roughness`: of the images, NAN for those
 * that do not count. */
struct likening likening_of(const struct image_set *set, uint64_t channels, const double *roughness,
                            double median, uint64_t seed);

/* The changed image: set->channels × height × width elements. Channels that are not used stay. */
void liken_image(const struct image_set *set, uint64_t channels, const struct likening *change,
                 uint64_t seed, size_t image, void *out);

/* The whole set, written to `path` and mapped from there; its groups are those of the set. */
struct likened_set {
    struct image_set images;
    struct npy array;
};
bool liken_set(const struct image_set *set, uint64_t channels, const struct likening *change,
               uint64_t seed, const char *path, struct likened_set *likened,
               struct error *err) MUST_USE;

#endif
