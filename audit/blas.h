/* Matrix products, and what little of LAPACK is asked for, by OpenBLAS (by its name: the reference
 * BLAS that Debian installs by default is tens of times slower). Our callers cut their work into
 * tiles over base/parallel.h and have each product run on one thread.
 *
 *     if (!blas_set_threads(1, err))
 *         return false;
 *     blas_product(m, n, k, a, k, b, n, c, n); // from any thread
 */
#ifndef AUDIT_BLAS_H
#define AUDIT_BLAS_H

#include "base/error.h"

/* c (m,n) = a (m,k) · b (k,n); rows of a, b, c begin every lda, ldb, ldc elements. */
void blas_product(size_t m, size_t n, size_t k, const float *a, size_t lda, const float *b,
                  size_t ldb, float *c, size_t ldc);

/* c (m,n) = a (m,k) · bᵀ, b (n,k). */
void blas_product_transposed(size_t m, size_t n, size_t k, const float *a, size_t lda,
                             const float *b, size_t ldb, float *c, size_t ldc);

/* The same in double precision. */
void blas_product_transposed_double(size_t m, size_t n, size_t k, const double *a, size_t lda,
                                    const double *b, size_t ldb, double *c, size_t ldc);

/* In place of the rows of a (m,n), m > n, come n rows with the same aᵀ · a (to rounding: by an
 * orthogonal factorisation, so that nothing is squared); what stood below them is lost. */
void blas_reduce_rows(size_t m, size_t n, double *a);

/* The min(m,n) singular values of a (m,n), descending; a is lost. False: they did not converge, as
 * with values that are not finite. */
bool blas_singular_values(size_t m, size_t n, double *a, double *values);

/* Threads that a single product may use. The certified engine sets 1; FAISS, which calls BLAS from
 * one thread, wants parallel_threads(), which is also the most threads that may call at once.
 *
 * To be called before any product: the first time it loads the library, and then it can fail, for
 * the library is missing, or may not have the addresses that it takes for each thread. */
bool blas_set_threads(int count, struct error *err) MUST_USE;

/* The library's name, and once it is loaded its version and chosen kernel. */
const char *blas_library_version(void);

#endif
