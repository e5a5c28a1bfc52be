/* Bounds as one matrix product, and what is left of them; see tensor/filter.h.
 *
 *     columns  (block, length)    bf16: all of them, or one block after the other
 *     rows     (queries, length)  bf16
 *     bounds   (queries, stride)  f32 = rows · columnsᵀ; the product always has the same shape, so
 *                                 that the library chooses once. What lies beyond is never looked
 * at counts   (queries, chunks)  of bounds that reach the bar; then where a chunk's pairs begin
 *     pairs    by query, then by column: every chunk writes its own from there on, in order
 *
 * Bounds stay, so a block costs one product, whatever is asked of them afterwards: at 50,000
 * columns of length 4160, 2048 queries take 410 MB and 0.85 TFLOP. Nothing is added atomically, so
 * the order of pairs is that of the numbers. Columns that are not resident come through
 * device_copy_in, whose second stream brings a piece while the first computes. */
#include "cuda/filter.h"

#include "base/arena.h"
#include "cuda/device.h"
#include "cuda/libraries.h"

#include <string.h>

enum {
    CHUNK = 1024, /* columns that a block of threads looks at: 4 a thread; and in the text below */
    THREADS = CHUNK / 4,
    QUERIES_LEAST = 16,
    QUERIES_MOST = 4096,
    PAIRS_SHARE = 64,  /* one in so many pairs of a block can be collected at once */
    PIECE = 8 << 20,   /* bytes of columns in one copy */
    SCRATCH = 32 << 20 /* what cublas.c allows a product */
};

/* A column that does not count has a bound of −∞. Order of pairs: a thread has four neighbouring
 * columns, and begins where the threads before it end. */
const char cuda_filter_source[] =
    "typedef unsigned int u32; typedef long long i64;\n"
    "#define CHUNK 1024\n#define THREADS 256\n"
    "static __device__ __forceinline__ float bound_at(const float *bounds, i64 stride, i64 q, i64 j,\n"
    "    const u32 *groups, const u32 *group, const u32 *avoid)\n"
    "{\n"
    "    if (group && (groups[j] == group[q] || groups[j] == avoid[q]))\n"
    "        return -__int_as_float(0x7f800000);\n"
    "    return bounds[q * stride + j];\n"
    "}\n"
    "extern \"C\" __global__ void best(const float *bounds, i64 stride, i64 columns,\n"
    "    const u32 *groups, const u32 *group, const u32 *avoid, i64 stripes, float *values, u32 *ids)\n"
    "{\n"
    "    i64 s = (i64)blockIdx.x * blockDim.x + threadIdx.x, q = blockIdx.y;\n"
    "    if (s >= stripes) return;\n"
    "    float most = -__int_as_float(0x7f800000); u32 id = (u32)s;\n"
    "    for (i64 j = s; j < columns; j += stripes) {\n"
    "        float bound = bound_at(bounds, stride, q, j, groups, group, avoid);\n"
    "        if (bound > most) { most = bound; id = (u32)j; }\n"
    "    }\n"
    "    values[q * stripes + s] = most;\n"
    "    ids[q * stripes + s] = id;\n"
    "}\n"
    "extern \"C\" __global__ void __launch_bounds__(256) count(const float *bounds, i64 stride,\n"
    "    i64 columns, const u32 *groups, const u32 *group, const u32 *avoid, const float *bars,\n"
    "    i64 chunks, u32 *counts)\n"
    "{\n"
    "    __shared__ u32 sum[THREADS];\n"
    "    i64 q = blockIdx.y, begin = (i64)blockIdx.x * CHUNK + 4 * threadIdx.x;\n"
    "    u32 found = 0;\n"
    "    for (i64 j = begin; j < begin + 4 && j < columns; j++)\n"
    "        found += bound_at(bounds, stride, q, j, groups, group, avoid) >= bars[q];\n"
    "    sum[threadIdx.x] = found;\n"
    "    __syncthreads();\n"
    "    for (u32 half = THREADS / 2; half; half /= 2) {\n"
    "        if (threadIdx.x < half) sum[threadIdx.x] += sum[threadIdx.x + half];\n"
    "        __syncthreads();\n"
    "    }\n"
    "    if (threadIdx.x == 0) counts[q * chunks + blockIdx.x] = sum[0];\n"
    "}\n"
    "extern \"C\" __global__ void __launch_bounds__(256) collect(const float *bounds, i64 stride,\n"
    "    i64 columns, const u32 *groups, const u32 *group, const u32 *avoid, const float *bars,\n"
    "    i64 chunks, const u32 *starts, i64 first, u32 *ids, float *values)\n"
    "{\n"
    "    __shared__ u32 sum[2][THREADS];\n"
    "    i64 q = first + blockIdx.y, begin = (i64)blockIdx.x * CHUNK + 4 * threadIdx.x;\n"
    "    float bound[4]; u32 found = 0, from = 0;\n"
    "    for (int i = 0; i < 4; i++) {\n"
    "        bound[i] = begin + i < columns\n"
    "            ? bound_at(bounds, stride, q, begin + i, groups, group, avoid)\n"
    "            : -__int_as_float(0x7f800000);\n"
    "        found += bound[i] >= bars[q];\n"
    "    }\n"
    "    sum[0][threadIdx.x] = found;\n"
    "    __syncthreads();\n"
    "    for (u32 step = 1; step < THREADS; step *= 2) {\n"
    "        u32 before = threadIdx.x >= step ? sum[from][threadIdx.x - step] : 0;\n"
    "        sum[1 - from][threadIdx.x] = sum[from][threadIdx.x] + before;\n"
    "        from = 1 - from;\n"
    "        __syncthreads();\n"
    "    }\n"
    "    u32 at = starts[blockIdx.y * chunks + blockIdx.x] + sum[from][threadIdx.x] - found;\n"
    "    for (int i = 0; i < 4; i++)\n"
    "        if (bound[i] >= bars[q]) {\n"
    "            ids[at] = (u32)(begin + i);\n"
    "            values[at++] = bound[i];\n"
    "        }\n"
    "}\n";

