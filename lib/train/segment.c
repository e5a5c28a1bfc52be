/* Segmenters; see segment.h. */
#include "train/segment.h"

#include "base/digest.h"
#include "base/text.h"
#include "tensor/cpu.h"
#include "tensor/device.h"
#include "train/loop.h"
#include "train/segment_recipe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct segment_recipe *const recipes[SEGMENT_MODELS] = {
    [SEGMENT_UNET] = &segment_unet,
    [SEGMENT_SWIN] = &segment_swin,
};

const char *const segment_model_names[SEGMENT_MODELS + 1] = {
    [SEGMENT_UNET] = "unet",
    [SEGMENT_SWIN] = "swin",
};

static const char *const swin_names[SEGMENT_SWINS + 1] = {
    [SEGMENT_SWIN_AUTO] = "auto",   [SEGMENT_SWIN_MINI] = "mini", [SEGMENT_SWIN_TINY] = "tiny",
    [SEGMENT_SWIN_SMALL] = "small", [SEGMENT_SWIN_BASE] = "base",
};

const struct segment_settings segment_defaults = { .checkpoint = 500, .log = 10 };

#define FIELD(...) YAML_FIELD(struct segment_settings, __VA_ARGS__)

const struct yaml_field segment_fields[] = {
    FIELD(images, YAML_INTEGER, .minimum = 0, .maximum = 0x1p53, .metavar = "N",
          .help = "a network trains on in all; 0: the preset's"),
    FIELD(batch, YAML_INTEGER, .minimum = 0, .maximum = 65536, .metavar = "N",
          .help = "images a step; 0: the preset's"),
    FIELD(rate, YAML_REAL, .minimum = 0, .maximum = 10, .metavar = "R",
          .help = "learning rate at its highest; 0: the preset's"),
    FIELD(base, YAML_INTEGER, .minimum = 0, .maximum = 1024, .metavar = "N",
          .help = "unet: channels of the first level; 0: the preset's"),
    FIELD(levels, YAML_INTEGER, .minimum = 0, .maximum = 10, .metavar = "N",
          .help = "unet: of resolution; 0: the preset's"),
    FIELD(swin, YAML_CHOICE, .choices = swin_names, .help = "size of the Swin transformer"),
    FIELD(algorithms, YAML_CHOICE, .choices = algorithms_names, .help = algorithms_help),
    FIELD(checkpoint, YAML_INTEGER, .minimum = 1, .maximum = 0x1p31, .metavar = "STEPS",
          .help = "between checkpoints (default 500)"),
    FIELD(log, YAML_INTEGER, .minimum = 1, .maximum = 0x1p31, .metavar = "STEPS",
          .help = "between lines of metrics.jsonl (default 10)"),
    { 0 },
};

size_t segment_padded(const struct segment_settings *settings, size_t size)
{
    size_t stride = (size_t)recipes[settings->model]->stride(settings);
    return (size + stride - 1) / stride * stride;
}

/* ---- graphs ---------------------------------------------------------------------------------- */

/* What the learning rate follows. */
struct course {
    struct segment_settings settings;
    uint64_t steps;
};

static double rate_at(const struct training *training, uint64_t step)
{
    const struct course *course = training->schedule_of;
    return recipes[course->settings.model]->rate(&course->settings, step, course->steps);
}

static void build_graph(struct segmentation *segmentation, struct graph *graph)
{
    segmentation->graph = graph;
    segmentation->image = t_input(graph, "image", DTYPE_F32,
                                  SHAPE(segmentation->batch, segmentation->channels,
                                        segmentation->height, segmentation->width));
    if (segmentation->training) {
        segmentation->training->real = segmentation->image;
        segmentation->training->labels =
            t_input(graph, "labels", DTYPE_I32,
                    SHAPE(segmentation->batch, segmentation->height, segmentation->width));
    }
    recipes[segmentation->settings.model]->build(segmentation);
}

