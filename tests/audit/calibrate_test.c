/* What audit/calibrate.h promises. */
#include "test.h"

#include "audit/calibrate.h"
#include "base/arena.h"
#include "base/random.h"

#include <math.h>

enum { IMAGES = 4, CONTROLS = 1999 };
static const struct calibration_settings one_in_thousand = { .rate = 0.001, .confidence = 0.95 };
static const struct control_set all_controls = { CONTROLS, NULL, true, 0 };

/* 1/2000 … 1999/2000, shuffled. */
static double *control_values(void)
{
    static double values[CONTROLS];
    for (size_t i = 0; i < CONTROLS; i++)
        values[(i * 7919) % CONTROLS] = (double)(i + 1) / 2000;
    return values;
}

/* ---- one statistic --------------------------------------------------------------------------- */

static void flags_what_lies_beyond_the_controls_quantile(void **state)
{
    (void)state;
    const double synthetic[IMAGES] = { 0.5, 0.9990, 0.9991, 1 };
    struct statistic statistic = { "correlation", false, synthetic, control_values(), NAN };
    struct calibration calibration;
    calibrate(&statistic, 1, IMAGES, &all_controls, &one_in_thousand, &calibration);
    assert_int_equal(calibration.threshold[0].rule, THRESHOLD_CONTROL);
    assert_true(calibration.threshold[0].value == 0.999);
    assert_true(fabs(calibration.guaranteed - 0.001) < 1e-15);
    assert_int_equal(calibration.needed, 999);
    assert_true(calibration.supported);
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
    calibrate(&statistic, 1, IMAGES, &all_controls, &one_in_thousand, &calibration);
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
    calibrate(&statistic, 1, IMAGES, &all_controls, &one_in_thousand, &calibration);
    assert_int_equal(calibration.threshold[0].rule, THRESHOLD_LIMIT);
    assert_int_equal(calibration.count, 2);
    calibration_release(&calibration);
    statistic.limit = 0.9;
    calibrate(&statistic, 1, IMAGES, &all_controls, &one_in_thousand, &calibration);
    assert_int_equal(calibration.threshold[0].rule, THRESHOLD_CONTROL);
    assert_int_equal(calibration.count, 3);
    calibration_release(&calibration);
}

static void a_certain_copy_is_flagged_whatever_the_limits_are(void **state)
{
    (void)state;
    const double synthetic[IMAGES] = { 0.5, 0.9991, 0.9999, 1 };
    const bool certain[IMAGES] = { false, false, false, true };
    struct statistic statistic = { "correlation", false, synthetic, control_values(), 1 };
    struct calibration_settings settings = one_in_thousand;
    struct calibration calibration;
    settings.certain = certain;
    calibrate(&statistic, 1, IMAGES, &all_controls, &settings, &calibration);
    assert_int_equal(calibration.threshold[0].flagged, 0);
    assert_true(calibration.flagged[3]);
    assert_int_equal(calibration.count, 1);
    assert_int_equal(calibration.certain, 1);
    struct interval exact = clopper_pearson(1, IMAGES, 0.95);
    assert_true(calibration.fraction.low == exact.low && calibration.fraction.high == exact.high);
    calibration_release(&calibration);
}

static void what_only_a_limit_lets_through_is_counted(void **state)
{
    (void)state;
    const double synthetic[IMAGES] = { 0.5, 0.9991, 0.9994, 0.9999 };
    struct statistic statistic = { "correlation", false, synthetic, control_values(), 0.9995 };
    struct calibration calibration;
    calibrate(&statistic, 1, IMAGES, &all_controls, &one_in_thousand, &calibration);
    assert_int_equal(calibration.count, 1);
    assert_int_equal(calibration.spared, 2);
    calibration_release(&calibration);
    statistic.limit = NAN;
    calibrate(&statistic, 1, IMAGES, &all_controls, &one_in_thousand, &calibration);
    assert_int_equal(calibration.spared, 0);
    calibration_release(&calibration);
}

/* ---- several statistics ---------------------------------------------------------------------- */

/* The same images are extreme by both. The second statistic need not spend an elimination on an
 * image that the first has eliminated, as halves of the rate would have it. */
