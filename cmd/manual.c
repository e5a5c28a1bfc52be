/* Man pages and shell completions; see manual.h. */
#include "manual.h"

#include "base/file.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>

/* ---- man pages ------------------------------------------------------------------------------- */

/* Text for troff: no line begins with a control character, dashes stay dashes. */
static void add_troff(struct text *out, const char *text)
{
    for (bool at_start = true; *text; text++) {
        if (at_start && (*text == '.' || *text == '\''))
            text_add(out, "\\&");
        if (*text == '\\')
            text_add(out, "\\e");
        else if (*text == '-')
            text_add(out, "\\-");
        else
            text_add_bytes(out, text, 1);
        at_start = *text == '\n';
    }
}

static void add_option(void *context, const char *name, const struct yaml_field *field)
{
    struct text *out = context, option = { 0 };
    text_format(&option, "--%s", name);
    option_values(field, &option);
    text_add(out, ".TP\n.B ");
    add_troff(out, option.bytes);
    text_add(out, "\n");
    add_troff(out, field->help);
    text_add(out, "\n");
    text_release(&option);
}

static void add_group(void *context, const struct yaml_field *group)
{
    struct text *out = context;
    text_format(out, ".SS Group %s: ", group->key);
    add_troff(out, group->help);
    text_add(out, "\n");
    group_each_option(group, add_option, out);
}

static void add_heading(struct text *out, const char *page)
{
    text_format(out, ".TH %s 1 \"\" \"lethe %s\" \"lethe\"\n.SH NAME\n", page, LETHE_VERSION);
}

static void add_ending(struct text *out)
{
    text_add(out, ".SH EXIT STATUS\n0 yes; 1 the answer is no; 2 could not tell (usage, input, "
                  "output); 3 authentic but policy unmet.\n.SH SEE ALSO\n.BR lethe (1)\n");
}

static void add_page(struct text *out, const struct command *command)
{
    char page[64];
    snprintf(page, sizeof page, "lethe\\-%s", command->name);
    add_heading(out, page);
    text_format(out, "%s \\- ", page);
    add_troff(out, command->summary);
    text_format(out, "\n.SH SYNOPSIS\n.B lethe %s\n", command->name);
    add_troff(out, command->operands);
    text_add(out, command->options ? " [OPTIONS]\n" : "\n");
    text_add(out, ".SH DESCRIPTION\n");
    add_troff(out, command->details ? command->details : command->summary);
    text_add(out, "\n.SH OPTIONS\n");
    command_each_plain_option(command, add_option, out);
    command_each_group(command, add_group, out);
    add_ending(out);
}

static void add_overview(struct text *out)
{
    add_heading(out, "lethe");
    text_add(out, "lethe \\- share synthetic medical images instead of patients' images\n"
                  ".SH SYNOPSIS\n.B lethe\nCOMMAND [ARGUMENTS]\n.SH DESCRIPTION\n"
                  "Trains image generators on real scans, samples synthetic sets, audits them for "
                  "memorised patients and for usefulness, and packages only sets that pass into "
                  "signed archives.\n.SH COMMANDS\n");
    for (const struct command *const *command = commands; *command; command++) {
        text_format(out, ".TP\n.BR lethe\\-%s (1)\n", (*command)->name);
        add_troff(out, (*command)->summary);
        text_add(out, "\n");
    }
    add_ending(out);
}

/* ---- completions ----------------------------------------------------------------------------- */

/* A value that goes into single quotes of a shell: quotes are left out, no help text needs them. */
static void add_unquoted(struct text *out, const char *text)
{
    for (; *text; text++)
        if (*text != '\'' && *text != '[' && *text != ']' && *text != ':')
            text_add_bytes(out, text, 1);
}

static void add_bash_option(void *context, const char *name, const struct yaml_field *field)
{
    (void)field;
    text_format(context, " --%s", name);
}

static void add_bash_choices(void *context, const char *name, const struct yaml_field *field)
{
    if (field->kind != YAML_CHOICE)
        return;
    text_format(context, "        *\" --%s \") COMPREPLY=($(compgen -W '", name);
    for (size_t i = 0; field->choices[i]; i++)
        text_format(context, "%s%s", i ? " " : "", field->choices[i]);
    text_add(context, "' -- \"$word\")); return ;;\n");
}

static void add_bash(struct text *out)
{
    text_add(
        out,
        "# Completion of lethe for bash, made from its option tables.\n_lethe() {\n"
        "    local word=${COMP_WORDS[COMP_CWORD]} before=\" ${COMP_WORDS[COMP_CWORD-1]} \"\n"
        "    COMPREPLY=()\n    if [ \"$COMP_CWORD\" -eq 1 ]; then\n        COMPREPLY=($(compgen -W '");
    for (const struct command *const *command = commands; *command; command++)
        text_format(out, "%s ", (*command)->name);
    text_add(out, "' -- \"$word\"))\n        return\n    fi\n    case ${COMP_WORDS[1]} in\n");
    for (const struct command *const *command = commands; *command; command++) {
        text_format(out, "    %s)\n        case $before in\n", (*command)->name);
        command_each_option(*command, add_bash_choices, out);
        text_add(out, "        esac\n        case $word in -*) COMPREPLY=($(compgen -W '");
        command_each_option(*command, add_bash_option, out);
        text_add(out, "' -- \"$word\")); return ;; esac ;;\n");
    }
    text_add(out, "    esac\n    COMPREPLY=($(compgen -f -- \"$word\"))\n}\n"
                  "complete -o filenames -F _lethe lethe\n");
}

