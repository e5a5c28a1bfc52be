/* The report's section about what the model itself gives away; see sections.h. */
#include "report/chart.h"
#include "report/sections.h"

#include <math.h>
#include <string.h>

/* Whose scores are compared. */
static const struct {
    const char *key, *name;
} units[] = { { "images", "images" }, { "subjects", "patients" } };
enum { UNITS = sizeof units / sizeof *units };

static const struct {
    const char *key, *name, *meaning;
} measures[] = {
    { "auc", "AUC",
      "how often one from training scores higher than one kept apart; 0.5: as often as not" },
    { "tpr_at_1_percent", "Found at 1 %",
      "share of training that is recognised where 1 % of the others are taken for it" },
    { "tpr_at_0_1_percent", "Found at 0.1 %", "the same where 0.1 % are" },
};
enum { MEASURES = sizeof measures / sizeof *measures };

bool has_membership(const struct facts *facts)
{
    return facts->membership;
}

/* Everybody may see what several people's images say together, not those of one. */
static bool is_shown(const struct page *page)
{
    const struct json *counts = fact(page->facts->membership, "counts");
    return page->internal || (fact_number(counts, "train.subjects") != 1 &&
                              fact_number(counts, "holdout.subjects") != 1);
}

/* How many of those kept apart were compared; calibrated scores may judge fewer. */
static double kept_apart(const struct json *found)
{
    return fact_number(found, "subjects.non_members");
}

/* What came out of halves of those kept apart; in public not where a half is one person. */
static const struct json *control_of(const struct page *page, const struct json *found,
                                     const char *unit)
{
    bool of_several = kept_apart(found) >= 4;
    return page->internal || of_several ? fact(fact(fact(found, "control"), unit), "auc") : NULL;
}

/* What scores beside references say, where there are any; in public not of one person on a side. */
static const struct json *calibrated(const struct page *page)
{
    const struct json *found = fact(page->facts->membership, "calibrated");
    bool of_several = fact_number(found, "subjects.members") > 1 && kept_apart(found) > 1;
    return page->internal || of_several ? found : NULL;
}

static void put_cell(struct page *page, const struct json *of)
{
    char low[HTML_NUMBER], high[HTML_NUMBER];
    html_put(page->html, "<td class=\"n\">$r", fact_number(of, "value"));
    if (of && !isnan(fact_number(of, "lower95")))
        html_put(page->html, "<small>$t to $t</small>",
                 html_real_bound(low, fact_number(of, "lower95"), HTML_AT_LEAST),
                 html_real_bound(high, fact_number(of, "upper95"), HTML_AT_MOST));
    if (fact_number(of, "supported") == 0)
        html_put(page->html, "<small>too few kept apart to say</small>");
    html_put(page->html, "</td>");
}

static struct chart_bar bar_of(const char *name, const struct json *of, const char *tone)
{
    return (struct chart_bar){ .name = name,
                               .value = fact_number(of, "value"),
                               .low = fact_number(of, "lower95"),
                               .high = fact_number(of, "upper95"),
                               .tone = tone };
}

static void write_chart(struct page *page)
{
    const struct json *document = page->facts->membership;
    struct chart_bar bars[3 * UNITS];
    size_t count = 0;
    for (size_t u = 0; u < UNITS; u++) {
        const struct json *found = fact(fact(document, units[u].key), "auc"),
                          *control = control_of(page, document, units[u].key),
                          *beside = fact(fact(calibrated(page), units[u].key), "auc");
        bars[count++] = bar_of(arena_format(&page->facts->arena, "%s, training", units[u].name),
                               found, "synthetic");
        if (!isnan(fact_number(beside, "value")))
            bars[count++] =
                bar_of(arena_format(&page->facts->arena, "%s, beside references", units[u].name),
                       beside, "synthetic");
        if (!isnan(fact_number(control, "value")))
            bars[count++] =
                bar_of(arena_format(&page->facts->arena, "%s, halves kept apart", units[u].name),
                       control, "control");
    }
    chart_bars(page->html,
               &(struct chart_axes){ "How often the model's score is higher for one whom it "
                                     "learned from than for one whom it never saw, beside the same "
                                     "of two halves of those whom it never saw. Whiskers: 95 % "
                                     "intervals.",
                                     "AUC", NULL },
               bars, count, 0.5);
}

/* All that was measured by scores of one kind. */
static void write_table(struct page *page, const char *by, const struct json *found)
{
    struct html *html = page->html;
    html_put(html,
             "<div class=\"scroll\"><table><caption>Guessing who was in the training set, by $t; "
             "below each number its 95 % interval, by patient</caption><thead>"
             "<tr><th scope=\"col\">Measure</th><th scope=\"col\" class=\"n\">Images</th>"
             "<th scope=\"col\" class=\"n\">Patients</th></tr></thead><tbody>",
             by);
    for (size_t m = 0; m < MEASURES; m++) {
        html_put(html, "<tr><th scope=\"row\">$t<small>$t</small></th>", measures[m].name,
                 measures[m].meaning);
        for (size_t u = 0; u < UNITS; u++)
            put_cell(page, fact(fact(found, units[u].key), measures[m].key));
        html_put(html, "</tr>");
    }
    html_put(html,
             "<tr><th scope=\"row\">By chance<small>how often the AUC is as high when the same "
             "patients are shared out at random between training and the others</small></th>");
    for (size_t u = 0; u < UNITS; u++)
        html_put(html, "<td class=\"n\">$r</td>",
                 fact_number(fact(found, units[u].key), "by_chance"));
    html_put(html,
             "</tr><tr><th scope=\"row\">AUC of the control<small>one half of the patients kept "
             "apart against the other</small></th>");
    for (size_t u = 0; u < UNITS; u++)
        put_cell(page, control_of(page, found, units[u].key));
    html_put(html, "</tr></tbody></table></div>");
}

