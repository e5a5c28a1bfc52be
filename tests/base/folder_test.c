#include "kill.h"
#include "scratch.h"

#include <signal.h>
#include <sys/wait.h>
#include <time.h>

static struct error err;

/* ---- making and removing -------------------------------------------------------------------- */

static void folders_are_private_whatever_the_umask(void **state)
{
    (void)state;
    static const mode_t masks[] = { 0, 0777 };
    static const char *const names[] = { "a/b/c", "d/e/f" };
    for (int i = 0; i < 2; i++) {
        mode_t before = umask(masks[i]);
        bool ok = folder_create(scratch(names[i]), &err);
        umask(before);
        assert_ok(ok, err);
    }
    static const char *const made[] = { "a", "a/b", "a/b/c", "d", "d/e", "d/e/f" };
    for (int i = 0; i < 6; i++)
        assert_int_equal(mode_of(scratch(made[i])), 0700);
}

static void a_folder_that_exists_is_left_as_it_is(void **state)
{
    (void)state;
    assert_int_equal(mkdir(scratch("a"), 0755), 0);
    assert_int_equal(chmod(scratch("a"), 0755), 0);
    write_text(scratch("a/x"), "kept");
    assert_ok(folder_create(scratch("a//"), &err), err);
    assert_int_equal(mode_of(scratch("a")), 0755);
    assert_file_holds(scratch("a/x"), "kept");
}

static void a_folder_that_cannot_be_made_is_named_with_the_true_reason(void **state)
{
    (void)state;
    write_text(scratch("x"), "a file");
    assert_false(folder_create(scratch("x/y"), &err));
    assert_contains(err.message, "/x: the folder cannot be made: File exists");
    assert_int_equal(symlink("nowhere", scratch("dangling")), 0);
    assert_false(folder_create(scratch("dangling"), &err));
    assert_contains(err.message, "/dangling: the folder cannot be made: File exists");
}

static void removing_never_follows_links(void **state)
{
    (void)state;
    assert_ok(folder_create(scratch("kept"), &err), err);
    write_text(scratch("kept/x"), "kept");
    assert_ok(folder_create(scratch("gone/deep/er"), &err), err);
    write_text(scratch("gone/deep/file"), "x");
    assert_int_equal(symlink(scratch("kept"), scratch("gone/deep/link")), 0);
    assert_int_equal(symlink(scratch("kept/x"), scratch("gone/.hidden")), 0);
    assert_int_equal(mkfifo(scratch("gone/fifo"), 0600), 0);
    assert_ok(folder_remove(scratch("gone/"), &err), err);
    assert_int_equal(path_kind(scratch("gone")), PATH_NOTHING);
    assert_file_holds(scratch("kept/x"), "kept");
}

static void a_link_to_a_folder_is_not_removed_nor_emptied(void **state)
{
    (void)state;
    assert_ok(folder_create(scratch("kept"), &err), err);
    write_text(scratch("kept/x"), "kept");
    assert_int_equal(symlink("kept", scratch("link")), 0);
    assert_false(folder_remove(scratch("link"), &err));
    assert_false(folder_remove(scratch("link/"), &err));
    assert_false(folder_remove(scratch("link///"), &err));
    assert_file_holds(scratch("kept/x"), "kept");
}

static void removing_nothing_is_fine_but_a_file_is_no_folder(void **state)
{
    (void)state;
    assert_ok(folder_remove(scratch("absent"), &err), err);
    write_text(scratch("x"), "kept");
    assert_false(folder_remove(scratch("x"), &err));
    assert_contains(err.message, "Not a directory");
    assert_file_holds(scratch("x"), "kept");
}

/* ---- walking -------------------------------------------------------------------------------- */

