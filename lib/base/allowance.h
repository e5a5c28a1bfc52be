/* What this process may have of the machine. In a container, or in a job of a batch system, control
 * groups allow less than there is, and neither the number of cores nor /proc/meminfo tells of it:
 * a quota of processor time lets 64 threads run and then stops all of them, and a process beyond
 * its memory is killed.
 *
 *     struct allowance allowance;
 *     allowance_read(&allowance, "");
 *
 * Both versions of control groups are asked, in the process's own group and in all above it; the
 * least counts. */
#ifndef BASE_ALLOWANCE_H
#define BASE_ALLOWANCE_H

#include <stdbool.h>
#include <stddef.h>

struct allowance {
    int cores;          /* that a quota pays for, one begun counting whole; INT_MAX: no quota */
    size_t memory;      /* bytes: a group's limit or what the machine has; SIZE_MAX: not told */
    size_t memory_left; /* of these; pages of files, which the kernel gives up, count as left */
    bool is_group;      /* memory is what a control group allows, less than the machine has */
};

/* `root` stands before /proc and every path found there: "" for this machine. */
void allowance_read(struct allowance *allowance, const char *root);

#endif
