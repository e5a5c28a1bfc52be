/* Strict YAML through libcyaml: a table of fields says what a document may hold.
 *
 *     static const struct yaml_field fields[] = {
 *         { "name", YAML_STRING, offsetof(struct plan, name), .required = true },
 *         { "seed", YAML_INTEGER, offsetof(struct plan, seed), .minimum = 0, .maximum = 1e15 },
 *         { "ingest", YAML_SECTION, offsetof(struct plan, ingest), .section = ingest_fields },
 *         { 0 }
 *     };
 *     struct plan plan = plan_defaults;
 *     if (!yaml_load("plan.yaml", fields, &plan, &arena, err)) …
 *
 * Only the keys that stand in the document are stored, so the caller sets the defaults first. An
 * unknown key (with the valid one that was most likely meant), a wrong type, a key given twice or
 * without a value, a number out of range is an error with file, line and column. So are anchors,
 * aliases, tags, and a second document in the stream. Numbers are decimal and not in quotes.
 * When reading fails some fields of `out` may have been stored.
 */
#ifndef BASE_YAML_H
#define BASE_YAML_H

#include "base/arena.h"

enum yaml_kind {
    YAML_STRING = 1, /* const char *, in the arena */
    YAML_INTEGER,    /* int64_t */
    YAML_REAL,       /* double */
    YAML_BOOL,       /* bool; true, false, yes, no, on, off */
    YAML_CHOICE,     /* int, the index in `choices` */
    YAML_STRINGS,    /* struct yaml_strings, in the arena */
    YAML_SECTION,    /* a struct inside, described by `section` */
    YAML_ROWS,       /* struct yaml_rows: a list of sections, each described by `section` */
};

struct yaml_strings {
    const char **items;
    size_t count;
};

/* A list of sections: `count` structs of the field's row_size, one after the other, in the arena.
 */
struct yaml_rows {
    void *items;
    size_t count;
};

struct yaml_field {
    const char *key; /* NULL ends the table */
    enum yaml_kind kind;
    size_t offset;
    const char *const *choices; /* YAML_CHOICE: NULL-terminated */
    const struct yaml_field *section;
    double minimum, maximum; /* numbers: checked when minimum < maximum */
    bool required;
    const char *metavar, *help; /* for -h and for commented plans */
    size_t row_size;            /* YAML_ROWS: of one struct … */
    const void *row_defaults;   /* … and what it holds before its keys are read; NULL: zeros */
};

/* A field that is called as the member of the struct is where it goes:
 *
 *     #define OPTION(...) YAML_FIELD(struct options, __VA_ARGS__)
 *     OPTION(out, YAML_STRING, .metavar = "FOLDER", .help = "where it goes"),
 */
#define YAML_FIELD(type, member, kind_, ...)                                                       \
    {                                                                                              \
        .key = #member, .kind = kind_, .offset = offsetof(type, member), __VA_ARGS__               \
    }

bool yaml_load(const char *path, const struct yaml_field *fields, void *out, struct arena *arena,
               struct error *err) MUST_USE;
bool yaml_parse(const char *bytes, size_t size, const char *name, const struct yaml_field *fields,
                void *out, struct arena *arena, struct error *err) MUST_USE;

/* Adds a line "key value" for each field of a section, for digests of settings. */
struct text;
void yaml_describe(const struct yaml_field *fields, const void *values, struct text *out);

/* Whether two sections are described by the same lines. */
bool yaml_same(const struct yaml_field *fields, const void *values, const void *others);

/* Adds the fields as YAML that yaml_parse reads to the same values; lists of sections are left out,
 * and strings have neither quotes nor escapes. */
void yaml_write(const struct yaml_field *fields, const void *values, int indent, struct text *out);

/* The version of libcyaml that is loaded. */
const char *yaml_library_version(void);

#endif
