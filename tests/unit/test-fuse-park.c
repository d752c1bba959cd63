/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * fuse/park.h: whatever completion, interrupt, deadline and end do to a request at the same time,
 * it is answered exactly once, what nobody gets is undone, and every entry comes back. libfuse, the
 * tree and the event thread are replaced by what is below.
 */
#include "fuse/internal.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "http/http.h"

/* ---- in place of libfuse ----------------------------------------------------------------------
 */

struct fuse_req {
    struct sf_fuse *f;
    pthread_mutex_t lock; /* held while the interrupt callback runs, as libfuse does */
    fuse_interrupt_func_t func;
    void *data;
    bool interrupted;
    struct fuse_ctx ctx;
    _Atomic int replies;
    _Atomic int err;
};

int
fuse_reply_err(fuse_req_t req, int err)
{
    atomic_store(&req->err, err);
    atomic_fetch_add(&req->replies, 1);
    return 0;
}

void *
fuse_req_userdata(fuse_req_t req)
{
    return req->f;
}

const struct fuse_ctx *
fuse_req_ctx(fuse_req_t req)
{
    return &req->ctx;
}

void
fuse_req_interrupt_func(fuse_req_t req, fuse_interrupt_func_t func, void *data)
{
    pthread_mutex_lock(&req->lock);
    req->func = func;
    req->data = data;
    if (req->interrupted)
        func(req, data);
    pthread_mutex_unlock(&req->lock);
}

static void
interrupt(fuse_req_t req)
{
    pthread_mutex_lock(&req->lock);
    req->interrupted = true;
    if (req->func)
        req->func(req, req->data);
    pthread_mutex_unlock(&req->lock);
}

/* ---- in place of tree and event thread --------------------------------------------------------
 */

static _Atomic uint64_t cancelled;
static _Atomic(sf_http_call_fn) timer_fn;
static void *timer_arg;

void
sf_tree_cancel(struct sf_tree *tree, uint64_t id)
{
    (void)tree;
    atomic_fetch_add(&cancelled, id);
}

uint64_t
sf_http_timer(struct sf_http *http, int64_t at_ms, sf_http_call_fn fn, void *arg)
{
    (void)http;
    (void)at_ms;
    timer_arg = arg;
    atomic_store(&timer_fn, fn);
    return 1;
}

bool
sf_http_timer_cancel(struct sf_http *http, uint64_t id)
{
    (void)http;
    (void)id;
    return atomic_exchange(&timer_fn, NULL) != NULL;
}

static void
run_timer(void)
{
    sf_http_call_fn fn = atomic_exchange(&timer_fn, NULL);
    if (fn)
        fn(timer_arg);
}

/* ---- fixture ----------------------------------------------------------------------------------
 */

static _Atomic int replied, undone;
static int reply_result;

static int
reply(struct op *op, const struct sf_tree_result *res)
{
    (void)res;
    atomic_fetch_add(&replied, 1);
    if (reply_result == 0)
        fuse_reply_err(op->req, 0);
    return reply_result;
}

static void
undo(struct op *op, const struct sf_tree_result *res)
{
    (void)op;
    (void)res;
    atomic_fetch_add(&undone, 1);
}

static const struct op_kind kind = {.name = "test", .reply = reply, .undo = undo};

/* One that may wait for ever, and is not the tree's. */
static _Atomic uint64_t let_go;

static void
let_it_go(struct op *op, uint64_t id)
{
    assert_int_equal(op->off, 4711); /* the entry is still the request's */
    atomic_fetch_add(&let_go, id);
}

static const struct op_kind apart_kind = {.name = "apart",
                                          .reply = reply,
                                          .undo = undo,
                                          .cancel = let_it_go,
                                          .send = true,
                                          .apart = true};

static struct sf_fuse fuse;

