#include "test.h"

#include "base/arena.h"
#include "base/file.h"
#include "base/json.h"
#include "base/random.h"
#include "base/text.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

static struct error err;

static struct json *parse(const char *document)
{
    return json_parse(document, strlen(document), "x.json", &err);
}

static void refused(const char *document, const char *reason)
{
    if (parse(document))
        fail_msg("accepted: %s", document);
    assert_contains(err.message, "x.json:");
    assert_contains(err.message, reason);
}

static void a_document_holds_what_was_put_in_order(void **state)
{
    (void)state;
    struct json *root = json_new_object(), *list = json_new_array();
    json_put_string(root, "zebra", "first");
    json_put_integer(root, "b", INT64_MIN);
    json_put_bool(root, "a", true);
    json_push_string(list, "t1");
    json_push_integer(list, 2);
    json_push_real(list, 0.5);
    json_put(root, "list", list);
    json_put_null(root, "nothing");
    json_put_real(root, "infinite", INFINITY);
    char *text = json_text(root);
    assert_string_equal(text, "{\n  \"zebra\": \"first\",\n  \"b\": -9223372036854775808,\n"
                              "  \"a\": true,\n  \"list\": [\n    \"t1\",\n    2,\n    0.5\n  ],\n"
                              "  \"nothing\": null,\n  \"infinite\": null\n}\n");
    memory_free(text);
    json_free(root);
}

/* Random bit patterns reach denormals, both zeros and the largest exponents. */
static void reals_come_back_bit_for_bit(void **state)
{
    (void)state;
    static const double special[] = { 0.0,       -0.0,
                                      0.1,       1e22,
                                      1.0 / 3,   0x1p-1074,
                                      0x1p-1022, 1.7976931348623157e308,
                                      -1e-5,     123456789012345680.0 };
    enum { SPECIAL = sizeof special / sizeof *special, COUNT = 2000 };
    struct json *root = json_new_object();
    double values[COUNT];
    for (uint64_t i = 0, draw = 0; i < COUNT; i++)
        do {
            uint64_t bits = random_bits(1, 2, draw++);
            memcpy(&values[i], &bits, sizeof bits);
            if (i < SPECIAL)
                values[i] = special[i];
        } while (!isfinite(values[i]));
    for (int i = 0; i < COUNT; i++) {
        char key[16];
        snprintf(key, sizeof key, "%d", i);
        json_put_real(root, key, values[i]);
    }
    char *text = json_text(root);
    struct json *again = parse(text);
    assert_non_null(again);
    for (int i = 0; i < COUNT; i++) {
        char key[16];
        double value;
        snprintf(key, sizeof key, "%d", i);
        assert_ok(json_get_real(again, key, &value, &err), err);
        assert_memory_equal(&value, &values[i], sizeof value);
    }
    memory_free(text);
    json_free(again);
    json_free(root);
}

static void text_that_is_not_utf8_is_mended(void **state)
{
    (void)state;
    struct json *root = json_new_object();
    json_put_string(root, "name", "J\xfcrgen");
    json_put_string(root, "cut", "ab\xe2\x82");
    json_put_string(root, "fine", "Jürgen €");
    char *text = json_text(root);
    assert_true(text_is_utf8(text, strlen(text)));
    struct json *again = parse(text);
    assert_string_equal(json_get_string(again, "name", &err), "J\xef\xbf\xbdrgen");
    assert_string_equal(json_get_string(again, "cut", &err), "ab\xef\xbf\xbd\xef\xbf\xbd");
    assert_string_equal(json_get_string(again, "fine", &err), "Jürgen €");
    memory_free(text);
    json_free(again);
    json_free(root);
}

static void keys_that_are_not_utf8_are_mended_too(void **state)
{
    (void)state;
    struct json *root = json_new_object();
    json_put_integer(root, "scan\xff.nii", 1);
    assert_true(json_has(root, "scan\xef\xbf\xbd.nii"));
    json_free(root);
}

static void what_is_not_json_is_refused_with_its_place(void **state)
{
    (void)state;
    refused("", "not valid JSON");
    refused("{\"a\": 1,\n \"a\": 2}", "duplicate");
    refused("{\n\n\"a\": x}", "x.json:3:");
    refused("{} {}", "end of file expected");
    refused("{\"a\": 1,}", "not valid JSON");
    refused("{\"a\": \"\xff\"}", "not valid JSON");
    refused("{\"a\": \"\\u0000\"}", "not valid JSON");
    refused("{\"a\": 9223372036854775808}", "too big integer");
    refused("{\"a\": 1e999}", "not valid JSON");
    refused("{\"a\": NaN}", "not valid JSON");
    assert_null(json_parse("{}\0", 3, "x.json", &err));
}

static void a_depth_bomb_is_refused_and_does_not_crash(void **state)
{
    (void)state;
    struct text bomb = { 0 };
    for (int i = 0; i < 1000000; i++)
        text_add(&bomb, "[");
    refused(bomb.bytes, "maximum parsing depth");
    text_clear(&bomb);
    for (int i = 0; i < 1000000; i++)
        text_add(&bomb, "{\"a\":");
    refused(bomb.bytes, "maximum parsing depth");
    text_release(&bomb);
}

