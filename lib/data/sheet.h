/* Contact sheets: a store at a glance, as one PNG. */
#ifndef DATA_SHEET_H
#define DATA_SHEET_H

#include "data/dataset.h"

/* Writes one row an image, for up to `rows` images spread evenly over the store: every channel,
 * then, where there are masks, the first channel with the labels over it in colour. */
bool sheet_write(const struct dataset *dataset, size_t rows, const char *path,
                 struct error *err) MUST_USE;

#endif
