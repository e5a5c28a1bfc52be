/* A device that fails while the host goes on: plan_run has returned by then, and what is read is
 * nothing. No step, no image and no checkpoint may be made of it.
 */
#include "scratch.h"

#include "base/parallel.h"
#include "fixture.h"
#include "tensor/cpu.h"
#include "tensor/device.h"
#include "train/checkpoint.h"
#include "train/generator.h"
#include "train/runner.h"
#include "train/train.h"

enum { SIDE = 8, CHANNELS = 2, BATCH = 4 };

/* The CPU backend, which fails when it is read `good` more times. */
static struct backend device;
static int good;

static void read_or_fail(void *host, const void *memory, enum dtype dtype, size_t count)
{
    if (good-- > 0)
        cpu_backend.copy_out(host, memory, dtype, count);
}

static bool is_well(struct error *err)
{
    return good >= 0 || error_set(err, "the device has failed");
}

const struct backend *__wrap_device_backend(const char *name, struct error *err);
const struct backend *__wrap_device_backend(const char *name, struct error *err)
{
    (void)name, (void)err;
    device = cpu_backend;
    device.copy_out = read_or_fail;
    device.finish = is_well;
    return &device;
}

enum { MANY = 1 << 20 };

static struct train_settings small(void)
{
    struct train_settings settings = fixture_ddpm();
    settings.batch = BATCH;
    settings.images = 3 * BATCH;
    settings.ddpm.steps = 50;
    return settings;
}

static void train_some(struct train_settings *settings)
{
    struct error err;
    struct train_report report;
    struct fixture fixture = {
        .count = 12, .channels = CHANNELS, .height = SIDE, .width = SIDE, .masks = 1
    };
    assert_ok(fixture_write(&fixture, scratch("store"), &err), err);
    struct train_job job = { scratch("store"), scratch("run"), settings };
    good = MANY;
    parallel_set_threads(1); /* small: threads only wait for each other */
    assert_ok(train(&job, &report, &err), err);
}

static void a_step_whose_losses_cannot_be_read_fails(void **state)
{
    (void)state;
    struct error err;
    struct runner runner;
    struct train_settings settings = small();
    float images[BATCH * CHANNELS * SIDE * SIDE] = { 0 };
    good = MANY;
    assert_ok(train_settings_resolve(&settings, SIDE, &err), err);
    assert_ok(runner_init(&runner, &settings, CHANNELS, SIDE, &err), err);
    assert_ok(runner_begin(&runner, &err), err);
    assert_ok(runner_step(&runner, 0, images, NULL, &err), err);
    good = 0;
    assert_false(runner_step(&runner, 1, images, NULL, &err));
    assert_contains(err.message, "the device has failed");
    runner_release(&runner);
}

static void no_checkpoint_is_made_of_a_device_that_failed(void **state)
{
    (void)state;
    struct error err;
    struct checkpoint_record record = { .step = 1, .settings = "", .dataset = "", .channels = "" };
    struct store *store = store_new(device_backend("any", &err));
    float value = 3;
    struct tensor *tensor = store_require(store, "a", DTYPE_F32, SHAPE(1), &err);
    assert_ok(tensor, err);
    store_write(store, tensor, &value);
    good = 0;
    assert_false(checkpoint_save(scratch(""), store, &record, 1, &err));
    assert_contains(err.message, "the device has failed");
    good = 1;
    assert_ok(checkpoint_save(scratch(""), store, &record, 1, &err), err);
    store_free(store);
}

static void no_image_is_drawn_by_a_device_that_failed(void **state)
{
    (void)state;
    struct error err;
    struct train_settings settings = small();
    struct draw_options options = { .seed = 1, .steps = 2, .device = "any" };
    static float images[GENERATOR_BATCH * (CHANNELS + 1) * SIDE * SIDE];
    train_some(&settings);
    struct generator *generator = generator_open(scratch("run"), &options, &err);
    assert_ok(generator, err);
    assert_ok(generator_draw(generator, 0, images, &err), err);
    good = 1; /* the first of two steps is read */
    assert_false(generator_draw(generator, 1, images, &err));
    assert_contains(err.message, "the device has failed");
    generator_free(generator);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_whose_losses_cannot_be_read_fails),
        cmocka_unit_test_setup_teardown(no_checkpoint_is_made_of_a_device_that_failed, scratch_make,
                                        scratch_remove),
        cmocka_unit_test_setup_teardown(no_image_is_drawn_by_a_device_that_failed, scratch_make,
                                        scratch_remove),
    };
    return cmocka_run_group_tests_name("train/device", tests, NULL, NULL);
}
