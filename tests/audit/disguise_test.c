#include "images.h"

#include "audit/disguise.h"
#include "audit/grid.h"
#include "base/parallel.h"

#include <stdio.h>

enum { SIDE = 48, TRAINING = 60 };

/* ---- images that can be turned --------------------------------------------------------------- */

/* A blob of light with structure within, dark at the rim: a head, as far as this matters. Given as
 * a function of the place, so that it can be drawn turned, scaled and shifted. */
static double head_at(uint64_t head, double y, double x)
{
    double ry = y / (17 + 2 * random_uniform(5, head, 0)),
           rx = x / (14 + 2 * random_uniform(5, head, 1)), r = sqrt(ry * ry + rx * rx), value = 0;
    if (r > 1.1)
        return 0;
    for (uint64_t w = 0; w < 5; w++) {
        double fy = 0.9 * random_uniform(5, head, 10 + 3 * w) - 0.45,
               fx = 0.9 * random_uniform(5, head, 11 + 3 * w) - 0.45;
        value += 18 * cos(fy * y + fx * x + 6.28 * random_uniform(5, head, 12 + 3 * w));
    }
    return (120 + value) / (1 + exp((r - 1) * 30));
}

/* The head moved by the transformation of disguise.h, about the middle: content is mirrored, then
 * enlarged and turned, then shifted. */
static void draw_head(unsigned char *out, uint64_t head, struct transform t)
{
    double middle = (SIDE - 1) / 2.0, c = cos(t.degrees * M_PI / 180) / t.scale,
           s = sin(t.degrees * M_PI / 180) / t.scale;
    for (size_t i = 0; i < (size_t)SIDE * SIDE; i++) {
        double dy = (double)(i / SIDE) - middle - t.shift_y,
               dx = (double)(i % SIDE) - middle - t.shift_x, y = c * dy - s * dx,
               x = s * dy + c * dx;
        double value = head_at(head, t.mirror & MIRROR_Y ? -y : y, t.mirror & MIRROR_X ? -x : x);
        store_pixel(out, ELEMENT_UINT8, i, 255 * pow(value / 255, t.gamma));
    }
}

static const struct transform untouched = { .gamma = 1, .scale = 1 };

static struct image_set heads_make(size_t count, uint64_t first)
{
    struct image_set set =
        images_make("heads", TEXTURE_SMOOTH, count, 1, SIDE, SIDE, ELEMENT_UINT8, 1);
    for (size_t i = 0; i < count; i++)
        draw_head(image_bytes(&set, i), first + i, untouched);
    return set;
}

static void run(const struct image_set *queries, const struct image_set *database,
                struct disguise_settings settings, struct disguise_match *match)
{
    struct error err;
    struct disguise_search *search = disguise_open(queries, database, &settings, &err);
    assert_ok(search, err);
    assert_ok(disguise_run(search, 0, queries->count, match, &err), err);
    disguise_close(search);
}

/* Head 17 under the transformation, searched among all. */
static struct disguise_match find(struct transform t)
{
    struct image_set database = heads_make(TRAINING, 0), query = heads_make(1, 0);
    struct disguise_match match;
    draw_head(image_bytes(&query, 0), 17, t);
    run(&query, &database, (struct disguise_settings){ 0 }, &match);
    images_free(&database);
    images_free(&query);
    assert_int_equal(match.id, 17);
    return match;
}

/* ---- what is found --------------------------------------------------------------------------- */

static void a_plain_copy_correlates_exactly_one(void **state)
{
    (void)state;
    char name[TRANSFORM_NAME];
    struct disguise_match match = find(untouched);
    assert_true(match.correlation == 1);
    assert_true(match.local_ratio < 1e-3);
    assert_string_equal(transform_name(&match.transform, name), "none");
}

static void mirrored_copies_correlate_exactly_one(void **state)
{
    (void)state;
    for (unsigned mirror = 1; mirror < MIRRORS; mirror++) {
        struct transform t = untouched;
        t.mirror = mirror;
        struct disguise_match match = find(t);
        assert_int_equal(match.transform.mirror, mirror);
        assert_true(match.correlation > 1 - 1e-6); /* the drawing may round a pixel otherwise */
    }
}

static void a_copy_shifted_by_whole_pixels_correlates_one(void **state)
{
    (void)state;
    struct transform t = untouched;
    t.shift_y = 4;
    t.shift_x = -3;
    struct disguise_match match = find(t);
    assert_true(match.correlation > 1 - 1e-6);
    assert_float_equal(match.transform.shift_y, -4, 1e-9);
    assert_float_equal(match.transform.shift_x, 3, 1e-9);
}

