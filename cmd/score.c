/* lethe score: how well predicted masks agree with true ones. */
#include "command.h"

#include "audit/score.h"
#include "base/json.h"

#include <math.h>
#include <stdio.h>

struct options {
    const char *truth, *pred, *csv;
    struct yaml_strings classes;
    int regions;
};

#define OPTION(...) YAML_FIELD(struct options, __VA_ARGS__)

static const struct yaml_field options[] = {
    OPTION(truth, YAML_STRING, .metavar = "FOLDER", .help = "true masks, NIfTI"),
    OPTION(pred, YAML_STRING, .metavar = "FOLDER", .help = "predicted masks, on the same grids"),
    OPTION(classes, YAML_STRINGS, .metavar = "NAME=LABELS",
           .help = "a class, as tumour=1+4 or 2; again for more (default: each label)"),
    OPTION(regions, YAML_CHOICE, .choices = score_regions_names,
           .help = "whole tumour, core, enhancing; auto: brats, if labels are 1, 2, 4"),
    OPTION(csv, YAML_STRING, .metavar = "FILE", .help = "write a line for each subject and class"),
    { 0 },
};

/* "0.812 ± 0.050", of one subject "0.812", or a dash where nothing defines it. */
static void print_cell(const struct overlap_summary *summary, enum metric metric)
{
    char cell[48] = "–";
    int width = 13;
    if (summary->metric[metric].count > 1)
        snprintf(cell, sizeof cell, "%.3f ± %.3f", summary->metric[metric].mean,
                 summary->metric[metric].sd);
    else if (summary->metric[metric].count)
        snprintf(cell, sizeof cell, "%.3f", summary->metric[metric].mean);
    for (const char *byte = cell; *byte; byte++)
        width += ((unsigned char)*byte & 0xC0) == 0x80; /* columns, not bytes */
    printf("  %*s", width, cell);
}

static void print_table(const struct score *score)
{
    static const char *const titles[METRIC_COUNT] = { "Dice",      "Hausdorff mm", "95th perc. mm",
                                                      "precision", "recall",       "volume ml" };
    printf("%zu subject%s; mean ± standard deviation\n%-12s", score->subject_count,
           score->subject_count == 1 ? "" : "s", "");
    for (int metric = 0; metric < METRIC_COUNT; metric++)
        printf("  %13s", titles[metric]);
    printf("  both/truth/pred. empty\n");
    for (size_t c = 0; c < score->class_count; c++) {
        const struct overlap_summary *summary = &score->summaries[c];
        printf("%-12s", score->classes[c].name);
        for (int metric = 0; metric < METRIC_COUNT; metric++)
            print_cell(summary, (enum metric)metric);
        printf("  %zu/%zu/%zu\n", summary->both_empty, summary->truth_empty,
               summary->prediction_empty);
    }
}

/* What the numbers rest on and a reader could not see in them. */
static void print_notes(const struct score *score)
{
    size_t assumed = 0;
    for (size_t i = 0; i < score->subject_count; i++)
        assumed += score->subjects[i].assumed;
    if (assumed)
        fprintf(stderr,
                "lethe score: %zu of %zu subjects state no spacing: 1 mm is assumed, their "
                "distances and volumes are those of voxels\n",
                assumed, score->subject_count);
    for (size_t c = 0; c < score->class_count; c++)
        if (score->summaries[c].both_empty + score->summaries[c].truth_empty ==
            score->subject_count)
            fprintf(stderr, "lethe score: the class %s never occurs in the true masks\n",
                    score->classes[c].name);
    if (score->ignored)
        fprintf(stderr, "lethe score: %zu NIfTI files without a mask's name were passed over\n",
                score->ignored);
}

static void print_problems(const struct problems *problems)
{
    for (size_t i = 0; i < problems->count; i++) {
        const struct problem *problem = &problems->items[i];
        fprintf(stderr, "%s: %s%s%s\n", problem->subject, problem->file, *problem->file ? ": " : "",
                problem->reason);
    }
}

static enum exit_code run(struct invocation *invocation)
{
    const struct options *values = invocation->values;
    if (!values->truth || !values->pred)
        return command_refuse(invocation, "give --truth FOLDER and --pred FOLDER");
    struct score_job job = { values->truth, values->pred, values->classes, values->regions };
    struct score score;
    bool ok = score_folders(&job, &score, &invocation->err);
    print_problems(&score.problems);
    if (ok && values->csv)
        ok = score_save_csv(&score, values->csv, &invocation->err);
    if (ok) {
        print_notes(&score);
        invocation->json ? command_print(score_json(&score)) : print_table(&score);
    }
    score_release(&score);
    return ok ? EXIT_YES : command_failed(invocation);
}

const struct command command_score = {
    .name = "score",
    .operands = "--truth FOLDER --pred FOLDER",
    .summary = "measure how well predicted masks agree with true ones",
    .details = "Files pair by name, without .nii, .nii.gz and a mark such as _seg.",
    .options = options,
    .size = sizeof(struct options),
    .run = run,
};
