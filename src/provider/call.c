/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "provider/call.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/hash.h"
#include "config/url.h"
#include "observe/counter.h"
#include "provider/op.h"

#define BACKOFF_MS     250
#define BACKOFF_MAX_MS 10000
#define NOBODY_TRIES   2 /* more, where no server runs on this machine: it may just be restarted */

/* ---- the provider ---------------------------------------------------------------------------- */

static bool
is_here(const char *url)
{
    const char *host = url ? strstr(url, "://") : NULL;
    if (!host)
        return false;
    host += 3;
    return sf_url_host_is_loopback(host,
                                   *host == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":/"));
}

int
sf_provider_open(struct sf_http *http, const struct sf_provider_conf *conf,
                 struct sf_provider **ret)
{
    const struct sf_gate_opts opts = {.slots = conf->concurrency, .rpm = conf->rpm};
    struct sf_provider *p = calloc(1, sizeof *p);
    if (!p || sf_gate_new(&opts, &p->gate)) {
        free(p);
        return -ENOMEM;
    }
    p->http = http;
    p->conf = conf;
    p->generation = sf_provider_key_generation(conf);
    p->here = is_here(conf->base_url);
    sf_mutex_init(&p->lock, 0);
    sf_cond_init(&p->idle);
    TAILQ_INIT(&p->ops);
    *ret = p;
    return 0;
}

typedef void (*op_fn)(struct provider_op *op);

/* The op that has something to be told, and what. */
static struct provider_op *
next_told(struct sf_provider *p, op_fn *fn)
{
    SF_GUARD(&p->lock);
    struct provider_op *op;
    TAILQ_FOREACH(op, &p->ops, link)
    {
        if (!op->begun) {
            op->begun = true;
            *fn = op->begin;
        } else if (op->cancel_wanted) {
            op->cancel_wanted = false;
            *fn = op->cancel;
        } else if (op->resume_wanted) {
            op->resume_wanted = false;
            *fn = op->resume;
        } else {
            continue;
        }
        return op;
    }
    return NULL;
}

static void
sweep(void *arg)
{
    struct sf_provider *p = arg;
    struct provider_op *op;
    op_fn fn;
    while ((op = next_told(p, &fn)))
        fn(op);
    provider_arm(p);
}

static void
retire(void *arg)
{
    struct sf_provider *p = arg;
    if (p->timer)
        (void)sf_http_timer_cancel(p->http, p->timer);
    SF_GUARD(&p->lock);
    p->gone = true;
    sf_cond_broadcast(&p->idle);
}

static void
post_surely(struct sf_provider *p, sf_http_call_fn fn)
{
    const struct timespec ts = {.tv_nsec = 1000000};
    while (sf_http_post(p->http, fn, p))
        nanosleep(&ts, NULL);
}

void
sf_provider_free(struct sf_provider *p)
{
    struct provider_op *op;
    if (!p)
        return;
    {
        SF_GUARD(&p->lock);
        p->closing = true;
        TAILQ_FOREACH(op, &p->ops, link)
        {
            op->cancel_wanted = true;
        }
    }
    post_surely(p, sweep);
    sf_mutex_lock(&p->lock);
    while (!TAILQ_EMPTY(&p->ops) || p->readers)
        sf_cond_wait(&p->idle, &p->lock);
    sf_mutex_unlock(&p->lock);
    post_surely(p, retire);
    sf_mutex_lock(&p->lock);
    while (!p->gone)
        sf_cond_wait(&p->idle, &p->lock);
    sf_mutex_unlock(&p->lock);
    sf_gate_free(p->gate);
    sf_cond_fini(&p->idle);
    sf_mutex_fini(&p->lock);
    free(p);
}

const struct sf_provider_conf *
sf_provider_conf(const struct sf_provider *p)
{
    return p->conf;
}

void
sf_provider_figures(struct sf_provider *p, struct sf_gate_figures *out)
{
    sf_gate_figures(p->gate, sf_clock_ms(), out);
}

