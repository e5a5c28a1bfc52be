/* Options out of tables; see command.h. */
#include "command.h"

#include "base/json.h"
#include "base/progress.h"
#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- options that every command has ---------------------------------------------------------- */

struct common {
    bool json, quiet, help;
    int64_t threads;
};

#define COMMON(...) YAML_FIELD(struct common, __VA_ARGS__)
#define JSON        COMMON(json, YAML_BOOL, .help = "one JSON document on standard output")
#define QUIET       COMMON(quiet, YAML_BOOL, .help = "no progress")
#define THREADS                                                                                    \
    COMMON(threads, YAML_INTEGER, .minimum = 1, .maximum = 4096, .metavar = "N",                   \
           .help = "default: every core")
#define HELP COMMON(help, YAML_BOOL, .help = "this text")

static const struct yaml_field common_fields[] = { JSON, QUIET, THREADS, HELP, { 0 } };
static const struct yaml_field common_fields_own_threads[] = { JSON, QUIET, HELP, { 0 } };

const struct yaml_field *command_common(const struct command *command)
{
    return command->own_threads ? common_fields_own_threads : common_fields;
}

void (*command_use_threads)(int count);

const char *command_title(const struct command *command)
{
    static char title[64];
    snprintf(title, sizeof title, "%s%s", command->program ? command->program : "lethe ",
             command->program ? "" : command->name);
    return title;
}

/* ---- finding and setting --------------------------------------------------------------------- */

/* An option by its name on the command line, "_" written "-", in a table or the sections in it. */
static const struct yaml_field *find_option(const struct yaml_field *fields, const char *name,
                                            size_t length, char **values)
{
    for (const struct yaml_field *field = fields; field && field->key; field++) {
        char *inner = *values + field->offset;
        if (field->kind == YAML_SECTION) {
            const struct yaml_field *found = find_option(field->section, name, length, &inner);
            if (found) {
                *values = inner;
                return found;
            }
            continue;
        }
        if (field->kind == YAML_ROWS) /* lists of sections stand in files only */
            continue;
        size_t i = 0;
        while (i < length && field->key[i] &&
               name[i] == (field->key[i] == '_' ? '-' : field->key[i]))
            i++;
        if (i == length && !field->key[i])
            return field;
    }
    return NULL;
}

static void list_names(const struct yaml_field *fields, struct arena *arena, const char ***names,
                       size_t *count, size_t *capacity)
{
    for (const struct yaml_field *field = fields; field && field->key; field++) {
        if (field->kind == YAML_SECTION) {
            list_names(field->section, arena, names, count, capacity);
            continue;
        }
        if (field->kind == YAML_ROWS)
            continue;
        ARRAY_RESERVE(*names, *count, *capacity);
        char *name = arena_string(arena, field->key);
        for (char *byte = name; *byte; byte++)
            *byte = *byte == '_' ? '-' : *byte;
        (*names)[(*count)++] = name;
    }
}

static bool unknown_option(struct invocation *invocation, const char *name, size_t length)
{
    const char **names = NULL;
    size_t count = 0, capacity = 0;
    char *word = arena_substring(&invocation->arena, name, length);
    list_names(invocation->command->options, &invocation->arena, &names, &count, &capacity);
    list_names(command_common(invocation->command), &invocation->arena, &names, &count, &capacity);
    const char *nearest = text_nearest(word, names, count);
    free(names);
    if (nearest)
        return error_set(&invocation->err, "there is no option --%s; did you mean --%s?", word,
                         nearest);
    return error_set(&invocation->err, "there is no option --%s; see %s -h", word,
                     command_title(invocation->command));
}

static bool set_choice(const struct yaml_field *field, const char *text, int *value,
                       struct error *err)
{
    struct text list = { 0 };
    for (*value = 0; field->choices[*value]; ++*value) {
        if (strcmp(field->choices[*value], text) == 0) {
            text_release(&list);
            return true;
        }
        text_format(&list, "%s%s", *value ? ", " : "", field->choices[*value]);
    }
    error_set(err, "--%s: \"%s\" is none of %s", field->key, text, list.bytes);
    text_release(&list);
    return false;
}

static bool in_range(const struct yaml_field *field, double value, struct error *err)
{
    if (field->minimum >= field->maximum || (value >= field->minimum && value <= field->maximum))
        return true;
    return error_set(err, "--%s: %.15g is not between %.15g and %.15g", field->key, value,
                     field->minimum, field->maximum);
}

/* Lists grow each time the option is given, by every item between commas; the first replaces the
 * default. */
