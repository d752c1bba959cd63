/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tables/tables.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <jansson.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/lock.h"
#include "store/env.h"

/* The queue before the project's tables: each thing arrives once, in order, whatever happens to
 * replies, the process and the file; it is bounded; facts are found by name and by hash. */

#define WAIT_MS 20000
#define SHA_A   "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define SHA_B   "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static char dir[64];
static struct sf_tables *tables;

/* ---- a database ------------------------------------------------------------------------------ */

static struct {
    struct sf_mutex lock;
    int fail;      /* what requests end with; 0 = they work */
    unsigned lose; /* replies that do not come back */
    bool die;      /* the process is killed when a request comes, after it was noted */
    const char *poison;
    unsigned requests;
    json_t *batches; /* id -> true */
    json_t *files, *ops, *accesses;
    json_t *known;  /* id -> true, of files */
    unsigned early; /* accesses to others */
    char first[37], last[37];
} db;

static void
extend(json_t *list, const json_t *args, const char *name)
{
    json_array_extend(list, json_object_get(args, name));
}

/* The database adds a count to a row that is there. */
static void
note_known(const json_t *args)
{
    const json_t *row;
    size_t i;
    json_array_foreach(json_object_get(args, "p_files"), i, row) json_object_set_new(
        db.known, json_string_value(json_object_get(row, "file_id")), json_true());
    json_array_foreach(json_object_get(args, "p_accesses"), i, row) db.early +=
        !json_object_get(db.known, json_string_value(json_object_get(row, "file_id")));
}

static int
db_record(void *arg, const char *json, size_t len, int64_t deadline_ms, bool *recorded,
          struct sf_err *err)
{
    (void)arg, (void)deadline_ms;
    SF_GUARD(&db.lock);
    db.requests++;
    if (db.fail)
        return sf_err_set(err, db.fail, "made to fail");
    if (db.poison && memmem(json, len, db.poison, strlen(db.poison)))
        return sf_err_set(err, -EINVAL, "poison");
    json_t *args = json_loadb(json, len, 0, NULL);
    if (!args)
        return sf_err_set(err, -EPROTO, "not JSON");
    const char *id = json_string_value(json_object_get(args, "p_batch"));
    snprintf(db.last, sizeof db.last, "%s", id);
    if (!db.first[0])
        snprintf(db.first, sizeof db.first, "%s", id);
    *recorded = !json_object_get(db.batches, id);
    if (*recorded) {
        json_object_set_new(db.batches, id, json_true());
        extend(db.files, args, "p_files");
        extend(db.ops, args, "p_operations");
        extend(db.accesses, args, "p_accesses");
        note_known(args);
    }
    json_decref(args);
    if (db.die) {
        char path[96];
        snprintf(path, sizeof path, "%s/sent", dir);
        (void)!sf_write_file_atomic(path, db.last, strlen(db.last), 0600, NULL);
        raise(SIGKILL);
    }
    if (db.lose) {
        db.lose--;
        return sf_err_set(err, -ETIMEDOUT, "the reply was lost");
    }
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
open_tables(uint64_t max_bytes)
{
    static const struct sf_tables_peer peer = {.record = db_record, .about = db_about};
    const struct sf_tables_opts opts = {.state_dir = dir,
                                        .max_bytes = max_bytes,
                                        .interval_ms = 5,
                                        .retry_min_ms = 5,
                                        .retry_max_ms = 20,
                                        .peer = &peer};
    struct sf_err err = SF_ERR_INIT;
    if (sf_tables_new(&opts, NULL, &tables, &err))
        fail_msg("%s", err.msg);
}

static void
close_tables(void)
{
    sf_tables_free(tables);
    tables = NULL;
}

static void
set_fail(int rc)
{
    SF_GUARD(&db.lock);
    db.fail = rc;
}

static int
remove_one(const char *path, const struct stat *st, int flag, struct FTW *f)
{
    (void)st, (void)flag, (void)f;
    return remove(path);
}

static int
setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/supafs-tables-XXXXXX");
    memset(&db, 0, sizeof db);
    sf_mutex_init(&db.lock, 0);
    db.batches = json_object();
    db.files = json_array();
    db.ops = json_array();
    db.accesses = json_array();
    db.known = json_object();
    return mkdtemp(dir) ? 0 : -1;
}

