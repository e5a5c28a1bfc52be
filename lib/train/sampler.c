/* Sampling into a dataset store; see sampler.h. */
#include "train/sampler.h"

#include "base/json.h"
#include "base/progress.h"
#include "data/sheet.h"
#include "tensor/store.h"
#include "train/drawn.h"
#include "train/generator.h"
#include "train/interrupt.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

const struct sample_settings sample_defaults = {
    .count = 16, .seed = -1, .truncation = 1, .truncation_cutoff = 8, .device = "auto"
};

#define FIELD(...) YAML_FIELD(struct sample_settings, __VA_ARGS__)

const struct yaml_field sample_fields[] = {
    FIELD(count, YAML_INTEGER, .minimum = 1, .maximum = 1e9, .metavar = "N",
          .help = "images to draw (default 16)"),
    FIELD(first, YAML_INTEGER, .minimum = 0, .maximum = 1e9, .metavar = "I",
          .help = "begin with this image: to draw a set in parts (default 0)"),
    FIELD(seed, YAML_INTEGER, .minimum = 0, .maximum = 0x1p53, .metavar = "N",
          .help = "of the set (default: the plan's, else 1)"),
    FIELD(sampler, YAML_CHOICE, .choices = sampler_names, .help = "ddpm: how steps are taken"),
    FIELD(steps, YAML_INTEGER, .minimum = 0, .maximum = 10000, .metavar = "N",
          .help = "ddpm: steps to take; 0: all, ddim 50"),
    FIELD(weights, YAML_CHOICE, .choices = weights_names,
          .help = "which checkpoint of the folder; best: by validation loss, ddpm only"),
    FIELD(device, YAML_STRING, .metavar = "DEVICE",
          .help = "cpu, cuda, cuda:N or auto: a GPU where there is one (default auto)"),
    FIELD(precision, YAML_CHOICE, .choices = precision_names, .help = "of matrix work"),
    FIELD(truncation, YAML_REAL, .minimum = 0, .maximum = 2, .metavar = "PSI",
          .help = "StyleGANs: below 1 less varied, more typical (default 1)"),
    FIELD(truncation_cutoff, YAML_INTEGER, .minimum = 0, .maximum = 32, .metavar = "N",
          .help = "stylegan: truncation is of the first so many layers (default 8)"),
    FIELD(made_elsewhere, YAML_STRING, .metavar = "STORE",
          .help = "instead of drawing: a synthetic store, as lethe ingest --role synthetic makes"),
    { 0 },
};

struct sampling_run {
    const struct sample_job *job;
    struct draw_options options;
    uint64_t first, count;
    struct generator *generator;
    const struct generator_format *format;
    float *batch;
    uint8_t *decoded; /* the batch as bytes: image, mask, image, … */
    struct drawn drawn;
    char weights[DIGEST_HEX], checkpoint[DIGEST_HEX]; /* of the tensors used; of the file */
    struct progress progress;
};

static uint8_t grey(float value)
{
    return (uint8_t)lrintf(fminf(fmaxf((value + 1) * 127.5f, 0), 255));
}

uint8_t sample_label(float value)
{
    static const struct {
        float above;
        uint8_t label;
    } levels[] = { { 3.0f, 4 }, { 1.5f, 2 }, { 0.5f, 1 } };
    float v = (float)grey(value) * 5 / 255;
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
        if (v > levels[i].above)
            return levels[i].label;
    return 0;
}

void sample_decode(const struct generator_format *format, const float *values, uint8_t *image,
                   uint8_t *mask)
{
    size_t pixels = format->size * format->size;
    size_t greys = (format->channels - format->masks) * pixels;
    for (size_t i = 0; i < greys; i++)
        image[i] = grey(values[i]);
    for (size_t i = 0; format->masks && i < pixels; i++)
        mask[i] = sample_label(values[greys + i]);
}

/* Bytes of an image and its mask, as they stand in a drawn batch one after the other. */
static size_t image_bytes(const struct generator_format *format)
{
    return format->channels * format->size * format->size;
}

