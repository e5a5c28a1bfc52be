/* mutants COUNT [SEED]: archives, manifests and bundles changed at random, none of which may
 * verify.
 *
 * A mutant is a signed release with one file changed: bits flipped, bytes set, cut off, put in,
 * left out, doubled, swapped, spliced with the same file of another release. One kind more changes
 * the tar before it is packed and signed, so that digests and signatures fit and the form is all
 * that is left to be wrong. A mutant that says the same as the original (the same bytes, or for
 * bundles the same JSON document with other blanks) is none, and another is drawn.
 *
 * Each is verified with --extract, in this process, so under AddressSanitizer every read and write
 * is watched. Fails when one verifies, when anything is written that should not be, when memory
 * grows beyond a bound, or when one takes longer than ten seconds. */
#include "test.h"

#include "base/file.h"
#include "base/json.h"
#include "base/progress.h"
#include "base/random.h"
#include "release/world.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

enum target { ARCHIVE, MANIFEST, BUNDLE, SIGNED_TAR, TARGET_COUNT };

static const char *const target_names[TARGET_COUNT] = { "archives", "manifests", "bundles",
                                                        "tars, signed" };
static const char *const files[] = { "brain-1.0.tar.zst", "brain-1.0.manifest.json",
                                     "brain-1.0.producer.audit.sigstore.json" };

struct mutants {
    struct world world, donor; /* donor: another release, for splices */
    struct text originals[3], spare[3];
    struct text original_tar;
    uint64_t seed, drawn;
    size_t made[TARGET_COUNT], answers[3], untold, equal;
    double slowest;
};

/* ---- changing bytes -------------------------------------------------------------------------- */

static uint64_t draw(struct mutants *mutants, uint64_t bound)
{
    return random_below(mutants->seed, random_stream("mutants"), mutants->drawn++, bound);
}

struct range {
    size_t from, size;
};

/* Mostly short. */
static struct range draw_range(struct mutants *mutants, const struct text *bytes)
{
    size_t from = draw(mutants, bytes->length), left = bytes->length - from;
    size_t most = draw(mutants, 4) ? 64 : left;
    return (struct range){ from, 1 + draw(mutants, left < most ? left : most) };
}

static void replace(struct text *bytes, struct range range, const void *with, size_t size)
{
    struct text out = { 0 };
    text_add_bytes(&out, bytes->bytes, range.from);
    text_add_bytes(&out, with, size);
    text_add_bytes(&out, bytes->bytes + range.from + range.size,
                   bytes->length - range.from - range.size);
    text_release(bytes);
    *bytes = out;
}

static void flip_bits(struct mutants *m, struct text *bytes, const struct text *spare)
{
    (void)spare;
    for (uint64_t i = 0, count = draw(m, 3) ? 1 : 1 + draw(m, 16); i < count; i++)
        bytes->bytes[draw(m, bytes->length)] ^= (char)(1 << draw(m, 8));
}

static void set_bytes(struct mutants *m, struct text *bytes, const struct text *spare)
{
    static const unsigned char telling[] = { 0,   1,    0x7f, 0x80, 0xff, ' ',
                                             '"', '\\', '/',  '.',  '{',  '}' };
    (void)spare;
    bytes->bytes[draw(m, bytes->length)] = (char)telling[draw(m, sizeof telling)];
}

static void cut_off(struct mutants *m, struct text *bytes, const struct text *spare)
{
    (void)spare;
    bytes->length = draw(m, bytes->length);
}

static void put_in(struct mutants *m, struct text *bytes, const struct text *spare)
{
    char noise[64];
    (void)spare;
    size_t size = 1 + draw(m, sizeof noise);
    for (size_t i = 0; i < size; i++)
        noise[i] = (char)draw(m, 256);
    replace(bytes, (struct range){ draw(m, bytes->length + 1), 0 }, noise, size);
}

static void leave_out(struct mutants *m, struct text *bytes, const struct text *spare)
{
    (void)spare;
    replace(bytes, draw_range(m, bytes), NULL, 0);
}

static void make_double(struct mutants *m, struct text *bytes, const struct text *spare)
{
    (void)spare;
    struct range range = draw_range(m, bytes);
    struct text copy = { 0 };
    text_add_bytes(&copy, bytes->bytes + range.from, range.size);
    replace(bytes, (struct range){ range.from, 0 }, copy.bytes, copy.length);
    text_release(&copy);
}

