/* lethe choose: judges all candidates of a plan, and says which is released.
 *
 * Tells facts, as the audit does: exit code 0 whether or not one of them passes, so that the report
 * is written; the package step refuses what does not. */
#include "candidates.h"
#include "stages.h"

#include "base/file.h"
#include "base/json.h"
#include "release/choice.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char file_name[] = "choice.json";

static double number(const struct json *object, const char *key)
{
    double value;
    return json_as_real(json_member(object, key), &value) ? value : NAN;
}

static size_t rows_met(const struct json *rows)
{
    size_t met = 0;
    for (size_t i = 0; i < json_length(rows); i++) {
        const char *verdict = json_as_string(json_member(json_at(rows, i), "verdict"));
        met += verdict && strcmp(verdict, "passed") == 0;
    }
    return met;
}

static void add_line(const struct json *candidate, const char *chosen, struct text *out)
{
    const struct json *flagged = json_member(candidate, "flagged"),
                      *rows = json_member(candidate, "rows");
    const char *name = json_as_string(json_member(candidate, "name"));
    double dice = number(json_member(candidate, "relative_dice"), "mean");
    char share[TEXT_SHORT + 2], bound[TEXT_SHORT], flags[TEXT_SHORT] = "-",
                                                   useful[TEXT_SHORT] = "-";
    snprintf(share, sizeof share, "%s %%",
             text_upper_bound(bound, 100 * number(flagged, "upper95")));
    snprintf(flags, sizeof flags, "%.0f of %.0f", number(flagged, "count"), number(flagged, "of"));
    if (!isnan(dice))
        snprintf(useful, sizeof useful, "%.3f", dice);
    text_format(out, "%-24s %8.0f  %-16s %-10s %8s  %zu of %zu%s\n", name,
                number(candidate, "trained_steps"), flags, share, useful, rows_met(rows),
                json_length(rows), strcmp(name, chosen) == 0 ? "  chosen" : "");
}

static void summarise(const struct json *choice, struct text *out)
{
    const struct json *list = json_member(choice, "candidates");
    double passed = number(choice, "passed");
    const char *chosen = json_as_string(json_member(choice, "chosen"));
    text_format(out, "%-24s %8s  %-16s %-10s %8s  %s\n", "candidate", "steps", "flagged", "at most",
                "useful", "conditions met");
    for (size_t i = 0; i < json_length(list); i++)
        add_line(json_at(list, i), chosen, out);
    text_format(out,
                "at most: the share of such images, with 95 %% confidence for all %zu together\n",
                json_length(list));
    if (!(passed > 0))
        text_add(out, "None of them meets the policy; the report is about the one chosen.\n");
}

/* The folder with nothing but the document, exchanged as a whole. */
static bool save(const char *folder, const struct json *choice, struct arena *arena,
                 struct error *err)
{
    struct folder_stage stage;
    if (!folder_stage_open(&stage, folder, err))
        return false;
    if (json_save(choice, path_join(arena, stage.partial, file_name), err))
        return folder_stage_commit(&stage, true, err);
    folder_stage_abandon(&stage);
    return false;
}

static enum exit_code work_on(struct stage_work *work)
{
    const struct release_plan *plan = work->plan;
    struct choice_candidate candidates[CANDIDATES_MAX];
    for (size_t i = 0; i < plan->candidate_count; i++) {
        const struct release_plan variant = candidate_variant(plan, i);
        candidates[i] = (struct choice_candidate){
            .name = plan->candidates[i].name,
            .synthetic = stage_folder(&variant, "sample", work->arena),
            .audit = stage_folder(&variant, "audit", work->arena),
            .utility = stage_folder_if_wanted(&stage_utility, &variant, work->arena),
            .fidelity = stage_folder_if_wanted(&stage_fidelity, &variant, work->arena),
            .membership = stage_folder_if_wanted(&stage_membership, &variant, work->arena),
        };
    }
    struct json *choice =
        choose(candidates, plan->candidate_count, &plan->policy, work->arena, work->err);
    if (!choice || !save(work->folder, choice, work->arena, work->err)) {
        json_free(choice);
        return EXIT_ERROR;
    }
    summarise(choice, &work->summary);
    work->document = choice;
    return EXIT_YES;
}

static bool is_wanted(const struct release_plan *plan)
{
    return plan->candidate_count > 0;
}

static bool add_inputs(const struct release_plan *plan, struct arena *arena, struct text *inputs,
                       struct error *err)
{
    struct digest digest;
    char hex[DIGEST_HEX];
    (void)arena;
    (void)err;
    policy_digest(&plan->policy, &digest);
    text_format(inputs, "policy %s\n", digest_hex(&digest, hex));
    return true;
}

const struct stage stage_choose = {
    .name = "choose",
    .folder = "choice",
    .product = file_name,
    .needs = { "sample", "audit", "utility", "fidelity", "membership" },
    .of_candidate = STAGE_OF_ALL_CANDIDATES,
    .add_inputs = add_inputs,
    .is_wanted = is_wanted,
    .run = work_on,
};

static enum exit_code run(struct invocation *invocation)
{
    struct release_plan plan;
    if (!plan_load(invocation->operands[0], &plan, &invocation->arena, &invocation->err))
        return command_failed(invocation);
    if (!is_wanted(&plan))
        return command_refuse(invocation,
                              "%s names no candidates (train: candidates), so there is "
                              "nothing to choose from",
                              plan.path);
    return stage_command(invocation, &stage_choose);
}

const struct command command_choose = {
    .name = "choose",
    .operands = "PLAN",
    .least_operands = 1,
    .most_operands = 1,
    .summary = "judge all candidates of a plan, and say which is released",
    .details = "Tells facts: exit code 0 even if none of them meets the policy.",
    .goes_on = true,
    .run = run,
};
