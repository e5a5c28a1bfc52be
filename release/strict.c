/* See strict.h. */
#include "release/strict.h"

#include <string.h>

struct search {
    const char *const *keys;
    const char *unknown;
};

static bool is_known(void *context, const char *key, const struct json *value)
{
    (void)value;
    struct search *search = context;
    for (const char *const *known = search->keys; *known; known++)
        if (strcmp(*known, key) == 0)
            return true;
    search->unknown = key;
    return false;
}

bool strict_keys(const struct json *object, const char *const *keys, struct error *err)
{
    struct search search = { .keys = keys };
    if (!json_value_is_object(object))
        return error_set(err, "an object is expected, with \"%s\"", keys[0]);
    return json_each(object, is_known, &search) ||
           error_set(err, "\"%s\" is not a key that is known here", search.unknown);
}
