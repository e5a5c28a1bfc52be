/* Policies can name just what the documents hold: the tables of release/metric_documents.c against
 * what the audits write, in both directions. */
#include "stores.h"

#include "audit/fidelity.h"
#include "audit/membership.h"
#include "audit/memorization.h"
#include "audit/utility.h"
#include "base/text.h"
#include "release/metric.h"
#include "train/train.h"

/* ---- a document against its table ------------------------------------------------------------ */

struct walk {
    const struct metric_member *members;
    const struct json *object;
    const char *path;
    struct text *seen; /* " PATH " of every row of the table that the documents had */
    bool interval;     /* the object holds a 95 % interval */
    struct arena arena;
};

static void hold_against(const struct metric_member *members, const char *path,
                         const struct json *object, struct text *seen);

static const struct metric_member *row_of(const struct metric_member *members, const char *key)
{
    for (; members->key; members++) {
        size_t stem = strcspn(members->key, "*");
        if (members->key[stem] ? strncmp(members->key, key, stem) == 0
                               : strcmp(members->key, key) == 0)
            return members;
    }
    return NULL;
}

static bool is_text(const struct json *value)
{
    return json_as_string(value);
}

static bool is_number(const struct json *value) /* or true, false, null */
{
    return !is_text(value) && !json_value_is_object(value) && !json_length(value);
}

static bool is_of_kind(enum metric_kind kind, const struct json *value)
{
    bool (*of[])(const struct json *) = {
        [METRIC_NUMBER] = is_number,
        [METRIC_TEXT] = is_text,
        [METRIC_OBJECT] = json_value_is_object,
        [METRIC_NUMBERS] = is_number,
        [METRIC_TEXTS] = is_text,
        [METRIC_OBJECTS] = json_value_is_object,
    };
    bool ok = kind >= METRIC_NUMBERS || of[kind](value);
    for (size_t i = 0; kind >= METRIC_NUMBERS && i < json_length(value); i++)
        ok = ok && of[kind](json_at(value, i));
    return ok;
}

static bool hold_member(void *context, const char *key, const struct json *value)
{
    struct walk *walk = context;
    const struct metric_member *row = row_of(walk->members, key);
    char *path = arena_format(&walk->arena, "%s.%s", walk->path, row ? row->key : key);
    bool null = json_has_null(walk->object, key);
    walk->interval |= strcmp(key, "interval") == 0 || strcmp(key, "upper95") == 0;
    if (!row)
        fail_msg("%s is in the document and not in the table", path);
    if (!null && !is_of_kind(row->kind, value))
        fail_msg("%s is of another kind in the document than in the table", path);
    if (!null || row->kind == METRIC_NUMBER)
        text_format(walk->seen, " %s ", path);
    if (row->kind == METRIC_OBJECT && !null)
        hold_against(row->members, path, value, walk->seen);
    for (size_t i = 0; row->kind == METRIC_OBJECTS && i < json_length(value); i++)
        hold_against(row->members, path, json_at(value, i), walk->seen);
    return true;
}

static void hold_against(const struct metric_member *members, const char *path,
                         const struct json *object, struct text *seen)
{
    struct walk walk = { .members = members, .object = object, .path = path, .seen = seen };
    arena_init(&walk.arena);
    assert_true(json_each(object, hold_member, &walk));
    bool bounded = false;
    for (; members->key; members++)
        bounded |= members->bounded;
    if (walk.interval != bounded)
        fail_msg("%s: the document %s an interval", path, walk.interval ? "has" : "lacks");
    arena_release(&walk.arena);
}

/* ---- a table against the documents ----------------------------------------------------------- */

static void find_all(const struct metric_member *members, const char *path, const struct text *seen)
{
    struct arena arena;
    arena_init(&arena);
    for (; members->key; members++) {
        char *below = arena_format(&arena, "%s.%s", path, members->key);
        if (!strstr(seen->bytes, arena_format(&arena, " %s ", below)))
            fail_msg("%s is in the table, and in no document", below);
        if (members->members)
            find_all(members->members, below, seen);
    }
    arena_release(&arena);
}

/* ---- memorization.json ----------------------------------------------------------------------- */

/* `slices` of each subject; the second call replaces the sets. Lesions are looked for in images of
 * 64 pixels a side, what takes other searches is quicker with less. */
static void write_sets(int slices, int side)
{
    struct error err;
    struct store_spec spec = { .role = ROLE_REAL,
                               .subjects = 18,
                               .held_out = 7,
                               .masks = true,
                               .side = side,
                               .slices = slices };
    assert_ok(folder_remove(scratch("real"), &err), err);
    assert_ok(folder_remove(scratch("synthetic"), &err), err);
    store_write(scratch("real"), &spec);
    spec.role = ROLE_SYNTHETIC;
    spec.subjects = 7;
    store_write(scratch("synthetic"), &spec);
}

