/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_TESTS_WRITE_FIXTURE_H
#define SF_TESTS_WRITE_FIXTURE_H

#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/lock.h"
#include "fake-storage.h"
#include "supabase/storage.h"
#include "write/write.h"

/* Included once by each test of src/write: a writer over the fake storage, and its answers. */

#define KEEP_OPEN_MAX (8 << 20)

static char state_dir[64];
static struct sf_writer *writer;

/* An answer that has come or not. */
struct got {
    struct sf_mutex lock;
    struct sf_cond cond;
    unsigned calls;
    struct sf_err err;
    struct sf_commit done;
    char conflict[901]; /* "" = none */
    struct sf_version version;
    ssize_t n; /* of a read */
};

static struct got *all_got[512];
static unsigned n_got;

__attribute__((unused)) static struct got *
got_new(void)
{
    struct got *g = calloc(1, sizeof *g);
    assert_non_null(g);
    assert_true(n_got < 512);
    all_got[n_got++] = g;
    sf_mutex_init(&g->lock, 0);
    sf_cond_init(&g->cond);
    return g;
}

__attribute__((unused)) static void
on_commit(void *arg, const struct sf_err *err, const struct sf_commit *done)
{
    struct got *g = arg;
    SF_GUARD(&g->lock);
    g->calls++;
    g->err = err ? *err : SF_ERR_INIT;
    if (done)
        g->done = *done;
    if (done && done->conflict_key)
        snprintf(g->conflict, sizeof g->conflict, "%s", done->conflict_key);
    sf_cond_broadcast(&g->cond);
}

__attribute__((unused)) static void
on_write(void *arg, const struct sf_err *err)
{
    on_commit(arg, err, NULL);
}

/* Wait for the answer; its code. */
__attribute__((unused)) static int
wait_for(struct got *g)
{
    int64_t until = sf_clock_ms() + 20000;
    SF_GUARD(&g->lock);
    while (!g->calls)
        if (sf_cond_timedwait_ms(&g->cond, &g->lock, until))
            fail_msg("no answer within 20 s");
    return g->err.code;
}

__attribute__((unused)) static bool
has_come(struct got *g)
{
    SF_GUARD(&g->lock);
    return g->calls > 0;
}

/* What is the same for all is filled in. */
static void
writer_start_with(struct sf_writer_opts opts)
{
    struct sf_err err = SF_ERR_INIT;
    opts.state_dir = state_dir;
    opts.timeout_ms = 4000;
    opts.keep_open_max = KEEP_OPEN_MAX;
    opts.attr_copy_max = 1000;
    if (sf_writer_new(&opts, NULL, &writer, &err))
        fail_msg("sf_writer_new: %s", err.msg);
}

static void
writer_start(unsigned workers, unsigned max_queue)
{
    writer_start_with((struct sf_writer_opts){.workers = workers, .max_queue = max_queue});
}

/* In @dir or /tmp. */
__attribute__((unused)) static void
state_make(const char *dir)
{
    snprintf(state_dir, sizeof state_dir, "%s/supafs-write.XXXXXX", dir);
    assert_non_null(mkdtemp(state_dir));
}

static void
state_remove(void)
{
    char cmd[100];
    snprintf(cmd, sizeof cmd, "rm -rf '%s'", state_dir);
    assert_int_equal(system(cmd), 0);
}

__attribute__((unused)) static int
setup(void **state)
{
    (void)state;
    fake_start();
    state_make("/tmp");
    writer_start(4, 0);
    return 0;
}

/* Every answer came once and only once. */
__attribute__((unused)) static int
teardown(void **state)
{
    (void)state;
    for (int op = 0; op < FAKE_OPS; op++) /* of a test that failed */
        fake_open((enum fake_op)op);
    sf_writer_free(writer);
    writer = NULL;
    fake_stop();
    state_remove();
    for (unsigned i = 0; i < n_got; i++) {
        assert_int_equal(all_got[i]->calls, 1);
        sf_cond_fini(&all_got[i]->cond);
        sf_mutex_fini(&all_got[i]->lock);
        free(all_got[i]);
    }
    n_got = 0;
    return 0;
}

