/* The certified engine on an emulated device: that blocks of every size, little memory and a matrix
 * unit that cuts change nothing, and that a device which breaks its promise is found out. The tests
 * of search_test.c run on it, too. */
#include "images.h"

#include "audit/engine.h"
#include "audit/short_rows.h"
#include "emulation.h"

#include <stdio.h>

/* ---- a device that is watched ---------------------------------------------------------------- */

static struct filter_plan seen_plan;
static size_t blocks, rounds, asked;
static double lie; /* taken off every bound */

static struct filter *watched_open(const struct filter_plan *plan, struct error *err)
{
    seen_plan = *plan;
    return emulated_filter()->open(plan, err);
}

static bool watched_bound(struct filter *filter, const struct filter_queries *queries,
                          const uint16_t *columns, struct error *err)
{
    blocks++;
    asked = queries->count;
    return emulated_filter()->bound(filter, queries, columns, err);
}

static bool watched_best(struct filter *filter, float *values, uint32_t *columns, struct error *err)
{
    bool ok = emulated_filter()->best(filter, values, columns, err);
    for (size_t i = 0; i < asked * seen_plan.stripes; i++)
        values[i] -= (float)lie;
    return ok;
}

static bool watched_collect(struct filter *filter, size_t first, size_t count,
                            struct filter_pair *pairs, struct error *err)
{
    rounds++;
    return emulated_filter()->collect(filter, first, count, pairs, err);
}

static const struct filter_methods *watched(void)
{
    static struct filter_methods methods;
    methods = *emulated_filter();
    methods.open = watched_open;
    methods.bound = watched_bound;
    methods.best = watched_best;
    methods.collect = watched_collect;
    blocks = rounds = 0;
    lie = 0;
    return &methods;
}

/* ---- the same answer ------------------------------------------------------------------------- */

static void search_all(const struct image_set *queries, const struct image_set *database,
                       struct search_settings settings, struct search_result *result)
{
    struct error err;
    struct search *search = search_open(queries, database, &settings, &err);
    assert_ok(search, err);
    assert_ok(search_run(search, 0, queries->count, result, &err), err);
    search_close(search);
}

static void assert_same(const struct search_result *a, const struct search_result *b)
{
    assert_int_equal(a->count, b->count);
    for (size_t i = 0; i < a->count * a->neighbours; i++) {
        assert_int_equal(a->nearest[i].id, b->nearest[i].id);
        assert_memory_equal(&a->nearest[i].correlation, &b->nearest[i].correlation, sizeof(double));
    }
}

/* Families of 48 that look alike but for noise: more than there are seeds, and in another order by
 * their bounds than by their values, so that what the filter leaves decides. */
static struct image_set families(const char *name, size_t count, uint64_t seed)
{
    enum { SIDE = 40, FAMILY = 48 };
    struct image_set set =
        images_make(name, TEXTURE_SMOOTH, count, 1, SIDE, SIDE, ELEMENT_UINT8, 7);
    unsigned char base[SIDE * SIDE];
    for (size_t i = 0; i < count; i++) {
        unsigned char *pixel = image_bytes(&set, i);
        if (i % FAMILY == 0)
            memcpy(base, pixel, sizeof base);
        for (size_t e = 0; e < sizeof base; e++) {
            double noise = 3 * random_normal(seed, 100 + i, e);
            pixel[e] = (uint8_t)fmin(255, fmax(0, round((double)base[e] + noise)));
        }
    }
    return set;
}

static void check_memory(size_t memory, bool resident, size_t least_blocks)
{
    struct image_set queries = families("queries", 70, 1), database = families("database", 1300, 2);
    struct search_result expected, seen;
    struct search_settings settings = { .neighbours = 3 };
    search_all(&queries, &database, settings, &expected);
    settings.device = watched();
    settings.device_memory = memory;
    search_all(&queries, &database, settings, &seen);
    assert_int_equal(seen_plan.resident, resident);
    assert_true(seen_plan.bytes <= (memory ? memory : SIZE_MAX));
    assert_true(blocks >= least_blocks && rounds >= least_blocks);
    assert_same(&expected, &seen);
    assert_int_equal(seen.certificate.exhaustive_queries, 0);
    assert_true(seen.certificate.evaluated < seen.certificate.pairs / 4);
    search_result_release(&expected);
    search_result_release(&seen);
    images_free(&queries);
    images_free(&database);
}