static void files_are_walked_in_byte_order_without_hidden_ones(void **state)
{
    (void)state;
    struct arena arena;
    char **files;
    size_t count;
    static const char *const names[] = { "b/x", "a", "b.txt", "b/sub/y", "B", "é", "b0", ".git/z" };
    static const char *const expected[] = { "B", "a", "b.txt", "b/sub/y", "b/x", "b0", "é" };
    assert_ok(folder_create(scratch("b/sub"), &err), err);
    assert_ok(folder_create(scratch(".git"), &err), err);
    assert_ok(folder_create(scratch("empty"), &err), err);
    for (size_t i = 0; i < 8; i++)
        write_text(scratch(names[i]), "");
    write_text(scratch("b/.hidden"), "");
    arena_init(&arena);
    assert_ok(folder_walk(scratch_folder, &arena, &files, &count, &err), err);
    assert_int_equal(count, 7);
    for (size_t i = 0; i < count; i++)
        assert_string_equal(files[i], expected[i]);
    arena_release(&arena);
}

static void links_to_files_are_walked_and_loops_are_harmless(void **state)
{
    (void)state;
    struct arena arena;
    char **files;
    size_t count;
    assert_ok(folder_create(scratch("a/b"), &err), err);
    write_text(scratch("a/x"), "");
    assert_int_equal(symlink("x", scratch("a/to-file")), 0);
    assert_int_equal(symlink("..", scratch("a/b/up")), 0);
    assert_int_equal(symlink("self", scratch("a/self")), 0);
    assert_int_equal(symlink("nowhere", scratch("a/dangling")), 0);
    assert_int_equal(mkfifo(scratch("a/fifo"), 0600), 0);
    arena_init(&arena);
    assert_ok(folder_walk(scratch("a"), &arena, &files, &count, &err), err);
    assert_int_equal(count, 2);
    assert_string_equal(files[0], "to-file");
    assert_string_equal(files[1], "x");
    arena_release(&arena);
}

static void links_to_folders_are_followed_where_they_lead_out_and_no_further(void **state)
{
    (void)state;
    struct arena arena;
    char **files;
    size_t count;
    static const char *const expected[] = { "in/x", "linked/y", "linked/z/y", "to-file" };
    assert_ok(folder_create(scratch("a/in"), &err), err);
    assert_ok(folder_create(scratch("out/z"), &err), err);
    assert_ok(folder_create(scratch("farther"), &err), err);
    write_text(scratch("a/in/x"), "");
    write_text(scratch("out/y"), "");
    write_text(scratch("out/z/y"), "");
    write_text(scratch("farther/w"), "");
    assert_int_equal(symlink("../out", scratch("a/linked")), 0);
    assert_int_equal(symlink("../out/y", scratch("a/to-file")), 0);
    assert_int_equal(symlink("in", scratch("a/inside")), 0);
    assert_int_equal(symlink("..", scratch("a/in/round")), 0);
    assert_int_equal(symlink("../..", scratch("a/in/farther-round")), 0);
    assert_int_equal(symlink("../farther", scratch("out/on")), 0);
    assert_int_equal(symlink("../a", scratch("out/back")), 0);
    arena_init(&arena);
    assert_ok(folder_walk_links(scratch("a"), &arena, &files, &count, &err), err);
    assert_int_equal(count, 4);
    for (size_t i = 0; i < count; i++)
        assert_string_equal(files[i], expected[i]);
    assert_ok(folder_walk(scratch("a"), &arena, &files, &count, &err), err);
    assert_int_equal(count, 2); /* only the files */
    arena_release(&arena);
}

static void who_has_to_see_everything_is_shown_hidden_names_and_links(void **state)
{
    (void)state;
    struct arena arena;
    char **files;
    size_t count;
    static const char *const expected[] = { ".hidden/.x", "dangling", "fifo", "link" };
    assert_ok(folder_create(scratch("a/.hidden"), &err), err);
    write_text(scratch("a/.hidden/.x"), "");
    assert_int_equal(symlink(".hidden", scratch("a/link")), 0);
    assert_int_equal(symlink("nowhere", scratch("a/dangling")), 0);
    assert_int_equal(mkfifo(scratch("a/fifo"), 0600), 0);
    arena_init(&arena);
    assert_ok(folder_walk_everything(scratch("a"), &arena, &files, &count, &err), err);
    assert_int_equal(count, 4);
    for (size_t i = 0; i < count; i++)
        assert_string_equal(files[i], expected[i]);
    arena_release(&arena);
}

