#include "kill.h"
#include "scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

static struct error err;

static void the_old_content_stays_until_commit(void **state)
{
    (void)state;
    struct file_writer writer;
    write_text(scratch("x"), "old");
    assert_ok(file_writer_open(&writer, scratch("x"), &err), err);
    assert_ok(file_writer_write(&writer, "new", 3, &err), err);
    assert_file_holds(scratch("x"), "old");
    assert_ok(file_writer_commit(&writer, &err), err);
    assert_file_holds(scratch("x"), "new");
    assert_int_equal(names_in(scratch_folder), 1);
}

static void an_abandoned_writer_leaves_nothing(void **state)
{
    (void)state;
    struct file_writer writer;
    assert_ok(file_writer_open(&writer, scratch("x"), &err), err);
    assert_ok(file_writer_write(&writer, "new", 3, &err), err);
    assert_int_equal(names_in(scratch_folder), 1);
    file_writer_abandon(&writer);
    assert_int_equal(names_in(scratch_folder), 0);
    file_writer_abandon(&writer); /* a second time is fine */
}

static void what_is_finished_waits_closed_to_be_committed_or_abandoned(void **state)
{
    (void)state;
    for (int commit = 0; commit < 2; commit++) {
        struct file_writer writer;
        assert_ok(file_writer_open(&writer, scratch("x"), &err), err);
        assert_ok(file_writer_write(&writer, "new", 3, &err), err);
        int descriptor = writer.descriptor;
        assert_ok(file_writer_finish(&writer, &err), err);
        assert_int_equal(fcntl(descriptor, F_GETFD), -1);
        assert_int_equal(path_kind(scratch("x")), PATH_NOTHING);
        assert_int_equal(names_in(scratch_folder), 1);
        if (commit)
            assert_ok(file_writer_commit(&writer, &err), err);
        else
            file_writer_abandon(&writer);
        assert_int_equal(names_in(scratch_folder), commit);
    }
    assert_file_holds(scratch("x"), "new");
}

static void files_are_private_whatever_the_umask(void **state)
{
    (void)state;
    static const mode_t masks[] = { 0, 022, 0777 };
    for (int i = 0; i < 3; i++) {
        mode_t before = umask(masks[i]);
        bool ok = file_write(scratch("x"), "a", 1, &err);
        umask(before);
        assert_ok(ok, err);
        assert_int_equal(mode_of(scratch("x")), 0600);
    }
}

static void replacing_makes_a_public_file_private(void **state)
{
    (void)state;
    write_text(scratch("x"), "old");
    assert_int_equal(chmod(scratch("x"), 0666), 0);
    assert_ok(file_write(scratch("x"), "new", 3, &err), err);
    assert_int_equal(mode_of(scratch("x")), 0600);
}

static void a_copy_holds_the_same_and_replaces_what_was_there(void **state)
{
    (void)state;
    write_text(scratch("from"), "new");
    write_text(scratch("to"), "something older");
    assert_ok(file_copy(scratch("from"), scratch("to"), &err), err);
    assert_file_holds(scratch("to"), "new");
    assert_false(file_copy(scratch("missing"), scratch("to"), &err));
    assert_file_holds(scratch("to"), "new");
    write_text(scratch("from"), "");
    assert_ok(file_copy(scratch("from"), scratch("to"), &err), err);
    assert_file_holds(scratch("to"), "");
}

static unsigned char pattern(uint64_t i)
{
    return (unsigned char)(i * 2654435761u >> 13);
}

/* Pieces of every size around the buffer's, so that each path of the writer is taken. */
static void pieces_of_any_size_end_up_in_order(void **state)
{
    (void)state;
    static const size_t sizes[] = { 1, 0, 262143, 1, 262144, 5, 262145, 700000, 3, 262144, 262144 };
    struct file_writer writer;
    uint64_t total = 0;
    assert_ok(file_writer_open(&writer, scratch("x"), &err), err);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        unsigned char *bytes = malloc(sizes[i] + 1);
        for (size_t j = 0; j < sizes[i]; j++)
            bytes[j] = pattern(total + j);
        assert_ok(file_writer_write(&writer, bytes, sizes[i], &err), err);
        total += sizes[i];
        assert_true(writer.written == total);
        free(bytes);
    }
    assert_ok(file_writer_commit(&writer, &err), err);
    struct file_map map;
    assert_ok(file_map_open(&map, scratch("x"), &err), err);
    assert_int_equal(map.size, total);
    for (uint64_t i = 0; i < total; i++)
        if (map.bytes[i] != pattern(i))
            fail_msg("byte %llu", (unsigned long long)i);
    file_map_close(&map);
}

