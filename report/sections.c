/* The sections of a report that are not about one measure alone; see sections.h.
 *
 * Whatever goes into the public report is named here or in the files beside this one: nothing is
 * copied whole from an audit's document, for there the names of training subjects stand.
 */
#include "report/sections.h"

#include "report/chart.h"

#include "base/text.h"
#include "data/sheet.h"
#include "train/metrics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- small parts ----------------------------------------------------------------------------- */

void put_row(struct html *html, const char *name, const char *value)
{
    html_put(html, "<tr><th scope=\"row\">$t</th><td>$t</td></tr>", name, value);
}

void put_number_row(struct html *html, const char *name, double value)
{
    html_put(html, "<tr><th scope=\"row\">$t</th><td class=\"n\">$r</td></tr>", name, value);
}

static void put_digest_row(struct html *html, const char *name, const char *digest)
{
    html_put(html, "<tr><th scope=\"row\">$t</th><td class=\"digest\">$t</td></tr>", name, digest);
}

void put_picture(struct page *page, const struct dataset *dataset, const size_t *images,
                 size_t count, size_t across, const char *alternative)
{
    struct png_image image;
    size_t size;
    if (!sheet_draw(dataset, images, count, across, &image, NULL))
        return;
    void *png = png_encode(&image, NULL, &size, NULL);
    if (png) {
        html_put(page->html,
                 "<img alt=\"$t\" width=\"$n\" height=\"$n\" loading=\"lazy\" src=", alternative,
                 (int64_t)image.width, (int64_t)image.height);
        html_png(page->html, png, size);
        html_put(page->html, ">");
    }
    memory_free(png);
    memory_free(image.pixels);
}

const char *verdict_word(const struct facts *facts)
{
    return !facts->memorization ? "NOT AUDITED" : facts->passed ? "PASSED" : "NOT PASSED";
}

const char *verdict_tone(const struct facts *facts)
{
    return !facts->memorization ? "open" : facts->passed ? "yes" : "no";
}

/* ---- the policy ------------------------------------------------------------------------------ */

