/* The whole contact surface with BLAS; see blas.h.
 *
 * OpenBLAS is not linked but loaded: before any program's main it would take BUFFER bytes of
 * addresses for each core, and where a limit (ulimit -v, a grid engine's h_vmem) lets it have none
 * it asks again for ever. So it is told to begin with one thread; that there is room for a buffer
 * of each thread that will call it is seen to here, before it is asked for any. */
#include "audit/blas.h"

#include "base/arena.h"
#include "base/parallel.h"
#include "base/text.h"

#include <cblas.h>
#include <dlfcn.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* LAPACK, which OpenBLAS brings along; Debian's header of it is another package's. Fortran's
 * matrices go down columns, so a matrix of ours is the transpose of what is said here. */
void dgelqf_(const int *m, const int *n, double *a, const int *lda, double *tau, double *work,
             const int *lwork, int *info);
void dgesdd_(const char *jobz, const int *m, const int *n, double *a, const int *lda, double *s,
             double *u, const int *ldu, double *vt, const int *ldvt, double *work, const int *lwork,
             int *iwork, int *info, size_t jobz_length);
/* OpenBLAS' own, in no header: a buffer such as every call takes one of, and giving it back, where
 * it stays for the next call. */
void *blas_memory_alloc(int ignored);
void blas_memory_free(void *buffer);

/* ---- what is asked of it --------------------------------------------------------------------- */

static struct {
    __typeof__(cblas_sgemm) *sgemm;
    __typeof__(cblas_dgemm) *dgemm;
    __typeof__(dgelqf_) *dgelqf;
    __typeof__(dgesdd_) *dgesdd;
    __typeof__(openblas_set_num_threads) *set_threads;
    __typeof__(openblas_get_config) *config;
    __typeof__(openblas_get_parallel) *parallel;
    __typeof__(blas_memory_alloc) *take_buffer;
    __typeof__(blas_memory_free) *leave_buffer;
} blas;

static const struct {
    const char *name;
    void *place; /* where the function's address goes */
    bool needed; /* else NULL where a build does not show it */
} symbols[] = {
    { "cblas_sgemm", &blas.sgemm, true },
    { "cblas_dgemm", &blas.dgemm, true },
    { "dgelqf_", &blas.dgelqf, true },
    { "dgesdd_", &blas.dgesdd, true },
    { "openblas_set_num_threads", &blas.set_threads, true },
    { "openblas_get_config", &blas.config, true },
    { "openblas_get_parallel", &blas.parallel, true },
    { "blas_memory_alloc", &blas.take_buffer, false },
    { "blas_memory_free", &blas.leave_buffer, false },
};

/* ---- room ------------------------------------------------------------------------------------ */

/* Bytes of addresses: of a thread that calls (OpenBLAS' buffer, and what the C library takes for a
 * thread's stack and heap), and of the library with those that it is linked with. */
enum { THREAD = (128 + 8 + 64) * 1048576, LIBRARY = 64000000, MOST_BUFFERS = 512 };

/* What is left to this process of a limit on its addresses; false: there is none. */
static bool addresses_left(double *limit, double *left)
{
    struct rlimit most;
    uint64_t pages = 0;
    if (getrlimit(RLIMIT_AS, &most) != 0 || most.rlim_cur == RLIM_INFINITY)
        return false;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file) {
        if (fscanf(file, "%" SCNu64, &pages) != 1)
            pages = 0;
        fclose(file);
    }
    *limit = (double)most.rlim_cur;
    *left = *limit - (double)pages * (double)sysconf(_SC_PAGESIZE);
    return true;
}

/* Whether so many bytes, and what so many threads and one take, may still be had. */
static bool check_room(double bytes, int threads, struct error *err)
{
    double limit, left, wanted = bytes + (threads + 1.0) * THREAD;
    char texts[4][TEXT_SHORT], fewer[64] = "";
    if (!addresses_left(&limit, &left) || wanted <= left)
        return true;
    int fit = (int)((left - bytes - THREAD) / THREAD);
    if (fit >= 1 && fit < threads)
        snprintf(fewer, sizeof fewer, "--threads %d, or ", fit);
    return error_set(err,
                     "%s of addresses are left to this process, of %s that it may have (ulimit -v, "
                     "a grid engine's h_vmem), and OpenBLAS, which would wait for ever, takes %s "
                     "with %d thread%s; expected: %sa limit of %s and what the data take",
                     text_size(texts[0], left), text_size(texts[1], limit),
                     text_size(texts[2], wanted), threads, threads == 1 ? "" : "s", fewer,
                     text_size(texts[3], limit - left + wanted));
}

/* ---- loading --------------------------------------------------------------------------------- */

#define ADVICE "install libopenblas0-openmp, or libopenblas0"

/* What it reads as it starts, each build another: how many threads it is to have. */
static const char *const variables[] = { "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS" };
enum { VARIABLES = sizeof variables / sizeof *variables };