static void
on_timer(void *arg)
{
    struct sf_provider *p = arg;
    p->timer = 0;
    sf_gate_run(p->gate, sf_clock_ms());
    provider_arm(p);
}

void
provider_arm(struct sf_provider *p)
{
    int64_t next = sf_gate_next(p->gate);
    if (p->timer && next == p->timer_ms)
        return;
    if (p->timer)
        (void)sf_http_timer_cancel(p->http, p->timer);
    /* Without memory for it the next request that ends looks after the line. */
    p->timer = next < INT64_MAX ? sf_http_timer(p->http, next, on_timer, p) : 0;
    p->timer_ms = next;
}

/* ---- ops ------------------------------------------------------------------------------------- */

uint64_t
provider_op_start(struct sf_provider *p, struct provider_op *op)
{
    uint64_t id;
    op->p = p;
    {
        SF_GUARD(&p->lock);
        id = op->id = ++p->next_id;
        op->cancel_wanted = p->closing;
        TAILQ_INSERT_TAIL(&p->ops, op, link);
    }
    if (sf_http_post(p->http, sweep, p) == 0)
        return id;
    SF_GUARD(&p->lock);
    if (op->begun) /* by a sweep that was on its way */
        return id;
    TAILQ_REMOVE(&p->ops, op, link);
    if (TAILQ_EMPTY(&p->ops))
        sf_cond_broadcast(&p->idle);
    return 0;
}

void
provider_op_end(struct provider_op *op)
{
    struct sf_provider *p = op->p;
    SF_GUARD(&p->lock);
    TAILQ_REMOVE(&p->ops, op, link);
    if (TAILQ_EMPTY(&p->ops))
        sf_cond_broadcast(&p->idle);
}

static void
tell(struct sf_provider *p, uint64_t id, bool cancel)
{
    {
        SF_GUARD(&p->lock);
        struct provider_op *op;
        TAILQ_FOREACH(op, &p->ops, link)
        {
            if (op->id == id)
                break;
        }
        if (!op || (!cancel && !op->resume))
            return;
        if (cancel)
            op->cancel_wanted = true;
        else
            op->resume_wanted = true;
    }
    (void)sf_http_post(p->http, sweep, p); /* without memory: with the next one */
}

void
sf_provider_cancel(struct sf_provider *p, uint64_t id)
{
    tell(p, id, true);
}

void
provider_op_resume(struct sf_provider *p, uint64_t id)
{
    tell(p, id, false);
}

int64_t
provider_deadline(const struct sf_provider *p, int64_t deadline_ms)
{
    return deadline_ms ? deadline_ms : sf_clock_ms() + p->conf->timeout_ms;
}

/* ---- a call ---------------------------------------------------------------------------------- */

void
provider_fault_cancelled(struct sf_provider_fault *out)
{
    struct sf_err err = SF_ERR_INIT;
    (void)!sf_err_set(&err, -ECANCELED, "cancelled");
    (void)sf_provider_fault_net(&err, out);
}

int64_t
provider_backoff_ms(unsigned n, int64_t first, int64_t most)
{
    uint64_t dice = 0;
    int64_t top = first;
    while (n-- > 0 && top < most)
        top *= 2;
    if (top > most)
        top = most;
    if (sf_random_bytes(&dice, sizeof dice))
        dice = (uint64_t)sf_clock_ns();
    return top / 2 + (int64_t)(dice % (uint64_t)(top / 2 + 1));
}

static void
finish(struct provider_call *c, const char *body, size_t len, int64_t date_s)
{
    struct sf_provider_said said = {.fault = &c->last,
                                    .body = body,
                                    .len = len,
                                    .date_s = date_s,
                                    .open = c->open && c->last.cls != SF_PC_OK,
                                    .attempts = c->attempts};
    c->running = false;
    c->done(c, &said);
}

void
provider_call_fail(struct provider_call *c, const struct sf_provider_fault *fault)
{
    c->last = *fault;
    finish(c, NULL, 0, 0);
}

static void
end_cancelled(struct provider_call *c)
{
    provider_fault_cancelled(&c->last);
    finish(c, NULL, 0, 0);
}

