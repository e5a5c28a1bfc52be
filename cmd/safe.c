/* See safe.h. */
#include "safe.h"

#include "base/text.h"

#include <string.h>

/* Code points that are shown as "?": controls (C0, C1), and all of General Punctuation's invisible
 * ones: spaces of odd width, joiners, marks and overrides of direction. */
static const struct hidden {
    uint32_t first, last;
} hidden[] = {
    { 0x0000, 0x001f }, { 0x007f, 0x009f }, { 0x061c, 0x061c }, { 0x2000, 0x200f },
    { 0x2028, 0x202f }, { 0x205f, 0x206f }, { 0xfeff, 0xfeff },
};

/* The code point that begins here, and its length; 0 for bytes that are not UTF-8. */
static size_t decode(const char *at, uint32_t *point)
{
    unsigned char first = (unsigned char)*at;
    size_t length = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (strnlen(at, length) < length || !text_is_utf8(at, length))
        return 0;
    *point = length == 1 ? first : first & (0x7fU >> length);
    for (size_t i = 1; i < length; i++)
        *point = *point << 6 | ((unsigned char)at[i] & 0x3f);
    return length;
}

char *safe_text(struct arena *arena, const char *text)
{
    struct text out = { 0 };
    while (*text) {
        uint32_t point = 0;
        size_t length = decode(text, &point);
        bool shown = length;
        for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++)
            shown = shown && !(point >= hidden[i].first && point <= hidden[i].last);
        text_add_bytes(&out, shown ? text : "?", shown ? length : 1);
        text += length ? length : 1;
    }
    char *copy = arena_substring(arena, out.bytes ? out.bytes : "", out.length);
    text_release(&out);
    return copy;
}
