/* The utility audit: what is refused, how trials go on, and what its numbers are. */
#include "stores.h"

#include "audit/utility.h"
#include "audit/utility_grid.h"
#include "base/json.h"
#include "base/parallel.h"

#include <math.h>

static const struct store_spec real_spec = {
    .role = ROLE_REAL, .subjects = 6, .held_out = 2, .masks = true
};
static const struct store_spec synthetic_spec = { .role = ROLE_SYNTHETIC,
                                                  .subjects = 4,
                                                  .masks = true };

/* Seconds even under sanitizers. */
static struct utility_settings quick(struct yaml_strings sources)
{
    struct utility_settings settings = utility_defaults;
    settings.sources = sources;
    settings.seeds = 2;
    settings.bootstrap = 200;
    settings.panels = 2;
    settings.training.images = 24;
    settings.training.batch = 4;
    settings.training.base = 4;
    settings.training.levels = 3;
    return settings;
}

#define SOURCES(...)                                                                               \
    (struct yaml_strings)                                                                          \
    {                                                                                              \
        (const char *[]){ __VA_ARGS__ }, sizeof((const char *[]){ __VA_ARGS__ }) / sizeof(char *)  \
    }

static bool run_apart(const struct utility_settings *settings, bool apart,
                      struct utility_report *report, struct error *err)
{
    static char paths[4][600];
    static const char *const names[] = { "real", "synthetic", "out", "holdout" };
    for (int i = 0; i < 4; i++)
        snprintf(paths[i], sizeof paths[i], "%s", scratch(names[i]));
    struct utility_job job = { .dataset = paths[0],
                               .holdout = apart ? paths[3] : NULL,
                               .synthetic = { { "", paths[1] } },
                               .synthetic_count = 1,
                               .out = paths[2],
                               .settings = settings };
    return utility(&job, report, err);
}

static bool run(const struct utility_settings *settings, struct utility_report *report,
                struct error *err)
{
    return run_apart(settings, false, report, err);
}

static void assert_refused(const struct store_spec *real, const struct store_spec *synthetic,
                           const char *part)
{
    struct utility_settings settings = quick(SOURCES("real", "synthetic"));
    struct utility_report report;
    struct error err;
    store_write(scratch("real"), real);
    store_write(scratch("synthetic"), synthetic);
    assert_false(run(&settings, &report, &err));
    assert_contains(err.message, part);
    assert_int_equal(path_kind(scratch("out")), PATH_NOTHING); /* before anything is written */
}

static void a_store_without_masks_is_refused(void **state)
{
    (void)state;
    struct store_spec spec = real_spec;
    spec.masks = false;
    assert_refused(&spec, &synthetic_spec, "real: has no masks");
}

static void a_synthetic_store_without_masks_is_refused(void **state)
{
    (void)state;
    struct store_spec spec = synthetic_spec;
    spec.masks = false;
    assert_refused(&real_spec, &spec, "synthetic: has no masks");
}

static void a_subject_on_both_sides_is_refused(void **state)
{
    (void)state;
    struct store_spec spec = real_spec;
    spec.torn = true;
    assert_refused(&spec, &synthetic_spec, "subject S000 has images in both splits");
}

static void nothing_held_out_is_refused(void **state)
{
    (void)state;
    struct store_spec spec = real_spec;
    spec.held_out = 0;
    assert_refused(&spec, &synthetic_spec, "0 in holdout");
}

static void real_images_are_no_synthetic_ones(void **state)
{
    (void)state;
    assert_refused(&real_spec, &real_spec, "synthetic images are wanted");
}

static void labels_that_no_real_mask_has_are_refused(void **state)
{
    (void)state;
    struct store_spec spec = synthetic_spec;
    spec.label = 9;
    assert_refused(&real_spec, &spec, "has the label 9");
}

static void other_channels_are_refused(void **state)
{
    (void)state;
    struct store_spec spec = synthetic_spec;
    spec.channel = "t2";
    assert_refused(&real_spec, &spec, "its channel 1 is t2, but flair");
}

