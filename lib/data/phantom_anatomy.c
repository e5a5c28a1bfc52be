/* Built anatomy: a brain from signed distances and noise.
 *
 * The cerebrum's hull is a smooth union of ellipsoids. Sulci are the zero sheets of a band-limited
 * noise that is looked up near the hull (a point is first moved out along the hull's normal), so
 * that they stand perpendicular to the surface, wind as labyrinths, and end at a depth that varies.
 * With d the depth below the hull and s the distance to the nearest sheet, the distance to the pial
 * surface is about
 *
 *     p = min(d, sqrt(s² + max(0, d − D)²) − half the sulcus' width),
 *
 * and the cortex is 0 < p < its thickness: folds and ribbon follow from one number. The fissures
 * (interhemispheric, Sylvian) are sheets as well; nuclei and ventricles are ellipsoids and tubes.
 * Sizes follow the usual atlases: a brain of 138 × 172 × 140 mm, cortex 2–3 mm, sulci 8–24 mm deep.
 *
 * The hull's distances vary slowly and live on the lattice. Everything is mirrored in x; the warp
 * (phantom_head.c) and the folds make the sides differ.
 */
#include "data/phantom_internal.h"

#include "base/parallel.h"

#include <string.h>

enum { USE_FOLD = 10, USE_FOLD_MINOR, USE_FOLIA, USE_DEPTH, USE_MIDLINE };
enum { USE_OTHER_SIDE = 7 }; /* added to the first two on the right */

/* The signed distance to an ellipsoid, positive inside: exact on the surface, of the right slope
 * near it (after I. Quilez, "ellipsoid distance bound"). */
static float ellipsoid(struct vector p, struct vector centre, struct vector radius)
{
    p = vector_subtract(p, centre);
    struct vector unit = { p.x / radius.x, p.y / radius.y, p.z / radius.z };
    struct vector slope = { unit.x / radius.x, unit.y / radius.y, unit.z / radius.z };
    float length = vector_length(unit), steepness = vector_length(slope);
    float least = smaller(radius.x, smaller(radius.y, radius.z));
    if (steepness < 1e-6f)
        return least;
    return smaller(least, length * (1 - length) / steepness);
}

/* The distance into a tube from a to b whose radius goes from ra to rb. */
static float tube(struct vector p, struct vector a, struct vector b, float ra, float rb)
{
    struct vector along = vector_subtract(b, a), from = vector_subtract(p, a);
    float t = clamp(vector_dot(from, along) / vector_dot(along, along), 0, 1);
    return mix(ra, rb, t) - vector_length(vector_subtract(from, vector_scale(along, t)));
}

/* The larger of two distances, rounded over `reach` mm where they meet: a smooth union. */
static float join(float a, float b, float reach)
{
    float overlap = larger(0, reach - fabsf(a - b)) / reach;
    return larger(a, b) + overlap * overlap * reach / 4;
}

static float cut(float a, float b, float reach)
{
    return -join(-a, -b, reach);
}

/* The fraction of a blurred step: 1 well inside, 0 well outside. */
static float soft(float distance, float width)
{
    return clamp(0.5f + distance / width, 0, 1);
}

static float cerebellum(struct vector p)
{
    struct vector folded = { fabsf(p.x), p.y, p.z };
    float side = ellipsoid(folded, (struct vector){ 22, 46, -38 }, (struct vector){ 32, 31, 26 });
    float vermis = ellipsoid(p, (struct vector){ 0, 43, -37 }, (struct vector){ 15, 26, 23 });
    return join(side, vermis, 6);
}

static float stem(struct vector p)
{
    static const struct vector midbrain = { 0, 9, -8 }, pons = { 0, 8, -34 },
                               medulla = { 0, 19, -52 }, cord = { 0, 23, -78 };
    float upper = tube(p, midbrain, pons, 13, 14), lower = tube(p, pons, medulla, 14, 8);
    struct vector folded = { fabsf(p.x), p.y, p.z };
    float peduncle =
        tube(folded, (struct vector){ 7, 10, -35 }, (struct vector){ 19, 38, -40 }, 8, 6);
    float trunk = join(join(upper, lower, 6), tube(p, medulla, cord, 8, 6), 4);
    return join(trunk, peduncle, 5);
}

