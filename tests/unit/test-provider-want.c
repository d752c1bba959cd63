/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Ids of files: got or made, once for all who ask, here and in other mounts, whatever fails. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/want-world.h"
#include "base/str.h"
#include "provider/key.h"

static void
test_once(void **state)
{
    struct world *w = *state;
    struct ask a = {.key = "k", .etag = "1", .fill = 'a', .size = 5000};
    struct ask copy = {.key = "copy", .etag = "9", .fill = 'a', .size = 5000};
    struct ask other = {.key = "k", .etag = "2", .fill = 'b', .size = 5000};
    open_mount(w, 0, false);
    assert_int_equal(known(w, &a).phase, SF_WANT_NONE);
    assert_string_equal(get(w, &a), "f0");
    assert_true(a.wanted.uploaded);
    assert_string_equal(w->files[0].sha256, a.wanted.sha256);
    assert_int_equal(known(w, &a).phase, SF_WANT_READY);
    assert_string_equal(known(w, &a).id, "f0");
    assert_true(known(w, &a).ours);
    /* Known: nothing is read or asked. */
    unsigned requests = toy_counts(w->toy)->requests;
    assert_string_equal(get(w, &a), "f0");
    assert_false(a.wanted.uploaded);
    assert_int_equal(a.reads, 0);
    /* The same content elsewhere is read once, for its hash. */
    assert_string_equal(get(w, &copy), "f0");
    assert_true(copy.reads > 0);
    assert_string_equal(get(w, &copy), "f0");
    assert_int_equal(copy.reads, 0);
    assert_int_equal(toy_counts(w->toy)->requests, requests);
    /* Another content under the same name, another provider: others. */
    assert_string_equal(get(w, &other), "f1");
    assert_string_equal(get_of(w, 0, "other", &a, false), "f2");
    assert_int_equal(known(w, &other).phase, SF_WANT_READY);
    /* After the end of the mount it is known as before. */
    close_mount(w, 0);
    open_mount(w, 0, false);
    requests = toy_counts(w->toy)->requests;
    assert_string_equal(get(w, &a), "f0");
    assert_string_equal(get(w, &other), "f1");
    assert_int_equal(toy_counts(w->toy)->requests, requests);
    assert_int_equal(seen(w, &w->uploads), 3);
}

/* An object has its id through renames. */
static void
test_renamed(void **state)
{
    struct world *w = *state;
    struct ask a = {.key = "k", .etag = "1", .id = "0000", .fill = 'a', .size = 5000};
    struct ask b = {.key = "moved", .etag = "1", .id = "0000", .fill = 'a', .size = 5000};
    open_mount(w, 0, false);
    assert_string_equal(get(w, &a), "f0");
    assert_string_equal(get(w, &b), "f0");
    assert_int_equal(b.reads, 0);
}

static void
test_many(void **state)
{
    enum { N = 32 };
    struct world *w = *state;
    struct ask a[N];
    memset(a, 0, sizeof a);
    open_mount(w, 0, false);
    plan(w, NULL, true);
    /* Half of them ask by one name, the others by names of their own, with the same content. */
    for (int i = 0; i < N; i++) {
        static char keys[N][8];
        snprintf(keys[i], sizeof keys[i], "k%d", i % 2 ? i : 0);
        a[i].key = keys[i];
        a[i].etag = "1";
        a[i].fill = 'm';
        a[i].size = 300000;
        assert_true(start_of(w, 0, "toy", &a[i], false, 0));
    }
    await_uploads(w, 1);
    assert_int_equal(known(w, &a[0]).phase, SF_WANT_UNDER_WAY);
    assert_int_equal(known(w, &a[0]).total, 300000);
    plan(w, NULL, false);
    for (int i = 0; i < N; i++) {
        wait_for(&a[i]);
        assert_int_equal(a[i].wanted.rc, 0);
        assert_string_equal(a[i].wanted.id, "f0");
    }
    assert_int_equal(seen(w, &w->uploads), 1);
}

