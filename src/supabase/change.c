/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "supabase/change.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"
#include "supabase/call.h"
#include "supabase/json.h"
#include "supabase/storage.h"

static void
change_done(struct sf_call *call, const struct sf_http_reply *reply, const struct sf_err *err)
{
    struct sf_change *c = (struct sf_change *)call;
    char why[160] = "malformed";
    struct sf_err bad;
    int rc = !err && c->parse ? c->parse(c, reply, why) : 0;
    if (rc < 0) {
        sf_call_protocol(call, reply, &bad, rc, "unusable reply: %s", why);
        err = &bad;
    } else if (err && c->refused) {
        bad = *err;
        c->refused(reply, &bad);
        err = &bad;
    }
    sf_wait_end(c->w, err);
}

struct sf_change *
sf_change_begin(struct sf_storage *st, enum sf_counter kind, int *rc, struct sf_err *err)
{
    struct sf_waiter *w;
    *rc = sf_wait_begin(st, &w, err);
    if (*rc < 0)
        return NULL;
    struct sf_change *c = sf_call_new(st, kind, sizeof *c, change_done);
    if (!c) {
        struct sf_err oom = SF_ERR_INIT;
        oom.code = sf_err_set(&oom, -ENOMEM, "out of memory");
        sf_wait_end(w, &oom);
        *rc = sf_wait_for(w, err);
        return NULL;
    }
    c->w = w;
    c->call.changes = true;
    return c;
}

int
sf_change_finish(struct sf_change *c, struct sf_err *err)
{
    struct sf_waiter *w = c->w;
    struct sf_progress *progress = c->progress;
    uint64_t id = sf_call_submit(&c->call);
    if (progress)
        atomic_store(&progress->call, id);
    int rc = sf_wait_for(w, err);
    if (progress)
        atomic_store(&progress->call, 0);
    return rc;
}

void
sf_change_body(struct sf_change *c, int fd, uint64_t off, uint64_t len,
               struct sf_progress *progress)
{
    if (c->call.err.code)
        return;
    int rc = sf_http_req_body_fd(c->call.req, fd, off, len);
    if (rc < 0)
        sf_call_fail(&c->call, rc, "cannot take the body's file");
    c->progress = progress;
    if (rc == 0 && progress)
        sf_http_req_progress(c->call.req, &progress->sent, off);
}

/*
 * A success must be one of the service: a gateway's page, or anything else that comes with a 200,
 * does not say that something was done.
 */
static int
parse_text(const struct sf_http_reply *reply, const char *member, char *why)
{
    json_t *root = sf_json_parse(reply->body ? reply->body : "", reply->body_len, why);
    bool said = json_is_string(json_object_get(root, member));
    json_decref(root);
    return said ? 0 : -EPROTO;
}

static int
parse_message(struct sf_change *c, const struct sf_http_reply *reply, char *why)
{
    (void)c;
    return parse_text(reply, "message", why);
}

static int
parse_name(struct sf_change *c, const struct sf_http_reply *reply, char *why)
{
    (void)c;
    return parse_text(reply, "name", why);
}

/* ---- buckets -------------------------------------------------------------------------------- */

/* NULL: out of memory, or text that is not UTF-8. */
static json_t *
bucket_body(const struct sf_bucket_spec *spec)
{
    json_t *o = json_pack("{s:s, s:s, s:b}", "id", spec->id, "name", spec->id, "public",
                          (int)spec->is_public);
    json_t *mimes = spec->mimes ? json_array() : NULL;
    bool bad = !o || (spec->mimes && !mimes);
    for (size_t i = 0; !bad && spec->mimes && spec->mimes[i]; i++)
        bad = json_array_append_new(mimes, json_string(spec->mimes[i])) < 0;
    if (!bad && spec->size_limit)
        bad = json_object_set_new(o, "file_size_limit",
                                  json_integer((json_int_t)spec->size_limit)) < 0;
    if (!bad && mimes)
        bad = json_object_set(o, "allowed_mime_types", mimes) < 0;
    json_decref(mimes);
    if (!bad)
        return o;
    json_decref(o);
    return NULL;
}

int
sf_storage_bucket_make_wait(struct sf_storage *st, const struct sf_bucket_spec *spec,
                            int64_t deadline_ms, struct sf_err *err)
{
    int rc;
    struct sf_change *c = sf_change_begin(st, SF_C_CALLS_BUCKET, &rc, err);
    if (!c)
        return rc;
    c->parse = parse_name;
    json_t *o = bucket_body(spec);
    sf_call_open(&c->call, "POST", "create bucket", "bucket", NULL, NULL, NULL, deadline_ms);
    sf_call_describe(&c->call, "POST", "create bucket", spec->id, NULL);
    sf_call_json(&c->call, o ? json_dumps(o, JSON_COMPACT) : NULL);
    json_decref(o);
    return sf_change_finish(c, err);
}

int
sf_storage_bucket_create_wait(struct sf_storage *st, const char *id, int64_t deadline_ms,
                              struct sf_err *err)
{
    const struct sf_bucket_spec spec = {.id = id};
    return sf_storage_bucket_make_wait(st, &spec, deadline_ms, err);
}

