/* Which files of added documents are packed; see included.h. */
#include "release/included.h"

#include "base/file.h"
#include "release/manifest.h"

#include <stdlib.h>
#include <string.h>

static bool is_hidden(const char *path)
{
    return path[0] == '.' || strstr(path, "/.");
}

/* What is at the path instead of a file. */
static const char *kind_words(const char *path, struct arena *arena)
{
    const char *const words[] = { [PATH_NOTHING] = dead_link_words(path, arena),
                                  [PATH_FILE] = "a file that was not there before",
                                  [PATH_FOLDER] = "a link to a folder, which is not followed",
                                  [PATH_OTHER] = "no file (a pipe, socket or device)" };
    return words[path_kind(path)];
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool find_in_folder(const char *path, struct included *included, struct arena *arena,
                           struct error *err)
{
    char **all;
    size_t count;
    if (!folder_walk(path, arena, &included->files, &included->count, err) ||
        !folder_walk_everything(path, arena, &all, &count, err))
        return false;
    included->hidden = arena_array(arena, char *, count);
    for (size_t i = 0; i < count; i++) {
        if (is_hidden(all[i]))
            included->hidden[included->hidden_count++] = all[i];
        else if (!bsearch(&all[i], included->files, included->count, sizeof *all, by_name))
            return error_set(err,
                             "%s/%s: %s, so it cannot be included; put a copy there of what is "
                             "meant, or take it out",
                             path, all[i], kind_words(path_join(arena, path, all[i]), arena));
    }
    return included->count ||
           error_set(err, "%s: an empty folder; there is nothing to include", path);
}

/* Recipients unpack on any system: names that some of them do not take are refused. */
static bool has_portable_names(const char *path, const struct included *included,
                               struct arena *arena, struct error *err)
{
    const char *name = path_join(arena, INCLUDED_FOLDER, included->name);
    bool ok = included->count || manifest_path_is_portable(name, err);
    for (size_t i = 0; ok && i < included->count; i++)
        ok = manifest_path_is_portable(path_join(arena, name, included->files[i]), err);
    return ok || error_set(err, "%s: %s; rename it", path, err->message);
}

bool included_find(const char *path, struct included *included, struct arena *arena,
                   struct error *err)
{
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/')
        length--;
    path = arena_substring(arena, path, length);
    *included = (struct included){ .name = path_name(path) };
    enum path_kind kind = path_kind(path);
    if (kind == PATH_FOLDER && !find_in_folder(path, included, arena, err))
        return false;
    if (kind == PATH_FOLDER || kind == PATH_FILE)
        return has_portable_names(path, included, arena, err);
    return error_set(err, "%s: %s; expected a document or a folder of them", path,
                     kind == PATH_NOTHING ? "not there" : "no file");
}
