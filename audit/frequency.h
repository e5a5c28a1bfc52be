/* Images in a frequency basis: the low frequencies of a unit image, with a bound of their error.
 *
 * The basis is orthonormal: a two-dimensional DCT-II per channel, of which the lowest `rows` ×
 * `columns` frequencies are computed. Large images are first summed over boxes of 2 × 2 (4 × 4, …)
 * pixels, scaled to unit norm: cosines that are constant on boxes are orthonormal too, hold along
 * each axis .85 of a smooth cosine's energy at the highest frequency kept and .96 at half of it (of
 * 256 pixels), and cost a quarter.
 *
 * A coefficient is that of the image centred over all used channels and divided by its norm.
 * Computed in single precision; frequency_error bounds the distance between the computed and the
 * true vector of coefficients.
 *
 *     struct frequency *frequency = frequency_new(&pixels, 256, 256, err);
 *     frequency_transform(frequency, workspace, image, &moments, coefficients);
 */
#ifndef AUDIT_FREQUENCY_H
#define AUDIT_FREQUENCY_H

#include "audit/exact.h"

enum { FREQUENCIES = 64 }; /* at most so many a side */

struct frequency; /* opaque: geometry and cosine tables, shared by threads */

/* Images of height × width elements a channel. NULL when memory runs out. */
struct frequency *frequency_new(const struct pixels *pixels, size_t height, size_t width,
                                struct error *err) MUST_USE;
void frequency_free(struct frequency *frequency);

/* Coefficients of an image: used channels × rows × columns. */
size_t frequency_count(const struct frequency *frequency);
/* Bytes of a thread's workspace. */
size_t frequency_workspace(const struct frequency *frequency);

/* Of an image with variance, all coefficients of x̂ = (x − mean) / ‖x − mean‖. Returns false, and
 * then nothing is known of them, where the image varies so little around its mean that the bound
 * would not hold (only possible for 16-bit types). */
bool frequency_transform(const struct frequency *frequency, void *workspace, const void *image,
                         const struct moments *moments, float *coefficients);

/* ‖computed − true‖ ≤ this, over any choice of coefficients. */
double frequency_error(const struct frequency *frequency);

#endif
