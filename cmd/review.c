/* lethe review: takes in the marks that a reviewer made in the internal report. */
#include "candidates.h"
#include "stages.h"

#include "base/json.h"
#include "report/review.h"

#include <stdio.h>

struct options {
    const char *import;
};

static const struct yaml_field options[] = {
    { .key = "import",
      .kind = YAML_STRING,
      .offset = offsetof(struct options, import),
      .metavar = "FILE",
      .help = "marks as the internal report saves them" },
    { 0 },
};

static bool record(const struct review *review, const struct release_plan *plan,
                   struct journal *journal, struct arena *arena, struct error *err)
{
    const char *path = path_join(arena, plan->run, "review.json");
    struct digest digest;
    char hex[DIGEST_HEX];
    if (!json_save(review->document, path, err) || !digest_file(path, &digest, err))
        return false;
    struct json *details = json_new_object();
    json_put_string(details, "reviewer", review->reviewer);
    json_put_string(details, "sha256", digest_hex(&digest, hex));
    for (int mark = 0; mark < MARK_COUNT; mark++)
        json_put_integer(details, mark_names[mark], (int64_t)review->counts[mark]);
    return journal_add(journal, "review imported", details, err);
}

static void print(struct invocation *invocation, struct review *review)
{
    if (invocation->json) {
        command_print(review->document);
        review->document = NULL;
        return;
    }
    printf("reviewed by %s: %zu copies, %zu not, %zu unsure, %zu not marked\n", review->reviewer,
           review->counts[MARK_COPY], review->counts[MARK_NOT_A_COPY], review->counts[MARK_UNSURE],
           review->counts[MARK_UNMARKED]);
}

static enum exit_code run(struct invocation *invocation)
{
    const struct options *values = invocation->values;
    struct release_plan plan;
    struct run_folder folder;
    struct review review;
    struct arena *arena = &invocation->arena;
    struct error *err = &invocation->err;
    if (!values->import)
        return command_refuse(invocation, "give the marks: --import FILE");
    if (!plan_load(invocation->operands[0], &plan, arena, err))
        return command_failed(invocation);
    plan = plan_of_the_chosen(&plan, arena);
    const char *audit = path_join(arena, stage_folder(&plan, "audit", arena), "memorization.json");
    if (!review_read(values->import, audit, &review, arena, err))
        return command_failed(invocation);
    bool ok = run_folder_open(&folder, &plan, "lethe review", err);
    if (ok) {
        ok = record(&review, &plan, &folder.journal, arena, err);
        run_folder_close(&folder);
    }
    if (ok)
        print(invocation, &review);
    json_free(review.document);
    if (!ok)
        return command_failed(invocation);
    fprintf(stderr, "make the report again with: lethe report %s\n", plan.path);
    return review.counts[MARK_COPY] ? EXIT_NO : EXIT_YES;
}

const struct command command_review = {
    .name = "review",
    .operands = "PLAN --import FILE",
    .least_operands = 1,
    .most_operands = 1,
    .summary = "take in the marks that a reviewer made in the internal report",
    .details = "Exit code 1 when a pair is marked as a copy.",
    .options = options,
    .size = sizeof(struct options),
    .run = run,
};
