/* The training loop; see loop.h. */
#include "train/loop.h"

#include "base/file.h"
#include "base/json.h"
#include "base/progress.h"
#include "tensor/cpu.h"
#include "train/batches.h"
#include "train/checkpoint.h"
#include "train/metrics.h"
#include "train/recipe.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
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
    struct training training;
    struct store *store;
    struct plan *plans[RECIPE_PHASES];
    float *images; /* the batch on the host */
    struct checkpoint_record record;
    const char *folder; /* of checkpoints */
    uint64_t step, last_step, saved;
    bool has_saved;
    double sums[SLOTS]; /* of loss terms since the last line of metrics */
    uint64_t counts[SLOTS];
    double started, line_at;
    uint64_t line_step;
    FILE *metrics;
    int lock;
    struct text settings;
    struct arena arena;
};

/* ---- signals --------------------------------------------------------------------------------- */

static volatile sig_atomic_t signalled;

static void note_signal(int number)
{
    signalled = number;
}

struct handlers {
    struct sigaction interrupt, terminate;
};

static void catch_signals(struct handlers *before)
{
    struct sigaction action = { .sa_handler = note_signal };
    sigemptyset(&action.sa_mask);
    signalled = 0;
    sigaction(SIGINT, &action, &before->interrupt);
    sigaction(SIGTERM, &action, &before->terminate);
}

static void restore_signals(const struct handlers *before)
{
    sigaction(SIGINT, &before->interrupt, NULL);
    sigaction(SIGTERM, &before->terminate, NULL);
}

/* ---- metrics --------------------------------------------------------------------------------- */

static bool open_metrics(struct trainer *trainer, struct error *err)
{
    const char *path = path_join(&trainer->arena, trainer->job->out, "metrics.jsonl");
    if (!metrics_trim(path, trainer->step, err))
        return false;
    int descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    trainer->metrics = descriptor >= 0 ? fdopen(descriptor, "a") : NULL;
    return trainer->metrics || error_set_errno(err, "%s: cannot be written", path);
}

/* A line, and a new mean begins. */
static bool log_line(struct trainer *trainer, struct error *err)
{
    struct json *line = json_new_object(), *phases = json_new_object();
    double now = clock_seconds(), batch = (double)trainer->training.settings.batch;
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    for (int i = 0; i < trainer->training.phase_count; i++) {
        const struct phase *phase = &trainer->training.phases[i];
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
    json_put_integer(line, "step", (int64_t)trainer->step);
    json_put_integer(line, "images", (int64_t)trainer->step * trainer->training.settings.batch);
    json_put(line, "loss", phases);
    json_put_real(line, "images_per_second",
                  (double)(trainer->step - trainer->line_step) * batch /
                      fmax(now - trainer->line_at, 1e-9));
    json_put_real(line, "seconds", now - trainer->started);
    json_put_integer(line, "memory", (int64_t)usage.ru_maxrss * 1024);
    char *text = json_line(line);
    bool ok = fputs(text, trainer->metrics) >= 0 && fflush(trainer->metrics) == 0;
    memory_free(text);
    json_free(line);
    trainer->line_at = now;
    trainer->line_step = trainer->step;
    return ok || error_set_errno(err, "%s/metrics.jsonl: cannot be written", trainer->job->out);
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
    return training_init(&trainer->training, settings, (int)format->channels, (int)format->size,
                         err);
}

/* Every parameter and every state of the graph, in the order of their creation. */
static struct node **leaves(const struct training *training, size_t *count, struct arena *arena)
{
    size_t nodes = graph_size(training->graph);
    struct node **found = arena_array(arena, struct node *, nodes);
    *count = 0;
    for (size_t id = 0; id < nodes; id++)
        if (graph_node(training->graph, id)->op == OP_PARAMETER)
            found[(*count)++] = graph_node(training->graph, id);
    return found;
}

/* All memory of the run: tensors in one order whatever plans ask for first, then the plans. */
static bool make_plans(struct trainer *trainer, struct error *err)
{
    size_t count;
    struct training *training = &trainer->training;
    const struct train_settings *settings = &training->settings;
    trainer->store = store_new(&cpu_backend);
    if (!store_set_precision(trainer->store, (enum precision)settings->precision, err))
        return false;
    struct node **all = leaves(training, &count, &trainer->arena);
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++)
        ok = store_require(trainer->store, all[i]->leaf.name, all[i]->dtype, all[i]->shape, err);
    for (int i = 0; ok && i < training->phase_count; i++) {
        const struct phase *phase = &training->phases[i];
        struct node *terms[RECIPE_TERMS];
        for (int k = 0; k < phase->term_count; k++)
            terms[k] = phase->terms[k].value;
        trainer->plans[i] = plan_create(trainer->store, terms, (size_t)phase->term_count,
                                        phase->updates.items, phase->updates.count, err);
        ok = trainer->plans[i];
    }
    trainer->images = ok ? memory_allocate(shape_count(training->real->shape), sizeof(float),
                                           "a batch of images", err)
                         : NULL;
    return trainer->images ||
           error_prefix(err, "with a batch of %lld (a smaller --batch takes less)",
                        (long long)settings->batch);
}

