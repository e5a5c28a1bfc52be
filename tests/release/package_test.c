/* From an audited set to an archive, or to the reasons why not. */
#include "sets.h"

#include "base/parallel.h"
#include "data/nifti.h"
#include "data/png.h"
#include "data/safetensors.h"
#include "release/manifest.h"
#include "release/package.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

enum { IMAGES = 12 };

static struct arena arena;
static struct error err;
static struct package_settings settings;
static struct policy_settings policy;
static struct package_job job;
static struct package_report report;
static char folder[64];

static const char *in_scratch(const char *name)
{
    return arena_format(&arena, "%s/%s", folder, name);
}

static void save_audit(struct json *record)
{
    assert_ok(folder_create(in_scratch("audit"), &err), err);
    assert_ok(json_save(record, in_scratch("audit/memorization.json"), &err), err);
    json_free(record);
}

static void audit(const size_t *flagged, size_t count)
{
    struct digest digest;
    policy_digest(&policy, &digest);
    save_audit(
        audit_record(in_scratch("synthetic"), in_scratch("real"), &digest, IMAGES, flagged, count));
}

static int setup(void **state)
{
    if (scratch_make(state))
        return -1;
    strcpy(folder, scratch_folder);
    arena_init(&arena);
    settings = package_defaults;
    settings.date = "2026-11-22";
    policy = policy_defaults;
    write_set(in_scratch("synthetic"), ROLE_SYNTHETIC, ELEMENT_UINT8, IMAGES, 1);
    write_set(in_scratch("real"), ROLE_REAL, ELEMENT_UINT8, 4, 2);
    audit(NULL, 0);
    job = (struct package_job){ .name = "brain",
                                .synthetic = in_scratch("synthetic"),
                                .audit = in_scratch("audit"),
                                .dataset = in_scratch("real"),
                                .out = in_scratch("release"),
                                .created = -1,
                                .settings = &settings,
                                .policy = &policy };
    return 0;
}

static int teardown(void **state)
{
    arena_release(&arena);
    parallel_set_threads(2);
    return scratch_remove(state);
}

static void expect_released(void)
{
    assert_ok(package(&job, &report, &arena, &err), err);
    if (!report.released)
        fail_msg("not released: %s", report.findings);
    assert_int_equal(path_kind(report.archive), PATH_FILE);
    assert_int_equal(path_kind(report.manifest), PATH_FILE);
}

/* Only policy.json may be there. */
static void expect_refused(void)
{
    assert_ok(package(&job, &report, &arena, &err), err);
    assert_false(report.released);
    assert_int_equal(names_in(job.out), 1);
    assert_int_equal(path_kind(in_scratch("release/policy.json")), PATH_FILE);
}

static void expect_error(const char *message)
{
    assert_false(package(&job, &report, &arena, &err));
    assert_contains(err.message, message);
    assert_int_not_equal(path_kind(report.manifest ? report.manifest : "/nowhere"), PATH_FILE);
}

static void run_shell(const char *command)
{
    if (system(arena_format(&arena, "cd '%s' && %s", folder, command)) != 0)
        fail_msg("%s", command);
}

static enum link_state state_of(const char *name, const char *reason)
{
    for (size_t i = 0; i < CHAIN_LINKS; i++)
        if (strcmp(report.links[i].name, name) == 0) {
            if (reason)
                assert_contains(report.links[i].reason, reason);
            return report.links[i].state;
        }
    fail_msg("no link %s", name);
    return LINK_UNKNOWN;
}

/* ---- what is released ------------------------------------------------------------------------ */

