/* Tumours.
 *
 * A core is an ellipsoid whose surface noise has made irregular; f is the distance outside it, in
 * mm. A rim of varying thickness lies inside f = 0 and encloses necrosis; oedema reaches out to a
 * distance that varies more, follows white matter and spares cortex. Kinds, and how often they
 * come, follow what a BraTS cohort holds: mostly ring-enhancing glioblastomas, some solid ones
 * without necrosis, some low-grade ones with little or no enhancement, some tiny lesions, some
 * patients with several.
 */
#include "data/phantom_internal.h"

#include <string.h>

enum { USE_LESION = 40 };

struct range {
    float low, high;
};

/* One row per kind of tumour. */
static const struct kind {
    float share; /* of tumours */
    struct range radius, rim, oedema, irregularity, patches;
    float push; /* mass effect, of the radius */
    bool necrotic;
} kinds[] = {
    /* ring-enhancing, with a necrotic core */
    { 0.58f, { 9, 24 }, { 2.5f, 6 }, { 6, 22 }, { 0.15f, 0.32f }, { 0, 0 }, 0.30f, true },
    /* solid, no necrosis */
    { 0.14f, { 6, 14 }, { 30, 30 }, { 5, 18 }, { 0.15f, 0.35f }, { 0, 0 }, 0.25f, false },
    /* low grade: non-enhancing, a few enhancing patches at most */
    { 0.18f, { 11, 26 }, { 0, 0 }, { 2, 9 }, { 0.2f, 0.4f }, { 0, 0.2f }, 0.15f, false },
    /* tiny */
    { 0.10f, { 3, 5.5f }, { 30, 30 }, { 0.5f, 5 }, { 0.1f, 0.25f }, { 0, 0 }, 0.1f, false },
};

static float draw_range(struct draws *draws, struct range range)
{
    return draw_uniform(draws, range.low, range.high);
}

static const struct kind *draw_kind(struct draws *draws)
{
    float left = draw_uniform(draws, 0, 1);
    size_t last = sizeof kinds / sizeof *kinds - 1, i = 0;
    while (i < last && (left -= kinds[i].share) > 0)
        i++;
    return &kinds[i];
}

/* Three orthogonal axes in a random direction, stretched by up to a third. */
static void draw_axes(struct lesion *lesion, struct draws *draws)
{
    struct vector a = draw_direction(draws), other = draw_direction(draws);
    struct vector b = vector_subtract(other, vector_scale(a, vector_dot(a, other)));
    float length = vector_length(b);
    b = length > 1e-3f ? vector_scale(b, 1 / length) : (struct vector){ -a.y, a.x, 0 };
    struct vector c = { a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x };
    struct vector axis[3] = { a, b, c };
    for (int i = 0; i < 3; i++)
        lesion->axis[i] =
            vector_scale(axis[i], 1 / (lesion->radius * draw_uniform(draws, 0.75f, 1.3f)));
}

/* Whether a tumour may arise at a point: in cerebral white matter (or, after many attempts, any
 * brain), with brain all around it up to `clearance` mm. */
static bool suits(const struct head *head, struct vector point, float clearance, bool anywhere)
{
    float fraction[TISSUES];
    if (point.z < -28 || !head->sample(head, point, 2, fraction))
        return false;
    if (!anywhere && fraction[TISSUE_WHITE] < 0.6f)
        return false;
    for (int axis = 0; axis < 6; axis++) {
        float step = axis & 1 ? clearance : -clearance;
        struct vector offset = { axis / 2 == 0 ? step : 0, axis / 2 == 1 ? step : 0,
                                 axis / 2 == 2 ? step : 0 };
        if (!head->sample(head, vector_add(point, offset), 2, fraction))
            return false;
    }
    return true;
}

static struct vector draw_place(const struct head *head, const struct lesion *lesion,
                                struct draws *draws)
{
    enum { ATTEMPTS = 400 };
    float clearance = clamp(0.75f * lesion->radius, 6, 14);
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        struct vector point = { draw_uniform(draws, -60, 60), draw_uniform(draws, -75, 75),
                                draw_uniform(draws, -25, 60) };
        /* Deep midline structures are rarely the seat of a large tumour. */
        if (fabsf(point.x) > 12 && suits(head, point, clearance, attempt > ATTEMPTS / 2))
            return point;
    }
    return (struct vector){ draw_uniform(draws, 0, 1) < 0.5f ? -28.0f : 28.0f, 10, 22 };
}

/* Pushes what lies around the core outwards: most at its surface, fading within 25 mm and towards
 * the skull, which does not give way. Anatomy is looked up where it came from. */
static void push_aside(const struct lesion *lesion, struct lattice *lattice)
{
    const float fade = 25;
    size_t nodes = lattice->size[0] * lattice->size[1] * lattice->size[2];
    for (size_t node = 0; node < nodes; node++) {
        struct vector from = vector_subtract(lattice_point(lattice, node), lesion->centre);
        float distance = vector_length(from), beyond = (distance - lesion->radius) / fade;
        if (distance < 1e-3f || beyond > 3)
            continue;
        float push = beyond < 0 ? lesion->push * distance / lesion->radius
                                : lesion->push * expf(-beyond * beyond);
        float *channel = lattice->node[node];
        push *= smooth_step(0, 22, channel[HEAD_DEPTH]) / distance;
        channel[HEAD_X] -= push * from.x;
        channel[HEAD_Y] -= push * from.y;
        channel[HEAD_Z] -= push * from.z;
    }
}

