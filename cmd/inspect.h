/* lethe inspect, for what is no dataset store. */
#ifndef CMD_INSPECT_H
#define CMD_INSPECT_H

#include "command.h"

/* A release: its archive or manifest. */
enum exit_code inspect_release(struct invocation *invocation, const char *path);

#endif
