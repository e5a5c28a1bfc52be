#include "images.h"

#include "audit/exact.h"
#include "base/parallel.h"

static double exact_pair(const struct image_set *set, size_t i, size_t j, uint64_t channels)
{
    struct pixels pixels;
    struct moments mx, my;
    pixels_init(&pixels, set->type, set->channels, set->height * set->width, channels);
    assert_true(exact_moments(&pixels, image_bytes(set, i), &mx));
    assert_true(exact_moments(&pixels, image_bytes(set, j), &my));
    return exact_correlation(&pixels, image_bytes(set, i), &mx, image_bytes(set, j), &my);
}

static const enum element_type types[] = { ELEMENT_UINT8, ELEMENT_UINT16, ELEMENT_FLOAT16 };

static void correlations_agree_with_extended_precision(void **state)
{
    (void)state;
    static const size_t sizes[][2] = { { 1, 2 }, { 7, 9 }, { 8, 8 }, { 33, 61 }, { 256, 256 } };
    for (size_t t = 0; t < 3; t++) {
        for (size_t s = 0; s < 5; s++) {
            struct image_set set = images_make("set", TEXTURE_SMOOTH_AND_NOISE, 3, 3, sizes[s][0],
                                               sizes[s][1], types[t], 7 + s);
            for (uint64_t channels = 1; channels < 8; channels++)
                for (size_t i = 0; i < 3; i++)
                    assert_float_equal(exact_pair(&set, i, 2, channels),
                                       slow_correlation(&set, i, &set, 2, channels), 1e-12);
            images_free(&set);
        }
    }
}

static void an_image_correlates_exactly_1_with_itself_and_minus_1_with_its_negative(void **state)
{
    (void)state;
    for (size_t t = 0; t < 3; t++) {
        struct image_set set = images_make("set", TEXTURE_NOISE, 2, 1, 31, 17, types[t], 3);
        assert_true(exact_pair(&set, 0, 0, 1) == 1);
        if (types[t] == ELEMENT_UINT8) {
            for (size_t e = 0; e < 31 * 17; e++)
                image_bytes(&set, 1)[e] = (uint8_t)(255 - image_bytes(&set, 0)[e]);
            assert_true(exact_pair(&set, 0, 1, 1) == -1);
        }
        images_free(&set);
    }
}

static void extreme_pixels_do_not_overflow(void **state)
{
    (void)state;
    for (size_t t = 0; t < 2; t++) {
        struct image_set set = images_make("set", TEXTURE_NOISE, 2, 4, 512, 512, types[t], 3);
        size_t bytes = 4 * 512 * 512 * element_info[types[t]].bytes;
        memset(image_bytes(&set, 0), 255, bytes);
        memset(image_bytes(&set, 1), 255, bytes);
        memset(image_bytes(&set, 0), 0, 2);
        memset(image_bytes(&set, 1), 0, 2);
        memset(image_bytes(&set, 1) + bytes / 2, 0, bytes / 2);
        assert_float_equal(exact_pair(&set, 0, 1, 15), slow_correlation(&set, 0, &set, 1, 15),
                           1e-12);
        images_free(&set);
    }
}

static void without_variance_the_correlation_is_0_but_1_with_the_same_pixels(void **state)
{
    (void)state;
    for (size_t t = 0; t < 3; t++) {
        struct image_set set = images_make("set", TEXTURE_NOISE, 4, 2, 9, 9, types[t], 3);
        size_t bytes = 2 * 81 * element_info[types[t]].bytes;
        memset(image_bytes(&set, 1), 0, bytes);
        memset(image_bytes(&set, 2), 0, bytes);
        memset(image_bytes(&set, 3), 0x31, bytes);
        assert_true(exact_pair(&set, 0, 1, 3) == 0);
        assert_true(exact_pair(&set, 1, 0, 3) == 0);
        assert_true(exact_pair(&set, 1, 2, 3) == 1);
        assert_true(exact_pair(&set, 1, 3, 3) == 0);
        assert_true(exact_pair(&set, 3, 3, 3) == 1);
        images_free(&set);
    }
}