/* An audit that adds to what documents show, in seconds. */
struct variant {
    const char *out;
    int control;
    const char *synthetic;  /* the set; NULL: "synthetic" */
    bool transforms, tiles; /* with tiles, by pieces alone: other statistics have limits */
};

static void audit_with(const struct variant *variant, struct text *seen)
{
    struct audit_settings settings = audit_defaults;
    struct audit_report report;
    struct error err;
    settings.bootstrap = 40;
    settings.neighbours = 3;
    settings.quantile = 0.5; /* which so small a control supports */
    settings.control = variant->control;
    settings.transforms = variant->transforms;
    settings.tiles = variant->tiles;
    settings.correlation_limit = variant->tiles ? 1 : 0;
    settings.local_ratio_limit = variant->tiles ? 0 : 1;
    settings.per_channel = !variant->tiles;
    struct audit_job job = { .train = scratch("real"),
                             .synthetic =
                                 scratch(variant->synthetic ? variant->synthetic : "synthetic"),
                             .out = scratch(variant->out),
                             .plan_sha256 = "0",
                             .policy_sha256 = "0",
                             .candidates = 2,
                             .settings = &settings };
    assert_ok(audit(&job, &report, &err), err);
    hold_against(metric_documents[0].members, "memorization", report.document, seen);
    audit_report_release(&report);
}

/* Two patients who were held out. */
static void write_copies(void)
{
    store_write(scratch("copies"), &(struct store_spec){ .role = ROLE_SYNTHETIC,
                                                         .first = 16,
                                                         .subjects = 2,
                                                         .masks = true,
                                                         .as_real = true,
                                                         .side = STORE_SIDE_ROOM });
}

static void policies_can_name_what_an_audit_measures(void **state)
{
    (void)state;
    struct text seen = { 0 };
    write_sets(3, STORE_SIDE_ROOM);
    audit_with(&(struct variant){ "matched", CONTROL_MATCHED_HOLDOUT }, &seen);
    audit_with(&(struct variant){ "pieces", CONTROL_HOLDOUT, .tiles = true }, &seen);
    write_copies();
    audit_with(&(struct variant){ "copied", CONTROL_HOLDOUT, "copies" }, &seen);
    write_sets(1, STORE_SIDE); /* one image of each: what chance brings is exact */
    audit_with(&(struct variant){ "exact", CONTROL_HOLDOUT }, &seen);
    audit_with(&(struct variant){ "others", CONTROL_OTHER_SUBJECTS, .transforms = true }, &seen);
    find_all(metric_documents[0].members, "memorization", &seen);
    text_release(&seen);
}

/* ---- utility.json ---------------------------------------------------------------------------- */

static const char *const all_sources[] = { "real", "synthetic", "both",
                                           "0.5",  "shuffled",  "untrained" };

/* The first `sources` of them, one model, one augmentation: seconds. */
static struct utility_settings quick(size_t sources, const char **model, const char **augmentation)
{
    struct utility_settings settings = utility_defaults;
    settings.sources = (struct yaml_strings){ (const char **)(uintptr_t)all_sources, sources };
    settings.models = (struct yaml_strings){ model, 1 };
    settings.augmentation = (struct yaml_strings){ augmentation, 1 };
    settings.seeds = 1;
    settings.bootstrap = 100;
    settings.panels = 1;
    settings.training.images = 4;
    settings.training.batch = 4;
    settings.training.base = 2;
    settings.training.levels = 2;
    return settings;
}

static void write_stores(void)
{
    struct store_spec spec = { .role = ROLE_REAL, .subjects = 4, .masks = true, .whole = true };
    store_write(scratch("real"), &spec);
    spec.first = 4;
    spec.subjects = 2;
    store_write(scratch("holdout"), &spec);
    spec = (struct store_spec){ .role = ROLE_SYNTHETIC, .subjects = 2, .masks = true };
    store_write(scratch("synthetic"), &spec);
}

/* Every kind of source, network and augmentation can be picked by name. */
static void pick_each(const struct json *document)
{
    const struct json *kinds = json_member(document, "summary");
    struct arena arena;
    struct error err;
    arena_init(&arena);
    for (size_t i = 0; i < json_length(kinds); i++) {
        const struct json *kind = json_at(kinds, i);
        const char *metric = arena_format(
            &arena, "utility.summary[source=%s,model=%s,augmentation=%s].dice.mean",
            json_as_string(json_member(kind, "source")), json_as_string(json_member(kind, "model")),
            json_as_string(json_member(kind, "augmentation")));
        assert_ok(metric_check(metric, true, &err), err);
    }
    arena_release(&arena);
}

