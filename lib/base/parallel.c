/* The whole contact surface with OpenMP's run-time library; see parallel.h. */
#include "base/parallel.h"

#include "base/allowance.h"
#include "base/error.h"

#include <limits.h>
#include <omp.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

static atomic_int chosen_threads; /* 0: nobody has asked yet */
static _Thread_local bool alone;

/* What OMP_NUM_THREADS says, of a list of levels the first; 0: nothing. Read here, as OpenMP's own
 * number may be changed by any library before we first ask: OpenBLAS does, told to use one. */
static int threads_told(void)
{
    const char *told = getenv("OMP_NUM_THREADS");
    long count = told ? strtol(told, NULL, 10) : 0;
    return count > 0 && count < INT_MAX ? (int)count : 0;
}

/* Cores that this process may run on, and that its quota of time pays for: threads beyond either
 * would wait for each other, spinning. Fewer where OMP_NUM_THREADS says so. */
static int available_cores(void)
{
    cpu_set_t set;
    struct allowance allowance;
    int told = threads_told();
    bool known = sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0;
    int cores = known ? CPU_COUNT(&set) : omp_get_num_procs();
    allowance_read(&allowance, "");
    if (allowance.cores < cores)
        cores = allowance.cores;
    return told > 0 && told < cores ? told : cores;
}

/* OpenMP's settings belong to the thread that makes them, and libraries change them, too. */
static void tell_openmp(int count)
{
    if (omp_get_max_threads() == count && !omp_get_dynamic())
        return;
    omp_set_dynamic(0);
    omp_set_num_threads(count);
}

int parallel_threads(void)
{
    if (alone)
        return 1;
    int count = atomic_load(&chosen_threads);
    if (!count) {
        int cores = available_cores();
        count = atomic_compare_exchange_strong(&chosen_threads, &count, cores) ? cores : count;
    }
    tell_openmp(count);
    return count;
}

void parallel_set_threads(int count)
{
    CHECK(count >= 1, "parallel_set_threads(%d)", count);
    atomic_store(&chosen_threads, count);
    tell_openmp(count);
}

int parallel_lend(int threads)
{
    int before = omp_get_max_threads();
    omp_set_num_threads(threads);
    return before;
}

void parallel_alone(void)
{
    alone = true;
}

void parallel_items(size_t count, void (*body)(void *context, size_t item), void *context)
{
    int threads = parallel_threads();
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads) if (count > 1)
    for (size_t item = 0; item < count; item++)
        body(context, item);
}

void parallel_ranges(size_t count, size_t grain,
                     void (*body)(void *context, size_t begin, size_t end), void *context)
{
    CHECK(grain > 0, "parallel_ranges with a grain of 0");
    size_t threads = (size_t)parallel_threads();
    size_t length = (count + threads - 1) / threads;
    if (length < grain)
        length = grain;
    if (count <= length) {
        if (count)
            body(context, 0, count);
        return;
    }
    size_t ranges = (count + length - 1) / length;
#pragma omp parallel for schedule(static, 1) num_threads((int)ranges)
    for (size_t range = 0; range < ranges; range++) {
        size_t begin = range * length;
        body(context, begin, begin + length < count ? begin + length : count);
    }
}

/* Whose turn it is to finish. Waiting is on a condition, not by `omp ordered`, where threads of
 * GNU's library spin: next to threads that are not OpenMP's, as a compressor's, that took three
 * quarters of the processor's time from them. */
struct turns {
    size_t count, next, turn; /* next: item to be taken; turn: item to be finished */
    bool going;
    pthread_mutex_t lock;
    pthread_cond_t changed;
};

static bool take_item(struct turns *turns, size_t *item)
{
    pthread_mutex_lock(&turns->lock);
    bool more = turns->going && turns->next < turns->count;
    *item = turns->next;
    turns->next += more;
    pthread_mutex_unlock(&turns->lock);
    return more;
}

static bool await_turn(struct turns *turns, size_t item)
{
    pthread_mutex_lock(&turns->lock);
    while (turns->turn != item)
        pthread_cond_wait(&turns->changed, &turns->lock);
    bool going = turns->going;
    pthread_mutex_unlock(&turns->lock);
    return going;
}

static void end_turn(struct turns *turns, bool going)
{
    pthread_mutex_lock(&turns->lock);
    turns->going = going;
    turns->turn++;
    pthread_cond_broadcast(&turns->changed);
    pthread_mutex_unlock(&turns->lock);
}

bool parallel_ordered(size_t count, void (*work)(void *context, size_t item),
                      bool (*finish)(void *context, size_t item), void *context)
{
    int threads = parallel_threads();
    struct turns turns = { .count = count, .going = true };
    pthread_mutex_init(&turns.lock, NULL);
    pthread_cond_init(&turns.changed, NULL);
#pragma omp parallel num_threads(threads)
    for (size_t item; take_item(&turns, &item);) {
        work(context, item);
        end_turn(&turns, await_turn(&turns, item) && finish(context, item));
    }
    pthread_cond_destroy(&turns.changed);
    pthread_mutex_destroy(&turns.lock);
    return turns.going;
}
