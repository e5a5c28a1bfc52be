/* bundle_parse, and all that is parsed of a bundle: its statement, certificates and timestamps.
 * What is read is written, and read again the same. */
#include "fuzz/fuzz.h"

#include "base/text.h"
#include "release/bundle.h"
#include "release/certificate.h"
#include "release/statement.h"

#include <string.h>

static void look_inside(const struct bundle *bundle, struct arena *arena)
{
    struct error err = { "" };
    struct statement statement;
    if (!statement_parse(bundle->payload.bytes, bundle->payload.size, "payload", &statement, arena,
                         &err))
        CHECK(strncmp(err.message, "payload:", 8) == 0, "no place in: %s", err.message);
    for (size_t i = 0; i < bundle->certificate_count; i++)
        key_free(certificate_public_key(&bundle->certificates[i], &err));
    for (size_t i = 0; i < bundle->timestamp_count; i++)
        CHECK(!timestamp_matches(&bundle->timestamps[i], "x", 1, &err), "a timestamp over \"x\"");
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct error err = { "" };
    struct arena arena;
    struct bundle bundle, again;
    struct text text = { 0 };
    arena_init(&arena);
    if (bundle_parse((const char *)bytes, size, "x.json", &bundle, &arena, &err)) {
        look_inside(&bundle, &arena);
        bundle_write(&bundle, &text);
        CHECK(bundle_parse(text.bytes, text.length, "again", &again, &arena, &err),
              "what was written cannot be read: %s", err.message);
        CHECK(again.payload.size == bundle.payload.size &&
                  !memcmp(again.payload.bytes, bundle.payload.bytes, bundle.payload.size),
              "another payload");
    } else {
        CHECK(strncmp(err.message, "x.json:", 7) == 0, "no place in: %s", err.message);
    }
    text_release(&text);
    arena_release(&arena);
    return 0;
}
