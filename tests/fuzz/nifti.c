/* nifti_header_check, then nifti_read_bytes on a copy: what the check accepts is read without a
 * step beside the buffer, and what is read was accepted. */
#include "fuzz/fuzz.h"

#include "data/nifti.h"
#include "data/nifti_header.h"

#include "base/arena.h"

#include <string.h>

static void read_planes(const struct volume *volume)
{
    for (int plane = 0; plane < PLANE_COUNT; plane++) {
        struct plane_shape shape = volume_plane_shape(volume, (enum plane)plane);
        struct error err;
        double *values =
            memory_allocate((size_t)(shape.rows * shape.columns), sizeof *values, "a plane", &err);
        CHECK(values, "%s", err.message);
        volume_frame_plane(volume, 0, (enum plane)plane, 0, values);
        volume_frame_plane(volume, volume->frames - 1, (enum plane)plane, shape.count - 1, values);
        memory_free(values);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct nifti_header header;
    struct volume volume;
    struct error err = { "" }, read_err = { "" };
    bool accepted = nifti_header_check(bytes, size, &header, &err);
    CHECK(accepted || *err.message, "refused without a reason");
    unsigned char *copy = memory_allocate(size, 1, "a copy", &err);
    CHECK(copy, "%s", err.message);
    if (size)
        memcpy(copy, bytes, size);
    if (nifti_read_bytes(&volume, copy, size, "x.nii", &read_err)) {
        CHECK(accepted || (size && bytes[0] == 0x1f), "read, though the header was refused");
        int64_t voxels = volume.shape[0] * volume.shape[1] * volume.shape[2] * volume.frames;
        CHECK(voxels > 0, "a volume of %lld voxels", (long long)voxels);
        if (voxels < 1 << 20)
            read_planes(&volume);
        volume_release(&volume);
    } else {
        CHECK(strncmp(read_err.message, "x.nii: ", 7) == 0, "no name in: %s", read_err.message);
        CHECK(!volume.buffer, "a refused volume keeps its memory");
    }
    return 0;
}
