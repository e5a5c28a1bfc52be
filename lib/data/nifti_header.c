/* The NIfTI header check; see nifti_header.h. Field offsets: nifti1.h and nifti2.h of the NIfTI
 * standard. */
#include "data/nifti_header.h"

#include <math.h>
#include <string.h>

/* Where the fields of each version stand, and how wide they are. */
struct field_map {
    size_t header, magic, dim, datatype, bitpix, pixdim, vox_offset, slope, intercept, qform, sform,
        quatern, srow, units;
    int integer_bytes, real_bytes; /* of dim and of the real fields */
};
static const struct field_map maps[] = {
    [1] = { .header = NIFTI1_HEADER,
            .magic = 344,
            .dim = 40,
            .datatype = 70,
            .bitpix = 72,
            .pixdim = 76,
            .vox_offset = 108,
            .slope = 112,
            .intercept = 116,
            .qform = 252,
            .sform = 254,
            .quatern = 256,
            .srow = 280,
            .units = 123,
            .integer_bytes = 2,
            .real_bytes = 4 },
    [2] = { .header = NIFTI2_HEADER,
            .magic = 4,
            .dim = 16,
            .datatype = 12,
            .bitpix = 14,
            .pixdim = 104,
            .vox_offset = 168,
            .slope = 176,
            .intercept = 184,
            .qform = 344,
            .sform = 348,
            .quatern = 352,
            .srow = 400,
            .units = 500,
            .integer_bytes = 8,
            .real_bytes = 8 },
};

static const struct {
    int code;
    int type; /* enum voxel_type, or -1: known and refused */
    const char *name;
} datatypes[] = {
    { 2, VOXEL_UINT8, "uint8" },
    { 256, VOXEL_INT8, "int8" },
    { 512, VOXEL_UINT16, "uint16" },
    { 4, VOXEL_INT16, "int16" },
    { 768, VOXEL_UINT32, "uint32" },
    { 8, VOXEL_INT32, "int32" },
    { 1280, VOXEL_UINT64, "uint64" },
    { 1024, VOXEL_INT64, "int64" },
    { 16, VOXEL_FLOAT32, "float32" },
    { 64, VOXEL_FLOAT64, "float64" },
    { 1, -1, "binary" },
    { 32, -1, "complex64" },
    { 128, -1, "RGB" },
    { 1536, -1, "float128, which has no portable layout" },
    { 1792, -1, "complex128" },
    { 2048, -1, "complex256" },
    { 2304, -1, "RGBA" },
};

struct reader {
    const unsigned char *bytes;
    bool swapped;
};

static int64_t integer_at(const struct reader *reader, size_t offset, int width)
{
    uint64_t bits = 0;
    for (int i = 0; i < width; i++) {
        int from = reader->swapped ? i : width - 1 - i; /* swapped: stored big-endian */
        bits = bits << 8 | reader->bytes[offset + (size_t)from];
    }
    int shift = 64 - 8 * width;
    return (int64_t)(bits << shift) >> shift;
}

static double real_at(const struct reader *reader, size_t offset, int width)
{
    int64_t bits = integer_at(reader, offset, width);
    if (width == 8) {
        double value;
        memcpy(&value, &bits, sizeof value);
        return value;
    }
    uint32_t low = (uint32_t)bits;
    float value;
    memcpy(&value, &low, sizeof value);
    return value;
}

static bool find_version(const unsigned char *bytes, size_t size, struct nifti_header *header,
                         struct error *err)
{
    static const char single[] = "n+1", pair[] = "ni1", second[] = "n+2\0\r\n\032\n";
    if (size < NIFTI1_HEADER)
        return error_set(err, "%zu bytes, too short for a NIfTI header (%d)", size, NIFTI1_HEADER);
    for (int swapped = 0; swapped < 2; swapped++) {
        struct reader reader = { bytes, swapped };
        int64_t length = integer_at(&reader, 0, 4);
        header->swapped = swapped;
        if (length == NIFTI1_HEADER) {
            header->version = 1;
            if (memcmp(bytes + 344, single, 4) == 0)
                return true;
            if (memcmp(bytes + 344, pair, 4) == 0)
                return error_set(
                    err, "the header of a .hdr/.img pair; convert it to a single .nii file");
            return error_set(
                err, "no NIfTI magic (\"n+1\") at byte 344; an ANALYZE file, or not an image");
        }
        if (length == NIFTI2_HEADER && size >= NIFTI2_HEADER) {
            header->version = 2;
            if (memcmp(bytes + 4, second, 8) == 0)
                return true;
            return error_set(err, "no NIfTI-2 magic (\"n+2\") at byte 4");
        }
    }
    return error_set(err, "not a NIfTI file: the header's length is neither %d nor %d",
                     NIFTI1_HEADER, NIFTI2_HEADER);
}