static bool append(struct sampling_run *run, struct dataset_writer *writer, uint64_t i,
                   struct error *err)
{
    const struct generator_format *format = run->format;
    char name[32];
    snprintf(name, sizeof name, "sample-%08llu", (unsigned long long)i);
    struct dataset_image row = { .subject = name,
                                 .split = SPLIT_NONE,
                                 .source = path_name(format->checkpoint),
                                 .sha256 = run->weights };
    const uint8_t *image = run->decoded + i % GENERATOR_BATCH * image_bytes(format);
    const uint8_t *mask = image + (format->channels - format->masks) * format->size * format->size;
    return dataset_writer_append(writer, image, format->masks ? mask : NULL, &row, err);
}

static bool draw_batch(struct sampling_run *run, uint64_t batch, struct error *err)
{
    const struct generator_format *format = run->format;
    size_t bytes = image_bytes(format);
    size_t greys = (format->channels - format->masks) * format->size * format->size;
    if (drawn_read(&run->drawn, batch, run->decoded))
        return true;
    if (!generator_draw(run->generator, batch, run->batch, err))
        return false;
    for (size_t i = 0; i < GENERATOR_BATCH; i++)
        sample_decode(format, run->batch + i * bytes, run->decoded + i * bytes,
                      run->decoded + i * bytes + greys);
    return drawn_write(&run->drawn, batch, run->decoded, err);
}

/* ---- batches, by whoever draws them ---------------------------------------------------------- */

/* The batches of a set, while they are drawn. */
struct filling {
    uint64_t first, end, left; /* left: not there yet */
    bool *there;               /* by batch from `first` on: not to be asked again */
    uint64_t held;             /* one that another process works on */
    uint64_t drawn;            /* here */
    bool told;                 /* that others are waited for */
};

static void note_batch(struct sampling_run *run, struct filling *filling, uint64_t batch)
{
    uint64_t begin = batch * GENERATOR_BATCH, end = begin + GENERATOR_BATCH;
    uint64_t last = run->first + run->count;
    filling->there[batch - filling->first] = true;
    filling->left--;
    progress_add(&run->progress,
                 (end < last ? end : last) - (begin > run->first ? begin : run->first));
}

static const char *command_of(const struct sampling_run *run)
{
    return run->job->command ? run->job->command : "lethe sample";
}

/* One batch, unless it is there or another process works on it. */
static bool fill_batch(struct sampling_run *run, struct filling *filling, uint64_t batch,
                       struct error *err)
{
    struct lock lock;
    if (drawn_has(&run->drawn, batch)) {
        note_batch(run, filling, batch);
        return true;
    }
    enum lock_outcome outcome = drawn_take(&run->drawn, batch, command_of(run), &lock, err);
    if (outcome != LOCK_TAKEN) {
        filling->held = batch;
        return outcome == LOCK_HELD;
    }
    bool there = drawn_has(&run->drawn, batch); /* drawn by another meanwhile */
    bool ok = there || draw_batch(run, batch, err);
    if (!ok) {
        lock_release(&lock);
        return false;
    }
    lock_remove(&lock);
    filling->drawn += !there;
    note_batch(run, filling, batch);
    return true;
}

/* Says once whom the rest is waited for, and waits a moment. */
static void wait_for_others(const struct sampling_run *run, struct filling *filling)
{
    struct arena arena;
    arena_init(&arena);
    if (run->job->waiting && !filling->told)
        run->job->waiting(
            arena_format(&arena, "batch %" PRIu64 " of %s", filling->held, run->job->out),
            drawn_holder(&run->drawn, filling->held, &arena));
    filling->told = true;
    arena_release(&arena);
    lock_pause();
}

/* Goes over the batches until all are there, or, without patience, until none is free. */
static bool fill(struct sampling_run *run, struct filling *filling, bool patient, struct error *err)
{
    while (filling->left && !interrupted()) {
        uint64_t before = filling->left;
        for (uint64_t batch = filling->first; batch < filling->end && !interrupted(); batch++)
            if (!filling->there[batch - filling->first] && !fill_batch(run, filling, batch, err))
                return false;
        if (filling->left == before && !patient)
            return true;
        if (filling->left == before)
            wait_for_others(run, filling);
    }
    return true;
}

static bool fill_all(struct sampling_run *run, bool patient, uint64_t *drawn, struct error *err)
{
    struct filling filling = { .first = run->first / GENERATOR_BATCH,
                               .end = (run->first + run->count - 1) / GENERATOR_BATCH + 1 };
    filling.left = filling.end - filling.first;
    filling.there = memory_allocate(filling.left, sizeof *filling.there, "the batches", err);
    if (!filling.there)
        return false;
    memset(filling.there, 0, filling.left * sizeof *filling.there);
    bool ok = fill(run, &filling, patient, err);
    *drawn = filling.drawn;
    memory_free(filling.there);
    return ok;
}

