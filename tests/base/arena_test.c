#include "test.h"

#include "base/arena.h"

#include <sys/wait.h>
#include <unistd.h>

static void memory_is_zeroed_aligned_and_stays_in_place(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena);
    unsigned char *pointer[500];
    for (size_t i = 0; i < 500; i++) {
        pointer[i] = arena_allocate(&arena, 1 + i * 7);
        assert_int_equal((uintptr_t)pointer[i] % 16, 0);
        for (size_t j = 0; j < 1 + i * 7; j++)
            assert_int_equal(pointer[i][j], 0);
        memset(pointer[i], (int)(i % 251), 1 + i * 7);
    }
    for (size_t i = 0; i < 500; i++)
        for (size_t j = 0; j < 1 + i * 7; j++)
            assert_int_equal(pointer[i][j], i % 251);
    arena_release(&arena);
    assert_int_equal(arena.total, 0);
}

static void an_allocation_larger_than_a_block_fits(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena);
    arena_allocate(&arena, 10);
    char *large = arena_allocate(&arena, 10 << 20);
    large[(10 << 20) - 1] = 1;
    assert_string_equal(arena_format(&arena, "%s-%03d", "slice", 7), "slice-007");
    assert_string_equal(arena_substring(&arena, "subject_t1", 7), "subject");
    arena_release(&arena);
}

static void a_large_buffer_that_cannot_be_had_is_an_error_not_a_crash(void **state)
{
    (void)state;
    struct error err;
    assert_null(memory_allocate(SIZE_MAX / 4, 8, "volume", &err));
    assert_contains(err.message, "volume");
}

/* Not an abort, which would look like a mistake of ours, and has no exit code that scripts know. */
static void running_out_of_memory_ends_with_could_not_tell(void **state)
{
    (void)state;
#ifdef LETHE_SANITIZED
    skip(); /* its allocator ends the process itself */
#endif
    int ends[2], status;
    char said[512] = "";
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        struct arena arena;
        dup2(ends[1], STDERR_FILENO);
        arena_init(&arena);
        arena_allocate(&arena, SIZE_MAX / 8);
        _exit(9);
    }
    close(ends[1]);
    assert_true(read(ends[0], said, sizeof said - 1) > 0);
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 2);
    assert_contains(said, "out of memory: ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_zeroed_aligned_and_stays_in_place),
        cmocka_unit_test(an_allocation_larger_than_a_block_fits),
        cmocka_unit_test(a_large_buffer_that_cannot_be_had_is_an_error_not_a_crash),
        cmocka_unit_test(running_out_of_memory_ends_with_could_not_tell),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
