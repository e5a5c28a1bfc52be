/* What every command is made of: a row in the table of main.c, a table of options, a function.
 *
 * The options of a command are a struct of values and a table of fields (base/yaml.h), the same
 * kind of table that reads plans: `keep_share` in a plan is --keep-share on the command line.
 * Parsing, -h and the list of commands all come from these tables.
 */
#ifndef CMD_COMMAND_H
#define CMD_COMMAND_H

#include "base/yaml.h"

/* Exit codes, everywhere. */
enum exit_code {
    EXIT_YES = 0,   /* done; the answer is yes */
    EXIT_NO = 1,    /* the answer is no: verification failed, policy not met */
    EXIT_ERROR = 2, /* could not tell: usage, input, output */
    EXIT_UNMET = 3, /* authentic, but a policy is unmet */
};

struct invocation {
    const struct command *command;
    void *values; /* the command's struct of options */
    const char **operands;
    size_t operand_count;
    char **arguments; /* as they were typed, without the command's name */
    int argument_count;
    const char *setting; /* the first option of those that a plan holds, without dashes; or NULL */
    bool json;
    struct arena arena;
    struct error err;
};

struct command {
    const char *name, *operands; /* "PLAN", "[STORE]" … for the usage line */
    size_t least_operands, most_operands;
    const char *summary;                /* one line, for the list of commands */
    const char *details;                /* a paragraph for -h, or NULL */
    const struct yaml_field *options;   /* may be NULL; sections are flattened */
    size_t size;                        /* of the struct of options */
    void (*set_defaults)(void *values); /* NULL: all zero */
    bool goes_on;        /* ended at any moment, the same command goes on; a signal ends it so */
    bool own_threads;    /* it starts the threads that it takes, and has no --threads */
    const char *program; /* when it is a program of its own: what that is called */
    enum exit_code (*run)(struct invocation *invocation);
};

/* one a line, by name */
/* clang-format off */
extern const struct command
    command_assist,
    command_audit,
    command_choose,
    command_curves,
    command_doctor,
    command_fidelity,
    command_import_weights,
    command_ingest,
    command_init,
    command_inspect,
    command_keygen,
    command_membership,
    command_package,
    command_phantom,
    command_purge,
    command_references,
    command_report,
    command_review,
    command_run_plan,
    command_sample,
    command_score,
    command_segment,
    command_sign,
    command_status,
    command_train,
    command_utility,
    command_verify;
/* clang-format on */
extern const struct command *const commands[]; /* NULL-terminated */

/* What --threads does; set by the program's main. */
extern void (*command_use_threads)(int count);

/* Runs the command with its arguments (argv without its name). */
enum exit_code command_run(const struct command *command, int argc, char **argv);

/* "lethe ingest", or the name of a program that has one command; good until the next call. */
const char *command_title(const struct command *command);

/* The options that every command has. */
const struct yaml_field *command_common(const struct command *command);

/* Prints a command's help; that of the group that an operand names, if one does. */
void command_help(const struct command *command);
void command_help_asked(const struct invocation *invocation);

/* Calls visit for each option of a command, its own first, then those that every command has;
 * `name` is what is typed, without the dashes. For help, man pages and completions alike. */
typedef void option_visitor(void *context, const char *name, const struct yaml_field *field);
void command_each_option(const struct command *command, option_visitor *visit, void *context);

/* A section within a section of the options is a group, as a model's settings are. Several groups
 * may have an option of the same name; -h lists a group's names alone, so that it fits a screen.
 * Visited: the options of no group; the groups; what is in one of them. */
typedef void group_visitor(void *context, const struct yaml_field *group);
void command_each_plain_option(const struct command *command, option_visitor *visit, void *context);
void command_each_group(const struct command *command, group_visitor *visit, void *context);
void group_each_option(const struct yaml_field *group, option_visitor *visit, void *context);

/* Adds what an option takes, " a|b|c" or " FILE"; nothing for a switch. */
struct text;
void option_values(const struct yaml_field *field, struct text *out);

/* Prints the document on standard output and frees it. */
struct json;
void command_print(struct json *document);

/* Prints "lethe NAME: MESSAGE" on standard error; returns EXIT_ERROR. */
enum exit_code command_failed(const struct invocation *invocation);
/* As command_failed, with a message of its own. */
enum exit_code command_refuse(struct invocation *invocation, const char *format, ...) PRINTF(2, 3);

/* Warnings of a command, a line each, to standard error; NULL: none. Documents hold them, too. */
void command_warn(const char *command, const char *warnings);

#endif
