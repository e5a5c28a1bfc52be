/* The search for pieces on an emulated device: the same bits as the processor's, whatever fits into
 * its memory; a device that breaks its promise is found out; and the maxima that it finds. */
#include "spots.h"

#include "audit/queries.h"
#include "audit/tile_parts.h"
#include "emulation.h"

#include <stdio.h>

enum { FEW = 20, MANY = 64, ASKED = 3 };

/* ---- a device that is watched ---------------------------------------------------------------- */

static struct maxima_plan seen_plan;
static size_t finds;
static float lie;   /* taken off every maximum */
static float loose; /* added to every other one: bounds still, but they tell less */

static struct maxima *watched_open(const struct maxima_plan *plan, struct error *err)
{
    seen_plan = *plan;
    return emulated_maxima()->open(plan, err);
}

static bool watched_find(struct maxima *maxima, const struct maxima_question *question,
                         const struct maxima_columns *columns, float *values, struct error *err)
{
    finds++;
    bool ok = emulated_maxima()->find(maxima, question, columns, values, err);
    for (size_t i = 0; i < question->values; i++)
        values[i] += i % 2 ? loose - lie : -lie;
    return ok;
}

static const struct maxima_methods *watched(void)
{
    static struct maxima_methods methods;
    methods = *emulated_maxima();
    methods.open = watched_open;
    methods.find = watched_find;
    finds = 0;
    lie = loose = 0;
    return &methods;
}

/* ---- the same answer ------------------------------------------------------------------------- */

/* Subjects of two heads each; three are asked, strangers but for a piece of head 11 in one. */
struct world {
    struct image_set database, queries;
    uint32_t groups[MANY], own[ASKED];
};

static void world_make(struct world *world, size_t count)
{
    world->database = heads_make(count, 0);
    world->queries = heads_make(ASKED, 1000);
    for (uint32_t i = 0; i < count; i++)
        world->groups[i] = i / SLICES;
    for (uint32_t q = 0; q < ASKED; q++)
        world->own[q] = 5 * q;
    world->database.groups = world->groups;
    world->queries.groups = world->own;
    paste_spot(image_bytes(&world->queries, 1), image_bytes(&world->database, 11), 11, 3, -2,
               false);
}

static void world_free(struct world *world)
{
    world->database.groups = world->queries.groups = NULL;
    images_free(&world->database);
    images_free(&world->queries);
}

static void search_all(const struct world *world, const struct tile_settings *settings,
                       struct tile_match match[ASKED])
{
    struct error err;
    struct tile_search *search = tile_open(&world->queries, &world->database, settings, &err);
    assert_ok(search, err);
    assert_ok(tile_run(search, 0, ASKED, match, &err), err);
    tile_close(search);
}

static void assert_same(const struct tile_match *a, const struct tile_match *b)
{
    assert_memory_equal(&a->correlation, &b->correlation, sizeof(double));
    assert_memory_equal(&a->local_ratio, &b->local_ratio, sizeof(double));
    assert_int_equal(a->id, b->id);
    assert_int_equal(a->mirrored, b->mirrored);
    assert_memory_equal(&a->query, &b->query, sizeof a->query);
    assert_memory_equal(&a->training, &b->training, sizeof a->training);
}

/* The processor's matches are the device's with so much memory, in so many questions. */
static void check_memory(const struct world *world, struct tile_settings settings, size_t memory,
                         bool resident, size_t questions)
{
    struct tile_match expected[ASKED], seen[ASKED];
    search_all(world, &settings, expected);
    settings.device = watched();
    settings.device_memory = memory;
    search_all(world, &settings, seen);
    assert_int_equal(seen_plan.resident, resident);
    assert_true(seen_plan.bytes <= (memory ? memory : SIZE_MAX));
    assert_int_equal(finds, questions);
    for (size_t q = 0; q < ASKED; q++)
        assert_same(&expected[q], &seen[q]);
    if (!settings.other_groups)
        assert_int_equal(seen[1].id, 11);
}

static void pieces_are_those_that_the_processor_finds(void **state)
{
    (void)state;
    struct world world;
    world_make(&world, FEW);
    check_memory(&world, (struct tile_settings){ 0 }, 0, true, 1);
    world_free(&world);
}

static void tiles_that_do_not_stay_pass_by(void **state)
{
    (void)state;
    struct world world;
    world_make(&world, FEW);
    check_memory(&world, (struct tile_settings){ 0 }, 100000, false, ASKED);
    world_free(&world);
}

