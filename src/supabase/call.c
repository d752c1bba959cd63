/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "supabase/call.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/lock.h"
#include "supabase/json.h"

/* An id that no request has: of a call that ended before it was sent. */
#define ID_UNSENT UINT64_MAX

/* ---- addresses ------------------------------------------------------------------------------ */

static bool
is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.' || c == '~';
}

/* A path part that proxies and libraries fold away: "", "." or "..". */
static bool
is_folded(const char *part, size_t n)
{
    return n == 0 || (n == 1 && part[0] == '.') || (n == 2 && part[0] == '.' && part[1] == '.');
}

static bool
has_folded_part(const char *text, bool key)
{
    for (const char *p = text;; p++) {
        size_t n = key ? strcspn(p, "/") : strlen(p);
        if (is_folded(p, n))
            return true;
        p += n;
        if (!*p)
            return false;
    }
}

char *
sf_url_escape(const char *text, bool key)
{
    static const char hex[] = "0123456789ABCDEF";
    bool guard = has_folded_part(text, key);
    char *out = malloc(strlen(text) * 3 + 1), *o = out;
    if (!out)
        return NULL;
    for (const char *p = text; *p; p++) {
        if ((is_plain(*p) && !(guard && *p == '.')) || (key && *p == '/' && !guard)) {
            *o++ = *p;
        } else {
            unsigned char c = (unsigned char)*p;
            *o++ = '%';
            *o++ = hex[c >> 4];
            *o++ = hex[c & 15];
        }
    }
    *o = '\0';
    return out;
}

/* The middle of a long key is cut out. */
void
sf_call_describe(struct sf_call *call, const char *method, const char *action, const char *bucket,
                 const char *key)
{
    char b[48], k[72];
    sf_text_clean(bucket ? bucket : "", bucket ? strlen(bucket) : 0, b, sizeof b);
    size_t n = key ? strlen(key) : 0;
    if (n < sizeof k) {
        sf_text_clean(key ? key : "", n, k, sizeof k);
    } else {
        char tail[36];
        sf_text_clean(key, 32, k, 33);
        sf_text_clean(key + n - 32, 32, tail, sizeof tail);
        snprintf(k + strlen(k), sizeof k - strlen(k), "...%s", tail);
    }
    snprintf(call->what, sizeof call->what, "%s %s%s%s%s%s", method, action, bucket ? " " : "", b,
             key ? "/" : "", k);
}

/* ---- errors --------------------------------------------------------------------------------- */

void
sf_call_fail(struct sf_call *call, int code, const char *fmt, ...)
{
    char text[160];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (!call->err.code)
        call->err.code = sf_err_set(&call->err, code, "%s: %s", call->what, text);
}

/* " (request ID)" from the header that the service or its gateway set. */
static void
request_id(const struct sf_http_reply *r, char *out, size_t size)
{
    static const char *const names[] = {"sb-request-id", "x-request-id", "cf-ray"};
    out[0] = '\0';
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *v = sf_http_reply_header(r, names[i]);
        if (v && *v) {
            char id[56];
            sf_text_clean(v, strlen(v), id, sizeof id);
            snprintf(out, size, " (request %s)", id);
            return;
        }
    }
}

/* What a person is to do about it; the source of the key follows. */
static const char *advice(enum sf_fault_class class)
{
    if (class == SF_FAULT_EXPIRED)
        return "; renew the token in ";
    return class == SF_FAULT_BAD_TOKEN ? "; check the key: " : "";
}

static const struct sf_errmap_row *
judge(const struct sf_call *c, const struct sf_http_reply *r, struct sf_fault *f)
{
    sf_fault_parse(r->status, r->body, r->body_len, f);
    if (c->bare_400 && r->status == 400 && r->body_len == 0)
        f->status = 401;
    return sf_errmap_find(f);
}

static void
fault_error(struct sf_call *c, const struct sf_http_reply *r, struct sf_err *out)
{
    struct sf_fault f;
    char id[80];
    const struct sf_errmap_row *row = judge(c, r, &f);
    request_id(r, id, sizeof id);
    const char *name = f.code[0] ? f.code : f.error;
    const char *said = f.message[0] ? f.message : name[0] ? "" : row->meaning;
    const char *tip = advice(row->class);
    out->code = sf_err_set(out, row->err, "%s: HTTP %d%s: %s%s%.100s%s%s", c->what, r->status, id,
                           name, name[0] && said[0] ? ": " : "", said, tip,
                           tip[0] ? sf_auth_label(c->st->auth) : "");
    out->http_status = r->status;
    out->retryable = row->retry;
    /* Also when this attempt was refused: one before it may have had its way. */
    out->outcome_open = c->changes && (row->class == SF_FAULT_SERVER || r->err.outcome_open);
    snprintf(out->api_code, sizeof out->api_code, "%s", f.code);
}

