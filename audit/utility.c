/* The utility audit: the grid of trials, made, run and read back; see utility.h. */
#include "audit/utility.h"

#include "audit/utility_grid.h"
#include "base/file.h"
#include "base/json.h"
#include "base/progress.h"
#include "base/random.h"
#include "base/text.h"
#include "tensor/device.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    if (source_is_alone(kind))
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
        bool alone = source_is_alone(kind);
        CHECK(word >= 0 || is_fraction(list->items[i], &fraction), "a list not checked");
        if (!alone && !stores)
            return error_set(err, "the source \"%s\" needs a synthetic store, none was given",
                             list->items[i]);
        for (size_t store = 0; store < (alone ? 1 : stores); store++)
            add_source(grid, kind, store, fraction);
    }
    return true;
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
                    for (size_t i = trial_sets(grid, trial, sets); i-- > 0;)
                        trial->images += sets[i].count;
                    trial->name =
                        arena_format(&grid->arena, "%s_%s_%s_%" PRId64, trial->source->name,
                                     segment_model_names[trial->model],
                                     augmentation_names[trial->augmentation], trial->seed);
                }
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
    if (trial_load(grid, trial)) /* done by another meanwhile */
        return true;
    if (!trial_borrow(grid, trial, err))
        return false;
    if (trial->done)
        return true;
    if (work->limit > 0 && left <= 0) {
        work->stopped = true;
        return true;
    }
    work->worked++;
    return trial_train(grid, trial, left, &work->stopped, err) &&
           (work->stopped || trial_finish(grid, trial, err));
}

/* One trial, unless it is done or taken. */
static bool work_on(struct grid *grid, struct trial *trial, struct work *work, struct error *err)
{
    struct lock lock;
    const char *command = grid->job->command ? grid->job->command : "lethe utility";
    enum lock_outcome outcome = LOCK_HELD;
    if (!lock_is_held(trial->taken)) { /* so that waiting takes no memory */
        if (trial_load(grid, trial))
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
        if (!job->lent_only || !source_is_alone(grid.trials[i].source->kind))
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
