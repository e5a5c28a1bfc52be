#include "test.h"

#include "base/file.h"
#include "base/plugin.h"

#include <string.h>
#include <unistd.h>

static struct error err;

static void a_plugin_that_is_not_there_is_told(void **state)
{
    (void)state;
    assert_null(plugin_open("lethe-nothing.so", "table", &err));
    assert_string_equal(err.message, "no lethe-nothing.so beside the program");
}

/* The file is found (beside this program), and is no library: what the loader says is passed on. */
static void a_plugin_that_cannot_be_loaded_is_told(void **state)
{
    (void)state;
    char own[4096];
    struct arena arena;
    arena_init(&arena);
    ssize_t length = readlink("/proc/self/exe", own, sizeof own - 1);
    assert_true(length > 0);
    own[length] = '\0';
    char *path = arena_format(&arena, "%s.broken.so", own);
    assert_true(file_write(path, "no library", 10, &err));
    const void *found = plugin_open(path_name(path), "table", &err);
    unlink(path);
    assert_null(found);
    assert_non_null(strstr(err.message, path_name(path)));
    assert_null(strstr(err.message, "beside the program"));
    arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plugin_that_is_not_there_is_told),
        cmocka_unit_test(a_plugin_that_cannot_be_loaded_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
