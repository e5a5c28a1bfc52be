/* Convolutions and attention: the whole contact surface with cuDNN, by its graph API (descriptors
 * with attributes), since the calls of one function a layer are being retired.
 *
 * The library proposes engines; the first that runs here, and is deterministic, is taken, so that
 * for one library and device it is always the same one. In f32 engines on tensor cores round
 * factors to TF32 and are passed over unless LETHE_TF32=1, or nothing else can do it (matrix.c).
 *
 * Where the fastest is asked for, the first few are measured; these may be of any kind but such
 * that round to less than the sources' type or TF32.
 *
 * Choosing and building need no device, only its properties (cuDNN 9.8): so a test asks what the
 * networks' layers get on devices that are not here.
 */
#include "cuda/context.h"
#include "cuda/device.h"
#include "cuda/fastest.h"

#include <cudnn_graph.h>
#include <stdlib.h>
#include <string.h>

enum { IMAGE, WEIGHT, OUTPUT, FACTORS };          /* a convolution's tensors, and those of */
enum { QUERY, KEY, VALUE, RESULT, SCALE, PARTS }; /* attention */
enum { TENSORS = PARTS, ENGINES = 64, NOTES = 32, WORKSPACE_MOST = 1 << 30 };

/* One operation, and what the library made of it. */
struct state {
    int tensors;
    cudnnBackendDescriptor_t tensor[TENSORS], geometry, operation, graph, plan, pack;
    int64_t workspace;
    struct library_engine engine;
    float scale; /* attention's: an operand that lies here */
};

/* What is expected of an engine. */
struct demand {
    bool repeats; /* the same bits each time */
    bool single;  /* factors of f32 are not rounded to TF32 */
};

static cudnnHandle_t handle;            /* of the device that is here, or NULL, and */
static cudnnBackendDescriptor_t absent; /* one that is only described */

static bool check(cudnnStatus_t status, struct error *err)
{
    return status == CUDNN_STATUS_SUCCESS ||
           error_set(err, "cuDNN: %s", cudnnGetErrorString(status));
}

/* In more words than the status, where the library has them. */
static void fail_with(cudnnStatus_t status)
{
    char detail[384] = "";
    struct error err;
    cudnnGetLastErrorString(detail, sizeof detail);
    error_set(&err, "%s %s", cudnnGetErrorString(status), detail);
    device_fail("cuDNN", err.message);
}

static cudnnDataType_t type_of(enum dtype dtype)
{
    return dtype == DTYPE_BF16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
}

/* A descriptor under construction: after the first failure nothing more is done. */
struct draft {
    cudnnBackendDescriptor_t descriptor;
    cudnnStatus_t status;
};

static struct draft begin(cudnnBackendDescriptorType_t type)
{
    struct draft draft = { NULL, CUDNN_STATUS_SUCCESS };
    draft.status = cudnnBackendCreateDescriptor(type, &draft.descriptor);
    return draft;
}

static void set(struct draft *draft, cudnnBackendAttributeName_t name,
                cudnnBackendAttributeType_t type, int64_t count, const void *values)
{
    if (draft->status == CUDNN_STATUS_SUCCESS)
        draft->status = cudnnBackendSetAttribute(draft->descriptor, name, type, count, values);
}

static void set_descriptor(struct draft *draft, cudnnBackendAttributeName_t name,
                           cudnnBackendDescriptor_t value)
{
    set(draft, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, (const void *)&value);
}

/* Before 9.8 the names are not known, and nothing is ever absent. */
#if CUDNN_VERSION >= 90800
enum {
    PLAN_DEVICE = CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP,
    HEURISTICS_DEVICE = CUDNN_ATTR_ENGINEHEUR_DEVICEPROP
};
#else
enum { PLAN_DEVICE, HEURISTICS_DEVICE };
#endif

static void set_absent(struct draft *draft, int name)
{
    set_descriptor(draft, (cudnnBackendAttributeName_t)name, absent);
}

static cudnnStatus_t finish(struct draft *draft, cudnnBackendDescriptor_t *out)
{
    if (draft->status == CUDNN_STATUS_SUCCESS)
        draft->status = cudnnBackendFinalize(draft->descriptor);
    *out = draft->descriptor;
    return draft->status;
}

