/* The training loop; see loop.h. */
#include "train/loop.h"

#include "base/file.h"
#include "base/json.h"
#include "base/progress.h"
#include "train/checkpoint.h"
#include "train/feed.h"
#include "train/interrupt.h"
#include "train/metrics.h"
#include "train/preview.h"
#include "train/runner.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <unistd.h>

/* A loss term beyond this has diverged, long before it is infinite. */
static const double DIVERGED = 1e8;
enum { SLOTS = RECIPE_PHASES * RECIPE_TERMS };

struct trainer {
    const struct train_job *job;
    struct train_report *report;
    struct batches *batches;
    struct runner runner;
    struct feed *feed;
    struct preview *preview; /* NULL: neither pictures nor validation are asked for */
    struct checkpoint_record record;
    const char *folder; /* of checkpoints */
    uint64_t step, last_step, saved;
    bool has_saved;
    double sums[SLOTS]; /* of loss terms since the last line of metrics */
    uint64_t counts[SLOTS];
    double shown[SLOTS]; /* smoothed, for the live line */
    double started, line_at, line_waited;
    uint64_t line_step;
    FILE *metrics;
    int lock;
    struct text settings;
    struct progress progress;
    struct arena arena;
};

static const struct train_settings *settings_of(const struct trainer *trainer)
{
    return &trainer->runner.training.settings;
}

/* ---- metrics --------------------------------------------------------------------------------- */

static bool open_metrics(struct trainer *trainer, struct error *err)
{
    const char *path = path_join(&trainer->arena, trainer->job->out, "metrics.jsonl");
    trainer->metrics = metrics_append(path, trainer->step, err);
    return trainer->metrics;
}

static size_t memory_so_far(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (size_t)usage.ru_maxrss * 1024;
}

static bool write_line(struct trainer *trainer, struct json *line, struct error *err)
{
    char *text = json_line(line);
    bool ok = fputs(text, trainer->metrics) >= 0 && fflush(trainer->metrics) == 0;
    memory_free(text);
    json_free(line);
    return ok || error_set_errno(err, "%s/metrics.jsonl: cannot be written", trainer->job->out);
}

static struct json *begin_line(const struct trainer *trainer)
{
    struct json *line = json_new_object();
    json_put_integer(line, "step", (int64_t)trainer->step);
    json_put_integer(line, "images", (int64_t)trainer->step * settings_of(trainer)->batch);
    return line;
}

/* The means of each phase's terms; new ones begin. */
static struct json *take_means(struct trainer *trainer)
{
    struct json *phases = json_new_object();
    for (int i = 0; i < trainer->runner.training.phase_count; i++) {
        const struct phase *phase = &trainer->runner.training.phases[i];
        struct json *terms = json_new_object();
        bool any = false;
        for (int k = 0; k < phase->term_count; k++) {
            int slot = i * RECIPE_TERMS + k;
            any = any || trainer->counts[slot];
            if (trainer->counts[slot])
                json_put_real(terms, phase->terms[k].name,
                              trainer->sums[slot] / (double)trainer->counts[slot]);
            trainer->sums[slot] = 0;
            trainer->counts[slot] = 0;
        }
        if (any)
            json_put(phases, phase->name, terms);
        else
            json_free(terms);
    }
    return phases;
}

static bool log_line(struct trainer *trainer, struct error *err)
{
    struct json *line = begin_line(trainer);
    double now = clock_seconds(), batch = (double)settings_of(trainer)->batch;
    double waited = feed_waited(trainer->feed);
    json_put(line, "loss", take_means(trainer));
    json_put_real(line, "images_per_second",
                  (double)(trainer->step - trainer->line_step) * batch /
                      fmax(now - trainer->line_at, 1e-9));
    json_put_real(line, "seconds", now - trainer->started);
    json_put_real(line, "waited", waited - trainer->line_waited);
    json_put_integer(line, "memory", (int64_t)memory_so_far());
    trainer->line_at = now;
    trainer->line_waited = waited;
    trainer->line_step = trainer->step;
    return write_line(trainer, line, err);
}

