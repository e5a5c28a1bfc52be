/* Training steps of whole models: the CPU's fused plans against the reference's plain ones.
 *
 * A plan runs some of its steps once, updates parameters in place and lets buffers share memory.
 * A mistake in any of that may take several steps, with other inputs and weights at each, to show:
 * in single runs, what a step has left behind is still right.
 *
 * Compared are the terms of the loss at each step, and all weights, moments and averages in the
 * end.
 */
#include "trainee.h"

#include "base/parallel.h"

#ifndef TRAINING_STEPS
#define TRAINING_STEPS 3
#endif
enum { STEPS = TRAINING_STEPS, TERMS = STEPS * RECIPE_PHASES * RECIPE_TERMS };
static const double TERM_TOLERANCE = 3e-6, WEIGHT_TOLERANCE = 1e-8;

struct course {
    struct trainee trainee;
    float term[TERMS];
    int terms;
};

/* StyleGAN's constant is one everywhere at first: it has no deviation, by which instance norm
 * divides, and after a step so little of it that rounding shows. It is given some. */
static void spread_constant(struct store *store)
{
    struct tensor *constant = store_find(store, "G.G_synthesis.4x4.Const.const");
    if (!constant)
        return;
    size_t count = shape_count(constant->shape);
    float *value = calloc(count, sizeof *value);
    random_fill_normal(8, 0, 0, count, value);
    store_write(store, constant, value);
    free(value);
}

/* The U-Net at a small rate: kinks of its leaky ReLU are crossed otherwise (cases.py). */
static void train(struct course *course, const struct backend *backend, const char *name,
                  const char *settings)
{
    *course = (struct course){ 0 };
    trainee_init(&course->trainee, backend, PRECISION_F32, name, settings,
                 &(struct case_options){ .batch = 4, .rate = strcmp(name, "unet") ? 1 : 0.03 });
    spread_constant(course->trainee.store);
    const struct training *training = &course->trainee.of.training;
    for (int step = 0; step < STEPS; step++)
        for (int i = 0; i < training->phase_count; i++) {
            trainee_run(&course->trainee, i, step);
            for (int k = 0; k < training->phases[i].term_count; k++)
                course->term[course->terms++] = trainee_term(&course->trainee, i, k);
        }
}

static void check_terms(const struct course *cpu, const struct course *ref, const char *name)
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

static double distance(const struct course *cpu, const struct course *ref, const char *name)
{
    const struct tensor *tensor = store_find(ref->trainee.store, name);
    size_t count = shape_count(tensor->shape);
    float *expected = calloc(count, sizeof *expected), *value = calloc(count, sizeof *value);
    store_read(ref->trainee.store, tensor, expected);
    store_read(cpu->trainee.store, store_find(cpu->trainee.store, name), value);
    pass_over_rounding(ref->trainee.store, name, value, expected, count);
    double error = pair_error(value, expected, count);
    free(expected);
    free(value);
    return error;
}

/* Parameters, moments and averages, each tensor by itself. */
static void check_weights(const struct course *cpu, const struct course *ref, const char *name,
                          double tolerance)
{
    for (size_t i = 0; i < store_count(ref->trainee.store); i++) {
        const char *tensor = store_tensor(ref->trainee.store, i)->name;
        double error = distance(cpu, ref, tensor);
        if (!(error <= tolerance))
            fail_msg("%s: %s has a normalised mean square error of %.3g", name, tensor, error);
    }
}

static void check_closely(const char *name, const char *settings, double tolerance)
{
    struct course cpu, ref;
    train(&cpu, PAIR_BACKEND, name, settings);
    train(&ref, &ref_backend, name, settings);
    check_terms(&cpu, &ref, name);
    check_weights(&cpu, &ref, name, tolerance);
    trainee_release(&cpu.trainee);
    trainee_release(&ref.trainee);
}

static void check_case(const char *name, const char *settings)
{
    check_closely(name, settings, WEIGHT_TOLERANCE);
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
    check_case("swin", SMALL_SWIN);
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

/* Its critic's last bias has a gradient of 1 - 1 and a thousandth of a score. */
static void progan_learns_the_same_while_it_fades_in(void **state)
{
    (void)state;
    check_closely("progan", SMALL_PROGAN, 1e-5);
}

static void stylegan_with_r1_learns_the_same(void **state)
{
    (void)state;
    check_case("stylegan", SMALL_STYLEGAN);
}

static void stylegan2_with_r1_learns_the_same(void **state)
{
    (void)state;
    check_case("stylegan2", SMALL_STYLEGAN2);
}

static void stylegan3_learns_the_same(void **state)
{
    (void)state;
    check_case("stylegan3", SMALL_STYLEGAN3);
}

#ifndef TESTS_CUDA_EMULATION_H /* which takes its time; combine_test has the filters */
/* Whose filters are radial. */
static void stylegan3_r_learns_the_same(void **state)
{
    (void)state;
    check_case("stylegan3-r", SMALL_STYLEGAN3);
}
#endif

/* An argument is a pattern: only tests whose names it fits. */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_unet_learns_the_same),
        cmocka_unit_test(swin_learns_the_same),
        cmocka_unit_test(ddpm_with_attention_learns_the_same),
        cmocka_unit_test(progan_learns_the_same_while_it_fades_in),
        cmocka_unit_test(stylegan_with_r1_learns_the_same),
        cmocka_unit_test(stylegan2_with_r1_learns_the_same),
        cmocka_unit_test(stylegan3_learns_the_same),
#ifndef TESTS_CUDA_EMULATION_H
        cmocka_unit_test(stylegan3_r_learns_the_same),
#endif
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    parallel_set_threads(1); /* tests run side by side: waiting threads would only spin */
    return cmocka_run_group_tests_name("models/training", tests, NULL, NULL);
}
