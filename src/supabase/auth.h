/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_SUPABASE_AUTH_H
#define SF_SUPABASE_AUTH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/*
 * The key with which the mount speaks to the project: a JWT (legacy anon or service_role key, or a
 * user's token) or an opaque sb_* key. It is held in locked, non-dumpable memory where possible and
 * never printed. The source is read again when a key file changes and when an answer says expired.
 */
struct sf_auth;

enum sf_auth_source_kind { SF_AUTH_VALUE, SF_AUTH_FILE };

struct sf_auth_source {
    enum sf_auth_source_kind kind;
    const char *value;  /* the key, or the path of a file whose first line is the key or which holds
                           NAME=key lines (an env file; then @variable names the one to take) */
    const char *variable; /* NULL, or the variable to take from an env file */
    const char *label;  /* for messages: "SUPABASE_SERVICE_ROLE_KEY from the environment" */
    const char *apikey; /* NULL, or the project key that goes with a user's token in `apikey` */
};

/* 0; -EINVAL not a key; -EACCES the file is readable by others; -ENOENT; -EIO. */
int sf_auth_new(const struct sf_auth_source *src, struct sf_auth **ret, struct sf_err *err);
void sf_auth_free(struct sf_auth *auth);

/* "service_role", "authenticated", "anon" or another role of the token; "secret"/"publishable" keys
 * report service_role/anon. Valid as long as @auth. */
const char *sf_auth_role(struct sf_auth *auth);
/* The token's subject, or "" . Copied to @out. */
void sf_auth_subject(struct sf_auth *auth, char *out, size_t size);
/* Expiry in seconds since the epoch, 0 = none. */
int64_t sf_auth_expires(struct sf_auth *auth);

/**
 * sf_auth_reload - read the source again.
 * @force: also when the file looks unchanged.
 * Returns 1 when the key is another one now, 0 when not, or -errno (the old key stays).
 * Thread-safe; called on the event thread (reads one small file).
 */
int sf_auth_reload(struct sf_auth *auth, bool force, struct sf_err *err);

#endif
