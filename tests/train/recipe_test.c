/* Recipes: the same training as the parity tests' cases, which agree with PyTorch; and what those
 * do not show: intervals, decays, and what cannot be built. */
#include "test.h"

#include "base/parallel.h"
#include "base/random.h"
#include "tensor/cpu.h"
#include "train/recipe.h"
#include "twin.h"

#include <math.h>

enum { STEPS = 3, CHANNELS = 5 };

static struct plan *plan_of(const struct training *training, int i, struct store *store)
{
    struct error err;
    const struct phase *phase = &training->phases[i];
    struct node *terms[RECIPE_TERMS];
    for (int k = 0; k < phase->term_count; k++)
        terms[k] = phase->terms[k].value;
    struct plan *plan = plan_create(store, terms, (size_t)phase->term_count, phase->updates.items,
                                    phase->updates.count, &err);
    assert_ok(plan, err);
    return plan;
}

static void initialise(const struct training *training, struct store *store, uint64_t seed)
{
    struct error err;
    size_t count = 0, nodes = graph_size(training->graph);
    struct node **leaves = memory_grow(NULL, nodes, sizeof *leaves);
    for (size_t id = 0; id < nodes; id++)
        if (graph_node(training->graph, id)->op == OP_PARAMETER)
            leaves[count++] = graph_node(training->graph, id);
    struct plan *plan = plan_initial(store, leaves, count, &err);
    assert_ok(plan, err);
    assert_ok(plan_run(plan, 0, seed, &err), err);
    plan_free(plan);
    free(leaves);
}

/* All phases at each step, as the twin. */
static struct store *train_recipe(const struct train_settings *settings, int size,
                                  const struct twin_run *run)
{
    struct error err;
    struct training training;
    struct plan *plans[RECIPE_PHASES];
    assert_ok(training_init(&training, settings, CHANNELS, size, &err), err);
    struct store *store = store_new(&cpu_backend);
    for (int i = 0; i < training.phase_count; i++)
        plans[i] = plan_of(&training, i, store);
    initialise(&training, store, run->seed);
    for (uint64_t step = 0; step < STEPS; step++) {
        float decay = (float)recipe_of(settings)->decay(&training.settings, step);
        for (int i = 0; i < training.phase_count; i++) {
            plan_write(plans[i], training.real, run->real);
            plan_write(plans[i], training.decay, &decay);
            assert_ok(plan_run(plans[i], step, run->seed, &err), err);
        }
    }
    for (int i = 0; i < training.phase_count; i++)
        plan_free(plans[i]);
    training_release(&training);
    return store;
}

/* Every tensor of one is in the other, with the same bytes; those of `except` may differ. */
static void assert_same(const struct store *recipe, const struct store *twin, const char *except)
{
    assert_int_equal(store_count(recipe), store_count(twin));
    for (size_t i = 0; i < store_count(twin); i++) {
        const struct tensor *expected = store_tensor(twin, i);
        const struct tensor *found = store_find(recipe, expected->name);
        if (!found)
            fail_msg("no tensor %s", expected->name);
        if (strncmp(expected->name, except, strlen(except)) == 0)
            continue;
        size_t count = shape_count(expected->shape);
        assert_true(shape_equal(found->shape, expected->shape));
        float *a = memory_grow(NULL, count, sizeof *a), *b = memory_grow(NULL, count, sizeof *b);
        store_read(recipe, found, a);
        store_read(twin, expected, b);
        if (memcmp(a, b, count * sizeof *a) != 0)
            fail_msg("%s differs: %g, %g", expected->name, (double)a[0], (double)b[0]);
        free(a);
        free(b);
    }
}

static void compare(const struct train_settings *settings, int size, struct twin_run run,
                    const char *except)
{
    struct error err;
    size_t values = (size_t)run.batch * CHANNELS * (size_t)size * (size_t)size;
    float *real = memory_grow(NULL, values, sizeof *real);
    random_fill_uniform(4, random_stream("real"), 0, values, real);
    run.real = real;
    parallel_set_threads(1); /* small: threads would only wait for each other */
    run.steps = STEPS;
    run.seed = 11;
    struct store *twin = twin_train(&run, &err);
    assert_ok(twin, err);
    struct store *recipe = train_recipe(settings, size, &run);
    assert_same(recipe, twin, except);
    store_free(recipe);
    store_free(twin);
    free(real);
}

static struct train_settings small_gan(void)
{
    struct train_settings settings = train_defaults;
    settings.model = MODEL_STYLEGAN2;
    settings.batch = 8;
    settings.stylegan2.z_width = settings.stylegan2.w_width = 16;
    settings.stylegan2.channel_base = 128;
    settings.stylegan2.channel_max = 16;
    return settings;
}

static struct train_settings small_ddpm(void)
{
    static const char *mult[] = { "1", "1" }, *attention[] = { "4" };
    struct train_settings settings = train_defaults;
    settings.batch = 2;
    settings.ddpm.base = 64;
    settings.ddpm.blocks = 1;
    settings.ddpm.heads = 2;
    settings.ddpm.dropout = 0;
    settings.ddpm.mult = (struct yaml_strings){ mult, 2 };
    settings.ddpm.attention = (struct yaml_strings){ attention, 1 };
    return settings;
}

