/* Settings: presets, what was set wins, and the text that checkpoints carry. */
#include "test.h"

#include "tensor/algorithms.h"
#include "train/settings.h"

static struct train_settings resolved(int model, int size)
{
    struct error err;
    struct train_settings settings = train_defaults;
    settings.model = model;
    assert_ok(train_settings_resolve(&settings, size, &err), err);
    return settings;
}

static void presets_go_by_size_and_the_next_larger_serves_between(void **state)
{
    (void)state;
    static const struct {
        int size, levels, ddpm_batch, stylegan2_batch;
    } rows[] = { { 8, 4, 128, 32 },  { 32, 4, 128, 32 }, { 48, 4, 64, 32 }, { 64, 4, 64, 32 },
                 { 128, 5, 32, 32 }, { 256, 6, 16, 16 }, { 512, 6, 16, 16 } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int mult[TRAIN_LIST];
        struct train_settings ddpm = resolved(MODEL_DDPM, rows[i].size);
        struct train_settings gan = resolved(MODEL_STYLEGAN2, rows[i].size);
        assert_int_equal(train_list(&ddpm.ddpm.mult, mult), rows[i].levels);
        assert_int_equal(ddpm.batch, rows[i].ddpm_batch);
        assert_int_equal(gan.batch, rows[i].stylegan2_batch);
        assert_float_equal(ddpm.rate, 1e-4, 0);
        assert_float_equal(gan.rate, 0.0025, 0);
    }
}

/* stylegan's train.py: its batches for one GPU, 600 + 600 kimg from 8² on. */
static void stylegan_has_the_official_schedule(void **state)
{
    (void)state;
    static const int rows[][2] = { { 32, 64 }, { 64, 32 }, { 128, 16 }, { 256, 8 } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct train_settings settings = resolved(MODEL_STYLEGAN, rows[i][0]);
        assert_int_equal(settings.batch, rows[i][1]);
        assert_int_equal(settings.growth.batch_most, 128);
        assert_int_equal(settings.growth.first_side, 8);
        assert_float_equal(settings.growth.stable_kimg, 600, 0);
        assert_float_equal(settings.growth.fade_kimg, 600, 0);
        assert_float_equal(settings.rate, 0.001, 0);
        double share = rows[i][0] / 256.0; /* as at that level of a run of 256² */
        assert_float_equal(settings.stylegan.gamma, 10 * share * share, 1e-12);
        assert_float_equal(settings.stylegan.average_kimg, 10, 0);
        assert_float_equal(settings.stylegan.mixing, 0.9, 0);
        assert_int_equal(settings.images, 25000000);
    }
    assert_float_equal(resolved(MODEL_STYLEGAN, 1024).stylegan.gamma, 10, 0);
}

static void r1_and_the_average_scale_with_size_and_batch(void **state)
{
    (void)state;
    struct train_settings gan = resolved(MODEL_STYLEGAN2, 256); /* research: .0002·256²/16 */
    assert_float_equal(gan.stylegan2.gamma, 0.8192, 1e-12);
    assert_float_equal(gan.stylegan2.average_kimg, 5, 1e-12);
}

/* As train.py of the official code has them, --cfg stylegan3-t and -r. */
static void stylegan3_is_trained_as_recommended(void **state)
{
    (void)state;
    struct error err;
    struct train_settings t = resolved(MODEL_STYLEGAN3, 256), r = train_defaults;
    assert_int_equal(t.batch, 32);
    assert_float_equal(t.rate, 0.0025, 0);
    assert_float_equal(t.stylegan3.d_rate, 0.002, 0);
    assert_float_equal(t.stylegan3.gamma, 2.048, 1e-12); /* recommended: 2 */
    assert_float_equal(t.stylegan3.average_kimg, 10, 1e-12);
    assert_float_equal(t.stylegan3.blur_sigma, 0, 0);
    assert_int_equal(t.stylegan3.channel_base, 16384);
    assert_int_equal(resolved(MODEL_STYLEGAN3, 512).stylegan3.channel_base, 32768);
    r.model = MODEL_STYLEGAN3;
    r.batch = 16;
    r.stylegan3.config = STYLEGAN3_R;
    assert_ok(train_settings_resolve(&r, 256, &err), err);
    assert_float_equal(r.stylegan3.blur_sigma, 10, 0);
    assert_float_equal(r.stylegan3.blur_kimg, 100, 1e-12);
}

static void what_is_set_wins_over_the_preset(void **state)
{
    (void)state;
    struct error err;
    struct train_settings settings = train_defaults;
    settings.batch = 3;
    settings.rate = 0.5;
    settings.ddpm.base = 32;
    settings.ddpm.dropout = 0;
    settings.ddpm.mult = (struct yaml_strings){ (const char *[]){ "7" }, 1 };
    assert_ok(train_settings_resolve(&settings, 32, &err), err);
    int mult[TRAIN_LIST];
    assert_int_equal(settings.batch, 3);
    assert_float_equal(settings.rate, 0.5, 0);
    assert_int_equal(settings.ddpm.base, 32);
    assert_float_equal(settings.ddpm.dropout, 0, 0);
    assert_int_equal(train_list(&settings.ddpm.mult, mult), 1);
    assert_int_equal(mult[0], 7);
    assert_int_equal(settings.ddpm.blocks, 3); /* the preset's */
}