static void
test_two_mounts(void **state)
{
    enum { N = 8 };
    struct world *w = *state;
    struct ask a[N];
    memset(a, 0, sizeof a);
    for (int i = 0; i < MOUNTS; i++)
        open_mount(w, i, true);
    plan(w, NULL, true);
    for (int i = 0; i < N; i++) {
        a[i] = (struct ask){.key = "k", .etag = "1", .fill = 'm', .size = 3000};
        assert_true(start_of(w, i % 2, "toy", &a[i], false, 0));
    }
    await_uploads(w, 1);
    got_sleep(100);
    plan(w, NULL, false);
    for (int i = 0; i < N; i++) {
        wait_for(&a[i]);
        assert_string_equal(a[i].wanted.id, "f0");
    }
    assert_int_equal(seen(w, &w->uploads), 1);
    assert_int_equal(seen(w, &w->settled), 1);
    assert_int_equal(a[0].wanted.shared + a[1].wanted.shared, 1);
    struct sf_providers_figures f;
    assert_int_equal(sf_providers_figures(w->ps[0], "toy", &f), 0);
    assert_string_equal(f.tables, "on");
    assert_int_equal(f.ids, 1);
}

/* Where the tables cannot be asked each mount uploads for itself, at most once. */
static void
test_without_tables(void **state)
{
    static const int errors[] = {-ENOSYS, -EACCES, -EIO};
    static const char *const states[] = {"missing", "denied", "unreachable"};
    struct world *w = *state;
    for (size_t i = 0; i < 3; i++) {
        struct ask a = {.key = "k", .etag = states[i], .fill = (char)('0' + i), .size = 50};
        struct ask b = {.key = "l", .etag = states[i], .fill = (char)('x' + i), .size = 50};
        struct sf_providers_figures f;
        unsigned asked = seen(w, &w->asked), uploads = seen(w, &w->uploads);
        w->tables_rc = errors[i];
        for (int k = 0; k < MOUNTS; k++)
            open_mount(w, k, true);
        get_of(w, 0, "toy", &a, false);
        assert_true(a.wanted.uploaded);
        get_of(w, 0, "toy", &a, false);
        get_of(w, 1, "toy", &a, false);
        assert_true(a.wanted.uploaded);
        get_of(w, 0, "toy", &b, false);
        assert_int_equal(seen(w, &w->uploads), uploads + 3);
        assert_int_equal(seen(w, &w->asked), asked + 2); /* once by each, then they rest */
        sf_providers_figures(w->ps[0], "toy", &f);
        assert_string_equal(f.tables, states[i]);
        for (int k = 0; k < MOUNTS; k++)
            close_mount(w, k);
    }
}

/* A mount that claimed and died is waited for as long as its lease. */
static void
test_lease(void **state)
{
    struct world *w = *state;
    struct ask a = {.key = "k", .etag = "1", .fill = 'l', .size = 60};
    char sha256[65], all[60], account[65];
    open_mount(w, 0, true);
    memset(all, 'l', sizeof all);
    sha256_of(all, sizeof all, sha256);
    sf_provider_account(&w->conf[0], account);
    snprintf(w->claims[0].what, sizeof w->claims[0].what, "%s/toy/%s/file-extract", sha256,
             account);
    snprintf(w->claims[0].holder, sizeof w->claims[0].holder, "dead");
    w->claims[0].until_ms = got_now() + 2000;
    w->n_claims = 1;
    assert_true(start_of(w, 0, "toy", &a, false, 0));
    for (int i = 0; i < 300 && !known(w, &a).elsewhere; i++)
        got_sleep(5);
    assert_true(known(w, &a).elsewhere);
    assert_int_equal(a.calls, 0);
    wait_for(&a);
    assert_string_equal(a.wanted.id, "f0");
    assert_true(got_now() >= w->claims[0].until_ms);
    assert_string_equal(w->claims[0].id, "f0");
}