static float cerebrum(struct vector p, float outside_cerebellum)
{
    p.x = fabsf(p.x);
    float front = ellipsoid(p, (struct vector){ 0, -6, 14 }, (struct vector){ 64, 82, 54 });
    float back = ellipsoid(p, (struct vector){ 0, 20, 18 }, (struct vector){ 69, 66, 51 });
    /* The base: frontal lobes rest lower than the occipital ones, which lie on the tentorium. */
    float base = -22 + 10 * smooth_step(-30, 20, p.y) - 6 * smooth_step(50, 80, p.y);
    float upper = cut(join(front, back, 20), p.z - base, 14);
    struct vector tilted = { p.x, p.y, p.z - 0.25f * (p.y + 8) };
    float temporal =
        ellipsoid(tilted, (struct vector){ 45, -8, -20 }, (struct vector){ 21, 46, 22 });
    float fusiform = ellipsoid(p, (struct vector){ 38, 34, -12 }, (struct vector){ 26, 44, 17 });
    float whole = join(upper, join(temporal, fusiform, 10), 6);
    return cut(whole, outside_cerebellum - 1.5f, 3);
}

/* Everything that moves slowly, at one lattice node. */
static void fill_node(struct head *head, size_t node)
{
    float *channel = head->lattice.node[node], noise[4];
    struct vector point = lattice_point(&head->lattice, node), p = head_warp(head, point);
    channel[HEAD_X] = p.x;
    channel[HEAD_Y] = p.y;
    channel[HEAD_Z] = p.z;
    channel[HEAD_CEREBELLUM] = cerebellum(p);
    channel[HEAD_STEM] = stem(p);
    channel[HEAD_DEPTH] = cerebrum(p, -channel[HEAD_CEREBELLUM]);
    /* The stripped surface bridges the cisterns between the three, and lies just outside them. */
    float lower = join(channel[HEAD_CEREBELLUM], channel[HEAD_STEM], 18);
    channel[HEAD_OUTER] = join(channel[HEAD_DEPTH], lower, 16);
    noise_sample(&head->field, p, 55, USE_DEPTH, noise);
    channel[HEAD_FOLD_DEPTH] = clamp(20 + 4.5f * noise[0], 10, 28);
    channel[HEAD_OUTER] += 0.5f * head->atrophy + 0.6f * noise[2];
    channel[HEAD_THICKNESS] = head->thickness * clamp(1 + 0.15f * noise[1], 0.7f, 1.4f);
}

static void fill_planes(void *context, size_t begin, size_t end)
{
    struct head *head = context;
    size_t plane = head->lattice.size[0] * head->lattice.size[1];
    for (size_t node = begin * plane; node < end * plane; node++)
        fill_node(head, node);
}

/* What is known of a point before its tissue is decided. */
struct place {
    struct vector p;      /* anatomical */
    struct vector normal; /* into the cerebrum */
    float side;           /* distance from the midline */
    float depth;
    float core; /* inside the oval of the corpus callosum, in the midline plane */
    float falx; /* distance to the interhemispheric fissure's sheet */
    float rim;  /* width of the fluid over the cortex */
    const float *channel;
};

/* The distance to the zero sheet of the fold noise at `wavelength`, perpendicular to the hull: the
 * share of the gradient along the normal is taken out, as the look-up point hardly moves with it.
 */
static float sheet(const struct head *head, const struct place *place, float depth,
                   struct vector normal, float wavelength, int use)
{
    const float follow = 0.7f;
    float noise[4];
    struct vector surface = vector_subtract(place->p, vector_scale(normal, follow * depth));
    /* The hemispheres fold each in its own way. */
    use += place->p.x < 0 ? USE_OTHER_SIDE : 0;
    noise_sample_gradient(&head->fold, surface, wavelength, use, noise);
    struct vector gradient = { noise[1], noise[2], noise[3] };
    float across = follow * vector_dot(gradient, normal);
    gradient = vector_subtract(gradient, vector_scale(normal, across));
    float floor = 0.6f / wavelength; /* flat noise is no sulcus, only far from one */
    return fabsf(noise[0]) / sqrtf(vector_dot(gradient, gradient) + floor * floor);
}

