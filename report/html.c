/* Writing HTML in which no value can become markup; see html.h. */
#include "report/html.h"

#include "base/arena.h"
#include "release/base64.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char dash[] = "–", narrow_space[] = "\u202f";

static void put_text(struct html *html, const char *value)
{
    for (; *value; value++) {
        size_t plain = strcspn(value, "&<>\"'");
        text_add_bytes(&html->text, value, plain);
        value += plain;
        if (!*value)
            return;
        text_format(&html->text, "&#%d;", *value);
    }
}

/* Thousands apart: 12 345. */
static void put_integer(struct html *html, int64_t value)
{
    char digits[24];
    snprintf(digits, sizeof digits, "%lld", (long long)(value < 0 ? -value : value));
    size_t length = strlen(digits);
    if (value < 0)
        text_add(&html->text, "−");
    for (size_t i = 0; i < length; i++) {
        if (i && length > 4 && (length - i) % 3 == 0)
            text_add(&html->text, narrow_space);
        text_add_bytes(&html->text, digits + i, 1);
    }
}

/* A value that was just so many digits before it became binary stays what it is. */
static double rounded(double value, int decimals, enum html_rounding rounding)
{
    const double slack = 1e-9;
    double step = pow(10, decimals);
    return rounding == HTML_AT_MOST    ? ceil(value * step - slack) / step
           : rounding == HTML_AT_LEAST ? floor(value * step + slack) / step
                                       : value;
}

/* As many as leave three digits or four; two below 0.01. */
static int real_decimals(double size)
{
    return size < 0.1 ? 4 : size < 10 ? 3 : size < 1000 ? 1 : 0;
}

const char *html_real_bound(char buffer[HTML_NUMBER], double value, enum html_rounding rounding)
{
    double size = fabs(value);
    if (!isfinite(value))
        snprintf(buffer, HTML_NUMBER, "%s", dash);
    else if (value == round(value) && size < 1e15)
        snprintf(buffer, HTML_NUMBER, "%.0f", value + 0.0); /* no minus before a 0 */
    else if (size >= 1e-3 && size < 1e5) {
        int decimals = real_decimals(size);
        snprintf(buffer, HTML_NUMBER, "%.*f", decimals, rounded(value, decimals, rounding));
    } else {
        double power = pow(10, floor(log10(size)));
        snprintf(buffer, HTML_NUMBER, "%.2e", rounded(value / power, 2, rounding) * power);
    }
    return buffer;
}

const char *html_real(char buffer[HTML_NUMBER], double value)
{
    return html_real_bound(buffer, value, HTML_NEAREST);
}

/* One decimal, or where that would leave less two digits that count: 0.0037 % is not 0.00 %. */
static int percent_decimals(double percent)
{
    return percent >= 1 || percent <= 0 ? 1 : 1 - (int)floor(log10(percent));
}

const char *html_percent_bound(char buffer[HTML_NUMBER], double share, enum html_rounding rounding)
{
    if (!isfinite(share)) {
        snprintf(buffer, HTML_NUMBER, "%s", dash);
        return buffer;
    }
    double percent = rounded(100 * share, percent_decimals(100 * share), rounding),
           whole = round(percent);
    if (percent == whole || (whole > 0 && fabs(percent - whole) < 1e-9)) /* .07 is 7 % */
        snprintf(buffer, HTML_NUMBER, "%.0f %%", percent);
    else
        snprintf(buffer, HTML_NUMBER, "%.*f %%", percent_decimals(percent), percent);
    return buffer;
}

const char *html_percent(char buffer[HTML_NUMBER], double share)
{
    return html_percent_bound(buffer, share, HTML_NEAREST);
}

static void put_value(struct html *html, char kind, va_list *values)
{
    char buffer[HTML_NUMBER];
    const char *value;
    switch (kind) {
    case 't':
        value = va_arg(*values, const char *);
        put_text(html, value ? value : dash);
        return;
    case 'i':
        put_integer(html, va_arg(*values, int64_t));
        return;
    case 'n':
        text_format(&html->text, "%lld", (long long)va_arg(*values, int64_t));
        return;
    case 'r':
        put_text(html, html_real(buffer, va_arg(*values, double)));
        return;
    case 'p':
        put_text(html, html_percent(buffer, va_arg(*values, double)));
        return;
    case 'u':
        put_text(html, html_percent_bound(buffer, va_arg(*values, double), HTML_AT_MOST));
        return;
    case 'l':
        put_text(html, html_percent_bound(buffer, va_arg(*values, double), HTML_AT_LEAST));
        return;
    case 'f':
        text_format(&html->text, "%.2f", va_arg(*values, double));
        return;
    case '$':
        text_add(&html->text, "$");
        return;
    default:
        BUG("a template with $%c", kind);
    }
}

void html_put_template(struct html *html, const char *template, ...)
{
    va_list values;
    va_start(values, template);
    for (;;) {
        size_t plain = strcspn(template, "$");
        text_add_bytes(&html->text, template, plain);
        template += plain;
        if (!*template)
            break;
        put_value(html, template[1], &values);
        template += 2;
    }
    va_end(values);
}

void html_png(struct html *html, const void *png, size_t size)
{
    text_add(&html->text, "\"data:image/png;base64,");
    base64_add(&html->text, png, size);
    text_add(&html->text, "\"");
}

void html_json(struct html *html, const struct json *document)
{
    char *line = json_line(document);
    for (const char *byte = line; *byte; byte++)
        if (*byte == '<' || *byte == '>' || *byte == '&')
            text_format(&html->text, "\\u%04x", *byte);
        else if (*byte != '\n')
            text_add_bytes(&html->text, byte, 1);
    memory_free(line);
}

void html_asset(struct html *html, const char *asset)
{
    text_add(&html->text, asset);
}
