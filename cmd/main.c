/* lethe: the table of commands. */
#include "command.h"
#include "manual.h"
#include "train_rank.h"

#include "base/parallel.h"
#include "base/text.h"
#include "train/interrupt.h"

#include <stdio.h>
#include <string.h>

const struct command *const commands[] = {
    /* one a line, in the order that -h shows */
    /* clang-format off */
    &command_run_plan,
    &command_assist,
    &command_status,
    &command_init,
    &command_phantom,
    &command_ingest,
    &command_inspect,
    &command_train,
    &command_curves,
    &command_import_weights,
    &command_sample,
    &command_audit,
    &command_utility,
    &command_fidelity,
    &command_references,
    &command_membership,
    &command_choose,
    &command_score,
    &command_segment,
    &command_report,
    &command_review,
    &command_package,
    &command_sign,
    &command_verify,
    &command_keygen,
    &command_purge,
    &command_doctor,
    NULL,
    /* clang-format on */
};

static void list_commands(void)
{
    printf(
        "usage: lethe COMMAND [ARGUMENTS]     lethe COMMAND -h tells more\n\n"
        "Share synthetic medical images instead of patients' images, and prove that you may.\n\n");
    for (const struct command *const *command = commands; *command; command++)
        printf("  %-15s %s\n", (*command)->name, (*command)->summary);
    printf("\nExit codes: 0 yes, 1 no, 2 could not tell (usage, input, output), "
           "3 authentic but policy unmet\n");
}

static enum exit_code unknown_command(const char *word)
{
    const char *names[64];
    size_t count = 0;
    for (const struct command *const *command = commands; *command && count < 64; command++)
        names[count++] = (*command)->name;
    const char *nearest = text_nearest(word, names, count);
    if (nearest)
        fprintf(stderr, "lethe: there is no command \"%s\"; did you mean \"%s\"?\n", word, nearest);
    else
        fprintf(stderr, "lethe: there is no command \"%s\"; lethe -h lists them\n", word);
    return EXIT_ERROR;
}

static enum exit_code run(const struct command *command, int argc, char **argv)
{
    static char title[64];
    snprintf(title, sizeof title, "lethe %s", command->name);
    if (command->goes_on)
        interrupts_end_program(title, EXIT_ERROR);
    return command_run(command, argc, argv);
}

int main(int argc, char **argv)
{
    command_use_threads = parallel_set_threads;
    const char *word = argc > 1 ? argv[1] : "";
    if (!strcmp(word, "help") && argc > 2)
        return manual_run(argc - 2, argv + 2);
    if (!strcmp(word, "-h") || !strcmp(word, "--help") || !strcmp(word, "help")) {
        list_commands();
        return EXIT_YES;
    }
    if (!strcmp(word, "--version")) {
        printf("lethe %s\n", LETHE_VERSION);
        return EXIT_YES;
    }
    if (!*word) {
        list_commands();
        return EXIT_ERROR;
    }
    if (!strcmp(word, TRAIN_RANK))
        return train_rank(argc - 2, argv + 2);
    for (const struct command *const *command = commands; *command; command++)
        if (strcmp((*command)->name, word) == 0)
            return (int)run(*command, argc - 2, argv + 2);
    return (int)unknown_command(word);
}
