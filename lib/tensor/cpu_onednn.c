/* The whole contact surface with oneDNN: convolutions and matrix products of the CPU backend.
 *
 * Images are handed over channels-last as they lie. Weights are reordered at each run into what
 * the library prefers, and gradients of weights back from it: they are small beside the images.
 * Where the library has only its reference code for that (some groups), it chooses all layouts
 * itself, and images are reordered too.
 *
 * Primitives are made when a plan is made, with scratch memory that the plan provides. The C API of
 * versions 2 and 3 differs in how descriptions are held and primitive descriptors made: a few
 * functions stand here twice.
 */
#include "tensor/cpu.h"
#include "tensor/cpu_parts.h"

#include <oneapi/dnnl/dnnl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(DNNL_CPU_RUNTIME != DNNL_RUNTIME_SYCL,
               "oneDNN built for SYCL runs behind our back; take a build for OpenMP");

enum { SLOTS = 3, SCRATCH_ALIGNMENT = 64, WINOGRAD_CHANNELS = 32 };

/* One of the three tensors of a primitive. */
struct slot {
    int argument;        /* DNNL_ARG_… */
    dnnl_memory_t plain; /* as it lies in the plan's memory */
    dnnl_memory_t own;   /* as the primitive wants it; NULL: plain is as good */
    dnnl_primitive_t reorder;
    size_t offset; /* of own, in scratch */
};

struct matrix {
    dnnl_primitive_t primitive;
    dnnl_memory_t scratchpad;
    size_t scratchpad_offset;
    struct slot slot[SLOTS]; /* the sources, then the result */
};

static dnnl_engine_t engine;
static dnnl_stream_t stream;

static bool check(dnnl_status_t status, const struct step *step, struct error *err)
{
    if (status == dnnl_success)
        return true;
    return error_set(err, "oneDNN cannot compute %s of %s (%s:%d): status %d",
                     ops[step->node->op].name, dtype_name(step->in[0].dtype), step->node->site.file,
                     step->node->site.line, (int)status);
}

static bool start_library(const struct step *step, struct error *err)
{
    return stream ||
           (check(dnnl_engine_create(&engine, dnnl_cpu, 0), step, err) &&
            check(dnnl_stream_create(&stream, engine, dnnl_stream_default_flags), step, err));
}

/* What a tensor is for oneDNN: rank, sizes and strides. */
struct extent {
    int rank;
    dnnl_dims_t size, stride;
    enum dtype dtype;
};

static dnnl_data_type_t type_of(enum dtype dtype)
{
    return dtype == DTYPE_BF16 ? dnnl_bf16 : dnnl_f32;
}

/* What a convolution is for it. */
struct geometry {
    dnnl_dims_t stride, dilation, before, after;
};

enum { IMAGE, WEIGHT, OUTPUT }; /* x, w, y */

/* The two versions, each with the same five functions:
 *
 *     describe        a tensor; stride NULL: laid out as the library likes
 *     forget          a description
 *     forward         of a convolution; d: of x, w, y
 *     backward        its gradient by x or by w, for which a forward primitive is asked as a hint
 *     product         of two matrices
 */

#if DNNL_VERSION_MAJOR >= 3

typedef dnnl_memory_desc_t description;
typedef const_dnnl_memory_desc_t const_description;

static dnnl_status_t describe(description *out, const struct extent *e, const dnnl_dim_t *stride,
                              enum dtype dtype)
{
    return stride
               ? dnnl_memory_desc_create_with_strides(out, e->rank, e->size, type_of(dtype), stride)
               : dnnl_memory_desc_create_with_tag(out, e->rank, e->size, type_of(dtype),
                                                  dnnl_format_tag_any);
}

static void forget(description held)
{
    dnnl_memory_desc_destroy(held);
}

static dnnl_status_t forward(dnnl_primitive_desc_t *made, const struct geometry *g,
                             dnnl_alg_kind_t way, const description *d,
                             dnnl_primitive_attr_t attributes)
{
    return dnnl_convolution_forward_primitive_desc_create(
        made, engine, dnnl_forward_training, way, d[IMAGE], d[WEIGHT], NULL, d[OUTPUT], g->stride,
        g->dilation, g->before, g->after, attributes);
}