void segmentation_train(struct segmentation *segmentation, struct training *training)
{
    const struct segment_settings *settings = &segmentation->settings;
    *training = (struct training){ 0 };
    training_open(training, (uint64_t)settings->seed, settings->batch, 1, "rate");
    struct course *course = arena_array(&training->arena, struct course, 1);
    course->settings = *settings;
    course->steps = (uint64_t)((settings->images + settings->batch - 1) / settings->batch);
    training->schedule = rate_at;
    training->schedule_of = course;
    training->algorithms = settings->algorithms;
    segmentation->batch = settings->batch;
    segmentation->training = training;
    build_graph(segmentation, training->graph);
    training->output = segmentation->logits;
}

/* ---- what a checkpoint tells ----------------------------------------------------------------- */

struct saved {
    int model;
    int64_t seed;
    bool augmented, shuffled;
    struct yaml_strings labels; /* of the classes */
    struct segment_settings settings;
};

#define SAVED(...) YAML_FIELD(struct saved, __VA_ARGS__)

static const struct yaml_field saved_fields[] = {
    SAVED(model, YAML_CHOICE, .choices = segment_model_names),
    SAVED(seed, YAML_INTEGER),
    SAVED(augmented, YAML_BOOL),
    SAVED(shuffled, YAML_BOOL),
    SAVED(labels, YAML_STRINGS),
    SAVED(settings, YAML_SECTION, .section = segment_fields),
    { 0 },
};

static void describe(const struct segment_job *job, const struct segment_settings *settings,
                     struct text *out)
{
    char labels[CLASSES_MOST][4];
    const char *names[CLASSES_MOST];
    struct saved saved = { .model = settings->model,
                           .seed = settings->seed,
                           .augmented = job->augment != NULL,
                           .shuffled = job->shuffled,
                           .labels = { names, job->classes->count },
                           .settings = *settings };
    saved.settings.checkpoint = segment_defaults.checkpoint;
    saved.settings.log = segment_defaults.log;
    for (size_t i = 0; i < job->classes->count; i++) {
        snprintf(labels[i], sizeof labels[i], "%d", job->classes->label[i]);
        names[i] = labels[i];
    }
    yaml_write(saved_fields, &saved, 0, out);
}

static bool parse_saved(const struct checkpoint_record *record, const char *path,
                        struct segmenter_format *format, struct arena *arena, struct error *err)
{
    struct saved saved = { .settings = segment_defaults };
    bool occurs[256] = { false };
    if (!yaml_parse(record->settings, strlen(record->settings), path, saved_fields, &saved, arena,
                    err))
        return error_prefix(err, "not a checkpoint of a segmenter");
    for (size_t i = 0; i < saved.labels.count; i++) {
        int64_t label;
        if (!text_to_integer(saved.labels.items[i], &label) || label < 0 || label > 255)
            return error_set(err, "%s: its metadata name a label \"%s\"", path,
                             saved.labels.items[i]);
        occurs[label] = true;
    }
    format->settings = saved.settings;
    format->settings.model = saved.model;
    format->settings.seed = saved.seed;
    format->classes = classes_of(occurs);
    return true;
}

/* ---- training -------------------------------------------------------------------------------- */

struct segmenter_run {
    const struct segment_job *job;
    struct segmentation segmentation;
    struct examples *examples;
    struct runner runner;
    struct text settings, names;
};

static bool build(const void *context, int64_t parts, struct training *training, struct error *err)
{
    struct segmentation segmentation = *(const struct segmentation *)context;
    (void)parts, (void)err;
    segmentation_train(&segmentation, training);
    return true;
}