static void what_was_written_can_be_patched(void **state)
{
    (void)state;
    struct file_writer writer;
    assert_ok(file_writer_open(&writer, scratch("x"), &err), err);
    assert_ok(file_writer_write(&writer, "count=00;data", 13, &err), err);
    assert_ok(file_writer_patch(&writer, 6, "42", 2, &err), err);
    assert_ok(file_writer_write(&writer, "-more", 5, &err), err);
    assert_ok(file_writer_patch(&writer, 17, "E", 1, &err), err);
    assert_ok(file_writer_commit(&writer, &err), err);
    assert_file_holds(scratch("x"), "count=42;data-morE");
}

static void an_empty_file_can_be_written_read_and_mapped(void **state)
{
    (void)state;
    struct file_map map;
    assert_ok(file_write(scratch("x"), "", 0, &err), err);
    assert_file_holds(scratch("x"), "");
    assert_ok(file_map_open(&map, scratch("x"), &err), err);
    assert_true(map.size == 0 && !map.bytes);
    file_map_close(&map);
}

static void the_longest_name_can_be_written(void **state)
{
    (void)state;
    char name[256];
    memset(name, 'n', 255);
    name[255] = '\0';
    assert_ok(file_write(scratch(name), "a", 1, &err), err);
    assert_file_holds(scratch(name), "a");
}

static void a_file_over_the_limit_is_refused(void **state)
{
    (void)state;
    size_t size = 99;
    write_text(scratch("x"), "12345");
    assert_null(file_read(scratch("x"), 4, &size, &err));
    assert_int_equal(size, 0);
    assert_contains(err.message, "5 bytes; at most 4");
    char *bytes = file_read(scratch("x"), 5, &size, &err);
    assert_int_equal(size, 5);
    assert_string_equal(bytes, "12345");
    memory_free(bytes);
}

/* A fifo without a writer would block for ever. */
static void only_regular_files_are_read(void **state)
{
    (void)state;
    struct file_map map;
    size_t size;
    const char *paths[] = { scratch("fifo"), scratch_folder, "/dev/zero" };
    assert_int_equal(mkfifo(paths[0], 0600), 0);
    for (int i = 0; i < 3; i++) {
        assert_null(file_read(paths[i], 100, &size, &err));
        assert_contains(err.message, paths[i]);
        assert_contains(err.message, "not a regular file");
        assert_false(file_map_open(&map, paths[i], &err));
        assert_contains(err.message, "not a regular file");
    }
    assert_null(file_read(scratch("absent"), 100, &size, &err));
    assert_contains(err.message, "absent: cannot open: No such file");
}

static void a_file_cannot_take_a_folders_place(void **state)
{
    (void)state;
    assert_int_equal(mkdir(scratch("x"), 0700), 0);
    assert_false(file_write(scratch("x"), "a", 1, &err));
    assert_contains(err.message, scratch("x"));
    assert_int_equal(names_in(scratch_folder), 1);
    assert_false(file_write(scratch("none/x"), "a", 1, &err));
    assert_contains(err.message, "No such file");
}

/* Limits the size of files in a block: writes past it fail with EFBIG, as a full disk's fail with
 * ENOSPC. */
static void limit_file_size(rlim_t size)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = size;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    signal(SIGXFSZ, SIG_IGN);
}

static void a_failed_write_is_told_and_leaves_the_old_file(void **state)
{
    (void)state;
    static char large[400000];
    write_text(scratch("x"), "old");
    limit_file_size(300000);
    bool ok = file_write(scratch("x"), large, sizeof large, &err);
    limit_file_size(RLIM_INFINITY);
    assert_false(ok);
    assert_contains(err.message, scratch("x"));
    assert_contains(err.message, "cannot write at byte 300000: File too large");
    assert_file_holds(scratch("x"), "old");
    assert_int_equal(names_in(scratch_folder), 1);
}

