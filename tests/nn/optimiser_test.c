/* Optimisers as plans: state, sharing, clipping, averages. Their arithmetic over 20 steps is
 * compared with torch.optim's in tests/parity. */
#include "rig.h"

#include "nn/optimiser.h"

static struct node *weight(struct rig *rig, const char *name, double value)
{
    return t_parameter(rig->graph, name, t_full(rig->graph, SHAPE(2), value));
}

static double stored(struct rig *rig, const char *name)
{
    struct tensor *tensor = store_find(rig->store, name);
    if (!tensor)
        fail_msg("the store has no %s", name);
    return *(double *)tensor->memory;
}

static void run(struct rig *rig, struct updates *updates, int steps)
{
    struct error err;
    struct plan *plan = plan_create(rig->store, NULL, 0, updates->items, updates->count, &err);
    assert_ok(plan, err);
    for (int i = 0; i < steps; i++)
        assert_ok(plan_run(plan, (uint64_t)i, 1, &err), err);
    plan_free(plan);
}

static void plain_descent_goes_against_the_gradient(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct updates updates = { 0 };
    struct node *p = weight(&rig, "p", 5), *g = t_affine(p, 2, 1);
    optimise_sgd(&updates, &p, &g, 1, nn_number(rig.graph, 0.125));
    rig_initialise(&rig);
    run(&rig, &updates, 1);
    assert_close(stored(&rig, "p"), 5 - 0.125 * 11, 1e-14);
    updates_release(&updates);
    rig_release(&rig);
}

static void parameters_without_a_gradient_are_left_alone(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct updates updates = { 0 };
    struct node *p[2] = { weight(&rig, "a", 1), weight(&rig, "b", 1) };
    struct node *g[2] = { t_scale(p[0], 1), NULL };
    optimise_adam(&updates, p, g, 2, nn_number(rig.graph, 0.1), .weight_decay = 1);
    rig_initialise(&rig);
    run(&rig, &updates, 3);
    assert_true(stored(&rig, "a") < 1);
    assert_null(store_find(rig.store, "adam.b.first"));
    assert_non_null(store_find(rig.store, "adam.a.first"));
    updates_release(&updates);
    rig_release(&rig);
}

/* Two phases of a GAN train one network with one optimiser: moments and corrections are the same
 * tensors, as two steps of one phase would use. */
static void two_plans_share_the_moments_of_their_parameters(void **state)
{
    (void)state;
    double result[2];
    for (int phases = 1; phases <= 2; phases++) {
        struct rig rig;
        rig_init(&rig);
        struct updates updates[2] = { { 0 }, { 0 } };
        struct node *p = weight(&rig, "p", 1), *g = t_scale(p, 3);
        for (int i = 0; i < phases; i++)
            optimise_adam(&updates[i], &p, &g, 1, nn_number(rig.graph, 0.1));
        rig_initialise(&rig);
        run(&rig, &updates[0], 1);
        run(&rig, &updates[phases - 1], 1);
        result[phases - 1] = stored(&rig, "p");
        updates_release(&updates[0]);
        updates_release(&updates[1]);
        rig_release(&rig);
    }
    assert_true(result[0] == result[1]);
}

static void the_first_step_of_adam_is_the_rate_whatever_the_gradient(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct updates updates = { 0 };
    struct node *p = weight(&rig, "p", 1), *g = t_full(rig.graph, SHAPE(2), 1e-3);
    optimise_adam(&updates, &p, &g, 1, nn_number(rig.graph, 0.25));
    rig_initialise(&rig);
    run(&rig, &updates, 1);
    assert_close(stored(&rig, "p"), 1 - 0.25, 1e-5); /* ε is 1e-5 of the gradient */
    updates_release(&updates);
    rig_release(&rig);
}

static void the_learning_rate_may_be_an_input(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct error err;
    struct updates updates = { 0 };
    struct node *rate = t_input(rig.graph, "rate", DTYPE_F32, SHAPE());
    struct node *p = weight(&rig, "p", 1), *g = t_full(rig.graph, SHAPE(2), 1);
    optimise_sgd(&updates, &p, &g, 1, rate);
    rig_initialise(&rig);
    struct plan *plan = plan_create(rig.store, NULL, 0, updates.items, updates.count, &err);
    assert_ok(plan, err);
    for (int i = 0; i < 2; i++) {
        plan_write(plan, rate, (float[]){ i ? 0.5f : 0.25f });
        assert_ok(plan_run(plan, 0, 1, &err), err);
    }
    assert_close(stored(&rig, "p"), 0.25, 1e-14);
    plan_free(plan);
    updates_release(&updates);
    rig_release(&rig);
}

