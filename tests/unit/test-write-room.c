/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "keep-fixture.h"

#include "store/env.h"

/* How much may be acknowledged before the bucket has it, who waits, and what is not sent at all
 * while the service fails. */

static void
restart_with(unsigned workers, uint64_t files, uint64_t bytes)
{
    sf_writer_free(writer);
    writer_start_with(
        (struct sf_writer_opts){.workers = workers, .behind_files = files, .behind_bytes = bytes});
}

/* ---- bounds --------------------------------------------------------------------------------- */

static void
beyond_the_bounds_it_waits(void **state)
{
    (void)state;
    struct sf_writer_stats st;
    restart_with(4, 2, 100);
    struct sf_content *c[4];
    struct keep *k[4];
    fake_close(FAKE_PUT);
    for (int i = 0; i < 4; i++) {
        char key[4] = {'k', (char)('0' + i)};
        c[i] = content(key, "text");
        k[i] = keep(c[i], false);
        if (i < 2)
            assert_int_equal(wait_for(k[i]->kept), 0);
    }
    usleep(50000);
    assert_false(has_come(k[2]->kept) || has_come(k[3]->kept));
    sf_writer_stats(writer, &st);
    assert_int_equal(st.behind_files, 2);
    assert_int_equal(st.behind_waiting, 2);
    set(c[0], "less"); /* who has a place need not wait */
    struct keep *again = keep(c[0], false);
    assert_int_equal(wait_for(again->kept), 0);
    assert_false(has_come(k[2]->kept));
    fake_open(FAKE_PUT);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(wait_for(k[i]->kept), 0);
        assert_int_equal(wait_for(k[i]->settled), 0);
    }
    assert_int_equal(wait_for(again->settled), 0);
    for (int i = 0; i < 4; i++)
        sf_content_unref(c[i]);
    expect_pending(0);
    sf_writer_stats(writer, &st);
    assert_int_equal(st.behind_files, 0);
    assert_int_equal(st.behind_bytes, 0);
    assert_int_equal(st.behind_waiting, 0);
}

static void
one_that_is_larger_goes_alone(void **state)
{
    (void)state;
    restart_with(4, 0, 10);
    struct sf_content *c = content("k", "more than ten bytes"), *d = content("l", "few");
    fake_close(FAKE_PUT);
    struct keep *k = keep(c, false);
    assert_int_equal(wait_for(k->kept), 0);
    struct keep *l = keep(d, false);
    usleep(30000);
    assert_false(has_come(l->kept));
    fake_open(FAKE_PUT);
    assert_int_equal(wait_for(l->settled), 0);
    assert_int_equal(wait_for(k->settled), 0);
    sf_content_unref(c);
    sf_content_unref(d);
}

/* @age_ms: of what waits. Nothing is tried again unless somebody asks for it, or a success does. */
static void
restart_with_age(int64_t age_ms)
{
    sf_writer_free(writer);
    writer_start_with((struct sf_writer_opts){
        .workers = 4, .retry_ms = 60000, .behind_files = 100, .behind_age_ms = age_ms});
}

static struct sf_writer_stats
stats(void)
{
    struct sf_writer_stats st;
    sf_writer_stats(writer, &st);
    return st;
}

static int
count_resting(void *arg, const struct sf_pending_row *r)
{
    *(unsigned *)arg += r->next_ms >= 0;
    return 0;
}

static int
take_first(void *arg, const struct sf_pending_row *r)
{
    *(uint64_t *)arg = r->seq;
    return 1;
}

static uint64_t
first_pending(void)
{
    uint64_t seq = 0;
    assert_int_equal(sf_writer_each_pending(writer, take_first, &seq), 1);
    return seq;
}

/* So many have failed, and wait to be tried again. */
static void
expect_resting(unsigned n)
{
    unsigned rest = 0;
    for (int i = 0; i < 1000 && rest != n; i++, usleep(5000)) {
        rest = 0;
        assert_int_equal(sf_writer_each_pending(writer, count_resting, &rest), 0);
    }
    assert_int_equal(rest, n);
}

static void
what_is_too_old_holds_up_others(void **state)
{
    (void)state;
    restart_with_age(50);
    fake_close(FAKE_PUT);
    struct sf_content *c = content("k", "text"), *d = content("l", "text");
    struct keep *k = keep(c, false);
    assert_int_equal(wait_for(k->kept), 0);
    fake_wait_at_gate(FAKE_PUT, 1);
    usleep(60000);
    set(c, "new"); /* its own age is not in its way */
    struct keep *again = keep(c, false);
    assert_int_equal(wait_for(again->kept), 0);
    struct keep *l = keep(d, false);
    usleep(30000);
    assert_false(has_come(l->kept));
    assert_int_equal(stats().behind_waiting, 1);
    fake_open(FAKE_PUT);
    assert_int_equal(wait_for(l->settled), 0);
    assert_int_equal(wait_for(again->settled), 0);
    assert_int_equal(wait_for(k->settled), 0);
    sf_content_unref(c);
    sf_content_unref(d);
}