static int
teardown(void **state)
{
    (void)state;
    close_tables();
    json_decref(db.batches);
    json_decref(db.files);
    json_decref(db.ops);
    json_decref(db.accesses);
    json_decref(db.known);
    return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* ---- helpers --------------------------------------------------------------------------------- */

/* An id for each number; good until some others have been asked for. */
static const char *
id_of(unsigned n)
{
    static char ids[8][37];
    static unsigned next;
    char *id = ids[next++ % 8];
    snprintf(id, sizeof ids[0], "00000000-0000-4000-8000-%012u", n);
    return id;
}

static void
opened(unsigned n, int64_t at_ns)
{
    unsigned char id[16] = {[6] = 0x40, [8] = 0x80, [15] = (unsigned char)(n % 10 + n / 10 * 16)};
    sf_tables_accessed(tables, id, at_ns); /* as id_of() of up to 99 */
}

static void
note(enum sf_op_kind kind, const char *key, unsigned id, const char *sha)
{
    const struct sf_file_fact f = {
        .bucket = "b", .key = key, .id = id ? id_of(id) : NULL, .sha256 = sha, .size = 7};
    sf_tables_note(tables, kind, &f, NULL, 7, 1, 0);
}

static void
note_many(unsigned from, unsigned to, enum sf_op_kind kind)
{
    for (unsigned i = from; i < to; i++) {
        char key[32];
        snprintf(key, sizeof key, "dir/file-%05u", i);
        note(kind, key, i + 1, SHA_A);
    }
}

static struct sf_tables_stats
stats(void)
{
    struct sf_tables_stats s;
    sf_tables_stats(tables, &s);
    return s;
}

static void
pause_ms(int64_t ms)
{
    usleep((useconds_t)ms * 1000);
}

static void
wait_state(enum sf_tables_state want)
{
    int64_t until = sf_clock_ms() + WAIT_MS;
    while (stats().state != want) {
        if (sf_clock_ms() > until)
            fail_msg("state is %s", sf_tables_state_name(stats().state));
        pause_ms(2);
    }
}

/* Until the database has everything. */
static void
wait_sent(void)
{
    int64_t until = sf_clock_ms() + WAIT_MS;
    for (;;) {
        sf_tables_drain(tables, until);
        struct sf_tables_stats s = stats();
        if (!s.queued && s.state == SF_TABLES_ON)
            return;
        if (sf_clock_ms() > until)
            fail_msg("%llu rows are left, %s", (unsigned long long)s.queued, s.last_error);
        pause_ms(5);
    }
}

static const char *
member(const json_t *list, size_t i, const char *name)
{
    const char *s = json_string_value(json_object_get(json_array_get(list, i), name));
    return s ? s : "";
}

/* Each of these uploads is there once, in order. */
static void
expect_uploads(size_t n)
{
    assert_int_equal(json_array_size(db.ops), n);
    json_t *ids = json_object();
    for (size_t i = 0; i < n; i++) {
        char key[32];
        snprintf(key, sizeof key, "dir/file-%05zu", i);
        const json_t *meta = json_object_get(json_array_get(db.ops, i), "metadata");
        assert_string_equal(json_string_value(json_object_get(meta, "key")), key);
        assert_string_equal(member(db.ops, i, "type"), "upload");
        assert_string_equal(member(db.ops, i, "destination"), "supabase");
        json_object_set_new(ids, member(db.ops, i, "id"), json_true());
        assert_string_equal(member(db.files, i, "key"), key);
        assert_string_equal(member(db.files, i, "file_id"), id_of((unsigned)i + 1));
    }
    assert_int_equal(json_object_size(ids), n);
    assert_int_equal(json_array_size(db.files), n);
    json_decref(ids);
}

/* ---- sending --------------------------------------------------------------------------------- */

static void
many_go_in_few_requests_in_order(void **state)
{
    (void)state;
    open_tables(0);
    note_many(0, 300, SF_OP_UPLOAD);
    wait_sent();
    expect_uploads(300);
    assert_true(db.requests <= 20);
    assert_int_equal(stats().version, 5);
    assert_int_equal(stats().dropped, 0);
    assert_string_equal(member(db.files, 0, "name"), "file-00000");
    assert_string_equal(member(db.files, 0, "sha256"), SHA_A);
}

static void
a_lost_reply_repeats_the_same_batch(void **state)
{
    (void)state;
    db.lose = 3;
    open_tables(0);
    note_many(0, 10, SF_OP_UPLOAD);
    wait_state(SF_TABLES_UNREACHABLE);
    note_many(10, 20, SF_OP_UPLOAD); /* not in the batch that is repeated */
    wait_sent();
    expect_uploads(20);
    assert_true(stats().repeated >= 1);
}

static void
what_was_noted_survives_kill(void **state)
{
    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        db.fail = -ECONNREFUSED;
        open_tables(0);
        note_many(0, 100, SF_OP_UPLOAD);
        while (stats().queued < 200)
            pause_ms(1);
        raise(SIGKILL);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    open_tables(0);
    note_many(100, 120, SF_OP_UPLOAD);
    wait_sent();
    expect_uploads(120);
}

static void
a_batch_on_its_way_keeps_its_id_over_kill(void **state)
{
    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        db.die = true;
        open_tables(0);
        note_many(0, 10, SF_OP_UPLOAD);
        opened(1, 1000000000);
        sf_tables_drain(tables, sf_clock_ms() + WAIT_MS);
        _exit(1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    char path[96];
    struct sf_buf sent = SF_BUF_INIT;
    snprintf(path, sizeof path, "%s/sent", dir);
    assert_int_equal(sf_read_file(path, 64, &sent, NULL), 0);
    open_tables(0);
    note_many(10, 12, SF_OP_UPLOAD);
    wait_sent();
    assert_string_equal(db.first, sent.data);
    sf_buf_fini(&sent);
    expect_uploads(12);
}

static void
states_change_and_what_waits_follows(void **state)
{
    (void)state;
    static const struct {
        int rc;
        enum sf_tables_state state;
    } cases[] = {{-ENOSYS, SF_TABLES_MISSING},
                 {-EACCES, SF_TABLES_DENIED},
                 {-ECONNREFUSED, SF_TABLES_UNREACHABLE},
                 {-EPROTO, SF_TABLES_UNREACHABLE}};
    open_tables(0);
    assert_int_equal(stats().state, SF_TABLES_WAITING);
    for (unsigned i = 0; i < 4; i++) {
        set_fail(cases[i].rc);
        note_many(i, i + 1, SF_OP_UPLOAD);
        wait_state(cases[i].state);
        assert_true(stats().queued >= 2);
        assert_true(stats().oldest_ns != 0);
        set_fail(0);
        wait_sent();
    }
    expect_uploads(4);
    assert_int_equal(stats().dropped, 0);
}

static void
nothing_noted_means_no_request(void **state)
{
    (void)state;
    open_tables(0);
    pause_ms(50);
    sf_tables_drain(tables, sf_clock_ms() + WAIT_MS);
    assert_int_equal(db.requests, 0);
    assert_int_equal(stats().state, SF_TABLES_WAITING);
}

static void
failures_are_tried_again_less_often(void **state)
{
    (void)state;
    db.fail = -ENOSYS;
    open_tables(0);
    int64_t began = sf_clock_ms();
    note_many(0, 1, SF_OP_UPLOAD);
    wait_state(SF_TABLES_MISSING);
    pause_ms(200);
    sf_mutex_lock(&db.lock);
    unsigned requests = db.requests;
    sf_mutex_unlock(&db.lock);
    int64_t took = sf_clock_ms() - began; /* at most each 20 ms, after 5 and 10 */
    assert_in_range(requests, 1, took / 20 + 4);
}

static void
one_refused_row_holds_up_nobody(void **state)
{
    (void)state;
    db.poison = "file-00013";
    open_tables(0);
    note_many(0, 40, SF_OP_UPLOAD);
    wait_sent();
    assert_int_equal(json_array_size(db.ops), 39);
    assert_int_equal(json_array_size(db.files), 39);
    assert_int_equal(stats().dropped, 2); /* the operation and the fact */
}

static void
each_object_is_in_a_batch_once(void **state)
{
    (void)state;
    db.fail = -ECONNREFUSED;
    open_tables(0);
    note(SF_OP_UPLOAD, "x", 1, SHA_A);
    note(SF_OP_DELETE, "x", 1, NULL);
    note(SF_OP_UPLOAD, "x", 2, SHA_A);
    note(SF_OP_UPLOAD, "x", 2, SHA_B);
    note(SF_OP_UPLOAD, "y", 3, SHA_A);
    note(SF_OP_DELETE, "y", 0, NULL); /* whose id is known from before */
    while (stats().queued < 12)
        pause_ms(1);
    set_fail(0);
    wait_sent();
    assert_int_equal(json_array_size(db.ops), 6);
    /* The first batch may have been begun when only some had been noted. */
    json_t *last = json_object();
    size_t i;
    json_t *f;
    json_array_foreach(db.files, i, f)
        json_object_set(last, json_string_value(json_object_get(f, "file_id")), f);
    assert_true(json_is_true(json_object_get(json_object_get(last, id_of(1)), "removed")));
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(last, id_of(2)), "sha256")), SHA_B);
    assert_true(json_is_true(json_object_get(json_object_get(last, id_of(3)), "removed")));
    json_decref(last);
}

