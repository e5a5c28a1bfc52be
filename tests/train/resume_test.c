/* Resuming: a run that is killed (SIGKILL) again and again, at calls that chance chose (kill.h),
 * ends in the bytes of one that was never touched. The real program is run, so that a kill is a
 * kill: of the process between two steps, while it writes a checkpoint, or at its very start.
 */
#include "kill.h"
#include "scratch.h"

#include "base/random.h"
#include "base/text.h"
#include "fixture.h"
#include "train/growth.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#ifdef LETHE_SANITIZED /* where each run takes seconds */
enum { KILLS = 12 };
#else
enum { KILLS = 30 };
#endif
enum { STEPS = 40 };

struct model {
    const char *name;
    struct growth growth; /* as the arguments ask for: 160 or 184 images take 40 steps */
    const char *arguments[24];
};

static const struct model ddpm = {
    "ddpm",
    { .first = 8, .size = 8, .batch = 4, .batch_most = 4 },
    { "--model=ddpm", "--base=32", "--mult=1", "--blocks=1", "--attention=0", "--heads=1",
      "--dropout=0.1", "--learned-variance", "--validate=3", "--accumulate=2", "--images=160" }
};
static const struct model stylegan2 = { "stylegan2",
                                        { .first = 8, .size = 8, .batch = 4, .batch_most = 4 },
                                        { "--model=stylegan2", "--z-width=8", "--w-width=8",
                                          "--channel-base=64", "--channel-max=8", "--r1-interval=3",
                                          "--path-interval=2", "--augment=adaptive",
                                          "--augment-kimg=0.05", "--images=160" } };
static const struct model stylegan3 = { "stylegan3",
                                        { .first = 8, .size = 8, .batch = 4, .batch_most = 4 },
                                        { "--model=stylegan3", "--config=r", "--z-width=8",
                                          "--w-width=8", "--layers=3", "--channel-base=64",
                                          "--channel-max=4", "--r1-interval=3", "--blur-kimg=0.1",
                                          "--accumulate=2", "--images=160" } };
static const struct model progan = {
    "progan",
    { .first = 4, .size = 8, .stable = 40, .fade = 40, .batch = 4, .batch_most = 8 },
    { "--model=progan", "--z-width=8", "--channel-base=64", "--channel-max=8", "--stable-kimg=0.04",
      "--fade-kimg=0.04", "--batch-most=8", "--reference=2", "--images=184" }
};

static const struct model stylegan = {
    "stylegan",
    { .first = 4, .size = 8, .stable = 40, .fade = 40, .batch = 4, .batch_most = 8 },
    { "--model=stylegan", "--z-width=8", "--w-width=8", "--mapping-layers=2", "--channel-base=64",
      "--channel-max=8", "--first-side=4", "--stable-kimg=0.04", "--fade-kimg=0.04",
      "--batch-most=8", "--images=184" }
};

static void write_data(void)
{
    struct error err;
    struct fixture fixture = { .count = 15, .channels = 1, .height = 8, .width = 8, .masks = 1 };
    assert_ok(fixture_write(&fixture, scratch("store"), &err), err);
}

/* Starts `lethe train` into a folder, its messages in scratch("output"). */
static pid_t start(const struct model *model, const char *out, const char *checkpoint)
{
    static const char *const usual[] = { "--batch=4", "--log=4",     "--keep=2", "--samples=10",
                                         "--mirror",  "--threads=1", "--seed=7" };
    const char *arguments[48] = { LETHE_PROGRAM, "train",      "--dataset",    scratch("store"),
                                  "--out",       scratch(out), "--checkpoint", checkpoint };
    size_t count = 8;
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++)
        arguments[count++] = usual[i];
    for (size_t i = 0; model->arguments[i]; i++)
        arguments[count++] = model->arguments[i];
    const char *output = scratch("output");
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        int file = open(output, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        dup2(file, 1);
        dup2(file, 2);
        execv(LETHE_PROGRAM, (char *const *)(void *)arguments);
        _exit(127);
    }
    return child;
}

static int wait_for(pid_t child)
{
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void run_to_the_end(const struct model *model, const char *out, const char *checkpoint)
{
    int status = wait_for(start(model, out, checkpoint));
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        struct error err;
        size_t size;
        char *output = file_read(scratch("output"), 1 << 20, &size, &err);
        fail_msg("lethe train ended with status %d: %s", status, output ? output : "");
    }
}

/* How many of its calls change a file, with a checkpoint after each step. */
static unsigned long count_calls(const struct model *model, const char *out)
{
    const char *calls = scratch("calls");
    count_next_into(calls);
    pid_t child = start(model, out, "1");
    kill_no_more();
    assert_int_equal(wait_for(child), 0);
    return kill_calls_in(calls);
}

/* True when the kill hit; false when the run was complete before. */
static bool is_killed_at(const struct model *model, const char *out, unsigned long call)
{
    kill_next_at(call);
    pid_t child = start(model, out, "1");
    kill_no_more();
    int status = wait_for(child);
    if (WIFSIGNALED(status))
        return true;
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    return false;
}

