/* Fidelity from its settings to its document; see fidelity.h. */
#include "audit/fidelity.h"

#include "audit/blas.h"
#include "audit/fidelity_run.h"
#include "base/file.h"
#include "base/parallel.h"
#include "base/random.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- settings -------------------------------------------------------------------------------- */

const struct fidelity_settings fidelity_defaults = {
    .device = "auto",
    .images = 10000,
    .bootstrap = 1000,
    .seed = -1,
};

#define FIELD(...) YAML_FIELD(struct fidelity_settings, __VA_ARGS__)

const struct yaml_field fidelity_fields[] = {
    FIELD(network, YAML_CHOICE, .choices = feature_network_names,
          .help = "Inception v3 (default), or RadImageNet's ResNet-50"),
    FIELD(weights, YAML_STRING, .metavar = "FILE|random",
          .help = "the network's, as safetensors; random: without a file (default)"),
    FIELD(device, YAML_STRING, .metavar = "DEVICE",
          .help = "cpu, cuda, cuda:N or auto: a GPU where there is one (default auto)"),
    FIELD(channels, YAML_STRINGS, .metavar = "NAME",
          .help = "channels to compare, each alone (default: all but masks)"),
    FIELD(images, YAML_INTEGER, .minimum = 0, .maximum = 1e7, .metavar = "N",
          .help = "drawn of each set at most (default 10000); 0: all"),
    FIELD(bootstrap, YAML_INTEGER, .minimum = 40, .maximum = 100000, .metavar = "N",
          .help = "resamplings of patients and images for intervals (default 1000)"),
    FIELD(seed, YAML_INTEGER, .minimum = 0, .maximum = 0x1p52, .metavar = "N",
          .help = "of what is drawn at random (default: the plan's, else 1)"),
    { 0 },
};

const char *fidelity_weights(const struct fidelity_settings *settings)
{
    const char *weights = settings->weights;
    return weights && *weights && strcmp(weights, "random") != 0 ? weights : NULL;
}

bool fidelity_settings_check(const struct fidelity_settings *settings, struct error *err)
{
    const char *weights = fidelity_weights(settings);
    return !weights || path_kind(weights) == PATH_FILE ||
           error_set(err,
                     "weights: %s: no such file; give a safetensors file of the network %s "
                     "(docs/weights.md), or \"random\"",
                     weights, feature_network_names[settings->network]);
}

/* ---- what is compared ------------------------------------------------------------------------ */

const struct against_info against_info[AGAINST_COUNT] = {
    [AGAINST_HOLDOUT] = { "holdout", SET_HOLDOUT, SET_TRAIN, "the held-out images" },
    [AGAINST_TRAINING] = { "training", SET_TRAIN, SET_HOLDOUT, "the training images" },
};

static int ascending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void draw(struct fidelity_run *run, enum set_role role)
{
    const struct image_set *images = &run->sets.of[role].images;
    struct drawn *drawn = &run->drawn[role];
    size_t limit = (size_t)run->settings->images, *order;
    drawn->count = limit && limit < images->count ? limit : images->count;
    drawn->images = arena_array(&run->arena, uint32_t, drawn->count);
    drawn->rank = arena_array(&run->arena, uint32_t, drawn->count);
    drawn->groups = role == SET_SYNTHETIC ? NULL : arena_array(&run->arena, uint32_t, drawn->count);
    order = memory_grow(NULL, images->count, sizeof *order);
    uint64_t *pairs = memory_grow(NULL, drawn->count, sizeof *pairs); /* image, then rank */
    random_permutation(
        (uint64_t)run->settings->seed,
        random_stream(arena_format(&run->arena, "fidelity/images/%s", set_role_names[role])),
        images->count, order);
    for (size_t i = 0; i < drawn->count; i++)
        pairs[i] = (uint64_t)order[i] << 32 | i;
    qsort(pairs, drawn->count, sizeof *pairs, ascending);
    for (size_t i = 0; i < drawn->count; i++) {
        drawn->images[i] = (uint32_t)(pairs[i] >> 32);
        drawn->rank[i] = (uint32_t)pairs[i];
        if (drawn->groups)
            drawn->groups[i] = images->groups ? images->groups[drawn->images[i]] : drawn->images[i];
    }
    free(order);
    free(pairs);
}

