#include "test.h"

#include "release/policy.h"

#include <math.h>

static const char memorization[] =
    "{ \"schema\": \"lethe/memorization/1\","
    "  \"counts\": { \"synthetic\": 1000 },"
    "  \"flagged\": { \"count\": 0, \"fraction\": 0.0, \"lower95\": 0.0, \"upper95\": 0.003 },"
    "  \"thresholds\": { \"correlation\": { \"value\": 0.93, \"supported\": true } },"
    "  \"preparation\": { \"mean_images\": { \"alike\": true } },"
    "  \"note\": \"text\","
    "  \"relative\": { \"mean\": 0.9, \"interval\": [0.85, 0.95] },"
    "  \"alone\": { \"mean\": 0.9, \"lower95\": null, \"upper95\": null },"
    "  \"runs\": [ { \"source\": \"a\", \"seed\": 1, \"dice\": 0.5 },"
    "              { \"source\": \"b\", \"seed\": 1, \"dice\": 0.6 },"
    "              { \"source\": \"b\", \"seed\": 2, \"dice\": 0.7 } ] }";

static struct arena arena;
static struct error err;
static struct json *root;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena);
    root = json_parse(memorization, strlen(memorization), "memorization.json", &err);
    return root ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    json_free(root);
    arena_release(&arena);
    return 0;
}

static struct policy_result result_of(struct policy_row row)
{
    struct policy_result *results;
    struct policy_settings settings = { .rows = { &row, 1 } };
    struct policy_document documents[] = { { "memorization", "audit", root },
                                           { "utility", "utility", NULL } };
    bool passed = policy_evaluate(&settings, documents, 2, &arena, &results);
    assert_true(passed == results[0].passed);
    return results[0];
}

static void a_value_may_reach_its_limit_and_not_pass_it(void **state)
{
    (void)state;
    struct policy_row row = { "memorization.counts.synthetic", BOUND_VALUE, 0, 1000 };
    assert_true(result_of(row).passed);
    row.limit = 999;
    struct policy_result result = result_of(row);
    assert_true(!result.passed && result.measured && result.value == 1000);
    row.must_be = RULE_AT_LEAST;
    assert_true(result_of(row).passed);
}

static void bounds_come_from_beside_the_number(void **state)
{
    (void)state;
    struct policy_row row = { "memorization.flagged.fraction", BOUND_UPPER95, 0, 0.003 };
    assert_true(result_of(row).passed && result_of(row).value == 0.003);
    row.limit = 0.0029;
    assert_false(result_of(row).passed);
    row = (struct policy_row){ "memorization.relative.mean", BOUND_LOWER95, 0, 0.85 };
    assert_true(result_of(row).passed && result_of(row).value == 0.85);
    row.limit = 0.86; /* a lower end has to be at least the limit */
    assert_false(result_of(row).passed);
    row = (struct policy_row){ "memorization.relative", BOUND_UPPER95, 0, 1 };
    assert_true(result_of(row).value == 0.95);
}

static void a_truth_value_counts_as_one_or_zero(void **state)
{
    (void)state;
    struct policy_row row = { "memorization.thresholds.correlation.supported", BOUND_VALUE,
                              RULE_AT_LEAST, 1 };
    assert_true(result_of(row).passed);
}

static void entries_of_lists_are_picked_by_number_or_by_values(void **state)
{
    (void)state;
    assert_true(result_of((struct policy_row){ "memorization.runs[1].dice", 0, 0, 1 }).value ==
                0.6);
    assert_true(result_of((struct policy_row){ "memorization.runs[source=b,seed=2].dice", 0, 0, 1 })
                    .value == 0.7);
    struct policy_result two =
        result_of((struct policy_row){ "memorization.runs[source=b].dice", 0, 0, 1 });
    assert_true(!two.passed && !two.measured);
    assert_contains(two.reason, "2 entries have source=b");
    assert_contains(result_of((struct policy_row){ "memorization.runs[3].dice", 0, 0, 1 }).reason,
                    "no entry 3");
}

