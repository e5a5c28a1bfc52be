/* The whole contact surface with libcyaml; see yaml.h.
 *
 * Our table of fields is turned into libcyaml's schema, in which every field is an optional
 * pointer: so "absent" and "zero" are told apart, and the caller's defaults stay. libcyaml fills a
 * struct of such pointers (one slot a field, two for a list: items and count), from which the
 * values are copied out. Its complaints arrive through the log callback: the first line says what,
 * the backtrace names the fields from the innermost out, with the line of the last value read.
 */
#include "base/yaml.h"

#include "base/file.h"
#include "base/text.h"

#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cyaml/cyaml.h>

enum { LARGEST_DOCUMENT = 1 << 24, SLOT = 8, DEEPEST = 8, LONGEST_KEY = 128 };
_Static_assert(sizeof(void *) == SLOT, "slots hold pointers");

/* ---- schema -------------------------------------------------------------------------------- */

static const cyaml_strval_t switch_words[] = { { "false", 0 }, { "true", 1 }, { "no", 0 },
                                               { "yes", 1 },   { "off", 0 },  { "on", 1 } };
static const cyaml_schema_value_t string_entry = { .type = CYAML_STRING,
                                                   .flags = CYAML_FLAG_POINTER,
                                                   .data_size = 1,
                                                   .string = { 0, CYAML_UNLIMITED } };

static size_t field_count(const struct yaml_field *fields)
{
    size_t count = 0;
    while (fields[count].key)
        count++;
    return count;
}

static size_t choice_count(const char *const *choices)
{
    size_t count = 0;
    while (choices[count])
        count++;
    return count;
}

/* Two slots a field: the pointer, and for lists the count. */
static size_t slots_size(const struct yaml_field *fields)
{
    return 2 * SLOT * field_count(fields);
}

static cyaml_schema_field_t *make_schema(const struct yaml_field *fields, struct arena *arena);

static void set_choice(cyaml_schema_value_t *value, const char *const *choices, struct arena *arena)
{
    size_t count = choice_count(choices);
    cyaml_strval_t *words = arena_array(arena, cyaml_strval_t, count);
    for (size_t i = 0; i < count; i++)
        words[i] = (cyaml_strval_t){ choices[i], (int64_t)i };
    value->enumeration.strings = words;
    value->enumeration.count = (uint32_t)count;
}

static void set_value(cyaml_schema_value_t *value, const struct yaml_field *field,
                      struct arena *arena)
{
    static const struct {
        cyaml_type_e type;
        uint32_t size;
    } types[] = {
        [YAML_STRING] = { CYAML_STRING, 1 },
        [YAML_INTEGER] = { CYAML_INT, sizeof(int64_t) },
        [YAML_REAL] = { CYAML_FLOAT, sizeof(double) },
        [YAML_BOOL] = { CYAML_ENUM, sizeof(int) },
        [YAML_CHOICE] = { CYAML_ENUM, sizeof(int) },
        [YAML_STRINGS] = { CYAML_SEQUENCE, SLOT },
        [YAML_SECTION] = { CYAML_MAPPING, 0 },
    };
    *value = (cyaml_schema_value_t){
        .type = types[field->kind].type,
        .flags = CYAML_FLAG_POINTER | (field->required ? 0 : CYAML_FLAG_OPTIONAL),
        .data_size = types[field->kind].size,
    };
    if (field->kind == YAML_STRING) {
        value->string.max = CYAML_UNLIMITED;
    } else if (field->kind == YAML_BOOL) {
        value->flags |= CYAML_FLAG_STRICT;
        value->enumeration.strings = switch_words;
        value->enumeration.count = sizeof switch_words / sizeof *switch_words;
    } else if (field->kind == YAML_CHOICE) {
        value->flags |= CYAML_FLAG_STRICT;
        set_choice(value, field->choices, arena);
    } else if (field->kind == YAML_STRINGS) {
        value->sequence.entry = &string_entry;
        value->sequence.max = CYAML_UNLIMITED;
    } else if (field->kind == YAML_SECTION) {
        value->data_size = (uint32_t)slots_size(field->section);
        value->mapping.fields = make_schema(field->section, arena);
    }
}