static void settings_read_back_from_their_text(void **state)
{
    (void)state;
    for (int model = 0; model < MODEL_COUNT; model++) {
        struct error err;
        struct arena arena;
        struct text first = { 0 }, second = { 0 };
        struct train_settings settings = resolved(model, 128), read;
        settings.mirror = true;
        settings.rate = 1.0 / 3;
        arena_init(&arena);
        train_settings_text(&settings, false, &first);
        assert_ok(train_settings_parse(first.bytes, "text", &read, &arena, &err), err);
        train_settings_text(&read, false, &second);
        assert_string_equal(first.bytes, second.bytes);
        assert_true(read.rate == settings.rate);
        assert_int_equal(read.model, model);
        text_release(&first);
        text_release(&second);
        arena_release(&arena);
    }
}

static void how_long_a_run_goes_on_is_not_lasting(void **state)
{
    (void)state;
    struct text before = { 0 }, after = { 0 };
    struct train_settings settings = resolved(MODEL_DDPM, 32);
    train_settings_text(&settings, true, &before);
    settings.images *= 2;
    settings.keep = 1;
    settings.time_limit = 7;
    train_settings_text(&settings, true, &after);
    assert_string_equal(before.bytes, after.bytes);
    settings.rate *= 2;
    text_clear(&after);
    train_settings_text(&settings, true, &after);
    assert_string_not_equal(before.bytes, after.bytes);
    text_release(&before);
    text_release(&after);
}

static int algorithms_of(const char *yaml)
{
    struct error err;
    struct arena arena;
    struct train_settings settings;
    arena_init(&arena);
    assert_ok(train_settings_parse(yaml, "text", &settings, &arena, &err), err);
    int algorithms = settings.algorithms;
    arena_release(&arena);
    return algorithms;
}

/* The last text is as checkpoints were written before there was a choice. */
static void algorithms_are_deterministic_unless_the_fastest_are_asked_for(void **state)
{
    (void)state;
    assert_int_equal(algorithms_of("algorithms: fastest\n"), ALGORITHMS_FASTEST);
    assert_int_equal(algorithms_of("algorithms: deterministic\n"), ALGORITHMS_DETERMINISTIC);
    assert_int_equal(algorithms_of("precision: bf16\n"), ALGORITHMS_DETERMINISTIC);
}

static void algorithms_are_lasting(void **state)
{
    (void)state;
    struct text before = { 0 }, after = { 0 };
    struct train_settings settings = resolved(MODEL_STYLEGAN2, 32);
    train_settings_text(&settings, true, &before);
    assert_contains(before.bytes, "algorithms: deterministic\n");
    settings.algorithms = ALGORITHMS_FASTEST;
    train_settings_text(&settings, true, &after);
    assert_contains(after.bytes, "algorithms: fastest\n");
    text_release(&before);
    text_release(&after);
}

static void settings_of_other_models_are_not_lasting(void **state)
{
    (void)state;
    struct text before = { 0 }, after = { 0 };
    struct train_settings settings = resolved(MODEL_STYLEGAN2, 32);
    train_settings_text(&settings, true, &before);
    settings.stylegan.gamma = settings.stylegan3.gamma = settings.ddpm.average = 0.5;
    train_settings_text(&settings, true, &after);
    assert_string_equal(after.bytes, before.bytes);
    text_clear(&after);
    settings.stylegan2.gamma = 0.5;
    train_settings_text(&settings, true, &after);
    assert_string_not_equal(after.bytes, before.bytes);
    text_release(&before);
    text_release(&after);
}

static void a_list_that_holds_no_numbers_is_refused(void **state)
{
    (void)state;
    struct error err;
    struct train_settings settings = train_defaults;
    settings.ddpm.mult = (struct yaml_strings){ (const char *[]){ "1", "two" }, 2 };
    assert_false(train_settings_resolve(&settings, 32, &err));
    assert_contains(err.message, "mult: \"two\" is not a whole number");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(presets_go_by_size_and_the_next_larger_serves_between),
        cmocka_unit_test(stylegan_has_the_official_schedule),
        cmocka_unit_test(r1_and_the_average_scale_with_size_and_batch),
        cmocka_unit_test(stylegan3_is_trained_as_recommended),
        cmocka_unit_test(what_is_set_wins_over_the_preset),
        cmocka_unit_test(settings_read_back_from_their_text),
        cmocka_unit_test(how_long_a_run_goes_on_is_not_lasting),
        cmocka_unit_test(algorithms_are_deterministic_unless_the_fastest_are_asked_for),
        cmocka_unit_test(algorithms_are_lasting),
        cmocka_unit_test(settings_of_other_models_are_not_lasting),
        cmocka_unit_test(a_list_that_holds_no_numbers_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
