/* NumPy's .npy arrays, format versions 1 to 3.
 *
 *     struct npy array;
 *     if (!npy_open(&array, "images.npy", err)) …                 // mapped, not read
 *     … array.type, array.rank, array.shape, array.data …
 *     npy_close(&array);
 *
 *     struct npy_writer writer;                         // (N, 5, 256, 256), N not known yet
 *     npy_writer_open(&writer, "images.npy", ELEMENT_UINT8, 3, (size_t[]){ 5, 256, 256 }, err);
 *     npy_writer_append(&writer, image, 1, err);
 *     npy_writer_commit(&writer, err);
 */
#ifndef DATA_NPY_H
#define DATA_NPY_H

#include "base/file.h"
#include "data/element.h"

enum { NPY_MAX_RANK = 8 };

struct npy {
    enum element_type type;
    int rank;
    size_t shape[NPY_MAX_RANK];
    size_t count;              /* product of the shape */
    const unsigned char *data; /* count elements, C order, little-endian, aligned to the type */
    struct file_map map;       /* when opened from a file */
};

/* Maps a file. Refused with a message: Fortran order, big-endian or unknown types, a shape that
 * does not fit the file's size, bytes after the data. */
bool npy_open(struct npy *array, const char *path, struct error *err) MUST_USE;
void npy_close(struct npy *array);

/* Whether a rank-4 array is (N,H,W,C), as many programs hold images, and not (N,C,H,W): by its last
 * axis, for no image is that narrow. What to say of it takes the channels. */
bool npy_has_channels_last(const struct npy *array);
#define NPY_CHANNELS_LAST                                                                          \
    "its last axis has %zu elements, so it is (N,H,W,C); expected (N,C,H,W): save "                \
    "numpy.ascontiguousarray(array.transpose(0, 3, 1, 2))"

/* The same from bytes, which must outlive the array; `name` stands for them in messages. */
bool npy_parse(struct npy *array, const unsigned char *bytes, size_t size, const char *name,
               struct error *err) MUST_USE;

/* The bytes that a .npy file of this type and shape begins with, as npy_writer writes them. */
enum { NPY_WRITTEN_HEADER = 192 };
void npy_header(enum element_type type, int rank, const size_t *shape,
                char header[NPY_WRITTEN_HEADER]);

/* Writes (count, item_shape…), item by item. */
struct npy_writer {
    struct file_writer file;
    enum element_type type;
    int rank;
    size_t shape[NPY_MAX_RANK]; /* shape[0] counts what was appended */
    size_t item_bytes;
};
bool npy_writer_open(struct npy_writer *writer, const char *path, enum element_type type,
                     int item_rank, const size_t *item_shape, struct error *err) MUST_USE;
bool npy_writer_append(struct npy_writer *writer, const void *items, size_t count,
                       struct error *err) MUST_USE;
bool npy_writer_commit(struct npy_writer *writer, struct error *err) MUST_USE;
void npy_writer_abandon(struct npy_writer *writer);

#endif