static void links_that_lead_nowhere_are_found_through_other_links_too(void **state)
{
    (void)state;
    struct arena arena;
    char **links;
    size_t count;
    assert_ok(folder_create(scratch("a/b"), &err), err);
    assert_ok(folder_create(scratch("out"), &err), err);
    write_text(scratch("a/file"), "");
    assert_int_equal(symlink("file", scratch("a/good")), 0);
    assert_int_equal(symlink("nowhere", scratch("a/b/bad")), 0);
    assert_int_equal(symlink("round", scratch("a/round")), 0);
    assert_int_equal(symlink("nowhere", scratch("a/.hidden")), 0);
    assert_int_equal(symlink("../out", scratch("a/out")), 0);
    assert_int_equal(symlink("nowhere", scratch("out/bad")), 0);
    arena_init(&arena);
    assert_ok(folder_walk_dead_links(scratch("a"), &arena, &links, &count, &err), err);
    assert_int_equal(count, 3);
    assert_string_equal(links[0], "b/bad");
    assert_string_equal(links[1], "out/bad");
    assert_string_equal(links[2], "round");
    assert_string_equal(dead_link_words(scratch("a/b/bad"), &arena),
                        "a link that leads nowhere (nowhere: No such file or directory)");
    assert_contains(dead_link_words(scratch("a/round"), &arena), "(round: Too many levels");
    arena_release(&arena);
}

static void walking_what_is_no_folder_is_an_error(void **state)
{
    (void)state;
    struct arena arena;
    char **files;
    size_t count;
    arena_init(&arena);
    assert_false(folder_walk(scratch("absent"), &arena, &files, &count, &err));
    assert_contains(err.message, "absent: cannot list this folder: No such file");
    arena_release(&arena);
}

static void paths_are_joined_and_split(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena);
    assert_string_equal(path_join(&arena, "a", "b"), "a/b");
    assert_string_equal(path_join(&arena, "a/", "b"), "a/b");
    assert_string_equal(path_join(&arena, "", "b"), "b");
    assert_string_equal(path_join(&arena, ".", "b"), "b");
    assert_string_equal(path_join(&arena, "/", "b"), "/b");
    assert_string_equal(path_name("a/b.nii"), "b.nii");
    assert_string_equal(path_name("b.nii"), "b.nii");
    assert_string_equal(path_parent(&arena, "a/b/c"), "a/b");
    assert_string_equal(path_parent(&arena, "c"), ".");
    assert_string_equal(path_parent(&arena, "/c"), "/");
    arena_release(&arena);
}

/* ---- a folder that appears all at once ------------------------------------------------------- */

static void begin_stage(struct folder_stage *stage, const char *text)
{
    char path[600];
    assert_ok(folder_stage_open(stage, scratch("store"), &err), err);
    snprintf(path, sizeof path, "%s/x", stage->partial);
    assert_ok(file_write(path, text, strlen(text), &err), err);
}

static void a_staged_folder_appears_when_it_is_committed(void **state)
{
    (void)state;
    struct folder_stage stage;
    begin_stage(&stage, "new");
    assert_int_equal(path_kind(scratch("store")), PATH_NOTHING);
    assert_ok(folder_stage_commit(&stage, false, &err), err);
    assert_file_holds(scratch("store/x"), "new");
    assert_int_equal(mode_of(scratch("store")), 0700);
    assert_int_equal(names_in(scratch_folder), 1);
}

static void an_abandoned_stage_leaves_nothing(void **state)
{
    (void)state;
    struct folder_stage stage;
    begin_stage(&stage, "new");
    folder_stage_abandon(&stage);
    assert_int_equal(names_in(scratch_folder), 0);
    folder_stage_abandon(&stage); /* a second time is fine */
}