/* ---- the bound ------------------------------------------------------------------------------- */

static void
the_bound_gives_up_reads_first(void **state)
{
    (void)state;
    db.fail = -ECONNREFUSED;
    open_tables(2 << 20);
    note_many(0, 200, SF_OP_UPLOAD);
    for (unsigned i = 0; i < 20; i++) {
        note_many(0, 400, SF_OP_DOWNLOAD);
        pause_ms(20);
    }
    int64_t until = sf_clock_ms() + WAIT_MS;
    while (!stats().dropped && sf_clock_ms() < until)
        pause_ms(5);
    assert_true(stats().dropped > 0);
    assert_true(stats().bytes <= stats().max_bytes / 8 * 9); /* room for what makes room */
    set_fail(0);
    wait_sent();
    size_t uploads = 0;
    for (size_t i = 0; i < json_array_size(db.ops); i++)
        uploads += !strcmp(member(db.ops, i, "type"), "upload");
    assert_int_equal(uploads, 200);
    assert_int_equal(json_array_size(db.files), 200);
}

/* ---- damage ---------------------------------------------------------------------------------- */

static const char *const names[] = {"files",      "hashes",  "accesses", "reads",
                                    "operations", "changes", "unsent",   "batch"};

static int
put_garbage(struct sf_env_write *w, struct sf_txn *txn)
{
    (void)w;
    int rc = sf_txn_put(txn, 4, "\0\0\0\0\0\0\0\1", 8, "{\"id\":", 6);
    if (!rc)
        rc = sf_txn_put(txn, 5, "\0\0\0\0\0\0\0\2", 8, "\xff\x00{}", 4);
    if (!rc)
        rc = sf_txn_put(txn, 7, "batch", 5, "[]", 2);
    return rc ? rc : sf_txn_put(txn, 6, "short", 5, "x", 1);
}

