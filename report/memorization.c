/* The report's sections about memorisation; see sections.h. */
#include "report/chart.h"
#include "report/sections.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- distributions --------------------------------------------------------------------------- */

/* The numbers of a list, in the arena; NULL where there is none. */
static double *numbers_of(struct facts *facts, const struct json *list, size_t *count)
{
    *count = list ? json_length(list) : 0;
    double *numbers = *count ? arena_array(&facts->arena, double, *count) : NULL;
    for (size_t i = 0; i < *count; i++)
        if (!json_as_real(json_at(list, i), &numbers[i]))
            numbers[i] = 0;
    return numbers;
}

struct distribution {
    const char *key, *title, *axis, *label;
};

/* One statistic: synthetic and control over each other, with the threshold. */
static void write_distribution(struct page *page, const struct distribution *what)
{
    struct facts *facts = page->facts;
    const struct json *audit = facts->memorization;
    char path[96];
    size_t edge_count, counts[3];
    const char *used = fact_string(audit, "control.used");
    bool matched = used && strcmp(used, "matched_holdout") == 0;
    const char *const keys[] = { "synthetic", matched ? "matched_holdout" : "holdout",
                                 "other_subjects" };
    const char *const names[] = { "synthetic images",
                                  matched ? "images of unseen patients, changed to be as smooth"
                                          : "images of unseen patients",
                                  "images of other training patients" };
    static const char *const tones[] = { "synthetic", "control", "other" };
    snprintf(path, sizeof path, "histograms.%s", what->key);
    const struct json *histogram = fact(audit, path);
    double *edges = numbers_of(facts, fact(histogram, "edges"), &edge_count);
    struct chart_histogram sets[3];
    size_t shown = 0;
    for (int i = 0; i < 3; i++) {
        double *values = numbers_of(facts, fact(histogram, keys[i]), &counts[i]);
        double total = 0;
        for (size_t b = 0; values && b < counts[i]; b++)
            total += values[b];
        if (total > 0 && counts[i] + 1 == edge_count)
            sets[shown++] = (struct chart_histogram){ names[i], tones[i], values };
    }
    if (!edges || !shown)
        return;
    snprintf(path, sizeof path, "thresholds.%s.value", what->key);
    struct chart_threshold threshold = { fact_number(audit, path), what->key[0] == 'l',
                                         what->label };
    html_put(page->html, "<h3>$t</h3>", what->title);
    struct chart_axes axes = {
        what->title, what->axis,
        "Histograms over each other: synthetic images filled, images of unseen "
        "patients as an outline, the threshold as a dashed line. Synthetic images "
        "beyond the threshold are flagged."
    };
    chart_histograms(page->html, &axes, edges, edge_count - 1, sets, shown, &threshold);
}

static const struct distribution distributions[] = {
    { "correlation", "How alike is the nearest training image?",
      "correlation with the nearest training image (1: the same image)", "flagged from here on" },
    { "local_ratio", "How much nearer than a stranger's?",
      "distance to the nearest, over the distance to the next others (0: a copy)",
      "flagged up to here" },
};

/* ---- numbers --------------------------------------------------------------------------------- */

static void put_quantiles(struct html *html, const char *name, const struct json *of)
{
    static const char *const keys[] = { "mean", "p50", "p95", "p99", "max" };
    if (!json_value_is_object(of)) /* no such images */
        return;
    html_put(html, "<tr><th scope=\"row\">$t</th>", name);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        html_put(html, "<td class=\"n\">$r</td>", fact_number(of, keys[i]));
    html_put(html, "</tr>");
}

