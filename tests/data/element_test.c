#include "test.h"

#include "base/random.h"
#include "data/element.h"

#include <math.h>

/* The value of a half, by the definition of IEEE 754. */
static double value_of(unsigned half)
{
    int exponent = (int)(half >> 10 & 31), fraction = (int)(half & 1023);
    double magnitude = exponent == 31  ? (fraction ? NAN : INFINITY)
                       : exponent == 0 ? ldexp(fraction, -24)
                                       : ldexp(1024 + fraction, exponent - 25);
    return half & 0x8000 ? -magnitude : magnitude;
}

static void all_halves_have_their_value(void **state)
{
    (void)state;
    for (unsigned half = 0; half < 65536; half++) {
        float value = half_to_float((uint16_t)half);
        double expected = value_of(half);
        if (isnan(expected))
            assert_true(isnan(value));
        else
            assert_true((double)value == expected && !signbit(value) == !signbit(expected));
    }
}

static void all_halves_come_back(void **state)
{
    (void)state;
    for (unsigned half = 0; half < 65536; half++) {
        uint16_t back = half_from_float(half_to_float((uint16_t)half));
        if (isnan(value_of(half)))
            assert_true((back & 0x7c00) == 0x7c00 && (back & 0x3ff));
        else
            assert_int_equal(back, half);
        assert_int_equal(half_from_double((double)half_to_float((uint16_t)half)), back);
    }
}

/* The nearest half of a magnitude, ties to even, by looking through all. 65520 is the middle
 * between the largest half and what would follow it. */
static unsigned nearest(double magnitude)
{
    unsigned low = 0, high = 0x7c00;
    if (magnitude >= 65520)
        return 0x7c00;
    while (low + 1 < high) {
        unsigned middle = (low + high) / 2;
        if (value_of(middle) <= magnitude)
            low = middle;
        else
            high = middle;
    }
    double above = high == 0x7c00 ? 65536 : value_of(high);
    double down = magnitude - value_of(low), up = above - magnitude;
    return down < up || (down == up && low % 2 == 0) ? low : high;
}

static void assert_rounds(double value)
{
    unsigned sign = value < 0 ? 0x8000 : 0;
    assert_int_equal(half_from_double(value), sign | nearest(fabs(value)));
    assert_int_equal(half_from_float((float)value), sign | nearest(fabs((double)(float)value)));
}

static void rounding_is_to_nearest_and_ties_to_even(void **state)
{
    (void)state;
    for (unsigned half = 0; half < 0x7c00; half++) {
        double low = value_of(half), high = half == 0x7bff ? 65536 : value_of(half + 1);
        double middle = (low + high) / 2;
        assert_rounds(middle);
        assert_rounds(nextafter(middle, 0)); /* a float in between would make this a tie */
        assert_rounds(nextafter(middle, INFINITY));
        assert_rounds(-nextafter(middle, INFINITY));
    }
    for (uint64_t i = 0; i < 200000; i++) {
        double value =
            (random_uniform(1, 2, 2 * i) - 0.5) * ldexp(1, (int)random_below(1, 3, i, 50) - 28);
        assert_rounds(value);
    }
    assert_int_equal(half_from_double(1e300), 0x7c00);
    assert_int_equal(half_from_double(-INFINITY), 0xfc00);
    assert_int_equal(half_from_double(1e-300), 0);
    assert_int_equal(half_from_double(-1e-300), 0x8000);
    assert_int_equal(half_from_double(NAN) & 0x7c00, 0x7c00);
    assert_int_not_equal(half_from_double(NAN) & 0x3ff, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_halves_have_their_value),
        cmocka_unit_test(all_halves_come_back),
        cmocka_unit_test(rounding_is_to_nearest_and_ties_to_even),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
