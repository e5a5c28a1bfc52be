/* Growable strings, and the few string questions that several folders ask.
 *
 *     struct text line = { 0 };
 *     text_format(&line, "%s,%zu\n", subject, slice);
 *     … line.bytes, line.length …
 *     text_release(&line);
 */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include "base/error.h"

#include <stdarg.h>
#include <stdint.h>

struct text {
    char *bytes; /* terminated once anything was added; NULL before */
    size_t length, capacity;
};

void text_add(struct text *text, const char *string);
void text_add_bytes(struct text *text, const void *bytes, size_t length);
void text_format(struct text *text, const char *format, ...) PRINTF(2, 3);
void text_format_list(struct text *text, const char *format, va_list arguments) PRINTF(2, 0);
void text_clear(struct text *text);
void text_release(struct text *text);

/* Adds a CSV field, quoted after RFC 4180 where it has to be. */
void text_add_csv(struct text *text, const char *field);

bool text_starts_with(const char *text, const char *prefix);
bool text_ends_with(const char *text, const char *suffix);
bool text_ends_with_any_case(const char *text, const char *suffix);

/* The candidate that a person most likely meant by `word`: the least Damerau–Levenshtein distance,
 * upper and lower case alike, if at most a third of its length (rounded up, and less than all of
 * it); NULL when none is near. */
const char *text_nearest(const char *word, const char *const *candidates, size_t count);

/* A whole number (decimal) or a real number (decimal, finite) that fills the string entirely, in
 * the C locale's notation. */
bool text_to_integer(const char *text, int64_t *value);
bool text_to_real(const char *text, double *value);

/* Whether the bytes are valid UTF-8 (no overlong forms, no surrogates). */
bool text_is_utf8(const char *bytes, size_t length);

/* "1.4 GB", "312 MB", "17 kB", "9 bytes", "1 byte" (powers of ten). Returns `buffer`. */
enum { TEXT_SHORT = 32 };
const char *text_size(char buffer[TEXT_SHORT], double bytes);

/* Three digits of a value that bounds something from below, or from above: rounded so that it still
 * does, "0.0133", "29.6". Returns `buffer`. */
const char *text_lower_bound(char buffer[TEXT_SHORT], double value);
const char *text_upper_bound(char buffer[TEXT_SHORT], double value);

/* "2 h 05 min", "3 min 20 s", "12 s", "0.4 s"; "for ever" for infinity and NaN. Returns `buffer`.
 */
const char *text_duration(char buffer[TEXT_SHORT], double seconds);

#endif
