/* report/advice.c: what a person is told to do fits the numbers, and numbers that it names are
 * right. */
#include "test.h"

#include "report/advice.h"

#include <math.h>
#include <stdio.h>

static struct error err;
static struct facts facts;
static struct report_job job;
static struct text advice;
static const char *memory;   /* what membership.json says; NULL: there is none */
static const char *likeness; /* what fidelity.json says; NULL: there is none */

static const struct policy_row rows[] = {
    { .metric = "memorization.flagged.fraction", .bound = BOUND_UPPER95, .limit = 0.01 },
    { .metric = "utility.relative_dice[0].mean", .bound = BOUND_LOWER95, .limit = 0.7 },
    { .metric = "memorization.companions.mia.auc.value", .limit = 0.6 },
};
static struct policy_settings policy = { .quarantine = QUARANTINE_REFUSE,
                                         .rows = { (void *)(uintptr_t)rows, 3 } };

static struct json *parse(const char *text)
{
    struct json *document = text ? json_parse(text, strlen(text), "test", &err) : NULL;
    assert_ok(document || !text, err);
    return document;
}

/* What is advised about these two documents; the caller looks at `advice`. */
static void advise_about(const char *audit, const char *utility)
{
    job = (struct report_job){ .policy = &policy, .generator = "stylegan2" };
    facts = (struct facts){ .job = &job };
    arena_init(&facts.arena);
    facts.memorization = parse(audit);
    facts.judged = parse(audit);
    facts.utility = parse(utility);
    facts.fidelity = parse(likeness);
    facts.membership = parse(memory);
    const struct policy_evidence evidence = { facts.judged, facts.utility, facts.fidelity,
                                              facts.membership };
    facts.passed = policy_judge(&policy, &evidence, &facts.arena, &facts.results);
    facts.result_count = policy.rows.count;
    text_clear(&advice);
    text_add(&advice, "");
    advise(&facts, &advice);
    facts_close(&facts);
}

static int release(void **state)
{
    (void)state;
    text_release(&advice);
    return 0;
}

#define AUDIT(count, fraction, upper, rest)                                                        \
    "{\"counts\": {\"synthetic\": 100, \"subjects\": 200, \"holdout_subjects\": 10},"              \
    " \"calibration\": {\"supported\": true},"                                                     \
    " \"companions\": {\"mia\": {\"auc\": {\"value\": 0.5}}}," rest                                \
    " \"flagged\": {\"count\": " #count ", \"fraction\": " #fraction ", \"upper95\": " #upper "}}"
#define USEFUL "{\"relative_dice\": [{\"mean\": 0.9, \"lower95\": 0.8, \"upper95\": 1}]}"

static void assert_says(const char *words)
{
    if (!strstr(advice.bytes, words))
        fail_msg("\"%s\" is not in:\n%s", words, advice.bytes);
}

static void the_images_needed_are_those_of_clopper_and_pearson(void **state)
{
    (void)state;
    for (int k = 1; k <= 5; k += 2) {
        double n = images_needed(0.01, k), side = 0.025 / k;
        assert_true(1 - pow(side, 1 / n) <= 0.01);
        assert_true(1 - pow(side, 1 / (n - 1)) > 0.01);
    }
    assert_true(images_needed(0.01, NAN) == 368);
    assert_true(images_needed(0, 1) == 0);
}

static void a_set_that_lies_otherwise_is_to_be_changed_first(void **state)
{
    (void)state;
    advise_about(AUDIT(0, 0, 0.004,
                       " \"preparation\": {\"mean_images\": {\"alike\": false, "
                       "\"change\": \"rows and columns exchanged\"}},"),
                 USEFUL);
    assert_says("Change them as their means say (rows and columns exchanged), and audit again");
}

static void a_bound_too_wide_asks_for_so_many_images(void **state)
{
    (void)state;
    advise_about(AUDIT(0, 0, 0.036, ""), USEFUL);
    assert_says("takes 368 images, none of them flagged");
}

static void a_limit_below_what_chance_flags_is_told(void **state)
{
    (void)state;
    static const char audit[] =
        "{\"counts\": {\"synthetic\": 1000, \"subjects\": 200, \"holdout_subjects\": 10},"
        " \"calibration\": {\"supported\": true}, \"flagged\": {\"count\": 12, \"fraction\": 0.012,"
        " \"expected_by_chance\": %s, \"upper95\": 0.021}}";
    char text[400];
    snprintf(text, sizeof text, audit, "11");
    advise_about(text, USEFUL);
    assert_says(
        "By chance alone about 1.1 % of images that copy nothing are flagged, so a limit of "
        "1 % leaves hardly any room");
    snprintf(text, sizeof text, audit, "1"); /* far more than that is flagged */
    advise_about(text, USEFUL);
    assert_null(strstr(advice.bytes, "By chance alone"));
}

