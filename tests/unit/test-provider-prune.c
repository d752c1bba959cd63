/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Ids that are there: of a mount that was killed, told by hand, removed, and those that nobody
 * needs any more. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/want-world.h"
#include "provider/ids.h"

/* A mount that was killed in the middle: what it left is found when its file is wanted again. */
static void
test_killed(void **state)
{
    struct world *w = *state;
    struct ask a = {.key = "k", .etag = "1", .fill = 'a', .size = 900};
    struct ask b = {.key = "l", .etag = "1", .fill = 'b', .size = 800};
    for (int i = 0; i < MOUNTS; i++)
        open_mount(w, i, true);
    /* Its answer never comes: as if the process had died. */
    for (int i = 0; i < 2; i++) {
        plan(w, NULL, true);
        assert_true(start_of(w, 0, "toy", i ? &b : &a, false, 0));
        await_uploads(w, 1);
        sf_providers_stop(w->ps[0]);
        wait_for(i ? &b : &a);
        close_mount(w, 0);
        plan(w, NULL, false);
        for (int k = 0; k < 1000 && seen(w, &w->waiting); k++)
            got_sleep(5);
        open_mount(w, 0, true);
    }
    /* The first one had been taken, the second one not. */
    assert_int_equal(w->n_files, 2);
    vanish(w, 1);
    unsigned requests = toy_counts(w->toy)->requests;
    assert_int_equal(known(w, &a).phase, SF_WANT_NONE);
    got_sleep(50);
    assert_int_equal(toy_counts(w->toy)->requests, requests); /* nobody asks of its own accord */
    assert_string_equal(get(w, &a), "f0");
    assert_true(a.wanted.adopted);
    assert_false(a.wanted.uploaded);
    assert_true(known(w, &a).ours);
    assert_string_equal(w->claims[0].id, "f0");
    assert_int_equal(seen(w, &w->uploads), 2);
    assert_string_equal(get(w, &b), "f2");
    assert_true(b.wanted.uploaded);
    assert_int_equal(seen(w, &w->uploads), 3);
}

static void
test_adopt_and_remove(void **state)
{
    struct world *w = *state;
    struct ask a = {.key = "k", .etag = "1", .fill = 'a', .size = 900};
    struct ask b = {.key = "l", .etag = "1", .fill = 'b', .size = 900};
    struct ask c = {.key = "m", .etag = "1", .fill = 'b', .size = 901};
    struct sf_want_file f;
    struct sf_want_about about;
    struct sf_provider_file at = {.id = "f0", .bytes = 900};
    open_mount(w, 0, true);
    assert_string_equal(get(w, &a), "f0");
    assert_int_equal(sf_want_about(w->ps[0], "toy", &at, &about), 0);
    assert_true(about.ours);
    assert_string_equal(about.sha256, a.wanted.sha256);
    f = file_of(&c);
    assert_true(sf_want_adopt(w->ps[0], "toy", &f, "f0", wanted, &c));
    wait_for(&c);
    assert_int_equal(c.wanted.rc, -EINVAL);
    assert_int_equal(known(w, &c).phase, SF_WANT_NONE); /* that is no error of the file */
    f = file_of(&b);
    b.released = false;
    assert_true(sf_want_adopt(w->ps[0], "toy", &f, "f99", wanted, &b));
    wait_for(&b);
    assert_int_equal(b.wanted.rc, -ENOENT);
    b.released = false;
    b.calls = 0;
    assert_true(sf_want_adopt(w->ps[0], "toy", &f, "f0", wanted, &b));
    wait_for(&b);
    assert_int_equal(b.wanted.rc, 0);
    assert_string_equal(get(w, &b), "f0");
    assert_false(known(w, &b).ours);
    assert_int_equal(seen(w, &w->uploads), 1);
    assert_int_equal(sf_want_forget(w->ps[0], "toy", &f), 0);
    assert_int_equal(sf_want_forget(w->ps[0], "toy", &f), -ENOENT);
    assert_int_equal(known(w, &b).phase, SF_WANT_NONE);
    b.calls = 0;
    assert_true(sf_want_remove(w->ps[0], "toy", "f0", wanted, &b));
    for (int i = 0; i < 1000 && !b.calls; i++)
        got_sleep(5);
    assert_int_equal(b.wanted.rc, 0);
    assert_true(w->files[0].gone);
    assert_int_equal(sf_want_remove(w->ps[0], "toy", "../x", wanted, &b), 0);
    assert_int_equal(b.wanted.rc, -EINVAL);
}

