/* Growing: what a runner keeps when it becomes that of the next stage, what it is shown, what
 * checkpoints of every stage give, and that too little memory is told before the first step. */
#include "scratch.h"

#include "base/parallel.h"
#include "base/random.h"
#include "fixture.h"
#include "tensor/cpu.h"
#include "tensor/device.h"
#include "train/checkpoint.h"
#include "train/generator.h"
#include "train/runner.h"
#include "train/train.h"

#include <math.h>

enum { SIDE = 16, CHANNELS = 2 };

/* The CPU backend, with so much memory. */
static struct backend device;
static size_t memory_limit, memory_taken;

static void *allocate(size_t bytes, const char *what, struct error *err)
{
    size_t *memory = memory_allocate(bytes + 64, 1, what, err);
    if (!memory)
        return NULL;
    memory_taken += *memory = bytes;
    return memory + 64 / sizeof *memory;
}

static void release(void *memory)
{
    if (!memory)
        return;
    size_t *header = (size_t *)memory - 64 / sizeof *header;
    memory_taken -= *header;
    memory_free(header);
}

static size_t available(void)
{
    return memory_taken < memory_limit ? memory_limit - memory_taken : 0;
}

const struct backend *__wrap_device_backend(const char *name, struct error *err);
const struct backend *__wrap_device_backend(const char *name, struct error *err)
{
    (void)name, (void)err;
    device = cpu_backend;
    device.allocate = allocate;
    device.release = release;
    device.available = available;
    return &device;
}

/* 24 images of 4² and then 8² in batches of 8, then 16² in batches of 4. */
static struct train_settings small(void)
{
    struct train_settings settings = fixture_progan();
    memory_limit = SIZE_MAX / 2;
    parallel_set_threads(1);
    settings.batch = 4;
    settings.growth.batch_most = 8;
    settings.growth.stable_kimg = 0.016;
    settings.growth.fade_kimg = 0.012;
    settings.images = 200;
    return settings;
}

static float *random_images(size_t count)
{
    float *real = memory_grow(NULL, count, sizeof *real);
    random_fill_uniform(4, random_stream("real"), 0, count, real);
    return real;
}

static float *values_of(const struct store *store, const char *name, size_t *count)
{
    const struct tensor *tensor = store_find(store, name);
    if (!tensor)
        return NULL;
    *count = shape_count(tensor->shape);
    float *values = memory_grow(NULL, *count, sizeof *values);
    store_read(store, tensor, values);
    return values;
}

static bool is(const struct store *a, const struct store *b, const char *name)
{
    size_t count = 0;
    float *x = values_of(a, name, &count), *y = values_of(b, name, &count);
    bool same = x && y && memcmp(x, y, count * sizeof *x) == 0;
    free(x);
    free(y);
    return same;
}

/* One that was never trained, of the stage of a step. */
static void open_fresh(struct runner *runner, const struct train_settings *settings, uint64_t step)
{
    struct error err;
    assert_ok(runner_init(runner, settings, CHANNELS, SIDE, &err), err);
    assert_ok(runner_move(runner, step, &err) && runner_begin(runner, &err), err);
}

/* What both stages have keeps its bits, what is new begins as in a run that begins there, and
 * optimisers begin anew. */
