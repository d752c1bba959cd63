/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write-fixture.h"

#include "write/queue.h"

/* The contract of the order: changes of one key in the order asked for, one at a time; nobody else
 * waits for them; each ends in one callback. */

static void
rename_between_put_and_delete(void **state)
{
    (void)state;
    for (unsigned workers = 1; workers <= 4; workers += 3) {
        sf_writer_free(writer);
        writer_start(workers, 0);
        fake_close(FAKE_PUT);
        struct got *put = put_small("a", "text", false);
        fake_wait_at_gate(FAKE_PUT, 1);
        struct got *ren = rename_to("a", "b", false);
        struct got *del = delete_key("b");
        assert_false(has_come(ren));
        fake_open(FAKE_PUT);
        assert_int_equal(wait_for(put), 0);
        assert_int_equal(wait_for(ren), 0);
        assert_int_equal(wait_for(del), 0);
        assert_null(fake_find("b", "a"));
        assert_null(fake_find("b", "b"));
    }
    assert_string_equal(fake_order(), "post b/a;move b/a b/b;delete b/b;"
                                      "post b/a;move b/a b/b;delete b/b;");
}

static void
one_worker_keeps_two_keys(void **state)
{
    (void)state;
    sf_writer_free(writer);
    writer_start(1, 0);
    struct got *g[6];
    fake_close(FAKE_PUT);
    g[0] = put_small("x", "1", false);
    g[1] = put_small("y", "1", false);
    g[2] = put_small("x", "2", true);
    g[3] = delete_key("y");
    g[4] = put_small("x", "3", true);
    g[5] = put_small("y", "2", false);
    fake_open(FAKE_PUT);
    for (int i = 0; i < 6; i++)
        assert_int_equal(wait_for(g[i]), 0);
    assert_true(fake_has("b", "x", "3"));
    assert_true(fake_has("b", "y", "2"));
}

static void
a_busy_key_stops_nobody_else(void **state)
{
    (void)state;
    sf_writer_free(writer);
    writer_start(2, 0);
    struct got *slow[5];
    fake_close(FAKE_PUT);
    for (int i = 0; i < 5; i++)
        slow[i] = put_small("slow", "s", i > 0);
    fake_wait_at_gate(FAKE_PUT, 1);
    fake_set("b", "other", "o");
    assert_int_equal(wait_for(delete_key("other")), 0); /* by the second worker */
    struct sf_writer_stats st;
    do /* the deletion's worker may not be done with it */
        sf_writer_stats(writer, &st);
    while (st.running > 1);
    assert_int_equal(st.running, 1);
    assert_int_equal(st.queued, 4);
    assert_int_equal(fake_peak(FAKE_PUT), 1);
    fake_open(FAKE_PUT);
    for (int i = 0; i < 5; i++)
        assert_int_equal(wait_for(slow[i]), 0);
    assert_int_equal(fake_peak(FAKE_PUT), 1);
}

static void
crossing_renames_do_not_wait_for_each_other(void **state)
{
    (void)state;
    struct got *g[40];
    fake_set("b", "m", "m");
    for (int i = 0; i < 40; i++)
        g[i] = i % 2 ? rename_to("n", "m", false) : rename_to("m", "n", false);
    for (int i = 0; i < 40; i++)
        assert_int_equal(wait_for(g[i]), 0);
    assert_true(fake_has("b", "m", "m"));
}

static void
a_full_queue_refuses(void **state)
{
    (void)state;
    sf_writer_free(writer);
    writer_start(1, 3);
    fake_close(FAKE_DELETE);
    struct got *g[3];
    for (int i = 0; i < 3; i++)
        g[i] = delete_key("k");
    struct got *over = delete_key("k");
    assert_true(has_come(over));
    assert_int_equal(wait_for(over), -EAGAIN);
    fake_open(FAKE_DELETE);
    for (int i = 0; i < 3; i++)
        assert_int_equal(wait_for(g[i]), -ENOENT);
    assert_int_equal(sf_writer_drain(writer, sf_clock_ms() + 5000), 0);
    assert_int_equal(wait_for(delete_key("k")), -ENOENT); /* and takes again */
}

