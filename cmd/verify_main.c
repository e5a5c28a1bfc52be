/* lethe-verify: the recipient's tool, `lethe verify` as a program of its own. */
#include "command.h"

#include "release/key.h"

#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    struct command command = command_verify;
    command.program = "lethe-verify";
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        printf("lethe-verify %s\n", LETHE_VERSION);
        return EXIT_YES;
    }
    key_ignore_configuration();
    return (int)command_run(&command, argc - 1, argv + 1);
}
