/* Threads: OpenMP, behind these few functions.
 *
 * OpenMP because oneDNN, as Debian builds it, runs on the same OpenMP threads: one team, no
 * second pool fighting it for the cores. Results never depend on the number of threads: work is
 * cut by element, and whatever is summed across items is summed in the order of the items.
 *
 *     static void double_rows(void *context, size_t begin, size_t end) { … rows [begin, end) … }
 *     parallel_ranges(count, 64, double_rows, &context);
 */
#ifndef BASE_PARALLEL_H
#define BASE_PARALLEL_H

#include <stdbool.h>
#include <stddef.h>

/* The threads that parallel_* and the OpenMP loops of other folders use, unless set: the number of
 * cores that this process may run on, of those that its control group's quota of time pays for
 * (allowance.h), or of the environment's OMP_NUM_THREADS, whichever is least. */
int parallel_threads(void);
void parallel_set_threads(int count);

/* How many of OpenMP's threads a library may use that this thread is about to call; returns how
 * many it could before, to be set again afterwards. */
int parallel_lend(int threads);

/* From now on what the calling thread hands to the functions below runs on that thread alone: for
 * a thread in the background, which is to take no core from the team of the others. */
void parallel_alone(void);

/* Calls body once per item, items handed out one at a time in ascending order, each to any
 * thread. */
void parallel_items(size_t count, void (*body)(void *context, size_t item), void *context);

/* Calls body for ranges that together cover [0, count), a contiguous run a thread, none shorter
 * than `grain` unless it is the last. Runs on the calling thread when one range would do. */
void parallel_ranges(size_t count, size_t grain,
                     void (*body)(void *context, size_t begin, size_t end), void *context);

/* A pipeline with an ordered end: `work(item)` runs on any thread; `finish(item)` runs for one
 * item at a time, in ascending order, right after its work. At most parallel_threads() items are
 * between the two. `finish` may stop the rest by returning false: work that has begun completes,
 * later items are skipped, and the result is false. */
bool parallel_ordered(size_t count, void (*work)(void *context, size_t item),
                      bool (*finish)(void *context, size_t item), void *context);

#endif
