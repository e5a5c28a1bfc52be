/* A training that several processes share comes to the bits of one process, goes on with another
 * number of them, and tells of those that end or compute otherwise. The processes are children of
 * this one; those of `lethe train --beside` are killed in resume_test.c. */
#include "test.h"

#include "base/parallel.h"
#include "base/random.h"
#include "tensor/store.h"
#include "train/checkpoint.h"
#include "train/runner.h"
#include "train/shared.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHANNELS = 2, SIDE = 8, IMAGES_MOST = 24 };

#ifdef PAIR_BACKEND /* of all the processes' devices: one that is emulated is slow */
enum { EMULATED = 1, STEPS = 2, RANKS_LAST = 2 };
const struct backend *__wrap_device_backend(const char *device, struct error *err);
const struct backend *__wrap_device_backend(const char *device, struct error *err)
{
    (void)device, (void)err;
    return PAIR_BACKEND;
}
#else
enum { EMULATED = 0, STEPS = 5, RANKS_LAST = 3 };
#endif

static bool deaf; /* the next processes do not take the values that they are given */

void __real_ranks_take(struct ranks *ranks, struct store *store, const struct order *order);
void __wrap_ranks_take(struct ranks *ranks, struct store *store, const struct order *order);
void __wrap_ranks_take(struct ranks *ranks, struct store *store, const struct order *order)
{
    if (!deaf)
        __real_ranks_take(ranks, store, order);
}

/* As becoming another program does: what the parent has open is closed. */
static void keep_only(const struct rank *rank)
{
    for (int file = 3; file < 256; file++)
        if (file != rank->channel && file != rank->memory)
            close(file);
}

static bool start(const struct rank *rank, pid_t *process, struct error *err)
{
    fflush(NULL);
    *process = fork();
    if (*process == 0) {
        struct error why;
        keep_only(rank);
        _exit(shared_serve(rank, &why) ? 0 : 2);
    }
    return *process > 0 || error_set_errno(err, "fork");
}

/* Whether the next process that fails leaves an order unread, or ends before it gets any. */
static bool is_told;

static bool start_failing(const struct rank *rank, pid_t *process, struct error *err)
{
    fflush(NULL);
    *process = fork();
    if (*process == 0) {
        struct error why;
        struct pollfd told = { .fd = rank->channel, .events = POLLIN };
        keep_only(rank);
        struct ranks *ranks = ranks_join(rank);
        if (is_told)
            poll(&told, 1, -1);
        (void)error_set(&why, "the device has failed");
        ranks_answer(ranks, &why, NULL);
        ranks_close(ranks);
        _exit(2);
    }
    return *process > 0 || error_set_errno(err, "fork");
}

static const char *const devices[] = { "cpu", "cpu", "cpu" };

static struct ranks *share(struct runner *runner, int count, struct error *err)
{
    struct train_beside beside = { devices, (size_t)count - 1, 1, start };
    return runner->ranks = shared_open(&beside, runner, err);
}

static struct train_settings small_ddpm(void)
{
    static const char *mult[] = { "1", "1" }, *attention[] = { "4" };
    struct train_settings settings = train_defaults;
    settings.device = "cpu";
    settings.batch = 6;
    settings.accumulate = 3;
    settings.ddpm.base = 32;
    settings.ddpm.blocks = 1;
    settings.ddpm.heads = 1;
    settings.ddpm.dropout = 0.1;
    settings.ddpm.mult = (struct yaml_strings){ mult, 2 };
    settings.ddpm.attention = (struct yaml_strings){ attention, 1 };
    return settings;
}

static struct train_settings small_stylegan2(void)
{
    struct train_settings settings = train_defaults;
    settings.model = MODEL_STYLEGAN2;
    settings.device = "cpu";
    settings.batch = 6;
    settings.accumulate = 3;
    settings.stylegan2.z_width = settings.stylegan2.w_width = 8;
    settings.stylegan2.channel_base = 64;
    settings.stylegan2.channel_max = 8;
    settings.stylegan2.path_interval = 2;
    settings.stylegan2.r1_interval = 3;
    settings.stylegan2.augment = ADA_ADAPTIVE;
    settings.stylegan2.augment_kimg = 0.05;
    return settings;
}

/* Grows to 8 × 8 after the second step. */
static struct train_settings small_progan(void)
{
    struct train_settings settings = train_defaults;
    settings.model = MODEL_PROGAN;
    settings.device = "cpu";
    settings.batch = 12;
    settings.accumulate = 3;
    settings.growth.batch_most = 12;
    settings.growth.stable_kimg = settings.growth.fade_kimg = 0.024;
    settings.progan.z_width = 8;
    settings.progan.channel_base = 64;
    settings.progan.channel_max = 8;
    return settings;
}

