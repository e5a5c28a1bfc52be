/* References: who is in which half, and that nobody's being held out has a part in it. */
#include "scratch.h"

#include "fixture.h"
#include "train/batches.h"
#include "train/reference.h"

enum { COUNT = 21, PAIRS = 40 };
static const struct fixture usual = { .count = COUNT, .channels = 1, .height = 8, .width = 8 };

static struct dataset open_store(const struct fixture *fixture, const char *name)
{
    struct error err;
    struct dataset store;
    if (path_kind(scratch(name)) == PATH_NOTHING)
        assert_ok(fixture_write(fixture, scratch(name), &err), err);
    assert_ok(dataset_open(&store, scratch(name), &err), err);
    return store;
}

static struct reference drawn(const struct dataset *store, uint64_t seed, uint64_t number)
{
    struct error err;
    struct reference reference;
    assert_ok(reference_draw(store, seed, number, &reference, &err), err);
    return reference;
}

static void of_a_pair_each_leaves_out_whom_the_other_learns_from(void **state)
{
    (void)state;
    struct dataset store = open_store(&usual, "store");
    for (uint64_t pair = 0; pair < PAIRS; pair++) {
        struct reference one = drawn(&store, 7, 2 * pair + 1),
                         other = drawn(&store, 7, 2 * pair + 2);
        for (size_t i = 0; i < COUNT; i++)
            assert_true(one.learns[i] != other.learns[i]);
        assert_int_equal(one.people, other.people + COUNT % 2);
        assert_string_not_equal(one.half, other.half);
        reference_release(&one);
        reference_release(&other);
    }
    dataset_close(&store);
}

/* Of 400 halves each person is in one or the other about as often. */
static void every_pair_and_seed_shares_people_out_anew(void **state)
{
    (void)state;
    enum { SEEDS = 10 };
    struct dataset store = open_store(&usual, "store");
    int learnt[COUNT] = { 0 };
    for (uint64_t seed = 0; seed < SEEDS; seed++)
        for (uint64_t pair = 0; pair < PAIRS; pair++) {
            struct reference one = drawn(&store, seed, 2 * pair + 1);
            for (size_t i = 0; i < COUNT; i++)
                learnt[i] += one.learns[i];
            reference_release(&one);
        }
    for (size_t i = 0; i < COUNT; i++)
        assert_in_range(learnt[i], 160, 260); /* 210 expected, five standard deviations */
    dataset_close(&store);
}

/* Else a reference would tell who was held out, whatever the model that is asked about knows. */
static void who_is_held_out_has_no_part_in_it(void **state)
{
    (void)state;
    struct fixture all = usual;
    all.no_train = 1;
    struct dataset some = open_store(&usual, "store"), every = open_store(&all, "held-out");
    for (uint64_t number = 1; number <= PAIRS; number++) {
        struct reference one = drawn(&some, 3, number), other = drawn(&every, 3, number);
        assert_memory_equal(one.learns, other.learns, COUNT * sizeof(bool));
        assert_string_equal(one.half, other.half);
        reference_release(&one);
        reference_release(&other);
    }
    dataset_close(&some);
    dataset_close(&every);
}

static void batches_of_a_reference_are_of_its_half(void **state)
{
    (void)state;
    struct error err;
    struct dataset store = open_store(&usual, "store");
    struct reference reference = drawn(&store, 5, 2);
    struct batches *batches = batches_open(
        scratch("store"), &(struct batches_options){ .seed = 5, .reference = 2 }, &err);
    assert_ok(batches, err);
    assert_int_equal(batches_format(batches)->count, COUNT / 2);
    assert_string_equal(batches_format(batches)->half, reference.half);
    for (uint64_t k = 0; k < COUNT; k++) {
        bool mirrored;
        assert_true(reference.learns[batches_source(batches, k, &mirrored)]);
    }
    batches_free(batches);
    reference_release(&reference);
    dataset_close(&store);
}

static void without_anybody_held_out_there_is_none(void **state)
{
    (void)state;
    struct error err;
    struct reference reference;
    struct fixture one = usual;
    one.count = 1;
    struct dataset store = open_store(&one, "one");
    assert_false(reference_draw(&store, 1, 1, &reference, &err));
    assert_contains(err.message, "no images are held out");
    dataset_close(&store);
}

static void of_one_person_there_is_no_second_half(void **state)
{
    (void)state;
    struct error err;
    struct reference reference;
    struct fixture one = usual;
    one.count = 1;
    one.no_train = 1;
    struct dataset store = open_store(&one, "one");
    assert_false(reference_draw(&store, 1, 2, &reference, &err));
    assert_contains(err.message, "no second half");
    dataset_close(&store);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_make, scratch_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(of_a_pair_each_leaves_out_whom_the_other_learns_from),
        TEST(every_pair_and_seed_shares_people_out_anew),
        TEST(who_is_held_out_has_no_part_in_it),
        TEST(batches_of_a_reference_are_of_its_half),
        TEST(without_anybody_held_out_there_is_none),
        TEST(of_one_person_there_is_no_second_half),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
