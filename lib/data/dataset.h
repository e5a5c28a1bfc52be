/* The dataset store: a folder of images that every later stage reads.
 *
 *     images.npy    (N,C,H,W) uint8, uint16 or float16
 *     masks.npy     (N,H,W) uint8 labels; absent when the data have none
 *     index.csv     image,subject,slice,split,source,sha256: one line an image
 *     dataset.json  schema lethe/dataset/1: shape and channels, the digests of the three files
 *                   above, and under "origin" how the images came about: for ingest the settings,
 *                   every scan with its source files and their digests, and what was skipped
 *
 * A store appears all at once or not at all, and is never changed afterwards.
 *
 *     struct dataset dataset;
 *     if (!dataset_open(&dataset, "run/dataset", err)) …
 *     … dataset.images, dataset.index[i].subject …
 *     dataset_close(&dataset);
 */
#ifndef DATA_DATASET_H
#define DATA_DATASET_H

#include "base/file.h"
#include "base/json.h"
#include "data/npy.h"

#define DATASET_SCHEMA "lethe/dataset/1"

enum dataset_role { ROLE_REAL, ROLE_SYNTHETIC, ROLE_COUNT };
extern const char *const dataset_role_names[ROLE_COUNT + 1];

/* Splits are by subject. Synthetic images have no subjects that were split: SPLIT_NONE. */
enum split { SPLIT_TRAIN, SPLIT_HOLDOUT, SPLIT_VALIDATION, SPLIT_NONE, SPLIT_COUNT };
extern const char *const split_names[SPLIT_COUNT + 1];

struct dataset_image {
    const char *subject;
    int64_t slice; /* index of the plane in its volume; 0 for single images */
    enum split split;
    const char *source; /* path relative to the source folder */
    const char *sha256; /* hexadecimal: of the scan's files, or of the one file */
};

/* ---- reading ------------------------------------------------------------------------------- */

struct dataset {
    const char *path;
    enum dataset_role role;
    size_t count, channels, height, width;
    enum element_type type;
    const char **channel_names;
    const unsigned char *images; /* mapped: (count, channels, height, width) of `type` */
    const uint8_t *masks;        /* mapped: (count, height, width), or NULL */
    struct dataset_image *index; /* count */
    struct json *description;    /* dataset.json */
    struct npy image_array, mask_array;
    struct arena arena;
};

/* Opens and checks that the four files belong together. */
bool dataset_open(struct dataset *dataset, const char *path, struct error *err) MUST_USE;
void dataset_close(struct dataset *dataset);

/* Whether a folder holds a dataset.json. */
bool dataset_is(const char *path);

/* Holds the files against the digests in dataset.json. */
bool dataset_verify(const struct dataset *dataset, struct error *err) MUST_USE;

/* ---- writing ------------------------------------------------------------------------------- */

struct dataset_format {
    enum dataset_role role;
    size_t channels, height, width;
    const char *const *channel_names;
    enum element_type type; /* ELEMENT_UINT8, ELEMENT_UINT16 or ELEMENT_FLOAT16 */
    bool masks;
};

struct dataset_writer {
    struct dataset_format format;
    struct folder_stage stage;
    struct npy_writer images, masks;
    struct text *index;
    size_t count;
    struct arena arena;
};

bool dataset_writer_open(struct dataset_writer *writer, const char *path,
                         const struct dataset_format *format, struct error *err) MUST_USE;

/* One image: channels × height × width elements, height × width labels (or NULL without masks). */
bool dataset_writer_append(struct dataset_writer *writer, const void *image, const uint8_t *mask,
                           const struct dataset_image *row, struct error *err) MUST_USE;

/* Puts the store in place; `replace` exchanges an older one. `origin` says in dataset.json how the
 * images came about; it is taken over. The writer is released either way. */
bool dataset_writer_commit(struct dataset_writer *writer, struct json *origin, bool replace,
                           struct error *err) MUST_USE;
void dataset_writer_abandon(struct dataset_writer *writer);

#endif
