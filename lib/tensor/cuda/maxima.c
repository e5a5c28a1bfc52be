/* Maxima of products by one kernel; see tensor/maxima.h.
 *
 * A block of threads multiplies up to 64 queries with a run of 64 columns, each thread 4 with 4,
 * as rows of 32 numbers pass through shared memory; what comes of it never leaves the block, but
 * for the 64 maxima. So a search writes a 64th of a product of the same shape, and no library is
 * asked. Threads whose queries there are none of only help to load. */
#include "cuda/maxima.h"

#include "base/arena.h"
#include "cuda/device.h"

#include <string.h>

enum {
    SIDE = 16,       /* threads of a block along either axis */
    RUNS_EACH = 8,   /* that a block goes through: queries' places are read once */
    PIECE = 8 << 20, /* bytes of columns in one copy */
    ITEM_NUMBERS = sizeof(struct maxima_item) / sizeof(uint64_t),
    ITEMS_MOST = 65535, /* blocks along the second axis of a grid */
};

const char cuda_maxima_source[] =
    "typedef unsigned int u32; typedef long long i64;\n"
    "#define RUN 64\n#define STEP 32\n#define LEAD 68\n#define SIDE 16\n#define RUNS_EACH 8\n"
    "struct place { int y, x; u32 group, apart; };\n"
    "static __device__ __forceinline__ bool counts(const place &q, const place &c, i64 reach)\n"
    "{\n"
    "    i64 y = (i64)q.y - c.y, x = (i64)q.x - c.x;\n"
    "    return y <= reach && -y <= reach && x <= reach && -x <= reach &&\n"
    "           !(q.apart && q.group == c.group);\n"
    "}\n"
    /* numbers [k, k + STEP) of rows [first, end), turned; zeros beyond what there is */
    "static __device__ __forceinline__ void load(const float *rows, i64 first, i64 end, i64 k,\n"
    "    i64 length, u32 thread, float (*to)[LEAD])\n"
    "{\n"
    "    for (u32 e = thread; e < RUN * STEP; e += SIDE * SIDE) {\n"
    "        i64 row = first + e / STEP, at = k + e % STEP;\n"
    "        to[e % STEP][e / STEP] = row < end && at < length ? rows[row * length + at] : 0.0f;\n"
    "    }\n"
    "}\n"
    "extern \"C\" __global__ void __launch_bounds__(256) maxima(const float *rows, const place *places,\n"
    "    const float *columns, const place *column_places, i64 begin, i64 end, const i64 *items,\n"
    "    i64 length, i64 reach, float *values)\n"
    "{\n"
    "    __shared__ __align__(16) float x[STEP][LEAD], y[STEP][LEAD];\n"
    "    __shared__ float largest[RUN][SIDE + 1];\n"
    "    const i64 *item = items + 5 * (i64)blockIdx.y, query = item[0], queries = item[1],\n"
    "              runs = item[3], first = (i64)blockIdx.x * RUNS_EACH;\n"
    "    const u32 tx = threadIdx.x, ty = threadIdx.y, thread = ty * SIDE + tx;\n"
    "    const float none = -__int_as_float(0x7f800000);\n"
    "    place mine[4];\n"
    "    for (int i = 0; i < 4; i++)\n"
    "        if (4 * ty + i < queries) mine[i] = places[query + 4 * ty + i];\n"
    "    for (i64 r = first; r < first + RUNS_EACH && r < runs; r++) {\n"
    "        i64 column = (item[2] + r) * RUN, last = column + RUN < end ? column + RUN : end;\n"
    "        if (column < begin || column >= end) continue;\n"
    "        float sum[4][4];\n"
    "        for (int i = 0; i < 4; i++)\n"
    "            for (int j = 0; j < 4; j++) sum[i][j] = 0.0f;\n"
    "        for (i64 k = 0; k < length; k += STEP) {\n"
    "            load(rows, query, query + queries, k, length, thread, x);\n"
    "            load(columns, column - begin, last - begin, k, length, thread, y);\n"
    "            __syncthreads();\n"
    "            if (4 * ty < queries)\n"
    "                for (int s = 0; s < STEP; s++)\n"
    "                    for (int i = 0; i < 4; i++)\n"
    "                        for (int j = 0; j < 4; j++)\n"
    "                            sum[i][j] += x[s][4 * ty + i] * y[s][4 * tx + j];\n"
    "            __syncthreads();\n"
    "        }\n"
    "        for (int i = 0; i < 4; i++) {\n"
    "            float most = none;\n"
    "            for (int j = 0; j < 4 && 4 * ty + i < queries && column + 4 * tx + j < last; j++) {\n"
    "                place other = column_places[column - begin + 4 * tx + j];\n"
    "                if (counts(mine[i], other, reach) && sum[i][j] > most) most = sum[i][j];\n"
    "            }\n"
    "            largest[4 * ty + i][tx] = most;\n"
    "        }\n"
    "        __syncthreads();\n"
    "        if (thread < queries) {\n"
    "            float most = none;\n"
    "            for (int t = 0; t < SIDE; t++)\n"
    "                most = largest[thread][t] > most ? largest[thread][t] : most;\n"
    "            values[item[4] + (i64)thread * runs + r] = most;\n"
    "        }\n"
    "        __syncthreads();\n"
    "    }\n"
    "}\n";

