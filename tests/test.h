/* What every test file includes: cmocka with the headers that it needs to come before it. */
#ifndef TESTS_TEST_H
#define TESTS_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Fails with the message that `err` holds unless the condition is true. */
#define assert_ok(condition, err)                                                                  \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fail_msg("%s: %s", #condition, (err).message);                                         \
    } while (0)

/* Fails unless `part` stands in `text`. */
#define assert_contains(text, part)                                                                \
    do {                                                                                           \
        if (!strstr((text), (part)))                                                               \
            fail_msg("expected \"%s\" in: %s", (part), (text));                                    \
    } while (0)

#endif
