/* lethe curves: how a training goes, drawn in the terminal; see curves.h.
 *
 * A plot is a grid of dots. The points of a series that fall into one column of dots are averaged,
 * and columns are joined by vertical lines, so that 100,000 points are as readable as ten.
 */
#include "curves.h"

#include "command.h"

#include "base/file.h"
#include "base/json.h"
#include "base/text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { LABEL = 10, ROWS = 8, NARROWEST = 30, WIDEST = 200, USUAL_WIDTH = 80 };
static const double LOGARITHMIC_FROM = 50;

/* ---- drawing --------------------------------------------------------------------------------- */

struct curves_options {
    size_t columns, rows; /* of characters: of a whole line, and of the plot itself */
    bool ascii;
};

struct plot {
    size_t width, height; /* in dots */
    size_t across, down;  /* dots a character */
    bool logarithmic;
    double low, high;   /* of the axis, its logarithm where that is drawn */
    unsigned char *dot; /* height × width */
};

static double scaled(const struct plot *plot, double value)
{
    return plot->logarithmic ? log10(value) : value;
}

static void find_limits(struct plot *plot, const struct metrics_series *series)
{
    double low = INFINITY, high = -INFINITY;
    for (size_t i = 0; i < series->count; i++) {
        low = fmin(low, series->value[i]);
        high = fmax(high, series->value[i]);
    }
    plot->logarithmic = low > 0 && high / low >= LOGARITHMIC_FROM;
    plot->low = scaled(plot, low);
    plot->high = scaled(plot, high);
}

static size_t row_of(const struct plot *plot, double value)
{
    double span = plot->high - plot->low;
    double share = span > 0 ? (plot->high - value) / span : 0.5;
    return (size_t)lround(share * (double)(plot->height - 1));
}

/* The mean of the points in each column; NaN where there are none. */
static double *columns_of(const struct plot *plot, const struct metrics_series *series)
{
    double *sum = memory_grow(NULL, 2 * plot->width, sizeof *sum), *count = sum + plot->width;
    for (size_t x = 0; x < 2 * plot->width; x++)
        sum[x] = 0;
    double first = series->images[0], span = series->images[series->count - 1] - first;
    for (size_t i = 0; i < series->count; i++) {
        double share = span > 0 ? fmin(fmax((series->images[i] - first) / span, 0), 1) : 0;
        size_t x = (size_t)lround(share * (double)(plot->width - 1));
        sum[x] += scaled(plot, series->value[i]);
        count[x]++;
    }
    for (size_t x = 0; x < plot->width; x++)
        sum[x] = count[x] > 0 ? sum[x] / count[x] : NAN;
    return sum;
}

/* Columns without a point get the straight line between their neighbours. */
static void draw_line(struct plot *plot, const double *value)
{
    size_t before = 0;
    for (size_t x = 0; x < plot->width; x++) {
        if (isnan(value[x]))
            continue;
        size_t from = row_of(plot, value[before]);
        for (size_t at = x > before ? before + 1 : x; at <= x; at++) {
            double share = x > before ? (double)(at - before) / (double)(x - before) : 1;
            double here = value[before] + share * (value[x] - value[before]);
            size_t to = row_of(plot, here), low = from < to ? from : to,
                   high = from < to ? to : from;
            for (size_t y = low; y <= high; y++)
                plot->dot[y * plot->width + at] = 1;
            from = to;
        }
        before = x;
    }
}

/* A character of dots: U+2800 and a bit for each, or what an ASCII terminal has. */
static void add_cell(const struct plot *plot, size_t column, size_t row, struct text *out)
{
    static const unsigned char bits[4][2] = { { 1, 8 }, { 2, 16 }, { 4, 32 }, { 64, 128 } };
    unsigned pattern = 0;
    for (size_t y = 0; y < plot->down; y++)
        for (size_t x = 0; x < plot->across; x++)
            if (plot->dot[(row * plot->down + y) * plot->width + column * plot->across + x])
                pattern |= bits[y][x];
    if (plot->across == 1) {
        static const char *const marks[] = { " ", "'", ".", "|" };
        text_add(out, marks[pattern & 3]);
        return;
    }
    char utf8[4] = { (char)0xE2, (char)(0xA0 | pattern >> 6), (char)(0x80 | (pattern & 63)), 0 };
    text_add(out, utf8);
}

static void add_label(const struct plot *plot, double value, struct text *out)
{
    char number[32];
    snprintf(number, sizeof number, "%.4g", plot->logarithmic ? pow(10, value) : value);
    text_format(out, "%*s ", LABEL - 1, number);
}

static void add_rows(const struct plot *plot, const struct curves_options *options,
                     struct text *out)
{
    for (size_t row = 0; row < options->rows; row++) {
        if (row == 0)
            add_label(plot, plot->high, out);
        else if (row + 1 == options->rows)
            add_label(plot, plot->low, out);
        else
            text_format(out, "%*s", LABEL, "");
        text_add(out, options->ascii ? "|" : "│");
        for (size_t column = 0; column < plot->width / plot->across; column++)
            add_cell(plot, column, row, out);
        text_add(out, "\n");
    }
}

