/* PNG images, 8 and 16 bit. */
#ifndef DATA_PNG_H
#define DATA_PNG_H

#include "base/error.h"

#include <stdint.h>

enum { PNG_LARGEST_SIDE = 32768 };

struct png_image {
    uint32_t width, height;
    int channels; /* 1 grey, 2 grey + alpha, 3 RGB, 4 RGBA */
    int bits;     /* 8: pixels are uint8_t; 16: uint16_t in the machine's byte order */
    void *pixels; /* height × width × channels, row by row; owned, free with memory_free */
};

/* Reads any PNG: palettes and fewer than 8 bits are expanded to 8 bits. */
bool png_read(struct png_image *image, const char *path, struct error *err) MUST_USE;
bool png_parse(struct png_image *image, const void *bytes, size_t size, const char *name,
               struct error *err) MUST_USE;

/* A text chunk (tEXt): a keyword of 1 to 79 Latin-1 characters and what is said about it. */
struct png_text {
    const char *keyword, *text;
};

/* The file's bytes, with the necessary chunks and `text` unless it is NULL; free with memory_free.
 */
void *png_encode(const struct png_image *image, const struct png_text *text, size_t *size,
                 struct error *err) MUST_USE;

/* Writes atomically, with no chunk but the necessary ones. */
bool png_write(const char *path, const struct png_image *image, struct error *err) MUST_USE;

/* The version of libspng that is loaded. */
const char *png_library_version(void);

#endif
