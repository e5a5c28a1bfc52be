/* The libraries of an emulated device (emulation.h): convolutions, attention and products by plain
 * loops, asked for, refused and timed as cuDNN and cuBLASLt are. */
#include "emulation_parts.h"

#include "base/arena.h"
#include "cuda/device.h"
#include "cuda/libraries.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Work as a library has prepared it. */
struct prepared {
    struct convolution convolution; /* one of the three */
    struct product product;
    struct heads heads;
    bool rounds; /* factors to TF32 */
    int way;
};

static double read_one(const void *memory, enum dtype dtype, int64_t at)
{
    return dtype == DTYPE_F32 ? (double)((const float *)memory)[at]
                              : (double)bf16_to_float(((const uint16_t *)memory)[at]);
}

/* A factor, of which TF32 keeps 10 bits of 23. */
static double read_factor(const struct prepared *of, const void *memory, enum dtype dtype,
                          int64_t at)
{
    float value = (float)read_one(memory, dtype, at);
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (of->rounds)
        bits = (bits + (1U << 12)) & ~((1U << 13) - 1);
    memcpy(&value, &bits, sizeof bits);
    return (double)value;
}

static void write_one(void *memory, enum dtype dtype, int64_t at, double value)
{
    if (dtype == DTYPE_F32)
        ((float *)memory)[at] = (float)value;
    else
        ((uint16_t *)memory)[at] = bf16_from_float((float)value);
}

static int64_t packed_at(const struct convolution *of, const struct shape *shape, int64_t a,
                         int64_t b, int64_t c, int64_t d)
{
    return of->planar ? ((a * shape->size[1] + b) * shape->size[2] + c) * shape->size[3] + d
                      : ((a * shape->size[2] + c) * shape->size[3] + d) * shape->size[1] + b;
}

/* Calls `term` for every product of the convolution, with the places of its three elements. */
static void walk_convolution(const struct prepared *of,
                             void (*term)(const struct prepared *of, void *const *memory,
                                          double *sum, int64_t image, int64_t weight,
                                          int64_t output),
                             void *const *memory, double *sum)
{
    const struct convolution *c = &of->convolution;
    int64_t inputs = c->weight.size[1], outputs = c->weight.size[0] / c->geometry.groups;
    for (int64_t n = 0; n < c->output.size[0]; n++)
        for (int64_t o = 0; o < c->weight.size[0]; o++)
            for (int64_t y = 0; y < c->output.size[2]; y++)
                for (int64_t x = 0; x < c->output.size[3]; x++)
                    for (int64_t k = 0; k < inputs * c->weight.size[2] * c->weight.size[3]; k++) {
                        int64_t kx = k % c->weight.size[3], rest = k / c->weight.size[3];
                        int64_t ky = rest % c->weight.size[2], i = rest / c->weight.size[2];
                        int64_t v = y * c->geometry.stride[0] + ky * c->geometry.dilation[0] -
                                    c->geometry.pad[0][0];
                        int64_t h = x * c->geometry.stride[1] + kx * c->geometry.dilation[1] -
                                    c->geometry.pad[1][0];
                        if (v < 0 || h < 0 || v >= c->image.size[2] || h >= c->image.size[3])
                            continue;
                        term(of, memory, sum,
                             packed_at(c, &c->image, n, o / outputs * inputs + i, v, h),
                             packed_at(c, &c->weight, o, i, ky, kx),
                             packed_at(c, &c->output, n, o, y, x));
                    }
}

static void add_term(const struct prepared *of, void *const *memory, double *sum, int64_t image,
                     int64_t weight, int64_t output)
{
    const struct convolution *c = &of->convolution;
    double x = c->op == OP_CONV_DX ? 0 : read_factor(of, memory[0], c->dtype, image);
    double w = c->op == OP_CONV_DW ? 0 : read_factor(of, memory[1], c->dtype, weight);
    double y = c->op == OP_CONV ? 0 : read_factor(of, memory[2], c->dtype, output);
    if (c->op == OP_CONV)
        sum[output] += x * w;
    else if (c->op == OP_CONV_DX)
        sum[image] += y * w;
    else
        sum[weight] += x * y;
}

