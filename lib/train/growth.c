/* Progressive growing; see growth.h. */
#include "train/growth.h"

struct growth growth_none(int size, uint64_t batch)
{
    return (struct growth){ .first = size, .size = size, .batch = batch, .batch_most = batch };
}

uint64_t growth_batch(const struct growth *growth, int side)
{
    uint64_t batch = growth->batch * (uint64_t)(growth->size / side);
    if (batch > growth->batch_most)
        batch = growth->batch_most;
    return batch > growth->batch ? batch : growth->batch;
}

static int level(const struct stage *stage)
{
    return (stage->number + 1) / 2;
}

/* The images after which level l, of those from 1 on, begins to fade in. */
static uint64_t fade_begins(const struct growth *growth, int l)
{
    return (uint64_t)l * growth->stable + (uint64_t)(l - 1) * growth->fade;
}

/* The images from which on a step is of the next stage. As in the official schedule, a step that
 * begins exactly where a level begins to fade in still belongs to the level before. */
static uint64_t end(const struct growth *growth, const struct stage *stage)
{
    if (stage->fading)
        return fade_begins(growth, level(stage)) + growth->fade;
    return fade_begins(growth, level(stage) + 1) + (growth->fade > 0);
}

static void set_steps(const struct growth *growth, struct stage *stage)
{
    stage->side = growth->first << level(stage);
    stage->fading = stage->number % 2;
    stage->batch = growth_batch(growth, stage->side);
    stage->steps = UINT64_MAX;
    if (stage->fading || stage->side < growth->size) {
        uint64_t limit = end(growth, stage);
        stage->steps =
            limit > stage->image ? (limit - stage->image + stage->batch - 1) / stage->batch : 0;
    }
}

bool growth_next(const struct growth *growth, struct stage *stage)
{
    while (stage->steps != UINT64_MAX) {
        stage->image += stage->steps * stage->batch;
        stage->step += stage->steps;
        stage->number++;
        set_steps(growth, stage);
        if (stage->steps > 0)
            return true;
    }
    return false;
}

static struct stage first_stage(const struct growth *growth)
{
    struct stage stage = { 0 };
    set_steps(growth, &stage);
    if (!stage.steps)
        growth_next(growth, &stage);
    return stage;
}

struct stage growth_stage(const struct growth *growth, uint64_t step)
{
    struct stage stage = first_stage(growth);
    while (step - stage.step >= stage.steps && growth_next(growth, &stage)) {
    }
    return stage;
}

struct stage growth_last_stage(const struct growth *growth)
{
    struct stage stage = first_stage(growth);
    while (growth_next(growth, &stage)) {
    }
    return stage;
}

uint64_t growth_images(const struct growth *growth, uint64_t step)
{
    struct stage stage = growth_stage(growth, step);
    return stage.image + (step - stage.step) * stage.batch;
}

uint64_t growth_steps(const struct growth *growth, uint64_t images)
{
    struct stage stage = first_stage(growth), next = stage;
    while (growth_next(growth, &next) && next.image < images)
        stage = next;
    uint64_t more = images > stage.image ? images - stage.image : 0;
    return stage.step + (more + stage.batch - 1) / stage.batch;
}

double growth_alpha(const struct growth *growth, const struct stage *stage, uint64_t images)
{
    uint64_t begins = stage->fading ? fade_begins(growth, level(stage)) : 0;
    if (!stage->fading || images >= begins + growth->fade)
        return 1;
    return images > begins ? (double)(images - begins) / (double)growth->fade : 0;
}
