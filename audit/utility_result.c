/* What the trials say together: means over seeds, intervals by subject, relative Dice; as JSON and
 * CSV.
 *
 * A subject's scans are averaged first: nobody counts for more for having been scanned more often.
 * The number of a kind of trial (source, model, augmentation) is the mean over its seeds of a
 * trial's mean over subjects, and for "mean" over the classes of those. Intervals are of
 * subjects: a bootstrap draws as many subjects as there are, with replacement, and computes the
 * same number again, with the same draws for every kind, so that ratios are paired.
 *
 * The mean over classes is over those that the true masks hold, so over the same ones for every
 * kind: of a class that nobody has, Dice is 0 for whoever predicts it once and undefined for
 * others, and two means would be of different classes. */
#include "audit/statistics.h"
#include "audit/utility_grid.h"

#include "base/file.h"
#include "base/json.h"
#include "base/parallel.h"
#include "base/random.h"
#include "base/text.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- one number, for some choice of patients ------------------------------------------------- */

/* Trials first … first + seeds - 1 are of one kind. */
struct kind {
    const struct trial *first;
    size_t seeds;
    double *means; /* resamplings × (1 + classes): the mean over classes, then each class */
};

struct summing {
    const struct grid *grid;
    size_t classes; /* sets that are no regions */
    struct kind *kinds;
    size_t kind_count;
    size_t *subject_of, subjects; /* by scan */
    struct overlap *rows;         /* trials × subjects × sets: over the subject's scans */
    size_t *holders;              /* by class: subjects whose true masks hold it; last: any */
    size_t draws;
    struct arena arena;
};

/* Subjects × sets of a trial. */
static struct overlap *rows_of(const struct summing *summing, const struct trial *trial)
{
    size_t number = (size_t)(trial - summing->grid->trials);
    return summing->rows + number * summing->subjects * summing->grid->set_count;
}

static const struct overlap *row_of(const struct summing *summing, const struct trial *trial,
                                    size_t subject, size_t set)
{
    return rows_of(summing, trial) + subject * summing->grid->set_count + set;
}

/* Of one set over all subjects, each once. */
static struct overlap_summary summary_of(const struct summing *summing, const struct trial *trial,
                                         size_t set)
{
    return overlap_summarise(rows_of(summing, trial) + set, summing->subjects,
                             summing->grid->set_count);
}

/* Dice of a class in a trial over subjects, each counted `times`; NaN where none defines it. */
static double class_mean(const struct summing *summing, const struct trial *trial, size_t set,
                         const unsigned *times)
{
    double sum = 0, count = 0;
    for (size_t s = 0; s < summing->subjects; s++) {
        double value = row_of(summing, trial, s, set)->value[METRIC_DICE];
        if (times[s] && !isnan(value)) {
            sum += times[s] * value;
            count += times[s];
        }
    }
    return sum / count; /* 0/0 is NaN */
}

/* Whether a true mask of the subject's holds the set; the same in every trial. */
static bool is_held(const struct summing *summing, size_t subject, size_t set)
{
    return row_of(summing, summing->grid->trials, subject, set)->truth;
}

/* Whether any of the subjects that are counted holds the set; times NULL: of all. */
static bool any_holds(const struct summing *summing, size_t set, const unsigned *times)
{
    for (size_t s = 0; s < summing->subjects; s++)
        if ((!times || times[s]) && is_held(summing, s, set))
            return true;
    return false;
}

/* Mean over the seeds that define it. */
static double class_over_seeds(const struct summing *summing, const struct kind *kind, size_t set,
                               const unsigned *times)
{
    double sum = 0, defined = 0;
    for (size_t s = 0; s < kind->seeds; s++) {
        double mean = class_mean(summing, &kind->first[s], set, times);
        if (!isnan(mean)) {
            sum += mean;
            defined++;
        }
    }
    return sum / defined;
}

/* Fills in the mean over the classes that the true masks hold, then each class; over seeds. */
static void kind_means(const struct summing *summing, const struct kind *kind,
                       const unsigned *times, double *out)
{
    double all = 0, held = 0;
    for (size_t c = 0; c < summing->classes; c++) {
        out[1 + c] = class_over_seeds(summing, kind, c, times);
        if (any_holds(summing, c, times)) {
            all += out[1 + c];
            held++;
        }
    }
    out[0] = all / held;
}

