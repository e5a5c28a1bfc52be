/* What audit/calibrate.h promises. */
#include "test.h"

#include "audit/calibrate.h"
#include "base/random.h"

#include <math.h>

enum { IMAGES = 4, CONTROLS = 1999 };
static const struct calibration_settings one_in_thousand = { .rate = 0.001, .confidence = 0.95 };

/* 1/2000 … 1999/2000, shuffled. */
static double *control_values(void)
{
    static double values[CONTROLS];
    for (size_t i = 0; i < CONTROLS; i++)
        values[(i * 7919) % CONTROLS] = (double)(i + 1) / 2000;
    return values;
}

static void flags_what_lies_beyond_the_controls_quantile(void **state)
{
    (void)state;
    const double synthetic[IMAGES] = { 0.5, 0.9990, 0.9991, 1 };
    struct statistic statistic = { "correlation", false, synthetic, control_values(), NAN };
    struct calibration calibration;
    calibrate(&statistic, 1, IMAGES, CONTROLS, &one_in_thousand, &calibration);
    assert_int_equal(calibration.threshold[0].rule, THRESHOLD_CONTROL);
    assert_true(calibration.threshold[0].value == 0.999);
    assert_true(fabs(calibration.threshold[0].attained - 0.001) < 1e-15);
    assert_false(calibration.flagged[1]); /* at the threshold, not beyond it */
    assert_true(calibration.flagged[2] && calibration.flagged[3]);
    assert_int_equal(calibration.count, 2);
    struct interval exact = clopper_pearson(2, IMAGES, 0.95);
    assert_true(calibration.fraction.low == exact.low && calibration.fraction.high == exact.high);
    calibration_release(&calibration);
}

static void small_values_stand_out_where_they_are_said_to(void **state)
{
    (void)state;
    const double synthetic[IMAGES] = { 0.5, 0.001, 0.0009, 0 };
    struct statistic statistic = { "local_ratio", true, synthetic, control_values(), NAN };
    struct calibration calibration;
    calibrate(&statistic, 1, IMAGES, CONTROLS, &one_in_thousand, &calibration);
    assert_true(calibration.threshold[0].value == 0.001);
    assert_false(calibration.flagged[1]);
    assert_true(calibration.flagged[2] && calibration.flagged[3]);
    calibration_release(&calibration);
}

static void the_less_strict_of_limit_and_control_decides(void **state)
{
    (void)state;
    const double synthetic[IMAGES] = { 0.5, 0.9991, 0.9999, 1 };
    struct statistic statistic = { "correlation", false, synthetic, control_values(), 0.9995 };
    struct calibration calibration;
    calibrate(&statistic, 1, IMAGES, CONTROLS, &one_in_thousand, &calibration);
    assert_int_equal(calibration.threshold[0].rule, THRESHOLD_LIMIT);
    assert_int_equal(calibration.count, 2);
    calibration_release(&calibration);
    statistic.limit = 0.9;
    calibrate(&statistic, 1, IMAGES, CONTROLS, &one_in_thousand, &calibration);
    assert_int_equal(calibration.threshold[0].rule, THRESHOLD_CONTROL);
    assert_int_equal(calibration.count, 3);
    calibration_release(&calibration);
}

static void the_rate_is_shared_in_equal_parts(void **state)
{
    (void)state;
    const double synthetic[IMAGES] = { 0 };
    struct statistic statistics[] = {
        { "correlation", false, synthetic, control_values(), NAN },
        { "local_ratio", true, synthetic, control_values(), NAN },
    };
    struct calibration calibration;
    calibrate(statistics, 2, IMAGES, CONTROLS, &one_in_thousand, &calibration);
    for (int s = 0; s < 2; s++) {
        assert_true(fabs(calibration.threshold[s].rate - 0.0005) < 1e-15);
        assert_int_equal(calibration.threshold[s].needed, 1999);
        assert_true(calibration.threshold[s].control.supported);
    }
    assert_true(calibration.supported);
    assert_true(fabs(calibration.guaranteed - 0.001) < 1e-15);
    assert_int_equal(calibration.count, IMAGES); /* by the second */
    assert_int_equal(calibration.threshold[0].flagged, 0);
    calibration_release(&calibration);
}