/* In every byte: weights, averages, moments and the rest. */
static void stylegan2_trains_as_the_case_that_agrees_with_pytorch(void **state)
{
    (void)state;
    struct train_settings settings = small_gan();
    compare(
        &settings, 16,
        (struct twin_run){ "stylegan2",
                           "{\"resolution\": 16, \"channels\": 5, \"z_width\": 16, \"w_width\": "
                           "16, \"channel_base\": 128, \"channel_max\": 16}",
                           8, .path = true },
        "nothing");
}

/* But for the averages, whose decay is ramped here. */
static void diffusion_trains_as_the_case_that_agrees_with_pytorch(void **state)
{
    (void)state;
    struct train_settings settings = small_ddpm();
    for (int learned = 0; learned < 2; learned++) {
        settings.ddpm.learned_variance = learned;
        compare(&settings, 8,
                (struct twin_run){ "ddpm",
                                   "{\"size\": 8, \"channels\": 5, \"base\": 64, \"mult\": [1, 1], "
                                   "\"blocks\": 1, \"attention\": [4], \"heads\": 2}",
                                   2, .learned = learned },
                "average.");
    }
}

static void lazy_phases_run_at_their_intervals(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int interval;
    } expected[] = {
        { "Gmain", 1 }, { "Gpl", 4 }, { "Dmain", 1 }, { "Dr1", 16 }, { "average", 1 }
    };
    struct error err;
    struct training training;
    struct train_settings settings = small_gan();
    assert_ok(training_init(&training, &settings, CHANNELS, 16, &err), err);
    assert_int_equal(training.phase_count, 5);
    for (int i = 0; i < 5; i++) {
        assert_string_equal(training.phases[i].name, expected[i].name);
        assert_int_equal(training.phases[i].interval, expected[i].interval);
    }
    training_release(&training);
}

static void penalties_of_no_weight_leave_no_phase(void **state)
{
    (void)state;
    struct error err;
    struct training training;
    struct train_settings settings = small_gan();
    settings.stylegan2.gamma = settings.stylegan2.path_weight = 0;
    assert_ok(training_init(&training, &settings, CHANNELS, 16, &err), err);
    assert_int_equal(training.phase_count, 3);
    training_release(&training);
}

/* Half-life of 5 kimg for batch 16, of .05 of the images so far before that. */
static void the_generators_average_has_its_half_life_and_ramp(void **state)
{
    (void)state;
    struct train_settings settings = small_gan();
    settings.batch = 16;
    settings.stylegan2.average_kimg = 5;
    double product = 1;
    for (uint64_t step = 10000000; step < 10000000 + 5000 / 16; step++)
        product *= recipe_stylegan2.decay(&settings, step);
    assert_float_equal(product, pow(0.5, 312 * 16 / 5000.0), 1e-9);
    assert_float_equal(recipe_stylegan2.decay(&settings, 0), 0, 1e-12);
    assert_float_equal(recipe_stylegan2.decay(&settings, 100), 0.870550563296124,
                       1e-12); /* 2^-.2 */
}

static void the_diffusion_models_average_is_ramped(void **state)
{
    (void)state;
    struct train_settings settings = train_defaults;
    assert_float_equal(recipe_ddpm.decay(&settings, 0), 0.1, 1e-12);
    assert_float_equal(recipe_ddpm.decay(&settings, 90), 0.91, 1e-12);
    assert_float_equal(recipe_ddpm.decay(&settings, 1000000), 0.9999, 1e-12);
}

static void what_no_network_can_be_is_refused(void **state)
{
    (void)state;
    struct error err;
    struct training training;
    struct train_settings gan = small_gan(), ddpm = small_ddpm();
    assert_false(training_init(&training, &gan, CHANNELS, 24, &err));
    assert_contains(err.message, "stylegan2: images of side 24; it takes a power of 2");
    gan.batch = 6;
    assert_false(training_init(&training, &gan, CHANNELS, 16, &err));
    assert_contains(err.message, "a batch of 6");
    assert_false(training_init(&training, &ddpm, CHANNELS, 9, &err));
    assert_contains(err.message, "ddpm: images of side 9 cannot be halved");
    ddpm.ddpm.base = 20;
    assert_false(training_init(&training, &ddpm, CHANNELS, 8, &err));
    assert_contains(err.message, "a multiple of 32");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stylegan2_trains_as_the_case_that_agrees_with_pytorch),
        cmocka_unit_test(diffusion_trains_as_the_case_that_agrees_with_pytorch),
        cmocka_unit_test(lazy_phases_run_at_their_intervals),
        cmocka_unit_test(penalties_of_no_weight_leave_no_phase),
        cmocka_unit_test(the_generators_average_has_its_half_life_and_ramp),
        cmocka_unit_test(the_diffusion_models_average_is_ramped),
        cmocka_unit_test(what_no_network_can_be_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