static void add_zsh_option(void *context, const char *name, const struct yaml_field *field)
{
    struct text *out = context;
    text_format(out, " '--%s[", name);
    add_unquoted(out, field->help);
    text_add(out, "]");
    if (field->kind == YAML_CHOICE) {
        text_format(out, ":%s:(", name);
        for (size_t i = 0; field->choices[i]; i++)
            text_format(out, "%s%s", i ? " " : "", field->choices[i]);
        text_add(out, ")");
    } else if (field->kind != YAML_BOOL)
        text_format(out, ":%s:_files", name);
    text_add(out, "'");
}

static void add_zsh(struct text *out)
{
    text_add(out, "#compdef lethe\n# Completion of lethe for zsh, made from its option tables.\n"
                  "if (( CURRENT == 2 )); then\n    local -a names=(");
    for (const struct command *const *command = commands; *command; command++) {
        text_format(out, " '%s:", (*command)->name);
        add_unquoted(out, (*command)->summary);
        text_add(out, "'");
    }
    text_add(out, " )\n    _describe command names\n    return\nfi\ncase $words[2] in\n");
    for (const struct command *const *command = commands; *command; command++) {
        text_format(out, "%s) _arguments", (*command)->name);
        command_each_option(*command, add_zsh_option, out);
        text_add(out, " '*:file:_files' ;;\n");
    }
    text_add(out, "esac\n");
}

struct fish {
    struct text *out;
    const char *command;
};

static void add_fish_option(void *context, const char *name, const struct yaml_field *field)
{
    const struct fish *fish = context;
    text_format(fish->out, "complete -c lethe -n '__fish_seen_subcommand_from %s' -l %s%s -d '",
                fish->command, name, field->kind == YAML_BOOL ? "" : " -r");
    add_unquoted(fish->out, field->help);
    text_add(fish->out, "'");
    for (size_t i = 0; field->kind == YAML_CHOICE && field->choices[i]; i++)
        text_format(fish->out, "%s%s%s", i ? " " : " -a '", field->choices[i],
                    field->choices[i + 1] ? "" : "'");
    text_add(fish->out, "\n");
}

static void add_fish(struct text *out)
{
    text_add(out, "# Completion of lethe for fish, made from its option tables.\n");
    for (const struct command *const *command = commands; *command; command++) {
        struct fish fish = { out, (*command)->name };
        text_format(out, "complete -c lethe -n __fish_use_subcommand -f -a %s -d '", fish.command);
        add_unquoted(out, (*command)->summary);
        text_add(out, "'\n");
        command_each_option(*command, add_fish_option, &fish);
    }
}

/* ---- writing --------------------------------------------------------------------------------- */

static bool write_one(const char *folder, const char *below, const char *name, struct text *text,
                      struct arena *arena, struct error *err)
{
    const char *inner = path_join(arena, folder, below);
    bool ok = folder_create(inner, err) &&
              file_write(path_join(arena, inner, name), text->bytes, text->length, err);
    text_clear(text);
    return ok;
}

static bool write_all(const char *folder, struct arena *arena, struct error *err)
{
    static const struct {
        const char *folder, *name;
        void (*add)(struct text *out);
    } files[] = {
        { "man/man1", "lethe.1", add_overview },
        { "bash-completion/completions", "lethe", add_bash },
        { "zsh/site-functions", "_lethe", add_zsh },
        { "fish/vendor_completions.d", "lethe.fish", add_fish },
    };
    struct text text = { 0 };
    bool ok = true;
    for (size_t i = 0; ok && i < sizeof files / sizeof *files; i++) {
        files[i].add(&text);
        ok = write_one(folder, files[i].folder, files[i].name, &text, arena, err);
    }
    for (const struct command *const *command = commands; ok && *command; command++) {
        add_page(&text, *command);
        ok = write_one(folder, "man/man1", arena_format(arena, "lethe-%s.1", (*command)->name),
                       &text, arena, err);
    }
    text_release(&text);
    return ok;
}

static const struct command *find(const char *name)
{
    for (const struct command *const *command = commands; *command; command++)
        if (strcmp((*command)->name, name) == 0)
            return *command;
    return NULL;
}

static int print_page(const char *name)
{
    struct text text = { 0 };
    const struct command *command = find(name);
    if (!command && strcmp(name, "lethe") != 0) {
        fprintf(stderr, "lethe help: there is no command \"%s\"; lethe -h lists them\n", name);
        return EXIT_ERROR;
    }
    if (command)
        add_page(&text, command);
    else
        add_overview(&text);
    fputs(text.bytes, stdout);
    text_release(&text);
    return EXIT_YES;
}

static int write_folder(const char *folder)
{
    struct arena arena;
    struct error err;
    arena_init(&arena);
    bool ok = write_all(folder, &arena, &err);
    if (!ok)
        fprintf(stderr, "lethe help: %s\n", err.message);
    arena_release(&arena);
    return ok ? EXIT_YES : EXIT_ERROR;
}

int manual_run(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[0], "--man") == 0)
        return print_page(argv[1]);
    if (argc == 2 && strcmp(argv[0], "--write") == 0)
        return write_folder(argv[1]);
    const struct command *command = argc == 1 ? find(argv[0]) : NULL;
    if (command) {
        command_help(command);
        return EXIT_YES;
    }
    fprintf(stderr, "usage: lethe help [COMMAND | --man COMMAND | --write FOLDER]\n");
    return EXIT_ERROR;
}
