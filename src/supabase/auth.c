/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "supabase/auth.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/lock.h"
#include "base/str.h"
#include "http/http.h"
#include "supabase/json.h"
#include "supabase/keyfile.h"
#include "supabase/secret.h"

#define BEARER     "Bearer "
#define BEARER_LEN (sizeof BEARER - 1)

/* What a key tells about its holder. */
struct identity {
    char role[64];
    char subject[128];
    char ref[64];    /* project reference of a legacy key; "" when not told */
    int64_t expires; /* seconds since the epoch; 0 = never */
    bool jwt;
};

/* The secret page: the header's value, of which the key is the tail. */
struct secret {
    char bearer[BEARER_LEN + SF_KEY_MAX + 1];
    char apikey[SF_KEY_MAX + 1]; /* "" = the key itself */
};

struct sf_auth {
    enum sf_auth_source_kind kind;
    char *path;     /* of SF_AUTH_FILE, else NULL */
    char *variable; /* or NULL */
    char *label;
    char role[64], subject[128];

    struct sf_mutex lock; /* leaf; protects the fields down to the blank line */
    struct secret *secret;
    struct identity who;
    struct sf_keyfile_watch watch;

    _Atomic uint64_t generation;
};

static char *
key_of(struct secret *s)
{
    return s->bearer + BEARER_LEN;
}

/* ---- what a key says ------------------------------------------------------------------------ */

static int
copy_claim(const json_t *payload, const char *name, char *out, size_t size)
{
    const json_t *v = json_object_get(payload, name);
    out[0] = '\0';
    if (!v || json_is_null(v))
        return 0;
    if (!json_is_string(v) || json_string_length(v) >= size)
        return -EINVAL;
    const char *s = json_string_value(v);
    for (const char *p = s; *p; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return -EINVAL;
    }
    memcpy(out, s, json_string_length(v) + 1);
    return 0;
}

static int
read_claims(const json_t *payload, struct identity *who, const char *label, struct sf_err *err)
{
    if (copy_claim(payload, "role", who->role, sizeof who->role) < 0 ||
        copy_claim(payload, "sub", who->subject, sizeof who->subject) < 0 ||
        copy_claim(payload, "ref", who->ref, sizeof who->ref) < 0)
        return sf_err_set(err, -EINVAL, "%s: the token's claims are malformed", label);
    if (!who->role[0])
        return sf_err_set(err, -EINVAL, "%s: the token has no role claim, so Storage refuses it",
                          label);
    const json_t *exp = json_object_get(payload, "exp");
    if (exp && !json_is_number(exp))
        return sf_err_set(err, -EINVAL, "%s: the token's exp claim is no number", label);
    double at = exp ? json_number_value(exp) : 0;
    if (!(at >= 0 && at < 1e15))
        return sf_err_set(err, -EINVAL, "%s: the token's exp claim is out of range", label);
    who->expires = (int64_t)at;
    return 0;
}

static int
identify_jwt(const char *key, struct identity *who, const char *label, struct sf_err *err)
{
    const char *dot = strchr(key, '.');
    const char *end = dot ? strchr(dot + 1, '.') : NULL;
    if (!dot || !end || dot == key || end == dot + 1 || !end[1] || strchr(end + 1, '.'))
        return sf_err_set(err, -EINVAL,
                          "%s: not a Supabase key (neither a JWT of three parts nor sb_...)",
                          label);
    /* The payload alone is no secret: the signature stays out of it. */
    sf_autobuf struct sf_buf text = SF_BUF_INIT;
    int rc = sf_base64url_decode(&text, dot + 1, (size_t)(end - dot - 1));
    if (rc == -ENOMEM)
        return sf_err_set(err, rc, "%s: out of memory", label);
    json_t *payload = rc == 0 ? sf_json_parse(text.data, text.len, NULL) : NULL;
    if (!json_is_object(payload))
        rc = sf_err_set(err, -EINVAL, "%s: the token's payload is not a JSON object", label);
    else
        rc = read_claims(payload, who, label, err);
    json_decref(payload);
    who->jwt = true;
    return rc;
}

