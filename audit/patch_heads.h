/* Heads of patches: what rules out most pairs of descriptions without multiplying these.
 *
 * A description x (patch.h) is known by its head, a = B x, and what is left. B's rows, all but
 * orthonormal, span what some known descriptions differ in most, so little is left. Of the head are
 * kept signed bytes, a = â + e with a scale for each of two parts, and norms:
 *
 *     ⟨x, y⟩ ≤ ⟨â, b̂⟩ + ‖e‖ ‖b‖ + ‖â‖ ‖f‖ + t(x) t(y) + δ,    b = B y = b̂ + f,
 *     t(x)² = ‖x‖² − ‖a‖² + δ ‖x‖²,    δ ≥ ‖B Bᵀ − 1‖
 *
 * by Cauchy and Schwarz: twice for ⟨a, b⟩; and for ⟨x, (1 − BᵀB) y⟩, where 1 − BᵀB + δ is positive
 * semidefinite. panel.h computes such sums of whole panels.
 *
 *     struct patch_heads heads;
 *     if (!patch_heads_open(&heads, rows, count, features, err)) …    // the known ones' panels
 *     patch_heads_make(&heads, &making, queries, n, PANEL_OF_QUERIES, places);
 *     panel_put(&heads.shape, PANEL_OF_QUERIES, panel, 0, &making.row[0]) …
 *     heads.products->bounds(&heads.shape, panel, patch_heads_panel(&heads, p), bounds);
 *     // a product may reach bounds[…] + heads.rounding at most */
#ifndef AUDIT_PATCH_HEADS_H
#define AUDIT_PATCH_HEADS_H

#include "audit/panel.h"
#include "base/error.h"

enum { PATCH_HEAD_MOST = 96 }; /* coefficients */

struct patch_heads {
    size_t features, length; /* of a description, of a head */
    float *basis;            /* (length, features) */
    double excess;           /* δ */
    double loss;             /* how far a head may be from B x, for each unit of ‖x‖ */
    double rounding;         /* of a bound, and of a bar near 1 in single precision */
    struct panel_shape shape;
    size_t query_panel, image_panel; /* bytes */
    const struct panel_products *products;
    size_t count;
    char *panels; /* of the known descriptions, in their order */
};

/* Chooses B by up to 4,096 of `count` known descriptions, rows (count, features), and makes the
 * panels of all. Here and below these are unit vectors, to 2^-15, or zeros. */
bool patch_heads_open(struct patch_heads *heads, const float *rows, size_t count, size_t features,
                      struct error *err) MUST_USE;
void patch_heads_close(struct patch_heads *heads);

static inline const char *patch_heads_panel(const struct patch_heads *heads, size_t panel)
{
    return heads->panels + panel * heads->image_panel;
}

/* Room for the heads of so many descriptions at once; for a thread. */
struct patch_making {
    float *heads;
    int8_t *bytes;
    struct panel_row *row;
};
struct patch_making patch_making_new(const struct patch_heads *heads, size_t most);
void patch_making_free(struct patch_making *making);

/* making->row[0 … count) of the descriptions, as long as the room is not used again. */
void patch_heads_make(const struct patch_heads *heads, enum panel_side side, const float *rows,
                      size_t count, struct patch_making *making);

#endif
