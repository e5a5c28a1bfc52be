/* Small dataset stores for tests of the utility audit: discs of label 1 and 4 in noise. */
#ifndef TESTS_AUDIT_STORES_H
#define TESTS_AUDIT_STORES_H

#include "scratch.h"

#include "base/random.h"
#include "data/dataset.h"

enum { STORE_SIDE = 16, STORE_PIXELS = STORE_SIDE * STORE_SIDE, STORE_SLICES = 3 };

struct store_spec {
    enum dataset_role role;
    int subjects, held_out; /* of the subjects, the last */
    bool masks, torn;       /* torn: the first subject's last slice is held out */
    uint8_t label;          /* of the disc's core; 0: 4 */
    const char *channel;    /* the second's name; NULL: "flair" */
};

static inline void store_write(const char *path, const struct store_spec *spec)
{
    const char *names[] = { "t1", spec->channel ? spec->channel : "flair" };
    struct dataset_format format = { spec->role,    2,          STORE_SIDE, STORE_SIDE, names,
                                     ELEMENT_UINT8, spec->masks };
    struct dataset_writer writer;
    struct error err;
    assert_ok(dataset_writer_open(&writer, path, &format, &err), err);
    for (int s = 0; s < spec->subjects; s++)
        for (int z = 0; z < STORE_SLICES; z++) {
            uint8_t image[2 * STORE_PIXELS], mask[STORE_PIXELS];
            char subject[16], sha256[65];
            int cx = 5 + s % 5, cy = 6 + (s * 3 + z) % 5;
            for (int p = 0; p < STORE_PIXELS; p++) {
                int x = p % STORE_SIDE - cx, y = p / STORE_SIDE - cy, d = x * x + y * y;
                uint64_t at = (uint64_t)((s * STORE_SLICES + z) * STORE_PIXELS + p);
                uint8_t noise = (uint8_t)random_below(1, (uint64_t)spec->role, at, 40);
                mask[p] = d <= 4 ? (spec->label ? spec->label : 4) : d <= 16 ? 1 : 0;
                image[p] = (uint8_t)(noise + (d <= 16 ? 120 : 30));
                image[STORE_PIXELS + p] = (uint8_t)(noise + (d <= 4 ? 180 : 30));
            }
            snprintf(subject, sizeof subject, "S%03d", s);
            memset(sha256, '0' + s % 10, 64);
            sha256[64] = 0;
            bool held = s >= spec->subjects - spec->held_out ||
                        (spec->torn && s == 0 && z == STORE_SLICES - 1);
            struct dataset_image row = { subject, z,
                                         spec->role == ROLE_SYNTHETIC ? SPLIT_NONE
                                         : held                       ? SPLIT_HOLDOUT
                                                                      : SPLIT_TRAIN,
                                         subject, sha256 };
            assert_ok(dataset_writer_append(&writer, image, mask, &row, &err), err);
        }
    assert_ok(dataset_writer_commit(&writer, json_new_object(), false, &err), err);
}

#endif