/* Until when another attempt may begin. */
static int64_t
until(const struct provider_call *c)
{
    return c->give_up_ms && c->give_up_ms < c->deadline_ms ? c->give_up_ms : c->deadline_ms;
}

static void
stand_in_line(struct provider_call *c)
{
    c->turn.force = c->force;
    sf_gate_ask(c->p->gate, &c->turn, until(c), sf_clock_ms());
    /* c may be gone */
}

static void
on_again(void *arg)
{
    struct provider_call *c = arg;
    struct sf_provider *p = c->p;
    c->timer = 0;
    if (c->cancelled)
        end_cancelled(c);
    else
        stand_in_line(c);
    provider_arm(p);
}

/* Whether this failure may be one of a request that was carried out all the same. */
static bool
leaves_open(const struct provider_call *c)
{
    const struct sf_provider_fault *f = &c->last;
    if (f->cls == SF_PC_LOADING || (f->cls == SF_PC_OVERLOADED && c->route == SF_PROUTE_CHAT))
        return false;
    return f->http >= 500;
}

static bool
is_for_once(const struct provider_call *c)
{
    return sf_provider_class_info(c->last.cls)->again == SF_PA_ONCE ||
           (c->route == SF_PROUTE_CHAT && c->open);
}

/* It failed: may the same be tried again? A request that changes something may only when it is sure
 * that it did not. */
static bool
may_repeat(struct provider_call *c)
{
    const struct sf_provider_fault *f = &c->last;
    if (leaves_open(c))
        c->open = true;
    if (c->cancelled || c->given || f->err == -ECANCELED || f->err == -ENOMEM ||
        (c->route == SF_PROUTE_UPLOAD && c->open))
        return false;
    if (c->nobody && c->backoffs >= NOBODY_TRIES)
        return false;
    switch (sf_provider_class_info(f->cls)->again) {
    case SF_PA_SOON:
    case SF_PA_ONCE:
        return !is_for_once(c) || !c->once_used;
    case SF_PA_NO:
        break;
    }
    return false;
}

/* The key's file may hold another one by now, which somebody else may have seen already. */
static bool
has_new_key(struct provider_call *c)
{
    if (c->last.cls != SF_PC_AUTH || c->key_tried || c->cancelled)
        return false;
    c->key_tried = true;
    (void)sf_provider_key_reload(c->p->conf, true, NULL);
    return sf_provider_key_generation(c->p->conf) != c->generation;
}

static void
repeat_or_finish(struct provider_call *c)
{
    struct sf_provider *p = c->p;
    int64_t now = sf_clock_ms();
    if (has_new_key(c)) {
        sf_gate_reset(p->gate, now);
        stand_in_line(c);
        return;
    }
    if (!may_repeat(c)) {
        finish(c, NULL, 0, 0);
        return;
    }
    if (is_for_once(c))
        c->once_used = true;
    if (c->patience_ms && !c->give_up_ms)
        c->give_up_ms = now + c->patience_ms;
    if (c->last.cls == SF_PC_RATE) { /* the gate holds everybody back */
        stand_in_line(c);
        return;
    }
    int64_t delay = provider_backoff_ms(c->backoffs++, BACKOFF_MS, BACKOFF_MAX_MS);
    if (delay < c->last.retry_after_ms)
        delay = c->last.retry_after_ms;
    if (delay < until(c) - now)
        c->timer = sf_http_timer(p->http, now + delay, on_again, c);
    if (!c->timer)
        finish(c, NULL, 0, 0);
}

static const char *
header_of(void *arg, const char *name)
{
    return sf_http_reply_header(arg, name);
}

