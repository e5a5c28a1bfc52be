/* The whole contact surface with BLAS; see blas.h. */
#include "audit/blas.h"

#include <cblas.h>

void blas_product(size_t m, size_t n, size_t k, const float *a, size_t lda, const float *b,
                  size_t ldb, float *c, size_t ldc)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)m, (int)n, (int)k, 1, a, (int)lda,
                b, (int)ldb, 0, c, (int)ldc);
}

void blas_product_transposed(size_t m, size_t n, size_t k, const float *a, size_t lda,
                             const float *b, size_t ldb, float *c, size_t ldc)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)m, (int)n, (int)k, 1, a, (int)lda, b,
                (int)ldb, 0, c, (int)ldc);
}

void blas_set_threads(int count)
{
    openblas_set_num_threads(count);
}

const char *blas_library_version(void)
{
    return openblas_get_config();
}
