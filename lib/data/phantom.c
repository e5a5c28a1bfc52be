/* One subject from beginning to end; see phantom.h.
 *
 * Every voxel is cut into detail³ points. At each, the head gives fractions of healthy tissue, the
 * lesions change them, and the scanner's table turns them into four signals, whose means over the
 * voxel are the partial volume. Then each modality is acquired on its own. Planes and rows write
 * only their own voxels, so threads change nothing.
 */
#include "data/phantom_internal.h"

#include "base/arena.h"
#include "base/parallel.h"

#include <string.h>

enum { USE_TEXTURE = 30, USE_VESSEL };

size_t phantom_slices(size_t size)
{
    size_t slices = (size * 155 + 120) / 240;
    return slices < 24 ? 24 : slices;
}

/* The scratch of one subject. */
struct work {
    const struct phantom *out;
    struct head head;
    struct lesions lesions;
    struct scanner scanner;
    struct box box;
    size_t detail;                     /* points a voxel along each axis */
    float *signal[PHANTOM_MODALITIES]; /* box */
    float *spare;                      /* box */
    uint8_t *inside;                   /* box: 1 in the brain */
};

/* The head point of a place in voxels, along one axis. */
static float millimetres(const struct phantom *out, float voxels, size_t count)
{
    return (voxels - (float)count / 2) * out->spacing;
}

/* ---- one voxel ------------------------------------------------------------------------- */

/* What has been found at the points of a voxel so far. */
struct mean {
    float signal[PHANTOM_MODALITIES];
    float inside, necrosis, oedema, enhancing;
};

/* Small vessels run where two noise sheets cross, in the fluid over the cortex; bright with
 * contrast and dark in T2 for their flow. */
static void add_vessel(const struct head *head, struct vector point, float width,
                       float fraction[TISSUES])
{
    float grey = fraction[TISSUE_GREY];
    float room = smaller(1, 3 * fraction[TISSUE_CSF] * grey + 0.2f * grey);
    if (room < 0.15f)
        return;
    float noise[4];
    noise_sample(&head->field, point, 34, USE_VESSEL, noise);
    /* The noise changes by about 1 over a sixth of its wavelength. */
    float away = 5.5f * sqrtf(noise[0] * noise[0] + noise[1] * noise[1]);
    float share = room * clamp(0.5f + (0.9f - away) / (width + 0.5f), 0, 1);
    for (int tissue = 0; tissue < TISSUES; tissue++)
        fraction[tissue] *= 1 - share;
    fraction[TISSUE_VESSEL] += share;
}

static void add_point(const struct work *work, struct vector point, float width, struct mean *mean)
{
    float fraction[TISSUES];
    if (work->head.sample(&work->head, point, width, fraction)) {
        mean->inside++;
        add_vessel(&work->head, point, width, fraction);
        lesions_apply(&work->lesions, &work->head, point, width, fraction);
    } else {
        for (int which = 0; which < PHANTOM_MODALITIES; which++)
            mean->signal[which] += work->scanner.modality[which].outside;
        return;
    }
    for (int which = 0; which < PHANTOM_MODALITIES; which++) {
        const struct modality *modality = &work->scanner.modality[which];
        float signal = 0;
        for (int tissue = 0; tissue < TISSUES; tissue++)
            signal += fraction[tissue] * modality->signal[tissue];
        mean->signal[which] += signal;
    }
    mean->necrosis += fraction[TISSUE_NECROSIS] + fraction[TISSUE_NON_ENHANCING];
    mean->oedema += fraction[TISSUE_OEDEMA];
    mean->enhancing += fraction[TISSUE_ENHANCING];
}

/* A voxel is labelled when half of it is tumour or oedema, by what most of that is. */
static uint8_t label_of(const struct mean *mean, float points)
{
    if (mean->necrosis + mean->oedema + mean->enhancing < 0.5f * points)
        return PHANTOM_BACKGROUND;
    if (mean->enhancing >= mean->necrosis && mean->enhancing >= mean->oedema)
        return PHANTOM_ENHANCING;
    return mean->necrosis >= mean->oedema ? PHANTOM_NECROSIS : PHANTOM_OEDEMA;
}

