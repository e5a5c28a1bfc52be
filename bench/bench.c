/* Rows and peers; see bench.h. */
#include "bench.h"

#include "base/arena.h"
#include "base/json.h"
#include "base/progress.h"

#include <fcntl.h>
#include <limits.h>
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

/* ---- the command line ------------------------------------------------------------------------ */

static const char *json_path;
static bool wants_help;
static const struct bench_option common[] = {
    { "--json", "FILE", "append each row to this file, a line of JSON", BENCH_TEXT, &json_path },
    { "-h", NULL, "show this", BENCH_FLAG, &wants_help },
    { 0 },
};

static void show_options(const struct bench_option *options, FILE *out)
{
    enum { COLUMN = 22 };
    for (; options && options->name; options++) {
        char text[64];
        snprintf(text, sizeof text, "%s%s%s", options->name, options->value ? " " : "",
                 options->value ? options->value : "");
        bool fits = strlen(text) <= COLUMN;
        fprintf(out, "  %-*s%s%*s %s\n", COLUMN, text, fits ? "" : "\n", fits ? 0 : COLUMN + 2, "",
                options->help);
    }
}

static void show_usage(const struct bench_option *options, const char *program, FILE *out)
{
    fprintf(out, "usage: %s [OPTION…]\n", program);
    show_options(options, out);
    show_options(common, out);
}

static const struct bench_option *find_option(const struct bench_option *options, const char *name)
{
    while (options && options->name && strcmp(options->name, name) != 0)
        options++;
    return options && options->name ? options : NULL;
}

static void set_number(const struct bench_option *option, const char *text)
{
    char *end;
    long value = strtol(text, &end, 10);
    if (end == text || *end || value < 0 || value > INT_MAX)
        bench_fail("%s takes a number, not \"%s\"", option->name, text);
    *(int *)option->into = (int)value;
}

/* Takes the option at argv[i]; returns the place of its last word. */
static int take_option(const struct bench_option *option, int argc, char **argv, int i)
{
    if (option->kind == BENCH_FLAG) {
        *(bool *)option->into = true;
        return i;
    }
    if (i + 1 == argc)
        bench_fail("%s takes a value: %s", option->name, option->value);
    if (option->kind == BENCH_NUMBER)
        set_number(option, argv[i + 1]);
    else
        *(const char **)option->into = argv[i + 1];
    return i + 1;
}

void bench_begin(struct bench *bench, const char *name, const struct bench_option *options,
                 int argc, char **argv)
{
    *bench = (struct bench){ .name = name };
    for (int i = 1; i < argc; i++) {
        const struct bench_option *option = find_option(options, argv[i]);
        option = option ? option : find_option(common, argv[i]);
        if (!option || !option->into) {
            fprintf(stderr, "bench: %s: unknown argument %s\n", name, argv[i]);
            show_usage(options, argv[0], stderr);
            exit(2);
        }
        i = take_option(option, argc, argv, i);
    }
    if (wants_help) {
        show_usage(options, argv[0], stdout);
        exit(0);
    }
    if (json_path && !(bench->json = fopen(json_path, "a")))
        bench_fail("%s: cannot be written", json_path);
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
