/* guided-diffusion's U-Net; see ddpm.h. Widths w_l = mult_l·base, embedding of time e (N,E),
 * E = 4·base. The embedding is passed on as silu(e), which is all that blocks make of it. */
#include "models/ddpm.h"

#include "nn/layer.h"
#include "nn/resample.h"

enum { KEPT_MAX = 128, GROUPS = 32 };

/* What the way down keeps for the way up. */
struct stack {
    struct node *items[KEPT_MAX];
    int count;
};

static void keep(struct stack *kept, struct node *x)
{
    CHECK(kept->count < KEPT_MAX, "more than %d blocks", KEPT_MAX);
    kept->items[kept->count++] = x;
}

static struct node *time_embedding(const struct ddpm *ddpm, struct node *t)
{
    struct node *e = nn_sinusoids(t, ddpm->base);             /* (N,base) */
    e = t_silu(nn_linear(e, "time_embed.0", 4 * ddpm->base)); /* (N,E)    */
    return t_silu(nn_linear(e, "time_embed.2", 4 * ddpm->base));
}

/* x (N,I,s,s), e (N,E) → (N,O,s,s). */
static struct node *residual(const struct ddpm *ddpm, struct node *x, struct node *e, int64_t o)
{
    int64_t n = dim(x, 0);
    struct node *h = t_silu(nn_group_norm(x, "in_layers.0", GROUPS));
    h = nn_conv(h, "in_layers.2", o, 3, .pad = 1); /* (N,O,s,s)  */
    struct node *pair = t_reshape(nn_linear(e, "emb_layers.1", 2 * o), SHAPE(n, 2 * o, 1, 1));
    struct node *scale = t_slice(pair, 1, 0, o), *shift = t_slice(pair, 1, o, 2 * o);
    h = nn_group_norm(h, "out_layers.0", GROUPS);
    h = t_silu(t_add(t_mul(h, t_shift(scale, 1)), shift));
    h = nn_dropout(h, ddpm->dropout);
    h = nn_conv(h, "out_layers.3", o, 3, .pad = 1, .zero = true); /* (N,O,s,s)  */
    return t_add(dim(x, 1) == o ? x : nn_conv(x, "skip_connection", o, 1), h);
}

static bool has_attention(const struct ddpm *ddpm, int side)
{
    for (int i = 0; i < DDPM_LEVELS && ddpm->attention[i]; i++)
        if (ddpm->attention[i] == side)
            return true;
    return false;
}

static int heads(const struct ddpm *ddpm)
{
    return ddpm->heads ? ddpm->heads : 1;
}

/* A residual block, "0", and attention, "1", where this side has it. Returns how many there are. */
static int stage(const struct ddpm *ddpm, struct node **x, struct node *e, int64_t width)
{
    graph_push(e->graph, "0");
    *x = residual(ddpm, *x, e, width);
    graph_pop(e->graph);
    if (!has_attention(ddpm, (int)dim(*x, 2)))
        return 1;
    *x = nn_attention(*x, "1", heads(ddpm));
    return 2;
}

/* Down: keeps the output of every block, and returns the last. */
static struct node *encode(const struct ddpm *ddpm, struct node *x, struct node *e,
                           struct stack *kept)
{
    x = nn_conv(x, "input_blocks.0.0", ddpm->mult[0] * ddpm->base, 3, .pad = 1);
    keep(kept, x);
    for (int level = 0; level < ddpm->levels; level++) {
        int64_t width = (int64_t)ddpm->mult[level] * ddpm->base;
        for (int i = 0; i < ddpm->blocks; i++) {
            graph_push(e->graph, "input_blocks.%d", kept->count);
            stage(ddpm, &x, e, width); /* (N,w_l,s,s) */
            graph_pop(e->graph);
            keep(kept, x);
        }
        if (level + 1 == ddpm->levels)
            break;
        graph_push(e->graph, "input_blocks.%d.0", kept->count);
        x = nn_conv(x, "op", width, 3, .stride = 2, .pad = 1); /* (N,w_l,s/2,s/2) */
        graph_pop(e->graph);
        keep(kept, x);
    }
    return x;
}

static struct node *middle(const struct ddpm *ddpm, struct node *x, struct node *e)
{
    int64_t width = dim(x, 1);
    graph_push(e->graph, "middle_block.0");
    x = residual(ddpm, x, e, width);
    graph_pop(e->graph);
    x = nn_attention(x, "middle_block.1", heads(ddpm));
    graph_push(e->graph, "middle_block.2");
    x = residual(ddpm, x, e, width);
    graph_pop(e->graph);
    return x;
}

/* Up: each block takes one that was kept; the last of a level, but for level 0, doubles the size.
 */
static struct node *decode(const struct ddpm *ddpm, struct node *x, struct node *e,
                           struct stack *kept)
{
    int block = 0;
    for (int level = ddpm->levels - 1; level >= 0; level--)
        for (int i = 0; i <= ddpm->blocks; i++) {
            int64_t width = (int64_t)ddpm->mult[level] * ddpm->base;
            graph_push(e->graph, "output_blocks.%d", block++);
            x = t_concat(1, x, kept->items[--kept->count]); /* (N,w+kept,s,s) */
            int layers = stage(ddpm, &x, e, width);         /* (N,w_l,s,s)    */
            if (level && i == ddpm->blocks) {
                graph_push(e->graph, "%d", layers);
                x = nn_conv(nn_nearest2(x), "conv", width, 3, .pad = 1); /* (N,w_l,2s,2s) */
                graph_pop(e->graph);
            }
            graph_pop(e->graph);
        }
    return x;
}

struct node *ddpm_build(const struct ddpm *ddpm, struct node *x, struct node *t)
{
    struct stack kept = { .count = 0 };
    CHECK(ddpm->levels >= 1 && ddpm->levels <= DDPM_LEVELS, "a network of %d levels", ddpm->levels);
    struct node *e = time_embedding(ddpm, t);
    x = encode(ddpm, x, e, &kept);
    x = middle(ddpm, x, e);
    x = decode(ddpm, x, e, &kept);
    x = t_silu(nn_group_norm(x, "out.0", GROUPS));
    int outputs = ddpm->channels * (ddpm->learned_variance ? 2 : 1);
    return nn_conv(x, "out.2", outputs, 3, .pad = 1, .zero = true);
}
