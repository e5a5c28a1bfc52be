/* What every head has: a subject's size, pose and warp; and the head taken from a template.
 *
 * A template's tissues are estimated from its intensities alone: one-dimensional k-means over its
 * histogram finds the means of fluid, grey and white matter, and an intensity between two means is
 * a mixture of their tissues, pushed somewhat towards the nearer one. Where the real head has fine
 * detail the mixture has it too, and so all four contrasts do.
 */
#include "data/phantom_internal.h"

#include "base/parallel.h"

#include <string.h>

enum { USE_WARP_COARSE = 1, USE_WARP_FINE };

static void draw_pose(struct head *head, struct draws draws)
{
    /* The built brain has an atlas' size, which is above the mean patient's; a template has its
     * own. */
    float size = draw_size(&draws, head->template ? 1 : 0.965f, 0.035f);
    head->scale = (struct vector){ size * draw_size(&draws, 1, 0.025f),
                                   size * draw_size(&draws, 0.99f, 0.025f),
                                   size * draw_size(&draws, 0.99f, 0.02f) };
    head->shift = (struct vector){ draw_size(&draws, 0, 1.2f), draw_size(&draws, 0, 2.5f),
                                   draw_size(&draws, 0, 1.5f) };
    float nod = draw_size(&draws, 0, 0.06f), turn = draw_size(&draws, 0, 0.025f),
          roll = draw_size(&draws, 0, 0.025f);
    float cn = cosf(nod), sn = sinf(nod), ct = cosf(turn), st = sinf(turn), cr = cosf(roll),
          sr = sinf(roll);
    head->rotation[0] = (struct vector){ ct * cr, -st, ct * sr };
    head->rotation[1] = (struct vector){ cn * st * cr + sn * sr, cn * ct, cn * st * sr - sn * cr };
    head->rotation[2] = (struct vector){ sn * st * cr - cn * sr, sn * ct, sn * st * sr + cn * cr };
    /* A built head's folds and hull vary by themselves. */
    head->warp = draw_size(&draws, head->template ? 1 : 0.7f, 0.12f);
}

struct vector head_warp(const struct head *head, struct vector point)
{
    float coarse[4], fine[4];
    struct vector p = vector_subtract(point, head->shift);
    p = (struct vector){ vector_dot(head->rotation[0], p), vector_dot(head->rotation[1], p),
                         vector_dot(head->rotation[2], p) };
    p = (struct vector){ p.x / head->scale.x, p.y / head->scale.y, p.z / head->scale.z };
    noise_sample_smooth(&head->field, p, 110, USE_WARP_COARSE, coarse);
    noise_sample_smooth(&head->field, p, 50, USE_WARP_FINE, fine);
    float a = 2.4f * head->warp, b = 0.7f * head->warp;
    return vector_add(p, (struct vector){ a * coarse[0] + b * fine[0], a * coarse[1] + b * fine[1],
                                          a * coarse[2] + b * fine[2] });
}

/* ---- the template ---------------------------------------------------------------------- */

enum { BINS = 256, CLASSES = 3, ROUNDS = 40 };

static size_t template_voxels(const struct phantom_template *template)
{
    return template->slices * template->rows * template->columns;
}

static bool template_check(const struct phantom_template *template, float *maximum,
                           struct error *err)
{
    if (!template->voxels || template->slices < 8 || template->rows < 8 || template->columns < 8)
        return error_set(
            err,
            "template of %zu × %zu × %zu voxels: expected a volume of at least 8 along "
            "each axis",
            template->columns, template->rows, template->slices);
    for (int axis = 0; axis < 3; axis++)
        if (!(template->spacing[axis] > 0.1f && template->spacing[axis] < 20))
            return error_set(err, "template voxels of %g mm along %c: expected 0.1 to 20 mm",
                             (double)template->spacing[axis], "xyz"[axis]);
    size_t count = template_voxels(template);
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(template->voxels[i]))
            return error_set(err, "template voxel %zu is not a finite number", i);
        *maximum = larger(*maximum, template->voxels[i]);
    }
    if (*maximum <= 0)
        return error_set(err, "template holds no positive voxel: expected a skull-stripped head, "
                              "positive inside the brain and 0 outside");
    return true;
}

