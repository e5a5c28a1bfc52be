/* lethe inspect: what is in a dataset store; releases are in inspect_release.c. */
#include "inspect.h"

#include "base/file.h"

#include "base/json.h"
#include "data/sheet.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct options {
    const char *png;
    int64_t rows;
    bool verify;
};

#define OPTION(...) YAML_FIELD(struct options, __VA_ARGS__)

static const struct yaml_field options[] = {
    OPTION(png, YAML_STRING, .metavar = "FILE",
           .help = "draw a contact sheet: every channel, and the mask in colour"),
    OPTION(rows, YAML_INTEGER, .minimum = 1, .maximum = 1000, .metavar = "N",
           .help = "images on the sheet (default 8)"),
    OPTION(verify, YAML_BOOL, .help = "hold the files against their digests"),
    { 0 },
};

struct census {
    size_t images[SPLIT_COUNT], subjects[SPLIT_COUNT];
    size_t label_pixels[256];
};

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static size_t count_unique(const char **names, size_t count)
{
    size_t unique = 0;
    if (count)
        qsort(names, count, sizeof *names, by_name);
    for (size_t i = 0; i < count; i++)
        unique += !i || strcmp(names[i], names[i - 1]) != 0;
    return unique;
}

static void take_census(const struct dataset *dataset, struct census *census, struct arena *arena)
{
    const char **names = arena_array(arena, const char *, dataset->count);
    *census = (struct census){ 0 };
    for (int split = 0; split < SPLIT_COUNT; split++) {
        size_t count = 0;
        for (size_t i = 0; i < dataset->count; i++)
            if (dataset->index[i].split == (enum split)split)
                names[count++] = dataset->index[i].subject;
        census->images[split] = count;
        census->subjects[split] = count_unique(names, count);
    }
    for (size_t i = 0; dataset->masks && i < dataset->count * dataset->height * dataset->width; i++)
        census->label_pixels[dataset->masks[i]]++;
}

static void print_text(const struct dataset *dataset, const struct census *census)
{
    printf("%s: %zu %s image%s, %zu × %zu, %s\n", dataset->path, dataset->count,
           dataset_role_names[dataset->role], dataset->count == 1 ? "" : "s", dataset->height,
           dataset->width, element_info[dataset->type].name);
    printf("  channels  ");
    for (size_t i = 0; i < dataset->channels; i++)
        printf(" %s", dataset->channel_names[i]);
    printf("\n");
    for (int split = 0; split < SPLIT_COUNT; split++)
        if (census->images[split])
            printf("  %-10s %zu image%s of %zu subject%s\n",
                   split == SPLIT_NONE ? "unsplit" : split_names[split], census->images[split],
                   census->images[split] == 1 ? "" : "s", census->subjects[split],
                   census->subjects[split] == 1 ? "" : "s");
    if (!dataset->masks) {
        printf("  masks      none\n");
        return;
    }
    double pixels = (double)dataset->count * (double)(dataset->height * dataset->width);
    printf("  labels    ");
    for (int label = 0; label < 256; label++)
        if (census->label_pixels[label])
            printf(" %d: %.3g %%", label, 100 * (double)census->label_pixels[label] / pixels);
    printf("\n");
}

static void print_json(const struct dataset *dataset, const struct census *census)
{
    struct json *document = json_new_object(), *channels = json_new_array();
    struct json *splits = json_new_object(), *labels = json_new_object();
    json_put_string(document, "store", dataset->path);
    json_put_string(document, "role", dataset_role_names[dataset->role]);
    json_put_integer(document, "images", (int64_t)dataset->count);
    json_put_integer(document, "height", (int64_t)dataset->height);
    json_put_integer(document, "width", (int64_t)dataset->width);
    json_put_string(document, "type", element_info[dataset->type].name);
    for (size_t i = 0; i < dataset->channels; i++)
        json_push_string(channels, dataset->channel_names[i]);
    json_put(document, "channels", channels);
    for (int split = 0; split < SPLIT_COUNT; split++) {
        if (!census->images[split])
            continue;
        struct json *counts = json_new_object();
        json_put_integer(counts, "images", (int64_t)census->images[split]);
        json_put_integer(counts, "subjects", (int64_t)census->subjects[split]);
        json_put(splits, split_names[split], counts);
    }
    json_put(document, "splits", splits);
    for (int label = 0; label < 256; label++)
        if (census->label_pixels[label]) {
            char name[16];
            snprintf(name, sizeof name, "%d", label);
            json_put_integer(labels, name, (int64_t)census->label_pixels[label]);
        }
    json_put(document, "label_pixels", labels);
    command_print(document);
}

static enum exit_code run(struct invocation *invocation)
{
    struct options *values = invocation->values;
    struct dataset dataset;
    struct census census;
    if (path_kind(invocation->operands[0]) == PATH_FILE) {
        if (values->png || values->verify)
            return command_refuse(invocation, "--png and --verify are for a store; for a release "
                                              "there is lethe verify");
        return inspect_release(invocation, invocation->operands[0]);
    }
    if (!dataset_open(&dataset, invocation->operands[0], &invocation->err))
        return command_failed(invocation);
    enum exit_code code = EXIT_YES;
    if (values->verify && !dataset_verify(&dataset, &invocation->err)) {
        command_failed(invocation);
        code = EXIT_NO;
    }
    if (code == EXIT_YES && values->png &&
        !sheet_write(&dataset, (size_t)values->rows, values->png, &invocation->err))
        code = command_failed(invocation);
    if (code == EXIT_YES) {
        take_census(&dataset, &census, &invocation->arena);
        (invocation->json ? print_json : print_text)(&dataset, &census);
    }
    dataset_close(&dataset);
    return code;
}

static void set_defaults(void *values)
{
    ((struct options *)values)->rows = 8;
}

const struct command command_inspect = {
    .name = "inspect",
    .operands = "STORE | ARCHIVE",
    .least_operands = 1,
    .most_operands = 1,
    .summary = "tell what is in a dataset store, or draw it; or what a release says of itself",
    .options = options,
    .size = sizeof(struct options),
    .set_defaults = set_defaults,
    .run = run,
};
