/* SPDX-License-Identifier: GPL-3.0-or-later */
/* When a provider may be asked, in a time of the test's own: no slot is lost, nobody waits for
 * nothing, no limit is passed. */
#include "provider/gate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "observe/counter.h"

#define S 1000 /* a second */

struct asker {
    struct sf_gate_turn turn;
    int calls, passed;
    struct sf_provider_fault why; /* of the refusal */
};

static int order[64], n_order;

static void
heard(struct sf_gate_turn *turn, const struct sf_provider_fault *fault)
{
    struct asker *a = (struct asker *)(void *)turn;
    a->calls++;
    a->passed += !fault;
    if (fault)
        a->why = *fault;
    if (n_order < 64)
        order[n_order++] = a->passed ? (int)a->turn.asked_ms : -1;
}

static void
ask(struct sf_gate *g, struct asker *a, int64_t deadline, int64_t now)
{
    *a = (struct asker){.turn = {.fn = heard, .force = a->turn.force}};
    sf_gate_ask(g, &a->turn, deadline, now);
}

static struct sf_provider_fault
fault(enum sf_provider_class cls, int64_t retry_after_ms)
{
    struct sf_provider_fault f;
    (void)sf_provider_fault_set(&f, cls, "as the test says");
    f.retry_after_ms = retry_after_ms;
    return f;
}

static void
leave(struct sf_gate *g, struct asker *a, enum sf_provider_class cls, int64_t after, int64_t now)
{
    struct sf_provider_fault f = fault(cls, after);
    if (cls == SF_PC_OK)
        f = (struct sf_provider_fault){.retry_after_ms = -1};
    sf_gate_leave(g, &a->turn, &f, now);
}

static struct sf_gate *
gate(unsigned slots, unsigned rpm)
{
    struct sf_gate *g;
    assert_int_equal(sf_gate_new(&(struct sf_gate_opts){.slots = slots, .rpm = rpm}, &g), 0);
    n_order = 0;
    return g;
}

/* One request that ends with @cls. */
static void
pass_once(struct sf_gate *g, enum sf_provider_class cls, int64_t now)
{
    struct asker a = {0};
    ask(g, &a, INT64_MAX, now);
    assert_int_equal(a.passed, 1);
    leave(g, &a, cls, -1, now);
}

/* Is one refused at once? */
static bool
is_refused(struct sf_gate *g, int64_t now, struct sf_provider_fault *why)
{
    struct asker a = {0};
    ask(g, &a, INT64_MAX, now);
    assert_int_equal(a.calls, 1);
    if (a.passed)
        sf_gate_leave(g, &a.turn, NULL, now);
    else if (why)
        *why = a.why;
    return !a.passed;
}

static void
they_pass_in_the_order_they_came(void **state)
{
    struct sf_gate *g = gate(2, 0);
    struct asker a[5] = {0};
    (void)state;
    for (int i = 0; i < 5; i++)
        ask(g, &a[i], INT64_MAX, 10 + i);
    assert_int_equal(n_order, 2);
    assert_int_equal(sf_gate_next(g), INT64_MAX);
    struct sf_gate_figures f;
    sf_gate_figures(g, 20, &f);
    assert_int_equal(f.state, SF_GATE_OPEN);
    assert_int_equal(f.used, 2);
    assert_int_equal(f.waiting, 3);
    leave(g, &a[1], SF_PC_OK, -1, 20);
    leave(g, &a[0], SF_PC_NOT_FOUND, -1, 20);
    leave(g, &a[2], SF_PC_OK, -1, 20);
    leave(g, &a[3], SF_PC_OK, -1, 20);
    leave(g, &a[4], SF_PC_OK, -1, 20);
    assert_int_equal(n_order, 5);
    for (int i = 0; i < 5; i++)
        assert_int_equal(order[i], 10 + i);
    sf_gate_free(g);
}

static void
who_waits_has_a_deadline_and_may_go(void **state)
{
    struct sf_gate *g = gate(1, 0);
    struct asker a[3] = {0};
    (void)state;
    ask(g, &a[0], INT64_MAX, 0);
    ask(g, &a[1], 500, 0);
    ask(g, &a[2], INT64_MAX, 0);
    assert_int_equal(sf_gate_next(g), 500);
    sf_gate_run(g, 499);
    assert_int_equal(a[1].calls, 0);
    sf_gate_run(g, 500);
    assert_int_equal(a[1].calls, 1);
    assert_int_equal(a[1].why.cls, SF_PC_TIMEOUT);
    assert_true(sf_gate_cancel(g, &a[2].turn, 600));
    assert_false(sf_gate_cancel(g, &a[2].turn, 600));
    assert_int_equal(a[2].calls, 0);
    assert_false(sf_gate_cancel(g, &a[0].turn, 600)); /* it has passed */
    leave(g, &a[0], SF_PC_OK, -1, 600);
    sf_gate_free(g);
}