/* Where nothing can be noted nothing is sent: nobody would know of it. */
static void
test_state_dir(void **state)
{
    struct world *w = *state;
    struct sf_providers_opts o = {.state_dir = "/dev/null"};
    struct ask a = {.key = "k", .etag = "1", .fill = 'a', .size = 900};
    struct sf_err err = SF_ERR_INIT;
    struct sf_ids *ids;
    char dir[80];
    assert_int_equal(sf_providers_open(w->http, &w->confs, &o, &w->ps[0], &err), -ENOTDIR);
    assert_true(err.msg[0]);
    assert_null(w->ps[0]);
    /* A full one. */
    snprintf(dir, sizeof dir, "%s/providers", w->dir[0]);
    assert_int_equal(
        sf_ids_open(&(struct sf_ids_opts){.dir = dir, .max_bytes = 1 << 20}, &ids, NULL), 0);
    for (unsigned i = 0, rc = 0; !rc; i++) {
        struct sf_id_key key = {.provider = "p", .account = "a", .purpose = "x"};
        struct sf_id_row row = {.bytes = i};
        snprintf(key.sha256, sizeof key.sha256, "%064x", i);
        snprintf(row.id, sizeof row.id, "%0250u", i);
        rc = (unsigned)sf_ids_put(ids, &key, &row);
        assert_true(i < 100000);
    }
    sf_ids_close(ids);
    open_mount(w, 0, true);
    assert_string_equal(get(w, &a), "ENOSPC");
    assert_non_null(strstr(a.wanted.fault.text, "state directory"));
    assert_int_equal(seen(w, &w->uploads), 0);
    assert_int_equal(seen(w, &w->settled), 1); /* another mount may */
    assert_int_equal(known(w, &a).phase, SF_WANT_FAILED);
}

static void
test_route(void **state)
{
    struct world *w = *state;
    struct ask a = {.key = "k", .etag = "1", .fill = 'a', .size = 900};
    struct sf_want_file f = file_of(&a);
    const struct sf_route_policy policy = {.need = SF_RN_FILE_ID};
    struct sf_route r;
    open_mount(w, 0, false);
    assert_int_equal(sf_providers_route(w->ps[0], &f, &policy, &r), 1);
    assert_int_equal(r.choice[0].provider, 1); /* "other" comes before "toy" */
    assert_string_equal(get(w, &a), "f0");
    assert_int_equal(sf_providers_route(w->ps[0], &f, &policy, &r), 1);
    assert_int_equal(r.choice[0].provider, 0); /* it has it */
    assert_int_equal(sf_providers_route(NULL, &f, &policy, &r), 0);
}

/* ---- prune ----------------------------------------------------------------------------------- */

struct pruner {
    int still[3]; /* of the files "k0", "k1", "k2" */
    char told[1024];
    atomic_uint calls, asked;
    atomic_bool slow;
    struct sf_pruned sum;
};

static int
is_still(void *arg, const char *bucket, const char *key, const char *id, const char *etag,
         uint64_t bytes)
{
    struct pruner *p = arg;
    assert_string_equal(bucket, "b");
    assert_string_equal(id, "1234");
    assert_string_equal(etag, "1");
    assert_true(bytes > 0);
    p->asked++;
    while (p->slow)
        got_sleep(5);
    return p->still[key[1] - '0'];
}

static void
told(void *arg, const struct sf_prune_file *f)
{
    static const char *const names[] = {"kept", "goes", "gone", "failed"};
    struct pruner *p = arg;
    size_t n = strlen(p->told);
    snprintf(p->told + n, sizeof p->told - n, "%s %s %s: %s\n", names[f->verdict], f->id, f->key,
             f->why);
}

static void
pruned(void *arg, const struct sf_pruned *sum)
{
    struct pruner *p = arg;
    p->sum = *sum;
    p->calls++;
}

static uint64_t
start_prune(struct world *w, struct pruner *p, const char *provider, bool yes)
{
    const struct sf_prune_args args = {
        .provider = provider, .yes = yes, .is_still = is_still, .tell = told, .arg = p};
    p->told[0] = '\0';
    p->calls = 0;
    return sf_want_prune(w->ps[0], &args, pruned, p);
}

static const char *
prune(struct world *w, struct pruner *p, const char *provider, bool yes)
{
    start_prune(w, p, provider, yes);
    for (int i = 0; i < 2000 && !p->calls; i++)
        got_sleep(5);
    assert_int_equal(p->calls, 1);
    return p->told;
}

