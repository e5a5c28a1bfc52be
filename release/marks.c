/* A reviewer's marks; see marks.h. */
#include "release/marks.h"

#include <inttypes.h>
#include <string.h>

const char *marks_set(const struct json *memorization)
{
    const struct json *inputs = json_member(memorization, "inputs");
    return json_as_string(json_member(json_member(inputs, "synthetic"), "sha256"));
}

static bool is_about(const struct json *review, const struct json *memorization)
{
    const char *set = marks_set(memorization),
               *seen = json_as_string(json_member(review, "synthetic_sha256"));
    return set && seen && strcmp(set, seen) == 0;
}

static bool is_flagged(const struct json *memorization, int64_t image)
{
    const struct json *images = json_member(json_member(memorization, "flagged"), "images");
    int64_t place;
    for (size_t i = 0; i < json_length(images); i++)
        if (json_as_integer(json_at(images, i), &place) && place == image)
            return true;
    return false;
}

/* How many images that leave are marked as copies; the first of them. */
static size_t count_copies(const struct json *review, const struct json *memorization,
                           bool flagged_leave, int64_t *first)
{
    const struct json *marks = json_member(review, "marks");
    size_t copies = 0;
    for (size_t i = 0; i < json_length(marks); i++) {
        const char *mark = json_as_string(json_member(json_at(marks, i), "mark"));
        int64_t image = -1;
        if (!mark || strcmp(mark, "copy") != 0)
            continue;
        json_as_integer(json_member(json_at(marks, i), "synthetic"), &image);
        if (!flagged_leave && is_flagged(memorization, image))
            continue;
        if (!copies++)
            *first = image;
    }
    return copies;
}

enum marks_state marks_judge(const struct json *review, const struct json *memorization,
                             bool flagged_leave, const char **reason, struct arena *arena)
{
    int64_t first = -1;
    *reason = review ? "the marks are about another set" : "nobody marked the worst pairs";
    if (!review || !is_about(review, memorization))
        return MARKS_NONE;
    size_t copies = count_copies(review, memorization, flagged_leave, &first);
    *reason = NULL;
    if (!copies)
        return MARKS_CLEAR;
    *reason = copies == 1 ? arena_format(arena, "synthetic image %" PRId64, first)
                          : arena_format(arena, "synthetic image %" PRId64 " and %zu more", first,
                                         copies - 1);
    return MARKS_COPIES;
}