static dnnl_status_t backward(dnnl_primitive_desc_t *made, enum op_id op, const struct geometry *g,
                              dnnl_alg_kind_t way, const description *d,
                              dnnl_primitive_attr_t attributes, dnnl_primitive_desc_t hint)
{
    if (op == OP_CONV_DX)
        return dnnl_convolution_backward_data_primitive_desc_create(
            made, engine, way, d[IMAGE], d[WEIGHT], d[OUTPUT], g->stride, g->dilation, g->before,
            g->after, hint, attributes);
    return dnnl_convolution_backward_weights_primitive_desc_create(
        made, engine, way, d[IMAGE], d[WEIGHT], NULL, d[OUTPUT], g->stride, g->dilation, g->before,
        g->after, hint, attributes);
}

static dnnl_status_t product(dnnl_primitive_desc_t *made, const description *d,
                             dnnl_primitive_attr_t attributes)
{
    return dnnl_matmul_primitive_desc_create(made, engine, d[0], d[1], NULL, d[2], attributes);
}

#else

typedef dnnl_memory_desc_t *description;
typedef const dnnl_memory_desc_t *const_description;

static dnnl_status_t describe(description *out, const struct extent *e, const dnnl_dim_t *stride,
                              enum dtype dtype)
{
    *out = malloc(sizeof **out);
    CHECK(*out, "out of memory");
    return stride ? dnnl_memory_desc_init_by_strides(*out, e->rank, e->size, type_of(dtype), stride)
                  : dnnl_memory_desc_init_by_tag(*out, e->rank, e->size, type_of(dtype),
                                                 dnnl_format_tag_any);
}

static void forget(description held)
{
    free(held);
}

static dnnl_status_t forward(dnnl_primitive_desc_t *made, const struct geometry *g,
                             dnnl_alg_kind_t way, const description *d,
                             dnnl_primitive_attr_t attributes)
{
    dnnl_convolution_desc_t desc;
    dnnl_status_t status = dnnl_dilated_convolution_forward_desc_init(
        &desc, dnnl_forward_training, way, d[IMAGE], d[WEIGHT], NULL, d[OUTPUT], g->stride,
        g->dilation, g->before, g->after);
    return status == dnnl_success
               ? dnnl_primitive_desc_create(made, &desc, attributes, engine, NULL)
               : status;
}

static dnnl_status_t backward(dnnl_primitive_desc_t *made, enum op_id op, const struct geometry *g,
                              dnnl_alg_kind_t way, const description *d,
                              dnnl_primitive_attr_t attributes, dnnl_primitive_desc_t hint)
{
    dnnl_convolution_desc_t desc;
    dnnl_status_t status =
        op == OP_CONV_DX
            ? dnnl_dilated_convolution_backward_data_desc_init(&desc, way, d[IMAGE], d[WEIGHT],
                                                               d[OUTPUT], g->stride, g->dilation,
                                                               g->before, g->after)
            : dnnl_dilated_convolution_backward_weights_desc_init(&desc, way, d[IMAGE], d[WEIGHT],
                                                                  NULL, d[OUTPUT], g->stride,
                                                                  g->dilation, g->before, g->after);
    return status == dnnl_success
               ? dnnl_primitive_desc_create(made, &desc, attributes, engine, hint)
               : status;
}

static dnnl_status_t product(dnnl_primitive_desc_t *made, const description *d,
                             dnnl_primitive_attr_t attributes)
{
    dnnl_matmul_desc_t desc;
    dnnl_status_t status = dnnl_matmul_desc_init(&desc, d[0], d[1], NULL, d[2]);
    return status == dnnl_success
               ? dnnl_primitive_desc_create(made, &desc, attributes, engine, NULL)
               : status;
}

#endif

/* Making primitives. */

struct recipe {
    struct step *step;
    struct extent extent[SLOTS];
    description plain[SLOTS], wanted[SLOTS];
    int query[SLOTS], argument[SLOTS];
    dnnl_alg_kind_t way; /* of a convolution */
    bool winograd;       /* to be tried first */
    dnnl_status_t (*create)(const struct recipe *recipe, dnnl_primitive_desc_t *made);
    dnnl_primitive_attr_t attributes;
};

static void release_recipe(struct recipe *recipe)
{
    for (int i = 0; i < SLOTS; i++) {
        forget(recipe->plain[i]);
        forget(recipe->wanted[i]);
    }
    dnnl_primitive_attr_destroy(recipe->attributes);
}

