/* The report. With a folder as argument it is left there for the browser's test. */
#include "evidence.h"

#include "base/json.h"

static char *public_page, *internal_page;

static struct report_result write_report(int flagged)
{
    struct error err;
    size_t size;
    struct report_result result;
    evidence_make(flagged);
    struct report_job job = evidence_job();
    assert_ok(report_write(&job, &result, &err), err);
    public_page = file_read(scratch("report/report.public.html"), 1 << 24, &size, &err);
    assert_ok(public_page, err);
    internal_page = file_read(scratch("report/report.internal.html"), 1 << 24, &size, &err);
    assert_ok(internal_page, err);
    return result;
}

static int teardown(void **state)
{
    memory_free(public_page);
    memory_free(internal_page);
    public_page = internal_page = NULL;
    return scratch_remove(state);
}

static void a_set_that_meets_the_policy_passes(void **state)
{
    (void)state;
    struct report_result result = write_report(0);
    assert_true(result.passed);
    assert_int_equal(result.rows, result.rows_passed);
    assert_null(result.advice.bytes);
    assert_contains(public_page, "<strong class=\"word\">PASSED</strong>");
    assert_contains(internal_page, "<strong class=\"word\">PASSED</strong>");
}

static void a_set_that_does_not_is_told_what_to_do(void **state)
{
    (void)state;
    struct report_result result = write_report(1);
    assert_false(result.passed);
    assert_contains(public_page, "NOT PASSED");
    assert_contains(result.advice.bytes, "let earlier checkpoints try, too");
    assert_contains(result.advice.bytes, "It learned from 3 patients only");
    assert_contains(result.advice.bytes, "2 pairs of training images are nearly equal");
    text_release(&result.advice);
}

/* 0.500 beside "at most 0.50001", not met, would be a riddle; so would a limit that is rounded. */
static void what_misses_a_limit_by_less_than_is_shown_is_told_exactly(void **state)
{
    (void)state;
    struct policy_row rows[] = {
        { "memorization.nearest.mean", BOUND_VALUE, RULE_AT_MOST, 0.50001 },
        { "memorization.nearest.p95", BOUND_VALUE, RULE_AT_MOST, 0.5 },
        { "memorization.flagged.fraction", BOUND_UPPER95, RULE_AT_MOST, 0.00502 },
    };
    struct policy_settings policy = policy_defaults;
    struct error err;
    struct report_result result;
    size_t size;
    evidence_make(0);
    struct report_job job = evidence_job();
    policy.rows.items = rows;
    policy.rows.count = 3;
    job.policy = &policy;
    assert_ok(report_write(&job, &result, &err), err);
    text_release(&result.advice);
    public_page = file_read(scratch("report/report.public.html"), 1 << 24, &size, &err);
    assert_ok(public_page, err);
    assert_contains(public_page, "<small>exactly 0.50004, of 0.50001</small>");
    assert_null(strstr(public_page, "exactly 0.6"));
    assert_contains(public_page, "at most 0.502 %</td><td class=\"n\">0.50 %</td>");
}

/* The names of every subject and source, and the folders that they are in. */
static void of_a_set_that_is_flagged_whole_nothing_can_pass(void **state)
{
    (void)state;
    struct report_result result = write_report(EVIDENCE_SYNTHETIC);
    assert_false(result.passed);
    assert_contains(public_page, "Every image was flagged as too close to a patient.");
    assert_contains(public_page, "that none of them shows a person has not been shown");
    text_release(&result.advice);
    memory_free(public_page);
    memory_free(internal_page);
    public_page = internal_page = NULL;
}

static void the_public_report_names_no_patient_and_no_path(void **state)
{
    (void)state;
    for (int flagged = 0; flagged < 2; flagged++) {
        struct report_result result = write_report(flagged);
        for (int i = 0; i < 4; i++)
            assert_null(strstr(public_page, evidence_subject(i)));
        assert_null(strstr(public_page, "Hiddenvault"));
        assert_null(strstr(public_page, scratch_folder));
        assert_null(strstr(public_page, "pepper-and-salt"));
        assert_contains(internal_page, "Quillfeather");
        text_release(&result.advice);
        memory_free(public_page);
        memory_free(internal_page);
    }
    public_page = internal_page = NULL;
}

static size_t count(const char *text, const char *part)
{
    size_t found = 0;
    for (; (text = strstr(text, part)); text += strlen(part))
        found++;
    return found;
}