static void the_manifest_tells_every_file_of_the_archive(void **state)
{
    (void)state;
    struct manifest manifest;
    expect_released();
    assert_ok(manifest_load(report.manifest, &manifest, &arena, &err), err);
    assert_int_equal(manifest.file_count, report.files);
    run_shell("mkdir x && tar --zstd -xf release/brain-1.0.0.tar.zst -C x && cd x/brain-1.0.0 && "
              "sha256sum --quiet -c manifest-sha256.txt tagmanifest-sha256.txt && "
              "sha512sum --quiet -c manifest-sha512.txt tagmanifest-sha512.txt");
    for (size_t i = 0; i < manifest.file_count; i++) {
        struct digest digest;
        const char *path =
            arena_format(&arena, "%s/x/brain-1.0.0/%s", folder, manifest.files[i].path);
        assert_ok(digest_file(path, &digest, &err), err);
        assert_true(digest_equal(&digest, &manifest.files[i].digest));
    }
    assert_int_equal(names_in(job.out), 5); /* archive, manifest, two lists of sums, policy.json */
    assert_int_equal(mode_of(report.archive), 0600);
}

static void the_same_inputs_give_the_same_bytes(void **state)
{
    (void)state;
    parallel_set_threads(1);
    expect_released();
    struct archive_result first = report.result;
    parallel_set_threads(4);
    expect_released();
    assert_true(digest_equal(&first.whole.sha256, &report.result.whole.sha256));
    assert_true(digest_equal(&first.tar, &report.result.tar));
    settings.date = "2026-11-23";
    expect_released();
    assert_false(digest_equal(&first.tar, &report.result.tar));
}

static void unpack(void)
{
    run_shell("rm -rf x && mkdir x && tar --zstd -xf release/brain-1.0.0.tar.zst -C x");
}

static void volumes_hold_the_pixels_of_the_store(void **state)
{
    (void)state;
    struct dataset store;
    settings.spacing = 0.5;
    settings.thickness = 5;
    expect_released();
    unpack();
    assert_ok(dataset_open(&store, job.synthetic, &err), err);
    for (size_t i = 0; i < IMAGES; i++) {
        static const char *const names[] = { "T1w", "ce-gadolinium_T1w", "dseg" };
        for (size_t k = 0; k < 3; k++) {
            struct volume volume;
            double plane[SET_SIDE * SET_SIDE];
            const uint8_t *expected = k < 2 ? store.images + (2 * i + k) * SET_SIDE * SET_SIDE
                                            : store.masks + i * SET_SIDE * SET_SIDE;
            assert_ok(nifti_read(&volume,
                                 arena_format(&arena,
                                              "%s/x/brain-1.0.0/data/sub-synth%08zu/anat/"
                                              "sub-synth%08zu_%s.nii.gz",
                                              folder, i, i, names[k]),
                                 &err),
                      err);
            assert_true(volume.spacing[0] == 0.5 && volume.spacing[2] == 5 && volume.oriented);
            volume_plane(&volume, PLANE_AXIAL, 0, plane);
            for (size_t j = 0; j < SET_SIDE * SET_SIDE; j++)
                assert_true(plane[j] == expected[j]);
            volume_release(&volume);
        }
    }
    dataset_close(&store);
}

static void sixteen_bits_stay_sixteen_bits_in_png(void **state)
{
    (void)state;
    struct dataset store;
    struct png_image image;
    write_set(in_scratch("synthetic"), ROLE_SYNTHETIC, ELEMENT_UINT16, IMAGES, 1);
    audit(NULL, 0);
    settings.format = PAYLOAD_PNG;
    expect_released();
    unpack();
    assert_ok(dataset_open(&store, job.synthetic, &err), err);
    assert_ok(png_read(&image,
                       in_scratch("x/brain-1.0.0/data/sourcedata/png/000/"
                                  "synth00000003_ce-gadolinium_t1w.png"),
                       &err),
              err);
    assert_true(image.bits == 16 && image.channels == 1 && image.width == SET_SIDE);
    assert_memory_equal(image.pixels, store.images + 2 * (2 * 3 + 1) * SET_SIDE * SET_SIDE,
                        2 * SET_SIDE * SET_SIDE);
    memory_free(image.pixels);
    dataset_close(&store);
}