static void write_quantiles(struct page *page)
{
    struct html *html = page->html;
    const struct json *audit = page->facts->memorization;
    html_put(
        html,
        "<div class=\"scroll\"><table><caption>Correlation with the nearest training image"
        "</caption><thead><tr><th scope=\"col\">Images</th><th scope=\"col\" class=\"n\">mean</th>"
        "<th scope=\"col\" class=\"n\">median</th><th scope=\"col\" class=\"n\">95 %</th>"
        "<th scope=\"col\" class=\"n\">99 %</th><th scope=\"col\" class=\"n\">most</th></tr></thead>"
        "<tbody>");
    put_quantiles(html, "Synthetic", fact(audit, "nearest"));
    put_quantiles(html, "Of unseen patients (control)", fact(audit, "control.holdout"));
    put_quantiles(html, "… changed to be as smooth as the synthetic images",
                  fact(audit, "control.matched_holdout"));
    put_quantiles(html, "Of one training patient among the others",
                  fact(audit, "control.other_subjects"));
    html_put(html, "</tbody></table></div>");
}

static void put_threshold(struct html *html, const struct json *threshold, const char *name)
{
    if (!threshold)
        return;
    double supported = fact_number(threshold, "supported");
    html_put(html, "<tr><th scope=\"row\">Threshold of the $t</th><td class=\"n\">$r$t</td></tr>",
             name, fact_number(threshold, "value"),
             supported > 0 ? "" : " (the control is small: among its most extreme values)");
}

/* What the thresholds promise together, what they were asked to, and what the control shows. */
static void put_calibration(struct html *html, const struct json *audit)
{
    const struct json *calibration = fact(audit, "calibration"),
                      *across = fact(calibration, "across_subjects"),
                      *interval = fact(calibration, "rate_interval");
    double low = NAN, high = NAN;
    if (!calibration)
        return;
    html_put(html,
             "<tr><th scope=\"row\">Images flagged by chance alone, on average $t</th>"
             "<td class=\"n\">$p</td></tr><tr><th scope=\"row\">… as the plan asks for, over all "
             "that is looked for</th><td class=\"n\">$p</td></tr>",
             fact_number(calibration, "exact") > 0 ? "at most" : "about",
             fact_number(calibration, "guaranteed_rate"),
             fact_number(calibration, "false_positive_rate"));
    if (fact_number(across, "subjects.of") > 0) /* one alone has nobody to be held against */
        html_put(html,
                 "<tr><th scope=\"row\">… as the control's patients show, each held against the "
                 "others</th><td class=\"n\">$p: $r of $r images, of $r of $r patients</td></tr>",
                 fact_number(across, "images.fraction"), fact_number(across, "images.count"),
                 fact_number(across, "images.of"), fact_number(across, "subjects.count"),
                 fact_number(across, "subjects.of"));
    if (interval && json_length(interval) == 2 && json_as_real(json_at(interval, 0), &low) &&
        json_as_real(json_at(interval, 1), &high))
        html_put(html,
                 "<tr><th scope=\"row\">… the true rate, with 95 % confidence</th>"
                 "<td class=\"n\">$l to $u</td></tr>",
                 low, high);
    html_put(html,
             "<tr><th scope=\"row\">Flagged images that chance alone brings, on average</th>"
             "<td class=\"n\">$r</td></tr><tr><th scope=\"row\">Control images</th>"
             "<td class=\"n\">$r</td></tr><tr><th scope=\"row\">… and how many the rate that was "
             "asked for takes</th><td class=\"n\">$r</td></tr>",
             fact_number(audit, "flagged.expected_by_chance"),
             fact_number(calibration, "control_images"),
             fact_number(calibration, "control_images_needed"));
}

static const struct {
    const char *key, *name;
} thresholds[] = {
    { "correlation", "correlation" },
    { "local_ratio", "local ratio" },
    { "disguise_correlation", "correlation in disguise" },
    { "disguise_local_ratio", "local ratio in disguise" },
    { "tile_local_ratio", "local ratio of a piece" },
    { "lesion_local_ratio", "local ratio of a lesion" },
};

static void put_channel_count(struct page *page, const char *channel)
{
    struct arena *arena = &page->facts->arena;
    double count;
    if (json_as_real(json_member(fact(page->facts->memorization, "flagged"),
                                 arena_format(arena, "by_channel_%s", channel)),
                     &count))
        put_number_row(page->html, arena_format(arena, "… by %s alone", channel), count);
}

