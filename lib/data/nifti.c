/* The whole contact surface with nifticlib; see nifti.h.
 *
 * The library gets a header that nifti_header_check has already accepted, from memory; it works
 * out the transforms and the orientation. Voxels never pass through it: they are decompressed by
 * libdeflate into one buffer and read from there (volume.h).
 */
#include "data/nifti.h"

#include "base/file.h"
#include "base/text.h"
#include "data/gzip.h"
#include "data/nifti_header.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <nifti2_io.h>

enum { COMPRESSION_LEVEL = 6 };

bool nifti_is_name(const char *path)
{
    return text_ends_with_any_case(path, ".nii") || text_ends_with_any_case(path, ".nii.gz");
}

/* ---- orientation --------------------------------------------------------------------------- */

/* The library's view of the header: transforms and orientation. NULL if it disagrees with ours. */
static nifti_image *library_image(const unsigned char *bytes, const struct nifti_header *header,
                                  struct error *err)
{
    nifti_image *image;
    nifti_set_debug_level(0);
    if (header->version == 1) {
        nifti_1_header raw;
        memcpy(&raw, bytes, sizeof raw);
        image = nifti_convert_n1hdr2nim(raw, NULL);
    } else {
        nifti_2_header raw;
        memcpy(&raw, bytes, sizeof raw);
        image = nifti_convert_n2hdr2nim(raw, NULL);
    }
    if (!image) {
        error_set(err, "nifticlib does not accept the header");
        return NULL;
    }
    bool agree = image->nx == header->shape[0] && image->ny == header->shape[1] &&
                 image->nz == header->shape[2] &&
                 (size_t)image->nbyper == voxel_bytes(header->type);
    if (agree)
        return image;
    error_set(err, "nifticlib reads the header differently (%lld × %lld × %lld)",
              (long long)image->nx, (long long)image->ny, (long long)image->nz);
    nifti_image_free(image);
    return NULL;
}

/* For each canonical axis (left, back, up): which stored axis it is, and whether it runs the other
 * way. The library names the direction of each stored axis. */
struct orientation {
    int stored[3];
    bool turned[3];
};

static bool find_orientation(nifti_dmat44 to_mm, struct orientation *orientation, struct error *err)
{
    static const struct {
        int code, axis;
        bool turned;
    } directions[] = {
        { NIFTI_R2L, 0, false }, { NIFTI_L2R, 0, true },  { NIFTI_A2P, 1, false },
        { NIFTI_P2A, 1, true },  { NIFTI_I2S, 2, false }, { NIFTI_S2I, 2, true },
    };
    int code[3], found = 0;
    nifti_dmat44_to_orientation(to_mm, &code[0], &code[1], &code[2]);
    for (int stored = 0; stored < 3; stored++)
        for (size_t i = 0; i < sizeof directions / sizeof *directions; i++)
            if (directions[i].code == code[stored]) {
                orientation->stored[directions[i].axis] = stored;
                orientation->turned[directions[i].axis] = directions[i].turned;
                found |= 1 << directions[i].axis;
            }
    return found == 7 || error_set(err, "the transform to millimetres is singular: no orientation "
                                        "can be told from it; repair the file's sform or qform");
}

static double column_length(nifti_dmat44 matrix, int column)
{
    return sqrt(matrix.m[0][column] * matrix.m[0][column] +
                matrix.m[1][column] * matrix.m[1][column] +
                matrix.m[2][column] * matrix.m[2][column]);
}

/* Fills in shape, strides, affine and spacing of the canonical axes. */
static void orient(struct volume *volume, const struct nifti_header *header,
                   const unsigned char *voxels, const nifti_dmat44 *to_mm,
                   const struct orientation *orientation)
{
    ptrdiff_t stride[3] = { (ptrdiff_t)voxel_bytes(header->type) };
    stride[1] = stride[0] * header->shape[0];
    stride[2] = stride[1] * header->shape[1];
    volume->frame_stride = stride[2] * header->shape[2];
    volume->origin = voxels;
    for (int row = 0; row < 3; row++)
        volume->affine[row][3] = to_mm->m[row][3];
    for (int axis = 0; axis < 3; axis++) {
        int stored = orientation->stored[axis];
        int sign = orientation->turned[axis] ? -1 : 1;
        int64_t last = header->shape[stored] - 1;
        volume->shape[axis] = header->shape[stored];
        volume->stride[axis] = sign * stride[stored];
        if (sign < 0)
            volume->origin += last * stride[stored];
        for (int row = 0; row < 3; row++) {
            volume->affine[row][axis] = sign * to_mm->m[row][stored];
            if (sign < 0)
                volume->affine[row][3] += (double)last * to_mm->m[row][stored];
        }
        volume->spacing[axis] =
            volume->oriented ? column_length(*to_mm, stored) : header->spacing[stored];
    }
    volume->spaced = volume->oriented || header->spaced;
}

