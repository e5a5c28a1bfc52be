/* A folder's files looked at, or written again without what the lint finds.
 *
 * Cleaning writes NIfTI, PNG and .npy files anew from their pixels alone; in a NIfTI orientation,
 * spacing and scaling stay. All other files are copied as they are, so what stands in text has to
 * be mended by a person: it is still found. Digests change, so an audit has to be run again. */
#ifndef RELEASE_SCRUB_H
#define RELEASE_SCRUB_H

#include "base/text.h"

/* Findings, a line each, in the order of the files. */
bool lint_folder(const char *folder, size_t *files, struct text *findings,
                 struct error *err) MUST_USE;

/* Writes the folder `out`, which may not exist, and looks at what was written. */
bool scrub_folder(const char *folder, const char *out, size_t *files, struct text *findings,
                  struct error *err) MUST_USE;

#endif
