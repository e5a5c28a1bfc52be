#include "test.h"

#include "base/error.h"
#include "base/text.h"

#include <errno.h>

static void messages_gain_context_from_the_outside_in(void **state)
{
    (void)state;
    struct error err;
    assert_false(error_set(&err, "%d bytes, expected %d", 3, 4));
    assert_false(error_prefix(&err, "t1.nii"));
    assert_false(error_prefix(&err, "subject %s", "A"));
    assert_string_equal(err.message, "subject A: t1.nii: 3 bytes, expected 4");
}

static void errno_is_spelled_out(void **state)
{
    (void)state;
    struct error err;
    errno = ENOSPC;
    assert_false(error_set_errno(&err, "images.npy: cannot write"));
    assert_string_equal(err.message, "images.npy: cannot write: No space left on device");
}

static void a_message_that_does_not_fit_ends_in_an_ellipsis(void **state)
{
    (void)state;
    struct error err;
    error_set(&err, "%*s", ERROR_CAPACITY + 10, "x");
    assert_int_equal(strlen(err.message), ERROR_CAPACITY - 1);
    assert_string_equal(err.message + ERROR_CAPACITY - 4, "…");
    error_prefix(&err, "context");
    assert_contains(err.message, "context: ");
}

static void a_long_path_does_not_push_out_the_reason(void **state)
{
    (void)state;
    struct error err;
    char path[ERROR_CAPACITY];
    memset(path, 'd', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    errno = ENAMETOOLONG;
    assert_false(error_set_errno(&err, "%s: cannot be listed", path));
    assert_contains(err.message, "ddd…: File name too long");
    assert_int_equal(strlen(err.message), ERROR_CAPACITY - 1);
}

static void the_old_message_may_be_part_of_the_new_one(void **state)
{
    (void)state;
    struct error err;
    error_set(&err, "too short");
    error_set(&err, "subject %s: %s, %s", "A", err.message, err.message);
    assert_string_equal(err.message, "subject A: too short, too short");
    error_prefix(&err, "%s", err.message + 11);
    assert_string_equal(err.message, "too short, too short: subject A: too short, too short");
}

static void an_ellipsis_cuts_no_character_in_two(void **state)
{
    (void)state;
    for (int shift = 0; shift < 4; shift++) {
        struct error err;
        char text[2 * ERROR_CAPACITY];
        memset(text, 'x', (size_t)shift);
        for (size_t i = (size_t)shift; i + 2 < sizeof text; i += 2)
            memcpy(text + i, "é", 3);
        error_set(&err, "%s", text);
        assert_true(text_is_utf8(err.message, strlen(err.message)));
        assert_string_equal(err.message + strlen(err.message) - 3, "…");
    }
}

static void no_error_wanted_is_fine(void **state)
{
    (void)state;
    assert_false(error_set(NULL, "unheard"));
    assert_false(error_prefix(NULL, "unheard"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_gain_context_from_the_outside_in),
        cmocka_unit_test(errno_is_spelled_out),
        cmocka_unit_test(a_message_that_does_not_fit_ends_in_an_ellipsis),
        cmocka_unit_test(a_long_path_does_not_push_out_the_reason),
        cmocka_unit_test(the_old_message_may_be_part_of_the_new_one),
        cmocka_unit_test(an_ellipsis_cuts_no_character_in_two),
        cmocka_unit_test(no_error_wanted_is_fine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
