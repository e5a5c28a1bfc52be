/* Measures of likeness, of sets and of their resamplings; see fidelity_measures.h. */
#include "audit/fidelity_measures.h"

#include "audit/blas.h"
#include "audit/fidelity_parts.h"
#include "base/arena.h"
#include "base/parallel.h"
#include "base/random.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const struct measure_info measure_info[MEASURE_COUNT] = {
    [MEASURE_KID] = { "kid", .resampled = true },
    [MEASURE_FID] = { "fid" },
    [MEASURE_PRECISION] = { "precision", .resampled = true, .is_share = true },
    [MEASURE_RECALL] = { "recall", .resampled = true, .is_share = true, .of_reference = true },
    [MEASURE_DENSITY] = { "density", .resampled = true },
    [MEASURE_COVERAGE] = { "coverage", .resampled = true, .is_share = true, .of_reference = true },
    [MEASURE_INCEPTION_SCORE] = { "inception_score", .resampled = true, .of_classes = true },
};

/* ---- units ----------------------------------------------------------------------------------- */

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Groups by their rank among all. */
static void number_groups(struct units *units, const struct feature_sample *sample)
{
    size_t n = sample->count;
    uint32_t *sorted = memory_grow(NULL, n, sizeof *sorted);
    for (size_t i = 0; i < n; i++)
        sorted[i] = units->group[i] = sample->groups ? sample->groups[i] : (uint32_t)i;
    qsort(sorted, n, sizeof *sorted, by_number);
    for (size_t i = 0; i < n; i++)
        if (!i || sorted[i] != sorted[i - 1])
            sorted[units->groups++] = sorted[i];
    for (size_t i = 0; i < n; i++)
        units->group[i] = (uint32_t)((uint32_t *)bsearch(&units->group[i], sorted, units->groups,
                                                         sizeof *sorted, by_number) -
                                     sorted);
    free(sorted);
}

void units_init(struct units *units, const struct feature_sample *sample, const char *name,
                uint64_t seed)
{
    size_t n = sample->count;
    *units = (struct units){ .images = n, .seed = seed, .stream = random_stream(name) };
    units->group = memory_grow(NULL, n, sizeof *units->group);
    units->unit = memory_grow(NULL, n, sizeof *units->unit);
    number_groups(units, sample);
    units->count = units->groups < UNITS_MOST ? units->groups : UNITS_MOST;
    units->size = memory_grow(NULL, units->count, sizeof *units->size);
    memset(units->size, 0, units->count * sizeof *units->size);
    size_t *place = memory_grow(NULL, units->groups, sizeof *place);
    for (size_t g = 0; g < units->groups; g++)
        place[g] = g;
    if (units->groups > units->count) /* who is drawn together is left to chance */
        random_permutation(seed, random_stream("fidelity/units"), units->groups, place);
    for (size_t i = 0; i < n; i++) {
        units->unit[i] = (uint32_t)(place[units->group[i]] * units->count / units->groups);
        units->size[units->unit[i]]++;
    }
    free(place);
}

void units_release(struct units *units)
{
    free(units->group);
    free(units->unit);
    free(units->size);
    *units = (struct units){ 0 };
}

void units_draw(const struct units *units, size_t replicate, double *times)
{
    for (size_t u = 0; u < units->count; u++)
        times[u] = replicate == 0;
    for (size_t u = 0; replicate && u < units->count; u++)
        times[random_below(units->seed, units->stream, (uint64_t)replicate * units->count + u,
                           units->count)]++;
}

/* ---- a set ----------------------------------------------------------------------------------- */

struct measured_sample {
    struct feature_sample sample;
    struct resampling resampling;
    struct units units;
    struct kernel_sums within;
    struct surroundings around;
    struct frechet frechet;
    struct class_sums by_unit, by_split;
    bool has_radius[BALL_NEIGHBOURS]; /* each image has so many of other people */
};

static bool classify(struct measured_sample *measured, struct error *err)
{
    const struct feature_sample *sample = &measured->sample;
    uint32_t *split = memory_grow(NULL, sample->count, sizeof *split);
    draw_splits(measured->resampling.seed, sample->count, split);
    bool ok = class_sums_init(&measured->by_unit, sample, measured->units.unit,
                              measured->units.count, err) &&
              class_sums_init(&measured->by_split, sample, split, SPLITS, err);
    free(split);
    return ok;
}