/* Draw 0 is all subjects once; the others are resamplings of them. */
static void resample(void *context, size_t draw)
{
    struct summing *summing = context;
    uint64_t seed = (uint64_t)summing->grid->job->settings->seed,
             stream = random_stream("utility.bootstrap");
    unsigned *times = memory_grow(NULL, summing->subjects, sizeof *times);
    for (size_t s = 0; s < summing->subjects; s++)
        times[s] = draw == 0;
    for (size_t s = 0; draw && s < summing->subjects; s++)
        times[random_below(seed, stream, draw * summing->subjects + s, summing->subjects)]++;
    for (size_t k = 0; k < summing->kind_count; k++)
        kind_means(summing, &summing->kinds[k], times,
                   summing->kinds[k].means + draw * (1 + summing->classes));
    free(times);
}

static void find_subjects(struct summing *summing)
{
    const struct grid *grid = summing->grid;
    summing->subject_of = arena_array(&summing->arena, size_t, grid->patient_count);
    for (size_t i = 0; i < grid->patient_count; i++) {
        size_t k = 0;
        while (k < i && strcmp(grid->patients[k].subject, grid->patients[i].subject) != 0)
            k++;
        summing->subject_of[i] = k < i ? summing->subject_of[k] : summing->subjects++;
    }
}

/* A subject's scans as one row: voxels of them all, and of each metric the mean over the scans that
 * define it. */
static void average_scans(const struct summing *summing, const struct trial *trial, size_t set)
{
    const struct grid *grid = summing->grid;
    double(*defined)[METRIC_COUNT] = memory_grow(NULL, summing->subjects, sizeof *defined);
    memset(defined, 0, summing->subjects * sizeof *defined);
    for (size_t i = 0; i < grid->patient_count; i++) {
        const struct overlap *scan = &trial->rows[i * grid->set_count + set];
        size_t subject = summing->subject_of[i];
        struct overlap *row = rows_of(summing, trial) + subject * grid->set_count + set;
        row->truth += scan->truth;
        row->prediction += scan->prediction;
        row->common += scan->common;
        for (int m = 0; m < METRIC_COUNT; m++)
            if (!isnan(scan->value[m])) {
                row->value[m] += scan->value[m];
                defined[subject][m]++;
            }
    }
    for (size_t s = 0; s < summing->subjects; s++)
        for (int m = 0; m < METRIC_COUNT; m++)
            rows_of(summing, trial)[s * grid->set_count + set].value[m] /= defined[s][m];
    free(defined); /* 0/0 is NaN */
}

static void find_rows(struct summing *summing)
{
    const struct grid *grid = summing->grid;
    summing->rows = arena_array(&summing->arena, struct overlap,
                                grid->trial_count * summing->subjects * grid->set_count);
    for (size_t t = 0; t < grid->trial_count; t++)
        for (size_t set = 0; set < grid->set_count; set++)
            average_scans(summing, &grid->trials[t], set);
}

/* How many subjects hold a class, or, where set is the number of classes, any. */
static size_t count_holders(const struct summing *summing, size_t set)
{
    size_t first = set < summing->classes ? set : 0,
           end = set < summing->classes ? set + 1 : summing->classes, found = 0;
    for (size_t s = 0; s < summing->subjects; s++) {
        bool holds = false;
        for (size_t c = first; c < end; c++)
            holds = holds || is_held(summing, s, c);
        found += holds;
    }
    return found;
}

static void find_holders(struct summing *summing)
{
    summing->holders = arena_array(&summing->arena, size_t, 1 + summing->classes);
    for (size_t c = 0; c <= summing->classes; c++)
        summing->holders[c] = count_holders(summing, c);
}

static bool sum_up(struct summing *summing, struct error *err)
{
    const struct grid *grid = summing->grid;
    size_t seeds = (size_t)grid->job->settings->seeds;
    summing->classes = grid->set_count - grid->region_count;
    summing->draws = 1 + (size_t)grid->job->settings->bootstrap;
    summing->kind_count = grid->trial_count / seeds;
    summing->kinds = arena_array(&summing->arena, struct kind, summing->kind_count);
    find_subjects(summing);
    find_rows(summing);
    find_holders(summing);
    for (size_t k = 0; k < summing->kind_count; k++) {
        struct kind *kind = &summing->kinds[k];
        kind->first = &grid->trials[k * seeds];
        kind->seeds = seeds;
        kind->means = memory_allocate(summing->draws * (1 + summing->classes), sizeof(double),
                                      "the bootstrap", err);
        if (!kind->means)
            return false;
    }
    parallel_items(summing->draws, resample, summing);
    return true;
}

