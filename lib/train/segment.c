/* Segmenters; see segment.h. */
#include "train/segment.h"
#include "train/segment_recipe.h"

#include "base/digest.h"
#include "base/text.h"
#include "tensor/cpu.h"
#include "tensor/gradient.h"

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

#define FIELD(name, kind_, ...)                                                                    \
    {                                                                                              \
        .key = #name, .kind = kind_, .offset = offsetof(struct segment_settings, name),            \
        __VA_ARGS__                                                                                \
    }

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
    FIELD(checkpoint, YAML_INTEGER, .minimum = 1, .maximum = 0x1p31, .metavar = "STEPS",
          .help = "between checkpoints (default 500)"),
    FIELD(log, YAML_INTEGER, .minimum = 1, .maximum = 0x1p31, .metavar = "STEPS",
          .help = "between lines of metrics.jsonl (default 10)"),
    { 0 },
};

bool segment_resolve(struct segment_settings *settings, size_t size, struct error *err)
{
    return recipes[settings->model]->resolve(settings, size, err);
}

static size_t padded(const struct segment_settings *settings, size_t size)
{
    size_t stride = (size_t)recipes[settings->model]->stride(settings);
    return (size + stride - 1) / stride * stride;
}

size_t segment_padded(const struct segment_settings *settings, size_t size)
{
    return padded(settings, size);
}

/* ---- graphs ---------------------------------------------------------------------------------- */

void segmentation_term(struct segmentation *segmentation, const char *name, struct node *value)
{
    CHECK(segmentation->term_count < SESSION_TERMS, "more than %d terms", SESSION_TERMS);
    segmentation->names[segmentation->term_count] = name;
    segmentation->terms[segmentation->term_count++] = value;
}

struct node **segmentation_gradients(struct segmentation *segmentation, struct node *loss,
                                     struct node ***parameters, size_t *count)
{
    *count = graph_parameters(segmentation->graph, "", NULL, 0);
    *parameters = arena_array(&segmentation->arena, struct node *, *count);
    struct node **gradients = arena_array(&segmentation->arena, struct node *, *count);
    graph_parameters(segmentation->graph, "", *parameters, *count);
    grad(loss, *parameters, (int)*count, gradients);
    grad_zeros(*parameters, (int)*count, gradients);
    return gradients;
}

void segmentation_init(struct segmentation *segmentation)
{
    int64_t n = segmentation->batch, h = segmentation->height, w = segmentation->width;
    arena_init(&segmentation->arena);
    segmentation->graph = graph_new();
    segmentation->image =
        t_input(segmentation->graph, "image", DTYPE_F32, SHAPE(n, segmentation->channels, h, w));
    segmentation->labels = t_input(segmentation->graph, "labels", DTYPE_I32, SHAPE(n, h, w));
    segmentation->rate = t_input(segmentation->graph, "rate", DTYPE_F32, SHAPE());
    recipes[segmentation->settings.model]->build(segmentation);
}

void segmentation_release(struct segmentation *segmentation)
{
    updates_release(&segmentation->updates);
    graph_free(segmentation->graph);
    arena_release(&segmentation->arena);
}

/* Every parameter and every state, in the order of their creation. */
static struct node **leaves(struct segmentation *segmentation, size_t *count)
{
    size_t nodes = graph_size(segmentation->graph);
    struct node **found = arena_array(&segmentation->arena, struct node *, nodes);
    *count = 0;
    for (size_t id = 0; id < nodes; id++)
        if (graph_node(segmentation->graph, id)->op == OP_PARAMETER)
            found[(*count)++] = graph_node(segmentation->graph, id);
    return found;
}

/* ---- what a checkpoint tells ----------------------------------------------------------------- */

struct saved {
    int model;
    int64_t seed;
    bool augmented, shuffled;
    struct yaml_strings labels; /* of the classes */
    struct segment_settings settings;
};

#define SAVED(name, kind_, ...)                                                                    \
    {                                                                                              \
        .key = #name, .kind = kind_, .offset = offsetof(struct saved, name), __VA_ARGS__           \
    }

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

