/* Augmentation of labelled images: more patients, scanners and positions than there are.
 *
 *     struct augment augment = augment_usual;               // or augment_none
 *     augment_image(&augment, seed, k, channels, size, image, labels, scratch);
 *
 * What happens to the k-th image of a run is a function of (seed, k) alone. The spatial changes
 * (mirror, rotation, scaling, elastic) are one resampling: linear for images, nearest for labels,
 * zeros, which are background, from beyond the edges. Then come those of intensity, a channel at a
 * time, on values in about [0,1], of which 0 stays background's. Kinds, ranges and odds are those
 * of Isensee et al. (Nature Methods 18:203, 2021), and of the study for rotation and scaling.
 */
#ifndef TRAIN_AUGMENT_H
#define TRAIN_AUGMENT_H

#include "base/error.h"

#include <stdint.h>

enum change {
    CHANGE_MIRROR,         /* left and right exchanged */
    CHANGE_ROTATION,       /* degrees, either way */
    CHANGE_SCALING,        /* factor on the size, along both axes */
    CHANGE_ELASTIC,        /* displacement's deviation, of the image's side */
    CHANGE_NOISE,          /* deviation, of the channel's */
    CHANGE_BLUR,           /* Gaussian's deviation, pixels */
    CHANGE_LOW_RESOLUTION, /* of the side: averaged down, interpolated back */
    CHANGE_CONTRAST,       /* factor on the difference from the mean */
    CHANGE_GAMMA,          /* exponent of values between least and greatest */
    CHANGE_COUNT
};
extern const char *const change_names[CHANGE_COUNT];

/* How often each happens, and the range its strength is drawn from, uniformly. */
struct augment {
    struct {
        double probability, low, high;
    } change[CHANGE_COUNT];
};
extern const struct augment augment_usual, augment_none;

/* Floats that augment_image needs as scratch memory. */
size_t augment_scratch(size_t channels, size_t size);

/* Changes image (channels,size,size) and labels (size,size) in place. */
void augment_image(const struct augment *augment, uint64_t seed, uint64_t k, size_t channels,
                   size_t size, float *image, uint8_t *labels, float *scratch);

#endif