/* The library leaves transforms in the header's units. */
static nifti_dmat44 in_mm(nifti_dmat44 matrix, double unit)
{
    for (int row = 0; row < 3; row++)
        for (int column = 0; column < 4; column++)
            matrix.m[row][column] *= unit;
    return matrix;
}

static bool place(struct volume *volume, const unsigned char *bytes,
                  const struct nifti_header *header, struct error *err)
{
    nifti_image *image = library_image(bytes, header, err);
    if (!image)
        return false;
    struct orientation orientation = { .stored = { 0, 1, 2 } };
    nifti_dmat44 to_mm =
        in_mm(image->sform_code > 0 ? image->sto_xyz : image->qto_xyz, header->unit);
    volume->oriented = image->sform_code > 0 || image->qform_code > 0;
    bool ok = !volume->oriented || find_orientation(to_mm, &orientation, err);
    if (ok)
        orient(volume, header, bytes + header->voxel_offset, &to_mm, &orientation);
    nifti_image_free(image);
    return ok;
}

/* ---- reading ------------------------------------------------------------------------------- */

/* How large the decompressed file may be: what its header asks for, and some. So a small file whose
 * header is wrong, or that is no NIfTI at all, cannot make us fill memory before it is refused. */
static bool find_limit(const unsigned char *bytes, size_t size, size_t *limit, struct error *err)
{
    enum { TRAILING_MOST = 16 << 20 };
    unsigned char head[NIFTI2_HEADER] = { 0 };
    struct nifti_header header;
    size_t there = gzip_peek(bytes, size, head, sizeof head);
    if (there < NIFTI1_HEADER)
        return error_set(err, "damaged or truncated gzip data; restore the file from its source");
    if (!nifti_header_check(head, NIFTI_LARGEST, &header, err))
        return false;
    size_t voxels = voxel_bytes(header.type) * (size_t)header.frames;
    for (int axis = 0; axis < 3; axis++)
        voxels *= (size_t)header.shape[axis]; /* which the check has bounded */
    *limit = (size_t)header.voxel_offset + voxels + TRAILING_MOST;
    return true;
}

bool nifti_read_bytes(struct volume *volume, unsigned char *bytes, size_t size, const char *name,
                      struct error *err)
{
    *volume = (struct volume){ 0 };
    if (gzip_is(bytes, size)) {
        size_t inflated, limit = 0;
        unsigned char *plain = NULL;
        if (!find_limit(bytes, size, &limit, err))
            error_prefix(err, "%s", name);
        else
            plain = gzip_decompress(bytes, size, limit, name, &inflated, err);
        memory_free(bytes);
        if (!plain)
            return false;
        bytes = plain;
        size = inflated;
    }
    struct nifti_header header;
    volume->buffer = bytes;
    bool ok = nifti_header_check(bytes, size, &header, err);
    if (ok) {
        volume->frames = header.frames;
        volume->type = header.type;
        volume->swapped = header.swapped;
        volume->unit = header.unit;
        volume->slope = header.slope;
        volume->intercept = header.intercept;
        ok = place(volume, bytes, &header, err);
    }
    if (!ok) {
        volume_release(volume);
        error_prefix(err, "%s", name);
    }
    return ok;
}

bool nifti_read(struct volume *volume, const char *path, struct error *err)
{
    size_t size;
    *volume = (struct volume){ 0 };
    unsigned char *bytes = (unsigned char *)file_read(path, NIFTI_LARGEST, &size, err);
    return bytes && nifti_read_bytes(volume, bytes, size, path, err);
}

/* ---- writing ------------------------------------------------------------------------------- */

void nifti_lps_affine(const double spacing[3], const double origin[3], double affine[3][4])
{
    static const int sign[3] = { -1, -1, 1 }; /* NIfTI's millimetres run right, forward and up */
    for (int row = 0; row < 3; row++) {
        for (int axis = 0; axis < 3; axis++)
            affine[row][axis] = row == axis ? sign[axis] * spacing[axis] : 0;
        affine[row][3] = origin[row];
    }
}

static short datatype_of(enum voxel_type type)
{
    static const short codes[VOXEL_TYPE_COUNT] = {
        [VOXEL_UINT8] = DT_UINT8,     [VOXEL_INT8] = DT_INT8,     [VOXEL_UINT16] = DT_UINT16,
        [VOXEL_INT16] = DT_INT16,     [VOXEL_UINT32] = DT_UINT32, [VOXEL_INT32] = DT_INT32,
        [VOXEL_UINT64] = DT_UINT64,   [VOXEL_INT64] = DT_INT64,   [VOXEL_FLOAT32] = DT_FLOAT32,
        [VOXEL_FLOAT64] = DT_FLOAT64,
    };
    return codes[type];
}

