#include "scratch.h"

#include "base/json.h"
#include "base/lock.h"

#include <sys/wait.h>

static struct error err;

static struct lock_holder holder_of(const char *path, struct arena *arena)
{
    struct lock_holder holder;
    lock_holder(path, &holder, arena);
    lock_holder_release(&holder);
    return holder;
}

static void a_second_is_told_who_holds_it(void **state)
{
    (void)state;
    struct lock first, second;
    char process[64];
    snprintf(process, sizeof process, "process %lld on ", (long long)getpid());
    assert_int_equal(lock_take(&first, scratch("unit"), "lethe assist", &err), LOCK_TAKEN);
    assert_int_equal(lock_take(&second, scratch("unit"), "another", &err), LOCK_HELD);
    assert_contains(err.message, process);
    assert_contains(err.message, "(lethe assist)");
    lock_release(&second); /* was never held: the first's is as it was */
    assert_true(lock_is_held(scratch("unit")));
    lock_release(&first);
    assert_false(lock_is_held(scratch("unit")));
    assert_int_equal(lock_take(&second, scratch("unit"), "another", &err), LOCK_TAKEN);
    lock_release(&second);
}

static void it_tells_more_when_more_is_known(void **state)
{
    (void)state;
    struct lock lock;
    struct lock_holder holder;
    struct arena arena;
    arena_init(&arena);
    assert_int_equal(lock_take(&lock, scratch("unit"), "lethe run", &err), LOCK_TAKEN);
    assert_ok(lock_tell(&lock, &(struct lock_word){ "stage", "a rather long name" }, 1, &err), err);
    assert_ok(lock_tell(&lock, &(struct lock_word){ "stage", "short" }, 1, &err), err);
    lock_holder(scratch("unit"), &holder, &arena);
    assert_true(holder.is_held && holder.is_told);
    assert_int_equal(holder.process, getpid());
    assert_string_equal(holder.version, LETHE_VERSION);
    assert_string_equal(json_get_string(holder.record, "stage", &err), "short");
    lock_holder_release(&holder);
    lock_release(&lock);
    arena_release(&arena);
}

/* So one can tell a work that has ended from one that was cut off. */
static void a_killed_process_leaves_its_record_and_one_that_ends_does_not(void **state)
{
    (void)state;
    struct arena arena;
    int status;
    arena_init(&arena);
    for (int killed = 0; killed < 2; killed++) {
        pid_t child = fork();
        if (child == 0) {
            struct lock lock;
            if (lock_take(&lock, scratch("unit"), "lethe run", NULL) != LOCK_TAKEN)
                _exit(1);
            if (!killed)
                lock_release(&lock);
            _exit(0);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
        assert_false(holder_of(scratch("unit"), &arena).is_held);
        assert_int_equal(holder_of(scratch("unit"), &arena).is_told, killed);
    }
    arena_release(&arena);
}

static void nothing_is_held_where_there_is_nothing(void **state)
{
    (void)state;
    struct lock lock;
    struct arena arena;
    arena_init(&arena);
    assert_false(lock_is_held(scratch("nowhere/unit")));
    assert_false(holder_of(scratch("nowhere/unit"), &arena).is_told);
    assert_int_equal(lock_take(&lock, scratch("nowhere/unit"), "x", &err), LOCK_FAILED);
    assert_contains(err.message, "cannot be written");
    arena_release(&arena);
}

/* Who opened it before it was removed finds the work done; a third begins with a new file. */
static void a_removed_lock_is_free_for_those_who_come_late(void **state)
{
    (void)state;
    struct lock first, second;
    assert_int_equal(lock_take(&first, scratch("unit"), "x", &err), LOCK_TAKEN);
    lock_remove(&first);
    assert_int_equal(path_kind(scratch("unit")), PATH_NOTHING);
    assert_int_equal(lock_take(&second, scratch("unit"), "y", &err), LOCK_TAKEN);
    lock_remove(&second);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_make, scratch_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_second_is_told_who_holds_it),
        TEST(it_tells_more_when_more_is_known),
        TEST(a_killed_process_leaves_its_record_and_one_that_ends_does_not),
        TEST(nothing_is_held_where_there_is_nothing),
        TEST(a_removed_lock_is_free_for_those_who_come_late),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