static float beyond(float value, float limit)
{
    return larger(0, value - limit);
}

/* The Sylvian fissure and the insula's surface: two sheets, one running in from the side, one
 * across its inner end. The distance to the nearer one. */
static float sylvian(struct vector p, float side)
{
    float level = -3 + 0.3f * p.y, over = p.z - level;
    float ends = beyond(fabsf(p.y + 2), 32), short_of = larger(0, 37 - side);
    float lateral = sqrtf(over * over + ends * ends + short_of * short_of);
    float insula_ends = beyond(fabsf(p.y + 3), 21), edge = beyond(fabsf(over - 2), 13);
    float bow = 37 - 0.006f * (p.y + 3) * (p.y + 3), from = side - bow;
    return smaller(lateral, sqrtf(from * from + insula_ends * insula_ends + edge * edge));
}

/* The distance to the nearest sulcus or fissure, less half its width. */
static float sulcus(const struct head *head, const struct place *place)
{
    /* The medial wall folds as the outer surface does. Where both are near, their normals blend. */
    float depth = smaller(place->depth, place->falx);
    float medial = smooth_step(-6, 6, place->depth - place->falx);
    struct vector wall = { place->p.x < 0 ? -1.0f : 1.0f, 0, 0 };
    struct vector normal =
        vector_add(vector_scale(place->normal, 1 - medial), vector_scale(wall, medial));
    normal = vector_scale(normal, 1 / (vector_length(normal) + 1e-6f));

    float open = head->atrophy * (1 + 0.8f * smooth_step(10, 0, depth));
    float reach = place->channel[HEAD_FOLD_DEPTH] * (1 - 0.45f * medial);
    float distance = 12, below = beyond(depth, reach);
    if (below < distance) { /* else no sulcus comes near */
        float major = sheet(head, place, depth, normal, head->fold_wavelength, USE_FOLD);
        distance = sqrtf(major * major + below * below) - 0.4f - 0.65f * open;
    }
    below = beyond(depth, 0.55f * reach * (1 - 0.7f * medial));
    if (below < distance + 0.15f + 0.4f * open) {
        float minor =
            sheet(head, place, depth, normal, 0.8f * head->fold_wavelength, USE_FOLD_MINOR);
        distance = smaller(distance, sqrtf(minor * minor + below * below) - 0.15f - 0.4f * open);
    }
    distance = smaller(distance, sylvian(place->p, place->side) - 0.7f - 1.6f * head->atrophy);
    return distance;
}

/* Cortex, white matter and the fluid outside of a cerebral point. */
static void cerebrum_tissue(const struct head *head, const struct place *place, float width,
                            float fraction[TISSUES])
{
    float folds = place->depth < 40 || place->falx < 30 ? sulcus(head, place) : 40;
    float fissure = place->falx - 0.3f - 0.8f * head->atrophy;
    float pial = smaller(smaller(place->depth - place->rim, folds), fissure);
    /* The corpus callosum, at the fissure's floor, has no cortex. */
    float ribbon =
        smaller(smaller(place->depth - place->rim, folds), place->core > -4 ? 40.0f : fissure);
    float fluid = soft(-pial, width);
    float inner = soft(smaller(ribbon, 40) - place->channel[HEAD_THICKNESS], width);
    fraction[TISSUE_CSF] = fluid;
    fraction[TISSUE_WHITE] = smaller(inner, 1 - fluid);
    fraction[TISSUE_GREY] = 1 - fluid - fraction[TISSUE_WHITE];
}

static void cerebellum_tissue(const struct head *head, const struct place *place, float width,
                              float fraction[TISSUES])
{
    float depth = place->channel[HEAD_CEREBELLUM], noise[4];
    struct vector p = place->p;
    /* Folia run from side to side: the noise is stretched along x. */
    struct vector stretched = { 0.25f * p.x, p.y, p.z + 0.2f * fabsf(p.x) };
    noise_sample_gradient(&head->fold, stretched, 10, USE_FOLIA, noise);
    float slope = sqrtf(noise[1] * noise[1] + noise[2] * noise[2] + noise[3] * noise[3] + 0.004f);
    float major = fabsf(noise[0]) / slope, below = beyond(depth, 11);
    float folds = sqrtf(major * major + below * below) - 0.25f - 0.5f * head->atrophy;
    float pial = smaller(depth - 0.4f, folds);
    fraction[TISSUE_CSF] = soft(-pial, width);
    fraction[TISSUE_WHITE] = smaller(soft(pial - 1.8f, width), 1 - fraction[TISSUE_CSF]);
    fraction[TISSUE_GREY] = 1 - fraction[TISSUE_CSF] - fraction[TISSUE_WHITE];
}

