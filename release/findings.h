/* What speaks against a release: a list, because every bad file is named, not the first alone.
 *
 * Kinds, by what they mean for the answer: BAD, it is not what was signed; POLICY, it is, but what
 * the recipient asks for is not met. Adding is safe from any thread.
 */
#ifndef RELEASE_FINDINGS_H
#define RELEASE_FINDINGS_H

#include "base/error.h"

#include <pthread.h>

enum finding_kind { FINDING_BAD, FINDING_POLICY };

enum { FINDINGS_MOST = 1000 }; /* what comes after that many is counted, not kept */

struct findings {
    struct finding {
        enum finding_kind kind;
        char *text;
    } * items;
    size_t count, capacity;
    size_t more; /* beyond FINDINGS_MOST */
    pthread_mutex_t lock;
};

void findings_init(struct findings *findings);
void findings_release(struct findings *findings);

/* Always returns false, like error_set. */
bool findings_add(struct findings *findings, enum finding_kind kind, const char *format, ...)
    PRINTF(3, 4);
/* What is bad first, then by text: threads find things in any order. */
void findings_sort(struct findings *findings);
bool findings_has(const struct findings *findings, enum finding_kind kind);

#endif
