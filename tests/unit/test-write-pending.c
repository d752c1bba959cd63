/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write-fixture.h"

#include <endian.h>
#include <pthread.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "store/env.h"
#include "write/mark.h"

/* What a person sees of pending changes, and does about them: rows, retry, drop, waiting until all
 * is in the bucket, and what a state directory without a daemon has. */

#define ROWS_MAX 16

struct seen {
    unsigned n;
    struct one {
        uint64_t seq, size;
        char kind[16], state[16], key[32], reason[100], file[80];
        unsigned attempts;
        int err;
        bool running, damaged;
        int64_t next_ms;
        unsigned percent;
    } rows[ROWS_MAX];
};

static int
on_row(void *arg, const struct sf_pending_row *r)
{
    struct seen *s = arg;
    assert_true(s->n < ROWS_MAX);
    struct one *o = &s->rows[s->n++];
    *o = (struct one){.seq = r->seq,
                      .size = r->size,
                      .attempts = r->attempts,
                      .err = r->err,
                      .running = r->running,
                      .damaged = r->damaged,
                      .next_ms = r->next_ms,
                      .percent = r->percent};
    assert_true(r->damaged || (r->made_ns > 0 && r->made_ns <= sf_wall_ns()));
    snprintf(o->kind, sizeof o->kind, "%s", r->kind);
    snprintf(o->state, sizeof o->state, "%s", r->state);
    snprintf(o->key, sizeof o->key, "%s", r->key ? r->key : "");
    snprintf(o->reason, sizeof o->reason, "%s", r->reason ? r->reason : "");
    snprintf(o->file, sizeof o->file, "%s", r->file ? r->file : "");
    return 0;
}

static struct seen
look(void)
{
    struct seen s = {.n = 0};
    assert_int_equal(sf_writer_each_pending(writer, on_row, &s), 0);
    for (unsigned i = 1; i < s.n; i++)
        assert_true(s.rows[i - 1].seq < s.rows[i].seq);
    return s;
}

/* As the tree does it: what is refused for good goes to quarantine. */
struct owner {
    struct got *got;
    struct sf_content *c;
};
static struct owner owners[8];
static unsigned n_owners;

static void
on_end(void *arg, const struct sf_err *err, const struct sf_commit *done)
{
    struct owner *o = arg;
    if (err && !sf_failure_is_held(err))
        assert_int_equal(sf_content_quarantine(o->c, err, NULL), 0);
    on_commit(o->got, err, done);
}

static struct got *
commit_behind(struct sf_content *c)
{
    struct owner *o = &owners[n_owners++ % 8];
    *o = (struct owner){got_new(), c};
    const struct sf_commit_args args = {.patient = true};
    sf_content_commit(c, &args, on_end, o);
    return o->got;
}

/* What rests does so until somebody wakes it, however long a test takes. */
#define REST_MS 60000

static int
setup_resting(void **state)
{
    int rc = setup(state);
    sf_writer_free(writer);
    writer_start_with((struct sf_writer_opts){.workers = 4, .retry_ms = REST_MS});
    return rc;
}

/* Does the upload of this key rest? */
static bool
rests(const char *key)
{
    struct seen s = look();
    for (unsigned i = 0; i < s.n; i++)
        if (strcmp(s.rows[i].key, key) == 0)
            return s.rows[i].next_ms >= 0;
    return false;
}

/* A content whose upload has failed and rests. */
static struct sf_content *
resting(const char *key, const char *text, struct got **got)
{
    struct sf_content *c = content(key, text);
    fake_fault(FAKE_PUT, 1, FAKE_REFUSED, -ECONNREFUSED);
    *got = commit_behind(c);
    for (int i = 0; i < 2000 && !rests(key); i++)
        usleep(5000);
    assert_true(rests(key));
    return c;
}

