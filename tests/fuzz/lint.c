/* lint_file: its own walks over NIfTI, gzip, PNG, .npy, JSON, pages and text. The first byte
 * chooses the kind. A finding is one line that begins with the path, and a file is clean when there
 * is none; where a file holds a name of the source data in plain text, that is found. */
#include "fuzz/fuzz.h"

#include "release/lint.h"

#include "base/arena.h"

#include <string.h>

static const char *const paths[] = {
    "x.nii.gz", "x.nii", "x.png", "x.npy", "x.json", "x.html", "x.csv", "x.md", "x.unknown",
};
enum { KINDS = sizeof paths / sizeof *paths, FIRST_TEXT = 6, TEXTS = 2 };
static const char secret[] = "BraTS20_Training_007";

static void check_lines(const struct text *findings, const char *path)
{
    const char *at = findings->length ? findings->bytes : "";
    for (const char *end; *at; at = end + 1) {
        end = strchr(at, '\n');
        CHECK(end, "a finding without an end: %s", at);
        CHECK(strncmp(at, path, strlen(path)) == 0 && at[strlen(path)] == ':',
              "a finding that does not begin with %s: %s", path, at);
    }
}

/* The same text with the secret as a word of its own behind it. */
static void check_secret(const struct lint *lint, const char *path, const uint8_t *bytes,
                         size_t size)
{
    struct text text = { 0 }, findings = { 0 };
    text_add_bytes(&text, bytes, size);
    text_format(&text, "\n%s\n", secret);
    CHECK(!lint_file(lint, path, text.bytes, text.length, &findings) && findings.length,
          "a name of the source was not found");
    text_release(&text);
    text_release(&findings);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static struct lint *lint;
    struct text findings = { 0 };
    if (!lint) {
        lint = lint_new();
        lint_add_source(lint, secret);
        lint_allow(lint, "2026-11-22");
    }
    size_t kind = size ? bytes[0] % KINDS : 0;
    unsigned char *copy = memory_grow(NULL, size ? size : 1, 1); /* reads beyond it are seen */
    if (size > 1)
        memcpy(copy, bytes + 1, size - 1);
    bool clean = lint_file(lint, paths[kind], copy, size ? size - 1 : 0, &findings);
    CHECK(clean == !findings.length, "clean, with findings");
    check_lines(&findings, paths[kind]);
    if (kind >= FIRST_TEXT && kind < FIRST_TEXT + TEXTS && size)
        check_secret(lint, paths[kind], copy, size - 1);
    memory_free(copy);
    text_release(&findings);
    return 0;
}
