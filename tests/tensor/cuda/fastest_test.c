/* The fastest algorithms, on the emulated device: measured where they are asked for and nowhere
 * else, once for each kind of work, in the memory that there is. Its clock is moved by what its
 * libraries are said to take, so no time is taken here. Each test has shapes of its own, since what
 * was measured is known until the process ends. */
#include "tensor/compare.h"

#include <stdlib.h>

/* Normalised mean square errors: of products in f32; with factors rounded to 10 bits. */
static const double SINGLE = 1e-10, TF32 = 1e-6;

enum {
    TIMINGS = 1 + 5
}; /* of a way that is not hopeless: one to begin with, and five that count */

struct outcome {
    float *value;              /* of the last of three runs, which a recording replays */
    size_t timed;              /* how often a way was, until the plan was made */
    size_t ran[EMULATED_WAYS]; /* how often each way was asked for afterwards */
};

static struct outcome run_with(struct pair *pair, struct node *y, enum algorithms algorithms,
                               enum precision precision)
{
    struct error err;
    struct outcome outcome;
    struct store *store = store_new(emulated_backend());
    assert_ok(store_set_precision(store, precision, &err), err);
    store_set_algorithms(store, algorithms);
    size_t timed = emulation_timed();
    struct plan *plan = plan_create(store, &y, 1, NULL, 0, &err);
    assert_ok(plan, err);
    outcome.timed = emulation_timed() - timed;
    for (int way = 0; way < EMULATED_WAYS; way++)
        outcome.ran[way] = emulation_run(way);
    for (int run = 0; run < 3; run++) {
        pair_write(pair, plan, run == 1);
        assert_ok(plan_run(plan, 3, 1, &err), err);
    }
    assert_true(plan_is_replayed(plan));
    assert_int_equal(emulation_timed() - timed, outcome.timed); /* running measures nothing */
    for (int way = 0; way < EMULATED_WAYS; way++)
        outcome.ran[way] = emulation_run(way) - outcome.ran[way];
    outcome.value = arena_array(&pair->arena, float, shape_count(y->shape));
    plan_read(plan, y, outcome.value);
    plan_free(plan);
    store_free(store);
    return outcome;
}

static struct outcome run_fastest(struct pair *pair, struct node *y)
{
    return run_with(pair, y, ALGORITHMS_FASTEST, PRECISION_F32);
}

static double error_of(struct pair *pair, const struct outcome *outcome, struct node *y)
{
    float **expected = pair_run(pair, &ref_backend, &y, 1);
    return pair_error(outcome->value, expected[0], shape_count(y->shape));
}

/* The plan ran this way alone: once at first, once to be recorded, for each of its matrix ops. */
static void assert_way(const struct outcome *outcome, int way, size_t matrix_ops)
{
    for (int i = 0; i < EMULATED_WAYS; i++)
        assert_int_equal(outcome->ran[i], i == way ? 2 * matrix_ops : 0);
}

static struct node *convolution(struct pair *pair, int64_t channels)
{
    struct node *x = pair_input(pair, SHAPE(2, channels, 6, 6), NORMAL);
    struct node *w = pair_input(pair, SHAPE(4, channels, 3, 3), NORMAL);
    return t_conv(x, w, .pad = 1);
}

static struct node *product(struct pair *pair, int64_t inner)
{
    struct node *a = pair_input(pair, SHAPE(5, inner), NORMAL);
    struct node *b = pair_input(pair, SHAPE(inner, 7), NORMAL);
    return t_matmul(a, b);
}

static void deterministic_plans_measure_nothing(void **state)
{
    (void)state;
    struct pair pair;
    pair_init(&pair);
    emulation_costs((double[]){ 9, 1, 1 });
    struct node *y = t_matmul(t_reshape(convolution(&pair, 2), SHAPE(8, 36)),
                              pair_input(&pair, SHAPE(36, 5), NORMAL));
    struct outcome outcome = run_with(&pair, y, ALGORITHMS_DETERMINISTIC, PRECISION_F32);
    assert_int_equal(outcome.timed, 0);
    assert_way(&outcome, 0, 2);
    assert_true(error_of(&pair, &outcome, y) < SINGLE);
    pair_release(&pair);
}

