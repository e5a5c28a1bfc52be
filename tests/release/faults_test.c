/* Disks that fail: lethe-verify and lethe package with every one of their calls gone wrong, one at
 * a time (fault_shim.c). What could not be read to its end is never VERIFIED; what could not be
 * written to its end never looks finished. */
#include "sets.h"

#include "release/policy.h"

#include <sys/wait.h>

enum { IMAGES = 12, MOST_FAULTS = 4000 };

static struct arena arena;
static struct error err;
static const char *edited = ""; /* the file that `edit` changes */
static char *output;            /* what the last program said, on both streams */

static const char *in(const char *name)
{
    return arena_format(&arena, "%s/%s", scratch_folder, name);
}

/* Runs a command in the scratch folder, with or without a fault; its exit code. */
static int run(const char *fault, const char *command)
{
    const char *line = arena_format(
        &arena,
        "cd %s && rm -f hit && LC_ALL=C.UTF-8 ASAN_OPTIONS=verify_asan_link_order=0 "
        "LETHE_FAULT='%s' LETHE_FAULT_UNDER=%s/watched LETHE_FAULT_HIT=%s/hit "
        "LETHE_FAULT_EDIT=watched/%s LD_PRELOAD=%s %s >said 2>&1",
        scratch_folder, fault, scratch_folder, scratch_folder, edited, LETHE_SHIM, command);
    int status = system(line);
    size_t size;
    memory_free(output);
    output = file_read(in("said"), 1 << 20, &size, &err);
    assert_ok(output, err);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void do_well(const char *command)
{
    if (run("", command) != 0)
        fail_msg("%s: %s", command, output);
}

/* Calls `check` with the exit code for every call that goes wrong in this way, each `step` after
 * the one before. How many there were. */
static int with_each(const char *call, const char *how, int step, const char *command,
                     void (*check)(const char *fault, int code))
{
    for (int number = 1, count = 0; number < MOST_FAULTS; number += step, count++) {
        const char *fault = arena_format(&arena, "%s %d %s", call, number, how);
        int code = run(fault, command);
        if (path_kind(in("hit")) != PATH_FILE)
            return count;
        check(fault, code);
    }
    fail_msg("%s: there is no end of them", call);
    return 0;
}

/* ---- verifying ------------------------------------------------------------------------------- */

static const char verify[] = LETHE_VERIFY " watched/brain-1.0.tar.zst --key watched/key.pub";
static const char extract[] =
    LETHE_VERIFY " watched/brain-1.0.tar.zst --key watched/key.pub --extract watched/out";

static int make_signed(void **state)
{
    arena_init(&arena);
    if (scratch_make(state) != 0)
        return 1;
    do_well("sh -c 'mkdir -p tree/data watched; for i in 1 2 3; do "
            "head -c 400000 /dev/urandom > tree/data/$i; done'");
    do_well(LETHE_MAKE_RELEASE " tree brain 1.0 watched");
    do_well(LETHE_BINARY " keygen watched/key --no-passphrase");
    do_well(LETHE_BINARY " sign watched/brain-1.0.tar.zst --key watched/key.key");
    do_well("rm watched/key.key");
    do_well(verify);
    return 0;
}

static int end(void **state)
{
    memory_free(output);
    output = NULL;
    arena_release(&arena);
    return scratch_remove(state);
}

static void not_verified(const char *fault, int code)
{
    if (code == 0 || code > 3 || !strstr(output, "NOT VERIFIED: ") ||
        strstr(output, "\nVERIFIED") || text_starts_with(output, "VERIFIED"))
        fail_msg("%s: exit code %d: %s", fault, code, output);
}

static void could_not_tell(const char *fault, int code)
{
    not_verified(fault, code);
    if (code != 2 || !strstr(output, "could not tell: "))
        fail_msg("%s: exit code %d: %s", fault, code, output);
}

static void verified(const char *fault, int code)
{
    if (code != 0 || !strstr(output, "\nVERIFIED brain-1.0"))
        fail_msg("%s: exit code %d: %s", fault, code, output);
}

static void nothing_extracted(const char *fault, int code)
{
    could_not_tell(fault, code);
    if (path_kind(in("watched/out")) != PATH_NOTHING ||
        path_kind(in("watched/out.partial")) != PATH_NOTHING)
        fail_msg("%s: something was left", fault);
}

static void extracted(const char *fault, int code)
{
    verified(fault, code);
    do_well("diff -r tree watched/out");
    do_well("rm -r watched/out");
}

/* The key, the manifest, two bundles, and the archive in five reads. */
enum { READS = 9 };

static void a_read_error_is_could_not_tell(void **state)
{
    (void)state;
    assert_true(with_each("read", "EIO", 1, verify, could_not_tell) >= READS);
    assert_true(with_each("readdir", "EIO", 1, verify, could_not_tell) >= 4);
    run("read 8 EIO", verify);
    assert_contains(output, "brain-1.0.tar.zst: read error: Input/output error");
}

static void a_file_that_ends_early_is_never_verified(void **state)
{
    (void)state;
    assert_true(with_each("read", "end", 1, verify, not_verified) >= READS);
    assert_int_equal(run("read 8 end", verify), 1);
    assert_contains(output, "brain-1.0/data/3: missing");
}

static void a_bit_that_reading_turns_is_never_verified(void **state)
{
    (void)state;
    assert_true(with_each("read", "flip", 1, verify, not_verified) >= READS);
    assert_int_equal(run("read 7 flip", verify), 1);
}

static void reads_that_are_short_or_interrupted_go_on(void **state)
{
    (void)state;
    assert_true(with_each("read", "half", 1, verify, verified) >= READS);
    assert_true(with_each("read", "interrupted", 1, verify, verified) >= READS);
}

static void what_cannot_be_written_is_not_extracted(void **state)
{
    (void)state;
    assert_true(with_each("write", "ENOSPC", 1, extract, nothing_extracted) >= 4);
    assert_contains(output, "VERIFIED brain-1.0"); /* of the run that no fault hit */
    do_well("rm -r watched/out");
    assert_int_equal(with_each("syncfs", "EIO", 1, extract, nothing_extracted), 1);
    do_well("rm -r watched/out");
    assert_int_equal(with_each("renameat2", "EIO", 1, extract, nothing_extracted), 1);
    do_well("rm -r watched/out");
    assert_true(with_each("write", "half", 1, extract, extracted) >= 4);
}

/* A pipe is no file: it could end at any time, and could not be read for its size. */
static void a_pipe_is_no_archive(void **state)
{
    (void)state;
    do_well("sh -c 'mv watched/brain-1.0.tar.zst whole; mkfifo watched/brain-1.0.tar.zst; "
            "timeout 20 head -c 1000 whole > watched/brain-1.0.tar.zst & true'");
    could_not_tell("a pipe", run("", verify));
    assert_contains(output, "not a regular file");
    do_well("sh -c 'timeout 1 cat watched/brain-1.0.tar.zst; true'"); /* lets the writer end */
}

/* ---- packing --------------------------------------------------------------------------------- */

static const char package[] =
    LETHE_BINARY " package --synthetic watched/set --audit watched/audit --name brain "
                 "--out watched/release --format npy --date 2026-11-22 --threads 2";

static int make_audited(void **state)
{
    struct digest policy;
    arena_init(&arena);
    if (scratch_make(state) != 0 || !folder_create(in("watched/audit"), &err))
        return 1;
    write_set(in("watched/set"), ROLE_SYNTHETIC, ELEMENT_UINT8, IMAGES, 5);
    policy_digest(&policy_defaults, &policy);
    struct json *record = audit_record(in("watched/set"), NULL, &policy, IMAGES, NULL, 0);
    assert_ok(json_save(record, in("watched/audit/memorization.json"), &err), err);
    json_free(record);
    do_well(package);
    do_well("cp -r watched/release whole");
    do_well("rm -r watched/release");
    return 0;
}

/* No message of success, and nothing that looks like a release. */
static void nothing_finished(const char *fault, int code)
{
    static const char *const names[] = { "brain-1.0.0.tar.zst", "brain-1.0.0.manifest.json",
                                         "SHA256SUMS", "MD5SUMS" };
    if (code != 1 && code != 2)
        fail_msg("%s: exit code %d: %s", fault, code, output);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (path_kind(in(arena_format(&arena, "watched/release/%s", names[i]))) != PATH_NOTHING)
            fail_msg("%s: %s is there: %s", fault, names[i], output);
}

static void packed(const char *fault, int code)
{
    if (code != 0)
        fail_msg("%s: exit code %d: %s", fault, code, output);
    do_well("diff -r whole watched/release");
    do_well("rm -r watched/release");
}

static void packing_ends_with_the_first_error_and_leaves_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *call, *how;
        int step, least; /* in a release of 20 files most calls are alike */
    } faults[] = {
        { "read", "EIO", 3, 4 },  { "read", "end", 3, 3 },   { "pread", "EIO", 3, 5 },
        { "pread", "end", 3, 5 }, { "pread", "flip", 3, 5 }, { "write", "ENOSPC", 3, 6 },
        { "fsync", "EIO", 1, 8 }, { "rename", "EIO", 1, 5 },
    };
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        int count =
            with_each(faults[i].call, faults[i].how, faults[i].step, package, nothing_finished);
        if (count < faults[i].least)
            fail_msg("%s %s: only %d", faults[i].call, faults[i].how, count);
        packed("none", 0); /* the last run met no fault, whatever those before left */
    }
}

