/* What speaks against a release: a list, because every bad file is named, not the first alone.
 *
 * Kinds, by what they mean for the answer: BAD, it is not what was signed; POLICY, it is, but what
 * the recipient asks for is not met. Adding is safe from any thread.
 */
#ifndef RELEASE_PROBLEMS_H
#define RELEASE_PROBLEMS_H

#include "base/error.h"

#include <pthread.h>

enum problem_kind { PROBLEM_BAD, PROBLEM_POLICY };

enum { PROBLEMS_MOST = 1000 }; /* what comes after that many is counted, not kept */

struct problems {
    struct problem {
        enum problem_kind kind;
        char *text;
    } * items;
    size_t count, capacity;
    size_t more; /* beyond PROBLEMS_MOST */
    pthread_mutex_t lock;
};

void problems_init(struct problems *problems);
void problems_release(struct problems *problems);

/* Always returns false, like error_set. */
bool problems_add(struct problems *problems, enum problem_kind kind, const char *format, ...)
    PRINTF(3, 4);
bool problems_has(const struct problems *problems, enum problem_kind kind);

#endif
