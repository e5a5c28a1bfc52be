/* See moment.h. */
#include "release/moment.h"

#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

const char *moment_text(int64_t seconds, char text[MOMENT_TEXT])
{
    struct tm parts;
    time_t time = (time_t)seconds;
    if (!gmtime_r(&time, &parts) || !strftime(text, MOMENT_TEXT, "%Y-%m-%dT%H:%M:%SZ", &parts))
        text[0] = '\0';
    return text;
}

/* Read by guess and held against how it would be written. */
bool moment_from_text(const char *text, int64_t *seconds)
{
    struct tm parts = { 0 };
    char again[MOMENT_TEXT];
    if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2dZ", &parts.tm_year, &parts.tm_mon, &parts.tm_mday,
               &parts.tm_hour, &parts.tm_min, &parts.tm_sec) != 6)
        return false;
    parts.tm_year -= 1900;
    parts.tm_mon -= 1;
    *seconds = (int64_t)timegm(&parts);
    return strcmp(moment_text(*seconds, again), text) == 0;
}

bool moment_from_day(const char *text, bool at_end, int64_t *seconds)
{
    char whole[MOMENT_TEXT];
    if (strlen(text) != strlen("2026-01-31"))
        return moment_from_text(text, seconds);
    snprintf(whole, sizeof whole, "%sT%sZ", text, at_end ? "23:59:59" : "00:00:00");
    return moment_from_text(whole, seconds);
}

bool moment_now(int64_t *now, struct error *err)
{
    const char *given = getenv("SOURCE_DATE_EPOCH");
    *now = (int64_t)time(NULL);
    return !given || (text_to_integer(given, now) && *now >= 0) ||
           error_set(err, "SOURCE_DATE_EPOCH is \"%s\", not seconds since 1970", given);
}
