/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tables/tables.h"

#include <errno.h>
#include <ftw.h>
#include <jansson.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/lock.h"

/* What is known of an object, in the database and here: right whatever is on its way between the
 * two; from a page where many of a directory are asked for; and without a database as well. */

#define OBJECTS 2500
#define MAX_AGE 60000
#define SHA_DB  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define SHA     "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static char dir[64];
static struct sf_tables *tables;

/* ---- a database ------------------------------------------------------------------------------ */

static struct {
    struct sf_mutex lock; /* protects what follows */
    struct sf_cond changed;
    int fail;        /* what questions end with */
    int record_fail; /* and what batches end with */
    bool hold;       /* answers wait */
    unsigned singles, pages, batches, threads;
    int64_t accesses;    /* of d/0000 */
    char tag[20];        /* of all; "" = none */
    const char *sha;     /* likewise */
    const char *missing; /* an object that is not there, */
    const char *odd;     /* and how those begin of which no row can be made */
} db;

struct question {
    struct sf_dir_facts_args args;
    char *prefix, *after;
    uint64_t accesses; /* it is answered with what was there when it was asked */
    char tag[20];
    const char *tags[2];
    sf_dir_facts_fn cb;
    void *arg;
};

struct texts {
    char key[40], id[40], version[16];
};

static void
id_of(unsigned i, char out[40])
{
    snprintf(out, 40, "12eaf964-0000-4000-8000-%012u", i);
}

static struct sf_dir_facts
find(struct question *q, struct sf_dir_fact *rows, struct texts *texts)
{
    struct sf_dir_facts f = {.rows = rows};
    SF_GUARD(&db.lock);
    q->tags[0] = q->tag[0] ? q->tag : NULL;
    size_t odd = 0;
    for (unsigned i = 0; i < OBJECTS && f.n + odd < q->args.limit; i++) {
        struct texts *t = &texts[f.n];
        snprintf(t->key, sizeof t->key, "d/%04u", i);
        snprintf(t->version, sizeof t->version, "v%u", i);
        id_of(i, t->id);
        if (strncmp(t->key, q->prefix, strlen(q->prefix)) ||
            (q->after && strcmp(t->key, q->after) <= 0) ||
            (db.missing && !strcmp(db.missing, t->key)))
            continue;
        if (db.odd && !strncmp(t->key, db.odd, strlen(db.odd))) {
            odd++;
            continue;
        }
        rows[f.n++] = (struct sf_dir_fact){.key = t->key,
                                           .key_len = strlen(t->key),
                                           .id = t->id,
                                           .version = t->version,
                                           .etag = "\"e\"",
                                           .mime = "",
                                           .cache_control = "",
                                           .sha256 = db.sha,
                                           .metadata = "{\"i\":1}",
                                           .tags = q->tags,
                                           .n_tags = q->tags[0] != NULL,
                                           .size = i,
                                           .accesses = i ? i : q->accesses};
    }
    f.more = f.n + odd == q->args.limit;
    return f;
}

static void *
answer(void *arg)
{
    struct question *q = arg;
    struct sf_dir_fact *rows = calloc(1000, sizeof *rows);
    struct texts *texts = calloc(1000, sizeof *texts);
    struct sf_err err = SF_ERR_INIT;
    sf_mutex_lock(&db.lock);
    while (db.hold)
        sf_cond_wait(&db.changed, &db.lock);
    err.code = db.fail;
    sf_mutex_unlock(&db.lock);
    struct sf_dir_facts facts = find(q, rows, texts);
    q->cb(q->arg, err.code ? &err : NULL, err.code ? NULL : &facts);
    free(rows);
    free(texts);
    free(q->prefix);
    free(q->after);
    free(q);
    SF_GUARD(&db.lock);
    db.threads--;
    sf_cond_broadcast(&db.changed);
    return NULL;
}

