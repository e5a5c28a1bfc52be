/* The lock of a run folder; see lock.h. */
#include "plan/lock.h"

#include "base/file.h"
#include "base/json.h"
#include "base/text.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

static const char lock_name[] = "lock";

static bool take(struct run_lock *lock, const char *path, const char *command, struct error *err)
{
    struct error why;
    enum lock_outcome outcome = lock_take(&lock->lock, path, command, &why);
    if (outcome == LOCK_HELD)
        return error_set(err,
                         "%s: another run works in this folder: %s; wait until it has ended, or "
                         "end it",
                         path, why.message);
    return outcome == LOCK_TAKEN || error_set(err, "%s", why.message);
}

bool run_lock_take(struct run_lock *lock, const char *folder, const char *command,
                   struct error *err)
{
    struct arena arena;
    lock->lock = (struct lock)LOCK_NONE;
    if (!folder_create(folder, err))
        return false;
    arena_init(&arena);
    bool ok = take(lock, path_join(&arena, folder, lock_name), command, err);
    arena_release(&arena);
    return ok;
}

void run_lock_release(struct run_lock *lock)
{
    lock_release(&lock->lock);
}

void run_lock_leave(struct run_lock *lock)
{
    lock_leave(&lock->lock);
}

bool run_lock_tell(struct run_lock *lock, const char *plan, const char *stage, const char *until,
                   struct error *err)
{
    const struct lock_word words[] = { { "plan", plan }, { "stage", stage }, { "until", until } };
    return lock_tell(&lock->lock, words, sizeof words / sizeof *words, err);
}

static const char *told(const struct lock_holder *holder, const char *key, struct arena *arena)
{
    const char *value = holder->record ? json_get_string(holder->record, key, NULL) : NULL;
    return value ? arena_string(arena, value) : NULL;
}

void run_lock_holder(const char *folder, struct run_holder *run, struct arena *arena)
{
    struct lock_holder holder;
    lock_holder(path_join(arena, folder, lock_name), &holder, arena);
    *run = (struct run_holder){
        .is_held = holder.is_held,
        .was_killed = !holder.is_held && holder.is_told,
        .process = holder.process,
        .host = holder.host,
        .since = holder.since,
        .command = holder.command,
        .version = holder.version,
        .plan = told(&holder, "plan", arena),
        .stage = told(&holder, "stage", arena),
        .until = told(&holder, "until", arena),
    };
    lock_holder_release(&holder);
}

/* ---- units of work --------------------------------------------------------------------------- */

static const char unit_ending[] = ".taken";
enum { UNITS_DEEP = 6 };

struct units {
    struct run_unit *items;
    size_t count, capacity;
    const char *folder;
    struct arena *arena;
};

/* "model" of "model/.taken", of ".model.taken" and of "model.taken". */
static const char *unit_path(const char *lock, struct arena *arena)
{
    const char *name = path_name(lock);
    size_t stem = strlen(name) - strlen(unit_ending);
    const char *bare = arena_substring(arena, name, stem);
    return stem ? path_join(arena, path_parent(arena, lock), bare + (*bare == '.'))
                : path_parent(arena, lock);
}

static void add_unit(struct units *units, const char *path)
{
    struct lock_holder holder;
    lock_holder(path_join(units->arena, units->folder, path), &holder, units->arena);
    lock_holder_release(&holder);
    if (!holder.is_held)
        return;
    if (units->count == units->capacity) {
        units->capacity = 2 * units->capacity + 16;
        units->items = memory_grow(units->items, units->capacity, sizeof *units->items);
    }
    units->items[units->count++] = (struct run_unit){ unit_path(path, units->arena), holder.process,
                                                      holder.host, holder.since, holder.command };
}

/* Names come and go meanwhile: what cannot be opened is not there any more. */
static void find_units(struct units *units, const char *path, int deep)
{
    DIR *folder = opendir(path_join(units->arena, units->folder, path));
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        const char *name = entry->d_name, *below = path_join(units->arena, path, name);
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            continue;
        if (text_ends_with(name, unit_ending))
            add_unit(units, below);
        else if (entry->d_type == DT_DIR && deep < UNITS_DEEP)
            find_units(units, below, deep + 1);
    }
    if (folder)
        closedir(folder);
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct run_unit *)a)->path, ((const struct run_unit *)b)->path);
}

size_t run_units(const char *folder, struct run_unit **found, struct arena *arena)
{
    struct units units = { .folder = folder, .arena = arena };
    find_units(&units, "", 0);
    *found = arena_array(arena, struct run_unit, units.count);
    if (units.count) {
        qsort(units.items, units.count, sizeof *units.items, by_path);
        memcpy(*found, units.items, units.count * sizeof *units.items);
    }
    memory_free(units.items);
    return units.count;
}
