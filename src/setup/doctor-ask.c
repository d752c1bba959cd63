/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "setup/doctor-internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/lock.h"
#include "supabase/errmap.h"
#include "supabase/json.h"

/*
 * A doctor asks once: what fails now is to be told now. So the delay before a second attempt is
 * beyond every deadline.
 */
#define ONCE_MS  600000
#define EXTRA_MS 5000 /* what an answer may take when the connection is there */

#define BODY_MAX (8u << 20)
#define NS_PER_S INT64_C(1000000000)

struct doctor_wait {
    struct sf_mutex lock; /* leaf; protects the fields down to the blank line */
    struct sf_cond cond;
    bool done;

    struct doctor_reply *answer; /* of doctor_ask() */
    sf_bucket_list_fn fn;        /* of the lists of buckets */
    void *arg;
    struct sf_err err;
    struct sf_auth *auth;
};

static void
waiter_init(struct doctor_wait *w)
{
    *w = (struct doctor_wait){.err = SF_ERR_INIT};
    sf_mutex_init(&w->lock, 0);
    sf_cond_init(&w->cond);
}

static void
waiter_end(struct doctor_wait *w)
{
    SF_GUARD(&w->lock);
    w->done = true;
    sf_cond_signal(&w->cond);
}

static void
waiter_wait(struct doctor_wait *w)
{
    sf_mutex_lock(&w->lock);
    while (!w->done)
        sf_cond_wait(&w->cond, &w->lock);
    sf_mutex_unlock(&w->lock);
    sf_cond_fini(&w->cond);
    sf_mutex_fini(&w->lock);
}

/* ---- the clients ---------------------------------------------------------------------------- */

int64_t
doctor_deadline(const struct sf_doctor *d)
{
    return sf_clock_ms() + sf_config_ms(d->cfg, SF_OPT_CONNECT_TIMEOUT) + EXTRA_MS;
}

int
doctor_open(struct sf_doctor *d, struct sf_err *err)
{
    const struct sf_http_opts opts = {.connect_ms =
                                          (unsigned)sf_config_ms(d->cfg, SF_OPT_CONNECT_TIMEOUT),
                                      .backoff_min_ms = ONCE_MS,
                                      .backoff_max_ms = ONCE_MS,
                                      .ca_file = sf_config_str(d->cfg, SF_OPT_CA_FILE),
                                      .insecure = sf_config_bool(d->cfg, SF_OPT_INSECURE)};
    if (d->http)
        return 0;
    int rc = sf_http_new(&opts, &d->http, err);
    if (rc == 0 && d->auth)
        rc = sf_storage_new(d->http, d->auth, sf_config_str(d->cfg, SF_OPT_URL), &d->storage, err);
    return rc;
}

void
doctor_close(struct sf_doctor *d)
{
    sf_http_free(d->http);
    sf_storage_free(d->storage);
    sf_auth_free(d->auth);
}

/* ---- one request ---------------------------------------------------------------------------- */

void
doctor_reply_fini(struct doctor_reply *a)
{
    sf_buf_fini(&a->body);
}

/* "Sun, 06 Nov 1994 08:49:37 GMT", the one form that servers send; 0 = another. */
static int64_t
parse_date(const char *text)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    char month[4], iso[40];
    int day, year, h, m, s;
    int64_t ns;
    if (!text ||
        sscanf(text, "%*3s, %2d %3s %4d %2d:%2d:%2d GMT", &day, month, &year, &h, &m, &s) != 6)
        return 0;
    const char *at = strlen(month) == 3 ? strstr(months, month) : NULL;
    if (!at)
        return 0;
    snprintf(iso, sizeof iso, "%04d-%02d-%02dT%02d:%02d:%02dZ", year, (int)(at - months) / 3 + 1,
             day, h, m, s);
    return sf_time_parse(iso, &ns) == 0 ? ns / NS_PER_S : 0;
}