static void what_is_missing_fails_and_says_why(void **state)
{
    (void)state;
    static const struct {
        struct policy_row row;
        const char *reason;
    } cases[] = {
        { { "memorization.flagged.fractoin", 0, 0, 1 }, "there is no \"fractoin\"" },
        { { "memorization.flagged.fraction.deeper", 0, 0, 1 }, "there is no \"deeper\"" },
        { { "memorization.note", 0, 0, 1 }, "no number" },
        { { "memorization.flagged", 0, 0, 1 }, "no number" },
        { { "memorization.counts.synthetic", BOUND_UPPER95, 0, 1 }, "no 95 % interval" },
        { { "memorization.alone.mean", BOUND_LOWER95, 0, 0 }, "no end of its 95 % interval" },
        { { "utility.relative_dice.mean", 0, 0, 1 }, "not measured: lethe utility" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct policy_result result = result_of(cases[i].row);
        assert_true(!result.passed && !result.measured);
        assert_contains(result.reason, cases[i].reason);
    }
}

static void a_metric_that_is_no_path_is_refused_before_anything_runs(void **state)
{
    (void)state;
    static const char *const bad[] = { "memorization", "",      "memorization.", "a..b",
                                       "a.b[",         "a.b[]", "a.b[1]c",       ".a" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct policy_row row = { .metric = bad[i] };
        struct policy_settings settings = { .rows = { &row, 1 } };
        assert_false(policy_check(&settings, &err));
        assert_contains(err.message, "is no metric");
    }
}

static void a_metric_that_there_can_never_be_is_refused_before_anything_runs(void **state)
{
    (void)state;
    struct policy_row rows[] = { { .metric = "memorization.flagged.count" },
                                 { .metric = "memorization.flagged.fractoin" } };
    struct policy_settings settings = { .rows = { rows, 2 } };
    assert_false(policy_check(&settings, &err));
    assert_contains(err.message, "policy row 2: \"memorization.flagged.fractoin\" can never be "
                                 "measured: flagged of memorization.json never has \"fractoin\"; "
                                 "did you mean \"fraction\"?");
    rows[1] = (struct policy_row){ "memorization.flagged.count", BOUND_UPPER95, 0, 3 };
    assert_false(policy_check(&settings, &err)); /* its bounds would be those of the fraction */
}

static void a_policy_that_everything_would_pass_is_refused(void **state)
{
    (void)state;
    struct policy_settings settings = { .quarantine = QUARANTINE_DROP };
    assert_false(policy_check(&settings, &err));
    assert_contains(err.message, "the policy has no row, so whatever was measured would pass");
    struct policy_row row = { "utility.relative_dice[0].mean", BOUND_LOWER95, 0, 0.8 };
    settings.rows = (struct yaml_rows){ &row, 1 };
    assert_false(policy_check(&settings, &err));
    assert_contains(err.message, "no row about memorization, so a set of copies would pass");
}

static void a_metric_of_no_document_is_refused_before_anything_runs(void **state)
{
    (void)state;
    static const char *const bad[] = { "memorisation.flagged.count", "realism.fid", "utilit.x" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct policy_row row = { .metric = bad[i] };
        struct policy_settings settings = { .rows = { &row, 1 } };
        assert_false(policy_check(&settings, &err));
        assert_contains(err.message,
                        "a metric begins with memorization, utility, fidelity or membership");
    }
}

static void without_what_was_flagged_counts_are_of_what_is_left(void **state)
{
    (void)state;
    static const char text[] =
        "{ \"count\": 3, \"of\": 1000, \"fraction\": 0.003, \"upper95\": 0.01,"
        "  \"by_identity\": 2, \"images\": [4, 5, 6], \"excess_p\": 0.2 }";
    struct json *flagged = json_parse(text, strlen(text), "flagged", &err),
                *counts = json_new_object();
    assert_ok(flagged, err);
    json_put_integer(counts, "synthetic", 1000);
    json_put_integer(counts, "holdout_subjects", 25);
    json_put(root, "flagged", flagged);
    json_put(root, "counts", counts);
    policy_without_flagged(root, 997);
    static const struct {
        const char *metric;
        enum policy_bound bound;
        double value;
    } cases[] = {
        { "memorization.flagged.count", BOUND_VALUE, 0 },
        { "memorization.flagged.fraction", BOUND_VALUE, 0 },
        { "memorization.flagged.fraction", BOUND_UPPER95, 0.01 },
        { "memorization.flagged.of", BOUND_VALUE, 997 },
        { "memorization.flagged.by_identity", BOUND_VALUE, 0 },
        { "memorization.flagged.excess_p", BOUND_VALUE, 0.2 },
        { "memorization.counts.synthetic", BOUND_VALUE, 997 },
        { "memorization.counts.holdout_subjects", BOUND_VALUE, 25 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct policy_result result =
            result_of((struct policy_row){ cases[i].metric, cases[i].bound, 0, 1 });
        assert_true(result.measured && result.value == cases[i].value);
    }
    assert_int_equal(json_length(json_member(json_member(root, "flagged"), "images")), 0);
}

static void the_defaults_pass_a_clean_set_and_nothing_else(void **state)
{
    (void)state;
    static const struct {
        const char *flagged;
        bool passes;
    } cases[] = {
        { "{ \"count\": 0, \"fraction\": 0, \"upper95\": 0.00997, \"lower95\": 0 }", true },
        { "{ \"count\": 0, \"fraction\": 0, \"upper95\": 0.0102, \"lower95\": 0 }", false },
        { "{ \"count\": 1, \"fraction\": 1e-5, \"upper95\": 1e-4, \"lower95\": 0 }", false },
        { "{ \"count\": 0, \"fraction\": 0, \"upper95\": null, \"lower95\": 0 }", false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct policy_result *results;
        struct policy_document document = { "memorization", "audit", root };
        struct json *flagged =
            json_parse(cases[i].flagged, strlen(cases[i].flagged), "flagged", &err);
        assert_ok(flagged, err);
        json_put(root, "flagged", flagged);
        assert_ok(policy_check(&policy_defaults, &err), err);
        assert_true(policy_evaluate(&policy_defaults, &document, 1, &arena, &results) ==
                    cases[i].passes);
    }
}

static void the_digest_changes_with_every_part_of_the_policy(void **state)
{
    (void)state;
    struct policy_row row = { "memorization.flagged.fraction", BOUND_UPPER95, 0, 0.01 };
    struct policy_settings settings = { .rows = { &row, 1 } };
    struct digest before, after;
    policy_digest(&settings, &before);
    policy_digest(&settings, &after);
    assert_true(digest_equal(&before, &after));
    struct policy_row rows[] = { { "memorization.flagged.count", BOUND_UPPER95, 0, 0.01 },
                                 { "memorization.flagged.fraction", BOUND_VALUE, 0, 0.01 },
                                 { "memorization.flagged.fraction", BOUND_UPPER95, 1, 0.01 },
                                 { "memorization.flagged.fraction", BOUND_UPPER95, 0, 0.02 } };
    for (size_t i = 0; i < 4; i++) {
        settings.rows.items = &rows[i];
        policy_digest(&settings, &after);
        assert_false(digest_equal(&before, &after));
    }
    settings = (struct policy_settings){ .quarantine = QUARANTINE_DROP, .rows = { &row, 1 } };
    policy_digest(&settings, &after);
    assert_false(digest_equal(&before, &after));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_value_may_reach_its_limit_and_not_pass_it),
        TEST(bounds_come_from_beside_the_number),
        TEST(a_truth_value_counts_as_one_or_zero),
        TEST(entries_of_lists_are_picked_by_number_or_by_values),
        TEST(what_is_missing_fails_and_says_why),
        TEST(a_metric_that_is_no_path_is_refused_before_anything_runs),
        TEST(a_metric_of_no_document_is_refused_before_anything_runs),
        TEST(a_metric_that_there_can_never_be_is_refused_before_anything_runs),
        TEST(a_policy_that_everything_would_pass_is_refused),
        TEST(without_what_was_flagged_counts_are_of_what_is_left),
        TEST(the_defaults_pass_a_clean_set_and_nothing_else),
        TEST(the_digest_changes_with_every_part_of_the_policy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