static const float *images_of(uint64_t step)
{
    static float images[IMAGES_MOST * CHANNELS * SIDE * SIDE];
    size_t count = sizeof images / sizeof *images;
    random_fill_uniform(4, random_stream("real"), step * count, count, images);
    return images;
}

/* Steps from the beginning; returns the digest of what came out, terms of all steps in `terms`. */
static struct digest train_by(const struct train_settings *settings, int ranks, double *terms)
{
    struct error err;
    struct runner runner;
    memset(terms, 0, STEPS * RECIPE_PHASES * RECIPE_TERMS * sizeof *terms);
    assert_ok(runner_init(&runner, settings, CHANNELS, SIDE, &err), err);
    if (ranks > 1)
        assert_ok(share(&runner, ranks, &err), err);
    assert_ok(runner_begin(&runner, &err), err);
    for (uint64_t step = 0; step < STEPS; step++) {
        if (!runner_is_for(&runner, step))
            assert_ok(runner_grow(&runner, step, &err), err);
        assert_ok(runner_step(&runner, step, images_of(step), NULL, &err), err);
        memcpy(terms, runner.terms, sizeof runner.terms);
        terms += RECIPE_PHASES * RECIPE_TERMS;
    }
    assert_ok(runner_compare(&runner, &err), err);
    struct digest digest = ranks_digest(runner.store);
    ranks_close(runner.ranks);
    runner_release(&runner);
    return digest;
}

static void check_shared(struct train_settings settings)
{
    static double alone[STEPS * RECIPE_PHASES * RECIPE_TERMS];
    static double shared[STEPS * RECIPE_PHASES * RECIPE_TERMS];
    parallel_set_threads(1);
    struct digest expected = train_by(&settings, 1, alone);
    for (int ranks = 2; ranks <= RANKS_LAST; ranks++) { /* of three parts: two rounds, and one */
        struct digest digest = train_by(&settings, ranks, shared);
        assert_memory_equal(&digest, &expected, sizeof digest);
        assert_memory_equal(shared, alone, sizeof shared);
    }
}

static void a_shared_diffusion_comes_to_the_bits_of_one_process(void **state)
{
    (void)state;
    struct train_settings settings = small_ddpm();
    if (EMULATED) {
        settings.batch = settings.accumulate = 2;
        settings.ddpm.mult.count = 1;
        settings.ddpm.attention.count = 0;
    }
    check_shared(settings);
}

static void a_shared_stylegan2_comes_to_the_bits_of_one_process(void **state)
{
    (void)state;
    check_shared(small_stylegan2());
}

static void a_shared_training_grows_in_all_of_its_processes(void **state)
{
    (void)state;
    check_shared(small_progan());
}

/* What is refused before a step. */
static void what_cannot_be_shared_is_refused(void **state)
{
    (void)state;
    static const char *const missing[] = { "cpu", "cuda:63" };
    struct error err;
    struct runner runner;
    struct train_settings settings = small_ddpm();
    parallel_set_threads(1);
    assert_ok(runner_init(&runner, &settings, CHANNELS, SIDE, &err), err);
    assert_null(share(&runner, 4, &err));
    assert_contains(err.message, "4 devices cannot share a batch that is computed in 3 parts");
    assert_contains(err.message, "--accumulate 4");
    struct train_beside beside = { missing, 2, 1, start };
    assert_null(shared_open(&beside, &runner, &err));
    assert_contains(err.message, "cuda:63: ");
    runner_release(&runner);
}

/* Whatever it was doing: nobody waits for it, not even while another does not go on. */
static void a_process_that_is_killed_ends_the_training(void **state)
{
    (void)state;
    struct error err;
    struct runner runner;
    struct train_settings settings = small_ddpm();
    parallel_set_threads(1);
    for (int step = 0; step < 2; step++) {
        assert_ok(runner_init(&runner, &settings, CHANNELS, SIDE, &err), err);
        assert_ok(share(&runner, 3, &err) && runner_begin(&runner, &err), err);
        for (int i = 0; i < step; i++)
            assert_ok(runner_step(&runner, (uint64_t)i, images_of(0), NULL, &err), err);
        kill(runner.ranks->peers[0].process, SIGSTOP);
        kill(runner.ranks->peers[1].process, SIGKILL);
        assert_false(runner_step(&runner, (uint64_t)step, images_of(0), NULL, &err));
        kill(runner.ranks->peers[0].process, SIGCONT);
        assert_contains(err.message, "the process on cpu was ended by signal 9");
        ranks_close(runner.ranks);
        runner_release(&runner);
    }
}

