/* How what was measured stands in fidelity.json, membership.json and memorization.json. */
#ifndef AUDIT_MEASURED_H
#define AUDIT_MEASURED_H

#include "audit/companions.h"
#include "base/arena.h"
#include "base/json.h"
#include "base/text.h"

enum { FEW_PEOPLE = 20 }; /* intervals resampled from fewer are too narrow to be trusted */

/* value, lower95, upper95, interval; of what was not measured nulls. */
struct json *bounded_json(struct estimate estimate);

/* Warnings that were noted as lines, as a list. */
struct json *lines_json(const struct text *lines, struct arena *arena);

#endif