static void
rows_tell_what_is_and_what_becomes_of_it(void **state)
{
    (void)state;
    struct got *waits, *runs;
    struct sf_content *c = resting("a", "text", &waits), *d = content("b", "other");
    fake_close(FAKE_PUT);
    runs = commit_behind(d);
    fake_wait_at_gate(FAKE_PUT, 1);
    struct seen s = look();
    assert_int_equal(s.n, 2);
    assert_string_equal(s.rows[0].kind, "content");
    assert_string_equal(s.rows[0].key, "a");
    assert_int_equal(s.rows[0].size, 4);
    assert_int_equal(s.rows[0].attempts, 1);
    assert_int_equal(s.rows[0].err, -ECONNREFUSED);
    assert_true(s.rows[0].reason[0] != 0);
    assert_false(s.rows[0].running);
    assert_true(s.rows[0].next_ms > 0 && s.rows[0].next_ms <= REST_MS);
    assert_true(s.rows[0].file[0] != 0);
    assert_string_equal(s.rows[1].key, "b");
    assert_string_equal(s.rows[1].state, "sending");
    assert_true(s.rows[1].running);
    assert_true(s.rows[1].next_ms < 0);
    assert_string_equal(s.rows[1].reason, "");
    fake_open(FAKE_PUT);
    assert_int_equal(wait_for(runs), 0);
    assert_int_equal(wait_for(waits), 0); /* woken by that success */
    assert_int_equal(look().n, 0);        /* at once: nothing that is done is shown */
    sf_content_unref(c);
    sf_content_unref(d);
}

static void
what_rests_is_tried_when_asked(void **state)
{
    (void)state;
    struct got *got;
    struct sf_err err = SF_ERR_INIT;
    struct sf_content *c = resting("a", "text", &got);
    uint64_t seq = look().rows[0].seq;
    int64_t begun = sf_clock_ms();
    assert_int_equal(sf_writer_pending_retry(writer, seq + 7, &err), -ENOENT);
    assert_int_equal(sf_writer_pending_retry(writer, seq, NULL), 1);
    assert_int_equal(wait_for(got), 0);
    assert_true(sf_clock_ms() - begun < REST_MS / 3);
    sf_content_unref(c);
    c = resting("b", "text", &got);
    begun = sf_clock_ms();
    assert_int_equal(sf_writer_pending_retry(writer, 0, NULL), 1);
    assert_int_equal(wait_for(got), 0);
    assert_true(sf_clock_ms() - begun < REST_MS / 3);
    assert_int_equal(sf_writer_pending_retry(writer, 0, NULL), 0);
    sf_content_unref(c);
}

/* The bytes are where @path says. */
static void
expect_bytes(const char *path, const char *text)
{
    sf_autobuf struct sf_buf b = SF_BUF_INIT;
    assert_int_equal(sf_read_file(path, 1000, &b, NULL), 0);
    assert_string_equal(sf_buf_str(&b), text);
}

static void
a_dropped_content_goes_to_quarantine(void **state)
{
    (void)state;
    char path[PATH_MAX];
    struct got *got;
    struct sf_err err = SF_ERR_INIT;
    struct sf_content *c = resting("a", "text", &got);
    uint64_t seq = look().rows[0].seq;
    assert_int_equal(sf_writer_pending_drop(writer, seq + 1, path, &err), -ENOENT);
    assert_int_equal(sf_writer_pending_drop(writer, seq, path, NULL), 0);
    assert_int_equal(wait_for(got), -EPERM);
    expect_bytes(path, "text");
    assert_non_null(strstr(path, "/quarantine/"));
    assert_int_equal(look().n, 0);
    assert_int_equal(sf_writer_pending_drop(writer, seq, path, NULL), -ENOENT);
    assert_null(fake_find("b", "a"));
    sf_content_unref(c);
    assert_int_equal(count_files("quarantine"), 2);
    assert_int_equal(count_files("staging"), 0);
}

static void *
open_later(void *arg)
{
    (void)arg;
    usleep(100000);
    fake_open(FAKE_PUT);
    return NULL;
}

