/* A 3-D image in memory, read plane by plane.
 *
 *     struct volume volume;
 *     if (!nifti_read(&volume, "sub-01_T1w.nii.gz", err))          // data/nifti.h
 *         return false;
 *     double *plane = …rows × columns…;
 *     volume_plane(&volume, PLANE_AXIAL, 70, plane);
 *     volume_release(&volume);
 *
 * Axes are canonical: x runs to the patient's left, y to the back, z to the top of the head (LPS,
 * the order in which BraTS stores its voxels, so that axial planes appear as radiologists see
 * them: the front up, the patient's right on the left). Voxels stay as the file holds them, in
 * type, byte order and order; a plane is converted on the way out, so memory is one volume in its
 * stored type and values are exactly what double precision gives: stored · slope + intercept.
 */
#ifndef DATA_VOLUME_H
#define DATA_VOLUME_H

#include "base/error.h"

#include <stdint.h>

enum plane { PLANE_AXIAL, PLANE_CORONAL, PLANE_SAGITTAL, PLANE_COUNT };
extern const char *const plane_names[PLANE_COUNT + 1]; /* NULL-terminated */

enum voxel_type {
    VOXEL_UINT8,
    VOXEL_INT8,
    VOXEL_UINT16,
    VOXEL_INT16,
    VOXEL_UINT32,
    VOXEL_INT32,
    VOXEL_UINT64,
    VOXEL_INT64,
    VOXEL_FLOAT32,
    VOXEL_FLOAT64,
    VOXEL_TYPE_COUNT
};
size_t voxel_bytes(enum voxel_type type);
const char *voxel_type_name(enum voxel_type type);

struct volume {
    int64_t shape[3];     /* voxels along x (left), y (back), z (top) */
    int64_t frames;       /* of a time series; 1 for an image */
    double unit;          /* mm that the file counts in: 1000, 1 or 0.001; here all is in mm */
    double spacing[3];    /* mm between voxels along those axes */
    double affine[3][4];  /* canonical voxel indices to millimetres, RAS+ as in NIfTI */
    bool oriented;        /* false: the file gives no orientation, axes are as stored */
    bool spaced;          /* false: nor a spacing; 1 mm stands for it */
    enum voxel_type type; /* as stored */
    double slope, intercept;
    /* How canonical indices reach the stored bytes. */
    const unsigned char *origin;
    ptrdiff_t stride[3], frame_stride; /* bytes; negative where an axis is turned round */
    bool swapped;                      /* stored in the other byte order */
    void *buffer;                      /* owned */
};

void volume_release(struct volume *volume);

/* Rows and columns of a plane, and how many planes there are. */
struct plane_shape {
    int64_t rows, columns, count;
};
struct plane_shape volume_plane_shape(const struct volume *volume, enum plane plane);
/* The spacing down the rows and along the columns, in mm. */
void volume_plane_spacing(const struct volume *volume, enum plane plane, double spacing[2]);

/* Writes rows × columns values, row by row. Coronal and sagittal planes have the top of the head
 * up; planes are counted from the bottom (axial), front (coronal), right (sagittal). */
void volume_plane(const struct volume *volume, enum plane plane, int64_t index, double *out);
void volume_frame_plane(const struct volume *volume, int64_t frame, enum plane plane, int64_t index,
                        double *out);

/* Where the file has a voxel: its indices in the order of the file's own axes, as other programs
 * count them. */
void volume_stored_index(const struct volume *volume, const int64_t index[3], int64_t stored[3]);

/* Least and greatest value; false, naming the voxel as stored, for a NaN or an infinity. */
bool volume_range(const struct volume *volume, double *least, double *greatest,
                  struct error *err) MUST_USE;

/* The label that a value is: a whole number from 0 to 255, or -1. Masks went through floats (a
 * scale in the header, a resampling), so what is a thousandth off is that label; a half is none. */
int label_of(double value);

/* Whether two volumes lie on the same grid: equal shape, and affines that agree to 0.01 voxel
 * over the whole field of view (when both are oriented). */
bool volume_same_grid(const struct volume *a, const struct volume *b, struct error *err) MUST_USE;

#endif
