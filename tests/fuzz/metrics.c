/* metrics_parse: series have as many points as they say, in lines that are ours or refused. */
#include "fuzz/fuzz.h"

#include "train/metrics.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct error err = { "" };
    struct metrics metrics;
    if (!metrics_parse((const char *)bytes, size, "x.jsonl", &metrics, &err)) {
        CHECK(strncmp(err.message, "x.jsonl:", 8) == 0, "no place in: %s", err.message);
        return 0;
    }
    for (size_t i = 0; i < metrics.series_count; i++) {
        const struct metrics_series *series = &metrics.series[i];
        CHECK(series->count > 0, "\"%s\" without a point", series->name);
        CHECK(metrics_find(&metrics, series->name) == series, "\"%s\" twice", series->name);
        for (size_t k = 0; k < series->count; k++)
            CHECK(series->images[k] >= 0, "images before the first");
    }
    metrics_release(&metrics);
    return 0;
}