__attribute__((unused)) static struct sf_content *
content(const char *key, const char *text)
{
    struct sf_content *c;
    assert_int_equal(sf_content_new(writer, "b", key, &c, NULL), 0);
    if (text)
        assert_int_equal(sf_content_write(c, text, strlen(text), 0), strlen(text));
    return c;
}

/* A content that begins with an object as it is. */
__attribute__((unused)) static struct sf_content *
content_of(const char *key, const char *source)
{
    struct sf_content *c;
    struct sf_source src = {.bucket = "b", .key = source};
    const struct fake_object *o = fake_find("b", source);
    assert_non_null(o);
    src.version.size = o->len;
    snprintf(src.version.id, sizeof src.version.id, "%s", o->id);
    snprintf(src.version.etag, sizeof src.version.etag, "%s", o->etag);
    assert_int_equal(sf_content_of(writer, "b", key, &src, &c, NULL), 0);
    return c;
}

__attribute__((unused)) static void
on_read(void *arg, ssize_t n)
{
    struct got *g = arg;
    SF_GUARD(&g->lock);
    g->calls++;
    g->n = n;
    sf_cond_broadcast(&g->cond);
}

/* Begin to read: the answer comes later, or is here. */
__attribute__((unused)) static struct got *
read_begin(struct sf_content *c, void *buf, size_t len, uint64_t off)
{
    struct got *g = got_new();
    ssize_t n = sf_content_read(c, buf, len, off, on_read, g);
    if (n != -EINPROGRESS)
        on_read(g, n);
    return g;
}

__attribute__((unused)) static ssize_t
read_wait(struct sf_content *c, void *buf, size_t len, uint64_t off)
{
    struct got *g = read_begin(c, buf, len, off);
    int64_t until = sf_clock_ms() + 20000;
    SF_GUARD(&g->lock);
    while (!g->calls)
        if (sf_cond_timedwait_ms(&g->cond, &g->lock, until))
            fail_msg("no answer within 20 s");
    return g->n;
}

/* Of what is here: no request, and no waiting. */
__attribute__((unused)) static ssize_t
read_local(struct sf_content *c, void *buf, size_t len, uint64_t off)
{
    return sf_content_read(c, buf, len, off, NULL, NULL);
}

__attribute__((unused)) static struct got *
commit(struct sf_content *c, bool exists)
{
    struct got *g = got_new();
    const struct sf_commit_args args = {.exists = exists, .max_size = UINT64_MAX};
    sf_content_commit(c, &args, on_commit, g);
    return g;
}

__attribute__((unused)) static void
on_rename(void *arg, const struct sf_err *err, const struct sf_version *now)
{
    struct got *g = arg;
    if (now)
        g->version = *now;
    on_commit(arg, err, NULL);
}

__attribute__((unused)) static struct got *
rename_to(const char *from, const char *to, bool replace)
{
    struct got *g = got_new();
    const struct sf_rename_args args = {
        .bucket = "b", .key = from, .to_bucket = "b", .to_key = to, .replace = replace};
    sf_write_rename(writer, &args, on_rename, g);
    return g;
}

__attribute__((unused)) static struct got *
delete_key(const char *key)
{
    struct got *g = got_new();
    sf_write_delete(writer, "b", key, on_write, g);
    return g;
}

__attribute__((unused)) static struct got *
put_small(const char *key, const char *text, bool replace)
{
    struct got *g = got_new();
    sf_write_put_small(writer, "b", key, "text/plain", text, strlen(text), replace, NULL, on_commit,
                       g);
    return g;
}

/* Files below one of the state directory's folders, once nothing is under way. */
__attribute__((unused)) static unsigned
count_files(const char *folder)
{
    char path[128];
    if (writer) /* whose jobs refer to contents for a moment after their answer */
        assert_int_equal(sf_writer_drain(writer, sf_clock_ms() + 5000), 0);
    snprintf(path, sizeof path, "%s/%s", state_dir, folder);
    sf_autodir DIR *d = opendir(path);
    assert_non_null(d);
    unsigned n = 0;
    for (struct dirent *e; (e = readdir(d));)
        n += e->d_name[0] != '.';
    return n;
}

#endif