static void
also_one_whose_request_is_under_way(void **state)
{
    (void)state;
    char path[PATH_MAX];
    pthread_t thread;
    struct sf_content *c = content("a", "text");
    fake_close(FAKE_PUT);
    struct got *got = commit_behind(c);
    fake_wait_at_gate(FAKE_PUT, 1);
    fake_fault(FAKE_PUT, 1, FAKE_REFUSED, -ECONNRESET); /* held otherwise */
    uint64_t seq = look().rows[0].seq;
    assert_int_equal(pthread_create(&thread, NULL, open_later, NULL), 0);
    assert_int_equal(sf_writer_pending_drop(writer, seq, path, NULL), 0);
    pthread_join(thread, NULL);
    assert_int_equal(wait_for(got), -EPERM);
    expect_bytes(path, "text");
    assert_null(fake_find("b", "a"));

    /* One that succeeds all the same is in the bucket, and nothing is put aside. */
    struct sf_content *d = content("d", "text");
    struct sf_err err = SF_ERR_INIT;
    fake_close(FAKE_PUT);
    got = commit_behind(d);
    fake_wait_at_gate(FAKE_PUT, 1);
    seq = look().rows[0].seq;
    assert_int_equal(pthread_create(&thread, NULL, open_later, NULL), 0);
    int rc = sf_writer_pending_drop(writer, seq, path, &err);
    assert_true(rc == -EALREADY ||
                rc == -ENOENT); /* the upload ended first: before the call, too */
    pthread_join(thread, NULL);
    assert_int_equal(wait_for(got), 0);
    assert_true(fake_has("b", "d", "text"));
    assert_int_equal(look().n, 0);
    sf_content_unref(c);
    sf_content_unref(d);
    assert_int_equal(count_files("quarantine"), 2);
}

/* ---- other kinds ----------------------------------------------------------------------------- */

struct both {
    struct got *kept, *settled;
};

static void
on_kept(void *arg, const struct sf_err *err)
{
    on_write(((struct both *)arg)->kept, err);
}

static void
on_settled(void *arg, const struct sf_err *err)
{
    on_write(((struct both *)arg)->settled, err);
}

static void
on_attrs(void *arg, const struct sf_err *err, const struct sf_version *now)
{
    (void)now;
    on_settled(arg, err);
}

static void
remove_behind(const char *key, struct both *b)
{
    *b = (struct both){got_new(), got_new()};
    sf_write_delete_behind(writer, "b", key, NULL, on_kept, on_settled, b);
    assert_int_equal(wait_for(b->kept), 0);
}

static void
change_mode(const char *key, struct both *b)
{
    const struct sf_mark mark = {.valid = SF_MARK_MODE, .mode = 0100600};
    const struct sf_attr_change ch = {.bucket = "b", .key = key, .mark = &mark};
    *b = (struct both){got_new(), got_new()};
    sf_write_attrs(writer, &ch, on_kept, on_attrs, b);
    assert_int_equal(wait_for(b->kept), 0);
}

static void
removals_tell_why_they_rest(void **state)
{
    (void)state;
    char path[PATH_MAX];
    struct both b;
    struct sf_err err = SF_ERR_INIT;
    struct seen s = {.n = 0};
    fake_set("b", "k", "x");
    fake_fault(FAKE_DELETE, 2, FAKE_REFUSED, -ECONNREFUSED);
    remove_behind("k", &b);
    for (int i = 0; i < 400 && (!s.n || !s.rows[0].attempts); i++, usleep(5000))
        s = look();
    assert_int_equal(s.n, 1);
    assert_string_equal(s.rows[0].kind, "delete");
    assert_int_equal(s.rows[0].err, -ECONNREFUSED);
    assert_true(s.rows[0].next_ms >= 0);
    assert_int_equal(sf_writer_pending_drop(writer, s.rows[0].seq, path, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "is of kind delete"));
    while (fake_count(FAKE_DELETE) < 3) {
        (void)sf_writer_pending_retry(writer, s.rows[0].seq, NULL);
        usleep(5000);
    }
    assert_int_equal(wait_for(b.settled), 0);
    assert_int_equal(look().n, 0);
}