static struct program *program; /* one for the process, as the device is */

struct filter {
    struct filter_plan plan;
    size_t stride, chunks, count;
    void *columns, *rows, *bounds, *groups, *group, *avoid, *bars, *values, *ids, *counts;
    void *pair_ids, *pair_values, *scratch, *product;
    bool grouped, has_groups;
    uint32_t *host_counts; /* (queries, chunks) of the last count */
    uint32_t *starts;      /* room for as many */
    float *host_values;    /* pairs, on their way back */
    uint32_t *host_ids;
};

static size_t round_up_to(size_t value, size_t unit)
{
    return (value + unit - 1) / unit * unit;
}

/* ---- memory ------------------------------------------------------------------------------------
 */

static size_t chunks_of(size_t columns)
{
    return (columns + CHUNK - 1) / CHUNK;
}

/* Bytes for one more query in a block, with `stride` bounds. */
static size_t query_bytes(const struct filter_size *size, size_t stride)
{
    return stride * sizeof(float) + size->length * sizeof(uint16_t) +
           size->stripes * sizeof(struct filter_pair) +
           2 * chunks_of(size->columns) * sizeof(uint32_t) + 3 * sizeof(uint32_t) +
           (size->columns / PAIRS_SHARE + 1) * sizeof(struct filter_pair);
}

/* Bytes that do not depend on the number of queries. */
static size_t fixed_bytes(const struct filter_size *size, size_t block)
{
    return block * size->length * sizeof(uint16_t) + size->columns * sizeof(uint32_t) + SCRATCH +
           size->columns * sizeof(struct filter_pair);
}

/* As many queries as fit beside a block of so many columns; 0: fewer than is worth while. */
static size_t queries_beside(const struct filter_size *size, size_t block, size_t memory)
{
    size_t fixed = fixed_bytes(size, block),
           each = query_bytes(size, round_up_to(size->columns, block)),
           wanted = round_up_to(size->queries < QUERIES_MOST ? size->queries : QUERIES_MOST,
                                QUERIES_LEAST);
    if (fixed + QUERIES_LEAST * each > memory)
        return 0;
    size_t queries = (memory - fixed) / each / QUERIES_LEAST * QUERIES_LEAST;
    return queries < wanted ? queries : wanted;
}