static void
no_minute_has_more_than_its_requests(void **state)
{
    static const unsigned rpms[] = {1, 3, 60, 5000};
    (void)state;
    for (int k = 0; k < 4; k++) {
        struct sf_gate *g = gate(4, rpms[k]);
        static int64_t passed[20000];
        size_t n = 0;
        int64_t now = 0;
        while (now < 150 * S) {
            struct asker a = {0};
            ask(g, &a, INT64_MAX, now);
            while (!a.calls) {
                int64_t next = sf_gate_next(g);
                assert_true(next > now && next < INT64_MAX);
                now = next;
                sf_gate_run(g, now);
            }
            assert_int_equal(a.passed, 1);
            passed[n++] = now;
            leave(g, &a, SF_PC_OK, -1, now);
        }
        /* The pace is held, and used. */
        unsigned most = rpms[k] + (rpms[k] > 1024 ? 1024 : 0);
        for (size_t i = most; i < n; i++)
            assert_true(passed[i] - passed[i - most] >= 60 * S);
        assert_in_range(n, 2 * rpms[k], 3 * rpms[k] + 1);
        sf_gate_free(g);
    }
}

static void
what_comes_too_late_is_refused_at_once(void **state)
{
    struct sf_gate *g = gate(4, 2);
    struct asker a = {0};
    (void)state;
    pass_once(g, SF_PC_OK, 0);
    pass_once(g, SF_PC_OK, 0);
    ask(g, &a, 30 * S, 0);
    assert_int_equal(a.calls, 1);
    assert_int_equal(a.why.cls, SF_PC_RATE);
    assert_int_equal(a.why.retry_after_ms, 60 * S);
    sf_gate_free(g);
}

static void
it_waits_as_long_as_it_was_asked_to(void **state)
{
    struct sf_gate *g = gate(4, 0);
    struct asker a = {0}, b = {0}, c = {0};
    struct sf_gate_figures f;
    (void)state;
    ask(g, &a, INT64_MAX, 0);
    leave(g, &a, SF_PC_RATE, 7 * S, 100);
    sf_gate_figures(g, 200, &f);
    assert_int_equal(f.state, SF_GATE_WAITS);
    assert_int_equal(f.until_ms, 7100);
    assert_int_equal(f.last.cls, SF_PC_RATE);
    ask(g, &b, 20 * S, 200);
    ask(g, &c, 5 * S, 200); /* would come after its deadline */
    assert_int_equal(b.calls, 0);
    assert_int_equal(c.calls, 1);
    assert_int_equal(c.why.cls, SF_PC_RATE);
    assert_int_equal(c.why.retry_after_ms, 6900);
    assert_int_equal(sf_gate_next(g), 7100);
    sf_gate_run(g, 7099);
    assert_int_equal(b.calls, 0);
    sf_gate_run(g, 7100);
    assert_int_equal(b.passed, 1);
    leave(g, &b, SF_PC_OK, -1, 7200);
    sf_gate_figures(g, 7200, &f);
    assert_int_equal(f.state, SF_GATE_OPEN);
    sf_gate_free(g);
}

static void
without_a_word_how_long_it_waits_longer_each_time(void **state)
{
    struct sf_gate *g = gate(1, 0);
    int64_t now = 0, want = S;
    (void)state;
    for (int i = 0; i < 10; i++) {
        struct asker a = {0};
        ask(g, &a, INT64_MAX, now);
        assert_int_equal(a.passed, 1);
        leave(g, &a, SF_PC_RATE, -1, now);
        struct asker b = {0};
        ask(g, &b, INT64_MAX, now);
        assert_int_equal(sf_gate_next(g), now + want);
        assert_true(sf_gate_cancel(g, &b.turn, now));
        now += want;
        want = want * 2 < 64 * S ? want * 2 : 64 * S;
    }
    pass_once(g, SF_PC_OK, now);
    pass_once(g, SF_PC_RATE, now);
    struct asker a = {0};
    ask(g, &a, INT64_MAX, now);
    assert_int_equal(sf_gate_next(g), now + S); /* forgotten with the first success */
    assert_true(sf_gate_cancel(g, &a.turn, now));
    sf_gate_free(g);
}

