#include "scratch.h"

#include "plan/journal.h"

static struct error err;

static void add(struct journal *journal, const char *event, const char *stage)
{
    struct json *details = json_new_object();
    json_put_string(details, "stage", stage);
    assert_ok(journal_add(journal, event, details, &err), err);
}

/* Three lines in scratch("run"). */
static int setup(void **state)
{
    struct journal journal;
    if (scratch_make(state) || !folder_create(scratch("run"), &err))
        return -1;
    assert_ok(journal_open(&journal, scratch("run"), &err), err);
    add(&journal, "stage started", "ingest");
    add(&journal, "stage ended", "ingest");
    add(&journal, "stage started", "train");
    journal_close(&journal);
    return 0;
}

static char *read_all(void)
{
    size_t size;
    char *text = file_read(scratch("run/journal.jsonl"), 1 << 20, &size, &err);
    assert_ok(text, err);
    return text;
}

static void expect_broken(const char *where)
{
    uint64_t length;
    struct digest head;
    struct journal journal;
    assert_false(journal_read(scratch("run"), NULL, NULL, &length, &head, &err));
    assert_contains(err.message, where);
    assert_contains(err.message, "the journal was changed after it was written");
    assert_false(journal_open(&journal, scratch("run"), &err));
    assert_contains(err.message, where);
}

static void count_lines(void *context, const struct json *line)
{
    assert_non_null(json_get_string(line, "user", &err));
    assert_string_equal(json_get_string(line, "version", &err), LETHE_VERSION);
    assert_int_equal(strlen(json_get_string(line, "time", &err)), strlen("2024-05-01T12:00:00Z"));
    ++*(int *)context;
}

static void a_whole_chain_is_read(void **state)
{
    (void)state;
    int lines = 0;
    uint64_t length;
    struct digest head, zeros = { 0 };
    assert_ok(journal_read(scratch("run"), count_lines, &lines, &length, &head, &err), err);
    assert_int_equal(length, 3);
    assert_int_equal(lines, 3);
    assert_false(digest_equal(&head, &zeros));
    assert_int_equal(mode_of(scratch("run/journal.jsonl")), 0600);
}

static void a_missing_journal_is_empty(void **state)
{
    (void)state;
    uint64_t length = 9;
    struct digest head, zeros = { 0 };
    assert_ok(journal_read(scratch("nowhere"), NULL, NULL, &length, &head, &err), err);
    assert_int_equal(length, 0);
    assert_true(digest_equal(&head, &zeros));
}

/* Somebody else's folder; here a link that leads to itself, which root cannot follow either. */
static void one_that_cannot_be_looked_at_is_not_missing(void **state)
{
    (void)state;
    uint64_t length;
    struct digest head;
    assert_int_equal(symlink("theirs", scratch("theirs")), 0);
    assert_false(journal_read(scratch("theirs"), NULL, NULL, &length, &head, &err));
    assert_contains(err.message, "theirs/journal.jsonl: cannot be read: ");
}

static void an_edited_line_is_found(void **state)
{
    (void)state;
    char *text = read_all();
    memcpy(strstr(text, "\"stage ended\""), "\"stage ENDED\"", 13);
    write_text(scratch("run/journal.jsonl"), text);
    memory_free(text);
    expect_broken("line 3 does not follow from the one before it");
}

static void a_removed_line_is_found(void **state)
{
    (void)state;
    char *text = read_all(), *first_end = strchr(text, '\n') + 1,
         *second_end = strchr(first_end, '\n') + 1;
    memmove(first_end, second_end, strlen(second_end) + 1);
    write_text(scratch("run/journal.jsonl"), text);
    memory_free(text);
    expect_broken("line 2 does not bear that number");
}

static void a_first_line_removed_is_found(void **state)
{
    (void)state;
    char *text = read_all();
    write_text(scratch("run/journal.jsonl"), strchr(text, '\n') + 1);
    memory_free(text);
    expect_broken("line 1 does not bear that number");
}

