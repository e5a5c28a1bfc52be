/* What audit/fidelity_measures.h promises: the published numbers, people instead of slices, and
 * measures that tell copies, blur and missing variety. */
#include "test.h"

#include "audit/fidelity_parts.h"
#include "base/arena.h"
#include "base/parallel.h"
#include "base/random.h"

#include <math.h>
#include <stdio.h>

static struct error err;

/* ---- sets ------------------------------------------------------------------------------------ */

/* The same numbers as tests/audit/fidelity_vectors.py. */
static float hashed(size_t place)
{
    uint32_t x = (uint32_t)place;
    x = (x ^ x >> 16) * UINT32_C(0x7feb352d);
    x = (x ^ x >> 15) * UINT32_C(0x846ca68b);
    x ^= x >> 16;
    return (float)(x >> 8) / (float)(1 << 24);
}

struct made {
    struct feature_sample sample;
    float *values;
    uint32_t *groups;
};

static struct made make(size_t first, size_t count, size_t slices, size_t width, float spread,
                        float shift)
{
    struct made made = { .values = memory_grow(NULL, count * width, sizeof(float)),
                         .groups = memory_grow(NULL, count, sizeof(uint32_t)) };
    for (size_t i = 0; i < count * width; i++) {
        float scaled = hashed(first * width + i) * spread;
        made.values[i] = scaled + shift;
    }
    for (size_t i = 0; i < count; i++)
        made.groups[i] = (uint32_t)(i / slices);
    made.sample = (struct feature_sample){
        .values = made.values, .groups = made.groups, .count = count, .width = width
    };
    return made;
}

static void release(struct made *made)
{
    free(made->values);
    free(made->groups);
}

/* A classifier of made-up weights; the set knows it from now on. */
static struct made classify_by(size_t first, size_t classes, float spread, struct made *set)
{
    struct made weights = make(first, classes, 1, set->sample.width, spread, -spread / 2);
    set->sample.classifier = weights.values;
    set->sample.classes = classes;
    return weights;
}

/* numbers (MEASURE_ROWS, 1 + replicates), to be freed. */
static double *measure(const struct feature_sample *set, const struct feature_sample *reference,
                       size_t replicates)
{
    const struct resampling resampling = { 7, replicates };
    double *numbers = memory_grow(NULL, MEASURE_ROWS * (1 + replicates), sizeof *numbers);
    struct measured_sample *a = measured_sample_new(set, "test/set", &resampling, &err);
    assert_ok(a, err);
    struct measured_sample *b = measured_sample_new(reference, "test/reference", &resampling, &err);
    assert_ok(b, err);
    assert_ok(likeness_measure(a, b, numbers, &err), err);
    measured_sample_free(a);
    measured_sample_free(b);
    return numbers;
}

/* ---- the definitions ------------------------------------------------------------------------- */

static void measures_are_those_of_the_papers(void **state)
{
    (void)state;
    FILE *file = fopen(LETHE_GOLDEN "/fidelity.txt", "r");
    assert_non_null(file);
    size_t n, n_slices, m, m_slices, width;
    float spread, shift;
    int cases = 0;
    while (fscanf(file, "%zu %zu %zu %zu %zu %f %f", &n, &n_slices, &m, &m_slices, &width, &spread,
                  &shift) == 7) {
        struct made set = make(0, n, n_slices, width, spread, shift),
                    reference = make(n, m, m_slices, width, 1, 0),
                    classifier = classify_by(n + m, 7, 8, &set);
        double *numbers = measure(&set.sample, &reference.sample, 0);
        for (int i = 0; i < MEASURE_COUNT; i++) {
            double expected;
            assert_int_equal(fscanf(file, "%lf", &expected), 1);
            if (!(fabs(numbers[i] - expected) < 1e-9))
                fail_msg("%zu of %zu features: %s is %.15g, expected %.15g", n, width,
                         measure_info[i].name, numbers[i], expected);
        }
        free(numbers);
        release(&set);
        release(&reference);
        release(&classifier);
        cases++;
    }
    assert_int_equal(cases, 6);
    fclose(file);
}

static double kernel(const struct feature_sample *a, size_t i, const struct feature_sample *b,
                     size_t k)
{
    double product = 0;
    for (size_t f = 0; f < a->width; f++)
        product += (double)a->values[i * a->width + f] * (double)b->values[k * b->width + f];
    return pow(product / (double)a->width + 1, 3);
}

