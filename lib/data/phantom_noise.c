/* Smooth random fields.
 *
 * A subject has a tile of band-limited noise, white noise through a difference of Gaussians,
 * periodic and six nodes to a wavelength so that linear interpolation does, and a second tile with
 * one of its fields and that one's gradient. All that is random in
 * space (folds, warps, tumour outlines, texture) samples these at its own wavelength and shift:
 * a look-up costs about 10 ns where octaves of gradient noise would cost hundreds.
 */
#include "data/phantom_internal.h"

#include "base/arena.h"
#include "base/random.h"

#include <stdio.h>
#include <string.h>

struct draws draws_begin(uint64_t seed, size_t subject, const char *use)
{
    char name[96];
    snprintf(name, sizeof name, "phantom/subject %zu/%s", subject, use);
    return (struct draws){ .seed = seed, .stream = random_stream(name) };
}

float draw_uniform(struct draws *draws, float low, float high)
{
    return mix(low, high, (float)random_uniform(draws->seed, draws->stream, draws->next++));
}

float draw_normal(struct draws *draws, float mean, float deviation)
{
    return mean + deviation * (float)random_normal(draws->seed, draws->stream, draws->next++);
}

float draw_size(struct draws *draws, float mean, float deviation)
{
    return clamp(draw_normal(draws, mean, deviation), mean - 2 * deviation, mean + 2 * deviation);
}

struct vector draw_direction(struct draws *draws)
{
    float z = draw_uniform(draws, -1, 1), angle = draw_uniform(draws, 0, 2 * (float)M_PI);
    float radius = sqrtf(1 - z * z);
    return (struct vector){ radius * cosf(angle), radius * sinf(angle), z };
}

enum { KERNEL_REACH = 4 };

/* One pass of a periodic Gaussian of `deviation` nodes along the axis of `stride`. */
static void blur_axis(float (*from)[4], float (*to)[4], size_t stride, float deviation)
{
    float weight[2 * KERNEL_REACH + 1], sum = 0;
    for (int tap = -KERNEL_REACH; tap <= KERNEL_REACH; tap++)
        sum += weight[tap + KERNEL_REACH] = expf(-(float)(tap * tap) / (2 * deviation * deviation));
    for (int tap = 0; tap <= 2 * KERNEL_REACH; tap++)
        weight[tap] /= sum;
    for (size_t node = 0; node < NOISE_NODES; node++) {
        size_t along = node / stride % NOISE_SIZE, start = node - along * stride;
        float total[4] = { 0 };
        for (int tap = 0; tap <= 2 * KERNEL_REACH; tap++) {
            size_t at = along + (size_t)tap + NOISE_SIZE - KERNEL_REACH;
            at = at >= 2 * NOISE_SIZE ? at - 2 * NOISE_SIZE
                 : at >= NOISE_SIZE   ? at - NOISE_SIZE
                                      : at;
            const float *value = from[start + at * stride];
            for (int channel = 0; channel < 4; channel++)
                total[channel] += weight[tap] * value[channel];
        }
        memcpy(to[node], total, sizeof total);
    }
}

static void blur(float (*values)[4], float (*spare)[4], float deviation)
{
    blur_axis(values, spare, 1, deviation);
    blur_axis(spare, values, NOISE_SIZE, deviation);
    blur_axis(values, spare, NOISE_SIZE * NOISE_SIZE, deviation);
    memcpy(values, spare, sizeof(float[4]) * NOISE_NODES);
}

/* White noise in, unit variance in the band around NOISE_WAVELENGTH out: G(1.1) − G(1.5), whose
 * spectrum peaks at k² = 2 ln(b²/a²)/(b² − a²), 6 nodes a wave. */
static bool band_limit(float (*values)[4], struct error *err)
{
    float(*wide)[4] = memory_allocate(NOISE_NODES, sizeof *wide, "phantom noise", err);
    float(*spare)[4] = memory_allocate(NOISE_NODES, sizeof *spare, "phantom noise", err);
    if (wide && spare) {
        /* Gaussians compose: 1.1² + 1.02² = 1.5². */
        blur(values, spare, 1.1f);
        memcpy(wide, values, sizeof(float[4]) * NOISE_NODES);
        blur(wide, spare, 1.02f);
        double square[4] = { 0 };
        for (size_t node = 0; node < NOISE_NODES; node++)
            for (int channel = 0; channel < 4; channel++) {
                float value = values[node][channel] - wide[node][channel];
                values[node][channel] = value;
                square[channel] += (double)value * value;
            }
        for (size_t node = 0; node < NOISE_NODES; node++)
            for (int channel = 0; channel < 4; channel++)
                if (square[channel] > 0)
                    values[node][channel] /= (float)sqrt(square[channel] / NOISE_NODES);
    }
    bool made = wide && spare;
    memory_free(wide);
    memory_free(spare);
    return made;
}

