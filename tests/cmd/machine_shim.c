/* Loaded before a program (LD_PRELOAD): it runs on another machine.
 *
 *     LETHE_CORES=64                 there are so many
 *     LETHE_MISSING=libopenblas      of that name no library is found at run time */
#include <dlfcn.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXPORT     __attribute__((visibility("default")))
#define REAL(name) ((__typeof__(&name))(uintptr_t)dlsym(RTLD_NEXT, #name))

/* 0: as they are. */
static int cores(void)
{
    const char *told = getenv("LETHE_CORES");
    return told ? atoi(told) : 0;
}

EXPORT int sched_getaffinity(pid_t process, size_t size, cpu_set_t *set)
{
    if (!cores())
        return REAL(sched_getaffinity)(process, size, set);
    memset(set, 0, size);
    for (int core = 0; core < cores(); core++)
        CPU_SET_S(core, size, set);
    return 0;
}

EXPORT long sysconf(int name)
{
    if (cores() && (name == _SC_NPROCESSORS_CONF || name == _SC_NPROCESSORS_ONLN))
        return cores();
    return REAL(sysconf)(name);
}

EXPORT void *dlopen(const char *file, int mode)
{
    const char *missing = getenv("LETHE_MISSING");
    return REAL(dlopen)(missing && file && strstr(file, missing) ? "/missing/library" : file, mode);
}