/* Then a copy would not have been flagged, and "0 flagged" is no good news. */
static void images_that_were_prepared_otherwise_are_told_beside_the_count(void **state)
{
    (void)state;
    struct report_result result = write_report(0);
    assert_contains(public_page, "are much less like the training images than images of other "
                                 "people are (in 97 % of all pairs)");
    assert_contains(internal_page, "few are flagged says little");
    memory_free(public_page);
    memory_free(internal_page);
    result = write_report(1);
    assert_contains(public_page, "most like that of training with rows and columns exchanged");
    assert_null(strstr(public_page, "much less like the training images"));
    text_release(&result.advice);
}

/* Nor is a row of the control's own patients there, when nobody is left to hold one against. */
static void one_patient_is_no_plural(void **state)
{
    (void)state;
    write_report(0);
    assert_contains(public_page, "patients whom the generator never saw (in number: 1)");
    assert_contains(public_page, "Patients kept apart as control: just 1;");
    assert_null(strstr(public_page, "1 patients"));
    assert_null(strstr(public_page, "each held against the others"));
}

static void measures_from_the_literature_have_their_intervals_and_what_chance_brings(void **state)
{
    (void)state;
    write_report(0);
    assert_contains(public_page, "by chance: 0.599</small></th><td class=\"n\">0.620</td>"
                                 "<td class=\"n\">0.560 to 0.680</td>");
    assert_contains(public_page, "<td class=\"n\">0.400 to 0.600</td>");
    assert_contains(public_page, "<td class=\"n\">too few unseen images</td>");
    assert_null(strstr(public_page, "0 to 0<"));
}

/* Whatever stands first in the list: that of the set among real images is another number. */
static void usefulness_is_that_of_the_set_alone(void **state)
{
    (void)state;
    write_report(0);
    assert_contains(internal_page, "<dt>usefulness, where real images are 1</dt><dd>0.900</dd>");
    /* Here of one patient alone. */
    assert_contains(public_page, "<dt>usefulness, where real images are 1</dt><dd>–</dd>");
    assert_null(strstr(public_page, ">0.900<"));
}

static void what_is_undefined_is_no_number(void **state)
{
    (void)state;
    write_report(0);
    assert_contains(public_page, "<td class=\"n\">0.800</td>"); /* of one seed: no deviation */
    assert_null(strstr(public_page, "nan"));
    assert_contains(public_page, "tested on: 1. How far the numbers would be");
    assert_contains(public_page, "None of these patients has 1: its numbers say nothing");
    assert_null(strstr(public_page, "Even trained on real images"));
}

/* Nobody unseen: no threshold is theirs, and the attack was not tried. */
static void without_a_control_nothing_is_said_of_one(void **state)
{
    (void)state;
    struct error err;
    struct report_result result;
    size_t size;
    evidence_make(0);
    write_text(scratch("audit/memorization.json"),
               "{\"schema\": \"lethe/memorization/1\", \"counts\": {\"synthetic\": 10},"
               "\"control\": {\"used\": null, \"holdout\": null}, \"companions\": {\"mia\": null},"
               "\"flagged\": {\"count\": 0, \"upper95\": 0.31}}");
    struct report_job job = evidence_job();
    assert_ok(report_write(&job, &result, &err), err);
    text_release(&result.advice);
    public_page = file_read(scratch("report/report.public.html"), 1 << 24, &size, &err);
    assert_ok(public_page, err);
    assert_null(strstr(public_page, "whom the generator never saw"));
    assert_contains(public_page, "<dt>unseen patients as control</dt><dd>0</dd>");
    assert_contains(public_page,
                    "Not measured, for there were no images of patients who were not:");
    assert_contains(public_page, "No patients were kept apart as control");
}

/* One sheet of synthetic images where the set passed; none where it did not: these may be patients.
 * Pairs, which show patients, are for the reviewer. */
static void the_public_report_shows_no_patient(void **state)
{
    (void)state;
    struct report_result result = write_report(0);
    assert_int_equal(count(public_page, "<img "), 1);
    assert_int_equal(count(internal_page, "<img "), 1 + 4);
    memory_free(public_page);
    memory_free(internal_page);
    result = write_report(1);
    assert_int_equal(count(public_page, "<img "), 0);
    assert_contains(public_page, "may hold images of patients");
    text_release(&result.advice);
}

