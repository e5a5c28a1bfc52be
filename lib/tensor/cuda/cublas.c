/* Matrix products, with a bias in their epilogue: the whole contact surface with cuBLASLt.
 *
 * Of its other epilogues none is ours: its GELU is the approximation by tanh, ours is by erf; SiLU
 * and leaky ReLU it has not; and a gradient's sums over rows (BGRADA, BGRADB) are made by the loop
 * that writes the gradient, without reading it again.
 */
#include "cuda/context.h"
#include "cuda/device.h"
#include "cuda/fastest.h"

#include <cublasLt.h>
#include <stdlib.h>

enum { WORKSPACE = 32 << 20, ALIGNMENT = 16, CHOICES = WORK_WAYS };

/* A way of doing it. */
struct proposal {
    cublasLtMatmulAlgo_t algorithm;
    size_t workspace;
};

struct state {
    cublasLtMatmulDesc_t operation;
    cublasLtMatrixLayout_t layout[3];
    struct proposal now, others[CHOICES]; /* what is taken, and what may be in its place */
    int other_count;
    size_t scratch; /* the most that any of them takes */
    bool bias;
};

static cublasLtHandle_t handle;

static bool check(cublasStatus_t status, struct error *err)
{
    return status == CUBLAS_STATUS_SUCCESS ||
           error_set(err, "cuBLASLt: %s", cublasLtGetStatusString(status));
}

static cudaDataType_t type_of(enum dtype dtype)
{
    return dtype == DTYPE_BF16 ? CUDA_R_16BF : CUDA_R_32F;
}

static cublasStatus_t describe(cublasLtMatrixLayout_t *layout, enum dtype dtype, int64_t rows,
                               int64_t columns, int64_t lead, int64_t step, int64_t count)
{
    int32_t matrices = (int32_t)count;
    cublasStatus_t status =
        cublasLtMatrixLayoutCreate(layout, type_of(dtype), (uint64_t)rows, (uint64_t)columns, lead);
    if (status == CUBLAS_STATUS_SUCCESS)
        status = cublasLtMatrixLayoutSetAttribute(*layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT,
                                                  &matrices, sizeof matrices);
    if (status == CUBLAS_STATUS_SUCCESS)
        status = cublasLtMatrixLayoutSetAttribute(
            *layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &step, sizeof step);
    return status;
}

/* Each run brings its own bias. Until then there stands an address that is as aligned as all of
 * them, for some versions have no algorithm where there is none. */
static cublasStatus_t describe_bias(struct state *state, const struct product *p)
{
    const void *bias = (const void *)(uintptr_t)ALIGNMENT;
    cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
    cudaDataType_t type = type_of(p->result_dtype);
    cublasStatus_t status = cublasLtMatmulDescSetAttribute(
        state->operation, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue);
    if (status == CUBLAS_STATUS_SUCCESS)
        status = cublasLtMatmulDescSetAttribute(
            state->operation, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, &type, sizeof type);
    if (status == CUBLAS_STATUS_SUCCESS)
        status = cublasLtMatmulDescSetAttribute(state->operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER,
                                                &bias, sizeof bias);
    state->bias = true;
    return status;
}

static cublasStatus_t describe_all(struct state *state, const struct product *p)
{
    bool fast = p->dtype == DTYPE_F32 && (p->fastest || context_tf32());
    cublasOperation_t a = p->transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N;
    cublasOperation_t b = p->transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N;
    cublasStatus_t status = cublasLtMatmulDescCreate(
        &state->operation, fast ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F, CUDA_R_32F);
    if (status == CUBLAS_STATUS_SUCCESS)
        status = cublasLtMatmulDescSetAttribute(state->operation, CUBLASLT_MATMUL_DESC_TRANSA, &a,
                                                sizeof a);
    if (status == CUBLAS_STATUS_SUCCESS)
        status = cublasLtMatmulDescSetAttribute(state->operation, CUBLASLT_MATMUL_DESC_TRANSB, &b,
                                                sizeof b);
    if (status == CUBLAS_STATUS_SUCCESS && p->bias)
        status = describe_bias(state, p);
    if (status == CUBLAS_STATUS_SUCCESS)
        status = describe(&state->layout[0], p->dtype, p->transpose_a ? p->inner : p->rows,
                          p->transpose_a ? p->rows : p->inner, p->lead_a, p->step_a, p->count);
    if (status == CUBLAS_STATUS_SUCCESS)
        status = describe(&state->layout[1], p->dtype, p->transpose_b ? p->columns : p->inner,
                          p->transpose_b ? p->inner : p->columns, p->lead_b, p->step_b, p->count);
    if (status == CUBLAS_STATUS_SUCCESS)
        status = describe(&state->layout[2], p->result_dtype, p->rows, p->columns, p->lead_d,
                          p->step_d, p->count);
    return status;
}

