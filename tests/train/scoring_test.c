/* Scores of real images: a function of the image alone, of every model. */
#include "scratch.h"

#include "base/parallel.h"
#include "base/random.h"
#include "fixture.h"
#include "train/batches.h"
#include "train/checkpoint.h"
#include "train/generator.h"
#include "train/train.h"

#include <math.h>

enum { SIDE = 8, COUNT = 3, CHANNELS = 2, VALUES = (CHANNELS + 1) * SIDE * SIDE, NUMBERS = 16 };

static const struct draw_options options = { .seed = 3, .truncation = 1, .device = "cpu" };

static void train_model(struct train_settings settings)
{
    struct error err;
    struct train_report report;
    struct fixture fixture = {
        .count = COUNT, .channels = CHANNELS, .height = SIDE, .width = SIDE, .masks = 1
    };
    assert_ok(fixture_write(&fixture, scratch("store"), &err), err);
    settings.batch = 4;
    settings.images = 4;
    struct train_job job = { scratch("store"), scratch("run"), &settings };
    parallel_set_threads(1); /* small: threads only wait for each other */
    assert_ok(train(&job, &report, &err), err);
}

static struct generator *open_scoring(int64_t draws)
{
    struct error err;
    struct generator *generator = generator_open_to_score(scratch("run"), &options, draws, &err);
    assert_ok(generator, err);
    assert_true(generator_score_count(generator) <= NUMBERS);
    return generator;
}

static void read_images(float images[COUNT][VALUES])
{
    struct dataset store;
    struct error err;
    assert_ok(dataset_open(&store, scratch("store"), &err), err);
    for (size_t i = 0; i < COUNT; i++)
        training_image(&store, i, true, false, images[i]);
    dataset_close(&store);
}

/* Alone; after the others, in the other order, by two threads: the same bits. */
static void check_own(struct train_settings settings)
{
    float images[COUNT][VALUES];
    double first[COUNT][NUMBERS] = { 0 }, again[COUNT][NUMBERS] = { 0 };
    struct error err;
    train_model(settings);
    read_images(images);
    for (size_t i = 0; i < COUNT; i++) {
        struct generator *generator = open_scoring(2);
        assert_ok(generator_score(generator, images[i], first[i], &err), err);
        generator_free(generator);
    }
    parallel_set_threads(2);
    struct generator *generator = open_scoring(2);
    for (size_t i = COUNT; i-- > 0;)
        assert_ok(generator_score(generator, images[i], again[i], &err), err);
    generator_free(generator);
    parallel_set_threads(1);
    assert_memory_equal(first, again, sizeof first);
    assert_true(first[0][0] != first[1][0]);
}

static void scores_of_a_ddpm_are_of_the_image_alone(void **state)
{
    (void)state;
    check_own(fixture_ddpm());
}

static void scores_of_a_stylegan2_are_of_the_image_alone(void **state)
{
    (void)state;
    check_own(fixture_stylegan2());
}

static void scores_of_a_stylegan3_are_of_the_image_alone(void **state)
{
    (void)state;
    check_own(fixture_stylegan3());
}

static void scores_of_a_progan_are_of_the_image_alone(void **state)
{
    (void)state;
    check_own(fixture_progan());
}

static void scores_of_a_stylegan_are_of_the_image_alone(void **state)
{
    (void)state;
    check_own(fixture_stylegan());
}

/* Its last layer is zero, so its loss is the noise itself: the same for every image. */
static void a_network_that_learnt_nothing_says_the_same_of_all_images(void **state)
{
    (void)state;
    enum { DRAWS = 3 };
    float images[COUNT][VALUES], noise[VALUES];
    double scores[COUNT][NUMBERS];
    struct error err;
    struct train_settings settings = fixture_ddpm();
    settings.rate = 1e-12;
    train_model(settings);
    read_images(images);
    struct generator *generator = open_scoring(DRAWS);
    size_t times = generator_score_count(generator);
    for (size_t i = 0; i < COUNT; i++)
        assert_ok(generator_score(generator, images[i], scores[i], &err), err);
    for (size_t t = 0; t < times; t++) {
        double square = 0;
        for (size_t d = 0; d < DRAWS; d++) {
            random_fill_normal(options.seed, random_stream("score.noise"), (d * times + t) * VALUES,
                               VALUES, noise);
            for (size_t v = 0; v < VALUES; v++)
                square += (double)noise[v] * noise[v] / VALUES / DRAWS;
        }
        for (size_t i = 0; i < COUNT; i++)
            assert_true(fabs(scores[i][t] - square) < 1e-5);
    }
    generator_free(generator);
}

static void times_are_those_of_little_noise(void **state)
{
    (void)state;
    int steps;
    train_model(fixture_ddpm());
    struct generator *generator = open_scoring(1);
    const int *times = generator_score_times(generator, &steps);
    assert_int_equal(steps, 1000);
    for (size_t t = 0; t < generator_score_count(generator); t++) {
        assert_true(times[t] >= 0 && times[t] < steps / 5);
        assert_true(!t || times[t] > times[t - 1]);
    }
    generator_free(generator);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_make, scratch_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(scores_of_a_ddpm_are_of_the_image_alone),
        TEST(scores_of_a_stylegan2_are_of_the_image_alone),
        TEST(scores_of_a_stylegan3_are_of_the_image_alone),
        TEST(scores_of_a_progan_are_of_the_image_alone),
        TEST(scores_of_a_stylegan_are_of_the_image_alone),
        TEST(a_network_that_learnt_nothing_says_the_same_of_all_images),
        TEST(times_are_those_of_little_noise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
