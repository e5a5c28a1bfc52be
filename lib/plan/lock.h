/* The lock of a run folder (base/lock.h): one run at a time, which says how far it is.
 *
 *     struct run_lock lock;
 *     if (!run_lock_take(&lock, "run", "lethe run", err)) …    // err says who holds it, since when
 *     if (!run_lock_tell(&lock, plan, "train", "package", err)) …
 *     run_lock_release(&lock);
 *
 * What a run tells is for its assistants, which work on nothing that it has not come to.
 */
#ifndef PLAN_LOCK_H
#define PLAN_LOCK_H

#include "base/lock.h"

struct run_lock {
    struct lock lock;
};

/* Makes the folder where it is missing. */
bool run_lock_take(struct run_lock *lock, const char *folder, const char *command,
                   struct error *err) MUST_USE;
void run_lock_release(struct run_lock *lock);
void run_lock_leave(struct run_lock *lock); /* it was stopped, and will go on */

/* By what plan (a digest) it works, at which stage it is, and with which it will end. */
bool run_lock_tell(struct run_lock *lock, const char *plan, const char *stage, const char *until,
                   struct error *err) MUST_USE;

/* Who holds it, or, where nobody does, who was killed or stopped while he held it. */
struct run_holder {
    bool is_held, was_killed;
    int64_t process;
    const char *host, *since, *command, *version; /* in the arena */
    const char *plan, *stage, *until;             /* NULL: not told */
};
void run_lock_holder(const char *folder, struct run_holder *holder, struct arena *arena);

/* The units of work in the folder that somebody works on (their locks end in ".taken"), in byte
 * order, and who that is. The array belongs to the arena. */
struct run_unit {
    const char *path; /* of what is worked on, relative to the folder */
    int64_t process;
    const char *host, *since, *command;
};
size_t run_units(const char *folder, struct run_unit **units, struct arena *arena);

#endif