static cyaml_schema_field_t *make_schema(const struct yaml_field *fields, struct arena *arena)
{
    size_t count = field_count(fields);
    cyaml_schema_field_t *schema = arena_array(arena, cyaml_schema_field_t, count + 1);
    for (size_t i = 0; i < count; i++) {
        schema[i].key = fields[i].key;
        schema[i].data_offset = (uint32_t)(2 * SLOT * i);
        schema[i].count_offset = (uint32_t)(2 * SLOT * i + SLOT);
        schema[i].count_size = SLOT;
        set_value(&schema[i].value, &fields[i], arena);
    }
    return schema;
}

/* ---- what libcyaml says -------------------------------------------------------------------- */

struct complaint {
    char problem[512];
    char path[DEEPEST][LONGEST_KEY]; /* innermost field first */
    size_t depth;
    size_t line; /* of the last value read; 0 when not told */
};

static void listen(cyaml_log_t level, void *context, const char *format, va_list arguments)
{
    struct complaint *complaint = context;
    if (level < CYAML_LOG_ERROR)
        return;
    char line[512];
    vsnprintf(line, sizeof line, format, arguments);
    line[strcspn(line, "\n")] = '\0';
    const char *field = strstr(line, "in mapping field '");
    const char *number = strstr(line, "(line: ");
    if (!complaint->problem[0]) {
        snprintf(complaint->problem, sizeof complaint->problem, "%s",
                 text_starts_with(line, "Load: ") ? line + 6 : line);
    } else if (number) {
        if (!complaint->line)
            complaint->line = strtoul(number + 7, NULL, 10);
        if (field && complaint->depth < DEEPEST) {
            field += strlen("in mapping field '");
            snprintf(complaint->path[complaint->depth++], LONGEST_KEY, "%.*s",
                     (int)strcspn(field, "'"), field);
        }
    }
}

/* The table of the section that the complaint is about; `skip` innermost names are not sections. */
static const struct yaml_field *section_of(const struct complaint *complaint,
                                           const struct yaml_field *fields)
{
    for (size_t i = complaint->depth; i-- > 0;)
        for (const struct yaml_field *field = fields; field->key; field++)
            if (field->kind == YAML_SECTION && strcmp(field->key, complaint->path[i]) == 0) {
                fields = field->section;
                break;
            }
    return fields;
}

/* The field that the innermost name stands for, or NULL. */
static const struct yaml_field *field_of(const struct complaint *complaint,
                                         const struct yaml_field *fields)
{
    const struct yaml_field *section = section_of(complaint, fields);
    for (const struct yaml_field *field = section; complaint->depth && field->key; field++)
        if (strcmp(field->key, complaint->path[0]) == 0)
            return field;
    return NULL;
}

/* The first line from `line` on that begins with this key; `line` itself when there is none (a
 * flow mapping). libcyaml tells the line of the value before. */
static size_t line_of_key(const char *document, size_t size, const char *key, size_t line)
{
    size_t number = 1, length = strlen(key);
    for (const char *at = document, *end = document + size; at < end; number++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        const char *first = at;
        stop = stop ? stop : end;
        while (first < stop && (*first == ' ' || *first == '-'))
            first++;
        if (number >= line && (size_t)(stop - first) > length && !strncmp(first, key, length) &&
            first[length] == ':')
            return number;
        at = stop + 1;
    }
    return line ? line : 1;
}

static void list_keys(struct text *list, const struct yaml_field *fields)
{
    for (const struct yaml_field *field = fields; field->key; field++)
        text_format(list, "%s%s", list->length ? ", " : "", field->key);
}

