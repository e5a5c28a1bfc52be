/* lethe train: from a dataset store to a generator. */
#include "stages.h"

#include "base/file.h"
#include "base/json.h"
#include "base/lock.h"
#include "base/parallel.h"
#include "train/reference.h"
#include "train/train.h"
#include "train_rank.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct options {
    const char *dataset, *out;
    int64_t reference;
    struct yaml_strings beside;
    struct train_settings settings;
};

#define OPTION(...) YAML_FIELD(struct options, __VA_ARGS__)
static const struct yaml_field options[] = {
    OPTION(dataset, YAML_STRING, .metavar = "STORE",
           .help = "dataset store; its split train is used"),
    OPTION(out, YAML_STRING, .metavar = "FOLDER",
           .help = "folder to train in; one with checkpoints is resumed"),
    OPTION(reference, YAML_INTEGER, .minimum = 1, .maximum = REFERENCES_MOST, .metavar = "K",
           .help = "on half of all people, also held-out ones: for lethe membership --reference"),
    OPTION(beside, YAML_STRINGS, .metavar = "DEVICE,DEVICE",
           .help = "share each batch with these devices; takes --accumulate of as many parts"),
    OPTION(settings, YAML_SECTION, .section = train_fields),
    { 0 },
};

static const char *const ends[TRAIN_END_COUNT] = { "complete", "signal", "time" };

static struct json *describe(const struct train_job *job, const struct train_report *report)
{
    struct json *document = json_new_object();
    json_put_string(document, "folder", job->out);
    json_put_string(document, "model", model_names[job->settings->model]);
    json_put_string(document, "end", ends[report->end]);
    json_put_integer(document, "devices", job->beside ? (int64_t)job->beside->count + 1 : 1);
    json_put_integer(document, "resumed_at", (int64_t)report->resumed_at);
    json_put_integer(document, "step", (int64_t)report->step);
    json_put_integer(document, "images", (int64_t)report->images);
    json_put_real(document, "seconds", report->seconds);
    json_put_string(document, "checkpoint", report->checkpoint);
    return document;
}

static void summarise(const struct train_job *job, const struct train_report *report,
                      struct text *summary)
{
    static const char *const words[TRAIN_END_COUNT] = { "trained", "stopped by a signal",
                                                        "stopped by the time limit" };
    char duration[TEXT_SHORT];
    text_format(summary, "%s: %s, %" PRIu64 " images in %" PRIu64 " steps", job->out,
                words[report->end], report->images, report->step);
    if (job->beside && job->beside->count)
        text_format(summary, " on %zu devices", job->beside->count + 1);
    if (report->resumed_at)
        text_format(summary, ", resumed at step %" PRIu64, report->resumed_at);
    text_format(summary, " (%s)\n", text_duration(duration, report->seconds));
}

/* A word as a shell takes it back. */
static void add_word(struct text *line, const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "-_=+,./:@%";
    if (*word && !word[strspn(word, plain)]) {
        text_add(line, word);
        return;
    }
    text_add(line, "'");
    for (const char *byte = word; *byte; byte++)
        *byte == '\'' ? text_add(line, "'\\''") : text_add_bytes(line, byte, 1);
    text_add(line, "'");
}

/* What to type to go on: the same again. */
static void print_resume(const struct invocation *invocation)
{
    struct text line = { 0 };
    text_add(&line, "resume with: lethe train");
    for (int i = 0; i < invocation->argument_count; i++) {
        text_add(&line, " ");
        add_word(&line, invocation->arguments[i]);
    }
    fprintf(stderr, "%s\n", line.bytes);
    text_release(&line);
}

/* Shared, each process has as many threads, as bits may depend on their number. */
static bool train_on(const struct train_job *job, struct train_report *report, struct error *err)
{
    int before = parallel_threads();
    if (job->beside)
        parallel_set_threads(job->beside->threads);
    bool ok = train(job, report, err);
    parallel_set_threads(before);
    return ok;
}