/* It begins with one thread, whatever the environment says; that is put back for others. */
static void *open_alone(void)
{
    char *told[VARIABLES];
    for (size_t v = 0; v < VARIABLES; v++) {
        const char *value = getenv(variables[v]);
        told[v] = value ? strdup(value) : NULL;
        setenv(variables[v], "1", 1);
    }
    void *library = dlopen(OPENBLAS, RTLD_NOW | RTLD_LOCAL);
    for (size_t v = 0; v < VARIABLES; v++) {
        if (told[v])
            setenv(variables[v], told[v], 1);
        else
            unsetenv(variables[v]);
        free(told[v]);
    }
    return library;
}

/* Where addresses are limited, the callers' buffers are taken now, before other things take the
 * room. They stay, to be used again. */
static void take_buffers(int threads)
{
    double limit, left;
    void *taken[MOST_BUFFERS];
    int count = 0;
    if (!blas.take_buffer || !blas.leave_buffer || !addresses_left(&limit, &left))
        return;
    while (count < threads && count < MOST_BUFFERS && (taken[count] = blas.take_buffer(0)))
        count++;
    while (count > 0)
        blas.leave_buffer(taken[--count]);
}

static bool find_symbols(void *library, struct error *err)
{
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
        void *found = dlsym(library, symbols[i].name);
        if (!found && symbols[i].needed)
            return error_set(err, "%s has no %s; expected: OpenBLAS 0.3 with LAPACK; " ADVICE,
                             OPENBLAS, symbols[i].name);
        memcpy(symbols[i].place, &found, sizeof found);
    }
    return true;
}

static bool load(struct error *err)
{
    int threads = parallel_threads(); /* each of them will call */
    if (!check_room(LIBRARY, threads, err))
        return false;
    int before = parallel_lend(1); /* it sets OpenMP's number, too */
    void *library = open_alone();
    parallel_lend(before);
    if (!library)
        return error_set(err, "OpenBLAS cannot be loaded: %s; " ADVICE, dlerror());
    if (!find_symbols(library, err))
        return false;
    take_buffers(threads);
    return true;
}

/* ---- products -------------------------------------------------------------------------------- */

/* OpenBLAS comes in two builds. One has threads of its own, whose number it keeps for all callers;
 * the other uses OpenMP's, and as many as the calling thread may at that moment. So both are told.
 */
static atomic_int product_threads; /* 0: it is not loaded yet */

static int lend(void)
{
    int threads = atomic_load(&product_threads);
    CHECK(threads, "a product before blas_set_threads");
    return parallel_lend(threads);
}

void blas_product(size_t m, size_t n, size_t k, const float *a, size_t lda, const float *b,
                  size_t ldb, float *c, size_t ldc)
{
    int before = lend();
    blas.sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)m, (int)n, (int)k, 1, a, (int)lda, b,
               (int)ldb, 0, c, (int)ldc);
    parallel_lend(before);
}

void blas_product_transposed(size_t m, size_t n, size_t k, const float *a, size_t lda,
                             const float *b, size_t ldb, float *c, size_t ldc)
{
    int before = lend();
    blas.sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)m, (int)n, (int)k, 1, a, (int)lda, b,
               (int)ldb, 0, c, (int)ldc);
    parallel_lend(before);
}

void blas_product_transposed_double(size_t m, size_t n, size_t k, const double *a, size_t lda,
                                    const double *b, size_t ldb, double *c, size_t ldc)
{
    int before = lend();
    blas.dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)m, (int)n, (int)k, 1, a, (int)lda, b,
               (int)ldb, 0, c, (int)ldc);
    parallel_lend(before);
}

/* ---- LAPACK ---------------------------------------------------------------------------------- */

void blas_reduce_rows(size_t m, size_t n, double *a)
{
    const int rows = (int)n, columns = (int)m;
    int info, length = -1;
    double wanted, *tau = memory_grow(NULL, n, sizeof *tau);
    int before = lend();
    blas.dgelqf(&rows, &columns, a, &rows, tau, &wanted, &length, &info);
    length = (int)wanted;
    double *work = memory_grow(NULL, (size_t)length, sizeof *work);
    blas.dgelqf(&rows, &columns, a, &rows, tau, work, &length, &info);
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
    int before = lend();
    blas.dgesdd("N", &rows, &columns, a, &rows, values, &none, &one, &none, &one, &wanted, &length,
                indices, &info, 1);
    length = (int)wanted;
    double *work = memory_grow(NULL, (size_t)length, sizeof *work);
    blas.dgesdd("N", &rows, &columns, a, &rows, values, &none, &one, &none, &one, work, &length,
                indices, &info, 1);
    parallel_lend(before);
    free(work);
    free(indices);
    return info == 0;
}

/* ---- the library ----------------------------------------------------------------------------- */

bool blas_set_threads(int count, struct error *err)
{
    static int most = 1; /* threads that it has had */
    if (!atomic_load(&product_threads) && !load(err))
        return false;
    if (count > most && blas.parallel() == OPENBLAS_THREAD && !check_room(0, count, err))
        return false; /* threads of its own have buffers of their own */
    most = count > most ? count : most;
    int before = parallel_lend(count);
    blas.set_threads(count);
    parallel_lend(before);
    atomic_store(&product_threads, count);
    return true;
}

const char *blas_library_version(void)
{
    return atomic_load(&product_threads) ? blas.config() : "OpenBLAS";
}