static void
one_that_keeps_saying_now_is_not_asked_at_once(void **state)
{
    struct sf_gate *g = gate(1, 0);
    int64_t now = 0;
    (void)state;
    for (int i = 0; i < 12; i++) {
        struct asker a = {0}, b = {0};
        ask(g, &a, INT64_MAX, now);
        leave(g, &a, SF_PC_RATE, 0, now);
        ask(g, &b, INT64_MAX, now);
        assert_int_equal(b.calls, 0);
        now = sf_gate_next(g);
        assert_true(sf_gate_cancel(g, &b.turn, now));
    }
    assert_true(now > 60 * S);
    sf_gate_free(g);
}

static void
five_failures_in_a_row_close_it_and_one_try_opens_it(void **state)
{
    static const enum sf_provider_class kinds[] = {SF_PC_SERVER, SF_PC_NETWORK, SF_PC_OVERLOADED,
                                                   SF_PC_SERVER, SF_PC_TIMEOUT};
    struct sf_gate *g = gate(1, 0);
    struct sf_provider_fault why;
    struct asker waits = {0}, a = {0};
    (void)state;
    for (int i = 0; i < 4; i++)
        pass_once(g, kinds[i], 0);
    pass_once(g, SF_PC_INVALID, 0); /* it answered: the count begins again */
    for (int i = 0; i < 4; i++)
        pass_once(g, kinds[i], 0);
    ask(g, &a, INT64_MAX, 0);
    ask(g, &waits, INT64_MAX, 0);
    assert_int_equal(waits.calls, 0);
    leave(g, &a, kinds[4], -1, 0);
    assert_int_equal(waits.calls, 1); /* who waits hears of it */
    assert_int_equal(waits.passed, 0);
    assert_int_equal(waits.why.cls, SF_PC_TIMEOUT);
    assert_non_null(strstr(waits.why.text, "not asked again for 30 s"));
    assert_true(is_refused(g, 29999, &why));
    assert_int_equal(why.retry_after_ms, 1);

    struct asker try = {0};
    ask(g, &try, INT64_MAX, 30 * S);
    assert_int_equal(try.passed, 1);
    assert_true(is_refused(g, 30 * S, NULL)); /* one alone tries */
    leave(g, &try, SF_PC_OK, -1, 31 * S);
    assert_false(is_refused(g, 31 * S, NULL));
    sf_gate_free(g);
}

static void
each_failed_try_doubles_the_rest(void **state)
{
    struct sf_gate *g = gate(1, 0);
    int64_t now = 0, rest = 30 * S;
    (void)state;
    for (int i = 0; i < 5; i++)
        pass_once(g, SF_PC_NETWORK, now);
    for (int i = 0; i < 8; i++) {
        assert_true(is_refused(g, now + rest - 1, NULL));
        now += rest;
        rest = rest * 2 < 600 * S ? rest * 2 : 600 * S;
        pass_once(g, SF_PC_NETWORK, now);
    }
    assert_int_equal(rest, 600 * S);
    now += rest;
    assert_false(is_refused(g, now, NULL)); /* a try that was cancelled tells nothing */
    pass_once(g, SF_PC_OK, now);
    for (int i = 0; i < 5; i++)
        pass_once(g, SF_PC_NETWORK, now);
    assert_false(is_refused(g, now + 30 * S, NULL));
    sf_gate_free(g);
}

static void
a_refused_key_closes_it_until_there_is_another(void **state)
{
    static const enum sf_provider_class kinds[] = {SF_PC_AUTH, SF_PC_QUOTA, SF_PC_RATE_LATER};
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct sf_gate *g = gate(3, 0);
        struct sf_provider_fault why;
        pass_once(g, kinds[i], 0);
        assert_true(is_refused(g, 599 * S, &why));
        assert_int_equal(why.cls, kinds[i]);
        sf_gate_reset(g, 599 * S);
        assert_false(is_refused(g, 599 * S, NULL));
        pass_once(g, kinds[i], 600 * S);
        assert_true(is_refused(g, 1199 * S, NULL));
        assert_false(is_refused(g, 1200 * S, NULL)); /* or ten minutes are over */
        sf_gate_free(g);
    }
    /* Which does not help against failures. */
    struct sf_gate *g = gate(3, 0);
    for (int i = 0; i < 5; i++)
        pass_once(g, SF_PC_SERVER, 0);
    sf_gate_reset(g, 1);
    assert_true(is_refused(g, 1, NULL));
    sf_gate_free(g);
}

