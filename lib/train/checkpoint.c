/* Checkpoints; see checkpoint.h. */
#include "train/checkpoint.h"

#include "base/digest.h"
#include "base/text.h"
#include "data/safetensors.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char prefix[] = "step-", suffix[] = ".safetensors", best[] = "best.safetensors";
static const enum element_type elements[DTYPE_COUNT] = {
    [DTYPE_F32] = ELEMENT_FLOAT32,
    [DTYPE_BF16] = ELEMENT_BFLOAT16,
    [DTYPE_I32] = ELEMENT_INT32,
};

static void describe(const struct tensor *tensor, struct tensor_entry *entry)
{
    *entry = (struct tensor_entry){ .name = tensor->name,
                                    .type = elements[tensor->dtype],
                                    .rank = tensor->shape.rank };
    for (int i = 0; i < tensor->shape.rank; i++)
        entry->shape[i] = (size_t)tensor->shape.size[i];
    entry->bytes = shape_count(tensor->shape) * element_info[entry->type].bytes;
}

/* ---- writing --------------------------------------------------------------------------------- */

bool checkpoint_passes_over(const struct tensor *tensor)
{
    return text_starts_with(tensor->name, CHECKPOINT_PASSING);
}

static bool check_finite(const struct tensor_entry *entry, struct error *err)
{
    const float *value = entry->data;
    size_t count = entry->type == ELEMENT_FLOAT32 ? entry->bytes / sizeof *value : 0;
    for (size_t i = 0; i < count; i++)
        if (!isfinite(value[i]))
            return error_set(err, "%s holds %f: training has diverged", entry->name,
                             (double)value[i]);
    return true;
}

/* All tensors copied to the host, one after the other in `memory`, in the order of names' adding.
 */
static bool gather(const struct store *store, struct tensor_entry *entries, unsigned char *memory,
                   struct error *err)
{
    for (size_t i = 0; i < store_count(store); i++) {
        const struct tensor *tensor = store_tensor(store, i);
        if (checkpoint_passes_over(tensor))
            continue;
        CHECK(tensor->written, "%s has no value", tensor->name);
        store_read(store, tensor, memory);
        entries->data = memory;
        memory += entries->bytes;
        if (!store_check(store, err) || !check_finite(entries++, err))
            return false;
    }
    return true;
}

enum { METADATA = 10, METADATA_MORE = 4, NUMBER = 32, NUMBERS = 5 };

static void fill_metadata(const struct checkpoint_record *record,
                          struct metadata_entry entries[METADATA], char numbers[NUMBERS][NUMBER])
{
    uint64_t values[4] = { record->step, record->images, record->channel_count, record->size };
    for (int i = 0; i < 4; i++)
        snprintf(numbers[i], NUMBER, "%" PRIu64, values[i]);
    if (isfinite(record->validation))
        snprintf(numbers[4], NUMBER, "%.17g", record->validation);
    else
        snprintf(numbers[4], NUMBER, "none");
    const struct metadata_entry filled[METADATA] = {
        { "schema", CHECKPOINT_SCHEMA },  { "version", LETHE_VERSION },
        { "step", numbers[0] },           { "images", numbers[1] },
        { "channel_count", numbers[2] },  { "size", numbers[3] },
        { "channels", record->channels }, { "masks", record->masks ? "true" : "false" },
        { "dataset", record->dataset },   { "validation", numbers[4] },
    };
    memcpy(entries, filled, sizeof filled);
}

/* What not every checkpoint has; returns how many entries there are then. */
static size_t add_metadata(const struct checkpoint_record *record, char number[NUMBER],
                           struct metadata_entry entries[METADATA + METADATA_MORE])
{
    size_t count = METADATA;
    entries[count++] = (struct metadata_entry){ "settings", record->settings };
    if (record->losses)
        entries[count++] = (struct metadata_entry){ "losses", record->losses };
    if (!record->reference)
        return count;
    snprintf(number, NUMBER, "%" PRIu64, record->reference);
    entries[count++] = (struct metadata_entry){ "reference", number };
    entries[count++] = (struct metadata_entry){ "reference_half", record->half };
    return count;
}

