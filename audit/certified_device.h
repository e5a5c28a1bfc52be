/* The certified engine where the settings name a device; see certified_device.c. */
#ifndef AUDIT_CERTIFIED_DEVICE_H
#define AUDIT_CERTIFIED_DEVICE_H

#include "audit/engine.h"

extern const struct engine_methods certified_device_engine;

#endif
