/* The whole contact surface with libcyaml; see yaml.h.
 *
 * Our table of fields is turned into libcyaml's schema, in which every field is an optional
 * pointer: so "absent" and "zero" are told apart, and the caller's defaults stay. libcyaml fills a
 * struct of such pointers (one slot a field, two for a list: items and count), from which the
 * values are copied out. Its complaints arrive through the log callback: the first line says what,
 * the backtrace names the fields from the innermost out. Where things stand, and all that libcyaml
 * is too lenient about, comes from yaml_scan's marks.
 */
#include "base/yaml.h"

#include "base/file.h"
#include "base/text.h"
#include "base/yaml_scan.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cyaml/cyaml.h>

enum { LARGEST_DOCUMENT = 1 << 24, SLOT = 8, LONGEST_KEY = 128, MOST_STEPS = 2 * YAML_DEEPEST };
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
        [YAML_STRING] = { CYAML_STRING, 1 },         [YAML_INTEGER] = { CYAML_STRING, 1 },
        [YAML_REAL] = { CYAML_STRING, 1 },           [YAML_BOOL] = { CYAML_ENUM, sizeof(int) },
        [YAML_CHOICE] = { CYAML_ENUM, sizeof(int) }, [YAML_STRINGS] = { CYAML_SEQUENCE, SLOT },
        [YAML_SECTION] = { CYAML_MAPPING, 0 },       [YAML_ROWS] = { CYAML_SEQUENCE, 0 },
    };
    *value = (cyaml_schema_value_t){
        .type = types[field->kind].type,
        .flags = CYAML_FLAG_POINTER | (field->required ? 0 : CYAML_FLAG_OPTIONAL),
        .data_size = types[field->kind].size,
    };
    if (value->type == CYAML_STRING) {
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
    } else if (field->kind == YAML_ROWS) {
        cyaml_schema_value_t *row = arena_new(arena, cyaml_schema_value_t);
        *row = (cyaml_schema_value_t){ .type = CYAML_MAPPING,
                                       .data_size = (uint32_t)slots_size(field->section),
                                       .mapping.fields = make_schema(field->section, arena) };
        value->data_size = row->data_size;
        value->sequence.entry = row;
        value->sequence.max = CYAML_UNLIMITED;
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

/* What is known about a document while it is read. */
struct document {
    const char *name;
    const struct yaml_mark *marks;
    struct arena *arena;
    struct error *err;
};

struct complaint {
    char problem[128];
    /* Innermost first: the field that each mapping is at, "" where it is at none; "#3" for the
     * third entry of a list. */
    char path[MOST_STEPS][LONGEST_KEY];
    size_t depth;
    struct yaml_place at; /* the innermost value; 0 when not told */
};

static void listen(cyaml_log_t level, void *context, const char *format, va_list arguments)
    PRINTF(3, 0);
static void listen(cyaml_log_t level, void *context, const char *format, va_list arguments)
{
    static const char in_field[] = "  in mapping field '", in_mapping[] = "  in mapping (",
                      in_entry[] = "  in sequence entry '";
    struct complaint *complaint = context;
    if (level < CYAML_LOG_ERROR)
        return;
    char line[512];
    vsnprintf(line, sizeof line, format, arguments);
    if (!complaint->problem[0]) {
        snprintf(complaint->problem, sizeof complaint->problem, "%.*s",
                 (int)sizeof complaint->problem - 1, line);
        return;
    }
    const char *place = strstr(line, "(line: ");
    if (place && !complaint->at.line)
        sscanf(place, "(line: %zu, column: %zu)", &complaint->at.line, &complaint->at.column);
    bool named = text_starts_with(line, in_field), entry = text_starts_with(line, in_entry);
    if (complaint->depth >= MOST_STEPS || (!named && !entry && !text_starts_with(line, in_mapping)))
        return;
    const char *word = line + (entry ? sizeof in_entry : sizeof in_field) - 1;
    snprintf(complaint->path[complaint->depth++], LONGEST_KEY, "%s%.*s", entry ? "#" : "",
             named || entry ? (int)strcspn(word, "'") : 0, word);
}

static const struct yaml_field *field_named(const struct yaml_field *fields, const char *key)
{
    for (; fields->key; fields++)
        if (strcmp(fields->key, key) == 0)
            return fields;
    return NULL;
}

/* The section that the complaint is about: its table, and its mark (NULL at the top). */
struct section {
    const struct yaml_field *fields;
    const struct yaml_mark *mark;
};

static struct section section_of(const struct complaint *complaint, const struct yaml_field *fields,
                                 const struct document *document)
{
    struct section section = { fields, NULL };
    for (size_t i = complaint->depth; i-- > 1;) {
        const char *key = complaint->path[i];
        if (*key == '#') { /* libcyaml counts from 1, marks from 0 */
            char number[24];
            snprintf(number, sizeof number, "%lu", strtoul(key + 1, NULL, 10) - 1);
            section.mark = yaml_mark_find(document->marks, section.mark, number);
            continue;
        }
        const struct yaml_field *field = field_named(section.fields, key);
        if (!field || (field->kind != YAML_SECTION && field->kind != YAML_ROWS))
            break;
        section.fields = field->section;
        section.mark = yaml_mark_find(document->marks, section.mark, key);
    }
    return section;
}

static bool fail_at(const struct document *document, struct yaml_place at, const char *format, ...)
    PRINTF(3, 4);
static bool fail_at(const struct document *document, struct yaml_place at, const char *format, ...)
{
    struct text reason = { 0 };
    va_list arguments;
    va_start(arguments, format);
    text_format_list(&reason, format, arguments);
    va_end(arguments);
    error_set(document->err, "%s:%zu:%zu: %s", document->name, at.line, at.column, reason.bytes);
    text_release(&reason);
    return false;
}

static bool report_unknown_key(struct section section, const struct document *document)
{
    const char *keys[256];
    size_t count = 0;
    struct text list = { 0 };
    for (const struct yaml_field *field = section.fields; field->key && count < 256; field++) {
        text_format(&list, "%s%s", list.length ? ", " : "", field->key);
        keys[count++] = field->key;
    }
    const struct yaml_mark *mark = document->marks;
    while (mark && (mark->parent != section.mark || field_named(section.fields, mark->key)))
        mark = mark->next;
    CHECK(mark, "%s: libcyaml found an unknown key that is not there", document->name);
    const char *nearest = text_nearest(mark->key, keys, count);
    if (nearest)
        fail_at(document, mark->key_at, "unknown key \"%s\"; did you mean \"%s\"?", mark->key,
                nearest);
    else
        fail_at(document, mark->key_at, "unknown key \"%s\"; the keys here are: %s", mark->key,
                list.bytes);
    text_release(&list);
    return false;
}

static bool report_second_key(struct section section, const char *key,
                              const struct document *document)
{
    const struct yaml_mark *first = yaml_mark_find(document->marks, section.mark, key),
                           *mark = first ? yaml_mark_find(first->next, section.mark, key) : NULL;
    CHECK(mark, "%s: libcyaml saw the key \"%s\" twice, libyaml did not", document->name, key);
    return fail_at(
        document, mark->key_at,
        "the key \"%s\" stands here a second time; the first is in line %zu, and one of them "
        "has to go",
        key, first->key_at.line);
}

static bool report_missing_key(struct section section, const char *key,
                               const struct document *document)
{
    if (!section.mark)
        return error_set(document->err, "%s: the key \"%s\" is missing", document->name, key);
    const struct yaml_mark *list = section.mark->parent;
    if (list && list->value == YAML_IS_LIST)
        return fail_at(document, section.mark->key_at,
                       "entry %s (from 0) of \"%s\": the key \"%s\" is missing in it",
                       section.mark->key, list->key, key);
    return fail_at(document, section.mark->key_at, "\"%s\": the key \"%s\" is missing in it",
                   section.mark->key, key);
}

static void add_expectation(const struct yaml_field *field, struct text *text)
{
    static const char *const words[] = {
        [YAML_STRING] = "text",
        [YAML_INTEGER] = "a whole number",
        [YAML_REAL] = "a number",
        [YAML_BOOL] = "true or false",
        [YAML_CHOICE] = "one of",
        [YAML_STRINGS] = "a list of texts",
        [YAML_SECTION] = "a section with keys of its own",
        [YAML_ROWS] = "a list of sections",
    };
    text_add(text, words[field->kind]);
    for (size_t i = 0; field->kind == YAML_CHOICE && field->choices[i]; i++)
        text_format(text, "%s %s", i ? "," : "", field->choices[i]);
}

static bool is_list(const struct yaml_field *field)
{
    return field->kind == YAML_STRINGS || field->kind == YAML_ROWS;
}

/* `at` may be an entry of the value rather than the value itself. */
static bool report_type(const struct yaml_field *field, const struct yaml_mark *mark,
                        struct yaml_place at, const struct document *document)
{
    static const char *const found[] = {
        [YAML_IS_LIST] = "a list", [YAML_IS_SECTION] = "a section"
    };
    struct text text = { 0 };
    text_format(&text, "\"%s\": expected ", field->key);
    add_expectation(field, &text);
    if (mark->value != YAML_IS_SCALAR)
        text_format(&text, is_list(field) ? "%s" : ", found %s",
                    is_list(field) ? "" : found[mark->value]);
    else if (yaml_is_null(mark->scalar, mark->quoted))
        text_add(&text, ", found no value; to keep the default, remove the key");
    else
        text_format(&text, ", found \"%.60s\"%s", mark->scalar, mark->quoted ? " in quotes" : "");
    fail_at(document, at, "%s", text.bytes);
    text_release(&text);
    return false;
}

static bool report(struct complaint *complaint, cyaml_err_t code, const struct yaml_field *fields,
                   const struct document *document)
{
    static const char unknown[] = "Load: Unexpected key: ",
                      twice[] = "Load: Mapping field already seen: ",
                      missing[] = "Load: Missing required mapping field: ";
    char *problem = complaint->problem;
    if (complaint->depth && complaint->path[0][0] == '#') /* an entry of the wrong type */
        memmove(complaint->path[0], complaint->path[1],
                --complaint->depth * sizeof complaint->path[0]);
    struct section section = section_of(complaint, fields, document);
    if (text_starts_with(problem, unknown))
        return report_unknown_key(section, document);
    problem[strcspn(problem, "\n")] = '\0';
    if (text_starts_with(problem, twice))
        return report_second_key(section, problem + sizeof twice - 1, document);
    if (text_starts_with(problem, missing))
        return report_missing_key(section, problem + sizeof missing - 1, document);
    const char *key = complaint->depth ? complaint->path[0] : "";
    const struct yaml_field *field = field_named(section.fields, key);
    const struct yaml_mark *mark = yaml_mark_find(document->marks, section.mark, key);
    if (field && mark)
        return report_type(field, mark, complaint->at, document);
    return error_set(document->err, "%s: %s", document->name,
                     *problem ? problem : cyaml_strerror(code));
}

/* ---- copying out --------------------------------------------------------------------------- */

static bool copy_fields(const struct yaml_field *fields, void *const *slots,
                        const struct yaml_mark *parent, char *out, const struct document *document);

static bool in_range(const struct yaml_field *field, double value, const struct yaml_mark *mark,
                     const struct document *document)
{
    if (field->minimum >= field->maximum || (value >= field->minimum && value <= field->maximum))
        return true;
    return fail_at(document, mark->value_at, "\"%s\": %.15g is not between %.15g and %.15g",
                   field->key, value, field->minimum, field->maximum);
}

/* Numbers come as text: libcyaml would take "12abc" for 12, "010" for 8 and "nan" for a number. */
static bool copy_integer(const struct yaml_field *field, const char *value,
                         const struct yaml_mark *mark, char *out, const struct document *document)
{
    int64_t number;
    if (mark->quoted || !text_to_integer(value, &number))
        return report_type(field, mark, mark->value_at, document);
    memcpy(out, &number, sizeof number);
    return in_range(field, (double)number, mark, document);
}

static bool copy_real(const struct yaml_field *field, const char *value,
                      const struct yaml_mark *mark, char *out, const struct document *document)
{
    double number;
    if (mark->quoted || !text_to_real(value, &number))
        return report_type(field, mark, mark->value_at, document);
    memcpy(out, &number, sizeof number);
    return in_range(field, number, mark, document);
}

static void copy_list(void *const *slot, struct yaml_strings *list, struct arena *arena)
{
    list->count = (size_t)(uintptr_t)slot[1];
    list->items = arena_array(arena, const char *, list->count);
    for (size_t i = 0; i < list->count; i++)
        list->items[i] = arena_string(arena, ((char *const *)slot[0])[i]);
}

static bool copy_rows(const struct yaml_field *field, void *const *slot,
                      const struct yaml_mark *list, struct yaml_rows *rows,
                      const struct document *document)
{
    rows->count = (size_t)(uintptr_t)slot[1];
    char *items = arena_allocate_array(document->arena, rows->count, field->row_size);
    rows->items = items;
    for (size_t i = 0; i < rows->count; i++) {
        char number[24], *row = items + i * field->row_size;
        snprintf(number, sizeof number, "%zu", i);
        if (field->row_defaults)
            memcpy(row, field->row_defaults, field->row_size);
        if (!copy_fields(field->section,
                         (void *const *)((char *)slot[0] + i * slots_size(field->section)),
                         yaml_mark_find(document->marks, list, number), row, document))
            return false;
    }
    return true;
}

static bool copy_field(const struct yaml_field *field, void *const *slot,
                       const struct yaml_mark *mark, char *out, const struct document *document)
{
    const void *value = slot[0];
    switch (field->kind) {
    case YAML_STRING:
        if (yaml_is_null(mark->scalar, mark->quoted))
            return report_type(field, mark, mark->value_at, document);
        *(const char **)out = arena_string(document->arena, value);
        return true;
    case YAML_INTEGER:
        return copy_integer(field, value, mark, out, document);
    case YAML_REAL:
        return copy_real(field, value, mark, out, document);
    case YAML_BOOL:
        if (mark->quoted)
            return report_type(field, mark, mark->value_at, document);
        *(bool *)out = *(const int *)value;
        return true;
    case YAML_CHOICE:
        memcpy(out, value, sizeof(int));
        return true;
    case YAML_STRINGS:
        copy_list(slot, (struct yaml_strings *)out, document->arena);
        return true;
    case YAML_SECTION:
        return copy_fields(field->section, value, mark, out, document);
    case YAML_ROWS:
        return copy_rows(field, slot, mark, (struct yaml_rows *)out, document);
    }
    BUG("a YAML field of kind %d", (int)field->kind);
}

/* Whether a key stands in the document is the mark's to say: an empty list leaves its slot NULL. */
static bool copy_fields(const struct yaml_field *fields, void *const *slots,
                        const struct yaml_mark *parent, char *out, const struct document *document)
{
    for (size_t i = 0; fields[i].key; i++) {
        const struct yaml_mark *mark = yaml_mark_find(document->marks, parent, fields[i].key);
        if (mark && !copy_field(&fields[i], &slots[2 * i], mark, out + fields[i].offset, document))
            return false;
    }
    return true;
}

bool yaml_parse(const char *bytes, size_t size, const char *name, const struct yaml_field *fields,
                void *out, struct arena *arena, struct error *err)
{
    if (size > LARGEST_DOCUMENT)
        return error_set(err, "%s: %zu bytes; at most %d are accepted here", name, size,
                         (int)LARGEST_DOCUMENT);
    static const char byte_order_mark[] = "\xEF\xBB\xBF"; /* editors of Windows begin files so */
    struct yaml_mark *marks;
    if (size >= 3 && memcmp(bytes, byte_order_mark, 3) == 0) {
        bytes += 3;
        size -= 3;
    }
    if (!yaml_scan(bytes, size, name, arena, &marks, err))
        return false;
    const struct document document = { name, marks, arena, err };
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
        return report(&complaint, code, fields, &document);
    bool ok = copy_fields(fields, slots, NULL, out, &document);
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
        const struct yaml_rows *rows = value;
        if (field->kind == YAML_ROWS)
            text_format(out, " %zu", rows->count);
        text_add(out, "\n");
        if (field->kind == YAML_SECTION)
            yaml_describe(field->section, value, out);
        for (size_t i = 0; field->kind == YAML_ROWS && i < rows->count; i++)
            yaml_describe(field->section, (const char *)rows->items + i * field->row_size, out);
    }
}

