#include "test.h"

#include "base/text.h"

#include <math.h>

static const char *csv(struct text *text, const char *field)
{
    text_clear(text);
    text_add_csv(text, field);
    return text->bytes;
}

static void csv_fields_are_quoted_where_they_have_to_be(void **state)
{
    (void)state;
    struct text text = { 0 };
    assert_string_equal(csv(&text, "BraTS20_001"), "BraTS20_001");
    assert_string_equal(csv(&text, ""), "");
    assert_string_equal(csv(&text, " a b "), " a b ");
    assert_string_equal(csv(&text, "a,b"), "\"a,b\"");
    assert_string_equal(csv(&text, "say \"ah\""), "\"say \"\"ah\"\"\"");
    assert_string_equal(csv(&text, "\""), "\"\"\"\"");
    assert_string_equal(csv(&text, "two\nlines"), "\"two\nlines\"");
    assert_string_equal(csv(&text, "cr\r"), "\"cr\r\"");
    text_release(&text);
}

static void strings_grow_and_stay_terminated(void **state)
{
    (void)state;
    struct text text = { 0 };
    for (int i = 0; i < 1000; i++)
        text_format(&text, "%04d", i);
    assert_int_equal(text.length, 4000);
    assert_int_equal(strlen(text.bytes), 4000);
    assert_memory_equal(text.bytes + 3996, "0999", 5);
    text_clear(&text);
    assert_string_equal(text.bytes, "");
    text_add_bytes(&text, "a\0b", 3);
    assert_int_equal(text.length, 3);
    text_release(&text);
    assert_null(text.bytes);
}

static void ends_of_strings_are_recognised(void **state)
{
    (void)state;
    assert_true(text_starts_with("t1.nii", "t1"));
    assert_false(text_starts_with("t", "t1"));
    assert_true(text_ends_with("t1.nii.gz", ".nii.gz"));
    assert_false(text_ends_with("gz", ".nii.gz"));
    assert_false(text_ends_with("T1.NII.GZ", ".nii.gz"));
    assert_true(text_ends_with_any_case("T1.NII.GZ", ".nii.gz"));
    assert_true(text_ends_with("a", ""));
}

static const char *nearest(const char *word)
{
    static const char *const keys[] = { "seed", "modalities", "learning_rate", "lr", "x" };
    return text_nearest(word, keys, 5);
}

static void the_nearest_key_is_what_a_person_meant(void **state)
{
    (void)state;
    assert_string_equal(nearest("seed"), "seed");
    assert_string_equal(nearest("sede"), "seed"); /* a swap counts once */
    assert_string_equal(nearest("Seed"), "seed");
    assert_string_equal(nearest("SEEDS"), "seed");
    assert_string_equal(nearest("modalitys"), "modalities");
    assert_string_equal(nearest("learning-rate"), "learning_rate");
    assert_string_equal(nearest("lrs"), "lr");
}

