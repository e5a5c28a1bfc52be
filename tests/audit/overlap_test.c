/* Overlap of masks: what each number is, and what becomes of empty masks. */
#include "test.h"

#include "audit/distance.h"
#include "audit/overlap.h"
#include "base/json.h"
#include "base/parallel.h"

#include <math.h>
#include <stdlib.h>

enum { SIDE = 8, VOXELS = SIDE * SIDE * SIDE };
static uint8_t truth[VOXELS], prediction[VOXELS];

static void clear(void)
{
    memset(truth, 0, sizeof truth);
    memset(prediction, 0, sizeof prediction);
}

static uint8_t *at(uint8_t *mask, size_t x, size_t y, size_t z)
{
    return &mask[(z * SIDE + y) * SIDE + x];
}

static struct overlap measure(struct label_set set, double sx, double sy, double sz)
{
    struct label_pair pair = { truth, prediction, { SIDE, SIDE, SIDE }, { sx, sy, sz } };
    struct overlap overlap;
    struct error err;
    assert_ok(overlap_measure(&pair, &set, &overlap, &err), err);
    return overlap;
}

static struct label_set label(uint8_t value)
{
    return label_set_of("label", 1, &value);
}

static void two_voxels_are_apart_by_their_spacing(void **state)
{
    (void)state;
    clear();
    *at(truth, 1, 1, 1) = *at(prediction, 3, 2, 6) = 1;
    struct overlap overlap = measure(label(1), 2, 0.5, 3);
    double expected = sqrt(4 * 4 + 0.5 * 0.5 + 15 * 15);
    assert_true(fabs(overlap.value[METRIC_HAUSDORFF_MAX] - expected) < 1e-12);
    assert_true(fabs(overlap.value[METRIC_HAUSDORFF_95] - expected) < 1e-12);
    assert_true(overlap.value[METRIC_DICE] == 0);
    assert_true(overlap.value[METRIC_VOLUME_DIFFERENCE] == 0);
}

static void counts_give_the_shares(void **state)
{
    (void)state;
    clear();
    for (size_t x = 0; x < 4; x++)
        *at(truth, x, 0, 0) = 1;
    for (size_t x = 3; x < 8; x++)
        *at(prediction, x, 0, 0) = 1;
    struct overlap overlap = measure(label(1), 1, 10, 100);
    assert_true(overlap.value[METRIC_DICE] == 2.0 / 9);
    assert_true(overlap.value[METRIC_PRECISION] == 1.0 / 5);
    assert_true(overlap.value[METRIC_RECALL] == 1.0 / 4);
    assert_true(overlap.value[METRIC_VOLUME_DIFFERENCE] == 1);
}

static void the_inside_of_a_mask_is_no_surface(void **state)
{
    (void)state;
    clear();
    for (size_t z = 1; z < 6; z++)
        for (size_t y = 1; y < 6; y++)
            for (size_t x = 1; x < 6; x++)
                *at(truth, x, y, z) = *at(prediction, x, y, z) = 1;
    *at(prediction, 3, 3, 3) = 0; /* a hole: its walls are surface, 2 voxels from the truth's */
    struct overlap overlap = measure(label(1), 1, 1, 1);
    assert_true(overlap.value[METRIC_HAUSDORFF_MAX] == 1);
    clear();
    memset(truth, 1, sizeof truth);
    memset(prediction, 1, sizeof prediction);
    *at(prediction, 4, 4, 4) = 0;
    overlap = measure(label(1), 1, 1, 1);
    assert_true(overlap.value[METRIC_HAUSDORFF_MAX] == 3); /* from the hole's wall to the border */
}

static void what_is_undefined_is_not_a_number(void **state)
{
    (void)state;
    clear();
    struct overlap both = measure(label(1), 1, 1, 1);
    for (int metric = 0; metric < METRIC_VOLUME_DIFFERENCE; metric++)
        assert_true(isnan(both.value[metric]));
    assert_true(both.value[METRIC_VOLUME_DIFFERENCE] == 0);
    *at(prediction, 2, 2, 2) = 1;
    struct overlap invented = measure(label(1), 10, 10, 10);
    assert_true(invented.value[METRIC_DICE] == 0);
    assert_true(invented.value[METRIC_PRECISION] == 0);
    assert_true(isnan(invented.value[METRIC_RECALL]));
    assert_true(isnan(invented.value[METRIC_HAUSDORFF_MAX]));
    assert_true(invented.value[METRIC_VOLUME_DIFFERENCE] == 1);
    clear();
    *at(truth, 2, 2, 2) = 1;
    struct overlap missed = measure(label(1), 1, 1, 1);
    assert_true(missed.value[METRIC_DICE] == 0);
    assert_true(isnan(missed.value[METRIC_PRECISION]));
    assert_true(missed.value[METRIC_RECALL] == 0);
}