/* A caller that overlooks a failed write must not be able to put a file with a hole in place. */
static void commit_after_a_failed_write_is_refused(void **state)
{
    (void)state;
    static char large[200000];
    struct file_writer writer;
    write_text(scratch("x"), "old");
    assert_ok(file_writer_open(&writer, scratch("x"), &err), err);
    assert_ok(file_writer_write(&writer, large, sizeof large, &err), err);
    limit_file_size(1000);
    bool ok = file_writer_write(&writer, large, sizeof large, &err);
    limit_file_size(RLIM_INFINITY);
    assert_false(ok);
    assert_false(file_writer_commit(&writer, &err));
    assert_contains(err.message, "an earlier write failed");
    assert_file_holds(scratch("x"), "old");
    assert_int_equal(names_in(scratch_folder), 1);
}

static void a_full_disk_is_told_and_leaves_the_old_file(void **state)
{
    (void)state;
    static char large[200000];
    assert_int_equal(mkdir(scratch("disk"), 0700), 0);
    if (mount("none", scratch("disk"), "tmpfs", 0, "size=64k") != 0)
        skip(); /* takes root; RLIMIT_FSIZE above is the stand-in */
    write_text(scratch("disk/x"), "old");
    bool ok = file_write(scratch("disk/x"), large, sizeof large, &err);
    int names = names_in(scratch("disk"));
    char kept[8] = { 0 };
    FILE *file = fopen(scratch("disk/x"), "r");
    size_t got = file ? fread(kept, 1, 7, file) : 0;
    if (file)
        fclose(file);
    assert_int_equal(umount(scratch("disk")), 0);
    assert_false(ok);
    assert_contains(err.message, "disk/x: cannot write at byte");
    assert_contains(err.message, "No space left on device");
    assert_int_equal(names, 1);
    assert_int_equal(got, 3);
    assert_string_equal(kept, "old");
}

/* Writes version after version, each many buffers long and of one letter, until it is killed. */
static void write_for_ever(const char *path)
{
    static char bytes[700000];
    for (int version = 0;; version++) {
        memset(bytes, 'a' + version % 26, sizeof bytes);
        if (!file_write(path, bytes, sizeof bytes, &err))
            _exit(1);
    }
}

static void kill_at_any_call_leaves_a_whole_file(void **state)
{
    (void)state;
    assert_int_equal(mkdir(scratch("run"), 0700), 0);
    assert_ok(file_write(scratch("run/x"), "first", 5, &err), err);
    int replaced = 0;
    for (int round = 0; round < 40; round++) {
        pid_t child = fork();
        if (child == 0) {
            kill_at((unsigned long)round + 1);
            write_for_ever(scratch("run/x"));
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        size_t size;
        char *bytes = file_read(scratch("run/x"), 1 << 20, &size, &err);
        assert_ok(bytes, err);
        if (size != 5 || memcmp(bytes, "first", 5) != 0) {
            assert_int_equal(size, 700000);
            for (size_t i = 1; i < size; i++)
                assert_true(bytes[i] == bytes[0]);
            replaced++;
        }
        memory_free(bytes);
    }
    assert_in_range(replaced, 20, 39); /* that many calls replace it several times */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_make, scratch_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_old_content_stays_until_commit),
        TEST(an_abandoned_writer_leaves_nothing),
        TEST(what_is_finished_waits_closed_to_be_committed_or_abandoned),
        TEST(files_are_private_whatever_the_umask),
        TEST(a_copy_holds_the_same_and_replaces_what_was_there),
        TEST(replacing_makes_a_public_file_private),
        TEST(pieces_of_any_size_end_up_in_order),
        TEST(what_was_written_can_be_patched),
        TEST(an_empty_file_can_be_written_read_and_mapped),
        TEST(the_longest_name_can_be_written),
        TEST(a_file_over_the_limit_is_refused),
        TEST(only_regular_files_are_read),
        TEST(a_file_cannot_take_a_folders_place),
        TEST(a_failed_write_is_told_and_leaves_the_old_file),
        TEST(commit_after_a_failed_write_is_refused),
        TEST(a_full_disk_is_told_and_leaves_the_old_file),
        TEST(kill_at_any_call_leaves_a_whole_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
