/* Matrix products in single precision, by OpenBLAS (named at link time: the reference BLAS that
 * Debian installs by default is tens of times slower). Our callers cut their work into tiles over
 * base/parallel.h and have each product run on one thread. */
#ifndef AUDIT_BLAS_H
#define AUDIT_BLAS_H

#include <stddef.h>

/* c (m,n) = a (m,k) · b (k,n); rows of a, b, c begin every lda, ldb, ldc elements. */
void blas_product(size_t m, size_t n, size_t k, const float *a, size_t lda, const float *b,
                  size_t ldb, float *c, size_t ldc);

/* c (m,n) = a (m,k) · bᵀ, b (n,k). */
void blas_product_transposed(size_t m, size_t n, size_t k, const float *a, size_t lda,
                             const float *b, size_t ldb, float *c, size_t ldc);

/* Threads that a single product may use. The certified engine sets 1; FAISS, which calls BLAS from
 * one thread, wants parallel_threads(). */
void blas_set_threads(int count);

/* The library's name, version and chosen kernel. */
const char *blas_library_version(void);

#endif