static char *final_weights(const char *out, size_t *size)
{
    struct error err;
    char path[600];
    snprintf(path, sizeof path, "%s/checkpoints/step-%012d.safetensors", scratch(out), STEPS);
    char *bytes = file_read(path, 1 << 30, size, &err);
    assert_ok(bytes, err);
    return bytes;
}

/* The data of a safetensors file: what follows its header, in which settings may differ (how often
 * checkpoints are written is not a matter of weights). */
static const char *data_of(const char *bytes)
{
    uint64_t header;
    memcpy(&header, bytes, sizeof header);
    return bytes + 8 + header;
}

static void assert_equal_ends(const char *unbroken, const char *killed)
{
    size_t size_a, size_b;
    char *a = final_weights(unbroken, &size_a), *b = final_weights(killed, &size_b);
    size_t data_a = size_a - (size_t)(data_of(a) - a), data_b = size_b - (size_t)(data_of(b) - b);
    assert_int_equal(data_a, data_b);
    assert_true(data_a > 10000);
    assert_memory_equal(data_of(a), data_of(b), data_a);
    memory_free(a);
    memory_free(b);
}

/* Pictures too: those of steps that were taken again are drawn again, the same. */
static void assert_equal_pictures(const char *unbroken, const char *killed)
{
    for (int step = 10; step <= STEPS; step += 10) {
        struct error err;
        size_t size_a, size_b;
        char a[600], b[600];
        snprintf(a, sizeof a, "%s/samples/step-%012d.png", scratch(unbroken), step);
        snprintf(b, sizeof b, "%s/samples/step-%012d.png", scratch(killed), step);
        char *one = file_read(a, 1 << 20, &size_a, &err),
             *two = file_read(b, 1 << 20, &size_b, &err);
        assert_ok(one && two, err);
        assert_int_equal(size_a, size_b);
        assert_memory_equal(one, two, size_a);
        memory_free(one);
        memory_free(two);
    }
}

/* Each line of metrics stands there once, in order, although steps were taken again. */
static void assert_whole_metrics(const struct model *model, const char *out)
{
    struct error err;
    char path[600];
    size_t size;
    snprintf(path, sizeof path, "%s/metrics.jsonl", scratch(out));
    char *bytes = file_read(path, 1 << 20, &size, &err);
    assert_ok(bytes, err);
    const char *at = bytes;
    for (int step = 1; step <= STEPS;
         step++) { /* checkpoints of each step may have been validated */
        char beginning[64], validated[64];
        int images = (int)growth_images(&model->growth, (uint64_t)step);
        bool grows = model->growth.first < model->growth.size;
        snprintf(beginning, sizeof beginning, "{\"step\": %d, \"images\": %d, \"%s\"", step, images,
                 grows ? "side" : "loss");
        snprintf(validated, sizeof validated, "{\"step\": %d, \"images\": %d, \"validation\"", step,
                 images);
        if (step % 4 == 0) {
            assert_true(text_starts_with(at, beginning));
            at = strchr(at, '\n') + 1;
        }
        if (text_starts_with(at, validated))
            at = strchr(at, '\n') + 1;
    }
    assert_int_equal(*at, 0);
    memory_free(bytes);
}

/* Whether the run that ended last went on from a checkpoint. */
static bool was_resumed(void)
{
    struct error err;
    size_t size;
    char *output = file_read(scratch("output"), 1 << 20, &size, &err);
    assert_ok(output, err);
    bool resumed = strstr(output, "resumed at step");
    memory_free(output);
    return resumed;
}

/* `unbroken`: asked for otherwise, to the same end; NULL: as the model. */
static void check_kills_beside(const struct model *model, const struct model *unbroken, int kills)
{
    write_data();
    run_to_the_end(unbroken ? unbroken : model, "unbroken", "1000");
    unsigned long calls = count_calls(model, "counted");
    assert_equal_ends("unbroken", "counted");
    int hits = 0, rounds = 0, tries = 0, resumed = 0;
    while (hits < kills) { /* a round: one run, killed until it is through */
        char out[32];
        snprintf(out, sizeof out, "killed-%d", rounds++);
        bool hit = true;
        for (int k = 0; hit && k < 12; k++) {
            double share = random_uniform(1, random_stream(model->name), (uint64_t)tries++);
            hit = is_killed_at(model, out, 1 + (unsigned long)(share * (double)calls));
            hits += hit;
        }
        run_to_the_end(model, out, "1");
        resumed += was_resumed();
        assert_equal_ends("unbroken", out);
        assert_equal_pictures("unbroken", out);
        assert_whole_metrics(model, out);
        assert_true(rounds < 100);
    }
    assert_true(resumed > 0); /* else all kills came before the first checkpoint */
    print_message("%s: %d kills in %d runs, of which an unbroken one takes %lu calls\n",
                  model->name, hits, rounds, calls);
}

