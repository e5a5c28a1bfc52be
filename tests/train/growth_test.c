/* Growth: what each step of a run trains, against the official TrainingSchedule, whose values below
 * were worked out with its own lines in Python (progressive_growing_of_gans, train.py). */
#include "test.h"

#include "train/growth.h"

#include <math.h>

/* The official preset for one device: 4² to 256², 600 + 600 kimg. */
static const struct growth official = {
    .first = 4, .size = 256, .stable = 600000, .fade = 600000, .batch = 8, .batch_most = 128
};

/* minibatch_dict of the preset -preset-v2-1gpu. */
static void batches_are_the_official_ones(void **state)
{
    (void)state;
    static const struct {
        int side;
        uint64_t batch;
    } rows[] = { { 4, 128 }, { 8, 128 },  { 16, 128 }, { 32, 64 },
                 { 64, 32 }, { 128, 16 }, { 256, 8 } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(growth_batch(&official, rows[i].side), rows[i].batch);
}

static void a_batch_is_never_less_than_at_the_full_size(void **state)
{
    (void)state;
    struct growth growth = official;
    growth.batch = 256;
    assert_int_equal(growth_batch(&growth, 4), 256);
    assert_int_equal(growth_batch(&growth, 256), 256);
}

/* The official level of detail of so many images: 0 is the full size, 1 half of it, in between the
 * higher resolution fades in. */
static double lod_after(const struct growth *growth, uint64_t images)
{
    double period = (double)(growth->stable + growth->fade), phase = floor((double)images / period);
    double within = (double)images - phase * period;
    double lod = log2(growth->size) - log2(growth->first) - phase;
    if (growth->fade)
        lod -= fmax(within - (double)growth->stable, 0) / (double)growth->fade;
    return fmax(lod, 0);
}

/* Side and share of what a step that begins after so many images trains. */
static void check_step(const struct growth *growth, uint64_t step)
{
    struct stage stage = growth_stage(growth, step);
    uint64_t images = growth_images(growth, step);
    double lod = lod_after(growth, images), alpha = growth_alpha(growth, &stage, images);
    assert_int_equal(stage.side, growth->size >> (int)floor(lod));
    assert_int_equal(stage.fading, lod != floor(lod));
    assert_float_equal(alpha, 1 - (lod - floor(lod)), 1e-9);
    assert_true(stage.step <= step && step - stage.step < stage.steps);
}

static void sides_and_shares_are_the_official_ones(void **state)
{
    (void)state;
    uint64_t last = growth_steps(&official, 9000000);
    for (uint64_t step = 0; step < last; step += 97)
        check_step(&official, step);
    struct stage stage = growth_stage(&official, 0);
    do { /* the first and the last steps of each stage */
        check_step(&official, stage.step);
        check_step(&official, stage.step + 1);
        if (stage.steps != UINT64_MAX)
            check_step(&official, stage.step + stage.steps - 1);
    } while (growth_next(&official, &stage));
    assert_int_equal(stage.side, 256);
}

/* Of the official formula: kimg, lod. */
static void some_values_of_the_official_formula(void **state)
{
    (void)state;
    static const struct {
        uint64_t kimg;
        int side;
        double alpha;
    } rows[] = { { 0, 4, 1 },         { 599, 4, 1 },    { 750, 8, 0.25 },
                 { 1201, 8, 1 },      { 1799, 8, 1 },   { 2100, 16, 0.5 },
                 { 7050, 256, 0.75 }, { 7201, 256, 1 }, { 12000, 256, 1 } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint64_t step = growth_steps(&official, rows[i].kimg * 1000);
        struct stage stage = growth_stage(&official, step);
        uint64_t images = growth_images(&official, step);
        assert_int_equal(stage.side, rows[i].side);
        assert_float_equal(growth_alpha(&official, &stage, images), rows[i].alpha, 2.2e-4);
    }
}

/* Where a step begins exactly at a border. */
static void borders_that_steps_meet_belong_where_the_official_ones_do(void **state)
{
    (void)state;
    struct growth growth = {
        .first = 4, .size = 16, .stable = 40, .fade = 20, .batch = 10, .batch_most = 10
    };
    static const struct {
        int side;
        bool fading;
    } rows[] = { { 4, 0 }, { 4, 0 }, { 4, 0 }, { 4, 0 }, { 4, 0 },  { 8, 1 },  { 8, 0 },
                 { 8, 0 }, { 8, 0 }, { 8, 0 }, { 8, 0 }, { 16, 1 }, { 16, 0 }, { 16, 0 } };
    for (uint64_t step = 0; step < sizeof rows / sizeof *rows; step++) {
        struct stage stage = growth_stage(&growth, step);
        assert_int_equal(stage.side, rows[step].side);
        assert_int_equal(stage.fading, rows[step].fading);
        check_step(&growth, step);
    }
}

/* Steps and images are functions of each other, across all borders. */
static void steps_and_images_agree(void **state)
{
    (void)state;
    struct growth growth = {
        .first = 4, .size = 32, .stable = 33, .fade = 21, .batch = 3, .batch_most = 12
    };
    uint64_t images = 0;
    for (uint64_t step = 0; step < 60; step++) {
        struct stage stage = growth_stage(&growth, step);
        assert_int_equal(growth_images(&growth, step), images);
        assert_int_equal(growth_steps(&growth, images), step);
        assert_int_equal(growth_steps(&growth, images + 1), step + 1);
        images += stage.batch;
    }
}

/* A stage shorter than a step may have none: the next one begins at once. */
static void stages_too_short_for_a_step_are_passed_over(void **state)
{
    (void)state;
    struct growth growth = {
        .first = 4, .size = 64, .stable = 5, .fade = 3, .batch = 16, .batch_most = 16
    };
    struct stage stage = growth_stage(&growth, 0);
    int steps = 0;
    do {
        assert_true(stage.steps > 0);
        check_step(&growth, stage.step);
        steps++;
    } while (growth_next(&growth, &stage));
    assert_true(steps < 9);
    assert_int_equal(stage.side, 64);
    growth.fade = 0;
    for (uint64_t step = 0; step < 9; step++)
        check_step(&growth, step);
}

static void what_does_not_grow_has_one_stage(void **state)
{
    (void)state;
    struct growth growth = growth_none(24, 6);
    struct stage stage = growth_stage(&growth, 1000000);
    assert_int_equal(stage.side, 24);
    assert_int_equal(stage.batch, 6);
    assert_false(stage.fading);
    assert_false(growth_next(&growth, &stage));
    assert_int_equal(growth_images(&growth, 7), 42);
    assert_int_equal(growth_steps(&growth, 43), 8);
    assert_float_equal(growth_alpha(&growth, &stage, 43), 1, 0);
    assert_int_equal(growth_last_stage(&official).side, 256);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches_are_the_official_ones),
        cmocka_unit_test(a_batch_is_never_less_than_at_the_full_size),
        cmocka_unit_test(sides_and_shares_are_the_official_ones),
        cmocka_unit_test(some_values_of_the_official_formula),
        cmocka_unit_test(borders_that_steps_meet_belong_where_the_official_ones_do),
        cmocka_unit_test(steps_and_images_agree),
        cmocka_unit_test(stages_too_short_for_a_step_are_passed_over),
        cmocka_unit_test(what_does_not_grow_has_one_stage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
