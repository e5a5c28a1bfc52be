/* Planes out of stored voxels; see volume.h.
 *
 * Each stored type has one pair of readers, for the machine's byte order and the other, made by a
 * macro: a row is a strided run of stored values that become doubles. A turned axis is a negative
 * stride, so orientation costs nothing.
 */
#include "data/volume.h"

#include "base/arena.h"
#include "base/simd.h"

#include <math.h>
#include <string.h>

const char *const plane_names[PLANE_COUNT + 1] = { "axial", "coronal", "sagittal", NULL };

/* ---- stored types ------------------------------------------------------------------------- */

typedef void read_row(const unsigned char *at, ptrdiff_t stride, int64_t count, double *out);

#define SAME(bits) (bits)
#define READ_LOOP(type, carrier, swap, step)                                                       \
    for (int64_t i = 0; i < count; i++) {                                                          \
        carrier bits;                                                                              \
        type value;                                                                                \
        memcpy(&bits, at + i * (step), sizeof bits);                                               \
        bits = (carrier)swap(bits);                                                                \
        memcpy(&value, &bits, sizeof value);                                                       \
        out[i] = (double)value;                                                                    \
    }
/* A run without gaps is a loop of its own, which the compiler vectorises. */
#define DEFINE_READER(name, type, carrier, swap)                                                   \
    HOT static void name(const unsigned char *at, ptrdiff_t stride, int64_t count, double *out)    \
    {                                                                                              \
        if (stride == (ptrdiff_t)sizeof(type))                                                     \
            READ_LOOP(type, carrier, swap, (ptrdiff_t)sizeof(type))                                \
        else                                                                                       \
            READ_LOOP(type, carrier, swap, stride)                                                 \
    }
