/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "http/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"

static struct sf_http_req *
req_of(struct http_due *d)
{
    return (struct sf_http_req *)((char *)d - offsetof(struct sf_http_req, due));
}

/* ---- hosts: few, so a list ----------------------------------------------------------------------
 */

static struct http_host *
host_get(struct sf_http *http, const char *key)
{
    struct http_host *h;
    TAILQ_FOREACH(h, &http->hosts, link)
    {
        if (strcmp(h->key, key) == 0) {
            h->refs++;
            return h;
        }
    }
    size_t n = strlen(key) + 1;
    h = calloc(1, sizeof *h + n);
    if (!h)
        return NULL;
    memcpy(h->key, key, n);
    for (int i = 0; i < HTTP_CLASSES; i++)
        TAILQ_INIT(&h->queue[i]);
    h->refs = 1;
    TAILQ_INSERT_TAIL(&http->hosts, h, link);
    return h;
}

static void
host_put(struct sf_http *http, struct http_host *h)
{
    if (!h || --h->refs)
        return;
    TAILQ_REMOVE(&http->hosts, h, link);
    free(h);
}

/* ---- moves between the states -------------------------------------------------------------------
 */

void
http_queue_unlink(struct sf_http *http, struct sf_http_req *req)
{
    switch (req->state) {
    case HTTP_QUEUED:
        TAILQ_REMOVE(&req->host->queue[req->cls], req, link);
        http->queued--;
        break;
    case HTTP_ACTIVE:
        TAILQ_REMOVE(&http->active, req, link);
        req->host->active -= req->cls != HTTP_UNBOUNDED;
        http->n_active--;
        break;
    case HTTP_WAITING:
        TAILQ_REMOVE(&http->waiting, req, link);
        http->n_waiting--;
        break;
    case HTTP_NEW:
    case HTTP_INBOX:
    case HTTP_DONE:
        break;
    }
    req->state = HTTP_NEW;
}

static void
enqueue(struct sf_http *http, struct sf_http_req *req, bool front)
{
    http_queue_unlink(http, req);
    struct http_req_list *q = &req->host->queue[req->cls];
    if (front)
        TAILQ_INSERT_HEAD(q, req, link);
    else
        TAILQ_INSERT_TAIL(q, req, link);
    req->state = HTTP_QUEUED;
    http->queued++;
    http_due_put(&http->dues, &req->due, req->deadline_ms);
}

void
http_queue_again(struct sf_http *http, struct sf_http_req *req)
{
    enqueue(http, req, true);
    http_stats_event(http, HTTP_EV_RETRY);
}

void
http_queue_delay(struct sf_http *http, struct sf_http_req *req, int64_t delay_ms)
{
    http_queue_unlink(http, req);
    TAILQ_INSERT_TAIL(&http->waiting, req, link);
    req->state = HTTP_WAITING;
    http->n_waiting++;
    req->backoffs++;
    http_due_put(&http->dues, &req->due, sf_clock_ms() + delay_ms);
}

/* ---- admission ----------------------------------------------------------------------------------
 */

/* The next one that may start. */
static struct sf_http_req *
host_first(const struct sf_http *http, struct http_host *h)
{
    int end = h->active < http->opts.max_connections ? HTTP_CLASSES : HTTP_UNBOUNDED + 1;
    for (int i = 0; i < end; i++)
        if (!TAILQ_EMPTY(&h->queue[i]))
            return TAILQ_FIRST(&h->queue[i]);
    return NULL;
}

static void
host_admit(struct sf_http *http, struct http_host *h)
{
    struct sf_http_req *req;
    while (!http->retiring && (req = host_first(http, h))) {
        http_queue_unlink(http, req);
        req->state = HTTP_ACTIVE;
        TAILQ_INSERT_TAIL(&http->active, req, link);
        h->active += req->cls != HTTP_UNBOUNDED;
        http->n_active++;
        if (http_transfer_start(http, req))
            http_req_finish(http, req, &req->last);
    }
}

void
http_queue_admit(struct sf_http *http)
{
    struct http_host *h = TAILQ_FIRST(&http->hosts);
    while (h) {
        h->refs++; /* a request that cannot start may be the last one of its host */
        host_admit(http, h);
        struct http_host *next = TAILQ_NEXT(h, link);
        host_put(http, h);
        h = next;
    }
    http_stats_levels(http);
}

