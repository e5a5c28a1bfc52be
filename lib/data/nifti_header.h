/* NIfTI headers, checked before any library sees them.
 *
 * nifticlib trusts its input: an unchecked dim[0] reads past the array, and a 377-byte file can
 * ask for 18 GB. So the numbers that decide about memory are read here, byte by byte, and held
 * against the size that the file really has. This parser allocates nothing and is fuzzed.
 */
#ifndef DATA_NIFTI_HEADER_H
#define DATA_NIFTI_HEADER_H

#include "data/volume.h"

enum { NIFTI1_HEADER = 348, NIFTI2_HEADER = 540 };

struct nifti_header {
    int version;      /* 1 or 2 */
    bool swapped;     /* stored in the other byte order */
    int64_t shape[3]; /* as stored */
    int64_t frames;   /* 1 for an image, more for a time series */
    enum voxel_type type;
    int64_t voxel_offset;    /* of the first voxel, in bytes */
    double slope, intercept; /* 1 and 0 when the header asks for no scaling */
    double unit;             /* mm that the header counts in: 1000, 1 or 0.001 */
    double spacing[3];       /* mm, in the order of the stored axes */
    bool spaced;             /* false: one of them was 0, none given, and reads as 1 */
    int qform_code, sform_code;
};

/* Reads and checks the header of a whole, decompressed single-file NIfTI of `size` bytes. False
 * with a message (without the file's name) unless every number in it can be relied on. */
bool nifti_header_check(const unsigned char *bytes, size_t size, struct nifti_header *header,
                        struct error *err) MUST_USE;

#endif
