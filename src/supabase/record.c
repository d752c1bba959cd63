/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "supabase/record.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "supabase/change.h"
#include "supabase/json.h"

static int
parse_record(struct sf_change *c, const struct sf_http_reply *reply, char *why)
{
    json_t *o = sf_json_parse(reply->body ? reply->body : "", reply->body_len, why);
    const json_t *recorded = json_object_get(o, "recorded");
    bool said = json_is_boolean(recorded);
    if (said)
        *(bool *)c->out = json_is_true(recorded);
    json_decref(o);
    return said ? 0 : -EPROTO;
}

static int
parse_about(struct sf_change *c, const struct sf_http_reply *reply, char *why)
{
    json_t *o = sf_json_parse(reply->body ? reply->body : "", reply->body_len, why);
    const json_t *version = json_object_get(o, "version");
    bool said = json_is_integer(version) && json_integer_value(version) > 0 &&
                json_integer_value(version) < 1000000;
    if (said)
        *(unsigned *)c->out = (unsigned)json_integer_value(version);
    json_decref(o);
    return said ? 0 : -EPROTO;
}

/* What the database says of the arguments themselves it will say again. */
static bool
is_of_the_content(const struct sf_http_reply *reply)
{
    struct sf_fault f;
    sf_fault_parse(reply->status, reply->body, reply->body_len, &f);
    return reply->status == 413 || strcmp(f.code, "PGRST102") == 0 ||
           (strlen(f.code) == 5 && (sf_str_starts(f.code, "22") || sf_str_starts(f.code, "23")));
}

static void
refused(const struct sf_http_reply *reply, struct sf_err *err)
{
    int status = reply ? reply->status : 0;
    if (status == 404 || status == 405 || status == 501)
        err->code = -ENOSYS;
    else if (status >= 400 && status < 500 && is_of_the_content(reply))
        err->code = -EINVAL;
}

static int
call_wait(struct sf_storage *st, const char *function, char *json,
          int (*parse)(struct sf_change *, const struct sf_http_reply *, char *), void *out,
          int64_t deadline_ms, struct sf_err *err)
{
    int rc;
    if (!json)
        return sf_err_set(err, -ENOMEM, "out of memory");
    struct sf_change *c = sf_change_begin(st, SF_C_CALLS_TABLES, &rc, err);
    if (!c) {
        free(json);
        return rc;
    }
    c->parse = parse;
    c->refused = refused;
    c->out = out;
    c->call.caller_tells = true;
    sf_call_describe(&c->call, "POST", function, NULL, NULL);
    sf_call_open_rpc(&c->call, function, deadline_ms);
    sf_call_header(&c->call, "Accept", "application/json");
    sf_call_json(&c->call, json);
    return sf_change_finish(c, err);
}

int
sf_storage_record_wait(struct sf_storage *st, const char *json, size_t len, int64_t deadline_ms,
                       bool *recorded, struct sf_err *err)
{
    bool was = false;
    int rc =
        call_wait(st, "supafs_record", strndup(json, len), parse_record, &was, deadline_ms, err);
    if (!rc)
        *recorded = was;
    return rc;
}

int
sf_storage_about_wait(struct sf_storage *st, int64_t deadline_ms, unsigned *version,
                      struct sf_err *err)
{
    unsigned is = 0;
    int rc = call_wait(st, "supafs_about", strdup("{}"), parse_about, &is, deadline_ms, err);
    if (!rc)
        *version = is;
    return rc;
}
