/* Growable strings; see text.h. */
#include "base/text.h"

#include "base/arena.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static void reserve(struct text *text, size_t more)
{
    size_t needed = text->length + more + 1;
    if (needed <= text->capacity)
        return;
    size_t capacity = text->capacity ? 2 * text->capacity : 64;
    text->capacity = capacity < needed ? needed : capacity;
    text->bytes = memory_grow(text->bytes, text->capacity, 1);
}

void text_add_bytes(struct text *text, const void *bytes, size_t length)
{
    reserve(text, length);
    if (length)
        memcpy(text->bytes + text->length, bytes, length);
    text->length += length;
    text->bytes[text->length] = '\0';
}

void text_add(struct text *text, const char *string)
{
    text_add_bytes(text, string, strlen(string));
}

void text_format_list(struct text *text, const char *format, va_list arguments)
{
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    CHECK(length >= 0, "bad format \"%s\"", format);
    reserve(text, (size_t)length);
    vsnprintf(text->bytes + text->length, (size_t)length + 1, format, again);
    va_end(again);
    text->length += (size_t)length;
}

void text_format(struct text *text, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    text_format_list(text, format, arguments);
    va_end(arguments);
}

void text_clear(struct text *text)
{
    text->length = 0;
    if (text->bytes)
        text->bytes[0] = '\0';
}

void text_release(struct text *text)
{
    free(text->bytes);
    *text = (struct text){ 0 };
}

void text_add_csv(struct text *text, const char *field)
{
    if (!strpbrk(field, ",\"\r\n")) {
        text_add(text, field);
        return;
    }
    text_add(text, "\"");
    for (const char *byte = field; *byte; byte++)
        text_add_bytes(text, *byte == '"' ? "\"\"" : byte, *byte == '"' ? 2 : 1);
    text_add(text, "\"");
}

bool text_starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool text_ends_with(const char *text, const char *suffix)
{
    size_t length = strlen(text), tail = strlen(suffix);
    return length >= tail && strcmp(text + length - tail, suffix) == 0;
}

bool text_ends_with_any_case(const char *text, const char *suffix)
{
    size_t length = strlen(text), tail = strlen(suffix);
    return length >= tail && strcasecmp(text + length - tail, suffix) == 0;
}

static int lower(char byte)
{
    return tolower((unsigned char)byte);
}

/* Optimal string alignment: insertions, deletions, substitutions and swaps of neighbours. Words
 * are short (keys, commands), so three rows of a small table do. */
static size_t edit_distance(const char *a, const char *b)
{
    enum { LONGEST = 63 };
    size_t m = strlen(a), n = strlen(b);
    if (m > LONGEST || n > LONGEST)
        return SIZE_MAX;
    size_t rows[3][LONGEST + 1];
    for (size_t j = 0; j <= n; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= m; i++) {
        size_t *row = rows[i % 3], *last = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t best = last[j - 1] + (lower(a[i - 1]) != lower(b[j - 1]));
            best = last[j] + 1 < best ? last[j] + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped && before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            row[j] = best;
        }
    }
    return rows[m % 3][n];
}

const char *text_nearest(const char *word, const char *const *candidates, size_t count)
{
    const char *nearest = NULL;
    size_t least = SIZE_MAX;
    for (size_t i = 0; i < count; i++) {
        size_t distance = edit_distance(word, candidates[i]);
        size_t length = strlen(candidates[i]), allowed = (length + 2) / 3;
        if (distance < least && distance <= allowed && distance < length) {
            least = distance;
            nearest = candidates[i];
        }
    }
    return nearest;
}

bool text_to_integer(const char *text, int64_t *value)
{
    char *end;
    errno = 0;
    long long parsed = strtoll(text, &end, 10);
    if (end == text || *end || errno || isspace((unsigned char)*text))
        return false;
    *value = parsed;
    return true;
}

bool text_to_real(const char *text, double *value)
{
    char *end;
    double parsed = strtod(text, &end);
    bool filled = end != text && !*end && !isspace((unsigned char)*text);
    if (!filled || !isfinite(parsed) || strpbrk(text, "xX"))
        return false;
    *value = parsed;
    return true;
}

