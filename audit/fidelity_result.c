/* fidelity.json: what was measured, of what, and what it has to be read with. */
#include "audit/fidelity_run.h"
#include "audit/measured.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double confidence_of(const struct fidelity_run *run)
{
    return joint_confidence(run->job->candidates);
}

/* ---- numbers --------------------------------------------------------------------------------- */

/* Where every image counts alike no resampling differs, however few they are: then a share's
 * interval is the exact one, of the people as one trial each, and of what is no share nothing is
 * known. */
static struct estimate side_estimate(const struct fidelity_run *run, enum against against,
                                     enum side side, enum measure measure, const double *numbers)
{
    const struct compared *compared = &run->compared[against];
    size_t people =
        measure_info[measure].of_reference ? compared->reference_people : compared->people[side];
    struct estimate estimate = replicates_estimate(numbers, stride_of(run) - 1, confidence_of(run));
    bool alike = estimate.interval.low == estimate.interval.high;
    if (measure_info[measure].is_share && alike && (estimate.value == 0 || estimate.value == 1))
        estimate.interval =
            clopper_pearson(estimate.value == 1 ? people : 0, people, confidence_of(run));
    else if (people < 2 || alike)
        estimate.interval = (struct interval){ NAN, NAN };
    return estimate;
}

/* Of the synthetic images minus the control: both against the same resampled reference. */
static struct estimate difference_estimate(const struct fidelity_run *run, const double *numbers[],
                                           const struct estimate sides[])
{
    size_t count = stride_of(run);
    double *difference = memory_grow(NULL, count, sizeof *difference);
    for (size_t r = 0; r < count; r++)
        difference[r] = numbers[SIDE_SYNTHETIC][r] - numbers[SIDE_CONTROL][r];
    struct estimate estimate = replicates_estimate(difference, count - 1, confidence_of(run));
    const struct interval *a = &sides[SIDE_SYNTHETIC].interval, *b = &sides[SIDE_CONTROL].interval;
    if (isnan(a->low) || isnan(b->low) ||
        estimate.interval.low == estimate.interval.high) /* neither side's resamplings differ */
        estimate.interval = (struct interval){ a->low - b->high, a->high - b->low };
    free(difference);
    return estimate;
}

/* The score as the official code gives it. */
static struct json *splits_object(const struct fidelity_run *run, size_t channel,
                                  enum against against, enum side side)
{
    const double *numbers = numbers_of(run, channel, against, side);
    struct json *object = json_new_object();
    json_put_integer(object, "count", SPLITS);
    json_put_real(object, "mean", numbers[ROW_SPLITS_MEAN * stride_of(run)]);
    json_put_real(object, "sd", numbers[ROW_SPLITS_SD * stride_of(run)]);
    return object;
}

static struct json *side_object(const struct fidelity_run *run, size_t channel,
                                enum against against, enum side side, enum measure measure,
                                struct estimate estimate)
{
    struct json *object = bounded_json(estimate);
    if (measure_info[measure].of_classes)
        json_put(object, "splits", splits_object(run, channel, against, side));
    return object;
}

static struct json *measure_object(const struct fidelity_run *run, size_t channel,
                                   enum against against, enum measure measure)
{
    const double *numbers[SIDE_COUNT];
    struct estimate sides[SIDE_COUNT];
    for (enum side side = 0; side < SIDE_COUNT; side++) {
        numbers[side] = numbers_of(run, channel, against, side) + measure * stride_of(run);
        sides[side] = side_estimate(run, against, side, measure, numbers[side]);
    }
    if (measure_info[measure].resampled) {
        struct json *object =
            side_object(run, channel, against, SIDE_SYNTHETIC, measure, sides[SIDE_SYNTHETIC]);
        json_put(object, "control",
                 side_object(run, channel, against, SIDE_CONTROL, measure, sides[SIDE_CONTROL]));
        json_put(object, "difference", bounded_json(difference_estimate(run, numbers, sides)));
        return object;
    }
    struct json *object = json_new_object();
    json_put_real(object, "value", sides[SIDE_SYNTHETIC].value);
    json_put_real(object, "control", sides[SIDE_CONTROL].value);
    json_put_real(object, "ratio", sides[SIDE_SYNTHETIC].value / sides[SIDE_CONTROL].value);
    return object;
}

/* Of one channel, or of the mean. */
static struct json *comparison_object(const struct fidelity_run *run, size_t channel,
                                      enum against against)
{
    struct json *object = json_new_object();
    for (enum measure m = 0; m < MEASURE_COUNT; m++)
        json_put(object, measure_info[m].name, measure_object(run, channel, against, m));
    return object;
}

