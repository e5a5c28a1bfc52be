/* Curves in a terminal: braille dots, two by four a character, or ASCII where the terminal's
 * characters are not UTF-8.
 *
 *     curves_print(&metrics, stdout);       // every loss term, as wide as the terminal
 */
#ifndef CMD_CURVES_H
#define CMD_CURVES_H

#include "base/text.h"
#include "train/metrics.h"

#include <stdio.h>

struct curves_options {
    size_t columns, rows; /* of characters: of a whole line, and of the plot itself */
    bool ascii;
};

/* One series: a line with its name, last and least value, then the plot with its limits. Where
 * all values are positive and span a factor of 50, the axis is logarithmic, and says so. */
void curves_draw(const struct metrics_series *series, const struct curves_options *options,
                 struct text *out);

/* Every loss term and the validation, 8 rows each, in the terminal's width (80 where `out` is
 * none) and characters. */
void curves_print(const struct metrics *metrics, FILE *out);

#endif
