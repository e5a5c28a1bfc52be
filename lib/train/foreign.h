/* Tensors of a file that others wrote, held against those that are asked for, by name.
 *
 *     struct text differences = { 0 };
 *     struct foreign foreign;
 *     if (!foreign_open(&foreign, "weights.safetensors", &differences, err)) …
 *     float *values = foreign_take(&foreign, "conv0.weight", shape);   // NULL: a difference
 *     foreign_check_rest(&foreign, is_of_no_use, NULL);
 *     ok = foreign_agrees(&foreign, err);
 *     foreign_close(&foreign);
 *
 * Everything that is asked for must be there, with its shape; everything that is there must have
 * been asked for, or be known. All differences are listed, a line each, not the first.
 */
#ifndef TRAIN_FOREIGN_H
#define TRAIN_FOREIGN_H

#include "base/text.h"
#include "data/safetensors.h"
#include "tensor/shape.h"

struct foreign {
    struct safetensors file;
    const char *path;
    struct text *differences; /* the caller's */
    bool *used;               /* by tensor of the file */
    size_t taken, passed_over;
    struct arena arena;
};

bool foreign_open(struct foreign *foreign, const char *path, struct text *differences,
                  struct error *err) MUST_USE;
void foreign_close(struct foreign *foreign);

/* The values of a float32 or float16 tensor, to be freed. NULL where it is not there, or has
 * another shape or type, or a value that is not finite. */
float *foreign_take(struct foreign *foreign, const char *name, struct shape shape) MUST_USE;

/* As floats, to be freed; NULL where the type is none that weights come in. */
float *foreign_values(const struct tensor_entry *entry) MUST_USE;

/* Passes over what was not taken; what `known` says no to is a difference, which `known` may have
 * told itself (then it says yes). */
typedef bool foreign_known(const struct tensor_entry *entry, const void *context,
                           struct text *differences);
void foreign_check_rest(struct foreign *foreign, foreign_known *known, const void *context);

/* False where there is a difference: how many, not which. */
bool foreign_agrees(const struct foreign *foreign, struct error *err) MUST_USE;

#endif
