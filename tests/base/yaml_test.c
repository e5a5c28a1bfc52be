#include "own_arena.h"

#include "base/file.h"
#include "base/text.h"
#include "base/yaml.h"

#include <stdio.h>
#include <unistd.h>

struct optimiser {
    double rate;
    const char *kind;
};

struct stage {
    int64_t size;
    struct optimiser optimiser;
};

struct rule {
    const char *metric;
    int plane;
    double limit;
};

struct plan {
    const char *name;
    int64_t seed;
    double share;
    bool masks;
    int plane;
    struct yaml_strings modalities;
    struct stage train, audit;
    struct yaml_rows rules;
};

static const char *const planes[] = { "axial", "coronal", "sagittal", NULL };
static const struct yaml_field optimiser_fields[] = {
    { "rate", YAML_REAL, offsetof(struct optimiser, rate), .required = true },
    { "kind", YAML_STRING, offsetof(struct optimiser, kind) },
    { 0 },
};
static const struct yaml_field stage_fields[] = {
    { "size", YAML_INTEGER, offsetof(struct stage, size), .minimum = 1, .maximum = 1024 },
    { "optimiser", YAML_SECTION, offsetof(struct stage, optimiser), .section = optimiser_fields },
    { 0 },
};
static const struct rule rule_defaults = { .plane = 2, .limit = 0.5 };
static const struct yaml_field rule_fields[] = {
    { "metric", YAML_STRING, offsetof(struct rule, metric), .required = true },
    { "plane", YAML_CHOICE, offsetof(struct rule, plane), .choices = planes },
    { "limit", YAML_REAL, offsetof(struct rule, limit), .minimum = 0, .maximum = 1 },
    { 0 },
};
static const struct yaml_field fields[] = {
    { "name", YAML_STRING, offsetof(struct plan, name), .required = true },
    { "seed", YAML_INTEGER, offsetof(struct plan, seed) },
    { "share", YAML_REAL, offsetof(struct plan, share), .minimum = 0, .maximum = 1 },
    { "masks", YAML_BOOL, offsetof(struct plan, masks) },
    { "plane", YAML_CHOICE, offsetof(struct plan, plane), .choices = planes },
    { "modalities", YAML_STRINGS, offsetof(struct plan, modalities) },
    { "train", YAML_SECTION, offsetof(struct plan, train), .section = stage_fields },
    { "audit", YAML_SECTION, offsetof(struct plan, audit), .section = stage_fields },
    { "rules", YAML_ROWS, offsetof(struct plan, rules), .section = rule_fields,
      .row_size = sizeof(struct rule), .row_defaults = &rule_defaults },
    { 0 },
};

static bool parse(const char *document, struct plan *plan)
{
    return yaml_parse(document, strlen(document), "plan.yaml", fields, plan, &arena, &err);
}

/* Refused, with a message that holds both parts. */
static void refused(const char *document, const char *where, const char *why)
{
    struct plan plan = { 0 };
    if (parse(document, &plan))
        fail_msg("accepted: %s", document);
    assert_contains(err.message, where);
    assert_contains(err.message, why);
}

static void every_kind_is_read(void **state)
{
    (void)state;
    struct plan plan = { 0 };
    assert_ok(parse("name: gänsehaut # a comment\n"
                    "seed: -42\n"
                    "share: 2.5e-1\n"
                    "masks: yes\n"
                    "plane: sagittal\n"
                    "modalities: [t1, 't2', \"flair\"]\n"
                    "train:\n"
                    "  size: 256\n"
                    "  optimiser: {rate: 1, kind: adam}\n",
                    &plan),
              err);
    assert_string_equal(plan.name, "gänsehaut");
    assert_int_equal(plan.seed, -42);
    assert_true(plan.share == 0.25);
    assert_true(plan.masks);
    assert_int_equal(plan.plane, 2);
    assert_int_equal(plan.modalities.count, 3);
    assert_string_equal(plan.modalities.items[2], "flair");
    assert_int_equal(plan.train.size, 256);
    assert_true(plan.train.optimiser.rate == 1.0);
    assert_string_equal(plan.train.optimiser.kind, "adam");
}