static bool is_reference(const_dnnl_primitive_desc_t made)
{
    const char *name = NULL;
    dnnl_primitive_desc_query(made, dnnl_query_impl_info_str, 0, &name);
    return name && (strncmp(name, "ref", 3) == 0 || strncmp(name, "gemm:ref", 8) == 0);
}

/* Describes the three tensors to the library, which may choose layouts for those of the mask. */
static void want(struct recipe *recipe, unsigned free_choice)
{
    for (int i = 0; i < SLOTS; i++) {
        const struct extent *e = &recipe->extent[i];
        forget(recipe->wanted[i]);
        describe(&recipe->wanted[i], e, free_choice >> i & 1 ? NULL : e->stride, e->dtype);
    }
}

enum { ALL = (1 << SLOTS) - 1 };

/* The primitive descriptor for the wanted layouts; the library's own where it knows no fast way
 * for these, and for Winograd's algorithm, which it has in its own layout alone. */
static dnnl_status_t choose(struct recipe *recipe, unsigned free_choice,
                            dnnl_primitive_desc_t *made)
{
    if (recipe->winograd) {
        recipe->way = dnnl_convolution_winograd;
        want(recipe, ALL);
        if (recipe->create(recipe, made) == dnnl_success)
            return dnnl_success;
    }
    recipe->way = dnnl_convolution_direct;
    want(recipe, free_choice);
    dnnl_status_t status = recipe->create(recipe, made);
    if (status == dnnl_success && !is_reference(*made))
        return status;
    dnnl_primitive_desc_t other;
    want(recipe, ALL);
    if (recipe->create(recipe, &other) != dnnl_success)
        return status;
    if (status == dnnl_success)
        dnnl_primitive_desc_destroy(*made);
    *made = other;
    return dnnl_success;
}

static size_t take_scratch(struct step *step, size_t bytes)
{
    size_t offset = step->scratch;
    step->scratch += (bytes + SCRATCH_ALIGNMENT - 1) / SCRATCH_ALIGNMENT * SCRATCH_ALIGNMENT;
    return offset;
}

static dnnl_status_t make_reorder(struct slot *slot, const_description from, const_description to)
{
    dnnl_primitive_desc_t made;
    dnnl_status_t status =
        dnnl_reorder_primitive_desc_create(&made, from, engine, to, engine, NULL);
    if (status != dnnl_success)
        return status;
    status = dnnl_primitive_create(&slot->reorder, made);
    dnnl_primitive_desc_destroy(made);
    return status;
}

static dnnl_status_t make_slot(const struct recipe *recipe, const_dnnl_primitive_desc_t made, int i,
                               struct slot *slot)
{
    slot->argument = recipe->argument[i];
    dnnl_status_t status = dnnl_memory_create(&slot->plain, recipe->plain[i], engine, NULL);
    const_description wants = dnnl_primitive_desc_query_md(made, (dnnl_query_t)recipe->query[i], 0);
    if (status != dnnl_success || dnnl_memory_desc_equal(wants, recipe->plain[i]))
        return status;
    status = dnnl_memory_create(&slot->own, wants, engine, NULL);
    if (status != dnnl_success)
        return status;
    slot->offset = take_scratch(recipe->step, dnnl_memory_desc_get_size(wants));
    return i < SLOTS - 1 ? make_reorder(slot, recipe->plain[i], wants)
                         : make_reorder(slot, wants, recipe->plain[i]);
}

static dnnl_status_t make_matrix(struct recipe *recipe, unsigned free_choice, struct matrix *matrix)
{
    dnnl_primitive_desc_t made;
    dnnl_status_t status = choose(recipe, free_choice, &made);
    if (status != dnnl_success)
        return status;
    status = dnnl_primitive_create(&matrix->primitive, made);
    for (int i = 0; i < SLOTS && status == dnnl_success; i++)
        status = make_slot(recipe, made, i, &matrix->slot[i]);
    const_description pad = dnnl_primitive_desc_query_md(made, dnnl_query_scratchpad_md, 0);
    if (status == dnnl_success && pad && dnnl_memory_desc_get_size(pad)) {
        matrix->scratchpad_offset = take_scratch(recipe->step, dnnl_memory_desc_get_size(pad));
        status = dnnl_memory_create(&matrix->scratchpad, pad, engine, NULL);
    }
    dnnl_primitive_desc_destroy(made);
    return status;
}