static void release(struct summing *summing)
{
    for (size_t k = 0; k < summing->kind_count; k++)
        memory_free(summing->kinds[k].means);
    arena_release(&summing->arena);
}

/* ---- intervals ------------------------------------------------------------------------------- */

static double ratio(double a, double b)
{
    return a / b;
}

static double difference(double a, double b)
{
    return a - b;
}

static double alone(double a, double b)
{
    (void)b;
    return a;
}

/* How far a number would be from patient to patient, one patient cannot show: the interval takes
 * two at least who have what is measured. */
enum { HOLDERS_LEAST = 2 };

static bool has_interval(const struct summing *summing, size_t column)
{
    return summing->holders[column ? column - 1 : summing->classes] >= HOLDERS_LEAST;
}

/* {mean, interval, lower95, upper95} of a column, 0 for the mean over classes, of one kind or of
 * two together. Resamplings in which it is not defined are left out; a ratio to 0 is greater than
 * any number, and where it is an end, that is null: there is none. */
static struct json *estimate(const struct summing *summing, const struct kind *kind,
                             const struct kind *other, size_t column,
                             double (*combine)(double, double))
{
    size_t width = 1 + summing->classes, count = 0;
    double *values = memory_grow(NULL, summing->draws, sizeof *values);
    struct json *object = json_new_object(), *interval = json_new_array();
    json_put_real(object, "mean", combine(kind->means[column], other->means[column]));
    for (size_t draw = 1; has_interval(summing, column) && draw < summing->draws; draw++) {
        double value =
            combine(kind->means[draw * width + column], other->means[draw * width + column]);
        if (!isnan(value))
            values[count++] = value;
    }
    sort_doubles(values, count);
    double side = (1 - joint_confidence(summing->grid->job->candidates)) / 2;
    double low = count ? values[(size_t)(side * (double)count)] : NAN;
    double high = count ? values[(size_t)ceil((1 - side) * (double)count) - 1] : NAN;
    json_push_real(interval, low);
    json_push_real(interval, high);
    json_put(object, "interval", interval);
    json_put_real(object, "lower95", low);
    json_put_real(object, "upper95", high);
    free(values);
    return object;
}

/* ---- the document ---------------------------------------------------------------------------- */

static void put_kind(struct json *object, const struct trial *trial)
{
    json_put_string(object, "source", trial->source->name);
    json_put_string(object, "model", segment_model_names[trial->model]);
    json_put_string(object, "augmentation", augmentation_names[trial->augmentation]);
}

/* Mean over classes of a trial's mean Dice. */
static double trial_mean(const struct summing *summing, const struct trial *trial)
{
    double sum = 0, held = 0;
    for (size_t c = 0; c < summing->classes; c++) {
        if (!any_holds(summing, c, NULL))
            continue;
        struct overlap_summary summary = summary_of(summing, trial, c);
        sum += summary.metric[METRIC_DICE].mean;
        held++;
    }
    return sum / held;
}

/* Sets first … end - 1, with a summary each. */
static struct json *sets_json(const struct summing *summing, const struct trial *trial,
                              size_t first, size_t end)
{
    struct json *list = json_new_array();
    for (size_t c = first; c < end; c++) {
        struct overlap_summary summary = summary_of(summing, trial, c);
        struct json *object = overlap_summary_json(&summary);
        json_put_string(object, "name", summing->grid->sets[c].name);
        json_push(list, object);
    }
    return list;
}

static struct json *trial_json(const struct summing *summing, const struct trial *trial)
{
    struct json *object = json_new_object();
    put_kind(object, trial);
    json_put_integer(object, "seed", trial->seed);
    json_put_integer(object, "images", (int64_t)trial->images);
    json_put_string(object, "weights", trial->weights);
    json_put_string(object, "device", trial->device);
    json_put_real(object, "dice", trial_mean(summing, trial));
    json_put(object, "classes", sets_json(summing, trial, 0, summing->classes));
    json_put(object, "regions",
             sets_json(summing, trial, summing->classes, summing->grid->set_count));
    return object;
}

/* Of one metric of one set: mean and deviation over seeds of the trials' means, and of how many
 * subjects those are at least. */