struct trainer {
    struct segmentation segmentation;
    struct examples *examples;
    struct store *store;
    struct plan *plan;
    float *images;
    int32_t *labels;
    uint64_t steps;
};

static bool first_values(void *context, struct error *err)
{
    struct trainer *trainer = context;
    size_t count;
    struct node **all = leaves(&trainer->segmentation, &count);
    struct plan *plan = plan_initial(trainer->store, all, count, err);
    bool ok = plan && plan_run(plan, 0, (uint64_t)trainer->segmentation.settings.seed, err);
    plan_free(plan);
    return ok;
}

static bool take_step(void *context, uint64_t step, double *terms, struct error *err)
{
    struct trainer *trainer = context;
    struct segmentation *segmentation = &trainer->segmentation;
    const struct segment_settings *settings = &segmentation->settings;
    uint64_t batch = (uint64_t)settings->batch;
    float rate = (float)recipes[settings->model]->rate(settings, step, trainer->steps);
    examples_read(trainer->examples, step * batch, batch, trainer->images, trainer->labels);
    plan_write(trainer->plan, segmentation->image, trainer->images);
    plan_write(trainer->plan, segmentation->labels, trainer->labels);
    plan_write(trainer->plan, segmentation->rate, &rate);
    if (!plan_run(trainer->plan, step, (uint64_t)settings->seed, err))
        return false;
    for (int i = 0; i < segmentation->term_count; i++) {
        float value;
        plan_read(trainer->plan, segmentation->terms[i], &value);
        terms[i] = (double)value;
    }
    return true;
}

/* All memory of the run: tensors in the graph's order, then the plan. */
static bool make_plan(struct trainer *trainer, struct error *err)
{
    size_t count;
    struct segmentation *segmentation = &trainer->segmentation;
    struct node **all = leaves(segmentation, &count);
    trainer->store = store_new(&cpu_backend);
    for (size_t i = 0; i < count; i++)
        if (!store_require(trainer->store, all[i]->leaf.name, all[i]->dtype, all[i]->shape, err))
            return false;
    trainer->plan =
        plan_create(trainer->store, segmentation->terms, (size_t)segmentation->term_count,
                    segmentation->updates.items, segmentation->updates.count, err);
    trainer->images = memory_allocate(shape_count(segmentation->image->shape), sizeof(float),
                                      "a batch of images", err);
    trainer->labels = memory_allocate(shape_count(segmentation->labels->shape), sizeof(int32_t),
                                      "a batch of labels", err);
    return (trainer->plan && trainer->images && trainer->labels) ||
           error_prefix(err, "with a batch of %lld (a smaller --batch takes less)",
                        (long long)segmentation->batch);
}

static bool begin(struct trainer *trainer, const struct segment_job *job, struct error *err)
{
    struct segmentation *segmentation = &trainer->segmentation;
    const struct dataset *store = job->sets[0].store;
    segmentation->settings = *job->settings;
    if (!segment_resolve(&segmentation->settings, store->width, err))
        return false;
    const struct segment_settings *settings = &segmentation->settings;
    struct examples_options options = { .classes = job->classes,
                                        .augment = job->augment,
                                        .shuffled = job->shuffled,
                                        .seed = (uint64_t)settings->seed,
                                        .size = padded(settings, store->width) };
    trainer->examples = examples_new(job->sets, job->set_count, &options, err);
    if (!trainer->examples)
        return false;
    segmentation->channels = (int)store->channels;
    segmentation->classes = (int)job->classes->count;
    segmentation->batch = settings->batch;
    segmentation->height = segmentation->width = (int64_t)options.size;
    segmentation->training = true;
    segmentation_init(segmentation);
    trainer->steps = (uint64_t)((settings->images + settings->batch - 1) / settings->batch);
    return make_plan(trainer, err);
}