static bool read_shape(const struct reader *reader, const struct field_map *map,
                       struct nifti_header *header, struct error *err)
{
    int64_t rank = integer_at(reader, map->dim, map->integer_bytes);
    if (rank < 1 || rank > 7)
        return error_set(err, "dim[0], the number of dimensions, is %lld; expected 1 to 7",
                         (long long)rank);
    int64_t extent[8] = { 0, 1, 1, 1, 1, 1, 1, 1 };
    for (int i = 1; i <= rank; i++) {
        extent[i] =
            integer_at(reader, map->dim + (size_t)(i * map->integer_bytes), map->integer_bytes);
        if (extent[i] < 1)
            return error_set(err, "dim[%d] is %lld; expected at least 1", i, (long long)extent[i]);
    }
    for (int i = 5; i <= 7; i++)
        if (extent[i] != 1)
            return error_set(err,
                             "%lld dimensions (dim[%d] is %lld); only 3-D volumes and 4-D series "
                             "are read",
                             (long long)rank, i, (long long)extent[i]);
    memcpy(header->shape, extent + 1, sizeof header->shape);
    header->frames = extent[4];
    return true;
}

static bool read_type(const struct reader *reader, const struct field_map *map,
                      struct nifti_header *header, struct error *err)
{
    int code = (int)integer_at(reader, map->datatype, 2);
    int bits = (int)integer_at(reader, map->bitpix, 2);
    for (size_t i = 0; i < sizeof datatypes / sizeof *datatypes; i++) {
        if (datatypes[i].code != code)
            continue;
        if (datatypes[i].type < 0)
            return error_set(err,
                             "the datatype is %d (%s); only integers and floats are read: save the "
                             "grey values, or the magnitude, as one of those",
                             code, datatypes[i].name);
        header->type = (enum voxel_type)datatypes[i].type;
        if (bits == 8 * (int)voxel_bytes(header->type))
            return true;
        return error_set(err, "bitpix is %d, but %s voxels have %d bits", bits, datatypes[i].name,
                         8 * (int)voxel_bytes(header->type));
    }
    return error_set(err, "the datatype %d is unknown", code);
}

static bool read_offset(const struct reader *reader, const struct field_map *map, size_t size,
                        struct nifti_header *header, struct error *err)
{
    double real = map->real_bytes == 4 ? real_at(reader, map->vox_offset, 4) : 0;
    int64_t offset = map->real_bytes == 8 ? integer_at(reader, map->vox_offset, 8) : 0;
    if (map->real_bytes == 4) {
        if (!(real >= 0 && real <= 0x1p53) || real != floor(real))
            return error_set(err, "vox_offset is %g; expected a whole number of bytes", real);
        offset = (int64_t)real;
    }
    if (offset == 0) /* some writers leave it out; then the voxels follow the extension flag */
        offset = (int64_t)map->header + 4;
    if (offset < (int64_t)map->header + 4 || (uint64_t)offset > size)
        return error_set(err, "vox_offset is %lld; expected %zu to %zu (the size of the data)",
                         (long long)offset, map->header + 4, size);
    header->voxel_offset = offset;
    return true;
}

