/* One trial of the utility audit: its settings, its training, its scores, and the folder that keeps
 * them; see utility_grid.h. */
#include "audit/utility_grid.h"
#include "base/file.h"
#include "base/json.h"
#include "base/parallel.h"
#include "base/text.h"
#include "data/npy.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRIAL_SCHEMA "lethe/utility-trial/1"

/* ---- what it is ------------------------------------------------------------------------------ */

static const struct augment *const augmentations[AUGMENT_COUNT] = {
    [AUGMENT_USUAL] = &augment_usual,
};

size_t trial_sets(const struct grid *grid, const struct trial *trial, struct example_set sets[2])
{
    const struct source *source = trial->source;
    size_t count = 0;
    if (source->row_count)
        sets[count++] = (struct example_set){ &grid->real, source->rows, source->row_count };
    if (!source_is_alone(source->kind)) {
        const struct dataset *store = &grid->synthetic[source->store];
        sets[count++] = (struct example_set){ store, NULL, store->count };
    }
    return count;
}

static struct segment_settings trial_settings(const struct grid *grid, const struct trial *trial)
{
    struct segment_settings settings = grid->job->settings->training;
    settings.model = trial->model;
    settings.seed = trial->seed;
    if (trial->source->kind == SOURCE_UNTRAINED) { /* a step that moves no weight of 32 bits */
        settings.images = 1;
        settings.rate = 1e-30;
    }
    return settings;
}

static bool add_file(void *context, const char *name, const struct json *value)
{
    const char *hex = json_as_string(value);
    text_format(context, "%s %s\n", name, hex ? hex : "");
    return true;
}

static void add_store(const struct dataset *store, struct text *out)
{
    const struct json *files = json_get(store->description, "files", NULL);
    text_format(out, "store of %zu\n", store->count);
    if (files)
        json_each(files, add_file, out);
}

const char *trial_inputs(struct grid *grid, const struct trial *trial)
{
    struct segment_settings settings = trial_settings(grid, trial);
    struct text text = { 0 };
    char hex[DIGEST_HEX];
    settings.checkpoint = segment_defaults.checkpoint;
    settings.log = segment_defaults.log;
    text_format(&text, "version %s\ntrial %s\n", LETHE_VERSION, trial->name);
    add_store(&grid->real, &text);
    if (grid->held != &grid->real)
        add_store(grid->held, &text);
    if (!source_is_alone(trial->source->kind))
        add_store(&grid->synthetic[trial->source->store], &text);
    if (trial->source->kind == SOURCE_FRACTION)
        text_format(&text, "order %" PRId64 "\n", grid->job->settings->seed);
    yaml_describe(segment_fields, &settings, &text);
    struct digest digest = digest_of(text.bytes, text.length);
    text_release(&text);
    return arena_string(&grid->arena, digest_hex(&digest, hex));
}

/* ---- predicting and measuring ---------------------------------------------------------------- */

static bool predict_holdout(struct grid *grid, struct trial *trial, uint8_t *labels,
                            struct error *err)
{
    const struct dataset *store = grid->held;
    struct segmenter *segmenter = segmenter_open(trial->folder, store->height, store->width,
                                                 grid->job->settings->device, err);
    if (!segmenter)
        return false;
    size_t batch = segmenter_format(segmenter)->batch, pixels = store->height * store->width;
    float *planes =
        memory_allocate(batch * store->channels * pixels, sizeof *planes, "a batch of images", err);
    const size_t *rows = grid->patients[0].rows; /* of all patients, one after the other */
    bool ok = planes;
    for (size_t first = 0; ok && first < grid->holdout_images; first += batch) {
        size_t left = grid->holdout_images - first, count = left < batch ? left : batch;
        for (size_t i = 0; i < count; i++)
            example_planes(store, rows[first + i], planes + i * store->channels * pixels);
        ok = segmenter_predict(segmenter, planes, count, labels + first * pixels, err);
    }
    digest_hex(&segmenter_format(segmenter)->weights, trial->weights);
    snprintf(trial->device, sizeof trial->device, "%s", segmenter_format(segmenter)->device);
    memory_free(planes);
    segmenter_free(segmenter);
    return ok;
}

struct measuring {
    const struct grid *grid;
    struct trial *trial;
    const uint8_t *labels; /* of the holdout, slice by slice */
    struct error *errors;
    bool *failed;
};

/* The volumes of a patient, truth and prediction: slices at their places, nothing where a slice was
 * not kept. */