void
http_queue_accept(struct sf_http *http, struct sf_http_req *req)
{
    int64_t now = sf_clock_ms();
    struct sf_err err = SF_ERR_INIT;
    req->state = HTTP_NEW;
    if (req->bad.code) {
        http_req_finish(http, req, &req->bad);
        return;
    }
    if (http->retiring) {
        http_req_abort(http, req, -ECANCELED, "cancelled, because the program stops");
        return;
    }
    if (req->deadline_ms <= now) {
        http_req_abort(http, req, -ETIMEDOUT, "the deadline had passed before it was submitted");
        return;
    }
    if (http->queued + http->n_waiting >= http->opts.max_queue)
        http_queue_admit(http);
    if (http->queued + http->n_waiting >= http->opts.max_queue) {
        http_error_text(&err, req, -EAGAIN, true, "too many requests are waiting");
        http_req_finish(http, req, &err);
        return;
    }
    if (http_due_room(&http->dues) || !(req->host = host_get(http, req->peer.key))) {
        http_error_text(&err, req, -ENOMEM, true, "out of memory");
        http_req_finish(http, req, &err);
        return;
    }
    enqueue(http, req, false);
}

/* ---- ends ---------------------------------------------------------------------------------------
 */

static void
forget_id(struct sf_http *http, struct sf_http_req *req)
{
    SF_GUARD(&http->lock);
    if (SF_HTAB_ADDED(req))
        HASH_DELETE(hh, http->by_id, req);
    if (req->cancel_wanted)
        TAILQ_REMOVE(&http->cancels, req, cancel_link);
    if (req->resume_wanted)
        TAILQ_REMOVE(&http->resumes, req, resume_link);
    req->cancel_wanted = req->resume_wanted = false;
}

void
http_req_finish(struct sf_http *http, struct sf_http_req *req, const struct sf_err *err)
{
    struct sf_http_reply reply = {.attempts = req->attempts, .req = req};
    http_queue_unlink(http, req);
    http_due_remove(&http->dues, &req->due);
    host_put(http, req->host);
    forget_id(http, req);
    req->state = HTTP_DONE;
    reply.elapsed_ms = sf_clock_ms() - req->submitted_ms;
    if (err)
        reply.err = *err;
    else
        http_recv_fill(req, &reply);
    reply.err.outcome_open = req->maybe_done;
    http_stats_event(http, HTTP_EV_COMPLETE);
    if (reply.err.code == -ECANCELED)
        http_stats_event(http, HTTP_EV_CANCEL);
    http_stats_levels(http);
    if (req->done)
        req->done(req->done_arg, &reply);
    http_req_destroy(req);
}

void
http_req_abort(struct sf_http *http, struct sf_http_req *req, int code, const char *text)
{
    struct sf_err err;
    bool begun = req->state == HTTP_ACTIVE && req->try.prereqs;
    if (req->state == HTTP_ACTIVE && http_transfer_detach(http, req) && !req->safe)
        req->maybe_done = true;
    http_error_text(&err, req, code, code == -ETIMEDOUT, text);
    if (code == -ETIMEDOUT && req->last.code) {
        /* What went wrong before says more than that time is up. */
        err = req->last;
        err.code = begun ? code : req->last.code;
        sf_err_prefix(&err, "gave up after %d attempts", req->attempts);
    }
    if (code == -ETIMEDOUT && !req->enough)
        http_stats_error(http, &err);
    http_req_finish(http, req, &err);
}

/* ---- deadlines, stalls, ends of waits -----------------------------------------------------------
 */

static void
active_due(struct sf_http *http, struct sf_http_req *req, int64_t now)
{
    int64_t next;
    if (http_transfer_stalled(http, req, now, &next)) {
        struct sf_err err;
        http_error_text(&err, req, -ETIMEDOUT, true, "the transfer stalled, no byte came or went");
        http_transfer_failed(http, req, &err, http_transfer_detach(http, req));
        return;
    }
    http_due_put(&http->dues, &req->due, next < req->deadline_ms ? next : req->deadline_ms);
}

void
http_queue_run_dues(struct sf_http *http)
{
    int64_t now = sf_clock_ms();
    struct http_due *d;
    while ((d = http_due_first(&http->dues)) && d->at_ms <= now) {
        struct sf_http_req *req = req_of(d);
        char text[80];
        if (now >= req->deadline_ms) {
            snprintf(text, sizeof text, "%s within %lld ms",
                     req->state == HTTP_ACTIVE ? "no reply" : "no connection became free",
                     (long long)(now - req->submitted_ms));
            http_req_abort(http, req, -ETIMEDOUT, text);
        } else if (req->state == HTTP_WAITING) {
            http_queue_again(http, req);
        } else {
            active_due(http, req, now);
        }
    }
}
