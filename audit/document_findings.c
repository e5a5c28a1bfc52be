/* Of memorization.json: how near the images are, the control and the thresholds, what is flagged.
 */
#include "audit/document_parts.h"

#include "audit/disguise.h"

#include <math.h>

struct json *nearest_json(const struct audit_run *run)
{
    size_t count = count_of(run, SET_SYNTHETIC);
    struct json *nearest = summary_json(run->correlation, count);
    json_put(nearest, "local_ratio", summary_json(run->local ? run->ratio : NULL, count));
    put_count(nearest, "local", run->local);
    put_count(nearest, "identical_to_training", run->copies);
    put_count(nearest, "identical_to_holdout", run->held_out_copies);
    return nearest;
}

static struct json *one_control(const struct control_values *control)
{
    struct json *object = summary_json(control->correlation, control->count);
    put_count(object, "subjects", control->subjects);
    put_count(object, "constant", control->constant);
    put_count(object, "identical", control->identical);
    json_put(object, "local_ratio", summary_json(control->ratio, control->count));
    return object;
}

/* Control images that are all but equal to a training image: rows of their set. */
static struct json *near_copies_json(const struct audit_run *run)
{
    const struct control_values *control = &run->control[run->used];
    bool others = run->used == SOURCE_OTHERS;
    struct json *object = json_new_object(), *images = json_new_array();
    put_count(object, "count", control->near_copy_count);
    json_put_real(object, "correlation_at_least", run->settings->duplicate);
    json_put_real(object, "local_ratio_at_most", NEAR_COPY_RATIO);
    json_put_bool(object, "left_out", leaves_near_copies_out(run));
    for (size_t i = 0; i < control->near_copy_count; i++) {
        size_t place = control->near_copies[i];
        json_push_integer(images,
                          (int64_t)set_place(&run->sets.of[others ? SET_TRAIN : SET_HOLDOUT],
                                             others ? run->asked[place] : place));
    }
    json_put(object, "images", images);
    return object;
}

/* What was done to the held-out images, and how near that brought them. */
static void put_change(struct json *object, const struct likening *change,
                       const struct smoothness *matched)
{
    json_put_string(object, "change", liken_change_names[change->change]);
    json_put_real(object, "sigma", change->sigma);
    json_put_bool(object, "met", change->met);
    json_put(object, "smoothness", smoothness_json(matched));
}

struct json *control_json(const struct audit_run *run, const struct smoothness *matched)
{
    struct json *object = json_new_object();
    if (run->used < SOURCE_COUNT) {
        json_put_string(object, "used", control_source_names[run->used]);
    } else {
        json_put_null(object, "used");
    }
    if (run->used < SOURCE_COUNT && run->control[run->used].near_copies_sought)
        json_put(object, "near_copies", near_copies_json(run));
    else
        json_put_null(object, "near_copies");
    for (int source = 0; source < SOURCE_COUNT; source++) {
        struct json *one = run->control[source].present ? one_control(&run->control[source]) : NULL;
        if (one && source == SOURCE_MATCHED)
            put_change(one, &run->matching.change, matched);
        if (one)
            json_put(object, control_source_names[source], one);
        else
            json_put_null(object, control_source_names[source]);
    }
    return object;
}

static struct json *threshold_json(const struct calibration *calibration, size_t s)
{
    const struct threshold *threshold = &calibration->threshold[s];
    struct json *object = json_new_object();
    json_put_real(object, "value", threshold->value);
    json_put_string(object, "flags", threshold->small ? "below" : "above");
    json_put_string(object, "rule", threshold_rule_names[threshold->rule]);
    json_put_real(object, "quantile", threshold->control.q);
    json_put(object, "interval", interval_json(threshold->control.interval));
    json_put_bool(object, "supported",
                  calibration->supported && threshold->control.count > 0 &&
                      threshold->rule != THRESHOLD_NONE);
    put_count(object, "control_images", threshold->control.count);
    put_count(object, "control_images_beyond", threshold->beyond);
    put_count(object, "control_images_eliminated", threshold->eliminated);
    json_put_real(object, "limit", threshold->limit);
    return object;
}

struct json *thresholds_json(const struct audit_run *run)
{
    const struct calibration *calibration = &run->calibration;
    struct json *object = json_new_object();
    for (size_t s = 0; s < calibration->statistics; s++)
        json_put(object, calibration->threshold[s].name, threshold_json(calibration, s));
    return object;
}

/* The control's own subjects, each against thresholds that the others set. */
static struct json *across_json(const struct across_subjects *across, double confidence)
{
    struct json *object = json_new_object(), *images = json_new_object(),
                *subjects = json_new_object();
    put_count(images, "count", across->flagged); /* images of a subject are alike: no interval */
    put_count(images, "of", across->images);
    json_put_real(images, "fraction", across->images ? across_rate(across) : NAN);
    put_share(subjects, share_of(across->flagged_subjects, across->subjects, confidence));
    json_put(object, "images", images);
    json_put(object, "subjects", subjects);
    return object;
}

