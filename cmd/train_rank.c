/* The other devices of a training; see train_rank.h. */
#include "train_rank.h"

#include "base/parallel.h"
#include "train/interrupt.h"
#include "train/shared.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { WORDS = 5, WORD = 16 };

/* In the child: becomes such a process, which ends when its parent is no more. */
static _Noreturn void become(const struct rank *rank, char words[WORDS][WORD], pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == parent && fcntl(rank->channel, F_SETFD, 0) == 0 &&
        fcntl(rank->memory, F_SETFD, 0) == 0)
        execl("/proc/self/exe", "lethe", TRAIN_RANK, rank->device, words[0], words[1], words[2],
              words[3], words[4], NULL);
    _exit(127);
}

static bool start(const struct rank *rank, pid_t *process, struct error *err)
{
    const int numbers[WORDS] = { rank->rank, rank->count, rank->threads, rank->channel,
                                 rank->memory };
    char words[WORDS][WORD];
    pid_t parent = getpid();
    for (int i = 0; i < WORDS; i++)
        snprintf(words[i], WORD, "%d", numbers[i]);
    *process = fork();
    if (*process == 0)
        become(rank, words, parent);
    return *process > 0 || error_set_errno(err, "no process can be started for %s", rank->device);
}

struct train_beside train_rank_beside(const struct yaml_strings *devices, int threads)
{
    return (struct train_beside){
        .devices = devices->items, .count = devices->count, .threads = threads, .start = start
    };
}

/* Signals are for the training, which tells this process when it ends. Why it failed, the training
 * is told, and tells. */
int train_rank(int argc, char **argv)
{
    struct error err;
    if (argc != 1 + WORDS) {
        fprintf(stderr, "lethe %s: is for lethe train to start\n", TRAIN_RANK);
        return 2;
    }
    struct rank rank = { .device = argv[0],
                         .rank = atoi(argv[1]),
                         .count = atoi(argv[2]),
                         .threads = atoi(argv[3]),
                         .channel = atoi(argv[4]),
                         .memory = atoi(argv[5]) };
    interrupts_ignore();
    parallel_set_threads(rank.threads > 0 ? rank.threads : 1);
    return shared_serve(&rank, &err) ? 0 : 2;
}
