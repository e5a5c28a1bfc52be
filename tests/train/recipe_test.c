/* Recipes: what their agreement with PyTorch (tests/parity) does not show: parts, intervals,
 * decays, augmentation, and what cannot be built. */
#include "test.h"

#include "base/parallel.h"
#include "base/random.h"
#include "tensor/cpu.h"
#include "train/gan.h"
#include "train/runner.h"

#include <math.h>

enum { STEPS = 3, CHANNELS = 5 };

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

/* ---- a batch in parts ------------------------------------------------------------------------ */

static float *random_images(size_t count)
{
    float *real = memory_grow(NULL, count, sizeof *real);
    random_fill_uniform(4, random_stream("real"), 0, count, real);
    return real;
}

/* The largest difference between the moments of two runs, of the largest moment: gradients, or
 * their squares, as Adam sums them up. (Weights tell less: Adam's first steps are signs of
 * gradients, and the sign of one that is zero by mathematics turns on rounding.) */
static double difference_of_moments(const struct store *a, const struct store *b,
                                    const char *suffix)
{
    double difference = 0, most = 0;
    for (size_t i = 0; i < store_count(b); i++) {
        const struct tensor *expected = store_tensor(b, i);
        size_t count = shape_count(expected->shape), length = strlen(expected->name);
        if (length < 7 || strcmp(expected->name + length - strlen(suffix), suffix) != 0)
            continue;
        float *x = memory_grow(NULL, count, sizeof *x), *y = memory_grow(NULL, count, sizeof *y);
        store_read(a, store_find(a, expected->name), x);
        store_read(b, expected, y);
        for (size_t k = 0; k < count; k++) {
            difference = fmax(difference, fabs((double)x[k] - (double)y[k]));
            most = fmax(most, fabs((double)y[k]));
        }
        free(x);
        free(y);
    }
    assert_true(most > 0);
    return difference / most;
}

/* Noise, times and dropout of image k are the same, however the batch is cut. */
static void diffusion_in_parts_is_the_whole_batch(void **state)
{
    (void)state;
    struct error err;
    struct train_settings settings = small_ddpm();
    settings.batch = 6;
    settings.seed = 3;
    settings.ddpm.dropout = 0.1;
    settings.rate = 1e-3;
    parallel_set_threads(1);
    float *real = random_images(6 * CHANNELS * 8 * 8);
    struct runner whole, parts;
    assert_ok(runner_init(&whole, &settings, CHANNELS, 8, &err), err);
    settings.accumulate = 3;
    assert_ok(runner_init(&parts, &settings, CHANNELS, 8, &err), err);
    assert_ok(runner_begin(&whole, &err) && runner_begin(&parts, &err), err);
    for (uint64_t step = 0; step < STEPS; step++) {
        assert_ok(runner_step(&whole, step, real, NULL, &err), err);
        assert_ok(runner_step(&parts, step, real, NULL, &err), err);
        assert_float_equal(parts.terms[0][0], whole.terms[0][0], 1e-5);
    }
    double difference = difference_of_moments(parts.store, whole.store, ".first");
    print_message("moments differ by %.2g of the largest\n", difference);
    assert_true(difference < 1e-4);
    runner_release(&whole);
    runner_release(&parts);
    free(real);
}

/* As the official code's rounds. */
static void stylegan2_in_parts_draws_for_each_part(void **state)
{
    (void)state;
    struct error err;
    struct train_settings settings = small_gan();
    struct runner runner;
    double term[2];
    parallel_set_threads(1);
    float *real = random_images(8 * CHANNELS * 16 * 16);
    for (int parted = 0; parted < 2; parted++) {
        settings.accumulate = parted + 1;
        settings.batch = 4 * (parted + 1);
        assert_ok(runner_init(&runner, &settings, CHANNELS, 16, &err), err);
        assert_ok(runner_begin(&runner, &err), err);
        assert_ok(runner_step(&runner, 0, real, NULL, &err), err);
        term[parted] = runner.terms[0][0];
        for (uint64_t step = 1; step < 5; step++)
            assert_ok(runner_step(&runner, step, real, NULL, &err), err);
        assert_true(isfinite(runner.terms[0][0]));
        runner_release(&runner);
    }
    assert_true(fabs(term[0] - term[1]) > 1e-9);
    free(real);
}

