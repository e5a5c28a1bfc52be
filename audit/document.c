/* memorization.json, and the same in three lines; see memorization.h. docs/audit.md says what each
 * number means. Nothing here depends on time, place or machine. */
#include "audit/document_parts.h"

#include "audit/measured.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- pieces ---------------------------------------------------------------------------------- */

void put_count(struct json *object, const char *key, uint64_t count)
{
    json_put_integer(object, key, (int64_t)count);
}

struct json *interval_json(struct interval interval)
{
    struct json *pair = json_new_array();
    json_push_real(pair, interval.low); /* an infinite end is null */
    json_push_real(pair, interval.high);
    return pair;
}

static void put_summary(struct json *object, struct summary summary)
{
    const struct {
        const char *key;
        double value;
    } rows[] = { { "mean", summary.mean }, { "minimum", summary.minimum }, { "p1", summary.p1 },
                 { "p5", summary.p5 },     { "p50", summary.p50 },         { "p95", summary.p95 },
                 { "p99", summary.p99 },   { "max", summary.maximum } };
    put_count(object, "count", summary.count);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        json_put_real(object, rows[i].key, rows[i].value);
}

/* Of the values that are there. */
struct summary summary_of(const double *values, size_t count)
{
    double *kept = memory_grow(NULL, count + 1, sizeof *kept);
    size_t found = 0;
    for (size_t i = 0; values && i < count; i++)
        if (!isnan(values[i]))
            kept[found++] = values[i];
    struct summary summary = summarise(kept, found);
    free(kept);
    return summary;
}

struct json *summary_json(const double *values, size_t count)
{
    struct json *object = json_new_object();
    put_summary(object, summary_of(values, count));
    return object;
}

void put_share(struct json *object, struct share share)
{
    put_count(object, "count", share.count);
    put_count(object, "of", share.of);
    json_put_real(object, "fraction", share.fraction);
    json_put_real(object, "lower95", share.interval.low);
    json_put_real(object, "upper95", share.interval.high);
}

struct json *estimate_json(struct estimate estimate)
{
    struct json *object = json_new_object();
    json_put_real(object, "value", estimate.value);
    json_put(object, "interval", interval_json(estimate.interval));
    return object;
}

size_t count_of(const struct audit_run *run, enum set_role role)
{
    return role == SET_HOLDOUT && !run->sets.holdout ? 0 : images_of(run, role)->count;
}

/* ---- warnings -------------------------------------------------------------------------------- */

static const char *plural(size_t count)
{
    return count == 1 ? "" : "s";
}

/* Bounds are of images that were drawn independently: who shows one image a thousand times has seen
 * one. From one in so many images on that are there again, this is said. Images that are only much
 * alike may well have been drawn so. */
enum { REPEATED_ONE_IN = 20 };

static void warn_of_repetition(struct audit_run *run)
{
    size_t again = run->duplicates[SET_SYNTHETIC].identical, count = count_of(run, SET_SYNTHETIC);
    if (again && again * REPEATED_ONE_IN >= count)
        text_format(&run->warnings,
                    "the synthetic set repeats itself: %zu of its %zu images are an earlier one "
                    "again, pixel by pixel. Bounds take each image for one that was drawn "
                    "independently, and are narrower than the set shows\n",
                    again, count);
}

static void warn_of_sets(struct audit_run *run)
{
    const struct audit_set *train = &run->sets.of[SET_TRAIN],
                           *synthetic = &run->sets.of[SET_SYNTHETIC];
    for (enum set_role role = 0; role < SET_COUNT; role++)
        if (role != SET_SYNTHETIC && count_of(run, role) && !run->sets.of[role].subjects_known)
            text_format(&run->warnings,
                        "%s: no subjects are known, so each image counts as a subject of its own; "
                        "where several are of one patient, thresholds are too lenient and bounds "
                        "too narrow\n",
                        set_role_names[role]);
    if (train->dataset && train->dataset->role == ROLE_SYNTHETIC)
        text_add(&run->warnings, "the store given as training set says that it is synthetic\n");
    if (synthetic->dataset && synthetic->dataset->role == ROLE_REAL)
        text_add(&run->warnings, "the store given as synthetic set says that it is real\n");
    if (run->copies)
        text_format(&run->warnings, "%zu synthetic image%s, pixel by pixel\n", run->copies,
                    run->copies == 1 ? " is a training image" : "s are training images");
    if (run->held_out_copies)
        text_format(&run->warnings,
                    "%zu synthetic image%s of a patient who was held out, pixel by "
                    "pixel\n",
                    run->held_out_copies,
                    run->held_out_copies == 1 ? " is an image" : "s are images");
    size_t constant = constants_of(run, SET_SYNTHETIC);
    if (constant)
        text_format(&run->warnings,
                    "%zu synthetic image%s no variance; no statistic can be taken of %s\n",
                    constant, constant == 1 ? " has" : "s have", constant == 1 ? "it" : "them");
}