static enum exit_code go_on(struct stage_work *work, const struct train_job *job)
{
    struct train_report report;
    if (!train_on(job, &report, work->err))
        return EXIT_ERROR;
    work->unfinished = report.end != TRAIN_COMPLETE;
    work->document = describe(job, &report);
    summarise(job, &report, &work->summary);
    return EXIT_YES;
}

/* ---- the stage of a plan --------------------------------------------------------------------- */

/* What a run that goes on may not change: its data, and the settings that last. */
static bool identity(const struct stage_work *work, const char *dataset, char hex[DIGEST_HEX])
{
    struct digest data;
    struct text lines = { 0 };
    if (!digest_file(path_join(work->arena, dataset, "dataset.json"), &data, work->err))
        return false;
    text_format(&lines, "dataset %s\n", digest_hex(&data, hex));
    train_settings_text(&work->plan->train, true, &lines);
    data = digest_of(lines.bytes, lines.length);
    digest_hex(&data, hex);
    text_release(&lines);
    return true;
}

/* Moves the folder to the first free NAME.1, NAME.2 …: days of training are not thrown away because
 * a setting was changed. */
static bool set_aside(const struct stage_work *work)
{
    for (int i = 1;; i++) {
        const char *aside = arena_format(work->arena, "%s.%d", work->folder, i);
        if (path_kind(aside) != PATH_NOTHING)
            continue;
        if (rename(work->folder, aside) != 0)
            return error_set_errno(work->err, "%s: cannot be moved to %s", work->folder, aside);
        fprintf(stderr,
                "lethe %s: data or settings have changed; what was trained before is kept in "
                "%s: remove it when it is not wanted\n",
                work->stage->name, aside);
        return true;
    }
}

bool train_prepare(const struct stage_work *work, const char *dataset)
{
    char now[DIGEST_HEX];
    size_t size;
    const char *path = path_join(work->arena, work->folder, "identity");
    if (!identity(work, dataset, now))
        return false;
    char *before = path_kind(path) == PATH_FILE ? file_read(path, 4096, &size, work->err) : NULL;
    bool same = before && strcmp(before, now) == 0;
    bool ok = same || !before || set_aside(work);
    memory_free(before);
    return ok && (same || (folder_create(work->folder, work->err) &&
                           file_write(path, now, strlen(now), work->err)));
}

/* The devices that are asked for share it. */
static void share(const struct yaml_strings *devices, int threads, struct train_beside *beside,
                  struct train_job *job)
{
    if (!devices->count)
        return;
    *beside = train_rank_beside(devices, threads > 0 ? threads : 1);
    job->beside = beside;
}

static int threads_each(const struct yaml_strings *devices)
{
    return parallel_threads() / ((int)devices->count + 1);
}

/* Within lethe run its assistants' devices, which have nothing else to do where this is the only
 * training, as far as the plan's batches have parts for them. */
static void share_stage(const struct stage_work *work, struct train_beside *beside,
                        struct train_job *job)
{
    const struct options *values = work->options;
    size_t parts = (size_t)job->settings->accumulate;
    if (values)
        share(&values->beside, threads_each(&values->beside), beside, job);
    if (!work->beside || !work->is_only)
        return;
    share(work->beside, work->beside_threads, beside, job);
    if (job->beside && beside->count >= parts)
        beside->count = parts - 1;
}

static enum exit_code work_on(struct stage_work *work)
{
    struct train_beside beside;
    struct train_job job = { .dataset = stage_folder(work->plan, "ingest", work->arena),
                             .out = work->folder,
                             .settings = &work->plan->train };
    share_stage(work, &beside, &job);
    return train_prepare(work, job.dataset) ? go_on(work, &job) : EXIT_ERROR;
}

/* A set made elsewhere has no model here. */
static bool is_wanted(const struct release_plan *plan)
{
    return !plan->sample.made_elsewhere;
}

/* For who assists: whether the folder is this training's, or was not begun yet. What is another's
 * is left to the run, which sets it aside. */
