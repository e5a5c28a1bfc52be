/* Rows for a device; see short_rows.h. */
#include "audit/short_rows.h"

#include "base/parallel.h"
#include "base/simd.h"
#include "tensor/filter.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* After the coefficients; the same places on both sides are multiplied. */
enum { LANES = 16 };
enum { TAIL, ERROR_TIMES, NORM_TIMES, LOOSE_QUERY, LOOSE_DATABASE, NORMS };

#define LOOSE 4.0f /* beyond any correlation, and any threshold */

/* Tensor cores cut where a processor rounds: n products and the sum so far are aligned to the
 * largest of these and cut at 24 bits, then the sum is. Each cut is off by at most 2⁻²³ of the
 * largest, which is at most Σ|x_i y_i|; n products cost n + 2 cuts, at most 2 a product. A unit
 * that adds one product at a time, rounding or not, is off by less. */
double short_sum_error(size_t length)
{
    return (double)length * 0x1p-22;
}

/* How far computed coefficients may be from the true ones (heads.c). */
static double head_error(const struct heads *heads)
{
    double u = 0x1p-24;
    return frequency_error(heads->frequency) + 4 * u / (1 - 4 * u);
}

/* Two rows have Σ|x_i y_i| ≤ 1.03 (1 + 3ε): b and T together have a norm of at most (1 + 2⁻⁷) of
 * √(1 + 3ε), and ‖e‖ ‖h'‖ + ‖b‖ ‖e'‖ is below 2⁻⁷. Hence 1.1. */
void short_rows_init(struct short_rows *rows, const struct heads *heads)
{
    size_t coefficients = heads->end[heads->levels - 1];
    *rows = (struct short_rows){ .heads = heads,
                                 .coefficients = coefficients,
                                 .length = (coefficients + NORMS + FILTER_ALIGN - 1) /
                                           FILTER_ALIGN * FILTER_ALIGN };
    double e = head_error(heads);
    rows->rounding = 2 * e * (1 + e) + e * e + 1e-9 + 1.1 * short_sum_error(rows->length);
}

/* ---- bf16: the upper half of a float --------------------------------------------------------- */

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float value_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static float widened(uint16_t number)
{
    return value_of((uint32_t)number << 16);
}

/* The least bf16 number at or above a value that is not negative. */
static uint16_t rounded_up(double value)
{
    float near = (float)value;
    if ((double)near < value)
        near = nextafterf(near, INFINITY);
    uint32_t bits = bits_of(near);
    return (uint16_t)((bits >> 16) + ((bits & 0xffff) != 0));
}

/* To nearest, ties to even. */
HOT static void round_all(const float *values, size_t count, uint16_t *out)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        out[i] = (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
    }
}

/* Squared norms: of the values, of what they became, of the difference. */
struct squares {
    double value, kept, left;
};

HOT static struct squares squares_of(const float *values, const uint16_t *rounded, size_t count)
{
    double lane[3][LANES] = { { 0 } };
    struct squares squares = { 0, 0, 0 };
    for (size_t i = 0; i < count; i++) {
        double value = (double)values[i], kept = (double)widened(rounded[i]), left = value - kept;
        lane[0][i % LANES] += value * value;
        lane[1][i % LANES] += kept * kept;
        lane[2][i % LANES] += left * left;
    }
    for (size_t l = 0; l < LANES; l++) {
        squares.value += lane[0][l];
        squares.kept += lane[1][l];
        squares.left += lane[2][l];
    }
    return squares;
}

/* ---- rows ------------------------------------------------------------------------------------ */

/* Double precision is off by parts in 10^12 here. */
static void make_row(const struct short_rows *rows, enum short_side side, const float *coefficients,
                     uint16_t *row)
{
    static const double up = 1 + 1e-12;
    uint16_t *norms = row + rows->coefficients;
    round_all(coefficients, rows->coefficients, row);
    struct squares squares = squares_of(coefficients, row, rows->coefficients);
    double e = head_error(rows->heads), norm = sqrt(squares.value), known = norm - e,
           tail = known > 0 ? 1 - known * known : 1, error = sqrt(squares.left) * up;
    norms[TAIL] = rounded_up(sqrt(tail > 0 ? tail : 0) + 1e-6 * e);
    norms[ERROR_TIMES] = rounded_up(side == SIDE_QUERY ? error : norm * up);
    norms[NORM_TIMES] = rounded_up(side == SIDE_QUERY ? sqrt(squares.kept) * up : error);
}

struct rows_job {
    const struct short_rows *rows;
    const struct search *search;
    const struct image_set *set;
    enum short_side side;
    size_t first;
    const struct moments *moments;
    uint16_t *out;
};

static void make_rows(void *context, size_t begin, size_t end)
{
    struct rows_job *job = context;
    const struct short_rows *rows = job->rows;
    const struct heads *heads = rows->heads;
    void *workspace = memory_grow(NULL, 1, frequency_workspace(heads->frequency));
    float *all = memory_grow(NULL, frequency_count(heads->frequency), sizeof *all),
          *ordered = memory_grow(NULL, rows->coefficients, sizeof *ordered);
    const int constant = job->side == SIDE_QUERY ? LOOSE_QUERY : LOOSE_DATABASE,
              loose = LOOSE_QUERY + LOOSE_DATABASE - constant;
    for (size_t i = begin; i < end; i++) {
        uint16_t *row = job->out + i * rows->length, *norms = row + rows->coefficients;
        memset(row, 0, rows->length * sizeof *row);
        norms[constant] = rounded_up(1);
        if (job->moments[i].spread == 0)
            continue;
        if (!frequency_transform(heads->frequency, workspace,
                                 image_at(job->search, job->set, job->first + i), &job->moments[i],
                                 all)) {
            norms[loose] = rounded_up((double)LOOSE);
            continue;
        }
        for (size_t c = 0; c < rows->coefficients; c++)
            ordered[c] = all[heads->chosen[c]];
        make_row(rows, job->side, ordered, row);
    }
    free(all);
    free(ordered);
    free(workspace);
}

void short_rows_of(const struct short_rows *rows, const struct search *search,
                   const struct image_set *set, enum short_side side, size_t first, size_t count,
                   const struct moments *moments, uint16_t *out)
{
    struct rows_job job = { rows, search, set, side, first, moments, out };
    parallel_ranges(count, 4, make_rows, &job);
}

struct short_norms short_norms_of(const struct short_rows *rows, enum short_side side,
                                  const uint16_t *row)
{
    const uint16_t *norms = row + rows->coefficients;
    int error = side == SIDE_QUERY ? ERROR_TIMES : NORM_TIMES,
        norm = ERROR_TIMES + NORM_TIMES - error;
    return (struct short_norms){ (double)widened(norms[TAIL]), (double)widened(norms[error]),
                                 (double)widened(norms[norm]) };
}