static void shards_hold_the_arrays_of_the_store(void **state)
{
    (void)state;
    struct dataset store;
    struct npy images, labels;
    write_set(in_scratch("synthetic"), ROLE_SYNTHETIC, ELEMENT_FLOAT16, IMAGES, 1);
    audit(NULL, 0);
    settings.format = PAYLOAD_NPY;
    expect_released();
    unpack();
    const char *npy = in_scratch("x/brain-1.0.0/data/sourcedata/npy");
    assert_ok(dataset_open(&store, job.synthetic, &err), err);
    assert_ok(npy_open(&images, path_join(&arena, npy, "synth-images-00000.npy"), &err), err);
    assert_ok(npy_open(&labels, path_join(&arena, npy, "synth-labels-00000.npy"), &err), err);
    assert_true(images.type == ELEMENT_FLOAT16 && images.shape[0] == IMAGES);
    assert_memory_equal(images.data, store.images, IMAGES * 2 * SET_SIDE * SET_SIDE * 2);
    assert_memory_equal(labels.data, store.masks, IMAGES * SET_SIDE * SET_SIDE);
    npy_close(&images);
    npy_close(&labels);
    dataset_close(&store);
}

/* PNG files hold 0 … 1: what is brighter is not cut behind the audit's back. */
static void values_that_no_png_holds_are_not_cut(void **state)
{
    (void)state;
    set_white = 2;
    write_set(in_scratch("synthetic"), ROLE_SYNTHETIC, ELEMENT_FLOAT16, IMAGES, 1);
    set_white = 1;
    audit(NULL, 0);
    settings.format = PAYLOAD_PNG;
    expect_error("a value of ");
    expect_error("PNG files hold 0 … 1");
    settings.format = PAYLOAD_NPY;
    expect_released();
}

static void flagged_images_are_left_out_when_the_policy_says_so(void **state)
{
    (void)state;
    static const size_t flagged[] = { 3, 7 };
    policy.quarantine = QUARANTINE_DROP;
    audit(flagged, 2);
    expect_released();
    assert_int_equal(report.images, IMAGES - 2);
    assert_int_equal(report.removed, 2);
    unpack();
    run_shell("cd x/brain-1.0.0/data && test ! -e sub-synth00000003 && test ! -e sub-synth00000007"
              " && test -e sub-synth00000008 && grep -q '\"removed\": \\[3, 7\\]' policy.json &&"
              " test $(grep -c ^sub- participants.tsv) = 10");
    assert_true(report.results[0].value == 0);     /* flagged.count, evaluated again */
    assert_true(report.results[1].value == 0.009); /* what is known of the generator stays */
}

/* ---- what is refused ------------------------------------------------------------------------- */

static void flagged_images_are_a_refusal_otherwise(void **state)
{
    (void)state;
    static const size_t flagged[] = { 3 };
    policy.quarantine = QUARANTINE_REFUSE;
    audit(flagged, 1);
    expect_refused();
    assert_true(report.linked && !report.passed);
    assert_false(report.results[0].passed);
}

static void a_policy_that_was_changed_after_the_audit_is_a_refusal(void **state)
{
    (void)state;
    struct policy_row row = { "memorization.flagged.fraction", BOUND_UPPER95, 0, 0.5 };
    policy.rows = (struct yaml_rows){ &row, 1 };
    expect_refused();
    assert_true(report.passed && !report.linked);
    assert_int_equal(state_of("policy", "changed after the audit ran"), LINK_BROKEN);
}

static void images_that_were_changed_after_the_audit_are_a_refusal(void **state)
{
    (void)state;
    FILE *file = fopen(in_scratch("synthetic/images.npy"), "r+");
    fseek(file, -1, SEEK_END);
    fputc(0x77, file);
    fclose(file);
    expect_refused();
    assert_int_equal(state_of("intact", "images.npy"), LINK_BROKEN);
}

static void another_set_than_the_audited_one_is_a_refusal(void **state)
{
    (void)state;
    write_set(in_scratch("synthetic"), ROLE_SYNTHETIC, ELEMENT_UINT8, IMAGES, 99);
    expect_refused();
    assert_int_equal(state_of("intact", NULL), LINK_HOLDS);
    assert_int_equal(state_of("audited", "images.npy is not the file that was looked at"),
                     LINK_BROKEN);
}

