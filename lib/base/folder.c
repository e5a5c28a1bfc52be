/* Folders: made private, walked in byte order, removed, and put in place all at once; see file.h.
 */
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PRIVATE_FOLDER = 0700, DEEPEST = 64 };

char *path_join(struct arena *arena, const char *folder, const char *name)
{
    if (!*folder || strcmp(folder, ".") == 0)
        return arena_string(arena, name);
    size_t length = strlen(folder);
    return arena_format(arena, "%s%s%s", folder, folder[length - 1] == '/' ? "" : "/", name);
}

const char *path_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

char *path_parent(struct arena *arena, const char *path)
{
    size_t length = (size_t)(path_name(path) - path);
    if (length == 0)
        return arena_string(arena, ".");
    return arena_substring(arena, path, length > 1 ? length - 1 : 1);
}

bool path_is_inside(const char *path, const char *folder)
{
    struct arena arena;
    arena_init(&arena);
    char *outer = realpath(folder, NULL), *inner = realpath(path, NULL);
    while (!inner && strcmp(path, ".") != 0 && strcmp(path, "/") != 0) {
        path = path_parent(&arena, path);
        inner = realpath(path, NULL);
    }
    size_t length = outer ? strlen(outer) : 0;
    bool inside = outer && inner && strncmp(inner, outer, length) == 0 &&
                  (inner[length] == '/' || !inner[length] || length == 1);
    free(outer);
    free(inner);
    arena_release(&arena);
    return inside;
}

enum path_kind path_kind(const char *path)
{
    struct stat status;
    if (stat(path, &status) != 0)
        return PATH_NOTHING;
    return S_ISREG(status.st_mode) ? PATH_FILE : S_ISDIR(status.st_mode) ? PATH_FOLDER : PATH_OTHER;
}

bool folder_create(const char *path, struct error *err)
{
    if (path_kind(path) == PATH_FOLDER)
        return true;
    struct arena arena;
    arena_init(&arena);
    char *parent = path_parent(&arena, path);
    bool ok = strcmp(parent, path) == 0 || folder_create(parent, err);
    if (ok && mkdir(path, PRIVATE_FOLDER) == 0) {
        if (chmod(path, PRIVATE_FOLDER) != 0)
            ok = error_set_errno(err, "%s: cannot be made private", path);
    } else if (ok) {
        int why = errno; /* another process may have made it meanwhile; asking changes errno */
        ok = path_kind(path) == PATH_FOLDER;
        errno = why;
        if (!ok)
            error_set_errno(err, "%s: the folder cannot be made", path);
    }
    arena_release(&arena);
    return ok;
}

/* ---- removing ------------------------------------------------------------------------------ */

static bool empty_folder(int descriptor, const char *path, int depth, struct error *err);

