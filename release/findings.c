/* See findings.h. */
#include "release/findings.h"

#include "base/arena.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

void findings_init(struct findings *findings)
{
    *findings = (struct findings){ 0 };
    pthread_mutex_init(&findings->lock, NULL);
}

void findings_release(struct findings *findings)
{
    for (size_t i = 0; i < findings->count; i++)
        free(findings->items[i].text);
    free(findings->items);
    pthread_mutex_destroy(&findings->lock);
}

bool findings_add(struct findings *findings, enum finding_kind kind, const char *format, ...)
{
    struct text text = { 0 };
    va_list arguments;
    va_start(arguments, format);
    text_format_list(&text, format, arguments);
    va_end(arguments);
    pthread_mutex_lock(&findings->lock);
    if (findings->count < FINDINGS_MOST) {
        ARRAY_RESERVE(findings->items, findings->count, findings->capacity);
        findings->items[findings->count++] = (struct finding){ kind, text.bytes };
    } else {
        findings->more++;
        text_release(&text);
    }
    pthread_mutex_unlock(&findings->lock);
    return false;
}

static int by_kind_and_text(const void *a, const void *b)
{
    const struct finding *one = a, *other = b;
    int kinds = (int)one->kind - (int)other->kind;
    return kinds ? kinds : strcmp(one->text, other->text);
}

void findings_sort(struct findings *findings)
{
    if (findings->count)
        qsort(findings->items, findings->count, sizeof *findings->items, by_kind_and_text);
}

bool findings_has(const struct findings *findings, enum finding_kind kind)
{
    for (size_t i = 0; i < findings->count; i++)
        if (findings->items[i].kind == kind)
            return true;
    return false;
}
