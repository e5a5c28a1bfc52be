/* The utility audit: the grid of trials, made, run and read back; see utility.h. */
#include "audit/utility.h"

#include "audit/utility_grid.h"
#include "base/file.h"
#include "base/json.h"
#include "base/parallel.h"
#include "base/progress.h"
#include "base/random.h"
#include "base/text.h"
#include "data/npy.h"
#include "tensor/device.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRIAL_SCHEMA "lethe/utility-trial/1"

/* ---- settings -------------------------------------------------------------------------------- */

#define LIST(...)                                                                                  \
    {                                                                                              \
        (const char *[]){ __VA_ARGS__ }, sizeof((const char *[]){ __VA_ARGS__ }) / sizeof(char *)  \
    }

const struct utility_settings utility_defaults = {
    .models = LIST("unet"),
    .sources = LIST("real", "synthetic", "both"),
    .augmentation = LIST("none"),
    .device = "auto",
    .seed = -1,
    .bootstrap = 10000,
    .panels = 8,
    .training = { .checkpoint = 500, .log = 10 },
};

#define FIELD(...) YAML_FIELD(struct utility_settings, __VA_ARGS__)

const struct yaml_field utility_fields[] = {
    FIELD(models, YAML_STRINGS, .metavar = "MODEL",
          .help = "networks to train: unet, swin (default unet)"),
    FIELD(sources, YAML_STRINGS, .metavar = "SOURCE",
          .help =
              "real, synthetic, both, shuffled, untrained, or 0.25: of the real with synthetic"),
    FIELD(augmentation, YAML_STRINGS, .metavar = "none|usual",
          .help = "of training images (default none)"),
    FIELD(device, YAML_STRING, .metavar = "DEVICE",
          .help = "cpu, cuda, cuda:N or auto: a GPU where there is one (default auto)"),
    FIELD(seeds, YAML_INTEGER, .minimum = 0, .maximum = 1000, .metavar = "N",
          .help = "trainings of each kind; 0: 3"),
    FIELD(seed, YAML_INTEGER, .minimum = 0, .maximum = 0x1p52, .metavar = "N",
          .help = "the first of them (default: the plan's, else 1)"),
    FIELD(bootstrap, YAML_INTEGER, .minimum = 100, .maximum = 1e7, .metavar = "N",
          .help = "resamplings of subjects for intervals (default 10000)"),
    FIELD(panels, YAML_INTEGER, .minimum = 1, .maximum = 200, .metavar = "N",
          .help = "slices on each panel (default 8)"),
    FIELD(time_limit, YAML_REAL, .minimum = 0, .maximum = 1e7, .metavar = "MINUTES",
          .help = "stop, to go on later, after this time; 0: no limit"),
    FIELD(training, YAML_SECTION, .section = segment_fields, .help = "of each network"),
    { 0 },
};

const char *const augmentation_names[AUGMENT_COUNT + 1] = {
    [AUGMENT_NONE] = "none",
    [AUGMENT_USUAL] = "usual",
};
static const struct augment *const augmentations[AUGMENT_COUNT] = {
    [AUGMENT_USUAL] = &augment_usual,
};

/* The place of a word in a list of names, or -1. */
static int place_of(const char *word, const char *const *names)
{
    for (int i = 0; names[i]; i++)
        if (strcmp(word, names[i]) == 0)
            return i;
    return -1;
}

static const char *const source_words[SOURCE_FRACTION + 1] = {
    [SOURCE_REAL] = "real",         [SOURCE_SYNTHETIC] = "synthetic", [SOURCE_BOTH] = "both",
    [SOURCE_SHUFFLED] = "shuffled", [SOURCE_UNTRAINED] = "untrained",
};

/* Whether a source needs no synthetic store. */
static bool is_alone(enum source_kind kind)
{
    return kind == SOURCE_REAL || kind == SOURCE_SHUFFLED || kind == SOURCE_UNTRAINED;
}

static bool is_fraction(const char *word, double *value)
{
    return text_to_real(word, value) && *value > 0 && *value < 1;
}

static bool refuse_word(const char *word, const char *key, const char *const *names, bool fractions,
                        struct error *err)
{
    struct text all = { 0 };
    for (int i = 0; names[i]; i++)
        text_format(&all, "%s%s", i ? ", " : "", names[i]);
    error_set(err, "%s: \"%s\" is none of these: %s%s", key, word, all.bytes,
              fractions ? ", a number between 0 and 1" : "");
    text_release(&all);
    return false;
}