/* Our lease ran out, another mount uploaded it and was faster: theirs is the one. */
static void
test_overtaken(void **state)
{
    struct world *w = *state;
    struct ask a = {.key = "k", .etag = "1", .fill = 'o', .size = 60};
    open_mount(w, 0, true);
    plan(w, NULL, true);
    assert_true(start_of(w, 0, "toy", &a, false, 0));
    await_uploads(w, 1);
    pthread_mutex_lock(&w->lock);
    snprintf(w->claims[0].holder, sizeof w->claims[0].holder, "another");
    snprintf(w->claims[0].id, sizeof w->claims[0].id, "theirs");
    pthread_mutex_unlock(&w->lock);
    plan(w, NULL, false);
    wait_for(&a);
    assert_int_equal(a.wanted.rc, 0);
    assert_string_equal(a.wanted.id, "theirs");
    assert_true(a.wanted.shared);
    assert_false(a.wanted.uploaded);
    assert_true(w->files[0].gone); /* ours was deleted */
    assert_string_equal(known(w, &a).id, "theirs");
    assert_false(known(w, &a).ours);
}

static void
test_vanished(void **state)
{
    struct world *w = *state;
    struct ask a = {.key = "k", .etag = "1", .fill = 'v', .size = 60};
    open_mount(w, 0, true);
    assert_string_equal(get(w, &a), "f0");
    vanish(w, 0);
    sf_want_gone(w->ps[0], "toy", "f0");
    for (int i = 0; i < 1000 && !seen(w, &w->dropped); i++)
        got_sleep(5);
    assert_int_equal(known(w, &a).phase, SF_WANT_NONE);
    assert_string_equal(get(w, &a), "f1");
    assert_string_equal(w->claims[0].id, "f1");
}

/* An id that is believed for a while only is asked for afterwards. */
static void
test_lifetime(void **state)
{
    struct world *w = *state;
    struct ask a = {.key = "k", .etag = "1", .fill = 'v', .size = 60};
    open_mount(w, 0, true);
    w->conf[0].lifetime_ms = 1000;
    assert_string_equal(get(w, &a), "f0");
    assert_true(a.wanted.expires_s > 0);
    got_sleep(2100);
    assert_string_equal(get(w, &a), "f0");
    assert_int_equal(seen(w, &w->gets), 1);
    assert_int_equal(a.reads, 0);
    vanish(w, 0);
    got_sleep(2100);
    assert_string_equal(get(w, &a), "f1");
    assert_int_equal(seen(w, &w->dropped), 1);
    assert_int_equal(seen(w, &w->uploads), 2);
}

static void
test_key_change(void **state)
{
    struct world *w = *state;
    struct ask a = {.key = "k", .etag = "1", .fill = 'c', .size = 60};
    open_mount(w, 0, true);
    assert_string_equal(get(w, &a), "f0");
    provider_key_free(w->conf[0].key);
    assert_int_equal(provider_key_new(w->base, "another account", &w->conf[0].key), 0);
    assert_int_equal(known(w, &a).phase, SF_WANT_NONE);
    assert_string_equal(get(w, &a), "f1");
    assert_int_equal(a.reads, 1); /* its hash was known: read for the upload alone */
}

static void
test_changed(void **state)
{
    struct world *w = *state;
    struct ask a = {.key = "k", .etag = "1", .fill = 'x', .size = 900000, .error_at = 500000};
    open_mount(w, 0, false);
    /* While it is hashed. */
    assert_string_equal(get(w, &a), "EBUSY");
    assert_int_equal(seen(w, &w->uploads), 0);
    a.error_at = 0;
    assert_string_equal(get(w, &a), "f0");
    /* While it is sent: by the hash of before. */
    struct ask b = {.key = "k2", .etag = "1", .fill = 'y', .size = 900000};
    assert_string_equal(get(w, &b), "f1");
    vanish(w, 1);
    sf_want_gone(w->ps[0], "toy", "f1");
    for (int i = 0; i < 1000 && known(w, &b).phase == SF_WANT_READY; i++)
        got_sleep(5);
    b.error_at = 500000;
    assert_string_equal(get(w, &b), "EBUSY");
    assert_string_equal(b.wanted.fault.text, "the file changed while it was read");
    assert_int_equal(seen(w, &w->uploads), 2);
    /* Other bytes than those that were hashed, and nobody says so. */
    b.error_at = 0;
    b.fill = 'z';
    assert_string_equal(get(w, &b), "EBUSY");
    assert_int_equal(seen(w, &w->uploads), 2);
    assert_int_equal(known(w, &b).phase, SF_WANT_NONE);
}

