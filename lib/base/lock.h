/* A lock file: what one process at a time works on, and who that is.
 *
 *     struct lock lock;
 *     switch (lock_take(&lock, "run/lock", "lethe run plan.yaml", err)) …
 *     LOCK_TAKEN      it is ours until lock_release(&lock)
 *     LOCK_HELD       err says who holds it, and since when
 *     LOCK_FAILED     err says why
 *
 * The lock is the kernel's, of the open file, so it ends with the process that holds it, however
 * that ends, and holds between machines where their file system carries locks (NFS, Lustre). Asking
 * who holds one takes nothing. The file tells who that is: process, host, time, command and
 * version, in JSON. Released, it is empty; a file with a record that nobody holds is of a process
 * that was killed.
 *
 * A unit of work that can be taken, as a run shares them with its assistants, is a lock file: a
 * training beside its folder, a batch of a drawing, a trial.
 */
#ifndef BASE_LOCK_H
#define BASE_LOCK_H

#include "base/arena.h"

#include <stdint.h>

struct lock {
    int descriptor; /* -1: not held */
    char *path;     /* owned */
    struct json *record;
};
#define LOCK_NONE                                                                                  \
    {                                                                                              \
        .descriptor = -1                                                                           \
    }

enum lock_outcome { LOCK_FAILED, LOCK_HELD, LOCK_TAKEN };

/* Its folder must be there. `err` may be NULL. */
enum lock_outcome lock_take(struct lock *lock, const char *path, const char *command,
                            struct error *err) MUST_USE;
/* What else its record is to tell, from now on. */
struct lock_word {
    const char *key, *value;
};
bool lock_tell(struct lock *lock, const struct lock_word *words, size_t count,
               struct error *err) MUST_USE;
/* One that is not held is fine. */
void lock_release(struct lock *lock);
/* The same as a process that is killed would: the record stays. For work that will be gone on with.
 */
void lock_leave(struct lock *lock);
/* As lock_release, and removes the file. Only for work that shows that it is done: another process
 * may have opened the file before, and will hold it after. */
void lock_remove(struct lock *lock);

struct lock_holder {
    bool is_held, is_told; /* is_told: there is a record, of who holds it, or was killed */
    int64_t process;
    const char *host, *since, *command, *version; /* in the arena */
    struct json *record;                          /* NULL, or all of it; json_free */
};
void lock_holder(const char *path, struct lock_holder *holder, struct arena *arena);
void lock_holder_release(struct lock_holder *holder);

/* Whether somebody holds it, at the price of two system calls. */
bool lock_is_held(const char *path);

/* Called once when a work has to wait for what others work on; `whom` is as a sentence's end. */
typedef void lock_waiting(const char *what, const char *whom);
/* "process 12 on host, since … (command)" */
const char *lock_words(const char *path, struct arena *arena);
/* A moment, before looking again whether a lock is free: file systems of many machines are not to
 * be asked more often. */
void lock_pause(void);

/* The time now as "2024-05-01T12:00:00Z"; returns `buffer`. */
enum { TIME_TEXT = 24 };
const char *time_text(char buffer[TIME_TEXT]);

#endif
