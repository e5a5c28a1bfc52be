/* Documents that a plan adds to a release: which files of them are packed.
 *
 * A file is packed under its name, a folder under its own with all that is in it; a link to a file
 * is packed as that file. Hidden files (names that begin with a dot: what editors, desktops and
 * version control leave behind) stay out, and are told. What the folder seems to have and no walk
 * would reach, a link to a folder or to nothing, a pipe, is an error: whoever put it there expects
 * it in the release, and it could be anything.
 */
#ifndef RELEASE_INCLUDED_H
#define RELEASE_INCLUDED_H

#include "base/arena.h"

#define INCLUDED_FOLDER "data/included" /* of a release */

struct included {
    const char *name; /* of the file or folder, without what leads to it */
    char **files;     /* of a folder, relative to it; else NULL */
    size_t count;     /* 0: a file */
    char **hidden;    /* that were left out, relative likewise */
    size_t hidden_count;
};

/* Arrays and strings belong to the arena. */
bool included_find(const char *path, struct included *included, struct arena *arena,
                   struct error *err) MUST_USE;

#endif