/* Whether two words mean the same source: 0.5 is 0.50. */
static bool is_same(const char *a, const char *b, bool fractions)
{
    double x, y;
    return strcmp(a, b) == 0 || (fractions && is_fraction(a, &x) && is_fraction(b, &y) && x == y);
}

static bool check_words(const struct yaml_strings *list, const char *key, const char *const *names,
                        bool fractions, struct error *err)
{
    double fraction;
    if (!list->count)
        return error_set(err, "%s: nothing is listed", key);
    for (size_t i = 0; i < list->count; i++) {
        if (place_of(list->items[i], names) < 0 &&
            !(fractions && is_fraction(list->items[i], &fraction)))
            return refuse_word(list->items[i], key, names, fractions, err);
        for (size_t k = 0; k < i; k++)
            if (is_same(list->items[i], list->items[k], fractions))
                return error_set(err, "%s: \"%s\" stands there twice", key, list->items[i]);
    }
    return true;
}

bool utility_settings_check(const struct utility_settings *settings, struct error *err)
{
    return check_words(&settings->models, "models", segment_model_names, false, err) &&
           check_words(&settings->sources, "sources", source_words, true, err) &&
           check_words(&settings->augmentation, "augmentation", augmentation_names, false, err);
}

/* ---- sources --------------------------------------------------------------------------------- */

/* The rows of the first ⌈share · n⌉ training subjects in an order drawn for the first seed: shares
 * are nested. */
static void choose_subjects(struct grid *grid, struct source *source)
{
    const struct dataset *store = &grid->real;
    size_t n = grid->train_subjects, subject = 0,
           wanted = (size_t)ceil(source->fraction * (double)n - 1e-9); /* .07 of 100 are 7 */
    size_t *place = memory_grow(NULL, n, sizeof *place),
           *order = memory_grow(NULL, n, sizeof *order);
    random_permutation((uint64_t)grid->job->settings->seed, random_stream("utility.subjects"), n,
                       order);
    for (size_t i = 0; i < n; i++)
        place[order[i]] = i;
    source->rows = arena_array(&grid->arena, size_t, grid->train_count);
    source->row_count = 0;
    for (size_t i = 0; i < grid->train_count; i++) {
        size_t row = grid->train_rows[i];
        subject += i && strcmp(store->index[row].subject,
                               store->index[grid->train_rows[i - 1]].subject) != 0;
        if (place[subject] < wanted)
            source->rows[source->row_count++] = row;
    }
    free(place);
    free(order);
}

static void add_source(struct grid *grid, enum source_kind kind, size_t store, double fraction)
{
    const char *name = grid->job->synthetic[store].name;
    const char *synthetic =
        arena_format(&grid->arena, "synthetic%s%s", name && *name ? "-" : "", name ? name : "");
    struct source source = { .kind = kind, .store = store, .fraction = fraction };
    source.rows = grid->train_rows;
    source.row_count = kind == SOURCE_SYNTHETIC ? 0 : grid->train_count;
    if (is_alone(kind))
        source.name = source_words[kind];
    else if (kind == SOURCE_SYNTHETIC)
        source.name = synthetic;
    else if (kind == SOURCE_BOTH)
        source.name = arena_format(&grid->arena, "%s+real", synthetic);
    else {
        source.name = arena_format(&grid->arena, "%s+%greal", synthetic, fraction);
        choose_subjects(grid, &source);
    }
    grid->sources[grid->source_count++] = source;
}

static bool make_sources(struct grid *grid, struct error *err)
{
    const struct yaml_strings *list = &grid->job->settings->sources;
    size_t stores = grid->job->synthetic_count;
    grid->sources = arena_array(&grid->arena, struct source, list->count * (stores + 1));
    for (size_t i = 0; i < list->count; i++) {
        double fraction = 0;
        int word = place_of(list->items[i], source_words);
        enum source_kind kind = word >= 0 ? (enum source_kind)word : SOURCE_FRACTION;
        bool alone = is_alone(kind);
        CHECK(word >= 0 || is_fraction(list->items[i], &fraction), "a list not checked");
        if (!alone && !stores)
            return error_set(err, "the source \"%s\" needs a synthetic store, none was given",
                             list->items[i]);
        for (size_t store = 0; store < (alone ? 1 : stores); store++)
            add_source(grid, kind, store, fraction);
    }
    return true;
}

