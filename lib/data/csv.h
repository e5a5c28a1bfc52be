/* CSV tables after RFC 4180, with a header row: index.csv, lists of subjects and splits. */
#ifndef DATA_CSV_H
#define DATA_CSV_H

#include "base/arena.h"

struct csv {
    size_t columns, rows;
    const char **names; /* columns */
    const char **cells; /* rows × columns */
};

/* Reads a table that must have the columns named in `required` (NULL-terminated), once each, in any
 * order, among others. Every row must be as long as the header; the text is UTF-8, with or without
 * a byte-order mark. Strings belong to the arena. */
bool csv_read(struct csv *table, const char *path, const char *const *required, struct arena *arena,
              struct error *err) MUST_USE;

/* The cell of a column that is known to exist. */
const char *csv_cell(const struct csv *table, size_t row, const char *column);

#endif
