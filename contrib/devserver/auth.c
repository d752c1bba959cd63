/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "auth.h"

#include <errno.h>
#include <jansson.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/cleanup.h"
#include "json.h"
#include "text.h"

#define CACHE_SLOTS 64

struct cached {
    char *token;
    long long expires; /* seconds; 0 = never */
    long long starts;
    struct ds_identity identity;
};

struct ds_auth {
    char *secret;
    pthread_mutex_t lock; /* protects the cache */
    struct cached cache[CACHE_SLOTS];
};

const char *
ds_role_name(enum ds_role role)
{
    static const char *const names[] = {"none", "anon", "authenticated", "service_role", "unknown"};
    return names[role];
}

struct ds_auth *
ds_auth_new(const char *secret)
{
    struct ds_auth *auth = calloc(1, sizeof *auth);
    if (!auth)
        return NULL;
    auth->secret = strdup(secret);
    if (!auth->secret) {
        free(auth);
        return NULL;
    }
    pthread_mutex_init(&auth->lock, NULL);
    return auth;
}

void
ds_auth_free(struct ds_auth *auth)
{
    if (!auth)
        return;
    for (size_t i = 0; i < CACHE_SLOTS; i++)
        free(auth->cache[i].token);
    OPENSSL_cleanse(auth->secret, strlen(auth->secret));
    free(auth->secret);
    pthread_mutex_destroy(&auth->lock);
    free(auth);
}

static bool
hmac(const char *secret, const char *text, size_t len, unsigned char out[EVP_MAX_MD_SIZE],
     unsigned *out_len)
{
    return HMAC(EVP_sha256(), secret, (int)strlen(secret), (const unsigned char *)text, len, out,
                out_len) != NULL;
}

/* A part of a token as JSON object; NULL when it is none. */
static json_t *
part_json(const char *part, size_t len)
{
    size_t n = 0;
    sf_autofree char *text = ds_base64_decode(part, len, &n);
    if (!text)
        return NULL;
    json_t *json = json_loadb(text, n, JSON_REJECT_DUPLICATES, NULL);
    if (json && !json_is_object(json)) {
        json_decref(json);
        return NULL;
    }
    return json;
}

static bool
signature_matches(const struct ds_auth *auth, const char *token, size_t signed_len,
                  const char *signature)
{
    unsigned char want[EVP_MAX_MD_SIZE];
    unsigned want_len = 0;
    size_t have_len = 0;
    sf_autofree char *have = ds_base64_decode(signature, strlen(signature), &have_len);
    return have && hmac(auth->secret, token, signed_len, want, &want_len) && have_len == want_len &&
           CRYPTO_memcmp(have, want, want_len) == 0;
}

static const char *
check_times(const struct cached *token)
{
    long long now = ds_now_ms() / 1000;
    if (token->starts > now)
        return "\"nbf\" claim timestamp check failed";
    if (token->expires != 0 && token->expires <= now)
        return "\"exp\" claim timestamp check failed";
    return NULL;
}

static enum ds_role
role_of(const char *name)
{
    if (!name)
        return DS_ROLE_ANON;
    for (enum ds_role role = DS_ROLE_ANON; role <= DS_ROLE_SERVICE; role++)
        if (strcmp(name, ds_role_name(role)) == 0)
            return role;
    return DS_ROLE_UNKNOWN;
}

/* Reads the claims of every token; returns the problem or NULL. */
static const char *
read_claims(const json_t *claims, struct cached *ret)
{
    json_t *exp = json_object_get(claims, "exp"), *nbf = json_object_get(claims, "nbf");
    if (exp && !json_is_number(exp))
        return "\"exp\" claim must be a number";
    if (nbf && !json_is_number(nbf))
        return "\"nbf\" claim must be a number";
    ret->expires = (long long)json_number_value(exp);
    if (exp && ret->expires <= 0)
        ret->expires = 1;
    ret->starts = (long long)json_number_value(nbf);
    ret->identity.role = role_of(json_string_value(json_object_get(claims, "role")));
    const char *sub = json_string_value(json_object_get(claims, "sub"));
    snprintf(ret->identity.sub, sizeof ret->identity.sub, "%s", sub ? sub : "");
    return NULL;
}