/* The mean of the kernel over the pairs of a replicate, image by image. */
static double mean_kernel(const struct feature_sample *a, const struct units *a_units,
                          const double *a_times, const struct feature_sample *b,
                          const struct units *b_units, const double *b_times)
{
    double sum = 0, pairs = 0;
    for (size_t i = 0; i < a->count; i++)
        for (size_t k = 0; k < b->count; k++) {
            if (a == b && a->groups[i] == a->groups[k])
                continue;
            double weight = a_times[a_units->unit[i]] * b_times[b_units->unit[k]];
            sum += weight * kernel(a, i, b, k);
            pairs += weight;
        }
    return sum / pairs;
}

static void a_replicate_is_of_people_drawn_anew(void **state)
{
    (void)state;
    struct made set = make(0, 24, 1, 6, 1, 0.2F), reference = make(24, 30, 3, 6, 1, 0),
                classifier = classify_by(54, 5, 8, &set);
    double *numbers = measure(&set.sample, &reference.sample, 5), x[24], y[10];
    struct units set_units, reference_units;
    units_init(&set_units, &set.sample, "test/set", 7);
    units_init(&reference_units, &reference.sample, "test/reference", 7);
    assert_int_equal(set_units.count, 24);
    assert_int_equal(reference_units.count, 10);
    for (size_t r = 0; r < 6; r++) {
        units_draw(&set_units, r, x);
        units_draw(&reference_units, r, y);
        double expected =
            mean_kernel(&set.sample, &set_units, x, &set.sample, &set_units, x) +
            mean_kernel(&reference.sample, &reference_units, y, &reference.sample, &reference_units,
                        y) -
            2 * mean_kernel(&set.sample, &set_units, x, &reference.sample, &reference_units, y);
        assert_true(fabs(numbers[MEASURE_KID * 6 + r] - expected) < 1e-12);
    }
    for (int m = 0; m < MEASURE_COUNT; m++)
        assert_true(isnan(numbers[m * 6 + 1]) == !measure_info[m].resampled);
    release(&classifier);
    units_release(&set_units);
    units_release(&reference_units);
    free(numbers);
    release(&set);
    release(&reference);
}

/* More people than can be drawn one by one are drawn in units of several, none of them torn. */
static void people_are_drawn_whole(void **state)
{
    (void)state;
    struct made many = make(0, 3 * 1200, 3, 1, 1, 0);
    struct units units;
    units_init(&units, &many.sample, "test/set", 7);
    assert_int_equal(units.groups, 1200);
    assert_int_equal(units.count, UNITS_MOST);
    for (size_t i = 0; i < units.images; i++)
        assert_int_equal(units.unit[i], units.unit[i - i % 3]);
    for (size_t u = 0; u < units.count; u++)
        assert_in_range((int)units.size[u], 6, 9);
    units_release(&units);
    release(&many);
}

static void the_number_of_threads_changes_nothing(void **state)
{
    (void)state;
    struct made set = make(0, 700, 1, 40, 1, 0.1F), reference = make(700, 530, 5, 40, 1, 0),
                classifier = classify_by(1230, 9, 2, &set);
    int threads = parallel_threads();
    parallel_set_threads(1);
    double *one = measure(&set.sample, &reference.sample, 30);
    parallel_set_threads(3);
    double *three = measure(&set.sample, &reference.sample, 30);
    parallel_set_threads(threads);
    assert_memory_equal(one, three, MEASURE_ROWS * 31 * sizeof *one);
    free(one);
    free(three);
    release(&classifier);
    release(&set);
    release(&reference);
}

enum { PEOPLE = 30, SLICES = 4, WIDTH = 12 };

/* Slices of people: each a point of its own, and near it its slices. `modes` of kinds of people. */
static struct made people(uint64_t stream, size_t count, size_t slices, int modes, double blur)
{
    struct made made = { .values = memory_grow(NULL, count * slices * WIDTH, sizeof(float)),
                         .groups = memory_grow(NULL, count * slices, sizeof(uint32_t)) };
    for (size_t i = 0; i < count * slices; i++)
        for (size_t f = 0; f < WIDTH; f++) {
            size_t person = i / slices;
            double mode = 4.0 * (double)(person % 4 < (size_t)modes ? person % 4 : 0),
                   self = random_normal(1, stream, person * WIDTH + f),
                   slice = random_normal(2, stream, i * WIDTH + f);
            made.values[i * WIDTH + f] =
                (float)(f ? blur * (self + 0.2 * slice) : mode + blur * 0.3 * (self + slice));
            made.groups[i] = (uint32_t)person;
        }
    made.sample = (struct feature_sample){
        .values = made.values, .groups = made.groups, .count = count * slices, .width = WIDTH
    };
    return made;
}

