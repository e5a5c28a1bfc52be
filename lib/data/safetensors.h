/* safetensors: named tensors in one file, as PyTorch's world stores weights.
 *
 *     struct safetensors file;
 *     if (!safetensors_open(&file, "model.safetensors", err)) …
 *     const struct tensor_entry *weight = safetensors_find(&file, "synthesis.b4.const");
 *     safetensors_close(&file);
 *
 * The reader is strict: 8 bytes of header length, a JSON object without duplicate keys, tensors
 * that cover the data exactly, without overlap, gap or rest.
 */
#ifndef DATA_SAFETENSORS_H
#define DATA_SAFETENSORS_H

#include "base/file.h"
#include "data/element.h"

enum { TENSOR_MAX_RANK = 8 };

struct tensor_entry {
    const char *name;
    enum element_type type;
    int rank;
    size_t shape[TENSOR_MAX_RANK];
    size_t bytes;
    const void *data; /* reading: into the file; writing: the caller's */
};

struct metadata_entry {
    const char *key, *value;
};

struct safetensors {
    struct tensor_entry *tensors; /* in the order of their data */
    size_t count;
    struct metadata_entry *metadata;
    size_t metadata_count;
    struct arena arena;
    struct file_map map;
};

bool safetensors_open(struct safetensors *file, const char *path, struct error *err) MUST_USE;
/* The same from bytes, which must outlive the result. */
bool safetensors_parse(struct safetensors *file, const unsigned char *bytes, size_t size,
                       const char *name, struct error *err) MUST_USE;
void safetensors_close(struct safetensors *file);

/* NULL when there is none of that name. */
const struct tensor_entry *safetensors_find(const struct safetensors *file, const char *name);
const char *safetensors_metadata(const struct safetensors *file, const char *key);

/* Writes atomically, tensors in the order given; data begin at a multiple of 64 bytes. */
bool safetensors_write(const char *path, const struct tensor_entry *tensors, size_t count,
                       const struct metadata_entry *metadata, size_t metadata_count,
                       struct error *err) MUST_USE;

#endif