static void
who_insists_passes_a_closed_gate(void **state)
{
    struct sf_gate *g = gate(1, 0);
    struct asker a = {.turn.force = true};
    (void)state;
    pass_once(g, SF_PC_QUOTA, 0);
    ask(g, &a, INT64_MAX, 1);
    assert_int_equal(a.passed, 1);
    leave(g, &a, SF_PC_OK, -1, 2);
    assert_false(is_refused(g, 3, NULL));
    sf_gate_free(g);
}

/* ---- anything at any time -------------------------------------------------------------------- */

static uint64_t seed = 7;

static unsigned
dice(unsigned n)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(seed >> 33) % n;
}

enum { ASKERS = 24, FAULTS = 1000 };

static void
check_slots(struct sf_gate *g, const struct asker *all, unsigned slots, int64_t now)
{
    struct sf_gate_figures f;
    unsigned used = 0, waiting = 0;
    for (int i = 0; i < ASKERS; i++) {
        used += all[i].turn.has_slot;
        waiting += all[i].turn.waiting;
        assert_in_range(all[i].calls, 0, 1);
    }
    sf_gate_figures(g, now, &f);
    assert_int_equal(f.used, used);
    assert_int_equal(f.waiting, waiting);
    assert_true(used <= slots);
    assert_int_equal(sf_gauges_[SF_G_PROVIDER_SLOTS], used);
    assert_int_equal(sf_gauges_[SF_G_PROVIDER_WAITING], waiting);
}

static void
a_thousand_faults_lose_no_slot(void **state)
{
    (void)state;
    for (int round = 0; round < 20; round++) {
        unsigned slots = 1 + dice(4), faults = 0;
        struct sf_gate *g = gate(slots, dice(3) ? 0 : 1 + dice(100));
        struct asker all[ASKERS] = {0};
        int64_t now = 0;
        while (faults < FAULTS) {
            struct asker *a = &all[dice(ASKERS)];
            if (a->turn.has_slot) {
                if (dice(5) == 0) {
                    sf_gate_leave(g, &a->turn, NULL, now);
                } else {
                    leave(g, a, dice(SF_PC_COUNT_OF), dice(2) ? -1 : (int64_t)dice(3000), now);
                    faults++;
                }
            } else if (a->turn.waiting) {
                if (dice(4) == 0)
                    assert_true(sf_gate_cancel(g, &a->turn, now));
            } else {
                a->turn.force = dice(20) == 0;
                ask(g, a, dice(10) ? now + dice(60 * S) : INT64_MAX, now);
            }
            now += dice(3) ? 0 : dice(dice(20) ? 500 : 100 * S);
            if (sf_gate_next(g) <= now)
                sf_gate_run(g, now);
            check_slots(g, all, slots, now);
        }
        for (int i = 0; i < ASKERS; i++) {
            if (!sf_gate_cancel(g, &all[i].turn, now) && all[i].turn.has_slot)
                leave(g, &all[i], SF_PC_OK, -1, now);
        }
        for (int i = 0; i < ASKERS; i++) /* whom those let through */
            if (all[i].turn.has_slot)
                leave(g, &all[i], SF_PC_OK, -1, now);
        check_slots(g, all, slots, now);
        assert_false(is_refused(g, now + 24 * 3600 * S, NULL));
        sf_gate_free(g);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(they_pass_in_the_order_they_came),
        cmocka_unit_test(who_waits_has_a_deadline_and_may_go),
        cmocka_unit_test(no_minute_has_more_than_its_requests),
        cmocka_unit_test(what_comes_too_late_is_refused_at_once),
        cmocka_unit_test(it_waits_as_long_as_it_was_asked_to),
        cmocka_unit_test(without_a_word_how_long_it_waits_longer_each_time),
        cmocka_unit_test(one_that_keeps_saying_now_is_not_asked_at_once),
        cmocka_unit_test(five_failures_in_a_row_close_it_and_one_try_opens_it),
        cmocka_unit_test(each_failed_try_doubles_the_rest),
        cmocka_unit_test(a_refused_key_closes_it_until_there_is_another),
        cmocka_unit_test(who_insists_passes_a_closed_gate),
        cmocka_unit_test(a_thousand_faults_lose_no_slot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