static bool measure_patient(const struct measuring *measuring, size_t i, struct error *err)
{
    const struct grid *grid = measuring->grid;
    const struct patient *patient = &grid->patients[i];
    const struct dataset *store = grid->held;
    size_t pixels = store->height * store->width;
    size_t before = (size_t)(patient->rows - grid->patients[0].rows);
    struct label_pair pair = { .shape = { store->width, store->height, (size_t)patient->depth } };
    memcpy(pair.spacing, patient->spacing, sizeof pair.spacing);
    uint8_t *truth = memory_allocate(pixels * (size_t)patient->depth, 2, "a patient's masks", err);
    if (!truth)
        return false;
    uint8_t *prediction = truth + pixels * (size_t)patient->depth;
    for (size_t k = 0; k < patient->slices; k++) {
        size_t z = (size_t)(store->index[patient->rows[k]].slice - patient->first);
        memcpy(truth + z * pixels, store->masks + patient->rows[k] * pixels, pixels);
        memcpy(prediction + z * pixels, measuring->labels + (before + k) * pixels, pixels);
    }
    pair.truth = truth;
    pair.prediction = prediction;
    bool ok = true;
    for (size_t c = 0; ok && c < grid->set_count; c++)
        ok = overlap_measure(&pair, &grid->sets[c],
                             &measuring->trial->rows[i * grid->set_count + c], err);
    memory_free(truth);
    return ok;
}

static void measure_item(void *context, size_t i)
{
    const struct measuring *measuring = context;
    measuring->failed[i] = !measure_patient(measuring, i, &measuring->errors[i]);
}

static bool measure_patients(struct grid *grid, struct trial *trial, const uint8_t *labels,
                             struct error *err)
{
    size_t count = grid->patient_count;
    struct measuring measuring = { grid, trial, labels, memory_grow(NULL, count, sizeof *err),
                                   memory_grow(NULL, count, sizeof(bool)) };
    bool ok = true;
    parallel_items(count, measure_item, &measuring);
    for (size_t i = 0; ok && i < count; i++)
        if (measuring.failed[i])
            ok = error_set(err, "%s: %s", grid->patients[i].subject, measuring.errors[i].message);
    free(measuring.errors);
    free(measuring.failed);
    return ok;
}

/* ---- a trial's folder ------------------------------------------------------------------------ */

enum { SCORE_COLUMNS = 3 + METRIC_COUNT }; /* voxels of truth, prediction, both; the metrics */

static bool save_trial(struct grid *grid, const struct trial *trial, struct error *err)
{
    struct npy_writer writer;
    size_t shape[2] = { grid->set_count, SCORE_COLUMNS };
    if (!npy_writer_open(&writer, path_join(&grid->arena, trial->folder, "scores.npy"),
                         ELEMENT_FLOAT64, 2, shape, err))
        return false;
    bool ok = true;
    double *row = memory_grow(NULL, grid->set_count * SCORE_COLUMNS, sizeof *row);
    for (size_t i = 0; ok && i < grid->patient_count; i++) {
        for (size_t c = 0; c < grid->set_count; c++) {
            const struct overlap *overlap = &trial->rows[i * grid->set_count + c];
            double *out = row + c * SCORE_COLUMNS;
            out[0] = (double)overlap->truth;
            out[1] = (double)overlap->prediction;
            out[2] = (double)overlap->common;
            memcpy(out + 3, overlap->value, sizeof overlap->value);
        }
        ok = npy_writer_append(&writer, row, 1, err);
    }
    free(row);
    if (!ok)
        npy_writer_abandon(&writer);
    if (!ok || !npy_writer_commit(&writer, err))
        return false;
    struct json *record = json_new_object();
    json_put_string(record, "schema", TRIAL_SCHEMA);
    json_put_string(record, "inputs", trial->inputs);
    json_put_string(record, "weights", trial->weights);
    json_put_string(record, "device", trial->device);
    ok = json_save(record, path_join(&grid->arena, trial->folder, "trial.json"), err);
    json_free(record);
    return ok;
}

