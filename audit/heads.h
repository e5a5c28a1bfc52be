/* Heads: what the certified engine keeps of an image, and the bounds that they give.
 *
 *     row = | 12 band norms, tail norm, 0 0 0 | coefficients 0 … end[0] | bands | bytes … end[3] |
 *             └────────── HEAD_NORMS ──────────┘                        └ fixed
 *
 * Coefficients of the unit image stand in the order of their mean energy over the database, largest
 * first, so that every prefix is a good head. The product of two rows up to end[0] is at once an
 * upper bound of the correlation: the coefficients give the part that is known, the norms, one for
 * each band of what is left, bound the rest by Cauchy and Schwarz. To go on to end[1] the norms of
 * the bands in between are taken off and the products of their coefficients are put on.
 *
 * Coefficients beyond end[0] are signed bytes: a band's a = scale · q + e, with a scale of its own,
 * and scale and ‖e‖ are kept beside ‖a‖. The error of a product of bytes is bounded like the rest:
 * ⟨a, a'⟩ ≤ scale scale' ⟨q, q'⟩ + ‖e‖ ‖a'‖ + (‖a‖ + ‖e‖) ‖e'‖. That costs a few hundredths of the
 * band's norms, and a row takes a third of the memory, which is what refining waits for.
 *
 * All is single precision; heads->rounding[level] is what must be added to a bound so that it holds
 * (docs/search.md has the proof).
 */
#ifndef AUDIT_HEADS_H
#define AUDIT_HEADS_H

#include "audit/engine.h"
#include "audit/frequency.h"

enum { HEAD_LEVELS = CERTIFICATE_LEVELS, HEAD_NORMS = 16, HEAD_BANDS = 12 };

/* A bound that says nothing, for images whose coefficients are not known well. */
#define UNBOUNDED 2.0f

struct heads {
    struct frequency *frequency;
    uint32_t *chosen;            /* end[levels - 1] coefficients, by energy */
    size_t levels;               /* 1 … HEAD_LEVELS */
    size_t end[HEAD_LEVELS];     /* coefficients used at each level */
    size_t edge[HEAD_BANDS + 1]; /* band b: coefficients edge[b] … edge[b + 1] */
    size_t bands[HEAD_LEVELS];   /* bands that are known from a level on: the first so many */
    size_t fixed;                /* floats before the bands' */
    size_t stride;               /* floats a row, bytes included */
    double rounding[HEAD_LEVELS];
};

/* Chooses the coefficients by up to 256 images of the database, spread over it. */
bool heads_init(struct heads *heads, const struct search *search, struct error *err) MUST_USE;
void heads_release(struct heads *heads);

/* Rows of images [first, first + count); loose[i] says that image i has no head, so that its bounds
 * are UNBOUNDED. An image without variance has a row of zeros: its correlations are 0. */
bool heads_of(const struct heads *heads, const struct search *search, const struct image_set *set,
              size_t first, size_t count, const struct moments *moments, float *rows, bool *loose,
              struct error *err) MUST_USE;

/* The bound of `level` from that of the level before (level ≥ 1), without rounding. */
float heads_refine(const struct heads *heads, size_t level, float bound, const float *x,
                   const float *y);

/* The part of a level's bound that stands for what is not known: bound − estimate. */
float heads_slack(const struct heads *heads, size_t level, const float *x, const float *y);

#endif
