/* Standard error is turned into a pipe or a pseudo-terminal, and what arrives there is read. Each
 * case runs in a child, for silence is for good. */
#include "test.h"

#include "base/progress.h"

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Stands in for libc's: once it is stopped, no time passes but what a job pauses for, at once, and
 * how busy the machine is does not show. */
static bool stopped;
static struct timespec stopped_at[2];
static double seconds_passed;

int clock_gettime(clockid_t clock, struct timespec *time)
{
    if (!stopped || clock > CLOCK_MONOTONIC)
        return (int)syscall(SYS_clock_gettime, clock, time);
    long long nanoseconds =
        stopped_at[clock].tv_nsec + (long long)((seconds_passed + 1e-6) * 1e3) * 1000000;
    time->tv_sec = stopped_at[clock].tv_sec + (time_t)(nanoseconds / 1000000000);
    time->tv_nsec = (long)(nanoseconds % 1000000000);
    return 0;
}

static void stop_clock(void)
{
    for (clockid_t clock = CLOCK_REALTIME; clock <= CLOCK_MONOTONIC; clock++)
        clock_gettime(clock, &stopped_at[clock]);
    stopped = true;
}

static void pause_for(double seconds)
{
    seconds_passed += seconds;
}

/* 4 of 8 in 0.4 s, drawn at most ten times a second. */
static void half_a_job(void)
{
    struct progress progress;
    progress_begin(&progress, "ingest", "subjects", 8);
    for (int i = 0; i < 4; i++) {
        pause_for(0.11);
        progress_add(&progress, 1);
    }
    progress_end(&progress);
}

static void a_job_of_unknown_length(void)
{
    struct progress progress;
    progress_begin(&progress, "walk", "files", 0);
    pause_for(0.11);
    progress_add(&progress, 5000);
    progress_end(&progress);
}

static void a_fast_job(void)
{
    struct progress progress;
    stopped = false;
    progress_begin(&progress, "hash", "files", 1000000);
    for (int i = 0; i < 1000000; i++)
        progress_add(&progress, 1);
    progress_end(&progress);
}

static void a_slow_job(void)
{
    struct progress progress;
    progress_begin(&progress, "train", "epochs", 3);
    pause_for(1.25);
    progress_add(&progress, 1);
    progress_end(&progress);
}

/* Ten seconds a step, 3 days. */
static void a_job_of_days(void)
{
    struct progress progress;
    progress_begin(&progress, "train", "images", 40000);
    for (int i = 0; i < 3 * 24 * 360; i++) {
        pause_for(10);
        progress_note(&progress, "loss %d", i);
        progress_add(&progress, 1);
    }
    progress_end(&progress);
}

static void a_silenced_job_of_days(void)
{
    progress_silence();
    a_job_of_days();
}

static void a_silenced_job(void)
{
    progress_silence();
    half_a_job();
}

static void a_job_silenced_half_way(void)
{
    struct progress progress;
    progress_begin(&progress, "ingest", "subjects", 8);
    progress_silence();
    pause_for(0.11);
    progress_add(&progress, 1);
    progress_end(&progress);
}

static unsigned short terminal_columns; /* 0: it does not say */

