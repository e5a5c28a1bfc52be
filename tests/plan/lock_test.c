#include "scratch.h"

#include "plan/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static struct error err;

/* Stand-ins for a file system whose locks fail so; 0: it has locks. They come before libc's. */
static int without_locks;

int fcntl(int descriptor, int command, ...)
{
    va_list arguments;
    va_start(arguments, command);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    if (without_locks && command == F_OFD_SETLK) {
        errno = without_locks;
        return -1;
    }
    return (int)syscall(SYS_fcntl, descriptor, command, argument);
}

int flock(int descriptor, int operation)
{
    errno = without_locks;
    return without_locks ? -1 : (int)syscall(SYS_flock, descriptor, operation);
}

static void a_lock_makes_the_folder_and_says_who_holds_it(void **state)
{
    (void)state;
    struct run_lock lock;
    struct run_holder holder;
    struct arena arena;
    arena_init(&arena);
    assert_ok(run_lock_take(&lock, scratch("deep/run"), "lethe train", &err), err);
    run_lock_holder(scratch("deep/run"), &holder, &arena);
    assert_true(holder.is_held);
    assert_int_equal(holder.process, getpid());
    assert_string_equal(holder.command, "lethe train");
    assert_int_equal(strlen(holder.since), strlen("2024-05-01T12:00:00Z"));
    assert_int_equal(mode_of(scratch("deep/run/lock")), 0600);
    run_lock_release(&lock);
    run_lock_holder(scratch("deep/run"), &holder, &arena);
    assert_false(holder.is_held);
    arena_release(&arena);
}

static void a_second_is_told_who_holds_it(void **state)
{
    (void)state;
    struct run_lock first, second;
    char process[64];
    snprintf(process, sizeof process, "process %lld on ", (long long)getpid());
    assert_ok(run_lock_take(&first, scratch("run"), "lethe run plan.yaml", &err), err);
    assert_false(run_lock_take(&second, scratch("run"), "lethe sample", &err));
    assert_contains(err.message, "another run works in this folder");
    assert_contains(err.message, process);
    assert_contains(err.message, "lethe run plan.yaml");
    run_lock_release(&first);
    assert_ok(run_lock_take(&second, scratch("run"), "lethe sample", &err), err);
    run_lock_release(&second);
}

/* Asking must not take it, not even for a moment: a run that began then would be refused. */
static void asking_takes_nothing(void **state)
{
    (void)state;
    struct run_lock lock;
    struct run_holder holder;
    struct arena arena;
    arena_init(&arena);
    run_lock_holder(scratch("nowhere"), &holder, &arena);
    assert_false(holder.is_held);
    assert_int_equal(path_kind(scratch("nowhere")), PATH_NOTHING);
    assert_ok(run_lock_take(&lock, scratch("run"), "lethe run", &err), err);
    run_lock_holder(scratch("run"), &holder, &arena);
    assert_true(holder.is_held);
    assert_false(run_lock_take(&(struct run_lock){ 0 }, scratch("run"), "lethe run", &err));
    run_lock_release(&lock);
    arena_release(&arena);
}