/* What the addresses of all matrices of a factor are multiples of. */
static uint32_t alignment_of(int64_t step, enum dtype dtype)
{
    uint32_t bytes = ALIGNMENT;
    while (step * (int64_t)dtype_bytes(dtype) % bytes)
        bytes /= 2;
    return bytes;
}

/* Without a promise of ours the library takes all addresses for multiples of 256. */
static cublasStatus_t promise_alignment(cublasLtMatmulPreference_t preference,
                                        const struct product *p)
{
    const struct {
        cublasLtMatmulPreferenceAttributes_t name;
        uint32_t bytes;
    } promises[] = {
        { CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment_of(p->step_a, p->dtype) },
        { CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment_of(p->step_b, p->dtype) },
        { CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment_of(p->step_d, p->result_dtype) },
        { CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment_of(p->step_d, p->result_dtype) },
    };
    cublasStatus_t status = CUBLAS_STATUS_SUCCESS;
    for (size_t i = 0; i < sizeof promises / sizeof *promises && status == CUBLAS_STATUS_SUCCESS;
         i++)
        status = cublasLtMatmulPreferenceSetAttribute(preference, promises[i].name,
                                                      &promises[i].bytes, sizeof promises[i].bytes);
    return status;
}

/* What the library proposes and can do, in its order. */
static cublasStatus_t propose(const struct state *state, const struct product *p,
                              cublasLtMatmulHeuristicResult_t found[CHOICES], int *usable)
{
    cublasLtMatmulPreference_t preference = NULL;
    size_t most = WORKSPACE;
    int count = 0;
    cublasStatus_t status = cublasLtMatmulPreferenceCreate(&preference);
    if (status == CUBLAS_STATUS_SUCCESS)
        status = cublasLtMatmulPreferenceSetAttribute(
            preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &most, sizeof most);
    if (status == CUBLAS_STATUS_SUCCESS)
        status = promise_alignment(preference, p);
    if (status == CUBLAS_STATUS_SUCCESS)
        status = cublasLtMatmulAlgoGetHeuristic(
            handle, state->operation, state->layout[0], state->layout[1], state->layout[2],
            state->layout[2], preference, CHOICES, found, &count);
    if (preference)
        cublasLtMatmulPreferenceDestroy(preference);
    if (status != CUBLAS_STATUS_SUCCESS)
        return status;
    *usable = 0;
    for (int i = 0; i < count; i++)
        if (found[i].state == CUBLAS_STATUS_SUCCESS && found[i].workspaceSize <= most)
            found[(*usable)++] = found[i];
    return *usable ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}

static struct proposal proposal_of(const cublasLtMatmulHeuristicResult_t *found)
{
    return (struct proposal){ found->algo, found->workspaceSize };
}

static cublasStatus_t multiply(const struct state *state, const void *a, const void *b,
                               const void *bias, void *d, void *scratch)
{
    const float one = 1, zero = 0;
    cublasStatus_t status = CUBLAS_STATUS_SUCCESS;
    if (state->bias)
        status = cublasLtMatmulDescSetAttribute(state->operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER,
                                                &bias, sizeof bias);
    if (status == CUBLAS_STATUS_SUCCESS)
        status =
            cublasLtMatmul(handle, state->operation, &one, a, state->layout[0], b, state->layout[1],
                           &zero, d, state->layout[2], d, state->layout[2], &state->now.algorithm,
                           scratch, state->now.workspace, context_stream());
    return status;
}