static void warn_of_size(struct audit_run *run)
{
    const struct calibration *calibration = &run->calibration;
    char most[TEXT_SHORT];
    if (run->used == SOURCE_COUNT || calibration->controls >= calibration->needed)
        return;
    text_format(&run->warnings,
                "the control of %zu image%s is too small for the %.6g %% quantile, which takes %zu "
                "for %zu statistic%s: its most extreme images are the thresholds, and of images "
                "that copy nothing up to %s %% are flagged on average (%.3g %% was asked for)\n",
                calibration->controls, plural(calibration->controls),
                100 * (1 - calibration->declared), calibration->needed, calibration->controlled,
                plural(calibration->controlled),
                text_upper_bound(most, 100 * calibration->guaranteed), 100 * calibration->declared);
}

/* Slices of a subject are alike: how much that matters, the control's own subjects show. */
static void warn_of_likeness(struct audit_run *run)
{
    const struct calibration *calibration = &run->calibration;
    const struct across_subjects *across = &calibration->across;
    double shown = across_rate(across);
    if (run->used < SOURCE_COUNT && run->control[run->used].subjects == 1 &&
        calibration->controls > 1)
        text_format(&run->warnings,
                    "all %zu images of the control are of one subject: how near other strangers "
                    "come, one cannot show, so the thresholds may be far off. Hold more subjects "
                    "out\n",
                    calibration->controls);
    if (shown > 1.5 * calibration->guaranteed && across->subjects < across->images)
        text_format(&run->warnings,
                    "held against thresholds that the other subjects set, %.3g %% of the control's "
                    "own images would be flagged (of %zu of %zu subjects), not %.3g %%: images of "
                    "one subject are alike, and the smaller number is too good\n",
                    100 * shown, across->flagged_subjects, across->subjects,
                    100 * calibration->guaranteed);
}

/* A limit that lets images pass is a decision, and one that readers have to know of. */
static void warn_of_limits(struct audit_run *run)
{
    size_t spared = run->calibration.spared;
    if (spared)
        text_format(&run->warnings,
                    "%zu synthetic image%s nearer to training than the control allows, and %s not "
                    "flagged for correlation_limit (%g) or local_ratio_limit (%g) alone\n",
                    spared, spared == 1 ? " is" : "s are", spared == 1 ? "is" : "are",
                    run->settings->correlation_limit, run->settings->local_ratio_limit);
}

static void warn_of_statistics(struct audit_run *run)
{
    const struct calibration *calibration = &run->calibration;
    for (size_t s = 0; s < calibration->statistics && run->used < SOURCE_COUNT; s++) {
        const struct threshold *threshold = &calibration->threshold[s];
        if (!threshold->control.count)
            text_format(&run->warnings, "no control image has a value of %s%s\n", threshold->name,
                        threshold->rule == THRESHOLD_NONE ? ", so it flags nothing" : "");
        else if (threshold->control.count < calibration->controls)
            text_format(&run->warnings,
                        "%s has a value in %zu of %zu control images: the rate of false positives "
                        "holds for synthetic images that lack it as often\n",
                        threshold->name, threshold->control.count, calibration->controls);
        if (threshold->control.count && !threshold->eliminated)
            text_format(&run->warnings,
                        "%s had no turn, for its control images went in others': its most extreme "
                        "value is the threshold\n",
                        threshold->name);
    }
}

