/* The report's section about utility; see sections.h. */
#include "report/chart.h"
#include "report/sections.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { BARS = 24 };

static void interval_of(const struct json *of, double *low, double *high)
{
    const struct json *interval = fact(of, "interval");
    *low = *high = NAN;
    if (!interval || json_length(interval) != 2)
        return;
    json_as_real(json_at(interval, 0), low);
    json_as_real(json_at(interval, 1), high);
}

static const char *source_words(const char *source)
{
    return !source                            ? "?"
           : strcmp(source, "real") == 0      ? "real images"
           : strcmp(source, "synthetic") == 0 ? "synthetic images"
                                              : source;
}

/* ---- relative Dice --------------------------------------------------------------------------- */

double mean_for_readers(const struct page *page, const struct json *of)
{
    bool of_several = !isnan(fact_number(of, "lower95")) || !isnan(fact_number(of, "upper95"));
    return page->internal || of_several ? fact_number(of, "mean") : NAN;
}

static void write_relative(struct page *page)
{
    const struct json *list = fact(page->facts->utility, "relative_dice");
    struct chart_bar bars[BARS];
    size_t count = 0;
    for (size_t i = 0; list && i < json_length(list) && count < BARS; i++) {
        const struct json *row = json_at(list, i);
        if (isnan(mean_for_readers(page, row)))
            continue;
        struct chart_bar *bar = &bars[count++];
        *bar = (struct chart_bar){ .name = arena_format(
                                       &page->facts->arena, "%s, %s",
                                       source_words(fact_string(row, "source")),
                                       fact_string(row, "model") ? fact_string(row, "model") : ""),
                                   .value = fact_number(row, "mean"),
                                   .tone = "synthetic" };
        interval_of(row, &bar->low, &bar->high);
    }
    if (!count)
        return;
    html_put(page->html, "<h3>Compared with training on real images</h3>");
    chart_bars(
        page->html,
        &(struct chart_axes){ "Relative Dice: agreement with the truth after training on these "
                              "images, over that after training on real ones (dashed: as good as "
                              "real). Whiskers: 95 % intervals, by patient.",
                              "relative Dice", NULL },
        bars, count, 1);
}

/* ---- the table of the study's shape ---------------------------------------------------------- */

/* "0.812 ± 0.050"; of one seed "0.812"; NULL where nothing defines it. */
static const char *mean_words(struct arena *arena, const struct json *of, int decimals)
{
    double mean = fact_number(of, "mean"), sd = fact_number(of, "sd");
    return isnan(mean) ? NULL
           : isnan(sd) ? arena_format(arena, "%.*f", decimals, mean)
                       : arena_format(arena, "%.*f ± %.*f", decimals, mean, decimals, sd);
}

/* mean ± deviation over seeds, below it the interval by patient and the distance, where there are.
 * What has no interval is of one patient alone, if of any, and not for everybody. */
static void put_cell(struct page *page, const struct json *of, const struct json *interval,
                     const struct json *distance)
{
    double low, high;
    struct arena *arena = &page->facts->arena;
    interval_of(interval, &low, &high);
    if (!page->internal && interval && isnan(low) && mean_words(arena, of, 3)) {
        html_put(page->html, "<td class=\"n\">–<small>fewer than two patients</small></td>");
        return;
    }
    html_put(page->html, "<td class=\"n\">$t", mean_words(arena, of, 3));
    if (!isnan(low))
        html_put(page->html, "<small>$t</small>", arena_format(arena, "%.3f to %.3f", low, high));
    bool of_several = fact_number(distance, "subjects_least") != 1;
    if (mean_words(arena, distance, 1) && (page->internal || of_several))
        html_put(page->html, "<small>HD95 $t</small>", mean_words(arena, distance, 1));
    html_put(page->html, "</td>");
}

static void put_summary_row(struct page *page, const struct json *row)
{
    struct html *html = page->html;
    const struct json *classes = fact(row, "classes");
    html_put(html, "<tr><th scope=\"row\">$t<small>$t, augmentation $t</small></th>",
             source_words(fact_string(row, "source")), fact_string(row, "model"),
             fact_string(row, "augmentation"));
    put_cell(page, fact(row, "dice"), fact(row, "dice"), NULL);
    for (size_t c = 0; classes && c < json_length(classes); c++) {
        const struct json *class = json_at(classes, c);
        put_cell(page, fact(class, "dice"), fact(class, "dice_interval"),
                 fact(class, "hausdorff_95"));
    }
    html_put(html, "</tr>");
}

