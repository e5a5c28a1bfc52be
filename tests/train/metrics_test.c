/* metrics.jsonl: what training writes is read back as curves, whatever a crash left of it. */
#include "scratch.h"

#include "train/metrics.h"

static struct metrics parsed(const char *lines)
{
    struct error err;
    struct metrics metrics;
    assert_ok(metrics_parse(lines, strlen(lines), "metrics", &metrics, &err), err);
    return metrics;
}

static void each_number_is_a_point_of_the_series_of_its_name(void **state)
{
    (void)state;
    struct metrics metrics =
        parsed("{\"step\": 2, \"images\": 8, \"loss\": {\"D\": {\"real\": 1.5, \"fake\": 2}}, "
               "\"memory\": 5}\n"
               "{\"step\": 4, \"images\": 16, \"loss\": {\"D\": {\"real\": 0.5}, \"Dr1\": {\"r1\": "
               "7}}, \"memory\": 6}\n");
    const struct metrics_series *real = metrics_find(&metrics, "D.real"),
                                *r1 = metrics_find(&metrics, "Dr1.r1"),
                                *memory = metrics_find(&metrics, "memory");
    assert_int_equal(metrics.series_count, 4);
    assert_int_equal(real->count, 2);
    assert_float_equal(real->images[1], 16, 0);
    assert_float_equal(real->value[1], 0.5, 0);
    assert_true(real->loss && r1->loss && !memory->loss);
    assert_int_equal(r1->count, 1);
    assert_float_equal(r1->images[0], 16, 0);
    assert_float_equal(memory->value[1], 6, 0);
    assert_int_equal(metrics.step, 4);
    assert_int_equal(metrics.images, 16);
    assert_null(metrics_find(&metrics, "step"));
    metrics_release(&metrics);
}

static void a_line_cut_off_by_a_crash_is_passed_over(void **state)
{
    (void)state;
    struct metrics metrics =
        parsed("{\"step\": 1, \"images\": 4, \"memory\": 5}\n{\"step\": 2, \"im");
    assert_int_equal(metrics.step, 1);
    assert_int_equal(metrics_find(&metrics, "memory")->count, 1);
    metrics_release(&metrics);
}

static void a_value_that_was_not_finite_is_no_point(void **state)
{
    (void)state;
    struct metrics metrics = parsed("{\"step\": 1, \"images\": 4, \"memory\": null}\n");
    assert_null(metrics_find(&metrics, "memory"));
    metrics_release(&metrics);
}

static void another_line_is_refused_with_its_number(void **state)
{
    (void)state;
    static const char *const bad[] = { "[]", "{}", "x", "{\"step\": 1, \"images\": -1}",
                                       "{\"step\": \"1\", \"images\": 1}" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct error err;
        struct metrics metrics;
        char lines[128];
        snprintf(lines, sizeof lines, "{\"step\": 1, \"images\": 1}\n%s\n", bad[i]);
        assert_false(metrics_parse(lines, strlen(lines), "metrics", &metrics, &err));
        assert_contains(err.message, "metrics:2: no line of metrics");
    }
}

static void trimming_keeps_what_will_not_come_again(void **state)
{
    (void)state;
    struct error err;
    size_t size;
    static const char lines[] = "{\"step\": 1, \"images\": 4}\n{\"step\": 2, \"images\": 8}\n"
                                "{\"step\": 3, \"images\": 12}\n{\"st";
    assert_ok(file_write(scratch("metrics.jsonl"), lines, strlen(lines), &err), err);
    assert_ok(metrics_trim(scratch("metrics.jsonl"), 2, &err), err);
    char *kept = file_read(scratch("metrics.jsonl"), 1000, &size, &err);
    assert_ok(kept, err);
    assert_string_equal(kept, "{\"step\": 1, \"images\": 4}\n{\"step\": 2, \"images\": 8}\n");
    memory_free(kept);
    assert_ok(metrics_trim(scratch("none.jsonl"), 2, &err), err);
    assert_int_equal(path_kind(scratch("none.jsonl")), PATH_NOTHING);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_make, scratch_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_number_is_a_point_of_the_series_of_its_name),
        TEST(a_line_cut_off_by_a_crash_is_passed_over),
        TEST(a_value_that_was_not_finite_is_no_point),
        TEST(another_line_is_refused_with_its_number),
        TEST(trimming_keeps_what_will_not_come_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
