/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_SUPABASE_AUTH_H
#define SF_SUPABASE_AUTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/*
 * The key with which the mount speaks to the project: a JWT (legacy anon or service_role key, or a
 * user's token) or an opaque sb_* key. It is held in locked, non-dumpable memory where possible and
 * never printed. The source is read again when a key file changes and when an answer says expired.
 */
struct sf_auth;
struct sf_http_req;

enum sf_auth_source_kind { SF_AUTH_VALUE, SF_AUTH_FILE };

struct sf_auth_source {
    enum sf_auth_source_kind kind;
    const char *value; /* the key, or the path of a file whose first line is the key or which holds
                          NAME=key lines (an env file; then @variable names the one to take) */
    const char *variable; /* NULL, or what to take from the file, as for sf_key_file_read() */
    const char *label;    /* for messages: "SUPABASE_SERVICE_ROLE_KEY from the environment" */
    const char *apikey;   /* NULL, or the project key that goes with a user's token in `apikey` */
};

/**
 * sf_auth_new - read the key. @src is copied.
 * A file must be a regular one with no permission for anybody but its owner.
 *
 * Returns 0; -EINVAL not a key; -EPERM the file is readable by others; -ENOKEY the file has no such
 * key; -ENOENT; -EIO; -ENOMEM.
 */
int sf_auth_new(const struct sf_auth_source *src, struct sf_auth **ret, struct sf_err *err);
void sf_auth_free(struct sf_auth *auth);

/* "service_role", "authenticated", "anon" or another role of the token; "secret"/"publishable" keys
 * report service_role/anon. Valid as long as @auth. */
const char *sf_auth_role(struct sf_auth *auth);
/* The token's subject, or "" . Copied to @out. */
void sf_auth_subject(struct sf_auth *auth, char *out, size_t size);
/* Expiry in seconds since the epoch, 0 = none. */
int64_t sf_auth_expires(struct sf_auth *auth);
/* Where the key comes from, for messages. Valid as long as @auth. */
const char *sf_auth_label(const struct sf_auth *auth);

/**
 * sf_auth_reload - read the source again.
 * @force: also when the file looks unchanged.
 *
 * A key of another role or subject is refused with -EKEYREJECTED: caches and journal belong to the
 * identity with which the mount began.
 * Returns 1 when the key is another one now, 0 when not, or -errno (the old key stays).
 * Thread-safe; called on the event thread (reads one small file).
 */
int sf_auth_reload(struct sf_auth *auth, bool force, struct sf_err *err);

/**
 * sf_auth_apply - add the headers that prove who asks, to this attempt of a request.
 * A token about to expire is looked up in its file first. Call it in a preparer.
 * @generation: counts the keys held so far; two attempts with one generation sent the same key.
 *
 * Returns 0 or -ENOMEM.
 */
int sf_auth_apply(struct sf_auth *auth, struct sf_http_req *req, uint64_t *generation);

/** sf_auth_generation - of the key held now. */
uint64_t sf_auth_generation(struct sf_auth *auth);

#endif