struct race {
    struct state *state;
    const cublasLtMatmulHeuristicResult_t *found;
};

static bool run_way(void *context, int way, void *const *tensor, void *scratch)
{
    struct race *race = context;
    race->state->now = proposal_of(&race->found[way]);
    return multiply(race->state, tensor[0], tensor[1], tensor[3], tensor[2], scratch) ==
           CUBLAS_STATUS_SUCCESS;
}

/* The number of the fastest. */
static int measure(struct state *state, const struct product *p,
                   const cublasLtMatmulHeuristicResult_t *found, int count)
{
    struct work work;
    struct race race = { state, found };
    int way;
    if (p->step_a < 0 || p->step_b < 0 || p->step_d < 0) /* they lie before the first */
        return 0;
    work_of_product(p, &work);
    if (fastest_known(&work, &way))
        return way < count ? way : 0;
    work.ways = count;
    work.run = run_way;
    work.context = &race;
    for (int i = 0; i < count; i++)
        work.scratch[i] = found[i].workspaceSize;
    return fastest_measure(&work);
}

/* The first of the library's choices, for one library and device always the same; or the fastest.
 * The others in their order, should it then refuse to do what it has proposed. */
static cublasStatus_t choose(struct state *state, const struct product *p)
{
    cublasLtMatmulHeuristicResult_t found[CHOICES];
    int count;
    cublasStatus_t status = propose(state, p, found, &count);
    if (status != CUBLAS_STATUS_SUCCESS)
        return status;
    int best = p->fastest ? measure(state, p, found, count) : 0;
    state->now = proposal_of(&found[best]);
    for (int i = 0; i < count; i++) {
        if (i != best)
            state->others[state->other_count++] = proposal_of(&found[i]);
        if (found[i].workspaceSize > state->scratch)
            state->scratch = found[i].workspaceSize;
    }
    return status;
}

bool product_prepare(const struct product *product, void **out, size_t *scratch, struct error *err)
{
    *out = NULL;
    if (!handle && !check(cublasLtCreate(&handle), err))
        return false;
    struct state *state = calloc(1, sizeof *state);
    CHECK(state, "out of memory");
    cublasStatus_t status = describe_all(state, product);
    if (status == CUBLAS_STATUS_SUCCESS)
        status = choose(state, product);
    if (status == CUBLAS_STATUS_SUCCESS) {
        *out = state;
        *scratch = state->scratch;
        return true;
    }
    product_dispose(state);
    err->message[0] = '\0';
    return status == CUBLAS_STATUS_NOT_SUPPORTED || product->bias ? false : check(status, err);
}

/* That it will not do what it has proposed. What fails otherwise (a recording, say, or the device)
 * would fail by other ways too, and none may be changed for that: bits are those of the first run.
 */
static bool is_refusal(cublasStatus_t status)
{
    return status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_INVALID_VALUE;
}

void product_run(void *opaque, const void *a, const void *b, const void *bias, void *d,
                 void *scratch)
{
    struct state *state = opaque;
    cublasStatus_t status = multiply(state, a, b, bias, d, scratch);
    for (int i = 0; is_refusal(status) && i < state->other_count; i++) {
        state->now = state->others[i];
        status = multiply(state, a, b, bias, d, scratch);
    }
    if (status != CUBLAS_STATUS_SUCCESS)
        device_fail("cuBLASLt", cublasLtGetStatusString(status));
}

void product_dispose(void *opaque)
{
    struct state *state = opaque;
    if (!state)
        return;
    for (int i = 0; i < 3; i++)
        if (state->layout[i])
            cublasLtMatrixLayoutDestroy(state->layout[i]);
    if (state->operation)
        cublasLtMatmulDescDestroy(state->operation);
    free(state);
}
