/* What cuDNN has for the convolutions of the benchmark models' training steps, and for attention in
 * networks that are only run, on devices that are not here: it chooses, and builds what it would
 * run, from a device's properties alone (since 9.8).
 *
 * What matrix.c asks for passes through here on its way to cudnn.c, so that each convolution is
 * asked for once, and what came of it is known: in which way it was found, on which kind of engine.
 */
#include "test.h"

#include "case.h"
#include "cuda/backend.h"
#include "cuda/context.h"
#include "cuda/device.h"
#include "cuda/libraries.h"

#include "base/arena.h"
#include "models/ddpm.h"

#include <stdlib.h>
#include <string.h>

enum { RECORDS = 2048, MATRIX_CHANNELS = 16 };

/* As cuDNN itself writes them; only the driver's number is ours, that of CUDA 13. */
#define PROPERTIES(name, version, processors, shared, cache, clock, memory_clock)                  \
    "{\"deviceName\":\"" name "\",\"deviceVer\":" version ",\"multiProcessorCount\":" processors   \
    ",\"maxSharedMemoryPerBlockOptin\":" shared ",\"l2CacheSize\":" cache                          \
    ",\"smClockRateKHz\":" clock ",\"memClockRateKHz\":" memory_clock                              \
    ",\"maxGridSize\":[2147483647,65535,65535],\"maxBlockSize\":[1024,1024,64]"                    \
    ",\"regsPerBlock\":65536,\"warpSize\":32,\"maxSharedMemoryPerBlock\":49152"                    \
    ",\"reservedSharedMemoryPerBlock\":1024,\"maxRegistersPerSM\":65536,\"maxCtasPerSM\":32"       \
    ",\"maxThreadsPerBlock\":1024,\"maxThreadsPerSM\":2048,\"pciDeviceId\":0,\"isTccDriver\":0"    \
    ",\"supportCoopLaunch\":1,\"totalGlobalMem\":85017493504,\"cudaDeviceId\":0"                   \
    ",\"driverVer\":13000}"
static const char h100[] =
    PROPERTIES("NVIDIA H100 80GB HBM3", "900", "132", "232448", "52428800", "1980000", "2619000");
static const char a100[] =
    PROPERTIES("NVIDIA A100-SXM4-80GB", "800", "108", "166912", "41943040", "1410000", "1593000");

/* ---- what was asked for ---------------------------------------------------------------------- */

/* A convolution as it was asked for once, in one of matrix.c's ways. */
struct record {
    struct convolution asked;
    bool found;
    void *state;
    size_t scratch;
    size_t timed; /* how often it was run, as if, to find the fastest */
};

static struct record records[RECORDS];
static size_t record_count;
static size_t timings; /* so far, of all */

static bool same_shapes(const struct convolution *a, const struct convolution *b)
{
    return a->op == b->op && a->dtype == b->dtype && shape_equal(a->image, b->image) &&
           shape_equal(a->weight, b->weight) && shape_equal(a->output, b->output) &&
           memcmp(&a->geometry, &b->geometry, sizeof a->geometry) == 0;
}

static bool same_way(const struct convolution *a, const struct convolution *b)
{
    return a->result_dtype == b->result_dtype && a->planar == b->planar &&
           a->rounded == b->rounded && a->fastest == b->fastest;
}

bool __real_convolution_prepare(const struct convolution *asked, void **state, size_t *scratch,
                                struct error *err);
bool __wrap_convolution_prepare(const struct convolution *asked, void **state, size_t *scratch,
                                struct error *err);
void __real_convolution_dispose(void *state);
void __wrap_convolution_dispose(void *state);

bool __wrap_convolution_prepare(const struct convolution *asked, void **state, size_t *scratch,
                                struct error *err)
{
    struct record *record = records;
    while (record < records + record_count &&
           !(same_shapes(&record->asked, asked) && same_way(&record->asked, asked)))
        record++;
    if (record == records + record_count) {
        assert_true(record_count < RECORDS);
        record_count++;
        record->asked = *asked;
        size_t before = timings;
        record->found = __real_convolution_prepare(asked, &record->state, &record->scratch, err);
        record->timed = timings - before;
        if (!record->found && err->message[0])
            fail_msg("%s", err->message);
    }
    *state = record->state;
    *scratch = record->scratch;
    return record->found;
}

