/* See measured.h. */
#include "audit/measured.h"

#include <string.h>

struct json *bounded_json(struct estimate estimate)
{
    struct json *object = json_new_object(), *interval = json_new_array();
    json_put_real(object, "value", estimate.value);
    json_put_real(object, "lower95", estimate.interval.low);
    json_put_real(object, "upper95", estimate.interval.high);
    json_push_real(interval, estimate.interval.low);
    json_push_real(interval, estimate.interval.high);
    json_put(object, "interval", interval);
    return object;
}

struct json *lines_json(const struct text *lines, struct arena *arena)
{
    struct json *list = json_new_array();
    for (const char *line = lines->bytes; line && *line;) {
        size_t length = strcspn(line, "\n");
        json_push_string(list, arena_substring(arena, line, length));
        line += length + (line[length] == '\n');
    }
    return list;
}