void
sf_call_error(struct sf_call *call, const struct sf_http_reply *reply, struct sf_err *out)
{
    *out = SF_ERR_INIT;
    if (reply->status != 0) {
        fault_error(call, reply, out);
        return;
    }
    *out = reply->err;
    if (!out->code)
        out->code = sf_err_set(out, -EIO, "no reply");
    if (!call->changes)
        out->outcome_open = false;
    sf_err_prefix(out, "%s", call->what);
}

static void
tell_trouble(const struct sf_call *c, const struct sf_err *err)
{
    bool daily = err->code == -ENOENT || err->code == -EEXIST || err->code == -ECANCELED;
    if (c->trouble.fn && !daily && !c->caller_tells)
        c->trouble.fn(c->trouble.arg, err);
}

void
sf_call_protocol(struct sf_call *call, const struct sf_http_reply *reply, struct sf_err *out,
                 int code, const char *fmt, ...)
{
    char text[120], id[80];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    request_id(reply, id, sizeof id);
    *out = SF_ERR_INIT;
    out->code = sf_err_set(out, code, "%s: HTTP %d%s: %s", call->what, reply->status, id, text);
    out->http_status = reply->status;
    /* The service said yes; only what it said besides is unusable. */
    out->outcome_open = call->changes;
    tell_trouble(call, out);
}

/* ---- hooks ---------------------------------------------------------------------------------- */

static void
prepare(void *arg, struct sf_http_req *req)
{
    struct sf_call *c = arg;
    /* Without memory for a header the request goes unauthorised and is refused, loudly. */
    (void)sf_auth_apply(c->st->auth, req, &c->generation);
}

/* The key was refused: is there another one by now? */
static bool
key_renewed(struct sf_call *c)
{
    if (sf_auth_generation(c->st->auth) != c->generation)
        return true;
    return sf_auth_reload(c->st->auth, true, NULL) == 1;
}

static enum sf_http_verdict
classify(void *arg, const struct sf_http_reply *reply)
{
    struct sf_call *c = arg;
    struct sf_fault f;
    if (reply->status < 400)
        return SF_HTTP_FINAL;
    const struct sf_errmap_row *row = judge(c, reply, &f);
    if (row->class == SF_FAULT_EXPIRED || row->class == SF_FAULT_BAD_TOKEN)
        return key_renewed(c) ? SF_HTTP_AGAIN : SF_HTTP_FINAL;
    /* A read that starts while a new version replaces the old one can miss both, once. */
    if (row->class == SF_FAULT_NO_KEY && c->idempotent && reply->attempts <= 1 &&
        strstr(f.message, "The resource was not found"))
        return SF_HTTP_RETRY;
    if (!row->retry)
        return SF_HTTP_FINAL;
    /* Busy means that nothing was done; a failure on the way may have come after the deed. */
    if (row->class == SF_FAULT_BUSY || c->idempotent)
        return SF_HTTP_RETRY;
    return SF_HTTP_FINAL;
}

/* The end of a call. Its storage may be freed as soon as the callback runs: it counts no more, and
 * nothing behind this line touches it. */
static void
call_end(struct sf_call *c, const struct sf_http_reply *reply, const struct sf_err *err)
{
    atomic_fetch_sub(&c->st->active, 1);
    c->st = NULL;
    if (err)
        tell_trouble(c, err);
    c->done(c, reply, err);
    if (c->fini)
        c->fini(c);
    sf_http_req_free(c->req);
    free(c);
}

static void
replied(void *arg, const struct sf_http_reply *reply)
{
    struct sf_call *c = arg;
    struct sf_err err;
    if (reply->status >= 200 && reply->status < 300) {
        call_end(c, reply, NULL);
    } else {
        sf_call_error(c, reply, &err);
        call_end(c, reply, &err);
    }
}

static void
unsent(void *arg)
{
    struct sf_call *c = arg;
    call_end(c, NULL, &c->err);
}

/* ---- building and sending -----------------------------------------------------------------------
 */

void *
sf_call_new(struct sf_storage *st, enum sf_counter kind, size_t size, sf_call_done_fn done)
{
    assert(size >= sizeof(struct sf_call));
    struct sf_call *c = calloc(1, size);
    if (!c)
        return NULL;
    c->st = st;
    c->kind = kind;
    c->trouble = st->trouble;
    c->done = done;
    atomic_fetch_add(&st->active, 1);
    return c;
}

