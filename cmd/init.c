/* lethe init: look at a folder of scans and write a plan with sound defaults. */
#include "command.h"
#include "plan.h"

#include "base/file.h"
#include "base/text.h"
#include "data/nifti.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct options {
    const char *name;
    struct ingest_settings settings;
};

#define OPTION(...) YAML_FIELD(struct options, __VA_ARGS__)

static const struct yaml_field options[] = {
    OPTION(name, YAML_STRING, .metavar = "NAME", .help = "of the release (default: the folder's)"),
    /* all but the source, which is the operand */
    OPTION(settings, YAML_SECTION, .section = ingest_fields + 1),
    { 0 },
};

/* Text as a YAML scalar in double quotes; JSON's escapes are YAML's. */
static void add_quoted(struct text *out, const char *value)
{
    text_add(out, "\"");
    for (const char *byte = value; *byte; byte++) {
        if (*byte == '"' || *byte == '\\')
            text_format(out, "\\%c", *byte);
        else if ((unsigned char)*byte < 0x20)
            text_format(out, "\\x%02x", (unsigned)*byte);
        else
            text_add_bytes(out, byte, 1);
    }
    text_add(out, "\"");
}

static void add_value(struct text *out, const struct yaml_field *field, const void *value)
{
    const struct yaml_strings *list = value;
    if (field->kind == YAML_STRING) {
        add_quoted(out, *(const char *const *)value ? *(const char *const *)value : "");
    } else if (field->kind == YAML_INTEGER) {
        text_format(out, "%lld", (long long)*(const int64_t *)value);
    } else if (field->kind == YAML_REAL) {
        text_format(out, "%.15g", *(const double *)value);
    } else if (field->kind == YAML_CHOICE) {
        text_add(out, field->choices[*(const int *)value]);
    } else {
        text_add(out, "[");
        for (size_t i = 0; i < list->count; i++) {
            text_add(out, i ? ", " : "");
            add_quoted(out, list->items[i]);
        }
        text_add(out, "]");
    }
}

/* Whether the plan shows the key as set, or only as a comment: strings and lists without a value
 * would say something else than leaving them out. */
static bool is_set(const struct yaml_field *field, const void *value)
{
    if (strcmp(field->key, "seed") == 0)
        return false; /* the plan's own seed serves */
    if (field->kind == YAML_STRING)
        return *(const char *const *)value != NULL;
    return field->kind != YAML_STRINGS || ((const struct yaml_strings *)value)->count > 0;
}

static void add_section(struct text *out, const struct yaml_field *fields, const void *values)
{
    enum { COLUMN = 40 };
    for (const struct yaml_field *field = fields; field->key; field++) {
        const void *value = (const char *)values + field->offset;
        struct text line = { 0 };
        text_format(&line, "  %s%s: ", is_set(field, value) ? "" : "# ", field->key);
        if (is_set(field, value))
            add_value(&line, field, value);
        if (line.length > COLUMN)
            text_format(out, "%s   # %s", line.bytes, field->help);
        else
            text_format(out, "%-*s # %s", COLUMN, line.bytes, field->help);
        for (size_t i = 0; field->kind == YAML_CHOICE && field->choices[i]; i++)
            text_format(out, "%s%s", i ? ", " : " (", field->choices[i]);
        text_add(out, field->kind == YAML_CHOICE ? ")\n" : "\n");
        text_release(&line);
    }
}