/* What well-known metrics are called, and how their numbers are shown; others by their path. */
enum shown { SHOWN_NUMBER, SHOWN_PERCENT, SHOWN_YES_NO };
struct known_metric {
    const char *metric;
    enum policy_bound bound;
    const char *words;
    enum shown shown;
};
static const struct known_metric known_metrics[] = {
    { "memorization.flagged.count", BOUND_VALUE, "Images flagged as too close to a patient",
      SHOWN_NUMBER },
    { "memorization.flagged.fraction", BOUND_UPPER95, "Share of such images, with 95 % confidence",
      SHOWN_PERCENT },
    { "memorization.flagged.fraction", BOUND_VALUE, "Share of such images", SHOWN_PERCENT },
    { "memorization.thresholds.correlation.supported", BOUND_VALUE,
      "Enough control images to set the threshold", SHOWN_YES_NO },
    { "memorization.calibration.supported", BOUND_VALUE,
      "Enough control images to set all thresholds", SHOWN_YES_NO },
    { "memorization.calibration.guaranteed_rate", BOUND_VALUE,
      "Images flagged by chance alone, on average", SHOWN_PERCENT },
    { "memorization.control.near_copies.count", BOUND_VALUE,
      "Control images that are all but equal to a training image", SHOWN_NUMBER },
    { "memorization.preparation.mean_images.alike", BOUND_VALUE,
      "The images lie as the training images do, not turned or inverted", SHOWN_YES_NO },
    { "memorization.preparation.farther", BOUND_UPPER95,
      "Chance that a synthetic image is farther from training than a control image", SHOWN_NUMBER },
    { "memorization.preparation.farther", BOUND_VALUE,
      "Chance that a synthetic image is farther from training than a control image", SHOWN_NUMBER },
    { "memorization.smoothness.smoother", BOUND_UPPER95,
      "Chance that a synthetic image is smoother than a control image", SHOWN_NUMBER },
    { "memorization.smoothness.smoother", BOUND_LOWER95,
      "Chance that a synthetic image is smoother than a control image", SHOWN_NUMBER },
    { "memorization.companions.mia.auc", BOUND_UPPER95,
      "Success of guessing who was in the training set (0.5: chance)", SHOWN_NUMBER },
    { "memorization.companions.mia.auc", BOUND_VALUE,
      "Success of guessing who was in the training set (0.5: chance)", SHOWN_NUMBER },
    { "membership.subjects.auc", BOUND_UPPER95,
      "Success of telling training patients from others by the weights (0.5: chance)",
      SHOWN_NUMBER },
    { "membership.images.auc", BOUND_UPPER95,
      "Success of telling training images from others by the weights (0.5: chance)", SHOWN_NUMBER },
    { "membership.calibrated.subjects.auc", BOUND_UPPER95,
      "Success of telling training patients from others beside models that never saw them (0.5: "
      "chance)",
      SHOWN_NUMBER },
    { "membership.calibrated.images.auc", BOUND_UPPER95,
      "Success of telling training images from others beside models that never saw them (0.5: "
      "chance)",
      SHOWN_NUMBER },
    { "utility.relative_dice", BOUND_LOWER95,
      "Usefulness compared with real images, with 95 % confidence", SHOWN_NUMBER },
    { "utility.relative_dice", BOUND_VALUE, "Usefulness compared with real images", SHOWN_NUMBER },
    { "fidelity.mean.holdout.kid.difference", BOUND_UPPER95,
      "Distance from unseen patients' images, beyond that of real images (KID)", SHOWN_NUMBER },
    { "fidelity.mean.holdout.kid.difference", BOUND_VALUE,
      "Distance from unseen patients' images, beyond that of real images (KID)", SHOWN_NUMBER },
    { "fidelity.mean.holdout.fid.ratio", BOUND_VALUE,
      "Distance from unseen patients' images, over that of real images (FID)", SHOWN_NUMBER },
    { "fidelity.mean.holdout.coverage", BOUND_LOWER95,
      "Share of unseen patients' images that have a synthetic one near by", SHOWN_PERCENT },
    { "fidelity.mean.holdout.coverage", BOUND_VALUE,
      "Share of unseen patients' images that have a synthetic one near by", SHOWN_PERCENT },
    { "fidelity.mean.holdout.inception_score.difference", BOUND_LOWER95,
      "Inception score, beyond that of real images", SHOWN_NUMBER },
    { "fidelity.mean.holdout.inception_score.difference", BOUND_VALUE,
      "Inception score, beyond that of real images", SHOWN_NUMBER },
};

/* Of utility the number of the whole comparison alone: that of a class, or a difference, is another
 * than the words say. So is that of fidelity's control, and how far it is from it. */
static bool is_of_a_part(const char *metric)
{
    return (text_starts_with(metric, "utility.") &&
            (strstr(metric, "].classes") || strstr(metric, "].difference"))) ||
           (text_starts_with(metric, "fidelity.mean.holdout.coverage.") &&
            (strstr(metric, ".control") || strstr(metric, ".difference")));
}

static const struct known_metric *known(const struct policy_row *row)
{
    for (size_t i = 0; i < sizeof known_metrics / sizeof *known_metrics; i++)
        if (text_starts_with(row->metric, known_metrics[i].metric) &&
            row->bound == (int)known_metrics[i].bound && !is_of_a_part(row->metric))
            return &known_metrics[i];
    return NULL;
}

/* In words; a bound is rounded so that it bounds. */
static const char *measure(char buffer[HTML_NUMBER], enum shown shown, int bound, double value)
{
    static const enum html_rounding roundings[BOUND_COUNT] = {
        [BOUND_UPPER95] = HTML_AT_MOST, [BOUND_LOWER95] = HTML_AT_LEAST
    };
    if (shown == SHOWN_YES_NO)
        return value > 0 ? "yes" : "no";
    return (shown == SHOWN_NUMBER ? html_real_bound : html_percent_bound)(buffer, value,
                                                                          roundings[bound]);
}

