#include "tensor/harness.h"

#include "base/parallel.h"

static void an_update_step_descends_and_leaves_the_rest_alone(void **state)
{
    (void)state;
    struct rig rig;
    struct error err;
    rig_init(&rig);
    struct node *w = t_parameter(rig.graph, "w", t_full(rig.graph, SHAPE(3), 2)), *dw;
    struct node *x = t_input(rig.graph, "x", DTYPE_F32, SHAPE(3));
    struct node *loss = t_sum_all(t_square(t_sub(w, x)));
    grad(loss, &w, 1, &dw);
    struct assign update = { w, t_sub(w, t_scale(dw, 0.25)) };
    struct plan *start = plan_initial(rig.store, &w, 1, &err);
    assert_ok(start && plan_run(start, 0, 0, &err), err);
    struct plan *plan = plan_create(rig.store, &loss, 1, &update, 1, &err);
    assert_ok(plan, err);
    plan_write(plan, x, (float[]){ 4, 0, -2 });
    for (uint64_t step = 0; step < 2; step++)
        assert_ok(plan_run(plan, step, 0, &err), err);
    float value[3], last_loss;
    store_read(rig.store, store_find(rig.store, "w"), value);
    plan_read(plan, loss, &last_loss);
    assert_memory_equal(value, ((float[]){ 3.5f, 0.5f, -1 }), sizeof value); /* halfway, twice */
    assert_true(last_loss == 1 + 1 + 4);                                     /* before the 2nd */
    plan_free(start);
    plan_free(plan);
    rig_release(&rig);
}

static void assignments_happen_at_once(void **state)
{
    (void)state;
    struct rig rig;
    struct error err;
    rig_init(&rig);
    struct node *a = t_parameter(rig.graph, "a", t_full(rig.graph, SHAPE(2), 1));
    struct node *b = t_parameter(rig.graph, "b", t_full(rig.graph, SHAPE(2), 5));
    struct plan *start = plan_initial(rig.store, (struct node *[]){ a, b }, 2, &err);
    assert_ok(start && plan_run(start, 0, 0, &err), err);
    const struct assign swap[] = { { a, b }, { b, a } };
    struct plan *plan = plan_create(rig.store, NULL, 0, swap, 2, &err);
    assert_ok(plan && plan_run(plan, 0, 0, &err), err);
    float value[2][2];
    store_read(rig.store, store_find(rig.store, "a"), value[0]);
    store_read(rig.store, store_find(rig.store, "b"), value[1]);
    assert_true(value[0][0] == 5 && value[0][1] == 5 && value[1][0] == 1 && value[1][1] == 1);
    plan_free(start);
    plan_free(plan);
    rig_release(&rig);
}

static void dead_nodes_are_not_run_and_memory_is_used_again(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct node *x = rig_input(&rig, SHAPE(1000), NORMAL), *y = x;
    for (int i = 0; i < 50; i++) {
        (void)t_exp(y);
        y = t_sin(y);
    }
    struct plan *plan = rig_plan(&rig, &y, 1);
    assert_int_equal(plan_kernels(plan), 50);
    assert_true(plan_bytes(plan) < 5 * 1000 * sizeof(double)); /* x, y, and two that take turns */
    plan_free(plan);
    double expected = rig.value[0][999];
    for (int i = 0; i < 50; i++)
        expected = sin(expected);
    assert_true(rig_evaluate(&rig, y)[999] == expected);
    rig_release(&rig);
}

/* Values that live across others' births and deaths, of odd sizes: each must survive. */
static void places_of_living_values_never_overlap(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct node *x = rig_input(&rig, SHAPE(7), NORMAL), *piece[24], *y = NULL;
    double expected = 0;
    for (int i = 0; i < 24; i++)
        piece[i] =
            t_scale(t_broadcast(t_reshape(x, SHAPE(7, 1)), SHAPE(7, (i * 5) % 11 + 1)), i + 1);
    for (int i = 0; i < 24; i++) {
        int k = (i * 7) % 24;
        struct node *sum = t_sum_all(t_exp(t_scale(piece[k], 0.01)));
        y = y ? t_add(y, sum) : sum;
        for (int e = 0; e < 7; e++)
            expected += exp(0.01 * (k + 1) * rig.value[0][e]) * ((k * 5) % 11 + 1);
    }
    assert_true(fabs(*rig_evaluate(&rig, y) - expected) < 1e-9);
    rig_release(&rig);
}

static void what_is_missing_is_told(void **state)
{
    (void)state;
    struct rig rig;
    struct error err;
    rig_init(&rig);
    struct node *x = t_input(rig.graph, "image", DTYPE_F32, SHAPE(2));
    graph_push(rig.graph, "conv0");
    struct node *w = t_parameter(rig.graph, "weight", t_full(rig.graph, SHAPE(2), 1));
    graph_pop(rig.graph);
    struct node *y = t_mul(x, w);
    struct plan *plan = rig_plan(&rig, &y, 1);
    assert_false(plan_run(plan, 0, 0, &err));
    assert_contains(err.message, "input \"image\" has no value");
    plan_write(plan, x, (float[]){ 1, 2 });
    assert_false(plan_run(plan, 0, 0, &err));
    assert_contains(err.message, "\"conv0.weight\" has no value");
    plan_free(plan);
    struct node *z = t_parameter(rig.graph, "other", t_full(rig.graph, SHAPE(3), 1));
    assert_ok(store_require(rig.store, "other", DTYPE_F32, SHAPE(2, 2), &err), err);
    assert_null(plan_create(rig.store, &z, 1, NULL, 0, &err));
    assert_contains(err.message, "other: stored as f32 (2,2), but this model expects f32 (3)");
    rig_release(&rig);
}