static void an_older_folder_is_replaced_only_when_asked(void **state)
{
    (void)state;
    struct folder_stage stage;
    begin_stage(&stage, "old");
    assert_ok(folder_stage_commit(&stage, false, &err), err);
    write_text(scratch("store/only-in-old"), "");
    begin_stage(&stage, "new");
    assert_false(folder_stage_commit(&stage, false, &err));
    assert_contains(err.message, "store: exists already");
    assert_file_holds(scratch("store/x"), "old");
    assert_int_equal(names_in(scratch_folder), 1);
    begin_stage(&stage, "new");
    assert_ok(folder_stage_commit(&stage, true, &err), err);
    assert_file_holds(scratch("store/x"), "new");
    assert_int_equal(names_in(scratch("store")), 1);
    assert_int_equal(names_in(scratch_folder), 1);
}

static void a_file_or_link_in_the_folders_place_is_never_replaced(void **state)
{
    (void)state;
    struct folder_stage stage;
    write_text(scratch("store"), "a file");
    begin_stage(&stage, "new");
    assert_false(folder_stage_commit(&stage, true, &err));
    assert_contains(err.message, "store: what stands there cannot be replaced");
    assert_file_holds(scratch("store"), "a file");
    assert_int_equal(unlink(scratch("store")), 0);
    assert_ok(folder_create(scratch("elsewhere"), &err), err);
    assert_int_equal(symlink("elsewhere", scratch("store")), 0);
    begin_stage(&stage, "new");
    assert_false(folder_stage_commit(&stage, true, &err));
    assert_int_equal(names_in(scratch("elsewhere")), 0);
    assert_int_equal(names_in(scratch_folder), 2);
}

static void a_second_writer_is_refused_while_the_first_lives(void **state)
{
    (void)state;
    struct folder_stage first, second;
    begin_stage(&first, "first");
    assert_false(folder_stage_open(&second, scratch("store/"), &err));
    assert_contains(err.message, "store: another process is writing it");
    assert_ok(folder_stage_commit(&first, false, &err), err);
    assert_file_holds(scratch("store/x"), "first");
    assert_ok(folder_stage_open(&second, scratch("store"), &err), err);
    folder_stage_abandon(&second);
    assert_file_holds(scratch("store/x"), "first");
}

static void what_a_killed_run_left_is_emptied_and_made_private(void **state)
{
    (void)state;
    struct folder_stage stage;
    assert_ok(folder_create(scratch("store.partial/deep"), &err), err);
    write_text(scratch("store.partial/deep/stale"), "stale");
    assert_int_equal(chmod(scratch("store.partial"), 0777), 0);
    begin_stage(&stage, "new");
    assert_ok(folder_stage_commit(&stage, false, &err), err);
    assert_int_equal(names_in(scratch("store")), 1);
    assert_int_equal(mode_of(scratch("store")), 0700);
}

enum { FILES = 5 };

/* Each version is a few files of one letter; a mixture of versions would show. */
static void stage_for_ever(const char *path)
{
    for (int version = 0;; version++) {
        struct folder_stage stage;
        if (!folder_stage_open(&stage, path, &err))
            _exit(1);
        for (int file = 0; file < FILES; file++) {
            char name[600], letter = (char)('a' + version % 26);
            snprintf(name, sizeof name, "%s/%d", stage.partial, file);
            if (!file_write(name, &letter, 1, &err))
                _exit(2);
        }
        if (!folder_stage_commit(&stage, true, &err))
            _exit(3);
    }
}

static bool check_whole_version(const char *path)
{
    char *first = NULL;
    for (int file = 0; file < FILES; file++) {
        char name[600];
        size_t size;
        snprintf(name, sizeof name, "%s/%d", path, file);
        char *bytes = file_read(name, 10, &size, &err);
        assert_ok(bytes, err);
        assert_int_equal(size, 1);
        first = first ? first : bytes;
        assert_int_equal(*bytes, *first);
        if (bytes != first)
            memory_free(bytes);
    }
    memory_free(first);
    assert_int_equal(names_in(path), FILES);
    return true;
}

