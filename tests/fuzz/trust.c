/* trust_parse, with keys and authorities as PEM inside. */
#include "fuzz/fuzz.h"

#include "release/trust.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct error err = { "" };
    struct arena arena;
    struct trust trust;
    arena_init(&arena);
    if (trust_parse((const char *)bytes, size, "x.yaml", NULL, &trust, &arena, &err)) {
        int64_t sum = 0;
        for (int role = 0; role < ROLE_COUNT; role++)
            sum += trust.require[role];
        CHECK(sum > 0, "a trust file that anything would meet");
        trust_release(&trust);
    } else {
        CHECK(strncmp(err.message, "x.yaml:", 7) == 0, "no place in: %s", err.message);
    }
    arena_release(&arena);
    return 0;
}