/* R1 draws nothing: where both parts hold the same images, its gradient is that of one part. */
static void parts_that_are_equal_have_their_common_gradient(void **state)
{
    (void)state;
    struct error err;
    struct train_settings settings = small_gan();
    settings.stylegan2.r1_interval = 1;
    settings.stylegan2.path_weight = 0;
    settings.stylegan2.gamma = 1;
    parallel_set_threads(1);
    size_t part = 4 * CHANNELS * 16 * 16;
    float *real = random_images(2 * part);
    memcpy(real + part, real, part * sizeof *real);
    struct runner runner[2];
    for (int parted = 0; parted < 2; parted++) {
        settings.accumulate = parted + 1;
        settings.batch = 4 * (parted + 1);
        assert_ok(runner_init(&runner[parted], &settings, CHANNELS, 16, &err), err);
        assert_ok(runner_begin(&runner[parted], &err), err);
        for (int i = 0; i < runner[parted].training.phase_count; i++)
            if (strcmp(runner[parted].training.phases[i].name, "Dr1") != 0)
                runner[parted].training.phases[i].interval = 1000; /* not at step 1 */
        assert_ok(runner_step(&runner[parted], 1, real, NULL, &err), err);
    }
    int r1 = runner[0].training.phase_count - 2;
    assert_float_equal(runner[1].terms[r1][0], runner[0].terms[r1][0],
                       1e-5 * runner[0].terms[r1][0]);
    assert_true(difference_of_moments(runner[1].store, runner[0].store, ".second") < 1e-4);
    runner_release(&runner[0]);
    runner_release(&runner[1]);
    free(real);
}

static void a_batch_that_cannot_be_cut_so_is_refused(void **state)
{
    (void)state;
    struct error err;
    struct runner runner;
    struct train_settings settings = small_gan();
    settings.accumulate = 3;
    assert_false(runner_init(&runner, &settings, CHANNELS, 16, &err));
    assert_contains(err.message, "a batch of 8 cannot be computed in 3 equal parts");
}

/* ---- augmentation ---------------------------------------------------------------------------- */

static double scalar(const struct store *store, const char *name)
{
    float value;
    store_read(store, store_find(store, name), &value);
    return (double)value;
}

static int phase_named(const struct training *training, const char *name)
{
    for (int i = 0; i < training->phase_count; i++)
        if (strcmp(training->phases[i].name, name) == 0)
            return i;
    fail_msg("no phase %s", name);
    return -1;
}

/* Every fourth step p goes up or down by batch · 4 / (kimg · 1000), as the mean sign of D(real)
 * since the last time is above the target or not, and stays within 0 … 1. */
static void augmentation_follows_overfitting(void **state)
{
    (void)state;
    parallel_set_threads(1);
    float *real = random_images(8 * CHANNELS * 16 * 16);
    for (int low = 0; low < 2; low++) {
        struct error err;
        struct runner runner;
        struct train_settings settings = small_gan();
        settings.stylegan2.augment = ADA_ADAPTIVE;
        settings.stylegan2.augment_kimg = 0.16; /* 8 · 4 / 160 = .2 a time */
        settings.stylegan2.r1_interval = 5;
        settings.accumulate = low + 1;
        settings.stylegan2.augment_target = low ? 0 : 0.9999;
        assert_ok(runner_init(&runner, &settings, CHANNELS, 16, &err), err);
        assert_ok(runner_begin(&runner, &err), err);
        int phase = phase_named(&runner.training, "augment");
        double p = 0;
        for (uint64_t step = 0; step < 17; step++) {
            assert_ok(runner_step(&runner, step, real, NULL, &err), err);
            double r = runner.terms[phase][0];
            assert_true(r >= -1 && r <= 1);
            if (step % 4 == 0) {
                p = fmin(fmax(p + (r > settings.stylegan2.augment_target ? 0.2 : -0.2), 0), 1);
                assert_float_equal(scalar(runner.store, "augment.count"), 0, 0);
            }
            assert_float_equal(scalar(runner.store, "augment.p"), p, 1e-5);
            for (int i = 0; i < runner.training.phase_count; i++)
                assert_true(isfinite(runner.terms[i][0]));
        }
        runner_release(&runner);
    }
    free(real);
}