static void clipping_limits_the_norm_of_all_gradients_together(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct node *g[3] = { t_full(rig.graph, SHAPE(2, 2), 3), NULL,
                          t_full(rig.graph, SHAPE(4), 4) }; /* norm √(4·9 + 4·16) = 10 */
    struct node *norm = clip_gradients(g, 3, 5);
    assert_null(g[1]);
    assert_close(*rig_evaluate(&rig, norm), 10, 1e-13);
    assert_close(*rig_evaluate(&rig, g[0]), 1.5, 1e-6); /* PyTorch's ε of 1e-6 */
    assert_close(*rig_evaluate(&rig, g[2]), 2, 1e-6);
    rig_release(&rig);
}

static void clipping_leaves_small_gradients_as_they_are(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct node *g = t_full(rig.graph, SHAPE(4), 0.5);
    clip_gradients(&g, 1, 5);
    assert_close(*rig_evaluate(&rig, g), 0.5, 0);
    rig_release(&rig);
}

static void the_average_starts_at_the_first_value_and_follows_the_updated_one(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct updates updates = { 0 };
    struct node *p = weight(&rig, "layer.p", 8), *g = t_full(rig.graph, SHAPE(2), 4);
    optimise_sgd(&updates, &p, &g, 1, nn_number(rig.graph, 1));
    average_parameters(&updates, &p, 1, nn_number(rig.graph, 0.75));
    rig_initialise(&rig);
    assert_close(stored(&rig, "average.layer.p"), 8, 0);
    run(&rig, &updates, 1);
    assert_close(stored(&rig, "layer.p"), 4, 0);
    assert_close(stored(&rig, "average.layer.p"), 0.75 * 8 + 0.25 * 4, 1e-14);
    updates_release(&updates);
    rig_release(&rig);
}

/* Kept by the optimiser or after it, averages are the same; also of what has no gradient. */
static void an_optimiser_keeps_averages_as_they_are_kept_after_it(void **state)
{
    (void)state;
    double kept[2][2];
    for (int after = 0; after < 2; after++) {
        struct rig rig;
        rig_init(&rig);
        struct updates updates = { 0 };
        struct node *p[2] = { weight(&rig, "p", 8), weight(&rig, "q", 3) };
        struct node *g[2] = { t_full(rig.graph, SHAPE(2), 4), NULL };
        struct node *decay = nn_number(rig.graph, 0.75);
        optimise_adam(&updates, p, g, 2, nn_number(rig.graph, 0.5),
                      .average = after ? NULL : decay);
        if (after)
            average_parameters(&updates, p, 2, decay);
        rig_initialise(&rig);
        run(&rig, &updates, 2);
        kept[after][0] = stored(&rig, "average.p");
        kept[after][1] = stored(&rig, "average.q");
        updates_release(&updates);
        rig_release(&rig);
    }
    assert_true(kept[0][0] < 7.9);
    assert_close(kept[0][0], kept[1][0], 0);
    assert_close(kept[0][1], 3, 1e-14);
    assert_close(kept[1][1], 3, 1e-14);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_descent_goes_against_the_gradient),
        cmocka_unit_test(parameters_without_a_gradient_are_left_alone),
        cmocka_unit_test(two_plans_share_the_moments_of_their_parameters),
        cmocka_unit_test(the_first_step_of_adam_is_the_rate_whatever_the_gradient),
        cmocka_unit_test(the_learning_rate_may_be_an_input),
        cmocka_unit_test(clipping_limits_the_norm_of_all_gradients_together),
        cmocka_unit_test(clipping_leaves_small_gradients_as_they_are),
        cmocka_unit_test(the_average_starts_at_the_first_value_and_follows_the_updated_one),
        cmocka_unit_test(an_optimiser_keeps_averages_as_they_are_kept_after_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