/* ---- the inception score --------------------------------------------------------------------- */

/* The score of the images whose split is this one, or of all. */
static double score_of(const struct made *all, const uint32_t *split, uint32_t which)
{
    size_t width = all->sample.width, count = 0;
    struct feature_sample some = all->sample;
    float *values = memory_grow(NULL, some.count * width, sizeof *values);
    for (size_t i = 0; i < some.count; i++)
        if (split[i] == which)
            memcpy(values + count++ * width, some.values + i * width, width * sizeof *values);
    some.values = values;
    some.groups = NULL;
    some.count = count;
    double *numbers = measure(&some, &all->sample, 0), score = numbers[MEASURE_INCEPTION_SCORE];
    free(numbers);
    free(values);
    return score;
}

static void splits_are_tenths_drawn_by_the_seed(void **state)
{
    (void)state;
    enum { COUNT = 87 };
    struct made set = make(0, COUNT, 1, 6, 1, 0), classifier = classify_by(COUNT, 5, 8, &set);
    double *numbers = measure(&set.sample, &set.sample, 0), scores[SPLITS], mean = 0, square = 0;
    uint32_t split[COUNT], other[COUNT], size[SPLITS] = { 0 };
    draw_splits(7, COUNT, split);
    draw_splits(8, COUNT, other);
    assert_memory_not_equal(split, other, sizeof split);
    for (size_t i = 0; i < COUNT; i++)
        size[split[i]]++;
    for (uint32_t s = 0; s < SPLITS; s++) {
        assert_in_range(size[s], COUNT / SPLITS, COUNT / SPLITS + 1);
        scores[s] = score_of(&set, split, s);
        mean += scores[s] / SPLITS;
    }
    for (int s = 0; s < SPLITS; s++)
        square += (scores[s] - mean) * (scores[s] - mean) / SPLITS;
    assert_true(fabs(numbers[ROW_SPLITS_MEAN] - (mean)) < 1e-12);
    assert_true(fabs(numbers[ROW_SPLITS_SD] - (sqrt(square))) < 1e-12);
    assert_true(mean < numbers[MEASURE_INCEPTION_SCORE]); /* of fewer images: lower */
    free(numbers);
    release(&set);
    release(&classifier);
}

/* One kind of image: 1. Four kinds that are told for sure: 4. Unsure of each: 1 again. */
static void a_score_counts_the_kinds_that_are_told_apart(void **state)
{
    (void)state;
    float values[40 * 4] = { 0 }, sure[16] = { 0 }, unsure[16] = { 0 };
    for (int i = 0; i < 40; i++)
        values[i * 4 + i % 4] = 1;
    for (int i = 0; i < 4; i++)
        sure[i * 4 + i] = 2000; /* no probability is left for the others */
    struct feature_sample set = {
        .values = values, .count = 40, .width = 4, .classifier = sure, .classes = 4
    };
    double *four = measure(&set, &set, 0);
    set.classifier = unsure;
    double *none = measure(&set, &set, 0);
    for (int i = 0; i < 40 * 4; i++)
        values[i] = i % 4 == 1;
    set.classifier = sure;
    double *one = measure(&set, &set, 0);
    assert_true(fabs(four[MEASURE_INCEPTION_SCORE] - (4)) < 1e-12);
    assert_true(fabs(none[MEASURE_INCEPTION_SCORE] - (1)) < 1e-12);
    assert_true(fabs(one[MEASURE_INCEPTION_SCORE] - (1)) < 1e-12);
    assert_true(fabs(one[ROW_SPLITS_SD] - (0)) < 1e-12);
    free(four);
    free(none);
    free(one);
}

/* The score of a set of people, and its interval, resampled by them or by image. */
static struct estimate scored(bool by_people)
{
    enum { REPLICATES = 200 };
    static float weights[2 * WIDTH];
    struct made set = people(1, 60, SLICES, 4, 1);
    weights[0] = 1; /* the kind of people is the first feature: 0, 4, 8 or 12, less and more */
    weights[WIDTH] = -1;
    set.sample.classifier = weights;
    set.sample.classes = 2;
    if (!by_people)
        set.sample.groups = NULL;
    double *numbers = measure(&set.sample, &set.sample, REPLICATES);
    const double *of = numbers + MEASURE_INCEPTION_SCORE * (1 + REPLICATES);
    struct estimate estimate = replicates_estimate(of, REPLICATES, 0.95);
    free(numbers);
    release(&set);
    return estimate;
}

