/* A reviewer's marks: written by the internal report in the browser, checked and taken in here.
 *
 * The file (schema lethe/review/1) says for which audit it was made (memorization_sha256), by whom,
 * and for each pair "copy", "not_a_copy", "unsure" or "unmarked", with a note.
 */
#ifndef REPORT_REVIEW_H
#define REPORT_REVIEW_H

#include "base/digest.h"
#include "base/json.h"
#include "release/marks.h"

enum mark { MARK_COPY, MARK_NOT_A_COPY, MARK_UNSURE, MARK_UNMARKED, MARK_COUNT };
extern const char *const mark_names[MARK_COUNT];

struct review {
    const char *reviewer; /* in the arena */
    size_t counts[MARK_COUNT];
    struct json *document; /* what to record; free with json_free */
};

/* Reads marks and holds them against the audit that they are about: the same audit, no pair that
 * is not its, none twice. */
bool review_read(const char *path, const char *memorization, struct review *review,
                 struct arena *arena, struct error *err) MUST_USE;

#endif