/* The well-formed sequences of Unicode's table 3-7: for a lead byte, the number of continuation
 * bytes and the range that the first of them must lie in. */
static const struct lead {
    unsigned char first, last, following, low, high;
} leads[] = {
    { 0x00, 0x7f, 0, 0, 0 },       { 0xc2, 0xdf, 1, 0x80, 0xbf }, { 0xe0, 0xe0, 2, 0xa0, 0xbf },
    { 0xe1, 0xec, 2, 0x80, 0xbf }, { 0xed, 0xed, 2, 0x80, 0x9f }, { 0xee, 0xef, 2, 0x80, 0xbf },
    { 0xf0, 0xf0, 3, 0x90, 0xbf }, { 0xf1, 0xf3, 3, 0x80, 0xbf }, { 0xf4, 0xf4, 3, 0x80, 0x8f },
};

static const struct lead *lead_of(unsigned char byte)
{
    for (size_t i = 0; i < sizeof leads / sizeof *leads; i++)
        if (byte >= leads[i].first && byte <= leads[i].last)
            return &leads[i];
    return NULL;
}

bool text_is_utf8(const char *bytes, size_t length)
{
    const unsigned char *at = (const unsigned char *)bytes, *end = at + length;
    while (at < end) {
        const struct lead *lead = lead_of(*at);
        if (!lead || (size_t)(end - at) <= lead->following)
            return false;
        if (lead->following && (at[1] < lead->low || at[1] > lead->high))
            return false;
        for (int i = 2; i <= lead->following; i++)
            if (at[i] < 0x80 || at[i] > 0xbf)
                return false;
        at += 1 + lead->following;
    }
    return true;
}

const char *text_size(char buffer[TEXT_SHORT], double bytes)
{
    static const char *const units[] = { "bytes", "kB", "MB", "GB", "TB", "PB" };
    size_t unit = 0;
    while (bytes >= 999.5 && unit < sizeof units / sizeof *units - 1) {
        bytes /= 1000;
        unit++;
    }
    bool one = unit == 0 && bytes >= 0.5 && bytes < 1.5;
    snprintf(buffer, TEXT_SHORT, "%.*f %s", unit && bytes < 9.95 ? 1 : 0, bytes,
             one ? "byte" : units[unit]);
    return buffer;
}

/* A value that was just so many digits before it became binary stays what it is. */
static const char *three_digits(char buffer[TEXT_SHORT], double value, bool up)
{
    enum { DIGITS = 3 };
    const double slack = 1e-9;
    double rounded = value;
    if (isfinite(value) && value != 0) {
        double step = pow(10, DIGITS - 1 - floor(log10(fabs(value))));
        rounded = (up ? ceil(value * step - slack) : floor(value * step + slack)) / step;
    }
    snprintf(buffer, TEXT_SHORT, "%.*g", DIGITS, rounded);
    return buffer;
}

const char *text_lower_bound(char buffer[TEXT_SHORT], double value)
{
    return three_digits(buffer, value, false);
}

const char *text_upper_bound(char buffer[TEXT_SHORT], double value)
{
    return three_digits(buffer, value, true);
}

const char *text_duration(char buffer[TEXT_SHORT], double seconds)
{
    const double longest = 1e15; /* what follows fits a long long, and NaN does not pass */
    long long whole = seconds < longest ? (long long)(seconds + 0.5) : 0;
    if (!(seconds < longest))
        snprintf(buffer, TEXT_SHORT, "for ever");
    else if (seconds < 9.95)
        snprintf(buffer, TEXT_SHORT, "%.1f s", seconds);
    else if (whole < 60)
        snprintf(buffer, TEXT_SHORT, "%lld s", whole);
    else if (whole < 3600)
        snprintf(buffer, TEXT_SHORT, "%lld min %02lld s", whole / 60, whole % 60);
    else
        snprintf(buffer, TEXT_SHORT, "%lld h %02lld min", whole / 3600, whole / 60 % 60);
    return buffer;
}
