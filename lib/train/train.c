/* Training a generator; see train.h. */
#include "train/train.h"

#include "train/batches.h"
#include "train/loop.h"

struct generator_run {
    const struct train_job *job;
    struct batches *batches;
    struct runner runner;
    struct preview *preview; /* NULL: neither pictures nor validation are asked for */
    struct checkpoint_record record;
    struct text settings, names;
};

static const struct train_settings *settings_of(const struct generator_run *run)
{
    return &run->runner.training.settings;
}

static bool open_data(struct generator_run *run, struct error *err)
{
    const struct train_settings *settings = run->job->settings;
    struct batches_options options = { .masks = settings->masks != TRAIN_MASKS_NONE,
                                       .mirror = settings->mirror,
                                       .seed = settings->seed < 0 ? 1 : (uint64_t)settings->seed };
    run->batches = batches_open(run->job->dataset, &options, err);
    if (!run->batches)
        return false;
    const struct batches_format *format = batches_format(run->batches);
    if (!runner_init(&run->runner, settings, (int)format->channels, (int)format->size, err))
        return false;
    checkpoint_channels(format->channel_names, format->channels, &run->names);
    train_settings_text(settings_of(run), false, &run->settings);
    run->record = (struct checkpoint_record){ .settings = run->settings.bytes,
                                              .dataset = format->digest,
                                              .channels = run->names.bytes,
                                              .masks = format->masks,
                                              .channel_count = format->channels,
                                              .size = format->size };
    return true;
}

/* Pictures and validation take memory too: it is set aside before the first step. */
static bool open_preview(struct generator_run *run, struct error *err)
{
    const struct train_settings *settings = settings_of(run);
    if (!settings->samples && !settings->validate)
        return true;
    run->preview = preview_open(run->job->dataset, run->job->out, settings, &run->record, err);
    return run->preview;
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
    const struct train_settings *settings = settings_of(run);
    struct train_loop loop = { .out = run->job->out,
                               .what = "train",
                               .runner = &run->runner,
                               .source = batches_feed(run->batches),
                               .images = settings->images,
                               .checkpoint = settings->checkpoint,
                               .keep = settings->keep,
                               .log = settings->log,
                               .time_limit = settings->time_limit,
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
    bool ok = open_data(&run, err) && open_preview(&run, err) && run_loop(&run, report, err);
    preview_free(run.preview);
    runner_release(&run.runner);
    batches_free(run.batches);
    text_release(&run.settings);
    text_release(&run.names);
    return ok;
}