static bool filter_plan(const struct filter_size *size, struct filter_plan *plan, struct error *err)
{
    size_t available = device_available(), all = round_up_to(size->columns, FILTER_ALIGN),
           memory = size->memory ? size->memory : available / 10 * 9, block = all;
    CHECK(size->columns && size->length && size->length % FILTER_ALIGN == 0 && size->stripes,
          "%zu columns of length %zu in %zu stripes", size->columns, size->length, size->stripes);
    size_t queries = queries_beside(size, block, memory);
    while (!queries && block > FILTER_ALIGN) {
        block = round_up_to(block / 2, FILTER_ALIGN);
        queries = queries_beside(size, block, memory);
    }
    if (!queries)
        return error_set(
            err,
            "%zu rows of %zu numbers are to be searched; this takes %.1f MB of the "
            "device's memory at least, %.1f MB may be used",
            size->columns, size->length,
            (double)(fixed_bytes(size, FILTER_ALIGN) + QUERIES_LEAST * query_bytes(size, all)) /
                1e6,
            (double)memory / 1e6);
    *plan = (struct filter_plan){ .columns = size->columns,
                                  .length = size->length,
                                  .stripes = size->stripes,
                                  .queries = queries,
                                  .block = block,
                                  .resident = block == all };
    plan->pairs = size->columns + queries * (size->columns / PAIRS_SHARE + 1);
    plan->bytes =
        fixed_bytes(size, block) + queries * query_bytes(size, round_up_to(size->columns, block));
    return true;
}

static void filter_close(struct filter *filter)
{
    if (!filter)
        return;
    void *const memory[] = { filter->columns, filter->rows,   filter->bounds,   filter->groups,
                             filter->group,   filter->avoid,  filter->bars,     filter->values,
                             filter->ids,     filter->counts, filter->pair_ids, filter->pair_values,
                             filter->scratch };
    for (size_t i = 0; i < sizeof memory / sizeof *memory; i++)
        device_release(memory[i]);
    product_dispose(filter->product);
    memory_free(filter->host_counts);
    memory_free(filter->starts);
    memory_free(filter->host_values);
    memory_free(filter->host_ids);
    memory_free(filter);
}

static bool allocate_all(struct filter *filter, struct error *err)
{
    const struct filter_plan *plan = &filter->plan;
    size_t queries = plan->queries, chunks = queries * filter->chunks;
    const struct {
        void **memory;
        size_t bytes;
        const char *what;
    } needed[] = {
        { &filter->columns, plan->block * plan->length * sizeof(uint16_t), "heads" },
        { &filter->rows, queries * plan->length * sizeof(uint16_t), "a block's heads" },
        { &filter->bounds, queries * filter->stride * sizeof(float), "bounds" },
        { &filter->groups, plan->columns * sizeof(uint32_t), "groups" },
        { &filter->group, queries * sizeof(uint32_t), "groups" },
        { &filter->avoid, queries * sizeof(uint32_t), "groups" },
        { &filter->bars, queries * sizeof(float), "thresholds" },
        { &filter->values, queries * plan->stripes * sizeof(float), "the best bounds" },
        { &filter->ids, queries * plan->stripes * sizeof(uint32_t), "the best bounds" },
        { &filter->counts, 2 * chunks * sizeof(uint32_t), "counts" },
        { &filter->pair_ids, plan->pairs * sizeof(uint32_t), "pairs" },
        { &filter->pair_values, plan->pairs * sizeof(float), "pairs" },
    };
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        if (!(*needed[i].memory = device_allocate(needed[i].bytes, needed[i].what, err)))
            return false;
    filter->host_counts = memory_allocate(chunks, sizeof(uint32_t), "counts", err);
    filter->starts = memory_allocate(chunks, sizeof(uint32_t), "counts", err);
    filter->host_values = memory_allocate(plan->pairs, sizeof(float), "pairs", err);
    filter->host_ids = memory_allocate(plan->pairs, sizeof(uint32_t), "pairs", err);
    return filter->host_counts && filter->starts && filter->host_values && filter->host_ids;
}