static struct program *program; /* one for the process, as the device is */

struct maxima {
    struct maxima_plan plan;
    void *columns, *column_places, *rows, *places, *items, *values;
};

static size_t round_up(size_t value, size_t unit)
{
    return (value + unit - 1) / unit * unit;
}

/* ---- memory ------------------------------------------------------------------------------------
 */

static size_t row_bytes(size_t length)
{
    return length * sizeof(float) + sizeof(struct maxima_place);
}

/* Bytes for what must be asked at once. */
static size_t question_bytes(const struct maxima_size *size)
{
    return size->queries * row_bytes(size->length) + size->values * sizeof(float) +
           size->items * sizeof(struct maxima_item);
}

static bool maxima_plan(const struct maxima_size *size, struct maxima_plan *plan, struct error *err)
{
    size_t all = round_up(size->columns, MAXIMA_RUN), each = row_bytes(size->length),
           question = question_bytes(size), block = all,
           memory = size->memory ? size->memory : device_available() / 10 * 9;
    CHECK(size->columns && size->length && size->queries && size->times && size->items &&
              size->items <= ITEMS_MOST,
          "%zu columns of length %zu, %zu queries in %zu items", size->columns, size->length,
          size->queries, size->items);
    while (block * each + question > memory && block > MAXIMA_RUN)
        block = round_up(block / 2, MAXIMA_RUN);
    if (block * each + question > memory)
        return error_set(err,
                         "%zu rows of %zu numbers are to be searched; this takes %.1f MB of the "
                         "device's memory at least, %.1f MB may be used",
                         size->columns, size->length, (double)(block * each + question) / 1e6,
                         (double)memory / 1e6);
    size_t times = (memory - block * each) / question, items = ITEMS_MOST / size->items;
    times = times < size->times ? times : size->times;
    times = times > items ? items : times;
    *plan = (struct maxima_plan){ .columns = size->columns,
                                  .length = size->length,
                                  .reach = size->reach,
                                  .queries = times * size->queries,
                                  .values = times * size->values,
                                  .items = times * size->items,
                                  .times = times,
                                  .block = block,
                                  .resident = block == all,
                                  .bytes = block * each + times * question };
    return true;
}

static void maxima_close(struct maxima *maxima)
{
    if (!maxima)
        return;
    void *const memory[] = { maxima->columns, maxima->column_places, maxima->rows,
                             maxima->places,  maxima->items,         maxima->values };
    for (size_t i = 0; i < sizeof memory / sizeof *memory; i++)
        device_release(memory[i]);
    memory_free(maxima);
}

static struct maxima *maxima_open(const struct maxima_plan *plan, struct error *err)
{
    struct maxima *maxima = memory_allocate(1, sizeof *maxima, "a search for maxima", err);
    if (!maxima)
        return NULL;
    *maxima = (struct maxima){ .plan = *plan };
    const size_t place = sizeof(struct maxima_place), row = plan->length * sizeof(float);
    const struct {
        void **memory;
        size_t bytes;
        const char *what;
    } needed[] = {
        { &maxima->columns, plan->block * row, "rows to be searched" },
        { &maxima->column_places, plan->block * place, "places of rows" },
        { &maxima->rows, plan->queries * row, "rows that are asked for" },
        { &maxima->places, plan->queries * place, "places of rows" },
        { &maxima->items, plan->items * sizeof(struct maxima_item), "what is asked" },
        { &maxima->values, plan->values * sizeof(float), "maxima" },
    };
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        if (!(*needed[i].memory = device_allocate(needed[i].bytes, needed[i].what, err))) {
            maxima_close(maxima);
            return NULL;
        }
    return maxima;
}