static void do_convolution(void *state, void *const *memory)
{
    const struct prepared *of = state;
    const struct convolution *c = &of->convolution;
    int result = c->op == OP_CONV ? 2 : c->op == OP_CONV_DX ? 0 : 1;
    const struct shape *shapes[3] = { &c->image, &c->weight, &c->output };
    size_t count = shape_count(*shapes[result]);
    double *sum = calloc(count, sizeof *sum);
    CHECK(sum, "out of memory");
    walk_convolution(of, add_term, memory, sum);
    for (size_t i = 0; i < count; i++)
        write_one(memory[result], c->result_dtype, (int64_t)i, sum[i]);
    free(sum);
}

/* What cudnn.c and cublas.c promise of all addresses. */
static void check_addresses(void *const *tensor, const void *scratch)
{
    for (int i = 0; i < WORK_TENSORS; i++)
        CHECK((uintptr_t)tensor[i] % 16 == 0, "a library is given what begins between lines");
    CHECK((uintptr_t)scratch % ALIGNMENT == 0, "a library's scratch memory lies anywhere");
}

/* Asks for the work, in scratch memory that is its own while it runs. False: this way fails. */
static bool ask_way(struct prepared *of, int way, void (*matrix)(void *state, void *const *memory),
                    void *const *tensor, void *scratch)
{
    check_addresses(tensor, scratch);
    memset(scratch, SPOILED, (size_t)(way + 1) * EMULATED_SCRATCH);
    emulation_ask(matrix, of, tensor);
    return emulation_spend(way);
}

static bool try_convolution(void *context, int way, void *const *tensor, void *scratch)
{
    return ask_way(context, way, do_convolution, tensor, scratch);
}

/* As the libraries' files do: the first way, or the fastest. */
static void choose_way(struct prepared *of, bool fastest, struct work *work, size_t *scratch)
{
    work->ways = EMULATED_WAYS;
    work->context = of;
    for (int way = 0; way < EMULATED_WAYS; way++)
        work->scratch[way] = (size_t)(way + 1) * EMULATED_SCRATCH;
    if (fastest && !fastest_known(work, &of->way))
        of->way = fastest_measure(work);
    *scratch = work->scratch[of->way];
}

/* As a library may, it has no result of another type than its sources, f32 images of an odd number
 * of channels in planes only, and nothing where padding differs on two sides. */
bool convolution_prepare(const struct convolution *convolution, void **state, size_t *scratch,
                         struct error *err)
{
    (void)err;
    bool odd = convolution->image.size[1] % 2 || convolution->output.size[1] % 2;
    const struct conv *geometry = &convolution->geometry;
    if (geometry->pad[0][0] != geometry->pad[0][1] || geometry->pad[1][0] != geometry->pad[1][1] ||
        convolution->dtype != convolution->result_dtype ||
        (convolution->dtype == DTYPE_F32 && odd && !convolution->planar))
        return false;
    struct prepared *of = *state = memory_grow(NULL, 1, sizeof *of);
    struct work work;
    *of = (struct prepared){ .convolution = *convolution,
                             .rounds = convolution->fastest && convolution->dtype == DTYPE_F32 };
    work_of_convolution(convolution, &work);
    work.run = try_convolution;
    choose_way(of, convolution->fastest, &work, scratch);
    return true;
}

void convolution_run(void *state, void *image, void *weight, void *output, void *scratch)
{
    struct prepared *of = state;
    void *tensor[WORK_TENSORS] = { image, weight, output };
    if (!ask_way(of, of->way, do_convolution, tensor, scratch))
        device_fail("an emulated convolution", "its way fails");
}

void convolution_dispose(void *state)
{
    free(state);
}

/* Attention. */

static size_t attentions;

size_t emulation_attentions(void)
{
    return attentions;
}

/* An element of q, k, v or y. */
static int64_t heads_at(const struct heads *of, int which, const int64_t head[2], int64_t token,
                        int64_t column)
{
    const int64_t *stride = of->stride[which];
    return head[0] * stride[0] + head[1] * stride[1] + token * stride[2] + column * stride[3];
}

