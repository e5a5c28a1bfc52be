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

#define MARK_OTHER(mark, note)                                                                     \
    "{\"synthetic\": 3, \"training\": 4, \"mark\": \"" mark "\", \"note\": \"" note "\"}"

/* The record after the marks, which follow those of `before` and take its place. */
static void follow(struct json **before, const char *reviewer, const char *marks,
                   struct review *review)
{
    char sha256[DIGEST_HEX];
    snprintf(sha256, sizeof sha256, "%s", digest_text);
    write_marks(sha256, reviewer, marks);
    assert_ok(read_marks(review), err);
    json_put_string(review->document, "synthetic_sha256", "5e7");
    review_follow(review, *before, *before ? "yesterday" : NULL, "today");
    json_free(*before);
    *before = review->document;
}

static const char *text_at(const struct json *document, const char *list, size_t place,
                           const char *key)
{
    const char *text =
        json_as_string(json_member(json_at(json_member(document, list), place), key));
    return text ? text : "none";
}

static void a_copy_stays_one_when_later_marks_do_not_speak_of_it(void **state)
{
    (void)state;
    static const char *const silent[] = { MARK_OTHER("unmarked", ""), MARK_B };
    for (size_t i = 0; i < 2; i++) {
        struct json *document = NULL;
        struct review review;
        follow(&document, "A. First", MARK_A, &review);
        assert_int_equal(review.kept + review.withdrawn, 0);
        for (int again = 0; again < 2; again++) { /* and through a third import */
            follow(&document, "B. Second", silent[i], &review);
            assert_int_equal(review.counts[MARK_COPY], 1);
            assert_int_equal(review.counts[MARK_UNMARKED], i);
            assert_int_equal(review.kept, 1);
            assert_int_equal(review.withdrawn, 0);
            assert_string_equal(text_at(document, "marks", i, "mark"), "copy");
            assert_string_equal(text_at(document, "marks", i, "note"), "same lesion");
            assert_string_equal(text_at(document, "marks", i, "by"), "A. First");
            assert_string_equal(text_at(document, "marks", i, "marked"), "yesterday");
        }
        json_free(document);
    }
}

static void a_copy_that_is_marked_otherwise_is_withdrawn_and_told(void **state)
{
    (void)state;
    struct json *document = NULL;
    struct review review;
    follow(&document, "A. First", MARK_A, &review);
    follow(&document, "B. Second", MARK_OTHER("not_a_copy", "another slice"), &review);
    assert_int_equal(review.counts[MARK_COPY], 0);
    assert_int_equal(review.withdrawn, 1);
    for (int again = 0; again < 2; again++) { /* later marks keep the list */
        assert_int_equal(json_length(json_member(document, "withdrawn")), 1);
        assert_string_equal(text_at(document, "withdrawn", 0, "by"), "A. First");
        assert_string_equal(text_at(document, "withdrawn", 0, "note"), "same lesion");
        assert_string_equal(text_at(document, "withdrawn", 0, "marked"), "yesterday");
        assert_string_equal(text_at(document, "withdrawn", 0, "mark_now"), "not_a_copy");
        assert_string_equal(text_at(document, "withdrawn", 0, "withdrawn_by"), "B. Second");
        assert_string_equal(text_at(document, "withdrawn", 0, "withdrawn"), "today");
        follow(&document, "C. Third", MARK_B, &review);
        assert_int_equal(review.withdrawn, 0);
    }
    follow(&document, "A. First", MARK_A, &review); /* a copy again */
    assert_int_equal(review.counts[MARK_COPY], 1);
    assert_int_equal(json_length(json_member(document, "withdrawn")), 0);
    json_free(document);
}

static void marks_about_another_set_say_nothing_of_this_one(void **state)
{
    (void)state;
    struct json *document = NULL;
    struct review review;
    follow(&document, "A. First", MARK_A, &review);
    json_put_string(document, "synthetic_sha256", "0the5");
    follow(&document, "B. Second", MARK_B, &review);
    assert_int_equal(review.counts[MARK_COPY], 0);
    assert_int_equal(json_length(json_member(document, "marks")), 1);
    json_free(document);
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
        TEST(a_copy_stays_one_when_later_marks_do_not_speak_of_it),
        TEST(a_copy_that_is_marked_otherwise_is_withdrawn_and_told),
        TEST(marks_about_another_set_say_nothing_of_this_one),
        TEST(marks_about_another_audit_are_refused),
        TEST(a_pair_that_the_audit_does_not_have_is_refused),
        TEST(a_pair_marked_twice_is_refused),
        TEST(an_unknown_mark_is_refused),
        TEST(a_review_without_a_reviewer_is_refused),
        TEST(what_is_no_review_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