static void an_image_that_is_extreme_twice_is_eliminated_once(void **state)
{
    (void)state;
    const double synthetic[IMAGES] = { 0.5, 0.99925, 0.99875, 0.5 };
    struct statistic statistics[] = {
        { "correlation", false, synthetic, control_values(), NAN },
        { "disguise", false, synthetic, control_values(), NAN },
    };
    struct calibration calibration;
    calibrate(statistics, 2, IMAGES, &all_controls, &one_in_thousand, &calibration);
    assert_int_equal(calibration.eliminated, 2);
    assert_true(calibration.threshold[0].value == 0.9995);
    assert_true(calibration.threshold[1].value == 0.999);
    assert_int_equal(calibration.threshold[0].beyond, 1);
    assert_int_equal(calibration.threshold[1].beyond, 2);
    assert_int_equal(calibration.count, 1);
    assert_true(fabs(calibration.guaranteed - 0.001) < 1e-15);
    assert_true(calibration.supported);
    calibration_release(&calibration);
}

/* The i-th of these turns, by hand: 9 images, 4 eliminations, three statistics. */
static void turns_go_round_in_the_order_given(void **state)
{
    (void)state;
    const double a[9] = { 9, 8, 7, 1, 1, 1, 1, 1, 1 }, b[9] = { 0, 1, 9, 1, 9, 9, 9, 9, 9 },
                 c[9] = { 9, 0, 0, 8, 0, 7, 0, 0, 0 }, synthetic[1] = { 0 };
    struct statistic statistics[] = {
        { "a", false, synthetic, a, NAN }, /* image 0, then, in the fourth turn, image 2 */
        { "b", true, synthetic, b, NAN },  /* image 1, the first of two that are 1 */
        { "c", false, synthetic, c, NAN }, /* image 3, as 0 is gone */
    };
    const struct control_set controls = { 9, NULL, true, 0 };
    struct calibration calibration;
    calibrate(statistics, 3, 1, &controls, &(struct calibration_settings){ 0.4, 0.95 },
              &calibration);
    assert_int_equal(calibration.eliminated, 4);
    assert_true(calibration.threshold[0].value == 7);
    assert_true(calibration.threshold[1].value == 1);
    assert_true(calibration.threshold[2].value == 8);
    assert_int_equal(calibration.threshold[0].eliminated, 2);
    assert_int_equal(calibration.threshold[0].beyond, 3);
    assert_int_equal(calibration.threshold[1].beyond, 3); /* 0, 1, 1 */
    calibration_release(&calibration);
}

/* One image fewer than two statistics take: each has one turn, and what they keep together is told,
 * which is more than was asked for. */
static void a_control_one_image_too_small_says_so(void **state)
{
    (void)state;
    const double synthetic[IMAGES] = { 0.5, 0.9995, 1, 0.00025 };
    struct statistic statistics[] = {
        { "correlation", false, synthetic, control_values() + 1, NAN },
        { "local_ratio", true, synthetic, control_values() + 1, NAN },
    };
    const struct control_set controls = { CONTROLS - 1, NULL, true, 0 };
    struct calibration calibration;
    calibrate(statistics, 2, IMAGES, &controls, &one_in_thousand, &calibration);
    assert_false(calibration.supported);
    assert_int_equal(calibration.needed, CONTROLS);
    assert_true(calibration.threshold[0].value == 0.9995);
    assert_true(calibration.threshold[1].value == 0.001); /* the least, 0.0005, was left out */
    assert_true(fabs(calibration.guaranteed - 2.0 / CONTROLS) < 1e-15);
    assert_true(calibration.flagged[2] && calibration.flagged[3]);
    assert_int_equal(calibration.count, 2);
    calibration_release(&calibration);
}

