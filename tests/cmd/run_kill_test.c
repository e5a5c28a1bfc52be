/* lethe run, killed again and again in every stage: the same bytes as a run that nobody touched.
 *
 * A tiny release of 32² with two candidates, from the scans to the archive. The first run is left
 * alone, stage by stage, and tells how many calls of each change a file. In the second every stage
 * is killed (SIGKILL) several times at calls that chance chose (kill.h) before it may end. Then
 * everything that was made must be equal, to the archive's last byte, and the journal's chain
 * whole, with every interruption visible in it.
 */
#include "kill.h"
#include "program.h"

#include "base/json.h"
#include "plan/journal.h"

static struct error err;

enum { KILLS_A_STAGE = 6, CERTAIN_KILLS = 3, ATTEMPTS = 12 };

static const char plan_text[] =
    "name: killed\n"
    "seed: 5\n"
    "ingest: { source: ../cohort, size: 32, holdout: 0.4 }\n"
    "train:\n"
    "  model: stylegan2\n"
    "  batch: 4\n"
    "  images: 320\n"
    "  checkpoint: 20\n"
    "  samples: 0\n"
    "  stylegan2: { z_width: 8, w_width: 8, channel_base: 128, channel_max: 8 }\n"
    "  candidates: [{ name: early, images: 100 }, { name: end }]\n"
    "sample: { count: 40 }\n"
    "audit: { quantile: 0.7, pairs: 2, bootstrap: 80, transforms: false, tiles: false }\n"
    "utility:\n"
    "  sources: [real, synthetic]\n"
    "  seeds: 1\n"
    "  bootstrap: 100\n"
    "  training: { images: 120, batch: 12, base: 4, levels: 2, rate: 0.02 }\n"
    "policy:\n"
    "  rows: [{ metric: memorization.flagged.count, limit: 0 }]\n"
    "package: { version: \"1.0\", date: \"2026-11-22\", format: png }\n";

static const char *const stages[] = { "ingest",  "train",  "sample", "audit",
                                      "utility", "choose", "report", "package" };
enum { STAGES = sizeof stages / sizeof *stages };

/* How many calls of a stage that runs to its end change a file. */
static unsigned long run_and_count(const char *plan, const char *stage)
{
    const char *calls = scratch("calls");
    count_next_into(calls);
    pid_t child = start_run(plan, stage);
    kill_no_more();
    assert_int_equal(wait_for(child), 0);
    return kill_calls_in(calls);
}

/* A stage run until it is killed `KILLS_A_STAGE` times or ends by itself, then to its end; returns
 * the kills. The first ones cannot but come before that end, for together they are fewer calls
 * than it takes. */
static int run_with_kills(const char *plan, const char *stage, unsigned long calls)
{
    int kills = 0;
    for (int attempt = 0; attempt < ATTEMPTS && kills < KILLS_A_STAGE; attempt++) {
        bool early = attempt < CERTAIN_KILLS;
        kill_next_at(1 + (unsigned long)rand() % (early ? calls / CERTAIN_KILLS : calls));
        pid_t child = start_run(plan, stage);
        kill_no_more();
        int status = wait_for(child);
        if (!WIFSIGNALED(status)) {
            assert_int_equal(status, 0);
            return kills;
        }
        kills++;
    }
    assert_int_equal(wait_for(start_run(plan, stage)), 0);
    return kills;
}

/* ---- what was made --------------------------------------------------------------------------- */

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

static void killed_in_every_stage_and_run_again_it_makes_the_same_bytes(void **state)
{
    static const char *const files[] = {
        "dataset/dataset.json",
        "model/checkpoints/step-000000000025.safetensors",
        "model/checkpoints/step-000000000080.safetensors",
        "candidates/early/synthetic/images.npy",
        "candidates/end/synthetic/images.npy",
        "candidates/early/audit/memorization.json",
        "candidates/end/audit/nearest.csv",
        "candidates/early/utility/utility.json",
        "choice/choice.json",
        "report/report.public.html",
        "report/report.internal.html",
        "release/policy.json",
        "release/SHA256SUMS",
        "release/killed-1.0.manifest.json",
        "release/killed-1.0.tar.zst",
    };
    unsigned long calls[STAGES];
    int kills = 0;
    (void)state;
    make_cohort();
    const char *plan = write_plan_of("unbroken", plan_text);
    for (int i = 0; i < STAGES; i++)
        calls[i] = run_and_count(plan, stages[i]);
    srand(11);
    plan = write_plan_of("killed", plan_text);
    for (int i = 0; i < STAGES; i++)
        kills += run_with_kills(plan, stages[i], calls[i]);
    print_message("%d kills in %d stages\n", kills, STAGES);
    assert_in_range(kills, STAGES * CERTAIN_KILLS, STAGES * KILLS_A_STAGE);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        assert_made_alike("unbroken", "killed", files[i]);
    struct starts starts = { 0 };
    uint64_t length;
    struct digest head;
    assert_ok(journal_read(scratch("killed/run"), count_events, &starts, &length, &head, &err),
              err);
    assert_in_range(starts.ended, STAGES, STAGES + kills); /* a kill may come after the last line */
    assert_in_range(starts.started, STAGES, STAGES + kills);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_make, scratch_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(killed_in_every_stage_and_run_again_it_makes_the_same_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
