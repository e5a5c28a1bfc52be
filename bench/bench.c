/* Rows and peers; see bench.h. */
#include "bench.h"

#include "base/arena.h"
#include "base/json.h"
#include "base/progress.h"

#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

void bench_fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("bench: ", stderr);
    vfprintf(stderr, format, arguments);
    fputs("\n", stderr);
    va_end(arguments);
    exit(2);
}

void bench_begin(struct bench *bench, const char *name, int argc, char **argv)
{
    *bench = (struct bench){ .name = name };
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") != 0 || i + 1 == argc)
            bench_fail("%s: unknown argument %s; usage: %s [--json FILE]", name, argv[i], argv[0]);
        bench->json = fopen(argv[++i], "a");
        if (!bench->json)
            bench_fail("%s: cannot be written", argv[i]);
    }
    printf("%-10s %-24s %12s %12s %8s %6s  %s\n", "bench", "case", "ours", "peer", "ratio", "goal",
           "unit, peer");
}

/* The number in so many columns, to four digits; a dash where there is none. */
static void print_number(double value, int width)
{
    if (isnan(value))
        printf(" %*s", width + 2, "–"); /* the dash takes three bytes */
    else
        printf(" %*.4g", width, value);
}

void bench_row(struct bench *bench, const struct bench_row *row)
{
    printf("%-10s %-24s", bench->name, row->case_name);
    print_number(row->ours, 12);
    print_number(row->peer, 12);
    print_number(row->ratio, 8);
    print_number(row->goal, 6);
    printf("  %s%s%s\n", row->unit, row->peer_name ? ", " : "",
           row->peer_name ? row->peer_name : "");
    fflush(stdout);
    if (!bench->json)
        return;
    struct json *object = json_new_object();
    json_put_string(object, "bench", bench->name);
    json_put_string(object, "case", row->case_name);
    json_put_string(object, "unit", row->unit);
    json_put_real(object, "ours", row->ours);
    json_put_real(object, "peer", row->peer);
    json_put_string(object, "peer_name", row->peer_name ? row->peer_name : "");
    json_put_real(object, "ratio", row->ratio);
    json_put_real(object, "goal", row->goal);
    char *line = json_line(object);
    fputs(line, bench->json);
    memory_free(line);
    json_free(object);
}

void bench_end(struct bench *bench)
{
    if (bench->json && fclose(bench->json) != 0)
        bench_fail("the JSON file cannot be written");
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, by_value);
    return (values[count / 2] + values[(count - 1) / 2]) / 2;
}

double bench_seconds(void)
{
    return clock_seconds();
}

/* ---- peers ----------------------------------------------------------------------------------- */

static void execute(const char *const *arguments)
{
    execvp(arguments[0], (char *const *)(size_t)arguments);
    fprintf(stderr, "bench: %s cannot be run\n", arguments[0]);
    _exit(127);
}

void peer_start(struct peer *peer, const char *const *arguments)
{
    int to[2], from[2];
    *peer = (struct peer){ 0 };
    if (pipe2(to, O_CLOEXEC) != 0 || pipe2(from, O_CLOEXEC) != 0)
        bench_fail("no pipe could be made");
    peer->process = fork();
    if (peer->process == 0) {
        dup2(to[0], STDIN_FILENO);
        dup2(from[1], STDOUT_FILENO);
        execute(arguments);
    }
    close(to[0]);
    close(from[1]);
    peer->to = fdopen(to[1], "w");
    peer->from = fdopen(from[0], "r");
    if (peer->process < 0 || !peer->to || !peer->from)
        bench_fail("%s could not be started", arguments[0]);
}

const char *peer_ask(struct peer *peer, const char *line)
{
    fputs(line, peer->to);
    fflush(peer->to);
    ssize_t length = getline(&peer->line, &peer->capacity, peer->from);
    if (length <= 0)
        bench_fail("the peer gave no answer to: %s", line);
    peer->line[strcspn(peer->line, "\n")] = '\0';
    return peer->line;
}

double peer_number(struct peer *peer, const char *line)
{
    const char *answer = peer_ask(peer, line);
    char *end;
    double value = strtod(answer, &end);
    if (end == answer || *end)
        bench_fail("the peer said \"%s\" instead of a number", answer);
    return value;
}

void peer_stop(struct peer *peer)
{
    fclose(peer->to);
    fclose(peer->from);
    waitpid(peer->process, NULL, 0);
    free(peer->line);
}

double bench_peak_memory(const char *const *arguments)
{
    struct rusage usage;
    int status;
    pid_t process = fork();
    if (process == 0) {
        int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
        dup2(null, STDOUT_FILENO);
        execute(arguments);
    }
    if (process < 0 || wait4(process, &status, 0, &usage) != process || status != 0)
        bench_fail("%s did not succeed", arguments[0]);
    return (double)usage.ru_maxrss * 1024;
}