static void the_turn_is_measured(void **state)
{
    (void)state;
    for (double degrees = -5; degrees <= 5; degrees += 2.5) {
        struct transform t = untouched;
        t.degrees = degrees;
        struct disguise_match match = find(t);
        assert_float_equal(match.transform.degrees, -degrees, 0.3);
        assert_true(match.correlation > 0.998);
        assert_true(match.local_ratio < 0.3);
    }
}

static void the_scale_is_measured(void **state)
{
    (void)state;
    for (double scale = 0.9; scale <= 1.11; scale += 0.05) {
        struct transform t = untouched;
        t.scale = scale;
        struct disguise_match match = find(t);
        assert_float_equal(match.transform.scale, 1 / scale, 0.01);
        assert_true(match.correlation > 0.998);
    }
}

static void the_gamma_is_measured(void **state)
{
    (void)state;
    struct transform t = untouched;
    t.gamma = 1.5;
    struct disguise_match match = find(t);
    assert_float_equal(match.transform.gamma, 1 / 1.5, 0.08);
    assert_true(match.correlation > 0.998);
}

static void everything_at_once_is_found(void **state)
{
    (void)state;
    struct disguise_match match = find((struct transform){ .mirror = MIRROR_X,
                                                           .gamma = 1.2,
                                                           .scale = 1.04,
                                                           .degrees = 3,
                                                           .shift_y = -2.5,
                                                           .shift_x = 1.5 });
    assert_true(match.correlation > 0.995);
    assert_true(match.local_ratio < 0.4);
}

static void strangers_have_ratios_near_one(void **state)
{
    (void)state;
    struct image_set database = heads_make(TRAINING, 0), queries = heads_make(20, 1000);
    struct disguise_match match[20];
    run(&queries, &database, (struct disguise_settings){ 0 }, match);
    for (size_t q = 0; q < 20; q++)
        assert_true(match[q].local_ratio > 0.5 && match[q].local_ratio <= 1);
    images_free(&database);
    images_free(&queries);
}

/* ---- the value ------------------------------------------------------------------------------- */

/* The kernel of cubic convolution (Keys 1981, a = −1/2). */
static double keys(double d)
{
    d = fabs(d);
    return d < 1 ? (1.5 * d - 2.5) * d * d + 1 : d < 2 ? ((2.5 - 0.5 * d) * d - 4) * d + 2 : 0;
}

/* The transformation that is named, by the textbook: cubic, about the centroid of the mirrored
 * grid image. Here the grid is the image, for it has fewer than 64 pixels a side. */
static double slow_value(const unsigned char *query, const unsigned char *training,
                         const struct transform *t)
{
    double mirror[SIDE][SIDE], total = 0, cy = 0, cx = 0, low = 255, high = 0;
    double moved[SIDE * SIDE], fixed[SIDE * SIDE];
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++) {
            double v = query[(t->mirror & MIRROR_Y ? SIDE - 1 - y : y) * SIDE +
                             (t->mirror & MIRROR_X ? SIDE - 1 - x : x)];
            mirror[y][x] = v;
            total += v;
            cy += v * y;
            cx += v * x;
            low = fmin(low, v);
            high = fmax(high, v);
        }
    cy /= total;
    cx /= total;
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++)
            mirror[y][x] = low + (high - low) * pow((mirror[y][x] - low) / (high - low), t->gamma);
    double c = cos(t->degrees * M_PI / 180) / t->scale, s = sin(t->degrees * M_PI / 180) / t->scale;
    for (int i = 0; i < SIDE * SIDE; i++) {
        double dy = i / SIDE - cy - t->shift_y, dx = i % SIDE - cx - t->shift_x;
        double y = cy + c * dy - s * dx, x = cx + s * dy + c * dx, sum = 0;
        for (int b = 0; b < 16; b++) {
            int iy = (int)floor(y) + b / 4 - 1, ix = (int)floor(x) + b % 4 - 1;
            if (iy >= 0 && ix >= 0 && iy < SIDE && ix < SIDE)
                sum += mirror[iy][ix] * keys(y - iy) * keys(x - ix);
        }
        bool inside = y >= -0.25 && x >= -0.25 && y <= SIDE - 0.75 && x <= SIDE - 0.75;
        moved[i] = inside ? sum : 0;
        fixed[i] = inside ? training[i] : 0;
    }
    double mx = 0, my = 0, xx = 0, yy = 0, xy = 0;
    for (int i = 0; i < SIDE * SIDE; i++) {
        mx += moved[i] / (SIDE * SIDE);
        my += fixed[i] / (SIDE * SIDE);
    }
    for (int i = 0; i < SIDE * SIDE; i++) {
        xx += (moved[i] - mx) * (moved[i] - mx);
        yy += (fixed[i] - my) * (fixed[i] - my);
        xy += (moved[i] - mx) * (fixed[i] - my);
    }
    return xy / sqrt(xx * yy);
}

