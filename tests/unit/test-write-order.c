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

/* ---- prefixes ---------------------------------------------------------------------------------
 */

/* What the order means, said in the plainest way: two keys are in each other's way if they are
 * equal or one is a prefix of the kind that stands for all below. */
static bool
keys_conflict(const char *a, const char *b)
{
    size_t na = strlen(a), nb = strlen(b);
    bool all_a = !na || a[na - 1] == '/', all_b = !nb || b[nb - 1] == '/';
    return !strcmp(a, b) || (all_a && !strncmp(a, b, na)) || (all_b && !strncmp(b, a, nb));
}

enum model_state { WAITS, RUNS, ENDED };

struct model_job {
    struct sf_job job;
    unsigned number, n;
    const char *keys[2], *buckets[2];
    bool keep;
};

#define MODEL_JOBS 2000

static pthread_mutex_t model_lock = PTHREAD_MUTEX_INITIALIZER;
static struct model_job model[MODEL_JOBS];
static enum model_state model_state[MODEL_JOBS];
static unsigned model_added, model_wrong, model_peak;
static struct sf_place *kept_place;
static unsigned kept_number;

static bool
jobs_conflict(const struct model_job *a, const struct model_job *b)
{
    for (unsigned i = 0; i < a->n; i++)
        for (unsigned k = 0; k < b->n; k++)
            if (!strcmp(a->buckets[i], b->buckets[k]) && keys_conflict(a->keys[i], b->keys[k]))
                return true;
    return false;
}

static void
model_end_locked(unsigned number)
{
    model_state[number] = ENDED;
}

/* Let go of what an earlier job kept. */
static void
model_let_go(void)
{
    pthread_mutex_lock(&model_lock);
    struct sf_place *p = kept_place;
    kept_place = NULL;
    if (p)
        model_end_locked(kept_number);
    pthread_mutex_unlock(&model_lock);
    sf_queue_leave(queue, p);
}

static void
model_run(struct sf_job *job, const struct sf_err *refused)
{
    struct model_job *m = (struct model_job *)job;
    unsigned running = 0;
    assert_null(refused);
    pthread_mutex_lock(&model_lock);
    for (unsigned i = 0; i < model_added; i++) {
        bool early = i < m->number && model_state[i] != ENDED;
        bool late = i > m->number && model_state[i] != WAITS;
        running += model_state[i] == RUNS;
        if ((early || late) && jobs_conflict(m, &model[i]))
            model_wrong++;
    }
    if (running > model_peak)
        model_peak = running;
    model_state[m->number] = RUNS;
    pthread_mutex_unlock(&model_lock);
    model_let_go();
    if (m->number % 3 == 0)
        usleep(m->number % 50);
    pthread_mutex_lock(&model_lock);
    if (m->keep && !kept_place) {
        kept_place = sf_queue_keep(job);
        kept_number = m->number;
    } else {
        model_end_locked(m->number);
    }
    pthread_mutex_unlock(&model_lock);
}

static void
random_jobs_keep_the_order_of_the_model(void **state)
{
    (void)state;
    static const char *const names[] = {"",    "a/",    "a/b/", "a/b/c", "a/b/d", "a/x", "a",
                                        "ab/", "ab/x",  "z",    "q//r",  "q/",    "q//", "a/b/c/",
                                        "z1",  "a/b/e", "z2",   "z3",    "z4",    "z5"};
    static const char *const buckets[] = {"p", "q"};
    unsigned seed = (unsigned)sf_clock_ns();
    print_message("seed %u\n", seed);
    srandom(seed);
    model_added = model_wrong = model_peak = 0;
    memset(model_state, 0, sizeof model_state);
    memset(model, 0, sizeof model);
    assert_int_equal(sf_queue_new("test", 6, MODEL_JOBS, &queue), 0);
    for (unsigned i = 0; i < MODEL_JOBS; i++) {
        struct model_job *m = &model[i];
        m->job.run = model_run;
        m->number = i;
        m->n = 1 + (unsigned)random() % 2;
        m->keep = random() % 8 == 0;
        struct sf_job_key keys[2];
        for (unsigned k = 0; k < m->n; k++) {
            /* prefixes now and then, else nothing would run beside anything */
            unsigned from = random() % 4 ? 3 : 0;
            m->keys[k] = names[from + (unsigned)random() % (20 - from)];
            m->buckets[k] = buckets[random() % 2];
            keys[k] = (struct sf_job_key){m->buckets[k], m->keys[k]};
        }
        pthread_mutex_lock(&model_lock);
        model_added = i + 1;
        pthread_mutex_unlock(&model_lock);
        sf_queue_add(queue, &m->job, keys, m->n);
        if (random() % 16 == 0)
            usleep((unsigned)random() % 200);
    }
    int64_t until = sf_clock_ms() + 20000;
    while (sf_queue_drain(queue, sf_clock_ms() + 5) && sf_clock_ms() < until)
        model_let_go();
    assert_int_equal(sf_queue_drain(queue, sf_clock_ms()), 0); /* nobody waits for ever */
    sf_queue_free(queue);
    assert_int_equal(model_wrong, 0);
    assert_true(model_peak > 0); /* and the order is not that of a single file */
}

