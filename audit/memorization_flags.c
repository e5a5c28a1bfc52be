/* From values to verdicts: which control images count, the thresholds, which images are flagged,
 * and of whom each is a copy; see calibrate.h for the rule. */
#include "audit/memorization_parts.h"

#include <math.h>

/* ---- the control's near-copies --------------------------------------------------------------- */

static bool nearly_equal(double correlation, double ratio, double duplicate)
{
    return correlation >= duplicate && ratio <= NEAR_COPY_RATIO; /* NAN never is */
}

/* Sets aside the value of an image by every statistic. */
static void set_aside(struct control_values *control, size_t image)
{
    control->correlation[image] = NAN;
    if (control->ratio)
        control->ratio[image] = NAN;
    for (size_t c = 0; c < CHANNELS_MAX; c++)
        if (control->channel[c])
            control->channel[c][image] = NAN;
    for (int m = 0; m < MATCHER_COUNT; m++)
        if (control->matched[m].count)
            control->matched[m].correlation[image] = control->matched[m].ratio[image] = NAN;
}

/* Somebody unseen is not expected to be a near-copy of a training image. Where one is, a patient
 * may be in both sets under two names, or was put there to make the thresholds lenient. */
static void find_near_copies(struct audit_run *run)
{
    if (run->used == SOURCE_COUNT)
        return;
    struct control_values *control = &run->control[run->used],
                          *unchanged = &run->control[unchanged_source(run->used)];
    const struct matched *disguised = &unchanged->matched[MATCH_DISGUISE];
    double duplicate = run->settings->duplicate;
    control->near_copies_sought = control->ratio || disguised->count;
    control->near_copies = arena_array(&run->arena, size_t, control->count);
    for (size_t i = 0; i < control->count; i++) {
        bool near = control->ratio &&
                    nearly_equal(unchanged->correlation[i], unchanged->ratio[i], duplicate);
        near |= disguised->count &&
                nearly_equal(disguised->correlation[i], disguised->ratio[i], duplicate);
        if (near)
            control->near_copies[control->near_copy_count++] = i;
    }
    if (leaves_near_copies_out(run))
        for (size_t i = 0; i < control->near_copy_count; i++)
            for (int v = 0; v < (unchanged == control ? 1 : 2); v++)
                set_aside(v ? unchanged : control, control->near_copies[i]);
}

/* ---- thresholds ------------------------------------------------------------------------------ */

/* The statistics in the order of their turns (calibrate.h): what sees most kinds of copies goes
 * first, for the turns that are left over after whole rounds are its. That is the local ratio
 * before the correlation, and the search for changed copies, which finds the unchanged too, before
 * the plain one; pieces after what sees whole images. */
static size_t list_statistics(struct audit_run *run, struct statistic *statistics)
{
    const struct audit_settings *settings = run->settings;
    const struct control_values *control =
        run->used < SOURCE_COUNT ? &run->control[run->used] : NULL;
    static const struct {
        int matcher, value; /* −1: of the plain image; 0 correlation, 1 local ratio */
    } turns[] = { { MATCH_DISGUISE, 1 }, { -1, 1 }, { MATCH_TILE, 1 }, { MATCH_LESION, 1 },
                  { MATCH_DISGUISE, 0 }, { -1, 0 } };
    const struct statistic plain[2] = {
        { "correlation", false, run->correlation, control ? control->correlation : NULL,
          settings->correlation_limit > 0 ? settings->correlation_limit : NAN },
        { "local_ratio", true, run->ratio, control ? control->ratio : NULL,
          settings->local_ratio_limit < 1 ? settings->local_ratio_limit : NAN },
    };
    size_t count = 0;
    for (size_t t = 0; t < sizeof turns / sizeof *turns; t++) {
        int m = turns[t].matcher, v = turns[t].value;
        if (m < 0 && (v == 0 || run->local))
            statistics[count++] = plain[v];
        if (m < 0 || !run->matched[m].count || !matcher_statistics[m][v])
            continue;
        statistics[count++] = (struct statistic){
            .name = matcher_statistics[m][v],
            .small = v == 1,
            .synthetic = v ? run->matched[m].ratio : run->matched[m].correlation,
            .control = v ? control->matched[m].ratio : control->matched[m].correlation,
            .limit = NAN,
        };
    }
    for (size_t c = 0; c < CHANNELS_MAX; c++)
        if (run->channel[c])
            statistics[count++] = (struct statistic){
                .name = arena_format(&run->arena, "channel_%s",
                                     run->sets.of[SET_TRAIN].channel_names[c]),
                .synthetic = run->channel[c],
                .control = control->channel[c],
                .limit = NAN,
            };
    return count;
}

