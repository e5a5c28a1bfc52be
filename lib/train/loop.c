/* The training loop; see loop.h. */
#include "train/loop.h"

#include "base/file.h"
#include "base/json.h"
#include "base/progress.h"
#include "train/interrupt.h"
#include "train/metrics.h"

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
    const struct train_loop *loop;
    const struct training *training;
    struct train_report *report;
    struct feed *feed;
    struct checkpoint_record record;
    const char *folder; /* of checkpoints */
    struct growth growth;
    uint64_t step, images, last_step, saved; /* images: seen before the step */
    bool has_saved;
    double sums[SLOTS]; /* of loss terms since the last line of metrics */
    uint64_t counts[SLOTS];
    double shown[SLOTS];                          /* smoothed, for the live line */
    double started, line_at, waited, line_waited; /* waited: for feeds that are closed */
    uint64_t line_images;
    FILE *metrics;
    int lock;
    struct progress progress;
    struct arena arena;
};

/* ---- metrics --------------------------------------------------------------------------------- */

static bool open_metrics(struct trainer *trainer, struct error *err)
{
    const char *path = path_join(&trainer->arena, trainer->loop->out, "metrics.jsonl");
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
    return ok || error_set_errno(err, "%s/metrics.jsonl: cannot be written", trainer->loop->out);
}

static struct json *begin_line(const struct trainer *trainer)
{
    struct json *line = json_new_object();
    json_put_integer(line, "step", (int64_t)trainer->step);
    json_put_integer(line, "images", (int64_t)trainer->images);
    return line;
}

/* How far a model that grows has come. */
static void put_growth(const struct trainer *trainer, struct json *line)
{
    const struct stage *stage = &trainer->training->stage;
    if (trainer->growth.first == trainer->growth.size)
        return;
    json_put_integer(line, "side", stage->side);
    json_put_real(line, "alpha", growth_alpha(&trainer->growth, stage, trainer->images));
}