/* Jobs that run until they are told to end. */
struct gated {
    struct sf_job job;
    _Atomic bool begun, may_end, ended;
};

static void
gated_run(struct sf_job *job, const struct sf_err *refused)
{
    struct gated *g = (struct gated *)job;
    (void)refused;
    g->begun = true;
    while (!g->may_end)
        usleep(1000);
    g->ended = true;
}

static void
add_gated(struct gated *g, const char *key, const char *second)
{
    struct sf_job_key keys[2] = {{"b", key}, {"b", second}};
    g->job.run = gated_run;
    sf_queue_add(queue, &g->job, keys, second ? 2 : 1);
}

static bool
begins(struct gated *g)
{
    for (int i = 0; i < 5000 && !g->begun; i++)
        usleep(1000);
    return g->begun;
}

static unsigned waits;

static void
count_wait(void *arg)
{
    (void)arg;
    waits++;
}

static void
a_prefix_waits_for_what_is_below_and_holds_it_back(void **state)
{
    (void)state;
    struct gated below = {0}, beside = {0}, dir = {0}, later = {0}, outside = {0}, bucket = {0};
    waits = 0;
    assert_int_equal(sf_queue_new("test", 4, 100, &queue), 0);
    sf_queue_on_wait(queue, count_wait, NULL);
    add_gated(&below, "d/sub/file", NULL);
    add_gated(&beside, "d.txt", NULL);
    assert_true(begins(&below) && begins(&beside));
    assert_int_equal(waits, 0);
    add_gated(&dir, "d/", "e/");
    add_gated(&later, "d/other", NULL);
    add_gated(&bucket, "", NULL);
    assert_int_equal(waits, 3);
    add_gated(&outside, "f/g", NULL); /* behind the bucket's, which is behind all of them */
    assert_int_equal(waits, 4);
    usleep(20000);
    assert_false(dir.begun || later.begun || outside.begun || bucket.begun);
    below.may_end = true;
    assert_true(begins(&dir));
    usleep(20000);
    assert_false(later.begun || bucket.begun);
    dir.may_end = true;
    assert_true(begins(&later));
    later.may_end = true;
    usleep(20000);
    assert_false(bucket.begun);
    beside.may_end = true;
    assert_true(begins(&bucket));
    assert_false(outside.begun);
    bucket.may_end = outside.may_end = true;
    sf_queue_free(queue);
    assert_true(outside.ended);
}

/* A directory into one below it: refused above, but it must not wait for itself. */
static void
a_job_is_not_in_its_own_way(void **state)
{
    (void)state;
    struct gated into = {.may_end = true}, cross[2] = {{.may_end = true}, {.may_end = true}};
    assert_int_equal(sf_queue_new("test", 2, 100, &queue), 0);
    add_gated(&into, "d/", "d/e/f/");
    assert_true(begins(&into));
    for (int i = 0; i < 200; i++) {
        cross[0].begun = cross[1].begun = false;
        add_gated(&cross[0], "x/", "y/z");
        add_gated(&cross[1], "y/", "x/z");
        assert_true(begins(&cross[0]) && begins(&cross[1]));
        assert_int_equal(sf_queue_drain(queue, sf_clock_ms() + 5000), 0);
    }
    sf_queue_free(queue);
}

struct keeper {
    struct sf_job job;
    struct sf_place *place;
    _Atomic bool ran;
};

static void
keeper_run(struct sf_job *job, const struct sf_err *refused)
{
    struct keeper *k = (struct keeper *)job;
    (void)refused;
    k->place = sf_queue_keep(job);
    k->ran = true;
}

static void
lanes_that_are_kept_stay_taken(void **state)
{
    (void)state;
    struct keeper k = {.job = {.run = keeper_run}};
    struct gated next = {.may_end = true};
    assert_int_equal(sf_queue_new("test", 2, 100, &queue), 0);
    sf_queue_add(queue, &k.job, &(struct sf_job_key){"b", "k"}, 1);
    add_gated(&next, "k", NULL);
    while (!k.ran)
        usleep(1000);
    usleep(20000);
    assert_false(next.begun);
    assert_int_equal(sf_queue_drain(queue, sf_clock_ms() + 10), 2);
    sf_queue_leave(queue, k.place);
    assert_true(begins(&next));
    assert_int_equal(sf_queue_drain(queue, sf_clock_ms() + 5000), 0);
    sf_queue_leave(queue, NULL);
    sf_queue_free(queue);
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
        cmocka_unit_test(random_jobs_keep_the_order_of_the_model),
        cmocka_unit_test(a_prefix_waits_for_what_is_below_and_holds_it_back),
        cmocka_unit_test(a_job_is_not_in_its_own_way),
        cmocka_unit_test(lanes_that_are_kept_stay_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