static void put_channel_threshold(struct page *page, const char *channel)
{
    struct arena *arena = &page->facts->arena;
    put_threshold(page->html,
                  json_member(fact(page->facts->memorization, "thresholds"),
                              arena_format(arena, "channel_%s", channel)),
                  arena_format(arena, "correlation of %s alone", channel));
}

/* Where channels were compared each by itself, too. */
static void put_channels(struct page *page, void (*put)(struct page *page, const char *channel))
{
    const struct json *channels = fact(page->facts->memorization, "channels");
    for (size_t i = 0; i < json_length(channels); i++)
        put(page, json_as_string(json_at(channels, i)));
}

/* A key that the audit does not have has no row; one that is null shows as a dash. */
struct finding {
    const char *name, *path;
};
static void put_findings(struct page *page, const struct finding *rows)
{
    const struct json *audit = page->facts->memorization;
    for (; rows->name; rows++)
        if (fact(audit, rows->path))
            put_number_row(page->html, rows->name, fact_number(audit, rows->path));
}

/* What was looked for and found. */
static void write_findings(struct page *page)
{
    static const struct finding ways[] = {
        { "… as a real image itself, unchanged", "flagged.by_identity" },
        { "… by likeness", "flagged.by_correlation" },
        { "… by being nearer than strangers are", "flagged.by_local_ratio" },
        { "… as copies in disguise (mirrored, turned, brighter)", "flagged.by_disguise" },
        { "… by a part of the image", "flagged.by_tile" },
        { "… by a lesion", "flagged.by_lesion" },
        { 0 },
    };
    static const struct finding others[] = {
        { "Images that only a limit in the plan kept from being flagged",
          "flagged.spared_by_limits" },
        { "Control images all but equal to a training image", "control.near_copies.count" },
        { "Chance that a synthetic image is farther from its nearest training image than an image "
          "of the control is (0.5: no difference)",
          "preparation.farther.value" },
        { "Chance that a synthetic image is smoother than an image of the control as it was given "
          "(0.5: no difference)",
          "smoothness.smoother.value" },
        { "… than an image of the control as it was changed to be as smooth",
          "control.matched_holdout.smoothness.smoother.value" },
        { "Pairs of nearly equal synthetic images", "duplicates.synthetic.pairs" },
        { "Pairs of nearly equal training images", "duplicates.train.pairs" },
        { 0 },
    };
    struct html *html = page->html;
    const struct json *audit = page->facts->memorization;
    html_put(html,
             "<div class=\"scroll\"><table class=\"facts\"><caption>What was found</caption><tbody>"
             "<tr><th scope=\"row\">Images flagged</th><td class=\"n\">$r of $r</td></tr>"
             "<tr><th scope=\"row\">Share of flagged images, with 95 % confidence</th>"
             "<td class=\"n\">$l to $u</td></tr>",
             fact_number(audit, "flagged.count"), fact_number(audit, "counts.synthetic"),
             fact_number(audit, "flagged.lower95"), fact_number(audit, "flagged.upper95"));
    put_findings(page, ways);
    put_channels(page, put_channel_count);
    put_findings(page, others);
    for (size_t i = 0; i < sizeof thresholds / sizeof *thresholds; i++)
        put_threshold(html, json_member(fact(audit, "thresholds"), thresholds[i].key),
                      thresholds[i].name);
    put_channels(page, put_channel_threshold);
    put_calibration(html, audit);
    put_row(html, "Search", fact_string(audit, "engine"));
    html_put(html, "</tbody></table></div>");
}

/* Of an estimate its interval, of a share its exact bounds; NAN where there are none. */
static void bounds_of(const struct json *companion, double *low, double *high)
{
    const struct json *interval = fact(companion, "interval");
    *low = fact_number(companion, "lower95");
    *high = fact_number(companion, "upper95");
    if (interval && json_length(interval) == 2 && json_as_real(json_at(interval, 0), low))
        (void)json_as_real(json_at(interval, 1), high);
}

