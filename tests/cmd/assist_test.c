/* lethe assist: a run that others work for makes the same bytes as one that works alone, whoever of
 * them is killed, in whatever unit of work. */
#include "program.h"

#include "base/lock.h"
#include "plan/lock.h"

#include <dirent.h>
#include <time.h>

static struct error err;

static const char plan_text[] =
    "name: shared\n"
    "seed: 5\n"
    "ingest: { source: ../cohort, size: 16, holdout: 0.4 }\n"
    "train:\n"
    "  model: stylegan2\n"
    "  batch: 4\n"
    "  images: 400\n"
    "  checkpoint: 10\n"
    "  samples: 0\n"
    "  stylegan2: { z_width: 8, w_width: 8, channel_base: 128, channel_max: 8 }\n"
    "  candidates: [{ name: early, images: 100 }, { name: other, settings: o.yaml }]\n"
    "sample: { count: 240 }\n"
    "audit: { quantile: 0.7, pairs: 2, bootstrap: 120, transforms: false, tiles: false }\n"
    "utility:\n"
    "  sources: [real, synthetic]\n"
    "  seeds: 1\n"
    "  bootstrap: 100\n"
    "  training: { images: 48, batch: 12, base: 4, levels: 2, rate: 0.02 }\n"
    "policy:\n"
    "  rows: [{ metric: memorization.flagged.count, limit: 0 }]\n";

static const char other_text[] = "stylegan2: { z_width: 4, w_width: 4 }\n";

#define ONE_TRAINING(images)                                                                       \
    "name: one\n"                                                                                  \
    "seed: 5\n"                                                                                    \
    "ingest: { source: ../cohort, size: 16, holdout: 0.4 }\n"                                      \
    "train:\n"                                                                                     \
    "  model: stylegan2\n"                                                                         \
    "  batch: 4\n"                                                                                 \
    "  accumulate: 2\n"                                                                            \
    "  images: " images "\n"                                                                       \
    "  samples: 0\n"                                                                               \
    "  device: cpu\n"                                                                              \
    "  stylegan2: { z_width: 8, w_width: 8, channel_base: 128, channel_max: 8 }\n"
static const char one_training[] = ONE_TRAINING("100");

static const char *write_plan(const char *folder, const char *other)
{
    char beside[600];
    const char *path = write_plan_of(folder, plan_text);
    snprintf(beside, sizeof beside, "%s/o.yaml", scratch(folder));
    write_text(beside, other);
    return path;
}

/* ---- processes ------------------------------------------------------------------------------- */

static pid_t start_assistant(const char *plan)
{
    return start((const char *const[]){ LETHE_BINARY, "assist", plan, "--threads", "1", "--device",
                                        "cpu", NULL });
}

static void kill_now(pid_t child)
{
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_true(WIFSIGNALED(wait_for(child)));
}

static void rest(double seconds)
{
    nanosleep(
        &(struct timespec){ (time_t)seconds, (long)(1e9 * (seconds - (double)(time_t)seconds)) },
        NULL);
}

static void assert_log_tells(const char *words)
{
    size_t size;
    char *log = file_read(scratch("log"), 1 << 24, &size, &err);
    assert_ok(log, err);
    assert_contains(log, words);
    memory_free(log);
}

/* ---- what was made --------------------------------------------------------------------------- */

static const char *const made[] = {
    "model/checkpoints/step-000000000025.safetensors",
    "model/checkpoints/step-000000000100.safetensors",
    "candidates/other/model/checkpoints/step-000000000100.safetensors",
    "candidates/early/synthetic/images.npy",
    "candidates/early/synthetic/dataset.json",
    "candidates/other/synthetic/images.npy",
    "candidates/early/audit/memorization.json",
    "candidates/early/utility/utility.json",
    "candidates/other/utility/utility.json",
    "candidates/other/utility/panels/synthetic_unet_none_5.png",
};

static void assert_all_the_same(void)
{
    for (size_t i = 0; i < sizeof made / sizeof *made; i++)
        assert_made_alike("alone", "shared", made[i]);
}

/* ---- who works on what ----------------------------------------------------------------------- */

/* Whether an assistant holds the lock. */
static bool is_assisted(const char *path)
{
    struct arena arena;
    struct lock_holder holder;
    arena_init(&arena);
    lock_holder(path, &holder, &arena);
    bool assisted = holder.is_held && strstr(holder.command, "lethe assist");
    lock_holder_release(&holder);
    arena_release(&arena);
    return assisted;
}