/* It is what the discriminator sees that changes: with p held at 0 training is what it was. */
static void augmentation_that_does_nothing_changes_nothing(void **state)
{
    (void)state;
    parallel_set_threads(1);
    float *real = random_images(8 * CHANNELS * 16 * 16);
    struct runner runner[2];
    for (int on = 0; on < 2; on++) {
        struct error err;
        struct train_settings settings = small_gan();
        settings.stylegan2.augment = on ? ADA_ADAPTIVE : ADA_NONE;
        settings.stylegan2.augment_target = 1; /* never reached */
        assert_ok(runner_init(&runner[on], &settings, CHANNELS, 16, &err), err);
        assert_ok(runner_begin(&runner[on], &err), err);
        for (uint64_t step = 0; step < STEPS; step++)
            assert_ok(runner_step(&runner[on], step, real, NULL, &err), err);
    }
    for (int i = 0; i < 4; i++) /* Gmain, Gpl, Dmain, Dr1 */
        assert_float_equal(runner[1].terms[i][0], runner[0].terms[i][0],
                           2e-3 * fabs(runner[0].terms[i][0]) + 1e-5);
    runner_release(&runner[0]);
    runner_release(&runner[1]);
    free(real);
}

/* ---- algorithms ------------------------------------------------------------------------------ */

static void plans_choose_algorithms_as_the_settings_say(void **state)
{
    (void)state;
    struct error err;
    for (int algorithms = 0; algorithms < 2; algorithms++) {
        struct runner runner;
        struct train_settings settings = small_gan();
        settings.algorithms = algorithms;
        settings.device = "cpu";
        assert_ok(runner_init(&runner, &settings, 1, 16, &err), err);
        assert_int_equal(store_algorithms(runner.store), algorithms);
        runner_release(&runner);
    }
}

/* ---- mixed precision ------------------------------------------------------------------------- */