/* Only the holdout is in a store of its own; a subject of it was trained on. */
static void a_subject_in_both_stores_is_refused(void **state)
{
    (void)state;
    struct utility_settings settings = quick(SOURCES("real"));
    struct utility_report report;
    struct error err;
    store_write(scratch("real"), &(struct store_spec){ .subjects = 4, .masks = true });
    store_write(scratch("synthetic"), &synthetic_spec);
    store_write(scratch("holdout"),
                &(struct store_spec){ .first = 3, .subjects = 3, .masks = true, .whole = true });
    assert_false(run_apart(&settings, true, &report, &err));
    assert_contains(err.message, "subject S003 has images here and in");
    assert_int_equal(path_kind(scratch("out")), PATH_NOTHING);
}

static void words_that_mean_nothing_are_refused(void **state)
{
    (void)state;
    struct error err;
    static const char *const wrong[] = { "fake", "0", "1", "1.5", "-0.1" };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct utility_settings settings = quick(SOURCES(wrong[i]));
        assert_false(utility_settings_check(&settings, &err));
        assert_contains(err.message, wrong[i]);
    }
    struct utility_settings twice = quick(SOURCES("real", "real"));
    assert_false(utility_settings_check(&twice, &err));
    assert_contains(err.message, "twice");
    struct utility_settings alike = quick(SOURCES("0.5", "0.50"));
    assert_false(utility_settings_check(&alike, &err));
    assert_contains(err.message, "\"0.50\" stands there twice");
}

/* Before anything is written. */
static void a_device_that_is_not_there_is_refused(void **state)
{
    (void)state;
    struct utility_settings settings = quick(SOURCES("real"));
    struct utility_report report;
    struct error err;
    settings.device = "abacus";
    store_write(scratch("real"), &real_spec);
    store_write(scratch("synthetic"), &synthetic_spec);
    assert_false(run(&settings, &report, &err));
    assert_contains(err.message, "there is no device \"abacus\"");
    assert_int_equal(path_kind(scratch("out")), PATH_NOTHING);
}

static char *text_of(const char *name)
{
    struct error err;
    size_t size;
    char *bytes = file_read(scratch(name), 1 << 24, &size, &err);
    assert_ok(bytes, err);
    return bytes;
}

/* Every source once; then what is done is not done again, and gives the same tables. */
static void a_grid_is_run_once_and_sums_up_the_same(void **state)
{
    (void)state;
    struct utility_settings settings =
        quick(SOURCES("real", "synthetic", "both", "0.5", "shuffled"));
    struct utility_report report;
    struct error err;
    store_write(scratch("real"), &real_spec);
    store_write(scratch("synthetic"), &synthetic_spec);
    assert_ok(run(&settings, &report, &err), err);
    assert_true(report.complete);
    assert_int_equal(report.trials, 10);
    const struct json *runs = json_get_array(report.document, "runs", &err);
    const struct json *relative = json_get_array(report.document, "relative_dice", &err);
    assert_int_equal(json_length(runs), 10);
    assert_int_equal(json_length(relative), 4);
    static const char *const names[] = { "real", "synthetic", "synthetic+real", "synthetic+0.5real",
                                         "shuffled" };
    static const int64_t images[] = { 12, 12, 24, 18, 12 };
    for (size_t i = 0; i < 5; i++) {
        int64_t count;
        assert_string_equal(json_get_string(json_at(runs, 2 * i), "source", &err), names[i]);
        assert_ok(json_get_integer(json_at(runs, 2 * i), "images", &count, &err), err);
        assert_int_equal(count, images[i]);
    }
    utility_report_release(&report);
    char *json = text_of("out/utility.json"), *csv = text_of("out/utility.csv");
    assert_int_equal(path_kind(scratch("out/panels/real_unet_none_1.png")), PATH_FILE);

    struct file_map map;
    assert_ok(file_map_open(&map, scratch("out/trials/real_unet_none_1/scores.npy"), &err), err);
    assert_ok(run(&settings, &report, &err), err);
    utility_report_release(&report);
    char *again = text_of("out/utility.json"), *csv_again = text_of("out/utility.csv");
    assert_string_equal(json, again);
    assert_string_equal(csv, csv_again);
    struct file_map later; /* not even written anew */
    assert_ok(file_map_open(&later, scratch("out/trials/real_unet_none_1/scores.npy"), &err), err);
    assert_memory_equal(map.bytes, later.bytes, map.size);
    file_map_close(&map);
    file_map_close(&later);
    memory_free(json), memory_free(csv), memory_free(again), memory_free(csv_again);
}

