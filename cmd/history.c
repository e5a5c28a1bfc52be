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
    stage->times++;
    stage->stopped_seconds = 0;
    json_get_integer(details, "memory", &stage->memory, NULL);
    json_get_integer(details, "bytes", &stage->bytes, NULL);
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
    if (!stage || event == EVENT_NONE)
        return;
    struct stage_history *found = &history->stages[stage_place(stage)];
    const char *message = json_get_string(details, "message", NULL);
    take_event(found, event, details);
    found->time = arena_string(history->arena, time ? time : "");
    found->message = message ? arena_string(history->arena, message) : NULL;
}

bool history_read(struct history *history, const char *run, struct arena *arena, struct error *err)
{
    *history = (struct history){ .arena = arena };
    for (size_t i = 0; i < HISTORY_STAGES; i++)
        history->stages[i].seconds = -1;
    return journal_read(run, take_line, history, &history->length, &history->head, err);
}