/* Two images, three statistics: the third finds nobody left, and takes the more extreme of both. */
static void a_control_of_fewer_images_than_statistics_has_thresholds(void **state)
{
    (void)state;
    const double synthetic[1] = { 5 }, a[2] = { 1, 2 }, b[2] = { 3, 4 }, c[2] = { 7, 6 };
    struct statistic statistics[] = {
        { "a", false, synthetic, a, NAN },
        { "b", false, synthetic, b, NAN },
        { "c", false, synthetic, c, NAN },
    };
    const struct control_set controls = { 2, NULL, true, 0 };
    struct calibration calibration;
    calibrate(statistics, 3, 1, &controls, &one_in_thousand, &calibration);
    assert_true(calibration.threshold[0].value == 2 && calibration.threshold[1].value == 3 &&
                calibration.threshold[2].value == 7);
    assert_true(calibration.guaranteed == 1 && !calibration.supported && !calibration.exact);
    assert_true(isnan(calibration.excess) && isnan(calibration.rate.high));
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
    const struct control_set controls = { 4, NULL, true, 0 };
    struct calibration calibration;
    calibrate(statistics, 3, IMAGES, &controls, &one_in_thousand, &calibration);
    assert_int_equal(calibration.controls, 2);
    assert_int_equal(calibration.threshold[0].control.count, 2);
    assert_true(calibration.threshold[0].value == 0.5);
    assert_int_equal(calibration.threshold[1].rule, THRESHOLD_NONE);
    assert_int_equal(calibration.threshold[2].rule, THRESHOLD_LIMIT);
    assert_int_equal(calibration.count, 1);
    calibration_release(&calibration);
}

/* The only control image that has a second value goes in the first statistic's turn. The second
 * still has a threshold, and it is said that it had no turn. */
static void a_statistic_without_a_turn_has_its_most_extreme_value(void **state)
{
    (void)state;
    double first[CONTROLS], second[CONTROLS];
    const double synthetic[IMAGES] = { 0, 0, 0, 0 }, other[IMAGES] = { NAN, 0.5, 0.6, 0.4 };
    for (size_t i = 0; i < CONTROLS; i++) {
        first[i] = (double)(CONTROLS - i);
        second[i] = i ? NAN : 0.5;
    }
    struct statistic statistics[] = {
        { "correlation", false, synthetic, first, NAN },
        { "channel", false, other, second, NAN },
    };
    struct calibration calibration;
    calibrate(statistics, 2, IMAGES, &all_controls, &one_in_thousand, &calibration);
    assert_int_equal(calibration.threshold[1].rule, THRESHOLD_CONTROL);
    assert_true(calibration.threshold[1].value == 0.5);
    assert_int_equal(calibration.count, 1);
    assert_false(calibration.supported || calibration.exact);
    assert_true(fabs(calibration.guaranteed - 3.0 / (CONTROLS + 1)) < 1e-15);
    calibration_release(&calibration);
}

/* One turn each, also where another has nobody left. */
static void in_a_small_control_nobody_takes_two_turns(void **state)
{
    (void)state;
    const double synthetic[1] = { 0 }, a[3] = { 3, 2, 1 }, b[3] = { 9, NAN, NAN },
                 c[3] = { 1, 2, 3 };
    struct statistic statistics[] = {
        { "a", false, synthetic, a, NAN },
        { "b", false, synthetic, b, NAN },
        { "c", true, synthetic, c, NAN },
    };
    const struct control_set controls = { 3, NULL, true, 0 };
    struct calibration calibration;
    calibrate(statistics, 3, 1, &controls, &one_in_thousand, &calibration);
    assert_int_equal(calibration.threshold[0].eliminated, 1);
    assert_int_equal(calibration.threshold[2].eliminated, 1);
    assert_true(calibration.threshold[0].value == 3 && calibration.threshold[1].value == 9 &&
                calibration.threshold[2].value == 2);
    calibration_release(&calibration);
}

/* ---- what is promised ------------------------------------------------------------------------ */

/* `count` control images and `images` clean ones by two statistics that are alike to a degree. */
static void draw_pair(uint64_t run, size_t count, double *first, double *second)
{
    for (size_t i = 0; i < count; i++) {
        first[i] = random_normal(11, run, 2 * i);
        second[i] = -0.8 * first[i] + 0.6 * random_normal(11, run, 2 * i + 1);
    }
}

/* 2,000 audits of 100 images that copy nothing, against controls of 99, at a rate of .05: of
 * 200,000 images 10,000 are to be flagged, not more and (unlike with Bonferroni's rule) not fewer.
 * The standard error, of Beta(5, 95) and the binomial after it, is 2,000 × .0218 × 100 / √2,000 +
 * …: about 140. The true rate must lie in its interval in 95 % of audits: 1,900 ± 4 × 9.7. */