/* Where the histogram reaches a share of its total, as a bin. */
static size_t quantile(const size_t histogram[BINS], double share)
{
    double total = 0, sum = 0;
    for (size_t bin = 0; bin < BINS; bin++)
        total += (double)histogram[bin];
    for (size_t bin = 0; bin < BINS; bin++)
        if ((sum += (double)histogram[bin]) >= share * total)
            return bin;
    return BINS - 1;
}

/* Means of the three tissues: k-means of the histogram between its 0.5th and 99.5th percentiles. */
static bool class_means(struct head *head, const size_t histogram[BINS], float bin_width,
                        struct error *err)
{
    size_t low = quantile(histogram, 0.005), high = quantile(histogram, 0.995);
    double mean[CLASSES];
    for (int class = 0; class < CLASSES; class ++)
        mean[class] = (double)low + (double)(high - low) * (class + 0.5) / CLASSES;
    for (int round = 0; round < ROUNDS; round++) {
        double sum[CLASSES] = { 0 }, weight[CLASSES] = { 0 };
        for (size_t bin = low; bin <= high; bin++) {
            int class = (double)bin < (mean[0] + mean[1]) / 2   ? 0
                        : (double)bin < (mean[1] + mean[2]) / 2 ? 1
                                                                : 2;
            sum[class] += (double)bin * (double)histogram[bin];
            weight[class] += (double)histogram[bin];
        }
        for (int class = 0; class < CLASSES; class ++)
            if (weight[class] > 0)
                mean[class] = sum[class] / weight[class];
    }
    for (int class = 0; class < CLASSES; class ++)
        head->class_mean[class] = ((float)mean[class] + 0.5f) * bin_width;
    if (mean[1] - mean[0] < 2 || mean[2] - mean[1] < 2)
        return error_set(err, "template intensities do not fall into fluid, grey and white matter: "
                              "expected a T1-weighted head with contrast between them");
    return true;
}

/* The box around the brain's voxels, which places the template in the field of view. */
static bool bounding_box(struct head *head, struct error *err)
{
    const struct phantom_template *template = head->template;
    size_t size[3] = { template->columns, template->rows, template->slices };
    size_t low[3] = { SIZE_MAX, SIZE_MAX, SIZE_MAX }, high[3] = { 0 }, node = 0, at[3];
    for (at[2] = 0; at[2] < size[2]; at[2]++)
        for (at[1] = 0; at[1] < size[1]; at[1]++)
            for (at[0] = 0; at[0] < size[0]; at[0]++)
                if (template->voxels[node++] > head->threshold)
                    for (int axis = 0; axis < 3; axis++) {
                        low[axis] = at[axis] < low[axis] ? at[axis] : low[axis];
                        high[axis] = at[axis] > high[axis] ? at[axis] : high[axis];
                    }
    float centre[3], extent[3];
    for (int axis = 0; axis < 3; axis++) {
        centre[axis] = (float)(low[axis] + high[axis]) / 2;
        extent[axis] = (float)(high[axis] - low[axis] + 1) / 2 * template->spacing[axis];
        if (extent[axis] < 40 || extent[axis] > 115)
            return error_set(err,
                             "template brain spans %g mm along %c: expected 80 to 230 mm of a "
                             "skull-stripped head; check its spacing",
                             2 * (double)extent[axis], "xyz"[axis]);
    }
    head->centre = (struct vector){ centre[0], centre[1], centre[2] };
    head->extent = (struct vector){ extent[0], extent[1], extent[2] };
    return true;
}

static bool template_read(struct head *head, struct error *err)
{
    float maximum = 0;
    if (!template_check(head->template, &maximum, err))
        return false;
    size_t histogram[BINS] = { 0 }, count = template_voxels(head->template);
    float bins_per_unit = BINS / maximum;
    head->threshold = 0.02f * maximum;
    for (size_t i = 0; i < count; i++) {
        float value = head->template->voxels[i];
        if (value > head->threshold) {
            size_t bin = (size_t)(value * bins_per_unit);
            histogram[bin < BINS ? bin : BINS - 1]++;
        }
    }
    return class_means(head, histogram, maximum / BINS, err) && bounding_box(head, err);
}

/* The template's intensity at an anatomical point, over brain voxels only, and how much of the
 * eight neighbours they make up. */