void __wrap_convolution_dispose(void *state)
{
    (void)state; /* the record's */
}

static void forget_records(void)
{
    for (size_t i = 0; i < record_count; i++)
        if (records[i].found)
            __real_convolution_dispose(records[i].state);
    memset(records, 0, sizeof records);
    record_count = 0;
}

/* ---- the rest of a device -------------------------------------------------------------------- */

bool device_compile(const char *const *sources, size_t count, struct program **programs,
                    struct error *err)
{
    (void)sources, (void)err;
    for (size_t i = 0; i < count; i++)
        programs[i] = memory_grow(NULL, 1, 1);
    return true;
}

void device_launch(void *function, const unsigned blocks[2], const unsigned threads[2],
                   void **arguments, int count)
{
    (void)function, (void)blocks, (void)threads, (void)arguments, (void)count;
    fail_msg("nothing is run here");
}

/* What is timed is not run, but takes less time each time: the last is always the fastest. */
bool device_time(bool (*work)(void *context), void *context, double *seconds)
{
    (void)work, (void)context;
    *seconds = 1 / (double)++timings;
    return true;
}

void *context_stream(void)
{
    return NULL;
}

bool context_tf32(void)
{
    return false;
}

/* ---- what came of it ------------------------------------------------------------------------- */

static double work_of(const struct convolution *c)
{
    return (double)shape_count(c->output) * (double)shape_count(c->weight) /
           (double)c->weight.size[0];
}

static void refuse(const struct convolution *c, const char *why)
{
    char image[SHAPE_TEXT], weight[SHAPE_TEXT], output[SHAPE_TEXT];
    fail_msg("%s of image %s, weights %s, output %s in %s: %s", ops[c->op].name,
             shape_text(c->image, image), shape_text(c->weight, weight),
             shape_text(c->output, output), dtype_name(c->dtype), why);
}

/* Layers of so few channels leave tensor cores nothing to do. */
static bool is_wide(const struct convolution *c)
{
    return c->weight.size[0] >= MATRIX_CHANNELS && c->weight.size[1] >= MATRIX_CHANNELS;
}

struct sums {
    int asked, again, planar, rounded; /* again: in another way, after the first was refused */
    double work, tensor_work;          /* of wide layers */
};

static void check_engine(const struct record *record, struct sums *sums)
{
    const struct convolution *c = &record->asked;
    struct library_engine engine = library_engine(record->state);
    if (!engine.repeats)
        refuse(c, "an engine that does not repeat its bits");
    if (engine.rounds || (c->dtype == DTYPE_F32 && engine.tensor_cores && !c->rounded))
        refuse(c, "an engine that rounds more than was asked for");
    sums->planar += c->planar;
    sums->rounded += c->rounded;
    sums->work += is_wide(c) ? work_of(c) : 0;
    sums->tensor_work += is_wide(c) && engine.tensor_cores ? work_of(c) : 0;
}

/* matrix.c asks until a way is found, so where none was, the last record of the shapes says no. */
static struct sums check_records(void)
{
    struct sums sums = { 0 };
    for (size_t i = 0; i < record_count; i++) {
        bool first = true, found = false;
        for (size_t k = 0; k < record_count; k++)
            if (same_shapes(&records[k].asked, &records[i].asked)) {
                first = first && k >= i;
                found = found || records[k].found;
            }
        if (!found)
            refuse(&records[i].asked, "the library has none");
        sums.asked += first;
        sums.again += !records[i].found;
        if (records[i].found)
            check_engine(&records[i], &sums);
    }
    return sums;
}

static void plan_phases(const char *name, enum precision precision, enum algorithms algorithms)
{
    struct error err;
    struct parity_case of;
    struct case_options options = { .path = strcmp(name, "stylegan2") == 0 };
    struct store *store = store_new(cuda_backend_open(0, &err));
    assert_ok(case_open_usual(&of, name, CASE_LARGE, &options, &err), err);
    assert_ok(store_set_precision(store, precision, &err), err);
    store_set_algorithms(store, algorithms);
    for (int i = 0; i < of.training.phase_count; i++) {
        struct plan *plan = training_plan(&of.training, i, store, &err);
        assert_ok(plan, err);
        plan_free(plan);
    }
    case_close(&of);
    store_free(store);
}