/* A limit as the plan has it, to the last digit. */
static const char *limit_words(char buffer[HTML_NUMBER], enum shown shown, double limit)
{
    if (shown == SHOWN_YES_NO)
        return limit > 0 ? "yes" : "no";
    if (shown == SHOWN_PERCENT)
        snprintf(buffer, HTML_NUMBER, "%.12g %%", 100 * limit);
    else
        snprintf(buffer, HTML_NUMBER, "%.15g", limit);
    return buffer;
}

/* Whether the number as it is written keeps the limit where the measured one does: 0.500 beside "at
 * least 0.50001", not met, does not. */
static bool reads_as_judged(const char *written, enum shown shown,
                            const struct policy_result *result)
{
    const struct policy_row *row = result->row;
    double value = strtod(written, NULL) / (shown == SHOWN_PERCENT ? 100 : 1),
           slack = 1e-12 * fabs(row->limit);
    bool at_most = strcmp(policy_rule_words(row), "at most") == 0;
    return result->passed == (at_most ? value <= row->limit + slack : value >= row->limit - slack);
}

/* What was measured; exactly, too, where it would else seem to contradict the verdict. */
static void put_measured(struct html *html, enum shown shown, const struct policy_result *result)
{
    char buffer[HTML_NUMBER];
    const struct policy_row *row = result->row;
    const char *value = measure(buffer, shown, row->bound, result->value);
    html_put(html, "$t", value);
    if (shown == SHOWN_YES_NO || reads_as_judged(value, shown, result))
        return;
    char exact[HTML_NUMBER], of[HTML_NUMBER];
    snprintf(exact, sizeof exact, "%.15g", result->value);
    snprintf(of, sizeof of, "%.15g", row->limit);
    html_put(html, "<small>exactly $t, of $t</small>", exact, of);
}

static void put_policy_row(struct html *html, const struct policy_result *result)
{
    const struct policy_row *row = result->row;
    const struct known_metric *metric = known(row);
    enum shown shown = metric ? metric->shown : SHOWN_NUMBER;
    html_put(html, "<tr><td>$t<small>$t", metric ? metric->words : row->metric, row->metric);
    if (row->bound != BOUND_VALUE)
        html_put(html, ", $t", policy_bound_names[row->bound]);
    char buffer[HTML_NUMBER];
    html_put(html, "</small></td><td class=\"n\">$t $t</td><td class=\"n\">",
             shown == SHOWN_YES_NO ? "" : policy_rule_words(row),
             limit_words(buffer, shown, row->limit));
    if (result->measured)
        put_measured(html, shown, result);
    else
        html_put(html, "not measured<small>$t</small>", result->reason);
    html_put(html, "</td><td><span class=\"badge $t\">$t</span></td></tr>",
             result->passed ? "yes" : "no", result->passed ? "✓ met" : "✗ not met");
}

static void write_policy(struct page *page)
{
    struct html *html = page->html;
    const struct facts *facts = page->facts;
    put_plain(
        html,
        "The conditions below were written into the plan before anything was measured. The set "
        "may be released when every one is met. A number that was not measured counts as not "
        "met.</p>");
    html_put(
        html,
        "<div class=\"scroll\"><table class=\"policy\"><caption>The policy, row by row</caption><thead><tr>"
        "<th scope=\"col\">Condition</th><th scope=\"col\" class=\"n\">Limit</th>"
        "<th scope=\"col\" class=\"n\">Measured</th><th scope=\"col\">Verdict</th></tr>"
        "</thead><tbody>");
    for (size_t i = 0; i < facts->result_count; i++)
        put_policy_row(html, &facts->results[i]);
    html_put(html, "</tbody></table></div>");
    double flagged = fact_number(facts->memorization, "flagged.count");
    if (facts->job->policy->quarantine != QUARANTINE_DROP)
        html_put(
            html,
            "<p>If any image is flagged beyond these limits the whole release is refused.</p>");
    else if (facts->all_flagged)
        html_put(html,
                 "<p>Flagged images are left out of a release. Here all of them are flagged, so "
                 "nothing is left to be released.</p>");
    else if (flagged > 0)
        html_put(
            html,
            "<p>Of the audited images $r flagged ones are left out of the release; the counts above "
            "are those of what is left. The bound stays as it was measured: it speaks of the "
            "generator, and leaving out what was caught does not make rarer what was not.</p>",
            flagged);
}

