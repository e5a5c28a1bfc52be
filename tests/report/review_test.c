#include "evidence.h"

#include "report/review.h"

static struct error err;
static struct arena arena;
static char digest_text[DIGEST_HEX];

static int setup(void **state)
{
    struct digest digest;
    if (scratch_make(state))
        return -1;
    arena_init(&arena);
    evidence_audit(scratch("audit"), 1);
    assert_ok(digest_file(scratch("audit/memorization.json"), &digest, &err), err);
    digest_hex(&digest, digest_text);
    return 0;
}

static int teardown(void **state)
{
    arena_release(&arena);
    return scratch_remove(state);
}

/* A file of marks about the audit; `marks` as JSON. */
static void write_marks(const char *sha256, const char *reviewer, const char *marks)
{
    char text[2000];
    snprintf(
        text, sizeof text,
        "{\"schema\": \"lethe/review/1\", \"memorization_sha256\": \"%s\", \"reviewer\": \"%s\", "
        "\"marks\": [%s]}",
        sha256, reviewer, marks);
    write_text(scratch("review.json"), text);
}

static bool read_marks(struct review *review)
{
    return review_read(scratch("review.json"), scratch("audit/memorization.json"), review, &arena,
                       &err);
}

#define MARK_A "{\"synthetic\": 3, \"training\": 4, \"mark\": \"copy\", \"note\": \"same lesion\"}"
#define MARK_B "{\"synthetic\": 5, \"training\": 1, \"mark\": \"unmarked\", \"note\": \"\"}"

static void marks_are_taken_and_counted(void **state)
{
    (void)state;
    struct review review;
    write_marks(digest_text, "A. Reviewer", MARK_A ", " MARK_B);
    assert_ok(read_marks(&review), err);
    assert_string_equal(review.reviewer, "A. Reviewer");
    assert_int_equal(review.counts[MARK_COPY], 1);
    assert_int_equal(review.counts[MARK_UNMARKED], 1);
    assert_int_equal(review.counts[MARK_NOT_A_COPY], 0);
    char *text = json_text(review.document);
    assert_contains(text, "same lesion");
    memory_free(text);
    json_free(review.document);
}

static void expect_refused(const char *reason)
{
    struct review review;
    assert_false(read_marks(&review));
    assert_contains(err.message, reason);
    assert_null(review.document);
}

static void marks_about_another_audit_are_refused(void **state)
{
    (void)state;
    write_marks("0000000000000000000000000000000000000000000000000000000000000000", "A", MARK_A);
    expect_refused("these marks are about another audit");
}

static void a_pair_that_the_audit_does_not_have_is_refused(void **state)
{
    (void)state;
    write_marks(digest_text, "A",
                "{\"synthetic\": 3, \"training\": 5, \"mark\": \"copy\", \"note\": \"\"}");
    expect_refused("the audit has no pair of synthetic image 3 and training image 5");
}

static void a_pair_marked_twice_is_refused(void **state)
{
    (void)state;
    write_marks(digest_text, "A", MARK_A ", " MARK_A);
    expect_refused("synthetic image 3 is marked twice");
}

static void an_unknown_mark_is_refused(void **state)
{
    (void)state;
    write_marks(digest_text, "A",
                "{\"synthetic\": 3, \"training\": 4, \"mark\": \"fine\", \"note\": \"\"}");
    expect_refused("\"fine\" is none of copy, not_a_copy, unsure, unmarked");
}

static void a_review_without_a_reviewer_is_refused(void **state)
{
    (void)state;
    write_marks(digest_text, "", MARK_A);
    expect_refused("the reviewer's name is missing");
}

static void what_is_no_review_is_refused(void **state)
{
    (void)state;
    write_text(scratch("review.json"), "{\"schema\": \"lethe/review/2\"}");
    expect_refused("review.json");
    write_text(scratch("review.json"), "marks");
    expect_refused("review.json");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(marks_are_taken_and_counted),
        TEST(marks_about_another_audit_are_refused),
        TEST(a_pair_that_the_audit_does_not_have_is_refused),
        TEST(a_pair_marked_twice_is_refused),
        TEST(an_unknown_mark_is_refused),
        TEST(a_review_without_a_reviewer_is_refused),
        TEST(what_is_no_review_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