static void an_unsupported_op_is_told_when_the_plan_is_made(void **state)
{
    (void)state;
    struct error err;
    struct backend poor = ref_backend;
    poor.name = "poor";
    poor.kernels[OP_ERF] = NULL;
    struct graph *graph = graph_new();
    struct store *store = store_new(&poor);
    struct node *x = t_input(graph, "x", DTYPE_F32, SHAPE(2)), *y[2] = { t_erf(x), t_exp(x) };
    assert_null(plan_create(store, &y[0], 1, NULL, 0, &err));
    assert_contains(err.message, "\"poor\" cannot compute erf (");
    assert_contains(err.message, "plan_test.c:");
    struct plan *plan = plan_create(store, &y[1], 1, NULL, 0, &err);
    assert_ok(plan, err);
    plan_free(plan);
    store_free(store);
    graph_free(graph);
}

/* The numbers of a step, drawn with so many threads, the leaf's neighbours being made or not. */
static void draw(int threads, bool neighbours, uint64_t step, uint64_t seed, float out[2000])
{
    struct rig rig;
    struct error err;
    rig_init(&rig);
    if (neighbours)
        (void)t_uniform(rig.graph, "earlier", SHAPE(9));
    struct node *noise[2] = { NULL, t_normal(rig.graph, "noise", SHAPE(2000)) };
    noise[0] = neighbours ? t_normal(rig.graph, "later", SHAPE(3)) : noise[1];
    int before = parallel_threads();
    parallel_set_threads(threads);
    struct plan *plan = rig_plan(&rig, noise, 2);
    assert_ok(plan_run(plan, step, seed, &err), err);
    plan_read(plan, noise[1], out);
    parallel_set_threads(before);
    plan_free(plan);
    rig_release(&rig);
}

static void random_leaves_depend_on_seed_step_and_name_alone(void **state)
{
    (void)state;
    float first[2000], same[2000], other[2000];
    draw(1, false, 3, 9, first);
    draw(3, true, 3, 9, same);
    assert_memory_equal(first, same, sizeof first);
    draw(1, false, 4, 9, other);
    assert_memory_not_equal(first, other, sizeof first);
    draw(1, false, 3, 10, other);
    assert_memory_not_equal(first, other, sizeof first);
}

/* What training by parts rests on. */
static void parts_draw_what_the_whole_would(void **state)
{
    (void)state;
    enum { PARTS = 3, PART = 2, EACH = 5 };
    float whole[PARTS * PART * EACH], parts[PARTS * PART * EACH];
    struct error err;
    for (int parted = 0; parted < 2; parted++) {
        struct rig rig;
        rig_init(&rig);
        struct node *x = t_normal(rig.graph, "noise", SHAPE(parted ? PART : PARTS * PART, EACH));
        struct node *y = t_scale(x, 2);
        struct plan *plan = rig_plan(&rig, &y, 1);
        for (int part = 0; part < (parted ? PARTS : 1); part++) {
            plan_part(plan, (uint64_t)part);
            assert_ok(plan_run(plan, 3, 7, &err), err);
            plan_read(plan, y, parted ? parts + part * PART * EACH : whole);
        }
        plan_free(plan);
        rig_release(&rig);
    }
    assert_memory_equal(whole, parts, sizeof whole);
}

static void values_cross_the_border_in_their_own_type(void **state)
{
    (void)state;
    struct rig rig;
    struct error err;
    rig_init(&rig);
    struct node *x = t_input(rig.graph, "x", DTYPE_BF16, SHAPE(3));
    struct node *label = t_input(rig.graph, "label", DTYPE_I32, SHAPE(3));
    struct node *y[] = { t_scale(x, 2), t_reshape(label, SHAPE(3, 1)), t_cast(label, DTYPE_F32) };
    struct plan *plan = rig_plan(&rig, y, 3);
    plan_write(plan, x, (uint16_t[]){ 0x3f80, 0xc000, 0x4049 });
    plan_write(plan, label, (int32_t[]){ -1, 70000, 3 });
    assert_ok(plan_run(plan, 0, 0, &err), err);
    uint16_t twice[3];
    int32_t labels[3];
    float numbers[3];
    plan_read(plan, y[0], twice);
    plan_read(plan, y[1], labels);
    plan_read(plan, y[2], numbers);
    assert_memory_equal(twice, ((uint16_t[]){ 0x4000, 0xc080, 0x40c9 }), sizeof twice);
    assert_memory_equal(labels, ((int32_t[]){ -1, 70000, 3 }), sizeof labels);
    assert_memory_equal(numbers, ((float[]){ -1, 70000, 3 }), sizeof numbers);
    plan_free(plan);
    rig_release(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_update_step_descends_and_leaves_the_rest_alone),
        cmocka_unit_test(assignments_happen_at_once),
        cmocka_unit_test(dead_nodes_are_not_run_and_memory_is_used_again),
        cmocka_unit_test(places_of_living_values_never_overlap),
        cmocka_unit_test(what_is_missing_is_told),
        cmocka_unit_test(an_unsupported_op_is_told_when_the_plan_is_made),
        cmocka_unit_test(random_leaves_depend_on_seed_step_and_name_alone),
        cmocka_unit_test(parts_draw_what_the_whole_would),
        cmocka_unit_test(values_cross_the_border_in_their_own_type),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
