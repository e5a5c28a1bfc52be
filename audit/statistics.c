/* Exact statistics; see statistics.h.
 *
 * The binomial tail is a probability at k times a continued fraction. With log-gamma functions the
 * probability would lose digits as n grows (they cancel: 1e-9 are left at n = 10⁶), so it is taken
 * as Loader does it ("Fast and accurate computation of binomial probabilities", 2000): Stirling's
 * error and deviance, both small numbers computed as such. */
#include "audit/statistics.h"

#include "base/arena.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- the binomial distribution --------------------------------------------------------------- */

/* log(n!) − log(√(2πn) (n/e)ⁿ), n ≥ 1. */
static double stirling_error(double n)
{
    if (n < 16) { /* n! is exact in a double */
        long double factorial = 1;
        for (double i = 2; i <= n; i++)
            factorial *= (long double)i;
        return (double)(logl(factorial) - ((long double)n + 0.5L) * logl((long double)n) +
                        (long double)n - 0.5L * logl(2 * 3.14159265358979323846264338327950288L));
    }
    double square = n * n; /* the next term is below 2e-16 from n = 16 on */
    return (1.0 / 12 -
            (1.0 / 360 - (1.0 / 1260 -
                          (1.0 / 1680 - (1.0 / 1188 - 691.0 / 360360 / square) / square) / square) /
                             square) /
                square) /
           n;
}

/* x log(x/m) + m − x: how far a count x lies from its mean m. */
static double deviance(double x, double m)
{
    if (fabs(x - m) >= 0.1 * (x + m))
        return x * log(x / m) + m - x;
    /* A series in v = (x − m)/(x + m): nothing cancels. */
    double v = (x - m) / (x + m), sum = (x - m) * v, term = 2 * x * v;
    for (int j = 1; j < 1000; j++) {
        term *= v * v;
        double next = sum + term / (2 * j + 1);
        if (next == sum)
            break;
        sum = next;
    }
    return sum;
}

/* log P(X = k). 0 < p < 1, 0 ≤ k ≤ n. */
static double log_probability(double n, double k, double p)
{
    double other = n - k;
    if (k == 0)
        return n * log1p(-p);
    if (other == 0)
        return n * log(p);
    return stirling_error(n) - stirling_error(k) - stirling_error(other) - deviance(k, n * p) -
           deviance(other, n * (1 - p)) + 0.5 * log(n / (2 * M_PI * k * other));
}

/* The continued fraction of I_x(a, b) without its factor x^a y^b / (a B(a,b)), y = 1 − x, for
 * λ = a − (a + b)x ≥ 0 or little below (DiDonato and Morris, ACM TOMS 18:360, 1992). All
 * its terms are positive, and given λ and y nothing in it cancels, however near x is to 1.
 * Evaluated by Lentz's method. */
static double beta_fraction(double a, double b, double x, double y, double lambda)
{
    double beta = a / (a + 1) * (lambda + 1), c = beta, d = 0, value = beta;
    for (int n = 1; n < 1000000; n++) {
        double twice = a + 2 * n, alpha = (a + n - 1) / (twice - 1) *
                                          ((a + b + n - 1) / (twice - 1)) * n * (b - n) * x * x;
        beta =
            n + n * (b - n) * x / (twice - 1) + (a + n) / (twice + 1) * (lambda + 1 + n * (1 + y));
        d = 1 / (beta + alpha * d);
        c = beta + alpha / c;
        double step = c * d;
        value *= step;
        if (fabs(step - 1) < 1e-16)
            break;
    }
    return a / value;
}

/* I_p(k, n − k + 1) = P(X = k) (1 − p) · fraction, for p below the mean of that beta. */
static double tail_near(double n, double k, double p)
{
    return exp(log_probability(n, k, p) + log1p(-p)) *
           beta_fraction(k, n - k + 1, p, 1 - p, k - (n + 1) * p);
}

double binomial_upper_tail(uint64_t trials, uint64_t least, double p)
{
    double n = (double)trials, k = (double)least;
    if (least == 0)
        return 1;
    if (least > trials || p <= 0)
        return 0;
    if (p >= 1)
        return 1;
    if (p < k / (n + 1))
        return tail_near(n, k, p);
    /* P(X ≥ k) = 1 − P(X ≤ k − 1), and n − X is binomial with 1 − p. */
    return 1 - exp(log_probability(n, k - 1, p) + log(p)) *
                   beta_fraction(n - k + 1, k, 1 - p, p, (n + 1) * p - k);
}