static void
test_prune(void **state)
{
    struct world *w = *state;
    static char keys[3][4] = {"k0", "k1", "k2"};
    struct ask a[3], nameless = {.key = "n", .fill = 'n', .size = 60};
    struct pruner p = {.still = {1, 0, -EIO}};
    open_mount(w, 0, true);
    for (int i = 0; i < 3; i++) {
        a[i] = (struct ask){.key = keys[i],
                            .etag = "1",
                            .id = "1234",
                            .fill = (char)('a' + i),
                            .size = 50 + (uint64_t)i};
        get_of(w, 0, i == 2 ? "other" : "toy", &a[i], false);
        assert_int_equal(a[i].wanted.rc, 0);
    }
    close_mount(w, 0); /* names are noted behind */
    open_mount(w, 0, true);
    /* Dry: one that is not needed, one that may be. */
    assert_string_equal(prune(w, &p, "toy", false),
                        "goes f1 k1: no file has this content any more\n");
    assert_int_equal(p.sum.rc, 0);
    assert_int_equal(p.sum.seen, 2);
    assert_int_equal(p.sum.gone, 1);
    assert_int_equal(p.sum.bytes, 51);
    assert_string_equal(prune(w, &p, "other", true),
                        "kept f2 k2: it cannot be told whether its file is the same still\n");
    assert_int_equal(seen(w, &w->deletes), 0);
    /* The tables know another file with it; or it is the same file, by another content. */
    w->found = "sha256";
    assert_string_equal(prune(w, &p, "toy", true),
                        "kept f1 k1: the project's tables know another file with it\n");
    w->found = "provider_file_id";
    assert_string_equal(prune(w, &p, "toy", false),
                        "goes f1 k1: no file has this content any more\n");
    w->found = NULL;
    w->tables_rc = -EIO;
    assert_string_equal(prune(w, &p, "toy", true),
                        "kept f1 k1: the project's tables cannot be asked\n");
    w->tables_rc = 0;
    assert_int_equal(seen(w, &w->deletes), 0);
    close_mount(w, 0); /* they rest in that one */
    open_mount(w, 0, true);
    /* All of them, and now for good. */
    p.still[2] = 0;
    prune(w, &p, NULL, true);
    assert_non_null(strstr(p.told, "gone f1 k1: "));
    assert_non_null(strstr(p.told, "gone f2 k2: "));
    assert_int_equal(p.sum.gone, 2);
    assert_int_equal(seen(w, &w->deletes), 2);
    assert_int_equal(seen(w, &w->dropped), 2);
    assert_int_equal(known(w, &a[1]).phase, SF_WANT_NONE);
    assert_string_equal(known(w, &a[0]).id, "f0");
    assert_string_equal(prune(w, &p, NULL, true), "");
    assert_int_equal(p.sum.seen, 1);
    /* One without a version, so nobody can tell whether its file is the same. */
    get(w, &nameless);
    assert_string_equal(prune(w, &p, NULL, true),
                        "kept f3 : it is not known for which file it was uploaded\n");
    assert_string_equal(prune(w, &p, "none", true), "");
    assert_int_equal(p.sum.rc, -ENOENT);
    assert_int_equal(sf_want_prune(NULL, &(struct sf_prune_args){.provider = NULL}, pruned, &p), 0);
    assert_int_equal(p.sum.rc, -ENOENT);
}

/* What prune borrows is its caller's until the end, also when it is cancelled. */
static void
test_prune_cancelled(void **state)
{
    struct world *w = *state;
    struct ask a = {.key = "k0", .etag = "1", .id = "1234", .fill = 'a', .size = 50};
    struct pruner p = {.slow = true};
    open_mount(w, 0, false);
    assert_string_equal(get(w, &a), "f0");
    close_mount(w, 0);
    open_mount(w, 0, false);
    uint64_t id = start_prune(w, &p, "toy", true);
    assert_true(id);
    assert_true(got_reaches(&p.asked, 1));
    sf_want_cancel(w->ps[0], id);
    got_sleep(50);
    assert_int_equal(p.calls, 0);
    p.slow = false;
    for (int i = 0; i < 2000 && !p.calls; i++)
        got_sleep(5);
    assert_int_equal(p.sum.rc, -ECANCELED);
    assert_int_equal(seen(w, &w->deletes), 0);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_killed),           TEST(test_prune),     TEST(test_prune_cancelled),
        TEST(test_adopt_and_remove), TEST(test_state_dir), TEST(test_route),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
