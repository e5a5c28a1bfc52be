/* Progress bars; see progress.h.
 *
 * A drawing costs a system call, so it happens at most ten times a second; the published file is
 * written once a second.
 */
#include "base/progress.h"

#include "base/text.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { BAR_CELLS = 24 };
static const int64_t interval = 100000000;
static const int64_t telling_interval = 1000000000;
static atomic_bool silenced;
static char *published; /* owned */

void progress_silence(void)
{
    atomic_store(&silenced, true);
}

static bool is_shown(const struct progress *progress)
{
    return progress->shown && !atomic_load(&silenced);
}

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

double clock_seconds(void)
{
    return (double)now() * 1e-9;
}

void progress_publish(const char *path)
{
    if (published && !path)
        unlink(published);
    free(published);
    published = path ? strdup(path) : NULL;
}

/* One write of a line of one length, so that who reads sees a whole one. */
static void tell(const struct progress *progress, uint64_t done)
{
    enum { LINE = 256 };
    char text[LINE], line[LINE + 1];
    snprintf(text, sizeof text,
             "{\"what\": \"%s\", \"unit\": \"%s\", \"done\": %llu, \"total\": %llu, "
             "\"seconds\": %.1f}",
             progress->what, progress->unit, (unsigned long long)done,
             (unsigned long long)progress->total, (double)(now() - progress->started) * 1e-9);
    snprintf(line, sizeof line, "%-*s\n", LINE - 1, text);
    int descriptor = open(published, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (descriptor < 0)
        return;
    if (pwrite(descriptor, line, LINE, 0) != LINE)
        unlink(published);
    close(descriptor);
}

/* The thread that finds the time ripe claims the turn by moving `next` on. */
static bool is_turn(_Atomic int64_t *next, int64_t time, int64_t pause)
{
    int64_t due = atomic_load(next);
    return time >= due && atomic_compare_exchange_strong(next, &due, time + pause);
}

void progress_begin(struct progress *progress, const char *what, const char *unit, uint64_t total)
{
    *progress = (struct progress){ .what = what, .unit = unit, .total = total };
    progress->started = now();
    progress->shown = isatty(STDERR_FILENO);
    atomic_store(&progress->next_drawing, progress->started + interval);
    atomic_store(&progress->next_telling, progress->started + telling_interval);
}

/* Eighths of a cell, so that a long job is seen to move. */
static void add_bar(struct text *line, double share)
{
    static const char *const eighths[] = { "", "▏", "▎", "▍", "▌", "▋", "▊", "▉" };
    int filled = (int)(share * BAR_CELLS * 8);
    for (int cell = 0; cell < BAR_CELLS; cell++) {
        int here = filled - cell * 8;
        text_add(line, here >= 8 ? "█" : here > 0 ? eighths[here] : " ");
    }
}

/* Without, a line that is wider than the terminal would go on in the next row, of which drawing it
 * anew clears the last alone: every tenth of a second another row of rubbish. */
#define NO_WRAP "\033[?7l"
#define WRAP    "\033[?7h"

/* In a narrow terminal the numbers tell more. */
static bool has_room_for_bar(void)
{
    enum { NARROW = 64 };
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || !size.ws_col || size.ws_col >= NARROW;
}

static void draw(struct progress *progress, uint64_t done)
{
    double seconds = (double)(now() - progress->started) * 1e-9;
    double rate = seconds > 0 ? (double)done / seconds : 0;
    char left[TEXT_SHORT], each[TEXT_SHORT];
    struct text line = { 0 };
    text_format(&line, NO_WRAP "\r\033[K%s ", progress->what);
    if (progress->total) {
        double share = (double)done / (double)progress->total;
        if (has_room_for_bar()) {
            text_add(&line, "▕");
            add_bar(&line, share > 1 ? 1 : share);
            text_add(&line, "▏ ");
        }
        text_format(&line, "%llu/%llu", (unsigned long long)done,
                    (unsigned long long)progress->total);
    } else {
        text_format(&line, "%llu", (unsigned long long)done);
    }
    text_format(&line, " %s", progress->unit);
    if (rate >= 1)
        text_format(&line, ", %.*f/s", rate < 10 ? 1 : 0, rate);
    else if (rate > 0)
        text_format(&line, ", %s each", text_duration(each, 1 / rate));
    if (progress->total && done && done < progress->total)
        text_format(&line, ", %s left",
                    text_duration(left, (double)(progress->total - done) / rate));
    if (*progress->note)
        text_format(&line, ", %s", progress->note);
    text_add(&line, WRAP);
    fwrite(line.bytes, 1, line.length, stderr);
    text_release(&line);
}

void progress_add(struct progress *progress, uint64_t amount)
{
    uint64_t done = atomic_fetch_add(&progress->done, amount) + amount;
    bool shown = is_shown(progress);
    if (!shown && !published)
        return;
    int64_t time = now();
    if (shown && is_turn(&progress->next_drawing, time, interval))
        draw(progress, done);
    if (published && is_turn(&progress->next_telling, time, telling_interval))
        tell(progress, done);
}

void progress_note(struct progress *progress, const char *format, ...)
{
    va_list arguments;
    if (!is_shown(progress))
        return;
    va_start(arguments, format);
    vsnprintf(progress->note, sizeof progress->note, format, arguments);
    va_end(arguments);
}

void progress_end(struct progress *progress)
{
    if (!is_shown(progress))
        return;
    char took[TEXT_SHORT];
    fprintf(stderr, "\r\033[K%s: %llu %s in %s\n", progress->what,
            (unsigned long long)atomic_load(&progress->done), progress->unit,
            text_duration(took, (double)(now() - progress->started) * 1e-9));
}
