/* yaml_parse with a schema that has each kind of field: every document is either refused with a
 * message or read within its schema. */
#include "fuzz/fuzz.h"

#include "base/text.h"
#include "base/yaml.h"

#include <string.h>

struct stage {
    int64_t size;
    double rate;
    struct yaml_strings words;
};

struct plan {
    const char *name;
    bool masks;
    int plane;
    struct stage train, audit;
};

static const char *const planes[] = { "axial", "coronal", NULL };
static const struct yaml_field stage_fields[] = {
    { "size", YAML_INTEGER, offsetof(struct stage, size), .minimum = 1, .maximum = 99 },
    { "rate", YAML_REAL, offsetof(struct stage, rate), .required = true },
    { "words", YAML_STRINGS, offsetof(struct stage, words) },
    { 0 },
};
static const struct yaml_field fields[] = {
    { "name", YAML_STRING, offsetof(struct plan, name), .required = true },
    { "masks", YAML_BOOL, offsetof(struct plan, masks) },
    { "plane", YAML_CHOICE, offsetof(struct plan, plane), .choices = planes },
    { "train", YAML_SECTION, offsetof(struct plan, train), .section = stage_fields },
    { "audit", YAML_SECTION, offsetof(struct plan, audit), .section = stage_fields },
    { 0 },
};

static void check(const struct plan *plan)
{
    CHECK(plan->name, "a required key is missing");
    CHECK(plan->plane == 0 || plan->plane == 1, "choice %d", plan->plane);
    CHECK(plan->train.size >= 1 && plan->train.size <= 99, "size out of range");
    for (size_t i = 0; i < plan->train.words.count; i++)
        CHECK(text_is_utf8(plan->train.words.items[i], strlen(plan->train.words.items[i])),
              "text that is not UTF-8");
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct plan plan = { .train.size = 1, .audit.size = 1 };
    struct arena arena;
    struct error err = { "" };
    arena_init(&arena);
    if (yaml_parse((const char *)bytes, size, "plan.yaml", fields, &plan, &arena, &err))
        check(&plan);
    else
        CHECK(text_starts_with(err.message, "plan.yaml:"), "no place in: %s", err.message);
    arena_release(&arena);
    return 0;
}