static void what_is_absent_keeps_its_default(void **state)
{
    (void)state;
    static const char *items[] = { "t1" };
    struct plan plan = { .seed = 7,
                         .share = 0.5,
                         .masks = true,
                         .plane = 1,
                         .modalities = { items, 1 },
                         .train = { .size = 64, .optimiser.kind = "sgd" } };
    assert_ok(parse("name: a\ntrain:\n  optimiser:\n    rate: 0.1\n", &plan), err);
    assert_int_equal(plan.seed, 7);
    assert_true(plan.share == 0.5 && plan.masks && plan.plane == 1);
    assert_int_equal(plan.modalities.count, 1);
    assert_int_equal(plan.train.size, 64);
    assert_string_equal(plan.train.optimiser.kind, "sgd");
    assert_true(plan.train.optimiser.rate == 0.1);
}

static void an_empty_list_is_empty_and_not_the_default(void **state)
{
    (void)state;
    static const char *items[] = { "t1" };
    struct plan plan = { .modalities = { items, 1 } };
    assert_ok(parse("name: a\nmodalities: []\n", &plan), err);
    assert_int_equal(plan.modalities.count, 0);
}

static void switches_take_six_words(void **state)
{
    (void)state;
    static const char *const words[] = { "no", "yes", "false", "true", "off", "on" };
    for (int i = 0; i < 6; i++) {
        struct plan plan = { .masks = i % 2 == 0 };
        char document[64];
        snprintf(document, sizeof document, "name: a\nmasks: %s\n", words[i]);
        assert_ok(parse(document, &plan), err);
        assert_int_equal(plan.masks, i % 2);
    }
    refused("name: a\nmasks: maybe\n", "plan.yaml:2:8", "expected true or false, found \"maybe\"");
    refused("name: a\nmasks: 1\n", "plan.yaml:2:8", "expected true or false");
    refused("name: a\nmasks: \"yes\"\n", "plan.yaml:2:8", "in quotes");
}

static void an_unknown_key_is_told_with_its_line_and_the_nearest_key(void **state)
{
    (void)state;
    refused("name: a\nseed: 1\n\n# comment\nshar: 1\n", "plan.yaml:5:1: unknown key \"shar\"",
            "did you mean \"share\"?");
    refused("nmae: a\n", "plan.yaml:1:1", "did you mean \"name\"?");
    refused("name: a\nwholly-different: 1\n", "plan.yaml:2:1", "the keys here are: name, seed,");
}

static void an_unknown_key_inside_sections_has_its_own_line(void **state)
{
    (void)state;
    refused("name: a\ntrain:\n  siez: 4\n", "plan.yaml:3:3", "did you mean \"size\"?");
    refused("name: a\ntrain:\n  size: 4\n  optimiser:\n    # why\n    rte: 4\n", "plan.yaml:6:5",
            "did you mean \"rate\"?");
    refused("name: a\ntrain: {optimiser: {rate: 1}, sise: 2}\n", "plan.yaml:2:31",
            "did you mean \"size\"?");
}

static void the_second_of_two_like_sections_is_told_apart(void **state)
{
    (void)state;
    refused("name: a\n"
            "train:\n"
            "  size: 1\n"
            "  optimiser: {rate: 1}\n"
            "audit:\n"
            "  size: 2\n"
            "  optimiser:\n"
            "    rate: 1\n"
            "    kin: x\n",
            "plan.yaml:9:5", "did you mean \"kind\"?");
    /* The same unknown key is valid elsewhere and stands there first. */
    refused("train:\n  size: 1\nname: a\nsize: 2\n", "plan.yaml:4:1", "unknown key \"size\"");
}

static void a_file_of_an_editor_of_windows_is_read(void **state)
{
    (void)state;
    struct plan plan = { 0 };
    assert_ok(parse("\xEF\xBB\xBFname: a\r\nseed: 7\r\n", &plan), err);
    assert_string_equal(plan.name, "a");
    assert_int_equal(plan.seed, 7);
    refused("\xEF\xBB\xBFname: a\r\nsed: 7\r\n", "plan.yaml:2:1", "did you mean \"seed\"");
}

