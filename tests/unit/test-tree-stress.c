/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree-fixture.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

/*
 * Many threads at one tree: what kernel workers ask, what the service answers late and in any
 * order, what other clients change, and requests that nobody waits for any more. Every call is
 * answered once, every handle and look-up is given back, what a flush promised is in the bucket,
 * and nothing is left at the end. Runs under ASan and TSan, too.
 *
 * SF_STRESS_MS and SF_STRESS_SEED set how long, and from where.
 */

#define WORKERS 4
#define HANDLES 4
#define NAMES   12

static atomic_bool stop_work, stop_service;
static atomic_int failing_for;
static atomic_uint pending; /* calls that were not answered yet */
static unsigned seed;

/* ---- calls ------------------------------------------------------------------------------------
 */

enum { OPEN, ANSWERED, ABANDONED };

struct call {
    sem_t answered;
    atomic_int state;
    int err;
    struct sf_tree_result res;
    char data[64];
};

static struct call *
call_new(void)
{
    struct call *c = calloc(1, sizeof *c);
    assert_non_null(c);
    sem_init(&c->answered, 0, 0);
    atomic_fetch_add(&pending, 1);
    return c;
}

static void
call_free(struct call *c)
{
    sem_destroy(&c->answered);
    free(c);
}

/* Give back what nobody waits for. */
static void
call_undo(struct call *c)
{
    if (!c->err) {
        if (c->res.open.file)
            sf_tree_release(tree, c->res.open.file);
        if (c->res.dir)
            sf_tree_releasedir(tree, c->res.dir);
        if (c->res.entry.node)
            sf_tree_forget(tree, c->res.entry.node, 1);
    }
    call_free(c);
}

static void
answered(void *arg, int err, const struct sf_tree_result *res)
{
    struct call *c = arg;
    c->err = err;
    if (!err) {
        c->res = *res;
        if (res->data)
            snprintf(c->data, sizeof c->data, "%.*s", (int)res->len, (const char *)res->data);
        for (int i = 0, at = 0; i < res->n_iov; at += (int)res->iov[i++].iov_len)
            snprintf(c->data + at, sizeof c->data - (size_t)at, "%.*s", (int)res->iov[i].iov_len,
                     (const char *)res->iov[i].iov_base);
    }
    int before = atomic_exchange(&c->state, ANSWERED);
    if (before == ANSWERED)
        abort(); /* answered twice */
    if (before == ABANDONED)
        call_undo(c);
    else
        sem_post(&c->answered);
    atomic_fetch_sub(&pending, 1);
}

/* What a completed call says; the caller frees nothing. Errors that cannot be are bugs. */
static int
call_wait(struct call *c, struct sf_tree_result *res, char data[64])
{
    while (sem_wait(&c->answered) < 0)
        ;
    int err = c->err;
    if (!err && res)
        *res = c->res;
    if (!err && data)
        memcpy(data, c->data, 64);
    call_free(c);
    switch (err) {
    case 0:
    case -ENOENT:
    case -EEXIST:
    case -ESTALE:
    case -ENOTEMPTY:
    case -EISDIR:
    case -ENOTDIR:
    case -ELOOP:
    case -EXDEV:
    case -EACCES: /* what fails is made to fail so */
        return err;
    default:
        fprintf(stderr, "unexpected error %d (%s)\n", err, strerror(-err));
        abort();
    }
}

static void
call_abandon(struct call *c)
{
    if (atomic_exchange(&c->state, ABANDONED) == ANSWERED) {
        while (sem_wait(&c->answered) < 0)
            ;
        call_undo(c);
    }
}

/* ---- one worker -------------------------------------------------------------------------------
 */

struct worker {
    unsigned seed, number;
    uint64_t home;   /* a directory that nobody else changes */
    uint64_t shared; /* one that everybody does */
    unsigned calls, kept;
    struct sf_file *files[HANDLES];
    struct sf_dir *dirs[HANDLES];
};

static unsigned
dice(struct worker *w, unsigned n)
{
    return (unsigned)rand_r(&w->seed) % n;
}