static void swap_pieces(struct mutants *m, struct text *bytes, const struct text *spare)
{
    (void)spare;
    if (bytes->length < 2)
        return;
    size_t size = 1 + draw(m, bytes->length / 2), a = draw(m, bytes->length - 2 * size + 1);
    size_t b = a + size + draw(m, bytes->length - a - 2 * size + 1);
    for (size_t i = 0; i < size; i++) {
        char byte = bytes->bytes[a + i];
        bytes->bytes[a + i] = bytes->bytes[b + i];
        bytes->bytes[b + i] = byte;
    }
}

static void splice_in(struct mutants *m, struct text *bytes, const struct text *spare)
{
    struct range theirs = draw_range(m, spare), ours = draw_range(m, bytes);
    replace(bytes, ours, spare->bytes + theirs.from, theirs.size);
}

static void take_other_end(struct mutants *m, struct text *bytes, const struct text *spare)
{
    size_t least = bytes->length < spare->length ? bytes->length : spare->length;
    size_t at = draw(m, least + 1);
    replace(bytes, (struct range){ at, bytes->length - at }, spare->bytes + at, spare->length - at);
}

static void (*const changes[])(struct mutants *m, struct text *bytes, const struct text *spare) = {
    flip_bits, flip_bits,   set_bytes,   cut_off,   put_in,
    leave_out, make_double, swap_pieces, splice_in, take_other_end,
};

static void change(struct mutants *m, struct text *bytes, const struct text *spare)
{
    do
        changes[draw(m, sizeof changes / sizeof *changes)](m, bytes, spare);
    while (bytes->length && draw(m, 4) == 0);
}

/* ---- verifying ------------------------------------------------------------------------------- */

static void put_file(struct world *world, const char *name, const struct text *bytes)
{
    world_write(world, name, bytes->bytes, bytes->length);
}

static size_t count_entries(const char *path)
{
    size_t count = 0;
    DIR *stream = opendir(path);
    assert_non_null(stream);
    while (readdir(stream))
        count++;
    closedir(stream);
    return count;
}

/* Verifies what lies in the folder, with an arena of its own. */
static void judge(struct mutants *m, enum target target, size_t entries)
{
    struct world *world = &m->world;
    struct arena kept = world->arena;
    arena_init(&world->arena);
    double started = clock_seconds();
    enum answer answer = world_verify(world);
    double seconds = clock_seconds() - started;
    m->slowest = seconds > m->slowest ? seconds : m->slowest;
    if (world->told && answer == ANSWER_YES)
        fail_msg("mutant %zu of %s verified", m->made[target], target_names[target]);
    if (world->told)
        m->answers[answer]++;
    else
        m->untold++;
    if (count_entries(world->folder) != entries)
        fail_msg("mutant %zu of %s left something behind", m->made[target], target_names[target]);
    assert_true(seconds < 10);
    m->made[target]++;
    arena_release(&world->arena);
    world->arena = kept;
}

/* The same document as JSON: what a bundle says is not in its blanks. */
static bool says_the_same(const struct text *a, const struct text *b)
{
    struct json *left = json_parse(a->bytes, a->length, "a", NULL);
    struct json *right = json_parse(b->bytes, b->length, "b", NULL);
    bool same = false;
    if (left && right) {
        char *one = json_text(left), *other = json_text(right);
        same = strcmp(one, other) == 0;
        memory_free(one);
        memory_free(other);
    }
    json_free(left);
    json_free(right);
    return same;
}

static void mutate_file(struct mutants *m, enum target target, size_t entries)
{
    const struct text *original = &m->originals[target];
    struct text bytes = { 0 };
    for (bool same = true; same; m->equal += same) {
        text_clear(&bytes);
        text_add_bytes(&bytes, original->bytes, original->length);
        change(m, &bytes, &m->spare[target]);
        same =
            bytes.length == original->length && !memcmp(bytes.bytes, original->bytes, bytes.length);
        same = same || (target == BUNDLE && says_the_same(&bytes, original));
    }
    put_file(&m->world, files[target], &bytes);
    judge(m, target, entries);
    put_file(&m->world, files[target], original);
    text_release(&bytes);
}