static void the_pages_depend_neither_on_time_nor_on_the_journal(void **state)
{
    (void)state;
    struct error err;
    struct report_result again, result = write_report(0);
    struct report_job job = evidence_job();
    job.journal_length = 99;
    job.journal_head = "cafe";
    assert_ok(report_write(&job, &again, &err), err);
    assert_string_equal(result.public_sha256, again.public_sha256);
    assert_string_equal(result.internal_sha256, again.internal_sha256);
}

static void pages_ask_nothing_of_any_server(void **state)
{
    (void)state;
    write_report(0);
    const char *pages[] = { public_page, internal_page };
    for (int i = 0; i < 2; i++) {
        assert_contains(pages[i], "default-src 'none'");
        assert_null(strstr(pages[i], "http:"));
        assert_null(strstr(pages[i], "https:"));
        assert_null(strstr(pages[i], "<link"));
        assert_null(strstr(pages[i], "@import"));
        assert_int_equal(count(pages[i], "src="), count(pages[i], "src=\"data:image/png;base64,"));
    }
    assert_null(strstr(public_page, "<script"));
    assert_contains(public_page, "script-src 'none'");
}

static void values_are_text(void **state)
{
    (void)state;
    write_report(0);
    assert_contains(public_page, "An &#60;exemplary&#62; release");
    assert_null(strstr(public_page, "<exemplary>"));
    assert_contains(public_page, "the control is &#60;small&#62;");
}

static void every_image_has_a_text_and_every_section_a_heading(void **state)
{
    (void)state;
    write_report(0);
    assert_int_equal(count(internal_page, "<img "), count(internal_page, "<img alt=\""));
    assert_int_equal(count(internal_page, "<section "), count(internal_page, "<h2 "));
    assert_int_equal(count(internal_page, "<svg "), count(internal_page, "role=\"img\""));
    assert_int_equal(count(internal_page, "<svg "), count(internal_page, "<title id="));
    assert_int_equal(count(public_page, "<h1>"), 1);
}

/* The two are bound: the document names both, and the internal one names the public one. */
static void the_two_are_bound_by_digest(void **state)
{
    (void)state;
    struct error err;
    struct digest digest;
    char hex[DIGEST_HEX];
    struct report_result result = write_report(0);
    assert_ok(digest_file(scratch("report/report.public.html"), &digest, &err), err);
    assert_string_equal(result.public_sha256, digest_hex(&digest, hex));
    assert_contains(internal_page, hex);
    struct json *document = json_load_schema(scratch("report/report.json"), REPORT_SCHEMA, &err);
    assert_ok(document, err);
    const struct json *digests = json_get(document, "sha256", &err);
    assert_string_equal(json_get_string(digests, "public", &err), hex);
    assert_ok(digest_file(scratch("report/report.internal.html"), &digest, &err), err);
    assert_string_equal(json_get_string(digests, "internal", &err), digest_hex(&digest, hex));
    assert_ok(digest_file(scratch("audit/memorization.json"), &digest, &err), err);
    assert_string_equal(json_get_string(digests, "memorization", &err), digest_hex(&digest, hex));
    assert_string_equal(json_get_string(json_get(document, "journal", &err), "head", &err), "feed");
    json_free(document);
}

static void what_was_not_measured_is_said(void **state)
{
    (void)state;
    struct error err;
    struct report_result result;
    evidence_make(0);
    struct report_job job = evidence_job();
    job.audit = job.utility = job.model = NULL;
    job.generator = NULL;
    assert_ok(report_write(&job, &result, &err), err);
    assert_false(result.passed);
    size_t size;
    public_page = file_read(scratch("report/report.public.html"), 1 << 24, &size, &err);
    internal_page = NULL;
    assert_contains(public_page, "NOT AUDITED");
    assert_contains(public_page, "Utility was not measured");
    assert_contains(public_page, "made elsewhere");
    text_release(&result.advice);
}

static void write_with_fidelity(int people, bool classes)
{
    struct error err;
    struct report_result result;
    size_t size;
    struct report_job job = evidence_job();
    evidence_fidelity(scratch("fidelity"), people, classes);
    job.fidelity = scratch("fidelity");
    assert_ok(report_write(&job, &result, &err), err);
    text_release(&result.advice);
    memory_free(public_page);
    memory_free(internal_page);
    public_page = file_read(scratch("report/report.public.html"), 1 << 24, &size, &err);
    internal_page = file_read(scratch("report/report.internal.html"), 1 << 24, &size, &err);
}