/* ---- what was tried -------------------------------------------------------------------------- */

static void put_candidate(struct page *page, const struct json *candidate, const char *chosen)
{
    struct html *html = page->html;
    const char *name = fact_string(candidate, "name"), *model = fact_string(candidate, "model");
    double passed = fact_number(candidate, "passed");
    const struct json *rows = fact(candidate, "rows");
    int64_t met = 0;
    for (size_t i = 0; rows && i < json_length(rows); i++) {
        const char *verdict = fact_string(json_at(rows, i), "verdict");
        met += verdict && strcmp(verdict, "passed") == 0;
    }
    html_put(html, "<tr><th scope=\"row\">$t$t<small>$t, $r steps</small></th>", name,
             name && strcmp(name, chosen) == 0 ? " (this one)" : "", model,
             fact_number(candidate, "trained_steps"));
    html_put(html, "<td class=\"n\">$r of $r</td><td class=\"n\">$u</td><td class=\"n\">$r</td>",
             fact_number(candidate, "flagged.count"), fact_number(candidate, "flagged.of"),
             fact_number(candidate, "flagged.upper95"),
             mean_for_readers(page, fact(candidate, "relative_dice")));
    html_put(html, "<td><span class=\"badge $t\">$t</span><small>$i of $i met</small></td></tr>",
             passed > 0 ? "yes" : "no", passed > 0 ? "✓ passed" : "✗ not passed", met,
             (int64_t)(rows ? json_length(rows) : 0));
}

/* Everybody may know what else was tried: a pass that was looked for among many is worth less. */
static void write_candidates(struct page *page)
{
    struct html *html = page->html;
    const struct json *choice = page->facts->choice, *list = fact(choice, "candidates");
    const char *chosen = fact_string(choice, "chosen");
    int64_t count = (int64_t)(list ? json_length(list) : 0);
    if (!count || !chosen)
        return;
    html_put(html, "<h3>What was tried</h3>");
    put_plain(html,
              "The plan names $i candidates: $i sets, of generators trained for "
              "different lengths or in different ways. All of them were measured, and all are "
              "listed here. Whoever tries $i times has $i chances of passing by luck; so each "
              "range that is given with 95 % confidence was made wider, such that all $i hold "
              "together with 95 % confidence (each with $p). Which one is released is decided by a "
              "rule: $t.</p>",
              count, count, count, count, count, 1 - 0.05 / (double)count,
              fact_string(choice, "rule"));
    html_put(html, "<div class=\"scroll\"><table><caption>All candidates</caption><thead><tr>"
                   "<th scope=\"col\">Candidate</th><th scope=\"col\" class=\"n\">Flagged</th>"
                   "<th scope=\"col\" class=\"n\">Share at most</th>"
                   "<th scope=\"col\" class=\"n\">Usefulness</th><th scope=\"col\">Policy</th>"
                   "</tr></thead><tbody>");
    for (int64_t i = 0; i < count; i++)
        put_candidate(page, json_at(list, (size_t)i), chosen);
    html_put(html, "</tbody></table></div>");
    if (!(fact_number(choice, "passed") > 0))
        html_put(html, "<p>None of them passed. This report is about the one that leaves the "
                       "fewest conditions unmet.</p>");
}

static void write_dropped(struct page *page)
{
    const char *names = page->facts->job->dropped;
    if (names)
        html_put(page->html,
                 "<p><span class=\"badge open\">note</span> In this run other candidates were "
                 "audited, too, which the plan has named since then no more: $t. Their numbers "
                 "stand nowhere in this report, and the ranges above do not allow for them.</p>",
                 names);
}