static void it_ends_with_its_process(void **state)
{
    (void)state;
    struct run_lock lock;
    struct run_holder holder;
    struct arena arena;
    int status;
    arena_init(&arena);
    pid_t child = fork();
    if (child == 0)
        _exit(run_lock_take(&lock, scratch("run"), "lethe run", NULL) ? 0 : 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    run_lock_holder(scratch("run"), &holder, &arena);
    assert_true(!holder.is_held && holder.was_killed);
    assert_ok(run_lock_take(&lock, scratch("run"), "lethe run", &err), err);
    run_lock_release(&lock);
    arena_release(&arena);
}

static void a_file_without_sense_is_overwritten(void **state)
{
    (void)state;
    struct run_lock lock;
    assert_ok(folder_create(scratch("run"), &err), err);
    write_text(scratch("run/lock"),
               "no json at all, and longer than what will be written over it: "
               "0123456789012345678901234567890123456789012345678901234567890");
    assert_ok(run_lock_take(&lock, scratch("run"), "x", &err), err);
    assert_false(run_lock_take(&(struct run_lock){ 0 }, scratch("run"), "y", &err));
    assert_contains(err.message, "(x)");
    run_lock_release(&lock);
}

/* It is no other run that keeps this one out. */
static void a_file_system_without_locks_is_told_of(void **state)
{
    (void)state;
    static const int whys[] = { ENOLCK, ENOSYS, EOPNOTSUPP, EINVAL };
    struct run_lock lock;
    struct folder_stage stage;
    int descriptor;
    for (size_t i = 0; i < sizeof whys / sizeof *whys; i++) {
        without_locks = whys[i];
        bool taken = run_lock_take(&lock, scratch("run"), "lethe run", &err);
        without_locks = 0;
        assert_false(taken);
        assert_contains(err.message, strerror(whys[i]));
        assert_contains(err.message, "run/lock: cannot be locked: ");
        assert_contains(err.message, "this file system has no locks");
    }
    without_locks = ENOSYS;
    bool staged = folder_stage_open(&stage, scratch("store"), &err);
    bool locked = folder_lock(scratch("work"), &descriptor, NULL);
    without_locks = 0;
    assert_false(staged || locked);
    assert_contains(err.message, "store: cannot be locked: Function not implemented; this file");
    without_locks = EIO; /* something else is wrong */
    bool taken = run_lock_take(&lock, scratch("run"), "lethe run", &err);
    without_locks = 0;
    assert_false(taken);
    assert_string_equal(strstr(err.message, "cannot be"), "cannot be locked: Input/output error");
}

static void it_tells_how_far_the_run_is_until_that_ends(void **state)
{
    (void)state;
    struct run_lock lock;
    struct run_holder holder;
    struct arena arena;
    arena_init(&arena);
    assert_ok(run_lock_take(&lock, scratch("run"), "lethe run", &err), err);
    run_lock_holder(scratch("run"), &holder, &arena);
    assert_null(holder.plan);
    assert_ok(run_lock_tell(&lock, "abc", "train", "package", &err), err);
    run_lock_holder(scratch("run"), &holder, &arena);
    assert_string_equal(holder.plan, "abc");
    assert_string_equal(holder.stage, "train");
    assert_string_equal(holder.until, "package");
    run_lock_release(&lock);
    run_lock_holder(scratch("run"), &holder, &arena);
    assert_false(holder.is_held || holder.was_killed);
    assert_null(holder.stage);
    arena_release(&arena);
}

static void units_that_are_worked_on_are_told(void **state)
{
    (void)state;
    static const char *const paths[] = { ".model.taken", "a/utility/trials/x/.taken",
                                         "a/synthetic.drawn/batch-7.taken", "model/lock" };
    struct lock locks[4];
    struct run_unit *units;
    struct arena arena;
    char path[700];
    arena_init(&arena);
    assert_int_equal(run_units(scratch("run"), &units, &arena), 0);
    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/%s", scratch("run"), paths[i]);
        assert_ok(folder_create(path_parent(&arena, path), &err), err);
        assert_int_equal(lock_take(&locks[i], path, "lethe assist", &err), LOCK_TAKEN);
    }
    assert_int_equal(run_units(scratch("run"), &units, &arena), 3);
    assert_string_equal(units[0].path, "a/synthetic.drawn/batch-7");
    assert_string_equal(units[1].path, "a/utility/trials/x");
    assert_string_equal(units[2].path, "model");
    assert_int_equal(units[2].process, getpid());
    assert_string_equal(units[2].command, "lethe assist");
    for (int i = 0; i < 4; i++)
        lock_release(&locks[i]);
    assert_int_equal(run_units(scratch("run"), &units, &arena), 0);
    arena_release(&arena);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_make, scratch_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_lock_makes_the_folder_and_says_who_holds_it),
        TEST(a_second_is_told_who_holds_it),
        TEST(asking_takes_nothing),
        TEST(it_ends_with_its_process),
        TEST(a_file_without_sense_is_overwritten),
        TEST(a_file_system_without_locks_is_told_of),
        TEST(it_tells_how_far_the_run_is_until_that_ends),
        TEST(units_that_are_worked_on_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