/* Column-major, as libraries count: (block × queries) = columnsᵀ (block × length) · rows. */
static bool prepare_product(struct filter *filter, struct error *err)
{
    int64_t length = (int64_t)filter->plan.length;
    struct product product = { .rows = (int64_t)filter->plan.block,
                               .columns = (int64_t)filter->plan.queries,
                               .inner = length,
                               .count = 1,
                               .transpose_a = true,
                               .lead_a = length,
                               .lead_b = length,
                               .lead_d = (int64_t)filter->stride,
                               .dtype = DTYPE_BF16,
                               .result_dtype = DTYPE_F32 };
    size_t scratch = 0;
    if (!product_prepare(&product, &filter->product, &scratch, err))
        return err->message[0] ? false : error_set(err, "the library has no product of such heads");
    CHECK(scratch <= SCRATCH, "a product wants %zu bytes", scratch);
    filter->scratch = device_allocate(scratch, "a product's scratch memory", err);
    return filter->scratch;
}

static struct filter *filter_open(const struct filter_plan *plan, struct error *err)
{
    struct filter *filter = memory_allocate(1, sizeof *filter, "a filter", err);
    if (!filter)
        return NULL;
    *filter = (struct filter){ .plan = *plan,
                               .stride = round_up_to(plan->columns, plan->block),
                               .chunks = chunks_of(plan->columns) };
    if (allocate_all(filter, err) && prepare_product(filter, err))
        return filter;
    filter_close(filter);
    return NULL;
}

/* ---- products ----------------------------------------------------------------------------------
 */

/* To row `place` of the columns on the device. */
static void send_columns(struct filter *filter, size_t place, size_t count, const uint16_t *rows)
{
    size_t length = filter->plan.length, most = PIECE / (length * sizeof *rows);
    if (!most)
        most = 1;
    for (size_t done = 0; done < count; done += most)
        device_copy_in((uint16_t *)filter->columns + (place + done) * length, rows + done * length,
                       (count - done < most ? count - done : most) * length * sizeof *rows);
}

static void filter_set_columns(struct filter *filter, size_t first, size_t count,
                               const uint16_t *rows)
{
    CHECK(filter->plan.resident && first + count <= filter->plan.columns, "columns %zu … %zu",
          first, first + count);
    send_columns(filter, first, count, rows);
}

static bool filter_set_groups(struct filter *filter, const uint32_t *groups, struct error *err)
{
    filter->has_groups = groups;
    if (groups)
        device_copy_in(filter->groups, groups, filter->plan.columns * sizeof *groups);
    return device_check(err);
}

static bool filter_bound(struct filter *filter, const struct filter_queries *queries,
                         const uint16_t *columns, struct error *err)
{
    const struct filter_plan *plan = &filter->plan;
    CHECK(queries->count <= plan->queries, "%zu queries", queries->count);
    CHECK(plan->resident || columns, "no columns");
    CHECK(!queries->group || filter->has_groups, "no groups");
    filter->count = queries->count;
    filter->grouped = queries->group;
    device_copy_in(filter->rows, queries->rows, queries->count * plan->length * sizeof(uint16_t));
    if (queries->group) {
        const uint32_t *avoid = queries->avoid ? queries->avoid : queries->group;
        device_copy_in(filter->group, queries->group, queries->count * sizeof(uint32_t));
        device_copy_in(filter->avoid, avoid, queries->count * sizeof(uint32_t));
    }
    for (size_t begin = 0; begin < plan->columns; begin += plan->block) {
        size_t left = plan->columns - begin;
        if (!plan->resident)
            send_columns(filter, 0, left < plan->block ? left : plan->block,
                         columns + begin * plan->length);
        product_run(filter->product, filter->columns, filter->rows, NULL,
                    (float *)filter->bounds + begin, filter->scratch);
    }
    return device_check(err);
}

/* ---- what is left ------------------------------------------------------------------------------
 */