static void append(struct invocation *invocation, struct yaml_strings *list, const char *text,
                   bool first)
{
    size_t count = first ? 0 : list->count, commas = 0;
    for (const char *byte = text; *byte; byte++)
        commas += *byte == ',';
    const char **items = arena_array(&invocation->arena, const char *, count + commas + 1);
    for (size_t i = 0; i < count; i++)
        items[i] = list->items[i];
    for (;; text++) {
        size_t length = strcspn(text, ",");
        items[count++] = arena_substring(&invocation->arena, text, length);
        text += length;
        if (!*text)
            break;
    }
    *list = (struct yaml_strings){ items, count };
}

static bool set_option(struct invocation *invocation, const struct yaml_field *field, void *out,
                       const char *text, bool first)
{
    struct error *err = &invocation->err;
    switch (field->kind) {
    case YAML_STRING:
        *(const char **)out = text;
        return true;
    case YAML_INTEGER:
        return (text_to_integer(text, out) ||
                error_set(err, "--%s: \"%s\" is not a whole number", field->key, text)) &&
               in_range(field, (double)*(int64_t *)out, err);
    case YAML_REAL:
        return (text_to_real(text, out) ||
                error_set(err, "--%s: \"%s\" is not a number", field->key, text)) &&
               in_range(field, *(double *)out, err);
    case YAML_CHOICE:
        return set_choice(field, text, out, err);
    case YAML_STRINGS:
        append(invocation, out, text, first);
        return true;
    default:
        BUG("option --%s of kind %d", field->key, (int)field->kind);
    }
}

/* Models have settings of the same name, each in a section of its own: the option sets all of them,
 * and the model takes its own. */
static void set_namesakes(const struct yaml_field *fields, char *values,
                          const struct yaml_field *set, const void *value)
{
    static const size_t sizes[YAML_ROWS + 1] = {
        [YAML_STRING] = sizeof(const char *), [YAML_INTEGER] = sizeof(int64_t),
        [YAML_REAL] = sizeof(double),         [YAML_BOOL] = sizeof(bool),
        [YAML_CHOICE] = sizeof(int),          [YAML_STRINGS] = sizeof(struct yaml_strings)
    };
    for (const struct yaml_field *field = fields; field && field->key; field++) {
        char *own = values + field->offset;
        if (field->kind == YAML_SECTION)
            set_namesakes(field->section, own, set, value);
        if (field->kind == YAML_SECTION || strcmp(field->key, set->key) != 0 || own == value)
            continue;
        CHECK(field->kind == set->kind && field->choices == set->choices &&
                  field->minimum == set->minimum && field->maximum == set->maximum,
              "two options --%s that do not take the same", set->key);
        memcpy(own, value, sizes[field->kind]);
    }
}

/* ---- parsing --------------------------------------------------------------------------------- */

struct parsing {
    struct invocation *invocation;
    struct common common;
    const struct yaml_field *seen[64];
    size_t seen_count;
};

static bool seen_before(struct parsing *parsing, const struct yaml_field *field)
{
    for (size_t i = 0; i < parsing->seen_count; i++)
        if (parsing->seen[i] == field)
            return true;
    CHECK(parsing->seen_count < 64, "a command with more than 64 options");
    parsing->seen[parsing->seen_count++] = field;
    return false;
}

/* An option by its name: the command's, or one that all have. */
static const struct yaml_field *find_any(struct parsing *parsing, const char *name, size_t length,
                                         char **values)
{
    *values = parsing->invocation->values;
    const struct yaml_field *field =
        find_option(parsing->invocation->command->options, name, length, values);
    if (field)
        return field;
    *values = (char *)&parsing->common;
    return find_option(command_common(parsing->invocation->command), name, length, values);
}

/* The switch that "no-name" switches off. */
static const struct yaml_field *find_negated(struct parsing *parsing, const char *name,
                                             size_t length, char **values)
{
    if (length < 4 || strncmp(name, "no-", 3) != 0)
        return NULL;
    const struct yaml_field *field = find_any(parsing, name + 3, length - 3, values);
    return field && field->kind == YAML_BOOL ? field : NULL;
}

/* Whether it is of a section of the command's options: what a plan says, where there is one. */
static bool is_setting(const struct parsing *parsing, const struct yaml_field *field)
{
    for (const struct yaml_field *own = parsing->invocation->command->options; own && own->key;
         own++)
        if (own->kind == YAML_SECTION)
            for (const struct yaml_field *inner = own->section; inner->key; inner++)
                if (inner == field)
                    return true;
    return false;
}

/* Takes "--name value", "--name=value" or a switch, "--name" or "--no-name"; tells how many
 * arguments it took. */