/* The end of the live line: each term, smoothed over some ten steps, and memory. */
static void show(struct trainer *trainer)
{
    char size[TEXT_SHORT];
    struct text line = { 0 };
    for (int i = 0; i < trainer->runner.training.phase_count; i++)
        for (int k = 0; k < trainer->runner.training.phases[i].term_count; k++)
            text_format(&line, "%s %.3g, ", trainer->runner.training.phases[i].terms[k].name,
                        trainer->shown[i * RECIPE_TERMS + k]);
    progress_note(&trainer->progress, "%s%s", line.length ? line.bytes : "",
                  text_size(size, (double)memory_so_far()));
    text_release(&line);
}

/* ---- beginning ------------------------------------------------------------------------------- */

static bool open_folder(struct trainer *trainer, struct error *err)
{
    trainer->folder = path_join(&trainer->arena, trainer->job->out, "checkpoints");
    if (!folder_create(trainer->folder, err))
        return false;
    const char *path = path_join(&trainer->arena, trainer->job->out, "lock");
    trainer->lock = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (trainer->lock < 0)
        return error_set_errno(err, "%s: cannot be written", path);
    if (flock(trainer->lock, LOCK_EX | LOCK_NB) != 0)
        return error_set(err, "%s: another run is training in this folder", trainer->job->out);
    return true;
}

static bool open_data(struct trainer *trainer, struct error *err)
{
    const struct train_settings *settings = trainer->job->settings;
    struct batches_options options = { .masks = settings->masks != TRAIN_MASKS_NONE,
                                       .mirror = settings->mirror,
                                       .seed = settings->seed < 0 ? 1 : (uint64_t)settings->seed };
    trainer->batches = batches_open(trainer->job->dataset, &options, err);
    if (!trainer->batches)
        return false;
    const struct batches_format *format = batches_format(trainer->batches);
    struct text names = { 0 };
    for (size_t c = 0; c < format->channels; c++)
        text_format(&names, "%s%s", c ? "," : "", format->channel_names[c]);
    trainer->record =
        (struct checkpoint_record){ .dataset = format->digest,
                                    .channels = arena_string(&trainer->arena, names.bytes),
                                    .masks = format->masks,
                                    .channel_count = format->channels,
                                    .size = format->size };
    text_release(&names);
    return runner_init(&trainer->runner, settings, (int)format->channels, (int)format->size, err);
}

/* Pictures and validation take memory too: it is set aside before the first step. */
static bool open_preview(struct trainer *trainer, struct error *err)
{
    const struct train_settings *settings = settings_of(trainer);
    if (!settings->samples && !settings->validate)
        return true;
    trainer->preview =
        preview_open(trainer->job->dataset, trainer->job->out, settings, &trainer->record, err);
    return trainer->preview;
}

/* The lines of two texts that differ first, for the message. */
static bool same_settings(const struct trainer *trainer, const struct checkpoint_record *found,
                          const char *path, struct arena *arena, struct error *err)
{
    struct train_settings theirs;
    struct text now = { 0 }, before = { 0 };
    if (!train_settings_parse(found->settings, path, &theirs, arena, err))
        return false;
    train_settings_text(settings_of(trainer), true, &now);
    train_settings_text(&theirs, true, &before);
    size_t at = 0;
    for (size_t i = 0; now.bytes[i] && now.bytes[i] == before.bytes[i]; i++)
        at = now.bytes[i] == '\n' ? i + 1 : at;
    bool same = strcmp(now.bytes, before.bytes) == 0;
    at += strspn(now.bytes + at, " ");
    if (!same)
        error_set(err,
                  "%s: was trained with \"%.*s\", asked for is \"%.*s\": train into another "
                  "folder, or with the settings that it had",
                  path, (int)strcspn(before.bytes + at, "\n"), before.bytes + at,
                  (int)strcspn(now.bytes + at, "\n"), now.bytes + at);
    text_release(&now);
    text_release(&before);
    return same;
}

