/* cublas.c over a library that is played here: what it is told of a product, and what is done where
 * it refuses what it has proposed.
 */
#include "test.h"

#include "cuda/context.h"
#include "cuda/device.h"
#include "cuda/libraries.h"

#include <cublasLt.h>
#include <stdio.h>

/* ---- the library ----------------------------------------------------------------------------- */

enum { PROPOSALS = 3 };
static const size_t workspace[PROPOSALS] = { 256, 4096, 512 };

static struct {
    cublasStatus_t answer[PROPOSALS]; /* to being asked to do it */
    int ran[PROPOSALS];
    uint32_t alignment[2]; /* as promised, of a and of b */
    const void *bias;
    int alive; /* descriptors */
} library;

static int things;

#define MAKE(out)   (library.alive++, *(out) = (void *)&things, CUBLAS_STATUS_SUCCESS)
#define DROP(thing) ((void)(thing), library.alive--, CUBLAS_STATUS_SUCCESS)

cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle)
{
    *handle = (void *)&things;
    return CUBLAS_STATUS_SUCCESS;
}

const char *cublasLtGetStatusString(cublasStatus_t status)
{
    return status == CUBLAS_STATUS_NOT_SUPPORTED ? "not supported" : "another";
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *operation,
                                        cublasComputeType_t compute, cudaDataType_t scale)
{
    (void)compute, (void)scale;
    return MAKE(operation);
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t operation)
{
    return DROP(operation);
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t operation,
                                              cublasLtMatmulDescAttributes_t name,
                                              const void *value, size_t size)
{
    (void)operation;
    if (name == CUBLASLT_MATMUL_DESC_BIAS_POINTER)
        memcpy(&library.bias, value, size);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *layout, cudaDataType type,
                                          uint64_t rows, uint64_t columns, int64_t lead)
{
    (void)type, (void)rows, (void)columns, (void)lead;
    return MAKE(layout);
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout)
{
    return DROP(layout);
}

cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t layout,
                                                cublasLtMatrixLayoutAttribute_t name,
                                                const void *value, size_t size)
{
    (void)layout, (void)name, (void)value, (void)size;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *preference)
{
    return MAKE(preference);
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference)
{
    return DROP(preference);
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t name,
                                                    const void *value, size_t size)
{
    (void)preference;
    if (name == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES)
        memcpy(&library.alignment[0], value, size);
    if (name == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES)
        memcpy(&library.alignment[1], value, size);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle,
                                              cublasLtMatmulDesc_t operation,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int most,
                                              cublasLtMatmulHeuristicResult_t *found, int *count)
{
    (void)handle, (void)operation, (void)a, (void)b, (void)c, (void)d, (void)preference;
    assert_true(most >= PROPOSALS);
    memset(found, 0, (size_t)most * sizeof *found);
    for (uint64_t i = 0; i < PROPOSALS; i++) {
        found[i].algo.data[0] = i;
        found[i].workspaceSize = workspace[i];
    }
    *count = PROPOSALS;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t operation,
                              const void *alpha, const void *a, cublasLtMatrixLayout_t a_layout,
                              const void *b, cublasLtMatrixLayout_t b_layout, const void *beta,
                              const void *c, cublasLtMatrixLayout_t c_layout, void *d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t *algo,
                              void *scratch, size_t scratch_bytes, cudaStream_t stream)
{
    (void)handle, (void)operation, (void)alpha, (void)a, (void)a_layout, (void)b, (void)b_layout;
    (void)beta, (void)c, (void)c_layout, (void)d, (void)d_layout, (void)scratch, (void)stream;
    assert_int_equal(scratch_bytes, workspace[algo->data[0]]);
    library.ran[algo->data[0]]++;
    return library.answer[algo->data[0]];
}

/* ---- the device ------------------------------------------------------------------------------ */

static char failure[128];

void device_fail(const char *what, const char *why)
{
    snprintf(failure, sizeof failure, "%s: %s", what, why);
}

void *context_stream(void)
{
    return NULL;
}

bool context_tf32(void)
{
    return false;
}

size_t device_available(void)
{
    return SIZE_MAX;
}

void *device_allocate(size_t bytes, const char *what, struct error *err)
{
    (void)bytes, (void)what;
    error_set(err, "there is no device");
    return NULL;
}

void device_release(void *memory)
{
    (void)memory;
}

void device_fill(void *memory, int byte, size_t bytes)
{
    (void)memory, (void)byte, (void)bytes;
}