static void
prepare(void *arg, struct sf_http_req *req)
{
    struct doctor_wait *w = arg;
    uint64_t generation;
    if (w->auth)
        (void)sf_auth_apply(w->auth, req, &generation); /* without memory the request fails, too */
}

static void
answered(void *arg, const struct sf_http_reply *reply)
{
    struct doctor_wait *w = arg;
    struct doctor_reply *a = w->answer;
    a->status = reply->status;
    if (!reply->status)
        a->err = reply->err;
    const char *location = reply->status ? sf_http_reply_header(reply, "Location") : NULL;
    if (location && !strchr(location, '@')) /* no passwords, nor tokens behind '?' */
        sf_text_clean(location, strcspn(location, "?#"), a->location, sizeof a->location);
    a->got_s = sf_wall_ns() / NS_PER_S;
    a->date_s = reply->status ? parse_date(sf_http_reply_header(reply, "Date")) : 0;
    if (reply->body && sf_buf_append(&a->body, reply->body, reply->body_len) < 0)
        a->err.code = sf_err_set(&a->err, -ENOMEM, "out of memory");
    waiter_end(w);
}

int
doctor_ask(struct sf_doctor *d, const char *path, struct doctor_reply *ret)
{
    sf_autobuf struct sf_buf url = SF_BUF_INIT;
    struct doctor_wait w;
    int rc = doctor_open(d, &ret->err);
    if (rc == 0)
        rc = sf_buf_printf(&url, "%s%s", sf_config_str(d->cfg, SF_OPT_URL), path);
    struct sf_http_req *req = rc == 0 ? sf_http_req_new(d->http, "GET", url.data) : NULL;
    if (rc == 0 && !req)
        rc = -ENOMEM;
    if (rc < 0)
        return sf_err_set(&ret->err, rc, "%s", strerror(-rc));
    waiter_init(&w);
    w.answer = ret;
    w.auth = d->auth;
    sf_http_req_limit(req, BODY_MAX);
    sf_http_req_deadline(req, doctor_deadline(d));
    sf_http_req_hooks(req, prepare, NULL, &w);
    sf_http_submit(d->http, req, answered, &w);
    waiter_wait(&w);
    return ret->err.code;
}

const struct doctor_reply *
doctor_first(struct sf_doctor *d)
{
    if (!d->asked)
        (void)doctor_ask(d, "/storage/v1/bucket", &d->first);
    d->asked = true;
    return &d->first;
}

int
doctor_meaning(const struct doctor_reply *a, char *text, size_t size)
{
    struct sf_fault fault;
    if (a->status >= 200 && a->status < 300)
        return 0;
    sf_fault_parse(a->status, sf_buf_str(&a->body), a->body.len, &fault);
    snprintf(text, size, "%s%sHTTP %d%s%s", fault.message, *fault.message ? " (" : "", a->status,
             *fault.code ? " " : "", fault.code);
    if (*fault.message)
        snprintf(text + strlen(text), size - strlen(text), ")");
    return sf_errmap_find(&fault)->err;
}

/* ---- buckets -------------------------------------------------------------------------------- */

static void
listed(void *arg, const struct sf_err *err, const struct sf_bucket_row *rows, size_t n)
{
    struct doctor_wait *w = arg;
    if (err)
        w->err = *err;
    w->fn(w->arg, err, rows, n);
    waiter_end(w);
}

int
doctor_bucket(struct sf_doctor *d, const char *id, sf_bucket_list_fn fn, void *arg,
              struct sf_err *err)
{
    struct doctor_wait w;
    waiter_init(&w);
    w.fn = fn;
    w.arg = arg;
    if (id)
        sf_storage_bucket_get(d->storage, id, doctor_deadline(d), listed, &w);
    else
        sf_storage_bucket_list(d->storage, doctor_deadline(d), listed, &w);
    waiter_wait(&w);
    *err = w.err;
    return w.err.code;
}

int
doctor_buckets(struct sf_doctor *d, sf_bucket_list_fn fn, void *arg, struct sf_err *err)
{
    return doctor_bucket(d, NULL, fn, arg, err);
}