static void an_unknown_key_with_odd_text_is_still_found(void **state)
{
    (void)state;
    refused("name: a\n\"se\\ned\": 1\n", "plan.yaml:2:1", "unknown key");
    refused("name: a\n'seed': 1\n'': 1\n", "plan.yaml:3:1", "unknown key \"\"");
    refused("name: a\n'%s%n': 1\n", "plan.yaml:2:1", "unknown key \"%s%n\"");
}

static void a_key_given_twice_is_refused_at_its_second_place(void **state)
{
    (void)state;
    refused("name: a\nseed: 1\nseed: 2\n", "plan.yaml:3:1",
            "\"seed\" stands here a second time; the first is in line 2");
    refused("name: a\naudit: {size: 1}\ntrain:\n  size: 1\n  size: 2\n", "plan.yaml:5:3",
            "\"size\" stands here a second time");
    refused("train: {size: 1}\nname: a\ntrain: {size: 1}\n", "plan.yaml:3:1", "a second time");
}

static void a_wrong_type_is_told_with_line_and_expectation(void **state)
{
    (void)state;
    refused("name: a\nseed: many\n", "plan.yaml:2:7", "expected a whole number, found \"many\"");
    refused("name: a\nseed: [1]\n", "plan.yaml:2:7", "expected a whole number, found a list");
    refused("name: {b: 1}\n", "plan.yaml:1:7", "expected text, found a section");
    refused("name: a\nshare: half\n", "plan.yaml:2:8", "expected a number, found \"half\"");
    refused("name: a\nplane: axal\n", "plan.yaml:2:8", "one of axial, coronal, sagittal");
    refused("name: a\nmodalities: t1\n", "plan.yaml:2:13", "expected a list of texts");
    refused("name: a\nmodalities:\n- t1\n- [t2]\n", "plan.yaml:4:3", "\"modalities\": expected");
    refused("name: a\nmodalities:\n- t1\n- {t2: 1}\n", "plan.yaml:4:3", "\"modalities\": expected");
    refused("name: a\ntrain: 5\n", "plan.yaml:2:8", "expected a section with keys of its own");
    refused("name: a\naudit:\n  size: 1\ntrain:\n  size: big\n", "plan.yaml:5:9", "\"big\"");
}

static void numbers_are_decimal_and_nothing_but_numbers(void **state)
{
    (void)state;
    static const char *const not_whole[] = {
        "12abc", "0x10", "1.5", "1e3", "1_000", "12 13", "9223372036854775808", "\"5\"", "1,000"
    };
    static const char *const not_real[] = { "0.5x",  ".nan",   "nan", "inf",  "-.inf",
                                            "1e999", "0x1p-2", "0,5", "'0.5'" };
    char document[64];
    for (size_t i = 0; i < sizeof not_whole / sizeof *not_whole; i++) {
        snprintf(document, sizeof document, "name: a\nseed: %s\n", not_whole[i]);
        refused(document, "plan.yaml:2:7", "expected a whole number");
        snprintf(document, sizeof document, "name: a\nshare: %s\n", not_real[i]);
        refused(document, "plan.yaml:2:8", "expected a number");
    }
    struct plan plan = { 0 };
    assert_ok(parse("name: a\nseed: 010\n", &plan), err);
    assert_int_equal(plan.seed, 10); /* not octal */
    assert_ok(parse("name: a\nseed: -9223372036854775808\n", &plan), err);
    assert_true(plan.seed == INT64_MIN);
}

static void a_number_out_of_range_is_told_with_its_line(void **state)
{
    (void)state;
    refused("name: a\nshare: 1.01\n", "plan.yaml:2:8", "\"share\": 1.01 is not between 0 and 1");
    refused("name: a\naudit: {size: 5}\ntrain:\n  size: 0\n", "plan.yaml:4:9",
            "0 is not between 1 and 1024");
    struct plan plan = { 0 };
    assert_ok(parse("name: a\nshare: 1\ntrain: {size: 1024}\n", &plan), err);
}