/* Whether the folder holds this very trial, done; then its scores are read. */
static bool load_from(struct grid *grid, struct trial *trial, const char *folder)
{
    struct error ignored;
    struct npy scores;
    struct json *record =
        json_load_schema(path_join(&grid->arena, folder, "trial.json"), TRIAL_SCHEMA, &ignored);
    const char *of = record ? json_get_string(record, "inputs", &ignored) : NULL;
    const char *weights = record ? json_get_string(record, "weights", &ignored) : NULL;
    const char *device = record ? json_get_string(record, "device", &ignored) : NULL;
    bool ok = of && weights && strcmp(of, trial->inputs) == 0 &&
              npy_open(&scores, path_join(&grid->arena, folder, "scores.npy"), &ignored);
    if (ok && scores.type == ELEMENT_FLOAT64 &&
        scores.count == grid->patient_count * grid->set_count * SCORE_COLUMNS) {
        const double *from = (const double *)(const void *)scores.data;
        for (size_t i = 0; i < grid->patient_count * grid->set_count; i++, from += SCORE_COLUMNS) {
            struct overlap *overlap = &trial->rows[i];
            overlap->truth = (size_t)from[0];
            overlap->prediction = (size_t)from[1];
            overlap->common = (size_t)from[2];
            memcpy(overlap->value, from + 3, sizeof overlap->value);
        }
        snprintf(trial->weights, sizeof trial->weights, "%s", weights);
        snprintf(trial->device, sizeof trial->device, "%s", device ? device : "cpu");
        trial->done = true;
    }
    if (ok)
        npy_close(&scores);
    json_free(record);
    return trial->done;
}

bool trial_load(struct grid *grid, struct trial *trial)
{
    return load_from(grid, trial, trial->folder);
}

static const char *panel_path(struct grid *grid, const char *out, const struct trial *trial)
{
    return arena_format(&grid->arena, "%s/panels/%s.png", out, trial->name);
}

/* The lock is of the folder where it lies. */
static bool is_copied(const char *name)
{
    return strcmp(name, "lock") != 0 && strcmp(name, "trial.json") != 0;
}

/* A copy of the whole trial, trial.json last: what makes it count as done. */
static bool copy_trial(struct grid *grid, const struct trial *trial, const char *lender,
                       struct error *err)
{
    struct arena *arena = &grid->arena;
    const char *folder = trial->folder;
    const char *from = arena_format(arena, "%s/trials/%s", lender, trial->name),
               *panel = panel_path(grid, grid->job->out, trial);
    char **files;
    size_t count;
    bool ok = folder_walk(from, arena, &files, &count, err) &&
              folder_create(path_parent(arena, panel), err) &&
              file_copy(panel_path(grid, lender, trial), panel, err);
    for (size_t i = 0; ok && i < count; i++)
        if (is_copied(files[i]))
            ok = folder_create(path_parent(arena, path_join(arena, folder, files[i])), err) &&
                 file_copy(path_join(arena, from, files[i]), path_join(arena, folder, files[i]),
                           err);
    return ok && file_copy(path_join(arena, from, "trial.json"),
                           path_join(arena, folder, "trial.json"), err);
}

bool trial_borrow(struct grid *grid, struct trial *trial, struct error *err)
{
    const struct utility_job *job = grid->job;
    for (size_t i = 0; i < job->lender_count && !trial->done; i++) {
        const char *from = arena_format(&grid->arena, "%s/trials/%s", job->lenders[i], trial->name);
        if (load_from(grid, trial, from) && !copy_trial(grid, trial, job->lenders[i], err))
            return trial->done = false;
    }
    return true;
}

bool trial_train(struct grid *grid, const struct trial *trial, double limit, bool *stopped,
                 struct error *err)
{
    struct segment_settings settings = trial_settings(grid, trial);
    struct example_set sets[2];
    struct train_report report;
    struct segment_job job = { .out = trial->folder,
                               .sets = sets,
                               .set_count = trial_sets(grid, trial, sets),
                               .classes = &grid->classes,
                               .augment = augmentations[trial->augmentation],
                               .shuffled = trial->source->kind == SOURCE_SHUFFLED,
                               .settings = &settings,
                               .dataset = trial->inputs,
                               .device = grid->job->settings->device,
                               .time_limit = limit };
    if (!segment_train(&job, &report, err))
        return error_prefix(err, "%s", trial->name);
    *stopped = report.end != TRAIN_COMPLETE;
    return true;
}

bool trial_finish(struct grid *grid, struct trial *trial, struct error *err)
{
    size_t pixels = grid->real.height * grid->real.width;
    uint8_t *labels = memory_allocate(grid->holdout_images, pixels, "the predictions", err);
    const char *panel = panel_path(grid, grid->job->out, trial);
    bool ok = labels && predict_holdout(grid, trial, labels, err) &&
              measure_patients(grid, trial, labels, err) &&
              folder_create(path_parent(&grid->arena, panel), err) &&
              panel_write(grid, labels, (size_t)grid->job->settings->panels, panel, err) &&
              save_trial(grid, trial, err);
    memory_free(labels);
    trial->done = ok;
    return ok;
}
