/* Marks that follow earlier marks about the same set; see review.h.
 *
 * Once somebody has called an image a copy, only words about this image take that back: marks that
 * say nothing of it, because it was left unmarked or because a later audit draws other pairs, leave
 * it as it was. And what was taken back stays on record, with both names, for whoever signs. */
#include "report/review.h"

#include <string.h>

struct following {
    struct review *review;
    const struct json *before;
    const char *marked, *now; /* when the earlier marks were taken in (NULL: not known); now */
    struct json *marks, *withdrawn;
};

static int64_t image_of(const struct json *entry)
{
    int64_t image = -1;
    json_get_integer(entry, "synthetic", &image, NULL);
    return image;
}

static bool is_marked(const struct json *entry, enum mark mark)
{
    const char *name = json_as_string(json_member(entry, "mark"));
    return name && strcmp(name, mark_names[mark]) == 0;
}

/* The entry about an image, NULL where there is none. */
static const struct json *entry_about(const struct json *marks, int64_t image)
{
    for (size_t i = 0; i < json_length(marks); i++)
        if (image_of(json_at(marks, i)) == image)
            return json_at(marks, i);
    return NULL;
}

static void put_string_or_null(struct json *object, const char *key, const char *value)
{
    if (value)
        json_put_string(object, key, value);
    else
        json_put_null(object, key);
}

static const char *text_in(const struct json *object, const char *key)
{
    return json_as_string(json_member(object, key));
}

/* What both lists tell of an earlier copy: which image, in whose words, since when. */
static struct json *copy_seen(const struct following *following, const struct json *seen)
{
    struct json *out = json_new_object();
    int64_t training = -1;
    const char *by = text_in(seen, "by"), *note = text_in(seen, "note");
    json_get_integer(seen, "training", &training, NULL);
    json_put_integer(out, "synthetic", image_of(seen));
    json_put_integer(out, "training", training);
    json_put_string(out, "mark", mark_names[MARK_COPY]);
    json_put_string(out, "note", note ? note : "");
    put_string_or_null(out, "by", by ? by : text_in(following->before, "reviewer"));
    put_string_or_null(out, "marked", by ? text_in(seen, "marked") : following->marked);
    return out;
}

static void keep(struct following *following, const struct json *seen)
{
    json_push(following->marks, copy_seen(following, seen));
    following->review->counts[MARK_COPY]++;
    following->review->kept++;
}

static void withdraw(struct following *following, const struct json *seen, const struct json *entry)
{
    struct json *out = copy_seen(following, seen);
    json_put_string(out, "mark_now", text_in(entry, "mark"));
    json_put_string(out, "withdrawn_by", following->review->reviewer);
    json_put_string(out, "withdrawn", following->now);
    json_push(following->withdrawn, out);
    following->review->withdrawn++;
}

/* Each new mark beside what was said of the image before. */
static void go_through_new(struct following *following, const struct json *marks)
{
    const struct json *earlier = json_member(following->before, "marks");
    for (size_t i = 0; i < json_length(marks); i++) {
        const struct json *entry = json_at(marks, i), *seen = entry_about(earlier, image_of(entry));
        bool copy = seen && is_marked(seen, MARK_COPY);
        if (copy && is_marked(entry, MARK_UNMARKED)) {
            following->review->counts[MARK_UNMARKED]--;
            keep(following, seen);
            continue;
        }
        json_push(following->marks, json_clone(entry));
        if (copy && !is_marked(entry, MARK_COPY))
            withdraw(following, seen, entry);
    }
}

/* Copies that the new marks do not mention, and what was withdrawn earlier and still is. */
static void go_through_earlier(struct following *following, const struct json *marks)
{
    const struct json *earlier = json_member(following->before, "marks"),
                      *withdrawn = json_member(following->before, "withdrawn");
    for (size_t i = 0; i < json_length(earlier); i++)
        if (is_marked(json_at(earlier, i), MARK_COPY) &&
            !entry_about(marks, image_of(json_at(earlier, i))))
            keep(following, json_at(earlier, i));
    for (size_t i = 0; i < json_length(withdrawn); i++) {
        const struct json *now = entry_about(following->marks, image_of(json_at(withdrawn, i)));
        if (!now || !is_marked(now, MARK_COPY))
            json_push(following->withdrawn, json_clone(json_at(withdrawn, i)));
    }
}

void review_follow(struct review *review, const struct json *before, const char *marked,
                   const char *now)
{
    struct following following = {
        review, before, marked, now, json_new_array(), json_new_array()
    };
    const struct json *marks = json_member(review->document, "marks");
    const char *set = text_in(review->document, "synthetic_sha256"),
               *set_before = text_in(before, "synthetic_sha256");
    bool same = set && set_before && strcmp(set, set_before) == 0;
    if (same) {
        go_through_new(&following, marks);
        go_through_earlier(&following, marks);
        json_put(review->document, "marks", following.marks);
        json_put(review->document, "counts", review_counts(review));
    } else
        json_free(following.marks);
    json_put(review->document, "withdrawn", following.withdrawn);
}