static void
read_fault(struct provider_call *c, const struct sf_http_reply *reply)
{
    struct sf_provider_reply r = {.status = reply->status,
                                  .body = reply->body,
                                  .len = reply->body_len,
                                  .header = header_of,
                                  .arg = (void *)(uintptr_t)reply};
    if (reply->status == 0) {
        (void)sf_provider_fault_net(&reply->err, &c->last);
        if (reply->err.code == -EFBIG && c->route == SF_PROUTE_CONTENT)
            (void)sf_provider_fault_set(&c->last, SF_PC_TOO_LARGE, "the reply is over %zu bytes",
                                        c->limit);
    } else if (c->route == SF_PROUTE_CONTENT && reply->status == 200) {
        c->last = (struct sf_provider_fault){.http = 200, .retry_after_ms = -1};
    } else {
        (void)sf_provider_fault_of(c->p->conf->type, &r, &c->last);
    }
}

static void
on_reply(void *arg, const struct sf_http_reply *reply)
{
    struct provider_call *c = arg;
    struct sf_provider *p = c->p;
    const char *date = reply->status ? sf_http_reply_header(reply, "date") : NULL;
    c->http_id = 0;
    c->attempts += reply->attempts > 0;
    c->nobody = c->p->here && reply->status == 0 && reply->err.code == -ECONNREFUSED;
    read_fault(c, reply);
    if (c->judge)
        c->judge(c, reply);
    if (reply->err.outcome_open) /* of an attempt before this reply, perhaps */
        c->open = true;
    /* Others hear first what it was like: what comes next may be a long time. */
    sf_gate_leave(p->gate, &c->turn, &c->last, sf_clock_ms());
    if (c->last.cls == SF_PC_OK)
        finish(c, reply->body, reply->body_len, date ? sf_http_date_s(date) : 0);
    else
        repeat_or_finish(c);
    provider_arm(p);
}

static void
add_key(void *arg, struct sf_http_req *req)
{
    struct provider_call *c = arg;
    /* A header that cannot be added ends the request by itself. */
    (void)sf_provider_key_apply(c->p->conf, req, &c->generation);
}

static int
on_piece(void *arg, const struct sf_http_reply *head, const char *data, size_t n)
{
    struct provider_call *c = arg;
    return c->sink(c, head, data, n);
}

/* A request for one attempt. 0 or -errno. */
static int
make_request(struct provider_call *c, struct sf_http_req **ret)
{
    const struct sf_provider_conf *conf = c->p->conf;
    struct sf_buf url = SF_BUF_INIT;
    int rc =
        sf_provider_url(conf->type, c->route, conf->base_url, c->id, c->purpose, c->after, &url);
    struct sf_http_req *req =
        rc ? NULL : sf_http_req_new(c->p->http, sf_provider_method(c->route), url.data);
    sf_buf_fini(&url);
    if (!req)
        return rc ? rc : -ENOMEM;
    sf_http_req_once(req);
    sf_http_req_unbounded(req); /* the gate has the bound */
    if (c->sink)
        sf_http_req_sink(req, on_piece, c);
    sf_http_req_limit(req, c->limit);
    sf_http_req_deadline(req, c->deadline_ms);
    sf_http_req_hooks(req, add_key, NULL, c);
    if (c->route == SF_PROUTE_DELETE)
        sf_http_req_idempotent(req, true);
    rc = c->attach ? c->attach(c, req) : 0;
    if (rc)
        sf_http_req_free(req);
    else
        *ret = req;
    return rc;
}

static void
on_turn(struct sf_gate_turn *turn, const struct sf_provider_fault *why)
{
    struct provider_call *c = (struct provider_call *)(void *)turn;
    struct sf_http_req *req = NULL;
    if (why) {
        provider_call_fail(c, why);
        return;
    }
    int rc = make_request(c, &req);
    if (rc) {
        (void)sf_provider_fault_set(&c->last, SF_PC_INVALID, "%s", sf_errno_name(rc));
        c->last.err = rc;
        sf_gate_leave(c->p->gate, turn, NULL, sf_clock_ms());
        finish(c, NULL, 0, 0);
        return;
    }
    sf_count(SF_C_PROVIDER_REQUESTS, 1);
    c->http_id = sf_http_submit(c->p->http, req, on_reply, c);
    if (c->submitted)
        c->submitted(c, c->http_id);
}

