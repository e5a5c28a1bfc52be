/* The whole contact surface with BLAS; see blas.h. */
#include "audit/blas.h"

#include "base/arena.h"
#include "base/parallel.h"

#include <cblas.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* OpenBLAS comes in two builds. One has threads of its own, whose number it keeps for all callers;
 * the other uses OpenMP's, and as many as the calling thread may at that moment. So both are told.
 */
static atomic_int product_threads = 1;

void blas_product(size_t m, size_t n, size_t k, const float *a, size_t lda, const float *b,
                  size_t ldb, float *c, size_t ldc)
{
    int before = parallel_lend(atomic_load(&product_threads));
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)m, (int)n, (int)k, 1, a, (int)lda,
                b, (int)ldb, 0, c, (int)ldc);
    parallel_lend(before);
}

void blas_product_transposed(size_t m, size_t n, size_t k, const float *a, size_t lda,
                             const float *b, size_t ldb, float *c, size_t ldc)
{
    int before = parallel_lend(atomic_load(&product_threads));
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)m, (int)n, (int)k, 1, a, (int)lda, b,
                (int)ldb, 0, c, (int)ldc);
    parallel_lend(before);
}

void blas_product_transposed_double(size_t m, size_t n, size_t k, const double *a, size_t lda,
                                    const double *b, size_t ldb, double *c, size_t ldc)
{
    int before = parallel_lend(atomic_load(&product_threads));
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)m, (int)n, (int)k, 1, a, (int)lda, b,
                (int)ldb, 0, c, (int)ldc);
    parallel_lend(before);
}

/* ---- LAPACK ---------------------------------------------------------------------------------- */

/* OpenBLAS brings it along; Debian's header of it is another package's. Fortran's matrices go down
 * columns, so a matrix of ours is the transpose of what is said here. */
void dgelqf_(const int *m, const int *n, double *a, const int *lda, double *tau, double *work,
             const int *lwork, int *info);
void dgesdd_(const char *jobz, const int *m, const int *n, double *a, const int *lda, double *s,
             double *u, const int *ldu, double *vt, const int *ldvt, double *work, const int *lwork,
             int *iwork, int *info, size_t jobz_length);

void blas_reduce_rows(size_t m, size_t n, double *a)
{
    const int rows = (int)n, columns = (int)m;
    int info, length = -1;
    double wanted, *tau = memory_grow(NULL, n, sizeof *tau);
    int before = parallel_lend(atomic_load(&product_threads));
    dgelqf_(&rows, &columns, a, &rows, tau, &wanted, &length, &info);
    length = (int)wanted;
    double *work = memory_grow(NULL, (size_t)length, sizeof *work);
    dgelqf_(&rows, &columns, a, &rows, tau, work, &length, &info);
    parallel_lend(before);
    CHECK(info == 0, "dgelqf refuses argument %d", -info);
    for (size_t i = 0; i < n; i++) /* above the diagonal stands how to get the other factor */
        memset(a + i * n, 0, i * sizeof *a);
    free(tau);
    free(work);
}

bool blas_singular_values(size_t m, size_t n, double *a, double *values)
{
    const int rows = (int)n, columns = (int)m, one = 1;
    size_t least = m < n ? m : n;
    int info, length = -1, *indices = memory_grow(NULL, 8 * least, sizeof *indices);
    double wanted, none;
    int before = parallel_lend(atomic_load(&product_threads));
    dgesdd_("N", &rows, &columns, a, &rows, values, &none, &one, &none, &one, &wanted, &length,
            indices, &info, 1);
    length = (int)wanted;
    double *work = memory_grow(NULL, (size_t)length, sizeof *work);
    dgesdd_("N", &rows, &columns, a, &rows, values, &none, &one, &none, &one, work, &length,
            indices, &info, 1);
    parallel_lend(before);
    free(work);
    free(indices);
    return info == 0;
}

/* ---- the library ----------------------------------------------------------------------------- */

void blas_set_threads(int count)
{
    int before = parallel_lend(count);
    openblas_set_num_threads(count);
    parallel_lend(before);
    atomic_store(&product_threads, count);
}

const char *blas_library_version(void)
{
    return openblas_get_config();
}
