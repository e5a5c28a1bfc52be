/* Digests of many files, in parallel; see digest.h. A file of its own, because what digests one
 * file need not link the threads for many. */
#include "base/digest.h"

#include "base/file.h"
#include "base/parallel.h"

#include <stdatomic.h>

struct tree_job {
    const char *root;
    struct digest_entry *entries;
    atomic_size_t first_failed; /* the least item that failed; its message is in *err */
    struct error *err;
};

/* Several threads may fail at once. */
static void tree_failed(struct tree_job *job, size_t item, const struct error *err)
{
#pragma omp critical(digest_failure)
    {
        if (item < atomic_load(&job->first_failed)) {
            atomic_store(&job->first_failed, item);
            error_set(job->err, "%s", err->message);
        }
    }
}

static void digest_entry_at(void *context, size_t item)
{
    struct tree_job *job = context;
    struct digest_entry *entry = &job->entries[item];
    struct arena arena;
    struct error err;
    if (item > atomic_load(&job->first_failed))
        return; /* cannot be the first any more: no need to read on for hours */
    arena_init(&arena);
    if (!digest_file_sized(path_join(&arena, job->root, entry->path), &entry->digest, &entry->size,
                           &err))
        tree_failed(job, item, &err);
    arena_release(&arena);
}

bool digest_files(const char *root, struct digest_entry *entries, size_t count, struct error *err)
{
    struct tree_job job = { .root = root, .entries = entries, .err = err };
    atomic_init(&job.first_failed, SIZE_MAX);
    parallel_items(count, digest_entry_at, &job);
    return atomic_load(&job.first_failed) == SIZE_MAX;
}

bool digest_tree(const char *root, struct digest *digest, struct arena *arena,
                 struct digest_entry **entries, size_t *count, struct error *err)
{
    char **files;
    size_t found;
    if (!folder_walk_links(root, arena, &files, &found, err))
        return false;
    struct digest_entry *list = arena_array(arena, struct digest_entry, found);
    for (size_t i = 0; i < found; i++)
        list[i].path = files[i];
    if (!digest_files(root, list, found, err))
        return false;
    *digest = digest_of_entries(list, found);
    if (entries)
        *entries = list;
    if (count)
        *count = found;
    return true;
}