/* Whether one does of the locks in a folder, by name or in folders below. */
static bool is_any_assisted(const char *folder, const char *within)
{
    char path[1500];
    bool any = false;
    DIR *entries = opendir(folder);
    for (struct dirent *entry; entries && (entry = readdir(entries));) {
        snprintf(path, sizeof path, "%s/%s%s", folder, entry->d_name, within);
        any = any || (strcmp(entry->d_name, ".") != 0 && is_assisted(path));
    }
    if (entries)
        closedir(entries);
    return any;
}

static bool is_training_assisted(void)
{
    return is_assisted(scratch("shared/run/candidates/other/.model.taken")) ||
           is_assisted(scratch("shared/run/.model.taken"));
}

static bool is_drawing_assisted(void)
{
    return is_any_assisted(scratch("shared/run/candidates/early/synthetic.drawn"), "") ||
           is_any_assisted(scratch("shared/run/candidates/other/synthetic.drawn"), "");
}

static bool is_trial_assisted(void)
{
    return is_any_assisted(scratch("shared/run/candidates/early/utility/trials"), "/.taken") ||
           is_any_assisted(scratch("shared/run/candidates/other/utility/trials"), "/.taken");
}

static bool is_at(const char *stage)
{
    struct run_holder run;
    struct arena arena;
    arena_init(&arena);
    run_lock_holder(scratch("shared/run"), &run, &arena);
    bool at = run.is_held && run.stage && strcmp(run.stage, stage) == 0;
    arena_release(&arena);
    return at;
}

static bool is_training_begun(void)
{
    return is_at("train");
}

static bool is_drawing_begun(void)
{
    return is_at("sample") &&
           path_kind(scratch("shared/run/candidates/early/synthetic.drawn/key")) == PATH_FILE;
}

static bool is_judging_begun(void)
{
    return is_at("audit") || is_at("utility");
}

/* The kinds of units: a stage, when there are units to take, whether an assistant has one. */
static const struct {
    const char *stage;
    bool (*is_begun)(void), (*is_assisted)(void);
} kinds[] = {
    { "train", is_training_begun, is_training_assisted },
    { "sample", is_drawing_begun, is_drawing_assisted },
    { "utility", is_judging_begun, is_trial_assisted },
};

static void wait_until(bool (*holds)(void), pid_t child)
{
    int status;
    for (int i = 0; !holds(); i++) {
        assert_int_equal(waitpid(child, &status, WNOHANG), 0);
        assert_in_range(i, 0, 120000);
        rest(0.0005);
    }
}

/* Stops an assistant while it works on a unit of the kind. */
static void stop_at_work(pid_t assistant, size_t kind)
{
    int status;
    for (;;) {
        wait_until(kinds[kind].is_assisted, assistant);
        kill(assistant, SIGSTOP);
        assert_int_equal(waitpid(assistant, &status, WUNTRACED), assistant);
        assert_true(WIFSTOPPED(status));
        if (kinds[kind].is_assisted())
            return;
        kill(assistant, SIGCONT);
    }
}

/* How many lines of `lethe status` tell of assistants. */
static int status_tells(const char *plan)
{
    char line[1000];
    int count = 0;
    snprintf(line, sizeof line, "%s status '%s'", LETHE_BINARY, plan);
    FILE *status = popen(line, "r");
    assert_non_null(status);
    while (fgets(line, sizeof line, status))
        count += strncmp(line, "assisting: process ", 19) == 0 && strstr(line, "(lethe assist ");
    assert_int_equal(pclose(status), 0);
    return count;
}

/* Killed, or asked to stop, as a batch system does: who assists waits for it in either case. */
static void end_run(pid_t run, bool asked)
{
    if (!asked) {
        kill_now(run);
        return;
    }
    kill(run, SIGTERM);
    kill(run, SIGCONT);
    int status = wait_for(run);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 2);
}

/* The run is stopped when it has come to the stage, so that assistants have time to take something.
 * The first is killed while it works; then, while a second works, the run is. That one goes on
 * alone, and then with the next run. */
static void kill_both(const char *plan, size_t kind)
{
    int status;
    pid_t first = start_assistant(plan), run = start_run(plan, kinds[kind].stage);
    wait_until(kinds[kind].is_begun, run);
    kill(run, SIGSTOP);
    stop_at_work(first, kind);
    kill_now(first);
    assert_false(kinds[kind].is_assisted());
    assert_int_equal(status_tells(plan), 0);
    pid_t second = start_assistant(plan);
    stop_at_work(second, kind);
    assert_int_equal(status_tells(plan), 1);
    end_run(run, kind == 0);
    kill(second, SIGCONT);
    rest(0.2);
    assert_int_equal(waitpid(second, &status, WNOHANG), 0);
    assert_int_equal(wait_for(start_run(plan, kinds[kind].stage)), 0);
    assert_int_equal(wait_for(second), 0);
}

