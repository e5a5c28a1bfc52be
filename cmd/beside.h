/* Assistants that a run starts itself, one for each device named, and ends with itself.
 *
 *     struct beside beside;
 *     if (!beside_start(&beside, &devices, "plan.yaml", err)) …
 *     beside_look(&beside);      // now and then: tells of those that failed
 *     beside_end(&beside, false);       // once the run folder is closed, which tells them
 *
 * They are processes of their own (assist.c), so one that fails does not take the run along: what
 * it would have done is left to the others. They end, with a checkpoint, when the run does, however
 * that ends.
 */
#ifndef CMD_BESIDE_H
#define CMD_BESIDE_H

#include "base/yaml.h"

#include <sys/types.h>

enum { BESIDE_MAX = 64 };

struct beside {
    struct beside_child {
        pid_t process; /* 0: it has ended */
        const char *device;
    } children[BESIDE_MAX];
    size_t count;
    int threads; /* of each */
};

/* Each is given its share of the processor's threads, and this process keeps the rest. */
bool beside_start(struct beside *beside, const struct yaml_strings *devices, const char *plan,
                  struct error *err) MUST_USE;
void beside_look(struct beside *beside);
/* at_once: they are told, as they do not see it by themselves. */
void beside_end(struct beside *beside, bool at_once);

#endif
