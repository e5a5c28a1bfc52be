/* What any training does around its steps; see session.h. */
#include "train/session.h"

#include "base/file.h"
#include "base/json.h"
#include "base/progress.h"
#include "train/interrupt.h"
#include "train/metrics.h"

#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <unistd.h>

/* A loss term beyond this has diverged, long before it is infinite. */
static const double DIVERGED = 1e8;

struct attempt {
    const struct session *session;
    struct train_report *report;
    struct checkpoint_record record;
    const char *folder; /* of checkpoints */
    uint64_t step, saved, line_step;
    bool has_saved;
    double sums[SESSION_TERMS]; /* of terms since the last line of metrics */
    double started, line_at;
    FILE *metrics;
    int lock;
    struct arena arena;
};

/* ---- metrics --------------------------------------------------------------------------------- */

static bool open_metrics(struct attempt *run, struct error *err)
{
    const char *path = path_join(&run->arena, run->session->out, "metrics.jsonl");
    run->metrics = metrics_append(path, run->step, err);
    return run->metrics;
}

static struct json *line_of_metrics(struct attempt *run, double now)
{
    struct json *line = json_new_object(), *phases = json_new_object(), *terms = json_new_object();
    const struct session *session = run->session;
    double steps = (double)(run->step - run->line_step);
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    for (int i = 0; i < SESSION_TERMS && session->terms[i]; i++)
        json_put_real(terms, session->terms[i], run->sums[i] / steps);
    json_put(phases, "main", terms);
    json_put_integer(line, "step", (int64_t)run->step);
    json_put_integer(line, "images", (int64_t)(run->step * session->batch));
    json_put(line, "loss", phases);
    json_put_real(line, "images_per_second",
                  steps * (double)session->batch / fmax(now - run->line_at, 1e-9));
    json_put_real(line, "seconds", now - run->started);
    json_put_integer(line, "memory", (int64_t)usage.ru_maxrss * 1024);
    return line;
}

/* A line, and new means begin. */
static bool log_line(struct attempt *run, struct error *err)
{
    double now = clock_seconds();
    struct json *line = line_of_metrics(run, now);
    char *text = json_line(line);
    bool ok = fputs(text, run->metrics) >= 0 && fflush(run->metrics) == 0;
    memory_free(text);
    json_free(line);
    memset(run->sums, 0, sizeof run->sums);
    run->line_at = now;
    run->line_step = run->step;
    return ok || error_set_errno(err, "%s/metrics.jsonl: cannot be written", run->session->out);
}

/* ---- beginning ------------------------------------------------------------------------------- */

static bool open_folder(struct attempt *run, struct error *err)
{
    run->folder = path_join(&run->arena, run->session->out, "checkpoints");
    if (!folder_create(run->folder, err))
        return false;
    const char *path = path_join(&run->arena, run->session->out, "lock");
    run->lock = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (run->lock < 0)
        return error_set_errno(err, "%s: cannot be written", path);
    if (flock(run->lock, LOCK_EX | LOCK_NB) != 0)
        return error_set(err, "%s: another run is training in this folder", run->session->out);
    return true;
}

/* The lines of two texts that differ first, for the message. */
static bool same_settings(const char *before, const char *now, const char *path, struct error *err)
{
    size_t at = 0;
    if (strcmp(now, before) == 0)
        return true;
    for (size_t i = 0; now[i] && now[i] == before[i]; i++)
        at = now[i] == '\n' ? i + 1 : at;
    now += at + strspn(now + at, " ");
    before += at + strspn(before + at, " ");
    return error_set(err,
                     "%s: was trained with \"%.*s\", asked for is \"%.*s\": train into another "
                     "folder, or with the settings that it had",
                     path, (int)strcspn(before, "\n"), before, (int)strcspn(now, "\n"), now);
}

static bool resume(struct attempt *run, const char *path, struct error *err)
{
    struct checkpoint_record found;
    if (!checkpoint_read(path, &found, &run->arena, err) ||
        !same_settings(found.settings, run->record.settings, path, err))
        return false;
    if (strcmp(found.dataset, run->record.dataset) != 0)
        return error_set(err, "%s: was trained on other data than asked for now", path);
    if (!checkpoint_load(path, run->session->store, err))
        return false;
    run->step = run->saved = found.step;
    run->has_saved = true;
    snprintf(run->report->checkpoint, sizeof run->report->checkpoint, "%s", path);
    return true;
}

