/* manifest_parse: what is read is written again as the same bytes. */
#include "fuzz/fuzz.h"

#include "base/text.h"
#include "release/manifest.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct error err = { "" };
    struct arena arena;
    struct manifest manifest;
    struct text again = { 0 };
    arena_init(&arena);
    if (manifest_parse((const char *)bytes, size, "x.json", &manifest, &arena, &err)) {
        CHECK(manifest_write(&manifest, &again, &err), "cannot be written: %s", err.message);
        CHECK(again.length == size && memcmp(again.bytes, bytes, size) == 0,
              "written otherwise than it was read");
    } else {
        CHECK(strncmp(err.message, "x.json:", 7) == 0, "no place in: %s", err.message);
    }
    text_release(&again);
    arena_release(&arena);
    return 0;
}