static void check_model(const char *name, enum precision precision)
{
    plan_phases(name, precision, ALGORITHMS_DETERMINISTIC);
    struct sums sums = check_records();
    forget_records();
    assert_int_equal(timings, 0);
    print_message("%-9s %-4s %3d convolutions; %d not as first asked for, %d in planes, %d in "
                  "TF32; %.1f %% of the wide ones' work on tensor cores\n",
                  name, precision == PRECISION_BF16 ? "bf16" : "f32", sums.asked, sums.again,
                  sums.planar, sums.rounded,
                  sums.work > 0 ? 100 * sums.tensor_work / sums.work : 0);
    assert_true(sums.asked > 20);
    assert_int_equal(sums.again, 0);
    assert_int_equal(sums.planar + sums.rounded, 0);
    if (precision == PRECISION_BF16)
        assert_true(sums.tensor_work > 0.98 * sums.work);
    else
        assert_true(sums.tensor_work == 0);
}

static void check_device(const char *properties)
{
    static const char *const models[] = { "unet", "swin", "ddpm", "stylegan2" };
    struct error err;
    assert_ok(library_for_absent(properties, &err), err);
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        check_model(models[i], PRECISION_BF16);
        check_model(models[i], PRECISION_F32);
    }
}

/* ---- attention ------------------------------------------------------------------------------- */

struct attention_record {
    struct heads asked;
    struct library_engine engine;
};

static struct attention_record attentions[RECORDS];
static size_t attention_count;

bool __real_attention_prepare(const struct heads *asked, void **state, size_t *scratch,
                              struct error *err);
bool __wrap_attention_prepare(const struct heads *asked, void **state, size_t *scratch,
                              struct error *err);
void __real_attention_dispose(void *state);
void __wrap_attention_dispose(void *state);

bool __wrap_attention_prepare(const struct heads *asked, void **state, size_t *scratch,
                              struct error *err)
{
    struct attention_record *record = &attentions[attention_count];
    assert_true(attention_count < RECORDS);
    record->asked = *asked;
    if (!__real_attention_prepare(asked, state, scratch, err))
        fail_msg("%d heads of %d × %d: the library has none", (int)(asked->groups * asked->heads),
                 (int)asked->tokens, (int)asked->width);
    record->engine = library_engine(*state);
    attention_count++;
    return true;
}

void __wrap_attention_dispose(void *state)
{
    __real_attention_dispose(state);
}

/* What sampling runs: the network of 256² in bf16. */
static void plan_sampling(void)
{
    const struct ddpm ddpm = { .size = 256,
                               .channels = 5,
                               .base = 128,
                               .levels = 6,
                               .mult = { 1, 1, 2, 2, 4, 4 },
                               .blocks = 2,
                               .attention = { 16, 8 },
                               .heads = 4 };
    struct error err;
    struct graph *graph = graph_new();
    struct node *x = t_input(graph, "x", DTYPE_F32, SHAPE(4, 5, 256, 256));
    struct node *epsilon = ddpm_build(&ddpm, x, t_input(graph, "t", DTYPE_F32, SHAPE(4)));
    struct store *store = store_new(cuda_backend_open(0, &err));
    assert_ok(store_set_precision(store, PRECISION_BF16, &err), err);
    struct plan *plan = plan_create(store, &epsilon, 1, NULL, 0, &err);
    assert_ok(plan, err);
    plan_free(plan);
    store_free(store);
    graph_free(graph);
    forget_records();
}

static void check_attention(const char *properties)
{
    enum { ATTENTIONS = 11 }; /* two blocks down, three up at both sizes, and the middle */
    struct error err;
    assert_ok(library_for_absent(properties, &err), err);
    attention_count = 0;
    plan_sampling();
    assert_int_equal(attention_count, ATTENTIONS);
    for (size_t i = 0; i < attention_count; i++) {
        const struct attention_record *record = &attentions[i];
        assert_int_equal(record->asked.groups * record->asked.heads, 16);
        assert_int_equal(record->asked.width, 128);
        assert_true(record->engine.repeats && record->engine.tensor_cores);
        assert_false(record->engine.rounds);
    }
}

static void attention_has_a_repeatable_engine_on_both(void **state)
{
    (void)state;
    check_attention(h100);
    check_attention(a100);
}

