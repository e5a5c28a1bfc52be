/* What a reviewer's marks mean for a release: a synthetic image that somebody looked at and called
 * a copy of a patient does not leave, whatever was measured.
 *
 * Marks (lethe/review/1, report/review.h) name images by their places in a set, so they are
 * believed as long as it is the same set, though it be audited anew in between: else whoever does
 * not like a mark could lose it by another audit. Images that the audit flagged and that are left
 * out are no reason any more. */
#ifndef RELEASE_MARKS_H
#define RELEASE_MARKS_H

#include "base/arena.h"
#include "base/json.h"

#define REVIEW_SCHEMA "lethe/review/1"

enum marks_state {
    MARKS_CLEAR,  /* somebody marked, and no image that leaves is a copy */
    MARKS_COPIES, /* one is */
    MARKS_NONE,   /* nobody marked this set */
};

/* `review` may be NULL; `flagged_leave`: the images that the audit flagged are released, too. The
 * reason, of all but MARKS_CLEAR, belongs to the arena. */
enum marks_state marks_judge(const struct json *review, const struct json *memorization,
                             bool flagged_leave, const char **reason, struct arena *arena);

/* The set that an audit, and so the marks about its pairs, is about; NULL: it does not tell. */
const char *marks_set(const struct json *memorization);

#endif
