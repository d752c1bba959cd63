/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "supabase/removed.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "supabase/change.h"
#include "supabase/json.h"
#include "supabase/scan.h"

/*
 * A row holds some 500 bytes and the user metadata, which is rarely more than goes with an upload's
 * headers.
 */
#define REPLY_MIN (1U << 20)
#define REPLY_ROW (16U << 10)

/* ---- the reply ------------------------------------------------------------------------------ */

struct parser {
    const char *const *keys;
    size_t n;
    struct sf_removed *removed;
    size_t next; /* where the next row is looked for first: rows mostly come as asked for */
    const char *why;

    /* The row that is read. */
    const char *name, *id, *version, *etag;
    uint64_t size;
    int64_t updated_ns;
};

static int
refuse(struct parser *p, const char *why)
{
    p->why = why;
    return -EPROTO;
}

static int
take_text(struct sf_scan *s, const char **ret)
{
    return sf_scan_null(s) ? 0 : sf_scan_text(s, ret, NULL);
}

static int
on_metadata(struct sf_scan *s, const char *name, void *arg)
{
    struct parser *p = arg;
    if (strcmp(name, "eTag") == 0)
        return take_text(s, &p->etag);
    if (strcmp(name, "size") == 0)
        return sf_scan_null(s) ? 0 : sf_scan_u64(s, &p->size);
    return sf_scan_skip(s);
}

static int
on_member(struct sf_scan *s, const char *name, void *arg)
{
    struct parser *p = arg;
    const char *time = "";
    if (strcmp(name, "name") == 0)
        return take_text(s, &p->name);
    if (strcmp(name, "id") == 0)
        return take_text(s, &p->id);
    if (strcmp(name, "version") == 0)
        return take_text(s, &p->version);
    if (strcmp(name, "metadata") == 0)
        return sf_scan_null(s) ? 0 : sf_scan_object(s, on_metadata, p);
    if (strcmp(name, "updated_at") != 0)
        return sf_scan_skip(s);
    int rc = take_text(s, &time);
    if (rc == 0 && *time && sf_time_parse(time, &p->updated_ns) < 0)
        rc = refuse(p, "not a time");
    return rc;
}

/* The key's index, or n. */
static size_t
find(const struct parser *p, const char *key)
{
    for (size_t i = 0; i < p->n; i++) {
        size_t at = (p->next + i) % p->n;
        if (strcmp(p->keys[at], key) == 0)
            return at;
    }
    return p->n;
}

static int
on_row(struct sf_scan *s, void *arg)
{
    struct parser *p = arg;
    p->name = p->id = p->version = p->etag = "";
    p->size = 0;
    p->updated_ns = 0;
    int rc = sf_scan_object(s, on_member, p);
    if (rc < 0)
        return rc;
    size_t at = find(p, p->name);
    if (at == p->n)
        return refuse(p, "a row that was not asked for");
    if (p->removed[at].removed)
        return refuse(p, "a key that was removed twice");
    const struct sf_object_info info = {.id = p->id,
                                        .version = p->version,
                                        .etag = p->etag,
                                        .size = p->size,
                                        .updated_ns = p->updated_ns};
    p->removed[at].removed = true;
    sf_version_of_info(&info, &p->removed[at].version);
    p->next = at + 1;
    return 0;
}

int
sf_removed_parse(const char *body, size_t len, const char *const *keys, size_t n,
                 struct sf_removed *removed, char *why)
{
    struct parser p = {.keys = keys, .n = n, .removed = removed};
    struct sf_scan s;
    sf_autofree char *text = malloc(len + 1);
    why[0] = '\0';
    if (!text)
        return -ENOMEM;
    memcpy(text, body, len);
    text[len] = '\0';
    memset(removed, 0, n * sizeof *removed);
    sf_scan_init(&s, text, len);
    int rc = sf_scan_array(&s, on_row, &p);
    if (rc == 0)
        rc = sf_scan_finish(&s);
    if (rc == -EPROTO)
        snprintf(why, 160, "%s", p.why ? p.why : s.why);
    return rc;
}

/* ---- the call ------------------------------------------------------------------------------- */

struct request {
    const char *const *keys;
    size_t n;
    struct sf_removed *removed;
};

static int
parse_removed(struct sf_change *c, const struct sf_http_reply *reply, char *why)
{
    const struct request *rq = c->out;
    return sf_removed_parse(reply->body ? reply->body : "", reply->body_len, rq->keys, rq->n,
                            rq->removed, why);
}

static char *
removal(const char *const *keys, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < n; i++) {
        if (json_array_append_new(list, json_string(keys[i])) < 0) {
            json_decref(list);
            return NULL;
        }
    }
    json_t *o = json_pack("{s:o}", "prefixes", list);
    char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    return text;
}

int
sf_storage_delete_many_wait(struct sf_storage *st, const char *bucket, const char *const *keys,
                            size_t n, int64_t deadline_ms, struct sf_removed *removed,
                            struct sf_err *err)
{
    int rc;
    struct request rq = {keys, n, removed};
    if (n == 0)
        return 0;
    if (n > SF_DELETE_MAX)
        return sf_err_set(err, -EINVAL, "%zu keys to remove at once", n);
    struct sf_change *c = sf_change_begin(st, SF_C_CALLS_DELETE, &rc, err);
    if (!c)
        return rc;
    c->parse = parse_removed;
    c->out = &rq;
    sf_call_open(&c->call, "DELETE", "objects", "object", bucket, NULL, NULL, deadline_ms);
    sf_call_describe(&c->call, "DELETE", n == 1 ? "object" : "objects from", bucket, keys[0]);
    if (!c->call.err.code)
        sf_http_req_limit(c->call.req, REPLY_MIN + n * REPLY_ROW);
    sf_call_json(&c->call, removal(keys, n));
    return sf_change_finish(c, err);
}