static bool write_file(const char *path, const struct store *store,
                       const struct checkpoint_record *record, struct error *err)
{
    size_t count = 0, bytes = 0;
    struct tensor_entry *entries = memory_grow(NULL, store_count(store), sizeof *entries);
    struct metadata_entry metadata[METADATA + METADATA_MORE];
    char numbers[NUMBERS][NUMBER], reference[NUMBER];
    for (size_t i = 0; i < store_count(store); i++) {
        if (checkpoint_passes_over(store_tensor(store, i)))
            continue;
        describe(store_tensor(store, i), &entries[count]);
        bytes += entries[count++].bytes;
    }
    fill_metadata(record, metadata, numbers);
    size_t told = add_metadata(record, reference, metadata);
    unsigned char *memory = memory_allocate(bytes, 1, "a checkpoint", err);
    bool ok = memory && gather(store, entries, memory, err) &&
              safetensors_write(path, entries, count, metadata, told, err);
    memory_free(memory);
    free(entries);
    return ok;
}

/* Checkpoints of a folder by name, which is by step. */
static bool list(const char *folder, struct arena *arena, char ***names, size_t *count,
                 struct error *err)
{
    char **files;
    size_t all;
    *count = 0;
    if (!folder_walk(folder, arena, &files, &all, err))
        return false;
    *names = arena_array(arena, char *, all + 1);
    for (size_t i = 0; i < all; i++)
        if (text_starts_with(files[i], prefix) && text_ends_with(files[i], suffix))
            (*names)[(*count)++] = files[i];
    return true;
}

static const char *name_of_step(uint64_t step, struct arena *arena)
{
    return arena_format(arena, "%s%012" PRIu64 "%s", prefix, step, suffix);
}

static bool is_kept(const struct checkpoint_record *record, const char *name, struct arena *arena)
{
    for (size_t i = 0; i < record->kept_count; i++)
        if (strcmp(name, name_of_step(record->kept[i], arena)) == 0)
            return true;
    return false;
}

static bool remove_old(const char *folder, const struct checkpoint_record *record, int64_t keep,
                       struct arena *arena, struct error *err)
{
    char **names;
    size_t count;
    if (!list(folder, arena, &names, &count, err))
        return false;
    for (size_t i = 0; i + (size_t)keep < count; i++) {
        if (is_kept(record, names[i], arena))
            continue;
        const char *path = path_join(arena, folder, names[i]);
        if (unlink(path) != 0)
            return error_set_errno(err, "%s: an old checkpoint cannot be removed", path);
    }
    return true;
}

void checkpoint_channels(const char *const *names, size_t count, struct text *out)
{
    for (size_t c = 0; c < count; c++)
        text_format(out, "%s%s", c ? "," : "", names[c]);
}

const char **checkpoint_channel_names(const struct checkpoint_record *record, struct arena *arena)
{
    const char **names = arena_array(arena, const char *, record->channel_count);
    const char *at = record->channels;
    for (size_t c = 0; c < record->channel_count; c++) {
        size_t length = strcspn(at, ",");
        names[c] = arena_substring(arena, at, length);
        at += length + (at[length] == ',');
    }
    return names;
}

bool checkpoint_save(const char *folder, const struct store *store,
                     const struct checkpoint_record *record, int64_t keep, struct error *err)
{
    struct arena arena;
    arena_init(&arena);
    const char *name = name_of_step(record->step, &arena);
    bool ok = write_file(path_join(&arena, folder, name), store, record, err) &&
              remove_old(folder, record, keep, &arena, err);
    arena_release(&arena);
    return ok;
}

/* ---- reading --------------------------------------------------------------------------------- */

bool checkpoint_latest(const char *folder, struct arena *arena, const char **path,
                       struct error *err)
{
    char **names;
    size_t count;
    *path = NULL;
    if (path_kind(folder) == PATH_NOTHING)
        return true;
    if (!list(folder, arena, &names, &count, err))
        return false;
    if (count)
        *path = path_join(arena, folder, names[count - 1]);
    return true;
}

static const char *read_text(const struct safetensors *file, const char *key, struct arena *arena,
                             struct error *err)
{
    const char *found = safetensors_metadata(file, key);
    if (found)
        return arena_string(arena, found);
    error_set(err, "no \"%s\" in its metadata: not a checkpoint of lethe", key);
    return NULL;
}

