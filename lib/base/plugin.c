/* Plug-ins; see plugin.h. */
#include "base/plugin.h"

#include "base/file.h"

#include <dlfcn.h>
#include <unistd.h>

/* Where the running program lies. */
static char *own_folder(struct arena *arena)
{
    char path[4096];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    path[length > 0 ? length : 0] = '\0';
    return path_parent(arena, path);
}

/* NULL where it is in neither place. */
static const char *find(const char *file, struct arena *arena)
{
    const char *own = own_folder(arena), *beside = path_join(arena, own, file),
               *installed = arena_format(arena, "%s/../lib/lethe/%s", own, file);
    if (path_kind(beside) == PATH_FILE)
        return beside;
    return path_kind(installed) == PATH_FILE ? installed : NULL;
}

const void *plugin_open(const char *file, const char *symbol, struct error *reason)
{
    struct arena arena;
    arena_init(&arena);
    const char *path = find(file, &arena);
    void *library = path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    const void *found = library ? dlsym(library, symbol) : NULL;
    if (!path)
        error_set(reason, "no %s beside the program", file);
    else if (!found)
        error_set(reason, "%s", dlerror());
    arena_release(&arena);
    return found;
}
