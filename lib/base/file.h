/* Files and folders that survive crashes and keep secrets.
 *
 * Everything is written beside its final place and renamed there when it is complete and synced:
 * after kill -9 or a power cut a name holds either the old content or the new, never a part.
 * Folders are made 0700 and files 0600 whatever the umask, for they hold patients' images.
 *
 *     struct file_writer writer;
 *     if (!file_writer_open(&writer, "run/x.json", err))
 *         return false;
 *     if (!file_writer_write(&writer, bytes, size, err)) {
 *         file_writer_abandon(&writer);
 *         return false;
 *     }
 *     return file_writer_commit(&writer, err);
 */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include "base/arena.h"

#include <stdint.h>

/* ---- whole files ------------------------------------------------------------------------- */

/* The content of a regular file, followed by a zero byte that is not counted; free with
 * memory_free. At most `limit` bytes, or an error that says so. */
char *file_read(const char *path, size_t limit, size_t *size, struct error *err) MUST_USE;

/* Replaces the file by these bytes, atomically. */
bool file_write(const char *path, const void *bytes, size_t size, struct error *err) MUST_USE;

/* Replaces `to` by a copy of the file `from`, atomically. */
bool file_copy(const char *from, const char *to, struct error *err) MUST_USE;

/* Makes a file inside a folder that is itself not in place yet: neither atomic nor synced, which
 * for thousands of small files is most of the time. An existing file is an error. */
bool file_create(const char *path, const void *bytes, size_t size, struct error *err) MUST_USE;

/* A read-only view of a regular file. An empty file maps to size 0 and bytes NULL. */
struct file_map {
    const unsigned char *bytes;
    size_t size;
};
bool file_map_open(struct file_map *map, const char *path, struct error *err) MUST_USE;
void file_map_close(struct file_map *map);

/* ---- writing piece by piece ---------------------------------------------------------------- */

struct file_writer {
    char *path, *temporary; /* owned */
    int descriptor;
    uint64_t written;
    uint64_t handed_over; /* that the disk was asked to write */
    size_t buffered;
    unsigned char *buffer;
    bool failed; /* a write did; commit then refuses */
};

/* Opens a temporary file in the same folder, with a name that begins with a dot. Where `path` is a
 * link, it is the link that will be replaced. */
bool file_writer_open(struct file_writer *writer, const char *path, struct error *err) MUST_USE;
bool file_writer_write(struct file_writer *writer, const void *bytes, size_t size,
                       struct error *err) MUST_USE;
/* Replaces `size` bytes that were written earlier, from `offset` on: for headers that state
 * counts known only at the end. */
bool file_writer_patch(struct file_writer *writer, uint64_t offset, const void *bytes, size_t size,
                       struct error *err) MUST_USE;
/* Nothing more will be written: syncs the temporary file and closes it, so that many may wait to be
 * committed together. */
bool file_writer_finish(struct file_writer *writer, struct error *err) MUST_USE;
/* Syncs, renames into place and syncs the folder. The writer is released either way. When it fails,
 * as it must after a failed write, the temporary file is gone and the old file untouched; only
 * where the message says "in place" could nothing but the folder not be synced. */
bool file_writer_commit(struct file_writer *writer, struct error *err) MUST_USE;
void file_writer_abandon(struct file_writer *writer);

/* ---- folders --------------------------------------------------------------------------------- */

/* A folder that appears all at once: files are written into `path`.partial, which becomes `path`
 * when it is complete. The .partial folder is locked while its writer lives; one that a killed
 * run left behind is emptied and used again. */
struct folder_stage {
    char *path, *partial; /* owned */
    int descriptor;       /* of the partial folder; holds the lock */
};
bool folder_stage_open(struct folder_stage *stage, const char *path, struct error *err) MUST_USE;
/* With `replace`, an older folder of that name is exchanged in one step and then removed; without,
 * an existing one is an error, as is a file or a link of that name in either case. Where the file
 * system cannot exchange (NFS, some of FUSE) it takes two: then a kill may leave the older folder
 * as `path`.replaced, and the next writer takes it back. The stage is released either way. When it
 * fails the old folder is untouched, unless the message says that the new one is in place. */
bool folder_stage_commit(struct folder_stage *stage, bool replace, struct error *err) MUST_USE;
void folder_stage_abandon(struct folder_stage *stage);

/* Makes a folder that its writer fills bit by bit, or goes on with, and locks it until the
 * descriptor is unlocked or the process ends; an error where another process has it. */
bool folder_lock(const char *path, int *descriptor, struct error *err) MUST_USE;
void folder_unlock(int descriptor); /* -1: nothing */

/* After a call that locks has failed: whether another process has the lock; else the error, of a
 * file system that has no locks with what to do. */
bool is_locked_by_another(const char *path, struct error *err);

/* Makes the folder and those above it that are missing. An existing folder is left as it is. */
bool folder_create(const char *path, struct error *err) MUST_USE;
/* Removes a folder with all that is in it, never following links, and itself no link (a slash at
 * its end changes nothing). A missing one is fine. */
bool folder_remove(const char *path, struct error *err) MUST_USE;

enum path_kind { PATH_NOTHING, PATH_FILE, PATH_FOLDER, PATH_OTHER };
/* What stands at the path, links followed. */
enum path_kind path_kind(const char *path);

/* All regular files below a folder, as paths relative to it, in byte order; links to files are
 * followed, links to folders are not, names that begin with a dot are passed over. Strings and
 * array belong to the arena. */
bool folder_walk(const char *path, struct arena *arena, char ***files, size_t *count,
                 struct error *err) MUST_USE;

/* The same for a folder that somebody put together: links to folders are followed too, once each
 * way down, where they lead out of the folder. What they lead to inside is walked anyway. */
bool folder_walk_links(const char *path, struct arena *arena, char ***files, size_t *count,
                       struct error *err) MUST_USE;

/* The links that such a walk passes over because what they lead to is not there, and which somebody
 * may miss. */
bool folder_walk_dead_links(const char *path, struct arena *arena, char ***links, size_t *count,
                            struct error *err) MUST_USE;
/* What is wrong with one, "a link that leads nowhere (../disk/a.nii: No such file or directory)".
 */
const char *dead_link_words(const char *path, struct arena *arena);

/* The same for who has to see whatever is there: hidden names too, and links, pipes and devices,
 * which are listed and not followed. */
bool folder_walk_everything(const char *path, struct arena *arena, char ***files, size_t *count,
                            struct error *err) MUST_USE;

/* Whether the path is the folder or lies in it, links followed; what does not exist yet counts as
 * lying where it would be made. */
bool path_is_inside(const char *path, const char *folder);

/* folder + "/" + name, or name alone when folder is "" or ".". */
char *path_join(struct arena *arena, const char *folder, const char *name);
/* What follows the last slash. */
const char *path_name(const char *path);
/* What comes before it; "." when there is none. */
char *path_parent(struct arena *arena, const char *path);

#endif