static bool read_number(const struct safetensors *file, const char *key, uint64_t *value,
                        struct arena *arena, struct error *err)
{
    const char *text = read_text(file, key, arena, err);
    int64_t number;
    if (!text)
        return false;
    if (!text_to_integer(text, &number) || number < 0)
        return error_set(err, "its metadata say %s \"%s\"; a whole number was expected", key, text);
    *value = (uint64_t)number;
    return true;
}

/* Few checkpoints are references. */
static bool read_reference(const struct safetensors *file, struct checkpoint_record *record,
                           struct arena *arena, struct error *err)
{
    record->reference = 0;
    record->half = NULL;
    if (!safetensors_metadata(file, "reference"))
        return true;
    record->half = read_text(file, "reference_half", arena, err);
    return record->half && read_number(file, "reference", &record->reference, arena, err);
}

static bool read_record(const struct safetensors *file, struct checkpoint_record *record,
                        struct arena *arena, struct error *err)
{
    uint64_t channels = 0, size = 0;
    const char *schema = read_text(file, "schema", arena, err);
    if (!schema)
        return false;
    if (strcmp(schema, CHECKPOINT_SCHEMA) != 0)
        return error_set(err, "of schema %s; this version reads %s", schema, CHECKPOINT_SCHEMA);
    const char *masks = read_text(file, "masks", arena, err);
    record->settings = read_text(file, "settings", arena, err);
    record->dataset = read_text(file, "dataset", arena, err);
    record->channels = read_text(file, "channels", arena, err);
    if (!masks || !record->settings || !record->dataset || !record->channels ||
        !read_number(file, "step", &record->step, arena, err) ||
        !read_number(file, "images", &record->images, arena, err) ||
        !read_number(file, "channel_count", &channels, arena, err) ||
        !read_number(file, "size", &size, arena, err))
        return false;
    size_t names = 1;
    for (const char *byte = record->channels; *byte; byte++)
        names += *byte == ',';
    if (names != channels || size < 1 || size > 65536)
        return error_set(err, "its metadata name %zu channels of %zu, size %zu", names,
                         (size_t)channels, (size_t)size);
    record->channel_count = (size_t)channels;
    record->size = (size_t)size;
    record->masks = strcmp(masks, "true") == 0;
    const char *validation = safetensors_metadata(file, "validation"); /* absent before 0.2 */
    if (!validation || !text_to_real(validation, &record->validation))
        record->validation = NAN;
    const char *losses = safetensors_metadata(file, "losses"); /* of few checkpoints */
    record->losses = losses ? arena_string(arena, losses) : NULL;
    return read_reference(file, record, arena, err);
}

bool checkpoint_read(const char *path, struct checkpoint_record *record, struct arena *arena,
                     struct error *err)
{
    struct safetensors file;
    if (!safetensors_open(&file, path, err))
        return false;
    bool ok = read_record(&file, record, arena, err) || error_prefix(err, "%s", path);
    safetensors_close(&file);
    return ok;
}

bool checkpoint_after(const char *folder, uint64_t step, struct arena *arena, const char **path,
                      struct error *err)
{
    struct checkpoint_record latest;
    const char *last;
    if (!checkpoint_latest(folder, arena, &last, err))
        return false;
    if (!last)
        return error_set(err, "%s: there is no checkpoint", folder);
    if (!checkpoint_read(last, &latest, arena, err))
        return false;
    if (step > latest.step)
        return error_set(err,
                         "%s: it was trained on %" PRIu64 " images so far, in %" PRIu64
                         " steps, not in %" PRIu64,
                         folder, latest.images, latest.step, step);
    *path = path_join(arena, folder, name_of_step(step, arena));
    return path_kind(*path) == PATH_FILE ||
           error_set(err,
                     "%s: it is gone, for it was not to be kept when training came by; to have it "
                     "made again, move the folder of training away",
                     *path);
}

/* ---- the best one ---------------------------------------------------------------------------- */

const char *checkpoint_best(const char *folder, struct arena *arena)
{
    const char *path = path_join(arena, folder, best);
    return path_kind(path) == PATH_FILE ? path : NULL;
}