static void tiles_give_the_same_bits_as_single_pairs(void **state)
{
    (void)state;
    for (size_t t = 0; t < 3; t++) {
        struct image_set set = images_make("set", TEXTURE_NOISE, 71, 3, 13, 29, types[t], 5);
        memset(image_bytes(&set, 65), 0, 3 * 13 * 29 * element_info[types[t]].bytes);
        struct pixels pixels;
        struct moments moments[71];
        const struct moments *m[71];
        const void *images[71];
        double r[64 * 7];
        pixels_init(&pixels, set.type, 3, 13 * 29, 5);
        for (size_t i = 0; i < 71; i++) {
            images[i] = image_bytes(&set, i);
            m[i] = &moments[i];
            assert_true(exact_moments(&pixels, images[i], &moments[i]));
        }
        for (size_t y_count = 1; y_count <= 7; y_count += 3) {
            exact_tile(&pixels, images, m, 64, images + 64, m + 64, y_count, r);
            for (size_t i = 0; i < 64; i++)
                for (size_t j = 0; j < y_count; j++)
                    assert_true(r[i * y_count + j] == exact_correlation(&pixels, images[i], m[i],
                                                                        images[64 + j], m[64 + j]));
        }
        images_free(&set);
    }
}

/* Some pairs of heads in the dark, of which the last image has no variance. */
static void check_pairs(enum element_type type, size_t height, size_t width, uint64_t channels)
{
    enum { X = 9, Y = 7, COUNT = X + Y };
    struct image_set set = images_make("set", TEXTURE_NOISE, COUNT, 3, height, width, type, 5);
    size_t bytes = element_info[type].bytes, each = 3 * height * width * bytes, count = 0;
    for (size_t i = 0; i < COUNT; i++)
        for (size_t b = 0; b < each; b++)
            if (b / 97 % 3 == i % 2)
                image_bytes(&set, i)[b] = 0;
    memset(image_bytes(&set, COUNT - 1), 7, each);
    struct pixels pixels;
    struct moments moments[COUNT];
    pixels_init(&pixels, type, 3, height * width, channels);
    size_t words = exact_words(&pixels);
    uint64_t *blocks = calloc(COUNT * words + 1, sizeof *blocks);
    uint8_t *packed = calloc(COUNT, each + EXACT_BLOCK);
    struct exact_image images[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        assert_true(exact_moments(&pixels, image_bytes(&set, i), &moments[i]));
        assert_true(exact_blocks(&pixels, image_bytes(&set, i), blocks + i * words) <= each);
        exact_pack(&pixels, image_bytes(&set, i), blocks + i * words, packed + i * each);
        images[i] = (struct exact_image){ image_bytes(&set, i), &moments[i], blocks + i * words,
                                          packed + i * each };
    }
    struct exact_pair pairs[X * Y];
    double r[X * Y];
    for (size_t p = 0; p < X * Y; p++)
        if (p * p % 5 != 1)
            pairs[count++] = (struct exact_pair){ (uint16_t)(p / Y), (uint16_t)(p % Y) };
    exact_pairs(&pixels, images, images + X, Y, pairs, count, r);
    for (size_t p = 0; p < count; p++) {
        size_t i = pairs[p].x, j = X + pairs[p].y;
        assert_true(r[p] == exact_correlation(&pixels, images[i].image, &moments[i],
                                              images[j].image, &moments[j]));
    }
    free(blocks);
    free(packed);
    images_free(&set);
}

static void packed_pairs_give_the_same_bits_as_single_ones(void **state)
{
    (void)state;
    for (size_t t = 0; t < 3; t++)
        for (uint64_t channels = 1; channels < 8; channels++) {
            check_pairs(types[t], 64, 128, channels);
            check_pairs(types[t], 13, 29, channels);
            check_pairs(types[t], 3, 5, channels);
            check_pairs(types[t], 71, 67, channels);
        }
}

static void pixels_that_are_not_finite_are_told(void **state)
{
    (void)state;
    struct image_set set = images_make("set", TEXTURE_NOISE, 1, 2, 8, 8, ELEMENT_FLOAT16, 3);
    uint16_t *words = (uint16_t *)(void *)image_bytes(&set, 0);
    struct pixels all, first;
    struct moments moments;
    pixels_init(&all, ELEMENT_FLOAT16, 2, 64, 3);
    pixels_init(&first, ELEMENT_FLOAT16, 2, 64, 1);
    words[100] = 0x7e00; /* NaN, in the second channel */
    assert_false(exact_moments(&all, words, &moments));
    assert_true(exact_moments(&first, words, &moments));
    words[100] = 0xfc00; /* −∞ */
    assert_false(exact_moments(&all, words, &moments));
    images_free(&set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(correlations_agree_with_extended_precision),
        cmocka_unit_test(an_image_correlates_exactly_1_with_itself_and_minus_1_with_its_negative),
        cmocka_unit_test(extreme_pixels_do_not_overflow),
        cmocka_unit_test(without_variance_the_correlation_is_0_but_1_with_the_same_pixels),
        cmocka_unit_test(tiles_give_the_same_bits_as_single_pairs),
        cmocka_unit_test(packed_pairs_give_the_same_bits_as_single_ones),
        cmocka_unit_test(pixels_that_are_not_finite_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