int
sf_storage_bucket_delete_wait(struct sf_storage *st, const char *id, int64_t deadline_ms,
                              struct sf_err *err)
{
    int rc;
    struct sf_change *c = sf_change_begin(st, SF_C_CALLS_BUCKET, &rc, err);
    if (!c)
        return rc;
    c->parse = parse_message;
    sf_call_open(&c->call, "DELETE", "bucket", "bucket", id, NULL, NULL, deadline_ms);
    return sf_change_finish(c, err);
}

/* ---- put ------------------------------------------------------------------------------------ */

static int
parse_put(struct sf_change *c, const struct sf_http_reply *reply, char *why)
{
    json_t *root = sf_json_parse(reply->body ? reply->body : "", reply->body_len, why);
    const char *id = json_string_value(json_object_get(root, "Id"));
    /* Servers before 2023 do not tell the id. */
    bool absent = json_is_string(json_object_get(root, "Key")) && !json_object_get(root, "Id");
    int rc = 0;
    if (absent)
        *(char *)c->out = '\0';
    else if (id && strlen(id) < 40)
        snprintf(c->out, 40, "%s", id);
    else
        rc = -EPROTO;
    json_decref(root);
    return rc;
}

struct sf_change *
sf_change_begin_put(struct sf_storage *st, enum sf_counter kind, const struct sf_put_args *args,
                    int64_t deadline_ms, char id[40], int *rc, struct sf_err *err)
{
    struct sf_change *c = sf_change_begin(st, kind, rc, err);
    if (!c)
        return NULL;
    c->parse = parse_put;
    c->call.caller_tells = true;
    c->out = id;
    /* Sent twice, an upsert ends as the same object; a create would answer 409 to its own success.
     */
    c->call.idempotent = args->upsert;
    sf_call_open(&c->call, "POST", args->upsert ? "replace" : "create", "object", args->bucket,
                 args->key, NULL, deadline_ms);
    if (args->upsert)
        sf_call_header(&c->call, "x-upsert", "true");
    return c;
}

static void
add_metadata(struct sf_change *c, const char *metadata)
{
    if (!metadata)
        return;
    size_t n = strlen(metadata);
    if (n > SF_METADATA_HEADER_MAX) {
        sf_call_fail(&c->call, -ENOTSUP,
                     "%zu bytes of user metadata are more than the %d that a request can carry", n,
                     SF_METADATA_HEADER_MAX);
        return;
    }
    sf_autobuf struct sf_buf text = SF_BUF_INIT;
    if (sf_base64_encode(&text, metadata, n) == 0)
        sf_call_header(&c->call, "x-metadata", text.data);
    else
        sf_call_fail(&c->call, -ENOMEM, "out of memory");
}

int
sf_storage_put_wait(struct sf_storage *st, const struct sf_put_args *args, int64_t deadline_ms,
                    char id[40], struct sf_err *err)
{
    int rc;
    char told[40] = "";
    struct sf_change *c =
        sf_change_begin_put(st, SF_C_CALLS_PUT, args, deadline_ms, told, &rc, err);
    if (!c)
        return rc;
    sf_call_header(&c->call, "Content-Type", args->mime ? args->mime : "application/octet-stream");
    if (args->cache_control)
        sf_call_header(&c->call, "Cache-Control", args->cache_control);
    add_metadata(c, args->metadata);
    sf_change_body(c, args->fd, 0, args->size, args->progress);
    rc = sf_change_finish(c, err);
    if (rc == 0)
        memcpy(id, told, sizeof told);
    return rc;
}

/* ---- delete, move, copy --------------------------------------------------------------------- */

int
sf_storage_delete_wait(struct sf_storage *st, const char *bucket, const char *key,
                       int64_t deadline_ms, struct sf_err *err)
{
    int rc;
    struct sf_change *c = sf_change_begin(st, SF_C_CALLS_DELETE, &rc, err);
    if (!c)
        return rc;
    c->parse = parse_message;
    /* Without a body there must be no content type: the service would refuse the empty JSON. */
    sf_call_open(&c->call, "DELETE", "object", "object", bucket, key, NULL, deadline_ms);
    return sf_change_finish(c, err);
}

int
sf_storage_move_wait(struct sf_storage *st, const char *bucket, const char *key,
                     const char *to_bucket, const char *to_key, int64_t deadline_ms,
                     struct sf_err *err)
{
    int rc;
    struct sf_change *c = sf_change_begin(st, SF_C_CALLS_MOVE, &rc, err);
    if (!c)
        return rc;
    c->parse = parse_message;
    json_t *o = json_pack("{s:s, s:s, s:s, s:s}", "bucketId", bucket, "sourceKey", key,
                          "destinationBucket", to_bucket, "destinationKey", to_key);
    sf_call_open(&c->call, "POST", "move", "object/move", NULL, NULL, NULL, deadline_ms);
    sf_call_describe(&c->call, "POST", "move", bucket, key);
    sf_call_json(&c->call, o ? json_dumps(o, JSON_COMPACT) : NULL);
    json_decref(o);
    return sf_change_finish(c, err);
}

