/* See base64.h. */
#include "release/base64.h"

#include "base/text.h"

#include <string.h>

static const char standard[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char urls[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void base64_add(struct text *out, const void *bytes, size_t size)
{
    const unsigned char *at = bytes;
    for (size_t i = 0; i < size; i += 3) {
        size_t left = size - i < 3 ? size - i : 3;
        unsigned group = (unsigned)at[i] << 16 | (left > 1 ? (unsigned)at[i + 1] << 8 : 0) |
                         (left > 2 ? at[i + 2] : 0);
        char digits[4] = { standard[group >> 18], standard[group >> 12 & 63],
                           left > 1 ? standard[group >> 6 & 63] : '=',
                           left > 2 ? standard[group & 63] : '=' };
        text_add_bytes(out, digits, 4);
    }
}

char *base64_text(struct arena *arena, const void *bytes, size_t size)
{
    struct text out = { 0 };
    base64_add(&out, bytes, size);
    char *copy = arena_substring(arena, out.bytes ? out.bytes : "", out.length);
    text_release(&out);
    return copy;
}

/* 0 … 63 for each digit of an alphabet, 64 for all other bytes. */
static void fill_values(unsigned char values[256], const char *alphabet)
{
    memset(values, 64, 256);
    for (unsigned char i = 0; i < 64; i++)
        values[(unsigned char)alphabet[i]] = i;
}

/* Three bytes of four digits; the last group of a text may end in "=" or "==". False when a digit
 * is none, or bits are set that belong to no byte. */
static bool decode_group(const unsigned char values[256], const char *text, size_t bytes,
                         unsigned char *out)
{
    unsigned group = 0, wrong = 0;
    for (size_t i = 0; i < 4; i++) {
        unsigned value = i <= bytes ? values[(unsigned char)text[i]] : 0;
        wrong |= value & 64;
        group = group << 6 | (value & 63);
    }
    for (size_t i = 0; i < bytes; i++)
        out[i] = (unsigned char)(group >> (16 - 8 * i));
    return !wrong && (bytes == 3 || (group << (8 + 8 * bytes) & 0xffffffff) == 0);
}

unsigned char *base64_bytes(struct arena *arena, const char *text, size_t *size)
{
    unsigned char values[256];
    size_t length = strlen(text), padding = 0;
    fill_values(values, strpbrk(text, "-_") ? urls : standard);
    if (length % 4)
        return NULL;
    while (padding < 2 && padding < length && text[length - 1 - padding] == '=')
        padding++;
    unsigned char *bytes = arena_allocate(arena, length / 4 * 3 + 1);
    for (size_t i = 0; i < length; i += 4) {
        size_t count = i + 4 == length ? 3 - padding : 3;
        if (!decode_group(values, text + i, count, bytes + i / 4 * 3))
            return NULL;
    }
    *size = length / 4 * 3 - padding;
    return bytes;
}