static void fidelity_has_a_section_where_it_was_measured(void **state)
{
    (void)state;
    struct error err;
    struct report_result result = write_report(0);
    text_release(&result.advice);
    assert_null(strstr(public_page, "id=\"fidelity\""));
    write_with_fidelity(2, true);
    const char *const pages[] = { public_page, internal_page };
    for (int i = 0; i < 2; i++) {
        assert_contains(pages[i], "id=\"fidelity\"");
        assert_contains(pages[i], "href=\"#fidelity\"");
        assert_contains(pages[i], "by more than chance explains in: distance.");
        assert_contains(pages[i], "0.0600 to 0.140"); /* kid's interval */
        assert_contains(pages[i], "2.500 times");     /* fid over its control */
        assert_contains(pages[i], "features of the network ResNet-50, with weights from a file");
        assert_contains(pages[i], "224 × 224 pixels: as told");
        assert_contains(pages[i], "1.500 to 2.250"); /* the inception score's interval */
        assert_contains(pages[i], "of 10 splits of the images: 1.375, deviation 0.0625");
        assert_contains(pages[i], "the held-out set is of few");
        assert_contains(pages[i], "flair");
        assert_null(strstr(pages[i], "whom it learned from</h3>")); /* was not measured */
    }
    assert_null(strstr(public_page, "Hiddenvault"));
    struct json *document = json_load_schema(scratch("report/report.json"), REPORT_SCHEMA, &err);
    assert_ok(document, err);
    assert_true(json_has(json_get(document, "sha256", &err), "fidelity"));
    json_free(document);
}

static void an_inception_score_takes_a_network_that_knows_classes(void **state)
{
    (void)state;
    struct report_result result = write_report(0);
    text_release(&result.advice);
    write_with_fidelity(2, false);
    assert_contains(internal_page, "with random weights");
    assert_contains(internal_page, "0.0600 to 0.140");
    assert_null(strstr(internal_page, "nception score</"));
    assert_null(strstr(internal_page, "splits"));
}

static void what_one_patients_images_show_is_not_for_everybody(void **state)
{
    (void)state;
    struct report_result result = write_report(0);
    text_release(&result.advice);
    write_with_fidelity(1, true);
    assert_contains(internal_page, "2.500 times");
    assert_contains(internal_page, "Each channel beside");
    assert_contains(public_page, "One patient alone is no measure");
    assert_null(strstr(public_page, "2.500 times"));
    assert_null(strstr(public_page, "splits of the images"));
    assert_null(strstr(public_page, "Each channel beside"));
}

static void write_with_membership(int people, int judged)
{
    struct error err;
    struct report_result result;
    size_t size;
    struct report_job job = evidence_job();
    evidence_membership(scratch("membership"), people, judged);
    job.membership = scratch("membership");
    assert_ok(report_write(&job, &result, &err), err);
    text_release(&result.advice);
    memory_free(public_page);
    memory_free(internal_page);
    public_page = file_read(scratch("report/report.public.html"), 1 << 24, &size, &err);
    internal_page = file_read(scratch("report/report.internal.html"), 1 << 24, &size, &err);
}

static void membership_has_a_section_where_it_was_measured(void **state)
{
    (void)state;
    struct error err;
    struct report_result result = write_report(0);
    text_release(&result.advice);
    assert_null(strstr(public_page, "id=\"membership\""));
    write_with_membership(2, 0);
    const char *const pages[] = { public_page, internal_page };
    for (int i = 0; i < 2; i++) {
        assert_contains(pages[i], "href=\"#membership\"");
        assert_contains(pages[i], "It does so better than chance explains");
        assert_contains(pages[i], "0.700 to 0.900"); /* the AUC's interval */
        assert_contains(pages[i], "too few kept apart to say");
        assert_contains(pages[i], "takes noise away");
        assert_contains(pages[i], "the training set is of few");
        assert_contains(pages[i], "0.0123"); /* by chance */
        assert_null(strstr(pages[i], "beside others"));
    }
    assert_null(strstr(public_page, "Hiddenvault"));
    assert_null(strstr(public_page, "subjects.csv"));
    assert_contains(internal_page, "subjects.csv");
    struct json *document = json_load_schema(scratch("report/report.json"), REPORT_SCHEMA, &err);
    assert_ok(document, err);
    assert_true(json_has(json_get(document, "sha256", &err), "membership"));
    json_free(document);
}

