/* lethe package, killed at any of its calls that change a file: a whole release or none, and the
 * next run succeeds. */
#include "kill.h"
#include "sets.h"

#include "release/manifest.h"
#include "release/policy.h"

#include <sys/wait.h>

enum { IMAGES = 60, ROUNDS = 24 };

static struct arena arena;
static struct error err;
static struct digest whole; /* of the archive that the set gives */
static char folder[64];

static pid_t start(void)
{
    pid_t child = fork();
    if (child)
        return child;
    if (chdir(folder) != 0 || !freopen("/dev/null", "w", stdout) ||
        !freopen("/dev/null", "w", stderr))
        _exit(126);
    execl(LETHE_BINARY, LETHE_BINARY, "package", "--synthetic", "set", "--audit", "audit", "--name",
          "brain", "--out", "release", "--date", "2026-11-22", "--threads", "2", (char *)NULL);
    _exit(127);
}

static const char *in_folder(const char *name)
{
    return arena_format(&arena, "%s/%s", folder, name);
}

/* Whatever has a final name is whole: the archive, and what vouches for it. Whether it is there. */
static bool check_release(void)
{
    struct digest digest;
    struct manifest manifest;
    bool archive = path_kind(in_folder("release/brain-1.0.0.tar.zst")) == PATH_FILE;
    bool vouched = path_kind(in_folder("release/brain-1.0.0.manifest.json")) == PATH_FILE;
    if (archive) {
        assert_ok(digest_file(in_folder("release/brain-1.0.0.tar.zst"), &digest, &err), err);
        assert_true(digest_equal(&digest, &whole));
    }
    if (vouched) {
        assert_true(archive);
        assert_ok(
            manifest_load(in_folder("release/brain-1.0.0.manifest.json"), &manifest, &arena, &err),
            err);
        assert_true(digest_equal(&manifest.archive.sha256, &whole));
        assert_int_equal(path_kind(in_folder("release/SHA256SUMS")), PATH_FILE);
        assert_int_equal(path_kind(in_folder("release/MD5SUMS")), PATH_FILE);
    }
    return vouched;
}

static void wait_well(pid_t child)
{
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void kill_at_any_moment_leaves_a_whole_release_or_none(void **state)
{
    (void)state;
    struct digest policy;
    int none = 0, status;
    strcpy(folder, scratch_folder);
    arena_init(&arena);
    write_set(in_folder("set"), ROLE_SYNTHETIC, ELEMENT_UINT8, IMAGES, 5);
    policy_digest(&policy_defaults, &policy);
    struct json *record = audit_record(in_folder("set"), NULL, &policy, IMAGES, NULL, 0);
    assert_ok(folder_create(in_folder("audit"), &err), err);
    assert_ok(json_save(record, in_folder("audit/memorization.json"), &err), err);
    json_free(record);
    count_next_into(in_folder("calls"));
    pid_t child = start();
    kill_no_more();
    wait_well(child);
    unsigned long calls = kill_calls_in(in_folder("calls"));
    assert_ok(digest_file(in_folder("release/brain-1.0.0.tar.zst"), &whole, &err), err);
    assert_true(check_release());
    srand(7);
    for (int round = 1; round <= ROUNDS; round++) {
        kill_next_at(round == 1 ? 1 : 1 + (unsigned long)rand() % (calls + calls / 4));
        child = start();
        kill_no_more();
        assert_int_equal(waitpid(child, &status, 0), child);
        none += !check_release();
        if (round % 8 == 0) { /* over whatever the kill left; which is then gone */
            wait_well(start());
            assert_true(check_release());
            assert_int_equal(names_in(in_folder("release")), 5);
        }
    }
    arena_release(&arena);
    assert_in_range(none, 1, ROUNDS - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(kill_at_any_moment_leaves_a_whole_release_or_none,
                                        scratch_make, scratch_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