static void
test_errors_are_remembered(void **state)
{
    struct world *w = *state;
    struct ask a = {.key = "k", .etag = "1", .fill = 'e', .size = 60};
    struct ask b = {.key = "l", .etag = "1", .fill = 'f', .size = 60};
    open_mount(w, 0, true);
    /* Of a content. */
    plan(w, "t", false);
    assert_string_equal(get(w, &a), sf_errno_name(sf_provider_class_info(SF_PC_TYPE)->err));
    assert_string_equal(get(w, &a), sf_errno_name(sf_provider_class_info(SF_PC_TYPE)->err));
    assert_int_equal(seen(w, &w->uploads), 1);
    assert_int_equal(known(w, &a).phase, SF_WANT_FAILED);
    assert_int_equal(known(w, &a).cls, SF_PC_TYPE);
    assert_true(known(w, &a).until_s > 0);
    assert_int_equal(known(w, &b).phase, SF_WANT_NONE);
    assert_string_equal(get(w, &b), "f0");                    /* no other one suffers */
    assert_string_equal(get_of(w, 0, "toy", &a, true), "f1"); /* asked for again */
    assert_int_equal(seen(w, &w->uploads), 3);
    /* Of the moment. */
    struct ask c = {.key = "m", .etag = "1", .fill = 'g', .size = 60};
    plan(w, "i", false);
    assert_string_equal(get(w, &c), "EINVAL");
    assert_string_equal(get(w, &c), "EINVAL");
    assert_int_equal(seen(w, &w->uploads), 4);
    assert_string_equal(get_of(w, 0, "toy", &c, true), "f2");
    /* Of the account: all others, but what is known. */
    struct ask d = {.key = "n", .etag = "1", .fill = 'h', .size = 60};
    struct ask e = {.key = "o", .etag = "1", .fill = 'i', .size = 60};
    plan(w, "q", false);
    get(w, &d);
    assert_int_equal(d.wanted.fault.cls, SF_PC_QUOTA);
    unsigned uploads = seen(w, &w->uploads);
    get(w, &e);
    assert_int_equal(e.wanted.fault.cls, SF_PC_QUOTA);
    assert_int_equal(e.reads, 0);
    assert_string_equal(get(w, &c), "f2");
    assert_int_equal(seen(w, &w->uploads), uploads);
    struct sf_providers_figures f;
    assert_int_equal(sf_providers_figures(w->ps[0], "toy", &f), 0);
    assert_int_equal(f.failed, 3);
    assert_non_null(strstr(f.last_error, "pay"));
}

static void
test_errors_are_forgotten(void **state)
{
    struct world *w = *state;
    struct ask a = {.key = "k", .etag = "1", .fill = 'e', .size = 60};
    w->remember_ms = 100;
    open_mount(w, 0, true);
    plan(w, "ti", false);
    assert_string_equal(get(w, &a), "EOPNOTSUPP");
    for (int i = 0; i < 2; i++) {
        for (int k = 0; k < 2000 && known(w, &a).phase == SF_WANT_FAILED; k++)
            got_sleep(5);
        assert_int_equal(known(w, &a).phase, SF_WANT_NONE);
        assert_string_equal(get(w, &a), i ? "f0" : "EINVAL");
    }
    assert_int_equal(seen(w, &w->uploads), 3);
}

static void
test_limits(void **state)
{
    struct world *w = *state;
    struct ask empty = {.key = "k", .etag = "1"};
    struct ask large = {.key = "k", .etag = "1", .size = 1000};
    struct sf_want_state s;
    const struct sf_want_file f = file_of(&empty);
    open_mount(w, 0, true);
    w->conf[0].max_bytes = 999;
    assert_string_equal(get(w, &large), "EFBIG");
    assert_string_equal(get(w, &empty), "EINVAL");
    assert_string_equal(get_of(w, 0, "none", &empty, false), "ENOENT");
    assert_int_equal(sf_want_known(w->ps[0], "none", &f, NULL, &s), -ENOENT);
    snprintf(w->conf[1].trouble, sizeof w->conf[1].trouble, "no key");
    assert_int_equal(large.reads + empty.reads, 0);
    assert_int_equal(toy_counts(w->toy)->requests, 0);
    assert_int_equal(seen(w, &w->asked), 0);
    /* No providers at all. */
    assert_int_equal(sf_want(NULL, "toy", &(struct sf_want_file){.size = 1}, NULL, wanted, &empty),
                     0);
    assert_int_equal(empty.wanted.rc, -ENOENT);
    assert_int_equal(sf_providers_confs(NULL)->n, 0);
    assert_null(sf_providers_one(NULL, "toy"));
    sf_want_cancel(NULL, 1);
    sf_want_gone(NULL, "toy", "x");
    sf_providers_stop(NULL);
    sf_providers_free(NULL);
}