enum { SCRATCH = 32 << 20 };

static void memory_decides_on_blocks_and_never_on_the_answer(void **state)
{
    (void)state;
    check_memory(0, true, 1);                    /* at once */
    check_memory(SCRATCH + 5000000, true, 2);    /* columns stay, queries in blocks */
    check_memory(SCRATCH + (2 << 20), false, 3); /* columns come in passes, too */
    check_memory(SCRATCH + (5 << 17), false, 5); /* in the smallest blocks */
}

static void too_little_memory_is_refused_before_anything_is_done(void **state)
{
    (void)state;
    struct image_set set = families("set", 64, 1);
    struct search_settings settings = { .neighbours = 1,
                                        .device = watched(),
                                        .device_memory = 9999 };
    struct error err;
    assert_null(search_open(&set, &set, &settings, &err));
    assert_contains(err.message, "0.0 MB may be used");
    images_free(&set);
}

static void a_matrix_unit_that_cuts_changes_nothing(void **state)
{
    (void)state;
    struct image_set queries = families("queries", 40, 1), database = families("database", 500, 2);
    struct search_result expected, seen;
    struct search_settings settings = { .neighbours = 5 };
    search_all(&queries, &database, settings, &expected);
    settings.device = watched();
    for (int terms = 2; terms <= 16; terms *= 2) {
        emulation_cut(terms);
        search_all(&queries, &database, settings, &seen);
        emulation_cut(0);
        assert_same(&expected, &seen);
        search_result_release(&seen);
    }
    search_result_release(&expected);
    images_free(&queries);
    images_free(&database);
}

static void more_pairs_than_there_is_room_for_come_in_rounds(void **state)
{
    (void)state;
    struct image_set set = families("set", 600, 3);
    struct search_result expected, seen;
    struct search_settings settings = { .neighbours = 30 }; /* about 8 % of all pairs are left */
    search_all(&set, &set, settings, &expected);
    settings.device = watched();
    search_all(&set, &set, settings, &seen);
    assert_same(&expected, &seen);
    assert_int_equal(seen.certificate.exhaustive_queries, 0);
    assert_int_equal(blocks, 1);
    assert_true(rounds > 1);
    search_result_release(&expected);
    search_result_release(&seen);
    images_free(&set);
}

static void a_device_that_breaks_its_promise_is_found_out(void **state)
{
    (void)state;
    struct image_set set = families("set", 100, 3);
    struct search_settings settings = { .neighbours = 1, .device = watched() };
    struct search_result result;
    struct error err;
    struct search *search = search_open(&set, &set, &settings, &err);
    assert_ok(search, err);
    lie = 0.1;
    assert_false(search_run(search, 0, 100, &result, &err));
    assert_contains(err.message, "a bound below the correlation");
    search_close(search);
    images_free(&set);
}

/* ---- rows and their products ----------------------------------------------------------------- */

/* Every row's product, cut as badly as may be, is a bound; and it is not off by more than is said.
 */
static void bounds_hold_however_products_are_summed(void **state)
{
    (void)state;
    struct image_set set = families("set", 64, 5);
    struct search_settings settings = { .neighbours = 1 };
    struct error err;
    struct search *search = search_open(&set, &set, &settings, &err);
    assert_ok(search, err);
    struct heads heads;
    struct short_rows rows;
    assert_ok(heads_init(&heads, search, &err), err);
    short_rows_init(&rows, &heads);
    uint16_t *x = calloc(64 * rows.length, sizeof *x), *y = calloc(64 * rows.length, sizeof *y);
    short_rows_of(&rows, search, &set, SIDE_QUERY, 0, 64, search->moments, x);
    short_rows_of(&rows, search, &set, SIDE_DATABASE, 0, 64, search->moments, y);
    struct filter_size size = {
        .columns = 64, .length = rows.length, .queries = 64, .stripes = 64, .memory = SCRATCH * 2
    };
    struct filter_plan plan;
    const struct filter_methods *device = emulated_filter();
    assert_ok(device->plan(&size, &plan, &err), err);
    struct filter *filter = device->open(&plan, &err);
    assert_ok(filter, err);
    device->set_columns(filter, 0, 64, y);
    float *values = calloc(64 * 64, sizeof *values);
    uint32_t *ids = calloc(64 * 64, sizeof *ids);
    emulation_cut(2);
    struct filter_queries queries = { .count = 64, .rows = x };
    assert_ok(device->bound(filter, &queries, NULL, &err) &&
                  device->best(filter, values, ids, &err),
              err);
    emulation_cut(0);
    for (size_t q = 0; q < 64; q++)
        for (size_t j = 0; j < 64; j++) {
            double exact = 0, sum = 0, r, bound = (double)values[q * 64 + j];
            for (size_t k = 0; k < rows.length; k++) {
                double term = (double)bf16_to_float(x[q * rows.length + k]) *
                              (double)bf16_to_float(y[j * rows.length + k]);
                exact += term;
                sum += fabs(term);
            }
            r = exact_correlation(&search->pixels, image_at(search, &set, q), &search->moments[q],
                                  image_at(search, &set, j), &search->moments[j]);
            assert_int_equal(ids[q * 64 + j], j);
            assert_true(r <= bound + rows.rounding);
            assert_true(sum <= 1.1);
            assert_true(fabs(bound - exact) <= short_sum_error(rows.length) * sum);
        }
    device->close(filter);
    free(x);
    free(y);
    free(values);
    free(ids);
    heads_release(&heads);
    search_close(search);
    images_free(&set);
}