static bool begin(struct segmenter_run *run, struct error *err)
{
    const struct segment_job *job = run->job;
    const struct dataset *store = job->sets[0].store;
    struct segment_settings *settings = &run->segmentation.settings;
    *settings = *job->settings;
    if (!recipes[settings->model]->resolve(settings, store->width, err))
        return false;
    struct examples_options options = { .classes = job->classes,
                                        .augment = job->augment,
                                        .shuffled = job->shuffled,
                                        .seed = (uint64_t)settings->seed,
                                        .size = segment_padded(settings, store->width) };
    run->examples = examples_new(job->sets, job->set_count, &options, err);
    if (!run->examples)
        return false;
    run->segmentation.channels = (int)store->channels;
    run->segmentation.classes = (int)job->classes->count;
    run->segmentation.height = run->segmentation.width = (int64_t)options.size;
    struct runner_source source = { build, &run->segmentation, job->device ? job->device : "auto",
                                    .divisible = false };
    return runner_open(&run->runner, &source, err);
}

static bool run_loop(struct segmenter_run *run, struct train_report *report, struct error *err)
{
    const struct segment_job *job = run->job;
    const struct dataset *store = job->sets[0].store;
    const struct segment_settings *settings = &run->segmentation.settings;
    describe(job, settings, &run->settings);
    checkpoint_channels(store->channel_names, store->channels, &run->names);
    struct train_loop loop = { .out = job->out,
                               .what = segment_model_names[settings->model],
                               .runner = &run->runner,
                               .source = examples_feed(run->examples),
                               .images = settings->images,
                               .checkpoint = settings->checkpoint,
                               .keep = 1,
                               .log = settings->log,
                               .time_limit = job->time_limit,
                               .record = { .settings = run->settings.bytes,
                                           .dataset = job->dataset,
                                           .channels = run->names.bytes,
                                           .channel_count = store->channels,
                                           .size = store->width } };
    loop.source.team = store_backend(run->runner.store) != &cpu_backend;
    return train_loop_run(&loop, report, err);
}

bool segment_train(const struct segment_job *job, struct train_report *report, struct error *err)
{
    struct segmenter_run run = { .job = job };
    *report = (struct train_report){ 0 };
    bool ok = begin(&run, err) && run_loop(&run, report, err);
    runner_release(&run.runner);
    examples_free(run.examples);
    text_release(&run.settings);
    text_release(&run.names);
    return ok;
}

/* ---- predicting ------------------------------------------------------------------------------ */

enum { PREDICT_BATCH = 16 };

struct segmenter {
    struct segmenter_format format;
    struct segmentation segmentation;
    struct store *store;
    struct plan *plan;
    float *images, *logits;
    struct arena arena;
};

static const char *same_name(const void *context, const char *tensor, struct arena *arena)
{
    (void)context, (void)arena;
    return tensor;
}

/* A folder of training may be named, or that of its checkpoints. */
static bool find_checkpoint(const char *from, const char **path, struct arena *arena,
                            struct error *err)
{
    *path = arena_string(arena, from);
    if (path_kind(from) == PATH_FILE)
        return true;
    if (!checkpoint_latest(path_join(arena, from, "checkpoints"), arena, path, err))
        return false;
    if (!*path && !checkpoint_latest(from, arena, path, err))
        return false;
    return *path || error_set(err, "%s: no checkpoint there", from);
}

static bool read_format(struct segmenter *segmenter, const char *from, size_t height, size_t width,
                        struct error *err)
{
    struct checkpoint_record record;
    struct segmenter_format *format = &segmenter->format;
    if (!find_checkpoint(from, &format->checkpoint, &segmenter->arena, err) ||
        !checkpoint_read(format->checkpoint, &record, &segmenter->arena, err) ||
        !parse_saved(&record, format->checkpoint, format, &segmenter->arena, err))
        return false;
    format->channels = record.channel_count;
    format->channel_names = checkpoint_channel_names(&record, &segmenter->arena);
    format->trained_size = record.size;
    format->height = height ? height : record.size;
    format->width = width ? width : record.size;
    format->batch = PREDICT_BATCH;
    return true;
}

