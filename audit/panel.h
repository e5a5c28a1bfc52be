/* Panels: the short rows of several images side by side, so that one pass over them bounds all
 * pairs of two panels at once.
 *
 *     panel of W images:
 *     | bytes (steps, W, 4) | scale (parts, W) | term (terms, W) | middle (parts, W) |
 *
 *     ⟨row, row'⟩ = Σ_parts scale scale' ⟨bytes, bytes'⟩ + Σ_terms term term'
 *
 * Products of bytes are exact whole numbers; what is done in single precision are the products of
 * scales and the sum of at most 15 addends. Bytes stand in steps of four because that is what an
 * instruction of VNNI multiplies and adds in each of its 16 lanes. It multiplies unsigned by signed
 * bytes: panels of the database hold each byte plus 128, and `middle` of the queries, 128 times the
 * sum of a part's bytes, is taken off.
 *
 *     struct panel_shape shape = panel_shape_of((size_t[]){ 64, 128, 192, 768 }, 11);
 *     void *panel = … panel_size(&shape, PANEL_IMAGES) bytes, of zeros …
 *     panel_put(&shape, PANEL_OF_IMAGES, panel, place, &row);
 *     panel_products()->bounds(&shape, queries, images, bounds, stride);
 */
#ifndef AUDIT_PANEL_H
#define AUDIT_PANEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* 12 × 32 sums fill 24 of the 32 registers of AVX-512. */
enum { PANEL_QUERIES = 12, PANEL_IMAGES = 32, PANEL_PARTS = 4, PANEL_TERMS = 11 };

enum panel_side { PANEL_OF_QUERIES, PANEL_OF_IMAGES };

/* Part p: bytes end[p - 1] … end[p]; ends are multiples of 4. */
struct panel_shape {
    size_t end[PANEL_PARTS];
    size_t parts; /* without empty ones at the end */
    size_t terms;
};

/* One image's. */
struct panel_row {
    const int8_t *bytes; /* end[PANEL_PARTS - 1], zeros where a part is shorter than its place */
    float scale[PANEL_PARTS], term[PANEL_TERMS];
};

/* From the number of bytes in each part, rounded up to four, and how many terms there are. */
struct panel_shape panel_shape_of(const size_t length[PANEL_PARTS], size_t terms);
size_t panel_width(enum panel_side side);
/* Bytes of a panel, a multiple of 64. */
size_t panel_size(const struct panel_shape *shape, enum panel_side side);
void panel_put(const struct panel_shape *shape, enum panel_side side, void *panel, size_t place,
               const struct panel_row *row);

/* One way of computing; all give the same whole numbers. */
struct panel_products {
    const char *name;
    bool (*usable)(void);
    /* out[q * PANEL_IMAGES + i] of all pairs of a panel of queries and one of images. */
    void (*bounds)(const struct panel_shape *shape, const void *queries, const void *images,
                   float out[PANEL_QUERIES * PANEL_IMAGES]);
    /* Σ x y of `count` signed bytes (a multiple of 64, at most 2^16); middle: 128 Σ x. */
    int32_t (*product)(const int8_t *x, int32_t middle, const int8_t *y, size_t count);
};

enum { PANEL_WAYS = 3 };
extern const struct panel_products panel_ways[PANEL_WAYS]; /* the fastest first */
/* The fastest that this processor can do. */
const struct panel_products *panel_products(void);

#endif
