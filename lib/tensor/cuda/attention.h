/* What the texts of attention (attention.c) and of its gradients (attention_gradient.c) share. */
#ifndef CUDA_ATTENTION_H
#define CUDA_ATTENTION_H

#include "cuda/generate.h"

enum {
    ATTENTION_THREADS = 128,
    ATTENTION_VECTOR = 4,
    ATTENTION_PANELS = 4 + ATTENTION_ADDED, /* sources at most */
    ATTENTION_TRAINED = 64 /* tokens, and widths, at most: what a block's shared memory holds */
};

/* One of the tensors: for each head a matrix, tokens by width; of what is added, by tokens. */
struct panel {
    const struct view *view;
    char name[8];
    int64_t tokens, width; /* sizes */
    int64_t token, step;   /* strides, along tokens and along the width */
};

struct attention {
    const struct node *node;
    struct panel q, k, v, y, added[ATTENTION_ADDED];
    struct panel g;  /* gradients: what is sent back to the result */
    int count;       /* of what is added */
    int deep;        /* the width, padded */
    int tile;        /* tokens of a block, and of a step */
    int row, across; /* elements between tokens of q and k, and between tokens or columns of v */
};

struct attention attention_of(const struct step *step);

/* Matrices of q: over all leading axes. */
int64_t attention_heads(const struct attention *a);

/* The sources in their order, NULL after the last. */
void attention_sources(const struct attention *a,
                       const struct panel *sources[ATTENTION_PANELS + 1]);

/* The kernel's first lines: its parameters, ROW and DEEP, `thread`. */
void attention_add_head(struct text *source, const struct attention *a, const char *name);

/* at_NAME: where the matrix `index` (an expression) of the panel begins. */
void attention_add_base(struct text *source, const struct panel *panel, const char *index);

/* Brings a tile of the panel, from token `first`, to shared memory; zeros beyond its end. `across`:
 * token by token lies along the rows, so (column, token) instead of (token, column). */
void attention_add_fill(struct text *source, const struct attention *a, const struct panel *panel,
                        const char *to, bool across, const char *first);

/* score: scaled, added to, or out of the running, of `query` and `key`. */
void attention_add_score(struct text *source, const struct attention *a);

/* Writes factor·out, 16 rows of the result a warp, as results of mma lie; `offset` elements behind
 * at_y. */
void attention_add_rows(struct text *source, const struct attention *a, double factor,
                        int64_t offset);

#endif
