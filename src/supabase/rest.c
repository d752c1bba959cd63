/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "supabase/rest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "supabase/call.h"
#include "supabase/json.h"
#include "supabase/rest-internal.h"

enum expected { ANY, ROWS, NOTHING };

struct rest_call {
    struct sf_call call;
    enum expected expected;
    size_t rows_max;
    uint64_t *total; /* NULL, or on the stack of the thread that waits: they are counted */
    sf_rest_fn cb;
    void *arg;
};

/* ---- answers -------------------------------------------------------------------------------- */

json_t *
sf_rest_rows_parse(const char *body, size_t len, size_t max, char *why)
{
    size_t i;
    json_t *row, *rows = sf_json_parse(body, len, why);
    if (!rows)
        return NULL;
    bool good = json_is_array(rows) && json_array_size(rows) <= max;
    json_array_foreach(rows, i, row) good = good && json_is_object(row);
    if (good)
        return rows;
    snprintf(why, 160, "not at most %zu rows", max);
    json_decref(rows);
    return NULL;
}

int
sf_rest_total_parse(const char *content_range, uint64_t *total)
{
    const char *slash = strchr(content_range, '/');
    return slash && sf_parse_u64(slash + 1, total) == 0 ? 0 : -EPROTO;
}

/* Whoever says so, the database's API, a gateway or a Storage service alone: it is not there. But
 * 405 is also what a database is told by that may only be read. */
void
sf_rest_refused(const struct sf_http_reply *reply, struct sf_err *err)
{
    int status = reply ? reply->status : 0;
    if (status == 404 || status == 501 || (status == 405 && !err->api_code[0]))
        err->code = -ENOSYS;
}

/* A range that begins behind the last row, when all of them were counted. */
static bool
is_behind_all(const struct rest_call *c, const struct sf_err *err)
{
    return c->total && strcmp(err->api_code, "PGRST103") == 0;
}

/* NULL with the reason in why. */
static json_t *
answer_of(struct rest_call *c, const struct sf_http_reply *reply, bool none, char *why)
{
    const char *body = reply->body ? reply->body : "";
    if (c->total) {
        const char *range = sf_http_reply_header(reply, "Content-Range");
        snprintf(why, 160, "it was not counted");
        if (!range || sf_rest_total_parse(range, c->total) < 0)
            return NULL;
    }
    if (none)
        return json_array();
    if (c->expected == ROWS)
        return sf_rest_rows_parse(body, reply->body_len, c->rows_max, why);
    if (c->expected == ANY)
        return sf_json_parse(body, reply->body_len, why);
    snprintf(why, 160, "text where there should be none");
    return reply->body_len == 0 ? json_array() : NULL;
}

static void
rest_done(struct sf_call *call, const struct sf_http_reply *reply, const struct sf_err *err)
{
    struct rest_call *c = (struct rest_call *)call;
    bool none = err && is_behind_all(c, err);
    struct sf_err bad;
    char why[160] = "";
    if (err && !none) {
        bad = *err;
        sf_rest_refused(reply, &bad);
        c->cb(c->arg, &bad, NULL);
        return;
    }
    json_t *answer = answer_of(c, reply, none, why);
    if (answer) {
        c->cb(c->arg, NULL, answer);
    } else {
        sf_call_protocol(call, reply, &bad, -EPROTO, "unusable answer: %s", why);
        c->cb(c->arg, &bad, NULL);
    }
}

/* ---- requests ------------------------------------------------------------------------------- */

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

/* @what: the path, described before. */
static void
open_path(struct rest_call *c, const char *method, const char *what, const char *query,
          const struct sf_rest_how *how)
{
    if (c->call.err.code)
        return;
    sf_call_open_rest(&c->call, method, what, query, how->deadline_ms);
    sf_call_header(&c->call, "Accept", "application/json");
    if (c->call.err.code)
        return;
    sf_http_req_limit(c->call.req, SF_REST_ANSWER_MAX);
    sf_http_req_priority(c->call.req, how->priority);
}

static void
put_body(struct rest_call *c, const json_t *body)
{
    if (!c->call.err.code)
        sf_call_json(&c->call, json_dumps(body, JSON_COMPACT));
}

/* @text: taken. */
static uint64_t
start_rpc(struct sf_storage *st, const char *function, char *text, const struct sf_rest_how *how,
          sf_rest_fn cb, void *arg)
{
    struct rest_call *c = rest_new(st, how, cb, arg);
    if (!c) {
        free(text);
        return 0;
    }
    char what[80];
    bool named = sf_rest_is_name(function);
    snprintf(what, sizeof what, "rpc/%s", named ? function : "");
    sf_call_describe(&c->call, "POST", what, NULL, NULL);
    if (!named)
        sf_call_fail(&c->call, -EINVAL, "not the name of a function");
    if (!text)
        sf_call_fail(&c->call, -EINVAL, "arguments with text that is not UTF-8 (or no memory)");
    open_path(c, "POST", what, NULL, how);
    sf_call_json(&c->call, text);
    return sf_call_submit(&c->call);
}