static bool begin_anew(struct trainer *trainer, struct error *err)
{
    size_t count;
    struct node **all = leaves(&trainer->training, &count, &trainer->arena);
    struct plan *plan = plan_initial(trainer->store, all, count, err);
    bool ok = plan && plan_run(plan, 0, (uint64_t)trainer->training.settings.seed, err);
    plan_free(plan);
    return ok;
}

/* The lines of two texts that differ first, for the message. */
static bool same_settings(const struct trainer *trainer, const struct checkpoint_record *found,
                          const char *path, struct arena *arena, struct error *err)
{
    struct train_settings theirs;
    struct text now = { 0 }, before = { 0 };
    if (!train_settings_parse(found->settings, path, &theirs, arena, err))
        return false;
    train_settings_text(&trainer->training.settings, true, &now);
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
    if (!checkpoint_load(path, trainer->store, err))
        return false;
    trainer->step = trainer->saved = found.step;
    trainer->has_saved = true;
    snprintf(trainer->report->checkpoint, sizeof trainer->report->checkpoint, "%s", path);
    return true;
}

static bool begin(struct trainer *trainer, struct error *err)
{
    const char *path;
    if (!open_data(trainer, err) || !open_folder(trainer, err) || !make_plans(trainer, err) ||
        !checkpoint_latest(trainer->folder, &trainer->arena, &path, err) ||
        !(path ? resume(trainer, path, err) : begin_anew(trainer, err)))
        return false;
    const struct train_settings *settings = &trainer->training.settings;
    train_settings_text(settings, false, &trainer->settings);
    trainer->record.settings = trainer->settings.bytes;
    trainer->last_step = (uint64_t)((settings->images + settings->batch - 1) / settings->batch);
    trainer->report->resumed_at = trainer->line_step = trainer->step;
    trainer->started = trainer->line_at = clock_seconds();
    return open_metrics(trainer, err);
}

/* ---- steps ----------------------------------------------------------------------------------- */

/* What went wrong, with the step before it and the last good checkpoint after it. */
static bool stopped(const struct trainer *trainer, const char *what, struct error *err)
{
    const char *good = trainer->report->checkpoint;
    return error_set(err, "step %" PRIu64 ": %s; %s%s", trainer->step, what,
                     *good ? "the last good checkpoint is " : "there is no checkpoint yet", good);
}