static void draw_lesion(struct lesion *lesion, const struct kind *kind, float size,
                        struct draws *draws)
{
    lesion->radius = larger(3, size * draw_range(draws, kind->radius));
    lesion->rim = smaller(draw_range(draws, kind->rim), 0.45f * lesion->radius);
    if (kind->rim.low > kind->radius.high)
        lesion->rim = kind->rim.low; /* solid: all rim */
    lesion->oedema = draw_range(draws, kind->oedema);
    lesion->irregularity = draw_range(draws, kind->irregularity);
    lesion->patches = draw_range(draws, kind->patches);
    lesion->push = kind->push * lesion->radius * draw_uniform(draws, 0.4f, 1.3f);
    lesion->necrotic = kind->necrotic;
    draw_axes(lesion, draws);
}

void lesions_place(struct lesions *lesions, struct head *head, struct draws draws)
{
    float several = draw_uniform(&draws, 0, 1);
    lesions->count = several < 0.76f ? 1 : several < 0.9f ? 2 : several < 0.97f ? 3 : LESIONS_MAX;
    for (size_t i = 0; i < lesions->count; i++) {
        struct lesion *lesion = &lesions->lesion[i];
        memset(lesion, 0, sizeof *lesion);
        /* Satellites are smaller than the first. */
        draw_lesion(lesion, draw_kind(&draws), i ? 0.55f : 1, &draws);
        lesion->centre = draw_place(head, lesion, &draws);
        lesion->use = USE_LESION + 3 * (int)i;
    }
    for (size_t i = 0; i < lesions->count; i++)
        push_aside(&lesions->lesion[i], &head->lattice);
}

/* The share of the point inside of a surface `distance` mm away (negative: inside). */
static float within(float distance, float width)
{
    return clamp(0.5f - distance / width, 0, 1);
}

static void give(float fraction[TISSUES], enum tissue tissue, float share)
{
    for (int other = 0; other < TISSUES; other++)
        fraction[other] *= 1 - share;
    fraction[tissue] += share;
}

/* Oedema follows white matter and leaves fluid alone. */
static void swell(float fraction[TISSUES], float share)
{
    static const float takes[TISSUES] = {
        [TISSUE_WHITE] = 1,      [TISSUE_GLIOSIS] = 1,     [TISSUE_GREY] = 0.25f,
        [TISSUE_NUCLEUS] = 0.5f, [TISSUE_PALLIDUM] = 0.3f,
    };
    float taken = 0;
    for (int tissue = 0; tissue < TISSUES; tissue++) {
        float part = fraction[tissue] * takes[tissue] * share;
        fraction[tissue] -= part;
        taken += part;
    }
    fraction[TISSUE_OEDEMA] += taken;
}

static void apply(const struct lesion *lesion, const struct head *head, struct vector point,
                  float width, float fraction[TISSUES])
{
    struct vector from = vector_subtract(point, lesion->centre);
    float reach = 2.2f * lesion->radius + 2.2f * lesion->oedema + 4;
    if (vector_dot(from, from) > reach * reach)
        return;
    /* Outlines are looked up on a sphere around the centre, so that regions stay in one piece, and
     * only their fine detail in space. */
    float shape[4], detail[4], distance = vector_length(from) + 1e-3f;
    struct vector unit = { vector_dot(lesion->axis[0], from), vector_dot(lesion->axis[1], from),
                           vector_dot(lesion->axis[2], from) };
    /* In the lesion's own axes, so that the noise's grid does not show. */
    struct vector turned = vector_scale(unit, lesion->radius);
    struct vector outline = vector_scale(turned, mix(1, lesion->radius / distance, 0.8f));
    noise_sample_smooth(&head->field, outline, 1.9f * lesion->radius + 4, lesion->use, shape);
    noise_sample(&head->field, turned, 0.5f * lesion->radius + 6, lesion->use + 1, detail);
    float surface = 1 + lesion->irregularity * (shape[0] + 0.3f * detail[0]);
    float outside = lesion->radius * (vector_length(unit) - larger(surface, 0.4f));

    float spread = lesion->oedema * clamp(1 + 0.55f * shape[1] + 0.12f * detail[1], 0.1f, 2);
    /* The falx holds it to its side of the head. */
    float across = larger(0, lesion->centre.x < 0 ? point.x : -point.x);
    float swollen = within(outside + 2 * across - spread, width + 2.5f);
    if (swollen > 0)
        swell(fraction, swollen);
    float core = within(outside, width + 0.5f);
    if (core <= 0)
        return;
    if (lesion->rim > 0) {
        float rim = lesion->rim * clamp(1 + 0.5f * shape[2] + 0.4f * detail[2], 0.35f, 2.2f);
        float inner = lesion->necrotic ? within(outside + rim, width + 0.5f) : 0;
        give(fraction, TISSUE_ENHANCING, core);
        if (inner > 0)
            give(fraction, TISSUE_NECROSIS, inner);
    } else {
        give(fraction, TISSUE_NON_ENHANCING, core);
        /* patches = the share of the normal distribution above the threshold, roughly */
        float patch = clamp(1.5f * (detail[3] - 2.6f + 6 * lesion->patches), 0, 1);
        if (lesion->patches > 0.05f && patch > 0)
            give(fraction, TISSUE_ENHANCING, patch * core);
    }
}

void lesions_apply(const struct lesions *lesions, const struct head *head, struct vector point,
                   float width, float fraction[TISSUES])
{
    for (size_t i = 0; i < lesions->count; i++)
        apply(&lesions->lesion[i], head, point, width, fraction);
}