static size_t
limit_of(enum sf_provider_route route)
{
    return route == SF_PROUTE_LIST ? SF_PROVIDER_LIST_MAX : SF_PROVIDER_REPLY_MAX;
}

void
provider_call_start(struct provider_call *c)
{
    struct sf_provider *p = c->p;
    const char *trouble = sf_provider_trouble(p->conf);
    assert(!c->running);
    c->turn = (struct sf_gate_turn){.fn = on_turn};
    c->last = (struct sf_provider_fault){.retry_after_ms = -1};
    c->attempts = c->backoffs = 0;
    c->once_used = c->key_tried = c->open = c->cancelled = c->given = false;
    c->give_up_ms = 0;
    c->http_id = c->timer = 0;
    c->running = true;
    if (!c->limit)
        c->limit = limit_of(c->route);
    if (*trouble) {
        (void)sf_provider_fault_set(&c->last, SF_PC_AUTH, "%s", trouble);
        finish(c, NULL, 0, 0);
        return;
    }
    (void)sf_provider_key_reload(p->conf, false, NULL);
    uint64_t generation = sf_provider_key_generation(p->conf);
    if (generation != p->generation)
        sf_gate_reset(p->gate, sf_clock_ms());
    p->generation = generation;
    stand_in_line(c);
    provider_arm(p);
}

void
provider_call_cancel(struct provider_call *c)
{
    struct sf_provider *p = c->p;
    if (!c->running || c->cancelled)
        return;
    c->cancelled = true;
    if (c->http_id) {
        sf_http_cancel(p->http, c->http_id);
    } else if (c->timer) {
        if (sf_http_timer_cancel(p->http, c->timer)) {
            c->timer = 0;
            end_cancelled(c);
        }
    } else if (sf_gate_cancel(p->gate, &c->turn, sf_clock_ms())) {
        end_cancelled(c);
    }
    provider_arm(p);
}

/* ---- one request of the user's --------------------------------------------------------------- */

struct ask {
    struct provider_op op; /* first */
    struct provider_call call;
    char *purpose;
    sf_provider_said_fn fn;
    void *arg;
};

static void
ask_begin(struct provider_op *op)
{
    provider_call_start(&((struct ask *)(void *)op)->call);
}

static void
ask_cancel(struct provider_op *op)
{
    provider_call_cancel(&((struct ask *)(void *)op)->call);
}

static void
ask_done(struct provider_call *c, const struct sf_provider_said *said)
{
    struct ask *a = (struct ask *)(void *)((char *)c - offsetof(struct ask, call));
    a->fn(a->arg, said);
    provider_op_end(&a->op);
    free(a->purpose);
    free(a);
}

static bool
copy_id(const char *id, char out[SF_PROVIDER_ID_MAX + 1])
{
    /* What does not fit is refused as no id when its address is made. */
    return !id || snprintf(out, SF_PROVIDER_ID_MAX + 1, "%s", id) <= SF_PROVIDER_ID_MAX;
}

uint64_t
sf_provider_ask(struct sf_provider *p, const struct sf_provider_ask *ask, sf_provider_said_fn fn,
                void *arg)
{
    struct ask *a = calloc(1, sizeof *a);
    if (!a)
        return 0;
    a->op.begin = ask_begin;
    a->op.cancel = ask_cancel;
    a->fn = fn;
    a->arg = arg;
    a->purpose = ask->purpose ? strdup(ask->purpose) : NULL;
    a->call = (struct provider_call){.p = p,
                                     .route = ask->route,
                                     .purpose = a->purpose,
                                     .deadline_ms = provider_deadline(p, ask->deadline_ms),
                                     .limit = ask->limit,
                                     .force = ask->force,
                                     .done = ask_done};
    if (!copy_id(ask->id, a->call.id) || !copy_id(ask->after, a->call.after))
        a->call.id[0] = a->call.after[0] = '\0';
    uint64_t id = ask->purpose && !a->purpose ? 0 : provider_op_start(p, &a->op);
    if (!id) {
        free(a->purpose);
        free(a);
    }
    return id;
}