static void wrong_types_and_missing_keys_are_named(void **state)
{
    (void)state;
    struct json *root = parse("{\"text\": \"a\", \"number\": 1.5, \"list\": []}");
    int64_t integer;
    double real;
    bool boolean;
    assert_false(json_get_integer(root, "number", &integer, &err));
    assert_string_equal(err.message, "\"number\" is not a whole number");
    assert_false(json_get_real(root, "text", &real, &err));
    assert_string_equal(err.message, "\"text\" is not a number");
    assert_false(json_get_real(root, "rate", &real, &err));
    assert_string_equal(err.message, "\"rate\" is missing (expected a number)");
    assert_false(json_get_bool(root, "list", &boolean, &err));
    assert_string_equal(err.message, "\"list\" is not true or false");
    assert_null(json_get_string(root, "list", &err));
    assert_string_equal(err.message, "\"list\" is not a string");
    assert_null(json_get_array(root, "text", &err));
    assert_string_equal(err.message, "\"text\" is not an array");
    assert_null(json_get(root, "list", &err));
    assert_string_equal(err.message, "\"list\" is not an object");
    assert_null(json_get(root, "other", &err));
    assert_string_equal(err.message, "\"other\" is missing (expected an object)");
    json_free(root);
}

static void asking_what_is_no_object_is_an_answer_not_a_crash(void **state)
{
    (void)state;
    struct json *list = parse("[1, \"two\"]");
    int64_t number = 7;
    double real = 0.5;
    assert_null(json_get_string(list, "a", &err));
    assert_null(json_get_string(NULL, "a", &err));
    assert_false(json_has(NULL, "a"));
    assert_int_equal(json_length(NULL), 0);
    assert_null(json_at(list, 2));
    assert_null(json_as_string(json_at(list, 0)));
    assert_false(json_as_integer(json_at(list, 1), &number));
    assert_false(json_as_real(json_at(list, 1), &real));
    assert_true(number == 7 && real == 0.5); /* as they were */
    assert_true(json_as_integer(json_at(list, 0), &number) && number == 1);
    json_free(list);
}

struct visited {
    struct text keys;
    size_t stop_after;
};

static bool visit(void *context, const char *key, const struct json *value)
{
    struct visited *visited = context;
    assert_non_null(value);
    text_add(&visited->keys, key);
    return visited->keys.length != visited->stop_after;
}

static void keys_are_visited_in_the_order_of_the_document(void **state)
{
    (void)state;
    struct json *root = parse("{\"z\": 1, \"a\": 2, \"m\": 3, \"b\": 4}");
    struct visited visited = { 0 };
    assert_true(json_each(root, visit, &visited));
    assert_string_equal(visited.keys.bytes, "zamb");
    text_clear(&visited.keys);
    visited.stop_after = 2;
    assert_false(json_each(root, visit, &visited));
    assert_string_equal(visited.keys.bytes, "za");
    text_release(&visited.keys);
    json_free(root);
}

static void a_clone_is_a_document_of_its_own(void **state)
{
    (void)state;
    static const char text[] = "{\"a\": {\"b\": [1, 2.5]}}";
    struct json *root = json_parse(text, strlen(text), "text", &err), *clone = json_clone(root);
    assert_ok(root, err);
    json_free(root);
    double value;
    const struct json *list = json_member(json_member(clone, "a"), "b");
    assert_int_equal(json_length(list), 2);
    assert_true(json_as_real(json_at(list, 1), &value) && value == 2.5);
    json_free(clone);
    assert_null(json_clone(NULL));
}

static void a_file_of_another_schema_is_refused(void **state)
{
    (void)state;
    char path[] = "/tmp/lethe-json-XXXXXX";
    close(mkstemp(path));
    struct json *root = json_new_object();
    json_put_string(root, "schema", "lethe/dataset/1");
    assert_ok(json_save(root, path, &err), err);
    json_free(root);
    root = json_load_schema(path, "lethe/dataset/1", &err);
    assert_non_null(root);
    json_free(root);
    assert_null(json_load_schema(path, "lethe/audit/1", &err));
    assert_contains(err.message, path);
    assert_contains(err.message, "schema \"lethe/dataset/1\", expected \"lethe/audit/1\"");
    assert_null(strstr(err.message, "another version"));
    assert_null(json_load_schema(path, "lethe/dataset/2", &err));
    assert_contains(err.message, "another version of lethe wrote it");
    assert_ok(file_write(path, "[]", 2, &err), err);
    assert_null(json_load_schema(path, "lethe/audit/1", &err));
    assert_contains(err.message, "\"schema\" is missing");
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_document_holds_what_was_put_in_order),
        cmocka_unit_test(reals_come_back_bit_for_bit),
        cmocka_unit_test(text_that_is_not_utf8_is_mended),
        cmocka_unit_test(keys_that_are_not_utf8_are_mended_too),
        cmocka_unit_test(what_is_not_json_is_refused_with_its_place),
        cmocka_unit_test(a_depth_bomb_is_refused_and_does_not_crash),
        cmocka_unit_test(wrong_types_and_missing_keys_are_named),
        cmocka_unit_test(asking_what_is_no_object_is_an_answer_not_a_crash),
        cmocka_unit_test(keys_are_visited_in_the_order_of_the_document),
        cmocka_unit_test(a_clone_is_a_document_of_its_own),
        cmocka_unit_test(a_file_of_another_schema_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