static bool remove_entry(int folder, const char *name, const char *path, int depth,
                         struct error *err)
{
    if (unlinkat(folder, name, 0) == 0 || errno == ENOENT)
        return true;
    if (errno != EISDIR && errno != EPERM) /* what Linux and what POSIX say of a folder */
        return error_set_errno(err, "%s/%s: cannot be removed", path, name);
    int inner = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (inner < 0)
        return error_set_errno(err, "%s/%s: cannot be removed", path, name);
    bool ok = empty_folder(inner, path, depth + 1, err);
    close(inner);
    if (ok && unlinkat(folder, name, AT_REMOVEDIR) != 0)
        ok = error_set_errno(err, "%s/%s: cannot be removed", path, name);
    return ok;
}

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static bool empty_folder(int descriptor, const char *path, int depth, struct error *err)
{
    if (depth > DEEPEST)
        return error_set(err, "%s: more than %d folders deep", path, DEEPEST);
    int copy = openat(descriptor, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = copy < 0 ? NULL : fdopendir(copy);
    if (!stream) {
        if (copy >= 0)
            close(copy);
        return error_set_errno(err, "%s: cannot be listed", path);
    }
    bool ok = true;
    for (struct dirent *entry; ok && (entry = readdir(stream));)
        if (!is_dots(entry->d_name))
            ok = remove_entry(descriptor, entry->d_name, path, depth, err);
    closedir(stream);
    return ok;
}

/* A copy without slashes at the end: open would follow a link in front of one, O_NOFOLLOW or not.
 */
static char *without_slashes(const char *path)
{
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/')
        length--;
    char *copy = memory_grow(NULL, length + 1, 1);
    sprintf(copy, "%.*s", (int)length, path);
    return copy;
}

static bool remove_folder(const char *path, struct error *err)
{
    int descriptor = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (descriptor < 0)
        return errno == ENOENT || error_set_errno(err, "%s: cannot be opened", path);
    bool ok = empty_folder(descriptor, path, 0, err);
    close(descriptor);
    if (ok && rmdir(path) != 0)
        ok = error_set_errno(err, "%s: cannot be removed", path);
    return ok;
}

bool folder_remove(const char *path, struct error *err)
{
    char *name = without_slashes(path);
    bool ok = remove_folder(name, err);
    free(name);
    return ok;
}

/* ---- walking ------------------------------------------------------------------------------- */

enum walk_kind { WALK_FILES, WALK_LINKS, WALK_DEAD_LINKS, WALK_EVERYTHING };

/* What a walk does: whether it goes into hidden names and through links, and what it lists. */
static bool is_file(int folder, const char *name);
static bool is_dead_link(int folder, const char *name);
static bool is_anything(int folder, const char *name);
static const struct walk_ways {
    bool hidden, follows;
    bool (*lists)(int folder, const char *name);
} walks[] = {
    [WALK_FILES] = { false, false, is_file },
    [WALK_LINKS] = { false, true, is_file },
    [WALK_DEAD_LINKS] = { false, true, is_dead_link },
    [WALK_EVERYTHING] = { true, false, is_anything },
};

struct walk {
    const struct walk_ways *ways;
    const char *root;
    struct arena *arena;
    char **files;
    size_t count, capacity;
};

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool is_folder_itself(int folder, const char *name)
{
    struct stat status;
    return fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(status.st_mode);
}

static bool is_file(int folder, const char *name)
{
    struct stat status;
    return fstatat(folder, name, &status, 0) == 0 && S_ISREG(status.st_mode);
}

static bool is_dead_link(int folder, const char *name)
{
    struct stat status;
    return fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(status.st_mode) &&
           fstatat(folder, name, &status, 0) != 0;
}

static bool is_anything(int folder, const char *name)
{
    (void)folder;
    (void)name;
    return true;
}

const char *dead_link_words(const char *path, struct arena *arena)
{
    char target[1024];
    struct stat status;
    ssize_t length = readlink(path, target, sizeof target);
    int why = stat(path, &status) == 0 ? 0 : errno;
    return arena_format(arena, "a link that leads nowhere (%.*s: %s)", length < 0 ? 0 : (int)length,
                        target, strerror(why));
}

/* Whether a link leads to a folder that has nothing to do with the one that is walked: so no file
 * is listed twice, and no link leads round. */
static bool leads_out(const struct walk *walk, const char *path)
{
    return path_kind(path) == PATH_FOLDER && !path_is_inside(path, walk->root) &&
           !path_is_inside(walk->root, path);
}

static bool is_passed_over(const struct walk *walk, const char *name)
{
    return walk->ways->hidden ? is_dots(name) : name[0] == '.';
}

/* Where a folder that is walked is, and how it was reached. */
struct reached {
    const char *path, *below; /* below the root */
    int depth;
    bool by_link; /* links to folders are not followed there, so that there is an end */
};

static bool walk_folder(struct walk *walk, struct reached here, struct error *err)
{
    if (here.depth > DEEPEST)
        return error_set(err, "%s: more than %d folders deep", here.path, DEEPEST);
    DIR *stream = opendir(here.path);
    if (!stream)
        return error_set_errno(err, "%s: cannot list this folder", here.path);
    bool ok = true;
    errno = 0;
    for (struct dirent *entry; ok && (entry = readdir(stream)); errno = 0) {
        if (is_passed_over(walk, entry->d_name))
            continue;
        struct reached next = { path_join(walk->arena, here.path, entry->d_name),
                                path_join(walk->arena, here.below, entry->d_name), here.depth + 1,
                                here.by_link };
        bool folder = is_folder_itself(dirfd(stream), entry->d_name);
        if (!folder && walk->ways->follows && !here.by_link)
            folder = next.by_link = leads_out(walk, next.path);
        if (folder) {
            ok = walk_folder(walk, next, err);
        } else if (walk->ways->lists(dirfd(stream), entry->d_name)) {
            ARRAY_RESERVE(walk->files, walk->count, walk->capacity);
            walk->files[walk->count++] = (char *)next.below;
        }
    }
    if (ok && errno)
        ok = error_set_errno(err, "%s: cannot list this folder", here.path);
    closedir(stream);
    return ok;
}

static bool walk_as(enum walk_kind kind, const char *path, struct arena *arena, char ***files,
                    size_t *count, struct error *err)
{
    struct walk walk = { .ways = &walks[kind], .root = path, .arena = arena };
    bool ok = walk_folder(&walk, (struct reached){ path, "", 0, false }, err);
    *files = arena_array(arena, char *, walk.count);
    *count = walk.count;
    if (walk.count) {
        qsort(walk.files, walk.count, sizeof *walk.files, by_name);
        memcpy(*files, walk.files, walk.count * sizeof *walk.files);
    }
    free(walk.files);
    return ok;
}

bool folder_walk(const char *path, struct arena *arena, char ***files, size_t *count,
                 struct error *err)
{
    return walk_as(WALK_FILES, path, arena, files, count, err);
}

bool folder_walk_links(const char *path, struct arena *arena, char ***files, size_t *count,
                       struct error *err)
{
    return walk_as(WALK_LINKS, path, arena, files, count, err);
}

bool folder_walk_dead_links(const char *path, struct arena *arena, char ***links, size_t *count,
                            struct error *err)
{
    return walk_as(WALK_DEAD_LINKS, path, arena, links, count, err);
}

bool folder_walk_everything(const char *path, struct arena *arena, char ***files, size_t *count,
                            struct error *err)
{
    return walk_as(WALK_EVERYTHING, path, arena, files, count, err);
}

/* ---- a folder that appears all at once ------------------------------------------------------ */

static void stage_release(struct folder_stage *stage)
{
    if (stage->descriptor >= 0)
        close(stage->descriptor);
    free(stage->path);
    free(stage->partial);
    *stage = (struct folder_stage){ .descriptor = -1 };
}

/* Whether the name still leads to the folder that was opened: another process may have removed
 * and remade it between open and lock. */
static bool still_there(int descriptor, const char *path)
{
    struct stat held, named;
    return fstat(descriptor, &held) == 0 && lstat(path, &named) == 0 &&
           held.st_ino == named.st_ino && held.st_dev == named.st_dev;
}

bool is_locked_by_another(const char *path, struct error *err)
{
    int why = errno;
    if (why == EAGAIN || why == EACCES)
        return true;
    error_set_errno(err, "%s: cannot be locked", path);
    /* NFS without its lock service, Lustre without the option, some of FUSE */
    if (why == ENOLCK || why == ENOSYS || why == EOPNOTSUPP || why == EINVAL)
        error_suffix(err, "; this file system has no locks, without which two runs could write one "
                          "folder: put the folder on another one, or have this one mounted with "
                          "locks (Lustre: option flock; NFS: without nolock)");
    return false;
}

/* Messages speak of `name`. */
static bool lock_folder(int descriptor, const char *path, const char *name, struct error *err)
{
    if (flock(descriptor, LOCK_EX | LOCK_NB) == 0)
        return still_there(descriptor, path) ||
               error_set(err, "%s: another process has just finished it", name);
    if (is_locked_by_another(name, err))
        return error_set(err, "%s: another process is writing it; wait until it has ended", name);
    return false;
}

bool folder_lock(const char *path, int *descriptor, struct error *err)
{
    *descriptor = -1;
    if (!folder_create(path, err))
        return false;
    *descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*descriptor < 0)
        return error_set_errno(err, "%s: cannot be opened", path);
    if (lock_folder(*descriptor, path, path, err))
        return true;
    folder_unlock(*descriptor);
    *descriptor = -1;
    return false;
}

