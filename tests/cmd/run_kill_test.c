/* lethe run, killed again and again: the same bytes as a run that nobody touched.
 *
 * A tiny pipeline: phantoms, a small generator of 16², a set of its images. The first run is left
 * alone. The second is killed (SIGKILL) at moments nobody chose and started again, until it ends by
 * itself. Then everything that was made must be equal, and the journal's chain whole, with every
 * interruption visible in it.
 */
#include "scratch.h"

#include "base/progress.h"
#include "plan/journal.h"
#include "plan/stage.h"

#include <signal.h>
#include <sys/wait.h>
#include <time.h>

static struct error err;

static const char plan_text[] =
    "name: killed\n"
    "run: %s\n"
    "seed: 5\n"
    "ingest: { source: cohort, size: 16 }\n"
    "train:\n"
    "  model: stylegan2\n"
    "  batch: 4\n"
    "  images: 1600\n"
    "  checkpoint: 20\n"
    "  stylegan2: { z_width: 8, w_width: 8, channel_base: 128, channel_max: 8 }\n"
    "sample: { count: 40 }\n";

static const char *write_plan(const char *run)
{
    static char path[200];
    char text[1000], name[100];
    snprintf(name, sizeof name, "%s.yaml", run);
    snprintf(text, sizeof text, plan_text, run);
    snprintf(path, sizeof path, "%s", scratch(name));
    write_text(path, text);
    return path;
}

static pid_t start(const char *const arguments[])
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child)
        return child;
    freopen("/dev/null", "w", stdout);
    freopen("/dev/null", "w", stderr);
    execv(LETHE_BINARY, (char *const *)arguments);
    _exit(127);
}

static pid_t start_run(const char *plan)
{
    return start((const char *const[]){ LETHE_BINARY, "run", plan, "--threads", "1", "--until",
                                        "sample", NULL });
}

static int wait_for(pid_t child)
{
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void make_cohort(void)
{
    char out[200];
    snprintf(out, sizeof out, "%s", scratch("cohort"));
    assert_int_equal(
        wait_for(start((const char *const[]){ LETHE_BINARY, "phantom", "--subjects", "4", "--size",
                                              "32", "--out", out, NULL })),
        0);
}

/* Runs the plan, killing it after a random time, until it ends by itself; returns the kills. */
static int run_with_kills(const char *plan, double unbroken)
{
    for (int kills = 0;; kills++) {
        double pause = 0.005 + unbroken * rand() / RAND_MAX * (kills < 25 ? 0.4 : 2);
        struct timespec time = { (time_t)pause, (long)(1e9 * (pause - (double)(time_t)pause)) };
        pid_t child = start_run(plan);
        nanosleep(&time, NULL);
        kill(child, SIGKILL);
        int status = wait_for(child);
        if (!WIFSIGNALED(status)) {
            assert_int_equal(status, 0);
            return kills;
        }
        assert_true(kills < 200);
    }
}

/* The digests of all that a run made which may not depend on time. */
static struct digest made(const char *run, const char *folder, const char *prefix)
{
    struct digest digest;
    char name[200];
    snprintf(name, sizeof name, "%s/%s", run, folder);
    assert_ok(stage_product(scratch(name), prefix, &digest, &err), err);
    return digest;
}

static void assert_same(const char *folder, const char *prefix)
{
    struct digest unbroken = made("unbroken", folder, prefix),
                  killed = made("killed", folder, prefix);
    assert_true(digest_equal(&unbroken, &killed));
}

struct starts {
    int started, ended;
};

static void count_events(void *context, const struct json *line)
{
    struct starts *starts = context;
    const char *event = json_get_string(line, "event", &err);
    assert_non_null(event);
    starts->started += strcmp(event, "run started") == 0;
    starts->ended += strcmp(event, "run ended") == 0;
}

static void killed_anywhere_and_run_again_it_makes_the_same_bytes(void **state)
{
    (void)state;
    make_cohort();
    const char *plan = write_plan("unbroken");
    double began = clock_seconds();
    assert_int_equal(wait_for(start_run(plan)), 0);
    double unbroken = clock_seconds() - began;
    srand(11);
    int kills = run_with_kills(write_plan("killed"), unbroken);
    assert_true(kills >= 3);
    assert_same("dataset", "");
    assert_same("model", "checkpoints/");
    assert_same("synthetic", "");
    struct starts starts = { 0 };
    uint64_t length;
    struct digest head;
    assert_ok(journal_read(scratch("killed"), count_events, &starts, &length, &head, &err), err);
    assert_true(starts.ended >= 1); /* a kill may come after the last line */
    assert_in_range(starts.started, 2, kills + 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_make, scratch_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(killed_anywhere_and_run_again_it_makes_the_same_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