/* ---- the filter alone ------------------------------------------------------------------------ */

/* Rows of one number that differ, so that a product is known: pairs come by query, then by column,
 * across all edges of chunks, and without those of a group. */
static void pairs_come_in_order_across_chunks(void **state)
{
    (void)state;
    enum { COLUMNS = 2500, QUERIES = 5, LENGTH = 64 };
    const struct filter_methods *device = emulated_filter();
    struct filter_size size = {
        .columns = COLUMNS, .length = LENGTH, .queries = QUERIES, .stripes = 256
    };
    struct filter_plan plan;
    struct error err;
    assert_ok(device->plan(&size, &plan, &err), err);
    struct filter *filter = device->open(&plan, &err);
    assert_ok(filter, err);
    uint16_t *columns = calloc(COLUMNS * LENGTH, sizeof *columns), rows[QUERIES * LENGTH] = { 0 };
    uint32_t *groups = calloc(COLUMNS, sizeof *groups), group[QUERIES], avoid[QUERIES];
    for (size_t j = 0; j < COLUMNS; j++) {
        columns[j * LENGTH] = bf16_from_float((float)(j * 37 % 101));
        groups[j] = (uint32_t)(j % 7);
    }
    float bars[QUERIES];
    for (size_t q = 0; q < QUERIES; q++) {
        rows[q * LENGTH] = bf16_from_float((float)q);
        bars[q] = 90.0f * (float)q;
        group[q] = (uint32_t)q;
        avoid[q] = 6;
    }
    device->set_columns(filter, 0, COLUMNS, columns);
    assert_ok(device->set_groups(filter, groups, &err), err);
    struct filter_queries queries = { QUERIES, rows, group, avoid };
    uint64_t counts[QUERIES], total = 0;
    assert_ok(device->bound(filter, &queries, NULL, &err) &&
                  device->count(filter, bars, counts, &err),
              err);
    struct filter_pair *pairs = calloc(plan.pairs, sizeof *pairs);
    for (size_t q = 0; q < QUERIES; q++) {
        uint64_t found = 0;
        assert_ok(device->collect(filter, q, 1, pairs, &err), err);
        for (uint32_t j = 0; j < COLUMNS; j++) {
            float bound = (float)(j * 37 % 101) * (float)q;
            if (bound < bars[q] || groups[j] == group[q] || groups[j] == avoid[q])
                continue;
            assert_int_equal(pairs[found].column, j);
            assert_true(pairs[found++].bound == bound);
        }
        assert_int_equal(found, counts[q]);
        total += found;
    }
    assert_true(total > 1000);
    free(columns);
    free(groups);
    free(pairs);
    device->close(filter);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_decides_on_blocks_and_never_on_the_answer),
        cmocka_unit_test(too_little_memory_is_refused_before_anything_is_done),
        cmocka_unit_test(a_matrix_unit_that_cuts_changes_nothing),
        cmocka_unit_test(more_pairs_than_there_is_room_for_come_in_rounds),
        cmocka_unit_test(a_device_that_breaks_its_promise_is_found_out),
        cmocka_unit_test(bounds_hold_however_products_are_summed),
        cmocka_unit_test(pairs_come_in_order_across_chunks),
    };
    return cmocka_run_group_tests_name("audit/device", tests, NULL, NULL);
}