/* Gives `share` of the point to one tissue, taking from the others in proportion. */
static void take(float fraction[TISSUES], enum tissue tissue, float share)
{
    for (int other = 0; other < TISSUES; other++)
        fraction[other] *= 1 - share;
    fraction[tissue] += share;
}

/* Nuclei beside the midline: ellipsoids, mirrored. */
static const struct nucleus {
    struct vector centre, radius;
    enum tissue tissue;
} nuclei[] = {
    { { 11, 10, 5 }, { 8.5f, 14, 8.5f }, TISSUE_NUCLEUS }, /* thalamus */
    { { 14, -20, 6 }, { 6, 10, 10 }, TISSUE_NUCLEUS },     /* head of the caudate */
    { { 17, -4, 19 }, { 3.5f, 16, 4 }, TISSUE_NUCLEUS },   /* its body */
    { { 25.5f, -7, 2 }, { 5, 16, 10 }, TISSUE_NUCLEUS },   /* putamen */
    { { 19, -3, -1 }, { 4, 8.5f, 6 }, TISSUE_PALLIDUM },
    { { 26, 0, -20 }, { 8, 8, 7 }, TISSUE_GREY },      /* amygdala */
    { { 28, 14, -16 }, { 6, 14, 5 }, TISSUE_GREY },    /* hippocampus */
    { { 6, 6, -12 }, { 3, 4, 3 }, TISSUE_PALLIDUM },   /* red nucleus */
    { { 14, 46, -38 }, { 6, 5, 4 }, TISSUE_PALLIDUM }, /* dentate nucleus */
};

/* The ventricles of one side: tubes from point to point. */
static const struct joint {
    struct vector at;
    float radius;
    bool begins; /* a new tube rather than the last one's end */
} ventricles[] = {
    { { 9, -32, 3 }, 3.2f, true },    { { 7, -17, 13 }, 4.8f, false },
    { { 9.5f, 6, 20 }, 4.6f, false }, { { 18, 28, 17 }, 6, false },
    { { 26, 37, 6 }, 6.5f, false },   { { 33, 24, -10 }, 3.4f, false },
    { { 33, 4, -18 }, 2.2f, false },  { { 25, 38, 8 }, 5.5f, true },
    { { 21, 58, 5 }, 2.5f, false },
};

static float lateral_ventricle(const struct head *head, struct vector p, float side)
{
    struct vector folded = { side, p.y, p.z };
    float nearest = -40;
    for (size_t i = 1; i < sizeof ventricles / sizeof *ventricles; i++) {
        const struct joint *from = &ventricles[i - 1], *to = &ventricles[i];
        if (to->begins)
            continue;
        float distance = tube(folded, from->at, to->at, from->radius * head->ventricle,
                              to->radius * head->ventricle);
        nearest = join(nearest, distance, 2);
    }
    /* The septum pellucidum stands between the two. */
    return smaller(nearest, side - 0.9f);
}

static float midline_ventricles(const struct head *head, struct vector p, float side)
{
    float third = ellipsoid(p, (struct vector){ 0, 4, 0 },
                            (struct vector){ 1.6f + 1.4f * head->ventricle, 15, 9 });
    struct vector folded = { side, p.y, p.z };
    float fourth = ellipsoid(folded, (struct vector){ 0, 27, -36 },
                             (struct vector){ 5 + 3 * head->ventricle, 5, 9 });
    return larger(third, fourth);
}