static void clean_sets_are_flagged_at_just_the_declared_rate(void **state)
{
    (void)state;
    enum { RUNS = 2000, MANY = 4000 };
    const struct control_set controls = { 99, NULL, true, 0 };
    double first[199], second[199];
    size_t flagged = 0, small_p = 0, covered = 0;
    double *many[2] = { memory_grow(NULL, MANY, sizeof(double)),
                        memory_grow(NULL, MANY, sizeof(double)) };
    draw_pair(RUNS, MANY, many[0], many[1]);
    for (uint64_t run = 0; run < RUNS; run++) {
        draw_pair(run, 199, first, second);
        struct statistic statistics[] = {
            { "correlation", false, first + 99, first, NAN },
            { "local_ratio", true, second + 99, second, NAN },
        };
        struct calibration calibration;
        calibrate(statistics, 2, 100, &controls, &(struct calibration_settings){ 0.05, 0.95 },
                  &calibration);
        flagged += calibration.count;
        small_p += calibration.excess <= 0.05;
        size_t truth = 0;
        for (size_t i = 0; i < MANY; i++)
            truth += many[0][i] > calibration.threshold[0].value ||
                     many[1][i] < calibration.threshold[1].value;
        covered += (double)truth / MANY >= calibration.rate.low &&
                   (double)truth / MANY <= calibration.rate.high;
        calibration_release(&calibration);
    }
    memory_free(many[0]);
    memory_free(many[1]);
    assert_in_range(flagged, 9400, 10600);
    assert_in_range(covered, 1850, 1950);
    assert_in_range(small_p, 1, 100 + 40); /* a probability, so at most .05 of them */
}

/* Each subject of the control against thresholds that the others set: one of four subjects has
 * images like no other's, and they would be flagged. */
static void the_controls_own_subjects_tell_what_chance_does(void **state)
{
    (void)state;
    double values[40], synthetic[1] = { 0 };
    uint32_t groups[40];
    for (size_t i = 0; i < 40; i++) {
        groups[i] = (uint32_t)(i % 4);
        values[i] = (groups[i] == 2 ? 10 : 0) + (double)(i / 4) / 100;
    }
    struct statistic statistic = { "correlation", false, synthetic, values, NAN };
    const struct control_set controls = { 40, groups, true, 0 };
    struct calibration calibration;
    calibrate(&statistic, 1, 1, &controls, &(struct calibration_settings){ 0.04, 0.95 },
              &calibration);
    assert_int_equal(calibration.across.images, 40);
    assert_int_equal(calibration.across.flagged, 10);
    assert_int_equal(calibration.across.subjects, 4);
    assert_int_equal(calibration.across.flagged_subjects, 1);
    calibration_release(&calibration);
}

/* Nothing is known exactly of images of one subject, of a control that is not drawn like new
 * images, or without the images that were set aside. */
static void what_is_not_known_is_not_told(void **state)
{
    (void)state;
    uint32_t pairs[CONTROLS], somebody[CONTROLS] = { 0 };
    for (size_t i = 0; i < CONTROLS; i++)
        pairs[i] = (uint32_t)(i / 2);
    const double synthetic[IMAGES] = { 0, 0, 0, 1 };
    struct statistic statistic = { "correlation", false, synthetic, control_values(), NAN };
    const struct control_set sets[] = {
        { CONTROLS, NULL, true, 0 }, { CONTROLS, pairs, true, 0 },    { CONTROLS, NULL, false, 0 },
        { CONTROLS, NULL, true, 2 }, { CONTROLS, somebody, true, 0 },
    };
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        struct calibration calibration;
        calibrate(&statistic, 1, IMAGES, &sets[i], &one_in_thousand, &calibration);
        assert_int_equal(calibration.exact, i == 0);
        assert_int_equal(!isnan(calibration.excess), i == 0);
        assert_int_equal(!isnan(calibration.rate.high), i == 0);
        assert_true(fabs(calibration.guaranteed - 0.001) < 1e-15);
        assert_true(fabs(calibration.if_strangers - (i == 3 ? 4.0 / 2002 : 0.001)) < 1e-15);
        calibration_release(&calibration);
    }
}