/* The first n of what was drawn of a set, in its own order. Nothing is copied where all are. */
struct subset {
    struct feature_sample sample;
    float *values;
    uint32_t *groups;
};

static bool subset_init(struct subset *subset, const struct drawn *drawn, const float *values,
                        size_t n, struct error *err)
{
    size_t count = 0;
    *subset = (struct subset){ .sample = { .values = values,
                                           .groups = drawn->groups,
                                           .count = drawn->count,
                                           .width = FEATURES } };
    if (n == drawn->count)
        return true;
    subset->values = memory_reserve(n, FEATURES * sizeof *values, "a part of the features", err);
    if (!subset->values)
        return false;
    subset->groups = memory_grow(NULL, n, sizeof *subset->groups);
    for (size_t i = 0; i < drawn->count; i++)
        if (drawn->rank[i] < n) {
            subset->groups[count] = drawn->groups ? drawn->groups[i] : (uint32_t)i;
            memcpy(subset->values + count++ * FEATURES, values + i * FEATURES,
                   FEATURES * sizeof *values);
        }
    subset->sample.values = subset->values;
    subset->sample.groups = subset->groups;
    subset->sample.count = n;
    return true;
}

static void subset_release(struct subset *subset)
{
    memory_free(subset->values);
    free(subset->groups);
}

/* ---- measuring ------------------------------------------------------------------------------- */

/* A channel's features by role; NULL: of a holdout that there is not. */
struct channel {
    float *values[SET_COUNT];
};

/* The set of one side against the reference. */
static bool measure_side(struct fidelity_run *run, const struct channel *channel, size_t place,
                         enum against against, enum side side,
                         const struct measured_sample *reference, struct error *err)
{
    static const char *const names[SIDE_COUNT] = { "fidelity/synthetic", "fidelity/control" };
    const struct resampling resampling = { (uint64_t)run->settings->seed,
                                           (size_t)run->settings->bootstrap };
    enum set_role role = side == SIDE_CONTROL ? against_info[against].control : SET_SYNTHETIC;
    struct compared *compared = &run->compared[against];
    struct subset subset;
    if (!subset_init(&subset, &run->drawn[role], channel->values[role], compared->images, err))
        return false;
    subset.sample.classifier = feature_network_classifier(run->network);
    subset.sample.classes = CLASSES;
    struct measured_sample *set =
        measured_sample_new(&subset.sample, names[side], &resampling, err);
    bool ok = set && likeness_measure(set, reference, numbers_of(run, place, against, side), err);
    if (ok)
        compared->people[side] = measured_sample_groups(set);
    measured_sample_free(set);
    subset_release(&subset);
    return ok;
}

static bool measure_against(struct fidelity_run *run, const struct channel *channel, size_t place,
                            enum against against, struct error *err)
{
    const struct resampling resampling = { (uint64_t)run->settings->seed,
                                           (size_t)run->settings->bootstrap };
    enum set_role role = against_info[against].reference;
    const struct drawn *drawn = &run->drawn[role];
    struct compared *compared = &run->compared[against];
    if (!compared->done)
        return true;
    struct subset whole;
    if (!subset_init(&whole, drawn, channel->values[role], drawn->count, err))
        return false;
    struct measured_sample *reference =
        measured_sample_new(&whole.sample, "fidelity/reference", &resampling, err);
    if (reference)
        compared->reference_people = measured_sample_groups(reference);
    bool ok = reference &&
              measure_side(run, channel, place, against, SIDE_SYNTHETIC, reference, err) &&
              (!compared->with_control ||
               measure_side(run, channel, place, against, SIDE_CONTROL, reference, err));
    measured_sample_free(reference);
    subset_release(&whole);
    return ok;
}