static void
db_facts(void *arg, const struct sf_dir_facts_args *args, int64_t deadline_ms, sf_dir_facts_fn cb,
         void *cb_arg)
{
    (void)arg, (void)deadline_ms;
    pthread_t thread;
    struct question *q = calloc(1, sizeof *q);
    *q = (struct question){.args = *args, .cb = cb, .arg = cb_arg};
    q->prefix = strdup(args->prefix);
    q->after = args->after ? strdup(args->after) : NULL;
    sf_mutex_lock(&db.lock);
    q->accesses = (uint64_t)db.accesses;
    memcpy(q->tag, db.tag, sizeof q->tag);
    db.singles += args->limit == 1;
    db.pages += args->limit != 1;
    db.threads++;
    sf_mutex_unlock(&db.lock);
    assert_int_equal(pthread_create(&thread, NULL, answer, q), 0);
    pthread_detach(thread);
}

static int
db_record(void *arg, const char *json, size_t len, int64_t deadline_ms, bool *recorded,
          struct sf_err *err)
{
    (void)arg, (void)deadline_ms;
    json_t *args = json_loadb(json, len, 0, NULL), *one;
    size_t i;
    char first[40];
    id_of(0, first);
    SF_GUARD(&db.lock);
    int rc = db.record_fail;
    json_array_foreach(json_object_get(args, "p_accesses"), i, one)
    {
        if (!rc && !strcmp(json_string_value(json_object_get(one, "file_id")), first))
            db.accesses += json_integer_value(json_object_get(one, "n"));
    }
    json_array_foreach(json_object_get(args, "p_files"), i, one)
    {
        const char *tag = json_string_value(json_array_get(json_object_get(one, "tags"), 0));
        if (!rc && tag)
            snprintf(db.tag, sizeof db.tag, "%s", tag);
    }
    json_decref(args);
    if (rc)
        return sf_err_set(err, rc, "made to fail");
    db.batches++;
    sf_cond_broadcast(&db.changed);
    *recorded = true;
    return 0;
}

static int
db_about(void *arg, int64_t deadline_ms, unsigned *version, struct sf_err *err)
{
    (void)arg, (void)deadline_ms, (void)err;
    *version = 5;
    return 0;
}

static void
set(int *what, int value)
{
    SF_GUARD(&db.lock);
    *what = value;
}

static void
set_hold(bool hold)
{
    SF_GUARD(&db.lock);
    db.hold = hold;
    sf_cond_broadcast(&db.changed);
}

static void
wait_batches(unsigned n)
{
    SF_GUARD(&db.lock);
    while (db.batches < n)
        assert_int_equal(sf_cond_timedwait_ms(&db.changed, &db.lock, sf_clock_ms() + 20000), 0);
}

static void
expect_asked(unsigned singles, unsigned pages)
{
    SF_GUARD(&db.lock);
    assert_int_equal(db.singles, singles);
    assert_int_equal(db.pages, pages);
}

/* ---- the tables ------------------------------------------------------------------------------ */

static void
open_tables(void)
{
    static const struct sf_tables_peer peer = {
        .record = db_record, .about = db_about, .facts = db_facts};
    const struct sf_tables_opts opts = {
        .state_dir = dir, .interval_ms = 5, .retry_min_ms = 5, .retry_max_ms = 2000, .peer = &peer};
    struct sf_err err = SF_ERR_INIT;
    if (sf_tables_new(&opts, NULL, &tables, &err))
        fail_msg("%s", err.msg);
}

static int
setup(void **state)
{
    (void)state;
    memset(&db, 0, sizeof db);
    sf_mutex_init(&db.lock, 0);
    sf_cond_init(&db.changed);
    db.sha = SHA_DB;
    snprintf(dir, sizeof dir, "/tmp/supafs-ask.XXXXXX");
    assert_non_null(mkdtemp(dir));
    open_tables();
    return 0;
}

static int
remove_one(const char *path, const struct stat *st, int flag, struct FTW *f)
{
    (void)st, (void)flag, (void)f;
    return remove(path);
}