static const char *
name_of(struct worker *w, char name[16])
{
    snprintf(name, 16, "n%u", dice(w, NAMES));
    return name;
}

/* Wait for the answer, or sometimes not. Returns true with a success. */
static bool
ended(struct worker *w, struct call *c, struct sf_tree_result *res)
{
    w->calls++;
    if (dice(w, 8) == 0) {
        call_abandon(c);
        return false;
    }
    return call_wait(c, res, NULL) == 0;
}

static void
entry_drop(const struct sf_tree_result *res)
{
    if (res->entry.node)
        sf_tree_forget(tree, res->entry.node, 1);
}

static void
use_names(struct worker *w)
{
    struct sf_tree_result res = {0};
    char a[16], b[16];
    struct call *c = call_new();
    name_of(w, a);
    name_of(w, b);
    switch (dice(w, 7)) {
    case 0:
    case 1:
        sf_tree_lookup(tree, w->shared, a, answered, c);
        break;
    case 2:
        sf_tree_unlink(tree, w->shared, a, answered, c);
        break;
    case 3:
        sf_tree_rename(tree, w->shared, a, dice(w, 4) ? w->shared : 1, b, dice(w, 3) == 0, answered,
                       c);
        break;
    case 4:
        sf_tree_mkdir(tree, &me, w->shared, a, 0755, answered, c);
        break;
    case 5:
        sf_tree_rmdir(tree, w->shared, a, answered, c);
        break;
    default:
        sf_tree_symlink(tree, &me, "target", w->shared, a, answered, c);
    }
    if (!ended(w, c, &res))
        return;
    if (res.entry.node && dice(w, 2)) {
        const struct sf_attr attr = {.mode = 0600, .size = dice(w, 9)};
        c = call_new();
        if (dice(w, 2)) {
            sf_tree_getattr(tree, res.entry.node, NULL, answered, c);
        } else if (!S_ISREG(res.entry.attr.mode)) {
            sf_tree_setattr(tree, res.entry.node, NULL, &attr, SF_SET_MODE, answered, c);
        } else {
            sf_tree_setattr(tree, res.entry.node, NULL, &attr, SF_SET_MODE | SF_SET_SIZE, answered,
                            c);
        }
        ended(w, c, NULL);
    }
    entry_drop(&res);
}

static void
open_some(struct worker *w, unsigned i)
{
    struct sf_tree_result res = {0};
    char name[16];
    struct call *c = call_new();
    if (dice(w, 2)) {
        int flags = O_RDWR | (dice(w, 2) ? O_EXCL : 0) | (dice(w, 4) ? 0 : O_TRUNC);
        sf_tree_create(tree, &me, w->shared, name_of(w, name), 0644, flags, answered, c);
        if (ended(w, c, &res)) {
            w->files[i] = res.open.file;
            entry_drop(&res);
        }
        return;
    }
    sf_tree_lookup(tree, w->shared, name_of(w, name), answered, c);
    if (!ended(w, c, &res) || !res.entry.node)
        return;
    struct sf_tree_result opened = {0};
    c = call_new();
    sf_tree_open(tree, res.entry.node, dice(w, 2) ? O_RDWR : O_RDWR | O_APPEND, answered, c);
    if (ended(w, c, &opened))
        w->files[i] = opened.open.file;
    entry_drop(&res);
}

static void
use_files(struct worker *w)
{
    unsigned i = dice(w, HANDLES), other = dice(w, HANDLES);
    struct sf_file *f = w->files[i];
    if (!f) {
        open_some(w, i);
        return;
    }
    struct call *c = call_new();
    switch (dice(w, 7)) {
    case 0:
        sf_tree_read(tree, f, 0, 60, answered, c);
        break;
    case 1:
    case 2:
        sf_tree_write(tree, f, dice(w, 5), "bytes", 5, answered, c);
        break;
    case 3:
        sf_tree_flush(tree, f, answered, c);
        break;
    case 4:
        sf_tree_copy_range(tree, f, 0, w->files[other] ? w->files[other] : f, 3, 20, answered, c);
        break;
    case 5:
        sf_tree_getattr(tree, 0, f, answered, c);
        break;
    default:
        sf_tree_fsync(tree, f, answered, c);
    }
    ended(w, c, NULL);
    if (dice(w, 4) == 0) {
        w->files[i] = NULL;
        sf_tree_release(tree, f);
    }
}

