/* Batches that were drawn already; see drawn.h. */
#include "train/drawn.h"

#include <inttypes.h>
#include <string.h>

enum { LARGEST_KEY = 65536 };

/* Whether the folder was begun for this key. */
static bool has_key(const char *path, const char *key)
{
    size_t size;
    char *found = path_kind(path) == PATH_FILE ? file_read(path, LARGEST_KEY, &size, NULL) : NULL;
    bool same = found && strcmp(found, key) == 0;
    memory_free(found);
    return same;
}

const char *drawn_folder(struct arena *arena, const char *out)
{
    size_t length = strlen(out);
    while (length > 1 && out[length - 1] == '/')
        length--;
    return arena_format(arena, "%.*s.drawn", (int)length, out);
}

bool drawn_open(struct drawn *drawn, const char *out, const char *key, size_t bytes,
                struct error *err)
{
    *drawn = (struct drawn){ .bytes = bytes };
    arena_init(&drawn->arena);
    drawn->folder = drawn_folder(&drawn->arena, out);
    const char *path = path_join(&drawn->arena, drawn->folder, "key");
    bool ok = has_key(path, key) ||
              (folder_remove(drawn->folder, err) && folder_create(drawn->folder, err) &&
               file_write(path, key, strlen(key), err));
    if (!ok)
        drawn_close(drawn);
    return ok;
}

void drawn_close(struct drawn *drawn)
{
    arena_release(&drawn->arena);
}

static const char *path_of(const struct drawn *drawn, uint64_t batch, struct arena *arena)
{
    return arena_format(arena, "%s/batch-%012" PRIu64, drawn->folder, batch);
}

bool drawn_read(const struct drawn *drawn, uint64_t batch, unsigned char *bytes)
{
    struct arena arena;
    size_t size = 0;
    arena_init(&arena);
    const char *path = path_of(drawn, batch, &arena);
    char *found = path_kind(path) == PATH_FILE ? file_read(path, drawn->bytes, &size, NULL) : NULL;
    bool whole = found && size == drawn->bytes;
    if (whole)
        memcpy(bytes, found, size);
    memory_free(found);
    arena_release(&arena);
    return whole;
}

bool drawn_write(const struct drawn *drawn, uint64_t batch, const unsigned char *bytes,
                 struct error *err)
{
    struct arena arena;
    arena_init(&arena);
    bool ok = file_write(path_of(drawn, batch, &arena), bytes, drawn->bytes, err);
    arena_release(&arena);
    return ok;
}

bool drawn_remove(struct drawn *drawn, struct error *err)
{
    return folder_remove(drawn->folder, err);
}
