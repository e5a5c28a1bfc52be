/* Tables of what the steps of a plan cost; see profile.h. */
#include "tensor/profile.h"

#include "base/arena.h"

#include <stdlib.h>
#include <string.h>

enum { NAME = 48, ROWS_SHOWN = 40 };

struct row {
    char name[NAME];
    double seconds, flops;
    size_t bytes, steps;
};

struct table {
    struct row *rows;
    size_t count, capacity;
};

/* Along an axis that repeats there is one number. */
static size_t view_bytes(const struct view *view)
{
    size_t count = 1;
    for (int axis = 0; axis < view->shape.rank; axis++)
        count *= view->stride[axis] ? (size_t)view->shape.size[axis] : 1;
    return count * dtype_bytes(view->dtype);
}

size_t loop_bytes(const struct loop *loop)
{
    size_t bytes = 0;
    for (int k = 0; k < loop->operands; k++) {
        const struct operand *operand = &loop->operand[k];
        size_t count = operand->row || loop->rows == 1 ? (size_t)loop->rows : 1;
        count *= operand->column || operand->index ? (size_t)loop->columns : 1;
        for (int axis = 0; axis < loop->axes; axis++)
            count *= operand->stride[axis] ? (size_t)loop->size[axis] : 1;
        bytes += count * dtype_bytes(operand->dtype);
    }
    return bytes;
}

size_t step_bytes(const struct step *step)
{
    if (step->loop)
        return loop_bytes(step->loop);
    size_t bytes = view_bytes(&step->out);
    for (int i = 0; i < step->node->sources; i++)
        bytes += view_bytes(&step->in[i]);
    return bytes;
}

static bool reduces(const struct loop *loop)
{
    for (int k = 0; k < loop->operands; k++)
        if (loop->operand[k].use > OPERAND_STORE)
            return true;
    return false;
}

static void name_kind(const struct step *step, char name[NAME])
{
    const char *kind = !step->loop                ? ops[step->node->op].name
                       : reduces(step->loop)      ? "loop with sums"
                       : step->loop->instructions ? "loop"
                                                  : "copy";
    bool half = !step->loop && step->node->op != OP_NORMAL && step->in && step->node->sources &&
                step->in[0].dtype == DTYPE_BF16;
    snprintf(name, NAME, "%s%s", kind, half ? " bf16" : "");
}

static void name_layer(const struct step *step, char name[NAME])
{
    const char *scope = step->node->scope && *step->node->scope ? step->node->scope : "(none)";
    snprintf(name, NAME, "%.*s", NAME - 1, scope);
}

static void name_step(const struct step *step, char name[NAME])
{
    char kind[NAME], text[SHAPE_TEXT];
    name_kind(step, kind);
    struct shape shape = step->loop ? step->node->shape : step->out.shape;
    snprintf(name, NAME, "%.14s %.30s", kind, shape_text(shape, text));
}

static struct row *find_row(struct table *table, const char *name)
{
    for (size_t i = 0; i < table->count; i++)
        if (strcmp(table->rows[i].name, name) == 0)
            return &table->rows[i];
    ARRAY_RESERVE(table->rows, table->count, table->capacity);
    struct row *row = &table->rows[table->count++];
    *row = (struct row){ 0 };
    snprintf(row->name, sizeof row->name, "%s", name);
    return row;
}

static int by_time(const void *a, const void *b)
{
    double first = ((const struct row *)a)->seconds, second = ((const struct row *)b)->seconds;
    return (first < second) - (first > second);
}

static void write_table(const struct step *steps, size_t count, uint64_t runs, const char *title,
                        void (*name)(const struct step *step, char name[NAME]), FILE *out)
{
    struct table table = { 0 };
    double total = 0;
    for (size_t i = 0; i < count; i++) {
        char text[NAME];
        name(&steps[i], text);
        struct row *row = find_row(&table, text);
        row->seconds += steps[i].seconds / (double)runs;
        row->flops += steps[i].flops;
        row->bytes += step_bytes(&steps[i]);
        row->steps++;
        total += steps[i].seconds / (double)runs;
    }
    qsort(table.rows, table.count, sizeof *table.rows, by_time);
    fprintf(out, "%-46s %6s %10s %6s %9s %8s %7s\n", title, "steps", "ms", "share", "GFLOP/s", "MB",
            "GB/s");
    for (size_t i = 0; i < table.count && i < ROWS_SHOWN; i++) {
        const struct row *row = &table.rows[i];
        double seconds = row->seconds > 0 ? row->seconds : 1e-12;
        fprintf(out, "%-46s %6zu %10.3f %5.1f%% %9.1f %8.1f %7.1f\n", row->name, row->steps,
                1e3 * row->seconds, 100 * row->seconds / (total > 0 ? total : 1),
                row->flops / seconds / 1e9, (double)row->bytes / 1e6,
                (double)row->bytes / seconds / 1e9);
    }
    fprintf(out, "%-46s %6zu %10.3f\n\n", "total", count, 1e3 * total);
    free(table.rows);
}

void profile_write(const struct step *steps, size_t count, uint64_t runs, FILE *out)
{
    if (!runs) {
        fprintf(out, "no run was measured: set LETHE_PROFILE=1\n");
        return;
    }
    write_table(steps, count, runs, "kind", name_kind, out);
    write_table(steps, count, runs, "layer", name_layer, out);
    write_table(steps, count, runs, "kind and shape of the result", name_step, out);
}