bool device_time(bool (*work)(void *context), void *context, double *seconds)
{
    (void)work, (void)context, (void)seconds;
    return false;
}

/* ---- products -------------------------------------------------------------------------------- */

static void *prepared(const struct product *product, size_t *scratch)
{
    struct error err;
    void *state;
    memset(&library, 0, sizeof library);
    failure[0] = '\0';
    assert_ok(product_prepare(product, &state, scratch, &err), err);
    return state;
}

static const struct product plain = { .rows = 8,
                                      .columns = 8,
                                      .inner = 8,
                                      .count = 1,
                                      .lead_a = 8,
                                      .lead_b = 8,
                                      .lead_d = 8,
                                      .dtype = DTYPE_BF16,
                                      .result_dtype = DTYPE_BF16 };

static void dispose(void *state)
{
    product_dispose(state);
    assert_int_equal(library.alive, 0);
}

static void run(void *state)
{
    product_run(state, NULL, NULL, NULL, NULL, NULL);
}

static void assert_ran(int first, int second, int third)
{
    assert_int_equal(library.ran[0], first);
    assert_int_equal(library.ran[1], second);
    assert_int_equal(library.ran[2], third);
}

static void the_first_proposal_is_taken(void **state)
{
    (void)state;
    size_t scratch;
    void *product = prepared(&plain, &scratch);
    run(product);
    run(product);
    assert_ran(2, 0, 0);
    assert_int_equal(scratch, 4096); /* for whichever it will be */
    assert_string_equal(failure, "");
    dispose(product);
}

static void what_is_refused_gives_way_to_the_next_for_good(void **state)
{
    (void)state;
    size_t scratch;
    void *product = prepared(&plain, &scratch);
    library.answer[0] = CUBLAS_STATUS_NOT_SUPPORTED;
    library.answer[1] = CUBLAS_STATUS_INVALID_VALUE;
    for (int i = 0; i < 3; i++)
        run(product);
    assert_ran(1, 1, 3);
    assert_string_equal(failure, "");
    dispose(product);
}

static void where_all_are_refused_the_device_has_failed(void **state)
{
    (void)state;
    size_t scratch;
    void *product = prepared(&plain, &scratch);
    for (int i = 0; i < PROPOSALS; i++)
        library.answer[i] = CUBLAS_STATUS_NOT_SUPPORTED;
    run(product);
    assert_ran(1, 1, 1);
    assert_string_equal(failure, "cuBLASLt: not supported");
    dispose(product);
}

/* Else a recording that fails would change the bits of all runs after it. */
static void what_fails_otherwise_is_not_done_another_way(void **state)
{
    (void)state;
    size_t scratch;
    void *product = prepared(&plain, &scratch);
    library.answer[0] = CUBLAS_STATUS_EXECUTION_FAILED;
    run(product);
    library.answer[0] = CUBLAS_STATUS_SUCCESS;
    run(product);
    assert_ran(2, 0, 0);
    assert_string_equal(failure, "cuBLASLt: another");
    dispose(product);
}

static void no_more_alignment_is_promised_than_there_is(void **state)
{
    (void)state;
    struct product many = plain;
    size_t scratch;
    dispose(prepared(&many, &scratch));
    assert_int_equal(library.alignment[0], 16);
    many.count = 3;
    many.inner = 7;
    many.step_a = 56; /* of two bytes */
    many.step_b = 7 * 9;
    dispose(prepared(&many, &scratch));
    assert_int_equal(library.alignment[0], 16);
    assert_int_equal(library.alignment[1], 2);
}

static void each_run_brings_its_bias(void **state)
{
    (void)state;
    struct product biased = plain;
    static float bias[2][8];
    size_t scratch;
    biased.bias = true;
    void *product = prepared(&biased, &scratch);
    assert_non_null(library.bias); /* some versions have nothing for a bias that is nowhere */
    for (int i = 0; i < 2; i++) {
        product_run(product, NULL, NULL, bias[i], NULL, NULL);
        assert_ptr_equal(library.bias, bias[i]);
    }
    dispose(product);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_proposal_is_taken),
        cmocka_unit_test(what_is_refused_gives_way_to_the_next_for_good),
        cmocka_unit_test(where_all_are_refused_the_device_has_failed),
        cmocka_unit_test(what_fails_otherwise_is_not_done_another_way),
        cmocka_unit_test(no_more_alignment_is_promised_than_there_is),
        cmocka_unit_test(each_run_brings_its_bias),
    };
    return cmocka_run_group_tests_name("tensor/cuda_cublas", tests, NULL, NULL);
}
