/* The report; see report.h. */
#include "report/report.h"

#include "base/file.h"
#include "release/choice.h"
#include "release/package.h"
#include "report/advice.h"
#include "report/assets.h"
#include "report/sections.h"

#include <math.h>
#include <string.h>

const struct report_settings report_defaults = { .samples = 8, .pairs = 24 };

#define FIELD(...) YAML_FIELD(struct report_settings, __VA_ARGS__)

const struct yaml_field report_fields[] = {
    FIELD(intended_use, YAML_STRING, .metavar = "TEXT", .help = "what the set is for"),
    FIELD(reassess, YAML_STRING, .metavar = "DATE", .help = "when it is to be assessed again"),
    FIELD(contact, YAML_STRING, .metavar = "TEXT", .help = "whom to ask"),
    FIELD(reviewers, YAML_STRINGS, .metavar = "NAME", .help = "who reviews the release"),
    FIELD(salt, YAML_STRING, .metavar = "TEXT",
          .help = "secret, of the public commitment to the training set"),
    FIELD(samples, YAML_INTEGER, .minimum = 0, .maximum = 32, .metavar = "N",
          .help = "synthetic images shown (default 8)"),
    FIELD(pairs, YAML_INTEGER, .minimum = 0, .maximum = 1000, .metavar = "N",
          .help = "worst pairs shown to the reviewer (default 24)"),
    { 0 },
};

/* ---- a page ---------------------------------------------------------------------------------- */

/* No request to anywhere: the browser is told to refuse them. */
static void begin_page(struct page *page)
{
    struct html *html = page->html;
    html_put(html, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                   "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
                   "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
                   "img-src data:; style-src 'unsafe-inline'; script-src ");
    if (page->internal)
        html_put(html, "'unsafe-inline'\">");
    else
        html_put(html, "'none'\">");
    html_put(
        html,
        "<meta name=\"generator\" content=\"lethe " LETHE_VERSION "\">"
        "<meta name=\"color-scheme\" content=\"light dark\"><title>$t: $t report</title><style>",
        page->facts->job->name, page->internal ? "internal" : "public");
    html_asset(html, asset_report_css);
    html_put(
        html,
        "</style></head><body><a class=\"skip\" href=\"#verdict\">To the verdict</a>"
        "<div class=\"wrap\"><header class=\"top\"><p class=\"brand\">lethe · $t report</p>"
        "<h1>$t</h1><p class=\"lead\">Synthetic images, audited for memorised patients and for "
        "usefulness.</p>",
        page->internal ? "internal" : "public", page->facts->job->name);
    if (page->internal)
        html_put(html, "<p class=\"private\">" INTERNAL_NOTICE "</p>");
    html_put(html, "</header><main>");
}

static const char *verdict_sentence(const struct facts *facts)
{
    if (!facts->memorization)
        return "Nothing was measured yet, so nothing can be said, and nothing may be released.";
    if (facts->marked == MARKS_COPIES)
        return "A reviewer saw a copy of a patient among the images. This set must not be released.";
    if (facts->all_flagged)
        return "Every image was flagged as too close to a patient. This set must not be released.";
    return facts->passed
               ? "Every condition that was set beforehand is met."
               : "At least one condition that was set beforehand is not met. This set must not "
                 "be released.";
}

static void put_verdict(struct page *page)
{
    struct html *html = page->html;
    const struct facts *facts = page->facts;
    const struct json *audit = facts->memorization;
    html_put(
        html,
        "<div class=\"verdict $t\" role=\"region\" aria-label=\"verdict\"><strong class=\"word\">$t"
        "</strong><p>$t</p><dl class=\"figures\">",
        verdict_tone(facts), verdict_word(facts), verdict_sentence(facts));
    html_put(
        html,
        "<div><dt>synthetic images flagged as too close to a patient</dt><dd>$r of $r</dd></div>"
        "<div><dt>share of such images at most, with 95 % confidence</dt><dd>≤ $u</dd></div>",
        fact_number(audit, "flagged.count"), fact_number(audit, "counts.synthetic"),
        fact_number(audit, "flagged.upper95"));
    html_put(html,
             "<div><dt>usefulness, where real images are 1</dt><dd>$r</dd></div>"
             "<div><dt>unseen patients as control</dt><dd>$r</dd></div></dl></div>",
             mean_for_readers(page, usefulness_of(facts->utility)), unseen_patients(audit));
}

static bool is_shown(const struct page *page, const struct section *section)
{
    return (page->internal || !section->internal_only) &&
           (!section->is_there || section->is_there(page->facts));
}

static void put_contents(struct page *page)
{
    html_put(page->html, "<nav class=\"contents\" aria-label=\"contents\"><ol>");
    for (const struct section *section = sections; section->title; section++)
        if (is_shown(page, section))
            html_put(page->html, "<li><a href=\"#$t\">$t</a></li>", section->id, section->title);
    html_put(page->html, "</ol></nav>");
}

