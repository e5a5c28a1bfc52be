#include "scratch.h"

#include "plan/stage.h"

static struct error err;
static struct digest inputs;

static int setup(void **state)
{
    if (scratch_make(state))
        return -1;
    inputs = digest_of("inputs", 6);
    assert_ok(folder_create(scratch("run/deep"), &err), err);
    write_text(scratch("run/a"), "one");
    write_text(scratch("run/deep/b"), "two");
    assert_ok(stage_record(scratch("run"), "ingest", &inputs, 1.5, false, &err), err);
    return 0;
}

static void expect_stale(const char *stage, const struct digest *digest, const char *reason)
{
    assert_false(stage_is_current(scratch("run"), stage, digest, &err));
    assert_contains(err.message, reason);
    assert_false(stage_is_current(scratch("run"), stage, digest, NULL));
}

static void what_was_recorded_is_current(void **state)
{
    (void)state;
    assert_true(stage_is_current(scratch("run"), "ingest", &inputs, &err));
    assert_true(stage_is_current(scratch("run"), "ingest", &inputs, NULL));
    assert_int_equal(mode_of(scratch("run/stage.json")), 0600);
}

static void recording_again_is_current_too(void **state)
{
    (void)state;
    assert_ok(stage_record(scratch("run"), "ingest", &inputs, 2, false, &err), err);
    assert_true(stage_is_current(scratch("run"), "ingest", &inputs, &err));
}

static void what_was_never_run_is_not_current(void **state)
{
    (void)state;
    assert_int_equal(unlink(scratch("run/stage.json")), 0);
    expect_stale("ingest", &inputs, "it has not been run");
    assert_false(stage_is_current(scratch("absent"), "ingest", &inputs, &err));
}

static void other_inputs_are_noticed(void **state)
{
    (void)state;
    struct digest other = digest_of("others", 6);
    expect_stale("ingest", &other, "its settings or its inputs have changed");
}

static void another_stage_is_noticed(void **state)
{
    (void)state;
    expect_stale("train", &inputs, "stage was ingest, is now train");
}

static void another_version_is_noticed(void **state)
{
    (void)state;
    size_t size;
    char *record = file_read(scratch("run/stage.json"), 1 << 16, &size, &err);
    assert_ok(record, err);
    char *at = strstr(record, "\"version\": \"");
    assert_non_null(at);
    at[strlen("\"version\": \"")] = '9';
    write_text(scratch("run/stage.json"), record);
    memory_free(record);
    expect_stale("ingest", &inputs, "version was 9");
}

static void a_changed_output_is_noticed(void **state)
{
    (void)state;
    write_text(scratch("run/deep/b"), "twe");
    expect_stale("ingest", &inputs, "the output deep/b has changed");
}

static void a_missing_output_is_noticed(void **state)
{
    (void)state;
    assert_int_equal(unlink(scratch("run/a")), 0);
    expect_stale("ingest", &inputs, "1 output files, 2 were made");
}

static void an_additional_output_is_noticed(void **state)
{
    (void)state;
    write_text(scratch("run/c"), "");
    expect_stale("ingest", &inputs, "3 output files, 2 were made");
}

static void where_it_may_grow_an_additional_output_is_fine(void **state)
{
    (void)state;
    assert_ok(stage_record(scratch("run"), "ingest", &inputs, 2, true, &err), err);
    write_text(scratch("run/c"), "a signature");
    assert_true(stage_is_current(scratch("run"), "ingest", &inputs, &err));
    write_text(scratch("run/a"), "onf");
    expect_stale("ingest", &inputs, "the output a has changed");
    assert_int_equal(unlink(scratch("run/a")), 0);
    expect_stale("ingest", &inputs, "a");
}

static void a_renamed_output_is_noticed(void **state)
{
    (void)state;
    assert_int_equal(rename(scratch("run/a"), scratch("run/aa")), 0);
    expect_stale("ingest", &inputs, "the output aa has changed");
}

static void a_damaged_record_is_noticed(void **state)
{
    (void)state;
    write_text(scratch("run/stage.json"), "{\"schema\": \"lethe/stage/1\"}");
    expect_stale("ingest", &inputs, "stage");
    write_text(scratch("run/stage.json"), "{");
    expect_stale("ingest", &inputs, "stage.json");
}

/* What later stages depend on: neither time nor outputs beside it show in the product. */
static void the_product_is_what_was_made(void **state)
{
    (void)state;
    struct digest first, again, all;
    assert_ok(stage_product(scratch("run"), "deep/", &first, &err), err);
    assert_ok(stage_product(scratch("run"), "", &all, &err), err);
    assert_false(digest_equal(&first, &all));
    write_text(scratch("run/a"), "another");
    assert_ok(stage_record(scratch("run"), "ingest", &inputs, 99, false, &err), err);
    assert_ok(stage_product(scratch("run"), "deep/", &again, &err), err);
    assert_true(digest_equal(&first, &again));
    write_text(scratch("run/deep/b"), "third");
    assert_ok(stage_record(scratch("run"), "ingest", &inputs, 99, false, &err), err);
    assert_ok(stage_product(scratch("run"), "deep/", &again, &err), err);
    assert_false(digest_equal(&first, &again));
}

static void intact_is_whatever_it_was_made_from(void **state)
{
    (void)state;
    assert_true(stage_is_intact(scratch("run"), "ingest", &err));
    assert_false(stage_is_intact(scratch("run"), "train", &err));
    write_text(scratch("run/deep/b"), "twe");
    assert_false(stage_is_intact(scratch("run"), "ingest", &err));
    assert_contains(err.message, "the output deep/b has changed");
}

static void a_record_tells_time_and_size(void **state)
{
    (void)state;
    struct stage_summary summary;
    char hex[DIGEST_HEX];
    assert_ok(stage_read(scratch("run"), &summary, &err), err);
    assert_true(summary.seconds == 1.5);
    assert_int_equal(summary.files, 2);
    assert_int_equal(summary.bytes, 6);
    assert_string_equal(summary.version, LETHE_VERSION);
    assert_string_equal(summary.inputs, digest_hex(&inputs, hex));
    assert_false(stage_read(scratch("nowhere"), &summary, &err));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, scratch_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_was_recorded_is_current),
        TEST(recording_again_is_current_too),
        TEST(what_was_never_run_is_not_current),
        TEST(other_inputs_are_noticed),
        TEST(another_stage_is_noticed),
        TEST(another_version_is_noticed),
        TEST(a_changed_output_is_noticed),
        TEST(a_missing_output_is_noticed),
        TEST(an_additional_output_is_noticed),
        TEST(a_renamed_output_is_noticed),
        TEST(a_damaged_record_is_noticed),
        TEST(the_product_is_what_was_made),
        TEST(where_it_may_grow_an_additional_output_is_fine),
        TEST(intact_is_whatever_it_was_made_from),
        TEST(a_record_tells_time_and_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