static bool resume(struct trainer *trainer, const char *path, struct error *err)
{
    struct checkpoint_record found;
    if (!checkpoint_read(path, &found, &trainer->arena, err) ||
        !same_settings(trainer, &found, path, &trainer->arena, err))
        return false;
    if (strcmp(found.dataset, trainer->record.dataset) != 0)
        return error_set(err, "%s: was trained on other data than %s", path, trainer->job->dataset);
    if (!checkpoint_load(path, trainer->runner.store, err) ||
        !checkpoint_update_best(trainer->folder, err))
        return false;
    trainer->step = trainer->saved = found.step;
    trainer->has_saved = true;
    snprintf(trainer->report->checkpoint, sizeof trainer->report->checkpoint, "%s", path);
    return true;
}

static bool begin(struct trainer *trainer, struct error *err)
{
    const char *path;
    if (!open_data(trainer, err) || !open_preview(trainer, err) || !open_folder(trainer, err) ||
        !checkpoint_latest(trainer->folder, &trainer->arena, &path, err) ||
        !(path ? resume(trainer, path, err) : runner_begin(&trainer->runner, err)))
        return false;
    const struct train_settings *settings = settings_of(trainer);
    uint64_t batch = (uint64_t)settings->batch;
    train_settings_text(settings, false, &trainer->settings);
    trainer->record.settings = trainer->settings.bytes;
    trainer->last_step = ((uint64_t)settings->images + batch - 1) / batch;
    trainer->feed = feed_open(trainer->batches, trainer->step * batch, (size_t)batch, err);
    trainer->report->resumed_at = trainer->line_step = trainer->step;
    trainer->started = trainer->line_at = clock_seconds();
    return trainer->feed && open_metrics(trainer, err);
}

/* ---- steps ----------------------------------------------------------------------------------- */

/* What went wrong, with the step before it and the last good checkpoint after it. */
static bool stopped(const struct trainer *trainer, const char *what, struct error *err)
{
    const char *good = trainer->report->checkpoint;
    return error_set(err, "step %" PRIu64 ": %s; %s%s", trainer->step, what,
                     *good ? "the last good checkpoint is " : "there is no checkpoint yet", good);
}

/* Takes the terms of the step that was made; NaN and what goes there end the run. */
static bool note_terms(struct trainer *trainer, struct error *err)
{
    static const double SMOOTHING = 0.1;
    for (int i = 0; i < trainer->runner.training.phase_count; i++) {
        const struct phase *phase = &trainer->runner.training.phases[i];
        for (int k = 0; trainer->runner.ran[i] && k < phase->term_count; k++) {
            double value = trainer->runner.terms[i][k];
            int slot = i * RECIPE_TERMS + k;
            if (!(fabs(value) < DIVERGED)) { /* NaN too */
                char what[192];
                snprintf(what, sizeof what,
                         "training has diverged, the term \"%s\" of the phase %s is %g",
                         phase->terms[k].name, phase->name, value);
                return stopped(trainer, what, err);
            }
            double *shown = &trainer->shown[slot];
            *shown = *shown != 0 ? *shown + SMOOTHING * (value - *shown) : value;
            trainer->sums[slot] += value;
            trainer->counts[slot]++;
        }
    }
    return true;
}

static bool take_step(struct trainer *trainer, struct error *err)
{
    if (!runner_step(&trainer->runner, trainer->step, feed_next(trainer->feed), err) ||
        !note_terms(trainer, err))
        return false;
    trainer->step++;
    show(trainer);
    progress_add(&trainer->progress, (uint64_t)settings_of(trainer)->batch);
    return true;
}

