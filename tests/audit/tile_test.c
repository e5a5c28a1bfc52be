#include "spots.h"

#include "audit/tile.h"
#include "base/parallel.h"

#include <stdio.h>

static void run(const struct image_set *queries, const struct image_set *database,
                struct tile_settings settings, struct tile_match *match)
{
    struct error err;
    struct tile_search *search = tile_open(queries, database, &settings, &err);
    assert_ok(search, err);
    assert_ok(tile_run(search, 0, queries->count, match, &err), err);
    tile_close(search);
}

/* Head 1000 with the spot of training head 11. */
static struct tile_match find(long move_y, long move_x, bool mirrored)
{
    struct image_set database = heads_make(TRAINING, 0), query = heads_make(1, 1000);
    struct tile_match match;
    paste_spot(image_bytes(&query, 0), image_bytes(&database, 11), 11, move_y, move_x, mirrored);
    run(&query, &database, (struct tile_settings){ 0 }, &match);
    images_free(&database);
    images_free(&query);
    return match;
}

static void a_piece_in_its_place_is_found(void **state)
{
    (void)state;
    struct tile_match match = find(0, 0, false);
    assert_int_equal(match.id, 11);
    assert_true(match.local_ratio < 0.1);
    assert_true(match.correlation > 0.99);
    assert_false(match.mirrored);
    assert_float_equal(match.query.y, match.training.y, 2);
    assert_float_equal(match.query.x, match.training.x, 2);
}

static void a_piece_that_was_moved_is_found(void **state)
{
    (void)state;
    struct tile_match match = find(6, -9, false);
    assert_int_equal(match.id, 11);
    assert_true(match.local_ratio < 0.1);
    assert_float_equal(match.query.y - match.training.y, 6, 2);
    assert_float_equal(match.query.x - match.training.x, -9, 2);
}

static void a_piece_in_the_other_hemisphere_is_found(void **state)
{
    (void)state;
    struct tile_match match = find(0, 0, true);
    assert_int_equal(match.id, 11);
    assert_true(match.mirrored);
    assert_true(match.local_ratio < 0.1);
    /* the place is that in the image as it is stored */
    assert_float_equal(match.query.x, SIDE - match.training.x - match.training.side, 2);
}

static void strangers_have_no_such_ratio(void **state)
{
    (void)state;
    struct image_set database = heads_make(TRAINING, 0), queries = heads_make(10, 2000);
    struct tile_match match[10];
    run(&queries, &database, (struct tile_settings){ 0 }, match);
    for (size_t q = 0; q < 10; q++)
        assert_true(match[q].local_ratio > 0.3 && match[q].local_ratio <= 1);
    images_free(&database);
    images_free(&queries);
}

static void a_mask_adds_the_tile_about_it(void **state)
{
    (void)state;
    /* A piece without a spot of its own, that only the mask points at, is found by it as well. */
    struct image_set database = heads_make(TRAINING, 0), query = heads_make(1, 1000);
    uint8_t *masks = calloc(TRAINING, (size_t)SIDE * SIDE);
    struct tile_match match;
    long y, x;
    spot_of(11, &y, &x);
    masks[(size_t)11 * SIDE * SIDE + (size_t)(y * SIDE + x)] = 1;
    paste_spot(image_bytes(&query, 0), image_bytes(&database, 11), 11, 0, 0, false);
    run(&query, &database, (struct tile_settings){ .masks = masks }, &match);
    assert_int_equal(match.id, 11);
    assert_true(match.local_ratio < 0.1);
    free(masks);
    images_free(&database);
    images_free(&query);
}

static void slices_of_the_same_subject_are_no_strangers(void **state)
{
    (void)state;
    /* The same head twice, under one subject: the second does not take the first one's part. */
    struct image_set database = heads_make(TRAINING, 0), query = heads_make(1, 1000);
    uint32_t *groups = calloc(TRAINING, sizeof *groups);
    struct tile_match match;
    for (uint32_t i = 0; i < TRAINING; i++)
        groups[i] = i / SLICES;
    draw_head(image_bytes(&database, 10), 11);
    database.groups = groups;
    paste_spot(image_bytes(&query, 0), image_bytes(&database, 11), 11, 0, 0, false);
    run(&query, &database, (struct tile_settings){ 0 }, &match);
    assert_int_equal(match.id / SLICES, 5);
    assert_true(match.local_ratio < 0.1);
    images_free(&database);
    images_free(&query);
}

static void other_groups_leaves_out_the_own(void **state)
{
    (void)state;
    struct image_set database = heads_make(TRAINING, 0), queries = heads_make(TRAINING, 0);
    struct tile_match *match = calloc(TRAINING, sizeof *match);
    uint32_t *groups = calloc(TRAINING, sizeof *groups), *same = calloc(TRAINING, sizeof *same);
    for (uint32_t i = 0; i < TRAINING; i++)
        groups[i] = same[i] = 50 + i / SLICES;
    database.groups = groups;
    queries.groups = same;
    run(&queries, &database, (struct tile_settings){ .other_groups = true }, match);
    for (size_t q = 0; q < TRAINING; q++) {
        assert_true(match[q].id / SLICES != q / SLICES);
        assert_true(match[q].local_ratio > 0.2);
    }
    free(match);
    images_free(&database);
    images_free(&queries);
}

