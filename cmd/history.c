/* What a run's journal says of each stage; see history.h. */
#include "history.h"

#include "base/json.h"

#include <string.h>

static const char *const event_names[EVENT_COUNT] = {
    "",
    "stage started",
    "stage stopped",
    "stage ended",
    "stage said no",
    "stage failed",
    EVENT_NAME_PURGED,
};

size_t stage_place(const struct stage *stage)
{
    size_t place = 0;
    while (stages[place] != stage)
        place++;
    CHECK(place < HISTORY_STAGES, "more than %d stages", HISTORY_STAGES);
    return place;
}

static enum stage_event event_of(const char *name)
{
    for (int event = 1; event < EVENT_COUNT; event++)
        if (strcmp(name, event_names[event]) == 0)
            return (enum stage_event)event;
    return EVENT_NONE;
}

/* A stage that was stopped and went on took the sum of its parts. */
static void take_event(struct stage_history *stage, enum stage_event event,
                       const struct json *details)
{
    double seconds = 0;
    json_get_real(details, "seconds", &seconds, NULL);
    stage->last = event;
    if (event == EVENT_STOPPED)
        stage->stopped_seconds += seconds;
    if (event != EVENT_ENDED && event != EVENT_NO)
        return;
    stage->seconds = stage->stopped_seconds + seconds;
    stage->stopped_seconds = 0;
    json_get_integer(details, "memory", &stage->memory, NULL);
    json_get_integer(details, "bytes", &stage->bytes, NULL);
}

static bool same_label(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static struct history_entry *find(const struct history *history, const struct stage *stage,
                                  const char *label)
{
    struct history_entry *entry = history->entries;
    while (entry && !(entry->stage == stage && same_label(entry->label, label)))
        entry = entry->next;
    return entry;
}

static struct stage_history *find_or_add(struct history *history, const struct stage *stage,
                                         const char *label)
{
    struct history_entry *entry = find(history, stage, label);
    if (!entry) {
        entry = arena_new(history->arena, struct history_entry);
        entry->stage = stage;
        entry->label = label ? arena_string(history->arena, label) : NULL;
        entry->past.seconds = -1;
        entry->next = history->entries;
        history->entries = entry;
    }
    return &entry->past;
}

const struct stage_history *history_of(const struct history *history, const struct stage *stage,
                                       const char *label)
{
    static const struct stage_history nothing = { .seconds = -1 };
    const struct history_entry *entry = find(history, stage, label);
    return entry ? &entry->past : &nothing;
}

uint64_t history_tries(const struct history *history, const char *stage)
{
    uint64_t tries = 0;
    for (const struct history_entry *entry = history->entries; entry; entry = entry->next)
        if (strcmp(entry->stage->name, stage) == 0)
            tries += entry->past.tries;
    return tries;
}

static void take_inputs(struct stage_history *stage, const struct json *details,
                        struct arena *arena)
{
    const char *inputs = json_get_string(details, "inputs", NULL);
    for (uint64_t i = 0; inputs && i < stage->tries; i++)
        if (strcmp(stage->inputs[i], inputs) == 0)
            return;
    if (inputs && stage->tries < HISTORY_TRIES)
        stage->inputs[stage->tries++] = arena_string(arena, inputs);
}

/* Whether it is the line of a run; then what it means for whoever wants to go on. */
static bool take_run(struct history *history, const char *name, const struct json *details)
{
    const char *end = details ? json_get_string(details, "end", NULL) : NULL;
    if (strcmp(name, EVENT_NAME_RUN_STARTED) == 0)
        history->in_run = history->stopped = true;
    else if (strcmp(name, EVENT_NAME_RUN_ENDED) == 0) {
        history->in_run = false;
        history->stopped = end && strcmp(end, END_NAME_STOPPED) == 0;
    } else
        return false;
    return true;
}

static void take_line(void *context, const struct json *line)
{
    struct history *history = context;
    const char *name = json_get_string(line, "event", NULL);
    const char *time = json_get_string(line, "time", NULL);
    const struct json *details = json_get(line, "details", NULL);
    const char *which = details ? json_get_string(details, "stage", NULL) : NULL;
    const struct stage *stage = which ? stage_find(which) : NULL;
    enum stage_event event = name ? event_of(name) : EVENT_NONE;
    if ((name && take_run(history, name, details)) || !stage || event == EVENT_NONE)
        return;
    if (!history->in_run) /* a stage's own command */
        history->stopped = event == EVENT_STARTED || event == EVENT_STOPPED;
    struct stage_history *found =
        find_or_add(history, stage, json_get_string(details, "candidate", NULL));
    const char *message = json_get_string(details, "message", NULL);
    take_event(found, event, details);
    if (event == EVENT_STARTED)
        take_inputs(found, details, history->arena);
    found->time = arena_string(history->arena, time ? time : "");
    found->message = message ? arena_string(history->arena, message) : NULL;
}

bool history_read(struct history *history, const char *run, struct arena *arena, struct error *err)
{
    *history = (struct history){ .arena = arena };
    return journal_read(run, take_line, history, &history->length, &history->head, err);
}
