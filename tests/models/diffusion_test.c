/* The forward process: schedules and their identities. The loss is compared with the twin's in
 * tests/parity. */
#include "nn/rig.h"

#include "models/diffusion.h"

static void the_linear_schedule_is_hos(void **state)
{
    (void)state;
    struct diffusion d;
    diffusion_init(&d, SCHEDULE_LINEAR, 1000);
    assert_close(d.beta[0], 1e-4, 1e-18);
    assert_close(d.beta[999], 0.02, 1e-16);
    assert_close(d.alpha_bar[0], 1 - 1e-4, 1e-15);
    assert_close(d.alpha_bar[999], 4.0358e-5, 1e-9); /* as the paper's noise at the end */
    diffusion_release(&d);
}

static void the_cosine_schedule_follows_its_alpha_bar(void **state)
{
    (void)state;
    struct diffusion d;
    diffusion_init(&d, SCHEDULE_COSINE, 4000);
    double first = cos(0.008 / 1.008 * M_PI / 2);
    for (int t = 0; t < 3900; t += 100) {
        double c = cos(((t + 1) / 4000.0 + 0.008) / 1.008 * M_PI / 2);
        assert_close(d.alpha_bar[t], c * c / (first * first), 1e-11);
    }
    assert_close(d.beta[3999], 0.999, 1e-15);
    diffusion_release(&d);
}

/* A step of variance β of the posterior's mean is consistent with q: E[x_{t-1}|x_0] is
 * mean_x0·x0 + mean_xt·√α̅_t·x0 = √α̅_{t-1}·x0. */
static void the_posterior_agrees_with_the_forward_process(void **state)
{
    (void)state;
    for (int schedule = 0; schedule < 2; schedule++) {
        struct diffusion d;
        diffusion_init(&d, (enum schedule)schedule, 1000);
        for (int t = 1; t < 1000; t++) {
            double mean = d.mean_x0[t] + d.mean_xt[t] * sqrt(d.alpha_bar[t]);
            double variance = d.mean_xt[t] * d.mean_xt[t] * (1 - d.alpha_bar[t]);
            assert_close(mean, sqrt(d.alpha_bar[t - 1]), 1e-12);
            assert_close(variance + d.posterior_variance[t], 1 - d.alpha_bar[t - 1], 1e-12);
        }
        diffusion_release(&d);
    }
}

static void noised_images_take_each_ones_own_time(void **state)
{
    (void)state;
    struct rig rig;
    struct diffusion d;
    rig_init(&rig);
    diffusion_init(&d, SCHEDULE_LINEAR, 1000);
    struct node *x = rig_input(&rig, SHAPE(3, 1, 2, 2), NORMAL);
    struct node *noise = rig_input(&rig, SHAPE(3, 1, 2, 2), NORMAL);
    static const int32_t t[3] = { 0, 999, 250 };
    struct node *xt = diffusion_noised(&d, x, t_labels(rig.graph, SHAPE(3), t), noise);
    const double *value = rig_evaluate(&rig, xt);
    for (int i = 0; i < 12; i++) {
        double a = d.alpha_bar[t[i / 4]];
        assert_close(value[i], sqrt(a) * rig.value[0][i] + sqrt(1 - a) * rig.value[1][i], 1e-13);
    }
    diffusion_release(&d);
    rig_release(&rig);
}

/* With the true noise and the posterior's own variance, the bound is zero but for t = 0. */
static void the_bound_is_zero_for_a_perfect_model(void **state)
{
    (void)state;
    struct rig rig;
    struct diffusion d;
    rig_init(&rig);
    diffusion_init(&d, SCHEDULE_COSINE, 1000);
    struct node *x = rig_input(&rig, SHAPE(2, 1, 2, 2), NORMAL);
    struct node *noise = rig_input(&rig, SHAPE(2, 1, 2, 2), NORMAL);
    struct node *t = t_labels(rig.graph, SHAPE(2), ((int32_t[]){ 5, 700 }));
    struct node *xt = diffusion_noised(&d, x, t, noise);
    struct node *lowest = t_full(rig.graph, SHAPE(2, 1, 2, 2), -1);
    struct diffusion_terms terms = diffusion_loss(&d, x, xt, t, noise, t_concat(1, noise, lowest));
    assert_close(*rig_evaluate(&rig, terms.mse), 0, 0);
    assert_close(*rig_evaluate(&rig, terms.bound), 0, 1e-9);
    diffusion_release(&d);
    rig_release(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_linear_schedule_is_hos),
        cmocka_unit_test(the_cosine_schedule_follows_its_alpha_bar),
        cmocka_unit_test(the_posterior_agrees_with_the_forward_process),
        cmocka_unit_test(noised_images_take_each_ones_own_time),
        cmocka_unit_test(the_bound_is_zero_for_a_perfect_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
