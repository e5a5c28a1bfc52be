/* The exact Euclidean distance transform; see distance.h.
 *
 * After x, voxel i of a line along y knows f(i), the squared distance within its own line along x.
 * The answer at i is min over j of f(j) + (w(i−j))²: the lower envelope of parabolas that stand at
 * the w·j. Envelopes are built from left to right; each parabola enters once and leaves once.
 *
 * Lines along y and z lie across memory. They are gathered by tiles of 16 neighbouring lines, so
 * that a cache line (8 doubles) is fetched once and not 8 times.
 */
#include "audit/distance.h"

#include "base/arena.h"
#include "base/parallel.h"

#include <math.h>
#include <stdatomic.h>

enum { TILE = 16 };

struct transform {
    const uint8_t *set;
    const size_t *shape;
    const double *spacing;
    double *squared;
    int axis; /* of the pass */
    atomic_bool failed;
};

/* ---- along x --------------------------------------------------------------------------------- */

/* Steps to the nearest voxel of the set, forwards and then backwards, squared. */
static void sweep(const uint8_t *set, size_t count, double spacing, double *squared)
{
    double steps = INFINITY;
    for (size_t i = 0; i < count; i++)
        squared[i] = steps = set[i] ? 0 : steps + 1;
    steps = INFINITY;
    for (size_t i = count; i-- > 0;) {
        steps = squared[i] < steps + 1 ? squared[i] : steps + 1;
        squared[i] = steps * spacing * (steps * spacing);
    }
}

static void sweep_lines(void *context, size_t begin, size_t end)
{
    struct transform *transform = context;
    size_t count = transform->shape[0];
    for (size_t line = begin; line < end; line++)
        sweep(transform->set + line * count, count, transform->spacing[0],
              transform->squared + line * count);
}

/* ---- along y and z --------------------------------------------------------------------------- */

struct parabola {
    double site, height; /* where it stands, in mm; its value there */
    double from;         /* the least x at which it is the lowest */
};

static double crossing(const struct parabola *a, double site, double height)
{
    return ((height + site * site) - (a->height + a->site * a->site)) / (2 * (site - a->site));
}

/* Replaces the values of a line by those of their parabolas' lower envelope. */
static void envelope(double *line, size_t count, double spacing, struct parabola *parabolas)
{
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        if (line[i] == INFINITY)
            continue;
        double site = spacing * (double)i, from = -INFINITY;
        while (used &&
               (from = crossing(&parabolas[used - 1], site, line[i])) <= parabolas[used - 1].from)
            used--;
        parabolas[used] = (struct parabola){ site, line[i], used ? from : -INFINITY };
        used++;
    }
    for (size_t i = 0, at = 0; used && i < count; i++) {
        double x = spacing * (double)i;
        while (at + 1 < used && parabolas[at + 1].from < x)
            at++;
        double away = x - parabolas[at].site;
        line[i] = parabolas[at].height + away * away;
    }
}

/* `width` lines that begin side by side at `first`, through a buffer. */
static void transform_tile(double *first, size_t width, size_t count, size_t stride, double spacing,
                           double *buffer, struct parabola *parabolas)
{
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < width; k++)
            buffer[k * count + i] = first[i * stride + k];
    for (size_t k = 0; k < width; k++)
        envelope(buffer + k * count, count, spacing, parabolas);
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < width; k++)
            first[i * stride + k] = buffer[k * count + i];
}

/* Planes across the axis' lines: of y each z, of z each y. */
static void transform_planes(void *context, size_t begin, size_t end)
{
    struct transform *transform = context;
    int axis = transform->axis;
    size_t rows = transform->shape[0], plane = rows * transform->shape[1];
    size_t count = transform->shape[axis], stride = axis == 1 ? rows : plane;
    double *buffer = memory_allocate(count * TILE, sizeof *buffer, "lines", NULL);
    struct parabola *parabolas = memory_allocate(count, sizeof *parabolas, "lines", NULL);
    if (!buffer || !parabolas)
        atomic_store(&transform->failed, true);
    for (size_t item = begin; buffer && parabolas && item < end; item++) {
        double *first = transform->squared + item * (axis == 1 ? plane : rows);
        for (size_t x = 0; x < rows; x += TILE)
            transform_tile(first + x, rows - x < TILE ? rows - x : TILE, count, stride,
                           transform->spacing[axis], buffer, parabolas);
    }
    memory_free(buffer);
    memory_free(parabolas);
}

bool distance_squared(const uint8_t *set, const size_t shape[3], const double spacing[3],
                      double *squared, struct error *err)
{
    struct transform transform = {
        .set = set, .shape = shape, .spacing = spacing, .squared = squared
    };
    parallel_ranges(shape[1] * shape[2], 64, sweep_lines, &transform);
    for (transform.axis = 1; transform.axis < 3; transform.axis++)
        if (shape[transform.axis] > 1)
            parallel_ranges(shape[3 - transform.axis], 1, transform_planes, &transform);
    return !transform.failed ||
           error_set(err, "too little memory for a distance transform of %zu × %zu × %zu voxels",
                     shape[0], shape[1], shape[2]);
}