static void
local_attributes_are_tried_when_asked(void **state)
{
    (void)state;
    struct both b;
    struct sf_flush_now end;
    const struct sf_flush_args all = {.deadline_ms = INT64_MAX};
    char big[3000]; /* beyond attr_copy_max */
    memset(big, 'x', sizeof big);
    fake_set_bytes("b", "k", big, sizeof big);
    change_mode("k", &b);
    assert_int_equal(sf_writer_flush(writer, &all, &end), 0); /* nobody waits for them */
    assert_int_equal(end.local, 1);
    assert_int_equal(end.left, 0);
    assert_int_not_equal(wait_for(b.settled), 0);
    struct seen s = look();
    assert_int_equal(s.n, 1);
    assert_string_equal(s.rows[0].kind, "attrs");
    assert_string_equal(s.rows[0].state, "local");
    assert_true(s.rows[0].reason[0] != 0);
    fake_function(true);
    assert_int_equal(sf_writer_pending_retry(writer, 0, NULL), 1);
    for (int i = 0; i < 1000 && look().n; i++)
        usleep(5000);
    assert_int_equal(look().n, 0);
    assert_true(fake_count(FAKE_SET_ATTRS) > 0);
}

/* ---- waiting --------------------------------------------------------------------------------- */

static unsigned reports;

static int
on_progress(void *arg, const struct sf_flush_now *now)
{
    unsigned *end_after = arg;
    assert_true(now->left > 0);
    return end_after && ++reports > *end_after ? 7 : 0;
}

static void
a_flush_waits_for_what_was_acknowledged(void **state)
{
    (void)state;
    struct got *got;
    struct both b;
    struct sf_flush_now end;
    struct sf_flush_args args = {.deadline_ms = INT64_MAX};
    struct sf_content *open = content("open", "not closed");
    struct sf_content *c = resting("a", "text", &got);
    fake_set("b", "k", "x");
    remove_behind("k", &b);
    int64_t begun = sf_clock_ms();
    assert_int_equal(sf_writer_flush(writer, &args, &end), 0);
    assert_true(sf_clock_ms() - begun < REST_MS / 3);
    assert_int_equal(end.left + end.refused + end.local, 0);
    assert_true(fake_has("b", "a", "text"));
    assert_null(fake_find("b", "k"));
    assert_null(fake_find("b", "open"));
    assert_int_equal(look().n, 0);
    assert_int_equal(wait_for(got), 0);
    assert_int_equal(wait_for(b.settled), 0);
    assert_int_equal(wait_for(commit(open, false)), 0);
    sf_content_unref(c);
    sf_content_unref(open);
}

static void
a_flush_can_be_ended_and_tells_what_is_left(void **state)
{
    (void)state;
    unsigned some = 3;
    struct sf_flush_now end;
    struct sf_content *c = content("dir/a", "text");
    fake_close(FAKE_PUT);
    struct got *got = commit_behind(c);
    fake_wait_at_gate(FAKE_PUT, 1);
    struct sf_flush_args args = {.deadline_ms = sf_clock_ms() + 100, .progress = on_progress};
    assert_int_equal(sf_writer_flush(writer, &args, &end), -ETIMEDOUT);
    assert_int_equal(end.left, 1);
    assert_true(end.bytes <= 4);
    reports = 0;
    args = (struct sf_flush_args){.deadline_ms = INT64_MAX, .progress = on_progress, .arg = &some};
    assert_int_equal(sf_writer_flush(writer, &args, &end), 7);
    /* Elsewhere there is nothing to wait for. */
    args = (struct sf_flush_args){.bucket = "b", .key = "other/", .deadline_ms = INT64_MAX};
    assert_int_equal(sf_writer_flush(writer, &args, &end), 0);
    args = (struct sf_flush_args){.bucket = "b", .key = "dir/", .deadline_ms = sf_clock_ms() + 50};
    assert_int_equal(sf_writer_flush(writer, &args, &end), -ETIMEDOUT);
    args = (struct sf_flush_args){.bucket = "b", .key = "dir/a", .deadline_ms = INT64_MAX};
    fake_open(FAKE_PUT);
    assert_int_equal(sf_writer_flush(writer, &args, &end), 0);
    assert_int_equal(wait_for(got), 0);
    sf_content_unref(c);
}

/* Nothing ends before somebody waits for it. */
static int
open_both(void *arg, const struct sf_flush_now *now)
{
    (void)arg;
    assert_true(now->left > 0);
    fake_open(FAKE_PUT);
    fake_open(FAKE_DELETE);
    return 0;
}