/* Voxel (x, y, z) of the box. */
static void make_voxel(struct work *work, size_t x, size_t y, size_t z)
{
    const struct phantom *out = work->out;
    const struct box *box = &work->box;
    size_t node = (z * box->size[1] + y) * box->size[0] + x, detail = work->detail;
    x += box->begin[0];
    y += box->begin[1];
    z += box->begin[2];
    struct vector middle = { millimetres(out, (float)x + 0.5f, out->columns),
                             millimetres(out, (float)y + 0.5f, out->rows),
                             millimetres(out, (float)z + 0.5f, out->slices) };
    struct mean mean = { 0 };
    float step = out->spacing / (float)detail, width = larger(step, 0.8f);
    float points = (float)(detail * detail * detail);
    /* Far outside nothing needs to be asked. */
    if (lattice_nearest(&work->head.lattice, middle, HEAD_OUTER) < -7 - out->spacing) {
        for (int which = 0; which < PHANTOM_MODALITIES; which++)
            work->signal[which][node] = work->scanner.modality[which].outside;
        return;
    }
    for (size_t i = 0; i < detail * detail * detail; i++) {
        size_t part[3] = { i % detail, i / detail % detail, i / detail / detail };
        float centre = ((float)detail - 1) / 2;
        struct vector point = { middle.x + ((float)part[0] - centre) * step,
                                middle.y + ((float)part[1] - centre) * step,
                                middle.z + ((float)part[2] - centre) * step };
        add_point(work, point, width, &mean);
    }
    /* Tissue is not quite even, tumours less so. */
    float noise[4], diseased = (mean.necrosis + mean.oedema + mean.enhancing) / points;
    noise_sample(&work->head.field, middle, 9, USE_TEXTURE, noise);
    for (int which = 0; which < PHANTOM_MODALITIES; which++) {
        float texture = work->scanner.modality[which].texture * (1 + 2 * diseased);
        work->signal[which][node] = mean.signal[which] / points * (1 + texture * noise[which]);
    }
    if (mean.inside < 0.5f * points)
        return;
    work->inside[node] = 1;
    out->label[(z * out->rows + y) * out->columns + x] = label_of(&mean, points);
}

static void make_plane(void *context, size_t z)
{
    struct work *work = context;
    for (size_t y = 0; y < work->box.size[1]; y++)
        for (size_t x = 0; x < work->box.size[0]; x++)
            make_voxel(work, x, y, z);
}

/* ---- one subject ----------------------------------------------------------------------- */

/* The voxels within a margin of the lattice nodes that may lie in the brain. */
static struct box brain_box(const struct lattice *lattice, const struct phantom *out)
{
    size_t count[3] = { out->columns, out->rows, out->slices };
    float low[3] = { 1e6f, 1e6f, 1e6f }, high[3] = { -1e6f, -1e6f, -1e6f };
    for (size_t node = 0; node < lattice->size[0] * lattice->size[1] * lattice->size[2]; node++) {
        struct vector p = lattice_point(lattice, node);
        float at[3] = { p.x, p.y, p.z };
        if (lattice->node[node][HEAD_OUTER] > -8)
            for (int axis = 0; axis < 3; axis++) {
                low[axis] = smaller(low[axis], at[axis]);
                high[axis] = larger(high[axis], at[axis]);
            }
    }
    struct box box;
    for (int axis = 0; axis < 3; axis++) {
        float half = (float)count[axis] / 2, margin = lattice->step / out->spacing + 1;
        float begin = clamp(low[axis] / out->spacing + half - margin, 0, (float)count[axis] - 1);
        float end = clamp(high[axis] / out->spacing + half + margin, 1, (float)count[axis]);
        box.begin[axis] = (size_t)begin;
        box.size[axis] = end > begin + 1 ? (size_t)ceilf(end) - box.begin[axis] : 1;
    }
    return box;
}