uint64_t
sf_rest_rpc(struct sf_storage *st, const char *function, json_t *args,
            const struct sf_rest_how *how, sf_rest_fn cb, void *arg)
{
    char *text = json_is_object(args) ? json_dumps(args, JSON_COMPACT) : NULL;
    json_decref(args);
    return start_rpc(st, function, text, how, cb, arg);
}

static void
start_select(struct sf_storage *st, const struct sf_rest_query *q, const struct sf_rest_how *how,
             uint64_t *total, sf_rest_fn cb, void *arg)
{
    struct rest_call *c = rest_new(st, how, cb, arg);
    if (!c)
        return;
    sf_autobuf struct sf_buf text = SF_BUF_INIT;
    c->call.changes = false;
    c->call.idempotent = true;
    c->expected = ROWS;
    c->rows_max = q->limit;
    c->total = total;
    sf_call_describe(&c->call, "GET", q->table, NULL, NULL);
    if (q->rc)
        sf_call_fail(&c->call, q->rc, "%s", q->why);
    if (sf_rest_query_path(q, &text) < 0)
        sf_call_fail(&c->call, -ENOMEM, "out of memory");
    open_path(c, "GET", q->table, text.data, how);
    if (total)
        sf_call_header(&c->call, "Prefer", "count=exact");
    (void)sf_call_submit(&c->call);
}

static bool
are_rows(const json_t *rows)
{
    size_t i;
    const json_t *row;
    bool good = json_array_size(rows) > 0 && json_array_size(rows) <= SF_REST_ROWS_MAX;
    json_array_foreach(rows, i, row) good = good && json_is_object(row);
    return good;
}

static void
start_insert(struct sf_storage *st, const struct sf_rest_rows *a, const struct sf_rest_how *how,
             bool tell, sf_rest_fn cb, void *arg)
{
    struct rest_call *c = rest_new(st, how, cb, arg);
    if (!c)
        return;
    char prefer[80], query[300] = "";
    bool named = sf_rest_is_name(a->table);
    const char *table = named ? a->table : "", *by = a->on_conflict;
    c->expected = tell ? ROWS : NOTHING;
    c->rows_max = json_array_size(a->rows);
    sf_call_describe(&c->call, "POST", table, NULL, NULL);
    if (!named || (by && !sf_rest_is_name_list(by, NULL)))
        sf_call_fail(&c->call, -EINVAL, "not the name of a table or column");
    if (!are_rows(a->rows))
        sf_call_fail(&c->call, -EINVAL, "no rows, too many, or text that is not UTF-8");
    if (by && snprintf(query, sizeof query, "on_conflict=%s", by) >= (int)sizeof query)
        sf_call_fail(&c->call, -EINVAL, "too many columns");
    snprintf(prefer, sizeof prefer, "return=%s%s%s", tell ? "representation" : "minimal",
             by ? ",resolution=" : "",
             !by         ? ""
             : a->ignore ? "ignore-duplicates"
                         : "merge-duplicates");
    open_path(c, "POST", table, by ? query : NULL, how);
    sf_call_header(&c->call, "Prefer", prefer);
    put_body(c, a->rows);
    (void)sf_call_submit(&c->call);
}

/* ---- waiting forms -------------------------------------------------------------------------- */

struct rest_wait {
    struct sf_waiter *w;
    json_t *answer;
};

static void
rest_waited(void *arg, const struct sf_err *err, json_t *answer)
{
    struct rest_wait *r = arg;
    r->answer = answer;
    sf_wait_end(r->w, err);
}

/* Gives the answer away, or lets it go. */
static int
wait_for(struct rest_wait *r, json_t **answer, struct sf_err *err)
{
    int rc = sf_wait_for(r->w, err);
    if (rc == 0 && answer)
        *answer = r->answer;
    else
        json_decref(r->answer);
    return rc;
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
    return wait_for(&r, answer, err);
}

int
sf_rest_rpc_text_wait(struct sf_storage *st, const char *function, const char *args, size_t len,
                      const struct sf_rest_how *how, json_t **answer, struct sf_err *err)
{
    struct rest_wait r = {0};
    int rc = sf_wait_begin(st, &r.w, err);
    if (rc < 0)
        return rc;
    (void)start_rpc(st, function, strndup(args, len), how, rest_waited, &r);
    return wait_for(&r, answer, err);
}

int
sf_rest_select_wait(struct sf_storage *st, const struct sf_rest_query *q,
                    const struct sf_rest_how *how, json_t **rows, uint64_t *total,
                    struct sf_err *err)
{
    struct rest_wait r = {0};
    uint64_t counted = 0;
    int rc = sf_wait_begin(st, &r.w, err);
    if (rc < 0)
        return rc;
    start_select(st, q, how, total ? &counted : NULL, rest_waited, &r);
    rc = wait_for(&r, rows, err);
    if (rc == 0 && total)
        *total = counted;
    return rc;
}

int
sf_rest_insert_wait(struct sf_storage *st, const struct sf_rest_rows *args,
                    const struct sf_rest_how *how, json_t **stored, struct sf_err *err)
{
    struct rest_wait r = {0};
    int rc = sf_wait_begin(st, &r.w, err);
    if (rc == 0) {
        start_insert(st, args, how, stored != NULL, rest_waited, &r);
        rc = wait_for(&r, stored, err);
    }
    json_decref(args->rows);
    return rc;
}
