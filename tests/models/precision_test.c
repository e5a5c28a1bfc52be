/* Gradients in mixed precision against those in single: of the DDPM, whose functions are smooth.
 * (In networks with leaky ReLU a value near zero may fall on the other side, which changes a slope
 * from .01 to 1: for them ./dev parity compares with PyTorch's mixed precision.) */
#include "case.h"

#include "tensor/compare.h"

enum { PARAMETERS_MAX = 256 };

/* Relative, of each tensor: 2⁻⁹ a rounding, through some forty operations. */
static const double FURTHEST = 0.05, LEAST = 1e-4;

/* Moves all parameters off their first values, of which some are zero. */
static void scatter(struct store *store)
{
    for (size_t i = 0; i < store_count(store); i++) {
        struct tensor *tensor = store_tensor(store, i);
        size_t count = shape_count(tensor->shape);
        float *value = calloc(count, sizeof *value);
        store_read(store, tensor, value);
        for (size_t k = 0; k < count; k++)
            value[k] += 0.05F * (float)random_normal(9, i, k);
        store_write(store, tensor, value);
        free(value);
    }
}

static void write_inputs(struct plan *plan, const struct graph *graph)
{
    for (size_t id = 0; id < graph_size(graph); id++) {
        const struct node *node = graph_node(graph, id);
        if (node->op != OP_INPUT)
            continue;
        size_t count = shape_count(node->shape);
        float *host = calloc(count, sizeof *host);
        random_fill_normal(5, 6, 0, count, host);
        for (size_t i = 0; node->dtype == DTYPE_I32 && i < count; i++)
            ((int32_t *)(void *)host)[i] = (int32_t)random_below(5, 6, i, 1000);
        plan_write(plan, node, host);
        free(host);
    }
}

/* The first phase's gradients, to be freed. */
static void differentiate(const struct training *training, enum precision precision,
                          float **gradient)
{
    struct error err;
    const struct phase *phase = &training->phases[0];
    struct store *store = store_new(PAIR_BACKEND);
    assert_ok(store_set_precision(store, precision, &err), err);
    struct plan *first = training_plan_initial(training, store, &err);
    assert_ok(first && plan_run(first, 0, 7, &err), err);
    scatter(store);
    struct plan *plan = plan_create(store, phase->gradients, phase->parameter_count, NULL, 0, &err);
    assert_ok(plan, err);
    write_inputs(plan, training->graph);
    assert_ok(plan_run(plan, 0, 7, &err), err);
    for (size_t i = 0; i < phase->parameter_count; i++) {
        gradient[i] = calloc(shape_count(phase->gradients[i]->shape), sizeof *gradient[i]);
        plan_read(plan, phase->gradients[i], gradient[i]);
    }
    plan_free(first);
    plan_free(plan);
    store_free(store);
}

static void each_gradient_is_near_that_in_single_precision(void **state)
{
    (void)state;
    struct error err;
    struct parity_case of;
    struct case_options options = { 0 };
    float *gradient[2][PARAMETERS_MAX];
    if (!PAIR_BACKEND->has_bf16())
        skip();
    assert_ok(case_open_usual(&of, "ddpm", CASE_SMALL, &options, &err), err);
    const struct phase *phase = &of.training.phases[0];
    assert_true(phase->parameter_count <= PARAMETERS_MAX);
    differentiate(&of.training, PRECISION_F32, gradient[0]);
    differentiate(&of.training, PRECISION_BF16, gradient[1]);
    for (size_t i = 0; i < phase->parameter_count; i++) {
        size_t count = shape_count(phase->gradients[i]->shape);
        double off = sqrt(pair_error(gradient[1][i], gradient[0][i], count));
        if (!(off <= FURTHEST && off >= LEAST)) /* at least: bf16 was used */
            fail_msg("the gradient of %s is off by %.3g", phase->parameters[i]->leaf.name, off);
        free(gradient[0][i]);
        free(gradient[1][i]);
    }
    case_close(&of);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_gradient_is_near_that_in_single_precision),
    };
    return cmocka_run_group_tests_name("models/precision", tests, NULL, NULL);
}