/* The means of each phase's terms; new ones begin. */
static struct json *take_means(struct trainer *trainer)
{
    struct json *phases = json_new_object();
    for (int i = 0; i < trainer->training->phase_count; i++) {
        const struct phase *phase = &trainer->training->phases[i];
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

/* A checkpoint between two lines of metrics holds the sums so far, so that a run that goes on from
 * there writes the next line as one that was never stopped. */
static void sums_text(const struct trainer *trainer, struct text *out)
{
    for (int slot = 0; slot < SLOTS; slot++)
        if (trainer->counts[slot])
            text_format(out, "%d %.17g %" PRIu64 "\n", slot, trainer->sums[slot],
                        trainer->counts[slot]);
}

static void take_sums(struct trainer *trainer, const char *text)
{
    int slot, used;
    double sum;
    uint64_t count;
    while (text && sscanf(text, "%d %lg %" SCNu64 "\n%n", &slot, &sum, &count, &used) == 3) {
        if (slot < 0 || slot >= SLOTS)
            return;
        trainer->sums[slot] = sum;
        trainer->counts[slot] = count;
        text += used;
    }
}

static bool log_line(struct trainer *trainer, struct error *err)
{
    struct json *line = begin_line(trainer);
    double now = clock_seconds(), waited = trainer->waited + feed_waited(trainer->feed);
    put_growth(trainer, line);
    json_put(line, "loss", take_means(trainer));
    json_put_real(line, "images_per_second",
                  (double)(trainer->images - trainer->line_images) /
                      fmax(now - trainer->line_at, 1e-9));
    json_put_real(line, "seconds", now - trainer->started);
    json_put_real(line, "waited", waited - trainer->line_waited);
    json_put_integer(line, "memory", (int64_t)memory_so_far());
    trainer->line_at = now;
    trainer->line_waited = waited;
    trainer->line_images = trainer->images;
    return write_line(trainer, line, err);
}

/* The end of the live line: each term, smoothed over some ten steps, and memory. */
static void show(struct trainer *trainer)
{
    char size[TEXT_SHORT];
    struct text line = { 0 };
    for (int i = 0; i < trainer->training->phase_count; i++)
        for (int k = 0; k < trainer->training->phases[i].term_count; k++)
            text_format(&line, "%s %.3g, ", trainer->training->phases[i].terms[k].name,
                        trainer->shown[i * RECIPE_TERMS + k]);
    progress_note(&trainer->progress, "%s%s", line.length ? line.bytes : "",
                  text_size(size, (double)memory_so_far()));
    text_release(&line);
}

/* ---- beginning ------------------------------------------------------------------------------- */

static bool open_folder(struct trainer *trainer, struct error *err)
{
    trainer->folder = path_join(&trainer->arena, trainer->loop->out, "checkpoints");
    if (!folder_create(trainer->folder, err))
        return false;
    const char *path = path_join(&trainer->arena, trainer->loop->out, "lock");
    trainer->lock = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (trainer->lock < 0)
        return error_set_errno(err, "%s: cannot be written", path);
    if (flock(trainer->lock, LOCK_EX | LOCK_NB) != 0)
        return is_locked_by_another(path, err) &&
               error_set(err, "%s: another run is training in this folder", trainer->loop->out);
    return true;
}

/* The lines of two texts that differ first, for the message. */
static bool same_lines(const char *before, const char *now, const char *path, struct error *err)
{
    size_t at = 0;
    if (strcmp(now, before) == 0)
        return true;
    for (size_t i = 0; now[i] && now[i] == before[i]; i++)
        at = now[i] == '\n' ? i + 1 : at;
    at += strspn(now + at, " ");
    return error_set(err,
                     "%s: was trained with \"%.*s\", asked for is \"%.*s\": train into another "
                     "folder, or with the settings that it had",
                     path, (int)strcspn(before + at, "\n"), before + at,
                     (int)strcspn(now + at, "\n"), now + at);
}

static bool same_settings(const struct train_loop *loop, const char *found, const char *path,
                          struct error *err)
{
    if (!loop->lasting)
        return same_lines(found, loop->record.settings, path, err);
    struct text now = { 0 }, before = { 0 };
    bool ok = loop->lasting(found, path, &before, err) &&
              loop->lasting(loop->record.settings, "the settings", &now, err) &&
              same_lines(before.bytes, now.bytes, path, err);
    text_release(&now);
    text_release(&before);
    return ok;
}

/* "on the training set", or "as reference 2". */
static const char *part_words(const struct checkpoint_record *record, struct arena *arena)
{
    return record->reference ? arena_format(arena, "as reference %" PRIu64, record->reference)
                             : "on the training set";
}

static bool same_part(struct trainer *trainer, const struct checkpoint_record *found,
                      const char *path, struct error *err)
{
    const struct checkpoint_record *asked = &trainer->loop->record;
    if (found->reference != asked->reference)
        return error_set(err, "%s: was trained %s, asked for is %s: train into another folder",
                         path, part_words(found, &trainer->arena),
                         part_words(asked, &trainer->arena));
    return !asked->reference || strcmp(found->half, asked->half) == 0 ||
           error_set(err,
                     "%s: the reference learnt from other people than it would now; train it anew, "
                     "in another folder",
                     path);
}

static bool resume(struct trainer *trainer, const char *path, struct error *err)
{
    const struct train_loop *loop = trainer->loop;
    struct checkpoint_record found;
    if (!checkpoint_read(path, &found, &trainer->arena, err) ||
        !same_settings(loop, found.settings, path, err))
        return false;
    if (strcmp(found.dataset, loop->record.dataset) != 0)
        return error_set(err, "%s: was trained on other data than %s", path,
                         loop->data ? loop->data : "asked for now");
    if (!same_part(trainer, &found, path, err))
        return false;
    /* A checkpoint is of the stage of its last step. */
    uint64_t last = found.step ? found.step - 1 : 0;
    if (!runner_is_for(loop->runner, last) && !runner_move(loop->runner, last, err))
        return false;
    if (!checkpoint_load(path, loop->runner->store, err) ||
        !checkpoint_update_best(trainer->folder, err))
        return false;
    trainer->step = trainer->saved = found.step;
    trainer->images = growth_images(&trainer->growth, trainer->step);
    trainer->has_saved = true;
    take_sums(trainer, found.losses);
    snprintf(trainer->report->checkpoint, sizeof trainer->report->checkpoint, "%s", path);
    return true;
}

/* The steps after which candidates are taken: their checkpoints are made and kept, whatever the
 * interval. One that a training now resumed has already passed by has to be there. */
static bool keep_candidates(struct trainer *trainer, struct error *err)
{
    const struct train_candidate *candidates = trainer->loop->candidates;
    uint64_t *steps = arena_array(&trainer->arena, uint64_t, trainer->loop->candidate_count);
    struct checkpoint_record *record = &trainer->record;
    record->kept = steps;
    for (size_t i = 0; i < trainer->loop->candidate_count; i++) {
        const char *path;
        if (!candidates[i].images)
            continue;
        uint64_t step = growth_steps(&trainer->growth, (uint64_t)candidates[i].images);
        if (step > trainer->last_step)
            return error_set(err,
                             "the candidate %s is to be taken after %" PRId64
                             " images, but training ends after %" PRIu64,
                             candidates[i].name, candidates[i].images,
                             growth_images(&trainer->growth, trainer->last_step));
        if (step <= trainer->step &&
            !checkpoint_after(trainer->folder, step, &trainer->arena, &path, err))
            return error_prefix(err, "the candidate %s", candidates[i].name);
        steps[record->kept_count++] = step;
    }
    return true;
}

static bool open_feed(struct trainer *trainer, struct error *err)
{
    size_t batch = (size_t)trainer->training->batch;
    trainer->feed = feed_open(&trainer->loop->source, trainer->images, batch, err);
    return trainer->feed;
}

static bool begin(struct trainer *trainer, struct error *err)
{
    const char *path;
    const struct train_loop *loop = trainer->loop;
    if (!open_folder(trainer, err) ||
        !checkpoint_latest(trainer->folder, &trainer->arena, &path, err) ||
        !(path ? resume(trainer, path, err) : runner_begin(loop->runner, err)))
        return false;
    if (!keep_candidates(trainer, err))
        return false;
    trainer->report->resumed_at = trainer->step;
    trainer->line_images = trainer->images;
    trainer->started = trainer->line_at = clock_seconds();
    return open_feed(trainer, err) && open_metrics(trainer, err);
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
    for (int i = 0; i < trainer->training->phase_count; i++) {
        const struct phase *phase = &trainer->training->phases[i];
        for (int k = 0; trainer->loop->runner->ran[i] && k < phase->term_count; k++) {
            double value = trainer->loop->runner->terms[i][k];
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
    struct error why;
    const float *images = feed_next(trainer->feed);
    if (!runner_step(trainer->loop->runner, trainer->step, images, feed_labels(trainer->feed),
                     &why))
        return stopped(trainer, why.message, err);
    if (!note_terms(trainer, err))
        return false;
    trainer->step++;
    trainer->images += (uint64_t)trainer->training->batch;
    show(trainer);
    progress_add(&trainer->progress, (uint64_t)trainer->training->batch);
    return true;
}

/* The loss on images held out, into the record and the metrics. */
static bool validate(struct trainer *trainer, struct error *err)
{
    trainer->record.validation = NAN;
    if (trainer->loop->preview &&
        !preview_validate(trainer->loop->preview, trainer->loop->runner->store, trainer->step,
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
    trainer->record.images = trainer->images;
    struct error why;
    struct text losses = { 0 };
    sums_text(trainer, &losses);
    trainer->record.losses = losses.bytes;
    bool ok = runner_compare(trainer->loop->runner, &why) &&
              checkpoint_save(trainer->folder, trainer->loop->runner->store, &trainer->record,
                              trainer->loop->keep, &why);
    trainer->record.losses = NULL;
    text_release(&losses);
    if (!ok)
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
    int64_t interval = trainer->loop->samples;
    if (!interval || (trainer->step % (uint64_t)interval && trainer->step != trainer->last_step))
        return true;
    return preview_draw(trainer->loop->preview, trainer->loop->runner->store, trainer->step, err);
}

static bool is_due(const struct trainer *trainer)
{
    for (size_t i = 0; i < trainer->record.kept_count; i++)
        if (trainer->step == trainer->record.kept[i])
            return true;
    return trainer->step % (uint64_t)trainer->loop->checkpoint == 0;
}

/* ---- growth ---------------------------------------------------------------------------------- */

/* The bar is of a stage, as images of another side take another time: what is told to be left is
 * left of the stage. */
static void begin_progress(struct trainer *trainer)
{
    const struct stage *stage = &trainer->training->stage;
    const char *unit = "images";
    uint64_t left = trainer->last_step > trainer->step ? trainer->last_step - trainer->step : 0;
    if (stage->steps != UINT64_MAX && stage->step + stage->steps < trainer->last_step)
        left = stage->step + stage->steps - trainer->step;
    if (trainer->growth.first != trainer->growth.size)
        unit = arena_format(&trainer->arena, "images of side %d", stage->side);
    progress_begin(&trainer->progress, trainer->loop->what, unit,
                   left * (uint64_t)trainer->training->batch);
}

/* Goes on with the stage of the next step. What was learnt is saved first: should there be too
 * little memory now, nothing is lost. */
static bool grow(struct trainer *trainer, struct error *err)
{
    struct error why;
    if (!save(trainer, err))
        return false;
    trainer->waited += feed_waited(trainer->feed);
    feed_close(trainer->feed);
    trainer->feed = NULL;
    if (!runner_grow(trainer->loop->runner, trainer->step, &why) || !open_feed(trainer, &why))
        return stopped(trainer, why.message, err);
    progress_end(&trainer->progress);
    begin_progress(trainer);
    return true;
}

static bool run_steps(struct trainer *trainer, struct error *err)
{
    const struct train_loop *loop = trainer->loop;
    double limit = loop->time_limit * 60;
    trainer->report->end = TRAIN_COMPLETE;
    while (trainer->step < trainer->last_step) {
        if (interrupted() || (limit > 0 && clock_seconds() - trainer->started >= limit)) {
            trainer->report->end = interrupted() ? TRAIN_SIGNAL : TRAIN_TIME;
            break;
        }
        if (!runner_is_for(loop->runner, trainer->step) && !grow(trainer, err))
            return false;
        if (!take_step(trainer, err) || !draw_samples(trainer, err))
            return false;
        if (trainer->step % (uint64_t)loop->log == 0 && !log_line(trainer, err))
            return false;
        if (is_due(trainer) && !save(trainer, err))
            return false;
    }
    return save(trainer, err);
}

/* Where the time went, for who asked plans to measure it (tensor/plan.h). */
static bool write_profile(struct trainer *trainer, struct error *err)
{
    const char *asked = getenv("LETHE_PROFILE");
    if (!asked || strcmp(asked, "1") != 0)
        return true;
    const char *path = path_join(&trainer->arena, trainer->loop->out, "profile.txt");
    FILE *file = fopen(path, "w");
    if (!file)
        return error_set_errno(err, "%s: cannot be written", path);
    runner_profile(trainer->loop->runner, file);
    return fclose(file) == 0 || error_set_errno(err, "%s: cannot be written", path);
}

static bool run_from_here(struct trainer *trainer, struct error *err)
{
    begin_progress(trainer);
    bool ok = run_steps(trainer, err);
    progress_end(&trainer->progress);
    trainer->report->step = trainer->step;
    trainer->report->images = trainer->images;
    trainer->report->seconds = clock_seconds() - trainer->started;
    return ok && write_profile(trainer, err);
}

static void end(struct trainer *trainer)
{
    feed_close(trainer->feed);
    if (trainer->metrics)
        fclose(trainer->metrics);
    if (trainer->lock >= 0)
        close(trainer->lock);
    arena_release(&trainer->arena);
}

bool train_loop_run(const struct train_loop *loop, struct train_report *report, struct error *err)
{
    const struct training *training = &loop->runner->training;
    struct trainer trainer = { .loop = loop,
                               .training = training,
                               .report = report,
                               .record = loop->record,
                               .growth = training->growth,
                               .last_step = growth_steps(&training->growth, (uint64_t)loop->images),
                               .lock = -1 };
    struct interrupts before;
    *report = (struct train_report){ 0 };
    arena_init(&trainer.arena);
    interrupts_catch(&before);
    bool ok = begin(&trainer, err) && run_from_here(&trainer, err);
    interrupts_restore(&before);
    end(&trainer);
    if (ok && report->end != TRAIN_SIGNAL)
        interrupts_pass_on();
    return ok;
}
