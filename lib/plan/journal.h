/* The journal of a run: what was done, when, by whom and with what; lines are only ever added.
 *
 *     struct journal journal;
 *     if (!journal_open(&journal, "run", err)) …              // checks the chain
 *     struct json *details = json_new_object();
 *     json_put_string(details, "stage", "train");
 *     if (!journal_add(&journal, "stage started", details, err)) …
 *     journal_close(&journal);
 *
 * FOLDER/journal.jsonl holds a JSON object a line, each with its number and, as `previous`, the
 * SHA-256 of the line before it (of its bytes, without the line's end; zeros for the first). So a
 * line that was edited, removed or put in breaks the chain at that place. Lines cut off at the end
 * break nothing: what tells of them is a length and a head that were stated elsewhere, as the
 * report does; journal_states holds such a statement against the file.
 *
 * A line is one write, synced. One that a power cut left unfinished is cut off when the journal is
 * next opened, and the next line says so.
 */
#ifndef PLAN_JOURNAL_H
#define PLAN_JOURNAL_H

#include "base/digest.h"
#include "base/json.h"

struct journal {
    char *path; /* owned */
    int descriptor;
    uint64_t length;     /* lines */
    struct digest head;  /* of the last line; zeros while there is none */
    uint64_t torn_bytes; /* of an unfinished line that was cut off at opening */
};

/* Opens the folder's journal for adding, or begins it. Fails, naming the line, where its chain is
 * broken. The caller holds the folder's lock. */
bool journal_open(struct journal *journal, const char *folder, struct error *err) MUST_USE;
void journal_close(struct journal *journal);

/* Adds a line; the details (NULL: none) are taken over. */
bool journal_add(struct journal *journal, const char *event, struct json *details,
                 struct error *err) MUST_USE;

/* ---- reading --------------------------------------------------------------------------------- */

/* Checks the chain of a folder's journal, which may be growing meanwhile, and tells length and
 * head. `visit`, when given, gets every line in order. A missing journal has length 0. */
bool journal_read(const char *folder, void (*visit)(void *context, const struct json *line),
                  void *context, uint64_t *length, struct digest *head, struct error *err) MUST_USE;

/* Whether the journal, having been checked, is one that once had this length and this head. */
bool journal_states(const char *folder, uint64_t length, const struct digest *head,
                    struct error *err) MUST_USE;

#endif
