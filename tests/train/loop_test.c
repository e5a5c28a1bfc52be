/* The loop: the best checkpoint is the one of the least validation loss, pictures and validation
 * leave the weights alone, and input is read ahead. */
#include "scratch.h"

#include "base/parallel.h"
#include "fixture.h"
#include "tensor/algorithms.h"
#include "train/batches.h"
#include "train/checkpoint.h"
#include "train/feed.h"
#include "train/train.h"
#include "train/metrics.h"

#include <math.h>

enum { SIDE = 8 };

static struct train_settings small_ddpm(void)
{
    struct train_settings settings = fixture_ddpm();
    settings.batch = 4;
    settings.images = 48;
    settings.checkpoint = 2;
    return settings;
}

static void write_data(void)
{
    struct error err;
    struct fixture fixture = {
        .count = 15, .channels = 2, .height = SIDE, .width = SIDE, .masks = 1
    };
    assert_ok(fixture_write(&fixture, scratch("store"), &err), err);
}

static void run(const char *out, const struct train_settings *settings)
{
    struct error err;
    struct train_report report;
    struct train_job job = { scratch("store"), scratch(out), settings };
    parallel_set_threads(1);
    assert_ok(train(&job, &report, &err), err);
    assert_int_equal(report.end, TRAIN_COMPLETE);
}

static double validation_of(const char *path)
{
    struct error err;
    struct arena arena;
    struct checkpoint_record record;
    arena_init(&arena);
    assert_ok(checkpoint_read(path, &record, &arena, &err), err);
    double validation = record.validation;
    arena_release(&arena);
    return validation;
}

static void the_best_checkpoint_has_the_least_validation_loss(void **state)
{
    (void)state;
    struct error err;
    struct metrics metrics;
    struct train_settings settings = small_ddpm();
    settings.rate = 0.02; /* so much that it goes up and down */
    write_data();
    run("run", &settings);
    assert_ok(metrics_read(scratch("run/metrics.jsonl"), &metrics, &err), err);
    const struct metrics_series *series = metrics_find(&metrics, "validation");
    assert_int_equal(series->count, 6);
    double least = INFINITY;
    for (size_t i = 0; i < series->count; i++)
        least = fmin(least, series->value[i]);
    assert_float_equal(validation_of(scratch("run/checkpoints/best.safetensors")), least, 0);
    metrics_release(&metrics);
}

/* A run that was killed after its checkpoint was written, before it was named the best. */
static void a_best_checkpoint_that_was_not_named_is_found(void **state)
{
    (void)state;
    struct error err;
    struct train_settings settings = small_ddpm();
    settings.images = 8; /* one checkpoint */
    write_data();
    run("run", &settings);
    assert_int_equal(unlink(scratch("run/checkpoints/best.safetensors")), 0);
    assert_ok(checkpoint_update_best(scratch("run/checkpoints"), &err), err);
    assert_float_equal(validation_of(scratch("run/checkpoints/best.safetensors")),
                       validation_of(scratch("run/checkpoints/step-000000000002.safetensors")), 0);
}

static char *weights(const char *path, size_t *size)
{
    struct error err;
    uint64_t header;
    char *bytes = file_read(scratch(path), 1 << 26, size, &err);
    assert_ok(bytes, err);
    memcpy(&header, bytes, sizeof header);
    memmove(bytes, bytes + 8 + header, *size -= 8 + header);
    return bytes;
}

static void pictures_and_validation_leave_the_weights_alone(void **state)
{
    (void)state;
    size_t size_a, size_b;
    struct train_settings settings = small_ddpm();
    write_data();
    settings.samples = 3;
    run("with", &settings);
    settings.samples = settings.validate = 0;
    run("without", &settings);
    char *a = weights("with/checkpoints/step-000000000012.safetensors", &size_a);
    char *b = weights("without/checkpoints/step-000000000012.safetensors", &size_b);
    assert_int_equal(size_a, size_b);
    assert_memory_equal(a, b, size_a);
    memory_free(a);
    memory_free(b);
    assert_int_equal(names_in(scratch("with/samples")), 4);
    assert_int_equal(path_kind(scratch("without/samples")), PATH_NOTHING);
    assert_int_equal(path_kind(scratch("without/checkpoints/best.safetensors")), PATH_NOTHING);
}

/* On this processor both ways compute the same, and what was asked for is recorded all the same. */
static void a_run_goes_on_with_the_algorithms_it_began_with_alone(void **state)
{
    (void)state;
    struct error err;
    struct arena arena;
    struct checkpoint_record record;
    struct train_report report;
    struct train_settings settings = small_ddpm();
    size_t size_a, size_b;
    write_data();
    run("plain", &settings);
    settings.algorithms = ALGORITHMS_FASTEST;
    settings.images = 24;
    run("fastest", &settings);
    arena_init(&arena);
    const char *path = scratch("fastest/checkpoints/step-000000000006.safetensors");
    assert_ok(checkpoint_read(path, &record, &arena, &err), err);
    assert_contains(record.settings, "algorithms: fastest\n");
    arena_release(&arena);
    settings.algorithms = ALGORITHMS_DETERMINISTIC;
    settings.images = 48;
    struct train_job job = { scratch("store"), scratch("fastest"), &settings };
    assert_false(train(&job, &report, &err));
    assert_contains(err.message, "was trained with \"algorithms: fastest\", asked for is "
                                 "\"algorithms: deterministic\"");
    settings.algorithms = ALGORITHMS_FASTEST;
    run("fastest", &settings);
    char *a = weights("plain/checkpoints/step-000000000012.safetensors", &size_a);
    char *b = weights("fastest/checkpoints/step-000000000012.safetensors", &size_b);
    assert_int_equal(size_a, size_b);
    assert_memory_equal(a, b, size_a);
    memory_free(a);
    memory_free(b);
}

static void stylegan2_has_no_best_checkpoint(void **state)
{
    (void)state;
    struct error err;
    struct train_settings settings = train_defaults;
    settings.model = MODEL_STYLEGAN2;
    settings.validate = 8;
    assert_false(train_settings_resolve(&settings, SIDE, &err));
    assert_contains(err.message, "stylegan2 has no loss that tells which checkpoint is best");
}

static void a_feed_gives_what_is_read_without_it(void **state)
{
    (void)state;
    struct error err;
    struct batches_options options = { .masks = true, .mirror = true, .seed = 3 };
    enum { BATCH = 4, VALUES = 3 * SIDE * SIDE };
    float expected[BATCH * VALUES];
    write_data();
    struct batches *plain = batches_open(scratch("store"), &options, &err);
    assert_ok(plain, err);
    struct batches *ahead = batches_open(scratch("store"), &options, &err);
    assert_ok(ahead, err);
    struct feed_source source = batches_feed(ahead);
    struct feed *feed = feed_open(&source, 8, BATCH, &err);
    assert_ok(feed, err);
    for (uint64_t step = 2; step < 20; step++) { /* over several epochs */
        batches_read(plain, step * BATCH, BATCH, expected);
        assert_memory_equal(feed_next(feed), expected, sizeof expected);
    }
    assert_true(feed_waited(feed) >= 0);
    feed_close(feed);
    batches_free(plain);
    batches_free(ahead);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_make, scratch_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_best_checkpoint_has_the_least_validation_loss),
        TEST(a_best_checkpoint_that_was_not_named_is_found),
        TEST(pictures_and_validation_leave_the_weights_alone),
        TEST(a_run_goes_on_with_the_algorithms_it_began_with_alone),
        TEST(stylegan2_has_no_best_checkpoint),
        TEST(a_feed_gives_what_is_read_without_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
