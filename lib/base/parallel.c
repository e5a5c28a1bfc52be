/* The whole contact surface with OpenMP's run-time library; see parallel.h. */
#include "base/parallel.h"

#include "base/error.h"

#include <omp.h>
#include <sched.h>
#include <stdatomic.h>

static atomic_int chosen_threads;     /* 0: nobody has asked yet */
static _Thread_local int told_openmp; /* its settings belong to the thread that makes them */
static _Thread_local bool alone;

static int available_cores(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
        return CPU_COUNT(&set);
    return omp_get_num_procs();
}

static void tell_openmp(int count)
{
    if (told_openmp == count)
        return;
    omp_set_dynamic(0);
    omp_set_num_threads(count);
    told_openmp = count;
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

void parallel_alone(void)
{
    alone = true;
}

void parallel_items(size_t count, void (*body)(void *context, size_t item), void *context)
{
    int threads = parallel_threads();
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
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

bool parallel_ordered(size_t count, void (*work)(void *context, size_t item),
                      bool (*finish)(void *context, size_t item), void *context)
{
    int threads = parallel_threads();
    atomic_bool going = true;
#pragma omp parallel for ordered schedule(dynamic, 1) num_threads(threads)
    for (size_t item = 0; item < count; item++) {
        if (atomic_load(&going))
            work(context, item);
#pragma omp ordered
        {
            if (atomic_load(&going) && !finish(context, item))
                atomic_store(&going, false);
        }
    }
    return atomic_load(&going);
}