/* Describes the three tensors; the library may choose layouts for those that `free_choice` names.
 */
static bool prepare(struct recipe *recipe, unsigned free_choice, struct error *err)
{
    struct step *step = recipe->step;
    struct matrix *matrix = calloc(1, sizeof *matrix);
    CHECK(matrix, "out of memory");
    step->state = matrix;
    dnnl_status_t status = dnnl_primitive_attr_create(&recipe->attributes);
    dnnl_primitive_attr_set_scratchpad_mode(recipe->attributes, dnnl_scratchpad_mode_user);
    for (int i = 0; i < SLOTS; i++) {
        const struct extent *e = &recipe->extent[i];
        describe(&recipe->plain[i], e, e->stride, e->dtype);
    }
    status = status == dnnl_success ? make_matrix(recipe, free_choice, matrix) : status;
    release_recipe(recipe);
    return check(status, step, err);
}

/* Convolutions. */

/* Which factor each slot holds. */
static const int roles[OP_COUNT][SLOTS] = {
    [OP_CONV] = { IMAGE, WEIGHT, OUTPUT },
    [OP_CONV_DX] = { OUTPUT, WEIGHT, IMAGE },
    [OP_CONV_DW] = { IMAGE, OUTPUT, WEIGHT },
};

static const int arguments[OP_COUNT][SLOTS] = {
    [OP_CONV] = { DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST },
    [OP_CONV_DX] = { DNNL_ARG_DIFF_DST, DNNL_ARG_WEIGHTS, DNNL_ARG_DIFF_SRC },
    [OP_CONV_DW] = { DNNL_ARG_SRC, DNNL_ARG_DIFF_DST, DNNL_ARG_DIFF_WEIGHTS },
    [OP_MATMUL] = { DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST },
};

static const int queries[OP_COUNT][SLOTS] = {
    [OP_CONV] = { dnnl_query_src_md, dnnl_query_weights_md, dnnl_query_dst_md },
    [OP_CONV_DX] = { dnnl_query_diff_dst_md, dnnl_query_weights_md, dnnl_query_diff_src_md },
    [OP_CONV_DW] = { dnnl_query_src_md, dnnl_query_diff_dst_md, dnnl_query_diff_weights_md },
    [OP_MATMUL] = { dnnl_query_src_md, dnnl_query_weights_md, dnnl_query_dst_md },
};

static struct geometry geometry_of(const struct conv *conv)
{
    struct geometry g;
    for (int i = 0; i < 2; i++) {
        g.stride[i] = conv->stride[i];
        g.dilation[i] = conv->dilation[i] - 1;
        g.before[i] = conv->pad[i][0];
        g.after[i] = conv->pad[i][1];
    }
    return g;
}

static dnnl_status_t create_convolution(const struct recipe *recipe, dnnl_primitive_desc_t *made)
{
    const struct node *node = recipe->step->node;
    struct geometry g = geometry_of(&node->conv);
    description by_role[SLOTS];
    for (int i = 0; i < SLOTS; i++)
        by_role[roles[node->op][i]] = recipe->wanted[i];
    if (node->op == OP_CONV)
        return forward(made, &g, recipe->way, by_role, recipe->attributes);
    /* A forward primitive knows no bf16 image beside f32 weights: for the hint all have one type.
     */
    description any[SLOTS];
    for (int i = 0; i < SLOTS; i++) {
        enum dtype dtype = recipe->extent[0].dtype;
        describe(&any[roles[node->op][i]], &recipe->extent[i], NULL, dtype);
    }
    dnnl_primitive_desc_t hint;
    dnnl_status_t status = forward(&hint, &g, recipe->way, any, recipe->attributes);
    for (int i = 0; i < SLOTS; i++)
        forget(any[i]);
    if (status != dnnl_success)
        return status;
    status = backward(made, node->op, &g, recipe->way, by_role, recipe->attributes, hint);
    dnnl_primitive_desc_destroy(hint);
    return status;
}

/* Grouped weights have an axis more: (G,O/G,C/G,kh,kw). */
static struct extent extent_of(const struct view *view, bool weight, int groups)
{
    struct extent e = { .dtype = view->dtype };
    bool grouped = weight && groups > 1;
    for (int axis = 0; axis < view->shape.rank; axis++) {
        e.size[e.rank] = view->shape.size[axis];
        e.stride[e.rank++] = view->stride[axis];
        if (axis || !grouped)
            continue;
        e.size[0] = groups;
        e.stride[0] = view->stride[0] * (view->shape.size[0] / groups);
        e.size[e.rank] = view->shape.size[0] / groups;
        e.stride[e.rank++] = view->stride[0];
    }
    return e;
}