/* What the job writes to standard error when that is a terminal, or a pipe. */
static void capture(void (*job)(void), bool terminal, char *output, size_t capacity)
{
    int ends[2], ready;
    if (terminal)
        ready = openpty(&ends[0], &ends[1], NULL, NULL,
                        &(struct winsize){ 24, terminal_columns, 0, 0 });
    else
        ready = pipe(ends);
    assert_int_equal(ready, 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        stop_clock();
        job();
        _exit(0);
    }
    close(ends[1]);
    size_t length = 0;
    for (ssize_t got; length + 1 < capacity; length += (size_t)got)
        if ((got = read(ends[0], output + length, capacity - 1 - length)) <= 0)
            break; /* EOF of a pipe, EIO of a terminal that nobody holds any more */
    output[length] = '\0';
    close(ends[0]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static char output[1 << 20];

static int drawings(void)
{
    int count = 0;
    for (const char *at = output; (at = strstr(at, "\r\033[K")); at++)
        count++;
    return count;
}

static void a_log_gets_nothing_of_a_short_job(void **state)
{
    (void)state;
    capture(half_a_job, false, output, sizeof output);
    assert_string_equal(output, "");
}

static void a_log_gets_a_line_now_and_then(void **state)
{
    (void)state;
    int lines = 0;
    capture(a_job_of_days, false, output, sizeof output);
    for (const char *at = output; *at; at++)
        lines += *at == '\n';
    assert_in_range(lines, 140, 150); /* after 1, 2, 4, 8, 16, 32 minutes, then every 30 */
    assert_contains(output, "Z train: 6/40000 images, 10 s each, 111 h 05 min left, loss 5\n20");
    assert_null(strchr(output, '\033'));
    assert_null(strchr(output, '\r'));
    capture(a_silenced_job_of_days, false, output, sizeof output);
    assert_string_equal(output, "");
}

static void a_terminal_sees_bar_count_rate_and_time_left(void **state)
{
    (void)state;
    capture(half_a_job, true, output, sizeof output);
    assert_contains(output, "\r\033[Kingest ▕");
    assert_contains(output, "▏ 1/8 subjects, ");
    assert_contains(output, "/s, 0."); /* eight in under a second: the rest takes 0.x s */
    assert_contains(output, " s left");
    assert_contains(output, "\r\033[Kingest: 4 subjects in 0.");
    assert_string_equal(output + strlen(output) - 2, "\r\n");
}

/* A row that wrapped could not be drawn over. */
static void a_narrow_terminal_sees_numbers_alone_in_one_row(void **state)
{
    (void)state;
    terminal_columns = 40;
    capture(half_a_job, true, output, sizeof output);
    terminal_columns = 0;
    assert_contains(output, "\033[?7l\r\033[Kingest 1/8 subjects, ");
    assert_null(strstr(output, "▕"));
    assert_contains(output, " left\033[?7h");
}

static void the_rate_is_what_was_done_by_the_time_it_took(void **state)
{
    (void)state;
    double rate = 0;
    capture(half_a_job, true, output, sizeof output);
    const char *last = strstr(output, "4/8 subjects, ");
    assert_non_null(last);
    assert_int_equal(sscanf(last, "4/8 subjects, %lf/s", &rate), 1);
    assert_float_equal(rate, 9.1, 0.06); /* 4 in 0.44 s */
}

static void less_than_one_a_second_is_told_as_time_each(void **state)
{
    (void)state;
    capture(a_slow_job, true, output, sizeof output);
    assert_contains(output, "1/3 epochs, 1.");
    assert_contains(output, " s each, ");
}

static void an_unknown_length_has_neither_bar_nor_time_left(void **state)
{
    (void)state;
    capture(a_job_of_unknown_length, true, output, sizeof output);
    assert_contains(output, "walk 5000 files, ");
    assert_null(strstr(output, "left"));
    assert_null(strstr(output, "▕"));
}

static void drawing_is_at_most_ten_times_a_second(void **state)
{
    (void)state;
    double before = clock_seconds();
    capture(a_fast_job, true, output, sizeof output);
    assert_contains(output, "hash: 1000000 files in ");
    assert_true(drawings() <= 2 + (int)((clock_seconds() - before) * 10));
}

static void silence_is_kept(void **state)
{
    (void)state;
    capture(a_silenced_job, true, output, sizeof output);
    assert_string_equal(output, "");
}

static void silence_stops_what_has_begun(void **state)
{
    (void)state;
    capture(a_job_silenced_half_way, true, output, sizeof output);
    assert_string_equal(output, "");
}

/* A job off a terminal tells where it is in a file, which ends with it. */
static void a_published_job_is_seen_by_others(void **state)
{
    (void)state;
    char path[] = "/tmp/lethe-progress-XXXXXX", text[300] = "";
    close(mkstemp(path));
    progress_publish(path);
    stop_clock();
    struct progress progress;
    progress_begin(&progress, "train", "images", 8);
    pause_for(1.1);
    progress_add(&progress, 5);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_non_null(fgets(text, sizeof text, file));
    fclose(file);
    assert_contains(text, "\"what\": \"train\", \"unit\": \"images\", \"done\": 5, \"total\": 8, ");
    progress_publish(NULL);
    stopped = false;
    assert_int_equal(access(path, F_OK), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_log_gets_nothing_of_a_short_job),
        cmocka_unit_test(a_log_gets_a_line_now_and_then),
        cmocka_unit_test(a_terminal_sees_bar_count_rate_and_time_left),
        cmocka_unit_test(a_narrow_terminal_sees_numbers_alone_in_one_row),
        cmocka_unit_test(the_rate_is_what_was_done_by_the_time_it_took),
        cmocka_unit_test(less_than_one_a_second_is_told_as_time_each),
        cmocka_unit_test(an_unknown_length_has_neither_bar_nor_time_left),
        cmocka_unit_test(drawing_is_at_most_ten_times_a_second),
        cmocka_unit_test(silence_is_kept),
        cmocka_unit_test(silence_stops_what_has_begun),
        cmocka_unit_test(a_published_job_is_seen_by_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
