#include "test.h"

#include "audit/amx.h"
#include "base/random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Images one behind the other, of which some pixels are used. */
struct images {
    uint8_t *bytes;
    const void **at;
};

static struct images make_images(const struct pixels *pixels, size_t count, int value,
                                 uint64_t seed)
{
    struct images images = { malloc(count * pixels->image_bytes),
                             calloc(count, sizeof *images.at) };
    for (size_t i = 0; i < count; i++) {
        uint8_t *image = images.bytes + i * pixels->image_bytes;
        for (size_t b = 0; b < pixels->image_bytes; b++)
            image[b] = (uint8_t)(value < 0 ? random_bits(seed, i, b) : (uint64_t)value);
        images.at[i] = image;
    }
    return images;
}

static void free_images(struct images images)
{
    free(images.bytes);
    free(images.at);
}

static uint64_t slow_product(const struct pixels *pixels, const uint8_t *x, const uint8_t *y)
{
    uint64_t sum = 0;
    for (size_t r = 0; r < pixels->run_count; r++)
        for (size_t i = 0; i < pixels->run[r].length; i++)
            sum += (uint64_t)x[pixels->run[r].offset + i] * y[pixels->run[r].offset + i];
    return sum;
}

static void check(size_t channels, size_t plane, uint64_t used, size_t x_count, size_t y_count,
                  int value)
{
    struct pixels pixels;
    pixels_init(&pixels, ELEMENT_UINT8, channels, plane, used);
    struct images x = make_images(&pixels, x_count, value, 1),
                  y = make_images(&pixels, y_count, value, 2);
    uint64_t *sum = malloc(x_count * y_count * sizeof *sum);
    memset(sum, 1, x_count * y_count * sizeof *sum);
    amx_products(&pixels, x.at, x_count, y.at, y_count, sum);
    for (size_t i = 0; i < x_count; i++)
        for (size_t j = 0; j < y_count; j++)
            assert_int_equal(sum[i * y_count + j], slow_product(&pixels, x.at[i], y.at[j]));
    free(sum);
    free_images(x);
    free_images(y);
}

static void all_pairs_of_images_are_multiplied_whatever_their_numbers(void **state)
{
    (void)state;
    static const size_t counts[][2] = { { 1, 1 }, { 3, 40 }, { 33, 16 }, { 65, 31 }, { 32, 64 } };
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++)
        check(1, 28 * 28, 1, counts[c][0], counts[c][1], -1);
}

static void only_channels_that_are_used_count_and_strips_may_end_anywhere(void **state)
{
    (void)state;
    static const size_t planes[] = { 1, 63, 64, 65, 1023, 1024, 1025, 4099 };
    for (size_t p = 0; p < sizeof planes / sizeof *planes; p++) {
        check(4, planes[p], 0xf, 5, 7, -1);
        check(4, planes[p], 0xb, 5, 7, -1);
    }
}

static void sums_of_the_largest_images_do_not_overflow(void **state)
{
    (void)state;
    check(4, 256 * 256, 0xf, 2, 3, 255);
    check(2, 512 * 512 + 1, 0x3, 1, 2, 255);
}

int main(void)
{
    enum { SKIPPED = 77 };
    if (!amx_usable()) {
        puts("skipped: this processor, or its kernel, has no AMX");
        return SKIPPED;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_pairs_of_images_are_multiplied_whatever_their_numbers),
        cmocka_unit_test(only_channels_that_are_used_count_and_strips_may_end_anywhere),
        cmocka_unit_test(sums_of_the_largest_images_do_not_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
