/* What every benchmark shares: rows, and a peer to be measured against in the same run.
 *
 *     struct bench bench;
 *     bench_begin(&bench, "ingest", NULL, argc, argv);
 *     struct peer peer;
 *     peer_start(&peer, (const char *[]){ "/usr/bin/python3", "bench/nibabel_peer.py", NULL });
 *     for (…rounds…) { ours[i] = …; theirs[i] = peer_number(&peer, "decode\n"); }
 *     bench_row(&bench, &(struct bench_row){ "decode", "MB/s", …, "nibabel 5.0.0", 6 });
 *
 * Rounds of ours and theirs take turns, so that a noisy machine disturbs both alike, and medians
 * are reported. A benchmark that cannot measure exits with an error; it never makes up a row.
 */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>

struct bench {
    const char *name;
    FILE *json; /* JSON lines are appended here; NULL: only text */
};

struct bench_row {
    const char *case_name, *unit;
    double ours, peer;     /* peer NaN: there is none */
    const char *peer_name; /* with its version */
    double ratio;          /* > 1: ours is better; NaN without a peer */
    double goal;           /* for the ratio, or without a peer for ours; NaN: none */
};

/* A benchmark's own options, a table that a row of zeros ends. -h shows them. */
enum bench_kind { BENCH_FLAG, BENCH_TEXT, BENCH_NUMBER };
struct bench_option {
    const char *name;  /* "--steps" */
    const char *value; /* what -h calls its value; NULL of a flag */
    const char *help;
    enum bench_kind kind;
    void *into; /* bool *, const char **, or int *: numbers are not negative. NULL: only shown */
};

/* Reads the command line: --json FILE, -h, and the options of the table (NULL: none). Anything else
 * ends the program with a message. */
void bench_begin(struct bench *bench, const char *name, const struct bench_option *options,
                 int argc, char **argv);
void bench_row(struct bench *bench, const struct bench_row *row);
void bench_end(struct bench *bench);

/* Prints the message and exits with status 2. */
_Noreturn void bench_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Sorts the values. */
double bench_median(double *values, size_t count);
double bench_seconds(void);

/* A program that is asked line by line. */
struct peer {
    pid_t process;
    FILE *to, *from;
    char *line; /* the last answer */
    size_t capacity;
};
void peer_start(struct peer *peer, const char *const *arguments);
/* Sends the line, returns the line that comes back (without its end; valid until the next). */
const char *peer_ask(struct peer *peer, const char *line);
/* The same where the answer is a number. */
double peer_number(struct peer *peer, const char *line);
void peer_stop(struct peer *peer);

/* Runs a program to its end; its peak resident memory in bytes. Fails unless it exits with 0. */
double bench_peak_memory(const char *const *arguments);

#endif
