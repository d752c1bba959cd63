/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "supabase/sign.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "supabase/call.h"
#include "supabase/json.h"
#include "supabase/storage.h"

/*
 * Links to hand out. Who has a signed one needs no key, so it is a secret: it is in no message, and
 * what held it here is wiped. The service puts the key into it as it is; ours is escaped.
 */

#define ROUTE "/object/sign/"
#define QUERY "?token="

static void
wipe_free(char **text)
{
    if (*text)
        explicit_bzero(*text, strlen(*text));
    free(*text);
}

#define autowipe sf_defer(wipe_free)

/* ---- the reply ------------------------------------------------------------------------------- */

/* Three parts of base64url with dots between them. */
static bool
is_token(const char *s)
{
    unsigned dots = 0;
    size_t n = strlen(s);
    for (const char *p = s; *p; p++) {
        if (*p == '.' && (p == s || p[1] == '.' || !p[1]))
            return false;
        dots += *p == '.';
    }
    return n <= SF_SIGN_TOKEN_MAX && dots == 2 &&
           strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.") == n;
}

/* Is it bucket and key, as they are or escaped? */
static bool
is_path(const char *path, size_t len, const char *bucket, const char *key)
{
    sf_autobuf struct sf_buf want = SF_BUF_INIT, plain = SF_BUF_INIT;
    if (sf_buf_printf(&want, "%s/%s", bucket, key))
        return false;
    if (want.len == len && !memcmp(want.data, path, len))
        return true;
    return !sf_url_decode(&plain, path, len) && plain.len == want.len &&
           !memcmp(plain.data, want.data, want.len);
}

int
sf_sign_parse(const char *body, size_t len, const char *bucket, const char *key, char **token,
              char *why)
{
    json_t *o = sf_json_parse(body, len, why);
    if (!o)
        return -EPROTO;
    const char *url = sf_json_text(o, "signedURL"), *query = NULL;
    for (const char *p = url ? strstr(url, QUERY) : NULL; p; p = strstr(p + 1, QUERY))
        query = p; /* a key may have the same text */
    bool ours = query && sf_str_starts(url, ROUTE) &&
                is_path(url + strlen(ROUTE), (size_t)(query - url) - strlen(ROUTE), bucket, key);
    char *text = NULL;
    int rc = -EPROTO;
    if (!ours)
        snprintf(why, 160, "it is no link to the object");
    else if (!is_token(query + strlen(QUERY)))
        snprintf(why, 160, "the link's token has not the form of one");
    else
        rc = (text = strdup(query + strlen(QUERY))) ? 0 : -ENOMEM;
    if (url)
        explicit_bzero((char *)url, strlen(url)); /* of this tree alone */
    json_decref(o);
    if (!rc)
        *token = text;
    return rc;
}

/* ---- the call -------------------------------------------------------------------------------- */

struct sign_call {
    struct sf_call call;
    sf_sign_fn cb;
    void *arg;
    char *base; /* of the storage */
    char *bucket, *key;
};

static void
sign_fini(struct sf_call *call)
{
    struct sign_call *c = (struct sign_call *)call;
    free(c->base);
    free(c->bucket);
    free(c->key);
}

static char *
link_to(const char *base, const char *route, const char *bucket, const char *key, const char *token)
{
    sf_autofree char *b = sf_url_escape(bucket, false), *k = sf_url_escape(key, true);
    char *url = NULL;
    if (!b || !k ||
        asprintf(&url, "%s%s%s/%s%s%s", base, route, b, k, token ? QUERY : "", token ? token : "") <
            0)
        return NULL;
    return url;
}

static void
sign_done(struct sf_call *call, const struct sf_http_reply *reply, const struct sf_err *err)
{
    struct sign_call *c = (struct sign_call *)call;
    autowipe char *token = NULL, *url = NULL;
    struct sf_err bad = SF_ERR_INIT;
    char why[160];
    if (err) {
        c->cb(c->arg, err, NULL);
        return;
    }
    int rc = sf_sign_parse(reply->body ? reply->body : "", reply->body_len, c->bucket, c->key,
                           &token, why);
    if (rc == -EPROTO)
        sf_call_protocol(call, reply, &bad, rc, "the reply is not to be believed: %s", why);
    else if (rc || !(url = link_to(c->base, ROUTE, c->bucket, c->key, token)))
        bad.code = sf_err_set(&bad, -ENOMEM, "out of memory");
    if (reply->body_len) /* the request's own memory, which nobody reads any more */
        explicit_bzero((char *)reply->body, reply->body_len);
    c->cb(c->arg, bad.code ? &bad : NULL, url);
}

uint64_t
sf_storage_sign(struct sf_storage *st, const char *bucket, const char *key, uint64_t seconds,
                int64_t deadline_ms, sf_sign_fn cb, void *arg)
{
    struct sign_call *c = sf_call_new(st, SF_C_CALLS_SIGN, sizeof *c, sign_done);
    if (!c) {
        struct sf_err err = SF_ERR_INIT;
        err.code = sf_err_set(&err, -ENOMEM, "out of memory");
        cb(arg, &err, NULL);
        return 0;
    }
    char *body = NULL;
    c->call.fini = sign_fini;
    c->call.idempotent = true;
    c->cb = cb;
    c->arg = arg;
    c->base = strdup(st->base);
    c->bucket = strdup(bucket);
    c->key = strdup(key);
    if (asprintf(&body, "{\"expiresIn\":%llu}", (unsigned long long)seconds) < 0)
        body = NULL;
    sf_call_open(&c->call, "POST", "sign", "object/sign", bucket, key, NULL, deadline_ms);
    if (!c->base || !c->bucket || !c->key)
        sf_call_fail(&c->call, -ENOMEM, "out of memory");
    sf_call_json(&c->call, body);
    if (c->call.req)
        sf_http_req_priority(c->call.req, 1);
    return sf_call_submit(&c->call);
}

char *
sf_storage_public_url(const struct sf_storage *st, const char *bucket, const char *key)
{
    return link_to(st->base, "/object/public/", bucket, key, NULL);
}
