/* Running a plan; see plan_parts.h.
 *
 * Steps are run in their order, those that draw on constants alone once. A device that can note a
 * run does so the second time, and replays it from then on. */
#include "tensor/plan_parts.h"

#include "base/progress.h"
#include "tensor/profile.h"

void plan_make_calls(struct plan *plan)
{
    if (!plan->calls) {
        plan->calls = arena_array(&plan->arena, struct call, plan->step_count);
        for (size_t i = 0; i < plan->step_count; i++)
            plan->calls[i].in =
                arena_array(&plan->arena, void *, (size_t)plan->steps[i].node->sources);
    }
    for (size_t i = 0; i < plan->step_count; i++) {
        const struct step *step = &plan->steps[i];
        void **in = (void **)(uintptr_t)plan->calls[i].in;
        for (int s = 0; s < step->node->sources; s++)
            in[s] = plan->memory[step->in[s].buffer];
        plan->calls[i] =
            (struct call){ .node = step->node, .out = plan->memory[step->out.buffer], .in = in };
    }
}

static bool check_written(const struct plan *plan, struct error *err)
{
    for (size_t i = 0; i < plan->buffer_count; i++) {
        const struct node *leaf = plan->buffers[i].leaf;
        if (leaf && leaf->op == OP_INPUT && !plan->written[i])
            return error_set(err, "the input \"%s\" has no value yet", leaf->leaf.name);
        if (leaf && leaf->op == OP_PARAMETER && !plan->tensor_of[i]->written)
            return error_set(err, "the parameter \"%s\" has no value yet: initialise or load it",
                             leaf->leaf.name);
    }
    return true;
}

static void apply_updates(const struct plan *plan)
{
    for (size_t i = 0; i < plan->update_count; i++) {
        const struct update *update = &plan->updates[i];
        if (update->from >= 0)
            plan->backend->copy(update->to->memory, plan->memory[update->from], update->to->dtype,
                                shape_count(update->to->shape));
        update->to->written = true;
    }
}

/* Those of a group share its time as they share its bytes. */
static void note_time(struct step *step, double seconds)
{
    size_t bytes = 0;
    for (size_t i = 0; i < step->together; i++)
        bytes += step_bytes(&step[i]);
    for (size_t i = 0; i < step->together; i++)
        step[i].seconds += bytes ? seconds * (double)step_bytes(&step[i]) / (double)bytes
                                 : seconds / (double)step->together;
}

static void run_step(struct plan *plan, size_t at, struct run *run)
{
    struct step *step = &plan->steps[at];
    if (!plan->backend->execute) {
        struct call *call = &plan->calls[at];
        call->step = run->step;
        call->seed = run->seed;
        call->part = run->part;
        plan->backend->kernels[step->node->op](call);
        return;
    }
    run->scratch = plan->scratch_of[at] < 0 ? NULL : plan->memory[plan->scratch_of[at]];
    plan->backend->execute(step, run);
}

static void run_steps(struct plan *plan, struct run *run)
{
    const struct recorder *recorder = plan->backend->recorder;
    for (size_t i = 0; i < plan->step_count; i++) {
        if (!plan->steps[i].together || (plan->ran && plan->steps[i].once))
            continue;
        double start = plan->measured ? clock_seconds() : 0;
        run_step(plan, i, run);
        if (plan->measured && recorder)
            recorder->wait();
        if (plan->measured)
            note_time(&plan->steps[i], clock_seconds() - start);
    }
    plan->runs += plan->measured;
    plan->ran = true;
    apply_updates(plan);
}

/* The second run of a plan is noted by a device that can; from then on it is replayed. One that
 * cannot be noted goes on step by step. */
static void run_recorded(struct plan *plan, struct run *run)
{
    const struct recorder *recorder = plan->backend->recorder;
    if (!plan->recording && !plan->unrecordable) {
        if (recorder->record(&plan->refusal)) {
            run_steps(plan, run);
            plan->recording = recorder->recorded(&plan->refusal);
        }
        plan->unrecordable = !plan->recording;
    }
    if (plan->recording)
        recorder->replay(plan->recording);
    else
        run_steps(plan, run);
}

static void move(struct plan *plan)
{
    plan_find_memory(plan);
    if (!plan->backend->execute)
        plan_make_calls(plan);
    if (plan->recording)
        plan->backend->recorder->erase(plan->recording);
    plan->recording = NULL;
}

bool plan_run(struct plan *plan, uint64_t step, uint64_t seed, struct error *err)
{
    if (!check_written(plan, err))
        return false;
    if (plan->workspace != store_workspace(plan->store))
        move(plan);
    struct run run = { .memory = plan->memory,
                       .threads = plan->threads,
                       .seed = seed,
                       .step = step,
                       .part = plan->part };
    if (plan->backend->recorder)
        plan->backend->recorder->begin(seed, step, plan->part);
    if (!plan->backend->recorder || !plan->ran || plan->measured)
        run_steps(plan, &run);
    else
        run_recorded(plan, &run);
    return plan->backend->finish(err);
}

size_t plan_bytes(const struct plan *plan)
{
    return plan->block_bytes + plan->workspace_bytes;
}

bool plan_is_replayed(const struct plan *plan)
{
    return plan->recording;
}

const char *plan_refusal(const struct plan *plan)
{
    return plan->unrecordable ? plan->refusal.message : NULL;
}

static void tell_makeshift(const struct step *step, FILE *out)
{
    char shape[SHAPE_TEXT];
    fprintf(out, "%s (%s:%d) of", ops[step->node->op].name, step->node->site.file,
            step->node->site.line);
    for (int i = 0; i < step->node->sources; i++)
        fprintf(out, "%s %s %s", i ? "," : "", dtype_name(step->in[i].dtype),
                shape_text(step->in[i].shape, shape));
    fprintf(out, ": %s\n", step->makeshift);
}

size_t plan_makeshifts(const struct plan *plan, FILE *out)
{
    size_t count = 0;
    for (size_t i = 0; i < plan->step_count; i++)
        if (plan->steps[i].makeshift) {
            tell_makeshift(&plan->steps[i], out);
            count++;
        }
    return count;
}

size_t plan_kernels(const struct plan *plan)
{
    size_t count = 0;
    for (size_t i = 0; i < plan->step_count; i++)
        count += plan->steps[i].together > 0;
    return count;
}

void plan_measure(struct plan *plan, bool on)
{
    plan->measured = on;
}

void plan_profile(const struct plan *plan, FILE *out)
{
    profile_write(plan->steps, plan->step_count, plan->runs, out);
}