static void put_range(struct html *html, double low, double high)
{
    char from[HTML_NUMBER], to[HTML_NUMBER];
    html_put(html, "<td class=\"n\">$t to $t</td></tr>", html_real_bound(from, low, HTML_AT_LEAST),
             html_real_bound(to, high, HTML_AT_MOST));
}

static void put_companion(struct html *html, const char *name, const char *meaning,
                          const struct json *companion, const char *key)
{
    double value = fact_number(companion, key), chance = fact_number(companion, "expected"), low,
           high;
    if (isnan(value))
        return;
    bounds_of(companion, &low, &high);
    html_put(html, "<tr><th scope=\"row\">$t<small>$t", name, meaning);
    if (!isnan(chance))
        html_put(html, "; by chance: $r", chance);
    if (fact_number(companion, "supported") == 0) {
        html_put(html, "</small></th><td class=\"n\">too few unseen images</td>"
                       "<td class=\"n\">–</td></tr>");
        return;
    }
    html_put(html, "</small></th><td class=\"n\">$r</td>", value);
    if (isnan(low))
        html_put(html, "<td class=\"n\">–</td></tr>");
    else
        put_range(html, low, high);
}

/* Measures from the literature, beside ours. */
static void write_companions(struct page *page)
{
    static const struct {
        const char *name, *meaning, *path, *key;
    } rows[] = {
        { "C_T (Meehan et al.)", "well below 0: copying", "companions.ct", "value" },
        { "Authenticity (Alaa et al.)", "share of images that are not nearest-neighbour copies",
          "companions.authenticity", "fraction" },
        { "DCR share", "share of images that are nearer to training than to unseen patients",
          "companions.dcr", "fraction" },
        { "Carlini's rule", "share of images that are copies by its definition",
          "companions.carlini", "fraction" },
        { "Membership inference, area under the curve", "0.5: a guess", "companions.mia.auc",
          "value" },
        { "… true-positive rate at 1 % false positives", "0.01: a guess",
          "companions.mia.tpr_at_1_percent", "value" },
    };
    struct html *html = page->html;
    html_put(html, "<h3>Measures from the literature</h3><div class=\"scroll\"><table><thead><tr>"
                   "<th scope=\"col\">Measure</th><th scope=\"col\" class=\"n\">Value</th>"
                   "<th scope=\"col\" class=\"n\">95 % interval</th></tr></thead><tbody>");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        put_companion(html, rows[i].name, rows[i].meaning,
                      fact(page->facts->memorization, rows[i].path), rows[i].key);
    html_put(html, "</tbody></table></div>");
}

/* What the audit itself warns of: counts and reasons, no names. */
static void write_warnings(struct page *page)
{
    const struct json *warnings = fact(page->facts->memorization, "warnings");
    size_t count = warnings ? json_length(warnings) : 0;
    if (!count)
        return;
    html_put(page->html, "<h3>To be kept in mind</h3><ul>");
    for (size_t i = 0; i < count; i++)
        html_put(page->html, "<li>$t</li>", json_as_string(json_at(warnings, i)));
    html_put(page->html, "</ul>");
}

/* An audit that flags nothing is good news only where copies would have been seen. */
static void write_preparation(struct page *page)
{
    const struct json *audit = page->facts->memorization;
    const char *change = fact_string(audit, "preparation.mean_images.change");
    double farther = fact_number(audit, "preparation.farther.value");
    if (change && strcmp(change, "none") != 0)
        html_put(page->html,
                 "<p><span class=\"badge open\">note</span> The synthetic images do not lie as the "
                 "training images do: their mean image is most like that of training with $t. "
                 "Copies among them may not have been seen, so that few are flagged says "
                 "little.</p>",
                 change);
    else if (farther >= 0.9)
        html_put(
            page->html,
            "<p><span class=\"badge open\">note</span> The synthetic images are much less like "
            "the training images than images of other people are (in $p of all pairs). Either "
            "they are poor, or they were prepared in another way than the training images; "
            "then copies among them may not have been seen, and that few are flagged says "
            "little.</p>",
            farther);
}