static void empty_masks_are_counted_and_left_out(void **state)
{
    (void)state;
    struct overlap rows[4];
    clear();
    rows[0] = measure(label(1), 1, 1, 1);
    *at(truth, 2, 2, 2) = 1;
    rows[1] = measure(label(1), 1, 1, 1);
    *at(prediction, 2, 2, 2) = 1;
    rows[2] = measure(label(1), 1, 1, 1);
    *at(truth, 2, 2, 2) = 0;
    rows[3] = measure(label(1), 1, 1, 1);
    struct overlap_summary summary = overlap_summarise(rows, 4, 1);
    assert_int_equal(summary.subjects, 4);
    assert_int_equal(summary.both_empty, 1);
    assert_int_equal(summary.truth_empty, 1);
    assert_int_equal(summary.prediction_empty, 1);
    assert_int_equal(summary.metric[METRIC_DICE].count, 3);
    assert_true(fabs(summary.metric[METRIC_DICE].mean - 1.0 / 3) < 1e-15);
    assert_true(fabs(summary.metric[METRIC_DICE].sd - sqrt(1.0 / 3)) < 1e-15);
    assert_int_equal(summary.metric[METRIC_HAUSDORFF_95].count, 1);
    assert_true(isnan(summary.metric[METRIC_HAUSDORFF_95].sd)); /* of one value there is none */
}

static void regions_are_unions_of_labels(void **state)
{
    (void)state;
    bool occurs[256] = { [0] = true, [1] = true, [4] = true };
    const struct region_scheme *scheme = region_scheme_of(occurs);
    assert_non_null(scheme);
    assert_string_equal(scheme->name, "brats");
    clear();
    *at(truth, 0, 0, 0) = 1, *at(truth, 1, 0, 0) = 2, *at(truth, 2, 0, 0) = 4;
    memcpy(prediction, truth, sizeof truth);
    *at(prediction, 2, 0, 0) = 1;
    assert_int_equal(measure(region_set(scheme, 0), 1, 1, 1).truth, 3);
    assert_int_equal(measure(region_set(scheme, 1), 1, 1, 1).truth, 2);
    assert_true(measure(region_set(scheme, 1), 1, 1, 1).value[METRIC_DICE] == 1);
    assert_true(measure(region_set(scheme, 2), 1, 1, 1).value[METRIC_DICE] == 0);
    occurs[17] = true;
    assert_null(region_scheme_of(occurs));
    occurs[17] = occurs[4] = false; /* a single label 1 is no sign of a tumour */
    assert_null(region_scheme_of(occurs));
}

static void a_plane_is_an_image(void **state)
{
    (void)state;
    uint8_t square[25] = { 0 }, hole[25] = { 0 };
    for (int y = 0; y < 5; y++)
        for (int x = 0; x < 5; x++)
            square[y * 5 + x] = hole[y * 5 + x] = 1;
    hole[12] = 0;
    struct label_pair pair = { square, hole, { 5, 5, 1 }, { 1, 1, 1 } };
    struct label_set one = label(1);
    struct overlap overlap;
    struct error err;
    assert_ok(overlap_measure(&pair, &one, &overlap, &err), err);
    assert_true(overlap.value[METRIC_HAUSDORFF_MAX] == 1);
}

/* What the definition says, voxel against voxel. */
static double nearest(const uint8_t *set, const double spacing[3], size_t voxel)
{
    double least = INFINITY;
    for (size_t i = 0; i < VOXELS; i++) {
        double d2 = 0;
        for (size_t axis = 0, a = i, b = voxel; axis < 3; axis++, a /= SIDE, b /= SIDE) {
            double d = ((double)(a % SIDE) - (double)(b % SIDE)) * spacing[axis];
            d2 += d * d;
        }
        least = set[i] && d2 < least ? d2 : least;
    }
    return least;
}

static void distances_are_those_of_the_definition(void **state)
{
    (void)state;
    static double squared[VOXELS], again[VOXELS];
    const double spacing[3] = { 1, 0.7, 3.1 };
    const size_t shape[3] = { SIDE, SIDE, SIDE };
    struct error err;
    srand(3);
    for (int turn = 0; turn < 20; turn++) {
        for (size_t i = 0; i < VOXELS; i++)
            truth[i] = rand() % 50 <= turn % 3;
        parallel_set_threads(1);
        assert_ok(distance_squared(truth, shape, spacing, squared, &err), err);
        for (size_t i = 0; i < VOXELS; i++)
            assert_true(fabs(squared[i] - nearest(truth, spacing, i)) < 1e-9);
        parallel_set_threads(3);
        assert_ok(distance_squared(truth, shape, spacing, again, &err), err);
        assert_memory_equal(squared, again, sizeof squared);
    }
}

static void from_an_empty_set_everything_is_infinitely_far(void **state)
{
    (void)state;
    static double squared[VOXELS];
    struct error err;
    clear();
    assert_ok(distance_squared(truth, (size_t[]){ SIDE, SIDE, SIDE }, (double[]){ 1, 1, 1 },
                               squared, &err),
              err);
    for (size_t i = 0; i < VOXELS; i++)
        assert_true(isinf(squared[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_voxels_are_apart_by_their_spacing),
        cmocka_unit_test(counts_give_the_shares),
        cmocka_unit_test(the_inside_of_a_mask_is_no_surface),
        cmocka_unit_test(what_is_undefined_is_not_a_number),
        cmocka_unit_test(empty_masks_are_counted_and_left_out),
        cmocka_unit_test(regions_are_unions_of_labels),
        cmocka_unit_test(a_plane_is_an_image),
        cmocka_unit_test(distances_are_those_of_the_definition),
        cmocka_unit_test(from_an_empty_set_everything_is_infinitely_far),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
