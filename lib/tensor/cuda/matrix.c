/* Matrix steps: layouts, and which library; see matrix.h. */
#include "cuda/matrix.h"

#include "cuda/libraries.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 3, RESULT = 2, ALIGNMENT = 256 };

struct slot {
    const struct view *view; /* as it lies in the plan's memory */
    bool copied;
    struct view packed;
    size_t offset; /* of packed, in scratch memory */
    struct kernel copy;
};

struct matrix {
    enum op_id op;
    struct slot slot[SLOTS];
    size_t library_offset;
    void *state;             /* the library's */
    int place[SLOTS];        /* convolutions: which slot is image, weight, output */
    bool swapped;            /* products: b is the library's first factor */
    const struct view *bias; /* NULL: none */
    struct kernel direct;    /* what the library does not take; no name: it does */
    struct kernel add;       /* it, to the result, where the library does not; no name: it does */
};

static size_t take_scratch(struct step *step, size_t bytes)
{
    size_t offset = step->scratch;
    step->scratch += (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return offset;
}

/* The tensor is copied to (the result: from) scratch memory, where it lies with these strides. */
static void add_copy(struct step *step, struct matrix *matrix, int i, enum dtype dtype,
                     const int64_t *stride, const char *name, struct text *source)
{
    struct slot *slot = &matrix->slot[i];
    char copy_name[KERNEL_NAME];
    slot->copied = true;
    slot->packed = *slot->view;
    slot->packed.dtype = dtype;
    slot->packed.offset = 0;
    memcpy(slot->packed.stride, stride, sizeof slot->packed.stride);
    slot->offset = take_scratch(step, shape_count(slot->view->shape) * dtype_bytes(dtype));
    snprintf(copy_name, sizeof copy_name, "%.24s_%d", name, i);
    const struct view *from = i == RESULT ? &slot->packed : slot->view;
    const struct view *to = i == RESULT ? slot->view : &slot->packed;
    generate_copy(from, to, copy_name, source, &slot->copy);
}

/* Convolutions. */

enum { IMAGE, WEIGHT, OUTPUT };

/* Which factor each slot holds. */
static const int roles[OP_COUNT][SLOTS] = {
    [OP_CONV] = { IMAGE, WEIGHT, OUTPUT },
    [OP_CONV_DX] = { OUTPUT, WEIGHT, IMAGE },
    [OP_CONV_DW] = { IMAGE, OUTPUT, WEIGHT },
};

static void packed_strides(struct shape shape, bool planar, int64_t stride[RANK_MAX])
{
    memset(stride, 0, RANK_MAX * sizeof *stride);
    stride[3] = planar ? 1 : shape.size[1];
    stride[2] = stride[3] * shape.size[3];
    stride[1] = planar ? stride[2] * shape.size[2] : 1;
    stride[0] = shape.size[1] * shape.size[2] * shape.size[3];
}

/* Libraries want addresses at multiples of 16 bytes. */
static bool is_packed(const struct view *view, const int64_t stride[RANK_MAX])
{
    bool same = view->offset * (int64_t)dtype_bytes(view->dtype) % 16 == 0;
    for (int axis = 0; axis < view->shape.rank; axis++)
        same = same && (view->shape.size[axis] == 1 || view->stride[axis] == stride[axis]);
    return same;
}

static double convolution_flops(const struct convolution *c)
{
    return 2 * (double)shape_count(c->output) * (double)shape_count(c->weight) /
           (double)c->weight.size[0];
}

/* What is asked for, in ever other ways until the library has it. It may lack a result of another
 * type than the sources, which is then rounded to theirs. In f32 it may have engines for
 * channels-last images on tensor cores only; rather than lose 13 bits, images are copied to planes
 * and back. Where it has none at all (false, without a message), direct.c does it. */
static const struct attempt {
    bool result_like_sources, planar, rounded;
    const char *makeshift;
} attempts[] = { { false, false, false, NULL },
                 { true, false, false, NULL },
                 { false, true, false, "images are copied to planes and back" },
                 { true, true, false, "images are copied to planes and back" },
                 { false, false, true, "factors are rounded to TF32" } };
static const char slowly[] = "by plain loops, slowly, as no library takes it";

static bool find_convolution(struct step *step, struct matrix *matrix, struct convolution *c,
                             size_t *scratch, struct error *err)
{
    const struct convolution wanted = *c;
    err->message[0] = '\0';
    for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++) {
        const struct attempt *attempt = &attempts[i];
        if ((attempt->result_like_sources && wanted.result_dtype == wanted.dtype) ||
            (attempt->rounded && wanted.dtype != DTYPE_F32))
            continue;
        *c = wanted;
        c->result_dtype = attempt->result_like_sources ? wanted.dtype : wanted.result_dtype;
        c->planar = attempt->planar;
        c->rounded = attempt->rounded;
        if (convolution_prepare(c, &matrix->state, scratch, err)) {
            step->makeshift = attempt->makeshift;
            return true;
        }
        if (err->message[0])
            return false;
    }
    return false;
}

