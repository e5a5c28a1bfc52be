/* What plans promise, on the CPU backend: sharing, fusing, memory, updates, repeatability. */
#include "tensor/compare.h"

#include "base/parallel.h"
#include "tensor/layout.h"

#include <malloc.h>

/* The linker sends our own calls here (CMakeLists.txt). */
static size_t allocations;
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *pointer, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *pointer, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);

void *__wrap_malloc(size_t size)
{
    allocations++;
    return __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    allocations++;
    return __real_calloc(count, size);
}

void *__wrap_realloc(void *pointer, size_t size)
{
    allocations++;
    return __real_realloc(pointer, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    allocations++;
    return __real_aligned_alloc(alignment, size);
}

/* A small network with a training step: conv, norm, activation, attention-like product, noise. */
struct net {
    struct graph *graph;
    struct store *store;
    struct node *x, *w[2], *loss, *dw[2];
    struct plan *plan;
};

static void net_init(struct net *net, enum precision precision, int64_t size)
{
    struct error err;
    struct assign updates[2];
    *net = (struct net){ .graph = graph_new(), .store = store_new(&cpu_backend) };
    assert_ok(store_set_precision(net->store, precision, &err), err);
    net->x = t_input(net->graph, "x", DTYPE_F32, SHAPE(4, 8, size, size));
    for (int i = 0; i < 2; i++) {
        struct shape shape = SHAPE(32, i ? 32 : 8, 3, 3);
        const char *name = i ? "w1" : "w0";
        net->w[i] = t_parameter(net->graph, name, t_scale(t_normal(net->graph, name, shape), 0.1));
    }
    struct node *h = t_silu(t_conv(net->x, net->w[0], .pad = 1));
    h = t_add(h, t_scale(t_normal(net->graph, "noise", h->shape), 0.1));
    struct node *centred = t_sub(h, t_mean(h, AXES(2, 3)));
    h = t_div(centred, t_sqrt(t_shift(t_mean(t_square(centred), AXES(2, 3)), 1e-5)));
    h = t_leaky_relu(t_conv(h, net->w[1], .pad = 1), 0.2);
    net->loss = t_mean_all(t_square(t_softmax(h, 1)));
    grad(net->loss, net->w, 2, net->dw);
    for (int i = 0; i < 2; i++)
        updates[i] = (struct assign){ net->w[i], t_sub(net->w[i], t_scale(net->dw[i], 10)) };
    struct plan *first = plan_initial(net->store, net->w, 2, &err);
    assert_ok(first && plan_run(first, 0, 5, &err), err);
    plan_free(first);
    struct node *outputs[3] = { net->loss, net->dw[0], net->dw[1] };
    net->plan = plan_create(net->store, outputs, 3, updates, 2, &err);
    assert_ok(net->plan, err);
    size_t count = shape_count(net->x->shape);
    float *values = calloc(count, sizeof *values);
    random_fill_normal(3, 4, 0, count, values);
    plan_write(net->plan, net->x, values);
    free(values);
}

static void net_release(struct net *net)
{
    plan_free(net->plan);
    store_free(net->store);
    graph_free(net->graph);
}

static void net_train(struct net *net, int steps)
{
    struct error err;
    for (int i = 0; i < steps; i++)
        assert_ok(plan_run(net->plan, (uint64_t)i, 5, &err), err);
}

static void runs_allocate_nothing_after_the_first(void **state)
{
    (void)state;
    struct net net;
    net_init(&net, PRECISION_F32, 24);
    net_train(&net, 2);
    size_t before = allocations;
    net_train(&net, 20);
    size_t in_use = mallinfo2().uordblks;
    net_train(&net, 20);
    assert_int_equal(allocations, before);
    assert_true(mallinfo2().uordblks <= in_use); /* nor do libraries keep more with every run */
    net_release(&net);
}

static void runs_repeat_bit_for_bit(void **state)
{
    (void)state;
    float weights[2][32 * 32 * 9];
    for (int i = 0; i < 2; i++) {
        struct net net;
        net_init(&net, PRECISION_F32, 24);
        net_train(&net, 4);
        store_read(net.store, store_find(net.store, "w1"), weights[i]);
        net_release(&net);
    }
    assert_memory_equal(weights[0], weights[1], sizeof weights[0]);
}

/* Without oneDNN, whose sums may follow the number of threads. */
static void loops_do_not_depend_on_the_number_of_threads(void **state)
{
    (void)state;
    int before = parallel_threads();
    float result[3][5];
    for (int threads = 1; threads <= 3; threads++) {
        struct pair pair;
        parallel_set_threads(threads);
        pair_init(&pair);
        struct node *x = pair_input(&pair, SHAPE(5, 7, 60, 61), NORMAL);
        struct node *noise = t_normal(pair.graph, "noise", x->shape);
        struct node *y = t_sum(t_mul(t_tanh(x), noise), AXES(1, 2, 3));
        memcpy(result[threads - 1], pair_run(&pair, &cpu_backend, &y, 1)[0], sizeof result[0]);
        pair_release(&pair);
    }
    parallel_set_threads(before);
    assert_memory_equal(result[0], result[1], sizeof result[0]);
    assert_memory_equal(result[0], result[2], sizeof result[0]);
}

/* Parts of a whole that are constant are stored once; the whole is not constant for that. */
static void what_is_partly_constant_is_computed_at_each_run(void **state)
{
    (void)state;
    for (int padded = 0; padded < 2; padded++) {
        struct pair pair;
        pair_init(&pair);
        struct node *x = t_scale(pair_input(&pair, SHAPE(2, 6, 6), NORMAL), 3);
        struct node *whole =
            padded ? t_pad(x, 1, 1, 2) : t_concat(1, t_full(pair.graph, SHAPE(2, 3, 6), 1), x);
        struct node *y = t_scale(t_sum(t_square(t_matmul(whole, t_transpose(whole))), AXES(1)), 2);
        pair_expect(&pair, &y, 1, 1e-10, padded ? "pad" : "concat");
        pair_release(&pair);
    }
}

/* Joined tensors within joined ones, of which some are read elsewhere, or are results. */
static void parts_of_parts_agree(void **state)
{
    (void)state;
    struct pair pair;
    pair_init(&pair);
    struct node *x = pair_input(&pair, SHAPE(2, 5, 6), NORMAL);
    struct node *w = pair_input(&pair, SHAPE(6, 6), NORMAL);
    struct node *inner = t_concat(1, t_exp(x), t_matmul(x, w));
    struct node *padded = t_pad(t_pad(t_slice(inner, 1, 2, 9), 1, 1, 2), 2, 0, 1);
    struct node *both = t_concat(2, padded, t_slice(t_pad(padded, 2, 3, 0), 2, 0, 4));
    struct node *within =
        t_pad(t_concat(1, t_concat(2, x, t_matmul(x, w)), t_concat(2, x, x)), 2, 1, 1);
    struct node *roots[] = { both, within, t_matmul(within, t_transpose(within)), inner, padded };
    pair_expect(&pair, roots, 5, 1e-10, "all");
    for (int i = 0; i < 5; i++)
        pair_expect(&pair, &roots[i], 1, 1e-10, "one");
    pair_release(&pair);
}

/* Slices of one tensor that meet, leave a gap, overlap, and are cut along two axes. */
static void gradients_of_slices_agree(void **state)
{
    (void)state;
    static const struct {
        int64_t begin[3], end[3];
    } cases[] = { { { 0, 2, 5 }, { 2, 5, 8 } }, { { 5, 2, 0 }, { 8, 5, 2 } },
                  { { 2, 0, 5 }, { 5, 2, 8 } }, { { 1, 3, 5 }, { 3, 5, 6 } },
                  { { 0, 3, 6 }, { 2, 5, 8 } }, { { 0, 2, 4 }, { 3, 6, 8 } },
                  { { 0, 0, 4 }, { 4, 4, 8 } } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int axis = 0; axis < 2; axis++) {
            struct pair pair;
            pair_init(&pair);
            struct node *x = pair_input(&pair, SHAPE(8, 8, 3), NORMAL), *sum = NULL, *d;
            for (int k = 0; k < 3; k++) {
                struct node *part = t_slice(x, axis, cases[i].begin[k], cases[i].end[k]);
                part = k == 1 ? t_slice(part, 1 - axis, 1, 7) : part;
                part = t_sum_all(t_exp(t_scale(part, 0.3 * (k + 1))));
                sum = sum ? t_add(sum, part) : part;
            }
            grad(sum, &x, 1, &d);
            pair_expect(&pair, &d, 1, 1e-10, "slices");
            pair_release(&pair);
        }
}

static size_t kernels_of(struct node *const *outputs, size_t count)
{
    struct error err;
    struct store *store = store_new(&cpu_backend);
    struct plan *plan = plan_create(store, outputs, count, NULL, 0, &err);
    assert_ok(plan, err);
    size_t kernels = plan_kernels(plan);
    plan_free(plan);
    store_free(store);
    return kernels;
}

static void chains_are_one_step_and_equal_nodes_are_shared(void **state)
{
    (void)state;
    struct graph *graph = graph_new();
    struct node *x = t_input(graph, "x", DTYPE_F32, SHAPE(2, 3, 40, 40));
    struct node *b = t_input(graph, "b", DTYPE_F32, SHAPE(3, 1, 1));
    struct node *chain = t_leaky_relu(t_mul(t_add(x, b), t_sigmoid(t_add(x, b))), 0.2);
    assert_int_equal(kernels_of(&chain, 1), 1);
    struct node *sums[] = { t_sum(chain, AXES(2, 3)), t_sum(t_mul(chain, x), AXES(2, 3)), chain };
    assert_int_equal(kernels_of(sums, 3), 1);
    struct node *views = t_add(t_permute(t_slice(x, 2, 3, 9), 0, 1, 3, 2), b);
    assert_int_equal(kernels_of(&views, 1), 1);
    struct node *w = t_input(graph, "w", DTYPE_F32, SHAPE(4, 3, 3, 3));
    struct node *twice[] = { t_conv(x, w), t_scale(t_conv(x, w), 2) };
    assert_true(kernels_of(twice, 2) < 2 + kernels_of(twice, 1)); /* one convolution, one loop */
    graph_free(graph);
}

/* Mean; squares of what is left; the sums that its gradient needs, those of gain and bias among
 * them; the gradient. All else is as small as a row of channels. */
static void a_normalisation_and_its_gradient_take_four_passes(void **state)
{
    (void)state;
    struct graph *graph = graph_new();
    struct node *x = t_input(graph, "x", DTYPE_F32, SHAPE(4, 8, 64, 64));
    struct node *gain = t_input(graph, "gain", DTYPE_F32, SHAPE(8, 1, 1));
    struct node *bias = t_input(graph, "bias", DTYPE_F32, SHAPE(8, 1, 1));
    struct node *centred = t_sub(x, t_mean(x, AXES(2, 3)));
    struct node *deviation = t_sqrt(t_shift(t_mean(t_square(centred), AXES(2, 3)), 1e-5));
    struct node *y = t_add(t_mul(t_div(centred, deviation), gain), bias);
    struct node *weight = t_input(graph, "weight", DTYPE_F32, y->shape), *gradient[3];
    struct node *sources[3] = { x, gain, bias };
    grad(t_sum_all(t_mul(y, weight)), sources, 3, gradient);
    assert_int_equal(kernels_of(&y, 1), 3 + 2);
    assert_int_equal(kernels_of(gradient, 3), 4 + 6);
    graph_free(graph);
}

static void memory_is_far_below_the_sum_of_values(void **state)
{
    (void)state;
    struct net net;
    size_t sum = 0;
    net_init(&net, PRECISION_F32, 64);
    for (size_t id = 0; id < graph_size(net.graph); id++)
        sum += shape_count(graph_node(net.graph, id)->shape) * sizeof(float);
    assert_true(plan_bytes(net.plan) < sum / 4);
    net_release(&net);
}

/* Values that a later step still reads must not be overwritten by an update in place. */
static void updates_read_what_stood_before_the_run(void **state)
{
    (void)state;
    struct error err;
    struct graph *graph = graph_new();
    struct store *store = store_new(&cpu_backend);
    struct node *a = t_parameter(graph, "a", t_full(graph, SHAPE(300), 1));
    struct node *b = t_parameter(graph, "b", t_full(graph, SHAPE(300), 5));
    struct plan *first = plan_initial(store, (struct node *[]){ a, b }, 2, &err);
    assert_ok(first && plan_run(first, 0, 0, &err), err);
    struct node *flipped = t_flip(t_add(a, t_scale(b, 10)), 1); /* a's new value reads all of b */
    const struct assign updates[] = { { a, t_add(a, b) }, { b, t_sub(t_mul(b, a), flipped) } };
    struct plan *plan = plan_create(store, NULL, 0, updates, 2, &err);
    assert_ok(plan, err);
    float value[2][300], expected[2] = { 1, 5 };
    for (int run = 0; run < 3; run++) {
        assert_ok(plan_run(plan, 0, 0, &err), err);
        store_read(store, store_find(store, "a"), value[0]);
        store_read(store, store_find(store, "b"), value[1]);
        float old = expected[0];
        expected[0] = old + expected[1];
        expected[1] = expected[1] * old - (old + 10 * expected[1]);
        for (int i = 0; i < 300; i++)
            assert_true(value[0][i] == expected[0] && value[1][i] == expected[1]);
    }
    plan_free(first);
    plan_free(plan);
    store_free(store);
    graph_free(graph);
}

static void swapped_parameters_change_places(void **state)
{
    (void)state;
    struct error err;
    struct graph *graph = graph_new();
    struct store *store = store_new(&cpu_backend);
    struct node *a = t_parameter(graph, "a", t_full(graph, SHAPE(3), 1));
    struct node *b = t_parameter(graph, "b", t_full(graph, SHAPE(3), 5));
    struct plan *first = plan_initial(store, (struct node *[]){ a, b }, 2, &err);
    const struct assign swap[] = { { a, b }, { b, a } };
    struct plan *plan = plan_create(store, NULL, 0, swap, 2, &err);
    assert_ok(first && plan && plan_run(first, 0, 0, &err) && plan_run(plan, 0, 0, &err), err);
    float value[2][3];
    store_read(store, store_find(store, "a"), value[0]);
    store_read(store, store_find(store, "b"), value[1]);
    assert_true(value[0][0] == 5 && value[0][2] == 5 && value[1][0] == 1 && value[1][2] == 1);
    plan_free(first);
    plan_free(plan);
    store_free(store);
    graph_free(graph);
}

/* One plan enlarges the workspace that another one uses; outputs outlast the other's run. */
static void plans_share_working_memory(void **state)
{
    (void)state;
    struct error err;
    struct graph *graph = graph_new();
    struct store *store = store_new(&cpu_backend);
    struct node *x = t_input(graph, "x", DTYPE_F32, SHAPE(10, 10));
    struct node *z = t_input(graph, "z", DTYPE_F32, SHAPE(300, 300));
    struct node *small = t_matmul(t_exp(x), t_tanh(x)), *large = t_matmul(t_exp(z), t_tanh(z));
    float ones[90000], before[100], after[100];
    for (int i = 0; i < 90000; i++)
        ones[i] = 1;
    struct plan *plan = plan_create(store, &small, 1, NULL, 0, &err);
    assert_ok(plan, err);
    plan_write(plan, x, ones);
    assert_ok(plan_run(plan, 0, 0, &err), err);
    plan_read(plan, small, before);
    struct plan *other = plan_create(store, &large, 1, NULL, 0, &err);
    assert_ok(other, err);
    plan_write(other, z, ones);
    assert_ok(plan_run(other, 0, 0, &err), err);
    plan_read(plan, small, after);
    assert_memory_equal(before, after, sizeof before);
    assert_ok(plan_run(plan, 0, 0, &err), err);
    plan_read(plan, small, after);
    assert_memory_equal(before, after, sizeof before);
    assert_true(fabs((double)before[0] - 10 * exp(1) * tanh(1)) < 1e-4);
    plan_free(plan);
    plan_free(other);
    store_free(store);
    graph_free(graph);
}

static void a_plan_larger_than_the_machine_is_refused(void **state)
{
    (void)state;
    struct error err;
    struct graph *graph = graph_new();
    struct store *store = store_new(&cpu_backend);
    struct node *x = t_normal(graph, "x", SHAPE(1 << 20, 1 << 10, 64)); /* 256 GiB */
    struct node *y = t_matmul(x, t_normal(graph, "y", SHAPE(64, 64)));
    struct node *sum = t_sum_all(y);
    assert_null(plan_create(store, &sum, 1, NULL, 0, &err));
    assert_contains(err.message, "of working memory, and ");
    store_free(store);
    graph_free(graph);
}

/* bf16 has 8 bits: products of some hundred terms are right to about 1 %. */
static void mixed_precision_stays_near_single(void **state)
{
    (void)state;
    if (!cpu_backend.has_bf16())
        skip();
    float gradient[2][32 * 32 * 9], loss[2];
    for (int half = 0; half < 2; half++) {
        struct net net;
        net_init(&net, half ? PRECISION_BF16 : PRECISION_F32, 24);
        net_train(&net, 1);
        plan_read(net.plan, net.loss, &loss[half]);
        plan_read(net.plan, net.dw[1], gradient[half]);
        net_release(&net);
    }
    assert_true(fabs((double)(loss[0] - loss[1])) < 1e-3 * fabs((double)loss[0]));
    assert_true(pair_error(gradient[1], gradient[0], 32 * 32 * 9) < 1e-3);
    assert_true(pair_error(gradient[1], gradient[0], 32 * 32 * 9) > 1e-12); /* it was used */
}

static void the_reference_backend_has_no_mixed_precision(void **state)
{
    (void)state;
    struct error err;
    struct store *store = store_new(&ref_backend);
    assert_false(store_set_precision(store, PRECISION_BF16, &err));
    assert_contains(err.message, "\"ref\" has no fast bf16");
    store_free(store);
}

static void a_profile_names_kinds_and_layers(void **state)
{
    (void)state;
    struct net net;
    char text[16384] = "";
    FILE *out = fmemopen(text, sizeof text - 1, "w");
    net_init(&net, PRECISION_F32, 24);
    plan_measure(net.plan, true);
    net_train(&net, 2);
    plan_profile(net.plan, out);
    fclose(out);
    assert_contains(text, "conv_dw");
    assert_contains(text, "loop with sums");
    assert_contains(text, "GFLOP/s");
    net_release(&net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_allocate_nothing_after_the_first),
        cmocka_unit_test(runs_repeat_bit_for_bit),
        cmocka_unit_test(loops_do_not_depend_on_the_number_of_threads),
        cmocka_unit_test(what_is_partly_constant_is_computed_at_each_run),
        cmocka_unit_test(parts_of_parts_agree),
        cmocka_unit_test(gradients_of_slices_agree),
        cmocka_unit_test(chains_are_one_step_and_equal_nodes_are_shared),
        cmocka_unit_test(a_normalisation_and_its_gradient_take_four_passes),
        cmocka_unit_test(memory_is_far_below_the_sum_of_values),
        cmocka_unit_test(updates_read_what_stood_before_the_run),
        cmocka_unit_test(swapped_parameters_change_places),
        cmocka_unit_test(plans_share_working_memory),
        cmocka_unit_test(a_plan_larger_than_the_machine_is_refused),
        cmocka_unit_test(mixed_precision_stays_near_single),
        cmocka_unit_test(the_reference_backend_has_no_mixed_precision),
        cmocka_unit_test(a_profile_names_kinds_and_layers),
    };
    return cmocka_run_group_tests_name("tensor/cpu_plan", tests, NULL, NULL);
}
