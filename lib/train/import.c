/* Weights from elsewhere; see import.h. */
#include "train/import.h"

#include "data/safetensors.h"
#include "train/checkpoint.h"
#include "train/generator.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Where each model's network stands in a checkpoint. */
static const char *const prefixes[MODEL_COUNT] = {
    [MODEL_DDPM] = "model.",
    [MODEL_STYLEGAN2] = "G.",
};

struct import {
    const struct import_job *job;
    struct import_report *report;
    struct safetensors file;
    bool *used; /* by tensor of the file */
    struct generator *generator;
    struct store *store; /* what goes into the checkpoint */
    struct checkpoint_record record;
    struct text settings;
    struct arena arena;
};

/* ---- what is wrong --------------------------------------------------------------------------- */

static void shape_of_entry(const struct tensor_entry *entry, struct text *out)
{
    text_add(out, "(");
    for (int i = 0; i < entry->rank; i++)
        text_format(out, "%s%zu", i ? "," : "", entry->shape[i]);
    text_add(out, ")");
}

static bool same_shape(const struct tensor_entry *entry, const struct tensor *tensor)
{
    bool same = entry->rank == tensor->shape.rank;
    for (int i = 0; same && i < entry->rank; i++)
        same = entry->shape[i] == (size_t)tensor->shape.size[i];
    return same;
}

static void tell_shape(struct import *import, const struct tensor_entry *entry,
                       const struct tensor *tensor)
{
    char shape[SHAPE_TEXT];
    text_format(&import->report->differences, "%s: ", entry->name);
    shape_of_entry(entry, &import->report->differences);
    text_format(&import->report->differences, " in the file, %s asked for\n",
                shape_text(tensor->shape, shape));
}

/* ---- values ---------------------------------------------------------------------------------- */

/* NULL where the type is none that weights come in. */
static float *values_of(const struct tensor_entry *entry, size_t count)
{
    float *values = memory_grow(NULL, count, sizeof *values);
    const uint16_t *half = entry->data;
    if (entry->type == ELEMENT_FLOAT32) {
        memcpy(values, entry->data, count * sizeof *values);
        return values;
    }
    for (size_t i = 0; entry->type == ELEMENT_FLOAT16 && i < count; i++)
        values[i] = half_to_float(half[i]);
    if (entry->type == ELEMENT_FLOAT16)
        return values;
    free(values);
    return NULL;
}

/* The official filter is the outer product of [1,3,3,1]/8 with itself. */
static bool is_usual_filter(const struct tensor_entry *entry)
{
    static const float line[] = { 0.125f, 0.375f, 0.375f, 0.125f };
    if (entry->rank != 2 || entry->shape[0] != 4 || entry->shape[1] != 4)
        return false;
    float *values = values_of(entry, 16);
    bool usual = values;
    for (int i = 0; usual && i < 16; i++)
        usual = fabsf(values[i] - line[i / 4] * line[i % 4]) < 1e-6f;
    free(values);
    return usual;
}

/* ---- comparing ------------------------------------------------------------------------------- */

static const struct tensor_entry *find(struct import *import, const char *name)
{
    const struct tensor_entry *entry = safetensors_find(&import->file, name);
    if (entry)
        import->used[entry - import->file.tensors] = true;
    return entry;
}

/* A tensor that drawing asks for, into the store under its name in a checkpoint. */
static bool take(struct import *import, const struct tensor *tensor, struct error *err)
{
    size_t count = shape_count(tensor->shape);
    const char *name = tensor->name + strlen(prefixes[import->job->settings->model]);
    const struct tensor_entry *entry = find(import, name);
    if (!entry) {
        text_format(&import->report->differences, "%s: not in the file\n", name);
        return true;
    }
    if (!same_shape(entry, tensor)) {
        tell_shape(import, entry, tensor);
        return true;
    }
    float *values = values_of(entry, count);
    if (!values) {
        text_format(&import->report->differences, "%s: of type %s; float32 or float16 is taken\n",
                    name, element_info[entry->type].name);
        return true;
    }
    struct tensor *to = store_require(
        import->store, generator_name_in_training(import->generator, tensor->name, &import->arena),
        DTYPE_F32, tensor->shape, err);
    if (to)
        store_write(import->store, to, values);
    import->report->taken += to != NULL;
    free(values);
    return to;
}