static void the_fastest_way_of_each_work_is_kept(void **state)
{
    (void)state;
    struct pair pair;
    for (int fastest = 0; fastest < EMULATED_WAYS; fastest++) {
        double costs[EMULATED_WAYS] = { 2, 2, 2 };
        costs[fastest] = 1;
        emulation_costs(costs);
        pair_init(&pair);
        struct node *y = convolution(&pair, 4 + 2 * fastest);
        struct outcome outcome = run_fastest(&pair, y);
        assert_int_equal(outcome.timed, EMULATED_WAYS * TIMINGS);
        assert_way(&outcome, fastest, 1);
        assert_true(error_of(&pair, &outcome, y) < TF32);
        y = product(&pair, 20 + fastest);
        outcome = run_fastest(&pair, y);
        assert_int_equal(outcome.timed, EMULATED_WAYS * TIMINGS);
        assert_way(&outcome, fastest, 1);
        assert_true(error_of(&pair, &outcome, y) < TF32);
        pair_release(&pair);
    }
}

static void of_equals_the_first_is_kept(void **state)
{
    (void)state;
    struct pair pair;
    pair_init(&pair);
    emulation_costs((double[]){ 1, 1, 1 });
    struct outcome outcome = run_fastest(&pair, convolution(&pair, 10));
    assert_way(&outcome, 0, 1);
    pair_release(&pair);
}

static void gradients_are_work_of_their_own(void **state)
{
    (void)state;
    struct pair pair;
    pair_init(&pair);
    emulation_costs((double[]){ 2, 2, 1 });
    struct node *y = convolution(&pair, 12), *gradient[2];
    struct node *loss = t_sum_all(t_square(y));
    grad(loss, pair.x, 2, gradient);
    struct node *both = t_add(t_sum_all(t_square(gradient[0])), t_sum_all(t_square(gradient[1])));
    struct outcome outcome = run_fastest(&pair, both);
    assert_int_equal(outcome.timed, 3 * EMULATED_WAYS * TIMINGS);
    assert_way(&outcome, 2, 3);
    assert_true(error_of(&pair, &outcome, both) < TF32);
    pair_release(&pair);
}

/* Twice in a network, and in another plan of another store. */
static void the_same_work_is_measured_once(void **state)
{
    (void)state;
    struct pair pair;
    pair_init(&pair);
    emulation_costs((double[]){ 2, 1, 2 });
    struct node *y = t_add(convolution(&pair, 14), convolution(&pair, 14));
    struct outcome outcome = run_fastest(&pair, y);
    assert_int_equal(outcome.timed, EMULATED_WAYS * TIMINGS);
    assert_way(&outcome, 1, 2);
    emulation_costs((double[]){ 1, 2, 2 }); /* too late */
    outcome = run_fastest(&pair, y);
    assert_int_equal(outcome.timed, 0);
    assert_way(&outcome, 1, 2);
    assert_true(error_of(&pair, &outcome, y) < TF32);
    pair_release(&pair);
}

/* All of the same shapes. */
static void work_that_differs_in_geometry_layout_or_type_is_other_work(void **state)
{
    (void)state;
    struct pair pair;
    pair_init(&pair);
    struct node *x = pair_input(&pair, SHAPE(2, 38, 7, 7), NORMAL);
    struct node *w = pair_input(&pair, SHAPE(4, 38, 3, 3), NORMAL);
    struct node *a = pair_input(&pair, SHAPE(40, 40), NORMAL);
    struct node *b = pair_input(&pair, SHAPE(40, 40), NORMAL);
    const struct {
        struct node *y;
        enum precision precision;
    } works[] = { { t_conv(x, w, .pad = 1), PRECISION_F32 },
                  { t_conv(x, w, .pad = 2, .dilation = 2), PRECISION_F32 },
                  { t_conv(x, w, .pad = 1), PRECISION_BF16 },
                  { t_matmul(a, b), PRECISION_F32 },
                  { t_matmul(t_permute(a, 1, 0), b), PRECISION_F32 },
                  { t_matmul(a, t_permute(b, 1, 0)), PRECISION_F32 },
                  { t_matmul(a, b), PRECISION_BF16 } };
    for (size_t i = 0; i < sizeof works / sizeof *works; i++) {
        double costs[EMULATED_WAYS] = { 2, 2, 2 };
        costs[i % EMULATED_WAYS] = 1;
        emulation_costs(costs);
        struct outcome outcome =
            run_with(&pair, works[i].y, ALGORITHMS_FASTEST, works[i].precision);
        assert_int_equal(outcome.timed, EMULATED_WAYS * TIMINGS);
        assert_way(&outcome, (int)(i % EMULATED_WAYS), 1);
    }
    pair_release(&pair);
}

