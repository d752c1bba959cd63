/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_TESTS_KEEP_FIXTURE_H
#define SF_TESTS_KEEP_FIXTURE_H

#include "write-fixture.h"

/* Included once by tests of what is acknowledged when the journal has it, and of a start after a
 * crash. */

/* One keep: answered twice. */
struct keep {
    struct got *kept, *settled;
};

static void
on_kept(void *arg, const struct sf_err *err)
{
    struct keep *k = arg;
    struct got *settled = k->settled;
    bool over = err != NULL;
    on_commit(k->kept, err, NULL);
    if (over) /* nothing more comes */
        on_commit(settled, err, NULL);
}

static void
on_settled(void *arg, const struct sf_err *err, const struct sf_commit *done)
{
    struct keep *k = arg;
    on_commit(k->settled, err, done);
}

static struct keep keeps[64];
static unsigned n_keeps;

__attribute__((unused)) static struct keep *
keep_with(struct sf_content *c, const struct sf_commit_args *args)
{
    struct keep *k = &keeps[n_keeps++ % 64];
    *k = (struct keep){got_new(), got_new()};
    sf_content_keep(c, args, on_kept, on_settled, k);
    return k;
}

__attribute__((unused)) static struct keep *
keep(struct sf_content *c, bool exists)
{
    return keep_with(c, &(struct sf_commit_args){.exists = exists});
}

__attribute__((unused)) static void
set(struct sf_content *c, const char *text)
{
    assert_int_equal(sf_content_truncate(c, 0), 0);
    assert_int_equal(sf_content_write(c, text, strlen(text), 0), strlen(text));
}

static bool plain; /* what begins after a crash does so with attrs=none */

/* What a process would find that begins now, if this one ended here. */
static char crashed[80];

__attribute__((unused)) static void
crash_here(void)
{
    char cmd[400];
    snprintf(crashed, sizeof crashed, "%s.crashed", state_dir);
    snprintf(cmd, sizeof cmd, "rm -rf %s && cp -a %s %s", crashed, state_dir, crashed);
    assert_int_equal(system(cmd), 0);
}

/* And it begins; @lose: what was not synced of the staging files is gone. */
__attribute__((unused)) static void
after_the_crash(bool lose)
{
    char cmd[400];
    sf_writer_free(writer);
    snprintf(cmd, sizeof cmd, "rm -rf %s && mv %s %s%s%s", state_dir, crashed, state_dir,
             lose ? " && rm -f " : "", lose ? state_dir : "");
    if (lose)
        snprintf(cmd + strlen(cmd), sizeof cmd - strlen(cmd), "/staging/*");
    assert_int_equal(system(cmd), 0);
    writer_start_with((struct sf_writer_opts){.workers = 4, .plain = plain});
}

__attribute__((unused)) static void
wait_until(const char *key, const char *text)
{
    for (int i = 0; i < 1000 && !fake_has("b", key, text); i++)
        usleep(5000);
    assert_true(fake_has("b", key, text));
}

__attribute__((unused)) static void
expect_pending(unsigned n)
{
    struct sf_writer_stats st;
    assert_int_equal(sf_writer_drain(writer, sf_clock_ms() + 5000), 0);
    for (int i = 0; i < 200; i++) {
        sf_writer_stats(writer, &st);
        if (st.pending == n)
            break;
        usleep(10000);
    }
    assert_int_equal(st.pending, n);
}

__attribute__((unused)) static void
expect_no_conflict(void)
{
    assert_null(strstr(fake_order(), "conflict"));
}

#endif
