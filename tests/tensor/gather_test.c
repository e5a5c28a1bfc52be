/* Which steps are brought together (gather.h), in schedules made by hand: what depends on what is
 * never one group, nor in another order. And that plans tell it what lies where. */
#include "gathering.h"

#include "tensor/gather.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS_MOST = 12, OPERANDS_MOST = 3, BUFFERS = 24, TAKEN_MOST = 12 };

/* Loops and, told by their cost, other steps: each reads and writes some buffers. */
struct schedule {
    struct step steps[STEPS_MOST];
    struct loop loops[STEPS_MOST];
    struct operand operands[STEPS_MOST][OPERANDS_MOST];
    int place[BUFFERS];
    size_t held[BUFFERS], count;
};

/* Large loops have more than one row here. */
static size_t takes(const struct step *step)
{
    return step->loop->rows == 1 ? (size_t)step->loop->operands : 0;
}

static const struct backend backend = { .gathers = takes, .group_most = TAKEN_MOST };

static void init(struct schedule *s)
{
    *s = (struct schedule){ .count = 0 };
    for (int i = 0; i < BUFFERS; i++) {
        s->place[i] = i;
        s->held[i] = 64;
    }
}

/* The buffers that a step uses, as "r0 r1 w2". Its seconds tell which one it was. */
static struct step *add(struct schedule *s, bool large, const char *uses)
{
    size_t at = s->count++;
    struct loop *loop = &s->loops[at];
    *loop = (struct loop){ .rows = large ? 2 : 1, .columns = 1, .operand = s->operands[at] };
    for (const char *use = uses; *use; use += strcspn(use, " "), use += strspn(use, " "))
        loop->operand[loop->operands++] =
            (struct operand){ .use = *use == 'r' ? OPERAND_LOAD : OPERAND_STORE,
                              .buffer = (int)strtol(use + 1, NULL, 10) };
    s->steps[at] = (struct step){ .loop = loop, .seconds = (double)at };
    return &s->steps[at];
}

static void small(struct schedule *s, const char *uses)
{
    add(s, false, uses);
}

static void large(struct schedule *s, const char *uses)
{
    add(s, true, uses);
}

/* The order, with a group in brackets: "0 (1 3) 2". */
static void expect(struct schedule *s, const char *expected)
{
    char text[8 * STEPS_MOST] = "";
    gather_steps(s->steps, s->count, &backend, s->place, s->held, BUFFERS);
    for (size_t i = 0, left = 0; i < s->count; i++) {
        bool begins = s->steps[i].together > 1;
        assert_true((left > 0) == (s->steps[i].together == 0));
        left = left ? left - 1 : s->steps[i].together - 1;
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s%d%s", i ? " " : "",
                 begins ? "(" : "", (int)s->steps[i].seconds,
                 s->steps[i].together == 0 && left == 0 ? ")" : "");
    }
    assert_string_equal(text, expected);
}

static void what_nothing_waits_for_goes_last_and_at_once(void **state)
{
    (void)state;
    struct schedule s;
    init(&s);
    small(&s, "r0 w1");
    large(&s, "r2 w3");
    small(&s, "r3 w4");
    large(&s, "r3 w5");
    small(&s, "r5 w6");
    expect(&s, "1 3 (0 2 4)");
}

static void what_is_needed_takes_along_what_is_ready(void **state)
{
    (void)state;
    struct schedule s;
    init(&s);
    small(&s, "r0 w1");
    small(&s, "r0 w2");
    small(&s, "r2 w3"); /* needs the one before */
    large(&s, "r2 w4");
    large(&s, "r0 w5");
    expect(&s, "(0 1) 3 4 2");
}

static void a_chain_of_small_steps_stays_a_chain(void **state)
{
    (void)state;
    struct schedule s;
    init(&s);
    small(&s, "r0 w1");
    small(&s, "r1 w2");
    small(&s, "r2 w3");
    small(&s, "r0 w4");
    expect(&s, "(0 3) 1 2");
}

static void what_is_read_is_not_written_before(void **state)
{
    (void)state;
    struct schedule s;
    init(&s);
    small(&s, "r0 w1");
    small(&s, "r2 w0"); /* over what the first reads */
    large(&s, "r3 w4");
    expect(&s, "2 0 1");
    init(&s);
    small(&s, "r0 w1");
    large(&s, "r2 w0");
    expect(&s, "0 1");
}

static void what_is_written_twice_is_so_in_order(void **state)
{
    (void)state;
    struct schedule s;
    init(&s);
    small(&s, "r0 w1");
    small(&s, "r2 w1"); /* another part of it, or over it */
    large(&s, "r3 w4");
    expect(&s, "2 0 1");
}

