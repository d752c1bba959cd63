/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "provider/key.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/lock.h"
#include "base/str.h"
#include "config/provider.h"
#include "http/http.h"
#include "supabase/keyfile.h"
#include "supabase/secret.h"

#define BEARER     "Bearer "
#define BEARER_LEN (sizeof BEARER - 1)

/* The secret page: the header's value, of which the key is the tail; "" = no key. */
struct secret {
    char bearer[BEARER_LEN + SF_KEY_MAX + 1];
};

struct sf_provider_key {
    char *file;     /* NULL: the key cannot change */
    char *variable; /* or NULL */
    char *label;
    char *base_url;
    char account[65]; /* "" = a fingerprint */

    struct sf_mutex lock;  /* leaf; protects the fields down to the blank line */
    struct secret *secret; /* NULL = no key */
    char fingerprint[17];
    struct sf_keyfile_watch watch;

    _Atomic uint64_t generation;
};

static char *
key_of(struct secret *s)
{
    return s->bearer + BEARER_LEN;
}

/* 16 hex digits of the SHA-256 of address, NUL, key. 0 or -ENOMEM. */
static int
fingerprint(const char *base_url, const char *key, char out[17])
{
    unsigned char digest[32];
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) &&
              EVP_DigestUpdate(ctx, base_url, strlen(base_url) + 1) &&
              EVP_DigestUpdate(ctx, key, strlen(key)) && EVP_DigestFinal_ex(ctx, digest, NULL);
    EVP_MD_CTX_free(ctx);
    if (ok)
        sf_hex_encode(digest, 8, out);
    return ok ? 0 : -ENOMEM;
}

/* A key is one printable word. */
static int
check_chars(const char *key, const char *label, struct sf_err *err)
{
    size_t n = strlen(key);
    for (const char *p = key; *p; p++)
        if (*p <= ' ' || *p > '~')
            return sf_err_set(err, -EINVAL, "%s: the key has a character that keys do not have",
                              label);
    return n == 0 ? sf_err_set(err, -EINVAL, "%s: the key is empty", label) : 0;
}

/* A new secret from the file, or from @key. */
static int
load(const struct sf_provider_key *k, const char *key, struct secret **ret,
     struct sf_keyfile_stamp *stamp, struct sf_err *err)
{
    struct secret *s = sf_secret_alloc(sizeof *s);
    int rc = 0;
    if (!s)
        return sf_err_set(err, -ENOMEM, "out of memory");
    memcpy(s->bearer, BEARER, BEARER_LEN);
    if (!key)
        rc = sf_keyfile_read(k->file, k->variable, key_of(s), stamp, err);
    else if (strlen(key) > SF_KEY_MAX)
        rc = sf_err_set(err, -EINVAL, "%s: the key is longer than %d bytes", k->label, SF_KEY_MAX);
    else
        memcpy(key_of(s), key, strlen(key));
    if (rc == 0)
        rc = check_chars(key_of(s), k->label, err);
    if (rc < 0)
        sf_secret_free(s, sizeof *s);
    else
        *ret = s;
    return rc;
}

int
provider_key_new(const char *base_url, const char *account, struct sf_provider_key **ret)
{
    struct sf_provider_key *k = calloc(1, sizeof *k);
    if (!k)
        return -ENOMEM;
    sf_mutex_init(&k->lock, 0);
    k->label = strdup("no key");
    k->base_url = strdup(base_url ? base_url : "");
    snprintf(k->account, sizeof k->account, "%s", account ? account : "");
    if (!k->label || !k->base_url || fingerprint(k->base_url, "", k->fingerprint)) {
        provider_key_free(k);
        return -ENOMEM;
    }
    *ret = k;
    return 0;
}

void
provider_key_free(struct sf_provider_key *k)
{
    if (!k)
        return;
    if (k->secret)
        sf_secret_free(k->secret, sizeof *k->secret);
    sf_mutex_fini(&k->lock);
    free(k->file);
    free(k->variable);
    free(k->label);
    free(k->base_url);
    free(k);
}

