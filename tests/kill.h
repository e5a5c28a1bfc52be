/* A process that is killed (SIGKILL) before one of its calls that change what lies on a disk.
 *
 * Between two of those a kill leaves the same, whenever it comes; so kills are counted in calls,
 * not in seconds, and fall on the same places on machines of any pace. Of a write that does not
 * happen, half does.
 *
 * For the calls of a test's own process kill.c is linked into it:
 *
 *     if (child == 0) {
 *         kill_at(7);
 *         …                      // of what this changes the seventh change does not happen
 *     }
 *
 * For a program it is the library LETHE_KILL_SHIM, told of in the environment of its start:
 *
 *     kill_next_at(7);                 // killed before the seventh
 *     pid_t child = start(…);
 *     kill_no_more();
 *     …
 *     count_next_into("/tmp/calls");   // not killed; when it ends, that file tells how many
 *
 * or LD_PRELOAD=… and LETHE_KILL=7, LETHE_KILL_CALLS=/tmp/calls, or LETHE_KILL_PLACED="2 *.npy",
 * killed as soon as two files of such paths were put in place. Its children are let alone. */
#ifndef TESTS_KILL_H
#define TESTS_KILL_H

#include <stdio.h>
#include <stdlib.h>

/* From here on; 0: never. */
void kill_at(unsigned long call);

/* How many there were, up to now. */
unsigned long kill_calls(void);

#ifdef LETHE_KILL_SHIM
static inline void kill_watch(const char *name, const char *value)
{
    setenv("LD_PRELOAD", LETHE_KILL_SHIM, 1);
    setenv("ASAN_OPTIONS", "verify_asan_link_order=0", 1);
    setenv(name, value, 1);
}

static inline void kill_next_at(unsigned long call)
{
    char number[32];
    snprintf(number, sizeof number, "%lu", call);
    kill_watch("LETHE_KILL", number);
}

static inline void count_next_into(const char *path)
{
    kill_watch("LETHE_KILL_CALLS", path);
}

static inline void kill_no_more(void)
{
    static const char *const names[] = { "LD_PRELOAD", "ASAN_OPTIONS", "LETHE_KILL",
                                         "LETHE_KILL_CALLS" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unsetenv(names[i]);
}

/* What was counted. */
static inline unsigned long kill_calls_in(const char *path)
{
    unsigned long calls = 0;
    FILE *file = fopen(path, "r");
    if (!file || fscanf(file, "%lu", &calls) != 1 || !calls)
        abort();
    fclose(file);
    return calls;
}
#endif

#endif