/* While nothing is stored one may see whether anything can be: all else waits. */
static void
one_goes_by_while_nothing_is_stored(void **state)
{
    (void)state;
    struct sf_content *c[4];
    struct keep *k[4];
    restart_with_age(50);
    for (int i = 0; i < 4; i++)
        c[i] = content((char[]){'k', (char)('0' + i), 0}, "text");
    fake_fault(FAKE_PUT, 3, FAKE_REFUSED, -ECONNREFUSED);
    k[0] = keep(c[0], false);
    assert_int_equal(wait_for(k[0]->kept), 0);
    expect_resting(1);
    usleep(60000);
    k[1] = keep(c[1], false);
    assert_int_equal(wait_for(k[1]->kept), 0);
    expect_resting(2);
    set(c[1], "more text"); /* that one is in */
    struct keep *more = keep(c[1], false);
    assert_int_equal(wait_for(more->kept), 0);
    while (fake_count(FAKE_PUT) < 3)
        usleep(5000);
    expect_resting(2);
    for (int i = 2; i < 4; i++)
        k[i] = keep(c[i], false);
    usleep(30000);
    assert_false(has_come(k[2]->kept) || has_come(k[3]->kept));
    assert_int_equal(stats().behind_waiting, 2);
    assert_true(sf_writer_pending_retry(writer, 0, NULL) > 0);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(wait_for(k[i]->kept), 0);
        assert_int_equal(wait_for(k[i]->settled), 0);
        sf_content_unref(c[i]);
    }
    assert_int_equal(wait_for(more->settled), 0);
    expect_pending(0);
}

static void
one_that_cannot_be_sent_holds_up_nobody(void **state)
{
    (void)state;
    restart_with_age(50);
    fake_fail_key("stuck", -EIO);
    struct sf_content *c = content("stuck", "text");
    struct keep *k = keep(c, false), *l;
    assert_int_equal(wait_for(k->kept), 0);
    expect_resting(1);
    usleep(60000);
    for (int i = 0; i < 4; i++) { /* each finds the way */
        struct sf_content *d = content((char[]){'k', (char)('0' + i), 0}, "text");
        l = keep(d, false);
        assert_int_equal(wait_for(l->kept), 0);
        assert_int_equal(wait_for(l->settled), 0);
        (void)sf_writer_pending_retry(writer, 0, NULL);
        expect_resting(1);
        sf_content_unref(d);
    }
    expect_pending(1);
    struct sf_writer_stats st = stats();
    assert_int_equal(st.behind_stuck, 1);
    assert_int_equal(st.behind_files, 0);
    assert_int_equal(st.behind_bytes, 0);
    assert_int_equal(st.behind_since_ns, 0);
    set(c, "more text"); /* nor does it hold up itself */
    struct keep *again = keep(c, false);
    assert_int_equal(wait_for(again->kept), 0);
    assert_int_equal(stats().behind_bytes, 0);
    fake_fail_key("", 0);
    (void)sf_writer_pending_retry(writer, 0, NULL);
    assert_int_equal(wait_for(again->settled), 0);
    assert_int_equal(wait_for(k->settled), 0);
    assert_true(fake_has("b", "stuck", "more text"));
    sf_content_unref(c);
    expect_pending(0);
    assert_int_equal(stats().behind_stuck, 0);
}

/* While the service fails, what it was not sent is not: it is here alone. */
static void
what_was_not_sent_stays_here(void **state)
{
    (void)state;
    struct sf_content *c[6];
    struct keep *k[6];
    struct got *moved = got_new(), *gone = got_new();
    restart_with_age(0);
    fake_fail_key("*", -EIO);
    for (unsigned i = 0; i < 6; i++) {
        c[i] = content((char[]){'k', (char)('0' + i), 0}, "text");
        k[i] = keep(c[i], false);
        assert_int_equal(wait_for(k[i]->kept), 0);
        expect_resting(i + 1);
    }
    assert_int_equal(fake_count(FAKE_PUT), 1); /* that showed it */
    assert_false(sf_content_move_kept(c[0], "b", "moved", false, NULL, on_write, moved));
    assert_true(sf_content_move_kept(c[4], "b", "moved", false, NULL, on_write, moved));
    assert_int_equal(wait_for(moved), 0);
    assert_int_equal(sf_content_retarget(c[4], "b", "moved", false), 0);
    assert_true(sf_content_withdraw(c[5], on_write, gone));
    assert_int_equal(wait_for(gone), 0);
    assert_int_equal(wait_for(k[5]->settled), 0);
    assert_int_equal(fake_count(FAKE_PUT), 1);

    /* Whoever waits for the bucket is not put off. */
    assert_int_equal(wait_for(commit(c[2], false)), -EIO);
    assert_int_equal(fake_count(FAKE_PUT), 2);

    fake_fail_key("", 0);
    assert_int_equal(sf_writer_pending_retry(writer, first_pending(), NULL), 1);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(wait_for(k[i]->settled), 0); /* the first wakes the others */
    assert_true(fake_has("b", "moved", "text"));
    assert_null(fake_find("b", "k4"));
    assert_null(fake_find("b", "k5"));
    for (unsigned i = 0; i < 6; i++)
        sf_content_unref(c[i]);
    expect_pending(0);
    expect_no_conflict();
}