/* A second name for the same file, exchanged atomically; a copy where there are no hard links. */
static bool name_best(const char *folder, const char *path, struct arena *arena, struct error *err)
{
    const char *to = path_join(arena, folder, best), *beside = path_join(arena, folder, ".best");
    unlink(beside);
    if (link(path, beside) == 0)
        return rename(beside, to) == 0 || error_set_errno(err, "%s: cannot be written", to);
    return file_copy(path, to, err);
}

bool checkpoint_update_best(const char *folder, struct error *err)
{
    struct arena arena;
    struct checkpoint_record now, before = { .validation = NAN };
    const char *path;
    arena_init(&arena);
    bool ok = checkpoint_latest(folder, &arena, &path, err) &&
              (!path || checkpoint_read(path, &now, &arena, err));
    const char *so_far = ok && path ? checkpoint_best(folder, &arena) : NULL;
    ok = ok && (!so_far || checkpoint_read(so_far, &before, &arena, err));
    if (ok && path && isfinite(now.validation) && !(before.validation <= now.validation))
        ok = name_best(folder, path, &arena, err);
    arena_release(&arena);
    return ok;
}

/* ---- loading --------------------------------------------------------------------------------- */

static void clear(struct store *store, struct tensor *tensor)
{
    float *zeros = memory_grow(NULL, shape_count(tensor->shape), sizeof *zeros);
    for (size_t i = 0; i < shape_count(tensor->shape); i++)
        zeros[i] = 0;
    store_write(store, tensor, zeros);
    free(zeros);
}

static bool load_tensor(const struct safetensors *file, struct store *store, struct tensor *tensor,
                        const char *name, struct digest_state *digest, struct error *err)
{
    const struct tensor_entry *entry = safetensors_find(file, name);
    struct tensor_entry expected;
    char shape[SHAPE_TEXT];
    describe(tensor, &expected);
    if (!entry)
        return error_set(err, "no tensor \"%s\"", name);
    if (entry->type != expected.type || entry->rank != expected.rank ||
        (entry->rank &&
         memcmp(entry->shape, expected.shape, (size_t)entry->rank * sizeof *entry->shape) != 0))
        return error_set(err,
                         "the tensor \"%s\" is of another type or shape than %s %s, which the "
                         "settings ask for",
                         name, element_info[expected.type].name, shape_text(tensor->shape, shape));
    store_write(store, tensor, entry->data);
    if (digest) {
        digest_add(digest, name, strlen(name) + 1);
        digest_add(digest, entry->data, entry->bytes);
    }
    return true;
}

bool checkpoint_load(const char *path, struct store *store, struct error *err)
{
    struct safetensors file;
    if (!safetensors_open(&file, path, err))
        return false;
    bool ok = true;
    for (size_t i = 0; ok && i < store_count(store); i++) {
        struct tensor *tensor = store_tensor(store, i);
        if (checkpoint_passes_over(tensor))
            clear(store, tensor);
        else
            ok = load_tensor(&file, store, tensor, tensor->name, NULL, err);
    }
    for (size_t i = 0; ok && i < file.count; i++)
        if (!store_find(store, file.tensors[i].name))
            ok = error_set(err, "the tensor \"%s\" is none that the settings ask for",
                           file.tensors[i].name);
    safetensors_close(&file);
    return ok || error_prefix(err, "%s", path);
}

bool checkpoint_load_some(const char *path, struct store *store,
                          const char *(*name_of)(const void *, const char *, struct arena *),
                          const void *context, struct digest *digest, struct error *err)
{
    struct safetensors file;
    struct arena arena;
    if (!safetensors_open(&file, path, err))
        return false;
    arena_init(&arena);
    struct digest_state *state = digest_begin();
    bool ok = true;
    for (size_t i = 0; ok && i < store_count(store); i++) {
        struct tensor *tensor = store_tensor(store, i);
        const char *name = name_of(context, tensor->name, &arena);
        ok = load_tensor(&file, store, tensor, name, state, err);
    }
    *digest = digest_end(state);
    safetensors_close(&file);
    arena_release(&arena);
    return ok || error_prefix(err, "%s", path);
}