static bool measure_channel(struct fidelity_run *run, size_t place, struct progress *progress,
                            struct error *err)
{
    struct channel channel = { { NULL } };
    bool ok = true;
    for (enum set_role role = 0; ok && role < SET_COUNT; role++) {
        size_t count = run->drawn[role].count;
        if (!count)
            continue;
        channel.values[role] = memory_reserve(count, FEATURES * sizeof(float), "features", err);
        ok = channel.values[role] && fidelity_features_of(run, role, run->channels[place], progress,
                                                          channel.values[role], err);
    }
    for (enum against against = 0; ok && against < AGAINST_COUNT; against++)
        ok = measure_against(run, &channel, place, against, err);
    for (enum set_role role = 0; role < SET_COUNT; role++)
        memory_free(channel.values[role]);
    return ok;
}

/* The same resampling in every channel, so a replicate of the mean is the mean of replicates. */
static void average(struct fidelity_run *run)
{
    size_t count = run->channel_count, values = MEASURE_ROWS * stride_of(run);
    for (enum against against = 0; against < AGAINST_COUNT; against++)
        for (enum side side = 0; side < SIDE_COUNT; side++) {
            double *mean = numbers_of(run, count, against, side);
            for (size_t i = 0; i < values; i++) {
                mean[i] = 0;
                for (size_t c = 0; c < count; c++)
                    mean[i] += numbers_of(run, c, against, side)[i];
                mean[i] /= (double)count;
            }
        }
}

static bool measure_all(struct fidelity_run *run, struct error *err)
{
    struct progress progress;
    uint64_t images = 0;
    for (enum set_role role = 0; role < SET_COUNT; role++)
        images += run->drawn[role].count;
    size_t values = (run->channel_count + 1) * AGAINST_COUNT * SIDE_COUNT * MEASURE_ROWS;
    run->numbers = memory_allocate(values * stride_of(run), sizeof *run->numbers,
                                   "the resampled numbers", err);
    if (!run->numbers || !fidelity_features_open(run, err))
        return false;
    for (size_t i = 0; i < values * stride_of(run); i++)
        run->numbers[i] = NAN;
    progress_begin(&progress, "fidelity", "images", images * run->channel_count);
    bool ok = true;
    for (size_t place = 0; ok && place < run->channel_count; place++)
        ok = measure_channel(run, place, &progress, err);
    progress_end(&progress);
    average(run);
    return ok;
}

/* ---- the folder ------------------------------------------------------------------------------ */

static bool open_sets(struct fidelity_run *run, struct error *err)
{
    const struct fidelity_job *job = run->job;
    struct sets_request request = { .train = job->train,
                                    .synthetic = job->synthetic,
                                    .holdout = job->holdout,
                                    .subjects = job->subjects,
                                    .holdout_subjects = job->holdout_subjects,
                                    .channels = &job->settings->channels,
                                    .work = run->work };
    if (!sets_open(&request, &run->sets, err))
        return false;
    for (size_t c = 0; c < run->sets.of[SET_TRAIN].images.channels; c++)
        if (run->sets.channels >> c & 1)
            run->channels[run->channel_count++] = c;
    for (enum set_role role = 0; role < SET_COUNT; role++)
        if (role != SET_HOLDOUT || run->sets.holdout)
            draw(run, role);
    return true;
}

/* Values of half precision stand for 0 … 1: what is outside of that is black or white to the
 * network. */
struct outside {
    const struct fidelity_run *run;
    enum set_role role;
    _Atomic uint64_t count;
};