static bool load(struct segmenter *segmenter, const char *device, struct error *err)
{
    const struct backend *backend = device_backend(device ? device : "auto", err);
    if (!backend)
        return false;
    struct segmenter_format *format = &segmenter->format;
    struct segmentation *segmentation = &segmenter->segmentation;
    segmentation->settings = format->settings;
    segmentation->channels = (int)format->channels;
    segmentation->classes = (int)format->classes.count;
    segmentation->batch = PREDICT_BATCH;
    segmentation->height = (int64_t)segment_padded(&format->settings, format->height);
    segmentation->width = (int64_t)segment_padded(&format->settings, format->width);
    build_graph(segmentation, graph_new());
    segmenter->store = store_new(backend);
    format->device = backend->name;
    segmenter->plan = plan_create(segmenter->store, &segmentation->logits, 1, NULL, 0, err);
    segmenter->images = memory_allocate(shape_count(segmentation->image->shape), sizeof(float),
                                        "a batch of images", err);
    segmenter->logits = memory_allocate(shape_count(segmentation->logits->shape), sizeof(float),
                                        "the logits of a batch", err);
    return segmenter->plan && segmenter->images && segmenter->logits &&
           checkpoint_load_some(format->checkpoint, segmenter->store, same_name, NULL,
                                &format->weights, err);
}

struct segmenter *segmenter_open(const char *from, size_t height, size_t width, const char *device,
                                 struct error *err)
{
    struct segmenter *segmenter = memory_grow(NULL, 1, sizeof *segmenter);
    *segmenter = (struct segmenter){ 0 };
    arena_init(&segmenter->arena);
    if (read_format(segmenter, from, height, width, err) && load(segmenter, device, err))
        return segmenter;
    segmenter_free(segmenter);
    return NULL;
}

void segmenter_free(struct segmenter *segmenter)
{
    if (!segmenter)
        return;
    plan_free(segmenter->plan);
    store_free(segmenter->store);
    if (segmenter->segmentation.graph)
        graph_free(segmenter->segmentation.graph);
    memory_free(segmenter->images);
    memory_free(segmenter->logits);
    arena_release(&segmenter->arena);
    free(segmenter);
}

const struct segmenter_format *segmenter_format(const struct segmenter *segmenter)
{
    return &segmenter->format;
}

/* The most likely class of each pixel; of equals, the first. */
static void choose(const struct segmenter *segmenter, const float *logits, uint8_t *labels)
{
    const struct segmenter_format *format = &segmenter->format;
    size_t width = (size_t)segmenter->segmentation.width;
    size_t pixels = width * (size_t)segmenter->segmentation.height;
    for (size_t y = 0; y < format->height; y++)
        for (size_t x = 0; x < format->width; x++) {
            const float *at = logits + y * width + x;
            size_t best = 0;
            for (size_t k = 1; k < format->classes.count; k++)
                best = at[k * pixels] > at[best * pixels] ? k : best;
            *labels++ = format->classes.label[best];
        }
}

bool segmenter_predict(struct segmenter *segmenter, const float *planes, size_t count,
                       uint8_t *labels, struct error *err)
{
    const struct segmenter_format *format = &segmenter->format;
    const struct segmentation *segmentation = &segmenter->segmentation;
    size_t pixels = format->height * format->width;
    size_t given = shape_count(segmentation->image->shape) / PREDICT_BATCH;
    size_t taken = shape_count(segmentation->logits->shape) / PREDICT_BATCH;
    for (size_t first = 0; first < count; first += PREDICT_BATCH) {
        size_t some = count - first < PREDICT_BATCH ? count - first : PREDICT_BATCH;
        for (size_t i = 0; i < some; i++)
            example_prepare(planes + (first + i) * format->channels * pixels, format->channels,
                            format->height, format->width, (size_t)segmentation->height,
                            (size_t)segmentation->width, segmenter->images + i * given);
        plan_write(segmenter->plan, segmentation->image, segmenter->images);
        if (!plan_run(segmenter->plan, 0, 0, err))
            return false;
        plan_read(segmenter->plan, segmentation->logits, segmenter->logits);
        if (!plan_check(segmenter->plan, err))
            return false;
        for (size_t i = 0; i < some; i++)
            choose(segmenter, segmenter->logits + i * taken, labels + (first + i) * pixels);
    }
    return true;
}
