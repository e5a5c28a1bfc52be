/* Reading JSON that strangers wrote: only keys that are known. */
#ifndef RELEASE_STRICT_H
#define RELEASE_STRICT_H

#include "base/json.h"

/* Whether the object has no other keys than these; `keys` ends in NULL. */
bool strict_keys(const struct json *object, const char *const *keys, struct error *err) MUST_USE;
#define STRICT_KEYS(object, err, ...)                                                              \
    strict_keys(object, (const char *const[]){ __VA_ARGS__, NULL }, err)

#endif