static void put_comparisons(const struct fidelity_run *run, struct json *object, size_t channel)
{
    for (enum against against = 0; against < AGAINST_COUNT; against++)
        if (run->compared[against].done)
            json_put(object, against_info[against].name, comparison_object(run, channel, against));
        else
            json_put_null(object, against_info[against].name);
}

static struct json *channels_list(const struct fidelity_run *run)
{
    struct json *list = json_new_array();
    for (size_t c = 0; c < run->channel_count; c++) {
        struct json *object = json_new_object();
        json_put_string(object, "name", run->sets.of[SET_TRAIN].channel_names[run->channels[c]]);
        put_comparisons(run, object, c);
        json_push(list, object);
    }
    return list;
}

/* ---- what they rest on ----------------------------------------------------------------------- */

static struct json *features_object(const struct fidelity_run *run)
{
    const struct feature_format *format = feature_network_format(run->network);
    struct json *object = json_new_object();
    json_put_string(object, "network", format->network);
    json_put_string(object, "backbone", format->backbone);
    json_put_integer(object, "side", format->side);
    json_put_string(object, "preparation", format->preparation);
    json_put_bool(object, "random", format->random);
    json_put_string(object, "weights", format->weights);
    json_put_string(object, "device", format->device);
    json_put_integer(object, "count", FEATURES);
    json_put_integer(object, "classes", format->no_classes ? 0 : CLASSES);
    if (format->no_classes)
        json_put_string(object, "no_classes", format->no_classes);
    return object;
}

static struct json *settings_object(const struct fidelity_run *run)
{
    struct json *object = json_new_object();
    json_put_integer(object, "images", run->settings->images);
    json_put_integer(object, "bootstrap", run->settings->bootstrap);
    json_put_integer(object, "seed", run->settings->seed);
    return object;
}

static struct json *counts_object(const struct fidelity_run *run)
{
    struct json *object = json_new_object();
    for (enum set_role role = 0; role < SET_COUNT; role++) {
        struct json *set = json_new_object();
        const struct audit_set *of = &run->sets.of[role];
        json_put_integer(set, "images", (int64_t)of->images.count);
        json_put_integer(set, "drawn", (int64_t)run->drawn[role].count);
        json_put_integer(set, "outside", (int64_t)run->drawn[role].outside);
        if (role != SET_SYNTHETIC)
            json_put_integer(set, "subjects", (int64_t)of->subject_count);
        json_put(object, set_role_names[role], set);
    }
    return object;
}

/* Images and people on either side. */
static struct json *compared_object(const struct fidelity_run *run)
{
    struct json *object = json_new_object();
    for (enum against against = 0; against < AGAINST_COUNT; against++) {
        const struct compared *compared = &run->compared[against];
        struct json *of = json_new_object();
        json_put_integer(of, "images", compared->done ? (int64_t)compared->images : 0);
        json_put_integer(of, "reference_images", (int64_t)compared->reference_images);
        json_put_integer(of, "reference_subjects", (int64_t)compared->reference_people);
        json_put_integer(of, "control_subjects", (int64_t)compared->people[SIDE_CONTROL]);
        json_put(object, against_info[against].name, of);
    }
    return object;
}

static struct json *inputs_object(const struct fidelity_run *run)
{
    struct json *object = json_new_object();
    for (enum set_role role = 0; role < SET_COUNT; role++)
        if (run->drawn[role].count)
            json_put(object, set_role_names[role], set_json(&run->sets.of[role]));
    return object;
}

/* ---- warnings -------------------------------------------------------------------------------- */

static const char *const set_words[SET_COUNT] = {
    [SET_TRAIN] = "training", [SET_SYNTHETIC] = "synthetic", [SET_HOLDOUT] = "held-out"
};

static void warn_of_people(struct fidelity_run *run)
{
    for (enum set_role role = 0; role < SET_COUNT; role++) {
        const struct audit_set *set = &run->sets.of[role];
        if (role == SET_SYNTHETIC || !run->drawn[role].count)
            continue;
        if (!set->subjects_known)
            text_format(&run->warnings,
                        "the %s set does not tell whose images it holds, so each counts as "
                        "somebody else's: intervals are too narrow, and neighbours may be of one "
                        "person\n",
                        set_words[role]);
        else if (set->subject_count < FEW_PEOPLE)
            text_format(&run->warnings,
                        "the %s set is of %zu %s: intervals resampled from fewer than %d are too "
                        "narrow\n",
                        set_words[role], set->subject_count,
                        set->subject_count == 1 ? "person" : "people", (int)FEW_PEOPLE);
    }
}