static struct json *over_seeds(const struct summing *summing, const struct kind *kind, size_t set,
                               int metric)
{
    struct json *object = json_new_object();
    double *means = memory_grow(NULL, kind->seeds, sizeof *means), mean, sd;
    size_t least = summing->subjects;
    for (size_t s = 0; s < kind->seeds; s++) {
        struct overlap_summary summary = summary_of(summing, &kind->first[s], set);
        means[s] = summary.metric[metric].mean;
        least = summary.metric[metric].count < least ? summary.metric[metric].count : least;
    }
    json_put_integer(object, "seeds", (int64_t)mean_of(means, kind->seeds, &mean, &sd));
    json_put_integer(object, "subjects_least", (int64_t)least);
    json_put_real(object, "mean", mean);
    json_put_real(object, "sd", sd);
    free(means);
    return object;
}

/* How often masks were empty, over all seeds. */
static struct json *empties(const struct summing *summing, const struct kind *kind, size_t set)
{
    size_t both = 0, truth = 0, prediction = 0;
    struct json *object = json_new_object();
    for (size_t s = 0; s < kind->seeds; s++) {
        struct overlap_summary summary = summary_of(summing, &kind->first[s], set);
        both += summary.both_empty;
        truth += summary.truth_empty;
        prediction += summary.prediction_empty;
    }
    json_put_integer(object, "both", (int64_t)both);
    json_put_integer(object, "truth", (int64_t)truth);
    json_put_integer(object, "prediction", (int64_t)prediction);
    return object;
}

static struct json *set_summary(const struct summing *summing, const struct kind *kind, size_t set)
{
    const struct grid *grid = summing->grid;
    struct json *object = json_new_object();
    json_put_string(object, "name", grid->sets[set].name);
    json_put(object, "empty", empties(summing, kind, set));
    for (int metric = 0; metric < METRIC_COUNT; metric++)
        json_put(object, metrics[metric].name, over_seeds(summing, kind, set, metric));
    if (set < summing->classes)
        json_put(object, "dice_interval", estimate(summing, kind, kind, 1 + set, alone));
    return object;
}

static struct json *kind_json(const struct summing *summing, const struct kind *kind)
{
    const struct grid *grid = summing->grid;
    struct json *object = json_new_object(), *classes = json_new_array(),
                *regions = json_new_array();
    double *means = memory_grow(NULL, kind->seeds, sizeof *means), mean, sd;
    put_kind(object, kind->first);
    json_put_integer(object, "seeds", (int64_t)kind->seeds);
    json_put_integer(object, "images", (int64_t)kind->first->images);
    for (size_t s = 0; s < kind->seeds; s++)
        means[s] = trial_mean(summing, &kind->first[s]);
    mean_of(means, kind->seeds, &mean, &sd);
    struct json *dice = estimate(summing, kind, kind, 0, alone);
    json_put_real(dice, "sd", sd);
    json_put(object, "dice", dice);
    for (size_t c = 0; c < grid->set_count; c++)
        json_push(c < summing->classes ? classes : regions, set_summary(summing, kind, c));
    json_put(object, "classes", classes);
    json_put(object, "regions", regions);
    free(means);
    return object;
}

/* The same model and augmentation, trained on the real images; NULL where there is none. */
static const struct kind *real_kind(const struct summing *summing, const struct kind *kind)
{
    for (size_t k = 0; k < summing->kind_count; k++) {
        const struct trial *trial = summing->kinds[k].first;
        if (trial->source->kind == SOURCE_REAL && trial->model == kind->first->model &&
            trial->augmentation == kind->first->augmentation)
            return &summing->kinds[k];
    }
    return NULL;
}

static struct json *relative_json(const struct summing *summing, const struct kind *kind,
                                  const struct kind *real)
{
    struct json *object = estimate(summing, kind, real, 0, ratio), *classes = json_new_array();
    put_kind(object, kind->first);
    for (size_t c = 0; c < summing->classes; c++) {
        struct json *entry = estimate(summing, kind, real, 1 + c, ratio);
        json_put_string(entry, "name", summing->grid->sets[c].name);
        json_push(classes, entry);
    }
    json_put(object, "classes", classes);
    json_put(object, "difference", estimate(summing, kind, real, 0, difference));
    return object;
}

