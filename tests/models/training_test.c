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

#include "base/parallel.h"
#include "tensor/compare.h"

enum { STEPS = 3, TERMS = STEPS * RECIPE_PHASES * RECIPE_TERMS };
static const double TERM_TOLERANCE = 3e-6, WEIGHT_TOLERANCE = 1e-8;

struct trainee {
    struct parity_case of;
    struct store *store;
    struct plan *plans[RECIPE_PHASES];
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
    assert_ok(case_open(&trainee->of, name, settings, &options, &err), err);
    json_free(settings);
    struct plan *first = training_plan_initial(&trainee->of.training, trainee->store, &err);
    assert_ok(first && plan_run(first, 0, 7, &err), err);
    plan_free(first);
    for (int i = 0; i < trainee->of.training.phase_count; i++) {
        trainee->plans[i] = training_plan(&trainee->of.training, i, trainee->store, &err);
        assert_ok(trainee->plans[i], err);
    }
}

static void trainee_release(struct trainee *trainee)
{
    for (int i = 0; i < trainee->of.training.phase_count; i++)
        plan_free(trainee->plans[i]);
    store_free(trainee->store);
    case_close(&trainee->of);
}

/* Other images and labels at each step; rate or decay as they are scheduled. */
static void write_inputs(struct trainee *trainee, int phase, int step)
{
    const struct training *training = &trainee->of.training;
    const struct graph *graph = training->graph;
    for (size_t id = 0; id < graph_size(graph); id++) {
        const struct node *node = graph_node(graph, id);
        if (node->op != OP_INPUT)
            continue;
        size_t count = shape_count(node->shape);
        float *host = calloc(count, sizeof *host);
        random_fill_normal(5, (uint64_t)step, 0, count, host);
        for (size_t i = 0; node->dtype == DTYPE_I32 && i < count; i++)
            ((int32_t *)(void *)host)[i] = (int32_t)random_below(5, (uint64_t)step, i, 4);
        if (node == training->later)
            *host = 0;
        if (node == training->scheduled)
            *host = (float)training->schedule(training, (uint64_t)step);
        plan_write(trainee->plans[phase], node, host);
        free(host);
    }
}

static void train(struct trainee *trainee)
{
    struct error err;
    for (int step = 0; step < STEPS; step++)
        for (int i = 0; i < trainee->of.training.phase_count; i++) {
            const struct phase *phase = &trainee->of.training.phases[i];
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

/* The reference's second moments of a parameter, or of the one that a moment is of; NULL: none. */
static float *second_moments(const struct store *ref, const char *name)
{
    static const char *const prefixes[] = { "adam.plain.", "adam." };
    char moment[512];
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        size_t skipped = strncmp(name, prefixes[i], strlen(prefixes[i])) ? 0 : strlen(prefixes[i]);
        const char *end = skipped ? strrchr(name, '.') : name + strlen(name);
        snprintf(moment, sizeof moment, "%s%.*s.second", prefixes[i],
                 (int)(end - name - (long)skipped), name + skipped);
        const struct tensor *tensor = store_find(ref, moment);
        if (!tensor)
            continue;
        float *values = calloc(shape_count(tensor->shape), sizeof *values);
        store_read(ref, tensor, values);
        return values;
    }
    return NULL;
}

/* Where a gradient is zero by mathematics (of a bias before a normalisation, of the keys' bias)
 * Adam enlarges its rounding to a whole step: nothing is to be compared. In double precision such
 * gradients are below 1e-12. */
static void pass_over_rounding(const struct store *ref, const char *name, float *value,
                               float *expected, size_t count)
{
    float *second = second_moments(ref, name);
    for (size_t i = 0; second && i < count; i++)
        if (second[i] < 1e-27F)
            value[i] = expected[i] = 0;
    free(second);
}

static double distance(const struct trainee *cpu, const struct trainee *ref, const char *name)
{
    const struct tensor *tensor = store_find(ref->store, name);
    size_t count = shape_count(tensor->shape);
    float *expected = calloc(count, sizeof *expected), *value = calloc(count, sizeof *value);
    store_read(ref->store, tensor, expected);
    store_read(cpu->store, store_find(cpu->store, name), value);
    pass_over_rounding(ref->store, name, value, expected, count);
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
               "{\"size\": 24, \"channels\": 3, \"classes\": 4, \"base\": 4, \"levels\": 4}");
}

static void swin_learns_the_same(void **state)
{
    (void)state;
    check_case("swin", "{\"size\": 32, \"channels\": 3, \"classes\": 4, \"embed\": 8, \"depths\": "
                       "[2, 1, 1, 1], \"heads\": [1, 2, 2, 4], \"window\": 3, \"patch\": 2, "
                       "\"width\": 8}");
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
        cmocka_unit_test(swin_learns_the_same),
        cmocka_unit_test(ddpm_with_attention_learns_the_same),
        cmocka_unit_test(stylegan2_with_r1_learns_the_same),
    };
    parallel_set_threads(1); /* tests run side by side: waiting threads would only spin */
    return cmocka_run_group_tests_name("models/training", tests, NULL, NULL);
}
