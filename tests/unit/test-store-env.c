/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "store/env.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/lock.h"

/* Tables on disk: what is written is there or is not, as a whole; many writers share a commit. */

static char dir[64];
static struct sf_env *env;
static const char *const tables[] = {"one", "two"};

static int
remove_one(const char *path, const struct stat *st, int flag, struct FTW *f)
{
    (void)st, (void)flag, (void)f;
    return remove(path);
}

static int
open_env(uint64_t max_bytes, bool throw_away)
{
    struct sf_env_opts o = {.dir = dir,
                            .name = "test-env",
                            .tables = tables,
                            .n_tables = 2,
                            .max_bytes = max_bytes,
                            .throw_away = throw_away};
    struct sf_err err = SF_ERR_INIT;
    int rc = sf_env_open(&o, &env, &err);
    assert_int_equal(err.code, rc);
    return rc;
}

static int
setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/supafs-env-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int
teardown(void **state)
{
    (void)state;
    sf_env_close(env);
    env = NULL;
    return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* One row, put or (value NULL) removed; fails on purpose with `fail`, after the change. */
struct row {
    struct sf_env_write w;
    unsigned table;
    char key[32];
    const char *value;
    size_t len;
    int fail;
};

static int
row_run(struct sf_env_write *w, struct sf_txn *txn)
{
    struct row *r = (struct row *)w;
    int rc = r->value ? sf_txn_put(txn, r->table, r->key, strlen(r->key), r->value, r->len)
                      : sf_txn_del(txn, r->table, r->key, strlen(r->key));
    return rc ? rc : r->fail;
}

static struct row
row_of(const char *key, const char *value)
{
    struct row r = {.w = {.run = row_run}, .value = value, .len = value ? strlen(value) : 0};
    snprintf(r.key, sizeof r.key, "%s", key);
    r.w.frees = !value;
    return r;
}

static int
put(const char *key, const char *value)
{
    struct row r = row_of(key, value);
    return sf_env_write_wait(env, &r.w);
}

/* NULL = there is none; valid until the next call. */
static const char *
value_of(const char *key)
{
    static char text[4096];
    sf_autobuf struct sf_buf b = SF_BUF_INIT;
    int rc = sf_env_get(env, 0, key, strlen(key), &b);
    if (rc == -ENOENT)
        return NULL;
    assert_int_equal(rc, 0);
    snprintf(text, sizeof text, "%s", sf_buf_str(&b));
    return text;
}

static int
collect(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    struct sf_buf *out = arg;
    assert_int_equal(sf_buf_append(out, key, key_len), 0);
    assert_int_equal(sf_buf_putc(out, '='), 0);
    assert_int_equal(sf_buf_append(out, value, value_len), 0);
    assert_int_equal(sf_buf_putc(out, ' '), 0);
    return out->len > 20 ? 7 : 0;
}

static void
rows_come_back_in_order(void **state)
{
    (void)state;
    assert_int_equal(open_env(1 << 20, false), 0);
    assert_null(value_of("a"));
    assert_int_equal(put("b", "2"), 0);
    assert_int_equal(put("a", "1"), 0);
    assert_int_equal(put("c", "3"), 0);
    assert_int_equal(put("b", "zwei"), 0);
    assert_string_equal(value_of("b"), "zwei");
    sf_autobuf struct sf_buf all = SF_BUF_INIT, rest = SF_BUF_INIT;
    assert_int_equal(sf_env_walk(env, 0, NULL, 0, collect, &all), 0);
    assert_string_equal(sf_buf_str(&all), "a=1 b=zwei c=3 ");
    assert_int_equal(sf_env_walk(env, 0, "aa", 2, collect, &rest), 0);
    assert_int_equal(sf_env_walk(env, 0, "b", 1, collect, &rest), 0);
    assert_string_equal(sf_buf_str(&rest), "b=zwei c=3 c=3 ");
    assert_int_equal(put("d", "of which the walk is ended"), 0);
    assert_int_equal(sf_env_walk(env, 0, "c", 1, collect, &all), 7);
    assert_int_equal(put("b", NULL), 0);
    assert_int_equal(put("b", NULL), -ENOENT);
    assert_null(value_of("b"));

    struct row other = row_of("a", "elsewhere");
    other.table = 1;
    assert_int_equal(sf_env_write_wait(env, &other.w), 0);
    assert_string_equal(value_of("a"), "1");
    sf_env_close(env);
    assert_int_equal(open_env(1 << 20, false), 0);
    assert_string_equal(value_of("a"), "1");
    assert_null(value_of("b"));
}

/* ---- many at once --------------------------------------------------------------------------- */

/* A write that waits on the environment's thread until it is let go. */
struct gate {
    struct sf_env_write w;
    struct sf_mutex lock; /* leaf; protects the next */
    struct sf_cond cond;
    bool entered, open;
    int rc;
};

static int
gate_run(struct sf_env_write *w, struct sf_txn *txn)
{
    struct gate *g = (struct gate *)w;
    (void)txn;
    SF_GUARD(&g->lock);
    g->entered = true;
    sf_cond_broadcast(&g->cond);
    while (!g->open)
        sf_cond_wait(&g->cond, &g->lock);
    return 0;
}

static void
gate_done(struct sf_env_write *w, int rc)
{
    ((struct gate *)w)->rc = rc;
}

static void
gate_enter(struct gate *g)
{
    *g = (struct gate){.w = {.run = gate_run, .done = gate_done}, .rc = 1};
    sf_mutex_init(&g->lock, 0);
    sf_cond_init(&g->cond);
    sf_env_submit(env, &g->w);
    SF_GUARD(&g->lock);
    while (!g->entered)
        sf_cond_wait(&g->cond, &g->lock);
}

static void
gate_leave(struct gate *g)
{
    SF_GUARD(&g->lock);
    g->open = true;
    sf_cond_broadcast(&g->cond);
}

struct counted {
    struct row row;
    int rc;
    unsigned nth;
};

static unsigned done_count;

static void
counted_done(struct sf_env_write *w, int rc)
{
    struct counted *c = (struct counted *)w;
    c->rc = rc;
    c->nth = done_count++;
}

static void
those_that_wait_share_a_commit(void **state)
{
    (void)state;
    static struct counted many[40];
    struct sf_env_stats before, after;
    struct gate gate;
    assert_int_equal(open_env(1 << 20, false), 0);
    sf_env_get_stats(env, &before);
    gate_enter(&gate);
    done_count = 0;
    for (unsigned i = 0; i < 40; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%02u", i);
        many[i].row = row_of(key, "x");
        many[i].row.w.done = counted_done;
        sf_env_submit(env, &many[i].row.w);
    }
    gate_leave(&gate);
    assert_int_equal(put("last", "x"), 0); /* all before it are done */
    sf_env_get_stats(env, &after);
    assert_int_equal(gate.rc, 0);
    assert_int_equal(after.writes - before.writes, 42);
    assert_in_range(after.commits - before.commits, 2, 3); /* the gate; 40 rows; perhaps the last */
    for (unsigned i = 0; i < 40; i++) {
        assert_int_equal(many[i].rc, 0);
        assert_int_equal(many[i].nth, i);
        assert_non_null(value_of(many[i].row.key));
    }
}

static void
a_write_that_fails_takes_no_other_with_it(void **state)
{
    (void)state;
    static struct counted three[3];
    struct gate gate;
    assert_int_equal(open_env(1 << 20, false), 0);
    gate_enter(&gate);
    for (unsigned i = 0; i < 3; i++) {
        three[i].row = row_of((const char *[]){"a", "b", "c"}[i], "x");
        three[i].row.w.done = counted_done;
        three[i].row.fail = i == 1 ? -EDOM : 0;
        sf_env_submit(env, &three[i].row.w);
    }
    gate_leave(&gate);
    assert_int_equal(put("d", "x"), 0);
    assert_int_equal(three[0].rc, 0);
    assert_int_equal(three[1].rc, -EDOM);
    assert_int_equal(three[2].rc, 0);
    assert_non_null(value_of("a"));
    assert_null(value_of("b"));
    assert_non_null(value_of("c"));
}

static void
what_nobody_waits_for_goes_along(void **state)
{
    (void)state;
    static struct counted lazy[2];
    struct sf_env_stats before, after;
    assert_int_equal(open_env(1 << 20, false), 0);
    sf_env_get_stats(env, &before);
    for (unsigned i = 0; i < 2; i++) {
        lazy[i].row = row_of((const char *[]){"a", "c"}[i], "x");
        lazy[i].row.w.done = counted_done;
        lazy[i].row.w.lazy = true;
        lazy[i].rc = 1;
    }
    sf_env_submit(env, &lazy[0].row.w);
    assert_int_equal(put("b", "x"), 0);
    sf_env_get_stats(env, &after);
    assert_int_equal(lazy[0].rc, 0);
    assert_int_equal(after.commits - before.commits, 1);
    sf_env_submit(env, &lazy[1].row.w); /* nothing else comes */
    for (int i = 0; i < 500 && after.commits - before.commits < 2; i++) {
        usleep(10000);
        sf_env_get_stats(env, &after);
    }
    assert_int_equal(after.commits - before.commits, 2);
    assert_non_null(value_of("c"));
}

/* ---- readers -------------------------------------------------------------------------------- */

static _Atomic bool stop_readers;

static int
two_run(struct sf_env_write *w, struct sf_txn *txn)
{
    struct row *r = (struct row *)w;
    int rc = sf_txn_put(txn, 0, "left", 4, r->key, strlen(r->key));
    return rc ? rc : sf_txn_put(txn, 0, "right", 5, r->key, strlen(r->key));
}

struct pair {
    char text[2][32];
    unsigned n;
};

static int
pair_row(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    struct pair *p = arg;
    (void)key, (void)key_len;
    snprintf(p->text[p->n++ % 2], 32, "%.*s", (int)value_len, (const char *)value);
    return 0;
}

/* Both rows are always of the same write. Returns how often it looked. */
static void *
reader(void *arg)
{
    static struct pair torn;
    uintptr_t looks = 0;
    (void)arg;
    do {
        struct pair p = {.n = 0};
        if (sf_env_walk(env, 0, NULL, 0, pair_row, &p) || p.n != 2 ||
            strcmp(p.text[0], p.text[1]) != 0)
            return &torn;
        looks++;
    } while (!atomic_load(&stop_readers));
    return looks ? NULL : &torn;
}

static void
a_reader_sees_whole_commits(void **state)
{
    (void)state;
    pthread_t t[2];
    struct row r = {.w = {.run = two_run}, .key = "0"};
    assert_int_equal(open_env(1 << 20, false), 0);
    assert_int_equal(sf_env_write_wait(env, &r.w), 0);
    atomic_store(&stop_readers, false);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&t[i], NULL, reader, NULL), 0);
    for (unsigned i = 1; i <= 60; i++) {
        snprintf(r.key, sizeof r.key, "%u", i);
        assert_int_equal(sf_env_write_wait(env, &r.w), 0);
    }
    atomic_store(&stop_readers, true);
    for (int i = 0; i < 2; i++) {
        void *torn;
        assert_int_equal(pthread_join(t[i], &torn), 0);
        assert_null(torn);
    }
}