static void packing_goes_on_after_short_and_interrupted_calls(void **state)
{
    (void)state;
    assert_true(with_each("pread", "half", 5, package, packed) >= 3);
    assert_true(with_each("write", "half", 5, package, packed) >= 3);
    assert_true(with_each("read", "interrupted", 5, package, packed) >= 2);
}

/* Told, or too late to matter: all had been read, and what was written is what was there before. */
static void told_or_too_late(const char *fault, int code)
{
    if (code == 0) {
        packed(fault, code);
    } else {
        nothing_finished(fault, code);
        if (!strstr(output, "watched/set/") && !strstr(output, edited))
            fail_msg("%s: exit code %d: %s", fault, code, output);
    }
    do_well("sh -c 'rm -r watched/set watched/audit; cp -r set audit watched'");
}

static void an_input_that_changes_while_it_is_packed_is_told(void **state)
{
    (void)state;
    static const char *const inputs[] = { "set/images.npy", "set/masks.npy", "set/dataset.json",
                                          "audit/memorization.json" };
    static const char *const calls[] = { "read", "pread", "write", "fsync" };
    do_well("cp -r watched/set watched/audit .");
    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++)
        for (size_t j = 0; j < sizeof calls / sizeof *calls; j++) {
            edited = inputs[i];
            assert_true(with_each(calls[j], "edit", 5, package, told_or_too_late) >= 2);
            packed("none", 0);
        }
    run("fsync 1 edit", package);
    assert_contains(output, "watched/audit/memorization.json: changed while it was packed; nothing "
                            "was written");
}

int main(void)
{
#define VERIFYING(name) cmocka_unit_test_setup_teardown(name, make_signed, end)
#define PACKING(name)   cmocka_unit_test_setup_teardown(name, make_audited, end)
    const struct CMUnitTest tests[] = {
        VERIFYING(a_read_error_is_could_not_tell),
        VERIFYING(a_file_that_ends_early_is_never_verified),
        VERIFYING(a_bit_that_reading_turns_is_never_verified),
        VERIFYING(reads_that_are_short_or_interrupted_go_on),
        VERIFYING(what_cannot_be_written_is_not_extracted),
        VERIFYING(a_pipe_is_no_archive),
        PACKING(packing_ends_with_the_first_error_and_leaves_nothing),
        PACKING(an_input_that_changes_while_it_is_packed_is_told),
        PACKING(packing_goes_on_after_short_and_interrupted_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