bool yaml_same(const struct yaml_field *fields, const void *values, const void *others)
{
    struct text text = { 0 }, other = { 0 };
    yaml_describe(fields, values, &text);
    yaml_describe(fields, others, &other);
    bool same = strcmp(text.bytes, other.bytes) == 0;
    text_release(&text);
    text_release(&other);
    return same;
}

/* ---- writing --------------------------------------------------------------------------------- */

static void add_list(const struct yaml_strings *list, struct text *out)
{
    text_add(out, " [");
    for (size_t i = 0; i < list->count; i++)
        text_format(out, "%s\"%s\"", i ? ", " : "", list->items[i]);
    text_add(out, "]");
}

/* With as few digits as read back exactly. */
static void add_real(double value, struct text *out)
{
    char digits[32];
    double back;
    snprintf(digits, sizeof digits, "%.15g", value);
    if (!text_to_real(digits, &back) || back != value)
        snprintf(digits, sizeof digits, "%.17g", value);
    text_format(out, " %s", digits);
}

static void add_value(const struct yaml_field *field, const void *value, int indent,
                      struct text *out)
{
    if (field->kind == YAML_INTEGER)
        text_format(out, " %lld", (long long)*(const int64_t *)value);
    else if (field->kind == YAML_REAL)
        add_real(*(const double *)value, out);
    else if (field->kind == YAML_BOOL)
        text_format(out, " %s", *(const bool *)value ? "true" : "false");
    else if (field->kind == YAML_CHOICE)
        text_format(out, " %s", field->choices[*(const int *)value]);
    else if (field->kind == YAML_STRING)
        text_format(out, " \"%s\"", *(const char *const *)value);
    else if (field->kind == YAML_STRINGS)
        add_list(value, out);
    else if (field->kind == YAML_SECTION) {
        text_add(out, "\n");
        yaml_write(field->section, value, indent + 2, out);
        return;
    } else
        BUG("setting %s of kind %d", field->key, (int)field->kind);
    text_add(out, "\n");
}

void yaml_write(const struct yaml_field *fields, const void *values, int indent, struct text *out)
{
    for (const struct yaml_field *field = fields; field->key; field++) {
        if (field->kind == YAML_ROWS)
            continue;
        text_format(out, "%*s%s:", indent, "", field->key);
        add_value(field, (const char *)values + field->offset, indent, out);
    }
}

const char *yaml_library_version(void)
{
    return cyaml_version_str;
}
