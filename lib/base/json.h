/* JSON documents, through jansson.
 *
 * Writing: values are put into objects and pushed onto arrays, which own them from then on; keys
 * keep the order they were put in; reals are written with the fewest digits that read back
 * exactly; text that is not UTF-8 gets U+FFFD in place of the bytes that are wrong.
 *
 *     struct json *root = json_new_object();
 *     json_put_string(root, "schema", "lethe/dataset/1");
 *     json_put_real(root, "seconds", 1.5);
 *     ok = json_save(root, "dataset.json", err);
 *     json_free(root);
 *
 * Reading: json_load refuses duplicate keys and trailing bytes; json_get_* say which key is
 * missing or of the wrong type.
 */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include "base/error.h"

#include <stdint.h>

struct json; /* a value: object, array, string, number, … */

struct json *json_new_object(void) MUST_USE;
struct json *json_new_array(void) MUST_USE;
void json_free(struct json *root); /* NULL is fine */
/* All of it, with what it holds; NULL of NULL. */
struct json *json_clone(const struct json *value) MUST_USE;

void json_put(struct json *object, const char *key, struct json *value);
void json_put_string(struct json *object, const char *key, const char *value);
void json_put_integer(struct json *object, const char *key, int64_t value);
void json_put_real(struct json *object, const char *key, double value); /* NaN, infinity: null */
void json_put_bool(struct json *object, const char *key, bool value);
void json_put_null(struct json *object, const char *key);

void json_push(struct json *array, struct json *value);
void json_push_string(struct json *array, const char *value);
void json_push_integer(struct json *array, int64_t value);
void json_push_real(struct json *array, double value);

/* The document as text, ending in a newline; free with memory_free. */
char *json_text(const struct json *root) MUST_USE;
/* The same on one line, for JSON lines. */
char *json_line(const struct json *root) MUST_USE;
/* Puts the keys of every object, at any depth, into byte order. */
void json_sort(struct json *root);
bool json_save(const struct json *root, const char *path, struct error *err) MUST_USE;

struct json *json_load(const char *path, struct error *err) MUST_USE;
/* `name` stands for the source in messages. */
struct json *json_parse(const char *bytes, size_t size, const char *name,
                        struct error *err) MUST_USE;

/* Borrowed from the object. NULL or false with a message when the key is missing or differs in
 * type. */
const struct json *json_get(const struct json *object, const char *key, struct error *err);
const struct json *json_get_array(const struct json *object, const char *key, struct error *err);
const char *json_get_string(const struct json *object, const char *key, struct error *err);
bool json_get_integer(const struct json *object, const char *key, int64_t *value,
                      struct error *err);
bool json_get_real(const struct json *object, const char *key, double *value, struct error *err);
bool json_get_bool(const struct json *object, const char *key, bool *value, struct error *err);
bool json_has(const struct json *object, const char *key);
/* Whether the key is there and stands for nothing. */
bool json_has_null(const struct json *object, const char *key);
/* The value of any type; NULL when there is none or `object` is no object. */
const struct json *json_member(const struct json *object, const char *key);

size_t json_length(const struct json *array);
const struct json *json_at(const struct json *array, size_t index);
/* The string or number itself; NULL or false when it is of another type: then `number` stays. */
const char *json_as_string(const struct json *value);
bool json_as_integer(const struct json *value, int64_t *number);
/* A number, or a truth value as 1 or 0. */
bool json_as_real(const struct json *value, double *number);
bool json_value_is_object(const struct json *value);

/* Calls visit for every key of an object, in order; stops and returns false when it does. */
bool json_each(const struct json *object,
               bool (*visit)(void *context, const char *key, const struct json *value),
               void *context);

/* Reads the document and checks that its "schema" key says `schema`. */
struct json *json_load_schema(const char *path, const char *schema, struct error *err) MUST_USE;

/* The version of jansson that is loaded. */
const char *json_library_version(void);

#endif