static float template_intensity(const struct head *head, struct vector p, float *value)
{
    const struct phantom_template *template = head->template;
    float at[3] = { p.x / template->spacing[0] + head->centre.x,
                    p.y / template->spacing[1] + head->centre.y,
                    p.z / template->spacing[2] + head->centre.z };
    size_t size[3] = { template->columns, template->rows, template->slices }, low[3];
    float way[3], covered = 0, sum = 0;
    for (int axis = 0; axis < 3; axis++) {
        if (!(at[axis] >= 0 && at[axis] < (float)(size[axis] - 1)))
            return 0;
        low[axis] = (size_t)at[axis];
        way[axis] = at[axis] - (float)low[axis];
    }
    size_t row = size[0], plane = size[0] * size[1];
    const float *base = template->voxels + low[2] * plane + low[1] * row + low[0];
    for (size_t corner = 0; corner < 8; corner++) {
        size_t cx = corner & 1, cy = corner >> 1 & 1, cz = corner >> 2;
        float voxel = base[cz * plane + cy * row + cx];
        float weight =
            (cx ? way[0] : 1 - way[0]) * (cy ? way[1] : 1 - way[1]) * (cz ? way[2] : 1 - way[2]);
        if (voxel > head->threshold) {
            covered += weight;
            sum += weight * voxel;
        }
    }
    *value = covered > 0 ? sum / covered : 0;
    return covered;
}

/* Half linear mixing, half a smooth step: plateaus around the means, detail between them. */
static float mixture(float low, float high, float value)
{
    float linear = clamp((value - low) / (high - low), 0, 1);
    return (linear + linear * linear * (3 - 2 * linear)) / 2;
}

static bool template_sample(const struct head *head, struct vector point, float width,
                            float fraction[TISSUES])
{
    (void)width; /* the template's own voxels are the softness */
    float channel[HEAD_CHANNELS], value = 0;
    memset(fraction, 0, TISSUES * sizeof *fraction);
    lattice_sample(&head->lattice, point, channel);
    struct vector p = { channel[HEAD_X], channel[HEAD_Y], channel[HEAD_Z] };
    if (template_intensity(head, p, &value) < 0.5f) {
        fraction[TISSUE_CSF] = 1;
        return false;
    }
    const float *mean = head->class_mean;
    float white = mixture(mean[1], mean[2], value), fluid = 1 - mixture(mean[0], mean[1], value);
    fraction[TISSUE_WHITE] = white;
    fraction[TISSUE_CSF] = fluid;
    fraction[TISSUE_GREY] = 1 - white - fluid;
    return true;
}

static void template_fill_planes(void *context, size_t begin, size_t end)
{
    struct head *head = context;
    size_t plane = head->lattice.size[0] * head->lattice.size[1];
    struct vector e = head->extent;
    float least = smaller(e.x, smaller(e.y, e.z));
    for (size_t node = begin * plane; node < end * plane; node++) {
        struct vector p = head_warp(head, lattice_point(&head->lattice, node));
        float *channel = head->lattice.node[node];
        channel[HEAD_X] = p.x;
        channel[HEAD_Y] = p.y;
        channel[HEAD_Z] = p.z;
        /* Depth is only asked for roughly: that of the ellipsoid in the brain's box. */
        channel[HEAD_DEPTH] =
            least * (1 - vector_length((struct vector){ p.x / e.x, p.y / e.y, p.z / e.z }));
        channel[HEAD_OUTER] =
            smaller(smaller(e.x - fabsf(p.x), e.y - fabsf(p.y)), e.z - fabsf(p.z));
    }
}

static bool template_prepare(struct head *head, struct error *err)
{
    if (!template_read(head, err))
        return false;
    parallel_ranges(head->lattice.size[2], 1, template_fill_planes, head);
    lattice_normals(&head->lattice);
    head->sample = template_sample;
    return true;
}

bool head_init(struct head *head, const struct phantom_settings *settings, size_t subject,
               struct vector half_extent, struct error *err)
{
    const float step = 6;
    memset(head, 0, sizeof *head);
    head->template = settings->template;
    draw_pose(head, draws_begin(settings->seed, subject, "pose"));
    bool made = lattice_init(&head->lattice, half_extent, step, err) &&
                noise_init(&head->field, draws_begin(settings->seed, subject, "field"), err) &&
                noise_init_gradient(&head->fold, &head->field, 3, err);
    if (made && head->template)
        made = template_prepare(head, err);
    else if (made)
        anatomy_prepare(head, draws_begin(settings->seed, subject, "anatomy"));
    if (!made)
        head_release(head);
    return made;
}

void head_release(struct head *head)
{
    lattice_release(&head->lattice);
    noise_release(&head->field);
    noise_release(&head->fold);
}
