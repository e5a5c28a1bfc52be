/* A folder of a test's own under /tmp, and looks at what is in it.
 *
 *     cmocka_unit_test_setup_teardown(name, scratch_make, scratch_remove)
 */
#ifndef TESTS_SCRATCH_H
#define TESTS_SCRATCH_H

#include "test.h"

#include "base/file.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static char scratch_folder[64];

static int scratch_make(void **state)
{
    (void)state;
    strcpy(scratch_folder, "/tmp/lethe-test-XXXXXX");
    return mkdtemp(scratch_folder) ? 0 : -1;
}

static int scratch_remove(void **state)
{
    (void)state;
    struct error err;
    return folder_remove(scratch_folder, &err) ? 0 : -1;
}

/* The path of a name in the scratch folder; good until the eighth call from now. */
static inline const char *scratch(const char *name)
{
    static char paths[8][512];
    static int turn;
    char *path = paths[turn++ % 8];
    snprintf(path, sizeof *paths, "%s/%s", scratch_folder, name);
    return path;
}

/* The number of names in a folder of any kind, hidden ones too. */
static inline int names_in(const char *path)
{
    char command[600];
    int count = -1;
    snprintf(command, sizeof command, "ls -A '%s' | wc -l", path);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    assert_int_equal(fscanf(pipe, "%d", &count), 1);
    pclose(pipe);
    return count;
}

static inline unsigned mode_of(const char *path)
{
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    return status.st_mode & 07777;
}

static inline void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_int_equal(fclose(file), 0);
}

static inline void assert_file_holds(const char *path, const char *text)
{
    struct error err;
    size_t size;
    char *bytes = file_read(path, 1 << 30, &size, &err);
    assert_ok(bytes, err);
    assert_string_equal(bytes, text);
    memory_free(bytes);
}

#endif