static void count_outside(void *context, size_t begin, size_t end)
{
    enum { ONE = 0x3c00, MINUS_ZERO = 0x8000 }; /* by their bits, below 0 is above both */
    struct outside *outside = context;
    const struct fidelity_run *run = outside->run;
    const struct audit_set *set = &run->sets.of[outside->role];
    size_t pixels = set->images.height * set->images.width, count = 0;
    for (size_t i = begin; i < end; i++)
        for (size_t c = 0; c < run->channel_count; c++) {
            const uint16_t *half =
                fidelity_plane(set, run->drawn[outside->role].images[i], run->channels[c]);
            for (size_t p = 0; p < pixels; p++)
                count += half[p] > ONE && half[p] != MINUS_ZERO;
        }
    atomic_fetch_add(&outside->count, count);
}

static void count_all_outside(struct fidelity_run *run)
{
    for (enum set_role role = 0; role < SET_COUNT; role++) {
        struct outside outside = { .run = run, .role = role };
        if (run->drawn[role].count && run->sets.of[role].images.type == ELEMENT_FLOAT16)
            parallel_ranges(run->drawn[role].count, 1, count_outside, &outside);
        run->drawn[role].outside = outside.count;
    }
}

/* How many images stand on either side of each comparison. */
static void plan_comparisons(struct fidelity_run *run)
{
    for (enum against against = 0; against < AGAINST_COUNT; against++) {
        const struct against_info *info = &against_info[against];
        struct compared *compared = &run->compared[against];
        size_t reference = run->drawn[info->reference].count,
               control = run->drawn[info->control].count;
        compared->done = reference > 0;
        compared->with_control = control > 0;
        compared->reference_images = reference;
        compared->images = run->drawn[SET_SYNTHETIC].count;
        if (control && control < compared->images)
            compared->images = control;
    }
}

static bool open_network(struct fidelity_run *run, struct error *err)
{
    const struct image_set *images = &run->sets.of[SET_TRAIN].images;
    const struct feature_settings settings = { .weights = fidelity_weights(run->settings),
                                               .device = run->settings->device,
                                               .network = run->settings->network };
    run->network =
        feature_network_open(&settings, images->type, images->height, images->width, err);
    return run->network;
}

static bool measure(struct fidelity_run *run, struct fidelity_report *report, struct error *err)
{
    plan_comparisons(run);
    count_all_outside(run);
    if (!measure_all(run, err))
        return false;
    report->document = fidelity_document(run);
    report->warnings = run->warnings;
    run->warnings = (struct text){ 0 };
    return json_save(report->document, path_join(&run->arena, run->job->out, "fidelity.json"),
                     err) &&
           folder_remove(run->work, err);
}

/* What was refused leaves nothing behind. */
static void discard(const char *work, const char *out)
{
    struct error ignored; /* what failed before is told */
    if (folder_remove(work, &ignored))
        rmdir(out); /* goes only when it is empty */
}

bool fidelity(const struct fidelity_job *job, struct fidelity_report *report, struct error *err)
{
    struct fidelity_settings settings = *job->settings;
    settings.seed = settings.seed < 0 ? 1 : settings.seed;
    struct fidelity_run run = { .job = job, .settings = &settings };
    *report = (struct fidelity_report){ 0 };
    arena_init(&run.arena);
    run.work = path_join(&run.arena, job->out, "work");
    run.features = path_join(&run.arena, run.work, "features");
    bool fresh = path_kind(run.work) == PATH_NOTHING;
    int lock = -1;
    bool ok = fidelity_settings_check(&settings, err) &&
              blas_set_threads(1, err) && /* now, and not after an hour of features */
              folder_lock(job->out, &lock, err);
    if (ok && !(ok = open_sets(&run, err) && open_network(&run, err)) && fresh)
        discard(run.work, job->out);
    ok = ok && measure(&run, report, err);
    if (!ok)
        fidelity_report_release(report);
    feature_network_free(run.network);
    sets_close(&run.sets);
    memory_free(run.numbers);
    text_release(&run.warnings);
    arena_release(&run.arena);
    folder_unlock(lock);
    return ok;
}

void fidelity_report_release(struct fidelity_report *report)
{
    json_free(report->document);
    text_release(&report->warnings);
    *report = (struct fidelity_report){ 0 };
}