static void whoever_is_killed_in_whatever_unit_the_bytes_are_the_same(void **state)
{
    (void)state;
    make_cohort();
    assert_int_equal(wait_for(start_run(write_plan("alone", other_text), "utility")), 0);
    const char *plan = write_plan("shared", other_text);
    for (size_t kind = 0; kind < sizeof kinds / sizeof *kinds; kind++)
        kill_both(plan, kind);
    assert_all_the_same();
}

/* ---- one training ---------------------------------------------------------------------------- */

/* Where there are no other trainings to take, the devices take parts of its batches; of two parts a
 * third device takes none. */
static void devices_beside_a_run_share_its_only_training(void **state)
{
    (void)state;
    make_cohort();
    assert_int_equal(wait_for(start_run(write_plan_of("alone", one_training), "train")), 0);
    const char *plan = write_plan_of("shared", one_training);
    assert_int_equal(
        wait_for(start((const char *const[]){ LETHE_BINARY, "run", plan, "--threads", "1",
                                              "--until", "train", "--beside", "cpu,cpu", NULL })),
        0);
    assert_log_tells("100 images in 25 steps on 2 devices");
    assert_made_alike("alone", "shared", "model/checkpoints/step-000000000025.safetensors");
}

/* A run that begins looks at its data first, for long where they are large. */
static void a_training_that_may_be_shared_is_left_to_the_run(void **state)
{
    (void)state;
    struct arena arena;
    struct run_lock lock;
    struct run_holder holder;
    make_cohort();
    const char *plan = write_plan_of("shared", ONE_TRAINING("100000"));
    assert_int_equal(wait_for(start_run(plan, "ingest")), 0);
    pid_t run = start_run(plan, "train");
    wait_until(is_training_begun, run);
    arena_init(&arena);
    run_lock_holder(scratch("shared/run"), &holder, &arena);
    kill_now(run);
    assert_ok(run_lock_take(&lock, scratch("shared/run"), "lethe run", &err), err);
    assert_ok(run_lock_tell(&lock, holder.plan, "train", "train", &err), err);
    pid_t assistant = start((const char *const[]){ LETHE_BINARY, "assist", plan, "--device", "cpu",
                                                   "--time-limit", "0.02", NULL });
    assert_int_equal(wait_for(assistant), 0);
    assert_log_tells("the time limit; worked 0 times");
    run_lock_release(&lock);
    arena_release(&arena);
}

/* ---- who may not assist ---------------------------------------------------------------------- */

/* Takes the place of a run, and says that it is of that version. */
static void assert_refused_by(const char *plan, const char *version, const char *words)
{
    struct run_lock lock;
    const struct lock_word word = { "version", version };
    assert_ok(run_lock_take(&lock, scratch("shared/run"), "lethe run", &err), err);
    assert_ok(lock_tell(&lock.lock, &word, 1, &err), err);
    assert_ok(run_lock_tell(&lock, "0123", "train", "package", &err), err);
    int status = wait_for(start_assistant(plan));
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 2);
    assert_log_tells(words);
    run_lock_release(&lock);
}

static void another_version_or_plan_is_refused(void **state)
{
    (void)state;
    const char *plan = write_plan("shared", other_text);
    assert_refused_by(plan, "0.0.1", "is of version 0.0.1, this is " LETHE_VERSION);
    assert_refused_by(plan, LETHE_VERSION, "goes by another plan than");
}

/* The plan's own bytes are the same: a candidate's file of settings is not. */
static void a_candidate_that_was_changed_is_another_plan(void **state)
{
    (void)state;
    make_cohort();
    const char *plan = write_plan("shared", other_text);
    pid_t run = start_run(plan, "train");
    wait_until(is_training_begun, run);
    kill(run, SIGSTOP);
    write_plan("shared", "stylegan2: { z_width: 8, w_width: 4 }\n");
    int status = wait_for(start_assistant(plan));
    assert_int_equal(WEXITSTATUS(status), 2);
    assert_log_tells("goes by another plan than");
    assert_int_equal(path_kind(scratch("shared/run/candidates/other/model")), PATH_NOTHING);
    kill(run, SIGCONT);
    assert_int_equal(wait_for(run), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_make, scratch_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(whoever_is_killed_in_whatever_unit_the_bytes_are_the_same),
        TEST(devices_beside_a_run_share_its_only_training),
        TEST(a_training_that_may_be_shared_is_left_to_the_run),
        TEST(another_version_or_plan_is_refused),
        TEST(a_candidate_that_was_changed_is_another_plan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
