/* Error messages: see error.h for who hears which. */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Cuts a message to `length` bytes that end in an ellipsis, never cutting a character in two. */
static void end_in_ellipsis(struct error *err, size_t length)
{
    static const char ellipsis[] = "…";
    char *at = err->message + length + 1 - sizeof ellipsis;
    while (at > err->message && ((unsigned char)*at & 0xc0) == 0x80)
        at--;
    memcpy(at, ellipsis, sizeof ellipsis);
}

/* Writes at `offset`, by way of a copy: an argument may be the message that is being replaced. */
static void put(struct error *err, size_t offset, const char *format, va_list arguments)
    PRINTF(3, 0);
static void put(struct error *err, size_t offset, const char *format, va_list arguments)
{
    struct error made;
    size_t room = sizeof err->message - offset;
    int length = vsnprintf(made.message, room, format, arguments);
    if (length < 0)
        snprintf(made.message, room, "%s", format);
    memcpy(err->message + offset, made.message, strlen(made.message) + 1);
    if (length >= 0 && (size_t)length >= room)
        end_in_ellipsis(err, sizeof err->message - 1);
}

bool error_set(struct error *err, const char *format, ...)
{
    if (!err)
        return false;
    va_list arguments;
    va_start(arguments, format);
    put(err, 0, format, arguments);
    va_end(arguments);
    return false;
}

static void append(struct error *err, const char *format, ...) PRINTF(2, 3);
static void append(struct error *err, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    put(err, strlen(err->message), format, arguments);
    va_end(arguments);
}

bool error_set_errno(struct error *err, const char *format, ...)
{
    int number = errno;
    if (!err)
        return false;
    va_list arguments;
    va_start(arguments, format);
    put(err, 0, format, arguments);
    va_end(arguments);
    /* A path may be as long as a message: what is cut is the path, not the reason. */
    const char *reason = strerror(number);
    size_t room = sizeof err->message - 1 - strlen(": ") - strlen(reason);
    if (strlen(err->message) > room)
        end_in_ellipsis(err, room);
    append(err, ": %s", reason);
    return false;
}

bool error_prefix(struct error *err, const char *format, ...)
{
    if (!err)
        return false;
    struct error inner = *err;
    va_list arguments;
    va_start(arguments, format);
    put(err, 0, format, arguments);
    va_end(arguments);
    append(err, ": %s", inner.message);
    return false;
}

bool error_suffix(struct error *err, const char *words)
{
    if (err)
        append(err, "%s", words);
    return false;
}

void bug_at(const char *file, int line, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "lethe: bug at %s:%d: ", file, line);
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\nPlease report this line; nothing that was finished has been lost.\n");
    va_end(arguments);
    abort();
}
