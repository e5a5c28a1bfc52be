/* Calibration; see calibrate.h. */
#include "audit/calibrate.h"

#include "base/arena.h"

#include <math.h>
#include <stdlib.h>

const char *const threshold_rule_names[THRESHOLD_RULES] = {
    [THRESHOLD_NONE] = "none", [THRESHOLD_CONTROL] = "control", [THRESHOLD_LIMIT] = "limit"
};

static bool beyond(const struct threshold *threshold, double value, double bound)
{
    return threshold->small ? value < bound : value > bound;
}

/* The quantile of the control values that there are. */
static void measure_control(struct threshold *threshold, const struct statistic *statistic,
                            size_t controls, double confidence)
{
    double *values = memory_grow(NULL, controls ? controls : 1, sizeof *values);
    size_t count = 0;
    for (size_t i = 0; i < controls; i++)
        if (!isnan(statistic->control[i]))
            values[count++] = statistic->control[i];
    threshold->control = (struct quantile){ .q = 1 - threshold->rate,
                                            .value = NAN,
                                            .interval = { -INFINITY, INFINITY } };
    threshold->attained = 1;
    threshold->needed = (size_t)ceil(1 / threshold->rate - 1e-6) - 1;
    if (count) {
        threshold->control = (statistic->small ? quantile_of_small : quantile_of)(
            values, count, 1 - threshold->rate, confidence);
        threshold->attained = (double)(count + 1 - threshold->control.rank) / (double)(count + 1);
    }
    free(values);
}

static void set_threshold(struct threshold *threshold, const struct statistic *statistic,
                          size_t controls, double confidence)
{
    measure_control(threshold, statistic, controls, confidence);
    threshold->value = threshold->control.value;
    threshold->rule = threshold->control.count ? THRESHOLD_CONTROL : THRESHOLD_NONE;
    if (!isnan(statistic->limit) &&
        (!threshold->control.count || beyond(threshold, statistic->limit, threshold->value))) {
        threshold->value = statistic->limit;
        threshold->rule = THRESHOLD_LIMIT;
    }
}

static void mark(struct calibration *calibration, size_t s, const struct statistic *statistic)
{
    struct threshold *threshold = &calibration->threshold[s];
    if (threshold->rule == THRESHOLD_NONE)
        return;
    for (size_t i = 0; i < calibration->images; i++) {
        if (!beyond(threshold, statistic->synthetic[i], threshold->value)) /* NAN never is */
            continue;
        calibration->hit[s][i] = true;
        threshold->flagged++;
        calibration->count += !calibration->flagged[i];
        calibration->flagged[i] = true;
    }
}

/* What the thresholds guarantee together: a control that is too small guarantees less than was
 * asked for. A limit is beyond the control's quantile, so that one's rate holds for it, too. */
static double rate_by_chance(const struct calibration *calibration)
{
    double rate = 0;
    for (size_t s = 0; s < calibration->statistics; s++) {
        const struct threshold *threshold = &calibration->threshold[s];
        if (threshold->rule != THRESHOLD_NONE)
            rate += threshold->attained > threshold->rate ? threshold->attained : threshold->rate;
    }
    return rate < 1 ? rate : 1;
}

static bool *switches(size_t count)
{
    bool *all = memory_grow(NULL, count ? count : 1, sizeof *all);
    for (size_t i = 0; i < count; i++)
        all[i] = false;
    return all;
}

void calibrate(const struct statistic *statistics, size_t count, size_t images, size_t controls,
               const struct calibration_settings *settings, struct calibration *calibration)
{
    CHECK(count <= STATISTICS_MAX && settings->rate > 0 && settings->rate < 1,
          "%zu statistics at a rate of %g", count, settings->rate);
    *calibration = (struct calibration){
        .statistics = count, .images = images, .declared = settings->rate, .supported = count > 0
    };
    calibration->flagged = switches(images);
    for (size_t s = 0; s < count; s++) {
        struct threshold *threshold = &calibration->threshold[s];
        *threshold = (struct threshold){ .name = statistics[s].name,
                                         .small = statistics[s].small,
                                         .limit = statistics[s].limit,
                                         .rate = settings->rate / (double)count };
        calibration->hit[s] = switches(images);
        set_threshold(threshold, &statistics[s], controls, settings->confidence);
        calibration->supported &= threshold->control.supported;
        mark(calibration, s, &statistics[s]);
    }
    calibration->fraction = clopper_pearson(calibration->count, images, settings->confidence);
    calibration->guaranteed = rate_by_chance(calibration);
    calibration->expected = calibration->guaranteed * (double)images;
    calibration->excess = binomial_upper_tail(images, calibration->count, calibration->guaranteed);
}

void calibration_release(struct calibration *calibration)
{
    for (size_t s = 0; s < calibration->statistics; s++)
        free(calibration->hit[s]);
    free(calibration->flagged);
    *calibration = (struct calibration){ 0 };
}
