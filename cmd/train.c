/* lethe train: from a dataset store to a generator. */
#include "command.h"
#include "plan.h"

#include "base/file.h"
#include "base/json.h"
#include "base/progress.h"
#include "base/text.h"
#include "plan/stage.h"
#include "train/loop.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct options {
    const char *dataset, *out;
    struct train_settings settings;
};

static const struct yaml_field options[] = {
    { .key = "dataset",
      .kind = YAML_STRING,
      .offset = offsetof(struct options, dataset),
      .metavar = "STORE",
      .help = "dataset store; its split train is used" },
    { .key = "out",
      .kind = YAML_STRING,
      .offset = offsetof(struct options, out),
      .metavar = "FOLDER",
      .help = "folder to train in; one with checkpoints is resumed" },
    { .key = "settings",
      .kind = YAML_SECTION,
      .offset = offsetof(struct options, settings),
      .section = train_fields },
    { 0 },
};

static const char *const ends[TRAIN_END_COUNT] = { "complete", "signal", "time" };

static void print_json(const struct train_job *job, const struct train_report *report)
{
    struct json *document = json_new_object();
    json_put_string(document, "folder", job->out);
    json_put_string(document, "model", model_names[job->settings->model]);
    json_put_string(document, "end", ends[report->end]);
    json_put_integer(document, "resumed_at", (int64_t)report->resumed_at);
    json_put_integer(document, "step", (int64_t)report->step);
    json_put_integer(document, "images", (int64_t)report->images);
    json_put_real(document, "seconds", report->seconds);
    json_put_string(document, "checkpoint", report->checkpoint);
    char *text = json_text(document);
    fputs(text, stdout);
    memory_free(text);
    json_free(document);
}

static void print_summary(const struct train_job *job, const struct train_report *report)
{
    static const char *const words[TRAIN_END_COUNT] = { "trained", "stopped by a signal",
                                                        "stopped by the time limit" };
    char duration[TEXT_SHORT];
    printf("%s: %s, %" PRIu64 " images in %" PRIu64 " steps", job->out, words[report->end],
           report->images, report->step);
    if (report->resumed_at)
        printf(", resumed at step %" PRIu64, report->resumed_at);
    printf(" (%s)\n", text_duration(duration, report->seconds));
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

static enum exit_code run_job(struct invocation *invocation, const struct train_job *job,
                              bool *complete)
{
    struct train_report report;
    *complete = false;
    if (!train(job, &report, &invocation->err))
        return command_failed(invocation);
    *complete = report.end == TRAIN_COMPLETE;
    if (invocation->json)
        print_json(job, &report);
    else
        print_summary(job, &report);
    if (!*complete)
        print_resume(invocation);
    return EXIT_YES;
}

/* Settings as they were given, and the data: what decides about the outcome. */
static bool inputs_digest(const struct train_job *job, struct arena *arena, struct digest *digest,
                          struct error *err)
{
    struct digest data;
    char hex[DIGEST_HEX];
    if (!digest_file(path_join(arena, job->dataset, "dataset.json"), &data, err))
        return false;
    struct text text = { 0 };
    text_format(&text, "dataset %s\n", digest_hex(&data, hex));
    train_settings_text(job->settings, false, &text);
    *digest = digest_of(text.bytes, text.length);
    text_release(&text);
    return true;
}

/* The stage of a plan: skipped while its record still holds. */
static enum exit_code run_plan(struct invocation *invocation, const char *path)
{
    struct release_plan plan;
    struct digest inputs;
    struct arena *arena = &invocation->arena;
    struct error *err = &invocation->err;
    if (!plan_load(path, &plan, arena, err))
        return command_failed(invocation);
    struct train_job job = { path_join(arena, plan.run, "dataset"),
                             path_join(arena, plan.run, "train"), &plan.train };
    if (path_kind(job.dataset) != PATH_FOLDER)
        return command_refuse(invocation, "%s: not there; make it with: lethe ingest %s",
                              job.dataset, path);
    if (!inputs_digest(&job, arena, &inputs, err))
        return command_failed(invocation);
    if (stage_is_current(job.out, "train", &inputs, NULL)) {
        fprintf(stderr, "lethe train: %s is up to date\n", job.out);
        return EXIT_YES;
    }
    unlink(path_join(arena, job.out, "stage.json")); /* until it holds again */
    double started = clock_seconds();
    bool complete;
    enum exit_code code = run_job(invocation, &job, &complete);
    if (complete && !stage_record(job.out, "train", &inputs, clock_seconds() - started, err))
        return command_failed(invocation);
    return code;
}

static enum exit_code run(struct invocation *invocation)
{
    struct options *values = invocation->values;
    bool complete, by_options = values->dataset || values->out;
    if (invocation->operand_count == 1) {
        if (by_options)
            return command_refuse(invocation, "give a plan, or --dataset and --out, not both");
        return run_plan(invocation, invocation->operands[0]);
    }
    if (!values->dataset || !values->out)
        return command_refuse(invocation, "give a plan, or --dataset STORE and --out FOLDER");
    struct train_job job = { values->dataset, values->out, &values->settings };
    return run_job(invocation, &job, &complete);
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
    .run = run,
};