static void warn_of_near_copies(struct audit_run *run)
{
    const struct control_values *control =
        run->used < SOURCE_COUNT ? &run->control[run->used] : NULL;
    if (control && !control->near_copies_sought && leaves_near_copies_out(run))
        text_add(
            &run->warnings,
            "near-copies in the control were not looked for: that takes local ratios (--local, "
            "and more than two training subjects) or the search for disguises\n");
    size_t count = control ? control->near_copy_count : 0;
    if (!count)
        return;
    text_format(&run->warnings,
                "%zu control image%s all but equal to a training image (control.near_copies "
                "names %s): is a patient in %s under two names? ",
                count, count == 1 ? " is" : "s are", count == 1 ? "it" : "them",
                run->used != SOURCE_OTHERS ? "both sets" : "the set");
    if (leaves_near_copies_out(run))
        text_format(&run->warnings,
                    "Left out of the control, so that images like these are flagged; if they are "
                    "of strangers after all, about %.3g %% of images that copy nothing are\n",
                    100 * run->calibration.if_strangers);
    else
        text_add(&run->warnings, "Such images make thresholds lenient: set it right, or leave them "
                                 "out with --control-near-copies leave_out\n");
}

static void warn_of_control(struct audit_run *run)
{
    size_t held_out = run->control[SOURCE_HOLDOUT].identical,
           trained = run->control[SOURCE_OTHERS].identical;
    if (held_out)
        text_format(&run->warnings,
                    "%zu held-out image%s exactly 1 with a training image: %s left out of the "
                    "control; is a patient in both sets?\n",
                    held_out, held_out == 1 ? " correlates" : "s correlate",
                    held_out == 1 ? "it is no unseen image and was"
                                  : "they are no unseen images and were");
    if (trained)
        text_format(&run->warnings,
                    "%zu training image%s exactly 1 with one of another subject, and %s left out "
                    "of the control; is a patient in the set under two names?\n",
                    trained, trained == 1 ? " correlates" : "s correlate",
                    trained == 1 ? "was" : "were");
    warn_of_near_copies(run);
    warn_of_size(run);
    warn_of_likeness(run);
    warn_of_limits(run);
    warn_of_statistics(run);
}

/* ---- the summary ----------------------------------------------------------------------------- */

static void summarise_found(struct audit_run *run)
{
    struct summary nearest = summary_of(run->correlation, count_of(run, SET_SYNTHETIC));
    size_t synthetic = count_of(run, SET_SYNTHETIC), train = count_of(run, SET_TRAIN),
           subjects = run->sets.of[SET_TRAIN].subject_count;
    text_format(&run->summary,
                "found:   %zu synthetic image%s against %zu training image%s of %zu subject%s; ",
                synthetic, plural(synthetic), train, plural(train), subjects, plural(subjects));
    if (nearest.count)
        text_format(&run->summary, "nearest correlation: median %.4f, 99 %% %.4f, largest %.4f\n",
                    nearest.p50, nearest.p99, nearest.maximum);
    else
        text_add(&run->summary, "none of them has any variance, so nothing could be compared\n");
}

static void summarise_control(struct audit_run *run)
{
    struct text *out = &run->summary;
    text_add(out, "control: ");
    if (run->used < SOURCE_COUNT) {
        const struct control_values *control = &run->control[run->used];
        struct summary values = summary_of(control->correlation, control->count);
        text_format(out,
                    "%zu %s image%s of %zu subject%s%s; nearest correlation: median %.4f, "
                    "99 %% %.4f, largest %.4f; ",
                    values.count, run->used == SOURCE_OTHERS ? "training" : "held-out",
                    plural(values.count), control->subjects, plural(control->subjects),
                    run->used == SOURCE_MATCHED
                        ? arena_format(&run->arena, " %s",
                                       likening_words(&run->matching.change, &run->arena))
                        : "",
                    values.p50, values.p99, values.maximum);
    } else
        text_add(out, "none; ");
    bool any = false;
    for (size_t s = 0; s < run->calibration.statistics; s++)
        any |= run->calibration.threshold[s].rule != THRESHOLD_NONE;
    text_add(out, any ? "flagged are" : "nothing can be flagged:");
    for (size_t s = 0; s < run->calibration.statistics; s++) {
        const struct threshold *threshold = &run->calibration.threshold[s];
        const char *separator = s ? ", or" : "";
        if (threshold->rule == THRESHOLD_NONE)
            text_format(out, "%s no %s", separator, threshold->name);
        else
            text_format(out, "%s %s %s %.4f%s", separator, threshold->name,
                        threshold->small ? "<" : ">", threshold->value,
                        threshold->rule == THRESHOLD_LIMIT ? " (the limit)" : "");
    }
    text_add(out, run->used == SOURCE_COUNT || run->calibration.supported
                      ? "\n"
                      : " (control too small)\n");
}