static char *
own_text(const json_t *o, const char *name)
{
    const char *s = sf_json_text(o, name);
    return s ? strdup(s) : NULL;
}

static int
read_copy(const json_t *o, struct sf_object *out)
{
    bool found;
    const json_t *meta = json_object_get(o, "metadata");
    const json_t *user = json_object_get(o, "user_metadata");
    const char *key = sf_json_text(o, "Key");
    if (!key || !key[0])
        return -EPROTO; /* any object at all would do */
    bool has_user = json_is_object(user);
    out->id = own_text(o, json_object_get(o, "id") ? "id" : "Id");
    out->version = own_text(o, "version");
    out->etag = own_text(meta, "eTag");
    out->mime = own_text(meta, "mimetype");
    out->cache_control = own_text(meta, "cacheControl");
    out->metadata = has_user ? json_dumps(user, JSON_COMPACT) : strdup("{}");
    if (!out->id || !out->version || !out->etag || !out->mime || !out->cache_control ||
        !out->metadata || strlen(out->id) >= 40 || strlen(out->version) >= 80)
        return -EPROTO;
    if (sf_json_size(meta, "size", &out->size, &found) < 0 ||
        sf_json_time(o, "updated_at", &out->updated_ns) < 0 ||
        sf_json_time(o, "created_at", &out->created_ns) < 0)
        return -EPROTO;
    return 0;
}

static int
parse_copy(struct sf_change *c, const struct sf_http_reply *reply, char *why)
{
    struct sf_object o = {0};
    json_t *root = sf_json_parse(reply->body ? reply->body : "", reply->body_len, why);
    int rc = json_is_object(root) ? read_copy(root, &o) : -EPROTO;
    json_decref(root);
    if (rc < 0)
        sf_object_fini(&o);
    else
        *(struct sf_object *)c->out = o;
    return rc;
}

static json_t *
copy_body(const struct sf_copy_args *a)
{
    json_t *o = json_pack("{s:s, s:s, s:s, s:s}", "bucketId", a->bucket, "sourceKey", a->key,
                          "destinationBucket", a->to_bucket, "destinationKey", a->to_key);
    if (!o || !a->set_metadata)
        return o;
    json_t *meta = json_object();
    int bad = json_object_set_new(o, "copyMetadata", json_false());
    if (a->mime)
        bad |= json_object_set_new(meta, "mimetype", json_string(a->mime));
    if (a->cache_control)
        bad |= json_object_set_new(meta, "cacheControl", json_string(a->cache_control));
    bad |= json_object_set_new(o, "metadata", meta);
    if (bad) {
        json_decref(o);
        return NULL;
    }
    return o;
}

int
sf_storage_copy_wait(struct sf_storage *st, const struct sf_copy_args *args, int64_t deadline_ms,
                     struct sf_object *out, struct sf_err *err)
{
    int rc;
    struct sf_object object = {0};
    struct sf_change *c = sf_change_begin(st, SF_C_CALLS_COPY, &rc, err);
    if (!c)
        return rc;
    c->parse = parse_copy;
    c->out = &object;
    json_t *o = copy_body(args);
    sf_call_open(&c->call, "POST", "copy", "object/copy", NULL, NULL, NULL, deadline_ms);
    sf_call_describe(&c->call, "POST", "copy", args->bucket, args->key);
    if (args->upsert)
        sf_call_header(&c->call, "x-upsert", "true");
    if (args->set_metadata)
        add_metadata(c, args->metadata ? args->metadata : "{}");
    sf_call_json(&c->call, o ? json_dumps(o, JSON_COMPACT) : NULL);
    json_decref(o);
    rc = sf_change_finish(c, err);
    if (rc == 0 && out)
        *out = object;
    else
        sf_object_fini(&object);
    return rc;
}

/* ---- the project's limit -------------------------------------------------------------------- */

static int
parse_limit(struct sf_change *c, const struct sf_http_reply *reply, char *why)
{
    uint64_t *limit = c->out;
    const char *v = sf_http_reply_header(reply, "tus-max-size");
    (void)why;
    if (!v || sf_parse_u64(v, limit) < 0)
        *limit = 0;
    return 0;
}

int
sf_storage_global_limit_wait(struct sf_storage *st, int64_t deadline_ms, uint64_t *limit,
                             struct sf_err *err)
{
    int rc;
    uint64_t found = 0;
    struct sf_change *c = sf_change_begin(st, SF_C_CALLS_BUCKET, &rc, err);
    if (!c)
        return rc;
    c->parse = parse_limit;
    c->out = &found;
    c->call.changes = false;
    c->call.idempotent = true;
    sf_call_open(&c->call, "OPTIONS", "limits", "upload/resumable", NULL, NULL, NULL, deadline_ms);
    sf_call_header(&c->call, "Tus-Resumable", "1.0.0");
    rc = sf_change_finish(c, err);
    if (rc == 0)
        *limit = found;
    return rc;
}
