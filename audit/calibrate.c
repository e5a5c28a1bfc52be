/* Calibration; see calibrate.h. */
#include "audit/calibrate.h"

#include <math.h>
#include <stdlib.h>

const char *const threshold_rule_names[THRESHOLD_RULES] = {
    [THRESHOLD_NONE] = "none", [THRESHOLD_CONTROL] = "control", [THRESHOLD_LIMIT] = "limit"
};

static bool beyond(bool small, double value, double bound)
{
    return small ? value < bound : value > bound; /* NAN never is */
}

/* ---- elimination ----------------------------------------------------------------------------- */

/* The control, prepared to be eliminated from in several rounds, each with other images left out.
 * An image is marked by the number of the round, so that marks need not be taken back. */
struct elimination {
    const struct statistic *statistics;
    size_t count, controls;
    size_t *order[STATISTICS_MAX]; /* by statistic: its control images, the most extreme first */
    size_t length[STATISTICS_MAX]; /* of these: those that have a value */
    bool *counts;                  /* by image: it has any value */
    size_t present;                /* images that have */
    uint32_t round;                /* from 1 */
    uint32_t *left_out, *gone;     /* by image: the last round that left it out, eliminated it */
    struct arena arena;
};

/* What one round finds. */
struct outcome {
    double bound[STATISTICS_MAX];      /* thresholds; NAN: none */
    size_t eliminated[STATISTICS_MAX]; /* by whom */
    size_t steps;                      /* k */
    size_t extremes;                   /* of these: no turns, see take_extremes */
};

struct ranked {
    double value;
    size_t image;
};

static int most_extreme_first(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->value != y->value)
        return x->value < y->value ? -1 : 1;
    return (x->image > y->image) - (x->image < y->image);
}

/* The images that have the statistic, in order. */
static size_t order_by(const struct statistic *statistic, size_t controls, size_t *order)
{
    struct ranked *ranked = memory_grow(NULL, controls + 1, sizeof *ranked);
    size_t count = 0;
    for (size_t i = 0; i < controls; i++)
        if (!isnan(statistic->control[i]))
            ranked[count++] =
                (struct ranked){ statistic->small ? statistic->control[i] : -statistic->control[i],
                                 i };
    qsort(ranked, count, sizeof *ranked, most_extreme_first);
    for (size_t i = 0; i < count; i++)
        order[i] = ranked[i].image;
    free(ranked);
    return count;
}

static void elimination_init(struct elimination *elimination, const struct statistic *statistics,
                             size_t count, size_t controls)
{
    *elimination =
        (struct elimination){ .statistics = statistics, .count = count, .controls = controls };
    arena_init(&elimination->arena);
    elimination->counts = arena_array(&elimination->arena, bool, controls);
    elimination->left_out = arena_array(&elimination->arena, uint32_t, controls);
    elimination->gone = arena_array(&elimination->arena, uint32_t, controls);
    for (size_t s = 0; s < count; s++) {
        size_t *order = arena_array(&elimination->arena, size_t, controls);
        elimination->order[s] = order;
        elimination->length[s] = order_by(&statistics[s], controls, order);
        for (size_t i = 0; i < elimination->length[s]; i++)
            elimination->counts[order[i]] = true;
    }
    for (size_t i = 0; i < controls; i++)
        elimination->present += elimination->counts[i];
}

/* ⌊rate (n + 1)⌋. A product that should be whole may be off by a rounding of the rate. */
static size_t steps_of(double rate, size_t images)
{
    double exact = rate * (double)(images + 1), rounded = round(exact);
    return (size_t)(fabs(exact - rounded) > 1e-9 * fmax(1, exact) ? floor(exact) : rounded);
}

/* The first image from place `at` of a statistic's order that this round has not left out nor,
 * where it is to be `still_there`, eliminated; false: there is none. */
static bool next_image(const struct elimination *elimination, size_t s, bool still_there,
                       size_t *at, size_t *image)
{
    for (; *at < elimination->length[s]; ++*at) {
        *image = elimination->order[s][*at];
        if (elimination->left_out[*image] != elimination->round &&
            !(still_there && elimination->gone[*image] == elimination->round))
            return true;
    }
    return false;
}

/* How a round goes: so many turns, at most `each` of one statistic. */
struct turns {
    size_t all, each;
};

