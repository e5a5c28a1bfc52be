/* Kaiser-windowed low-pass filters; see lowpass.h. */
#include "nn/lowpass.h"

#include "base/error.h"

#include <math.h>

enum { TAPS_MOST = 64 };

/* The modified Bessel function of order 0, by its power series: all terms are positive. */
static double bessel_i0(double x)
{
    double sum = 1, term = 1;
    for (int k = 1; term > sum * 1e-17; k++) {
        term *= x / (2 * k) * (x / (2 * k));
        sum += term;
    }
    return sum;
}

/* Kaiser's β for the attenuation that so many taps reach over so wide a transition. */
static double kaiser_beta(const struct lowpass *filter)
{
    double width = filter->width / (filter->rate / 2); /* of Nyquist's frequency */
    double attenuation = 2.285 * (filter->taps - 1) * M_PI * width + 7.95;
    if (attenuation > 50)
        return 0.1102 * (attenuation - 8.7);
    if (attenuation > 21)
        return 0.5842 * pow(attenuation - 21, 0.4) + 0.07886 * (attenuation - 21);
    return 0;
}

/* From the middle, in taps. */
static double place(const struct lowpass *filter, int tap)
{
    return tap - (filter->taps - 1) / 2.0;
}

static void fill_window(const struct lowpass *filter, double window[TAPS_MOST])
{
    double beta = kaiser_beta(filter), half = (filter->taps - 1) / 2.0;
    CHECK(filter->taps >= 2 && filter->taps <= TAPS_MOST, "a filter of %d taps", filter->taps);
    for (int i = 0; i < filter->taps; i++) {
        double at = place(filter, i) / half;
        window[i] = bessel_i0(beta * sqrt(1 - at * at)) / bessel_i0(beta);
    }
}

static double sinc(double x)
{
    return x == 0 ? 1 : sin(M_PI * x) / (M_PI * x);
}

void lowpass_design(const struct lowpass *filter, float *taps)
{
    double value[TAPS_MOST], sum = 0, cutoff = filter->cutoff / (filter->rate / 2);
    fill_window(filter, value);
    for (int i = 0; i < filter->taps; i++) {
        value[i] *= cutoff * sinc(cutoff * place(filter, i));
        sum += value[i];
    }
    for (int i = 0; i < filter->taps; i++)
        taps[i] = (float)(value[i] / sum);
}

/* J₁(2πf_c r) / (πr), the transform of a disc. */
static double jinc(double cutoff, double r)
{
    return r == 0 ? cutoff : j1(2 * M_PI * cutoff * r) / (M_PI * r);
}

void lowpass_design_radial(const struct lowpass *filter, float *taps)
{
    double window[TAPS_MOST], value[TAPS_MOST][TAPS_MOST], sum = 0;
    int count = filter->taps;
    fill_window(filter, window);
    for (int i = 0; i < count; i++)
        for (int k = 0; k < count; k++) {
            double r = hypot(place(filter, i), place(filter, k)) / filter->rate;
            value[i][k] = jinc(filter->cutoff, r) * window[i] * window[k];
            sum += value[i][k];
        }
    for (int i = 0; i < count * count; i++)
        taps[i] = (float)(value[i / count][i % count] / sum);
}