static bool
usable(struct sf_call *c, const char *what, const char *text)
{
    if (text && !text[0]) {
        sf_call_fail(c, -EINVAL, "empty %s", what);
        return false;
    }
    return true;
}

/* @url: NULL = out of memory. */
static void
open_url(struct sf_call *call, const char *method, const char *url, int64_t deadline_ms)
{
    call->req = url ? sf_http_req_new(call->st->http, method, url) : NULL;
    if (!call->req) {
        sf_call_fail(call, -ENOMEM, "out of memory");
        return;
    }
    sf_http_req_deadline(call->req, deadline_ms);
    sf_http_req_hooks(call->req, prepare, classify, call);
    sf_call_header(call, "x-client-info", "supafs/" PACKAGE_VERSION);
}

void
sf_call_open(struct sf_call *call, const char *method, const char *action, const char *route,
             const char *bucket, const char *key, const char *query, int64_t deadline_ms)
{
    sf_call_describe(call, method, action, bucket, key);
    if (!usable(call, "bucket", bucket) || !usable(call, "key", key))
        return;
    sf_autofree char *b = bucket ? sf_url_escape(bucket, false) : NULL;
    sf_autofree char *k = key ? sf_url_escape(key, true) : NULL;
    sf_autofree char *url = NULL;
    if ((bucket && !b) || (key && !k) ||
        asprintf(&url, "%s/%s%s%s%s%s%s%s", call->st->base, route, b ? "/" : "", b ? b : "",
                 k ? "/" : "", k ? k : "", query ? "?" : "", query ? query : "") < 0)
        url = NULL;
    open_url(call, method, url, deadline_ms);
}

void
sf_call_open_rest(struct sf_call *call, const char *method, const char *path, const char *query,
                  int64_t deadline_ms)
{
    const char *base = call->st->base;
    sf_autofree char *url = NULL;
    if (asprintf(&url, "%.*s/rest/v1/%s%s%s", (int)(strlen(base) - strlen(SF_STORAGE_PATH)), base,
                 path, query ? "?" : "", query ? query : "") < 0)
        url = NULL;
    open_url(call, method, url, deadline_ms);
}

void
sf_call_header(struct sf_call *call, const char *name, const char *value)
{
    if (call->err.code)
        return;
    int rc = sf_http_req_header(call->req, name, value);
    if (rc < 0)
        sf_call_fail(call, rc, "cannot send the header %s", name);
}

void
sf_call_json(struct sf_call *call, char *json)
{
    if (!json)
        sf_call_fail(call, -EINVAL, "text that is not UTF-8 (or no memory)");
    sf_call_header(call, "Content-Type", "application/json");
    if (call->err.code)
        free(json);
    else
        sf_http_req_body(call->req, json, strlen(json));
}

uint64_t
sf_call_submit(struct sf_call *call)
{
    if (!call->err.code) {
        struct sf_http_req *req = sf_steal(call->req);
        sf_http_req_idempotent(req, call->idempotent);
        sf_count(call->kind, 1);
        return sf_http_submit(call->st->http, req, replied, call);
    }
    /* Not even memory to report it later: better now than never. */
    if (sf_http_post(call->st->http, unsent, call) < 0)
        unsent(call);
    return ID_UNSENT;
}

/* ---- waiting -------------------------------------------------------------------------------- */

struct sf_waiter {
    struct sf_mutex lock; /* leaf; protects what follows */
    struct sf_cond cond;
    bool done;
    struct sf_err err;
};

int
sf_wait_begin(struct sf_storage *st, struct sf_waiter **ret, struct sf_err *err)
{
    if (sf_http_on_loop(st->http))
        return sf_err_set(err, -EDEADLK, "a waiting call on the event thread");
    struct sf_waiter *w = calloc(1, sizeof *w);
    if (!w)
        return sf_err_set(err, -ENOMEM, "out of memory");
    sf_mutex_init(&w->lock, 0);
    sf_cond_init(&w->cond);
    *ret = w;
    return 0;
}

void
sf_wait_end(struct sf_waiter *w, const struct sf_err *err)
{
    SF_GUARD(&w->lock);
    if (err)
        w->err = *err;
    w->done = true;
    /* Under the lock: once it is free, the waiting thread may free all of this. */
    sf_cond_signal(&w->cond);
}

int
sf_wait_for(struct sf_waiter *w, struct sf_err *err)
{
    sf_mutex_lock(&w->lock);
    while (!w->done)
        sf_cond_wait(&w->cond, &w->lock);
    int rc = w->err.code;
    if (err && !err->code)
        *err = w->err;
    sf_mutex_unlock(&w->lock);
    sf_cond_fini(&w->cond);
    sf_mutex_fini(&w->lock);
    free(w);
    return rc;
}