static void measure_use(const char *out, const struct utility_settings *settings, struct text *seen)
{
    struct utility_report report;
    struct error err;
    struct utility_job job = { .dataset = scratch("real"),
                               .holdout = scratch("holdout"),
                               .synthetic = { { "", scratch("synthetic") } },
                               .synthetic_count = 1,
                               .out = scratch(out),
                               .candidates = 2,
                               .settings = settings };
    assert_ok(utility(&job, &report, &err), err);
    hold_against(metric_documents[1].members, "utility", report.document, seen);
    pick_each(report.document);
    utility_report_release(&report);
}

static void policies_can_name_what_usefulness_is(void **state)
{
    (void)state;
    const char *models[] = { "unet", "swin" }, *augmentations[] = { "none", "usual" };
    struct utility_settings unet = quick(6, &models[0], &augmentations[0]),
                            swin = quick(1, &models[1], &augmentations[1]);
    struct text seen = { 0 };
    write_stores();
    measure_use("unet", &unet, &seen);
    measure_use("swin", &swin, &seen);
    find_all(metric_documents[1].members, "utility", &seen);
    text_release(&seen);
}

/* ---- fidelity.json --------------------------------------------------------------------------- */

static void measure_likeness(const char *holdout, const char *out, struct text *seen)
{
    const char *channels[] = { "t1" };
    struct fidelity_settings settings = fidelity_defaults;
    struct fidelity_report report;
    struct error err;
    settings.channels = (struct yaml_strings){ channels, 1 };
    settings.bootstrap = 40;
    struct fidelity_job job = { .train = scratch("real"),
                                .holdout = holdout,
                                .synthetic = scratch("synthetic"),
                                .out = scratch(out),
                                .candidates = 2,
                                .settings = &settings };
    assert_ok(fidelity(&job, &report, &err), err);
    hold_against(metric_documents[2].members, "fidelity", report.document, seen);
    fidelity_report_release(&report);
}

/* With a holdout, and without: then what is held against it is null. */
static void policies_can_name_what_fidelity_is(void **state)
{
    (void)state;
    struct text seen = { 0 };
    struct store_spec spec = { .role = ROLE_REAL, .subjects = 2, .slices = 2, .whole = true };
    store_write(scratch("real"), &spec);
    spec.first = 2;
    store_write(scratch("holdout"), &spec);
    spec = (struct store_spec){ .role = ROLE_SYNTHETIC, .subjects = 2, .slices = 1 };
    store_write(scratch("synthetic"), &spec);
    measure_likeness(scratch("holdout"), "with", &seen);
    find_all(metric_documents[2].members, "fidelity", &seen);
    measure_likeness(NULL, "without", &seen);
    text_release(&seen);
}

/* ---- membership.json ------------------------------------------------------------------------- */

static void train_small(const char *store, const char *out, uint64_t reference)
{
    static const char *one[] = { "1" }, *none[] = { "0" };
    struct train_settings settings = train_defaults;
    struct train_report report;
    struct error err;
    settings.masks = TRAIN_MASKS_NONE;
    settings.batch = settings.images = 2;
    settings.samples = 0;
    settings.device = "cpu";
    settings.ddpm.base = 32;
    settings.ddpm.blocks = settings.ddpm.heads = 1;
    settings.ddpm.mult = (struct yaml_strings){ one, 1 };
    settings.ddpm.attention = (struct yaml_strings){ none, 1 };
    struct train_job job = { store, out, &settings, .reference = reference };
    assert_ok(train(&job, &report, &err), err);
}

/* Diffusion, which has times; beside references; of one person a side intervals are null. */
static void policies_can_name_what_membership_is(void **state)
{
    (void)state;
    struct text seen = { 0 };
    struct error err;
    struct arena arena;
    arena_init(&arena);
    struct store_spec spec = { .role = ROLE_REAL, .subjects = 5, .held_out = 2, .slices = 2 };
    store_write(scratch("real"), &spec);
    const char *references[] = { arena_string(&arena, scratch("one")),
                                 arena_string(&arena, scratch("two")) };
    train_small(scratch("real"), scratch("model"), 0);
    for (uint64_t r = 0; r < 2; r++)
        train_small(scratch("real"), references[r], r + 1);
    struct membership_settings settings = membership_defaults;
    settings.bootstrap = 120;
    settings.draws = 1;
    settings.device = "cpu";
    struct membership_job job = { .from = scratch("model"),
                                  .train = scratch("real"),
                                  .references = { references, 2 },
                                  .out = scratch("out"),
                                  .candidates = 2,
                                  .settings = &settings };
    struct membership_report report;
    assert_ok(membership(&job, &report, &err), err);
    hold_against(metric_documents[3].members, "membership", report.document, &seen);
    find_all(metric_documents[3].members, "membership", &seen);
    membership_report_release(&report);
    text_release(&seen);
    arena_release(&arena);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_make, scratch_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(policies_can_name_what_an_audit_measures),
        TEST(policies_can_name_what_usefulness_is),
        TEST(policies_can_name_what_fidelity_is),
        TEST(policies_can_name_what_membership_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
