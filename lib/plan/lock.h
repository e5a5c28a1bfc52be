/* The lock of a run folder: one run at a time.
 *
 *     struct run_lock lock;
 *     if (!run_lock_take(&lock, "run", "lethe run", err)) …    // err says who holds it, since when
 *     run_lock_release(&lock);
 *
 * The lock is the kernel's, of FOLDER/lock as an open file, so it ends with the process that holds
 * it, however that ends; asking who holds it takes nothing. The file tells who that is: process,
 * host, time and command, in JSON.
 */
#ifndef PLAN_LOCK_H
#define PLAN_LOCK_H

#include "base/arena.h"

struct run_lock {
    int descriptor;
};

/* Makes the folder where it is missing. */
bool run_lock_take(struct run_lock *lock, const char *folder, const char *command,
                   struct error *err) MUST_USE;
void run_lock_release(struct run_lock *lock);

/* Who holds it. */
struct run_holder {
    bool is_held;
    int64_t process;
    const char *host, *since, *command; /* in the arena */
};
void run_lock_holder(const char *folder, struct run_holder *holder, struct arena *arena);

/* The time now as "2024-05-01T12:00:00Z"; returns `buffer`. */
enum { TIME_TEXT = 24 };
const char *time_text(char buffer[TIME_TEXT]);

#endif