#define DEFINE_READERS(suffix, type, carrier, swap)                                                \
    DEFINE_READER(read_##suffix, type, carrier, SAME)                                              \
    DEFINE_READER(read_swapped_##suffix, type, carrier, swap)

DEFINE_READERS(uint8, uint8_t, uint8_t, SAME)
DEFINE_READERS(int8, int8_t, uint8_t, SAME)
DEFINE_READERS(uint16, uint16_t, uint16_t, __builtin_bswap16)
DEFINE_READERS(int16, int16_t, uint16_t, __builtin_bswap16)
DEFINE_READERS(uint32, uint32_t, uint32_t, __builtin_bswap32)
DEFINE_READERS(int32, int32_t, uint32_t, __builtin_bswap32)
DEFINE_READERS(uint64, uint64_t, uint64_t, __builtin_bswap64)
DEFINE_READERS(int64, int64_t, uint64_t, __builtin_bswap64)
DEFINE_READERS(float32, float, uint32_t, __builtin_bswap32)
DEFINE_READERS(float64, double, uint64_t, __builtin_bswap64)

static const struct {
    const char *name;
    size_t bytes;
    read_row *read[2]; /* by swapped */
} types[VOXEL_TYPE_COUNT] = {
    [VOXEL_UINT8] = { "uint8", 1, { read_uint8, read_swapped_uint8 } },
    [VOXEL_INT8] = { "int8", 1, { read_int8, read_swapped_int8 } },
    [VOXEL_UINT16] = { "uint16", 2, { read_uint16, read_swapped_uint16 } },
    [VOXEL_INT16] = { "int16", 2, { read_int16, read_swapped_int16 } },
    [VOXEL_UINT32] = { "uint32", 4, { read_uint32, read_swapped_uint32 } },
    [VOXEL_INT32] = { "int32", 4, { read_int32, read_swapped_int32 } },
    [VOXEL_UINT64] = { "uint64", 8, { read_uint64, read_swapped_uint64 } },
    [VOXEL_INT64] = { "int64", 8, { read_int64, read_swapped_int64 } },
    [VOXEL_FLOAT32] = { "float32", 4, { read_float32, read_swapped_float32 } },
    [VOXEL_FLOAT64] = { "float64", 8, { read_float64, read_swapped_float64 } },
};

size_t voxel_bytes(enum voxel_type type)
{
    return types[type].bytes;
}

const char *voxel_type_name(enum voxel_type type)
{
    return types[type].name;
}

void volume_release(struct volume *volume)
{
    memory_free(volume->buffer);
    *volume = (struct volume){ 0 };
}

/* ---- planes -------------------------------------------------------------------------------- */

/* Which axis counts the planes, which runs down the rows and which along the columns. Upwards is
 * z, so coronal and sagittal rows run against it. */
static const struct {
    int across, down, along;
    bool upside;
} planes[PLANE_COUNT] = {
    [PLANE_AXIAL] = { 2, 1, 0, false },
    [PLANE_CORONAL] = { 1, 2, 0, true },
    [PLANE_SAGITTAL] = { 0, 2, 1, true },
};

struct plane_shape volume_plane_shape(const struct volume *volume, enum plane plane)
{
    return (struct plane_shape){ volume->shape[planes[plane].down],
                                 volume->shape[planes[plane].along],
                                 volume->shape[planes[plane].across] };
}

void volume_plane_spacing(const struct volume *volume, enum plane plane, double spacing[2])
{
    spacing[0] = volume->spacing[planes[plane].down];
    spacing[1] = volume->spacing[planes[plane].along];
}

void volume_frame_plane(const struct volume *volume, int64_t frame, enum plane plane, int64_t index,
                        double *out)
{
    struct plane_shape shape = volume_plane_shape(volume, plane);
    CHECK(index >= 0 && index < shape.count && frame >= 0 && frame < volume->frames,
          "plane %lld of %lld", (long long)index, (long long)shape.count);
    ptrdiff_t down = volume->stride[planes[plane].down],
              along = volume->stride[planes[plane].along];
    read_row *read = types[volume->type].read[volume->swapped];
    const unsigned char *first = volume->origin + frame * volume->frame_stride +
                                 index * volume->stride[planes[plane].across];
    for (int64_t row = 0; row < shape.rows; row++) {
        int64_t stored = planes[plane].upside ? shape.rows - 1 - row : row;
        read(first + stored * down, along, shape.columns, out + row * shape.columns);
    }
    if (volume->slope == 1 && volume->intercept == 0)
        return;
    for (int64_t i = 0; i < shape.rows * shape.columns; i++)
        out[i] = out[i] * volume->slope + volume->intercept;
}

void volume_plane(const struct volume *volume, enum plane plane, int64_t index, double *out)
{
    volume_frame_plane(volume, 0, plane, index, out);
}

/* Whether axis `a` comes before `b` in the file: it has the smaller steps, or, with a single voxel
 * that no step leaves, those of the axis behind it. */
static bool comes_before(const struct volume *volume, int a, int b)
{
    ptrdiff_t x = volume->stride[a] < 0 ? -volume->stride[a] : volume->stride[a],
              y = volume->stride[b] < 0 ? -volume->stride[b] : volume->stride[b];
    if (x != y)
        return x < y;
    bool single = volume->shape[a] == 1;
    return single == (volume->shape[b] == 1) ? a < b : single;
}

void volume_stored_index(const struct volume *volume, const int64_t index[3], int64_t stored[3])
{
    for (int axis = 0; axis < 3; axis++) {
        int place = 0;
        for (int other = 0; other < 3; other++)
            place += other != axis && comes_before(volume, other, axis);
        stored[place] =
            volume->stride[axis] < 0 ? volume->shape[axis] - 1 - index[axis] : index[axis];
    }
}

struct range {
    double low, high, finite; /* finite: 0, or NaN once a value is not finite */
};

/* Eight lanes of each, so that the loop vectorises; least and greatest do not depend on order. */
HOT static struct range plane_range(const double *plane, size_t count)
{
    enum { LANES = 8 };
    double low[LANES], high[LANES], finite[LANES] = { 0 };
    for (int lane = 0; lane < LANES; lane++)
        low[lane] = high[lane] = plane[0];
    size_t i = 0;
    for (; i + LANES <= count; i += LANES)
        for (int lane = 0; lane < LANES; lane++) {
            double value = plane[i + (size_t)lane];
            low[lane] = value < low[lane] ? value : low[lane];
            high[lane] = value > high[lane] ? value : high[lane];
            finite[lane] += value * 0;
        }
    for (; i < count; i++) {
        low[0] = plane[i] < low[0] ? plane[i] : low[0];
        high[0] = plane[i] > high[0] ? plane[i] : high[0];
        finite[0] += plane[i] * 0;
    }
    struct range range = { low[0], high[0], finite[0] };
    for (int lane = 1; lane < LANES; lane++) {
        range.low = low[lane] < range.low ? low[lane] : range.low;
        range.high = high[lane] > range.high ? high[lane] : range.high;
        range.finite += finite[lane];
    }
    return range;
}

static bool refuse_voxel(const struct volume *volume, int64_t pixel, int64_t z, double value,
                         struct error *err)
{
    int64_t at[3], across = volume->shape[0];
    volume_stored_index(volume, (int64_t[]){ pixel % across, pixel / across, z }, at);
    return error_set(err, "voxel (%lld, %lld, %lld) is %s; every voxel must be a finite number",
                     (long long)at[0], (long long)at[1], (long long)at[2],
                     isnan(value) ? "NaN" : "infinite");
}

bool volume_range(const struct volume *volume, double *least, double *greatest, struct error *err)
{
    struct plane_shape shape = volume_plane_shape(volume, PLANE_AXIAL);
    size_t pixels = (size_t)(shape.rows * shape.columns);
    double *plane = memory_allocate(pixels, sizeof *plane, "a plane", err);
    if (!plane)
        return false;
    bool ok = true;
    *least = INFINITY;
    *greatest = -INFINITY;
    for (int64_t z = 0; ok && z < shape.count; z++) {
        volume_plane(volume, PLANE_AXIAL, z, plane);
        struct range range = plane_range(plane, pixels);
        *least = range.low < *least ? range.low : *least;
        *greatest = range.high > *greatest ? range.high : *greatest;
        for (size_t i = 0; isnan(range.finite) && ok && i < pixels; i++)
            if (!isfinite(plane[i]))
                ok = refuse_voxel(volume, (int64_t)i, z, plane[i], err);
    }
    memory_free(plane);
    return ok;
}

int label_of(double value)
{
    if (!(value > -0.5 && value < 255.5))
        return -1;
    double whole = floor(value + 0.5);
    return fabs(value - whole) <= 0.001 ? (int)whole : -1;
}

bool volume_same_grid(const struct volume *a, const struct volume *b, struct error *err)
{
    for (int axis = 0; axis < 3; axis++)
        if (a->shape[axis] != b->shape[axis])
            return error_set(
                err,
                "the grid is %lld × %lld × %lld, expected %lld × %lld × %lld; resample "
                "it to that of the first",
                (long long)b->shape[0], (long long)b->shape[1], (long long)b->shape[2],
                (long long)a->shape[0], (long long)a->shape[1], (long long)a->shape[2]);
    if (!a->oriented || !b->oriented)
        return true;
    double largest = 0;
    for (int row = 0; row < 3; row++) {
        double shift = fabs(a->affine[row][3] - b->affine[row][3]);
        for (int axis = 0; axis < 3; axis++)
            shift += fabs(a->affine[row][axis] - b->affine[row][axis]) * (double)a->shape[axis];
        largest = shift > largest ? shift : largest;
    }
    double voxel = fmin(a->spacing[0], fmin(a->spacing[1], a->spacing[2]));
    if (largest <= 0.01 * voxel)
        return true;
    return error_set(err,
                     "the grid lies up to %.3g mm away from that of the first modality; "
                     "register and resample the modalities to one grid",
                     largest);
}