/* The sets that a source trains on. */
static size_t sets_of(const struct grid *grid, const struct source *source,
                      struct example_set sets[2])
{
    size_t count = 0;
    if (source->row_count)
        sets[count++] = (struct example_set){ &grid->real, source->rows, source->row_count };
    if (!is_alone(source->kind)) {
        const struct dataset *store = &grid->synthetic[source->store];
        sets[count++] = (struct example_set){ store, NULL, store->count };
    }
    return count;
}

/* ---- trials ---------------------------------------------------------------------------------- */

static void make_trials(struct grid *grid)
{
    const struct utility_settings *settings = grid->job->settings;
    size_t count = grid->source_count * settings->models.count * settings->augmentation.count *
                   (size_t)settings->seeds;
    grid->trials = arena_array(&grid->arena, struct trial, count);
    for (size_t s = 0; s < grid->source_count; s++)
        for (size_t m = 0; m < settings->models.count; m++)
            for (size_t a = 0; a < settings->augmentation.count; a++)
                for (int64_t seed = 0; seed < settings->seeds; seed++) {
                    struct trial *trial = &grid->trials[grid->trial_count++];
                    struct example_set sets[2];
                    trial->source = &grid->sources[s];
                    trial->model = place_of(settings->models.items[m], segment_model_names);
                    trial->augmentation = (enum augmentation)place_of(
                        settings->augmentation.items[a], augmentation_names);
                    trial->seed = settings->seed + seed;
                    trial->rows = arena_array(&grid->arena, struct overlap,
                                              grid->patient_count * grid->set_count);
                    for (size_t i = sets_of(grid, trial->source, sets); i-- > 0;)
                        trial->images += sets[i].count;
                    trial->name =
                        arena_format(&grid->arena, "%s_%s_%s_%" PRId64, trial->source->name,
                                     segment_model_names[trial->model],
                                     augmentation_names[trial->augmentation], trial->seed);
                }
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

/* The digest of all that decides about a trial's outcome. */
static const char *trial_inputs(struct grid *grid, const struct trial *trial)
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
    if (!is_alone(trial->source->kind))
        add_store(&grid->synthetic[trial->source->store], &text);
    if (trial->source->kind == SOURCE_FRACTION)
        text_format(&text, "order %" PRId64 "\n", grid->job->settings->seed);
    yaml_describe(segment_fields, &settings, &text);
    struct digest digest = digest_of(text.bytes, text.length);
    text_release(&text);
    return arena_string(&grid->arena, digest_hex(&digest, hex));
}

/* ---- predicting and measuring ---------------------------------------------------------------- */

