/* The report's section about fidelity; see sections.h. */
#include "report/chart.h"
#include "report/sections.h"

#include <math.h>
#include <string.h>

/* The measures, and what each says to somebody who does not know it. */
static const struct {
    const char *key, *name, *meaning;
    bool in_chart;   /* 0 … 1, or about: may stand on one scale */
    bool of_classes; /* takes a network that knows classes */
} measures[] = {
    { "kid", "KID", "distance of the two sets, whatever their sizes; 0: none", false },
    { "fid", "FID", "distance of the two sets; comparable for as many images only; 0: none",
      false },
    { "precision", "Precision", "share of these images that lie among the patients' images", true },
    { "recall", "Recall", "share of the patients' images that lie among these images", true },
    { "density", "Density",
      "how densely patients' images lie around these images; 1: as among "
      "themselves",
      true },
    { "coverage", "Coverage", "share of the patients' images that have one of these near by",
      true },
    { "inception_score", "Inception score",
      "how many kinds of photograph a classifier takes them for; 1: one. Compare it with real images "
      "alone: higher is not better",
      .of_classes = true },
};
enum { MEASURES = sizeof measures / sizeof *measures };

/* What the images were held against. */
static const struct {
    const char *key, *title, *reference, *control, *reading;
} comparisons[] = {
    { "holdout", "Compared with patients whom the generator never saw", "patients kept apart",
      "training patients", "the higher the better, and as high as real ones is as good as can be" },
    { "training", "Compared with the patients whom it learned from", "training patients",
      "patients kept apart",
      "higher than real ones means more like these patients than new ones are" },
};
enum { COMPARISONS = sizeof comparisons / sizeof *comparisons };

bool has_fidelity(const struct facts *facts)
{
    return facts->fidelity;
}

/* ---- one number ------------------------------------------------------------------------------ */

static bool is_shown(const struct page *page, size_t m)
{
    return !measures[m].of_classes || !fact(fact(page->facts->fidelity, "features"), "no_classes");
}

/* FID's control is a number, the others' an estimate like the value itself. */
static double control_value(const struct json *measure)
{
    double value = fact_number(measure, "control.value");
    return isnan(value) ? fact_number(measure, "control") : value;
}

static void put_cell(struct page *page, double value, const struct json *of)
{
    char low[HTML_NUMBER], high[HTML_NUMBER];
    html_put(page->html, "<td class=\"n\">$r", value);
    if (of && !isnan(fact_number(of, "lower95")))
        html_put(page->html, "<small>$t to $t</small>",
                 html_real_bound(low, fact_number(of, "lower95"), HTML_AT_LEAST),
                 html_real_bound(high, fact_number(of, "upper95"), HTML_AT_MOST));
    html_put(page->html, "</td>");
}

/* ---- one comparison -------------------------------------------------------------------------- */

static void write_chart(struct page *page, const struct json *mean, size_t c)
{
    struct chart_bar bars[2 * MEASURES];
    size_t count = 0;
    for (size_t m = 0; m < MEASURES; m++) {
        const struct json *measure = fact(mean, measures[m].key);
        if (!measures[m].in_chart || isnan(fact_number(measure, "value")))
            continue;
        bars[count++] = (struct chart_bar){
            .name = arena_format(&page->facts->arena, "%s, synthetic", measures[m].name),
            .value = fact_number(measure, "value"),
            .low = fact_number(measure, "lower95"),
            .high = fact_number(measure, "upper95"),
            .tone = "synthetic",
        };
        const struct json *control = fact(measure, "control");
        if (isnan(fact_number(control, "value")))
            continue;
        bars[count++] = (struct chart_bar){
            .name = arena_format(&page->facts->arena, "%s, real", measures[m].name),
            .value = fact_number(control, "value"),
            .low = fact_number(control, "lower95"),
            .high = fact_number(control, "upper95"),
            .tone = "control",
        };
    }
    if (count)
        chart_bars(page->html,
                   &(struct chart_axes){
                       arena_format(&page->facts->arena,
                                    "Synthetic images, and as many real ones, beside images of "
                                    "%s: %s. Whiskers: 95 %% intervals.",
                                    comparisons[c].reference, comparisons[c].reading),
                       "mean over channels", NULL },
                   bars, count, NAN);
}