static void write_summary(struct page *page)
{
    struct html *html = page->html;
    const struct json *summary = fact(page->facts->utility, "summary");
    size_t count = summary ? json_length(summary) : 0;
    const struct json *classes = count ? fact(json_at(summary, 0), "classes") : NULL;
    if (!classes)
        return;
    html_put(
        html,
        "<div class=\"scroll\"><table><caption>On patients kept apart: Dice (1: perfect), mean "
        "± standard deviation over seeds, below it the 95 % interval by patient; and the "
        "Hausdorff distance (HD95, mm; less is better)</caption><thead><tr>"
        "<th scope=\"col\">Trained on</th><th scope=\"col\" class=\"n\">Dice, mean</th>");
    for (size_t c = 0; c < json_length(classes); c++)
        html_put(html, "<th scope=\"col\" class=\"n\">class $t</th>",
                 fact_string(json_at(classes, c), "name"));
    html_put(html, "</tr></thead><tbody>");
    for (size_t i = 0; i < count; i++)
        put_summary_row(page, json_at(summary, i));
    html_put(html, "</tbody></table></div>");
}

/* What the intervals rest on; with few patients they are narrower than they claim: see
 * docs/utility.md. */
static void write_tested(struct page *page)
{
    double subjects = fact_number(page->facts->utility, "counts.holdout_subjects");
    const struct json *never = fact(page->facts->utility, "never_in_holdout");
    if (!isnan(subjects))
        html_put(page->html, "<p>Patients that it was tested on: $r.$t</p>", subjects,
                 subjects == 1 ? " How far the numbers would be from one patient to the next, one "
                                 "alone cannot show."
                 : subjects < 20 ? " With so few, the 95 % intervals are too narrow."
                                 : "");
    for (size_t i = 0; never && i < json_length(never); i++)
        html_put(page->html,
                 "<p><span class=\"badge open\">note</span> None of these patients has $t: its "
                 "numbers say nothing, and it is in no mean over classes.</p>",
                 json_as_string(json_at(never, i)));
}

/* Below this Dice of training on real images, being as good as they are is no merit. */
#define WEAK 0.2

static void write_weak(struct page *page)
{
    const struct json *summary = fact(page->facts->utility, "summary");
    for (size_t i = 0; i < json_length(summary); i++) {
        const struct json *row = json_at(summary, i);
        const char *source = fact_string(row, "source");
        if (!source || strcmp(source, "real") != 0 || !(fact_number(row, "dice.mean") < WEAK))
            continue;
        html_put(page->html,
                 "<p><span class=\"badge open\">note</span> Even trained on real images ($t, "
                 "augmentation $t) the program finds little",
                 fact_string(row, "model"), fact_string(row, "augmentation"));
        double dice = mean_for_readers(page, fact(row, "dice"));
        if (!isnan(dice))
            html_put(page->html, " (Dice $r)", dice);
        html_put(page->html,
                 ", so it says little that synthetic ones are as good: train it longer, "
                 "or on more.</p>");
    }
}

/* ---- panels: real patients' images, so for the reviewer alone -------------------------------- */

enum { PANELS = 6 };

static void put_panel(struct page *page, const char *path, const char *name)
{
    size_t size;
    char *bytes = file_read(path, (size_t)1 << 26, &size, NULL);
    if (!bytes)
        return;
    html_put(page->html,
             "<figure class=\"sheet\"><img alt=\"image, truth and prediction: $t\" src=", name);
    html_png(page->html, bytes, size);
    html_put(page->html, "><figcaption>$t</figcaption></figure>", name);
    memory_free(bytes);
}

static void write_panels(struct page *page)
{
    struct arena *arena = &page->facts->arena;
    const char *folder = path_join(arena, page->facts->job->utility, "panels");
    char **files;
    size_t count;
    if (!page->internal || path_kind(folder) != PATH_FOLDER ||
        !folder_walk(folder, arena, &files, &count, NULL) || !count)
        return;
    html_put(page->html, "<h3>Image, truth and prediction</h3>");
    for (size_t i = 0; i < count && i < PANELS; i++)
        if (text_ends_with(files[i], ".png"))
            put_panel(page, path_join(arena, folder, files[i]), files[i]);
}

void write_utility(struct page *page)
{
    if (!page->facts->utility) {
        html_put(page->html, "<p>Utility was not measured in this run.</p>");
        return;
    }
    put_plain(
        page->html,
        "Are the images good for anything? A program that finds tumours was trained on them, and "
        "then tested on real patients whom neither it nor the generator had seen. The closer it "
        "comes to the same program trained on real images, the more the images are worth.</p>");
    write_relative(page);
    write_summary(page);
    write_tested(page);
    write_weak(page);
    write_panels(page);
}
