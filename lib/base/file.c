/* Reading, mapping and atomically writing single files; see file.h. Folders: folder.c. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BUFFER_SIZE = 1 << 18, PRIVATE_FILE = 0600, LONGEST_STEM = 200, HAND_OVER = 8 << 20 };

/* Opens a regular file for reading; fifos, devices and folders are refused before they can block
 * or surprise. */
static int open_regular(const char *path, struct stat *status, struct error *err)
{
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0) {
        error_set_errno(err, "%s: cannot open", path);
        return -1;
    }
    if (fstat(descriptor, status) != 0 || !S_ISREG(status->st_mode)) {
        error_set(err, "%s: not a regular file", path);
        close(descriptor);
        return -1;
    }
    return descriptor;
}

static bool read_exactly(int descriptor, char *bytes, size_t size, const char *path,
                         struct error *err)
{
    for (size_t done = 0; done < size;) {
        ssize_t got = read(descriptor, bytes + done, size - done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set_errno(err, "%s: read error at byte %zu", path, done);
        if (got == 0)
            return error_set(err, "%s: became shorter while it was read (%zu of %zu bytes)", path,
                             done, size);
        done += (size_t)got;
    }
    return true;
}

char *file_read(const char *path, size_t limit, size_t *size, struct error *err)
{
    struct stat status;
    int descriptor = open_regular(path, &status, err);
    if (descriptor < 0)
        return NULL;
    size_t length = (size_t)status.st_size;
    char *bytes = NULL;
    if (length > limit)
        error_set(err, "%s: %zu bytes; at most %zu are accepted here", path, length, limit);
    else
        bytes = memory_allocate(length + 1, 1, path, err);
    if (bytes && !read_exactly(descriptor, bytes, length, path, err)) {
        memory_free(bytes);
        bytes = NULL;
    }
    close(descriptor);
    *size = bytes ? length : 0;
    return bytes;
}

bool file_map_open(struct file_map *map, const char *path, struct error *err)
{
    *map = (struct file_map){ 0 };
    struct stat status;
    int descriptor = open_regular(path, &status, err);
    if (descriptor < 0)
        return false;
    bool ok = true;
    if (status.st_size > 0) {
        void *bytes = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, descriptor, 0);
        ok = bytes != MAP_FAILED;
        if (ok)
            *map = (struct file_map){ bytes, (size_t)status.st_size };
        else
            error_set_errno(err, "%s: cannot map", path);
    }
    close(descriptor);
    return ok;
}

void file_map_close(struct file_map *map)
{
    if (map->size)
        munmap((void *)map->bytes, map->size);
    *map = (struct file_map){ 0 };
}

bool file_create(const char *path, const void *bytes, size_t size, struct error *err)
{
    int descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, PRIVATE_FILE);
    if (descriptor < 0)
        return error_set_errno(err, "%s: cannot be created", path);
    bool ok = true;
    for (size_t done = 0; ok && done < size;) {
        ssize_t put = write(descriptor, (const char *)bytes + done, size - done);
        if (put < 0 && errno == EINTR)
            continue;
        ok = put > 0 || error_set_errno(err, "%s: cannot write at byte %zu", path, done);
        done += ok ? (size_t)put : 0;
    }
    if (close(descriptor) != 0 && ok)
        ok = error_set_errno(err, "%s: cannot be written", path);
    return ok;
}

/* ---- file_writer --------------------------------------------------------------------------- */

static void writer_release(struct file_writer *writer)
{
    free(writer->path);
    free(writer->temporary);
    free(writer->buffer);
    *writer = (struct file_writer){ .descriptor = -1 };
}

bool file_writer_open(struct file_writer *writer, const char *path, struct error *err)
{
    *writer = (struct file_writer){ .descriptor = -1 };
    writer->path = memory_grow(NULL, strlen(path) + 1, 1);
    strcpy(writer->path, path);
    writer->temporary = memory_grow(NULL, strlen(path) + 16, 1);
    size_t folder = (size_t)(path_name(path) - path);
    /* The stem is cut so that a name of the longest length allowed has a temporary one too. */
    sprintf(writer->temporary, "%.*s.%.*s.XXXXXX", (int)folder, path, LONGEST_STEM, path + folder);
    writer->buffer = memory_grow(NULL, BUFFER_SIZE, 1);
    writer->descriptor = mkostemp(writer->temporary, O_CLOEXEC);
    if (writer->descriptor < 0) {
        error_set_errno(err, "%s: cannot be created", path);
        writer_release(writer);
        return false;
    }
    if (fchmod(writer->descriptor, PRIVATE_FILE) != 0) {
        error_set_errno(err, "%s: cannot be made private", path);
        file_writer_abandon(writer);
        return false;
    }
    return true;
}

/* Once a write has failed the file has a hole; `failed` sees to it that it is never put in place.
 */
