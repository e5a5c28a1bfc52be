/* Low-pass filters against scipy.signal.firwin's and the official StyleGAN 3's (SciPy 1.10). */
#include "test.h"

#include "nn/lowpass.h"

#include <math.h>
#include <stdio.h>

static void separable_filters_are_firwins(void **state)
{
    (void)state;
    static const struct {
        struct lowpass filter;
        float half[12];
    } rows[] = {
        { { 12, 2, 12, 32 },
          { 0.00079190213F, 0.010018318F, 0.0389495231F, 0.0924127921F, 0.156525612F,
            0.201301858F } },
        { { 24, 16, 41.37258300203048, 128 },
          { 7.62725733e-07F, 4.45043297e-05F, 0.000255442283F, 0.000389534136F, -0.00111427449F,
            -0.00648917723F, -0.0138355223F, -0.011173808F, 0.0205824357F, 0.0904254168F, 0.178911F,
            0.242003694F } },
        { { 12, 128, 59.172969816298576, 512 },
          { 0.0233742483F, 0.0344492942F, -0.0508806966F, -0.0786152333F, 0.13961044F,
            0.43206194F } },
    };
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        float taps[24];
        int count = rows[r].filter.taps;
        lowpass_design(&rows[r].filter, taps);
        for (int i = 0; i < count; i++) {
            int mirrored = i < count / 2 ? i : count - 1 - i;
            assert_float_equal(taps[i], rows[r].half[mirrored], 3e-8);
        }
    }
}

/* A quarter of it; the filter is symmetric along both axes, and about their diagonal. */
static void the_radial_filter_is_the_official_one(void **state)
{
    (void)state;
    static const float quarter[6][6] = {
        { -1.79387462e-06F, -2.85002989e-06F, 1.49867328e-05F, 6.60364603e-05F, 0.000138626638F,
          0.000193296495F },
        { -2.85002989e-06F, 4.89159975e-05F, 0.000308255694F, 0.000868014758F, 0.0015886277F,
          0.0021088426F },
        { 1.49867328e-05F, 0.000308255694F, 0.00139042223F, 0.00351754273F, 0.00614236202F,
          0.00799992122F },
        { 6.60364603e-05F, 0.000868014758F, 0.00351754273F, 0.00850019697F, 0.0145146726F,
          0.0187252685F },
        { 0.000138626638F, 0.0015886277F, 0.00614236202F, 0.0145146726F, 0.0245021917F,
          0.0314529091F },
        { 0.000193296495F, 0.0021088426F, 0.00799992122F, 0.0187252685F, 0.0314529091F,
          0.0402870402F },
    };
    struct lowpass filter = { 12, 11.313708498984761, 41.37258300203048, 128 };
    float taps[12][12];
    lowpass_design_radial(&filter, *taps);
    for (int i = 0; i < 12; i++)
        for (int k = 0; k < 12; k++)
            assert_float_equal(taps[i][k], quarter[i < 6 ? i : 11 - i][k < 6 ? k : 11 - k], 3e-8);
}

/* Of a wave of so many cycles a unit, sampled at the filter's rate. */
static double response(const struct lowpass *filter, const float *taps, double frequency)
{
    double sum = 0;
    for (int i = 0; i < filter->taps; i++)
        sum += taps[i] * cos(2 * M_PI * frequency / filter->rate * (i - (filter->taps - 1) / 2.0));
    return sum;
}

static void they_pass_what_is_low_and_stop_what_is_high(void **state)
{
    (void)state;
    struct lowpass filter = { 24, 16, 32, 128 };
    float taps[24];
    lowpass_design(&filter, taps);
    assert_float_equal(response(&filter, taps, 0), 1, 1e-6);
    assert_float_equal(response(&filter, taps, 16), 0.5, 0.02); /* the middle of the transition */
    for (double stopped = 34; stopped <= 64; stopped++)
        assert_true(fabs(response(&filter, taps, stopped)) < 1e-3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(separable_filters_are_firwins),
        cmocka_unit_test(the_radial_filter_is_the_official_one),
        cmocka_unit_test(they_pass_what_is_low_and_stop_what_is_high),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