/* A reference that learnt little takes little out: then a low AUC says as little. */
static void write_steps(struct page *page, const struct json *references)
{
    double own = fact_number(page->facts->membership, "model.step"), least = INFINITY,
           most = -INFINITY;
    for (size_t i = 0; i < json_length(references); i++) {
        double step = fact_number(json_at(references, i), "step");
        least = fmin(least, step);
        most = fmax(most, step);
    }
    if (least == own && most == own)
        html_put(page->html, "<p>They were trained for $r steps, as this one was.</p>", own);
    else
        html_put(page->html,
                 "<p>They were trained for $r to $r steps, and this one for $r: where they learned "
                 "less, or more, what it remembers shows less beside them.</p>",
                 least, most, own);
}

/* The same beside models that were trained without the patient. */
static void write_calibrated(struct page *page)
{
    const struct json *found = calibrated(page), *left = fact(found, "not_judged"),
                      *references = fact(found, "references");
    if (!found)
        return;
    html_put(
        page->html,
        "<p>Some images are harder than others for any model, which hides what this one "
        "remembers. So $r other $t trained in the same way, each on half of all these patients, "
        "and what those of them say of an image that never saw its patient was taken from what "
        "the model says of it: this is what somebody can find out who is able to train such "
        "models.</p>",
        (double)json_length(references),
        json_length(references) == 1 ? "model was" : "models were");
    write_steps(page, references);
    if (fact_number(left, "train") + fact_number(left, "holdout") > 0)
        html_put(page->html,
                 "<p>$r images that the model learned from and $r others were seen by all of these "
                 "models, and are not judged so.</p>",
                 fact_number(left, "train"), fact_number(left, "holdout"));
    write_table(page, "the model beside others", found);
}

static bool tells_apart(const struct json *found)
{
    return fact_number(found, "images.tells_apart") == 1 ||
           fact_number(found, "subjects.tells_apart") == 1;
}

/* Whether one side is a single person, of whom nothing can be said. */
static bool is_of_one(const struct json *document)
{
    return isnan(fact_number(document, "images.auc.lower95")) ||
           isnan(fact_number(document, "subjects.auc.lower95"));
}

static const char *finding(const struct page *page)
{
    const struct json *document = page->facts->membership;
    if (!is_shown(page))
        return "What came out stands in the internal report.";
    if (is_of_one(document))
        return "Whether it does so better than by chance cannot be said here.";
    return tells_apart(document) || tells_apart(calibrated(page))
               ? "It does so better than chance explains: whoever held the weights could make use "
                 "of that."
               : "It does so no better than chance explains.";
}

static void write_what_with(struct page *page)
{
    const struct json *document = page->facts->membership, *model = fact(document, "model"),
                      *counts = fact(document, "counts");
    const char *score = fact_string(model, "score");
    bool loss = score && strcmp(score, "denoising loss") == 0;
    html_put(page->html,
             "<p>$r images of $r patients whom the model learned from, $r of $r whom it never saw. "
             "The score of an image is $t.</p>",
             fact_number(counts, "train.scored"), fact_number(counts, "train.subjects"),
             fact_number(counts, "holdout.scored"), fact_number(counts, "holdout.subjects"),
             loss ? "how well the model takes noise away from it, at several strengths of noise"
                  : "what the discriminator, which was trained beside the generator, says of it");
}

static void write_warnings(struct page *page)
{
    const struct json *warnings = fact(page->facts->membership, "warnings");
    size_t count = warnings ? json_length(warnings) : 0;
    if (!count)
        return;
    html_put(page->html, "<h3>To be kept in mind about membership</h3><ul>");
    for (size_t i = 0; i < count; i++)
        html_put(page->html, "<li>$t</li>", json_as_string(json_at(warnings, i)));
    html_put(page->html, "</ul>");
}

void write_membership(struct page *page)
{
    put_plain(
        page->html,
        "A generator can remember its patients even where none of the images that were drawn from "
        "it shows one. So the model itself was asked about images of patients whom it learned "
        "from, and about images of patients whom it never saw: does it know the former better? "
        "$t This is about the model's weights, which are not part of a release, and about one way "
        "of asking: that it finds nothing proves no anonymity.</p>",
        finding(page));
    write_what_with(page);
    if (!is_shown(page)) {
        html_put(page->html, "<p>One patient alone is no measure, and what that patient's images "
                             "show is not for everybody: the numbers stand in the internal "
                             "report.</p>");
        return;
    }
    write_chart(page);
    write_table(page, "the model", page->facts->membership);
    write_calibrated(page);
    if (page->internal)
        html_put(page->html, "<p>How well each patient is known stands in subjects.csv, each image "
                             "in scores.csv, beside the result in the run folder.</p>");
    write_warnings(page);
}
