/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "setup/init-internal.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/lock.h"
#include "supabase/json.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Two requests that are none of the Storage API: a query through the platform's Management API
 * (POST /v1/projects/REF/database/query, {"query": SQL}; 201 and the rows, or a "message"), and the
 * project's own function supafs_about.
 */

/* The Management API lets nobody in for up to a minute who asked too often. */
#define API_MS (100 * 1000)

struct question {
    struct init *in;
    bool api;
    uint64_t generation;

    struct sf_mutex lock; /* leaf; protects what follows */
    struct sf_cond cond;
    bool done;
    int status;
    json_t *root; /* NULL = the body was no JSON */
    struct sf_err err;
};

/* For each attempt: neither a token nor a key lies in the request longer than that. */
static void
prepare(void *arg, struct sf_http_req *req)
{
    struct question *q = arg;
    if (!q->api) {
        (void)sf_auth_apply(q->in->auth, req, &q->generation);
        return;
    }
    const char *token = sf_config_str(q->in->args->cfg, SF_OPT_ACCESS_TOKEN);
    sf_autofree char *value = NULL;
    if (asprintf(&value, "Bearer %s", token) < 0)
        value = NULL;
    if (value) {
        (void)sf_http_req_attempt_header(req, "Authorization", value);
        explicit_bzero(value, strlen(value));
    }
}

/* The SQL files may be run again, so a failure on the way is no reason to give up. */
static enum sf_http_verdict
classify(void *arg, const struct sf_http_reply *reply)
{
    (void)arg;
    return reply->status == 429 || reply->status >= 500 ? SF_HTTP_RETRY : SF_HTTP_FINAL;
}

static void
answered(void *arg, const struct sf_http_reply *reply)
{
    struct question *q = arg;
    SF_GUARD(&q->lock);
    q->status = reply->status;
    q->err = reply->err;
    if (reply->status)
        q->root = sf_json_parse(reply->body ? reply->body : "", reply->body_len, NULL);
    q->done = true;
    sf_cond_signal(&q->cond);
}

/* @json: malloc'd; taken. The answer is in @q, whose root is to be given back. */
static int
ask(struct question *q, const char *url, char *json, int64_t ms, struct sf_err *err)
{
    struct sf_http_req *req = json ? sf_http_req_new(q->in->http, "POST", url) : NULL;
    if (!req || sf_http_req_header(req, "Content-Type", "application/json") < 0) {
        free(json);
        sf_http_req_free(req);
        return sf_err_set(err, -ENOMEM, "out of memory");
    }
    sf_http_req_body(req, json, strlen(json));
    sf_http_req_deadline(req, sf_clock_ms() + ms);
    sf_http_req_idempotent(req, true);
    sf_http_req_hooks(req, prepare, classify, q);
    sf_mutex_init(&q->lock, 0);
    sf_cond_init(&q->cond);
    sf_http_submit(q->in->http, req, answered, q);
    sf_mutex_lock(&q->lock);
    while (!q->done)
        sf_cond_wait(&q->cond, &q->lock);
    sf_mutex_unlock(&q->lock);
    sf_cond_fini(&q->cond);
    sf_mutex_fini(&q->lock);
    if (q->status)
        return 0;
    *err = q->err;
    return q->err.code ? q->err.code : -EIO;
}

/* ---- the Management API --------------------------------------------------------------------- */

static int
api_fault(const struct question *q, struct sf_err *err)
{
    const char *origin = sf_config_origin(q->in->args->cfg, SF_OPT_ACCESS_TOKEN);
    const char *message = json_string_value(json_object_get(q->root, "message"));
    char said[180] = "";
    if (message)
        sf_text_clean(message, strlen(message), said, sizeof said);
    err->http_status = q->status;
    switch (q->status) {
    case 401:
        return sf_err_set(err, -EKEYREJECTED,
                          "the Management API does not accept the access token (%s); make one in "
                          "the dashboard under Account, Access Tokens",
                          origin);
    case 403:
        return sf_err_set(err, -EACCES,
                          "the access token (%s) may not change the database of project %s", origin,
                          q->in->ref);
    case 404:
        return sf_err_set(err, -ENOENT, "the Management API knows no project %s", q->in->ref);
    case 429:
        return sf_err_set(err, -EAGAIN,
                          "the Management API takes no more requests now; try again in a minute");
    default:
        return sf_err_set(err, -EIO, "the Management API answers %d%s%s", q->status,
                          *said ? ": " : "", said);
    }
}

/* [{"n": 5}]: the only number of the only row. */
static int
number_of(const json_t *root, int64_t *number, struct sf_err *err)
{
    const json_t *row = json_array_size(root) == 1 ? json_array_get(root, 0) : NULL;
    const json_t *n = json_object_get(row, "n");
    if (!json_is_integer(n))
        return sf_err_set(err, -EPROTO, "the Management API's answer is no number");
    *number = json_integer_value(n);
    return 0;
}

int
init_api_run(struct init *in, const char *sql, int64_t *number, struct sf_err *err)
{
    const struct sf_config *c = in->args->cfg;
    struct question q = {.in = in, .api = true};
    sf_autofree char *url = NULL;
    if (!in->ref[0])
        return sf_err_set(err, -EINVAL,
                          "set project_ref (SUPABASE_PROJECT_REF): the Management API knows the "
                          "project by its id, which this URL does not tell");
    if (asprintf(&url, "%s/v1/projects/%s/database/query", sf_config_str(c, SF_OPT_MANAGEMENT_URL),
                 in->ref) < 0) {
        url = NULL;
        return sf_err_set(err, -ENOMEM, "out of memory");
    }
    json_t *o = json_pack("{s:s}", "query", sql);
    int rc = ask(&q, url, o ? json_dumps(o, JSON_COMPACT) : NULL, API_MS, err);
    json_decref(o);
    if (rc)
        return rc;
    if (q.status != 200 && q.status != 201)
        rc = api_fault(&q, err);
    else if (number)
        rc = number_of(q.root, number, err);
    else if (!json_is_array(q.root))
        rc = sf_err_set(err, -EPROTO, "what answers as the Management API is something else");
    json_decref(q.root);
    return rc;
}

/* ---- the project's own answer --------------------------------------------------------------- */

int
init_about(struct init *in, int *version, struct sf_err *err)
{
    const struct sf_config *c = in->args->cfg;
    struct question q = {.in = in};
    sf_autofree char *url = NULL;
    if (asprintf(&url, "%s/rest/v1/rpc/supafs_about", sf_config_str(c, SF_OPT_URL)) < 0) {
        url = NULL;
        return sf_err_set(err, -ENOMEM, "out of memory");
    }
    int rc = ask(&q, url, strdup("{}"), sf_config_ms(c, SF_OPT_CONNECT_TIMEOUT), err);
    if (rc)
        return rc;
    const json_t *n = json_object_get(q.root, "version");
    const char *code = json_string_value(json_object_get(q.root, "code"));
    if (q.status == 200 && json_is_integer(n) && json_integer_value(n) >= 0 &&
        json_integer_value(n) <= 1000000)
        *version = (int)json_integer_value(n);
    else if (q.status == 404 && code && !strcmp(code, "PGRST202"))
        *version = 0;
    else
        rc = sf_err_set(err, -EPROTO, "the project's database API answers %d%s%.40s", q.status,
                        code ? ", " : "", code ? code : "");
    json_decref(q.root);
    return rc;
}
