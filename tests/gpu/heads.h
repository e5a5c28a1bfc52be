/* Sets of head slices, as many as are asked for, made from a seed: phantoms (data/phantom.h) are
 * few, so each image is one of their slices, deformed once more by a smooth field of up to 6
 * pixels, with a gain, a gamma and noise of its own. Images of an even stream and those of an odd
 * one are of different subjects.
 */
#ifndef TESTS_GPU_HEADS_H
#define TESTS_GPU_HEADS_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

enum { HEAD_SIDE = 256, HEAD_PIXELS = HEAD_SIDE * HEAD_SIDE };

struct head_slices {
    unsigned char *slices[2]; /* (count, HEAD_PIXELS) of each group of subjects */
    size_t count[2];
};

/* Slices of so many subjects in each group. */
bool head_slices_make(struct head_slices *heads, size_t subjects, struct error *err) MUST_USE;
void head_slices_release(struct head_slices *heads);

/* `count` images of group 0 or 1 into a .npy file (count, 1, HEAD_SIDE, HEAD_SIDE) of bytes. */
bool head_set_write(const struct head_slices *heads, int group, size_t count, const char *path,
                    struct error *err) MUST_USE;

#endif
