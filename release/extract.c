/* See extract.h. */
#include "release/extract.h"

#include "release/tar.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PRIVATE_FOLDER = 0700, PRIVATE_FILE = 0600 };

bool extract_open(struct extract *extract, const char *folder, struct error *err)
{
    *extract = (struct extract){ .folder = folder, .file = -1 };
    struct stat status; /* a link counts as there, whatever it points to */
    if (lstat(folder, &status) == 0 || errno != ENOENT)
        return error_set(err, "%s: exists already; name a folder that does not", folder);
    return folder_stage_open(&extract->stage, folder, err);
}

/* Opens the folder that an entry lies in, part by part; `*name` is what is left of its path. The
 * root folder itself is the stage. */
static int open_parent(const struct extract *extract, const char *path, char *copy,
                       const char **name)
{
    int folder = fcntl(extract->stage.descriptor, F_DUPFD_CLOEXEC, 0);
    strcpy(copy, strchr(path, '/') + 1);
    size_t length = strlen(copy);
    if (length && copy[length - 1] == '/')
        copy[length - 1] = '\0';
    char *part = copy;
    for (char *slash = strchr(part, '/'); slash && folder >= 0; slash = strchr(part, '/')) {
        *slash = '\0';
        int inner = openat(folder, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        int why = errno;
        close(folder);
        errno = why;
        folder = inner;
        part = slash + 1;
    }
    *name = part;
    return folder;
}

/* Closes what was written; a full disk may show only now. */
static bool end_file(struct extract *extract, struct error *err)
{
    int descriptor = extract->file;
    extract->file = -1;
    return descriptor < 0 || close(descriptor) == 0 ||
           error_set_errno(err, "%s: a file in it cannot be written", extract->folder);
}

static bool make_folder(void *context, const char *path, struct error *err)
{
    struct extract *extract = context;
    char copy[TAR_LONGEST_PATH + 1];
    const char *name;
    if (!end_file(extract, err))
        return false;
    int parent = open_parent(extract, path, copy, &name);
    bool ok = parent >= 0 && (!*name || mkdirat(parent, name, PRIVATE_FOLDER) == 0);
    if (!ok)
        error_set_errno(err, "%s: the folder %s cannot be made", extract->folder, path);
    if (parent >= 0)
        close(parent);
    return ok;
}

static bool make_file(void *context, const char *path, uint64_t size, struct error *err)
{
    struct extract *extract = context;
    char copy[TAR_LONGEST_PATH + 1];
    const char *name;
    (void)size;
    if (!end_file(extract, err))
        return false;
    int parent = open_parent(extract, path, copy, &name);
    if (parent >= 0) {
        extract->file = openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                               PRIVATE_FILE);
        int why = errno;
        close(parent);
        errno = why;
    }
    return extract->file >= 0 ||
           error_set_errno(err, "%s: the file %s cannot be made", extract->folder, path);
}

static bool put_bytes(void *context, const unsigned char *bytes, size_t size, struct error *err)
{
    struct extract *extract = context;
    while (size) {
        ssize_t put = write(extract->file, bytes, size);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return error_set_errno(err, "%s: cannot be written", extract->folder);
        bytes += put;
        size -= (size_t)put;
    }
    return true;
}

struct stream_sink extract_sink(struct extract *extract)
{
    return (struct stream_sink){ extract, make_folder, make_file, put_bytes };
}

/* One sync of the file system instead of one a file: 5,000 of those take longer than all else. */
bool extract_commit(struct extract *extract, struct error *err)
{
    bool ok = end_file(extract, err);
    if (ok && syncfs(extract->stage.descriptor) != 0)
        ok = error_set_errno(err, "%s: cannot be synced", extract->folder);
    if (ok)
        return folder_stage_commit(&extract->stage, false, err);
    extract_abandon(extract);
    return false;
}

void extract_abandon(struct extract *extract)
{
    if (extract->file >= 0)
        close(extract->file);
    extract->file = -1;
    folder_stage_abandon(&extract->stage);
}