static void destroy(cudnnBackendDescriptor_t descriptor)
{
    if (descriptor)
        cudnnBackendDestroyDescriptor(descriptor);
}

static cudnnStatus_t describe_tensor(struct state *state, int which, const int64_t size[4],
                                     const int64_t stride[4], cudnnDataType_t type, bool by_value)
{
    int64_t alignment = 16, id = which + 1;
    struct draft draft = begin(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    set(&draft, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
    set(&draft, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, size);
    set(&draft, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, stride);
    set(&draft, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &id);
    set(&draft, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &alignment);
    set(&draft, CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, 1, &by_value);
    return finish(&draft, &state->tensor[which]);
}

/* Packed, as libraries.h promises. */
static cudnnStatus_t describe_packed(struct state *state, int which, struct shape shape,
                                     enum dtype dtype, bool planar)
{
    int64_t stride[4];
    stride[3] = planar ? 1 : shape.size[1];
    stride[2] = stride[3] * shape.size[3];
    stride[1] = planar ? stride[2] * shape.size[2] : 1;
    stride[0] = shape.size[1] * shape.size[2] * shape.size[3];
    return describe_tensor(state, which, shape.size, stride, type_of(dtype), false);
}

static cudnnStatus_t describe_geometry(struct state *state, const struct conv *conv)
{
    int64_t axes = 2, before[2], after[2], dilation[2], stride[2];
    cudnnDataType_t compute = CUDNN_DATA_FLOAT;
    cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    for (int i = 0; i < 2; i++) {
        before[i] = conv->pad[i][0];
        after[i] = conv->pad[i][1];
        dilation[i] = conv->dilation[i];
        stride[i] = conv->stride[i];
    }
    struct draft draft = begin(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    set(&draft, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, &axes);
    set(&draft, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &compute);
    set(&draft, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode);
    set(&draft, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2, before);
    set(&draft, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2, after);
    set(&draft, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, dilation);
    set(&draft, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2, stride);
    return finish(&draft, &state->geometry);
}

/* What each of the three convolutions calls its parts. */
static const struct way {
    cudnnBackendDescriptorType_t type;
    cudnnBackendAttributeName_t tensor[FACTORS], geometry, alpha, beta;
} ways[OP_COUNT] = {
    [OP_CONV] = { CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
                  { CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y },
                  CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                  CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
                  CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA },
    [OP_CONV_DX] = { CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
                     { CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
                       CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
                       CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY },
                     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
                     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA },
    [OP_CONV_DW] = { CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
                     { CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
                       CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
                       CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY },
                     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
                     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
                     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA },
};

static cudnnStatus_t describe_convolution(struct state *state, enum op_id op)
{
    const struct way *way = &ways[op];
    const float one = 1, zero = 0;
    struct draft draft = begin(way->type);
    for (int i = 0; i < FACTORS; i++)
        set_descriptor(&draft, way->tensor[i], state->tensor[i]);
    set_descriptor(&draft, way->geometry, state->geometry);
    set(&draft, way->alpha, CUDNN_TYPE_FLOAT, 1, &one);
    set(&draft, way->beta, CUDNN_TYPE_FLOAT, 1, &zero);
    return finish(&draft, &state->operation);
}

/* The operation alone, as a graph. */
static cudnnStatus_t describe_graph(struct state *state)
{
    struct draft draft = begin(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    set_descriptor(&draft, CUDNN_ATTR_OPERATIONGRAPH_OPS, state->operation);
    if (handle)
        set(&draft, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, (const void *)&handle);
    return finish(&draft, &state->graph);
}

/* What the library says of a configuration's engine; false where it does not. */
static bool read_engine(cudnnBackendDescriptor_t configuration, struct library_engine *out)
{
    struct draft engine = begin(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
    cudnnBackendNumericalNote_t note[NOTES];
    int64_t count = 0;
    *out = (struct library_engine){ .repeats = true };
    bool ok = engine.status == CUDNN_STATUS_SUCCESS &&
              cudnnBackendGetAttribute(configuration, CUDNN_ATTR_ENGINECFG_ENGINE,
                                       CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &count,
                                       (void *)&engine.descriptor) == CUDNN_STATUS_SUCCESS &&
              cudnnBackendGetAttribute(engine.descriptor, CUDNN_ATTR_ENGINE_GLOBAL_INDEX,
                                       CUDNN_TYPE_INT64, 1, &count,
                                       &out->number) == CUDNN_STATUS_SUCCESS &&
              cudnnBackendGetAttribute(engine.descriptor, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE,
                                       CUDNN_TYPE_NUMERICAL_NOTE, NOTES, &count,
                                       note) == CUDNN_STATUS_SUCCESS;
    for (int64_t i = 0; ok && i < count && i < NOTES; i++) {
        out->repeats &= note[i] != CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC;
        out->rounds |= note[i] == CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS ||
                       note[i] == CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION;
        out->tensor_cores |= note[i] == CUDNN_NUMERICAL_NOTE_TENSOR_CORE;
    }
    destroy(engine.descriptor);
    return ok;
}

/* Whether an engine neither rounds nor adds in ways that were not asked for. */
static bool is_acceptable(const struct library_engine *engine, const struct demand *demand)
{
    return (engine->repeats || !demand->repeats) && !engine->rounds &&
           !(demand->single && engine->tensor_cores);
}

/* A configuration that the library proposes. */
struct proposal {
    cudnnBackendDescriptor_t configuration;
    struct library_engine engine;
};

/* An execution plan of the configuration, if it runs here. */
static bool try_proposal(struct state *state, const struct proposal *proposal)
{
    struct draft draft = begin(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    int64_t count = 0;
    if (handle)
        set(&draft, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, (const void *)&handle);
    else
        set_absent(&draft, PLAN_DEVICE);
    set_descriptor(&draft, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, proposal->configuration);
    state->engine = proposal->engine;
    if (finish(&draft, &state->plan) == CUDNN_STATUS_SUCCESS &&
        cudnnBackendGetAttribute(state->plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE,
                                 CUDNN_TYPE_INT64, 1, &count,
                                 &state->workspace) == CUDNN_STATUS_SUCCESS &&
        state->workspace <= WORKSPACE_MOST)
        return true;
    destroy(state->plan);
    state->plan = NULL;
    return false;
}

static cudnnStatus_t execute(struct state *state, void *const *data, void *scratch)
{
    static const int64_t id[TENSORS] = { 1, 2, 3, 4, 5 };
    destroy(state->pack);
    struct draft draft = begin(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    set(&draft, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, state->tensors, data);
    set(&draft, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, state->tensors, id);
    set(&draft, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, (void *)&scratch);
    cudnnStatus_t status = finish(&draft, &state->pack);
    return status == CUDNN_STATUS_SUCCESS ? cudnnBackendExecute(handle, state->plan, state->pack)
                                          : status;
}

/* What the library proposes, in its order: all of it, and what is acceptable. */
struct proposals {
    cudnnBackendDescriptor_t all[ENGINES];
    struct proposal acceptable[ENGINES];
    int count;
};

static void propose(const struct state *state, const struct demand *demand,
                    cudnnBackendHeurMode_t mode, struct proposals *proposals)
{
    cudnnBackendDescriptor_t heuristics;
    struct draft draft = begin(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    int64_t count = 0;
    *proposals = (struct proposals){ 0 };
    set_descriptor(&draft, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, state->graph);
    set(&draft, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
    if (!handle)
        set_absent(&draft, HEURISTICS_DEVICE);
    bool ok = finish(&draft, &heuristics) == CUDNN_STATUS_SUCCESS;
    for (int i = 0; ok && i < ENGINES; i++)
        ok = cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, &proposals->all[i]) ==
             CUDNN_STATUS_SUCCESS;
    ok = ok && cudnnBackendGetAttribute(heuristics, CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                        CUDNN_TYPE_BACKEND_DESCRIPTOR, ENGINES, &count,
                                        (void *)proposals->all) == CUDNN_STATUS_SUCCESS;
    for (int64_t i = 0; ok && i < count && i < ENGINES; i++) {
        struct proposal *next = &proposals->acceptable[proposals->count];
        next->configuration = proposals->all[i];
        proposals->count +=
            read_engine(next->configuration, &next->engine) && is_acceptable(&next->engine, demand);
    }
    destroy(heuristics);
}

struct race {
    struct state *state;
    cudnnBackendDescriptor_t plan[WORK_WAYS];
};

static bool run_way(void *context, int way, void *const *tensor, void *scratch)
{
    struct race *race = context;
    race->state->plan = race->plan[way];
    cudnnStatus_t status = execute(race->state, tensor, scratch);
    race->state->plan = NULL;
    return status == CUDNN_STATUS_SUCCESS;
}

/* The number of the fastest of the first few. */
static int measure(struct state *state, const struct convolution *c,
                   const struct proposals *proposals)
{
    struct work work;
    struct race race = { .state = state };
    int way;
    work_of_convolution(c, &work);
    if (fastest_known(&work, &way))
        return way;
    work.ways = proposals->count < WORK_WAYS ? proposals->count : WORK_WAYS;
    work.run = run_way;
    work.context = &race;
    for (int i = 0; i < work.ways; i++) {
        bool runs = try_proposal(state, &proposals->acceptable[i]);
        race.plan[i] = state->plan;
        work.scratch[i] = runs ? (size_t)state->workspace : WORK_IMPOSSIBLE;
        state->plan = NULL;
    }
    way = fastest_measure(&work);
    for (int i = 0; i < work.ways; i++)
        destroy(race.plan[i]);
    return way;
}

/* The first that runs; or, of a convolution that asks for it (else NULL), the fastest, and where
 * that cannot be told, the first. */
static bool choose(struct state *state, const struct demand *demand,
                   const struct convolution *fastest, cudnnBackendHeurMode_t mode)
{
    struct proposals proposals;
    propose(state, demand, mode, &proposals);
    int best = fastest && proposals.count > 1 ? measure(state, fastest, &proposals) : 0;
    bool found = best < proposals.count && try_proposal(state, &proposals.acceptable[best]);
    for (int i = 0; !found && i < proposals.count; i++)
        found = try_proposal(state, &proposals.acceptable[i]);
    for (int i = 0; i < ENGINES; i++)
        destroy(proposals.all[i]);
    return found;
}

bool library_for_absent(const char *properties, struct error *err)
{
#if CUDNN_VERSION >= 90800
    struct draft draft = begin(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
    set(&draft, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
        (int64_t)strlen(properties), properties);
    destroy(absent);
    return check(finish(&draft, &absent), err);
#else
    (void)properties;
    return error_set(err, "cuDNN 9.8 can prepare for a device that is not here, not this one");
#endif
}

struct library_engine library_engine(const void *state)
{
    return ((const struct state *)state)->engine;
}

static bool open_library(struct error *err)
{
    return handle || absent ||
           (check(cudnnCreate(&handle), err) &&
            check(cudnnSetStream(handle, context_stream()), err));
}

static struct state *state_new(int tensors)
{
    struct state *state = calloc(1, sizeof *state);
    CHECK(state, "out of memory");
    state->tensors = tensors;
    return state;
}

static void dispose(struct state *state)
{
    if (!state)
        return;
    destroy(state->pack);
    destroy(state->plan);
    destroy(state->graph);
    destroy(state->operation);
    destroy(state->geometry);
    for (int i = 0; i < TENSORS; i++)
        destroy(state->tensor[i]);
    free(state);
}

/* Convolutions. */

static cudnnStatus_t describe(struct state *state, const struct convolution *c)
{
    static const enum op_id result_of[FACTORS] = { OP_CONV_DX, OP_CONV_DW, OP_CONV };
    struct shape shape[FACTORS] = { c->image, c->weight, c->output };
    cudnnStatus_t status = describe_geometry(state, &c->geometry);
    for (int i = 0; i < FACTORS && status == CUDNN_STATUS_SUCCESS; i++)
        status = describe_packed(state, i, shape[i],
                                 result_of[i] == c->op ? c->result_dtype : c->dtype, c->planar);
    if (status == CUDNN_STATUS_SUCCESS)
        status = describe_convolution(state, c->op);
    return status == CUDNN_STATUS_SUCCESS ? describe_graph(state) : status;
}

bool convolution_prepare(const struct convolution *c, void **out, size_t *scratch,
                         struct error *err)
{
    const struct demand demand = { .repeats = !c->fastest,
                                   .single = c->dtype == DTYPE_F32 && !c->rounded && !c->fastest &&
                                             !context_tf32() };
    const struct convolution *fastest = c->fastest ? c : NULL;
    if (!open_library(err))
        return false;
    struct state *state = state_new(FACTORS);
    if (describe(state, c) != CUDNN_STATUS_SUCCESS ||
        !(choose(state, &demand, fastest, CUDNN_HEUR_MODE_A) ||
          choose(state, &demand, fastest, CUDNN_HEUR_MODE_FALLBACK))) {
        dispose(state);
        return false;
    }
    *out = state;
    *scratch = (size_t)state->workspace;
    return true;
}

void convolution_run(void *opaque, void *image, void *weight, void *output, void *scratch)
{
    cudnnStatus_t status = execute(opaque, (void *[]){ image, weight, output }, scratch);
    if (status != CUDNN_STATUS_SUCCESS)
        fail_with(status);
}

void convolution_dispose(void *state)
{
    dispose(state);
}

/* Attention: one operation since 9.14, without anything that is added to scores until 9.21. */

#if CUDNN_VERSION >= 91400
static cudnnStatus_t describe_attention(struct state *state, const struct heads *heads)
{
    static const cudnnBackendAttributeName_t name[PARTS] = {
        CUDNN_ATTR_OPERATION_SDPA_FWD_QDESC, CUDNN_ATTR_OPERATION_SDPA_FWD_KDESC,
        CUDNN_ATTR_OPERATION_SDPA_FWD_VDESC, CUDNN_ATTR_OPERATION_SDPA_FWD_ODESC,
        CUDNN_ATTR_OPERATION_SDPA_FWD_SCALEDESC
    };
    const int64_t one[4] = { 1, 1, 1, 1 },
                  tokens[PARTS] = { heads->tokens, heads->others, heads->others, heads->tokens };
    cudnnStatus_t status = describe_tensor(state, SCALE, one, one, CUDNN_DATA_FLOAT, true);
    for (int i = 0; i < SCALE && status == CUDNN_STATUS_SUCCESS; i++) {
        const int64_t size[4] = { heads->groups, heads->heads, tokens[i], heads->width };
        status = describe_tensor(state, i, size, heads->stride[i], CUDNN_DATA_BFLOAT16, false);
    }
    if (status != CUDNN_STATUS_SUCCESS)
        return status;
    struct draft draft = begin(CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR);
    for (int i = 0; i < PARTS; i++)
        set_descriptor(&draft, name[i], state->tensor[i]);
    status = finish(&draft, &state->operation);
    return status == CUDNN_STATUS_SUCCESS ? describe_graph(state) : status;
}
#else
static cudnnStatus_t describe_attention(struct state *state, const struct heads *heads)
{
    (void)state, (void)heads;
    return CUDNN_STATUS_NOT_SUPPORTED;
}
#endif

bool attention_prepare(const struct heads *heads, void **out, size_t *scratch, struct error *err)
{
    const struct demand demand = { .repeats = true };
    if (!open_library(err))
        return false;
    struct state *state = state_new(PARTS);
    state->scale = (float)heads->scale;
    if (describe_attention(state, heads) != CUDNN_STATUS_SUCCESS ||
        !choose(state, &demand, NULL, CUDNN_HEUR_MODE_A)) {
        dispose(state);
        return false;
    }
    *out = state;
    *scratch = (size_t)state->workspace;
    return true;
}

void attention_run(void *opaque, void *q, void *k, void *v, void *y, void *scratch)
{
    struct state *state = opaque;
    cudnnStatus_t status = execute(state, (void *[]){ q, k, v, y, &state->scale }, scratch);
    if (status != CUDNN_STATUS_SUCCESS)
        fail_with(status);
}

void attention_dispose(void *state)
{
    dispose(state);
}