static void put_measure(struct page *page, size_t m, const struct json *measure)
{
    html_put(page->html, "<tr><th scope=\"row\">$t<small>$t</small></th>", measures[m].name,
             measures[m].meaning);
    put_cell(page, fact_number(measure, "value"), measure);
    put_cell(page, control_value(measure), fact(measure, "control"));
    const struct json *difference = fact(measure, "difference");
    if (difference)
        put_cell(page, fact_number(difference, "value"), difference);
    else
        html_put(page->html, "<td class=\"n\">$r times</td>", fact_number(measure, "ratio"));
    html_put(page->html, "</tr>");
}

/* As publications give the inception score. */
static void put_splits(struct page *page, const struct json *score)
{
    const struct json *set = fact(score, "splits"), *control = fact(score, "control.splits");
    if (isnan(fact_number(set, "mean")))
        return;
    html_put(
        page->html,
        "<p>Inception score as publications give it, of $r splits of the images: $r, deviation "
        "$r; of real images: $r, deviation $r.</p>",
        fact_number(set, "count"), fact_number(set, "mean"), fact_number(set, "sd"),
        fact_number(control, "mean"), fact_number(control, "sd"));
}

/* Everybody may see what several people's images say together, not those of one. */
static bool is_for_everybody(const struct json *compared)
{
    return fact_number(compared, "reference_subjects") != 1 &&
           fact_number(compared, "control_subjects") != 1;
}

static const struct json *compared_with(const struct page *page, const char *key)
{
    return fact(fact(page->facts->fidelity, "compared"), key);
}

static void write_comparison(struct page *page, size_t c)
{
    struct html *html = page->html;
    const struct json *document = page->facts->fidelity;
    const char *key = comparisons[c].key;
    const struct json *mean = fact(fact(document, "mean"), key),
                      *compared = compared_with(page, key);
    if (!mean || !json_value_is_object(mean))
        return;
    html_put(html,
             "<h3>$t</h3><p>$r synthetic images beside $r images of $t ($r in number); the "
             "control are as many real images, of $t ($r in number).</p>",
             comparisons[c].title, fact_number(compared, "images"),
             fact_number(compared, "reference_images"), comparisons[c].reference,
             fact_number(compared, "reference_subjects"), comparisons[c].control,
             fact_number(compared, "control_subjects"));
    if (!page->internal && !is_for_everybody(compared)) {
        html_put(html, "<p>One patient alone is no measure, and what that patient's images show "
                       "is not for everybody: the numbers stand in the internal report.</p>");
        return;
    }
    write_chart(page, mean, c);
    html_put(html, "<div class=\"scroll\"><table><caption>Mean over channels, below it the 95 % "
                   "interval, by patient</caption><thead><tr><th scope=\"col\">Measure</th>"
                   "<th scope=\"col\" class=\"n\">Synthetic images</th>"
                   "<th scope=\"col\" class=\"n\">Real images, as control</th>"
                   "<th scope=\"col\" class=\"n\">Difference</th></tr></thead><tbody>");
    for (size_t m = 0; m < MEASURES; m++)
        if (is_shown(page, m))
            put_measure(page, m, fact(mean, measures[m].key));
    html_put(html, "</tbody></table></div>");
    if (!fact(document, "features.no_classes"))
        put_splits(page, fact(mean, "inception_score"));
}

/* ---- by channel ------------------------------------------------------------------------------ */