/* ---- the store ------------------------------------------------------------------------------- */

/* Whole batches; of the first and the last only the images that were asked for are kept. */
static bool write_images(struct sampling_run *run, struct dataset_writer *writer, struct error *err)
{
    uint64_t first = run->first, end = first + run->count;
    for (uint64_t i = first; i < end; i++) {
        if ((i == first || i % GENERATOR_BATCH == 0) && !draw_batch(run, i / GENERATOR_BATCH, err))
            return false;
        if (!append(run, writer, i, err))
            return false;
    }
    return true;
}

static struct json *origin(const struct sampling_run *run)
{
    const struct generator_format *format = run->format;
    struct json *origin = json_new_object();
    json_put_string(origin, "stage", "sample");
    json_put_string(origin, "model", format->model);
    json_put_string(origin, "weights", run->weights);
    json_put_string(origin, "checkpoint", path_name(format->checkpoint));
    json_put_string(origin, "checkpoint_sha256", run->checkpoint);
    json_put_integer(origin, "trained_steps", (int64_t)format->step);
    if (format->side < format->size)
        json_put_integer(origin, "grown_to", (int64_t)format->side);
    json_put_string(origin, "precision", precision_names[run->options.precision]);
    json_put_integer(origin, "seed", (int64_t)run->options.seed);
    json_put_integer(origin, "first", (int64_t)run->first);
    if (strcmp(format->model, "ddpm") == 0) {
        json_put_string(origin, "sampler", sampler_names[run->options.sampler]);
        json_put_integer(origin, "steps", format->steps);
    } else if (strcmp(format->model, "progan") != 0) { /* which has no styles */
        json_put_real(origin, "truncation", run->options.truncation);
        if (strcmp(format->model, "stylegan") == 0)
            json_put_integer(origin, "truncation_cutoff", run->options.truncation_cutoff);
    }
    return origin;
}

/* All that decides about a batch's bytes, which a GPU's are not the processor's. */
static void add_key(const struct sampling_run *run, struct text *key)
{
    struct json *from = origin(run);
    json_put_integer(from, "first", 0);
    json_put_string(from, "version", LETHE_VERSION);
    json_put_string(from, "backend", store_backend(generator_store(run->generator))->name);
    char *text = json_text(from);
    text_format(key, "%s%zu channels of %zu\n", text, run->format->channels, run->format->size);
    memory_free(text);
    json_free(from);
}

static bool open_drawn(struct sampling_run *run, struct error *err)
{
    struct text key = { 0 };
    add_key(run, &key);
    bool ok = drawn_open(&run->drawn, run->job->out, key.bytes,
                         GENERATOR_BATCH * image_bytes(run->format), err);
    text_release(&key);
    return ok;
}

static bool join_drawn(struct sampling_run *run)
{
    struct text key = { 0 };
    add_key(run, &key);
    bool ok = drawn_join(&run->drawn, run->job->out, key.bytes,
                         GENERATOR_BATCH * image_bytes(run->format));
    text_release(&key);
    return ok;
}

/* The writer comes first: it locks, so that nobody else begins or ends the same drawing. */
static bool write_store(struct sampling_run *run, struct error *err)
{
    const struct generator_format *format = run->format;
    struct dataset_writer writer;
    struct dataset_format shape = { .role = ROLE_SYNTHETIC,
                                    .channels = format->channels - format->masks,
                                    .height = format->size,
                                    .width = format->size,
                                    .channel_names = format->channel_names,
                                    .type = ELEMENT_UINT8,
                                    .masks = format->masks };
    if (!dataset_writer_open(&writer, run->job->out, &shape, err))
        return false;
    if (!open_drawn(run, err)) {
        dataset_writer_abandon(&writer);
        return false;
    }
    uint64_t drawn;
    bool ok = fill_all(run, true, &drawn, err) && write_images(run, &writer, err);
    if (!ok)
        dataset_writer_abandon(&writer);
    ok = ok && dataset_writer_commit(&writer, origin(run), run->job->replace, err) &&
         drawn_remove(&run->drawn, err);
    drawn_close(&run->drawn);
    return ok;
}

