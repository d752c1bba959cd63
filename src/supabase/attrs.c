/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "supabase/attrs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "supabase/change.h"
#include "supabase/json.h"

static int
read_result(const json_t *o, const char *expected, struct sf_attrs_result *res)
{
    const json_t *updated = json_object_get(o, "updated");
    const char *version = sf_json_text(o, "version");
    struct sf_attrs_result r = {.updated = json_is_true(updated)};
    if (!json_is_boolean(updated) || !version || strlen(version) >= sizeof r.version)
        return -EPROTO;
    if (sf_json_time(o, "updated_at", &r.updated_ns) < 0)
        return -EPROTO;
    if (r.updated && (strcmp(version, expected) != 0 || !r.updated_ns))
        return -EPROTO;
    snprintf(r.version, sizeof r.version, "%s", version);
    *res = r;
    return 0;
}

int
sf_attrs_parse(const char *body, size_t len, const char *expected, struct sf_attrs_result *res,
               char *why)
{
    snprintf(why, 160, "a member is missing or cannot be true");
    json_t *o = sf_json_parse(body, len, why);
    int rc = json_is_object(o) ? read_result(o, expected, res) : -EPROTO;
    json_decref(o);
    return rc;
}

struct request {
    const char *expected;
    struct sf_attrs_result res;
};

static int
parse_attrs(struct sf_change *c, const struct sf_http_reply *reply, char *why)
{
    struct request *rq = c->out;
    return sf_attrs_parse(reply->body ? reply->body : "", reply->body_len, rq->expected, &rq->res,
                          why);
}

/* Whoever says so, the database's API, a gateway or a Storage service alone: it is not there. */
static void
attrs_refused(const struct sf_http_reply *reply, struct sf_err *err)
{
    int status = reply ? reply->status : 0;
    if (status == 404 || status == 405 || status == 501)
        err->code = -ENOSYS;
}

static char *
attrs_body(const struct sf_attrs_args *a, char *why)
{
    json_t *meta = a->metadata ? sf_json_parse(a->metadata, strlen(a->metadata), why) : json_null();
    char *text = NULL;
    json_t *o = json_pack("{s:s, s:s, s:s, s:s?, s:s?, s:o}", "p_bucket", a->bucket, "p_name",
                          a->key, "p_version", a->version, "p_cache_control", a->cache_control,
                          "p_mimetype", a->mime, "p_metadata", meta);
    if (o)
        text = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    return text;
}

int
sf_storage_set_attrs_wait(struct sf_storage *st, const struct sf_attrs_args *args,
                          int64_t deadline_ms, struct sf_attrs_result *res, struct sf_err *err)
{
    int rc;
    char why[160];
    struct request rq = {.expected = args->version ? args->version : ""};
    struct sf_change *c = sf_change_begin(st, SF_C_CALLS_ATTRS, &rc, err);
    if (!c)
        return rc;
    c->parse = parse_attrs;
    c->refused = attrs_refused;
    c->out = &rq;
    c->call.caller_tells = true;
    /* It says which version it is for, and leaves that as it is. */
    c->call.idempotent = true;
    sf_call_describe(&c->call, "POST", "attributes", args->bucket, args->key);
    sf_call_open_rest(&c->call, "POST", "rpc/supafs_set_attrs", NULL, deadline_ms);
    if (!rq.expected[0])
        sf_call_fail(&c->call, -EINVAL, "the version is not known");
    sf_call_header(&c->call, "Accept", "application/json");
    sf_call_json(&c->call, c->call.err.code ? NULL : attrs_body(args, why));
    rc = sf_change_finish(c, err);
    if (rc == 0)
        *res = rq.res;
    return rc;
}
