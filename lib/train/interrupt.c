/* See interrupt.h. */
#include "train/interrupt.h"

static volatile sig_atomic_t signalled;

static void note_signal(int number)
{
    signalled = number;
}

void interrupts_catch(struct interrupts *before)
{
    struct sigaction action = { .sa_handler = note_signal };
    sigemptyset(&action.sa_mask);
    signalled = 0;
    sigaction(SIGINT, &action, &before->interrupt);
    sigaction(SIGTERM, &action, &before->terminate);
}

void interrupts_restore(const struct interrupts *before)
{
    sigaction(SIGINT, &before->interrupt, NULL);
    sigaction(SIGTERM, &before->terminate, NULL);
}

bool interrupted(void)
{
    return signalled != 0;
}
