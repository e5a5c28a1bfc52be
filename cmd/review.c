/* lethe review: takes in the marks that a reviewer made in the internal report. */
#include "candidates.h"
#include "safe.h"
#include "stages.h"

#include "base/json.h"
#include "plan/lock.h"
#include "report/review.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char imported[] = "review imported"; /* in the journal */

struct options {
    const char *import;
};

#define OPTION(...) YAML_FIELD(struct options, __VA_ARGS__)

static const struct yaml_field options[] = {
    OPTION(import, YAML_STRING, .metavar = "FILE",
           .help = "marks as the internal report saves them"),
    { 0 },
};

/* When the marks with this digest were recorded, as the journal tells. */
struct earlier {
    char sha256[DIGEST_HEX];
    const char *time;
    struct arena *arena;
};

static void find_time(void *context, const struct json *line)
{
    struct earlier *earlier = context;
    const char *event = json_get_string(line, "event", NULL),
               *time = json_get_string(line, "time", NULL),
               *sha256 = json_as_string(json_member(json_member(line, "details"), "sha256"));
    if (event && time && sha256 && strcmp(event, imported) == 0 &&
        strcmp(sha256, earlier->sha256) == 0)
        earlier->time = arena_string(earlier->arena, time);
}

/* The marks that stood here until now go on as far as the new ones do not speak of them. */
static bool follow_earlier(struct review *review, const char *run, const char *path,
                           struct arena *arena, struct error *err)
{
    struct earlier earlier = { .arena = arena };
    struct json *before = NULL;
    struct digest digest, head;
    uint64_t length;
    char now[TIME_TEXT];
    if (path_kind(path) == PATH_FILE) {
        if (!digest_file(path, &digest, err))
            return false;
        digest_hex(&digest, earlier.sha256);
        if (!journal_read(run, find_time, &earlier, &length, &head, err) ||
            !(before = json_load_schema(path, REVIEW_SCHEMA, err)))
            return false;
    }
    review_follow(review, before, earlier.time, time_text(now));
    json_free(before);
    return true;
}

/* The images of the marks that were just withdrawn. */
static struct json *withdrawn_images(const struct review *review)
{
    const struct json *list = json_member(review->document, "withdrawn");
    struct json *images = json_new_array();
    int64_t image;
    for (size_t i = 0; i < review->withdrawn; i++)
        if (json_get_integer(json_at(list, i), "synthetic", &image, NULL))
            json_push_integer(images, image);
    return images;
}

static bool record(struct review *review, const struct release_plan *plan, struct journal *journal,
                   struct arena *arena, struct error *err)
{
    const char *path = path_join(arena, plan->run, "review.json");
    struct digest digest;
    char hex[DIGEST_HEX];
    if (!follow_earlier(review, plan->run, path, arena, err) ||
        !json_save(review->document, path, err) || !digest_file(path, &digest, err))
        return false;
    struct json *details = json_new_object();
    json_put_string(details, "reviewer", review->reviewer);
    json_put_string(details, "sha256", digest_hex(&digest, hex));
    for (int mark = 0; mark < MARK_COUNT; mark++)
        json_put_integer(details, mark_names[mark], (int64_t)review->counts[mark]);
    json_put(details, "withdrawn", withdrawn_images(review));
    return journal_add(journal, imported, details, err);
}

static const char *words_of(struct arena *arena, const struct json *entry, const char *key)
{
    const char *text = json_as_string(json_member(entry, key));
    return text ? safe_text(arena, text) : "somebody";
}

/* " (TIME)", or nothing. */
static const char *when(struct arena *arena, const struct json *entry)
{
    const char *time = json_as_string(json_member(entry, "marked"));
    return time ? arena_format(arena, " (%s)", safe_text(arena, time)) : "";
}

static const char *mark_words(const struct json *entry)
{
    static const char *const words[MARK_COUNT] = { "a copy", "not a copy", "unsure", "unmarked" };
    const char *name = json_as_string(json_member(entry, "mark_now"));
    for (int mark = 0; name && mark < MARK_COUNT; mark++)
        if (strcmp(name, mark_names[mark]) == 0)
            return words[mark];
    return "something else";
}

static void print_withdrawn(const struct review *review, struct arena *arena)
{
    const struct json *list = json_member(review->document, "withdrawn");
    for (size_t i = 0; i < review->withdrawn; i++) {
        const struct json *entry = json_at(list, i);
        int64_t image = -1;
        json_get_integer(entry, "synthetic", &image, NULL);
        printf("WITHDRAWN: synthetic image %" PRId64 ", marked as a copy by %s%s, is now marked as "
               "%s by %s; the report tells both\n",
               image, words_of(arena, entry, "by"), when(arena, entry), mark_words(entry),
               words_of(arena, entry, "withdrawn_by"));
    }
}

static void print_kept(const struct review *review, struct arena *arena)
{
    const struct json *list = json_member(review->document, "marks");
    for (size_t i = 0; i < json_length(list); i++) {
        const struct json *entry = json_at(list, i);
        int64_t image = -1;
        json_get_integer(entry, "synthetic", &image, NULL);
        if (json_member(entry, "by"))
            printf("STILL A COPY: synthetic image %" PRId64 ", marked by %s%s; these marks do not "
                   "speak of it\n",
                   image, words_of(arena, entry, "by"), when(arena, entry));
    }
}

static void print(struct invocation *invocation, struct review *review)
{
    if (invocation->json) {
        command_print(review->document);
        review->document = NULL;
        return;
    }
    printf("reviewed by %s: %zu cop%s, %zu not, %zu unsure, %zu not marked\n",
           safe_text(&invocation->arena, review->reviewer), review->counts[MARK_COPY],
           review->counts[MARK_COPY] == 1 ? "y" : "ies", review->counts[MARK_NOT_A_COPY],
           review->counts[MARK_UNSURE], review->counts[MARK_UNMARKED]);
    print_withdrawn(review, &invocation->arena);
    print_kept(review, &invocation->arena);
}

static enum exit_code run(struct invocation *invocation)
{
    const struct options *values = invocation->values;
    struct release_plan plan;
    struct run_folder folder;
    struct review review;
    struct arena *arena = &invocation->arena;
    struct error *err = &invocation->err;
    if (!values->import)
        return command_refuse(invocation, "give the marks: --import FILE");
    if (!plan_load(invocation->operands[0], &plan, arena, err))
        return command_failed(invocation);
    plan = plan_of_the_chosen(&plan, arena);
    const char *audit = path_join(arena, stage_folder(&plan, "audit", arena), "memorization.json");
    if (!review_read(values->import, audit, &review, arena, err))
        return command_failed(invocation);
    bool ok = run_folder_open(&folder, &plan, "lethe review", err);
    if (ok) {
        ok = record(&review, &plan, &folder.journal, arena, err);
        run_folder_close(&folder, false);
    }
    if (ok)
        print(invocation, &review);
    json_free(review.document);
    if (!ok)
        return command_failed(invocation);
    fprintf(stderr, "make the report again with: lethe report %s\n", plan.path);
    return review.counts[MARK_COPY] ? EXIT_NO : EXIT_YES;
}

const struct command command_review = {
    .name = "review",
    .operands = "PLAN --import FILE",
    .least_operands = 1,
    .most_operands = 1,
    .summary = "take in the marks that a reviewer made in the internal report",
    .details = "Exit code 1 when a pair is marked as a copy.",
    .options = options,
    .size = sizeof(struct options),
    .run = run,
};