static void other_training_data_than_the_audited_ones_are_a_refusal(void **state)
{
    (void)state;
    write_set(in_scratch("real"), ROLE_REAL, ELEMENT_UINT8, 4, 98);
    expect_refused();
    assert_int_equal(state_of("compared", "real/images.npy"), LINK_BROKEN);
}

static void a_record_without_digests_is_a_refusal(void **state)
{
    (void)state;
    struct json *record = json_load(in_scratch("audit/memorization.json"), &err);
    json_put(record, "inputs", json_new_object());
    save_audit(record);
    expect_refused();
    assert_int_equal(state_of("audited", "holds no digest of"), LINK_BROKEN);
}

static void measure_fidelity(double ratio)
{
    struct json *record = json_new_object(), *fid = json_new_object(), *against = json_new_object(),
                *mean = json_new_object(), *inputs = json_new_object();
    json_put_string(record, "schema", "lethe/fidelity/2");
    json_put_real(fid, "ratio", ratio);
    json_put(against, "fid", fid);
    json_put(mean, "holdout", against);
    json_put(record, "mean", mean);
    json_put(inputs, "synthetic", files_of(in_scratch("synthetic")));
    json_put(record, "inputs", inputs);
    assert_ok(folder_create(in_scratch("fidelity"), &err), err);
    assert_ok(json_save(record, in_scratch("fidelity/fidelity.json"), &err), err);
    json_free(record);
    job.fidelity = in_scratch("fidelity");
}

/* Its digest stands in the manifest, its link in policy.json; where nobody asked, neither. */
static void what_fidelity_was_measured_on_is_what_is_packed(void **state)
{
    (void)state;
    struct manifest manifest;
    struct digest digest;
    expect_released();
    assert_null(report.links[CHAIN_LINKS - 1].name);
    assert_ok(manifest_load(report.manifest, &manifest, &arena, &err), err);
    assert_false(manifest.claims.known[CLAIM_FIDELITY]);
    measure_fidelity(1.2);
    expect_released();
    assert_int_equal(state_of("likened", NULL), LINK_HOLDS);
    assert_ok(manifest_load(report.manifest, &manifest, &arena, &err), err);
    assert_ok(digest_file(in_scratch("fidelity/fidelity.json"), &digest, &err), err);
    assert_true(manifest.claims.known[CLAIM_FIDELITY] &&
                digest_equal(&manifest.claims.sha256[CLAIM_FIDELITY], &digest));
    write_set(in_scratch("synthetic"), ROLE_SYNTHETIC, ELEMENT_UINT8, IMAGES, 77);
    audit(NULL, 0); /* audited anew, and not measured anew */
    expect_refused();
    assert_int_equal(state_of("likened", "is not the file that was looked at"), LINK_BROKEN);
}

/* `of`: the digest of the checkpoint that was asked. */
static void measure_membership(const char *of)
{
    struct json *record = json_new_object(), *model = json_new_object();
    json_put_string(record, "schema", "lethe/membership/1");
    json_put_string(model, "checkpoint_sha256", of);
    json_put(record, "model", model);
    assert_ok(folder_create(in_scratch("membership"), &err), err);
    assert_ok(json_save(record, in_scratch("membership/membership.json"), &err), err);
    json_free(record);
    job.membership = in_scratch("membership");
}

static void a_policy_may_ask_for_fidelity(void **state)
{
    (void)state;
    struct policy_row rows[] = {
        { "memorization.flagged.count", BOUND_VALUE, 0, 0 },
        { "fidelity.mean.holdout.fid.ratio", BOUND_VALUE, 0, 1.5 },
    };
    policy.rows = (struct yaml_rows){ rows, 2 };
    audit(NULL, 0);
    expect_refused(); /* it was not measured */
    assert_contains(report.results[1].reason, "lethe fidelity");
    measure_fidelity(1.6);
    expect_refused();
    assert_true(report.results[1].measured && !report.results[1].passed);
    measure_fidelity(1.5);
    expect_released();
}

