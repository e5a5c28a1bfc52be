/* From tissue to what a scanner writes: signal by tissue and contrast, coil bias, point spread,
 * Rician noise, rounding.
 *
 * Signals are relative: white matter in T1 is 1. They hold the orders that make each contrast what
 * it is (T1: white > grey > fluid; T2: fluid > grey > white; FLAIR: fluid dark, oedema bright;
 * T1ce: the rim bright) and each subject's differ by some per cent. The magnitude of a complex
 * signal with Gaussian noise in both parts has Rice's distribution (Gudbjartsson and Patz 1995).
 */
#include "data/phantom_internal.h"

#include "base/parallel.h"
#include "base/random.h"

#include <string.h>

/* One row per tissue: T1, T1ce, T2, FLAIR. */
static const float signals[TISSUES][PHANTOM_MODALITIES] = {
    [TISSUE_CSF] = { 0.24f, 0.24f, 1.55f, 0.17f },
    [TISSUE_GREY] = { 0.68f, 0.70f, 0.78f, 0.80f },
    [TISSUE_WHITE] = { 1.00f, 0.98f, 0.55f, 0.62f },
    [TISSUE_NUCLEUS] = { 0.78f, 0.79f, 0.70f, 0.76f },
    [TISSUE_PALLIDUM] = { 0.90f, 0.90f, 0.46f, 0.60f },
    [TISSUE_GLIOSIS] = { 0.80f, 0.80f, 0.95f, 1.05f },
    [TISSUE_NECROSIS] = { 0.36f, 0.36f, 1.30f, 0.55f },
    [TISSUE_OEDEMA] = { 0.66f, 0.66f, 1.12f, 1.22f },
    [TISSUE_ENHANCING] = { 0.64f, 1.55f, 0.95f, 1.02f },
    [TISSUE_NON_ENHANCING] = { 0.50f, 0.50f, 1.20f, 1.08f },
    [TISSUE_VESSEL] = { 0.35f, 1.70f, 0.25f, 0.25f },
};

static const float outside_signal[PHANTOM_MODALITIES] = { 0.28f, 0.42f, 1.0f, 0.30f };

static void modality_draw(struct modality *modality, enum phantom_modality which,
                          struct draws *draws)
{
    for (int tissue = 0; tissue < TISSUES; tissue++)
        modality->signal[tissue] = signals[tissue][which] * draw_size(draws, 1, 0.035f);
    /* Contrast: how far grey and white matter stand apart varies between protocols. */
    float middle = (modality->signal[TISSUE_GREY] + modality->signal[TISSUE_WHITE]) / 2;
    float spread = draw_size(draws, 1, 0.12f);
    modality->signal[TISSUE_GREY] = mix(middle, modality->signal[TISSUE_GREY], spread);
    modality->signal[TISSUE_WHITE] = mix(middle, modality->signal[TISSUE_WHITE], spread);
    modality->outside = outside_signal[which];
    modality->texture = draw_uniform(draws, 0.01f, 0.025f);
    modality->gain = 450 * expf(draw_size(draws, 0, 0.45f));
    modality->noise = draw_uniform(draws, 0.01f, 0.035f);
    /* T2 and FLAIR are often taken in thick slices, sometimes other than axial ones. */
    float fine = draw_uniform(draws, 0.25f, 0.7f), thick = fine;
    if (which >= PHANTOM_T2 && draw_uniform(draws, 0, 1) < 0.5f)
        thick = draw_uniform(draws, 0.8f, 1.7f);
    float plane = draw_uniform(draws, 0, 1);
    modality->blur =
        (struct vector){ plane < 0.1f ? thick : fine, plane >= 0.1f && plane < 0.25f ? thick : fine,
                         plane >= 0.25f ? thick : fine };
    for (int term = 0; term < 9; term++)
        modality->bias[term] += draw_size(draws, 0, term < 3 ? 0.02f : 0.015f);
}

void scanner_draw(struct scanner *scanner, struct draws draws)
{
    float coil[9];
    for (int term = 0; term < 9; term++)
        coil[term] = draw_size(&draws, 0, term < 3 ? 0.08f : 0.06f);
    for (int which = 0; which < PHANTOM_MODALITIES; which++) {
        memcpy(scanner->modality[which].bias, coil, sizeof coil);
        modality_draw(&scanner->modality[which], (enum phantom_modality)which, &draws);
    }
}

/* ---- point spread ---------------------------------------------------------------------- */

enum { BLUR_REACH = 6 };

struct blur {
    const float *from;
    float *to;
    size_t size[3], stride, length, reach; /* of the blurred axis */
    float weight[BLUR_REACH + 1];
};

