#include "kill.h"

#include <dlfcn.h>
#include <fnmatch.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define EXPORT     __attribute__((visibility("default")))
#define REAL(name) ((__typeof__(&name))(uintptr_t)dlsym(RTLD_NEXT, #name))

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned long calls, last;
static pid_t victim;
static char *told;    /* where to write the number of calls */
static char *pattern; /* of renames to such paths the `left`th is the last */
static unsigned long left;

void kill_at(unsigned long call)
{
    calls = 0;
    last = call;
    victim = getpid();
}

unsigned long kill_calls(void)
{
    return calls;
}

__attribute__((constructor)) static void ask_environment(void)
{
    const char *call = getenv("LETHE_KILL"), *path = getenv("LETHE_KILL_CALLS");
    kill_at(call ? strtoul(call, NULL, 10) : 0);
    told = path ? strdup(path) : NULL;
    const char *placed = getenv("LETHE_KILL_PLACED");
    char *rest = NULL;
    left = placed ? strtoul(placed, &rest, 10) : 0;
    pattern = left ? strdup(rest + strspn(rest, " ")) : NULL;
    unsetenv("LETHE_KILL_PLACED");
    unsetenv("LETHE_KILL");
    unsetenv("LETHE_KILL_CALLS");
    unsetenv("LD_PRELOAD");
}

__attribute__((destructor)) static void tell(void)
{
    FILE *file = told && getpid() == victim ? fopen(told, "w") : NULL;
    if (file) {
        fprintf(file, "%lu\n", calls);
        fclose(file);
    }
    free(told);
    free(pattern);
}

static bool is_last(void)
{
    if (getpid() != victim)
        return false;
    pthread_mutex_lock(&lock);
    bool now = ++calls == last;
    pthread_mutex_unlock(&lock);
    return now;
}

static void die(void)
{
    kill(victim, SIGKILL);
    for (;;)
        pause();
}

/* A call that changes nothing when the process is killed at it. */
static void change(void)
{
    if (is_last())
        die();
}

/* After a rename to `path`. */
static int place(const char *path, int result)
{
    if (result != 0 || !pattern || fnmatch(pattern, path, 0) != 0 || getpid() != victim)
        return result;
    pthread_mutex_lock(&lock);
    bool now = --left == 0;
    pthread_mutex_unlock(&lock);
    if (now)
        die();
    return result;
}

/* A file, and not what a program says. */
static bool is_file(int descriptor)
{
    struct stat status;
    return descriptor > STDERR_FILENO && fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode);
}

EXPORT ssize_t write(int descriptor, const void *bytes, size_t size)
{
    if (is_file(descriptor) && is_last()) {
        if (REAL(write)(descriptor, bytes, size / 2) < 0)
            abort();
        die();
    }
    return REAL(write)(descriptor, bytes, size);
}

EXPORT ssize_t pwrite64(int descriptor, const void *bytes, size_t size, off64_t offset)
{
    if (is_file(descriptor) && is_last()) {
        if (REAL(pwrite64)(descriptor, bytes, size / 2, offset) < 0)
            abort();
        die();
    }
    return REAL(pwrite64)(descriptor, bytes, size, offset);
}

EXPORT int fflush(FILE *stream)
{
    if (stream && is_file(fileno(stream)))
        change();
    return REAL(fflush)(stream);
}

EXPORT int fclose(FILE *stream)
{
    if (is_file(fileno(stream)))
        change();
    return REAL(fclose)(stream);
}

EXPORT int ftruncate64(int descriptor, off64_t size)
{
    change();
    return REAL(ftruncate64)(descriptor, size);
}

EXPORT int fsync(int descriptor)
{
    change();
    return REAL(fsync)(descriptor);
}

EXPORT int fdatasync(int descriptor)
{
    change();
    return REAL(fdatasync)(descriptor);
}

EXPORT int syncfs(int descriptor)
{
    change();
    return REAL(syncfs)(descriptor);
}

EXPORT int rename(const char *from, const char *to)
{
    change();
    return place(to, REAL(rename)(from, to));
}

EXPORT int renameat2(int from, const char *name, int to, const char *new_name, unsigned flags)
{
    change();
    return place(new_name, REAL(renameat2)(from, name, to, new_name, flags));
}

EXPORT int link(const char *from, const char *to)
{
    change();
    return REAL(link)(from, to);
}

EXPORT int symlink(const char *text, const char *path)
{
    change();
    return REAL(symlink)(text, path);
}

EXPORT int mkdir(const char *path, mode_t mode)
{
    change();
    return REAL(mkdir)(path, mode);
}

EXPORT int mkdirat(int folder, const char *name, mode_t mode)
{
    change();
    return REAL(mkdirat)(folder, name, mode);
}

EXPORT int rmdir(const char *path)
{
    change();
    return REAL(rmdir)(path);
}

EXPORT int unlink(const char *path)
{
    change();
    return REAL(unlink)(path);
}

EXPORT int unlinkat(int folder, const char *name, int flags)
{
    change();
    return REAL(unlinkat)(folder, name, flags);
}