/* ---- maxima ------------------------------------------------------------------------------------
 */

static void send(void *to, const void *from, size_t bytes)
{
    for (size_t done = 0; done < bytes; done += PIECE)
        device_copy_in((char *)to + done, (const char *)from + done,
                       bytes - done < PIECE ? bytes - done : PIECE);
}

static void send_block(struct maxima *maxima, const struct maxima_columns *columns, size_t begin)
{
    const struct maxima_plan *plan = &maxima->plan;
    size_t left = plan->columns - begin, count = left < plan->block ? left : plan->block;
    send(maxima->columns, columns->rows + begin * plan->length,
         count * plan->length * sizeof *columns->rows);
    send(maxima->column_places, columns->places + begin, count * sizeof *columns->places);
}

static void maxima_set_columns(struct maxima *maxima, const struct maxima_columns *columns)
{
    CHECK(maxima->plan.resident, "columns that do not stay");
    send_block(maxima, columns, 0);
}

static void check_items(const struct maxima_plan *plan, const struct maxima_question *question)
{
    size_t all = (plan->columns + MAXIMA_RUN - 1) / MAXIMA_RUN;
    CHECK(question->queries <= plan->queries && question->items <= plan->items &&
              question->values <= plan->values,
          "%zu queries, %zu items, %zu values", question->queries, question->items,
          question->values);
    for (size_t i = 0; i < question->items; i++) {
        const struct maxima_item *item = &question->item[i];
        CHECK(item->queries <= MAXIMA_GROUP && item->query + item->queries <= question->queries &&
                  item->run + item->runs <= all &&
                  item->value + item->queries * item->runs <= question->values,
              "item %zu of %zu", i, question->items);
    }
}

/* The columns that are on the device, [begin, end), with all items. */
static bool launch(struct maxima *maxima, const struct maxima_question *question, size_t begin,
                   struct error *err)
{
    const struct maxima_plan *plan = &maxima->plan;
    size_t most = 0, last = begin + plan->block;
    for (size_t i = 0; i < question->items; i++)
        most = question->item[i].runs > most ? question->item[i].runs : most;
    if (!most)
        return true;
    int64_t from = (int64_t)begin, end = (int64_t)(last < plan->columns ? last : plan->columns),
            length = (int64_t)plan->length, reach = (int64_t)plan->reach;
    void *arguments[] = { &maxima->rows,          &maxima->places, &maxima->columns,
                          &maxima->column_places, &from,           &end,
                          &maxima->items,         &length,         &reach,
                          &maxima->values };
    void *function = device_function(program, "maxima", err);
    if (!function)
        return false;
    device_launch(
        function,
        (unsigned[2]){ (unsigned)((most + RUNS_EACH - 1) / RUNS_EACH), (unsigned)question->items },
        (unsigned[2]){ SIDE, SIDE }, arguments, sizeof arguments / sizeof *arguments);
    return device_check(err);
}

static bool maxima_find(struct maxima *maxima, const struct maxima_question *question,
                        const struct maxima_columns *columns, float *values, struct error *err)
{
    const struct maxima_plan *plan = &maxima->plan;
    check_items(plan, question);
    if (!question->items)
        return true;
    send(maxima->rows, question->rows, question->queries * plan->length * sizeof *question->rows);
    send(maxima->places, question->places, question->queries * sizeof *question->places);
    send(maxima->items, question->item, question->items * sizeof *question->item);
    for (size_t begin = 0; begin < plan->columns; begin += plan->block) {
        if (!plan->resident)
            send_block(maxima, columns, begin);
        if (!launch(maxima, question, begin, err))
            return false;
    }
    device_copy_out(values, maxima->values, question->values * sizeof *values);
    return device_check(err);
}

static const struct maxima_methods cuda_maxima = {
    .name = "cuda",
    .plan = maxima_plan,
    .open = maxima_open,
    .close = maxima_close,
    .set_columns = maxima_set_columns,
    .find = maxima_find,
};

const struct maxima_methods *cuda_maxima_open(int device, struct error *err)
{
    _Static_assert(ITEM_NUMBERS == 5, "as the kernel reads items");
    const char *source = cuda_maxima_source;
    if (!device_open(device, err))
        return NULL;
    return program || device_compile(&source, 1, &program, err) ? &cuda_maxima : NULL;
}