static bool check_size(const struct nifti_header *header, size_t size, struct error *err)
{
    const int64_t *n = header->shape;
    int64_t voxels, bytes;
    bool overflow = __builtin_mul_overflow(n[0], n[1], &voxels) ||
                    __builtin_mul_overflow(voxels, n[2], &voxels) ||
                    __builtin_mul_overflow(voxels, header->frames, &voxels) ||
                    __builtin_mul_overflow(voxels, (int64_t)voxel_bytes(header->type), &bytes);
    if (overflow)
        return error_set(err, "%lld × %lld × %lld × %lld voxels are more than can be addressed",
                         (long long)n[0], (long long)n[1], (long long)n[2],
                         (long long)header->frames);
    int64_t present = (int64_t)size - header->voxel_offset;
    if (bytes <= present)
        return true;
    return error_set(err,
                     "%lld × %lld × %lld × %lld voxels of %s take %lld bytes, but only %lld are "
                     "there: truncated, or the header is wrong",
                     (long long)n[0], (long long)n[1], (long long)n[2], (long long)header->frames,
                     voxel_type_name(header->type), (long long)bytes, (long long)present);
}

/* What the header counts in. Unknown, which many writers leave it at, is taken as millimetres, as
 * everybody does. */
static double unit_of(const struct reader *reader, const struct field_map *map)
{
    enum { SPACE = 7, METRES = 1, MICROMETRES = 3 };
    int64_t code = integer_at(reader, map->units, map->real_bytes == 4 ? 1 : 4) & SPACE;
    return code == METRES ? 1000 : code == MICROMETRES ? 0.001 : 1;
}

static bool read_geometry(const struct reader *reader, const struct field_map *map,
                          struct nifti_header *header, struct error *err)
{
    int code_bytes = map->real_bytes == 4 ? 2 : 4;
    header->qform_code = (int)integer_at(reader, map->qform, code_bytes);
    header->sform_code = (int)integer_at(reader, map->sform, code_bytes);
    header->spaced = true;
    header->unit = unit_of(reader, map);
    for (int i = 0; i < 3; i++) {
        size_t offset = map->pixdim + (size_t)((i + 1) * map->real_bytes);
        header->spacing[i] = fabs(real_at(reader, offset, map->real_bytes)) * header->unit;
        if (!isfinite(header->spacing[i]))
            return error_set(err, "pixdim[%d], the voxel spacing, is not a finite number", i + 1);
        if (header->spacing[i] == 0) {
            header->spacing[i] = 1; /* as the standard's own library reads it */
            header->spaced = false;
        }
    }
    for (size_t i = 0; header->qform_code > 0 && i < 6; i++)
        if (!isfinite(real_at(reader, map->quatern + i * (size_t)map->real_bytes, map->real_bytes)))
            return error_set(err, "the qform holds a number that is not finite");
    for (size_t i = 0; header->sform_code > 0 && i < 12; i++)
        if (!isfinite(real_at(reader, map->srow + i * (size_t)map->real_bytes, map->real_bytes)))
            return error_set(err, "the sform holds a number that is not finite");
    return true;
}

/* A slope of 0, NaN or infinity means "no scaling", as in nibabel and the standard. */
static bool read_scaling(const struct reader *reader, const struct field_map *map,
                         struct nifti_header *header, struct error *err)
{
    double slope = real_at(reader, map->slope, map->real_bytes);
    double intercept = real_at(reader, map->intercept, map->real_bytes);
    header->slope = 1;
    header->intercept = 0;
    if (slope == 0 || !isfinite(slope))
        return true;
    if (!isfinite(intercept))
        return error_set(err, "scl_slope is %g, but scl_inter is not a finite number", slope);
    header->slope = slope;
    header->intercept = intercept;
    return true;
}

bool nifti_header_check(const unsigned char *bytes, size_t size, struct nifti_header *header,
                        struct error *err)
{
    *header = (struct nifti_header){ 0 };
    if (!find_version(bytes, size, header, err))
        return false;
    const struct field_map *map = &maps[header->version];
    struct reader reader = { bytes, header->swapped };
    return read_shape(&reader, map, header, err) && read_type(&reader, map, header, err) &&
           read_offset(&reader, map, size, header, err) && check_size(header, size, err) &&
           read_geometry(&reader, map, header, err) && read_scaling(&reader, map, header, err);
}