static bool is_for_us(const struct stage_work *work, const char *dataset, bool *ours)
{
    char now[DIGEST_HEX];
    size_t size;
    const char *path = path_join(work->arena, work->folder, "identity");
    *ours = false;
    if (!identity(work, dataset, now))
        return false;
    char *before = path_kind(path) == PATH_FILE ? file_read(path, 4096, &size, NULL) : NULL;
    *ours = !before || strcmp(before, now) == 0;
    memory_free(before);
    return true;
}

/* The training, whose lock is held: unless it has ended, or the run has recorded it meanwhile. */
static bool assist_training(struct stage_work *work, const struct train_job *job, bool *worked)
{
    struct train_report report;
    bool ours;
    if (stage_is_done(work->stage, work->plan, STAGE_AT_A_GLANCE, work->arena, NULL))
        return true;
    if (!is_for_us(work, job->dataset, &ours))
        return false;
    if (!ours || train_is_complete(job))
        return true;
    *worked = true;
    return train_prepare(work, job->dataset) && train(job, &report, work->err);
}

/* The only training is the run's where it may be shared: who took it first would have it on one
 * device. */
static bool assist(struct stage_work *work, const char *device, bool *worked)
{
    struct lock lock;
    if (work->is_only && work->plan->train.accumulate > 1)
        return true;
    struct train_job job = { .dataset = stage_folder(work->plan, "ingest", work->arena),
                             .out = work->folder,
                             .settings = &work->plan->train,
                             .device = device,
                             .no_time_limit = true };
    enum lock_outcome outcome =
        stage_take(work->stage, work->plan, work->command, &lock, work->arena, work->err);
    if (outcome != LOCK_TAKEN)
        return outcome == LOCK_HELD;
    bool ok = assist_training(work, &job, worked);
    lock_release(&lock);
    return ok;
}

const struct stage stage_train = {
    .name = "train",
    .folder = "model",
    .product = "checkpoints/",
    .needs = { "ingest" },
    .fields = train_fields,
    .settings = offsetof(struct release_plan, train),
    .of_candidate = STAGE_TRAINS_CANDIDATE,
    .in_place = true,
    .is_wanted = is_wanted,
    .run = work_on,
    .taken_whole = true,
    .assist = assist,
};

/* ---- the command ----------------------------------------------------------------------------- */

static enum exit_code run_options(struct invocation *invocation, const struct options *values)
{
    struct train_job job = { .dataset = values->dataset,
                             .out = values->out,
                             .settings = &values->settings,
                             .reference = (uint64_t)values->reference };
    struct stage_work work = stage_without_plan(invocation, values->out);
    struct train_beside beside;
    share(&values->beside, threads_each(&values->beside), &beside, &job);
    enum exit_code code = go_on(&work, &job);
    bool unfinished = work.unfinished;
    code = stage_finish(invocation, &work, code);
    if (unfinished)
        print_resume(invocation);
    return code;
}

static enum exit_code run(struct invocation *invocation)
{
    const struct options *values = invocation->values;
    bool by_options = values->dataset || values->out;
    if (invocation->operand_count == 1) {
        if (by_options)
            return command_refuse(invocation, "give a plan, or --dataset and --out, not both");
        if (values->reference)
            return command_refuse(invocation, "--reference goes with --dataset and --out; a plan "
                                              "has references: { count: N }");
        return stage_command(invocation, &stage_train);
    }
    if (!values->dataset || !values->out)
        return command_refuse(invocation, "give a plan, or --dataset STORE and --out FOLDER");
    return run_options(invocation, values);
}

static void set_defaults(void *values)
{
    ((struct options *)values)->settings = train_defaults;
}

const struct command command_train = {
    .name = "train",
    .operands = "PLAN | --dataset STORE --out FOLDER",
    .most_operands = 1,
    .summary = "train a generator, or go on training it",
    .details =
        "Ctrl-C, a time limit or a crash lose nothing that matters: the same command goes on.",
    .options = options,
    .size = sizeof(struct options),
    .set_defaults = set_defaults,
    .goes_on = true,
    .run = run,
};