static void what_was_measured_does_not_reach_deterministic_plans(void **state)
{
    (void)state;
    struct pair pair;
    pair_init(&pair);
    emulation_costs((double[]){ 2, 1, 2 });
    struct node *y = convolution(&pair, 16);
    struct outcome fastest = run_fastest(&pair, y);
    struct outcome plain = run_with(&pair, y, ALGORITHMS_DETERMINISTIC, PRECISION_F32);
    assert_way(&fastest, 1, 1);
    assert_way(&plain, 0, 1);
    assert_true(error_of(&pair, &plain, y) < SINGLE);
    assert_true(error_of(&pair, &fastest, y) > SINGLE); /* TF32 */
    pair_release(&pair);
}

static void in_bf16_only_the_way_differs(void **state)
{
    (void)state;
    struct pair pair;
    pair_init(&pair);
    emulation_costs((double[]){ 2, 1, 2 });
    struct node *y = convolution(&pair, 18);
    struct outcome fastest = run_with(&pair, y, ALGORITHMS_FASTEST, PRECISION_BF16);
    struct outcome plain = run_with(&pair, y, ALGORITHMS_DETERMINISTIC, PRECISION_BF16);
    assert_int_equal(fastest.timed, EMULATED_WAYS * TIMINGS);
    assert_way(&fastest, 1, 1);
    assert_memory_equal(fastest.value, plain.value, sizeof(float) * shape_count(y->shape));
    pair_release(&pair);
}

static void a_way_that_fails_is_passed_over(void **state)
{
    (void)state;
    struct pair pair;
    pair_init(&pair);
    emulation_costs((double[]){ 2, 1, -1 });
    struct node *y = convolution(&pair, 20);
    struct outcome outcome = run_fastest(&pair, y);
    assert_int_equal(outcome.timed, 2 * TIMINGS + 1);
    assert_way(&outcome, 1, 1);
    assert_true(error_of(&pair, &outcome, y) < TF32);
    pair_release(&pair);
}

static void a_hopeless_way_is_not_run_again(void **state)
{
    (void)state;
    struct pair pair;
    pair_init(&pair);
    emulation_costs((double[]){ 1, 4, 2 });
    struct outcome outcome = run_fastest(&pair, convolution(&pair, 22));
    assert_int_equal(outcome.timed, 2 * TIMINGS + 2);
    assert_way(&outcome, 0, 1);
    pair_release(&pair);
}

/* The convolution's tensors, each to the next multiple of 256, beside two ways' scratch memory. */
static void a_way_whose_memory_is_not_there_is_passed_over(void **state)
{
    (void)state;
    struct pair pair;
    pair_init(&pair);
    enum { CHANNELS = 32, TENSORS = 2 * CHANNELS * 36 + 4 * CHANNELS * 9 + 2 * 4 * 36 + 32 };
    _Static_assert(2 * CHANNELS * 36 % 64 == 0 && 4 * CHANNELS * 9 % 64 == 0 &&
                       (2 * 4 * 36 + 32) % 64 == 0,
                   "whole pieces of 256 bytes");
    emulation_costs((double[]){ 3, 2, 1 });
    struct node *y = convolution(&pair, CHANNELS);
    struct error err;
    struct store *store = store_new(emulated_backend());
    store_set_algorithms(store, ALGORITHMS_FASTEST);
    size_t before = emulation_timed();
    emulation_available(TENSORS * sizeof(float) + 2 * EMULATED_SCRATCH);
    struct plan *plan = plan_create(store, &y, 1, NULL, 0, &err);
    emulation_available(SIZE_MAX);
    assert_int_equal(emulation_timed() - before, 2 * TIMINGS);
    plan_free(plan); /* it may not have found its own memory */
    store_free(store);
    struct outcome outcome = run_fastest(&pair, y);
    assert_int_equal(outcome.timed, 0);
    assert_way(&outcome, 1, 1);
    pair_release(&pair);
}