/* One row along x of a pass along any axis. Beyond the box the edge's value goes on. */
static void blur_row(const struct blur *blur, size_t row)
{
    size_t columns = blur->size[0], start = row * columns;
    if (blur->stride == 1) {
        for (size_t x = 0; x < columns; x++) {
            float sum = blur->weight[0] * blur->from[start + x];
            for (size_t tap = 1; tap <= blur->reach; tap++) {
                size_t before = x >= tap ? x - tap : 0;
                size_t after = x + tap < columns ? x + tap : columns - 1;
                sum += blur->weight[tap] * (blur->from[start + before] + blur->from[start + after]);
            }
            blur->to[start + x] = sum;
        }
        return;
    }
    size_t along = start / blur->stride % blur->length, base = start - along * blur->stride;
    float *to = blur->to + start;
    for (size_t x = 0; x < columns; x++)
        to[x] = blur->weight[0] * blur->from[start + x];
    for (size_t tap = 1; tap <= blur->reach; tap++) {
        size_t last = blur->length - 1, beyond = along + tap;
        const float *before = blur->from + base + (along >= tap ? along - tap : 0) * blur->stride;
        const float *after = blur->from + base + (beyond < last ? beyond : last) * blur->stride;
        for (size_t x = 0; x < columns; x++)
            to[x] += blur->weight[tap] * (before[x] + after[x]);
    }
}

static void blur_rows(void *context, size_t begin, size_t end)
{
    for (size_t row = begin; row < end; row++)
        blur_row(context, row);
}

/* Leaves the result in *signal; the two buffers may have changed places. */
static void blur_volume(const struct box *box, struct vector deviation, float **signal,
                        float **spare)
{
    float sigma[3] = { deviation.x, deviation.y, deviation.z };
    for (int axis = 0; axis < 3; axis++) {
        if (sigma[axis] < 0.25f) /* the neighbours' weights would be below 0.001 */
            continue;
        struct blur blur = { .from = *signal, .to = *spare, .length = box->size[axis] };
        memcpy(blur.size, box->size, sizeof blur.size);
        blur.stride = axis == 0 ? 1 : axis == 1 ? box->size[0] : box->size[0] * box->size[1];
        blur.reach = (size_t)clamp(ceilf(2.5f * sigma[axis]), 1, BLUR_REACH);
        float sum = 0;
        for (size_t tap = 0; tap <= blur.reach; tap++) {
            float at = (float)tap / sigma[axis];
            blur.weight[tap] = expf(-at * at / 2);
            sum += (tap ? 2 : 1) * blur.weight[tap];
        }
        for (size_t tap = 0; tap <= blur.reach; tap++)
            blur.weight[tap] /= sum;
        parallel_ranges(box->size[1] * box->size[2], 256, blur_rows, &blur);
        float *result = *spare;
        *spare = *signal;
        *signal = result;
    }
}

/* ---- the rest -------------------------------------------------------------------------- */

struct acquisition {
    const struct modality *modality;
    struct draws draws;
    const struct box *box;
    const float *signal;
    const uint8_t *inside;
    const struct phantom *out;
    int16_t *image;
};

static float bias(const float term[9], struct vector p)
{
    p = vector_scale(p, 0.01f);
    return 1 + term[0] * p.x + term[1] * p.y + term[2] * p.z + term[3] * p.x * p.x +
           term[4] * p.y * p.y + term[5] * p.z * p.z + term[6] * p.x * p.y + term[7] * p.x * p.z +
           term[8] * p.y * p.z;
}

static void acquire_row(const struct acquisition *a, size_t row)
{
    enum { WIDEST = PHANTOM_SIZE_MAX };
    float normal[2 * WIDEST];
    const struct box *box = a->box;
    const struct modality *modality = a->modality;
    size_t y = box->begin[1] + row % box->size[1], z = box->begin[2] + row / box->size[1];
    size_t first = (z * a->out->rows + y) * a->out->columns + box->begin[0];
    const uint8_t *inside = a->inside + row * box->size[0];
    const float *signal = a->signal + row * box->size[0];
    if (!memchr(inside, 1, box->size[0]))
        return;
    random_fill_normal(a->draws.seed, a->draws.stream, 2 * first, 2 * box->size[0], normal);
    struct vector p = { 0, ((float)y + 0.5f - (float)a->out->rows / 2) * a->out->spacing,
                        ((float)z + 0.5f - (float)a->out->slices / 2) * a->out->spacing };
    for (size_t x = 0; x < box->size[0]; x++) {
        if (!inside[x])
            continue;
        p.x = ((float)(box->begin[0] + x) + 0.5f - (float)a->out->columns / 2) * a->out->spacing;
        float real = signal[x] * bias(modality->bias, p) + modality->noise * normal[2 * x];
        float imaginary = modality->noise * normal[2 * x + 1];
        float value = modality->gain * sqrtf(real * real + imaginary * imaginary);
        a->image[first + x] = (int16_t)clamp(value + 0.5f, 1, INT16_MAX);
    }
}

static void acquire_rows(void *context, size_t begin, size_t end)
{
    for (size_t row = begin; row < end; row++)
        acquire_row(context, row);
}

void scanner_acquire(const struct modality *modality, struct draws draws, const struct box *box,
                     float *signal, float *spare, const uint8_t *inside, const struct phantom *out,
                     int16_t *image)
{
    struct vector deviation = vector_scale(modality->blur, 1 / out->spacing);
    blur_volume(box, deviation, &signal, &spare);
    struct acquisition acquisition = { modality, draws, box, signal, inside, out, image };
    parallel_ranges(box->size[1] * box->size[2], 64, acquire_rows, &acquisition);
}
