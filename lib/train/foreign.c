/* Tensors of a file that others wrote; see foreign.h. */
#include "train/foreign.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

bool foreign_open(struct foreign *foreign, const char *path, struct text *differences,
                  struct error *err)
{
    *foreign = (struct foreign){ .path = path, .differences = differences };
    if (!safetensors_open(&foreign->file, path, err))
        return false;
    arena_init(&foreign->arena);
    foreign->used = arena_array(&foreign->arena, bool, foreign->file.count);
    for (size_t i = 0; i < foreign->file.count; i++)
        foreign->used[i] = false;
    return true;
}

void foreign_close(struct foreign *foreign)
{
    safetensors_close(&foreign->file);
    arena_release(&foreign->arena);
}

static bool same_shape(const struct tensor_entry *entry, struct shape shape)
{
    bool same = entry->rank == shape.rank;
    for (int i = 0; same && i < entry->rank; i++)
        same = entry->shape[i] == (size_t)shape.size[i];
    return same;
}

static void tell_shape(struct text *out, const struct tensor_entry *entry, struct shape asked)
{
    char shape[SHAPE_TEXT];
    text_format(out, "%s: (", entry->name);
    for (int i = 0; i < entry->rank; i++)
        text_format(out, "%s%zu", i ? "," : "", entry->shape[i]);
    text_format(out, ") in the file, %s asked for\n", shape_text(asked, shape));
}

static size_t count_of(const struct tensor_entry *entry)
{
    return entry->bytes / element_info[entry->type].bytes;
}

float *foreign_values(const struct tensor_entry *entry)
{
    size_t count = count_of(entry);
    const uint16_t *half = entry->data;
    if (entry->type != ELEMENT_FLOAT32 && entry->type != ELEMENT_FLOAT16)
        return NULL;
    float *values = memory_grow(NULL, count, sizeof *values);
    if (entry->type == ELEMENT_FLOAT32)
        memcpy(values, entry->data, entry->bytes);
    for (size_t i = 0; entry->type == ELEMENT_FLOAT16 && i < count; i++)
        values[i] = half_to_float(half[i]);
    return values;
}

static bool all_finite(const float *values, size_t count)
{
    bool finite = true;
    for (size_t i = 0; i < count; i++)
        finite = finite && isfinite(values[i]);
    return finite;
}

float *foreign_take(struct foreign *foreign, const char *name, struct shape shape)
{
    struct text *differences = foreign->differences;
    const struct tensor_entry *entry = safetensors_find(&foreign->file, name);
    if (!entry) {
        text_format(differences, "%s: not in the file\n", name);
        return NULL;
    }
    foreign->used[entry - foreign->file.tensors] = true;
    if (!same_shape(entry, shape)) {
        tell_shape(differences, entry, shape);
        return NULL;
    }
    float *values = foreign_values(entry);
    if (!values) {
        text_format(differences, "%s: of type %s; float32 or float16 is taken\n", name,
                    element_info[entry->type].name);
        return NULL;
    }
    if (!all_finite(values, count_of(entry))) {
        text_format(differences, "%s: holds NaN or infinity\n", name);
        free(values);
        return NULL;
    }
    foreign->taken++;
    return values;
}

void foreign_check_rest(struct foreign *foreign, foreign_known *known, const void *context)
{
    for (size_t i = 0; i < foreign->file.count; i++) {
        const struct tensor_entry *entry = &foreign->file.tensors[i];
        if (foreign->used[i])
            continue;
        foreign->passed_over++;
        if (!known(entry, context, foreign->differences))
            text_format(foreign->differences, "%s: in the file, not asked for\n", entry->name);
    }
}

bool foreign_agrees(const struct foreign *foreign, struct error *err)
{
    size_t lines = 0;
    if (!foreign->differences->length)
        return true;
    for (const char *byte = foreign->differences->bytes; *byte; byte++)
        lines += *byte == '\n';
    return error_set(err, "%s: %zu differences from what is asked for", foreign->path, lines);
}