static void a_missing_required_key_is_named_with_its_section(void **state)
{
    (void)state;
    refused("seed: 1\n", "plan.yaml", "the key \"name\" is missing");
    refused("{}", "plan.yaml", "the key \"name\" is missing");
    refused("name: a\ntrain:\n  optimiser:\n    kind: adam\n", "plan.yaml:3:3",
            "\"optimiser\": the key \"rate\" is missing");
    refused("name: a\ntrain: {optimiser: {}}\n", "plan.yaml:2:9", "\"rate\" is missing");
}

static void a_key_without_a_value_is_refused(void **state)
{
    (void)state;
    static const char *const nothing[] = { "", "~", "null", "# 5" };
    static const char *const keys[] = { "seed", "share", "masks", "plane", "modalities", "train" };
    char document[64];
    for (size_t i = 0; i < sizeof nothing / sizeof *nothing; i++) {
        for (size_t j = 0; j < sizeof keys / sizeof *keys; j++) {
            snprintf(document, sizeof document, "name: a\n%s: %s\n", keys[j], nothing[i]);
            refused(document, "plan.yaml:2:", "found no value");
        }
        snprintf(document, sizeof document, "name: %s\n", nothing[i]);
        refused(document, "plan.yaml:1:", "found no value");
    }
    refused("name: a\nmodalities:\n- t1\n-\n", "plan.yaml:4:2", "list entry has no value");
    struct plan plan = { 0 };
    assert_ok(parse("name: \"\"\n", &plan), err);
    assert_string_equal(plan.name, "");
    assert_ok(parse("name: 'null'\n", &plan), err);
    assert_string_equal(plan.name, "null");
}

static void a_document_that_is_not_keys_and_values_is_refused(void **state)
{
    (void)state;
    refused("", "plan.yaml:1:1", "empty; expected keys and values");
    refused("# only a comment\n", "plan.yaml", "empty; expected keys and values");
    refused("---\n", "plan.yaml", "expected keys and values");
    refused("- a\n- b\n", "plan.yaml:1:1", "expected keys and values");
    refused("name\n", "plan.yaml:1:1", "expected keys and values");
}

static void a_second_document_is_refused_and_not_ignored(void **state)
{
    (void)state;
    refused("name: a\n---\nname: b\n", "plan.yaml:2:1", "second document");
    refused("name: a\n...\n---\n", "plan.yaml:3:1", "second document");
    struct plan plan = { 0 };
    assert_ok(parse("---\nname: a\n...\n", &plan), err);
}

static void syntax_errors_are_told_with_their_line(void **state)
{
    (void)state;
    refused("name: a\ntrain:\n\tsize: 1\n", "plan.yaml:3:1",
            "found character that cannot start any token (a tab: YAML is indented with blanks)");
    refused("# é\nname: a\ntrain:\n\tsize: 1\n", "plan.yaml:4:1", "(a tab: YAML is");
    refused("name: a\nmodalities: [t1\n", "plan.yaml:3:1", "not valid YAML");
    refused("name: \"a\n", "plan.yaml:2:1", "not valid YAML");
    refused("name: a\n seed: 1\n", "plan.yaml:2:6", "not valid YAML");
    refused("name: a\nb: \xff\n", "plan.yaml:2:4", "not valid YAML");
    refused("name: a\nseed: \"\\0\"\n", "plan.yaml:2:7", "zero byte");
}

static void anchors_aliases_and_tags_are_refused(void **state)
{
    (void)state;
    refused("name: &n a\n", "plan.yaml:1:7", "anchors and aliases");
    refused("name: a\ntrain: &t {size: 1}\naudit: *t\n", "plan.yaml:2:8", "anchors and aliases");
    refused("name: *n\n", "plan.yaml:1:7", "anchors and aliases");
    refused("name: a\nmodalities: &m [t1]\n", "plan.yaml:2:13", "anchors and aliases");
    refused("name: a\nseed: !!str 5\n", "plan.yaml:2:7", "tags");
}

