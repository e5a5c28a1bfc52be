#include "scratch.h"

#include "audit/search.h"

static struct search_result shard_of(size_t first, size_t count)
{
    struct search_result shard = { .first = first, .count = count, .neighbours = 2 };
    shard.nearest = calloc(2 * count, sizeof *shard.nearest);
    for (size_t i = 0; i < 2 * count; i++)
        shard.nearest[i] = (struct neighbour){ 1 / (double)(3 + 2 * first + i), 100 * first + i };
    shard.certificate =
        (struct certificate){ .queries = count,
                              .pairs = 1000 * count,
                              .evaluated = 7,
                              .level[1] = { 1024, 55, 0.125 + 0.5 / (double)(1 + first) },
                              .rounding = 1e-4 };
    return shard;
}

static void shards_join_in_any_order(void **state)
{
    (void)state;
    struct error err;
    struct search_result shards[] = { shard_of(5, 2), shard_of(0, 4), shard_of(4, 1) }, joined;
    assert_ok(search_merge(shards, 3, 7, &joined, &err), err);
    assert_int_equal(joined.count, 7);
    assert_int_equal(joined.nearest[0].id, 0);
    assert_int_equal(joined.nearest[8].id, 400);
    assert_int_equal(joined.nearest[13].id, 503);
    assert_int_equal(joined.certificate.queries, 7);
    assert_int_equal(joined.certificate.pairs, 7000);
    assert_int_equal(joined.certificate.level[1].bounded, 165);
    assert_true(joined.certificate.level[1].slack == 0.625);
    for (int s = 0; s < 3; s++)
        search_result_release(&shards[s]);
    search_result_release(&joined);
}

static void gaps_and_overlaps_are_refused(void **state)
{
    (void)state;
    struct error err;
    struct search_result a = shard_of(0, 4), b = shard_of(5, 2), c = shard_of(3, 2), joined;
    assert_false(search_merge((struct search_result[]){ a, b }, 2, 7, &joined, &err));
    assert_contains(err.message, "queries 4 … 4 are in no shard");
    assert_false(search_merge((struct search_result[]){ a, c }, 2, 5, &joined, &err));
    assert_contains(err.message, "queries 3 … 3 are in two shards");
    assert_false(search_merge((struct search_result[]){ a }, 1, 7, &joined, &err));
    assert_contains(err.message, "hold 4 queries, expected 7");
    assert_false(search_merge(NULL, 0, 7, &joined, &err));
    search_result_release(&a);
    search_result_release(&b);
    search_result_release(&c);
}

static void shards_come_back_from_disk_bit_by_bit(void **state)
{
    (void)state;
    struct error err;
    struct search_result shard = shard_of(3, 5), loaded;
    assert_ok(search_result_save(&shard, scratch("shard"), "a tag", &err), err);
    assert_ok(search_result_load(&loaded, scratch("shard"), "a tag", &err), err);
    assert_int_equal(loaded.first, 3);
    assert_int_equal(loaded.count, 5);
    assert_int_equal(loaded.neighbours, 2);
    assert_memory_equal(loaded.nearest, shard.nearest, 10 * sizeof *shard.nearest);
    assert_memory_equal(&loaded.certificate, &shard.certificate, sizeof shard.certificate);
    search_result_release(&loaded);
    search_result_release(&shard);
}

static void shards_of_another_search_are_refused(void **state)
{
    (void)state;
    struct error err;
    struct search_result shard = shard_of(3, 5), loaded;
    assert_ok(search_result_save(&shard, scratch("shard"), "a tag", &err), err);
    assert_false(search_result_load(&loaded, scratch("shard"), "another", &err));
    assert_contains(err.message, "a shard of another search (a tag, expected another)");
    assert_false(search_result_load(&loaded, scratch("none"), "a tag", &err));
    search_result_release(&shard);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shards_join_in_any_order),
        cmocka_unit_test(gaps_and_overlaps_are_refused),
        cmocka_unit_test_setup_teardown(shards_come_back_from_disk_bit_by_bit, scratch_make,
                                        scratch_remove),
        cmocka_unit_test_setup_teardown(shards_of_another_search_are_refused, scratch_make,
                                        scratch_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
