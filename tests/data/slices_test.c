#include "test.h"

#include "data/slices.h"

static struct error err;
static struct resampler resampler;

static void open_resampler(int64_t canvas, int64_t size)
{
    assert_ok(resampler_init(&resampler, canvas, size, &err), err);
}

static void planes_are_centred_and_odd_rests_go_down_and_right(void **state)
{
    (void)state;
    double plane[2 * 3] = { 1, 2, 3, 4, 5, 6 }, out[25];
    open_resampler(5, 5);
    resample_plane(&resampler, plane, 2, 3, out);
    static const double expected[25] = { [6] = 1, [7] = 2, [8] = 3, [11] = 4, [12] = 5, [13] = 6 };
    assert_memory_equal(out, expected, sizeof out);
    resampler_release(&resampler);
}

static void means_of_whole_numbers_are_exact(void **state)
{
    (void)state;
    /* 36 pixels under each output pixel, half of them 1: 0.5 exactly, which rounds up. */
    double plane[12 * 12], out[4];
    uint8_t bytes[4];
    for (int i = 0; i < 144; i++)
        plane[i] = i % 2;
    open_resampler(12, 2);
    resample_plane(&resampler, plane, 12, 12, out);
    quantise(out, 4, ELEMENT_UINT8, bytes);
    for (int i = 0; i < 4; i++) {
        assert_true(out[i] == 0.5);
        assert_int_equal(bytes[i], 1);
    }
    resampler_release(&resampler);
}

static void the_sum_of_a_plane_is_kept_at_every_size(void **state)
{
    (void)state;
    enum { CANVAS = 37 };
    double plane[CANVAS * CANVAS], out[CANVAS * CANVAS], whole = 0;
    for (int i = 0; i < CANVAS * CANVAS; i++)
        whole += plane[i] = i * 31 % 256;
    for (int64_t size = 1; size <= CANVAS; size++) {
        double sum = 0;
        open_resampler(CANVAS, size);
        resample_plane(&resampler, plane, CANVAS, CANVAS, out);
        for (int64_t i = 0; i < size * size; i++)
            sum += out[i];
        double ratio = (double)(CANVAS * CANVAS) / (double)(size * size);
        assert_float_equal(sum * ratio, whole, 1e-6);
        resampler_release(&resampler);
    }
}

static void the_label_of_most_area_wins_and_ties_go_to_the_smaller(void **state)
{
    (void)state;
    static const uint8_t labels[16] = { 4, 2, 1, 1, /* tie of 4, 2 in the corner: 2 */
                                        2, 4, 0, 1, /* 1 has three of four */
                                        0, 0, 9, 9, /* 9 and 0: 0 */
                                        0, 3, 0, 0 };
    static const uint8_t expected[4] = { 2, 1, 0, 0 };
    uint8_t out[9];
    open_resampler(4, 2);
    resample_labels(&resampler, labels, 4, 4, out);
    assert_memory_equal(out, expected, 4);
    resampler_release(&resampler);
    open_resampler(4, 3); /* the middle: 1/9 + 4 · 1/9 … each of four pixels 4/9 of an equal part */
    resample_labels(&resampler, labels, 4, 4, out);
    assert_int_equal(out[4], 0); /* 4, 0, 0, 9 of equal area */
    assert_int_equal(out[0], 4); /* three quarters of both directions */
    resampler_release(&resampler);
}

static void values_round_to_nearest_halves_up_and_are_clamped(void **state)
{
    (void)state;
    const double values[] = { -1, 0, 0.4999, 0.5, 254.4999, 254.5, 255, 300 };
    const uint8_t expected[] = { 0, 0, 0, 1, 254, 255, 255, 255 };
    const uint16_t wide[] = { 0, 0, 128, 129, 65406, 65407, 65535, 65535 };
    uint8_t bytes[8];
    uint16_t words[8];
    quantise(values, 8, ELEMENT_UINT8, bytes);
    assert_memory_equal(bytes, expected, sizeof expected);
    quantise(values, 8, ELEMENT_UINT16, words);
    assert_memory_equal(words, wide, sizeof wide);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(planes_are_centred_and_odd_rests_go_down_and_right),
        cmocka_unit_test(means_of_whole_numbers_are_exact),
        cmocka_unit_test(the_sum_of_a_plane_is_kept_at_every_size),
        cmocka_unit_test(the_label_of_most_area_wins_and_ties_go_to_the_smaller),
        cmocka_unit_test(values_round_to_nearest_halves_up_and_are_clamped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
