/* What the searches for copies in disguise, for tiles and for lesions do alike: they accept a set
 * of queries, and answer a range of them, some to a thread, letting go of mapped pages afterwards.
 */
#ifndef AUDIT_QUERIES_H
#define AUDIT_QUERIES_H

#include "audit/engine.h"

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
