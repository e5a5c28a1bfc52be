/* Training steps of whole models: the CPU's fused plans against the reference's plain ones.
 *
 * A plan runs some of its steps once, updates parameters in place and lets buffers share memory.
 * A mistake in any of that may take several steps, with other inputs and weights at each, to show:
 * in single runs, what a step has left behind is still right.
 *
 * Compared are the terms of the loss at each step, and all weights, moments and averages in the
 * end.
 */
#include "case.h"

#include "tensor/compare.h"

enum { STEPS = 3, TERMS = STEPS * CASE_PHASES * CASE_TERMS };
static const double TERM_TOLERANCE = 3e-6, WEIGHT_TOLERANCE = 1e-8;

struct trainee {
    struct training training;
    struct store *store;
    struct plan *plans[CASE_PHASES];
    float term[TERMS];
    int terms;
};

static void trainee_init(struct trainee *trainee, const struct backend *backend, const char *name,
                         const char *text)
{
    struct error err;
    struct case_options options = { .batch = 4 };
    struct json *settings = json_parse(text, strlen(text), name, &err);
    assert_ok(settings, err);
    *trainee = (struct trainee){ .store = store_new(backend) };
    assert_ok(training_init(&trainee->training, name, settings, &options, &err), err);
    json_free(settings);
    struct plan *first = training_plan_initial(&trainee->training, trainee->store, &err);
    assert_ok(first && plan_run(first, 0, 7, &err), err);
    plan_free(first);
    for (int i = 0; i < trainee->training.phase_count; i++) {
        trainee->plans[i] = training_plan(&trainee->training, i, trainee->store, &err);
        assert_ok(trainee->plans[i], err);
    }
}

static void trainee_release(struct trainee *trainee)
{
    for (int i = 0; i < trainee->training.phase_count; i++)
        plan_free(trainee->plans[i]);
    store_free(trainee->store);
    training_release(&trainee->training);
}

/* Other images and labels at each step; the decay of the average stands still. */
static void write_inputs(struct trainee *trainee, int phase, int step)
{
    const struct graph *graph = trainee->training.graph;
    for (size_t id = 0; id < graph_size(graph); id++) {
        const struct node *node = graph_node(graph, id);
        if (node->op != OP_INPUT)
            continue;
        size_t count = shape_count(node->shape);
        float *host = calloc(count, sizeof *host);
        random_fill_normal(5, (uint64_t)step, 0, count, host);
        for (size_t i = 0; node->dtype == DTYPE_I32 && i < count; i++)
            ((int32_t *)(void *)host)[i] = (int32_t)random_below(5, (uint64_t)step, i, 4);
        if (node->shape.rank == 0)
            *host = 0.5F;
        plan_write(trainee->plans[phase], node, host);
        free(host);
    }
}

static void train(struct trainee *trainee)
{
    struct error err;
    for (int step = 0; step < STEPS; step++)
        for (int i = 0; i < trainee->training.phase_count; i++) {
            const struct phase *phase = &trainee->training.phases[i];
            write_inputs(trainee, i, step);
            assert_ok(plan_run(trainee->plans[i], (uint64_t)step, 7, &err), err);
            for (int k = 0; k < phase->term_count; k++)
                plan_read(trainee->plans[i], phase->terms[k].value,
                          &trainee->term[trainee->terms++]);
        }
}

static void check_terms(const struct trainee *cpu, const struct trainee *ref, const char *name)
{
    assert_int_equal(cpu->terms, ref->terms);
    for (int i = 0; i < ref->terms; i++) {
        double value = (double)cpu->term[i], expected = (double)ref->term[i];
        if (!(fabs(value - expected) <= TERM_TOLERANCE * fabs(expected)))
            fail_msg("%s: term %d of all steps is %.9g, expected %.9g", name, i, value, expected);
    }
}

static double distance(const struct trainee *cpu, const struct trainee *ref, const char *name)
{
    const struct tensor *tensor = store_find(ref->store, name);
    size_t count = shape_count(tensor->shape);
    float *expected = calloc(count, sizeof *expected), *value = calloc(count, sizeof *value);
    store_read(ref->store, tensor, expected);
    store_read(cpu->store, store_find(cpu->store, name), value);
    double error = pair_error(value, expected, count);
    free(expected);
    free(value);
    return error;
}

/* Parameters, moments and averages, each tensor by itself. */
static void check_weights(const struct trainee *cpu, const struct trainee *ref, const char *name)
{
    for (size_t i = 0; i < store_count(ref->store); i++) {
        const char *tensor = store_tensor(ref->store, i)->name;
        double error = distance(cpu, ref, tensor);
        if (!(error <= WEIGHT_TOLERANCE))
            fail_msg("%s: %s has a normalised mean square error of %.3g", name, tensor, error);
    }
}

static void check_case(const char *name, const char *settings)
{
    struct trainee cpu, ref;
    trainee_init(&cpu, PAIR_BACKEND, name, settings);
    trainee_init(&ref, &ref_backend, name, settings);
    train(&cpu);
    train(&ref);
    check_terms(&cpu, &ref, name);
    check_weights(&cpu, &ref, name);
    trainee_release(&cpu);
    trainee_release(&ref);
}

static void the_unet_learns_the_same(void **state)
{
    (void)state;
    check_case("unet",
               "{\"size\": 12, \"channels\": 3, \"classes\": 4, \"base\": 4, \"levels\": 3}");
}

/* 64 channels for 32 groups: with one in each, biases before a normalisation have no gradient but
 * rounding, which Adam enlarges. */
static void ddpm_with_attention_learns_the_same(void **state)
{
    (void)state;
    check_case("ddpm",
               "{\"size\": 4, \"channels\": 3, \"base\": 64, \"mult\": [1, 1], \"blocks\": 1, "
               "\"attention\": [2], \"heads\": 2}");
}

static void stylegan2_with_r1_learns_the_same(void **state)
{
    (void)state;
    check_case("stylegan2", "{\"resolution\": 8, \"channels\": 3, \"z_width\": 8, \"w_width\": 8, "
                            "\"channel_base\": 64, \"channel_max\": 8}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_unet_learns_the_same),
        cmocka_unit_test(ddpm_with_attention_learns_the_same),
        cmocka_unit_test(stylegan2_with_r1_learns_the_same),
    };
    return cmocka_run_group_tests_name("models/training", tests, NULL, NULL);
}