static void deep_tissue(const struct head *head, const struct place *place, float width,
                        float fraction[TISSUES])
{
    struct vector p = place->p, folded = { place->side, p.y, p.z };
    if (place->side > 50 || p.y < -52 || p.y > 72 || p.z < -52 || p.z > 42)
        return;
    float lateral = lateral_ventricle(head, p, place->side);
    if (head->gliosis > 0) {
        float cap = soft(lateral + 1 + 5 * head->gliosis, 4) * fraction[TISSUE_WHITE];
        take(fraction, TISSUE_GLIOSIS, 0.8f * cap);
    }
    float fluid = soft(larger(lateral, midline_ventricles(head, p, place->side)), width);
    if (fluid > 0)
        take(fraction, TISSUE_CSF, fluid);
    /* Nuclei dent the ventricles; large ventricles push them outwards. */
    folded.x -= 3 * (head->ventricle - 1);
    for (size_t i = 0; i < sizeof nuclei / sizeof *nuclei; i++) {
        const struct nucleus *nucleus = &nuclei[i];
        struct vector r = nucleus->radius, away = vector_subtract(folded, nucleus->centre);
        if (fabsf(away.x) > r.x + width || fabsf(away.y) > r.y + width ||
            fabsf(away.z) > r.z + width)
            continue;
        float inside = soft(ellipsoid(folded, nucleus->centre, nucleus->radius), width + 0.5f);
        if (inside > 0)
            take(fraction, nucleus->tissue, inside);
    }
}

static bool anatomy_sample(const struct head *head, struct vector point, float width,
                           float fraction[TISSUES])
{
    memset(fraction, 0, TISSUES * sizeof *fraction);
    float channel[HEAD_CHANNELS], noise[4];
    lattice_sample(&head->lattice, point, channel);
    if (channel[HEAD_OUTER] < 0) {
        fraction[TISSUE_CSF] = 1;
        return false;
    }
    struct place place = {
        .p = { channel[HEAD_X], channel[HEAD_Y], channel[HEAD_Z] },
        .normal = { channel[HEAD_NORMAL_X], channel[HEAD_NORMAL_Y], channel[HEAD_NORMAL_Z] },
        .depth = channel[HEAD_DEPTH],
        .rim = 0.1f + 0.8f * head->atrophy,
        .channel = channel,
    };
    if (fabsf(place.p.x) < 12) { /* the falx is not quite straight */
        noise_sample(&head->field, place.p, 45, USE_MIDLINE, noise);
        place.p.x += 1.2f * noise[0] * smooth_step(12, 4, fabsf(place.p.x));
    }
    place.side = fabsf(place.p.x);
    place.core = ellipsoid((struct vector){ 0, place.p.y, place.p.z }, (struct vector){ 0, 2, -2 },
                           (struct vector){ 60, 40, 31 });
    float into = larger(0, place.core);
    place.falx = sqrtf(place.side * place.side + into * into);

    float width_of_gap = 1.0f;
    if (channel[HEAD_CEREBELLUM] > larger(place.depth, channel[HEAD_STEM] - 2) - width_of_gap)
        cerebellum_tissue(head, &place, width, fraction);
    else
        cerebrum_tissue(head, &place, width, fraction);
    float brain_stem = soft(channel[HEAD_STEM], width + 1);
    if (brain_stem > 0) {
        take(fraction, TISSUE_WHITE, 0.7f * brain_stem);
        take(fraction, TISSUE_GREY, 0.25f * brain_stem);
        fraction[TISSUE_WHITE] += (1 - 0.5f) * brain_stem * fraction[TISSUE_CSF];
        fraction[TISSUE_CSF] *= 1 - (1 - 0.5f) * brain_stem;
    }
    deep_tissue(head, &place, width, fraction);
    return true;
}

void anatomy_prepare(struct head *head, struct draws draws)
{
    float age = draw_uniform(&draws, 0, 1);
    head->atrophy = clamp(draw_normal(&draws, 0.75f * age, 0.15f), 0, 1);
    head->ventricle = clamp(draw_normal(&draws, 0.85f + 0.5f * age, 0.2f), 0.6f, 1.8f);
    head->gliosis = clamp(draw_normal(&draws, age - 0.4f, 0.25f), 0, 1);
    head->thickness = draw_size(&draws, 3.3f - 0.4f * age, 0.15f);
    head->fold_wavelength = draw_size(&draws, 26, 1.8f);
    parallel_ranges(head->lattice.size[2], 1, fill_planes, head);
    lattice_normals(&head->lattice);
    head->sample = anatomy_sample;
}