static void check_kills(const struct model *model, int kills)
{
    check_kills_beside(model, NULL, kills);
}

static void killed_runs_of_stylegan2_end_as_unbroken_ones(void **state)
{
    (void)state;
    check_kills(&stylegan2, KILLS);
}

static void killed_runs_of_ddpm_end_as_unbroken_ones(void **state)
{
    (void)state;
    check_kills(&ddpm, KILLS / 4);
}

static void killed_runs_of_stylegan3_end_as_unbroken_ones(void **state)
{
    (void)state;
    check_kills(&stylegan3, KILLS / 4);
}

static void killed_runs_of_progan_end_as_unbroken_ones(void **state)
{
    (void)state;
    check_kills(&progan, KILLS / 4);
}

static void killed_runs_of_stylegan_end_as_unbroken_ones(void **state)
{
    (void)state;
    check_kills(&stylegan, KILLS / 4);
}

/* Shared by two processes, of which the first is killed; the second then ends with it. The unbroken
 * run is alone. */
static void killed_runs_that_are_shared_end_as_one_process_does(void **state)
{
    (void)state;
    struct model shared = ddpm;
    size_t count = 0;
    while (shared.arguments[count])
        count++;
    shared.arguments[count] = "--beside=cpu";
    check_kills_beside(&shared, &ddpm, KILLS / 4);
}

/* A step before a border of growth, at it, and a step after. */
static void runs_that_end_at_a_border_grow_when_they_go_on(void **state)
{
    (void)state;
    struct model part = progan;
    struct stage stage = growth_stage(&progan.growth, 0);
    size_t images = 0;
    while (part.arguments[images + 1])
        images++;
    write_data();
    run_to_the_end(&progan, "unbroken", "1000");
    while (growth_next(&progan.growth, &stage))
        for (uint64_t step = stage.step - 1; step <= stage.step + 1; step++) {
            char option[32];
            snprintf(option, sizeof option, "--images=%d",
                     (int)growth_images(&progan.growth, step));
            part.arguments[images] = option;
            run_to_the_end(&part, "parts", "1000");
        }
    run_to_the_end(&progan, "parts", "1000");
    assert_true(was_resumed());
    assert_equal_ends("unbroken", "parts");
    assert_whole_metrics(&progan, "parts");
}

/* SIGTERM: a checkpoint at the step that was reached, exit code 0, and how to go on. */
static void a_signal_stops_with_a_checkpoint_and_the_run_goes_on(void **state)
{
    (void)state;
    struct error err;
    size_t size;
    write_data();
    run_to_the_end(&stylegan2, "unbroken", "1000");
    pid_t child = start(&stylegan2, "stopped", "1000");
    for (int i = 0; i < 20000 && path_kind(scratch("stopped/metrics.jsonl")) == PATH_NOTHING; i++)
        nanosleep(&(struct timespec){ 0, 5000000 }, NULL);
    kill(child, SIGTERM);
    int status = wait_for(child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    char *output = file_read(scratch("output"), 1 << 20, &size, &err);
    assert_ok(output, err);
    assert_contains(output, "resume with: lethe train --dataset ");
    memory_free(output);
    assert_int_equal(names_in(scratch("stopped/checkpoints")), 1);
    run_to_the_end(&stylegan2, "stopped", "1000");
    assert_equal_ends("unbroken", "stopped");
}

/* Before anything is drawn or overwritten. */
static void another_run_in_the_folder_is_refused(void **state)
{
    (void)state;
    struct error err;
    size_t size;
    write_data();
    pid_t first = start(&ddpm, "shared", "1");
    for (int i = 0; i < 20000 && path_kind(scratch("shared/metrics.jsonl")) == PATH_NOTHING; i++)
        nanosleep(&(struct timespec){ 0, 5000000 }, NULL);
    kill(first, SIGSTOP);
    int status = wait_for(start(&ddpm, "shared", "1"));
    kill(first, SIGKILL);
    wait_for(first);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 2);
    char *output = file_read(scratch("output"), 1 << 20, &size, &err);
    assert_ok(output, err);
    assert_contains(output, "another run is training in this folder");
    memory_free(output);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_make, scratch_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(killed_runs_of_stylegan2_end_as_unbroken_ones),
        TEST(killed_runs_of_ddpm_end_as_unbroken_ones),
        TEST(killed_runs_of_stylegan3_end_as_unbroken_ones),
        TEST(killed_runs_of_progan_end_as_unbroken_ones),
        TEST(killed_runs_of_stylegan_end_as_unbroken_ones),
        TEST(killed_runs_that_are_shared_end_as_one_process_does),
        TEST(runs_that_end_at_a_border_grow_when_they_go_on),
        TEST(a_signal_stops_with_a_checkpoint_and_the_run_goes_on),
        TEST(another_run_in_the_folder_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
