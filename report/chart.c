/* Charts as inline SVG; see chart.h.
 *
 * A chart is 560 units wide, a small one 330, scaled to the page's width. Marks take their colours
 * from the style by class, so that they follow light, dark and print; sets differ by fill and
 * outline too, never by colour alone.
 */
#include "report/chart.h"

#include "base/arena.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { WIDTH = 560, SMALL = 330, LEFT = 50, RIGHT = 12, TOP = 30, BOTTOM = 46, MOST_POINTS = 240 };

struct frame {
    struct html *html;
    double x0, x1, y0, y1; /* values at the edges */
    double width, height;
};

static double across(const struct frame *frame, double x)
{
    double share = frame->x1 > frame->x0 ? (x - frame->x0) / (frame->x1 - frame->x0) : 0;
    return LEFT + share * (frame->width - LEFT - RIGHT);
}

static double up(const struct frame *frame, double y)
{
    double share = frame->y1 > frame->y0 ? (y - frame->y0) / (frame->y1 - frame->y0) : 0;
    return frame->height - BOTTOM - share * (frame->height - TOP - BOTTOM);
}

/* 1, 2 or 5 times a power of ten: about `wanted` steps over the range. */
static double nice_step(double range, int wanted)
{
    double rough = range / wanted, power = pow(10, floor(log10(rough)));
    double mantissa = rough / power;
    return power * (mantissa < 1.5 ? 1 : mantissa < 3.5 ? 2 : mantissa < 7.5 ? 5 : 10);
}

static void begin(struct frame *frame, const struct chart_axes *axes)
{
    struct html *html = frame->html;
    int64_t id = ++html->ids;
    html_put(html,
             "<figure class=\"chart\"><svg viewBox=\"0 0 $f $f\" role=\"img\" "
             "aria-labelledby=\"chart$n chart$nd\"><title id=\"chart$n\">$t</title>"
             "<desc id=\"chart$nd\">$t</desc>",
             frame->width, frame->height, id, id, id, axes->title, id,
             axes->description ? axes->description : axes->title);
}

static const char *tick_text(char buffer[HTML_NUMBER], double value, double step)
{
    int decimals = step >= 1 ? 0 : (int)ceil(-log10(step) - 1e-9);
    if (fabs(value) >= 1e4)
        snprintf(buffer, HTML_NUMBER, "%.3gk", value / 1000);
    else
        snprintf(buffer, HTML_NUMBER, "%.*f", decimals, fabs(value) < step / 2 ? 0 : value);
    return buffer;
}

static void draw_x_axis(const struct frame *frame, const char *name)
{
    struct html *html = frame->html;
    double step = nice_step(frame->x1 - frame->x0, frame->width > SMALL ? 7 : 4),
           bottom = frame->height - BOTTOM;
    char buffer[HTML_NUMBER];
    for (double x = ceil(frame->x0 / step - 1e-9) * step; x <= frame->x1 + step * 1e-6; x += step)
        html_put(html,
                 "<line class=\"grid\" x1=\"$f\" x2=\"$f\" y1=\"$f\" y2=\"$f\"/>"
                 "<text class=\"tick\" x=\"$f\" y=\"$f\" text-anchor=\"middle\">$t</text>",
                 across(frame, x), across(frame, x), (double)TOP, bottom, across(frame, x),
                 bottom + 18, tick_text(buffer, x, step));
    html_put(html,
             "<line class=\"axis\" x1=\"$n\" x2=\"$f\" y1=\"$f\" y2=\"$f\"/>"
             "<text class=\"label\" x=\"$f\" y=\"$f\" text-anchor=\"middle\">$t</text>",
             (int64_t)LEFT, frame->width - RIGHT, bottom, bottom, (LEFT + frame->width - RIGHT) / 2,
             frame->height - 8, name);
}

static void draw_y_axis(const struct frame *frame, bool percent)
{
    double step = nice_step(frame->y1 - frame->y0, 4);
    char buffer[HTML_NUMBER];
    for (double y = ceil(frame->y0 / step - 1e-9) * step; y <= frame->y1 + step * 1e-6; y += step)
        html_put(frame->html,
                 "<line class=\"grid\" x1=\"$n\" x2=\"$f\" y1=\"$f\" y2=\"$f\"/>"
                 "<text class=\"tick\" x=\"$n\" y=\"$f\" text-anchor=\"end\">$t$t</text>",
                 (int64_t)LEFT, frame->width - RIGHT, up(frame, y), up(frame, y),
                 (int64_t)(LEFT - 6), up(frame, y) + 4, tick_text(buffer, y, step),
                 percent ? " %" : "");
}

/* ---- histograms ------------------------------------------------------------------------------ */

static double total_of(const double *counts, size_t bins)
{
    double total = 0;
    for (size_t i = 0; i < bins; i++)
        total += counts[i];
    return total > 0 ? total : 1;
}

static double highest_share(const struct chart_histogram *sets, size_t count, size_t bins)
{
    double highest = 0;
    for (size_t s = 0; s < count; s++)
        for (size_t i = 0; i < bins; i++)
            highest = fmax(highest, 100 * sets[s].counts[i] / total_of(sets[s].counts, bins));
    return highest > 0 ? highest : 1;
}