/* The loss on images held out, into the record and the metrics. */
static bool validate(struct trainer *trainer, struct error *err)
{
    trainer->record.validation = NAN;
    if (trainer->preview && !preview_validate(trainer->preview, trainer->runner.store,
                                              &trainer->record.validation, err))
        return false;
    if (!isfinite(trainer->record.validation))
        return true;
    struct json *line = begin_line(trainer);
    json_put_real(line, "validation", trainer->record.validation);
    return write_line(trainer, line, err);
}

static bool save(struct trainer *trainer, struct error *err)
{
    if (trainer->has_saved && trainer->saved == trainer->step)
        return true;
    if (!validate(trainer, err))
        return false;
    trainer->record.step = trainer->step;
    trainer->record.images = trainer->step * (uint64_t)settings_of(trainer)->batch;
    struct error why;
    if (!checkpoint_save(trainer->folder, trainer->runner.store, &trainer->record,
                         settings_of(trainer)->keep, &why))
        return stopped(trainer, why.message, err);
    trainer->saved = trainer->step;
    trainer->has_saved = true;
    const char *path;
    if (!checkpoint_update_best(trainer->folder, err) ||
        !checkpoint_latest(trainer->folder, &trainer->arena, &path, err))
        return false;
    snprintf(trainer->report->checkpoint, sizeof trainer->report->checkpoint, "%s", path);
    return true;
}

/* A picture at its interval and at the end; before the checkpoint of the same step, so that a run
 * that is killed in between draws it when it comes by again. */
static bool draw_samples(struct trainer *trainer, struct error *err)
{
    int64_t interval = settings_of(trainer)->samples;
    if (!interval || (trainer->step % (uint64_t)interval && trainer->step != trainer->last_step))
        return true;
    return preview_draw(trainer->preview, trainer->runner.store, trainer->step, err);
}

static bool run_steps(struct trainer *trainer, struct error *err)
{
    const struct train_settings *settings = settings_of(trainer);
    double limit = settings->time_limit * 60;
    trainer->report->end = TRAIN_COMPLETE;
    while (trainer->step < trainer->last_step) {
        if (interrupted() || (limit > 0 && clock_seconds() - trainer->started >= limit)) {
            trainer->report->end = interrupted() ? TRAIN_SIGNAL : TRAIN_TIME;
            break;
        }
        if (!take_step(trainer, err) || !draw_samples(trainer, err))
            return false;
        if (trainer->step % (uint64_t)settings->log == 0 && !log_line(trainer, err))
            return false;
        if (trainer->step % (uint64_t)settings->checkpoint == 0 && !save(trainer, err))
            return false;
    }
    return save(trainer, err);
}

static void end(struct trainer *trainer)
{
    feed_close(trainer->feed);
    preview_free(trainer->preview);
    runner_release(&trainer->runner);
    batches_free(trainer->batches);
    text_release(&trainer->settings);
    if (trainer->metrics)
        fclose(trainer->metrics);
    if (trainer->lock >= 0)
        close(trainer->lock);
    arena_release(&trainer->arena);
}

bool train(const struct train_job *job, struct train_report *report, struct error *err)
{
    struct trainer trainer = { .job = job, .report = report, .lock = -1 };
    struct interrupts before;
    *report = (struct train_report){ 0 };
    arena_init(&trainer.arena);
    interrupts_catch(&before);
    bool ok = begin(&trainer, err);
    if (ok) {
        uint64_t batch = (uint64_t)settings_of(&trainer)->batch;
        uint64_t left = trainer.last_step > trainer.step ? trainer.last_step - trainer.step : 0;
        progress_begin(&trainer.progress, "train", "images", left * batch);
        ok = run_steps(&trainer, err);
        progress_end(&trainer.progress);
        report->step = trainer.step;
        report->images = trainer.step * batch;
        report->seconds = clock_seconds() - trainer.started;
    }
    interrupts_restore(&before);
    end(&trainer);
    return ok;
}
