/* What the phantom's files share; see phantom.h for what a phantom is.
 *
 *     phantom.c            settings → head + lesions + scanner → volumes
 *     phantom_noise.c      smooth random fields, and the coarse lattice on which slow things live
 *     phantom_head.c       the warp that every head goes through, and the template's anatomy
 *     phantom_anatomy.c    anatomy built from distance functions
 *     phantom_lesion.c     tumours: kinds, placing, shape, mass effect
 *     phantom_scanner.c    tissue → signal: contrast, bias, blur, noise
 *
 * Points are in mm from the centre of the field of view: x to the left, y to posterior, z to
 * superior. "Head" points are where a voxel is; "anatomical" points are where it would be in the
 * standard head, after the subject's warp has been undone.
 */
#ifndef DATA_PHANTOM_INTERNAL_H
#define DATA_PHANTOM_INTERNAL_H

#include "data/phantom.h"

#include <math.h>

struct vector {
    float x, y, z;
};

static inline struct vector vector_add(struct vector a, struct vector b)
{
    return (struct vector){ a.x + b.x, a.y + b.y, a.z + b.z };
}

static inline struct vector vector_subtract(struct vector a, struct vector b)
{
    return (struct vector){ a.x - b.x, a.y - b.y, a.z - b.z };
}

static inline struct vector vector_scale(struct vector a, float s)
{
    return (struct vector){ s * a.x, s * a.y, s * a.z };
}

static inline float vector_dot(struct vector a, struct vector b)
{
    return a.x * b.x + a.y * b.y + a.z * b.z;
}

static inline float vector_length(struct vector a)
{
    return sqrtf(vector_dot(a, a));
}

static inline float clamp(float value, float low, float high)
{
    return value < low ? low : value > high ? high : value;
}

/* fminf and fmaxf without their care for NaN, which keeps them function calls. */
static inline float smaller(float a, float b)
{
    return a < b ? a : b;
}

static inline float larger(float a, float b)
{
    return a > b ? a : b;
}

/* 0 below `low`, 1 above `high`, smooth between. */
static inline float smooth_step(float low, float high, float value)
{
    float t = clamp((value - low) / (high - low), 0, 1);
    return t * t * (3 - 2 * t);
}

static inline float mix(float a, float b, float t)
{
    return a + (b - a) * t;
}

/* Numbers drawn one after another from a stream of their own. */
struct draws {
    uint64_t seed, stream, next;
};

/* The stream of one subject and one use: `use` names it. */
struct draws draws_begin(uint64_t seed, size_t subject, const char *use);
float draw_uniform(struct draws *draws, float low, float high);
float draw_normal(struct draws *draws, float mean, float deviation);
/* A normal draw held within two deviations of its mean: for sizes that must stay plausible. */
float draw_size(struct draws *draws, float mean, float deviation);
struct vector draw_direction(struct draws *draws);

/* A periodic tile of band-limited noise of unit variance, four values a node. */
enum { NOISE_SIZE = 48, NOISE_NODES = NOISE_SIZE * NOISE_SIZE * NOISE_SIZE, NOISE_WAVELENGTH = 6 };

struct noise {
    float (*node)[4]; /* (NOISE_SIZE, NOISE_SIZE, NOISE_SIZE), x fastest */
};

/* Four independent fields. */
bool noise_init(struct noise *noise, struct draws draws, struct error *err) MUST_USE;
/* One of another tile's fields and its gradient along x, y, z, per node. */
bool noise_init_gradient(struct noise *noise, const struct noise *of, int channel,
                         struct error *err) MUST_USE;
void noise_release(struct noise *noise);

/* The tile at `point`, stretched so that its dominant wavelength is `wavelength` mm; `use` shifts
 * it so that different uses see different parts. Gradients come per mm. */
void noise_sample(const struct noise *noise, struct vector point, float wavelength, int use,
                  float out[4]);
/* The same by quadratic splines: for outlines, on which the creases of linear pieces would show. */
void noise_sample_smooth(const struct noise *noise, struct vector point, float wavelength, int use,
                         float out[4]);
void noise_sample_gradient(const struct noise *noise, struct vector point, float wavelength,
                           int use, float out[4]);

/* The channels of a head's lattice: what varies slowly enough to be known every 5 mm only. */
enum head_channel {
    HEAD_X, /* the anatomical point */
    HEAD_Y,
    HEAD_Z,
    HEAD_DEPTH,    /* below the cerebrum's hull, mm; negative outside */
    HEAD_NORMAL_X, /* the direction of growing depth */
    HEAD_NORMAL_Y,
    HEAD_NORMAL_Z,
    HEAD_OUTER, /* inside the skull-stripped surface, mm; negative outside */
    HEAD_CEREBELLUM,
    HEAD_STEM,
    HEAD_FOLD_DEPTH, /* how deep sulci reach here, mm */
    HEAD_THICKNESS,  /* of the cortex, mm */
    HEAD_CHANNELS
};