bool noise_init(struct noise *noise, struct draws draws, struct error *err)
{
    noise->node = memory_allocate(NOISE_NODES, sizeof *noise->node, "phantom noise", err);
    if (!noise->node)
        return false;
    random_fill_normal(draws.seed, draws.stream, 0, 4 * (size_t)NOISE_NODES, noise->node[0]);
    return band_limit(noise->node, err);
}

bool noise_init_gradient(struct noise *noise, const struct noise *of, int channel,
                         struct error *err)
{
    static const size_t stride[3] = { 1, NOISE_SIZE, NOISE_SIZE * NOISE_SIZE };
    noise->node = memory_allocate(NOISE_NODES, sizeof *noise->node, "phantom noise", err);
    if (!noise->node)
        return false;
    for (size_t node = 0; node < NOISE_NODES; node++) {
        noise->node[node][0] = of->node[node][channel];
        for (size_t axis = 0; axis < 3; axis++) {
            size_t along = node / stride[axis] % NOISE_SIZE, start = node - along * stride[axis];
            size_t after = start + (along + 1) % NOISE_SIZE * stride[axis];
            size_t before = start + (along + NOISE_SIZE - 1) % NOISE_SIZE * stride[axis];
            noise->node[node][1 + axis] =
                (of->node[after][channel] - of->node[before][channel]) / 2;
        }
    }
    return true;
}

void noise_release(struct noise *noise)
{
    memory_free(noise->node);
    noise->node = NULL;
}

/* Splits a coordinate in nodes into its node on the torus, the next one, and the way between. */
static inline float torus(float coordinate, uint32_t *low, uint32_t *high)
{
    /* Shifted by whole periods into the positive, where a cast is a floor. */
    float positive = coordinate + 64 * NOISE_SIZE;
    uint32_t whole = (uint32_t)(int32_t)clamp(positive, 0, 1e6f);
    *low = whole % NOISE_SIZE;
    *high = *low + 1 == NOISE_SIZE ? 0 : *low + 1;
    return positive - (float)whole;
}

void noise_sample(const struct noise *noise, struct vector point, float wavelength, int use,
                  float out[4])
{
    float scale = NOISE_WAVELENGTH / wavelength;
    uint32_t x[2], y[2], z[2];
    float u = torus(point.x * scale + 17.3f * (float)use, &x[0], &x[1]);
    float v = torus(point.y * scale + 29.1f * (float)use, &y[0], &y[1]);
    float w = torus(point.z * scale + 7.7f * (float)use, &z[0], &z[1]);
    float sum[4] = { 0 };
    for (int corner = 0; corner < 8; corner++) {
        int cx = corner & 1, cy = corner >> 1 & 1, cz = corner >> 2;
        const float *value = noise->node[(z[cz] * NOISE_SIZE + y[cy]) * NOISE_SIZE + x[cx]];
        float weight = (cx ? u : 1 - u) * (cy ? v : 1 - v) * (cz ? w : 1 - w);
        for (int channel = 0; channel < 4; channel++)
            sum[channel] += weight * value[channel];
    }
    memcpy(out, sum, sizeof sum);
}

/* The three nodes around a coordinate and their weights in a quadratic B-spline. */
static inline void spline(float coordinate, uint32_t node[3], float weight[3])
{
    uint32_t low, high;
    float way = torus(coordinate + 0.5f, &low, &high) - 0.5f; /* from the nearest node */
    node[0] = low ? low - 1 : NOISE_SIZE - 1;
    node[1] = low;
    node[2] = high;
    weight[0] = (0.5f - way) * (0.5f - way) / 2;
    weight[1] = 0.75f - way * way;
    weight[2] = (0.5f + way) * (0.5f + way) / 2;
}

void noise_sample_smooth(const struct noise *noise, struct vector point, float wavelength, int use,
                         float out[4])
{
    float scale = NOISE_WAVELENGTH / wavelength, u[3], v[3], w[3], sum[4] = { 0 };
    uint32_t x[3], y[3], z[3];
    spline(point.x * scale + 17.3f * (float)use, x, u);
    spline(point.y * scale + 29.1f * (float)use, y, v);
    spline(point.z * scale + 7.7f * (float)use, z, w);
    for (int cz = 0; cz < 3; cz++)
        for (int cy = 0; cy < 3; cy++)
            for (int cx = 0; cx < 3; cx++) {
                const float *value = noise->node[(z[cz] * NOISE_SIZE + y[cy]) * NOISE_SIZE + x[cx]];
                float weight = u[cx] * v[cy] * w[cz];
                for (int channel = 0; channel < 4; channel++)
                    sum[channel] += weight * value[channel];
            }
    for (int channel = 0; channel < 4; channel++)
        out[channel] = 1.4f * sum[channel]; /* the spline's own smoothing undone */
}