/* As many turns as find an image. */
static void take_turns(struct elimination *elimination, struct turns turns, struct outcome *outcome)
{
    size_t at[STATISTICS_MAX] = { 0 }, image, idle = 0;
    for (size_t s = 0; outcome->steps < turns.all && idle < elimination->count;
         s = (s + 1) % elimination->count) {
        if (outcome->eliminated[s] >= turns.each ||
            !next_image(elimination, s, true, &at[s], &image)) {
            idle++;
            continue;
        }
        idle = 0;
        elimination->gone[image] = elimination->round;
        outcome->bound[s] = elimination->statistics[s].control[image];
        outcome->eliminated[s]++;
        outcome->steps++;
    }
}

/* Of each statistic that had no turn the most extreme image, whoever eliminated that: it is
 * exceeded with probability 1 / (n + 1), one step more. */
static void take_extremes(const struct elimination *elimination, struct outcome *outcome)
{
    for (size_t s = 0; s < elimination->count; s++) {
        size_t at = 0, image;
        if (!isnan(outcome->bound[s]) || !next_image(elimination, s, false, &at, &image))
            continue;
        outcome->bound[s] = elimination->statistics[s].control[image];
        outcome->steps++;
        outcome->extremes++;
    }
}

/* One round, without the images in `out`. */
static void eliminate(struct elimination *elimination, struct turns turns, const size_t *out,
                      size_t out_count, struct outcome *outcome)
{
    *outcome = (struct outcome){ 0 };
    elimination->round++;
    for (size_t i = 0; i < out_count; i++)
        elimination->left_out[out[i]] = elimination->round;
    for (size_t s = 0; s < elimination->count; s++)
        outcome->bound[s] = NAN;
    take_turns(elimination, turns, outcome);
    take_extremes(elimination, outcome);
}

/* ---- each subject against the others --------------------------------------------------------- */

struct member {
    uint32_t group;
    size_t image;
};

static int by_group(const void *a, const void *b)
{
    const struct member *x = a, *y = b;
    if (x->group != y->group)
        return x->group < y->group ? -1 : 1;
    return (x->image > y->image) - (x->image < y->image);
}

/* A limit is as good as the control's threshold where it is the less strict. */
static double less_strict(const struct statistic *statistic, double bound)
{
    bool limited = !isnan(statistic->limit) &&
                   (isnan(bound) || beyond(statistic->small, statistic->limit, bound));
    return limited ? statistic->limit : bound;
}

static bool would_be_flagged(const struct elimination *elimination, const struct outcome *outcome,
                             size_t image)
{
    for (size_t s = 0; s < elimination->count; s++) {
        const struct statistic *statistic = &elimination->statistics[s];
        if (beyond(statistic->small, statistic->control[image],
                   less_strict(statistic, outcome->bound[s])))
            return true;
    }
    return false;
}

/* The control images that count, subject by subject. */
static size_t by_subject(const struct elimination *elimination, const uint32_t *groups,
                         struct member *members)
{
    size_t count = 0;
    for (size_t i = 0; i < elimination->controls; i++)
        if (elimination->counts[i])
            members[count++] = (struct member){ groups ? groups[i] : (uint32_t)i, i };
    qsort(members, count, sizeof *members, by_group);
    return count;
}

/* Of the subject's images, those that would be flagged by what the others set, in as many of their
 * turns as keep the rate of all turns of all images. */
static size_t flagged_by_others(struct elimination *elimination, struct turns turns,
                                const size_t *images, size_t count)
{
    struct outcome outcome;
    size_t flagged = 0;
    double left = (double)(elimination->present - count + 1) / (double)(elimination->present + 1);
    if (turns.each > 1)
        turns.all = (size_t)ceil((double)turns.all * left - 1e-9);
    eliminate(elimination, turns, images, count, &outcome);
    for (size_t i = 0; i < count; i++)
        flagged += would_be_flagged(elimination, &outcome, images[i]);
    return flagged;
}

/* After the round with all images. A subject of whom no image was eliminated there would not be
 * flagged by the others: without its images the same ones go, in the same order, and not more. */
static void compare_subjects(struct elimination *elimination, struct turns turns,
                             const uint32_t *groups, struct across_subjects *across)
{
    struct arena *arena = &elimination->arena;
    struct member *members = arena_array(arena, struct member, elimination->controls);
    size_t *images = arena_array(arena, size_t, elimination->controls);
    bool *went = arena_array(arena, bool, elimination->controls);
    size_t count = by_subject(elimination, groups, members), end;
    for (size_t i = 0; i < elimination->controls; i++)
        went[i] = elimination->gone[i] == elimination->round;
    for (size_t begin = 0; begin < count; begin = end) {
        bool any = false;
        for (end = begin; end < count && members[end].group == members[begin].group; end++) {
            images[end - begin] = members[end].image;
            any |= went[members[end].image];
        }
        if (end - begin == count)
            break; /* one subject, and nobody to hold it against */
        size_t flagged = any ? flagged_by_others(elimination, turns, images, end - begin) : 0;
        across->images += end - begin;
        across->flagged += flagged;
        across->subjects++;
        across->flagged_subjects += flagged > 0;
    }
}

