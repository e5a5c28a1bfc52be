/* What audit/lesion.h promises. */
#include "spots.h"

#include "audit/lesion.h"
#include "base/parallel.h"

enum { RADIUS = 11 };

static void run(const struct image_set *queries, const struct image_set *database,
                struct lesion_settings settings, struct tile_match *match)
{
    struct error err;
    struct lesion_search *search = lesion_open(queries, database, &settings, &err);
    assert_ok(search, err);
    assert_ok(lesion_run(search, 0, queries->count, match, &err), err);
    lesion_close(search);
}

/* Head 1000 with the spot of training head 11. */
static struct tile_match find(long move_y, long move_x, bool mirrored)
{
    struct image_set database = heads_make(TRAINING, 0), query = heads_make(1, 1000);
    uint8_t *masks = masks_make(TRAINING, 0, RADIUS, RADIUS);
    struct tile_match match;
    paste_spot(image_bytes(&query, 0), image_bytes(&database, 11), 11, move_y, move_x, mirrored);
    run(&query, &database, (struct lesion_settings){ .masks = masks }, &match);
    images_free(&database);
    images_free(&query);
    free(masks);
    return match;
}

static void a_lesion_in_another_head_is_found(void **state)
{
    (void)state;
    struct tile_match match = find(0, 0, false);
    assert_int_equal(match.id, 11);
    assert_true(match.local_ratio < 0.05);
    assert_true(match.correlation > 0.999);
    assert_false(match.mirrored);
    assert_float_equal(match.query.y, match.training.y, 1);
    assert_float_equal(match.query.x, match.training.x, 1);
}

static void it_may_have_moved(void **state)
{
    (void)state;
    struct tile_match match = find(7, -9, false);
    assert_int_equal(match.id, 11);
    assert_true(match.local_ratio < 0.1);
    assert_float_equal(match.query.y - match.training.y, 7, 2);
    assert_float_equal(match.query.x - match.training.x, -9, 2);
}

static void it_may_be_in_the_other_hemisphere(void **state)
{
    (void)state;
    struct tile_match match = find(0, 0, true);
    assert_int_equal(match.id, 11);
    assert_true(match.mirrored);
    assert_true(match.local_ratio < 0.1);
    assert_float_equal(match.query.x, SIDE - match.training.x - match.training.side, 2);
}

static void strangers_have_lesions_of_their_own(void **state)
{
    (void)state;
    struct image_set database = heads_make(TRAINING, 0), queries = heads_make(10, 2000);
    uint8_t *masks = masks_make(TRAINING, 0, RADIUS, RADIUS);
    struct tile_match match[10];
    run(&queries, &database, (struct lesion_settings){ .masks = masks }, match);
    for (size_t q = 0; q < 10; q++)
        assert_true(match[q].local_ratio > 0.3 && match[q].local_ratio <= 1);
    images_free(&database);
    images_free(&queries);
    free(masks);
}

/* As a control is asked: every training image against those of other subjects, of which none has
 * its lesion; and it is no stranger to its own. */
static void an_image_is_not_held_against_its_own_subject(void **state)
{
    (void)state;
    struct image_set database = heads_make(TRAINING, 0);
    uint8_t *masks = masks_make(TRAINING, 0, RADIUS, RADIUS);
    uint32_t *groups = calloc(TRAINING, sizeof *groups); /* goes with the set */
    struct tile_match match[TRAINING];
    for (uint32_t i = 0; i < TRAINING; i++)
        groups[i] = i / SLICES;
    database.groups = groups;
    run(&database, &database, (struct lesion_settings){ .other_groups = true, .masks = masks },
        match);
    for (size_t q = 0; q < TRAINING; q++) {
        assert_int_not_equal(groups[match[q].id], groups[q]);
        assert_true(match[q].local_ratio > 0.3);
    }
    images_free(&database);
    free(masks);
}

static void without_lesions_nothing_is_compared(void **state)
{
    (void)state;
    struct image_set database = heads_make(TRAINING, 0);
    uint8_t *masks = calloc(TRAINING, PLANE);
    struct tile_match match[TRAINING];
    run(&database, &database, (struct lesion_settings){ .masks = masks }, match);
    for (size_t q = 0; q < TRAINING; q++)
        assert_true(match[q].local_ratio == 1 && match[q].correlation == 0 && match[q].id == 0);
    images_free(&database);
    free(masks);
}

static void runs_and_threads_do_not_change_a_digit(void **state)
{
    (void)state;
    struct image_set database = heads_make(TRAINING, 0), queries = heads_make(6, 2000);
    uint8_t *masks = masks_make(TRAINING, 0, RADIUS, RADIUS);
    struct lesion_settings settings = { .masks = masks };
    struct tile_match whole[6], parts[6];
    struct error err;
    run(&queries, &database, settings, whole);
    parallel_set_threads(1);
    struct lesion_search *search = lesion_open(&queries, &database, &settings, &err);
    assert_ok(search, err);
    assert_ok(lesion_run(search, 0, 1, parts, &err), err);
    assert_ok(lesion_run(search, 1, 5, parts + 1, &err), err);
    for (size_t q = 0; q < 6; q++) {
        assert_true(whole[q].local_ratio == parts[q].local_ratio);
        assert_int_equal(whole[q].id, parts[q].id);
    }
    lesion_close(search);
    images_free(&database);
    images_free(&queries);
    free(masks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lesion_in_another_head_is_found),
        cmocka_unit_test(it_may_have_moved),
        cmocka_unit_test(it_may_be_in_the_other_hemisphere),
        cmocka_unit_test(strangers_have_lesions_of_their_own),
        cmocka_unit_test(an_image_is_not_held_against_its_own_subject),
        cmocka_unit_test(without_lesions_nothing_is_compared),
        cmocka_unit_test(runs_and_threads_do_not_change_a_digit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