static void
rows_that_are_none_are_passed_over(void **state)
{
    (void)state;
    char sub[96];
    struct sf_env *env;
    struct sf_err err = SF_ERR_INIT;
    snprintf(sub, sizeof sub, "%s/tables", dir);
    const struct sf_env_opts opts = {
        .dir = sub, .name = "t", .tables = names, .n_tables = 8, .max_bytes = 1 << 24};
    assert_int_equal(sf_env_open(&opts, &env, &err), 0);
    struct sf_env_write w = {.run = put_garbage};
    assert_int_equal(sf_env_write_wait(env, &w), 0);
    sf_env_close(env);
    open_tables(0);
    note_many(0, 5, SF_OP_UPLOAD);
    wait_sent();
    expect_uploads(5);
    assert_int_equal(json_array_size(db.accesses), 0);
    assert_int_equal(stats().dropped, 2);
}

static void
a_file_that_is_no_database_is_put_aside(void **state)
{
    (void)state;
    char path[128];
    open_tables(0);
    close_tables();
    snprintf(path, sizeof path, "%s/tables/data.mdb", dir);
    char garbage[8192];
    memset(garbage, 'g', sizeof garbage);
    assert_int_equal(sf_write_file_atomic(path, garbage, sizeof garbage, 0600, NULL), 0);
    open_tables(0);
    note_many(0, 3, SF_OP_UPLOAD);
    wait_sent();
    expect_uploads(3);
    snprintf(path, sizeof path, "%s/tables/data.mdb.damaged", dir);
    assert_int_equal(access(path, F_OK), 0);
}