static void a_scores_interval_is_around_it_and_by_people(void **state)
{
    (void)state;
    struct estimate by_people = scored(true), by_slice = scored(false);
    assert_true(fabs(by_people.value - by_slice.value) < 1e-12);
    assert_true(by_people.interval.low < by_people.value &&
                by_people.value < by_people.interval.high);
    assert_true(by_people.interval.high - by_people.interval.low >
                1.3 * (by_slice.interval.high - by_slice.interval.low));
}

/* ---- what they tell -------------------------------------------------------------------------- */

static void new_people_are_at_no_distance(void **state)
{
    (void)state;
    struct made set = people(1, PEOPLE * SLICES, 1, 4, 1),
                reference = people(2, PEOPLE, SLICES, 4, 1);
    enum { REPLICATES = 200 };
    double *numbers = measure(&set.sample, &reference.sample, REPLICATES);
    for (int m = 0; m < MEASURE_COUNT; m++) {
        if (!measure_info[m].resampled || measure_info[m].of_classes)
            continue;
        struct estimate estimate =
            replicates_estimate(numbers + m * (1 + REPLICATES), REPLICATES, 0.95);
        double perfect = m == MEASURE_KID ? 0 : 1;
        assert_true(estimate.interval.low <= estimate.value &&
                    estimate.value <= estimate.interval.high);
        if (m == MEASURE_KID)
            assert_true(estimate.interval.low <= perfect && perfect <= estimate.interval.high);
        else
            assert_true(estimate.value > 0.7);
    }
    free(numbers);
    release(&set);
    release(&reference);
}

/* Slices count as what they are: of one person. As images of so many people they would make the
 * reference look as if it were less varied than it is, and the interval narrower. */
static void slices_are_no_people(void **state)
{
    (void)state;
    struct made set = people(1, PEOPLE * SLICES, 1, 4, 1),
                reference = people(2, PEOPLE, SLICES, 4, 1);
    enum { REPLICATES = 200 };
    double *by_people = measure(&set.sample, &reference.sample, REPLICATES);
    reference.sample.groups = NULL;
    double *by_slice = measure(&set.sample, &reference.sample, REPLICATES);
    struct estimate wide = replicates_estimate(by_people, REPLICATES, 0.95),
                    narrow = replicates_estimate(by_slice, REPLICATES, 0.95);
    assert_true(wide.interval.high - wide.interval.low >
                1.3 * (narrow.interval.high - narrow.interval.low));
    assert_true(by_slice[MEASURE_KID] > by_people[MEASURE_KID]);
    size_t coverage = MEASURE_COVERAGE * (1 + REPLICATES);
    assert_true(by_slice[coverage] < by_people[coverage]);
    free(by_people);
    free(by_slice);
    release(&set);
    release(&reference);
}

static void copies_are_nearer_to_what_they_copy(void **state)
{
    (void)state;
    struct made training = people(1, PEOPLE, SLICES, 4, 1),
                holdout = people(2, PEOPLE, SLICES, 4, 1);
    struct made copies = people(1, PEOPLE, SLICES, 4, 1);
    copies.sample.groups = NULL;
    double *own = measure(&copies.sample, &training.sample, 0),
           *others = measure(&copies.sample, &holdout.sample, 0),
           *control = measure(&holdout.sample, &training.sample, 0);
    assert_true(own[MEASURE_KID] < others[MEASURE_KID]);
    assert_true(fabs(own[MEASURE_FID]) < 1e-9);
    assert_true(others[MEASURE_FID] > 0.1 && control[MEASURE_FID] > 0.1);
    assert_true(own[MEASURE_PRECISION] == 1 && own[MEASURE_COVERAGE] == 1);
    assert_true(control[MEASURE_PRECISION] < 1 && control[MEASURE_COVERAGE] < 1);
    free(own);
    free(others);
    free(control);
    release(&training);
    release(&holdout);
    release(&copies);
}

static void blurred_images_are_farther(void **state)
{
    (void)state;
    struct made sharp = people(1, PEOPLE, 1, 4, 1), blurred = people(1, PEOPLE, 1, 4, 0.3),
                reference = people(2, PEOPLE, SLICES, 4, 1);
    double *good = measure(&sharp.sample, &reference.sample, 0),
           *bad = measure(&blurred.sample, &reference.sample, 0);
    assert_true(bad[MEASURE_KID] > good[MEASURE_KID]);
    assert_true(bad[MEASURE_FID] > 1.5 * good[MEASURE_FID]);
    assert_true(bad[MEASURE_RECALL] < 0.5 * good[MEASURE_RECALL]);
    free(good);
    free(bad);
    release(&sharp);
    release(&blurred);
    release(&reference);
}

