/* The archive: its bytes, and what must never look like one. */
#include "scratch.h"

#include "base/parallel.h"
#include "base/text.h"
#include "release/archive.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

static struct arena arena;
static struct error err;

static struct digest_entry files[] = {
    { .path = "a/empty" }, { .path = "a/large" }, { .path = "b" }, { .path = "b.txt" }
};
enum { FILES = 4, LARGE = 9 * 1000 * 1000 + 7 };

static void make_file(struct digest_entry *file, size_t size, unsigned seed)
{
    char path[600];
    unsigned char *bytes = memory_allocate(size + 1, 1, "bytes", &err);
    snprintf(path, sizeof path, "%s/tree/%s", scratch_folder, file->path);
    for (size_t i = 0; i < size; i++) {
        seed = seed * 1664525u + 1013904223u;
        bytes[i] = (unsigned char)(seed >> 24) & 0x3f;
    }
    file->size = size;
    file->digest = digest_of(bytes, size);
    assert_ok(folder_create(path_parent(&arena, path), &err), err);
    unlink(path);
    assert_ok(file_create(path, bytes, size, &err), err);
    memory_free(bytes);
}

static int setup(void **state)
{
    arena_init(&arena);
    if (scratch_make(state))
        return -1;
    make_file(&files[0], 0, 1);
    make_file(&files[1], LARGE, 2); /* three pieces */
    make_file(&files[2], 512, 3);
    make_file(&files[3], 1000, 4);
    return folder_create(scratch("out"), &err) ? 0 : -1;
}

static int teardown(void **state)
{
    arena_release(&arena);
    parallel_set_threads(2);
    return scratch_remove(state);
}

static bool write_archive(const char *name, uint64_t volume_size, struct archive_result *result)
{
    struct archive_settings settings = {
        .root = "set-1.0", .created = 1767225600, .level = 3, .volume_size = volume_size
    };
    return archive_write(scratch(name), scratch("tree"), files, FILES, &settings, result, &arena,
                         &err);
}

static void PRINTF(1, 2) run_shell(const char *format, ...)
{
    char command[2000];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(command, sizeof command, format, arguments);
    va_end(arguments);
    if (system(command) != 0)
        fail_msg("%s", command);
}

static void gnu_tar_and_zstd_get_the_files_back(void **state)
{
    (void)state;
    struct archive_result result;
    assert_ok(write_archive("out/set.tar.zst", 0, &result), err);
    run_shell("cd '%s' && mkdir got && zstd -q -d -c out/set.tar.zst | tar -x -C got && "
              "diff -r tree got/set-1.0",
              scratch_folder);
    run_shell("cd '%s' && zstd -q -l -v out/set.tar.zst 2>&1 | grep -q XXH64", scratch_folder);
}

static void digests_are_those_of_the_files_written(void **state)
{
    (void)state;
    struct archive_result result;
    char sha256[DIGEST_HEX], tar[DIGEST_HEX], md5[CHECKSUM_HEX];
    assert_ok(write_archive("out/set.tar.zst", 0, &result), err);
    digest_hex(&result.whole.sha256, sha256);
    digest_hex(&result.tar, tar);
    checksum_hex(result.whole.md5, 16, md5);
    assert_string_equal(result.whole.name, "set.tar.zst");
    run_shell(
        "cd '%s/out' && echo '%s  set.tar.zst' | sha256sum -c --quiet && "
        "echo '%s  set.tar.zst' | md5sum -c --quiet && "
        "zstd -q -d -c set.tar.zst | sha256sum | grep -q '^%s' && "
        "test $(stat -c %%s set.tar.zst) = %llu && test $(zstd -dcq set.tar.zst | wc -c) = %llu",
        scratch_folder, sha256, md5, tar, (unsigned long long)result.whole.size,
        (unsigned long long)result.tar_size);
}

static void any_number_of_threads_gives_the_same_bytes(void **state)
{
    (void)state;
    struct archive_result one, many;
    parallel_set_threads(1);
    assert_ok(write_archive("out/one", 0, &one), err);
    static const int threads[] = { 2, 3, 8 };
    for (size_t i = 0; i < 3; i++) {
        parallel_set_threads(threads[i]);
        assert_ok(write_archive("out/many", 0, &many), err);
        assert_true(digest_equal(&one.whole.sha256, &many.whole.sha256));
    }
}

