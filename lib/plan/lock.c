/* The lock of a run folder; see lock.h. */
#include "plan/lock.h"

#include "base/file.h"
#include "base/json.h"

#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char lock_name[] = "lock";
enum { LOCK_LIMIT = 1 << 16 };

const char *time_text(char buffer[TIME_TEXT])
{
    struct tm parts;
    time_t now = time(NULL);
    gmtime_r(&now, &parts);
    strftime(buffer, TIME_TEXT, "%Y-%m-%dT%H:%M:%SZ", &parts);
    return buffer;
}

/* What the file tells; a file without sense tells nothing. */
static void read_holder(const char *path, struct run_holder *holder, struct arena *arena)
{
    size_t size;
    char *bytes = file_read(path, LOCK_LIMIT, &size, NULL);
    struct json *record = bytes ? json_parse(bytes, size, path, NULL) : NULL;
    const char *host = record ? json_get_string(record, "host", NULL) : NULL;
    const char *since = record ? json_get_string(record, "since", NULL) : NULL;
    const char *command = record ? json_get_string(record, "command", NULL) : NULL;
    if (!record || !json_get_integer(record, "process", &holder->process, NULL))
        holder->process = 0;
    holder->host = arena_string(arena, host ? host : "an unknown host");
    holder->since = arena_string(arena, since ? since : "an unknown time");
    holder->command = arena_string(arena, command ? command : "an unknown command");
    json_free(record);
    memory_free(bytes);
}

static bool write_holder(int descriptor, const char *path, const char *command, struct error *err)
{
    char host[256] = "", since[TIME_TEXT];
    gethostname(host, sizeof host - 1);
    struct json *record = json_new_object();
    json_put_integer(record, "process", getpid());
    json_put_string(record, "host", host);
    json_put_string(record, "since", time_text(since));
    json_put_string(record, "command", command);
    char *line = json_line(record);
    size_t length = strlen(line);
    bool ok =
        ftruncate(descriptor, 0) == 0 && pwrite(descriptor, line, length, 0) == (ssize_t)length;
    memory_free(line);
    json_free(record);
    return ok || error_set_errno(err, "%s: cannot be written", path);
}

static bool is_held(const char *path, struct run_holder *holder, struct arena *arena,
                    struct error *err)
{
    read_holder(path, holder, arena);
    return error_set(err,
                     "%s: another run works in this folder: process %lld on %s, since %s (%s); "
                     "wait until it has ended, or end it",
                     path, (long long)holder->process, holder->host, holder->since,
                     holder->command);
}

static bool take(struct run_lock *lock, const char *path, const char *command, struct arena *arena,
                 struct error *err)
{
    struct run_holder holder;
    lock->descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (lock->descriptor < 0)
        return error_set_errno(err, "%s: cannot be written", path);
    struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    if (fcntl(lock->descriptor, F_OFD_SETLK, &whole) != 0)
        return is_locked_by_another(path, err) && is_held(path, &holder, arena, err);
    return write_holder(lock->descriptor, path, command, err);
}

bool run_lock_take(struct run_lock *lock, const char *folder, const char *command,
                   struct error *err)
{
    struct arena arena;
    lock->descriptor = -1;
    if (!folder_create(folder, err))
        return false;
    arena_init(&arena);
    bool ok = take(lock, path_join(&arena, folder, lock_name), command, &arena, err);
    if (!ok)
        run_lock_release(lock);
    arena_release(&arena);
    return ok;
}

/* The file stays: removing it would let a third process lock a file of the same name. */
void run_lock_release(struct run_lock *lock)
{
    if (lock->descriptor >= 0)
        close(lock->descriptor);
    lock->descriptor = -1;
}

void run_lock_holder(const char *folder, struct run_holder *holder, struct arena *arena)
{
    const char *path = path_join(arena, folder, lock_name);
    *holder = (struct run_holder){ 0 };
    struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (descriptor < 0)
        return;
    if (fcntl(descriptor, F_OFD_GETLK, &whole) == 0 && whole.l_type != F_UNLCK) {
        holder->is_held = true;
        read_holder(path, holder, arena);
    }
    close(descriptor);
}