bool has_unseen_control(const struct json *audit)
{
    const char *used = fact_string(audit, "control.used");
    return used && strcmp(used, "other_subjects") != 0;
}

const char *control_people(const struct json *audit)
{
    const char *used = fact_string(audit, "control.used");
    if (used && strcmp(used, "matched_holdout") == 0)
        return "patients whom the generator never saw, changed to be as smooth as the synthetic "
               "ones";
    return !used                       ? "nobody, for there was no control"
           : has_unseen_control(audit) ? "patients whom the generator never saw"
                                       : "training patients, each held against the others";
}

double unseen_patients(const struct json *audit)
{
    double subjects = fact_number(audit, "control.holdout.subjects");
    return audit && isnan(subjects) ? 0 : subjects;
}

/* What was compared with what, and what came of it. */
static void write_in_plain_words(struct page *page)
{
    struct html *html = page->html;
    const struct json *audit = page->facts->memorization;
    bool control = fact_string(audit, "control.used");
    double flagged = fact_number(audit, "flagged.count");
    put_plain(html, "A generator can learn a patient by heart and show that patient again. So each "
                    "synthetic image was compared with every training image");
    if (control)
        html_put(html,
                 ", and the same was done with images of $t (in number: $r): they show how alike "
                 "two strangers are. An image that is more alike than strangers are is flagged.",
                 control_people(audit),
                 fact_number(audit, has_unseen_control(audit) ? "control.holdout.subjects"
                                                              : "control.other_subjects.subjects"));
    else
        html_put(html, ". There were no images of other people to show how alike two strangers "
                       "are, so an image is flagged only by a limit that the plan sets, or as a "
                       "real image itself, unchanged.");
    html_put(html,
             " Of $r images $r $t flagged; with 95 % confidence, of images made in this way at "
             "most $u would be.</p>",
             fact_number(audit, "counts.synthetic"), flagged, flagged == 1 ? "was" : "were",
             fact_number(audit, "flagged.upper95"));
}

void write_memorization(struct page *page)
{
    const struct json *audit = page->facts->memorization;
    if (!audit) {
        html_put(page->html, "<p>The set was not audited for memorisation.</p>");
        return;
    }
    write_in_plain_words(page);
    write_preparation(page);
    for (size_t i = 0; i < sizeof distributions / sizeof *distributions; i++)
        write_distribution(page, &distributions[i]);
    write_findings(page);
    write_quantiles(page);
    write_companions(page);
    write_warnings(page);
}

/* ---- internal: exposure ---------------------------------------------------------------------- */

void write_exposure(struct page *page)
{
    struct html *html = page->html;
    const struct json *exposure = fact(page->facts->memorization, "exposure");
    size_t count = exposure ? json_length(exposure) : 0;
    put_plain(html,
              "How many synthetic images are nearest to each training patient, and how many are "
              "flagged as like one of the patient's images: it may have been shown again. Of "
              "patients who were held out from training only those are listed of whom an image was "
              "found among the synthetic ones, pixel by pixel.</p>");
    if (!count) {
        html_put(html, "<p>No patient is listed.</p>");
        return;
    }
    html_put(
        html,
        "<div class=\"scroll\"><table><thead><tr><th scope=\"col\">Patient</th>"
        "<th scope=\"col\" class=\"n\">Flagged images</th><th scope=\"col\" class=\"n\">Nearest "
        "images</th></tr></thead><tbody>");
    for (size_t i = 0; i < count; i++) {
        const struct json *subject = json_at(exposure, i);
        html_put(
            html,
            "<tr><th scope=\"row\">$t$t</th><td class=\"n\">$r</td><td class=\"n\">$r</td></tr>",
            fact_string(subject, "subject"),
            fact_number(subject, "held_out") == 1 ? " (held out)" : "",
            fact_number(subject, "flagged"), fact_number(subject, "nearest"));
    }
    html_put(html, "</tbody></table></div>");
}
