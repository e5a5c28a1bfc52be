/* metrics.jsonl; see metrics.h. */
#include "train/metrics.h"

#include "base/file.h"
#include "base/json.h"
#include "base/text.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

static const size_t LARGEST_FILE = (size_t)1 << 32;

/* ---- reading --------------------------------------------------------------------------------- */

static struct metrics_series *series_of(struct metrics *metrics, const char *name, bool loss)
{
    for (size_t i = 0; i < metrics->series_count; i++)
        if (strcmp(metrics->series[i].name, name) == 0)
            return &metrics->series[i];
    ARRAY_RESERVE(metrics->series, metrics->series_count, metrics->series_capacity);
    struct metrics_series *series = &metrics->series[metrics->series_count++];
    *series = (struct metrics_series){ .name = arena_string(&metrics->arena, name), .loss = loss };
    return series;
}

static void add_point(struct metrics_series *series, double images, double value)
{
    if (series->count == series->capacity) {
        series->capacity = series->capacity ? 2 * series->capacity : 64;
        series->images = memory_grow(series->images, series->capacity, sizeof *series->images);
        series->value = memory_grow(series->value, series->capacity, sizeof *series->value);
    }
    series->images[series->count] = images;
    series->value[series->count++] = value;
}

/* A line while it is walked: the object that is visited, and the phase that it is of. */
struct line {
    struct metrics *metrics;
    const struct json *object;
    const char *phase; /* NULL: no loss term */
    double images;
};

static bool visit_term(void *context, const char *key, const struct json *value)
{
    const struct line *line = context;
    double number;
    (void)value;
    if (!json_get_real(line->object, key, &number, NULL))
        return true; /* null: it was not finite */
    struct text name = { 0 };
    text_format(&name, "%s%s%s", line->phase ? line->phase : "", line->phase ? "." : "", key);
    add_point(series_of(line->metrics, name.bytes, line->phase != NULL), line->images, number);
    text_release(&name);
    return true;
}

static bool visit_phase(void *context, const char *key, const struct json *value)
{
    struct line inner = *(const struct line *)context;
    inner.object = value;
    inner.phase = key;
    return !json_value_is_object(value) || json_each(value, visit_term, &inner);
}

static bool visit_number(void *context, const char *key, const struct json *value)
{
    if (strcmp(key, "step") == 0 || strcmp(key, "images") == 0)
        return true;
    if (strcmp(key, "loss") == 0)
        return !json_value_is_object(value) || json_each(value, visit_phase, context);
    return visit_term(context, key, value);
}

static bool read_line(struct metrics *metrics, const struct json *entry, struct error *err)
{
    int64_t step, images;
    if (!json_value_is_object(entry))
        return error_set(err, "not an object");
    if (!json_get_integer(entry, "step", &step, err) ||
        !json_get_integer(entry, "images", &images, err))
        return false;
    if (step < 0 || images < 0)
        return error_set(err, "step %lld and images %lld; both count from 0", (long long)step,
                         (long long)images);
    metrics->step = (uint64_t)step;
    metrics->images = (uint64_t)images;
    struct line line = { metrics, entry, NULL, (double)images };
    json_each(entry, visit_number, &line);
    return true;
}

bool metrics_parse(const char *bytes, size_t size, const char *name, struct metrics *metrics,
                   struct error *err)
{
    *metrics = (struct metrics){ 0 };
    arena_init(&metrics->arena);
    const char *end = bytes + size;
    for (size_t number = 1; bytes < end; number++) {
        const char *stop = memchr(bytes, '\n', (size_t)(end - bytes));
        if (!stop)
            return true; /* cut off while it was written */
        struct json *entry = json_parse(bytes, (size_t)(stop - bytes), "the line", err);
        bool ok = entry && read_line(metrics, entry, err);
        json_free(entry);
        if (!ok) {
            metrics_release(metrics);
            return error_prefix(err, "%s:%zu: no line of metrics", name, number);
        }
        bytes = stop + 1;
    }
    return true;
}

bool metrics_read(const char *path, struct metrics *metrics, struct error *err)
{
    size_t size;
    char *bytes = file_read(path, LARGEST_FILE, &size, err);
    bool ok = bytes && metrics_parse(bytes, size, path, metrics, err);
    memory_free(bytes);
    return ok;
}

void metrics_release(struct metrics *metrics)
{
    for (size_t i = 0; i < metrics->series_count; i++) {
        free(metrics->series[i].images);
        free(metrics->series[i].value);
    }
    free(metrics->series);
    arena_release(&metrics->arena);
}

const struct metrics_series *metrics_find(const struct metrics *metrics, const char *name)
{
    for (size_t i = 0; i < metrics->series_count; i++)
        if (strcmp(metrics->series[i].name, name) == 0)
            return &metrics->series[i];
    return NULL;
}

/* ---- trimming -------------------------------------------------------------------------------- */

bool metrics_trim(const char *path, uint64_t step, struct error *err)
{
    if (path_kind(path) == PATH_NOTHING)
        return true;
    size_t size;
    char *bytes = file_read(path, LARGEST_FILE, &size, err);
    if (!bytes)
        return false;
    struct text kept = { 0 };
    text_add(&kept, "");
    for (char *line = bytes, *end; (end = strchr(line, '\n')); line = end + 1) {
        int64_t at;
        struct json *entry = json_parse(line, (size_t)(end - line), path, NULL);
        if (entry && json_get_integer(entry, "step", &at, NULL) && (uint64_t)at <= step)
            text_add_bytes(&kept, line, (size_t)(end + 1 - line));
        json_free(entry);
    }
    bool ok = file_write(path, kept.bytes, kept.length, err);
    text_release(&kept);
    memory_free(bytes);
    return ok;
}

FILE *metrics_append(const char *path, uint64_t step, struct error *err)
{
    if (!metrics_trim(path, step, err))
        return NULL;
    int descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    FILE *file = descriptor >= 0 ? fdopen(descriptor, "a") : NULL;
    if (!file)
        error_set_errno(err, "%s: cannot be written", path);
    return file;
}
