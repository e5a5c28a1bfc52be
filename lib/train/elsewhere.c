/* See elsewhere.h. */
#include "train/elsewhere.h"

#include "base/file.h"
#include "data/dataset.h"

#include <string.h>

static bool copy_files(const char *store, const char *into, struct arena *arena, struct error *err)
{
    static const char *const names[] = { "images.npy", "masks.npy", "index.csv", "dataset.json" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *from = path_join(arena, store, names[i]);
        if (path_kind(from) == PATH_FILE && !file_copy(from, path_join(arena, into, names[i]), err))
            return false;
    }
    return true;
}

/* A set that may be taken: synthetic, and its files what it says. */
static bool check(const char *path, size_t *count, struct error *err)
{
    struct dataset dataset;
    if (!dataset_open(&dataset, path, err))
        return false;
    *count = dataset.count;
    bool ok = (dataset.role == ROLE_SYNTHETIC ||
               error_set(err,
                         "%s holds real images; a set made elsewhere is one of synthetic ones "
                         "(lethe ingest --role synthetic)",
                         path)) &&
              dataset_verify(&dataset, err);
    dataset_close(&dataset);
    return ok;
}

bool sample_elsewhere(const char *store, const char *out, bool replace, size_t *count,
                      struct error *err)
{
    struct folder_stage stage;
    struct arena arena;
    if (!check(store, count, err))
        return false;
    if (!folder_stage_open(&stage, out, err))
        return false;
    arena_init(&arena);
    /* what was copied is checked, not what was there before: it may have changed meanwhile */
    bool ok = copy_files(store, stage.partial, &arena, err) && check(stage.partial, count, err);
    arena_release(&arena);
    if (ok)
        return folder_stage_commit(&stage, replace, err);
    folder_stage_abandon(&stage);
    return false;
}