/* The part of the axis where anything is, a bin wider, the threshold included. */
static void crop(struct frame *frame, const double *edges, size_t bins,
                 const struct chart_histogram *sets, size_t count, double threshold)
{
    size_t first = bins, last = 0;
    for (size_t s = 0; s < count; s++)
        for (size_t i = 0; i < bins; i++)
            if (sets[s].counts[i] > 0) {
                first = i < first ? i : first;
                last = i > last ? i : last;
            }
    first = first == bins ? 0 : first;
    frame->x0 = edges[first > 0 ? first - 1 : 0];
    frame->x1 = edges[last + 2 <= bins ? last + 2 : bins];
    if (!isnan(threshold)) {
        double margin = 0.04 * (frame->x1 - frame->x0);
        frame->x0 = fmin(frame->x0, fmax(threshold - margin, edges[0]));
        frame->x1 = fmax(frame->x1, fmin(threshold + margin, edges[bins]));
    }
}

/* The outline of the steps, from the ground up and back to it. */
static void draw_steps(const struct frame *frame, const double *edges, size_t bins,
                       const struct chart_histogram *set)
{
    double total = total_of(set->counts, bins);
    html_put(frame->html, "<path class=\"set $t\" d=\"M$f,$f", set->tone, across(frame, frame->x0),
             up(frame, 0));
    for (size_t i = 0; i < bins; i++)
        if (edges[i + 1] > frame->x0 && edges[i] < frame->x1)
            html_put(frame->html, "L$f,$fL$f,$f", across(frame, fmax(edges[i], frame->x0)),
                     up(frame, 100 * set->counts[i] / total),
                     across(frame, fmin(edges[i + 1], frame->x1)),
                     up(frame, 100 * set->counts[i] / total));
    html_put(frame->html, "L$f,$f\"/>", across(frame, frame->x1), up(frame, 0));
}

static void draw_threshold(const struct frame *frame, const struct chart_threshold *threshold)
{
    double x = across(frame, threshold->value);
    double edge = threshold->small ? LEFT : frame->width - RIGHT;
    bool left = threshold->small ? x - LEFT > 150 : x > frame->width / 2;
    html_put(frame->html,
             "<rect class=\"beyond\" x=\"$f\" y=\"$n\" width=\"$f\" height=\"$f\"/>"
             "<line class=\"threshold\" x1=\"$f\" x2=\"$f\" y1=\"$n\" y2=\"$f\"/>"
             "<text class=\"threshold\" x=\"$f\" y=\"$n\" text-anchor=\"$t\">$t</text>",
             fmin(x, edge), (int64_t)TOP, fabs(edge - x), frame->height - TOP - BOTTOM, x, x,
             (int64_t)(TOP - 6), frame->height - BOTTOM, left ? x - 6 : x + 6, (int64_t)(TOP - 12),
             left ? "end" : "start", threshold->label);
}

static void legend(struct html *html, const struct chart_histogram *sets, size_t count, size_t bins)
{
    html_put(html, "<figcaption class=\"legend\">");
    for (size_t s = 0; s < count; s++)
        html_put(html, "<span><i class=\"key $t\"></i>$t <small>($i)</small></span> ", sets[s].tone,
                 sets[s].name, (int64_t)total_of(sets[s].counts, bins));
    html_put(html, "</figcaption>");
}

static void table_of_bins(struct html *html, const struct chart_axes *axes, const double *edges,
                          size_t bins, const struct chart_histogram *sets, size_t count)
{
    html_put(html,
             "<details class=\"numbers\"><summary>The numbers of this chart</summary><table>"
             "<thead><tr><th scope=\"col\">$t</th>",
             axes->x);
    for (size_t s = 0; s < count; s++)
        html_put(html, "<th scope=\"col\" class=\"n\">$t</th>", sets[s].name);
    html_put(html, "</tr></thead><tbody>");
    for (size_t i = 0; i < bins; i++) {
        double any = 0;
        for (size_t s = 0; s < count; s++)
            any += sets[s].counts[i];
        if (!(any > 0))
            continue;
        html_put(html, "<tr><td>$r to $r</td>", edges[i], edges[i + 1]);
        for (size_t s = 0; s < count; s++)
            html_put(html, "<td class=\"n\">$i</td>", (int64_t)sets[s].counts[i]);
        html_put(html, "</tr>");
    }
    html_put(html, "</tbody></table></details>");
}

void chart_histograms(struct html *html, const struct chart_axes *axes, const double *edges,
                      size_t bins, const struct chart_histogram *sets, size_t count,
                      const struct chart_threshold *threshold)
{
    struct frame frame = {
        .html = html, .y1 = highest_share(sets, count, bins), .width = WIDTH, .height = 280
    };
    crop(&frame, edges, bins, sets, count, threshold->value);
    begin(&frame, axes);
    draw_y_axis(&frame, true);
    draw_x_axis(&frame, axes->x);
    for (size_t s = 0; s < count; s++)
        draw_steps(&frame, edges, bins, &sets[s]);
    if (!isnan(threshold->value))
        draw_threshold(&frame, threshold);
    html_put(html, "</svg>");
    legend(html, sets, count, bins);
    table_of_bins(html, axes, edges, bins, sets, count);
    html_put(html, "</figure>");
}

