/* Bounds by heads never keep a tile from being found: each probe has the very subjects that it has
 * when every tile is scored. */
#include "spots.h"

#include "audit/queries.h"
#include "audit/tile_parts.h"

enum { MANY = 64, ASKED = 20 };

/* Hits of all probes of all queries, mirror images too, with heads and without. */
static void check(struct image_set *database, struct image_set *queries, bool other_groups)
{
    struct tile_settings settings = { .other_groups = other_groups };
    struct error err;
    struct arena arena;
    struct picture picture;
    struct patch_level level;
    struct heads_room room;
    struct probes found[ASKED], all[ASKED];
    struct tile_search *search = tile_open(queries, database, &settings, &err);
    assert_ok(search, err);
    arena_init(&arena);
    picture_init(&picture, &search->grid, &arena);
    heads_room_init(&room, search, ASKED, &arena);
    for (size_t q = 0; q < queries->count; q++) {
        struct probes *const both[] = { &found[q], &all[q] };
        for (int b = 0; b < 2; b++) {
            probes_init(both[b], search, &arena);
            both[b]->own = queries->groups ? queries->groups[q] : 0;
            if (patch_read(&search->grid, set_image(&search->pixels, queries, q), picture.cells,
                           &level))
                probes_take(search, &picture, false, both[b]);
        }
        for (size_t p = 0; p < all[q].count; p++)
            probe_tiles(search, &all[q], p, 0, search->count);
    }
    tile_heads_probe(search, &room, found, queries->count);
    for (size_t q = 0; q < queries->count; q++)
        for (size_t p = 0; p < all[q].count; p++) {
            const struct probe *a = &found[q].probe[p], *b = &all[q].probe[p];
            assert_int_equal(a->count, b->count);
            for (size_t h = 0; h < a->count; h++) {
                assert_int_equal(a->hits[h].tile, b->hits[h].tile);
                assert_memory_equal(&a->hits[h].score, &b->hits[h].score, sizeof(double));
            }
        }
    tile_close(search);
    arena_release(&arena);
}

static void every_probe_has_the_subjects_that_scoring_every_tile_gives(void **state)
{
    (void)state;
    struct image_set database = heads_make(MANY, 0), queries = heads_make(ASKED, 1000);
    uint32_t groups[MANY], own[ASKED];
    for (uint32_t i = 0; i < MANY; i++)
        groups[i] = i / SLICES;
    for (uint32_t q = 0; q < ASKED; q++)
        own[q] = q;
    for (size_t q = 0; q < ASKED; q += 3) /* copies, and pieces */
        draw_head(image_bytes(&queries, q), q);
    paste_spot(image_bytes(&queries, 1), image_bytes(&database, 11), 11, 3, -2, false);
    draw_head(image_bytes(&database, 51), 11); /* the same tiles twice */
    check(&database, &queries, false);
    database.groups = groups;
    queries.groups = own;
    check(&database, &queries, false);
    check(&database, &queries, true);
    database.groups = queries.groups = NULL;
    images_free(&database);
    images_free(&queries);
}

static void so_it_is_of_noise_of_several_channels_and_types(void **state)
{
    (void)state;
    const enum element_type types[] = { ELEMENT_UINT8, ELEMENT_UINT16, ELEMENT_FLOAT16 };
    for (size_t channels = 1; channels <= 5; channels += 2) {
        enum element_type type = types[channels / 2];
        struct image_set database = images_make("d", TEXTURE_NOISE, 24, channels, 40, 56, type, 3),
                         queries = images_make("q", TEXTURE_NOISE, 3, channels, 40, 56, type, 4);
        check(&database, &queries, false);
        images_free(&database);
        images_free(&queries);
    }
}

static void so_it_is_where_there_is_little_to_choose_heads_by(void **state)
{
    (void)state;
    struct image_set database = heads_make(3, 0), queries = heads_make(2, 1000);
    check(&database, &queries, false); /* fewer subjects than are kept */
    memset(image_bytes(&database, 0), 0, (size_t)3 * SIDE * SIDE);
    check(&database, &queries, false); /* no tiles at all */
    for (size_t i = 0; i < 3; i++)     /* one tile's worth: a flat square */
        for (size_t y = 40; y < 60; y++)
            memset(image_bytes(&database, i) + y * SIDE + 40, 200, 20);
    check(&database, &queries, false);
    images_free(&database);
    images_free(&queries);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_probe_has_the_subjects_that_scoring_every_tile_gives),
        cmocka_unit_test(so_it_is_of_noise_of_several_channels_and_types),
        cmocka_unit_test(so_it_is_where_there_is_little_to_choose_heads_by),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
