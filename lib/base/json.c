/* The whole contact surface with jansson; see json.h. `struct json` is never defined: a pointer
 * to it is jansson's json_t under another name. */
#include "base/json.h"

#include "base/arena.h"
#include "base/file.h"
#include "base/text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

enum { LARGEST_DOCUMENT = 1 << 30, ONE_LINE = -1000 /* a depth that nesting never lifts to 0 */ };

static json_t *inner(const struct json *value)
{
    return (json_t *)(uintptr_t)value;
}

struct json *json_new_object(void)
{
    return (struct json *)json_object();
}

struct json *json_new_array(void)
{
    return (struct json *)json_array();
}

void json_free(struct json *root)
{
    json_decref(inner(root));
}

struct json *json_clone(const struct json *value)
{
    return (struct json *)json_deep_copy(inner(value));
}

/* Each byte that is not part of valid UTF-8 becomes U+FFFD. */
static json_t *string_value(const char *value)
{
    size_t length = strlen(value);
    if (text_is_utf8(value, length))
        return json_stringn_nocheck(value, length);
    struct text mended = { 0 };
    for (const char *at = value; *at;) {
        size_t run = 4;
        while (run && (memchr(at, 0, run) || !text_is_utf8(at, run)))
            run--;
        text_add_bytes(&mended, run ? at : "\xef\xbf\xbd", run ? run : 3);
        at += run ? run : 1;
    }
    json_t *string = json_stringn_nocheck(mended.bytes, mended.length);
    text_release(&mended);
    return string;
}