static bool report_unknown_key(const struct complaint *complaint, const char *key,
                               const struct yaml_field *fields, const char *name, size_t line,
                               struct error *err)
{
    const struct yaml_field *section = section_of(complaint, fields);
    const char *keys[256];
    size_t count = 0;
    for (const struct yaml_field *field = section; field->key && count < 256; field++)
        keys[count++] = field->key;
    const char *nearest = text_nearest(key, keys, count);
    struct text list = { 0 };
    list_keys(&list, section);
    if (nearest)
        error_set(err, "%s:%zu: unknown key \"%s\"; did you mean \"%s\"?", name, line, key,
                  nearest);
    else
        error_set(err, "%s:%zu: unknown key \"%s\"; the keys here are: %s", name, line, key,
                  list.bytes);
    text_release(&list);
    return false;
}

static const char *expectation(const struct yaml_field *field, struct text *text)
{
    static const char *const words[] = {
        [YAML_STRING] = "text",
        [YAML_INTEGER] = "a whole number",
        [YAML_REAL] = "a number",
        [YAML_BOOL] = "true or false",
        [YAML_CHOICE] = "one of",
        [YAML_STRINGS] = "a list",
        [YAML_SECTION] = "a section with keys of its own",
    };
    text_add(text, words[field->kind]);
    for (size_t i = 0; field->kind == YAML_CHOICE && field->choices[i]; i++)
        text_format(text, "%s %s", i ? "," : "", field->choices[i]);
    return text->bytes;
}

static bool report(const struct complaint *complaint, const struct yaml_field *fields,
                   const char *document, size_t size, const char *name, struct error *err)
{
    static const char unknown[] = "Unexpected key: ", twice[] = "Mapping field already seen: ",
                      missing[] = "Missing required mapping field: ", syntax[] = "libyaml: ";
    const char *problem = complaint->problem;
    if (text_starts_with(problem, unknown)) {
        const char *key = problem + sizeof unknown - 1;
        return report_unknown_key(complaint, key, fields, name,
                                  line_of_key(document, size, key, complaint->line), err);
    }
    if (text_starts_with(problem, twice)) {
        const char *key = problem + sizeof twice - 1;
        return error_set(err, "%s:%zu: the key \"%s\" stands here a second time", name,
                         line_of_key(document, size, key, complaint->line + 1), key);
    }
    if (text_starts_with(problem, missing))
        return error_set(err, "%s: the key \"%s\" is missing", name, problem + sizeof missing - 1);
    if (text_starts_with(problem, syntax))
        return error_set(err, "%s: not valid YAML near line %zu: %s", name,
                         complaint->line ? complaint->line : 1, problem + sizeof syntax - 1);
    const struct yaml_field *field = field_of(complaint, fields);
    if (!field)
        return error_set(err, "%s: %s (line %zu); expected keys and values", name, problem,
                         complaint->line ? complaint->line : 1);
    struct text text = { 0 };
    error_set(err, "%s:%zu: \"%s\": expected %s (%s)", name, complaint->line, field->key,
              expectation(field, &text), problem);
    text_release(&text);
    return false;
}

/* ---- copying out --------------------------------------------------------------------------- */

static bool copy_fields(const struct yaml_field *fields, void *const *slots, char *out,
                        const char *name, struct arena *arena, struct error *err);

static bool in_range(const struct yaml_field *field, double value, const char *name,
                     struct error *err)
{
    if (isfinite(value) &&
        (field->minimum >= field->maximum || (value >= field->minimum && value <= field->maximum)))
        return true;
    return error_set(err, "%s: \"%s\": %.15g is not between %.15g and %.15g", name, field->key,
                     value, field->minimum, field->maximum);
}