static bool prepare_convolution(struct step *step, struct matrix *matrix, const char *name,
                                struct text *source, struct error *err)
{
    const int *role = roles[step->node->op];
    struct shape shape[SLOTS];
    for (int i = 0; i < SLOTS; i++) {
        shape[role[i]] = matrix->slot[i].view->shape;
        matrix->place[role[i]] = i;
    }
    struct convolution c = {
        .op = step->node->op,
        .image = shape[IMAGE],
        .weight = shape[WEIGHT],
        .output = shape[OUTPUT],
        .dtype = step->in[0].dtype,
        .result_dtype = step->out.dtype,
        .geometry = step->node->conv,
        .fastest = step->algorithms == ALGORITHMS_FASTEST,
    };
    size_t scratch = 0;
    step->flops = convolution_flops(&c);
    bool found = find_convolution(step, matrix, &c, &scratch, err);
    if (!found && !err->message[0]) {
        step->makeshift = slowly;
        generate_convolution(step, name, source, &matrix->direct);
        return true;
    }
    if (!found)
        return error_prefix(err, "%s (%s:%d) on the device", ops[c.op].name, step->node->site.file,
                            step->node->site.line);
    for (int i = 0; i < SLOTS; i++) {
        int64_t stride[RANK_MAX];
        const struct view *view = matrix->slot[i].view;
        enum dtype dtype = i == RESULT ? c.result_dtype : c.dtype;
        packed_strides(view->shape, c.planar, stride);
        if (!is_packed(view, stride) || view->dtype != dtype)
            add_copy(step, matrix, i, dtype, stride, name, source);
    }
    matrix->library_offset = take_scratch(step, scratch);
    return true;
}

/* Products. */

/* (…,rows,columns) as a matrix, and how far apart the matrices lie. */
struct extent {
    int64_t rows, columns, count;
    int64_t row, column, step; /* strides */
};

static struct extent extent_of(const struct view *view, bool transposed)
{
    int rank = view->shape.rank;
    const int64_t *size = view->shape.size, *stride = view->stride;
    int first = transposed ? rank - 1 : rank - 2, second = transposed ? rank - 2 : rank - 1;
    struct extent e = { size[first], size[second], 1, stride[first], stride[second], 0 };
    for (int axis = rank - 3; axis >= 0; axis--) {
        if (e.count == 1)
            e.step = stride[axis];
        e.count *= size[axis];
    }
    return e;
}

/* Whether the axes in front of the matrix lie as one. */
static bool is_regular(const struct view *view)
{
    int64_t expected = 0;
    bool regular = true, first = true;
    for (int axis = view->shape.rank - 3; axis >= 0; axis--) {
        if (view->shape.size[axis] == 1)
            continue;
        regular = regular && (first || view->stride[axis] == expected);
        expected = view->stride[axis] * view->shape.size[axis];
        first = false;
    }
    return regular;
}

/* Whether the library can take it: one of the strides is 1, the other spans at least a line. */
static bool is_matrix(const struct extent *e)
{
    bool row_major = (e->column == 1 || e->columns == 1) && (e->rows == 1 || e->row >= e->columns);
    bool column_major = (e->row == 1 || e->rows == 1) && (e->columns == 1 || e->column >= e->rows);
    return row_major || column_major;
}

/* Seen column by column: whether the matrix lies transposed, and how far apart its lines are. */
static void lie(const struct extent *e, bool *transposed, int64_t *lead)
{
    bool column_major = (e->row == 1 || e->rows == 1) && (e->columns == 1 || e->column >= e->rows);
    *transposed = !column_major;
    *lead = column_major ? (e->columns == 1 ? e->rows : e->column)
                         : (e->rows == 1 ? e->columns : e->row);
}