static void a_share_beyond_the_limit_is_not_cured_by_more_images(void **state)
{
    (void)state;
    advise_about(AUDIT(5, 0.05, 0.11, ""), USEFUL);
    assert_says("drawing more images does not help");
    assert_says("Memorisation grows");
}

#define SMOOTH(used)                                                                               \
    "\"control\": {\"used\": \"" used "\"}, \"smoothness\": {\"smoother\": {\"value\": 0.98}},"

static void smooth_images_are_told_of_a_control_as_smooth_where_that_is_new(void **state)
{
    static const char *const words = "matched_holdout";
    (void)state;
    advise_about(AUDIT(5, 0.05, 0.11, SMOOTH("holdout")), USEFUL);
    assert_says(words);
    assert_says("in 98 % of all pairs");
    advise_about(AUDIT(5, 0.05, 0.11, SMOOTH("matched_holdout")), USEFUL);
    assert_null(strstr(advice.bytes, words));
    advise_about(AUDIT(5, 0.05, 0.11, SMOOTH("other_subjects")), USEFUL);
    assert_null(strstr(advice.bytes, words));
    advise_about(AUDIT(0, 0, 0.005, SMOOTH("holdout")), USEFUL);
    assert_string_equal(advice.bytes, "");
}

static void nothing_is_said_of_what_is_met(void **state)
{
    (void)state;
    advise_about(AUDIT(0, 0, 0.005, ""), USEFUL);
    assert_string_equal(advice.bytes, "");
}

static void a_small_control_asks_for_so_many_patients(void **state)
{
    (void)state;
    advise_about("{\"counts\": {\"synthetic\": 100, \"subjects\": 200, \"holdout_subjects\": 10},"
                 " \"calibration\": {\"supported\": false, \"control_images\": 100,"
                 " \"control_images_needed\": 999},"
                 " \"companions\": {\"mia\": {\"auc\": {\"value\": 0.5}}},"
                 " \"flagged\": {\"count\": 0, \"fraction\": 0, \"upper95\": 0.005}}",
                 USEFUL);
    assert_says("takes 999 images of unseen patients, and there are 100 of 10 patients");
    assert_says("about 100 patients apart");
}

static void without_an_audit_it_is_asked_for(void **state)
{
    (void)state;
    advise_about(NULL, NULL);
    assert_says("Run the audit");
}

static void utility_is_asked_for_or_measured_better_or_improved(void **state)
{
    (void)state;
    advise_about(AUDIT(0, 0, 0.005, ""), NULL);
    assert_says("was not measured: give the plan a section utility");
    advise_about(AUDIT(0, 0, 0.005, ""),
                 "{\"relative_dice\": [{\"mean\": 0.9, \"lower95\": 0.6, \"upper95\": 1}]}");
    assert_says("the test is too small to show it");
    advise_about(AUDIT(0, 0, 0.005, ""),
                 "{\"relative_dice\": [{\"mean\": 0.4, \"lower95\": 0.3, \"upper95\": 0.5}]}");
    assert_says("less useful than the policy asks for");
    /* the row's own number, not the first that there is */
    struct policy_row row = { "utility.relative_dice[1].mean", BOUND_LOWER95, 0, 0.7 };
    struct policy_settings other = { .rows = { &row, 1 } }, usual = policy;
    policy = other;
    advise_about(AUDIT(0, 0, 0.005, ""),
                 "{\"relative_dice\": [{\"mean\": 0.9, \"lower95\": 0.8, \"upper95\": 1},"
                 " {\"mean\": 0.4, \"lower95\": 0.3, \"upper95\": 0.5}]}");
    policy = usual;
    assert_says("less useful than the policy asks for");
}