/* P(X ≤ k) without cancellation where it is small. */
static double lower_tail(double n, double k, double p)
{
    if (p >= (k + 1) / (n + 1))
        return exp(log_probability(n, k, p) + log(p)) *
               beta_fraction(n - k, k + 1, 1 - p, p, (n + 1) * p - k - 1);
    return 1 - tail_near(n, k + 1, p);
}

double binomial_upper_tail_inverse(uint64_t trials, uint64_t least, double tail)
{
    double n = (double)trials, k = (double)least, low = 0, high = 1, p = k / (n + 1);
    CHECK(least >= 1 && least <= trials && tail > 0 && tail < 1, "a tail of %g at %g of %g", tail,
          k, n);
    /* Newton's steps, on the smaller of the two tails, kept inside a bracket that shrinks. */
    for (int i = 0; i < 200; i++) {
        double error = tail <= 0.5 ? binomial_upper_tail(trials, least, p) - tail
                                   : (1 - tail) - lower_tail(n, k - 1, p);
        if (error == 0)
            return p;
        *(error > 0 ? &high : &low) = p;
        double slope = k / p * exp(log_probability(n, k, p)), next = p - error / slope;
        if (!(next > low && next < high)) /* a start far out on the tail, or no slope there */
            next = low > 0 ? sqrt(low * high) : high / 2;
        if (fabs(next - p) <= 1e-16 * p || next == low || next == high)
            return next;
        p = next;
    }
    return p;
}

/* P(H = h), by three binomial probabilities of the same p, which cancels (Loader). */
static double hypergeometric_probability(double population, double marked, double drawn, double h)
{
    double p = drawn / population;
    if (p >= 1)
        return h == marked;
    return exp(log_probability(marked, h, p) + log_probability(population - marked, drawn - h, p) -
               log_probability(population, drawn, p));
}

double hypergeometric_upper_tail(uint64_t population, uint64_t marked, uint64_t drawn,
                                 uint64_t least)
{
    CHECK(drawn <= population && marked <= population, "%llu marked, %llu drawn of %llu",
          (unsigned long long)marked, (unsigned long long)drawn, (unsigned long long)population);
    uint64_t most = drawn < marked ? drawn : marked, unmarked = population - marked,
             fewest = drawn > unmarked ? drawn - unmarked : 0;
    double sum = 0;
    if (least <= fewest)
        return 1;
    for (uint64_t h = most + 1; h-- > least;) /* the small ones first, past the mode */
        sum += hypergeometric_probability((double)population, (double)marked, (double)drawn,
                                          (double)h);
    return sum < 1 ? sum : 1;
}

double joint_confidence(size_t count)
{
    return count > 1 ? 1 - 0.05 / (double)count : 0.95;
}

struct interval clopper_pearson(uint64_t hits, uint64_t trials, double confidence)
{
    CHECK(hits <= trials && confidence > 0 && confidence < 1, "%llu of %llu at %g",
          (unsigned long long)hits, (unsigned long long)trials, confidence);
    double side = (1 - confidence) / 2;
    struct interval interval = { 0, 1 };
    if (hits > 0)
        interval.low = binomial_upper_tail_inverse(trials, hits, side);
    if (hits < trials)
        interval.high = binomial_upper_tail_inverse(trials, hits + 1, 1 - side);
    return interval;
}

/* ---- order ----------------------------------------------------------------------------------- */

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void sort_doubles(double *values, size_t count)
{
    if (count)
        qsort(values, count, sizeof *values, ascending);
}

static double *sorted_copy(const double *values, size_t count, double sign)
{
    double *copy = memory_grow(NULL, count ? count : 1, sizeof *copy);
    for (size_t i = 0; i < count; i++)
        copy[i] = sign * values[i];
    sort_doubles(copy, count);
    return copy;
}

/* The largest rank l with P(B ≤ l − 1) ≤ side, for B ~ Bin(n, q): the l-th smallest is above the
 * quantile with at most that probability. 0: there is none. */