/* ---- full ----------------------------------------------------------------------------------- */

static void
a_full_file_can_be_emptied_again(void **state)
{
    (void)state;
    char text[2001], key[16];
    unsigned n = 0;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    assert_int_equal(open_env(256 << 10, false), 0);
    int rc = 0;
    for (; !rc && n < 1000; n++) {
        snprintf(key, sizeof key, "k%03u", n);
        rc = put(key, text);
    }
    assert_int_equal(rc, -ENOSPC);
    assert_in_range(n, 50, 200);
    assert_int_equal(put("k000", "smaller, but no write that frees"), -ENOSPC);
    assert_string_equal(value_of("k000"), text);
    for (unsigned i = 0; i + 1 < n; i++) {
        snprintf(key, sizeof key, "k%03u", i);
        assert_int_equal(put(key, NULL), 0);
    }
    assert_int_equal(put("again", text), 0);
    assert_string_equal(value_of("again"), text);
}

/* ---- the end of a process ------------------------------------------------------------------- */

static int ack_fd;

static void
acknowledge(struct sf_env_write *w, int rc)
{
    unsigned char n = (unsigned char)((struct counted *)w)->nth;
    if (rc == 0)
        (void)!write(ack_fd, &n, 1);
}

/* A child that writes 200 rows and says which are done, killed behind the @kill_after-th. */
static unsigned
killed_child(unsigned kill_after, bool throw_away)
{
    int fd[2];
    unsigned char n, last = 0;
    unsigned seen = 0;
    assert_int_equal(pipe(fd), 0);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        static struct counted rows[200];
        ack_fd = fd[1];
        if (open_env(1 << 20, throw_away))
            _exit(1);
        for (unsigned i = 0; i < 200; i++) {
            char key[16];
            snprintf(key, sizeof key, "k%03u", i);
            rows[i].row = row_of(key, "here");
            rows[i].row.w.done = acknowledge;
            rows[i].nth = i;
            sf_env_submit(env, &rows[i].row.w);
            if (i % 8 == 7)
                usleep(500);
        }
        pause();
    }
    close(fd[1]);
    while (seen < kill_after && read(fd[0], &n, 1) == 1)
        seen++, last = n;
    assert_int_equal(seen, kill_after);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    while (read(fd[0], &n, 1) == 1)
        last = n;
    close(fd[0]);
    return last;
}