/* How the thresholds were found, and what all of them keep together. */
struct json *calibration_json(const struct audit_run *run)
{
    const struct calibration *calibration = &run->calibration;
    struct json *object = json_new_object(), *turns = json_new_array();
    for (size_t s = 0; s < calibration->statistics; s++)
        json_push_string(turns, calibration->threshold[s].name);
    json_put_string(object, "method", "successive elimination");
    put_count(object, "statistics", calibration->statistics);
    json_put(object, "turns", turns);
    json_put_real(object, "false_positive_rate", calibration->declared);
    json_put_real(object, "guaranteed_rate", calibration->guaranteed);
    json_put_real(object, "rate_if_strangers", calibration->if_strangers);
    json_put_bool(object, "exact", calibration->exact);
    if (calibration->exact)
        json_put(object, "rate_interval", interval_json(calibration->rate));
    else
        json_put_null(object, "rate_interval");
    put_count(object, "control_images", calibration->controls);
    put_count(object, "control_images_eliminated", calibration->eliminated);
    put_count(object, "control_images_needed", calibration->needed);
    json_put_bool(object, "supported", calibration->supported);
    json_put(object, "across_subjects",
             across_json(&calibration->across, joint_confidence(run->job->candidates)));
    return object;
}

static const char *const matcher_keys[MATCHER_COUNT] = {
    [MATCH_DISGUISE] = "by_disguise", [MATCH_TILE] = "by_tile", [MATCH_LESION] = "by_lesion"
};

/* Images that one of the matcher's statistics flags. */
static size_t flagged_by(const struct audit_run *run, int m)
{
    const struct calibration *calibration = &run->calibration;
    size_t found = 0;
    for (size_t i = 0; i < calibration->images; i++) {
        bool hit = false;
        for (size_t s = 0; s < calibration->statistics; s++)
            for (int v = 0; v < 2; v++)
                hit |= calibration->hit[s][i] &&
                       calibration->threshold[s].name == matcher_statistics[m][v];
        found += hit;
    }
    return found;
}

struct json *flagged_json(struct audit_run *run)
{
    const struct calibration *calibration = &run->calibration;
    struct json *flagged = json_new_object(), *images = json_new_array();
    put_share(flagged, share_of(calibration->count, calibration->images,
                                joint_confidence(run->job->candidates)));
    if (run->job->candidates > 1) { /* what the interval, one of so many, was widened to */
        put_count(flagged, "candidates", run->job->candidates);
        json_put_real(flagged, "confidence", joint_confidence(run->job->candidates));
    }
    json_put_real(flagged, "expected_by_chance", calibration->expected);
    json_put_real(flagged, "excess_p", calibration->excess);
    put_count(flagged, "by_identity", calibration->certain);
    for (size_t s = 0; s < calibration->statistics; s++)
        put_count(flagged, arena_format(&run->arena, "by_%s", calibration->threshold[s].name),
                  calibration->threshold[s].flagged);
    for (int m = 0; m < MATCHER_COUNT; m++)
        put_count(flagged, matcher_keys[m], flagged_by(run, m));
    put_count(flagged, "spared_by_limits", calibration->spared);
    for (size_t i = 0; i < calibration->images; i++)
        if (calibration->flagged[i])
            json_push_integer(images, (int64_t)set_place(&run->sets.of[SET_SYNTHETIC], i));
    json_put(flagged, "images", images);
    return flagged;
}

/* ---- copies in disguise ---------------------------------------------------------------------- */

/* What a matcher found: of the synthetic images, and of the control. */
static void put_matched(struct json *object, const struct audit_run *run, int m)
{
    const struct matched *both[2] = { &run->matched[m], run->used < SOURCE_COUNT
                                                            ? &run->control[run->used].matched[m]
                                                            : NULL };
    static const char *const keys[2] = { "nearest", "control" };
    for (int s = 0; s < 2; s++) {
        if (!both[s] || !both[s]->count) {
            json_put_null(object, keys[s]);
            continue;
        }
        struct json *part = summary_json(both[s]->correlation, both[s]->count);
        json_put(part, "local_ratio", summary_json(both[s]->ratio, both[s]->count));
        json_put(object, keys[s], part);
    }
}

struct json *transforms_json(const struct audit_run *run)
{
    struct json *object = json_new_object(), *searched = json_new_array(), *limits;
    bool done = run->matched[MATCH_DISGUISE].count > 0;
    for (size_t f = 0; done && f < disguise_family_count; f++)
        json_push_string(searched, disguise_families[f].name);
    json_put(object, "searched", searched);
    if (!done)
        return object;
    limits = json_new_object();
    put_count(object, "trials", disguise_trials());
    json_put_real(limits, "degrees", DISGUISE_DEGREES);
    json_put_real(limits, "scale", DISGUISE_SCALE);
    json_put_real(limits, "gamma", DISGUISE_GAMMA);
    json_put(object, "limits", limits);
    put_matched(object, run, MATCH_DISGUISE);
    return object;
}

/* Pieces, by what was searched for. */
static struct json *pieces_json(const struct audit_run *run, int m, const char *what)
{
    struct json *object = json_new_object(), *searched = json_new_array();
    bool done = run->matched[m].count > 0;
    if (done)
        json_push_string(searched, what);
    json_put(object, "searched", searched);
    if (done)
        put_matched(object, run, m);
    return object;
}

struct json *tiles_json(const struct audit_run *run)
{
    return pieces_json(run, MATCH_TILE,
                       "squares of 16 cells about spots, on a grid of at most 128 cells a side");
}

struct json *lesions_json(const struct audit_run *run)
{
    return pieces_json(run, MATCH_LESION,
                       "what the masks label, on a grid of at most 128 cells a side");
}
