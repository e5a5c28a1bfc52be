/* Reading plan.yaml; see plan.h. */
#include "candidates.h"

#include "base/file.h"
#include "base/text.h"

static const struct release_plan plan_defaults_without_stages = { .run = "run", .seed = 1 };

#define FIELD(...) YAML_FIELD(struct release_plan, __VA_ARGS__)

const struct yaml_field plan_fields[] = {
    FIELD(name, YAML_STRING, .required = true, .metavar = "NAME",
          .help = "what the release is called"),
    FIELD(run, YAML_STRING, .metavar = "FOLDER", .help = "where everything that is derived goes"),
    FIELD(seed, YAML_INTEGER, .minimum = 0, .maximum = 0x1p53, .metavar = "N",
          .help = "of everything random"),
    FIELD(ingest, YAML_SECTION, .section = ingest_fields, .help = "from scans to a dataset"),
    FIELD(train, YAML_SECTION, .section = train_fields, .help = "from a dataset to a generator"),
    FIELD(sample, YAML_SECTION, .section = sample_fields, .help = "from a generator to a set"),
    FIELD(audit, YAML_SECTION, .section = audit_fields,
          .help = "whether the set holds copies of training images"),
    FIELD(utility, YAML_SECTION, .section = utility_fields, .help = "what the set is worth"),
    FIELD(fidelity, YAML_SECTION, .section = fidelity_fields,
          .help = "whether its images look like patients' images, and are as varied"),
    FIELD(references, YAML_SECTION, .section = reference_fields,
          .help = "models of half of the people each, for membership to compare with"),
    FIELD(membership, YAML_SECTION, .section = membership_fields,
          .help = "whether the model gives away whom it was trained on"),
    FIELD(policy, YAML_SECTION, .section = policy_fields, .help = "what a release must show"),
    FIELD(report, YAML_SECTION, .section = report_fields, .help = "what the report tells"),
    FIELD(package, YAML_SECTION, .section = package_fields, .help = "from a set to an archive"),
    { 0 },
};

static const char *beside_plan(const struct release_plan *plan, const char *path,
                               struct arena *arena)
{
    if (!path || !*path || *path == '/')
        return path;
    return path_join(arena, path_parent(arena, plan->path), path);
}

static bool digest_plan(struct release_plan *plan, struct error *err)
{
    struct digest digest;
    if (!digest_file(plan->path, &digest, err))
        return false;
    digest_hex(&digest, plan->sha256);
    return true;
}

bool plan_load(const char *path, struct release_plan *plan, struct arena *arena, struct error *err)
{
    *plan = plan_defaults_without_stages;
    plan->path = path;
    plan->ingest = ingest_defaults;
    plan->train = train_defaults;
    plan->sample = sample_defaults;
    plan->audit = audit_defaults;
    plan->utility = utility_defaults;
    plan->fidelity = fidelity_defaults;
    plan->membership = membership_defaults;
    plan->policy = policy_defaults;
    plan->report = report_defaults;
    plan->package = package_defaults;
    plan->ingest.seed = plan->train.seed = plan->audit.seed = -1;
    if (!yaml_load(path, plan_fields, plan, arena, err) || !digest_plan(plan, err))
        return false;
    if (!policy_check(&plan->policy, err))
        return error_prefix(err, "%s", path);
    if (!*plan->run)
        return error_set(err, "%s: \"run\" is empty; expected a folder, or no such key", path);
    if (plan->ingest.seed < 0)
        plan->ingest.seed = plan->seed;
    if (plan->train.seed < 0)
        plan->train.seed = plan->seed;
    if (plan->sample.seed < 0)
        plan->sample.seed = plan->seed;
    if (plan->audit.seed < 0)
        plan->audit.seed = plan->seed;
    if (plan->utility.seed < 0)
        plan->utility.seed = plan->seed;
    if (plan->fidelity.seed < 0)
        plan->fidelity.seed = plan->seed;
    if (plan->membership.seed < 0)
        plan->membership.seed = plan->seed;
    plan->run = beside_plan(plan, plan->run, arena);
    plan->ingest.source = beside_plan(plan, plan->ingest.source, arena);
    plan->ingest.split_file = beside_plan(plan, plan->ingest.split_file, arena);
    plan->ingest.subjects_file = beside_plan(plan, plan->ingest.subjects_file, arena);
    plan->sample.made_elsewhere = beside_plan(plan, plan->sample.made_elsewhere, arena);
    if (fidelity_weights(&plan->fidelity))
        plan->fidelity.weights = beside_plan(plan, plan->fidelity.weights, arena);
    for (size_t i = 0; i < plan->package.include.count; i++)
        plan->package.include.items[i] = beside_plan(plan, plan->package.include.items[i], arena);
    return candidates_load(plan, arena, err) || error_prefix(err, "%s: train", path);
}

void plan_identity(const struct release_plan *plan, char hex[DIGEST_HEX])
{
    struct text lines = { 0 };
    text_format(&lines, "plan %s\n", plan->sha256);
    for (size_t i = 0; i < plan->candidate_count; i++) {
        text_format(&lines, "candidate %s\n", plan->candidates[i].name);
        yaml_describe(train_fields, &plan->candidates[i].train, &lines);
    }
    struct digest digest = digest_of(lines.bytes, lines.length);
    digest_hex(&digest, hex);
    text_release(&lines);
}

bool plan_policy_asks(const struct release_plan *plan, const char *document)
{
    const struct policy_row *rows = plan->policy.rows.items;
    for (size_t i = 0; i < plan->policy.rows.count; i++)
        if (policy_is_of(&rows[i], document))
            return true;
    return false;
}