/* The arguments that all kernels begin with, then those of this one. */
static bool launch(struct filter *filter, const char *name, unsigned across, unsigned queries,
                   void **more, int count, struct error *err)
{
    void *group = filter->grouped ? filter->group : NULL;
    int64_t stride = (int64_t)filter->stride, columns = (int64_t)filter->plan.columns;
    void *arguments[16] = { &filter->bounds, &stride, &columns,
                            &filter->groups, &group,  &filter->avoid };
    CHECK(count <= 10, "%d arguments", count);
    memcpy(arguments + 6, more, (size_t)count * sizeof *more);
    void *function = device_function(program, name, err);
    if (!function)
        return false;
    device_launch(function, (unsigned[2]){ across, queries }, (unsigned[2]){ THREADS, 1 },
                  arguments, 6 + count);
    return device_check(err);
}

static bool filter_best(struct filter *filter, float *values, uint32_t *columns, struct error *err)
{
    int64_t stripes = (int64_t)filter->plan.stripes;
    size_t places = filter->count * filter->plan.stripes;
    if (!launch(filter, "best", (unsigned)((stripes + THREADS - 1) / THREADS),
                (unsigned)filter->count, (void *[]){ &stripes, &filter->values, &filter->ids }, 3,
                err))
        return false;
    device_copy_out(values, filter->values, places * sizeof *values);
    device_copy_out(columns, filter->ids, places * sizeof *columns);
    return device_check(err);
}

static bool filter_count(struct filter *filter, const float *bars, uint64_t *counts,
                         struct error *err)
{
    int64_t chunks = (int64_t)filter->chunks;
    device_copy_in(filter->bars, bars, filter->count * sizeof *bars);
    if (!launch(filter, "count", (unsigned)chunks, (unsigned)filter->count,
                (void *[]){ &filter->bars, &chunks, &filter->counts }, 3, err))
        return false;
    device_copy_out(filter->host_counts, filter->counts,
                    filter->count * filter->chunks * sizeof(uint32_t));
    for (size_t q = 0; q < filter->count; q++) {
        counts[q] = 0;
        for (size_t c = 0; c < filter->chunks; c++)
            counts[q] += filter->host_counts[q * filter->chunks + c];
    }
    return device_check(err);
}

static bool filter_collect(struct filter *filter, size_t first, size_t count,
                           struct filter_pair *pairs, struct error *err)
{
    int64_t chunks = (int64_t)filter->chunks, begin = (int64_t)first;
    const uint32_t *counts = filter->host_counts + first * filter->chunks;
    size_t total = 0, places = count * filter->chunks;
    void *starts = (uint32_t *)filter->counts + filter->plan.queries * filter->chunks;
    CHECK(count && first + count <= filter->count, "queries %zu … %zu", first, first + count);
    for (size_t i = 0; i < places; i++) {
        filter->starts[i] = (uint32_t)total;
        total += counts[i];
    }
    CHECK(total <= filter->plan.pairs, "%zu pairs", total);
    device_copy_in(starts, filter->starts, places * sizeof(uint32_t));
    if (!launch(filter, "collect", (unsigned)chunks, (unsigned)count,
                (void *[]){ &filter->bars, &chunks, &starts, &begin, &filter->pair_ids,
                            &filter->pair_values },
                6, err))
        return false;
    device_copy_out(filter->host_ids, filter->pair_ids, total * sizeof(uint32_t));
    device_copy_out(filter->host_values, filter->pair_values, total * sizeof(float));
    for (size_t i = 0; i < total; i++)
        pairs[i] = (struct filter_pair){ filter->host_ids[i], filter->host_values[i] };
    return device_check(err);
}

static const struct filter_methods cuda_filter = {
    .name = "cuda",
    .plan = filter_plan,
    .open = filter_open,
    .close = filter_close,
    .set_columns = filter_set_columns,
    .set_groups = filter_set_groups,
    .bound = filter_bound,
    .best = filter_best,
    .count = filter_count,
    .collect = filter_collect,
};

const struct filter_methods *cuda_filter_open(int device, struct error *err)
{
    if (!device_open(device, err))
        return NULL;
    if (!device_has_bf16()) {
        error_set(err, "the device has no bf16, which needs compute capability 8.0 or more");
        return NULL;
    }
    const char *source = cuda_filter_source;
    return program || device_compile(&source, 1, &program, err) ? &cuda_filter : NULL;
}
