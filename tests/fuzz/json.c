/* json_parse and every accessor; what was read is written, read again and written the same. */
#include "fuzz/fuzz.h"

#include "base/arena.h"
#include "base/json.h"

#include <string.h>

static bool visit(void *context, const char *key, const struct json *value)
{
    const struct json *object = context;
    int64_t integer;
    double real;
    bool boolean;
    struct error err;
    int answers =
        json_get_integer(object, key, &integer, &err) + json_get_bool(object, key, &boolean, &err) +
        (json_get_string(object, key, &err) != NULL) + (json_get_array(object, key, &err) != NULL) +
        (json_get(object, key, &err) != NULL);
    CHECK(answers <= 1, "\"%s\" is of %d types", key, answers);
    CHECK(json_get_real(object, key, &real, &err) || !json_as_integer(value, &integer),
          "a whole number that is not a number");
    for (size_t i = 0; i <= json_length(value); i++)
        CHECK(!json_at(value, i) == (i == json_length(value)), "length of \"%s\"", key);
    return json_has(object, key);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct error err = { "" };
    struct json *root = json_parse((const char *)bytes, size, "x.json", &err);
    if (!root) {
        CHECK(strncmp(err.message, "x.json:", 7) == 0, "no place in: %s", err.message);
        return 0;
    }
    CHECK(json_each(root, visit, root), "a key that is listed but not there");
    char *text = json_text(root);
    struct json *again = json_parse(text, strlen(text), "again", &err);
    CHECK(again, "what was written cannot be read: %s", err.message);
    char *text_again = json_text(again);
    CHECK(strcmp(text, text_again) == 0, "written differently a second time");
    memory_free(text);
    memory_free(text_again);
    json_free(root);
    json_free(again);
    return 0;
}
