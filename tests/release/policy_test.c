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

static struct policy_result result_in(const char *name, const char *document, struct policy_row row)
{
    struct json *json = json_parse(document, strlen(document), name, &err);
    struct policy_document documents[] = { { name, name, json } };
    struct policy_settings settings = { .rows = { &row, 1 } };
    struct policy_result *results;
    assert_non_null(json);
    policy_evaluate(&settings, documents, 1, &arena, &results);
    json_free(json);
    return results[0];
}

/* Of so many people; `judged`: members that scores beside references speak of. */
static const char *membership_of(int train, int holdout, int judged)
{
    return arena_format(
        &arena,
        "{ \"counts\": { \"train\": { \"subjects\": %d }, \"holdout\": { \"subjects\": %d } },"
        "  \"subjects\": { \"non_members\": %d, \"auc\": { \"value\": 0.5,"
        "                  \"lower95\": 0.1, \"upper95\": 0.9 } },"
        "  \"control\": { \"subjects\": { \"auc\": { \"value\": 0.5 } } },"
        "  \"calibrated\": { \"references\": [ { \"reference\": 1, \"step\": 1 } ],"
        "    \"subjects\": { \"members\": %d, \"non_members\": 9, \"auc\": { \"value\": 0.5 } } } "
        "}",
        train, holdout, holdout, judged);
}

/* What was measured is signed, packed and shown to everybody. */
static void numbers_of_one_patient_alone_count_as_not_measured(void **state)
{
    (void)state;
    static const struct {
        int train, holdout, judged;
        const char *metric;
        bool measured;
    } of_people[] = {
        { 2, 2, 2, "membership.subjects.auc.value", true },
        { 1, 9, 2, "membership.subjects.auc.value", false },
        { 9, 1, 2, "membership.subjects.auc.value", false },
        { 9, 4, 2, "membership.control.subjects.auc.value", true },
        { 9, 3, 2, "membership.control.subjects.auc.value", false },
        { 9, 9, 2, "membership.calibrated.subjects.auc.value", true },
        { 9, 9, 1, "membership.calibrated.subjects.auc.value", false },
        { 1, 1, 1, "membership.calibrated.references[reference=1].step", true },
        { 1, 1, 1, "membership.counts.train.subjects", true },
    };
    for (size_t i = 0; i < sizeof of_people / sizeof *of_people; i++) {
        const char *document =
            membership_of(of_people[i].train, of_people[i].holdout, of_people[i].judged);
        struct policy_row row = { of_people[i].metric, BOUND_VALUE, 0, 1e6 };
        struct policy_result result = result_in("membership", document, row);
        assert_int_equal(result.measured, of_people[i].measured);
        assert_int_equal(result.passed, of_people[i].measured);
        if (!result.measured)
            assert_contains(result.reason, "of one patient alone");
    }
    struct policy_row bounded = { "membership.subjects.auc.value", BOUND_UPPER95, 0, 1 };
    assert_false(result_in("membership", membership_of(1, 9, 9), bounded).measured);

    static const char fidelity[] =
        "{ \"compared\": { \"holdout\": { \"reference_subjects\": 5, \"control_subjects\": 1 },"
        "                \"training\": { \"reference_subjects\": 5, \"control_subjects\": 5 } },"
        "  \"mean\": { \"holdout\": { \"fid\": { \"value\": 1 } },"
        "            \"training\": { \"fid\": { \"value\": 1 } } } }";
    struct policy_row holdout = { "fidelity.mean.holdout.fid.value", BOUND_VALUE, 0, 2 },
                      training = { "fidelity.mean.training.fid.value", BOUND_VALUE, 0, 2 };
    assert_false(result_in("fidelity", fidelity, holdout).measured);
    assert_true(result_in("fidelity", fidelity, training).passed);
}

/* One end may be missing by itself: nothing is as large as a ratio to 0. */
static void so_do_those_of_a_class_that_one_patient_has(void **state)
{
    (void)state;
    static const char utility[] =
        "{ \"counts\": { \"holdout_subjects\": 8 },"
        "  \"summary\": [ { \"seeds\": 1, \"classes\": [ {"
        "      \"dice\": { \"subjects_least\": 1, \"mean\": 0.5 },"
        "      \"hd95\": { \"subjects_least\": 2, \"mean\": 0.5 },"
        "      \"dice_interval\": { \"mean\": 0.5, \"interval\": [null, null] } } ] } ],"
        "  \"relative_dice\": [ { \"mean\": 0.5, \"interval\": [0.4, null], \"lower95\": 0.4,"
        "                      \"upper95\": null } ],"
        "  \"runs\": [ { \"dice\": 0.5, \"classes\": ["
        "      { \"dice\": { \"count\": 1, \"mean\": 0.5 } } ] } ] }";
    static const struct {
        const char *metric;
        bool measured;
    } cases[] = {
        { "utility.summary[0].classes[0].dice.mean", false },
        { "utility.summary[0].classes[0].hd95.mean", true },
        { "utility.summary[0].classes[0].dice_interval.mean", false },
        { "utility.summary[0].seeds", true },
        { "utility.relative_dice[0].mean", true },
        { "utility.runs[0].dice", true },
        { "utility.runs[0].classes[0].dice.mean", false },
    };
    /* Elsewhere an interval may be missing because resamplings do not differ, of however many. */
    struct policy_row alike = { "memorization.alone.mean", BOUND_VALUE, 0, 1 };
    assert_true(result_of(alike).passed);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct policy_row row = { cases[i].metric, BOUND_VALUE, 0, 1 };
        assert_int_equal(result_in("utility", utility, row).measured, cases[i].measured);
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
        TEST(numbers_of_one_patient_alone_count_as_not_measured),
        TEST(so_do_those_of_a_class_that_one_patient_has),
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