/* The plan's own memory is less than what measuring takes beside it. */
static void without_memory_to_measure_in_the_first_way_is_taken(void **state)
{
    (void)state;
    struct pair pair;
    pair_init(&pair);
    emulation_costs((double[]){ 3, 2, 1 });
    struct node *y = convolution(&pair, 34);
    struct error err;
    struct store *store = store_new(emulated_backend());
    store_set_algorithms(store, ALGORITHMS_FASTEST);
    size_t before = emulation_timed();
    emulation_available(1000);
    struct plan *plan = plan_create(store, &y, 1, NULL, 0, &err);
    emulation_available(SIZE_MAX);
    assert_int_equal(emulation_timed(), before);
    plan_free(plan);
    store_free(store);
    struct outcome outcome = run_fastest(&pair, y); /* nothing was remembered */
    assert_int_equal(outcome.timed, EMULATED_WAYS * TIMINGS);
    assert_way(&outcome, 2, 1);
    pair_release(&pair);
}

/* A bias in the product's epilogue, factors that lie transposed, several matrices at once. */
static void products_of_every_form_are_measured(void **state)
{
    (void)state;
    struct pair pair;
    pair_init(&pair);
    emulation_costs((double[]){ 2, 2, 1 });
    struct node *x = pair_input(&pair, SHAPE(9, 24), NORMAL);
    struct node *w = pair_input(&pair, SHAPE(24, 8), NORMAL);
    struct node *bias = pair_input(&pair, SHAPE(1, 8), NORMAL);
    struct node *a = pair_input(&pair, SHAPE(3, 9, 26), NORMAL);
    struct node *b = pair_input(&pair, SHAPE(3, 11, 26), NORMAL);
    struct node *one = pair_input(&pair, SHAPE(1, 26, 6), NORMAL);
    struct node *y[] = { t_slice(t_add(t_matmul(x, w), bias), -1, 1, 8),
                         t_matmul(a, t_permute(b, 0, 2, 1)),
                         t_matmul(a, t_broadcast(one, SHAPE(3, 26, 6))) };
    for (size_t i = 0; i < sizeof y / sizeof *y; i++) {
        struct outcome outcome = run_fastest(&pair, y[i]);
        assert_int_equal(outcome.timed, EMULATED_WAYS * TIMINGS);
        assert_way(&outcome, 2, 1);
        assert_true(error_of(&pair, &outcome, y[i]) < TF32);
    }
    pair_release(&pair);
}

static void on_a_processor_it_changes_no_bit(void **state)
{
    (void)state;
    struct error err;
    struct pair pair;
    float *value[2];
    pair_init(&pair);
    struct node *y = convolution(&pair, 36);
    size_t before = emulation_timed(), count = shape_count(y->shape);
    for (int fastest = 0; fastest < 2; fastest++) {
        struct store *store = store_new(&cpu_backend);
        assert_int_equal(store_algorithms(store), ALGORITHMS_DETERMINISTIC);
        store_set_algorithms(store, fastest ? ALGORITHMS_FASTEST : ALGORITHMS_DETERMINISTIC);
        struct plan *plan = plan_create(store, &y, 1, NULL, 0, &err);
        assert_ok(plan, err);
        pair_write(&pair, plan, false);
        assert_ok(plan_run(plan, 3, 1, &err), err);
        value[fastest] = arena_array(&pair.arena, float, count);
        plan_read(plan, y, value[fastest]);
        plan_free(plan);
        store_free(store);
    }
    assert_memory_equal(value[0], value[1], count * sizeof(float));
    assert_int_equal(emulation_timed(), before);
    pair_release(&pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(deterministic_plans_measure_nothing),
        cmocka_unit_test(the_fastest_way_of_each_work_is_kept),
        cmocka_unit_test(of_equals_the_first_is_kept),
        cmocka_unit_test(gradients_are_work_of_their_own),
        cmocka_unit_test(the_same_work_is_measured_once),
        cmocka_unit_test(work_that_differs_in_geometry_layout_or_type_is_other_work),
        cmocka_unit_test(what_was_measured_does_not_reach_deterministic_plans),
        cmocka_unit_test(in_bf16_only_the_way_differs),
        cmocka_unit_test(a_way_that_fails_is_passed_over),
        cmocka_unit_test(a_hopeless_way_is_not_run_again),
        cmocka_unit_test(a_way_whose_memory_is_not_there_is_passed_over),
        cmocka_unit_test(without_memory_to_measure_in_the_first_way_is_taken),
        cmocka_unit_test(products_of_every_form_are_measured),
        cmocka_unit_test(on_a_processor_it_changes_no_bit),
    };
    return cmocka_run_group_tests_name("tensor/fastest", tests, NULL, NULL);
}