static void the_correlation_is_that_of_the_named_pair_and_transformation(void **state)
{
    (void)state;
    struct image_set database = heads_make(TRAINING, 0), queries = heads_make(12, 1000);
    struct disguise_match match[12];
    for (size_t q = 0; q < 6; q++)
        draw_head(image_bytes(&queries, q), 7 * q,
                  (struct transform){ .mirror = (unsigned)q % 4,
                                      .gamma = 1.2,
                                      .scale = 0.96,
                                      .degrees = 2.0 * (double)q - 5,
                                      .shift_y = 1.3 });
    run(&queries, &database, (struct disguise_settings){ 0 }, match);
    for (size_t q = 0; q < 12; q++)
        assert_float_equal(match[q].correlation,
                           slow_value(image_bytes(&queries, q), image_bytes(&database, match[q].id),
                                      &match[q].transform),
                           2e-4);
    images_free(&database);
    images_free(&queries);
}

/* No transformation can be worse than none: brute force over untouched images is a lower bound. */
static void never_below_the_plain_correlation(void **state)
{
    (void)state;
    struct image_set database = heads_make(TRAINING, 0), queries = heads_make(12, 1000);
    struct disguise_match match[12];
    run(&queries, &database, (struct disguise_settings){ 0 }, match);
    for (size_t q = 0; q < 12; q++) {
        double plain = slow_correlation(&queries, q, &database, match[q].id, 1);
        assert_true(match[q].correlation >= plain - 1e-9);
    }
    images_free(&database);
    images_free(&queries);
}

/* ---- rules ----------------------------------------------------------------------------------- */

static void results_do_not_depend_on_runs_or_threads(void **state)
{
    (void)state;
    struct image_set database = heads_make(TRAINING, 0), queries = heads_make(9, 55);
    struct disguise_match whole[9], parts[9];
    struct error err;
    struct disguise_settings settings = { 0 };
    parallel_set_threads(2);
    run(&queries, &database, settings, whole);
    parallel_set_threads(1);
    struct disguise_search *search = disguise_open(&queries, &database, &settings, &err);
    assert_ok(search, err);
    for (size_t first = 0; first < 9; first += 4)
        assert_ok(disguise_run(search, first, first + 4 > 9 ? 1 : 4, parts + first, &err), err);
    disguise_close(search);
    for (size_t q = 0; q < 9; q++) {
        assert_int_equal(whole[q].id, parts[q].id);
        assert_true(whole[q].correlation == parts[q].correlation);
        assert_true(whole[q].local_ratio == parts[q].local_ratio);
    }
    images_free(&database);
    images_free(&queries);
}

static void a_subject_is_not_its_own_stranger(void **state)
{
    (void)state;
    struct image_set database = heads_make(30, 0), queries = heads_make(30, 0);
    uint32_t *groups = calloc(30, sizeof *groups), *same = calloc(30, sizeof *same);
    struct disguise_match match[30];
    for (uint32_t i = 0; i < 30; i++)
        groups[i] = same[i] = 100 + i / 3;
    database.groups = groups;
    queries.groups = same;
    run(&queries, &database, (struct disguise_settings){ .other_groups = true }, match);
    for (size_t q = 0; q < 30; q++) {
        assert_true(match[q].id / 3 != q / 3);
        assert_true(match[q].correlation < 0.999);
    }
    images_free(&database);
    images_free(&queries);
}

static void neighbouring_slices_do_not_hide_a_copy(void **state)
{
    (void)state;
    /* Eight copies of one head, all but the same, are one subject: the ratio is to the others. */
    struct image_set database = heads_make(TRAINING, 0), query = heads_make(1, 3);
    uint32_t *groups = calloc(TRAINING, sizeof *groups);
    struct disguise_match match;
    for (uint32_t i = 0; i < TRAINING; i++)
        groups[i] = i < 8 ? 0 : i;
    for (size_t i = 0; i < 8; i++)
        draw_head(image_bytes(&database, i), 3,
                  (struct transform){ .gamma = 1, .scale = 1 + 0.002 * (double)i });
    database.groups = groups;
    run(&query, &database, (struct disguise_settings){ 0 }, &match);
    assert_int_equal(match.id, 0);
    assert_true(match.local_ratio < 0.1);
    images_free(&database);
    images_free(&query);
}

