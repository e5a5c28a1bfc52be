/* What to do about a policy that was not met: a line for each thing that the numbers speak for. */
#ifndef REPORT_ADVICE_H
#define REPORT_ADVICE_H

#include "report/facts.h"

void advise(const struct facts *facts, struct text *advice);

/* How many images, none of them flagged, bring the upper end of the interval down to `limit`, where
 * so many candidates share its 5 %: each end has 0.025 / candidates, and (1 - limit)^n has to be no
 * more. 0 where no number does. */
double images_needed(double limit, double candidates);

#endif