static int
teardown(void **state)
{
    (void)state;
    sf_tables_free(tables);
    sf_mutex_lock(&db.lock);
    while (db.threads)
        sf_cond_wait(&db.changed, &db.lock);
    sf_mutex_unlock(&db.lock);
    sf_cond_fini(&db.changed);
    sf_mutex_fini(&db.lock);
    return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* ---- asking ---------------------------------------------------------------------------------- */

struct got {
    struct sf_mutex lock; /* protects what follows */
    struct sf_cond changed;
    unsigned calls;
    int rc;
    struct sf_tables_row row; /* without its tags, which are: */
    char tags[80];
    uint64_t stamp; /* of an object */
};

static void
got_init(struct got *g)
{
    *g = (struct got){.rc = 1};
    sf_mutex_init(&g->lock, 0);
    sf_cond_init(&g->changed);
}

static void
got_row(void *arg, int rc, const struct sf_tables_row *row)
{
    struct got *g = arg;
    SF_GUARD(&g->lock);
    g->calls++;
    g->rc = rc;
    assert_true(!row == !!rc);
    if (row)
        g->row = *row;
    for (char **tag = row ? row->tags : NULL; tag && *tag; tag++)
        snprintf(g->tags + strlen(g->tags), sizeof g->tags - strlen(g->tags), "%s;", *tag);
    g->row.tags = NULL;
    sf_cond_signal(&g->changed);
}

static void
got_object(void *arg, int rc, const struct sf_dir_fact *row, uint64_t stamp, int64_t asked_ns)
{
    struct got *g = arg;
    assert_true(!row || (asked_ns > 0 && asked_ns <= sf_clock_ns()));
    SF_GUARD(&g->lock);
    g->calls++;
    g->rc = rc;
    g->stamp = stamp;
    assert_true(!row == !!rc);
    if (row)
        snprintf(g->row.id, sizeof g->row.id, "%s", row->id);
    sf_cond_signal(&g->changed);
}

static int
got_wait(struct got *g)
{
    sf_mutex_lock(&g->lock);
    while (!g->calls)
        assert_int_equal(sf_cond_timedwait_ms(&g->changed, &g->lock, sf_clock_ms() + 20000), 0);
    assert_int_equal(g->calls, 1);
    sf_mutex_unlock(&g->lock);
    sf_cond_fini(&g->changed);
    sf_mutex_fini(&g->lock);
    return g->rc;
}

static void
ask_begin(unsigned i, struct got *g)
{
    char key[16], id[40];
    snprintf(key, sizeof key, "d/%04u", i);
    id_of(i, id);
    got_init(g);
    sf_tables_ask(tables, "b", key, id, sf_clock_ms() + 20000, MAX_AGE, got_row, g);
}

static int
ask(unsigned i, struct got *g)
{
    ask_begin(i, g);
    return got_wait(g);
}

static bool
object_begin(unsigned i, uint64_t stamp, struct got *g)
{
    char key[16];
    snprintf(key, sizeof key, "d/%04u", i);
    got_init(g);
    return sf_tables_object(tables, "b", key, stamp, sf_clock_ms() + 20000, MAX_AGE, got_object, g);
}

static void
set_tags(unsigned i, const char *tag)
{
    char key[16], id[40];
    const char *const tags[] = {tag, NULL};
    snprintf(key, sizeof key, "d/%04u", i);
    id_of(i, id);
    const struct sf_file_fact f = {.bucket = "b", .key = key, .id = id, .etag = "\"e\""};
    sf_tables_set_tags(tables, &f, tags);
}

static void
access_first(void)
{
    unsigned char raw[16] = {0x12, 0xea, 0xf9, 0x64, 0, 0, 0x40, 0, 0x80};
    sf_tables_accessed(tables, raw, sf_wall_ns());
}

/* ---- one object ------------------------------------------------------------------------------ */

static void
test_database(void **state)
{
    struct got g;
    char id[40];
    (void)state;
    snprintf(db.tag, sizeof db.tag, "theirs");
    assert_int_equal(ask(7, &g), 0);
    id_of(7, id);
    assert_string_equal(g.row.id, id);
    assert_string_equal(g.row.version, "v7");
    assert_string_equal(g.row.etag, "\"e\"");
    assert_string_equal(g.row.sha256, SHA_DB);
    assert_string_equal(g.tags, "theirs;");
    assert_int_equal(g.row.size, 7);
    assert_int_equal(g.row.accesses, 7);
    expect_asked(1, 0);
    assert_int_equal(ask(7, &g), 0); /* it has just been said */
    expect_asked(1, 0);
    got_init(&g); /* that must not be, and it is another object */
    sf_tables_ask(tables, "b", "d/0007", "another", sf_clock_ms() + 20000, 0, got_row, &g);
    assert_int_equal(got_wait(&g), -ENOENT);
    expect_asked(2, 0);
    got_init(&g);
    sf_tables_ask(tables, "b", "d/9999", "", sf_clock_ms() + 20000, MAX_AGE, got_row, &g);
    assert_int_equal(got_wait(&g), -ENOENT);
    got_init(&g);
    sf_tables_ask(NULL, "b", "d/0007", id, 0, MAX_AGE, got_row, &g);
    assert_int_equal(got_wait(&g), -ENOENT);
}

/* What was noted before the question is in the answer, whether the database has it or not. */
static void
test_tags(void **state)
{
    struct got g;
    (void)state;
    for (unsigned i = 0; i < 100; i++) {
        char tag[16];
        snprintf(tag, sizeof tag, "t%u", i);
        set_hold(true);
        set_tags(7, tag);
        ask_begin(7, &g);
        if (i % 20 == 0) /* the database gets it before it answers as of before */
            wait_batches(i / 20 + 1);
        set_hold(false);
        assert_int_equal(got_wait(&g), 0);
        snprintf(tag, sizeof tag, "t%u;", i);
        assert_string_equal(g.tags, tag);
    }
}

/* What others have set since then counts, once the database has ours. */
static void
test_foreign_tags(void **state)
{
    struct got g;
    (void)state;
    set_tags(7, "mine");
    wait_batches(1);
    sf_tables_drain(tables, sf_clock_ms() + 20000);
    sf_mutex_lock(&db.lock);
    snprintf(db.tag, sizeof db.tag, "theirs");
    sf_mutex_unlock(&db.lock);
    assert_int_equal(ask(7, &g), 0);
    assert_string_equal(g.tags, "theirs;");
}

static void
test_hash(void **state)
{
    struct got g;
    char id[40];
    (void)state;
    id_of(7, id);
    struct sf_file_fact f = {
        .bucket = "b", .key = "d/0007", .id = id, .etag = "\"e\"", .sha256 = SHA, .size = 7};
    db.sha = "";
    sf_tables_note(tables, SF_OP_UPLOAD, &f, NULL, 7, 1, 0);
    assert_int_equal(ask(7, &g), 0);
    assert_string_equal(g.row.sha256, SHA); /* of the bytes that the database has, too */
    f.etag = "\"other\"";
    sf_tables_note(tables, SF_OP_UPLOAD, &f, NULL, 7, 1, 0);
    assert_int_equal(ask(7, &g), 0);
    assert_string_equal(g.row.sha256, "");
    assert_string_equal(g.row.etag, "\"e\"");
}

/* Opens count once, wherever they are on their way when somebody asks. */
static void
test_accesses(void **state)
{
    struct got g;
    (void)state;
    access_first();
    access_first();
    set_hold(true);
    ask_begin(0, &g); /* the database has none yet, */
    wait_batches(1);  /* and gets them before it is heard */
    set_hold(false);
    assert_int_equal(got_wait(&g), 0);
    assert_int_equal(g.row.accesses, 2);
    assert_true(g.row.last_access_ns != 0 || db.accesses == 2);
    set(&db.record_fail, -ETIMEDOUT);
    access_first();
    assert_int_equal(ask(0, &g), 0);
    assert_int_equal(g.row.accesses, 3);
    usleep(50000); /* it was taken into a batch, which fails; so now nobody asks */
    assert_int_equal(ask(0, &g), 0);
    assert_int_equal(g.row.accesses, 3);
    assert_true(g.row.last_access_ns > sf_wall_ns() - INT64_C(60000000000));
}

static void
test_failure(void **state)
{
    struct got g;
    (void)state;
    db.fail = -EIO;
    db.record_fail = -ENOSYS;
    assert_int_equal(ask(7, &g), -ENOENT);
    set_tags(7, "mine");
    assert_int_equal(ask(7, &g), 0);
    assert_string_equal(g.tags, "mine;");
    assert_int_equal(ask(8, &g), -ENOENT);
    expect_asked(1, 0); /* nobody asks again so soon */
}

/* ---- many of a directory --------------------------------------------------------------------- */

static void
test_directory(void **state)
{
    struct got g;
    (void)state;
    for (unsigned i = 0; i < OBJECTS; i++) {
        assert_int_equal(ask(i, &g), 0);
        assert_int_equal(g.row.accesses, i);
    }
    expect_asked(2, 3);
}

static void
test_directory_backwards(void **state)
{
    struct got g;
    (void)state;
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(ask(i * 389 % 1000, &g), 0);
    assert_true(db.pages <= 12);
    expect_asked(2, db.pages);
}

static void
test_directory_at_once(void **state)
{
    struct got g[100];
    (void)state;
    set_hold(true);
    for (unsigned i = 0; i < 100; i++)
        ask_begin(i, &g[i]);
    set_hold(false);
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(got_wait(&g[i]), 0);
        assert_int_equal(g[i].row.accesses, i);
    }
    expect_asked(2, 1);
}