/* Buffers 0 and 5 are one parameter, before and after its update. */
static void what_lies_in_one_place_is_one(void **state)
{
    (void)state;
    struct schedule s;
    init(&s);
    s.place[5] = 0;
    small(&s, "r0 w1");
    small(&s, "r2 w5");
    small(&s, "r2 w6");
    expect(&s, "(0 2) 1");
    init(&s);
    s.place[5] = 0;
    small(&s, "r0 r2 w5"); /* itself may: it is an update in place */
    small(&s, "r2 w6");
    expect(&s, "(0 1)");
}

static void what_is_made_once_stays_where_it_is(void **state)
{
    (void)state;
    struct schedule s;
    init(&s);
    add(&s, false, "r0 w1")->once = true;
    small(&s, "r0 w2");
    small(&s, "r0 w3");
    large(&s, "r4 w5");
    expect(&s, "0 3 (1 2)");
}

static void a_group_takes_no_more_than_it_may(void **state)
{
    (void)state;
    struct schedule s;
    init(&s);
    for (int i = 0; i < 5; i++) {
        char uses[32];
        snprintf(uses, sizeof uses, "r0 r1 w%d", 2 + i);
        small(&s, uses); /* 3 of 12 */
    }
    expect(&s, "(0 1 2 3) 4");
}

static void what_would_hold_much_memory_does_not_wait(void **state)
{
    (void)state;
    struct schedule s;
    init(&s);
    s.held[1] = s.held[3] = HELD_MOST / 2;
    small(&s, "r0 w1");
    large(&s, "r2 w4");
    small(&s, "r0 w3"); /* with what the first holds it is too much */
    large(&s, "r2 w5");
    expect(&s, "1 0 3 2");
    init(&s);
    s.held[1] = HELD_MOST + 1; /* too much by itself */
    small(&s, "r0 w1");
    large(&s, "r2 w4");
    expect(&s, "0 1");
}

/* A parameter is halved in place while a part of it is added to another, whose update reads what it
 * was before. */
static void an_update_in_place_comes_after_what_reads_the_old_value(void **state)
{
    enum { ROWS = 3, COLUMNS = 40, PART = 10 };
    (void)state;
    struct error err;
    struct backend gathering = gathering_backend();
    struct graph *graph = graph_new();
    struct store *store = store_new(&gathering);
    struct node *eight = t_full(graph, SHAPE(ROWS, COLUMNS), 8);
    struct node *zero = t_full(graph, SHAPE(ROWS, PART), 0), *one = t_full(graph, SHAPE(7), 1);
    struct node *w = t_parameter(graph, "w", eight), *sum = t_parameter(graph, "sum", zero);
    struct node *other = t_parameter(graph, "other", one);
    struct assign updates[] = { { sum, t_add(sum, t_slice(w, 1, 5, 5 + PART)) },
                                { other, t_shift(other, 1) },
                                { w, t_scale(w, 0.5) } };
    struct plan *initial = plan_initial(store, (struct node *[]){ w, sum, other }, 3, &err);
    assert_ok(initial && plan_run(initial, 0, 1, &err), err);
    struct plan *plan = plan_create(store, NULL, 0, updates, 3, &err);
    assert_ok(plan, err);
    for (int run = 0; run < 2; run++)
        assert_ok(plan_run(plan, 0, 1, &err), err);
    assert_int_equal(plan_kernels(plan), 2); /* halving comes after the others */
    float value[ROWS * COLUMNS];
    store_read(store, store_find(store, "sum"), value);
    assert_true(value[0] == 8 + 4 && value[ROWS * PART - 1] == 8 + 4);
    store_read(store, store_find(store, "w"), value);
    assert_true(value[0] == 2 && value[ROWS * COLUMNS - 1] == 2);
    plan_free(initial);
    plan_free(plan);
    store_free(store);
    graph_free(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_nothing_waits_for_goes_last_and_at_once),
        cmocka_unit_test(what_is_needed_takes_along_what_is_ready),
        cmocka_unit_test(a_chain_of_small_steps_stays_a_chain),
        cmocka_unit_test(what_is_read_is_not_written_before),
        cmocka_unit_test(what_is_written_twice_is_so_in_order),
        cmocka_unit_test(what_lies_in_one_place_is_one),
        cmocka_unit_test(what_is_made_once_stays_where_it_is),
        cmocka_unit_test(a_group_takes_no_more_than_it_may),
        cmocka_unit_test(what_would_hold_much_memory_does_not_wait),
        cmocka_unit_test(an_update_in_place_comes_after_what_reads_the_old_value),
    };
    return cmocka_run_group_tests_name("tensor/gather", tests, NULL, NULL);
}