static bool begin(struct attempt *run, struct error *err)
{
    const char *path;
    const struct session *session = run->session;
    if (!open_folder(run, err) || !checkpoint_latest(run->folder, &run->arena, &path, err) ||
        !(path ? resume(run, path, err) : session->begin(session->context, err)))
        return false;
    run->report->resumed_at = run->line_step = run->step;
    run->started = run->line_at = clock_seconds();
    return open_metrics(run, err);
}

/* ---- steps ----------------------------------------------------------------------------------- */

/* What went wrong, with the step before it and the last good checkpoint after it. */
static bool stopped(const struct attempt *run, const char *what, struct error *err)
{
    const char *good = run->report->checkpoint;
    return error_set(err, "step %" PRIu64 ": %s; %s%s", run->step, what,
                     *good ? "the last good checkpoint is " : "there is no checkpoint yet", good);
}

static bool take_step(struct attempt *run, struct error *err)
{
    double terms[SESSION_TERMS] = { 0 };
    const struct session *session = run->session;
    if (!session->step(session->context, run->step, terms, err))
        return false;
    for (int i = 0; i < SESSION_TERMS && session->terms[i]; i++) {
        if (!(fabs(terms[i]) < DIVERGED)) { /* NaN too */
            char what[160];
            snprintf(what, sizeof what, "training has diverged, the term \"%s\" is %g",
                     session->terms[i], terms[i]);
            return stopped(run, what, err);
        }
        run->sums[i] += terms[i];
    }
    run->step++;
    return true;
}

static bool save(struct attempt *run, struct error *err)
{
    const char *path;
    struct error why;
    if (run->has_saved && run->saved == run->step)
        return true;
    run->record.step = run->step;
    run->record.images = run->step * run->session->batch;
    if (!checkpoint_save(run->folder, run->session->store, &run->record, run->session->keep, &why))
        return stopped(run, why.message, err);
    run->saved = run->step;
    run->has_saved = true;
    if (!checkpoint_latest(run->folder, &run->arena, &path, err))
        return false;
    snprintf(run->report->checkpoint, sizeof run->report->checkpoint, "%s", path);
    return true;
}

static bool run_steps(struct attempt *run, struct progress *progress, struct error *err)
{
    const struct session *session = run->session;
    double limit = session->time_limit * 60;
    run->report->end = TRAIN_COMPLETE;
    while (run->step < session->steps) {
        if (interrupted() || (limit > 0 && clock_seconds() - run->started >= limit)) {
            run->report->end = interrupted() ? TRAIN_SIGNAL : TRAIN_TIME;
            break;
        }
        if (!take_step(run, err))
            return false;
        progress_add(progress, session->batch);
        if (run->step % (uint64_t)session->log == 0 && !log_line(run, err))
            return false;
        if (run->step % (uint64_t)session->checkpoint == 0 && !save(run, err))
            return false;
    }
    return save(run, err);
}

bool session_run(const struct session *session, struct train_report *report, struct error *err)
{
    struct attempt run = {
        .session = session, .report = report, .record = session->record, .lock = -1
    };
    struct interrupts before;
    struct progress progress;
    *report = (struct train_report){ 0 };
    arena_init(&run.arena);
    interrupts_catch(&before);
    bool ok = begin(&run, err);
    if (ok) {
        uint64_t left = session->steps > run.step ? session->steps - run.step : 0;
        progress_begin(&progress, session->what, "images", left * session->batch);
        ok = run_steps(&run, &progress, err);
        progress_end(&progress);
        report->step = run.step;
        report->images = run.step * session->batch;
        report->seconds = clock_seconds() - run.started;
    }
    interrupts_restore(&before);
    if (run.metrics)
        fclose(run.metrics);
    if (run.lock >= 0)
        close(run.lock);
    arena_release(&run.arena);
    return ok;
}
