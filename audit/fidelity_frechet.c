/* Fréchet's distance of two sets, as of normal distributions with their means and covariances
 * (Dowson and Landau, 1982).
 *
 * tr (Σ₁ Σ₂)^½ is usually had from the root of a product of two 2,048 × 2,048 matrices, which for
 * fewer images than features is not invertible, and whose rounding errors are squared. With X the
 * centred rows of a set, Σ = XᵀX / (n − 1), and
 *
 *     tr (Σ₁ Σ₂)^½ = Σ of the singular values of X₁ X₂ᵀ / √((n₁ − 1)(n₂ − 1)):
 *
 * the roots of the eigenvalues of Σ₁ Σ₂ are those of X₁ᵀ(X₁ X₂ᵀ X₂), and so the singular values of
 * X₁ X₂ᵀ. Of more rows than features an orthogonal factorisation makes as many as there are
 * features, with the same XᵀX. Nothing is squared, nothing has to be invertible. */
#include "audit/fidelity_parts.h"

#include "audit/blas.h"
#include "base/arena.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void find_mean(struct frechet *frechet, const struct feature_sample *sample)
{
    for (size_t i = 0; i < sample->count; i++)
        for (size_t f = 0; f < sample->width; f++)
            frechet->mean[f] += sample->values[i * sample->width + f];
    for (size_t f = 0; f < sample->width; f++)
        frechet->mean[f] /= (double)sample->count;
}

static void add_row(struct frechet *frechet, const float *values)
{
    double *row = frechet->rows + frechet->rank++ * frechet->width;
    for (size_t f = 0; f < frechet->width; f++) {
        row[f] = values[f] - frechet->mean[f];
        frechet->trace += row[f] * row[f];
    }
}

bool frechet_init(struct frechet *frechet, const struct feature_sample *sample, struct error *err)
{
    size_t width = sample->width, most = sample->count <= width ? sample->count : 2 * width;
    *frechet = (struct frechet){ .count = sample->count, .width = width };
    frechet->mean = memory_allocate(width, sizeof *frechet->mean, "the mean of features", err);
    frechet->rows = memory_allocate(most * width, sizeof *frechet->rows, "a covariance", err);
    if (!frechet->mean || !frechet->rows) {
        frechet_release(frechet);
        return false;
    }
    find_mean(frechet, sample);
    for (size_t i = 0; i < sample->count; i++) {
        if (frechet->rank == most) {
            blas_reduce_rows(most, width, frechet->rows);
            frechet->rank = width;
        }
        add_row(frechet, sample->values + i * width);
    }
    if (frechet->rank > width) {
        blas_reduce_rows(frechet->rank, width, frechet->rows);
        frechet->rank = width;
    }
    frechet->trace /= (double)sample->count - 1;
    return true;
}

void frechet_release(struct frechet *frechet)
{
    memory_free(frechet->mean);
    memory_free(frechet->rows);
    *frechet = (struct frechet){ 0 };
}

static bool sum_of_singular_values(const struct frechet *a, const struct frechet *b, double *sum,
                                   struct error *err)
{
    size_t least = a->rank < b->rank ? a->rank : b->rank;
    double *values = memory_grow(NULL, least, sizeof *values);
    double *product =
        memory_reserve(a->rank * b->rank, sizeof *product, "a product of covariances", err);
    bool ok = product;
    if (ok) {
        blas_product_transposed_double(a->rank, b->rank, a->width, a->rows, a->width, b->rows,
                                       b->width, product, b->rank);
        ok = blas_singular_values(a->rank, b->rank, product, values) ||
             error_set(err, "the singular values of %zu × %zu features did not converge", a->rank,
                       b->rank);
    }
    *sum = 0;
    for (size_t i = least; ok && i-- > 0;) /* the small ones first */
        *sum += values[i];
    memory_free(product);
    free(values);
    return ok;
}

bool frechet_distance(const struct frechet *a, const struct frechet *b, double *distance,
                      struct error *err)
{
    double between = 0, together;
    *distance = NAN;
    if (a->count < 2 || b->count < 2)
        return true;
    for (size_t f = 0; f < a->width; f++)
        between += (a->mean[f] - b->mean[f]) * (a->mean[f] - b->mean[f]);
    if (!sum_of_singular_values(a, b, &together, err))
        return false;
    together /= sqrt((double)(a->count - 1) * (double)(b->count - 1));
    *distance = between + a->trace + b->trace - 2 * together;
    return true;
}