static void without_a_control_nothing_is_promised(void **state)
{
    (void)state;
    const double synthetic[IMAGES] = { 0, 0, 0, 1 };
    struct statistic statistic = { "correlation", false, synthetic, NULL, 0.5 };
    const struct control_set none = { 0, NULL, true, 0 };
    struct calibration calibration;
    calibrate(&statistic, 1, IMAGES, &none, &one_in_thousand, &calibration);
    assert_int_equal(calibration.count, 1);
    assert_true(isnan(calibration.guaranteed) && isnan(calibration.expected));
    assert_false(calibration.supported || calibration.exact);
    calibration_release(&calibration);
}

/* A limit beyond all values: the true rate is 0, and its interval reaches down to there. What
 * stands at or beyond is counted at the limit, not at the control's own threshold. */
static void a_limit_lowers_the_rate(void **state)
{
    (void)state;
    const double synthetic[IMAGES] = { 0, 0, 0, 1 };
    struct statistic statistic = { "correlation", false, synthetic, control_values(), 2 };
    struct calibration calibration;
    calibrate(&statistic, 1, IMAGES, &all_controls, &one_in_thousand, &calibration);
    assert_int_equal(calibration.threshold[0].rule, THRESHOLD_LIMIT);
    assert_int_equal(calibration.threshold[0].beyond, 0);
    assert_true(calibration.threshold[0].control.q == 1);
    assert_true(calibration.rate.low == 0 && calibration.rate.high > 0.001);
    calibration_release(&calibration);
}

/* Subjects of 20 images that are nearly alike: the rate per image that is told is too small, the
 * one of each subject against the others is not. 200 controls of 30 subjects, 30 new subjects. */
static void alike_images_of_a_subject_show_in_its_comparison_with_others(void **state)
{
    (void)state;
    enum { SUBJECTS = 30, SLICES = 20, COUNT = SUBJECTS * SLICES, RUNS = 200 };
    double values[2][COUNT], told = 0, shown = 0;
    uint32_t groups[COUNT];
    size_t flagged = 0;
    for (uint64_t run = 0; run < RUNS; run++) {
        for (uint64_t i = 0; i < 2 * (uint64_t)COUNT; i++) {
            groups[i % COUNT] = (uint32_t)(i % COUNT / SLICES);
            values[i / COUNT][i % COUNT] =
                random_normal(12, run, i / SLICES) + 0.2 * random_normal(13, run, i);
        }
        struct statistic statistic = { "correlation", false, values[1], values[0], NAN };
        const struct control_set controls = { COUNT, groups, true, 0 };
        struct calibration calibration;
        calibrate(&statistic, 1, COUNT, &controls, &(struct calibration_settings){ 0.005, 0.95 },
                  &calibration);
        flagged += calibration.count;
        told += calibration.guaranteed;
        shown += (double)calibration.across.flagged / (double)calibration.across.images;
        calibration_release(&calibration);
    }
    double real = (double)flagged / (RUNS * COUNT);
    assert_true(real > 3 * told / RUNS);
    assert_true(fabs(shown / RUNS / real - 1) < 0.3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flags_what_lies_beyond_the_controls_quantile),
        cmocka_unit_test(small_values_stand_out_where_they_are_said_to),
        cmocka_unit_test(the_less_strict_of_limit_and_control_decides),
        cmocka_unit_test(a_certain_copy_is_flagged_whatever_the_limits_are),
        cmocka_unit_test(what_only_a_limit_lets_through_is_counted),
        cmocka_unit_test(an_image_that_is_extreme_twice_is_eliminated_once),
        cmocka_unit_test(turns_go_round_in_the_order_given),
        cmocka_unit_test(a_control_one_image_too_small_says_so),
        cmocka_unit_test(a_control_of_fewer_images_than_statistics_has_thresholds),
        cmocka_unit_test(values_that_are_missing_neither_count_nor_flag),
        cmocka_unit_test(clean_sets_are_flagged_at_just_the_declared_rate),
        cmocka_unit_test(the_controls_own_subjects_tell_what_chance_does),
        cmocka_unit_test(a_statistic_without_a_turn_has_its_most_extreme_value),
        cmocka_unit_test(in_a_small_control_nobody_takes_two_turns),
        cmocka_unit_test(what_is_not_known_is_not_told),
        cmocka_unit_test(without_a_control_nothing_is_promised),
        cmocka_unit_test(a_limit_lowers_the_rate),
        cmocka_unit_test(alike_images_of_a_subject_show_in_its_comparison_with_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