/* Whoever speaks to it next, or listens, hears why, not just that it is gone. */
static void what_a_process_could_not_do_is_told_after_its_end(void **state)
{
    (void)state;
    struct error err;
    struct order order = { .kind = ORDER_COMPARE };
    struct train_beside beside = { devices, 1, 1, start_failing };
    for (int told = 0; told < 2; told++) {
        siginfo_t ended;
        is_told = told;
        struct ranks *ranks = ranks_open(&beside, &err);
        assert_ok(ranks, err);
        if (told)
            assert_ok(ranks_order(ranks, &order, &err), err);
        assert_int_equal(waitid(P_PID, (id_t)ranks->peers[0].process, &ended, WEXITED | WNOWAIT),
                         0);
        assert_false(told ? ranks_gather(ranks, &err) : ranks_order(ranks, &order, &err));
        assert_string_equal(err.message, "cpu: the device has failed");
        ranks_close(ranks);
    }
}

static size_t shared_bytes(const struct runner *runner)
{
    struct stat now;
    assert_int_equal(fstat(runner->ranks->memory, &now), 0);
    return (size_t)now.st_size;
}

static void memory_to_exchange_in_every_stage_is_taken_before_the_first_step(void **state)
{
    (void)state;
    struct error err;
    struct runner runner;
    struct train_settings settings = small_progan();
    parallel_set_threads(1);
    assert_ok(runner_init(&runner, &settings, CHANNELS, SIDE, &err), err);
    assert_ok(share(&runner, 2, &err), err);
    size_t taken = shared_bytes(&runner);
    assert_ok(runner_begin(&runner, &err), err);
    for (uint64_t step = 0; step < STEPS; step++) {
        if (!runner_is_for(&runner, step))
            assert_ok(runner_grow(&runner, step, &err), err);
        assert_ok(runner_step(&runner, step, images_of(step), NULL, &err), err);
        assert_true(runner.ranks->bytes <= taken);
    }
    assert_int_equal(shared_bytes(&runner), taken);
    ranks_close(runner.ranks);
    runner_release(&runner);
}

/* The first process has weights that no seed has drawn; a process that did not take them over goes
 * on with others. */
static void a_process_with_other_weights_is_found(void **state)
{
    (void)state;
    struct train_settings settings = small_ddpm();
    parallel_set_threads(1);
    for (int bad = 0; bad < 2; bad++) {
        struct error err;
        struct runner runner;
        deaf = bad;
        assert_ok(runner_init(&runner, &settings, CHANNELS, SIDE, &err), err);
        assert_ok(share(&runner, 2, &err) && runner_begin(&runner, &err), err);
        deaf = false;
        float first = 0.125F;
        struct tensor *tensor = store_find(runner.store, "model.out.2.bias");
        assert_non_null(tensor);
        float *values = memory_grow(NULL, shape_count(tensor->shape), sizeof *values);
        store_read(runner.store, tensor, values);
        values[0] = first;
        store_write(runner.store, tensor, values);
        free(values);
        assert_ok(runner_step(&runner, 0, images_of(0), NULL, &err), err);
        assert_int_equal(runner_compare(&runner, &err), !bad);
        if (bad)
            assert_contains(err.message, "cpu has come to other weights than the first device");
        ranks_close(runner.ranks);
        runner_release(&runner);
    }
}

int main(void)
{
    const struct CMUnitTest wherever[] = {
        cmocka_unit_test(a_shared_diffusion_comes_to_the_bits_of_one_process),
    };
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_shared_stylegan2_comes_to_the_bits_of_one_process),
        cmocka_unit_test(a_shared_training_grows_in_all_of_its_processes),
        cmocka_unit_test(what_cannot_be_shared_is_refused),
        cmocka_unit_test(a_process_that_is_killed_ends_the_training),
        cmocka_unit_test(what_a_process_could_not_do_is_told_after_its_end),
        cmocka_unit_test(memory_to_exchange_in_every_stage_is_taken_before_the_first_step),
        cmocka_unit_test(a_process_with_other_weights_is_found),
    };
    int failed = cmocka_run_group_tests(wherever, NULL, NULL);
    return EMULATED ? failed : failed + cmocka_run_group_tests(tests, NULL, NULL);
}