/* ---- devices --------------------------------------------------------------------------------- */

static void an_h100_has_a_fast_engine_for_each_convolution(void **state)
{
    (void)state;
    check_device(h100);
}

static void an_a100_has_a_fast_engine_for_each_convolution(void **state)
{
    (void)state;
    check_device(a100);
}

/* The fastest of what is proposed. */

/* Each a run that does not count and five that do. */
enum { RUNS = 6, WAYS = 8 };

struct choice {
    struct convolution asked;
    struct library_engine engine;
    bool found;
};

static size_t take_choices(struct choice choices[RECORDS])
{
    for (size_t i = 0; i < record_count; i++) {
        choices[i] = (struct choice){ .asked = records[i].asked, .found = records[i].found };
        if (records[i].found)
            choices[i].engine = library_engine(records[i].state);
    }
    size_t count = record_count;
    forget_records();
    return count;
}

/* How many were chosen among several, on how many tensor cores are used, and how many are done by
 * another engine than that which is taken where bits are to repeat. */
struct choosing {
    int asked, measured, tensor_cores, others;
    size_t ways;
};

static void check_choice(const struct record *record, struct choosing *sums)
{
    const struct convolution *c = &record->asked;
    struct convolution repeatable = *c;
    struct error err;
    void *state;
    size_t scratch;
    struct library_engine engine = library_engine(record->state);
    if (engine.rounds)
        refuse(c, "an engine that rounds more than TF32");
    assert_int_equal(record->timed % RUNS, 0);
    assert_in_range(record->timed, 0, WAYS * RUNS);
    repeatable.fastest = false;
    if (!__real_convolution_prepare(&repeatable, &state, &scratch, &err))
        return;
    sums->others += library_engine(state).number != engine.number;
    __real_convolution_dispose(state);
    sums->asked++;
    sums->measured += record->timed > 0;
    sums->tensor_cores += engine.tensor_cores;
    sums->ways += record->timed / RUNS;
}

static void check_fastest(const char *name, enum precision precision)
{
    static struct choice first[RECORDS], again[RECORDS];
    struct choosing sums = { 0 };
    plan_phases(name, precision, ALGORITHMS_FASTEST);
    for (size_t i = 0; i < record_count; i++)
        if (records[i].found)
            check_choice(&records[i], &sums);
    size_t count = take_choices(first), before = timings;
    print_message(
        "%-9s %-4s %3d convolutions; %d were chosen among several, of %.1f on average; %d "
        "use tensor cores, %d other engines than deterministic ones\n",
        name, precision == PRECISION_BF16 ? "bf16" : "f32", sums.asked, sums.measured,
        (double)sums.ways / (double)sums.measured, sums.tensor_cores, sums.others);
    assert_true(2 * sums.measured > sums.asked);
    assert_true(sums.others > 0); /* in bf16 it is often the same one, set up otherwise */
    assert_true(2 * sums.tensor_cores > sums.asked); /* TF32 too */
    plan_phases(name, precision, ALGORITHMS_FASTEST);
    assert_int_equal(timings, before); /* all is known */
    assert_int_equal(take_choices(again), count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(first[i].found, again[i].found);
        assert_int_equal(first[i].engine.number, again[i].engine.number);
    }
}

static void the_fastest_is_measured_once_and_kept(void **state)
{
    (void)state;
    struct error err;
    assert_ok(library_for_absent(h100, &err), err);
    check_fastest("unet", PRECISION_F32);
    check_fastest("ddpm", PRECISION_BF16);
    check_fastest("stylegan2", PRECISION_F32);
}

/* Where cuDNN cannot tell of a device that is not there, nothing was tested, and nothing passed. */
int main(void)
{
    enum { SKIPPED = 77 };
    struct error err;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_h100_has_a_fast_engine_for_each_convolution),
        cmocka_unit_test(an_a100_has_a_fast_engine_for_each_convolution),
        cmocka_unit_test(attention_has_a_repeatable_engine_on_both),
        cmocka_unit_test(the_fastest_is_measured_once_and_kept),
    };
    if (!library_for_absent(h100, &err)) {
        print_message("skipped: %s\n", err.message);
        return SKIPPED;
    }
    return cmocka_run_group_tests_name("tensor/cuda_engines", tests, NULL, NULL);
}