static void write_channels(struct page *page)
{
    struct html *html = page->html;
    const struct json *list = fact(page->facts->fidelity, "channels");
    size_t count = list ? json_length(list) : 0;
    const char *key =
        json_value_is_object(fact(page->facts->fidelity, "mean.holdout")) ? "holdout" : "training";
    if (count < 2 || (!page->internal && !is_for_everybody(compared_with(page, key))))
        return;
    html_put(html,
             "<div class=\"scroll\"><table><caption>Each channel beside images of $t: the value "
             "of the synthetic images, below it that of real ones</caption><thead><tr>"
             "<th scope=\"col\">Channel</th>",
             comparisons[strcmp(key, "training") == 0].reference);
    for (size_t m = 0; m < MEASURES; m++)
        if (is_shown(page, m))
            html_put(html, "<th scope=\"col\" class=\"n\">$t</th>", measures[m].name);
    html_put(html, "</tr></thead><tbody>");
    for (size_t i = 0; i < count; i++) {
        const struct json *channel = json_at(list, i);
        html_put(html, "<tr><th scope=\"row\">$t</th>", fact_string(channel, "name"));
        for (size_t m = 0; m < MEASURES; m++) {
            const struct json *measure = fact(fact(channel, key), measures[m].key);
            if (is_shown(page, m))
                html_put(html, "<td class=\"n\">$r<small>$r</small></td>",
                         fact_number(measure, "value"), control_value(measure));
        }
        html_put(html, "</tr>");
    }
    html_put(html, "</tbody></table></div>");
}

/* ---- the section ----------------------------------------------------------------------------- */

/* The measures in which synthetic images fall behind real ones by more than chance explains:
 * "precision and recall"; NULL: none could be compared. */
static const char *behind(struct page *page)
{
    static const struct {
        const char *path, *name;
        bool low_is_good;
    } judged[] = {
        { "mean.holdout.kid.difference", "distance", true },
        { "mean.holdout.precision.difference", "precision", false },
        { "mean.holdout.recall.difference", "recall", false },
        { "mean.holdout.coverage.difference", "coverage", false },
    };
    const char *names = NULL;
    for (size_t i = 0; i < sizeof judged / sizeof *judged; i++) {
        const struct json *difference = fact(page->facts->fidelity, judged[i].path);
        double low = fact_number(difference, "lower95"), high = fact_number(difference, "upper95");
        if (isnan(low) || isnan(high))
            continue;
        names = names ? names : "";
        if (judged[i].low_is_good ? low > 0 : high < 0)
            names = arena_format(&page->facts->arena, "%s%s%s", names, *names ? ", " : "",
                                 judged[i].name);
    }
    return names;
}

static const char *finding(struct page *page)
{
    const char *names = behind(page);
    if (!names)
        return "Whether they come as near as those cannot be said here.";
    if (!*names)
        return "By no measure below do they fall behind those by more than chance explains.";
    return arena_format(&page->facts->arena,
                        "They fall behind those by more than chance explains in: %s.", names);
}

static void write_what_with(struct page *page)
{
    const struct json *features = fact(page->facts->fidelity, "features");
    html_put(
        page->html,
        "<p>Measured with the $r features of the network $t, $t (SHA-256 of the weights: <span "
        "class=\"digest\">$t</span>). Images were brought to $r × $r pixels: $t. Numbers of "
        "other networks, weights, sizes or ways of resizing cannot be compared with these.</p>",
        fact_number(features, "count"), fact_string(features, "backbone"),
        fact_number(features, "random") == 1 ? "with random weights: it was trained on nothing"
                                             : "with weights from a file",
        fact_string(features, "weights"), fact_number(features, "side"),
        fact_number(features, "side"), fact_string(features, "preparation"));
}

static void write_warnings(struct page *page)
{
    const struct json *warnings = fact(page->facts->fidelity, "warnings");
    size_t count = warnings ? json_length(warnings) : 0;
    if (!count)
        return;
    html_put(page->html, "<h3>To be kept in mind about fidelity</h3><ul>");
    for (size_t i = 0; i < count; i++)
        html_put(page->html, "<li>$t</li>", json_as_string(json_at(warnings, i)));
    html_put(page->html, "</ul>");
}

void write_fidelity(struct page *page)
{
    put_plain(
        page->html,
        "Do the images look like patients' images, and are they as varied as patients are? A "
        "network that never learned from any of them describes each image by numbers, and the "
        "descriptions of the synthetic images were compared with those of patients whom the "
        "generator never saw. So that the outcome means something, the same was done with as many "
        "real images in place of the synthetic ones: a perfect generator would come as near as "
        "those, not nearer. $t None of this is about privacy: copies of patients are very like "
        "patients.</p>",
        finding(page));
    for (size_t c = 0; c < COMPARISONS; c++)
        write_comparison(page, c);
    write_channels(page);
    write_what_with(page);
    write_warnings(page);
}
