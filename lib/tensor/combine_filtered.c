/* Combining filtered activations; see combine.h and filtered.h.
 *
 * A search begins at each upfirdn that only makes smaller, and follows elementwise nodes down to
 * upfirdns that only enlarge. Unlike with attention nothing needs to be given up for it: where
 * others read the enlarged image, too, it stays, and this node still has less to read.
 */
#include "tensor/combine_parts.h"

#include "tensor/filtered.h"

struct search {
    struct filtered *found;
    const struct node *image[FILTERED_IMAGES]; /* the upfirdns that enlarge */
    const struct node *made[FILTERED_INSTRUCTIONS];
    struct shape shape;
};

static bool is_computed(enum op_id op)
{
    return op == OP_SCALE || op == OP_ADD || op == OP_SUB || op == OP_MUL || op == OP_GREATER ||
           op == OP_WHERE;
}

static int image_of(struct search *s, const struct node *x)
{
    struct filtered *f = s->found;
    for (int i = 0; i < f->images; i++)
        if (s->image[i] == x)
            return i;
    if (f->images == FILTERED_IMAGES || x->upfirdn.down[0] != 1 || x->upfirdn.down[1] != 1)
        return -1;
    f->up[f->images] = x->upfirdn;
    s->image[f->images] = x;
    return f->images++;
}

/* Which value x is; −1: it is none that can be computed. Values are numbered from the images on,
 * of which there may be one more yet, so instructions come after the most. */
static int value_of(struct search *s, const struct node *x)
{
    struct filtered *f = s->found;
    double fill = 0;
    bool full = node_is_full(x, &fill);
    if (is_cast(x, DTYPE_BF16, DTYPE_F32)) /* what was enlarged in bf16: here it is not rounded */
        x = x->src[0];
    if (x->op == OP_UPFIRDN && shape_equal(x->shape, s->shape))
        return image_of(s, x);
    for (int i = 0; i < f->instructions; i++)
        if (s->made[i] == x)
            return FILTERED_IMAGES + i;
    if (!full && (!is_computed(x->op) || x->dtype != DTYPE_F32 || !shape_equal(x->shape, s->shape)))
        return -1;
    int in[3] = { 0 };
    for (int i = 0; !full && i < x->sources; i++)
        if ((in[i] = value_of(s, x->src[i])) < 0)
            return -1;
    if (f->instructions == FILTERED_INSTRUCTIONS)
        return -1;
    bool scale = !full && x->op == OP_SCALE;
    int at = f->instructions++;
    s->made[at] = x;
    f->instruction[at].op = full ? OP_CONSTANT : x->op;
    f->instruction[at].scale = scale ? x->affine.scale : fill;
    f->instruction[at].shift = scale ? x->affine.shift : 0;
    for (int i = 0; i < 3; i++)
        f->instruction[at].in[i] = in[i];
    return FILTERED_IMAGES + at;
}

struct node *filtered_image(struct combiner *c, const struct node *y)
{
    if (y->op != OP_UPFIRDN || y->upfirdn.up[0] != 1 || y->upfirdn.up[1] != 1 ||
        y->src[0]->op == OP_UPFIRDN)
        return NULL;
    const struct node *x = y->src[0];
    struct search s = { .found = arena_array(c->arena, struct filtered, 1), .shape = x->shape };
    struct filtered *f = s.found;
    *f = (struct filtered){ .down = y->upfirdn, .between = { dim(x, 2), dim(x, 3) } };
    if (value_of(&s, x) < 0 || f->images == 0)
        return NULL;
    struct node *src[2 * FILTERED_IMAGES + 1];
    for (int i = 0; i < f->images; i++) {
        src[i] = c->image[s.image[i]->src[0]->id];
        src[f->images + i] = c->image[s.image[i]->src[1]->id];
    }
    src[2 * f->images] = c->image[y->src[1]->id];
    struct node draft = { .op = OP_FILTERED, .shape = y->shape, .filtered = f };
    struct node *whole = make(c, y, &draft, 2 * f->images + 1, src);
    return c->takes(whole) ? whole : NULL;
}