static bool predict_holdout(struct grid *grid, struct trial *trial, const char *folder,
                            uint8_t *labels, struct error *err)
{
    const struct dataset *store = grid->held;
    struct segmenter *segmenter =
        segmenter_open(folder, store->height, store->width, grid->job->settings->device, err);
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

static bool save_trial(struct grid *grid, const struct trial *trial, const char *folder,
                       const char *inputs, struct error *err)
{
    struct npy_writer writer;
    size_t shape[2] = { grid->set_count, SCORE_COLUMNS };
    if (!npy_writer_open(&writer, path_join(&grid->arena, folder, "scores.npy"), ELEMENT_FLOAT64, 2,
                         shape, err))
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
    json_put_string(record, "inputs", inputs);
    json_put_string(record, "weights", trial->weights);
    json_put_string(record, "device", trial->device);
    ok = json_save(record, path_join(&grid->arena, folder, "trial.json"), err);
    json_free(record);
    return ok;
}

/* Whether the folder holds this very trial, done; then its scores are read. */
static bool load_trial(struct grid *grid, struct trial *trial, const char *folder,
                       const char *inputs)
{
    struct error ignored;
    struct npy scores;
    struct json *record =
        json_load_schema(path_join(&grid->arena, folder, "trial.json"), TRIAL_SCHEMA, &ignored);
    const char *of = record ? json_get_string(record, "inputs", &ignored) : NULL;
    const char *weights = record ? json_get_string(record, "weights", &ignored) : NULL;
    const char *device = record ? json_get_string(record, "device", &ignored) : NULL;
    bool ok = of && weights && strcmp(of, inputs) == 0 &&
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
                       const char *folder, struct error *err)
{
    struct arena *arena = &grid->arena;
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

/* Takes the trial over from a lender that did it. Where none did, nothing happens. */
static bool borrow_trial(struct grid *grid, struct trial *trial, const char *folder,
                         const char *inputs, struct error *err)
{
    const struct utility_job *job = grid->job;
    for (size_t i = 0; i < job->lender_count && !trial->done; i++) {
        const char *from = arena_format(&grid->arena, "%s/trials/%s", job->lenders[i], trial->name);
        if (load_trial(grid, trial, from, inputs) &&
            !copy_trial(grid, trial, job->lenders[i], folder, err))
            return trial->done = false;
    }
    return true;
}

static bool train_trial(struct grid *grid, struct trial *trial, const char *folder,
                        const char *inputs, double limit, bool *stopped, struct error *err)
{
    struct segment_settings settings = trial_settings(grid, trial);
    struct example_set sets[2];
    struct train_report report;
    struct segment_job job = { .out = folder,
                               .sets = sets,
                               .set_count = sets_of(grid, trial->source, sets),
                               .classes = &grid->classes,
                               .augment = augmentations[trial->augmentation],
                               .shuffled = trial->source->kind == SOURCE_SHUFFLED,
                               .settings = &settings,
                               .dataset = inputs,
                               .device = grid->job->settings->device,
                               .time_limit = limit };
    if (!segment_train(&job, &report, err))
        return error_prefix(err, "%s", trial->name);
    *stopped = report.end != TRAIN_COMPLETE;
    return true;
}

static bool finish_trial(struct grid *grid, struct trial *trial, const char *folder,
                         const char *inputs, struct error *err)
{
    size_t pixels = grid->real.height * grid->real.width;
    uint8_t *labels = memory_allocate(grid->holdout_images, pixels, "the predictions", err);
    const char *panel = panel_path(grid, grid->job->out, trial);
    bool ok = labels && predict_holdout(grid, trial, folder, labels, err) &&
              measure_patients(grid, trial, labels, err) &&
              folder_create(path_parent(&grid->arena, panel), err) &&
              panel_write(grid, labels, (size_t)grid->job->settings->panels, panel, err) &&
              save_trial(grid, trial, folder, inputs, err);
    memory_free(labels);
    trial->done = ok;
    return ok;
}

/* ---- all trials ------------------------------------------------------------------------------ */

struct work {
    double started, limit; /* seconds */
    bool stopped;
    size_t worked;    /* trials that were worked on here */
    const char *held; /* the lock of one that another process works on; NULL: none */
};

static void lay_out(struct grid *grid)
{
    make_trials(grid);
    for (size_t i = 0; i < grid->trial_count; i++) {
        struct trial *trial = &grid->trials[i];
        trial->folder = arena_format(&grid->arena, "%s/trials/%s", grid->job->out, trial->name);
        trial->taken = path_join(&grid->arena, trial->folder, ".taken");
        trial->inputs = trial_inputs(grid, trial);
    }
}

/* One trial that nobody else can work on now. */
static bool work_on_ours(struct grid *grid, struct trial *trial, struct work *work,
                         struct error *err)
{
    double left = work->limit > 0 ? (work->limit - (clock_seconds() - work->started)) / 60 : 0;
    if (load_trial(grid, trial, trial->folder, trial->inputs)) /* done by another meanwhile */
        return true;
    if (!borrow_trial(grid, trial, trial->folder, trial->inputs, err))
        return false;
    if (trial->done)
        return true;
    if (work->limit > 0 && left <= 0) {
        work->stopped = true;
        return true;
    }
    work->worked++;
    return train_trial(grid, trial, trial->folder, trial->inputs, left, &work->stopped, err) &&
           (work->stopped || finish_trial(grid, trial, trial->folder, trial->inputs, err));
}

/* One trial, unless it is done or taken. */
static bool work_on(struct grid *grid, struct trial *trial, struct work *work, struct error *err)
{
    struct lock lock;
    const char *command = grid->job->command ? grid->job->command : "lethe utility";
    enum lock_outcome outcome = LOCK_HELD;
    if (!lock_is_held(trial->taken)) { /* so that waiting takes no memory */
        if (load_trial(grid, trial, trial->folder, trial->inputs))
            return true;
        if (!folder_create(trial->folder, err))
            return false;
        outcome = lock_take(&lock, trial->taken, command, err);
    }
    if (outcome == LOCK_HELD)
        work->held = trial->taken;
    if (outcome != LOCK_TAKEN)
        return outcome == LOCK_HELD;
    bool ok = work_on_ours(grid, trial, work, err);
    lock_release(&lock);
    return ok;
}

/* Once over all that are not done; *done: how many are by now. */
static bool pass(struct grid *grid, struct work *work, size_t *done, struct error *err)
{
    *done = 0;
    work->held = NULL;
    for (size_t i = 0; i < grid->trial_count && !work->stopped; i++) {
        struct trial *trial = &grid->trials[i];
        if (!trial->done && !work_on(grid, trial, work, err))
            return false;
        *done += trial->done;
    }
    return true;
}

/* What others work on they may also give up. */
static bool run_trials(struct grid *grid, struct utility_report *report, struct error *err)
{
    struct work work = { .started = clock_seconds(),
                         .limit = grid->job->settings->time_limit * 60 };
    bool told = false;
    report->trials = grid->trial_count;
    for (;;) {
        if (!pass(grid, &work, &report->done, err))
            return false;
        report->complete = report->done == report->trials;
        if (report->complete || work.stopped || !work.held || !grid->job->waiting)
            return true;
        if (!told)
            grid->job->waiting(path_parent(&grid->arena, work.held),
                               lock_words(work.held, &grid->arena));
        told = true;
        lock_pause();
    }
}

static bool write_tables(struct grid *grid, struct utility_report *report, struct error *err)
{
    report->document = grid_document(grid, err);
    return report->document &&
           grid_save_csv(grid, path_join(&grid->arena, grid->job->out, "utility.csv"), err) &&
           json_save(report->document, path_join(&grid->arena, grid->job->out, "utility.json"),
                     err);
}

/* Opens the stores, refuses what cannot be measured, and lays out the sources. Settings are
 * completed in place. */
static bool grid_init(struct grid *grid, struct utility_job *job, struct utility_settings *settings,
                      struct error *err)
{
    *settings = *job->settings;
    settings->seed = settings->seed < 0 ? 1 : settings->seed;
    settings->seeds = settings->seeds ? settings->seeds : 3;
    job->settings = settings;
    *grid = (struct grid){ .job = job };
    arena_init(&grid->arena);
    return utility_settings_check(settings, err) && grid_open(grid, err) && make_sources(grid, err);
}

static void grid_release(struct grid *grid)
{
    grid_close(grid);
    arena_release(&grid->arena);
}

bool utility_check(const struct utility_job *job, struct error *err)
{
    struct utility_settings settings;
    struct utility_job resolved = *job;
    struct grid grid;
    bool ok = grid_init(&grid, &resolved, &settings, err);
    grid_release(&grid);
    return ok;
}

bool utility(const struct utility_job *job, struct utility_report *report, struct error *err)
{
    struct utility_settings settings;
    struct utility_job resolved = *job;
    struct grid grid;
    *report = (struct utility_report){ 0 };
    bool ok = grid_init(&grid, &resolved, &settings, err) && device_backend(settings.device, err);
    if (ok) {
        lay_out(&grid);
        ok = run_trials(&grid, report, err) &&
             (!report->complete || write_tables(&grid, report, err));
    }
    grid_release(&grid);
    return ok;
}

bool utility_assist(const struct utility_job *job, bool *worked, struct error *err)
{
    struct utility_settings settings;
    struct utility_job resolved = *job;
    struct grid grid;
    struct work work = { .started = clock_seconds() };
    bool ok = grid_init(&grid, &resolved, &settings, err) && device_backend(settings.device, err);
    if (ok)
        lay_out(&grid);
    for (size_t i = 0; ok && !work.worked && i < grid.trial_count; i++)
        if (!job->lent_only || !is_alone(grid.trials[i].source->kind))
            ok = work_on(&grid, &grid.trials[i], &work, err);
    *worked = work.worked;
    grid_release(&grid);
    return ok;
}

void utility_report_release(struct utility_report *report)
{
    json_free(report->document);
    *report = (struct utility_report){ 0 };
}
