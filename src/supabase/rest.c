/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "supabase/rest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "supabase/call.h"
#include "supabase/json.h"

#define NAME_CHARS     "abcdefghijklmnopqrstuvwxyz_0123456789"
#define NAME_MAX_BYTES 63 /* of PostgreSQL */

struct rest_call {
    struct sf_call call;
    sf_rest_fn cb;
    void *arg;
};

/* Whoever says so, the database's API, a gateway or a Storage service alone: it is not there. */
static void
refused(const struct sf_http_reply *reply, struct sf_err *err)
{
    int status = reply ? reply->status : 0;
    if (status == 404 || status == 405 || status == 501)
        err->code = -ENOSYS;
}

static void
rest_done(struct sf_call *call, const struct sf_http_reply *reply, const struct sf_err *err)
{
    struct rest_call *c = (struct rest_call *)call;
    struct sf_err bad;
    char why[160];
    if (err) {
        bad = *err;
        refused(reply, &bad);
        c->cb(c->arg, &bad, NULL);
        return;
    }
    json_t *answer = sf_json_parse(reply->body ? reply->body : "", reply->body_len, why);
    if (answer) {
        c->cb(c->arg, NULL, answer);
    } else {
        sf_call_protocol(call, reply, &bad, -EPROTO, "unusable answer: %s", why);
        c->cb(c->arg, &bad, NULL);
    }
    json_decref(answer);
}

static struct rest_call *
rest_new(struct sf_storage *st, const struct sf_rest_how *how, sf_rest_fn cb, void *arg)
{
    struct rest_call *c = sf_call_new(st, SF_C_CALLS_TABLES, sizeof *c, rest_done);
    if (!c) {
        struct sf_err err = SF_ERR_INIT;
        err.code = sf_err_set(&err, -ENOMEM, "out of memory");
        cb(arg, &err, NULL);
        return NULL;
    }
    c->cb = cb;
    c->arg = arg;
    c->call.changes = !how->reads;
    c->call.idempotent = how->reads || how->repeatable;
    c->call.caller_tells = true;
    return c;
}

static uint64_t
submit(struct rest_call *c, const struct sf_rest_how *how)
{
    sf_call_header(&c->call, "Accept", "application/json");
    if (!c->call.err.code) {
        sf_http_req_limit(c->call.req, SF_REST_ANSWER_MAX);
        sf_http_req_priority(c->call.req, how->priority);
    }
    return sf_call_submit(&c->call);
}

static bool
is_name(const char *name)
{
    size_t n = strlen(name);
    return n > 0 && n <= NAME_MAX_BYTES && strspn(name, NAME_CHARS) == n;
}

uint64_t
sf_rest_rpc(struct sf_storage *st, const char *function, json_t *args,
            const struct sf_rest_how *how, sf_rest_fn cb, void *arg)
{
    struct rest_call *c = rest_new(st, how, cb, arg);
    if (!c) {
        json_decref(args);
        return 0;
    }
    char what[80];
    snprintf(what, sizeof what, "rpc/%s", is_name(function) ? function : "");
    sf_call_describe(&c->call, "POST", what, NULL, NULL);
    if (!is_name(function))
        sf_call_fail(&c->call, -EINVAL, "not the name of a function");
    else if (!json_is_object(args))
        sf_call_fail(&c->call, -EINVAL, "arguments with text that is not UTF-8 (or no memory)");
    else
        sf_call_open_rest(&c->call, "POST", what, NULL, how->deadline_ms);
    if (!c->call.err.code)
        sf_call_json(&c->call, json_dumps(args, JSON_COMPACT));
    json_decref(args);
    return submit(c, how);
}

/* ---- waiting form --------------------------------------------------------------------------- */

struct rest_wait {
    struct sf_waiter *w;
    json_t *answer;
};

static void
rest_waited(void *arg, const struct sf_err *err, json_t *answer)
{
    struct rest_wait *r = arg;
    r->answer = json_incref(answer);
    sf_wait_end(r->w, err);
}

int
sf_rest_rpc_wait(struct sf_storage *st, const char *function, json_t *args,
                 const struct sf_rest_how *how, json_t **answer, struct sf_err *err)
{
    struct rest_wait r = {0};
    int rc = sf_wait_begin(st, &r.w, err);
    if (rc < 0) {
        json_decref(args);
        return rc;
    }
    (void)sf_rest_rpc(st, function, args, how, rest_waited, &r);
    rc = sf_wait_for(r.w, err);
    if (rc == 0 && answer)
        *answer = json_incref(r.answer);
    json_decref(r.answer);
    return rc;
}