void folder_unlock(int descriptor)
{
    if (descriptor >= 0)
        close(descriptor);
}

static bool take_back(const char *path, struct error *err);

static bool open_partial(struct folder_stage *stage, struct error *err)
{
    if (!folder_create(stage->partial, err))
        return false;
    stage->descriptor = open(stage->partial, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (stage->descriptor < 0)
        return error_set_errno(err, "%s: cannot be opened", stage->partial);
    if (!lock_folder(stage->descriptor, stage->partial, stage->path, err))
        return false;
    if (fchmod(stage->descriptor, PRIVATE_FOLDER) != 0) /* it may be somebody's older folder */
        return error_set_errno(err, "%s: cannot be made private", stage->partial);
    return take_back(stage->path, err) && empty_folder(stage->descriptor, stage->partial, 0, err);
}

bool folder_stage_open(struct folder_stage *stage, const char *path, struct error *err)
{
    *stage = (struct folder_stage){ .descriptor = -1 };
    stage->path = without_slashes(path);
    stage->partial = memory_grow(NULL, strlen(stage->path) + sizeof ".partial", 1);
    sprintf(stage->partial, "%s.partial", stage->path);
    if (open_partial(stage, err))
        return true;
    stage_release(stage);
    return false;
}

static bool sync_path(const char *path, struct error *err)
{
    int descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = descriptor >= 0 && (fsync(descriptor) == 0 || errno == EINVAL);
    if (!ok)
        error_set_errno(err, "%s: cannot sync the folder", path);
    if (descriptor >= 0)
        close(descriptor);
    return ok;
}

/* Waits for the lock of a folder that is in place: its writer holds it for a moment more. */
static bool wait_for_lock(int descriptor, const char *path, struct error *err)
{
    while (flock(descriptor, LOCK_EX) != 0)
        if (errno != EINTR)
            return error_set_errno(err, "%s: cannot be locked", path);
    return true;
}

/* ---- file systems that cannot rename so (NFS, some of FUSE) ---------------------------------- */

static bool is_unsupported(int why)
{
    return why == EINVAL || why == ENOSYS || why == EOPNOTSUPP;
}

/* Renames where nothing stands. Elsewhere the kernel looks and renames at once; here somebody might
 * come in between, but no writer of ours, for they are kept out by the lock, and rename itself
 * refuses a file, a link, and a folder that is not empty. */
static int rename_to_nothing(const char *from, const char *to)
{
    struct stat status;
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (!is_unsupported(errno))
        return -1;
    if (lstat(to, &status) == 0) {
        errno = EEXIST;
        return -1;
    }
    return rename(from, to);
}

static char *replaced_name(const char *path)
{
    char *name = memory_grow(NULL, strlen(path) + sizeof ".replaced", 1);
    sprintf(name, "%s.replaced", path);
    return name;
}

/* Exchanges in two steps: the old one aside, the new one in. Killed in between, it leaves the old
 * one aside, from where the next writer takes it back (take_back). */
static int exchange_by_steps(const char *partial, const char *path, const char *replaced)
{
    if (!folder_remove(replaced, NULL) || rename(path, replaced) != 0)
        return -1;
    if (rename(partial, path) == 0)
        return rename(replaced, partial);
    int why = errno;
    if (rename(replaced, path) != 0)
        return -1;
    errno = why;
    return -1;
}

static int rename_exchange(const char *partial, const char *path)
{
    if (renameat2(AT_FDCWD, partial, AT_FDCWD, path, RENAME_EXCHANGE) == 0)
        return 0;
    if (!is_unsupported(errno))
        return -1;
    char *replaced = replaced_name(path);
    int result = exchange_by_steps(partial, path, replaced);
    int why = errno;
    free(replaced);
    errno = why;
    return result;
}

/* What a kill between the two steps has left. */
static bool take_back(const char *path, struct error *err)
{
    struct stat status;
    char *replaced = replaced_name(path);
    bool ok = true;
    if (lstat(replaced, &status) == 0 && S_ISDIR(status.st_mode)) {
        if (lstat(path, &status) == 0)
            ok = folder_remove(replaced, err);
        else if (rename(replaced, path) != 0)
            ok = error_set_errno(err, "%s: cannot be moved back to %s", replaced, path);
    }
    free(replaced);
    return ok;
}

/* The old folder is locked before the exchange: from then on it bears the .partial name, and the
 * next writer, who would empty and fill it while it is removed here, has to be kept out. */
static bool exchange(struct folder_stage *stage, bool *placed, struct error *err)
{
    int old = open(stage->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (old < 0)
        return error_set_errno(err, "%s: what stands there cannot be replaced", stage->path);
    bool ok = wait_for_lock(old, stage->path, err);
    if (ok && rename_exchange(stage->partial, stage->path) != 0)
        ok = error_set_errno(err, "%s: cannot be exchanged", stage->path);
    *placed = ok;
    if (ok && !folder_remove(stage->partial, err))
        ok = error_prefix(err, "%s: the new folder is in place, but not the old one gone",
                          stage->path);
    close(old);
    return ok;
}

static bool put_in_place(struct folder_stage *stage, bool replace, bool *placed, struct error *err)
{
    *placed = rename_to_nothing(stage->partial, stage->path) == 0;
    if (*placed)
        return true;
    if (errno != EEXIST)
        return error_set_errno(err, "%s: cannot be put in place", stage->path);
    if (!replace)
        return error_set(err, "%s: exists already; remove it or choose another name", stage->path);
    return exchange(stage, placed, err);
}

bool folder_stage_commit(struct folder_stage *stage, bool replace, struct error *err)
{
    struct arena arena;
    arena_init(&arena);
    bool placed = false;
    bool ok = sync_path(stage->partial, err) && put_in_place(stage, replace, &placed, err);
    if (ok && !sync_path(path_parent(&arena, stage->path), err))
        ok = error_prefix(err, "%s: the new folder is in place", stage->path);
    arena_release(&arena);
    if (placed)
        stage_release(stage);
    else
        folder_stage_abandon(stage);
    return ok;
}

void folder_stage_abandon(struct folder_stage *stage)
{
    if (stage->descriptor < 0)
        return;
    /* What cannot be removed is emptied by the next writer; the caller has an error already. */
    bool removed = folder_remove(stage->partial, NULL);
    (void)removed;
    stage_release(stage);
}