static void write_page(struct page *page)
{
    begin_page(page);
    put_verdict(page);
    put_contents(page);
    for (const struct section *section = sections; section->title; section++) {
        if (!is_shown(page, section))
            continue;
        html_put(page->html, "<section id=\"$t\" aria-labelledby=\"h-$t\"><h2 id=\"h-$t\">$t</h2>",
                 section->id, section->id, section->id, section->title);
        section->write(page);
        html_put(page->html, "</section>");
    }
    html_put(page->html,
             "</main><footer>Made by lethe " LETHE_VERSION
             ". This page holds everything it shows and asks nothing of any server.</footer>"
             "</div>");
    if (page->internal) {
        html_put(page->html, "<script>");
        html_asset(page->html, asset_review_js);
        html_put(page->html, "</script>");
    }
    html_put(page->html, "</body></html>\n");
}

/* ---- files ----------------------------------------------------------------------------------- */

static bool write_text(const char *folder, const char *name, const struct text *text, char *hex,
                       struct arena *arena, struct error *err)
{
    struct digest digest = digest_of(text->bytes, text->length);
    digest_hex(&digest, hex);
    return file_write(path_join(arena, folder, name), text->bytes, text->length, err);
}

static bool write_json(struct facts *facts, const struct report_result *result, const char *folder,
                       struct error *err)
{
    const struct report_job *job = facts->job;
    struct arena *arena = &facts->arena;
    struct json *document = json_new_object(), *digests = json_new_object(),
                *journal = json_new_object();
    json_put_string(document, "schema", REPORT_SCHEMA);
    json_put_string(document, "name", job->name);
    json_put_string(document, "version", LETHE_VERSION);
    json_put_string(document, "verdict", verdict_word(facts));
    json_put_bool(document, "passed", result->passed);
    json_put(document, "policy", policy_results_json(facts->results, facts->result_count));
    json_put_string(digests, "plan", job->plan_sha256);
    static const struct {
        const char *key, *file;
        size_t folder;
    } files[] = {
        { "dataset", "dataset.json", offsetof(struct report_job, dataset) },
        { "synthetic", "dataset.json", offsetof(struct report_job, synthetic) },
        { "memorization", "memorization.json", offsetof(struct report_job, audit) },
        { "utility", "utility.json", offsetof(struct report_job, utility) },
        { "fidelity", "fidelity.json", offsetof(struct report_job, fidelity) },
        { "membership", "membership.json", offsetof(struct report_job, membership) },
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const char *where = *(const char *const *)((const char *)job + files[i].folder);
        const char *digest =
            where ? fact_digest(facts, path_join(arena, where, files[i].file)) : NULL;
        if (digest)
            json_put_string(digests, files[i].key, digest);
    }
    const char *review = fact_digest(facts, job->review);
    if (review)
        json_put_string(digests, "review", review);
    json_put_string(digests, "public", result->public_sha256);
    json_put_string(digests, "internal", result->internal_sha256);
    json_put(document, "sha256", digests);
    json_put_integer(journal, "length", (int64_t)job->journal_length);
    json_put_string(journal, "head", job->journal_head);
    json_put_integer(journal, "trainings", (int64_t)job->trainings);
    json_put_integer(journal, "samplings", (int64_t)job->samplings);
    json_put_integer(journal, "audits", (int64_t)job->audits);
    json_put(document, "journal", journal);
    json_put_string(document, "advice", result->advice.bytes ? result->advice.bytes : "");
    struct json *choice = job->choice ? json_load(job->choice, NULL) : NULL;
    if (choice)
        json_put(document, "choice", choice);
    bool ok = json_save(document, path_join(arena, folder, "report.json"), err);
    json_free(document);
    return ok;
}

static bool write_all(struct facts *facts, struct report_result *result, const char *folder,
                      struct error *err)
{
    struct html public = { 0 }, internal = { 0 };
    struct page page = { .html = &public, .facts = facts };
    write_page(&page);
    bool ok = write_text(folder, "report.public.html", &public.text, result->public_sha256,
                         &facts->arena, err);
    page = (struct page){
        .html = &internal, .facts = facts, .internal = true, .public_sha256 = result->public_sha256
    };
    if (ok)
        write_page(&page);
    ok = ok && write_text(folder, "report.internal.html", &internal.text, result->internal_sha256,
                          &facts->arena, err);
    text_release(&public.text);
    text_release(&internal.text);
    return ok && write_json(facts, result, folder, err);
}

bool report_write(const struct report_job *job, struct report_result *result, struct error *err)
{
    struct facts facts;
    struct folder_stage stage;
    *result = (struct report_result){ 0 };
    if (!facts_open(&facts, job, err))
        return false;
    result->passed = facts.memorization && facts.passed;
    result->rows = facts.result_count;
    for (size_t i = 0; i < facts.result_count; i++)
        result->rows_passed += facts.results[i].passed;
    if (!result->passed)
        advise(&facts, &result->advice);
    facts.advice = result->advice.bytes;
    bool ok = folder_stage_open(&stage, job->out, err);
    if (ok && write_all(&facts, result, stage.partial, err))
        ok = folder_stage_commit(&stage, true, err);
    else if (ok) {
        folder_stage_abandon(&stage);
        ok = false;
    }
    facts_close(&facts);
    if (!ok)
        text_release(&result->advice);
    return ok;
}
