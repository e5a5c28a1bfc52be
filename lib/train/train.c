/* Training a generator; see train.h. */
#include "train/train.h"

#include "base/file.h"
#include "train/batches.h"
#include "train/loop.h"
#include "train/shared.h"

struct generator_run {
    const struct train_job *job;
    struct batches *batches;
    struct train_settings resolved;
    struct runner runner;
    struct ranks *ranks;     /* who share it; NULL: nobody */
    struct preview *preview; /* NULL: neither pictures nor validation are asked for */
    struct checkpoint_record record;
    struct text settings, names;
};

static bool open_data(struct generator_run *run, struct error *err)
{
    const struct train_settings *settings = run->job->settings;
    struct batches_options options = { .masks = settings->masks != TRAIN_MASKS_NONE,
                                       .mirror = settings->mirror,
                                       .reference = run->job->reference,
                                       .seed = settings->seed < 0 ? 1 : (uint64_t)settings->seed };
    run->batches = batches_open(run->job->dataset, &options, err);
    if (!run->batches)
        return false;
    const struct batches_format *format = batches_format(run->batches);
    run->resolved = *settings;
    if (!train_settings_resolve(&run->resolved, (int)format->size, err))
        return error_prefix(err, "%s", recipe_of(settings)->name);
    if (run->job->reference) /* it learns from held-out images, so these choose nothing */
        run->resolved.validate = 0;
    checkpoint_channels(format->channel_names, format->channels, &run->names);
    train_settings_text(&run->resolved, false, &run->settings);
    if (run->job->device)
        run->resolved.device = run->job->device;
    run->record = (struct checkpoint_record){ .settings = run->settings.bytes,
                                              .dataset = format->digest,
                                              .channels = run->names.bytes,
                                              .masks = format->masks,
                                              .reference = run->job->reference,
                                              .half = format->half,
                                              .channel_count = format->channels,
                                              .size = format->size };
    return true;
}

/* Pictures and validation take memory too: it is set aside before the first step, and before
 * training's, so that what training will take is judged by what is left. */
static bool open_preview(struct generator_run *run, struct error *err)
{
    const struct train_settings *settings = &run->resolved;
    if (!settings->samples && !settings->validate)
        return true;
    run->preview = preview_open(run->job->dataset, run->job->out, settings, &run->record, err);
    return run->preview;
}

static bool open_runner(struct generator_run *run, struct error *err)
{
    const struct train_beside *beside = run->job->beside;
    if (!runner_init(&run->runner, &run->resolved, (int)run->record.channel_count,
                     (int)run->record.size, err))
        return false;
    if (beside && beside->count)
        run->ranks = shared_open(beside, &run->runner, err);
    run->runner.ranks = run->ranks;
    return run->ranks || !beside || !beside->count;
}

static bool lasting(const char *settings, const char *path, struct text *out, struct error *err)
{
    struct arena arena;
    struct train_settings parsed;
    arena_init(&arena);
    bool ok = train_settings_parse(settings, path, &parsed, &arena, err);
    if (ok)
        train_settings_text(&parsed, true, out);
    arena_release(&arena);
    return ok;
}

static bool run_loop(struct generator_run *run, struct train_report *report, struct error *err)
{
    const struct train_settings *settings = &run->resolved;
    struct train_loop loop = { .out = run->job->out,
                               .what = "train",
                               .runner = &run->runner,
                               .source = batches_feed(run->batches),
                               .images = settings->images,
                               .checkpoint = settings->checkpoint,
                               .keep = settings->keep,
                               .log = settings->log,
                               .time_limit = run->job->no_time_limit ? 0 : settings->time_limit,
                               .record = run->record,
                               .data = run->job->dataset,
                               .lasting = lasting,
                               .candidates = run->job->settings->candidates.items,
                               .candidate_count = run->job->settings->candidates.count,
                               .preview = run->preview,
                               .samples = settings->samples };
    return train_loop_run(&loop, report, err);
}

bool train(const struct train_job *job, struct train_report *report, struct error *err)
{
    struct generator_run run = { .job = job };
    *report = (struct train_report){ 0 };
    bool ok = open_data(&run, err) && open_preview(&run, err) && open_runner(&run, err) &&
              run_loop(&run, report, err);
    ranks_close(run.ranks);
    preview_free(run.preview);
    runner_release(&run.runner);
    batches_free(run.batches);
    text_release(&run.settings);
    text_release(&run.names);
    return ok;
}

bool train_is_complete(const struct train_job *job)
{
    struct checkpoint_record latest;
    struct arena arena;
    const char *last;
    arena_init(&arena);
    struct train_settings settings = *job->settings;
    bool complete =
        checkpoint_latest(path_join(&arena, job->out, "checkpoints"), &arena, &last, NULL) &&
        last && checkpoint_read(last, &latest, &arena, NULL) &&
        train_settings_resolve(&settings, (int)latest.size, NULL);
    if (complete) {
        struct growth growth = recipe_growth(&settings, (int)latest.size);
        complete = latest.step >= growth_steps(&growth, (uint64_t)settings.images);
    }
    arena_release(&arena);
    return complete;
}

bool train_checkpoint(const char *folder, uint64_t images, struct arena *arena, const char **path,
                      struct error *err)
{
    struct checkpoint_record latest;
    struct train_settings settings;
    const char *checkpoints = path_join(arena, folder, "checkpoints"), *last;
    if (!checkpoint_latest(checkpoints, arena, &last, err))
        return false;
    if (!last)
        return error_set(err, "%s: there is no checkpoint", checkpoints);
    if (!checkpoint_read(last, &latest, arena, err) ||
        !train_settings_parse(latest.settings, last, &settings, arena, err))
        return false;
    struct growth growth = recipe_growth(&settings, (int)latest.size);
    return checkpoint_after(checkpoints, growth_steps(&growth, images), arena, path, err);
}