static int
check_chars(const char *key, const char *label, struct sf_err *err)
{
    size_t n = strlen(key);
    if (n == 0)
        return sf_err_set(err, -EINVAL, "%s: the key is empty", label);
    if (n > SF_KEY_MAX)
        return sf_err_set(err, -EINVAL, "%s: the key is longer than %d bytes", label, SF_KEY_MAX);
    for (const char *p = key; *p; p++) {
        if (*p <= 0x20 || *p >= 0x7f)
            return sf_err_set(err, -EINVAL,
                              "%s: the key has a space, control or non-ASCII character at %zu",
                              label, (size_t)(p - key));
    }
    return 0;
}

static int
identify(const char *key, struct identity *who, const char *label, struct sf_err *err)
{
    memset(who, 0, sizeof *who);
    int rc = check_chars(key, label, err);
    if (rc < 0)
        return rc;
    const char *role = sf_str_starts(key, "sb_secret_")        ? "service_role"
                       : sf_str_starts(key, "sb_publishable_") ? "anon"
                                                               : NULL;
    if (!role)
        return identify_jwt(key, who, label, err);
    if (strlen(key) < strlen("sb_publishable_") + 4)
        return sf_err_set(err, -EINVAL, "%s: the key is cut short", label);
    snprintf(who->role, sizeof who->role, "%s", role);
    return 0;
}

/* ---- reading the source ---------------------------------------------------------------------- */

/* Fills a new secret and its identity; nothing changes on failure. */
static int
load(const struct sf_auth *a, const char *value, struct secret **ret, struct identity *who,
     struct sf_keyfile_stamp *stamp, struct sf_err *err)
{
    struct secret *s = sf_secret_alloc(sizeof *s);
    int rc = 0;
    if (!s)
        return sf_err_set(err, -ENOMEM, "%s: out of memory", a->label);
    memcpy(s->bearer, BEARER, BEARER_LEN);
    if (a->kind == SF_AUTH_FILE) {
        rc = sf_keyfile_read(a->path, a->variable, key_of(s), stamp, err);
    } else {
        size_t n = strlen(value);
        while (n > 0 && (value[n - 1] == '\n' || value[n - 1] == '\r'))
            n--;
        if (n > SF_KEY_MAX)
            rc = sf_err_set(err, -EINVAL, "%s: the key is longer than %d bytes", a->label,
                            SF_KEY_MAX);
        else
            memcpy(key_of(s), value, n);
    }
    if (rc == 0)
        rc = identify(key_of(s), who, a->label, err);
    if (rc < 0)
        sf_secret_free(s, sizeof *s);
    else
        *ret = s;
    return rc;
}

static int
copy_source(struct sf_auth *a, const struct sf_auth_source *src)
{
    a->kind = src->kind;
    a->label = strdup(src->label ? src->label : src->kind == SF_AUTH_FILE ? src->value : "key");
    if (!a->label)
        return -ENOMEM;
    if (src->kind != SF_AUTH_FILE)
        return 0;
    a->path = strdup(src->value);
    a->variable = src->variable ? strdup(src->variable) : NULL;
    return a->path && (a->variable || !src->variable) ? 0 : -ENOMEM;
}

static int
set_apikey(struct sf_auth *a, const char *apikey, struct sf_err *err)
{
    if (!apikey)
        return 0;
    int rc = check_chars(apikey, "the project key for apikey", err);
    if (rc == 0)
        memcpy(a->secret->apikey, apikey, strlen(apikey));
    return rc;
}

int
sf_auth_new(const struct sf_auth_source *src, struct sf_auth **ret, struct sf_err *err)
{
    if (!src->value || !src->value[0])
        return sf_err_set(err, -EINVAL, "%s: no key given", src->label ? src->label : "key");
    struct sf_auth *a = calloc(1, sizeof *a);
    if (!a)
        return sf_err_set(err, -ENOMEM, "out of memory");
    sf_mutex_init(&a->lock, 0);
    int rc = copy_source(a, src);
    if (rc < 0)
        rc = sf_err_set(err, rc, "out of memory");
    else
        rc = load(a, src->value, &a->secret, &a->who, &a->watch.stamp, err);
    if (rc == 0)
        rc = set_apikey(a, src->apikey, err);
    if (rc < 0) {
        sf_auth_free(a);
        return rc;
    }
    memcpy(a->role, a->who.role, sizeof a->role);
    memcpy(a->subject, a->who.subject, sizeof a->subject);
    *ret = a;
    return 0;
}