static void
a_flush_tells_of_refusals(void **state)
{
    (void)state;
    struct sf_flush_now end;
    const struct sf_flush_args args = {.deadline_ms = INT64_MAX, .progress = open_both};
    struct both b;
    struct sf_content *c = content("a", "text");
    fake_set("b", "k", "x");
    fake_protect("k");
    fake_close(FAKE_PUT);
    fake_close(FAKE_DELETE);
    struct got *got = commit_behind(c);
    fake_wait_at_gate(FAKE_PUT, 1);
    fake_fault(FAKE_PUT, 1, FAKE_REFUSED, -EACCES);
    remove_behind("k", &b);
    assert_int_equal(sf_writer_flush(writer, &args, &end), 0);
    assert_int_equal(wait_for(got), -EACCES);
    (void)wait_for(b.settled);
    assert_int_equal(end.refused, 1 + (fake_find("b", "k") != NULL));
    sf_content_unref(c);
}

/* ---- without a daemon ------------------------------------------------------------------------ */

struct aside {
    unsigned n;
    char path[PATH_MAX], key[32], reason[100];
};

static int
on_aside(void *arg, const struct sf_quarantine_row *r)
{
    struct aside *a = arg;
    a->n++;
    snprintf(a->path, sizeof a->path, "%s", r->path);
    snprintf(a->key, sizeof a->key, "%s", r->key ? r->key : "");
    snprintf(a->reason, sizeof a->reason, "%s", r->reason ? r->reason : "");
    return 0;
}

/* The daemon ends; what rests stays in the journal. */
static void
end_daemon(struct sf_content *c)
{
    sf_writer_give_up(writer);
    assert_int_equal(sf_writer_drain(writer, sf_clock_ms() + 20000), 0);
    sf_content_unref(c);
    sf_writer_free(writer);
    writer = NULL;
}

static void
a_state_directory_can_be_read_without_a_daemon(void **state)
{
    (void)state;
    struct got *got;
    struct sf_err err = SF_ERR_INIT;
    struct seen s = {.n = 0};
    struct aside a = {.n = 0};
    char path[PATH_MAX];
    struct sf_content *c = resting("left", "text", &got), *d = resting("dropped", "aside", &got);
    assert_int_equal(sf_writer_pending_drop(writer, look().rows[1].seq, path, NULL), 0);
    sf_content_unref(d);
    end_daemon(c);
    assert_int_equal(sf_state_each_pending(state_dir, on_row, &s, &err), 0);
    assert_int_equal(s.n, 1);
    assert_string_equal(s.rows[0].key, "left");
    assert_string_equal(s.rows[0].state, "held");
    assert_int_equal(s.rows[0].err, -ECONNREFUSED);
    assert_false(s.rows[0].running);
    assert_int_equal(sf_state_each_quarantined(state_dir, on_aside, &a), 0);
    assert_int_equal(a.n, 1);
    assert_string_equal(a.path, path);
    assert_string_equal(a.key, "dropped");
    assert_non_null(strstr(a.reason, "queue drop"));

    /* Not while a daemon holds it. */
    int fd = -1;
    assert_int_equal(sf_lock_dir(state_dir, "/mnt/x", &fd, NULL, NULL), 0);
    assert_int_equal(sf_state_each_pending(state_dir, on_row, &s, &err), -EBUSY);
    assert_non_null(strstr(err.msg, "/mnt/x"));
    close(fd);
    s.n = 0;
    assert_int_equal(sf_state_each_pending(state_dir, on_row, &s, NULL), 0);
    assert_int_equal(s.n, 1);

    /* A lock file that cannot be opened is not taken for one that nobody holds. */
    snprintf(path, sizeof path, "%s/lock", state_dir);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("journal", path), 0);
    err = SF_ERR_INIT;
    assert_int_equal(sf_state_each_pending(state_dir, on_row, &s, &err), -ELOOP);
    assert_non_null(strstr(err.msg, "lock"));
    assert_int_equal(unlink(path), 0);
    writer_start(4, 0);
}

struct plant {
    struct sf_env_write w;
    uint64_t seq;
    const char *value;
};

