/* The whole contact surface with libspng; see png.h. */
#include "data/png.h"

#include "base/arena.h"
#include "base/file.h"

#include <string.h>

#include <spng.h>

/* DEFLATE expands at most 1032 : 1, so a small file that tells of a large image lies. */
enum { LARGEST_FILE = 1 << 30, LARGEST_CHUNK = 1 << 28, GREATEST_EXPANSION = 1032 };

/* The format to ask for, by colour type and depth: 16 bit as it is, all else as 8 bit. */
static int decode_format(const struct spng_ihdr *header, int *channels)
{
    switch (header->color_type) {
    case SPNG_COLOR_TYPE_GRAYSCALE:
        *channels = 1;
        return header->bit_depth == 16 ? SPNG_FMT_PNG : SPNG_FMT_G8;
    case SPNG_COLOR_TYPE_GRAYSCALE_ALPHA:
        *channels = 2;
        return SPNG_FMT_PNG;
    case SPNG_COLOR_TYPE_TRUECOLOR_ALPHA:
        *channels = 4;
        return SPNG_FMT_PNG;
    default: /* RGB and palettes */
        *channels = 3;
        return header->bit_depth == 16 ? SPNG_FMT_PNG : SPNG_FMT_RGB8;
    }
}

static bool decode(spng_ctx *context, size_t file_size, struct png_image *image, const char *name,
                   struct error *err)
{
    struct spng_ihdr header;
    int code = spng_get_ihdr(context, &header);
    if (code)
        return error_set(err, "%s: not a readable PNG: %s", name, spng_strerror(code));
    size_t size;
    int format = decode_format(&header, &image->channels);
    image->width = header.width;
    image->height = header.height;
    image->bits = header.bit_depth == 16 ? 16 : 8;
    code = spng_decoded_image_size(context, format, &size);
    if (code)
        return error_set(err, "%s: not a readable PNG: %s", name, spng_strerror(code));
    size_t stored_bits =
        (size_t)header.bit_depth *
        (size_t)(header.color_type == SPNG_COLOR_TYPE_INDEXED ? 1 : image->channels);
    if ((size_t)header.width * header.height * stored_bits / 8 / GREATEST_EXPANSION > file_size)
        return error_set(err, "%s: damaged PNG: %u × %u pixels cannot come out of %zu bytes", name,
                         header.width, header.height, file_size);
    image->pixels = memory_allocate(size, 1, name, err);
    if (!image->pixels)
        return false;
    code = spng_decode_image(context, image->pixels, size, format, 0);
    if (!code)
        code = spng_decode_chunks(context); /* a file cut after its pixels is cut all the same */
    if (!code)
        return true;
    memory_free(image->pixels);
    image->pixels = NULL;
    return error_set(err, "%s: damaged PNG: %s", name, spng_strerror(code));
}

bool png_parse(struct png_image *image, const void *bytes, size_t size, const char *name,
               struct error *err)
{
    *image = (struct png_image){ 0 };
    spng_ctx *context = spng_ctx_new(0);
    CHECK(context, "out of memory for a PNG decoder");
    spng_set_image_limits(context, PNG_LARGEST_SIDE, PNG_LARGEST_SIDE);
    spng_set_chunk_limits(context, LARGEST_CHUNK, LARGEST_CHUNK);
    int code = spng_set_png_buffer(context, bytes, size);
    bool ok = code ? error_set(err, "%s: not a readable PNG: %s", name, spng_strerror(code))
                   : decode(context, size, image, name, err);
    spng_ctx_free(context);
    return ok;
}

bool png_read(struct png_image *image, const char *path, struct error *err)
{
    size_t size;
    *image = (struct png_image){ 0 };
    char *bytes = file_read(path, LARGEST_FILE, &size, err);
    if (!bytes)
        return false;
    bool ok = png_parse(image, bytes, size, path, err);
    memory_free(bytes);
    return ok;
}

static int set_text(spng_ctx *context, const struct png_text *text)
{
    struct spng_text chunk = { .type = SPNG_TEXT };
    if (!text)
        return 0;
    CHECK(strlen(text->keyword) < sizeof chunk.keyword, "the PNG keyword \"%s\"", text->keyword);
    strcpy(chunk.keyword, text->keyword);
    chunk.text = (char *)(uintptr_t)text->text; /* only read */
    chunk.length = strlen(text->text);
    return spng_set_text(context, &chunk, 1);
}

void *png_encode(const struct png_image *image, const struct png_text *text, size_t *size,
                 struct error *err)
{
    static const uint8_t colour[] = { [1] = SPNG_COLOR_TYPE_GRAYSCALE,
                                      [2] = SPNG_COLOR_TYPE_GRAYSCALE_ALPHA,
                                      [3] = SPNG_COLOR_TYPE_TRUECOLOR,
                                      [4] = SPNG_COLOR_TYPE_TRUECOLOR_ALPHA };
    CHECK(image->channels >= 1 && image->channels <= 4 && (image->bits == 8 || image->bits == 16),
          "a PNG of %d channels and %d bits", image->channels, image->bits);
    struct spng_ihdr header = { .width = image->width,
                                .height = image->height,
                                .bit_depth = (uint8_t)image->bits,
                                .color_type = colour[image->channels] };
    spng_ctx *context = spng_ctx_new(SPNG_CTX_ENCODER);
    CHECK(context, "out of memory for a PNG encoder");
    size_t pixels =
        (size_t)image->width * image->height * (size_t)image->channels * (size_t)(image->bits / 8);
    int code = spng_set_option(context, SPNG_ENCODE_TO_BUFFER, 1);
    code = code ? code : spng_set_ihdr(context, &header);
    code = code ? code : set_text(context, text);
    code = code ? code
                : spng_encode_image(context, image->pixels, pixels, SPNG_FMT_PNG,
                                    SPNG_ENCODE_FINALIZE);
    void *packed = code ? NULL : spng_get_png_buffer(context, size, &code);
    if (!packed)
        error_set(err, "a PNG cannot be encoded: %s", spng_strerror(code));
    spng_ctx_free(context);
    return packed;
}

bool png_write(const char *path, const struct png_image *image, struct error *err)
{
    size_t size;
    void *packed = png_encode(image, NULL, &size, err);
    if (!packed)
        return error_prefix(err, "%s", path);
    bool ok = file_write(path, packed, size, err);
    memory_free(packed);
    return ok;
}

const char *png_library_version(void)
{
    return spng_version_string();
}
