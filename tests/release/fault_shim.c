/* Loaded before a program (LD_PRELOAD): one of its calls goes wrong.
 *
 *     LETHE_FAULT="read 3 EIO" LETHE_FAULT_UNDER=/tmp/x LETHE_FAULT_HIT=/tmp/hit
 *
 * The third read from a file below /tmp/x fails with EIO, and /tmp/hit is made when that has
 * happened. Instead of an error's number: `end`, the file ends there; `flip`, a bit in the middle
 * of what was read is another; `half`, only half as much is done, as the system may; `interrupted`,
 * a signal came. A call that could not go wrong in that way (a read at the end of a file) is not
 * counted. */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#define EXPORT     __attribute__((visibility("default")))
#define REAL(name) ((__typeof__(&name))(uintptr_t)dlsym(RTLD_NEXT, #name))

enum effect { PASS, FAIL, END, FLIP, HALF, EDIT };
static const struct kind {
    const char *name;
    enum effect effect;
    int error;
} kinds[] = {
    { "EIO", FAIL, EIO }, { "ENOSPC", FAIL, ENOSPC }, { "interrupted", FAIL, EINTR },
    { "end", END, 0 },    { "flip", FLIP, 0 },        { "half", HALF, 0 },
    { "edit", EDIT, 0 },
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int seen;

static bool is_watched(int descriptor)
{
    const char *under = getenv("LETHE_FAULT_UNDER");
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (!under || length < 0)
        return false;
    path[length] = '\0';
    return strncmp(path, under, strlen(under)) == 0;
}

static void edit(const char *path)
{
    unsigned char byte;
    int descriptor = open(path, O_RDWR | O_CLOEXEC);
    off_t middle = lseek(descriptor, 0, SEEK_END) / 2;
    lseek(descriptor, middle, SEEK_SET);
    if (REAL(read)(descriptor, &byte, 1) != 1)
        abort();
    byte ^= 0x04;
    lseek(descriptor, middle, SEEK_SET);
    if (REAL(write)(descriptor, &byte, 1) != 1)
        abort();
    close(descriptor);
}

/* What this call is to do. `possible`: how many bytes it is about; less than two go wrong in none
 * of the ways that are about bytes. */
static enum effect decide(const char *call, int descriptor, ssize_t possible)
{
    char name[32], how[32];
    int number;
    const char *plan = getenv("LETHE_FAULT");
    if (!plan || sscanf(plan, "%31s %d %31s", name, &number, how) != 3 || strcmp(name, call) != 0 ||
        (descriptor >= 0 && !is_watched(descriptor)))
        return PASS;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(kinds[i].name, how) != 0 ||
            (kinds[i].effect != FAIL && kinds[i].effect != EDIT && possible < 2))
            continue;
        pthread_mutex_lock(&lock);
        bool now = ++seen == number;
        pthread_mutex_unlock(&lock);
        if (!now)
            return PASS;
        close(open(getenv("LETHE_FAULT_HIT"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
        if (kinds[i].effect == EDIT)
            edit(getenv("LETHE_FAULT_EDIT"));
        errno = kinds[i].error;
        return kinds[i].effect;
    }
    return PASS;
}

static ssize_t change(enum effect effect, void *bytes, ssize_t got)
{
    if (effect == FLIP)
        ((unsigned char *)bytes)[got / 2] ^= 0x04;
    return effect == END ? 0 : got;
}

/* A read is done first, to know how many bytes there are; a fault takes them back by the offset. */
EXPORT ssize_t read(int descriptor, void *bytes, size_t size)
{
    ssize_t got = REAL(read)(descriptor, bytes, size);
    int before = errno;
    enum effect effect = got < 0 ? PASS : decide("read", descriptor, got);
    if (effect == FAIL || effect == HALF) {
        int why = errno;
        ssize_t kept = effect == HALF ? got / 2 : 0;
        lseek(descriptor, kept - got, SEEK_CUR);
        errno = why;
        return effect == HALF ? kept : -1;
    }
    errno = before;
    return change(effect, bytes, got);
}

static ssize_t read_at(ssize_t got, int descriptor, void *bytes)
{
    int before = errno;
    enum effect effect = got < 0 ? PASS : decide("pread", descriptor, got);
    if (effect == FAIL)
        return -1;
    errno = before;
    return effect == HALF ? got / 2 : change(effect, bytes, got);
}

EXPORT ssize_t pread(int descriptor, void *bytes, size_t size, off_t offset)
{
    return read_at(REAL(pread)(descriptor, bytes, size, offset), descriptor, bytes);
}

EXPORT ssize_t pread64(int descriptor, void *bytes, size_t size, off64_t offset)
{
    return read_at(REAL(pread64)(descriptor, bytes, size, offset), descriptor, bytes);
}

EXPORT ssize_t write(int descriptor, const void *bytes, size_t size)
{
    enum effect effect = decide("write", descriptor, (ssize_t)size);
    return effect == FAIL ? -1 : REAL(write)(descriptor, bytes, effect == HALF ? size / 2 : size);
}

EXPORT int fsync(int descriptor)
{
    return decide("fsync", descriptor, 0) == FAIL ? -1 : REAL(fsync)(descriptor);
}

EXPORT int syncfs(int descriptor)
{
    return decide("syncfs", descriptor, 0) == FAIL ? -1 : REAL(syncfs)(descriptor);
}

EXPORT int rename(const char *from, const char *to)
{
    return decide("rename", -1, 0) == FAIL ? -1 : REAL(rename)(from, to);
}

EXPORT int renameat2(int from, const char *name, int to, const char *new_name, unsigned flags)
{
    return decide("renameat2", -1, 0) == FAIL ? -1
                                              : REAL(renameat2)(from, name, to, new_name, flags);
}

EXPORT struct dirent *readdir(DIR *stream)
{
    return decide("readdir", dirfd(stream), 0) == FAIL ? NULL : REAL(readdir)(stream);
}

EXPORT struct dirent64 *readdir64(DIR *stream)
{
    return decide("readdir", dirfd(stream), 0) == FAIL ? NULL : REAL(readdir64)(stream);
}