/* A model that says which data it was trained on, and a set that says which checkpoint it is of. */
static void write_model(const char *data_digest)
{
    const float weight = 1;
    const struct tensor_entry tensor = { "w", ELEMENT_FLOAT32, 1, { 1 }, 4, &weight };
    const struct metadata_entry metadata = { "dataset", data_digest };
    assert_ok(folder_create(in_scratch("model/checkpoints"), &err), err);
    assert_ok(safetensors_write(in_scratch("model/checkpoints/step-1.safetensors"), &tensor, 1,
                                &metadata, 1, &err),
              err);
}

/* As train/batches.c has it: of the lines of dataset.json's list of files. */
static const char *training_digest(void)
{
    static char hex[DIGEST_HEX];
    struct text lines = { 0 };
    static const char *const names[] = { "images.npy", "masks.npy", "index.csv" };
    struct json *description = json_load(in_scratch("real/dataset.json"), &err);
    const struct json *files = json_get(description, "files", &err);
    for (size_t i = 0; i < 3; i++)
        text_format(&lines, "%s %s\n", names[i], json_get_string(files, names[i], &err));
    struct digest digest = digest_of(lines.bytes, lines.length);
    json_free(description);
    text_release(&lines);
    return digest_hex(&digest, hex);
}

static void write_origin(void)
{
    struct digest digest;
    char hex[DIGEST_HEX];
    struct json *description = json_load(in_scratch("synthetic/dataset.json"), &err);
    struct json *origin = json_new_object();
    assert_ok(digest_file(in_scratch("model/checkpoints/step-1.safetensors"), &digest, &err), err);
    json_put_string(origin, "checkpoint", "step-1.safetensors");
    json_put_string(origin, "checkpoint_sha256", digest_hex(&digest, hex));
    json_put(description, "origin", origin);
    assert_ok(json_save(description, in_scratch("synthetic/dataset.json"), &err), err);
    json_free(description);
    audit(NULL, 0);
}

/* The answer is no, not "could not tell", whatever the limits say. */
static void a_set_of_which_every_image_is_flagged_is_refused(void **state)
{
    (void)state;
    size_t all[IMAGES];
    for (size_t i = 0; i < IMAGES; i++)
        all[i] = i;
    static const struct policy_row lenient = { .metric = "memorization.flagged.count",
                                               .limit = 1000 };
    for (int passes = 0; passes < 2; passes++) {
        if (passes)
            policy.rows = (struct yaml_rows){ (void *)(uintptr_t)&lenient, 1 };
        audit(all, IMAGES);
        expect_refused();
        assert_true(report.passed == passes);
        assert_int_equal(report.images, 0);
        assert_int_equal(report.removed, IMAGES);
    }
}

static void every_link_back_to_the_data_holds(void **state)
{
    (void)state;
    job.model = in_scratch("model");
    write_model(training_digest());
    write_origin();
    expect_released();
    static const char *const links[] = { "policy",   "intact",    "audited",
                                         "compared", "generated", "trained" };
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(state_of(links[i], NULL), LINK_HOLDS);
    assert_int_equal(state_of("used", "not measured"), LINK_UNKNOWN);
}

static void a_model_of_other_data_or_other_weights_is_a_refusal(void **state)
{
    (void)state;
    job.model = in_scratch("model");
    expect_refused();
    assert_int_equal(state_of("generated", "does not tell which checkpoint"), LINK_BROKEN);
    write_model("0123");
    write_origin();
    expect_refused();
    assert_int_equal(state_of("generated", NULL), LINK_HOLDS);
    assert_int_equal(state_of("trained", "was trained on other data"), LINK_BROKEN);
    write_model(training_digest());
    expect_refused();
    assert_int_equal(state_of("generated", "is not the checkpoint"), LINK_BROKEN);
}

