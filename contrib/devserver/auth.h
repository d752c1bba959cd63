/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DS_AUTH_H
#define DS_AUTH_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* Who asks: the role of the token, as the service knows them. */
enum ds_role {
    DS_ROLE_NONE,
    DS_ROLE_ANON,
    DS_ROLE_AUTHENTICATED,
    DS_ROLE_SERVICE,
    DS_ROLE_UNKNOWN
};

const char *ds_role_name(enum ds_role role);

struct ds_identity {
    enum ds_role role;
    char sub[64]; /* "" = none */
};

struct ds_auth;

/* @secret is copied. */
struct ds_auth *ds_auth_new(const char *secret);
void ds_auth_free(struct ds_auth *auth);

/**
 * ds_auth_verify - check an HS256 token.
 * @token: without "Bearer".
 * @ret:   filled in on success.
 * @problem: on failure the service's message, static.
 *
 * Returns 0, -EACCES with *problem, -ENOMEM. Verified tokens are remembered; thread-safe.
 */
int ds_auth_verify(struct ds_auth *auth, const char *token, struct ds_identity *ret,
                   const char **problem);

/* A signed token with the given role and times in seconds; NULL when out of memory. */
char *ds_auth_sign(const char *secret, const char *role, long long issued, long long expires);

/* The same of any claims, as JSON text. */
char *ds_auth_sign_claims(const char *secret, const char *claims);

/**
 * ds_auth_claims - check any token that the project signed, and hand out what it claims.
 * @ret: the caller's.
 *
 * Returns 0, or -EACCES with *problem as ds_auth_verify().
 */
int ds_auth_claims(const struct ds_auth *auth, const char *token, json_t **ret,
                   const char **problem);

/* Random bytes as URL-safe text, owned by the caller. */
char *ds_auth_random(size_t bytes);

#endif
