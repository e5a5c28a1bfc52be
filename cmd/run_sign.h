/* Signing at the end of lethe run. */
#ifndef CMD_RUN_SIGN_H
#define CMD_RUN_SIGN_H

#include "base/text.h"
#include "plan/journal.h"

/* The words for roles (release/statement.h, whose roles and those of data/dataset.h have names in
 * common, so that no file includes both). */
extern const char *const role_names[];

struct run_sign {
    const char *key, *passphrase_file; /* key NULL: nothing is signed */
    int role;                          /* enum role */
};

/* Signs the archive STEM.tar.zst, unless it is signed in that role already, and journals that.
 * `told` receives a line for people. */
bool run_sign(const struct run_sign *sign, const char *stem, struct journal *journal,
              struct arena *arena, struct text *told, struct error *err) MUST_USE;

#endif
