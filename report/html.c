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

const char *html_real(char buffer[HTML_NUMBER], double value)
{
    double size = fabs(value);
    if (isnan(value))
        snprintf(buffer, HTML_NUMBER, "%s", dash);
    else if (value == round(value) && size < 1e6)
        snprintf(buffer, HTML_NUMBER, "%.0f", value);
    else if (size >= 1e-3 && size < 1e5)
        snprintf(buffer, HTML_NUMBER, "%.*f",
                 size < 0.01   ? 4
                 : size < 10   ? 3
                 : size < 1000 ? 1
                               : 0,
                 value);
    else
        snprintf(buffer, HTML_NUMBER, "%.2e", value);
    return buffer;
}

/* One decimal, or where that would leave less two digits that count: 0.0037 % is not 0.00 %. */
static int percent_decimals(double percent)
{
    return percent >= 1 || percent <= 0 ? 1 : 1 - (int)floor(log10(percent));
}

const char *html_percent(char buffer[HTML_NUMBER], double share)
{
    double percent = 100 * share, whole = round(percent);
    if (isnan(share))
        snprintf(buffer, HTML_NUMBER, "%s", dash);
    else if (percent == whole || (whole > 0 && fabs(percent - whole) < 1e-9)) /* .07 is 7 % */
        snprintf(buffer, HTML_NUMBER, "%.0f %%", percent);
    else
        snprintf(buffer, HTML_NUMBER, "%.*f %%", percent_decimals(percent), percent);
    return buffer;
}

const char *html_percent_at_most(char buffer[HTML_NUMBER], double share)
{
    if (isnan(share))
        return html_percent(buffer, share);
    double step = pow(10, percent_decimals(100 * share));
    /* A share that was just so many digits before it became binary stays what it is. */
    return html_percent(buffer, ceil(100 * share * step - 1e-9) / step / 100);
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
        put_text(html, html_percent_at_most(buffer, va_arg(*values, double)));
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