static bool copy_field(const struct yaml_field *field, void *const *slot, char *out,
                       const char *name, struct arena *arena, struct error *err)
{
    const void *value = slot[0];
    switch (field->kind) {
    case YAML_STRING:
        *(const char **)out = arena_string(arena, value);
        return true;
    case YAML_INTEGER:
        memcpy(out, value, sizeof(int64_t));
        return in_range(field, (double)*(const int64_t *)value, name, err);
    case YAML_REAL:
        memcpy(out, value, sizeof(double));
        return in_range(field, *(const double *)value, name, err);
    case YAML_BOOL:
        *(bool *)out = *(const int *)value;
        return true;
    case YAML_CHOICE:
        memcpy(out, value, sizeof(int));
        return true;
    case YAML_STRINGS: {
        struct yaml_strings *list = (struct yaml_strings *)out;
        list->count = (size_t)(uintptr_t)slot[1];
        list->items = arena_array(arena, const char *, list->count);
        for (size_t i = 0; i < list->count; i++)
            list->items[i] = arena_string(arena, ((char *const *)value)[i]);
        return true;
    }
    case YAML_SECTION:
        return copy_fields(field->section, value, out, name, arena, err);
    }
    BUG("a YAML field of kind %d", (int)field->kind);
}

static bool copy_fields(const struct yaml_field *fields, void *const *slots, char *out,
                        const char *name, struct arena *arena, struct error *err)
{
    for (size_t i = 0; fields[i].key; i++)
        if (slots[2 * i] &&
            !copy_field(&fields[i], &slots[2 * i], out + fields[i].offset, name, arena, err))
            return false;
    return true;
}

bool yaml_parse(const char *bytes, size_t size, const char *name, const struct yaml_field *fields,
                void *out, struct arena *arena, struct error *err)
{
    struct complaint complaint = { 0 };
    cyaml_config_t config = { .log_fn = listen,
                              .log_ctx = &complaint,
                              .mem_fn = cyaml_mem,
                              .log_level = CYAML_LOG_ERROR,
                              .flags = CYAML_CFG_NO_ALIAS };
    cyaml_schema_value_t schema = { .type = CYAML_MAPPING,
                                    .flags = CYAML_FLAG_POINTER,
                                    .data_size = (uint32_t)slots_size(fields),
                                    .mapping.fields = make_schema(fields, arena) };
    cyaml_data_t *slots = NULL;
    cyaml_err_t code =
        cyaml_load_data((const uint8_t *)bytes, size, &config, &schema, &slots, NULL);
    if (code != CYAML_OK)
        return report(&complaint, fields, bytes, size, name, err);
    if (!slots)
        return error_set(err, "%s: empty; expected keys and values", name);
    bool ok = copy_fields(fields, slots, out, name, arena, err);
    cyaml_free(&config, &schema, slots, 0);
    return ok;
}

bool yaml_load(const char *path, const struct yaml_field *fields, void *out, struct arena *arena,
               struct error *err)
{
    size_t size;
    char *bytes = file_read(path, LARGEST_DOCUMENT, &size, err);
    if (!bytes)
        return false;
    bool ok = yaml_parse(bytes, size, path, fields, out, arena, err);
    memory_free(bytes);
    return ok;
}

void yaml_describe(const struct yaml_field *fields, const void *values, struct text *out)
{
    for (const struct yaml_field *field = fields; field->key; field++) {
        const void *value = (const char *)values + field->offset;
        const struct yaml_strings *list = value;
        text_add(out, field->key);
        if (field->kind == YAML_STRING)
            text_format(out, " %s", *(const char *const *)value ? *(const char *const *)value : "");
        else if (field->kind == YAML_INTEGER)
            text_format(out, " %lld", (long long)*(const int64_t *)value);
        else if (field->kind == YAML_REAL)
            text_format(out, " %.17g", *(const double *)value);
        else if (field->kind == YAML_BOOL)
            text_add(out, *(const bool *)value ? " true" : " false");
        else if (field->kind == YAML_CHOICE)
            text_format(out, " %s", field->choices[*(const int *)value]);
        for (size_t i = 0; field->kind == YAML_STRINGS && i < list->count; i++)
            text_format(out, " %s", list->items[i]);
        text_add(out, "\n");
        if (field->kind == YAML_SECTION)
            yaml_describe(field->section, value, out);
    }
}