/* ---- a full journal ------------------------------------------------------------------------- */

#define MIB          (1 << 20)
#define JOURNAL_MAX  (256 * MIB)
#define FILLER_BYTES (1000 * 1000)

struct filler {
    struct sf_env_write w;
    unsigned n, rows; /* begun, and to be there; fewer than before: one goes */
    char *bytes;
};

static int
filler_run(struct sf_env_write *w, struct sf_txn *txn)
{
    struct filler *f = (struct filler *)w;
    char key[20]; /* of a length that the journal passes over */
    if (f->rows < f->n) {
        snprintf(key, sizeof key, "filler %03u", f->rows);
        return sf_txn_del(txn, 0, key, strlen(key));
    }
    for (unsigned i = f->n; i < f->rows; i++) {
        snprintf(key, sizeof key, "filler %03u", i);
        int rc = sf_txn_put(txn, 0, key, strlen(key), f->bytes, FILLER_BYTES);
        if (rc)
            return rc;
    }
    return 0;
}

/* There is room for less than a @filler more, and for one. */
static void
fill_journal(void)
{
    static const char *const tables[] = {"records", "meta"};
    char path[128];
    struct sf_env *env;
    struct filler f = {.w = {.run = filler_run}, .bytes = calloc(1, FILLER_BYTES)};
    snprintf(path, sizeof path, "%s/journal", state_dir);
    const struct sf_env_opts o = {
        .dir = path, .name = "x", .tables = tables, .n_tables = 2, .max_bytes = JOURNAL_MAX};
    sf_writer_free(writer);
    assert_int_equal(sf_env_open(&o, &env, NULL), 0);
    for (unsigned step = 64; step; step /= 4) {
        f.rows = f.n + step;
        for (; sf_env_write_wait(env, &f.w) == 0; f.rows += step)
            f.n = f.rows;
    }
    assert_true(f.n > 200);
    f.rows = f.n - 1;
    f.w.frees = true;
    assert_int_equal(sf_env_write_wait(env, &f.w), 0);
    sf_env_close(env);
    free(f.bytes);
    writer_start(4, 0);
}

static void
while_the_journal_is_full_it_waits(void **state)
{
    (void)state;
    enum { N = 30 };
    struct sf_content *c[N];
    struct keep *k[N];
    static char text[60001];
    memset(text, 'x', sizeof text - 1);
    fill_journal();
    fake_close(FAKE_PUT);
    for (int i = 0; i < N; i++) {
        c[i] = content((char[]){'k', (char)('A' + i), 0}, text);
        k[i] = keep(c[i], false);
    }
    fake_open(FAKE_PUT);
    for (int i = 0; i < N; i++) {
        int rc = wait_for(k[i]->kept); /* nobody waits for what will not come: then it is sent */
        assert_true(!rc || rc == -ENOSPC);
        assert_int_equal(rc ? wait_for(commit(c[i], false)) : wait_for(k[i]->settled), 0);
        assert_true(fake_has("b", (char[]){'k', (char)('A' + i), 0}, text));
        sf_content_unref(c[i]);
    }
    expect_pending(0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {TEST(beyond_the_bounds_it_waits),
                                       TEST(one_that_is_larger_goes_alone),
                                       TEST(what_is_too_old_holds_up_others),
                                       TEST(one_goes_by_while_nothing_is_stored),
                                       TEST(one_that_cannot_be_sent_holds_up_nobody),
                                       TEST(what_was_not_sent_stays_here)};
    const struct CMUnitTest large[] = {TEST(while_the_journal_is_full_it_waits)}; /* 256 MiB */
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return getenv("SF_SOAK") ? failed + cmocka_run_group_tests(large, NULL, NULL) : failed;
}
