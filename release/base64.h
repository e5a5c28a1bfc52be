/* Base64 (RFC 4648), strict: one way to write each sequence of bytes.
 *
 * Reading takes the standard alphabet or the one for URLs, as DSSE asks for, but never both in one
 * text; padding is complete; the bits that no byte uses are zero; no blanks, no line ends.
 */
#ifndef RELEASE_BASE64_H
#define RELEASE_BASE64_H

#include "base/arena.h"

struct text;

/* Adds the bytes in the standard alphabet. */
void base64_add(struct text *out, const void *bytes, size_t size);
char *base64_text(struct arena *arena, const void *bytes, size_t size);

/* The bytes, followed by a zero that is not counted; NULL when the text is not strict base64. */
unsigned char *base64_bytes(struct arena *arena, const char *text, size_t *size);

#endif