static void keys_that_are_not_text_are_refused(void **state)
{
    (void)state;
    refused("name: a\n? [seed]\n: 1\n", "plan.yaml:2:3", "a key has to be text");
    refused("{a: b}: c\n", "plan.yaml:1:1", "a key has to be text");
}

static void hostile_nesting_and_size_are_refused(void **state)
{
    (void)state;
    struct text bomb = { 0 };
    for (int i = 0; i < 100000; i++)
        text_add(&bomb, "{a: ");
    refused(bomb.bytes, "plan.yaml:1:", "nested too deeply");
    text_clear(&bomb);
    text_add(&bomb, "a: ");
    for (int i = 0; i < 100000; i++)
        text_add(&bomb, "[");
    refused(bomb.bytes, "plan.yaml:1:", "nested too deeply");
    text_clear(&bomb);
    for (int i = 0; i < 20000; i++)
        text_format(&bomb, "k%d: 1\n", i);
    refused(bomb.bytes, "plan.yaml:10001:1", "more keys");
    text_clear(&bomb);
    while (bomb.length <= 16 << 20)
        text_add(&bomb, "# sixteen megabytes of comments\n");
    refused(bomb.bytes, "plan.yaml", "at most 16777216 are accepted");
    text_release(&bomb);
}

/* Complaints that carry long texts: the buffers that they pass through are all bounded. */
static void long_keys_and_values_are_cut_not_overrun(void **state)
{
    (void)state;
    struct text document = { 0 };
    text_add(&document, "name: a\nseed: ");
    for (int i = 0; i < 9000; i++)
        text_add(&document, "z");
    refused(document.bytes, "plan.yaml:2:7", "expected a whole number");
    text_clear(&document);
    text_add(&document, "name: a\n? ");
    for (int i = 0; i < 9000; i++)
        text_add(&document, "z");
    text_add(&document, "\n: 1\n");
    refused(document.bytes, "plan.yaml:2:3", "unknown key \"zzz");
    text_release(&document);
}

static void a_file_is_read_and_named_in_errors(void **state)
{
    (void)state;
    char path[] = "/tmp/lethe-yaml-XXXXXX";
    int descriptor = mkstemp(path);
    assert_true(descriptor >= 0);
    assert_int_equal(write(descriptor, "name: a\nsead: 1\n", 16), 16);
    close(descriptor);
    struct plan plan = { 0 };
    assert_false(yaml_load(path, fields, &plan, &arena, &err));
    assert_contains(err.message, path);
    assert_contains(err.message, ":2:1: unknown key \"sead\"; did you mean \"seed\"?");
    unlink(path);
    assert_false(yaml_load(path, fields, &plan, &arena, &err));
    assert_contains(err.message, "No such file");
}

static void a_list_of_sections_is_read_row_by_row(void **state)
{
    (void)state;
    struct plan plan = { 0 };
    static const char document[] = "name: a\n"
                                   "rules:\n"
                                   "  - metric: flagged\n"
                                   "    limit: 0.25\n"
                                   "  - { metric: dice, plane: axial }\n";
    assert_ok(yaml_parse(document, strlen(document), "plan.yaml", fields, &plan, &arena, &err),
              err);
    assert_int_equal(plan.rules.count, 2);
    const struct rule *rules = plan.rules.items;
    assert_string_equal(rules[0].metric, "flagged");
    assert_true(rules[0].limit == 0.25 && rules[0].plane == 2);
    assert_string_equal(rules[1].metric, "dice");
    assert_true(rules[1].limit == 0.5 && rules[1].plane == 0);
    struct text text = { 0 };
    yaml_describe(fields + 8, &plan, &text);
    assert_string_equal(text.bytes, "rules 2\nmetric flagged\nplane sagittal\nlimit 0.25\n"
                                    "metric dice\nplane axial\nlimit 0.5\n");
    text_release(&text);
}