static void the_own_subject_is_left_out_there_too(void **state)
{
    (void)state;
    struct world world;
    world_make(&world, FEW);
    check_memory(&world, (struct tile_settings){ .other_groups = true }, 0, true, 1);
    world_free(&world);
}

static void of_few_subjects_the_processor_compares_all(void **state)
{
    (void)state;
    struct world world;
    world_make(&world, FEW);
    for (size_t i = 0; i < FEW; i++)
        world.groups[i] = (uint32_t)i % 6;
    struct tile_match match[ASKED];
    search_all(&world, &(struct tile_settings){ .device = watched() }, match);
    assert_int_equal(finds, 0);
    world_free(&world);
}

static void too_little_memory_is_refused_before_anything_is_asked(void **state)
{
    (void)state;
    struct world world;
    struct error err;
    world_make(&world, FEW);
    struct tile_settings settings = { .device = watched(), .device_memory = 9999 };
    assert_null(tile_open(&world.queries, &world.database, &settings, &err));
    assert_contains(err.message, "0.0 MB may be used");
    world_free(&world);
}

static void a_device_that_breaks_its_promise_is_found_out(void **state)
{
    (void)state;
    struct world world;
    struct tile_match match[ASKED];
    struct error err;
    world_make(&world, FEW);
    struct tile_settings settings = { .device = watched() };
    struct tile_search *search = tile_open(&world.queries, &world.database, &settings, &err);
    assert_ok(search, err);
    lie = 1e-3f;
    assert_false(tile_run(search, 0, ASKED, match, &err));
    assert_contains(err.message, "a maximum below a score");
    tile_close(search);
    world_free(&world);
}

/* The hits of all probes, of which a match shows only the best. */
static void check_hits(const struct world *world, float looseness)
{
    struct tile_settings settings = { .device = watched() };
    struct error err;
    struct arena arena;
    struct picture picture;
    struct patch_level level;
    struct heads_room room;
    struct probes expected[ASKED], seen[ASKED];
    struct tile_search *search = tile_open(&world->queries, &world->database, &settings, &err);
    assert_ok(search, err);
    settings.device = NULL;
    struct tile_search *plain = tile_open(&world->queries, &world->database, &settings, &err);
    assert_ok(plain, err);
    arena_init(&arena);
    picture_init(&picture, &search->grid, &arena);
    heads_room_init(&room, plain, ASKED, &arena);
    for (size_t q = 0; q < ASKED; q++) {
        const void *image = set_image(&search->pixels, &search->queries, q);
        assert_true(patch_read(&search->grid, image, picture.cells, &level));
        probes_init(&expected[q], search, &arena);
        probes_init(&seen[q], search, &arena);
        probes_take(search, &picture, false, &expected[q]);
        probes_take(search, &picture, false, &seen[q]);
    }
    tile_heads_probe(plain, &room, expected, ASKED);
    loose = looseness;
    assert_ok(tile_device_probe(search, seen, ASKED, &err), err);
    for (size_t q = 0; q < ASKED; q++) {
        assert_true(expected[q].count > 20);
        for (size_t p = 0; p < expected[q].count; p++) {
            const struct probe *a = &expected[q].probe[p], *b = &seen[q].probe[p];
            assert_int_equal(a->count, b->count);
            assert_int_equal(a->count, STRANGERS + 1);
            for (size_t h = 0; h < a->count; h++) {
                assert_memory_equal(&a->hits[h].score, &b->hits[h].score, sizeof(double));
                assert_int_equal(a->hits[h].tile, b->hits[h].tile);
                assert_int_equal(a->hits[h].group, b->hits[h].group);
            }
        }
    }
    tile_close(search);
    tile_close(plain);
    arena_release(&arena);
}

static void every_tile_has_the_same_subjects_whatever_comes_first(void **state)
{
    (void)state;
    struct world world;
    world_make(&world, MANY);
    draw_head(image_bytes(&world.database, 51), 11); /* 11 again, of another subject */
    check_hits(&world, 0);
    check_hits(&world, 0.3f);
    check_hits(&world, 2);
    world_free(&world);
}

/* ---- maxima alone ---------------------------------------------------------------------------- */

enum { COLUMNS = 150, QUERIES = 70, LENGTH = 37, ALL_RUNS = 3, WITHIN = 4 };

static float columns[COLUMNS * LENGTH], rows[QUERIES * LENGTH];
static struct maxima_place column_places[COLUMNS], row_places[QUERIES];