/* ---- facts ----------------------------------------------------------------------------------- */

static int
count_name(void *arg, const char *bucket, const char *key)
{
    char *all = arg;
    snprintf(all + strlen(all), 200 - strlen(all), "%s/%s ", bucket, key);
    return 0;
}

static void
expect_names(const char *sha, const char *want)
{
    char all[200] = "";
    assert_int_equal(sf_tables_by_hash(tables, sha, count_name, all), 0);
    assert_string_equal(all, want);
}

static void
settle(void)
{
    int64_t until = sf_clock_ms() + WAIT_MS;
    sf_tables_drain(tables, until);
}

static void
facts_follow_what_is_done(void **state)
{
    (void)state;
    struct sf_tables_row row;
    static const char *const tags[] = {"one", "two", NULL};
    const struct sf_file_fact a = {.bucket = "b", .key = "a", .id = id_of(1)};
    const struct sf_file_fact c = {.bucket = "b", .key = "c", .id = id_of(1), .version = "v2"};
    open_tables(0);
    note(SF_OP_UPLOAD, "a", 1, SHA_A);
    note(SF_OP_UPLOAD, "z", 9, SHA_A);
    sf_tables_set_tags(tables, &a, tags);
    settle();
    expect_names(SHA_A, "b/a b/z ");
    expect_names(SHA_B, "");
    assert_int_equal(sf_tables_by_hash(tables, "xyz", count_name, NULL), -EINVAL);
    assert_int_equal(sf_tables_fact(tables, "b", "a", &row), 0);
    assert_string_equal(row.sha256, SHA_A);
    assert_string_equal(row.tags[1], "two");
    sf_tables_row_fini(&row);

    sf_tables_note(tables, SF_OP_MOVE, &a, &c, 0, 1, 0);
    settle();
    expect_names(SHA_A, "b/c b/z ");
    assert_int_equal(sf_tables_fact(tables, "b", "a", &row), -ENOENT);
    assert_int_equal(sf_tables_fact(tables, "b", "c", &row), 0);
    assert_string_equal(row.sha256, SHA_A);
    assert_string_equal(row.version, "v2");
    assert_string_equal(row.tags[0], "one");
    sf_tables_row_fini(&row);

    const struct sf_file_fact etag = {.bucket = "b",
                                      .key = "e",
                                      .id = id_of(20),
                                      .sha256 = SHA_B,
                                      .etag = "\"d41d8cd98f00b204e9800998ecf8427e\""};
    struct sf_file_fact copy = {.bucket = "b", .key = "f", .id = id_of(21), .etag = etag.etag};
    sf_tables_note(tables, SF_OP_UPLOAD, &etag, NULL, 0, 1, 0);
    sf_tables_note(tables, SF_OP_COPY, &etag, &copy, 0, 1, 0);
    copy.key = "other";
    copy.etag = "\"00000000000000000000000000000000\""; /* e was written by others before */
    sf_tables_note(tables, SF_OP_COPY, &etag, &copy, 0, 1, 0);
    settle();
    expect_names(SHA_B, "b/e b/f ");
    note(SF_OP_DELETE, "e", 0, NULL);
    note(SF_OP_DELETE, "f", 0, NULL);

    note(SF_OP_UPLOAD, "c", 1, SHA_B);
    note(SF_OP_DELETE, "z", 0, NULL);
    settle();
    expect_names(SHA_A, "");
    expect_names(SHA_B, "b/c ");
    assert_int_equal(sf_tables_fact(tables, "b", "z", &row), -ENOENT);
}

