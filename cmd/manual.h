/* Man pages and shell completions, from the tables that -h comes from.
 *
 * `lethe help --write FOLDER` writes
 *
 *     FOLDER/man/man1/lethe.1, lethe-COMMAND.1 …
 *     FOLDER/bash-completion/completions/lethe
 *     FOLDER/zsh/site-functions/_lethe
 *     FOLDER/fish/vendor_completions.d/lethe.fish
 *
 * as the build does, for installing; `lethe help --man COMMAND` prints one page.
 */
#ifndef CMD_MANUAL_H
#define CMD_MANUAL_H

#include "command.h"

/* Everything after `lethe help`; returns the exit code. */
int manual_run(int argc, char **argv);

#endif