/* The weights of one token, as a library may leave them for the second product: in bf16. */
static void weigh(const struct heads *of, void *const *memory, const int64_t head[2], int64_t token,
                  double *weight)
{
    double most = -INFINITY, sum = 0;
    for (int64_t other = 0; other < of->others; other++) {
        weight[other] = 0;
        for (int64_t c = 0; c < of->width; c++)
            weight[other] += of->scale *
                             read_one(memory[0], DTYPE_BF16, heads_at(of, 0, head, token, c)) *
                             read_one(memory[1], DTYPE_BF16, heads_at(of, 1, head, other, c));
        most = fmax(most, weight[other]);
    }
    for (int64_t other = 0; other < of->others; other++)
        sum += weight[other] = exp(weight[other] - most);
    for (int64_t other = 0; other < of->others; other++)
        weight[other] = (double)bf16_to_float(bf16_from_float((float)(weight[other] / sum)));
}

static void do_attention(void *state, void *const *memory)
{
    const struct heads *of = &((const struct prepared *)state)->heads;
    double *weight = calloc((size_t)of->others, sizeof *weight);
    CHECK(weight, "out of memory");
    for (int64_t i = 0; i < of->groups * of->heads * of->tokens; i++) {
        int64_t token = i % of->tokens, which = i / of->tokens;
        int64_t head[2] = { which / of->heads, which % of->heads };
        weigh(of, memory, head, token, weight);
        for (int64_t c = 0; c < of->width; c++) {
            double sum = 0;
            for (int64_t other = 0; other < of->others; other++)
                sum += weight[other] *
                       read_one(memory[2], DTYPE_BF16, heads_at(of, 2, head, other, c));
            write_one(memory[3], DTYPE_BF16, heads_at(of, 3, head, token, c), sum);
        }
    }
    free(weight);
}

/* As a library does, it wants lines of 16 bytes. */
bool attention_prepare(const struct heads *heads, void **state, size_t *scratch, struct error *err)
{
    (void)err;
    for (int i = 0; i < 4; i++)
        CHECK(heads->stride[i][3] == 1 && heads->stride[i][2] % 8 == 0 &&
                  heads->stride[i][1] % 8 == 0 && heads->stride[i][0] % 8 == 0,
              "attention is asked for that lies otherwise than promised");
    struct prepared *of = *state = memory_grow(NULL, 1, sizeof *of);
    *of = (struct prepared){ .heads = *heads };
    *scratch = EMULATED_SCRATCH;
    attentions++;
    return true;
}

void attention_run(void *state, void *q, void *k, void *v, void *y, void *scratch)
{
    void *tensor[WORK_TENSORS] = { q, k, v, y };
    if (!ask_way(state, 0, do_attention, tensor, scratch))
        device_fail("an emulated attention", "its way fails");
}

void attention_dispose(void *state)
{
    free(state);
}

static int cut_terms;

/* Towards zero, to a multiple of the unit. */
static double cut(double value, double unit)
{
    return trunc(value / unit) * unit;
}

/* The unit of the last of 24 bits of a number this large. */
static double last_bit(double value)
{
    int exponent;
    frexp(value, &exponent);
    return ldexp(1, exponent - 24);
}

static float cut_sum(const float *a, const float *b, int64_t count)
{
    double sum = 0;
    for (int64_t begin = 0; begin < count; begin += cut_terms) {
        int64_t end = begin + cut_terms < count ? begin + cut_terms : count;
        double most = fabs(sum), next;
        for (int64_t k = begin; k < end; k++)
            most = fmax(most, fabs((double)a[k] * (double)b[k]));
        if (most == 0)
            continue;
        next = cut(sum, last_bit(most));
        for (int64_t k = begin; k < end; k++)
            next += cut((double)a[k] * (double)b[k], last_bit(most));
        sum = next == 0 ? 0 : cut(next, last_bit(next));
    }
    return (float)sum;
}

static float plain_sum(const float *a, const float *b, int64_t count)
{
    double lane[8] = { 0 }, sum = 0;
    for (int64_t k = 0; k < count; k++)
        lane[k % 8] += (double)a[k] * (double)b[k];
    for (int l = 0; l < 8; l++)
        sum += lane[l];
    return (float)sum;
}

