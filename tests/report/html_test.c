#include "test.h"

#include "report/html.h"

#include <math.h>

static struct html html;

static int teardown(void **state)
{
    (void)state;
    text_release(&html.text);
    html = (struct html){ 0 };
    return 0;
}

static void text_cannot_become_markup(void **state)
{
    (void)state;
    html_put(&html, "<p title=\"$t\">$t</p>", "\" onload='x' & <b>",
             "<script>alert(1)</script> & co");
    assert_string_equal(html.text.bytes, "<p title=\"&#34; onload=&#39;x&#39; &#38; &#60;b&#62;\">"
                                         "&#60;script&#62;alert(1)&#60;/script&#62; &#38; co</p>");
}

static void numbers_are_for_people(void **state)
{
    (void)state;
    html_put(&html, "$i|$i|$i|$n|$f", (int64_t)1234567, (int64_t)1234, (int64_t)-12345,
             (int64_t)1234567, 1.5);
    assert_string_equal(html.text.bytes, "1\u202f234\u202f567|1234|−12\u202f345|1234567|1.50");
}

static void reals_have_digits_that_matter(void **state)
{
    (void)state;
    char buffer[HTML_NUMBER];
    assert_string_equal(html_real(buffer, 0), "0");
    assert_string_equal(html_real(buffer, 400), "400");
    assert_string_equal(html_real(buffer, 0.8641), "0.864");
    assert_string_equal(html_real(buffer, 0.0092), "0.0092");
    assert_string_equal(html_real(buffer, 12.34), "12.3");
    assert_string_equal(html_real(buffer, 1e-7), "1.00e-07");
    assert_string_equal(html_real(buffer, NAN), "–");
    assert_string_equal(html_percent(buffer, 0.0092), "0.92 %");
    assert_string_equal(html_percent(buffer, 0.0000369), "0.0037 %");
    assert_string_equal(html_percent(buffer, 0.1234), "12.3 %");
    assert_string_equal(html_percent(buffer, 0.25), "25 %");
    assert_string_equal(html_percent(buffer, NAN), "–");
}

static void bounds_are_rounded_so_that_they_bound(void **state)
{
    (void)state;
    char buffer[HTML_NUMBER];
    assert_string_equal(html_percent_bound(buffer, 0.0299, HTML_AT_LEAST), "2.9 %");
    assert_string_equal(html_percent_bound(buffer, 0.00025316, HTML_AT_LEAST), "0.025 %");
    assert_string_equal(html_percent_bound(buffer, 0.07, HTML_AT_LEAST), "7 %");
    assert_string_equal(html_percent_bound(buffer, 0.000999, HTML_AT_MOST), "0.10 %");
    assert_string_equal(html_percent_bound(buffer, 0, HTML_AT_LEAST), "0 %");
    assert_string_equal(html_real_bound(buffer, 0.54401, HTML_AT_MOST), "0.545");
    assert_string_equal(html_real_bound(buffer, 0.7996, HTML_AT_LEAST), "0.799");
    assert_string_equal(html_real_bound(buffer, 0.8, HTML_AT_LEAST), "0.800");
    assert_string_equal(html_real_bound(buffer, -1.2341, HTML_AT_MOST), "-1.234");
    assert_string_equal(html_real_bound(buffer, -1.2341, HTML_AT_LEAST), "-1.235");
    assert_string_equal(html_real_bound(buffer, 1.231e-7, HTML_AT_MOST), "1.24e-07");
    assert_string_equal(html_real_bound(buffer, NAN, HTML_AT_MOST), "–");
}

static void counts_are_told_to_the_last_digit(void **state)
{
    (void)state;
    char buffer[HTML_NUMBER];
    assert_string_equal(html_real(buffer, 1234567), "1234567");
    assert_string_equal(html_real(buffer, -0.0), "0");
}

static void an_upper_bound_is_never_told_smaller_than_it_is(void **state)
{
    (void)state;
    char buffer[HTML_NUMBER];
    assert_string_equal(html_percent_bound(buffer, 0.009141, HTML_AT_MOST), "0.92 %");
    assert_string_equal(html_percent_bound(buffer, 0.010004, HTML_AT_MOST), "1.1 %");
    assert_string_equal(html_percent_bound(buffer, 0.00003689, HTML_AT_MOST), "0.0037 %");
    assert_string_equal(html_percent_bound(buffer, 0.00999, HTML_AT_MOST), "1 %");
    assert_string_equal(html_percent_bound(buffer, 0.01, HTML_AT_MOST), "1 %");
    assert_string_equal(html_percent_bound(buffer, 0.07, HTML_AT_MOST), "7 %");
    assert_string_equal(html_percent_bound(buffer, 0.123, HTML_AT_MOST), "12.3 %");
    assert_string_equal(html_percent_bound(buffer, 1, HTML_AT_MOST), "100 %");
    assert_string_equal(html_percent_bound(buffer, NAN, HTML_AT_MOST), "–");
}

static void what_is_not_there_is_a_dash(void **state)
{
    (void)state;
    html_put(&html, "$t $r $p $$", NULL, NAN, NAN);
    assert_string_equal(html.text.bytes, "– – – $");
}

static void a_document_cannot_end_its_script(void **state)
{
    (void)state;
    struct json *document = json_new_object();
    json_put_string(document, "name", "</script><script>alert(1)//<!--&");
    html_json(&html, document);
    json_free(document);
    assert_null(strchr(html.text.bytes, '<'));
    assert_null(strchr(html.text.bytes, '&'));
    assert_contains(html.text.bytes, "\\u003c/script\\u003e");
}

static void an_image_is_a_data_uri(void **state)
{
    (void)state;
    html_png(&html, "\x89PNG", 4);
    assert_string_equal(html.text.bytes, "\"data:image/png;base64,iVBORw==\"");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, NULL, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(text_cannot_become_markup),
        TEST(numbers_are_for_people),
        TEST(reals_have_digits_that_matter),
        TEST(an_upper_bound_is_never_told_smaller_than_it_is),
        TEST(bounds_are_rounded_so_that_they_bound),
        TEST(counts_are_told_to_the_last_digit),
        TEST(what_is_not_there_is_a_dash),
        TEST(a_document_cannot_end_its_script),
        TEST(an_image_is_a_data_uri),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