static void kill_at_any_moment_leaves_a_whole_folder_or_none(void **state)
{
    (void)state;
    int whole = 0;
    for (int round = 0; round < 40; round++) {
        pid_t child = fork();
        if (child == 0) {
            kill_at((unsigned long)(1 + 7 * round));
            stage_for_ever(scratch("store"));
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        if (path_kind(scratch("store")) == PATH_FOLDER)
            whole += check_whole_version(scratch("store"));
    }
    assert_true(whole > 0);
}

/* Two processes that stage the same folder, again and again: each either is refused or commits a
 * whole version. */
static void two_rivals_never_mix_their_files(void **state)
{
    (void)state;
    const char *path = scratch("store");
    pid_t children[2];
    for (int i = 0; i < 2; i++) {
        children[i] = fork();
        if (children[i] > 0)
            continue;
        double until = (double)time(NULL) + 2;
        while ((double)time(NULL) < until) {
            struct folder_stage stage;
            if (!folder_stage_open(&stage, path, &err))
                continue;
            for (int file = 0; file < FILES; file++) {
                char name[600], letter = (char)('a' + i);
                snprintf(name, sizeof name, "%s/%d", stage.partial, file);
                if (!file_write(name, &letter, 1, &err))
                    _exit(2);
            }
            if (!folder_stage_commit(&stage, true, &err))
                _exit(3);
        }
        _exit(0);
    }
    int status[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(waitpid(children[i], &status[i], 0), children[i]);
    assert_int_equal(status[0], 0);
    assert_int_equal(status[1], 0);
    check_whole_version(path);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_make, scratch_remove)

static void a_path_that_does_not_exist_yet_lies_where_it_would_be_made(void **state)
{
    (void)state;
    assert_ok(folder_create(scratch("outer/inner"), &err), err);
    assert_int_equal(symlink(scratch("outer/inner"), scratch("link")), 0);
    assert_true(path_is_inside(scratch("outer"), scratch("outer")));
    assert_true(path_is_inside(scratch("outer/inner/not/yet"), scratch("outer")));
    assert_true(path_is_inside(scratch("link/not/yet"), scratch("outer")));
    assert_true(path_is_inside(scratch("outer/../outer/x"), scratch("outer")));
    assert_true(path_is_inside("anything", "."));
    assert_false(path_is_inside(scratch("outer2"), scratch("outer")));
    assert_false(path_is_inside(scratch("outer/../x"), scratch("outer")));
    assert_false(path_is_inside(scratch("outer"), scratch("missing")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(folders_are_private_whatever_the_umask),
        TEST(a_folder_that_exists_is_left_as_it_is),
        TEST(a_folder_that_cannot_be_made_is_named_with_the_true_reason),
        TEST(removing_never_follows_links),
        TEST(a_link_to_a_folder_is_not_removed_nor_emptied),
        TEST(removing_nothing_is_fine_but_a_file_is_no_folder),
        TEST(files_are_walked_in_byte_order_without_hidden_ones),
        TEST(links_to_files_are_walked_and_loops_are_harmless),
        TEST(links_to_folders_are_followed_where_they_lead_out_and_no_further),
        TEST(who_has_to_see_everything_is_shown_hidden_names_and_links),
        TEST(links_that_lead_nowhere_are_found_through_other_links_too),
        TEST(walking_what_is_no_folder_is_an_error),
        TEST(paths_are_joined_and_split),
        TEST(a_staged_folder_appears_when_it_is_committed),
        TEST(an_abandoned_stage_leaves_nothing),
        TEST(an_older_folder_is_replaced_only_when_asked),
        TEST(a_file_or_link_in_the_folders_place_is_never_replaced),
        TEST(a_second_writer_is_refused_while_the_first_lives),
        TEST(what_a_killed_run_left_is_emptied_and_made_private),
        TEST(kill_at_any_moment_leaves_a_whole_folder_or_none),
        TEST(two_rivals_never_mix_their_files),
        TEST(a_path_that_does_not_exist_yet_lies_where_it_would_be_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
