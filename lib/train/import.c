/* Weights from elsewhere; see import.h. */
#include "train/import.h"

#include "models/stylegan3.h"
#include "train/checkpoint.h"
#include "train/foreign.h"
#include "train/generator.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where each model's network stands in a checkpoint. */
static const char *const prefixes[MODEL_COUNT] = {
    [MODEL_DDPM] = "model.", [MODEL_STYLEGAN] = "G.",  [MODEL_STYLEGAN2] = "G.",
    [MODEL_PROGAN] = "G.",   [MODEL_STYLEGAN3] = "G.",
};

struct import {
    const struct import_job *job;
    struct import_report *report;
    struct foreign foreign;
    struct generator *generator;
    struct store *store; /* what goes into the checkpoint */
    struct checkpoint_record record;
    struct text settings;
    struct arena arena;
};

/* ---- comparing ------------------------------------------------------------------------------- */

/* Whether a tensor holds these values, whatever the lengths of its axes. */
static bool holds(const struct tensor_entry *entry, const float *expected, size_t count)
{
    size_t own = 1;
    for (int axis = 0; axis < entry->rank; axis++)
        own *= entry->shape[axis];
    float *values = own == count ? foreign_values(entry) : NULL;
    bool equal = values;
    for (size_t i = 0; equal && i < count; i++)
        equal = fabsf(values[i] - expected[i]) < 1e-6f;
    free(values);
    return equal;
}

/* The official filter is the outer product of [1,3,3,1]/8 with itself. */
static bool is_usual_filter(const struct tensor_entry *entry)
{
    static const float line[] = { 0.125f, 0.375f, 0.375f, 0.125f };
    float filter[16];
    for (int i = 0; i < 16; i++)
        filter[i] = line[i / 4] * line[i % 4];
    return holds(entry, filter, 16);
}

/* What is left over in a file, and of no use here. */
static bool is_buffer_of_stylegan2(const struct tensor_entry *entry, const void *context,
                                   struct text *differences)
{
    (void)context;
    bool filter = text_ends_with(entry->name, ".resample_filter");
    if (filter && !is_usual_filter(entry))
        text_format(differences, "%s: not the filter [1,3,3,1]\n", entry->name);
    return filter || text_ends_with(entry->name, ".noise_const");
}

/* The official networks keep the layers that made images while they grew. */
static bool is_of_smaller_sides(const struct tensor_entry *entry, const void *context,
                                struct text *differences)
{
    (void)context, (void)differences;
    return strcmp(entry->name, "lod") == 0 || (text_starts_with(entry->name, "ToRGB_lod") &&
                                               !text_starts_with(entry->name, "ToRGB_lod0."));
}

/* Nor is constant noise of use, since fresh noise is drawn for each image. */
static bool is_buffer_of_stylegan(const struct tensor_entry *entry, const void *context,
                                  struct text *differences)
{
    static const char scope[] = "G_synthesis.";
    struct tensor_entry within = *entry;
    within.name += text_starts_with(entry->name, scope) ? strlen(scope) : 0;
    return text_starts_with(within.name, "noise") ||
           is_of_smaller_sides(&within, context, differences);
}

/* "synthesis.L3_52_512.up_filter", or down_filter: whether it is that of our layer 3. */
static bool is_filter_of_stylegan3(const struct tensor_entry *entry,
                                   const struct train_settings *settings, int size)
{
    struct stylegan3 config = { .rotation = settings->stylegan3.config == STYLEGAN3_R,
                                .resolution = size,
                                .layers = (int)settings->stylegan3.layers };
    struct stylegan3_layer layer[STYLEGAN3_LAYERS];
    float taps[STYLEGAN3_FILTER];
    int number, count = stylegan3_layers(&config, layer);
    if (sscanf(entry->name, "synthesis.L%d_", &number) != 1 || number < 0 || number + 1 >= count)
        return false;
    const struct stylegan3_layer *own = &layer[number];
    bool up = text_ends_with(entry->name, ".up_filter"), radial = !up && own->radial;
    size_t length = (size_t)(up ? own->up_taps : own->down_taps);
    (up ? stylegan3_up_filter : stylegan3_down_filter)(own, taps);
    return holds(entry, taps, radial ? length * length : length);
}

static bool is_buffer_of_stylegan3(const struct tensor_entry *entry, const void *context,
                                   struct text *differences)
{
    static const float identity[] = { 1, 0, 0, 0, 1, 0, 0, 0, 1 };
    const struct import_job *job = context;
    bool filter =
        text_ends_with(entry->name, ".up_filter") || text_ends_with(entry->name, ".down_filter");
    bool transform = strcmp(entry->name, "synthesis.input.transform") == 0;
    if (filter && !is_filter_of_stylegan3(entry, job->settings, job->size))
        text_format(differences, "%s: not the filter that follows from the settings\n",
                    entry->name);
    if (transform && !holds(entry, identity, 9))
        text_format(differences, "%s: not the identity\n", entry->name);
    return filter || transform;
}

static bool is_nothing(const struct tensor_entry *entry, const void *context,
                       struct text *differences)
{
    (void)entry, (void)context, (void)differences;
    return false;
}

static foreign_known *const known[MODEL_COUNT] = {
    [MODEL_DDPM] = is_nothing,
    [MODEL_STYLEGAN] = is_buffer_of_stylegan,
    [MODEL_STYLEGAN2] = is_buffer_of_stylegan2,
    [MODEL_PROGAN] = is_of_smaller_sides,
    [MODEL_STYLEGAN3] = is_buffer_of_stylegan3,
};

/* A tensor that drawing asks for, into the store under its name in a checkpoint. */
static bool take(struct import *import, const struct tensor *tensor, struct error *err)
{
    const char *name = tensor->name + strlen(prefixes[import->job->settings->model]);
    float *values = foreign_take(&import->foreign, name, tensor->shape);
    if (!values)
        return true;
    struct tensor *to = store_require(
        import->store, generator_name_in_training(import->generator, tensor->name, &import->arena),
        DTYPE_F32, tensor->shape, err);
    if (to)
        store_write(import->store, to, values);
    free(values);
    return to;
}

static bool compare(struct import *import, struct error *err)
{
    const struct store *asked = generator_store(import->generator);
    for (size_t i = 0; i < store_count(asked); i++)
        if (!take(import, store_tensor(asked, i), err))
            return false;
    foreign_check_rest(&import->foreign, known[import->job->settings->model], import->job);
    import->report->taken = import->foreign.taken;
    import->report->passed_over = import->foreign.passed_over;
    return foreign_agrees(&import->foreign, err);
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
                                                 .dataset = CHECKPOINT_IMPORTED,
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
    if (!foreign_open(&import.foreign, job->weights, &report->differences, err))
        return false;
    arena_init(&import.arena);
    bool ok = describe(&import, err) && compare(&import, err) && write_checkpoint(&import, err);
    store_free(import.store);
    generator_free(import.generator);
    text_release(&import.settings);
    foreign_close(&import.foreign);
    arena_release(&import.arena);
    return ok;
}

void import_report_release(struct import_report *report)
{
    text_release(&report->differences);
}