/* ---- thresholds ------------------------------------------------------------------------------ */

static void set_threshold(struct threshold *threshold, const struct statistic *statistic,
                          double bound)
{
    bool controlled = !isnan(bound);
    threshold->value = less_strict(statistic, bound);
    threshold->rule = controlled && threshold->value == bound ? THRESHOLD_CONTROL
                      : isnan(threshold->value)               ? THRESHOLD_NONE
                                                              : THRESHOLD_LIMIT;
}

/* Where the threshold stands among all control values of its statistic. */
static void place_threshold(struct threshold *threshold, const struct statistic *statistic,
                            const struct elimination *elimination, size_t s, double confidence)
{
    size_t count = elimination->length[s];
    double *values = memory_grow(NULL, count + 1, sizeof *values);
    threshold->control = (struct quantile){ .q = count ? 1 : NAN,
                                            .value = threshold->value,
                                            .count = count,
                                            .interval = { -INFINITY, INFINITY } };
    for (size_t i = 0; i < count; i++) {
        values[i] = statistic->control[elimination->order[s][i]];
        threshold->beyond += !beyond(statistic->small, threshold->value, values[i]);
        threshold->tied += values[i] == threshold->value;
    }
    if (threshold->beyond)
        threshold->control = (statistic->small ? quantile_of_small : quantile_of)(
            values, count, 1 - (double)threshold->beyond / (double)(count + 1), confidence);
    free(values);
}

static void mark(struct calibration *calibration, size_t s, const struct statistic *statistic)
{
    struct threshold *threshold = &calibration->threshold[s];
    for (size_t i = 0; i < calibration->images; i++) {
        if (!beyond(threshold->small, statistic->synthetic[i], threshold->value))
            continue; /* without a threshold it is NAN, and nothing is beyond it */
        calibration->hit[s][i] = true;
        threshold->flagged++;
        calibration->flagged[i] = true;
    }
}

/* With all thresholds known: what is flagged in the end, and what limits alone kept from it. */
static void count_flagged(struct calibration *calibration, const struct statistic *statistics,
                          const struct outcome *outcome, const bool *certain)
{
    for (size_t i = 0; i < calibration->images; i++) {
        bool by_control = false;
        for (size_t s = 0; s < calibration->statistics; s++)
            by_control |=
                beyond(statistics[s].small, statistics[s].synthetic[i], outcome->bound[s]);
        if (certain && certain[i]) {
            calibration->flagged[i] = true;
            calibration->certain++;
        }
        calibration->count += calibration->flagged[i];
        calibration->spared += by_control && !calibration->flagged[i];
    }
}

/* Where the control is too small, each statistic has one turn. */
static struct turns turns_for(const struct elimination *elimination, double rate)
{
    size_t turns = steps_of(rate, elimination->present), statistics = 0;
    for (size_t s = 0; s < elimination->count; s++)
        statistics += elimination->length[s] > 0;
    bool enough = statistics > 0 && turns >= statistics;
    return (struct turns){ enough ? turns : statistics, enough ? SIZE_MAX : 1 };
}

static void find_thresholds(struct calibration *calibration, struct elimination *elimination,
                            struct turns turns, const struct calibration_settings *settings)
{
    struct outcome outcome;
    eliminate(elimination, turns, NULL, 0, &outcome);
    calibration->controls = elimination->present;
    calibration->eliminated = outcome.steps;
    calibration->exact = !outcome.extremes;
    calibration->supported = turns.each > 1 && !outcome.extremes;
    for (size_t s = 0; s < elimination->count; s++) {
        const struct statistic *statistic = &elimination->statistics[s];
        struct threshold *threshold = &calibration->threshold[s];
        *threshold = (struct threshold){ .name = statistic->name,
                                         .small = statistic->small,
                                         .limit = statistic->limit,
                                         .eliminated = outcome.eliminated[s] };
        set_threshold(threshold, statistic, outcome.bound[s]);
        place_threshold(threshold, statistic, elimination, s, settings->confidence);
        calibration->hit[s] = arena_array(&calibration->arena, bool, calibration->images);
        mark(calibration, s, statistic);
    }
    count_flagged(calibration, elimination->statistics, &outcome, settings->certain);
}