static void an_image_without_variance_matches_nothing(void **state)
{
    (void)state;
    struct image_set database = heads_make(10, 0), queries = heads_make(2, 0);
    struct disguise_match match[2];
    memset(image_bytes(&queries, 0), 77, (size_t)SIDE * SIDE);
    memset(image_bytes(&database, 4), 0, (size_t)SIDE * SIDE);
    run(&queries, &database, (struct disguise_settings){ 0 }, match);
    assert_true(match[0].correlation == 0);
    assert_true(match[0].local_ratio == 1);
    assert_true(match[1].correlation == 1);
    images_free(&database);
    images_free(&queries);
}

static void all_types_and_channels_are_searched(void **state)
{
    (void)state;
    static const enum element_type types[] = { ELEMENT_UINT8, ELEMENT_UINT16, ELEMENT_FLOAT16 };
    for (size_t t = 0; t < 3; t++) {
        struct image_set database =
            images_make("database", TEXTURE_SMOOTH, 30, 4, 40, 36, types[t], 3);
        struct image_set query = images_make("query", TEXTURE_SMOOTH, 1, 4, 40, 36, types[t], 4);
        size_t bytes = element_info[types[t]].bytes;
        struct disguise_match match;
        /* image 21 in channels 1 and 2, something else in 0 and 3 */
        memcpy(image_bytes(&query, 0) + (size_t)40 * 36 * bytes,
               image_bytes(&database, 21) + (size_t)40 * 36 * bytes, (size_t)2 * 40 * 36 * bytes);
        run(&query, &database, (struct disguise_settings){ .channels = 6 }, &match);
        assert_int_equal(match.id, 21);
        assert_float_equal(match.correlation, 1, 1e-9);
        images_free(&database);
        images_free(&query);
    }
}

static void sets_of_other_shapes_are_refused(void **state)
{
    (void)state;
    struct image_set database = images_make("a", TEXTURE_SMOOTH, 4, 1, 32, 32, ELEMENT_UINT8, 1),
                     queries = images_make("b", TEXTURE_SMOOTH, 4, 1, 32, 30, ELEMENT_UINT8, 1);
    struct disguise_settings settings = { 0 };
    struct error err;
    assert_null(disguise_open(&queries, &database, &settings, &err));
    assert_non_null(strstr(err.message, "only images of one shape can be compared"));
    images_free(&database);
    images_free(&queries);
}

static void a_pixel_that_is_not_finite_is_refused(void **state)
{
    (void)state;
    struct image_set database = images_make("a", TEXTURE_SMOOTH, 4, 1, 32, 32, ELEMENT_FLOAT16, 1);
    struct disguise_settings settings = { 0 };
    struct error err;
    ((uint16_t *)(void *)image_bytes(&database, 2))[5] = 0x7c00;
    assert_null(disguise_open(&database, &database, &settings, &err));
    assert_non_null(strstr(err.message, "image 2 has a pixel that is infinite"));
    images_free(&database);
}

static void transformations_have_names(void **state)
{
    (void)state;
    char name[TRANSFORM_NAME];
    struct transform all = { .mirror = MIRROR_X,
                             .gamma = 1.26,
                             .scale = 1.02,
                             .degrees = 3.14,
                             .shift_y = 2.5,
                             .shift_x = -4 };
    assert_string_equal(transform_name(&all, name),
                        "mirrored left-right, turned 3.1°, scaled 1.020, shifted (2.5, -4.0), "
                        "gamma 1.26");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_copy_correlates_exactly_one),
        cmocka_unit_test(mirrored_copies_correlate_exactly_one),
        cmocka_unit_test(a_copy_shifted_by_whole_pixels_correlates_one),
        cmocka_unit_test(the_turn_is_measured),
        cmocka_unit_test(the_scale_is_measured),
        cmocka_unit_test(the_gamma_is_measured),
        cmocka_unit_test(everything_at_once_is_found),
        cmocka_unit_test(strangers_have_ratios_near_one),
        cmocka_unit_test(the_correlation_is_that_of_the_named_pair_and_transformation),
        cmocka_unit_test(never_below_the_plain_correlation),
        cmocka_unit_test(results_do_not_depend_on_runs_or_threads),
        cmocka_unit_test(a_subject_is_not_its_own_stranger),
        cmocka_unit_test(neighbouring_slices_do_not_hide_a_copy),
        cmocka_unit_test(an_image_without_variance_matches_nothing),
        cmocka_unit_test(all_types_and_channels_are_searched),
        cmocka_unit_test(sets_of_other_shapes_are_refused),
        cmocka_unit_test(a_pixel_that_is_not_finite_is_refused),
        cmocka_unit_test(transformations_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
