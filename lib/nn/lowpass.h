/* Low-pass filters of finite length, Kaiser-windowed, as StyleGAN 3 resamples with (Karras et al.
 * 2021, appendix C): their sum is 1, and they are symmetric.
 *
 *     float taps[12];
 *     lowpass_design(&(struct lowpass){ .taps = 12, .cutoff = 8, .width = 16, .rate = 64 }, taps);
 *
 * Frequencies are in the units of the rate at which the taps stand. The window's shape follows from
 * the length and the transition's width by Kaiser's formulas: what scipy.signal.firwin gives.
 */
#ifndef NN_LOWPASS_H
#define NN_LOWPASS_H

struct lowpass {
    int taps;                   /* 2 or more */
    double cutoff, width, rate; /* of the pass band's edge; of the whole transition; of sampling */
};

/* The separable filter: `taps` values. */
void lowpass_design(const struct lowpass *filter, float *taps);

/* The one that is alike in all directions (a jinc, ibid. equation 9): taps × taps values. */
void lowpass_design_radial(const struct lowpass *filter, float *taps);

#endif