static void
test_cancel(void **state)
{
    struct world *w = *state;
    struct ask a = {.key = "k", .etag = "1", .fill = 'a', .size = 900000, .blocks = true};
    struct ask b = {.key = "k", .etag = "1", .fill = 'a', .size = 900000};
    open_mount(w, 0, true);
    /* While it is read. */
    uint64_t id = start_of(w, 0, "toy", &a, false, 0);
    assert_true(got_reaches(&a.reads, 1));
    struct sf_want_state s;
    assert_int_equal(sf_want_watch(w->ps[0], id, &s), 0);
    assert_int_equal(s.phase, SF_WANT_UNDER_WAY);
    assert_true(s.reading);
    sf_want_cancel(w->ps[0], id);
    wait_for(&a);
    assert_int_equal(a.wanted.rc, -ECANCELED);
    assert_true(a.stopped);
    assert_int_equal(sf_want_watch(w->ps[0], id, &s), -ENOENT);
    sf_want_cancel(w->ps[0], id);
    assert_int_equal(seen(w, &w->uploads), 0);
    assert_int_equal(known(w, &a).phase, SF_WANT_NONE);
    /* One of two goes: the other one has its upload. */
    a.blocks = false;
    plan(w, NULL, true);
    id = start_of(w, 0, "toy", &a, false, 0);
    start_of(w, 0, "toy", &b, false, 0);
    await_uploads(w, 1);
    sf_want_cancel(w->ps[0], id);
    for (int i = 0; i < 1000 && !a.calls; i++)
        got_sleep(5);
    assert_int_equal(a.wanted.rc, -ECANCELED);
    plan(w, NULL, false);
    wait_for(&b);
    wait_for(&a);
    assert_string_equal(b.wanted.id, "f0");
    assert_int_equal(seen(w, &w->uploads), 1);
}

static void
test_cancel_whole(void **state)
{
    struct world *w = *state;
    struct ask a = {.key = "k", .etag = "1", .fill = 'a', .size = 900};
    open_mount(w, 0, true);
    plan(w, NULL, true);
    uint64_t id = start_of(w, 0, "toy", &a, false, 0);
    await_uploads(w, 1); /* the provider has all of it */
    sf_want_cancel(w->ps[0], id);
    for (int i = 0; i < 1000 && !a.calls; i++)
        got_sleep(5);
    assert_int_equal(a.wanted.rc, -ECANCELED);
    plan(w, NULL, false);
    for (int i = 0; i < 1000 && known(w, &a).phase != SF_WANT_READY; i++)
        got_sleep(5);
    wait_for(&a);
    assert_string_equal(known(w, &a).id, "f0");
    assert_string_equal(w->claims[0].id, "f0");
    assert_string_equal(get(w, &a), "f0");
    assert_int_equal(seen(w, &w->uploads), 1);
}

/* Those that cannot begin yet end when they must, and so does what waits. */
static void
test_deadline(void **state)
{
    enum { N = 20 };
    struct world *w = *state;
    struct ask a[N];
    memset(a, 0, sizeof a);
    open_mount(w, 0, false);
    plan(w, NULL, true);
    for (int i = 0; i < N; i++) {
        a[i].size = 100 + (uint64_t)i;
        a[i].key = "k";
        a[i].etag = "1";
        assert_true(start_of(w, 0, "toy", &a[i], false, 300));
    }
    for (int i = 0; i < N; i++) {
        wait_for(&a[i]);
        assert_int_equal(a[i].wanted.rc, -ETIMEDOUT);
    }
    plan(w, NULL, false);
    got_sleep(250);
    get_of(w, 0, "toy", &a[N - 1], true);
    assert_int_equal(a[N - 1].wanted.rc, 0);
}