struct measured_sample *measured_sample_new(const struct feature_sample *sample, const char *name,
                                            const struct resampling *resampling, struct error *err)
{
    CHECK(sample->count && sample->width, "%s: nothing to measure", name);
    if (!blas_set_threads(1, err)) /* tiles are what threads share */
        return NULL;
    struct measured_sample *measured = memory_grow(NULL, 1, sizeof *measured);
    *measured = (struct measured_sample){ .sample = *sample, .resampling = *resampling };
    units_init(&measured->units, sample, name, resampling->seed);
    surroundings_init(&measured->around, &measured->sample, &measured->units);
    for (int n = 0; n < BALL_NEIGHBOURS; n++) {
        measured->has_radius[n] = true;
        for (size_t i = 0; i < sample->count; i++)
            measured->has_radius[n] &= !isnan(measured->around.radius[i][n]);
    }
    if (kernel_sums_init(&measured->within, &measured->sample, &measured->units, &measured->sample,
                         &measured->units, err) &&
        frechet_init(&measured->frechet, &measured->sample, err) && classify(measured, err))
        return measured;
    measured_sample_free(measured);
    return NULL;
}

void measured_sample_free(struct measured_sample *measured)
{
    if (!measured)
        return;
    units_release(&measured->units);
    kernel_sums_release(&measured->within);
    surroundings_release(&measured->around);
    frechet_release(&measured->frechet);
    class_sums_release(&measured->by_unit);
    class_sums_release(&measured->by_split);
    free(measured);
}

size_t measured_sample_groups(const struct measured_sample *sample)
{
    return sample->units.groups;
}

/* ---- a comparison ---------------------------------------------------------------------------- */

struct comparison {
    const struct measured_sample *set, *reference;
    struct kernel_sums across;
    double *sums[MEASURE_COUNT]; /* of shares: what images add up to, by unit; else NULL */
    double *numbers;             /* (MEASURE_ROWS, 1 + replicates) */
};

/* Σ of the kernel over its pairs, on average; units drawn more than once are no pair of their own
 * copies, but each copy has the pairs inside it. */
static double mean_within(const struct kernel_sums *sums, const double *times)
{
    double sum = 0, pairs = 0;
    for (size_t g = 0; g < sums->rows; g++) {
        double row_sum = 0, row_pairs = 0;
        for (size_t h = 0; times[g] > 0 && h < sums->columns; h++) {
            double weight = g == h ? 1 : times[h];
            row_sum += weight * sums->sum[g * sums->columns + h];
            row_pairs += weight * sums->pairs[g * sums->columns + h];
        }
        sum += times[g] * row_sum;
        pairs += times[g] * row_pairs;
    }
    return sum / pairs; /* 0/0 is NAN */
}

static double mean_across(const struct kernel_sums *sums, const double *rows, const double *columns)
{
    double sum = 0, pairs = 0;
    for (size_t g = 0; g < sums->rows; g++)
        for (size_t h = 0; rows[g] > 0 && h < sums->columns; h++) {
            double weight = rows[g] * columns[h];
            sum += weight * sums->sum[g * sums->columns + h];
            pairs += weight * sums->pairs[g * sums->columns + h];
        }
    return sum / pairs;
}

/* Whose images are counted. */
static const struct measured_sample *counted(const struct comparison *comparison, int measure)
{
    return measure_info[measure].of_reference ? comparison->reference : comparison->set;
}

static double mean_share(const struct comparison *comparison, int measure, const double *times)
{
    const struct units *units = &counted(comparison, measure)->units;
    double sum = 0, images = 0;
    for (size_t u = 0; u < units->count; u++) {
        sum += times[u] * comparison->sums[measure][u];
        images += times[u] * units->size[u];
    }
    return sum / images;
}

static void measure_replicates(void *context, size_t begin, size_t end)
{
    const struct comparison *comparison = context;
    const struct measured_sample *set = comparison->set, *reference = comparison->reference;
    size_t stride = 1 + set->resampling.replicates;
    double *x = memory_grow(NULL, set->units.count, sizeof *x);
    double *y = memory_grow(NULL, reference->units.count, sizeof *y);
    for (size_t r = begin; r < end; r++) {
        units_draw(&set->units, r, x);
        units_draw(&reference->units, r, y);
        comparison->numbers[MEASURE_KID * stride + r] = mean_within(&set->within, x) +
                                                        mean_within(&reference->within, y) -
                                                        2 * mean_across(&comparison->across, x, y);
        comparison->numbers[MEASURE_INCEPTION_SCORE * stride + r] =
            class_sums_score(&set->by_unit, x);
        for (int m = 0; m < MEASURE_COUNT; m++)
            if (comparison->sums[m])
                comparison->numbers[(size_t)m * stride + r] =
                    mean_share(comparison, m, counted(comparison, m) == set ? x : y);
    }
    free(x);
    free(y);
}