static void a_line_of_no_sense_is_found(void **state)
{
    (void)state;
    write_text(scratch("run/journal.jsonl"), "hello\n");
    expect_broken("line 1 is no JSON");
}

/* A chain that was cut at its end is whole in itself: what was stated elsewhere tells. */
static void lines_cut_off_at_the_end_contradict_what_was_stated(void **state)
{
    (void)state;
    uint64_t length;
    struct digest head;
    assert_ok(journal_read(scratch("run"), NULL, NULL, &length, &head, &err), err);
    assert_ok(journal_states(scratch("run"), length, &head, &err), err);
    char *text = read_all(), *second_end = strchr(strchr(text, '\n') + 1, '\n') + 1;
    *second_end = 0;
    write_text(scratch("run/journal.jsonl"), text);
    memory_free(text);
    assert_false(journal_states(scratch("run"), length, &head, &err));
    assert_contains(err.message, "2 lines, it once had 3: lines were cut off at its end");
}

static void a_chain_written_anew_contradicts_what_was_stated(void **state)
{
    (void)state;
    uint64_t length;
    struct digest head;
    struct journal journal;
    assert_ok(journal_read(scratch("run"), NULL, NULL, &length, &head, &err), err);
    assert_int_equal(unlink(scratch("run/journal.jsonl")), 0);
    assert_ok(journal_open(&journal, scratch("run"), &err), err);
    for (int i = 0; i < 4; i++)
        add(&journal, "stage started", "another");
    journal_close(&journal);
    assert_false(journal_states(scratch("run"), length, &head, &err));
    assert_contains(err.message, "line 3 is not the one that stood there");
}

static void what_was_stated_stays_true_as_it_grows(void **state)
{
    (void)state;
    uint64_t length;
    struct digest head;
    struct journal journal;
    assert_ok(journal_read(scratch("run"), NULL, NULL, &length, &head, &err), err);
    assert_ok(journal_open(&journal, scratch("run"), &err), err);
    assert_ok(journal_add(&journal, "no details", NULL, &err), err);
    assert_int_equal(journal.length, 4);
    journal_close(&journal);
    assert_ok(journal_states(scratch("run"), length, &head, &err), err);
}

static void an_unfinished_line_is_cut_off_and_told(void **state)
{
    (void)state;
    struct journal journal;
    uint64_t length;
    struct digest head;
    char *text = read_all(), *torn = malloc(strlen(text) + 20);
    sprintf(torn, "%s{\"number\": 4, \"pr", text);
    write_text(scratch("run/journal.jsonl"), torn);
    memory_free(text);
    free(torn);
    assert_ok(journal_read(scratch("run"), NULL, NULL, &length, &head, &err), err);
    assert_int_equal(length, 3);
    assert_ok(journal_open(&journal, scratch("run"), &err), err);
    assert_int_equal(journal.torn_bytes, 17);
    assert_int_equal(journal.length, 4);
    journal_close(&journal);
    assert_ok(journal_read(scratch("run"), NULL, NULL, &length, &head, &err), err);
    assert_int_equal(length, 4);
    text = read_all();
    assert_contains(text, "unfinished line cut off");
    memory_free(text);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, scratch_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_whole_chain_is_read),
        TEST(a_missing_journal_is_empty),
        TEST(one_that_cannot_be_looked_at_is_not_missing),
        TEST(an_edited_line_is_found),
        TEST(a_removed_line_is_found),
        TEST(a_first_line_removed_is_found),
        TEST(a_line_of_no_sense_is_found),
        TEST(lines_cut_off_at_the_end_contradict_what_was_stated),
        TEST(a_chain_written_anew_contradicts_what_was_stated),
        TEST(what_was_stated_stays_true_as_it_grows),
        TEST(an_unfinished_line_is_cut_off_and_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