static void set_transforms(nifti_1_header *header, const double affine[3][4], double unit)
{
    float *rows[3] = { header->srow_x, header->srow_y, header->srow_z };
    nifti_dmat44 matrix = { 0 };
    double b, c, d, x, y, z, dx, dy, dz, qfac;
    for (int row = 0; row < 3; row++)
        for (int column = 0; column < 4; column++) {
            matrix.m[row][column] = affine[row][column] / unit;
            rows[row][column] = (float)matrix.m[row][column];
        }
    matrix.m[3][3] = 1;
    nifti_dmat44_to_quatern(matrix, &b, &c, &d, &x, &y, &z, &dx, &dy, &dz, &qfac);
    header->quatern_b = (float)b;
    header->quatern_c = (float)c;
    header->quatern_d = (float)d;
    header->qoffset_x = (float)x;
    header->qoffset_y = (float)y;
    header->qoffset_z = (float)z;
    header->pixdim[0] = (float)qfac;
    header->pixdim[1] = (float)dx;
    header->pixdim[2] = (float)dy;
    header->pixdim[3] = (float)dz;
    header->qform_code = header->sform_code = NIFTI_XFORM_SCANNER_ANAT;
}

static void put_text(char *field, size_t size, const char *text)
{
    if (!text)
        return;
    CHECK(strlen(text) < size, "\"%s\" does not fit into a NIfTI header", text);
    memcpy(field, text, strlen(text));
}

static int unit_code(double unit)
{
    return unit > 1 ? NIFTI_UNITS_METER : unit < 1 ? NIFTI_UNITS_MICRON : NIFTI_UNITS_MM;
}

static void fill_header(nifti_1_header *header, const struct nifti_output *output)
{
    double unit = output->unit ? output->unit : 1;
    *header = (nifti_1_header){ .sizeof_hdr = NIFTI1_HEADER,
                                .regular = 'r',
                                .dim = { 3, 1, 1, 1, 1, 1, 1, 1 } };
    for (int axis = 0; axis < 3; axis++)
        header->dim[axis + 1] = (short)output->shape[axis];
    header->datatype = datatype_of(output->type);
    header->bitpix = (short)(8 * voxel_bytes(output->type));
    header->vox_offset = NIFTI1_HEADER + 4;
    header->scl_slope = 1;
    header->xyzt_units = (char)unit_code(unit);
    memcpy(header->magic, "n+1", 4);
    put_text(header->descrip, sizeof header->descrip, output->descrip);
    put_text(header->intent_name, sizeof header->intent_name, output->intent_name);
    if (output->labels)
        header->intent_code = NIFTI_INTENT_LABEL;
    set_transforms(header, output->affine, unit);
    if (output->unplaced)
        header->qform_code = header->sform_code = NIFTI_XFORM_UNKNOWN;
}

/* Compressed instead of the plain bytes, which are freed. */
static unsigned char *packed(unsigned char *bytes, size_t *size, struct error *err)
{
    size_t plain = *size;
    unsigned char *out = gzip_compress(bytes, plain, COMPRESSION_LEVEL, size, err);
    memory_free(bytes);
    return out;
}

unsigned char *nifti_encode(const struct nifti_output *output, bool compress, size_t *size,
                            struct error *err)
{
    const int64_t *n = output->shape;
    size_t voxels = (size_t)n[0] * (size_t)n[1] * (size_t)n[2] * voxel_bytes(output->type);
    CHECK(n[0] > 0 && n[0] <= INT16_MAX && n[1] > 0 && n[1] <= INT16_MAX && n[2] > 0 &&
              n[2] <= INT16_MAX,
          "a NIfTI-1 volume of %lld × %lld × %lld", (long long)n[0], (long long)n[1],
          (long long)n[2]);
    nifti_1_header header;
    fill_header(&header, output);
    *size = NIFTI1_HEADER + 4 + voxels;
    unsigned char *bytes = memory_allocate(*size, 1, "a NIfTI file", err);
    if (!bytes)
        return NULL;
    memcpy(bytes, &header, NIFTI1_HEADER);
    memcpy(bytes + NIFTI1_HEADER + 4, output->voxels, voxels);
    return compress ? packed(bytes, size, err) : bytes;
}

bool nifti_write(const char *path, const struct nifti_output *output, struct error *err)
{
    size_t size;
    unsigned char *bytes = nifti_encode(output, text_ends_with_any_case(path, ".gz"), &size, err);
    if (!bytes)
        return error_prefix(err, "%s", path);
    bool ok = file_write(path, bytes, size, err);
    memory_free(bytes);
    return ok;
}
