/* Where an image is most like each lesion: bounds save work and change nothing. */
#include "spots.h"

#include "audit/lesion_parts.h"
#include "audit/queries.h"
#include "base/random.h"

enum { LESIONS = 70, ASKED = 3 };

struct world {
    struct image_set database, queries;
    uint8_t *masks;
    uint32_t groups[LESIONS];
    struct lesion_search *search;
    struct lesion_room room;
};

static void world_make(struct world *world)
{
    struct error err;
    world->database = heads_make(LESIONS, 0);
    world->queries = heads_make(ASKED, 1000);
    world->masks = masks_make(LESIONS, 0, 5, 18);
    for (uint32_t i = 0; i < LESIONS; i++)
        world->groups[i] = i / SLICES;
    world->database.groups = world->groups;
    paste_spot(image_bytes(&world->queries, 1), image_bytes(&world->database, 11), 11, 3, -2,
               false);
    paste_spot(image_bytes(&world->queries, 2), image_bytes(&world->database, 30), 30, 0, 0, true);
    struct lesion_settings settings = { .masks = world->masks };
    world->search = lesion_open(&world->queries, &world->database, &settings, &err);
    assert_ok(world->search, err);
    lesion_room_init(&world->room, world->search);
}

static void world_free(struct world *world)
{
    lesion_room_release(&world->room);
    lesion_close(world->search);
    world->database.groups = NULL;
    images_free(&world->database);
    images_free(&world->queries);
    free(world->masks);
}

static void read(struct world *world, size_t query)
{
    const struct lesion_search *search = world->search;
    assert_true(
        lesion_read(search, &world->room, set_image(&search->pixels, &search->queries, query)));
    lesion_finder_read(search, &world->room.finder, world->room.cells, world->room.mirror);
}

/* A lesion's best place, by plain loops over all that lie in its reach. */
static struct lesion_place slow_place(const struct world *world, size_t l)
{
    const struct lesion_search *search = world->search;
    const struct lesion *lesion = &search->lesions[l];
    const struct grid *grid = &search->grid;
    struct lesion_place best = { .score = -2 };
    float row[PATCH_MEANS * PATCH_MEANS];
    long step = lesion->scale, side = (long)square_side(lesion->scale);
    for (int mirrored = 0; mirrored < 2; mirrored++)
        for (long y = 0; y + side <= (long)grid->rows; y += step)
            for (long x = 0; x + side <= (long)grid->columns; x += step) {
                if (labs(y - lesion->y) > REACH || labs(x - lesion->x) > REACH)
                    continue;
                patch_describe(grid, mirrored ? world->room.mirror : world->room.cells, (size_t)y,
                               (size_t)x, (size_t)step, row);
                double score =
                    patch_product(row, search->rows + l * search->features, search->features);
                if (score > (double)best.score)
                    best = (struct lesion_place){ (float)score, (int16_t)y, (int16_t)x, mirrored };
            }
    return best;
}

static void find_all(struct world *world, double floor, struct lesion_place *places)
{
    double floors[PANEL_IMAGES];
    for (size_t l = 0; l < PANEL_IMAGES; l++)
        floors[l] = floor;
    for (size_t first = 0; first < world->search->count; first += PANEL_IMAGES)
        lesion_find(world->search, &world->room.finder, first / PANEL_IMAGES, floors,
                    places + first);
}

static void the_place_is_the_best_of_all_in_reach(void **state)
{
    (void)state;
    struct world world;
    struct lesion_place places[LESIONS + PANEL_IMAGES];
    bool scales[SCALES + 1] = { false };
    world_make(&world);
    assert_true(world.search->count > LESIONS / 2);
    for (size_t q = 0; q < ASKED; q++) {
        read(&world, q);
        find_all(&world, -INFINITY, places);
        for (size_t l = 0; l < world.search->count; l++) {
            struct lesion_place slow = slow_place(&world, l);
            scales[world.search->lesions[l].scale] = true;
            assert_float_equal(places[l].score, slow.score, 1e-5);
            if (slow.score > 0.99f) { /* else another may be as good but for rounding */
                assert_int_equal(places[l].y, slow.y);
                assert_int_equal(places[l].x, slow.x);
                assert_int_equal(places[l].mirrored, slow.mirrored);
            }
        }
    }
    for (size_t scale = 1; scale <= SCALES; scale++)
        assert_true(scales[scale]);
    world_free(&world);
}

static void what_reaches_its_floor_is_found_as_without_one(void **state)
{
    (void)state;
    struct world world;
    struct lesion_place all[LESIONS + PANEL_IMAGES], places[LESIONS + PANEL_IMAGES];
    size_t left_out = 0;
    world_make(&world);
    for (size_t q = 0; q < ASKED; q++) {
        read(&world, q);
        find_all(&world, -INFINITY, all);
        for (int tenths = 3; tenths < 10; tenths += 3) {
            double floor = tenths / 10.0;
            find_all(&world, floor, places);
            for (size_t l = 0; l < world.search->count; l++) {
                bool found = places[l].score >= -1;
                left_out += !found;
                assert_true(found || (double)all[l].score < floor);
                if (found)
                    assert_memory_equal(&places[l].score, &all[l].score, sizeof(float));
                if (found)
                    assert_true(places[l].y == all[l].y && places[l].x == all[l].x &&
                                places[l].mirrored == all[l].mirrored);
            }
        }
        find_all(&world, INFINITY, places);
        for (size_t l = 0; l < world.search->count; l++)
            assert_true(places[l].score < -1);
    }
    assert_true(left_out > 0);
    world_free(&world);
}

/* Of an image that repeats itself: the same square every few cells; its mirror image is dark. */
static void of_equal_places_the_first_counts(void **state)
{
    (void)state;
    enum { PERIOD = 8 };
    struct world world;
    struct lesion_place places[LESIONS + PANEL_IMAGES];
    size_t looked_at = 0;
    world_make(&world);
    const struct grid *grid = &world.search->grid;
    for (size_t i = 0; i < grid_cells(grid); i++) {
        size_t r = i / grid->columns % PERIOD, c = i % grid->columns % PERIOD;
        world.room.cells[i] = (float)random_normal(5, random_stream("cells"), r * PERIOD + c);
        world.room.mirror[i] = 0;
    }
    lesion_finder_read(world.search, &world.room.finder, world.room.cells, world.room.mirror);
    find_all(&world, -INFINITY, places);
    for (size_t l = 0; l < world.search->count; l++) {
        const struct lesion *lesion = &world.search->lesions[l];
        long top = lesion->y - REACH, left = lesion->x - REACH;
        if (lesion->scale != 1)
            continue;
        looked_at++;
        assert_false(places[l].mirrored);
        assert_true(places[l].y >= 0 && places[l].y - PERIOD < (top > 0 ? top : 0));
        assert_true(places[l].x >= 0 && places[l].x - PERIOD < (left > 0 ? left : 0));
    }
    assert_true(looked_at > 0);
    world_free(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_place_is_the_best_of_all_in_reach),
        cmocka_unit_test(what_reaches_its_floor_is_found_as_without_one),
        cmocka_unit_test(of_equal_places_the_first_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