/* The same subjects, held out in the store or in one of their own: the same scores. */
static void a_holdout_may_be_a_store_of_its_own(void **state)
{
    (void)state;
    struct utility_settings settings = quick(SOURCES("real", "synthetic"));
    struct utility_report report;
    struct error err;
    settings.seeds = 1;
    store_write(scratch("real"), &real_spec);
    store_write(scratch("synthetic"), &synthetic_spec);
    assert_ok(run(&settings, &report, &err), err);
    utility_report_release(&report);
    char *within = text_of("out/utility.csv");
    assert_ok(folder_remove(scratch("out"), &err), err);
    assert_ok(folder_remove(scratch("real"), &err), err);
    store_write(scratch("real"),
                &(struct store_spec){ .subjects = 4, .masks = true, .whole = true });
    store_write(scratch("holdout"),
                &(struct store_spec){ .first = 4, .subjects = 2, .masks = true, .whole = true });
    assert_ok(run_apart(&settings, true, &report, &err), err);
    const struct json *inputs = json_get(report.document, "inputs", &err);
    assert_true(json_has(inputs, "holdout"));
    utility_report_release(&report);
    char *apart = text_of("out/utility.csv");
    assert_string_equal(within, apart);
    memory_free(within), memory_free(apart);
}

/* The second set is measured with the first as lender. A mark that is put into the lender's trials
 * shows what was copied and what was trained. */
static bool is_copied(const char *trial)
{
    char path[300];
    snprintf(path, sizeof path, "second/trials/%s/mark", trial);
    return path_kind(scratch(path)) == PATH_FILE;
}

static void measure_second(struct utility_settings *settings)
{
    struct utility_report report;
    struct error err;
    char real[600], theirs[600], first[600], out[600];
    snprintf(real, sizeof real, "%s", scratch("real"));
    snprintf(theirs, sizeof theirs, "%s", scratch("theirs"));
    snprintf(first, sizeof first, "%s", scratch("out"));
    snprintf(out, sizeof out, "%s", scratch("second"));
    struct utility_job job = { .dataset = real,
                               .synthetic = { { "", theirs } },
                               .synthetic_count = 1,
                               .out = out,
                               .lenders = { first },
                               .lender_count = 1,
                               .settings = settings };
    assert_ok(folder_remove(out, &err), err);
    assert_ok(utility(&job, &report, &err), err);
    assert_true(report.complete);
    utility_report_release(&report);
}

static void what_was_trained_on_the_same_is_copied_from_a_lender(void **state)
{
    (void)state;
    struct utility_settings settings = quick(SOURCES("real", "synthetic", "shuffled"));
    struct utility_report report;
    struct error err;
    struct store_spec other = synthetic_spec;
    settings.seeds = 1;
    other.first = 7;
    store_write(scratch("real"), &real_spec);
    store_write(scratch("synthetic"), &synthetic_spec);
    store_write(scratch("theirs"), &other);
    assert_ok(run(&settings, &report, &err), err);
    utility_report_release(&report);
    write_text(scratch("out/trials/real_unet_none_1/mark"), "");
    write_text(scratch("out/trials/shuffled_unet_none_1/mark"), "");
    write_text(scratch("out/trials/synthetic_unet_none_1/mark"), "");
    measure_second(&settings);
    assert_true(is_copied("real_unet_none_1"));
    assert_true(is_copied("shuffled_unet_none_1"));
    assert_false(is_copied("synthetic_unet_none_1")); /* of another set */
    assert_int_equal(path_kind(scratch("second/panels/real_unet_none_1.png")), PATH_FILE);
    settings.training.images += 4; /* other inputs */
    measure_second(&settings);
    assert_false(is_copied("real_unet_none_1"));
}

