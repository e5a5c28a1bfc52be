/* lethe ingest, killed at any of its calls that change a file: a complete store or none, and the
 * next run succeeds. */
#include "cohort.h"
#include "kill.h"

#include "data/dataset.h"

#include <sys/wait.h>

static struct error err;

enum { SUBJECTS = 6, ROUNDS = 40 };

static pid_t start(const char *plan)
{
    pid_t child = fork();
    if (child)
        return child;
    freopen("/dev/null", "w", stdout);
    freopen("/dev/null", "w", stderr);
    execl(LETHE_BINARY, LETHE_BINARY, "ingest", plan, "--threads", "2", (char *)NULL);
    _exit(127);
}

/* Whether there is a store; if so it is complete. */
static bool check_store(void)
{
    struct dataset dataset;
    if (path_kind(scratch("run/dataset")) == PATH_NOTHING)
        return false;
    assert_ok(dataset_open(&dataset, scratch("run/dataset"), &err), err);
    assert_ok(dataset_verify(&dataset, &err), err);
    assert_int_equal(dataset.count, SUBJECTS * COHORT_Z);
    dataset_close(&dataset);
    return true;
}

static void write_plan(int round)
{
    char text[400];
    snprintf(
        text, sizeof text,
        "name: killed\nrun: run\ningest:\n  source: scans\n  canvas: 256\n  size: 128\n  keep_share: 0\n"
        "  seed: %d\n",
        round);
    write_text(scratch("plan.yaml"), text);
}

static void kill_at_any_moment_leaves_a_whole_store_or_none(void **state)
{
    (void)state;
    int status, none = 0, whole = 0;
    char plan[100];
    write_cohort(SUBJECTS);
    snprintf(plan, sizeof plan, "%s", scratch("plan.yaml"));
    write_plan(0);
    const char *counted = scratch("calls");
    count_next_into(counted);
    pid_t child = start(plan);
    kill_no_more();
    assert_int_equal(waitpid(child, &status, 0) > 0 && status == 0, 1);
    unsigned long calls = kill_calls_in(counted);
    assert_true(check_store());
    srand(3);
    for (int round = 1; round <= ROUNDS; round++) {
        write_plan(round); /* another seed: a store in place is out of date and is replaced */
        if (round % 3 == 0)
            assert_ok(folder_remove(scratch("run"), &err), err);
        bool before = check_store();
        kill_next_at(1 + (unsigned long)rand() % (calls + calls / 5));
        child = start(plan);
        kill_no_more();
        assert_int_equal(waitpid(child, &status, 0), child);
        bool there = check_store();
        whole += there;
        none += !there;
        assert_true(there || !before);
        if (round % 8 == 0) { /* over whatever the kill left */
            assert_int_equal(waitpid(start(plan), &status, 0) > 0 && status == 0, 1);
            assert_true(check_store());
            assert_int_equal(path_kind(scratch("run/dataset.partial")), PATH_NOTHING);
        }
    }
    assert_true(none > 2 && whole > 2); /* the kills came neither all too early nor all too late */
}

/* Both may win in turn, or one is told that the other is writing; the store is whole. */
static void two_ingests_at_once_leave_a_whole_store(void **state)
{
    (void)state;
    char plan[100];
    write_cohort(SUBJECTS);
    snprintf(plan, sizeof plan, "%s", scratch("plan.yaml"));
    for (int round = 0; round < 6; round++) {
        int first, second;
        write_plan(round);
        pid_t one = start(plan), two = start(plan);
        assert_int_equal(waitpid(one, &first, 0), one);
        assert_int_equal(waitpid(two, &second, 0), two);
        assert_true(WIFEXITED(first) && WIFEXITED(second));
        assert_true(WEXITSTATUS(first) == 0 || WEXITSTATUS(second) == 0);
        assert_true(WEXITSTATUS(first) == 0 || WEXITSTATUS(first) == 2);
        assert_true(WEXITSTATUS(second) == 0 || WEXITSTATUS(second) == 2);
        assert_true(check_store());
        assert_int_equal(path_kind(scratch("run/dataset.partial")), PATH_NOTHING);
    }
}

/* What a plan's run prints and returns for a bad subject. */
static void a_bad_subject_is_exit_2(void **state)
{
    (void)state;
    int status;
    char plan[100];
    write_cohort(2);
    write_text(scratch("scans/S1/S1_t1.nii"), "x");
    write_plan(0);
    snprintf(plan, sizeof plan, "%s", scratch("plan.yaml"));
    assert_true(waitpid(start(plan), &status, 0) > 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 2);
    assert_int_equal(path_kind(scratch("run/dataset")), PATH_NOTHING);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_make, scratch_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(kill_at_any_moment_leaves_a_whole_store_or_none),
        TEST(two_ingests_at_once_leave_a_whole_store),
        TEST(a_bad_subject_is_exit_2),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