static struct extent product_extent(struct step *step, struct matrix *matrix, int i,
                                    bool transposed, const char *name, struct text *source)
{
    const struct view *view = matrix->slot[i].view;
    struct extent e = extent_of(view, transposed);
    bool aligned = view->offset * (int64_t)dtype_bytes(view->dtype) % 16 == 0;
    if (aligned && is_regular(view) && is_matrix(&e))
        return e;
    int64_t stride[RANK_MAX] = { 0 }, each = 1;
    for (int axis = view->shape.rank - 1; axis >= 0; axis--) {
        stride[axis] = each;
        each *= view->shape.size[axis];
    }
    add_copy(step, matrix, i, view->dtype, stride, name, source);
    return extent_of(&matrix->slot[i].packed, transposed);
}

/* The bias by a kernel of our own: result += bias, row by row. */
static void add_bias(struct matrix *matrix, const char *name, struct text *source)
{
    const struct view *y = matrix->slot[RESULT].view, *bias = matrix->bias;
    struct operand operand[3] = { { .use = OPERAND_LOAD, .dtype = y->dtype },
                                  { .use = OPERAND_LOAD, .dtype = bias->dtype },
                                  { .use = OPERAND_STORE, .dtype = y->dtype, .value = 3 } };
    struct instruction sum = { .op = OP_ADD, .out = 3, .in = { 0, 1 } };
    struct loop loop = { .rows = y->shape.size[0],
                         .columns = y->shape.size[1],
                         .operands = 3,
                         .operand = operand,
                         .registers = 1,
                         .instructions = 1,
                         .instruction = &sum };
    char add_name[KERNEL_NAME];
    for (int k = 0; k < 3; k++) {
        const struct view *view = k == 1 ? bias : y;
        operand[k].offset = view->offset;
        operand[k].row = k == 1 ? 0 : view->stride[0];
        operand[k].column = view->stride[view->shape.rank - 1];
    }
    snprintf(add_name, sizeof add_name, "%.24s_bias", name);
    generate_loop(&loop, add_name, source, &matrix->add);
}

/* The library may lack the bias, or want it to lie otherwise; it is then added afterwards. */
static bool find_product(struct matrix *matrix, struct product *p, const char *name,
                         struct text *source, size_t *scratch, struct error *err)
{
    const struct view *bias = matrix->bias;
    err->message[0] = '\0';
    p->bias = bias && bias->offset * (int64_t)dtype_bytes(bias->dtype) % 16 == 0 &&
              bias->dtype == p->result_dtype;
    if (p->bias && product_prepare(p, &matrix->state, scratch, err))
        return true;
    if (bias && err->message[0])
        return false;
    p->bias = false;
    if (bias)
        add_bias(matrix, name, source);
    return product_prepare(p, &matrix->state, scratch, err);
}

/* Where the result lies row by row, its transpose lies column by column: dᵀ = bᵀ·aᵀ. */
static bool prepare_product(struct step *step, struct matrix *matrix, const char *name,
                            struct text *source, struct error *err)
{
    const struct node *node = step->node;
    struct extent a = product_extent(step, matrix, 0, node->transpose.a, name, source);
    struct extent b = product_extent(step, matrix, 1, node->transpose.b, name, source);
    struct extent d = product_extent(step, matrix, 2, false, name, source);
    bool by_rows, a_lies, b_lies;
    int64_t lead_a, lead_b, lead_d;
    size_t scratch = 0;
    lie(&a, &a_lies, &lead_a);
    lie(&b, &b_lies, &lead_b);
    lie(&d, &by_rows, &lead_d);
    if (node->op == OP_LINEAR) { /* dense by rows, also where there is only one */
        by_rows = true;
        lead_d = d.columns;
        matrix->bias = &step->in[2];
    }
    struct product p = {
        .rows = d.rows,
        .columns = d.columns,
        .inner = a.columns,
        .count = d.count,
        .transpose_a = a_lies,
        .transpose_b = b_lies,
        .lead_a = lead_a,
        .lead_b = lead_b,
        .lead_d = lead_d,
        .step_a = a.count > 1 ? a.step : 0,
        .step_b = b.count > 1 ? b.step : 0,
        .step_d = d.count > 1 ? d.step : 0,
        .dtype = step->in[0].dtype,
        .result_dtype = step->out.dtype,
        .fastest = step->algorithms == ALGORITHMS_FASTEST,
    };
    struct product turned = p;
    matrix->swapped = by_rows;
    if (by_rows) {
        turned.rows = p.columns;
        turned.columns = p.rows;
        turned.transpose_a = !p.transpose_b;
        turned.transpose_b = !p.transpose_a;
        turned.lead_a = p.lead_b;
        turned.lead_b = p.lead_a;
        turned.step_a = p.step_b;
        turned.step_b = p.step_a;
    }
    step->flops = 2 * (double)p.rows * (double)p.columns * (double)p.inner * (double)p.count;
    bool found = find_product(matrix, &turned, name, source, &scratch, err);
    if (!found && !err->message[0]) {
        step->scratch = 0;
        step->makeshift = slowly;
        char direct_name[KERNEL_NAME];
        snprintf(direct_name, sizeof direct_name, "%.24s_direct", name);
        generate_product(step, direct_name, source, &matrix->direct);
        return true;
    }
    if (!found)
        return error_prefix(err, "a product (%s:%d) on the device", node->site.file,
                            node->site.line);
    matrix->library_offset = take_scratch(step, scratch);
    return true;
}

