/* Writing HTML in which no value can become markup.
 *
 *     html_put(html, "<td>$t</td><td class=\"n\">$r</td>", subject, 0.93);
 *
 * The template is a literal: the macro takes nothing else. Values go in by type, escaped for text
 * and for attributes in double quotes alike:
 *
 *     $t  const char *   text, escaped; NULL: a dash
 *     $i  int64_t        a whole number, thousands apart by a narrow space
 *     $n  int64_t        a whole number, plain, for attributes
 *     $r  double         a real number, three digits or four; whole ones whole; NaN: a dash
 *     $p  double         a share as a percentage; NaN: a dash
 *     $u  double         the same of an upper bound: never rounded down
 *     $l  double         the same of a lower bound: never rounded up
 *     $f  double         a real number with 2 decimals, plain, for coordinates
 *     $$                 a dollar sign
 *
 * Blobs that are not text have functions of their own.
 */
#ifndef REPORT_HTML_H
#define REPORT_HTML_H

#include "base/json.h"
#include "base/text.h"

struct html {
    struct text text;
    unsigned ids; /* given so far, for titles of charts */
};

#define html_put(html, ...) html_put_template(html, "" __VA_ARGS__)
void html_put_template(struct html *html, const char *template, ...);

/* An image as a data: URI in quotes, as the value of src. */
void html_png(struct html *html, const void *png, size_t size);

/* A document for a script element: no value in it can end the element. */
void html_json(struct html *html, const struct json *document);

/* The text of one of the report's own files (its style, its script), as it is. */
void html_asset(struct html *html, const char *asset);

/* A number in words for a person: "0", "12", "0.0123", "–" for NaN. Returns `buffer`. */
enum { HTML_NUMBER = 48 };
const char *html_real(char buffer[HTML_NUMBER], double value);
/* "0.42 %", "12.3 %", "0.0037 %", "0 %". */
const char *html_percent(char buffer[HTML_NUMBER], double share);
/* Both, of a number that bounds something: what is said to be at most so much is, and what is said
 * to be at least so much. */
enum html_rounding { HTML_NEAREST, HTML_AT_MOST, HTML_AT_LEAST };
const char *html_real_bound(char buffer[HTML_NUMBER], double value, enum html_rounding rounding);
const char *html_percent_bound(char buffer[HTML_NUMBER], double share, enum html_rounding rounding);

#endif
