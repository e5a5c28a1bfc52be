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
    size_t kept, withdrawn; /* copies of earlier marks: that still count, and that no longer do */
    struct json *document;  /* what to record; free with json_free */
};

/* Reads marks and holds them against the audit that they are about: the same audit, no pair that
 * is not its, none twice. */
bool review_read(const char *path, const char *memorization, struct review *review,
                 struct arena *arena, struct error *err) MUST_USE;

/* Brings the marks together with those that were recorded before (NULL: none), if these are about
 * the same set. An image that was marked as a copy and of which the new marks say nothing
 * ("unmarked", or no such pair) is a copy still, with whose mark it is under `by`; where they say
 * otherwise the mark is withdrawn, and listed under "withdrawn": whose it was, who took it back,
 * and when; new ones first. That list is kept by later marks, until the image is called a copy
 * again. `marked`: when the earlier marks were recorded; NULL where that is not known. */
void review_follow(struct review *review, const struct json *before, const char *marked,
                   const char *now);

struct json *review_counts(const struct review *review) MUST_USE;

#endif