/* ---- curves ---------------------------------------------------------------------------------- */

static void range_of(const double *values, size_t count, double *low, double *high)
{
    *low = INFINITY;
    *high = -INFINITY;
    for (size_t i = 0; i < count; i++)
        if (isfinite(values[i])) {
            *low = fmin(*low, values[i]);
            *high = fmax(*high, values[i]);
        }
    if (!(*high > *low)) {
        *low = isfinite(*low) ? *low - 0.5 : 0;
        *high = *low + 1;
    }
}

/* Many points become MOST_POINTS means of neighbours. */
static void draw_line(const struct frame *frame, const double *x, const double *y, size_t count)
{
    size_t shown = count < MOST_POINTS ? count : MOST_POINTS;
    html_put(frame->html, "<path class=\"curve\" d=\"");
    for (size_t i = 0; i < shown; i++) {
        size_t from = i * count / shown, to = (i + 1) * count / shown;
        double sum_x = 0, sum_y = 0;
        for (size_t k = from; k < to; k++) {
            sum_x += x[k];
            sum_y += y[k];
        }
        double n = (double)(to - from);
        html_put(frame->html, "$t$f,$f", i ? "L" : "M", across(frame, sum_x / n),
                 up(frame, sum_y / n));
    }
    html_put(frame->html, "\"/>");
}

void chart_curve(struct html *html, const struct chart_axes *axes, const double *x, const double *y,
                 size_t count)
{
    struct frame frame = { .html = html, .width = SMALL, .height = 200 };
    if (!count)
        return;
    range_of(x, count, &frame.x0, &frame.x1);
    range_of(y, count, &frame.y0, &frame.y1);
    begin(&frame, axes);
    draw_y_axis(&frame, false);
    draw_x_axis(&frame, axes->x);
    draw_line(&frame, x, y, count);
    html_put(html, "</svg><figcaption>$t</figcaption></figure>", axes->title);
}

/* ---- bars ------------------------------------------------------------------------------------ */

enum { BAR_LEFT = 190, BAR_ROW = 34 };

static double bar_x(double value, double most)
{
    return BAR_LEFT + value / most * (WIDTH - BAR_LEFT - 70);
}

static void draw_bar(struct html *html, const struct chart_bar *bar, double y, double most)
{
    char buffer[HTML_NUMBER];
    html_put(html,
             "<text class=\"label\" x=\"$n\" y=\"$f\" text-anchor=\"end\">$t</text>"
             "<rect class=\"bar $t\" x=\"$n\" y=\"$f\" width=\"$f\" height=\"18\" rx=\"2\"/>",
             (int64_t)(BAR_LEFT - 10), y + 14, bar->name, bar->tone, (int64_t)BAR_LEFT, y,
             isnan(bar->value) ? 0 : bar_x(bar->value, most) - BAR_LEFT);
    double end = isnan(bar->value) ? BAR_LEFT : bar_x(bar->value, most);
    if (!isnan(bar->low) && !isnan(bar->high)) {
        html_put(html, "<path class=\"whisker\" d=\"M$f,$fL$f,$fM$f,$fL$f,$fM$f,$fL$f,$f\"/>",
                 bar_x(bar->low, most), y + 9, bar_x(bar->high, most), y + 9, bar_x(bar->low, most),
                 y + 4, bar_x(bar->low, most), y + 14, bar_x(bar->high, most), y + 4,
                 bar_x(bar->high, most), y + 14);
        end = bar_x(bar->high, most);
    }
    html_put(html, "<text class=\"value\" x=\"$f\" y=\"$f\">$t</text>", end + 8, y + 14,
             html_real(buffer, bar->value));
}

void chart_bars(struct html *html, const struct chart_axes *axes, const struct chart_bar *bars,
                size_t count, double reference)
{
    struct frame frame = { .html = html, .width = WIDTH, .height = (double)(count * BAR_ROW + 40) };
    double most = isnan(reference) ? 0 : reference;
    for (size_t i = 0; i < count; i++)
        most = fmax(most, fmax(bars[i].value, isnan(bars[i].high) ? 0 : bars[i].high));
    if (!count || !(most > 0))
        return;
    begin(&frame, axes);
    if (!isnan(reference))
        html_put(html, "<line class=\"reference\" x1=\"$f\" x2=\"$f\" y1=\"6\" y2=\"$f\"/>",
                 bar_x(reference, most), bar_x(reference, most), frame.height - 26);
    for (size_t i = 0; i < count; i++)
        draw_bar(html, &bars[i], 10 + (double)(i * BAR_ROW), most);
    html_put(html,
             "<text class=\"label\" x=\"$n\" y=\"$f\">$t</text></svg>"
             "<figcaption>$t</figcaption></figure>",
             (int64_t)BAR_LEFT, frame.height - 8, axes->x, axes->title);
}