static void sections_are_the_same_where_every_value_is_rows_and_inner_ones_too(void **state)
{
    (void)state;
    struct plan plan = { 0 }, again = { 0 };
    static const char document[] = "name: a\ntrain:\n  size: 8\n  optimiser: { rate: 0.5 }\n"
                                   "rules:\n  - metric: flagged\n    limit: 0.25\n";
    assert_ok(parse(document, &plan) && parse(document, &again), err);
    assert_true(yaml_same(fields, &plan, &again));
    ((struct rule *)again.rules.items)->limit = 0.75;
    assert_false(yaml_same(fields, &plan, &again));
    assert_ok(parse(document, &again), err);
    again.train.optimiser.rate = 0.25;
    assert_false(yaml_same(fields, &plan, &again));
}

static void an_empty_list_of_sections_has_no_rows(void **state)
{
    (void)state;
    struct rule rule;
    struct plan plan = { .rules = { &rule, 1 } };
    assert_ok(yaml_parse("name: a\nrules: []\n", 18, "plan.yaml", fields, &plan, &arena, &err),
              err);
    assert_int_equal(plan.rules.count, 0);
}

static void mistakes_in_a_row_are_told_with_their_place(void **state)
{
    (void)state;
    refused("name: a\nrules:\n  - metric: x\n  - metric: y\n    limmit: 1\n", "plan.yaml:5:5",
            "unknown key \"limmit\"; did you mean \"limit\"?");
    refused("name: a\nrules:\n  - metric: x\n  - limit: 1\n", "plan.yaml:4:5",
            "entry 1 (from 0) of \"rules\": the key \"metric\" is missing");
    refused("name: a\nrules:\n  - metric: x\n  - metric: y\n    limit: 7\n", "plan.yaml:5:12",
            "7 is not between 0 and 1");
    refused("name: a\nrules:\n  - metric: x\n  - metric: y\n    metric: z\n", "plan.yaml:5:5",
            "stands here a second time");
    refused("name: a\nrules:\n  - metric: x\n    plane: top\n", "plan.yaml:4:12",
            "expected one of axial, coronal, sagittal, found \"top\"");
    refused("name: a\nrules:\n  - metric: x\n  - 12\n", "plan.yaml:4:5",
            "\"rules\": expected a list of sections");
    refused("name: a\nrules: 12\n", "plan.yaml:2:8",
            "\"rules\": expected a list of sections, found \"12\"");
    refused("name: a\nrules:\n  metric: x\n", "plan.yaml:3:3",
            "\"rules\": expected a list of sections");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, own_arena_begin, own_arena_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_kind_is_read),
        TEST(what_is_absent_keeps_its_default),
        TEST(an_empty_list_is_empty_and_not_the_default),
        TEST(switches_take_six_words),
        TEST(an_unknown_key_is_told_with_its_line_and_the_nearest_key),
        TEST(an_unknown_key_inside_sections_has_its_own_line),
        TEST(the_second_of_two_like_sections_is_told_apart),
        TEST(a_file_of_an_editor_of_windows_is_read),
        TEST(an_unknown_key_with_odd_text_is_still_found),
        TEST(a_key_given_twice_is_refused_at_its_second_place),
        TEST(a_wrong_type_is_told_with_line_and_expectation),
        TEST(numbers_are_decimal_and_nothing_but_numbers),
        TEST(a_number_out_of_range_is_told_with_its_line),
        TEST(a_missing_required_key_is_named_with_its_section),
        TEST(a_key_without_a_value_is_refused),
        TEST(a_document_that_is_not_keys_and_values_is_refused),
        TEST(a_second_document_is_refused_and_not_ignored),
        TEST(syntax_errors_are_told_with_their_line),
        TEST(anchors_aliases_and_tags_are_refused),
        TEST(keys_that_are_not_text_are_refused),
        TEST(hostile_nesting_and_size_are_refused),
        TEST(long_keys_and_values_are_cut_not_overrun),
        TEST(a_list_of_sections_is_read_row_by_row),
        TEST(sections_are_the_same_where_every_value_is_rows_and_inner_ones_too),
        TEST(an_empty_list_of_sections_has_no_rows),
        TEST(mistakes_in_a_row_are_told_with_their_place),
        TEST(a_file_is_read_and_named_in_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
