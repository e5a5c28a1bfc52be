/* Moments in time as text: UTC, to the second, in one spelling. */
#ifndef RELEASE_MOMENT_H
#define RELEASE_MOMENT_H

#include "base/error.h"

#include <stdint.h>

enum { MOMENT_TEXT = 32 };

/* "2026-01-31T12:00:00Z". Returns `text`. */
const char *moment_text(int64_t seconds, char text[MOMENT_TEXT]);

/* Exactly that form, of a day that there is. */
bool moment_from_text(const char *text, int64_t *seconds);

/* That form, or a day alone, "2026-01-31": its first second, or its last when `at_end`. */
bool moment_from_day(const char *text, bool at_end, int64_t *seconds);

/* The clock, or what SOURCE_DATE_EPOCH says, as everywhere that reproducible builds are meant. */
bool moment_now(int64_t *now, struct error *err) MUST_USE;

#endif