static void fill(float *values, struct maxima_place *places, size_t count, uint64_t stream)
{
    for (size_t i = 0; i < count * LENGTH; i++)
        values[i] = (float)random_normal(3, stream, i);
    for (size_t i = 0; i < count; i++) {
        uint64_t bits = random_bits(3, stream + 1, i);
        places[i] = (struct maxima_place){ (int32_t)(bits % 11) - 5, (int32_t)(bits >> 8 & 7),
                                           (uint32_t)(bits >> 16 & 3), i % 2 };
    }
}

/* The largest product by plain loops, and what single precision may be off by. */
static double largest(size_t query, size_t run, double *error)
{
    const struct maxima_place *q = &row_places[query];
    double most = -INFINITY;
    *error = 0;
    for (size_t c = run * MAXIMA_RUN; c < (run + 1) * MAXIMA_RUN && c < COLUMNS; c++) {
        const struct maxima_place *p = &column_places[c];
        double product = 0, size = 0;
        if (abs(p->y - q->y) > WITHIN || abs(p->x - q->x) > WITHIN ||
            (q->apart && p->group == q->group))
            continue;
        for (size_t k = 0; k < LENGTH; k++) {
            double term = (double)rows[query * LENGTH + k] * (double)columns[c * LENGTH + k];
            product += term;
            size += fabs(term);
        }
        most = fmax(most, product);
        *error = fmax(*error, size * maxima_sum_error(LENGTH));
    }
    return most;
}

static void check_maxima(size_t memory, bool resident)
{
    static float values[QUERIES * ALL_RUNS];
    const struct maxima_methods *device = emulated_maxima();
    const struct maxima_columns all = { columns, column_places };
    /* the first 64, all runs; the others, the last two runs; of one, none */
    const struct maxima_item items[] = { { 0, MAXIMA_GROUP, 0, 3, 0 },
                                         { 64, 6, 1, 2, 192 },
                                         { 3, 1, 2, 0, 204 } };
    const struct maxima_question question = { QUERIES, 3, 204, rows, row_places, items };
    struct maxima_size size = { .columns = COLUMNS,
                                .length = LENGTH,
                                .reach = WITHIN,
                                .queries = QUERIES,
                                .values = QUERIES * ALL_RUNS,
                                .items = 3,
                                .times = 1,
                                .memory = memory };
    struct maxima_plan plan;
    struct error err;
    assert_ok(device->plan(&size, &plan, &err), err);
    assert_int_equal(plan.resident, resident);
    struct maxima *maxima = device->open(&plan, &err);
    assert_ok(maxima, err);
    if (resident)
        device->set_columns(maxima, &all);
    assert_ok(device->find(maxima, &question, &all, values, &err), err);
    for (size_t i = 0; i < 204; i++) {
        size_t query = i < 192 ? i / 3 : 64 + (i - 192) / 2,
               run = i < 192 ? i % 3 : 1 + (i - 192) % 2;
        double error, expected = largest(query, run, &error);
        if (expected == -INFINITY)
            assert_true(values[i] == -INFINITY);
        else
            assert_true(fabs((double)values[i] - expected) <= error);
    }
    device->close(maxima);
}

static void maxima_are_those_of_plain_loops(void **state)
{
    (void)state;
    size_t empty = 0;
    fill(columns, column_places, COLUMNS, 1);
    fill(rows, row_places, QUERIES, 5);
    row_places[2].y = 1000; /* nothing is within its reach */
    for (size_t run = 0; run < ALL_RUNS; run++) {
        double error;
        empty += largest(2, run, &error) == -INFINITY;
    }
    assert_int_equal(empty, ALL_RUNS);
    check_maxima(0, true);
    check_maxima(26000, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_are_those_that_the_processor_finds),
        cmocka_unit_test(tiles_that_do_not_stay_pass_by),
        cmocka_unit_test(the_own_subject_is_left_out_there_too),
        cmocka_unit_test(of_few_subjects_the_processor_compares_all),
        cmocka_unit_test(every_tile_has_the_same_subjects_whatever_comes_first),
        cmocka_unit_test(too_little_memory_is_refused_before_anything_is_asked),
        cmocka_unit_test(a_device_that_breaks_its_promise_is_found_out),
        cmocka_unit_test(maxima_are_those_of_plain_loops),
    };
    return cmocka_run_group_tests_name("audit/tile_device", tests, NULL, NULL);
}