/* A name for the release out of the folder's: letters, digits and dashes. */
static char *release_name(const char *folder, struct arena *arena)
{
    char *name = arena_string(arena, folder), *out = name;
    const char *at = folder + strlen(folder);
    while (at > folder && at[-1] == '/')
        at--;
    const char *end = at;
    while (at > folder && at[-1] != '/')
        at--;
    for (; at < end; at++) {
        bool plain =
            (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') || (*at >= '0' && *at <= '9');
        if (plain)
            *out++ = *at;
        else if (out > name && out[-1] != '-') /* one for all between two words */
            *out++ = '-';
    }
    while (out > name && out[-1] == '-')
        out--;
    *out = '\0';
    return *name ? name : arena_string(arena, "release");
}

struct finding {
    struct scan_list list;
    struct problems problems;
    struct volume first; /* geometry only; shape 0 when the first file is no volume */
};

static bool look(struct invocation *invocation, const struct ingest_settings *settings,
                 struct finding *finding)
{
    struct error *err = &invocation->err;
    struct layout_request request = { settings->source, (enum layout)settings->layout,
                                      settings->channels, settings->mask_pattern,
                                      settings->masks == MASKS_NONE };
    if (!layout_find(&request, &finding->list, &finding->problems, &invocation->arena, err))
        return false;
    if (!finding->list.count)
        return error_set(err, "%s: no subject is complete; the first problem: %s %s: %s",
                         settings->source, finding->problems.items[0].subject,
                         finding->problems.items[0].file, finding->problems.items[0].reason);
    const char *file = finding->list.scans[0].files[0];
    if (finding->list.scans[0].item >= 0 || !nifti_is_name(file))
        return true;
    if (!nifti_read(&finding->first, path_join(&invocation->arena, settings->source, file), err))
        return false;
    volume_release(&(struct volume){ .buffer = finding->first.buffer });
    finding->first.buffer = NULL;
    return true;
}

static void add_findings(struct text *out, const struct finding *finding)
{
    const struct scan_list *list = &finding->list;
    text_format(out, "# Found: layout %s, %zu complete scan%s of %zu subject%s,",
                layout_names[list->layout], list->count, list->count == 1 ? "" : "s",
                list->subject_count, list->subject_count == 1 ? "" : "s");
    for (size_t i = 0; i < list->channel_count; i++)
        text_format(out, " %s", list->channels[i]);
    text_format(out, "%s.\n", list->masks ? " and masks" : ", no masks");
    if (finding->first.shape[0])
        text_format(
            out, "# The first volume: %lld x %lld x %lld voxels of %.3g x %.3g x %.3g mm, %s%s.\n",
            (long long)finding->first.shape[0], (long long)finding->first.shape[1],
            (long long)finding->first.shape[2], finding->first.spacing[0],
            finding->first.spacing[1], finding->first.spacing[2],
            voxel_type_name(finding->first.type),
            finding->first.oriented ? "" : ", without orientation");
    if (finding->problems.count)
        text_format(out, "# %zu problem%s in other subjects; lethe ingest lists them.\n",
                    finding->problems.count, finding->problems.count == 1 ? "" : "s");
}

/* In a plan paths are relative to its folder, which is not known here. */
static const char *absolute(const char *path, struct arena *arena)
{
    char *found = path ? realpath(path, NULL) : NULL;
    const char *result = found ? arena_string(arena, found) : path;
    free(found);
    return result;
}

static enum exit_code write_plan(struct invocation *invocation, struct options *values,
                                 struct finding *finding)
{
    struct ingest_settings settings = values->settings;
    struct text out = { 0 };
    settings.source = absolute(settings.source, &invocation->arena);
    settings.split_file = absolute(settings.split_file, &invocation->arena);
    settings.subjects_file = absolute(settings.subjects_file, &invocation->arena);
    settings.layout = finding->list.layout;
    if (!settings.channels.count)
        settings.channels =
            (struct yaml_strings){ finding->list.channels, finding->list.channel_count };
    settings.masks = finding->list.masks ? MASKS_REQUIRED : MASKS_NONE;
    text_add(&out, "# A plan for lethe. Try: lethe ingest THIS_FILE\n");
    add_findings(&out, finding);
    text_add(&out, "\nname: ");
    add_quoted(&out,
               values->name ? values->name : release_name(settings.source, &invocation->arena));
    text_add(
        &out,
        "\nrun: run                                # everything derived goes here, beside this file\n"
        "seed: 1                                 # of everything random\n\ningest:\n");
    add_section(&out, ingest_fields, &settings);
    fwrite(out.bytes, 1, out.length, stdout);
    text_release(&out);
    return EXIT_YES;
}

static enum exit_code run(struct invocation *invocation)
{
    struct options *values = invocation->values;
    struct finding finding = { 0 };
    values->settings.source = invocation->operands[0];
    problems_init(&finding.problems);
    enum exit_code code = look(invocation, &values->settings, &finding)
                              ? write_plan(invocation, values, &finding)
                              : command_failed(invocation);
    problems_release(&finding.problems);
    return code;
}

static void set_defaults(void *values)
{
    ((struct options *)values)->settings = ingest_defaults;
}

const struct command command_init = {
    .name = "init",
    .operands = "FOLDER > plan.yaml",
    .least_operands = 1,
    .most_operands = 1,
    .summary = "look at a folder of scans and write a plan with sound defaults",
    .options = options,
    .size = sizeof(struct options),
    .set_defaults = set_defaults,
    .run = run,
};