static void
what_was_acknowledged_survives_a_kill(void **state)
{
    (void)state;
    char key[16];
    for (unsigned kill_after = 1; kill_after < 200; kill_after += 66) {
        unsigned last = killed_child(kill_after, false);
        assert_int_equal(open_env(1 << 20, false), 0);
        for (unsigned i = 0; i <= last; i++) {
            snprintf(key, sizeof key, "k%03u", i);
            assert_string_equal(value_of(key), "here");
        }
        assert_int_equal(put("goes-on", "yes"), 0);
        sf_env_close(env);
        env = NULL;
    }
}

static void
write_file(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    sf_autofile FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
}

static void
a_throw_away_one_lasts_within_a_boot(void **state)
{
    (void)state;
    killed_child(200, true);
    assert_int_equal(open_env(1 << 20, true), 0);
    assert_string_equal(value_of("k199"), "here");
    sf_env_close(env);
    assert_int_equal(open_env(1 << 20, true), 0); /* closed, it lasts longer than that */
    assert_string_equal(value_of("k199"), "here");
    sf_env_close(env);
    env = NULL;
    write_file("boot", "another boot");
    assert_int_equal(open_env(1 << 20, true), 0);
    assert_null(value_of("k199"));
    assert_int_equal(put("k", "v"), 0);
    sf_env_close(env);
    env = NULL;
    write_file("data.mdb", "this is no database, though it is long enough for the head of one");
    assert_int_equal(open_env(1 << 20, true), 0);
    assert_null(value_of("k"));
}

