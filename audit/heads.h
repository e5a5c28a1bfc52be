/* Heads: what the certified engine keeps of an image, and the bounds that they give.
 *
 *     short row   | bytes of coefficients 0 … end[0] | scales | terms |    in a panel (panel.h)
 *     long row    | bands, tail norm | bytes of coefficients end[0] … end[levels - 1] |
 *
 * Coefficients of the unit image stand in the order of their mean energy over the database, largest
 * first, so that every prefix is a good head. The product of two short rows is at once an upper
 * bound of the correlation: the coefficients give the part that is known, the norms, one for each
 * band of what is left, bound the rest by Cauchy and Schwarz. To go on to end[1] the product of the
 * norms of the band in between is taken off and the product of its coefficients is put on.
 *
 * Coefficients are signed bytes: a band's a = scale · q + e, with a scale of its own, and ‖e‖ is
 * kept beside ‖a‖. The error of a product of bytes is bounded like the rest: ⟨a, a'⟩ ≤ scale scale'
 * ⟨q, q'⟩ + ‖e‖ ‖a'‖ + (‖a‖ + ‖e‖) ‖e'‖. The first band holds most of the energy and takes two
 * bytes a coefficient, a = scale · (q + r / 256) + e: its three products, high with high, high with
 * low, low with high, are two parts of the short row; that of low with low is bounded.
 *
 * heads->rounding[level] is what must be added to a bound so that it holds (docs/search.md has the
 * proof).
 */
#ifndef AUDIT_HEADS_H
#define AUDIT_HEADS_H

#include "audit/engine.h"
#include "audit/frequency.h"
#include "audit/panel.h"

enum {
    HEAD_LEVELS = CERTIFICATE_LEVELS,
    SHORT_BANDS = 3,
    HEAD_BANDS = SHORT_BANDS + HEAD_LEVELS - 1
};

/* A bound that says nothing, for images whose coefficients are not known well. */
#define UNBOUNDED 2.0f

struct heads {
    struct frequency *frequency;
    uint32_t *chosen;             /* end[levels - 1] coefficients, by energy */
    size_t levels;                /* 1 … HEAD_LEVELS */
    size_t end[HEAD_LEVELS];      /* coefficients used at each level */
    size_t edge[HEAD_BANDS + 1];  /* band b: coefficients edge[b] … edge[b + 1] */
    size_t place[HEAD_BANDS + 1]; /* of its bytes in a long row, from SHORT_BANDS on */
    struct panel_shape shape;
    size_t panel[2]; /* bytes of a panel of either side */
    size_t stride;   /* bytes of a long row */
    const struct panel_products *products;
    double rounding[HEAD_LEVELS];
};

/* What is known of a band: norms are rounded up. */
struct band {
    float norm, scale, error;
    int32_t middle; /* 128 times the sum of its bytes */
};

/* The beginning of a long row. */
struct long_row {
    struct band band[HEAD_BANDS];
    float tail, low; /* norms of what is in no band; of the first band's low bytes */
};

/* Chooses the coefficients by up to 256 images of the database, spread over it. */
bool heads_init(struct heads *heads, const struct search *search, struct error *err) MUST_USE;
void heads_release(struct heads *heads);

/* Panels of one side that hold so many rows. */
size_t heads_panels(enum panel_side side, size_t count);

/* Room for rows of `count` images. */
struct head_rows {
    enum panel_side side;
    char *panels, *rows; /* of heads->panel[side] and heads->stride bytes each */
    bool *loose;         /* image i has no head, so that its bounds are UNBOUNDED */
};
bool head_rows_allocate(const struct heads *heads, enum panel_side side, size_t count,
                        struct head_rows *rows, struct error *err) MUST_USE;
void head_rows_release(struct head_rows *rows);
static inline void *head_panel(const struct heads *heads, const struct head_rows *rows,
                               size_t panel)
{
    return rows->panels + panel * heads->panel[rows->side];
}
static inline const struct long_row *head_row(const struct heads *heads,
                                              const struct head_rows *rows, size_t image)
{
    return (const struct long_row *)(const void *)(rows->rows + image * heads->stride);
}

/* Moments and rows of images [first, first + count), from place `at` on, the beginning of a panel.
 * An image without variance has rows of zeros: its correlations are 0. Pages of the database's
 * images are let go. Refused where a pixel is not finite. */
bool heads_of(const struct heads *heads, const struct search *search, const struct image_set *set,
              size_t first, size_t count, struct moments *moments, const struct head_rows *rows,
              size_t at, struct error *err) MUST_USE;

/* The bound of `level` from that of the level before (level ≥ 1), without rounding; x is the
 * query's row. */
float heads_refine(const struct heads *heads, size_t level, float bound, const struct long_row *x,
                   const struct long_row *y);

/* The part of a level's bound that stands for what is not known: bound − estimate. */
float heads_slack(size_t level, const struct long_row *x, const struct long_row *y);

#endif