static bool work_allocate(struct work *work, struct error *err)
{
    size_t count = work->box.size[0] * work->box.size[1] * work->box.size[2];
    for (int which = 0; which < PHANTOM_MODALITIES; which++) {
        work->signal[which] = memory_allocate(count, sizeof(float), "phantom signals", err);
        if (!work->signal[which])
            return false;
    }
    work->spare = memory_allocate(count, sizeof(float), "phantom signals", err);
    work->inside = work->spare ? memory_allocate(count, 1, "phantom brain mask", err) : NULL;
    return work->inside != NULL;
}

static void work_release(struct work *work)
{
    for (int which = 0; which < PHANTOM_MODALITIES; which++)
        memory_free(work->signal[which]);
    memory_free(work->spare);
    memory_free(work->inside);
    head_release(&work->head);
}

static bool phantom_allocate(struct phantom *out, size_t size, struct error *err)
{
    out->rows = out->columns = size;
    out->slices = phantom_slices(size);
    out->spacing = 240.0f / (float)size;
    size_t voxels = out->slices * out->rows * out->columns;
    for (int which = 0; which < PHANTOM_MODALITIES; which++) {
        out->image[which] = memory_allocate(voxels, sizeof(int16_t), "phantom image", err);
        if (!out->image[which])
            return false;
    }
    out->label = memory_allocate(voxels, 1, "phantom labels", err);
    return out->label != NULL;
}

/* Subjects' noise: a stream per modality. */
static const char *const noise_names[PHANTOM_MODALITIES] = { "noise t1", "noise t1ce", "noise t2",
                                                             "noise flair" };

static bool fill(const struct phantom_settings *settings, size_t subject, struct phantom *out,
                 struct work *work, struct error *err)
{
    struct vector half =
        vector_scale((struct vector){ (float)out->columns, (float)out->rows, (float)out->slices },
                     out->spacing / 2);
    if (!head_init(&work->head, settings, subject, half, err))
        return false;
    lesions_place(&work->lesions, &work->head, draws_begin(settings->seed, subject, "lesions"));
    scanner_draw(&work->scanner, draws_begin(settings->seed, subject, "scanner"));
    work->out = out;
    work->box = brain_box(&work->head.lattice, out);
    /* Points at most 2 mm apart: finer than the cortex is thick. */
    work->detail = (size_t)ceilf(out->spacing / 2);
    if (!work_allocate(work, err))
        return false;
    parallel_items(work->box.size[2], make_plane, work);
    for (int which = 0; which < PHANTOM_MODALITIES; which++)
        scanner_acquire(&work->scanner.modality[which],
                        draws_begin(settings->seed, subject, noise_names[which]), &work->box,
                        work->signal[which], work->spare, work->inside, out, out->image[which]);
    return true;
}

bool phantom_generate(const struct phantom_settings *settings, size_t subject_index,
                      struct phantom *out, struct error *err)
{
    memset(out, 0, sizeof *out);
    if (settings->size < PHANTOM_SIZE_MIN || settings->size > PHANTOM_SIZE_MAX)
        return error_set(err, "phantom size %zu: expected %d to %d rows and columns",
                         settings->size, PHANTOM_SIZE_MIN, PHANTOM_SIZE_MAX);
    struct work work = { 0 };
    bool made = phantom_allocate(out, settings->size, err) &&
                fill(settings, subject_index, out, &work, err);
    work_release(&work);
    if (!made)
        phantom_release(out);
    return made;
}

void phantom_release(struct phantom *phantom)
{
    for (int which = 0; which < PHANTOM_MODALITIES; which++)
        memory_free(phantom->image[which]);
    memory_free(phantom->label);
    memset(phantom, 0, sizeof *phantom);
}
