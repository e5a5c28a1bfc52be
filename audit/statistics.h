/* Exact statistics of counts and of order.
 *
 *     struct interval share = clopper_pearson(3, 10000, 0.95);     // 3 of 10,000 were flagged
 *     struct quantile q = quantile_of(values, count, 0.999, 0.95);
 *
 * Nothing here assumes a distribution: counts are binomial, and whatever the values' distribution,
 * the number of a sample's values below its true quantile is binomial too (David and Nagaraja,
 * Order Statistics, 2003, section 7.1).
 */
#ifndef AUDIT_STATISTICS_H
#define AUDIT_STATISTICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct interval {
    double low, high;
};

/* P(X ≥ k) for X ~ Bin(n, p); relative error below 1e-12. As a function of p it is the regularised
 * incomplete beta function I_p(k, n − k + 1). */
double binomial_upper_tail(uint64_t n, uint64_t k, double p);

/* The p at which binomial_upper_tail(n, k, p) = tail: the beta quantile of (k, n − k + 1).
 * 1 ≤ k ≤ n, 0 < tail < 1. */
double binomial_upper_tail_inverse(uint64_t n, uint64_t k, double tail);

/* P(H ≥ least), where H of `drawn` items, drawn without replacement from a population with so many
 * marked ones, are marked. drawn ≤ population, marked ≤ population; relative error below 1e-10. */
double hypergeometric_upper_tail(uint64_t population, uint64_t marked, uint64_t drawn,
                                 uint64_t least);

/* The confidence of each of `count` intervals which shall hold all at once with 95 %: Bonferroni,
 * 1 − 0.05 / count, whatever depends on what. 0 counts as 1. */
double joint_confidence(size_t count);

/* Clopper and Pearson's exact two-sided interval for a proportion (Biometrika 26:404, 1934): each
 * side errs with probability at most (1 − confidence)/2. With no trial: 0 … 1. */
struct interval clopper_pearson(uint64_t hits, uint64_t trials, double confidence);

/* A quantile for deciding about new values from the same source.
 *
 * `value` is the rank-th smallest of n with rank = ⌈q (n + 1)⌉: a further value, exchangeable with
 * these, exceeds it with probability at most 1 − q, exactly (the split-conformal rank). When
 * rank > n the sample is too small to support q: `value` is then the largest, which a further value
 * exceeds with probability at most 1/(n + 1), and `supported` is false.
 *
 * `interval` covers the distribution's q-quantile with at least the confidence, by order
 * statistics; an end that no order statistic reaches is infinite. */
struct quantile {
    double q, value;
    size_t count, rank; /* rank is that of `value`, from 1 */
    bool supported;
    struct interval interval;
};
/* Sorts a copy. count ≥ 1, no value is NaN. */
struct quantile quantile_of(const double *values, size_t count, double q, double confidence);
/* The same when small values stand out: the quantile 1 − q, met from above. `rank` then counts from
 * the largest. */
struct quantile quantile_of_small(const double *values, size_t count, double q, double confidence);

/* What a distribution looks like: the p-th percentile is the ⌈p n⌉-th smallest. Of nothing: NaN. */
struct summary {
    size_t count;
    double mean, minimum, p1, p5, p50, p95, p99, maximum;
};
struct summary summarise(const double *values, size_t count);

/* The largest distance of the two samples' distribution functions (Kolmogorov and Smirnov): 0 … 1.
 * At least one value each, none NaN. */
double kolmogorov_distance(const double *a, size_t a_count, const double *b, size_t b_count);

/* Ascending. */
void sort_doubles(double *values, size_t count);

#endif