static void bf16_is_for_the_highest_resolutions(void **state)
{
    (void)state;
    static const struct {
        const char *scope;
        bool at_32; /* whether its layer is of side 32 or more */
    } rows[] = {
        { "G.synthesis.b64.conv0", true },
        { "G.synthesis.b32.torgb.affine", true },
        { "G.synthesis.b16.conv1", false },
        { "G.synthesis.b4.conv1", false },
        { "D.b64.fromrgb", true },
        { "D.b16.skip", false },
        { "G.mapping.fc0", false },
        { "D.b4.conv", false },
        { "", false },
        { "D.b128.conv0", true },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(recipe_stylegan2.accepts_bf16(rows[i].scope, 32), rows[i].at_32);
    struct train_settings settings = train_defaults; /* 4 resolutions, as the official code */
    assert_int_equal(recipe_stylegan2.bf16_context(&settings, 256), 32);
    assert_int_equal(recipe_stylegan2.bf16_context(&settings, 16), 8); /* 4 is never among them */
    settings.stylegan2.bf16_resolutions = 1;
    assert_int_equal(recipe_stylegan2.bf16_context(&settings, 64), 64);
}

static void bf16_is_for_stylegan3s_layers_of_the_highest_rates(void **state)
{
    (void)state;
    static const struct {
        const char *scope;
        bool at_32; /* whether its layer's rate is 32 or more */
    } rows[] = {
        { "G.synthesis.L2_36_512", false },
        { "G.synthesis.L3_52_512", true },
        { "G.synthesis.L10_276_128.affine", true },
        { "G.synthesis.L14_256_5", true },
        { "G.synthesis.input", false },
        { "G.synthesis.input.affine", false },
        { "G.mapping.fc0", false },
        { "D.b32.conv0", true },
        { "D.b16.conv0", false },
        { "D.b4.conv", false },
        { "", false },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(recipe_stylegan3.accepts_bf16(rows[i].scope, 32), rows[i].at_32);
    assert_int_equal(recipe_stylegan3.bf16_context(&train_defaults, 256), 32);
}

/* ---- StyleGAN 3 ------------------------------------------------------------------------------ */

/* Adds 1 at a pixel: what is left of it, on a line through it. */
static void check_blur(double sigma, double half_at)
{
    struct error err;
    struct graph *graph = graph_new();
    struct node *x = t_input(graph, "x", DTYPE_F32, SHAPE(1, 1, 32, 32));
    struct node *width = t_input(graph, "sigma", DTYPE_F32, SHAPE());
    struct node *y = gan_blur(x, width, 10);
    struct store *store = store_new(&cpu_backend);
    struct plan *plan = plan_create(store, &y, 1, NULL, 0, &err);
    assert_ok(plan, err);
    float image[32][32] = { 0 }, out[32][32], value = (float)sigma;
    image[16][15] = 1;
    plan_write(plan, x, *image);
    plan_write(plan, width, &value);
    assert_ok(plan_run(plan, 0, 1, &err), err);
    plan_read(plan, y, *out);
    double sum = 0;
    for (int i = 0; i < 32 * 32; i++)
        sum += out[i / 32][i % 32];
    assert_float_equal(sum, 1, 1e-5);
    if (half_at > 0) {
        assert_float_equal(out[16][15 + (int)half_at] / out[16][15], 0.5, 1e-5);
        assert_float_equal(out[16 + (int)half_at][15] / out[16][15], 0.5, 1e-5);
        assert_true(out[16][15 + (int)(3 * sigma)] > 0 && out[16][16 + (int)(3 * sigma)] == 0);
    } else {
        assert_memory_equal(out, image, sizeof out);
    }
    plan_free(plan);
    store_free(store);
    graph_free(graph);
}

static void blur_has_the_width_asked_for_and_may_be_none(void **state)
{
    (void)state;
    check_blur(3, 3);
    check_blur(2, 2);
    check_blur(0.3, 0);
    check_blur(0, 0);
}

static struct train_settings small_stylegan3(void)
{
    struct train_settings settings = train_defaults;
    settings.model = MODEL_STYLEGAN3;
    settings.batch = 4;
    settings.stylegan3.z_width = settings.stylegan3.w_width = 8;
    settings.stylegan3.layers = 3;
    settings.stylegan3.channel_base = 64;
    settings.stylegan3.channel_max = 4;
    return settings;
}

/* For R the blur fades by the step; averages move once a step, however many parts it has, the
 * magnitudes' at the rate of a half-life of 20,000 images. */
static void stylegan3s_states_go_by_the_step(void **state)
{
    (void)state;
    struct error err;
    struct runner runner;
    struct train_settings settings = small_stylegan3();
    settings.stylegan3.config = STYLEGAN3_R;
    settings.stylegan3.blur_kimg = 0.012; /* three steps */
    settings.accumulate = 2;
    settings.stylegan3.augment = ADA_ADAPTIVE;
    parallel_set_threads(1);
    float *real = random_images(4 * CHANNELS * 16 * 16);
    assert_ok(runner_init(&runner, &settings, CHANNELS, 16, &err), err);
    assert_ok(runner_begin(&runner, &err), err);
    double magnitude = 1, most = 1 - pow(0.5, 4 / 20000.0); /* of what it may move by */
    for (uint64_t step = 0; step < 5; step++) {
        assert_float_equal(scalar(runner.store, "blur.steps"), (double)step, 0);
        assert_ok(runner_step(&runner, step, real, NULL, &err), err);
        double now = scalar(runner.store, "G.synthesis.L0_36_8.magnitude_ema");
        assert_true(now != magnitude && fabs(now - magnitude) < 2 * most);
        magnitude = now;
        assert_true(isfinite(runner.terms[phase_named(&runner.training, "Gmain")][0]));
        assert_true(isfinite(runner.terms[phase_named(&runner.training, "Dmain")][0]));
    }
    runner_release(&runner);
    free(real);
}

/* Only the discriminator's phase tracks w and magnitudes: StyleGAN 2's phases all do. */
static void stylegan3s_generator_phase_tracks_nothing(void **state)
{
    (void)state;
    struct error err;
    struct training training;
    struct train_settings settings = small_stylegan3();
    assert_ok(training_init(&training, &settings, CHANNELS, 16, &err), err);
    assert_int_equal(training.phases[phase_named(&training, "Gmain")].each.count, 0);
    assert_int_equal(training.phases[phase_named(&training, "Dmain")].each.count, 1 + 3 + 1);
    training_release(&training);
}

static void bf16_of_stylegan_is_for_blocks_from_8_on(void **state)
{
    (void)state;
    static const struct {
        const char *scope;
        bool accepted;
    } rows[] = {
        { "G.G_synthesis.8x8.Conv0_up", true },
        { "G.G_synthesis.128x128.Conv1.StyleMod", true },
        { "D.16x16.Conv1_down", true },
        { "G.G_synthesis.4x4.Conv", false },
        { "D.4x4.Dense0", false },
        { "G.G_mapping.Dense0", false },
        { "G.G_synthesis.ToRGB_lod0", false },
        { "D.FromRGB_lod0", false },
        { "", false },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(recipe_stylegan.accepts_bf16(rows[i].scope, 0), rows[i].accepted);
}

enum { MIXED_STEPS = 12 };

/* The first phase's first term at each step. */
static struct runner train_mixed(struct train_settings settings, int size, int precision,
                                 const float *real, double losses[MIXED_STEPS])
{
    struct error err;
    struct runner runner;
    settings.precision = precision;
    assert_ok(runner_init(&runner, &settings, CHANNELS, size, &err), err);
    assert_ok(runner_begin(&runner, &err), err);
    for (uint64_t step = 0; step < MIXED_STEPS; step++) {
        assert_ok(runner_step(&runner, step, real, NULL, &err), err);
        losses[step] = runner.terms[0][0];
    }
    return runner;
}

static void training_in_bf16_follows_that_in_f32(void **state)
{
    (void)state;
    if (!cpu_backend.has_bf16()) {
        print_message("this processor has no bf16: not tried\n");
        skip();
    }
    struct train_settings settings[] = { small_ddpm(), small_gan(), small_gan() };
    int sides[] = { 8, 16, 16 };
    settings[2].stylegan2.bf16_resolutions = 1;
    parallel_set_threads(1);
    float *real = random_images(8 * CHANNELS * 16 * 16);
    double mixed_of_all = 0;
    for (int i = 0; i < 3; i++) {
        double full[MIXED_STEPS], mixed[MIXED_STEPS], most = 0;
        struct runner f32 = train_mixed(settings[i], sides[i], PRECISION_F32, real, full);
        struct runner bf16 = train_mixed(settings[i], sides[i], PRECISION_BF16, real, mixed);
        for (int step = 0; step < MIXED_STEPS; step++)
            most = fmax(most, fabs(mixed[step] - full[step]) / fabs(full[step]));
        print_message("%s: losses differ by up to %.2g\n", model_names[settings[i].model], most);
        assert_true(most > 0 && most < 0.05);
        assert_true(i < 2 || mixed[1] != mixed_of_all); /* fewer layers are another rounding */
        mixed_of_all = mixed[1];
        runner_release(&f32);
        runner_release(&bf16);
    }
    free(real);
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

static struct train_settings small_stylegan(void)
{
    struct train_settings settings = train_defaults;
    settings.model = MODEL_STYLEGAN;
    settings.batch = 8;
    settings.stylegan.z_width = settings.stylegan.w_width = 16;
    settings.stylegan.mapping_layers = 2;
    settings.stylegan.channel_base = 1024;
    settings.stylegan.channel_max = 2;
    settings.growth.batch_most = 8;
    return settings;
}

static const struct term *term_named(const struct training *training, const char *name)
{
    for (int i = 0; i < training->phase_count; i++)
        for (int k = 0; k < training->phases[i].term_count; k++)
            if (strcmp(training->phases[i].terms[k].name, name) == 0)
                return &training->phases[i].terms[k];
    fail_msg("no term %s", name);
    return NULL;
}

/* The official R1 is of images of the full size: (side/size)² of what it is at the level's side. */
static void r1_of_stylegan_counts_less_at_smaller_sides(void **state)
{
    (void)state;
    for (int side = 8; side <= 64; side *= 2) {
        struct error err;
        struct training training;
        struct train_settings settings = small_stylegan();
        settings.growth.first_side = side;
        settings.stylegan.gamma = 10;
        assert_ok(training_init(&training, &settings, CHANNELS, 64, &err), err);
        assert_int_equal(training.stage.side, side);
        assert_float_equal(term_named(&training, "r1")->weight, 5.0 * side * side / (64 * 64),
                           1e-12);
        training_release(&training);
    }
}

static float last_bias(const struct runner *runner)
{
    float value;
    store_read(runner->store, store_find(runner->store, "D.4x4.Dense1.bias"), &value);
    return value;
}

/* As the official train.py. Adam's first step, without a first moment, is of the rate. */
static void stylegan_learns_larger_sides_faster(void **state)
{
    (void)state;
    static const struct {
        int side;
        double rate;
    } rows[] = { { 8, 0.001 }, { 64, 0.001 }, { 128, 0.0015 }, { 256, 0.002 } };
    parallel_set_threads(1);
    float *real = random_images(256 * 256);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct error err;
        struct runner runner;
        struct train_settings settings = small_stylegan();
        settings.growth.first_side = rows[i].side;
        settings.batch = settings.growth.batch_most = 1;
        assert_ok(runner_init(&runner, &settings, 1, rows[i].side, &err), err);
        assert_ok(runner_begin(&runner, &err), err);
        assert_ok(runner_step(&runner, 0, real, NULL, &err), err);
        assert_float_equal(fabs((double)last_bias(&runner)), rows[i].rate, 1e-6);
        runner_release(&runner);
    }
    free(real);
}

static void stylegan_averages_between_discriminator_and_generator(void **state)
{
    (void)state;
    static const char *const names[] = { "Dmain", "average", "Gmain" };
    struct error err;
    struct training training;
    struct train_settings settings = small_stylegan();
    assert_ok(training_init(&training, &settings, CHANNELS, 16, &err), err);
    assert_int_equal(training.phase_count, 3);
    for (int i = 0; i < 3; i++)
        assert_string_equal(training.phases[i].name, names[i]);
    double product = 1; /* a half-life of 10 kimg */
    for (int step = 0; step < 10000 / 8; step++)
        product *= recipe_stylegan.decay(&training, (uint64_t)step);
    assert_float_equal(product, 0.5, 1e-9);
    training_release(&training);
}

/* Half-life of 5 kimg for batch 16, of .05 of the images so far before that. */
static void the_generators_average_has_its_half_life_and_ramp(void **state)
{
    (void)state;
    struct training training = { .settings = small_gan() };
    training.settings.batch = 16;
    training.settings.stylegan2.average_kimg = 5;
    double product = 1;
    for (uint64_t step = 10000000; step < 10000000 + 5000 / 16; step++)
        product *= recipe_stylegan2.decay(&training, step);
    assert_float_equal(product, pow(0.5, 312 * 16 / 5000.0), 1e-9);
    assert_float_equal(recipe_stylegan2.decay(&training, 0), 0, 1e-12);
    assert_float_equal(recipe_stylegan2.decay(&training, 100), 0.870550563296124,
                       1e-12); /* 2^-.2 */
}

static void the_diffusion_models_average_is_ramped(void **state)
{
    (void)state;
    struct training training = { .settings = train_defaults };
    assert_float_equal(recipe_ddpm.decay(&training, 0), 0.1, 1e-12);
    assert_float_equal(recipe_ddpm.decay(&training, 90), 0.91, 1e-12);
    assert_float_equal(recipe_ddpm.decay(&training, 1000000), 0.9999, 1e-12);
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
        cmocka_unit_test(diffusion_in_parts_is_the_whole_batch),
        cmocka_unit_test(stylegan2_in_parts_draws_for_each_part),
        cmocka_unit_test(parts_that_are_equal_have_their_common_gradient),
        cmocka_unit_test(a_batch_that_cannot_be_cut_so_is_refused),
        cmocka_unit_test(augmentation_follows_overfitting),
        cmocka_unit_test(augmentation_that_does_nothing_changes_nothing),
        cmocka_unit_test(plans_choose_algorithms_as_the_settings_say),
        cmocka_unit_test(bf16_of_stylegan_is_for_blocks_from_8_on),
        cmocka_unit_test(bf16_is_for_the_highest_resolutions),
        cmocka_unit_test(bf16_is_for_stylegan3s_layers_of_the_highest_rates),
        cmocka_unit_test(blur_has_the_width_asked_for_and_may_be_none),
        cmocka_unit_test(stylegan3s_states_go_by_the_step),
        cmocka_unit_test(stylegan3s_generator_phase_tracks_nothing),
        cmocka_unit_test(training_in_bf16_follows_that_in_f32),
        cmocka_unit_test(lazy_phases_run_at_their_intervals),
        cmocka_unit_test(penalties_of_no_weight_leave_no_phase),
        cmocka_unit_test(r1_of_stylegan_counts_less_at_smaller_sides),
        cmocka_unit_test(stylegan_learns_larger_sides_faster),
        cmocka_unit_test(stylegan_averages_between_discriminator_and_generator),
        cmocka_unit_test(the_generators_average_has_its_half_life_and_ramp),
        cmocka_unit_test(the_diffusion_models_average_is_ramped),
        cmocka_unit_test(what_no_network_can_be_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