static void
use_dirs(struct worker *w)
{
    unsigned i = dice(w, HANDLES);
    struct sf_tree_result res = {0};
    struct sf_dirent e;
    if (!w->dirs[i]) {
        struct call *o = call_new();
        sf_tree_opendir(tree, dice(w, 3) ? w->shared : 1, answered, o);
        if (ended(w, o, &res))
            w->dirs[i] = res.dir;
        return;
    }
    struct call *c = call_new();
    sf_tree_readdir(tree, w->dirs[i], 0, answered, c);
    if (ended(w, c, &res))
        for (uint64_t off = 0; sf_tree_dirent(tree, w->dirs[i], off, dice(w, 2), &e) == 1;
             off = e.next)
            if (e.entry.node)
                sf_tree_forget(tree, e.entry.node, 1);
    if (dice(w, 2)) {
        sf_tree_releasedir(tree, w->dirs[i]);
        w->dirs[i] = NULL;
    }
}

/* What nobody else touches is as it was left, and in the bucket when the flush has said so. */
static void
use_home(struct worker *w)
{
    struct sf_tree_result res = {0}, opened = {0}, found = {0};
    char name[16], key[64], text[64], data[64] = "";
    struct call *c = call_new();
    name_of(w, name);
    snprintf(key, sizeof key, "home%u/%s", w->number, name);
    snprintf(text, sizeof text, "%u of %u", w->calls, w->number);
    int failures = atomic_load(&failing_for);
    sf_tree_create(tree, &me, w->home, name, 0644, O_RDWR | O_CREAT | O_TRUNC, answered, c);
    if (call_wait(c, &res, NULL))
        return;
    c = call_new();
    sf_tree_write(tree, res.open.file, 0, text, strlen(text), answered, c);
    int err = call_wait(c, NULL, NULL);
    c = call_new();
    sf_tree_flush(tree, res.open.file, answered, c);
    err = err ? err : call_wait(c, NULL, NULL);
    sf_tree_release(tree, res.open.file);
    entry_drop(&res);
    if (err || failures != atomic_load(&failing_for))
        return;
    if (!fake_has("b", key, text))
        abort(); /* the flush lied */
    c = call_new();
    sf_tree_lookup(tree, w->home, name, answered, c);
    err = call_wait(c, &found, NULL);
    if (err == 0 && !found.entry.node)
        abort(); /* it was there */
    if (err == 0) {
        c = call_new();
        sf_tree_open(tree, found.entry.node, O_RDONLY, answered, c);
        err = call_wait(c, &opened, NULL);
    }
    if (err == 0) {
        c = call_new();
        sf_tree_read(tree, opened.open.file, 0, 60, answered, c);
        if (call_wait(c, NULL, data) == 0 && strcmp(data, text))
            abort(); /* other bytes */
        sf_tree_release(tree, opened.open.file);
    }
    entry_drop(&found);
    w->kept++;
}

static void *
work(void *arg)
{
    struct worker *w = arg;
    while (!atomic_load(&stop_work))
        switch (dice(w, 6)) {
        case 0:
            use_home(w);
            break;
        case 1:
            use_dirs(w);
            break;
        case 2:
        case 3:
            use_files(w);
            break;
        default:
            use_names(w);
        }
    for (unsigned i = 0; i < HANDLES; i++) {
        if (w->files[i])
            sf_tree_release(tree, w->files[i]);
        if (w->dirs[i])
            sf_tree_releasedir(tree, w->dirs[i]);
    }
    return NULL;
}

/* ---- the service and other clients ------------------------------------------------------------
 */

static void *
answer_questions(void *arg)
{
    (void)arg;
    while (!atomic_load(&stop_service))
        if (!fake_step_question())
            usleep(50);
    return NULL;
}

static void *
do_changes(void *arg)
{
    (void)arg;
    while (!atomic_load(&stop_service)) {
        bool changed = fake_change(), told = fake_told();
        if (!changed && !told)
            usleep(50);
    }
    return NULL;
}

