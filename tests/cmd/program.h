/* The program as a child process, and what runs of it made: for tests of whole runs, in a folder of
 * their own (scratch.h). LETHE_BINARY is the program. */
#ifndef TESTS_CMD_PROGRAM_H
#define TESTS_CMD_PROGRAM_H

#include "scratch.h"

#include <signal.h>
#include <sys/wait.h>

/* FOLDER/plan.yaml, in a folder that is made; good until the next call. */
static inline const char *write_plan_of(const char *folder, const char *text)
{
    static char path[600];
    struct error err;
    assert_ok(folder_create(scratch(folder), &err), err);
    snprintf(path, sizeof path, "%s/plan.yaml", scratch(folder));
    write_text(path, text);
    return path;
}

/* What it says is added to the file `log`. */
static inline pid_t start(const char *const arguments[])
{
    char log[600];
    snprintf(log, sizeof log, "%s", scratch("log"));
    pid_t child = fork();
    assert_true(child >= 0);
    if (child)
        return child;
    if (!freopen(log, "a", stdout) || !freopen(log, "a", stderr))
        _exit(126);
    execv(LETHE_BINARY, (char *const *)arguments);
    _exit(127);
}

static inline pid_t start_run(const char *plan, const char *until)
{
    return start((const char *const[]){ LETHE_BINARY, "run", plan, "--threads", "1", "--until",
                                        until, NULL });
}

static inline int wait_for(pid_t child)
{
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

/* Scans of six patients, in `cohort`. */
static inline void make_cohort(void)
{
    char out[600];
    snprintf(out, sizeof out, "%s", scratch("cohort"));
    assert_int_equal(
        wait_for(start((const char *const[]){ LETHE_BINARY, "phantom", "--subjects", "6", "--size",
                                              "32", "--out", out, NULL })),
        0);
}

static inline char *read_made(const char *folder, const char *name, size_t *size)
{
    char path[700];
    struct error err;
    snprintf(path, sizeof path, "%s/run/%s", scratch(folder), name);
    char *bytes = file_read(path, 1 << 28, size, &err);
    assert_ok(bytes, err);
    return bytes;
}

/* The runs in both folders made a file of the same bytes. */
static inline void assert_made_alike(const char *folder, const char *other, const char *name)
{
    size_t sizes[2];
    char *one = read_made(folder, name, &sizes[0]), *two = read_made(other, name, &sizes[1]);
    if (sizes[0] != sizes[1] || memcmp(one, two, sizes[0]) != 0)
        fail_msg("%s differs", name);
    memory_free(one);
    memory_free(two);
}

#endif