/* A generator that knows one kind of people of four: good images, three quarters are missing. */
static void a_set_of_one_mode_lacks_variety_and_stays_precise(void **state)
{
    (void)state;
    struct made all = people(1, 4 * PEOPLE, 1, 4, 1), one = people(1, 4 * PEOPLE, 1, 1, 1),
                reference = people(2, 2 * PEOPLE, SLICES, 4, 1);
    double *varied = measure(&all.sample, &reference.sample, 0),
           *same = measure(&one.sample, &reference.sample, 0);
    assert_true(same[MEASURE_PRECISION] > 0.9 * varied[MEASURE_PRECISION]);
    assert_true(varied[MEASURE_RECALL] > 0.8 && same[MEASURE_RECALL] < 0.4);
    assert_true(varied[MEASURE_COVERAGE] > 0.8 && same[MEASURE_COVERAGE] < 0.4);
    assert_true(same[MEASURE_KID] > 10 * fabs(varied[MEASURE_KID]));
    free(varied);
    free(same);
    release(&all);
    release(&one);
    release(&reference);
}

/* ---- what they cannot tell ------------------------------------------------------------------- */

static void too_few_define_nothing(void **state)
{
    (void)state;
    struct made set = make(0, 9, 1, 5, 1, 0), one_person = make(9, 8, 8, 5, 1, 0),
                few = make(9, 8, 2, 5, 1, 0), alone = make(0, 1, 1, 5, 1, 0);
    double *numbers = measure(&set.sample, &one_person.sample, 3);
    assert_true(isnan(numbers[MEASURE_KID * 4]));
    assert_true(!isnan(numbers[MEASURE_FID * 4]) && !isnan(numbers[MEASURE_RECALL * 4]));
    assert_true(isnan(numbers[MEASURE_PRECISION * 4]) && isnan(numbers[MEASURE_COVERAGE * 4]));
    free(numbers);
    numbers = measure(&set.sample, &few.sample, 3); /* each has 6 images of others */
    for (int m = 0; m < MEASURE_COUNT; m++)
        assert_true(isnan(numbers[m * 4]) ==
                    measure_info[m].of_classes); /* there is no classifier */
    free(numbers);
    numbers = measure(&alone.sample, &few.sample, 3);
    assert_true(isnan(numbers[MEASURE_KID * 4]) && isnan(numbers[MEASURE_FID * 4]) &&
                isnan(numbers[MEASURE_RECALL * 4]) && !isnan(numbers[MEASURE_PRECISION * 4]));
    free(numbers);
    release(&set);
    release(&one_person);
    release(&few);
    release(&alone);
}

static void intervals_take_enough_replicates(void **state)
{
    (void)state;
    double numbers[101];
    for (size_t i = 0; i < 101; i++)
        numbers[i] = (double)i;
    assert_true(isnan(replicates_estimate(numbers, 38, 0.95).interval.low));
    struct estimate estimate = replicates_estimate(numbers, 39, 0.95);
    assert_true(estimate.value == 0 && estimate.interval.low == 1 && estimate.interval.high == 39);
    numbers[3] = NAN; /* as where everybody drawn is one person */
    estimate = replicates_estimate(numbers, 100, 0.95);
    assert_true(estimate.interval.low == 2 && estimate.interval.high == 99);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(measures_are_those_of_the_papers),
        cmocka_unit_test(a_replicate_is_of_people_drawn_anew),
        cmocka_unit_test(people_are_drawn_whole),
        cmocka_unit_test(the_number_of_threads_changes_nothing),
        cmocka_unit_test(splits_are_tenths_drawn_by_the_seed),
        cmocka_unit_test(a_score_counts_the_kinds_that_are_told_apart),
        cmocka_unit_test(a_scores_interval_is_around_it_and_by_people),
        cmocka_unit_test(new_people_are_at_no_distance),
        cmocka_unit_test(slices_are_no_people),
        cmocka_unit_test(copies_are_nearer_to_what_they_copy),
        cmocka_unit_test(blurred_images_are_farther),
        cmocka_unit_test(a_set_of_one_mode_lacks_variety_and_stays_precise),
        cmocka_unit_test(too_few_define_nothing),
        cmocka_unit_test(intervals_take_enough_replicates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