static void the_model_that_was_asked_is_the_one_that_drew(void **state)
{
    (void)state;
    struct manifest manifest;
    struct digest digest;
    char hex[DIGEST_HEX];
    job.model = in_scratch("model");
    job.dataset = in_scratch("real");
    write_model(training_digest());
    write_origin();
    assert_ok(digest_file(in_scratch("model/checkpoints/step-1.safetensors"), &digest, &err), err);
    measure_membership(digest_hex(&digest, hex));
    expect_released();
    assert_int_equal(state_of("asked", NULL), LINK_HOLDS);
    assert_ok(manifest_load(report.manifest, &manifest, &arena, &err), err);
    assert_ok(digest_file(in_scratch("membership/membership.json"), &digest, &err), err);
    assert_true(manifest.claims.known[CLAIM_MEMBERSHIP] &&
                digest_equal(&manifest.claims.sha256[CLAIM_MEMBERSHIP], &digest));
    measure_membership("0123456789abcdef");
    expect_refused();
    assert_int_equal(state_of("asked", "of another checkpoint"), LINK_BROKEN);
}

static void a_leak_in_what_is_included_is_a_refusal(void **state)
{
    (void)state;
    const char *path = in_scratch("notes.md");
    settings.include = (struct yaml_strings){ &path, 1 };
    write_text(path, "As seen in Patient_0002 on 2019-05-04.\n");
    expect_refused();
    assert_int_equal(report.finding_count, 2);
    assert_contains(report.findings, "data/included/notes.md: a name of the source data");
    assert_contains(report.findings, "data/included/notes.md: a date: \"2019-05-04\"");
    write_text(path, "As seen in nobody.\n");
    expect_released();
    unpack();
    run_shell("cmp notes.md x/brain-1.0.0/data/included/notes.md");
}

/* A patient's scan is no less one for lying in a folder of documents. */
static void an_image_that_was_not_audited_cannot_be_included(void **state)
{
    (void)state;
    const char *path = in_scratch("documents");
    settings.include = (struct yaml_strings){ &path, 1 };
    run_shell(
        "mkdir -p documents && echo nothing >documents/a.md && cp real/images.npy documents/b.npy");
    expect_refused();
    assert_int_equal(report.finding_count, 1);
    assert_contains(report.findings,
                    "data/included/documents/b.npy: images that were not audited; only documents");
    run_shell("rm documents/b.npy");
    expect_released();
}

static void hidden_files_of_what_is_included_stay_out_and_are_told(void **state)
{
    (void)state;
    const char *path = in_scratch("documents/"); /* with or without the slash */
    settings.include = (struct yaml_strings){ &path, 1 };
    run_shell(
        "mkdir -p documents/.git documents/b && echo a >documents/a.md &&"
        " echo b >documents/b/b.md && touch documents/.DS_Store documents/.git/HEAD"
        " documents/b/.b.md.swp && echo c >linked.md && ln -s ../linked.md documents/link.md");
    expect_released();
    assert_int_equal(report.hidden_count, 3);
    assert_string_equal(report.hidden[0], "documents/.DS_Store");
    assert_string_equal(report.hidden[1], "documents/.git/HEAD");
    assert_string_equal(report.hidden[2], "documents/b/.b.md.swp");
    unpack();
    run_shell(
        "cd x/brain-1.0.0/data/included && test \"$(find . -type f | sort | tr -d '\\n')\" ="
        " ./documents/a.md./documents/b/b.md./documents/link.md && test $(cat documents/link.md) = c");
}

static void what_cannot_be_included_is_an_error_before_anything_is_written(void **state)
{
    (void)state;
    static const struct {
        const char *make, *message;
    } cases[] = {
        { "ln -s ../real documents/real", "documents/real: a link to a folder, which is not" },
        { "ln -s nothing documents/b.md", "documents/b.md: a link that leads nowhere" },
        { "mkfifo documents/pipe", "documents/pipe: no file (a pipe, socket or device)" },
        { "touch 'documents/b c.md'",
          "\"data/included/documents/b c.md\" is not a portable path: a "
          "character other than A-Z a-z 0-9 . _ - +; rename it" },
        { "rm documents/a.md", "documents: an empty folder" },
        { "rm -r documents", "documents: not there; expected a document or a folder" },
    };
    const char *path = in_scratch("documents");
    settings.include = (struct yaml_strings){ &path, 1 };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        run_shell("rm -rf documents && mkdir documents && echo a >documents/a.md");
        run_shell(cases[i].make);
        assert_false(package(&job, &report, &arena, &err));
        assert_contains(err.message, cases[i].message);
        assert_int_equal(path_kind(in_scratch("release")), PATH_NOTHING);
    }
}

