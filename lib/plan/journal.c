/* The journal of a run; see journal.h. */
#include "plan/journal.h"

#include "base/file.h"
#include "plan/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char journal_name[] = "journal.jsonl";
static const size_t JOURNAL_LIMIT = (size_t)1 << 30;

/* ---- the chain ------------------------------------------------------------------------------- */

struct chain {
    const char *path;
    uint64_t length;
    struct digest head;
    void (*visit)(void *context, const struct json *line);
    void *context;
    uint64_t wanted; /* a length whose head is kept in `found` */
    struct digest found;
};

static bool broken(const struct chain *chain, const char *what, struct error *err)
{
    return error_set(err,
                     "%s: line %llu %s: the journal was changed after it was written, and what "
                     "was done cannot be shown from it",
                     chain->path, (unsigned long long)chain->length + 1, what);
}

/* Holds one line against those before it. */
static bool follow(struct chain *chain, const char *bytes, size_t size, struct error *err)
{
    int64_t number;
    char hex[DIGEST_HEX];
    struct json *line = json_parse(bytes, size, chain->path, NULL);
    if (!line)
        return broken(chain, "is no JSON", err);
    const char *previous = json_get_string(line, "previous", NULL);
    bool ok = true;
    if (!json_get_integer(line, "number", &number, NULL) || number != (int64_t)chain->length + 1)
        ok = broken(chain, "does not bear that number", err);
    else if (!previous || strcmp(previous, digest_hex(&chain->head, hex)) != 0)
        ok = broken(chain, "does not follow from the one before it", err);
    else if (chain->visit)
        chain->visit(chain->context, line);
    json_free(line);
    if (!ok)
        return false;
    chain->head = digest_of(bytes, size);
    chain->length++;
    if (chain->length == chain->wanted)
        chain->found = chain->head;
    return true;
}

/* Follows all whole lines; tells how many bytes they are. A missing file has none. */
static bool follow_all(struct chain *chain, size_t *whole, size_t *torn, struct error *err)
{
    *whole = *torn = 0;
    if (access(chain->path, F_OK) != 0) /* a run folder of somebody else's is not an empty one */
        return errno == ENOENT || errno == ENOTDIR ||
               error_set_errno(err, "%s: cannot be read", chain->path);
    size_t size;
    char *bytes = file_read(chain->path, JOURNAL_LIMIT, &size, err);
    bool ok = bytes;
    for (const char *end; ok && (end = memchr(bytes + *whole, '\n', size - *whole));) {
        ok = follow(chain, bytes + *whole, (size_t)(end - bytes) - *whole, err);
        *whole = (size_t)(end - bytes) + 1;
    }
    *torn = ok ? size - *whole : 0;
    memory_free(bytes);
    return ok;
}

bool journal_read(const char *folder, void (*visit)(void *context, const struct json *line),
                  void *context, uint64_t *length, struct digest *head, struct error *err)
{
    struct arena arena;
    size_t whole, torn;
    arena_init(&arena);
    struct chain chain = { .path = path_join(&arena, folder, journal_name),
                           .visit = visit,
                           .context = context };
    bool ok = follow_all(&chain, &whole, &torn, err);
    *length = chain.length;
    *head = chain.head;
    arena_release(&arena);
    return ok;
}

bool journal_states(const char *folder, uint64_t length, const struct digest *head,
                    struct error *err)
{
    struct arena arena;
    size_t whole, torn;
    arena_init(&arena);
    struct chain chain = { .path = path_join(&arena, folder, journal_name), .wanted = length };
    bool ok = follow_all(&chain, &whole, &torn, err);
    if (ok && chain.length < length)
        ok = error_set(err, "%s: %llu lines, it once had %llu: lines were cut off at its end",
                       chain.path, (unsigned long long)chain.length, (unsigned long long)length);
    else if (ok && length && !digest_equal(&chain.found, head))
        ok = error_set(err, "%s: line %llu is not the one that stood there: it was written anew",
                       chain.path, (unsigned long long)length);
    arena_release(&arena);
    return ok;
}

/* ---- adding ---------------------------------------------------------------------------------- */

static bool open_file(struct journal *journal, size_t whole, struct error *err)
{
    journal->descriptor =
        open(journal->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (journal->descriptor < 0 ||
        (journal->torn_bytes && ftruncate(journal->descriptor, (off_t)whole) != 0))
        return error_set_errno(err, "%s: cannot be written", journal->path);
    return true;
}

/* Says in a line of its own that something was cut off. */
static bool tell_torn(struct journal *journal, struct error *err)
{
    if (!journal->torn_bytes)
        return true;
    struct json *details = json_new_object();
    json_put_integer(details, "bytes", (int64_t)journal->torn_bytes);
    return journal_add(journal, "unfinished line cut off", details, err);
}

bool journal_open(struct journal *journal, const char *folder, struct error *err)
{
    struct arena arena;
    size_t whole, torn;
    *journal = (struct journal){ .descriptor = -1 };
    arena_init(&arena);
    struct chain chain = { .path = path_join(&arena, folder, journal_name) };
    bool ok = follow_all(&chain, &whole, &torn, err);
    if (ok) {
        journal->path = strdup(chain.path);
        CHECK(journal->path, "out of memory");
        journal->length = chain.length;
        journal->head = chain.head;
        journal->torn_bytes = torn;
        ok = open_file(journal, whole, err) && tell_torn(journal, err);
        if (!ok)
            journal_close(journal);
    }
    arena_release(&arena);
    return ok;
}

void journal_close(struct journal *journal)
{
    if (journal->descriptor >= 0)
        close(journal->descriptor);
    free(journal->path);
    *journal = (struct journal){ .descriptor = -1 };
}

/* Who works: the account's name, or its number where it has none. */
static void put_user(struct json *line)
{
    char number[32];
    const struct passwd *account = getpwuid(geteuid());
    snprintf(number, sizeof number, "%ld", (long)geteuid());
    json_put_string(line, "user", account ? account->pw_name : number);
}

bool journal_add(struct journal *journal, const char *event, struct json *details,
                 struct error *err)
{
    char hex[DIGEST_HEX], time[TIME_TEXT];
    struct json *line = json_new_object();
    json_put_integer(line, "number", (int64_t)journal->length + 1);
    json_put_string(line, "previous", digest_hex(&journal->head, hex));
    json_put_string(line, "time", time_text(time));
    json_put_string(line, "version", LETHE_VERSION);
    put_user(line);
    json_put_string(line, "event", event);
    if (details)
        json_put(line, "details", details);
    char *text = json_line(line);
    size_t size = strlen(text);
    bool ok = (write(journal->descriptor, text, size) == (ssize_t)size &&
               fdatasync(journal->descriptor) == 0) ||
              error_set_errno(err, "%s: cannot be written", journal->path);
    if (ok) {
        journal->head = digest_of(text, size - 1);
        journal->length++;
    }
    memory_free(text);
    json_free(line);
    return ok;
}
