/* Curves in a terminal: braille dots, two by four a character, or ASCII where the terminal's
 * characters are not UTF-8.
 *
 *     curves_print(&metrics, stdout);       // every loss term, as wide as the terminal
 */
#ifndef CMD_CURVES_H
#define CMD_CURVES_H

#include "train/metrics.h"

#include <stdio.h>

/* Every loss term and the validation, 8 rows each, in the terminal's width (80 where `out` is
 * none) and characters. */
void curves_print(const struct metrics *metrics, FILE *out);

#endif
