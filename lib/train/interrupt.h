/* Being asked to stop, by a signal: Ctrl-C, kill, and what batch systems send before a job's
 * time is over. A training notes it and leaves a checkpoint first:
 *
 *     struct interrupts before;
 *     interrupts_catch(&before);
 *     … while (!interrupted()) …
 *     interrupts_restore(&before);
 *
 * It may be nested: who catches around a training learns of what the training was stopped by.
 *
 * All other work may be killed at any moment and goes on, so it ends at once. What the program then
 * says and its exit code are the same wherever it was:
 *
 *     interrupts_end_program("lethe run", 2);
 */
#ifndef TRAIN_INTERRUPT_H
#define TRAIN_INTERRUPT_H

#include <signal.h>
#include <stdbool.h>

enum { INTERRUPT_SIGNALS = 6 };

struct interrupts {
    struct sigaction before[INTERRUPT_SIGNALS]; /* what was done with the signals */
};

void interrupts_catch(struct interrupts *before);
void interrupts_restore(const struct interrupts *before);
void interrupt(void);   /* as the signal would, from another thread */
bool interrupted(void); /* since the outermost interrupts_catch */

/* After interrupts_restore: a signal that came too late for a loop is sent once more. */
void interrupts_pass_on(void);

/* From now on none of these signals is heard: for a process that ends with another, which hears
 * them. */
void interrupts_ignore(void);

/* From now on, outside of a training, such a signal ends the program. The name has to last. */
void interrupts_end_program(const char *program, int exit_code);

#endif
