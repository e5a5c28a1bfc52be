/* What audit/statistics.h promises: intervals that are exact, quantiles that say what they can't.
 */
#include "test.h"

#include "audit/statistics.h"
#include "base/file.h"
#include "base/random.h"

#include <math.h>
#include <stdio.h>

#define assert_close(seen, expected, relative)                                                     \
    do {                                                                                           \
        double seen_ = (seen), expected_ = (expected);                                             \
        if (!(fabs(seen_ - expected_) <= (relative)*fabs(expected_)))                              \
            fail_msg("%s is %.17g, expected %.17g", #seen, seen_, expected_);                      \
    } while (0)

static void intervals_agree_with_scipy_to_twelve_digits(void **state)
{
    (void)state;
    FILE *file = fopen(LETHE_GOLDEN "/binomial.txt", "r");
    assert_non_null(file);
    unsigned long hits, trials;
    double confidence, low, high;
    int lines = 0;
    while (fscanf(file, "%lu %lu %lf %lf %lf", &hits, &trials, &confidence, &low, &high) == 5) {
        struct interval interval = clopper_pearson(hits, trials, confidence);
        assert_close(interval.low, low, 1e-12);
        assert_close(interval.high, high, 1e-12);
        lines++;
    }
    assert_int_equal(lines, 50);
    fclose(file);
}

static void tails_equal_sums_of_probabilities(void **state)
{
    (void)state;
    for (unsigned n = 1; n <= 30; n++) {
        for (double p = 0.01; p < 1; p += 0.07) {
            long double sum = 0;
            for (unsigned k = n + 1; k-- > 0;) {
                long double term = 1;
                for (unsigned i = 0; i < k; i++)
                    term *= (long double)(n - i) / (i + 1) * (long double)p;
                for (unsigned i = 0; i < n - k; i++)
                    term *= 1 - (long double)p;
                sum += term;
                assert_close(binomial_upper_tail(n, k, p), (double)sum, 1e-13);
            }
        }
    }
}

static void inverse_gives_back_the_tail(void **state)
{
    (void)state;
    static const double tails[] = { 1e-9, 0.001, 0.025, 0.5, 0.975, 0.9995 };
    for (size_t n = 1; n < 2000000; n = n * 3 + 1)
        for (size_t k = 1; k <= n; k = k * 4 + 1)
            for (size_t t = 0; t < sizeof tails / sizeof *tails; t++) {
                double p = binomial_upper_tail_inverse(n, k, tails[t]);
                assert_close(binomial_upper_tail(n, k, p), tails[t], 1e-10);
            }
}

/* Computed with fractions of whole numbers. */
static void draws_without_replacement_equal_exact_fractions(void **state)
{
    (void)state;
    static const struct {
        uint64_t population, marked, drawn, least;
        double tail;
    } cases[] = {
        { 10, 4, 3, 1, 0.83333333333333337 },
        { 10, 4, 10, 4, 1 },
        { 10, 10, 3, 3, 1 },
        { 7, 3, 6, 2, 1 },
        { 5, 2, 0, 1, 0 },
        { 1878, 503, 10, 5, 0.10012910187711402 },
        { 7999, 1999, 9, 3, 0.39905953436128067 },
        { 101999, 2000, 120, 7, 0.009661101675406656 },
        { 101999, 100000, 1000, 999, 4.869171651668514e-08 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_close(hypergeometric_upper_tail(cases[i].population, cases[i].marked, cases[i].drawn,
                                               cases[i].least),
                     cases[i].tail, 1e-10);
}

static void nothing_tried_tells_nothing(void **state)
{
    (void)state;
    struct interval interval = clopper_pearson(0, 0, 0.95);
    assert_true(interval.low == 0 && interval.high == 1);
}

static void ramp(double *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        values[i] = (double)((i * 7919) % count) + 1; /* 1 … count, shuffled */
}

static void quantile_takes_the_rank_that_keeps_the_rate(void **state)
{
    (void)state;
    static double values[1999];
    ramp(values, 1999);
    struct quantile q = quantile_of(values, 1999, 0.999, 0.95);
    assert_true(q.supported);
    assert_int_equal(q.rank, 1998); /* .999 · 2000 */
    assert_true(q.value == 1998);
    q = quantile_of_small(values, 1999, 0.999, 0.95);
    assert_true(q.supported && q.value == 2);
}

static void too_small_a_sample_says_so(void **state)
{
    (void)state;
    static double values[998];
    ramp(values, 998);
    struct quantile q = quantile_of(values, 998, 0.999, 0.95);
    assert_false(q.supported);
    assert_true(q.value == 998);
    assert_true(isinf(q.interval.high));
    ramp(values, 10);
    q = quantile_of_small(values, 10, 0.999, 0.95);
    assert_false(q.supported);
    assert_true(q.value == 1);
    assert_true(isinf(q.interval.low) && q.interval.low < 0);
}

/* The ranks for the median of 100 and the .9 quantile of 50: tables in David and Nagaraja; checked
 * here by their definition, sums of binomial probabilities. */
static void interval_of_a_quantile_is_the_narrowest_that_covers(void **state)
{
    (void)state;
    static double values[3000];
    static const struct {
        size_t n;
        double q;
    } cases[] = { { 100, 0.5 }, { 50, 0.9 }, { 3000, 0.999 }, { 3000, 0.9995 } };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        size_t n = cases[c].n;
        ramp(values, n);
        struct quantile q = quantile_of(values, n, cases[c].q, 0.95);
        size_t low = isinf(q.interval.low) ? 0 : (size_t)q.interval.low,
               high = isinf(q.interval.high) ? n + 1 : (size_t)q.interval.high;
        double below = 1 - binomial_upper_tail(n, low, cases[c].q);
        assert_true(below <= 0.025);
        assert_true(1 - binomial_upper_tail(n, low + 1, cases[c].q) > 0.025);
        assert_true(binomial_upper_tail(n, high, cases[c].q) <= 0.025);
        assert_true(binomial_upper_tail(n, high - 1, cases[c].q) > 0.025);
    }
}

/* 400 samples of 200 uniform numbers: the interval for the .9 quantile must hold .9 in 95 % of
 * them (up to 4 standard errors), and a further number must exceed the quantile in 10 %. */
static void intervals_cover_and_thresholds_keep_their_rate(void **state)
{
    (void)state;
    double values[200];
    int covered = 0, exceeded = 0;
    for (uint64_t s = 0; s < 400; s++) {
        for (uint64_t i = 0; i < 200; i++)
            values[i] = random_uniform(5, s, i);
        struct quantile q = quantile_of(values, 200, 0.9, 0.95);
        covered += q.interval.low <= 0.9 && 0.9 <= q.interval.high;
        for (uint64_t i = 0; i < 100; i++)
            exceeded += random_uniform(6, s, i) > q.value;
    }
    assert_in_range(covered, 362, 400);
    assert_in_range(exceeded, 3500, 4200);
}

static void summary_of_known_numbers(void **state)
{
    (void)state;
    double values[200];
    ramp(values, 200);
    struct summary summary = summarise(values, 200);
    assert_true(summary.mean == 100.5 && summary.minimum == 1 && summary.maximum == 200);
    assert_true(summary.p50 == 100 && summary.p95 == 190 && summary.p99 == 198);
    assert_true(summary.p1 == 2 && summary.p5 == 10);
    assert_true(isnan(summarise(values, 0).mean));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(intervals_agree_with_scipy_to_twelve_digits),
        cmocka_unit_test(tails_equal_sums_of_probabilities),
        cmocka_unit_test(inverse_gives_back_the_tail),
        cmocka_unit_test(draws_without_replacement_equal_exact_fractions),
        cmocka_unit_test(nothing_tried_tells_nothing),
        cmocka_unit_test(quantile_takes_the_rank_that_keeps_the_rate),
        cmocka_unit_test(too_small_a_sample_says_so),
        cmocka_unit_test(interval_of_a_quantile_is_the_narrowest_that_covers),
        cmocka_unit_test(intervals_cover_and_thresholds_keep_their_rate),
        cmocka_unit_test(summary_of_known_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