void noise_sample_gradient(const struct noise *noise, struct vector point, float wavelength,
                           int use, float out[4])
{
    noise_sample(noise, point, wavelength, use, out);
    for (int axis = 1; axis < 4; axis++)
        out[axis] *= NOISE_WAVELENGTH / wavelength;
}

bool lattice_init(struct lattice *lattice, struct vector half_extent, float step, struct error *err)
{
    float half[3] = { half_extent.x, half_extent.y, half_extent.z }, begin[3];
    for (int axis = 0; axis < 3; axis++) {
        size_t cells = (size_t)ceilf(half[axis] / step); /* on each side */
        lattice->size[axis] = 2 * cells + 1;
        begin[axis] = -(float)cells * step;
    }
    lattice->origin = (struct vector){ begin[0], begin[1], begin[2] };
    lattice->step = step;
    size_t nodes = lattice->size[0] * lattice->size[1] * lattice->size[2];
    lattice->node = memory_allocate(nodes, sizeof *lattice->node, "phantom lattice", err);
    return lattice->node != NULL;
}

void lattice_release(struct lattice *lattice)
{
    memory_free(lattice->node);
    lattice->node = NULL;
}

struct vector lattice_point(const struct lattice *lattice, size_t node)
{
    size_t x = node % lattice->size[0], y = node / lattice->size[0] % lattice->size[1];
    size_t z = node / lattice->size[0] / lattice->size[1];
    struct vector offset = { (float)x, (float)y, (float)z };
    return vector_add(lattice->origin, vector_scale(offset, lattice->step));
}

/* The cell of a coordinate, held inside the lattice, and the way through it. */
static inline float cell(float coordinate, size_t nodes, size_t *low)
{
    coordinate = clamp(coordinate, 0, (float)(nodes - 1));
    *low = (size_t)coordinate;
    if (*low > nodes - 2)
        *low = nodes - 2;
    return coordinate - (float)*low;
}

void lattice_sample(const struct lattice *lattice, struct vector point, float out[HEAD_CHANNELS])
{
    struct vector at = vector_scale(vector_subtract(point, lattice->origin), 1 / lattice->step);
    size_t x, y, z, row = lattice->size[0], plane = row * lattice->size[1];
    float u = cell(at.x, lattice->size[0], &x), v = cell(at.y, lattice->size[1], &y);
    float w = cell(at.z, lattice->size[2], &z);
    float(*base)[HEAD_CHANNELS] = lattice->node + (z * plane + y * row + x);
    float sum[HEAD_CHANNELS] = { 0 };
    for (size_t corner = 0; corner < 8; corner++) {
        size_t cx = corner & 1, cy = corner >> 1 & 1, cz = corner >> 2;
        const float *value = base[cz * plane + cy * row + cx];
        float weight = (cx ? u : 1 - u) * (cy ? v : 1 - v) * (cz ? w : 1 - w);
        for (int channel = 0; channel < HEAD_CHANNELS; channel++)
            sum[channel] += weight * value[channel];
    }
    memcpy(out, sum, sizeof sum);
}

float lattice_nearest(const struct lattice *lattice, struct vector point, enum head_channel channel)
{
    struct vector at = vector_scale(vector_subtract(point, lattice->origin), 1 / lattice->step);
    float coordinate[3] = { at.x, at.y, at.z };
    size_t node = 0;
    for (int axis = 2; axis >= 0; axis--)
        node = node * lattice->size[axis] +
               (size_t)clamp(coordinate[axis] + 0.5f, 0, (float)(lattice->size[axis] - 1));
    return lattice->node[node][channel];
}

void lattice_normals(struct lattice *lattice)
{
    size_t stride[3] = { 1, lattice->size[0], lattice->size[0] * lattice->size[1] };
    size_t nodes = stride[2] * lattice->size[2];
    for (size_t node = 0; node < nodes; node++) {
        float gradient[3];
        for (int axis = 0; axis < 3; axis++) {
            size_t along = node / stride[axis] % lattice->size[axis];
            size_t before = along ? node - stride[axis] : node;
            size_t after = along + 1 < lattice->size[axis] ? node + stride[axis] : node;
            gradient[axis] = lattice->node[after][HEAD_DEPTH] - lattice->node[before][HEAD_DEPTH];
        }
        float length = sqrtf(gradient[0] * gradient[0] + gradient[1] * gradient[1] +
                             gradient[2] * gradient[2]);
        for (int axis = 0; axis < 3; axis++)
            lattice->node[node][HEAD_NORMAL_X + axis] = gradient[axis] / (length + 1e-6f);
    }
}