static json_t *real_value(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

/* Keys are mended as values are: file names become keys, and those may be any bytes. */
static void put(struct json *object, const char *key, json_t *value)
{
    json_t *name = string_value(key);
    CHECK(value && name &&
              json_object_set_new_nocheck(inner(object), json_string_value(name), value) == 0,
          "JSON key \"%s\"", key);
    json_decref(name);
}

static void push(struct json *array, json_t *value)
{
    CHECK(value && json_array_append_new(inner(array), value) == 0, "JSON array element");
}

void json_put(struct json *object, const char *key, struct json *value)
{
    put(object, key, inner(value));
}

void json_put_string(struct json *object, const char *key, const char *value)
{
    put(object, key, string_value(value));
}

void json_put_integer(struct json *object, const char *key, int64_t value)
{
    put(object, key, json_integer(value));
}

void json_put_real(struct json *object, const char *key, double value)
{
    put(object, key, real_value(value));
}

void json_put_bool(struct json *object, const char *key, bool value)
{
    put(object, key, json_boolean(value));
}

void json_put_null(struct json *object, const char *key)
{
    put(object, key, json_null());
}

void json_push(struct json *array, struct json *value)
{
    push(array, inner(value));
}

void json_push_string(struct json *array, const char *value)
{
    push(array, string_value(value));
}

void json_push_integer(struct json *array, int64_t value)
{
    push(array, json_integer(value));
}

void json_push_real(struct json *array, double value)
{
    push(array, real_value(value));
}

/* ---- text ------------------------------------------------------------------------------------ */

/* The shortest decimal that reads back as the same double: 0.15, not 0.14999999999999999. jansson
 * prints a fixed number of digits, so documents are written here; strings are still its own. */
static void add_real(struct text *out, double value)
{
    char digits[32];
    for (int precision = 15; precision <= 17; precision++) {
        snprintf(digits, sizeof digits, "%.*g", precision, value);
        if (strtod(digits, NULL) == value)
            break;
    }
    text_add(out, digits);
    if (!strpbrk(digits, ".e"))
        text_add(out, ".0"); /* so that it stays a real number when read again */
}

static void add_string(struct text *out, const json_t *string)
{
    char *quoted = json_dumps(string, JSON_ENCODE_ANY);
    CHECK(quoted, "a JSON string could not be written");
    text_add(out, quoted);
    free(quoted);
}

static void add_key(struct text *out, const char *key)
{
    json_t *string = json_string_nocheck(key);
    add_string(out, string);
    json_decref(string);
    text_add(out, ": ");
}

/* A new line at this depth; a depth below 0 keeps the document on one line. */
static void add_line(struct text *out, int depth)
{
    if (depth < 0)
        return;
    text_format(out, "\n%*s", 2 * depth, "");
}

static void add_value(struct text *out, json_t *value, int depth);

/* Arrays of numbers stand on one line; all else gets a line an item. */
static void add_array(struct text *out, json_t *array, int depth)
{
    size_t i;
    json_t *item;
    bool flat = true;
    json_array_foreach(array, i, item) flat = flat && json_is_number(item);
    text_add(out, "[");
    json_array_foreach(array, i, item)
    {
        text_add(out, !i ? "" : flat || depth < 0 ? ", " : ",");
        if (!flat)
            add_line(out, depth + 1);
        add_value(out, item, depth + 1);
    }
    if (!flat)
        add_line(out, depth);
    text_add(out, "]");
}

static void add_object(struct text *out, json_t *object, int depth)
{
    const char *key;
    json_t *item;
    bool first = true;
    text_add(out, "{");
    json_object_foreach(object, key, item)
    {
        text_add(out, first ? "" : depth < 0 ? ", " : ",");
        add_line(out, depth + 1);
        add_key(out, key);
        add_value(out, item, depth + 1);
        first = false;
    }
    if (!first)
        add_line(out, depth);
    text_add(out, "}");
}

static void add_value(struct text *out, json_t *value, int depth)
{
    static const char *const words[] = {
        [JSON_TRUE] = "true", [JSON_FALSE] = "false", [JSON_NULL] = "null"
    };
    if (json_is_object(value))
        add_object(out, value, depth);
    else if (json_is_array(value))
        add_array(out, value, depth);
    else if (json_is_string(value))
        add_string(out, value);
    else if (json_is_integer(value))
        text_format(out, "%lld", (long long)json_integer_value(value));
    else if (json_is_real(value))
        add_real(out, json_real_value(value));
    else
        text_add(out, words[json_typeof(value)]);
}

char *json_text(const struct json *root)
{
    struct text out = { 0 };
    add_value(&out, inner(root), 0);
    text_add(&out, "\n");
    return out.bytes;
}

char *json_line(const struct json *root)
{
    struct text out = { 0 };
    add_value(&out, inner(root), ONE_LINE);
    text_add(&out, "\n");
    return out.bytes;
}

static int by_key(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* jansson keeps the order in which keys were put in, so each is taken out and put in again. */
static void sort_object(json_t *object)
{
    size_t count = json_object_size(object), i = 0;
    char **keys = memory_grow(NULL, count + 1, sizeof *keys);
    const char *key;
    json_t *item;
    json_object_foreach(object, key, item)
    {
        keys[i] = memory_grow(NULL, strlen(key) + 1, 1);
        strcpy(keys[i++], key);
        json_sort((struct json *)item);
    }
    qsort(keys, count, sizeof *keys, by_key);
    for (i = 0; i < count; i++) {
        item = json_incref(json_object_get(object, keys[i]));
        json_object_del(object, keys[i]);
        CHECK(json_object_set_new_nocheck(object, keys[i], item) == 0, "JSON key %s", keys[i]);
        memory_free(keys[i]);
    }
    memory_free(keys);
}

void json_sort(struct json *root)
{
    size_t i;
    json_t *item;
    if (json_is_object(inner(root)))
        sort_object(inner(root));
    json_array_foreach(inner(root), i, item) json_sort((struct json *)item);
}

bool json_save(const struct json *root, const char *path, struct error *err)
{
    char *text = json_text(root);
    bool ok = file_write(path, text, strlen(text), err);
    memory_free(text);
    return ok;
}

struct json *json_parse(const char *bytes, size_t size, const char *name, struct error *err)
{
    json_error_t problem;
    json_t *root = json_loadb(bytes, size, JSON_REJECT_DUPLICATES, &problem);
    if (!root)
        error_set(err, "%s:%d:%d: not valid JSON: %s", name, problem.line, problem.column,
                  problem.text);
    return (struct json *)root;
}

struct json *json_load(const char *path, struct error *err)
{
    size_t size;
    char *bytes = file_read(path, LARGEST_DOCUMENT, &size, err);
    if (!bytes)
        return NULL;
    struct json *root = json_parse(bytes, size, path, err);
    memory_free(bytes);
    return root;
}

struct json *json_load_schema(const char *path, const char *schema, struct error *err)
{
    struct json *root = json_load(path, err);
    if (!root)
        return NULL;
    const char *found = json_get_string(root, "schema", err);
    if (found && strcmp(found, schema) == 0)
        return root;
    size_t stem = (size_t)(strrchr(schema, '/') - schema);
    if (found)
        error_set(err, "schema \"%s\", expected \"%s\"%s", found, schema,
                  strncmp(found, schema, stem + 1) == 0
                      ? ": another version of lethe wrote it; make it again with this one"
                      : "");
    error_prefix(err, "%s", path);
    json_free(root);
    return NULL;
}

/* The value of a key, if it is of this type or that one. */
static json_t *either(const struct json *object, const char *key, json_type this, json_type that,
                      const char *type_name, struct error *err)
{
    json_t *value = json_object_get(inner(object), key);
    if (value && (json_typeof(value) == this || json_typeof(value) == that))
        return value;
    error_set(err, value ? "\"%s\" is not %s" : "\"%s\" is missing (expected %s)", key, type_name);
    return NULL;
}

static json_t *typed(const struct json *object, const char *key, json_type type,
                     const char *type_name, struct error *err)
{
    return either(object, key, type, type, type_name, err);
}

const struct json *json_get(const struct json *object, const char *key, struct error *err)
{
    return (struct json *)typed(object, key, JSON_OBJECT, "an object", err);
}

const struct json *json_get_array(const struct json *object, const char *key, struct error *err)
{
    return (struct json *)typed(object, key, JSON_ARRAY, "an array", err);
}

const char *json_get_string(const struct json *object, const char *key, struct error *err)
{
    return json_string_value(typed(object, key, JSON_STRING, "a string", err));
}

bool json_get_integer(const struct json *object, const char *key, int64_t *value, struct error *err)
{
    json_t *found = typed(object, key, JSON_INTEGER, "a whole number", err);
    if (found)
        *value = json_integer_value(found);
    return found;
}

bool json_get_real(const struct json *object, const char *key, double *value, struct error *err)
{
    json_t *found = either(object, key, JSON_REAL, JSON_INTEGER, "a number", err);
    if (found)
        *value = json_number_value(found);
    return found;
}

bool json_get_bool(const struct json *object, const char *key, bool *value, struct error *err)
{
    json_t *found = either(object, key, JSON_TRUE, JSON_FALSE, "true or false", err);
    if (found)
        *value = json_is_true(found);
    return found;
}

bool json_has(const struct json *object, const char *key)
{
    return json_object_get(inner(object), key);
}

const struct json *json_member(const struct json *object, const char *key)
{
    return (struct json *)json_object_get(inner(object), key);
}

bool json_has_null(const struct json *object, const char *key)
{
    return json_is_null(json_object_get(inner(object), key));
}

size_t json_length(const struct json *array)
{
    return json_array_size(inner(array));
}

const struct json *json_at(const struct json *array, size_t index)
{
    return (struct json *)json_array_get(inner(array), index);
}

const char *json_as_string(const struct json *value)
{
    return json_string_value(inner(value));
}

bool json_as_integer(const struct json *value, int64_t *number)
{
    if (!json_is_integer(inner(value)))
        return false;
    *number = json_integer_value(inner(value));
    return true;
}

bool json_as_real(const struct json *value, double *number)
{
    const json_t *found = inner(value);
    if (!json_is_number(found) && !json_is_boolean(found))
        return false;
    *number = json_is_true(found) ? 1 : json_number_value(found);
    return true;
}

bool json_value_is_object(const struct json *value)
{
    return json_is_object(inner(value));
}

bool json_each(const struct json *object,
               bool (*visit)(void *context, const char *key, const struct json *value),
               void *context)
{
    const char *key;
    json_t *value;
    json_object_foreach(inner(object), key, value)
    {
        if (!visit(context, key, (struct json *)value))
            return false;
    }
    return true;
}

const char *json_library_version(void)
{
    return jansson_version_str();
}