/* A copy that a reviewer saw and that was taken back: in both reports, for the numbers do not show
 * it. Who and when stands in the internal one, beside the pairs. */
static void write_withdrawn(struct page *page)
{
    size_t count =
        page->facts->marked == MARKS_NONE ? 0 : json_length(fact(page->facts->review, "withdrawn"));
    if (count)
        html_put(page->html,
                 "<p><span class=\"badge open\">note</span> $i of these images $t once marked as a "
                 "copy of a patient by a reviewer. The mark was withdrawn since then$t.</p>",
                 (int64_t)count, count == 1 ? "was" : "were",
                 page->internal ? "; below stands by whom" : "");
}

/* How often this run was audited, so that nobody looks for a pass unseen. For the reviewer, who can
 * ask why; the journal tells when, and with which settings. */
static void write_tries(struct page *page)
{
    const struct report_job *job = page->facts->job;
    if (!page->internal || !job->audits)
        return;
    html_put(
        page->html,
        "<h3>How often it was tried</h3><p>Begun in this run folder, each with settings or inputs of "
        "its own: trainings $i, drawings of a set $i, audits $i. Trying often and releasing what "
        "passes makes a pass by chance more likely. When, by whom and with which settings stands in the journal "
        "(journal.jsonl), whose length and head report.json states.</p>",
        (int64_t)job->trainings, (int64_t)job->samplings, (int64_t)job->audits);
}

/* ---- how it was made ------------------------------------------------------------------------- */

/* Pictures side by side on the sheet, about. */
enum { SHEET_COLUMNS = 8 };

/* The public report of a set that did not pass shows no image: it may be a patient. */
static void write_samples(struct page *page)
{
    const struct facts *facts = page->facts;
    size_t images[32], count = 0, wanted = (size_t)facts->job->settings->samples;
    const struct dataset *set = &facts->synthetic;
    if (!facts->has_synthetic || !wanted || !facts->memorization ||
        (!page->internal && !facts->passed)) {
        html_put(page->html, "<p>No images are shown here$t.</p>",
                 facts->memorization && !facts->passed
                     ? ": the set did not pass, and may hold images of patients"
                     : "");
        return;
    }
    wanted = wanted < 32 ? wanted : 32;
    for (size_t i = 0; i < wanted && set->count; i++) {
        size_t image = (2 * i + 1) * set->count / (2 * wanted);
        if (!fact_is_flagged(facts, (int64_t)image))
            images[count++] = image;
    }
    if (!count)
        return;
    size_t tiles = set->channels + (set->masks != NULL);
    size_t across = tiles < SHEET_COLUMNS ? SHEET_COLUMNS / tiles : 1;
    across = across < count ? across : count;
    html_put(page->html, "<figure class=\"sheet\">");
    put_picture(page, set, images, count, across, "A sheet of synthetic images");
    html_put(page->html,
             "<figcaption>Synthetic images, spread evenly over the set, $i a row. Of each:",
             (int64_t)across);
    for (size_t c = 0; c < set->channels; c++)
        html_put(page->html, "$t $t", c ? "," : "", set->channel_names[c]);
    html_put(page->html, "$t.</figcaption></figure>", set->masks ? ", the labels in colour" : "");
}