static void results_do_not_depend_on_runs_or_threads(void **state)
{
    (void)state;
    struct image_set database = heads_make(TRAINING, 0), queries = heads_make(5, 37);
    struct tile_match whole[5], parts[5];
    struct tile_settings settings = { 0 };
    struct error err;
    parallel_set_threads(2);
    run(&queries, &database, settings, whole);
    parallel_set_threads(1);
    struct tile_search *search = tile_open(&queries, &database, &settings, &err);
    assert_ok(search, err);
    assert_ok(tile_run(search, 0, 3, parts, &err), err);
    assert_ok(tile_run(search, 3, 2, parts + 3, &err), err);
    tile_close(search);
    assert_int_equal(whole[0].id, 37);
    assert_true(whole[0].local_ratio < 1e-3);
    for (size_t q = 0; q < 5; q++) {
        assert_int_equal(whole[q].id, parts[q].id);
        assert_true(whole[q].local_ratio == parts[q].local_ratio);
        assert_true(whole[q].correlation == parts[q].correlation);
    }
    images_free(&database);
    images_free(&queries);
}

static void images_without_tiles_match_nothing(void **state)
{
    (void)state;
    struct image_set database = heads_make(8, 0), queries = heads_make(2, 100);
    struct tile_match match[2];
    memset(image_bytes(&queries, 0), 0, (size_t)SIDE * SIDE);
    for (size_t i = 0; i < (size_t)SIDE * SIDE; i++) /* light, but without variance inside */
        image_bytes(&queries, 1)[i] = i % SIDE > 5 && i % SIDE < 90 ? 100 : 0;
    memset(image_bytes(&database, 3), 0, (size_t)SIDE * SIDE);
    run(&queries, &database, (struct tile_settings){ 0 }, match);
    for (size_t q = 0; q < 2; q++) {
        assert_true(match[q].local_ratio == 1);
        assert_true(match[q].correlation == 0);
    }
    images_free(&database);
    images_free(&queries);
}

static void all_types_and_channels_are_searched(void **state)
{
    (void)state;
    static const enum element_type types[] = { ELEMENT_UINT8, ELEMENT_UINT16, ELEMENT_FLOAT16 };
    for (size_t t = 0; t < 3; t++) {
        struct image_set database =
            images_make("database", TEXTURE_SMOOTH_AND_NOISE, 12, 3, 60, 52, types[t], 3);
        struct image_set query =
            images_make("query", TEXTURE_SMOOTH_AND_NOISE, 1, 3, 60, 52, types[t], 4);
        size_t bytes = element_info[types[t]].bytes;
        struct tile_match match;
        /* rows 10 … 49 of image 7, all channels */
        for (size_t c = 0; c < 3; c++)
            memcpy(image_bytes(&query, 0) + (c * 60 + 10) * 52 * bytes,
                   image_bytes(&database, 7) + (c * 60 + 10) * 52 * bytes, (size_t)40 * 52 * bytes);
        run(&query, &database, (struct tile_settings){ .channels = 3 }, &match);
        assert_int_equal(match.id, 7);
        assert_true(match.local_ratio < 0.05);
        images_free(&database);
        images_free(&query);
    }
}

static void images_smaller_than_a_tile_match_nothing(void **state)
{
    (void)state;
    struct image_set database = images_make("a", TEXTURE_NOISE, 6, 1, 12, 14, ELEMENT_UINT8, 1);
    struct tile_match match[6];
    run(&database, &database, (struct tile_settings){ 0 }, match);
    assert_true(match[0].local_ratio == 1);
    images_free(&database);
}

static void sets_of_other_shapes_are_refused(void **state)
{
    (void)state;
    struct image_set database = images_make("a", TEXTURE_SMOOTH, 4, 1, 32, 32, ELEMENT_UINT8, 1),
                     queries = images_make("b", TEXTURE_SMOOTH, 4, 2, 32, 32, ELEMENT_UINT8, 1);
    struct tile_settings settings = { 0 };
    struct error err;
    assert_null(tile_open(&queries, &database, &settings, &err));
    assert_non_null(strstr(err.message, "only images of one shape can be compared"));
    images_free(&database);
    images_free(&queries);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_piece_in_its_place_is_found),
        cmocka_unit_test(a_piece_that_was_moved_is_found),
        cmocka_unit_test(a_piece_in_the_other_hemisphere_is_found),
        cmocka_unit_test(strangers_have_no_such_ratio),
        cmocka_unit_test(a_mask_adds_the_tile_about_it),
        cmocka_unit_test(slices_of_the_same_subject_are_no_strangers),
        cmocka_unit_test(other_groups_leaves_out_the_own),
        cmocka_unit_test(results_do_not_depend_on_runs_or_threads),
        cmocka_unit_test(images_without_tiles_match_nothing),
        cmocka_unit_test(all_types_and_channels_are_searched),
        cmocka_unit_test(images_smaller_than_a_tile_match_nothing),
        cmocka_unit_test(sets_of_other_shapes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
