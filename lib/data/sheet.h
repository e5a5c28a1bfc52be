/* Contact sheets: a store at a glance, as one PNG. */
#ifndef DATA_SHEET_H
#define DATA_SHEET_H

#include "data/dataset.h"
#include "data/png.h"

/* Writes up to `rows` rows of images spread evenly over the store. An image is every channel, then,
 * where there are masks, the first channel with the labels over it in colour. As many images stand
 * side by side as make the sheet about square: 16 rows of one-channel images hold 256. */
/* The rows that hold `images` images. */
size_t sheet_rows(const struct dataset *dataset, size_t images);

bool sheet_write(const struct dataset *dataset, size_t rows, const char *path,
                 struct error *err) MUST_USE;

/* The same of these images, `across` of them in a row, in memory; free image->pixels with
 * memory_free. */
bool sheet_draw(const struct dataset *dataset, const size_t *images, size_t count, size_t across,
                struct png_image *image, struct error *err) MUST_USE;

#endif