static void growing_keeps_what_was_learnt_and_forgets_how(void **state)
{
    (void)state;
    struct error err;
    struct runner runner, copy, fresh;
    struct train_settings settings = small();
    float *real = random_images((size_t)8 * CHANNELS * SIDE * SIDE);
    size_t kept = 0, begun = 0, forgotten = 0;
    assert_ok(runner_init(&runner, &settings, CHANNELS, SIDE, &err), err);
    assert_ok(runner_init(&copy, &settings, CHANNELS, SIDE, &err), err);
    assert_ok(runner_begin(&runner, &err) && runner_begin(&copy, &err), err);
    uint64_t step = 0;
    for (; runner_is_for(&runner, step); step++) {
        assert_ok(runner_step(&runner, step, real, NULL, &err), err);
        assert_ok(runner_step(&copy, step, real, NULL, &err), err);
    }
    assert_int_equal(step, 3); /* at 0, 8 and 16 images */
    assert_ok(runner_grow(&runner, step, &err), err);
    assert_true(runner_is_for(&runner, step));
    open_fresh(&fresh, &settings, step);
    for (size_t i = 0; i < store_count(runner.store); i++) {
        const char *name = store_tensor(runner.store, i)->name;
        bool known = store_find(copy.store, name), own = optimiser_owns(name);
        assert_true(is(runner.store, known && !own ? copy.store : fresh.store, name));
        kept += known && !own;
        begun += !known;
        forgotten += known && own && !is(runner.store, copy.store, name);
    }
    print_message("%zu kept, %zu begun, %zu begun anew\n", kept, begun, forgotten);
    assert_true(kept > 10 && begun > 10 && forgotten > 5);
    runner_release(&runner);
    runner_release(&copy);
    runner_release(&fresh);
    free(real);
}

/* Means over squares; while a level fades in, mixed with the means over larger ones. */
static void real_images_are_shown_as_the_stage_makes_them(void **state)
{
    (void)state;
    struct error err;
    struct runner runner;
    struct train_settings settings = small();
    float *real = random_images((size_t)8 * CHANNELS * SIDE * SIDE);
    open_fresh(&runner, &settings, 3);
    const struct training *training = &runner.training;
    assert_int_equal(training->stage.side, 8);
    assert_true(training->stage.fading);
    struct plan *plan =
        plan_create(runner.store, (struct node *const[]){ training->shown }, 1, NULL, 0, &err);
    assert_ok(plan, err);
    static float shown[8 * CHANNELS * 8 * 8];
    for (int tenth = 0; tenth <= 10; tenth += 5) {
        float alpha = (float)tenth / 10;
        plan_write(plan, training->real, real);
        plan_write(plan, training->alpha, &alpha);
        assert_ok(plan_run(plan, 3, 1, &err), err);
        plan_read(plan, training->shown, shown);
        for (int i = 0; i < 8 * CHANNELS; i++)
            for (int y = 0; y < 8; y++)
                for (int x = 0; x < 8; x++) {
                    double fine = 0, coarse = 0;
                    for (int k = 0; k < 4; k++)
                        fine += (double)real[(i * 16 + 2 * y + k / 2) * 16 + 2 * x + k % 2] / 4;
                    for (int k = 0; k < 16; k++)
                        coarse +=
                            (double)real[(i * 16 + y / 2 * 4 + k / 4) * 16 + x / 2 * 4 + k % 4] /
                            16;
                    assert_float_equal(shown[(i * 8 + y) * 8 + x],
                                       coarse + (double)alpha * (fine - coarse), 1e-6);
                }
    }
    plan_free(plan);
    runner_release(&runner);
    free(real);
}

static void write_store(void)
{
    struct error err;
    struct fixture fixture = { .count = 12, .channels = CHANNELS, .height = SIDE, .width = SIDE };
    assert_ok(fixture_write(&fixture, scratch("store"), &err), err);
}

/* The image of a checkpoint has the full size; each pixel of the side that it has grown to is
 * repeated. */