static void the_internal_report_cannot_be_packed_as_the_public_one(void **state)
{
    (void)state;
    job.report_public = in_scratch("report.internal.html");
    write_text(job.report_public, "<p class=\"private\">" INTERNAL_NOTICE "</p>");
    assert_false(package(&job, &report, &arena, &err));
    assert_contains(err.message, "is the internal report, which shows patients");
    assert_int_equal(path_kind(in_scratch("release")), PATH_NOTHING);
    write_text(job.report_public, "<p>Nobody.</p>");
    expect_released();
}

/* Marks about the set that the audit is of, or about another. */
static void write_review(const char *set, const char *mark)
{
    write_text(in_scratch("review.json"),
               arena_format(&arena,
                            "{\"schema\": \"lethe/review/1\", \"synthetic_sha256\": \"%s\", "
                            "\"marks\": [{\"synthetic\": 2, \"training\": 0, \"mark\": \"%s\"}]}",
                            set, mark));
    job.review = in_scratch("review.json");
}

static void what_a_reviewer_called_a_copy_does_not_leave(void **state)
{
    (void)state;
    struct json *record =
        json_load_schema(in_scratch("audit/memorization.json"), "lethe/memorization/1", &err);
    struct json *synthetic =
        (struct json *)(uintptr_t)json_member(json_member(record, "inputs"), "synthetic");
    json_put_string(synthetic, "sha256", "this set");
    save_audit(record);
    expect_released();
    assert_int_equal(state_of("reviewed", "nobody marked"), LINK_UNKNOWN);
    write_review("this set", "not_a_copy");
    expect_released();
    assert_int_equal(state_of("reviewed", NULL), LINK_HOLDS);
    write_review("this set", "copy");
    expect_refused();
    assert_int_equal(state_of("reviewed", "synthetic image 2"), LINK_BROKEN);
    write_review("another set", "copy");
    expect_released();
    assert_int_equal(state_of("reviewed", "the marks are about another set"), LINK_UNKNOWN);
}

static void a_copy_that_was_flagged_and_left_out_is_no_reason(void **state)
{
    (void)state;
    static const size_t flagged[] = { 2 };
    audit(flagged, 1);
    struct json *record =
        json_load_schema(in_scratch("audit/memorization.json"), "lethe/memorization/1", &err);
    struct json *synthetic =
        (struct json *)(uintptr_t)json_member(json_member(record, "inputs"), "synthetic");
    json_put_string(synthetic, "sha256", "this set");
    save_audit(record);
    write_review("this set", "copy");
    assert_ok(package(&job, &report, &arena, &err), err);
    assert_int_equal(report.removed, 1);
    assert_int_equal(state_of("reviewed", NULL), LINK_HOLDS);
}

static void a_refusal_removes_what_was_released_before(void **state)
{
    (void)state;
    static const size_t flagged[] = { 0 };
    expect_released();
    policy.quarantine = QUARANTINE_REFUSE;
    audit(flagged, 1);
    expect_refused();
}

static void what_was_signed_is_not_made_again(void **state)
{
    (void)state;
    expect_released();
    write_text(in_scratch("release/brain-1.0.0.producer.sigstore.json"), "{}");
    assert_false(package(&job, &report, &arena, &err));
    assert_contains(err.message, "has been signed");
    assert_int_equal(path_kind(in_scratch("release/brain-1.0.0.tar.zst")), PATH_FILE);
    settings.version = "1.0.1";
    expect_released();
}

/* ---- what cannot be told --------------------------------------------------------------------- */