static bool write_grid(const struct sample_job *job, struct error *err)
{
    struct dataset store;
    if (!job->grid)
        return true;
    if (!dataset_open(&store, job->out, err))
        return false;
    bool ok = sheet_write(&store, job->grid_rows, job->grid, err);
    dataset_close(&store);
    return ok;
}

/* A run that was killed between putting its store in place and removing its batches leaves both. */
static bool refuse_existing(const char *out, struct error *err)
{
    struct arena arena;
    arena_init(&arena);
    const char *batches = drawn_folder(&arena, out);
    if (path_kind(batches) == PATH_NOTHING)
        error_set(err, "%s: exists; a store is never changed, so name another", out);
    else
        error_set(err,
                  "%s: exists; a store is never changed, so name another. Beside it lies %s, the "
                  "batches of a drawing that was stopped: once the store is whole, remove it",
                  out, batches);
    arena_release(&arena);
    return false;
}

static bool prepare(struct sampling_run *run, struct error *err)
{
    const struct sample_job *job = run->job;
    run->generator = generator_open(job->from, &run->options, err);
    if (!run->generator)
        return false;
    run->format = generator_format(run->generator);
    struct digest checkpoint;
    if (!digest_file(run->format->checkpoint, &checkpoint, err))
        return false;
    digest_hex(&checkpoint, run->checkpoint);
    digest_hex(&run->format->weights, run->weights);
    size_t values = GENERATOR_BATCH * image_bytes(run->format);
    run->batch = memory_allocate(values, sizeof(float), "a batch", err);
    run->decoded = memory_allocate(values, 1, "a batch", err);
    return run->batch && run->decoded;
}

static struct sampling_run run_of(const struct sample_job *job)
{
    const struct sample_settings *settings = job->settings;
    return (struct sampling_run){
        .job = job,
        .first = (uint64_t)settings->first,
        .count = (uint64_t)settings->count,
        .options = { .seed = settings->seed < 0 ? 1 : (uint64_t)settings->seed,
                     .sampler = settings->sampler,
                     .steps = settings->steps,
                     .truncation = settings->truncation,
                     .truncation_cutoff = settings->truncation_cutoff,
                     .weights = settings->weights,
                     .precision = settings->precision,
                     .device = settings->device },
    };
}

static void release(struct sampling_run *run)
{
    memory_free(run->batch);
    memory_free(run->decoded);
    generator_free(run->generator);
}

bool sample(const struct sample_job *job, struct sample_report *report, struct error *err)
{
    struct sampling_run run = run_of(job);
    double started = clock_seconds();
    *report = (struct sample_report){ 0 };
    bool ok =
        (job->replace || path_kind(job->out) == PATH_NOTHING || refuse_existing(job->out, err)) &&
        prepare(&run, err);
    if (ok) {
        progress_begin(&run.progress, "sample", "images", run.count);
        ok = write_store(&run, err) && write_grid(job, err);
        progress_end(&run.progress);
        snprintf(report->model, sizeof report->model, "%s", run.format->model);
        memcpy(report->weights, run.weights, sizeof run.weights);
        report->step = run.format->step;
        report->side = run.format->side;
        report->size = run.format->size;
        report->seconds = clock_seconds() - started;
    }
    release(&run);
    return ok;
}

/* A drawing that ends while a batch is drawn takes its folder away; that is no mistake. */
static bool fill_some(struct sampling_run *run, uint64_t *drawn, struct error *err)
{
    progress_begin(&run->progress, "sample", "images", run->count);
    bool ok = fill_all(run, false, drawn, err) || !drawn_is_wanted(&run->drawn);
    progress_end(&run->progress);
    drawn_close(&run->drawn);
    return ok;
}

bool sample_assist(const struct sample_job *job, uint64_t *drawn, struct error *err)
{
    struct sampling_run run = run_of(job);
    uint64_t last = (run.first + run.count - 1) / GENERATOR_BATCH;
    *drawn = 0;
    if (!drawn_lacks_some(job->out, run.first / GENERATOR_BATCH, last + 1))
        return true;
    bool ok = prepare(&run, err) && (!join_drawn(&run) || fill_some(&run, drawn, err));
    release(&run);
    return ok;
}