static bool run_phase(struct trainer *trainer, int i, struct error *err)
{
    const struct phase *phase = &trainer->training.phases[i];
    struct plan *plan = trainer->plans[i];
    float decay = (float)recipe_of(&trainer->training.settings)
                      ->decay(&trainer->training.settings, trainer->step);
    plan_write(plan, trainer->training.real, trainer->images);
    plan_write(plan, trainer->training.decay, &decay);
    if (!plan_run(plan, trainer->step, (uint64_t)trainer->training.settings.seed, err))
        return false;
    for (int k = 0; k < phase->term_count; k++) {
        float value;
        plan_read(plan, phase->terms[k].value, &value);
        if (!(fabs((double)value) < DIVERGED)) { /* NaN too */
            char what[192];
            snprintf(what, sizeof what,
                     "training has diverged, the term \"%s\" of the phase %s is %g",
                     phase->terms[k].name, phase->name, (double)value);
            return stopped(trainer, what, err);
        }
        trainer->sums[i * RECIPE_TERMS + k] += (double)value;
        trainer->counts[i * RECIPE_TERMS + k]++;
    }
    return true;
}

static bool take_step(struct trainer *trainer, struct error *err)
{
    uint64_t batch = (uint64_t)trainer->training.settings.batch;
    batches_read(trainer->batches, trainer->step * batch, batch, trainer->images);
    for (int i = 0; i < trainer->training.phase_count; i++)
        if (trainer->step % (uint64_t)trainer->training.phases[i].interval == 0 &&
            !run_phase(trainer, i, err))
            return false;
    trainer->step++;
    return true;
}

static bool save(struct trainer *trainer, struct error *err)
{
    if (trainer->has_saved && trainer->saved == trainer->step)
        return true;
    trainer->record.step = trainer->step;
    trainer->record.images = trainer->step * (uint64_t)trainer->training.settings.batch;
    struct error why;
    if (!checkpoint_save(trainer->folder, trainer->store, &trainer->record,
                         trainer->training.settings.keep, &why))
        return stopped(trainer, why.message, err);
    trainer->saved = trainer->step;
    trainer->has_saved = true;
    const char *path;
    if (!checkpoint_latest(trainer->folder, &trainer->arena, &path, err))
        return false;
    snprintf(trainer->report->checkpoint, sizeof trainer->report->checkpoint, "%s", path);
    return true;
}

static bool run_steps(struct trainer *trainer, struct progress *progress, struct error *err)
{
    const struct train_settings *settings = &trainer->training.settings;
    double limit = settings->time_limit * 60;
    trainer->report->end = TRAIN_COMPLETE;
    while (trainer->step < trainer->last_step) {
        if (signalled || (limit > 0 && clock_seconds() - trainer->started >= limit)) {
            trainer->report->end = signalled ? TRAIN_SIGNAL : TRAIN_TIME;
            break;
        }
        if (!take_step(trainer, err))
            return false;
        progress_add(progress, (uint64_t)settings->batch);
        if (trainer->step % (uint64_t)settings->log == 0 && !log_line(trainer, err))
            return false;
        if (trainer->step % (uint64_t)settings->checkpoint == 0 && !save(trainer, err))
            return false;
    }
    return save(trainer, err);
}

static void end(struct trainer *trainer)
{
    for (int i = 0; i < RECIPE_PHASES; i++)
        plan_free(trainer->plans[i]);
    store_free(trainer->store);
    if (trainer->training.graph)
        training_release(&trainer->training);
    batches_free(trainer->batches);
    memory_free(trainer->images);
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
    struct handlers before;
    struct progress progress;
    *report = (struct train_report){ 0 };
    arena_init(&trainer.arena);
    catch_signals(&before);
    bool ok = begin(&trainer, err);
    if (ok) {
        uint64_t batch = (uint64_t)trainer.training.settings.batch;
        progress_begin(&progress, "train", "images",
                       trainer.last_step > trainer.step ? (trainer.last_step - trainer.step) * batch
                                                        : 0);
        ok = run_steps(&trainer, &progress, err);
        progress_end(&progress);
        report->step = trainer.step;
        report->images = trainer.step * batch;
        report->seconds = clock_seconds() - trainer.started;
    }
    restore_signals(&before);
    end(&trainer);
    return ok;
}