/* The attacker signs: only the tar's form and the files' digests speak against it. */
static void mutate_tar(struct mutants *m, size_t entries)
{
    struct world *world = &m->world;
    struct manifest manifest = world->manifest;
    struct arena kept = world->arena;
    arena_init(&world->arena);
    do {
        text_clear(&world->tar);
        text_add_bytes(&world->tar, m->original_tar.bytes, m->original_tar.length);
        change(m, &world->tar, &m->donor.tar);
    } while (world->tar.length == m->original_tar.length &&
             !memcmp(world->tar.bytes, m->original_tar.bytes, world->tar.length));
    world_pack(world, NULL);
    world_sign_both(world);
    judge(m, SIGNED_TAR, entries);
    arena_release(&world->arena);
    world->arena = kept;
    world->manifest = manifest;
}

/* ---- all of it ------------------------------------------------------------------------------- */

static void read_all(struct world *world, struct text texts[3])
{
    for (size_t i = 0; i < 3; i++) {
        size_t size;
        char *bytes = file_read(world_path(world, files[i]), 1 << 20, &size, &world->err);
        assert_ok(bytes, world->err);
        text_clear(&texts[i]);
        text_add_bytes(&texts[i], bytes, size);
        memory_free(bytes);
    }
}

static void begin(struct mutants *m)
{
    world_begin(&m->world);
    world_pack(&m->world, NULL);
    world_sign_both(&m->world);
    read_all(&m->world, m->originals);
    text_add_bytes(&m->original_tar, m->world.tar.bytes, m->world.tar.length);
    world_begin(&m->donor); /* other keys, another content of equal length, another verdict */
    m->donor.contents[1] = "two";
    m->donor.manifest.files[1].digest = digest_of("two", 3);
    m->donor.manifest.claims.verdict = VERDICT_WARNED;
    memcpy(world_find(&m->donor, "one"), "two", 3);
    world_pack(&m->donor, NULL);
    world_sign_both(&m->donor);
    read_all(&m->donor, m->spare);
    m->world.extract = arena_string(&m->world.arena, world_path(&m->world, "out"));
}

static void end(struct mutants *m)
{
    for (size_t i = 0; i < 3; i++) {
        text_release(&m->originals[i]);
        text_release(&m->spare[i]);
    }
    text_release(&m->original_tar);
    world_end(&m->world);
    world_end(&m->donor);
}

/* Of ten: four archives, three manifests, two bundles, one signed tar. */
static const enum target mix[] = { ARCHIVE, MANIFEST, BUNDLE,   ARCHIVE, MANIFEST,
                                   ARCHIVE, BUNDLE,   MANIFEST, ARCHIVE, SIGNED_TAR };

static size_t wanted = 1000;
static uint64_t seed = 1;

static void none_verifies(void **state)
{
    (void)state;
    static struct mutants m;
    m.seed = seed;
    begin(&m);
    size_t entries = count_entries(m.world.folder);
    for (size_t i = 0; i < wanted; i++) {
        if (mix[i % 10] == SIGNED_TAR) {
            mutate_tar(&m, entries);
            world_write_manifest(&m.world);
            for (size_t file = 0; file < 3; file++)
                put_file(&m.world, files[file], &m.originals[file]);
            struct arena kept = m.world.arena;
            arena_init(&m.world.arena);
            world_sign_both(&m.world);
            arena_release(&m.world.arena);
            m.world.arena = kept;
            read_all(&m.world, m.originals);
        } else {
            mutate_file(&m, mix[i % 10], entries);
        }
    }
    m.world.extract = NULL;
    assert_int_equal(world_verify(&m.world), ANSWER_YES); /* the original still does */
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("%zu mutants (", wanted);
    for (int i = 0; i < TARGET_COUNT; i++)
        printf("%s%zu %s", i ? ", " : "", m.made[i], target_names[i]);
    printf("): %zu not what was signed, %zu policy unmet, %zu could not be told, 0 verified\n"
           "%zu more said the same as the original; slowest %.3f s; memory at most %ld MB\n",
           m.answers[ANSWER_NO], m.answers[ANSWER_UNMET], m.untold, m.equal, m.slowest,
           usage.ru_maxrss / 1024);
    end(&m);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(none_verifies) };
    wanted = argc > 1 ? strtoul(argv[1], NULL, 10) : wanted;
    seed = argc > 2 ? strtoul(argv[2], NULL, 10) : seed;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
