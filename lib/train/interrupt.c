/* See interrupt.h. */
#include "train/interrupt.h"

#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

/* Slurm's --signal sends what it is told, often USR1; grid engines send USR1, USR2 and XCPU. A
 * terminal that is closed sends HUP. */
static const struct {
    int number;
    const char *name;
} signals[INTERRUPT_SIGNALS] = {
    { SIGINT, "SIGINT" },   { SIGTERM, "SIGTERM" }, { SIGHUP, "SIGHUP" },
    { SIGUSR1, "SIGUSR1" }, { SIGUSR2, "SIGUSR2" }, { SIGXCPU, "SIGXCPU" },
};

static atomic_int signalled;
static int catching; /* calls of interrupts_catch that are not restored */
static const char *ended_program;
static int ended_code;

static void note_signal(int number)
{
    signalled = number;
}

/* nohup has HUP ignored, which is to stay so. */
static bool is_ignored(int number, const struct sigaction *before)
{
    return number == SIGHUP && before->sa_handler == SIG_IGN;
}

static void catch_all(void (*handler)(int number), struct sigaction before[INTERRUPT_SIGNALS])
{
    struct sigaction action = { .sa_handler = handler };
    sigemptyset(&action.sa_mask);
    for (int i = 0; i < INTERRUPT_SIGNALS; i++) {
        sigaction(signals[i].number, &action, &before[i]);
        if (is_ignored(signals[i].number, &before[i]))
            sigaction(signals[i].number, &before[i], NULL);
    }
}

void interrupts_ignore(void)
{
    for (int i = 0; i < INTERRUPT_SIGNALS; i++)
        signal(signals[i].number, SIG_IGN);
}

void interrupts_catch(struct interrupts *before)
{
    if (!catching++)
        signalled = 0;
    catch_all(note_signal, before->before);
}

void interrupts_restore(const struct interrupts *before)
{
    catching--;
    for (int i = 0; i < INTERRUPT_SIGNALS; i++)
        sigaction(signals[i].number, &before->before[i], NULL);
}

void interrupt(void)
{
    note_signal(SIGTERM);
}

bool interrupted(void)
{
    return signalled != 0;
}

void interrupts_pass_on(void)
{
    if (signalled)
        raise(signalled);
}

/* ---- ending the program ---------------------------------------------------------------------- */

static void say(const char *words)
{
    ssize_t written = write(STDERR_FILENO, words, strlen(words));
    (void)written; /* there is nobody left to tell */
}

/* Only what a handler may call: threads are at work, and stay so to the end. */
static void end_program(int number)
{
    say(ended_program);
    for (int i = 0; i < INTERRUPT_SIGNALS; i++)
        if (signals[i].number == number) {
            say(": stopped by ");
            say(signals[i].name);
        }
    say("; the same command goes on\n");
    _exit(ended_code);
}

void interrupts_end_program(const char *program, int exit_code)
{
    struct sigaction before[INTERRUPT_SIGNALS];
    ended_program = program;
    ended_code = exit_code;
    catch_all(end_program, before);
}