/* A file that was tagged and renamed before it was stored. */
static void
tags_follow_a_name(void **state)
{
    (void)state;
    struct sf_tables_row row;
    static const char *const tags[] = {"mine", NULL};
    const struct sf_file_fact tmp = {.bucket = "b", .key = ".tmp"},
                              name = {.bucket = "b", .key = "u"};
    open_tables(0);
    sf_tables_set_tags(tables, &tmp, tags);
    sf_tables_renamed(tables, &tmp, &name);
    note(SF_OP_UPLOAD, "u", 2, SHA_A);
    settle();
    assert_int_equal(sf_tables_fact(tables, "b", ".tmp", &row), -ENOENT);
    assert_int_equal(sf_tables_fact(tables, "b", "u", &row), 0);
    assert_string_equal(row.id, id_of(2));
    assert_non_null(row.tags);
    assert_string_equal(row.tags[0], "mine");
    sf_tables_row_fini(&row);
}

/* A file that was tagged before it was stored, and whose bytes the service copied then. */
static void
a_copy_keeps_the_tags_of_its_name(void **state)
{
    (void)state;
    struct sf_tables_row row;
    static const char *const tags[] = {"mine", NULL}, *const theirs[] = {"theirs", NULL};
    const struct sf_file_fact source = {.bucket = "b", .key = "s", .id = id_of(1)};
    const struct sf_file_fact unsent = {.bucket = "b", .key = "u"};
    const struct sf_file_fact stored = {.bucket = "b", .key = "u", .id = id_of(2)};
    const struct sf_file_fact replaced = {.bucket = "b", .key = "u", .id = id_of(3)};
    open_tables(0);
    sf_tables_set_tags(tables, &source, theirs);
    sf_tables_set_tags(tables, &unsent, tags);
    sf_tables_note(tables, SF_OP_COPY, &source, &stored, 0, 1, 0);
    settle();
    assert_int_equal(sf_tables_fact(tables, "b", "u", &row), 0);
    assert_string_equal(row.id, stored.id);
    assert_non_null(row.tags);
    assert_string_equal(row.tags[0], "mine");
    sf_tables_row_fini(&row);
    /* Another file of that name is not tagged. */
    sf_tables_note(tables, SF_OP_COPY, &source, &replaced, 0, 1, 0);
    settle();
    assert_int_equal(sf_tables_fact(tables, "b", "u", &row), 0);
    assert_null(row.tags);
    sf_tables_row_fini(&row);
}

static void
long_names_are_told_apart(void **state)
{
    (void)state;
    char one[1001], two[1001];
    struct sf_tables_row row;
    memset(one, 'k', sizeof one);
    one[1000] = '\0';
    memcpy(two, one, sizeof two);
    two[999] = 'x';
    open_tables(0);
    note(SF_OP_UPLOAD, one, 1, SHA_A);
    note(SF_OP_UPLOAD, two, 2, SHA_B);
    settle();
    assert_int_equal(sf_tables_fact(tables, "b", one, &row), 0);
    assert_string_equal(row.sha256, SHA_A);
    assert_int_equal(sf_tables_fact(tables, "b", two, &row), 0);
    assert_string_equal(row.sha256, SHA_B);
}

static void
failed_operations_change_no_fact(void **state)
{
    (void)state;
    struct sf_tables_row row;
    const struct sf_file_fact f = {.bucket = "b", .key = "a", .id = id_of(1), .sha256 = SHA_A};
    open_tables(0);
    sf_tables_note(tables, SF_OP_UPLOAD, &f, NULL, 7, 1, -EFBIG);
    settle();
    assert_int_equal(sf_tables_fact(tables, "b", "a", &row), -ENOENT);
    assert_int_equal(json_array_size(db.ops), 1);
    assert_string_equal(member(db.ops, 0, "status"), "failed");
    assert_int_equal(json_array_size(db.files), 0);
}