/* What images count for, summed by unit. Of a measure whose radii are not all defined: none. */
static void sum_meetings(struct comparison *comparison)
{
    const struct measured_sample *set = comparison->set, *reference = comparison->reference;
    size_t n = set->sample.count, m = reference->sample.count;
    struct meeting *of_set = memory_grow(NULL, n, sizeof *of_set),
                   *of_reference = memory_grow(NULL, m, sizeof *of_reference);
    const bool has[MEASURE_COUNT] = {
        [MEASURE_PRECISION] = reference->has_radius[MANIFOLD_NEIGHBOURS - 1],
        [MEASURE_RECALL] = set->has_radius[MANIFOLD_NEIGHBOURS - 1],
        [MEASURE_DENSITY] = reference->has_radius[BALL_NEIGHBOURS - 1],
        [MEASURE_COVERAGE] = reference->has_radius[BALL_NEIGHBOURS - 1],
    };
    meetings(&set->sample, &set->around, &reference->sample, &reference->around, of_set);
    meetings(&reference->sample, &reference->around, &set->sample, &set->around, of_reference);
    for (int measure = 0; measure < MEASURE_COUNT; measure++) {
        if (!has[measure])
            continue;
        const struct units *units = &counted(comparison, measure)->units;
        double *sums = comparison->sums[measure] = memory_grow(NULL, units->count, sizeof *sums);
        memset(sums, 0, units->count * sizeof *sums);
        for (size_t i = 0; i < units->images; i++)
            sums[units->unit[i]] += measure == MEASURE_PRECISION ? of_set[i].inside
                                    : measure == MEASURE_RECALL  ? of_reference[i].inside
                                    : measure == MEASURE_DENSITY
                                        ? of_set[i].balls / (double)BALL_NEIGHBOURS
                                        : of_reference[i].reached;
    }
    free(of_set);
    free(of_reference);
}

/* A resampled set repeats images, so it has fewer kinds of them, and scores lower by about what the
 * small number of images takes off already. Shifted, replicates lie around the set's own score. */
static void centre_replicates(double *numbers, size_t replicates)
{
    double sum = 0, count = 0;
    for (size_t r = 1; r <= replicates; r++)
        if (!isnan(numbers[r])) {
            sum += numbers[r] - numbers[0];
            count++;
        }
    for (size_t r = 1; count > 0 && r <= replicates; r++)
        numbers[r] -= sum / count;
}

static void score_classes(const struct measured_sample *set, double *numbers)
{
    size_t stride = 1 + set->resampling.replicates;
    centre_replicates(&numbers[MEASURE_INCEPTION_SCORE * stride], stride - 1);
    if (set->by_split.classes)
        class_sums_across(&set->by_split, &numbers[ROW_SPLITS_MEAN * stride],
                          &numbers[ROW_SPLITS_SD * stride]);
}

bool likeness_measure(const struct measured_sample *set, const struct measured_sample *reference,
                      double *numbers, struct error *err)
{
    struct comparison comparison = { .set = set, .reference = reference, .numbers = numbers };
    size_t stride = 1 + set->resampling.replicates;
    CHECK(set->sample.width == reference->sample.width, "features of two networks");
    CHECK(stride == 1 + reference->resampling.replicates, "sets resampled otherwise");
    for (size_t i = 0; i < MEASURE_ROWS * stride; i++)
        numbers[i] = NAN;
    if (!kernel_sums_init(&comparison.across, &set->sample, &set->units, &reference->sample,
                          &reference->units, err))
        return false;
    sum_meetings(&comparison);
    parallel_ranges(stride, 1, measure_replicates, &comparison);
    score_classes(set, numbers);
    kernel_sums_release(&comparison.across);
    for (int m = 0; m < MEASURE_COUNT; m++)
        free(comparison.sums[m]);
    return frechet_distance(&set->frechet, &reference->frechet, &numbers[MEASURE_FID * stride],
                            err);
}

struct estimate replicates_estimate(const double *numbers, size_t replicates, double confidence)
{
    struct estimate estimate = { numbers[0], { NAN, NAN } };
    double side = (1 - confidence) / 2, *values = memory_grow(NULL, replicates + 1, sizeof *values);
    size_t count = 0;
    for (size_t r = 1; r <= replicates; r++)
        if (!isnan(numbers[r]))
            values[count++] = numbers[r];
    size_t low = (size_t)(side * (double)(count + 1) + 1e-9);
    if (low) { /* of fewer the quantile at the side is beyond their least */
        sort_doubles(values, count);
        estimate.interval = (struct interval){ values[low - 1], values[count - low] };
    }
    free(values);
    return estimate;
}