/* One image fewer than each half of the rate takes: the extremes are the thresholds, and what they
 * keep together is told, which is more than was asked for. */
static void a_control_one_image_too_small_says_so(void **state)
{
    (void)state;
    const double synthetic[IMAGES] = { 0.5, 0.9995, 1, 0.00025 };
    struct statistic statistics[] = {
        { "correlation", false, synthetic, control_values() + 1, NAN },
        { "local_ratio", true, synthetic, control_values() + 1, NAN },
    };
    struct calibration calibration;
    calibrate(statistics, 2, IMAGES, CONTROLS - 1, &one_in_thousand, &calibration);
    assert_false(calibration.supported);
    assert_int_equal(calibration.threshold[0].needed, CONTROLS);
    assert_true(calibration.threshold[0].value == 0.9995);
    assert_true(calibration.threshold[1].value == 0.001); /* the least, 0.0005, was left out */
    assert_true(fabs(calibration.guaranteed - 2.0 / CONTROLS) < 1e-15);
    assert_true(calibration.flagged[2] && calibration.flagged[3]);
    assert_int_equal(calibration.count, 2);
    calibration_release(&calibration);
}

static void values_that_are_missing_neither_count_nor_flag(void **state)
{
    (void)state;
    const double synthetic[IMAGES] = { NAN, 1, NAN }, control[4] = { NAN, 0.5, NAN, 0.25 },
                 none[4] = { NAN, NAN, NAN, NAN };
    struct statistic statistics[] = {
        { "correlation", false, synthetic, control, NAN },
        { "disguise", false, synthetic, none, NAN },
        { "tile", false, synthetic, none, 0.25 },
    };
    struct calibration calibration;
    calibrate(statistics, 3, IMAGES, 4, &one_in_thousand, &calibration);
    assert_int_equal(calibration.threshold[0].control.count, 2);
    assert_true(calibration.threshold[0].value == 0.5);
    assert_int_equal(calibration.threshold[1].rule, THRESHOLD_NONE);
    assert_int_equal(calibration.threshold[2].rule, THRESHOLD_LIMIT);
    assert_int_equal(calibration.count, 1);
    calibration_release(&calibration);
}

/* 300 audits of 100 images that copy nothing, against controls of 99, at a rate of .05 shared by
 * two statistics that know nothing of each other: at most 1,500 of 30,000 are to be flagged. */
static void clean_sets_are_flagged_at_the_declared_rate(void **state)
{
    (void)state;
    size_t flagged = 0;
    for (uint64_t run = 0; run < 300; run++) {
        double values[4][100];
        for (uint64_t i = 0; i < 400; i++)
            values[i / 100][i % 100] = random_uniform(11, run, i);
        struct statistic statistics[] = {
            { "correlation", false, values[0], values[1], NAN },
            { "local_ratio", true, values[2], values[3], NAN },
        };
        struct calibration calibration;
        calibrate(statistics, 2, 100, 99, &(struct calibration_settings){ 0.05, 0.95 },
                  &calibration);
        flagged += calibration.count;
        calibration_release(&calibration);
    }
    assert_in_range(flagged, 1000, 1700);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flags_what_lies_beyond_the_controls_quantile),
        cmocka_unit_test(small_values_stand_out_where_they_are_said_to),
        cmocka_unit_test(the_less_strict_of_limit_and_control_decides),
        cmocka_unit_test(the_rate_is_shared_in_equal_parts),
        cmocka_unit_test(a_control_one_image_too_small_says_so),
        cmocka_unit_test(values_that_are_missing_neither_count_nor_flag),
        cmocka_unit_test(clean_sets_are_flagged_at_the_declared_rate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