/* ---- what they promise ----------------------------------------------------------------------- */

/* Flagged images among `images` that are drawn like the control's: they and the n control images
 * come in any order of elimination, a turn lasting until a control image goes. At least c of them
 * are flagged just when of the first k + c − 1 of all, at least c are theirs. */
static double chance_of(const struct calibration *calibration)
{
    uint64_t n = calibration->controls, k = calibration->eliminated, c = calibration->count;
    if (c == 0 || k > n)
        return 1;
    return k == 0 ? 0
                  : hypergeometric_upper_tail(n + calibration->images, calibration->images,
                                              k + c - 1, c);
}

static struct interval interval_of_rate(const struct calibration *calibration, double confidence)
{
    size_t n = calibration->controls, k = calibration->eliminated;
    double side = (1 - confidence) / 2;
    bool at_most = false;
    for (size_t s = 0; s < calibration->statistics; s++)
        at_most |=
            calibration->threshold[s].rule == THRESHOLD_LIMIT || calibration->threshold[s].tied > 1;
    if (k > n)
        return (struct interval){ 0, 1 };
    return (struct interval){ at_most ? 0 : binomial_upper_tail_inverse(n, k, side),
                              binomial_upper_tail_inverse(n, k, 1 - side) };
}

/* The average rate, with so many more images that would have gone first. */
static double rate_with(const struct calibration *calibration, size_t more)
{
    double rate =
        (double)(calibration->eliminated + more) / (double)(calibration->controls + more + 1);
    return rate < 1 ? rate : 1;
}

/* Of one subject alone nobody is left to be held against the others: then it is its images that
 * count. */
static bool has_one_image_a_subject(const struct calibration *calibration)
{
    const struct across_subjects *across = &calibration->across;
    return across->images ? across->subjects == across->images : calibration->controls == 1;
}

static void promise(struct calibration *calibration, const struct elimination *elimination,
                    const struct control_set *control, const struct calibration_settings *settings)
{
    const struct across_subjects *across = &calibration->across;
    size_t controlled = 0;
    for (size_t s = 0; s < calibration->statistics; s++)
        controlled += elimination->length[s] > 0;
    calibration->declared = settings->rate;
    calibration->controlled = controlled;
    calibration->needed =
        (size_t)ceil((double)(controlled ? controlled : calibration->statistics) / settings->rate -
                     1e-6) -
        1;
    calibration->fraction =
        clopper_pearson(calibration->count, calibration->images, settings->confidence);
    calibration->exact = calibration->exact && controlled > 0 && control->exchangeable &&
                         !control->set_aside && has_one_image_a_subject(calibration);
    calibration->rate = (struct interval){ NAN, NAN };
    calibration->guaranteed = calibration->if_strangers = calibration->expected = NAN;
    calibration->excess = NAN;
    if (!controlled)
        return;
    calibration->guaranteed = rate_with(calibration, 0);
    calibration->if_strangers = rate_with(calibration, control->set_aside);
    calibration->expected =
        fmax(calibration->if_strangers, across_rate(across)) * (double)calibration->images;
    if (calibration->exact) {
        calibration->rate = interval_of_rate(calibration, settings->confidence);
        calibration->excess = chance_of(calibration);
    }
}

void calibrate(const struct statistic *statistics, size_t count, size_t images,
               const struct control_set *control, const struct calibration_settings *settings,
               struct calibration *calibration)
{
    CHECK(count <= STATISTICS_MAX && settings->rate > 0 && settings->rate < 1,
          "%zu statistics at a rate of %g", count, settings->rate);
    struct elimination elimination;
    *calibration = (struct calibration){ .statistics = count, .images = images };
    arena_init(&calibration->arena);
    calibration->flagged = arena_array(&calibration->arena, bool, images);
    elimination_init(&elimination, statistics, count, control->count);
    struct turns turns = turns_for(&elimination, settings->rate);
    find_thresholds(calibration, &elimination, turns, settings);
    compare_subjects(&elimination, turns, control->groups, &calibration->across);
    promise(calibration, &elimination, control, settings);
    arena_release(&elimination.arena);
}

void calibration_release(struct calibration *calibration)
{
    arena_release(&calibration->arena);
    *calibration = (struct calibration){ 0 };
}