static void put_results(struct json *document, const struct summing *summing)
{
    const struct grid *grid = summing->grid;
    struct json *runs = json_new_array(), *summary = json_new_array(), *relative = json_new_array();
    for (size_t k = 0; k < summing->kind_count; k++) {
        const struct kind *kind = &summing->kinds[k], *real = real_kind(summing, kind);
        json_push(summary, kind_json(summing, kind));
        if (real && real != kind)
            json_push(relative, relative_json(summing, kind, real));
    }
    for (size_t i = 0; i < grid->trial_count; i++)
        json_push(runs, trial_json(summing, &grid->trials[i]));
    json_put(document, "summary", summary);
    json_put(document, "relative_dice", relative);
    json_put(document, "runs", runs);
}

/* ---- what it rests on ------------------------------------------------------------------------ */

static bool push_file(void *context, const char *name, const struct json *value)
{
    struct json *entry = json_new_object();
    json_put_string(entry, "path", name);
    json_put_string(entry, "sha256", json_as_string(value) ? json_as_string(value) : "");
    json_push(context, entry);
    return true;
}

static bool put_store(struct json *digests, const char *name, const struct dataset *store,
                      struct error *err)
{
    struct json *object = json_new_object(), *files = json_new_array(), *own = json_new_object();
    const struct json *listed = json_get(store->description, "files", err);
    struct digest digest;
    struct arena arena;
    char hex[DIGEST_HEX];
    arena_init(&arena);
    json_put_string(object, "role", dataset_role_names[store->role]);
    json_put_integer(object, "images", (int64_t)store->count);
    bool ok = listed && digest_file(path_join(&arena, store->path, "dataset.json"), &digest, err);
    if (ok) {
        json_put_string(own, "sha256", digest_hex(&digest, hex));
        push_file(files, "dataset.json", json_member(own, "sha256"));
        json_each(listed, push_file, files);
    }
    json_put(object, "files", files);
    json_put(digests, name, object);
    json_free(own);
    arena_release(&arena);
    return ok;
}

static bool put_digests(struct json *document, const struct grid *grid, struct error *err)
{
    struct json *digests = json_new_object();
    struct arena arena;
    arena_init(&arena);
    bool ok = put_store(digests, "dataset", &grid->real, err) &&
              (!grid->job->holdout || put_store(digests, "holdout", &grid->holdout, err));
    for (size_t i = 0; ok && i < grid->job->synthetic_count; i++) {
        const char *name = grid->job->synthetic[i].name;
        ok = put_store(digests,
                       name && *name ? arena_format(&arena, "synthetic-%s", name) : "synthetic",
                       &grid->synthetic[i], err);
    }
    json_put(document, "inputs", digests);
    arena_release(&arena);
    return ok;
}

static void put_counts(struct json *document, const struct summing *summing)
{
    const struct grid *grid = summing->grid;
    struct json *counts = json_new_object();
    size_t assumed = 0, synthetic = 0;
    for (size_t i = 0; i < grid->patient_count; i++)
        assumed += grid->patients[i].assumed;
    for (size_t i = 0; i < grid->job->synthetic_count; i++)
        synthetic += grid->synthetic[i].count;
    json_put_integer(counts, "train_images", (int64_t)grid->train_count);
    json_put_integer(counts, "train_subjects", (int64_t)grid->train_subjects);
    json_put_integer(counts, "holdout_images", (int64_t)grid->holdout_images);
    json_put_integer(counts, "holdout_subjects", (int64_t)summing->subjects);
    json_put_integer(counts, "holdout_scans", (int64_t)grid->patient_count);
    json_put_integer(counts, "spacing_assumed", (int64_t)assumed);
    json_put_integer(counts, "synthetic_images", (int64_t)synthetic);
    json_put(document, "counts", counts);
}

static void put_sets(struct json *document, const struct summing *summing)
{
    const struct grid *grid = summing->grid;
    struct json *names[2] = { json_new_array(), json_new_array() }, *never = json_new_array();
    for (size_t c = 0; c < grid->set_count; c++) {
        json_push_string(names[c >= summing->classes], grid->sets[c].name);
        if (!any_holds(summing, c, NULL))
            json_push_string(never, grid->sets[c].name);
    }
    json_put(document, "classes", names[0]);
    json_put(document, "regions", names[1]);
    json_put(document, "never_in_holdout", never);
}

static void put_field(struct json *object, const struct yaml_field *field, const void *value);

