/* Errors, by audience.
 *
 * The world's or the caller's mistake (a bad file, a full disk, a wrong option) is reported
 * through `struct error`: the function returns false (or NULL) and the message is complete
 * enough to be shown as it is: what, where, what was expected, what to do.
 *
 *     if (bytes < 348)
 *         return error_set(err, "%s: %zu bytes, too short for a NIfTI header (348)", path, bytes);
 *
 * Our own mistake (a broken invariant) aborts at once, naming file and line: CHECK, BUG.
 * Only cmd/ prints messages and picks exit codes.
 */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <stdbool.h>
#include <stddef.h>

#define MUST_USE        __attribute__((warn_unused_result))
#define PRINTF(fmt, va) __attribute__((format(printf, fmt, va)))

enum { ERROR_CAPACITY = 4096 };

struct error {
    char message[ERROR_CAPACITY]; /* always terminated; cut with "…" where it did not fit */
};

/* Sets the message. Always returns false, so that a failing function can `return error_set(…)`.
 * `err` may be NULL: then only the result tells. Arguments may point into the old message. */
bool error_set(struct error *err, const char *format, ...) PRINTF(2, 3);

/* As error_set, followed by ": " and what errno means. */
bool error_set_errno(struct error *err, const char *format, ...) PRINTF(2, 3);

/* Puts context in front of the message that stands there already. Always returns false. */
bool error_prefix(struct error *err, const char *format, ...) PRINTF(2, 3);

/* Puts what to do after the message that stands there already. Always returns false. */
bool error_suffix(struct error *err, const char *words);

/* Reports a broken invariant and aborts. */
_Noreturn void bug_at(const char *file, int line, const char *format, ...) PRINTF(3, 4);

#define BUG(...) bug_at(__FILE__, __LINE__, __VA_ARGS__)
#define CHECK(condition, ...)                                                                      \
    do {                                                                                           \
        if (!(condition))                                                                          \
            BUG(__VA_ARGS__);                                                                      \
    } while (0)

#endif