static _Atomic unsigned resets;

static void
on_reset(void *arg)
{
    (void)arg;
    atomic_fetch_add(&resets, 1);
}

static void
open_guarded(void)
{
    struct sf_env_opts o = {.dir = dir,
                            .name = "test-env",
                            .tables = tables,
                            .n_tables = 2,
                            .max_bytes = 4 << 20,
                            .throw_away = true,
                            .on_reset = on_reset};
    atomic_store(&resets, 0);
    assert_int_equal(sf_env_open(&o, &env, NULL), 0);
}

static void
put_many(unsigned n)
{
    char key[16];
    for (unsigned i = 0; i < n; i++) {
        snprintf(key, sizeof key, "k%05u", i);
        struct row r = row_of(key, "a value that takes some room in the file, so that it is long");
        assert_int_equal(sf_env_write_wait(env, &r.w), 0);
    }
}

static int
open_data(void)
{
    char path[128];
    snprintf(path, sizeof path, "%s/data.mdb", dir);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    return fd;
}

/* The file is cut behind the environment's back: pages of the map are gone. */
static void
a_cut_file_ends_the_call_not_the_process(void **state)
{
    (void)state;
    sf_autobuf struct sf_buf b = SF_BUF_INIT;
    for (int writer = 0; writer < 2; writer++) {
        open_guarded();
        put_many(400);
        sf_autofd int fd = open_data();
        assert_int_equal(ftruncate(fd, 2 * 4096), 0);
        struct row r = row_of("k00007", "again");
        int rc = writer ? sf_env_write_wait(env, &r.w) : sf_env_get(env, 0, "k00007", 6, &b);
        assert_int_equal(rc, -EUCLEAN);
        for (int i = 0; i < 1000 && !atomic_load(&resets); i++)
            usleep(2000);
        assert_int_equal(atomic_load(&resets), 1);
        assert_int_equal(sf_env_get(env, 0, "k00007", 6, &b), -ENOENT);
        put_many(100);
        assert_int_equal(sf_env_get(env, 0, "k00007", 6, &b), 0);
        struct sf_env_stats st;
        sf_env_get_stats(env, &st);
        assert_int_equal(st.resets, 1);
        sf_env_close(env);
        open_guarded();
        assert_int_equal(sf_env_began(env), SF_ENV_CLEAN);
        assert_int_equal(sf_env_get(env, 0, "k00099", 6, &b), 0);
        sf_env_close(env);
        env = NULL;
    }
}

