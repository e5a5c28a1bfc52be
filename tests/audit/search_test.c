#include "images.h"
#include "scratch.h"

#include "audit/exact.h"
#include "base/parallel.h"
#include "data/phantom.h"

#include <stdio.h>

/* The same tests, compiled for the certified engine on a device (tests/audit/CMakeLists.txt). */
#ifndef SEARCH_DEVICE
#define SEARCH_DEVICE NULL
#endif

static struct search *open_search(const struct image_set *queries, const struct image_set *database,
                                  const struct search_settings *settings, struct error *err)
{
    struct search_settings here = *settings;
    here.device = SEARCH_DEVICE;
    return search_open(queries, database, &here, err);
}

/* ---- the answer, by brute force ------------------------------------------------------------- */

static int by_rank(const void *a, const void *b)
{
    const struct neighbour *x = a, *y = b;
    if (x->correlation != y->correlation)
        return x->correlation > y->correlation ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

/* All candidates of a query in order. Returns how many there are. */
static size_t brute_force(const struct image_set *queries, size_t query,
                          const struct image_set *database, const struct search_settings *settings,
                          struct neighbour *out)
{
    struct pixels pixels;
    struct moments mx, my;
    size_t found = 0;
    pixels_init(&pixels, database->type, database->channels, database->height * database->width,
                settings->channels ? settings->channels : UINT64_MAX);
    assert_true(exact_moments(&pixels, image_bytes(queries, query), &mx));
    for (size_t id = 0; id < database->count; id++) {
        if (settings->other_groups &&
            (queries->groups[query] == database->groups[id] ||
             (queries->avoid && queries->avoid[query] == database->groups[id])))
            continue;
        assert_true(exact_moments(&pixels, image_bytes(database, id), &my));
        out[found++] = (struct neighbour){ exact_correlation(&pixels, image_bytes(queries, query),
                                                             &mx, image_bytes(database, id), &my),
                                           id };
    }
    qsort(out, found, sizeof *out, by_rank);
    return found;
}

static void run_shard(const struct image_set *queries, const struct image_set *database,
                      const struct search_settings *settings, size_t first, size_t count,
                      struct search_result *result)
{
    struct error err;
    struct search *search = open_search(queries, database, settings, &err);
    assert_ok(search, err);
    assert_ok(search_run(search, first, count, result, &err), err);
    search_close(search);
}

static void assert_same_neighbours(const struct search_result *a, const struct search_result *b)
{
    assert_int_equal(a->count, b->count);
    assert_int_equal(a->neighbours, b->neighbours);
    for (size_t i = 0; i < a->count * a->neighbours; i++) {
        if (a->nearest[i].id != b->nearest[i].id ||
            a->nearest[i].correlation != b->nearest[i].correlation)
            fail_msg("query %zu rank %zu: %zu with %.17g, or %zu with %.17g", i / a->neighbours,
                     i % a->neighbours, (size_t)a->nearest[i].id, a->nearest[i].correlation,
                     (size_t)b->nearest[i].id, b->nearest[i].correlation);
    }
}

/* Every engine gives brute force's ids and bits, and textbook correlations to 1e-12. */
static void check_engines(const struct image_set *queries, const struct image_set *database,
                          struct search_settings settings)
{
    struct neighbour *expected = calloc(database->count, sizeof *expected);
    struct search_result result;
    for (enum engine engine = 0; engine < ENGINE_COUNT; engine++) {
        if (engine_missing(engine))
            continue;
        settings.engine = engine;
        run_shard(queries, database, &settings, 0, queries->count, &result);
        for (size_t q = 0; q < queries->count; q++) {
            brute_force(queries, q, database, &settings, expected);
            for (size_t r = 0; r < settings.neighbours; r++) {
                struct neighbour found = result.nearest[q * settings.neighbours + r];
                if (found.id != expected[r].id || found.correlation != expected[r].correlation)
                    fail_msg("%s: query %zu rank %zu is %zu with %.17g, expected %zu with %.17g",
                             engine_names[engine], q, r, (size_t)found.id, found.correlation,
                             (size_t)expected[r].id, expected[r].correlation);
                assert_float_equal(
                    found.correlation,
                    slow_correlation(queries, q, database, found.id,
                                     settings.channels ? settings.channels : UINT64_MAX),
                    1e-12);
            }
        }
        assert_true(result.certificate.pairs >= result.certificate.evaluated);
        assert_int_equal(result.certificate.queries, queries->count);
        search_result_release(&result);
    }
    free(expected);
}

static void check_texture(enum texture texture, size_t channels, size_t height, size_t width,
                          enum element_type type, size_t database_count, size_t k)
{
    struct image_set queries =
        images_make("queries", texture, 20, channels, height, width, type, 1);
    struct image_set database =
        images_make("database", texture, database_count, channels, height, width, type, 2);
    check_engines(&queries, &database, (struct search_settings){ .neighbours = k });
    images_free(&queries);
    images_free(&database);
}

/* ---- the same answer ------------------------------------------------------------------------- */

static void engines_agree_on_noise(void **state)
{
    (void)state;
    check_texture(TEXTURE_NOISE, 1, 64, 64, ELEMENT_UINT8, 90, 3);
    check_texture(TEXTURE_NOISE, 4, 24, 40, ELEMENT_UINT8, 90, 1);
}

static void engines_agree_on_smooth_images(void **state)
{
    (void)state;
    check_texture(TEXTURE_SMOOTH, 1, 64, 64, ELEMENT_UINT8, 150, 6);
    check_texture(TEXTURE_SMOOTH_AND_NOISE, 4, 40, 64, ELEMENT_UINT8, 150, 6);
    check_texture(TEXTURE_SMOOTH_AND_NOISE, 1, 256, 256, ELEMENT_UINT8, 30, 2);
}

static void engines_agree_on_other_types(void **state)
{
    (void)state;
    check_texture(TEXTURE_SMOOTH_AND_NOISE, 2, 33, 47, ELEMENT_UINT16, 90, 4);
    check_texture(TEXTURE_SMOOTH_AND_NOISE, 2, 33, 47, ELEMENT_FLOAT16, 90, 4);
}

static void engines_agree_on_tiny_and_odd_sizes(void **state)
{
    (void)state;
    static const size_t sizes[][2] = { { 1, 2 }, { 8, 8 }, { 1, 50 }, { 9, 7 }, { 31, 3 } };
    for (size_t s = 0; s < 5; s++)
        check_texture(TEXTURE_NOISE, 1, sizes[s][0], sizes[s][1], ELEMENT_UINT8, 40, 3);
}

/* Slices of two phantoms each, as different heads. */
static struct image_set phantom_slices_of(const char *name, uint64_t seed)
{
    enum { SIZE = 64, SUBJECTS = 3, SLICES = 20 };
    struct image_set set =
        images_make(name, TEXTURE_NOISE, SUBJECTS * SLICES, 4, SIZE, SIZE, ELEMENT_UINT8, 1);
    struct error err;
    struct phantom phantom;
    for (size_t s = 0; s < SUBJECTS; s++) {
        assert_ok(phantom_generate(&(struct phantom_settings){ .size = SIZE, .seed = seed }, s,
                                   &phantom, &err),
                  err);
        size_t plane = SIZE * SIZE, first = (phantom.slices - SLICES) / 2;
        for (size_t z = 0; z < SLICES; z++) {
            unsigned char *out = image_bytes(&set, s * SLICES + z);
            for (int m = 0; m < PHANTOM_MODALITIES; m++)
                for (size_t e = 0; e < plane; e++) {
                    int value = phantom.image[m][(first + z) * plane + e] / 4;
                    *out++ = (uint8_t)(value > 255 ? 255 : value);
                }
        }
        phantom_release(&phantom);
    }
    return set;
}

static void engines_agree_on_heads_jointly_and_by_channel(void **state)
{
    (void)state;
    struct image_set queries = phantom_slices_of("queries", 1),
                     database = phantom_slices_of("database", 2);
    for (uint64_t channels = 0; channels < 16; channels += 5)
        check_engines(&queries, &database,
                      (struct search_settings){ .neighbours = 6, .channels = channels });
    images_free(&queries);
    images_free(&database);
}

/* Copies of one image that differ by a single step in one pixel: correlations equal to 1e-7, many
 * of them equal in double precision too, and in single precision nearly all. */
static struct image_set near_ties(const char *name, size_t count, uint64_t seed)
{
    struct image_set set =
        images_make(name, TEXTURE_SMOOTH_AND_NOISE, count, 1, 48, 48, ELEMENT_UINT8, seed);
    for (size_t i = 1; i < count; i++) {
        unsigned char *image = image_bytes(&set, i);
        memcpy(image, image_bytes(&set, 0), 48 * 48);
        if (i % 3) /* every third one is an exact duplicate */
            image[random_below(9, seed, i, 48 * 48)] ^= 1;
    }
    return set;
}

static void near_ties_and_duplicates_come_in_exact_order_then_by_id(void **state)
{
    (void)state;
    struct image_set database = near_ties("database", 120, 4),
                     queries = near_ties("queries", 15, 4);
    for (size_t k = 1; k <= 120; k += 17)
        check_engines(&queries, &database, (struct search_settings){ .neighbours = k });
    images_free(&queries);
    images_free(&database);
}

static void constant_images_are_ranked_by_rule(void **state)
{
    (void)state;
    struct image_set database =
        images_make("database", TEXTURE_SMOOTH, 40, 2, 16, 16, ELEMENT_UINT8, 3);
    for (size_t i = 0; i < 40; i += 3)
        memset(image_bytes(&database, i), i % 2 ? 0 : 77, 512);
    check_engines(&database, &database, (struct search_settings){ .neighbours = 12 });
    /* One channel is constant in images that vary in the other. */
    memset(image_bytes(&database, 1), 9, 256);
    check_engines(&database, &database,
                  (struct search_settings){ .neighbours = 40, .channels = 1 });
    images_free(&database);
}

static void all_images_zero_is_answered_by_id(void **state)
{
    (void)state;
    struct image_set set = images_make("zero", TEXTURE_NOISE, 9, 1, 16, 16, ELEMENT_UINT8, 3);
    struct search_result result;
    memset(image_bytes(&set, 0), 0, 9 * 256);
    check_engines(&set, &set, (struct search_settings){ .neighbours = 9 });
    run_shard(&set, &set, &(struct search_settings){ .neighbours = 9 }, 8, 1, &result);
    for (size_t r = 0; r < 9; r++) {
        assert_int_equal(result.nearest[r].id, r);
        assert_true(result.nearest[r].correlation == 1);
    }
    search_result_release(&result);
    images_free(&set);
}

static void k_may_be_the_whole_set(void **state)
{
    (void)state;
    check_texture(TEXTURE_SMOOTH_AND_NOISE, 1, 32, 32, ELEMENT_UINT8, 70, 70);
    check_texture(TEXTURE_SMOOTH, 1, 32, 32, ELEMENT_UINT8, 1, 1);
}

static void neighbours_of_the_same_group_are_left_out(void **state)
{
    (void)state;
    struct image_set set = near_ties("set", 60, 5);
    uint32_t *groups = calloc(60, sizeof *groups);
    for (uint32_t i = 0; i < 60; i++)
        groups[i] = i < 40 ? UINT32_MAX : i / 7;
    set.groups = groups;
    check_engines(&set, &set, (struct search_settings){ .neighbours = 20, .other_groups = true });
    images_free(&set);
}

static void a_second_group_may_be_left_out(void **state)
{
    (void)state;
    struct image_set set = near_ties("set", 60, 5);
    uint32_t *groups = calloc(60, sizeof *groups), *avoid = calloc(60, sizeof *avoid);
    for (uint32_t i = 0; i < 60; i++) {
        groups[i] = i / 7;
        avoid[i] = (i * 5) % 9; /* sometimes the same */
    }
    set.groups = groups;
    set.avoid = avoid;
    check_engines(&set, &set, (struct search_settings){ .neighbours = 20, .other_groups = true });
    images_free(&set);
}

static void rows_choose_images_of_a_larger_array(void **state)
{
    (void)state;
    struct image_set queries =
        images_make("queries", TEXTURE_SMOOTH_AND_NOISE, 90, 1, 32, 32, ELEMENT_UINT8, 1);
    struct image_set database =
        images_make("database", TEXTURE_SMOOTH_AND_NOISE, 400, 1, 32, 32, ELEMENT_UINT8, 2);
    uint32_t *some = calloc(30, sizeof *some), *others = calloc(133, sizeof *others);
    for (uint32_t i = 0; i < 30; i++)
        some[i] = 3 * i + 1;
    for (uint32_t i = 0; i < 133; i++)
        others[i] = 3 * i;
    queries.rows = some;
    queries.count = 30;
    database.rows = others;
    database.count = 133;
    check_engines(&queries, &database, (struct search_settings){ .neighbours = 5 });
    images_free(&queries);
    images_free(&database);
}

static void a_prepared_database_answers_other_queries(void **state)
{
    (void)state;
    struct image_set queries =
        images_make("queries", TEXTURE_SMOOTH_AND_NOISE, 20, 1, 32, 32, ELEMENT_UINT8, 1);
    struct image_set database =
        images_make("database", TEXTURE_SMOOTH_AND_NOISE, 200, 1, 32, 32, ELEMENT_UINT8, 2);
    uint32_t *groups = calloc(200, sizeof *groups);
    for (uint32_t i = 0; i < 200; i++)
        groups[i] = i / 10;
    database.groups = groups;
    for (enum engine engine = 0; engine < ENGINE_COUNT; engine++) {
        if (engine_missing(engine))
            continue;
        struct search_settings settings = { .engine = engine, .neighbours = 2 };
        struct search_result expected, seen;
        struct error err;
        struct search *search = open_search(&queries, &database, &settings, &err);
        assert_ok(search, err);
        assert_ok(search_ask(search, &database, 7, true, &err), err);
        assert_ok(search_run(search, 0, 200, &seen, &err), err);
        settings = (struct search_settings){ engine, 7, 0, true, 0 };
        run_shard(&database, &database, &settings, 0, 200, &expected);
        assert_same_neighbours(&expected, &seen);
        search_result_release(&expected);
        search_result_release(&seen);
        assert_false(search_ask(search, &queries, 201, false, &err));
        assert_contains(err.message, "ask for 1 … 200");
        search_close(search);
    }
    images_free(&queries);
    images_free(&database);
}

static void unaligned_rows_and_many_blocks_change_nothing(void **state)
{
    (void)state;
    struct image_set queries =
        images_make("queries", TEXTURE_SMOOTH_AND_NOISE, 50, 1, 32, 32, ELEMENT_UINT8, 1);
    struct image_set database =
        images_make("database", TEXTURE_SMOOTH_AND_NOISE, 601, 1, 32, 32, ELEMENT_UINT8, 2);
    check_engines(&queries, &database, (struct search_settings){ .neighbours = 5, .memory = 1 });
    images_free(&queries);
    images_free(&database);
}

static void results_do_not_depend_on_threads_or_shards(void **state)
{
    (void)state;
    struct image_set queries =
        images_make("queries", TEXTURE_SMOOTH_AND_NOISE, 45, 1, 48, 48, ELEMENT_UINT8, 1);
    struct image_set database =
        images_make("database", TEXTURE_SMOOTH_AND_NOISE, 333, 1, 48, 48, ELEMENT_UINT8, 2);
    struct search_settings settings = { .neighbours = 4 };
    struct search_result expected;
    int threads = parallel_threads();
    run_shard(&queries, &database, &settings, 0, 45, &expected);
    for (int t = 1; t <= 3; t++) {
        parallel_set_threads(t);
        for (size_t size = 1; size <= 45; size += 13) {
            struct error err;
            struct search_result shards[45], joined;
            size_t count = 0;
            struct search *search = open_search(&queries, &database, &settings, &err);
            assert_ok(search, err);
            for (size_t first = 0; first < 45; first += size, count++)
                assert_ok(search_run(search, first, first + size < 45 ? size : 45 - first,
                                     &shards[count], &err),
                          err);
            search_close(search);
            assert_ok(search_merge(shards, count, 45, &joined, &err), err);
            assert_same_neighbours(&joined, &expected);
            assert_int_equal(joined.certificate.pairs, expected.certificate.pairs);
            for (size_t s = 0; s < count; s++)
                search_result_release(&shards[s]);
            search_result_release(&joined);
        }
    }
    parallel_set_threads(threads);
    search_result_release(&expected);
    images_free(&queries);
    images_free(&database);
}

static void mapped_files_are_searched_as_memory_is(void **state)
{
    (void)state;
    struct image_set set =
        images_make("set", TEXTURE_SMOOTH_AND_NOISE, 70, 1, 96, 96, ELEMENT_UINT8, 1);
    struct npy_writer writer;
    struct npy array;
    struct error err;
    assert_ok(npy_writer_open(&writer, scratch("images.npy"), ELEMENT_UINT8, 3,
                              (size_t[]){ 1, 96, 96 }, &err) &&
                  npy_writer_append(&writer, set.images, 70, &err) &&
                  npy_writer_commit(&writer, &err) && npy_open(&array, scratch("images.npy"), &err),
              err);
    struct image_set mapped = set;
    mapped.images = array.data;
    mapped.mapped = true;
    check_engines(&mapped, &mapped, (struct search_settings){ .neighbours = 3 });
    assert_memory_equal(mapped.images, set.images, 70 * 96 * 96);
    npy_close(&array);
    images_free(&set);
}

/* ---- the certificate ------------------------------------------------------------------------- */

static void smooth_images_are_mostly_ruled_out_and_noise_is_computed(void **state)
{
    (void)state;
    for (enum texture texture = 0; texture <= TEXTURE_SMOOTH; texture++) {
        struct image_set queries =
            images_make("queries", texture, 20, 1, 192, 192, ELEMENT_UINT8, 1);
        struct image_set database =
            images_make("database", texture, 200, 1, 192, 192, ELEMENT_UINT8, 2);
        struct search_result result;
        run_shard(&queries, &database, &(struct search_settings){ .neighbours = 1 }, 0, 20,
                  &result);
        const struct certificate *c = &result.certificate;
        assert_int_equal(c->pairs, 4000);
        assert_int_equal(c->level[0].bounded, 4000);
        size_t last = SEARCH_DEVICE ? 0 : 3; /* a device takes the longest heads at once */
        assert_int_equal(c->level[last].head, 4096);
        if (texture == TEXTURE_NOISE) {
            assert_int_equal(c->exhaustive_queries, 20);
            assert_int_equal(c->evaluated, 4000);
        } else {
            assert_int_equal(c->exhaustive_queries, 0);
            assert_true(c->evaluated < 400);
            assert_true(c->level[1].bounded >= c->level[2].bounded);
        }
        assert_true(c->level[0].slack >= c->level[last].slack &&
                    c->level[last].slack > c->rounding);
        search_result_release(&result);
        images_free(&queries);
        images_free(&database);
    }
}

/* ---- what is refused ------------------------------------------------------------------------- */

static void refuse(const struct image_set *queries, const struct image_set *database,
                   struct search_settings settings, const char *part)
{
    struct error err;
    assert_null(search_open(queries, database, &settings, &err));
    assert_contains(err.message, part);
}

static void sets_that_cannot_be_compared_are_refused(void **state)
{
    (void)state;
    struct image_set a = images_make("a", TEXTURE_NOISE, 5, 2, 8, 8, ELEMENT_UINT8, 1), b = a;
    struct search_settings one = { .neighbours = 1 };
    b.name = "b";
    b.width = 4;
    b.height = 16;
    refuse(&a, &b, one, "a has images of 2 × 8 × 8, b of 2 × 16 × 4");
    b = a;
    b.channels = 1;
    refuse(&a, &b, one, "only images of one shape");
    b = a;
    b.type = ELEMENT_UINT16;
    refuse(&a, &b, one, "only images of one type");
    b.type = ELEMENT_FLOAT32;
    refuse(&b, &b, one, "images of float32; expected uint8, uint16 or float16");
    b = a;
    b.count = 0;
    refuse(&a, &b, one, "holds no images");
    refuse(&b, &a, one, "holds no images");
    refuse(&a, &a, (struct search_settings){ .neighbours = 1, .channels = 5 }, "channel 2");
    images_free(&a);
}

static void more_neighbours_than_there_are_candidates_are_refused(void **state)
{
    (void)state;
    struct image_set a = images_make("a", TEXTURE_NOISE, 5, 1, 8, 8, ELEMENT_UINT8, 1);
    refuse(&a, &a, (struct search_settings){ .neighbours = 6 }, "ask for 1 … 5");
    refuse(&a, &a, (struct search_settings){ .neighbours = 0 }, "ask for 1 … 5");
    uint32_t *groups = calloc(5, sizeof *groups);
    groups[4] = 1;
    a.groups = groups;
    refuse(&a, &a, (struct search_settings){ .neighbours = 2, .other_groups = true },
           "outside its own group; ask for 1 … 1");
    images_free(&a);
}

static void pixels_that_are_not_numbers_are_refused(void **state)
{
    (void)state;
    struct error err;
    struct search_result result;
    struct image_set a = images_make("a", TEXTURE_NOISE, 5, 1, 8, 8, ELEMENT_FLOAT16, 1),
                     b = images_make("b", TEXTURE_NOISE, 5, 1, 8, 8, ELEMENT_FLOAT16, 2);
    ((uint16_t *)(void *)image_bytes(&a, 3))[7] = 0x7e00;
    for (enum engine engine = 0; engine < ENGINE_COUNT; engine++) {
        if (engine_missing(engine))
            continue;
        struct search_settings settings = { .engine = engine, .neighbours = 1 };
        refuse(&b, &a, settings, "a: image 3 has a pixel that is infinite or not a number");
        struct search *search = open_search(&a, &b, &settings, &err);
        assert_ok(search, err);
        assert_false(search_run(search, 0, 5, &result, &err));
        assert_contains(err.message, "a: image 3 has a pixel");
        assert_ok(search_run(search, 0, 3, &result, &err), err);
        search_result_release(&result);
        search_close(search);
    }
    images_free(&a);
    images_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(engines_agree_on_noise),
        cmocka_unit_test(engines_agree_on_smooth_images),
        cmocka_unit_test(engines_agree_on_other_types),
        cmocka_unit_test(engines_agree_on_tiny_and_odd_sizes),
        cmocka_unit_test(engines_agree_on_heads_jointly_and_by_channel),
        cmocka_unit_test(near_ties_and_duplicates_come_in_exact_order_then_by_id),
        cmocka_unit_test(constant_images_are_ranked_by_rule),
        cmocka_unit_test(all_images_zero_is_answered_by_id),
        cmocka_unit_test(k_may_be_the_whole_set),
        cmocka_unit_test(neighbours_of_the_same_group_are_left_out),
        cmocka_unit_test(a_second_group_may_be_left_out),
        cmocka_unit_test(rows_choose_images_of_a_larger_array),
        cmocka_unit_test(a_prepared_database_answers_other_queries),
        cmocka_unit_test(unaligned_rows_and_many_blocks_change_nothing),
        cmocka_unit_test(results_do_not_depend_on_threads_or_shards),
        cmocka_unit_test_setup_teardown(mapped_files_are_searched_as_memory_is, scratch_make,
                                        scratch_remove),
        cmocka_unit_test(smooth_images_are_mostly_ruled_out_and_noise_is_computed),
        cmocka_unit_test(sets_that_cannot_be_compared_are_refused),
        cmocka_unit_test(more_neighbours_than_there_are_candidates_are_refused),
        cmocka_unit_test(pixels_that_are_not_numbers_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