void emulation_cut(int terms)
{
    cut_terms = terms;
}

/* Rows of the same step length: what the filter asks for, thousands of numbers each. */
static void do_rows(const struct product *p, void *const *memory)
{
    float *b = memory_grow(NULL, (size_t)p->inner, sizeof *b),
          *a = memory_grow(NULL, (size_t)(p->inner * p->rows), sizeof *a);
    for (int64_t i = 0; i < p->rows; i++)
        for (int64_t k = 0; k < p->inner; k++)
            a[i * p->inner + k] = (float)read_one(memory[0], p->dtype, i * p->lead_a + k);
    for (int64_t j = 0; j < p->columns; j++) {
        for (int64_t k = 0; k < p->inner; k++)
            b[k] = (float)read_one(memory[1], p->dtype, j * p->lead_b + k);
        for (int64_t i = 0; i < p->rows; i++)
            ((float *)memory[2])[j * p->lead_d + i] =
                cut_terms ? cut_sum(a + i * p->inner, b, p->inner)
                          : plain_sum(a + i * p->inner, b, p->inner);
    }
    free(a);
    free(b);
}

static void do_product(void *state, void *const *memory)
{
    const struct prepared *of = state;
    const struct product *p = &of->product;
    if (p->count == 1 && p->transpose_a && !p->transpose_b && p->dtype == DTYPE_BF16 &&
        p->result_dtype == DTYPE_F32 && !p->bias) {
        do_rows(p, memory);
        return;
    }
    for (int64_t n = 0; n < p->count; n++)
        for (int64_t i = 0; i < p->rows; i++)
            for (int64_t j = 0; j < p->columns; j++) {
                double sum = 0;
                for (int64_t k = 0; k < p->inner; k++) {
                    int64_t a = p->transpose_a ? i * p->lead_a + k : k * p->lead_a + i;
                    int64_t b = p->transpose_b ? k * p->lead_b + j : j * p->lead_b + k;
                    sum += read_factor(of, memory[0], p->dtype, n * p->step_a + a) *
                           read_factor(of, memory[1], p->dtype, n * p->step_b + b);
                }
                if (p->bias)
                    sum += read_one(memory[3], p->result_dtype, i);
                write_one(memory[2], p->result_dtype, n * p->step_d + j * p->lead_d + i, sum);
            }
}

static bool refuses_bias;

void emulation_refuse_bias(bool refuse)
{
    refuses_bias = refuse;
}

static bool try_product(void *context, int way, void *const *tensor, void *scratch)
{
    return ask_way(context, way, do_product, tensor, scratch);
}

/* As cuBLAS does, it refuses lines that overlap; and as a library may, sums of one product. */
bool product_prepare(const struct product *p, void **state, size_t *scratch, struct error *err)
{
    if ((p->bias && refuses_bias) || p->inner == 1) {
        err->message[0] = '\0';
        return false;
    }
    if (p->lead_a < (p->transpose_a ? p->inner : p->rows) ||
        p->lead_b < (p->transpose_b ? p->columns : p->inner) || p->lead_d < p->rows)
        return error_set(err, "leading dimensions %lld, %lld, %lld", (long long)p->lead_a,
                         (long long)p->lead_b, (long long)p->lead_d);
    struct prepared *of = *state = memory_grow(NULL, 1, sizeof *of);
    struct work work;
    *of = (struct prepared){ .product = *p, .rounds = p->fastest && p->dtype == DTYPE_F32 };
    work_of_product(p, &work);
    work.run = try_product;
    choose_way(of, p->fastest, &work, scratch);
    return true;
}

void product_run(void *state, const void *a, const void *b, const void *bias, void *d,
                 void *scratch)
{
    struct prepared *of = state;
    void *tensor[WORK_TENSORS] = { (void *)(uintptr_t)a, (void *)(uintptr_t)b, d,
                                   (void *)(uintptr_t)bias };
    if (!ask_way(of, of->way, do_product, tensor, scratch))
        device_fail("an emulated product", "its way fails");
}

void product_dispose(void *state)
{
    free(state);
}
