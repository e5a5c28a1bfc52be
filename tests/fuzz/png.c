/* png_parse: refused with a reason, or decoded to as many pixels as it tells of. */
#include "fuzz/fuzz.h"

#include "data/png.h"

#include "base/arena.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct png_image image;
    struct error err = { "" };
    if (!png_parse(&image, bytes, size, "x.png", &err)) {
        CHECK(strncmp(err.message, "x.png: ", 7) == 0, "no name in: %s", err.message);
        CHECK(!image.pixels, "a refused image keeps its memory");
        return 0;
    }
    const volatile uint8_t *pixels = image.pixels;
    size_t last =
        (size_t)image.width * image.height * (size_t)image.channels * (size_t)(image.bits / 8) - 1;
    (void)pixels[0];
    (void)pixels[last];
    memory_free(image.pixels);
    return 0;
}