static void volumes_joined_are_the_archive(void **state)
{
    (void)state;
    struct archive_result whole, split;
    assert_ok(write_archive("out/whole", 0, &whole), err);
    assert_ok(write_archive("out/split", 1000000, &split), err);
    assert_true(digest_equal(&whole.whole.sha256, &split.whole.sha256));
    assert_memory_equal(whole.whole.md5, split.whole.md5, 16);
    assert_true(split.volume_count > 3 && split.whole.size == whole.whole.size);
    run_shell("cd '%s/out' && cat split.* | cmp - whole && test ! -e split", scratch_folder);
    for (size_t i = 0; i < split.volume_count; i++) {
        char path[600];
        struct digest digest;
        snprintf(path, sizeof path, "%s/out/%s", scratch_folder, split.volumes[i].name);
        assert_ok(digest_file(path, &digest, &err), err);
        assert_true(digest_equal(&digest, &split.volumes[i].sha256));
        assert_true(split.volumes[i].size == 1000000 || i + 1 == split.volume_count);
    }
}

/* A full volume is closed: a process may not have as many files open as an archive has volumes. */
static void there_may_be_more_volumes_than_a_process_may_open(void **state)
{
    (void)state;
    enum { OPEN = 24 };
    struct archive_result split;
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    struct rlimit few = { OPEN, before.rlim_max };
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    bool ok = write_archive("out/split", 100000, &split);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_ok(ok, err);
    assert_true(split.volume_count > 2 * OPEN);
    assert_int_equal(names_in(scratch("out")), split.volume_count);
}

static void expect_nothing_written(const char *message)
{
    struct archive_result result;
    assert_false(write_archive("out/set.tar.zst", 0, &result));
    assert_contains(err.message, message);
    assert_int_equal(names_in(scratch("out")), 0);
}

static void a_file_whose_content_changed_is_told(void **state)
{
    (void)state;
    for (size_t i = 1; i < FILES; i++) {
        char path[600], expected[100];
        struct digest before = files[i].digest;
        snprintf(path, sizeof path, "%s/tree/%s", scratch_folder, files[i].path);
        FILE *file = fopen(path, "r+");
        assert_non_null(file);
        fseek(file, (long)files[i].size - 1, SEEK_SET);
        fputc(0xff, file);
        fclose(file);
        snprintf(expected, sizeof expected, "/%s: its content changed", files[i].path);
        expect_nothing_written(expected);
        make_file(&files[i], files[i].size, (unsigned)i + 1);
        assert_true(digest_equal(&before, &files[i].digest));
    }
}

static void a_file_that_grew_shrank_or_went_is_told(void **state)
{
    (void)state;
    files[2].size = 511;
    expect_nothing_written("has 512 bytes instead of 511");
    files[2].size = 513;
    expect_nothing_written("has 512 bytes instead of 513");
    files[2].size = 512;
    unlink(scratch("tree/b"));
    expect_nothing_written("No such file");
    assert_int_equal(symlink("b.txt", scratch("tree/b")), 0);
    expect_nothing_written("cannot open");
    unlink(scratch("tree/b"));
    assert_int_equal(mkdir(scratch("tree/b"), 0700), 0);
    expect_nothing_written("not a regular file");
}

/* A limit on the size of files stands in for a disk that is full. */
static void a_full_disk_leaves_nothing(void **state)
{
    (void)state;
    static const struct {
        rlim_t limit;
        uint64_t volume_size;
    } cases[] = { { 0, 0 }, { 100, 0 }, { 1 << 20, 0 }, { 100, 500000 }, { 400000, 500000 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (!child) {
            struct archive_result result;
            struct rlimit limit = { cases[i].limit, cases[i].limit };
            signal(SIGXFSZ, SIG_IGN);
            parallel_set_threads(1);
            bool refused = setrlimit(RLIMIT_FSIZE, &limit) == 0 &&
                           !write_archive("out/set.tar.zst", cases[i].volume_size, &result) &&
                           strstr(err.message, "File too large");
            _exit(refused ? 0 : 1);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        assert_int_equal(names_in(scratch("out")), 0);
    }
}

static void what_no_archive_can_hold_is_refused_before_it_begins(void **state)
{
    (void)state;
    uint64_t size = files[1].size;
    files[1].size = UINT64_C(9) << 30;
    expect_nothing_written("files of less than 8 GiB");
    files[1].size = size;
    char longest[400];
    memset(longest, 'x', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    files[3].path = longest;
    expect_nothing_written("too long for an archive");
    files[3].path = "b.txt";
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(gnu_tar_and_zstd_get_the_files_back),
        TEST(digests_are_those_of_the_files_written),
        TEST(any_number_of_threads_gives_the_same_bytes),
        TEST(volumes_joined_are_the_archive),
        TEST(there_may_be_more_volumes_than_a_process_may_open),
        TEST(a_file_whose_content_changed_is_told),
        TEST(a_file_that_grew_shrank_or_went_is_told),
        TEST(a_full_disk_leaves_nothing),
        TEST(what_no_archive_can_hold_is_refused_before_it_begins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
