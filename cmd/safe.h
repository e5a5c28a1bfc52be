/* Texts of strangers, for the terminal. */
#ifndef CMD_SAFE_H
#define CMD_SAFE_H

#include "base/arena.h"

/* The text with "?" for control characters, for what is not UTF-8, and for the invisible characters
 * that turn the order of letters around. */
char *safe_text(struct arena *arena, const char *text);

#endif
