/* The internal report's pairs to go through, and what was marked; see sections.h. */
#include "report/review.h"
#include "report/sections.h"

#include <string.h>

static void put_view(struct page *page, const struct dataset *set, int64_t image, const char *name)
{
    size_t place = (size_t)image;
    html_put(page->html, "<figure>");
    put_picture(page, set, &place, 1, 1, name);
    html_put(page->html, "<figcaption>$t $i</figcaption></figure>", name, image);
}

static void put_marks(struct html *html, int64_t number)
{
    static const struct {
        const char *value, *words;
    } marks[] = { { "copy", "a copy" }, { "not_a_copy", "not a copy" }, { "unsure", "unsure" } };
    html_put(html, "<fieldset class=\"marks\"><legend>Is the upper image a copy?</legend>");
    for (int i = 0; i < 3; i++)
        html_put(html, "<label><input type=\"radio\" name=\"mark$n\" value=\"$t\"> $t</label>",
                 number, marks[i].value, marks[i].words);
    html_put(html,
             "<textarea aria-label=\"note on pair $n\" placeholder=\"note\"></textarea></fieldset>",
             number);
}

/* What stands in a pair of the audit; false where it does not fit the two sets. */
struct audited_pair {
    int64_t synthetic, training, held_out; /* held_out: it is shown instead; -1: none */
    double correlation;
    const char *subject;
};
static bool read_pair(const struct facts *facts, const struct json *pair, struct audited_pair *out)
{
    out->subject = fact_string(pair, "subject");
    out->correlation = fact_number(pair, "correlation");
    out->held_out = -1;
    if (json_get_integer(pair, "holdout", &out->held_out, NULL) &&
        (out->held_out < 0 || (size_t)out->held_out >= facts->real.count))
        return false;
    return json_get_integer(pair, "synthetic", &out->synthetic, NULL) &&
           json_get_integer(pair, "training", &out->training, NULL) && out->synthetic >= 0 &&
           out->training >= 0 && facts->has_synthetic && facts->has_real &&
           (size_t)out->synthetic < facts->synthetic.count &&
           (size_t)out->training < facts->real.count;
}

static bool is_mark(const struct json *entry, enum mark mark)
{
    const char *name = fact_string(entry, "mark");
    return name && strcmp(name, mark_names[mark]) == 0;
}

/* What the marks that were taken in say of the image. */
static void put_earlier_mark(struct page *page, int64_t synthetic)
{
    static const struct {
        const char *words, *tone;
    } shown[MARK_COUNT] = { [MARK_COPY] = { "marked as a copy", "no" },
                            [MARK_NOT_A_COPY] = { "marked as not a copy", "yes" },
                            [MARK_UNSURE] = { "marked as unsure", "open" } };
    const struct json *marks = fact(page->facts->review, "marks");
    int64_t image;
    if (page->facts->marked == MARKS_NONE)
        return;
    for (size_t i = 0; i < json_length(marks); i++)
        for (int mark = 0; mark < MARK_UNMARKED; mark++)
            if (json_get_integer(json_at(marks, i), "synthetic", &image, NULL) &&
                image == synthetic && is_mark(json_at(marks, i), (enum mark)mark))
                html_put(page->html, "<span class=\"badge $t\">$t</span>", shown[mark].tone,
                         shown[mark].words);
}

static void put_pair(struct page *page, const struct audited_pair *pair, int64_t number)
{
    bool flagged = fact_is_flagged(page->facts, pair->synthetic);
    html_put(page->html,
             "<article class=\"pair\" tabindex=\"-1\" id=\"pair$n\"><header><h4>Pair $n</h4>"
             "<span class=\"badge $t\">$t</span>",
             number, number, flagged ? "no" : "yes", flagged ? "flagged" : "not flagged");
    put_earlier_mark(page, pair->synthetic);
    html_put(page->html,
             "<span>correlation $r</span><span>patient $t</span></header><div class=\"views\">",
             pair->correlation, pair->subject);
    put_view(page, &page->facts->synthetic, pair->synthetic, "Synthetic image");
    if (pair->held_out < 0)
        put_view(page, &page->facts->real, pair->training, "Training image");
    else
        put_view(page, &page->facts->real, pair->held_out, "Image of a patient who was held out");
    html_put(page->html, "</div>");
    put_marks(page->html, number);
    html_put(page->html, "</article>");
}

static void put_review_bar(struct html *html)
{
    html_put(
        html,
        "<div class=\"bar-review\" id=\"review-bar\" hidden><label>Reviewer "
        "<input id=\"reviewer\" required autocomplete=\"name\"></label>"
        "<button type=\"button\" class=\"main\" id=\"review-save\">Save marks</button>"
        "<span id=\"review-count\" role=\"status\"></span></div>"
        "<p class=\"keys\">Keys: <kbd>→</kbd> <kbd>←</kbd> move · <kbd>b</kbd> blink the two over each other · "
        "<kbd>+</kbd> <kbd>−</kbd> zoom · <kbd>1</kbd> a copy, <kbd>2</kbd> not a copy, "
        "<kbd>3</kbd> unsure · <kbd>n</kbd> note · <kbd>s</kbd> save. Then: "
        "<code>lethe review PLAN --import review.json</code></p>");
}