/* A grid over the field of view, interpolated linearly. */
struct lattice {
    size_t size[3]; /* nodes along x, y, z */
    struct vector origin;
    float step;
    float (*node)[HEAD_CHANNELS]; /* (z, y, x), x fastest */
};

bool lattice_init(struct lattice *lattice, struct vector half_extent, float step,
                  struct error *err) MUST_USE;
void lattice_release(struct lattice *lattice);
struct vector lattice_point(const struct lattice *lattice, size_t node);
void lattice_sample(const struct lattice *lattice, struct vector point, float out[HEAD_CHANNELS]);
/* The value of one channel at the node nearest to `point`. */
float lattice_nearest(const struct lattice *lattice, struct vector point,
                      enum head_channel channel);
/* Sets the HEAD_NORMAL channels to the unit gradient of HEAD_DEPTH. */
void lattice_normals(struct lattice *lattice);

enum tissue {
    TISSUE_CSF,
    TISSUE_GREY,
    TISSUE_WHITE,
    TISSUE_NUCLEUS,  /* caudate, putamen, thalamus */
    TISSUE_PALLIDUM, /* its iron darkens T2 */
    TISSUE_GLIOSIS,  /* periventricular white matter of age */
    TISSUE_NECROSIS,
    TISSUE_OEDEMA,
    TISSUE_ENHANCING,
    TISSUE_NON_ENHANCING, /* solid tumour whose barrier holds */
    TISSUE_VESSEL,
    TISSUES
};

/* One subject's head: how to tell the tissues at a point. */
struct head {
    struct lattice lattice;
    struct noise field, fold;
    /* Tissue fractions (their sum is 1) at a head point, averaged over about `width` mm; the result
     * is whether the point is inside the skull-stripped brain. */
    bool (*sample)(const struct head *head, struct vector point, float width,
                   float fraction[TISSUES]);

    struct vector scale, shift, rotation[3]; /* rotation: rows */
    float warp;                              /* mm, of the coarse deformation */

    /* Of built anatomy. */
    float atrophy; /* 0 young … 1 */
    float thickness, fold_wavelength, ventricle, gliosis;

    /* Of a template. */
    const struct phantom_template *template;
    struct vector centre; /* of its brain's bounding box, in voxels */
    struct vector extent; /* half of that box, mm */
    float class_mean[3];  /* CSF, grey, white */
    float threshold;      /* above it a voxel is brain */
};

/* Fills the whole head for the settings' kind of anatomy. */
bool head_init(struct head *head, const struct phantom_settings *settings, size_t subject,
               struct vector half_extent, struct error *err) MUST_USE;
void head_release(struct head *head);
/* The anatomical point of a head point, before any mass effect. */
struct vector head_warp(const struct head *head, struct vector point);

/* Built anatomy: draws its parameters, fills the lattice, sets `sample`. */
void anatomy_prepare(struct head *head, struct draws draws);

enum { LESIONS_MAX = 4 };

struct lesion {
    struct vector centre,
        axis[3];  /* axes: rows, scaled so that the core's surface is at length 1 */
    float radius; /* of the core, mm */
    float rim;    /* thickness of the enhancing rim, mm; 0: none */
    float oedema; /* its reach beyond the core, mm */
    float irregularity;
    float patches; /* share of enhancing patches in a core without rim: 0 … 1 */
    float push;    /* mass effect at the core's surface, mm */
    bool necrotic; /* necrosis inside the rim; otherwise all enhancing, or non-enhancing */
    int use;       /* of the noise */
};

struct lesions {
    size_t count;
    struct lesion lesion[LESIONS_MAX];
};

/* Draws kinds, sizes and places in white matter of `head`, and pushes its lattice aside. */
void lesions_place(struct lesions *lesions, struct head *head, struct draws draws);
/* Turns the healthy fractions at a point into those with tumour. */
void lesions_apply(const struct lesions *lesions, const struct head *head, struct vector point,
                   float width, float fraction[TISSUES]);

struct modality {
    float signal[TISSUES]; /* white matter in T1 is about 1 */
    float outside;         /* of what surrounds the brain, before it is stripped */
    float texture, gain, noise;
    struct vector blur; /* standard deviations, mm */
    float bias[9];      /* x y z xx yy zz xy xz yz, of coordinates in units of 100 mm */
};

struct scanner {
    struct modality modality[PHANTOM_MODALITIES];
};

void scanner_draw(struct scanner *scanner, struct draws draws);

/* Where the brain lies: the scratch images cover these voxels only. */
struct box {
    size_t begin[3], size[3]; /* x, y, z */
};

/* Blurs, biases, adds noise to and rounds one modality: `signal` (box) → `image` (whole volume),
 * where `inside` (box) is set. `spare` is a second buffer of the box's size. */
void scanner_acquire(const struct modality *modality, struct draws draws, const struct box *box,
                     float *signal, float *spare, const uint8_t *inside, const struct phantom *out,
                     int16_t *image);

#endif