/* 20 pixels under a network whose stride is 8: padded to 24 and cropped again. Rows that were out
 * of step by those 4 pixels would leave next to nothing of the Dice. */
static void sizes_that_the_stride_does_not_divide_are_scored_at_their_own(void **state)
{
    (void)state;
    struct utility_settings settings = quick(SOURCES("real"));
    struct utility_report report;
    struct error err;
    struct store_spec spec = real_spec;
    spec.side = STORE_SIDE_MOST;
    settings.seeds = 1;
    settings.training.levels = 4;
    settings.training.base = 8;
    settings.training.images = 800;
    store_write(scratch("real"), &spec);
    spec.role = ROLE_SYNTHETIC;
    store_write(scratch("synthetic"), &spec);
    assert_int_equal(segment_padded(&settings.training, STORE_SIDE_MOST), 24);
    assert_ok(run(&settings, &report, &err), err);
    const struct json *kind = json_at(json_get_array(report.document, "summary", &err), 0);
    double dice;
    assert_ok(json_get_real(json_get(kind, "dice", &err), "mean", &dice, &err), err);
    assert_true(dice > 0.5);
    utility_report_release(&report);
}

/* Stopped by its time limit again and again, it ends in what an unbroken one ends in. */
static void a_grid_that_is_stopped_goes_on(void **state)
{
    (void)state;
    struct utility_settings settings = quick(SOURCES("real"));
    struct utility_report report;
    struct error err;
    store_write(scratch("real"), &real_spec);
    store_write(scratch("synthetic"), &synthetic_spec);
    settings.seeds = 1;
    settings.training.checkpoint = 1;
    assert_ok(run(&settings, &report, &err), err);
    utility_report_release(&report);
    char *once = text_of("out/utility.csv");
    assert_ok(folder_remove(scratch("out"), &err), err);
    settings.time_limit = 1e-9;
    assert_ok(run(&settings, &report, &err), err);
    assert_false(report.complete);
    assert_int_equal(report.done, 0);
    assert_null(report.document);
    assert_int_equal(path_kind(scratch("out/utility.json")), PATH_NOTHING);
    settings.time_limit = 0;
    assert_ok(run(&settings, &report, &err), err);
    assert_true(report.complete);
    utility_report_release(&report);
    char *resumed = text_of("out/utility.csv");
    assert_string_equal(once, resumed);
    memory_free(once), memory_free(resumed);
}

/* ---- numbers: a grid whose Dice values are given --------------------------------------------- */

enum { PATIENTS = 5, SEEDS = 2 };

struct numbers {
    struct utility_settings settings;
    struct utility_job job;
    struct grid grid;
    struct source sources[2];
    struct label_set sets[2];
    struct patient patients[PATIENTS];
    struct trial trials[2 * SEEDS];
    struct overlap rows[2 * SEEDS][PATIENTS * 2];
};

/* Synthetic is `factor` of real, patient by patient. Class 1 occurs in no patient. */
static void make_numbers(struct numbers *numbers, double factor)
{
    static const char *const names[PATIENTS] = { "a", "b", "c", "d", "e" };
    *numbers = (struct numbers){ .settings = utility_defaults };
    numbers->settings.seeds = SEEDS;
    numbers->settings.seed = 1;
    numbers->settings.bootstrap = 2000;
    numbers->job.settings = &numbers->settings;
    numbers->sources[0] = (struct source){ .name = "real", .kind = SOURCE_REAL };
    numbers->sources[1] = (struct source){ .name = "synthetic", .kind = SOURCE_SYNTHETIC };
    for (int i = 0; i < 2; i++)
        numbers->sets[i] = label_set_of(i ? "4" : "1", 1, &(uint8_t){ (uint8_t)(i ? 4 : 1) });
    for (int i = 0; i < PATIENTS; i++)
        numbers->patients[i] = (struct patient){ .subject = names[i], .scan = names[i] };
    for (int t = 0; t < 2 * SEEDS; t++) {
        numbers->trials[t] = (struct trial){ .source = &numbers->sources[t / SEEDS],
                                             .seed = 1 + t % SEEDS,
                                             .rows = numbers->rows[t] };
        for (int i = 0; i < PATIENTS; i++) {
            struct overlap *row = &numbers->rows[t][2 * i];
            for (int metric = 0; metric < METRIC_COUNT; metric++)
                row[0].value[metric] = NAN;
            row[1].truth = row[1].prediction = 10;
            row[1].value[METRIC_DICE] =
                (0.5 + 0.08 * i + 0.02 * (t % SEEDS)) * (t < SEEDS ? 1 : factor);
        }
    }
    numbers->grid = (struct grid){ .job = &numbers->job,
                                   .sets = numbers->sets,
                                   .set_count = 2,
                                   .sources = numbers->sources,
                                   .source_count = 2,
                                   .patients = numbers->patients,
                                   .patient_count = PATIENTS,
                                   .trials = numbers->trials,
                                   .trial_count = 2 * SEEDS };
}

