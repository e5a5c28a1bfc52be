/* The whole contact surface with BLAS; see blas.h. */
#include "audit/blas.h"

#include "base/parallel.h"

#include <cblas.h>
#include <stdatomic.h>

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
