/* glob_match: the input is a pattern, a zero byte, and a path; without captures or stars a pattern
 * matches itself alone. */
#include "fuzz/fuzz.h"

#include "data/layout.h"

#include <string.h>

enum { LONGEST = 40, MOST_STARS = 4 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    char pattern[LONGEST + 1], path[LONGEST + 1];
    const uint8_t *cut = memchr(bytes, 0, size);
    if (!cut || cut - bytes > LONGEST || bytes + size - cut - 1 > LONGEST)
        return 0;
    memcpy(pattern, bytes, (size_t)(cut - bytes) + 1);
    size_t length = (size_t)(bytes + size - cut) - 1;
    memcpy(path, cut + 1, length);
    path[length] = '\0';
    int runs = 0;
    for (const char *at = pattern; *at; at++)
        runs += *at == '*' || *at == '{';
    if (runs > MOST_STARS) /* the time grows with the path's length to this power */
        return 0;
    struct glob_captures captures = { 0 };
    struct arena arena;
    arena_init(&arena);
    if (glob_match(pattern, path, &captures, &arena)) {
        CHECK(!captures.subject || (*captures.subject && !strchr(captures.subject, '/')),
              "a subject of \"%s\"", captures.subject);
        CHECK(!captures.slice || captures.slice[strspn(captures.slice, "0123456789")] == '\0',
              "a slice of \"%s\"", captures.slice);
        CHECK(runs || strchr(pattern, '?') || !strcmp(pattern, path), "\"%s\" matches \"%s\"",
              pattern, path);
    }
    arena_release(&arena);
    return 0;
}
