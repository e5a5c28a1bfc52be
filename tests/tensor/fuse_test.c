/* Random graphs: whatever is rewritten, fused, laid out and overlaid, the values stay those of the
 * reference, first derivatives included. */
#include "tensor/compare.h"

#include "base/parallel.h"

#ifndef GRAPHS
#define GRAPHS 150
#endif

enum { NODES = 14, POOL = 64 };

struct maker {
    struct pair pair;
    struct node *pool[POOL];
    int count;
    uint64_t seed, draws;
};

static int pick(struct maker *m, int bound)
{
    return (int)random_below(m->seed, 7, m->draws++, (uint64_t)bound);
}

static struct node *any(struct maker *m)
{
    return m->pool[pick(m, m->count)];
}

/* Another node that broadcasts with x: a reduction of something of its shape, or of x itself. */
static struct node *fitting(struct maker *m, struct node *x)
{
    for (int attempt = 0; attempt < 8; attempt++) {
        struct node *y = any(m);
        if (shape_equal(y->shape, x->shape))
            return pick(m, 3) ? y : t_mean(y, (unsigned)pick(m, 1 << x->shape.rank));
    }
    return t_mean(x, (unsigned)pick(m, 1 << x->shape.rank));
}

static struct node *unary(struct maker *m, struct node *x)
{
    switch (pick(m, 8)) {
    case 0:
        return t_tanh(x);
    case 1:
        return t_silu(x);
    case 2:
        return t_leaky_relu(t_sin(x), 0.2);
    case 3:
        return t_exp(t_scale(t_tanh(x), 0.5));
    case 4:
        return t_rsqrt(t_shift(t_square(x), 1));
    case 5:
        return t_affine(x, -0.5, 0.25);
    case 6:
        return t_cast(t_cast(t_sigmoid(x), DTYPE_F32), DTYPE_F32);
    default:
        return t_softplus(x);
    }
}

static struct node *binary(struct maker *m, struct node *x)
{
    struct node *y = fitting(m, x);
    switch (pick(m, 5)) {
    case 0:
        return t_add(x, y);
    case 1:
        return t_sub(y, x);
    case 2:
        return t_mul(x, t_tanh(y));
    case 3:
        return t_div(x, t_shift(t_square(y), 1));
    default:
        return t_where(t_greater(y, x), t_scale(x, 0.5), y);
    }
}

static struct node *moved(struct maker *m, struct node *x)
{
    int axis = pick(m, 4);
    switch (pick(m, 6)) {
    case 0:
        return t_flip(x, (unsigned)pick(m, 16));
    case 1:
        return t_pad(x, axis, pick(m, 3), pick(m, 2));
    case 2:
        return dim(x, axis) > 2 ? t_slice(x, axis, 1, dim(x, axis) - pick(m, 2)) : x;
    case 3:
        return t_concat(axis, x, t_sin(x));
    case 4:
        return t_permute(x, 0, 1, 3, 2);
    default:
        return t_reshape(t_cos(t_reshape(x, SHAPE(dim(x, 0) * dim(x, 1), dim(x, 2) * dim(x, 3)))),
                         x->shape);
    }
}

static struct node *reduced(struct maker *m, struct node *x)
{
    unsigned axes = (unsigned)pick(m, 16);
    struct node *y = pick(m, 3) ? t_variance(x, axes) : t_max(x, axes);
    return pick(m, 2) ? t_softmax(x, pick(m, 4)) : t_mul(x, t_sigmoid(y));
}

static struct node *product(struct maker *m, struct node *x)
{
    char name[16];
    static const float taps[] = { 0.25f, 0.75f, 0.5f };
    struct node *filter = t_constant(m->pair.graph, SHAPE(3), taps);
    int size = 1 + 2 * pick(m, 2);
    snprintf(name, sizeof name, "w%d", m->pair.count);
    switch (pick(m, 4)) {
    case 3: {
        struct node *turned = t_scale(t_normal(m->pair.graph, name, SHAPE(dim(x, 0), 2, 3)), 0.7);
        return t_warp(x, turned, 1 + pick(m, 20), 1 + pick(m, 20));
    }
    case 0:
        return t_upfirdn(x, filter, .up = 1 + pick(m, 2), .pad = 2);
    case 1: {
        struct node *square = t_matmul_at(HERE, x, x, true, false); /* (N,C,W,W) */
        return t_scale(square, 1 / (double)dim(x, 2));
    }
    default: {
        struct shape shape = SHAPE(3, dim(x, 1), size, size);
        size_t count = shape_count(shape);
        float *values = arena_array(&m->pair.arena, float, count);
        for (size_t i = 0; i < count; i++)
            values[i] = (float)random_normal(m->seed, 9, i) / (float)(size * dim(x, 1));
        return t_conv(x, t_constant(m->pair.graph, shape, values), .pad = size / 2,
                      .stride = 1 + pick(m, 2));
    }
    }
}

static struct node *grown(struct maker *m)
{
    struct node *x = any(m);
    switch (pick(m, 6)) {
    case 0:
    case 1:
        return unary(m, x);
    case 2:
        return binary(m, x);
    case 3:
        return moved(m, x);
    case 4:
        return reduced(m, x);
    default:
        return product(m, x);
    }
}

static void check_graph(uint64_t seed)
{
    struct maker m = { .seed = seed };
    struct node *dx[2], *loss = NULL, *outputs[8];
    char name[64];
    pair_init(&m.pair);
    for (int i = 0; i < 2; i++) {
        struct shape shape =
            SHAPE(1 + pick(&m, 2), 1 + pick(&m, 9), 2 + pick(&m, 20), 2 + pick(&m, 20));
        m.pool[m.count++] = pair_input(&m.pair, shape, NORMAL);
    }
    while (m.count < NODES) {
        struct node *y = grown(&m);
        if (shape_count(y->shape) < 40000)
            m.pool[m.count++] = y;
    }
    for (int i = 0; i < 3; i++) {
        outputs[i] = m.pool[m.count - 1 - i];
        struct node *part = t_mean_all(t_square(t_tanh(outputs[i])));
        loss = loss ? t_add(loss, part) : part;
    }
    grad(loss, m.pair.x, 2, dx);
    grad_zeros(m.pair.x, 2, dx);
    outputs[3] = loss;
    outputs[4] = dx[0];
    outputs[5] = dx[1];
    snprintf(name, sizeof name, "random graph %llu", (unsigned long long)seed);
    pair_expect(&m.pair, outputs, 6, 1e-8, name);
    pair_release(&m.pair);
}

static void random_graphs_and_their_gradients_agree_with_the_reference(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < GRAPHS; seed++)
        check_graph(seed);
}

/* As the norm of all gradients of a deep network is. */
static void a_sum_of_many_numbers_is_cut_into_loops(void **state)
{
    (void)state;
    for (int count = 40; count <= 150; count += 11) {
        struct pair pair;
        pair_init(&pair);
        struct node *x = pair_input(&pair, SHAPE(150, 7), NORMAL), *sum = NULL;
        for (int i = 0; i < count; i++) {
            struct node *part = t_sum_all(t_square(t_slice(x, 0, i, i + 1)));
            sum = sum ? t_add(sum, part) : part;
        }
        struct node *outputs[] = { t_sqrt(sum) };
        pair_expect(&pair, outputs, 1, 1e-10, "sum");
        pair_release(&pair);
    }
}

/* An argument is a pattern: only tests whose names it fits. */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sum_of_many_numbers_is_cut_into_loops),
        cmocka_unit_test(random_graphs_and_their_gradients_agree_with_the_reference),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests_name("tensor/fuse", tests, NULL, NULL);
}
