/* Data sets for tests of training, whose every value follows from its place. */
#ifndef TESTS_TRAIN_FIXTURE_H
#define TESTS_TRAIN_FIXTURE_H

#include "base/error.h"
#include "train/settings.h"

#include <stddef.h>
#include <stdint.h>

struct fixture {
    size_t count, channels, height, width;
    int masks;    /* 1: with masks of labels 0, 1, 2, 4 */
    int strange;  /* 1: one mask has the label 7 */
    int no_train; /* 1: all images are held out */
    int wide;     /* 1: uint16 instead of uint8 */
};

/* Every third image, from 1 on, is held out. */
bool fixture_write(const struct fixture *fixture, const char *path, struct error *err);
bool fixture_held_out(const struct fixture *fixture, size_t image);

/* The value and the label that were written. */
unsigned fixture_value(size_t image, size_t channel, size_t y, size_t x);
unsigned fixture_label(size_t image, size_t y, size_t x);

/* Networks so small that a step takes milliseconds: for sides from 8 on. */
struct train_settings fixture_ddpm(void);
struct train_settings fixture_stylegan2(void);
struct train_settings fixture_stylegan3(void);
struct train_settings fixture_progan(void);
struct train_settings fixture_stylegan(void);

/* The images of a store as they are on disk, and the masks; free with memory_free. */
unsigned char *fixture_images(const char *path, size_t *size, struct error *err);
unsigned char *fixture_masks(const char *path, size_t *size, struct error *err);

#endif