static void write_making(struct page *page)
{
    struct html *html = page->html;
    const struct facts *facts = page->facts;
    const struct json *real = facts->has_real ? facts->real.description : NULL;
    const struct json *made = facts->has_synthetic ? facts->synthetic.description : NULL;
    html_put(html, "<div class=\"scroll\"><table class=\"facts\"><tbody>");
    put_row(html, "Name", facts->job->name);
    put_number_row(html, "Synthetic images", fact_number(made, "images"));
    if (made)
        html_put(html, "<tr><th scope=\"row\">Size</th><td class=\"n\">$i × $i pixels</td></tr>",
                 (int64_t)fact_number(made, "height"), (int64_t)fact_number(made, "width"));
    put_row(html, "Generator",
            facts->job->generator ? facts->job->generator : "made elsewhere, not by this tool");
    put_number_row(html, "Steps of training", fact_number(made, "origin.trained_steps"));
    put_number_row(html, "Seed of the set", fact_number(made, "origin.seed"));
    put_number_row(html, "Patients that the generator learned from",
                   fact_number(real, "origin.splits.train.subjects"));
    put_number_row(html, "… with images", fact_number(real, "origin.splits.train.images"));
    put_number_row(html, "Patients kept apart, as control",
                   fact_number(real, "origin.splits.holdout.subjects"));
    put_number_row(html, "… with images", fact_number(real, "origin.splits.holdout.images"));
    put_row(html, "Licence", facts->job->licence ? facts->job->licence : "not stated in the plan");
    put_row(html, "Intended use", facts->job->settings->intended_use);
    put_row(html, "To be assessed again", facts->job->settings->reassess);
    html_put(html, "</tbody></table></div><h3>What the images look like</h3>");
    write_samples(page);
    html_put(
        html,
        "<p>These images are synthetic: they were generated by a computer$t. (Marking required by "
        "Article 50(2) of Regulation (EU) 2024/1689.)</p>",
        facts->memorization && facts->passed
            ? ", and none was taken of a person"
            : "; that none of them shows a person has not been shown");
}

/* ---- training -------------------------------------------------------------------------------- */

static void write_training(struct page *page)
{
    struct metrics metrics;
    struct html *html = page->html;
    const struct report_job *job = page->facts->job;
    char *path = job->model ? path_join(&page->facts->arena, job->model, "metrics.jsonl") : NULL;
    if (!path || !job->generator || path_kind(path) != PATH_FILE ||
        !metrics_read(path, &metrics, NULL)) {
        html_put(html, "<p>No record of a training belongs to this run.</p>");
        return;
    }
    put_plain(html, "How the training went, for those who know such curves: they should have "
                    "settled, and nothing should have exploded.</p>");
    html_put(html, "<div class=\"curves\">");
    for (size_t i = 0; i < metrics.series_count; i++) {
        const struct metrics_series *series = &metrics.series[i];
        struct chart_axes axes = { series->name, "images trained on", "A curve of training" };
        if (series->loss)
            chart_curve(html, &axes, series->images, series->value, series->count);
    }
    html_put(html, "</div>");
    metrics_release(&metrics);
    if (page->internal && job->train_settings)
        html_put(html,
                 "<details class=\"numbers\"><summary>Every setting of the training</summary>"
                 "<pre>$t</pre></details>",
                 job->train_settings);
}

/* ---- the three risks ------------------------------------------------------------------------- */

static void put_risk(struct html *html, const char *name, const char *question, const char *tone,
                     const char *state)
{
    html_put(html, "<h3>$t <span class=\"badge $t\">$t</span></h3><p class=\"lead\">$t</p>", name,
             tone, state, question);
}

/* Whether somebody's membership can be told takes patients who were no members. */
static void write_inference(struct html *html, const struct json *audit, const char *tone)
{
    double auc = fact_number(audit, "companions.mia.auc.value");
    bool measured = !isnan(auc);
    put_risk(html, "Inference", "Can something about a person be deduced from the released data?",
             measured ? tone : "no", measured ? "assessed in part" : "not assessed");
    if (measured)
        html_put(html,
                 "<p>Measured: whether somebody who holds the released set and a patient's image "
                 "can tell that this patient was in the training set: area under the curve $r (0.5 "
                 "is a guess).",
                 auc);
    else
        html_put(html,
                 "<p>Not measured$t: whether somebody who holds the released set and a patient's "
                 "image can tell that this patient was in the training set.",
                 audit ? ", for there were no images of patients who were not" : "");
    html_put(html, " Not measured: inference of other attributes, such as age, sex or diagnosis."
                   "</p>");
}