static void
set_up(unsigned max, int64_t read_ms)
{
    const struct park_opts opts = {
        .max = max, .max_apart = 2, .read_ms = read_ms, .change_ms = read_ms};
    memset(&fuse, 0, sizeof fuse);
    assert_int_equal(park_new(&opts, &fuse.park), 0);
    replied = undone = 0;
    cancelled = let_go = 0;
    reply_result = 0;
}

static void
req_init(struct fuse_req *req)
{
    memset(req, 0, sizeof *req);
    pthread_mutex_init(&req->lock, NULL);
    req->f = &fuse;
}

static const struct sf_tree_result nothing;

/* ---- one thing at a time ----------------------------------------------------------------------
 */

static void
a_completion_answers(void **state)
{
    struct fuse_req r;
    (void)state;
    set_up(4, 1000);
    req_init(&r);
    struct op *op = op_begin(&fuse, &r, &kind);
    op_done(op, 0, &nothing); /* before the handler returns: never parked */
    op_end(op, 0);
    assert_int_equal(r.replies, 1);
    assert_int_equal(park_waiting(fuse.park), 0);
    req_init(&r);
    op = op_begin(&fuse, &r, &kind);
    op_end(op, 0);
    assert_int_equal(park_waiting(fuse.park), 1);
    op_done(op, -ENOENT, NULL);
    assert_int_equal(r.replies, 1);
    assert_int_equal(r.err, ENOENT);
    assert_int_equal(park_waiting(fuse.park), 0);
    assert_int_equal(undone, 0);
    park_free(fuse.park);
}

static void
an_interrupt_answers_and_cancels(void **state)
{
    struct fuse_req r;
    (void)state;
    set_up(4, 1000);
    req_init(&r);
    struct op *op = op_begin(&fuse, &r, &kind);
    op_end(op, 77);
    interrupt(&r);
    assert_int_equal(r.replies, 1);
    assert_int_equal(r.err, EINTR);
    assert_int_equal(cancelled, 77);
    interrupt(&r); /* late once more */
    op_done(op, 0, &nothing);
    assert_int_equal(r.replies, 1);
    assert_int_equal(replied, 0);
    assert_int_equal(undone, 1);
    park_free(fuse.park);
}

static void
an_interrupt_that_came_before(void **state)
{
    struct fuse_req r;
    (void)state;
    set_up(4, 1000);
    req_init(&r);
    r.interrupted = true;
    assert_null(op_begin(&fuse, &r, &kind));
    assert_int_equal(r.replies, 1);
    assert_int_equal(r.err, EINTR);
    park_free(fuse.park);
}

/* Between the tree's call and op_end(): the read that was begun is cancelled by op_end(). */
static void
an_interrupt_before_the_cancel_id_is_known(void **state)
{
    struct fuse_req r;
    (void)state;
    set_up(4, 1000);
    req_init(&r);
    struct op *op = op_begin(&fuse, &r, &kind);
    interrupt(&r);
    assert_int_equal(r.err, EINTR);
    op_end(op, 5);
    assert_int_equal(cancelled, 5);
    op_done(op, -ECANCELED, NULL);
    assert_int_equal(r.replies, 1);
    park_free(fuse.park);
}

static void
a_late_interrupt_does_not_meet_the_next_user(void **state)
{
    struct fuse_req old, new;
    (void)state;
    set_up(1, 1000); /* one entry: it is used again */
    req_init(&old);
    req_init(&new);
    struct op *op = op_begin(&fuse, &old, &kind);
    op_done(op, 0, &nothing);
    op_end(op, 0);
    op = op_begin(&fuse, &new, &kind);
    op_end(op, 0);
    interrupt(&old);
    assert_int_equal(new.replies, 0);
    assert_int_equal(old.replies, 1);
    op_done(op, 0, &nothing);
    assert_int_equal(new.replies, 1);
    park_free(fuse.park);
}