static void bad_inputs_are_errors_before_anything_is_written(void **state)
{
    (void)state;
    static const size_t flagged[] = { IMAGES + 5 };
    policy.quarantine = QUARANTINE_DROP;
    audit(flagged, 1);
    expect_error("entry 0 of flagged.images is no image");
    struct json *record = json_load(in_scratch("audit/memorization.json"), &err);
    json_put(record, "flagged", json_parse("{\"count\":3,\"images\":[1,2]}", 26, "x", &err));
    save_audit(record);
    expect_error("3 images are flagged, but 2 are named");
    policy.quarantine = QUARANTINE_REFUSE;
    settings.date = "2026-02-30";
    expect_error("is no day");
    settings.date = NULL;
    job.name = "a/b";
    expect_error("cannot be the name of an archive");
    job.name = "brain";
    job.synthetic = in_scratch("real");
    expect_error("holds real images");
    job.audit = in_scratch("nowhere");
    expect_error("only after lethe audit");
    assert_int_equal(path_kind(job.out), PATH_NOTHING);
}

static void a_full_disk_leaves_nothing_that_looks_finished(void **state)
{
    (void)state;
    write_set(in_scratch("synthetic"), ROLE_SYNTHETIC, ELEMENT_UINT8, 200, 1);
    struct digest digest;
    policy_digest(&policy, &digest);
    save_audit(audit_record(job.synthetic, in_scratch("real"), &digest, 200, NULL, 0));
    static const rlim_t limits[] = { 10, 2000, 20000, 50000, 100000 };
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (!child) {
            struct rlimit limit = { limits[i], limits[i] };
            signal(SIGXFSZ, SIG_IGN);
            parallel_set_threads(1);
            bool failed = setrlimit(RLIMIT_FSIZE, &limit) == 0 &&
                          !package(&job, &report, &arena, &err) &&
                          strstr(err.message, "File too large");
            _exit(failed ? 0 : 1);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        assert_int_equal(path_kind(in_scratch("release/brain-1.0.0.manifest.json")), PATH_NOTHING);
        assert_int_equal(path_kind(in_scratch("release/brain-1.0.0.tar.zst")), PATH_NOTHING);
    }
    expect_released();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_manifest_tells_every_file_of_the_archive),
        TEST(the_same_inputs_give_the_same_bytes),
        TEST(volumes_hold_the_pixels_of_the_store),
        TEST(sixteen_bits_stay_sixteen_bits_in_png),
        TEST(shards_hold_the_arrays_of_the_store),
        TEST(values_that_no_png_holds_are_not_cut),
        TEST(flagged_images_are_left_out_when_the_policy_says_so),
        TEST(flagged_images_are_a_refusal_otherwise),
        TEST(a_policy_that_was_changed_after_the_audit_is_a_refusal),
        TEST(images_that_were_changed_after_the_audit_are_a_refusal),
        TEST(another_set_than_the_audited_one_is_a_refusal),
        TEST(other_training_data_than_the_audited_ones_are_a_refusal),
        TEST(a_record_without_digests_is_a_refusal),
        TEST(a_set_of_which_every_image_is_flagged_is_refused),
        TEST(what_fidelity_was_measured_on_is_what_is_packed),
        TEST(a_policy_may_ask_for_fidelity),
        TEST(every_link_back_to_the_data_holds),
        TEST(a_model_of_other_data_or_other_weights_is_a_refusal),
        TEST(the_model_that_was_asked_is_the_one_that_drew),
        TEST(a_leak_in_what_is_included_is_a_refusal),
        TEST(an_image_that_was_not_audited_cannot_be_included),
        TEST(hidden_files_of_what_is_included_stay_out_and_are_told),
        TEST(what_cannot_be_included_is_an_error_before_anything_is_written),
        TEST(the_internal_report_cannot_be_packed_as_the_public_one),
        TEST(what_a_reviewer_called_a_copy_does_not_leave),
        TEST(a_copy_that_was_flagged_and_left_out_is_no_reason),
        TEST(a_refusal_removes_what_was_released_before),
        TEST(what_was_signed_is_not_made_again),
        TEST(bad_inputs_are_errors_before_anything_is_written),
        TEST(a_full_disk_leaves_nothing_that_looks_finished),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