static void checkpoints_of_every_stage_give_images_of_full_size(void **state)
{
    (void)state;
    struct error err;
    struct train_report report;
    struct train_settings settings = small();
    static float images[GENERATOR_BATCH * CHANNELS * SIDE * SIDE];
    settings.checkpoint = 1;
    settings.keep = 1000;
    settings.images = 90;
    write_store();
    struct train_job job = { scratch("store"), scratch("run"), &settings };
    assert_ok(train(&job, &report, &err), err);
    struct growth growth = {
        .first = 4, .size = SIDE, .stable = 16, .fade = 12, .batch = 4, .batch_most = 8
    };
    for (uint64_t step = 1; step <= report.step; step++) {
        char path[64];
        struct draw_options options = { .seed = 1, .truncation = 1, .device = "any" };
        snprintf(path, sizeof path, "run/checkpoints/step-%012d.safetensors", (int)step);
        struct generator *generator = generator_open(scratch(path), &options, &err);
        assert_ok(generator, err);
        int side = growth_stage(&growth, step - 1).side, by = SIDE / side;
        assert_int_equal(generator_format(generator)->side, side);
        assert_ok(generator_draw(generator, 0, images, &err), err);
        for (int i = 0; i < GENERATOR_BATCH * CHANNELS; i++)
            for (int y = 0; y < SIDE; y++)
                for (int x = 0; x < SIDE; x++)
                    assert_true(images[(i * SIDE + y) * SIDE + x] ==
                                images[(i * SIDE + y / by * by) * SIDE + x / by * by]);
        generator_free(generator);
    }
    const char *path;
    struct arena arena;
    arena_init(&arena);
    assert_ok(train_checkpoint(scratch("run"), 17, &arena, &path, &err), err);
    assert_contains(path, "step-000000000003.safetensors");
    assert_false(train_checkpoint(scratch("run"), 1000, &arena, &path, &err));
    assert_contains(err.message, "it was trained on ");
    arena_release(&arena);
}

/* In as many steps, on as many images. */
static void batches_in_parts_grow_too(void **state)
{
    (void)state;
    struct error err;
    struct train_report whole, parts;
    struct train_settings settings = small();
    settings.images = 90;
    settings.samples = 0;
    write_store();
    struct train_job job = { scratch("store"), scratch("whole"), &settings };
    assert_ok(train(&job, &whole, &err), err);
    settings.accumulate = 2;
    job.out = scratch("parts");
    assert_ok(train(&job, &parts, &err), err);
    assert_int_equal(parts.step, whole.step);
    assert_int_equal(parts.images, whole.images);
}

/* Whatever memory there is: where a run may begin, all its stages can be made. */
static void a_run_that_begins_has_memory_for_all_its_stages(void **state)
{
    (void)state;
    int told = 0, begun = 0;
    struct train_settings settings = small();
    for (size_t kib = 16; kib < 4096; kib += kib / 8) {
        struct error err;
        struct runner runner;
        memory_limit = kib * 1024;
        if (!runner_init(&runner, &settings, CHANNELS, SIDE, &err)) {
            told += strstr(err.message, "when it has grown to the side 16") != NULL;
            continue;
        }
        begun++;
        struct stage stage = growth_stage(&runner.training.growth, 0);
        while (growth_next(&runner.training.growth, &stage))
            assert_ok(runner_move(&runner, stage.step, &err), err);
        runner_release(&runner);
        assert_int_equal(memory_taken, 0);
    }
    assert_true(told > 0 && begun > 0);
}

static void what_cannot_grow_so_is_refused(void **state)
{
    (void)state;
    static const struct {
        int size, first_side, batch, accumulate;
        const char *message;
    } rows[] = {
        { 24, 0, 4, 1, "images of side 24; it takes a power of 2" },
        { 16, 32, 4, 1, "first_side 32; it begins with a power of 2 from 4 to 16" },
        { 16, 6, 4, 1, "first_side 6;" },
        { 16, 0, 6, 4, "a batch of 6" },
        { 16, 0, 6, 1, "the group of the minibatch standard deviation" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct error err;
        struct runner runner;
        struct train_settings settings = small();
        settings.growth.first_side = rows[i].first_side;
        settings.batch = rows[i].batch;
        settings.accumulate = rows[i].accumulate;
        assert_false(runner_init(&runner, &settings, CHANNELS, rows[i].size, &err));
        assert_contains(err.message, rows[i].message);
    }
}

#define IN_SCRATCH(name) cmocka_unit_test_setup_teardown(name, scratch_make, scratch_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(growing_keeps_what_was_learnt_and_forgets_how),
        cmocka_unit_test(real_images_are_shown_as_the_stage_makes_them),
        IN_SCRATCH(checkpoints_of_every_stage_give_images_of_full_size),
        IN_SCRATCH(batches_in_parts_grow_too),
        cmocka_unit_test(a_run_that_begins_has_memory_for_all_its_stages),
        cmocka_unit_test(what_cannot_grow_so_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
