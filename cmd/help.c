/* Help out of tables, and the walks over options that man pages and completions take, too; see
 * command.h. */
#include "command.h"

#include "base/text.h"

#include <stdio.h>
#include <string.h>

/* The one that completions tell of, where several groups have one of that name. */
static const struct yaml_field *first_named(const struct yaml_field *fields, const char *key)
{
    for (const struct yaml_field *field = fields; field && field->key; field++) {
        const struct yaml_field *found = field;
        if (field->kind == YAML_SECTION)
            found = first_named(field->section, key);
        else if (field->kind == YAML_ROWS || strcmp(field->key, key) != 0)
            found = NULL;
        if (found)
            return found;
    }
    return NULL;
}

static void visit_option(const struct yaml_field *field, option_visitor *visit, void *context)
{
    struct text name = { 0 };
    for (const char *byte = field->key; *byte; byte++)
        text_add_bytes(&name, *byte == '_' ? "-" : byte, 1);
    visit(context, name.bytes, field);
    text_release(&name);
}

/* Those in groups once, or not at all. Rows are for plans alone. */
static void each_option(const struct yaml_field *all, const struct yaml_field *fields, int depth,
                        bool groups, option_visitor *visit, void *context)
{
    for (const struct yaml_field *field = fields; field && field->key; field++)
        if (field->kind == YAML_SECTION && (depth == 0 || groups))
            each_option(all, field->section, depth + 1, groups, visit, context);
        else if (field->kind != YAML_SECTION && field->kind != YAML_ROWS &&
                 (!groups || first_named(all, field->key) == field))
            visit_option(field, visit, context);
}

void command_each_option(const struct command *command, option_visitor *visit, void *context)
{
    each_option(command->options, command->options, 0, true, visit, context);
    each_option(command_common(command), command_common(command), 0, true, visit, context);
}

void command_each_plain_option(const struct command *command, option_visitor *visit, void *context)
{
    each_option(command->options, command->options, 0, false, visit, context);
    each_option(command_common(command), command_common(command), 0, false, visit, context);
}

void command_each_group(const struct command *command, group_visitor *visit, void *context)
{
    for (const struct yaml_field *outer = command->options; outer && outer->key; outer++)
        if (outer->kind == YAML_SECTION)
            for (const struct yaml_field *group = outer->section; group->key; group++)
                if (group->kind == YAML_SECTION)
                    visit(context, group);
}

void group_each_option(const struct yaml_field *group, option_visitor *visit, void *context)
{
    each_option(group->section, group->section, 0, false, visit, context);
}

void option_values(const struct yaml_field *field, struct text *out)
{
    for (size_t i = 0; field->kind == YAML_CHOICE && field->choices[i]; i++)
        text_format(out, "%s%s", i ? "|" : " ", field->choices[i]);
    if (field->metavar)
        text_format(out, " %s", field->metavar);
}

static void help_option(void *context, const char *name, const struct yaml_field *field)
{
    enum { COLUMN = 30 };
    struct text line = { 0 };
    (void)context;
    text_format(&line, "  --%s", name);
    option_values(field, &line);
    if (line.length >= COLUMN)
        printf("%s\n%*s%s\n", line.bytes, COLUMN, "", field->help);
    else
        printf("%-*s%s\n", COLUMN, line.bytes, field->help);
    text_release(&line);
}

enum { LINE = 100 };

static void add_to_line(void *context, const char *name, const struct yaml_field *field)
{
    struct text *line = context;
    (void)field;
    if (line->length + strlen(name) + 3 > LINE) {
        printf("%s\n", line->bytes);
        line->length = 0;
        text_format(line, "%14s", "");
    }
    text_format(line, " --%s", name);
}

struct listing {
    const struct command *command;
    bool headed;
};

/* The names alone: all of every group would not fit a screen. */
static void help_group(void *context, const struct yaml_field *group)
{
    struct listing *listing = context;
    struct text line = { 0 };
    if (!listing->headed)
        printf("\nin groups; %s -h GROUP tells what they are:\n", command_title(listing->command));
    listing->headed = true;
    text_format(&line, "  %-12s", group->key);
    group_each_option(group, add_to_line, &line);
    printf("%s\n", line.bytes);
    text_release(&line);
}

/* What find_group looks for, and finds. */
struct search {
    const char *key;
    const struct yaml_field *found;
};

static void find_group(void *context, const struct yaml_field *group)
{
    struct search *search = context;
    if (strcmp(search->key, group->key) == 0)
        search->found = group;
}

void command_help_asked(const struct invocation *invocation)
{
    const struct command *command = invocation->command;
    struct search search = { 0 };
    for (size_t i = 0; i < invocation->operand_count && !search.found; i++) {
        search.key = invocation->operands[i];
        command_each_group(command, find_group, &search);
    }
    if (!search.found) {
        command_help(command);
        return;
    }
    printf("options of %s, group %s: %s\n\n", command_title(command), search.key,
           search.found->help);
    group_each_option(search.found, help_option, NULL);
}

void command_help(const struct command *command)
{
    printf("usage: %s%s%s%s\n\n%s\n", command_title(command), *command->operands ? " " : "",
           command->operands, command->options ? " [OPTIONS]" : "", command->summary);
    if (command->details)
        printf("%s\n", command->details);
    printf("\n");
    command_each_plain_option(command, help_option, NULL);
    command_each_group(command, help_group, &(struct listing){ command, false });
}