static void
accesses_are_merged(void **state)
{
    (void)state;
    uint64_t n;
    int64_t last;
    open_tables(0);
    for (int i = 1; i <= 1000; i++)
        opened(5, i * INT64_C(1000000000));
    opened(42, 1);
    settle();
    json_int_t sum = 0;
    for (size_t i = 0; i < json_array_size(db.accesses); i++)
        sum += json_integer_value(json_object_get(json_array_get(db.accesses, i), "n"));
    assert_int_equal(sum, 1001);
    assert_true(json_array_size(db.accesses) < 100);
    close_tables();
    open_tables(0);
    sf_tables_accesses(tables, id_of(5), &n, &last);
    assert_int_equal(n, 1000);
    assert_true(last == 1000 * INT64_C(1000000000));
    assert_int_equal(stats().queued, 0);
}

/* A file is opened as soon as it is there; its row may be in a batch that comes much later. */
static void
accesses_follow_their_files(void **state)
{
    (void)state;
    set_fail(-ECONNREFUSED);
    open_tables(0);
    note_many(100, 2600, SF_OP_UPLOAD);
    note(SF_OP_UPLOAD, "opened", 5, SHA_A);
    opened(5, INT64_C(1000000000));
    set_fail(0);
    settle();
    assert_int_equal(json_array_size(db.accesses), 1);
    assert_int_equal(db.early, 0);
}

/* By who asks about it; but nobody waits for a database that does not take it. */
static void
what_was_noted_can_be_waited_for(void **state)
{
    (void)state;
    struct sf_tables_row row;
    open_tables(0);
    for (unsigned i = 1; i <= 20; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%u", i);
        note(SF_OP_UPLOAD, key, i, SHA_A);
        sf_tables_settle(tables, sf_clock_ms() + WAIT_MS);
        assert_int_equal(sf_tables_fact(tables, "b", key, &row), 0);
        sf_tables_row_fini(&row);
        SF_GUARD(&db.lock);
        assert_int_equal(json_array_size(db.files), i);
    }
    set_fail(-ENOSYS);
    int64_t start = sf_clock_ms();
    note(SF_OP_UPLOAD, "late", 50, SHA_A);
    sf_tables_settle(tables, start + WAIT_MS);
    assert_int_equal(sf_tables_fact(tables, "b", "late", &row), 0);
    sf_tables_row_fini(&row);
    assert_true(sf_clock_ms() - start < WAIT_MS);
    assert_int_equal(stats().state, SF_TABLES_MISSING);
}

static void
without_tables_nothing_happens(void **state)
{
    (void)state;
    struct sf_tables_row row;
    uint64_t n;
    int64_t last;
    note(SF_OP_UPLOAD, "a", 1, SHA_A);
    opened(1, 1);
    sf_tables_drain(tables, sf_clock_ms() + WAIT_MS);
    sf_tables_settle(tables, sf_clock_ms() + WAIT_MS);
    assert_int_equal(sf_tables_fact(tables, "b", "a", &row), -ENOENT);
    expect_names(SHA_A, "");
    sf_tables_accesses(tables, id_of(1), &n, &last);
    assert_int_equal(n, 0);
    assert_int_equal(stats().state, SF_TABLES_OFF);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(many_go_in_few_requests_in_order),
        TEST(a_lost_reply_repeats_the_same_batch),
        TEST(what_was_noted_survives_kill),
        TEST(a_batch_on_its_way_keeps_its_id_over_kill),
        TEST(states_change_and_what_waits_follows),
        TEST(nothing_noted_means_no_request),
        TEST(failures_are_tried_again_less_often),
        TEST(one_refused_row_holds_up_nobody),
        TEST(each_object_is_in_a_batch_once),
        TEST(the_bound_gives_up_reads_first),
        TEST(rows_that_are_none_are_passed_over),
        TEST(a_file_that_is_no_database_is_put_aside),
        TEST(facts_follow_what_is_done),
        TEST(a_copy_keeps_the_tags_of_its_name),
        TEST(tags_follow_a_name),
        TEST(long_names_are_told_apart),
        TEST(failed_operations_change_no_fact),
        TEST(accesses_are_merged),
        TEST(accesses_follow_their_files),
        TEST(what_was_noted_can_be_waited_for),
        TEST(without_tables_nothing_happens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
