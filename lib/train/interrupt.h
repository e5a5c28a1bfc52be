/* Being asked to stop, by SIGINT or SIGTERM: noted, so that a training can leave a checkpoint
 * first.
 *
 *     struct interrupts before;
 *     interrupts_catch(&before);
 *     … while (!interrupted()) …
 *     interrupts_restore(&before);
 */
#ifndef TRAIN_INTERRUPT_H
#define TRAIN_INTERRUPT_H

#include <signal.h>
#include <stdbool.h>

struct interrupts {
    struct sigaction interrupt, terminate; /* what was done with the signals before */
};

void interrupts_catch(struct interrupts *before);
void interrupts_restore(const struct interrupts *before);
bool interrupted(void); /* since interrupts_catch */

#endif
