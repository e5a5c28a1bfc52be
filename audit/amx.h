/* AMX: a processor's own unit for products of matrices of bytes, eight times as fast as VNNI.
 *
 * One instruction multiplies a tile of 16 rows of 64 bytes with one of 64 × 16 and adds to 16 × 16
 * sums of 32 bits. Linux lends a process the registers of tiles when it asks; amx_usable does.
 */
#ifndef AUDIT_AMX_H
#define AUDIT_AMX_H

#include "audit/exact.h"

/* Whether processor and kernel have it. The answer stays the same. */
bool amx_usable(void);

/* sum[i * y_count + j] = Σ x[i] y[j] over the used pixels of 8-bit images, all pairs: whole
 * numbers, exact. Strips of a few KiB of all images are packed so that they stay in the second
 * cache, and each is read from memory once: the more images of both sides, the less waits for
 * memory. At most 256 and 512 images are worth a call. Ends the program where amx_usable() is
 * false. */
void amx_products(const struct pixels *pixels, const void *const *x, size_t x_count,
                  const void *const *y, size_t y_count, uint64_t *sum);

#endif