static double convolution_flops(const struct step *step)
{
    const int *role = roles[step->node->op];
    double flops = 2;
    for (int i = 0; i < SLOTS; i++) {
        struct shape shape = i < SLOTS - 1 ? step->in[i].shape : step->out.shape;
        if (role[i] == WEIGHT)
            flops *= (double)shape_count(shape) / (double)shape.size[0];
        if (role[i] == OUTPUT)
            flops *= (double)shape_count(shape);
    }
    return flops;
}

/* Winograd's algorithm does 3×3 convolutions with fewer multiplications. */
static bool suits_winograd(const struct recipe *recipe, const struct conv *conv)
{
    const int *role = roles[recipe->step->node->op];
    bool suits = conv->groups == 1;
    for (int i = 0; i < 2; i++)
        suits = suits && conv->stride[i] == 1 && conv->dilation[i] == 1;
    for (int i = 0; i < SLOTS; i++) {
        const dnnl_dim_t *size = recipe->extent[i].size;
        suits = suits && recipe->extent[i].dtype == DTYPE_F32 && size[1] >= WINOGRAD_CHANNELS &&
                size[1] % 16 == 0;
        if (role[i] == WEIGHT)
            suits = suits && size[2] == 3 && size[3] == 3;
    }
    return suits;
}

static bool prepare_convolution(struct step *step, struct error *err)
{
    enum op_id op = step->node->op;
    struct recipe recipe = { .step = step, .create = create_convolution };
    unsigned weight = 0;
    for (int i = 0; i < SLOTS; i++) {
        const struct view *view = i < SLOTS - 1 ? &step->in[i] : &step->out;
        recipe.extent[i] = extent_of(view, roles[op][i] == WEIGHT, step->node->conv.groups);
        weight |= (unsigned)(roles[op][i] == WEIGHT) << i;
    }
    memcpy(recipe.query, queries[op], sizeof recipe.query);
    memcpy(recipe.argument, arguments[op], sizeof recipe.argument);
    step->flops = convolution_flops(step);
    recipe.winograd = suits_winograd(&recipe, &step->node->conv);
    return prepare(&recipe, weight, err);
}

/* Matrix products. */

static dnnl_status_t create_matmul(const struct recipe *recipe, dnnl_primitive_desc_t *made)
{
    return product(made, recipe->wanted, recipe->attributes);
}

/* (…,rows,columns) as (batch,rows,columns) or a plain matrix; the axes in front lie as one. */
static struct extent matrix_extent(const struct view *view, bool transposed)
{
    struct extent e = { .dtype = view->dtype };
    int rank = view->shape.rank;
    int64_t batch = 1, stride = 0;
    for (int axis = rank - 3; axis >= 0; axis--) {
        if (batch == 1)
            stride = view->stride[axis];
        batch *= view->shape.size[axis];
    }
    if (rank > 2) {
        e.size[0] = batch;
        e.stride[0] = stride;
        e.rank = 1;
    }
    for (int i = 0; i < 2; i++) {
        int axis = transposed ? rank - 1 - i : rank - 2 + i;
        e.size[e.rank] = view->shape.size[axis];
        e.stride[e.rank++] = view->stride[axis];
    }
    if (e.rank == 3 && (batch == 1 || stride == 0)) {
        e.size[0] = 1; /* one matrix for all */
        e.stride[0] = e.size[1] * e.size[2];
    }
    /* Strides along an axis of one element are free; oneDNN wants them to make sense. */
    dnnl_dim_t *size = e.size + e.rank - 2, *s = e.stride + e.rank - 2;
    if (size[1] == 1 && s[0] != 1)
        s[1] = 1;
    else if (size[1] == 1)
        s[1] = size[0];
    if (size[0] == 1)
        s[0] = s[1] == 1 ? size[1] : 1;
    return e;
}