static int
plant_run(struct sf_env_write *w, struct sf_txn *txn)
{
    struct plant *p = (struct plant *)w;
    uint64_t key = htobe64(p->seq);
    return sf_txn_put(txn, 0, &key, sizeof key, p->value, strlen(p->value));
}

/* A record that nobody can read, behind the journal's back. */
static void
plant(uint64_t seq, const char *value)
{
    static const char *const tables[] = {"records", "meta"};
    char path[128];
    struct sf_env *env;
    struct plant p = {.w = {.run = plant_run}, .seq = seq, .value = value};
    snprintf(path, sizeof path, "%s/journal", state_dir);
    const struct sf_env_opts o = {
        .dir = path, .name = "x", .tables = tables, .n_tables = 2, .max_bytes = 1 << 20};
    assert_int_equal(sf_env_open(&o, &env, NULL), 0);
    assert_int_equal(sf_env_write_wait(env, &p.w), 0);
    sf_env_close(env);
}

static void
also_where_not_all_of_it_is_sound(void **state)
{
    (void)state;
    struct got *got;
    struct sf_err err = SF_ERR_INIT;
    struct seen s = {.n = 0};
    struct aside a = {.n = 0};
    char path[PATH_MAX];
    struct sf_content *c = resting("left", "text", &got);
    end_daemon(c);

    /* A damaged record is told as one, and the others as if it were not there. */
    plant(3000, "{\"v\":2}");
    assert_int_equal(sf_state_each_pending(state_dir, on_row, &s, NULL), 0);
    assert_int_equal(s.n, 2);
    assert_string_equal(s.rows[0].key, "left");
    assert_false(s.rows[0].damaged);
    assert_true(s.rows[1].damaged);
    assert_int_equal(s.rows[1].seq, 3000);
    assert_int_equal(s.rows[1].err, -EUCLEAN);
    assert_true(s.rows[1].reason[0] != 0);

    /* A record whose file is gone is shown still. The start puts both aside, and ends with that. */
    snprintf(path, sizeof path, "%s/staging/%s", state_dir, s.rows[0].file);
    assert_int_equal(unlink(path), 0);
    s.n = 0;
    assert_int_equal(sf_state_each_pending(state_dir, on_row, &s, NULL), 0);
    assert_int_equal(s.n, 2);
    assert_string_equal(s.rows[0].key, "left");
    writer_start(4, 0);
    assert_int_equal(sf_writer_drain(writer, sf_clock_ms() + 20000), 0);
    assert_int_equal(look().n, 0);
    assert_null(fake_find("b", "left"));
    assert_int_equal(sf_state_each_quarantined(state_dir, on_aside, &a), 0);
    assert_true(a.n >= 1);
    sf_writer_free(writer);
    writer = NULL;

    /* It need not even be writable, and what is no journal is said to be none. */
    snprintf(path, sizeof path, "%s/journal/data.mdb", state_dir);
    assert_int_equal(truncate(path, 5000), 0);
    assert_int_equal(sf_state_each_pending(state_dir, on_row, &s, &err), -EUCLEAN);
    assert_non_null(strstr(err.msg, "damaged"));
    snprintf(path, sizeof path, "%s/nothing", state_dir);
    assert_int_equal(sf_state_each_pending(path, on_row, &s, NULL), -ENOENT);
    snprintf(path, sizeof path, "rm -rf '%s'/journal", state_dir);
    assert_int_equal(system(path), 0);
    writer_start(4, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_resting, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {TEST(rows_tell_what_is_and_what_becomes_of_it),
                                       TEST(what_rests_is_tried_when_asked),
                                       TEST(a_dropped_content_goes_to_quarantine),
                                       TEST(also_one_whose_request_is_under_way),
                                       TEST(removals_tell_why_they_rest),
                                       TEST(local_attributes_are_tried_when_asked),
                                       TEST(a_flush_waits_for_what_was_acknowledged),
                                       TEST(a_flush_can_be_ended_and_tells_what_is_left),
                                       TEST(a_flush_tells_of_refusals),
                                       TEST(a_state_directory_can_be_read_without_a_daemon),
                                       TEST(also_where_not_all_of_it_is_sound)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
