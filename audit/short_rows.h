/* Rows of bf16 numbers whose product bounds a correlation: heads (heads.h) for a device whose
 * matrix units take bf16.
 *
 *     query     | b  coefficients, rounded | T  | ‖e‖  | ‖b‖ | 1  | L | 0 … |
 *     database  | b' coefficients, rounded | T' | ‖h'‖ | ‖e'‖| L' | 1 | 0 … |
 *
 * h are the computed coefficients, b the same in bf16, e = h − b what that leaves out, T bounds the
 * norm of all that is not in h. The product of the two rows is
 *
 *     ⟨b, b'⟩ + T T' + ‖e‖ ‖h'‖ + ‖b‖ ‖e'‖ + L + L' ≥ ⟨h, h'⟩ + T T'
 *
 * and so, with rounding added, at or above the correlation. L is 4 for an image whose coefficients
 * are not known, else 0: its pairs are never ruled out. Norms are rounded up, to bf16 as well.
 * docs/search.md has the proof, and why `rounding` is what it is.
 */
#ifndef AUDIT_SHORT_ROWS_H
#define AUDIT_SHORT_ROWS_H

#include "audit/heads.h"

struct short_rows {
    const struct heads *heads;
    size_t coefficients; /* all that heads has chosen */
    size_t length;       /* numbers in a row */
    double rounding;     /* what must be added to a product so that it is a bound */
};

enum short_side { SIDE_QUERY, SIDE_DATABASE };

/* What a unit that sums `length` products of bf16 numbers in single precision may be off by, for
 * each unit of Σ|x_i y_i|. */
double short_sum_error(size_t length);

void short_rows_init(struct short_rows *rows, const struct heads *heads);

/* Rows of images [first, first + count), into (count, length). An image without variance has a row
 * of zeros. */
void short_rows_of(const struct short_rows *rows, const struct search *search,
                   const struct image_set *set, enum short_side side, size_t first, size_t count,
                   const struct moments *moments, uint16_t *out);

/* The numbers of a row that say what is not known. */
struct short_norms {
    double tail, error, norm;
};
struct short_norms short_norms_of(const struct short_rows *rows, enum short_side side,
                                  const uint16_t *row);

#endif