/* One of the two heads of the file is the state before the last transaction. */
static void
an_older_state_is_not_taken_for_the_last(void **state)
{
    (void)state;
    char head[2][4096];
    open_guarded();
    put_many(3);
    sf_env_close(env);
    sf_autofd int fd = open_data();
    assert_int_equal(pread(fd, head, sizeof head, 0), sizeof head);
    uint64_t txn[2]; /* the last number in a head */
    for (int i = 0; i < 2; i++)
        memcpy(&txn[i], head[i] + 16 + 4 + 4 + 8 + 8 + 2 * 48 + 8, 8);
    int newer = txn[1] > txn[0];
    assert_int_equal(txn[newer], txn[!newer] + 1);
    memset(head[newer] + 16 + 4 + 4 + 8 + 8 + 2 * 48 + 8, 0, 8);
    assert_int_equal(pwrite(fd, head, sizeof head, 0), sizeof head);
    open_guarded();
    assert_int_equal(sf_env_began(env), SF_ENV_EMPTY);
    assert_null(value_of("k00000"));
}

static void
who_died_of_damage_leaves_a_mark(void **state)
{
    (void)state;
    char path[128];
    open_guarded();
    put_many(3);
    sf_env_close(env);
    snprintf(path, sizeof path, "%s/damaged", dir);
    close(open(path, O_WRONLY | O_CREAT, 0600));
    open_guarded();
    assert_int_equal(sf_env_began(env), SF_ENV_EMPTY);
    assert_int_equal(access(path, F_OK), -1);
    assert_null(value_of("k00000"));
    put_many(1);
    sf_env_end_unclean(env);
    sf_env_close(env);
    open_guarded();
    assert_int_equal(sf_env_began(env), SF_ENV_UNCLEAN);
    assert_non_null(value_of("k00000"));
    sf_env_distrust(env);
    for (int i = 0; i < 1000 && !atomic_load(&resets); i++)
        usleep(2000);
    assert_null(value_of("k00000"));
}

static void
a_damaged_file_is_refused_and_kept(void **state)
{
    (void)state;
    char text[9000], path[128];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    write_file("data.mdb", text);
    assert_int_equal(open_env(1 << 20, false), -EUCLEAN);
    snprintf(path, sizeof path, "%s/data.mdb", dir);
    sf_autobuf struct sf_buf b = SF_BUF_INIT;
    assert_int_equal(sf_read_file(path, sizeof text, &b, NULL), 0);
    assert_string_equal(sf_buf_str(&b), text);
}

static void
a_directory_that_cannot_be_used_says_why(void **state)
{
    (void)state;
    char path[128];
    struct sf_env *none = NULL;
    struct sf_err err = SF_ERR_INIT;
    struct sf_env_opts o = {
        .dir = path, .name = "x", .tables = tables, .n_tables = 2, .max_bytes = 1 << 20};
    write_file("file", "");
    snprintf(path, sizeof path, "%s/file/env", dir);
    assert_int_equal(sf_env_open(&o, &none, &err), -ENOTDIR);
    assert_non_null(strstr(err.msg, path));
    snprintf(path, sizeof path, "%s/open-to-all", dir);
    assert_int_equal(mkdir(path, 0777), 0);
    assert_int_equal(chmod(path, 0777), 0);
    err = SF_ERR_INIT;
    assert_int_equal(sf_env_open(&o, &none, &err), -EPERM);
    assert_non_null(strstr(err.msg, path));
    assert_null(none);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(rows_come_back_in_order),
        T(those_that_wait_share_a_commit),
        T(a_write_that_fails_takes_no_other_with_it),
        T(what_nobody_waits_for_goes_along),
        T(a_reader_sees_whole_commits),
        T(a_full_file_can_be_emptied_again),
        T(what_was_acknowledged_survives_a_kill),
        T(a_throw_away_one_lasts_within_a_boot),
        T(a_cut_file_ends_the_call_not_the_process),
        T(an_older_state_is_not_taken_for_the_last),
        T(who_died_of_damage_leaves_a_mark),
        T(a_damaged_file_is_refused_and_kept),
        T(a_directory_that_cannot_be_used_says_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
