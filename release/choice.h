/* Choosing among candidates: sets that one plan has tried, each audited, each judged by the policy.
 *
 *     struct choice_candidate candidates[] = { { "early", "…/synthetic", "…/audit", NULL }, … };
 *     struct json *choice = choose(candidates, count, &policy, &arena, err);
 *
 * The rule: of those that pass, the one whose relative Dice is highest, where usefulness was
 * measured for all of them; else, and among equals, the order of the plan decides. Where none
 * passes, the one with the fewest conditions unmet is put first, so that a report can be about it;
 * it cannot be released.
 *
 * The document (schema lethe/choice/1) names all that were tried, with their numbers: nobody looks
 * for a pass unseen. It holds nothing of a single patient, and stands in the public report.
 *
 * Whoever tries k sets has k chances of passing by luck. So the audit and the measure of utility
 * widen their intervals to 1 − 0.05/k each (statistics.h, joint_confidence): with 95 % confidence
 * all k of them hold at once, whichever is chosen, and however much they depend on each other. */
#ifndef RELEASE_CHOICE_H
#define RELEASE_CHOICE_H

#include "release/policy.h"

#define CHOICE_SCHEMA "lethe/choice/1"
#define CHOICE_RULE                                                                                \
    "of the candidates that meet every condition, the one whose images are the most useful "       \
    "(relative Dice), where that was measured for all of them; else, and among equals, the first " \
    "in the order of the plan"

struct choice_candidate {
    const char *name;
    const char *synthetic, *audit;               /* folders */
    const char *utility, *fidelity, *membership; /* NULL: not measured */
};

/* How useful the set alone is, compared with real images: of utility.json the first relative Dice
 * whose source is the synthetic images, not these among others or a control. NULL: not measured. */
const struct json *usefulness_of(const struct json *utility);

/* The document; NULL and a message where something cannot be read. */
struct json *choose(const struct choice_candidate *candidates, size_t count,
                    const struct policy_settings *policy, struct arena *arena,
                    struct error *err) MUST_USE;

#endif
