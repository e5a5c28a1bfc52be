/* Small dataset stores for tests of the utility audit: discs of label 1 and 4 in noise. */
#ifndef TESTS_AUDIT_STORES_H
#define TESTS_AUDIT_STORES_H

#include "scratch.h"

#include "base/random.h"
#include "data/dataset.h"

enum { STORE_SIDE = 16, STORE_SIDE_MOST = 20, STORE_SLICES = 3 };
enum { STORE_SIDE_ROOM = 64 }; /* from here on lesions are looked for */

struct store_spec {
    enum dataset_role role;
    int first;              /* number of the first subject */
    int subjects, held_out; /* of the subjects, the last */
    bool masks, torn;       /* torn: the first subject's last slice is held out */
    bool whole;             /* not split */
    bool as_real;           /* the pixels that the real store has of these subjects */
    int side;               /* 0: 16 */
    int slices;             /* of a subject; 0: 3 */
    uint8_t label;          /* of the disc's core; 0: 4 */
    const char *channel;    /* the second's name; NULL: "flair" */
};

static inline void store_write(const char *path, const struct store_spec *spec)
{
    const char *names[] = { "t1", spec->channel ? spec->channel : "flair" };
    const int side = spec->side ? spec->side : STORE_SIDE, pixels = side * side,
              slices = spec->slices ? spec->slices : STORE_SLICES;
    struct dataset_format format = { spec->role,    2,          (size_t)side, (size_t)side, names,
                                     ELEMENT_UINT8, spec->masks };
    struct dataset_writer writer;
    struct error err;
    uint64_t noise_of = (uint64_t)(spec->as_real ? ROLE_REAL : spec->role);
    assert_ok(dataset_writer_open(&writer, path, &format, &err), err);
    for (int s = spec->first; s < spec->first + spec->subjects; s++)
        for (int z = 0; z < slices; z++) {
            uint8_t mask[STORE_SIDE_ROOM * STORE_SIDE_ROOM], image[2 * sizeof mask];
            char subject[16], sha256[65];
            int cx = 5 + s % 5, cy = 6 + (s * 3 + z) % 5;
            for (int p = 0; p < pixels; p++) {
                int x = p % side - cx, y = p / side - cy, d = x * x + y * y;
                uint64_t at = (uint64_t)((s * STORE_SLICES + z) * pixels + p);
                uint8_t noise = (uint8_t)random_below(1, noise_of, at, 40);
                mask[p] = d <= 4 ? (spec->label ? spec->label : 4) : d <= 16 ? 1 : 0;
                image[p] = (uint8_t)(noise + (d <= 16 ? 120 : 30));
                image[pixels + p] = (uint8_t)(noise + (d <= 4 ? 180 : 30));
            }
            snprintf(subject, sizeof subject, "S%03d", s);
            memset(sha256, '0' + s % 10, 64);
            sha256[64] = 0;
            bool held = s >= spec->first + spec->subjects - spec->held_out ||
                        (spec->torn && s == 0 && z == slices - 1);
            struct dataset_image row = { subject, z,
                                         spec->role == ROLE_SYNTHETIC || spec->whole ? SPLIT_NONE
                                         : held                                      ? SPLIT_HOLDOUT
                                                                                     : SPLIT_TRAIN,
                                         subject, sha256 };
            assert_ok(dataset_writer_append(&writer, image, mask, &row, &err), err);
        }
    assert_ok(dataset_writer_commit(&writer, json_new_object(), false, &err), err);
}

#endif
