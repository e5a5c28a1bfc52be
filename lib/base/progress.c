/* Progress bars; see progress.h.
 *
 * A drawing costs a system call, so it happens at most ten times a second; the published file is
 * written once a second. A log is read by people, who may have days of it.
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
static const int64_t first_line = 60000000000, longest_pause = 1800000000000;
static atomic_bool silenced;
static char *published; /* owned */

void progress_silence(void)
{
    atomic_store(&silenced, true);
}

static bool is_shown(void)
{
    return !atomic_load(&silenced);
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
    progress->on_terminal = isatty(STDERR_FILENO);
    atomic_store(&progress->next_drawing,
                 progress->started + (progress->on_terminal ? interval : first_line));
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

/* "3200/10000 images, 41/s, 3 min left", and the note. */
static void add_numbers(struct text *line, const struct progress *progress, uint64_t done)
{
    double seconds = (double)(now() - progress->started) * 1e-9;
    double rate = seconds > 0 ? (double)done / seconds : 0;
    char left[TEXT_SHORT], each[TEXT_SHORT];
    text_format(line, "%llu", (unsigned long long)done);
    if (progress->total)
        text_format(line, "/%llu", (unsigned long long)progress->total);
    text_format(line, " %s", progress->unit);
    if (rate >= 1)
        text_format(line, ", %.*f/s", rate < 10 ? 1 : 0, rate);
    else if (rate > 0)
        text_format(line, ", %s each", text_duration(each, 1 / rate));
    if (progress->total && done && done < progress->total)
        text_format(line, ", %s left",
                    text_duration(left, (double)(progress->total - done) / rate));
    if (*progress->note)
        text_format(line, ", %s", progress->note);
}

static void draw(const struct progress *progress, uint64_t done)
{
    struct text line = { 0 };
    text_format(&line, NO_WRAP "\r\033[K%s ", progress->what);
    if (progress->total && has_room_for_bar()) {
        double share = (double)done / (double)progress->total;
        text_add(&line, "▕");
        add_bar(&line, share > 1 ? 1 : share);
        text_add(&line, "▏ ");
    }
    add_numbers(&line, progress, done);
    text_add(&line, WRAP);
    fwrite(line.bytes, 1, line.length, stderr);
    text_release(&line);
}

/* A line of a log, which says when. */
static void log_line(const struct progress *progress, uint64_t done)
{
    char when[32];
    struct tm parts;
    time_t seconds = time(NULL);
    struct text line = { 0 };
    gmtime_r(&seconds, &parts);
    strftime(when, sizeof when, "%Y-%m-%dT%H:%MZ", &parts);
    text_format(&line, "%s %s: ", when, progress->what);
    add_numbers(&line, progress, done);
    text_add(&line, "\n");
    fwrite(line.bytes, 1, line.length, stderr);
    text_release(&line);
}

/* As long as the job has gone on, so that short ones tell little and long ones not too much. */
static int64_t pause_in_log(const struct progress *progress, int64_t time)
{
    int64_t pause = time - progress->started;
    return pause < longest_pause ? pause : longest_pause;
}

void progress_add(struct progress *progress, uint64_t amount)
{
    uint64_t done = atomic_fetch_add(&progress->done, amount) + amount;
    bool shown = is_shown();
    if (!shown && !published)
        return;
    int64_t time = now();
    int64_t pause = progress->on_terminal ? interval : pause_in_log(progress, time);
    if (shown && is_turn(&progress->next_drawing, time, pause))
        (progress->on_terminal ? draw : log_line)(progress, done);
    if (published && is_turn(&progress->next_telling, time, telling_interval))
        tell(progress, done);
}

void progress_note(struct progress *progress, const char *format, ...)
{
    va_list arguments;
    if (!is_shown())
        return;
    va_start(arguments, format);
    vsnprintf(progress->note, sizeof progress->note, format, arguments);
    va_end(arguments);
}

void progress_end(struct progress *progress)
{
    if (!is_shown() || !progress->on_terminal)
        return;
    char took[TEXT_SHORT];
    fprintf(stderr, "\r\033[K%s: %llu %s in %s\n", progress->what,
            (unsigned long long)atomic_load(&progress->done), progress->unit,
            text_duration(took, (double)(now() - progress->started) * 1e-9));
}