/* A threshold from somebody's images, or none. */
static void write_singling_out(struct html *html, const struct json *audit)
{
    html_put(html, "<p>Measured: for each synthetic image the nearest image of every training "
                   "patient, by exact search");
    if (fact_string(audit, "control.used"))
        html_put(html, ", against a threshold from $t", control_people(audit));
    html_put(
        html,
        ": $r of $r images flagged; at most $u of such images, with 95 % confidence. "
        "Not measured: persons who can be recognised by a feature that leaves most of the image "
        "as it is (an implant, a rare malformation).</p>",
        fact_number(audit, "flagged.count"), fact_number(audit, "counts.synthetic"),
        fact_number(audit, "flagged.upper95"));
}

static void write_risks(struct page *page)
{
    struct html *html = page->html;
    const struct json *audit = page->facts->memorization;
    const struct json *searched = fact(audit, "transforms.searched");
    const char *tone = audit ? "open" : "no", *partly = audit ? "assessed in part" : "not assessed";
    html_put(html, "<p>The Article 29 Working Party (Opinion 05/2014, WP216) names three risks by "
                   "which anonymisation is to be judged. This is what was measured about each, and "
                   "what was not.</p>");
    put_risk(html, "Singling out", "Can one person be isolated in the released data?", tone,
             partly);
    if (audit)
        write_singling_out(html, audit);
    put_risk(html, "Linkability", "Can records about one person be linked, within or across sets?",
             tone, partly);
    if (audit)
        html_put(html,
                 "<p>Measured: how many synthetic images lie nearest to each patient. Copies in "
                 "disguise (mirrored, turned, in other greys) $t looked for. Not measured: linking "
                 "with data outside of this release that an attacker may hold.</p>",
                 searched && json_length(searched) ? "were" : "were not");
    write_inference(html, audit, tone);
}

/* ---- limits ---------------------------------------------------------------------------------- */

static void write_limits(struct page *page)
{
    struct html *html = page->html;
    html_put(
        html,
        "<ul><li>This report does not say that the images are anonymous in the legal sense. It "
        "says which measurements were made, and whether they met limits set beforehand.</li>"
        "<li>A copy is looked for by how alike images are, pixel by pixel, also after simple "
        "transformations. A likeness that no such measure sees is not found.</li>"
        "<li>The bound on flagged images is about this generator and sampling settings: it "
        "covers images drawn in the same way, not other uses of the model.</li>"
        "<li>The model's weights may hold more about patients than its images show. They are "
        "not part of the release.</li>"
        "<li>Thresholds rest on the patients of the control. A group of patients that is missing "
        "among them, or rare, is protected less surely.</li>"
        "<li>Images made by a generator can show findings that no patient has. They are for "
        "research and for training of software, not for diagnosis.</li></ul>");
    const struct json *audit = page->facts->memorization;
    double subjects = unseen_patients(audit);
    if (subjects == 0)
        html_put(html, "<p><span class=\"badge open\">note</span> No patients were kept apart as "
                       "control: what an unseen patient looks like, this audit does not know.</p>");
    else if (subjects < 20)
        html_put(html,
                 "<p><span class=\"badge open\">note</span> Patients kept apart as control: "
                 "just $r; with so few, the threshold is uncertain.</p>",
                 subjects);
}

/* ---- digests and how to verify --------------------------------------------------------------- */

/* A commitment to the training set: whoever holds the salt and the set can show that it was this
 * one; others learn nothing, not even by guessing the set. */
static const char *commitment(struct facts *facts)
{
    const char *dataset =
        facts->has_real
            ? fact_digest(facts, path_join(&facts->arena, facts->job->dataset, "dataset.json"))
            : NULL;
    const char *salt = facts->job->settings->salt;
    if (!dataset || !salt || !*salt)
        return "none, for the plan holds no salt";
    char hex[DIGEST_HEX];
    const char *text = arena_format(&facts->arena, "%s\n%s\n", salt, dataset);
    struct digest digest = digest_of(text, strlen(text));
    return arena_string(&facts->arena, digest_hex(&digest, hex));
}

static const char *digest_in(struct facts *facts, const char *folder, const char *name)
{
    return folder ? fact_digest(facts, path_join(&facts->arena, folder, name)) : NULL;
}