static size_t rank_below(size_t n, double q, double side)
{
    size_t low = 0, high = n; /* the property holds at low (P(B ≤ −1) = 0) */
    while (low < high) {
        size_t middle = low + (high - low + 1) / 2;
        if (lower_tail((double)n, (double)(middle - 1), q) <= side)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

/* The smallest rank u with P(B ≥ u) ≤ side; n + 1: there is none. */
static size_t rank_above(size_t n, double q, double side)
{
    size_t low = 1, high = n + 1;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (binomial_upper_tail(n, middle, q) <= side)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* ⌈q (n + 1)⌉, and 1 at least. q (n + 1) that should be whole may be off by a rounding of q, which
 * must not cost a rank: .999 of 2000 is 1998, whatever the double nearest to .999 says. */
static size_t conformal_rank(size_t n, double q)
{
    double exact = q * (double)(n + 1), rounded = round(exact);
    if (fabs(exact - rounded) > 1e-9 * (double)(n + 1))
        rounded = ceil(exact);
    return rounded < 1 ? 1 : (size_t)rounded;
}

static struct quantile quantile_of_sorted(const double *sorted, size_t n, double q,
                                          double confidence)
{
    CHECK(n >= 1 && q > 0 && q < 1, "the quantile %g of %zu values", q, n);
    double side = (1 - confidence) / 2;
    size_t rank = conformal_rank(n, q), below = rank_below(n, q, side),
           above = rank_above(n, q, side);
    struct quantile quantile = { .q = q, .count = n, .supported = rank <= n };
    quantile.rank = rank <= n ? rank : n;
    quantile.value = sorted[quantile.rank - 1];
    quantile.interval.low = below ? sorted[below - 1] : -INFINITY;
    quantile.interval.high = above <= n ? sorted[above - 1] : INFINITY;
    return quantile;
}

struct quantile quantile_of(const double *values, size_t count, double q, double confidence)
{
    double *sorted = sorted_copy(values, count, 1);
    struct quantile quantile = quantile_of_sorted(sorted, count, q, confidence);
    free(sorted);
    return quantile;
}

struct quantile quantile_of_small(const double *values, size_t count, double q, double confidence)
{
    double *sorted = sorted_copy(values, count, -1);
    struct quantile quantile = quantile_of_sorted(sorted, count, q, confidence);
    free(sorted);
    quantile.value = -quantile.value;
    quantile.interval = (struct interval){ -quantile.interval.high, -quantile.interval.low };
    return quantile;
}

static double percentile(const double *sorted, size_t n, double p)
{
    size_t rank = (size_t)ceil(p * (double)n - 1e-9);
    return sorted[rank < 1 ? 0 : rank - 1];
}

struct summary summarise(const double *values, size_t count)
{
    if (!count)
        return (struct summary){ 0, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN };
    double *sorted = sorted_copy(values, count, 1), sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += sorted[i];
    struct summary summary = { .count = count,
                               .mean = sum / (double)count,
                               .minimum = sorted[0],
                               .p1 = percentile(sorted, count, 0.01),
                               .p5 = percentile(sorted, count, 0.05),
                               .p50 = percentile(sorted, count, 0.5),
                               .p95 = percentile(sorted, count, 0.95),
                               .p99 = percentile(sorted, count, 0.99),
                               .maximum = sorted[count - 1] };
    free(sorted);
    return summary;
}

double kolmogorov_distance(const double *a, size_t a_count, const double *b, size_t b_count)
{
    double *x = memory_grow(NULL, a_count + b_count, sizeof *x), *y = x + a_count, most = 0;
    memcpy(x, a, a_count * sizeof *x);
    memcpy(y, b, b_count * sizeof *y);
    sort_doubles(x, a_count);
    sort_doubles(y, b_count);
    for (size_t i = 0, j = 0; i < a_count && j < b_count;) {
        double at = x[i] < y[j] ? x[i] : y[j];
        while (i < a_count && x[i] == at)
            i++;
        while (j < b_count && y[j] == at)
            j++;
        most = fmax(most, fabs((double)i / (double)a_count - (double)j / (double)b_count));
    }
    free(x);
    return most;
}