static void fidelity_is_asked_for_or_explained(void **state)
{
    (void)state;
    static const struct policy_row row[] = {
        { .metric = "fidelity.mean.holdout.fid.ratio", .limit = 1.5 },
    };
    const struct policy_settings before = policy;
    policy.rows = (struct yaml_rows){ (void *)(uintptr_t)row, 1 };
    advise_about(AUDIT(0, 0, 0.005, ""), NULL);
    assert_says("about fidelity, which was not measured");
    likeness = "{\"channels\": [{}], \"compared\": {\"holdout\": {\"images\": 12}},"
               " \"mean\": {\"holdout\": {\"fid\": {\"ratio\": 1.7}}}}";
    advise_about(AUDIT(0, 0, 0.005, ""), NULL);
    assert_says("fidelity.mean.holdout.fid.ratio is 1.7, and has to be at most 1.5");
    assert_says("measured on 12 synthetic images, in 1 channel");
    likeness = "{\"mean\": {\"holdout\": {\"fid\": {\"ratio\": null}}}}";
    advise_about(AUDIT(0, 0, 0.005, ""), NULL);
    assert_says("keep more patients apart");
    static const struct policy_row score[] = {
        { .metric = "fidelity.mean.holdout.inception_score.value", .bound = BOUND_LOWER95 },
    };
    policy.rows = (struct yaml_rows){ (void *)(uintptr_t)score, 1 };
    likeness = "{\"features\": {\"no_classes\": \"random weights know none\"},"
               " \"mean\": {\"holdout\": {\"inception_score\": {\"value\": null}}}}";
    advise_about(AUDIT(0, 0, 0.005, ""), NULL);
    assert_says("cannot be met: random weights know none. Give the plan the weights");
    likeness = NULL;
    policy = before;
}

static void membership_is_asked_for_or_explained(void **state)
{
    (void)state;
    static const struct policy_row row[] = {
        { .metric = "membership.subjects.auc", .bound = BOUND_UPPER95, .limit = 0.6 },
        { .metric = "membership.calibrated.subjects.auc", .bound = BOUND_UPPER95, .limit = 0.6 },
    };
    const struct policy_settings before = policy;
    policy.rows = (struct yaml_rows){ (void *)(uintptr_t)row, 1 };
    advise_about(AUDIT(0, 0, 0.005, ""), NULL);
    assert_says("about membership, which was not measured");
    memory = "{\"subjects\": {\"auc\": {\"value\": 0.6, \"upper95\": 0.71}}}";
    advise_about(AUDIT(0, 0, 0.005, ""), NULL);
    assert_says("membership.subjects.auc is 0.71, and has to be at most 0.6");
    assert_says("on more patients");
    memory = "{\"subjects\": {\"auc\": {\"value\": 0.6, \"upper95\": null}}}";
    advise_about(AUDIT(0, 0, 0.005, ""), NULL);
    assert_says("several patients on either side");
    policy.rows.items = (void *)(uintptr_t)&row[1];
    advise_about(AUDIT(0, 0, 0.005, ""), NULL);
    assert_says("references: { count: 2 }");
    memory = NULL;
    policy = before;
}

static void a_condition_that_no_advice_knows_is_told_as_it_is(void **state)
{
    (void)state;
    advise_about("{\"counts\": {\"synthetic\": 100, \"subjects\": 200},"
                 " \"calibration\": {\"supported\": true},"
                 " \"companions\": {\"mia\": {\"auc\": {\"value\": 0.7}}},"
                 " \"flagged\": {\"count\": 0, \"fraction\": 0, \"upper95\": 0.005}}",
                 USEFUL);
    assert_says("memorization.companions.mia.auc.value is 0.7, and has to be at most 0.6");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_images_needed_are_those_of_clopper_and_pearson),
        cmocka_unit_test(a_set_that_lies_otherwise_is_to_be_changed_first),
        cmocka_unit_test(a_bound_too_wide_asks_for_so_many_images),
        cmocka_unit_test(a_limit_below_what_chance_flags_is_told),
        cmocka_unit_test(a_share_beyond_the_limit_is_not_cured_by_more_images),
        cmocka_unit_test(smooth_images_are_told_of_a_control_as_smooth_where_that_is_new),
        cmocka_unit_test(nothing_is_said_of_what_is_met),
        cmocka_unit_test(a_small_control_asks_for_so_many_patients),
        cmocka_unit_test(without_an_audit_it_is_asked_for),
        cmocka_unit_test(utility_is_asked_for_or_measured_better_or_improved),
        cmocka_unit_test(fidelity_is_asked_for_or_explained),
        cmocka_unit_test(membership_is_asked_for_or_explained),
        cmocka_unit_test(a_condition_that_no_advice_knows_is_told_as_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, release);
}