static void nothing_is_nearest_when_nothing_is_near(void **state)
{
    (void)state;
    assert_null(nearest("patience"));
    assert_null(nearest(""));
    assert_null(nearest("y")); /* all of "x" would have to change */
    assert_null(nearest("\xff\xfe\xfd\xfc"));
    char longest[200];
    memset(longest, 's', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_null(nearest(longest));
    assert_null(text_nearest("seed", NULL, 0));
}

static void whole_numbers_fill_the_string(void **state)
{
    (void)state;
    int64_t value;
    assert_true(text_to_integer("0", &value) && value == 0);
    assert_true(text_to_integer("-17", &value) && value == -17);
    assert_true(text_to_integer("010", &value) && value == 10);
    assert_true(text_to_integer("9223372036854775807", &value) && value == INT64_MAX);
    assert_true(text_to_integer("-9223372036854775808", &value) && value == INT64_MIN);
    static const char *const wrong[] = { "",    " 1",  "1 ",  "1.0", "0x1",
                                         "1e3", "one", "--1", "-",   "9223372036854775808" };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (text_to_integer(wrong[i], &value))
            fail_msg("accepted \"%s\"", wrong[i]);
}

static void real_numbers_fill_the_string_and_are_finite(void **state)
{
    (void)state;
    double value;
    assert_true(text_to_real("0.1", &value) && value == 0.1);
    assert_true(text_to_real("-2.5e-3", &value) && value == -2.5e-3);
    assert_true(text_to_real("4.9406564584124654e-324", &value) && value == 0x1p-1074);
    assert_true(text_to_real(".5", &value) && value == 0.5);
    static const char *const wrong[] = { "",    " 1",   "1 ",    "0,5",   "nan",
                                         "inf", "-inf", "1e999", "0x1p3", "1.5.2" };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (text_to_real(wrong[i], &value))
            fail_msg("accepted \"%s\"", wrong[i]);
}

/* Encodes without any check: the plain arithmetic of the standard's table 3-6. */
static size_t encode(uint32_t code, char out[4])
{
    if (code < 0x80)
        return out[0] = (char)code, 1;
    size_t following = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    static const unsigned char marks[] = { 0, 0xc0, 0xe0, 0xf0 };
    for (size_t i = following; i > 0; i--, code >>= 6)
        out[i] = (char)(0x80 | (code & 0x3f));
    out[0] = (char)(marks[following] | code);
    return following + 1;
}

static void each_code_point_is_valid_utf8_but_the_surrogates(void **state)
{
    (void)state;
    for (uint32_t code = 0; code < 0x200000; code++) {
        char bytes[4];
        size_t length = encode(code, bytes);
        bool expected = code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
        if (text_is_utf8(bytes, length) != expected)
            fail_msg("U+%X", code);
        if (length > 1 && text_is_utf8(bytes, length - 1))
            fail_msg("U+%X cut short", code);
    }
}

/* All strings of two bytes, by an independent rule: ASCII twice, or C2…DF and a continuation. */
static void each_pair_of_bytes_is_judged_rightly(void **state)
{
    (void)state;
    for (int first = 0; first < 256; first++)
        for (int second = 0; second < 256; second++) {
            char bytes[2] = { (char)first, (char)second };
            bool expected = (first < 0x80 && second < 0x80) ||
                            (first >= 0xc2 && first <= 0xdf && second >= 0x80 && second <= 0xbf);
            if (text_is_utf8(bytes, 2) != expected)
                fail_msg("%02x %02x", first, second);
        }
}

static void overlong_forms_are_not_utf8(void **state)
{
    (void)state;
    static const char *const overlong[] = {
        "\xc0\xaf",     "\xc1\xbf",         "\xe0\x80\xaf",
        "\xe0\x9f\xbf", "\xf0\x80\x80\xaf", "\xf0\x8f\xbf\xbf"
    };
    for (size_t i = 0; i < sizeof overlong / sizeof *overlong; i++)
        assert_false(text_is_utf8(overlong[i], strlen(overlong[i])));
    assert_true(text_is_utf8("", 0));
}

static void sizes_are_short_and_round_to_the_next_unit(void **state)
{
    (void)state;
    static const struct {
        double bytes;
        const char *expected;
    } cases[] = {
        { 0, "0 bytes" },     { 1, "1 byte" },      { 9, "9 bytes" },    { 999, "999 bytes" },
        { 1000, "1.0 kB" },   { 9940, "9.9 kB" },   { 9960, "10 kB" },   { 17000, "17 kB" },
        { 999400, "999 kB" }, { 999600, "1.0 MB" }, { 312e6, "312 MB" }, { 1.44e9, "1.4 GB" },
        { 2e12, "2.0 TB" },   { 3e18, "3000 PB" },
    };
    char buffer[TEXT_SHORT];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(text_size(buffer, cases[i].bytes), cases[i].expected);
}

static void durations_are_short_and_never_say_sixty(void **state)
{
    (void)state;
    static const struct {
        double seconds;
        const char *expected;
    } cases[] = {
        { 0, "0.0 s" },         { 0.44, "0.4 s" },         { 9.94, "9.9 s" },
        { 9.96, "10 s" },       { 59.4, "59 s" },          { 59.6, "1 min 00 s" },
        { 200, "3 min 20 s" },  { 3599.4, "59 min 59 s" }, { 3599.6, "1 h 00 min" },
        { 7500, "2 h 05 min" }, { INFINITY, "for ever" },  { NAN, "for ever" },
        { 1e300, "for ever" },
    };
    char buffer[TEXT_SHORT];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(text_duration(buffer, cases[i].seconds), cases[i].expected);
}

static void bounds_are_rounded_so_that_they_still_bound(void **state)
{
    (void)state;
    static const struct {
        double value;
        const char *low, *high;
    } cases[] = {
        { 0, "0", "0" },
        { 1, "1", "1" },
        { 0.07, "0.07", "0.07" },
        { 13.23, "13.2", "13.3" },
        { 0.0046001, "0.0046", "0.00461" },
        { 99.96, "99.9", "100" },
        { 100, "100", "100" },
        { 0.29 * 100, "29", "29" },
        { -0.1234, "-0.124", "-0.123" },
        { 9.999, "9.99", "10" },
    };
    char buffer[TEXT_SHORT];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_string_equal(text_lower_bound(buffer, cases[i].value), cases[i].low);
        assert_string_equal(text_upper_bound(buffer, cases[i].value), cases[i].high);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bounds_are_rounded_so_that_they_still_bound),
        cmocka_unit_test(csv_fields_are_quoted_where_they_have_to_be),
        cmocka_unit_test(strings_grow_and_stay_terminated),
        cmocka_unit_test(ends_of_strings_are_recognised),
        cmocka_unit_test(the_nearest_key_is_what_a_person_meant),
        cmocka_unit_test(nothing_is_nearest_when_nothing_is_near),
        cmocka_unit_test(whole_numbers_fill_the_string),
        cmocka_unit_test(real_numbers_fill_the_string_and_are_finite),
        cmocka_unit_test(each_code_point_is_valid_utf8_but_the_surrogates),
        cmocka_unit_test(each_pair_of_bytes_is_judged_rightly),
        cmocka_unit_test(overlong_forms_are_not_utf8),
        cmocka_unit_test(sizes_are_short_and_round_to_the_next_unit),
        cmocka_unit_test(durations_are_short_and_never_say_sixty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
