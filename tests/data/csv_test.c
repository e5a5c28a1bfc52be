#include "scratch.h"

#include "data/csv.h"

static struct error err;
static struct arena arena;
static struct csv table;

static int setup(void **state)
{
    arena_init(&arena);
    return scratch_make(state);
}

static int teardown(void **state)
{
    arena_release(&arena);
    return scratch_remove(state);
}

static bool parse(const char *text)
{
    static const char *const required[] = { "a", "b", NULL };
    write_text(scratch("t.csv"), text);
    return csv_read(&table, scratch("t.csv"), required, &arena, &err);
}

static void expect_error(const char *text, const char *message)
{
    assert_false(parse(text));
    assert_contains(err.message, message);
}

static void columns_stand_in_any_order_among_others(void **state)
{
    (void)state;
    assert_ok(parse("x,b,a\n1,2,3\n4,5,6\n"), err);
    assert_int_equal(table.rows, 2);
    assert_string_equal(csv_cell(&table, 1, "a"), "6");
    assert_string_equal(csv_cell(&table, 0, "b"), "2");
}

static void quotes_commas_and_lines_stand_in_quoted_fields(void **state)
{
    (void)state;
    assert_ok(parse("a,b\r\n\"x,\"\"y\"\"\nz\",\"\"\r\n\"\"\"\",q\"r"), err);
    assert_int_equal(table.rows, 2);
    assert_string_equal(csv_cell(&table, 0, "a"), "x,\"y\"\nz");
    assert_string_equal(csv_cell(&table, 0, "b"), "");
    assert_string_equal(csv_cell(&table, 1, "a"), "\"");
    assert_string_equal(csv_cell(&table, 1, "b"), "q\"r");
}

static void the_last_line_need_not_end_and_may_be_empty_fields(void **state)
{
    (void)state;
    assert_ok(parse("a,b\n1,"), err);
    assert_int_equal(table.rows, 1);
    assert_string_equal(csv_cell(&table, 0, "b"), "");
    assert_ok(parse("a,b"), err);
    assert_int_equal(table.rows, 0);
}

static void a_byte_order_mark_is_passed_over(void **state)
{
    (void)state;
    assert_ok(parse("\xef\xbb\xbf"
                    "a,b\n1,2\n"),
              err);
    assert_string_equal(csv_cell(&table, 0, "a"), "1");
}

static void what_is_no_table_is_refused_with_its_line(void **state)
{
    (void)state;
    expect_error("", "t.csv: empty; expected a header row");
    expect_error("\xef\xbb\xbf", "t.csv: empty");
    expect_error("a,c\n", "t.csv:1: there is no column \"b\"");
    expect_error("a,b,a\n", "t.csv:1: there is more than one column \"a\"");
    expect_error("a,b\n1,2\n1\n", "t.csv:3: 1 fields, the header has 2");
    expect_error("a,b\n1,2,3\n", "t.csv:2: 3 fields, the header has 2");
    expect_error("a,b\n\"1\"x,2\n", "t.csv:2: unexpected text after a field");
    expect_error("a,b\n\"x\ny\",2\n3,\"4", "t.csv:4: a quoted field does not end");
    expect_error("a,b\n\"\"\"", "t.csv:2: a quoted field does not end");
    expect_error("a,b\n1,\xff\n", "t.csv: not UTF-8 text");
    assert_false(csv_read(&table, scratch("none"), (const char *[]){ NULL }, &arena, &err));
}

static void a_table_of_quoted_fields_takes_memory_in_proportion(void **state)
{
    (void)state;
    FILE *file = fopen(scratch("t.csv"), "w");
    fprintf(file, "a,b\n");
    for (int i = 0; i < 20000; i++)
        fprintf(file, "\"one, %d\",\"two\"\n", i);
    assert_int_equal(fclose(file), 0);
    assert_ok(csv_read(&table, scratch("t.csv"), (const char *[]){ "a", NULL }, &arena, &err), err);
    assert_string_equal(csv_cell(&table, 19999, "a"), "one, 19999");
    assert_true(arena.total < 10 << 20);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(columns_stand_in_any_order_among_others),
        TEST(quotes_commas_and_lines_stand_in_quoted_fields),
        TEST(the_last_line_need_not_end_and_may_be_empty_fields),
        TEST(a_byte_order_mark_is_passed_over),
        TEST(what_is_no_table_is_refused_with_its_line),
        TEST(a_table_of_quoted_fields_takes_memory_in_proportion),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