static void *
open_later(void *arg)
{
    (void)arg;
    usleep(100000);
    fake_open(FAKE_DELETE);
    return NULL;
}

static void
free_cancels_what_waits(void **state)
{
    (void)state;
    pthread_t t;
    struct got *g[20];
    fake_set("b", "k", "k");
    fake_close(FAKE_DELETE);
    for (int i = 0; i < 20; i++)
        g[i] = delete_key("k");
    fake_wait_at_gate(FAKE_DELETE, 1);
    assert_int_equal(sf_writer_drain(writer, sf_clock_ms() + 50), 20);
    assert_int_equal(pthread_create(&t, NULL, open_later, NULL), 0);
    sf_writer_free(writer);
    pthread_join(t, NULL);
    assert_int_equal(g[0]->calls, 1);
    assert_int_equal(g[0]->err.code, 0); /* it ran */
    for (int i = 1; i < 20; i++) {
        assert_int_equal(g[i]->calls, 1);
        assert_int_equal(g[i]->err.code, -ECANCELED);
    }
    assert_int_equal(fake_count(FAKE_DELETE), 1);
    writer_start(1, 0);
}

/* ---- the queue by itself ----------------------------------------------------------------------
 */

#define KEYS 6
#define JOBS 3000

struct tick {
    struct sf_job job;
    int keys[2];
    unsigned n, numbers[2];
};

static struct sf_queue *queue;
static _Atomic unsigned inside[KEYS], next_number[KEYS], wrong, ran;

static void
tick_run(struct sf_job *job, const struct sf_err *refused)
{
    struct tick *t = (struct tick *)job;
    for (unsigned i = 0; i < t->n; i++) {
        if (atomic_fetch_add(&inside[t->keys[i]], 1) != 0)
            wrong++;
        if (atomic_fetch_add(&next_number[t->keys[i]], 1) != t->numbers[i])
            wrong++;
    }
    if (!refused && t->n == 2)
        usleep(10);
    for (unsigned i = 0; i < t->n; i++)
        atomic_fetch_sub(&inside[t->keys[i]], 1);
    ran++;
    free(t);
}

static void
many_jobs_on_few_keys(void **state)
{
    (void)state;
    static const char *const names[KEYS] = {"a", "b", "c", "d", "e", "f"};
    unsigned given[KEYS] = {0};
    wrong = ran = 0;
    assert_int_equal(sf_queue_new("test", 8, JOBS, &queue), 0);
    for (int i = 0; i < JOBS; i++) {
        struct tick *t = calloc(1, sizeof *t);
        assert_non_null(t);
        t->job.run = tick_run;
        t->keys[0] = i % KEYS;
        t->keys[1] = (i * 7 + i / KEYS) % KEYS;
        t->n = t->keys[0] == t->keys[1] ? 1 : 2;
        for (unsigned k = 0; k < t->n; k++)
            t->numbers[k] = given[t->keys[k]]++;
        struct sf_job_key keys[2] = {{"bucket", names[t->keys[0]]}, {"bucket", names[t->keys[1]]}};
        sf_queue_add(queue, &t->job, keys, 2);
    }
    assert_int_equal(sf_queue_drain(queue, sf_clock_ms() + 20000), 0);
    sf_queue_free(queue);
    assert_int_equal(ran, JOBS);
    assert_int_equal(wrong, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rename_between_put_and_delete, setup, teardown),
        cmocka_unit_test_setup_teardown(one_worker_keeps_two_keys, setup, teardown),
        cmocka_unit_test_setup_teardown(a_busy_key_stops_nobody_else, setup, teardown),
        cmocka_unit_test_setup_teardown(crossing_renames_do_not_wait_for_each_other, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_full_queue_refuses, setup, teardown),
        cmocka_unit_test_setup_teardown(free_cancels_what_waits, setup, teardown),
        cmocka_unit_test(many_jobs_on_few_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