/* What is left over in the file. */
static void check_rest(struct import *import)
{
    bool gan = import->job->settings->model == MODEL_STYLEGAN2;
    for (size_t i = 0; i < import->file.count; i++) {
        const struct tensor_entry *entry = &import->file.tensors[i];
        bool filter = gan && text_ends_with(entry->name, ".resample_filter");
        bool noise = gan && text_ends_with(entry->name, ".noise_const");
        if (import->used[i])
            continue;
        import->report->passed_over++;
        if (filter && !is_usual_filter(entry))
            text_format(&import->report->differences, "%s: not the filter [1,3,3,1]\n",
                        entry->name);
        else if (!filter && !noise)
            text_format(&import->report->differences,
                        "%s: in the file, not asked for by the settings\n", entry->name);
    }
}

static bool compare(struct import *import, struct error *err)
{
    const struct store *asked = generator_store(import->generator);
    for (size_t i = 0; i < store_count(asked); i++)
        if (!take(import, store_tensor(asked, i), err))
            return false;
    check_rest(import);
    if (!import->report->differences.length)
        return true;
    size_t lines = 0;
    for (const char *byte = import->report->differences.bytes; *byte; byte++)
        lines += *byte == '\n';
    return error_set(err, "%s: %zu differences from what the settings ask for",
                     import->job->weights, lines);
}

/* ---- the checkpoint -------------------------------------------------------------------------- */

static bool describe(struct import *import, struct error *err)
{
    const struct import_job *job = import->job;
    struct train_settings settings = *job->settings;
    const char *last = strrchr(job->channels, ',');
    size_t count = 1;
    for (const char *byte = job->channels; *byte; byte++)
        count += *byte == ',';
    if (!train_settings_resolve(&settings, job->size, err))
        return false;
    train_settings_text(&settings, false, &import->settings);
    import->record = (struct checkpoint_record){ .settings = import->settings.bytes,
                                                 .dataset = "imported",
                                                 .channels = job->channels,
                                                 .masks = strcmp(last ? last + 1 : "", "seg") == 0,
                                                 .channel_count = count,
                                                 .size = (size_t)job->size,
                                                 .validation = NAN };
    /* Truncation makes the graph ask for the average of w too. */
    struct draw_options options = { .truncation = 0.5, .device = "cpu" };
    import->generator = generator_beside(&settings, &import->record, &options, err);
    if (import->generator)
        import->store = store_new(store_backend(generator_store(import->generator)));
    return import->generator;
}

static bool write_checkpoint(struct import *import, struct error *err)
{
    const char *folder = path_join(&import->arena, import->job->out, "checkpoints");
    return folder_create(folder, err) &&
           checkpoint_save(folder, import->store, &import->record, 1, err);
}

bool import_weights(const struct import_job *job, struct import_report *report, struct error *err)
{
    struct import import = { .job = job, .report = report };
    if (path_kind(job->out) != PATH_NOTHING)
        return error_set(err, "%s: exists; name another folder", job->out);
    if (!safetensors_open(&import.file, job->weights, err))
        return false;
    arena_init(&import.arena);
    import.used = arena_array(&import.arena, bool, import.file.count);
    for (size_t i = 0; i < import.file.count; i++)
        import.used[i] = false;
    bool ok = describe(&import, err) && compare(&import, err) && write_checkpoint(&import, err);
    store_free(import.store);
    generator_free(import.generator);
    text_release(&import.settings);
    safetensors_close(&import.file);
    arena_release(&import.arena);
    return ok;
}

void import_report_release(struct import_report *report)
{
    text_release(&report->differences);
}