static void
test_stop(void **state)
{
    enum { N = 20 };
    struct world *w = *state;
    struct ask a[N];
    memset(a, 0, sizeof a);
    open_mount(w, 0, true);
    plan(w, NULL, true);
    for (int i = 0; i < N; i++) {
        a[i].size = i % 3 ? 100 + (uint64_t)i : 5000000;
        a[i].blocks = i % 5 == 0;
        a[i].key = "k";
        a[i].etag = "1";
        assert_true(start_of(w, 0, i % 2 ? "toy" : "other", &a[i], false, 0));
    }
    got_sleep(200);
    int64_t began = got_now();
    sf_providers_stop(w->ps[0]);
    struct ask late = {.key = "late", .etag = "1", .size = 7};
    assert_string_equal(get(w, &late), "ECANCELED");
    close_mount(w, 0);
    assert_true(got_now() - began < 15000);
    for (int i = 0; i < N; i++) {
        assert_int_equal(a[i].calls, 1);
        assert_true(a[i].released);
        assert_int_equal(a[i].wanted.rc, -ECANCELED);
    }
}

/* A queue that is full says so at once. */
static void
test_full(void **state)
{
    struct world *w = *state;
    const struct sf_providers_opts o = {.state_dir = w->dir[0], .workers = 1, .waiting = 2};
    struct ask a[4];
    memset(a, 0, sizeof a);
    assert_int_equal(sf_providers_open(w->http, &w->confs, &o, &w->ps[0], NULL), 0);
    plan(w, NULL, true);
    for (int i = 0; i < 4; i++) {
        a[i].size = 100 + (uint64_t)i;
        a[i].key = "k";
        a[i].etag = "1";
        uint64_t id = start_of(w, 0, "toy", &a[i], false, 0);
        assert_int_equal(!id, i == 3);
        if (i == 0)
            await_uploads(w, 1);
    }
    wait_for(&a[3]);
    assert_int_equal(a[3].wanted.rc, -EBUSY);
    plan(w, NULL, false);
    for (int i = 0; i < 3; i++)
        wait_for(&a[i]);
}

static void
test_pending_and_lost(void **state)
{
    struct world *w = *state;
    struct ask a = {.key = "k", .etag = "1", .fill = 'a', .size = 900};
    struct ask b = {.key = "l", .etag = "1", .fill = 'b', .size = 901};
    struct ask c = {.key = "m", .etag = "1", .fill = 'c', .size = 902};
    open_mount(w, 0, true);
    w->polls = 2;
    assert_string_equal(get(w, &a), "f0");
    w->polls = 0;
    plan(w, "l", false);
    assert_string_equal(get(w, &b), "f1");
    assert_true(b.wanted.adopted);
    assert_int_equal(seen(w, &w->uploads), 2);
    /* Taken, and of no use: it does not stay there. */
    w->polls = -1;
    get(w, &c);
    assert_int_equal(c.wanted.fault.cls, SF_PC_EXTRACT);
    assert_true(w->files[2].gone);
    assert_int_equal(known(w, &c).cls, SF_PC_EXTRACT);
}

/* It has an id, and is not ready in time: both are known, and the id is good once it is. */
static void
test_not_ready(void **state)
{
    struct world *w = *state;
    struct ask a = {.key = "k", .etag = "1", .fill = 'a', .size = 900};
    open_mount(w, 0, true);
    w->polls = 8;
    assert_true(start_of(w, 0, "toy", &a, false, 700));
    wait_for(&a);
    assert_int_equal(a.wanted.rc, -ETIMEDOUT);
    for (int i = 0; i < 1000 && known(w, &a).phase != SF_WANT_FAILED; i++)
        got_sleep(5);
    assert_int_equal(known(w, &a).cls, SF_PC_TIMEOUT);
    assert_string_not_equal(known(w, &a).text, "");
    get_of(w, 0, "toy", &a, true);
    assert_string_equal(a.wanted.id, "f0");
    assert_int_equal(known(w, &a).phase, SF_WANT_READY);
    assert_int_equal(seen(w, &w->uploads), 1);
}

