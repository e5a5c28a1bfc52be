/* Writing a release out while it is verified: into a folder that appears only when all has passed.
 *
 * Files go to DIR.partial, made fresh, 0700, locked (folder_stage of base/file.h), each folder
 * entered and each file made relative to a descriptor, with O_NOFOLLOW, O_EXCL and names of one
 * part: nothing that another process puts there is followed or overwritten. DIR holds what the
 * archive has in its root folder. Until the commit there is no DIR; a killed run leaves DIR.partial
 * alone.
 */
#ifndef RELEASE_EXTRACT_H
#define RELEASE_EXTRACT_H

#include "base/file.h"
#include "release/stream.h"

struct extract {
    struct folder_stage stage;
    const char *folder;
    int file; /* the one that is being written, or -1 */
};

/* DIR must not exist. */
bool extract_open(struct extract *extract, const char *folder, struct error *err) MUST_USE;
struct stream_sink extract_sink(struct extract *extract);
/* Syncs everything and puts the folder in place; released either way. */
bool extract_commit(struct extract *extract, struct error *err) MUST_USE;
void extract_abandon(struct extract *extract);

#endif