static void
a_deadline_answers(void **state)
{
    struct fuse_req r;
    (void)state;
    set_up(4, 0);
    req_init(&r);
    struct op *op = op_begin(&fuse, &r, &kind);
    op_end(op, 9);
    run_timer();
    assert_int_equal(r.err, ETIMEDOUT);
    assert_int_equal(cancelled, 9);
    op_done(op, 0, &nothing);
    assert_int_equal(r.replies, 1);
    assert_int_equal(undone, 1);
    park_free(fuse.park);
}

static struct op *
begin_apart(struct fuse_req *r)
{
    req_init(r);
    struct op *op = op_begin(&fuse, r, &apart_kind);
    if (op)
        op->off = 4711;
    return op;
}

/* Interrupt, also before the id is known, and end: none of them asks the tree. */
static void
a_kind_cancels_its_own_way(void **state)
{
    struct fuse_req r;
    (void)state;
    set_up(4, 0);
    struct op *op = begin_apart(&r);
    op_end(op, 3);
    run_timer(); /* it has no deadline */
    assert_int_equal(r.replies, 0);
    interrupt(&r);
    assert_int_equal(r.err, EINTR);
    assert_int_equal(let_go, 3);
    op_done(op, -ECANCELED, NULL);

    op = begin_apart(&r);
    interrupt(&r);
    assert_int_equal(let_go, 3);
    op_end(op, 40);
    assert_int_equal(let_go, 43);
    op_done(op, 0, &nothing);
    assert_int_equal(undone, 1);

    op = begin_apart(&r);
    op_end(op, 0); /* nothing to cancel */
    interrupt(&r);
    assert_int_equal(let_go, 43);
    op_done(op, 0, &nothing);

    op = begin_apart(&r);
    op_end(op, 500);
    park_close(fuse.park, ENOTCONN);
    assert_int_equal(r.err, ENOTCONN);
    assert_int_equal(let_go, 543);
    assert_int_equal(cancelled, 0);
    op_done(op, -ECANCELED, NULL);
    park_free(fuse.park);
}

static void
what_waits_apart_takes_no_place(void **state)
{
    struct fuse_req apart[3], r[3];
    struct op *waits[2], *op[2];
    (void)state;
    set_up(2, 1000);
    for (int i = 0; i < 2; i++) {
        waits[i] = begin_apart(&apart[i]);
        assert_non_null(waits[i]);
        op_end(waits[i], 0);
    }
    assert_null(begin_apart(&apart[2]));
    assert_int_equal(apart[2].err, EAGAIN);
    for (int i = 0; i < 2; i++) {
        req_init(&r[i]);
        op[i] = op_begin(&fuse, &r[i], &kind);
        assert_non_null(op[i]);
        op_end(op[i], 0);
    }
    req_init(&r[2]);
    assert_null(op_begin(&fuse, &r[2], &kind));
    op_done(waits[0], 0, &nothing); /* nor does it give one back */
    req_init(&r[2]);
    assert_null(op_begin(&fuse, &r[2], &kind));
    waits[0] = begin_apart(&apart[0]);
    assert_non_null(waits[0]);
    op_end(waits[0], 0);
    for (int i = 0; i < 2; i++) {
        op_done(waits[i], 0, &nothing);
        op_done(op[i], 0, &nothing);
    }
    park_free(fuse.park);
}

static void
too_many_are_refused(void **state)
{
    struct fuse_req r[3];
    struct op *op[2];
    (void)state;
    set_up(2, 1000);
    for (int i = 0; i < 3; i++)
        req_init(&r[i]);
    for (int i = 0; i < 2; i++) {
        op[i] = op_begin(&fuse, &r[i], &kind);
        op_end(op[i], 0);
    }
    assert_null(op_begin(&fuse, &r[2], &kind));
    assert_int_equal(r[2].err, EAGAIN);
    for (int i = 0; i < 2; i++)
        op_done(op[i], 0, &nothing);
    req_init(&r[2]);
    op[0] = op_begin(&fuse, &r[2], &kind);
    assert_non_null(op[0]);
    op_done(op[0], 0, &nothing);
    op_end(op[0], 0);
    park_free(fuse.park);
}