/* The images that are no strangers whatever the thresholds say: just those that a control leaves
 * out (memorization_search.c), so nothing that is promised of strangers changes. Equal pixels need
 * no search, and so count where a correlation should ever round to less than 1. Somebody who was
 * held out is a patient, too: such images are near to nobody who was trained on, and no
 * generator's. */
static const bool *find_identical(struct audit_run *run)
{
    size_t count = images_of(run, SET_SYNTHETIC)->count;
    const struct look *looks = run->looks[SET_SYNTHETIC];
    run->identical = arena_array(&run->arena, bool, count);
    run->twin = arena_array(&run->arena, size_t, count);
    run->copies =
        images_in(looks, count, run->looks[SET_TRAIN], images_of(run, SET_TRAIN)->count, run->twin);
    for (size_t i = 0; i < count; i++) /* NAN, without variance, is no 1 */
        run->identical[i] = run->twin[i] != NO_TWIN || run->correlation[i] == 1;
    if (!run->sets.holdout)
        return run->identical;
    run->held_out_twin = arena_array(&run->arena, size_t, count);
    run->held_out_copies = images_in(looks, count, run->looks[SET_HOLDOUT],
                                     images_of(run, SET_HOLDOUT)->count, run->held_out_twin);
    for (size_t i = 0; i < count; i++)
        run->identical[i] |= run->held_out_twin[i] != NO_TWIN;
    return run->identical;
}

static void calibrate_all(struct audit_run *run)
{
    struct statistic statistics[2 + CHANNELS_MAX + 2 * MATCHER_COUNT];
    size_t count = list_statistics(run, statistics);
    struct control_set control = { .exchangeable = run->used == SOURCE_HOLDOUT &&
                                                   run->sets.of[SET_HOLDOUT].subjects_known };
    if (run->used < SOURCE_COUNT) {
        const struct control_values *values = &run->control[run->used];
        control.count = values->count;
        control.groups = audit_control_images(run, run->used).groups;
        control.set_aside = leaves_near_copies_out(run) ? values->near_copy_count : 0;
    }
    struct calibration_settings settings = {
        .rate = rint((1 - run->settings->quantile) * 1e12) / 1e12, /* 1 − .999 is .001 */
        .confidence = joint_confidence(run->job->candidates),
        .certain = find_identical(run),
    };
    calibrate(statistics, count, images_of(run, SET_SYNTHETIC)->count, &control, &settings,
              &run->calibration);
}

const char *const matcher_statistics[MATCHER_COUNT][2] = {
    [MATCH_DISGUISE] = { "disguise_correlation", "disguise_local_ratio" },
    [MATCH_TILE] = { NULL, "tile_local_ratio" }, /* its correlation is that of the best ratio */
    [MATCH_LESION] = { NULL, "lesion_local_ratio" },
};

/* The matcher by whose statistics alone the image is flagged; −1 when it is flagged as it is. */
static int flagging_matcher(const struct audit_run *run, size_t image)
{
    int found = -1;
    for (size_t s = 0; !run->identical[image] && s < run->calibration.statistics; s++) {
        const char *name = run->calibration.threshold[s].name;
        int matcher = -1;
        if (!run->calibration.hit[s][image])
            continue;
        for (int m = 0; m < MATCHER_COUNT; m++)
            for (int v = 0; v < 2; v++)
                matcher = name == matcher_statistics[m][v] ? m : matcher;
        if (matcher < 0)
            return -1;
        found = found < 0 ? matcher : found;
    }
    return found;
}

/* Whether the image is flagged for being one of a patient who was held out, and for nothing else:
 * then the training image that it is nearest to has no part in it. */
static bool is_of_held_out_alone(const struct audit_run *run, size_t image)
{
    bool alone = run->held_out_twin && run->held_out_twin[image] != NO_TWIN &&
                 run->twin[image] == NO_TWIN && run->correlation[image] != 1;
    for (size_t s = 0; alone && s < run->calibration.statistics; s++)
        alone = !run->calibration.hit[s][image];
    return alone;
}

/* Of which training image each synthetic one is a copy, if it is one. */
static void find_sources(struct audit_run *run)
{
    size_t count = images_of(run, SET_SYNTHETIC)->count;
    run->found_by = arena_array(&run->arena, int, count);
    run->source = arena_array(&run->arena, uint64_t, count);
    run->held_out_alone = arena_array(&run->arena, bool, count);
    for (size_t i = 0; i < count; i++) {
        int m = run->found_by[i] = flagging_matcher(run, i);
        run->source[i] = m < 0 ? run->synthetic.nearest[i * run->k].id : run->matched[m].id[i];
        run->held_out_alone[i] = is_of_held_out_alone(run, i);
    }
}

void audit_flag(struct audit_run *run)
{
    find_near_copies(run);
    calibrate_all(run);
    find_sources(run);
}