static void add_title(const struct metrics_series *series, const struct plot *plot,
                      struct text *out)
{
    size_t least = 0;
    for (size_t i = 1; i < series->count; i++)
        if (series->value[i] < series->value[least])
            least = i;
    text_format(out, "%s: %.4g, least %.4g at %.0f images%s\n", series->name,
                series->value[series->count - 1], series->value[least], series->images[least],
                plot->logarithmic ? ", logarithmic" : "");
}

/* One series: a line with its name, last and least value, then the plot with its limits. Where
 * all values are positive and span a factor of 50, the axis is logarithmic, and says so. */
static void draw_series(const struct metrics_series *series, const struct curves_options *options,
                        struct text *out)
{
    size_t wide = options->columns > NARROWEST ? options->columns : NARROWEST;
    struct plot plot = { .across = options->ascii ? 1 : 2, .down = options->ascii ? 2 : 4 };
    CHECK(series->count > 0 && options->rows > 1, "a plot of nothing");
    plot.width = (wide - LABEL - 1) * plot.across;
    plot.height = options->rows * plot.down;
    plot.dot = memory_grow(NULL, plot.width * plot.height, 1);
    memset(plot.dot, 0, plot.width * plot.height);
    find_limits(&plot, series);
    double *value = columns_of(&plot, series);
    draw_line(&plot, value);
    add_title(series, &plot, out);
    add_rows(&plot, options, out);
    char last[32];
    snprintf(last, sizeof last, "%.0f images", series->images[series->count - 1]);
    text_format(out, "%*s%.0f%*s\n", LABEL + 1, "", series->images[0],
                (int)(wide - LABEL - 1) - snprintf(NULL, 0, "%.0f", series->images[0]), last);
    free(value);
    free(plot.dot);
}

/* ---- for people ------------------------------------------------------------------------------ */

static bool has_utf8(void)
{
    static const char *const variables[] = { "LC_ALL", "LC_CTYPE", "LANG" };
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) {
        const char *value = getenv(variables[i]);
        if (value && *value) /* the first that is set decides */
            return strstr(value, "UTF-8") || strstr(value, "utf8") || strstr(value, "UTF8");
    }
    return false;
}

static size_t terminal_width(FILE *out)
{
    struct winsize size;
    if (!isatty(fileno(out)) || ioctl(fileno(out), TIOCGWINSZ, &size) != 0 || !size.ws_col)
        return USUAL_WIDTH;
    return size.ws_col < WIDEST ? size.ws_col : WIDEST;
}

static bool is_curve(const struct metrics_series *series)
{
    return series->loss || strcmp(series->name, "validation") == 0;
}

void curves_print(const struct metrics *metrics, FILE *out)
{
    struct curves_options options = { terminal_width(out), ROWS, !has_utf8() };
    struct text text = { 0 };
    for (size_t i = 0; i < metrics->series_count; i++)
        if (is_curve(&metrics->series[i])) {
            text_add(&text, text.length ? "\n" : "");
            draw_series(&metrics->series[i], &options, &text);
        }
    fputs(text.length ? text.bytes : "nothing was logged yet\n", out);
    text_release(&text);
}

/* ---- the command ----------------------------------------------------------------------------- */

static struct json *document_of(const struct metrics *metrics)
{
    struct json *document = json_new_object(), *all = json_new_array();
    json_put_integer(document, "step", (int64_t)metrics->step);
    json_put_integer(document, "images", (int64_t)metrics->images);
    for (size_t i = 0; i < metrics->series_count; i++) {
        const struct metrics_series *series = &metrics->series[i];
        struct json *one = json_new_object(), *images = json_new_array(), *value = json_new_array();
        for (size_t k = 0; k < series->count; k++) {
            json_push_integer(images, (int64_t)series->images[k]);
            json_push_real(value, series->value[k]);
        }
        json_put_string(one, "name", series->name);
        json_put_bool(one, "loss", series->loss);
        json_put(one, "images", images);
        json_put(one, "value", value);
        json_push(all, one);
    }
    json_put(document, "series", all);
    return document;
}

static enum exit_code run(struct invocation *invocation)
{
    struct metrics metrics;
    const char *path = invocation->operands[0];
    if (path_kind(path) == PATH_FOLDER)
        path = path_join(&invocation->arena, path, "metrics.jsonl");
    if (!metrics_read(path, &metrics, &invocation->err))
        return command_failed(invocation);
    if (invocation->json)
        command_print(document_of(&metrics));
    else
        curves_print(&metrics, stdout);
    metrics_release(&metrics);
    return EXIT_YES;
}

const struct command command_curves = {
    .name = "curves",
    .operands = "FOLDER",
    .least_operands = 1,
    .most_operands = 1,
    .summary = "draw the curves of a training in the terminal",
    .run = run,
};