static void summarise_flagged(struct audit_run *run, const struct flagged_people *people)
{
    const struct calibration *calibration = &run->calibration;
    char low[TEXT_SHORT], high[TEXT_SHORT];
    text_format(&run->summary, "flagged: %zu of %zu (%.3g %%, %.3g %% interval %s … %s %%; ",
                calibration->count, calibration->images,
                100 * (double)calibration->count / (double)calibration->images,
                100 * joint_confidence(run->job->candidates),
                text_lower_bound(low, 100 * calibration->fraction.low),
                text_upper_bound(high, 100 * calibration->fraction.high));
    if (isnan(calibration->expected))
        text_add(&run->summary, "what chance brings is not known)");
    else
        text_format(&run->summary, "by chance about %.3g on average)", calibration->expected);
    if (people->trained)
        text_format(&run->summary, ", nearest to %zu training subject%s", people->trained,
                    plural(people->trained));
    if (people->held_out)
        text_format(&run->summary, ", images of %zu held-out subject%s", people->held_out,
                    plural(people->held_out));
    text_add(&run->summary, "\n");
}

/* ---- the document ---------------------------------------------------------------------------- */

void audit_describe(struct audit_run *run, const struct pair *pairs, size_t count)
{
    struct json *document = run->document = json_new_object();
    struct flagged_people people;
    struct smoothness smoothness = smoothness_of(run, unchanged_source(run->used)),
                      matched = run->used == SOURCE_MATCHED ? smoothness_of(run, SOURCE_MATCHED)
                                                            : smoothness;
    struct preparation preparation = preparation_of(run, unchanged_source(run->used));
    warn_of_sets(run);
    warn_of_repetition(run);
    warn_of_preparation(run, &preparation);
    warn_of_control(run);
    warn_of_smoothness(run, &smoothness, &matched);
    json_put_string(document, "schema", MEMORIZATION_SCHEMA);
    json_put(document, "tool", tool_json(run));
    json_put_string(document, "engine", engine_names[run->settings->engine]);
    json_put_string(document, "device", run->device_name);
    json_put_string(document, "measure", "pearson");
    json_put(document, "channels", channels_json(run));
    json_put(document, "counts", counts_json(run));
    json_put(document, "warnings", lines_json(&run->warnings, &run->arena));
    json_put(document, "nearest", nearest_json(run));
    json_put(document, "control", control_json(run, &matched));
    json_put(document, "preparation", preparation_json(&preparation));
    json_put(document, "smoothness", smoothness_json(&smoothness));
    json_put(document, "calibration", calibration_json(run));
    json_put(document, "thresholds", thresholds_json(run));
    json_put(document, "flagged", flagged_json(run));
    json_put(document, "exposure", exposure_json(run, &people));
    json_put(document, "transforms", transforms_json(run));
    json_put(document, "tiles", tiles_json(run));
    json_put(document, "lesions", lesions_json(run));
    json_put(document, "companions", companions_json(run));
    json_put(document, "duplicates", duplicates_json(run));
    json_put(document, "pairs", pairs_json(run, pairs, count));
    json_put(document, "histograms", histograms_json(run));
    json_put(document, "settings", settings_json(run));
    json_put(document, "certificate", certificates_json(run));
    json_put(document, "inputs", inputs_json(run));
    summarise_found(run);
    summarise_control(run);
    summarise_flagged(run, &people);
}
