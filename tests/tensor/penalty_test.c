/* The penalties of GAN training on small networks, with their parameters' gradients: what needs
 * gradients of gradients. Each against central differences in double precision. */
#include "tensor/harness.h"

/* A discriminator: conv, leaky ReLU, blurred and strided conv, tanh, linear. x (N,2,6,6) → (N,1).
 * tanh keeps the second derivative of the loss from vanishing almost everywhere. */
static struct node *critic(struct node *x, struct node **w)
{
    static const float taps[4] = { 0.125f, 0.375f, 0.375f, 0.125f };
    struct node *blur = t_constant(x->graph, SHAPE(4), taps);
    struct node *h = t_leaky_relu(t_add(t_conv(x, w[0], .pad = 1), w[1]), 0.2); /* (N,3,6,6) */
    h = t_conv(t_upfirdn(h, blur, .pad = 2), w[2], .stride = 2);                /* (N,2,3,3) */
    h = t_tanh(t_reshape(h, SHAPE(dim(x, 0), -1)));                             /* (N,18)    */
    return t_matmul(h, w[3]);                                                   /* (N,1)     */
}

static void critic_inputs(struct rig *rig, struct node **w)
{
    w[0] = rig_input(rig, SHAPE(3, 2, 3, 3), NORMAL);
    w[1] = rig_input(rig, SHAPE(3, 1, 1), NORMAL);
    w[2] = rig_input(rig, SHAPE(2, 3, 2, 2), NORMAL);
    w[3] = rig_input(rig, SHAPE(18, 1), NORMAL);
}

/* ∇x D jumps where a leaky ReLU's input changes sign, so steps must be too short to meet a kink. */
static void check(struct rig *rig, struct node *loss, const char *what)
{
    rig->step = 3e-5;
    struct node *dx[RIG_INPUTS];
    grad(loss, rig->x, rig->count, dx);
    rig_check_gradient(rig, loss, dx, what);
}

/* Mescheder et al. 2018: γ/2 E‖∇x D(x)‖². */
static void r1_has_the_right_parameter_gradients(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct node *x = rig_input(&rig, SHAPE(2, 2, 6, 6), NORMAL), *w[4], *dx;
    critic_inputs(&rig, w);
    grad(t_sum_all(critic(x, w)), &x, 1, &dx);
    struct node *squares = t_sum(t_square(dx), AXES(1, 2, 3));
    check(&rig, t_scale(t_mean_all(squares), 0.5 * 10), "R1");
    rig_release(&rig);
}

/* Gulrajani et al. 2017: λ E(‖∇ D(εx + (1−ε)y)‖ − 1)², on samples between two sets. */
static void wgan_gp_has_the_right_parameter_gradients(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct node *real = rig_input(&rig, SHAPE(2, 2, 6, 6), NORMAL);
    struct node *fake = rig_input(&rig, SHAPE(2, 2, 6, 6), NORMAL), *w[4], *dx;
    critic_inputs(&rig, w);
    struct node *e = t_uniform(rig.graph, "epsilon", SHAPE(2, 1, 1, 1));
    struct node *x = t_add(t_mul(e, real), t_mul(t_affine(e, -1, 1), fake));
    grad(t_sum_all(critic(x, w)), &x, 1, &dx);
    struct node *penalty = t_mean_all(t_square(t_shift(t_norm(dx, AXES(1, 2, 3)), -1)));
    struct node *d = t_sub(t_mean_all(critic(fake, w)), t_mean_all(critic(real, w)));
    check(&rig, t_add(d, t_scale(penalty, 10)), "WGAN-GP");
    rig_release(&rig);
}

/* A generator with a modulated and demodulated convolution (Karras et al. 2020, eq. 1–3), as one
 * grouped convolution over the batch. w (N,4) → (N,2,6,6). */
static struct node *generator(struct node *latent, struct node **p)
{
    static const float taps[4] = { 0.25f, 0.75f, 0.75f, 0.25f };
    int64_t n = dim(latent, 0);
    struct node *style = t_reshape(t_shift(t_matmul(latent, p[0]), 1), SHAPE(n, 1, 3, 1, 1));
    struct node *k = t_mul(style, p[1]); /* (N,2,3,3,3) */
    struct node *demodulation = t_rsqrt(t_shift(t_sum(t_square(k), AXES(2, 3, 4)), 1e-8));
    k = t_reshape(t_mul(k, demodulation), SHAPE(n * 2, 3, 3, 3));
    struct node *x = t_broadcast(p[2], SHAPE(n, 3, 3, 3));
    x = t_reshape(x, SHAPE(1, n * 3, 3, 3));
    x = t_reshape(t_conv(x, k, .pad = 1, .groups = (int)n), SHAPE(n, 2, 3, 3));
    struct node *filter = t_constant(latent->graph, SHAPE(4), taps);
    return t_silu(t_upfirdn(x, filter, .up = 2, .pads = { { 2, 1 }, { 2, 1 } }));
}

/* Karras et al. 2020, eq. 4: E(‖Jᵀ_w y‖ − a)², Jᵀ_w y = ∇w (g(w)·y), y normal images. */
static void path_length_has_the_right_parameter_gradients(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct node *latent = rig_input(&rig, SHAPE(3, 4), NORMAL), *p[3], *dw;
    p[0] = rig_input(&rig, SHAPE(4, 3), NORMAL);
    p[1] = rig_input(&rig, SHAPE(2, 3, 3, 3), NORMAL);
    p[2] = rig_input(&rig, SHAPE(3, 3, 3), NORMAL);
    struct node *image = generator(latent, p);
    struct node *noise = t_scale(t_normal(rig.graph, "noise", image->shape), 1 / 6.0);
    grad(t_sum_all(t_mul(image, noise)), &latent, 1, &dw);
    struct node *length = t_norm(dw, AXES(1));
    check(&rig, t_mean_all(t_square(t_shift(length, -0.7))), "path length");
    rig_release(&rig);
}

/* Simplification at work: no step may add more than a few times what it differentiates. */
static void second_order_graphs_stay_small(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct node *x = rig_input(&rig, SHAPE(2, 2, 6, 6), NORMAL), *w[4], *dx, *dw[4];
    critic_inputs(&rig, w);
    struct node *y = t_sum_all(critic(x, w));
    size_t forward = graph_size(rig.graph);
    grad(y, &x, 1, &dx);
    struct node *penalty = t_sum_all(t_square(dx));
    grad(penalty, w, 4, dw);
    assert_true(graph_size(rig.graph) < 5 * forward);
    rig_release(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(r1_has_the_right_parameter_gradients),
        cmocka_unit_test(wgan_gp_has_the_right_parameter_gradients),
        cmocka_unit_test(path_length_has_the_right_parameter_gradients),
        cmocka_unit_test(second_order_graphs_stay_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
