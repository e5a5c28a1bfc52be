/* What stands on disk when extracting is interrupted, or the disk is full. */
#include "test.h"

#include "base/file.h"
#include "base/random.h"
#include "release/own_world.h"

#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static void is_whole(const char *folder)
{
    for (size_t i = 0; i < world.manifest.file_count; i++) {
        struct digest digest;
        const char *path = path_join(&world.arena, folder, world.manifest.files[i].path);
        assert_ok(digest_file(path, &digest, &world.err), world.err);
        assert_true(digest_equal(&digest, &world.manifest.files[i].digest));
    }
}

static void killed_at_any_moment_there_is_a_whole_folder_or_none(void **state)
{
    (void)state;
    for (uint64_t round = 0; round < 60; round++) {
        pid_t child = fork();
        if (child == 0) {
            world_verify(&world);
            _exit(0);
        }
        usleep((useconds_t)random_below(1, 2, round, 12000));
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        if (path_kind(world.extract) != PATH_NOTHING)
            is_whole(world.extract);
        assert_ok(folder_remove(world.extract, &world.err), world.err);
    }
    assert_int_equal(world_verify(&world), ANSWER_YES); /* whatever the killed ones left */
    is_whole(world.extract);
    assert_int_equal(path_kind(world_path(&world, "out.partial")), PATH_NOTHING);
}

/* A limit on the size of files stands for a disk that is full. */
static void a_full_disk_leaves_nothing(void **state)
{
    (void)state;
    struct rlimit before, small = { 10, RLIM_INFINITY };
    getrlimit(RLIMIT_FSIZE, &before);
    small.rlim_max = before.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    world_verify(&world);
    setrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, SIG_DFL);
    assert_false(world.told);
    assert_contains(world.err.message, "cannot be written");
    assert_int_equal(path_kind(world.extract), PATH_NOTHING);
    assert_int_equal(path_kind(world_path(&world, "out.partial")), PATH_NOTHING);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, own_world_extracted, own_world_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(killed_at_any_moment_there_is_a_whole_folder_or_none),
        TEST(a_full_disk_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
