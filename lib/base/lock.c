/* Lock files; see lock.h. */
#include "base/lock.h"

#include "base/file.h"
#include "base/json.h"

#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LOCK_LIMIT = 1 << 16 };
static const struct timespec PAUSE = { .tv_nsec = 500 * 1000 * 1000 };

const char *time_text(char buffer[TIME_TEXT])
{
    struct tm parts;
    time_t now = time(NULL);
    gmtime_r(&now, &parts);
    strftime(buffer, TIME_TEXT, "%Y-%m-%dT%H:%M:%SZ", &parts);
    return buffer;
}

void lock_pause(void)
{
    nanosleep(&PAUSE, NULL);
}

/* ---- who holds it ---------------------------------------------------------------------------- */

static const char *word(const struct json *record, const char *key, const char *otherwise,
                        struct arena *arena)
{
    const char *value = record ? json_get_string(record, key, NULL) : NULL;
    return arena_string(arena, value ? value : otherwise);
}

/* What the file tells; a file without sense tells nothing. */
static void read_holder(const char *path, struct lock_holder *holder, struct arena *arena)
{
    size_t size;
    char *bytes = file_read(path, LOCK_LIMIT, &size, NULL);
    struct json *record = bytes && size ? json_parse(bytes, size, path, NULL) : NULL;
    memory_free(bytes);
    if (!record || !json_get_integer(record, "process", &holder->process, NULL))
        holder->process = 0;
    holder->is_told = record;
    holder->host = word(record, "host", "an unknown host", arena);
    holder->since = word(record, "since", "an unknown time", arena);
    holder->command = word(record, "command", "an unknown command", arena);
    holder->version = word(record, "version", "", arena);
    holder->record = record;
}

/* Not as lock_take asks, by trying: whoever wants to take it just then would be refused. */
bool lock_is_held(const char *path)
{
    struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (descriptor < 0)
        return false;
    bool held = fcntl(descriptor, F_OFD_GETLK, &whole) == 0 && whole.l_type != F_UNLCK;
    close(descriptor);
    return held;
}

void lock_holder(const char *path, struct lock_holder *holder, struct arena *arena)
{
    *holder = (struct lock_holder){ .is_held = lock_is_held(path) };
    read_holder(path, holder, arena);
}

void lock_holder_release(struct lock_holder *holder)
{
    json_free(holder->record);
    holder->record = NULL;
}

const char *lock_words(const char *path, struct arena *arena)
{
    struct lock_holder holder;
    read_holder(path, &holder, arena);
    lock_holder_release(&holder);
    return arena_format(arena, "process %lld on %s, since %s (%s)", (long long)holder.process,
                        holder.host, holder.since, holder.command);
}

/* ---- taking it ------------------------------------------------------------------------------- */

/* Over what stands there, and then cut to its length, so that nobody finds an empty file. */
static bool write_record(const struct lock *lock, struct error *err)
{
    char *line = json_line(lock->record);
    size_t length = strlen(line);
    bool ok = pwrite(lock->descriptor, line, length, 0) == (ssize_t)length &&
              ftruncate(lock->descriptor, (off_t)length) == 0;
    memory_free(line);
    return ok || error_set_errno(err, "%s: cannot be written", lock->path);
}

static struct json *new_record(const char *command)
{
    char host[256] = "", since[TIME_TEXT];
    gethostname(host, sizeof host - 1);
    struct json *record = json_new_object();
    json_put_integer(record, "process", getpid());
    json_put_string(record, "host", host);
    json_put_string(record, "since", time_text(since));
    json_put_string(record, "command", command);
    json_put_string(record, "version", LETHE_VERSION);
    return record;
}

static char *copy_of(const char *path)
{
    char *copy = memory_grow(NULL, strlen(path) + 1, 1);
    return strcpy(copy, path);
}

void lock_leave(struct lock *lock)
{
    if (lock->descriptor >= 0)
        close(lock->descriptor);
    json_free(lock->record);
    memory_free(lock->path);
    *lock = (struct lock)LOCK_NONE;
}

static enum lock_outcome say_who(const char *path, struct error *err)
{
    struct arena arena;
    arena_init(&arena);
    error_set(err, "%s", lock_words(path, &arena));
    arena_release(&arena);
    return LOCK_HELD;
}

static enum lock_outcome take(struct lock *lock, const char *command, struct error *err)
{
    struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    lock->descriptor = open(lock->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (lock->descriptor < 0) {
        error_set_errno(err, "%s: cannot be written", lock->path);
        return LOCK_FAILED;
    }
    if (fcntl(lock->descriptor, F_OFD_SETLK, &whole) != 0)
        return is_locked_by_another(lock->path, err) ? say_who(lock->path, err) : LOCK_FAILED;
    lock->record = new_record(command);
    return write_record(lock, err) ? LOCK_TAKEN : LOCK_FAILED;
}

enum lock_outcome lock_take(struct lock *lock, const char *path, const char *command,
                            struct error *err)
{
    *lock = (struct lock){ .descriptor = -1, .path = copy_of(path) };
    enum lock_outcome outcome = take(lock, command, err);
    if (outcome != LOCK_TAKEN)
        lock_leave(lock);
    return outcome;
}

bool lock_tell(struct lock *lock, const struct lock_word *words, size_t count, struct error *err)
{
    for (size_t i = 0; i < count; i++)
        json_put_string(lock->record, words[i].key, words[i].value);
    return write_record(lock, err) && (fsync(lock->descriptor) == 0 ||
                                       error_set_errno(err, "%s: cannot be synced", lock->path));
}

/* The file stays: removing it would let a third process lock a file of the same name. */
void lock_release(struct lock *lock)
{
    if (lock->descriptor >= 0 && ftruncate(lock->descriptor, 0) != 0)
        (void)0; /* then it looks as if its process had been killed, which who asks can take */
    lock_leave(lock);
}

void lock_remove(struct lock *lock)
{
    if (lock->descriptor >= 0)
        unlink(lock->path);
    lock_leave(lock);
}
