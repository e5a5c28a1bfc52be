/* NIfTI-1 and NIfTI-2 volumes, .nii and .nii.gz. */
#ifndef DATA_NIFTI_H
#define DATA_NIFTI_H

#include "data/volume.h"

/* The largest volume that is read, decompressed: 8 GiB. */
#define NIFTI_LARGEST ((size_t)8 << 30)

/* Whether the name ends in .nii or .nii.gz. */
bool nifti_is_name(const char *path);

/* Reads a volume and brings its axes into canonical order (volume.h). The orientation is that of
 * the sform, else of the qform, else none: the voxel's axis nearest to each anatomical axis is
 * taken, without resampling. Release with volume_release. */
bool nifti_read(struct volume *volume, const char *path, struct error *err) MUST_USE;

/* As nifti_read, from the bytes of the file; `name` stands for it in messages. Of a file that is
 * not compressed, `bytes` is taken over (a memory_allocate'd or malloc'ed block), also on error. */
bool nifti_read_bytes(struct volume *volume, unsigned char *bytes, size_t size, const char *name,
                      struct error *err) MUST_USE;

/* A volume to be written: x fastest, canonical axes; affine maps indices to mm (RAS+). */
struct nifti_output {
    int64_t shape[3];
    enum voxel_type type;
    const void *voxels;
    double affine[3][4];
    double unit;                       /* mm that the header counts in, as volume.h; 0: 1 */
    const char *descrip, *intent_name; /* free text: at most 79 and 15 bytes; NULL: empty */
    bool labels;                       /* voxels are labels: the intent says so */
    bool unplaced; /* of the affine only the spacing is told, as of a scan that tells no more */
};

/* The affine of axes that run left, back and up, with this spacing and the first voxel at
 * (origin): what BraTS files have. */
void nifti_lps_affine(const double spacing[3], const double origin[3], double affine[3][4]);

/* The file's bytes, as nifti_write would write them; free with memory_free. */
unsigned char *nifti_encode(const struct nifti_output *output, bool compress, size_t *size,
                            struct error *err) MUST_USE;

/* Writes a NIfTI-1 file, atomically: no free text, no extension; .gz by the name, as one member
 * without name and time. The same bytes for the same input. */
bool nifti_write(const char *path, const struct nifti_output *output, struct error *err) MUST_USE;

#endif