static void warn_of_values(struct fidelity_run *run)
{
    for (enum set_role role = 0; role < SET_COUNT; role++) {
        const struct audit_set *set = &run->sets.of[role];
        const struct drawn *drawn = &run->drawn[role];
        double values = (double)drawn->count * (double)run->channel_count *
                        (double)(set->images.height * set->images.width);
        if (drawn->outside)
            text_format(&run->warnings,
                        "of the %s set's values %.3g %% (%llu of %.0f) are below 0 or above 1, and "
                        "were cut there before they were compared: scale all sets alike, to 0 … "
                        "1\n",
                        set_words[role], 100 * (double)drawn->outside / values,
                        (unsigned long long)drawn->outside, values);
    }
}

/* "precision, coverage"; of the control only what the synthetic images have. */
static void list_missing(const struct fidelity_run *run, enum against against, enum side side,
                         struct text *names)
{
    for (enum measure m = 0; m < MEASURE_COUNT; m++) {
        size_t at = m * stride_of(run), mean = run->channel_count;
        if (measure_info[m].of_classes && feature_network_format(run->network)->no_classes)
            continue; /* whatever the number of images */
        bool missing = isnan(numbers_of(run, mean, against, SIDE_SYNTHETIC)[at]);
        if (side == SIDE_CONTROL)
            missing = !missing && isnan(numbers_of(run, mean, against, SIDE_CONTROL)[at]);
        if (missing)
            text_format(names, "%s%s", names->length ? ", " : "", measure_info[m].name);
    }
}

static void warn_of_what_is_missing(struct fidelity_run *run)
{
    for (enum against against = 0; against < AGAINST_COUNT; against++)
        for (enum side side = 0; side < SIDE_COUNT; side++) {
            const struct compared *compared = &run->compared[against];
            struct text names = { 0 };
            if (compared->done && (side == SIDE_SYNTHETIC || compared->with_control))
                list_missing(run, against, side, &names);
            if (names.length)
                text_format(&run->warnings,
                            "against %s there %s no %s%s: too few images of different people\n",
                            against_info[against].words, strchr(names.bytes, ',') ? "are" : "is",
                            names.bytes, side == SIDE_CONTROL ? " of the control" : "");
            text_release(&names);
        }
}

/* Nearer to those learnt from than new patients are: what a generator that copies does. */
static void warn_of_nearness(struct fidelity_run *run)
{
    size_t mean = run->channel_count, count = stride_of(run);
    const double *synthetic = numbers_of(run, mean, AGAINST_TRAINING, SIDE_SYNTHETIC),
                 *control = numbers_of(run, mean, AGAINST_TRAINING, SIDE_CONTROL);
    double *difference = memory_grow(NULL, count, sizeof *difference);
    for (size_t r = 0; r < count; r++)
        difference[r] = synthetic[MEASURE_KID * count + r] - control[MEASURE_KID * count + r];
    struct estimate estimate = replicates_estimate(difference, count - 1, confidence_of(run));
    if (estimate.interval.high < 0)
        text_format(&run->warnings,
                    "the synthetic images are nearer to the training images (kid %.3g) than images "
                    "of patients who were held out (%.3g): copies would be, too; the memorisation "
                    "audit tells\n",
                    synthetic[MEASURE_KID * count], control[MEASURE_KID * count]);
    free(difference);
}

static struct json *warnings_list(struct fidelity_run *run)
{
    if (!run->sets.holdout)
        text_add(&run->warnings,
                 "no images were held out: against the training images alone a generator that "
                 "copies them is the best, and there is no control\n");
    warn_of_values(run);
    warn_of_people(run);
    warn_of_what_is_missing(run);
    if (run->sets.holdout)
        warn_of_nearness(run);
    return lines_json(&run->warnings, &run->arena);
}

/* ---- the document ---------------------------------------------------------------------------- */

struct json *fidelity_document(struct fidelity_run *run)
{
    struct json *document = json_new_object(), *tool = json_new_object(), *mean = json_new_object();
    json_put_string(document, "schema", FIDELITY_SCHEMA);
    if (run->job->candidates > 1) /* intervals hold for so many sets together */
        json_put_integer(document, "candidates", (int64_t)run->job->candidates);
    json_put_string(tool, "version", LETHE_VERSION);
    json_put(document, "tool", tool);
    json_put(document, "settings", settings_object(run));
    json_put(document, "features", features_object(run));
    json_put(document, "counts", counts_object(run));
    json_put(document, "compared", compared_object(run));
    json_put(document, "warnings", warnings_list(run));
    put_comparisons(run, mean, run->channel_count);
    json_put(document, "mean", mean);
    json_put(document, "channels", channels_list(run));
    json_put(document, "inputs", inputs_object(run));
    return document;
}