/* What the script needs beside the page. */
static void put_review_data(struct page *page, struct json *pairs)
{
    struct json *data = json_new_object();
    const char *path = path_join(&page->facts->arena, page->facts->job->audit, "memorization.json");
    const char *digest = fact_digest(page->facts, path);
    json_put_string(data, "name", page->facts->job->name);
    json_put_string(data, "memorization_sha256", digest ? digest : "");
    json_put(data, "pairs", pairs);
    html_put(page->html, "<script type=\"application/json\" id=\"review-data\">");
    html_json(page->html, data);
    html_put(page->html, "</script>");
    json_free(data);
}

static const char *mark_words_now(const struct json *mark)
{
    const char *name = fact_string(mark, "mark_now");
    return name && strcmp(name, mark_names[MARK_UNSURE]) == 0 ? "unsure" : "not a copy";
}

/* Copies that the last marks did not speak of: they are not the last reviewer's. */
static void write_kept_marks(struct page *page)
{
    const struct json *marks = fact(page->facts->review, "marks");
    for (size_t i = 0; i < json_length(marks); i++) {
        const struct json *mark = json_at(marks, i);
        if (fact_string(mark, "by"))
            html_put(page->html,
                     "<p>Synthetic image $r was marked as a copy by $t $t, and nobody has said "
                     "otherwise since.</p>",
                     fact_number(mark, "synthetic"), fact_string(mark, "by"),
                     fact_string(mark, "marked"));
    }
}

/* Copies that somebody saw and that a later mark took back: both names, for whoever signs. */
static void write_withdrawn_marks(struct page *page)
{
    const struct json *list = fact(page->facts->review, "withdrawn");
    if (!json_length(list))
        return;
    html_put(page->html, "<div class=\"scroll\"><table><caption>Marks that were withdrawn</caption>"
                         "<thead><tr><th scope=\"col\" class=\"n\">Synthetic image</th>"
                         "<th scope=\"col\">Marked as a copy</th><th scope=\"col\">Note</th>"
                         "<th scope=\"col\">Withdrawn</th></tr></thead><tbody>");
    for (size_t i = 0; i < json_length(list); i++) {
        const struct json *mark = json_at(list, i);
        html_put(
            page->html,
            "<tr><td class=\"n\">$r</td><td>by $t $t</td><td>$t</td><td>$t: by $t $t</td></tr>",
            fact_number(mark, "synthetic"), fact_string(mark, "by"), fact_string(mark, "marked"),
            fact_string(mark, "note"), mark_words_now(mark), fact_string(mark, "withdrawn_by"),
            fact_string(mark, "withdrawn"));
    }
    html_put(page->html, "</tbody></table></div>");
}

static void write_review_state(struct page *page)
{
    const struct json *review = page->facts->review;
    if (!review) {
        html_put(page->html, "<p><span class=\"badge open\">not reviewed yet</span></p>");
        return;
    }
    if (page->facts->marked == MARKS_NONE) {
        html_put(page->html, "<p><span class=\"badge open\">not reviewed yet</span>: $t</p>",
                 page->facts->marked_reason);
        return;
    }
    bool copies = page->facts->marked == MARKS_COPIES;
    html_put(page->html,
             "<p><span class=\"badge $t\">$t</span> by $t: $r marked as a copy, $r as not a copy, "
             "$r unsure, $r not marked.</p>",
             copies ? "no" : "yes", copies ? "copies seen" : "reviewed",
             fact_string(review, "reviewer"), fact_number(review, "counts.copy"),
             fact_number(review, "counts.not_a_copy"), fact_number(review, "counts.unsure"),
             fact_number(review, "counts.unmarked"));
    write_kept_marks(page);
    write_withdrawn_marks(page);
}

void write_pairs(struct page *page)
{
    struct html *html = page->html;
    const struct json *list = fact(page->facts->memorization, "pairs");
    size_t count = list ? json_length(list) : 0, most = (size_t)page->facts->job->settings->pairs;
    if (!list) {
        html_put(html, "<p>The set was not audited for memorisation.</p>");
        return;
    }
    struct json *shown = json_new_array();
    put_plain(html,
              "Above a synthetic image, below the real image that it is nearest to, the worst "
              "first. Look whether the upper one shows the same patient: the same folds, "
              "ventricles and lesion, not just a similar slice.</p>");
    write_review_state(page);
    put_review_bar(html);
    html_put(html, "<div class=\"pairs\">");
    for (size_t i = 0; i < count && i < most; i++) {
        struct audited_pair pair;
        if (!read_pair(page->facts, json_at(list, i), &pair))
            continue;
        put_pair(page, &pair, (int64_t)json_length(shown) + 1);
        struct json *entry = json_new_object();
        json_put_integer(entry, "synthetic", pair.synthetic);
        json_put_integer(entry, "training", pair.training);
        json_push(shown, entry);
    }
    html_put(html, "</div>");
    put_review_data(page, shown);
}
