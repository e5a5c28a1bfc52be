/* What the searches for copies in disguise, for tiles and for lesions do alike: they read every
 * training image, accept a set of queries, and answer a range of these, some to a thread. Of mapped
 * files they let go of what they have read, so that memory does not grow to their size.
 */
#ifndef AUDIT_QUERIES_H
#define AUDIT_QUERIES_H

#include "audit/engine.h"

/* The pixels that are compared of such images; channels as of search_settings. */
void set_pixels(struct pixels *pixels, const struct image_set *set, uint64_t channels);

/* Calls body(context, begin, end) for ranges that together cover the set, on all threads. */
void set_visit(const struct pixels *pixels, const struct image_set *set,
               void (*body)(void *context, size_t begin, size_t end), void *context);

/* As images_forget (engine.h), where there is no struct search. */
void set_forget(const struct pixels *pixels, const struct image_set *set, size_t first,
                size_t count);

/* Whether the queries can be asked of the database: sizes and channels agree (search_check), and
 * groups are known where only other groups may answer. */
bool queries_accept(const struct image_set *queries, const struct image_set *database,
                    uint64_t channels, bool other_groups, struct error *err) MUST_USE;

/* Calls body(job, begin, end) for ranges that together cover [0, count), which stand for queries
 * from `first` on. Refused where a pixel of theirs is not finite. */
bool queries_answer(const struct pixels *pixels, const struct image_set *queries,
                    const struct image_set *database, size_t first, size_t count,
                    void (*body)(void *job, size_t begin, size_t end), void *job,
                    struct error *err) MUST_USE;

#endif