/* ---- chance ---------------------------------------------------------------------------------- */

enum { CONTENTS = 24, THREADS = 6 };

struct chance {
    struct world *w;
    unsigned seed, rounds;
    unsigned good, bad;
};

static unsigned
dice(unsigned *seed, unsigned sides)
{
    return (unsigned)rand_r(seed) % sides;
}

static void
content_of(struct ask *a, unsigned n)
{
    *a = (struct ask){.key = &"abcdefghijklmnopqrstuvwxyz"[n],
                      .etag = "1",
                      .fill = (char)('a' + n),
                      .size = 40 + n};
}

static bool
is_right(struct world *w, const struct sf_wanted *wanted)
{
    long i = strtol(wanted->id + 1, NULL, 10);
    pthread_mutex_lock(&w->lock);
    bool right = i >= 0 && i < w->n_files && !strcmp(w->files[i].sha256, wanted->sha256);
    pthread_mutex_unlock(&w->lock);
    return right;
}

static void *
ask_by_chance(void *arg)
{
    struct chance *c = arg;
    for (unsigned i = 0; i < c->rounds; i++) {
        struct ask a;
        unsigned mount = dice(&c->seed, MOUNTS), how = dice(&c->seed, 8);
        content_of(&a, dice(&c->seed, CONTENTS));
        if (how == 0)
            a.error_at = 20;
        a.blocks = how == 1;
        uint64_t id = start_of(c->w, (int)mount, dice(&c->seed, 2) ? "toy" : "other", &a,
                               dice(&c->seed, 2), how == 2 ? 10 : 0);
        if (how < 2 || how == 3) {
            got_sleep((int)dice(&c->seed, 20));
            sf_want_cancel(c->w->ps[mount], id);
        }
        if (how == 4)
            sf_want_gone(c->w->ps[mount], "toy", "f0");
        for (int k = 0; k < 6000 && !(a.calls && a.released); k++)
            got_sleep(5);
        if (a.calls != 1 || !a.released || (!a.wanted.rc && !is_right(c->w, &a.wanted)))
            abort();
        a.wanted.rc ? c->bad++ : c->good++;
    }
    return NULL;
}

/* Whatever happens to many at once, each hears once, gets the id of his own bytes or an error, and
 * nothing is lost: teardown() counts. */
static void
test_chance(void **state)
{
    struct world *w = *state;
    struct chance c[THREADS];
    pthread_t tids[THREADS];
    unsigned good = 0, bad = 0;
    for (int i = 0; i < MOUNTS; i++)
        open_mount(w, i, true);
    plan(w, ".t..i.l..t.i..l.t....i..l", false);
    for (unsigned i = 0; i < THREADS; i++) {
        c[i] = (struct chance){.w = w, .seed = i + 1, .rounds = getenv("SF_SOAK") ? 2000 : 40};
        assert_int_equal(pthread_create(&tids[i], NULL, ask_by_chance, &c[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(tids[i], NULL);
        good += c[i].good;
        bad += c[i].bad;
    }
    assert_true(good > 0 && bad > 0);
    plan(w, NULL, false);
    for (unsigned i = 0; i < CONTENTS; i++) {
        struct ask a;
        content_of(&a, i);
        get_of(w, 0, "other", &a, true);
        assert_int_equal(a.wanted.rc, 0);
        assert_true(is_right(w, &a.wanted));
    }
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_once),
        TEST(test_renamed),
        TEST(test_many),
        TEST(test_two_mounts),
        TEST(test_without_tables),
        TEST(test_lease),
        TEST(test_overtaken),
        TEST(test_vanished),
        TEST(test_lifetime),
        TEST(test_key_change),
        TEST(test_changed),
        TEST(test_errors_are_remembered),
        TEST(test_errors_are_forgotten),
        TEST(test_limits),
        TEST(test_cancel),
        TEST(test_cancel_whole),
        TEST(test_deadline),
        TEST(test_stop),
        TEST(test_full),
        TEST(test_pending_and_lost),
        TEST(test_chance),
        TEST(test_not_ready),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
