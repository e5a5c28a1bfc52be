/* Known answers: Random123's kat_vectors for philox4x32, 10 rounds. */
#include "test.h"

#include "base/random.h"

#include <math.h>

static void philox_gives_the_published_answers(void **state)
{
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], expected[4];
    } vectors[] = {
        { { 0, 0, 0, 0 }, { 0, 0 }, { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 } },
        { { ~0u, ~0u, ~0u, ~0u },
          { ~0u, ~0u },
          { 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd } },
        { { 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344 },
          { 0xa4093822, 0x299f31d0 },
          { 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 } },
    };
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        uint32_t output[4];
        philox4x32(vectors[i].counter, vectors[i].key, output);
        assert_memory_equal(output, vectors[i].expected, sizeof output);
    }
}

static void fills_do_not_depend_on_how_the_range_is_cut(void **state)
{
    (void)state;
    void (*fills[])(uint64_t, uint64_t, uint64_t, size_t, float *) = { random_fill_uniform,
                                                                       random_fill_normal };
    for (size_t kind = 0; kind < 2; kind++) {
        float whole[103], piece[103];
        fills[kind](7, 9, 1, 103, whole);
        for (size_t begin = 0, length = 1; begin < 103; begin += length, length = length % 9 + 1)
            fills[kind](7, 9, 1 + begin, length < 103 - begin ? length : 103 - begin,
                        piece + begin);
        assert_memory_equal(whole, piece, sizeof whole);
    }
}

/* Mean, variance and the extremes of 200,000 draws, within about five standard errors. */
static void distributions_have_the_right_moments(void **state)
{
    (void)state;
    enum { COUNT = 200000 };
    float *uniform = malloc(COUNT * sizeof *uniform), *normal = malloc(COUNT * sizeof *normal);
    random_fill_uniform(1, 2, 0, COUNT, uniform);
    random_fill_normal(1, 3, 0, COUNT, normal);
    double mean[4] = { 0 }, square[4] = { 0 };
    for (uint64_t i = 0; i < COUNT; i++) {
        double value[4] = { uniform[i], normal[i], random_uniform(1, 4, i),
                            random_normal(1, 5, i) };
        assert_true(value[0] >= 0 && value[0] < 1 && value[2] >= 0 && value[2] < 1);
        for (int kind = 0; kind < 4; kind++) {
            mean[kind] += value[kind] / COUNT;
            square[kind] += value[kind] * value[kind] / COUNT;
        }
    }
    for (int kind = 0; kind < 4; kind++) {
        bool is_uniform = kind % 2 == 0;
        double variance = square[kind] - mean[kind] * mean[kind];
        assert_true(fabs(mean[kind] - (is_uniform ? 0.5 : 0)) < 0.012);
        assert_true(fabs(variance - (is_uniform ? 1.0 / 12 : 1)) < 0.017);
    }
    free(uniform);
    free(normal);
}

static void a_permutation_holds_each_number_once_and_follows_the_seed(void **state)
{
    (void)state;
    size_t first[257], again[257], other[257];
    bool seen[257] = { false };
    random_permutation(5, 1, 257, first);
    random_permutation(5, 1, 257, again);
    random_permutation(6, 1, 257, other);
    for (size_t i = 0; i < 257; i++) {
        assert_true(first[i] < 257 && !seen[first[i]]);
        seen[first[i]] = true;
    }
    assert_memory_equal(first, again, sizeof first);
    assert_memory_not_equal(first, other, sizeof first);
}

static void bounded_draws_are_unbiased(void **state)
{
    (void)state;
    int count[6] = { 0 };
    for (uint64_t i = 0; i < 60000; i++)
        count[random_below(11, 0, i, 6)]++;
    for (int face = 0; face < 6; face++)
        assert_true(abs(count[face] - 10000) < 460); /* five standard deviations */
}

/* With a bound of 3 · 2^62 every fourth draw is rejected: the three quarters stay equally likely,
 * and streams that differ in the bits that once told attempts apart share no number. */
static void rejected_draws_are_unbiased_and_stay_in_their_stream(void **state)
{
    (void)state;
    const uint64_t bound = UINT64_C(3) << 62, other = UINT64_C(1) << 32;
    int count[3] = { 0 }, equal = 0;
    for (uint64_t i = 0; i < 30000; i++) {
        uint64_t value = random_below(11, 0, i, bound);
        count[value >> 62]++;
        equal += value == random_below(11, other, i, bound);
    }
    for (int part = 0; part < 3; part++)
        assert_true(abs(count[part] - 10000) < 410); /* five standard deviations */
    assert_int_equal(equal, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_gives_the_published_answers),
        cmocka_unit_test(fills_do_not_depend_on_how_the_range_is_cut),
        cmocka_unit_test(distributions_have_the_right_moments),
        cmocka_unit_test(a_permutation_holds_each_number_once_and_follows_the_seed),
        cmocka_unit_test(bounded_draws_are_unbiased),
        cmocka_unit_test(rejected_draws_are_unbiased_and_stay_in_their_stream),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