static void *
change_elsewhere(void *arg)
{
    struct worker *w = arg;
    while (!atomic_load(&stop_work)) {
        char name[16], key[64];
        snprintf(key, sizeof key, "%s%s%s", dice(w, 6) ? "shared/" : "", name_of(w, name),
                 dice(w, 8) ? "" : "/below");
        if (dice(w, 2))
            fake_put("b", key, dice(w, 2) ? "theirs" : "something else");
        else
            fake_remove("b", key);
        if (dice(w, 200) == 0) {
            atomic_fetch_add(&failing_for, 1);
            fake_fail(-EACCES);
            usleep(2000);
            fake_fail(0);
            atomic_fetch_add(&failing_for, 1);
        }
        usleep(300);
    }
    return NULL;
}

static uint64_t
make_dir(const char *name)
{
    struct sf_tree_result res = {0};
    struct call *c = call_new();
    sf_tree_mkdir(tree, &me, 1, name, 0755, answered, c);
    assert_int_equal(call_wait(c, &res, NULL), 0);
    return res.entry.node;
}

static void
test_stress(void **state)
{
    (void)state;
    const char *ms = getenv("SF_STRESS_MS"), *from = getenv("SF_STRESS_SEED");
    seed = from ? (unsigned)strtoul(from, NULL, 10) : (unsigned)time(NULL);
    print_message("# SF_STRESS_SEED=%u\n", seed);
    struct worker w[WORKERS] = {0}, elsewhere = {.seed = seed + 99};
    pthread_t threads[WORKERS], service[3], others;
    blocks_begin();
    const struct sf_tree_opts o = {.bucket = "b",
                                   .attr_ttl_ms = 3,
                                   .read_timeout_ms = 1000,
                                   .max_nodes = 1000,
                                   .cache = blocks};
    fake_bucket("b");
    fake_hold(true);
    assert_int_equal(sf_tree_new(&o, NULL, NULL, NULL, &tree, NULL), 0);
    pthread_create(&service[0], NULL, answer_questions, NULL);
    pthread_create(&service[1], NULL, answer_questions, NULL);
    pthread_create(&service[2], NULL, do_changes, NULL);
    uint64_t shared = make_dir("shared");
    for (unsigned i = 0; i < WORKERS; i++) {
        char name[16];
        snprintf(name, sizeof name, "home%u", i);
        w[i] = (struct worker){
            .seed = seed + i, .number = i, .home = make_dir(name), .shared = shared};
        pthread_create(&threads[i], NULL, work, &w[i]);
    }
    pthread_create(&others, NULL, change_elsewhere, &elsewhere);
    usleep(1000 * (ms ? (unsigned)strtoul(ms, NULL, 10) : 2500));
    atomic_store(&stop_work, true);
    unsigned calls = 0, kept = 0;
    for (unsigned i = 0; i < WORKERS; i++) {
        pthread_join(threads[i], NULL);
        calls += w[i].calls;
        kept += w[i].kept;
    }
    pthread_join(others, NULL);
    for (int i = 0; i < 5000 && atomic_load(&pending); i++)
        usleep(1000);
    assert_int_equal(atomic_load(&pending), 0); /* every call is answered */
    sf_tree_drain(tree, INT64_MAX);
    for (unsigned i = 0; i < WORKERS; i++)
        sf_tree_forget(tree, w[i].home, 1);
    sf_tree_forget(tree, shared, 1);
    struct sf_tree_stats s;
    for (int i = 0; i < 1000; i++) { /* commits behind the last handles */
        sf_tree_stats(tree, &s);
        if (!s.dirty_files)
            break;
        usleep(1000);
    }
    assert_int_equal(s.open_files + s.open_dirs + s.looked_up + s.dirty_files, 0);
    usleep(20000);
    atomic_store(&stop_service, true);
    for (int i = 0; i < 3; i++)
        pthread_join(service[i], NULL);
    print_message("# %u calls, %u files written and read back\n", calls, kept);
    assert_true(calls > 100 && kept > 5);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {TREE_TEST(stress)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
