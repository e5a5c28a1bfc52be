/* Batches that were drawn already; see drawn.h. */
#include "train/drawn.h"

#include "base/digest.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { LARGEST_KEY = 65536, REMOVALS = 20 };

const char *drawn_folder(struct arena *arena, const char *out)
{
    size_t length = strlen(out);
    while (length > 1 && out[length - 1] == '/')
        length--;
    return arena_format(arena, "%.*s.drawn", (int)length, out);
}

static void name_it(struct drawn *drawn, const char *out, const char *key, size_t bytes)
{
    struct digest digest = digest_of(key, strlen(key));
    char hex[DIGEST_HEX];
    *drawn = (struct drawn){ .bytes = bytes };
    arena_init(&drawn->arena);
    drawn->folder = drawn_folder(&drawn->arena, out);
    memcpy(drawn->key, digest_hex(&digest, hex), DRAWN_KEY);
}

/* The key that the folder was begun for, or NULL; free with memory_free. */
static char *key_of(const char *folder)
{
    struct arena arena;
    size_t size;
    arena_init(&arena);
    const char *path = path_join(&arena, folder, "key");
    char *found = path_kind(path) == PATH_FILE ? file_read(path, LARGEST_KEY, &size, NULL) : NULL;
    arena_release(&arena);
    return found;
}

static bool has_key(const struct drawn *drawn, const char *key)
{
    char *found = key_of(drawn->folder);
    bool same = found && strcmp(found, key) == 0;
    memory_free(found);
    return same;
}

/* Others may be adding a file just now. */
static bool remove_folder(const char *folder, struct error *err)
{
    for (int i = 1; i < REMOVALS; i++) {
        if (folder_remove(folder, err))
            return true;
        lock_pause();
    }
    return folder_remove(folder, err);
}

bool drawn_open(struct drawn *drawn, const char *out, const char *key, size_t bytes,
                struct error *err)
{
    name_it(drawn, out, key, bytes);
    bool ok = has_key(drawn, key) ||
              (remove_folder(drawn->folder, err) && folder_create(drawn->folder, err) &&
               file_write(path_join(&drawn->arena, drawn->folder, "key"), key, strlen(key), err));
    if (!ok)
        drawn_close(drawn);
    return ok;
}

bool drawn_join(struct drawn *drawn, const char *out, const char *key, size_t bytes)
{
    name_it(drawn, out, key, bytes);
    bool ok = has_key(drawn, key);
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
    return arena_format(arena, "%s/batch-%012" PRIu64 "-%s", drawn->folder, batch, drawn->key);
}

static const char *lock_of(const struct drawn *drawn, uint64_t batch, struct arena *arena)
{
    return arena_format(arena, "%s.taken", path_of(drawn, batch, arena));
}

bool drawn_has(const struct drawn *drawn, uint64_t batch)
{
    struct arena arena;
    arena_init(&arena);
    bool has = path_kind(path_of(drawn, batch, &arena)) == PATH_FILE;
    arena_release(&arena);
    return has;
}

static bool is_held(const struct drawn *drawn, uint64_t batch)
{
    struct arena arena;
    arena_init(&arena);
    bool held = lock_is_held(lock_of(drawn, batch, &arena));
    arena_release(&arena);
    return held;
}

bool drawn_lacks_some(const char *out, uint64_t first, uint64_t end)
{
    struct drawn drawn;
    struct arena arena;
    bool lacks = false;
    arena_init(&arena);
    char *key = key_of(drawn_folder(&arena, out));
    if (key && drawn_join(&drawn, out, key, 0)) {
        for (uint64_t batch = first; batch < end && !lacks; batch++)
            lacks = !drawn_has(&drawn, batch) && !is_held(&drawn, batch);
        drawn_close(&drawn);
    }
    memory_free(key);
    arena_release(&arena);
    return lacks;
}

enum lock_outcome drawn_take(const struct drawn *drawn, uint64_t batch, const char *command,
                             struct lock *lock, struct error *err)
{
    struct arena arena;
    arena_init(&arena);
    enum lock_outcome outcome = lock_take(lock, lock_of(drawn, batch, &arena), command, err);
    arena_release(&arena);
    return outcome;
}

const char *drawn_holder(const struct drawn *drawn, uint64_t batch, struct arena *arena)
{
    return lock_words(lock_of(drawn, batch, arena), arena);
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

bool drawn_is_wanted(const struct drawn *drawn)
{
    char *key = key_of(drawn->folder);
    struct digest digest = digest_of(key ? key : "", key ? strlen(key) : 0);
    char hex[DIGEST_HEX];
    bool wanted = key && strncmp(digest_hex(&digest, hex), drawn->key, DRAWN_KEY) == 0;
    memory_free(key);
    return wanted;
}

bool drawn_remove(struct drawn *drawn, struct error *err)
{
    return remove_folder(drawn->folder, err);
}
