/* Features of images, by a network that saw none of them: what measures of fidelity compare.
 *
 *     struct feature_network *network = feature_network_open(&settings, type, 256, 256, err);
 *     ok = feature_network_run(network, planes, count, values, err);       // (count,FEATURES)
 *     feature_network_free(network);
 *
 * Networks are rows of a table, and with a network goes the way in which images are brought to it.
 * Each gives 2,048 features, the means over all positions of its last block:
 *
 *   inception     Inception v3 of the Fréchet Inception Distance (models/inception.h), which learnt
 *                 from photographs; images as clean-fid prepares them
 *   radimagenet   ResNet-50 (models/resnet50.h), as RadImageNet has trained it on images of CT, MR
 *                 and ultrasound; images as in RadImageNet's example for PyTorch
 *
 * Weights come from a file, where numbers are to be compared with others' those that are published
 * (docs/weights.md), or are random: a random network tells images apart without having seen any,
 * and nothing is downloaded (Naeem et al., ICML 2020).
 */
#ifndef AUDIT_FEATURES_H
#define AUDIT_FEATURES_H

#include "base/digest.h"
#include "data/element.h"

enum { FEATURES = 2048, CLASSES = 1008 };

enum feature_network_kind { FEATURES_INCEPTION, FEATURES_RADIMAGENET, FEATURE_NETWORKS };
extern const char *const feature_network_names[FEATURE_NETWORKS + 1];

struct feature_settings {
    const char *weights; /* a safetensors file; NULL or "": random ones, always the same */
    const char *device;  /* as device_backend takes it (tensor/device.h); NULL: auto */
    int network;         /* enum feature_network_kind */
};

struct feature_format {
    const char *network, *backbone, *preparation; /* its name; and in words */
    int side;                                     /* of the images that it sees */
    bool random;                                  /* the weights are */
    char weights[DIGEST_HEX]; /* of the file; of how they are drawn, for random ones */
    const char *device;       /* that computes: cpu, cuda */
    size_t batch;             /* images computed at once: by the memory that is to be had */
    const char *no_classes;   /* why the network knows no classes; NULL: it does */
};

struct feature_network; /* opaque */

/* For planes (height,width) of uint8, uint16 (0 … 65535) or float16 (0 … 1), as stores hold them.
 * Refused: files that lack a tensor, hold another one, or one of another shape or type; all
 * differences are listed. Also where memory does not suffice for one image. */
struct feature_network *feature_network_open(const struct feature_settings *settings,
                                             enum element_type type, size_t height, size_t width,
                                             struct error *err) MUST_USE;
void feature_network_free(struct feature_network *network); /* NULL is fine */
const struct feature_format *feature_network_format(const struct feature_network *network);

/* The classifier (CLASSES,FEATURES): logits are products of it and features, with the bias that the
 * official inception score leaves out. NULL: the weights came without one. */
const float *feature_network_classifier(const struct feature_network *network);

/* values (count,FEATURES) of planes that may lie anywhere. A plane's values do not depend on those
 * that are computed with it. Refused: a plane that holds NaN or infinity. */
bool feature_network_run(struct feature_network *network, const void *const *planes, size_t count,
                         float *values, struct error *err) MUST_USE;

#endif