static struct json *fields_json(const struct yaml_field *fields, const void *values)
{
    struct json *object = json_new_object();
    for (const struct yaml_field *field = fields; field->key; field++)
        put_field(object, field, (const char *)values + field->offset);
    return object;
}

static void put_field(struct json *object, const struct yaml_field *field, const void *value)
{
    if (field->kind == YAML_INTEGER)
        json_put_integer(object, field->key, *(const int64_t *)value);
    else if (field->kind == YAML_REAL)
        json_put_real(object, field->key, *(const double *)value);
    else if (field->kind == YAML_SECTION)
        json_put(object, field->key, fields_json(field->section, value));
    else if (field->kind == YAML_STRING)
        json_put_string(object, field->key, *(const char *const *)value);
    else if (field->kind == YAML_CHOICE)
        json_put_string(object, field->key, field->choices[*(const int *)value]);
    else if (field->kind == YAML_STRINGS) {
        const struct yaml_strings *list = value;
        struct json *items = json_new_array();
        for (size_t i = 0; i < list->count; i++)
            json_push_string(items, list->items[i]);
        json_put(object, field->key, items);
    } else
        BUG("setting %s of kind %d", field->key, (int)field->kind);
}

struct json *grid_document(const struct grid *grid, struct error *err)
{
    struct summing summing = { .grid = grid };
    struct json *document = json_new_object(), *tool = json_new_object(),
                *units = json_new_object();
    arena_init(&summing.arena);
    bool ok = sum_up(&summing, err);
    if (ok) {
        json_put_string(document, "schema", UTILITY_SCHEMA);
        if (grid->job->candidates > 1) /* intervals hold for so many sets together */
            json_put_integer(document, "candidates", (int64_t)grid->job->candidates);
        json_put_string(tool, "version", LETHE_VERSION);
        json_put(document, "tool", tool);
        json_put(document, "settings", fields_json(utility_fields, grid->job->settings));
        put_counts(document, &summing);
        put_sets(document, &summing);
        for (int metric = 0; metric < METRIC_COUNT; metric++)
            json_put_string(units, metrics[metric].name, metrics[metric].unit);
        json_put(document, "units", units);
        put_results(document, &summing);
        ok = put_digests(document, grid, err);
    }
    release(&summing);
    if (!ok) {
        json_free(document);
        return NULL;
    }
    return document;
}

/* By scan, its number among the subject's, from 1, in the order of the store. */
static size_t *number_scans(const struct grid *grid)
{
    size_t *number = memory_grow(NULL, grid->patient_count, sizeof *number);
    for (size_t i = 0; i < grid->patient_count; i++) {
        number[i] = 1;
        for (size_t k = i; number[i] == 1 && k-- > 0;)
            if (strcmp(grid->patients[k].subject, grid->patients[i].subject) == 0)
                number[i] = number[k] + 1;
    }
    return number;
}

bool grid_save_csv(const struct grid *grid, const char *path, struct error *err)
{
    struct text text = { 0 };
    size_t *scans = number_scans(grid);
    text_add(&text, "source,model,augmentation,seed,subject,scan,class,truth_voxels,"
                    "prediction_voxels");
    for (int metric = 0; metric < METRIC_COUNT; metric++)
        text_format(&text, ",%s", metrics[metric].name);
    text_add(&text, "\n");
    for (size_t t = 0; t < grid->trial_count; t++)
        for (size_t i = 0; i < grid->patient_count * grid->set_count; i++) {
            const struct trial *trial = &grid->trials[t];
            const struct overlap *row = &trial->rows[i];
            text_format(&text, "%s,%s,%s,%" PRId64 ",", trial->source->name,
                        segment_model_names[trial->model], augmentation_names[trial->augmentation],
                        trial->seed);
            text_add_csv(&text, grid->patients[i / grid->set_count].subject);
            text_format(&text, ",%zu,%s,%zu,%zu", scans[i / grid->set_count],
                        grid->sets[i % grid->set_count].name, row->truth, row->prediction);
            for (int metric = 0; metric < METRIC_COUNT; metric++)
                isnan(row->value[metric]) ? text_add(&text, ",")
                                          : text_format(&text, ",%.9g", row->value[metric]);
            text_add(&text, "\n");
        }
    bool ok = file_write(path, text.bytes, text.length, err);
    text_release(&text);
    free(scans);
    return ok;
}