void
sf_auth_free(struct sf_auth *auth)
{
    if (!auth)
        return;
    sf_secret_free(auth->secret, sizeof *auth->secret);
    sf_mutex_fini(&auth->lock);
    free(auth->path);
    free(auth->variable);
    free(auth->label);
    free(auth);
}

const char *
sf_auth_role(struct sf_auth *auth)
{
    return auth->role;
}

const char *
sf_auth_label(const struct sf_auth *auth)
{
    return auth->label;
}

void
sf_auth_subject(struct sf_auth *auth, char *out, size_t size)
{
    if (size == 0)
        return;
    size_t n = strnlen(auth->subject, size - 1);
    memcpy(out, auth->subject, n);
    out[n] = '\0';
}

int64_t
sf_auth_expires(struct sf_auth *auth)
{
    sf_mutex_lock(&auth->lock);
    int64_t at = auth->who.expires;
    sf_mutex_unlock(&auth->lock);
    return at;
}

uint64_t
sf_auth_generation(struct sf_auth *auth)
{
    return atomic_load(&auth->generation);
}

/* ---- reloading ------------------------------------------------------------------------------ */

static int
check_identity(const struct sf_auth *a, const struct identity *who, struct sf_err *err)
{
    if (strcmp(a->role, who->role) == 0 && strcmp(a->subject, who->subject) == 0)
        return 0;
    return sf_err_set(err, -EKEYREJECTED,
                      "%s: holds a key of another identity now (role %.40s); unmount and mount "
                      "again to use it",
                      a->label, who->role);
}

int
sf_auth_reload(struct sf_auth *auth, bool force, struct sf_err *err)
{
    struct secret *fresh = NULL;
    struct identity who;
    struct sf_keyfile_stamp stamp;
    if (auth->kind != SF_AUTH_FILE ||
        (!force && sf_keyfile_is_unchanged(&auth->watch, auth->path, &auth->lock)))
        return 0;
    int rc = load(auth, NULL, &fresh, &who, &stamp, err);
    if (rc < 0)
        return rc;
    rc = check_identity(auth, &who, err);
    if (rc == 0) {
        sf_mutex_lock(&auth->lock);
        auth->watch.stamp = stamp;
        if (strcmp(key_of(auth->secret), key_of(fresh)) != 0) {
            struct secret *old = auth->secret;
            memcpy(fresh->apikey, old->apikey, sizeof fresh->apikey);
            auth->secret = fresh;
            auth->who = who;
            fresh = old;
            atomic_fetch_add(&auth->generation, 1);
            rc = 1;
        }
        sf_mutex_unlock(&auth->lock);
    }
    sf_secret_free(fresh, sizeof *fresh);
    return rc;
}

/* ---- sending -------------------------------------------------------------------------------- */

/* Before an attempt: the key may have been changed in its file. A look costs one stat(2). */
static void
look_again(struct sf_auth *a)
{
    if (a->kind != SF_AUTH_FILE)
        return;
    /* A failure is not lost: the service's refusal makes the caller reload and report. */
    if (sf_keyfile_is_due(&a->watch, &a->lock))
        (void)sf_auth_reload(a, false, NULL);
}

int
sf_auth_apply(struct sf_auth *auth, struct sf_http_req *req, uint64_t *generation)
{
    look_again(auth);
    sf_mutex_lock(&auth->lock);
    struct secret *s = auth->secret;
    const char *apikey = s->apikey[0] ? s->apikey : key_of(s);
    int rc = sf_http_req_attempt_header(req, "apikey", apikey);
    /* sb_ keys are no tokens: the gateway turns them into one itself. */
    if (rc == 0 && auth->who.jwt)
        rc = sf_http_req_attempt_header(req, "Authorization", s->bearer);
    *generation = atomic_load(&auth->generation);
    sf_mutex_unlock(&auth->lock);
    return rc;
}
