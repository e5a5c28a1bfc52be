/* lib/base/folder.c on a file system that knows neither RENAME_NOREPLACE nor RENAME_EXCHANGE, as
 * NFS: a filter of system calls lets the kernel say so. */
#include "kill.h"
#include "scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static struct error err;

/* renameat2 with flags is answered with EINVAL. */
static void forbid_flags(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_renameat2, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[4])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { sizeof filter / sizeof *filter, filter };
    assert_int_equal(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    assert_int_equal(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
    assert_int_equal(renameat2(AT_FDCWD, "/nowhere", AT_FDCWD, "/none", RENAME_NOREPLACE), -1);
    assert_int_equal(errno, EINVAL);
}

static void write_into(const struct folder_stage *stage, const char *text)
{
    char path[600];
    snprintf(path, sizeof path, "%s/file", stage->partial);
    write_text(path, text);
}

static bool put(const char *text, bool replace)
{
    struct folder_stage stage;
    assert_ok(folder_stage_open(&stage, scratch("store"), &err), err);
    write_into(&stage, text);
    return folder_stage_commit(&stage, replace, &err);
}

static void a_folder_appears_and_is_replaced_only_when_asked(void **state)
{
    (void)state;
    assert_ok(put("first", false), err);
    assert_file_holds(scratch("store/file"), "first");
    assert_false(put("second", false));
    assert_contains(err.message, "exists already");
    assert_file_holds(scratch("store/file"), "first");
    assert_ok(put("third", true), err);
    assert_file_holds(scratch("store/file"), "third");
    assert_int_equal(names_in(scratch("")), 1); /* nothing is left aside */
}

static void an_empty_folder_a_file_and_a_link_are_in_the_way(void **state)
{
    (void)state;
    assert_int_equal(mkdir(scratch("store"), 0700), 0);
    assert_false(put("first", false));
    assert_int_equal(rmdir(scratch("store")), 0);
    write_text(scratch("store"), "a file");
    assert_false(put("first", true));
    assert_file_holds(scratch("store"), "a file");
    assert_int_equal(unlink(scratch("store")), 0);
    assert_int_equal(symlink("/tmp", scratch("store")), 0);
    assert_false(put("first", true));
    assert_int_equal(unlink(scratch("store")), 0);
}

/* What a kill between the two steps leaves: the old one aside, the new one not in place. */
static void what_a_kill_left_aside_is_taken_back(void **state)
{
    struct folder_stage stage;
    (void)state;
    assert_ok(put("first", false), err);
    assert_int_equal(rename(scratch("store"), scratch("store.replaced")), 0);
    assert_ok(folder_stage_open(&stage, scratch("store"), &err), err);
    assert_file_holds(scratch("store/file"), "first");
    folder_stage_abandon(&stage);
    assert_int_equal(names_in(scratch("")), 1);
    assert_ok(put("second", true), err);
    assert_file_holds(scratch("store/file"), "second");
}

/* Or, after both, the old one not yet removed. */
static void what_a_kill_left_to_remove_is_removed(void **state)
{
    struct folder_stage stage;
    (void)state;
    assert_ok(put("first", false), err);
    assert_ok(folder_create(scratch("store.replaced"), &err), err);
    write_text(scratch("store.replaced/file"), "older");
    assert_ok(folder_stage_open(&stage, scratch("store"), &err), err);
    assert_file_holds(scratch("store/file"), "first");
    folder_stage_abandon(&stage);
    assert_int_equal(names_in(scratch("")), 1);
}

/* Killed at one call after the other: a folder is replaced whole or not at all once somebody
 * looks. */
static void killed_while_replacing_one_whole_folder_is_left(void **state)
{
    (void)state;
    assert_ok(put("0000", false), err);
    for (int round = 0; round < 30; round++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (!child) {
            kill_at((unsigned long)round + 1);
            for (int i = 0;; i++) {
                char text[8];
                snprintf(text, sizeof text, "%04d", i % 10000);
                if (!put(text, true))
                    _exit(1);
            }
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        struct folder_stage stage;
        assert_ok(folder_stage_open(&stage, scratch("store"), &err), err);
        size_t size;
        char *bytes = file_read(scratch("store/file"), 16, &size, &err);
        assert_ok(bytes, err);
        assert_int_equal(size, 4);
        memory_free(bytes);
        folder_stage_abandon(&stage);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_make, scratch_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_folder_appears_and_is_replaced_only_when_asked),
        TEST(an_empty_folder_a_file_and_a_link_are_in_the_way),
        TEST(what_a_kill_left_aside_is_taken_back),
        TEST(what_a_kill_left_to_remove_is_removed),
        TEST(killed_while_replacing_one_whole_folder_is_left),
    };
    forbid_flags();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