static void
a_reply_that_nobody_got_is_undone(void **state)
{
    struct fuse_req r;
    (void)state;
    set_up(4, 1000);
    req_init(&r);
    reply_result = -ENOENT;
    struct op *op = op_begin(&fuse, &r, &kind);
    op_done(op, 0, &nothing);
    op_end(op, 0);
    assert_int_equal(undone, 1);
    park_free(fuse.park);
}

static void
closing_answers_all(void **state)
{
    struct fuse_req r, late;
    (void)state;
    set_up(4, 1000);
    req_init(&r);
    req_init(&late);
    struct op *op = op_begin(&fuse, &r, &kind);
    op_end(op, 0);
    park_close(fuse.park, ENOTCONN);
    assert_int_equal(r.err, ENOTCONN);
    assert_null(op_begin(&fuse, &late, &kind));
    assert_int_equal(late.err, ENOTCONN);
    op_done(op, 0, &nothing);
    assert_int_equal(undone, 1);
    park_free(fuse.park);
}

/* ---- all at the same time ---------------------------------------------------------------------
 */

#define ROUNDS 1000

struct race {
    struct fuse_req req;
    struct op *op;
    pthread_barrier_t *start;
    unsigned round;
};

static void *
complete(void *arg)
{
    struct race *r = arg;
    pthread_barrier_wait(r->start);
    op_done(r->op, 0, &nothing);
    return NULL;
}

static void *
interrupt_it(void *arg)
{
    struct race *r = arg;
    pthread_barrier_wait(r->start);
    interrupt(&r->req);
    return NULL;
}

static void *
sweep_it(void *arg)
{
    struct race *r = arg;
    pthread_barrier_wait(r->start);
    run_timer();
    return NULL;
}

static void
everything_at_once(void **state)
{
    void *(*const who[])(void *) = {complete, interrupt_it, sweep_it};
    unsigned n = ROUNDS, successes = 0;
    (void)state;
    set_up(8, 0);
    for (unsigned i = 0; i < n; i++) {
        pthread_barrier_t start;
        pthread_t t[3];
        struct race r = {.start = &start, .round = i};
        req_init(&r.req);
        r.req.ctx.pid = 0;
        r.op = op_begin(&fuse, &r.req, &kind);
        assert_non_null(r.op);
        pthread_barrier_init(&start, NULL, 4);
        for (int k = 0; k < 3; k++)
            assert_int_equal(pthread_create(&t[k], NULL, who[k], &r), 0);
        pthread_barrier_wait(&start);
        op_end(r.op, i + 1);
        for (int k = 0; k < 3; k++)
            pthread_join(t[k], NULL);
        pthread_barrier_destroy(&start);
        assert_int_equal(r.req.replies, 1);
        successes += r.req.err == 0;
        assert_int_equal(park_waiting(fuse.park), 0);
    }
    assert_int_equal(replied, successes);
    assert_int_equal(undone, n - successes);
    park_free(fuse.park); /* waits for ever if an entry did not come back */
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_completion_answers),
        cmocka_unit_test(an_interrupt_answers_and_cancels),
        cmocka_unit_test(an_interrupt_that_came_before),
        cmocka_unit_test(an_interrupt_before_the_cancel_id_is_known),
        cmocka_unit_test(a_late_interrupt_does_not_meet_the_next_user),
        cmocka_unit_test(a_deadline_answers),
        cmocka_unit_test(a_kind_cancels_its_own_way),
        cmocka_unit_test(what_waits_apart_takes_no_place),
        cmocka_unit_test(too_many_are_refused),
        cmocka_unit_test(a_reply_that_nobody_got_is_undone),
        cmocka_unit_test(closing_answers_all),
        cmocka_unit_test(everything_at_once),
    };
    return cmocka_run_group_tests_name("fuse/park", tests, NULL, NULL);
}