static double number(const struct json *object, const char *key)
{
    struct error err;
    double value;
    assert_ok(json_get_real(object, key, &value, &err), err);
    return value;
}

static struct json *document_of(struct numbers *numbers)
{
    struct error err;
    store_write(scratch("real"), &real_spec);
    assert_ok(dataset_open(&numbers->grid.real, scratch("real"), &err), err);
    struct json *document = grid_document(&numbers->grid, &err);
    assert_ok(document, err);
    dataset_close(&numbers->grid.real);
    return document;
}

static void relative_dice_is_paired_by_subject(void **state)
{
    (void)state;
    struct numbers numbers;
    struct error err;
    make_numbers(&numbers, 0.8);
    struct json *document = document_of(&numbers);
    const struct json *summary = json_get_array(document, "summary", &err);
    const struct json *real = json_get(json_at(summary, 0), "dice", &err);
    assert_true(fabs(number(real, "mean") - 0.67) < 1e-12);
    assert_true(fabs(number(real, "sd") - 0.02 / sqrt(2)) < 1e-12); /* between the seeds */
    /* Dice of subjects differs, so its interval is wide: that of a mean of 5 with sd .1131 */
    double half = (number(real, "upper95") - number(real, "lower95")) / 2;
    assert_true(half > 0.06 && half < 0.12);
    const struct json *relative = json_at(json_get_array(document, "relative_dice", &err), 0);
    assert_string_equal(json_get_string(relative, "source", &err), "synthetic");
    assert_true(fabs(number(relative, "mean") - 0.8) < 1e-12);
    assert_true(fabs(number(relative, "lower95") - 0.8) < 1e-12); /* the same for every subject */
    assert_true(fabs(number(relative, "upper95") - 0.8) < 1e-12);
    json_free(document);
}

static void a_class_without_truth_is_told_and_not_divided_by(void **state)
{
    (void)state;
    struct numbers numbers;
    struct error err;
    make_numbers(&numbers, 0.5);
    struct json *document = document_of(&numbers);
    const struct json *never = json_get_array(document, "never_in_holdout", &err);
    assert_int_equal(json_length(never), 1);
    assert_string_equal(json_as_string(json_at(never, 0)), "1");
    const struct json *summary = json_at(json_get_array(document, "summary", &err), 0);
    const struct json *class = json_at(json_get_array(summary, "classes", &err), 0);
    double value;
    assert_false(json_get_real(json_get(class, "dice", &err), "mean", &value, &err)); /* null */
    int64_t both;
    assert_ok(json_get_integer(json_get(class, "empty", &err), "both", &both, &err), err);
    assert_int_equal(both, PATIENTS * SEEDS);
    assert_true(fabs(number(json_get(summary, "dice", &err), "mean") - 0.67) < 1e-12);
    json_free(document);
}