/*
 * The whole check, in the order of the service's library; returns the problem or NULL. The caller
 * owns *claims, which is set when the signature is right.
 */
static const char *
check_token(const struct ds_auth *auth, const char *token, struct cached *ret, json_t **claims)
{
    const char *dot1 = strchr(token, '.');
    const char *dot2 = dot1 ? strchr(dot1 + 1, '.') : NULL;
    if (!dot2 || strchr(dot2 + 1, '.'))
        return "Invalid Compact JWS";
    ds_autojson *header = part_json(token, (size_t)(dot1 - token));
    if (!header)
        return "JWS Protected Header is invalid";
    const char *alg = json_string_value(json_object_get(header, "alg"));
    if (!alg || strcmp(alg, "HS256") != 0)
        return "\"alg\" (Algorithm) Header Parameter value not allowed";
    if (!signature_matches(auth, token, (size_t)(dot2 - token), dot2 + 1))
        return "signature verification failed";
    *claims = part_json(dot1 + 1, (size_t)(dot2 - dot1 - 1));
    if (!*claims)
        return "JWT Claims Set must be a top-level JSON object";
    const char *problem = read_claims(*claims, ret);
    return problem ? problem : check_times(ret);
}

static struct cached *
slot_of(struct ds_auth *auth, const char *token)
{
    uint32_t hash = 2166136261u;
    for (const unsigned char *s = (const unsigned char *)token; *s; s++)
        hash = (hash ^ *s) * 16777619u;
    return &auth->cache[hash % CACHE_SLOTS];
}

int
ds_auth_verify(struct ds_auth *auth, const char *token, struct ds_identity *ret,
               const char **problem)
{
    struct cached *slot = slot_of(auth, token);
    struct cached found = {0};
    bool hit = false;
    pthread_mutex_lock(&auth->lock);
    if (slot->token && strcmp(slot->token, token) == 0) {
        found = *slot;
        hit = true;
    }
    pthread_mutex_unlock(&auth->lock);

    ds_autojson *claims = NULL;
    *problem = hit ? check_times(&found) : check_token(auth, token, &found, &claims);
    if (*problem)
        return -EACCES;
    *ret = found.identity;
    if (hit)
        return 0;
    found.token = strdup(token);
    if (!found.token)
        return -ENOMEM;
    pthread_mutex_lock(&auth->lock);
    free(slot->token);
    *slot = found;
    pthread_mutex_unlock(&auth->lock);
    return 0;
}

int
ds_auth_claims(const struct ds_auth *auth, const char *token, json_t **ret, const char **problem)
{
    struct cached found = {0};
    ds_autojson *claims = NULL;
    *problem = check_token(auth, token, &found, &claims);
    if (*problem)
        return -EACCES;
    *ret = sf_steal(claims);
    return 0;
}

char *
ds_auth_sign(const char *secret, const char *role, long long issued, long long expires)
{
    char claims[200];
    snprintf(claims, sizeof claims,
             "{\"iss\":\"supafs-devserver\",\"role\":\"%s\",\"iat\":%lld,\"exp\":%lld}", role,
             issued, expires);
    return ds_auth_sign_claims(secret, claims);
}

char *
ds_auth_sign_claims(const char *secret, const char *claims)
{
    static const char header[] = "{\"alg\":\"HS256\",\"typ\":\"JWT\"}";
    sf_autofree char *head = ds_base64_encode(header, sizeof header - 1, true);
    sf_autofree char *body = ds_base64_encode(claims, strlen(claims), true);
    sf_autofree char *text = NULL;
    if (!head || !body || asprintf(&text, "%s.%s", head, body) < 0) {
        text = NULL;
        return NULL;
    }
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    if (!hmac(secret, text, strlen(text), digest, &len))
        return NULL;
    sf_autofree char *signature = ds_base64_encode(digest, len, true);
    char *token = NULL;
    if (!signature || asprintf(&token, "%s.%s", text, signature) < 0)
        return NULL;
    return token;
}

char *
ds_auth_random(size_t bytes)
{
    unsigned char raw[64];
    if (bytes > sizeof raw || getrandom(raw, bytes, 0) != (ssize_t)bytes)
        return NULL;
    return ds_base64_encode(raw, bytes, true);
}