static void
test_objects(void **state)
{
    struct got g;
    char id[40];
    (void)state;
    assert_false(object_begin(0, 5, &g)); /* for these a question alone costs less */
    assert_false(object_begin(1, 6, &g));
    db.missing = "d/0004";
    for (unsigned i = 2; i < 1000; i++) {
        assert_true(object_begin(i, 7 + i, &g));
        assert_int_equal(got_wait(&g), i == 4 ? -ENOENT : 0);
        id_of(i, id);
        if (i != 4)
            assert_string_equal(g.row.id, id);
        if (i != 4)
            assert_int_equal(g.stamp, i < 4 ? 9 : 11); /* whoever asked for the page */
        if (i == 4)
            db.missing = NULL;
    }
    expect_asked(0, 2); /* what is absent is asked for again */
    assert_false(sf_tables_object(NULL, "b", "d/0001", 1, 0, MAX_AGE, got_object, &g));
}

static void
test_object_without_a_row(void **state)
{
    struct got g;
    (void)state;
    db.odd = "d/0003";
    assert_int_equal(ask(3, &g), -ENOENT); /* full, and empty */
    expect_asked(1, 0);
    assert_false(object_begin(0, 1, &g));
    assert_true(object_begin(1, 2, &g));
    assert_int_equal(got_wait(&g), 0);
    assert_true(object_begin(3, 3, &g));
    assert_int_equal(got_wait(&g), -ENOENT);
    db.odd = "d/"; /* a whole page of them */
    assert_true(object_begin(1200, 4, &g));
    assert_int_equal(got_wait(&g), -ENOENT);
}