/* Predicted by one kind alone, it would halve that kind's mean. */
static void a_class_that_nobody_has_is_in_no_mean_over_classes(void **state)
{
    (void)state;
    struct numbers numbers;
    struct error err;
    make_numbers(&numbers, 0.8);
    struct overlap *invented = &numbers.rows[SEEDS][0]; /* by the synthetic kind, in one seed */
    invented->prediction = 5;
    invented->value[METRIC_DICE] = 0;
    struct json *document = document_of(&numbers);
    const struct json *relative = json_at(json_get_array(document, "relative_dice", &err), 0);
    assert_true(fabs(number(relative, "mean") - 0.8) < 1e-12);
    assert_true(fabs(number(relative, "upper95") - 0.8) < 1e-12);
    const struct json *run = json_at(json_get_array(document, "runs", &err), SEEDS);
    assert_true(fabs(number(run, "dice") - 0.8 * 0.66) < 1e-12);
    const struct json *summary = json_at(json_get_array(document, "summary", &err), 1);
    const struct json *class = json_at(json_get_array(summary, "classes", &err), 0);
    assert_true(number(json_get(class, "dice", &err), "mean") == 0); /* of the seed that has one */
    assert_true(number(json_get(class, "dice_interval", &err), "mean") == 0);
    json_free(document);
}

static void one_subject_alone_gives_no_interval(void **state)
{
    (void)state;
    struct numbers numbers;
    struct error err;
    make_numbers(&numbers, 0.8);
    for (int i = 0; i < PATIENTS; i++) /* scans of one subject */
        numbers.patients[i].subject = "a";
    struct json *document = document_of(&numbers);
    const struct json *summary = json_at(json_get_array(document, "summary", &err), 0),
                      *relative = json_at(json_get_array(document, "relative_dice", &err), 0);
    assert_true(fabs(number(json_get(summary, "dice", &err), "mean") - 0.67) < 1e-12);
    assert_true(json_has_null(json_get(summary, "dice", &err), "lower95"));
    assert_true(json_has_null(json_get(relative, "difference", &err), "upper95"));
    json_free(document);
}

/* A subject whose real images bring Dice 0: drawn often enough, there is no ratio to bound. */
static void a_ratio_to_nothing_has_no_upper_end(void **state)
{
    (void)state;
    struct numbers numbers;
    struct error err;
    make_numbers(&numbers, 0.8);
    for (int t = 0; t < SEEDS; t++)
        for (int i = 0; i + 1 < PATIENTS; i++) /* of all but one */
            numbers.rows[t][2 * i + 1].value[METRIC_DICE] = 0;
    struct json *document = document_of(&numbers);
    const struct json *relative = json_at(json_get_array(document, "relative_dice", &err), 0);
    assert_true(number(relative, "lower95") > 1);
    assert_true(json_has_null(relative, "upper95"));
    json_free(document);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_make, scratch_remove)
    const struct CMUnitTest tests[] = {
        TEST(a_store_without_masks_is_refused),
        TEST(a_synthetic_store_without_masks_is_refused),
        TEST(a_subject_on_both_sides_is_refused),
        TEST(nothing_held_out_is_refused),
        TEST(real_images_are_no_synthetic_ones),
        TEST(labels_that_no_real_mask_has_are_refused),
        TEST(other_channels_are_refused),
        TEST(a_subject_in_both_stores_is_refused),
        TEST(a_device_that_is_not_there_is_refused),
        cmocka_unit_test(words_that_mean_nothing_are_refused),
        TEST(a_grid_is_run_once_and_sums_up_the_same),
        TEST(a_holdout_may_be_a_store_of_its_own),
        TEST(what_was_trained_on_the_same_is_copied_from_a_lender),
        TEST(sizes_that_the_stride_does_not_divide_are_scored_at_their_own),
        TEST(a_grid_that_is_stopped_goes_on),
        TEST(relative_dice_is_paired_by_subject),
        TEST(a_class_without_truth_is_told_and_not_divided_by),
        TEST(a_class_that_nobody_has_is_in_no_mean_over_classes),
        TEST(one_subject_alone_gives_no_interval),
        TEST(a_ratio_to_nothing_has_no_upper_end),
    };
    parallel_set_threads(1); /* tests run side by side: waiting threads would only spin */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
