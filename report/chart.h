/* Charts as inline SVG: they scale, print, follow the colours of the page, and are read aloud by
 * title and description. Each is followed by its numbers in a table that can be unfolded.
 *
 *     struct chart_histogram sets[] = {
 *         { "synthetic images", "synthetic", counts, bins, true },
 *         { "unseen patients", "control", control, bins, false } };
 *     chart_histograms(html, &(struct chart_axes){ "Correlation …", "correlation" }, edges, bins,
 *                      sets, 2, threshold);
 */
#ifndef REPORT_CHART_H
#define REPORT_CHART_H

#include "report/html.h"

struct chart_axes {
    const char *title, *x; /* of the chart; of its horizontal axis */
    const char *description;
};

/* Histograms over the same edges (bins + 1 of them), each drawn as shares of its own total. */
struct chart_histogram {
    const char *name;
    const char *tone;     /* "synthetic", "control", "other": a class of the style */
    const double *counts; /* bins */
};
/* threshold NaN: none; its side is to the right, or to the left when `small`. */
struct chart_threshold {
    double value;
    bool small;
    const char *label;
};
void chart_histograms(struct html *html, const struct chart_axes *axes, const double *edges,
                      size_t bins, const struct chart_histogram *sets, size_t count,
                      const struct chart_threshold *threshold);

/* A line through points, for curves of training; many points are thinned out. */
void chart_curve(struct html *html, const struct chart_axes *axes, const double *x, const double *y,
                 size_t count);

/* A row each: a value with its interval on a common scale from 0; NaN ends are left out. */
struct chart_bar {
    const char *name;
    double value, low, high;
    const char *tone;
};
void chart_bars(struct html *html, const struct chart_axes *axes, const struct chart_bar *bars,
                size_t count, double reference);

#endif