static bool parse_option(struct parsing *parsing, char **argv, int left, int *taken)
{
    struct invocation *invocation = parsing->invocation;
    const char *name = argv[0] + 2, *equals = strchr(name, '=');
    size_t length = equals ? (size_t)(equals - name) : strlen(name);
    char *values;
    const struct yaml_field *field = find_any(parsing, name, length, &values);
    bool negated = !field && (field = find_negated(parsing, name, length, &values));
    *taken = 1;
    if (!field)
        return unknown_option(invocation, name, length);
    if (!invocation->setting && is_setting(parsing, field))
        invocation->setting = arena_substring(&invocation->arena, name, length);
    bool first = !seen_before(parsing, field), on = field->kind == YAML_BOOL;
    if (!first && field->kind != YAML_STRINGS)
        return error_set(&invocation->err, "--%s is given twice", field->key);
    if (on && equals)
        return error_set(&invocation->err, "--%s takes no value", field->key);
    if (!on && !equals && left < 2)
        return error_set(&invocation->err, "--%.*s needs a value", (int)length, name);
    *taken = on || equals ? 1 : 2;
    char *value = values + field->offset;
    if (on)
        *(bool *)(void *)value = !negated;
    else if (!set_option(invocation, field, value, equals ? equals + 1 : argv[1], first))
        return false;
    set_namesakes(invocation->command->options, invocation->values, field, value);
    return true;
}

static bool parse(struct parsing *parsing, int argc, char **argv)
{
    struct invocation *invocation = parsing->invocation;
    bool only_operands = false;
    invocation->operands = arena_array(&invocation->arena, const char *, (size_t)argc);
    for (int i = 0, taken; i < argc; i += taken) {
        taken = 1;
        if (only_operands || argv[i][0] != '-' || !argv[i][1])
            invocation->operands[invocation->operand_count++] = argv[i];
        else if (strcmp(argv[i], "--") == 0)
            only_operands = true;
        else if (strcmp(argv[i], "-h") == 0)
            parsing->common.help = true;
        else if (argv[i][1] != '-')
            return error_set(&invocation->err, "there is no option %s; see %s -h", argv[i],
                             command_title(invocation->command));
        else if (!parse_option(parsing, argv + i, argc - i, &taken))
            return false;
    }
    const struct command *command = invocation->command;
    if (parsing->common.help || (invocation->operand_count >= command->least_operands &&
                                 invocation->operand_count <= command->most_operands))
        return true;
    return error_set(&invocation->err, "%s; usage: %s %s",
                     invocation->operand_count < command->least_operands ? "an argument is missing"
                                                                         : "too many arguments",
                     command_title(command), command->operands);
}

/* ---- running --------------------------------------------------------------------------------- */

void command_print(struct json *document)
{
    char *text = json_text(document);
    fputs(text, stdout);
    memory_free(text);
    json_free(document);
}

enum exit_code command_failed(const struct invocation *invocation)
{
    fprintf(stderr, "%s: %s\n", command_title(invocation->command), invocation->err.message);
    return EXIT_ERROR;
}

void command_warn(const char *command, const char *warnings)
{
    while (warnings && *warnings) {
        size_t length = strcspn(warnings, "\n");
        fprintf(stderr, "lethe %s: warning: %.*s\n", command, (int)length, warnings);
        warnings += length + (warnings[length] == '\n');
    }
}

enum exit_code command_refuse(struct invocation *invocation, const char *format, ...)
{
    char message[ERROR_CAPACITY];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    error_set(&invocation->err, "%s", message);
    return command_failed(invocation);
}

static enum exit_code run_parsed(struct parsing *parsing)
{
    struct invocation *invocation = parsing->invocation;
    if (parsing->common.help) {
        command_help_asked(invocation);
        return EXIT_YES;
    }
    invocation->json = parsing->common.json;
    if (parsing->common.quiet)
        progress_silence();
    if (parsing->common.threads)
        command_use_threads((int)parsing->common.threads);
    return invocation->command->run(invocation);
}

enum exit_code command_run(const struct command *command, int argc, char **argv)
{
    struct invocation invocation = { .command = command,
                                     .arguments = argv,
                                     .argument_count = argc };
    struct parsing parsing = { .invocation = &invocation };
    /* Whatever the shell's: what is made, locks, logs and extracted files too, is its owner's to
     * read and write (one of 0777 would lock us out half-way), and nobody else's. */
    umask(S_IRWXG | S_IRWXO);
    arena_init(&invocation.arena);
    invocation.values = arena_allocate(&invocation.arena, command->size);
    if (command->set_defaults)
        command->set_defaults(invocation.values);
    enum exit_code code =
        parse(&parsing, argc, argv) ? run_parsed(&parsing) : command_failed(&invocation);
    arena_release(&invocation.arena);
    if (code == EXIT_YES && (fflush(stdout) != 0 || ferror(stdout))) {
        fprintf(stderr, "%s: standard output cannot be written\n", command_title(command));
        return EXIT_ERROR;
    }
    return code;
}