/* Both. */

static bool is_product(const struct matrix *matrix)
{
    return matrix->op == OP_MATMUL || matrix->op == OP_LINEAR;
}

struct matrix *matrix_prepare(struct step *step, const char *name, struct text *source,
                              struct error *err)
{
    struct matrix *matrix = calloc(1, sizeof *matrix);
    CHECK(matrix, "out of memory");
    matrix->op = step->node->op;
    step->scratch = 0;
    for (int i = 0; i < SLOTS; i++)
        matrix->slot[i].view = i == RESULT ? &step->out : &step->in[i];
    if ((is_product(matrix) ? prepare_product : prepare_convolution)(step, matrix, name, source,
                                                                     err))
        return matrix;
    matrix_dispose(matrix);
    return NULL;
}

void matrix_dispose(struct matrix *matrix)
{
    if (matrix)
        (is_product(matrix) ? product_dispose : convolution_dispose)(matrix->state);
    free(matrix);
}

static void *place_of(const struct view *view, const struct run *run)
{
    return (char *)run->memory[view->buffer] + view->offset * (int64_t)dtype_bytes(view->dtype);
}

void matrix_run(const struct matrix *matrix, const struct run *run,
                void (*launch)(const struct kernel *kernel, void **arguments))
{
    void *at[SLOTS];
    if (matrix->direct.name[0]) {
        for (int i = 0; i < SLOTS; i++)
            at[i] = place_of(matrix->slot[i].view, run);
        void *bias = matrix->bias ? place_of(matrix->bias, run) : NULL, *result = at[RESULT];
        launch(&matrix->direct, bias ? (void *[]){ &at[0], &at[1], &bias, &result }
                                     : (void *[]){ &at[0], &at[1], &result });
        return;
    }
    for (int i = 0; i < SLOTS; i++) {
        const struct slot *slot = &matrix->slot[i];
        void *plain = place_of(slot->view, run);
        at[i] = slot->copied ? (char *)run->scratch + slot->offset : plain;
        if (slot->copied && i != RESULT)
            launch(&slot->copy, (void *[]){ &plain, &at[i] });
    }
    void *scratch = (char *)run->scratch + matrix->library_offset;
    void *bias = matrix->bias ? place_of(matrix->bias, run) : NULL;
    if (is_product(matrix))
        product_run(matrix->state, at[matrix->swapped], at[!matrix->swapped], bias, at[RESULT],
                    scratch);
    else
        convolution_run(matrix->state, at[matrix->place[IMAGE]], at[matrix->place[WEIGHT]],
                        at[matrix->place[OUTPUT]], scratch);
    if (matrix->slot[RESULT].copied) {
        void *plain = place_of(matrix->slot[RESULT].view, run);
        launch(&matrix->slot[RESULT].copy, (void *[]){ &at[RESULT], &plain });
    }
    if (matrix->add.name[0]) {
        void *plain = place_of(matrix->slot[RESULT].view, run);
        launch(&matrix->add, (void *[]){ &plain, &bias, &plain });
    }
}