int
provider_key_take(struct sf_provider_key *k, const struct sf_provider_key_choice *c,
                  struct sf_err *err)
{
    char *label = strdup(c->label);
    k->file = c->file ? strdup(c->file) : NULL;
    k->variable = c->variable ? strdup(c->variable) : NULL;
    if (!label || (c->file && !k->file) || (c->variable && !k->variable)) {
        free(label);
        return sf_err_set(err, -ENOMEM, "out of memory");
    }
    free(k->label);
    k->label = label;
    /* A file that also holds the key is looked at when it changes, and not before. */
    if (c->key && k->file)
        (void)sf_keyfile_stamp(k->file, &k->watch.stamp);
    int rc = load(k, c->key, &k->secret, &k->watch.stamp, err);
    if (rc == 0 && fingerprint(k->base_url, key_of(k->secret), k->fingerprint))
        rc = sf_err_set(err, -ENOMEM, "out of memory");
    return rc;
}

int
sf_provider_key_reload(const struct sf_provider_conf *conf, bool force, struct sf_err *err)
{
    struct sf_provider_key *k = conf->key;
    struct secret *fresh = NULL;
    struct sf_keyfile_stamp stamp;
    char print[17];
    if (!k->file || (!force && sf_keyfile_is_unchanged(&k->watch, k->file, &k->lock)))
        return 0;
    int rc = load(k, NULL, &fresh, &stamp, err);
    if (rc == 0 && fingerprint(k->base_url, key_of(fresh), print))
        rc = sf_err_set(err, -ENOMEM, "out of memory");
    if (rc == 0) {
        sf_mutex_lock(&k->lock);
        k->watch.stamp = stamp;
        if (!k->secret || strcmp(key_of(k->secret), key_of(fresh)) != 0) {
            struct secret *old = k->secret;
            k->secret = fresh;
            memcpy(k->fingerprint, print, sizeof print);
            fresh = old;
            atomic_fetch_add(&k->generation, 1);
            rc = 1;
        }
        sf_mutex_unlock(&k->lock);
    }
    if (fresh)
        sf_secret_free(fresh, sizeof *fresh);
    return rc;
}

/* Before an attempt, and before ids of an account are believed: the key may have been changed in
 * its file. A look costs one stat(2). */
static void
look_again(const struct sf_provider_conf *conf)
{
    struct sf_provider_key *k = conf->key;
    if (!k->file)
        return;
    /* A failure is not lost: the provider's refusal makes the caller reload and report. */
    if (sf_keyfile_is_due(&k->watch, &k->lock))
        (void)sf_provider_key_reload(conf, false, NULL);
}

int
sf_provider_key_apply(const struct sf_provider_conf *conf, struct sf_http_req *req,
                      uint64_t *generation)
{
    struct sf_provider_key *k = conf->key;
    int rc = 0;
    for (const char *const *h = conf->type->headers; h && *h && rc == 0; h += 2)
        rc = sf_http_req_attempt_header(req, h[0], h[1]);
    look_again(conf);
    sf_mutex_lock(&k->lock);
    if (rc == 0 && k->secret)
        rc = sf_http_req_attempt_header(req, "Authorization", k->secret->bearer);
    if (generation)
        *generation = atomic_load(&k->generation);
    sf_mutex_unlock(&k->lock);
    return rc;
}

bool
provider_key_is_there(const struct sf_provider_conf *conf)
{
    struct sf_provider_key *k = conf->key;
    look_again(conf);
    sf_mutex_lock(&k->lock);
    bool there = k->secret != NULL;
    sf_mutex_unlock(&k->lock);
    return there;
}

uint64_t
sf_provider_key_generation(const struct sf_provider_conf *conf)
{
    return atomic_load(&conf->key->generation);
}

const char *
sf_provider_key_label(const struct sf_provider_conf *conf)
{
    return conf->key->label;
}

void
sf_provider_account(const struct sf_provider_conf *conf, char out[65])
{
    struct sf_provider_key *k = conf->key;
    look_again(conf);
    sf_mutex_lock(&k->lock);
    snprintf(out, 65, "%s", k->account[0] ? k->account : k->fingerprint);
    sf_mutex_unlock(&k->lock);
}