static bool prepare_matmul(struct step *step, struct error *err)
{
    const struct node *node = step->node;
    struct recipe recipe = { .step = step, .create = create_matmul };
    recipe.extent[0] = matrix_extent(&step->in[0], node->transpose.a);
    recipe.extent[1] = matrix_extent(&step->in[1], node->transpose.b);
    recipe.extent[2] = matrix_extent(&step->out, false);
    memcpy(recipe.query, queries[OP_MATMUL], sizeof recipe.query);
    memcpy(recipe.argument, arguments[OP_MATMUL], sizeof recipe.argument);
    int rank = recipe.extent[0].rank;
    step->flops =
        2 * (double)shape_count(step->out.shape) * (double)recipe.extent[0].size[rank - 1];
    return prepare(&recipe, 0, err);
}

/* Running. */

bool cpu_prepare_matrix(struct step *step, struct error *err)
{
    if (!start_library(step, err))
        return false;
    return step->node->op == OP_MATMUL ? prepare_matmul(step, err) : prepare_convolution(step, err);
}

static void *place_of(const struct view *view, const struct run *run)
{
    return (char *)run->memory[view->buffer] + view->offset * (int64_t)dtype_bytes(view->dtype);
}

static void execute(dnnl_primitive_t primitive, int count, const dnnl_exec_arg_t *arguments_of)
{
    dnnl_status_t status = dnnl_primitive_execute(primitive, stream, count, arguments_of);
    CHECK(status == dnnl_success, "oneDNN failed while running: status %d", (int)status);
}

static void reorder(const struct slot *slot, bool inwards)
{
    dnnl_exec_arg_t both[2] = { { DNNL_ARG_FROM, inwards ? slot->plain : slot->own },
                                { DNNL_ARG_TO, inwards ? slot->own : slot->plain } };
    execute(slot->reorder, 2, both);
}

void cpu_run_matrix(const struct step *step, const struct run *run)
{
    const struct matrix *matrix = step->state;
    dnnl_exec_arg_t argument[SLOTS + 1];
    int count = 0;
    for (int i = 0; i < SLOTS; i++) {
        const struct slot *slot = &matrix->slot[i];
        const struct view *view = i < SLOTS - 1 ? &step->in[i] : &step->out;
        dnnl_memory_set_data_handle(slot->plain, place_of(view, run));
        if (slot->own)
            dnnl_memory_set_data_handle(slot->own, (char *)run->scratch + slot->offset);
        if (slot->own && i < SLOTS - 1)
            reorder(slot, true);
        argument[count++] =
            (dnnl_exec_arg_t){ slot->argument, slot->own ? slot->own : slot->plain };
    }
    if (matrix->scratchpad) {
        dnnl_memory_set_data_handle(matrix->scratchpad,
                                    (char *)run->scratch + matrix->scratchpad_offset);
        argument[count++] = (dnnl_exec_arg_t){ DNNL_ARG_SCRATCHPAD, matrix->scratchpad };
    }
    execute(matrix->primitive, count, argument);
    if (matrix->slot[SLOTS - 1].own)
        reorder(&matrix->slot[SLOTS - 1], false);
}

void cpu_dispose_matrix(struct step *step)
{
    struct matrix *matrix = step->state;
    for (int i = 0; i < SLOTS; i++) {
        dnnl_memory_destroy(matrix->slot[i].plain);
        dnnl_memory_destroy(matrix->slot[i].own);
        dnnl_primitive_destroy(matrix->slot[i].reorder);
    }
    dnnl_memory_destroy(matrix->scratchpad);
    dnnl_primitive_destroy(matrix->primitive);
    free(matrix);
}

const char *cpu_library_version(void)
{
    static char text[64];
    static const struct {
        dnnl_cpu_isa_t isa;
        const char *name;
    } names[] = { { dnnl_cpu_isa_avx512_core_amx, "AMX" },
                  { dnnl_cpu_isa_avx512_core_bf16, "AVX-512 with bfloat16" },
                  { dnnl_cpu_isa_avx512_core, "AVX-512" },
                  { dnnl_cpu_isa_avx2, "AVX2" } };
    const dnnl_version_t *version = dnnl_version();
    dnnl_cpu_isa_t isa = dnnl_get_effective_cpu_isa();
    const char *level = "the baseline";
    for (size_t i = sizeof names / sizeof *names; i-- > 0;)
        if (((unsigned)isa & (unsigned)names[i].isa) == (unsigned)names[i].isa)
            level = names[i].name;
    snprintf(text, sizeof text, "%d.%d.%d, by %s", version->major, version->minor, version->patch,
             level);
    return text;
}