/* What is done here while a page is on its way is not in it. */
static void
test_overtaken(void **state)
{
    const struct sf_file_fact f = {.bucket = "b", .key = "d/0003", .etag = "\"n\""};
    struct got g, h;
    (void)state;
    assert_false(object_begin(0, 1, &g));
    assert_false(object_begin(1, 2, &g));
    set_hold(true);
    assert_true(object_begin(2, 3, &g));
    assert_true(object_begin(3, 4, &h));
    sf_tables_note(tables, SF_OP_ATTRIBUTES, &f, NULL, 0, 1, 0);
    set_hold(false);
    assert_int_equal(got_wait(&g), 0);
    assert_int_equal(got_wait(&h), -EAGAIN);
    assert_true(object_begin(3, 5, &h)); /* nor is it kept */
    assert_int_equal(got_wait(&h), 0);
    assert_int_equal(h.stamp, 5);
    sf_tables_note(tables, SF_OP_ATTRIBUTES, &f, NULL, 0, 1, 0);
    assert_true(object_begin(3, 6, &h));
    assert_int_equal(got_wait(&h), 0);
    assert_int_equal(h.stamp, 6);
}

/* The end waits for who asks. */
static void
test_end(void **state)
{
    struct got g[20];
    (void)state;
    set_hold(true);
    for (unsigned i = 0; i < 20; i++)
        ask_begin(i, &g[i]);
    access_first();
    set_hold(false);
    sf_tables_free(tables);
    tables = NULL;
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(got_wait(&g[i]), 0);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_database),
        TEST(test_tags),
        TEST(test_foreign_tags),
        TEST(test_hash),
        TEST(test_accesses),
        TEST(test_failure),
        TEST(test_directory),
        TEST(test_directory_backwards),
        TEST(test_directory_at_once),
        TEST(test_objects),
        TEST(test_object_without_a_row),
        TEST(test_overtaken),
        TEST(test_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