static void write_evidence(struct page *page)
{
    struct html *html = page->html;
    struct facts *facts = page->facts;
    const struct report_job *job = facts->job;
    html_put(
        html,
        "<div class=\"scroll\"><table class=\"facts\"><caption>SHA-256 digests</caption><tbody>");
    put_digest_row(html, "Plan", job->plan_sha256);
    put_digest_row(html, "Commitment to the training set", commitment(facts));
    put_digest_row(html, "Synthetic set", digest_in(facts, job->synthetic, "dataset.json"));
    put_digest_row(
        html, "Weights of the generator",
        facts->has_synthetic ? fact_string(facts->synthetic.description, "origin.weights") : NULL);
    put_digest_row(html, "Memorisation audit", digest_in(facts, job->audit, "memorization.json"));
    put_digest_row(html, "Utility", digest_in(facts, job->utility, "utility.json"));
    if (has_fidelity(facts))
        put_digest_row(html, "Fidelity", digest_in(facts, job->fidelity, "fidelity.json"));
    if (has_membership(facts))
        put_digest_row(html, "Membership", digest_in(facts, job->membership, "membership.json"));
    if (page->internal) {
        put_digest_row(html, "Training set (dataset.json)",
                       digest_in(facts, job->dataset, "dataset.json"));
        put_digest_row(html, "The public report beside this one", page->public_sha256);
        put_row(html, "Salt of the commitment", job->settings->salt);
    }
    put_row(html, "Tool", "lethe " LETHE_VERSION);
    html_put(
        html,
        "</tbody></table></div><h3>How to verify</h3><p>With the archive come a manifest and "
        "signatures. Who holds the signers' public keys from elsewhere checks all of it without "
        "trusting anything in the archive:</p>"
        "<pre>lethe-verify ARCHIVE --trust trust.yaml</pre>"
        "<p>The manifest names the digest of this report; the verifier's last line says whether "
        "what you hold is what was signed.</p>");
    html_put(html, "<h3>Who reviewed</h3><p>");
    for (size_t i = 0; i < job->settings->reviewers.count; i++)
        html_put(html, "$t$t", i ? ", " : "", job->settings->reviewers.items[i]);
    html_put(html, "$t</p><p>Questions: $t</p>",
             job->settings->reviewers.count ? "" : "No reviewer is named in the plan.",
             job->settings->contact ? job->settings->contact : "no contact is named in the plan");
}

/* ---- the table ------------------------------------------------------------------------------- */

/* For those who can do something about it. */
static void write_advice(struct page *page)
{
    const char *line = page->facts->advice;
    if (!page->internal || !line)
        return;
    html_put(page->html, "<h3>What to do</h3><ul>");
    while (*line) {
        size_t length = strcspn(line, "\n");
        html_put(page->html, "<li>$t</li>", arena_substring(&page->facts->arena, line, length));
        line += length + (line[length] == '\n');
    }
    html_put(page->html, "</ul>");
}

static void write_verdict(struct page *page)
{
    write_policy(page);
    write_advice(page);
    write_candidates(page);
    write_dropped(page);
    write_withdrawn(page);
    write_tries(page);
}

const struct section sections[] = {
    { "verdict", "Verdict and policy", false, write_verdict },
    { "made", "What was made, and how", false, write_making },
    { "memorisation", "Memorisation: is any patient in the images?", false, write_memorization },
    { "pairs", "The worst pairs, for review", true, write_pairs },
    { "exposure", "Exposure by patient", true, write_exposure },
    { "membership", "Membership: does the generator remember its patients?", false,
      write_membership, has_membership },
    { "utility", "Utility: are the images worth having?", false, write_utility },
    { "fidelity", "Fidelity: are the images like patients' images, and as varied?", false,
      write_fidelity, has_fidelity },
    { "training", "Training", false, write_training },
    { "risks", "The three risks", false, write_risks },
    { "limits", "Limits, in plain words", false, write_limits },
    { "evidence", "Digests, and how to verify", false, write_evidence },
    { 0 },
};
