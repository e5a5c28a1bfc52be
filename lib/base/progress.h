/* Progress on standard error: one line with a bar, the rate and the time left.
 *
 *     struct progress progress;
 *     progress_begin(&progress, "ingest", "subjects", count);
 *     … progress_add(&progress, 1);            // from any thread
 *     progress_end(&progress);                 // leaves one summary line
 *
 * Where standard error is no terminal but a log, it gets a line after a minute, two, four …
 * and from half an hour on every half hour: a job of days has some fifty a day. Nothing at all is
 * written after progress_silence().
 * progress_publish lets others look on: a file that tells where the work is, once a second.
 */
#ifndef BASE_PROGRESS_H
#define BASE_PROGRESS_H

#include "base/error.h"

#include <stdatomic.h>
#include <stdint.h>

enum { PROGRESS_NOTE = 128 };

struct progress {
    const char *what, *unit;
    uint64_t total; /* 0: unknown, then no bar and no time left */
    _Atomic uint64_t done;
    _Atomic int64_t next_drawing; /* nanoseconds, monotonic; of the bar, or of a line in a log */
    _Atomic int64_t next_telling; /* the same, of the published file */
    int64_t started;
    bool on_terminal;
    char note[PROGRESS_NOTE];
};

void progress_begin(struct progress *progress, const char *what, const char *unit, uint64_t total);
void progress_add(struct progress *progress, uint64_t amount);
/* What stands at the end of the line from the next one on; from the one thread that adds. */
void progress_note(struct progress *progress, const char *format, ...) PRINTF(2, 3);
void progress_end(struct progress *progress);

/* No progress from now on (--quiet). */
void progress_silence(void);

/* From now on the file holds a line of JSON: what, unit, done, total (0: unknown), seconds. NULL
 * ends that and removes the file. A failure to write it is passed over: it is there for looking on.
 */
void progress_publish(const char *path);

/* Seconds on a clock that never goes back. */
double clock_seconds(void);

#endif