static void how_well_one_patient_is_known_is_not_for_everybody(void **state)
{
    (void)state;
    struct report_result result = write_report(0);
    text_release(&result.advice);
    write_with_membership(1, 0);
    assert_contains(internal_page, "0.812");
    assert_contains(public_page, "One patient alone is no measure");
    assert_null(strstr(public_page, "0.812"));
    assert_null(strstr(public_page, "better than chance"));
}

static void a_control_whose_half_is_one_patient_is_not_for_everybody(void **state)
{
    (void)state;
    struct report_result result = write_report(0);
    text_release(&result.advice);
    write_with_membership(3, 0);
    assert_contains(internal_page, "0.437");
    assert_contains(public_page, "0.812");
    assert_null(strstr(public_page, "0.437"));
    assert_null(strstr(public_page, "halves kept apart"));
    write_with_membership(4, 0);
    assert_contains(public_page, "0.437");
}

static void what_references_show_stands_beside_it(void **state)
{
    (void)state;
    struct report_result result = write_report(0);
    text_release(&result.advice);
    write_with_membership(4, 4);
    const char *const pages[] = { public_page, internal_page };
    for (int i = 0; i < 2; i++) {
        assert_contains(pages[i], "2 other models were trained in the same way");
        assert_contains(pages[i], "trained for 40 to 900 steps, and this one for 900:");
        assert_contains(pages[i], "17 others were seen by all of these");
        assert_contains(pages[i], "by the model beside others");
        assert_contains(pages[i], "patients, beside references");
        assert_contains(pages[i], "0.951");
        assert_contains(pages[i], "0.468");
    }
    write_with_membership(4, 3);
    assert_contains(public_page, "0.951");
    assert_contains(public_page, "0.437");
    assert_null(strstr(public_page, "0.468")); /* a half is one person */
    write_with_membership(4, 1);
    assert_contains(internal_page, "0.951");
    assert_null(strstr(public_page, "0.951"));
}

static void a_damaged_document_is_refused(void **state)
{
    (void)state;
    struct error err;
    struct report_result result;
    evidence_make(0);
    write_text(scratch("audit/memorization.json"), "{\"schema\": \"lethe/other/1\"}");
    struct report_job job = evidence_job();
    assert_false(report_write(&job, &result, &err));
    assert_contains(err.message, "memorization.json");
    assert_int_equal(path_kind(scratch("report")), PATH_NOTHING);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_make, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(a_set_that_meets_the_policy_passes),
        TEST(a_set_that_does_not_is_told_what_to_do),
        TEST(fidelity_has_a_section_where_it_was_measured),
        TEST(an_inception_score_takes_a_network_that_knows_classes),
        TEST(membership_has_a_section_where_it_was_measured),
        TEST(what_references_show_stands_beside_it),
        TEST(how_well_one_patient_is_known_is_not_for_everybody),
        TEST(a_control_whose_half_is_one_patient_is_not_for_everybody),
        TEST(what_one_patients_images_show_is_not_for_everybody),
        TEST(what_misses_a_limit_by_less_than_is_shown_is_told_exactly),
        TEST(of_a_set_that_is_flagged_whole_nothing_can_pass),
        TEST(the_public_report_names_no_patient_and_no_path),
        TEST(images_that_were_prepared_otherwise_are_told_beside_the_count),
        TEST(one_patient_is_no_plural),
        TEST(measures_from_the_literature_have_their_intervals_and_what_chance_brings),
        TEST(usefulness_is_that_of_the_set_alone),
        TEST(what_is_undefined_is_no_number),
        TEST(without_a_control_nothing_is_said_of_one),
        TEST(the_public_report_shows_no_patient),
        TEST(the_pages_depend_neither_on_time_nor_on_the_journal),
        TEST(pages_ask_nothing_of_any_server),
        TEST(values_are_text),
        TEST(every_image_has_a_text_and_every_section_a_heading),
        TEST(the_two_are_bound_by_digest),
        TEST(what_was_not_measured_is_said),
        TEST(a_damaged_document_is_refused),
    };
    if (argc == 2) {
        struct error err;
        struct report_result result;
        snprintf(scratch_folder, sizeof scratch_folder, "%s", argv[1]);
        evidence_make(1);
        struct report_job job = evidence_job();
        bool ok = report_write(&job, &result, &err);
        text_release(&result.advice);
        return ok ? 0 : 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
