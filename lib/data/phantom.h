/* Brain phantoms: a cohort of made-up patients with tumours, so that everything can be run, tested
 * and measured without patient data.
 *
 *     struct phantom_settings settings = { .size = 240, .seed = 1 };
 *     struct phantom phantom;
 *     if (phantom_generate(&settings, 17, &phantom, err))
 *         … phantom.image[PHANTOM_T1], phantom.label …
 *     phantom_release(&phantom);
 *
 * A subject is a skull-stripped head in four contrasts with a mask, as BraTS stores them. Anatomy
 * (head shape, folds, atrophy, ventricles), lesions (kind, place, size, number) and scanner
 * (contrast, gain, bias field, noise, resolution) are drawn anew for each. Without a template the
 * anatomy is built from distance functions and noise; with one it is a smooth deformation of that
 * real head.
 *
 * A subject is a function of (settings, subject index) and of nothing else: not of the threads, not
 * of which subjects were made before, and there is no last one. Seen at another size it is the same
 * patient on another grid. Intensities go through libm (logf, sinf, expf) before they are rounded
 * to whole numbers, so another libm may move a voxel by one; on one machine bytes are equal.
 */
#ifndef DATA_PHANTOM_H
#define DATA_PHANTOM_H

#include "base/error.h"

#include <stdint.h>

enum { PHANTOM_SIZE_MIN = 32, PHANTOM_SIZE_MAX = 512 };

enum phantom_modality { PHANTOM_T1, PHANTOM_T1CE, PHANTOM_T2, PHANTOM_FLAIR, PHANTOM_MODALITIES };

/* The labels of BraTS. */
enum phantom_label {
    PHANTOM_BACKGROUND = 0,
    PHANTOM_NECROSIS = 1, /* necrotic and non-enhancing tumour core */
    PHANTOM_OEDEMA = 2,
    PHANTOM_ENHANCING = 4,
};

/* A real T1-weighted head, skull-stripped: positive inside the brain, 0 outside. (slices, rows,
 * columns) in C order, x fastest, LPS as below; spacing in mm along x, y, z. Borrowed. */
struct phantom_template {
    const float *voxels;
    size_t slices, rows, columns;
    float spacing[3];
};

struct phantom_settings {
    size_t size; /* rows and columns: PHANTOM_SIZE_MIN … PHANTOM_SIZE_MAX; 240 is BraTS' */
    uint64_t seed;
    const struct phantom_template *template; /* NULL: build the anatomy */
};

/* Arrays of (slices, rows, columns) in C order: x fastest, from the patient's right to left; y from
 * anterior to posterior; z from inferior to superior (LPS). Voxels are cubes of `spacing` mm, and
 * the field of view is 240 mm. Images are 0 outside the brain and at least 1 inside. */
struct phantom {
    size_t slices, rows, columns;
    float spacing;
    int16_t *image[PHANTOM_MODALITIES];
    uint8_t *label; /* enum phantom_label; 0 outside the brain */
};

/* Slices of a volume of `size` rows: 155/240 of it as in BraTS, at least 24. */
size_t phantom_slices(size_t size);

/* Makes one subject. Fails on a size or template that cannot be used (template: missing voxels, an
 * empty or flat brain, values that are not finite) and when memory runs out; `out` is then empty.
 * Takes about 22 bytes a voxel while it runs, 9 of them the result. Safe to call from several
 * threads at once; alone, it uses those of base/parallel.h. */
bool phantom_generate(const struct phantom_settings *settings, size_t subject_index,
                      struct phantom *out, struct error *err) MUST_USE;

/* Frees the arrays; harmless on an empty or released phantom. */
void phantom_release(struct phantom *phantom);

#endif
