/* See problems.h. */
#include "release/problems.h"

#include "base/arena.h"
#include "base/text.h"

#include <stdlib.h>

void problems_init(struct problems *problems)
{
    *problems = (struct problems){ 0 };
    pthread_mutex_init(&problems->lock, NULL);
}

void problems_release(struct problems *problems)
{
    for (size_t i = 0; i < problems->count; i++)
        free(problems->items[i].text);
    free(problems->items);
    pthread_mutex_destroy(&problems->lock);
}

bool problems_add(struct problems *problems, enum problem_kind kind, const char *format, ...)
{
    struct text text = { 0 };
    va_list arguments;
    va_start(arguments, format);
    text_format_list(&text, format, arguments);
    va_end(arguments);
    pthread_mutex_lock(&problems->lock);
    if (problems->count < PROBLEMS_MOST) {
        ARRAY_RESERVE(problems->items, problems->count, problems->capacity);
        problems->items[problems->count++] = (struct problem){ kind, text.bytes };
    } else {
        problems->more++;
        text_release(&text);
    }
    pthread_mutex_unlock(&problems->lock);
    return false;
}

bool problems_has(const struct problems *problems, enum problem_kind kind)
{
    for (size_t i = 0; i < problems->count; i++)
        if (problems->items[i].kind == kind)
            return true;
    return false;
}