static bool write_at(struct file_writer *writer, uint64_t offset, const unsigned char *bytes,
                     size_t size, struct error *err)
{
    if (writer->failed)
        return error_set(err, "%s: an earlier write failed", writer->path);
    for (size_t done = 0; done < size;) {
        ssize_t put = pwrite(writer->descriptor, bytes + done, size - done, (off_t)(offset + done));
        if (put < 0 && errno == EINTR)
            continue;
        writer->failed = put <= 0;
        if (writer->failed)
            return error_set_errno(err, "%s: cannot write at byte %llu", writer->path,
                                   (unsigned long long)(offset + done));
        done += (size_t)put;
    }
    return true;
}

/* Has the disk write what there is, while more is being made, so that syncing in the end finds
 * little left to do. It may be refused: syncing tells of what matters. */
static void hand_over(struct file_writer *writer)
{
    uint64_t end = writer->written;
    if (end < writer->handed_over + HAND_OVER)
        return;
    (void)!sync_file_range(writer->descriptor, (off_t)writer->handed_over,
                           (off_t)(end - writer->handed_over), SYNC_FILE_RANGE_WRITE);
    writer->handed_over = end;
}

/* The last bytes of what counts as written. */
static bool append(struct file_writer *writer, const unsigned char *bytes, size_t size,
                   struct error *err)
{
    if (!write_at(writer, writer->written - size, bytes, size, err))
        return false;
    hand_over(writer);
    return true;
}

static bool flush(struct file_writer *writer, struct error *err)
{
    size_t size = writer->buffered;
    writer->buffered = 0;
    return append(writer, writer->buffer, size, err);
}

bool file_writer_write(struct file_writer *writer, const void *bytes, size_t size,
                       struct error *err)
{
    CHECK(writer->descriptor >= 0, "%s: written to after it was finished", writer->path);
    if (writer->buffered + size > BUFFER_SIZE && !flush(writer, err))
        return false;
    writer->written += size;
    if (size > BUFFER_SIZE)
        return append(writer, bytes, size, err);
    if (size)
        memcpy(writer->buffer + writer->buffered, bytes, size);
    writer->buffered += size;
    return true;
}

bool file_writer_patch(struct file_writer *writer, uint64_t offset, const void *bytes, size_t size,
                       struct error *err)
{
    CHECK(size <= writer->written && offset <= writer->written - size, "%s: patch past the end",
          writer->path);
    return flush(writer, err) && write_at(writer, offset, bytes, size, err);
}

/* The folder that the file stands in, opened before anything is put in place, so that a folder
 * that may not be read fails early. */
static int open_folder_of(const char *path, struct error *err)
{
    struct arena arena;
    arena_init(&arena);
    const char *folder = path_parent(&arena, path);
    int descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0)
        error_set_errno(err, "%s: cannot be opened to sync it", folder);
    arena_release(&arena);
    return descriptor;
}

bool file_writer_finish(struct file_writer *writer, struct error *err)
{
    if (writer->descriptor < 0)
        return !writer->failed || error_set(err, "%s: an earlier write failed", writer->path);
    bool ok = flush(writer, err); /* also tells of a write that failed before */
    if (ok && fsync(writer->descriptor) != 0)
        ok = error_set_errno(err, "%s: cannot sync", writer->path);
    close(writer->descriptor);
    writer->descriptor = -1;
    free(writer->buffer);
    writer->buffer = NULL;
    writer->failed = !ok;
    return ok;
}

static bool put_in_place(struct file_writer *writer, struct error *err)
{
    if (!file_writer_finish(writer, err))
        return false;
    if (rename(writer->temporary, writer->path) != 0)
        return error_set_errno(err, "%s: cannot be put in place", writer->path);
    return true;
}

bool file_writer_commit(struct file_writer *writer, struct error *err)
{
    int folder = open_folder_of(writer->path, err);
    bool placed = folder >= 0 && put_in_place(writer, err), ok = placed;
    if (placed && fsync(folder) != 0 && errno != EINVAL) /* EINVAL: a file system without it */
        ok = error_set_errno(err, "%s: in place, but its folder cannot be synced", writer->path);
    if (folder >= 0)
        close(folder);
    if (placed)
        writer_release(writer);
    else
        file_writer_abandon(writer);
    return ok;
}

void file_writer_abandon(struct file_writer *writer)
{
    if (!writer->temporary)
        return;
    if (writer->descriptor >= 0)
        close(writer->descriptor);
    unlink(writer->temporary);
    writer_release(writer);
}

bool file_write(const char *path, const void *bytes, size_t size, struct error *err)
{
    struct file_writer writer;
    if (!file_writer_open(&writer, path, err))
        return false;
    if (!file_writer_write(&writer, bytes, size, err)) {
        file_writer_abandon(&writer);
        return false;
    }
    return file_writer_commit(&writer, err);
}

bool file_copy(const char *from, const char *to, struct error *err)
{
    struct file_map map;
    if (!file_map_open(&map, from, err))
        return false;
    bool ok = file_write(to, map.bytes, map.size, err);
    file_map_close(&map);
    return ok;
}
