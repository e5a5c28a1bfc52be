#include "test.h"

#include "base/parallel.h"

#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

enum { ITEMS = 1000, MANY = 1 << 16 };

static int visits[ITEMS];

static void visit(void *context, size_t item)
{
    (void)context;
    visits[item]++;
}

static void visit_range(void *context, size_t begin, size_t end)
{
    for (size_t i = begin; i < end; i++)
        visit(context, i);
}

static void each_item_is_visited_once_whatever_the_thread_count(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 5; threads++) {
        parallel_set_threads(threads);
        memset(visits, 0, sizeof visits);
        parallel_items(ITEMS, visit, NULL);
        parallel_ranges(ITEMS, 1, visit_range, NULL);
        parallel_ranges(ITEMS, 999, visit_range, NULL);
        for (int i = 0; i < ITEMS; i++)
            assert_int_equal(visits[i], 3);
    }
}

struct pipeline {
    atomic_int in_flight, most_in_flight;
    size_t finished, stop_at;
    int product[ITEMS];
};

static void work(void *context, size_t item)
{
    struct pipeline *pipeline = context;
    int now = atomic_fetch_add(&pipeline->in_flight, 1) + 1, most = pipeline->most_in_flight;
    while (now > most && !atomic_compare_exchange_weak(&pipeline->most_in_flight, &most, now))
        ;
    pipeline->product[item] = (int)(item * item);
}

static bool finish(void *context, size_t item)
{
    struct pipeline *pipeline = context;
    assert_int_equal(item, pipeline->finished);
    assert_int_equal(pipeline->product[item], item * item);
    atomic_fetch_sub(&pipeline->in_flight, 1);
    pipeline->finished++;
    return pipeline->finished != pipeline->stop_at;
}

static void finishing_is_in_order_and_few_items_wait(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 4; threads++) {
        struct pipeline pipeline = { 0 };
        parallel_set_threads(threads);
        assert_true(parallel_ordered(ITEMS, work, finish, &pipeline));
        assert_int_equal(pipeline.finished, ITEMS);
        assert_true(pipeline.most_in_flight <= threads);
    }
}

static void finishing_may_stop_the_rest(void **state)
{
    (void)state;
    struct pipeline pipeline = { .stop_at = 10 };
    parallel_set_threads(2);
    assert_false(parallel_ordered(ITEMS, work, finish, &pipeline));
    assert_int_equal(pipeline.finished, 10);
    assert_int_equal(pipeline.product[ITEMS - 1], 0);
}

/* What a process of its own, so told, takes for the number of threads: this program with an
 * argument, "threads", or "lent" where a library has set OpenMP's number before.
 */
static int threads_told(int told, const char *mode)
{
    char path[4096], command[5000];
    int threads = 0;
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    path[length > 0 ? length : 0] = '\0';
    snprintf(command, sizeof command, "OMP_NUM_THREADS=%d '%s' %s", told, path, mode);
    FILE *answer = popen(command, "r");
    assert_non_null(answer);
    assert_int_equal(fscanf(answer, "%d", &threads), 1);
    pclose(answer);
    return threads;
}

static void the_environment_may_ask_for_fewer_threads_than_cores(void **state)
{
    (void)state;
    int cores = threads_told(MANY, "threads");
    assert_in_range(cores, 1, MANY - 1);
    assert_int_equal(threads_told(1, "threads"), 1);
    assert_int_equal(threads_told(cores, "threads"), cores);
}

static void what_a_library_does_to_openmp_changes_nothing_here(void **state)
{
    (void)state;
    assert_int_equal(threads_told(MANY, "lent"), threads_told(MANY, "threads"));
    int threads = parallel_threads();
    assert_int_equal(parallel_lend(threads + 1), threads);
    assert_int_equal(parallel_threads(), threads);
    assert_int_equal(parallel_lend(threads), threads); /* parallel_threads has put it right */
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        if (strcmp(argv[1], "lent") == 0)
            parallel_lend(1);
        printf("%d\n", parallel_threads());
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_item_is_visited_once_whatever_the_thread_count),
        cmocka_unit_test(finishing_is_in_order_and_few_items_wait),
        cmocka_unit_test(finishing_may_stop_the_rest),
        cmocka_unit_test(the_environment_may_ask_for_fewer_threads_than_cores),
        cmocka_unit_test(what_a_library_does_to_openmp_changes_nothing_here),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