static bool run_session(struct trainer *trainer, const struct segment_job *job,
                        struct train_report *report, struct error *err)
{
    const struct dataset *store = job->sets[0].store;
    const struct segment_settings *settings = &trainer->segmentation.settings;
    struct text described = { 0 }, names = { 0 };
    describe(job, settings, &described);
    for (size_t c = 0; c < store->channels; c++)
        text_format(&names, "%s%s", c ? "," : "", store->channel_names[c]);
    struct session session = {
        .out = job->out,
        .what = segment_model_names[settings->model],
        .store = trainer->store,
        .steps = trainer->steps,
        .batch = (uint64_t)settings->batch,
        .checkpoint = settings->checkpoint,
        .keep = 1,
        .log = settings->log,
        .time_limit = job->time_limit,
        .record = { .settings = described.bytes,
                    .dataset = job->dataset,
                    .channels = names.bytes,
                    .channel_count = store->channels,
                    .size = store->width },
        .context = trainer,
        .begin = first_values,
        .step = take_step,
    };
    memcpy(session.terms, trainer->segmentation.names, sizeof session.terms);
    bool ok = session_run(&session, report, err);
    text_release(&described);
    text_release(&names);
    return ok;
}

bool segment_train(const struct segment_job *job, struct train_report *report, struct error *err)
{
    struct trainer trainer = { 0 };
    bool ok = begin(&trainer, job, err) && run_session(&trainer, job, report, err);
    plan_free(trainer.plan);
    store_free(trainer.store);
    if (trainer.segmentation.graph)
        segmentation_release(&trainer.segmentation);
    examples_free(trainer.examples);
    memory_free(trainer.images);
    memory_free(trainer.labels);
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

static const char **split_names_of(const struct checkpoint_record *record, struct arena *arena)
{
    const char **names = arena_array(arena, const char *, record->channel_count);
    const char *at = record->channels;
    for (size_t c = 0; c < record->channel_count; c++) {
        size_t length = strcspn(at, ",");
        names[c] = arena_substring(arena, at, length);
        at += length + (at[length] == ',');
    }
    return names;
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
    format->channel_names = split_names_of(&record, &segmenter->arena);
    format->trained_size = record.size;
    format->height = height ? height : record.size;
    format->width = width ? width : record.size;
    format->batch = PREDICT_BATCH;
    return true;
}

static bool load(struct segmenter *segmenter, struct error *err)
{
    struct segmenter_format *format = &segmenter->format;
    struct segmentation *segmentation = &segmenter->segmentation;
    segmentation->settings = format->settings;
    segmentation->channels = (int)format->channels;
    segmentation->classes = (int)format->classes.count;
    segmentation->batch = PREDICT_BATCH;
    segmentation->height = (int64_t)padded(&format->settings, format->height);
    segmentation->width = (int64_t)padded(&format->settings, format->width);
    segmentation_init(segmentation);
    segmenter->store = store_new(&cpu_backend);
    segmenter->plan = plan_create(segmenter->store, &segmentation->logits, 1, NULL, 0, err);
    segmenter->images = memory_allocate(shape_count(segmentation->image->shape), sizeof(float),
                                        "a batch of images", err);
    segmenter->logits = memory_allocate(shape_count(segmentation->logits->shape), sizeof(float),
                                        "the logits of a batch", err);
    return segmenter->plan && segmenter->images && segmenter->logits &&
           checkpoint_load_some(format->checkpoint, segmenter->store, same_name, NULL,
                                &format->weights, err);
}

struct segmenter *segmenter_open(const char *from, size_t height, size_t width, struct error *err)
{
    struct segmenter *segmenter = memory_grow(NULL, 1, sizeof *segmenter);
    *segmenter = (struct segmenter){ 0 };
    arena_init(&segmenter->arena);
    if (read_format(segmenter, from, height, width, err) && load(segmenter, err))
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
        segmentation_release(&segmenter->segmentation);
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
        for (size_t i = 0; i < some; i++)
            choose(segmenter, segmenter->logits + i * taken, labels + (first + i) * pixels);
    }
    return true;
}
